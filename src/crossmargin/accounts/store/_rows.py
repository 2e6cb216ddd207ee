"""Reading the log in pieces, each entry with its transfers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from crossmargin.accounts.store._backend import Backend, EntryRow, TransferLine
from crossmargin.errors import StoreError

#: Entries read at once: no reader holds a transaction open while its caller thinks.
CHUNK = 2_000


def bundles(
    backend: Backend,
    first: int,
    last: int,
    mutex: AbstractContextManager[Any] | None = None,
    chunk: int = CHUNK,
    dense: bool = False,
) -> Iterator[tuple[EntryRow, list[TransferLine]]]:
    """Give each entry that is there with the transfers of its number.

    Where a piece cannot be read it is read entry by entry, up to the one that is damaged.

    Raises
    ------
    StoreError
        At the first entry that cannot be read; with `dense` also where one is missing.
    """
    for start in range(first, last + 1, chunk):
        end = min(start + chunk - 1, last)
        try:
            with mutex or nullcontext():
                rows, lines = _piece(backend, start, end)
        except StoreError:
            if start == end:
                raise
            yield from bundles(backend, start, end, mutex, 1, dense)
            continue
        place, many = 0, len(lines)
        for row in rows:
            seq = row[0]
            while place < many and lines[place][0] < seq:
                place += 1  # of an entry that is missing; the verification reports it
            begin = place
            while place < many and lines[place][0] == seq:
                place += 1
            yield row, lines[begin:place]
        if dense and len(rows) < end - start + 1:
            raise StoreError(
                f"entries of {backend.where} are missing between {start} and {end}",
                code="STO-012",
                hint="crossmargin ledger verify says what is damaged",
            )


def _piece(backend: Backend, start: int, end: int) -> tuple[list[EntryRow], list[TransferLine]]:
    """Read rows; a damaged tree may answer with others than were asked for."""
    rows, lines = backend.entries(start, end), backend.transfers(start, end)
    last = start - 1
    for row in rows:
        # A flipped bit in the table's own description may turn its numbers into text.
        if not (isinstance(row[0], int) and last < row[0] <= end):
            raise StoreError(
                f"{backend.where} gives entry {str(row[0])[:20]!r} where {start} to {end} "
                "were asked for",
                code="STO-012",
                hint="crossmargin ledger verify says what is damaged",
            )
        last = row[0]
    if not all(isinstance(line[0], int) for line in lines):
        raise StoreError(
            f"{backend.where} gives transfers of no entry for {start} to {end}",
            code="STO-012",
            hint="crossmargin ledger verify says what is damaged",
        )
    return rows, lines
