"""Options of the form ``name=number``."""

from __future__ import annotations

import math

from crossmargin.errors import InputError


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
