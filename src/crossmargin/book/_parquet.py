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

import os
import shutil
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from crossmargin.book._account import ABSURD
from crossmargin.book._book import LEGS, POOL_MODES, Book, Ints
from crossmargin.errors import InputError
from crossmargin.instruments import KIND_CODE, Registry, parse_instrument

if TYPE_CHECKING:
    import polars as pl


class _Field(NamedTuple):
    """A column of a table, what it holds, and the column of :class:`Book` it becomes.

    Columns of the kinds in `_OPTIONAL` may be missing, and each of their values too.
    """

    column: str
    kind: str
    name: str
    into: str = ""


_OPTIONAL = ("place", "time", "flag")


_TABLES: dict[str, tuple[_Field, ...]] = {
    "accounts": (_Field("account_id", "text", "account_ids"), _Field("owner", "text", "owners")),
    "pools": (
        _Field("account", "row", "pool_account", "accounts"),
        _Field("name", "text", "pool_names"),
        _Field("mode", "code", "pool_mode"),
    ),
    "balances": (
        _Field("pool", "row", "balance_pool", "pools"),
        _Field("asset", "code", "balance_asset"),
        _Field("amount", "number", "balance_amount"),
        _Field("location", "place", "balance_location"),
        _Field("proof_ns", "time", "balance_proof_ns"),
        _Field("pending", "flag", "balance_pending"),
    ),
    "positions": (
        _Field("pool", "row", "position_pool", "pools"),
        _Field("instrument", "code", "position_instrument"),
        _Field("leg", "code", "position_leg"),
        _Field("quantity", "number", "position_quantity"),
        _Field("entry", "number", "position_entry"),
        _Field("leverage", "number", "position_leverage"),
        _Field("fence", "number", "position_fence"),
    ),
    "orders": (
        _Field("pool", "row", "order_pool", "pools"),
        _Field("id", "text", "order_ids"),
        _Field("group", "row", "order_group", "quote_groups"),
    ),
    "order_legs": (
        _Field("order", "row", "leg_order", "orders"),
        _Field("instrument", "code", "leg_instrument"),
        _Field("quantity", "number", "leg_quantity"),
        _Field("price", "number", "leg_price"),
    ),
    "quote_groups": (
        _Field("pool", "row", "group_pool", "pools"),
        _Field("id", "text", "group_ids"),
        _Field("limit_usd", "number", "group_limit_usd"),
    ),
}


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
    target = Path(folder)
    if target.exists() and not overwrite:
        raise InputError(
            f"{target.name!r} exists already", code="INP-040", hint="choose another folder"
        )
    tables = _tables(book)
    draft = target.parent / f".{target.name}.{uuid.uuid4().hex[:8]}"
    try:
        draft.mkdir()
        for name, table in tables.items():
            path = draft / f"{name}.parquet"
            table.write_parquet(path, compression="zstd")
            with path.open("rb") as written:
                os.fsync(written.fileno())
        _put(draft, target)
    except OSError as error:
        raise InputError(
            f"cannot write the book {target.name!r}: {(error.strerror or 'unknown').lower()}",
            code="INP-005",
            hint="check the folder above it and the space left",
        ) from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _put(draft: Path, target: Path) -> None:
    old = target.parent / f"{draft.name}.old"
    if target.exists():
        target.rename(old)
    try:
        draft.rename(target)
    except OSError:
        if old.exists():
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _tables(book: Book) -> dict[str, pl.DataFrame]:
    import polars as pl

    for index in book.instruments_used():
        instrument = book.registry[int(index)]
        if parse_instrument(instrument.id) != instrument:
            raise InputError(
                f"{instrument.id} has terms that its name does not tell",
                code="INP-041",
                instrument=instrument.id,
                hint="only contracts with their usual terms can be written",
            )
    words = _words(book.registry)

    def series(field: _Field) -> pl.Series:
        values = getattr(book, field.name)
        if field.kind == "text":
            return pl.Series(values, dtype=pl.String)
        if field.kind == "code":
            known = pl.Series(words[field.column], dtype=pl.String)
            return known.gather(values).cast(pl.Categorical)
        if field.kind == "place":
            known = pl.Series([*book.locations, None], dtype=pl.String)
            return known.gather(np.where(values < 0, len(book.locations), values))
        if field.kind in ("row", "time"):
            return pl.Series(values).replace(-1, None)
        if field.kind == "flag":
            return pl.Series(values, dtype=pl.Boolean)
        return pl.Series(np.where(np.isinf(values), np.nan, values)).fill_nan(None)

    return {
        table: pl.DataFrame({field.column: series(field) for field in fields})
        for table, fields in _TABLES.items()
    }


