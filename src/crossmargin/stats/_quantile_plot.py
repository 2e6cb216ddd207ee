"""Quantiles of returns against those of a normal and a Student law: what a QQ plot shows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.errors import invariant

Floats = NDArray[np.float64]

#: A Student law of more degrees of freedom is a normal one for any sample in reach.
MOST_DEGREES = 200.0


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantilePlot:
    """Ordered returns beside what two laws expect of them, in standard deviations.

    Attributes
    ----------
    normal, observed, student : float64[n]
        Rising: quantiles of the standard normal at ``(i − ½)/n``, the returns less their mean over
        their standard deviation, and quantiles of the fitted Student law.
    degrees, scale : float
        Of that law, by maximum likelihood about the mean.
    kurtosis : float
        Fourth moment over the squared second; 3 for a normal.
    mean, deviation : float
        Of the returns.
    """

    normal: Floats
    observed: Floats
    student: Floats
    degrees: float
    scale: float
    kurtosis: float
    mean: float
    deviation: float

    def at(self, share: float) -> tuple[float, float, float]:
        """Return what was observed, and what a normal and the Student law have, at a share."""
        from scipy.special import ndtri, stdtrit

        seen = float(np.quantile(self.observed, share, method="hazen"))
        fat = self.scale * float(stdtrit(self.degrees, share))
        return seen, float(ndtri(share)), fat


def quantile_plot(returns: ArrayLike) -> QuantilePlot:
    """Order returns beside a normal and a Student law.

    Parameters
    ----------
    returns : array_like [n]
        Finite, at least 60, not all alike.

    Notes
    -----
    Plotting positions ``(i − ½)/n`` are Hazen's (1914). Source of the plot: requirements A10. The
    Student law has its location at the mean; ν is sought between 1.5 and 200.
    """
    from scipy.optimize import minimize
    from scipy.special import gammaln, ndtri, stdtrit

    r = np.asarray(returns, dtype=np.float64)
    invariant(r.ndim == 1 and r.size >= 60, "a quantile plot needs 60 returns")
    invariant(bool(np.isfinite(r).all()) and float(r.std()) > 0, "returns are finite and move")
    mean, deviation = float(r.mean()), float(r.std())
    x = np.sort((r - mean) / deviation)

    def short(v: Floats) -> float:
        nu, scale = 1.0 / float(v[0]), math.exp(float(v[1]))
        flat = float(gammaln(0.5 * (nu + 1.0)) - gammaln(0.5 * nu)) - 0.5 * math.log(nu * math.pi)
        apart = 0.5 * (nu + 1.0) * float(np.log1p((x / scale) ** 2 / nu).mean())
        return apart + math.log(scale) - flat

    bounds = [(1.0 / MOST_DEGREES, 1.0 / 1.5), (-3.0, 1.0)]
    starts = ([0.25, -0.3], [0.02, 0.0])
    found = min(
        (minimize(short, start, method="L-BFGS-B", bounds=bounds) for start in starts),
        key=lambda one: float(one.fun),
    )
    nu, scale = 1.0 / float(found.x[0]), math.exp(float(found.x[1]))
    p = (np.arange(x.size) + 0.5) / x.size
    return QuantilePlot(
        normal=np.asarray(ndtri(p)),
        observed=x,
        student=np.asarray(scale * stdtrit(nu, p)),
        degrees=nu,
        scale=scale,
        kurtosis=float((x**4).mean()),
        mean=mean,
        deviation=deviation,
    )
