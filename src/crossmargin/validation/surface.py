"""A whole volatility surface from one recorded level: the stated proxy of the short-vol books.

Recorded history knows the level of implied volatility (Deribit's DVOL) and no skew or term
structure, so shape is held: ``vol(k, T) = L·(c0 + c1·x + c2·x²)`` with ``x = ln(K/F) / (L√T)``
cut at ±`cut`. Everything that rests on it is marked synthetic, and its error is measured on
recorded chains (:mod:`crossmargin.validation.proxy_error`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from crossmargin.validation._result import Floats

#: Days of a year (ACT/365).
YEAR = 365.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldShape:
    """Skew and curvature that are held while the level moves.

    Attributes
    ----------
    level, skew, curvature : float
        c0, c1, c2 of the formula above: at the money against the index, slope and curvature by
        standard deviations.
    cut : float
        Standard deviations beyond which the smile is flat.
    lowest : float
        Smallest volatility, so that no strike is priced without any.
    """

    level: float
    skew: float
    curvature: float
    cut: float
    lowest: float

    def vol(self, index: ArrayLike, log_moneyness: ArrayLike, years: ArrayLike) -> Floats:
        """Return implied volatilities, per year.

        Parameters
        ----------
        index : array_like
            Level, decimal per year.
        log_moneyness : array_like
            ``ln(K/F)``.
        years : array_like
            Time to expiry, above 0.
        """
        base = np.asarray(index, dtype=np.float64)
        t = np.maximum(np.asarray(years, dtype=np.float64), 1e-9)
        x = np.clip(np.asarray(log_moneyness) / (base * np.sqrt(t)), -self.cut, self.cut)
        made = base * (self.level + self.skew * x + self.curvature * x * x)
        return np.asarray(np.maximum(made, self.lowest), dtype=np.float64)
