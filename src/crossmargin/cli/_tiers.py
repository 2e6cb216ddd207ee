"""The command ``tiers``: margin of one instrument against size."""

from __future__ import annotations

import sys
from typing import Annotated, Any

from cyclopts import Parameter

from crossmargin.cli import _io as io


def tiers(
    ruleset: Annotated[str, Parameter(help="Rule-set id or TOML file.")],
    instrument: Annotated[str, Parameter(help="Perpetual or future.")],
    *,
    size: Annotated[
        list[float] | None,
        Parameter(help="Show this size: USD of notional, coins under a slope. May be repeated."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        Parameter(name="--set", help="Supply a rule-set parameter: path=value. May be repeated."),
    ] = None,
    params: Annotated[str | None, Parameter(help="TOML file of supplied parameters.")] = None,
    json: Annotated[bool, Parameter(name="--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Show brackets, effective rates against size, and where one more unit costs a jump.

    Example: `crossmargin tiers isolated-whole BTC-PERPETUAL`
    """
    from crossmargin.margin import load_ruleset, tier_tables

    rules = load_ruleset(ruleset, overrides=io.parse_overrides(set_ or [], params))
    tables = tier_tables(rules, instrument, size)
    if json:
        import msgspec

        raw = msgspec.json.format(msgspec.json.encode(tables), indent=2)
        sys.stdout.write(raw.decode() + "\n")
        return
    from crossmargin.reports.terminal import make_console

    console = make_console()
    for table in tables:
        _print(console, rules.id, instrument, table)


def _print(console: Any, ruleset: str, instrument: str, table: Any) -> None:
    from crossmargin.reports._terminal import HouseTable
    from crossmargin.reports.terminal import amount, ratio, usd

    console.print(
        f"{instrument} under {ruleset}, {table.component!r}: {table.scheme} "
        f"({table.key}; {table.source}, {table.confidence})"
    )
    if table.brackets:
        rows = HouseTable(title="brackets")
        for name in ("from, USD", "IM", "MM", "IM there, USD", "effective IM", "jump in IM, USD"):
            rows.add_column(name, justify="right")
        rows.add_column("jump in MM, USD", justify="right")
        for b in table.brackets:
            rows.add_row(
                usd(b.floor_usd, 0),
                ratio(b.im, 3),
                ratio(b.mm, 3),
                usd(b.im_usd),
                ratio(b.effective_im, 3),
                usd(b.jump_im_usd),
                usd(b.jump_mm_usd),
            )
        console.print(rows)
    rows = HouseTable(title="against size")
    for name in (f"size, {table.unit}", "effective IM", "effective MM", "leverage at most"):
        rows.add_column(name, justify="right")
    for s in table.sizes:
        rows.add_row(
            amount(s.size),
            ratio(s.effective_im, 3),
            ratio(s.effective_mm, 3),
            "–" if s.leverage is None else f"{s.leverage:,.2f}×",
        )
    console.print(rows)
