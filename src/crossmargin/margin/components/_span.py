"""Kinds of SPAN beside the scan: calendar and delivery charge, credit, risk cap."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from crossmargin.margin.components._base import BaseComponent, Data, Fraction, NonNegative
from crossmargin.margin.components._portfolio import ContractRate

Positive = Annotated[float, Meta(gt=0)]


class DeltaPoints(Data, frozen=True, kw_only=True):
    """Composite delta: the weighted mean of an option's deltas over moves of its underlying.

    Attributes
    ----------
    points : list of float
        Moves, in multiples of the underlying's price range.
    weights : list of float
        One each; their sum divides.
    """

    points: Annotated[list[float], Meta(min_length=1)] = field(default_factory=lambda: [0.0])
    weights: Annotated[list[Positive], Meta(min_length=1)] = field(default_factory=lambda: [1.0])

    def __post_init__(self) -> None:
        """Refuse weights that are not as many as the points."""
        if len(self.points) != len(self.weights):
            raise ValueError("a composite delta needs one weight for each point")


class ExpiryTier(Data, frozen=True, kw_only=True):
    """Expiries from `from_days` to less than `to_days` ahead; a perpetual is 0 days ahead."""

    from_days: NonNegative
    to_days: NonNegative | None = None


class TierSpread(ContractRate, frozen=True, kw_only=True):
    """One line of a priority table: tier against tier, and the charge per coin of delta.

    `first` and `second` count tiers from 1; the same tier twice is a spread inside it.
    """

    first: Annotated[int, Meta(ge=1)]
    second: Annotated[int, Meta(ge=1)]


class Calendar(Data, frozen=True, kw_only=True):
    """Tiers and the priority table of one combined commodity."""

    tiers: Annotated[list[ExpiryTier], Meta(min_length=1)]
    spreads: list[TierSpread]

    def __post_init__(self) -> None:
        """Refuse spreads over tiers that are not there."""
        if any(max(s.first, s.second) > len(self.tiers) for s in self.spreads):
            raise ValueError("a spread names a tier that is not there")


class CalendarSpread(BaseComponent, frozen=True, kw_only=True, tag="calendar-spread"):
    """Charge for expiries that hedge each other, by tiers in the order of a priority table.

    Attributes
    ----------
    deltas : DeltaPoints
        Composite delta of options.
    underlyings : dict of str to Calendar
        By underlying; ``default`` serves the rest, others are not charged.
    """

    deltas: DeltaPoints = DeltaPoints()
    underlyings: dict[str, Calendar] = {}


class DeliveryRule(ContractRate, frozen=True, kw_only=True):
    """Charge per coin of net delta in expiries less than `days` ahead."""

    days: Positive


class DeliveryCharge(BaseComponent, frozen=True, kw_only=True, tag="delivery-charge"):
    """Charge on net delta in the delivery period; perpetuals and spot have none.

    Attributes
    ----------
    deltas : DeltaPoints
        Composite delta of options.
    underlyings : dict of str to DeliveryRule
        By underlying; ``default`` serves the rest, others are not charged.
    """

    deltas: DeltaPoints = DeltaPoints()
    underlyings: dict[str, DeliveryRule] = {}


class CreditLeg(Data, frozen=True, kw_only=True):
    """A leg of an inter-commodity spread: `ratio` coins of delta for each spread, on its side."""

    group: str
    ratio: Positive = 1.0
    side: Literal["A", "B"]


class CreditSpread(Data, frozen=True, kw_only=True):
    """One line of the inter-commodity table: legs on opposite sides and the credit rate."""

    legs: Annotated[list[CreditLeg], Meta(min_length=2)]
    credit: Fraction

    def __post_init__(self) -> None:
        """Refuse spreads on one side, and a group twice."""
        if {leg.side for leg in self.legs} != {"A", "B"}:
            raise ValueError("a spread needs legs on both sides")
        if len({leg.group for leg in self.legs}) < len(self.legs):
            raise ValueError("a group stands in a spread once")


class SpreadCredit(BaseComponent, frozen=True, kw_only=True, tag="spread-credit"):
    """Inter-commodity spread credit: weighted price risk × spreads × ratio × credit rate.

    Attributes
    ----------
    deltas : DeltaPoints
        Composite delta of options.
    spreads : list of CreditSpread
        In order of priority.
    active : bool
        Whether credit is given (off under stressed correlation).
    """

    deltas: DeltaPoints = DeltaPoints()
    spreads: list[CreditSpread] = []
    active: bool = True


class RiskCap(BaseComponent, frozen=True, kw_only=True, tag="risk-cap"):
    """What a group of long options alone would be charged beyond their value.

    To be subtracted: long options cannot lose more than they are worth.

    Attributes
    ----------
    of, less : list of str
        Components whose sum, and less of which, makes the risk.
    """

    of: Annotated[list[str], Meta(min_length=1)]
    less: list[str] = []
