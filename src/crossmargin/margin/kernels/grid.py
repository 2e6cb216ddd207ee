"""Worst of a grid of scenarios for every account, without storing accounts × scenarios.

    worst[a] = min_s Σ_k quantity[k] · table[codes[k], s],   k over the positions of account a

The reducer of every scan-based margin (``design.md`` section 1, "positions × table, then reduce").
Running sums stay in vector registers over the positions of an account and are reduced there.
Source of the formula: house, it is the definition of a scan.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.errors import InputError
from crossmargin.margin.kernels import _vector as vec
from crossmargin.margin.kernels._layout import (
    RUN,
    CheckedRows,
    GridTable,
    check_rows,
    grid_table,
    jit,
    run_in_threads,
)
from crossmargin.margin.kernels._named import named_after

__all__ = [
    "CheckedRows",
    "GridTable",
    "check_rows",
    "grid_table",
    "worst_of_grid",
    "worst_of_grid_reference",
    "worst_of_groups",
]

Floats = NDArray[np.float64]

#: Positions asked for ahead of the account at hand: memory answers within the time of so many.
AHEAD = 256


@lru_cache(maxsize=64)
def _kernel(vectors: int, lanes: int) -> Callable[..., None]:
    """Compile the pass for a block of `vectors` vectors of `lanes` scenarios."""
    stride = vectors * lanes

    def worst(
        values: Any, plane: int, blocks: int, start: Any, codes: Any, quantity: Any, first: int,
        last: int, out: Any,
    ) -> None:  # fmt: skip
        for account in range(first, last):
            vec.prefetch(quantity, start[account] + AHEAD, 2)
            vec.prefetch(codes, start[account] + AHEAD, 1)
            out[account] = vec.fma_rows_min(
                values, stride, 0, codes, quantity, start[account], start[account + 1], vectors
            )
        for block in range(1, blocks):
            column = block * plane
            for account in range(first, last):
                vec.prefetch(quantity, start[account] + AHEAD, 2)
                vec.prefetch(codes, start[account] + AHEAD, 1)
                here = vec.fma_rows_min(
                    values, stride, column, codes, quantity, start[account], start[account + 1],
                    vectors,
                )  # fmt: skip
                if here < out[account]:
                    out[account] = here

    return jit(named_after(vectors, lanes)(worst))


def worst_of_grid(
    table: ArrayLike | GridTable,
    start: ArrayLike | CheckedRows,
    codes: ArrayLike | None = None,
    quantity: ArrayLike | None = None,
    *,
    threads: int = 1,
    out: Floats | None = None,
) -> Floats:
    """Return the worst P&L of each account over the scenarios.

    Parameters
    ----------
    table : array_like [rows, scenarios] or GridTable
        P&L of one unit, finite, > 0 gain. A float32 table makes the whole pass float32.
    start, codes, quantity : array_like
        The book in compressed sparse rows, see `check_rows`; or `start` alone, a `CheckedRows`,
        which is not checked again.
    threads : int, default 1
        Threads of this process.
    out : float64[A], optional
        Where to write.

    Returns
    -------
    float64[A]
        In the unit of the table, < 0 for a loss; 0 for an account without positions. The same
        bits for any number of threads and any layout: each lane is summed in the order of the
        positions with one rounding a position (`_vector`).

    Raises
    ------
    InputError
        What `check_rows` and `grid_table` refuse.
    """
    if isinstance(start, CheckedRows):
        book = start
        laid = grid_table(table, layout="planes")
    else:
        laid = grid_table(table, layout="planes")
        if codes is None or quantity is None:
            raise InputError("codes and quantities are missing", code="INP-003", field="codes")
        book = check_rows(laid.rows, start, codes, quantity)
    if out is None:
        out = np.empty(book.accounts)
    held = book.quantity.astype(laid.values.dtype, copy=False)
    kernel = _kernel(laid.vectors, laid.block // laid.vectors)

    def work(first: int, last: int) -> None:
        kernel(laid.values, laid.plane, laid.blocks, book.start, book.codes, held, first, last, out)

    run_in_threads(work, book.accounts, threads, RUN)
    return out


def worst_of_groups(
    table: ArrayLike | GridTable,
    book: CheckedRows,
    groups: ArrayLike,
    *,
    threads: int = 1,
) -> Floats:
    """Return the sum over an account's groups of each group's own worst scenario.

    Parameters
    ----------
    table : array_like [rows, scenarios] or GridTable
        As for `worst_of_grid`.
    book : CheckedRows
        Rows of *groups* (an account's positions in one underlying): ``start[g]:start[g + 1]``.
    groups : array_like of int [A + 1]
        Groups of account a are ``groups[a]:groups[a + 1]``.
    threads : int, default 1
        Threads of this process.

    Returns
    -------
    float64[A]
        Sum in the order of the groups; 0 for an account without groups.
    """
    pointers = np.ascontiguousarray(groups, dtype=np.int64)
    worst = worst_of_grid(table, book, threads=threads)
    out = np.empty(pointers.size - 1)
    _sum_runs(worst, pointers, out)
    return out


@jit
def _sum_runs(values: Any, start: Any, out: Any) -> None:
    for i in range(out.shape[0]):
        total = 0.0
        for k in range(start[i], start[i + 1]):
            total += values[k]
        out[i] = total


def worst_of_grid_reference(
    table: ArrayLike, start: ArrayLike, codes: ArrayLike, quantity: ArrayLike, *, chunk: int = 4096
) -> Floats:
    """Compute what `worst_of_grid` does with SciPy's sparse product, `chunk` accounts at a time.

    Parameters and result as there; the last bits differ, because nothing is fused here.
    """
    from scipy.sparse import csr_matrix

    dense = np.asarray(table)
    book = check_rows(dense.shape[0], start, codes, quantity)
    out = np.empty(book.accounts)
    held = book.quantity.astype(dense.dtype, copy=False)
    for first in range(0, book.accounts, chunk):
        last = min(first + chunk, book.accounts)
        low, high = int(book.start[first]), int(book.start[last])
        rows = csr_matrix(
            (held[low:high], book.codes[low:high], book.start[first : last + 1] - low),
            shape=(last - first, dense.shape[0]),
        )
        out[first:last] = (rows @ dense).min(axis=1)
    return cast("Floats", out)
