"""Falls from the peak: measured on unitised value, held inside a limit, simulated ahead.

A deposit is no gain and a withdrawal no loss: equity is first turned into the value of one unit
(time-weighted, as a fund's share), and falls are measured on that. Fractions are decimals; a fall
is positive.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.errors import PlanningError
from crossmargin.planning._checks import finite, positive, series
from crossmargin.stats import expected_shortfall

Floats = NDArray[np.float64]

#: A rung is reached where the fall is within this of it: 0.1 is not a binary fraction.
ROUNDING = 1e-12
#: A fan is kept at this many steps, and so many numbers are drawn at once: memory stays bounded.
_SHOWN, _CELLS = 365, 2_000_000


def unit_values(equity: ArrayLike, flows: ArrayLike | None = None) -> Floats:
    """Return the value of one unit, 1 at the start.

    ``u_t = u_{t−1} · (E_t − F_t)/E_{t−1}``: equity at t contains what was paid in (+) or out (−)
    at t. Source: requirements row A20 (100, 90, deposit 90 (180), 162: a fall of 19 %).

    Parameters
    ----------
    equity : array_like
        In order, US dollars; above 0 except the last, which may be 0 or less (the unit is then 0).
    flows : array_like, optional
        As many; the first is not used.

    Raises
    ------
    PlanningError
        ``PLN-001`` series that do not fit; ``PLN-002`` money after ruin.
    """
    e = series(equity, "equity")
    f = np.zeros_like(e) if flows is None else series(flows, "flows")
    if f.size != e.size:
        raise PlanningError(
            f"{e.size} values of equity and {f.size} flows", code="PLN-001", field="flows",
            hint="one flow for each value, 0 where nothing was paid",
        )  # fmt: skip
    if (e[:-1] <= 0).any():
        at = int(np.argmax(e[:-1] <= 0))
        raise PlanningError(
            f"equity is {e[at]:g} at place {at}, so that no return can follow it",
            code="PLN-002",
            field="equity",
            hint="end the series there: a unit that is worth nothing does not come back",
        )
    growth = np.maximum((e[1:] - f[1:]) / e[:-1], 0.0)
    if e[0] <= 0:
        return np.zeros(1)
    return np.concatenate([[1.0], np.cumprod(growth)])


def underwater(values: ArrayLike) -> Floats:
    """Return the fall from the running peak at each point, 0 at a peak."""
    v = series(values, "values")
    peak = np.maximum.accumulate(v)
    return np.divide(peak - v, peak, out=np.zeros_like(v), where=peak > 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawdown:
    """One fall.

    Attributes
    ----------
    depth : float
        Fraction of the peak.
    peak, trough : int
        Places in the series, from 0.
    recovery : int or None
        First place at or above the peak again; None where there is none yet.
    """

    depth: float
    peak: int
    trough: int
    recovery: int | None


def drawdowns(values: ArrayLike) -> list[Drawdown]:
    """Return every fall of a series, the deepest first; of equal ones the earlier."""
    v = series(values, "values")
    fall = underwater(v)
    dry = np.flatnonzero(fall <= 0.0)
    found = []
    for peak, end in pairwise([*dry.tolist(), v.size]):
        if end - peak > 1:
            trough = peak + int(np.argmax(fall[peak:end]))
            found.append(
                Drawdown(
                    depth=float(fall[trough]),
                    peak=peak,
                    trough=trough,
                    recovery=end if end < v.size else None,
                )
            )
    return sorted(found, key=lambda one: (-one.depth, one.peak))


def max_drawdown(values: ArrayLike) -> Drawdown:
    """Return the deepest fall.

    Source: requirements row A20 (100, 120, 90, 110, 80, 130: 33.33 %, from the second to the
    fifth). A series without a fall gives depth 0 at its first point.
    """
    found = drawdowns(values)
    return found[0] if found else Drawdown(depth=0.0, peak=0, trough=0, recovery=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawdownReport:
    """What a series has been through.

    Attributes
    ----------
    worst : Drawdown
        The deepest fall.
    total_return, annual_return : float
        Of the unit; annual compounded.
    calmar : float or None
        Annual return over the deepest fall; None without a fall.
    ulcer : float
        Root mean square of the fall.
    at_risk : float
        Mean of the worst 1 − level of the falls at each point (conditional drawdown at risk).
    level : float
        Of `at_risk`.
    now : float
        Fall at the last point.
    """

    worst: Drawdown
    total_return: float
    annual_return: float
    calmar: float | None
    ulcer: float
    at_risk: float
    level: float
    now: float


def drawdown_report(
    values: ArrayLike, *, periods_per_year: float = 365.0, level: float = 0.95
) -> DrawdownReport:
    """Sum a series of unit values up.

    Source: Calmar, ulcer index and conditional drawdown at risk (Chekhlov, Uryasev and Zabarankin
    2005, relative and on compounded value) as named in clearing-practice §4.2.

    Parameters
    ----------
    values : array_like
        Unit values, positive at the start.
    periods_per_year : float
        365 for days of a market that never closes.
    level : float
        Confidence of the conditional drawdown.
    """
    v = series(values, "values", 2)
    positive(periods_per_year=periods_per_year)
    if v[0] <= 0:
        raise PlanningError("the series does not start above 0", code="PLN-001", field="values")
    fall = underwater(v)
    worst = max_drawdown(v)
    growth = float(v[-1] / v[0])
    annual = growth ** (periods_per_year / (v.size - 1)) - 1.0 if growth > 0 else -1.0
    return DrawdownReport(
        worst=worst,
        total_return=growth - 1.0,
        annual_return=annual,
        calmar=annual / worst.depth if worst.depth > 0 else None,
        ulcer=math.sqrt(float((fall**2).mean())),
        at_risk=expected_shortfall(fall, level),
        level=level,
        now=float(fall[-1]),
    )


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


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawdownFan:
    """Simulated falls.

    Attributes
    ----------
    levels : tuple of float
        Of the quantiles.
    depth : float64[levels]
        Quantiles of the deepest fall over the horizon.
    steps : int64[K]
        Steps at which the fan is kept, from 0 to the last, at most 366 of them.
    fan : float64[levels, K]
        Quantiles of the fall at those steps.
    mean : float
        Of the deepest fall; `error` is its standard error.
    error : float
    at_risk : float
        Mean of the worst 5 % of the deepest falls.
    breach : dict of float to float
        Chance that the deepest fall reaches each limit asked about.
    paths, seed : int
        What was drawn.
    """

    levels: tuple[float, ...]
    depth: Floats
    steps: NDArray[np.int64]
    fan: Floats
    mean: float
    error: float
    at_risk: float
    breach: dict[float, float]
    paths: int
    seed: int


def simulate_drawdowns(
    returns: ArrayLike | None = None,
    *,
    drift: float = 0.0,
    vol: float = 0.0,
    steps: int,
    paths: int = 2_000,
    seed: int,
    block: int = 5,
    start_fall: float = 0.0,
    limits: ArrayLike = (),
    levels: tuple[float, ...] = (0.05, 0.25, 0.5, 0.75, 0.95),
) -> DrawdownFan:
    """Draw paths of the unit and measure their falls.

    With `returns` blocks of them are drawn with replacement (circular block bootstrap, which keeps
    clusters of volatility as long as a block); without, log-returns are normal.

    Parameters
    ----------
    returns : array_like, optional
        Simple returns per period, above −1.
    drift, vol : float
        Mean and standard deviation of the log-return per period, where `returns` is not given.
    steps, paths : int
        Periods ahead, and how many paths.
    seed : int
        Same seed, same bytes.
    block : int
        Periods that stay together.
    start_fall : float
        Fall from the peak at the start, 0 to 1.
    limits : array_like
        Falls whose chance is asked for.
    levels : tuple of float
        Quantiles of the fan.

    Raises
    ------
    PlanningError
        ``PLN-003`` for figures that no simulation has.
    """
    if seed < 0:
        raise PlanningError(
            f"a seed of {seed}", code="PLN-003", field="seed", hint="a whole number from 0 on"
        )
    for limit in np.asarray(limits, dtype=np.float64).ravel().tolist():
        if not 0.0 < limit <= 1.0:
            raise PlanningError(
                f"a fall of {limit:g} is none", code="PLN-003", field="limits",
                hint="0.2 is a fall of 20 %",
            )  # fmt: skip
    finite(drift=drift, vol=vol)
    if not all(0.0 <= level <= 1.0 for level in levels):
        raise PlanningError("quantiles lie between 0 and 1", code="PLN-003", field="levels")
    if steps < 1 or paths < 2 or block < 1 or not 0 <= start_fall < 1 or vol < 0:
        raise PlanningError(
            "a simulation needs a step, two paths and a fall below 1 to start from",
            code="PLN-003",
            field="steps",
        )
    rng = np.random.default_rng(seed)
    shown = np.unique(np.linspace(0, steps, min(steps, _SHOWN) + 1).round().astype(np.int64))
    deepest, falls = np.empty(paths), np.empty((paths, shown.size))
    at_once = max(1, _CELLS // steps)
    for first in range(0, paths, at_once):
        some = slice(first, min(first + at_once, paths))
        logs = _drawn(returns, drift, vol, steps, some.stop - first, rng, block)
        value = np.concatenate([np.zeros((len(logs), 1)), np.cumsum(logs, axis=1)], axis=1)
        peak = np.maximum(np.maximum.accumulate(value, axis=1), -math.log1p(-start_fall))
        fall = 0.0 - np.expm1(value - peak)
        deepest[some] = fall.max(axis=1)
        falls[some] = fall[:, shown]
    return DrawdownFan(
        levels=levels,
        depth=np.quantile(deepest, levels),
        steps=shown,
        fan=np.quantile(falls, levels, axis=0),
        mean=float(deepest.mean()),
        error=float(deepest.std(ddof=1) / math.sqrt(paths)),
        at_risk=expected_shortfall(deepest, 0.95),
        breach={
            float(x): float((deepest >= x - ROUNDING).mean())
            for x in np.asarray(limits, dtype=np.float64).ravel()
        },
        paths=paths,
        seed=seed,
    )


def _drawn(
    returns: ArrayLike | None,
    drift: float,
    vol: float,
    steps: int,
    paths: int,
    rng: np.random.Generator,
    block: int,
) -> Floats:
    if returns is None:
        return np.asarray(drift + vol * rng.standard_normal((paths, steps)))
    r = series(returns, "returns", 2)
    if (r <= -1).any():
        raise PlanningError("a return of −1 or less is ruin", code="PLN-001", field="returns")
    blocks = -(-steps // block)
    first = rng.integers(0, r.size, (paths, blocks))
    place = (first[:, :, None] + np.arange(block)) % r.size
    return np.asarray(np.log1p(r)[place.reshape(paths, -1)[:, :steps]])
