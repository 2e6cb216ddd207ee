"""Figures with their sources: the small TOML tables that rooms ship, read strictly.

No figure stands in code. A table says of each where it is from, when that was, and how sure it is;
a figure whose source is not listed is refused.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from crossmargin.codec import Certainty, Wrong, convert_data, parse_toml


class Data(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Strict data."""


class Origin(Data, frozen=True, kw_only=True):
    """Where a figure comes from: a document, and when it was read or issued."""

    title: str
    date: str


class Figure(Data, frozen=True, kw_only=True):
    """One figure: its value, a key into the table's sources, and how well it is known."""

    value: Any
    source: str
    confidence: Certainty
    note: str = ""


class FigureTable(Data, frozen=True, kw_only=True):
    """A table of figures as it stands in a file."""

    format: Literal["crossmargin-figures/1"]
    id: str
    title: str
    sources: dict[str, Origin]
    figures: dict[str, Figure]


def figure_table(text: str, what: str, wrong: Wrong) -> FigureTable:
    """Read and check a table of figures: each must name a listed source.

    Parameters
    ----------
    text : str
        TOML.
    what : str
        Name of the file, for messages.
    wrong : callable
        Makes the room's error of a sentence and the field.
    """
    table = convert_data(parse_toml(text, what, wrong), FigureTable, what, wrong)
    for name, figure in table.figures.items():
        if figure.source not in table.sources:
            raise wrong(
                f"{what}: {name} names the source {figure.source!r}, which is not listed",
                f"figures.{name}.source",
            )
    return table
