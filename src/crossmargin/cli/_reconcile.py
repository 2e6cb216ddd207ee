"""Holding our numbers to those that a venue computed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

if TYPE_CHECKING:
    from crossmargin.errors import CrossmarginError

reconcile_app = App(
    name="reconcile",
    help="""Hold our numbers to those that a venue computed.

    The error of a figure is |ours − theirs| / max(|theirs|, 1); exit code 1 when any exceeds the
    tolerance, 2 when a file cannot be read.

    Example: `crossmargin reconcile case.json --tolerance 1e-9`

    Example: `crossmargin reconcile hyperliquid positions.parquet`
    """,
)


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


@reconcile_app.default
def reconcile_files(
    *case: Annotated[str, Parameter(help="Case files; a file may hold many.", negative=())],
    tolerance: Annotated[
        float | None,
        Parameter(help="Largest relative error that agrees; default 1e-10, or a case's own."),
    ] = None,
    every: Annotated[
        bool, Parameter(name="--every", help="Print every figure of every case.")
    ] = False,
    json: Annotated[bool, Parameter(name="--json", help="Print JSON instead of tables.")] = False,
) -> int:
    """Compute recorded cases and print theirs, ours and the difference.

    A case is a portfolio, a market, parameters and the figures somebody else computed, in
    derive-golden/1 or crossmargin-case/1. The error of a figure is |ours − theirs| /
    max(|theirs|, 1). Exit code 1 when any exceeds the tolerance.

    Example: `crossmargin reconcile case.json --tolerance 1e-9`
    """
    from crossmargin.analytics import reconcile_cases
    from crossmargin.errors import InputError

    if not case:
        raise InputError(
            "no case file is given",
            code="INP-013",
            field="CASE",
            hint="write crossmargin reconcile CASE.json, or crossmargin reconcile hyperliquid FILE",
        )
    if tolerance is not None and not tolerance >= 0:
        raise InputError(
            f"a tolerance of {tolerance:g} is none", code="INP-013", field="--tolerance"
        )
    found, unread = _read_all(case)
    done = reconcile_cases(found, tolerance=tolerance)
    summary = done.as_dict()
    if json:
        import msgspec

        raw = msgspec.json.format(msgspec.json.encode(summary), indent=2)
        sys.stdout.write(raw.decode() + "\n")
    else:
        from crossmargin.reports.reconcile_cases import print_reconciliation
        from crossmargin.reports.terminal import make_console

        print_reconciliation(make_console(), done, every=every)
    for error in unread:
        sys.stderr.write(f"{error}\n")
    if summary["failed"]:
        return 1
    return 2 if unread else 0


def _read_all(paths: tuple[str, ...]) -> tuple[list[Any], list[CrossmarginError]]:
    """Read what can be read, with the refusals of the rest; refused alone, a file is an error."""
    from crossmargin.analytics import read_cases
    from crossmargin.errors import CrossmarginError

    found, unread = [], []
    for path in paths:
        try:
            found += read_cases(path)
        except CrossmarginError as error:
            if len(paths) == 1:
                raise
            unread.append(error)
    if not found and unread:
        raise unread[0]
    return found, unread
