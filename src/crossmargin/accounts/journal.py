"""The ledger as it is kept: events in a store, the state they make in memory.

The store is the truth and the state its fold: opening reads every entry (from the last snapshot
on, which is a cache), applies it and holds the transfers it makes to those that were stored.
Posting applies events in memory and stores those that were accepted in one durable commit; only
then are they acknowledged. If the store fails, the state is ahead of it and is not used again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import msgspec

from crossmargin.accounts._encoding import payload
from crossmargin.accounts.corrections import meaning_of
from crossmargin.accounts.events import Correct, Event, OpenAccount
from crossmargin.accounts.matching import Class, LogLine
from crossmargin.accounts.replay import (
    Applied,
    Duplicate,
    Guard,
    Outcome,
    Refused,
    apply,
)
from crossmargin.accounts.snapshot import restore, snapshot
from crossmargin.accounts.state import State
from crossmargin.accounts.store.entries import Entry, Record, TransferRow
from crossmargin.errors import CrossmarginError, LedgerError, StoreError
from crossmargin.units import parse_time

if TYPE_CHECKING:
    from crossmargin.accounts.store import Store

#: What kinds of event are in a venue's words; the others are trades' or the house's own.
_CLASSES: dict[str, Class] = {
    "deposit": "deposit",
    "withdrawal": "withdrawal",
    "transfer": "transfer",
    "cover": "transfer",
    "switch_mode": "transfer",
    "borrow": "transfer",
    "repay": "transfer",
    "fill": "trade",
    "block": "trade",
    "move_position": "trade",
    "bust": "trade",
    "fee": "fee",
    "funding": "funding",
    "interest": "interest",
    "settle_session": "settlement",
    "expiry": "settlement",
    "delist": "settlement",
    "convert": "conversion",
    "liquidation_step": "liquidation",
    "takeover": "liquidation",
    "forfeit": "liquidation",
    "adl": "liquidation",
    "fund_cover": "liquidation",
    "socialised_loss": "liquidation",
}

#: Classes whose events bear the venue's own id.
_NAMED = ("trade", "liquidation")

_decode = msgspec.json.Decoder(Event).decode

#: Name of the snapshot, and after how many replayed entries one is left.
_SNAPSHOT = "state"
SNAPSHOT_EVERY = 20_000


class Journal:
    """A ledger opened for posting, or for reading.

    Parameters
    ----------
    store : Store
        Open; closed with the journal.
    writing : bool
        Whether the store may be written: a long replay then leaves a snapshot for the next one.
    progress : callable, optional
        Called with entries replayed and entries in all.
    cached : bool
        Whether to begin at the last snapshot; without it every entry is applied again.

    Raises
    ------
    LedgerError
        ``LED-030`` when an entry does not give what was stored with it.
    """

    def __init__(
        self,
        store: Store,
        *,
        writing: bool = False,
        progress: Callable[[int, int], None] | None = None,
        cached: bool = True,
    ) -> None:
        self._store = store
        self._lost = False
        self._gathered: list[Entry] | None = None
        self.state = _cached(store) if cached else State()
        start, end = self.state.count, store.head().seq
        for record in store.read(start + 1):
            _replay(self.state, record)
            if progress is not None and (record.seq % 1_000 == 0 or record.seq == end):
                progress(record.seq, end)
        if writing and end - start >= SNAPSHOT_EVERY:
            store.snapshot_put(_SNAPSHOT, end, snapshot(self.state))

    def __enter__(self) -> Journal:
        """Use the journal, and close it at the end."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the store."""
        self._store.close()

    def post(self, events: Iterable[Event], *, guard: Guard | None = None) -> list[Outcome]:
        """Apply events and store those accepted; when it returns they are on the disk.

        Parameters
        ----------
        events : iterable of Event
            Applied in this order; a refused one changes nothing and the others go on.
        guard : callable, optional
            See :func:`crossmargin.accounts.apply`.

        Returns
        -------
        list of Applied, Duplicate or Refused
            One for each event.

        Raises
        ------
        StoreError
            Nothing is acknowledged; open the journal again and post the same events again: what
            was stored after all is then a duplicate. ``STO-006`` on every later call.
        """
        if self._lost:
            raise StoreError(
                "the journal could not store an earlier event, and its state is not to be used",
                code="STO-006",
                hint="open it again and post the events again",
            )
        # From here on the state may be ahead of the store, until the store has it too.
        self._lost = True
        outcomes: list[Outcome] = []
        entries: list[Entry] = []
        for event in events:
            outcome = apply(self.state, event, guard)
            outcomes.append(outcome)
            if isinstance(outcome, Applied):
                entries.append(_entry(event, outcome))
        if self._gathered is not None:
            # The commit comes with the end of `together`.
            self._gathered += entries
        elif entries:
            self._store.append(entries)
        self._lost = False
        return outcomes

    @contextmanager
    def together(self) -> Iterator[None]:
        """Store all that is posted within in one commit, at its end; only then is it durable.

        When anything raises within, nothing of it is stored and the journal is not used again.
        """
        if self._gathered is not None:
            yield
            return
        self._gathered = []
        try:
            yield
        except BaseException:
            self._lost, self._gathered = True, None
            raise
        entries, self._gathered = self._gathered, None
        self._lost = True
        if entries:
            self._store.append(entries)
        self._lost = False

    def records(self, first: int = 1, last: int | None = None) -> Iterator[Record]:
        """Read entries of the log, in order."""
        return self._store.read(first, last)

    def wallet_lines(self, account: str) -> list[LogLine]:
        """Return what each event did to the wallets of an account, for matching with a venue.

        One line for each event and asset whose sum over all pots' wallets moved. What trades
        moved refers to the event's id after its last ``:``, so that ``fill:12345`` is the
        venue's trade 12345; the rest is matched by class, amount and time. A correction is part
        of the line that it corrects.
        """
        self.state.trader(account)
        start = f"{account}/"
        found: dict[tuple[str, str], LogLine] = {}
        for record in self._store.read():
            moved: dict[str, int] = {}
            for debit, credit, asset, amount, _ in record.transfers:
                if _is_wallet(debit, start):
                    moved[asset] = moved.get(asset, 0) - amount
                if _is_wallet(credit, start):
                    moved[asset] = moved.get(asset, 0) + amount
            for asset, amount in sorted(moved.items()):
                corrected = found.get((_corrected(record), asset))
                if corrected is not None:
                    key = (_corrected(record), asset)
                    found[key] = replace(corrected, amount=corrected.amount + amount)
                elif amount:
                    found[record.id, asset] = _line(record, asset, amount)
        return [line for line in found.values() if line.amount]

    def opening_of(self, account: str) -> str:
        """Return the id of the event that opened an account."""
        self.state.trader(account)
        for record in self._store.read():
            if record.kind == "open_account":
                event = msgspec.json.decode(record.payload, type=Event)
                if isinstance(event, OpenAccount) and event.account == account:
                    return event.id
        raise AssertionError("an account was opened by an event")


