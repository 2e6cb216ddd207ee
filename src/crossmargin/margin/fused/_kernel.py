"""The fused kernel: all of an account's requirement in one pass over its rows.

For each group of each account: sum quantity × row into the scenario lanes and the lanes of
components, map each segment by φ, take the worst scenario, and write one record. Scenario
vectors of a few accounts at a time stay in the processor's first cache.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np

from crossmargin.margin.fused._layout import ACCOUNT
from crossmargin.margin.kernels._vector_lanes import tile_rows, tile_worst

LANES = 8

#: Accounts whose scenario vectors are held at a time.
TILE = 16

#: What netted changes of a segment count as; see ``tile_worst``.
ALONE, DISCOUNT, OFFSET = 0, 1, 2


@numba.njit(nogil=True, cache=True)
def _aligned(size: int) -> Any:
    """Return scratch that begins on a cache line."""
    raw = np.empty(size + LANES)
    skip = (-raw.ctypes.data % 64) // 8
    return raw[skip : skip + size]


@dataclass(frozen=True, slots=True)
class Shape:
    """What a kernel is compiled for.

    Attributes
    ----------
    nv, na : int
        Vectors of scenario lanes and of component lanes, each at least 1.
    mode : {0, 1, 2}
        What segments count as.
    paired : bool
        Whether the last two component lanes are two moves of which the worse counts.
    value : int
        Component lane of today's value of a segment (mode 1).
    tails, flagged : int
        Bits of scenario vectors that have lanes of tail scenarios, and lanes that are flagged.
    """

    nv: int
    na: int
    mode: int
    paired: bool
    value: int
    tails: int
    flagged: int


@functools.cache
def record_kernel(shape_of: Shape) -> Callable[..., int]:
    """Return the compiled kernel for tables of one shape.

    Parameters
    ----------
    shape_of : Shape
        Constants of the loops.

    Returns
    -------
    callable
        ``kernel(first, last, start, code, quantity, level, tables, out, account, group) ->
        records``, with `tables` as :meth:`Program.kernel_tables` gives them. `out` is
        float64[columns, n]: the scan, then the lanes in use; `account` and `group` are int32[n].
        Accounts without rows have no record.
    """
    nv, na, mode, value = shape_of.nv, shape_of.na, shape_of.mode, shape_of.value
    tails, flagged = shape_of.tails, shape_of.flagged
    stride = LANES * (nv + na)
    pair, alone = int(shape_of.paired), int(mode == ALONE)
    block = LANES * (2 if alone else nv + 2)
    width = LANES * (na + 1)

    @numba.njit(nogil=True, cache=True, boundscheck=False)
    def kernel(
        first: int, last: int, start: Any, code: Any, quantity: Any, level: Any, tables: Any,
        out: Any, account_of: Any, group_out: Any,
    ) -> int:  # fmt: skip
        (table, group_of, segment_of, terms, weight, tail, flags, masks, ends, steps, shape,
         spared, columns) = tables  # fmt: skip
        longest = 0
        for tile in range(first, last, TILE):
            longest = max(longest, start[min(tile + TILE, last)] - start[tile])
        seg = _aligned((longest + 1) * block)
        aux = _aligned((longest + 1) * width)
        rows = aux.view(np.int64)
        worst = np.empty(longest + 1)
        counts = np.zeros(2, dtype=np.int64)
        record = 0
        for tile in range(first, last, TILE):
            end = min(tile + TILE, last)
            tile_rows(
                seg, aux, table, stride, code, quantity, level, start[tile], start[end], masks,
                ends, steps, shape, tail, tails, spared, counts, alone, nv, na, pair,
            )  # fmt: skip
            tile_worst(
                worst, seg, counts[0], start[tile], code, level, segment_of, group_of, terms,
                weight, tail, flags, flagged, value, mode, nv,
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
                        target[record + r] = aux[r * width + one]
                else:
                    for r in range(size):
                        target[record + r] = aux[r * width + one] + sign * aux[r * width + two]
            account, row = tile - 1, start[tile]
            for r in range(size):
                group_out[record + r] = group_of[code[row]]
                if level[row] == ACCOUNT:
                    account += 1
                    while start[account + 1] <= row:
                        account += 1
                account_of[record + r] = account
                row = rows[r * width + width - LANES] + 1
            record += size
        return record

    return kernel
