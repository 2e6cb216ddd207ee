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

from crossmargin.margin.fused._combine import BUCKET_COLUMN, LINEAR_COLUMN, SCAN_COLUMN
from crossmargin.margin.fused._layout import BUCKET, GROUP, SEGMENT, STRIKE
from crossmargin.margin.kernels._vector import block_add, block_min, fma_rows

LANES = 8


@functools.cache
def record_kernel(nv: int, absolute: bool, buckets: bool) -> Callable[..., int]:
    """Return the compiled kernel for tables of `nv` scenario vectors.

    Parameters
    ----------
    nv : int
        Vectors of scenario lanes; 0 without a scan.
    absolute, buckets : bool
        Whether the table has anything in these blocks.

    Returns
    -------
    callable
        ``kernel(first, last, start, code, quantity, level, table, group_of, segment_of, scanned,
        kind, terms, weight, tail, turned, tail_gains, strikes, shorts, pair, out, account, group)
        -> records`` where `out` is float64[COLUMNS, n], `account` and `group` int32[n].
    """
    one = nv + 1
    wide = LANES * nv
    stride = LANES * (nv + 3)
    absolute_at, bucket_at = LANES * (nv + 1), LANES * (nv + 2)

    @numba.njit(nogil=True, cache=True, boundscheck=False)
    def kernel(
        first: int, last: int, start: Any, code: Any, quantity: Any, level: Any, table: Any,
        group_of: Any, segment_of: Any, scanned: Any, kind: Any, terms: Any, weight: Any,
        tail: Any, turned: Any, tail_gains: bool, strikes: int, shorts: int, pair: int,
        out: Any, account_of: Any, group_out: Any,
    ) -> int:  # fmt: skip
        v = np.empty(LANES * one)
        total = np.empty(LANES * one)
        sizes = np.zeros(LANES)
        running = np.zeros(LANES)
        ended = np.zeros(LANES)
        record = 0
        for account in range(first, last):
            k, end = start[account], start[account + 1]
            while k < end:
                g = group_of[code[k]]
                scans = scanned[g]
                alone = True
                worst = 0.0
                for j in range(LANES):
                    sizes[j] = 0.0
                    ended[j] = 0.0
                while True:
                    stop = k + 1
                    while stop < end and level[stop] < SEGMENT:
                        stop += 1
                    closes = stop == end or level[stop] >= GROUP
                    fma_rows(v, table, stride, 0, code, quantity, k, stop, one)
                    if absolute:
                        for row in range(k, stop):
                            at = np.int64(code[row]) * stride + absolute_at
                            q = abs(quantity[row])
                            for j in range(LANES):
                                sizes[j] += q * table[at + j]
                    if buckets:
                        for j in range(LANES):
                            running[j] = 0.0
                        value = 0.0
                        for row in range(k, stop):
                            at = np.int64(code[row]) * stride + bucket_at
                            q = quantity[row]
                            here = level[row]
                            after = level[row + 1] if row + 1 < stop else SEGMENT
                            value += q * table[at]
                            for j in range(1, LANES):
                                edge = STRIKE if (strikes >> j) & 1 else BUCKET
                                x = q * table[at + j]
                                if here < edge:
                                    x += running[j]
                                running[j] = x
                                if after >= edge and j != pair and j - 1 != pair:
                                    if (shorts >> j) & 1:
                                        ended[j] += max(0.0, -x)
                                    else:
                                        ended[j] += abs(x)
                            if pair >= 0 and after >= BUCKET:
                                low = min(running[pair], running[pair + 1])
                                ended[pair] += max(0.0, -low)
                    if nv and scans:
                        s = segment_of[code[k]]
                        if buckets and kind[s] == 1:
                            long, short = terms[s, 0], terms[s, 1]
                            for j in range(wide):
                                then = v[j]
                                x = then * (long if then >= 0.0 else short) - weight[g, j] * value
                                v[j] = -abs(x) if turned[j] != 0.0 else x
                        elif kind[s] == 2:
                            offset, cap, dampener = terms[s, 0], terms[s, 1], terms[s, 2]
                            if alone and closes:
                                for j in range(wide):
                                    v[j] += dampener * tail[j]
                            else:
                                for j in range(wide):
                                    x = v[j]
                                    if x > 0.0:
                                        gain = min(x * offset, cap)
                                        v[j] = 0.0 if tail[j] != 0.0 and not tail_gains else gain
                                    else:
                                        v[j] = min(x + dampener * tail[j], 0.0)
                    if alone:
                        for j in range(LANES * one):
                            total[j] = v[j]
                    else:
                        block_add(total, 0, v, 0, one)
                    alone = False
                    k = stop
                    if closes:
                        break
                if nv and scans:
                    worst = max(0.0, -block_min(total, 0, nv))
                    if np.isnan(total[0]):
                        worst = np.nan
                out[SCAN_COLUMN, record] = worst
                for j in range(LANES):
                    out[LINEAR_COLUMN + j, record] = total[wide + j] + sizes[j]
                    out[BUCKET_COLUMN + j, record] = ended[j]
                account_of[record] = account
                group_out[record] = g
                record += 1
        return record

    return kernel
