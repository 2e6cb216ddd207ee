"""What goes into the ledger and what comes out of it: post, import, statement, reconcile."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from crossmargin.cli import _io as io
from crossmargin.cli._ledger import JsonOpt, LedgerArg, _print_json, ledger_app

if TYPE_CHECKING:
    from crossmargin.accounts import BadLine, Event
    from crossmargin.accounts.journal import Journal
    from crossmargin.accounts.matching import Reconciliation

#: Refusals that are shown; all are in ``--json``.
_SHOWN = 20

WriterOpt = Annotated[str, Parameter(help="Name under which the ledger is held for writing.")]
BatchOpt = Annotated[int, Parameter(help="Events of one durable commit.")]
QuietOpt = Annotated[bool, Parameter(help="Show no progress.", negative=())]


@ledger_app.command
def post(
    ledger: LedgerArg,
    events: Annotated[str, Parameter(help="File of events, JSON, one a line.")],
    *,
    writer: WriterOpt = "crossmargin ledger post",
    batch: BatchOpt = 1_000,
    quiet: QuietOpt = False,
    json: JsonOpt = False,
) -> int:
    """Post events: what happened to accounts, each whole or refused with its reason.

    An event that was posted before is a duplicate and changes nothing, so a file may be posted
    again. Exit code 1 when an event was refused or a line could not be read.

    Example: `crossmargin ledger post desk.ledger events.jsonl`
    """
    from crossmargin.accounts import read_events

    return _post(ledger, read_events(events), writer, batch, quiet, json)


@ledger_app.command(name="import")
def import_(
    ledger: LedgerArg,
    fills: Annotated[str, Parameter(help="Fills: CSV or Parquet.")],
    *,
    account: Annotated[str, Parameter(help="Whose fills they are; it must be open.")],
    writer: WriterOpt = "crossmargin ledger import",
    batch: BatchOpt = 1_000,
    quiet: QuietOpt = False,
    json: JsonOpt = False,
) -> int:
    """Import fills of an account, with the venue as the other side.

    Columns: id, time, instrument, side, quantity, price; and fee, fee_asset, pot, leg.

    Example: `crossmargin ledger import desk.ledger fills.csv --account desk`
    """
    from crossmargin.accounts.fills_file import read_fills

    return _post(ledger, read_fills(fills, account), writer, batch, quiet, json)


def _post(
    ledger: str,
    lines: Iterable[tuple[int, Event | BadLine]],
    writer: str,
    batch: int,
    quiet: bool,
    json: bool,
) -> int:
    from crossmargin.accounts import Applied, BadLine, Duplicate
    from crossmargin.accounts.journal import open_journal
    from crossmargin.cli._progress import Meter
    from crossmargin.errors import InputError

    if batch < 1:
        raise InputError(f"a batch of {batch} events", code="INP-004", field="--batch")
    applied = duplicates = 0
    refused: list[dict[str, Any]] = []
    with Meter("entries", quiet=quiet or json) as meter:
        opened = open_journal(ledger, writer=writer, progress=meter.step)
    with opened as journal:
        todo = iter(lines)
        while some := list(islice(todo, batch)):
            good = [(number, line) for number, line in some if not isinstance(line, BadLine)]
            for number, line in some:
                if isinstance(line, BadLine):
                    refused.append({"line": number, "id": None, "error": line.error.as_dict()})
            for (number, _), outcome in zip(good, journal.post([e for _, e in good])):
                if isinstance(outcome, Applied):
                    applied += 1
                elif isinstance(outcome, Duplicate):
                    duplicates += 1
                else:
                    error = outcome.error.as_dict()
                    refused.append({"line": number, "id": outcome.id, "error": error})
        entries, digest = journal.state.count, journal.state.digest()
    refused.sort(key=lambda row: row["line"])
    if json:
        _print_json(
            {
                "applied": applied, "duplicates": duplicates, "refused": refused,
                "entries": entries, "state": digest,
            }
        )  # fmt: skip
        return 1 if refused else 0
    print(
        f"{applied:,} events posted, {duplicates:,} were there before, {len(refused):,} refused; "
        f"{entries:,} entries, state {digest[:16]}"
    )
    for row in refused[:_SHOWN]:
        error = row["error"]
        hint = f". {error['hint'][:1].upper()}{error['hint'][1:]}" if error.get("hint") else ""
        print(f"line {row['line']}: {error['code']}: {error['message']}{hint}")
    if len(refused) > _SHOWN:
        print(f"and {len(refused) - _SHOWN:,} more; --json shows all")
    return 1 if refused else 0


@ledger_app.command
def statement(
    ledger: LedgerArg,
    account: Annotated[str, Parameter(help="Account.")],
    *,
    market: Annotated[
        str | None, Parameter(help="Market to margin the account in; without it none is.")
    ] = None,
    ruleset: Annotated[str | None, Parameter(help="Rule-set to margin it under.")] = None,
    entries: Annotated[int, Parameter(help="Entries of its journal shown, the last ones.")] = 20,
    html: Annotated[
        str | None,
        io.file_option("Write a page with equity against IM and MM over time; needs both."),
    ] = None,
    quiet: QuietOpt = False,
    json: JsonOpt = False,
) -> None:
    """Show an account: money by pot and asset, positions, where its equity came from, journal.

    With `--market` and `--ruleset` also what it must hold, and with `--html` how equity stood
    against it at each mark.

    Example: `crossmargin ledger statement desk.ledger desk`

    Example: `crossmargin ledger statement desk.ledger desk --market calm-2026-02-03
    --ruleset deribit-pm-cross --html desk.html`
    """
    from crossmargin.accounts.journal import open_journal
    from crossmargin.accounts.kept_statement import kept_statement
    from crossmargin.cli._progress import Meter
    from crossmargin.errors import InputError

    if (market is None) is not (ruleset is None) or (html is not None and market is None):
        raise InputError(
            "margin needs a market and a rule-set",
            code="INP-013",
            field="--ruleset" if ruleset is None else "--market",
            hint="give both, or none of them and no --html",
        )
    if entries < 0:
        raise InputError(f"{entries} entries", code="INP-004", field="--entries", hint="0 or more")
    world = None if market is None else io.load_market(market)
    rules = None if ruleset is None else io.load_rules([ruleset], {}, None)[0]
    with Meter("entries", quiet=quiet or json) as meter:
        opened = open_journal(ledger, progress=meter.step)
    with opened as journal:
        made = kept_statement(
            journal.state, account, journal.records(), world, rules, entries=entries
        )
        if html is not None and world is not None and rules is not None:
            from crossmargin import __version__
            from crossmargin.accounts.history import margin_history
            from crossmargin.reports.ledger import render_kept

            lived = margin_history(journal.records(), account, world, rules)
            io.write_whole(html, render_kept(made, lived, version=__version__).encode())
    if json:
        _print_json(made)
        return
    from crossmargin.cli._app import _console
    from crossmargin.reports.ledger import print_kept

    print_kept(_console(), made)


@ledger_app.command
def pnl(
    ledger: LedgerArg,
    account: Annotated[str, Parameter(help="Account.")],
    *,
    market: Annotated[
        list[str], Parameter(help="Market files or names, the earliest first; two at least.")
    ],
    pot: Annotated[str, Parameter(help="Its pot.")] = "cross",
    ruleset: Annotated[
        str | None,
        Parameter(help="Also the return on the time-weighted margin at its marks, under this."),
    ] = None,
    html: Annotated[str | None, io.file_option("Write a page with the pictures here.")] = None,
    quiet: QuietOpt = False,
    json: JsonOpt = False,
) -> None:
    """Say where an account's profit came from: price by Greek, funding, fees, interest, the rest.

    The ledger is replayed between the moments of the markets. Every cause is exact and in units of
    its asset; the price's part is split into delta, gamma, vega, theta, trades and a residual.

    Example: `crossmargin ledger pnl desk.ledger desk --market monday.json --market tuesday.json
    --ruleset deribit-pm-cross --html pnl.html`
    """
    from crossmargin.accounts.journal import open_journal
    from crossmargin.accounts.pnl_report import ledger_pnl
    from crossmargin.cli._plans import show
    from crossmargin.cli._progress import Meter
    from crossmargin.reports.pnl import ledger_report
    from crossmargin.units import format_time

    worlds = [io.load_market(name) for name in market]
    rules = None if ruleset is None else io.load_rules([ruleset], {}, None)[0]
    with Meter("entries", quiet=quiet or json) as meter:
        opened = open_journal(ledger, progress=meter.step)
    with opened as journal:
        made = ledger_pnl(journal.records(), account, worlds, pot=pot)
        back = None
        if rules is not None:
            from crossmargin.analytics import return_on_booked_margin

            back = return_on_booked_margin(made, journal.records(), worlds[0], rules)
    if json:
        _print_json(
            {
                "account": made.account,
                "pot": made.pot,
                "from": format_time(made.start_ns),
                "to": format_time(made.end_ns),
                "entries": made.entries,
                "assets": made.assets,
                "return_on_margin": back,
            }
        )
    title = f"{account}/{pot}: where its profit came from"
    show(ledger_report(title, made, back), html=html, quiet=json)


@ledger_app.command
def reconcile(
    ledger: LedgerArg,
    account: Annotated[str, Parameter(help="Account.")],
    log: Annotated[str, Parameter(help="The venue's transaction log: JSON or CSV.")],
    *,
    format: Annotated[
        str | None, Parameter(help="How the log is written; recognised when left out.")
    ] = None,
    tolerance: Annotated[
        float, Parameter(help="How far apart two stamps of one thing may be, seconds.")
    ] = 60.0,
    as_of: Annotated[
        str | None, Parameter(help="Now, for ages (ISO-8601); default: the last line of either.")
    ] = None,
    post: Annotated[
        bool, Parameter(help="Post the corrections that are proposed; needs --yes.", negative="")
    ] = False,
    yes: Annotated[
        bool, Parameter(help="Confirm that they are to be posted.", negative="")
    ] = False,
    quiet: QuietOpt = False,
    json: JsonOpt = False,
) -> int:
    """Match our journal of an account with a venue's log: matched, broken by class and age.

    Proposes what would mend each break. Books nothing unless `--post --yes` is given: then each
    correction is an event with an id of its own, and posting it again changes nothing. Exit code 1
    when anything is broken and was not mended.

    Example: `crossmargin ledger reconcile desk.ledger desk deribit-log.json`

    Example: `crossmargin ledger reconcile desk.ledger desk deribit-log.json --post --yes`
    """
    import math

    from crossmargin.accounts.corrections import corrections
    from crossmargin.accounts.journal import open_journal
    from crossmargin.accounts.matching import match_logs
    from crossmargin.cli._progress import Meter
    from crossmargin.errors import InputError
    from crossmargin.units import NS_PER_SECOND, parse_time
    from crossmargin.venues.transaction_logs import read_transaction_log

    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise InputError(f"a tolerance of {tolerance:g} s", code="INP-004", field="--tolerance")
    if yes and not post:
        raise InputError(
            "--yes confirms --post, and nothing is to be posted",
            code="INP-013",
            field="--yes",
            hint="add --post, or leave --yes out",
        )
    # Read first: what is wrong with the log is said before the ledger is opened for writing.
    read_transaction_log(log, format=format)
    with Meter("entries", quiet=quiet or json) as meter:
        writer = "reconcile" if post and yes else None
        opened = open_journal(ledger, writer=writer, progress=meter.step)
    with opened as journal:
        scales = _scales(journal)
        theirs = read_transaction_log(log, format=format, scales=scales)

        def matched() -> Reconciliation:
            ours = journal.wallet_lines(account)
            now = max((x.time_ns for x in (*ours, *theirs.lines)), default=0)
            return match_logs(
                ours,
                theirs.lines,
                as_of_ns=now if as_of is None else parse_time(as_of, field="--as-of"),
                tolerance_ns=round(tolerance * NS_PER_SECOND),
            )

        found = matched()
        events = corrections(found.breaks, account, journal.opening_of(account), scales)
        done = journal.post(events) if writer is not None and events else []
        if done:
            found = matched()
    from crossmargin.reports.ledger import print_reconciled, reconciled_data

    said = _said(events, done, post=post, yes=yes)
    if json:
        _print_json({**reconciled_data(account, theirs, found, scales), "corrections": said})
    else:
        from crossmargin.cli._app import _console

        print_reconciled(_console(), account, theirs, found, scales)
        if post:
            print(said["words"])
    return 1 if found.breaks or theirs.bad else 0


def _said(events: list[Any], done: list[Any], *, post: bool, yes: bool) -> dict[str, Any]:
    """Say what became of the corrections."""
    from crossmargin.accounts import Applied, Duplicate, Refused

    applied = sum(isinstance(x, Applied) for x in done)
    again = sum(isinstance(x, Duplicate) for x in done)
    refused = [str(x.error) for x in done if isinstance(x, Refused)]
    if not events:
        words = "no corrections to post"
    elif not (post and yes):
        words = f"{len(events):,} corrections could be posted; add --post --yes"
    else:
        words = f"{applied:,} corrections posted, {again:,} were there before"
        words += f", {len(refused):,} refused: {refused[0]}" if refused else ""
    return {
        "proposed": len(events),
        "posted": applied,
        "duplicates": again,
        "refused": refused,
        "ids": [event.id for event in events],
        "words": words,
    }


def _scales(journal: Journal) -> Any:
    """Return the decimals that this ledger gives its assets."""
    from crossmargin.accounts import Scales

    own = {name: asset.decimals for name, asset in journal.state.assets.items()}
    return Scales({**journal.state.scales.decimals, **own})
