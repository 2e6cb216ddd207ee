"""The source panel as tables for the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from crossmargin.market.index import IndexPrice, SourceReading
from crossmargin.market.panel import AssetRow, PricePanel
from crossmargin.reports.terminal import table_of, usd
from crossmargin.units import format_time

TRUST_STYLE = {"trusted": "bold green", "degraded": "bold yellow", "untrusted": "bold red"}

_PARTS = {
    "used": "used",
    "stale": "stale",
    "outlier": "cut: outlier",
    "unsure": "cut: unsure",
    "not-needed": "not needed",
}
_METHODS = {
    "median": "median of the fresh sources",
    "with-secondary": "median with secondary sources",
    "last-good": "last good index",
    "remaining": "what is left of the sources",
    "any": "median of all prints",
}


def price(value: float) -> str:
    """Write a price with the digits it needs."""
    return f"{value:,.2f}" if value >= 100 else f"{value:,.6g}"


def percent(value: float) -> str:
    """Write a small relative figure as a percentage with its sign."""
    return f"{value * 100:+.3f} %"


def print_panel(console: Console, panel: PricePanel) -> None:
    """Print every asset, its sources, the marks beside the index, and what follows."""
    title = f"prices of {format_time(panel.as_of_ns)}"
    console.print(Text(title, "bold"))
    if panel.protect:
        console.print(Text("PROTECT MODE", "bold white on red"))
    console.print(_assets(panel))
    for row in panel.assets:
        if row.index is not None:
            console.print(_sources(row, row.index))
            if row.attack is not None:
                console.print(Text(" " + _attack(row), "dim"), soft_wrap=True)
    if panel.marks:
        console.print(_marks(panel))
    console.print(_actions(panel))
    if not panel.own_policy:
        console.print(
            Text(
                "• The market states no sources and no trust policy: judged here by the house's "
                "figures; margin does not look at them.",
                "dim",
            )
        )
    for line in panel.sentences:
        console.print(Text("• " + line, "dim"))


def _assets(panel: PricePanel) -> Table:
    table = table_of("asset", "price, USD", "age, s", "confidence", "from", "state", left=1)
    for row in panel.assets:
        how = "its own price" if row.index is None else _METHODS[row.index.method]
        table.add_row(
            row.asset,
            price(row.price_usd),
            f"{row.age_s:,.0f}",
            f"{row.confidence:.2f}",
            how,
            Text(row.state, TRUST_STYLE[row.state]),
        )
    return table


def _sources(row: AssetRow, index: IndexPrice) -> Table:
    table = table_of(f"sources of {row.asset}", "price, USD", "age, s", "from index", "part")
    table.columns[4].justify = "left"
    for one in index.readings:
        table.add_row(
            one.name + (" (secondary)" if one.secondary else ""),
            price(one.price_usd),
            f"{one.age_s:,.0f}",
            percent(one.deviation),
            _part(one),
        )
    return table


def _part(one: SourceReading) -> Text:
    return Text(_PARTS[one.part], "" if one.part in ("used", "not-needed") else "bold yellow")


def _attack(row: AssetRow) -> str:
    attack = row.attack
    assert attack is not None
    goal = f"to move {row.asset} by {attack.move * 100:+g} %"
    reach = (
        f"one more lying source moves it by at most {attack.one_source_reach * 100:.3f} % unseen"
    )
    if attack.sources_needed is None:
        return f"{goal}: no choice of sources does; {reach}."
    cost = ""
    if attack.notional_usd is not None:
        cost = (
            f", cheapest {', '.join(attack.sources)} with about {usd(attack.notional_usd, 0)} USD "
            "of trades"
        )
    return f"{goal}: at least {attack.sources_needed} of the sources together{cost}; {reach}."


def _marks(panel: PricePanel) -> Table:
    table = table_of("mark", "price", "index", "basis", "how")
    table.columns[4].justify = "left"
    for row in panel.marks:
        table.add_row(
            row.instrument,
            price(row.mark),
            price(row.index),
            percent(row.basis),
            "index and smoothed basis" if row.smoothed else "stated by the market",
        )
    return table


def _actions(panel: PricePanel) -> Table:
    table = table_of("for whoever touches all of these prices", "")
    table.columns[1].justify = "left"
    acts = panel.actions
    for name, one in (
        ("new risk", acts.new_risk),
        ("reducing risk", acts.reduce),
        ("liquidation", acts.liquidate),
        ("withdrawal", acts.withdraw),
    ):
        table.add_row(name, "allowed" if one.allowed else Text("forbidden", "bold red"))
    return table
