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

from crossmargin.pricing._numba import _jit, _log_ratio, _otm

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
    turn_drift : float64[n, k]
        Bound of the change of the multiplier with time, per year.
    rest : float64[n]
        Years to expiry in the scenarios.
    power : float
        Largest power of the tenor in the scenarios' volatilities.
    rate : float64[n]
        Interest rate at which values are discounted; 0 where they are not.
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
    turn_drift: Floats
    rest: Floats
    power: float
    rate: Floats

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


@_jit
def curve_values(
    forward: Any, strike: Any, call: Any, unit: Any, growth: Any, deviation: Any, rho: float,
    value: Any, slope: Any,
) -> None:  # fmt: skip
    """Fill value and dvalue/dρ of every curve, in US dollars; float64[n, H] each.

    Black-76, undiscounted but for what `unit` holds; a forward of 0 or less has no time value.
    Two passes over a row, the second without a branch, so that the dear one is vector code.
    """
    width = growth.shape[0]
    ahead, near, half = np.empty(width), np.empty(width), np.empty(width)
    for i in range(value.shape[0]):
        k, u = strike[i], unit[i]
        sign = 1.0 if call[i] else -1.0
        low = 0.0 if call[i] else -1.0
        now = forward[i] * rho
        for h in range(width):
            f = now * growth[h]
            alive = f if f > 0.0 else k
            ahead[h] = f
            near[h] = min(abs(_log_ratio(alive, k)) / max(deviation[i, h], 1e-300), 100.0)
            half[h] = min(0.5 * deviation[i, h], 100.0)
        for h in range(width):
            _, inner, outer = _otm(near[h], half[h])
            f = ahead[h]
            gap = sign * (f - k)
            least = min(f, k)
            time = (least if least > 0.0 else 0.0) * max(inner - outer, 0.0)
            value[i, h] = u * ((gap if gap > 0.0 else 0.0) + time)
            alive = f if f > 0.0 else k
            up = (inner if f <= k else 1.0 - outer * (k / alive)) if f > 0.0 else 0.0
            slope[i, h] = forward[i] * growth[h] * u * (up + low)


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


@numba.njit(nogil=True, cache=True, error_model="numpy")
def steepness(
    forward: float, strike: float, unit: float, growth: float, low: float, high: float,
    least: float, most: float,
) -> float:  # fmt: skip
    """Bound dvalue/ds, s the volatility times the root of time, over a box of ρ and s.

    ``F·φ(d1)`` equals ``K·φ(d2)``. Where F > K throughout, d1 is at least what it is at the least
    F, the largest s in the quotient and the least s in the sum; likewise d2 where F < K; elsewhere
    the density is at most φ(0) and the factor at most min(F, K).

    Parameters
    ----------
    forward, strike, unit, growth : float
        Of the option and the curve.
    low, high : float
        Range of ρ.
    least, most : float
        Range of s.

    Returns
    -------
    float
        US dollars per unit of s, at least 0.
    """
    bottom, top = forward * low * growth, forward * high * growth
    if top <= 0.0:
        return 0.0
    bound = min(top, strike)
    narrow, wide = max(least, 1e-300), max(most, 1e-300)
    if bottom > strike:
        above = math.log(bottom / strike) / wide + narrow / 2.0
        bound = min(bound, top * math.exp(-0.5 * above * above))
    elif top < strike:
        below = math.log(top / strike) / wide - narrow / 2.0
        bound = min(bound, strike * math.exp(-0.5 * below * below))
    return bound * unit / _ROOT_2PI


@numba.njit(nogil=True, cache=True, error_model="numpy")
def tilts(
    rho: float, end: float, turned: Any, forward: Any, strike: Any, unit: Any, growth: Any,
    deviation: Any, turn_slope: Any, turn_base: Any, margin: float, out: Any,
) -> None:  # fmt: skip
    """Bound how far a turned curve leaves the curve at the volatility of `rho`, per unit of ρ.

    Its volatility moves by no more than `turn_slope` per unit of ln ρ, which is no steeper than
    one over the least price of the range.

    Parameters
    ----------
    rho, end : float
        The range.
    turned, forward, strike, unit, growth, deviation, turn_slope, turn_base
        See :class:`Options`; `deviation` is that of `rho`.
    margin : float
        Share by which the volatility times the root of time may move besides.
    out : float64[n, k]
        Written; at least 0.
    """
    low, high = min(rho, end), max(rho, end)
    for j in range(turned.size):
        h = turned[j]
        for i in range(forward.size):
            pace = turn_slope[i, j] * turn_base[i, j] * (1.0 + margin)
            s = deviation[i, h]
            spread = pace * math.log(high / low) + margin * max(s, turn_base[i, j])
            steep = steepness(forward[i], strike[i], unit[i], growth[h], low, high, s - spread,
                              s + spread)  # fmt: skip
            out[i, j] = steep * pace / low


