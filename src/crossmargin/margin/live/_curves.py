"""Values of options as functions of one price, and bounds of them over a range of it.

Every figure here is a function of ``ρ``, the price of an underlying over the price it had when
the rules were compiled, and is in US dollars per unit of the contract.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from crossmargin.pricing._numba import _otm, _standard

Floats = NDArray[np.float64]

_ROOT_2PI = math.sqrt(2.0 * math.pi)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of one underlying, and what is asked of each.

    A *curve* is the value of an option as a function of ρ at one growth of the forward and one
    volatility: one for each scenario, then today's, then the two moves of a basis contingency.

    Attributes
    ----------
    code : int64[n]
        Code of each in the layout.
    forward, strike, years, vol : float64[n]
        Forward at ρ = 1, in the quote currency; the rest does not move with ρ.
    call : bool[n]
        Calls.
    unit : float64[n]
        US dollars of one unit of the contract per unit of the option's value in its quote
        currency. For an inverse option the coin's price over the forward, which no move of the
        price changes.
    growth : float64[H]
        Growth of the forward of each curve.
    deviation : float64[n, H]
        Volatility times the root of time, by curve; turned ones at ρ = 1.
    today : int
        The curve of today's value: nothing moved. Behind it, where a rule-set asks, the two moves
        of a basis contingency.
    turned : int64[k]
        Curves whose volatility depends on the moneyness.
    turn_slope, turn_cap, turn_base : float64[n, k]
        Of those: change of the multiplier of the volatility per unit of ln(K/F), its bound, and
        the volatility times the root of time that is multiplied.
    turn_even : bool[k]
        Whether |ln(K/F)| counts in place of ln(K/F).
    """

    code: NDArray[np.int64]
    forward: Floats
    strike: Floats
    years: Floats
    vol: Floats
    call: NDArray[np.bool_]
    unit: Floats
    growth: Floats
    deviation: Floats
    today: int
    turned: NDArray[np.int64]
    turn_slope: Floats
    turn_cap: Floats
    turn_base: Floats
    turn_even: NDArray[np.bool_]

    @property
    def size(self) -> int:
        """Number of options."""
        return int(self.code.size)

    def deviations(self, rho: float) -> Floats:
        """Return `deviation` with the turned curves as they are at a price."""
        if not self.turned.size:
            return self.deviation
        out = self.deviation.copy()
        k = np.log(self.strike / (self.forward * rho))[:, None]
        x = np.where(self.turn_even, np.abs(k), k)
        reach = x * self.turn_slope
        bound = np.where(
            x >= 0, np.minimum(self.turn_cap, reach), np.maximum(-self.turn_cap, reach)
        )
        out[:, self.turned] = self.turn_base * np.maximum(0.0, 1.0 + bound)
        return out

    def curves(self, rho: float, deviation: Floats) -> tuple[Floats, Floats]:
        """Return value and dvalue/dρ of every curve, US dollars, ``[n, H]`` each."""
        value = np.empty((self.size, self.growth.size))
        slope = np.empty_like(value)
        curve_values(self.forward, self.strike, self.call, self.unit, self.growth, deviation, rho,
                     value, slope)  # fmt: skip
        return value, slope


@numba.njit(nogil=True, cache=True)
def curve_values(
    forward: Any, strike: Any, call: Any, unit: Any, growth: Any, deviation: Any, rho: float,
    value: Any, slope: Any,
) -> None:  # fmt: skip
    """Fill value and dvalue/dρ of every curve, in US dollars; float64[n, H] each.

    Black-76, undiscounted but for what `unit` holds; a forward of 0 or less has no time value.
    """
    for i in range(value.shape[0]):
        k, u = strike[i], unit[i]
        for h in range(growth.size):
            f = forward[i] * rho * growth[h]
            pace = forward[i] * growth[h] * u
            if f <= 0.0:
                value[i, h] = 0.0 if call[i] else u * (k - f)
                slope[i, h] = 0.0 if call[i] else -pace
                continue
            distance, half = _standard(f, k, deviation[i, h])
            _, inner, outer = _otm(distance, half)
            gap = f - k if call[i] else k - f
            value[i, h] = u * (max(gap, 0.0) + min(f, k) * max(inner - outer, 0.0))
            far = outer * (k / f)
            up = inner if f <= k else 1.0 - far
            down = inner - 1.0 if f <= k else -far
            slope[i, h] = pace * (up if call[i] else down)


@numba.njit(nogil=True, cache=True)
def delta_slopes(
    forward: Any, strike: Any, unit: Any, deviation: Any, here: float, there: float,
    near: Any, far: Any, lo: Any, hi: Any,
) -> None:  # fmt: skip
    """Bound d(ρΔ)/dρ between two prices: Δ + φ(d1)/s, where Δ rises with ρ and φ has one hump.

    `near` and `far` are dvalue/dρ of today's curve at both ends. `lo` and `hi` are slopes of lines
    through the point `here` that stay below and above ρΔ between the two.
    """
    rising = there >= here
    for i in range(lo.size):
        s = max(deviation[i], 1e-12)
        scale = forward[i] * unit[i]
        a = math.log(forward[i] * here / strike[i]) / s + 0.5 * s
        b = math.log(forward[i] * there / strike[i]) / s + 0.5 * s
        p, q = math.exp(-0.5 * a * a) / _ROOT_2PI / s, math.exp(-0.5 * b * b) / _ROOT_2PI / s
        top = 1.0 / _ROOT_2PI / s if a * b < 0.0 else max(p, q)
        least = min(near[i], far[i]) + scale * min(p, q)
        most = max(near[i], far[i]) + scale * top
        lo[i], hi[i] = (least, most) if rising else (most, least)


def steepness(
    options: Options, deviation: Floats, low: float, high: float, spread: Floats
) -> Floats:
    """Bound dvalue/ds, s the volatility times the root of time, of every curve over a box.

    ``F·φ(d1)`` equals ``K·φ(d2)``. Where F > K throughout, d1 is at least what it is at the least
    F, the largest s in the quotient and the least s in the sum; likewise d2 where F < K; elsewhere
    the density is at most φ(0) and the factor at most min(F, K).

    Parameters
    ----------
    options : Options
        Contracts.
    deviation : float64[n, H]
        At the anchor.
    low, high : float
        Range of ρ.
    spread : float64[n, H]
        s lies within ``deviation ± spread``.

    Returns
    -------
    float64[n, H]
        US dollars per unit of s, at least 0.
    """
    k = options.strike[:, None]
    growth = np.maximum(options.growth, 0.0)[None, :]
    least, most = options.forward[:, None] * low * growth, options.forward[:, None] * high * growth
    narrow = np.maximum(deviation - spread, 1e-300)
    wide = np.maximum(deviation + spread, 1e-300)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        above = np.log(least / k) / wide + narrow / 2.0
        below = np.log(most / k) / wide - narrow / 2.0
        bound = np.minimum(most, k)
        bound = np.where(
            (least > k) & (above > 0), np.minimum(bound, most * np.exp(-0.5 * above**2)), bound
        )
        bound = np.where(
            (most < k) & (below < 0), np.minimum(bound, k * np.exp(-0.5 * below**2)), bound
        )
    return np.asarray(np.where(most > 0, bound, 0.0) * (options.unit[:, None] / _ROOT_2PI))
