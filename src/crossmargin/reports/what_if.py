"""What if: tables for the terminal, and a page with the change and the margin path."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from crossmargin.analytics import ComponentChange, MarginPath, OrderOfLegs, WhatIfAnswer
from crossmargin.margin import Crossing, LiquidationPrice
from crossmargin.margin.statement_types import Step
from crossmargin.reports._sections import heading
from crossmargin.reports._svg import Svg, pc, px, tidy_ticks, tip
from crossmargin.reports._table import Column, figure, table
from crossmargin.reports._text import DASH, Safe, amount, count, esc, join, quantity, short, usd
from crossmargin.reports._text import health as health_text
from crossmargin.reports._waterfall import waterfall_chart
from crossmargin.reports.explain import signed
from crossmargin.reports.html import page
from crossmargin.reports.terminal import amount as amount_text
from crossmargin.reports.terminal import health, table_of
from crossmargin.reports.terminal import usd as usd_text

_TOP, _PLOT, _FOOT, _LEFT = 18.0, 240.0, 28.0, 0.09


def print_what_if(
    console: Console,
    title: str,
    made: WhatIfAnswer,
    before: Sequence[LiquidationPrice] = (),
    after: Sequence[LiquidationPrice] = (),
) -> None:
    """Print the trades, both sides, every component's change and what moves in the groups."""
    console.print(Text(title, "bold"))
    fills = table_of("trade", "quantity", "price", "paid (−) or received", "held before", "after")
    for fill in made.fills:
        fills.add_row(
            fill.instrument + ("" if fill.leg == "net" else f" {fill.leg}"),
            f"{fill.quantity:+,g}",
            f"{fill.price:,.10g}",
            f"{amount_text(fill.cash)} {fill.settlement}",
            amount_text(fill.before),
            amount_text(fill.after),
        )
    console.print(fills)
    sides = table_of("account, USD", "before", "after", "change")
    a, b = made.before, made.after
    for name, x, y in (
        ("equity (initial level)", a.equity_im_usd, b.equity_im_usd),
        ("initial margin (IM)", a.im_usd, b.im_usd),
        ("maintenance margin (MM)", a.mm_usd, b.mm_usd),
        ("available (equity − IM)", a.available_usd, b.available_usd),
    ):
        sides.add_row(name, usd_text(x), usd_text(y), signed(y - x))
    sides.add_row("health (equity / MM)", health(a.health), health(b.health), "")
    sides.add_row("state", a.state, b.state, "" if a.state == b.state else "changes")
    console.print(sides)
    console.print(_component_table(made.components))
    groups = table_of("group", "IM before", "after", "binding after", "delta", "gamma/1 %",
                      "vega/pt, USD", "theta/day, USD")  # fmt: skip
    for g in made.groups:
        groups.add_row(
            f"{g.pot} {g.group}",
            usd_text(g.im_usd[0]),
            usd_text(g.im_usd[1]),
            g.binding[1] or "–",
            *(_moved(pair) for pair in (g.delta, g.gamma, g.vega_usd, g.theta_usd)),
        )
    console.print(groups)
    if before or after:
        _print_liquidation(console, before, after)
    console.print(Text(made.sentence, "bold"))


def _moved(pair: tuple[float, float]) -> str:
    return f"{_short(pair[0])} → {_short(pair[1])}"


def _short(value: float) -> str:
    text = f"{value:,.4g}" if abs(value) < 1_000 else f"{value:,.0f}"
    return "0" if text == "-0" else text


def _component_table(rows: Sequence[ComponentChange]) -> object:
    lines = table_of("component, USD", "IM before", "after", "change", "MM change")
    for row in rows:
        name = f"{row.pot} {row.group} {row.name}".replace("_", " ")
        if row.factor_im_before is not None or row.factor_im_after is not None:
            lines.add_row(f"{name} (factor)", _factor(row.factor_im_before),
                          _factor(row.factor_im_after), "", "")  # fmt: skip
            continue
        lines.add_row(
            name,
            usd_text(row.im_before_usd),
            usd_text(row.im_after_usd),
            signed(row.im_change_usd),
            signed(row.mm_change_usd),
        )
    return lines


def _factor(value: float | None) -> str:
    return "–" if value is None else f"× {value:.6g}"


def _print_liquidation(
    console: Console, before: Sequence[LiquidationPrice], after: Sequence[LiquidationPrice]
) -> None:
    lines = table_of("liquidation price, USD", "down: before", "after", "up: before", "after")
    old = {line.underlying: line for line in before}
    for line in after:
        if line.underlying == "*":
            continue
        was = old.get(line.underlying)
        sides = [None if was is None else was.down, line.down]
        sides += [None if was is None else was.up, line.up]
        cells = [_crossing(side) for side in sides]
        lines.add_row(line.underlying, *cells)
    console.print(lines)


