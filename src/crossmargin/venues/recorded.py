"""Recorded Deribit option chains: one snapshot of a Parquet file as a market.

The recording has one row per option and snapshot, with the columns ``timestamp``,
``instrument_name``, ``underlying`` (forward, USD), ``index_price`` (USD), ``bid_price``,
``ask_price``, ``mark_price`` (coin) and ``implied_volatility`` (mark, decimal); one file of
one-minute trade candles of the perpetuals (``obs_datetime``, ``instrument_name``,
``candle_close_time_ms``, ``candle_close``); and one of dated futures (``timestamp``,
``futures_instrument_name``, ``snapshot_term_mark_price``).

Limits. Marks, volatilities and forwards of a snapshot come from one call; index prices come from
calls made one after another over the minutes that followed, and the perpetuals' candle closes up
to a minute later. In a fast market index, perpetuals and forwards therefore differ by more than
the basis; :attr:`SnapshotReport.spreads` says by how much.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from crossmargin.errors import InputError, MarketDataError
from crossmargin.market import AssetPrice
from crossmargin.units import format_time, parse_time
from crossmargin.venues._build import build_report, given_prices, market_file
from crossmargin.venues._report import SnapshotReport
from crossmargin.venues._rows import Row, clean_rows

if TYPE_CHECKING:
    import polars as pl

    Frame: TypeAlias = pl.DataFrame | pl.LazyFrame

__all__ = ["market_file", "snapshot_from_recorded_chain", "snapshot_moments"]

OPTIONS_FILE = "deribit_options_2026q1.parquet"
PERPS_FILE = "deribit_perp_at_option_snapshots.parquet"
FUTURES_FILE = "deribit_dated_futures_marks.parquet"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OPTION_COLUMNS = (
    "instrument_name",
    "underlying",
    "index_price",
    "bid_price",
    "ask_price",
    "mark_price",
    "implied_volatility",
)
_PERP_COLUMNS = ("instrument_name", "candle_close", "candle_close_time_ms")
_FUTURE_COLUMNS = ("futures_instrument_name", "snapshot_term_mark_price")


def _ns(moment: datetime) -> int:
    delta = moment - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 10**9 + delta.microseconds * 1_000


def _datetime(ns: int) -> datetime:
    return _EPOCH + timedelta(microseconds=-(-ns // 1_000))


def _lazy(table: Frame | str | Path, columns: tuple[str, ...], time: str) -> pl.LazyFrame:
    """Open a table without reading it, and see that it has the columns that are needed."""
    import polars as pl

    name = "the recorded table"
    try:
        if isinstance(table, str | Path):
            name = f"recorded file {Path(table).name!r}"
            frame = pl.scan_parquet(table)
        else:
            frame = table.lazy()
        have = frame.collect_schema().names()
    except (OSError, pl.exceptions.PolarsError):
        raise InputError(
            f"cannot read {name}",
            code="INP-005",
            hint="check that it is there, and that it is a whole Parquet file",
        ) from None
    missing = [column for column in (time, *columns) if column not in have]
    if missing:
        raise InputError(
            f"{name} has no column {missing[0]!r}",
            code="INP-003",
            field=missing[0],
            hint="it needs " + ", ".join((time, *columns)),
        )
    return frame.select(time, *columns)


def snapshot_moments(options: Frame | str | Path) -> list[int]:
    """Return the moments of all snapshots of a recording, ns UTC, rising.

    Raises
    ------
    InputError
        ``INP-005`` when it cannot be read, ``INP-003`` when a column is missing.
    """
    import polars as pl

    frame = _lazy(options, _OPTION_COLUMNS, "timestamp")
    found = frame.select(pl.col("timestamp").unique().sort()).collect()["timestamp"]
    return [_ns(moment) for moment in found]


def snapshot_from_recorded_chain(
    options: Frame | str | Path,
    moment: int | str,
    *,
    perps_path: Frame | str | Path | None = None,
    futures_path: Frame | str | Path | None = None,
    index_price: Mapping[str, float] | None = None,
    fit: bool = True,
) -> SnapshotReport:
    """Read the first recorded snapshot at or after a moment.

    Parameters
    ----------
    options : path, DataFrame or LazyFrame
        The option chain; only the rows of that snapshot are read.
    moment : int or str
        Nanoseconds UTC, or ISO-8601 such as ``2026-02-03T04:00Z``.
    perps_path, futures_path : path, DataFrame or LazyFrame, optional
        Candles of the perpetuals and marks of the dated futures at the same snapshots.
    index_price : mapping of str to float, optional
        USD prices of assets that the recording does not have, such as ``{"USDC": 0.9998}``;
        they win over the recorded index.
    fit : bool
        Whether to fit surfaces.

    Returns
    -------
    SnapshotReport
        Forwards are the median ``underlying`` of each expiry, volatilities are per strike, index
        prices the median over all rows of the coin.

    Raises
    ------
    InputError
        ``INP-005`` unreadable file, ``INP-003`` missing column, ``INP-010`` bad time.
    MarketDataError
        ``MKT-030`` when there is no snapshot at or after the moment.
    """
    import polars as pl

    wanted = parse_time(moment, field="moment") if isinstance(moment, str) else moment
    chain = _lazy(options, _OPTION_COLUMNS, "timestamp")
    later = chain.filter(pl.col("timestamp") >= _datetime(wanted))
    first = later.select(pl.col("timestamp").min()).collect().item()
    if first is None:
        raise MarketDataError(
            f"the recording has no snapshot at or after {format_time(wanted)}",
            code="MKT-030",
            field="moment",
            hint="ask for an earlier moment",
        )
    as_of_ns = _ns(first)
    source = f"recorded Deribit chain of {format_time(as_of_ns)}"
    at_first = chain.filter(pl.col("timestamp") == first).collect()
    rows = list(_option_rows(at_first, as_of_ns, source))
    if futures_path is not None:
        marks = _lazy(futures_path, _FUTURE_COLUMNS, "timestamp")
        rows += _future_rows(marks.filter(pl.col("timestamp") == first).collect(), as_of_ns)
    if perps_path is not None:
        candles = _lazy(perps_path, _PERP_COLUMNS, "obs_datetime")
        rows += _perp_rows(candles.filter(pl.col("obs_datetime") == first).collect(), as_of_ns)
    given: dict[str, AssetPrice] = given_prices(index_price or {}, as_of_ns)
    return build_report(
        clean_rows(rows, as_of_ns),
        as_of_ns=as_of_ns,
        given=given,
        source=source,
        fit=fit,
    )


def _option_rows(frame: pl.DataFrame, as_of_ns: int, source: str) -> Iterator[Row]:
    for name, forward, index, bid, ask, mark, vol in _tuples(frame, _OPTION_COLUMNS):
        yield Row(
            name=name,
            forward=forward,
            index=index,
            bid=bid,
            ask=ask,
            mark=mark,
            vol=vol,
            time_ns=as_of_ns,
            source=source,
        )


def _future_rows(frame: pl.DataFrame, as_of_ns: int) -> Iterator[Row]:
    for name, mark in _tuples(frame, _FUTURE_COLUMNS):
        yield Row(
            name=name,
            mark=mark,
            time_ns=as_of_ns,
            source="forward of the options of that expiry, named after the future",
        )


def _perp_rows(frame: pl.DataFrame, as_of_ns: int) -> Iterator[Row]:
    for name, close, close_ms in _tuples(frame, _PERP_COLUMNS):
        at = format_time(int(close_ms) * 1_000_000)  # type: ignore[call-overload]
        yield Row(
            name=name,
            mark=close,
            time_ns=as_of_ns,
            source=f"close of a one-minute trade candle ending {at}, not a mark price",
        )


def _tuples(frame: pl.DataFrame, columns: tuple[str, ...]) -> Iterator[tuple[object, ...]]:
    import polars as pl

    names = [pl.col(name).cast(pl.String) for name in columns[:1]]
    return iter(frame.select(*names, *columns[1:]).rows())


def main(arguments: list[str]) -> int:
    """Write the demo markets: ``python -m crossmargin.venues.recorded DATA_DIR OUT_DIR``."""
    from crossmargin.venues._demo import write_demo_markets

    if len(arguments) != 2:
        print("usage: python -m crossmargin.venues.recorded DATA_DIR OUT_DIR")
        return 2
    for path in write_demo_markets(Path(arguments[0]), Path(arguments[1])):
        print(path)
    return 0


if __name__ == "__main__":
    import sys

    sys.exit(main(sys.argv[1:]))
