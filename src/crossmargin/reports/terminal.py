"""Statements as tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from crossmargin.analytics import ComparisonRow, ExpiryCliff
from crossmargin.margin import Statement
from crossmargin.margin.statement_types import LiquidationLine, SideLine
from crossmargin.reports import _terminal
from crossmargin.reports._text import off_the_lines

make_console = _terminal.make_console

STATE_STYLE = {
    "healthy": "bold green",
    "reduce-only": "bold yellow",
    "liquidation": "bold red",
    "bankrupt": "bold white on red",
}


def usd(value: float | None, digits: int = 2) -> str:
    """Write US dollars with separators; a dash for nothing."""
    if value is None:
        return "–"
    text = f"{value:,.{digits}f}"
    return f"{0:,.{digits}f}" if float(text.replace(",", "")) == 0 else text


def ratio(value: float | None, digits: int = 1, *, sign: bool = False) -> str:
    """Write a share as a percentage, with a plus where a sign is asked for; a dash for nothing."""
    if value is None:
        return "–"
    text = f"{value * 100:{'+' if sign else ''}.{digits}f}"
    return f"{0:.{digits}f} %" if float(text) == 0 else f"{text} %"


def amount(value: float) -> str:
    """Write a quantity with the digits it needs, at most eight."""
    text = f"{value:,.8f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def health(value: float | None) -> str:
    """Write equity / MM, never 1.00 below the line; words where nothing is required."""
    if value is None:
        return "nothing required"
    return f"{off_the_lines(value):,.2f}"


def table_of(*columns: str, left: int = 1, title: str | None = None) -> Table:
    """Return an empty table in the house's form; the first `left` columns are text."""
    table = _terminal.HouseTable(title=title)
    for place, name in enumerate(columns):
        table.add_column(name, justify="left" if place < left else "right", no_wrap=place == 0)
    return table


def side_text(side: SideLine, *, up: bool) -> str:
    """Say where the account is liquidated on one side."""
    if side.distance is None and side.unknown_beyond is not None:
        return f"not known beyond {side.unknown_beyond * 100:+.1f} %"
    if side.distance is None:
        return "none up to 20× the price" if up else "none down to 1 % of the price"
    where = "" if side.price_usd is None else f"{usd(side.price_usd)} USD  "
    return f"{where}({side.distance * 100:+.2f} %)"


def _header(made: Statement) -> RenderableType:
    state = made.totals.state
    title = Text.assemble((made.account, "bold"), "  ")
    if made.description:
        title.append(made.description, "dim")
    lines = [
        title,
        Text.assemble("rule-set  ", (made.ruleset.id, "bold"), f"  {made.ruleset.title}"),
        Text(
            f"market    {made.as_of}" + (f", valued at {made.at}" if made.at != made.as_of else "")
        ),
        Text.assemble(
            "state     ",
            (state, STATE_STYLE[state]),
            f"  (venue: {made.totals.venue_state})" if made.totals.venue_state else "",
        ),
    ]
    if made.protect is not None and made.protect.active:
        lines.append(
            Text.assemble(
                ("PROTECT MODE", "bold white on red"),
                f"  prices are not trusted (see the notes); by the numbers alone: "
                f"{made.protect.state_by_numbers}",
            )
        )
    return Panel(Group(*lines), box=box.ROUNDED, expand=False, padding=(0, 1))


def _totals(made: Statement) -> RenderableType:
    t = made.totals
    table = table_of("account, USD", "", left=1)
    for name, value in (
        ("balances at market", usd(t.balances)),
        ("haircut", usd(-t.haircut)),
        *([("haircut, maintenance", usd(-t.haircut_mm))] if t.haircut_mm else []),
        ("unrealised profit", usd(t.unrealised)),
        ("option value", usd(t.option_value)),
        ("equity", usd(t.equity)),
        *([("equity after haircut", usd(t.equity_im))] if t.equity_im != t.equity else []),
        ("initial margin (IM)", usd(t.im)),
        ("maintenance margin (MM)", usd(t.mm)),
        ("available (equity − IM)", usd(t.available)),
        (_health_label(made), health(t.health)),
    ):
        table.add_row(name, value)
    return table


def _waterfall(made: Statement) -> RenderableType:
    table = table_of("why, USD", "", "", left=1)
    top = max((abs(s.usd) for s in made.waterfall), default=0.0) or 1.0
    running = 0.0
    for step in made.waterfall:
        start = 0.0 if step.kind == "total" else running
        end = step.usd if step.kind == "total" else running + step.usd
        running = end
        low, high = sorted((start, end))
        pad, size = round(low / top * 28), max(1, round((high - low) / top * 28))
        mark = "█" if step.kind == "total" else ("▒" if step.usd > 0 else "░")
        table.add_row(step.label, usd(step.usd), Text(" " * max(pad, 0) + mark * size))
    table.columns[2].justify = "left"
    if made.totals.saving is None:
        return table
    words = (
        f" alone its parts would need {usd(made.totals.standalone_im)} USD; pooling saves "
        f"{ratio(made.totals.saving)}"
    )
    return Group(table, Text(words, "dim"), Text(""))


