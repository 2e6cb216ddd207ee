"""What it means: profiles, expiry cliff, saving and tail cost, comparisons, reconciliation."""

from __future__ import annotations

from crossmargin.analytics._liquidation_misses import (
    CLASSES as MISS_CLASSES,
)
from crossmargin.analytics.account_risk import (
    CorrelationStress,
    ParametricRisk,
    RiskModel,
    SimulatedRisk,
    correlation_stress,
    default_risk_model,
    normal_moves,
    normal_var_es,
    parametric_risk,
    simulated_risk,
)
from crossmargin.analytics.adequacy import Adequacy, ReversePrice, adequacy
from crossmargin.analytics.book_summary import summarise_book
from crossmargin.analytics.book_summary_types import (
    AccountRow,
    BookSummary,
    Concentration,
    FailureRow,
)
from crossmargin.analytics.booked_return import return_on_booked_margin
from crossmargin.analytics.capital_ratios import (
    MarginReturn,
    NamedRatio,
    capital_ratios,
    read_margins,
    return_on_margin,
    statement_ratios,
)
from crossmargin.analytics.cliff import (
    ExpiryCliff,
    expiry_cliff,
)
from crossmargin.analytics.correlation_break import (
    chosen_words,
    correlation_break,
    hidden_exposures,
)
from crossmargin.analytics.correlation_break_types import (
    BreakLine,
    BreakSpec,
    CorrelationBreak,
    RhoPoint,
    WrongWay,
)
from crossmargin.analytics.dependence import (
    Dependence,
    assumed_dependence,
    past_dependence,
    with_given,
)
from crossmargin.analytics.efficiency import (
    ComparisonRow,
    TailCost,
    TailModel,
    compare,
    tail_cost,
)
from crossmargin.analytics.explain import Moment, explain_change, shapley
from crossmargin.analytics.explain_pnl import PnlExplained, PnlLine, explain_pnl
from crossmargin.analytics.explain_types import (
    CAUSES,
    CausePart,
    ComponentPart,
    Explained,
    PositionMove,
    PriceMove,
)
from crossmargin.analytics.frontier import Factor, liquidation_frontier, parse_factor
from crossmargin.analytics.frontier_types import Axis, Frontier, FrontierPoint, Ray, Runway
from crossmargin.analytics.infer import (
    Inference,
    Inferred,
    Unknown,
    infer,
)
from crossmargin.analytics.locations import LocationLine, collateral_by_location
from crossmargin.analytics.margin_path import (
    MarginPath,
    OrderOfLegs,
    PathStep,
    margin_path,
)
from crossmargin.analytics.matrix import (
    Cell,
    Matrix,
    compare_accounts,
)
from crossmargin.analytics.pooling import (
    Closed,
    GapLoss,
    GapTail,
    Walk,
    gap_losses,
    gap_tail,
    walk_prices,
)
from crossmargin.analytics.position_margins import (
    PositionMargin,
    Release,
    position_margins,
    release_list,
)
from crossmargin.analytics.profile import (
    PriceProfile,
    price_profile,
    profiles,
)
from crossmargin.analytics.reconcile import (
    CaseResult,
    Line,
    OwnCase,
    Reconciliation,
    read_cases,
    reconcile,
    reconcile_cases,
)
from crossmargin.analytics.reconcile_liquidations import (
    InferredTable,
    LiquidationReconciliation,
    reconcile_liquidation_prices,
)
from crossmargin.analytics.reverse_stress import ReverseStress, reverse_stress
from crossmargin.analytics.ruleset_impact import (
    BookImpact,
    ChangedAccount,
    RulesetDiff,
    book_impact,
    diff_rulesets,
)
from crossmargin.analytics.smiles import (
    ExpirySmile,
    SmileFit,
    SmileReport,
    compare_smiles,
    model_market,
)
from crossmargin.analytics.stress import CloseCosts, StressDesk, StressReport, StressRow, run_stress
from crossmargin.analytics.stress_scenarios import (
    NO_STRESS,
    StressScenario,
    choose_scenarios,
    read_scenarios,
    scenarios_from_toml,
    stress_library,
)
from crossmargin.analytics.survival import (
    Survival,
    common_paths,
    leverage_curve,
    liquidations_avoided,
    survival,
)
from crossmargin.analytics.venues_plan import (
    Transfer,
    VenueAccount,
    VenueLine,
    VenuesPlan,
    venues_plan,
)
from crossmargin.analytics.venues_pool import (
    PooledVenues,
    PoolSide,
    VenuesPool,
    pool_venues,
    unified_account,
)
from crossmargin.analytics.watch_gauges import Distance, WatchGauges, daily_sigma, watch_gauges
from crossmargin.analytics.what_if import Add, Remove, Roll, WhatIf, trades_of, what_if
from crossmargin.analytics.what_if_types import ComponentChange, GroupChange, Side, WhatIfAnswer
from crossmargin.analytics.worst_days import Culprit, WorstDay, WorstDays, worst_days

