"""Why the margin changed: tables for the terminal, and a page with the bridge."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from crossmargin.analytics import CAUSES, Explained
from crossmargin.margin.statement_types import Step
from crossmargin.reports._sections import heading
from crossmargin.reports._table import Column, figure, table
from crossmargin.reports._text import Safe, amount, esc, moment, percent, price, quantity
from crossmargin.reports._waterfall import waterfall_chart
from crossmargin.reports.html import page
from crossmargin.reports.terminal import amount as amount_text
from crossmargin.reports.terminal import ratio, table_of
from crossmargin.reports.terminal import usd as usd_text


def signed(value: float) -> str:
    """Write US dollars with their sign; what is nothing has none."""
    text = f"{value:+,.2f}"
    return "0.00" if text in ("+0.00", "-0.00") else text


def headline(made: Explained) -> str:
    """Say what the change is and what did most."""
    step = made.im_now_usd - made.im_then_usd
    first = (
        "initial margin is what it was"
        if abs(step) < 0.005
        else f"initial margin {'rose' if step > 0 else 'fell'} by {abs(step):,.2f} USD"
    )
    most = max(made.parts, key=lambda part: abs(part.im_usd))
    if abs(most.im_usd) < 0.005:
        return first
    return f"{first}; most of all by {most.cause} ({signed(most.im_usd)} USD)"


def print_explained(console: Console, title: str, made: Explained) -> None:
    """Print the causes, each component by cause, and what changed."""
    console.print(Text(title, "bold"))
    rules = made.ruleset_now
    if made.ruleset_then != rules:
        rules = f"{made.ruleset_then}, now {rules}"
    console.print(Text(f"rule-set {rules}; {made.then} to {made.now} ({made.days:.2f} days)"))
    lines = table_of("cause, USD", "IM", "MM", "equity", "IM: alone", "IM: last")
    lines.add_row("then", *(usd_text(x) for x in (
        made.im_then_usd, made.mm_then_usd, made.equity_then_usd)), "", "")  # fmt: skip
    for part in made.parts:
        lines.add_row(
            part.cause,
            *(
                signed(x)
                for x in (
                    part.im_usd,
                    part.mm_usd,
                    part.equity_im_usd,
                    part.alone_im_usd,
                    part.last_im_usd,
                )
            ),
        )
    lines.add_row("now", *(usd_text(x) for x in (
        made.im_now_usd, made.mm_now_usd, made.equity_now_usd)), "", "")  # fmt: skip
    console.print(lines)
    by = table_of("component IM, USD", "then", *CAUSES, "now")
    for row in made.components:
        name = f"{row.pot} {row.group} {row.name}".replace("_", " ").removeprefix("* * ")
        by.add_row(
            name,
            usd_text(row.then_usd, 0),
            *(_whole(row.by_cause_usd[cause]) for cause in CAUSES),
            usd_text(row.now_usd, 0),
        )
    console.print(by)
    if made.positions:
        traded = table_of("position", "then", "now", "change")
        for move in made.positions:
            traded.add_row(
                move.instrument,
                amount_text(move.then),
                amount_text(move.now),
                f"{move.now - move.then:+,.8g}",
            )
        console.print(traded)
    if made.prices:
        console.print(Text("prices, USD: " + "; ".join(
            f"{p.asset} {p.then_usd:,.6g} → {p.now_usd:,.6g} "
            f"({ratio(p.now_usd / p.then_usd - 1.0, 2)})"
            for p in made.prices
        )))  # fmt: skip
    changed = [p for p in made.parameters if not p.text]
    for one in changed[:12]:
        console.print(Text(f"parameter {one.path}: {one.before} → {one.after}"))
    if len(changed) > 12:
        console.print(Text(f"and {len(changed) - 12} more parameters (crossmargin diff)"))
    for note in made.filled:
        console.print(Text(f"filled in: {note}", "dim"))
    console.print(Text(headline(made), "bold"))
    console.print(
        Text(
            f"Shapley value over {made.revaluations} revaluations; residual "
            f"{made.residual_usd:.1e} USD. Alone: had only this changed; last: once all else has.",
            "dim",
        )
    )


def _whole(value: float) -> str:
    text = f"{value:+,.0f}"
    return "0" if text in ("+0", "-0") else text


def bridge(made: Explained) -> list[Step]:
    """Return the bridge from the margin then to the margin now."""
    return [
        Step(label=f"initial margin then ({made.then[:16]}Z)", kind="total", usd=made.im_then_usd),
        *(Step(label=part.cause, kind="change", usd=part.im_usd) for part in made.parts),
        Step(label=f"initial margin now ({made.now[:16]}Z)", kind="total", usd=made.im_now_usd),
    ]


def render_explained(title: str, made: Explained, *, version: str) -> str:
    """Write the explanation as a page.

    Parameters
    ----------
    title : str
        Whose margin.
    made : Explained
        The explanation.
    version : str
        Of this package, for the footer.
    """
    rules = made.ruleset_now
    if made.ruleset_then != rules:
        rules = f"{made.ruleset_then}, now {rules}"
    facts = [
        f"Rule-set {rules}",
        f"{moment(made.then)} to {moment(made.now)}, {made.days:.2f} days",
    ]
    first = headline(made)
    body = [
        heading("Explain", title, facts),
        f'<section id="bridge"><h2>{esc(first[:1].upper() + first[1:])}</h2><div class="cards">'
        + figure(
            "From the margin then to the margin now",
            f"Shapley value over {made.revaluations} revaluations: what each cause adds, averaged "
            "over all orders in which they could have changed. The bars add up to the change.",
            waterfall_chart(bridge(made)),
            wide=True,
        )
        + "</div></section>",
        f'<section id="causes"><h2>Causes</h2>{_causes(made)}'
        '<p class="small">Alone: the change of initial margin had only this changed. Last: what it '
        "adds once all else has. Far apart, a cause works together with another.</p></section>",
        f'<section id="components"><h2>Components by cause</h2>{_components(made)}</section>',
        f'<section id="changed"><h2>What changed</h2>{_changes(made)}</section>',
    ]
    return page(title, body, version=version, skip=("#bridge", "Skip to the bridge"))


def _causes(made: Explained) -> Safe:
    rows = [
        [part.cause]
        + [
            amount(x, sign=True)
            for x in (
                part.im_usd,
                part.mm_usd,
                part.equity_im_usd,
                part.alone_im_usd,
                part.last_im_usd,
            )
        ]
        for part in made.parts
    ]
    ends = (
        (made.im_then_usd, made.im_now_usd),
        (made.mm_then_usd, made.mm_now_usd),
        (made.equity_then_usd, made.equity_now_usd),
    )
    total = ["change", *(amount(now - then, sign=True) for then, now in ends), "", ""]
    heads = ("IM, USD", "MM, USD", "equity, USD", "IM alone, USD", "IM last, USD")
    return table(
        "Change by cause", [Column("cause", text=True), *map(Column, heads)], rows, total=total
    )


def _components(made: Explained) -> Safe:
    rows = [
        [
            f"{row.pot} {row.group} {row.name}".replace("_", " ").removeprefix("* * "),
            amount(row.then_usd),
            *(amount(row.by_cause_usd[cause], sign=True) for cause in CAUSES),
            amount(row.now_usd),
        ]
        for row in made.components
    ]
    columns = [Column("component", text=True), Column("then"), *map(Column, CAUSES), Column("now")]
    return table("Components of the initial margin by cause, US dollars", columns, rows)


def _changes(made: Explained) -> Safe:
    parts = []
    if made.positions:
        parts.append(
            table(
                "Positions",
                [Column("position", text=True), *map(Column, ("then", "now", "change"))],
                [
                    [m.instrument, quantity(m.then), quantity(m.now), quantity(m.now - m.then)]
                    for m in made.positions
                ],
            )
        )
    if made.prices:
        parts.append(
            table(
                "Prices, US dollars",
                [Column("asset", text=True), *map(Column, ("then", "now", "change"))],
                [
                    [
                        p.asset,
                        price(p.then_usd),
                        price(p.now_usd),
                        percent(p.now_usd / p.then_usd - 1.0, 2, sign=True),
                    ]
                    for p in made.prices
                ],
            )
        )
    changed = [p for p in made.parameters if not p.text]
    if changed:
        parts.append(
            table(
                "Parameters",
                [Column("parameter", text=True), Column("then"), Column("now")],
                [[p.path, str(p.before), str(p.after)] for p in changed],
            )
        )
    parts += [Safe(f'<p class="small">{esc(note)}</p>') for note in made.filled]
    return Safe("".join(parts) or "<p>Nothing but time.</p>")
