"""Applying events: one, many, or a file of them.

An event is applied whole or refused whole. A refusal is a value with a reason; only a fault of
our own code raises.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from crossmargin.accounts import (
    _apply_last_resorts,
    _apply_lending,
    _apply_market,
    _apply_money,
    _apply_terms,
    _apply_trades,
)
from crossmargin.accounts._encoding import encode
from crossmargin.accounts.events import Event
from crossmargin.accounts.ledger import Move, Transfer, transfers_of
from crossmargin.accounts.pots import Pot
from crossmargin.accounts.state import State
from crossmargin.codec import decode_json, read_bytes
from crossmargin.errors import CrossmarginError, InputError, LedgerError, invariant
from crossmargin.units import parse_time

#: Asked once an event has been carried out, with the pots that must stand above their initial
#: margin after it; says why not, or None. Not asked on replay: what was accepted stays accepted.
Guard = Callable[[State, tuple[Pot, ...]], str | None]

Handler = Callable[[State, Any], tuple[Pot, ...]]

_HANDLERS: dict[type, Handler] = {
    **_apply_terms.HANDLERS,
    **_apply_money.HANDLERS,
    **_apply_lending.HANDLERS,
    **_apply_trades.HANDLERS,
    **_apply_market.HANDLERS,
    **_apply_last_resorts.HANDLERS,
}

_decode = msgspec.json.Decoder(Event).decode
_TIME_END = 2**63
_time_ns = lru_cache(maxsize=4096)(parse_time)


class Applied:
    """An event that has been carried out.

    Attributes
    ----------
    id : str
        Of the event.
    seq : int
        Its place among the events applied, from 1.
    """

    __slots__ = ("_moves", "id", "seq")

    def __init__(self, id: str, seq: int, moves: list[Move]) -> None:
        self.id = id
        self.seq = seq
        self._moves = moves

    @property
    def transfers(self) -> tuple[Transfer, ...]:
        """What moved, in order."""
        return transfers_of(self._moves)


@dataclass(frozen=True, slots=True)
class Duplicate:
    """An event that was applied before, with the same content: nothing has changed."""

    id: str


@dataclass(frozen=True, slots=True)
class Refused:
    """An event that cannot be carried out: nothing has changed, and this is why."""

    id: str
    error: CrossmarginError


Outcome = Applied | Duplicate | Refused


def time_of(event: Event) -> int:
    """Return when an event happened, ns UTC.

    Raises
    ------
    InputError
        ``INP-010`` for what is no time between 1970 and 2262.
    """
    found = _time_ns(event.time)
    if not 0 <= found < _TIME_END:
        raise InputError(
            f"{event.time!r} is not between 1970 and 2262",
            code="INP-010",
            field="time",
            hint="nanoseconds in 64 bits reach no further",
        )
    return found


def _checked(event: Event) -> bytes:
    """Return an event's canonical bytes, having read them back.

    A Struct made in Python checks nothing: what could not be read from a log again is refused
    here, before it moves anything.
    """
    try:
        raw = encode(event)
        _decode(raw)
        if event.id.isprintable():
            return raw
        why = "the id has signs that cannot be printed"
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError) as error:
        why = str(error)
    return _no_event(why)


def _no_event(why: str) -> NoReturn:
    raise LedgerError(
        f"this is no event: {why}",
        code="LED-017",
        hint="see docs/models/ledger.md for the kinds of event and their fields",
    )


def apply(state: State, event: Event, guard: Guard | None = None) -> Outcome:
    """Carry out one event, or refuse it.

    Parameters
    ----------
    state : State
        Changed in place, unless the event is a duplicate or refused.
    event : Event
        What happened.
    guard : callable, optional
        Sees the state after the event and the pots that must stand above IM; a reason from it
        refuses the event (``LED-009``).
    """
    try:
        raw = _checked(event)
    except LedgerError as error:
        return Refused(str(event.id), error)
    mine = hashlib.blake2b(raw, digest_size=16).digest()
    known = state.seen.get(event.id)
    if known is not None:
        if known[:16] == mine:
            return Duplicate(event.id)
        return Refused(event.id, _other_content(event.id))
    ledger = state.ledger
    try:
        time_of(event)
        pots = _HANDLERS[type(event)](state, event)
        ledger.check_touched()
        if guard is not None and pots:
            reason = guard(state, pots)
            if reason is not None:
                raise LedgerError(reason, code="LED-009", account=_whose(pots))
    except (LedgerError, InputError) as error:
        ledger.rollback()
        return Refused(event.id, error)
    except BaseException:
        ledger.rollback()
        raise
    moves = ledger.commit()
    state.count += 1
    state.seen[event.id] = mine + state.count.to_bytes(8, "big")
    state.head = hashlib.blake2b(state.head + mine, digest_size=32).digest()
    return Applied(event.id, state.count, moves)


def replay(events: Iterable[Event], state: State | None = None) -> State:
    """Apply events that were all accepted before, and return the state.

    Raises
    ------
    LedgerError
        The reason, when one of them is refused: this log was not written by this ledger.
    """
    made = State() if state is None else state
    for event in events:
        outcome = apply(made, event)
        if isinstance(outcome, Refused):
            raise outcome.error
    return made


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line of an event file that is no event.

    Attributes
    ----------
    line : int
        From 1.
    error : CrossmarginError
        ``LED-017``, with the field and what to do.
    """

    line: int
    error: CrossmarginError


def read_events(path: str | Path) -> Iterator[tuple[int, Event | BadLine]]:
    """Read an event file: JSON, one event a line; empty lines are passed over.

    Yields
    ------
    tuple of (line number, event or what is wrong)

    Raises
    ------
    InputError
        ``INP-005`` when the file cannot be read, ``INP-002`` when it is empty.
    """
    raw = read_bytes(path, what="event file")
    yield from parse_events(raw)


def parse_events(raw: bytes) -> Iterator[tuple[int, Event | BadLine]]:
    """Decode the lines of an event file."""
    for number, line in enumerate(raw.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            event = _decode(line)
            time_of(event)
            yield number, event
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            yield number, BadLine(number, _bad_line(number, line))
        except InputError as error:
            yield number, BadLine(number, _as_line(number, error))


def _bad_line(number: int, line: bytes) -> CrossmarginError:
    try:
        decode_json(line, Event, what=f"line {number}")  # type: ignore[arg-type]
    except CrossmarginError as error:
        return LedgerError(
            error.message,
            code="LED-017",
            field=error.field,
            hint="see docs/models/ledger.md for the kinds of event and their fields",
        )
    invariant(False, f"line {number} was read the second time")
    raise AssertionError


def _as_line(number: int, error: CrossmarginError) -> CrossmarginError:
    return LedgerError(
        f"line {number}: {error.message}", code="LED-017", field=error.field, hint=error.hint
    )


def _other_content(id: str) -> LedgerError:
    return LedgerError(
        f"an event {id!r} with other content has been applied",
        code="LED-007",
        field="id",
        hint="give the new event an id of its own; a correction names the event it corrects",
    )


def _whose(pots: tuple[Pot, ...]) -> str | None:
    return pots[0].account.id if pots[0].account is not None else None
