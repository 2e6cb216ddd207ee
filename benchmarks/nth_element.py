"""The plain way to an expected shortfall: store an account's scenarios, select the worst.

`nth_element` is what C++ libraries do: partition about the median of three until the k-th
smallest stands in its place, insertion sort at the end. The sums are those of the kernel itself,
so that only the selection differs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numba
import numpy as np

from crossmargin.margin.kernels import _vector_tail as vec
from crossmargin.margin.kernels._layout import CheckedRows, GridTable


@numba.njit(nogil=True)
def nth_element(values: Any, n: int, k: int) -> None:
    """Put the k smallest of ``values[0:n]`` (from 1) into its first k places, in any order."""
    low, high = 0, n
    want = k - 1
    while high - low > 3:
        a, b, c = values[low], values[(low + high) >> 1], values[high - 1]
        pivot = max(min(a, b), min(max(a, b), c))
        i, j = low, high - 1
        while True:
            while values[i] < pivot:
                i += 1
            while pivot < values[j]:
                j -= 1
            if i >= j:
                break
            values[i], values[j] = values[j], values[i]
            i += 1
            j -= 1
        if i <= want:
            low = i
        else:
            high = i
    for i in range(low + 1, high):
        x = values[i]
        j = i
        while j > low and x < values[j - 1]:
            values[j] = values[j - 1]
            j -= 1
        values[j] = x


@cache
def _stored(vectors: int, lanes: int, scenarios: int, select: bool) -> Callable[..., None]:
    """Compile: sum up an account's scenarios, store them, and select the worst."""
    block = vectors * lanes
    blocks = -(-scenarios // block)
    stride, before = blocks * block, (blocks - 1) * block
    final = scenarios - before

    @numba.njit(nogil=True)
    def run(
        values: Any, start: Any, codes: Any, quantity: Any, first: int, last: int, worst: int,
        mean: Any, rows: Any,
    ) -> None:  # fmt: skip
        kind = values.dtype.type
        top = kind(np.inf)
        kept = np.empty(stride + 2 * lanes, dtype=values.dtype)
        for account in range(first, last):
            low, high = start[account], start[account + 1]
            n = 0
            for column in range(0, before, block):
                n = vec.fma_rows_below(
                    kept, n, top, values, stride, column, codes, quantity, low, high, block
                )
            n = vec.fma_rows_below(
                kept, n, top, values, stride, before, codes, quantity, low, high, final
            )
            if not select:
                rows[account - first, :] = kept[:n]
                continue
            nth_element(kept, n, worst)
            total = 0.0
            for i in range(worst):
                total += np.float64(kept[i])
            mean[account] = total / worst

    return run  # type: ignore[no-any-return]


def shortfalls(laid: GridTable, book: CheckedRows, worst: int) -> Callable[[], np.ndarray]:
    """Return the call: the kernel's sums stored, then `nth_element`; one thread."""
    kernel = _stored(laid.vectors, laid.block // laid.vectors, laid.scenarios, True)
    mean = np.empty(book.accounts)
    none = np.empty((0, 0), dtype=laid.values.dtype)
    held = book.quantity.astype(laid.values.dtype, copy=False)

    def run() -> np.ndarray:
        kernel(laid.values, book.start, book.codes, held, 0, book.accounts, worst, mean, none)
        return mean

    return run


def shortfalls_partition(
    laid: GridTable, book: CheckedRows, worst: int, chunk: int = 64
) -> Callable[[], np.ndarray]:
    """Return the call: the same sums, chunk by chunk, then ``numpy.partition`` (vectorised)."""
    kernel = _stored(laid.vectors, laid.block // laid.vectors, laid.scenarios, False)
    mean = np.empty(book.accounts)
    rows = np.empty((chunk, laid.scenarios), dtype=laid.values.dtype)
    held = book.quantity.astype(laid.values.dtype, copy=False)

    def run() -> np.ndarray:
        for first in range(0, book.accounts, chunk):
            last = min(first + chunk, book.accounts)
            kernel(laid.values, book.start, book.codes, held, first, last, worst, mean, rows)
            part = rows[: last - first]
            part.partition(worst - 1, axis=1)
            mean[first:last] = part[:, :worst].sum(axis=1, dtype=np.float64) / worst
        return mean

    return run
