"""Recorded positions of Hyperliquid accounts, with the liquidation price the venue stated.

One row per position of an account at a snapshot, from the venue's ``clearinghouseState``:
``snapshot_ts``, ``address``, ``coin``, ``direction`` (Long, Short), ``size`` (coins, unsigned),
``entryPx``, ``leverage`` (the setting), ``leverageType`` (cross, isolated, or missing where it was
not recorded), ``positionValue`` (USD) and ``liquidationPx`` (USD, missing where there is none).
The mark price is ``positionValue / size``.

Limits. Account values are not read: those recorded beside the positions include other wallets.
All positions of an account at a snapshot come from one reply.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from crossmargin.errors import InputError
from crossmargin.units import format_time

if TYPE_CHECKING:
    import polars as pl

__all__ = ["PositionRecords", "read_hyperliquid_positions"]

POSITIONS_FILE = "hyperliquid_positions_2026feb03_12.parquet"

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_TEXT = ("address", "coin", "direction")
_FIGURES = ("size", "entryPx", "leverage", "positionValue")
_COLUMNS = ("snapshot_ts", *_TEXT, *_FIGURES, "leverageType", "liquidationPx")
_HINT = "check how the file was recorded; nothing was computed"


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionRecords:
    """Positions of many accounts at several snapshots, in columns.

    Rows are sorted by snapshot, account, and falling value of the position.

    Attributes
    ----------
    moments_ns : int64[S]
        Moments of the snapshots, ns UTC, rising.
    accounts, coins : tuple of str
        Names that `account` and `coin` index.
    snapshot, account, coin : int64[N]
        Of each position.
    quantity : float64[N]
        Coins, > 0 long.
    mark, entry : float64[N]
        Prices, USD.
    leverage : float64[N]
        The account's setting for the coin.
    isolated : int64[N]
        1 isolated, 0 cross, −1 not recorded.
    liquidation : float64[N]
        The venue's liquidation price, USD; NaN where it states none.
    """

    moments_ns: Ints
    accounts: tuple[str, ...]
    coins: tuple[str, ...]
    snapshot: Ints
    account: Ints
    coin: Ints
    quantity: Floats
    mark: Floats
    entry: Floats
    leverage: Floats
    isolated: Ints
    liquidation: Floats


def read_hyperliquid_positions(path: str | Path) -> PositionRecords:
    """Read a Parquet file of recorded positions.

    Raises
    ------
    InputError
        ``INP-005`` when it cannot be read or is not Parquet, ``INP-002`` when it has no rows,
        ``INP-003`` for a missing column or a column of another type, ``INP-004`` for a figure
        that is not finite or not positive, ``INP-007`` for a position stated twice, ``INP-010``
        for a time that cannot be read, ``INP-011`` for a missing figure, ``INP-013`` for a
        direction or mode that is none of the known.
    """
    import polars as pl

    name = f"recorded positions {Path(path).name!r}"
    frame = _columns(path, name)
    if frame.is_empty():
        raise InputError(f"{name} have no rows", code="INP-002", hint=_HINT)
    frame = _typed(frame, name)
    _check_figures(frame, name)
    frame = frame.with_columns(
        pl.col("direction").replace_strict({"Long": 1.0, "Short": -1.0}).alias("sign")
    ).sort(
        ["snapshot_ts", "address", "positionValue", "coin"],
        descending=[False, False, True, False],
    )
    return _records(frame)


def _columns(path: str | Path, name: str) -> pl.DataFrame:
    """Read the columns that are needed."""
    import polars as pl

    try:
        lazy = pl.scan_parquet(path, glob=False)
        missing = [c for c in _COLUMNS if c not in lazy.collect_schema().names()]
        if not missing:
            return lazy.select(_COLUMNS).collect()
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException):
        # A damaged page panics inside the decoder, which is no Exception and no traceback of ours.
        raise InputError(
            f"cannot read {name}",
            code="INP-005",
            hint="check that it is there, and that it is a whole Parquet file",
        ) from None
    raise InputError(
        f"{name} have no column {missing[0]!r}",
        code="INP-003",
        field=missing[0],
        hint="they need " + ", ".join(_COLUMNS),
    )


def _typed(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    """Bring columns to the types that are worked with, refusing what cannot be."""
    import polars as pl

    for column in ("snapshot_ts", *_TEXT, *_FIGURES):
        if frame[column].null_count():
            raise InputError(
                f"{name} lack a value of {column!r} in row {_first(frame[column].is_null())}",
                code="INP-011",
                field=column,
                hint=_HINT,
            )
    wanted = dict.fromkeys((*_TEXT, "leverageType"), pl.String())
    for column in ("snapshot_ts", *_TEXT, *_FIGURES, "leverageType", "liquidationPx"):
        kind = frame.schema[column]
        text = isinstance(kind, pl.String | pl.Categorical | pl.Enum | pl.Null)
        good = isinstance(kind, pl.Datetime) if column == "snapshot_ts" else kind.is_numeric()
        if not (text if column in wanted else good or isinstance(kind, pl.Null)):
            raise InputError(
                f"{name} hold {kind} in the column {column!r}",
                code="INP-003",
                field=column,
                hint="snapshot_ts is a time, names are text, prices and sizes are numbers",
            )
    moments = frame["snapshot_ts"].cast(pl.Datetime("ns", "UTC"), strict=False)
    if getattr(frame.schema["snapshot_ts"], "time_zone", None) is None:
        why = "times without a time zone"
    elif moments.null_count():
        why = "times that no snapshot has"
    else:
        return frame.with_columns(
            *(pl.col(c).cast(pl.String) for c in wanted),
            *(pl.col(c).cast(pl.Float64) for c in (*_FIGURES, "liquidationPx")),
            moments.cast(pl.Int64),
        )
    raise InputError(f"{name} hold {why}", code="INP-010", field="snapshot_ts", hint=_HINT)


def _first(mask: pl.Series) -> int:
    return int(mask.arg_max() or 0)


def _refuse(frame: pl.DataFrame, bad: pl.Series, message: str, code: str, field: str) -> None:
    """Refuse the first row that is marked, naming its account and coin."""
    if not bad.any():
        return
    row = frame.row(_first(bad), named=True)
    raise InputError(
        f"{message} at {format_time(row['snapshot_ts'])}: {row[field]!r}",
        code=code,
        account=row["address"],
        instrument=row["coin"],
        field=field,
        hint=_HINT,
    )


def _check_figures(frame: pl.DataFrame, name: str) -> None:
    """Refuse impossible figures, unknown words and positions stated twice."""
    for column in (*_FIGURES, "liquidationPx"):
        bad = ~(frame[column].is_finite() & (frame[column] > 0)).fill_null(True)
        _refuse(frame, bad, f"{name} hold a {column} that no position has", "INP-004", column)
    for column, words in (
        ("direction", ["Long", "Short"]),
        ("leverageType", ["cross", "isolated"]),
    ):
        bad = ~frame[column].is_in(words).fill_null(True)
        _refuse(frame, bad, f"{name} hold a {column} besides {', '.join(words)}", "INP-013", column)
    twice = frame.select("snapshot_ts", "address", "coin").is_duplicated()
    _refuse(frame, twice, f"{name} state a position twice", "INP-007", "coin")


def _records(frame: pl.DataFrame) -> PositionRecords:
    moments, snapshot = np.unique(frame["snapshot_ts"].to_numpy(), return_inverse=True)
    accounts, account = np.unique(frame["address"].to_numpy().astype(str), return_inverse=True)
    coins, coin = np.unique(frame["coin"].to_numpy().astype(str), return_inverse=True)
    size = frame["size"].to_numpy()
    isolated = frame["leverageType"].replace_strict(
        {"isolated": 1, "cross": 0}, default=-1, return_dtype=_int64()
    )
    return PositionRecords(
        moments_ns=moments.astype(np.int64),
        accounts=tuple(accounts.tolist()),
        coins=tuple(coins.tolist()),
        snapshot=snapshot.astype(np.int64),
        account=account.astype(np.int64),
        coin=coin.astype(np.int64),
        quantity=size * frame["sign"].to_numpy(),
        mark=frame["positionValue"].to_numpy() / size,
        entry=frame["entryPx"].to_numpy(),
        leverage=frame["leverage"].to_numpy(),
        isolated=isolated.fill_null(-1).to_numpy(),
        liquidation=frame["liquidationPx"].fill_null(np.nan).to_numpy(),
    )


def _int64() -> pl.DataType:
    import polars as pl

    return pl.Int64()
