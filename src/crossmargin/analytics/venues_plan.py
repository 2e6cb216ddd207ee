"""Positions spread over venues that cannot see each other: shortfall, transfers, what is left.

One scenario comes to all venues at once, over some hours. Each venue needs
``top-up = max(0, MM − equity)`` by itself; what the others have to spare can cover it only where
a transfer lands before the venue liquidates. What liquidates leaves the consolidated book with
the other legs alone.

Source: requirements A08 (consolidated book, simultaneous shortfall, transfer before liquidation,
net delta after the first liquidation). The flow problem and the timing are the house's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import msgspec
import numpy as np

from crossmargin.analytics.stress_scenarios import EVERY_ONE, StressScenario
from crossmargin.book import AccountFile
from crossmargin.errors import InputError
from crossmargin.margin import (
    CarriedAccount,
    Frame,
    LiquidationPrice,
    Ruleset,
    close_in,
    liquidation_prices,
    position_greeks,
)
from crossmargin.market import Snapshot

_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueAccount:
    """One account at one venue."""

    venue: str
    account: AccountFile
    ruleset: Ruleset


class VenueLine(msgspec.Struct, frozen=True, kw_only=True):
    """One venue, now and in the scenario, US dollars.

    Attributes
    ----------
    venue : str
        Which.
    equity_usd, mm_usd : float
        Now, at the maintenance level.
    free_usd : float
        Apparent free margin now: equity after haircuts less IM, at least 0.
    equity_after_usd, mm_after_usd : float
        At the end of the scenario, nothing closed.
    top_up_usd : float
        max(0, MM − equity) there.
    liquidated_at_hours : float or None
        When it falls below its line on the way; None when it does not.
    liquidated_at_share : float or None
        How much of the scenario has happened by then.
    down_usd, up_usd : dict of str to float
        Liquidation prices by coin that moves alone.
    p_before : dict of str to float
        Probability that a coin alone reaches a liquidation price before a transfer lands, by
        coin; empty without volatilities.
    delta : dict of str to float
        Coins, by underlying.
    reserve_usd, reserve_short_usd : float
        Free margin that is to stay there, and what it lacks of it now.
    """

    venue: str
    equity_usd: float
    mm_usd: float
    free_usd: float
    equity_after_usd: float
    mm_after_usd: float
    top_up_usd: float
    liquidated_at_hours: float | None
    liquidated_at_share: float | None
    down_usd: dict[str, float]
    up_usd: dict[str, float]
    p_before: dict[str, float]
    delta: dict[str, float]
    reserve_usd: float
    reserve_short_usd: float


class Transfer(msgspec.Struct, frozen=True, kw_only=True):
    """Money to send when the scenario begins: to keep a venue above its line, or its reserve."""

    source: str
    target: str
    usd: float
    lands_hours: float
    needed_by_hours: float
    purpose: Literal["top-up", "reserve"] = "top-up"


class VenuesPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a scenario does to accounts at several venues, and what can be done.

    Attributes
    ----------
    scenario : str
        Which.
    hours : float
        Over which it comes.
    venues : list of VenueLine
        By venue.
    net_delta : dict of str to float
        Of all venues together, coins.
    net_delta_after : dict of str to float
        Once the venues that breach in the scenario have been liquidated, transfers left aside.
    naked : list of str
        Coins hedged over venues now (net below a tenth of gross) and no longer afterwards.
    transfers : list of Transfer
        Those that land in time, covering as much as can be.
    prefund_usd : dict of str to float
        By venue: what must be there beforehand, because nothing lands in time.
    apparent_free_usd : float
        Free margin of all venues now, added up.
    true_free_usd : float
        That less all top-ups of the scenario.
    """

    scenario: str
    hours: float
    venues: list[VenueLine]
    net_delta: dict[str, float]
    net_delta_after: dict[str, float]
    naked: list[str]
    transfers: list[Transfer]
    prefund_usd: dict[str, float]
    apparent_free_usd: float
    true_free_usd: float


