"""Pots and exposures of a book: who depends on which price, and when nothing is due.

A *pot* is one pool of one account: what must not fall below the maintenance line. An *exposure*
is what one pot has in one driver: the rows of a group, and coins that stand beside them. The
slack of a pot is a constant plus the sum over its exposures, each of which depends on one price.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from crossmargin.margin.fused._holdings import Holdings
from crossmargin.margin.fused._layout import POT
from crossmargin.margin.live._price import PriceTable

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Bits of a pot's state. ``OPEN``: beyond a limit of a component, so computed anew at every tick.
#: ``FAILED``: holds what cannot be valued, or what no bound covers. ``STUCK``: beyond a limit in
#: something that stands still. ``DEAD``: its account has other pots now.
SAFE, BREACHED, OPEN, FAILED, STUCK, DEAD = 0, 1, 2, 4, 8, 16

#: Exposures in a block of trigger prices, and blocks in a block of blocks.
BLOCK, BLOCKS = 16, 64

#: Figures of an exposure, one cache line: slack and slack without turned scenarios at `RHO`, what
#: is left of its limit, the price of the last visit, and how fast slack and limit can go as the
#: price falls and rises, US dollars per unit of ρ.
VALUE, LOOSE, ROOM, RHO, FALL, RISE, ROOM_FALL, ROOM_RISE = range(8)
#: Figures of a pot: what no driver moves, what is taken for rounding, slack at the last visit.
STILL, GUARD, SLACK = range(3)
#: How the rates of an exposure were made: not at all, from below or from above.
UNRATED, BELOW, ABOVE = 0, 1, 2


@dataclass(slots=True, kw_only=True)
class Exposures:
    """Pots and exposures.

    Attributes
    ----------
    pot_account : int32[P]
        Account of each pot.
    pot_first : int64[P + 1]
        Exposures of each pot.
    sums : float64[P, 3]
        Figures of each pot.
    state : uint8[P]
        Bits.
    first, last : int64[E]
        Rows of each exposure in the holdings; none where it is coins alone.
    driver : uint8[E]
        Driver.
    pot : int32[E]
        Pot.
    place : int32[E]
        Position among the exposures of its driver.
    cash : float64[E]
        US dollars per unit of ρ of coins that no scenario moves.
    figures : float64[E, 8]
        Figures of each exposure.
    level, side, wish : uint8[E]
        Range in which the rates hold, how they were made, and the range to take next time.
    version : uint16[P]
        Market of the last visit of each pot: which volatilities, at what time.
    more : float64[E, 6] or float64[0, 6]
        Rates of slack and of room as volatilities fall and rise (slack, slack, room, room), per
        share of the volatility; and as time passes (slack, room), per year. Infinite where they
        are not known.
    used : int
        Pots in use; there may be room behind them.
    """

    pot_account: NDArray[np.int32]
    pot_first: Ints
    sums: Floats
    state: NDArray[np.uint8]
    first: Ints
    last: Ints
    driver: NDArray[np.uint8]
    pot: NDArray[np.int32]
    place: NDArray[np.int32]
    cash: Floats
    figures: Floats
    level: NDArray[np.uint8]
    side: NDArray[np.uint8]
    wish: NDArray[np.uint8]
    version: NDArray[np.uint16]
    more: Floats
    used: int = 0

    @property
    def nbytes(self) -> int:
        """Bytes of the columns."""
        return sum(getattr(self, name).nbytes for name in self.__slots__ if name != "used")

    def of_pot(self, pot: int) -> Ints:
        """Return the exposures of a pot."""
        return np.arange(self.pot_first[pot], self.pot_first[pot + 1])


def expose(
    holdings: Holdings,
    prices: PriceTable,
    code: NDArray[Any],
    rounding: float,
    moving: NDArray[np.bool_],
) -> Exposures:
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
    moving : bool[D]
        Drivers whose prices may move; the others have no exposures.
    """
    d = prices.drivers
    of = np.where(d.of_code >= 0, np.where(moving[d.of_code], d.of_code, -1), -1)
    # As many as there can be: what is not written costs no memory.
    starts = holdings.level[: code.size] >= POT
    pots = int(np.count_nonzero(starts))
    size = min(pots * max(int(moving.sum()), 1), code.size)
    out = Exposures(
        pot_account=np.empty(pots, np.int32), pot_first=np.empty(pots + 1, np.int64),
        sums=np.empty((pots, 3)), state=np.zeros(pots, np.uint8), first=np.empty(size, np.int64),
        last=np.empty(size, np.int64), driver=np.empty(size, np.uint8),
        pot=np.empty(size, np.int32), place=np.empty(size, np.int32), cash=np.empty(size),
        figures=np.empty((size, 8)), level=np.empty(size, np.uint8), side=np.empty(size, np.uint8),
        wish=np.empty(size, np.uint8), version=np.zeros(pots, np.uint16), more=np.empty((0, 6)),
    )  # fmt: skip
    rate = prices.rate[:, prices.signed.equity]
    n = _index(
        holdings.start, code, holdings.quantity, holdings.level,
        np.repeat(of, 2).astype(np.int64), np.repeat(~prices.grouped, 2),
        np.ascontiguousarray(rate), np.repeat(prices.gross, 2) * rounding,
        np.repeat(prices.unknown, 2), moving.size, out.pot_account, out.pot_first, out.sums,
        out.state, out.first, out.last, out.driver, out.pot, out.cash,
    )  # fmt: skip
    for name in ("first", "last", "driver", "pot", "place", "cash", "figures", "level", "side",
                 "wish"):  # fmt: skip
        setattr(out, name, getattr(out, name)[:n])
    out.level[:] = out.wish[:] = SAFE
    out.side[:] = UNRATED
    out.used = pots
    return out


