"""Reading the log in pieces, each entry with its transfers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from crossmargin.accounts.store._backend import Backend, EntryRow, TransferLine

#: Entries read at once: no reader holds a transaction open while its caller thinks.
CHUNK = 2_000


def bundles(
    backend: Backend,
    first: int,
    last: int,
    mutex: AbstractContextManager[Any] | None = None,
    chunk: int = CHUNK,
) -> Iterator[tuple[EntryRow, list[TransferLine]]]:
    """Give each entry that is there with the transfers of its number."""
    for start in range(first, last + 1, chunk):
        end = min(start + chunk - 1, last)
        with mutex or nullcontext():
            rows = backend.entries(start, end)
            lines = backend.transfers(start, end)
        place, many = 0, len(lines)
        for row in rows:
            seq = row[0]
            while place < many and lines[place][0] < seq:
                place += 1  # of an entry that is missing; the verification reports it
            begin = place
            while place < many and lines[place][0] == seq:
                place += 1
            yield row, lines[begin:place]
