"""Tails of a sample of losses, and of the normal law.

Losses are positive numbers; `level` is the confidence, for example 0.99.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.errors import invariant

Floats = NDArray[np.float64]


def _sorted_down(losses: ArrayLike, level: float) -> Floats:
    values = np.sort(np.asarray(losses, dtype=np.float64).ravel())[::-1]
    invariant(values.size > 0, "the tail of an empty sample")
    invariant(0.0 < level < 1.0, "a confidence level lies between 0 and 1")
    invariant(bool(np.isfinite(values).all()), "a loss is not a finite number")
    return values


def value_at_risk(losses: ArrayLike, level: float) -> float:
    """Return the loss that is exceeded with probability 1 − level.

    The sample's lower quantile: the smallest loss L with at least ``level·n`` losses at or below
    it, so ``L_(⌊n(1−level)⌋+1)`` of the losses sorted down. Source: clearing-practice §1.6 asks
    for the convention to be stated; this one is ours (house).

    Parameters
    ----------
    losses : array_like
        Equally likely losses, at least one.
    level : float
        Confidence, between 0 and 1.
    """
    values = _sorted_down(losses, level)
    # A product such as 1000·(1 − 0.99) must not fall below 10 by the rounding of 0.99.
    beyond = math.floor(values.size * (1.0 - level) + 1e-9)
    return float(values[min(beyond, values.size - 1)])


def expected_shortfall(losses: ArrayLike, level: float) -> float:
    """Return the mean of the worst 1 − level of the losses.

    ``m = n(1−α)``; ``ES = [Σ_{i≤⌊m⌋} L_(i) + (m−⌊m⌋)·L_(⌊m⌋+1)] / m`` over losses sorted down.
    With m below 1 that is the worst loss. Source: Acerbi and Tasche (2002), as given in
    clearing-practice §1.6 (published).

    Parameters
    ----------
    losses : array_like
        Equally likely losses, at least one.
    level : float
        Confidence, between 0 and 1.
    """
    values = _sorted_down(losses, level)
    m = values.size * (1.0 - level)
    whole = min(math.floor(m + 1e-9), values.size)
    part = max(m - whole, 0.0)
    total = float(values[:whole].sum())
    if part > 0.0 and whole < values.size:
        total += part * float(values[whole])
    return total / m


def expected_shortfall_error(losses: ArrayLike, level: float) -> float:
    """Return the standard error of :func:`expected_shortfall`; NaN with fewer than two tail points.

    ``√[(Var(L | tail) + level·(ES − VaR)²) / (n(1−level))]``, the asymptotic error of a tail mean
    whose threshold is estimated too (Manistre and Hancock 2005, secondary).
    """
    values = _sorted_down(losses, level)
    m = values.size * (1.0 - level)
    tail = values[: max(math.floor(m + 1e-9), 1)]
    if tail.size < 2:
        return math.nan
    gap = expected_shortfall(values, level) - value_at_risk(values, level)
    return math.sqrt((float(tail.var(ddof=1)) + level * gap * gap) / m)


def normal_quantile(level: float) -> float:
    """Return z with Φ(z) = level: 2.3263 at 0.99."""
    from scipy.special import ndtri

    invariant(0.0 < level < 1.0, "a confidence level lies between 0 and 1")
    return float(ndtri(level))


def normal_expected_shortfall(level: float) -> float:
    """Return the mean of a standard normal beyond its quantile: φ(z)/(1 − level).

    2.6652 at 0.99 and 2.3378 at 0.975 (clearing-practice §1.6).
    """
    z = normal_quantile(level)
    return math.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi) / (1.0 - level)
