"""Margin position by position: rates with brackets or a slope, the standard option formula."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from crossmargin.margin.components._base import BaseComponent, Data, Fraction, NonNegative, Rate


class Tier(Data, frozen=True, kw_only=True):
    """One bracket: from `floor` on, these rates.

    Attributes
    ----------
    floor : float
        In the component's `unit` (US dollars of notional by default).
    im, mm : float
        Rates; where a venue states a leverage, `im` is its reciprocal.
    known_to : float or None
        Of a last bracket: where the published table ends. A larger position is refused by name.
    """

    floor: NonNegative
    im: Rate
    mm: Rate
    known_to: NonNegative | None = None


class Slope(Data, frozen=True, kw_only=True):
    """Rate that rises with size: ``im + per_coin·|coins|``, ``mm + per_coin·|coins|``."""

    im: Rate
    mm: Rate
    per_coin: NonNegative


class RateMargin(BaseComponent, frozen=True, kw_only=True, tag="rate"):
    """Rate times notional, per position.

    Attributes
    ----------
    scheme : {"marginal", "whole", "slope"}
        Brackets applied slice by slice, to the whole notional, or a linear slope.
    tiers, slopes : dict
        By market stem (``BTC_USDC``), underlying (``BTC``) or ``default``, in that order.
    im_scheme : {"marginal", "whole", None}
        The same for the initial rate alone, where it differs: notional over the leverage that
        its bracket allows is ``whole``. None: as `scheme`.
    unit : {"USD", "settlement", "coin"}
        What the brackets' floors are measured in: notional in US dollars or in the settlement
        asset, or coins.
    use_leverage : bool
        A position's own leverage setting raises its initial rate to at least 1/leverage.
    price : {"mark", "index"}
        Price at which coins of linear contracts are valued.
    kinds : list of {"perpetual", "future"}
        What it applies to.
    contracts : {"all", "linear", "inverse"}
        Likewise.
    """

    scheme: Literal["marginal", "whole", "slope"]
    im_scheme: Literal["marginal", "whole"] | None = None
    unit: Literal["USD", "settlement", "coin"] = "USD"
    tiers: dict[str, list[Tier]] = {}
    slopes: dict[str, Slope] = {}
    use_leverage: bool = False
    price: Literal["mark", "index"] = "mark"
    kinds: tuple[Literal["perpetual", "future"], ...] = ("perpetual", "future")
    contracts: Literal["all", "linear", "inverse"] = "all"

    def __post_init__(self) -> None:
        """Refuse brackets that do not start at 0 and rise."""
        for name, tiers in self.tiers.items():
            floors = [tier.floor for tier in tiers]
            if not floors or floors[0] != 0 or sorted(set(floors)) != floors:
                raise ValueError(f"the brackets of {name} must start at 0 and rise")
            ends = [tier.known_to for tier in tiers]
            if any(end is not None for end in ends[:-1]):
                raise ValueError(f"only the last bracket of {name} may say where its table ends")
            if ends[-1] is not None and ends[-1] <= floors[-1]:
                raise ValueError(f"the last bracket of {name} ends below its floor")

    @property
    def unknown(self) -> bool:
        """Whether no market has figures, or a table ends before the venue's own."""
        if self.scheme == "slope":
            return not self.slopes
        ends = any(tiers[-1].known_to is not None for tiers in self.tiers.values())
        return ends or not self.tiers


class RootSize(Data, frozen=True, kw_only=True):
    """Rate that rises with the square root of size.

    ``max(r, share·r + per_root_coin·√|coins|)`` at both levels.
    """

    im: Rate
    mm: Rate
    per_root_coin: NonNegative


class RootRate(BaseComponent, frozen=True, kw_only=True, tag="root-rate"):
    """Rate that rises with the square root of the position.

    Attributes
    ----------
    markets : dict of str to RootSize
        By market stem, underlying or ``default``.
    share : float
        Part of the base rate that the size term is added to.
    use_leverage, price, kinds
        As for :class:`RateMargin`.
    """

    markets: dict[str, RootSize] = {}
    share: Fraction
    use_leverage: bool = False
    price: Literal["mark", "index"] = "mark"
    kinds: tuple[Literal["perpetual", "future"], ...] = ("perpetual",)

    @property
    def unknown(self) -> bool:
        """Whether no market has figures."""
        return not self.markets


