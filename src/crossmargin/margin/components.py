"""The vocabulary of rule-sets: every kind of component as typed data.

A venue is a file over these kinds. A formula that none of them expresses becomes a new kind
with a name; no kind looks at the venue's name.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from crossmargin.scenarios import ScenarioSpec

Rate = Annotated[float, Meta(ge=0, le=10)]
NonNegative = Annotated[float, Meta(ge=0)]
Fraction = Annotated[float, Meta(ge=0, le=1)]

#: How well a figure is known. ``house`` is our own formula, ``user`` came with the call.
Confidence = Literal["published", "mirror", "secondary", "inferred", "unconfirmed", "house", "user"]


class _Data(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Strict data."""


class _Component(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind"
):
    """Fields of every component.

    Attributes
    ----------
    name : str
        Name in the combining expressions and in statements.
    source : str
        Key into the rule-set's sources.
    confidence : Confidence
        Of the formula and its figures together: the weaker of the two.
    note : str
        What is not known, in a sentence, for the statement.
    """

    name: str
    source: str
    confidence: Confidence
    note: str = ""


class CurrencyOffset(_Data, frozen=True, kw_only=True):
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


class Scan(_Component, frozen=True, kw_only=True, tag="scan"):
    """Worst loss over the scenarios, per group.

    Attributes
    ----------
    currencies : dict of str to CurrencyOffset
        By settlement asset; ``USD`` serves stablecoins, ``default`` the rest.
    tail_gains_count : bool
        Whether a gain in a tail scenario offsets other segments.
    conversion : {"base", "shocked"}
        Price at which a coin's profit is converted to the numeraire in a scenario.
    """

    currencies: dict[str, CurrencyOffset] = {}
    tail_gains_count: bool = False
    conversion: Literal["base", "shocked"] = "base"


class Tier(_Data, frozen=True, kw_only=True):
    """One bracket: from `floor` (USD notional) on, these rates."""

    floor: NonNegative
    im: Rate
    mm: Rate


class Slope(_Data, frozen=True, kw_only=True):
    """Rate that rises with size: ``im + per_coin·|coins|``, ``mm + per_coin·|coins|``."""

    im: Rate
    mm: Rate
    per_coin: NonNegative


class RateMargin(_Component, frozen=True, kw_only=True, tag="rate"):
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


class OptionFactors(_Data, frozen=True, kw_only=True):
    """Factors of the standard short-option formula, as fractions of the underlying."""

    otm_base: Fraction
    otm_floor: Fraction
    mm: Fraction


class OptionFormula(_Component, frozen=True, kw_only=True, tag="option-formula"):
    """Standard margin of single options; long options need none (the premium is paid)."""

    factors: dict[str, OptionFactors]


class RollRates(_Data, frozen=True, kw_only=True):
    """Charge per unit of delta: ``max(floor, annual × years)``."""

    floor: NonNegative
    annual: NonNegative


class Roll(_Component, frozen=True, kw_only=True, tag="roll"):
    """Basis between expiries: the sum over expiries of |net delta| times a rate."""

    currencies: dict[str, RollRates]


class DeltaThreshold(_Data, frozen=True, kw_only=True):
    """When concentrated delta starts to cost, and its bounds."""

    threshold_usd: NonNegative
    per_coin: NonNegative
    max_shock: Fraction


class DeltaConcentration(_Component, frozen=True, kw_only=True, tag="delta-concentration"):
    """Charge on net delta beyond a threshold.

    Attributes
    ----------
    growth : {"linear", None}
        Law of growth beyond the threshold. None: unknown, and an account beyond the threshold
        is refused. ``linear``: ``min(max_shock, per_coin × coins beyond)`` of the whole delta.
    """

    underlyings: dict[str, DeltaThreshold]
    growth: Literal["linear"] | None = None


class CorrelationContingency(_Component, frozen=True, kw_only=True, tag="correlation-contingency"):
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


class MinDelta(_Component, frozen=True, kw_only=True, tag="min-delta"):
    """Least charge on delta: ``(net_rate·|net| + hedged_rate·hedged) × spot``."""

    net_rate: Rate
    hedged_rate: Rate


class FundingProvision(_Component, frozen=True, kw_only=True, tag="funding-provision"):
    """Funding expected to be paid over the next hours, never negative per group."""

    hours: Annotated[float, Meta(gt=0)] = 8.0


