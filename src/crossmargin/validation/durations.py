"""Are breaches spread out in time: durations, and the waits from breach to breach."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from crossmargin.validation._result import (
    Bools,
    Floats,
    TestResult,
    as_hits,
    check_level,
    chi_square,
)
from crossmargin.validation.coverage import kupiec

#: Shapes looked at: b far below 1 means tight clusters, far above 1 a metronome.
_LOWEST, _HIGHEST = 0.001, 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DurationTest:
    """Weibull shape of the days between breaches, and the test of b = 1.

    Attributes
    ----------
    shape : float
        b; below 1 breaches cluster. NaN where undefined.
    test : TestResult
        Likelihood ratio against b = 1, χ²(1).
    """

    shape: float
    test: TestResult


def durations(hits: ArrayLike) -> tuple[Floats, Bools]:
    """Return the days between breaches, and which of them are censored.

    The first is censored unless the first observation breached, the last unless the last did.
    """
    row = as_hits(hits)
    at = np.flatnonzero(row) + 1
    if not at.size:
        return np.zeros(0), np.zeros(0, dtype=np.bool_)
    days = np.diff(at).astype(np.float64)
    censored = np.zeros(days.size, dtype=np.bool_)
    if not row[0]:
        days = np.concatenate([[float(at[0])], days])
        censored = np.concatenate([[True], censored])
    if not row[-1]:
        days = np.concatenate([days, [float(row.size - at[-1])]])
        censored = np.concatenate([censored, [True]])
    return days, censored


def _log_likelihood(b: float, days: Floats, censored: Bools) -> float:
    """Log-likelihood of Weibull durations, the scale at its best for this shape."""
    events = int((~censored).sum())
    a = (events / float(np.sum(days**b))) ** (1.0 / b)
    whole = days[~censored]
    density = events * (b * math.log(a) + math.log(b)) + (b - 1.0) * float(np.log(whole).sum())
    return density - float(np.sum((a * days) ** b))


def duration_test(hits: ArrayLike) -> DurationTest:
    """Test whether the time between breaches has no memory: Weibull shape b = 1.

    ``LR = 2[ln L(b̂) − ln L(1)]``, χ²(1), with the scale at its best for each shape and the ends
    censored. Source: Christoffersen and Pelletier (2004), clearing-practice §2 (published;
    checked against vartests).

    Returns
    -------
    DurationTest
        Undefined (NaN) with fewer than two durations or none that is whole.
    """
    from scipy.optimize import minimize_scalar

    days, censored = durations(hits)
    if days.size < 2 or bool(censored.all()):
        blank = chi_square("duration (Weibull)", math.nan, 1, "fewer than two durations")
        return DurationTest(shape=math.nan, test=blank)

    def worse(b: float) -> float:
        return -_log_likelihood(b, days, censored)

    with np.errstate(over="ignore"):
        found = minimize_scalar(
            worse, bounds=(_LOWEST, _HIGHEST), method="bounded", options={"xatol": 1e-9}
        )
        one = -worse(1.0)
        b, best = float(found.x), -float(found.fun)
    if best < one:
        b, best = 1.0, one
    # Durations that are all alike have a likelihood without a top.
    edge = b >= 0.999 * _HIGHEST or b <= 1.001 * _LOWEST
    note = "the shape lies at the end of the range looked at" if edge else ""
    return DurationTest(shape=b, test=chi_square("duration (Weibull)", 2.0 * (best - one), 1, note))


def between_failures(hits: ArrayLike, level: float) -> TestResult:
    """Test whether every wait for a breach is as long as a right model makes it.

    ``Σ_i −2 ln[p(1−p)^{v_i−1} / ((1/v_i)(1−1/v_i)^{v_i−1})]`` over the waits v_i, the first counted
    from the start; χ²(x) for x breaches. What comes after the last breach does not count. Source:
    Haas (2001), "New methods in backtesting" (published; MathWorks' TBFI), clearing-practice §2.

    Parameters
    ----------
    hits : array_like
        1 for a breach.
    level : float
        Confidence.

    Returns
    -------
    TestResult
        Undefined (NaN) without a breach.
    """
    p = check_level(level)
    at = np.flatnonzero(as_hits(hits)) + 1
    name = "time between failures"
    if not at.size:
        return chi_square(name, math.nan, 1, "no breach")
    waits = np.diff(at, prepend=0).astype(np.float64)
    quiet = waits - 1.0
    null = math.log(p) + quiet * math.log1p(-p)
    # (v − 1)·ln(1 − 1/v) is 0 for v = 1.
    safe = np.where(quiet > 0, waits, 2.0)
    free = -np.log(waits) + quiet * np.log1p(-1.0 / safe)
    return chi_square(name, float(-2.0 * (null - free).sum()), int(at.size))


def mixed_kupiec(hits: ArrayLike, level: float) -> TestResult:
    """Test count and waits together: Kupiec's POF plus :func:`between_failures`, χ²(x + 1).

    Source: Haas (2001) (published; MathWorks' TBF), clearing-practice §2. Without a breach it is
    POF alone.
    """
    row = as_hits(hits)
    count = kupiec(int(row.sum()), row.size, level)
    waits = between_failures(row, level)
    more = waits.statistic if math.isfinite(waits.statistic) else 0.0
    return chi_square("mixed Kupiec", count.statistic + more, int(row.sum()) + 1)
