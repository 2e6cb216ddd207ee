"""The liquidation frontier: tables for the terminal, and a page with its map."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from crossmargin.analytics import Axis, Frontier, FrontierPoint, Ray
from crossmargin.reports._sections import heading
from crossmargin.reports._svg import Svg, pc, px, tip
from crossmargin.reports._table import Column, table
from crossmargin.reports._text import DASH, Safe, amount, esc, join, signed, usd
from crossmargin.reports.html import page
from crossmargin.reports.terminal import ratio, table_of
from crossmargin.reports.terminal import usd as usd_text

_PLOT, _TOP, _FOOT, _LEFT = 460.0, 16.0, 40.0, 0.10


def print_frontier(console: Console, title: str, made: Frontier) -> None:
    """Print each factor alone, the nearest breach of all, and how long funding leaves."""
    console.print(Text(title, "bold"))
    if made.breached_now:
        console.print(Text(f"below the line today: {', '.join(made.breached_now)}", "bold red"))
    lines = table_of("factor", "today, USD", "down to", "move", "σ", "up to", "move", "σ")
    for axis in made.axes:
        lines.add_row(
            axis.factor,
            usd_text(axis.today_usd),
            *_side(axis, axis.down),
            *_side(axis, axis.up),
        )
    console.print(lines)
    console.print(Text(nearest_words(made)))
    console.print(Text(runway_words(made)))
    low, high = made.low[0], made.high[0]
    breaches = sum(ray.point is not None for ray in made.rays)
    console.print(
        Text(
            f"{breaches} of {len(made.rays)} directions breach within {low:g}× to {high:g}× of "
            f"today; {made.evaluations:,} revaluations of the account",
            "dim",
        )
    )


def _side(axis: Axis, ray: Ray) -> tuple[str, str, str]:
    if ray.point is None:
        return ("unknown beyond" if ray.unknown else "none to", ratio(_move(ray) or 0.0, 1), "")
    step = _move(ray)
    assert step is not None
    there = (
        f"{1.0 + step:.4g}×" if axis.today_usd is None else usd_text(axis.today_usd * (1.0 + step))
    )
    sigma = "" if axis.sigma is None else f"{abs(math.log1p(step)) / axis.sigma:.2f}"
    return there, ratio(step, 2), sigma


def _move(ray: Ray) -> float | None:
    """Return the relative move of the one factor that a ray moves."""
    k = max(range(len(ray.direction)), key=lambda i: abs(ray.direction[i]))
    ends = ray.end if ray.point is None else ray.point.ratios
    return ends[k] - 1.0


def nearest_words(made: Frontier) -> str:
    """Say what the worst move of the least size is."""
    point = made.nearest
    if point is None or point.sigma is None:
        if any(axis.sigma is not None for axis in made.axes):
            return "no breach within the range"
        return "distances in σ need a standard deviation of every factor (--sigma BTC=0.03)"
    moves = ", ".join(
        f"{name} {100.0 * (x - 1.0):+.2f} %" for name, x in zip(made.factors, point.ratios)
    )
    return f"nearest breach: {point.sigma:.3f} σ away, at {moves} (pot {point.pot})"


def runway_words(made: Frontier) -> str:
    """Say how long the account lasts when nothing moves but funding."""
    way = made.runway
    left = ""
    if way.without_rate:
        left = f" (no rate known for {', '.join(way.without_rate)}: left out)"
    if way.hours is None:
        got = f"funding pays the account {usd_text(way.usd_per_hour)} USD an hour"
        none = "no funding is paid or received"
        return (got if way.usd_per_hour > 0 else none) + f": no end from funding alone{left}"
    days = way.hours / 24.0
    span = f"{way.hours:,.1f} hours" if days < 3 else f"{days:,.1f} days"
    return (
        f"funding alone takes {usd_text(-way.usd_per_hour)} USD an hour net at today's rates: the "
        f"line is met in {span} (pot {way.pot}){left}"
    )


def render_frontier(title: str, facts: Sequence[str], made: Frontier, *, version: str) -> str:
    """Write the frontier of two factors as a page with its map, or of more as tables.

    Parameters
    ----------
    title : str
        Whose frontier.
    facts : sequence of str
        Lines under the title: rule-set, market.
    made : Frontier
        What is shown.
    version : str
        Of this package, for the footer.
    """
    words = "".join(
        f"<p>{esc(signed(text))}</p>" for text in (nearest_words(made), runway_words(made))
    )
    body = [
        heading("Liquidation frontier", title, facts),
        '<section id="answer"><h2>Distance to liquidation</h2>'
        f"{_axes_table(made)}{words}</section>",
    ]
    if made.grid_excess_usd:
        body.append(
            '<section id="map"><h2>Equity less the liquidation line</h2>'
            f'<div class="card">{frontier_chart(made)}</div></section>'
        )
    body.append(
        f'<section id="points"><h2>The frontier, direction by direction</h2>{_ray_table(made)}'
        "</section>"
    )
    return page(title, body, version=version, skip=("#answer", "Skip to the answer"))


def _axes_table(made: Frontier) -> Safe:
    rows = [
        [axis.factor, usd(axis.today_usd) if axis.today_usd is not None else DASH]
        + [text or DASH for text in (*_side(axis, axis.down), *_side(axis, axis.up))]
        for axis in made.axes
    ]
    return table(
        "Each factor alone",
        [
            Column("factor", text=True), Column("today"), Column("down to"), Column("move"),
            Column("σ"), Column("up to"), Column("move"), Column("σ"),
        ],
        rows,
    )  # fmt: skip


def _ray_table(made: Frontier) -> Safe:
    rows = []
    for ray in made.rays:
        ends = ray.end if ray.point is None else ray.point.ratios
        said = "rule-set's figures end" if ray.unknown else "none within the range"
        sigma = ray.point.sigma if ray.point is not None else None
        rows.append(
            [
                *(f"{x:.4f}×" for x in ends),
                DASH if sigma is None else f"{sigma:.3f}",
                said if ray.point is None else f"pot {ray.point.pot}",
            ]
        )
    columns = [*(Column(name) for name in made.factors), Column("σ"), Column("breach", text=True)]
    return table("First breach along each direction", columns, rows)


def frontier_chart(made: Frontier) -> Safe:
    """Draw the map of two factors: excess as cells, the frontier as a line, today as a dot."""
    x, y = _Axis.of(made, 0), _Axis.of(made, 1)
    largest = max((abs(v) for row in made.grid_excess_usd for v in row if v is not None), default=1)
    svg = Svg(
        "curve frontier",
        _TOP + _PLOT + _FOOT,
        f"Map of equity less the liquidation line over {x.name} and {y.name}. "
        f"{nearest_words(made)}.",
    )
    for j, row in enumerate(made.grid_excess_usd):
        for i, value in enumerate(row):
            _map_cell(svg, (x, i), (y, j), value, largest)
    svg.raw(_outline(made, x, y))
    # On a phone only those stay that are far enough apart for their figures.
    roomy = {at for at, _ in x.ticks(0.26)}
    for axis, across in ((x, True), (y, False)):
        for at, text in axis.ticks(0.11 if across else 0.07):
            if across:
                svg.line(_share(at), _TOP, _share(at), _TOP + _PLOT, cls="grid")
                side = "end" if _share(at) > 0.95 else "middle"
                kind = "tick" if at in roomy else "tick thin"
                svg.text(_share(at), _TOP + _PLOT + 16, text, anchor=side, cls=kind)
            else:
                svg.line(_LEFT, _down(at), 1.0, _down(at), cls="grid")
                svg.text(_LEFT - 0.008, _down(at) + 4, text, anchor="end", cls="tick")
    svg.text(1.0, _TOP + _PLOT + 34, x.title, anchor="end", cls="lbl")
    svg.text(0, _TOP - 4, y.title, cls="lbl")
    svg.circle(_share(x.at(1.0)), _down(y.at(1.0)), 5, cls="dot")
    if made.nearest is not None:
        a, b = made.nearest.ratios
        svg.line(_share(x.at(1.0)), _down(y.at(1.0)), _share(x.at(a)), _down(y.at(b)), cls="at liq")
        svg.raw(f"<g{tip(nearest_words(made))}>")
        svg.circle(_share(x.at(a)), _down(y.at(b)), 6, cls="liq")
        svg.raw("</g>")
    return join([_legend(), svg.markup()])


class _Axis:
    """One factor of the map: logarithms of its moves on 0 to 1."""

    def __init__(
        self, name: str, ratios: Sequence[float], today: float | None, low: float, high: float
    ) -> None:
        self.name, self.ratios, self.today = name, list(ratios), today
        self._low, self._high = math.log(low), math.log(high)
        unit = "multiple of today" if today is None else "US dollars"
        self.title = f"{name}, {unit} (logarithmic)"

    @classmethod
    def of(cls, made: Frontier, k: int) -> _Axis:
        ratios = made.grid_ratios[k]
        return cls(made.factors[k], ratios, made.axes[k].today_usd, ratios[0], ratios[-1])

    def at(self, ratio_: float) -> float:
        return (math.log(ratio_) - self._low) / (self._high - self._low)

    def cell(self, k: int) -> tuple[float, float]:
        """Return both edges of a grid point's cell: half-way to its neighbours."""
        here = [self.at(r) for r in self.ratios]
        first = 0.0 if k == 0 else 0.5 * (here[k - 1] + here[k])
        last = 1.0 if k == len(here) - 1 else 0.5 * (here[k] + here[k + 1])
        return first, last

    def ticks(self, apart: float) -> list[tuple[float, str]]:
        """Return round multiples inside, today first, none closer than `apart` to another."""
        marks = (1.0, 0.5, 2.0, 0.7, 1.5, 0.3, 3.0, 0.2, 5.0, 0.8, 1.25, 0.9, 1.1, 0.6, 1.7, 0.4)
        found: list[float] = []
        for mark in marks:
            here = self.at(mark)
            if -1e-9 <= here <= 1 + 1e-9 and all(abs(here - self.at(m)) >= apart for m in found):
                found.append(mark)
        return [(self.at(m), self.label(m)) for m in sorted(found)]

    def text(self, ratio_: float) -> str:
        return f"{ratio_:g}×" if self.today is None else usd(self.today * ratio_)

    def label(self, ratio_: float) -> str:
        """Return what stands at a tick; the unit is in the axis's title."""
        return f"{ratio_:g}×" if self.today is None else amount(self.today * ratio_)


