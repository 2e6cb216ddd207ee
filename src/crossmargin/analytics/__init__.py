"""What it means: profiles, expiry cliff, saving and tail cost, comparisons, reconciliation."""

from __future__ import annotations

from crossmargin.analytics._liquidation_misses import (
    CLASSES as MISS_CLASSES,
)
from crossmargin.analytics.book_summary import summarise_book
from crossmargin.analytics.book_summary_types import (
    AccountRow,
    BookSummary,
    Concentration,
    FailureRow,
)
from crossmargin.analytics.cliff import (
    ExpiryCliff,
    expiry_cliff,
)
from crossmargin.analytics.efficiency import (
    ComparisonRow,
    TailCost,
    TailModel,
    compare,
    expected_shortfall,
    tail_cost,
)
from crossmargin.analytics.explain import (
    CAUSES,
    CausePart,
    ComponentPart,
    Explained,
    Moment,
    PositionMove,
    PriceMove,
    explain_change,
    shapley,
)
from crossmargin.analytics.frontier import Factor, liquidation_frontier, parse_factor
from crossmargin.analytics.frontier_types import Axis, Frontier, FrontierPoint, Ray, Runway
from crossmargin.analytics.infer import (
    Inference,
    Inferred,
    Unknown,
    infer,
)
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
from crossmargin.analytics.ruleset_impact import (
    BookImpact,
    ChangedAccount,
    RulesetDiff,
    book_impact,
    diff_rulesets,
)
from crossmargin.analytics.what_if import (
    Add,
    ComponentChange,
    GroupChange,
    Remove,
    Roll,
    Side,
    WhatIf,
    WhatIfAnswer,
    trades_of,
    what_if,
)

__all__ = [
    "CAUSES",
    "MISS_CLASSES",
    "AccountRow",
    "Add",
    "Axis",
    "BookImpact",
    "BookSummary",
    "CaseResult",
    "CausePart",
    "Cell",
    "ChangedAccount",
    "ComparisonRow",
    "ComponentChange",
    "ComponentPart",
    "Concentration",
    "ExpiryCliff",
    "Explained",
    "Factor",
    "FailureRow",
    "Frontier",
    "FrontierPoint",
    "GroupChange",
    "Inference",
    "Inferred",
    "InferredTable",
    "Line",
    "LiquidationReconciliation",
    "MarginPath",
    "Matrix",
    "Moment",
    "OrderOfLegs",
    "OwnCase",
    "PathStep",
    "PositionMove",
    "PriceMove",
    "PriceProfile",
    "Ray",
    "Reconciliation",
    "Remove",
    "Roll",
    "RulesetDiff",
    "Runway",
    "Side",
    "TailCost",
    "TailModel",
    "Unknown",
    "WhatIf",
    "WhatIfAnswer",
    "book_impact",
    "compare",
    "compare_accounts",
    "diff_rulesets",
    "expected_shortfall",
    "expiry_cliff",
    "explain_change",
    "infer",
    "liquidation_frontier",
    "margin_path",
    "parse_factor",
    "price_profile",
    "profiles",
    "read_cases",
    "reconcile",
    "reconcile_cases",
    "reconcile_liquidation_prices",
    "shapley",
    "summarise_book",
    "tail_cost",
    "trades_of",
    "what_if",
]
