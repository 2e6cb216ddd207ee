"""A small SVG writer for charts that keep their type size at every width.

Across the page a chart is laid out in percentages, down the page in pixels. A chart so written
fills whatever width it is given, on a phone, a screen or paper, without a script and without
scaling its text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from crossmargin.reports._text import Safe, esc


def pc(share: float) -> str:
    """Write a share of the width, 0 to 1, as a percentage."""
    return f"{share * 100.0:.3f}".rstrip("0").rstrip(".") + "%"


def px(value: float) -> str:
    """Write a length in pixels, to a hundredth."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def attributes(pairs: dict[str, str]) -> str:
    """Write attributes, escaped; ``cls`` becomes ``class`` and ``_`` a hyphen."""
    return "".join(
        f' {"class" if name == "cls" else name.replace("_", "-")}="{esc(value)}"'
        for name, value in pairs.items()
        if value
    )


def tip(text: str) -> str:
    """Write the attribute that carries what a pointer or an arrow key shows."""
    return attributes({"data_tip": text})


class Svg:
    """Parts of one chart, written in order.

    Parameters
    ----------
    name : str
        Class of the chart.
    height : float
        Pixels.
    summary : str
        What the picture says, for those who do not see it.
    """

    def __init__(self, name: str, height: float, summary: str) -> None:
        self.height = height
        self._parts = [
            f'<svg role="img" tabindex="0" width="100%" height="{px(height)}"'
            + attributes({"cls": f"chart {name}", "aria_label": summary})
            + ">"
        ]

    def rect(self, x: float, y: float, width: float, height: float, **more: str) -> None:
        """Draw a rectangle; `x` and `width` are shares of the chart's width."""
        self._parts.append(
            f'<rect x="{pc(x)}" y="{px(y)}" width="{pc(max(width, 0.0))}" '
            f'height="{px(height)}"{attributes(more)}/>'
        )

    def line(self, x1: float, y1: float, x2: float, y2: float, **more: str) -> None:
        """Draw a line; `x1` and `x2` are shares of the chart's width."""
        self._parts.append(
            f'<line x1="{pc(x1)}" y1="{px(y1)}" x2="{pc(x2)}" y2="{px(y2)}"{attributes(more)}/>'
        )

    def circle(self, x: float, y: float, radius: float, **more: str) -> None:
        """Draw a circle; `x` is a share of the chart's width."""
        self._parts.append(
            f'<circle cx="{pc(x)}" cy="{px(y)}" r="{px(radius)}"{attributes(more)}/>'
        )

    def text(self, x: float, y: float, text: str, **more: str) -> None:
        """Write text; `anchor` is start (default), middle or end."""
        anchor = more.pop("anchor", "")
        self._parts.append(
            f'<text x="{pc(x)}" y="{px(y)}"{attributes({"text_anchor": anchor, **more})}>'
            f"{esc(text)}</text>"
        )

    def raw(self, markup: str) -> None:
        """Add markup that is SVG already."""
        self._parts.append(markup)

    def markup(self) -> Safe:
        """Close the chart and return it."""
        return Safe("".join([*self._parts, "</svg>"]))


def tidy_ticks(low: float, high: float, count: int) -> list[float]:
    """Return about `count` round values between `low` and `high`.

    Steps are 1, 2, 2.5 or 5 times a power of ten; zero, where inside, is one of them.
    """
    span = high - low
    if not span > 0 or not math.isfinite(span):
        return [low]
    rough = span / max(count, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next((f * power for f in (1.0, 2.0, 2.5, 5.0) if f * power >= rough), 10.0 * power)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [k * step for k in range(first, last + 1)]


def span(values: Sequence[float]) -> tuple[float, float]:
    """Return the extent of `values` with zero in it, never empty."""
    low, high = min(0.0, *values, 0.0), max(0.0, *values, 0.0)
    return (low, high) if high > low else (0.0, 1.0)
