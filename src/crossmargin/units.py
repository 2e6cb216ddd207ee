"""Time and rounding: the one place where nanoseconds, years and directions of rounding live."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

from crossmargin.errors import InputError

NS_PER_SECOND = 1_000_000_000
NS_PER_DAY = 86_400 * NS_PER_SECOND
SECONDS_PER_YEAR = 365 * 86_400
NS_PER_YEAR = SECONDS_PER_YEAR * NS_PER_SECOND

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_time(text: str, *, field: str = "time") -> int:
    """Read an ISO-8601 time as nanoseconds since 1970-01-01 UTC.

    Parameters
    ----------
    text : str
        For example ``2026-02-03T04:29:35.034Z``. A date alone means midnight UTC; an explicit
        offset is honoured; a time without offset is refused, because guessing a zone moves
        option expiries.
    field : str
        Name used in the error.

    Returns
    -------
    int
        Nanoseconds since the epoch, UTC.

    Raises
    ------
    InputError
        ``INP-010`` when the text is not a time or carries no zone.
    """
    raw = text.strip()
    try:
        value = datetime.fromisoformat(raw)
    except ValueError:
        raise InputError(
            f"{text!r} is not an ISO-8601 time",
            code="INP-010",
            field=field,
            hint="write it like 2026-02-03T04:29:35Z",
        ) from None
    if value.tzinfo is None:
        if len(raw) == 10:
            value = value.replace(tzinfo=UTC)
        else:
            raise InputError(
                f"{text!r} has no time zone",
                code="INP-010",
                field=field,
                hint="append Z for UTC",
            )
    delta = value - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * NS_PER_SECOND + delta.microseconds * 1_000


def format_time(ns: int) -> str:
    """Write nanoseconds since the epoch as ISO-8601 UTC, to the microsecond, ending in Z."""
    value = _EPOCH + timedelta(microseconds=ns // 1_000)
    text = value.strftime("%Y-%m-%dT%H:%M:%S.%f").rstrip("0").rstrip(".")
    return text + "Z"


def year_fraction(from_ns: int, to_ns: int) -> float:
    """ACT/365 by seconds: the years from `from_ns` to `to_ns`, negative when `to_ns` is past."""
    return (to_ns - from_ns) / NS_PER_YEAR


def round_up(value: float, decimals: int) -> float:
    """Round toward plus infinity: the direction for requirements.

    A value within one part in 1e12 of a step is taken to be on it, so that 0.1 + 0.2 does not
    cost a trader an extra unit.
    """
    return -round_down(-value, decimals)


def round_down(value: float, decimals: int) -> float:
    """Round toward minus infinity: the direction for equity (same tolerance as `round_up`)."""
    scaled = value * 10.0**decimals
    nearest = round(scaled)
    if abs(scaled - nearest) <= 1e-12 * max(1.0, abs(scaled)):
        return nearest / 10.0**decimals
    return math.floor(scaled) / 10.0**decimals
