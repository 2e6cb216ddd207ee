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
from crossmargin.analytics.matrix import Cell, Matrix, compare_accounts
from crossmargin.analytics.profile import PriceProfile, price_profile, profiles

__all__ = [
    "Cell",
    "ComparisonRow",
    "ExpiryCliff",
    "Matrix",
    "PriceProfile",
    "TailCost",
    "TailModel",
    "compare",
    "compare_accounts",
    "expected_shortfall",
    "expiry_cliff",
    "price_profile",
    "profiles",
    "tail_cost",
]
