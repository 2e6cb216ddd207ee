"""Where to hold which position: the least margin over venues, and no larger shortfall in stress.

Each venue margins what it sees. Moving a position from one to another (closing it there, opening
it here, both at the mark) leaves the consolidated book as it is, and may let hedges meet. Every
placement is evaluated under each venue's whole rule-set; the search is that of the cheapest hedge
(``_cuts.py``): sums of convex requirements are convex.

Source: requirements A08 (positions over venues that cannot see each other); the search is the
house's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from crossmargin.analytics import VenueAccount
from crossmargin.analytics.venues_pool import entered
from crossmargin.errors import CrossmarginError, PlanningError
from crossmargin.instruments import Registry, parse_instrument
from crossmargin.margin import Trade, TradedAccount, account_totals
from crossmargin.market import MovedMarket, Snapshot
from crossmargin.planning._checks import positive, within
from crossmargin.planning._cuts import Found, Problem, cost_of, solve
from crossmargin.planning.candidates import unit_usd

Floats = NDArray[np.float64]

#: Placements that go through the engines at once.
_AT_ONCE = 128
#: A change below this share of what may be held is none.
_NOTHING = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """Units of a position that change at a venue; over venues they sum to nothing."""

    instrument: str
    venue: str
    quantity: float


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueMargin:
    """One venue before and after, US dollars."""

    venue: str
    im_before_usd: float
    im_after_usd: float
    available_before_usd: float
    available_after_usd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """What to move.

    Attributes
    ----------
    moves : tuple of Move
    venues : tuple of VenueMargin
    cost_usd : float
        Of trading at both ends.
    shortfall_before_usd, shortfall_after_usd : float
        Worst sum over venues of max(0, MM − equity) in the scenarios; 0 without any.
    proven : bool
        See :class:`crossmargin.planning.HedgePlan`.
    refused : tuple of (str, str)
        Instrument and venue whose rule-set does not cover it.
    evaluations : int
    """

    moves: tuple[Move, ...]
    venues: tuple[VenueMargin, ...]
    cost_usd: float
    shortfall_before_usd: float
    shortfall_after_usd: float
    proven: bool
    refused: tuple[tuple[str, str], ...]
    evaluations: int

    @property
    def im_before_usd(self) -> float:
        """Initial margin of all venues before."""
        return sum(v.im_before_usd for v in self.venues)

    @property
    def im_after_usd(self) -> float:
        """Initial margin of all venues after."""
        return sum(v.im_after_usd for v in self.venues)


class _Desk:
    """One venue's account, and units of what may be moved there, in several markets."""

    def __init__(
        self, venue: VenueAccount, markets: Sequence[Snapshot], instruments: Sequence[str]
    ) -> None:
        self.name = venue.venue
        self._account = entered(venue, markets[0])
        self.instruments: list[str] = []
        self.refused: list[str] = []
        for name in instruments:
            (self.instruments if self._covers(venue, markets[0], name) else self.refused).append(
                name
            )
        trades = self._trades(venue, markets[0])
        self._worlds = [
            TradedAccount(self._account, market, venue.ruleset, trades) for market in markets
        ]
        self.held = {
            name: sum(
                float(p.quantity)
                for p in self._account.positions
                if parse_instrument(p.instrument).id == name
            )
            for name in instruments
        }

    def _covers(self, venue: VenueAccount, market: Snapshot, name: str) -> bool:
        try:
            trades = [Trade(instrument=name, quantity=1.0), Trade(instrument=name, quantity=-1.0)]
            made = TradedAccount(self._account, market, venue.ruleset, trades)
            account_totals(made.many(np.eye(2)))
        except CrossmarginError:
            return any(parse_instrument(p.instrument).id == name for p in self._account.positions)
        return True

    def _trades(self, venue: VenueAccount, market: Snapshot) -> list[Trade]:
        """Return a unit of each, at today's mark in every market."""
        at_mark = [Trade(instrument=name, quantity=1.0) for name in self.instruments]
        fills = TradedAccount(self._account, market, venue.ruleset, at_mark).fills()
        return [
            Trade(instrument=name, quantity=1.0, price=fill.price)
            for name, fill in zip(self.instruments, fills)
        ]

    def totals(self, sets: Floats, world: int = 0) -> dict[str, Floats]:
        """Evaluate sets of units in a market; inf where the rule-set refuses the account."""
        try:
            return account_totals(self._worlds[world].many(sets))
        except CrossmarginError:
            if len(sets) == 1:
                bad = {name: np.full(1, math.inf) for name in ("im", "mm")}
                return {**bad, "equity_im": np.zeros(1), "equity_mm": np.zeros(1)}
            half = len(sets) // 2
            parts = [self.totals(sets[:half], world), self.totals(sets[half:], world)]
            return {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}


