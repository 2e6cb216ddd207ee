"""Holding our numbers to those that a venue computed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

reconcile_app = App(name="reconcile", help="Hold our numbers to those that a venue computed.")


@reconcile_app.command(name="hyperliquid")
def reconcile_hyperliquid(
    file: Annotated[str, Parameter(help="Recorded positions (Parquet).")],
    *,
    ruleset: Annotated[
        str, Parameter(help="Rule-set of marginal brackets: id or TOML file.")
    ] = "hyperliquid",
    json: Annotated[bool, Parameter(name="--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Predict the liquidation prices that the venue stated for recorded accounts.

    The largest position of an account implies its available margin, and that every other
    liquidation price. Brackets that are not listed are inferred on every other snapshot and
    scored on the rest.

    Example: `crossmargin reconcile hyperliquid positions.parquet`
    """
    from crossmargin.analytics import reconcile_liquidation_prices
    from crossmargin.margin import load_ruleset
    from crossmargin.venues import read_hyperliquid_positions

    rules = load_ruleset(ruleset)
    done = reconcile_liquidation_prices(read_hyperliquid_positions(Path(file)), rules)
    if json:
        import msgspec

        raw = msgspec.json.format(msgspec.json.encode(done.as_dict()), indent=2)
        sys.stdout.write(raw.decode() + "\n")
        return
    from crossmargin.reports.reconcile import print_liquidations
    from crossmargin.reports.terminal import make_console

    print_liquidations(make_console(), done)
