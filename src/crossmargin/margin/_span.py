"""SPAN beyond the scan, on plain numbers: price risk, calendar spreads, inter-commodity credit.

The engine's stages and published risk-array files both come here.

Source
------
CME, "Components of SPAN" and "Risk Arrays" (read); details of the credit from clearing-practice
section 1.1, recalled there and marked so in the rule-set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossmargin.margin._netting import Pairing, add_slope
from crossmargin.margin.components import Calendar, CreditSpread, ExpiryTier, TierSpread

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Partner of each of the sixteen scenarios: same price, other volatility; extremes are their own.
STANDARD_PAIRS = (1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 14, 15)
#: The two scenarios without a price move.
STANDARD_STILL = (0, 1)


def scenario_pairs(move: Floats, vol_state: Ints, weight: Floats) -> tuple[Ints, Ints]:
    """Find each scenario's partner and the scenarios without a price move.

    Parameters
    ----------
    move, weight : float64[S]
        Of one underlying.
    vol_state : int64[S]
        Volatility state.

    Returns
    -------
    pair : int64[S]
        The scenario of the same move and weight with another volatility (the first); itself
        where there is none.
    still : int64[...]
        Scenarios without a move.
    """
    pair = np.arange(move.size)
    for s in range(move.size):
        same = np.flatnonzero(
            (move == move[s]) & (weight == weight[s]) & (vol_state != vol_state[s])
        )
        if same.size:
            pair[s] = same[0]
    return pair, np.flatnonzero(move == 0.0)


def price_risk(loss: Floats, pair: Sequence[int] | Ints, still: Sequence[int] | Ints) -> float:
    """Average loss of the active scenario and its partner, less time risk; at least 0.

    Parameters
    ----------
    loss : float64[S]
        Losses of a portfolio, > 0 a loss.
    pair, still
        As from :func:`scenario_pairs`.
    """
    active = int(np.argmax(loss))
    if loss[active] <= 0.0:
        return 0.0
    time_risk = float(np.mean(loss[list(still)])) if len(still) else 0.0
    return max(0.0, 0.5 * float(loss[active] + loss[pair[active]]) - time_risk)


def tier_of(days: float, tiers: Sequence[ExpiryTier]) -> int:
    """Return the tier (from 1) that an expiry stands in, 0 when in none."""
    for place, tier in enumerate(tiers):
        if tier.from_days <= days and (tier.to_days is None or days < tier.to_days):
            return place + 1
    return 0


def calendar_charge(
    nets: Mapping[float, float], rules: Calendar, unit: Callable[[TierSpread], float]
) -> tuple[float, dict[float, float]]:
    """Charge opposite deltas of one commodity by the lines of its priority table.

    Parameters
    ----------
    nets : mapping of days to expiry to float
        Net composite delta of each expiry.
    rules : Calendar
        Tiers and lines. A line takes, of each tier, the sum of its long expiries and the sum of
        its short ones: first's longs against second's shorts, then the other way about.
    unit : callable
        Charge of a line per unit of delta.

    Returns
    -------
    charge : float
    slope : dict of days to float
        Derivative by the absolute net of each expiry.
    """
    tier = {days: tier_of(days, rules.tiers) for days in nets}
    side: dict[tuple[int, int], float] = {}
    for days, net in nets.items():
        key = (tier[days], 1 if net > 0 else -1)
        side[key] = side.get(key, 0.0) + abs(net)
    pairing = Pairing(side)
    charge = 0.0
    by_side: dict[tuple[int, int], float] = {}
    for line in rules.spreads:
        sides = [1] if line.first == line.second else [1, -1]
        for sign in sides:
            legs = [((line.first, sign), 1.0), ((line.second, -sign), 1.0)]
            count, slope = pairing.take(legs)
            if count > 0.0:
                charge += count * unit(line)
                add_slope(by_side, slope, unit(line))
    return charge, {
        days: by_side.get((tier[days], 1 if net > 0 else -1), 0.0) for days, net in nets.items()
    }


@dataclass(frozen=True, slots=True)
class Credits:
    """Inter-commodity credits, and what they depend on.

    Attributes
    ----------
    credit : dict of str to float
        By commodity.
    by_delta : dict of (str, str) to float
        Derivative of a commodity's credit by another's absolute net delta.
    by_risk : dict of str to float
        Derivative of a commodity's credit by its own price risk.
    """

    credit: dict[str, float]
    by_delta: dict[tuple[str, str], float]
    by_risk: dict[str, float]


def spread_credits(
    deltas: Mapping[str, float], risks: Mapping[str, float], spreads: Sequence[CreditSpread]
) -> Credits:
    """Form inter-commodity spreads and credit their legs.

    ``credit of a leg = price risk / |net delta| × spreads × ratio × credit rate``; a spread needs
    its A legs on one side of the market and its B legs on the other.

    Parameters
    ----------
    deltas : mapping of str to float
        Net composite delta by commodity.
    risks : mapping of str to float
        Price risk by commodity, at least 0.
    spreads : sequence of CreditSpread
        In order of priority.
    """
    pairing = Pairing({name: abs(delta) for name, delta in deltas.items()})
    credit = dict.fromkeys(deltas, 0.0)
    by_delta: dict[tuple[str, str], float] = {}
    by_risk = dict.fromkeys(deltas, 0.0)
    for spread in spreads:
        if any(deltas.get(leg.group, 0.0) == 0.0 for leg in spread.legs):
            continue
        signs = {(deltas[leg.group] > 0) == (leg.side == "A") for leg in spread.legs}
        if len(signs) > 1:
            continue
        count, slope = pairing.take([(leg.group, leg.ratio) for leg in spread.legs])
        if count <= 0.0:
            continue
        for leg in spread.legs:
            size = abs(deltas[leg.group])
            rate = leg.ratio * spread.credit
            per = risks[leg.group] / size
            credit[leg.group] += per * count * rate
            by_risk[leg.group] += count * rate / size
            own = (leg.group, leg.group)
            by_delta[own] = by_delta.get(own, 0.0) - per * count * rate / size
            for other, s in slope.items():
                key = (leg.group, other)
                by_delta[key] = by_delta.get(key, 0.0) + per * rate * s
    return Credits(credit, by_delta, by_risk)
