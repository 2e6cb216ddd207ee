"""What the log holds, and the hash chain over it.

The store does not know what an entry means. It keeps five fields and the transfers that follow
from them, in the order they were given, and binds each to all before it::

    h_0 = sha256("crossmargin-ledger/1")
    h_n = sha256(h_{n-1} || canonical_n)

``canonical_n`` is MessagePack, each value in its shortest form: an array of the sequence number,
id, time, kind, payload (binary) and the array of transfers, each of them an array of debit,
credit, asset, amount (decimal digits as text, so that no size is lost) and code. It is injective:
two entries with equal bytes are equal (house).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from crossmargin.errors import StoreError

#: The hash before the first entry.
GENESIS = hashlib.sha256(b"crossmargin-ledger/1").digest()
#: Longest name (id, kind, account, asset, code), signs.
NAME_MAX = 256
#: Largest payload, bytes.
PAYLOAD_MAX = 16 * 1024 * 1024
#: Amounts are below this: what 38 decimal digits hold, in Parquet and elsewhere.
AMOUNT_END = 10**38
#: Transfers that one entry may have.
TRANSFERS_MAX = 1_000_000
_TIME_END = 2**63
#: Names that were looked at once are not looked at again; forgotten when this many are kept.
_NAMES_KEPT = 200_000

_encode = msgspec.msgpack.Encoder().encode
_sha256 = hashlib.sha256


class TransferRow(NamedTuple):
    """Money that moves from one ledger account to another.

    Attributes
    ----------
    debit, credit : str
        Names of two different ledger accounts.
    asset : str
        What moves.
    amount : int
        Quanta of the asset, > 0 and below 10**38.
    code : str
        Why it moves.
    """

    debit: str
    credit: str
    asset: str
    amount: int
    code: str


@dataclass(frozen=True, slots=True)
class Entry:
    """An event as it is handed to the store.

    Attributes
    ----------
    id : str
        The caller's name for it: an entry of the same id is stored once.
    time_ns : int
        When it happened, nanoseconds UTC since 1970.
    kind : str
        What kind of event the payload is.
    payload : bytes
        The event itself, as its room writes it.
    transfers : sequence of TransferRow
        What it moves; empty for an event that moves nothing.
    """

    id: str
    time_ns: int
    kind: str
    payload: bytes
    transfers: Sequence[TransferRow] = ()


@dataclass(frozen=True, slots=True)
class Record:
    """An entry as it lies in the log: with its place and its link of the chain."""

    seq: int
    id: str
    time_ns: int
    kind: str
    payload: bytes
    transfers: tuple[TransferRow, ...]
    hash: bytes

    def entry(self) -> Entry:
        """Return what was handed to the store."""
        return Entry(self.id, self.time_ns, self.kind, self.payload, self.transfers)


@dataclass(frozen=True, slots=True)
class Appended:
    """The acknowledgement of one entry: it is on the disk.

    Attributes
    ----------
    seq : int
        Its place in the log, from 1.
    hash : bytes
        Its link of the chain, 32 bytes.
    duplicate : bool
        True where it was there before and nothing was written.
    """

    seq: int
    hash: bytes
    duplicate: bool


@dataclass(frozen=True, slots=True)
class Head:
    """The end of the log: number of its last entry (0: none) and its hash."""

    seq: int
    hash: bytes

    def __str__(self) -> str:
        """Write ``SEQ:HASH``, as ``crossmargin ledger verify --head`` reads it."""
        return f"{self.seq}:{self.hash.hex()}"


def parse_head(text: str, *, field: str | None = None) -> Head:
    """Read ``SEQ:HASH``.

    Raises
    ------
    StoreError
        ``STO-007`` when it is not a number, a colon and 64 hexadecimal digits.
    """
    number, _, digits = text.strip().partition(":")
    try:
        head = Head(int(number), bytes.fromhex(digits))
    except ValueError:
        head = Head(-1, b"")
    if head.seq < 0 or len(head.hash) != 32:
        raise StoreError(
            f"{text!r} is not the head of a log",
            code="STO-007",
            field=field,
            hint="write SEQ:HASH, as crossmargin ledger verify prints it",
        )
    return head


def canonical(
    seq: int, id: str, time_ns: int, kind: str, payload: bytes, transfers: Iterable[Sequence[str]]
) -> bytes:
    """Return the bytes of an entry that the chain is made over; amounts are decimal digits."""
    return _encode((seq, id, time_ns, kind, payload, transfers))


def link(before: bytes, content: bytes) -> bytes:
    """Return the hash of an entry from the hash before it and its canonical bytes."""
    return _sha256(before + content).digest()


class EntryCheck:
    """Looks at entries before anything is written; names that were good once are remembered."""

    __slots__ = ("_names",)

    def __init__(self) -> None:
        # By equality, so that a string enumeration's member becomes the plain string it means.
        self._names: dict[str, str] = {}

    def rows_of(self, entry: Entry) -> tuple[str, str, tuple[tuple[str, str, str, str, str], ...]]:
        """Return id, kind and transfers as plain texts, ready to be hashed and stored.

        Raises
        ------
        StoreError
            ``STO-007``, naming the entry and the field.
        """
        names = self._names
        if len(names) > _NAMES_KEPT:
            names.clear()
        if type(entry.time_ns) is not int or not -_TIME_END <= entry.time_ns < _TIME_END:
            raise _refused(entry, "time_ns", "is not a number of nanoseconds of 64 bits")
        if type(entry.payload) is not bytes or len(entry.payload) > PAYLOAD_MAX:
            raise _refused(entry, "payload", f"is not bytes, at most {PAYLOAD_MAX:,} of them")
        if len(entry.transfers) > TRANSFERS_MAX:
            raise _refused(entry, "transfers", f"are more than {TRANSFERS_MAX:,}")
        rows = []
        for place, (debit, credit, asset, amount, code) in enumerate(entry.transfers):
            if type(amount) is not int or not 0 < amount < AMOUNT_END:
                raise _refused(
                    entry, f"transfers[{place}].amount", "is not a whole number in 1 … 10^38 − 1"
                )
            try:
                row = (names[debit], names[credit], names[asset], str(amount), names[code])
            except (KeyError, TypeError):
                d, c, a, k = (
                    self._kept(name, entry, f"transfers[{place}].{what}")
                    for what, name in (
                        ("debit", debit), ("credit", credit), ("asset", asset), ("code", code),
                    )
                )  # fmt: skip
                row = (d, c, a, str(amount), k)
            if row[0] == row[1]:
                raise _refused(
                    entry, f"transfers[{place}]", f"debits and credits the same account {row[0]!r}"
                )
            rows.append(row)
        return (
            _plain(entry.id, entry, "id"),
            self._kept(entry.kind, entry, "kind"),
            tuple(rows),
        )

    def _kept(self, name: str, entry: Entry, field: str) -> str:
        plain = _plain(name, entry, field)
        self._names[plain] = plain
        return plain


def _plain(name: str, entry: Entry, field: str) -> str:
    if not isinstance(name, str) or not 0 < len(name) <= NAME_MAX or not name.isprintable():
        raise _refused(entry, field, f"is not a name: 1 to {NAME_MAX} signs that can be printed")
    return str.__str__(name)


def _refused(entry: Entry, field: str, why: str) -> StoreError:
    shown = entry.id if isinstance(entry.id, str) else repr(entry.id)
    return StoreError(
        f"entry {shown[:80]!r} cannot be stored: its {field} {why}",
        code="STO-007",
        field=field,
        hint="nothing of this call was stored",
    )
