"""What a check sums and judges pot by pot, compiled; see :mod:`crossmargin.margin.pretrade`."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from crossmargin.margin.live._gate_blocks import (
    ABSURD,
    DEBT,
    PARTS,
    REDUCING,
    REFUSED,
    ROOM,
    asked_of,
    market_of,
    resting_of,
    work_of,
)
from crossmargin.margin.live._gate_rows import add_extra, place_of
from crossmargin.margin.live._gate_tables import CERTAIN, POTS

#: Figures by pot in scratch.
(EQUITY, IM, EQUITY_REST, IM_REST, IM_RESTING, EQUITY_FILLED, IM_FILLED, IM_LOW, IM_HIGH,
 LEAST, TOUCHED, WORST, PASSES) = range(13)  # fmt: skip
WIDTH = 13


@numba.njit(cache=True, boundscheck=False, error_model="numpy")
def sum_before(market_at: int, work_at: int, runs: int) -> None:
    """Add the records of the account as it stands up by pot, and what the order leaves alone."""
    market, work = market_of(market_at), work_of(work_at)
    pot_of, in_group, pot_usd, group_of = market[8], market[11], market[25], market[6]
    code, out, im, run, pots = work[4], work[15], work[17], work[18], work[27]
    for r in range(runs):
        c = code[run[4 * r]]
        p = WIDTH * pot_of[c]
        usd = pot_usd[pot_of[c]]
        eq = out[1, r] * usd
        need = im[r] * usd if in_group[group_of[c]] != 0 else 0.0
        pots[p + EQUITY] += eq
        if run[4 * r + 3] != 0:
            pots[p + IM] += need
        if run[4 * r + 2] == 0:
            pots[p + EQUITY_REST] += eq
            pots[p + IM_REST] += need


@numba.njit(cache=True, boundscheck=False, error_model="numpy")
def sum_touched(
    market_at: int, work_at: int, runs: int, first: int, step: int, eq: int, to: int
) -> None:
    """Add records of touched runs, from `first` on every `step`, to what the order leaves alone.

    `eq` is the column that equity goes to, or -1.
    """
    market, work = market_of(market_at), work_of(work_at)
    pot_of, in_group, pot_usd, group_of = market[8], market[11], market[25], market[6]
    code, out, im, run, pots = work[4], work[15], work[17], work[18], work[27]
    for p in range(market[29][POTS]):
        if pots[WIDTH * p + TOUCHED] != 0.0:
            pots[WIDTH * p + to] = pots[WIDTH * p + IM_REST]
            if eq >= 0:
                pots[WIDTH * p + eq] = pots[WIDTH * p + EQUITY_REST]
    at = first
    for r in range(runs):
        if run[4 * r + 2] == 0:
            continue
        c = code[run[4 * r]]
        p = WIDTH * pot_of[c]
        usd = pot_usd[pot_of[c]]
        if in_group[group_of[c]] != 0:
            pots[p + to] += im[at] * usd
        if eq >= 0:
            pots[p + eq] += out[1, at] * usd
        at += step


@numba.njit(cache=True, boundscheck=False, error_model="numpy")
def list_extras(market_at: int, work_at: int, resting_at: int, legs: int, removals: int) -> int:
    """List the codes that an order moves or leaves; -1 where it is not to be judged here."""
    market, resting = market_of(market_at), resting_of(resting_at)
    code, quantity, price, _, _, removed = asked_of(work_at)
    extra, cash = work_of(work_at)[26], market[27]
    count = 0
    for leg in range(legs):
        c = code[leg]
        # Prices of nothing and unsound numbers are judged where there is time for words.
        if not 0.0 < abs(quantity[leg]) <= ABSURD or price[leg] <= 0.0 or price[leg] == np.inf:
            return -1
        if cash[2 * c] < 0:
            return -1
        count = add_extra(extra, count, c)
        for side in range(2):
            if cash[2 * c + side] >= 0:
                count = add_extra(extra, count, cash[2 * c + side])
    for k in range(removals):
        for leg in range(resting[1][2 * removed[k]], resting[1][2 * removed[k] + 1]):
            count = add_extra(extra, count, resting[4][leg])
    return count


@numba.njit(cache=True, boundscheck=False, error_model="numpy")
def orders_valued(market_at: int, resting_at: int) -> bool:
    """Whether everything that an account has ordered can be valued here."""
    stop, resting = market_of(market_at)[5], resting_of(resting_at)
    for order in range(resting[0][0]):
        if resting[3][order] != 0:
            for leg in range(resting[1][2 * order], resting[1][2 * order + 1]):
                if stop[resting[4][leg]] != 0:
                    return False
    return True


@numba.njit(cache=True, boundscheck=False, error_model="numpy")
def open_pots(market_at: int, work_at: int, legs: int) -> Any:
    """Clear the pots and mark those that the order touches.

    Returns its gross notional in US dollars, and whether money is linear in its shares.
    """
    market, pots = market_of(market_at), work_of(work_at)[27]
    unit, pot_of, facts = market[3], market[8], market[29]
    code, quantity, _, _, _, _ = asked_of(work_at)
    for p in range(facts[POTS]):
        for k in range(WIDTH):
            pots[WIDTH * p + k] = 0.0
        pots[WIDTH * p + LEAST] = np.inf
        pots[WIDTH * p + PASSES] = 1.0
    gross = 0.0
    linear = facts[CERTAIN] != 0
    for leg in range(legs):
        c = code[leg]
        pots[WIDTH * pot_of[c] + TOUCHED] = 1.0
        gross += abs(quantity[leg]) * unit[8 * c + 5]
        linear = linear and unit[8 * c + 6] != 0.0
    return gross, linear


@numba.njit(cache=True, boundscheck=False, error_model="numpy")
def totals(market_at: int, work_at: int, added: bool, live: bool) -> Any:
    """Equity, and initial margin as it stands and with the order resting, over touched pots."""
    pots = work_of(work_at)[27]
    equity = before = after = 0.0
    for p in range(market_of(market_at)[29][POTS]):
        at = WIDTH * p
        if pots[at + TOUCHED] == 0.0:
            continue
        if not added:
            # At-fill: an order reserves nothing, but its pot is stressed.
            pots[at + IM_RESTING] = pots[at + IM]
        if not live:
            pots[at + IM] = 0.0
        equity += pots[at + EQUITY]
        before += pots[at + IM]
        after += pots[at + IM_RESTING]
    return equity, before, after


@numba.njit(cache=True, boundscheck=False, error_model="numpy")
def judge_whole(market_at: int, work_at: int, rounding: float, mixed: bool, live: bool) -> bool:
    """Judge the whole order; return whether its shares can be no worse.

    At every share the excess is at least, and the requirement at most, on the line between their
    ends (see :func:`crossmargin.margin.live._gate_kernel.bound_kernel`); with nothing filled the
    order asks no more than resting.
    """
    pots = work_of(work_at)[27]
    certain = True
    for p in range(market_of(market_at)[29][POTS]):
        at = WIDTH * p
        if pots[at + TOUCHED] == 0.0:
            continue
        excess = pots[at + EQUITY] - pots[at + IM]
        waiting = pots[at + EQUITY] - pots[at + IM_RESTING]
        filled = pots[at + EQUITY_FILLED] - pots[at + IM_FILLED]
        here = min(waiting, filled)
        harm = max(pots[at + IM_FILLED] - pots[at + IM], excess - filled)
        worse = harm
        if mixed:
            low = pots[at + EQUITY] - pots[at + IM_LOW]
            high = pots[at + EQUITY_FILLED] - pots[at + IM_HIGH]
            certain = certain and min(low, high) >= here
            rise = max(pots[at + IM_LOW], pots[at + IM_HIGH]) - pots[at + IM]
            worse = max(rise, excess - min(low, high))
        if not here >= -rounding:
            if not harm <= rounding:
                pots[at + PASSES] = 0.0
            elif not worse <= rounding or not live:
                certain = False
        pots[at + LEAST] = min(pots[at + LEAST], here)
    return certain


@numba.njit(cache=True, boundscheck=False, error_model="numpy")
def judge_share(market_at: int, work_at: int, rounding: float) -> bool:
    """Judge a share of the order; return whether it matters how that share would rest."""
    pots = work_of(work_at)[27]
    asked = False
    for p in range(market_of(market_at)[29][POTS]):
        at = WIDTH * p
        if pots[at + TOUCHED] == 0.0:
            continue
        excess = pots[at + EQUITY] - pots[at + IM]
        filled = pots[at + EQUITY_FILLED] - pots[at + IM_FILLED]
        harm = max(pots[at + IM_FILLED] - pots[at + IM], excess - filled)
        pots[at + LEAST] = min(pots[at + LEAST], filled)
        pots[at + WORST] = harm
        if not harm <= rounding:
            if not filled >= -rounding:
                pots[at + PASSES] = 0.0
            elif not pots[at + EQUITY] - pots[at + IM_RESTING] >= -rounding:
                asked = True
    return asked


@numba.njit(cache=True, boundscheck=False, error_model="numpy")
def judge_resting(market_at: int, work_at: int, rounding: float, column: int) -> None:
    """Refuse pots that a share harms and that have no room while it rests."""
    pots = work_of(work_at)[27]
    for p in range(market_of(market_at)[29][POTS]):
        at = WIDTH * p
        if pots[at + TOUCHED] == 0.0 or pots[at + WORST] <= rounding:
            continue
        if not pots[at + EQUITY] - pots[at + column] >= -rounding:
            pots[at + PASSES] = 0.0


@numba.njit(cache=True, boundscheck=False, error_model="numpy")
def share_of(work_at: int, extras: int, first: int, number: int) -> float:
    """Share `number` of an order: sixteenths, then those at which a leg makes a position flat."""
    if number < PARTS - 1:
        return (number + 1.0) / PARTS
    work = work_of(work_at)
    code, quantity, _, _, _, _ = asked_of(work_at)
    leg = first + number - (PARTS - 1)
    return float(-work[6][place_of(work[26], extras, code[leg])] / quantity[leg])


@numba.njit(cache=True, boundscheck=False, error_model="numpy")
def verdict(market_at: int, work_at: int, rounding: float, owed: float, no_debt: bool) -> Any:
    """Return the rule that decides, the least excess, and the pot that has it."""
    pots = work_of(work_at)[27]
    least = np.inf
    poor = 0
    passes = True
    for p in range(market_of(market_at)[29][POTS]):
        at = WIDTH * p
        if pots[at + TOUCHED] == 0.0:
            continue
        if not pots[at + LEAST] >= least:
            least, poor = pots[at + LEAST], p
        passes = passes and pots[at + PASSES] != 0.0
    rule = ROOM if least >= -rounding else REDUCING
    if not passes:
        rule = REFUSED
    elif no_debt and owed > rounding:
        rule = DEBT
    return rule, least, poor
