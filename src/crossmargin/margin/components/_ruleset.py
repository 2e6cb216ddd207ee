"""The rule-set file: pools, orders, combination, credit, sources, and the union of components."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

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
from crossmargin.margin.components._feeds import (
    BalanceRate,
    CollateralConfidence,
    OracleConfidence,
    PegCharge,
    PegFactor,
)
from crossmargin.margin.components._options import BasisContingency, NakedShort, OptionBounded
from crossmargin.margin.components._portfolio import (
    Basis,
    ContractCharge,
    Depeg,
    ExpirySpread,
    Factor,
    MinimumCharge,
    ProductOffset,
    ScanPart,
    Unpublished,
)
from crossmargin.margin.components._rates import (
    OpenInterestRate,
    OptionFormula,
    PerpWeights,
    RateMargin,
    RootRate,
)
from crossmargin.margin.components._scan import Scan
from crossmargin.margin.components._size import Concentration, Impact
from crossmargin.margin.components._span import (
    CalendarSpread,
    DeliveryCharge,
    RiskCap,
    SpreadCredit,
)
from crossmargin.margin.components._states import StateBand
from crossmargin.margin.components._tail import TailLeg
from crossmargin.scenarios import ScenarioSpec, TailSpec

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
    | BasisContingency
    | NakedShort
    | OptionBounded
    | OracleConfidence
    | CollateralConfidence
    | PegFactor
    | PegCharge
    | BalanceRate
    | Concentration
    | Impact
    | ScanPart
    | Basis
    | MinimumCharge
    | Depeg
    | ContractCharge
    | ExpirySpread
    | Unpublished
    | Factor
    | ProductOffset
    | CalendarSpread
    | DeliveryCharge
    | SpreadCredit
    | RiskCap
    | TailLeg
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
    method : {"worst-fill", "at-fill", "refuse"}
        ``worst-fill``: margin after the worst combination of fills. ``at-fill``: an order
        reserves nothing; the margin is checked when it fills. ``refuse``: the venue's
        formula is not known, and an account with open orders needs the user's say.
    fee_rate : float
        Fee added to the loss of a fill, of its notional.
    levels : list of {"im", "mm"}
        Requirements that open orders touch.
    fill_losses : bool
        Whether the loss of filling away from the mark, and the fee, are charged where no scan
        carries them.
    """

    method: Literal["worst-fill", "at-fill", "refuse"]
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
    """How components add up, per group.

    Attributes
    ----------
    im, mm : str
        Expressions of the initial and the maintenance requirement.
    steps : dict of str to str
        Named intermediate results, in order.
    constants : dict of str to float
        Named figures of the expressions.
    """

    im: str
    mm: str
    steps: dict[str, str] = {}
    constants: dict[str, Annotated[float, Meta(ge=0, le=1000)]] = {}


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


class Evidence(Data, frozen=True, kw_only=True):
    """What a rule-set was checked on, so that its numbers can be trusted as far as that goes.

    Attributes
    ----------
    what : str
        What was compared.
    origin : {"contract", "venue", "paper", "recorded", "own"}
        Who made the expected figures: the venue's contracts, its documents or replies, a paper
        or textbook, recorded market data, or a slow second implementation of ours.
    cases, figures : int
        How many portfolios, and how many numbers in all.
    worst_relative_error : float
        ``|ours − theirs| / max(|theirs|, 1)`` at its worst.
    test : str
        The test that repeats it.
    """

    what: str
    origin: Literal["contract", "venue", "paper", "recorded", "own"]
    cases: Annotated[int, Meta(ge=1)]
    figures: Annotated[int, Meta(ge=1)]
    worst_relative_error: NonNegative
    test: str


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
    numeraire : str
        What a pot counts in: ``USD``, ``settlement`` (its own currency, with pots by
        settlement), or an asset in which everything of a pot is paid.
    discounting : {"none", "rate"}
        Whether options are worth their forward value discounted at the market's rate.
    tail : TailSpec or UNSET
        How the tail of a pot is measured, for ``tail`` components.
    net_margin : bool
        Whether the venue reports margin net of the account's value (a requirement may then be
        below 0).
    """

    format: Literal["crossmargin-ruleset/1"]
    id: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    venue: str
    title: str
    effective_from: Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    effective_to: Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")] | None = None
    extends: str | None = None
    numeraire: Annotated[str, Meta(pattern=r"^[A-Za-z0-9]+$")] = "USD"
    discounting: Literal["none", "rate"] = "none"
    net_margin: bool = False
    groups: dict[str, str] = {}
    sources: dict[str, Source]
    pools: Pools
    collateral: Collateral
    orders: Orders
    components: Annotated[list[Component], Meta(min_length=1)]
    combine: Combine
    offset: Offset = Offset()
    scenarios: ScenarioSpec | None = None
    tail: TailSpec | UnsetType = UNSET
    instruments: list[InstrumentClass] | None = None
    price_view: Literal["mark", "index"] = "mark"
    states: list[StateBand] = []
    limits: list[str] = []
    evidence: list[Evidence] = []
