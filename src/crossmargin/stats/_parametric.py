"""Normal portfolios: value at risk, expected shortfall, breach, and the correlation that hurts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.errors import invariant
from crossmargin.stats._tail import normal_expected_shortfall, normal_quantile

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class NormalTail:
    """Tail of a normal profit and loss with mean 0, in the unit of the exposures.

    Attributes
    ----------
    sigma, var, es : float
        Standard deviation, quantile and tail mean of the loss.
    """

    sigma: float
    var: float
    es: float


def _covariance(
    exposure: ArrayLike, vol: ArrayLike, correlation: ArrayLike
) -> tuple[Floats, Floats]:
    risk = np.asarray(exposure, dtype=np.float64) * np.asarray(vol, dtype=np.float64)
    c = np.asarray(correlation, dtype=np.float64)
    invariant(c.shape == (risk.size, risk.size), "a correlation for each pair of exposures")
    return risk, c


def normal_sigma(exposure: ArrayLike, vol: ArrayLike, correlation: ArrayLike) -> float:
    """Return ``√(x'Cx)``, x = exposure × volatility of the horizon."""
    risk, c = _covariance(exposure, vol, correlation)
    return math.sqrt(max(float(risk @ c @ risk), 0.0))


def normal_tail(
    exposure: ArrayLike, vol: ArrayLike, correlation: ArrayLike, level: float
) -> NormalTail:
    """Return value at risk and expected shortfall of linear exposures under a normal law.

    Parameters
    ----------
    exposure : array_like [A]
        Value that moves one to one with each price, signed.
    vol : array_like [A]
        Volatility over the horizon, decimals.
    correlation : array_like [A, A]
        Of the returns.
    level : float
        Confidence.

    Notes
    -----
    Source: requirements A07 (published figures); clearing-practice §1.6 (normal check).
    """
    sigma = normal_sigma(exposure, vol, correlation)
    return NormalTail(
        sigma=sigma,
        var=normal_quantile(level) * sigma,
        es=normal_expected_shortfall(level) * sigma,
    )


def breach_probability(
    equity: float,
    maintenance: float,
    exposure: ArrayLike,
    rate: ArrayLike,
    vol: ArrayLike,
    correlation: ArrayLike,
) -> float:
    """Return the chance that equity ends the horizon below maintenance margin, normal returns.

    Equity moves by ``x'r`` and the margin by ``m'|x|r``: where the margin moves with the mark, a
    long position's falls together with its price. ``rate`` of 0 freezes it, which overstates the
    chance (requirements A07: 0.351 % against 0.522 %).

    Parameters
    ----------
    equity, maintenance : float
        Now, in one unit.
    exposure, vol, correlation
        As for :func:`normal_tail`.
    rate : array_like [A]
        Maintenance rate of each exposure.
    """
    from scipy.special import ndtr

    x = np.asarray(exposure, dtype=np.float64)
    excess = x - np.abs(x) * np.asarray(rate, dtype=np.float64)
    sigma = normal_sigma(excess, vol, correlation)
    room = equity - maintenance
    if sigma == 0.0:
        return float(room < 0)
    return float(ndtr(-room / sigma))


def worst_correlation(exposure: ArrayLike, base: ArrayLike, *, low: float, high: float) -> Floats:
    """Return the correlation moved, pair by pair, to where it hurts these exposures.

    Two exposures on one side are pushed together (to `high` at least), two that hedge each other
    apart (to `low` at most): the direction is read off the book, nobody tells it (requirements
    B16). Moved pairwise it need not be a correlation matrix; the variance it gives is a bound.

    Parameters
    ----------
    exposure : array_like [A]
        Signed.
    base : array_like [A, A]
        Correlation that holds otherwise.
    low, high : float
        Stressed correlations, ``−1 ≤ low ≤ high ≤ 1``.
    """
    x, c = np.asarray(exposure, dtype=np.float64), np.asarray(base, dtype=np.float64)
    invariant(-1.0 <= low <= high <= 1.0, "stressed correlations lie between −1 and 1")
    same = np.outer(x, x) >= 0
    out = np.where(same, np.maximum(c, high), np.minimum(c, low))
    np.fill_diagonal(out, 1.0)
    return np.asarray(out)
