"""Kinds of portfolio margin beside the scan: basis, minimum charge, de-peg, contract charges."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from crossmargin.margin.components._base import (
    BaseComponent,
    Data,
    Fraction,
    NonNegative,
    Rate,
)
from crossmargin.margin.components._charges import RollRates

Kinds = tuple[Literal["spot", "perpetual", "future", "option"], ...]


class ScanPart(BaseComponent, frozen=True, kw_only=True, tag="scan-part"):
    """Worst loss over the named blocks of the scan alone.

    The scan itself covers all blocks; its parts let an expression and a statement name them.

    Attributes
    ----------
    blocks : list of str
        Names of scenario blocks.
    """

    blocks: Annotated[list[str], Meta(min_length=1)]


class Basis(BaseComponent, frozen=True, kw_only=True, tag="basis"):
    """Basis between expiries, netted over settlement assets: Σ over expiries of |net delta| × rate.

    As ``roll``, with rates by underlying and contracts of one expiry netted whatever they settle
    in. Spot has no basis.

    Attributes
    ----------
    underlyings : dict of str to RollRates
        By underlying; ``default`` serves the rest.
    """

    underlyings: dict[str, RollRates]


class ChargeBand(Data, frozen=True, kw_only=True):
    """From `floor` (US dollars of raw charge) on, each dollar counts `multiplier` times."""

    floor: NonNegative
    multiplier: NonNegative


class ChargeRule(Data, frozen=True, kw_only=True):
    """Raw charge per US dollar of delta, and the bands that scale it."""

    rate: Rate
    bands: list[ChargeBand] = []

    def __post_init__(self) -> None:
        """Refuse bands that do not start at 0 and rise."""
        floors = [band.floor for band in self.bands]
        if floors and (floors[0] != 0 or sorted(set(floors)) != floors):
            raise ValueError("the bands must start at 0 and rise")


class MinimumCharge(BaseComponent, frozen=True, kw_only=True, tag="minimum-charge"):
    """Least charge on size, progressive: raw charge Σ |delta of a contract| × rate, by bands.

    Attributes
    ----------
    underlyings : dict of str to ChargeRule
        By underlying; ``default`` serves the rest. One without bands, or not listed, is refused
        when an account holds it: the bands are not published.
    """

    underlyings: dict[str, ChargeRule]


class SizeRate(Data, frozen=True, kw_only=True):
    """From `floor` (US dollars hedged) on, each dollar costs `rate`."""

    floor: NonNegative
    rate: Rate


class DepegLevel(Data, frozen=True, kw_only=True):
    """Rates while the stablecoin is worth `from_price` to `to_price`, both included.

    Of two levels that include a price the first counts.
    """

    from_price: NonNegative
    to_price: NonNegative | None = None
    sizes: Annotated[list[SizeRate], Meta(min_length=1)]

    def __post_init__(self) -> None:
        """Refuse sizes that do not start at 0 and rise."""
        floors = [size.floor for size in self.sizes]
        if floors[0] != 0 or sorted(set(floors)) != floors:
            raise ValueError("the sizes must start at 0 and rise")


class Depeg(BaseComponent, frozen=True, kw_only=True, tag="depeg"):
    """Charge on deltas that hedge each other across quote currencies.

    Deltas are netted by quote currency, then paired off in the order of `pairs`; what is paired
    costs the rate of the level in which the cheaper stablecoin of the pair stands.

    Attributes
    ----------
    pairs : list of [str, str]
        Quote currencies, first pairing first.
    levels : list of DepegLevel
        Empty, or with gaps: an account that needs a missing one is refused.
    partial : bool
        Whether levels or sizes are known to be missing.
    """

    pairs: list[Annotated[list[str], Meta(min_length=2, max_length=2)]]
    levels: list[DepegLevel] = []
    partial: bool = False

    @property
    def unknown(self) -> bool:
        """Whether rates are missing."""
        return self.partial or not self.levels

    @property
    def leaves_out(self) -> bool:
        """Whether known rates stand in for some that are missing."""
        return self.partial and bool(self.levels)


class ContractRate(Data, frozen=True, kw_only=True):
    """Charge per coin of contract size: `usd` US dollars and `index` of the index price."""

    usd: NonNegative = 0.0
    index: Rate = 0.0


class ContractCharge(BaseComponent, frozen=True, kw_only=True, tag="contract-charge"):
    """Charge per contract held: short option minimum, least charge per contract.

    Attributes
    ----------
    kinds : list of {"spot", "perpetual", "future", "option"}
        What it applies to.
    side : {"short", "both"}
        Net short quantity alone, or net quantity of either sign.
    net : {"contract", "group"}
        What is netted: a contract with itself, or all contracts of these kinds in a group.
    underlyings : dict of str to ContractRate
        By underlying; ``default`` serves the rest. Empty: not published, and an account that
        needs it is refused.
    """

    kinds: Kinds = ("option",)
    side: Literal["short", "both"] = "short"
    net: Literal["contract", "group"] = "contract"
    underlyings: dict[str, ContractRate] = {}

    @property
    def unknown(self) -> bool:
        """Whether the rates are missing."""
        return not self.underlyings


class ExpirySpread(BaseComponent, frozen=True, kw_only=True, tag="expiry-spread"):
    """Charge on deltas or vegas that hedge each other across expiries: hedged × gap × factor.

    Net amounts by expiry are paired off, nearest expiries first.

    Attributes
    ----------
    of : {"delta", "vega"}
        Delta in US dollars, or US dollars per 1.00 of volatility (Black-76).
    factors : dict of str to float
        Per year between the expiries (delta), or per day (vega), by underlying; ``default``
        serves the rest. Empty: not published, and an account that needs it is refused.
    """

    of: Literal["delta", "vega"]
    factors: dict[str, NonNegative] = {}

    @property
    def unknown(self) -> bool:
        """Whether the factors are missing."""
        return not self.factors


class Unpublished(BaseComponent, frozen=True, kw_only=True, tag="unpublished"):
    """A charge whose formula is not published: 0, or refused where an account would need it.

    Attributes
    ----------
    kinds : list of {"spot", "perpetual", "future", "option"}
        Instruments that make an account need it.
    left_out : bool
        The user's word that it may be left out.
    """

    kinds: Kinds
    left_out: bool = False

    @property
    def unknown(self) -> bool:
        """Whether it is missing: always."""
        return True

    @property
    def leaves_out(self) -> bool:
        """Whether the user let it be left out."""
        return self.left_out


class Factor(BaseComponent, frozen=True, kw_only=True, tag="factor"):
    """A figure in the expression, the same for every group.

    Attributes
    ----------
    value : float or None
        None: not published, and an account with positions is refused.
    """

    value: Annotated[float, Meta(ge=0, le=100)] | None = None

    @property
    def unknown(self) -> bool:
        """Whether the figure is missing."""
        return self.value is None

    @property
    def dimensionless(self) -> bool:
        """A factor, not an amount of money."""
        return True


class ProductGroup(Data, frozen=True, kw_only=True):
    """Class groups whose gains offset each other's losses, at a share."""

    members: Annotated[list[str], Meta(min_length=2)]
    offset: Fraction


class ProductOffset(BaseComponent, frozen=True, kw_only=True, tag="product-offset"):
    """Credit between groups of one product, point by point of the scan.

    At each valuation point losses count in full and gains at `offset`; the worst sum is the
    product's charge. The credit is what the groups' own worst losses exceed it by, given to each
    group so that the charge falls on those that lose at the worst point, in proportion.

    Attributes
    ----------
    products : list of ProductGroup
        A group belongs to one product at most; one that belongs to none stands alone.
    """

    products: list[ProductGroup] = []

    def __post_init__(self) -> None:
        """Refuse a group in two products."""
        members = [name for product in self.products for name in product.members]
        if len(set(members)) < len(members):
            raise ValueError("a group belongs to one product at most")
