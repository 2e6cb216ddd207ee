"""The tables of a book's folder: their columns, and how they are written and read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from crossmargin.book._book import LEGS, POOL_MODES, Ints
from crossmargin.errors import InputError
from crossmargin.instruments import Registry, parse_instrument

if TYPE_CHECKING:
    import polars as pl


class Field(NamedTuple):
    """A column of a table, what it holds, and the column of :class:`Book` it becomes.

    Columns of the kinds in `OPTIONAL` may be missing, and each of their values too.
    """

    column: str
    kind: str
    name: str
    into: str = ""


OPTIONAL = ("place", "time", "flag")
#: Words that coded columns may hold, where they are not instruments or assets.
MEANINGS = {"leg": LEGS, "mode": POOL_MODES}


TABLES: dict[str, tuple[Field, ...]] = {
    "accounts": (Field("account_id", "text", "account_ids"), Field("owner", "text", "owners")),
    "pools": (
        Field("account", "row", "pool_account", "accounts"),
        Field("name", "text", "pool_names"),
        Field("mode", "code", "pool_mode"),
    ),
    "balances": (
        Field("pool", "row", "balance_pool", "pools"),
        Field("asset", "code", "balance_asset"),
        Field("amount", "number", "balance_amount"),
        Field("location", "place", "balance_location"),
        Field("proof_ns", "time", "balance_proof_ns"),
        Field("pending", "flag", "balance_pending"),
    ),
    "positions": (
        Field("pool", "row", "position_pool", "pools"),
        Field("instrument", "code", "position_instrument"),
        Field("leg", "code", "position_leg"),
        Field("quantity", "number", "position_quantity"),
        Field("entry", "number", "position_entry"),
        Field("leverage", "number", "position_leverage"),
        Field("fence", "number", "position_fence"),
    ),
    "orders": (
        Field("pool", "row", "order_pool", "pools"),
        Field("id", "text", "order_ids"),
        Field("group", "row", "order_group", "quote_groups"),
    ),
    "order_legs": (
        Field("order", "row", "leg_order", "orders"),
        Field("instrument", "code", "leg_instrument"),
        Field("quantity", "number", "leg_quantity"),
        Field("price", "number", "leg_price"),
    ),
    "quote_groups": (
        Field("pool", "row", "group_pool", "pools"),
        Field("id", "text", "group_ids"),
        Field("limit_usd", "number", "group_limit_usd"),
    ),
}


def write_table(folder: Path, name: str, table: pl.DataFrame) -> None:
    """Write a table as a Parquet file (zstd) into a folder."""
    table.write_parquet(folder / f"{name}.parquet", compression="zstd")


def require_told(registry: Registry, used: Ints) -> None:
    """Refuse instruments that cannot be written by name.

    Raises
    ------
    InputError
        ``INP-041``.
    """
    for index in used:
        instrument = registry[int(index)]
        if parse_instrument(instrument.id) != instrument:
            raise InputError(
                f"{instrument.id} has terms that its name does not tell",
                code="INP-041",
                instrument=instrument.id,
                hint="only contracts with their usual terms can be written",
            )


def table_of(
    table: str, columns: Mapping[str, Any], registry: Registry, locations: list[str]
) -> pl.DataFrame:
    """Arrange columns, by the names that :class:`Book` gives them, as a table of a folder."""
    import polars as pl

    words = _words(registry)

    def series(field: Field) -> pl.Series:
        values = columns[field.name]
        if field.kind == "text":
            return pl.Series(values, dtype=pl.String)
        if field.kind == "code":
            known = pl.Series(words[field.column], dtype=pl.String).cast(pl.Categorical)
            return known.gather(values)
        if field.kind == "place":
            known = pl.Series([*locations, None], dtype=pl.String)
            return known.gather(np.where(values < 0, len(locations), values))
        if field.kind in ("row", "time"):
            rows = pl.Series(values)
            return rows.replace(-1, None) if len(rows) and rows.min() == -1 else rows
        if field.kind == "flag":
            return pl.Series(values, dtype=pl.Boolean)
        return pl.Series(np.where(np.isinf(values), np.nan, values)).fill_nan(None)

    return pl.DataFrame({field.column: series(field) for field in TABLES[table]})


def _words(registry: Registry) -> dict[str, list[str]]:
    """Return what the codes of each coded column stand for."""
    return {
        **{column: list(known) for column, known in MEANINGS.items()},
        "asset": registry.assets,
        "instrument": [one.id for one in registry],
    }


def read_table(folder: Path, name: str) -> pl.DataFrame:
    """Read a table of a folder; columns that may be missing are filled with nulls.

    Raises
    ------
    InputError
        ``INP-005`` missing or unreadable, ``INP-003`` a column is missing.
    """
    import polars as pl

    path = folder / f"{name}.parquet"
    if not path.is_file():
        raise InputError(
            f"the book {folder.name!r} has no table {path.name!r}",
            code="INP-005",
            field=name,
            hint="a book is a folder with " + ", ".join(f"{one}.parquet" for one in TABLES),
        )
    try:
        frame = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError):
        raise InputError(
            f"{path.name!r} of the book {folder.name!r} is not a whole Parquet file",
            code="INP-005",
            field=name,
        ) from None
    for field in TABLES[name]:
        if field.column not in frame.columns and field.kind in OPTIONAL:
            frame = frame.with_columns(pl.lit(None).alias(field.column))
        elif field.column not in frame.columns:
            raise InputError(
                f"table {name!r} has no column {field.column!r}",
                code="INP-003",
                field=f"{name}.{field.column}",
            )
    return frame


def cast_column(series: pl.Series, table: str, field: Field) -> pl.Series:
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
