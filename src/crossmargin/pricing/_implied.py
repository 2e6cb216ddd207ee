"""Implied volatility: the volatility behind a price, or the reason why there is none.

The search runs on the out-of-the-money time value per unit of ``min(F, K)``, ``p(s)`` with
``s = vol √T``, which rises from 0 to 1. It bends once, at ``s_c = √(2|ln(F/K)|)``. Below the bend
the objective is ``1/ln p``, nearly a parabola in s however deep the wing; above it ``ln(1 − p)``,
with the complement summed from positive terms. Both are close to straight lines in the region
where they are used, so Halley's step converges in a few rounds from the guesses below, inside a
bracket that bisection keeps honest.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from crossmargin.pricing import _reference as ref
from crossmargin.pricing._check import as_flag, as_float, common_shape

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

_EPS = float(np.finfo(np.float64).eps)
_NOISE = 4.0 * _EPS
"""Relative rounding taken to be in a price, and in the pricing formula itself."""

_VOL_TOLERANCE = 1e-8
"""A volatility is returned only if rounding noise moves it by no more than this."""

_LEAST_SIGNAL = 16.0
"""A time value below this many times the rounding of its price is not a measurement."""

_STEP_TOLERANCE = 1e-6
"""Relative step after which the cubic convergence leaves an error near 1e-16."""

_MAX_ROUNDS = 60


class IvStatus(IntEnum):
    """Why an implied volatility was given or refused."""

    OK = 0
    """The volatility is good to 1e-8."""
    BELOW_INTRINSIC = 1
    """The price is below intrinsic value by more than rounding: no volatility gives it."""
    ABOVE_MAXIMUM = 2
    """The price is above the largest value (F for a call, K for a put; intrinsic at expiry)."""
    NO_INFORMATION = 3
    """A whole range of volatilities gives this price within rounding."""
    INVALID_INPUT = 4
    """A missing or infinite input, a forward or strike not above 0, or a negative time."""


class ImpliedVol(NamedTuple):
    """Implied volatilities and, element by element, whether they can be defended."""

    vol: Floats
    """Decimal per year; NaN wherever `status` is not OK."""
    status: NDArray[np.int8]
    """Values of `IvStatus`, of the same shape."""

    @property
    def ok(self) -> NDArray[np.bool_]:
        """True where `vol` is a number to rely on."""
        return np.asarray(self.status == IvStatus.OK)


def implied_vol(
    price: ArrayLike,
    forward: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    is_call: ArrayLike,
) -> ImpliedVol:
    """Invert Black-76 for the volatility, element by element; broadcasts.

    Parameters
    ----------
    price : array_like
        Undiscounted option price, USD per unit of underlying. For an inverse option multiply
        the coin price by the forward first.
    forward, strike : array_like
        USD per unit of underlying.
    years : array_like
        Time to expiry in years (ACT/365).
    is_call : array_like of bool
        True for a call.

    Returns
    -------
    ImpliedVol
        `vol` and `status`, of the broadcast shape. A bad element is a status, not an error,
        so that one bad quote does not stop a surface.

    Raises
    ------
    PricingError
        ``PRC-002`` when the shapes do not broadcast; ``PRC-001`` when an input is not numeric.

    Notes
    -----
    Criterion for OK: with noise of 4 units of rounding (4 · 2.2e-16) in the price and in the
    formula, ``noise · (price + min(F, K) exp(−u²/2)) ≤ 1e-8 · vega``, and a time value of at
    least 16 times the noise of the price. Elsewhere the answer would be made of rounding, and
    the status is NO_INFORMATION: deep in the money, where a price carries few digits of time
    value, and near the largest value. Source of the objectives: P. Jäckel, "Let's be rational"
    (2015), section 3; the arithmetic here is our own.
    """
    prices = as_float("price", price)
    forwards = as_float("forward", forward)
    strikes = as_float("strike", strike)
    times = as_float("years", years)
    flags = as_flag("is_call", is_call)
    inputs = {
        "price": prices,
        "forward": forwards,
        "strike": strikes,
        "years": times,
        "is_call": flags,
    }
    shape = common_shape({name: array.shape for name, array in inputs.items()})
    p, f, k, t = (
        np.broadcast_to(array, shape).reshape(-1) for array in (prices, forwards, strikes, times)
    )
    calls = np.broadcast_to(flags, shape).reshape(-1)

    vol = np.full(p.shape, np.nan)
    status = np.full(p.shape, IvStatus.INVALID_INPUT, dtype=np.int8)
    finite = np.isfinite(p) & np.isfinite(f) & np.isfinite(k) & np.isfinite(t)
    with np.errstate(invalid="ignore"):
        good = np.flatnonzero(finite & (f > 0.0) & (k > 0.0) & (t >= 0.0))
    if good.size:
        vol[good], status[good] = _solve(p[good], f[good], k[good], t[good], calls[good])
    return ImpliedVol(vol.reshape(shape), status.reshape(shape))


def _solve(
    price: Floats, forward: Floats, strike: Floats, years: Floats, is_call: NDArray[np.bool_]
) -> tuple[Floats, NDArray[np.int8]]:
    """Sort valid inputs by what can be said of them, and invert the ones in the open range."""
    smaller = np.minimum(forward, strike)
    floor = ref.intrinsic(forward, strike, is_call)
    time_value = price - floor
    rounding = _NOISE * np.maximum(np.abs(price), floor)
    ceiling = np.where(years > 0.0, smaller, 0.0)
    status = np.full(price.shape, IvStatus.NO_INFORMATION, dtype=np.int8)
    status[time_value < -rounding] = IvStatus.BELOW_INTRINSIC
    status[time_value > ceiling + rounding] = IvStatus.ABOVE_MAXIMUM
    vol = np.full(price.shape, np.nan)

    signal = _LEAST_SIGNAL * rounding
    open_range = np.flatnonzero(
        (time_value > signal) & (time_value < ceiling) & (time_value > 1e-290 * smaller)
    )
    if open_range.size == 0:
        return vol, status
    base = smaller[open_range]
    value = time_value[open_range]
    distance = np.abs(ref.log_moneyness(forward[open_range], strike[open_range]))
    deviation, converged = _invert(distance, value / base, (base - value) / base)

    # Judge the answer by what rounding could have done to it, not by the solver's word.
    parts = ref.otm_parts(distance, deviation)
    root = np.sqrt(years[open_range])
    vega = base * parts.density * (root * ref.INV_SQRT_2PI)
    noise = rounding[open_range] + _NOISE * base * parts.density
    miss = np.abs(base * parts.value - value)
    defended = converged & (np.maximum(noise, miss) <= _VOL_TOLERANCE * vega) & (vega > 0.0)
    vol[open_range[defended]] = deviation[defended] / root[defended]
    status[open_range[defended]] = IvStatus.OK
    return vol, status


def _terms(distance: Floats, s: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Return p, its complement q, dp/ds and p''/p' at deviation s > 0."""
    parts = ref.otm_parts(distance, s)
    with np.errstate(over="ignore", under="ignore", divide="ignore", invalid="ignore"):
        # inner is 1 − tail or tail according to the side; the complement needs the other one.
        u = distance / s - 0.5 * s
        complement = np.where(u >= 0.0, 1.0 - parts.inner, _lower_tail(parts.density, u))
        q = complement + parts.outer
        slope = parts.density * ref.INV_SQRT_2PI
        bend = (distance / s) ** 2 / s - 0.25 * s
    return parts.value, q, slope, bend


