"""Exposure that a fall from the peak allows: ladders that cut and re-arm, floors that follow.

Fractions are decimals; a fall is positive. How falls are measured: crossmargin.planning.drawdown.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.errors import PlanningError
from crossmargin.planning.drawdown import ROUNDING, underwater

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """At a fall of `at` exposure is cut to `exposure` of what was meant, until `rearm`.

    Attributes
    ----------
    at : float
        Fall, 0 to 1.
    exposure : float
        Share of the meant exposure that is kept, 0 to 1.
    rearm : float
        The rung is given back only once the fall is at or below this; below `at`.
    """

    at: float
    exposure: float
    rearm: float


def check_ladder(rungs: Sequence[Rung]) -> list[Rung]:
    """Return the rungs by depth.

    Raises
    ------
    PlanningError
        ``PLN-003`` a rung that cannot be, or that keeps more than the one above it.
    """
    made = sorted(rungs, key=lambda rung: rung.at)
    before = 1.0
    for rung in made:
        if not (0 < rung.at < 1 and 0 <= rung.rearm < rung.at and 0 <= rung.exposure <= before):
            raise PlanningError(
                f"a rung at {rung.at:g} that keeps {rung.exposure:g} and re-arms at {rung.rearm:g}",
                code="PLN-003",
                field="ladder",
                hint="0 ≤ rearm < at < 1, and deeper rungs keep less",
            )
        before = rung.exposure
    if not made:
        raise PlanningError("a ladder without rungs", code="PLN-003", field="ladder")
    return made


def ladder_exposure(values: ArrayLike, rungs: Sequence[Rung]) -> Floats:
    """Return the share of exposure that a ladder allows after each mark.

    It cuts on the first mark at or past a rung and gives back only at or below its reset level:
    between the two nothing changes (hysteresis). The peak is the running peak of `values`, which
    the caller computes at the exposure really held. Source: requirements row A20.
    """
    fall, ladder = underwater(values), check_ladder(rungs)
    down = [False] * len(ladder)
    out = np.empty(fall.size)
    for t, depth in enumerate(fall.tolist()):
        for k, rung in enumerate(ladder):
            if depth >= rung.at - ROUNDING:
                down[k] = True
            elif depth <= rung.rearm + ROUNDING:
                down[k] = False
        out[t] = min((rung.exposure for k, rung in enumerate(ladder) if down[k]), default=1.0)
    return out


@dataclass(frozen=True, slots=True, kw_only=True)
class FloorExposure:
    """What a floor allows to be held.

    Attributes
    ----------
    floor : float
        US dollars.
    cushion : float
        Equity above it, at least 0.
    exposure : float
        Notional, US dollars.
    bound_by : str
        ``cushion``, ``gap``, ``margin`` or ``cap``: what is binding.
    gap : float
        Fall of the price in one step that would reach the floor; inf without exposure.
    """

    floor: float
    cushion: float
    exposure: float
    bound_by: str
    gap: float


def floor_exposure(
    equity: float,
    peak: float,
    *,
    keep: float,
    multiple: float,
    worst_gap: float | None = None,
    margin_rate: float | None = None,
    used: float = 1.0,
    cap: float | None = None,
) -> FloorExposure:
    """Return the exposure of a floor that follows the peak.

    ``exposure = m · (E − keep·peak)``, at most what survives a gap (a fall of g takes m·g of the
    cushion: m ≤ 1/g), what initial margin allows (``used·E/margin_rate``), and `cap`. Sources:
    CPPI and its gap at −1/m (Black and Perold 1992), a floor at a share of the peak (Grossman and
    Zhou 1993), both as given in clearing-practice §4.2.

    Parameters
    ----------
    equity, peak : float
        Now, and its running peak (unitised), US dollars.
    keep : float
        Share of the peak that must be kept, 0 to 1.
    multiple : float
        m, above 0. See :func:`growth_multiple` for the one that maximises growth.
    worst_gap : float, optional
        Fall in one step that must not breach the floor, 0 to 1.
    margin_rate : float, optional
        Initial margin of a dollar of notional.
    used : float
        Share of equity that may be used as initial margin.
    cap : float, optional
        Largest notional.
    """
    for name, value, good in (
        ("equity", equity, math.isfinite(equity)),
        ("peak", peak, math.isfinite(peak) and peak > 0),
        ("keep", keep, 0 <= keep < 1),
        ("multiple", multiple, math.isfinite(multiple) and multiple > 0),
        ("worst_gap", worst_gap, worst_gap is None or 0 < worst_gap <= 1),
        ("margin_rate", margin_rate, margin_rate is None or margin_rate > 0),
        ("used", used, 0 < used <= 1),
        ("cap", cap, cap is None or cap >= 0),
    ):
        if not good:
            raise PlanningError(f"{name} cannot be {value!r}", code="PLN-003", field=name)
    floor = keep * max(peak, equity)
    cushion = max(equity - floor, 0.0)
    allowed = {"cushion": multiple * cushion}
    if worst_gap is not None:
        allowed["gap"] = cushion / worst_gap
    if margin_rate is not None:
        allowed["margin"] = max(used * equity, 0.0) / margin_rate
    if cap is not None:
        allowed["cap"] = cap
    bound_by = min(allowed, key=lambda name: allowed[name])
    exposure = allowed[bound_by]
    return FloorExposure(
        floor=floor,
        cushion=cushion,
        exposure=exposure,
        bound_by=bound_by,
        gap=cushion / exposure if exposure > 0 else math.inf,
    )


def growth_multiple(drift: float, vol: float, keep: float, *, aversion: float = 1.0) -> float:
    """Return m of the policy that is optimal under a floor at a share of the peak.

    ``m = (μ−r)/(σ²(α + A(1−α)))`` with α = keep, A relative risk aversion: for A = 1 the growth
    optimum m = (μ−r)/σ² whatever the floor. Source: Grossman and Zhou (1993), Cvitanić and
    Karatzas (1995), as given in clearing-practice §4.2.

    Parameters
    ----------
    drift : float
        Excess return a year, decimal, above 0 for any exposure.
    vol : float
        Annual.
    keep : float
        Share of the peak kept.
    aversion : float
        A, above 0.
    """
    if not (vol > 0 and 0 <= keep < 1 and aversion > 0 and math.isfinite(drift)):
        raise PlanningError(
            "vol and aversion are above 0, keep is 0 to 1", code="PLN-003", field="vol"
        )
    return max(drift, 0.0) / (vol * vol * (keep + aversion * (1.0 - keep)))