def place(
    venues: Sequence[VenueAccount],
    snapshot: Snapshot,
    *,
    budget_usd: float,
    instruments: Sequence[str] | None = None,
    cost_rate: float = 0.001,
    scenarios: Sequence[Mapping[str, float]] = (),
    rounds: int = 80,
) -> Placement:
    """Find the placement with the least initial margin of all venues together.

    Parameters
    ----------
    venues : sequence of VenueAccount
        Two or more, with different names; one market for all.
    snapshot : Snapshot
    budget_usd : float
        What moving may cost.
    instruments : sequence of str, optional
        What may be moved; default every position of the accounts.
    cost_rate : float
        Of the notional that is traded at each end.
    scenarios : sequence of mapping of str to float
        Moves by coin (−0.2 is a fall of a fifth) that come to all venues at once: the worst sum of
        shortfalls may not become larger than it is.
    rounds : int
        Programs solved at most.

    Raises
    ------
    PlanningError
        ``PLN-001`` fewer than two venues, or nothing to move.
    """
    positive(budget_usd=budget_usd)
    within(0.0, 0.1, cost_rate=cost_rate)
    names = [v.venue for v in venues]
    if len(names) < 2 or len(set(names)) < len(names):
        raise PlanningError(
            "a placement needs two venues or more, with different names", code="PLN-001",
            field="venues",
        )  # fmt: skip
    movable = _movable(venues, instruments)
    markets = [snapshot, *(_moved(snapshot, movable, moves) for moves in scenarios)]
    desks = [_Desk(v, markets, movable) for v in venues]
    asked = _Asked(desks, len(markets))
    problem = _problem(asked, desks, snapshot, movable, budget_usd, cost_rate)
    found = solve(problem, rounds=rounds)
    return _placement(asked, desks, problem, found)


def _movable(venues: Sequence[VenueAccount], instruments: Sequence[str] | None) -> list[str]:
    held = {parse_instrument(p.instrument).id: None for v in venues for p in v.account.positions}
    if instruments is not None:
        wanted = [parse_instrument(name).id for name in instruments]
        missing = [name for name in wanted if name not in held]
        if missing:
            raise PlanningError(
                f"no venue holds {missing[0]}", code="PLN-001", instrument=missing[0],
                field="instruments",
            )  # fmt: skip
        return list(dict.fromkeys(wanted))
    if not held:
        raise PlanningError("the venues hold no positions", code="PLN-001", field="venues")
    return list(held)


def _moved(snapshot: Snapshot, movable: Sequence[str], moves: Mapping[str, float]) -> Snapshot:
    for coin, move in moves.items():
        if not (math.isfinite(move) and move > -1):
            raise PlanningError(
                f"{coin} cannot move by {move:g}", code="PLN-003", field="scenarios"
            )
    items = Registry(parse_instrument(name) for name in sorted({*movable, *snapshot.quotes}))
    prices = {coin: snapshot.asset_usd(coin) * (1.0 + move) for coin, move in moves.items()}
    return MovedMarket(snapshot, items).at(prices)