def _lower_tail(density: Floats, u: Floats) -> Floats:
    """N(u) for u < 0 from the density ``exp(−u²/2)`` at hand."""
    from scipy.special import erfcx

    tail: Floats = 0.5 * density * erfcx(np.abs(u) * ref.INV_SQRT_2)
    return tail


def _first_guess(
    distance: Floats, p: Floats, q: Floats, bend_at: Floats
) -> tuple[Floats, NDArray[np.bool_]]:
    """Guess the deviation from the value at the bend, which both forms match exactly."""
    from scipy.special import ndtr, ndtri

    away = bend_at > 0.0
    p_bend, q_bend, _, _ = _terms(distance, np.where(away, bend_at, 1.0))
    low = away & (p < p_bend)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        # 1/ln p grows like s²: scale the bend by the root of the ratio.
        below = bend_at * np.sqrt(np.log(p_bend) / np.log(p))
        # At the money q = 2 N(−s/2) exactly; away from it, shift by the ratio at the bend.
        tail = ndtr(-0.5 * bend_at)
        shift = np.where(away, tail / q_bend, 0.5)
        above = -2.0 * ndtri(np.minimum(q * shift, 0.5))
    guess = np.where(low, below, np.maximum(above, bend_at))
    usable = np.isfinite(guess) & (guess > 0.0)
    return np.where(usable, guess, np.where(low, 0.5 * bend_at, bend_at + 0.1)), low


def _invert(distance: Floats, p: Floats, q: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Find s with p(s) = p, given also q = 1 − p.

    Returns
    -------
    deviation : ndarray
        s, above 0.
    converged : ndarray of bool
        False where the rounds ran out.
    """
    bend_at = np.sqrt(2.0 * distance)
    s, low = _first_guess(distance, p, q, bend_at)
    bottom = np.where(low, 0.0, bend_at)
    top = np.where(low, bend_at, np.inf)
    converged = np.zeros(p.shape, dtype=np.bool_)
    active = np.arange(p.size)
    for _ in range(_MAX_ROUNDS):
        here, left = s[active], low[active]
        p_s, q_s, slope, bend = _terms(distance[active], here)
        short = np.where(left, p_s < p[active], q_s > q[active])
        bottom[active] = np.where(short, here, bottom[active])
        top[active] = np.where(short, top[active], here)
        with np.errstate(all="ignore"):
            log_p, log_q = np.log(p_s), np.log(q_s)
            rate_p, rate_q = slope / p_s, -slope / q_s
            newton_low = (1.0 - log_p / np.log(p[active])) * log_p / rate_p
            newton_high = (np.log(q[active]) - log_q) / rate_q
            newton = np.where(left, newton_low, newton_high)
            curve = np.where(left, bend - rate_p - 2.0 * rate_p / log_p, bend - rate_q)
            damping = 1.0 + 0.5 * curve * newton
            # Far out the correction may turn the step round: keep Newton's sign.
            step = newton / np.maximum(damping, 0.25)
            trial = here + step
            middle = np.where(
                np.isfinite(top[active]), 0.5 * (bottom[active] + top[active]), 2.0 * here
            )
            close = np.abs(step) <= _STEP_TOLERANCE * here
            inside = (trial > bottom[active]) & (trial < top[active])
        # A last step that rounding throws across its own bracket still is the answer.
        s[active] = np.where(inside, trial, np.where(close, here, middle))
        converged[active] = close
        active = active[~close]
        if active.size == 0:
            break
    return s, converged
