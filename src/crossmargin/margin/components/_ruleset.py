"""The rule-set file: pools, orders, combination, credit, sources, and the union of components."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from crossmargin.margin.components._base import Confidence, Data, Fraction, NonNegative, Rate
from crossmargin.margin.components._charges import (
    Borrow,
    CorrelationContingency,
    Debt,
    DeltaConcentration,
    FeeProvision,
    FixedCharge,
    FundingProvision,
    MinDelta,
    OrderCharge,
    Roll,
)
from crossmargin.margin.components._collateral import Collateral
from crossmargin.margin.components._rates import (
    OpenInterestRate,
    OptionFormula,
    PerpWeights,
    RateMargin,
    RootRate,
)
from crossmargin.margin.components._scan import Scan
from crossmargin.margin.components._states import StateBand
from crossmargin.scenarios import ScenarioSpec

Component = (
    Scan
    | RateMargin
    | RootRate
    | OpenInterestRate
    | PerpWeights
    | OptionFormula
    | Roll
    | DeltaConcentration
    | CorrelationContingency
    | MinDelta
    | FundingProvision
    | FeeProvision
    | Borrow
    | Debt
    | OrderCharge
    | FixedCharge
)


class Pools(Data, frozen=True, kw_only=True):
    """Which pots are margined apart.

    ``account``: one pot per declared pool. ``settlement``: one per pool and settlement asset.
    ``position``: one fenced pot per position, the rest of the wallet free.
    """

    by: Literal["account", "settlement", "position"]


class Orders(Data, frozen=True, kw_only=True):
    """Open orders.

    Attributes
    ----------
    method : {"worst-fill", "refuse"}
        ``worst-fill``: margin after the worst combination of fills. ``refuse``: the venue's
        formula is not known, and an account with open orders needs the user's say.
    fee_rate : float
        Fee added to the loss of a fill, of its notional.
    levels : list of {"im", "mm"}
        Requirements that open orders touch.
    fill_losses : bool
        Whether the loss of filling away from the mark, and the fee, are charged where no scan
        carries them.
    """

    method: Literal["worst-fill", "refuse"]
    source: str
    confidence: Confidence
    fee_rate: Rate = 0.0
    levels: tuple[Literal["im", "mm"], ...] = ("im",)
    fill_losses: bool = True
    note: str = ""


class PairCredit(Data, frozen=True, kw_only=True):
    """Credit between two groups that stand on opposite sides."""

    groups: Annotated[list[str], Meta(min_length=2, max_length=2)]
    value: Fraction
    max_credit_usd: NonNegative | None = None


class Offset(Data, frozen=True, kw_only=True):
    """Credit across groups.

    ``pair-credit``: ``value × 2·min(a, b)``. ``correlation``: ``a + b − √(a² + b² − 2ρab)`` with
    ρ = value. `active` false (stress correlation) shuts all credit off.
    """

    method: Literal["none", "pair-credit", "correlation"] = "none"
    source: str = ""
    confidence: Confidence = "house"
    pairs: list[PairCredit] = []
    active: bool = True


class Combine(Data, frozen=True, kw_only=True):
    """How components add up, per group; `steps` are named intermediate results."""

    im: str
    mm: str
    steps: dict[str, str] = {}


class Source(Data, frozen=True, kw_only=True):
    """Where figures come from."""

    title: str
    date: str
    url: str = ""
    confidence: Confidence = "published"


#: What a venue trades; linear contracts without a prefix.
InstrumentClass = Literal[
    "spot",
    "perpetual",
    "inverse-perpetual",
    "future",
    "inverse-future",
    "option",
    "inverse-option",
]


class RulesetData(Data, frozen=True, kw_only=True):
    """A rule-set file.

    Attributes
    ----------
    instruments : list of str or None
        What the venue trades: anything else is refused by name instead of needing nothing.
        None: whatever the components take.
    price_view : {"mark", "index"}
        Price at which perpetuals are valued; ``index`` where a venue values at its oracle.
    states : list of StateBand
        The venue's own states, the worst first.
    """

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
    instruments: list[InstrumentClass] | None = None
    price_view: Literal["mark", "index"] = "mark"
    states: list[StateBand] = []
    limits: list[str] = []
