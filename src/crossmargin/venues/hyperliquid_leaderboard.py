"""What was recorded beside Hyperliquid positions: account values, and the venue's market list.

Account values come from the leaderboard and not from the reply with the positions: they may be
stale and include other wallets. An account with ``n_positions`` of 0 is one whose positions were
not obtained, **not** one without positions.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from crossmargin.errors import InputError
from crossmargin.units import parse_time

if TYPE_CHECKING:
    import polars as pl

ACCOUNTS_FILE = "hyperliquid_accounts_2026feb03_12.parquet"
MARKETS_FILE = "hyperliquid_markets_2026feb03_04.csv.gz"

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountValues:
    """Values of accounts on a leaderboard, in columns.

    Attributes
    ----------
    moment_ns : int64[N]
        Of the snapshot, ns UTC.
    account : tuple of str
        Address of each row.
    value : float64[N]
        US dollars; NaN where none was recorded.
    positions : int64[N]
        Positions obtained; 0 says nothing about the account.
    """

    moment_ns: Ints
    account: tuple[str, ...]
    value: Floats
    positions: Ints

    def at(self, moment_ns: int) -> dict[str, float]:
        """Return the finite values of one snapshot by address."""
        rows = np.flatnonzero((self.moment_ns == moment_ns) & np.isfinite(self.value))
        return {self.account[r]: float(self.value[r]) for r in rows.tolist()}


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketList:
    """The venue's markets at several moments, in columns; one row for each market and moment.

    Attributes
    ----------
    moment_ns : int64[N]
        ns UTC.
    coin : tuple of str
    mark : float64[N]
        US dollars.
    open_interest, volume_day : float64[N]
        US dollars.
    max_leverage : float64[N]
    """

    moment_ns: Ints
    coin: tuple[str, ...]
    mark: Floats
    open_interest: Floats
    volume_day: Floats
    max_leverage: Floats

    def nearest(self, moment_ns: int) -> MarketList:
        """Return the rows of the last moment at or before a time; the first where none is."""
        moments = np.unique(self.moment_ns)
        place = max(int(np.searchsorted(moments, moment_ns, side="right")) - 1, 0)
        rows = np.flatnonzero(self.moment_ns == moments[place])
        return MarketList(
            moment_ns=self.moment_ns[rows],
            coin=tuple(self.coin[r] for r in rows.tolist()),
            mark=self.mark[rows],
            open_interest=self.open_interest[rows],
            volume_day=self.volume_day[rows],
            max_leverage=self.max_leverage[rows],
        )


def read_hyperliquid_accounts(path: str | Path) -> AccountValues:
    """Read a Parquet file of account values.

    Raises
    ------
    InputError
        ``INP-005`` when it cannot be read, ``INP-002`` without rows, ``INP-003`` for a missing
        column or one of another type, ``INP-007`` for an account stated twice at a moment.
    """
    import polars as pl

    name = f"recorded accounts {Path(path).name!r}"
    columns = ("snapshot_ts", "address", "account_value", "n_positions")
    frame = _frame(pl.scan_parquet, path, name, columns)
    _numeric(frame, name, columns[2:])
    if not isinstance(frame.schema["snapshot_ts"], pl.Datetime):
        raise _shape(name, "snapshot_ts")
    frame = frame.with_columns(
        pl.col("address").cast(pl.String), pl.col("snapshot_ts").cast(pl.Datetime("ns", "UTC"))
    )
    _once(frame.select("snapshot_ts", "address"), name, "address")
    return AccountValues(
        moment_ns=frame["snapshot_ts"].cast(pl.Int64).to_numpy(),
        account=tuple(frame["address"].to_list()),
        value=frame["account_value"].cast(pl.Float64).fill_null(np.nan).to_numpy(),
        positions=frame["n_positions"].cast(pl.Int64).fill_null(0).to_numpy(),
    )


def read_hyperliquid_markets(path: str | Path) -> MarketList:
    """Read a CSV file (it may be compressed) of the venue's markets.

    Raises
    ------
    InputError
        As :func:`read_hyperliquid_accounts`; ``INP-004`` for a figure that no market has,
        ``INP-010`` for a time that cannot be read.
    """
    import polars as pl

    name = f"recorded markets {Path(path).name!r}"
    figures = ("markPx", "openInterest", "volume24h", "maxLeverage")
    frame = _frame(pl.scan_csv, path, name, ("snapshot_ts", "name", *figures))
    _numeric(frame, name, figures)
    _once(frame.select("snapshot_ts", "name"), name, "name")
    values = {c: frame[c].cast(pl.Float64).fill_null(np.nan).to_numpy() for c in figures}
    for column in ("markPx", "maxLeverage"):
        bad = ~(np.isfinite(values[column]) & (values[column] > 0))
        if bad.any():
            coin = frame["name"][int(np.argmax(bad))]
            raise InputError(
                f"{name} hold a {column} that no market has",
                code="INP-004",
                instrument=str(coin),
                field=column,
            )
    times = {text: parse_time(str(text), field="snapshot_ts") for text in set(frame["snapshot_ts"])}
    return MarketList(
        moment_ns=np.array([times[text] for text in frame["snapshot_ts"]], dtype=np.int64),
        coin=tuple(str(c) for c in frame["name"]),
        mark=values["markPx"],
        open_interest=np.nan_to_num(values["openInterest"]),
        volume_day=np.nan_to_num(values["volume24h"]),
        max_leverage=values["maxLeverage"],
    )


def _frame(scan: object, path: str | Path, name: str, columns: tuple[str, ...]) -> pl.DataFrame:
    import polars as pl

    try:
        lazy = scan(path)  # type: ignore[operator]
        missing = [c for c in columns if c not in lazy.collect_schema().names()]
        frame: pl.DataFrame | None = None if missing else lazy.select(columns).collect()
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException):
        raise InputError(
            f"cannot read {name}", code="INP-005", hint="check that it is there, and whole"
        ) from None
    if frame is None:
        raise _shape(name, missing[0])
    if frame.is_empty():
        raise InputError(f"{name} have no rows", code="INP-002")
    return frame


def _shape(name: str, column: str) -> InputError:
    return InputError(f"{name} have no usable column {column!r}", code="INP-003", field=column)


def _numeric(frame: pl.DataFrame, name: str, columns: tuple[str, ...]) -> None:
    for column in columns:
        if not frame.schema[column].is_numeric():
            raise _shape(name, column)


def _once(keys: pl.DataFrame, name: str, field: str) -> None:
    if keys.is_duplicated().any():
        raise InputError(f"{name} state a row twice", code="INP-007", field=field)
