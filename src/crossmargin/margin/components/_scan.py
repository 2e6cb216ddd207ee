"""The scan: worst loss over the scenarios."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from crossmargin.margin.components._base import BaseComponent, Data, Fraction, NonNegative


class CurrencyOffset(Data, frozen=True, kw_only=True):
    """Per settlement currency: what its netted gains and tail losses count.

    Attributes
    ----------
    pnl_offset : float
        Share of a gain that may offset other currencies' losses in the same group.
    max_offset_usd : float or None
        Largest gain that may offset; None for no cap.
    dampener_usd : float
        Allowance subtracted from a weighted tail loss before it counts.
    """

    pnl_offset: Fraction = 1.0
    max_offset_usd: NonNegative | None = None
    dampener_usd: NonNegative = 0.0


class DiscountRule(Data, frozen=True, kw_only=True):
    """A static discount: ``base × exp(∓years × (rate × rate_mult + rate_add))``."""

    base: Annotated[float, Meta(ge=0, le=4)]
    rate_mult: Annotated[float, Meta(ge=0, le=10)] = 0.0
    rate_add: Annotated[float, Meta(ge=0, le=10)] = 0.0


class StaticDiscount(Data, frozen=True, kw_only=True):
    """What an expiry's options are worth in a scenario, by the sign of their netted value.

    Value of 0 or more is marked down, ``long.base × exp(−years × (…))``; value below 0 is marked
    up, ``short.base × exp(+years × (…))``, yet never beyond undiscounted. The value of today is
    subtracted without this discount, so that the scenario without a move charges it.

    Source: Derive v2-core, PMRMLib_2.sol and PMRMLib.sol (commit 7736900d).

    Attributes
    ----------
    long : DiscountRule
        For netted values of 0 or more.
    short : DiscountRule or None
        For netted values below 0; None leaves them alone.
    """

    long: DiscountRule
    short: DiscountRule | None = None


class Scan(BaseComponent, frozen=True, kw_only=True, tag="scan"):
    """Worst loss over the scenarios, per group.

    Attributes
    ----------
    currencies : dict of str to CurrencyOffset
        By settlement asset; ``USD`` serves stablecoins, ``default`` the rest.
    tail_gains_count : bool
        Whether a gain in a tail scenario offsets other segments.
    conversion : {"base", "shocked"}
        Price at which a coin's profit is converted to the numeraire in a scenario.
    segments : {"settlement", "expiry"}
        What is netted before the map φ: everything paid in one asset, or the options of one
        expiry apart from each other and from the rest.
    static_discount : StaticDiscount or None
        Discount on the shocked value of an expiry; needs ``segments = "expiry"``.
    """

    currencies: dict[str, CurrencyOffset] = {}
    tail_gains_count: bool = False
    conversion: Literal["base", "shocked"] = "base"
    segments: Literal["settlement", "expiry"] = "settlement"
    static_discount: StaticDiscount | None = None

    def __post_init__(self) -> None:
        """Refuse a discount by expiry of what is not netted by expiry."""
        if self.static_discount is not None and self.segments != "expiry":
            raise ValueError('a static discount needs segments = "expiry"')
