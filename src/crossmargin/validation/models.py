"""Margin models as functions of what a book lost so far: the benchmarks of the league.

A model sees, on each day, the losses that the same static book would have made until then. These
three are deliberately plain; the house model and the rule-sets are tried against them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from crossmargin.errors import InputError
from crossmargin.stats import (
    ewma_volatility,
    expected_shortfall,
    normal_expected_shortfall,
    normal_quantile,
    value_at_risk,
)
from crossmargin.validation._result import Floats, check_level

#: Rows of windows that are sorted at once, to bound memory.
_ROWS = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What a model holds on each day, known at its close.

    Attributes
    ----------
    margin : float64[D]
        What is held against the loss, US dollars; NaN before the model can speak.
    var, es : float64[D] or None
        Value at risk and expected shortfall that the model states; None where it states none.
    explained : float64[D] or None
        Profit over the horizon that the model's own factors and revaluation give the book.
    """

    margin: Floats
    var: Floats | None = None
    es: Floats | None = None
    explained: Floats | None = None


class LossModel(Protocol):
    """A model that needs only the losses of the book itself."""

    @property
    def name(self) -> str:
        """Short name for tables."""
        ...

    @property
    def title(self) -> str:
        """One line that says what it is."""
        ...

    def forecast(self, daily: Floats, over_horizon: Floats, horizon: int) -> Forecast:
        """Return the margin by day.

        Parameters
        ----------
        daily : float64[D]
            Loss of the book over the day after each day, USD.
        over_horizon : float64[D]
            Loss over the horizon after each day, USD.
        horizon : int
            Days. A loss counts as known once its last day is over.
        """
        ...


def known_losses(losses: Floats, horizon: int) -> Floats:
    """Return the losses by the day on which they are known: those of day t − horizon on day t."""
    out = np.full(losses.size, np.nan)
    if losses.size > horizon:
        out[horizon:] = losses[:-horizon]
    return out


@dataclass(frozen=True, slots=True, kw_only=True)
class NormalVar:
    """Normal value at risk with a moving volatility: ``z(level)·σ_t·√h``, mean 0.

    Source: RiskMetrics (1996), clearing-practice §1.6 (published). It is the model that a
    back-test ought to reject on crypto tails.
    """

    level: float = 0.99
    decay: float = 0.97
    name: str = "ewma-normal-var"

    @property
    def title(self) -> str:
        """One line that says what it is."""
        return f"normal VaR at {100 * self.level:g} %, EWMA volatility λ = {self.decay:g}"

    def forecast(self, daily: Floats, over_horizon: Floats, horizon: int) -> Forecast:
        """Return the margin by day."""
        check_level(self.level)
        sigma = _volatility(daily, self.decay) * math.sqrt(horizon)
        var = normal_quantile(self.level) * sigma
        return Forecast(margin=var, var=var, es=normal_expected_shortfall(self.level) * sigma)


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoricalEs:
    """Expected shortfall of the last `window` known losses, all alike.

    Estimator: Acerbi and Tasche, as in :func:`crossmargin.stats.expected_shortfall`. Losses of
    horizons above a day overlap in the estimate (not in the test).
    """

    level: float = 0.99
    window: int = 1000
    shortest: int = 200
    name: str = "historical-es"

    @property
    def title(self) -> str:
        """One line that says what it is."""
        return f"historical ES at {100 * self.level:g} % over {self.window} days"

    def forecast(self, daily: Floats, over_horizon: Floats, horizon: int) -> Forecast:
        """Return the margin by day."""
        known = known_losses(over_horizon, horizon)
        var, es = rolling_tail(known, self.level, self.window, self.shortest)
        return Forecast(margin=es, var=var, es=es)


@dataclass(frozen=True, slots=True, kw_only=True)
class FilteredEs:
    """Expected shortfall of past losses freed from their volatility and put at today's.

    ``z_s = L_s/σ_s``, ``M_t = σ_t·ES(z)``: Hull and White (1998), clearing-practice §1.6
    (published), on the losses of the book as a whole.
    """

    level: float = 0.99
    window: int = 1000
    decay: float = 0.97
    shortest: int = 200
    name: str = "filtered-es"

    @property
    def title(self) -> str:
        """One line that says what it is."""
        return f"filtered ES at {100 * self.level:g} % over {self.window} days, λ = {self.decay:g}"

    def forecast(self, daily: Floats, over_horizon: Floats, horizon: int) -> Forecast:
        """Return the margin by day."""
        sigma = _volatility(daily, self.decay)
        with np.errstate(invalid="ignore", divide="ignore"):
            freed = np.where(sigma > 0, over_horizon / sigma, np.nan)
        var, es = rolling_tail(known_losses(freed, horizon), self.level, self.window, self.shortest)
        return Forecast(margin=es * sigma, var=var * sigma, es=es * sigma)


