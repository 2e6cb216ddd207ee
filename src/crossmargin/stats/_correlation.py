"""How series move together: correlations that change, stress on condition, and repair.

Moving averages take the mean of a return as 0, as RiskMetrics does: at a day's horizon it is far
below the noise. All inputs are returns per period, in order, one column a series.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.errors import invariant

Floats = NDArray[np.float64]

#: Newton-free search for the parameters of DCC stops where they are this far from 0 and from 1.
_EDGE = 1e-4


def _pair(x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
    a, b = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    invariant(a.ndim == 1 and a.shape == b.shape and a.size > 1, "two series of one length")
    invariant(bool(np.isfinite(a).all() and np.isfinite(b).all()), "returns are finite numbers")
    return a, b


def _table(returns: ArrayLike) -> Floats:
    r = np.asarray(returns, dtype=np.float64)
    invariant(r.ndim == 2 and r.shape[0] > 1, "a table of returns: one row a period")
    invariant(bool(np.isfinite(r).all()), "returns are finite numbers")
    return r


def rolling_correlation(x: ArrayLike, y: ArrayLike, window: int) -> Floats:
    """Return Pearson's correlation of each full window; NaN before the first and where one is flat.

    Parameters
    ----------
    x, y : array_like
        Returns per period.
    window : int
        Periods, at least 2.
    """
    a, b = _pair(x, y)
    invariant(2 <= window <= a.size, "a window of at least 2 periods that the series fill")
    out = np.full(a.size, np.nan)
    va = np.lib.stride_tricks.sliding_window_view(a, window)
    vb = np.lib.stride_tricks.sliding_window_view(b, window)
    da, db = va - va.mean(axis=1, keepdims=True), vb - vb.mean(axis=1, keepdims=True)
    below = np.sqrt((da**2).sum(axis=1) * (db**2).sum(axis=1))
    out[window - 1 :] = np.divide(
        (da * db).sum(axis=1), below, out=np.full(below.size, np.nan), where=below > 0
    )
    return out


def ewma_covariance(returns: ArrayLike, decay: float, *, warm_up: int = 30) -> Floats:
    """Return covariances known before each period, and after the last: ``[n + 1, K, K]``.

    ``Σ_{t+1} = λΣ_t + (1−λ) r_t r_tᵀ``; it starts at the mean of the first `warm_up` outer
    products. Source: RiskMetrics (1996), clearing-practice §1.6 (published); the start is ours.

    Parameters
    ----------
    returns : array_like
        ``[n, K]``.
    decay : float
        λ, between 0 and 1.
    warm_up : int
        Periods that set the start.
    """
    from scipy.signal import lfilter

    r = _table(returns)
    invariant(0.0 < decay < 1.0, "a decay lies between 0 and 1")
    outer = r[:, :, None] * r[:, None, :]
    start = outer[:warm_up].mean(axis=0)
    after, _ = lfilter([1.0 - decay], [1.0, -decay], outer, axis=0, zi=decay * start[None])
    return np.asarray(np.concatenate([start[None], after]), dtype=np.float64)


def ewma_correlation(x: ArrayLike, y: ArrayLike, decay: float, *, warm_up: int = 30) -> Floats:
    """Return the moving correlation known before each period, and after the last: n + 1 values.

    Source: see :func:`ewma_covariance`. NaN where one of the two has not moved yet.
    """
    a, b = _pair(x, y)
    cov = ewma_covariance(np.column_stack([a, b]), decay, warm_up=warm_up)
    below = np.sqrt(cov[:, 0, 0] * cov[:, 1, 1])
    found = np.divide(cov[:, 0, 1], below, out=np.full(below.size, np.nan), where=below > 0)
    return np.asarray(found, dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dcc:
    """Dynamic conditional correlation.

    Attributes
    ----------
    a, b : float
        Weight of the last period and of the past, ``a + b < 1``.
    mean : float64[K, K]
        Correlation that it returns to.
    correlation : float64[n + 1, K, K]
        Known before each period, and after the last.
    """

    a: float
    b: float
    mean: Floats
    correlation: Floats


def dcc(standardised: ArrayLike, *, a: float | None = None, b: float | None = None) -> Dcc:
    """Run Engle's recursion on returns freed from their volatilities; fit a and b where not given.

    ``Q_t = (1−a−b)Q̄ + a ε_{t−1}ε_{t−1}ᵀ + bQ_{t−1}``, ``R = diag(Q)^−½ Q diag(Q)^−½``; a and b
    maximise the correlation part of the Gaussian likelihood. Source: Engle (2002), as given in
    clearing-practice §4.2 (published).

    Parameters
    ----------
    standardised : array_like
        ``[n, K]`` returns over the volatility known before each.
    a, b : float, optional
        Both or none.
    """
    e = _table(standardised)
    mean = _as_correlation(e.T @ e / e.shape[0])
    if a is None or b is None:
        a, b = _fit_dcc(e, mean)
    invariant(a >= 0 and b >= 0 and a + b < 1, "weights of DCC are at least 0 and sum below 1")
    return Dcc(a=a, b=b, mean=mean, correlation=_dcc_path(e, mean, a, b))


def _dcc_path(e: Floats, mean: Floats, a: float, b: float) -> Floats:
    from scipy.signal import lfilter

    outer = e[:, :, None] * e[:, None, :]
    driven = (1.0 - a - b) * mean[None] + a * outer
    after, _ = lfilter([1.0], [1.0, -b], driven, axis=0, zi=b * mean[None])
    q = np.concatenate([mean[None], after])
    scale = np.sqrt(np.einsum("tii->ti", q))
    found = q / (scale[:, :, None] * scale[:, None, :])
    return np.asarray(found, dtype=np.float64)


def _fit_dcc(e: Floats, mean: Floats) -> tuple[float, float]:
    from scipy.optimize import minimize

    def loss(x: Floats) -> float:
        # a + b < 1 by construction: the sum, and a's share of it.
        a, b = x[0] * x[1], x[0] * (1.0 - x[1])
        r = _dcc_path(e, mean, a, b)[:-1]
        sign, logdet = np.linalg.slogdet(r)
        if (sign <= 0).any():
            return math.inf
        return float(
            0.5
            * (logdet + np.einsum("ti,ti->t", e, np.linalg.solve(r, e[..., None])[..., 0])).mean()
        )

    best = min(
        (
            minimize(
                loss,
                start,
                method="L-BFGS-B",
                bounds=[(_EDGE, 1 - _EDGE), (_EDGE, 1 - _EDGE)],
            )
            for start in ([0.95, 0.05], [0.7, 0.2])
        ),
        key=lambda found: float(found.fun),
    )
    total, share = float(best.x[0]), float(best.x[1])
    return total * share, total * (1.0 - share)


def _as_correlation(covariance: Floats) -> Floats:
    scale = np.sqrt(np.diag(covariance))
    invariant(bool((scale > 0).all()), "a series that never moves has no correlation")
    found = covariance / np.outer(scale, scale)
    np.fill_diagonal(found, 1.0)
    return np.asarray(found, dtype=np.float64)


def nearest_correlation(
    matrix: ArrayLike, *, tolerance: float = 1e-12, most: int = 20_000
) -> Floats:
    """Return the correlation matrix nearest to a symmetric matrix, in the Frobenius norm.

    Projections onto the positive semi-definite matrices (with Dykstra's correction) and onto those
    with a unit diagonal, in turn. Source: Higham (2002), algorithm 3.3 (published); its example,
    [[1,1,0],[1,1,1],[0,1,1]] with off-diagonals 0.7607, 0.1573, 0.7607, is a test.

    Parameters
    ----------
    matrix : array_like
        Square and symmetric.
    tolerance : float
        Largest change of an entry in the last step.
    most : int
        Steps at most.
    """
    y = np.asarray(matrix, dtype=np.float64)
    invariant(y.ndim == 2 and y.shape[0] == y.shape[1] > 0, "a square matrix")
    invariant(bool(np.isfinite(y).all() and np.allclose(y, y.T)), "a finite symmetric matrix")
    y = 0.5 * (y + y.T)
    correction = np.zeros_like(y)
    for _ in range(most):
        r = y - correction
        x = _semidefinite(r)
        correction = x - r
        last, y = y, x.copy()
        np.fill_diagonal(y, 1.0)
        if float(np.abs(y - last).max()) <= tolerance:
            break
    # The diagonal's projection may leave an eigenvalue of −1e-12: a last, scaled step mends it.
    return _as_correlation(_semidefinite(y))


def _semidefinite(matrix: Floats) -> Floats:
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors * np.maximum(values, 0.0)) @ vectors.T, dtype=np.float64)


def forbes_rigobon(correlation: float, variance_rise: float) -> float:
    """Return a correlation freed from the bias that a rise of variance alone gives it.

    ``ρ* = ρ/√(1 + δ(1 − ρ²))`` with δ the relative rise of the variance of the conditioning series.
    Source: Forbes and Rigobon (2002), clearing-practice §4.2 (published).
    """
    invariant(-1 <= correlation <= 1 and variance_rise > -1, "|ρ| ≤ 1 and δ > −1")
    return correlation / math.sqrt(1.0 + variance_rise * (1.0 - correlation * correlation))


def exceedance_correlation(x: ArrayLike, y: ArrayLike, quantile: float) -> float:
    """Return the correlation of the periods in which both lie beyond their quantile.

    Below 0.5 both at or below it, above 0.5 both at or above it. NaN with fewer than three such
    periods. Source: Longin and Solnik (2001), Ang and Chen (2002), clearing-practice §4.2.
    """
    a, b = _pair(x, y)
    invariant(0 < quantile < 1, "a quantile lies between 0 and 1")
    at_a, at_b = np.quantile(a, quantile), np.quantile(b, quantile)
    both = (a <= at_a) & (b <= at_b) if quantile < 0.5 else (a >= at_a) & (b >= at_b)
    if both.sum() < 3 or a[both].std() == 0 or b[both].std() == 0:
        return math.nan
    return float(np.corrcoef(a[both], b[both])[0, 1])


def conditional_moves(
    covariance: ArrayLike, given: ArrayLike, moves: ArrayLike
) -> tuple[Floats, Floats]:
    """Return what the other factors are expected to do, and the covariance that is left.

    ``E[c | m] = Σ_cm Σ_mm⁻¹ m`` and ``Σ_cc − Σ_cm Σ_mm⁻¹ Σ_mc``. Source: requirements row A16
    (ρ 0.6, σ 4 % and 1.2 %: equities −5 % imply crypto −10 % with 3.2 % left).

    Parameters
    ----------
    covariance : array_like
        ``[K, K]``, of all factors.
    given : array_like
        Indices of the factors whose moves are known.
    moves : array_like
        Their moves.

    Returns
    -------
    tuple
        Moves of the other factors in their order, and their residual covariance.
    """
    c = np.asarray(covariance, dtype=np.float64)
    at = np.asarray(given, dtype=np.int64)
    m = np.asarray(moves, dtype=np.float64)
    invariant(c.ndim == 2 and c.shape[0] == c.shape[1], "a square covariance")
    invariant(
        at.ndim == 1 and at.shape == m.shape and at.size > 0, "one move for each factor given"
    )
    rest = np.setdiff1d(np.arange(c.shape[0]), at)
    beta = np.linalg.lstsq(c[np.ix_(at, at)], c[np.ix_(at, rest)], rcond=None)[0].T
    left = c[np.ix_(rest, rest)] - beta @ c[np.ix_(at, rest)]
    return np.asarray(beta @ m), np.asarray(0.5 * (left + left.T))
