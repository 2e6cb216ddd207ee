"""The demo's page for the terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.text import Text

from crossmargin.margin import Statement
from crossmargin.reports._terminal import HouseTable
from crossmargin.reports.terminal import STATE_STYLE, health, make_console, ratio, side_text, usd


def _sides(made: Statement, *, up: bool) -> str:
    lines = []
    for line in made.liquidation:
        name = "all" if line.underlying == "*" else line.underlying
        if line.breached:
            lines.append(f"{name}: already below MM")
            continue
        side = line.up if up else line.down
        lines.append(f"{name}: {side_text(side, up=up)}")
    return "\n".join(lines)


_ROWS: tuple[tuple[str, Callable[[Statement], str]], ...] = (
    ("equity", lambda s: usd(s.totals.equity)),
    ("standalone margins added up", lambda s: usd(s.totals.standalone_im)),
    ("initial margin", lambda s: usd(s.totals.im)),
    ("maintenance margin", lambda s: usd(s.totals.mm)),
    ("saving by pooling", lambda s: ratio(s.totals.saving)),
    ("health (equity / MM)", lambda s: health(s.totals.health)),
    ("binding scenario", lambda s: "\n".join(f"{g.group} {g.binding}" for g in s.groups)),
    ("liquidation if it falls", lambda s: _sides(s, up=False)),
    ("liquidation if it rises", lambda s: _sides(s, up=True)),
)


def print_demo(made: Sequence[tuple[str, Statement]]) -> None:
    """Print every account in every market: margin rises with volatility, and one account dies."""
    console = make_console()
    rules = made[0][1].ruleset
    console.print(Text(f"Rule-set {rules.id}: {rules.title}. All amounts in US dollars.", "bold"))
    for name in dict.fromkeys(one.account for _, one in made):
        pair = [(market, one) for market, one in made if one.account == name]
        table = HouseTable(title=f"{name}: {pair[0][1].description}")
        table.add_column("", no_wrap=True)
        for market, _ in pair:
            table.add_column(market, justify="right")
        for label, cell in _ROWS:
            table.add_row(label, *(cell(one) for _, one in pair))
        table.add_row(
            "state", *(Text(one.totals.state, STATE_STYLE[one.totals.state]) for _, one in pair)
        )
        console.print(table)
    for note in made[0][1].notes:
        console.print(Text("• " + note, "dim"))
    console.print(
        Text(
            "Take one apart: crossmargin margin short-vol-desk --market crash-2026-02-05 "
            "--html report.html",
            "dim",
        )
    )