def _positions(made: Statement) -> RenderableType:
    table = table_of(
        "position",
        "quantity",
        "mark",
        "value + P&L, USD",
        "delta, coin",
        "alone IM, USD",
        "share of IM, USD",
    )
    for line in sorted(made.positions, key=lambda p: -p.share_im_usd):
        note = " (expired)" if line.settled else ""
        leg = "" if line.leg == "net" else f" {line.leg}"
        mark = f"{line.mark_price:,.6f}" if line.mark_price < 10 else f"{line.mark_price:,.2f}"
        table.add_row(
            line.instrument + leg + note,
            f"{amount(line.quantity)} {line.unit}",
            f"{mark} {line.mark_unit}",
            usd(line.value_usd + line.unrealised_usd),
            f"{line.delta:,.4f}",
            usd(line.standalone_im_usd),
            usd(line.share_im_usd),
        )
    for balance in made.balances:
        if balance.stress != "none":
            table.add_row(
                f"balance {balance.asset}",
                f"{amount(balance.amount)} {balance.asset}",
                "",
                usd(balance.value_usd),
                f"{balance.amount:,.4f}",
                "",
                usd(balance.share_im_usd),
            )
    for name, value in (
        ("debt and fixed charges", made.share_fixed_usd),
        ("jumps (brackets)", made.share_jumps_usd),
        ("open orders", made.orders.im_usd if made.orders else 0.0),
    ):
        if value:
            table.add_row(name, "", "", "", "", "", usd(value))
    return table


def _balances(made: Statement) -> RenderableType:
    # Where maintenance has haircuts too they get a column of their own.
    both = any(line.haircut_mm for line in made.balances)
    titles = ["amount", "price, USD", "value, USD", "haircut"]
    table = table_of("balance", *titles, *(["at MM"] if both else []), "collateral, USD")
    for line in made.balances:
        table.add_row(
            line.asset + (f" at {line.location}" if line.location else ""),
            amount(line.amount) + (f" ({line.status})" if line.status else ""),
            f"{line.price_usd:,.4f}",
            usd(line.value_usd),
            ratio(line.haircut),
            *([ratio(line.haircut_mm)] if both else []),
            usd(line.collateral_usd),
        )
    return table


def _groups(made: Statement) -> RenderableType:
    table = table_of(
        "group",
        "binding scenario",
        "IM, USD",
        "MM, USD",
        "delta, coin",
        "gamma per 1 %",
        "vega, USD/pt",
        "theta, USD/day",
        left=2,
    )
    for line in made.groups:
        table.add_row(
            f"{line.group} in {line.pot}",
            line.binding or "–",
            usd(line.im_usd),
            usd(line.mm_usd),
            f"{line.delta:,.4f}",
            f"{line.gamma:,.4f}",
            usd(line.vega_usd),
            usd(line.theta_usd),
        )
    return table


def _components(made: Statement) -> RenderableType:
    table = table_of("component", "group", "IM, USD", "MM, USD", "source", left=2)
    table.columns[4].justify = "left"
    for line in made.components:
        table.add_row(
            line.name.replace("_", " "),
            f"{line.group} in {line.pot}",
            usd(line.im_usd) if line.factor_im is None else f"factor {line.factor_im:.6g}",
            usd(line.mm_usd) if line.factor_mm is None else f"factor {line.factor_mm:.6g}",
            f"{line.source} ({line.confidence})",
        )
    return table


def _pots(made: Statement) -> RenderableType:
    table = table_of("pot", "equity", "IM", "MM", "available", "health", "state")
    for pot in made.pots:
        digits = 2 if pot.numeraire_usd < 10 else 6
        table.add_row(
            pot.name,
            *(
                f"{usd(v, digits)} {pot.numeraire}"
                for v in (pot.equity_mm, pot.im, pot.mm, pot.available)
            ),
            health(pot.health),
            Text.assemble(
                (pot.state, STATE_STYLE[pot.state]),
                f" ({pot.venue_state})" if pot.venue_state else "",
            ),
        )
    return table


def liquidation_table(lines: Sequence[LiquidationLine]) -> RenderableType:
    """Tabulate liquidation prices: both sides, "none" said plainly."""
    table = table_of(
        "liquidation, all else unmoved", "price now, USD", "if it falls", "if it rises"
    )
    for line in lines:
        name = "all together" if line.underlying == "*" else line.underlying
        if line.breached and line.down.distance is None and line.up.distance is None:
            table.add_row(name, usd(line.price_usd), "already below MM", "already below MM")
            continue
        table.add_row(
            name,
            usd(line.price_usd),
            side_text(line.down, up=False),
            side_text(line.up, up=True),
        )
    below = sorted({pot for line in lines for pot in line.breached_pots})
    if below and len(below) < 20:
        table.caption = "already below MM: " + ", ".join(below)
        table.caption_justify = "left"
    return table


