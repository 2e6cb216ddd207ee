"""The terminal: how wide it is, and tables that give way without cutting a figure.

A table that is too wide folds its headings first, then its words; a figure is never folded or
cut. What is wider still runs over the edge, where the terminal itself breaks it.
"""

from __future__ import annotations

import re
import sys
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Column, Table
from rich.text import Text

#: Columns where no terminal says how many it has; and the fewest that are laid out for.
PIPED, LEAST = 124, 80
#: What is longer in a right-hand column is words, and may be folded.
_FIGURES = 34
#: Headings are folded before words get less than the first, figures run over before the second.
_WORDS, _LEAST_WORDS = 40, 14


class UncutConsole(Console):
    """A console that lets a wide table run over its edge rather than cut it."""

    def print(self, *objects: Any, **how: Any) -> None:
        """Print as rich does, without cropping."""
        how.setdefault("crop", False)
        super().print(*objects, **how)


def make_console() -> Console:
    """Return a console as wide as the terminal; 124 columns where there is none."""
    width = max(Console().width, LEAST) if sys.stdout.isatty() else PIPED
    return UncutConsole(width=width, highlight=False)


class HouseTable(Table):
    """A table in the house's form; see the module for what gives way in it.

    Parameters
    ----------
    title : str, optional
        A line above it, never folded to the width of the table.
    """

    def __init__(self, *, title: str | None = None) -> None:
        super().__init__(box=box.SIMPLE_HEAD, pad_edge=False)
        self.above = title

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Write the title, then the table as wide as it must be."""
        if self.above:
            yield Text(self.above, "bold")
        for column in self.columns:
            if column.justify == "right" and _widest(column) <= _FIGURES:
                column.no_wrap = True
            elif not column.no_wrap and column.overflow != "fold":
                # Names of parameters and files are not broken inside.
                column.min_width = min(_longest(column), _WORDS)
        self._fold_headings(options.max_width)
        yield from super().__rich_console__(
            console, options.update_width(max(options.max_width, self._width(_LEAST_WORDS)))
        )

    def _fold_headings(self, width: int) -> None:
        """Fold the heading that is the most wider than its column, until the table fits.

        The first heading says what the rows are, and is folded last.
        """
        while self._width(_WORDS) > width:
            slack = [_heading(c) - max(_widest(c), _longest_word(c)) for c in self.columns]
            order = sorted(range(len(slack)), key=lambda k: (slack[k] <= 0, k == 0, -slack[k]))
            if not order or slack[order[0]] <= 0:
                return
            column = self.columns[order[0]]
            column.header = folded(str(column.header), _heading(column) - 1)

    def _width(self, words: int) -> int:
        """Return the width with words folded to `words` columns."""
        need = [max(_widest(c), _heading(c)) for c in self.columns]
        kept = [n if c.no_wrap else min(n, words) for n, c in zip(need, self.columns)]
        return sum(kept) + 3 * (len(kept) - 1) + 2


def folded(words: str, width: int) -> str:
    """Break words at blanks into lines of at most `width` where words allow; greedy filling."""
    lines: list[str] = []
    for word in _words(words):
        if lines and cell_len(lines[-1]) + 1 + cell_len(word) <= width:
            lines[-1] += " " + word
        else:
            lines.append(word)
    return "\n".join(lines)


def _words(text: str) -> list[str]:
    """Split at blanks; a unit stays with its figure."""
    return re.split(r"\s+(?!%)", text)


def _lines(cell: object) -> list[str]:
    return (cell.plain if isinstance(cell, Text) else str(cell)).splitlines() or [""]


def _widest(column: Column) -> int:
    return max((cell_len(line) for cell in column.cells for line in _lines(cell)), default=0)


def _longest(column: Column) -> int:
    words = (w for cell in column.cells for line in _lines(cell) for w in line.split())
    return max(map(cell_len, words), default=0)


def _heading(column: Column) -> int:
    return max(cell_len(line) for line in _lines(column.header))


def _longest_word(column: Column) -> int:
    return max((cell_len(word) for word in _words(str(column.header))), default=0)
