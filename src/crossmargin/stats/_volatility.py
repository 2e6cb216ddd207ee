"""Volatility that moves with the market, and returns freed from it."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.errors import invariant

Floats = NDArray[np.float64]


def ewma_volatility(returns: ArrayLike, decay: float, *, warm_up: int = 30) -> Floats:
    """Return the volatility known before each return, and after the last: n + 1 values.

    ``σ²_{t+1} = λσ²_t + (1−λ)r_t²``. It starts at the mean square of the first `warm_up`
    returns (or of all, where there are fewer). Source: RiskMetrics (1996), clearing-practice §1.6
    (published); the start is ours (house).

    Parameters
    ----------
    returns : array_like
        Returns per period, in order.
    decay : float
        λ, between 0 and 1.
    warm_up : int
        Returns that set the start.
    """
    from scipy.signal import lfilter

    r = np.asarray(returns, dtype=np.float64)
    invariant(r.ndim == 1 and r.size > 0, "volatility of no returns")
    invariant(0.0 < decay < 1.0, "a decay lies between 0 and 1")
    start = float(np.mean(r[:warm_up] ** 2))
    after, _ = lfilter([1.0 - decay], [1.0, -decay], r**2, zi=[decay * start])
    return np.asarray(np.sqrt(np.concatenate([[start], after])), dtype=np.float64)


def filtered_returns(returns: ArrayLike, decay: float, *, warm_up: int = 30) -> Floats:
    """Return past returns at today's volatility: ``r_t / σ_t · σ_now``.

    The first `warm_up` returns, which set the start of the volatility, are left out where more
    remain. Source: Hull and White (1998), clearing-practice §1.6 (published).

    Parameters
    ----------
    returns : array_like
        Returns per period, in order, not all 0.
    decay : float
        λ of :func:`ewma_volatility`.
    warm_up : int
        Returns that set the start.
    """
    r = np.asarray(returns, dtype=np.float64)
    sigma = ewma_volatility(r, decay, warm_up=warm_up)
    first = warm_up if r.size > 2 * warm_up else 0
    known = sigma[:-1]
    # A stretch without any move has no volatility to be freed from; its returns are 0.
    scaled = np.divide(r, known, out=np.zeros_like(r), where=known > 0) * sigma[-1]
    return np.asarray(scaled[first:], dtype=np.float64)
