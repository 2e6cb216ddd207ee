"""A venue's day as a page: price, states, forced closing, the fund, and one account's life."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from crossmargin.liquidation.day import Tick
from crossmargin.reports._line_chart import line_chart
from crossmargin.reports._sections import heading
from crossmargin.reports._table import Column, table
from crossmargin.reports._text import Safe, amount, esc
from crossmargin.reports.html import page
from crossmargin.units import format_time

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
        ("Prices, % from the first mark", line_chart(times, shares, "%")),
        ("Accounts that are not healthy, by state", line_chart(times, below, "accounts")),
        (
            f"Closed by force at each mark, {asset}",
            line_chart(times, {"closed": [t.closed for t in ticks]}, asset),
        ),
        (
            f"Insurance fund, {asset}",
            line_chart(times, {"fund": [t.fund / unit for t in ticks]}, asset),
        ),
        (
            f"One account's life: {life.account}, {asset}",
            line_chart(
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
