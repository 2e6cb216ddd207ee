"""Books of many accounts as a folder of Parquet files, one per table of :class:`Book`.

==================== ==========================================================================
file                 columns (missing values are null)
==================== ==========================================================================
accounts.parquet     ``account_id``, ``owner``
pools.parquet        ``account`` (row of accounts), ``name``, ``mode``
balances.parquet     ``pool`` (row of pools), ``asset``, ``amount`` (units of the asset, < 0 debt);
                     may have ``location`` (text), ``proof_ns`` (ns UTC), ``pending`` (true: on
                     its way, counts nothing)
positions.parquet    ``pool``, ``instrument``, ``leg``, ``quantity`` (units of the instrument,
                     > 0 long), ``entry`` (price; null: settled at the mark), ``leverage``,
                     ``fence`` (settlement asset)
orders.parquet       ``pool``, ``id``, ``group`` (row of quote_groups, or null)
order_legs.parquet   ``order`` (row of orders), ``instrument``, ``quantity``, ``price`` (null: at
                     the mark)
quote_groups.parquet ``pool``, ``id``, ``limit_usd`` (null: no protection limit)
==================== ==========================================================================

Instruments are names, so a folder does not depend on the registry it was written with. Rows are
in the order of their accounts.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crossmargin.book._book import LEGS, Book, Ints
from crossmargin.book._faults import (
    account_twice,
    astray_entry,
    astray_quantity,
    missing_text,
    name_of,
    no_such_row,
    number_error,
    position_twice,
    wrong_rows,
)
from crossmargin.book._folder import whole_folder
from crossmargin.book._tables import (
    MEANINGS,
    TABLES,
    Field,
    cast_column,
    read_table,
    require_told,
    table_of,
    write_table,
)
from crossmargin.errors import InputError
from crossmargin.instruments import Registry

if TYPE_CHECKING:
    import polars as pl


def write_book_parquet(book: Book, folder: str | Path, *, overwrite: bool = False) -> None:
    """Write a book as a folder of Parquet files (zstd).

    Everything is written to a folder beside it, which is then renamed: a folder of that name is
    either whole or not there.

    Parameters
    ----------
    book : Book
        To write.
    folder : str or Path
        Must not exist unless `overwrite`; its parent must.
    overwrite : bool
        Replace a folder that exists.

    Raises
    ------
    InputError
        ``INP-040`` when the folder exists, ``INP-005`` when it cannot be written, ``INP-041``
        for an instrument that its name does not describe (a contract size of its own).
    """
    require_told(book.registry, book.instruments_used())
    with whole_folder(folder, overwrite=overwrite, what="the book") as draft:
        write_book_tables(book, draft)


def write_book_tables(book: Book, folder: Path) -> None:
    """Write the tables of a book into a folder that is there."""
    for table, fields in TABLES.items():
        columns = {field.name: getattr(book, field.name) for field in fields}
        write_table(folder, table, table_of(table, columns, book.registry, book.locations))


def read_book_parquet(folder: str | Path, registry: Registry | None = None) -> Book:
    """Read a book that :func:`write_book_parquet` wrote, or that has the same tables.

    Parameters
    ----------
    folder : str or Path
        With one Parquet file per table.
    registry : Registry, optional
        Instruments known so far; new names are added. Default a new one, in the order of the
        rows.

    Raises
    ------
    InputError
        ``INP-005`` missing or unreadable table, ``INP-003`` missing column or wrong type,
        ``INP-001`` unknown instrument, ``INP-004`` a number that is missing, not finite or
        absurd, ``INP-006`` zero quantity or a leg with the wrong sign, ``INP-007`` the same key
        twice, ``INP-008`` a reference to a row that is not there, ``INP-042`` rows out of order.
    """
    frames = {table: read_table(Path(folder), table) for table in TABLES}
    return book_from_tables(frames, registry if registry is not None else Registry())


def book_from_tables(frames: Mapping[str, pl.DataFrame], known: Registry) -> Book:
    """Arrange the tables of a folder as a book and check every row."""
    columns: dict[str, Any] = {"locations": []}
    for table, fields in TABLES.items():
        for field in fields:
            series = cast_column(frames[table][field.column], table, field)
            if field.kind == "place":
                columns["locations"] = series.drop_nulls().unique(maintain_order=True).to_list()
            columns[field.name] = _column(series, table, field, known)
    limit = columns["group_limit_usd"]
    columns["group_limit_usd"] = np.where(np.isnan(limit), np.inf, limit)
    book = Book(registry=known, **columns)
    _check_rows(book)
    _check_numbers(book)
    return book


def _column(series: pl.Series, table: str, field: Field, registry: Registry) -> Any:
    """Turn a column of a file into one of a book; a missing row number becomes -1."""
    if field.kind in ("row", "time"):
        return series.fill_null(-1).to_numpy().astype(np.int64)
    if field.kind == "flag":
        return series.fill_null(False).to_numpy().astype(np.bool_)
    if field.kind == "place":
        names = series.drop_nulls().unique(maintain_order=True).to_list()
        codes = {name: code for code, name in enumerate(names)}
        return np.array([codes.get(name, -1) for name in series.to_list()], dtype=np.int64)
    if field.kind == "number":
        return series.fill_null(np.nan).to_numpy().astype(np.float64)
    empty = (series.is_null() | (series == "")).arg_true()
    if len(empty):
        raise missing_text(table, field.column, int(empty[0]))
    if field.kind == "text":
        return series.to_list()
    return _coded(series, table, registry)


def _coded(series: pl.Series, table: str, registry: Registry) -> Ints:
    """Turn texts into codes, each different text once and in order of appearance."""
    import polars as pl

    codes: dict[str, int] = {}
    for text in series.unique(maintain_order=True):
        try:
            codes[text] = name_of(series.name, text, registry, MEANINGS.get(series.name, ()))
        except InputError as error:
            row = (series == text).arg_true()[0]
            raise error.located(field=f"{table}[{row}].{series.name}") from None
    return series.replace_strict(codes, return_dtype=pl.Int64).to_numpy().astype(np.int64)


def _check_rows(book: Book) -> None:
    """See that every reference leads to a row, keys differ and rows follow their accounts."""
    for table, fields in TABLES.items():
        for field in fields:
            if field.into:
                _check_references(book, table, field)
    accounts = book.pool_account
    for values, where in ((accounts, "pools"), (accounts[book.position_pool], "positions")):
        for row in np.flatnonzero(np.diff(values) < 0):
            raise InputError(
                f"row {row + 1} of table {where!r} belongs to an account before that of row {row}",
                code="INP-042",
                field=where,
                hint="sort the rows by account",
            )
    if len(set(book.account_ids)) < book.size:
        name = next(one for one in book.account_ids if book.account_ids.count(one) > 1)
        raise account_twice(name)
    keys = (book.position_pool * len(book.registry) + book.position_instrument) * len(LEGS)
    _, first, counts = np.unique(keys + book.position_leg, return_index=True, return_counts=True)
    for row in first[counts > 1]:
        account, held = _place(book, book.position_pool[row], book.position_instrument[row])
        raise position_twice(int(row), account, held)


def _check_references(book: Book, table: str, field: Field) -> None:
    values, size = getattr(book, field.name), len(getattr(book, TABLES[field.into][-1].name))
    lowest = -1 if field.column == "group" else 0
    for row in np.flatnonzero((values < lowest) | (values >= size)):
        raise no_such_row(table, field.column, int(row), int(values[row]), field.into, size)


def _place(book: Book, pool: int, instrument: int) -> tuple[str, str | None]:
    account = book.account_ids[book.pool_account[pool]]
    return account, None if instrument < 0 else book.registry[instrument].id


def _check_numbers(book: Book) -> None:
    """See that every figure is possible; the first that is not is named with its place."""
    held, pools = book.position_instrument, book.position_pool
    quantity, entry, leg = book.position_quantity, book.position_entry, book.leg_quantity
    ordered, orders = book.leg_instrument, book.order_pool[book.leg_order]
    astray = astray_quantity(quantity, book.position_leg)
    free = astray_entry(entry, held.__getitem__, book.registry)
    limit = np.where(np.isposinf(book.group_limit_usd), 0.0, book.group_limit_usd)
    astray_debt = book.balance_pending & (book.balance_amount < 0)
    none, nowhere = np.full(book.balance_pool.size, -1), np.full(limit.size, -1)
    checks: tuple[tuple[str, Any, Ints, Ints, NDArray[np.bool_]], ...] = (
        ("balances.amount", book.balance_amount, book.balance_pool, none, astray_debt),
        ("positions.quantity", quantity, pools, held, astray),
        ("positions.entry", entry, pools, held, free),
        ("positions.leverage", book.position_leverage, pools, held, book.position_leverage <= 0),
        ("positions.fence", book.position_fence, pools, held, book.position_fence < 0),
        ("order_legs.quantity", leg, orders, ordered, leg == 0),
        ("order_legs.price", book.leg_price, orders, ordered, book.leg_price < 0),
        ("quote_groups.limit_usd", limit, book.group_pool, nowhere, limit < 0),
    )
    for where, values, pool, instrument, wrong in checks:
        table, column = where.split(".")
        for row in wrong_rows(values, wrong, needed=column in ("amount", "quantity")):
            account, name = _place(book, pool[row], instrument[row])
            raise number_error(
                table, column, int(row), values[row], account, name, astray=bool(wrong[row])
            )
