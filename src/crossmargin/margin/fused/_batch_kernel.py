"""The compiled batch: rows of a block to records, records to accounts."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from crossmargin.margin.fused._batch import BLOCK
from crossmargin.margin.fused._batch_tables import BatchShape
from crossmargin.margin.fused._expression import (
    ALLOWANCE,
    CLOSES,
    HELD_USD,
    KIND,
    least_health,
    sum_accounts,
)
from crossmargin.margin.fused._kernel import LANES, _aligned
from crossmargin.margin.kernels._named import named_after
from crossmargin.margin.kernels._vector_batch import tile_parts, tile_scan


@functools.cache
def block_kernel(shape_of: BatchShape) -> Callable[..., None]:
    """Return the compiled function that turns the rows of a block of accounts into records.

    Parameters
    ----------
    shape_of : BatchShape
        Constants of the loops.

    Returns
    -------
    callable
        ``kernel(block, start, quantity, rows, blocks, tables, records)`` with the columns of a
        :class:`~crossmargin.margin.fused._batch.Batch`, and room for the records.
    """
    nv, na, nm = shape_of.nv, shape_of.na, shape_of.nm
    mode, value = shape_of.mode, shape_of.value
    pair, main_pair = int(shape_of.paired), int(shape_of.main_paired)
    netted, flagged = int(shape_of.netted), shape_of.flagged
    plain, spread = shape_of.plain, shape_of.spread
    low = shape_of.lows[0]

    @numba.njit(nogil=True, cache=True, boundscheck=False)
    @named_after(shape_of)
    def kernel(
        block: int, start: Any, quantity: Any, rows: Any, blocks: Any, tables: Any, records: Any,
    ) -> None:  # fmt: skip
        (main_code, main_step, main_level, scan_code, scan_offset, scan_level, _, _,
         joins) = rows  # fmt: skip
        (main, scan, group_of, ways, figure, far, weights, main_bits, scan_bits, main_form,
         scan_form, need) = tables  # fmt: skip
        place = start[block * BLOCK]
        tile_parts(
            records, main, main_code, main_step, quantity, main_level, place, blocks[block, 0],
            blocks[block + 1, 0], main_bits, main_form, nm, main_pair, netted,
        )  # fmt: skip
        tile_scan(
            records, joins, blocks[block, 3], blocks[block + 1, 3], scan, scan_code, scan_offset,
            quantity, scan_level, place, blocks[block, 1], scan_bits, scan_form, group_of, ways,
            figure, far, weights, need, low, mode, nv, na, nm, pair, value, flagged, plain, spread,
        )  # fmt: skip

    return kernel


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _ratios(count: int, pots: Any, mark: Any, first: int, ratios: Any) -> None:
    """Return equity / MM of each pot at its last record, and no line at the others."""
    for r in range(count):
        eq, need = pots[2 * r], pots[2 * r + 1]
        # Nothing required: endless health, unless less than nothing is there.
        ratio = eq / (need if need > 0.0 else 1.0)
        bare = -np.inf if eq < 0.0 else np.inf
        ratio = ratio if need > 0.0 else bare
        ratio = np.nan if np.isnan(eq + need) else ratio
        ratios[r] = ratio if (mark[first + r] & CLOSES) != 0 else np.inf


@functools.cache
def batch_kernel(shape_of: BatchShape, texts: str, limit: int) -> Callable[..., None]:
    """Return the compiled function that computes a run of blocks from rows to columns.

    Parameters
    ----------
    shape_of : BatchShape
        Constants of the loops.
    texts : str
        IM, MM, equity at the initial and at the maintenance level of a record; see `sum_accounts`.
    limit : int
        Lane that has a limit, or -1.
    """
    rows_of = block_kernel(shape_of)
    width = LANES * shape_of.nm
    lows, many = shape_of.lows, LANES
    low = ",".join(str(lane) for lane in lows)

    @numba.njit(nogil=True, cache=True)
    @named_after(shape_of, texts, limit)
    def run(
        first: int, last: int, start: Any, quantity: Any, rows: Any, blocks: Any, tables: Any,
        kinds: Any, keeps: Any, out: Any, over: Any, parts: Any, factors: Any, sums: Any,
        chunk: int,
    ) -> None:  # fmt: skip
        most = 0
        for block in range(first, last):
            most = max(most, blocks[block + 1, 2] - blocks[block, 2])
        records = _aligned((most + 1) * width)
        pots, ratios = np.empty(2 * most), np.empty(most)
        flat, mark, account = out.reshape(out.size), rows[6], rows[7]
        for block in range(first, last):
            rows_of(block, start, quantity, rows, blocks, tables, records)
            a, b, owner = blocks[block, 2], blocks[block + 1, 2], block * BLOCK
            sum_accounts(
                records, a, b, owner, mark, account, kinds, keeps, flat, over, pots, width, low,
                texts, limit,
            )  # fmt: skip
            _ratios(b - a, pots, mark, a, ratios)
            least_health(ratios, a, b, owner, mark, account, keeps, flat)
            if parts.shape[0] > 0:
                _add_parts(
                    a, b, owner, mark, account, records, width, lows, kinds, many, out, over,
                    parts, factors, sums[owner // chunk],
                )  # fmt: skip

    return run


@numba.njit(nogil=True, cache=True)
def _add_parts(
    first: int, last: int, owner: int, mark: Any, account: Any, records: Any, width: int,
    lows: Any, kinds: Any, many: int, out: Any, over: Any, parts: Any, factors: Any, sums: Any,
) -> None:  # fmt: skip
    """Add components up in US dollars, over the accounts that have a result.

    ``parts[k, level]`` are the places of a component in a record: a lane, a second one or -1, and
    the sign of that one; lane -1 is the scan, -2 is nothing.
    """
    for r in range(last - first):
        at, place = r * width, owner + account[first + r]
        kind = (np.int64(mark[first + r]) >> KIND) * many
        usd = kinds[kind + HELD_USD]
        if usd == 0.0 or over[place]:
            continue
        if np.isnan(out[place, 0] + out[place, 1] + out[place, 2] + out[place, 3]):
            continue
        scan = 0.0
        for k in range(len(lows)):
            spared = kinds[kind + ALLOWANCE] if k > 1 else 0.0
            scan = max(scan, records[at + lows[k]] - spared)
        for k in range(parts.shape[0]):
            for level in range(2):
                one, two, sign = parts[k, level]
                if one == -2:
                    continue
                x = scan if one == -1 else records[at + one]
                if two >= 0:
                    x += sign * records[at + two]
                sums[k, level] += x * factors[k, level] * usd
