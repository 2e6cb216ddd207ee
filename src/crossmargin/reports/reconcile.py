"""Reconciliations as tables for the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from crossmargin.analytics import MISS_CLASSES, InferredTable, LiquidationReconciliation
from crossmargin.reports.terminal import table_of


def _percent(value: float) -> str:
    return f"{value * 100:.2f} %"


def print_liquidations(console: Console, done: LiquidationReconciliation) -> None:
    """Print shares on both halves, why the rest misses, and the brackets inferred."""
    console.print(
        Text(
            f"rule-set {done.ruleset}: {done.with_price:,} liquidation prices of "
            f"{done.positions:,} positions, {done.pools:,} accounts at snapshots",
            "bold",
        )
    )
    console.print(_halves(done))
    half = done.scoring
    console.print(
        Text(
            f"scored half where the rule-set lists both coins, under its list: "
            f"{_percent(half.listed_share)} of {half.listed_cases:,}",
            "dim",
        )
    )
    within = ", ".join(f"{tol} {_percent(share)}" for tol, share in done.within.items())
    console.print(Text(f"scored half within other tolerances: {within}", "dim"))
    console.print(
        Text(
            f"no price stated and none predicted: {done.none_predicted:,} of {done.none_stated:,}",
            "dim",
        )
    )
    console.print(_misses(done))
    check = done.isolated_check
    console.print(
        Text(
            "the criterion for isolated, where the mode was recorded and the account agrees: "
            f"finds {check.isolated_found} of {check.isolated} isolated and "
            f"{check.cross_found} of {check.cross} cross positions",
            "dim",
        )
    )
    console.print(_brackets(done))
    for coin in done.tables:
        if coin.listed is not None:
            console.print(
                Text(
                    f"• {coin.coin}: the rule-set lists {coin.listed}; {coin.votes} of "
                    f"{coin.holdings} accounts agree with {coin.brackets}, "
                    f"{coin.listed_votes} with the list"
                )
            )
    if done.coins_without:
        console.print(Text("• nothing inferred for " + ", ".join(done.coins_without)))
    if done.holdings:
        own = ", ".join(f"{words} ({count})" for words, count in done.holdings.items())
        console.print(Text(f"• positions under other brackets than their coin's: {own}"))


def _halves(done: LiquidationReconciliation) -> Table:
    table = table_of(
        "within 1e-9 of the venue's price",
        "snapshots",
        "predictions",
        "listed brackets only",
        "brackets by coin",
        "and by position",
        title="predicted liquidation prices",
    )
    for name, half in (("scored half", done.scoring), ("learned half", done.learning)):
        table.add_row(
            name,
            str(half.snapshots),
            f"{half.cases:,}",
            _percent(half.listed),
            _percent(half.by_coin),
            _percent(half.share),
        )
    return table


def _misses(done: LiquidationReconciliation) -> Table:
    missed = sum(done.classes.values())
    table = table_of("reason", "count", "", title=f"why {missed:,} of {done.cases:,} miss")
    table.columns[2].justify = "left"
    for name, count in done.classes.items():
        table.add_row(name, f"{count:,}", MISS_CLASSES[name])
    return table


def _brackets(done: LiquidationReconciliation) -> Table:
    groups: dict[str, list[InferredTable]] = {}
    for found in sorted(done.tables, key=lambda t: (-len(t.max_leverage), -t.max_leverage[0])):
        groups.setdefault(found.brackets, []).append(found)
    table = table_of(
        "max leverage",
        "coins (accounts that agree / that could)",
        title="brackets inferred from the learned half",
        left=2,
    )
    for brackets, coins in groups.items():
        table.add_row(
            brackets, ", ".join(f"{one.coin} {one.votes}/{one.holdings}" for one in coins)
        )
    return table
