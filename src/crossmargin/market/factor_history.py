"""Price histories of many coins on one calendar: what a statistical margin model looks back on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.errors import InputError, MarketDataError

if TYPE_CHECKING:
    import polars as pl

Floats = NDArray[np.float64]
T = TypeVar("T")

#: A column of this ending is a volatility of the coin before it.
VOL_ENDING = ".vol"
#: Between a coin and what its contract is: ``BTC-PERP``, ``BTC-90D``.
OF = "-"


@dataclass(frozen=True, eq=False)
class FactorHistory:
    """Daily closes of several coins, and volatilities where they are known.

    Attributes
    ----------
    days : tuple of str
        ISO dates (UTC) of the closes, rising.
    coins : tuple of str
        Names of the columns of `price`, sorted.
    price : float64[T, A]
        US dollars per coin at the end of each day; NaN where there is none.
    vol_coins : tuple of str
        Names of the columns of `vol`, sorted.
    vol : float64[T, V]
        At-the-money volatility of thirty days, per year, as a decimal; NaN where there is none.
    source : str
        Where it came from, for people.
    contracts : tuple of str
        Names of the columns of `contract`, sorted: a coin, ``-`` and what the contract is.
    contract : float64[T, K]
        Prices of contracts on these coins, US dollars, taken at the same moments as those of the
        coins; freed from what funding paid, where that is known. NaN where there is none.
    """

    days: tuple[str, ...]
    coins: tuple[str, ...]
    price: Floats
    vol_coins: tuple[str, ...] = ()
    vol: Floats = field(default_factory=lambda: np.empty((0, 0)))
    source: str = ""
    contracts: tuple[str, ...] = ()
    contract: Floats = field(default_factory=lambda: np.empty((0, 0)))
    kept: dict[Any, Any] = field(default_factory=dict, repr=False)

    def once(self, key: Any, make: Callable[[], T]) -> T:
        """Return what `make` gave the first time; for what this history alone decides."""
        if key not in self.kept:
            self.kept[key] = make()
        value: T = self.kept[key]
        return value

    @cached_property
    def returns(self) -> Floats:
        """Log-returns of the coins, ``[T − 1, A]``; NaN where a day before or after is missing."""
        with np.errstate(invalid="ignore"):
            return np.diff(np.log(self.price), axis=0)

    @cached_property
    def vol_returns(self) -> Floats:
        """Log-changes of the volatilities, ``[T − 1, V]``."""
        if not self.vol_coins:
            return np.empty((max(len(self.days) - 1, 0), 0))
        with np.errstate(invalid="ignore"):
            return np.diff(np.log(self.vol), axis=0)

    @cached_property
    def basis_returns(self) -> Floats:
        """What contracts gain over their coins, ``[T − 1, K]``: ``Δ ln(contract / coin)``.

        Source: a difference of log-prices of one moment (house); clearing-practice names no
        treatment of basis.
        """
        if not self.contracts:
            return np.empty((max(len(self.days) - 1, 0), 0))
        place = {name: k for k, name in enumerate(self.coins)}
        of = [place[contract_coin(name)] for name in self.contracts]
        with np.errstate(invalid="ignore"):
            return np.diff(np.log(self.contract / self.price[:, of]), axis=0)

    def until(self, day: str) -> FactorHistory:
        """Return the days up to and including `day`."""
        end = int(np.searchsorted(np.array(self.days), day, side="right"))
        return FactorHistory(
            self.days[:end],
            self.coins,
            self.price[:end],
            self.vol_coins,
            self.vol[:end] if self.vol_coins else self.vol,
            self.source,
            self.contracts,
            self.contract[:end] if self.contracts else self.contract,
        )

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over days, names and figures."""
        digest = hashlib.sha256()
        digest.update(repr((self.days, self.coins, self.vol_coins)).encode())
        digest.update(np.ascontiguousarray(self.price).tobytes())
        digest.update(np.ascontiguousarray(self.vol).tobytes())
        if self.contracts:
            digest.update(repr(self.contracts).encode())
            digest.update(np.ascontiguousarray(self.contract).tobytes())
        return digest.hexdigest()


def contract_coin(name: str) -> str:
    """Return the coin that a contract's series is on: ``BTC`` of ``BTC-PERP``."""
    return name.partition(OF)[0]


