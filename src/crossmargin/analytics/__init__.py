"""What it means: price profiles, the expiry cliff, saving and its tail cost, comparisons."""

from __future__ import annotations

from crossmargin.analytics.cliff import ExpiryCliff, expiry_cliff
from crossmargin.analytics.efficiency import (
    ComparisonRow,
    TailCost,
    TailModel,
    compare,
    expected_shortfall,
    tail_cost,
)
from crossmargin.analytics.infer import Inference, Inferred, Unknown, infer
from crossmargin.analytics.matrix import Cell, Matrix, compare_accounts
from crossmargin.analytics.profile import PriceProfile, price_profile, profiles
from crossmargin.analytics.reconcile import (
    CaseResult,
    Line,
    OwnCase,
    Reconciliation,
    read_cases,
    reconcile,
    reconcile_cases,
)

__all__ = [
    "CaseResult",
    "Cell",
    "ComparisonRow",
    "ExpiryCliff",
    "Inference",
    "Inferred",
    "Line",
    "Matrix",
    "OwnCase",
    "PriceProfile",
    "Reconciliation",
    "TailCost",
    "TailModel",
    "Unknown",
    "compare",
    "compare_accounts",
    "expected_shortfall",
    "expiry_cliff",
    "infer",
    "price_profile",
    "profiles",
    "read_cases",
    "reconcile",
    "reconcile_cases",
    "tail_cost",
]
