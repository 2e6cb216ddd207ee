"""Compiled: fills of log-linear impact, :func:`crossmargin.cascade.impact.fill` for one rule."""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _turnover(coins: float, price: float, x: float) -> float:
    """Return ``q·p·(e^x − 1)/x``."""
    return coins * price * (1.0 if x == 0.0 else math.expm1(x) / x)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def log_linear(
    first: Floats,
    more: Floats,
    depth: Floats,
    price: Floats,
    base: Floats,
    move: Floats,
    average: Floats,
    filled: Floats,
) -> None:
    """Write moves, average fills (US dollars) and coins filled of `more` after `first`.

    Source: as :class:`crossmargin.cascade.impact.LogLinear`; a book without end fills everything.
    """
    for k in range(first.size):
        whole = first[k] + more[k]
        there, here = whole * base[k] / depth[k], first[k] * base[k] / depth[k]
        paid = _turnover(whole, price[k], there) - _turnover(first[k], price[k], here)
        done = whole - first[k]
        near, far = price[k] * math.exp(here), price[k] * math.exp(there)
        at = price[k] * math.exp(0.5 * (there + here)) if done == 0.0 else paid / done
        move[k], filled[k] = there - here, done
        average[k] = min(max(at, min(near, far)), max(near, far))
