"""A venue's day as a page: price, states, forced closing, the fund, and one account's life."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from crossmargin.liquidation.day import Tick
from crossmargin.reports._sections import heading
from crossmargin.reports._svg import Svg, pc, px, tidy_ticks, tip
from crossmargin.reports._table import Column, table
from crossmargin.reports._text import Safe, amount, esc, join
from crossmargin.reports.html import page
from crossmargin.units import format_time

_PLOT, _TOP, _FOOT, _LEFT = 200.0, 18.0, 26.0, 0.09

#: States from the best, and how each is drawn.
_STATES = ("healthy", "warning", "reduce-only", "liquidating", "bankrupt")


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """One account over the day: equity, IM and MM at each mark, in units of the asset.

    Attributes
    ----------
    account : str
        Whose.
    equity, im, mm : sequence of float
        One at each tick.
    events : mapping of int to str
        What happened at a tick, by its number.
    """

    account: str
    equity: Sequence[float]
    im: Sequence[float]
    mm: Sequence[float]
    events: Mapping[int, str]


def render_day(
    title: str,
    facts: Sequence[str],
    ticks: Sequence[Tick],
    prices: Mapping[str, Sequence[float]],
    life: Life,
    *,
    unit: int,
    asset: str,
    version: str,
) -> str:
    """Write the page.

    Parameters
    ----------
    title : str
        Of the day.
    facts : sequence of str
        Lines under the title.
    ticks : sequence of Tick
        One or more.
    prices : mapping of str to sequence of float
        By instrument, one at each tick.
    life : Life
        One account.
    unit : int
        Quanta of one unit of the asset.
    asset : str
        Settlement asset.
    version : str
        Of this package, for the footer.
    """
    times = [format_time(t.time_ns) for t in ticks]
    shares = {name: [100.0 * (x / xs[0] - 1.0) for x in xs] for name, xs in prices.items()}
    below = {
        state: [float(t.states.get(state, 0)) for t in ticks]
        for state in _STATES[1:]
        if any(t.states.get(state) for t in ticks)
    }
    charts = [
        ("Prices, % from the first mark", _lines(times, shares, "%")),
        ("Accounts that are not healthy, by state", _lines(times, below, "accounts")),
        (
            f"Closed by force at each mark, {asset}",
            _lines(times, {"closed": [t.closed for t in ticks]}, asset),
        ),
        (
            f"Insurance fund, {asset}",
            _lines(times, {"fund": [t.fund / unit for t in ticks]}, asset),
        ),
        (
            f"One account's life: {life.account}, {asset}",
            _lines(
                times,
                {"equity": life.equity, "initial margin": life.im, "maintenance": life.mm},
                asset,
                life.events,
            ),
        ),
    ]
    body = [heading("A venue's day", title, facts), _totals(ticks, unit, asset)]
    for number, (name, chart) in enumerate(charts):
        body.append(
            Safe(
                f'<section aria-labelledby="c{number}"><h2 id="c{number}">{esc(name)}</h2>'
                f'<div class="card">{chart}</div></section>'
            )
        )
    return page(title, body, version=version, skip=("#totals", "Skip to the totals"))


def _totals(ticks: Sequence[Tick], unit: int, asset: str) -> Safe:
    rows = [
        ["accounts", f"{sum(ticks[-1].states.values()):,}"],
        ["margin calls", f"{sum(t.calls for t in ticks):,}"],
        ["times an account was found below its line", f"{sum(len(t.breached) for t in ticks):,}"],
        [f"closed by force, {asset}", amount(sum(t.closed for t in ticks))],
        ["positions taken over", f"{sum(t.taken_over for t in ticks):,}"],
        [f"paid by the fund, {asset}", amount(sum(t.fund_paid for t in ticks) / unit)],
        ["contract quanta closed against holders", f"{sum(t.deleveraged for t in ticks):,}"],
        [f"loss shared out, {asset}", amount(sum(t.shared for t in ticks) / unit)],
        ["events posted", f"{sum(t.events for t in ticks):,}"],
    ]
    shown = table("The day in figures", [Column("what", text=True), Column("figure")], rows)
    return Safe(f'<section aria-labelledby="totals"><h2 id="totals">Totals</h2>{shown}</section>')


def _lines(
    times: Sequence[str],
    series: Mapping[str, Sequence[float]],
    unit: str,
    events: Mapping[int, str] | None = None,
) -> Safe:
    """Draw lines over the ticks, with the events that are given as flags."""
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
        svg.text(_LEFT - 0.008, y(tick) + 4, amount(tick).removesuffix(".00"), anchor="end",
                 cls="tick")  # fmt: skip
    for k in range(0, len(times), max(1, len(times) // 8)):
        svg.text(x(k), _TOP + _PLOT + 18, times[k][11:16], anchor="middle", cls="tick")
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


def _legend(names: Sequence[str]) -> Safe:
    items = "".join(
        f'<li><svg class="curve day" width="28" height="14" aria-hidden="true">'
        f'<line x1="0" x2="28" y1="7" y2="7" class="s{k % 5}"/></svg> {esc(name)}</li>'
        for k, name in enumerate(names)
    )
    return Safe(f'<ul class="legend">{items}</ul>')