def print_statement(console: Console, made: Statement) -> None:
    """Print one statement: totals, why, positions, groups, components, liquidation, notes."""
    console.print(_header(made))
    console.print(_totals(made))
    console.print(_waterfall(made))
    if made.balances:
        console.print(_balances(made))
    if made.positions:
        console.print(_positions(made))
        console.print(_groups(made))
        console.print(_components(made))
    if len(made.pots) > 1 or any(pot.numeraire != "USD" for pot in made.pots):
        console.print(_pots(made))
    if made.liquidation:
        console.print(liquidation_table(made.liquidation))
    for note in made.notes:
        console.print(Text("• " + note, "dim"), soft_wrap=False)


def print_cliff(console: Console, cliff: ExpiryCliff) -> None:
    """Print the expiry cliff."""
    table = table_of(f"expiry cliff of {cliff.underlying} at {cliff.expiry}", "", title=None)
    table.add_row("legs that will be gone", ", ".join(cliff.legs))
    table.add_row("IM now, USD", usd(cliff.im_before))
    table.add_row("IM once they are gone, price unmoved, USD", usd(cliff.im_after_unmoved))
    table.add_row(
        "largest IM over settlement prices, USD",
        f"{usd(cliff.im_after_worst)} at {usd(cliff.worst_price_usd)}",
    )
    console.print(table)


def print_comparison(console: Console, account: str, rows: Sequence[ComparisonRow]) -> None:
    """Print one account under several rule-sets: saving and tail cost as a pair."""
    table = table_of(
        "rule-set",
        "IM, USD",
        "MM, USD",
        "equity, USD",
        "health",
        "saving",
        "tail cost, USD",
        "liq. down",
        "liq. up",
        "state",
        title=f"{account} under {len(rows)} rule-sets",
    )
    refused = []
    for row in rows:
        made, tail = row.statement, row.tail
        if made is None or tail is None:
            refused.append((row.ruleset, row.error or ""))
            continue
        t = made.totals
        nearest = next((x for x in made.liquidation if x.underlying != "*"), None)
        down = up = "none"
        if nearest is not None and nearest.breached:
            down = up = "breached"
        elif nearest is not None:
            down = ratio(nearest.down.distance) if nearest.down.distance is not None else "none"
            up = ratio(nearest.up.distance) if nearest.up.distance is not None else "none"
        mark = "" if made.ruleset.complete_here else " *"
        table.add_row(
            row.ruleset + mark,
            usd(t.im),
            usd(t.mm),
            usd(t.equity),
            health(t.health),
            ratio(t.saving),
            usd(tail.rise),
            down,
            up,
            Text(t.state, STATE_STYLE[t.state]),
        )
    console.print(table)
    tail = next((r.tail for r in rows if r.tail is not None), None)
    if tail is not None:
        vols = ", ".join(f"{name} {vol * 100:.0f} %" for name, vol in tail.vol.items())
        console.print(
            Text(
                "health: equity / MM of the weakest pot. saving: 1 − IM / Σ standalone IM. "
                f"tail cost: CVaR "
                f"{tail.confidence * 100:.0f} % of the loss over {tail.horizon_days:g} day, "
                "pooled less separate pots; "
                f"{tail.scenarios:,} Student-t scenarios, vol {vols}, correlation "
                f"{tail.correlation:g}, seed {tail.seed}. liq.: first underlying, all else "
                "unmoved. * something that touches this account has no source.",
                "dim",
            )
        )
    print_refusals(console, refused, "its")


#: A rule-set that was made for other contracts; nothing about the account is wrong.
NOT_COVERED = "RUL-014"


def print_refusals(console: Console, refused: Sequence[tuple[str, str]], whose: str) -> None:
    """Print why rule-sets refuse: in one line those that trade other contracts, then the rest.

    Parameters
    ----------
    console : Console
        Where to print.
    refused : sequence of (str, str)
        Rule-set and error.
    whose : str
        Whose contracts: ``its`` or ``their``.
    """
    other = [name for name, error in refused if error.startswith(NOT_COVERED)]
    if other:
        console.print(
            Text(f"rule-sets that do not cover {whose} contracts: {', '.join(other)}", "dim")
        )
    for name, error in refused:
        if name not in other:
            console.print(Text(f"{name}: {error}", "yellow"))


def _health_label(made: Statement) -> str:
    if len(made.pots) > 1:
        return "health (weakest pot; 1.0 is the line)"
    return "health (equity / MM, 1.0 is the line)"
