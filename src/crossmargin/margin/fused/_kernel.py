"""The fused kernel: all of an account's requirement in one pass over its rows.

For each group of each account: sum quantity × row into the scenario lanes and the lanes of
components, map each segment by φ, take the worst scenario, and write one record. Scenario
vectors never leave the processor's first cache.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from crossmargin.margin.fused._layout import CASH_ROW, GROUP, SEGMENT
from crossmargin.margin.kernels._vector import (
    block_add,
    block_fma,
    block_min,
    block_zero,
    fma_rows,
    fma_rows_add,
)
from crossmargin.margin.kernels._vector_lanes import (
    block_discount,
    block_offset,
    bucket_rows,
    size_rows,
)

LANES = 8

#: What netted changes of a segment count as.
PLAIN, DISCOUNT, OFFSET = 0, 1, 2


@functools.cache
def record_kernel(nv: int, absolute: bool, buckets: bool, paired: bool) -> Callable[..., int]:
    """Return the compiled kernel for tables of `nv` scenario vectors.

    Parameters
    ----------
    nv : int
        Vectors of scenario lanes; 0 without a scan.
    absolute, buckets : bool
        Whether the table has anything in these blocks.
    paired : bool
        Whether the last two bucket lanes are two moves of which the worse counts.

    Returns
    -------
    callable
        ``kernel(first, last, start, code, quantity, level, tables, out, account, group) ->
        records``, with `tables` as :func:`crossmargin.margin.fused._program.kernel_tables` gives
        them; `out` is float64[columns, n], `account` and `group` int32[n].
    """
    one = nv + 1
    wide = LANES * nv
    stride = LANES * (nv + 3)
    size_at, bucket_at = LANES * (nv + 1), LANES * (nv + 2)
    pair = 1 if paired else 0
    scenarios = max(nv, 1)
    has_scan = nv > 0

    @numba.njit(nogil=True, cache=True, boundscheck=False)
    def kernel(
        first: int, last: int, start: Any, code: Any, quantity: Any, level: Any, tables: Any,
        out: Any, account_of: Any, group_out: Any,
    ) -> int:  # fmt: skip
        (table, group_of, segment_of, scanned, kind, terms, weight, tail, turned, counted, keep,
         close, shape, columns) = tables  # fmt: skip
        v = np.empty(LANES * (one + 1))
        total = np.empty(LANES * (one + 1))
        # Linear lanes, then bucket lanes, as records take them.
        parts = np.empty(2 * LANES)
        record = 0
        for account in range(first, last):
            k, end = start[account], start[account + 1]
            while k < end:
                g = group_of[code[k]]
                scans = scanned[g]
                alone = True
                worst = 0.0
                block_zero(parts, 0, 2)
                while True:
                    stop = k + 1
                    while stop < end and level[stop] < SEGMENT:
                        stop += 1
                    closes = stop == end or level[stop] >= GROUP
                    fma_rows(v, table, stride, 0, code, quantity, k, stop, one)
                    block_add(parts, 0, v, wide, 1)
                    if absolute:
                        size_rows(parts, 0, table, stride, size_at, code, quantity, k, stop)
                    if buckets:
                        bucket_rows(
                            parts, LANES, table, stride, bucket_at, code, quantity, level, k,
                            stop, keep, close, shape, pair,
                        )  # fmt: skip
                    if has_scan and scans:
                        s = segment_of[code[k]]
                        if kind[s] == DISCOUNT:
                            block_discount(
                                v, terms[s, 0], terms[s, 1], parts[LANES], weight, g * wide,
                                turned, scenarios,
                            )  # fmt: skip
                            parts[LANES] = 0.0
                        elif kind[s] == OFFSET:
                            if alone and closes:
                                # One segment alone: its gains offset nothing, and the worst of
                                # what is left of its losses is all that counts.
                                block_fma(v, 0, terms[s, 2], tail, 0, scenarios)
                            else:
                                block_offset(
                                    v, terms[s, 0], terms[s, 1], terms[s, 2], tail, counted,
                                    scenarios,
                                )  # fmt: skip
                        if alone and closes:
                            worst = -block_min(v, 0, scenarios)
                        elif alone:
                            block_zero(total, 0, scenarios)
                            block_add(total, 0, v, 0, scenarios)
                        else:
                            block_add(total, 0, v, 0, scenarios)
                            if closes:
                                worst = -block_min(total, 0, scenarios)
                    alone = False
                    k = stop
                    if closes:
                        break
                while stop < end and level[stop] == CASH_ROW:
                    stop += 1
                if stop > k:
                    fma_rows_add(parts, table, stride, wide, code, quantity, k, stop, 1)
                    if absolute:
                        size_rows(parts, 0, table, stride, size_at, code, quantity, k, stop)
                    k = stop
                # A NaN passes: what cannot be valued has no requirement.
                out[0, record] = 0.0 if worst < 0.0 else worst
                for j in range(columns.size):
                    out[j + 1, record] = parts[columns[j]]
                account_of[record] = account
                group_out[record] = g
                record += 1
        return record

    return kernel
