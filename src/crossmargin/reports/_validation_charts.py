"""Pictures of a validation: margin against losses with breaches, and answers to a step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from crossmargin.reports._svg import Svg, pc, px, tidy_ticks, tip
from crossmargin.reports._text import Safe, amount, esc, join, percent, usd
from crossmargin.validation import BookTest, Crash, Impulse

_TOP, _PLOT, _FOOT, _LEFT = 18.0, 210.0, 26.0, 0.09
#: Columns into which days are drawn; of each the worst loss and the lowest margin are shown.
_BINS = 420


def breach_chart(one: BookTest, crashes: Sequence[Crash]) -> Safe:
    """Draw the margin as a line, losses as bars below it, breaches as dots, crises as bands."""
    n = one.hits.size
    share = one.book.gross_usd
    margin, loss = one.margin / share, np.maximum(one.loss, 0.0) / share
    high = float(max(margin.max(), loss.max(), 1e-9)) * 1.05

    def x(k: float) -> float:
        return _LEFT + (1.0 - _LEFT) * k / max(n - 1, 1)

    def y(value: float) -> float:
        return _TOP + _PLOT * (1.0 - value / high)

    svg = Svg(
        "curve day trial",
        _TOP + _PLOT + _FOOT,
        f"{one.book.name}: margin and losses over {n:,} days, {one.breaches} breaches.",
    )
    _bands(svg, one.days, crashes, x)
    for tick in tidy_ticks(0.0, high, 5):
        svg.line(_LEFT, y(tick), 1.0, y(tick), cls="grid")
        svg.text(_LEFT - 0.008, y(tick) + 4, percent(tick), anchor="end", cls="tick")
    _years(svg, one.days, x)
    edges = np.unique(np.linspace(0, n, min(_BINS, n) + 1).astype(int))
    spans = list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))
    bars, line = [], []
    for a, b in spans:
        at = 1000.0 * x(0.5 * (a + b - 1))
        worst = float(loss[a:b].max())
        if worst > 0:
            bars.append(f"M{at:.1f} {y(0.0):.1f}V{y(worst):.1f}")
        line.append(f"{at:.1f} {y(float(margin[a:b].min())):.1f}")
    svg.raw(
        f'<svg x="0" y="0" width="100%" height="{px(_TOP + _PLOT)}" '
        f'viewBox="0 0 1000 {px(_TOP + _PLOT)}" preserveAspectRatio="none">'
        f'<path d="{"".join(bars)}" class="lossbars"/>'
        f'<path d="M{"L".join(line)}" class="held"/></svg>'
    )
    for k in np.flatnonzero(one.hits).tolist():
        words = f"{one.days[k]}\nloss {usd(float(one.loss[k]))}\nmargin {usd(float(one.margin[k]))}"
        svg.raw(f"<g{tip(words)}>")
        svg.circle(x(k), y(float(loss[k])), 4, cls="liq")
        svg.raw("</g>")
    return svg.markup()


def breach_legend() -> Safe:
    """Say what the lines of :func:`breach_chart` are."""
    return Safe(
        '<ul class="legend">'
        '<li><svg class="curve trial" width="28" height="14" aria-hidden="true">'
        '<path d="M0 7H28" class="held"/></svg> margin held (lowest of the days it stands for)</li>'
        '<li><svg class="curve trial" width="28" height="14" aria-hidden="true">'
        '<path d="M6 14V4M14 14V8M22 14V2" class="lossbars"/></svg> loss over the horizon</li>'
        '<li><svg class="curve day" width="14" height="14" aria-hidden="true">'
        '<circle cx="7" cy="7" r="5" class="liq"/></svg> breach</li>'
        '<li><svg class="curve trial" width="28" height="14" aria-hidden="true">'
        '<rect x="0" y="0" width="28" height="14" class="crisis"/></svg> crisis</li></ul>'
    )


def _bands(svg: Svg, days: Sequence[str], crashes: Sequence[Crash], x: object) -> None:
    place = x
    assert callable(place)
    last = -1.0
    for crash in crashes:
        rows = [k for k, day in enumerate(days) if crash.since <= day <= crash.until]
        if rows:
            left = float(place(rows[0]))
            width = max(float(place(rows[-1])) - left, 0.004)
            svg.raw(f"<g{tip(f'{crash.name}: {crash.since} to {crash.until}')}>")
            svg.rect(left, _TOP, width, _PLOT, cls="crisis")
            svg.raw("</g>")
            # A name beside its band, unless it would run over the one before.
            if left - last > 0.11:
                anchor = "end" if left > 0.93 else "middle"
                svg.text(left + 0.5 * width, _TOP - 5, crash.name, anchor=anchor, cls="tick when")
                last = left


def _years(svg: Svg, days: Sequence[str], x: object) -> None:
    place = x
    assert callable(place)
    last = -1.0
    for k, day in enumerate(days):
        if k and day[:4] != days[k - 1][:4]:
            at = float(place(k))
            if at - last > 0.06:
                svg.text(at, _TOP + _PLOT + 18, day[:4], anchor="middle", cls="tick")
                last = at


def impulse_chart(impulses: Sequence[Impulse], days: int = 400) -> Safe:
    """Draw each margin relative to its start, from 60 days before the step on."""
    shown = impulses[:5]
    lines: list[tuple[str, NDArray[np.float64], NDArray[np.float64]]] = []
    for one in shown:
        at = np.array(one.days, dtype=np.float64)
        keep = (at >= -60) & (at <= days) & np.isfinite(one.margin)
        lines.append((one.name, at[keep], one.margin[keep] / one.start))
    high = max((float(v.max()) for _, _, v in lines if v.size), default=1.0) * 1.05
    low = min(0.0, *(float(v.min()) for _, _, v in lines if v.size), 0.0)

    def x(day: float) -> float:
        return _LEFT + (1.0 - _LEFT) * (day + 60.0) / (days + 60.0)

    def y(value: float) -> float:
        return _TOP + _PLOT * (high - value) / (high - low)

    said = ", ".join(f"{one.name} overshoots by {percent(one.overshoot)}" for one in shown)
    svg = Svg("curve day trial", _TOP + _PLOT + _FOOT, f"Answer to a step in volatility: {said}.")
    for tick in tidy_ticks(low, high, 5):
        svg.line(_LEFT, y(tick), 1.0, y(tick), cls="grid")
        svg.text(_LEFT - 0.008, y(tick) + 4, f"{tick:g}×", anchor="end", cls="tick")
    for day in range(-50, days + 1, 50):
        svg.text(x(day), _TOP + _PLOT + 18, f"{day:g}", anchor="middle", cls="tick")
    svg.line(x(0.5), _TOP, x(0.5), _TOP + _PLOT, cls="at")
    paths = []
    for number, (_, at, values) in enumerate(lines):
        points = "L".join(
            f"{1000.0 * x(float(d)):.1f} {y(float(v)):.1f}" for d, v in zip(at, values, strict=True)
        )
        if points:
            paths.append(f'<path d="M{points}" class="line s{number}"/>')
    svg.raw(
        f'<svg x="0" y="0" width="100%" height="{px(_TOP + _PLOT)}" '
        f'viewBox="0 0 1000 {px(_TOP + _PLOT)}" preserveAspectRatio="none">{"".join(paths)}</svg>'
    )
    items = "".join(
        f'<li><svg class="curve day" width="28" height="14" aria-hidden="true">'
        f'<line x1="0" x2="28" y1="7" y2="7" class="s{k}"/></svg> {esc(one.name)}</li>'
        for k, one in enumerate(shown)
    )
    return join([Safe(f'<ul class="legend">{items}</ul>'), svg.markup()])


def coverage_chart(tests: Sequence[BookTest], level: float) -> Safe:
    """Draw each book's rate of breaches against the one that the level allows."""
    rates = [one.rate for one in tests]
    high = max([*rates, 2.0 * (1.0 - level)]) * 1.08
    row, left = 22.0, 0.24

    def x(rate: float) -> float:
        return left + (0.98 - left) * rate / high

    height = 20.0 + row * len(tests) + 26.0
    said = f"Rates of breaches of {len(tests)} books; {percent(1.0 - level)} is allowed."
    svg = Svg("curve day trial", height, said)
    for tick in tidy_ticks(0.0, high, 6):
        svg.line(x(tick), 14, x(tick), height - 26.0, cls="grid")
        svg.text(x(tick), height - 8.0, percent(tick, 2), anchor="middle", cls="tick")
    for k, one in enumerate(tests):
        middle = 20.0 + row * (k + 0.5)
        bad = one.upper.p_value < 0.05
        words = (
            f"{one.book.name}\n{one.breaches} breaches in {one.hits.size:,}\n"
            f"worst loss {amount(one.worst)} × the margin"
        )
        svg.text(left - 0.01, middle + 4, one.book.name, anchor="end", cls="lbl")
        svg.raw(f"<g{tip(words)}>")
        svg.rect(left, middle - 6, max(x(one.rate) - left, 0.002), 12,
                 cls="many" if bad else "few")  # fmt: skip
        svg.raw("</g>")
    svg.raw(
        f'<line x1="{pc(x(1.0 - level))}" x2="{pc(x(1.0 - level))}" y1="12" '
        f'y2="{px(height - 26.0)}" class="at"/>'
    )
    return svg.markup()
