"""Opening a ledger, wherever it is kept."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

from crossmargin.accounts.store._backend import Backend
from crossmargin.accounts.store._lock import Holder
from crossmargin.accounts.store._store import Store
from crossmargin.errors import StoreError

#: Between two tries for the lock, seconds.
_AGAIN_S = 0.02


def open_store(
    place: str | Path,
    *,
    writer: str | None = None,
    create: bool = False,
    wait_s: float = 0.0,
    clock: Callable[[], int] = time.time_ns,
) -> Store:
    """Open a ledger.

    Parameters
    ----------
    place : str or Path
        File of a SQLite ledger, ``sqlite:///FILE``, or ``postgresql://…``.
    writer : str or None
        What the writer calls itself; a second one is refused at once. None opens for reading,
        which nobody hinders and which hinders nobody.
    create : bool
        Make the ledger where there is none; for a writer only.
    wait_s : float
        How long to wait for another writer to leave, seconds. A server may take a moment to
        notice that its client has died; a dead process's lock on a file is gone at once.
    clock : callable
        Nanoseconds since 1970, only for telling others since when this writer holds the ledger.

    Raises
    ------
    StoreError
        ``STO-001`` no ledger there, ``STO-003`` written by a newer crossmargin, ``STO-004`` by an
        older one (for reading), ``STO-005`` held by another writer, ``STO-010`` may not be
        written, ``STO-012`` damaged, ``STO-014`` a server or an installation that does not do.
    """
    if writer is not None and not (0 < len(writer) <= 100 and writer.isprintable()):
        raise StoreError(
            f"{writer!r} is not the name of a writer",
            code="STO-007",
            field="writer",
            hint="give 1 to 100 signs that can be printed",
        )
    holder = None if writer is None else Holder(writer, os.getpid(), socket.gethostname(), clock())
    store = Store(_connect_waiting(place, holder, create, wait_s), writing=holder is not None)
    try:
        store.start()
    except BaseException:
        store.close()
        raise
    return store


def _connect_waiting(
    place: str | Path, holder: Holder | None, create: bool, wait_s: float
) -> Backend:
    end = time.monotonic() + wait_s
    while True:
        try:
            return connect(place, holder, create=create)
        except StoreError as error:
            if error.code != "STO-005" or time.monotonic() >= end:
                raise
        time.sleep(_AGAIN_S)


def create_store(place: str | Path, *, clock: Callable[[], int] = time.time_ns) -> None:
    """Make an empty ledger.

    Raises
    ------
    StoreError
        ``STO-002`` when there is something already; else as `open_store`.
    """
    try:
        open_store(place).close()
    except StoreError as error:
        if error.code != "STO-001" or (_is_file(place) and Path(_file_of(place)).exists()):
            raise _there_already(place) from None
    else:
        raise _there_already(place)
    open_store(place, writer="init", create=True, clock=clock).close()


def _there_already(place: str | Path) -> StoreError:
    shown = repr(_file_of(place)) if _is_file(place) else "that database"
    return StoreError(
        f"there is something in {shown} already",
        code="STO-002",
        hint="name another place; nothing was changed",
    )


def connect(
    place: str | Path, holder: Holder | None, *, create: bool = False, lenient: bool = False
) -> Backend:
    """Return the database of a place."""
    if not _is_file(place):
        from crossmargin.accounts.store._postgres import PostgresBackend

        return PostgresBackend(str(place), holder, create=create, lenient=lenient)
    from crossmargin.accounts.store._sqlite import SqliteBackend

    return SqliteBackend(Path(_file_of(place)), holder, create=create, lenient=lenient)


def _is_file(place: str | Path) -> bool:
    text = str(place)
    if text.startswith(("postgresql://", "postgres://")):
        return False
    scheme, sign, _ = text.partition("://")
    if sign and scheme != "sqlite" and scheme.isalnum():
        raise StoreError(
            f"a ledger cannot be kept in {scheme}",
            code="STO-001",
            hint="give a file, sqlite:///FILE or postgresql://…",
        )
    return True


def _file_of(place: str | Path) -> str:
    text = str(place)
    found = text.removeprefix("sqlite:///") if text.startswith("sqlite://") else text
    if not found or "\0" in found or found.startswith("sqlite:"):
        raise StoreError(f"{text!r} names no file", code="STO-001", hint="write sqlite:///FILE")
    return found
