"""What happens at the line: closing, auction, takeover, fund, deleveraging, shared loss."""

from __future__ import annotations

from crossmargin.liquidation.account import (
    Account,
    Brackets,
    Leg,
    Line,
    LinearAccount,
    Standing,
    linear_account,
    start_of,
)
from crossmargin.liquidation.closing import (
    BankruptLeg,
    PartialSize,
    allocate,
    bankruptcy_legs,
    bankruptcy_price,
    bankruptcy_value_quanta,
    fillable_price,
    partial_size,
)
from crossmargin.liquidation.costs import ClosingCost
from crossmargin.liquidation.margined import MarginedAccount
from crossmargin.liquidation.policies import POLICIES, Policy, Reduction, Trial, reduce
from crossmargin.liquidation.sharing import (
    SHARING_RULES,
    Filled,
    SharedLoss,
    gini,
    junior_ratio,
    largest_remainder,
    share_loss,
    water_fill,
)
from crossmargin.liquidation.takeover import Takeover, Unwound, take_over, unwind
from crossmargin.liquidation.waterfall import (
    Borne,
    Fund,
    Layer,
    Waterfall,
    cover,
    drawdown_excess,
)

__all__ = [
    "POLICIES",
    "SHARING_RULES",
    "Account",
    "BankruptLeg",
    "Borne",
    "Brackets",
    "ClosingCost",
    "Filled",
    "Fund",
    "Layer",
    "Leg",
    "Line",
    "LinearAccount",
    "MarginedAccount",
    "PartialSize",
    "Policy",
    "Reduction",
    "SharedLoss",
    "Standing",
    "Takeover",
    "Trial",
    "Unwound",
    "Waterfall",
    "allocate",
    "bankruptcy_legs",
    "bankruptcy_price",
    "bankruptcy_value_quanta",
    "cover",
    "drawdown_excess",
    "fillable_price",
    "gini",
    "junior_ratio",
    "largest_remainder",
    "linear_account",
    "partial_size",
    "reduce",
    "share_loss",
    "start_of",
    "take_over",
    "unwind",
    "water_fill",
]
