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
from crossmargin.stats._dependence import (
    Rescaling,
    repaired,
    rescaled,
    root,
    sample_correlation,
    weighted_correlation,
)
from crossmargin.stats._draws import copula_uniforms, jump_sums, shuffles, stream
from crossmargin.stats._parametric import (
    NormalTail,
    breach_probability,
    normal_sigma,
    normal_tail,
    worst_correlation,
)
from crossmargin.stats._returns import (
    cascaded_shortfall,
    horizon_losses,
    linear_unwind,
    log_returns,
)
from crossmargin.stats._samples import (
    shortfall_errors,
    tail_mass,
    tail_mean,
    tail_quantiles,
    tail_shortfalls,
    tail_shortfalls_at,
    tail_weights,
)
from crossmargin.stats._t_copula import (
    TCopulaFit,
    fit_t_copula,
    joint_excess,
    pseudo_uniforms,
    rank_correlation,
    t_copula_density,
    tail_dependence,
)
from crossmargin.stats._tail import (
    expected_shortfall,
    expected_shortfall_error,
    normal_expected_shortfall,
    normal_quantile,
    value_at_risk,
)
from crossmargin.stats._volatility import (
    ewma_volatilities,
    ewma_volatility,
    filtered_returns,
    garch_volatilities,
    long_volatilities,
)

__all__ = [
    "Dcc",
    "NormalTail",
    "Rescaling",
    "TCopulaFit",
    "breach_probability",
    "cascaded_shortfall",
    "conditional_moves",
    "copula_uniforms",
    "dcc",
    "ewma_correlation",
    "ewma_covariance",
    "ewma_volatilities",
    "ewma_volatility",
    "exceedance_correlation",
    "expected_shortfall",
    "expected_shortfall_error",
    "filtered_returns",
    "fit_t_copula",
    "forbes_rigobon",
    "garch_volatilities",
    "horizon_losses",
    "joint_excess",
    "jump_sums",
    "linear_unwind",
    "log_returns",
    "long_volatilities",
    "nearest_correlation",
    "normal_expected_shortfall",
    "normal_quantile",
    "normal_sigma",
    "normal_tail",
    "pseudo_uniforms",
    "rank_correlation",
    "repaired",
    "rescaled",
    "rolling_correlation",
    "root",
    "sample_correlation",
    "shortfall_errors",
    "shuffles",
    "stream",
    "t_copula_density",
    "tail_dependence",
    "tail_mass",
    "tail_mean",
    "tail_quantiles",
    "tail_shortfalls",
    "tail_shortfalls_at",
    "tail_weights",
    "value_at_risk",
    "weighted_correlation",
    "worst_correlation",
]
