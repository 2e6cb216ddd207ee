"""A ledger in a SQLite file: write-ahead log, synchronised at each commit.

Beside ``NAME`` lie ``NAME-wal`` and ``NAME-shm`` (SQLite's own, while it is open or after a crash),
``NAME.lock`` (the writer's lock) and ``NAME.head`` (what was acknowledged last).
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from crossmargin.accounts.store._backend import EntryRow, Known, TransferLine
from crossmargin.accounts.store._lock import FileLock, Holder, held
from crossmargin.accounts.store._migrate import check_revision, upgrade
from crossmargin.accounts.store._witness import Witness, read_witness
from crossmargin.accounts.store.entries import GENESIS, Head
from crossmargin.accounts.store.schema import compiled
from crossmargin.errors import StoreError

#: How long a statement waits for another program's lock, seconds.
_BUSY_S = 5.0
#: Pages of the write-ahead log (4 KiB each) after which they are moved into the file.
_CHECKPOINT_PAGES = 4_000
#: Ids asked for in one statement: below the least limit of parameters of any build.
_IDS = 500
#: Messages that an integrity check may give.
_MESSAGES = 20
#: Signs of a driver's message that are shown.
_WORDS_MAX = 160

_SQL = compiled("sqlite")


class SqliteBackend:
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
            self._connection = _connect(self._path, "ro")
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
            self._connection = _connect(self._path, "rw")
            _durable(self._connection)
        if check_revision(self._revision(), where=self.where, writing=True):
            with self._said("upgrade"):
                upgrade("sqlite", lambda: _connect(self._path, "rw"), "BEGIN IMMEDIATE")
        self._sign(holder)
        head = self.head()
        try:
            self._check_witness(head)
            self._witness = Witness(self._beside("head"), Head(*(head or (0, GENESIS))))
        except OSError as error:
            raise _cannot_write(self._beside("head"), error) from None

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
            raise _cannot_write(self._beside("lock"), error) from None
        if not self._lock.take():
            raise held(self.where, self._holder_elsewhere())

    def _holder_elsewhere(self) -> Holder | None:
        """Read who has the lock, from a connection that only reads."""
        with contextlib.suppress(sqlite3.Error, ValueError, TypeError):
            reader = _connect(self._path, "ro")
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
            _remove(made)
            made.touch(0o644)
            with self._said("make"):
                upgrade("sqlite", lambda: _connect(made, "rw"), "BEGIN IMMEDIATE")
                connection = _connect(made, "rw")
                _durable(connection)
                connection.close()  # which moves the write-ahead log into the file
            _sync(made)
            os.replace(made, self._path)
            _sync(self._path.parent)
        except OSError as error:
            raise _cannot_write(self._path, error) from None
        finally:
            _remove(made)

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
        with self._said("read"):
            rows = self._rows(_SQL["head"])
        if rows and not (isinstance(rows[0][0], int) and isinstance(rows[0][1], bytes)):
            raise translated(ValueError("its last entry has no number or no hash"), self.where,
                             "read")  # fmt: skip
        return rows[0] if rows else None

    def hash_at(self, seq: int) -> bytes | None:
        """Return the stored hash of an entry."""
        with self._said("read"):
            rows = self._rows(_SQL["hash_at"], (seq,))
        return rows[0][0] if rows else None

    def entries(self, first: int, last: int) -> list[EntryRow]:
        """Return rows in the order of the log."""
        with self._said("read"):
            return self._rows(_SQL["entries"], (first, last))

    def transfers(self, first: int, last: int) -> list[TransferLine]:
        """Return the transfers of entries."""
        with self._said("read"):
            return self._rows(_SQL["transfers"], (first, last))

    def next_entry(self, seq: int) -> int | None:
        """Return the least number of an entry from `seq` on."""
        with self._said("read"):
            (found,) = self._rows(_SQL["next_entry"], (seq,))[0]
        return found if isinstance(found, int) else None

    def stray(self) -> tuple[int, int]:
        """Return how many transfers lie below and above the entries."""
        with self._said("read"):
            below = self._rows(_SQL["transfers_below"])[0][0]
            above = self._rows(_SQL["transfers_above"])[0][0]
        return below, above

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
            found = _schema_of(self._db)
        wanted = _schema_made()
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


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    """Open a file without making one; a log on a medium without writing has no -shm to share."""
    url = f"file:{quote(str(path.absolute()))}?mode={mode}"
    if mode == "ro" and not os.access(path.parent, os.W_OK):
        wal = path.with_name(path.name + "-wal")
        if not (wal.exists() and wal.stat().st_size):
            url += "&immutable=1"
    connection = sqlite3.connect(
        url, uri=True, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("PRAGMA trusted_schema=OFF")
        connection.execute("PRAGMA cell_size_check=ON")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _durable(connection: sqlite3.Connection) -> None:
    """Set what makes a commit last; the mode of the journal stays with the file."""
    (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
    if mode != "wal":
        raise sqlite3.OperationalError(f"the file system allows no write-ahead log ({mode})")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA fullfsync=ON")
    connection.execute("PRAGMA checkpoint_fullfsync=ON")
    connection.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
    connection.execute("PRAGMA cache_size=-65536")


def _remove(path: Path) -> None:
    for end in ("", "-wal", "-shm", "-journal"):
        with contextlib.suppress(OSError):
            os.unlink(f"{path}{end}")


def _sync(path: Path) -> None:
    """Have the disk keep a file or a folder's names."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _schema_of(connection: sqlite3.Connection) -> dict[str, tuple[str, str | None]]:
    rows = connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
    return {
        f"{kind} {name}": (kind, sql)
        for kind, name, sql in rows
        if not str(name).startswith("sqlite_stat")
    }


