"""Is the model right: back-tests, procyclicality, coverage, impulse response."""

from __future__ import annotations

from crossmargin.validation._result import TestResult
from crossmargin.validation.adversary import Adversary, adversary, draw_books
from crossmargin.validation.attribution import Attribution, attribution
from crossmargin.validation.backtest import (
    Backtest,
    BookTest,
    CrashLine,
    ModelTest,
    quantile_score,
    run_backtest,
)
from crossmargin.validation.compare import Comparison, compare_scores, fz0, long_run_variance
from crossmargin.validation.contenders import (
    Contender,
    OfLosses,
    OfRuleset,
    Setting,
    make_setting,
)
from crossmargin.validation.coverage import (
    TrafficLight,
    Transitions,
    binomial_upper,
    conditional_coverage,
    first_breach,
    independence,
    kupiec,
    traffic_light,
    transitions,
    tuff,
)
from crossmargin.validation.durations import DurationTest, duration_test, durations
from crossmargin.validation.history import MarketHistory, make_history, read_history
from crossmargin.validation.house import OfTail, tail_of
from crossmargin.validation.impulse import Impulse, impulse_response, measure, step_history
from crossmargin.validation.models import (
    FilteredEs,
    Forecast,
    HistoricalEs,
    LossModel,
    NormalVar,
    StressWeighted,
    challengers,
    rolling_tail,
)
from crossmargin.validation.portfolios import (
    Crash,
    Leg,
    Pledge,
    Portfolio,
    PortfolioFile,
    choose,
    house_portfolios,
    known_days,
    losses,
    portfolios_from_toml,
)
from crossmargin.validation.power import Power, power
from crossmargin.validation.procyclicality import (
    Procyclicality,
    procyclicality,
    with_buffer,
    with_floor,
    with_stress_weight,
)
from crossmargin.validation.proxy_error import ProxyError, index_level, proxy_error
from crossmargin.validation.report import ToolSummary, Validation, validate
from crossmargin.validation.ruleset_path import RulesetPath, ruleset_path
from crossmargin.validation.sensitivity import Sensitivity, Variation, sensitivity
from crossmargin.validation.shortfall import (
    Law,
    critical_value,
    min_bias,
    shortfall_test,
    simulated_statistics,
    z1,
    z2,
)
from crossmargin.validation.step import Step
from crossmargin.validation.summary import (
    Coverage,
    LeagueLine,
    Verdict,
    compare_tests,
    coverage_by,
    holm,
    league,
    products,
    verdict,
)
from crossmargin.validation.surface import HeldShape
from crossmargin.validation.tools import ToolLine, tool_lines, tool_paths, tool_table
from crossmargin.validation.windows import OverlappingRate, blocks, overlapping_rate

__all__ = [
    "Adversary",
    "Attribution",
    "Backtest",
    "BookTest",
    "Comparison",
    "Contender",
    "Coverage",
    "Crash",
    "CrashLine",
    "DurationTest",
    "FilteredEs",
    "Forecast",
    "HeldShape",
    "HistoricalEs",
    "Impulse",
    "Law",
    "LeagueLine",
    "Leg",
    "LossModel",
    "MarketHistory",
    "ModelTest",
    "NormalVar",
    "OfLosses",
    "OfRuleset",
    "OfTail",
    "OverlappingRate",
    "Pledge",
    "Portfolio",
    "PortfolioFile",
    "Power",
    "Procyclicality",
    "ProxyError",
    "RulesetPath",
    "Sensitivity",
    "Setting",
    "Step",
    "StressWeighted",
    "TestResult",
    "ToolLine",
    "ToolSummary",
    "TrafficLight",
    "Transitions",
    "Validation",
    "Variation",
    "Verdict",
    "adversary",
    "attribution",
    "binomial_upper",
    "blocks",
    "challengers",
    "choose",
    "compare_scores",
    "compare_tests",
    "conditional_coverage",
    "coverage_by",
    "critical_value",
    "draw_books",
    "duration_test",
    "durations",
    "first_breach",
    "fz0",
    "holm",
    "house_portfolios",
    "impulse_response",
    "independence",
    "index_level",
    "known_days",
    "kupiec",
    "league",
    "long_run_variance",
    "losses",
    "make_history",
    "make_setting",
    "measure",
    "min_bias",
    "overlapping_rate",
    "portfolios_from_toml",
    "power",
    "procyclicality",
    "products",
    "proxy_error",
    "quantile_score",
    "read_history",
    "rolling_tail",
    "ruleset_path",
    "run_backtest",
    "sensitivity",
    "shortfall_test",
    "simulated_statistics",
    "step_history",
    "tail_of",
    "tool_lines",
    "tool_paths",
    "tool_table",
    "traffic_light",
    "transitions",
    "tuff",
    "validate",
    "verdict",
    "with_buffer",
    "with_floor",
    "with_stress_weight",
    "z1",
    "z2",
]
