"""What balances are worth as margin."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from crossmargin.margin.components._base import Confidence, Data, Fraction, NonNegative
from crossmargin.margin.components._schedules import LiabilityWeight, PoolScaled, Schedule

Weight = Annotated[float, Meta(ge=1)]


class AssetRule(Data, frozen=True, kw_only=True):
    """How a balance counts.

    Attributes
    ----------
    haircut : float
        Share cut from a positive balance at the collateral's `haircut_levels`.
    schedule : Schedule, optional
        Valuation at both levels; replaces `haircut` and `haircut_levels`.
    im, mm : Schedule, optional
        Valuation at one level; goes before `schedule` and `haircut` there.
    liability_im, liability_mm : float or LiabilityWeight
        Weight of a negative balance at a level; what exceeds 1 counts against equity.
    price : {"market", "par"}
        ``par``: the counted value turns US dollars into the pot's numeraire one to one, and not
        at the numeraire's own price, which the market value uses.
    limit_coins, limit_usd : float, optional
        What a pot holds beyond it counts 0 at both levels.
    stress : {"none", "up", "down", "both"}
        Which side of its price move enters the scenarios as profit and loss.
    """

    haircut: Fraction = 0.0
    schedule: Schedule | None = None
    im: Schedule | None = None
    mm: Schedule | None = None
    liability_im: Weight | LiabilityWeight = 1.0
    liability_mm: Weight | LiabilityWeight = 1.0
    price: Literal["market", "par"] = "market"
    limit_coins: NonNegative | None = None
    limit_usd: NonNegative | None = None
    stress: Literal["none", "up", "down", "both"] = "none"

    def at(self, level: Literal["im", "mm"]) -> Schedule | None:
        """Return the schedule of a level, or None where the flat `haircut` serves."""
        return (self.im if level == "im" else self.mm) or self.schedule

    @property
    def unscaled(self) -> bool:
        """Whether a pool scale is left out because the venue's total is not supplied."""
        parts = (self.schedule, self.im, self.mm, self.liability_im, self.liability_mm)
        return any(
            isinstance(part, PoolScaled | LiabilityWeight)
            and part.scale_start_usd is not None
            and part.total_usd is None
            and part.when_unknown == "unscaled"
            for part in parts
        )


class LocationRule(Data, frozen=True, kw_only=True):
    """How much of a balance counts that a venue or chain elsewhere holds.

    Attributes
    ----------
    haircut : float
        Bridge haircut, on top of the asset's own.
    max_proof_age_s : float, optional
        A balance whose proof is older (or has none) counts 0; without it no proof is asked for.
    """

    haircut: Fraction = 0.0
    max_proof_age_s: NonNegative | None = None


class ProfitRule(Data, frozen=True, kw_only=True):
    """What of a market's unrealised profit counts; losses count in full.

    Attributes
    ----------
    im, mm : float
        Weight at each level.
    cap_im_usd, cap_mm_usd : float, optional
        Largest profit of one market that counts, US dollars.
    after : str, optional
        Component whose requirement is taken from the profit first: only what is left is
        weighed.
    """

    im: Fraction = 1.0
    mm: Fraction = 1.0
    cap_im_usd: NonNegative | None = None
    cap_mm_usd: NonNegative | None = None
    after: str | None = None


class JointCap(Data, frozen=True, kw_only=True):
    """Most that all coins together count for, besides some that are not limited."""

    usd: NonNegative
    besides: list[str] = []


class Collateral(Data, frozen=True, kw_only=True):
    """What balances are worth as margin.

    Attributes
    ----------
    source, confidence
        As for components.
    haircut_levels : list of {"im", "mm"}
        Levels that a flat `haircut` touches.
    per : {"balance", "coin"}
        What a schedule is applied to. ``balance``: positive balances and spot of a coin in a pot
        share one schedule, debts of the coin count in full beside them. ``coin``: the coin's net
        equity in the pot: balances and debts, spot, unrealised profit and option value paid in
        it; a positive net takes the schedule, a negative one the liability weight.
    stress_idle : bool
        Whether a pot without positions, orders or debt is stressed too.
    assets : dict of str to AssetRule
        By asset; ``default`` serves the rest, and without it an asset not named is refused when
        it is worth something in the pot.
    locations : dict of str to LocationRule
        By the location of a balance; ``default`` serves the rest. Empty: locations are ignored.
        Otherwise a balance at a location that is not named is refused.
    option_value : {"all", "short", "none"}
        Which options' market value enters equity.
    profit : dict of str to ProfitRule
        By underlying, or ``default``; markets that are not named count in full.
    joint_cap : JointCap, optional
        Cap on the counted value of coins together.
    stable_usd : dict of str to float
        Slow prices that the initial level compares the market with: coins held count at the
        smaller, debts at the larger of the two.
    modes : dict of str to dict of str to AssetRule
        Rules that replace `assets` while an account is in a mode (e-mode of a lending market).
    mode : str, optional
        The mode in force.
    """

    source: str
    confidence: Confidence
    note: str = ""
    haircut_levels: tuple[Literal["im", "mm"], ...] = ("im",)
    per: Literal["balance", "coin"] = "balance"
    stress_idle: bool = False
    assets: dict[str, AssetRule] = {}
    locations: dict[str, LocationRule] = {}
    option_value: Literal["all", "short", "none"] = "all"
    profit: dict[str, ProfitRule] = {}
    joint_cap: JointCap | None = None
    stable_usd: dict[str, Annotated[float, Meta(gt=0)]] = {}
    modes: dict[str, dict[str, AssetRule]] = {}
    mode: str | None = None

    def __post_init__(self) -> None:
        """Refuse a mode that is not described."""
        if self.mode is not None and self.mode not in self.modes:
            raise ValueError(f"the mode {self.mode!r} is not among the modes described")