def _crossing(side: Crossing | None) -> str:
    if side is None:
        return "–"
    if side.price_usd is not None:
        return usd_text(side.price_usd)
    return "none" if side.unknown_beyond is None else "not known"


def path_words(made: MarginPath) -> str:
    """Say what the order of legs is worth."""
    what = "initial margin" if made.measure == "im" else "shortfall of initial margin"
    first = f"peak {what} {usd_text(made.given.peak_usd)} USD in the order given"
    gain = made.given.peak_usd - made.best.peak_usd
    if gain <= 0.005:
        second = "no order has a lower one" if made.exact else "no lower one was found"
    else:
        second = f"{usd_text(made.best.peak_usd)} USD in the best order, {usd_text(gain)} USD less"
        if not made.exact:
            second += f" (not proved: no order is below {usd_text(made.lower_bound_usd)} USD)"
    third = "" if made.worst_usd is None else f"; the worst order needs {usd_text(made.worst_usd)}"
    return f"{first}; {second}{third}; {made.evaluated:,} sets of legs evaluated"


def print_path(console: Console, made: MarginPath) -> None:
    """Print both orders leg by leg."""
    for title, one in (("in the order given", made.given), ("in the best order", made.best)):
        if one is made.best and made.best.order == made.given.order:
            continue
        lines = table_of(f"margin path {title}, USD", "IM", "MM", "equity", "available", "")
        for place, step in enumerate(one.steps):
            lines.add_row(
                step.name,
                usd_text(step.im_usd),
                usd_text(step.mm_usd),
                usd_text(step.equity_im_usd),
                usd_text(step.available_usd),
                "← peak" if place == one.peak_at else "",
            )
        console.print(lines)
    console.print(Text(path_words(made), "bold"))


def render_what_if(
    title: str, facts: Sequence[str], made: WhatIfAnswer, path: MarginPath | None, *, version: str
) -> str:
    """Write the answer as a page.

    Parameters
    ----------
    title : str
        Whose question.
    facts : sequence of str
        Lines under the title.
    made : WhatIfAnswer
        The answer.
    path : MarginPath or None
        The margin path, where it was asked for.
    version : str
        Of this package, for the footer.
    """
    body = [
        heading("What if", title, facts),
        f'<section id="answer"><h2>{esc(_capital(made.sentence))}</h2>{_tiles(made)}</section>',
        '<section id="change"><h2>Why the initial margin changes</h2><div class="cards">'
        + figure(
            "From the margin before to the margin after",
            "Each component of each group; what the expression takes or gives has its own bar.",
            waterfall_chart(bridge_steps(made)),
            wide=True,
        )
        + "</div></section>",
        f'<section id="trades"><h2>Trades</h2>{_fill_table(made)}</section>',
        f'<section id="groups"><h2>Groups</h2>{_group_table(made)}</section>',
    ]
    if path is not None:
        body.insert(
            3,
            '<section id="path"><h2>Margin path</h2><div class="cards">'
            + figure(
                "After each leg", _capital(path_words(path)) + ".", path_chart(path), wide=True
            )
            + "</div></section>",
        )
    return page(title, body, version=version, skip=("#answer", "Skip to the answer"))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _tiles(made: WhatIfAnswer) -> Safe:
    a, b = made.before, made.after
    tiles = [
        ("Initial margin", usd(b.im_usd), f"was {usd(a.im_usd)}"),
        ("Available", usd(b.available_usd), f"was {usd(a.available_usd)}"),
        (
            "Health (equity / maintenance margin)",
            health_text(b.health),
            f"was {health_text(a.health)}; {b.state}; maintenance margin {usd(b.mm_usd)}, was "
            f"{usd(a.mm_usd)}",
        ),
    ]
    return Safe(
        '<dl class="tiles">'
        + "".join(
            f'<div class="tile"><dt>{esc(name)}</dt><dd>{esc(value)}</dd>'
            f'<dd class="sub">{esc(was)}</dd></div>'
            for name, value, was in tiles
        )
        + "</dl>"
    )


def bridge_steps(made: WhatIfAnswer) -> list[Step]:
    """Return the bridge from IM before to IM after; what no component explains is named."""
    steps = [Step(label="initial margin before", kind="total", usd=made.before.im_usd)]
    running = made.before.im_usd
    for row in made.components:
        step = row.im_change_usd
        if abs(step) > 0.005:
            label = f"{row.name} {row.group if row.group != '*' else ''}".replace("_", " ").strip()
            steps.append(Step(label=label, kind="change", usd=step))
            running += step
    rest = made.after.im_usd - running
    if abs(rest) > 0.005:
        steps.append(Step(label="combination and credit", kind="change", usd=rest))
    return [*steps, Step(label="initial margin after", kind="total", usd=made.after.im_usd)]


