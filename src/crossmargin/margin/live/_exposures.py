"""Pots and exposures of a book: who depends on which price, and between which prices nothing is due.

A *pot* is one pool of one account: what must not fall below the maintenance line. An *exposure*
is what one pot has in one driver: the rows of a group, and coins that stand beside them. The
slack of a pot is a constant plus the sum over its exposures, each of which depends on one price.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from crossmargin.margin.fused._holdings import Holdings
from crossmargin.margin.fused._layout import GROUP, POT
from crossmargin.margin.live._price import PriceTable

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Bits of a pot's state. ``OPEN``: holds what has no bound. ``FAILED``: holds what cannot be
#: valued. ``OVER``: beyond a limit of a component. Those that are open or over are computed anew
#: at every tick.
SAFE, BREACHED, OPEN, FAILED, OVER = 0, 1, 2, 4, 8

#: Exposures in a block of trigger prices.
BLOCK = 64


@dataclass(slots=True, kw_only=True)
class Exposures:
    """Pots and exposures.

    Attributes
    ----------
    pot_account : int32[P]
        Account of each pot.
    pot_first : int64[P + 1]
        Exposures of each pot.
    still : float64[P]
        Equity that no driver moves, US dollars.
    guard : float64[P]
        What is taken for rounding, US dollars.
    state : uint8[P]
        Bits.
    slack : float64[P]
        At the prices of the last visit.
    first, last : int64[E]
        Rows of each exposure in the holdings; none where it is coins alone.
    driver : uint8[E]
        Driver.
    pot : int32[E]
        Pot.
    cash : float64[E]
        US dollars per unit of ρ of coins that no scenario moves.
    value, room : float64[E]
        Slack of the exposure, and what is left of its limit, at `rho`.
    loose : float64[E]
        Slack without turned scenarios: what is bounded from above.
    rho : float64[E]
        Price of the last visit.
    fall, rise : float64[E]
        How fast what is left of the slack can go, US dollars per unit of ρ, as ρ falls or rises.
    room_fall, room_rise : float64[E]
        The same of `room`.
    level : uint8[E]
        Which range the rates hold in.
    place : int64[E]
        Position among the exposures of its driver.
    """

    pot_account: NDArray[np.int32]
    pot_first: Ints
    still: Floats
    guard: Floats
    state: NDArray[np.uint8]
    slack: Floats
    first: Ints
    last: Ints
    driver: NDArray[np.uint8]
    pot: NDArray[np.int32]
    cash: Floats
    value: Floats
    loose: Floats
    room: Floats
    rho: Floats
    fall: Floats
    rise: Floats
    room_fall: Floats
    room_rise: Floats
    level: NDArray[np.uint8]
    place: Ints

    @property
    def nbytes(self) -> int:
        """Bytes of the columns."""
        return sum(getattr(self, name).nbytes for name in self.__slots__)


def expose(holdings: Holdings, prices: PriceTable, code: NDArray[Any], rounding: float) -> Exposures:
    """Find the pots and exposures of holdings.

    Parameters
    ----------
    holdings : Holdings
        Accounts.
    prices : PriceTable
        Table as a function of prices.
    code : uint16[N] or uint32[N]
        Signed codes of the rows.
    rounding : float
        Share of the gross value that is taken for rounding.
    """
    d = prices.drivers
    fixed = np.ascontiguousarray(prices.fixed[:, prices.signed.equity])
    rate = np.ascontiguousarray(prices.rate[:, prices.signed.equity])
    of = np.repeat(d.of_code, 2).astype(np.int64)
    cash_code = np.repeat(~prices.grouped, 2)
    gross = np.repeat(prices.gross, 2) * rounding
    unknown = np.repeat(prices.unknown, 2)
    args = (holdings.start, code, holdings.quantity, holdings.level, of, cash_code, fixed, rate,
            gross, unknown)  # fmt: skip
    none_f, none_i = np.empty(0), np.empty(0, np.int64)
    none_32, none_8 = np.empty(0, np.int32), np.empty(0, np.uint8)
    count = d.asset.size
    pots, size = _index(*args, count, True, none_32, none_i, none_f, none_f, none_8, none_i,
                        none_i, none_8, none_32, none_f)  # fmt: skip
    out = Exposures(
        pot_account=np.empty(pots, np.int32), pot_first=np.zeros(pots + 1, np.int64),
        still=np.zeros(pots), guard=np.zeros(pots), state=np.zeros(pots, np.uint8),
        slack=np.zeros(pots), first=np.zeros(size, np.int64), last=np.zeros(size, np.int64),
        driver=np.zeros(size, np.uint8), pot=np.zeros(size, np.int32), cash=np.zeros(size),
        value=np.zeros(size), loose=np.zeros(size), room=np.full(size, np.inf), rho=np.zeros(size), fall=np.zeros(size),
        rise=np.zeros(size), room_fall=np.zeros(size), room_rise=np.zeros(size),
        level=np.zeros(size, np.uint8), place=np.zeros(size, np.int64),
    )  # fmt: skip
    _index(*args, count, False, out.pot_account, out.pot_first, out.still, out.guard, out.state,
           out.first, out.last, out.driver, out.pot, out.cash)  # fmt: skip
    return out


@numba.njit(nogil=True, cache=True)
def _index(
    start: Any, code: Any, quantity: Any, level: Any, driver_of: Any, cash_code: Any, fixed: Any,
    rate: Any, gross: Any, unknown: Any, drivers: int, counting: bool, pot_account: Any,
    pot_first: Any, still: Any, guard: Any, state: Any, first: Any, last: Any, driver: Any,
    pot_of: Any, cash: Any,
) -> tuple[int, int]:  # fmt: skip
    """Find pots and exposures; only count them where `counting`."""
    at = np.empty(drivers, np.int64)
    pots = exposures = 0
    for a in range(start.size - 1):
        k, end = start[a], start[a + 1]
        while k < end:
            for d in range(drivers):
                at[d] = -1
            if not counting:
                pot_account[pots] = a
                pot_first[pots] = exposures
            opened = k
            while k < end and (k == opened or level[k] < POT):
                c = code[k]
                d = driver_of[c]
                if d >= 0 and at[d] < 0:
                    at[d] = exposures
                    if not counting:
                        driver[exposures] = d
                        pot_of[exposures] = pots
                        first[exposures] = k
                        last[exposures] = k
                    exposures += 1
                if cash_code[c]:
                    if not counting:
                        q = quantity[k]
                        still[pots] += q * fixed[c]
                        if d >= 0:
                            cash[at[d]] += q * rate[c]
                        guard[pots] += abs(q) * gross[c]
                        if unknown[c]:
                            state[pots] |= OPEN
                    k += 1
                    continue
                stop = k
                while stop < end and (stop == k or level[stop] < GROUP) and not cash_code[code[stop]]:
                    if not counting:
                        guard[pots] += abs(quantity[stop]) * gross[code[stop]]
                        if unknown[code[stop]]:
                            state[pots] |= OPEN
                    stop += 1
                if not counting:
                    first[at[d]] = k
                    last[at[d]] = stop
                k = stop
            pots += 1
            if not counting:
                pot_first[pots] = exposures
    return pots, exposures


@numba.njit(nogil=True, cache=True)
def signed_codes(code: Any, quantity: Any, out: Any) -> None:
    """Write ``2·code`` for longs and ``2·code + 1`` for shorts."""
    for k in range(code.size):
        out[k] = 2 * code[k] + (1 if quantity[k] < 0 else 0)


@numba.njit(nogil=True, cache=True)
def gather(pots: Any, count: int, pot_first: Any, driver: Any, which: int, moved_only: bool,
           rho: Any, now: float, out: Any) -> int:  # fmt: skip
    """List the exposures of pots in one driver; only those last visited at another price."""
    n = 0
    for r in range(count):
        for e in range(pot_first[pots[r]], pot_first[pots[r] + 1]):
            if driver[e] == which and not (moved_only and rho[e] == now):
                out[n] = e
                n += 1
    return n


@numba.njit(nogil=True, cache=True)
def put_values(
    exposures: Any, slack: Any, loose_in: Any, room_in: Any, cash: Any, now: float, value: Any,
    loose: Any, room: Any, rho: Any,
) -> None:  # fmt: skip
    """Note slack and room of exposures at a price."""
    for r in range(exposures.size):
        e = exposures[r]
        value[e] = slack[r] + cash[e] * now
        loose[e] = loose_in[r] + cash[e] * now
        room[e] = room_in[r]
        rho[e] = now


@numba.njit(nogil=True, cache=True)
def put_rates(
    exposures: Any, slack: Any, room_in: Any, cash: Any, at: float, end: float, start: Any,
    room: Any, rho: Any, rate: Any, room_rate: Any,
) -> None:  # fmt: skip
    """Turn bounds at another price into rates per unit of ρ; `start` is the slack at the anchor.

    Below: the slack lost to `at`, over the distance. Above: `at` lies behind; what lines that
    rule out more slack lose going backwards, they can gain going forwards.
    """
    for r in range(exposures.size):
        e = exposures[r]
        rate[e] = (start[e] - slack[r] - cash[e] * at) / abs(at - rho[e])
        lost = 0.0 if np.isinf(room[e]) else (room[e] - room_in[r]) / abs(end - rho[e])
        room_rate[e] = lost


@numba.njit(nogil=True, cache=True)
def settle(
    pots: Any, count: int, pot_first: Any, still: Any, value: Any, room: Any, guard: Any,
    state: Any, slack: Any, flipped: Any, unsure: Any,
) -> tuple[int, int]:  # fmt: skip
    """Sum pots; return how many changed side and how many are too near the line to tell."""
    changed = doubtful = 0
    for r in range(count):
        p = pots[r]
        if state[p] & FAILED:
            continue
        x = still[p]
        over = False
        for e in range(pot_first[p], pot_first[p + 1]):
            x += value[e]
            over |= not room[e] > 0.0
        slack[p] = x
        if np.isnan(x):
            state[p] |= FAILED
            continue
        if abs(x) <= guard[p]:
            unsure[doubtful] = p
            doubtful += 1
        if over:
            state[p] |= OVER
        else:
            state[p] &= ~OVER
        now = state[p] & ~BREACHED
        if x < 0.0:
            now |= BREACHED
        if now != state[p]:
            flipped[changed] = p
            changed += 1
            state[p] = now
    return changed, doubtful


@numba.njit(nogil=True, cache=True)
def set_triggers(
    pots: Any, count: int, pot_first: Any, driver: Any, state: Any, slack: Any, guard: Any,
    still: Any, loose: Any, rho: Any, fall: Any, rise: Any, room: Any, room_fall: Any, room_rise: Any, level: Any,
    place: Any, pace: Any, low_ends: Any, high_ends: Any, levels: int, offset: Any, lower: Any,
    upper: Any, block_lower: Any, block_upper: Any,
) -> None:  # fmt: skip
    """Share what is left of each pot among its exposures, and write their trigger prices.

    `low_ends` and `high_ends` (float64[D, levels]) are the ends of the ranges in which rates hold,
    as multiples of the price of the visit.
    """
    for r in range(count):
        p = pots[r]
        a, b = pot_first[p], pot_first[p + 1]
        closed = (state[p] & FAILED) != 0
        open_ = (state[p] & (OPEN | OVER)) != 0
        left = slack[p] - guard[p]
        if state[p] & BREACHED:
            left = -still[p] - guard[p]
            for e in range(a, b):
                left -= loose[e]
        total = 0.0
        for e in range(a, b):
            total += max(max(fall[e], rise[e]), 0.0) * rho[e] * pace[driver[e]]
        for e in range(a, b):
            d = driver[e]
            low, high = rho[e], rho[e]
            if closed:
                low, high = 0.0, np.inf
            elif not open_ and left > 0.0:
                weight = max(max(fall[e], rise[e]), 0.0) * rho[e] * pace[d]
                budget = left * (weight / total) if total > 0.0 else left
                reach_low = rho[e] * (1.0 - low_ends[d, level[e]])
                reach_high = rho[e] * (high_ends[d, level[e]] - 1.0)
                go_low, go_high = reach_low, reach_high
                if fall[e] > 0.0:
                    go_low = min(go_low, budget / fall[e])
                if rise[e] > 0.0:
                    go_high = min(go_high, budget / rise[e])
                if room_fall[e] > 0.0:
                    go_low = min(go_low, room[e] / room_fall[e])
                if room_rise[e] > 0.0:
                    go_high = min(go_high, room[e] / room_rise[e])
                # Nothing is lost to rounding: a hair less than the bound allows.
                low = rho[e] - go_low * (1.0 - 1e-12)
                high = rho[e] + go_high * (1.0 - 1e-12)
                used = min(go_low / reach_low, go_high / reach_high)
                if used < 0.2 and level[e] + 1 < levels:
                    level[e] += 1
                elif used >= 0.999 and level[e] > 0:
                    level[e] -= 1
            k = offset[d] + place[e]
            lower[k] = low
            upper[k] = high
            block = k // BLOCK
            if low > block_lower[block]:
                block_lower[block] = low
            if high < block_upper[block]:
                block_upper[block] = high


@numba.njit(nogil=True, cache=True)
def find_due(
    begin: int, end: int, now: float, lower: Any, upper: Any, block_lower: Any, block_upper: Any,
    exposure: Any, pot: Any, out: Any,
) -> int:  # fmt: skip
    """List the pots of exposures whose trigger prices have been crossed.

    Summaries of blocks that are opened are tightened to what is in them.
    """
    n = 0
    for block in range(begin // BLOCK, -(-end // BLOCK)):
        if now >= block_lower[block] and now <= block_upper[block]:
            continue
        most, least = -np.inf, np.inf
        for k in range(max(begin, block * BLOCK), min(end, (block + 1) * BLOCK)):
            if now < lower[k] or now > upper[k]:
                out[n] = pot[exposure[k]]
                n += 1
            most = max(most, lower[k])
            least = min(least, upper[k])
        block_lower[block] = most
        block_upper[block] = least
    return n
