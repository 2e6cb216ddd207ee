"""Which field was damaged, where one bit is all that changed: the commonest fault of a medium.

The hash says only that an entry is not what was written. If turning one bit back makes it fit, the
place of that bit is the place of the fault, for no other content has that hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from crossmargin.accounts.store.entries import canonical

#: Canonical bytes of an entry that are tried: 8 hashes a byte, each of all the bytes.
_TRIED = 4_096
_NAMES = ("seq", "id", "time_ns", "kind", "payload")
_MOVED = ("debit", "credit", "asset", "amount", "code")


def flipped_field(
    before: bytes,
    fields: tuple[Any, Any, Any, Any, Any],
    moved: Sequence[Sequence[Any]],
    wanted: bytes,
) -> str | None:
    """Return the field in which one bit turned back gives the hash that was written.

    Parameters
    ----------
    before : bytes
        Hash of the entry before.
    fields : tuple
        seq, id, time_ns, kind and payload as they are.
    moved : sequence
        Transfers as they are.
    wanted : bytes
        Hash that was written.

    Returns
    -------
    str or None
        ``payload``, ``transfers[1].amount``, …; None where it is not one bit, or too long to try.
    """
    raw = bytearray(canonical(*fields, moved))
    if len(raw) > _TRIED:
        return None
    start = hashlib.sha256(before)
    for place in range(len(raw)):
        for bit in range(8):
            raw[place] ^= 1 << bit
            tried = start.copy()
            tried.update(raw)
            raw[place] ^= 1 << bit
            if tried.digest() == wanted:
                return _field_at(place, fields, moved)
    return None


def _field_at(place: int, fields: Sequence[Any], moved: Sequence[Sequence[Any]]) -> str:
    """Return the field that a byte of the canonical form belongs to."""
    end = 0
    for name, size in _sizes(fields, moved):
        end += size
        if place < end:
            return name
    return "transfers"


def _sizes(fields: Sequence[Any], moved: Sequence[Sequence[Any]]) -> Iterator[tuple[str, int]]:
    pack = msgspec.msgpack.encode
    yield "seq", 1  # the head of the array
    for name, value in zip(_NAMES, fields):
        yield name, len(pack(value))
    rows = [[len(pack(value)) for value in row] for row in moved]
    inside = sum(1 + sum(row) for row in rows)
    yield "transfers", len(pack(moved)) - inside
    for line, row in enumerate(rows):
        yield f"transfers[{line}]", 1
        for name, size in zip(_MOVED, row):
            yield f"transfers[{line}].{name}", size
