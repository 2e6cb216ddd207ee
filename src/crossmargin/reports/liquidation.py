"""A liquidation's trail as tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from crossmargin.reports.terminal import amount, ratio, table_of, usd

#: How it ended, in words.
_ENDS = {
    "healthy": "above its line again",
    "liquidating": "still below its line when the looks ended",
    "auction": "in an auction",
    "taken-over": "taken over",
    "closed": "closed, and equity does not cover what is owed",
}


def print_liquidation(console: Console, made: Mapping[str, Any]) -> None:
    """Print the trail of one account."""
    console.print(
        Text(f"{made['account']} under {made['ruleset']}, liquidated by {made['rules']}", "bold")
    )
    if not made["steps"]:
        held = made["ended"] == "healthy"
        said = "above its line: nothing is done" if held else _ENDS[made["ended"]]
        console.print(f"equity {usd(made['equity_usd'])}, MM {usd(made['mm_usd'])} USD; {said}")
        return
    table = table_of(
        "after", "action", "leg", "units", "price", "cost, USD", "equity, USD", "MM, USD",
        "health", left=3,
    )  # fmt: skip
    for step in made["steps"]:
        table.add_row(
            _after(step["after_s"]),
            step["action"],
            step["leg"] or "",
            amount(step["units"]) if step["units"] else "",
            "" if step["price"] is None else f"{step['price']:,.8g}",
            usd(step["cost_usd"]) if step["cost_usd"] else "",
            usd(step["equity_usd"]),
            usd(step["mm_usd"]),
            _health(step["equity_usd"], step["mm_usd"]),
        )
    console.print(table)
    rules = table_of("step", "rule", "why", left=3)
    for line in dict.fromkeys((s["action"], s["rule"], s["reason"]) for s in made["steps"]):
        rules.add_row(*line)
    console.print(rules)
    legs = table_of("instrument", "held", "left", "closed")
    for leg in made["legs"]:
        share = ratio(leg["closed_share"], 2) if leg["closed_share"] else "kept"
        legs.add_row(leg["instrument"], amount(leg["held"]), amount(leg["left"]), share)
    console.print(legs)
    console.print(
        f"{_ENDS[made['ended']]}; {len(made['steps'])} steps in {made['looks']:,} "
        f"look{'' if made['looks'] == 1 else 's'}, "
        f"{usd(made['cost_usd'])} USD of costs; equity {usd(made['equity_usd'])}, "
        f"MM {usd(made['mm_usd'])} USD"
    )


def print_book_liquidation(console: Console, made: Mapping[str, Any], *, shown: int) -> None:
    """Print how a book was liquidated: totals, then the worst accounts."""
    moved = ", ".join(f"{coin} {ratio(share, sign=True)}" for coin, share in made["moves"].items())
    console.print(
        Text(f"{made['book']} under {made['ruleset']}, liquidated by {made['rules']}", "bold")
    )
    totals = table_of("of the book", "", left=1)
    totals.add_row("accounts", f"{made['accounts']:,}")
    totals.add_row("margined", f"{made['margined']:,}")
    if moved:
        totals.add_row("market moved", moved)
    totals.add_row("below their line", f"{made['below_line']:,}")
    for state, count in made["ended"].items():
        totals.add_row(f"  {_ENDS[state]}", f"{count:,}")
    for name, words in (
        ("notional_usd", "their notional, USD"),
        ("closed_usd", "closed in the market, USD"),
        ("taken_over_usd", "taken over, USD"),
        ("cost_usd", "fees and slippage, USD"),
        ("deficit_usd", f"lacking in {made['deficits']:,} accounts, USD"),
    ):
        totals.add_row(words, usd(made[name]))
    for code, count in made["failures"].items():
        totals.add_row(f"not looked at ({code})", f"{count:,}")
    console.print(totals)
    if made["first_failure"]:
        console.print(Text(f"the first that was not looked at: {made['first_failure']}"))
    if not made["worst"]:
        return
    table = table_of(
        "account", "ended", "notional", "closed", "taken over", "cost", "equity before",
        "MM before", "equity", "lacking", left=2,
    )  # fmt: skip
    for row in made["worst"][:shown]:
        figures = (
            "notional_usd", "closed_usd", "taken_over_usd", "cost_usd", "equity_before_usd",
            "mm_before_usd", "equity_usd", "deficit_usd",
        )  # fmt: skip
        table.add_row(row["account"], row["ended"], *(usd(row[name]) for name in figures))
    console.print(table)
    more = made["below_line"] - min(shown, len(made["worst"]))
    console.print(f"US dollars{f'; {more:,} more below their line' if more > 0 else ''}")


def _after(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60.0)
    return f"{minutes:.0f} min {rest:04.1f} s" if minutes else f"{rest:.1f} s"


def _health(equity: float, mm: float) -> str:
    return "" if mm <= 0 else f"{equity / mm:.3f}"


def print_rules(console: Console, rows: Sequence[Any]) -> None:
    """Print the liquidation rules that are known."""
    table = table_of("rules", "venue", "what they do", left=3)
    for row in rows:
        table.add_row(row.id, row.venue, row.title)
    console.print(table)
