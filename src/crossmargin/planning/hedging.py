"""The cheapest hedge: fewest or cheapest trades that free margin or bring Greeks into bands.

The choice is made by a mixed-integer program over lots, and every answer is what the engine says
of the account after the trades, under the whole rule-set, open orders included. See
``_cuts.py`` for how the two are brought together, and for when the answer is proven.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossmargin.book import AccountFile
from crossmargin.errors import CrossmarginError, PlanningError
from crossmargin.instruments import (
    parse_instrument,
)
from crossmargin.margin import (
    Frame,
    Ruleset,
    Trade,
    TradedAccount,
    account_totals,
    position_greeks,
    sum_by,
)
from crossmargin.market import Snapshot
from crossmargin.planning._checks import positive, within
from crossmargin.planning._cuts import Found, Problem, cost_of, solve
from crossmargin.planning.candidates import Candidate, unit_usd

Floats = NDArray[np.float64]

#: Measures that a band can be set on.
GREEKS = ("delta", "gamma", "vega", "theta")
#: Sets of trades that go through the engine at once.
_AT_ONCE = 256
#: Where nothing bounds a trade: this many times the account's gross notional.
_REACH = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """Where a Greek of an underlying must be afterwards.

    Attributes
    ----------
    underlying : str
    greek : str
        ``delta`` (coins; net transaction delta, that is less the options' value in coin),
        ``gamma`` (coins per 1 % move), ``vega`` (US dollars a volatility point), ``theta`` (US
        dollars a day).
    low, high : float
    """

    underlying: str
    greek: str
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HedgeTrade:
    """One trade of a plan: units (> 0 buys) and what it costs, US dollars."""

    instrument: str
    quantity: float
    cost_usd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HedgePlan:
    """What to trade.

    Attributes
    ----------
    trades : tuple of HedgeTrade
        None where nothing has to be done, or nothing helps.
    cost_usd : float
    im_before_usd, im_after_usd, mm_before_usd, mm_after_usd : float
        As the engine evaluates the account, open orders included.
    available_before_usd, available_after_usd : float
        Equity at the initial level less IM, before the cost of trading.
    greeks_before, greeks_after : dict
        ``"BTC delta"`` and so on, of the underlyings with a band or a trade.
    met : bool
        Whether everything asked for holds afterwards.
    proven : bool
        Whether no other trades among the candidates are cheaper: requirements were convex wherever
        they were looked at, and the search ended by itself.
    impossible : bool
        Whether no trades among the candidates can do it.
    best_single : HedgeTrade or None
        The cheapest single trade that does as much, for comparison; None where none does.
    rounds, evaluations : int
        Programs solved, accounts evaluated.
    """

    trades: tuple[HedgeTrade, ...]
    cost_usd: float
    im_before_usd: float
    im_after_usd: float
    mm_before_usd: float
    mm_after_usd: float
    available_before_usd: float
    available_after_usd: float
    greeks_before: dict[str, float]
    greeks_after: dict[str, float]
    met: bool
    proven: bool
    impossible: bool
    best_single: HedgeTrade | None
    rounds: int
    evaluations: int

    @property
    def freed_usd(self) -> float:
        """Available margin more than before, US dollars, before the cost of trading."""
        return self.available_after_usd - self.available_before_usd


class HedgeDesk:
    """An account, and what may be traded against it, priced once.

    Parameters
    ----------
    account, snapshot, ruleset
        As it stands.
    candidates : sequence of Candidate
        At least one; an instrument once.

    Raises
    ------
    PlanningError
        ``PLN-005`` for a candidate that cannot be.
    CrossmarginError
        A price or parameter that the account or a candidate needs is missing.
    """

    def __init__(
        self,
        account: AccountFile,
        snapshot: Snapshot,
        ruleset: Ruleset,
        candidates: Sequence[Candidate],
    ) -> None:
        _check(candidates)
        self.candidates = tuple(candidates)
        # One unit of each: a set of trades is how many of them are made.
        self._traded = TradedAccount(
            account,
            snapshot,
            ruleset,
            [Trade(instrument=c.instrument, quantity=1.0) for c in candidates],
        )
        self.evaluations = 0
        unit, none = np.eye(len(candidates)), np.zeros((1, len(candidates)))
        many = self._traded.many(np.vstack([none, unit]))
        self._names = many.book.registry.assets
        self._greeks = _by_underlying(many)
        items = [parse_instrument(c.instrument) for c in candidates]
        self._unit_usd = np.array([unit_usd(snapshot, item) for item in items])
        self._gross = math.fsum(
            abs(float(p.quantity)) * unit_usd(snapshot, parse_instrument(p.instrument))
            for p in account.positions
        )

    def ask(self, sets: Floats) -> Floats:
        """Evaluate sets of units: ``float64[K, 3]``, inf where the rule-set refuses the account.

        Initial margin less the equity that counts for it (minus what is available), the same of
        maintenance margin, and initial margin itself.
        """
        parts = [sets[k : k + _AT_ONCE] for k in range(0, len(sets), _AT_ONCE)]
        self.evaluations += len(sets)
        return np.concatenate([self._evaluated(some) for some in parts])

    def _evaluated(self, sets: Floats) -> Floats:
        try:
            totals = account_totals(self._traded.many(sets))
        except CrossmarginError:
            if len(sets) == 1:
                return np.full((1, 3), math.inf)
            half = len(sets) // 2
            return np.concatenate([self._evaluated(sets[:half]), self._evaluated(sets[half:])])
        im, mm = totals["im"], totals["mm"]
        return np.column_stack([im - totals["equity_im"], mm - totals["equity_mm"], im])

    def greek(self, underlying: str, greek: str) -> tuple[float, Floats]:
        """Return a Greek of the account now, and of a unit of each candidate."""
        if greek not in GREEKS:
            raise PlanningError(
                f"{greek!r} is no Greek that a band can be set on", code="PLN-005", field="band",
                hint=f"one of {', '.join(GREEKS)}",
            )  # fmt: skip
        if underlying not in self._names:
            raise PlanningError(
                f"neither the account nor a candidate stands on {underlying}", code="PLN-005",
                field="band",
            )  # fmt: skip
        column = self._greeks[GREEKS.index(greek), :, self._names.index(underlying)]
        return float(column[0]), np.asarray(column[1:] - column[0])

    def plan(
        self,
        *,
        free_usd: float | None = None,
        im_limit_usd: float | None = None,
        budget_usd: float | None = None,
        bands: Sequence[Band] = (),
        keep_mm: bool = True,
        most_trades: int | None = None,
        rounds: int = 80,
    ) -> HedgePlan:
        """Find the trades.

        Without a budget: the cheapest trades that make `free_usd` more available (equity less
        initial margin, before the cost of trading), bring IM to a limit, or bring every Greek into
        its band. With one: the trades that cost at most that and make most available.

        Parameters
        ----------
        free_usd : float, optional
            Available margin to gain.
        im_limit_usd : float, optional
            Initial margin at most.
        budget_usd : float, optional
            What trading may cost.
        bands : sequence of Band
        keep_mm : bool
            The buffer over maintenance margin must not shrink, so that health does not fall by
            more than trading costs.
        most_trades : int, optional
            Instruments traded at most.
        rounds : int
            Programs solved at most.

        Raises
        ------
        PlanningError
            ``PLN-003``, ``PLN-005``.
        CrossmarginError
            The account as it is cannot be margined.
        """
        positive(free_usd=free_usd, budget_usd=budget_usd)
        within(0.0, 1e18, im_limit_usd=im_limit_usd)
        none = np.zeros((1, len(self.candidates)))
        # Not through `ask`: what is wrong with the account itself must be said.
        account_totals(self._traded.many(none))
        now = self.ask(none)[0]
        # Without anything asked for, the account must not become tighter.
        limits = np.array([now[0], now[1] if keep_mm else math.inf, math.inf])
        if free_usd is not None:
            limits[0] = now[0] - free_usd
        elif budget_usd is not None or im_limit_usd is not None or not keep_mm:
            limits[0] = math.inf
        if im_limit_usd is not None:
            limits[2] = im_limit_usd
        problem = self._problem(limits, bands, most_trades, budget_usd)
        found = _nothing(problem, now) or solve(problem, rounds=rounds)
        return self._plan(problem, found, now, bands)

    def _problem(
        self, limits: Floats, bands: Sequence[Band], most: int | None, budget: float | None
    ) -> Problem:
        reach = _REACH * max(self._gross, 1.0) / np.maximum(self._unit_usd, 1e-12)
        rows = [self.greek(b.underlying, b.greek) for b in bands]
        for band in bands:
            if not band.low <= band.high:
                raise PlanningError(
                    f"the band of {band.underlying} {band.greek} is upside down: {band.low:g} to "
                    f"{band.high:g}",
                    code="PLN-005",
                    field="band",
                )
        return Problem(
            ask=self.ask,
            limits=limits,
            cost=np.array([c.cost_usd for c in self.candidates]),
            fixed=np.array([c.fixed_usd for c in self.candidates]),
            low=-np.minimum([c.sell for c in self.candidates], reach),
            high=np.minimum([c.buy for c in self.candidates], reach),
            lot=np.array([math.nan if c.lot is None else c.lot for c in self.candidates]),
            rows=np.array([row for _, row in rows]).reshape(-1, len(self.candidates)),
            floor=np.array([b.low - now for b, (now, _) in zip(bands, rows)]),
            ceiling=np.array([b.high - now for b, (now, _) in zip(bands, rows)]),
            most_trades=most,
            budget=budget,
        )

    def _plan(
        self, problem: Problem, found: Found, now: Floats, bands: Sequence[Band]
    ) -> HedgePlan:
        n = len(self.candidates)
        units = np.zeros(n) if found.units is None else found.units
        after = self._totals(units)
        then = self._totals(np.zeros(n))
        trades = tuple(
            HedgeTrade(
                instrument=c.instrument,
                quantity=float(q),
                cost_usd=float(abs(q) * c.cost_usd + c.fixed_usd),
            )
            for c, q in zip(self.candidates, units)
            if q != 0.0
        )
        asked = {(b.underlying, b.greek) for b in bands}
        touched = {name for name, _ in asked}
        touched |= {parse_instrument(t.instrument).underlying for t in trades}
        before, later = {}, {}
        for name in sorted(touched):
            for greek in GREEKS:
                start, unit = self.greek(name, greek)
                change = float(unit @ units)
                if start or change or (name, greek) in asked:
                    before[f"{name} {greek}"] = start
                    later[f"{name} {greek}"] = start + change
        return HedgePlan(
            trades=trades,
            cost_usd=cost_of(problem, units),
            im_before_usd=then["im"],
            im_after_usd=after["im"],
            mm_before_usd=then["mm"],
            mm_after_usd=after["mm"],
            available_before_usd=then["equity_im"] - then["im"],
            available_after_usd=after["equity_im"] - after["im"],
            greeks_before=before,
            greeks_after=later,
            met=found.units is not None,
            proven=found.proven,
            impossible=found.impossible,
            best_single=self._single(problem, found.values) if len(trades) > 1 else None,
            rounds=found.rounds,
            evaluations=self.evaluations,
        )

    def _totals(self, units: Floats) -> dict[str, float]:
        return {
            name: float(column[0])
            for name, column in account_totals(self._traded.many(units[None])).items()
        }

    def _single(self, problem: Problem, reached: Floats) -> HedgeTrade | None:
        """Return the cheapest single trade that does as much, on a grid of its quantities."""
        best: HedgeTrade | None = None
        limits = problem.limits.copy()
        if problem.budget is not None:
            limits[0] = reached[0]
        for j, c in enumerate(self.candidates):
            grid = _grid(problem, j)
            sets = np.zeros((grid.size, len(self.candidates)))
            sets[:, j] = grid
            change = sets @ problem.rows.T
            fits = ((change >= problem.floor - 1e-9) & (change <= problem.ceiling + 1e-9)).all(
                axis=1
            )
            fits &= (self.ask(sets) <= limits + 1e-9 * np.abs(limits) + 1e-6).all(axis=1)
            if fits.any():
                q = float(grid[fits][np.argmin(np.abs(grid[fits]))])
                cost = abs(q) * c.cost_usd + c.fixed_usd
                if q and (best is None or cost < best.cost_usd):
                    best = HedgeTrade(instrument=c.instrument, quantity=q, cost_usd=cost)
        return best


def _grid(problem: Problem, j: int, most: int = 201) -> Floats:
    low, high, lot = float(problem.low[j]), float(problem.high[j]), float(problem.lot[j])
    grid = np.linspace(low, high, most)
    if math.isfinite(lot):
        grid = np.unique(np.round(grid / lot)) * lot
        grid = grid[(grid >= low - 1e-12) & (grid <= high + 1e-12)]
    return np.asarray(grid)


def _nothing(problem: Problem, now: Floats) -> Found | None:
    """Return the empty plan where everything holds already: inside the bands, zero orders."""
    if problem.budget is not None:
        return None
    inside = bool((problem.floor <= 1e-12).all() and (problem.ceiling >= -1e-12).all())
    if not inside or (now > problem.limits + 1e-9 * np.abs(now)).any():
        return None
    return Found(
        units=np.zeros(problem.cost.size), values=now, bound=0.0, proven=True,
        impossible=False, rounds=0, asked=0,
    )  # fmt: skip


def _check(candidates: Sequence[Candidate]) -> None:
    seen = set()
    for c in candidates:
        name = parse_instrument(c.instrument).id
        ranges = (c.cost_usd, c.fixed_usd, c.buy, c.sell)
        bad = any(math.isnan(x) or x < 0 for x in ranges) or not math.isfinite(c.cost_usd)
        if bad or (c.lot is not None and not (math.isfinite(c.lot) and c.lot > 0)) or name in seen:
            raise PlanningError(
                f"{c.instrument} is named twice, or its cost, lot or size cannot be",
                code="PLN-005",
                instrument=c.instrument,
                field="candidate",
                hint="costs and sizes are at least 0, a lot above 0",
            )
        seen.add(name)
    if not candidates:
        raise PlanningError("there is nothing to hedge with", code="PLN-005", field="candidate")


def _by_underlying(many: Frame) -> Floats:
    """Sum the Greeks of every account of a frame by underlying: ``float64[4, K, assets]``."""
    book = many.book
    greeks = position_greeks(many)
    account = book.pool_account[book.position_pool]
    asset = many.terms.underlying[book.position_instrument]
    width = len(book.registry.assets)
    place = account * width + asset
    return np.array(
        [
            sum_by(column, place, book.size * width).reshape(book.size, width)
            for column in (
                greeks.net_transaction, greeks.gamma, greeks.vega_usd, greeks.theta_usd,
            )
        ]
    )  # fmt: skip


def useful_candidates(
    account: AccountFile, snapshot: Snapshot, ruleset: Ruleset, candidates: Sequence[Candidate],
    *, most: int = 16,
) -> list[Candidate]:  # fmt: skip
    """Return the candidates whose first units free most margin for what they cost, either way.

    A first choice for the program, by one evaluation of each; a hedge that only pays together with
    another may be missed, so name the ones you want.
    """
    desk = HedgeDesk(account, snapshot, ruleset, candidates)
    n = len(candidates)
    step = 1e-3 * max(desk._gross, 1.0) / np.maximum(desk._unit_usd, 1e-12)
    short = desk.ask(np.vstack([np.zeros(n), np.diag(step), np.diag(-step)]))[:, 0]
    freed = np.maximum(short[0] - short[1 : n + 1], short[0] - short[n + 1 :]) / step
    worth = freed / np.maximum([c.cost_usd for c in candidates], 1e-12)
    order = np.argsort(-worth, kind="stable")[:most]
    return [candidates[k] for k in sorted(order.tolist())]