class _Asked:
    """Evaluates placements: units of (venue, instrument) in one row."""

    def __init__(self, desks: Sequence[_Desk], worlds: int) -> None:
        self._desks, self._worlds = desks, worlds
        self.pairs = [(d.name, name) for d in desks for name in d.instruments]
        ends = np.cumsum([0, *(len(d.instruments) for d in desks)]).tolist()
        self._parts = [slice(a, b) for a, b in pairwise(ends)]
        self.evaluations = 0

    def totals(self, x: Floats) -> list[dict[str, float]]:
        """Evaluate one placement venue by venue, today."""
        found = [d.totals(x[None, part]) for d, part in zip(self._desks, self._parts)]
        return [{name: float(column[0]) for name, column in one.items()} for one in found]

    def __call__(self, sets: Floats) -> Floats:
        """Return the initial margin of all venues, and the worst shortfall: ``float64[K, 2]``."""
        out = np.zeros((len(sets), 2))
        for first in range(0, len(sets), _AT_ONCE):
            some = slice(first, first + _AT_ONCE)
            for world in range(self._worlds):
                short = np.zeros(len(sets[some]))
                for desk, part in zip(self._desks, self._parts):
                    found = desk.totals(sets[some, part], world)
                    self.evaluations += len(short)
                    short += np.maximum(found["mm"] - found["equity_mm"], 0.0)
                    if world == 0:
                        out[some, 0] += found["im"]
                if world:
                    out[some, 1] = np.maximum(out[some, 1], short)
        return out


def _problem(
    asked: _Asked,
    desks: Sequence[_Desk],
    snapshot: Snapshot,
    movable: Sequence[str],
    budget: float,
    cost_rate: float,
) -> Problem:
    by_name = {d.name: d for d in desks}
    gross = {name: sum(abs(d.held[name]) for d in desks) for name in movable}
    held = np.array([by_name[venue].held[name] for venue, name in asked.pairs])
    most = np.array([gross[name] for _, name in asked.pairs])
    unit = np.array([unit_usd(snapshot, parse_instrument(name)) for _, name in asked.pairs])
    now = asked(np.zeros((1, len(asked.pairs))))[0]
    if not np.isfinite(now).all():
        raise PlanningError(
            "a venue refuses its account as it is", code="PLN-001", field="venues",
            hint="margin each account by itself to see why",
        )  # fmt: skip
    return Problem(
        ask=asked,
        limits=np.array([math.inf, now[1]]),
        cost=cost_rate * unit,
        fixed=np.zeros(unit.size),
        low=-most - held,
        high=most - held,
        lot=np.full(unit.size, math.nan),
        rows=np.array([[float(name == one) for _, name in asked.pairs] for one in movable]),
        floor=np.zeros(len(movable)),
        ceiling=np.zeros(len(movable)),
        most_trades=None,
        budget=budget,
    )


def _placement(asked: _Asked, desks: Sequence[_Desk], problem: Problem, found: Found) -> Placement:
    none = np.zeros(len(asked.pairs))
    reach = np.maximum(np.abs(problem.low), np.abs(problem.high))
    units = none if found.units is None else found.units
    # What the solver left of a rounding is no move; both ends of it are as small.
    units = np.where(np.abs(units) > _NOTHING * reach, units, 0.0)
    before, after = asked.totals(none), asked.totals(units)
    stress = asked(np.vstack([none, units]))[:, 1]
    if sum(t["im"] for t in after) >= sum(t["im"] for t in before) * (1 - 1e-9):
        # What is best as it stands is left alone.
        units, after, stress = none, before, stress[[0, 0]]
    return Placement(
        moves=tuple(
            Move(instrument=name, venue=venue, quantity=float(q))
            for (venue, name), q in zip(asked.pairs, units)
            if q != 0.0
        ),
        venues=tuple(
            VenueMargin(
                venue=d.name,
                im_before_usd=b["im"],
                im_after_usd=a["im"],
                available_before_usd=b["equity_im"] - b["im"],
                available_after_usd=a["equity_im"] - a["im"],
            )
            for d, b, a in zip(desks, before, after)
        ),
        cost_usd=cost_of(problem, units),
        shortfall_before_usd=float(stress[0]),
        shortfall_after_usd=float(stress[1]),
        proven=found.proven,
        refused=tuple((name, d.name) for d in desks for name in d.refused),
        evaluations=asked.evaluations,
    )
