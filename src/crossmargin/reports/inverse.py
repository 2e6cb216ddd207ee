"""Limits, order checks and state changes as tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from crossmargin.margin import (
    OrderCheck,
    SizeLimit,
    StateChanges,
    TopUp,
    WithdrawalLimit,
)
from crossmargin.reports.terminal import amount, ratio, table_of, usd

#: What a question was about, and why it has no answer.
Refusal = tuple[str, str]


def print_limits(
    console: Console,
    title: str,
    orders: Sequence[SizeLimit],
    withdrawals: Sequence[WithdrawalLimit],
    top_ups: Sequence[TopUp],
    refused: Sequence[Refusal],
) -> None:
    """Print the largest orders, the largest withdrawals and the top-ups of one account."""
    console.print(Text(title, "bold"))
    if orders:
        _print_orders(console, orders)
    if withdrawals:
        _print_withdrawals(console, withdrawals)
    short = [line for line in top_ups if line.amount != 0]
    if short:
        _print_top_ups(console, short)
    elif top_ups:
        console.print(Text("no top-up is needed", "dim"))
    for what, why in refused:
        console.print(Text(f"{what}: {why}", "yellow"))


def _print_orders(console: Console, orders: Sequence[SizeLimit]) -> None:
    table = table_of("largest order", "side", "quantity", "price", "notional, USD", "then", left=2)
    table.columns[5].justify = "left"
    for line in orders:
        size = f"{'≥ ' if line.unbounded else ''}{amount(line.quantity)}"
        table.add_row(
            line.instrument,
            line.side,
            size if line.quantity else "none",
            "mark" if line.price is None else f"{line.price:,.8g}",
            usd(line.notional_usd),
            line.reason,
        )
    console.print(table)
    for line in orders:
        if line.unknown_beyond is not None:
            console.print(Text(f"{line.instrument} {line.side}: {line.unknown_beyond}", "dim"))


def _print_withdrawals(console: Console, lines: Sequence[WithdrawalLimit]) -> None:
    table = table_of(
        "largest withdrawal",
        "amount",
        "of",
        "value, USD",
        "counted, USD",
        "excess left, USD",
        "then",
    )
    table.columns[6].justify = "left"
    for line in lines:
        table.add_row(
            f"{line.asset} from {line.pool}",
            f"{amount(line.amount)} {line.asset}",
            amount(line.balance),
            usd(line.value_usd),
            usd(line.counted_usd),
            usd(line.excess_usd),
            line.reason,
        )
    console.print(table)


def _print_top_ups(console: Console, lines: Sequence[TopUp]) -> None:
    table = table_of(
        "top-up needed",
        "to reach",
        "amount",
        "value, USD",
        "counted, USD",
        "short now, USD",
        left=2,
    )
    for line in lines:
        words = "none helps" if line.amount is None else f"{amount(line.amount)} {line.asset}"
        table.add_row(
            f"{line.asset} into {line.pot}",
            {"im": "initial margin", "mm": "maintenance margin"}.get(line.target, line.target),
            words,
            usd(line.value_usd),
            usd(line.counted_usd),
            usd(line.short_usd),
        )
    console.print(table)


def print_checks(console: Console, title: str, checks: Sequence[OrderCheck]) -> None:
    """Print what became of each order, and why."""
    console.print(Text(title, "bold"))
    table = table_of(
        "order",
        "answer",
        "IM now, USD",
        "IM after worst fills, USD",
        "equity, USD",
        "least excess after, USD",
        left=2,
    )
    for line in checks:
        style = "bold green" if line.accepted else "bold red"
        table.add_row(
            line.order,
            Text("accepted" if line.accepted else "refused", style),
            usd(line.im_before_usd),
            usd(line.im_after_usd),
            usd(line.equity_usd),
            usd(line.excess_usd),
        )
    console.print(table)
    for line in checks:
        console.print(f"{line.order}: {line.reason}.", soft_wrap=False)


_LINES = {"im": "IM: reduce-only", "mm": "MM: liquidation", "bankruptcy": "equity 0: bankrupt"}


def print_changes(console: Console, title: str, paths: Sequence[StateChanges]) -> None:
    """Print where states change, path by path."""
    console.print(Text(title, "bold"))
    table = table_of("what moves", "line", "way", "price, USD", "move", "pot", left=3)
    table.columns[5].justify = "left"
    for path in paths:
        name = "all together" if path.path == "*" else path.path
        for change in path.changes:
            points = path.kind == "vol absolute"
            move = f"{change.at * 100:+.2f} points" if points else ratio(change.at - 1.0, 2)
            table.add_row(
                name,
                _LINES.get(change.line, change.line),
                "falls below" if change.falls else "recovers",
                usd(change.price_usd),
                move,
                change.pot,
            )
        if not path.changes:
            table.add_row(name, "none crossed", "", "", "", "")
    console.print(table)
    for path in paths:
        console.print(Text(_range(path), "dim"))


def _range(path: StateChanges) -> str:
    name = "all together" if path.path == "*" else path.path
    low = path.low if path.unknown_below is None else path.unknown_below
    high = path.high if path.unknown_above is None else path.unknown_above
    shown = ", ".join(
        f"{x:+.4g}" if path.kind == "vol absolute" else f"{x:.4g}×" for x in (low, high)
    )
    words = f"{name}: looked at from {shown.replace(', ', ' to ')}"
    if path.unknown_below is not None or path.unknown_above is not None:
        words += ", where the rule-set's figures end"
    if path.below_now:
        words += f"; below already: {', '.join(path.below_now)}"
    return words
