"""The compiled batch: rows of a block to records, records to accounts."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from crossmargin.margin.fused._batch import BLOCK, CLOSES, FRESH, KIND, OPENS
from crossmargin.margin.fused._batch_tables import (
    ALLOWANCE,
    HELD,
    HELD_USD,
    LIMITS,
    USD,
    BatchShape,
)
from crossmargin.margin.fused._expression import worked_out
from crossmargin.margin.fused._kernel import LANES, _aligned
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


@functools.cache
def account_kernel(
    shape_of: BatchShape, kinds_width: int, im: str, mm: str, equity_im: str, equity_mm: str,
    limits: tuple[int, ...],
) -> Callable[..., None]:  # fmt: skip
    """Return the compiled function that adds the records of a block up to pots and accounts.

    Parameters
    ----------
    shape_of : BatchShape
        Constants.
    kinds_width : int
        Numbers of a kind of group.
    im, mm, equity_im, equity_mm : str
        Requirement and equity of a record as text, see `worked_out`.
    limits : tuple of int
        Lanes that have a limit; at most one.
    """
    width, many = LANES * shape_of.nm, kinds_width
    lows = shape_of.lows
    l0, l1, l2, l3 = (lows * 2)[:4]
    tails = len(lows) == 4
    bounded, lane = bool(limits), limits[0] if limits else 0

    @numba.njit(nogil=True, cache=True, boundscheck=False, error_model="numpy")
    def add_up(
        first: int, last: int, owner: int, mark: Any, account: Any, records: Any, kinds: Any,
        out: Any, over: Any,
    ) -> None:  # fmt: skip
        sum_eq = sum_eq_im = sum_im = sum_mm = eq = need = 0.0
        least = np.inf
        beyond = False
        for r in range(np.uint64(last - first)):
            at = r * width
            word = np.uint64(mark[first + r])
            kind = (word >> np.uint64(KIND)) * np.uint64(many)
            scan = _largest(0.0, records[at + l0], records[at + l1])
            if tails:
                spared = kinds[kind + np.uint64(ALLOWANCE)]
                scan = _largest(scan, records[at + l2] - spared, records[at + l3] - spared)
            x_im = worked_out(records, at, scan, im)
            x_mm = worked_out(records, at, scan, mm)
            own_im = worked_out(records, at, scan, equity_im)
            own = worked_out(records, at, scan, equity_mm)
            usd, held = kinds[kind + np.uint64(USD)], kinds[kind + np.uint64(HELD_USD)]
            # Sums begin anew without a branch: where accounts end cannot be guessed.
            fresh, opens = (word & np.uint64(FRESH)) != 0, (word & np.uint64(OPENS)) != 0
            sum_eq = (0.0 if fresh else sum_eq) + own * usd
            sum_eq_im = (0.0 if fresh else sum_eq_im) + own_im * usd
            sum_im = (0.0 if fresh else sum_im) + held * x_im
            sum_mm = (0.0 if fresh else sum_mm) + held * x_mm
            eq = (0.0 if opens else eq) + own
            need = (0.0 if opens else need) + kinds[kind + np.uint64(HELD)] * x_mm
            # Nothing required: endless health, unless less than nothing is there.
            ratio = eq / (need if need > 0.0 else 1.0)
            bare = -np.inf if eq < 0.0 else np.inf
            ratio = ratio if need > 0.0 else bare
            ratio = np.nan if np.isnan(eq + need) else ratio
            ratio = ratio if (word & np.uint64(CLOSES)) != 0 else np.inf
            least = np.inf if fresh else least
            # A NaN stays: no comparison with it holds.
            least = least if ratio >= least else ratio
            place = np.uint64(owner) + np.uint64(account[first + r])
            out[place, 0] = sum_eq
            out[place, 1] = sum_eq_im
            out[place, 2] = sum_im
            out[place, 3] = sum_mm
            out[place, 4] = least
            if bounded:
                past = not abs(records[at + lane]) <= kinds[kind + np.uint64(LIMITS)]
                beyond = (beyond & (not fresh)) | past
                over[place] = beyond

    return add_up


@numba.njit(inline="always")
def _largest(a: float, b: float, c: float) -> float:
    """Return the largest of three numbers; the last that is not one, if one is not."""
    one = a if a >= b else b
    return one if one >= c else c


@functools.cache
def batch_kernel(
    shape_of: BatchShape, kinds_width: int, im: str, mm: str, equity_im: str, equity_mm: str,
    limits: tuple[int, ...],
) -> Callable[..., None]:  # fmt: skip
    """Return the compiled function that computes a run of blocks from rows to columns.

    Parameters as for `account_kernel`.
    """
    rows_of = block_kernel(shape_of)
    add_up = account_kernel(shape_of, kinds_width, im, mm, equity_im, equity_mm, limits)
    width = LANES * shape_of.nm
    lows, many = shape_of.lows, kinds_width

    @numba.njit(nogil=True, cache=True)
    def run(
        first: int, last: int, start: Any, quantity: Any, rows: Any, blocks: Any, tables: Any,
        kinds: Any, out: Any, over: Any, parts: Any, factors: Any, sums: Any,
    ) -> None:  # fmt: skip
        most = 0
        for block in range(first, last):
            most = max(most, blocks[block + 1, 2] - blocks[block, 2])
        records = _aligned((most + 1) * width)
        for block in range(first, last):
            rows_of(block, start, quantity, rows, blocks, tables, records)
            add_up(
                blocks[block, 2], blocks[block + 1, 2], block * BLOCK, rows[6], rows[7], records,
                kinds, out, over,
            )  # fmt: skip
            if parts.shape[0] > 0:
                _add_parts(
                    blocks[block, 2], blocks[block + 1, 2], block * BLOCK, rows[6], rows[7],
                    records, width, lows, kinds, many, out, over, parts, factors, sums,
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
