"""The days a model is tried on: closes, funding and the level of implied volatility.

A day's figures are those of its last moment (00:00 UTC of the next day). Missing is NaN.
"""

from __future__ import annotations

import csv
import gzip
import itertools
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from crossmargin.errors import InputError
from crossmargin.market import read_price_history
from crossmargin.validation._result import Floats

if TYPE_CHECKING:
    import polars as pl

#: What the recorded files are called in the folder of recorded data.
_SPOT, _PERPETUAL = "binance_spot_1h.parquet", "binance_perp_1h.parquet"
_FUNDING, _DVOL = "binance_funding.parquet", "deribit_dvol_btc_daily.csv.gz"
#: Ends the name of a series of perpetual marks; the coin's own name is its index.
PERPETUAL = "-PERP"
_LONGEST_GAP = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketHistory:
    """Daily market of several series.

    Attributes
    ----------
    days : tuple of str
        ISO dates (UTC), one after the other without a gap.
    symbols : tuple of str
        Coins (index), and coins with ``-PERP`` (last price of the perpetual).
    price : float64[D, J]
        Closes in US dollars; NaN where there is none.
    carry : float64[D, J]
        Funding that a long paid over the day, as a share of its value; 0 where none is known.
    vol : float64[D, J]
        Level of implied volatility over 30 days, per year, as a decimal; NaN where none.
    source : str
        For people.
    filled : int
        Closes carried over from the day before, at most two in a row.
    """

    days: tuple[str, ...]
    symbols: tuple[str, ...]
    price: Floats
    carry: Floats
    vol: Floats
    source: str
    filled: int = 0

    def column(self, symbol: str) -> int:
        """Return the number of a series.

        Raises
        ------
        InputError
            ``INP-003`` when the history does not have it.
        """
        if symbol not in self.symbols:
            raise InputError(
                f"the history has no prices of {symbol}",
                code="INP-003",
                field="symbol",
                hint=f"it has {', '.join(self.symbols)}",
            )
        return self.symbols.index(symbol)

    def has(self, symbol: str) -> bool:
        """Whether there is such a series."""
        return symbol in self.symbols

    def between(self, since: str | None, until: str | None) -> MarketHistory:
        """Return the days from `since` to `until`, both included."""
        keep = [
            k
            for k, day in enumerate(self.days)
            if (since is None or day >= since) and (until is None or day <= until)
        ]
        if not keep:
            raise InputError(
                f"no day of the history lies from {since or 'its start'} to {until or 'its end'}",
                code="INP-003",
                field="date",
                hint=f"it runs from {self.days[0]} to {self.days[-1]}",
            )
        rows = slice(keep[0], keep[-1] + 1)
        return MarketHistory(
            days=self.days[rows],
            symbols=self.symbols,
            price=self.price[rows],
            carry=self.carry[rows],
            vol=self.vol[rows],
            source=self.source,
            filled=self.filled,
        )


def make_history(
    closes: dict[str, dict[str, float]],
    *,
    carry: dict[str, dict[str, float]] | None = None,
    vol: dict[str, dict[str, float]] | None = None,
    source: str = "",
) -> MarketHistory:
    """Arrange series by symbol and ISO day as one history.

    Parameters
    ----------
    closes : dict of str to dict of str to float
        US dollars by symbol, then day.
    carry, vol : dict of str to dict of str to float, optional
        Funding paid by longs over a day as a share; implied volatility as a decimal.
    source : str
        For people.

    Raises
    ------
    InputError
        ``INP-003`` without a price, ``INP-004`` for a price or volatility that is not positive.
    """
    every = {day for series in closes.values() for day in series}
    if not every:
        raise InputError("the history has no price", code="INP-003", field="close")
    days = _calendar(min(every), max(every))
    row = {day: k for k, day in enumerate(days)}
    symbols = tuple(closes)
    price = np.full((len(days), len(symbols)), np.nan)
    funding = np.zeros_like(price)
    level = np.full_like(price, np.nan)
    for table, into in ((closes, price), (carry or {}, funding), (vol or {}, level)):
        for symbol, series in table.items():
            if symbol not in symbols:
                continue
            column = symbols.index(symbol)
            for day, value in series.items():
                if day in row:
                    into[row[day], column] = value
    for name, values in (("close", price), ("vol", level)):
        bad = np.argwhere(~(np.isnan(values) | (np.isfinite(values) & (values > 0))))
        if bad.size:
            k, j = (int(x) for x in bad[0])
            raise InputError(
                f"{name} of {symbols[j]} on {days[k]} is {values[k, j]:g}, not a positive number",
                code="INP-004",
                field=name,
            )
    filled = sum(_fill(values) for values in (price, level))
    return MarketHistory(
        days=days,
        symbols=symbols,
        price=price,
        carry=np.nan_to_num(funding, nan=0.0),
        vol=level,
        source=source,
        filled=filled,
    )


def _calendar(first: str, last: str) -> tuple[str, ...]:
    start, end = date.fromisoformat(first), date.fromisoformat(last)
    return tuple((start + timedelta(days=k)).isoformat() for k in range((end - start).days + 1))


def _fill(values: Floats) -> int:
    """Carry a close over at most two missing days: an outage, not the end of a series."""
    filled = 0
    for column in values.T:
        known = np.flatnonzero(~np.isnan(column))
        for a, b in itertools.pairwise(known.tolist()):
            if 1 < b - a <= _LONGEST_GAP + 1:
                column[a + 1 : b] = column[a]
                filled += int(b - a - 1)
    return filled