def _words(registry: Registry) -> dict[str, list[str]]:
    """Return what the codes of each coded column stand for."""
    return {
        "mode": list(POOL_MODES),
        "leg": list(LEGS),
        "asset": registry.assets,
        "instrument": [one.id for one in registry],
    }


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
    known = registry if registry is not None else Registry()
    columns: dict[str, Any] = {"locations": []}
    for table, fields in _TABLES.items():
        frame = _read(Path(folder), table)
        for field in fields:
            series = _cast(frame[field.column], table, field)
            if field.kind == "place":
                columns["locations"] = series.drop_nulls().unique(maintain_order=True).to_list()
            columns[field.name] = _column(series, table, field, known)
    limit = columns["group_limit_usd"]
    columns["group_limit_usd"] = np.where(np.isnan(limit), np.inf, limit)
    book = Book(registry=known, **columns)
    _check_rows(book)
    _check_numbers(book)
    return book


def _read(folder: Path, name: str) -> pl.DataFrame:
    import polars as pl

    path = folder / f"{name}.parquet"
    if not path.is_file():
        raise InputError(
            f"the book {folder.name!r} has no table {path.name!r}",
            code="INP-005",
            field=name,
            hint="a book is a folder with " + ", ".join(f"{one}.parquet" for one in _TABLES),
        )
    try:
        frame = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError):
        raise InputError(
            f"{path.name!r} of the book {folder.name!r} is not a whole Parquet file",
            code="INP-005",
            field=name,
        ) from None
    for field in _TABLES[name]:
        if field.column not in frame.columns and field.kind in _OPTIONAL:
            frame = frame.with_columns(pl.lit(None).alias(field.column))
        elif field.column not in frame.columns:
            raise InputError(
                f"table {name!r} has no column {field.column!r}",
                code="INP-003",
                field=f"{name}.{field.column}",
            )
    return frame


def _cast(series: pl.Series, table: str, field: _Field) -> pl.Series:
    """Return a column as Int64, Float64 or String; a column of another type is refused."""
    import polars as pl

    kind = series.dtype
    if field.kind in ("row", "time") and (kind.is_integer() or kind == pl.Null):
        return series.cast(pl.Int64)
    if field.kind == "flag" and kind in (pl.Boolean, pl.Null):
        return series.cast(pl.Boolean)
    if field.kind == "number" and (kind.is_numeric() or kind == pl.Null):
        return series.cast(pl.Float64)
    if field.kind in ("text", "code", "place") and kind in (
        pl.String,
        pl.Categorical,
        pl.Enum,
        pl.Null,
    ):
        return series.cast(pl.String)
    raise InputError(
        f"column {field.column!r} of table {table!r} holds {kind}",
        code="INP-003",
        field=f"{table}.{field.column}",
    )


def _column(series: pl.Series, table: str, field: _Field, registry: Registry) -> Any:
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
        raise InputError(
            f"row {empty[0]} of table {table!r} has no {field.column}",
            code="INP-003",
            field=f"{table}[{empty[0]}].{field.column}",
        )
    if field.kind == "text":
        return series.to_list()
    return _coded(series, table, registry)


def _coded(series: pl.Series, table: str, registry: Registry) -> Ints:
    """Turn texts into codes, each different text once and in order of appearance."""
    import polars as pl

    codes: dict[str, int] = {}
    for text in series.unique(maintain_order=True):
        try:
            codes[text] = _code(series.name, text, registry)
        except InputError as error:
            row = (series == text).arg_true()[0]
            raise error.located(field=f"{table}[{row}].{series.name}") from None
    return series.replace_strict(codes, return_dtype=pl.Int64).to_numpy().astype(np.int64)


