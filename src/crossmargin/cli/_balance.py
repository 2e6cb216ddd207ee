"""``ledger balance``: the trial balance."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from crossmargin.cli._ledger import JsonOpt, LedgerArg, _print_json, ledger_app


@ledger_app.command
def balance(
    ledger: LedgerArg,
    *,
    quiet: Annotated[bool, Parameter(help="Show no progress.", negative=())] = False,
    json: JsonOpt = False,
) -> None:
    """Show the trial balance: that every asset sums to 0, and what rounding has left over.

    Amounts are in units of their asset; contracts are an asset too, so that longs equal shorts.

    Example: `crossmargin ledger balance desk.ledger`
    """
    import msgspec

    from crossmargin.accounts.journal import open_journal
    from crossmargin.accounts.trial_balance import trial_balance
    from crossmargin.cli._progress import Meter

    with Meter("entries", quiet=quiet or json) as meter:
        opened = open_journal(ledger, progress=meter.step)
    with opened as journal:
        found = trial_balance(journal.state)
    if json:
        _print_json(msgspec.to_builtins(found))
        return
    from crossmargin.cli._app import _console
    from crossmargin.reports.ledger import print_balance

    print_balance(_console(), found)
