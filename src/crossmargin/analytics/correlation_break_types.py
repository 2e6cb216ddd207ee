"""What a stress of correlations answers, and what is asked of it."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from crossmargin.errors import MarginError


class BreakLine(msgspec.Struct, frozen=True, kw_only=True):
    """An account under one correlation, US dollars.

    Attributes
    ----------
    name, title : str
        ``base``, ``low``, ``high`` or ``pairs``, and what it is.
    correlation : list of list of float
        Between the coins.
    sigma_usd, es_normal_usd : float
        From deltas and a normal law.
    es_usd, es_error_usd : float
        Risk margin with the t copula, and its standard error.
    es_gauss_usd : float
        The same draws without tail dependence.
    shock_usd : float
        Loss of the worst joint move of so many standard deviations.
    shock : dict of str to float
        That move, relative, by coin.
    collateral_usd : float
        Mean loss of the collateral where the rest loses its worst.
    """

    name: str
    title: str
    correlation: list[list[float]]
    sigma_usd: float
    es_normal_usd: float
    es_usd: float
    es_error_usd: float
    es_gauss_usd: float
    shock_usd: float
    shock: dict[str, float]
    collateral_usd: float


class RhoPoint(msgspec.Struct, frozen=True, kw_only=True):
    """The margin with one correlation between all coins, US dollars.

    Attributes
    ----------
    correlation : float
        Of every pair.
    sigma_usd, es_normal_usd, es_usd, es_gauss_usd : float
        As in :class:`BreakLine`.
    im_usd : float or None
        Initial margin of a rule-set that looks back, its scenarios brought to this correlation;
        None for other rule-sets, whose margin does not know a correlation.
    """

    correlation: float
    sigma_usd: float
    es_normal_usd: float
    es_usd: float
    es_gauss_usd: float
    im_usd: float | None = None


class WrongWay(msgspec.Struct, frozen=True, kw_only=True):
    """One asset held as collateral, US dollars.

    Attributes
    ----------
    asset : str
        What is held.
    value_usd : float
        At market.
    alone_usd : float
        Expected shortfall of what is held alone, in the same draws as `worst_usd`.
    base_usd, worst_usd : float
        Mean loss where positions and debts lose their worst: base correlation, and the stress
        chosen.
    share : float or None
        `worst_usd` over `alone_usd`; None where the asset does not move.
    """

    asset: str
    value_usd: float
    alone_usd: float
    base_usd: float
    worst_usd: float
    share: float | None


class CorrelationBreak(msgspec.Struct, frozen=True, kw_only=True):
    """What an account's margin owes to the correlation that is believed.

    Attributes
    ----------
    account, ruleset : str
        Whose, by which rules.
    coins : list of str
        In the order of the matrices.
    sigma, delta_usd : dict of str to float
        Standard deviation over the horizon; change of equity at market for each coin moving by its
        own size.
    tail_dependence : list of list of float
        λ of each pair at the base correlation.
    degrees : float or None
        ν of the copula; None for a Gaussian one.
    degrees_low, degrees_high : float or None
        95 % likelihood interval of a fitted ν.
    gaussian_refused : bool or None
        Whether the sample refuses a Gaussian copula at 5 %; None without a fit.
    lines : list of BreakLine
        Base first.
    worst : str
        Name of the line with the largest risk margin.
    curve : list of RhoPoint
        Rising correlation; empty with fewer than two coins.
    collateral : list of WrongWay
        The largest share first.
    equity_usd, im_usd : float
        Equity at market and the rule-set's own initial margin.
    level, days, sigmas : float
        Confidence, horizon, and size of the joint shock.
    draws, seed : int
        Of the simulation.
    source : str
        Where the moves are from.
    """

    account: str
    ruleset: str
    coins: list[str]
    sigma: dict[str, float]
    delta_usd: dict[str, float]
    tail_dependence: list[list[float]]
    degrees: float | None
    degrees_low: float | None = None
    degrees_high: float | None = None
    gaussian_refused: bool | None = None
    lines: list[BreakLine]
    worst: str
    curve: list[RhoPoint]
    collateral: list[WrongWay]
    equity_usd: float
    im_usd: float
    level: float
    days: float
    sigmas: float
    draws: int
    seed: int
    source: str = ""

    def line(self, name: str) -> BreakLine:
        """Return one of the lines."""
        return next(one for one in self.lines if one.name == name)


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakSpec:
    """What is asked.

    Attributes
    ----------
    low, high : float
        Ends of the correlation.
    level, days : float
        Confidence and horizon of the risk margin.
    sigmas : float
        Size of the joint shock.
    draws, seed, points : int
        Joint moves drawn, their seed, points of the curve.
    """

    low: float = 0.3
    high: float = 1.0
    level: float = 0.99
    days: float = 1.0
    sigmas: float = 3.0
    draws: int = 10_000
    seed: int = 20260203
    points: int = 15

    def __post_init__(self) -> None:
        """Refuse what is no question."""
        for name, fine, hint in (
            ("low", -1.0 <= self.low <= 1.0, "ends between −1 and 1, low below high"),
            ("high", self.low <= self.high <= 1.0, "ends between −1 and 1, low below high"),
            ("level", 0.5 < self.level < 1.0, "a confidence such as 0.99"),
            ("days", 0.0 < self.days <= 60.0, "a horizon of at most 60 days"),
            ("sigmas", 0.0 <= self.sigmas <= 20.0, "between 0 and 20 standard deviations"),
            (
                "draws",
                self.draws * (1.0 - self.level) >= 10.0 and self.draws <= 1_000_000,
                "at least ten draws in the tail, at most a million",
            ),
            ("points", 2 <= self.points <= 101, "between 2 and 101"),
            ("seed", 0 <= self.seed < 1 << 63, "a whole number of at least 0"),
        ):
            if not fine:
                raise MarginError(
                    f"{name} is {getattr(self, name):g}", code="MRG-025", field=name, hint=hint
                )
