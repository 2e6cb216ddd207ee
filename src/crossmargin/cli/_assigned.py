"""Options of the form ``name=number``."""

from __future__ import annotations

from crossmargin.errors import InputError


def assignments(texts: list[str] | None, option: str, example: str) -> dict[str, float]:
    """Read ``name=number`` options; a name once more replaces the one before.

    Raises
    ------
    InputError
        ``INP-013`` for a text that is none, with an example of one that is.
    """
    found = {}
    for text in texts or []:
        name, sign, value = text.rpartition("=")
        try:
            found[name.strip()] = float(value)
        except ValueError:
            sign = ""
        if not sign or not name.strip():
            raise unreadable(text, option, example)
    return found


def unreadable(text: str, option: str, example: str) -> InputError:
    """Return the error for an option that cannot be read."""
    return InputError(
        f"{text!r} cannot be read", code="INP-013", field=option, hint=f"write {example}"
    )