class FeeProvision(_Component, frozen=True, kw_only=True, tag="fee-provision"):
    """Fee for closing everything: rate × |notional|.

    Attributes
    ----------
    rate : float or None
        None: not published. The component is then left out and the statement says so.
    """

    rate: Rate | None = None


class Borrow(_Component, frozen=True, kw_only=True, tag="borrow"):
    """Margin on debt: rate × borrowed value, for the pool."""

    im: Rate
    mm: Rate


Component = (
    Scan
    | RateMargin
    | OptionFormula
    | Roll
    | DeltaConcentration
    | CorrelationContingency
    | MinDelta
    | FundingProvision
    | FeeProvision
    | Borrow
)


class Pools(_Data, frozen=True, kw_only=True):
    """Which pots are margined apart.

    ``account``: one pot per declared pool. ``settlement``: one per pool and settlement asset.
    ``position``: one fenced pot per position, the rest of the wallet free.
    """

    by: Literal["account", "settlement", "position"]


class AssetRule(_Data, frozen=True, kw_only=True):
    """How a balance counts.

    Attributes
    ----------
    haircut : float
        Share cut from a positive balance.
    stress : {"none", "up", "down", "both"}
        Which side of its price move enters the scenarios as profit and loss.
    """

    haircut: Fraction = 0.0
    stress: Literal["none", "up", "down", "both"] = "none"


class Collateral(_Data, frozen=True, kw_only=True):
    """What balances are worth as margin.

    Attributes
    ----------
    source, confidence
        As for components.
    haircut_levels : list of {"im", "mm"}
        Levels that the haircut touches.
    assets : dict of str to AssetRule
        By asset; ``default`` serves the rest, and without it an asset not named is refused when
        it is worth something in the pot.
    """

    source: str
    confidence: Confidence
    note: str = ""
    haircut_levels: tuple[Literal["im", "mm"], ...] = ("im",)
    assets: dict[str, AssetRule] = {}


class Orders(_Data, frozen=True, kw_only=True):
    """Open orders.

    Attributes
    ----------
    method : {"worst-fill", "refuse"}
        ``worst-fill``: margin after the worst combination of fills. ``refuse``: the venue's
        formula is not known, and an account with open orders needs the user's say.
    fee_rate : float
        Fee added to the loss of a fill, of its notional.
    """

    method: Literal["worst-fill", "refuse"]
    source: str
    confidence: Confidence
    fee_rate: Rate = 0.0
    note: str = ""


class PairCredit(_Data, frozen=True, kw_only=True):
    """Credit between two groups that stand on opposite sides."""

    groups: Annotated[list[str], Meta(min_length=2, max_length=2)]
    value: Fraction
    max_credit_usd: NonNegative | None = None


class Offset(_Data, frozen=True, kw_only=True):
    """Credit across groups.

    ``pair-credit``: ``value × 2·min(a, b)``. ``correlation``: ``a + b − √(a² + b² − 2ρab)`` with
    ρ = value. `active` false (stress correlation) shuts all credit off.
    """

    method: Literal["none", "pair-credit", "correlation"] = "none"
    source: str = ""
    confidence: Confidence = "house"
    pairs: list[PairCredit] = []
    active: bool = True


class Combine(_Data, frozen=True, kw_only=True):
    """How components add up, per group; `steps` are named intermediate results."""

    im: str
    mm: str
    steps: dict[str, str] = {}


class Source(_Data, frozen=True, kw_only=True):
    """Where figures come from."""

    title: str
    date: str
    url: str = ""
    confidence: Confidence = "published"


class RulesetData(_Data, frozen=True, kw_only=True):
    """A rule-set file."""

    format: Literal["crossmargin-ruleset/1"]
    id: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    venue: str
    title: str
    effective_from: Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    effective_to: Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")] | None = None
    extends: str | None = None
    numeraire: Literal["USD", "settlement"] = "USD"
    groups: dict[str, str] = {}
    sources: dict[str, Source]
    pools: Pools
    collateral: Collateral
    orders: Orders
    components: Annotated[list[Component], Meta(min_length=1)]
    combine: Combine
    offset: Offset = Offset()
    scenarios: ScenarioSpec | None = None
    limits: list[str] = []