class PerpWeight(Data, frozen=True, kw_only=True):
    """Weights of one perpetual market: asset weights ≤ 1 for longs, liability ≥ 1 for shorts."""

    asset_im: Fraction
    asset_mm: Fraction
    liability_im: Annotated[float, Meta(ge=1, le=10)]
    liability_mm: Annotated[float, Meta(ge=1, le=10)]
    stable_usd: Annotated[float, Meta(gt=0)] | None = None


class PerpWeights(BaseComponent, frozen=True, kw_only=True, tag="perp-weights"):
    """Perpetuals by asset and liability weights, as a requirement beside their full value.

    A long needs ``|q|·(P − w_asset·P′)``, a short ``|q|·(w_liability·P′ − P)``. At the initial
    level P′ is the smaller (long) or larger (short) of price and `stable_usd`, else the price.

    Attributes
    ----------
    markets : dict of str to PerpWeight
        By market stem, underlying or ``default``.
    price, kinds
        As for :class:`RateMargin`.
    """

    markets: dict[str, PerpWeight] = {}
    price: Literal["mark", "index"] = "index"
    kinds: tuple[Literal["perpetual"], ...] = ("perpetual",)

    @property
    def unknown(self) -> bool:
        """Whether no market has weights."""
        return not self.markets


class LiquidityTier(Data, frozen=True, kw_only=True):
    """One class of markets; an upper open interest of 0 switches the scaling off."""

    base_im: Fraction
    maintenance_fraction: Fraction
    oi_lower_usd: NonNegative = 0.0
    oi_upper_usd: NonNegative = 0.0

    def __post_init__(self) -> None:
        """Refuse a scaling that would run backwards."""
        if self.oi_upper_usd and self.oi_lower_usd > self.oi_upper_usd:
            raise ValueError("oi_lower_usd is above oi_upper_usd")


class OpenInterestRate(BaseComponent, frozen=True, kw_only=True, tag="open-interest-rate"):
    """Initial rate that rises with the market's open interest.

    ``IM rate = min(1, base + max(0, (OI − lower)/(upper − lower))·(1 − base))`` floored to
    millionths; ``MM rate = base × maintenance fraction``, which open interest does not touch.

    Attributes
    ----------
    tiers : dict of str to LiquidityTier
        By name.
    markets : dict of str to str
        Name of the tier by market stem, underlying or ``default``.
    open_interest_coins : dict of str to float
        Open interest in coins by underlying; needed where a tier scales, and refused by name
        where it is missing.
    use_leverage, price, kinds
        As for :class:`RateMargin`.
    """

    tiers: dict[str, LiquidityTier]
    markets: dict[str, str]
    open_interest_coins: dict[str, NonNegative] = {}
    use_leverage: bool = True
    price: Literal["mark", "index"] = "index"
    kinds: tuple[Literal["perpetual", "future"], ...] = ("perpetual",)

    def __post_init__(self) -> None:
        """Refuse a market whose tier is not listed."""
        for market, tier in self.markets.items():
            if tier not in self.tiers:
                raise ValueError(f"{market} names the tier {tier!r}, which is not listed")


class OptionFactors(Data, frozen=True, kw_only=True):
    """Factors of the standard short-option formula, as fractions of the underlying.

    Attributes
    ----------
    otm_base, otm_floor, mm : float
        a, b and c of the formula.
    size_factor : float
        Multiplies the part that is not the option's own value; a venue's position-tier factor.
    order_floor : float or None
        Least margin of an order that opens a short, per coin; None where a venue has none.
    """

    otm_base: Fraction
    otm_floor: Fraction
    mm: Fraction
    size_factor: Annotated[float, Meta(ge=1, le=100)] = 1.0
    order_floor: Fraction | None = None


class OptionFormula(BaseComponent, frozen=True, kw_only=True, tag="option-formula"):
    """Standard margin of single options; long options need none (the premium is paid).

    Attributes
    ----------
    factors : dict of str to OptionFactors
        By market stem, underlying or ``default``.
    otm_price : {"index", "forward"}
        What the strike is compared with.
    put_im_at_least_mm : bool
        Whether a put's initial margin is at least its maintenance margin.
    orders : {"after-fills", "per-order"}
        ``after-fills``: the margin of the short after the sells. ``per-order``: each order adds
        its own, less the premium it brings (see :func:`~crossmargin.margin._options.order_adds`).
    """

    factors: dict[str, OptionFactors]
    otm_price: Literal["index", "forward"] = "index"
    put_im_at_least_mm: bool = True
    orders: Literal["after-fills", "per-order"] = "after-fills"
