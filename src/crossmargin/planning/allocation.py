"""Capital over strategies: what earns most inside limits of margin, shortfall and venues.

A strategy is one unit of anything that has a return a period, a profit in each scenario, and a
requirement a unit; a plan holds so many units of each. Amounts are US dollars.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.errors import PlanningError
from crossmargin.planning._allocation_model import AllocationModel
from crossmargin.planning._checks import positive, within
from crossmargin.planning.allocation_types import (
    Allocation,
    AllocationLine,
    Strategy,
    VenueCapital,
)
from crossmargin.planning.contributions import profits_table, shortfall_contributions
from crossmargin.stats import expected_shortfall

Floats = NDArray[np.float64]


def allocate(
    strategies: Sequence[Strategy],
    profits: ArrayLike,
    *,
    equity: float,
    im_share: float = 1.0,
    shortfall: float | None = None,
    level: float = 0.99,
    liquidation: float | None = None,
    mm_share: float = 0.5,
    scan: ArrayLike | None = None,
    venue_im: Mapping[str, float] | None = None,
    reserves: Mapping[str, float] | None = None,
    balances: Mapping[str, float] | None = None,
) -> Allocation:
    """Earn most inside limits on margin, shortfall, and the chance of liquidation.

    Maximise ``Σ μ_k x_k`` over ``0 ≤ x_k ≤ most`` with

    - margin: ``Σ im_k x_k ≤ u·E``, or with `scan` the worst of its scenarios (portfolio margin:
      hedges net), ``max_s −(T_s·x) ≤ u·E``;
    - expected shortfall: ``ES_α(−P·x) ≤ limit``, as linear constraints of Rockafellar and
      Uryasev (2000);
    - liquidation: in at most a share ε of the scenarios ``P_s·x + E < mm_share·margin``, with a
      yes-or-no variable a scenario (mixed-integer);
    - margin a venue can take;
    - reserves: at a venue where anything is held, `reserves[v]` stays free beside its margin, so
      ``Σ_v (im_v + r_v·held_v) ≤ E`` and, where money cannot be moved,
      ``im_v + r_v·held_v ≤ balances[v]``, with a yes-or-no variable a venue that has a reserve.

    Solved by HiGHS; the answer is computed again from the figures, not read off the solver. Source:
    requirements row A03.

    Parameters
    ----------
    strategies : sequence of Strategy
        At least one; a short is a strategy of its own.
    profits : array_like
        ``[S, K]``, a unit's profit in each equally likely scenario of a period, US dollars.
    equity : float
        US dollars.
    im_share : float
        u: share of equity that may be initial margin.
    shortfall : float, optional
        US dollars.
    level : float
        α.
    liquidation : float, optional
        ε.
    mm_share : float
        Maintenance over initial margin.
    scan : array_like, optional
        ``[C, K]``, a unit's profit in each scenario of the margin.
    venue_im : dict, optional
        Initial margin that a venue may hold at most, by its name; summed as if alone.
    reserves : dict, optional
        Free balance that a venue keeps at least while anything is held there, US dollars.
    balances : dict, optional
        Capital that is at a venue and stays there, US dollars; venues without one share what is
        left of the equity.

    Raises
    ------
    PlanningError
        ``PLN-001`` a venue at which nothing is held, ``PLN-004`` no plan, or one without an end.
    """
    p = profits_table(profits, len(strategies))
    _check_strategies(strategies)
    positive(equity=equity, shortfall=shortfall)
    within(0.0, 1.0, im_share=im_share, liquidation=liquidation, mm_share=mm_share)
    within(0.5, 0.9999, level=level)
    table = None if scan is None else profits_table(scan, len(strategies))
    model = AllocationModel(strategies, p, table)
    model.margin(im_share * equity)
    for venue, limit in (venue_im or {}).items():
        model.venue(venue, limit)
    kept, there = dict(reserves or {}), dict(balances or {})
    _check_venues(strategies, kept, there, equity)
    if kept or there:
        model.capital(equity, kept, there)
    if shortfall is not None:
        model.shortfall(shortfall, level)
    if liquidation is not None:
        model.liquidation(liquidation, equity, mm_share)
    units = model.solve()
    return _plan(
        strategies, p, table, units, equity=equity, im_share=im_share, shortfall=shortfall,
        level=level, liquidation=liquidation, mm_share=mm_share, venue_im=venue_im or {},
        reserves=kept, balances=there,
    )  # fmt: skip


def _check_venues(
    strategies: Sequence[Strategy], reserves: Mapping[str, float], balances: Mapping[str, float],
    equity: float,
) -> None:  # fmt: skip
    known = {s.venue for s in strategies if s.venue}
    for field, table in (("reserves", reserves), ("balances", balances)):
        for venue, amount in table.items():
            if venue not in known:
                raise PlanningError(
                    f"no strategy is held at {venue!r}", code="PLN-001", field=field,
                    hint=f"one of {', '.join(sorted(known)) or 'no venue, for none is named'}",
                )  # fmt: skip
            if not (math.isfinite(amount) and amount >= 0):
                raise PlanningError(
                    f"{venue!r} with {amount:g} USD", code="PLN-001", field=field,
                    hint="US dollars, at least 0",
                )  # fmt: skip
    if sum(balances.values()) > equity * (1 + 1e-9):
        raise PlanningError(
            f"balances at venues add up to {sum(balances.values()):,.2f} USD, the equity is "
            f"{equity:,.2f}",
            code="PLN-001",
            field="balances",
        )


def _check_strategies(strategies: Sequence[Strategy]) -> None:
    names = [s.name for s in strategies]
    if not names or len(set(names)) != len(names):
        raise PlanningError(
            "strategies have names of their own, and there is at least one", code="PLN-001",
            field="strategies",
        )  # fmt: skip
    for s in strategies:
        if not (math.isfinite(s.profit) and math.isfinite(s.im) and s.im >= 0 and s.most >= 0):
            raise PlanningError(
                f"strategy {s.name!r} has a finite profit and a margin of at least 0",
                code="PLN-001",
                field="strategies",
            )


def _venue_im(
    strategies: Sequence[Strategy], scan: Floats | None, units: Floats, venue: str
) -> float:
    """Margin of what is held at one venue: summed, or the worst of its own scan."""
    here = np.array([s.venue == venue for s in strategies])
    if scan is None:
        return float(np.array([s.im for s in strategies])[here] @ units[here])
    return max(0.0, float(-(scan[:, here] @ units[here]).min()))


def _plan(
    strategies: Sequence[Strategy],
    p: Floats,
    scan: Floats | None,
    units: Floats,
    *,
    equity: float,
    im_share: float,
    shortfall: float | None,
    level: float,
    liquidation: float | None,
    mm_share: float,
    venue_im: Mapping[str, float],
    reserves: Mapping[str, float],
    balances: Mapping[str, float],
) -> Allocation:
    alone = np.array([s.im for s in strategies]) * units
    im = float(alone.sum()) if scan is None else max(0.0, float(-(scan @ units).min()))
    result = p @ units
    es = expected_shortfall(-result, level)
    dead = float((result + equity < mm_share * im - 1e-9 * equity).mean())
    earned = np.array([s.profit for s in strategies]) * units
    shares = shortfall_contributions(units, p, level)
    binding = []
    if im >= im_share * equity * (1 - 1e-6):
        binding.append("margin")
    if shortfall is not None and es >= shortfall * (1 - 1e-6):
        binding.append("shortfall")
    if liquidation is not None and dead >= math.floor(liquidation * len(p) + 1e-9) / len(p):
        binding.append("liquidation")
    for venue, limit in venue_im.items():
        here = sum(x for s, x in zip(strategies, alone.tolist()) if s.venue == venue)
        if here >= limit * (1 - 1e-6):
            binding.append(f"venue {venue}")
    venues = _capital(strategies, scan, units, reserves, balances)
    binding += _tight(venues, reserves, balances, equity)
    binding += [f"most {s.name}" for s, x in zip(strategies, units) if x >= s.most * (1 - 1e-9) > 0]
    lines = tuple(
        AllocationLine(
            name=s.name,
            venue=s.venue,
            units=float(units[k]),
            im=float(alone[k]),
            profit=float(earned[k]),
            shortfall=float(shares[k]),
            return_on_margin=s.profit / s.im if s.im > 0 else None,
        )
        for k, s in enumerate(strategies)
    )
    return Allocation(
        lines=lines,
        profit=float(earned.sum()),
        im=im,
        shortfall=es,
        liquidation=dead,
        binding=tuple(binding),
        level=level,
        venues=venues,
        unplaced=equity - sum(max(v.capital, v.balance or 0.0) for v in venues),
    )


def _capital(
    strategies: Sequence[Strategy],
    scan: Floats | None,
    units: Floats,
    reserves: Mapping[str, float],
    balances: Mapping[str, float],
) -> tuple[VenueCapital, ...]:
    names = sorted({s.venue for s in strategies})
    found = []
    for venue in names if names != [""] else []:
        im = _venue_im(strategies, scan, units, venue)
        held = any(s.venue == venue and x > 0 for s, x in zip(strategies, units.tolist()))
        kept = reserves.get(venue, 0.0) if held else 0.0
        found.append(
            VenueCapital(
                venue=venue, im=im, reserve=kept, capital=im + kept, balance=balances.get(venue)
            )
        )
    return tuple(found)


def _tight(
    venues: Sequence[VenueCapital],
    reserves: Mapping[str, float],
    balances: Mapping[str, float],
    equity: float,
) -> list[str]:
    """Name the limits on capital that are met with equality."""
    if not (reserves or balances):
        return []
    found = [
        f"balance {v.venue}"
        for v in venues
        if v.balance is not None and v.capital > 0 and v.capital >= v.balance * (1 - 1e-6)
    ]
    free = [v.capital for v in venues if v.balance is None]
    if free and sum(free) >= (equity - sum(balances.values())) * (1 - 1e-6):
        found.append("capital")
    return found


def margin_frontier(
    strategies: Sequence[Strategy], profits: ArrayLike, *, equity: float, points: int = 11,
    level: float = 0.99, im_share: float = 1.0, scan: ArrayLike | None = None,
    venue_im: Mapping[str, float] | None = None, reserves: Mapping[str, float] | None = None,
    balances: Mapping[str, float] | None = None,
) -> list[Allocation]:  # fmt: skip
    """Return the best plan at each of several limits of shortfall, from least to most.

    The efficient frontier on margin rather than variance (requirements row A03): the last point is
    the plan with no limit but margin, the others have a share of its shortfall.
    """
    if points < 2:
        raise PlanningError("a frontier has at least 2 points", code="PLN-003", field="points")

    def best(limit: float | None) -> Allocation:
        return allocate(
            strategies, profits, equity=equity, level=level, im_share=im_share, scan=scan,
            venue_im=venue_im, reserves=reserves, balances=balances, shortfall=limit,
        )  # fmt: skip

    last = best(None)
    if last.shortfall <= 0:
        return [last]
    return [*(best(last.shortfall * k / (points - 1)) for k in range(1, points - 1)), last]
