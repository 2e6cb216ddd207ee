"""Figures with their sources: reading the TOML tables of this room."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable
from importlib.resources import files
from typing import Any, Literal, TypeVar

import msgspec

from crossmargin.errors import LiquidationError

#: How well a figure is known; the same words as in rule-sets (``docs/conventions.md``).
Certainty = Literal["published", "mirror", "secondary", "inferred", "unconfirmed", "house", "user"]

T = TypeVar("T")


class Data(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Strict data."""


class Origin(Data, frozen=True, kw_only=True):
    """Where a figure comes from: a document, and when it was read or issued."""

    title: str
    date: str


def convert(raw: Any, kind: type[T], what: str) -> T:
    """Turn plain data into a Struct; faults become one sentence.

    Raises
    ------
    LiquidationError
        ``LIQ-002`` for an unknown key, a wrong type or a figure out of range.
    """
    _require_finite(raw, what)
    try:
        return msgspec.convert(raw, kind, strict=True)
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(" - at `")
        raise LiquidationError(
            f"{what}: {message[:1].lower()}{message[1:]}",
            code="LIQ-002",
            field=place.rstrip("`").lstrip("$.") or what,
            hint="see docs/models/liquidation.md and docs/models/adl.md for what is allowed",
        ) from None


def _require_finite(raw: Any, what: str) -> None:
    if isinstance(raw, dict):
        for key, value in raw.items():
            _require_finite(value, f"{what}: {key}")
    elif isinstance(raw, list | tuple):
        for value in raw:
            _require_finite(value, what)
    elif isinstance(raw, float) and not math.isfinite(raw):
        raise LiquidationError(
            f"{what} is {raw!r}, not a finite number", code="LIQ-002", field=what
        )


def parse_toml(text: str, what: str) -> dict[str, Any]:
    """Read TOML text.

    Raises
    ------
    LiquidationError
        ``LIQ-002`` when it is not TOML.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise LiquidationError(f"{what} is not TOML: {error}", code="LIQ-002", field=what) from None


def shipped_texts(folder: str) -> dict[str, str]:
    """Return the TOML files of a folder of this room, by name."""
    place = files("crossmargin.liquidation") / folder
    return {
        entry.name: entry.read_text(encoding="utf-8")
        for entry in sorted(place.iterdir(), key=lambda e: e.name)
        if entry.name.endswith(".toml")
    }


def require_sources(cited: Iterable[str], listed: Iterable[str], what: str) -> None:
    """Refuse a source that a file cites and does not list.

    Raises
    ------
    LiquidationError
        ``LIQ-002``.
    """
    missing = sorted(set(cited) - set(listed))
    if missing:
        raise LiquidationError(
            f"{what} cites the source {missing[0]!r}, which it does not list",
            code="LIQ-002",
            field="sources",
        )


def unknown(kind: str, name: str, known: Iterable[str]) -> LiquidationError:
    """Return the error for a name that is not in a catalogue."""
    return LiquidationError(
        f"there is no {kind} called {name!r}",
        code="LIQ-003",
        hint="one of " + ", ".join(sorted(known)),
    )
