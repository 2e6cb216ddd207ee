"""Tables that plans are made from: equity curves, prices, macro series, profits by scenario."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from crossmargin.errors import InputError
from crossmargin.market.history import moments_of, numbers_of, one_symbol, read_table
from crossmargin.planning.macro import Change, CoinSeries, MacroSeries, coin_series, macro_series

if TYPE_CHECKING:
    import polars as pl

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Columns that say when.
_TIMES = ("time", "date", "timestamp", "day")
#: Rates and counts move by differences; what else a macro table holds is a price.
_RATES = ("DGS10", "DGS2", "DGS3MO", "DFF", "FEDFUNDS", "SOFR", "T10YIE", "UNRATE", "VIXCLS")
_NANOSECONDS_A_DAY = 86_400 * 10**9


def _time_column(table: pl.DataFrame, path: str | Path) -> str:
    for name in _TIMES:
        if name in table.columns:
            return name
    raise InputError(
        f"{Path(path).name!r} has no column that says when",
        code="INP-003",
        field="time",
        hint=f"name one of its columns {', '.join(_TIMES)}",
    )


def _need(table: pl.DataFrame, column: str, path: str | Path) -> None:
    if column not in table.columns:
        raise InputError(
            f"{Path(path).name!r} has no column {column!r}: it has {', '.join(table.columns[:12])}",
            code="INP-003",
            field=column,
        )


def read_equity(
    path: str | Path, *, equity: str = "equity", flow: str = "flow"
) -> tuple[Ints, Floats, Floats]:
    """Read an equity curve: moments, equity, and what was paid in (+) or out (−) by each.

    Parameters
    ----------
    path : str or Path
        Parquet, or CSV with a header; a column ``time`` (or ``date``) and the two below.
    equity, flow : str
        Their names; without a column of flows nothing was paid.

    Returns
    -------
    tuple of (int64[n], float64[n], float64[n])
        In the order of time.
    """
    table = read_table(path)
    when = moments_of(table[_time_column(table, path)]).dt.epoch("ns").to_numpy()
    _need(table, equity, path)
    money = numbers_of(table, equity)
    flows = numbers_of(table, flow) if flow in table.columns else np.zeros_like(money)
    order = np.argsort(when, kind="stable")
    if (np.diff(when[order]) == 0).any():
        raise InputError(
            f"{Path(path).name!r} has a moment twice", code="INP-003", field="time",
            hint="keep one row for each moment",
        )  # fmt: skip
    return when[order].astype(np.int64), money[order], np.nan_to_num(flows[order], nan=0.0)


def read_coin(path: str | Path, coin: str, *, bar_hours: float | None = None) -> CoinSeries:
    """Read the prices of a coin from bars: columns ``date`` (their start), ``close``, ``symbol``.

    A close is known at the end of its bar. The length of a bar is the commonest step of the dates
    unless it is given.
    """
    table, _ = one_symbol(read_table(path), coin)
    _need(table, "close", path)
    starts = moments_of(table[_time_column(table, path)]).dt.epoch("ns").to_numpy()
    close = numbers_of(table, "close")
    keep = np.isfinite(close)
    starts, close = starts[keep], close[keep]
    order = np.argsort(starts, kind="stable")
    starts, close = starts[order].astype(np.int64), close[order]
    steps = np.diff(starts)
    if not steps.size:
        raise InputError(f"{coin} has one price", code="INP-003", field="close")
    found, counts = np.unique(steps, return_counts=True)
    bar = int(found[np.argmax(counts)]) if bar_hours is None else int(bar_hours * 3.6e12)
    return coin_series(coin, starts + bar, close)


def read_macro(
    path: str | Path, name: str, *, change: Change | None = None, drop_repeats: bool | None = None
) -> MacroSeries:
    """Read one macro series from a long table: columns ``series``, ``date``, ``value``.

    Parameters
    ----------
    path : str or Path
        Parquet, or CSV with a header.
    name : str
        Which.
    change : {"log", "difference"}, optional
        Rates, yields and volatility indices move by difference, others by logarithm.
    drop_repeats : bool, optional
        Whether days that repeat the value before are filled-in holidays; for prices they are.
    """
    import polars as pl

    table = read_table(path)
    for column in ("series", "value"):
        _need(table, column, path)
    known = table["series"].cast(pl.String)
    mine = table.filter(known == name)
    if mine.is_empty():
        raise InputError(
            f"{Path(path).name!r} has no series {name!r}: it has "
            f"{', '.join(sorted(set(known.drop_nulls().to_list()))[:24])}",
            code="INP-003",
            field="series",
        )
    when = moments_of(mine[_time_column(table, path)]).dt.epoch("ns").to_numpy()
    days = when // _NANOSECONDS_A_DAY
    how: Change = change or ("difference" if name in _RATES else "log")
    drop = how == "log" if drop_repeats is None else drop_repeats
    return macro_series(name, days, numbers_of(mine, "value"), change=how, drop_repeats=drop)


def read_profits(path: str | Path, names: list[str]) -> Floats:
    """Read profits by scenario: a column for each strategy, a row for each scenario."""
    table = read_table(path)
    for name in names:
        _need(table, name, path)
    found = np.column_stack([numbers_of(table, name) for name in names])
    if not np.isfinite(found).all():
        row = int(np.argmin(np.isfinite(found).all(axis=1)))
        raise InputError(
            f"scenario {row + 1} of {Path(path).name!r} has no profit for every strategy",
            code="INP-003",
            field=names[int(np.argmin(np.isfinite(found[row])))],
        )
    return found
