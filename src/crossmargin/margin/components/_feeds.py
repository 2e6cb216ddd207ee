"""What doubt about prices costs: confidence of feeds, peg of the settlement currency."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from crossmargin.margin.components._base import (
    BaseComponent,
    Data,
    NonNegative,
    PotComponent,
    Rate,
)

Feed = Literal["spot", "perpetual", "forward", "rate", "vol"]


class ConfidenceCost(Data, frozen=True, kw_only=True):
    """What little trust in some feeds costs, where the least of them is below a threshold.

    ``(1 − confidence) × factor × notional``: a jump at the threshold, not a ramp.

    Attributes
    ----------
    threshold : Decimal
        Compared exactly, strictly below: a figure in a string keeps every digit.
    factor : float
        Share of the notional at no confidence.
    feeds : tuple of {"spot", "perpetual", "forward", "rate", "vol"}
        Whose least confidence counts. ``perpetual`` counts for options only where a perpetual
        of the group is held.
    sides : {"gross", "short"}
        Notional of longs and shorts, or of shorts alone.
    """

    threshold: Decimal
    factor: NonNegative
    feeds: tuple[Feed, ...]
    sides: Literal["gross", "short"] = "gross"

    def __post_init__(self) -> None:
        """Refuse a threshold that is not a share."""
        if not (self.threshold.is_finite() and 0 <= self.threshold <= 100):
            raise ValueError("a confidence threshold lies between 0 and 100")


class OracleConfidence(BaseComponent, frozen=True, kw_only=True, tag="oracle-confidence"):
    """Charge for positions whose feeds are little trusted, at the initial level.

    Attributes
    ----------
    perpetuals, options : dict of str to ConfidenceCost
        By underlying or ``default``; without an entry there is no charge. Options are charged
        by expiry.
    """

    perpetuals: dict[str, ConfidenceCost] = {}
    options: dict[str, ConfidenceCost] = {}


class CollateralConfidence(PotComponent, frozen=True, kw_only=True, tag="collateral-confidence"):
    """Charge for positive balances whose feeds are little trusted, at the initial level.

    Attributes
    ----------
    assets : dict of str to ConfidenceCost
        By asset or ``default``. The asset's own feed always counts; ``perpetual`` adds those of
        the perpetuals held beside it.
    spot_of : tuple of str
        Underlyings whose spot confidence counts with the asset's own. Without any, those of the
        groups in the pot count.
    with_groups : bool
        Whether the underlyings' confidence counts at all.
    price : {"market", "par"}
        Value in the pot's numeraire at its own price, or US dollars one to one.
    """

    assets: dict[str, ConfidenceCost]
    spot_of: tuple[str, ...] = ()
    with_groups: bool = True
    price: Literal["market", "par"] = "market"


class PegFactor(BaseComponent, frozen=True, kw_only=True, tag="peg-factor"):
    """A factor, not money: ``max(0, threshold − price) × factor`` of a currency that should be 1.

    Initial level only. The combining expression says what it multiplies.
    """

    asset: str
    threshold: NonNegative
    factor: NonNegative

    @property
    def dimensionless(self) -> bool:
        """Whether the value is a factor in the expression."""
        return True


class PegCharge(BaseComponent, frozen=True, kw_only=True, tag="peg-charge"):
    """Charge on short options and perpetuals when the settlement currency loses its peg.

    ``(Σ short options + |net perpetual|) × index × max(0, threshold − price) × factor``, initial
    level only.
    """

    asset: str
    threshold: NonNegative
    factor: NonNegative


class BalanceRate(BaseComponent, frozen=True, kw_only=True, tag="balance-rate"):
    """Rate on balances that stand in a group of the scan, valued at the index price."""

    im: Rate
    mm: Rate
