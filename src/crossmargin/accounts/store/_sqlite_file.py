"""A SQLite file of a ledger: how it is opened, compared, and what its errors mean."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
from functools import cache
from pathlib import Path
from urllib.parse import quote

from crossmargin.accounts.store._migrate import upgrade
from crossmargin.errors import StoreError

#: How long a statement waits for another program's lock, seconds.
BUSY_S = 5.0
#: Pages of the write-ahead log (4 KiB each) after which they are moved into the file.
_CHECKPOINT_PAGES = 4_000
#: Signs of a driver's message that are shown.
_WORDS_MAX = 160


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """Open a file without making one; a log on a medium without writing has no -shm to share."""
    url = f"file:{quote(str(path.absolute()))}?mode={mode}"
    if mode == "ro" and not os.access(path.parent, os.W_OK):
        wal = path.with_name(path.name + "-wal")
        if not (wal.exists() and wal.stat().st_size):
            url += "&immutable=1"
    connection = sqlite3.connect(
        url, uri=True, timeout=BUSY_S, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("PRAGMA trusted_schema=OFF")
        connection.execute("PRAGMA cell_size_check=ON")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def durable(connection: sqlite3.Connection) -> None:
    """Set what makes a commit last; the mode of the journal stays with the file."""
    (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
    if mode != "wal":
        raise sqlite3.OperationalError(f"the file system allows no write-ahead log ({mode})")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA fullfsync=ON")
    connection.execute("PRAGMA checkpoint_fullfsync=ON")
    connection.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
    connection.execute("PRAGMA cache_size=-65536")


def remove(path: Path) -> None:
    for end in ("", "-wal", "-shm", "-journal"):
        with contextlib.suppress(OSError):
            os.unlink(f"{path}{end}")


def schema_of(connection: sqlite3.Connection) -> dict[str, tuple[str, str | None]]:
    rows = connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
    return {
        f"{kind} {name}": (kind, sql)
        for kind, name, sql in rows
        if not str(name).startswith("sqlite_stat")
    }


@cache
def schema_made() -> dict[str, tuple[str, str | None]]:
    """Return tables and triggers as the migrations make them."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made"
        upgrade("sqlite", lambda: sqlite3.connect(path, isolation_level=None), "BEGIN IMMEDIATE")
        connection = sqlite3.connect(path)
        try:
            return schema_of(connection)
        finally:
            connection.close()


def cannot_write(path: Path, error: OSError) -> StoreError:
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
