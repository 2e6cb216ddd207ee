"""HTML tables: seen ones, and the hidden twins of charts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from crossmargin.reports._text import Safe, esc, join, signed


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes
    ----------
    head : str
        Its name, with the unit where all cells share one.
    text : bool
        Whether it holds words, set to the left; numbers are set to the right.
    wrap : bool
        Whether its text may run over several lines.
    """

    head: str
    text: bool = False
    wrap: bool = False

    @property
    def css(self) -> str:
        """Class attribute of its cells."""
        names = ["t" if self.text else "n"] + (["w"] if self.wrap else [])
        return f' class="{" ".join(names)}"'


def _row(columns: Sequence[Column], cells: Sequence[str]) -> str:
    first, *rest = cells
    out = [f'<th scope="row"{columns[0].css}>{esc(signed(first))}</th>']
    out += [
        f"<td{c.css}>{esc(signed(cell))}</td>" for c, cell in zip(columns[1:], rest, strict=True)
    ]
    return f"<tr>{''.join(out)}</tr>"


def _kind(rows: Sequence[Sequence[str]]) -> str:
    """Mark tables whose row heads are long: on a phone these are folded, not the figures hidden."""
    return ' class="long"' if any(len(row[0]) > 14 for row in rows) else ""


def table(
    caption: str,
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    *,
    total: Sequence[str] | None = None,
    hidden: bool = False,
) -> Safe:
    """Write a table.

    Parameters
    ----------
    caption : str
        Says what it is; hidden from view where a heading says so already.
    columns : sequence of Column
        The first is the head of each row.
    rows : sequence of sequences of str
        Cells, escaped unless `Safe`.
    total : sequence of str, optional
        Last row, set apart.
    hidden : bool
        For screen readers only: the twin of a chart.
    """
    head = "".join(f'<th scope="col"{c.css}>{esc(c.head)}</th>' for c in columns)
    body = "".join(_row(columns, row) for row in rows)
    foot = f"<tfoot>{_row(columns, total)}</tfoot>" if total is not None else ""
    whole = (
        f"<table{_kind(rows)}><caption>{esc(caption)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody>{foot}</table>"
    )
    if hidden:
        return Safe(f'<div class="vh">{whole}</div>')
    return Safe(
        f'<div class="scroll" role="region" tabindex="0" aria-label="{esc(caption)}">{whole}</div>'
    )


def figure(title: str, lead: str, *parts: str, wide: bool = False) -> Safe:
    """Write a card: title, one sentence, then charts and their twins."""
    style = "card wide" if wide else "card"
    said = f"<p>{esc(lead)}</p>" if lead else ""
    return Safe(
        f'<figure class="{style}"><figcaption><h3>{esc(title)}</h3>{said}</figcaption>'
        f"{join(list(parts))}</figure>"
    )
