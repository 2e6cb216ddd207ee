"""What a scenario of a cascade consists of: strict data, as its file has it."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from crossmargin.codec import Certainty
from crossmargin.figures import Data, Origin

Share = Annotated[float, Meta(ge=0, le=1)]
Above = Annotated[float, Meta(gt=0)]
Least = Annotated[float, Meta(ge=0)]
Count = Annotated[int, Meta(ge=1)]


class Clock(Data, frozen=True, kw_only=True):
    """When it begins, how long a step is, how many there are."""

    start: str
    step_s: Above
    steps: Annotated[int, Meta(ge=1, le=1_000_000)]


class Coin(Data, frozen=True, kw_only=True):
    """An asset that may be collateral.

    Attributes
    ----------
    script : list of (float, float)
        Seconds from the start and price relative to the start, straight in the logarithm between.
    volatility_day : float
        Standard deviation of a day's log-return of the noise on top, a decimal.
    redeems : str or None
        Asset that one unit redeems for (``USD`` for dollars): where `marks.redemption` is set it
        is marked at `rate` times that, not at the venue's own book.
    rate : float
        Units of it for one unit.
    """

    name: str
    price_usd: Above
    haircut: Share = 0.0
    volatility_day: Least = 0.0
    script: list[tuple[float, float]] = msgspec.field(default_factory=list)
    redeems: str | None = None
    rate: Above = 1.0


class Asset(Coin, frozen=True, kw_only=True):
    """An asset with a contract.

    Attributes
    ----------
    interest_usd : float
        Open interest at the start, one side.
    depth_usd : float
        D: notional that would move the price by 100 % if impact were linear.
    mm_rate, im_rate : float
        Of notional; initial default twice the maintenance rate.
    """

    interest_usd: Above
    depth_usd: Above
    mm_rate: Annotated[float, Meta(gt=0, lt=1)]
    im_rate: Annotated[float, Meta(gt=0, lt=1)] | None = None


class Backing(Data, frozen=True, kw_only=True):
    """A coin that part of the accounts hold instead of cash; see :class:`Holding`."""

    asset: str
    accounts: Share
    part: Share
    side: Literal["all", "long"] = "all"


class Crowd(Data, frozen=True, kw_only=True):
    """Accounts made up from a seed: Pareto sizes, lognormal leverage, both sides.

    Attributes
    ----------
    seed : int
        Of the people; the seed of a run is another.
    short_leverage : float
        Leverage of accounts short on balance, times that of the others.
    long_share, hedged, more_positions : float
        Share of directional accounts that are long; of accounts with legs on both sides; chance
        of each further leg.
    walls : {"cross", "isolated", "groups"}
        One pot, a pot a position, or a sub-account for each of `groups`.
    groups : list of int
        Sub-account of each contract, where `walls` asks for it.
    """

    accounts: Annotated[int, Meta(ge=1, le=5_000_000)]
    seed: int = 0
    median_leverage: Above = 5.0
    leverage_sigma: Least = 0.8
    max_leverage: Above = 50.0
    tail: Above = 1.2
    least_usd: Above = 1_000.0
    most_usd: Above = 1e8
    hedged: Share = 0.2
    long_share: Share = 0.5
    more_positions: Share = 0.5
    short_leverage: Above = 1.0
    collateral: list[Backing] = msgspec.field(default_factory=list)
    walls: Literal["cross", "isolated", "groups"] = "cross"
    groups: list[int] = msgspec.field(default_factory=list)


class Noise(Data, frozen=True, kw_only=True):
    """Random returns on top of the scripts; see :class:`~crossmargin.cascade.paths.MonteCarlo`.

    Attributes
    ----------
    scale : float
        On every asset's `volatility_day`; 0 leaves the scripts alone.
    correlation : float
        Of every pair.
    dof : float or None
        Degrees of freedom of the t dependence; None for a Gaussian.
    jump_rate_day, jump_mean, jump_sd : float
        Jumps of all assets together: how many a day, and log-size.
    script_sd : float
        Standard deviation of the logarithm of a factor on the depth of all scripts together, one
        draw a run: how deep the news is, is itself not known.
    """

    scale: Least = 1.0
    correlation: Annotated[float, Meta(ge=0, lt=1)] = 0.7
    dof: Annotated[float, Meta(gt=2)] | None = None
    jump_rate_day: Least = 0.0
    jump_mean: float = 0.0
    jump_sd: Least = 0.0
    script_sd: Least = 0.0


class Depth(Data, frozen=True, kw_only=True):
    """How books thin out and refill.

    Attributes
    ----------
    factor : float
        On every asset's depth.
    withdrawal : bool
        Whether quotes leave with |z|, by the shipped table of cascades.md fact 4.
    refill_half_life_s : float or None
        Half of what is missing is back; None: never.
    gap_share : float
        What quotes that leave add to the move themselves.
    scatter : bool
        Whether withdrawal scatters about its median as the table's 90th percentile says; a new
        draw every step, so that over many steps the least of them counts.
    """

    factor: Above = 1.0
    withdrawal: bool = False
    refill_half_life_s: Above | None = None
    gap_share: Least = 0.0
    scatter: bool = False


class ImpactLaw(Data, frozen=True, kw_only=True):
    """How far a flow moves a price.

    Attributes
    ----------
    kind : {"log-linear", "linear", "power"}
        Law.
    delta, y : float
        Of the power law.
    permanent_share : float
        What of an impact stays; the rest decays.
    half_life_s : float or None
        Of the rest; None: it does not decay.
    """

    kind: Literal["log-linear", "linear", "power"] = "log-linear"
    delta: Above = 0.5
    y: Above = 1.0
    permanent_share: Share = 1.0
    half_life_s: Above | None = None


class Marks(Data, frozen=True, kw_only=True):
    """What margins are computed at; see :class:`~crossmargin.cascade.marks.MarkRule`.

    Attributes
    ----------
    kind : {"book", "index", "basis", "median"}
        The venue's own book; the index; the index with the smoothed basis; the median of these.
    sources : list of float
        One for each source of the index: how much of the book's own fall is felt there, 0 to 1.
    redemption : bool
        Whether coins that redeem for something are marked at what they redeem for.
    """

    kind: Literal["book", "index", "basis", "median"] = "book"
    sources: Annotated[list[Share], Meta(min_length=1)] = msgspec.field(
        default_factory=lambda: [1.0]
    )
    redemption: bool = False


class FundingTerms(Data, frozen=True, kw_only=True):
    """Funding; see :class:`~crossmargin.cascade.funding.Funding`.

    Attributes
    ----------
    rule : str or None
        Id in ``market/funding_rules.toml``; None: no funding.
    cap_8h : float
        Largest rate in eight hours, either sign.
    average_s : float
        Time constant of the premium's average.
    """

    rule: str | None = None
    cap_8h: Least = 0.004
    average_s: Least = 3600.0


class Habits(Data, frozen=True, kw_only=True):
    """What people do by themselves; nothing by default, for none of it is identified.

    Attributes
    ----------
    topup_per_h, deleverage_per_h : float
        Chance an hour, as a rate, of an account below the health beside it.
    topup_below, deleverage_below : float
        Health (equity over maintenance) below which it happens.
    stop_share, stop_loss : float
        Share of accounts with a stop-loss, and the part of their equity at which it acts.
    fiat, stable : float
        Money outside over equity inside; fiat moves in banking hours only.
    """

    topup_per_h: Least = 0.0
    topup_below: Above = 1.5
    deleverage_per_h: Least = 0.0
    deleverage_below: Above = 2.0
    stop_share: Share = 0.0
    stop_loss: Annotated[float, Meta(gt=0, le=1)] = 0.5
    fiat: Least = 0.0
    stable: Least = 0.0


class Procycle(Data, frozen=True, kw_only=True):
    """Margins and haircuts that rise with volatility over that of the start.

    Attributes
    ----------
    margin, haircut : float
        Power of the ratio of volatilities; 0: fixed.
    cap : float
        Largest factor.
    """

    margin: Least = 0.0
    haircut: Least = 0.0
    cap: Annotated[float, Meta(ge=1)] = 3.0


class Venue(Data, frozen=True, kw_only=True):
    """The venue's rules.

    Attributes
    ----------
    liquidation : str
        Id of shipped liquidation rules: engine, layers, deleveraging and sharing are theirs.
    adl : str or None
        Another rule of deleveraging in the place of theirs.
    changes : dict of str to number or str
        Figures of the rules laid over those shipped: ``steps.market-orders.share = 1.0``.
    fund_share : float
        Insurance fund over open interest.
    backstop_share : float
        Backstop vault over open interest.
    breaker : str or None
        Id of a shipped circuit breaker.
    rounds : int
        Liquidation rounds within one step, at most.
    absorbed : float
        φ: share of forced flow that is filled by people who close, so that open interest falls;
        the rest opens new positions.
    deleveraging : {"direct", "haircut"}
        Against positions, or out of winners' profit.
    """

    liquidation: str = "house"
    adl: str | None = None
    changes: dict[str, float | str] = msgspec.field(default_factory=dict)
    fund_share: Share = 0.01
    backstop_share: Share = 0.0
    breaker: str | None = None
    rounds: Count = 8
    absorbed: Share = 0.5
    deleveraging: Literal["direct", "haircut"] = "direct"


class Basis(Data, frozen=True, kw_only=True):
    """Where figures come from.

    Attributes
    ----------
    figures : list of str
        Places, with ``*`` for any: ``assets.*.depth_usd``.
    source : str
        A key of `sources`.
    confidence : Certainty
        How sure.
    note : str
        What should be known.
    """

    figures: Annotated[list[str], Meta(min_length=1)]
    source: str
    confidence: Certainty
    note: str = ""


class Scenario(Data, frozen=True, kw_only=True):
    """A scenario as its file has it.

    Attributes
    ----------
    lead : str
        Asset whose price leads the pictures; default the first.
    facts : str or None
        Table of stylised facts that a run is held against.
    shocks : dict of str to float
        For the contagion matrix: by asset, the relative move that is looked at alone.
    """

    format: Literal["crossmargin-cascade/1"]
    id: str
    title: str
    note: str = ""
    lead: str | None = None
    facts: str | None = None
    sources: dict[str, Origin]
    basis: list[Basis]
    clock: Clock
    assets: Annotated[list[Asset], Meta(min_length=1)]
    coins: list[Coin] = msgspec.field(default_factory=list)
    population: Crowd
    noise: Noise = Noise()
    depth: Depth = Depth()
    impact: ImpactLaw = ImpactLaw()
    marks: Marks = Marks()
    funding: FundingTerms = FundingTerms()
    behaviour: Habits = Habits()
    procyclical: Procycle = Procycle()
    rules: Venue = Venue()
    shocks: dict[str, float] = msgspec.field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """All assets: those with a contract first."""
        return [a.name for a in (*self.assets, *self.coins)]

    @property
    def lead_row(self) -> int:
        """Which asset leads."""
        return 0 if self.lead is None else self.names.index(self.lead)
