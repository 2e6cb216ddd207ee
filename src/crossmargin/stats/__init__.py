"""Estimators shared by many rooms: tails, moving volatility and correlation, returns."""

from __future__ import annotations

from crossmargin.stats._correlation import (
    Dcc,
    conditional_moves,
    dcc,
    ewma_correlation,
    ewma_covariance,
    exceedance_correlation,
    forbes_rigobon,
    nearest_correlation,
    rolling_correlation,
)
from crossmargin.stats._returns import horizon_losses, linear_unwind, log_returns
from crossmargin.stats._tail import (
    expected_shortfall,
    expected_shortfall_error,
    normal_expected_shortfall,
    normal_quantile,
    value_at_risk,
)
from crossmargin.stats._volatility import ewma_volatility, filtered_returns

__all__ = [
    "Dcc",
    "conditional_moves",
    "dcc",
    "ewma_correlation",
    "ewma_covariance",
    "ewma_volatility",
    "exceedance_correlation",
    "expected_shortfall",
    "expected_shortfall_error",
    "filtered_returns",
    "forbes_rigobon",
    "horizon_losses",
    "linear_unwind",
    "log_returns",
    "nearest_correlation",
    "normal_expected_shortfall",
    "normal_quantile",
    "rolling_correlation",
    "value_at_risk",
]
