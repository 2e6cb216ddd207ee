"""One writer at a time: the operating system's lock on a file, released when its holder dies.

The lock is what counts; who holds it is told by a row in the ledger's own tables. A file that is
left behind means nothing: the lock on it went with the process.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from crossmargin.errors import StoreError
from crossmargin.units import format_time


@dataclass(frozen=True, slots=True)
class Holder:
    """Who writes to a ledger.

    Attributes
    ----------
    name : str
        As the writer called itself.
    pid : int
        Process.
    host : str
        Machine.
    since_ns : int
        When it opened the ledger, nanoseconds UTC by its own clock.
    """

    name: str
    pid: int
    host: str
    since_ns: int

    def __str__(self) -> str:
        """Return who, where and since when, in words."""
        since = format_time(self.since_ns - self.since_ns % 1_000_000_000)
        return f"{self.name!r} (process {self.pid} on {self.host}, since {since})"


def held(where: str, holder: Holder | None) -> StoreError:
    """Return the refusal of a second writer."""
    who = str(holder) if holder else "another process, which has not said who it is"
    return StoreError(
        f"{where} is being written by {who}",
        code="STO-005",
        hint="one writer at a time: stop that one, or open it for reading",
    )


class FileLock:
    """A lock on a file beside the ledger.

    Raises
    ------
    OSError
        When the file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._handle: int | None = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        self._path = path

    def take(self) -> bool:
        """Try to take the lock; False when another holds it. Never waits."""
        assert self._handle is not None
        try:
            _lock(self._handle)
        except OSError:
            return False
        return self._is_still_there()

    def _is_still_there(self) -> bool:
        """Say whether the file that is locked is the one others would find."""
        assert self._handle is not None
        try:
            there, here = os.stat(self._path), os.fstat(self._handle)
        except OSError:
            return False
        return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)

    def release(self) -> None:
        """Give the lock back; the file stays, for a file removed could be locked twice."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


if os.name == "nt":  # pragma: no cover

    def _lock(handle: int) -> None:
        import msvcrt

        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
else:

    def _lock(handle: int) -> None:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