def swings(
    options: Options, deviation: Floats, low: float, high: float, spread: Floats, moves: Floats
) -> tuple[Floats, Floats]:
    """Bound how far curves, and ρΔ, can leave those of the anchor when s moves, over a range of ρ.

    Parameters
    ----------
    options : Options
        Contracts.
    deviation : float64[n, H]
        s of each curve at the anchor: volatility times the root of time.
    low, high : float
        Range of ρ.
    spread : float64[n, H]
        How far s may be from `deviation` in all.
    moves : float64[n, H]
        How far it goes here.

    Returns
    -------
    curves : float64[n, H]
    delta : float64[n]
        US dollars, at least 0. ``∂Δ/∂s = −φ(d1)·d2/s`` is at most ``(0.242 + 0.3990·s)/s``, the
        largest of ``φ(x)|x|`` being 0.24197 and of φ 0.39894.
    """
    o = options
    out = np.empty_like(deviation)
    _steep(o.forward, o.strike, o.unit, o.growth, low, high, deviation - spread,
           deviation + spread, out)  # fmt: skip
    s, ds = deviation[:, o.today], moves[:, o.today]
    least, most = s - spread[:, o.today], s + spread[:, o.today]
    with np.errstate(divide="ignore", invalid="ignore"):
        turn = np.where(ds > 0, (0.242 + 0.399 * most) / np.maximum(least, 1e-300) * ds, 0.0)
    return out * moves, np.minimum(turn, 1.0) * o.unit * o.forward * high


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _steep(
    forward: Any, strike: Any, unit: Any, growth: Any, low: float, high: float, least: Any,
    most: Any, out: Any,
) -> None:  # fmt: skip
    for i in range(out.shape[0]):
        for h in range(out.shape[1]):
            out[i, h] = steepness(forward[i], strike[i], unit[i], growth[h], low, high,
                                  least[i, h], most[i, h])  # fmt: skip


def vol_moves(options: Options, deviation: Floats, share: float) -> Floats:
    """Bound the change of s when volatilities move by a share: those of scenarios by no more.

    A scenario's volatility is the volatility times a factor, plus a shift, or a floor: it moves by
    at most the share of itself or of the volatility, whichever is more.
    """
    base = options.vol[:, None] * np.sqrt(options.years)[:, None]
    return np.asarray(share * np.maximum(deviation, base))


def time_moves(options: Options, deviation: Floats, years: float) -> Floats:
    """Bound the change of s while some time passes, float64[n, H].

    With ``s = v(τ)·√τ``: the root moves by ``v/(2√τ)`` per year, and v, whose shock goes with a
    power p of one over the tenor, by no more than ``max(v, σ)·p/τ``, both at the end of the time,
    where they are largest.

    Raises
    ------
    NotBounded
        When an option is as near its expiry as that.
    """
    o = options
    end, today = o.rest - years, o.years - years
    if np.any(end <= 0.0) or np.any(today <= 0.0):
        raise ValueError("an option expires first")
    grown = (o.rest / end) ** o.power
    vol = np.maximum(deviation / np.sqrt(np.maximum(o.rest, 1e-300))[:, None], o.vol[:, None])
    pace = grown * (0.5 / np.sqrt(end) + np.sqrt(o.rest) * o.power / end)
    out = vol * pace[:, None]
    still = (o.vol * 0.5 / np.sqrt(today))[:, None]
    out[:, o.today :] = still
    for t, h in enumerate(o.turned.tolist()):
        out[:, h] += o.turn_base[:, t] * o.turn_drift[:, t] * grown
    return np.asarray(out * years)


def grown_by_rate(options: Options, high: float, years: float) -> Floats:
    """Bound what discounted values gain while some time passes, float64[n, H].

    A call is worth at most the forward, a put at most the strike.
    """
    o = options
    most = np.where(
        o.call[:, None], o.forward[:, None] * high * np.maximum(o.growth, 0.0), o.strike[:, None]
    )
    return np.asarray(most * o.unit[:, None] * np.expm1(o.rate * years)[:, None])
