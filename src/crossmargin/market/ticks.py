"""Recorded prices of several coins as ticks: who moved when, and to what."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from crossmargin.errors import InputError
from crossmargin.market.history import QUOTES, moments_of, numbers_of, read_table
from crossmargin.market.index import LEAST_PRICE, MOST_PRICE
from crossmargin.units import NS_PER_SECOND, format_time

if TYPE_CHECKING:
    import polars as pl

Floats = NDArray[np.float64]

#: Columns in which a time, a name and a price are looked for, the first that is there. A price
#: in one of the last two is that of a bar, which is known when the bar ends.
_TIMES = ("time", "date", "timestamp")
_NAMES = ("asset", "symbol")
_PRICES = ("price", "mark_close", "close")
_BAR_PRICES = ("mark_close", "close")

#: Seconds of a bar by the unit that ends its name: ``15m``.
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}

#: What venues append to a perpetual's name.
_SUFFIXES = ("-PERPETUAL", "-PERP", ":USDT", ":USDC", ":USD")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticks:
    """Moments at which prices were recorded, in order of time.

    Attributes
    ----------
    coins : tuple of str
        Whose prices they are.
    paid_in : tuple of str
        What each price is in: ``USD``, or the stablecoin that its symbol names.
    time_ns : int64[T]
        Rising; of a bar, its end.
    price : float64[T, N]
        Of each coin; NaN where it has no new price at that moment.
    """

    coins: tuple[str, ...]
    paid_in: tuple[str, ...]
    time_ns: NDArray[np.int64]
    price: Floats

    def __len__(self) -> int:
        return int(self.time_ns.size)

    def __iter__(self) -> Iterator[tuple[int, dict[str, float]]]:
        """Yield the moment and the new prices, by coin, in the coin's own quote."""
        for moment, row in zip(self.time_ns, self.price, strict=True):
            known = np.flatnonzero(np.isfinite(row))
            yield int(moment), {self.coins[k]: float(row[k]) for k in known}

    def only(self, coins: set[str]) -> Ticks:
        """Return the ticks of some coins; moments at which none of them has a price are gone."""
        keep = [k for k, name in enumerate(self.coins) if name in coins]
        price = self.price[:, keep]
        seen = np.isfinite(price).any(axis=1)
        return Ticks(
            coins=tuple(self.coins[k] for k in keep),
            paid_in=tuple(self.paid_in[k] for k in keep),
            time_ns=self.time_ns[seen],
            price=price[seen],
        )


def read_ticks(
    path: str | Path, *, since_ns: int | None = None, until_ns: int | None = None
) -> Ticks:
    """Read recorded prices from a table (Parquet, or CSV with a header).

    Parameters
    ----------
    path : str or Path
        With a time (``time``, ``date`` or ``timestamp``), a name (``asset``: a coin, priced in US
        dollars; or ``symbol``: ``BTCUSDT``, ``BTC-PERPETUAL``) and a price (``price``, or
        ``mark_close`` or ``close`` of a bar). A bar's time is its opening; it becomes a tick when
        it ends. Its length is in a column ``interval`` (``15m``), else the smallest step of its
        symbol. Where bars of several lengths end at one moment, the shortest counts.
    since_ns, until_ns : int, optional
        Keep the ticks from the first moment to the second, both included.

    Raises
    ------
    InputError
        ``INP-005`` unreadable file, ``INP-003`` a missing or wrong column, ``INP-004`` a price
        that cannot be (above 0, at most 10¹⁵), ``INP-007`` two prices of a coin at one moment,
        ``INP-011`` no tick in the time asked for.
    """
    import polars as pl

    table = read_table(path)
    when, name, value = (_column(table, names) for names in (_TIMES, _NAMES, _PRICES))
    moments = moments_of(table[when]).dt.timestamp("ns")
    named = table[name].cast(pl.String)
    if named.null_count():
        raise InputError(f"a row has no {name}", code="INP-003", field=name)
    price = numbers_of(table, value)
    bad = np.flatnonzero(~((price >= LEAST_PRICE) & (price <= MOST_PRICE)))
    if bad.size:
        row = int(bad[0])
        raise InputError(
            f"the {value} of {named[row]} at {format_time(moments[row])} is {price[row]:g}, not a "
            "possible price",
            code="INP-004",
            field=f"{value}[{row}]",
        )
    rows = pl.DataFrame({"t": moments, "name": named, "price": price})
    bars = (
        _bars(table, rows) if value in _BAR_PRICES else pl.Series([0]).new_from_index(0, len(rows))
    )
    rows = rows.with_columns(bar=bars, t=pl.col("t") + bars)
    if since_ns is not None:
        rows = rows.filter(pl.col("t") >= since_ns)
    if until_ns is not None:
        rows = rows.filter(pl.col("t") <= until_ns)
    if rows.is_empty():
        raise InputError(
            "the recording has no price in the time asked for",
            code="INP-011",
            field="time",
            hint=_span(pl.Series(moments)),
        )
    return _arranged(rows, dollars=name == "asset")


