"""Reading decoded JSON replies field by field, so that every fault becomes a sentence.

Venues write figures as strings, numbers, empty strings and nulls. A figure is read exactly as it
is written; missing is missing (None), never zero.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from crossmargin.book import ABSURD
from crossmargin.errors import InputError

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
_LONGEST = 80

#: Smaller than the smallest unit of any ledger; what lies below is a slip, not dust.
_SMALLEST = Decimal("1e-30")


def decimal_of(value: Any, field: str, instrument: str | None = None) -> Decimal | None:
    """Return a figure exactly as it is written, or None where it is missing.

    Raises
    ------
    InputError
        ``INP-004`` when it is no finite number of a sane size.
    """
    if value is None or value == "":
        return None
    text = value if isinstance(value, str) else shown(value)
    plain = isinstance(value, str | int | float) and not isinstance(value, bool)
    if plain and len(text) <= _LONGEST and _NUMBER.fullmatch(text):
        number = Decimal(text)
        if number == 0 or _SMALLEST <= abs(number) <= Decimal(ABSURD):
            return number
    raise InputError(
        f"{shown(value)} is not a number that an account can hold",
        code="INP-004",
        field=field,
        instrument=instrument,
        hint="missing is not zero: leave the field empty if it is not known",
    )


def shown(value: Any) -> str:
    """Write a value for a message, cut to a length that can be read."""
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, int) and value.bit_length() > 8 * _LONGEST:
        return "an enormous number"
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def plain(value: Decimal) -> str:
    """Write a decimal without an exponent, as the account file wants it."""
    text = format(value.normalize(), "f")
    return "0" if text in ("-0", "") else text


def wrong_shape(what: str, field: str | None = None, hint: str | None = None) -> InputError:
    """Return the error for a reply of another shape."""
    return InputError(
        what, code="INP-003", field=field, hint=hint or "pass the venue's reply as it came"
    )


class Node:
    """One JSON object of a reply, and where it stands.

    Parameters
    ----------
    data : mapping
        The decoded object.
    path : str
        Where it stands in the reply, for messages.
    instrument : str, optional
        The symbol that the object is about, once it is known.
    """

    __slots__ = ("data", "instrument", "path")

    def __init__(self, data: Any, path: str = "", instrument: str | None = None) -> None:
        if not isinstance(data, Mapping):
            raise wrong_shape(f"{path or 'the reply'} is no JSON object: {shown(data)}", path)
        self.data: Mapping[str, Any] = data
        self.path = path
        self.instrument = instrument

    def __contains__(self, name: str) -> bool:
        return name in self.data

    def at(self, name: str) -> str:
        """Return the place of a field, for messages."""
        return f"{self.path}.{name}" if self.path else name

    def text(self, name: str) -> str | None:
        """Return a text, or None where it is missing or empty.

        Raises
        ------
        InputError
            ``INP-003`` when it is something else.
        """
        value = self.data.get(name)
        if value is None or value == "":
            return None
        # Signs that cannot be printed would break the sentences and files that repeat the text.
        if not isinstance(value, str) or len(value) > 200 or not value.isprintable():
            raise self._refused(name, "is no text that can be printed", value)
        return value

    def need_text(self, name: str) -> str:
        """Return a text that must be there.

        Raises
        ------
        InputError
            ``INP-011`` when it is missing.
        """
        value = self.text(name)
        if value is None:
            raise self.missing(name)
        return value

    def label(self, name: str) -> str:
        """Return a number or text that only names something, such as an order."""
        value = self.data.get(name)
        if isinstance(value, str) and value.isprintable():
            return value[:_LONGEST]
        return shown(value)

    def choice(self, name: str, allowed: tuple[str, ...]) -> str:
        """Return a text that must be one of a few words."""
        value = self.need_text(name)
        if value not in allowed:
            raise self._refused(name, f"is none of {', '.join(allowed)}", value)
        return value

    def number(self, name: str) -> Decimal | None:
        """Return a figure, or None where it is missing."""
        return decimal_of(self.data.get(name), self.at(name), self.instrument)

    def need(self, name: str) -> Decimal:
        """Return a figure that must be there.

        Raises
        ------
        InputError
            ``INP-011`` when it is missing.
        """
        value = self.number(name)
        if value is None:
            raise self.missing(name)
        return value

    def positive(self, name: str) -> Decimal | None:
        """Return a price or leverage; None where it is missing or stated as 0.

        Venues write 0 for a liquidation or entry price that does not exist; it is no price.
        """
        value = self.number(name)
        if value is not None and value < 0:
            raise InputError(
                f"{shown(self.data.get(name))} is negative",
                code="INP-004",
                field=self.at(name),
                instrument=self.instrument,
            )
        return value or None

    def said(self, name: str) -> str | None:
        """Return a figure as the venue writes it, checked to be a number; None where missing."""
        if self.number(name) is None:
            return None
        value = self.data[name]
        return value if isinstance(value, str) else repr(value)

    def flag(self, name: str) -> bool | None:
        """Return a yes or no, which some venues write as text; None where missing."""
        value = self.data.get(name)
        if value is None or value == "":
            return None
        if isinstance(value, bool):
            return value
        if value in ("true", "false"):
            return bool(value == "true")
        raise self._refused(name, "is neither true nor false", value)

    def node(self, name: str) -> Node:
        """Return an object that must be there."""
        if self.data.get(name) is None:
            raise self.missing(name)
        return Node(self.data[name], self.at(name), self.instrument)

    def rows(self, name: str) -> list[Node]:
        """Return a list of objects; an absent one is empty."""
        value = self.data.get(name)
        return [] if value is None else list(nodes(value, self.at(name)))

    def missing(self, name: str) -> InputError:
        """Return the error for a field that is not there."""
        return InputError(
            f"the reply has no {name}",
            code="INP-011",
            field=self.at(name),
            instrument=self.instrument,
            hint="missing is not zero: pass the whole reply",
        )

    def _refused(self, name: str, why: str, value: Any) -> InputError:
        return InputError(
            f"{name} {shown(value)} {why}",
            code="INP-003",
            field=self.at(name),
            instrument=self.instrument,
            hint="pass the venue's reply as it came",
        )


def nodes(value: Any, path: str) -> Iterator[Node]:
    """Walk through a list of objects."""
    if not isinstance(value, list | tuple):
        raise wrong_shape(f"{path or 'the reply'} is no list: {shown(value)}", path)
    for index, row in enumerate(value):
        yield Node(row, f"{path}[{index}]")


def venue_error(venue: str, number: object, said: object) -> InputError:
    """Return the error for a reply in which the venue refuses."""
    return InputError(
        f"{venue} answered with error {shown(number)}: {shown(said)}",
        code="INP-032",
        field="error",
        hint="ask again; no account was read",
    )
