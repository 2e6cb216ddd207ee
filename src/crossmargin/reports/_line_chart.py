"""Lines over time, with what happened on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from crossmargin.reports._svg import Svg, pc, px, tidy_ticks, tip
from crossmargin.reports._text import Safe, amount, esc, join, short

_PLOT, _TOP, _FOOT, _LEFT = 200.0, 18.0, 26.0, 0.09


def line_chart(
    times: Sequence[str],
    series: Mapping[str, Sequence[float]],
    unit: str,
    events: Mapping[int, str] | None = None,
) -> Safe:
    """Draw lines over moments, with the events that are given as flags on the first line.

    Parameters
    ----------
    times : sequence of str
        ISO-8601, rising.
    series : mapping of str to sequence of float
        One figure at each moment, by name; at most five.
    unit : str
        Of the figures, for those who do not see the picture.
    events : mapping of int to str, optional
        What happened at a moment, by its number.
    """
    values = [v for line in series.values() for v in line] or [0.0]
    low, high = min(0.0, *values), max(0.0, *values)
    high = high if high > low else low + 1.0
    last = max(len(times) - 1, 1)

    def x(k: int) -> float:
        return _LEFT + (1.0 - _LEFT) * k / last

    def y(value: float) -> float:
        return _TOP + _PLOT * (high - value) / (high - low)

    said = ", ".join(f"{name} ends at {amount(line[-1])}" for name, line in series.items())
    svg = Svg("curve day", _TOP + _PLOT + _FOOT, f"{said or 'nothing'} {unit}.")
    for tick in tidy_ticks(low, high, 5):
        svg.line(_LEFT, y(tick), 1.0, y(tick), cls="grid")
        svg.text(_LEFT - 0.008, y(tick) + 4, short(tick), anchor="end", cls="tick")
    shown = _labels(times)
    step = max(1, -(-len(times) // 9))
    for place, k in enumerate(range(0, len(times), step)):
        side = "end" if x(k) > 0.96 and len(shown[k]) > 3 else "middle"
        # A phone has room for every third; the words decide how much each needs.
        kind = "tick thin" if len(shown[k]) > 3 and place % 3 else "tick"
        svg.text(x(k), _TOP + _PLOT + 18, shown[k], anchor=side, cls=kind)
    for number, (_, line) in enumerate(series.items()):
        for k in range(len(line) - 1):
            svg.raw(
                f'<line x1="{pc(x(k))}" y1="{px(y(line[k]))}" x2="{pc(x(k + 1))}" '
                f'y2="{px(y(line[k + 1]))}" class="s{number % 5}"/>'
            )
    for k, words in sorted((events or {}).items()):
        first = next(iter(series.values()))
        svg.raw(f"<g{tip(times[k] + chr(10) + words)}>")
        svg.circle(x(k), y(first[k]), 5, cls="liq")
        svg.raw("</g>")
    return join([_legend(list(series)), svg.markup()])


def _labels(times: Sequence[str]) -> list[str]:
    """Write moments as the time of a day, or as dates where they span several; words stay."""
    if not times or len(times[0]) < 10 or times[0][4:5] != "-":
        return list(times)
    day = times[0][:10] == times[-1][:10] or _hours(times) <= 36
    return [t[11:16] if day and len(t) > 10 else t[:10] for t in times]


def _hours(times: Sequence[str]) -> float:
    first, last = (datetime.fromisoformat(t.replace("Z", "+00:00")) for t in (times[0], times[-1]))
    return (last - first).total_seconds() / 3600.0


def _legend(names: Sequence[str]) -> Safe:
    items = "".join(
        f'<li><svg class="curve day" width="28" height="14" aria-hidden="true">'
        f'<line x1="0" x2="28" y1="7" y2="7" class="s{k % 5}"/></svg> {esc(name)}</li>'
        for k, name in enumerate(names)
    )
    return Safe(f'<ul class="legend">{items}</ul>')