def still_of(one: Exposures, holdings: Holdings, code: NDArray[Any], prices: PriceTable) -> Floats:
    """Sum what no price moves of the pots of one account, float64[P], US dollars.

    Where every driver may move that is its coins that have none: whatever has a requirement has
    a driver (`PriceTable.stuck`).
    """
    pot = np.cumsum(holdings.level[: code.size] >= POT) - 1
    own = prices.drivers.of_code[holdings.code]
    worth = prices.fixed[code, prices.signed.equity] + prices.rate[code, prices.signed.equity]
    value = np.where(own < 0, holdings.quantity * worth, 0.0)
    out = np.zeros(one.pot_account.size)
    np.add.at(out, pot, value)
    return out


@numba.njit(nogil=True, cache=True)
def _index(
    start: Any, code: Any, quantity: Any, level: Any, driver_of: Any, cash_code: Any, rate: Any,
    gross: Any, unknown: Any, drivers: int, pot_account: Any, pot_first: Any, sums: Any,
    state: Any, first: Any, last: Any, driver: Any, pot_of: Any, cash: Any,
) -> int:  # fmt: skip
    """Find pots and exposures; return how many exposures there are."""
    at = np.full(drivers, -1, np.int64)
    pots = exposures = 0
    for a in range(start.size - 1):
        k, end = start[a], start[a + 1]
        while k < end:
            before = exposures
            pot_account[pots] = a
            pot_first[pots] = exposures
            guard = 0.0
            failed = False
            while True:
                c = code[k]
                q = quantity[k]
                guard += abs(q) * gross[c]
                failed |= unknown[c]
                d = driver_of[c]
                if d >= 0:
                    e = at[d]
                    if e < before:
                        e = exposures
                        at[d] = e
                        driver[e] = d
                        pot_of[e] = pots
                        first[e] = k
                        last[e] = k
                        cash[e] = 0.0
                        exposures += 1
                    if cash_code[c]:
                        cash[e] += q * rate[c]
                    else:
                        if last[e] == first[e]:
                            first[e] = k
                        last[e] = k + 1
                k += 1
                if k == end or level[k] >= POT:
                    break
            sums[pots, STILL] = 0.0
            sums[pots, GUARD] = guard
            if failed:
                state[pots] = FAILED
            pots += 1
    pot_first[pots] = exposures
    return exposures


@numba.njit(nogil=True, cache=True)
def set_still(
    pot_first: Any, pot_account: Any, figures: Any, total: Any, over: Any, sums: Any, state: Any
) -> None:
    """Take what moves off the slack of pots: the rest stands still.

    `total` (float64[P]) is all of their slack; `over` (bool[A]) marks accounts beyond a limit:
    where nothing that moves is, they stay so.
    """
    for p in range(total.size):
        x = total[p]
        within = True
        for e in range(pot_first[p], pot_first[p + 1]):
            x -= figures[e, VALUE]
            within &= figures[e, ROOM] > 0.0
        sums[p, STILL] = x
        if over[pot_account[p]] and within:
            state[p] |= STUCK