def _code(column: str, text: str, registry: Registry) -> int:
    if column == "instrument":
        return registry.resolve(text)
    if column == "asset" and text.isalnum():
        return registry.asset(text)
    known = {"leg": LEGS, "mode": POOL_MODES}.get(column, ())
    if text not in known:
        hint = "it is one of " + ", ".join(known) if known else "write its symbol, such as BTC"
        raise InputError(f"{text!r} is no {column}", code="INP-003", hint=hint)
    return known.index(text)


def _check_rows(book: Book) -> None:
    """See that every reference leads to a row, keys differ and rows follow their accounts."""
    for table, fields in _TABLES.items():
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
        raise InputError(
            f"account {name!r} appears twice", code="INP-007", account=name, field="accounts"
        )
    keys = (book.position_pool * len(book.registry) + book.position_instrument) * len(LEGS)
    _, first, counts = np.unique(keys + book.position_leg, return_index=True, return_counts=True)
    for row in first[counts > 1]:
        account, held = _place(book, book.position_pool[row], book.position_instrument[row])
        raise InputError(
            f"{held} appears twice in account {account!r}",
            code="INP-007",
            account=account,
            instrument=held,
            field=f"positions[{row}]",
            hint="net the two rows, or mark them as long and short legs",
        )


def _check_references(book: Book, table: str, field: _Field) -> None:
    values, size = getattr(book, field.name), len(getattr(book, _TABLES[field.into][-1].name))
    lowest = -1 if field.column == "group" else 0
    for row in np.flatnonzero((values < lowest) | (values >= size)):
        says = "no row" if values[row] == -1 else f"row {values[row]}"
        raise InputError(
            f"row {row} of table {table!r} refers to {says} of {field.into!r}, which has {size}",
            code="INP-008",
            field=f"{table}[{row}].{field.column}",
        )


def _place(book: Book, pool: int, instrument: int) -> tuple[str, str | None]:
    account = book.account_ids[book.pool_account[pool]]
    return account, None if instrument < 0 else book.registry[instrument].id


def _check_numbers(book: Book) -> None:
    """See that every figure is possible; the first that is not is named with its place."""
    held, pools = book.position_instrument, book.position_pool
    option = book.registry.terms.kind[held] == KIND_CODE["option"]
    quantity, entry, leg = book.position_quantity, book.position_entry, book.leg_quantity
    ordered, orders = book.leg_instrument, book.order_pool[book.leg_order]
    side = book.position_leg
    astray = ((side == 1) & (quantity < 0)) | ((side == 2) & (quantity > 0)) | (quantity == 0)
    limit = np.where(np.isposinf(book.group_limit_usd), 0.0, book.group_limit_usd)
    astray_debt = book.balance_pending & (book.balance_amount < 0)
    none, nowhere = np.full(book.balance_pool.size, -1), np.full(limit.size, -1)
    checks: tuple[tuple[str, Any, Ints, Ints, NDArray[np.bool_]], ...] = (
        ("balances.amount", book.balance_amount, book.balance_pool, none, astray_debt),
        ("positions.quantity", quantity, pools, held, astray),
        ("positions.entry", entry, pools, held, (entry < 0) | ((entry == 0) & ~option)),
        ("positions.leverage", book.position_leverage, pools, held, book.position_leverage <= 0),
        ("positions.fence", book.position_fence, pools, held, book.position_fence < 0),
        ("order_legs.quantity", leg, orders, ordered, leg == 0),
        ("order_legs.price", book.leg_price, orders, ordered, book.leg_price < 0),
        ("quote_groups.limit_usd", limit, book.group_pool, nowhere, limit < 0),
    )
    for where, values, pool, instrument, wrong in checks:
        table, column = where.split(".")
        needed = column in ("amount", "quantity")
        for row in np.flatnonzero((np.abs(values) > ABSURD) | wrong | (np.isnan(values) & needed)):
            account, name = _place(book, pool[row], instrument[row])
            says = "missing" if np.isnan(values[row]) else f"{values[row]:g}"
            raise InputError(
                f"the {column} of {name or table} in account {account!r} is {says}",
                code="INP-006" if wrong[row] and column == "quantity" else "INP-004",
                account=account,
                instrument=name,
                field=f"{table}[{row}].{column}",
                hint="correct the row, or remove it",
            )
