"""What a liquidation frontier says."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontierPoint:
    """A breach, held between two evaluated markets.

    Attributes
    ----------
    ratios : tuple of float
        Multiple of each factor at the last market that was evaluated as safe.
    sigma : float or None
        Distance from today in standard deviations; None without them.
    pot : str
        The pot that breaches.
    safe_usd, dead_usd : float
        Its equity − line on either side, US dollars.
    """

    ratios: tuple[float, ...]
    sigma: float | None
    pot: str
    safe_usd: float
    dead_usd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ray:
    """One direction.

    Attributes
    ----------
    direction : tuple of float
        Moves of the factors' logarithms in proportion; the largest is 1 or −1.
    point : FrontierPoint or None
        First breach; None when there is none within the range.
    end : tuple of float
        Ratios where the walk ended without a breach, or those of the breach.
    unknown : bool
        Whether the walk ended because the rule-set has no figure farther out.
    """

    direction: tuple[float, ...]
    point: FrontierPoint | None
    end: tuple[float, ...]
    unknown: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One factor alone.

    Attributes
    ----------
    factor : str
        Its name.
    today_usd : float or None
        Price of the coin; None for volatilities and for all coins together.
    sigma : float or None
        Standard deviation of its logarithm, as given.
    down, up : Ray
        Nearest breach on either side.
    """

    factor: str
    today_usd: float | None
    sigma: float | None
    down: Ray
    up: Ray


@dataclass(frozen=True, slots=True, kw_only=True)
class Runway:
    """How long equity lasts when nothing moves but funding.

    Attributes
    ----------
    usd_per_hour : float
        Received (+) or paid (−) by the whole account at today's rates.
    hours : float or None
        Until the first pot that pays breaches; None when none pays. 0 when breached already.
    pot : str or None
        That pot.
    without_rate : tuple of str
        Perpetuals whose rate is not known: left out.
    """

    usd_per_hour: float
    hours: float | None
    pot: str | None
    without_rate: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Frontier:
    """Where an account is liquidated, in several factors at once.

    Attributes
    ----------
    factors : tuple of str
        What moves; the order of every tuple of ratios.
    low, high : tuple of float
        Range looked at, as multiples of today.
    breached_now : tuple of str
        Pots that are below their line today: nothing is searched for them.
    excess_now_usd : float
        Least equity − line over the pots today.
    axes : tuple of Axis
        Each factor alone.
    rays : tuple of Ray
        In the order of their angle for two factors.
    nearest : FrontierPoint or None
        Breach at the least distance in σ found; None without standard deviations or breach.
    runway : Runway
        Time from funding alone.
    grid_ratios : tuple of tuple of float
        Ratios of each factor where the map was evaluated; empty unless there are two factors.
    grid_excess_usd : tuple of tuple of (float or None)
        Least equity − line, ``[second factor][first factor]``; None where the rule-set has no
        figure.
    evaluations : int
        Revaluations of the whole account.
    """

    factors: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    breached_now: tuple[str, ...]
    excess_now_usd: float
    axes: tuple[Axis, ...]
    rays: tuple[Ray, ...]
    nearest: FrontierPoint | None
    runway: Runway
    grid_ratios: tuple[tuple[float, ...], ...]
    grid_excess_usd: tuple[tuple[float | None, ...], ...]
    evaluations: int