@numba.njit(nogil=True, cache=True)
def signed_codes(code: Any, quantity: Any, out: Any) -> None:
    """Write ``2·code`` for longs and ``2·code + 1`` for shorts."""
    for k in range(code.size):
        out[k] = 2 * code[k] + (1 if quantity[k] < 0 else 0)


@numba.njit(nogil=True, cache=True)
def gather(
    pots: Any, count: int, pot_first: Any, driver: Any, figures: Any, rho: Any, version: Any,
    now: int, every: bool, out: Any, sizes: Any,
) -> None:  # fmt: skip
    """List the exposures of pots whose market has moved since their last visit, by driver.

    `out` is int64[D, n]; `sizes` int64[D], the number of each.
    """
    for r in range(count):
        p = pots[r]
        old = every or version[p] != now
        version[p] = now
        for e in range(pot_first[p], pot_first[p + 1]):
            d = driver[e]
            if old or figures[e, RHO] != rho[d]:
                out[d, sizes[d]] = e
                sizes[d] += 1


@numba.njit(nogil=True, cache=True)
def settle(pots: Any, count: int, pot_first: Any, sums: Any, figures: Any, state: Any) -> int:
    """Sum pots; return how many changed side."""
    changed = 0
    for r in range(count):
        p = pots[r]
        was = state[p]
        if was & FAILED:
            continue
        x = sums[p, STILL]
        over = False
        for e in range(pot_first[p], pot_first[p + 1]):
            x += figures[e, VALUE]
            over |= not figures[e, ROOM] > 0.0
        sums[p, SLACK] = x
        if np.isnan(x):
            state[p] = was | FAILED
            continue
        over |= (was & STUCK) != 0
        now = was & STUCK | (OPEN if over else SAFE) | (BREACHED if x < 0.0 else SAFE)
        state[p] = now
        changed += ((now ^ was) & BREACHED) // BREACHED
    return changed


@numba.njit(nogil=True, cache=True)
def range_end(rho: float, reach: float) -> float:
    """Return the end of a range about a price: ρ·reach, moved out to one of a few prices.

    Neighbouring prices then share their ends, and what is valued there. The grid is an eighth of
    the range.
    """
    step = math.log(reach) / 8.0
    return math.exp(step * math.ceil(math.log(rho * reach) / step))


