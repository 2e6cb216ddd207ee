"""What the store needs of a database; `_sqlite` and `_postgres` give it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from crossmargin.accounts.store._lock import Holder
from crossmargin.accounts.store.entries import Head

#: seq, id, time_ns, kind, payload, number of transfers, hash
EntryRow = tuple[int, str, int, str, bytes, int, bytes]
#: seq, line, debit, credit, asset, amount, code
TransferLine = tuple[int, int, str, str, str, str, str]
#: seq, time_ns, kind, payload, hash of an entry that is there
Known = tuple[int, int, str, bytes, bytes]


class Backend(Protocol):
    """One open database. Every method turns the driver's errors into a `StoreError`."""

    #: How messages name the ledger; without a password.
    where: str
    #: Who held the lock and died with it, if it was so.
    taken_over: Holder | None

    def head(self) -> tuple[int, bytes] | None:
        """Return number and hash of the last entry; None for an empty log."""

    def hash_at(self, seq: int) -> bytes | None:
        """Return the stored hash of an entry."""

    def entries(self, first: int, last: int) -> list[EntryRow]:
        """Return rows in the order of the log, both ends included."""

    def transfers(self, first: int, last: int) -> list[TransferLine]:
        """Return the transfers of entries, in their order."""

    def next_entry(self, seq: int) -> int | None:
        """Return the least number of an entry from `seq` on; None where there is none."""

    def stray(self) -> tuple[int, int]:
        """Return how many transfers lie below and above the entries."""

    def acknowledged(self) -> Head | str | None:
        """Return what a witness outside the database saw last, or why it cannot be asked."""

    def check_pages(self) -> list[str]:
        """Return what the database itself finds wrong with its file; empty when nothing."""

    def check_schema(self) -> list[str]:
        """Return which tables and triggers are not as they were made."""

    def known(self, ids: Sequence[str]) -> dict[str, Known]:
        """Return the entries that are there already, by id."""

    def begin(self) -> None:
        """Begin to write."""

    def insert(self, entries: Sequence[EntryRow], transfers: Sequence[TransferLine]) -> None:
        """Write rows within the transaction."""

    def commit(self) -> None:
        """Return when the transaction is on the disk."""

    def rollback(self) -> None:
        """Give the transaction up; never raises."""

    def witness(self, head: Head) -> None:
        """Write down outside the database what was acknowledged."""

    def put_snapshot(self, name: str, seq: int, data: bytes, digest: bytes) -> None:
        """Keep one snapshot of a name, in a transaction of its own."""

    def snapshots(self, name: str, most: int) -> list[tuple[int, bytes, bytes]]:
        """Return snapshots not later than an entry, the latest first."""

    def close(self) -> None:
        """Give the lock back and close; never raises."""
