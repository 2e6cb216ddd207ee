"""Compiled: one look at accounts below their line, as :func:`crossmargin.liquidation.advance`.

The same rules, read from the same data, on rows of columns; a test holds every account's sizes
to :func:`crossmargin.liquidation.advance`. Closing costs its fee at the mark: what the market
makes of all orders together is not known when they are sized.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from crossmargin.cascade._measure import BLOCK, ROUNDING, requirement
from crossmargin.cascade._program import (
    BANKRUPT,
    BELOW_SHARE,
    CHEAPEST,
    LARGEST_LOSS,
    NOTHING,
    PROPORTIONAL,
    RISKIEST,
    SHARE,
    SUFFICIENT,
    TAKEOVER,
    TIERS,
)

#: What a look says of an account.
LEFT, ORDERS, TAKEN, EMPTY, WAITS = range(5)

#: Progress; whoever is restored by orders that were not yet filled is looked at once more.
HEALTHY, LIQUIDATING, TAKEN_OVER, CLOSED, RESTORED = range(5)


@numba.njit(cache=True, nogil=True, forceinline=True)
def _lacks(equity: float, mm: float, line: tuple[float, float, float]) -> float:
    """Return what is missing to a line; at most 0 where it holds, rounding left aside.

    The line's third figure is what rounding of money to its grid may make of an account.
    """
    need = line[0] * mm + line[1]
    short = need - equity
    if abs(short) <= ROUNDING * (abs(equity) + abs(need)) + line[2]:
        return 0.0
    return short


@numba.njit(cache=True, nogil=True, forceinline=True)
def _up(units: float, held: float, quantum: float) -> Any:
    """Round units up to the grid, at most to all that is held."""
    return min(held, np.ceil(units / quantum) * quantum)


@numba.njit(cache=True, nogil=True, forceinline=True)
def _leg_mm(table: Any, now: Any, k: int, units: float) -> float:
    return now.factor[k] * requirement(table, k, units * now.mark[k])  # type: ignore[no-any-return]


@numba.njit(cache=True, nogil=True, forceinline=True)
def _free(
    table: Any, now: Any, k: int, held: float, short: float, factor: float, fee: float
) -> tuple[float, float, float]:
    """Close of one leg until `short` is freed or nothing more helps.

    Returns units, what is freed of the shortage, and how far closing helps at all.
    """
    mark = now.mark[k]
    notional = held * mark
    t = table.tiers[k] - 1
    while t > 0 and notional <= table.floor[k, t]:
        t -= 1
    units, freed, found = 0.0, 0.0, -1.0
    top = notional
    while t >= 0:
        slope = factor * now.factor[k] * table.rate[k, t] - fee
        if slope <= 0.0:
            break
        room = top - table.floor[k, t]
        if found < 0.0 and freed + slope * room >= short:
            found = units + (short - freed) / slope / mark
        freed += slope * room
        units += room / mark
        top = table.floor[k, t]
        t -= 1
    far = held if t < 0 else min(units, held)
    if found >= 0.0:
        return min(found, held), short, far
    return far, freed, far


@numba.njit(cache=True, nogil=True, forceinline=True)
def _total(n: int, ks: Any, left: Any, table: Any, now: Any) -> float:
    mm = 0.0
    for i in range(n):
        if left[i] > 0.0:
            mm += _leg_mm(table, now, ks[i], left[i])
    return mm


@numba.njit(cache=True, nogil=True)
def _alike(
    n: int, ks: Any, left: Any, table: Any, now: Any, equity: float, line: Any, fee: float
) -> float:
    """Return the share of every leg that suffices, 1 where none does."""
    flat, whole = True, 0.0
    for i in range(n):
        flat = flat and table.tiers[ks[i]] == 1
        per = line[0] * now.factor[ks[i]] * table.rate[ks[i], 0] - fee
        whole += per * left[i] * now.mark[ks[i]]
    short = _lacks(equity, _total(n, ks, left, table, now), line)
    if flat:
        if whole > 0.0 and short <= whole:
            return short / whole
        return 1.0
    low, high = 0.0, -1.0
    for part in range(1, 17):
        if _after(n, ks, left, table, now, equity, line, fee, part / 16.0) <= 0.0:
            high = part / 16.0
            break
        low = part / 16.0
    if high < 0.0:
        return 1.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        if _after(n, ks, left, table, now, equity, line, fee, middle) <= 0.0:
            high = middle
        else:
            low = middle
    return high


@numba.njit(cache=True, nogil=True)
def _after(
    n: int,
    ks: Any,
    left: Any,
    table: Any,
    now: Any,
    equity: float,
    line: Any,
    fee: float,
    share: float,
) -> float:
    mm, paid = 0.0, 0.0
    for i in range(n):
        rest = left[i] * (1.0 - share)
        if rest > 0.0:
            mm += _leg_mm(table, now, ks[i], rest)
        paid += fee * left[i] * share * now.mark[ks[i]]
    return _lacks(equity - paid, mm, line)


@numba.njit(cache=True, nogil=True)
def _sufficient(
    n: int,
    ks: Any,
    left: Any,
    profit: Any,
    table: Any,
    now: Any,
    quanta: Any,
    equity: float,
    line: Any,
    policy: int,
    fee: float,
    passed: Any,
) -> float:
    """Close as little as suffices; returns the equity after fees."""
    start = equity
    if policy == PROPORTIONAL:
        share = _alike(n, ks, left, table, now, equity, line, fee)
        for i in range(n):
            units = _up(share * left[i], left[i], quanta[ks[i]])
            equity -= fee * units * now.mark[ks[i]]
            left[i] -= units
        return equity
    for i in range(n):
        passed[i] = False
    while True:
        short = _lacks(equity, _total(n, ks, left, table, now), line)
        if short <= 0.0:
            return equity
        best, key, size = -1, np.inf, 0.0
        for i in range(n):
            if left[i] <= 0.0 or passed[i]:
                continue
            k = ks[i]
            units, _, far = _free(table, now, k, left[i], short, line[0], fee)
            if far <= 0.0:
                continue
            rest = left[i] - far
            relief = _leg_mm(table, now, k, left[i])
            if rest > 0.0:
                relief -= _leg_mm(table, now, k, rest)
            if policy == RISKIEST:
                mine = -relief
            elif policy == LARGEST_LOSS:
                mine = profit[i]
            elif policy == CHEAPEST:
                cost = fee * far * now.mark[k]
                mine = -np.inf if cost == 0.0 else -relief / cost
            else:
                mine = 0.0
            if best < 0 or mine < key:
                best, key, size = i, mine, units
        if best < 0:
            break
        units = _up(size, left[best], quanta[ks[best]])
        equity -= fee * units * now.mark[ks[best]]
        left[best] -= units
        passed[best] = True
    # Where no part pays for its own closing all of it goes.
    for i in range(n):
        equity -= fee * left[i] * now.mark[ks[i]]
        left[i] = 0.0
    return min(equity, start)


@numba.njit(cache=True, nogil=True)
def _slice(
    n: int,
    ks: Any,
    left: Any,
    table: Any,
    now: Any,
    quanta: Any,
    equity: float,
    line: Any,
    share: float,
    above: float,
    whole: bool,
    fee: float,
    weight: Any,
) -> tuple[float, bool]:
    """Send a share of large legs, all of the others, the largest requirement first."""
    for i in range(n):
        weight[i] = -1.0 if left[i] == 0.0 else requirement(table, ks[i], left[i] * now.mark[ks[i]])
    parts = False
    for _ in range(n):
        i = 0
        for other in range(1, n):
            if weight[other] > weight[i]:
                i = other
        if weight[i] < 0.0:
            break
        weight[i] = -1.0
        if _lacks(equity, _total(n, ks, left, table, now), line) <= 0.0:
            break
        units = left[i]
        if units * now.mark[ks[i]] > above and not whole:
            units = _up(share * left[i], left[i], quanta[ks[i]])
            parts = True
        equity -= fee * units * now.mark[ks[i]]
        left[i] -= units
    return equity, parts


@numba.njit(cache=True, nogil=True)
def _tiers(
    n: int,
    ks: Any,
    left: Any,
    table: Any,
    now: Any,
    quanta: Any,
    equity: float,
    line: Any,
    step: Any,
    fee: float,
) -> float:
    """Cut the leg in the highest bracket down, again and again."""
    done = 0
    while step[5] < 0 or done < step[5]:
        if _lacks(equity, _total(n, ks, left, table, now), line) <= 0.0:
            break
        best, high, size = -1, step[4], 0.0
        for i in range(n):
            k = ks[i]
            notional = left[i] * now.mark[k]
            t = table.tiers[k]
            while t > 1 and notional <= table.floor[k, t - 1]:
                t -= 1
            if left[i] > 0.0 and (t > high or (t == high and (best < 0 or notional > size))):
                best, high, size = i, t, notional
        if best < 0:
            break
        k = ks[best]
        to = max(1, high - step[3])
        units = _up((size - table.floor[k, to]) / now.mark[k], left[best], quanta[k])
        equity -= fee * units * now.mark[k]
        left[best] -= units
        done += 1
    return equity


@numba.njit(cache=True, nogil=True)
def look(
    ids: Any,
    first_id: int,
    last_id: int,
    rows: Any,
    now: Any,
    table: Any,
    steps: Any,
    figures: Any,
    line: tuple[float, float, float],
    target: tuple[float, float, float],
    time_ns: int,
    quanta: Any,
    equity: Any,
    mm: Any,
    state: Any,
    timer: Any,
    offset: Any,
    row: Any,
    quantity: Any,
    contract: Any,
    units: Any,
    fee_rate: Any,
    said: Any,
    step_no: Any,
    most: int,
) -> None:
    """Decide on accounts that were measured just now.

    Parameters
    ----------
    ids : int32[m]
        Accounts, of which those from `first_id` to `last_id` are looked at.
    equity, mm : float64[m]
        Now.
    state, timer : int8[A], int64[A, timers]
        Progress of all accounts; changed.
    offset : int64[m + 1]
        Rows of each account in what follows.
    row : int64[m]
        Written: the first row of each account that is below its line.
    quantity, contract : float64[rows], int32[rows]
        Written: its positions.
    units, fee_rate : float64[rows]
        Written: coins to be closed, at least 0, and what the fee is.
    said, step_no : int8[m], int8[m]
        Written: what is decided, and by which step (of a takeover: the one that takes).
    most : int
        Positions that an account has at most.
    """
    held, left, before = np.zeros(most), np.zeros(most), np.zeros(most)
    profit, weight, passed = np.zeros(most), np.zeros(most), np.zeros(most, dtype=np.bool_)
    asks_profit = False
    for s in range(steps.shape[0]):
        asks_profit |= steps[s, 0] == SUFFICIENT and steps[s, 1] == LARGEST_LOSS
    begin, seen = np.empty(BLOCK, np.int64), np.zeros(2)
    for m in range(first_id, last_id):
        b = (m - first_id) % BLOCK
        if b == 0:
            # As in measuring: a block's loads are sent off together.
            for i in range(min(BLOCK, last_id - m)):
                begin[i] = rows.start[ids[m + i]]
                seen[0] += state[ids[m + i]]
            for i in range(min(BLOCK, last_id - m) if rows.quantity.size else 0):
                top = min(begin[i], rows.quantity.size - 1)
                seen[0] += rows.quantity[top]
                seen[1] += rows.contract[top]
        a = ids[m]
        said[m] = LEFT
        e = equity[m]
        if _lacks(e, mm[m], target if state[a] == LIQUIDATING else line) <= 0.0:
            # Timers run on: who falls again within a cooldown is still in it.
            state[a] = HEALTHY
            continue
        state[a] = LIQUIDATING
        if mm[m] == 0.0:
            said[m] = EMPTY
            continue
        first = begin[b]
        n = rows.start[a + 1] - first
        ks = rows.contract[first : first + n]
        row[m] = first
        for i in range(n):
            q = rows.quantity[first + i]
            held[i] = left[i] = abs(q)
            quantity[offset[m] + i], contract[offset[m] + i] = q, ks[i]
            fee_rate[offset[m] + i] = 0.0
        for i in range(n if asks_profit else 0):
            profit[i] = rows.quantity[first + i] * (now.mark[ks[i]] - rows.entry[first + i])
        said[m] = WAITS
        total, known = 0.0, False
        for s in range(steps.shape[0]):
            kind, clock = steps[s, 0], steps[s, 6]
            if kind == NOTHING:
                continue
            if not known:
                total, known = _total(n, ks, left, table, now), True
            if _lacks(e, total, target) <= 0.0:
                break
            last = timer[a, clock] if clock >= 0 else -1
            if kind != TAKEOVER and clock >= 0 and last >= 0 and last + steps[s, 7] > time_ns:
                continue
            for i in range(n):
                before[i] = left[i]
            fee = figures[s, 0]
            if kind == SUFFICIENT:
                # A limit at the bankruptcy price fills at the mark unless nothing is left.
                if (steps[s, 2] == 0 or e >= 0.0) and total > 0.0:
                    policy = steps[s, 1]
                    e = _sufficient(
                        n, ks, left, profit, table, now, quanta, e, target, policy, fee, passed
                    )
            elif kind == SHARE:
                whole = last >= 0 and time_ns < last + steps[s, 8]
                share, above = figures[s, 1], figures[s, 2]
                e, parts = _slice(
                    n, ks, left, table, now, quanta, e, target, share, above, whole, fee, weight
                )
                if parts and clock >= 0:
                    timer[a, clock] = time_ns
            elif kind == TIERS:
                if steps[s, 2] == 0 or e >= 0.0:
                    e = _tiers(n, ks, left, table, now, quanta, e, target, steps[s], fee)
            elif kind == TAKEOVER and total > 0.0:
                late = steps[s, 1] == BELOW_SHARE and e >= figures[s, 1] * total
                if late or (steps[s, 1] == BANKRUPT and e >= 0.0):
                    continue
                said[m], step_no[m] = TAKEN, s
                break
            for i in range(n):
                if left[i] < before[i]:
                    known = False
                    said[m], step_no[m] = ORDERS, s
                    fee_rate[offset[m] + i] = fee
                    if clock >= 0 and kind != SHARE:
                        timer[a, clock] = time_ns
        for i in range(n):
            units[offset[m] + i] = held[i] - left[i]
        if not known:
            total = _total(n, ks, left, table, now)
        if said[m] == ORDERS and _lacks(e, total, target) <= 0.0:
            # At the marks it is well: what fills make of it is another matter, and a new one.
            state[a] = RESTORED
