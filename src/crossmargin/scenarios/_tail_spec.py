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

    It stands beside the days of the stressed period and counts as one of them.
    """

    name: str
    moves: dict[str, Annotated[float, Meta(gt=-1, le=10)]]
    vols: dict[str, Annotated[float, Meta(gt=-1, le=10)]] = {}


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
