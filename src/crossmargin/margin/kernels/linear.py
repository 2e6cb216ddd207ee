"""Rows that are multiples of one shock vector, summed to one quantity before the scan.

Perpetuals, futures and spot of an underlying gain in proportion to one vector of moves (where all
underlyings move together, those of all of them do): ``T_ks = f_k · B_cs`` for the rows k of a class
c. So ``Σ_k q_k T_ks = (Σ_k q_k f_k) B_cs``: an account's linear positions of a class cost one
multiply-add each instead of one a scenario, and one row instead of many. Source: house, it is
distributivity.

The classes are found in the table itself and held to it, so nothing is assumed about instruments:
a row belongs to a class when it is a multiple within `TOLERANCE` of its largest entry. A worst
over scenarios then moves by at most ``(n + 2) · 2⁻⁵² + TOLERANCE`` of the account's gross.

It pays where rows are wide or most positions are linear, and costs a little where rows are short
and options prevail: the quantities are put together in a pass of their own, because loops of a few
turns each inside the scan would cost more than the rows they save.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.errors import InputError
from crossmargin.margin.kernels import _vector as vec
from crossmargin.margin.kernels._layout import (
    RUN,
    CheckedRows,
    GridTable,
    grid_table,
    jit,
    run_in_threads,
)
from crossmargin.margin.kernels._named import named_after

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Largest difference from a multiple, relative to a row's largest entry: four roundings.
TOLERANCE = 4 * 2.0**-52

#: Accounts whose quantities are put together before they are scanned: they stay in cache.
LINEAR_RUN = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearRows:
    """Which rows of a table are multiples of one another.

    Attributes
    ----------
    row_class : int64[rows]
        Class of each row; −1 for a row of its own.
    factor : float64[rows]
        f; 0 for a row of its own.
    base : int64[classes]
        The row of the table that is B of a class (its factor is 1).
    """

    row_class: Ints
    factor: Floats
    base: Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class CollapsedBook:
    """A book whose linear positions are to be summed; depends on the classes, not on factors.

    Attributes
    ----------
    row_class : int64[rows]
        The classes that it was made for.
    rows : CheckedRows
        An account's classes (their base rows) with quantity 0, then its other positions.
    linear_start : int64[A + 1]
        Linear positions of account a are ``linear_start[a]:linear_start[a + 1]``.
    linear_code : uint16 or uint32
        Their rows of the table.
    linear_quantity : float64
        Their quantities.
    linear_slot : uint32
        The place in `rows` that each is added to.
    """

    row_class: Ints
    rows: CheckedRows
    linear_start: Ints
    linear_code: NDArray[Any]
    linear_quantity: Floats
    linear_slot: NDArray[np.uint32]


def linear_rows(table: ArrayLike, row_class: ArrayLike | None = None) -> LinearRows:
    """Find the rows that are multiples of one another, or the factors of known classes.

    Parameters
    ----------
    table : array_like [rows, scenarios]
        Finite.
    row_class : array_like of int [rows], optional
        Classes found before (in an earlier table of the same instruments), −1 for none; then they
        are only verified. Default: every class of two rows or more.

    Raises
    ------
    InputError
        ``INP-004`` when a row is no multiple of the base of its given class.
    """
    dense = np.asarray(table, dtype=np.float64)
    known = row_class is not None
    classes = _guess(dense) if row_class is None else np.array(row_class, dtype=np.int64)
    reach = np.abs(dense).max(axis=1)
    factor = np.zeros(dense.shape[0])
    base = []
    for c in range(int(classes.max(initial=-1)) + 1):
        mine = np.flatnonzero(classes == c)
        first = int(mine[0])
        base.append(first)
        pivot = int(np.argmax(np.abs(dense[first])))
        if reach[first] > 0.0:
            factor[mine] = dense[mine, pivot] / dense[first, pivot]
        off = np.abs(dense[mine] - factor[mine, None] * dense[first]).max(axis=1)
        wrong = mine[off > TOLERANCE * reach[mine]]
        if known and wrong.size:
            raise InputError(
                f"row {int(wrong[0])} of the table is no multiple of row {first}, the first row of "
                f"its class {c}",
                code="INP-004",
                field="row_class",
                hint="find the classes of this table anew",
            )
        classes[wrong] = -1
        factor[wrong] = 0.0
    return LinearRows(row_class=classes, factor=factor, base=np.array(base, dtype=np.int64))


def _guess(dense: Floats) -> Ints:
    """Group rows that look alike once each is divided by its first large entry."""
    out = np.full(dense.shape[0], -1, dtype=np.int64)
    reach = np.abs(dense).max(axis=1)
    live = np.flatnonzero(reach > 0.0)
    if live.size == 0:
        return out
    # The first entry that is nearly the largest: rounding cannot choose another one.
    pivot = np.argmax(np.abs(dense[live]) >= 0.999 * reach[live, None], axis=1)
    shape = np.round(dense[live] / dense[live, pivot][:, None], 9) + 0.0
    _, group, size = np.unique(shape, axis=0, return_inverse=True, return_counts=True)
    shared = np.flatnonzero(size > 1)
    number = np.full(size.size, -1, dtype=np.int64)
    number[shared] = np.arange(shared.size)
    out[live] = number[group.ravel()]
    return out


def collapse_book(book: CheckedRows, linear: LinearRows) -> CollapsedBook:
    """Arrange a book for `worst_of_grid_collapsed`: once for a book and its instruments' classes.

    Parameters
    ----------
    book : CheckedRows
        Positions; quantities in float64.
    linear : LinearRows
        From any table of these instruments.
    """
    accounts = book.accounts
    first, last = int(book.start[0]), int(book.start[-1])
    account = np.repeat(np.arange(accounts), np.diff(book.start))
    codes, quantity = book.codes[first:last], book.quantity[first:last].astype(np.float64)
    of = linear.row_class[codes]
    is_linear = of >= 0
    l_account, l_class = account[is_linear], of[is_linear]
    pair = l_account * max(linear.base.size, 1) + l_class
    pairs, place = np.unique(pair, return_inverse=True)
    p_account = pairs // max(linear.base.size, 1)
    p_code = linear.base[pairs % max(linear.base.size, 1)] if pairs.size else pairs
    o_account = account[~is_linear]
    owner = np.concatenate([p_account, o_account])
    order = np.argsort(owner, kind="stable")
    start = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=accounts))])
    slots = np.searchsorted(p_account, np.arange(accounts))
    merged_codes = np.concatenate([p_code, codes[~is_linear]])[order]
    merged = np.concatenate([np.zeros(pairs.size), quantity[~is_linear]])[order]
    rows = CheckedRows(
        start=start.astype(np.int64),
        codes=merged_codes.astype(book.codes.dtype),
        quantity=merged,
    )
    counts = np.bincount(l_account, minlength=accounts)
    return CollapsedBook(
        row_class=linear.row_class,
        rows=rows,
        linear_start=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        linear_code=codes[is_linear],
        linear_quantity=quantity[is_linear],
        linear_slot=(start[l_account] + place.ravel() - slots[l_account]).astype(np.uint32),
    )


@lru_cache(maxsize=64)
def _kernel(vectors: int, lanes: int) -> Callable[..., None]:
    """Compile the two passes for a block of `vectors` vectors of `lanes` scenarios."""
    stride = vectors * lanes

    def worst(
        values: Any, plane: int, blocks: int, factor: Any, start: Any, codes: Any, quantity: Any,
        linear_start: Any, linear_code: Any, linear_quantity: Any, place: Any, first: int,
        last: int, run: int, out: Any,
    ) -> None:  # fmt: skip
        most = 0
        for low in range(first, last, run):
            most = max(most, start[min(low + run, last)] - start[low])
        held = np.empty(most, dtype=values.dtype)
        shifted = np.empty(run + 1, dtype=np.int64)
        for low in range(first, last, run):
            high = min(low + run, last)
            begin = start[low]
            for k in range(begin, start[high]):
                held[k - begin] = quantity[k]
            for k in range(linear_start[low], linear_start[high]):
                held[place[k] - begin] += linear_quantity[k] * factor[linear_code[k]]
            for account in range(low, high + 1):
                shifted[account - low] = start[account] - begin
            mine = codes[begin:]
            for block in range(blocks):
                column = block * plane
                for account in range(high - low):
                    here = vec.fma_rows_min(
                        values, stride, column, mine, held, shifted[account],
                        shifted[account + 1], vectors,
                    )  # fmt: skip
                    if block == 0 or here < out[low + account]:
                        out[low + account] = here

    return jit(named_after(vectors, lanes)(worst))


def worst_of_grid_collapsed(
    table: ArrayLike | GridTable,
    linear: LinearRows,
    book: CollapsedBook,
    *,
    threads: int = 1,
) -> Floats:
    """Return the worst P&L of each account over the scenarios, linear rows summed first.

    Parameters
    ----------
    table : array_like [rows, scenarios] or GridTable
        P&L of one unit, float64, finite.
    linear : LinearRows
        Of this table, with the classes that the book was arranged for.
    book : CollapsedBook
        See `collapse_book`.
    threads : int, default 1
        Threads of this process.

    Raises
    ------
    InputError
        ``INP-003`` when classes and book do not belong together.
    """
    laid = grid_table(table, np.float64, layout="planes")
    if not np.array_equal(linear.row_class, book.row_class) or laid.rows != linear.factor.size:
        raise InputError(
            "the book was arranged for other classes of linear rows",
            code="INP-003",
            field="linear",
            hint="arrange it again with collapse_book",
        )
    out = np.empty(book.rows.accounts)
    kernel = _kernel(laid.vectors, laid.block // laid.vectors)
    run = LINEAR_RUN if laid.blocks == 1 else RUN

    def work(first: int, last: int) -> None:
        rows = book.rows
        kernel(
            laid.values, laid.plane, laid.blocks, linear.factor, rows.start, rows.codes,
            rows.quantity, book.linear_start, book.linear_code, book.linear_quantity,
            book.linear_slot, first, last, min(run, last - first), out,
        )  # fmt: skip

    run_in_threads(work, book.rows.accounts, threads, RUN)
    return out