__all__ = [
    "CAUSES",
    "MISS_CLASSES",
    "NO_STRESS",
    "AccountRow",
    "Add",
    "Adequacy",
    "Axis",
    "BookImpact",
    "BookSummary",
    "BreakLine",
    "BreakSpec",
    "CaseResult",
    "CausePart",
    "Cell",
    "ChangedAccount",
    "CloseCosts",
    "Closed",
    "ComparisonRow",
    "ComponentChange",
    "ComponentPart",
    "Concentration",
    "CorrelationBreak",
    "CorrelationStress",
    "Culprit",
    "Dependence",
    "Distance",
    "ExpiryCliff",
    "ExpirySmile",
    "Explained",
    "Factor",
    "FailureRow",
    "Frontier",
    "FrontierPoint",
    "GapLoss",
    "GapTail",
    "GroupChange",
    "Inference",
    "Inferred",
    "InferredTable",
    "Line",
    "LiquidationReconciliation",
    "LocationLine",
    "MarginPath",
    "MarginReturn",
    "Matrix",
    "Moment",
    "NamedRatio",
    "OrderOfLegs",
    "OwnCase",
    "ParametricRisk",
    "PathStep",
    "PnlExplained",
    "PnlLine",
    "PoolSide",
    "PooledVenues",
    "PositionMargin",
    "PositionMove",
    "PriceMove",
    "PriceProfile",
    "Ray",
    "Reconciliation",
    "Release",
    "Remove",
    "ReversePrice",
    "ReverseStress",
    "RhoPoint",
    "RiskModel",
    "Roll",
    "RulesetDiff",
    "Runway",
    "Side",
    "SimulatedRisk",
    "SmileFit",
    "SmileReport",
    "StressDesk",
    "StressReport",
    "StressRow",
    "StressScenario",
    "Survival",
    "TailCost",
    "TailModel",
    "Transfer",
    "Unknown",
    "VenueAccount",
    "VenueLine",
    "VenuesPlan",
    "VenuesPool",
    "Walk",
    "WatchGauges",
    "WhatIf",
    "WhatIfAnswer",
    "WorstDay",
    "WorstDays",
    "WrongWay",
    "adequacy",
    "assumed_dependence",
    "book_impact",
    "capital_ratios",
    "choose_scenarios",
    "chosen_words",
    "collateral_by_location",
    "common_paths",
    "compare",
    "compare_accounts",
    "compare_smiles",
    "correlation_break",
    "correlation_stress",
    "daily_sigma",
    "default_risk_model",
    "diff_rulesets",
    "expiry_cliff",
    "explain_change",
    "explain_pnl",
    "gap_losses",
    "gap_tail",
    "hidden_exposures",
    "infer",
    "leverage_curve",
    "liquidation_frontier",
    "liquidations_avoided",
    "margin_path",
    "model_market",
    "normal_moves",
    "normal_var_es",
    "parametric_risk",
    "parse_factor",
    "past_dependence",
    "pool_venues",
    "position_margins",
    "price_profile",
    "profiles",
    "read_cases",
    "read_margins",
    "read_scenarios",
    "reconcile",
    "reconcile_cases",
    "reconcile_liquidation_prices",
    "release_list",
    "return_on_booked_margin",
    "return_on_margin",
    "reverse_stress",
    "run_stress",
    "scenarios_from_toml",
    "shapley",
    "simulated_risk",
    "statement_ratios",
    "stress_library",
    "summarise_book",
    "survival",
    "tail_cost",
    "trades_of",
    "unified_account",
    "venues_plan",
    "walk_prices",
    "watch_gauges",
    "what_if",
    "with_given",
    "worst_days",
]