def _share(at: float) -> float:
    return _LEFT + (1.0 - _LEFT) * at


def _down(at: float) -> float:
    return _TOP + _PLOT * (1.0 - at)


def _map_cell(
    svg: Svg, x: tuple[_Axis, int], y: tuple[_Axis, int], value: float | None, largest: float
) -> None:
    (xa, i), (ya, j) = x, y
    left, right = (_share(edge) for edge in xa.cell(i))
    bottom, top = (_down(edge) for edge in ya.cell(j))
    where = f"{xa.name} {xa.text(xa.ratios[i])}, {ya.name} {ya.text(ya.ratios[j])}"
    said = "no figure in the rule-set" if value is None else f"excess {usd(value, sign=True)}"
    kind = "none" if value is None else ("loss" if value < 0 else "gain")
    depth = 0.0 if value is None else 0.10 + 0.6 * math.sqrt(abs(value) / max(largest, 1e-300))
    svg.raw(f'<g class="mark {kind}"{tip(where + chr(10) + said)}>')
    svg.rect(left, top, right - left, bottom - top, cls="tint", fill_opacity=px(round(depth, 2)))
    svg.raw("</g>")


def _outline(made: Frontier, x: _Axis, y: _Axis) -> str:
    """Draw the line through breaches that are neighbours; it is broken where one has none."""
    parts: list[list[FrontierPoint]] = [[]]
    rays = list(made.rays)
    gap = next((k for k, ray in enumerate(rays) if ray.point is None), None)
    around = rays + rays[:1] if gap is None else rays[gap:] + rays[:gap]
    for ray in around:
        if ray.point is None:
            parts.append([])
        else:
            parts[-1].append(ray.point)
    lines = []
    for part in parts:
        ends = [(_share(x.at(p.ratios[0])), _down(y.at(p.ratios[1]))) for p in part]
        for (x1, y1), (x2, y2) in itertools.pairwise(ends):
            lines.append(
                f'<line x1="{pc(x1)}" y1="{px(y1)}" x2="{pc(x2)}" y2="{px(y2)}" class="edge"/>'
            )
    return "".join(lines)


def _legend() -> Safe:
    return Safe(
        '<ul class="legend">'
        '<li><svg class="curve frontier" width="28" height="14" aria-hidden="true">'
        '<line x1="0" x2="28" y1="7" y2="7" class="edge"/></svg> the frontier: first breach</li>'
        '<li><svg class="curve" width="14" height="14" aria-hidden="true">'
        '<circle cx="7" cy="7" r="5" class="dot"/></svg> today</li>'
        '<li><svg class="curve frontier" width="14" height="14" aria-hidden="true">'
        '<circle cx="7" cy="7" r="6" class="liq"/></svg> nearest breach in σ</li></ul>'
    )
