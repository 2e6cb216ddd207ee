"""Figures with their sources: small TOML tables that ship with this room."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from typing import Any, TypeVar

from crossmargin import codec
from crossmargin.codec import convert_data
from crossmargin.errors import MarketDataError
from crossmargin.figures import FigureTable, figure_table

T = TypeVar("T")


def wrong_rule(message: str, field: str) -> MarketDataError:
    """Return the error for a price rule that is malformed or out of range."""
    return MarketDataError(
        message, code="MKT-014", field=field, hint="see docs/models/prices.md for what is allowed"
    )


def convert_rule(raw: Any, kind: type[T], what: str) -> T:
    """Turn plain data into a Struct; faults become one sentence.

    Raises
    ------
    MarketDataError
        ``MKT-014`` for an unknown key, a wrong type or a figure out of range.
    """
    return convert_data(raw, kind, what, wrong_rule)


def parse_toml(text: str, what: str) -> dict[str, Any]:
    """Read TOML text.

    Raises
    ------
    MarketDataError
        ``MKT-014`` when it is not TOML.
    """
    return codec.parse_toml(text, what, wrong_rule)


def table_from_toml(text: str, what: str) -> FigureTable:
    """Read and check a table of figures: each must name a listed source.

    Raises
    ------
    MarketDataError
        ``MKT-014``.
    """
    return figure_table(text, what, wrong_rule)


def shipped_text(name: str) -> str:
    """Return a TOML file of this room."""
    return (files("crossmargin.market") / name).read_text(encoding="utf-8")


@lru_cache(maxsize=8)
def shipped_table(name: str) -> FigureTable:
    """Return a checked table of figures that ships with this room."""
    return table_from_toml(shipped_text(name), name)


def values_of(table: FigureTable) -> dict[str, Any]:
    """Return the bare values of a table."""
    return {name: figure.value for name, figure in table.figures.items()}
