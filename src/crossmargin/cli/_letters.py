"""``ledger letters``: margin calls and closing letters of an account."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from crossmargin.cli import _io as io
from crossmargin.cli._ledger import JsonOpt, LedgerArg, _print_json, ledger_app


@ledger_app.command
def letters(
    ledger: LedgerArg,
    account: Annotated[str, Parameter(help="Account.")],
    *,
    last: Annotated[int | None, Parameter(help="Only the last so many letters.")] = None,
    html: Annotated[str | None, io.file_option("Write them as a page, too.")] = None,
    quiet: Annotated[bool, Parameter(help="Show no progress.", negative=())] = False,
    json: JsonOpt = False,
) -> None:
    """Write the letters to the holder of an account: margin calls, and what was closed by force.

    A call says what the pot has, what it should have, how much is lacking, until when, and what
    happens otherwise; amounts in the asset named.

    Example: `crossmargin ledger letters desk.ledger alice --html letters.html`
    """
    from crossmargin.accounts.journal import open_journal
    from crossmargin.accounts.letters import letters_of
    from crossmargin.cli._progress import Meter
    from crossmargin.errors import InputError

    if last is not None and last < 1:
        raise InputError(f"the last {last}", code="INP-004", field="--last", hint="1 or more")
    with Meter("entries", quiet=quiet or json) as meter:
        opened = open_journal(ledger, progress=meter.step)
    with opened as journal:
        found = letters_of(journal.state, account, journal.records())
    found = found if last is None else found[-last:]
    from crossmargin.reports.letters import letter_text, render_letters

    if html is not None:
        from crossmargin import __version__

        io.write_whole(html, render_letters(account, found, version=__version__).encode())
    if json:
        _print_json([{**_plain(letter), "text": letter_text(letter)} for letter in found])
        return
    print("\n".join(letter_text(letter) for letter in found) if found else "no letters")


def _plain(letter: object) -> dict[str, object]:
    import msgspec

    made: dict[str, object] = msgspec.to_builtins(letter)
    return made
