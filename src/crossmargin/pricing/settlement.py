"""The settlement average: what is already fixed of the price an option will settle on.

An option that settles on the average of the index over a closing window is, inside that
window, partly an option on a number that is already known. The forward is split into a fixed
part, which no price move can change, and a variable part, which moves with the price.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from crossmargin.errors import PricingError
from crossmargin.pricing._check import CODE_DOMAIN, checked, common_shape

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

SETTLEMENT_WINDOW_S = 1800.0
"""Length of the closing window of Deribit's delivery price and Derive's settlement: 30 min."""


def settlement_parts(
    index_price: ArrayLike,
    basis: ArrayLike,
    average_so_far: ArrayLike,
    elapsed_s: ArrayLike,
    window_s: float = SETTLEMENT_WINDOW_S,
) -> tuple[Floats, Floats]:
    """Split the forward of an expiring option: ``F = fixed + variable``.

    Parameters
    ----------
    index_price : array_like
        Index now, USD, above 0.
    basis : array_like
        Forward minus index, USD, either sign.
    average_so_far : array_like
        Mean of the index over the part of the window that has passed, USD. Not read where
        `elapsed_s` is 0 or less, and may be NaN there.
    elapsed_s : array_like
        Seconds since the window opened: 0 or less before it, `window_s` or more at expiry.
    window_s : float
        Length of the window in seconds, above 0.

    Returns
    -------
    fixed, variable : ndarray of float64
        USD. Before the window ``(0, index + basis)``; inside it ``average · elapsed/window``
        and ``(index + basis) · remaining/window``; from expiry on ``(average, 0)``. A price
        shock multiplies `variable` only.

    Raises
    ------
    PricingError
        ``PRC-001`` for a missing or impossible input, also when the average is missing after
        the window has opened or ``index + basis`` is not above 0; ``PRC-002`` for shapes.

    Notes
    -----
    Sources: Derive v2-core, forward in two portions (1,800 s), commit of 2026-01-21; Deribit,
    delivery price = 30-minute time-weighted average of the index before 08:00 UTC. Neither venue's
    formula lowers the variance for the averaging: time to expiry stays the calendar time. See
    `averaging_years` for what that leaves out.
    """
    index = checked("index_price", index_price, "positive")
    spread = checked("basis", basis, "finite")
    elapsed = checked("elapsed_s", elapsed_s, "finite")
    window = float(checked("window_s", window_s, "positive"))
    average = np.asarray(average_so_far, dtype=np.float64)
    shape = common_shape(
        {
            "index_price": index.shape,
            "basis": spread.shape,
            "average_so_far": average.shape,
            "elapsed_s": elapsed.shape,
        }
    )
    live = checked("index_price + basis", index + spread, "positive")
    done = np.clip(elapsed / window, 0.0, 1.0)
    opened = np.broadcast_to(done > 0.0, shape)
    known = np.where(opened, average, 1.0)
    if not bool(np.all(np.isfinite(known) & (known > 0.0))):
        raise PricingError(
            "average_so_far is missing or not above 0 inside the settlement window",
            code=CODE_DOMAIN,
            field="average_so_far",
            hint="supply the mean of the index since the window opened",
        )
    fixed = np.where(opened, done * known, 0.0)
    variable = np.array(np.broadcast_to((1.0 - done) * live, shape))
    return fixed, variable


def averaging_years(years_to_expiry: ArrayLike, window_years: ArrayLike) -> Floats:
    """Effective variance time of an option that settles on an arithmetic average.

    Parameters
    ----------
    years_to_expiry : array_like
        ``T``: calendar time to the end of the window, in years, 0 or more.
    window_years : array_like
        ``w``: length of the averaging window in years, 0 or more.

    Returns
    -------
    ndarray of float64
        Years to use in place of T: ``T − 2w/3`` before the window opens (``T ≥ w``), ``T/3``
        inside it, where it applies to the *variable* part of the forward only. Continuous at
        ``T = w``; equal to T when w = 0.

    Raises
    ------
    PricingError
        ``PRC-001`` for a missing or negative time.

    Notes
    -----
    Derivation. To first order in σ√T the average of ``S`` over the window has the relative
    variance of ``(1/w) ∫ σ W du``. Up to the opening (``T − w``) all of it moves together and
    contributes ``σ²(T − w)``; inside, the integral ``(1/w) ∫₀ʷ W_u du`` has variance
    ``(1/w²) ∫₀ʷ (w − u)² du = w/3``. The sum is ``T − w + w/3 = T − 2w/3``. With τ years left
    of an open window the remaining average has variance ``τ/3``. The neglected terms are of
    relative order σ²w (below 1e-4 for a 30-minute window at 100 % volatility).

    The venues' margin formulas do not apply this; it is offered for valuation and to size
    what they leave out (for 30 minutes, 20 minutes of variance).
    """
    t = checked("years_to_expiry", years_to_expiry, "non_negative")
    w = checked("window_years", window_years, "non_negative")
    effective: Floats = np.where(t >= w, t - w * (2.0 / 3.0), t / 3.0)
    return effective
