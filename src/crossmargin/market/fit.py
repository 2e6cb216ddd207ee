"""Fit quoted smiles with SVI: one expiry, or a whole term structure without calendar arbitrage.

One expiry. For a trial vertex and width (m, sigma), SVI is linear in its level and its two wing
slopes, and the slopes are bounded by zero and Lee's bound, so the best of them is a box-bounded
linear least-squares problem with a closed solution. A grid of (m, sigma) is solved that way, and
the best few are polished by bounded least squares on all five parameters, with errors measured
in volatility and exact derivatives. If the result breaks Durrleman's condition on its range, it
is polished again with a growing penalty, and as a last resort flattened. Nothing is random.

A surface. Expiries are fitted alone, then gone through in order of time; one whose total variance
falls below the expiry before it is polished again with a penalty on the shortfall. What remains
is reported, not hidden.

Source: De Marco and Martini, "Quasi-explicit calibration of Gatheral's SVI model" (Zeliade Systems
white paper, 2009) for the split into two and three parameters; Gatheral and Jacquier,
"Arbitrage-free SVI volatility surfaces" (2014), section 5.2 for the penalties.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.errors import MarketDataError
from crossmargin.market._svi_solver import (
    Found,
    Penalty,
    SmileData,
    polish,
    starting_points,
    to_slice,
    to_vector,
)
from crossmargin.market.arbitrage import (
    ArbitrageViolation,
    calendar_violations,
    durrleman_g,
    slice_grid,
)
from crossmargin.market.svi import Floats, SviSlice

MIN_STRIKES = 5
VEGA_FLOOR = 0.002
ONE_SIDED_WEIGHT = 0.25

_PENALTIES = (1.0, 1e2, 1e4, 1e6)


@dataclass(frozen=True, slots=True, kw_only=True)
class SmileQuotes:
    """Quotes of one expiry, as `fit_surface` takes them.

    Parameters
    ----------
    strike, vol : array_like, shape (n,)
        USD, > 0; decimal per square-root year, > 0.
    forward_usd : float
        Forward of the expiry, USD.
    years : float
        Time to expiry, ACT/365, > 0.
    weight : array_like, shape (n,), optional
        Weight of each quote; left out, `vega_weight`.
    expiry_ns : int, optional
        Passed through to the caller's results; not used by the fit.
    """

    strike: ArrayLike
    vol: ArrayLike
    forward_usd: float
    years: float
    weight: ArrayLike | None = None
    expiry_ns: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SviFit:
    """A fitted expiry and how well it fits.

    All errors are in volatility as a decimal (0.004 is 0.4 vol points), not weighted.

    Attributes
    ----------
    slice : SviSlice
        The smile.
    rmse_vol : float
        Root mean square error over all quotes.
    rmse_vol_10_90 : float or None
        The same over the quotes whose call delta lies in [0.1, 0.9]; None if there is none.
    max_error : float
        Largest absolute error over all quotes.
    n, n_10_90 : int
        Number of quotes in each.
    min_g : float
        Lowest value of Durrleman's function on the fitted range.
    converged : bool
        Whether the optimiser met its tolerance (a fit that did not is still the best found).
    """

    slice: SviSlice
    rmse_vol: float
    rmse_vol_10_90: float | None
    max_error: float
    n: int
    n_10_90: int
    min_g: float
    converged: bool

    @property
    def butterfly_free(self) -> bool:
        """Whether no density is negative on the fitted range."""
        return self.min_g >= 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SurfaceFit:
    """Fitted expiries of one underlying, in order of time.

    Attributes
    ----------
    fits : tuple of SviFit
        After the calendar repair.
    unrepaired : tuple of SviFit
        Each expiry fitted alone; the same object where nothing had to be repaired.
    calendar : tuple of ArbitrageViolation
        What remains between neighbours.
    expiry_ns : tuple of int or None
        As given with the quotes.
    """

    fits: tuple[SviFit, ...]
    unrepaired: tuple[SviFit, ...]
    calendar: tuple[ArbitrageViolation, ...]
    expiry_ns: tuple[int | None, ...]


def otm_mask(strike: ArrayLike, is_call: ArrayLike, forward: float) -> NDArray[np.bool_]:
    """Mark the out-of-the-money options: puts below the forward, calls at or above it.

    Parameters
    ----------
    strike : array_like, shape (n,)
        USD.
    is_call : array_like of bool, shape (n,)
        True for a call.
    forward : float
        USD.

    Returns
    -------
    ndarray of bool, shape (n,)
        At most one of the call and the put of each strike.
    """
    return np.asarray(
        (np.asarray(strike, dtype=np.float64) >= forward) == np.asarray(is_call, dtype=np.bool_)
    )


def vega_weight(
    strike: ArrayLike,
    vol: ArrayLike,
    forward: float,
    years: float,
    *,
    two_sided: ArrayLike | None = None,
) -> Floats:
    """Weights for `fit_svi`: Black vega relative to its peak, lowered for a one-sided quote.

    Parameters
    ----------
    strike, vol : array_like, shape (n,)
        USD; decimal per square-root year.
    forward, years : float
        USD; ACT/365.
    two_sided : array_like of bool, shape (n,), optional
        Whether a quote has both a bid and an ask; without both it counts a quarter.

    Returns
    -------
    ndarray, shape (n,)
        In (0, 1]. Vega is floored at 0.2 % of its peak, so that a far wing is led by its quotes
        and not left to chance, yet does not outvote the middle.
    """
    strikes, vols, _ = _checked(strike, vol, forward, years, None)
    weight = np.maximum(np.exp(-0.5 * _d1(strikes, vols, forward, years) ** 2), VEGA_FLOOR)
    if two_sided is not None:
        weight = np.where(np.asarray(two_sided, dtype=np.bool_), 1.0, ONE_SIDED_WEIGHT) * weight
    return np.asarray(weight, dtype=np.float64)


def fit_svi(
    strike: ArrayLike,
    vol: ArrayLike,
    forward: float,
    years: float,
    weight: ArrayLike | None = None,
) -> SviFit:
    """Fit one expiry.

    Parameters
    ----------
    strike, vol : array_like, shape (n,)
        Quotes, in any order: USD, > 0; decimal per square-root year, > 0. One per strike is
        best (`otm_mask`).
    forward, years : float
        Forward in USD; time to expiry, ACT/365.
    weight : array_like, shape (n,), optional
        Weight of each squared error in volatility, > 0; by default `vega_weight`.

    Returns
    -------
    SviFit
        Free of butterfly arbitrage on the range of its quotes (checked on a grid of 401 points);
        where the penalty does not reach that, the smile is flattened until it is.

    Raises
    ------
    MarketDataError
        ``MKT-101`` for fewer than five different strikes, ``MKT-102`` for a value that is not
        positive and finite, ``MKT-103`` for arrays that do not fit together.

    Notes
    -----
    Five parameters are too few for some smiles of a few hours, whose wings bend; the errors
    returned say so. A single wrong quote is not rejected: it shows in `max_error`.
    """
    data = _data(strike, vol, forward, years, weight)
    best = min(
        (polish(data, start, ()) for start in starting_points(data)),
        key=lambda found: found[1],
    )
    return _settle(data, best, None)


def fit_surface(quotes: Sequence[SmileQuotes]) -> SurfaceFit:
    """Fit every expiry of one underlying and repair total variance that falls with time.

    Parameters
    ----------
    quotes : sequence of SmileQuotes
        In any order of time; no two with the same time to expiry.

    Returns
    -------
    SurfaceFit
        In order of time.

    Raises
    ------
    MarketDataError
        As `fit_svi`; ``MKT-112`` for two expiries at the same time.

    Notes
    -----
    The later expiry of a pair is the one that gives way. Only the range of log-moneyness that
    both were quoted on is repaired and reported: a crossing in an extrapolated wing is left.
    """
    ordered = sorted(quotes, key=lambda one: one.years)
    alone = [fit_svi(q.strike, q.vol, q.forward_usd, q.years, q.weight) for q in ordered]
    fits = alone[:1]
    remaining: list[ArbitrageViolation] = []
    for q, fit in zip(ordered[1:], alone[1:], strict=True):
        near = fits[-1].slice
        if calendar_violations(near, fit.slice):
            data = _data(q.strike, q.vol, q.forward_usd, q.years, q.weight)
            fit = _settle(data, (to_vector(fit.slice), 0.0, fit.converged), near)
        remaining += calendar_violations(near, fit.slice)
        fits.append(fit)
    return SurfaceFit(
        fits=tuple(fits),
        unrepaired=tuple(alone),
        calendar=tuple(remaining),
        expiry_ns=tuple(q.expiry_ns for q in ordered),
    )


def _settle(data: SmileData, found: Found, near: SviSlice | None) -> SviFit:
    """Turn a solution into a fit, with stronger penalties for as long as arbitrage remains."""
    fit = _fit_of(data, found)
    for strength in _PENALTIES:
        crossing = near is not None and bool(calendar_violations(near, fit.slice))
        if fit.butterfly_free and not crossing:
            break
        penalties: list[Penalty] = [(strength, slice_grid(fit.slice), None)]
        if near is not None:
            shared = slice_grid(near, fit.slice)
            penalties.append((10.0 * strength, shared, near.total_variance(shared)))
        found = polish(data, found[0], penalties)
        fit = _fit_of(data, found)
    return fit if fit.butterfly_free else _flattened(data, found)


def _flattened(data: SmileData, found: Found) -> SviFit:
    """Flatten a smile towards its minimum just far enough; a flat one has no butterfly."""
    vector, cost, converged = found
    low, high = 0.0, 1.0
    for _ in range(30):
        middle = 0.5 * (low + high)
        trial = _fit_of(data, (vector * [1.0, middle, middle, 1.0, 1.0], cost, converged))
        low, high = (middle, high) if trial.butterfly_free else (low, middle)
    return _fit_of(data, (vector * [1.0, low, low, 1.0, 1.0], cost, converged))


def _fit_of(data: SmileData, found: Found) -> SviFit:
    from scipy.special import ndtr

    smile = to_slice(data, found[0])
    error = smile.vol(data.strike) - data.vol
    delta = ndtr(_d1(data.strike, data.vol, data.forward, data.years))
    middle = error[(delta >= 0.1) & (delta <= 0.9)]
    return SviFit(
        slice=smile,
        rmse_vol=_rms(error),
        rmse_vol_10_90=_rms(middle) if middle.size else None,
        max_error=float(np.max(np.abs(error))),
        n=error.size,
        n_10_90=middle.size,
        min_g=float(np.min(durrleman_g(smile, slice_grid(smile)))),
        converged=found[2],
    )


def _data(
    strike: ArrayLike, vol: ArrayLike, forward: float, years: float, weight: ArrayLike | None
) -> SmileData:
    strikes, vols, weights = _checked(strike, vol, forward, years, weight)
    if np.unique(strikes).size < MIN_STRIKES:
        raise MarketDataError(
            f"a smile needs quotes at {MIN_STRIKES} different strikes or more, "
            f"got {np.unique(strikes).size}",
            code="MKT-101",
            field="strike",
            hint="leave this expiry out and read its volatility from its neighbours",
        )
    if weights is None:
        weights = vega_weight(strikes, vols, forward, years)
    return SmileData.of(strikes, vols, forward, years, weights)


def _rms(error: Floats) -> float:
    return float(np.sqrt(np.mean(error**2)))


def _d1(strike: Floats, vol: Floats, forward: float, years: float) -> Floats:
    deviation = vol * math.sqrt(years)
    return np.asarray(np.log(forward / strike) / deviation + 0.5 * deviation, dtype=np.float64)


def _checked(
    strike: ArrayLike, vol: ArrayLike, forward: float, years: float, weight: ArrayLike | None
) -> tuple[Floats, Floats, Floats | None]:
    arrays = {"strike": np.asarray(strike, dtype=np.float64)}
    arrays["vol"] = np.asarray(vol, dtype=np.float64)
    if weight is not None:
        arrays["weight"] = np.asarray(weight, dtype=np.float64)
    for name, value in arrays.items():
        if value.ndim != 1 or value.shape != arrays["strike"].shape:
            raise MarketDataError(
                f"{name} must be a list as long as the strikes", code="MKT-103", field=name
            )
        if not np.all(np.isfinite(value) & (value > 0.0)):
            raise MarketDataError(
                f"every {name} of a smile must be positive and finite",
                code="MKT-102",
                field=name,
                hint="drop the rows without a quote",
            )
    for name, number in (("forward", forward), ("years", years)):
        if not (math.isfinite(number) and number > 0.0):
            raise MarketDataError(
                f"the {name} of a smile must be positive, got {number!r}",
                code="MKT-102",
                field=name,
                hint="leave out expiries that are past",
            )
    return arrays["strike"], arrays["vol"], arrays.get("weight")
