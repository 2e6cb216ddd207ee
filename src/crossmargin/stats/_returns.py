"""Returns and losses over a horizon, without overlap."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.errors import invariant

Floats = NDArray[np.float64]


def log_returns(prices: ArrayLike) -> Floats:
    """Return ``ln(P_t / P_{t−1})`` of positive prices."""
    p = np.asarray(prices, dtype=np.float64)
    invariant(p.ndim == 1 and bool((p > 0).all()), "prices are positive numbers in a row")
    return np.diff(np.log(p))


def linear_unwind(periods: int) -> Floats:
    """Return what is still held in each of n periods when equal parts are sold: n/n … 1/n.

    The variance of what it loses is ``σ²(n+1)(2n+1)/(6n)``: 1.483 σ for n = 5 against √5 for a
    holding that waits. Source: clearing-practice §1.7 (published there as derived).
    """
    invariant(periods >= 1, "an unwind takes at least one period")
    return np.arange(periods, 0, -1) / periods


def cascaded_shortfall(shortfalls: ArrayLike, horizons: ArrayLike, base: float = 10.0) -> float:
    """Return expected shortfall over unlike liquidity horizons, from that of a base horizon.

    ``ES = √(ES_T(P)² + Σ_{j≥2} (ES_T(P, j)·√((LH_j − LH_{j−1})/T))²)``. Source: Basel MAR33.4
    (published), as given in clearing-practice §1.7; LH 10, 20, 40, 60, 120 and T = 10 there.

    Parameters
    ----------
    shortfalls : array_like [J]
        At horizon T: of all positions, then of those factors alone that take at least LH_j to
        close, j = 2 … J; at least 0, one unit.
    horizons : array_like [J]
        LH_j, rising, the first T itself.
    base : float
        T.
    """
    es = np.asarray(shortfalls, dtype=np.float64)
    lh = np.asarray(horizons, dtype=np.float64)
    invariant(es.ndim == 1 and es.shape == lh.shape and es.size > 0, "a shortfall a horizon")
    invariant(bool(np.isfinite(es).all() and (es >= 0).all()), "shortfalls of at least 0")
    invariant(base > 0 and lh[0] == base and bool((np.diff(lh) > 0).all()), "horizons rise from T")
    share = np.concatenate([[1.0], np.diff(lh) / base])
    return float(np.sqrt(np.sum(share * es * es)))


def horizon_losses(returns: ArrayLike, weights: ArrayLike) -> Floats:
    """Return the log-losses ``−Σ w_k r_{t+k}`` of non-overlapping blocks, the last one ending now.

    Blocks that overlap are not independent, and tests on them say little (clearing-practice §2):
    what does not fill a block at the beginning is left out.

    Parameters
    ----------
    returns : array_like
        Log-returns per period, in order.
    weights : array_like
        Share still held in each period of a block.
    """
    r, w = np.asarray(returns, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    blocks = r.size // w.size
    invariant(blocks >= 1, "the history is shorter than the horizon")
    return np.asarray(-(r[r.size - blocks * w.size :].reshape(blocks, w.size) @ w))
