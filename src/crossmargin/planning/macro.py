"""Coins and macro series: on one clock, moving correlations, and what a macro move implies.

Coins trade around the clock, shares and rates do not. A coin is sampled at the close of the macro
market, and returns run from one close to the next: over a weekend both have one return. Nothing is
filled forward, because a filled price has a return of nothing, and correlations with nothing are
too small.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.errors import PlanningError
from crossmargin.planning._checks import finite, within
from crossmargin.stats import (
    conditional_moves,
    ewma_correlation,
    ewma_covariance,
    exceedance_correlation,
    forbes_rigobon,
    nearest_correlation,
    rolling_correlation,
)

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


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrelationLine:
    """How a coin moves with a macro series.

    Attributes
    ----------
    coin, series : str
    count : int
        Returns.
    full : float
        Pearson over all of them; `error` is its standard error, Fisher's.
    error : float
    now : float
        Moving average at the end.
    year_low, year_high : float
        Ends of the rolling year's correlation.
    beta : float
        Coin's move for a unit of the series, from the moving covariance at the end.
    residual : float
        Standard deviation of the coin's return that is left, at the end.
    calm, stressed : float
        Where the regime series (its own size of move without one) is below and above its
        quantile.
    adjusted : float
        `stressed` freed from the rise of the series' variance alone (Forbes–Rigobon).
    fall, rise : float
        Of the days on which both are in their lowest, and highest, tenth; NaN with too few.
    """

    coin: str
    series: str
    count: int
    full: float
    error: float
    now: float
    year_low: float
    year_high: float
    beta: float
    residual: float
    calm: float
    stressed: float
    adjusted: float
    fall: float
    rise: float


def correlation_line(
    aligned: Aligned,
    coin: str,
    series: str,
    *,
    decay: float = 0.97,
    regime: Floats | None = None,
    quantile: float = 0.9,
    year: int = 252,
) -> CorrelationLine:
    """Sum up how a coin moves with a series.

    Parameters
    ----------
    aligned : Aligned
    coin, series : str
        Two columns.
    decay : float
        λ of the moving averages.
    regime : float64[n], optional
        A level for each return (volatility index before it, say) that says how stressed the time
        was; without it the size of the series' own move.
    quantile : float
        What is above it is stressed.
    year : int
        Returns of the rolling window.

    Raises
    ------
    PlanningError
        ``PLN-003`` for a decay or quantile out of range.
    """
    within(0.5, 0.9999, decay=decay)
    within(0.5, 0.99, quantile=quantile)
    x, y = aligned.column(coin), aligned.column(series)
    cov = ewma_covariance(np.column_stack([x, y]), decay)[-1]
    beta = float(cov[0, 1] / cov[1, 1]) if cov[1, 1] > 0 else 0.0
    level = np.abs(y) if regime is None else np.asarray(regime, dtype=np.float64)
    if level.shape != y.shape:
        raise PlanningError(
            f"{level.size} levels of the regime and {y.size} returns", code="PLN-001",
            field="regime",
        )  # fmt: skip
    hot = level > np.quantile(level, quantile)
    calm, stressed = _pearson(x[~hot], y[~hot]), _pearson(x[hot], y[hot])
    risen = float(y[hot].var() / y[~hot].var()) - 1.0 if y[~hot].var() > 0 else math.nan
    rolled = rolling_correlation(x, y, min(year, x.size))
    rolled = rolled[np.isfinite(rolled)]
    full = _pearson(x, y)
    return CorrelationLine(
        coin=coin,
        series=series,
        count=x.size,
        full=full,
        error=(1.0 - full * full) / math.sqrt(x.size - 3),
        now=float(ewma_correlation(x, y, decay)[-1]),
        year_low=float(rolled.min()) if rolled.size else math.nan,
        year_high=float(rolled.max()) if rolled.size else math.nan,
        beta=beta,
        residual=math.sqrt(max(float(cov[0, 0] - beta * cov[0, 1]), 0.0)),
        calm=calm,
        stressed=stressed,
        adjusted=forbes_rigobon(stressed, risen) if math.isfinite(stressed + risen) else math.nan,
        fall=exceedance_correlation(x, y, 0.1),
        rise=exceedance_correlation(x, y, 0.9),
    )


def _pearson(x: Floats, y: Floats) -> float:
    if x.size < 3 or x.std() == 0 or y.std() == 0:
        return math.nan
    return float(np.corrcoef(x, y)[0, 1])


@dataclass(frozen=True, slots=True, kw_only=True)
class MacroStress:
    """What coins are expected to do when macro series have moved.

    Attributes
    ----------
    given : dict of str to float
        Moves, as the series measure them.
    moves : dict of str to float
        Expected log-move of each coin.
    residual : dict of str to float
        Standard deviation around it.
    correlation : float64[K, K]
        Used, in the order of ``names``.
    names : tuple of str
    pushed : bool
        Whether correlations were pushed towards stress.
    """

    given: dict[str, float]
    moves: dict[str, float]
    residual: dict[str, float]
    correlation: Floats
    names: tuple[str, ...]
    pushed: bool


def macro_stress(
    aligned: Aligned,
    moves: Mapping[str, float],
    *,
    decay: float = 0.97,
    push: float = 0.0,
) -> MacroStress:
    """Work out what macro moves imply for the coins, from moving covariances at the end.

    Parameters
    ----------
    aligned : Aligned
    moves : mapping of str to float
        A move of each series that is known: a logarithm, or a difference of a rate.
    decay : float
        λ.
    push : float
        0: correlations as they are; 1: every coin fully with the series, in the sense in which the
        two move together. Between them the matrix is repaired to the nearest correlation matrix.
        Macro hedges are believed too easily: for margin push a hedge towards 0 elsewhere, and a
        loss towards 1 here (clearing-practice §4.2).

    Raises
    ------
    PlanningError
        ``PLN-001`` for a series that is not there.
    """
    within(0.0, 1.0, push=push)
    within(0.5, 0.9999, decay=decay)
    if not moves:
        raise PlanningError("no move is given", code="PLN-001", field="moves")
    finite(**moves)
    for name in moves:
        if name not in aligned.macro:
            raise PlanningError(
                f"there is no macro series {name!r}", code="PLN-001", field="moves",
                hint=f"one of {', '.join(aligned.macro)}",
            )  # fmt: skip
    cov = ewma_covariance(aligned.returns, decay)[-1]
    sigma = np.sqrt(np.diag(cov))
    if (sigma <= 0).any():
        raise PlanningError("a series has not moved at all", code="PLN-001", field="series")
    corr = cov / np.outer(sigma, sigma)
    if push:
        k = len(aligned.coins)
        goal = corr.copy()
        goal[:k, :k] = 1.0
        goal[:k, k:] = np.sign(corr[:k, k:])
        goal[k:, :k] = goal[:k, k:].T
        corr = nearest_correlation((1.0 - push) * corr + push * goal)
    used = corr * np.outer(sigma, sigma)
    at = [aligned.names.index(name) for name in moves]
    expected, left = conditional_moves(used, at, list(moves.values()))
    rest = [name for name in aligned.names if name not in moves]
    deviation = np.sqrt(np.maximum(np.diag(left), 0.0))
    by = {name: (float(m), float(s)) for name, m, s in zip(rest, expected, deviation)}
    return MacroStress(
        given=dict(moves),
        moves={coin: by[coin][0] for coin in aligned.coins},
        residual={coin: by[coin][1] for coin in aligned.coins},
        correlation=corr,
        names=aligned.names,
        pushed=push > 0,
    )
