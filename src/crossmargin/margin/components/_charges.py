"""Charges beside the scan: basis, concentration, provisions, debt."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from crossmargin.margin.components._base import (
    BaseComponent,
    Data,
    Fraction,
    NonNegative,
    PotComponent,
    Rate,
)


class RollRates(Data, frozen=True, kw_only=True):
    """Charge per unit of delta: ``max(floor, annual × years)``."""

    floor: NonNegative
    annual: NonNegative


class Roll(BaseComponent, frozen=True, kw_only=True, tag="roll"):
    """Basis between expiries: the sum over expiries of |net delta| times a rate."""

    currencies: dict[str, RollRates]


class DeltaThreshold(Data, frozen=True, kw_only=True):
    """When concentrated delta starts to cost, and its bounds."""

    threshold_usd: NonNegative
    per_coin: NonNegative
    max_shock: Fraction


class DeltaConcentration(BaseComponent, frozen=True, kw_only=True, tag="delta-concentration"):
    """Charge on net delta beyond a threshold.

    Attributes
    ----------
    growth : {"linear", None}
        Law of growth beyond the threshold. None: unknown, and an account beyond the threshold
        is refused. ``linear``: ``min(max_shock, per_coin × coins beyond)`` of the whole delta.
    """

    underlyings: dict[str, DeltaThreshold]
    growth: Literal["linear"] | None = None

    @property
    def unknown(self) -> bool:
        """Whether the law of growth is missing."""
        return self.growth is None


class CorrelationContingency(
    BaseComponent, frozen=True, kw_only=True, tag="correlation-contingency"
):
    """Charge for netting between currencies that are flagged as one set.

    Attributes
    ----------
    flagged : list of str
        Underlyings whose accounts it would touch.
    rate : float or None
        User-supplied share of the flagged groups' summed scans; None refuses such accounts.
    """

    flagged: list[str] = []
    rate: Fraction | None = None

    @property
    def unknown(self) -> bool:
        """Whether the rate is missing."""
        return self.rate is None


class MinDelta(BaseComponent, frozen=True, kw_only=True, tag="min-delta"):
    """Least charge on delta: ``(net_rate·|net| + hedged_rate·hedged) × spot``."""

    net_rate: Rate
    hedged_rate: Rate


class FundingProvision(BaseComponent, frozen=True, kw_only=True, tag="funding-provision"):
    """Funding expected to be paid over the next hours, never negative per group."""

    hours: Annotated[float, Meta(gt=0)] = 8.0


class FeeProvision(BaseComponent, frozen=True, kw_only=True, tag="fee-provision"):
    """Fee for closing everything: rate × |notional|.

    Attributes
    ----------
    rate : float or None
        None: not published. The component is then left out and the statement says so.
    """

    rate: Rate | None = None

    @property
    def unknown(self) -> bool:
        """Whether the rate is missing."""
        return self.rate is None

    @property
    def leaves_out(self) -> bool:
        """Whether the provision is left out."""
        return self.rate is None


class Borrow(PotComponent, frozen=True, kw_only=True, tag="borrow"):
    """Margin on debt: rate × borrowed value, for the pool.

    Attributes
    ----------
    im, mm : float or None
        None: not published, and an account with debt is refused.
    """

    im: Rate | None = None
    mm: Rate | None = None

    @property
    def unknown(self) -> bool:
        """Whether a rate is missing."""
        return self.im is None or self.mm is None


class Debt(PotComponent, frozen=True, kw_only=True, tag="debt"):
    """Debts at their liability weights, as a requirement instead of a deduction from equity.

    Where a venue compares weighted collateral with weighted debt, equity over maintenance
    margin is its health.

    Attributes
    ----------
    assets : list of str or None
        Coins whose liability weight is known; a debt of another is refused. None: all.
    """

    assets: list[str] | None = None

    @property
    def unknown(self) -> bool:
        """Whether some coins' weights are not known."""
        return self.assets is not None


class OrderCharge(PotComponent, frozen=True, kw_only=True, tag="order-charge"):
    """A fixed amount for each open order."""

    usd: NonNegative


class FixedCharge(PotComponent, frozen=True, kw_only=True, tag="fixed-charge"):
    """A fixed amount for a pot that holds a position, an order or a debt."""

    im_usd: NonNegative
    mm_usd: NonNegative
