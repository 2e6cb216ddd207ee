"""Coins and macro series on one clock.

Coins trade around the clock, shares and rates do not. A coin is sampled at the close of the macro
market, and returns run from one close to the next: over a weekend both have one return. Nothing is
filled forward, because a filled price has a return of nothing, and correlations with nothing are
too small.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.errors import PlanningError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: A day's observation, as days since 1970.
Days = NDArray[np.int64]
Change = Literal["log", "difference"]

_HOUR_NS = 3_600 * 10**9
#: Fewest common returns of which anything is said.
FEWEST = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class MacroSeries:
    """One macro series, a value a day.

    Attributes
    ----------
    name : str
    days : int64[n]
        Days since 1970 of its observations, rising.
    values : float64[n]
    change : {"log", "difference"}
        How its moves are measured: logarithms of prices, differences of rates.
    """

    name: str
    days: Days
    values: Floats
    change: Change = "log"


@dataclass(frozen=True, slots=True, kw_only=True)
class CoinSeries:
    """Prices of a coin.

    Attributes
    ----------
    name : str
    times_ns : int64[n]
        Moments of the prices (the end of a bar, where they are closes of bars), rising.
    prices : float64[n]
        US dollars.
    """

    name: str
    times_ns: Ints
    prices: Floats


def macro_series(
    name: str,
    days: ArrayLike,
    values: ArrayLike,
    *,
    change: Change = "log",
    drop_repeats: bool = False,
) -> MacroSeries:
    """Check a series.

    Parameters
    ----------
    name : str
    days : array_like
        Days since 1970.
    values : array_like
        NaN where there is none; those days are left out.
    change : {"log", "difference"}
    drop_repeats : bool
        Leave a day out that repeats the value before it exactly: sources that fill holidays in do
        that, and a share index hardly ever closes twice on one value.
    """
    when = np.asarray(days, dtype=np.float64)
    if not bool((when == np.floor(when)).all()):
        raise PlanningError(
            f"{name} has a day that is no whole number", code="PLN-001", field=name,
            hint="days are counted since 1970",
        )  # fmt: skip
    d, v = when.astype(np.int64), np.asarray(values, dtype=np.float64)
    if d.shape != v.shape or d.ndim != 1:
        raise PlanningError(
            f"{name} has {d.size} days and {v.size} values", code="PLN-001", field=name
        )
    order = np.argsort(d, kind="stable")
    d, v = d[order], v[order]
    keep = np.isfinite(v)
    d, v = d[keep], v[keep]
    if (np.diff(d) == 0).any() or d.size < 2 or (change == "log" and (v <= 0).any()):
        raise PlanningError(
            f"{name} has a day twice, fewer than two values, or a price that is not above 0",
            code="PLN-001",
            field=name,
            hint="measure rates by difference, and give one value a day",
        )
    if drop_repeats:
        fresh = np.concatenate([[True], np.diff(v) != 0])
        d, v = d[fresh], v[fresh]
    return MacroSeries(name=name, days=d, values=v, change=change)


def coin_series(name: str, times_ns: ArrayLike, prices: ArrayLike) -> CoinSeries:
    """Check the prices of a coin; those that are missing or not above 0 are refused."""
    t, p = np.asarray(times_ns, dtype=np.int64), np.asarray(prices, dtype=np.float64)
    if t.shape != p.shape or t.ndim != 1 or t.size < 2 or (np.diff(t) <= 0).any():
        raise PlanningError(
            f"{name} has {t.size} moments and {p.size} prices, or moments that do not rise",
            code="PLN-001",
            field=name,
        )
    if not (np.isfinite(p) & (p > 0)).all():
        at = int(np.argmin(np.isfinite(p) & (p > 0)))
        raise PlanningError(
            f"{name} has a price of {p[at]:g} at place {at}", code="PLN-001", field=name,
            hint="leave missing prices out: nothing is filled in",
        )  # fmt: skip
    return CoinSeries(name=name, times_ns=t, prices=p)


def closing_times_ns(days: Days, *, close: str = "16:00", zone: str = "America/New_York") -> Ints:
    """Return the moments at which a market closes on given days, summer time included.

    Parameters
    ----------
    days : int64[n]
        Days since 1970.
    close : str
        Local time, ``HH:MM``.
    zone : str
        IANA name of the time zone.

    Raises
    ------
    PlanningError
        ``PLN-003`` for a time or a zone that is none.
    """
    try:
        hour, minute = (int(x) for x in close.split(":"))
        datetime.time(hour, minute)
    except ValueError:
        raise PlanningError(
            f"{close!r} is no time of day", code="PLN-003", field="close", hint="write 16:00"
        ) from None
    try:
        where = ZoneInfo(zone)
    except (ValueError, OSError, KeyError):
        raise PlanningError(
            f"there is no time zone {zone!r}", code="PLN-003", field="zone",
            hint="write an IANA name such as America/New_York",
        ) from None  # fmt: skip
    epoch = datetime.date(1970, 1, 1)
    found = []
    for day in days.tolist():
        date = epoch + datetime.timedelta(days=day)
        moment = datetime.datetime(date.year, date.month, date.day, hour, minute, tzinfo=where)
        found.append(int(moment.timestamp()) * 10**9)
    return np.array(found, dtype=np.int64)


def sample(coin: CoinSeries, moments_ns: Ints, *, stalest_hours: float = 2.0) -> Floats:
    """Return the last price at or before each moment; NaN where it is older than allowed."""
    place = np.searchsorted(coin.times_ns, moments_ns, side="right") - 1
    known = place >= 0
    age = moments_ns - coin.times_ns[np.maximum(place, 0)]
    known &= age <= stalest_hours * _HOUR_NS
    return np.where(known, coin.prices[np.maximum(place, 0)], np.nan)


@dataclass(frozen=True, slots=True, kw_only=True)
class Aligned:
    """Returns of coins and macro series from close to close.

    Attributes
    ----------
    days : int64[n]
        Day of the close at the end of each return.
    coins, macro : tuple of str
        Names, coins first in the columns.
    returns : float64[n, K]
        Logarithms or differences; complete rows only.
    span_days : int64[n]
        Calendar days that each return covers: 1, 3 over a weekend.
    """

    days: Days
    coins: tuple[str, ...]
    macro: tuple[str, ...]
    returns: Floats
    span_days: Ints

    @property
    def names(self) -> tuple[str, ...]:
        """All columns."""
        return (*self.coins, *self.macro)

    def column(self, name: str) -> Floats:
        """Return the returns of one series.

        Raises
        ------
        PlanningError
            ``PLN-001`` for a name that is not there.
        """
        if name not in self.names:
            raise PlanningError(
                f"there is no series {name!r}", code="PLN-001", field="series",
                hint=f"one of {', '.join(self.names)}",
            )  # fmt: skip
        return np.asarray(self.returns[:, self.names.index(name)])


def align(
    coins: Sequence[CoinSeries],
    macro: Sequence[MacroSeries],
    *,
    close: str = "16:00",
    zone: str = "America/New_York",
    first_day: int | None = None,
    last_day: int | None = None,
) -> Aligned:
    """Bring coins and macro series to one clock.

    Days on which every series has a value; a coin's value is its price at the close of the macro
    market. Returns run from one such day to the next. A gap of more than ten days is no return.

    Raises
    ------
    PlanningError
        ``PLN-001`` fewer than 60 common returns.
    """
    if not coins or not macro:
        raise PlanningError(
            "a comparison needs a coin and a macro series", code="PLN-001", field="series"
        )
    common = macro[0].days
    for one in macro[1:]:
        common = np.intersect1d(common, one.days)
    if first_day is not None:
        common = common[common >= first_day]
    if last_day is not None:
        common = common[common <= last_day]
    moments = closing_times_ns(common, close=close, zone=zone)
    prices = np.array([sample(coin, moments) for coin in coins]).reshape(len(coins), -1)
    there = np.isfinite(prices).all(axis=0)
    days, prices = common[there], prices[:, there]
    values = [one.values[np.searchsorted(one.days, days)] for one in macro]
    columns = [np.diff(np.log(p)) for p in prices]
    columns += [
        np.diff(np.log(v)) if one.change == "log" else np.diff(v) for one, v in zip(macro, values)
    ]
    span = np.diff(days)
    whole = span <= 10
    table = np.column_stack(columns)[whole] if days.size > 1 else np.empty((0, len(columns)))
    if len(table) < FEWEST:
        raise PlanningError(
            f"the series have {len(table)} returns in common, fewer than {FEWEST}",
            code="PLN-001",
            field="series",
            hint="choose series and dates that overlap",
        )
    return Aligned(
        days=days[1:][whole],
        coins=tuple(c.name for c in coins),
        macro=tuple(m.name for m in macro),
        returns=table,
        span_days=span[whole],
    )
