"""The ledger's file or database: make it, verify it, read it, export it."""

from __future__ import annotations

import base64
import sys
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

if TYPE_CHECKING:
    from crossmargin.accounts.store import Record, Verification

ledger_app = App(
    name="ledger",
    help="""Keep the ledger: make it, verify its chain, read its log, export it as Parquet.

    A ledger is a SQLite file or a database of a PostgreSQL server (postgresql://…).

    Example: `crossmargin ledger init desk.ledger`

    Example: `crossmargin ledger verify desk.ledger`
    """,
)

#: Entries that ``log`` shows unless it is told which.
_SHOWN = 20

LedgerArg = Annotated[str, Parameter(help="Ledger: a file, or postgresql://….")]
JsonOpt = Annotated[bool, Parameter(name="--json", help="Print JSON instead of tables.")]


def _print_json(value: Any) -> None:
    import msgspec

    raw = msgspec.json.format(msgspec.json.encode(value), indent=2)
    sys.stdout.write(raw.decode() + "\n")


@ledger_app.command
def init(ledger: LedgerArg, *, json: JsonOpt = False) -> None:
    """Make an empty ledger; what is there already is left alone.

    Example: `crossmargin ledger init desk.ledger`
    """
    from crossmargin.accounts.store import create_store, open_store

    create_store(ledger)
    with open_store(ledger) as store:
        head, where = store.head(), store.where
    if json:
        _print_json({"ledger": where, "head": str(head)})
        return
    print(f"{where} is made, and empty")


@ledger_app.command
def upgrade(ledger: LedgerArg, *, json: JsonOpt = False) -> None:
    """Bring the tables of a ledger that an older crossmargin wrote to those of this one.

    Example: `crossmargin ledger upgrade desk.ledger`
    """
    from crossmargin.accounts.store import open_store

    with open_store(ledger, writer="upgrade") as store:
        head, where = store.head(), store.where
    if json:
        _print_json({"ledger": where, "head": str(head)})
        return
    print(f"{where} has the tables of this version; {head.seq:,} entries")


@ledger_app.command
def verify(
    ledger: LedgerArg,
    *,
    head: Annotated[
        str | None,
        Parameter(help="A head that was noted before (SEQ:HASH): the log must hold it."),
    ] = None,
    quiet: Annotated[bool, Parameter(help="Show no progress.", negative=())] = False,
    json: JsonOpt = False,
) -> int:
    """Recompute the hash chain of the whole log, and look for damage it cannot see.

    Prints the head, which noted elsewhere shows later that nothing was rewritten or cut off.
    Exit code 1 when anything is wrong.

    Example: `crossmargin ledger verify desk.ledger`
    """
    from crossmargin.accounts.store import parse_head, verify_store
    from crossmargin.cli._progress import Meter

    expect = None if head is None else parse_head(head, field="--head")
    with Meter("entries", quiet=quiet or json) as meter:
        found = verify_store(ledger, meter.step, expect=expect)
    if json:
        _print_json(found.as_dict())
    else:
        _print_verification(found)
    return 0 if found.ok else 1


def _print_verification(found: Verification) -> None:
    print(("good: " if found.ok else "DAMAGED: ") + found.what)
    if not found.ok:
        good = f"entries 1 to {found.entries:,}" if found.entries else "no entry"
        print(f"good before it: {good}")
        for problem in found.problems:
            print(f"• {problem.what}")
        if found.more:
            print(f"• and {found.more:,} more")
    for note in found.notes:
        print(f"note: {note}")
    print(f"head {found.head}")


@ledger_app.command
def export(
    ledger: LedgerArg,
    folder: Annotated[str, Parameter(help="Folder to make; must not be there, or be empty.")],
    *,
    json: JsonOpt = False,
) -> None:
    """Write entries and transfers as Parquet, whole or not at all.

    Example: `crossmargin ledger export desk.ledger desk.parquet`
    """
    from crossmargin.accounts.store import open_store

    with open_store(ledger) as store:
        entries, transfers = store.export_parquet(folder)
    if json:
        _print_json({"written": folder, "entries": entries, "transfers": transfers})
        return
    print(f"{entries:,} entries and {transfers:,} transfers written to {folder}")


@ledger_app.command
def log(
    ledger: LedgerArg,
    *,
    first: Annotated[
        int | None, Parameter(help=f"First entry; default: the last {_SHOWN} are shown.")
    ] = None,
    last: Annotated[int | None, Parameter(help="Last entry; default the end.")] = None,
    transfers: Annotated[
        bool, Parameter(name="--transfers", help="Show each transfer.", negative=())
    ] = False,
    json: JsonOpt = False,
) -> None:
    """Show entries of the log, each held to the chain as it is read.

    Example: `crossmargin ledger log desk.ledger --first 1 --last 10 --transfers`
    """
    from crossmargin.accounts.store import open_store

    with open_store(ledger) as store:
        end = store.head().seq if last is None else last
        start = max(1, end - _SHOWN + 1) if first is None else first
        records = store.read(start, end)
        if json:
            _log_as_json(records)
        else:
            _log_as_lines(records, transfers)


def _log_as_json(records: Any) -> None:
    """Print one array, entry by entry: a long log does not fit into memory."""
    import msgspec

    between = "[\n"
    for record in records:
        sys.stdout.write(between + msgspec.json.encode(_plain(record)).decode())
        between = ",\n"
    sys.stdout.write("[]\n" if between == "[\n" else "\n]\n")


def _plain(record: Record) -> dict[str, Any]:
    from crossmargin.units import format_time

    return {
        "seq": record.seq,
        "id": record.id,
        "time": format_time(record.time_ns),
        "kind": record.kind,
        "payload": _payload(record.payload),
        "transfers": [{**t._asdict(), "amount": str(t.amount)} for t in record.transfers],
        "hash": record.hash.hex(),
    }


def _payload(raw: bytes) -> Any:
    """Return a payload as the JSON it is, or in base 64 where it is none."""
    import msgspec

    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {"base64": base64.b64encode(raw).decode()}


def _log_as_lines(records: Any, transfers: bool) -> None:
    from crossmargin.units import format_time

    shown = False
    for record in records:
        shown = True
        print(
            f"{record.seq:>9}  {format_time(record.time_ns):<24}  {record.kind:<16}  {record.id}"
            f"  {len(record.transfers)} transfers  {record.hash.hex()[:12]}"
        )
        if transfers:
            for t in record.transfers:
                print(f"{'':>11}{t.debit} → {t.credit}  {t.amount} {t.asset}  {t.code}")
    if not shown:
        print("no entries")
