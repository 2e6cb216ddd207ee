"""Waterfall from standalone margins to the requirement, and the gauge of where equity stands."""

from __future__ import annotations

from collections.abc import Sequence

from crossmargin.margin.statement_types import Step, Totals
from crossmargin.reports._svg import Svg, span, tip
from crossmargin.reports._table import Column, table
from crossmargin.reports._text import NBSP, Safe, among, amount, join, percent, usd

_ROW = 46.0
_BAR = 16.0


def waterfall_chart(steps: Sequence[Step]) -> Safe:
    """Draw the waterfall as rows, a bar each, with its hidden table."""
    ends: list[tuple[float, float]] = []
    running = 0.0
    for step in steps:
        start = 0.0 if step.kind == "total" else running
        running = step.usd if step.kind == "total" else running + step.usd
        ends.append((start, running))
    low, high = span([end for pair in ends for end in pair])
    scale = high - low
    first = steps[0].usd if steps else 0.0
    said = ", ".join(f"{step.label} {usd(step.usd, sign=step.kind != 'total')}" for step in steps)
    svg = Svg("waterfall", _ROW * len(steps), f"Waterfall: {said}.")
    zero = (0.0 - low) / scale
    for row, (step, (start, end)) in enumerate(zip(steps, ends)):
        top = row * _ROW
        kind = "total" if step.kind == "total" else ("rise" if step.usd > 0 else "fall")
        share = percent(step.usd / first, sign=True) if first > 0 and kind != "total" else ""
        value = among(step.usd, max(-low, high), sign=kind != "total") + NBSP + "USD"
        if row + 1 < len(steps):
            x = (end - low) / scale
            svg.line(x, top + 20, x, top + _ROW + 20 + _BAR, cls="join")
        left, right = sorted(((start - low) / scale, (end - low) / scale))
        svg.raw(f'<g class="mark {kind}"' + tip(f"{step.label}\n{value}\n{share}".rstrip()) + ">")
        svg.rect(0, top, 1, _ROW - 2, cls="hit")
        svg.text(0, top + 13, _sentence(step.label), cls="lbl")
        svg.text(1, top + 13, value + (f" · {share}" if share else ""), anchor="end", cls="num")
        svg.rect(left, top + 20, right - left, _BAR, cls="bar")
        edge = (end - low) / scale
        svg.line(edge, top + 19, edge, top + 21 + _BAR, cls="edge")
        svg.raw("</g>")
    if low < 0:
        svg.line(zero, 16, zero, _ROW * len(steps) - 8, cls="zero")
    rows = [
        [step.label, usd(step.usd, sign=step.kind != "total"), usd(end)]
        for step, (_, end) in zip(steps, ends)
    ]
    twin = table(
        "From standalone margins to the initial margin",
        [Column("step", text=True), Column("amount"), Column("running total")],
        rows,
        hidden=True,
    )
    return join([svg.markup(), twin])


def gauge_chart(totals: Totals) -> Safe:
    """Draw equity against the two requirements on one line."""
    values = [totals.equity, totals.equity_im, totals.im, totals.mm]
    low, high = span(values)
    scale = (high - low) * 1.04
    summary = (
        f"Equity {usd(totals.equity)} against maintenance margin {usd(totals.mm)} "
        f"and initial margin {usd(totals.im)}."
    )
    svg = Svg("gauge", 74, summary)
    zero = -low / scale

    def at(value: float) -> float:
        return (value - low) / scale

    svg.rect(0, 28, 1, 18, cls="track")
    left, right = sorted((zero, at(totals.equity)))
    kind = "short" if totals.equity < totals.mm or totals.equity < 0 else "total"
    svg.raw(f'<g class="mark {kind}"' + tip(f"equity\n{usd(totals.equity)}") + ">")
    svg.rect(left, 28, right - left, 18, cls="bar")
    svg.raw("</g>")
    for name, value, y, tick in (
        ("maintenance", totals.mm, 14.0, (20.0, 46.0)),
        ("initial", totals.im, 68.0, (28.0, 56.0)),
    ):
        x = at(value)
        svg.line(x, tick[0], x, tick[1], cls="need")
        anchor = "start" if x < 0.35 else "end" if x > 0.65 else "middle"
        svg.text(x, y, f"{name} {amount(value)}", anchor=anchor, cls="lbl")
    return svg.markup()


def _sentence(label: str) -> str:
    return label[:1].upper() + label[1:]
