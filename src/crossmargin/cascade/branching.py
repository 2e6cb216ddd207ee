"""Cascade sizes as a branching process: the Borel distribution, and a check of an engine on it.

Thresholds scattered at random (Poisson) under additive impact make every closed unit expose
Poisson(g) further ones. The number closed from one ancestor is then Borel(g):
``P(n) = e^(−gn)·(gn)^(n−1)/n!``, mean 1/(1 − g), variance g/(1 − g)³, tail exponent 3/2 at g = 1.

Source: reference cascades.md §1.2, branching form (derived and checked there).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.cascade.figures import number, numbers
from crossmargin.errors import CascadeError

Floats = NDArray[np.float64]


def borel_pmf(size: ArrayLike, gain: float) -> Floats:
    """Probability that a cascade closes exactly `size` units, the first included.

    Parameters
    ----------
    size : array_like of int
        At least 1.
    gain : float
        g in [0, 1]. At 1 the tail falls as ``n^(−3/2)/√(2π)`` and there is no mean.
    """
    from scipy.special import gammaln

    n = numbers("size", size, least=1.0)
    g = number("gain", gain, least=0.0, most=1.0)
    if g == 0.0:
        return np.asarray(np.where(n == 1.0, 1.0, 0.0))
    return np.asarray(np.exp(-g * n + (n - 1.0) * np.log(g * n) - gammaln(n + 1.0)))


def borel_moments(gain: float) -> tuple[float, float]:
    """Mean ``1/(1 − g)`` and variance ``g/(1 − g)³``; infinite at g = 1."""
    g = number("gain", gain, least=0.0, most=1.0)
    if g == 1.0:
        return np.inf, np.inf
    return 1.0 / (1.0 - g), g / (1.0 - g) ** 3


@dataclass(frozen=True, slots=True, kw_only=True)
class BranchingFit:
    """Sizes of cascades held against the Borel law.

    Attributes
    ----------
    gain : float
        Maximum-likelihood estimate, ``1 − 1/mean``.
    mean, variance : float
        Of the sample.
    variance_expected : float
        ``g/(1 − g)³`` at the gain tested.
    chi_square, p_value : float
        Pearson's test of the counts against the law; a small p-value speaks against it.
    cells : int
        Cells of the test: the sizes expected at least five times, and the rest.
    """

    gain: float
    mean: float
    variance: float
    variance_expected: float
    chi_square: float
    p_value: float
    cells: int


def branching_fit(sizes: ArrayLike, gain: float | None = None) -> BranchingFit:
    """Test sizes of cascades from single ancestors against the Borel law.

    Parameters
    ----------
    sizes : array_like of int [N]
        Units closed, the first included; at least 1 each, at least ten of them.
    gain : float, optional
        The g that they should have; default the estimate, which costs a degree of freedom.

    Raises
    ------
    CascadeError
        ``CAS-001`` for sizes that no cascade has.
    """
    from scipy.stats import chi2

    n = numbers("sizes", sizes, least=1.0)
    if n.ndim != 1 or n.size < 10 or (n != np.floor(n)).any():
        raise CascadeError(
            "a test of sizes needs ten whole numbers or more", code="CAS-001", field="sizes"
        )
    estimate = 1.0 - 1.0 / float(n.mean())
    g = estimate if gain is None else number("gain", gain, least=0.0, most=1.0)
    top = 1
    expected = [float(borel_pmf(1, g)) * n.size]
    while (rest := n.size - sum(expected)) > 5.0:
        more = float(borel_pmf(top + 1, g)) * n.size
        if more < 5.0 or rest - more < 5.0:
            break
        expected.append(more)
        top += 1
    cells = np.append(expected, n.size - sum(expected))
    seen = np.array([(n == k).sum() for k in range(1, top + 1)] + [(n > top).sum()], dtype=float)
    kept = cells > 1e-9 * n.size
    statistic = float((((seen - cells) ** 2)[kept] / cells[kept]).sum())
    free = max(1, int(kept.sum()) - 1 - (gain is None))
    return BranchingFit(
        gain=estimate,
        mean=float(n.mean()),
        variance=float(n.var(ddof=1)),
        variance_expected=borel_moments(g)[1],
        chi_square=statistic,
        p_value=float(chi2.sf(statistic, free)),
        cells=int(kept.sum()),
    )
