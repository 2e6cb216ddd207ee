"""The section ``tail`` of a rule-set: how scenarios are made of past returns, and what counts.

This room validates its own section; the numbers come from the rule-set file.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from crossmargin.stats import Rescaling

Positive = Annotated[float, Meta(gt=0)]
NonNegative = Annotated[float, Meta(ge=0)]
Fraction = Annotated[float, Meta(ge=0, le=1)]
Level = Annotated[float, Meta(gt=0.5, lt=1)]
#: Below a half the volatility of a day is hardly more than its last return.
Decay = Annotated[float, Meta(ge=0.5, lt=1)]
Count = Annotated[int, Meta(ge=1, le=100_000)]


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Refuses unknown fields."""


class VolShocks(_Section, frozen=True, kw_only=True):
    """How the volatility surface of a coin moves in a scenario in which it returns r.

    ``σ' = σ·exp(min(reach, max(−reach, level·(reference/days)^power + skew·r·d)))`` with
    ``d = ln(K/F)/(σ√T)`` between −3 and 3. `level` is the past log-change of the coin's own
    volatility, brought to today like a price, where the history has it; else
    ``down·max(−r, 0) + up·max(r, 0) + residual·ε`` with ε standard normal.

    Attributes
    ----------
    down, up : float
        Log-change of the volatility per log-return.
    residual : float
        Spread, per day, of what the return does not explain.
    skew : float
        Relative change of a volatility one deviation from the money, per log-return.
    reference_days, power, days_floor : float
        Tenor of `level`, how fast it fades with the tenor, and the shortest tenor taken.
    reach : float
        Largest log-change.
    """

    down: NonNegative
    up: NonNegative
    residual: NonNegative = 0.0
    skew: Annotated[float, Meta(ge=-10, le=10)] = 0.0
    reference_days: Positive = 30.0
    power: Annotated[float, Meta(ge=0, le=2)] = 0.0
    days_floor: Positive = 1.0
    reach: Positive = 1.5


class Jumps(_Section, frozen=True, kw_only=True):
    """Jumps that all coins take together (Merton 1976): number a day, mean and spread in log."""

    intensity: NonNegative
    mean: Annotated[float, Meta(ge=-2, le=2)]
    spread: NonNegative


class MonteCarlo(_Section, frozen=True, kw_only=True):
    """Simulated scenarios instead of past ones.

    Attributes
    ----------
    paths : int
        Scenarios.
    degrees : float or None
        Degrees of freedom of the t copula; None for a Gaussian copula.
    marginal : {"residuals", "normal"}
        Law of each coin: its own residuals (quantile by quantile), or a normal.
    simple : bool
        Whether what is drawn is the relative move itself and not a log-return (A07).
    jumps : Jumps or None
        Added to every coin.
    """

    paths: Count
    degrees: Annotated[float, Meta(gt=2)] | None = None
    marginal: Literal["residuals", "normal"] = "residuals"
    simple: bool = False
    jumps: Jumps | None = None


class Hypothetical(_Section, frozen=True, kw_only=True):
    """A scenario by judgement: relative moves by coin, relative changes of volatility.

    It stands beside the days of the stressed period and counts as one of them. `basis` moves every
    contract that loads on a basis, relative to its coin; `rate` besides by so much per year that
    it has to run.
    """

    name: str
    moves: dict[str, Annotated[float, Meta(gt=-1, le=10)]]
    vols: dict[str, Annotated[float, Meta(gt=-1, le=10)]] = {}
    basis: Annotated[float, Meta(gt=-1, le=1)] = 0.0
    rate: Annotated[float, Meta(ge=-1, le=1)] = 0.0


class BasisContracts(_Section, frozen=True, kw_only=True):
    """Contracts that share a basis on each coin.

    Attributes
    ----------
    kinds : list of str
        Kinds of instruments.
    ending : str
        Their series in a history is ``COIN-ending``.
    days : float
        Tenor of that series; 0 for contracts that never expire.
    days_to : float or None
        Contracts with no more days than this; None for all. The first that fits counts.
    """

    kinds: Annotated[list[Literal["perpetual", "future", "option"]], Meta(min_length=1)]
    ending: Annotated[str, Meta(min_length=1)]
    days: NonNegative = 0.0
    days_to: Positive | None = None


