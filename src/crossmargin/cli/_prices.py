"""The ``prices`` command: the source panel of a market."""

from __future__ import annotations

import sys
from typing import Annotated, Any

from cyclopts import Parameter

from crossmargin.cli import _io as io


def _plain(value: Any) -> Any:
    """Write times as ISO-8601 and exact confidences as decimals, as everywhere outside."""
    from crossmargin.market import CONFIDENCE_ONE
    from crossmargin.units import format_time

    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if not isinstance(value, dict):
        return value
    out: dict[str, Any] = {}
    for key, one in value.items():
        if key.endswith("_ns"):
            out[key.removesuffix("_ns")] = None if one is None else format_time(one)
        elif key == "confidence" and isinstance(one, int):
            out[key] = one / CONFIDENCE_ONE
        else:
            out[key] = _plain(one)
    return out


def prices(
    market: Annotated[
        str, Parameter(help="Market file, or a shipped market's name.")
    ] = io.DEFAULT_MARKET,
    *,
    move: Annotated[
        float, Parameter(help="Move of an index whose cost is estimated: 0.05 is 5 % up.")
    ] = 0.05,
    json: Annotated[bool, Parameter(name="--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Show a market's prices: sources, ages, deviations, index, marks, protect mode.

    Example: `crossmargin prices market.json --move -0.1`
    """
    from crossmargin.market import price_panel

    panel = price_panel(io.load_market(market), move=move)
    if json:
        import msgspec

        raw = msgspec.json.format(msgspec.json.encode(_plain(msgspec.to_builtins(panel))), indent=2)
        sys.stdout.write(raw.decode() + "\n")
        return
    from crossmargin.reports.prices import print_panel
    from crossmargin.reports.terminal import make_console

    print_panel(make_console(), panel)
