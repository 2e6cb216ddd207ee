"""Are breaches spread out in time: the duration test."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from crossmargin.validation._result import Bools, Floats, TestResult, as_hits, chi_square

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
