"""What was acknowledged last, in a small file beside a SQLite ledger.

A log that lost its tail is a good log to its own chain: nothing in it says that there was more.
SQLite itself drops the end of a damaged write-ahead log in silence. So after each commit the head
is written here, without waiting for the disk: a killed process loses nothing of it, a power cut
may leave it behind the log but never ahead. A log that ends before its witness has lost entries.
"""

from __future__ import annotations

import contextlib
import os
import zlib
from pathlib import Path

from crossmargin.accounts.store.entries import Head

_TRIES = 3
_SIZE = 20 + 1 + 64 + 1 + 8 + 1


def _text(head: Head) -> bytes:
    body = f"{head.seq:020d} {head.hash.hex()}"
    return f"{body} {zlib.crc32(body.encode()):08x}\n".encode()


def read_witness(path: Path) -> Head | str | None:
    """Return the head that was acknowledged last, None without a file, or why it is not readable.

    A writer may be writing it: what is not whole is read again before it is called unreadable.

    Returns
    -------
    Head or str or None
        A string is a sentence about a file that is not what was written.
    """
    for _ in range(_TRIES):
        found = _read_once(path)
        if not isinstance(found, str):
            break
    return found


def _read_once(path: Path) -> Head | str | None:
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"{path.name} cannot be read: {(error.strerror or 'unknown reason').lower()}"
    try:
        seq, digits, _ = raw.decode("ascii").split(" ")
        head = Head(int(seq), bytes.fromhex(digits))
    except ValueError:
        head = Head(-1, b"")
    if _text(head) != raw:
        return f"{path.name} is not readable, so that the end of the log has no witness"
    return head


class Witness:
    """Writes the head after each commit.

    Raises
    ------
    OSError
        When the file cannot be made.
    """

    def __init__(self, path: Path, head: Head) -> None:
        self._handle: int | None = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        os.ftruncate(self._handle, _SIZE)
        self._put(head)

    def write(self, head: Head) -> None:
        """Write down what was acknowledged, in place: a full disk has room for it."""
        # The entry is on the disk already; a witness that lags only sees less.
        with contextlib.suppress(OSError):
            self._put(head)

    def _put(self, head: Head) -> None:
        if self._handle is not None:
            os.lseek(self._handle, 0, os.SEEK_SET)
            os.write(self._handle, _text(head))

    def close(self) -> None:
        """Close the file."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
