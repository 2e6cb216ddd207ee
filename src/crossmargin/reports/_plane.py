"""A plane with two axes: lines, areas, cells and bands over it, at any width, without a script."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from crossmargin.reports._svg import Svg, pc, px, tidy_ticks, tip
from crossmargin.reports._text import Safe, esc, short

_TOP, _FOOT = 22.0, 42.0


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis: its range, its title and how its figures are written."""

    low: float
    high: float
    title: str
    text: Callable[[float], str] = short
    ticks: tuple[float, ...] | None = None

    def marks(self, count: int) -> Sequence[float]:
        """Return where figures stand."""
        return self.ticks if self.ticks is not None else tidy_ticks(self.low, self.high, count)

    def at(self, value: float) -> float:
        """Return where a value lies, 0 to 1."""
        return (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5


class Plane:
    """A chart with an axis each way.

    Parameters
    ----------
    name : str
        Class of the chart.
    summary : str
        What the picture says, for those who do not see it.
    x, y : Axis
        Across and up.
    plot : float
        Height of the plot, pixels.
    left, right : float
        Room beside the plot, as shares of the width.
    """

    def __init__(
        self,
        name: str,
        summary: str,
        x: Axis,
        y: Axis,
        *,
        plot: float = 230.0,
        left: float = 0.085,
        right: float = 0.0,
    ) -> None:
        self.x, self.y, self.plot, self.left, self.right = x, y, plot, left, right
        self.svg = Svg(f"curve plane {name}", _TOP + plot + _FOOT, summary)

    def across(self, value: float) -> float:
        """Return the share of the width at which a value of x lies."""
        return self.left + (1.0 - self.left - self.right) * self.x.at(value)

    def down(self, value: float) -> float:
        """Return the pixel at which a value of y lies."""
        return _TOP + self.plot * (1.0 - self.y.at(value))

    def axes(self) -> None:
        """Draw grid lines, figures and titles."""
        for value in self.y.marks(5):
            y = self.down(value)
            self.svg.line(self.left, y, 1.0 - self.right, y, cls=self._rule(value))
            text = self.y.text(value)
            self.svg.text(self.left - 0.008, y + 4, text, anchor="end", cls="tick")
        base = _TOP + self.plot
        for value in self.x.marks(7):
            x = self.across(value)
            anchor = "end" if x > 0.97 else "middle"
            self.svg.line(x, base, x, base + 5, cls="zero")
            self.svg.text(x, base + 18, self.x.text(value), anchor=anchor, cls="tick")
        self.svg.line(self.left, base, 1.0 - self.right, base, cls="zero")
        self.svg.text(1.0 - self.right, base + 36, self.x.title, anchor="end", cls="lbl")
        self.svg.text(0, 12, self.y.title, cls="lbl")

    def _rule(self, value: float) -> str:
        """Return the class of a horizontal line: zero stands out where it is a figure."""
        return "zero" if value == 0 and self.y.ticks is None else "grid"

    def line(self, xs: Sequence[float], ys: Sequence[float], kind: str) -> None:
        """Draw a line through points; `kind` is its class."""
        self._inner(f'<polyline class="{kind}" points="{self._points(xs, ys)}"/>')

    def area(
        self, xs: Sequence[float], low: Sequence[float], high: Sequence[float], kind: str
    ) -> None:
        """Fill between two lines over the same points."""
        there = self._points(xs, high)
        back = self._points(list(reversed(xs)), list(reversed(low)))
        self._inner(f'<polygon class="{kind}" points="{there} {back}"/>')

    def box(
        self,
        across: tuple[float, float],
        up: tuple[float, float],
        kind: str,
        *,
        opacity: float = 1.0,
        words: str = "",
    ) -> None:
        """Fill a rectangle of the plane, with words for the pointer where there are any."""
        x0, x1 = (self.across(v) for v in across)
        y1, y0 = (self.down(v) for v in up)
        group = f'<g class="mark {kind}"{tip(words)}>' if words else f'<g class="{kind}">'
        self.svg.raw(group)
        self.svg.rect(x0, y0, x1 - x0, y1 - y0, cls="tint", fill_opacity=px(round(opacity, 3)))
        self.svg.raw("</g>")

    def bands(self, xs: Sequence[float], words: Sequence[str], most: int = 60) -> None:
        """Lay invisible strips over the plot that show figures at their place."""
        step = max(1, -(-len(xs) // most))
        keep = list(range(0, len(xs), step))
        cuts = [self.across(xs[0])]
        cuts += [(self.across(xs[a]) + self.across(xs[b])) / 2 for a, b in pairwise(keep)]
        cuts.append(self.across(xs[-1]))
        for place, k in enumerate(keep):
            self.svg.raw(
                f'<rect class="mark band" x="{pc(cuts[place])}" y="{px(_TOP)}" '
                f'width="{pc(max(cuts[place + 1] - cuts[place], 0.0))}" '
                f'height="{px(self.plot)}"{tip(words[k])}/>'
            )

    def markup(self) -> Safe:
        """Close the chart and return it."""
        return self.svg.markup()

    def _points(self, xs: Sequence[float], ys: Sequence[float]) -> str:
        return " ".join(
            f"{px(1000 * self.x.at(x))},{px(1000 * min(max(1 - self.y.at(y), -9.0), 9.0))}"
            for x, y in zip(xs, ys, strict=True)
        )

    def _inner(self, drawn: str) -> None:
        self.svg.raw(
            f'<svg x="{pc(self.left)}" y="{px(_TOP)}" width="{pc(1.0 - self.left - self.right)}" '
            f'height="{px(self.plot)}" viewBox="0 0 1000 1000" preserveAspectRatio="none">'
            f"{drawn}</svg>"
        )


def key(items: Sequence[tuple[str, str, str]]) -> Safe:
    """Write a legend: shape (``line`` or ``area``), class and words of each entry."""
    drawn = []
    for shape, kind, words in items:
        mark = (
            f'<line x1="0" x2="28" y1="7" y2="7" class="{kind}"/>'
            if shape == "line"
            else f'<g class="{kind}"><rect width="28" height="14" class="tint {kind}"/></g>'
        )
        drawn.append(
            '<li><svg class="curve plane" width="28" height="14" aria-hidden="true">'
            f"{mark}</svg> {esc(words)}</li>"
        )
    return Safe(f'<ul class="legend">{"".join(drawn)}</ul>')


def thinned(count: int, most: int = 24) -> list[int]:
    """Return rows of a long series for the table beside a chart: first and last among them."""
    step = max(1, -(-count // most))
    return sorted({*range(0, count, step), count - 1}) if count else []
