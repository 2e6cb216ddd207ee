"""Static arbitrage in a volatility surface: what is wrong, where, and by how much.

Two kinds of check. On fitted slices: Durrleman's function (a negative value is a negative
probability density, that is a butterfly sold for less than nothing) and total variance that
falls with time at fixed log-moneyness (a calendar spread sold for less than nothing). On quotes,
with no model between them: call prices that must fall with strike, no faster than the strike
rises, and be convex; total variance that must not fall with time.

Source: Gatheral and Jacquier, "Arbitrage-free SVI volatility surfaces" (2014), section 2
(Definitions 2.1 to 2.3, Lemmas 2.1 and 2.2); Carr and Madan, "A note on sufficient conditions
for no arbitrage" (Finance Research Letters 2, 2005) for the conditions on quoted prices.
All prices are undiscounted.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from crossmargin.errors import MarketDataError
from crossmargin.market._violations import ArbitrageViolation, calendar_records, runs
from crossmargin.market.svi import Floats, SviSlice

__all__ = [
    "GRID_POINTS",
    "QUOTE_STEP_VOL",
    "ArbitrageViolation",
    "butterfly_violations",
    "calendar_quote_violations",
    "calendar_violations",
    "call_price_violations",
    "durrleman_g",
    "quote_violations",
    "slice_grid",
]

GRID_POINTS = 401
QUOTE_STEP_VOL = 1e-4
"""Step to which venues round a quoted volatility (0.01 vol points)."""


def durrleman_g(smile: SviSlice, k: ArrayLike) -> Floats:
    """Durrleman's function, the density of the slice up to a positive factor.

    ``g(k) = (1 - k w' / (2 w))^2 - (w'^2 / 4) (1 / w + 1 / 4) + w'' / 2``.

    Parameters
    ----------
    smile : SviSlice
        The smile.
    k : array_like, any shape
        Log-moneyness.

    Returns
    -------
    ndarray
        Shape of `k`; 1 for a flat smile; negative where the smile allows a butterfly arbitrage.

    Notes
    -----
    Where total variance is exactly zero the function is not defined and ``-inf`` is returned
    unless the smile is flat there.

    Source: Gatheral and Jacquier (2014), equation 2.1.
    """
    at = np.asarray(k, dtype=np.float64)
    w = smile.total_variance(at)
    slope = smile.total_variance_slope(at)
    with np.errstate(divide="ignore", invalid="ignore"):
        g = (
            (1.0 - at * slope / (2.0 * w)) ** 2
            - 0.25 * slope**2 * (1.0 / w + 0.25)
            + 0.5 * smile.total_variance_curvature(at)
        )
    return np.asarray(np.where(w > 0.0, g, np.where(slope == 0.0, 1.0, -np.inf)), dtype=np.float64)


def slice_grid(smile: SviSlice, other: SviSlice | None = None, n: int = GRID_POINTS) -> Floats:
    """Even grid over the fitted range of a slice, or over what two slices have in common.

    Returns
    -------
    ndarray, shape (n,)
        Log-moneyness, rising; empty when two ranges do not overlap.
    """
    low, high = smile.k_min, smile.k_max
    if other is not None:
        low, high = max(low, other.k_min), min(high, other.k_max)
    return np.linspace(low, high, n) if low <= high else np.empty(0)


def butterfly_violations(
    smile: SviSlice, k_grid: ArrayLike | None = None, *, tolerance: float = 0.0
) -> list[ArbitrageViolation]:
    """Stretches of a slice with negative density.

    Parameters
    ----------
    smile : SviSlice
        The smile.
    k_grid : array_like, shape (n,), optional
        Rising log-moneyness; by default the fitted range.
    tolerance : float
        Largest ``-g`` that is let pass.

    Returns
    -------
    list of ArbitrageViolation
        One per connected stretch, at its worst point; empty if free of butterfly arbitrage.
    """
    grid = slice_grid(smile) if k_grid is None else np.asarray(k_grid, dtype=np.float64)
    depth = -durrleman_g(smile, grid)
    return [
        ArbitrageViolation(
            kind="butterfly",
            years=smile.years,
            k=float(grid[at]),
            strike_usd=smile.forward_usd * math.exp(grid[at]),
            k_from=float(grid[first]),
            k_to=float(grid[last]),
            amount=float(depth[at]),
            unit="g",
        )
        for first, last, at in runs(depth, tolerance)
    ]


def calendar_violations(
    slice_near: SviSlice,
    slice_far: SviSlice,
    k_grid: ArrayLike | None = None,
    *,
    tolerance: float = 0.0,
) -> list[ArbitrageViolation]:
    """Stretches where the later expiry has less total variance than the nearer one.

    Parameters
    ----------
    slice_near, slice_far : SviSlice
        Two expiries of one underlying, in order of time.
    k_grid : array_like, shape (n,), optional
        Rising log-moneyness, each slice measured from its own forward; by default the range that
        both slices were fitted on (in a wing that one of them only extrapolates, a crossing
        says more about the extrapolation than about the market).
    tolerance : float
        Largest shortfall of total variance that is let pass.

    Returns
    -------
    list of ArbitrageViolation
        One per connected stretch, at its worst point.

    Raises
    ------
    MarketDataError
        ``MKT-112`` when the slices are not in order of time.
    """
    _ordered(slice_near.years, slice_far.years)
    grid = (
        slice_grid(slice_near, slice_far)
        if k_grid is None
        else np.asarray(k_grid, dtype=np.float64)
    )
    short = slice_near.total_variance(grid) - slice_far.total_variance(grid)
    return calendar_records(
        grid, short, tolerance, slice_near.years, slice_far.years, slice_near.forward_usd
    )


def call_price_violations(
    strike: ArrayLike,
    call_usd: ArrayLike,
    forward: float,
    years: float,
    *,
    tolerance_usd: ArrayLike = 0.0,
) -> list[ArbitrageViolation]:
    """Model-free conditions on the call prices of one expiry.

    Parameters
    ----------
    strike : array_like, shape (n,)
        USD, strictly rising.
    call_usd : array_like, shape (n,)
        Undiscounted price of one call on one coin, USD.
    forward : float
        USD.
    years : float
        Time to expiry; only named in the result.
    tolerance_usd : array_like, scalar or shape (n,)
        Uncertainty of each price. A condition is broken when no prices within it satisfy it.

    Returns
    -------
    list of ArbitrageViolation
        Amounts in USD beyond the tolerance: the profit at inception of the spread that collects
        it, per unit of its widest leg.

    Raises
    ------
    MarketDataError
        ``MKT-103`` for arrays that do not fit together or strikes that do not rise.
    """
    strikes, price = _pair(strike, call_usd, "call_usd")
    slack = np.broadcast_to(np.asarray(tolerance_usd, dtype=np.float64), strikes.shape)
    k = np.log(strikes / forward)
    found: list[ArbitrageViolation] = []

    def report(kind: str, short: Floats, low: Floats, at: Floats, high: Floats) -> None:
        found.extend(
            ArbitrageViolation(
                kind=kind,
                years=years,
                k=float(at[i]),
                strike_usd=forward * math.exp(at[i]),
                k_from=float(low[i]),
                k_to=float(high[i]),
                amount=float(short[i]),
                unit="usd",
            )
            for i in np.flatnonzero(short > 1e-12 * forward)
        )

    intrinsic = np.maximum(forward - strikes, 0.0)
    outside = np.maximum(intrinsic - price, price - forward) - slack
    report("call_bounds", outside, k, k, k)
    drop = price[:-1] - price[1:]
    gap = np.diff(strikes)
    pair_slack = slack[:-1] + slack[1:]
    report("call_rising", -drop - pair_slack, k[:-1], k[1:], k[1:])
    report("call_steep", drop - gap - pair_slack, k[:-1], k[1:], k[1:])
    left = gap[1:] / (gap[:-1] + gap[1:])
    chord = left * price[:-2] + (1.0 - left) * price[2:]
    chord_slack = left * slack[:-2] + (1.0 - left) * slack[2:]
    report("call_concave", price[1:-1] - chord - chord_slack - slack[1:-1], k[:-2], k[1:-1], k[2:])
    return found


def quote_violations(
    strike: ArrayLike,
    vol: ArrayLike,
    forward: float,
    years: float,
    *,
    tolerance_vol: float = 0.5 * QUOTE_STEP_VOL,
) -> list[ArbitrageViolation]:
    """Model-free conditions on the quoted volatilities of one expiry.

    The volatilities are turned into undiscounted Black prices and tested with
    `call_price_violations`; the tolerance of each price is its vega times `tolerance_vol`.

    Parameters
    ----------
    strike, vol : array_like, shape (n,)
        USD, strictly rising; decimal per square-root year.
    forward, years : float
        USD; ACT/365.
    tolerance_vol : float
        Uncertainty of a quoted volatility; the default is half the step that venues round to.

    Returns
    -------
    list of ArbitrageViolation
        As `call_price_violations`.
    """
    strikes, vols = _pair(strike, vol, "vol")
    price, vega = _black_call(strikes, vols, forward, years)
    return call_price_violations(strikes, price, forward, years, tolerance_usd=tolerance_vol * vega)


def calendar_quote_violations(
    strike_near: ArrayLike,
    vol_near: ArrayLike,
    forward_near: float,
    years_near: float,
    strike_far: ArrayLike,
    vol_far: ArrayLike,
    forward_far: float,
    years_far: float,
    *,
    tolerance_vol: float = 0.5 * QUOTE_STEP_VOL,
) -> list[ArbitrageViolation]:
    """Model-free calendar condition on the quotes of two expiries.

    Total variance of the far expiry, interpolated linearly in log-moneyness between its quotes,
    must not be below that of the near expiry at each near quote that lies inside the far range.

    Parameters
    ----------
    strike_near, vol_near, strike_far, vol_far : array_like
        Quotes, strikes strictly rising; USD and decimal.
    forward_near, forward_far, years_near, years_far : float
        USD; ACT/365.
    tolerance_vol : float
        Uncertainty of a quoted volatility, as in `quote_violations`.

    Returns
    -------
    list of ArbitrageViolation
        One per connected run of near quotes, amounts in total variance beyond the tolerance.

    Notes
    -----
    A smile is convex in total variance, so the interpolation lies above it and can hide a
    violation smaller than the bend between two far quotes; it does not invent one.
    """
    _ordered(years_near, years_far)
    near, near_vol = _pair(strike_near, vol_near, "vol_near")
    far, far_vol = _pair(strike_far, vol_far, "vol_far")
    k_near, k_far = np.log(near / forward_near), np.log(far / forward_far)
    inside = (k_near >= k_far[0]) & (k_near <= k_far[-1])
    k, held = k_near[inside], near_vol[inside]
    later = np.interp(k, k_far, far_vol**2 * years_far)
    slack = 2.0 * tolerance_vol * (held * years_near + np.sqrt(later * years_far))
    short = held**2 * years_near - later - slack
    return calendar_records(k, short, 0.0, years_near, years_far, forward_near)


def _black_call(strike: Floats, vol: Floats, forward: float, years: float) -> tuple[Floats, Floats]:
    """Undiscounted Black call and vega, USD and USD per unit of volatility."""
    from scipy.special import ndtr

    deviation = vol * math.sqrt(years)
    d1 = np.log(forward / strike) / deviation + 0.5 * deviation
    call = forward * ndtr(d1) - strike * ndtr(d1 - deviation)
    vega = forward * math.sqrt(years / (2.0 * math.pi)) * np.exp(-0.5 * d1**2)
    return np.asarray(call, dtype=np.float64), np.asarray(vega, dtype=np.float64)


def _pair(strike: ArrayLike, value: ArrayLike, name: str) -> tuple[Floats, Floats]:
    strikes = np.asarray(strike, dtype=np.float64)
    values = np.asarray(value, dtype=np.float64)
    if strikes.ndim != 1 or strikes.shape != values.shape or not strikes.size:
        raise MarketDataError(
            f"strike and {name} must be two lists of one length",
            code="MKT-103",
            field=name,
        )
    if not np.all(np.isfinite(values)) or not np.all(strikes > 0.0):
        raise MarketDataError(
            f"strike and {name} must be finite numbers, strikes positive",
            code="MKT-103",
            field=name,
            hint="drop the rows without a quote",
        )
    if np.any(np.diff(strikes) <= 0.0):
        raise MarketDataError(
            "strikes must rise strictly",
            code="MKT-103",
            field="strike",
            hint="sort the quotes by strike and keep one per strike",
        )
    return strikes, values


def _ordered(near: float, far: float) -> None:
    if not 0.0 < near < far:
        raise MarketDataError(
            "a calendar check needs two expiries in order of time",
            code="MKT-112",
            field="years",
            hint="pass the nearer expiry first",
        )
