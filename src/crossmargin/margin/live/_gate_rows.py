"""Rows of an account in scratch: its own, those an order moves, and what a fill makes of them."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from crossmargin.margin.fused._holdings import _change as level_between
from crossmargin.margin.live._gate_blocks import market_of, resting_of, work_of


@numba.njit(cache=True, boundscheck=False, error_model="numpy")
def merge(
    market_at: int, work_at: int, resting_at: int, account: int, phantoms: int, extras: int
) -> Any:
    """Write the account's rows, those that orders need and `extras` to scratch, in order.

    Returns the number of rows, of runs (groups), whether the account lives, its gross size and
    rows as rounding counts them, and whether it holds what is not computed here.
    """
    market, work, resting = market_of(market_at), work_of(work_at), resting_of(resting_at)
    unit, ids, stop, group_of = market[3], market[4], market[5], market[6]
    cash = market[27]
    header, rows, keys = work[0], work[1], work[2]
    code, level, q0, q1, entry, runs, extra = (
        work[4], work[5], work[6], work[7], work[8], work[18], work[26],
    )  # fmt: skip
    held = resting[14]
    at = header[4 * account]
    end = at + (header[4 * account + 1] & 0xFFFFFFFF)
    n = e = f = groups = 0
    live = False
    away = False
    gross = 0.0
    counted = 0
    last_code: Any = -1
    last_group = -1
    far_end = np.int64(1) << 40
    while True:
        mine = keys[3 * at + 2] & 0xFFFFFFFF if at < end else far_end
        other = extra[2 * e] if e < extras else far_end
        third = held[f] if f < phantoms else far_end
        c = min(mine, other, third)
        if c == far_end:
            break
        q = 0.0
        real = False
        if mine == c:
            q = rows[3 * at]
            entry[n] = rows[3 * at + 1]
            near = n > 0 and last_code == (keys[3 * at - 1] & 0xFFFFFFFF)
            size = unit[8 * c + 5]
            if near and at > header[4 * account]:
                level[n] = keys[3 * at + 2] >> 32
            else:
                level[n] = level_between(ids_of(ids), int(last_code), int(c)) if n > 0 else 6
            if size > 0.0:
                counted += 1
                far = 1.0
                if cash[2 * c + 1] >= 0:
                    mark = unit[8 * c + 1]
                    far = max(entry[n], mark) / min(entry[n], mark)
                gross += abs(q) * size * far
            live = live or unit[8 * c] > 0.0 or (q < 0.0 and unit[8 * c + 5] > 0.0)
            away = away or stop[c] != 0
            real = True
            at += 1
        else:
            entry[n] = np.nan
            level[n] = level_between(ids_of(ids), int(last_code), int(c)) if n > 0 else 6
        touched = 0
        if other == c:
            extra[2 * e + 1] = n
            away = away or stop[c] != 0
            touched = 1
            e += 1
        if third == c:
            real = True
            f += 1
        g = group_of[c]
        if g != last_group:
            runs[4 * groups] = n
            runs[4 * groups + 2] = 0
            runs[4 * groups + 3] = 0
            groups += 1
            last_group = g
        runs[4 * groups - 3] = n + 1
        runs[4 * groups - 2] |= touched
        runs[4 * groups - 1] |= 1 if real else 0
        code[n] = c
        q0[n] = q
        q1[n] = q
        last_code = c
        n += 1
    return n, groups, live, gross, counted, away


@numba.njit(cache=True, inline="always")
def ids_of(ids: Any) -> Any:
    """Level ids as a table."""
    return ids.reshape(-1, 6)


@numba.njit(cache=True, boundscheck=False, error_model="numpy")
def add_extra(extra: Any, count: int, code: int) -> int:
    """Put a code into the sorted list of codes that an order moves; return their number."""
    place = count
    while place > 0 and extra[2 * place - 2] >= code:
        place -= 1
    if place < count and extra[2 * place] == code:
        return count
    for k in range(count, place, -1):
        extra[2 * k] = extra[2 * k - 2]
    extra[2 * place] = code
    return count + 1


@numba.njit(cache=True, boundscheck=False, error_model="numpy")
def place_of(extra: Any, count: int, code: int) -> int:
    """Row of a code that an order moves."""
    for k in range(count):
        if extra[2 * k] == code:
            return int(extra[2 * k + 1])
    return -1


@numba.njit(cache=True, boundscheck=False, error_model="numpy")
def fill(
    market_at: int, work_at: int, runs: int, extras: int, code: Any, quantity: Any, price: Any,
    first: int, last: int, share: float,
) -> float:  # fmt: skip
    """Write quantities after a share of a fill; return the rise of the largest debt, US dollars.

    The accounting is that of :class:`crossmargin.margin._probe.OrderProbe`.
    """
    market, work = market_of(market_at), work_of(work_at)
    unit, cash = market[3], market[27]
    q0, q1, entry, run, extra, paid = work[6], work[7], work[8], work[18], work[26], work[29]
    for r in range(runs):
        if run[4 * r + 2] != 0:
            for k in range(run[4 * r], run[4 * r + 1]):
                q1[k] = q0[k]
    for leg in range(first, last):
        at = place_of(extra, extras, code[leg])
        paid[at] = entry[at]
    for leg in range(first, last):
        c = code[leg]
        q = quantity[leg] * share
        size, mark = unit[8 * c], unit[8 * c + 1]
        p = mark if np.isnan(price[leg]) else price[leg]
        at = place_of(extra, extras, c)
        money = place_of(extra, extras, cash[2 * c])
        moved = -abs(q) * unit[8 * c + 4]
        if unit[8 * c + 2] != 0.0:
            moved -= q * p * size
            q1[at] += q
        else:
            cost = place_of(extra, extras, cash[2 * c + 1])
            held, at_price = q1[at], paid[at]
            inverse = unit[8 * c + 3] != 0.0
            after = held + q
            gain = 0.0
            then = at_price
            if held == 0.0 or held * q > 0.0:
                if after == 0.0 or held == 0.0:
                    then = p
                elif inverse:
                    then = after / (held / at_price + q / p)
                else:
                    then = (held * at_price + q * p) / after
            else:
                closed = -q if abs(q) <= abs(held) else held
                gain = closed * (1.0 / at_price - 1.0 / p if inverse else p - at_price)
                if abs(q) > abs(held):
                    then = p
            if inverse:
                change = after / then - (held / at_price if held != 0.0 else 0.0)
            else:
                change = (held * at_price if held != 0.0 else 0.0) - after * then
            q1[cost] += change * size
            moved += gain * size
            q1[at], paid[at] = after, then
        q1[money] += moved
    debt = 0.0
    for leg in range(first, last):
        b = cash[2 * code[leg]]
        at = place_of(extra, extras, b)
        rise = min(q0[at], 0.0) - min(q1[at], 0.0)
        debt = max(debt, rise * unit[8 * b + 5])
    return debt
