"""Rule-sets as tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from crossmargin.margin import Ruleset


def print_ruleset_list(console: Console, rules: Sequence[Ruleset]) -> None:
    """Print the catalogue: id, venue, title, date, completeness."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("id", "venue", "title", "in force from", "without a source"):
        table.add_column(name, no_wrap=name == "id")
    for r in rules:
        gaps = ", ".join(g.partition(":")[0] for g in r.gaps) or "complete"
        table.add_row(r.id, r.data.venue, r.data.title, r.data.effective_from, gaps)
    console.print(table)


def print_ruleset(console: Console, rules: Ruleset) -> None:
    """Print one rule-set: stages, parameters with their confidence, sources, limits."""
    data = rules.data
    console.print(Text(f"{data.id}  {data.title}", "bold"))
    console.print(
        f"{data.venue}, in force from {data.effective_from}, hash {rules.content_hash[:16]}"
    )
    console.print(
        f"pots by {data.pools.by}, numeraire {data.numeraire}; "
        + (f"groups {data.groups}; " if data.groups else "")
        + f"open orders: {data.orders.method} ({data.orders.confidence})"
    )
    for step, text in data.combine.steps.items():
        console.print(f"  {step} = {text}")
    console.print(f"  IM = {data.combine.im}")
    console.print(f"  MM = {data.combine.mm}")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="components", title_justify="left")
    for name in ("name", "kind", "parameters", "source", "confidence", "note"):
        table.add_column(name, overflow="fold")
    for component in data.components:
        plain = msgspec.to_builtins(component)
        rest = {
            k: v
            for k, v in plain.items()
            if k not in ("name", "kind", "source", "confidence", "note")
        }
        table.add_row(
            component.name,
            plain["kind"],
            _lines(rest),
            component.source,
            component.confidence,
            component.note,
        )
    console.print(table)
    if data.scenarios is not None:
        _print_scenarios(console, rules)
    collateral = Table(
        box=box.SIMPLE_HEAD, pad_edge=False, title="collateral", title_justify="left"
    )
    for name in ("asset", "haircut", "stressed side"):
        collateral.add_column(name)
    for asset, rule in data.collateral.assets.items():
        collateral.add_row(asset, f"{rule.haircut * 100:g} %", rule.stress)
    if data.collateral.assets:
        console.print(collateral)
    sources = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="sources", title_justify="left")
    for name in ("key", "title", "date", "confidence"):
        sources.add_column(name, overflow="fold")
    for key, source in data.sources.items():
        sources.add_row(key, source.title, source.date, source.confidence)
    console.print(sources)
    for gap in rules.gaps:
        console.print(Text(f"• without a source: {gap}", "yellow"))
    for limit in data.limits:
        console.print(Text(f"• {limit}", "dim"))


def _lines(value: object) -> str:
    if not isinstance(value, dict):
        return str(value)
    return "\n".join(f"{k}: {v}" for k, v in value.items() if v not in ({}, None))


def _print_scenarios(console: Console, rules: Ruleset) -> None:
    spec = rules.data.scenarios
    assert spec is not None
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="scenarios", title_justify="left")
    for name in ("moves", "of", "volatility", "weight", "tail"):
        table.add_column(name, overflow="fold")
    for block in spec.blocks:
        table.add_row(
            ", ".join(f"{m * 100:+g} %" for m in block.moves),
            "price range" if block.unit == "range" else "price",
            ", ".join(block.vols),
            str(block.weight),
            "yes" if block.extended else "no",
        )
    console.print(table)
    sizes = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("underlying", "price range", "vol up", "vol down", "floor up", "powers"):
        sizes.add_column(name)
    for name, s in spec.underlyings.items():
        sizes.add_row(
            name,
            f"{s.price_range * 100:g} %",
            f"+{s.vol_up * 100:g} %",
            f"−{s.vol_down * 100:g} %",
            f"{s.vol_floor_up * 100:g} % vol" if s.vol_floor_up else "none",
            f"{s.short_power:g} / {s.long_power:g}",
        )
    console.print(sizes)
