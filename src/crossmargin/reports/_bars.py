"""Bars: what each position contributes to the requirement, and rule-sets side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from crossmargin.margin.statement_types import Statement
from crossmargin.reports._svg import Svg, span, tip
from crossmargin.reports._table import Column, table
from crossmargin.reports._text import DASH, Safe, among, amount, esc, join, percent, quantity, usd

#: Rows drawn; what is beyond is added up in one row, and listed in the table.
MOST = 24
#: More rows than this stand in two columns, so that no chart is taller than a printed page.
COLUMN = 12
_ROW = 44.0


@dataclass(frozen=True, slots=True)
class Contribution:
    """One line of the requirement.

    Attributes
    ----------
    name, what : str
        Instrument or charge, and what is held of it.
    share : float
        Part of the initial margin, US dollars; negative for a hedge.
    alone : float or None
        What it would need alone; None where that has no meaning.
    """

    name: str
    what: str
    share: float
    alone: float | None


def contributions(made: Statement) -> list[Contribution]:
    """List what the initial margin is made of; the shares add up to it."""
    legs = [
        Contribution(
            p.instrument + ("" if p.leg == "net" else f" {p.leg}"),
            f"{quantity(p.quantity)} {p.unit}",
            p.share_im_usd,
            p.standalone_im_usd,
        )
        for p in made.positions
    ]
    legs += [
        Contribution(f"balance {b.asset}", f"{quantity(b.amount)} {b.asset}", b.share_im_usd, None)
        for b in made.balances
        if b.share_im_usd != 0.0 or b.stress != "none"
    ]
    legs.sort(key=lambda c: (-c.share, c.name))
    charges = (
        ("debt and fixed charges", "do not scale with the account", made.share_fixed_usd),
        ("jumps", "brackets and steps, of no one position", made.share_jumps_usd),
        ("open orders", "their worst fills", made.orders.im_usd if made.orders else 0.0),
    )
    shown = [c for c in charges if c[2] != 0.0 or (c[0] == "open orders" and made.orders)]
    return legs + [Contribution(name, what, value, None) for name, what, value in shown]


def folded(lines: list[Contribution]) -> list[Contribution]:
    """Keep the largest lines and add up the rest in one."""
    if len(lines) <= MOST:
        return lines
    largest = sorted(range(len(lines)), key=lambda k: (-abs(lines[k].share), k))[: MOST - 1]
    kept = set(largest)
    rest = [line for k, line in enumerate(lines) if k not in kept]
    alone = sum(line.alone or 0.0 for line in rest)
    other = Contribution(
        f"{len(rest)} smaller lines", "listed below", sum(c.share for c in rest), alone
    )
    return [line for k, line in enumerate(lines) if k in kept] + [other]


def contribution_chart(made: Statement) -> Safe:
    """Draw shares of the initial margin beside standalone margins, with the hidden table."""
    every = contributions(made)
    lines = folded(every)
    extent = span([v for c in lines for v in (c.share, c.alone or 0.0)])
    size = len(lines) if len(lines) <= COLUMN else -(-len(lines) // 2)
    pages = [lines[k : k + size] for k in range(0, len(lines), max(size, 1))]
    drawn = [_bars(made, page, extent) for page in pages]
    twin = table(
        "Contributions to the initial margin, US dollars",
        [
            Column("line", text=True),
            Column("held", text=True),
            Column("share of initial margin"),
            Column("alone"),
        ],
        [
            [c.name, c.what, amount(c.share), DASH if c.alone is None else amount(c.alone)]
            for c in every
        ],
        hidden=True,
    )
    kind = "columns" if len(drawn) > 1 else "single-column"
    return join([Safe(f'<div class="{kind}">{"".join(drawn)}</div>'), twin])


def _bars(made: Statement, lines: list[Contribution], extent: tuple[float, float]) -> str:
    low, high = extent
    scale = high - low
    zero = -low / scale
    said = ", ".join(f"{line.name} {usd(line.share)}" for line in lines)
    svg = Svg("bars", _ROW * len(lines), f"Shares of the initial margin: {said}.")
    for row, line in enumerate(lines):
        top = row * _ROW
        part = line.share / made.totals.im if made.totals.im > 0 else None
        words = f"{line.name}\n{line.what}\nshare of IM {usd(line.share)}"
        words += f" ({percent(part)})" if part is not None else ""
        words += f"\nalone {usd(line.alone)}" if line.alone is not None else ""
        svg.raw(f'<g class="mark {"fall" if line.share < 0 else "total"}"{tip(words)}>')
        svg.rect(0, top, 1, _ROW - 2, cls="hit")
        svg.text(0, top + 13, line.name, cls="lbl")
        most = max(-low, high)
        beside = "" if line.alone is None else f" alone {among(line.alone, most)}"
        _figures(svg, top + 13, among(line.share, most), beside)
        left, end = sorted((zero, (line.share - low) / scale))
        svg.rect(left, top + 19, end - left, 11, cls="bar")
        if line.alone is not None:
            svg.rect(zero, top + 32, line.alone / scale, 4, cls="alone")
        svg.line(zero, top + 18, zero, top + 37, cls="zero")
        svg.raw("</g>")
    return svg.markup()


def _figures(svg: Svg, y: float, main: str, beside: str) -> None:
    """Write a number at the right edge, and a lesser one beside it where there is room."""
    svg.raw(
        f'<text x="100%" y="{y:g}" text-anchor="end" class="num">{esc(main)}'
        f'<tspan class="soft">{esc(beside)}</tspan></text>'
    )


@dataclass(frozen=True, slots=True)
class PairBar:
    """A bar, and a thinner one beside it.

    Attributes
    ----------
    name : str
    value : float
        Length of the bar.
    beside : float or None
        Of the thin one.
    """

    name: str
    value: float
    beside: float | None = None


def pair_chart(bars: Sequence[PairBar], unit: str, beside: str) -> Safe:
    """Draw bars from zero, each with what is beside it.

    Parameters
    ----------
    bars : sequence of PairBar
    unit : str
        Of all values.
    beside : str
        What the thin bars are, ``before`` for example.
    """
    low, high = span([v for b in bars for v in (b.value, b.beside or 0.0)])
    scale, zero = high - low, -low / (high - low)
    said = ", ".join(f"{b.name} {amount(b.value)}" for b in bars)
    svg = Svg("bars", _ROW * len(bars), f"{said} {unit}.")
    for row, b in enumerate(bars):
        top = row * _ROW
        words = f"{b.name}\n{amount(b.value)} {unit}"
        words += f"\n{beside} {amount(b.beside)}" if b.beside is not None else ""
        svg.raw(f'<g class="mark {"fall" if b.value < 0 else "total"}"{tip(words)}>')
        svg.rect(0, top, 1, _ROW - 2, cls="hit")
        svg.text(0, top + 13, b.name, cls="lbl")
        _figures(
            svg, top + 13, amount(b.value),
            "" if b.beside is None else f" {beside} {amount(b.beside)}",
        )  # fmt: skip
        left, end = sorted((zero, (b.value - low) / scale))
        svg.rect(left, top + 19, end - left, 11, cls="bar")
        if b.beside is not None:
            left, end = sorted((zero, (b.beside - low) / scale))
            svg.rect(left, top + 32, end - left, 4, cls="alone")
        svg.line(zero, top + 18, zero, top + 37, cls="zero")
        svg.raw("</g>")
    return svg.markup()


def ruleset_chart(statements: Sequence[Statement]) -> Safe:
    """Draw initial and maintenance margin of several rule-sets on one scale."""
    _, high = span([t for s in statements for t in (s.totals.im, s.totals.mm)])
    said = ", ".join(f"{s.ruleset.id} {usd(s.totals.im)}" for s in statements)
    svg = Svg("bars", _ROW * len(statements), f"Initial margin by rule-set: {said}.")
    for row, made in enumerate(statements):
        top = row * _ROW
        t = made.totals
        words = f"{made.ruleset.id}\nIM {usd(t.im)}\nMM {usd(t.mm)}\nequity {usd(t.equity)}"
        svg.raw(f'<g class="mark total"{tip(words)}>')
        svg.rect(0, top, 1, _ROW - 2, cls="hit")
        svg.text(0, top + 13, made.ruleset.id, cls="lbl")
        _figures(svg, top + 13, amount(t.im), f" MM {amount(t.mm)}")
        svg.rect(0, top + 19, t.im / high, 11, cls="bar")
        svg.rect(0, top + 32, t.mm / high, 4, cls="alone")
        svg.raw("</g>")
    return svg.markup()
