"""A replay of recorded prices over a book, tick by tick, for the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from crossmargin.margin import Breaches, Ruleset
from crossmargin.market import Snapshot, Ticks
from crossmargin.reports.prices import price
from crossmargin.reports.terminal import health, table_of, usd
from crossmargin.units import format_time

#: Most coins whose price stands in a line, and ticks a bar of the histogram is wide.
_COINS, _BAR = 4, 40


def print_begin(
    console: Console,
    accounts: int,
    world: Snapshot,
    rules: Ruleset,
    ticks: Ticks,
    ignored: Mapping[str, Sequence[str]],
    prices_as: str,
    warnings: Sequence[str],
) -> None:
    """Say what is replayed over what, and what stands still."""
    span = f"{format_time(int(ticks.time_ns[0]))} to {format_time(int(ticks.time_ns[-1]))}"
    how = {
        "moves": "as moves from the market's prices",
        "levels": "as the prices themselves",
    }[prices_as]
    console.print(Text(f"{accounts:,} accounts under {rules.id}", "bold"))
    console.print(f"market     {format_time(world.moment_ns)}; volatilities and time stand still")
    coins = ", ".join(ticks.coins)
    console.print(Text(f"recording  {len(ticks):,} ticks of {coins}, {span}, {how}"))
    for why, names in ignored.items():
        if names:
            more = f" and {len(names) - 12} more" if len(names) > 12 else ""
            console.print(Text(f"{why}: {', '.join(names[:12])}{more}", "dim"))
    for warning in warnings:
        console.print(Text(f"! {warning}", "bold yellow"))


def print_start(console: Console, made: Breaches, deficit_usd: float) -> None:
    """Say how the book stands before the first tick."""
    console.print(
        f"at the start {made.below:,} {'account is' if made.below == 1 else 'accounts are'} below "
        "the liquidation line"
        + (f", lacking {usd(deficit_usd, 0)} USD to MM" if made.below else "")
        + (f"; {made.failed:,} could not be computed" if made.failed else "")
    )


def print_tick(console: Console, made: Breaches, worst: Sequence[tuple[str, float]]) -> None:
    """Say in a line what a tick did: who fell below, the weakest with their health; who is back."""
    coins = list(made.prices_usd.items())
    priced = "  ".join(f"{name} {price(value)}" for name, value in coins[:_COINS])
    priced += f"  (+{len(coins) - _COINS})" if len(coins) > _COINS else ""
    text = Text(f"{format_time(made.time_ns)}  {priced}  ")
    if made.fallen.size:
        text.append(f"{made.fallen.size:,} newly below", "bold red")
        named = ", ".join(f"{name} {_health(value)}" for name, value in worst)
        more = ", …" if made.fallen.size > len(worst) else ""
        lacking = float(made.deficits_usd.sum())
        said = f"; lacking {usd(lacking, 0)} USD" if lacking >= 0.5 else ""
        text.append(f" ({named}{more}{said})")
    if made.recovered.size:
        text.append("  " if made.fallen.size else "")
        text.append(f"{made.recovered.size:,} recovered", "green")
    text.append(f"  {made.below:,} below", "dim")
    console.print(text, soft_wrap=True)


def _health(value: float) -> str:
    return health(value) if math.isfinite(value) else "below zero"


def print_end(console: Console, kept: Mapping[str, Any]) -> None:
    """Say what the replay came to, and how fast breaches were flagged."""
    table = table_of("replay", "")
    table.add_row("ticks", f"{kept['ticks']:,}")
    table.add_row("ticks with new breaches", f"{kept['ticks_with_breaches']:,}")
    table.add_row("accounts that fell below the line", f"{kept['accounts_fallen']:,}")
    table.add_row("falls, an account counted each time", f"{kept['newly_below']:,}")
    table.add_row("recoveries", f"{kept['recovered']:,}")
    table.add_row("below at the end", f"{kept['below']:,}")
    table.add_row("below at worst", f"{kept['most_below']:,}")
    if kept["worst_time"] is not None:
        table.add_row(
            "largest MM − equity of accounts below, USD",
            f"{usd(kept['worst_deficit_usd'], 0)} at {kept['worst_time']}",
        )
    if kept["failed_at_most"]:
        table.add_row("could not be computed, at worst", f"{kept['failed_at_most']:,}")
    console.print(table)
    _print_latency(console, kept["latency"], kept["late_s"])
    if kept["results"] is not None:
        console.print(f"results written to {kept['results']}", markup=False)


def _figure(value: float) -> str:
    """Write three digits of a small figure and the whole part of a large one."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _print_latency(console: Console, found: Mapping[str, Any], late_s: float) -> None:
    if not found["ticks"]:
        return
    console.print(
        f"tick in to last breached account flagged: p50 {_figure(found['p50_ms'])} ms, "
        f"p99 {_figure(found['p99_ms'])} ms, at most {_figure(found['max_ms'])} ms"
    )
    most = max(row["ticks"] for row in found["histogram"])
    for row in found["histogram"]:
        bar = "█" * max(round(row["ticks"] / most * _BAR), 1 if row["ticks"] else 0)
        console.print(
            f" {_figure(row['from_ms']):>10} – {_figure(row['to_ms']):<10} ms "
            f"{row['ticks']:>8,}  {bar}"
        )
    if late_s > 0:
        console.print(
            Text(
                f"fell behind the pace by {_figure(late_s)} s at worst; no tick was dropped",
                "yellow",
            )
        )
