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
from crossmargin.margin.live._gate_blocks import market_of, resting_of, work_of
from crossmargin.margin.live._gate_tables import LIMIT_COLUMN, LIMITED, ROLL
from crossmargin.margin.live._kept import compiled


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

    @compiled(nv, na, mode, paired, value, orders)
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

    @compiled(nv, mode)
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


@numba.njit(cache=True, boundscheck=False, error_model="numpy")
def is_over(
    market_at: int, work_at: int, resting_at: int, added: bool, first: int, at: int
) -> bool:
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


@numba.njit(cache=True, boundscheck=False, error_model="numpy")
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
