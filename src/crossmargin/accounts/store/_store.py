"""Appending to a ledger and reading it."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType

from crossmargin.accounts.store._backend import Backend, EntryRow, TransferLine
from crossmargin.accounts.store._lock import Holder
from crossmargin.accounts.store._rows import bundles
from crossmargin.accounts.store.entries import (
    GENESIS,
    Appended,
    Entry,
    EntryCheck,
    Head,
    Record,
    TransferRow,
    canonical,
    link,
)
from crossmargin.accounts.store.verification import Verification, verify_backend
from crossmargin.errors import StoreError, invariant

#: Entries that are looked at when a writer opens a log.
_TAIL = 100


class Store:
    """An append-only log of entries with their transfers; made by `open_store`.

    A writer may be used by several threads; each call of `append` is one commit.
    """

    def __init__(self, backend: Backend, *, writing: bool) -> None:
        self._backend: Backend | None = backend
        self._writing = writing
        self._mutex = threading.Lock()
        self._check = EntryCheck()
        self._pid = os.getpid()
        self._lost = ""
        self._head = Head(0, GENESIS)

    def __enter__(self) -> Store:
        """Use the store, and close it at the end."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    @property
    def where(self) -> str:
        """How messages name the ledger."""
        return self._open.where

    @property
    def taken_over(self) -> Holder | None:
        """The writer before this one, if it died without closing; its lock went with it."""
        return self._open.taken_over

    @property
    def _open(self) -> Backend:
        if self._backend is None:
            raise StoreError("the ledger is closed", code="STO-006", hint="open it again")
        if os.getpid() != self._pid:
            raise StoreError(
                "the ledger was opened before this process was forked",
                code="STO-006",
                hint="open it in the process that uses it",
            )
        return self._backend

    def start(self) -> None:
        """Read the head; a writer looks at the last entries before it adds to them."""
        self._head = self.head()
        if self._writing:
            for _ in self.read(max(1, self._head.seq - _TAIL + 1)):
                pass

    # ------------------------------------------------------------------------- writing

    def append(self, entries: Iterable[Entry]) -> list[Appended]:
        """Store entries in one commit, and return when they are on the disk.

        Parameters
        ----------
        entries : iterable of Entry
            Stored in this order. One whose id is in the log already, with the same time, kind and
            payload, changes nothing and is reported as a duplicate (its transfers are not
            compared: they follow from the payload).

        Returns
        -------
        list of Appended
            One for each entry, in their order.

        Raises
        ------
        StoreError
            Nothing of the call is stored with ``STO-006`` (opened for reading, closed),
            ``STO-007`` (an entry that cannot be stored), ``STO-008`` (an id that is taken),
            ``STO-009`` (disk full), ``STO-010`` (may not be written), ``STO-013`` (something
            else has written to the log). After ``STO-011`` it is not known: open the ledger
            again and send the entries again; what is there is then reported as a duplicate.
        """
        with self._mutex:
            backend = self._writable()
            given = list(entries)
            checked = [self._check.rows_of(entry) for entry in given]
            if not given:
                return []
            try:
                backend.begin()
                out, rows, lines = self._planned(backend, given, checked)
                if not rows:
                    backend.rollback()
                    return out
                backend.insert(rows, lines)
            except BaseException as error:
                backend.rollback()
                if isinstance(error, StoreError) and error.code == "STO-011":
                    self._lost = str(error)
                raise
            self._commit(backend)
            self._head = Head(rows[-1][0], rows[-1][6])
            backend.witness(self._head)
            return out

    def _commit(self, backend: Backend) -> None:
        try:
            backend.commit()
        except BaseException as error:
            backend.rollback()
            if not (isinstance(error, StoreError) and error.code in ("STO-005", "STO-009")):
                # Whether the commit reached the disk is not known: nothing is built on it.
                self._lost = str(error) or type(error).__name__
            raise

    def _planned(
        self,
        backend: Backend,
        given: Sequence[Entry],
        checked: Sequence[tuple[str, str, tuple[tuple[str, str, str, str, str], ...]]],
    ) -> tuple[list[Appended], list[EntryRow], list[TransferLine]]:
        """Give what is new its numbers and links; the log must end where this writer left it."""
        self._must_end_here(backend)
        there = backend.known([row[0] for row in checked])
        out: list[Appended] = []
        rows: list[EntryRow] = []
        lines: list[TransferLine] = []
        seq, last = self._head.seq, self._head.hash
        for entry, (name, kind, moved) in zip(given, checked):
            before = there.get(name)
            if before is not None:
                if (entry.time_ns, kind, entry.payload) != before[1:4]:
                    raise _taken(name, before[0])
                out.append(Appended(before[0], before[4], True))
                continue
            seq += 1
            last = link(last, canonical(seq, name, entry.time_ns, kind, entry.payload, moved))
            rows.append((seq, name, entry.time_ns, kind, entry.payload, len(moved), last))
            lines += [(seq, line, *row) for line, row in enumerate(moved)]
            there[name] = (seq, entry.time_ns, kind, entry.payload, last)
            out.append(Appended(seq, last, False))
        invariant(seq - self._head.seq == len(rows), "entries are numbered without a gap")
        return out, rows, lines

    def _must_end_here(self, backend: Backend) -> None:
        found = backend.head() or (0, GENESIS)
        if found != (self._head.seq, self._head.hash):
            self._lost = "something else has written to the log"
            raise StoreError(
                f"{backend.where} ends at entry {found[0]}, and this writer left it at "
                f"{self._head.seq}: something else has written to it",
                code="STO-013",
                hint="nothing was stored; verify the ledger and open it again",
            )

    def _writable(self) -> Backend:
        backend = self._open
        if not self._writing:
            raise StoreError(
                f"{backend.where} was opened for reading",
                code="STO-006",
                hint="open it with the name of a writer",
            )
        if self._lost:
            raise StoreError(
                f"{backend.where} must be opened again after a failure",
                code="STO-006",
                hint="then send what was not acknowledged again",
            )
        return backend

    # ------------------------------------------------------------------------- reading

    def head(self) -> Head:
        """Return the end of the log as it is on the disk now."""
        with self._mutex:
            found = self._open.head()
        return Head(0, GENESIS) if found is None else Head(*found)

    def read(self, first: int = 1, last: int | None = None) -> Iterator[Record]:
        """Give entries in the order of the log, each held to the chain before it is given.

        Parameters
        ----------
        first, last : int
            Ends, both included; `last` None means the end of the log when reading begins.

        Raises
        ------
        StoreError
            ``STO-012`` at the first entry that is not what was written.
        """
        end = self.head().seq if last is None else min(last, self.head().seq)
        start = max(1, first)
        if start > end:
            return
        before = self._hash_before(start)
        for bundle in bundles(self._open, start, end, self._mutex, dense=True):
            row, lines = bundle
            moved = tuple(line[2:] for line in lines)
            before = link(before, canonical(*row[:5], moved))
            if before != row[6] or row[5] != len(lines):
                raise StoreError(
                    f"entry {row[0]} of {self.where} is not what was written",
                    code="STO-012",
                    hint="crossmargin ledger verify says what is damaged",
                )
            given = tuple(TransferRow(d, c, a, int(n), k) for d, c, a, n, k in moved)
            yield Record(*row[:5], given, before)

    def _hash_before(self, seq: int) -> bytes:
        if seq == 1:
            return GENESIS
        with self._mutex:
            found = self._open.hash_at(seq - 1)
        if not isinstance(found, bytes):
            raise StoreError(
                f"entry {seq - 1} of {self.where} is missing",
                code="STO-012",
                hint="crossmargin ledger verify says what is damaged",
            )
        return found

    def verify(
        self,
        progress: Callable[[int, int], None] | None = None,
        *,
        expect: Head | None = None,
    ) -> Verification:
        """Recompute the chain and look at everything else the log rests on; see `Verification`.

        Parameters
        ----------
        progress : callable, optional
            Called with entries done and entries in all.
        expect : Head, optional
            A head that somebody wrote down: the log must hold it.
        """
        with self._mutex:
            return verify_backend(self._open, progress, expect)

    def export_parquet(self, folder: str | Path) -> tuple[int, int]:
        """Write entries and transfers as Parquet; see `export_parquet` of this package."""
        from crossmargin.accounts.store._parquet import export_parquet

        return export_parquet(self, folder)

    # ------------------------------------------------------------------------- snapshots

    def snapshot_put(self, name: str, seq: int, data: bytes) -> None:
        """Keep a state as it was after entry `seq`, in place of the last one of that name.

        A snapshot is a cache: it is not part of the chain and may be thrown away.
        """
        with self._mutex:
            backend = self._writable()
            if not 0 <= seq <= self._head.seq:
                raise StoreError(
                    f"a snapshot after entry {seq} of a log that ends at {self._head.seq}",
                    code="STO-007",
                    field="seq",
                    hint="append the entries first",
                )
            backend.put_snapshot(name, seq, data, _digest(name, seq, data))

    def snapshot_get(self, name: str, most: int | None = None) -> tuple[int, bytes] | None:
        """Return the latest whole snapshot not after entry `most`; None where there is none."""
        with self._mutex:
            end = 2**62 if most is None else most
            for seq, data, digest in self._open.snapshots(name, end):
                if isinstance(data, bytes) and digest == _digest(name, seq, data):
                    return seq, data
        return None

    def close(self) -> None:
        """Give the lock back; what was appended is on the disk already."""
        with self._mutex:
            if self._backend is not None and os.getpid() == self._pid:
                self._backend.close()
            self._backend = None


def _digest(name: str, seq: int, data: bytes) -> bytes:
    return hashlib.sha256(f"{name}\0{seq}\0".encode() + data).digest()


def _taken(name: str, seq: int) -> StoreError:
    return StoreError(
        f"id {name!r} is in the log already, as entry {seq}, with another time, kind or payload",
        code="STO-008",
        field="id",
        hint="an entry is never changed: correct it by a new one; nothing of this call was stored",
    )
