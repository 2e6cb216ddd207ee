"""Rows of a large book's tables on their way into the order of accounts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crossmargin.book._read_columns import Coded

if TYPE_CHECKING:
    import polars as pl

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

#: Every so many rows are looked at to see whether they are in some order: far more than an
#: account has.
_STRIDE = 997
_BITS = 62


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a table: account, name and number of each."""

    account: Ints
    code: Coded
    value: Floats


@dataclass(frozen=True, slots=True)
class HeldRows(Rows):
    """Rows of positions; `side` is None when all are net."""

    entry: Floats
    pool: Ints
    side: Ints | None


@dataclass(frozen=True, slots=True)
class OrderRows:
    """Account and group of each order; accounts of legs and of quote groups."""

    account: Ints
    group: Ints
    leg: Ints
    groups: Ints


@dataclass(frozen=True, slots=True)
class SortedRows:
    """Rows in the order of accounts."""

    start: Ints
    code: NDArray[Any]
    value: Floats
    entry: Floats


def row_column(name: str, values: Ints) -> pl.Series:
    """Return row numbers as a column, -1 as missing."""
    import polars as pl

    series = pl.Series(name, values, dtype=pl.Int64)
    return series.replace(-1, None) if (values < 0).any() else series


def or_nan(values: Floats | None, size: int) -> Floats:
    """Return numbers, all of them missing where there is no column."""
    return np.full(size, np.nan) if values is None else values


def through(rows: Ints, owner: Ints) -> Ints:
    """Return the account of what each row refers to, -1 where it refers to nothing."""
    if not rows.size or not owner.size:
        return np.full(rows.size, -1, dtype=np.int64)
    if rows.min() >= 0:
        return owner[rows]
    return np.where(rows >= 0, owner[rows], -1)


def renumbered(chosen: Bools) -> Ints:
    """Give what is chosen new numbers, -1 the rest."""
    return np.where(chosen, np.cumsum(chosen) - 1, -1)


def owners_of(account: Ints, number: Ints | None) -> tuple[Ints, Ints | None]:
    """Return the new account of each row that stays, and which rows those are (None: all)."""
    if number is None and not (account.size and account.min() < 0):
        return account, None
    table = np.arange(account.max(initial=-1) + 1) if number is None else number
    owner = np.where(account >= 0, table[account], -1)
    rows = np.flatnonzero(owner >= 0)
    return owner[rows], rows


def ordered(owner: Ints, code: NDArray[Any] | None, bits: int) -> tuple[Ints, Ints | None]:
    """Sort rows by account and, where it is given, by a code of so many bits.

    Returns
    -------
    keys : int64[n]
        ``owner << bits | code``, in order.
    rows : int64[n] or None
        Where each one was, equal ones as they came; None when they were in order.
    """
    key = owner << bits
    if code is not None:
        key |= code
    if not (key[1:] < key[:-1]).any():
        return key, None
    sample, shift = owner[::_STRIDE], int(key.size).bit_length()
    mixed = int(np.count_nonzero(sample[1:] < sample[:-1])) > sample.size // 8
    if not mixed or int(owner.max()).bit_length() + bits + shift > _BITS:
        # Almost ordered rows (accounts in order, contracts within them not) are sorted best by
        # merging runs.
        order = np.argsort(key, kind="stable")
        return key[order], order
    # Numbers sort several times faster than indices: the row goes behind its key.
    key <<= shift
    key |= np.arange(key.size)
    key.sort()
    return key >> shift, key & ((1 << shift) - 1)


def starts_of(owner: Ints, count: int) -> Ints:
    """Return the row pointers of rows in the order of their owners."""
    out = np.zeros(count + 1, dtype=np.int64)
    np.cumsum(np.bincount(owner, minlength=count), out=out[1:])
    return out
