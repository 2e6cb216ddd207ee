"""The check itself: one compiled function for an account, an order and a market.

The rows of the account and of what the order moves are merged into scratch; every group is then
evaluated as it stands, with the order resting, and with the order filled, each as the fused
kernel would, and the rule of :mod:`crossmargin.margin.pretrade` decides. Nothing is stored in
the account.

Scratch is shared: the function keeps the interpreter's lock while it runs, so that no two checks
of one book run at a time, and a table that is swapped meanwhile is seen by the next check.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from crossmargin.margin.fused._combine import (
    ADD,
    DIV,
    MAX,
    MUL,
    NEG,
    NUMBER,
    PUSH,
    SQRT,
    SUB,
)
from crossmargin.margin.fused._holdings import _change as level_between
from crossmargin.margin.fused._kernel import DISCOUNT
from crossmargin.margin.fused._lanes import LANES
from crossmargin.margin.kernels._vector import (
    block_add,
    block_fma,
    block_min,
    block_zero,
    fma_rows,
)
from crossmargin.margin.kernels._vector_gate import block_discount, block_offset, part_rows
from crossmargin.margin.live._address import carray, f8_at, u4_at
from crossmargin.margin.live._gate_orders import (
    WORK,
    flags,
    floats,
    ints,
    market_of,
    opened,
    resting_of,
)
from crossmargin.margin.live._gate_tables import LIMIT_COLUMN, LIMITED, ROLL

#: Shares of an order that are looked at (:data:`crossmargin.margin.pretrade.PARTS`).
PARTS = 16

#: One unit of rounding, relative (:data:`crossmargin.margin._standing.UNIT`).
UNIT = 2.0**-52

#: Status of an answer: decided, or to be asked of the reference engine and why.
DECIDED, NOT_HERE, BEYOND = 0, 1, 2

#: Larger than any order (:data:`crossmargin.book._account.ABSURD`).
ABSURD = 1e15

#: Rules, as numbers.
ROOM, REDUCING, REFUSED, DEBT = 0, 1, 2, 3

#: Changes of a book's resting orders after which sums are made afresh, so that rounding does not
#: build up.
EDITS = 512


@numba.njit(cache=True, inline="always")
def work_of(address: int) -> Any:
    """Open the block of a book's rows and scratch (`_gate_book.Rows`)."""
    b = opened(address, WORK + 2)
    return (
        ints(b, 0), floats(b, 1), ints(b, 2), ints(b, 3),
        carray(u4_at(b[8]), b[9]), flags(b, 5), floats(b, 6), floats(b, 7), floats(b, 8),
        floats(b, 9), floats(b, 10), floats(b, 11), floats(b, 12), floats(b, 13), floats(b, 14),
        carray(f8_at(b[30]), (b[2 * WORK + 1], b[2 * WORK])), carray(f8_at(b[32]), (b[2 * WORK + 2], b[2 * WORK])),
        floats(b, 17), ints(b, 18), floats(b, 19), floats(b, 20), floats(b, 21), floats(b, 22),
        floats(b, 23), floats(b, 24), ints(b, 25), ints(b, 26), floats(b, 27), ints(b, 28),
        floats(b, 29), floats(b, 38), floats(b, 39),
    )  # fmt: skip


@numba.njit(cache=True, inline="always")
def asked_of(address: int) -> Any:
    """Open what is asked: codes, quantities and prices of legs, spans, quote groups, removals."""
    b = opened(address, WORK)
    return ints(b, 32), floats(b, 36), floats(b, 37), ints(b, 33), ints(b, 34), ints(b, 35)