@numba.njit(nogil=True, cache=True)
def set_triggers(
    pots: Any, count: int, pot_first: Any, driver: Any, state: Any, sums: Any, figures: Any,
    level: Any, side: Any, wish: Any, place: Any, pace: Any, heading: Any, reaches: Any,
    floor: Any, ceiling: Any, version: Any, market: int, more: Any, down: Any, up: Any,
    passed: Any, offset: Any, lower: Any, upper: Any, block_lower: Any, block_upper: Any,
    super_lower: Any, super_upper: Any, shelter: Any,
) -> None:  # fmt: skip
    """Share what is left of each pot among its exposures, and write their trigger prices.

    `reaches` (float64[levels, 2]) are the ends of the ranges in which rates hold, as multiples of
    the price of the visit; `floor` and `ceiling` (float64[D]) are prices that are never passed;
    `heading` (float64[D]) is below 0 where a price was falling, above where it rose. `down`, `up`
    (float64[D, V]) and `passed` (float64[V]) say how far volatilities and time have moved since
    the market of each version, as shares of the ranges in which their rates hold; `market` is the
    version of now. `shelter` (float64[E, 2] or float64[0, 2]) are prices below and above which an
    exposure that is safe stays so to the end of what is known.
    """
    levels = reaches.shape[0]
    moving = more.shape[0] > 0
    for r in range(count):
        p = pots[r]
        a, b = pot_first[p], pot_first[p + 1]
        breached = (state[p] & BREACHED) != 0
        needed = ABOVE if breached else BELOW
        left = sums[p, SLACK] - sums[p, GUARD]
        total = 0.0
        if breached:
            left = -sums[p, STILL] - sums[p, GUARD]
        for e in range(a, b):
            if breached:
                left -= figures[e, LOOSE]
            d = driver[e]
            weight = max(max(figures[e, FALL], figures[e, RISE]), 0.0) * figures[e, RHO]
            total += weight * pace[d]
            if moving:
                v = version[p]
                if v == market:
                    continue
                left -= max(more[e, 0], 0.0) * down[d, v] + max(more[e, 1], 0.0) * up[d, v]
                left -= max(more[e, 4], 0.0) * passed[v]
        for e in range(a, b):
            d = driver[e]
            rho = figures[e, RHO]
            low, high = rho, rho
            if version[p] != market:
                # Not looked at in this market: unless it is shown to be safe, it is due.
                low, high = np.inf, -np.inf
            used, room = 0.0, figures[e, ROOM]
            if moving and version[p] != market:
                v = version[p]
                used = down[d, v] + up[d, v] + passed[v]
                room -= max(more[e, 2], 0.0) * down[d, v] + max(more[e, 3], 0.0) * up[d, v]
                room -= max(more[e, 5], 0.0) * passed[v]
                if breached and passed[v] > 0.0:
                    used = 1.0
            if state[p] & FAILED:
                low, high = -np.inf, np.inf
            elif (
                not state[p] & OPEN
                and left > 0.0
                and side[e] == needed
                and used < 1.0
                and room > 0.0
            ):
                weight = max(max(figures[e, FALL], figures[e, RISE]), 0.0) * rho * pace[d]
                budget = left * (weight / total) if total > 0.0 else left
                reach_low = rho - max(range_end(rho, reaches[level[e], 0]), floor[d])
                reach_high = min(range_end(rho, reaches[level[e], 1]), ceiling[d]) - rho
                reach_low *= 1.0 - used
                reach_high *= 1.0 - used
                go_low, go_high = reach_low, reach_high
                if figures[e, FALL] > 0.0:
                    go_low = min(go_low, budget / figures[e, FALL])
                if figures[e, RISE] > 0.0:
                    go_high = min(go_high, budget / figures[e, RISE])
                if figures[e, ROOM_FALL] > 0.0:
                    go_low = min(go_low, room / figures[e, ROOM_FALL])
                if figures[e, ROOM_RISE] > 0.0:
                    go_high = min(go_high, room / figures[e, ROOM_RISE])
                # Rounding gains nothing: a hair less than the bound allows.
                low = rho - go_low * (1.0 - 1e-12)
                high = rho + go_high * (1.0 - 1e-12)
                if go_low >= reach_low and rho - reach_low <= floor[d]:
                    low, go_low = -np.inf, np.inf
                if go_high >= reach_high and rho + reach_high >= ceiling[d]:
                    high, go_high = np.inf, np.inf
                if shelter.shape[0] > 0 and not breached:
                    if low <= shelter[e, 0]:
                        low, go_low = -np.inf, np.inf
                    if high >= shelter[e, 1]:
                        high, go_high = np.inf, np.inf
                # The narrowest range that leaves room enough for a longer way next time.
                way = min(go_low, go_high)
                if heading[d] < 0.0:
                    way = go_low
                elif heading[d] > 0.0:
                    way = go_high
                way *= 2.0 / rho
                k = levels - 1
                while k > 0 and (1.0 - reaches[k, 0] < way or reaches[k, 1] - 1.0 < way):
                    k -= 1
                wish[e] = k
            at = offset[d] + place[e]
            lower[at] = low
            upper[at] = high
            block = at // BLOCK
            if low > block_lower[block]:
                block_lower[block] = low
            if high < block_upper[block]:
                block_upper[block] = high
            over = block // BLOCKS
            if low > super_lower[over]:
                super_lower[over] = low
            if high < super_upper[over]:
                super_upper[over] = high


@numba.njit(nogil=True, cache=True)
def find_due(
    begin: int, end: int, now: float, lower: Any, upper: Any, block_lower: Any, block_upper: Any,
    super_lower: Any, super_upper: Any, owner: Any, out: Any,
) -> int:  # fmt: skip
    """List the pots of exposures whose trigger prices have been crossed.

    Summaries of blocks, and of blocks of blocks, that are opened are tightened to what is in them.
    """
    n = 0
    wide = BLOCK * BLOCKS
    for over in range(begin // wide, -(-end // wide)):
        if now >= super_lower[over] and now <= super_upper[over]:
            continue
        top, bottom = -np.inf, np.inf
        for block in range(over * BLOCKS, min((over + 1) * BLOCKS, -(-end // BLOCK))):
            if now < block_lower[block] or now > block_upper[block]:
                most, least = -np.inf, np.inf
                for k in range(block * BLOCK, min(end, (block + 1) * BLOCK)):
                    if now < lower[k] or now > upper[k]:
                        out[n] = owner[k]
                        n += 1
                    most = max(most, lower[k])
                    least = min(least, upper[k])
                block_lower[block] = most
                block_upper[block] = least
            top = max(top, block_lower[block])
            bottom = min(bottom, block_upper[block])
        super_lower[over] = top
        super_upper[over] = bottom
    return n