def factor_history(
    days: Sequence[str],
    prices: Mapping[str, ArrayLike],
    vols: Mapping[str, ArrayLike] | None = None,
    *,
    source: str = "",
) -> FactorHistory:
    """Build a history from arrays.

    Parameters
    ----------
    days : sequence of str
        ISO dates, rising.
    prices : mapping of str to array_like [T]
        Daily closes in US dollars by coin, > 0; NaN (or None) where there is none. A name such as
        ``BTC-PERP`` beside ``BTC`` is the price of a contract at the same moments.
    vols : mapping of str to array_like [T], optional
        Thirty-day at-the-money volatilities by coin, decimals per year.
    source : str
        For people.

    Raises
    ------
    MarketDataError
        ``MKT-043`` when days are not rising dates, or a column does not fit or holds no price.
    """
    for before, after in zip(days, list(days)[1:]):
        if before >= after:
            raise _wrong(f"the days {before} and {after} of the history do not rise", "days")
    for day in days:
        try:
            date.fromisoformat(day)
        except ValueError:
            raise _wrong(f"{day!r} is not an ISO date", "days") from None
    contracts = sorted(c for c in prices if OF in c and contract_coin(c) in prices)
    coins, names = sorted(set(prices) - set(contracts)), sorted(vols or {})
    others = [_column(days, prices[c], f"prices.{c}") for c in contracts]
    columns = [_column(days, prices[c], f"prices.{c}") for c in coins]
    found = [_column(days, (vols or {})[c], f"vols.{c}") for c in names]
    size = len(days)
    return FactorHistory(
        tuple(days),
        tuple(coins),
        np.column_stack(columns) if columns else np.empty((size, 0)),
        tuple(names),
        np.column_stack(found) if found else np.empty((size, 0)),
        source,
        tuple(contracts),
        np.column_stack(others) if others else np.empty((size, 0)),
    )


def _wrong(what: str, where: str) -> MarketDataError:
    return MarketDataError(
        what,
        code="MKT-043",
        field=f"history.{where}",
        hint="a history has rising ISO dates and one positive figure or null a day",
    )


def _column(days: Sequence[str], values: ArrayLike, where: str) -> Floats:
    try:
        x = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise _wrong("a column of the history is not a list of numbers", where) from None
    if x.shape != (len(days),):
        raise _wrong(f"a column of the history has {x.size} figures for {len(days)} days", where)
    bad = np.flatnonzero(~(np.isnan(x) | (np.isfinite(x) & (x > 0))))
    if bad.size:
        day = int(bad[0])
        raise _wrong(f"the figure of {days[day]} is {x[day]:g}, not a positive number", where)
    return x


def join_histories(parts: Sequence[FactorHistory]) -> FactorHistory:
    """Put several histories on one calendar: all days of all; the first that has a coin gives it.

    Raises
    ------
    MarketDataError
        ``MKT-043`` without any history.
    """
    if not parts:
        raise _wrong("there is no history", "days")
    days = sorted({day for part in parts for day in part.days})
    place = {day: k for k, day in enumerate(days)}
    prices: dict[str, Floats] = {}
    vols: dict[str, Floats] = {}
    for part in parts:
        rows = [place[day] for day in part.days]
        for names, table, target in (
            (part.coins, part.price, prices),
            (part.contracts, part.contract, prices),
            (part.vol_coins, part.vol, vols),
        ):
            for column, name in enumerate(names):
                if name not in target:
                    target[name] = np.full(len(days), np.nan)
                    target[name][rows] = table[:, column]
    source = ", ".join(dict.fromkeys(part.source for part in parts if part.source))
    return factor_history(days, prices, vols, source=source)


def read_factor_history(*paths: str | Path) -> FactorHistory:
    """Read daily closes of coins from tables.

    Long: columns ``date``, ``symbol``, ``close`` (bars shorter than a day become the day's last
    close; a symbol in dollars stands for its coin). Wide: ``date`` and one column a coin; a column
    ``BTC.vol`` holds a volatility. A long table without ``symbol`` is named by its file. In both
    ``BTC-PERP`` is the price of a contract on BTC; a column ``funding`` of a long table is what its
    longs paid in the bar, as a share, and is taken off its gains.

    Parameters
    ----------
    paths : str or Path
        Parquet, or CSV with a header. Of a coin in several files the first counts.

    Raises
    ------
    InputError
        ``INP-003``, ``INP-005``, ``INP-010`` as :func:`~crossmargin.market.read_price_history`.
    MarketDataError
        ``MKT-043`` for figures that are no prices.
    """
    return join_histories([_read_one(path) for path in paths])