def _corrected(record: Record) -> str:
    """Return the id of the event that an entry corrects; empty where it corrects none."""
    if record.kind != "correct":
        return ""
    event = msgspec.json.decode(record.payload, type=Event)
    return event.of if isinstance(event, Correct) else ""


def _line(record: Record, asset: str, amount: int) -> LogLine:
    """Return what an entry did to the wallets of an account in one asset."""
    kind = _CLASSES.get(record.kind, "other")
    named = record.id.rpartition(":")[2] if kind in _NAMED else ""
    if record.kind == "correct":
        kind, named = meaning_of(record.id) or (kind, named)
    return LogLine(
        id=f"{record.id} ({asset})",
        time_ns=record.time_ns,
        asset=asset,
        amount=amount,
        kind=kind,
        reference=named,
        note=record.kind,
    )


def open_journal(
    place: str | Path,
    *,
    writer: str | None = None,
    progress: Callable[[int, int], None] | None = None,
    cached: bool = True,
) -> Journal:
    """Open a ledger and replay it.

    Parameters
    ----------
    place : str or Path
        File or ``postgresql://`` address.
    writer : str, optional
        Name under which to hold the writer's lock; without it the ledger is opened for reading.
    progress : callable, optional
        Called with entries replayed and entries in all.
    cached : bool
        Whether to begin at the last snapshot; without it every entry is applied again.

    Raises
    ------
    StoreError
        When it cannot be opened; see :func:`crossmargin.accounts.store.open_store`.
    LedgerError
        ``LED-030``.
    """
    from crossmargin.accounts.store import open_store

    store = open_store(place, writer=writer)
    try:
        return Journal(store, writing=writer is not None, progress=progress, cached=cached)
    except BaseException:
        store.close()
        raise


def _cached(store: Store) -> State:
    """Return the state of the last snapshot, or an empty one where there is none to be used."""
    found = store.snapshot_get(_SNAPSHOT)
    if found is None:
        return State()
    seq, raw = found
    try:
        state = restore(raw)
    except CrossmarginError:
        # A snapshot is only a cache: what cannot be read is computed again.
        return State()
    return state if state.count == seq <= store.head().seq else State()


def _entry(event: Event, outcome: Applied) -> Entry:
    raw = payload(event)
    return Entry(
        id=event.id,
        time_ns=parse_time(event.time),
        kind=event.__struct_config__.tag,  # type: ignore[arg-type]
        payload=raw,
        transfers=[TransferRow(*transfer) for transfer in outcome.transfers],
    )


def _replay(state: State, record: Record) -> None:
    """Apply a stored entry, and hold what it does to what was stored."""
    try:
        event = _decode(record.payload)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _differs(record, f"it is no event: {error}") from None
    outcome = apply(state, event)
    if isinstance(outcome, Refused):
        raise _differs(record, f"it is refused: {outcome.error}")
    if isinstance(outcome, Duplicate):
        raise _differs(record, "its event is in the log twice")
    if outcome.transfers != tuple(tuple(row) for row in record.transfers):
        raise _differs(record, "it moves other amounts than were stored")


def _differs(record: Record, why: str) -> CrossmarginError:
    return LedgerError(
        f"entry {record.seq} ({record.kind} {record.id!r}) does not give what was stored: {why}",
        code="LED-030",
        field="log",
        hint="verify the ledger; a newer crossmargin may have written it",
    )


def _is_wallet(line: str, start: str) -> bool:
    return line.startswith(start) and line.partition(":")[2].startswith("wallet")


def refused(outcomes: Sequence[Outcome]) -> list[Refused]:
    """Return the refusals among outcomes."""
    return [one for one in outcomes if isinstance(one, Refused)]