@functools.cache
def record_kernel(
    nv: int, na: int, mode: int, paired: bool, value: int, orders: bool
) -> Callable[..., bool]:
    """Return the compiled record of one group with what its orders add.

    ``record(market, work, resting, added, first, last, filled, place, save)``: rows
    ``first:last`` are one group, as held or as `filled`. The sums of resting orders are counted
    where `resting` is not 0, with `added` those of the change that is asked about. `save` 1 keeps
    the scenario values; with 2 the two records after `place` bound the group at every share of
    the fill: see :func:`_bounds`.
    """
    wide = LANES * nv
    stride = LANES * (nv + na)
    pair = 1 if paired else 0
    discounts = mode == DISCOUNT

    @numba.njit(cache=True, boundscheck=False)
    def record(
        market_at: int, work_at: int, resting_at: int, added: bool, first: int, last: int,
        filled: bool, place: int, save: int,
    ) -> bool:  # fmt: skip
        market, work = market_of(market_at), work_of(work_at)
        table, group_of, segment_of, bucket_of = market[0], market[6], market[7], market[9]
        scanned, in_group, terms = market[10], market[11], market[13]
        weight, tail, flags = market[14], market[15], market[16]
        masks, close, shape, columns = market[17], market[18], market[19], market[21]
        roll = market[29][ROLL]
        code, level, kept, v, total, parts = (
            work[4], work[5], work[9], work[10], work[11], work[14],
        )  # fmt: skip
        quantity = work[7] if filled else work[6]
        out = work[15]
        based = orders and resting_at != 0
        g = group_of[code[first]]
        scans = scanned[g] != 0
        block_zero(parts, 0, na)
        block_zero(total, 0, nv)
        mixed = False
        begun = False
        k = first
        if in_group[g] == 0:
            part_rows(
                parts, table, stride, wide, code, quantity, level, first, last, masks, close,
                shape, na, pair,
            )  # fmt: skip
            k = last
        while k < last:
            s = segment_of[code[k]]
            stop = k + 1
            while stop < last and segment_of[code[stop]] == s:
                stop += 1
            part_rows(
                parts, table, stride, wide, code, quantity, level, k, stop, masks, close, shape,
                na, pair,
            )  # fmt: skip
            if orders and roll >= 0 and (based or added):
                up_base = resting_of(resting_at)[8] if based else work[20]
                down_base = resting_of(resting_at)[9] if based else work[21]
                at = k
                while at < stop:
                    b = bucket_of[code[at]]
                    net = 0.0
                    while at < stop and bucket_of[code[at]] == b:
                        net += quantity[at] * table[np.int64(code[at]) * stride + wide + roll]
                        at += 1
                    up = down = 0.0
                    if based:
                        up += up_base[b]
                        down += down_base[b]
                    if added:
                        up += work[20][b]
                        down += work[21][b]
                    more = max(abs(net + up), abs(net - down)) - abs(net)
                    parts[roll] += max(more, 0.0)
            if scans:
                fma_rows(v, table, stride, 0, code, quantity, k, stop, nv)
                at = s * wide
                if discounts:
                    then = work[30]
                    if save == 1:
                        for j in range(wide):
                            then[at + j] = v[j]
                    elif save == 2:
                        for j in range(wide):
                            mixed = mixed or (flags[j] != 0.0 and then[at + j] * v[j] < 0.0)
                            then[at + j] *= v[j]
                    block_discount(
                        v, terms[4 * s], terms[4 * s + 1], parts[value], weight, g * wide, flags,
                        nv,
                    )  # fmt: skip
                    parts[value] = 0.0
                if based:
                    block_fma(v, 0, -1.0, resting_of(resting_at)[7], at, nv)
                if orders and added:
                    block_fma(v, 0, -1.0, work[19], at, nv)
                if save == 1:
                    for j in range(wide):
                        kept[at + j] = v[j]
                elif save == 2:
                    far = work[31]
                    spared = 0.0 if discounts else terms[4 * s + 2]
                    crossed = 0.0
                    for j in range(wide):
                        far[at + j] = v[j]
                        cross = tail[j] if kept[at + j] * v[j] < 0.0 else 0.0
                        crossed = max(crossed, cross)
                    mixed = mixed or crossed * spared > 0.0
                if not discounts:
                    block_offset(
                        v, terms[4 * s], terms[4 * s + 1], terms[4 * s + 2], tail, flags, nv
                    )
                block_add(total, 0, v, 0, nv)
                begun = True
            k = stop
        worst = 0.0
        if begun:
            worst = -block_min(total, 0, nv)
        # A NaN passes: what cannot be valued has no requirement.
        out[0, place] = 0.0 if worst < 0.0 else worst
        for j in range(1, columns.size // 3):
            x = parts[columns[3 * j]]
            second = columns[3 * j + 1]
            if second >= 0:
                x += columns[3 * j + 2] * parts[second]
            out[j, place] = x
        return mixed

    return record


@functools.cache
def bound_kernel(nv: int, mode: int) -> Callable[..., None]:
    """Return the compiled bound on a group's scan over all shares of a fill.

    A scenario's value is a function of the share that is concave between the account as held and
    as filled, except where a segment passes from loss to gain under a tail allowance (the gain
    begins anew), and where a turned surface changes sides of its discount. There the ends are
    lowered: the gain is left out, or the lower of both ends taken. What is left is concave, so
    that the loss at any share is at most the line between its ends, which are written to the
    records ``place`` (held) and ``place + 1`` (filled): ``bound(market, work, first, last,
    place)``.
    """
    wide = LANES * nv
    discounts = mode == DISCOUNT

    @numba.njit(cache=True, boundscheck=False)
    def bound(market_at: int, work_at: int, first: int, last: int, place: int) -> None:
        market, work = market_of(market_at), work_of(work_at)
        segment_of, terms = market[7], market[13]
        tail, flags = market[15], market[16]
        code, kept, v, total, bar = work[4], work[9], work[10], work[11], work[12]
        then, far, out = work[30], work[31], work[15]
        block_zero(total, 0, nv)
        block_zero(bar, 0, nv)
        k = first
        while k < last:
            s = segment_of[code[k]]
            while k < last and segment_of[code[k]] == s:
                k += 1
            at = s * wide
            spared = 0.0 if discounts else terms[4 * s + 2]
            for end in range(2):
                for j in range(wide):
                    here = far[at + j] if end == 1 else kept[at + j]
                    there = kept[at + j] if end == 1 else far[at + j]
                    if discounts and flags[j] != 0.0 and then[at + j] < 0.0:
                        here = min(here, there)
                    if tail[j] * spared > 0.0 and there < 0.0:
                        here = min(here, 0.0)
                    v[j] = here
                if not discounts:
                    block_offset(
                        v, terms[4 * s], terms[4 * s + 1], terms[4 * s + 2], tail, flags, nv
                    )
                if end == 0:
                    block_add(total, 0, v, 0, nv)
                else:
                    block_add(bar, 0, v, 0, nv)
        low, high = -block_min(total, 0, nv), -block_min(bar, 0, nv)
        out[0, place] = 0.0 if low < 0.0 else low
        out[0, place + 1] = 0.0 if high < 0.0 else high

    return bound


@numba.njit(cache=True, boundscheck=False)
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
    last_code = -1
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
                level[n] = level_between(ids_of(ids), last_code, c) if n > 0 else 6
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
            level[n] = level_between(ids_of(ids), last_code, c) if n > 0 else 6
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


@numba.njit(cache=True, boundscheck=False)
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


@numba.njit(cache=True, boundscheck=False)
def place_of(extra: Any, count: int, code: int) -> int:
    """Row of a code that an order moves."""
    for k in range(count):
        if extra[2 * k] == code:
            return int(extra[2 * k + 1])
    return -1


@numba.njit(cache=True, boundscheck=False)
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


@numba.njit(cache=True, boundscheck=False)
def is_over(market_at: int, work_at: int, resting_at: int, added: bool, first: int, at: int) -> bool:
    """Whether a record is beyond the limit of its group, orders' fills on either side included."""
    market, work = market_of(market_at), work_of(work_at)
    facts, limits = market[29], market[26]
    if facts[LIMITED] < 0:
        return False
    g = market[6][work[4][first]]
    net = work[15][facts[LIMIT_COLUMN], at]
    up = down = 0.0
    if resting_at != 0:
        up += resting_of(resting_at)[10][g]
        down += resting_of(resting_at)[11][g]
    if added:
        up += work[22][g]
        down += work[23][g]
    size = max(abs(net), abs(net + up), abs(net - down))
    return not size <= limits[g]


@numba.njit(cache=True, boundscheck=False)
def require(market_at: int, work_at: int, first: int, last: int) -> None:
    """Evaluate the requirement of the records ``first:last``."""
    market, work = market_of(market_at), work_of(work_at)
    op, column, number = market[22], market[23], market[24]
    out, stack, im = work[15], work[16], work[17]
    top = -1
    for step in range(op.size):
        what, figure = op[step], number[step]
        if what == PUSH:
            top += 1
            for i in range(first, last):
                stack[top, i] = out[column[step], i] * figure
        elif what == NUMBER:
            top += 1
            for i in range(first, last):
                stack[top, i] = figure
        elif what == NEG:
            for i in range(first, last):
                stack[top, i] = -stack[top, i]
        elif what == SQRT:
            for i in range(first, last):
                stack[top, i] = np.sqrt(stack[top, i])
        else:
            top -= 1
            for i in range(first, last):
                stack[top, i] = _both(what, stack[top, i], stack[top + 1, i])
    for i in range(first, last):
        im[i] = stack[0, i]


@numba.njit(cache=True, inline="always", error_model="numpy")
def _both(what: int, a: float, b: float) -> float:
    if what == ADD:
        return a + b
    if what == SUB:
        return a - b
    if what == MUL:
        return a * b
    if what == DIV:
        return a / b
    if what == MAX:
        return a if a >= b else b
    return a if a <= b else b