def venues_plan(
    venues: Sequence[VenueAccount],
    snapshot: Snapshot,
    scenario: StressScenario,
    *,
    hours: float = 24.0,
    latency_hours: float | Mapping[tuple[str, str], float] = 1.0,
    annual_vol: Mapping[str, float] | None = None,
    reserves: Mapping[str, float] | None = None,
) -> VenuesPlan:
    """Put several venues through one scenario and plan the transfers.

    Parameters
    ----------
    venues : sequence of VenueAccount
        With different names.
    snapshot : Snapshot
        One market for all.
    scenario : StressScenario
        Moves of coins and stablecoins; log-prices go there evenly over `hours`.
    hours : float
        How long it takes.
    latency_hours : float or mapping of (str, str) to float
        Until money sent from one venue counts at another: for all pairs, or by (source, target);
        pairs that are not there cannot be used.
    annual_vol : mapping of str to float, optional
        By coin: for the probability that a venue is liquidated within the longest latency into
        it. A driftless lognormal price that reaches a level within T does so with probability
        2·Φ(−|ln(level/price)|/(σ√T)); both sides are added and cut off at 1.
    reserves : mapping of str to float, optional
        Free margin that is to stay at a venue, US dollars, by name. A venue sends only what it
        has above its reserve, today and at the end of the scenario; one that lacks some of it
        today is filled up from what top-ups leave, within `hours`.

    Raises
    ------
    InputError
        ``INP-112`` for two venues of one name, a negative time or reserve, a reserve of a venue
        that is not there, or a scenario that is no set of moves.
    """
    names = [one.venue for one in venues]
    if len(set(names)) < len(names) or not names:
        raise _wrong("venues need different names, and at least one", "venues")
    if not (math.isfinite(hours) and hours > 0):
        raise _wrong(f"a scenario over {hours:g} hours", "hours")
    if scenario.kind in ("correlation", "location"):
        raise _wrong(f"{scenario.name!r} is no set of moves", "scenario")
    kept = dict(reserves or {})
    for name, usd in kept.items():
        if name not in names:
            raise _wrong(f"there is no venue {name!r} to hold a reserve", "reserves")
        if not (math.isfinite(usd) and usd >= 0):
            raise _wrong(f"a reserve of {usd:g} USD at {name}", "reserves")
    desks = [_Venue(one, snapshot, scenario, hours, kept.get(one.venue, 0.0)) for one in venues]
    late = {
        (a, b): _latency(latency_hours, a, b)
        for a in names
        for b in names
        if a != b and _latency(latency_hours, a, b) is not None
    }
    lines = []
    for desk in desks:
        into = [float(t) for (_, b), t in late.items() if b == desk.name and t is not None]
        lines.append(desk.line(max(into, default=0.0), annual_vol or {}))
    transfers, prefund = _transfers(desks, late, hours)
    before = _sum([desk.delta for desk in desks])
    after = _sum([desk.delta for desk in desks if desk.breach is None])
    gross = _sum([{k: abs(v) for k, v in desk.delta.items()} for desk in desks])
    after = {coin: after.get(coin, 0.0) for coin in before}
    free = sum(line.free_usd for line in lines)
    return VenuesPlan(
        scenario=scenario.name,
        hours=hours,
        venues=lines,
        net_delta=before,
        net_delta_after=after,
        naked=[
            coin for coin in before if abs(before[coin]) < 0.1 * gross[coin] <= abs(after[coin])
        ],
        transfers=transfers,
        prefund_usd=prefund,
        apparent_free_usd=free,
        true_free_usd=free - sum(line.top_up_usd for line in lines),
    )


def _wrong(message: str, field: str) -> InputError:
    return InputError(message, code="INP-112", field=field, hint="see docs/models/stress.md")


def _latency(table: float | Mapping[tuple[str, str], float], a: str, b: str) -> float | None:
    found = table.get((a, b)) if isinstance(table, Mapping) else table
    if found is not None and not (math.isfinite(found) and found >= 0):
        raise _wrong(f"a transfer from {a} to {b} takes {found:g} hours", "latency_hours")
    return found


