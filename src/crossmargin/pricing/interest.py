"""Interest on a debt: simple, or compounded at whole periods."""

from __future__ import annotations

from crossmargin.errors import PricingError


def accrued_interest(
    debt: float, rate: float, years: float, *, periods_per_year: float | None = None
) -> float:
    """Return the interest that a debt accrues over some time at a constant rate.

    Parameters
    ----------
    debt : float
        What is owed at the start, at least 0; the unit of the result.
    rate : float
        Per year, as a decimal; may be negative.
    years : float
        ACT/365, at least 0.
    periods_per_year : float, optional
        Compounds so many times a year (8,760 is hourly); default simple interest.

    Raises
    ------
    PricingError
        ``PRC-001`` for a negative debt or time, or periods that are not positive.

    Notes
    -----
    ``debt·rate·years``, or ``debt·((1 + rate/n)^(n·years) − 1)``. Source: requirements row A26.

    Examples
    --------
    >>> round(accrued_interest(20_000, 0.10, 1 / 365), 6)
    5.479452
    """
    bad = debt < 0 or years < 0 or (periods_per_year is not None and not periods_per_year > 0)
    if bad or not all(x == x and abs(x) != float("inf") for x in (debt, rate, years)):
        raise PricingError(
            f"interest on {debt!r} at {rate!r} over {years!r} years has no meaning",
            code="PRC-001",
            field="debt",
        )
    if periods_per_year is None:
        return debt * rate * years
    return float(debt * ((1.0 + rate / periods_per_year) ** (periods_per_year * years) - 1.0))
