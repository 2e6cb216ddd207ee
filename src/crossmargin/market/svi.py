"""Raw SVI: one expiry's smile as five numbers.

``w(k) = a + b * (rho * (k - m) + sqrt((k - m)^2 + sigma^2))`` with ``k = ln(K / F)`` and
``w = vol^2 * years``, the total variance. The form is a hyperbola: a rounded bottom between two
straight wings, which is how quoted smiles behave in total variance.

Source: Gatheral, "A parsimonious arbitrage-free implied volatility parameterization" (2004);
Gatheral and Jacquier, "Arbitrage-free SVI volatility surfaces" (Quantitative Finance 14, 2014),
section 3; Lee, "The moment formula for implied volatility at extreme strikes" (Mathematical
Finance 14, 2004) for the bound on the wings.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.errors import MarketDataError

Floats: TypeAlias = NDArray[np.float64]

MAX_WING_SLOPE = 2.0
"""Lee's bound: total variance grows at most this fast in log-moneyness, in either wing."""

_SLOPE_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class SviSlice:
    """A smile for one expiry in raw SVI form.

    Parameters
    ----------
    a : float
        Level of total variance. May be negative, as long as the minimum of ``w`` is not.
    b : float
        Half the sum of the two wing slopes, >= 0.
    rho : float
        Tilt, in [-1, 1]: the wings have slopes ``b * (1 + rho)`` (calls) and
        ``b * (1 - rho)`` (puts) in total variance.
    m : float
        Log-moneyness of the vertex.
    sigma : float
        Width of the rounded bottom in log-moneyness, > 0.
    forward_usd : float
        Forward that ``k`` is measured from, USD.
    years : float
        Time to expiry when the slice was fitted, ACT/365, > 0.
    k_min, k_max : float
        Range of log-moneyness that had quotes. Nothing is cut off there: outside it the slice
        goes on as SVI's own, nearly straight wings, which no quote supports.

    Raises
    ------
    MarketDataError
        ``MKT-110`` when a parameter is outside its domain, when the lowest total variance is
        negative, or when a wing is steeper than Lee's bound ``b * (1 + |rho|) <= 2``, beyond
        which the smile implies option prices that do not vanish far from the money.

    Notes
    -----
    The slice is a value: it does not know the time of day. `years` belongs to the moment of the
    fit; to hold volatility while time passes, read `vol` and use the new time with it.
    """

    a: float
    b: float
    rho: float
    m: float
    sigma: float
    forward_usd: float
    years: float
    k_min: float
    k_max: float

    def __post_init__(self) -> None:
        """Refuse parameters that are no smile."""
        for name in self.__slots__:
            if not math.isfinite(getattr(self, name)):
                raise _bad(name, f"{name} must be a finite number")
        if self.b < 0.0:
            raise _bad("b", f"b must not be negative, got {self.b:g}")
        if abs(self.rho) > 1.0:
            raise _bad("rho", f"rho must lie between -1 and 1, got {self.rho:g}")
        for name in ("sigma", "forward_usd", "years"):
            if getattr(self, name) <= 0.0:
                raise _bad(name, f"{name} must be positive, got {getattr(self, name):g}")
        if self.k_min > self.k_max:
            raise _bad("k_min", "k_min must not exceed k_max")
        if self.min_total_variance < 0.0:
            raise _bad("a", f"total variance would fall to {self.min_total_variance:g}")
        if self.b * (1.0 + abs(self.rho)) > MAX_WING_SLOPE + _SLOPE_ROUNDING:
            raise _bad(
                "b",
                f"a wing of slope {self.b * (1.0 + abs(self.rho)):g} is steeper than Lee's bound 2",
            )

    @property
    def min_total_variance(self) -> float:
        """Lowest total variance of the slice, at its vertex or, if tilted fully, in the limit."""
        return self.a + self.b * self.sigma * math.sqrt(max(0.0, 1.0 - self.rho * self.rho))

    @property
    def atm_vol(self) -> float:
        """Volatility at the forward, decimal per square-root year."""
        return float(self.vol(self.forward_usd))

    def total_variance(self, k: ArrayLike) -> Floats:
        """Total variance ``vol^2 * years`` at log-moneyness.

        Parameters
        ----------
        k : array_like, any shape
            ``ln(K / F)``.

        Returns
        -------
        ndarray
            Same shape as `k`, >= 0 (a vertex that touches zero is clipped against rounding).
        """
        x = np.asarray(k, dtype=np.float64) - self.m
        w = self.a + self.b * (self.rho * x + np.hypot(x, self.sigma))
        return np.maximum(w, 0.0)

    def total_variance_slope(self, k: ArrayLike) -> Floats:
        """First derivative ``w'(k)`` of total variance; shape of `k`, within Lee's +-2."""
        x = np.asarray(k, dtype=np.float64) - self.m
        return np.asarray(self.b * (self.rho + x / np.hypot(x, self.sigma)), dtype=np.float64)

    def total_variance_curvature(self, k: ArrayLike) -> Floats:
        """Second derivative ``w''(k)`` of total variance; shape of `k`, never negative."""
        x = np.asarray(k, dtype=np.float64) - self.m
        ratio = self.sigma / np.hypot(x, self.sigma)
        return np.asarray(self.b / self.sigma * ratio**3, dtype=np.float64)

    def vol(self, strike: ArrayLike, forward: ArrayLike | None = None) -> Floats:
        """Black volatility at strikes.

        Parameters
        ----------
        strike : array_like, any shape
            USD, > 0.
        forward : array_like, optional
            USD, > 0, broadcast against `strike`. Left out, the slice's own forward is used: the
            volatility stays with the strike when the market moves (sticky strike). A moved
            forward given here moves the smile with it (sticky moneyness).

        Returns
        -------
        ndarray
            Decimal per square-root year (0.6 is 60 %), broadcast shape, >= 0.

        Raises
        ------
        MarketDataError
            ``MKT-111`` for a strike or a forward that is not positive.
        """
        strikes = np.asarray(strike, dtype=np.float64)
        base = np.asarray(self.forward_usd if forward is None else forward, dtype=np.float64)
        for name, value in (("strike", strikes), ("forward", base)):
            if not np.all(value > 0.0):
                raise MarketDataError(
                    f"a volatility was asked for a {name} that is not positive",
                    code="MKT-111",
                    field=name,
                )
        return np.asarray(
            np.sqrt(self.total_variance(np.log(strikes / base)) / self.years), dtype=np.float64
        )


def _bad(field: str, message: str) -> MarketDataError:
    return MarketDataError(
        f"not a volatility slice: {message}",
        code="MKT-110",
        field=field,
        hint="refit the expiry, or correct the stored parameters",
    )