def coin_of(symbol: str) -> tuple[str, str]:
    """Return the coin that a symbol names, and what its price is in: ``BTCUSDT`` is BTC in USDT."""
    bare = symbol.upper()
    for suffix in _SUFFIXES:
        bare = bare.removesuffix(suffix)
    for quote in sorted(QUOTES, key=len, reverse=True):
        if quote and bare.endswith(quote) and len(bare) > len(quote):
            return bare.removesuffix(quote), quote.lstrip("-_/")
    return bare, "USD"


def _column(table: pl.DataFrame, names: tuple[str, ...]) -> str:
    for name in names:
        if name in table.columns:
            return name
    raise InputError(
        f"the recording has no column {names[0]!r}",
        code="INP-003",
        field=names[0],
        hint=f"it needs one of {', '.join(names)}; it has {', '.join(table.columns[:12])}",
    )


def _bars(table: pl.DataFrame, rows: pl.DataFrame) -> pl.Series:
    """Return the length of every row's bar, ns."""
    import polars as pl

    if "interval" in table.columns:
        texts = table["interval"].cast(pl.String)
        lengths = {text: _length(text) for text in texts.unique()}
        return texts.replace_strict(lengths, return_dtype=pl.Int64)
    steps = (
        rows.sort("name", "t")
        .with_columns(step=pl.col("t").diff().over("name"))
        .filter(pl.col("step") > 0)
        .group_by("name")
        .agg(pl.col("step").min())
    )
    known = dict(zip(steps["name"], steps["step"], strict=True))
    return rows["name"].replace_strict(known, default=0, return_dtype=pl.Int64)


def _length(text: str | None) -> int:
    found = re.fullmatch(r"(\d{1,4})([smhd])", text or "")
    if found is None:
        raise InputError(
            f"{text!r} is no length of a bar",
            code="INP-003",
            field="interval",
            hint="write 1m, 15m, 1h or 1d",
        )
    return int(found[1]) * _UNITS[found[2]] * NS_PER_SECOND


def _span(moments: pl.Series) -> str:
    if moments.is_empty():
        return "the table is empty"
    first, last = (format_time(int(x)) for x in (moments.min(), moments.max()))  # type: ignore[arg-type]
    return f"it goes from {first} to {last}"


def _arranged(rows: pl.DataFrame, *, dollars: bool) -> Ticks:
    """Bring rows of (t, name, price, bar) into one row a moment and one column a coin."""
    import polars as pl

    names = sorted(rows["name"].unique())
    meaning = {one: (one, "USD") if dollars else coin_of(one) for one in names}
    for one, (coin, _) in meaning.items():
        other = next(k for k, v in meaning.items() if v[0] == coin)
        if other != one:
            raise InputError(
                f"{other} and {one} are both prices of {coin}",
                code="INP-007",
                field="symbol",
                hint="keep the rows of one of them",
            )
    rows = rows.with_columns(
        coin=rows["name"].replace_strict({k: v[0] for k, v in meaning.items()})
    ).sort("t", "coin", "bar")
    twice = rows.filter(pl.struct("t", "coin", "bar").is_duplicated())
    if not twice.is_empty():
        raise InputError(
            f"{twice['name'][0]} has two prices at {format_time(twice['t'][0])}",
            code="INP-007",
            field="time",
            hint="keep one price a coin and moment",
        )
    rows = rows.unique(("t", "coin"), keep="first", maintain_order=True)
    coins = tuple(dict.fromkeys(coin for coin, _ in meaning.values()))
    place = {coin: k for k, coin in enumerate(coins)}
    paid = dict(meaning.values())
    times, row = np.unique(rows["t"].to_numpy(), return_inverse=True)
    price = np.full((times.size, len(coins)), np.nan)
    column = rows["coin"].replace_strict(place, return_dtype=pl.Int64).to_numpy()
    price[row, column] = rows["price"].to_numpy()
    return Ticks(
        coins=coins,
        paid_in=tuple(paid[coin] for coin in coins),
        time_ns=times.astype(np.int64),
        price=price,
    )