def _fill_table(made: WhatIfAnswer) -> Safe:
    rows = [
        [
            fill.instrument,
            quantity(fill.quantity),
            f"{fill.price:,.10g}",
            f"{quantity(fill.cash)} {fill.settlement}",
            quantity(fill.before),
            quantity(fill.after),
        ]
        for fill in made.fills
    ]
    heads = ("quantity", "price", "paid (−) or received", "held before", "held after")
    return table("Trades as booked", [Column("instrument", text=True), *map(Column, heads)], rows)


def _group_table(made: WhatIfAnswer) -> Safe:
    rows = [
        [
            f"{g.pot} {g.group}",
            amount(g.im_usd[0]),
            amount(g.im_usd[1]),
            g.binding[0] or DASH,
            g.binding[1] or DASH,
            *(_moved(pair) for pair in (g.delta, g.gamma, g.vega_usd, g.theta_usd)),
        ]
        for g in made.groups
    ]
    columns = [
        Column("group", text=True),
        Column("IM before, USD"),
        Column("IM after, USD"),
        Column("binding before", text=True),
        Column("binding after", text=True),
        *map(Column, ("delta, coins", "gamma per 1 %", "vega per point, USD", "theta a day, USD")),
    ]
    return table("Groups before and after", columns, rows)


def path_chart(made: MarginPath) -> Safe:
    """Draw initial margin after each leg, in the order given and in the best one."""
    both = [("given", made.given, "s1"), ("best", made.best, "s0")]
    if made.best.order == made.given.order:
        both = both[1:]
    values = [step.im_usd for _, one, _ in both for step in one.steps]
    high = max(*values, 1e-9) * 1.08
    last = len(made.legs)

    def x(k: float) -> float:
        return _LEFT + (1.0 - _LEFT) * k / (last + 1)

    def y(value: float) -> float:
        return _TOP + _PLOT * (high - value) / high

    svg = Svg("curve day", _TOP + _PLOT + _FOOT, f"Margin path: {path_words(made)}.")
    for tick in tidy_ticks(0.0, high, 5):
        svg.line(_LEFT, y(tick), 1.0, y(tick), cls="grid")
        svg.text(_LEFT - 0.008, y(tick) + 4, short(tick), anchor="end", cls="tick")
    for k in range(last + 1):
        text = "now" if k == 0 else str(k)
        svg.text(x(k + 0.5), _TOP + _PLOT + 18, text, anchor="middle", cls="tick")
    for _, one, style in both:
        _draw_steps(svg, one, style, x, y)
    twin = table(
        "Margin path, US dollars",
        [Column("order", text=True), Column("legs done"), Column("leg", text=True), Column("IM")],
        [
            [name, str(k), step.name, amount(step.im_usd)]
            for name, one, _ in both
            for k, step in enumerate(one.steps)
        ],
        hidden=True,
    )
    return join([_legend(both), svg.markup(), _orders(both), twin])


def _draw_steps(svg: Svg, one: OrderOfLegs, style: str, x: object, y: object) -> None:
    assert callable(x) and callable(y)
    steps = one.steps
    for k, step in enumerate(steps):
        here = y(step.im_usd)
        svg.raw(f"<g{tip(f'{k} legs done: {step.name}' + chr(10) + usd(step.im_usd))}>")
        svg.raw(
            f'<line x1="{pc(x(k))}" y1="{px(here)}" x2="{pc(x(k + 1))}" y2="{px(here)}" '
            f'class="{style}"/>'
        )
        if k == one.peak_at:
            svg.circle(x(k + 0.5), here, 5, cls="liq")
        svg.raw("</g>")
        if k + 1 < len(steps):
            svg.raw(
                f'<line x1="{pc(x(k + 1))}" y1="{px(here)}" x2="{pc(x(k + 1))}" '
                f'y2="{px(y(steps[k + 1].im_usd))}" class="{style}"/>'
            )


def _legend(both: Sequence[tuple[str, OrderOfLegs, str]]) -> Safe:
    items = "".join(
        f'<li><svg class="curve day" width="28" height="14" aria-hidden="true">'
        f'<line x1="0" x2="28" y1="7" y2="7" class="{style}"/></svg> {name} order, peak '
        f"{esc(usd(one.peak_usd))}</li>"
        for name, one, style in both
    )
    dot = (
        '<li><svg class="curve day" width="14" height="14" aria-hidden="true">'
        '<circle cx="7" cy="7" r="5" class="liq"/></svg> the peak</li>'
    )
    return Safe(f'<ul class="legend">{items}{dot}</ul>')


def _orders(both: Sequence[tuple[str, OrderOfLegs, str]]) -> Safe:
    lists = "".join(
        f"<div><h4>{name.capitalize()} order, {count(len(one.order), 'leg')}</h4><ol>"
        + "".join(f"<li>{esc(step.name)}: {esc(usd(step.im_usd))}</li>" for step in one.steps[1:])
        + "</ol></div>"
        for name, one, _ in both
    )
    return Safe(f'<div class="pair">{lists}</div>')
