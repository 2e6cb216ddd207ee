"""The fused kernel: all of an account's requirement in one pass over its rows.

For each group of each account: sum quantity × row into the scenario lanes and the lanes of
components, map each segment by φ, take the worst scenario, and write one record. Scenario
vectors of a few accounts at a time stay in the processor's first cache.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from crossmargin.margin.kernels._vector_lanes import tile_rows, tile_worst

LANES = 8

#: Accounts whose scenario vectors are held at a time.
TILE = 16

#: What netted changes of a segment count as; see ``tile_worst``.
ALONE, DISCOUNT, OFFSET = 0, 1, 2


@functools.cache
def record_kernel(nv: int, na: int, mode: int, paired: bool, value: int) -> Callable[..., int]:
    """Return the compiled kernel for tables of one shape.

    Parameters
    ----------
    nv, na : int
        Vectors of scenario lanes and of component lanes, each at least 1.
    mode : {0, 1, 2}
        What segments count as.
    paired : bool
        Whether the last two component lanes are two moves of which the worse counts.
    value : int
        Component lane of today's value of a segment (mode 1).

    Returns
    -------
    callable
        ``kernel(first, last, start, code, quantity, level, tables, out, account, group) ->
        records``, with `tables` as :meth:`Program.kernel_tables` gives them. `out` is
        float64[columns, n]: the scan, then the lanes in use; `account` and `group` are int32[n].
        Accounts without rows have no record.
    """
    stride = LANES * (nv + na)
    pair = 1 if paired else 0

    @numba.njit(nogil=True, cache=True, boundscheck=False)
    def kernel(
        first: int, last: int, start: Any, code: Any, quantity: Any, level: Any, tables: Any,
        out: Any, account_of: Any, group_out: Any,
    ) -> int:  # fmt: skip
        (table, group_of, segment_of, terms, weight, tail, flags, keep, close, shape,
         columns) = tables  # fmt: skip
        longest = 0
        for tile in range(first, last, TILE):
            longest = max(longest, start[min(tile + TILE, last)] - start[tile])
        room = longest + 1
        seg = np.empty(room * LANES * (nv + 1))
        aux = np.empty(room * LANES * na)
        worst = np.empty(room)
        seg_code = np.empty(room, dtype=np.int32)
        opens = np.empty(room, dtype=np.int32)
        rec_code = np.empty(room, dtype=np.int32)
        owner = np.empty(room, dtype=np.int32)
        filled = np.empty(TILE, dtype=np.int32)
        counts = np.zeros(2, dtype=np.int64)
        record = 0
        for tile in range(first, last, TILE):
            end = min(tile + TILE, last)
            held = 0
            for account in range(tile, end):
                filled[held] = account
                held += start[account + 1] > start[account]
            tile_rows(
                seg, aux, seg_code, opens, rec_code, owner, table, stride, code, quantity, level,
                start[tile], start[end], keep, close, shape, counts, nv, na, pair,
            )  # fmt: skip
            tile_worst(
                worst, seg, seg_code, opens, counts[0], segment_of, group_of, terms, weight, tail,
                flags, value, mode, nv,
            )  # fmt: skip
            size = counts[1]
            for r in range(size):
                # A NaN passes: what cannot be valued has no requirement.
                out[0, record + r] = 0.0 if worst[r] > 0.0 else -worst[r]
            for c in range(columns.shape[0]):
                one, two, sign = columns[c, 0], columns[c, 1], columns[c, 2]
                target = out[c + 1]
                if two < 0:
                    for r in range(size):
                        target[record + r] = aux[r * LANES * na + one]
                else:
                    for r in range(size):
                        at = r * LANES * na
                        target[record + r] = aux[at + one] + sign * aux[at + two]
            for r in range(size):
                account_of[record + r] = filled[owner[r]]
                group_out[record + r] = group_of[rec_code[r]]
            record += size
        return record

    return kernel