def read_history(path: str | Path) -> MarketHistory:
    """Read a history: a folder of recorded data, or a table of one's own.

    A folder holds ``binance_spot_1h.parquet`` and, where they are, the perpetuals, the funding
    and Deribit's BTC volatility index beside it. A table (Parquet, or CSV with a header) has the
    columns ``date``, ``symbol``, ``close`` in US dollars and may have ``vol`` (30-day implied
    volatility, decimal per year) and ``funding`` (paid by longs, share of value). Bars shorter
    than a day become the day's last close and summed funding; a symbol ending in ``-PERP`` is a
    perpetual's own price.

    Raises
    ------
    InputError
        ``INP-005`` not there or unreadable, ``INP-003`` a column is missing, ``INP-004`` a price
        is no positive number.
    """
    place = Path(path)
    if place.is_dir():
        return _recorded(place)
    if not place.is_file():
        raise InputError(
            f"there is no file or folder {str(path)!r}",
            code="INP-005",
            field="data",
            hint="name a folder of recorded data or a table with date, symbol, close",
        )
    return _own_table(place)


def _own_table(place: Path) -> MarketHistory:
    import polars as pl

    try:
        table = pl.read_parquet(place) if place.suffix == ".parquet" else pl.read_csv(place)
    except (OSError, pl.exceptions.PolarsError):
        raise InputError(
            f"{place.name!r} is not a whole table",
            code="INP-005",
            hint="give Parquet, or CSV with a header",
        ) from None
    if "symbol" not in table.columns:
        raise InputError(
            "the table has no column 'symbol'",
            code="INP-003",
            field="symbol",
            hint="it needs date, symbol and close",
        )
    closes: dict[str, dict[str, float]] = {}
    for symbol in sorted(set(table["symbol"].cast(pl.String).drop_nulls().to_list())):
        one = read_price_history(place, symbol)
        closes[symbol] = dict(zip(one.days, (float(x) for x in one.close), strict=True))
    days = _day_column(table)
    return make_history(
        closes,
        carry=_extra(table, days, "funding", total=True),
        vol=_extra(table, days, "vol", total=False),
        source=place.name,
    )


def _day_column(table: pl.DataFrame) -> list[str]:
    return [str(x)[:10] for x in table["date"].to_list()]


def _extra(
    table: pl.DataFrame, days: list[str], column: str, *, total: bool
) -> dict[str, dict[str, float]]:
    """Read an optional column by symbol and day: its sum, or its last value."""
    found: dict[str, dict[str, float]] = {}
    if column not in table.columns:
        return found
    if not table[column].dtype.is_numeric():
        raise InputError(f"the column {column!r} is not of numbers", code="INP-003", field=column)
    for day, symbol, value in zip(
        days, table["symbol"].to_list(), table[column].to_list(), strict=True
    ):
        if value is None:
            continue
        series = found.setdefault(str(symbol), {})
        series[day] = series.get(day, 0.0) + float(value) if total else float(value)
    return found


def _recorded(folder: Path) -> MarketHistory:
    if not (folder / _SPOT).is_file():
        raise InputError(
            f"the folder {str(folder)!r} has no {_SPOT}",
            code="INP-005",
            field="data",
            hint="set CROSSMARGIN_DATA to the folder of recorded data, or give a table",
        )
    closes = _last_closes(folder / _SPOT, "")
    carry: dict[str, dict[str, float]] = {}
    if (folder / _PERPETUAL).is_file():
        closes |= _last_closes(folder / _PERPETUAL, PERPETUAL)
    if (folder / _FUNDING).is_file():
        carry = _daily_funding(folder / _FUNDING)
    return make_history(
        closes,
        carry=carry,
        vol={"BTC": _dvol(folder / _DVOL)},
        source="recorded hourly closes and funding of Binance, BTC volatility index of Deribit",
    )


def _coin(symbol: str) -> str:
    return symbol.removesuffix("USDT")


def _last_closes(path: Path, ending: str) -> dict[str, dict[str, float]]:
    import polars as pl

    daily = (
        pl.read_parquet(path, columns=["symbol", "date", "close"])
        .sort("symbol", "date")
        .group_by(pl.col("symbol").cast(pl.String), pl.col("date").dt.date().alias("day"))
        .agg(pl.col("close").last())
        .sort("symbol", "day")
    )
    found: dict[str, dict[str, float]] = {}
    for symbol, day, close in daily.iter_rows():
        found.setdefault(_coin(symbol) + ending, {})[day.isoformat()] = close
    return found


def _daily_funding(path: Path) -> dict[str, dict[str, float]]:
    import polars as pl

    daily = (
        pl.read_parquet(path, columns=["symbol", "date", "funding_rate"])
        .group_by(pl.col("symbol").cast(pl.String), pl.col("date").dt.date().alias("day"))
        .agg(pl.col("funding_rate").sum())
        .sort("symbol", "day")
    )
    found: dict[str, dict[str, float]] = {}
    for symbol, day, rate in daily.iter_rows():
        found.setdefault(_coin(symbol) + PERPETUAL, {})[day.isoformat()] = rate
    return found


def _dvol(path: Path) -> dict[str, float]:
    """Read daily closes of the index, in percent there and a decimal here."""
    if not path.is_file():
        return {}
    with gzip.open(path, "rt", encoding="utf-8", newline="") as stream:
        return {row["date"][:10]: float(row["dvol"]) / 100.0 for row in csv.DictReader(stream)}
