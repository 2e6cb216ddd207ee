"""How much a market can absorb: volume, open interest, volatility and spread, as data.

Figures are of an underlying as a whole, or of one instrument. What is missing is missing (NaN in
the columns), and who needs it refuses by name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossmargin.errors import MarketDataError
from crossmargin.instruments import Registry
from crossmargin.units import NS_PER_SECOND

Floats = NDArray[np.float64]
_NS_PER_DAY = 86_400 * NS_PER_SECOND

#: The columns, in order.
LIQUIDITY_FIGURES: tuple[str, ...] = (
    "adv_coins",
    "sigma_daily",
    "open_interest_coins",
    "half_spread",
)
_SIGMA = LIQUIDITY_FIGURES.index("sigma_daily")


@dataclass(frozen=True, slots=True, kw_only=True)
class Liquidity:
    """Liquidity of one underlying or instrument.

    Attributes
    ----------
    adv_coins : float or None
        Average daily volume, coins of the underlying, > 0.
    sigma_daily : float or None
        Volatility of one day as a decimal, > 0.
    open_interest_coins : float or None
        Open interest, coins, one side counted, > 0.
    half_spread : float or None
        Half of the bid-ask spread as a fraction of the price, in [0, 1).
    time_ns, source
        When it was measured, and by whom.
    """

    adv_coins: float | None = None
    sigma_daily: float | None = None
    open_interest_coins: float | None = None
    half_spread: float | None = None
    time_ns: int = 0
    source: str = ""

    def __post_init__(self) -> None:
        """Refuse figures that no market has."""
        for name in LIQUIDITY_FIGURES:
            value = getattr(self, name)
            if value is None:
                continue
            least_ok = value >= 0 if name == "half_spread" else value > 0
            most = 1.0 if name == "half_spread" else 20.0 if name == "sigma_daily" else math.inf
            if not (math.isfinite(value) and least_ok and value < most):
                raise MarketDataError(
                    f"{name} is {value!r}, which no market has",
                    code="MKT-041",
                    field=name,
                    hint="leave it out if it is not known; missing is not zero",
                )


@dataclass(frozen=True, slots=True)
class LiquidityColumns:
    """Liquidity aligned with a registry; columns as in ``LIQUIDITY_FIGURES``, NaN where not known.

    Attributes
    ----------
    asset : float64[A, 4]; asset_age_days : float64[A]
        Of each asset of the registry, as an underlying.
    instrument : float64[n, 4]; instrument_age_days : float64[n]
        Of each instrument; its volatility falls back on its underlying's.
    """

    asset: Floats
    asset_age_days: Floats
    instrument: Floats
    instrument_age_days: Floats


def liquidity_columns(
    table: Mapping[str, Liquidity], registry: Registry, as_of_ns: int
) -> LiquidityColumns:
    """Align liquidity by name with a registry; ages count back from the market's own time."""

    def rows(names: list[str]) -> tuple[Floats, Floats]:
        out = np.full((len(names), len(LIQUIDITY_FIGURES)), np.nan)
        age = np.zeros(len(names))
        for row, name in enumerate(names if table else ()):
            if (found := table.get(name)) is not None:
                values = [getattr(found, figure) for figure in LIQUIDITY_FIGURES]
                out[row] = [np.nan if v is None else v for v in values]
                age[row] = (as_of_ns - (found.time_ns or as_of_ns)) / _NS_PER_DAY
        return out, age

    asset, asset_age = rows(list(registry.assets))
    instrument, age = rows([item.id for item in registry])
    if len(registry):
        own = instrument[:, _SIGMA]
        shared = asset[registry.terms.underlying, _SIGMA]
        instrument[:, _SIGMA] = np.where(np.isnan(own), shared, own)
    return LiquidityColumns(asset, asset_age, instrument, age)
