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
from crossmargin.margin.kernels._named import named_after
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


def record_width(na: int) -> int:
    """Return the numbers of a record: its component lanes, then one vector of other things."""
    return LANES * (na + 1)


#: Places in the last vector of a record: its last row, account, kind of group and the level of
#: its first row (whole numbers, as their bits), and the requirement of the scan.
ROW, SCAN, ACCOUNT_AT, GROUP_AT, LEVEL_AT = 0, 1, 2, 3, 4


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
        ``kernel(first, last, start, code, quantity, level, tables, records) -> count``, with
        `tables` as :meth:`Program.kernel_tables` gives them and `records` a flat array with room
        for :func:`record_width` numbers for every row, and one more. A record is a group of an
        account, in the order of the rows; accounts without rows have none.
    """
    nv, na, mode, value = shape_of.nv, shape_of.na, shape_of.mode, shape_of.value
    tails, flagged = shape_of.tails, shape_of.flagged
    stride = LANES * (nv + na)
    pair, alone = int(shape_of.paired), int(mode == ALONE)
    block = LANES * (2 if alone else nv + 2)
    width = record_width(na)
    other = LANES * na

    @numba.njit(nogil=True, cache=True, boundscheck=False)
    @named_after(shape_of)
    def kernel(
        first: int, last: int, start: Any, code: Any, quantity: Any, level: Any, tables: Any,
        records: Any,
    ) -> int:  # fmt: skip
        (table, group_of, segment_of, terms, weight, tail, flags, masks, ends, steps, shape,
         spared) = tables  # fmt: skip
        longest = 0
        for tile in range(first, last, TILE):
            longest = max(longest, start[min(tile + TILE, last)] - start[tile])
        seg = _aligned((longest + 1) * block)
        worst = np.empty(longest + 1)
        counts = np.zeros(2, dtype=np.int64)
        words = records.view(np.int64)
        record = 0
        for tile in range(first, last, TILE):
            end = min(tile + TILE, last)
            tile_rows(
                seg, records[record * width :], table, stride, code, quantity, level, start[tile],
                start[end], masks, ends, steps, shape, tail, tails, spared, counts, alone, nv, na,
                pair,
            )  # fmt: skip
            tile_worst(
                worst, seg, counts[0], start[tile], code, level, segment_of, group_of, terms,
                weight, tail, flags, flagged, value, mode, nv,
            )  # fmt: skip
            account, row = tile - 1, start[tile]
            for r in range(counts[1]):
                at = (record + r) * width + other
                if level[row] == ACCOUNT:
                    account += 1
                    while start[account + 1] <= row:
                        account += 1
                # A NaN passes: what cannot be valued has no requirement.
                records[at + SCAN] = 0.0 if worst[r] > 0.0 else -worst[r]
                words[at + ACCOUNT_AT] = account
                words[at + GROUP_AT] = group_of[code[row]]
                words[at + LEVEL_AT] = level[row]
                row = words[at + ROW] + 1
            record += counts[1]
        # After the last record an account begins: what is read ahead is always there.
        words[record * width + other + LEVEL_AT] = ACCOUNT
        return record

    return kernel
