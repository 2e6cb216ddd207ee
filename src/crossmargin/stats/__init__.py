"""Estimators shared by many rooms: tails, moving volatility, returns over a horizon."""

from __future__ import annotations

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
    "ewma_volatility",
    "expected_shortfall",
    "expected_shortfall_error",
    "filtered_returns",
    "horizon_losses",
    "linear_unwind",
    "log_returns",
    "normal_expected_shortfall",
    "normal_quantile",
    "value_at_risk",
]
