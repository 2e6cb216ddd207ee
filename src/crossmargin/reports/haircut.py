"""The curve of a modelled haircut against size: one HTML page, or the picture alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from crossmargin.margin import HaircutPoint, HaircutSchedule
from crossmargin.reports._svg import Svg, pc, px, tidy_ticks, tip
from crossmargin.reports._table import Column, figure, table
from crossmargin.reports._text import NBSP, Safe, amount, esc, join, number, percent, short
from crossmargin.reports.html import _asset, _sha256

_TOP, _PLOT, _FOOT = 30.0, 260.0, 44.0

#: The picture alone carries the few rules it needs; colours as in ``report.css``.
_STYLE = (
    "svg{font:13px system-ui,sans-serif;background:#fff}"
    ".grid{stroke:#e6eaef}.tick{fill:#55606e;font-size:12px}"
    "polyline{fill:none;vector-effect:non-scaling-stroke;stroke-linejoin:round}"
    ".equity{stroke:#1f5f9e;stroke-width:2.75}"
    ".mm{stroke:#b4530f;stroke-width:2.25;stroke-dasharray:8 4}"
    ".im{stroke:#55606e;stroke-width:1.75;stroke-dasharray:2 4}"
    ".band{fill:none;stroke:none}"
)


def haircut_picture(made: HaircutSchedule, name: str) -> str:
    """Return the curve as an SVG file that needs nothing else.

    Parameters
    ----------
    made : HaircutSchedule
        With sizes above 0, so with a daily volume or sizes given.
    name : str
        Coin.
    """
    drawn = str(_chart(made, name, legend_inside=True))
    head = '<svg xmlns="http://www.w3.org/2000/svg" width="900" '
    opened = drawn.replace("<svg ", head, 1).replace(' width="100%"', "", 1)
    end = opened.index(">") + 1
    return f"{opened[:end]}<style>{_STYLE}</style>{opened[end:]}\n"


def haircut_page(
    made: HaircutSchedule, name: str, history: Sequence[tuple[str, HaircutPoint]] = ()
) -> str:
    """Return the curve, the tiers and the parts of each size as a self-contained HTML page.

    Parameters
    ----------
    made : HaircutSchedule
        Any.
    name : str
        Coin; escaped.
    history : sequence of (str, HaircutPoint)
        Haircuts as they would have been set, by ISO date; drawn when there are two or more.
    """
    style, script = _asset("report.css"), _asset("report.js")
    policy = (
        f"default-src 'none'; style-src '{_sha256(style)}'; script-src '{_sha256(script)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    parts: list[str] = []
    if len(made.points) > 1:
        lead = "Average over the whole holding, and what the next dollar of a band loses."
        parts.append(figure("Haircut against size", lead, _legend(), _chart(made, name), wide=True))
    parts.append(figure("Tiers", _tier_words(made), _tiers(made), wide=True))
    parts.append(figure("What each size is made of", _assumptions(made), _parts(made), wide=True))
    if len(history) > 1:
        lead = "Of a small holding, each made from the prices up to its day alone."
        drawn = _past(history, name)
        parts.append(figure("Haircut through time", lead, _past_legend(), drawn, wide=True))
    said = "".join(f"<li>{esc(note)}</li>" for note in made.notes)
    notes = f'<ul class="notes">{said}</ul>' if said else ""
    title = f"Haircut of {name}"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<link rel="icon" href="data:,">\n'
        f"<title>{esc(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n"
        '<button type="button" id="theme" hidden>Dark</button>\n<main>\n'
        f"<header><h1>{esc(title)}</h1></header>\n{notes}{join(parts)}\n</main>\n"
        f'<div id="tip" role="status" hidden></div>\n<script>{script}</script>\n</body>\n</html>\n'
    )


def _chart(made: HaircutSchedule, name: str, *, legend_inside: bool = False) -> Safe:
    """Draw average and marginal haircut over the logarithm of size."""
    points = [p for p in made.points if p.usd > 0]
    bands = [(t.lower, t.upper, 1.0 - t.factor) for t in made.schedule.tiers]
    low = points[0].usd / 2.0
    high = points[-1].usd
    span = math.log(high / low)
    top = max([p.haircut for p in made.points] + [cut for _, _, cut in bands])
    ticks = tidy_ticks(0.0, top * 1.05 or 1.0, 5)
    ceiling = max(ticks[-1], top * 1.05, 1e-9)

    def at(usd: float) -> float:
        return math.log(max(usd, low) / low) / span

    svg = Svg(
        "curve",
        _TOP + _PLOT + _FOOT,
        f"Haircut of {name} from {percent(made.points[0].haircut)} for a small holding to "
        f"{percent(points[-1].haircut)} for {amount(high)} US dollars.",
    )
    for value in ticks:
        y = _TOP + _PLOT * (1.0 - value / ceiling)
        svg.line(0, y, 1, y, cls="grid")
        svg.text(0, y - 4, percent(value, 0 if value * 100 % 1 < 1e-6 else 1), cls="tick")
    for decade in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1):
        x = at(10.0**decade)
        svg.line(x, _TOP, x, _TOP + _PLOT, cls="grid")
        side = "start" if x < 0.05 else ("end" if x > 0.95 else "middle")
        svg.text(x, _TOP + _PLOT + 18, short(10.0**decade), anchor=side, cls="tick")
    svg.text(1, _TOP + _PLOT + 36, "size, US dollars (log)", anchor="end", cls="tick")
    svg.raw(_lines(made, at, ceiling))
    for point, after in zip(points, [*points[1:], None]):
        start = at(point.usd)
        width = (1.0 if after is None else at(after.usd)) - start
        text = (
            f"{amount(point.usd)} USD: haircut {percent(point.haircut, 2)}, sold in "
            f"{number(point.days)} days ({point.binding})"
        )
        svg.raw(
            f'<rect x="{pc(start)}" y="{px(_TOP)}" width="{pc(max(width, 0.01))}" '
            f'height="{px(_PLOT)}" class="band" fill="none" pointer-events="all"{tip(text)}/>'
        )
    if legend_inside:
        svg.text(0, 14, f"{name}: average haircut (solid), marginal haircut (dashed)", cls="tick")
    return svg.markup()


def _lines(made: HaircutSchedule, at: Callable[[float], float], ceiling: float) -> str:
    def place(usd: float, cut: float) -> str:
        return f"{1000 * at(usd):.2f},{1000 * (1.0 - cut / ceiling):.2f}"

    low = next(p.usd for p in made.points if p.usd > 0) / 2.0
    average = [place(low, made.points[0].haircut)]
    average += [place(p.usd, p.haircut) for p in made.points if p.usd > 0]
    steps = []
    for tier in made.schedule.tiers:
        end = tier.upper if tier.upper is not None else made.points[-1].usd
        steps += [place(tier.lower, 1.0 - tier.factor), place(end, 1.0 - tier.factor)]
    drawn = (
        f'<polyline class="mm" points="{" ".join(steps)}"/>'
        f'<polyline class="equity" points="{" ".join(average)}"/>'
    )
    if made.spec.floor > 0:
        ends = f"{place(low, made.spec.floor)} {place(made.points[-1].usd, made.spec.floor)}"
        drawn += f'<polyline class="im" points="{ends}"/>'
    return (
        f'<svg x="0" y="{px(_TOP)}" width="100%" height="{px(_PLOT)}" viewBox="0 0 1000 1000" '
        f'preserveAspectRatio="none">{drawn}</svg>'
    )


def _legend() -> Safe:
    return _legend_of(
        ("equity", "average haircut of the holding"),
        ("mm", "marginal haircut of the band"),
        ("im", "the venue's floor, where there is one"),
    )


def _legend_of(*items: tuple[str, str]) -> Safe:
    return Safe(
        '<ul class="legend">'
        + "".join(
            '<li><svg class="curve" width="28" height="14" aria-hidden="true">'
            f'<line x1="0" x2="28" y1="7" y2="7" class="{css}"/></svg> {text}</li>'
            for css, text in items
        )
        + "</ul>"
    )


def _past(history: Sequence[tuple[str, HaircutPoint]], name: str) -> Safe:
    """Draw haircut, price risk and stressed floor over time, with the hidden table."""
    rows = [(day, p.haircut, p.market, max(p.stressed, p.jump)) for day, p in history]
    top = max(max(row[1:]) for row in rows)
    ticks = tidy_ticks(0.0, top * 1.05 or 1.0, 5)
    ceiling = max(ticks[-1], top * 1.05, 1e-9)
    last = len(rows) - 1
    svg = Svg(
        "curve",
        _TOP + _PLOT + _FOOT,
        f"Haircut of {name} from {rows[0][0]} to {rows[-1][0]}: between "
        f"{percent(min(r[1] for r in rows))} and {percent(max(r[1] for r in rows))}.",
    )
    for value in ticks:
        y = _TOP + _PLOT * (1.0 - value / ceiling)
        svg.line(0, y, 1, y, cls="grid")
        svg.text(0, y - 4, percent(value, 0 if value * 100 % 1 < 1e-6 else 1), cls="tick")
    for share, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
        day = rows[round(share * last)][0]
        svg.text(share, _TOP + _PLOT + 18, day, anchor=anchor, cls="tick")
    lines = []
    for css, column in (("im", 3), ("mm", 2), ("equity", 1)):
        points = " ".join(
            f"{1000 * k / last:.2f},{1000 * (1.0 - row[column] / ceiling):.2f}"  # type: ignore[operator]
            for k, row in enumerate(rows)
        )
        lines.append(f'<polyline class="{css}" points="{points}"/>')
    svg.raw(
        f'<svg x="0" y="{px(_TOP)}" width="100%" height="{px(_PLOT)}" viewBox="0 0 1000 1000" '
        f'preserveAspectRatio="none">{"".join(lines)}</svg>'
    )
    heads = [Column("day", text=True), Column("haircut"), Column("market"), Column("floor")]
    step = max(1, -(-len(rows) // 24))
    keep = sorted({*range(0, len(rows), step), last})
    cells = [[rows[k][0], *(percent(x, 2) for x in rows[k][1:])] for k in keep]
    return join([svg.markup(), table("Haircut through time", heads, cells, hidden=True)])


def _past_legend() -> Safe:
    return _legend_of(
        ("equity", "haircut"),
        ("mm", "market: by the method alone"),
        ("im", "stressed period or jump: the floor"),
    )


def _tier_words(made: HaircutSchedule) -> str:
    last = made.schedule.tiers[-1].upper
    end = "" if last is None else f" What lies beyond {amount(last)} USD counts nothing."
    return f"Each slice of a holding takes its own factor.{end}"


def _tiers(made: HaircutSchedule) -> Safe:
    rows = [
        [
            amount(t.lower),
            "no end" if t.upper is None else amount(t.upper),
            percent(1.0 - t.factor, 2),
            percent(t.factor, 2),
        ]
        for t in made.schedule.tiers
    ]
    columns = [Column("from, USD"), Column("to, USD"), Column("haircut"), Column("counts")]
    return table("Tiers", columns, rows)


def _assumptions(made: HaircutSchedule) -> str:
    spec = made.spec
    return (
        f"{spec.method} {spec.measure.upper()} at {percent(spec.level)}, "
        f"{spec.horizon_days:g}{NBSP}days, {made.returns:,} daily returns; today's volatility "
        f"{percent(made.sigma, 2)} a day."
    )


def _parts(made: HaircutSchedule) -> Safe:
    heads = ("size, USD", "days", "market", "stressed", "spread", "impact", "wrong-way", "haircut")
    columns = [*(Column(head) for head in heads), Column("decided by", text=True)]
    rows = [
        [
            amount(p.usd),
            number(p.days),
            percent(p.market, 2),
            percent(p.stressed, 2),
            percent(p.spread, 2),
            percent(p.impact, 2),
            percent(p.wrong_way, 2),
            percent(p.haircut, 2),
            p.binding,
        ]
        for p in made.points
    ]
    return table("What each size is made of", columns, rows)
