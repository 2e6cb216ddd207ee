"""In which regime are a coin and a macro series: states that switch, correlation that moves.

A moving average forgets at one speed whatever happens. Two models say more: Engle's dynamic
correlation, whose speed is fitted, and a chain of two states between which the correlation
switches (Hamilton 1989), which dates the change.

A switching regression of raw returns (statsmodels' ``MarkovRegression``, which clearing-practice
§4.2 names) finds states of volatility here, some days long, because tails are heavy. So returns
are freed of their moving volatility first and taken by rank, and the states can differ in nothing
but the correlation (house). statsmodels' filter is the tests' oracle.

Source: requirements row A16 (regime detection); clearing-practice §4.2 (DCC, regimes).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossmargin.errors import PlanningError
from crossmargin.planning._checks import within
from crossmargin.planning.macro import Aligned
from crossmargin.stats import dcc, ewma_volatilities

Floats = NDArray[np.float64]

#: Fewest returns of which two states are asked.
FEWEST = 250
#: Correlations of both states, from which the search begins.
_STARTS = ((0.0, 0.5), (-0.3, 0.3), (0.3, 0.8))
#: Chance to stay at the start of the search, and bounds of what is searched (logit, atanh).
_STAY, _LOGIT, _ATANH = 0.98, (0.0, 9.0), 2.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Regimes:
    """Two states of a pair, the one with the smaller correlation first.

    Attributes
    ----------
    coin, series : str
    correlation : tuple of (float, float)
        Of the normal scores, in either state.
    share : tuple of (float, float)
        Of the time, by probability.
    spell : tuple of (float, float)
        Periods that each lasts on average, ``1/(1 − p_ii)``.
    stay : tuple of (float, float)
        Chance to stay for another period.
    now : float
        Probability of the second at the end.
    probability : float64[n]
        Of the second in each period, seen from the end of the sample (smoothed); NaN while
        volatility is not known.
    gain : float
        Rise of the log-likelihood over one correlation for all; three parameters more. Below
        about 4 there is little to speak of two states for (a rule of thumb: the law of this ratio
        is not χ², since the chain means nothing where the states are alike).
    """

    coin: str
    series: str
    correlation: tuple[float, float]
    share: tuple[float, float]
    spell: tuple[float, float]
    stay: tuple[float, float]
    now: float
    probability: Floats
    gain: float


def regimes(
    aligned: Aligned, coin: str, series: str, *, decay: float = 0.97, warm_up: int = 30
) -> Regimes:
    """Fit two states of correlation to a pair.

    The likelihood is Hamilton's filter over bivariate normal scores with correlation ρ_s; the chain
    begins in its stationary law. Four parameters, by bounded quasi-Newton from several places.

    Parameters
    ----------
    aligned : Aligned
    coin, series : str
        Two columns.
    decay, warm_up
        Of the volatilities that returns are freed of, as for :func:`dynamic_correlation`.

    Raises
    ------
    PlanningError
        ``PLN-001`` fewer than 250 returns, or a series that does not move.
    """
    from scipy.optimize import minimize

    freed = _freed(aligned, coin, series, decay, warm_up)
    if freed.shape[0] < FEWEST:
        raise PlanningError(
            f"two regimes of {coin} and {series} need {FEWEST} returns, not {freed.shape[0]}",
            code="PLN-001",
            field="series",
        )
    u, v = normal_scores(freed[:, 0]), normal_scores(freed[:, 1])

    def worse(x: Floats) -> float:
        return -switching_likelihood(u, v, *_natural(x))[0]

    stay = math.log(_STAY / (1 - _STAY))
    found = [
        minimize(
            worse,
            [math.atanh(low), math.atanh(high), stay, stay],
            method="L-BFGS-B",
            bounds=[(-_ATANH, _ATANH)] * 2 + [_LOGIT] * 2,
        )
        for low, high in _STARTS
    ]
    best = min(found, key=lambda one: float(one.fun))
    rho, stays = _natural(best.x)
    if rho[0] > rho[1]:
        rho, stays = rho[::-1], stays[::-1]
    total, filtered = switching_likelihood(u, v, rho, stays)
    smooth = _smoothed(filtered, stays)
    share = float(smooth.mean())
    return Regimes(
        coin=coin,
        series=series,
        correlation=rho,
        share=(1.0 - share, share),
        spell=(1.0 / (1.0 - stays[0]), 1.0 / (1.0 - stays[1])),
        stay=stays,
        now=float(filtered[-1]),
        probability=np.concatenate([np.full(warm_up, np.nan), smooth]),
        gain=total - _alike(u, v),
    )


def _natural(x: Floats) -> tuple[tuple[float, float], tuple[float, float]]:
    a, b, c, d = (float(value) for value in x)
    return (math.tanh(a), math.tanh(b)), (1 / (1 + math.exp(-c)), 1 / (1 + math.exp(-d)))


def normal_scores(values: Floats) -> Floats:
    """Return ``Φ⁻¹((rank − ½)/n)``, ties at their mean rank: margins are normal afterwards."""
    from scipy.special import ndtri
    from scipy.stats import rankdata

    return np.asarray(ndtri((rankdata(values) - 0.5) / values.size), dtype=np.float64)


def _log_density(u: Floats, v: Floats, rho: float) -> Floats:
    """Log-density of a bivariate normal with unit variances."""
    left = 1.0 - rho * rho
    return np.asarray(
        -math.log(2.0 * math.pi) - 0.5 * math.log(left)
        - (u * u - 2.0 * rho * u * v + v * v) / (2.0 * left)
    )  # fmt: skip


def switching_likelihood(
    u: Floats, v: Floats, rho: tuple[float, float], stay: tuple[float, float]
) -> tuple[float, Floats]:
    """Return the log-likelihood of two states, and the probability of the second after each period.

    Hamilton (1989): ``p_t ∝ f_s(u_t, v_t)·Σ_r p_{t−1}(r)·P(r, s)``.

    Parameters
    ----------
    u, v : float64[n]
        Normal scores.
    rho : tuple of (float, float)
        Correlation of each state.
    stay : tuple of (float, float)
        Chance to stay in each.
    """
    logs = np.stack([_log_density(u, v, r) for r in rho])
    top = logs.max(axis=0)
    first, second = np.exp(logs - top).tolist()
    kept, leave = stay[1], 1.0 - stay[0]
    before = leave / (leave + 1.0 - kept) if leave + 1.0 - kept > 0 else 0.5
    total, out = float(top.sum()), []
    for f, g in zip(first, second):
        ahead = (1.0 - before) * leave + before * kept
        a, b = (1.0 - ahead) * f, ahead * g
        total += math.log(a + b)
        before = b / (a + b)
        out.append(before)
    return total, np.array(out)


def _smoothed(filtered: Floats, stay: tuple[float, float]) -> Floats:
    """Return the probability of the second state seen from the end (Kim 1994)."""
    kept, leave = stay[1], 1.0 - stay[0]
    out = filtered.copy()
    for t in range(filtered.size - 2, -1, -1):
        here, after = float(filtered[t]), float(out[t + 1])
        ahead = (1.0 - here) * leave + here * kept
        to_second = here * kept / ahead if ahead > 0 else 0.0
        to_first = here * (1.0 - kept) / (1.0 - ahead) if ahead < 1 else 0.0
        out[t] = after * to_second + (1.0 - after) * to_first
    return out


def _alike(u: Floats, v: Floats) -> float:
    """Return the best log-likelihood with one correlation."""
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(
        lambda x: -float(_log_density(u, v, math.tanh(x)).sum()),
        bounds=(-_ATANH, _ATANH),
        method="bounded",
    )
    return -float(found.fun)


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamicCorrelation:
    """Engle's correlation of a pair.

    Attributes
    ----------
    coin, series : str
    a, b : float
        Fitted: weight of the last period, and of the past.
    mean, now : float
        Correlation that it returns to, and known after the last period.
    path : float64[n + 1]
        Known before each period, and after the last; NaN while volatility is not known.
    """

    coin: str
    series: str
    a: float
    b: float
    mean: float
    now: float
    path: Floats


def dynamic_correlation(
    aligned: Aligned, coin: str, series: str, *, decay: float = 0.97, warm_up: int = 30
) -> DynamicCorrelation:
    """Fit DCC to a pair, its returns freed from their moving volatilities first.

    Parameters
    ----------
    aligned : Aligned
    coin, series : str
        Two columns.
    decay : float
        λ of the volatilities.
    warm_up : int
        Periods that start them.

    Raises
    ------
    PlanningError
        ``PLN-001`` for too few returns, or a series that does not move in its first periods.

    Notes
    -----
    :func:`crossmargin.stats.dcc`; the first stage is the house's EWMA instead of GARCH.
    """
    made = dcc(_freed(aligned, coin, series, decay, warm_up))
    path = np.concatenate([np.full(warm_up, np.nan), made.correlation[:, 0, 1]])
    return DynamicCorrelation(
        coin=coin,
        series=series,
        a=made.a,
        b=made.b,
        mean=float(made.mean[0, 1]),
        now=float(path[-1]),
        path=path,
    )


def _freed(aligned: Aligned, coin: str, series: str, decay: float, warm_up: int) -> Floats:
    """Return both series' returns over the volatility known before each, ``[n − warm_up, 2]``."""
    within(0.5, 0.9999, decay=decay)
    within(2, 1_000, warm_up=warm_up)
    table = np.column_stack([aligned.column(coin), aligned.column(series)])
    known = ewma_volatilities(table, decay, warm_up=warm_up)[warm_up:-1]
    if table.shape[0] <= 2 * warm_up or not bool((known > 0).all()):
        raise PlanningError(
            f"{coin} and {series} have too few returns, or do not move at first", code="PLN-001",
            field="series",
        )  # fmt: skip
    return np.asarray(table[warm_up:] / known, dtype=np.float64)
