r"""The t copula of returns: how strongly extremes come together, and the fit that says so.

A Gaussian copula with any correlation below 1 lets extremes part in the end; a t copula does not.
With ν degrees of freedom the chance that one coin is beyond a far quantile, given that another is,
tends to

.. math:: \lambda = 2\, t_{\nu+1}\left( -\sqrt{\frac{(\nu+1)(1-\rho)}{1+\rho}} \right).

Source: McNeil, Frey and Embrechts, "Quantitative Risk Management" (2005), sections 5.3.1 and 5.5.3;
Demarta and McNeil, "The t copula and related copulas" (2005) (published).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.errors import invariant
from crossmargin.stats._dependence import repaired

Floats = NDArray[np.float64]

#: Degrees of freedom that are tried: below two the simulation has no variance, beyond two hundred
#: a t copula of any sample in reach cannot be told from a Gaussian one.
LEAST_DEGREES, MOST_DEGREES = 2.05, 200.0
#: 95 % point of χ² with one degree of freedom: half-width of a likelihood interval, doubled.
_CHI_95 = 3.841458820694124


def tail_dependence(correlation: ArrayLike, degrees: float) -> Floats:
    """Return λ of each pair under a t copula; under a Gaussian one (ν infinite) 0, at ρ = 1 1.

    Parameters
    ----------
    correlation : array_like
        ρ, of any shape, each in [−1, 1].
    degrees : float
        ν > 0, or infinite.

    Notes
    -----
    Source: McNeil, Frey and Embrechts (2005), equation 5.31 and table 5.1 (published).
    """
    from scipy.special import stdtr

    rho = np.asarray(correlation, dtype=np.float64)
    invariant(degrees > 0, "degrees of freedom are above 0")
    invariant(bool((np.abs(rho) <= 1.0).all()), "a correlation lies between −1 and 1")
    if math.isinf(degrees):
        return np.asarray((rho == 1.0).astype(np.float64))
    with np.errstate(divide="ignore"):
        far = -np.sqrt((degrees + 1.0) * (1.0 - rho) / (1.0 + rho))
    return np.asarray(2.0 * stdtr(degrees + 1.0, far))


def rank_correlation(returns: ArrayLike) -> Floats:
    """Return the correlation of an elliptical copula by Kendall's τ, ``sin(πτ/2)``, ``[A, A]``.

    Extreme days weigh no more than others, and margins do not matter. Pair by pair it need not be
    positive definite and is repaired. Source: McNeil, Frey and Embrechts (2005), example 5.54 and
    section 5.5.1 (published).

    Parameters
    ----------
    returns : array_like [S, A]
        Finite.
    """
    from scipy.stats import kendalltau

    x = _table(returns)
    out = np.eye(x.shape[1])
    for a in range(x.shape[1]):
        for b in range(a):
            tau = float(kendalltau(x[:, a], x[:, b]).statistic)
            invariant(math.isfinite(tau), "a series that never moves has no correlation")
            out[a, b] = out[b, a] = math.sin(0.5 * math.pi * tau)
    return repaired(out)


def pseudo_uniforms(returns: ArrayLike) -> Floats:
    """Return ``rank/(S + 1)`` of each column: uniforms without a law of the margins."""
    from scipy.stats import rankdata

    x = _table(returns)
    return np.asarray(rankdata(x, axis=0) / (x.shape[0] + 1.0))


def t_copula_density(uniforms: ArrayLike, correlation: ArrayLike, degrees: float) -> Floats:
    """Return the log-density of a t (or, with ν infinite, Gaussian) copula at each row.

    ``ln c = ln t_{ν,R}(x) − Σ ln t_ν(x_a)`` with ``x_a = t_ν⁻¹(u_a)``. Source: Demarta and McNeil
    (2005), equation 3 (published).

    Parameters
    ----------
    uniforms : array_like [S, A]
        Strictly between 0 and 1.
    correlation : array_like [A, A]
        R, positive definite.
    degrees : float
        ν > 0, or infinite.
    """
    from scipy.special import gammaln, ndtri, stdtrit

    u, r = _table(uniforms), np.asarray(correlation, dtype=np.float64)
    size = u.shape[1]
    lower = np.linalg.cholesky(r)
    half_log = float(np.log(np.diag(lower)).sum())
    if math.isinf(degrees):
        x = ndtri(u)
        y = np.linalg.solve(lower, x.T)
        return np.asarray(-half_log - 0.5 * ((y * y).sum(axis=0) - (x * x).sum(axis=1)))
    nu = degrees
    x = stdtrit(nu, u)
    y = np.linalg.solve(lower, x.T)
    flat = (
        gammaln(0.5 * (nu + size))
        + (size - 1.0) * gammaln(0.5 * nu)
        - size * gammaln(0.5 * (nu + 1.0))
        - half_log
    )
    joint = 0.5 * (nu + size) * np.log1p((y * y).sum(axis=0) / nu)
    apart = 0.5 * (nu + 1.0) * np.log1p(x * x / nu).sum(axis=1)
    return np.asarray(flat - joint + apart)


@dataclass(frozen=True, slots=True, kw_only=True)
class TCopulaFit:
    """A t copula fitted to a sample.

    Attributes
    ----------
    degrees : float
        ν with the largest likelihood; ``MOST_DEGREES`` where none is better than a Gaussian copula.
    low, high : float
        95 % likelihood interval of ν; an end that the search does not leave is its end.
    correlation : float64[A, A]
        By Kendall's τ.
    gain : float
        Twice the log-likelihood over a Gaussian copula's with the same correlation. Above 2.71 a
        Gaussian copula is refused at 5 % (ν infinite is the edge, so half the usual chance).
    count : int
        Rows.
    """

    degrees: float
    low: float
    high: float
    correlation: Floats
    gain: float
    count: int

    @property
    def gaussian(self) -> bool:
        """Whether a Gaussian copula is not refused at 5 %."""
        return self.gain < 2.705543454095404


def fit_t_copula(returns: ArrayLike) -> TCopulaFit:
    """Fit a t copula: correlation by Kendall's τ, ν by maximum likelihood on ranks.

    Parameters
    ----------
    returns : array_like [S, A]
        Finite; at least 60 rows and two columns. Free them of their volatility first (residuals)
        where the copula of one day ahead is wanted: waves of volatility that coins share look like
        tail dependence.

    Notes
    -----
    Source: McNeil, Frey and Embrechts (2005), section 5.5.3, the method with rank correlations
    (published). Rows are taken as independent.
    """
    from scipy.optimize import brentq, minimize_scalar

    x = _table(returns)
    invariant(x.shape[0] >= 60 and x.shape[1] >= 2, "a copula needs 60 rows and two columns")
    u, r = pseudo_uniforms(x), rank_correlation(x)
    normal = float(t_copula_density(u, r, math.inf).sum())

    # In 1/ν the likelihood is nearly a parabola, and a Gaussian copula is its end at 0.
    def short(inverse: float) -> float:
        return normal - float(t_copula_density(u, r, 1.0 / inverse).sum())

    ends = 1.0 / MOST_DEGREES, 1.0 / LEAST_DEGREES
    found = minimize_scalar(short, bounds=ends, method="bounded", options={"xatol": 1e-7})
    tried = [(float(found.fun), float(found.x)), *((short(end), end) for end in ends)]
    least, best = min(tried)

    def beyond(inverse: float) -> float:
        return 2.0 * (short(inverse) - least) - _CHI_95

    low = brentq(beyond, best, ends[1]) if best < ends[1] and beyond(ends[1]) > 0 else ends[1]
    high = brentq(beyond, ends[0], best) if best > ends[0] and beyond(ends[0]) > 0 else ends[0]
    return TCopulaFit(
        degrees=1.0 / best,
        low=1.0 / low,
        high=1.0 / high,
        correlation=r,
        gain=max(-2.0 * least, 0.0),
        count=x.shape[0],
    )


def joint_excess(correlation: float, degrees: float, tail: float) -> float:
    """Return the chance that two coins are both in their lowest `tail`, under a t copula.

    By numerical integration over the common χ²: given it, the pair is normal. It is what λ is the
    limit of: ``joint_excess/tail → λ`` as `tail` → 0. Source: McNeil, Frey and Embrechts (2005),
    table 5.2 (published).

    Parameters
    ----------
    correlation : float
        ρ, between −1 and 1.
    degrees : float
        ν > 0, or infinite.
    tail : float
        Between 0 and 1, such as 0.01.
    """
    from scipy.special import ndtri, stdtrit

    invariant(-1.0 < correlation < 1.0 and 0.0 < tail < 1.0, "|ρ| < 1 and a tail inside (0, 1)")
    if math.isinf(degrees):
        return _both_below(float(ndtri(tail)), correlation)
    return _both_below_t(float(stdtrit(degrees, tail)), correlation, degrees)


def _both_below(x: float, rho: float) -> float:
    from scipy.integrate import quad
    from scipy.special import ndtr

    # P(X < x, Y < x) = ∫ φ(s) Φ((x − ρs)/√(1 − ρ²)) ds over s < x.
    wide = math.sqrt(1.0 - rho * rho)

    def height(s: float) -> float:
        return math.exp(-0.5 * s * s) / math.sqrt(2.0 * math.pi) * float(ndtr((x - rho * s) / wide))

    return float(quad(height, -math.inf, x, epsabs=0.0, epsrel=1e-10, limit=200)[0])


def _both_below_t(x: float, rho: float, nu: float) -> float:
    from scipy.integrate import quad
    from scipy.special import gammaln, stdtr

    # Given the first, the second is t with ν + 1 degrees about ρs, its scale grown with s².
    log_front = float(gammaln(0.5 * (nu + 1.0)) - gammaln(0.5 * nu))
    front = math.exp(log_front) / math.sqrt(nu * math.pi)

    def height(s: float) -> float:
        wide = math.sqrt((nu + s * s) / (nu + 1.0) * (1.0 - rho * rho))
        density = front * math.pow(1.0 + s * s / nu, -0.5 * (nu + 1.0))
        return density * float(stdtr(nu + 1.0, (x - rho * s) / wide))

    return float(quad(height, -math.inf, x, epsabs=0.0, epsrel=1e-10, limit=200)[0])


def _table(values: ArrayLike) -> Floats:
    x = np.asarray(values, dtype=np.float64)
    invariant(x.ndim == 2 and bool(np.isfinite(x).all()), "a table of finite numbers")
    return x