@cache
def _schema_made() -> dict[str, tuple[str, str | None]]:
    """Return tables and triggers as the migrations make them."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made"
        upgrade("sqlite", lambda: sqlite3.connect(path, isolation_level=None), "BEGIN IMMEDIATE")
        connection = sqlite3.connect(path)
        try:
            return _schema_of(connection)
        finally:
            connection.close()


def _cannot_write(path: Path, error: OSError) -> StoreError:
    why = (error.strerror or "unknown reason").lower()
    return StoreError(
        f"cannot write {str(path)!r}: {why}",
        code="STO-009" if error.errno == 28 else "STO-010",
        hint="check that the folder exists, may be written and has room",
    )


#: SQLite's primary result codes: code of ours, words, remedy.
_WORDS = {
    sqlite3.SQLITE_FULL: ("STO-009", "the disk is full", "make room and send it again"),
    sqlite3.SQLITE_READONLY: ("STO-010", "it may not be written", "check its permissions"),
    sqlite3.SQLITE_PERM: ("STO-010", "access is not allowed", "check its permissions"),
    sqlite3.SQLITE_CANTOPEN: (
        "STO-010", "it, or the folder it lies in, may not be opened", "check the permissions",
    ),
    sqlite3.SQLITE_BUSY: (
        "STO-005", "another program holds it", "close what else has the file open",
    ),
    sqlite3.SQLITE_LOCKED: (
        "STO-005", "another program holds it", "close what else has the file open",
    ),
    sqlite3.SQLITE_IOERR: (
        "STO-011", "the operating system could not carry it out",
        "check the disk, open the ledger again and send what was not acknowledged again",
    ),
    sqlite3.SQLITE_NOTADB: (
        "STO-012", "its first page is not that of a SQLite database",
        "check the path; restore it from a copy if it was a ledger",
    ),
    sqlite3.SQLITE_CORRUPT: (
        "STO-012", "its pages are damaged", "crossmargin ledger verify says what is still good",
    ),
}  # fmt: skip


def translated(error: Exception, where: str, doing: str) -> StoreError:
    """Return what a driver's error means."""
    number = getattr(error, "sqlite_errorcode", None)
    code, words, hint = _WORDS.get(
        -1 if number is None else number & 0xFF,
        ("STO-012", _brief(error), "crossmargin ledger verify says what is damaged"),
    )
    return StoreError(f"cannot {doing} {where}: {words}", code=code, hint=hint)


def _brief(error: Exception) -> str:
    """Return a driver's words on one line: of a damaged file it may print whole pages."""
    text = " ".join(str(error).split())
    shown = "".join(sign if sign.isprintable() else "?" for sign in text)
    return shown if len(shown) <= _WORDS_MAX else shown[:_WORDS_MAX] + " …"
