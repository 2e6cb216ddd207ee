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
    DeltaConcentration,
    DeltaThreshold,
    FeeProvision,
    FundingProvision,
    MinDelta,
    Roll,
    RollRates,
)
from crossmargin.margin.components._collateral import (
    AssetRule,
    Collateral,
    LocationRule,
)
from crossmargin.margin.components._feeds import (
    BalanceRate,
    CollateralConfidence,
    ConfidenceCost,
    OracleConfidence,
    PegCharge,
    PegFactor,
)
from crossmargin.margin.components._options import (
    BasisContingency,
    BoundedOptionFactors,
    NakedShort,
    OptionBounded,
)
from crossmargin.margin.components._rates import (
    OptionFactors,
    OptionFormula,
    RateMargin,
    Slope,
    Tier,
)
from crossmargin.margin.components._ruleset import (
    Combine,
    Component,
    Evidence,
    Offset,
    Orders,
    PairCredit,
    Pools,
    RulesetData,
    Source,
)
from crossmargin.margin.components._scan import (
    CurrencyOffset,
    DiscountRule,
    Scan,
    StaticDiscount,
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
from crossmargin.margin.components._size import (
    Concentration,
    Impact,
    ImpactScale,
    SizeComponent,
    SizeScale,
)

__all__ = [
    "AssetRule",
    "BalanceRate",
    "BaseComponent",
    "BasisContingency",
    "Borrow",
    "BoundedOptionFactors",
    "Collateral",
    "CollateralConfidence",
    "Combine",
    "Component",
    "Concentration",
    "Confidence",
    "ConfidenceCost",
    "CorrelationContingency",
    "CurrencyOffset",
    "Data",
    "DeltaConcentration",
    "DeltaThreshold",
    "DiscountRule",
    "Evidence",
    "FactorTier",
    "FeeProvision",
    "Flat",
    "FundingProvision",
    "Impact",
    "ImpactScale",
    "LiabilityWeight",
    "LocationRule",
    "Ltv",
    "MinDelta",
    "NakedShort",
    "Offset",
    "OptionBounded",
    "OptionFactors",
    "OptionFormula",
    "OracleConfidence",
    "Orders",
    "PairCredit",
    "PegCharge",
    "PegFactor",
    "PoolScaled",
    "Pools",
    "PotComponent",
    "RateMargin",
    "Roll",
    "RollRates",
    "RulesetData",
    "Scan",
    "Schedule",
    "SizeComponent",
    "SizeScale",
    "SizeScaled",
    "Slope",
    "Source",
    "StaticDiscount",
    "ThenTiers",
    "Tier",
    "Tiers",
]
