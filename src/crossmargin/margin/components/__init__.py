"""The vocabulary of rule-sets: every kind of component as typed data.

A venue is a file over these kinds. A formula that none of them expresses becomes a new kind
with a name: its data here, its computation in ``margin/_stages.py``'s table. No kind looks at the
venue's name.
"""

from __future__ import annotations

from crossmargin.margin.components._base import (
    BaseComponent,
    Confidence,
    Data,
    PotComponent,
)
from crossmargin.margin.components._charges import (
    Borrow,
    CorrelationContingency,
    Debt,
    DeltaConcentration,
    DeltaThreshold,
    FeeProvision,
    FixedCharge,
    FundingProvision,
    MinDelta,
    OrderCharge,
    Roll,
    RollRates,
)
from crossmargin.margin.components._collateral import (
    AssetRule,
    Collateral,
    JointCap,
    LocationRule,
    ProfitRule,
)
from crossmargin.margin.components._rates import (
    LiquidityTier,
    OpenInterestRate,
    OptionFactors,
    OptionFormula,
    PerpWeight,
    PerpWeights,
    RateMargin,
    RootRate,
    RootSize,
    Slope,
    Tier,
)
from crossmargin.margin.components._ruleset import (
    Combine,
    Component,
    InstrumentClass,
    Offset,
    Orders,
    PairCredit,
    Pools,
    RulesetData,
    Source,
)
from crossmargin.margin.components._scan import (
    CurrencyOffset,
    Scan,
)
from crossmargin.margin.components._schedules import (
    FactorTier,
    Flat,
    LiabilityWeight,
    Ltv,
    PoolScaled,
    Schedule,
    SizeScaled,
    ThenTiers,
    Tiers,
)
from crossmargin.margin.components._states import MEANINGS, Meaning, StateBand

__all__ = [
    "MEANINGS",
    "AssetRule",
    "BaseComponent",
    "Borrow",
    "Collateral",
    "Combine",
    "Component",
    "Confidence",
    "CorrelationContingency",
    "CurrencyOffset",
    "Data",
    "Debt",
    "DeltaConcentration",
    "DeltaThreshold",
    "FactorTier",
    "FeeProvision",
    "FixedCharge",
    "Flat",
    "FundingProvision",
    "InstrumentClass",
    "JointCap",
    "LiabilityWeight",
    "LiquidityTier",
    "LocationRule",
    "Ltv",
    "Meaning",
    "MinDelta",
    "Offset",
    "OpenInterestRate",
    "OptionFactors",
    "OptionFormula",
    "OrderCharge",
    "Orders",
    "PairCredit",
    "PerpWeight",
    "PerpWeights",
    "PoolScaled",
    "Pools",
    "PotComponent",
    "ProfitRule",
    "RateMargin",
    "Roll",
    "RollRates",
    "RootRate",
    "RootSize",
    "RulesetData",
    "Scan",
    "Schedule",
    "SizeScaled",
    "Slope",
    "Source",
    "StateBand",
    "ThenTiers",
    "Tier",
    "Tiers",
]
