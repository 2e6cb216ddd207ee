"""Price histories and single order books from tables (Parquet or CSV)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.errors import InputError, MarketDataError

if TYPE_CHECKING:
    import polars as pl

Floats = NDArray[np.float64]

#: What venues append to a coin to name its price in dollars or a dollar stablecoin.
QUOTES = ("", "USD", "-USD", "USDT", "-USDT", "_USDT", "/USDT", "USDC", "-USDC", "_USDC", "/USDC")


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceHistory:
    """Daily closes of one symbol.

    Attributes
    ----------
    symbol : str
        As the file names it; empty where it has no such column.
    days : list of str
        ISO dates (UTC), rising.
    close : float64[D]
        Last price of each day, positive.
    volume : float64[D] or None
        Sum over each day, in the file's unit; None without that column.
    missing_days : int
        Days between first and last that have no price; a return across them counts as one day.
    """

    symbol: str
    days: list[str]
    close: Floats
    volume: Floats | None
    missing_days: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BidSide:
    """The bids of one order book, and its spread.

    Attributes
    ----------
    mid : float
        Middle of the best bid and ask.
    half_spread : float
        Half the spread as a share of the middle.
    price, size : float64[L]
        Bids, best first; sizes in coins.
    """

    mid: float
    half_spread: float
    price: Floats
    size: Floats

    @property
    def usd(self) -> float:
        """What all bids together would pay."""
        return float(self.price @ self.size)

    def sell_cost(self, usd: float) -> float | None:
        """Return what selling a value at once costs beyond the half-spread, as a share of it.

        Parameters
        ----------
        usd : float
            Value at the middle price, at least 0.

        Returns
        -------
        float or None
            None where the book does not hold the size.
        """
        coins = usd / self.mid
        if coins == 0.0:
            return 0.0
        filled = np.minimum(self.size, np.maximum(coins - np.cumsum(self.size) + self.size, 0.0))
        if float(filled.sum()) < coins * (1.0 - 1e-12):
            return None
        paid = float(filled @ self.price)
        return 1.0 - paid / (coins * self.mid) - self.half_spread


def bid_side(bids: ArrayLike, asks: ArrayLike) -> BidSide:
    """Return the bids of a book given as rows of (price, coins) in any order.

    Raises
    ------
    MarketDataError
        ``MKT-020`` when a side is empty, a figure is not positive, or the book is crossed.
    """
    b, a = (np.asarray(side, dtype=np.float64).reshape(-1, 2) for side in (bids, asks))
    if not (b.size and a.size):
        raise MarketDataError("an order book needs bids and asks", code="MKT-020", field="depth")
    if not all(bool((np.isfinite(x) & (x > 0)).all()) for x in (b, a)):
        raise MarketDataError(
            "a level of the order book is not a positive price and size",
            code="MKT-020",
            field="depth",
        )
    b = b[np.argsort(-b[:, 0], kind="stable")]
    best, ask = float(b[0, 0]), float(a[:, 0].min())
    if best >= ask:
        raise MarketDataError(
            f"the order book is crossed: bid {best:g}, ask {ask:g}", code="MKT-020", field="depth"
        )
    mid = 0.5 * (best + ask)
    return BidSide(
        mid=mid, half_spread=0.5 * (ask - best) / mid, price=b[:, 0].copy(), size=b[:, 1].copy()
    )


def read_price_history(path: str | Path, symbol: str | None = None) -> PriceHistory:
    """Read daily closes from a table with the columns ``date`` and ``close``.

    Columns ``symbol`` and ``volume`` are used where they are. Bars shorter than a day become the
    day's last close and summed volume.

    Parameters
    ----------
    path : str or Path
        Parquet, or CSV with a header; dates, times (UTC) or ISO-8601 text.
    symbol : str, optional
        A symbol of the file, or a coin of which the file has one symbol in dollars.

    Raises
    ------
    InputError
        ``INP-005`` unreadable file, ``INP-003`` missing or wrong column or symbol, ``INP-004`` a
        price that is no positive number, ``INP-007`` the same moment twice.
    """
    import polars as pl

    table = read_table(path)
    table, name = one_symbol(table, symbol)
    for column in ("date", "close"):
        if column not in table.columns:
            raise InputError(
                f"the table has no column {column!r}",
                code="INP-003",
                field=column,
                hint="it needs date and close",
            )
    moments = moments_of(table["date"])
    close = numbers_of(table, "close")
    bad = ~(np.isfinite(close) & (close > 0))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise InputError(
            f"the close of {moments[row]} is {close[row]:g}, not a positive price",
            code="INP-004",
            field=f"close[{row}]",
        )
    rows = pl.DataFrame({"t": moments, "close": close})
    if "volume" in table.columns:
        rows = rows.with_columns(pl.Series("volume", numbers_of(table, "volume")))
    rows = rows.sort("t")
    if rows["t"].is_duplicated().any():
        twice = rows["t"].filter(rows["t"].is_duplicated())[0]
        raise InputError(
            f"{twice} appears twice",
            code="INP-007",
            field="date",
            hint="name the symbol if the table has several",
        )
    keep = [pl.col("close").last()]
    if "volume" in rows.columns:
        keep.append(pl.col("volume").sum())
    daily = rows.group_by(pl.col("t").dt.date().alias("day"), maintain_order=True).agg(keep)
    spanned = (daily["day"][-1] - daily["day"][0]).days + 1 if daily.height else 0
    return PriceHistory(
        symbol=name,
        days=[day.isoformat() for day in daily["day"]],
        close=daily["close"].to_numpy().astype(np.float64),
        volume=daily["volume"].to_numpy().astype(np.float64) if "volume" in daily else None,
        missing_days=spanned - daily.height,
    )


def read_bid_side(path: str | Path, symbol: str | None = None) -> BidSide:
    """Read one order book from a table with the columns ``side`` (bid, ask), ``price``, ``size``.

    Sizes are coins. Where there is a column ``symbol`` with several, `symbol` chooses.

    Raises
    ------
    InputError
        As :func:`read_price_history`.
    MarketDataError
        ``MKT-020`` for a book that is none.
    """
    table, _ = one_symbol(read_table(path), symbol)
    for column in ("side", "price", "size"):
        if column not in table.columns:
            raise InputError(
                f"the order book has no column {column!r}",
                code="INP-003",
                field=column,
                hint="it needs side (bid, ask), price and size in coins",
            )
    levels = np.stack([numbers_of(table, "price"), numbers_of(table, "size")], axis=1)
    side = np.array([str(x).lower() for x in table["side"].to_list()])
    return bid_side(levels[side == "bid"], levels[side == "ask"])


def read_table(path: str | Path) -> pl.DataFrame:
    """Read Parquet, or CSV with a header.

    Raises
    ------
    InputError
        ``INP-005`` when there is no such file, or it is not a whole table.
    """
    import polars as pl

    place = Path(path)
    if not place.is_file():
        raise InputError(f"there is no file {str(path)!r}", code="INP-005", hint="check the path")
    try:
        if place.suffix == ".parquet":
            return pl.read_parquet(place)
        return pl.read_csv(place, try_parse_dates=False)
    except (OSError, pl.exceptions.PolarsError):
        raise InputError(
            f"{place.name!r} is not a whole table",
            code="INP-005",
            hint="give Parquet, or CSV with a header",
        ) from None


def one_symbol(table: pl.DataFrame, symbol: str | None) -> tuple[pl.DataFrame, str]:
    """Keep the rows of one symbol; a coin stands for its only symbol in dollars."""
    import polars as pl

    if "symbol" not in table.columns:
        return table, ""
    named = table["symbol"].cast(pl.String)
    known = named.drop_nulls().unique(maintain_order=True).to_list()
    if symbol is None:
        found = known
    else:
        found = [one for one in known if one == symbol]
        found = found or [one for one in known if one in {symbol + quote for quote in QUOTES}]
    if len(found) != 1:
        what = "no symbol" if symbol is None else f"no one symbol for {symbol!r}"
        shown = ", ".join((found or known)[:12])
        raise InputError(
            f"the table has {what if found or symbol else 'no rows'}: it has {shown}",
            code="INP-003",
            field="symbol",
            hint="name one symbol of the table",
        )
    return table.filter(named == found[0]), found[0]


def moments_of(column: pl.Series) -> pl.Series:
    """Return dates, UTC times or ISO-8601 text as moments in nanoseconds.

    Raises
    ------
    InputError
        ``INP-003`` for another type or a gap, ``INP-010`` for text that is no moment.
    """
    import polars as pl

    kind = column.dtype
    try:
        if kind == pl.Date:
            moments = column.cast(pl.Datetime("ns"))
        elif isinstance(kind, pl.Datetime):
            moments = column.dt.replace_time_zone(None).cast(pl.Datetime("ns"))
            if kind.time_zone not in (None, "UTC"):
                moments = (column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)).cast(
                    pl.Datetime("ns")
                )
        elif kind == pl.String:
            text = column.str.strip_chars().str.replace(r"(Z|\+00:00)$", "").str.replace("T", " ")
            whole = pl.when(text.str.len_chars() == 10).then(text + " 00:00:00").otherwise(text)
            moments = pl.select(whole.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="ns"))[:, 0]
        else:
            raise InputError(
                f"the column {column.name!r} holds {kind}",
                code="INP-003",
                field=column.name,
                hint="give dates, UTC times or ISO-8601 text",
            )
    except pl.exceptions.PolarsError:
        raise InputError(
            f"the column {column.name!r} has a text that is not an ISO-8601 date or UTC time",
            code="INP-010",
            field=column.name,
        ) from None
    if moments.null_count():
        raise InputError(f"a row has no {column.name}", code="INP-003", field=column.name)
    return moments.alias("t")


def numbers_of(table: pl.DataFrame, column: str) -> Floats:
    """Return a numeric column, NaN where it has no value; ``INP-003`` for another type."""
    import polars as pl

    kind = table[column].dtype
    if not kind.is_numeric() and table[column].null_count() == table.height:
        raise InputError(f"the column {column!r} has no figure", code="INP-003", field=column)
    if not kind.is_numeric():
        raise InputError(
            f"the column {column!r} holds {kind}, not numbers", code="INP-003", field=column,
            hint="write figures, and leave a cell empty where there is none",
        )  # fmt: skip
    return table[column].cast(pl.Float64).fill_null(np.nan).to_numpy().astype(np.float64)