@dataclass(frozen=True, slots=True, kw_only=True)
class StressWeighted:
    """Another model with a quarter of its weight on the worst margin seen so far.

    As :func:`crossmargin.validation.tool_paths` does it; a model of its own, so that the league
    shows what the tool is worth.
    """

    inner: LossModel = field(default_factory=FilteredEs)
    weight: float = 0.25

    @property
    def name(self) -> str:
        """Short name for tables."""
        return f"{self.inner.name}+stress"

    @property
    def title(self) -> str:
        """One line that says what it is."""
        return f"{self.inner.title}; {100 * self.weight:g} % weight on its worst so far"

    def forecast(self, daily: Floats, over_horizon: Floats, horizon: int) -> Forecast:
        """Return the margin by day."""
        made = self.inner.forecast(daily, over_horizon, horizon)

        def mixed(path: Floats | None) -> Floats | None:
            if path is None:
                return None
            worst = np.fmax.accumulate(path)
            return (1.0 - self.weight) * path + self.weight * worst

        margin = mixed(made.margin)
        assert margin is not None
        return Forecast(margin=margin, var=mixed(made.var), es=mixed(made.es))


def challengers(level: float = 0.99) -> list[LossModel]:
    """Return the benchmarks of the league."""
    return [
        NormalVar(level=level),
        HistoricalEs(level=level),
        FilteredEs(level=level),
        StressWeighted(inner=FilteredEs(level=level)),
    ]


def _volatility(daily: Floats, decay: float) -> Floats:
    """Return the volatility known at each close; NaN until thirty losses are known."""
    out = np.full(daily.size, np.nan)
    finite = np.isfinite(daily)
    if not finite.any():
        return out
    first = int(np.argmax(finite))
    last = daily.size - int(np.argmax(finite[::-1]))
    # A missing day inside moves nothing: it says neither calm nor storm.
    run = np.nan_to_num(daily[first:last], nan=0.0)
    sigma = ewma_volatility(run, decay)
    # σ[k] is known before the k-th loss, which is that of the day after close first + k.
    end = min(first + sigma.size, daily.size)
    out[first:end] = sigma[: end - first]
    out[first : first + 30] = np.nan
    return out


def rolling_tail(known: Floats, level: float, window: int, shortest: int) -> tuple[Floats, Floats]:
    """Return value at risk and expected shortfall of the last losses known on each day.

    Parameters
    ----------
    known : float64[D]
        Losses by the day on which they are known; NaN where none.
    level : float
        Confidence.
    window : int
        Most losses used.
    shortest : int
        Fewest; below it the result is NaN.

    Notes
    -----
    Both use the estimators of :mod:`crossmargin.stats`; whole windows are sorted many at a time,
    with the same result (a test holds it).
    """
    check_level(level)
    if not 2 <= shortest <= window:
        raise InputError(
            f"a window of {window} losses, at least {shortest}",
            code="INP-004",
            field="window",
            hint="give at least 2 losses and a window no shorter",
        )
    var, es = np.full(known.size, np.nan), np.full(known.size, np.nan)
    days = np.flatnonzero(np.isfinite(known))
    values = known[days]
    for k in range(shortest - 1, min(window - 1, values.size)):
        part = values[: k + 1]
        var[days[k]], es[days[k]] = value_at_risk(part, level), expected_shortfall(part, level)
    if values.size >= window:
        _whole_windows(values, days, level, window, var, es)
    return _carried(var, days), _carried(es, days)


def _whole_windows(
    values: Floats,
    days: np.ndarray[tuple[int], np.dtype[np.intp]],
    level: float,
    window: int,
    var: Floats,
    es: Floats,
) -> None:
    m = window * (1.0 - level)
    whole = min(math.floor(m + 1e-9), window)
    part = max(m - whole, 0.0)
    keep = min(whole + 1, window)
    rows = sliding_window_view(values, window)
    for first in range(0, rows.shape[0], _ROWS):
        some = rows[first : first + _ROWS]
        top = np.sort(np.partition(some, window - keep, axis=1)[:, window - keep :], axis=1)
        top = top[:, ::-1]
        at = days[window - 1 + first : window - 1 + first + some.shape[0]]
        total = top[:, :whole].sum(axis=1)
        if part > 0.0 and whole < window:
            total = total + part * top[:, whole]
        es[at] = total / m
        var[at] = top[:, min(whole, keep - 1)]


def _carried(values: Floats, days: np.ndarray[tuple[int], np.dtype[np.intp]]) -> Floats:
    """Carry a figure over days on which no loss became known, up to the end."""
    if not days.size:
        return values
    at = np.maximum.accumulate(np.where(np.isfinite(values), np.arange(values.size), -1))
    return np.where(at >= 0, values[np.maximum(at, 0)], np.nan)
