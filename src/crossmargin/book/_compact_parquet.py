"""A large book as the ordinary folder of Parquet files, column by column."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from crossmargin.book._compact import CompactBook
from crossmargin.book._folder import whole_folder
from crossmargin.book._ids import series_of_ids
from crossmargin.book._tables import TABLES, Field, require_told, table_of, write_table


def write_compact_parquet(
    book: CompactBook, folder: str | Path, *, overwrite: bool = False
) -> None:
    """Write a large book as a folder of Parquet files, the one format of all books.

    ``read_book_parquet`` and ``read_compact`` read it back; accounts of `rest` come last.

    Parameters
    ----------
    book : CompactBook
        To write.
    folder : str or Path
        Must not exist unless `overwrite`; its parent must. Whole or not there, as with
        ``write_book_parquet``.
    overwrite : bool
        Replace a folder that exists.

    Raises
    ------
    InputError
        ``INP-040`` when the folder exists, ``INP-005`` when it cannot be written, ``INP-041``
        for an instrument that its name does not describe.
    """
    require_told(book.registry, book.instruments_used())
    places = [] if book.rest is None else book.rest.locations
    with whole_folder(folder, overwrite=overwrite, what="the book") as draft:
        for table in TABLES:
            # One table at a time: the largest is all that is in memory beside the book.
            columns = {field.name: _column(book, field) for field in TABLES[table]}
            write_table(draft, table, table_of(table, columns, book.registry, places))


def _column(book: CompactBook, field: Field) -> Any:
    """Return a column of both parts of a book, the rows of `rest` numbered after the others."""
    first, rest = _regular(book, field), book.rest
    if rest is None:
        return first
    second = getattr(rest, field.name)
    if field.kind == "text":
        return first.clone().extend(series_of_ids(second))
    if field.into in ("accounts", "pools"):
        second = second + book.regular
    return np.concatenate([first, second])


#: What a column holds that regular accounts do not have, by kind.
_NOTHING: dict[str, Any] = {"number": np.nan, "flag": False, "code": 0}


def _regular(book: CompactBook, field: Field) -> Any:
    """Return a column of the regular accounts, by the name it has in :class:`Book`."""
    import polars as pl

    a = book.regular
    match field.name:
        case "account_ids":
            return series_of_ids(book.ids)
        case "owners":
            return series_of_ids(book.ids if book.owners is None else book.owners)
        case "pool_account":
            return np.arange(a)
        case "pool_names":
            return pl.repeat("cross", a, dtype=pl.String, eager=True)
        case "position_pool":
            return np.repeat(np.arange(a), np.diff(book.position_start))
        case "balance_pool":
            return np.repeat(np.arange(a), np.diff(book.balance_start))
    if hasattr(book, field.name):
        return getattr(book, field.name)
    rows = {"pool": a, "position": book.positions, "balance": int(book.balance_amount.size)}
    count = rows.get(field.name.split("_")[0], 0)
    if field.kind == "text":
        return pl.Series([], dtype=pl.String)
    return np.full(count, _NOTHING.get(field.kind, -1))
