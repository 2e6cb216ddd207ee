"""The plain NumPy kernel: the reference that the fast kernel is held to.

Everything is built on the out-of-the-money option, whose value has no intrinsic part to drown
it, and on the scaled complement ``erfcx(x) = exp(x²) erfc(x)``, so that a deep wing keeps its
relative accuracy. With ``m = min(F, K)``, ``k = ln(F/K)``, ``s = vol √T``::

    u = |k|/s − s/2          v = |k|/s + s/2          e = exp(−u²/2)
    A = e·erfcx(|u|/√2)/2    B = e·erfcx(v/√2)/2
    value / m = A − B              when u ≥ 0
              = 1 − A − B          when u < 0

One exponential is enough because ``K exp(−d2²/2) = F exp(−d1²/2)``. Inputs are not checked.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

INV_SQRT_2 = math.sqrt(0.5)
INV_SQRT_2PI = 1.0 / math.sqrt(2.0 * math.pi)


class Otm(NamedTuple):
    """The out-of-the-money option per unit of ``min(F, K)``, and what its greeks are made of."""

    value: Floats
    """Time value over ``min(F, K)``, from 0 to 1."""
    density: Floats
    """``e = exp(−u²/2)``, which is ``F exp(−d1²/2) / min(F, K)``."""
    inner: Floats
    """``N(−u)``: the probability-like term on the side of ``min(F, K)``."""
    outer: Floats
    """``N(−v) · max(F, K) / min(F, K)``: the term on the other side."""


def log_moneyness(forward: Floats, strike: Floats) -> Floats:
    """Return ``ln(F/K)``, keeping its relative accuracy next to the money.

    The quotient F/K would be rounded at 1e-16, which an hour before expiry is not small beside
    the deviation; ``F − K`` is exact there.
    """
    ratio = forward / strike
    near = np.abs(ratio - 1.0) < 0.5
    close = np.log1p(np.where(near, (forward - strike) / strike, 0.0))
    return np.where(near, close, np.log(ratio))


def otm_parts(abs_log: Floats, deviation: Floats) -> Otm:
    """Value the out-of-the-money option per unit of ``min(F, K)``.

    Parameters
    ----------
    abs_log : ndarray
        ``|ln(F/K)|``.
    deviation : ndarray
        ``s = vol √T``, 0 or more.

    Returns
    -------
    Otm
        At ``s = 0`` the value is 0; for huge s it is 1.
    """
    from scipy.special import erfcx

    half = 0.5 * deviation
    with np.errstate(over="ignore", under="ignore", divide="ignore", invalid="ignore"):
        distance = abs_log / deviation
        # 0/0, at the money with no deviation left, is the limit 0; x/0 is already infinite.
        distance = np.where(np.isnan(distance), 0.0, distance)
        u = distance - half
        density = np.exp(-0.5 * u * u)
        tail = 0.5 * density * erfcx(np.abs(u) * INV_SQRT_2)
        outer = 0.5 * density * erfcx((distance + half) * INV_SQRT_2)
        inner = np.where(u >= 0.0, tail, 1.0 - tail)
        # Rounding may leave −1e-16 where the true value is 0.
        value = np.maximum(inner - outer, 0.0)
    return Otm(value, density, inner, outer)


def intrinsic(forward: Floats, strike: Floats, is_call: NDArray[np.bool_]) -> Floats:
    """Return ``max(F − K, 0)`` for a call, ``max(K − F, 0)`` for a put."""
    gap = forward - strike
    return np.maximum(np.where(is_call, gap, -gap), 0.0)


def price(
    forward: Floats, strike: Floats, years: Floats, vol: Floats, is_call: NDArray[np.bool_]
) -> Floats:
    """Undiscounted Black-76 price, unchecked; broadcasts."""
    deviation = vol * np.sqrt(years)
    parts = otm_parts(np.abs(log_moneyness(forward, strike)), deviation)
    time_value = np.minimum(forward, strike) * parts.value
    total: Floats = intrinsic(forward, strike, is_call) + time_value
    return total


def delta_from(parts: Otm, forward: Floats, strike: Floats, is_call: NDArray[np.bool_]) -> Floats:
    """Return ``N(d1)`` for a call and ``N(d1) − 1`` for a put, without cancellation."""
    with np.errstate(under="ignore"):
        far = parts.outer * (strike / forward)
    below = forward <= strike
    # Out of the money each side has its own small number; the other is 1 minus that.
    call = np.where(below, parts.inner, 1.0 - far)
    put = np.where(below, parts.inner - 1.0, -far)
    return np.where(is_call, call, put)


def price_delta_vega(
    forward: Floats, strike: Floats, years: Floats, vol: Floats, is_call: NDArray[np.bool_]
) -> tuple[Floats, Floats, Floats]:
    """Price, delta per unit of forward and vega per 1.00 of volatility, unchecked; broadcasts."""
    root = np.sqrt(years)
    parts = otm_parts(np.abs(log_moneyness(forward, strike)), vol * root)
    smaller = np.minimum(forward, strike)
    total = intrinsic(forward, strike, is_call) + smaller * parts.value
    delta = delta_from(parts, forward, strike, is_call)
    vega = smaller * parts.density * (root * INV_SQRT_2PI)
    return total, delta, vega
