"""What a statistical test says."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.errors import InputError

Floats: TypeAlias = NDArray[np.float64]
Bools: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class TestResult:
    """Statistic and p-value of one test.

    Attributes
    ----------
    name : str
        Of the test.
    statistic : float
        NaN where the test is not defined on this sample.
    p_value : float
        Probability of a statistic at least as bad when the model is right; NaN where undefined.
    dof : int
        Degrees of freedom of the χ² law; 0 where the law is another.
    note : str
        Convention or reason; may be empty.
    """

    __test__ = False  # pytest takes the name for a class of tests

    name: str
    statistic: float
    p_value: float
    dof: int = 0
    note: str = ""

    def rejects(self, size: float = 0.05) -> bool:
        """Say whether the model is rejected at this size; False where the test is undefined."""
        return math.isfinite(self.p_value) and self.p_value < size


def chi_square(name: str, statistic: float, dof: int, note: str = "") -> TestResult:
    """Return a likelihood-ratio test with its asymptotic χ² p-value."""
    from scipy.special import chdtrc

    if not math.isfinite(statistic):
        return TestResult(name=name, statistic=math.nan, p_value=math.nan, dof=dof, note=note)
    # A ratio of likelihoods is at least 1; rounding may say a little less.
    at_least_0 = max(statistic, 0.0) + 0.0
    return TestResult(
        name=name,
        statistic=at_least_0,
        p_value=float(chdtrc(dof, at_least_0)),
        dof=dof,
        note=note,
    )


def check_level(level: float) -> float:
    """Return the probability of a breach, 1 − level.

    Raises
    ------
    InputError
        ``INP-004`` when the level is not strictly between 0 and 1.
    """
    if not 0.0 < level < 1.0:
        raise InputError(
            f"a confidence level of {level:g}",
            code="INP-004",
            field="level",
            hint="give a number between 0 and 1, for example 0.99",
        )
    return 1.0 - level


def check_count(hits: int, days: int) -> None:
    """Refuse a number of breaches that cannot have happened."""
    if days < 1 or not 0 <= hits <= days:
        raise InputError(
            f"{hits} breaches in {days} observations",
            code="INP-004",
            field="breaches",
            hint="give at least one observation and at most as many breaches",
        )


def as_hits(hits: ArrayLike) -> Bools:
    """Return a row of breaches as booleans, refusing what is neither 0 nor 1."""
    row = np.asarray(hits)
    if row.ndim != 1 or not row.size:
        raise InputError("breaches are a row of at least one observation", code="INP-004")
    if row.dtype != np.bool_ and not bool(np.isin(row, (0, 1)).all()):
        raise InputError("a breach is 0 or 1", code="INP-004", field="breaches")
    return row.astype(np.bool_)


def as_series(values: ArrayLike, field: str, size: int | None = None) -> Floats:
    """Return finite numbers in a row, of a given length where one is given."""
    row = np.asarray(values, dtype=np.float64)
    if size is not None and row.ndim == 0:
        row = np.full(size, float(row))
    if row.ndim != 1 or not row.size or not bool(np.isfinite(row).all()):
        raise InputError("a series of finite numbers is needed", code="INP-004", field=field)
    if size is not None and row.size != size:
        raise InputError(
            f"{field} has {row.size} observations, the losses {size}", code="INP-004", field=field
        )
    return row
