"""Confidences, kept exact: decimals from 0 to 1 in units of 1e-18."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from crossmargin.errors import MarketDataError
from crossmargin.market.snapshot import CONFIDENCE_ONE


def exact_confidence(figure: float | str, field: str = "confidence") -> int:
    """Return a confidence in 1e-18 units, every digit kept.

    Raises
    ------
    MarketDataError
        ``MKT-009`` for what is not a decimal from 0 to 1.
    """
    try:
        value = Decimal(str(figure))
        units = value * CONFIDENCE_ONE
        if isinstance(figure, float):
            units = units.to_integral_value()
        if not 0 <= value <= 1 or units != int(units):
            raise InvalidOperation
    except (InvalidOperation, ValueError, OverflowError):
        raise MarketDataError(
            f"a confidence of {figure!r} is not a decimal from 0 to 1 with at most 18 digits",
            code="MKT-009",
            field=field,
        ) from None
    return int(units)


def confidence_figure(confidence: int) -> float | str:
    """Write a confidence: a number where that says everything, else a decimal."""
    number = confidence / CONFIDENCE_ONE
    if exact_confidence(round(number, 15)) == confidence:
        return round(number, 15)
    return f"0.{confidence:018d}"
