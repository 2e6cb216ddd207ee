"""Delta, gamma and vega instead of revaluation: how far off that is, and when to say so.

``ΔV ≈ Δ·dF + ½Γ·dF² + vega·dσ + Θ·dt``, per contract. Quick and wrong far from the money and far
from today: it is offered with its error against full revaluation, never in place of it.

Source: requirements B04 (published figures).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.errors import PricingError, invariant
from crossmargin.pricing import black76, black76_greeks

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaylorCheck:
    """An approximation held to the full value, scenario by scenario.

    Attributes
    ----------
    full, approximate : float64[S]
        Profit and loss of the holding.
    used : float64[S]
        The approximation where its error is within the tolerance, else the full value.
    error : float64[S]
        ``|approximate − full| / |full|``; 0 where both are 0.
    worst : float
        Largest error.
    warning : str
        A sentence where the tolerance is exceeded; empty otherwise.
    """

    full: Floats
    approximate: Floats
    used: Floats
    error: Floats
    worst: float
    warning: str


def taylor_pnl(
    forward: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    vol: ArrayLike,
    is_call: ArrayLike,
    quantity: ArrayLike,
    move: ArrayLike,
    vol_change: ArrayLike = 0.0,
    *,
    passed_years: float = 0.0,
) -> Floats:
    """Return the approximate profit and loss of a holding of options, ``[S]``, in dollars.

    Parameters
    ----------
    forward, strike, years, vol, is_call, quantity : array_like [n]
        Options, paid in dollars; quantity in coins, signed.
    move : array_like [S]
        Relative move of the forward.
    vol_change : array_like [S] or [n, S]
        Change of volatility, decimals.
    passed_years : float
        Time that passes.
    """
    g = black76_greeks(forward, strike, years, vol, is_call)
    q = np.asarray(quantity, dtype=np.float64)
    m = np.asarray(move, dtype=np.float64)
    df = np.asarray(forward, dtype=np.float64)[..., None] * m
    dv = np.broadcast_to(np.asarray(vol_change, dtype=np.float64), df.shape)
    change = g.delta[..., None] * df + 0.5 * g.gamma[..., None] * df * df
    change = change + g.vega[..., None] * dv + g.theta[..., None] * passed_years
    return np.asarray(q @ change)


def full_pnl(
    forward: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    vol: ArrayLike,
    is_call: ArrayLike,
    quantity: ArrayLike,
    move: ArrayLike,
    vol_change: ArrayLike = 0.0,
    *,
    passed_years: float = 0.0,
) -> Floats:
    """Return the profit and loss by full revaluation; parameters as :func:`taylor_pnl`."""
    f, k = (np.asarray(x, dtype=np.float64)[..., None] for x in (forward, strike))
    t, v = (np.asarray(x, dtype=np.float64)[..., None] for x in (years, vol))
    call = np.asarray(is_call, dtype=np.bool_)[..., None]
    moved = f * (1.0 + np.asarray(move, dtype=np.float64))
    shape = moved.shape
    left = np.broadcast_to(np.maximum(t - passed_years, 0.0), shape)
    vols = np.broadcast_to(np.maximum(v + np.asarray(vol_change, dtype=np.float64), 0.0), shape)
    then = black76(moved, np.broadcast_to(k, shape), left, vols, np.broadcast_to(call, shape))
    now = black76(f, k, t, v, call)
    return np.asarray(np.asarray(quantity, dtype=np.float64) @ (then - now))


def taylor_check(full: ArrayLike, approximate: ArrayLike, *, tolerance: float) -> TaylorCheck:
    """Hold an approximation to the full value; beyond the tolerance the full value is used.

    Parameters
    ----------
    full, approximate : array_like [S]
        Profit and loss.
    tolerance : float
        Relative error that is allowed, > 0.

    Raises
    ------
    PricingError
        ``PRC-002`` when the two are not of one length.
    """
    f, a = np.asarray(full, dtype=np.float64), np.asarray(approximate, dtype=np.float64)
    if f.shape != a.shape:
        raise PricingError(
            f"{a.shape} approximate values beside {f.shape} full ones",
            code="PRC-002",
            field="approximate",
        )
    invariant(tolerance > 0, "a tolerance is a positive number")
    gap = np.abs(a - f)
    error = np.divide(gap, np.abs(f), out=np.where(gap > 0, np.inf, 0.0), where=f != 0)
    worst = float(error.max(initial=0.0))
    # What is no number is no approximation.
    off = ~(error <= tolerance)
    wrong = int(off.sum())
    warning = ""
    if wrong:
        warning = (
            f"delta, gamma and vega are off by up to {100 * worst:.1f} % of the full value, beyond "
            f"the {100 * tolerance:.1f} % allowed, in {wrong} of {error.size} scenarios: those are "
            "revalued in full."
        )
    return TaylorCheck(
        full=f,
        approximate=a,
        used=np.where(off, f, a),
        error=error,
        worst=worst,
        warning=warning,
    )
