"""Losses of orders, in compiled code: the vectors Σ max(0, ℓ) that resting orders add.

The same figures as :func:`crossmargin.margin._scan.order_losses`,
:func:`~crossmargin.margin._charges.run_roll` and ``run_delta_concentration`` with orders, kept per
account and changed order by order.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from crossmargin.margin.fused._kernel import DISCOUNT
from crossmargin.margin.fused._lanes import LANES
from crossmargin.margin.live._address import floats, ints
from crossmargin.margin.live._gate_blocks import market_of, resting_of
from crossmargin.margin.live._gate_tables import (
    EPOCH,
    LIMITED,
    ROLL,
    SEGMENTS,
)
from crossmargin.margin.live._kept import compiled


@functools.cache
def loss_kernel(nv: int, na: int, mode: int, value: int) -> Callable[..., None]:
    """Return the compiled loss of one order in one segment.

    ``loss(market, code, quantity, price, first, last, segment, out)`` writes ``max(0, ℓ_s)``
    (weighted, in the pot's numeraire) to the head of `out`; `market` is the address of a block.
    """
    wide = LANES * nv
    stride = LANES * (nv + na)
    discounts = mode == DISCOUNT

    @compiled(nv, na, mode, value)
    def loss(
        market_at: int, code: Any, quantity: Any, price: Any, first: int, last: int,
        segment: int, out: Any,
    ) -> None:  # fmt: skip
        market = market_of(market_at)
        table, row, conv, unit = market[0], market[1], market[2], market[3]
        group_of, segment_of, terms = market[6], market[7], market[13]
        weight, turned = market[14], market[16]
        for j in range(wide):
            out[j] = 0.0
        base = 0.0
        g = 0
        for leg in range(first, last):
            c = code[leg]
            if segment_of[c] != segment:
                continue
            g = group_of[c]
            q, p = quantity[leg], price[leg]
            size, mark = unit[8 * c], unit[8 * c + 1]
            inverse = unit[8 * c + 3] != 0.0 and unit[8 * c + 2] == 0.0
            gain = 0.0
            if not np.isnan(p):
                gain = size * (1.0 / p - 1.0 / mark) if inverse else size * (mark - p)
            money = q * gain - abs(q) * unit[8 * c + 4]
            at = c * wide
            for j in range(wide):
                out[j] += q * row[at + j] + money * conv[at + j]
            if discounts:
                base += q * table[c * stride + wide + value]
        if discounts:
            long, short = terms[4 * segment], terms[4 * segment + 1]
            for j in range(wide):
                w = weight[g * wide + j] * base
                then = out[j] + w
                a, b = then * long, then * short
                x = (a if a < b else b) - w
                away = abs(x)
                held = -x if x < 0.0 else 0.0
                out[j] = away if turned[j] != 0.0 else held
        else:
            for j in range(wide):
                x = out[j]
                out[j] = -x if x < 0.0 else 0.0

    return loss


@functools.cache
def change_kernel(nv: int, na: int, mode: int, value: int) -> Callable[..., int]:
    """Return the compiled change of what resting orders add, by one order.

    ``change(market, work, resting, own, code, quantity, price, first, last, group, sign, n)`` adds
    (`sign` 1) or takes off (-1) an order's losses: in the account's sums with `own`, else in those
    of the question. Sums of a quote group with a limit are kept by cell; `n` counts the cells in
    use and is returned.
    """
    wide = LANES * nv
    stride = LANES * (nv + na)
    loss = loss_kernel(nv, na, mode, value)

    @compiled(nv, na, mode, value)
    def change(
        market_at: int, work_at: int, resting_at: int, own: bool, code: Any, quantity: Any,
        price: Any, first: int, last: int, group: int, sign: float, n: int,
    ) -> int:  # fmt: skip
        market, resting, work = market_of(market_at), resting_of(resting_at), work_at
        cells, cell_of, vector = floats(work, 24), ints(work, 25), floats(work, 13)
        from_block = resting_at if own else work
        shift = 7 if own else 19
        losses, up, down, more, less = (
            floats(from_block, shift), floats(from_block, shift + 1),
            floats(from_block, shift + 2), floats(from_block, shift + 3),
            floats(from_block, shift + 4),
        )  # fmt: skip
        table = market[0]
        group_of, segment_of, pot_of, bucket_of = market[6], market[7], market[8], market[9]
        pot_usd, facts = market[25], market[29]
        segments, roll, limited = facts[SEGMENTS], facts[ROLL], facts[LIMITED]
        capped = group >= 0 and np.isfinite(resting[12][group])
        for leg in range(first, last):
            c = code[leg]
            s = segment_of[c]
            seen = False
            for other in range(first, leg):
                seen = seen or segment_of[code[other]] == s
            if not seen:
                loss(market_at, code, quantity, price, first, last, s, vector)
                at = s * wide
                if not capped:
                    for j in range(wide):
                        losses[at + j] += sign * vector[j]
                else:
                    limit = resting[12][group] / pot_usd[pot_of[c]]
                    place = group * segments + s
                    cell = 0
                    while cell < n and cell_of[cell] != place:
                        cell += 1
                    if cell == n:
                        n += 1
                        cell_of[cell] = place
                        for j in range(wide):
                            cells[cell * wide + j] = resting[13][place * wide + j]
                    for j in range(wide):
                        before = cells[cell * wide + j]
                        after = max(0.0, before + sign * vector[j])
                        cells[cell * wide + j] = after
                        losses[at + j] += min(after, limit) - min(before, limit)
            if roll >= 0:
                b = bucket_of[c]
                seen = False
                for other in range(first, leg):
                    seen = seen or bucket_of[code[other]] == b
                if not seen:
                    x = 0.0
                    for other in range(leg, last):
                        d = code[other]
                        if bucket_of[d] == b:
                            x += quantity[other] * table[d * stride + wide + roll]
                    if x > 0:
                        up[b] += sign * x
                    else:
                        down[b] -= sign * x
            if limited >= 0:
                x = quantity[leg] * table[c * stride + wide + limited]
                if x > 0:
                    more[group_of[c]] += sign * x
                else:
                    less[group_of[c]] -= sign * x
        return n

    return change


@functools.cache
def refresh_kernel(nv: int, na: int, mode: int, value: int) -> Callable[..., None]:
    """Return the compiled sum over all resting orders of an account.

    ``refresh(market, work, resting)``, all addresses.
    """
    wide = LANES * nv
    stride = LANES * (nv + na)
    loss = loss_kernel(nv, na, mode, value)
    change = change_kernel(nv, na, mode, value)

    @compiled(nv, na, mode, value)
    def refresh(market_at: int, work_at: int, resting_at: int) -> None:
        market, resting = market_of(market_at), resting_of(resting_at)
        vector = floats(work_at, 13)
        unit, segment_of, pot_usd, facts = market[3], market[7], market[25], market[29]
        pot_of_segment = market[30]
        head, span, group, live, code, quantity, price = resting[:7]
        sums = resting[7:12]
        limit, totals = resting[12], resting[13]
        segments = facts[SEGMENTS]
        for array in sums:
            array[:] = 0.0
        totals[:] = 0.0
        gross = 0.0
        legs = 0
        for order in range(head[0]):
            if live[order] == 0:
                continue
            low, high = span[2 * order], span[2 * order + 1]
            for leg in range(low, high):
                gross += abs(quantity[leg]) * unit[8 * code[leg] + 5]
            legs += high - low
            g = group[order]
            if g < 0 or not np.isfinite(limit[g]):
                change(market_at, work_at, resting_at, True, code, quantity, price, low, high, -1,
                       1.0, 0)  # fmt: skip
                continue
            # Quotes have one leg; their losses are capped by group once all are added.
            s = segment_of[code[low]]
            loss(market_at, code, quantity, price, low, high, s, vector)
            at = (g * segments + s) * wide
            for j in range(wide):
                totals[at + j] += vector[j]
            _deltas(market_at, resting_at, code, quantity, low, high, wide, stride)
        for g in range(limit.size if totals.size > 0 else 0):
            if np.isfinite(limit[g]):
                for s in range(segments):
                    at = (g * segments + s) * wide
                    most = limit[g] / pot_usd[pot_of_segment[s]]
                    for j in range(wide):
                        sums[0][s * wide + j] += min(totals[at + j], most)
        head[1] = facts[EPOCH]
        head[2] = legs
        head[3] = 0
        resting[15][0] = gross

    return refresh


@numba.njit(cache=True, boundscheck=False, error_model="numpy")
def _deltas(
    market_at: int, resting_at: int, code: Any, quantity: Any, first: int, last: int, wide: int,
    stride: int,
) -> None:  # fmt: skip
    """Add the deltas of a one-legged order to the sums by bucket and group."""
    market, sums = market_of(market_at), resting_of(resting_at)[7:12]
    table, group_of, bucket_of, facts = market[0], market[6], market[9], market[29]
    up, down, more, less = sums[1:]
    roll, limited = facts[ROLL], facts[LIMITED]
    for leg in range(first, last):
        c = code[leg]
        if roll >= 0:
            x = quantity[leg] * table[c * stride + wide + roll]
            if x > 0:
                up[bucket_of[c]] += x
            else:
                down[bucket_of[c]] -= x
        if limited >= 0:
            x = quantity[leg] * table[c * stride + wide + limited]
            if x > 0:
                more[group_of[c]] += x
            else:
                less[group_of[c]] -= x
