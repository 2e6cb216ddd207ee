"""Is the log what was acknowledged: every link of the chain, and all that the chain cannot see.

The chain shows an entry that was changed, removed from the middle, added or moved. It cannot show
that the tail is gone; the witness beside a file, or a head that somebody wrote down, shows that.
Pages and indices are checked by SQLite itself, tables and triggers against a ledger made anew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from crossmargin.accounts.store._backend import Backend, EntryRow, TransferLine
from crossmargin.accounts.store._flips import flipped_field
from crossmargin.accounts.store._rows import CHUNK, bundles
from crossmargin.accounts.store.entries import GENESIS, Head, canonical, link
from crossmargin.errors import StoreError

#: Faults of entries that are listed; the others are counted.
_LISTED = 100
#: Damaged entries whose bits are turned one by one.
_TURNED = 20
_UNSEEN = (
    "there is no witness of the end of the log: a tail that is missing shows only against a head "
    "that was noted elsewhere"
)


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault.

    Attributes
    ----------
    seq : int or None
        First entry it touches; None where it is not of an entry.
    field : str or None
        Which part: a field, ``transfers``, ``hash`` (the chain), ``missing``, ``pages``,
        ``schema``, ``tail``.
    what : str
        A sentence without a full stop.
    """

    seq: int | None
    field: str | None
    what: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What a verification found.

    Attributes
    ----------
    ok : bool
        True when nothing is wrong.
    entries : int
        Entries from the first on that are what was written.
    first_bad : int or None
        First entry that is not; None where no entry is at fault.
    what : str
        One sentence: the first fault, or that there is none.
    head : Head
        The last good entry before the first bad one.
    problems : tuple of Problem
        The faults: of entries the first 100, and all the others.
    more : int
        Faults that are not listed.
    notes : tuple of str
        What is worth knowing and is no fault.
    """

    ok: bool
    entries: int
    first_bad: int | None
    what: str
    head: Head
    problems: tuple[Problem, ...] = ()
    more: int = 0
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "ok": self.ok,
            "entries": self.entries,
            "first_bad": self.first_bad,
            "what": self.what,
            "head": str(self.head),
            "problems": [{"seq": p.seq, "field": p.field, "what": p.what} for p in self.problems],
            "more": self.more,
            "notes": list(self.notes),
        }


def verify_store(
    place: str | Path,
    progress: Callable[[int, int], None] | None = None,
    *,
    expect: Head | None = None,
) -> Verification:
    """Verify a ledger that may be too damaged to be opened.

    Raises
    ------
    StoreError
        Only where there is nothing to verify: ``STO-001`` no ledger, ``STO-003`` a newer one,
        ``STO-010`` it may not be read, ``STO-014`` no driver or server.
    """
    from crossmargin.accounts.store._open import connect

    backend = None
    try:
        backend = connect(place, None, lenient=True)
        return verify_backend(backend, progress, expect)
    except StoreError as error:
        if error.code not in ("STO-011", "STO-012"):
            raise
        problem = Problem(None, "pages", error.message)
        return Verification(False, 0, None, error.message, Head(0, GENESIS), (problem,))
    finally:
        if backend is not None:
            backend.close()


def verify_backend(
    backend: Backend, progress: Callable[[int, int], None] | None, expect: Head | None
) -> Verification:
    """Verify an open database."""
    walk = _Walk(backend)
    # The witness is read before the log is: entries may be added meanwhile, never the reverse.
    seen = backend.acknowledged()
    end = walk.guarded(backend.head, None)
    last = end[0] if end else 0
    walk.entries(last, progress)
    for head, who in ((seen, "was acknowledged"), (expect, "is expected")):
        if isinstance(head, Head):
            walk.must_hold(head, last, who)
    if isinstance(seen, str):
        walk.notes.append(seen)
    elif seen is None and expect is None and last:
        walk.notes.append(_UNSEEN)
    walk.strays()
    for what in walk.guarded(backend.check_schema, []):
        walk.add(None, "schema", what)
    for what in walk.guarded(backend.check_pages, []):
        walk.add(None, "pages", f"the database finds its file damaged: {what}")
    return walk.result()


class _Walk:
    """Goes along the log and collects what is wrong."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._problems: list[Problem] = []
        self._count = 0
        self._good = Head(0, GENESIS)
        self._first_bad: int | None = None
        #: Hash of the entry before, as far as it can be trusted or read.
        self._before: bytes | None = GENESIS
        self._next = 1
        self.notes: list[str] = []

    def add(self, seq: int | None, field: str | None, what: str) -> None:
        """Note a fault."""
        self._count += 1
        # Faults of no entry are few, and must not be crowded out by a thousand damaged entries.
        if seq is None or len(self._problems) < _LISTED:
            self._problems.append(Problem(seq, field, what))
        if seq is not None and (self._first_bad is None or seq < self._first_bad):
            self._first_bad = seq

    def guarded(self, call: Callable[[], Any], otherwise: Any) -> Any:
        """Call, and note it where the database cannot answer."""
        try:
            return call()
        except StoreError as error:
            self.add(None, "pages", error.message)
            return otherwise

    def entries(self, last: int, progress: Callable[[int, int], None] | None) -> None:
        """Hold every entry to the chain; where a piece cannot be read, go entry by entry."""
        start = 1
        while start <= last:
            end = min(start + CHUNK - 1, last)
            try:
                found = list(bundles(self._backend, start, end))
            except StoreError:
                found = None
            if found is None:
                self._one_by_one(start, end)
            else:
                for row, lines in found:
                    self._entry(row, lines)
            start = end + 1
            if found == []:
                # A damaged number may be any: what is not there is not walked along.
                start = self.guarded(partial(self._backend.next_entry, start), None) or last + 1
            if progress is not None:
                progress(min(start - 1, last), last)
        self._gap(last + 1)

    def _one_by_one(self, start: int, end: int) -> None:
        unread = 0
        for seq in range(start, end + 1):
            try:
                for row, lines in bundles(self._backend, seq, seq):
                    self._entry(row, lines)
            except StoreError as error:
                self._gap(seq)
                unread += 1
                self.add(seq, "pages", f"entry {seq} cannot be read: {error.message}")
                self._before, self._next = None, seq + 1

    def _gap(self, seq: int) -> None:
        """Note what is missing before `seq`."""
        if self._next >= seq:
            return
        first, end = self._next, seq - 1
        what = (
            f"entry {first} is missing" if first == end else f"entries {first} to {end} are missing"
        )
        self.add(first, "missing", what)
        self._before, self._next = None, seq

    def _entry(self, row: EntryRow, lines: list[TransferLine]) -> None:
        seq = row[0]
        self._gap(seq)
        self._next = seq + 1
        moved = tuple(line[2:] for line in lines)
        stored = row[6]
        if self._before is not None:
            made = link(self._before, canonical(*row[:5], moved))
            if made == stored and row[5] == len(lines) and _in_order(lines):
                if self._first_bad is None:
                    self._good = Head(seq, made)
            else:
                self._diagnose(row, lines, made)
        # What follows is held to the hash that is written here, so that one fault is one fault.
        self._before = stored if isinstance(stored, bytes) and len(stored) == 32 else None

    def _diagnose(self, row: EntryRow, lines: list[TransferLine], made: bytes) -> None:
        """Say which part of an entry is not what was written."""
        seq, name = row[0], f"entry {row[0]} (id {str(row[1])[:80]!r})"
        if row[5] != len(lines) and isinstance(row[5], int):
            if made == row[6]:
                self.add(seq, "transfers", f"{name} has a wrong number of transfers written on it")
            else:
                self.add(seq, "transfers", f"{name} has {len(lines)} of {row[5]} transfers")
            return
        for field, value, kind in zip(_FIELDS, row, _KINDS):
            if not isinstance(value, kind):
                self.add(seq, field, f"the {field} of {name} is not of its kind")
                return
        if len(row[6]) != 32:
            self.add(seq, "hash", f"what is written as the hash of {name} is none")
            return
        if not _in_order(lines):
            self.add(seq, "transfers", f"the transfers of {name} are not numbered 0, 1, 2 …")
            return
        field = self._culprit(seq, made)
        if field != "hash" and self._before is not None and self._count < _TURNED:
            turned = flipped_field(self._before, row[:5], tuple(line[2:] for line in lines), row[6])
            if turned is not None:
                self.add(seq, turned, f"one bit of the {turned} of {name} is flipped")
                return
        what = {
            "hash": f"the hash of {name} is not what was written; its content is",
            "content": f"the content of {name} is not what was written: its hash does not fit it, "
            "and fits the entries after it",
            "chain": f"{name} does not fit the chain: its content or its hash is not what was "
            "written",
        }[field]
        self.add(seq, field, what)

    def _culprit(self, seq: int, made: bytes) -> str:
        """Ask the next entry, which was chained to the hash that was written here."""
        try:
            after = list(bundles(self._backend, seq, seq + 1))
        except StoreError:
            return "chain"
        if len(after) != 2:
            return "chain"
        (row, _), (following, lines) = after
        content = canonical(*following[:5], tuple(line[2:] for line in lines))
        if isinstance(row[6], bytes) and link(row[6], content) == following[6]:
            return "content"
        return "hash" if link(made, content) == following[6] else "chain"

    def must_hold(self, head: Head, last: int, who: str) -> None:
        """Compare with a head that is known from elsewhere."""
        if head.seq == 0:
            return
        if head.seq > last:
            gone = (
                f"entry {last + 1}" if head.seq == last + 1 else f"entries {last + 1} to {head.seq}"
            )
            self.add(last + 1, "tail", f"{gone} of the end are missing: entry {head.seq} {who}")
        elif self.guarded(lambda: self._backend.hash_at(head.seq), head.hash) != head.hash:
            self.add(head.seq, "chain", f"entry {head.seq} is not the one that {who}")

    def strays(self) -> None:
        """Look for rows that belong to no entry."""
        first = self.guarded(partial(self._backend.next_entry, -(2**63)), None)
        if first is not None and first < 1:
            self.add(None, "seq", f"there is an entry of number {first}, before the first")
        below, above = self.guarded(self._backend.stray, (0, 0))
        if below or above:
            self.add(None, "transfers", f"{below + above} transfers belong to no entry")

    def result(self) -> Verification:
        """Put it together."""
        good = self._good
        if self._count == 0:
            what = f"{good.seq:,} entries, all of them what was written"
        else:
            chosen = next((p for p in self._problems if p.seq == self._first_bad), None)
            what = (chosen or self._problems[0]).what
        return Verification(
            self._count == 0,
            good.seq,
            self._first_bad,
            what,
            good,
            tuple(self._problems),
            self._count - len(self._problems),
            tuple(self.notes),
        )


_FIELDS = ("seq", "id", "time_ns", "kind", "payload", "transfers", "hash")
_KINDS = (int, str, int, str, bytes, int, bytes)


def _in_order(lines: list[TransferLine]) -> bool:
    return all(line[1] == place for place, line in enumerate(lines))
