"""A market whose volatilities are a model's: SABR, Heston, Merton or Bates in place of quotes.

The model gives volatilities on the strikes that were quoted; they are kept as SVI slices like any
other surface, so that everything that reads a market reads this one. What SVI cannot follow is
measured and returned. Source: requirements A10; the fit is that of :mod:`crossmargin.market.fit`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from crossmargin.errors import CrossmarginError, MarketDataError
from crossmargin.instruments import Option, parse_instrument
from crossmargin.market.fit import fit_svi
from crossmargin.market.snapshot import Snapshot
from crossmargin.market.svi import SviSlice
from crossmargin.units import format_time

Floats = NDArray[np.float64]

#: Volatilities of strikes: (expiry in ns, forward, days to it, strikes) → decimals per year, NaN
#: where the model has none.
VolOf = Callable[[int, float, float, Floats], Floats]

STRIKES = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSurface:
    """A market with a model's volatilities.

    Attributes
    ----------
    snapshot : Snapshot
        The market; options of the underlying have no volatility of their own any more.
    errors : dict of int to float
        Largest difference of the slice and the model by expiry, volatility as a decimal.
    """

    snapshot: Snapshot
    errors: dict[int, float]


def with_model_surface(snapshot: Snapshot, underlying: str, vol_of: VolOf) -> ModelSurface:
    """Replace the surfaces of an underlying by a model's.

    Parameters
    ----------
    snapshot : Snapshot
        With surfaces of the underlying; their ranges of strikes are kept.
    underlying : str
        Coin.
    vol_of : callable
        The model's volatilities.

    Raises
    ------
    MarketDataError
        ``MKT-101`` where there is no surface, or the model has too few volatilities on it.
    """
    mine = {key: one for key, one in snapshot.surfaces.items() if key[0] == underlying}
    if not mine:
        raise MarketDataError(
            f"the market has no volatility surface of {underlying}",
            code="MKT-101",
            field="surfaces",
            hint="give a market with surfaces, or another underlying",
        )
    surfaces, errors = dict(snapshot.surfaces), {}
    for (name, expiry), known in sorted(mine.items()):
        try:
            surfaces[name, expiry], errors[expiry] = _slice(known, expiry, vol_of)
        except CrossmarginError as error:
            error.message = f"{underlying} of {format_time(expiry)}: {error.message}"
            raise
    quotes = {}
    for name, quote in snapshot.quotes.items():
        item = parse_instrument(name)
        own = isinstance(item, Option) and item.underlying == underlying
        quotes[name] = replace(quote, vol=None) if own else quote
    there = replace(snapshot, surfaces=surfaces, quotes=quotes)
    return ModelSurface(snapshot=there, errors=errors)


def _slice(known: SviSlice, expiry: int, vol_of: VolOf) -> tuple[SviSlice, float]:
    # Farther than six standard deviations a price holds no volatility that could be read off it.
    reach = 6.0 * known.atm_vol * np.sqrt(known.years)
    low, high = max(known.k_min, -reach), min(known.k_max, reach)
    strike = known.forward_usd * np.exp(np.linspace(low, high, STRIKES))
    vol = vol_of(expiry, known.forward_usd, known.years * 365.0, strike)
    there = np.isfinite(vol) & (vol > 0)
    made = fit_svi(strike[there], vol[there], known.forward_usd, known.years)
    error = float(np.abs(made.slice.vol(strike[there]) - vol[there]).max())
    return made.slice, error
