"""How coins move with macro series, and what a macro move implies for them.

Of returns on one clock (crossmargin.planning.macro). Correlations are moving averages, freed from
the rise of variance alone where a stressed time is compared with a calm one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossmargin.errors import PlanningError
from crossmargin.planning._checks import finite, within
from crossmargin.planning.macro import Aligned
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
