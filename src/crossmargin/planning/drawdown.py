"""Falls from the peak, measured on unitised value.

A deposit is no gain and a withdrawal no loss: equity is first turned into the value of one unit
(time-weighted, as a fund's share), and falls are measured on that. Fractions are decimals; a fall
is positive.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.errors import PlanningError
from crossmargin.planning._checks import positive, series
from crossmargin.stats import expected_shortfall

Floats = NDArray[np.float64]

#: A rung is reached where the fall is within this of it: 0.1 is not a binary fraction.
ROUNDING = 1e-12


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