def _read_one(path: str | Path) -> FactorHistory:
    import polars as pl

    from crossmargin.market.history import moments_of, read_table

    table = read_table(path)
    if "date" not in table.columns:
        raise InputError(
            "the table has no column 'date'",
            code="INP-003",
            field="date",
            hint="it needs date, and close by symbol or one column a coin",
        )
    day = moments_of(table["date"]).dt.date().cast(pl.String)
    moment = moments_of(table["date"])
    name = Path(path).name
    if "close" in table.columns:
        symbol = (
            table["symbol"].cast(pl.String)
            if "symbol" in table.columns
            else pl.Series("symbol", [Path(path).stem] * table.height)
        )
        paid = table["funding"] if "funding" in table.columns else pl.Series([0.0] * table.height)
        if not paid.dtype.is_numeric():
            raise InputError(
                "the column 'funding' is not of numbers", code="INP-003", field="funding"
            )
        rows = pl.DataFrame(
            {
                "day": day,
                "t": moment,
                "symbol": symbol,
                "close": table["close"],
                "paid": paid.cast(pl.Float64).fill_null(0.0).fill_nan(0.0),
            }
        )
        return _long(rows.sort("t", maintain_order=True), name)
    found = table.drop("date").with_columns(day.alias("day"), moment.alias("t")).sort("t")
    return _wide(found, name)


def _long(rows: pl.DataFrame, name: str) -> FactorHistory:
    import polars as pl

    last = rows.group_by(["symbol", "day"], maintain_order=True).agg(
        pl.col("close").last(), pl.col("paid").sum()
    )
    days = sorted(set(last["day"].to_list()))
    place = {day: k for k, day in enumerate(days)}
    prices: dict[str, Floats] = {}
    for (symbol,), part in last.group_by(["symbol"], maintain_order=True):
        coin = _coin(str(symbol))
        if coin in prices:
            continue
        column = np.full(len(days), np.nan)
        at = [place[day] for day in part["day"].to_list()]
        column[at] = part["close"].cast(pl.Float64).fill_null(np.nan).to_numpy()
        if OF in coin:
            column[at] = without_funding(column[at], part["paid"].to_numpy())
        prices[coin] = column
    return factor_history(days, prices, source=name)


def without_funding(price: ArrayLike, paid: ArrayLike) -> Floats:
    """Return prices of a perpetual as if funding were paid out of them.

    ``P_t·exp(−Σ_{u ≤ t} f_u)``: what remains moves by what a long gains in all. Source: house.

    Parameters
    ----------
    price, paid : array_like [T]
        Price at the end of each day, and what longs paid over the day as a share of it.
    """
    so_far = np.cumsum(np.asarray(paid, dtype=np.float64))
    return np.asarray(np.asarray(price, dtype=np.float64) * np.exp(-so_far))


def _coin(symbol: str) -> str:
    from crossmargin.market.history import QUOTES

    for quote in sorted(QUOTES, key=len, reverse=True):
        if quote and symbol.endswith(quote) and len(symbol) > len(quote):
            return symbol[: -len(quote)]
    return symbol


def _wide(rows: pl.DataFrame, name: str) -> FactorHistory:
    import polars as pl

    last = rows.group_by("day", maintain_order=True).last().drop("t")
    prices: dict[str, Floats] = {}
    vols: dict[str, Floats] = {}
    for column in last.columns:
        if column == "day":
            continue
        kind = last[column].dtype
        if not kind.is_numeric():
            raise InputError(f"the column {column!r} holds {kind}", code="INP-003", field=column)
        values = last[column].cast(pl.Float64).fill_null(np.nan).to_numpy().astype(np.float64)
        if column.endswith(VOL_ENDING):
            vols[column.removesuffix(VOL_ENDING)] = values
        else:
            prices[column] = values
    return factor_history(last["day"].to_list(), prices, vols, source=name)
