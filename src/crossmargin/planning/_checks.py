"""What every plan asks of its figures."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.errors import PlanningError

Floats = NDArray[np.float64]


def series(values: ArrayLike, what: str, least: int = 1) -> Floats:
    """Return a row of at least so many finite numbers.

    Raises
    ------
    PlanningError
        ``PLN-001``.
    """
    v = np.asarray(values, dtype=np.float64)
    if v.ndim != 1 or v.size < least or not np.isfinite(v).all():
        raise PlanningError(
            f"{what} is a row of at least {least} finite numbers",
            code="PLN-001",
            field=what,
            hint="leave out what is missing, or fill it in before",
        )
    return v


def square(values: ArrayLike, what: str, size: int | None = None) -> Floats:
    """Return a finite symmetric matrix.

    Raises
    ------
    PlanningError
        ``PLN-001``.
    """
    m = np.asarray(values, dtype=np.float64)
    good = m.ndim == 2 and m.shape[0] == m.shape[1] > 0 and (size is None or m.shape[0] == size)
    if not good or not np.isfinite(m).all() or not np.allclose(m, m.T, rtol=1e-9, atol=1e-300):
        raise PlanningError(
            f"{what} is a finite symmetric matrix, one row for each name",
            code="PLN-001",
            field=what,
        )
    return m


def finite(**values: float | None) -> None:
    """Refuse what is no finite number; None passes.

    Raises
    ------
    PlanningError
        ``PLN-003``, naming the field.
    """
    for name, value in values.items():
        if value is not None and not math.isfinite(value):
            raise PlanningError(
                f"{name} is {value:g}, and must be a number", code="PLN-003", field=name
            )


def positive(**values: float | None) -> None:
    """Refuse what is not a finite number above 0; None passes.

    Raises
    ------
    PlanningError
        ``PLN-003``, naming the field.
    """
    for name, value in values.items():
        if value is not None and not (math.isfinite(value) and value > 0):
            raise PlanningError(
                f"{name} is {value:g}, and must be above 0", code="PLN-003", field=name
            )


def within(low: float, high: float, **values: float | None) -> None:
    """Refuse what is not between two ends, both allowed; None passes.

    Raises
    ------
    PlanningError
        ``PLN-003``, naming the field.
    """
    for name, value in values.items():
        if value is not None and not (math.isfinite(value) and low <= value <= high):
            raise PlanningError(
                f"{name} is {value:g}, and must be between {low:g} and {high:g}",
                code="PLN-003",
                field=name,
            )
