"""Books of many accounts as a folder of Parquet files, one per table of :class:`Book`.

==================== ==========================================================================
file                 columns (missing values are null)
==================== ==========================================================================
accounts.parquet     ``account_id``, ``owner``
pools.parquet        ``account`` (row of accounts), ``name``, ``mode``
balances.parquet     ``pool`` (row of pools), ``asset``, ``amount`` (units of the asset, < 0 debt)
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
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from crossmargin.book._account import ABSURD
from crossmargin.book._book import LEGS, POOL_MODES, Book, Floats, Ints
from crossmargin.errors import InputError
from crossmargin.instruments import KIND_CODE, Registry, parse_instrument

if TYPE_CHECKING:
    import polars as pl

_COLUMNS: dict[str, tuple[str, ...]] = {
    "accounts": ("account_id", "owner"),
    "pools": ("account", "name", "mode"),
    "balances": ("pool", "asset", "amount"),
    "positions": ("pool", "instrument", "leg", "quantity", "entry", "leverage", "fence"),
    "orders": ("pool", "id", "group"),
    "order_legs": ("order", "instrument", "quantity", "price"),
    "quote_groups": ("pool", "id", "limit_usd"),
}
_CODED = ("mode", "asset", "instrument", "leg")
_FLOATS = ("amount", "quantity", "entry", "leverage", "fence", "price", "limit_usd")
_INTS = ("account", "pool", "order", "group")


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

    used = book.instruments_used()
    for index in used:
        instrument = book.registry[int(index)]
        if parse_instrument(instrument.id) != instrument:
            raise InputError(
                f"{instrument.id} has terms that its name does not tell",
                code="INP-041",
                instrument=instrument.id,
                hint="only contracts with their usual terms can be written",
            )
    names = [one.id for one in book.registry]

    def coded(values: list[str], index: Ints) -> pl.Series:
        return pl.Series([values[i] for i in index], dtype=pl.String).cast(pl.Categorical)

    def floats(values: Floats) -> pl.Series:
        return pl.Series(np.where(np.isinf(values), np.nan, values)).fill_nan(None)

    group = pl.Series(book.order_group)
    columns: dict[str, list[pl.Series]] = {
        "accounts": [_strings(book.account_ids), _strings(book.owners)],
        "pools": [
            pl.Series(book.pool_account),
            _strings(book.pool_names),
            coded(list(POOL_MODES), book.pool_mode),
        ],
        "balances": [
            pl.Series(book.balance_pool),
            coded(book.registry.assets, book.balance_asset),
            floats(book.balance_amount),
        ],
        "positions": [
            pl.Series(book.position_pool),
            coded(names, book.position_instrument),
            coded(list(LEGS), book.position_leg),
            floats(book.position_quantity),
            floats(book.position_entry),
            floats(book.position_leverage),
            floats(book.position_fence),
        ],
        "orders": [pl.Series(book.order_pool), _strings(book.order_ids), group.replace(-1, None)],
        "order_legs": [
            pl.Series(book.leg_order),
            coded(names, book.leg_instrument),
            floats(book.leg_quantity),
            floats(book.leg_price),
        ],
        "quote_groups": [
            pl.Series(book.group_pool),
            _strings(book.group_ids),
            floats(book.group_limit_usd),
        ],
    }
    return {
        table: pl.DataFrame(dict(zip(_COLUMNS[table], series, strict=True)))
        for table, series in columns.items()
    }


def _strings(values: list[str]) -> pl.Series:
    import polars as pl

    return pl.Series(values, dtype=pl.String)


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
    tables = {name: _read(Path(folder), name) for name in _COLUMNS}
    known = registry if registry is not None else Registry()
    position_instrument = _instruments(tables, "positions", known)
    leg_instrument = _instruments(tables, "order_legs", known)
    balances, positions = tables["balances"], tables["positions"]
    orders, legs, groups = tables["orders"], tables["order_legs"], tables["quote_groups"]
    limit = _floats(groups, "limit_usd")
    book = Book(
        registry=known,
        account_ids=_names(tables["accounts"], "account_id", "accounts"),
        owners=_names(tables["accounts"], "owner", "accounts"),
        pool_account=_ints(tables["pools"], "account"),
        pool_names=_names(tables["pools"], "name", "pools"),
        pool_mode=_codes(tables["pools"], "mode", POOL_MODES, "pools"),
        balance_pool=_ints(balances, "pool"),
        balance_asset=_assets(balances, known),
        balance_amount=_floats(balances, "amount"),
        position_pool=_ints(positions, "pool"),
        position_instrument=position_instrument,
        position_leg=_codes(positions, "leg", LEGS, "positions"),
        position_quantity=_floats(positions, "quantity"),
        position_entry=_floats(positions, "entry"),
        position_leverage=_floats(positions, "leverage"),
        position_fence=_floats(positions, "fence"),
        order_pool=_ints(orders, "pool"),
        order_ids=_names(orders, "id", "orders"),
        order_group=_ints(orders, "group"),
        leg_order=_ints(legs, "order"),
        leg_instrument=leg_instrument,
        leg_quantity=_floats(legs, "quantity"),
        leg_price=_floats(legs, "price"),
        group_pool=_ints(groups, "pool"),
        group_limit_usd=np.where(np.isnan(limit), np.inf, limit),
        group_ids=_names(groups, "id", "quote_groups"),
    )
    _check_rows(book)
    _check_numbers(book)
    return book


def _read(folder: Path, name: str) -> pl.DataFrame:
    """Read one table, its columns cast to what a book needs."""
    import polars as pl

    path = folder / f"{name}.parquet"
    if not path.is_file():
        raise InputError(
            f"the book {folder.name!r} has no table {path.name!r}",
            code="INP-005",
            field=name,
            hint="a book is a folder with " + ", ".join(f"{one}.parquet" for one in _COLUMNS),
        )
    try:
        frame = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError):
        raise InputError(
            f"{path.name!r} of the book {folder.name!r} is not a whole Parquet file",
            code="INP-005",
            field=name,
            hint="write the book again",
        ) from None
    for column in _COLUMNS[name]:
        if column not in frame.columns:
            raise InputError(
                f"table {name!r} has no column {column!r}",
                code="INP-003",
                field=f"{name}.{column}",
                hint="it needs " + ", ".join(_COLUMNS[name]),
            )
    return frame.select(_cast(frame[column], name) for column in _COLUMNS[name])


def _cast(series: pl.Series, table: str) -> pl.Series:
    import polars as pl

    name, kind = series.name, series.dtype
    if name in _INTS and (kind.is_integer() or kind == pl.Null):
        return series.cast(pl.Int64)
    if name in _FLOATS and (kind.is_numeric() or kind == pl.Null):
        return series.cast(pl.Float64)
    if name not in _INTS + _FLOATS and kind in (pl.String, pl.Categorical, pl.Enum, pl.Null):
        return series.cast(pl.String)
    raise InputError(
        f"column {name!r} of table {table!r} holds {kind}", code="INP-003", field=f"{table}.{name}"
    )


def _ints(frame: pl.DataFrame, column: str) -> Ints:
    """Return row numbers; a missing one becomes -1, which is a row nowhere."""
    return frame[column].fill_null(-1).to_numpy().astype(np.int64)


def _floats(frame: pl.DataFrame, column: str) -> Floats:
    return frame[column].fill_null(np.nan).to_numpy().astype(np.float64)


def _missing_text(table: str, column: str, row: int) -> InputError:
    return InputError(
        f"row {row} of table {table!r} has no {column}",
        code="INP-003",
        field=f"{table}[{row}].{column}",
    )


def _names(frame: pl.DataFrame, column: str, table: str) -> list[str]:
    values: list[str | None] = frame[column].to_list()
    found = [value for value in values if value]
    if len(found) < len(values):
        empty = next(row for row, value in enumerate(values) if not value)
        raise _missing_text(table, column, empty)
    return found


def _mapped(frame: pl.DataFrame, column: str, codes: dict[str, int]) -> Ints:
    import polars as pl

    table = pl.DataFrame(
        {column: list(codes), "code": list(codes.values())},
        schema={column: pl.String, "code": pl.Int64},
    )
    joined = frame.select(column).join(table, on=column, how="left", maintain_order="left")
    return joined["code"].to_numpy().astype(np.int64)


def _distinct(frame: pl.DataFrame, column: str, table: str) -> list[str]:
    """Return the different texts of a column in order of appearance; none may be missing."""
    empty: NDArray[np.int64] = frame[column].is_null().arg_true().to_numpy().astype(np.int64)
    if empty.size:
        raise _missing_text(table, column, int(empty[0]))
    return [str(value) for value in frame[column].unique(maintain_order=True)]


def _instruments(tables: dict[str, pl.DataFrame], table: str, registry: Registry) -> Ints:
    frame = tables[table]
    codes: dict[str, int] = {}
    for name in _distinct(frame, "instrument", table):
        try:
            codes[name] = registry.resolve(name)
        except InputError as error:
            row = int((frame["instrument"] == name).arg_true()[0])
            raise error.located(field=f"{table}[{row}].instrument") from None
    return _mapped(frame, "instrument", codes)


def _assets(frame: pl.DataFrame, registry: Registry) -> Ints:
    codes: dict[str, int] = {}
    for name in _distinct(frame, "asset", "balances"):
        if not name.isalnum():
            raise InputError(f"{name!r} is not an asset", code="INP-003", field="balances.asset")
        codes[name] = registry.asset(name)
    return _mapped(frame, "asset", codes)


def _codes(frame: pl.DataFrame, column: str, words: tuple[str, ...], table: str) -> Ints:
    for word in _distinct(frame, column, table):
        if word not in words:
            raise InputError(
                f"{word!r} is no {column}",
                code="INP-003",
                field=f"{table}.{column}",
                hint="it is one of " + ", ".join(words),
            )
    return _mapped(frame, column, {word: code for code, word in enumerate(words)})


def _check_rows(book: Book) -> None:
    """See that every reference leads to a row, keys differ and rows follow their accounts."""
    accounts, pools, groups = book.size, len(book.pool_names), len(book.group_ids)
    for values, size, lowest, field in (
        (book.pool_account, accounts, 0, "pools.account"),
        (book.balance_pool, pools, 0, "balances.pool"),
        (book.position_pool, pools, 0, "positions.pool"),
        (book.order_pool, pools, 0, "orders.pool"),
        (book.group_pool, pools, 0, "quote_groups.pool"),
        (book.order_group, groups, -1, "orders.group"),
        (book.leg_order, len(book.order_ids), 0, "order_legs.order"),
    ):
        for row in np.flatnonzero((values < lowest) | (values >= size)):
            raise InputError(
                f"row {row} of {field} refers to row {values[row]}, of which there are {size}",
                code="INP-008",
                field=field,
                hint="rows are counted from 0",
            )
    for values, field in (
        (book.pool_account, "pools.account"),
        (book.pool_account[book.position_pool], "positions.pool"),
    ):
        for row in np.flatnonzero(np.diff(values) < 0):
            raise InputError(
                f"row {row + 1} of {field} belongs to an account before that of row {row}",
                code="INP-042",
                field=field,
                hint="sort the rows by account",
            )
    keys = np.stack([book.position_pool, book.position_instrument, book.position_leg])
    for name, where in _twice(book.account_ids, keys, book):
        raise InputError(f"{name} appears twice", code="INP-007", field=where)


def _twice(accounts: list[str], keys: Ints, book: Book) -> list[tuple[str, str]]:
    found = []
    if len(set(accounts)) < len(accounts):
        repeated = next(one for one in accounts if accounts.count(one) > 1)
        found.append((f"account {repeated!r}", "accounts.account_id"))
    unique, first, counts = np.unique(keys, axis=1, return_index=True, return_counts=True)
    for at in np.flatnonzero(counts > 1):
        account, name = _place(book, int(unique[0, at]), int(unique[1, at]))
        found.append((f"{name} in account {account!r}", f"positions[{first[at]}]"))
    return found


def _place(book: Book, pool: int, instrument: int | None) -> tuple[str, str | None]:
    account = book.account_ids[book.pool_account[pool]]
    return account, None if instrument is None else book.registry[instrument].id


def _check_numbers(book: Book) -> None:
    """See that every figure is possible; the first that is not is named with its place."""
    held, ordered = book.position_instrument, book.leg_instrument
    option = book.registry.terms.kind[held] == KIND_CODE["option"]
    side = np.array([0.0, 1.0, -1.0])[book.position_leg]
    quantity = book.position_quantity
    orders = book.order_pool[book.leg_order]
    entry_low = (book.position_entry < 0.0) | ((book.position_entry == 0.0) & ~option)
    checks: tuple[tuple[str, Floats, Ints, Ints | None, bool, NDArray[np.bool_]], ...] = (
        ("balances.amount", book.balance_amount, book.balance_pool, None, False, _never(1)),
        ("positions.quantity", quantity, book.position_pool, held, False, quantity * side < 0),
        ("positions.quantity", quantity, book.position_pool, held, False, quantity == 0),
        ("positions.entry", book.position_entry, book.position_pool, held, True, entry_low),
        ("positions.leverage", book.position_leverage, book.position_pool, held, True,
         book.position_leverage <= 0),
        ("positions.fence", book.position_fence, book.position_pool, held, True,
         book.position_fence < 0),
        ("order_legs.quantity", book.leg_quantity, orders, ordered, False, book.leg_quantity == 0),
        ("order_legs.price", book.leg_price, orders, ordered, True, book.leg_price < 0),
    )  # fmt: skip
    for field, values, pool, instrument, optional, wrong in checks:
        bad = (np.abs(values) > ABSURD) | wrong | (np.isnan(values) & (not optional))
        for row in np.flatnonzero(bad):
            account, name = _place(
                book, int(pool[row]), None if instrument is None else int(instrument[row])
            )
            table, column = field.split(".")
            number = "missing" if np.isnan(values[row]) else f"{values[row]:g}"
            raise InputError(
                f"the {column} of {name or 'a balance'} in account {account!r} is {number}",
                code="INP-006" if wrong[row % wrong.size] else "INP-004",
                account=account,
                instrument=name,
                field=f"{table}[{row}].{column}",
                hint="correct the row, or remove it",
            )


def _never(size: int) -> NDArray[np.bool_]:
    return np.zeros(size, dtype=np.bool_)
