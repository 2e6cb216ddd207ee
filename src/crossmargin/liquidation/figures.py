"""Figures with their sources: reading the TOML tables of this room."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files
from typing import Any, TypeVar

from crossmargin import codec
from crossmargin.codec import convert_data
from crossmargin.errors import LiquidationError

T = TypeVar("T")


def wrong_rule(message: str, field: str) -> LiquidationError:
    """Return the error for a rule that is malformed or out of range."""
    return LiquidationError(
        message,
        code="LIQ-002",
        field=field,
        hint="see docs/models/liquidation.md and docs/models/adl.md for what is allowed",
    )


def convert(raw: Any, kind: type[T], what: str) -> T:
    """Turn plain data into a Struct; faults become one sentence.

    Raises
    ------
    LiquidationError
        ``LIQ-002`` for an unknown key, a wrong type or a figure out of range.
    """
    return convert_data(raw, kind, what, wrong_rule)


def parse_toml(text: str, what: str) -> dict[str, Any]:
    """Read TOML text.

    Raises
    ------
    LiquidationError
        ``LIQ-002`` when it is not TOML.
    """
    return codec.parse_toml(text, what, wrong_rule)


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
