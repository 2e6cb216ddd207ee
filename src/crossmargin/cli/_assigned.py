"""Options that are numbers, and those of the form ``name=number``."""

from __future__ import annotations

import math
from typing import TypeVar

from crossmargin.errors import InputError

Count = TypeVar("Count", int, int | None)


def assignments(texts: list[str] | None, option: str, example: str) -> dict[str, float]:
    """Read ``name=number`` options.

    Raises
    ------
    InputError
        ``INP-013`` for a text that is none, with an example of one that is, and for a name that
        is given twice: one of the two figures would be passed over in silence.
    """
    found: dict[str, float] = {}
    for text in texts or []:
        name, sign, value = text.rpartition("=")
        name = name.strip()
        try:
            figure = float(value)
        except ValueError:
            figure = math.nan
        if not sign or not name or not math.isfinite(figure):
            raise unreadable(text, option, example)
        if name in found:
            raise InputError(
                f"{name!r} is given twice", code="INP-013", field=option, hint="give it once"
            )
        found[name] = figure
    return found


def unreadable(text: str, option: str, example: str) -> InputError:
    """Return the error for an option that cannot be read."""
    return InputError(
        f"{text!r} cannot be read", code="INP-013", field=option, hint=f"write {example}"
    )


def above_zero(value: float | None, option: str) -> float | None:
    """Return a finite number above 0, or None.

    Raises
    ------
    InputError
        ``INP-013`` for any other.
    """
    if value is not None and not (math.isfinite(value) and value > 0):
        raise InputError(
            f"{option} is {value:g}", code="INP-013", field=option, hint="a number above 0"
        )
    return value


def one_or_more(value: Count, option: str) -> Count:
    """Return a count of at least 1, or None where that is allowed.

    Raises
    ------
    InputError
        ``INP-013`` for any other.
    """
    if value is not None and value < 1:
        raise InputError(f"{option} is {value}", code="INP-013", field=option, hint="at least 1")
    return value