class BasisRule(_Section, frozen=True, kw_only=True):
    """How contracts move against the coin they are on.

    A contract's price is the coin's times ``exp(Δb)``. Δb is scaled like a price: residuals
    ``Δb_t/σ_t`` times today's σ, which is never below `least`. Days that a series has not seen take
    the residual of the proxy's, or one of its own by lot. A coin without a series takes the
    proxy's, times the ratio of the two coins' long volatilities; without either, `least` times a
    standard normal. Contracts after the first kind of the list that have no series of their own
    take the first one's Δb, and ``rate·ε`` for every year that they have to run.

    Attributes
    ----------
    contracts : list of BasisContracts
        Which instruments load on which series.
    least : float
        Smallest daily volatility of a basis, as a decimal.
    rate : float
        Volatility of a day of a dated contract's basis per year.
    """

    contracts: Annotated[list[BasisContracts], Meta(min_length=1)]
    least: Annotated[float, Meta(ge=0, le=0.1)]
    rate: Annotated[float, Meta(ge=0, le=0.5)] = 0.0

    def place(self, kind: str, days: float) -> int:
        """Return which of `contracts` an instrument is one of, or -1."""
        for k, one in enumerate(self.contracts):
            if kind in one.kinds and (one.days_to is None or days <= one.days_to):
                return k
        return -1


class TailSpec(_Section, frozen=True, kw_only=True):
    """How the tail of an account is measured.

    Attributes
    ----------
    level_im, level_mm : float
        Confidence of the expected shortfall for initial and maintenance margin.
    days, fewest : int
        Past returns used, and how few of a coin are enough.
    max_age_days : float
        A history that ends earlier than this before the market is refused.
    horizon_days : int
        Margin period of risk.
    multi_day : {"bootstrap", "blocks", "root"}
        Over several days: residuals drawn again through the recursion of the volatility
        (Barone-Adesi et al. 1999), sums over blocks that do not overlap, or √h.
    volatility : {"ewma", "garch", "gjr"}
        What frees returns of their volatility.
    decay, correlation_decay : float
        λ of volatility and of correlation.
    warm_up : int
        Returns that set the start of the volatility.
    filter : {"full", "half", "none"}
        ``r/σ_t·σ_now``, ``r/σ_t·(σ_now+σ_t)/2``, or the return as it was.
    rescale : {"cholesky", "symmetric", "none"}
        Bring the dependence of the sample to today's.
    correlation : float or None
        Correlation of any two coins to bring it to instead of today's: a stress of dependence
        (requirements B16).
    long_days : int
        Window of the long volatility.
    floor : float
        Share of the shortfall at long volatility below which the margin does not fall.
    stress_days, stress_weight : int, float
        Length of the stressed period, and its weight ``1 − x``.
    break_share : float
        Share of the worst increase when correlations break.
    blocks : list of list of str
        Coins that are set against all others, block by block.
    offset_cap : float
        Most of the difference between the coins' own margins and the joint one that may be saved.
    buffer : float
        Consumable buffer: added while volatility is low, used up as it rises.
    proxy : str
        Coin whose residuals stand for those of a coin that did not exist yet.
    stable : list of str
        Assets that need no history: they move in hypothetical scenarios alone.
    seed : int
        Of everything that is drawn.
    vol : VolShocks
        Moves of volatility surfaces.
    monte_carlo : MonteCarlo or None
        Simulated scenarios in place of the filtered past.
    hypothetical : list of Hypothetical
        Added to the stressed period.
    basis : BasisRule or None
        Moves of contracts against their coins; None: they move one to one.
    """

    level_im: Level
    level_mm: Level
    days: Count
    fewest: Annotated[int, Meta(ge=30)]
    max_age_days: Positive = 7.0
    horizon_days: Annotated[int, Meta(ge=1, le=60)] = 1
    multi_day: Literal["bootstrap", "blocks", "root"] = "bootstrap"
    volatility: Literal["ewma", "garch", "gjr"] = "ewma"
    decay: Decay
    correlation_decay: Decay
    warm_up: Annotated[int, Meta(ge=2)] = 30
    filter: Literal["full", "half", "none"] = "full"
    rescale: Rescaling = "cholesky"
    correlation: Annotated[float, Meta(ge=-1, le=1)] | None = None
    long_days: Count = 3650
    floor: Annotated[float, Meta(ge=0, le=10)] = 0.0
    stress_days: Annotated[int, Meta(ge=30)] = 250
    stress_weight: Fraction = 0.0
    break_share: Fraction = 0.0
    blocks: list[list[str]] = []
    offset_cap: Fraction = 1.0
    buffer: Annotated[float, Meta(ge=0, le=10)] = 0.0
    proxy: str = ""
    stable: list[str] = []
    seed: Annotated[int, Meta(ge=0)] = 0
    vol: VolShocks
    monte_carlo: MonteCarlo | None = None
    hypothetical: list[Hypothetical] = []
    basis: BasisRule | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be done together."""
        if self.fewest <= self.warm_up:
            raise ValueError("fewest must be more than warm_up")
        if self.correlation is not None and self.rescale == "none":
            raise ValueError("a correlation to be brought to needs a rescale other than none")
        if self.stress_days < self.horizon_days:
            raise ValueError("the stressed period is shorter than the horizon")

    @property
    def key(self) -> bytes:
        """Everything in it, for looking results up."""
        return msgspec.json.encode(self)
