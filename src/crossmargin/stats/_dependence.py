"""How returns move together: correlation now and then, and a sample brought from one to the other.

Source: clearing-practice §1.6 (rescaling ``z_new = L_now·L_hist⁻¹·z``; the critique it answers is
Pritsker 2001).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.errors import invariant

Floats = NDArray[np.float64]
Rescaling = Literal["cholesky", "symmetric", "none"]

#: Least eigenvalue of a correlation matrix that is factorised.
LEAST = 1e-8


def _unit(covariance: Floats) -> Floats:
    """Turn a covariance into a correlation; a series that never moves is independent."""
    scale = np.sqrt(np.diag(covariance))
    safe = np.where(scale > 0, scale, 1.0)
    out = covariance / np.outer(safe, safe)
    np.fill_diagonal(out, 1.0)
    return np.asarray(np.clip(out, -1.0, 1.0))


def sample_correlation(residuals: ArrayLike) -> Floats:
    """Return the correlation of residuals about a mean of 0, ``[A, A]``.

    Parameters
    ----------
    residuals : array_like [S, A]
        Finite, in order of time.
    """
    z = np.asarray(residuals, dtype=np.float64)
    return _unit(z.T @ z / z.shape[0])


def weighted_correlation(residuals: ArrayLike, decay: float) -> Floats:
    """Return the correlation with weights ``λ^age``, the last row the newest, ``[A, A]``.

    Parameters
    ----------
    residuals : array_like [S, A]
        Finite, in order of time.
    decay : float
        λ, between 0 and 1.
    """
    z = np.asarray(residuals, dtype=np.float64)
    invariant(0.0 < decay < 1.0, "a decay lies between 0 and 1")
    weight = decay ** np.arange(z.shape[0] - 1, -1, -1)
    return _unit((z * weight[:, None]).T @ z / weight.sum())


def repaired(correlation: ArrayLike, least: float = LEAST) -> Floats:
    """Return a correlation that can be factorised: eigenvalues of at least `least`, diagonal 1.

    What is positive definite already comes back as it was. Source: house (spectral cut).
    """
    c = np.asarray(correlation, dtype=np.float64)
    value, vector = np.linalg.eigh(c)
    if value[0] >= least:
        return c
    return _unit((vector * np.maximum(value, least)) @ vector.T)


def root(correlation: ArrayLike, how: Rescaling = "cholesky") -> Floats:
    """Return L with ``L·Lᵀ`` the (repaired) correlation: lower triangular, or symmetric."""
    c = repaired(correlation)
    if how == "symmetric":
        value, vector = np.linalg.eigh(c)
        return np.asarray((vector * np.sqrt(np.maximum(value, 0.0))) @ vector.T)
    return np.asarray(np.linalg.cholesky(c + 0.0))


def rescaled(residuals: ArrayLike, now: ArrayLike, how: Rescaling = "cholesky") -> Floats:
    """Return residuals with the correlation `now` instead of their own, spreads unchanged.

    ``z_new = L_now·L_hist⁻¹·z`` on residuals of unit spread. Columns are taken in the order given:
    by Cholesky the first keeps its own shape; the symmetric root favours none.

    Parameters
    ----------
    residuals : array_like [S, A]
        Finite.
    now : array_like [A, A]
        Correlation to be reached.
    how : {"cholesky", "symmetric", "none"}
        Which root.
    """
    z = np.asarray(residuals, dtype=np.float64)
    if how == "none" or z.shape[1] < 2:
        return z
    spread = np.sqrt(np.mean(z * z, axis=0))
    safe = np.where(spread > 0, spread, 1.0)
    # Row vectors: z_new = z·(L_now·L_hist⁻¹)ᵀ.
    turn = np.linalg.solve(root(sample_correlation(z), how).T, root(now, how).T)
    return np.asarray((z / safe) @ turn * np.where(spread > 0, safe, 0.0))
