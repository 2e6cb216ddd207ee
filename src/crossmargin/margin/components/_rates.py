"""Margin position by position: rates with brackets or a slope, the standard option formula."""

from __future__ import annotations

from typing import Literal

from crossmargin.margin.components._base import BaseComponent, Data, Fraction, NonNegative, Rate


class Tier(Data, frozen=True, kw_only=True):
    """One bracket: from `floor` (USD notional) on, these rates."""

    floor: NonNegative
    im: Rate
    mm: Rate


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
    use_leverage : bool
        A position's own leverage setting raises its initial rate to at least 1/leverage.
    price : {"mark", "index"}
        Price at which coins of linear contracts are valued.
    kinds : list of {"perpetual", "future"}
        What it applies to.
    """

    scheme: Literal["marginal", "whole", "slope"]
    tiers: dict[str, list[Tier]] = {}
    slopes: dict[str, Slope] = {}
    use_leverage: bool = False
    price: Literal["mark", "index"] = "mark"
    kinds: tuple[Literal["perpetual", "future"], ...] = ("perpetual", "future")

    def __post_init__(self) -> None:
        """Refuse brackets that do not start at 0 and rise."""
        for name, tiers in self.tiers.items():
            floors = [tier.floor for tier in tiers]
            if not floors or floors[0] != 0 or sorted(set(floors)) != floors:
                raise ValueError(f"the brackets of {name} must start at 0 and rise")


class OptionFactors(Data, frozen=True, kw_only=True):
    """Factors of the standard short-option formula, as fractions of the underlying."""

    otm_base: Fraction
    otm_floor: Fraction
    mm: Fraction


class OptionFormula(BaseComponent, frozen=True, kw_only=True, tag="option-formula"):
    """Standard margin of single options; long options need none (the premium is paid)."""

    factors: dict[str, OptionFactors]
