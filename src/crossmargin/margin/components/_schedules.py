"""Schedules: what share of a balance counts as margin, by its size, its pool or its level.

Source
------
venues.md §13.3 (collateral valuation) lists the forms; each class names the venue texts it is
made for. Which figures go with them is data of rule-sets and of ``margin/haircuts``.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from crossmargin.margin.components._base import Data, Fraction, NonNegative

#: A factor step smaller than this would generate more tiers than any venue publishes.
_SMALLEST_STEP = 1e-4


class _Schedule(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind"
):
    """A schedule; `kind` in the file says which."""


class Flat(_Schedule, frozen=True, kw_only=True, tag="flat"):
    """One factor for the whole balance."""

    factor: Fraction


class FactorTier(Data, frozen=True, kw_only=True):
    """One band of a tiered schedule: `factor` for what lies above `from` and up to `to`.

    `to` is null in a last band without an end.
    """

    lower: NonNegative = msgspec.field(name="from")
    upper: NonNegative | None = msgspec.field(name="to", default=None)
    factor: Fraction


class ThenTiers(Data, frozen=True, kw_only=True):
    """Bands generated after the listed ones: each `width` wide, its factor `step` (< 0) lower.

    The factor never falls below `minimum`, which then has no end. Source: venues.md §2
    (discount tiers as "steps of width and rate", mirror), haircuts.json (worked shape).
    """

    width: Annotated[float, Meta(gt=0)]
    step: Annotated[float, Meta(ge=-1, le=-_SMALLEST_STEP)]
    minimum: Fraction = 0.0


class Tiers(_Schedule, frozen=True, kw_only=True, tag="tiers"):
    """Bands by size, in coins or in US dollars.

    ``marginal``: each slice of the balance takes its own factor, so that the counted value is
    concave in size; factors may not rise. ``flat``: the band that holds the whole balance sets
    one factor for all of it; a balance on a bound belongs to the lower band. What lies beyond a
    last band with an end counts 0. Source: venues.md §2, §3, §4, §13.3; haircuts.json.
    """

    unit: Literal["coins", "usd"]
    banding: Literal["marginal", "flat"] = "marginal"
    tiers: Annotated[list[FactorTier], Meta(min_length=1)]
    then: ThenTiers | None = None

    def __post_init__(self) -> None:
        """Refuse bands that do not follow one another from 0."""
        lower = 0.0
        for place, tier in enumerate(self.tiers):
            if tier.lower != lower:
                raise ValueError(f"band {place} starts at {tier.lower:g}, not at {lower:g}")
            last = place == len(self.tiers) - 1
            if tier.upper is None and not last:
                raise ValueError(f"band {place} has no end and is not the last")
            if tier.upper is not None and tier.upper <= tier.lower:
                raise ValueError(f"band {place} ends at {tier.upper:g}, before it starts")
            before = self.tiers[place - 1].factor if place else 1.0
            if self.banding == "marginal" and tier.factor > before:
                raise ValueError(
                    f"the factor of band {place} rises to {tier.factor:g}: marginal factors fall"
                )
            lower = math.inf if tier.upper is None else tier.upper
        if self.then is not None and math.isinf(lower):
            raise ValueError("bands cannot be generated after a band without an end")
        if self.then is not None and self.then.minimum > self.tiers[-1].factor:
            raise ValueError("the minimum of generated bands lies above the last factor")


class SizeScaled(_Schedule, frozen=True, kw_only=True, tag="size"):
    """``min(factor, base / (1 + imf·√size))``, size in coins.

    Source: venues.md §7 (Drift v2, published); `base` is 1.1 there.
    """

    factor: Fraction
    imf: NonNegative
    base: Annotated[float, Meta(gt=0)] = 1.1


class PoolScaled(_Schedule, frozen=True, kw_only=True, tag="pool"):
    """``min(factor, base / (1 + imf·√size)) · min(1, scale_start / total)``.

    `total_usd` is the value of all deposits of the coin at the venue, US dollars: a figure of
    the day that the user supplies. Without it an account that holds the coin is refused, or
    the scale is left out and the rule-set says so (`when_unknown`). `imf` 0 leaves the size out.
    Source: venues.md §7 (deposit cap scaling) and §8 (init weight × start/deposits), published.
    """

    factor: Fraction
    scale_start_usd: Annotated[float, Meta(gt=0)]
    total_usd: NonNegative | None = None
    when_unknown: Literal["refuse", "unscaled"] = "refuse"
    imf: NonNegative = 0.0
    base: Annotated[float, Meta(gt=0)] = 1.1


class Ltv(_Schedule, frozen=True, kw_only=True, tag="ltv"):
    """Loan to value for the initial level, liquidation threshold for maintenance.

    What lies above `cap_coins` or `cap_usd` counts 0. Source: venues.md §5 (portfolio margin,
    supply cap per user) and §9 (lending), published.
    """

    ltv: Fraction
    threshold: Fraction
    cap_coins: NonNegative | None = None
    cap_usd: NonNegative | None = None

    def __post_init__(self) -> None:
        """Refuse a threshold below the loan-to-value: a new loan would be liquidated at once."""
        if self.threshold < self.ltv:
            raise ValueError(f"threshold {self.threshold:g} is below the ltv of {self.ltv:g}")


Schedule = Flat | Tiers | SizeScaled | PoolScaled | Ltv


class LiabilityWeight(Data, frozen=True, kw_only=True):
    """Weight (≥ 1) of a negative balance: ``max(weight, keep·weight + imf·√size)``, scaled.

    With `scale_start_usd` the result is multiplied by ``max(1, total / scale_start)``, the total
    being the venue's loans of the coin in US dollars (see :class:`PoolScaled`). Source:
    venues.md §7 (liability weight, `keep` 0.8) and §8 (init liability weight × borrows/start),
    published.
    """

    weight: Annotated[float, Meta(ge=1)]
    imf: NonNegative = 0.0
    keep: Fraction = 0.8
    scale_start_usd: Annotated[float, Meta(gt=0)] | None = None
    total_usd: NonNegative | None = None
    when_unknown: Literal["refuse", "unscaled"] = "refuse"
