"""Pure pricing maths: Black-76, greeks, scenario grids, implied volatility, contract P&L.

Everything here is a function of numbers: no instruments, no snapshots, no clock. Prices are
undiscounted, in quote (USD) per unit of underlying unless a name says coin; volatilities are
decimals per year; times are years, ACT/365. Importing the room loads NumPy only: SciPy is
loaded by the first price, numba by the first call that asks for ``kernel="numba"``.
"""

from __future__ import annotations

from crossmargin.pricing._black76 import (
    Greeks,
    InverseGreeks,
    Kernel,
    black76,
    black76_greeks,
    black76_inverse,
    black76_inverse_greeks,
    black76_price_delta_vega,
)
from crossmargin.pricing._grid import price_grid
from crossmargin.pricing._implied import ImpliedVol, IvStatus, implied_vol
from crossmargin.pricing._pnl import inverse_pnl, inverse_pnl_move, linear_pnl
from crossmargin.pricing.calibration import (
    ModelFit,
    ModelName,
    SabrFit,
    SmileTarget,
    fit_model,
    fit_sabr,
    whole_days,
)
from crossmargin.pricing.interest import accrued_interest
from crossmargin.pricing.sabr import sabr_vol
from crossmargin.pricing.settlement import (
    SETTLEMENT_WINDOW_S,
    averaging_years,
    settlement_parts,
)
from crossmargin.pricing.stochastic import (
    StochasticModel,
    model_paths,
    model_prices,
    model_vols,
)

__all__ = [
    "SETTLEMENT_WINDOW_S",
    "Greeks",
    "ImpliedVol",
    "InverseGreeks",
    "IvStatus",
    "Kernel",
    "ModelFit",
    "ModelName",
    "SabrFit",
    "SmileTarget",
    "StochasticModel",
    "accrued_interest",
    "averaging_years",
    "black76",
    "black76_greeks",
    "black76_inverse",
    "black76_inverse_greeks",
    "black76_price_delta_vega",
    "fit_model",
    "fit_sabr",
    "implied_vol",
    "inverse_pnl",
    "inverse_pnl_move",
    "linear_pnl",
    "model_paths",
    "model_prices",
    "model_vols",
    "price_grid",
    "sabr_vol",
    "settlement_parts",
    "whole_days",
]
