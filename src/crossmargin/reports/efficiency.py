"""What each position costs in margin, ratios by name and the release list, for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from crossmargin.analytics import NamedRatio, PositionMargin, Release, TailCost
from crossmargin.reports.terminal import amount, ratio, table_of, usd


def print_efficiency(
    console: Console,
    title: str,
    saving: float | None,
    tail: TailCost,
    rows: Sequence[PositionMargin],
    ratios: Sequence[NamedRatio],
    listed: Sequence[Release],
) -> None:
    """Print the pair of saving and tail cost, positions, ratios and the release list."""
    console.print(Text(title, "bold"))
    earned = any(row.pnl_usd is not None for row in rows)
    heads = ["position", "held", "notional", "alone", "marginal", "allocated", "released"]
    lines = table_of(*heads, *(["earned", "on marginal"] if earned else []))
    for row in sorted(rows, key=lambda r: -r.marginal_usd):
        cells = [
            row.instrument + ("" if row.leg == "net" else f" {row.leg}"),
            amount(row.quantity),
            usd(row.notional_usd, 0),
            usd(row.standalone_usd),
            usd(row.marginal_usd),
            usd(row.allocated_usd),
            usd(row.released_usd),
        ]
        if earned:
            cells += [usd(row.pnl_usd), ratio(row.return_on_marginal)]
        lines.add_row(*cells)
    console.print(lines)
    named = table_of("ratio", "value", "unit", "formula")
    for one in ratios:
        named.add_row(one.name, _value(one), one.unit, one.formula)
    console.print(named)
    first = table_of("close, in this order", "held", "releases", "together")
    for step in listed:
        first.add_row(
            step.instrument, amount(step.quantity), usd(step.released_usd), usd(step.together_usd)
        )
    console.print(first if listed else Text("closing any position releases nothing"))
    console.print(
        Text(
            f"pooling saves {ratio(saving)} of the margin and puts {usd(tail.rise)} USD more at "
            f"stake in the tail (CVaR {100 * tail.confidence:g} % over {tail.horizon_days:g} day: "
            f"{usd(tail.cvar_pooled)} pooled, {usd(tail.cvar_separate)} in separate pots)",
            "bold",
        )
    )
    console.print(
        Text(
            "amounts in US dollars; allocated margins add up to IM with those of coin balances, "
            "the others do not; released: rise of equity − IM when closed at the mark, no cost",
            "dim",
        )
    )


def _value(one: NamedRatio) -> str:
    if one.value is None:
        return "–"
    if one.unit == "share":
        return ratio(one.value, 2)
    return usd(one.value) if one.unit.startswith("USD") else f"{one.value:,.3f}"
