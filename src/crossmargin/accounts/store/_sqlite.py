"""A ledger in a SQLite file: write-ahead log, synchronised at each commit.

Beside ``NAME`` lie ``NAME-wal`` and ``NAME-shm`` (SQLite's own, while it is open or after a crash),
``NAME.lock`` (the writer's lock) and ``NAME.head`` (what was acknowledged last).
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from crossmargin.accounts.store._backend import EntryRow, Known, TransferLine
from crossmargin.accounts.store._lock import FileLock, Holder, held
from crossmargin.accounts.store._migrate import check_revision, upgrade
from crossmargin.accounts.store._reads import Reads
from crossmargin.accounts.store._sqlite_file import (
    cannot_write,
    connect,
    durable,
    remove,
    schema_made,
    schema_of,
    translated,
)
from crossmargin.accounts.store._witness import Witness, read_witness
from crossmargin.accounts.store.entries import GENESIS, Head
from crossmargin.accounts.store.schema import compiled
from crossmargin.codec import to_disk
from crossmargin.errors import StoreError

#: Ids asked for in one statement: below the least limit of parameters of any build.
_IDS = 500
#: Messages that an integrity check may give.
_MESSAGES = 20

_SQL = compiled("sqlite")


class SqliteBackend(Reads):
    """One connection to a ledger file; see `Backend`.

    Parameters
    ----------
    path : Path
        The ledger.
    holder : Holder or None
        Who writes; None opens for reading.
    create : bool
        Make the ledger where there is none.
    lenient : bool
        Open for reading whatever can be opened, without looking at the revision.
    """

    _sql = _SQL

    def __init__(
        self, path: Path, holder: Holder | None, *, create: bool = False, lenient: bool = False
    ) -> None:
        self.where = f"ledger {str(path)!r}"
        self.taken_over: Holder | None = None
        self._path = path
        self._lock: FileLock | None = None
        self._witness: Witness | None = None
        self._connection: sqlite3.Connection | None = None
        try:
            if holder is None:
                self._open_reading(lenient)
            else:
                self._open_writing(holder, create)
        except BaseException:
            self.close()
            raise

    # ------------------------------------------------------------------------- opening

    def _open_reading(self, lenient: bool) -> None:
        self._must_be_there()
        with self._said("open"):
            self._connection = connect(self._path, "ro")
        if not lenient:
            check_revision(self._revision(), where=self.where, writing=False)

    def _open_writing(self, holder: Holder, create: bool) -> None:
        if self._path.exists() or not create:
            self._look_first()
        self._take_lock()
        if not self._path.exists():
            self._make()
        self._must_be_there()
        with self._said("open"):
            self._connection = connect(self._path, "rw")
            durable(self._connection)
        if check_revision(self._revision(), where=self.where, writing=True):
            with self._said("upgrade"):
                upgrade("sqlite", lambda: connect(self._path, "rw"), "BEGIN IMMEDIATE")
        self._sign(holder)
        head = self.head()
        try:
            self._check_witness(head)
            self._witness = Witness(self._beside("head"), Head(*(head or (0, GENESIS))))
        except OSError as error:
            raise cannot_write(self._beside("head"), error) from None

    def _must_be_there(self) -> None:
        if self._path.is_file():
            return
        what = "it is not a file" if self._path.exists() else "there is no such file"
        raise StoreError(
            f"no {self.where}: {what}",
            code="STO-001",
            hint="check the path; crossmargin ledger init makes a ledger",
        )

    def _look_first(self) -> None:
        """Look what a file is before anything is written to it or laid beside it."""
        self._open_reading(lenient=True)
        check_revision(self._revision(), where=self.where, writing=True)
        self._db.close()
        self._connection = None

    def _take_lock(self) -> None:
        try:
            self._lock = FileLock(self._beside("lock"))
        except OSError as error:
            raise cannot_write(self._beside("lock"), error) from None
        if not self._lock.take():
            raise held(self.where, self._holder_elsewhere())

    def _holder_elsewhere(self) -> Holder | None:
        """Read who has the lock, from a connection that only reads."""
        with contextlib.suppress(sqlite3.Error, ValueError, TypeError):
            reader = connect(self._path, "ro")
            try:
                rows = reader.execute(_SQL["writer"]).fetchall()
                return Holder(*rows[0]) if rows else None
            finally:
                reader.close()
        return None

    def _make(self) -> None:
        """Make the tables in a file beside the place and move it there: whole, or not there.

        Who holds the lock may use one fixed name, so that a kill leaves at most one such file.
        """
        made = self._path.with_name(f".{self._path.name[:200]}.making")
        try:
            remove(made)
            made.touch(0o644)
            with self._said("make"):
                upgrade("sqlite", lambda: connect(made, "rw"), "BEGIN IMMEDIATE")
                connection = connect(made, "rw")
                durable(connection)
                connection.close()  # which moves the write-ahead log into the file
            to_disk(made)
            os.replace(made, self._path)
            to_disk(self._path.parent)
        except OSError as error:
            raise cannot_write(self._path, error) from None
        finally:
            remove(made)

    def _revision(self) -> str | None:
        try:
            with self._said("open"):
                rows = self._rows(_SQL["version"])
        except StoreError as error:
            if error.code == "STO-012" and self._is_another_database():
                raise StoreError(
                    f"{self._path.name!r} is a SQLite database without a ledger",
                    code="STO-001",
                    hint="check the path; crossmargin ledger init makes a ledger",
                ) from None
            raise
        return rows[0][0] if len(rows) == 1 and isinstance(rows[0][0], str) else None

    def _is_another_database(self) -> bool:
        try:
            names = {row[0] for row in self._rows("SELECT name FROM sqlite_master")}
        except sqlite3.Error:
            return False
        return not any(str(name).startswith("ledger_") for name in names)

    def _sign(self, holder: Holder) -> None:
        """Write down who writes; whoever is written there has lost the lock without leaving."""
        with self._said("open"):
            self._db.execute("BEGIN IMMEDIATE")
            for row in self._rows(_SQL["writer"]):
                with contextlib.suppress(TypeError, ValueError):
                    self.taken_over = Holder(*row)
            self._db.execute(_SQL["drop_writer"])
            row = (1, holder.name, holder.pid, holder.host, holder.since_ns)
            self._db.execute(_SQL["add_writer"], row)
            self._db.execute("COMMIT")

    def _check_witness(self, head: tuple[int, bytes] | None) -> None:
        seen = read_witness(self._beside("head"))
        if not isinstance(seen, Head) or seen.seq == 0:
            return
        if (found := self.hash_at(seen.seq)) != seen.hash:
            last = head[0] if head else 0
            what = (
                f"entry {seen.seq} was acknowledged, and the log ends at {last}"
                if found is None
                else f"entry {seen.seq} is not the one that was acknowledged"
            )
            raise StoreError(
                f"{self.where} has lost what it acknowledged: {what}",
                code="STO-012",
                hint="restore it from a copy; nothing is written to it as it is. "
                f"Without {self._beside('head').name} it is taken as it is",
            )

    def _beside(self, end: str) -> Path:
        return self._path.with_name(f"{self._path.name}.{end}")

    # ------------------------------------------------------------------------- reading

    @property
    def _db(self) -> sqlite3.Connection:
        assert self._connection is not None
        return self._connection

    def _rows(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        return self._db.execute(sql, values).fetchall()

    def head(self) -> tuple[int, bytes] | None:
        """Return number and hash of the last entry."""
        found = super().head()
        if found and not (isinstance(found[0], int) and isinstance(found[1], bytes)):
            raise translated(ValueError("its last entry has no number or no hash"), self.where,
                             "read")  # fmt: skip
        return found

    def known(self, ids: Sequence[str]) -> dict[str, Known]:
        """Return the entries that are there already."""
        out: dict[str, Known] = {}
        with self._said("read"):
            for start in range(0, len(ids), _IDS):
                some = ids[start : start + _IDS]
                marks = ",".join("?" * len(some))
                for row in self._rows(
                    "SELECT id, seq, time_ns, kind, payload, hash FROM ledger_entries "
                    f"WHERE id IN ({marks})",
                    some,
                ):
                    out[row[0]] = row[1:]
        return out

    # ------------------------------------------------------------------------- writing

    def begin(self) -> None:
        """Begin to write."""
        with self._said("write to"):
            self._db.execute("BEGIN IMMEDIATE")

    def insert(self, entries: Sequence[EntryRow], transfers: Sequence[TransferLine]) -> None:
        """Write rows; transfers first, for a trigger refuses them once their entry is there."""
        with self._said("write to"):
            self._db.executemany(_SQL["add_transfer"], transfers)
            self._db.executemany(_SQL["add_entry"], entries)

    def commit(self) -> None:
        """Return when the transaction is on the disk."""
        with self._said("write to"):
            self._db.execute("COMMIT")

    def rollback(self) -> None:
        """Give the transaction up."""
        with contextlib.suppress(sqlite3.Error):
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def witness(self, head: Head) -> None:
        """Write down beside the file what was acknowledged."""
        if self._witness is not None:
            self._witness.write(head)

    def acknowledged(self) -> Head | str | None:
        """Return what was acknowledged last."""
        return read_witness(self._beside("head"))

    def put_snapshot(self, name: str, seq: int, data: bytes, digest: bytes) -> None:
        """Keep one snapshot of a name."""
        with self._said("write to"):
            try:
                self._db.execute("BEGIN IMMEDIATE")
                self._db.execute(_SQL["drop_snapshots"], (name,))
                self._db.execute(_SQL["add_snapshot"], (name, seq, data, digest))
                self._db.execute("COMMIT")
            except sqlite3.Error:
                self.rollback()
                raise

    def snapshots(self, name: str, most: int) -> list[tuple[int, bytes, bytes]]:
        """Return snapshots, the latest first."""
        with self._said("read"):
            return self._rows(_SQL["snapshot"], (name, most))

    # ------------------------------------------------------------------------- looking for damage

    def check_pages(self) -> list[str]:
        """Run SQLite's own check of pages and indices."""
        with self._said("read"):
            rows = self._rows(f"PRAGMA integrity_check({_MESSAGES})")
        return [] if rows == [("ok",)] else [" ".join(str(row[0]).split()) for row in rows]

    def check_schema(self) -> list[str]:
        """Compare tables and triggers with those of a ledger that is made anew."""
        with self._said("read"):
            found = schema_of(self._db)
        wanted = schema_made()
        out = [f"{name} is missing" for name in wanted if name not in found]
        out += [f"{name} should not be there" for name in found if name not in wanted]
        return out + [
            f"{name} is not as it was made"
            for name in wanted
            if name in found and found[name] != wanted[name]
        ]

    # ------------------------------------------------------------------------- the end

    def close(self) -> None:
        """Give the lock back and close."""
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self.rollback()
                if self._lock is not None and self._witness is not None:
                    self._connection.execute(_SQL["drop_writer"])
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None
        if self._witness is not None:
            self._witness.close()
            self._witness = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    @contextlib.contextmanager
    def _said(self, doing: str) -> Iterator[None]:
        """Turn the driver's errors into sentences."""
        try:
            yield
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise translated(error, self.where, doing) from None
        except Exception as error:
            # SQLAlchemy wraps the driver's error while the tables are made or upgraded.
            inner = getattr(error, "orig", None)
            if isinstance(inner, sqlite3.Error):
                raise translated(inner, self.where, doing) from None
            raise
