"""SABR: one expiry's smile from a stochastic volatility, by Hagan's expansion.

Source: Hagan, Kumar, Lesniewski and Woodward, "Managing smile risk" (Wilmott, 2002), equation
A.69c: lognormal volatility. An expansion: with long expiries, large vol-of-vol or strikes near 0
it is not free of arbitrage.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from crossmargin.errors import PricingError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def sabr_vol(
    forward: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    *,
    alpha: float,
    beta: float,
    rho: float,
    nu: float,
) -> NDArray[np.float64]:
    """Return the Black-76 volatility of strikes under SABR, decimals per year.

    Parameters
    ----------
    forward, strike : array_like
        Above 0, in one currency.
    years : array_like
        Time to expiry, at least 0.
    alpha : float
        Volatility of the forward now, > 0 (in units of ``F^{1−β}``).
    beta : float
        Exponent, 0 to 1.
    rho : float
        Correlation of forward and volatility, between −1 and 1.
    nu : float
        Volatility of volatility, at least 0.

    Raises
    ------
    PricingError
        ``PRC-001`` for a parameter outside its domain.
    """
    f, k = np.asarray(forward, dtype=np.float64), np.asarray(strike, dtype=np.float64)
    t = np.asarray(years, dtype=np.float64)
    for name, fine in (
        ("alpha", alpha > 0),
        ("beta", 0.0 <= beta <= 1.0),
        ("rho", -1.0 < rho < 1.0),
        ("nu", nu >= 0),
        ("forward", bool((f > 0).all())),
        ("strike", bool((k > 0).all())),
        ("years", bool((t >= 0).all())),
    ):
        if not fine:
            raise PricingError(f"{name} is outside the domain of SABR", code="PRC-001", field=name)
    one = 1.0 - beta
    x = np.log(f / k)
    middle = (f * k) ** (one / 2.0)
    z = nu / alpha * middle * x
    root = np.sqrt(1.0 - 2.0 * rho * z + z * z)
    small = np.abs(z) < 1e-6
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = z / np.log((root + z - rho) / (1.0 - rho))
    # z/χ(z) = 1 − ρz/2 + (2 − 3ρ²)z²/12 near 0, where the quotient loses its digits.
    ratio = np.where(small, 1.0 - 0.5 * rho * z + (2.0 - 3.0 * rho * rho) * z * z / 12.0, ratio)
    below = middle * (1.0 + one**2 / 24.0 * x**2 + one**4 / 1920.0 * x**4)
    drift = (
        one**2 / 24.0 * alpha**2 / middle**2
        + rho * beta * nu * alpha / (4.0 * middle)
        + (2.0 - 3.0 * rho**2) / 24.0 * nu**2
    )
    return np.asarray(alpha / below * ratio * (1.0 + drift * t))
