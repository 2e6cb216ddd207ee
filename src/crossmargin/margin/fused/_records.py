"""Records of the record kernel added up to pots and accounts: the path without a batch."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from crossmargin.margin.fused._combine import run_steps
from crossmargin.margin.fused._kernel import (
    ACCOUNT_AT,
    GROUP_AT,
    LANES,
    LEVEL_AT,
    Shape,
    _aligned,
    record_kernel,
    record_width,
)
from crossmargin.margin.fused._layout import ACCOUNT, POT
from crossmargin.margin.fused._program import EQUITY_IM, EQUITY_MM
from crossmargin.margin.kernels._named import named_after

#: Accounts whose records are in work at a time: they stay in the second cache.
BLOCK = 256


@numba.njit(nogil=True, cache=True, boundscheck=False, error_model="numpy")
def reduce_records(
    count: int, records: Any, width: int, columns: Any, im: Any, mm: Any, group_pot: Any,
    pot_usd: Any, in_group: Any, out: Any,
) -> None:  # fmt: skip
    """Add records up to pots and accounts.

    Parameters
    ----------
    count : int
        Records.
    records : float64[...]
        Of whole accounts; `width` numbers each.
    width : int
        Numbers of a record.
    columns : int64[n, 3]
        Places of columns in a record.
    im, mm : float64[n]
        Requirement of each record, in the numeraire of its pot.
    group_pot, pot_usd, in_group
        By kind of group, of pot, of group; see :class:`Program`.
    out : float64[A, 5]
        Equity at the maintenance and at the initial level, IM, MM in US dollars, and health.
    """
    words = records.view(np.int64)
    other = width - LANES
    i1, i2, i3 = columns[EQUITY_IM, 0], columns[EQUITY_IM, 1], columns[EQUITY_IM, 2]
    m1, m2, m3 = columns[EQUITY_MM, 0], columns[EQUITY_MM, 1], columns[EQUITY_MM, 2]
    # A place without a second lane is read twice and counted once.
    i2, i3 = (i1, 0) if i2 < 0 else (i2, i3)
    m2, m3 = (m1, 0) if m2 < 0 else (m2, m3)
    sum_eq = sum_eq_im = sum_im = sum_mm = eq = need = 0.0
    least = np.inf
    for r in range(count):
        at = r * width
        group = words[at + other + GROUP_AT]
        here, after = words[at + other + LEVEL_AT], words[at + width + other + LEVEL_AT]
        usd = pot_usd[group_pot[group]]
        held = usd if in_group[group] else 0.0
        own_im = records[at + i1] + i3 * records[at + i2]
        own = records[at + m1] + m3 * records[at + m2]
        charge = mm[r] if in_group[group] else 0.0
        # Sums begin anew without a branch: where accounts end cannot be guessed.
        fresh, opens = here >= ACCOUNT, here >= POT
        sum_eq = (0.0 if fresh else sum_eq) + own * usd
        sum_eq_im = (0.0 if fresh else sum_eq_im) + own_im * usd
        sum_im = (0.0 if fresh else sum_im) + held * im[r]
        sum_mm = (0.0 if fresh else sum_mm) + held * mm[r]
        eq = (0.0 if opens else eq) + own
        need = (0.0 if opens else need) + charge
        # Nothing required: endless health, unless less than nothing is there.
        ratio = eq / (need if need > 0.0 else 1.0)
        bare = -np.inf if eq < 0.0 else np.inf
        ratio = ratio if need > 0.0 else bare
        ratio = np.nan if np.isnan(eq + need) else ratio
        ratio = ratio if after >= POT else np.inf
        least = np.inf if fresh else least
        # A NaN stays: no comparison with it holds.
        least = least if ratio >= least else ratio
        account = words[at + other + ACCOUNT_AT]
        out[account, 0] = sum_eq
        out[account, 1] = sum_eq_im
        out[account, 2] = sum_im
        out[account, 3] = sum_mm
        out[account, 4] = least


@numba.njit(nogil=True, cache=True)
def mark_beyond(count: int, records: Any, width: int, place: int, limit: Any, over: Any) -> None:
    """Mark accounts with a record whose figure is beyond the limit of its kind of group."""
    words = records.view(np.int64)
    other = width - LANES
    for r in range(count):
        at = r * width
        if not abs(records[at + place]) <= limit[words[at + other + GROUP_AT]]:
            over[words[at + other + ACCOUNT_AT]] = True


@numba.njit(nogil=True, cache=True)
def _add_up(
    count: int, records: Any, width: int, columns: Any, parts: Any, factors: Any, usd: Any,
    in_group: Any, out: Any, over: Any, sums: Any,
) -> None:  # fmt: skip
    """Add components up in US dollars, over the accounts that have a result."""
    words = records.view(np.int64)
    other = width - LANES
    for r in range(count):
        at = r * width
        group = words[at + other + GROUP_AT]
        account = words[at + other + ACCOUNT_AT]
        if not in_group[group] or over[account]:
            continue
        if np.isnan(out[account, 0] + out[account, 1] + out[account, 2] + out[account, 3]):
            continue
        for k in range(parts.shape[0]):
            for level in range(2):
                column = parts[k, level]
                if column >= 0:
                    x = records[at + columns[column, 0]]
                    if columns[column, 1] >= 0:
                        x += columns[column, 2] * records[at + columns[column, 1]]
                    sums[k, level] += x * factors[k, level] * usd[group]


@functools.cache
def range_kernel(shape: Shape) -> Callable[..., None]:
    """Return the compiled function that computes a run of accounts from rows to columns."""
    kernel = record_kernel(shape)
    width = record_width(shape.na)

    @numba.njit(nogil=True)
    @named_after(shape)
    def run(
        first: int, last: int, start: Any, code: Any, quantity: Any, level: Any, tables: Any,
        columns: Any, im_steps: Any, mm_steps: Any, depth: int, group_pot: Any, pot_usd: Any,
        in_group: Any, limits: Any, places: Any, out: Any, over: Any, parts: Any, factors: Any,
        usd: Any, sums: Any, chunk: int,
    ) -> None:  # fmt: skip
        rows = 0
        for block in range(first, last, BLOCK):
            rows = max(rows, start[min(block + BLOCK, last)] - start[block])
        records = _aligned((rows + 1) * width)
        stack = np.empty((depth, rows + 1))
        im, mm = np.empty(rows + 1), np.empty(rows + 1)
        for block in range(first, last, BLOCK):
            end = min(block + BLOCK, last)
            count = kernel(block, end, start, code, quantity, level, tables, records)
            op, column, number = im_steps
            run_steps(op, column, number, columns, records, width, count, stack, im)
            op, column, number = mm_steps
            run_steps(op, column, number, columns, records, width, count, stack, mm)
            reduce_records(
                count, records, width, columns, im, mm, group_pot, pot_usd, in_group, out
            )
            for k in range(places.size):
                mark_beyond(count, records, width, places[k], limits[k], over)
            if parts.shape[0] > 0:
                _add_up(
                    count, records, width, columns, parts, factors, usd, in_group, out, over,
                    sums[block // chunk],
                )  # fmt: skip

    return run