def _sum(tables: Sequence[Mapping[str, float]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for table in tables:
        for key, value in table.items():
            found[key] = found.get(key, 0.0) + value
    return found


class _Venue:
    """One venue, carried along the scenario."""

    def __init__(
        self,
        one: VenueAccount,
        snapshot: Snapshot,
        scenario: StressScenario,
        hours: float,
        reserve: float,
    ) -> None:
        self.name, self.hours, self.reserve = one.venue, hours, reserve
        self.carried = CarriedAccount(one.account, snapshot, one.ruleset)
        self.scenario = scenario
        self.now = self.carried.evaluation(self.carried.frame)
        self.after = self.carried.evaluation(self._at(1.0))
        self.breach = self._breach()
        greeks, held = position_greeks(self.carried.frame), self.carried.frame.book
        self.delta: dict[str, float] = {}
        for row, index in enumerate(held.position_instrument.tolist()):
            coin = held.registry[index].underlying
            self.delta[coin] = self.delta.get(coin, 0.0) + float(greeks.delta[row])
        usd = self.carried.frame.pot_usd
        over = float(self.now.have.im @ usd) - self.now.im_usd
        self.free = max(0.0, over)
        self.reserve_short = max(0.0, reserve - over) if reserve else 0.0
        there = self.after.frame.pot_usd
        self.equity_after, self.mm_after = self.after.have.mm * there, self.after.mm * there
        self.top_up = float(np.maximum(self.mm_after - self.equity_after, 0.0).sum())
        spare = float((self.after.have.im - self.after.need_orders.im) @ there)
        # What leaves must be missed neither today nor at the end of the scenario.
        left = min(self.free, spare) - reserve
        self.spare = max(0.0, left) if self.breach is None else 0.0

    def _at(self, share: float) -> Frame:
        s = self.scenario
        vols: dict[str, float] = {}
        own: dict[str, float] = {}
        rest = s.moves.get(EVERY_ONE, 0.0)
        prices = {
            coin: share * math.log1p(s.moves.get(coin, rest))
            for coin in sorted(set(self.carried.drivers.values()))
            if s.moves.get(coin, rest)
        }
        for coin in self.carried.option_coins:
            change = s.vols.get(coin, s.vols.get(EVERY_ONE, 0.0))
            if change:
                vols[coin] = share * math.log1p(change)
        for name, move in s.dollars.items():
            own[name] = share * math.log1p(move)
        return self.carried.moved(prices, vols, own)

    def _least(self, share: float) -> float:
        return float(self.carried.excess_of(self._at(share)).min())

    def _breach(self) -> float | None:
        """Return the share of the scenario at which a pot falls below its line."""
        safe, value = 0.0, self._least(0.0)
        if value < 0:
            return 0.0
        for k in range(1, 65):
            share = k / 64.0
            here = self._least(share)
            if here < 0:
                found = close_in(self._least, safe, value, share, here, width=1e-12)
                return share if found.dead is None else found.dead
            safe, value = share, here
        return None

    def line(self, latency: float, vols: Mapping[str, float]) -> VenueLine:
        """Describe the venue."""
        solved = liquidation_prices(self.carried.frame, together=False)
        usd = self.carried.frame.pot_usd
        return VenueLine(
            venue=self.name,
            equity_usd=float(self.now.have.mm @ usd),
            mm_usd=self.now.mm_usd,
            free_usd=self.free,
            equity_after_usd=float(self.equity_after.sum()),
            mm_after_usd=float(self.mm_after.sum()),
            top_up_usd=self.top_up,
            liquidated_at_hours=None if self.breach is None else self.breach * self.hours,
            liquidated_at_share=self.breach,
            down_usd=_prices(solved, "down"),
            up_usd=_prices(solved, "up"),
            p_before={
                line.underlying: _reached(line, vols[line.underlying], latency)
                for line in solved
                if line.underlying in vols
            },
            delta=self.delta,
            reserve_usd=self.reserve,
            reserve_short_usd=self.reserve_short,
        )


def _prices(solved: Sequence[LiquidationPrice], side: str) -> dict[str, float]:
    found = {}
    for line in solved:
        price = getattr(line, side).price_usd
        if price is not None:
            found[line.underlying] = price
    return found


def _reached(line: LiquidationPrice, vol: float, hours: float) -> float:
    spread = vol * math.sqrt(hours / 8_760.0)
    total = 0.0
    for side in (line.down, line.up):
        if side.price_usd is not None and spread > 0:
            away = abs(math.log(side.price_usd / line.price_usd)) / spread
            total += 2.0 * _NORMAL.cdf(-away)
    return 1.0 if line.breached else min(1.0, total)


#: What a dollar is worth that tops up, and one that fills a reserve; an hour saved is worth less.
_WORTH: dict[Literal["top-up", "reserve"], float] = {"top-up": 1.0, "reserve": 0.1}
_HOURS_WORTH = 1e-3


def _transfers(
    desks: Sequence[_Venue], late: Mapping[tuple[str, str], float | None], hours: float
) -> tuple[list[Transfer], dict[str, float]]:
    """Cover as much as lands in time, by linear programming; of equals the soonest.

    Top-ups go before reserves. What tops a venue up raises what is free there as well, so that a
    reserve needs only what it lacks beyond.
    """
    from scipy.optimize import linprog

    needs = {d.name: d.top_up for d in desks if d.top_up > 0}
    by = {d.name: (hours if d.breach is None else d.breach * hours) for d in desks}
    spare = {d.name: d.spare for d in desks}
    wanted = {(name, "top-up"): usd for name, usd in needs.items()}
    for d in desks:
        if d.reserve_short > d.top_up:
            wanted[d.name, "reserve"] = d.reserve_short - d.top_up
    ways: list[tuple[str, str, Literal["top-up", "reserve"], float, float]] = []
    for (a, b), t in late.items():
        for purpose in _WORTH:
            due = by[b] if purpose == "top-up" else hours
            if (b, purpose) in wanted and spare[a] > 0 and t is not None and t <= due:
                ways.append((a, b, purpose, float(t), due))
    sent = [0.0] * len(ways)
    if ways:
        longest = max(way[3] for way in ways) or 1.0
        cost = [-_WORTH[way[2]] + _HOURS_WORTH * way[3] / longest for way in ways]
        rows = [[float(way[0] == name) for way in ways] for name in spare]
        rows += [[float(way[1:3] == key) for way in ways] for key in wanted]
        limits = [*spare.values(), *wanted.values()]
        solved = linprog(cost, A_ub=rows, b_ub=limits, bounds=(0, None), method="highs")
        sent = np.maximum(solved.x, 0.0).tolist()
    transfers = [
        Transfer(source=a, target=b, usd=usd, lands_hours=t, needed_by_hours=due, purpose=purpose)
        for (a, b, purpose, t, due), usd in zip(ways, sent)
        if usd > 1e-9
    ]
    covered: dict[str, float] = {}
    for one in transfers:
        if one.purpose == "top-up":
            covered[one.target] = covered.get(one.target, 0.0) + one.usd
    left = {name: need - covered.get(name, 0.0) for name, need in needs.items()}
    return transfers, {name: usd for name, usd in left.items() if usd > 1e-9}
