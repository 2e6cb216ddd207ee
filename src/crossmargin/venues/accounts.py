"""From a venue's recorded replies to one account of ours, with the venue's own figures beside it.

Each reader is a pure function from decoded JSON: it knows the shapes of its venue's replies,
joins several replies of one account (balances, positions, orders, instruments, settings) and
refuses, in a sentence, what it cannot read or what an account file cannot say. Money that a venue
pools is counted once, whichever replies repeat it; isolated positions get a pool of their own
that holds what is pledged to them; profit is never part of a balance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from crossmargin.codec import decode_json, read_bytes
from crossmargin.errors import InputError
from crossmargin.venues import binance, bybit, deribit_account, derive, hyperliquid, okx
from crossmargin.venues._draft import Draft, Part, VenueReading
from crossmargin.venues._reply import decimal_of

AUTO = "auto"


@dataclass(frozen=True, slots=True)
class _Reader:
    """How to know a venue's replies, and how to read them."""

    title: str
    recognise: Callable[[Any], str | None]
    read: Callable[[Sequence[Part], Draft], None]


_READERS: dict[str, _Reader] = {
    name: _Reader(module.VENUE, module.recognise, module.read)
    for name, module in (
        ("binance", binance),
        ("bybit", bybit),
        ("deribit", deribit_account),
        ("derive", derive),
        ("hyperliquid", hyperliquid),
        ("okx", okx),
    )
}


def account_venues() -> list[str]:
    """Return the names of the venues whose account replies can be read, sorted."""
    return sorted(_READERS)


def read_account_replies(
    replies: Mapping[str, Any] | Sequence[Any],
    *,
    venue: str = AUTO,
    account: str | None = None,
    mode: str | None = None,
    contract_sizes: Mapping[str, Any] | None = None,
) -> VenueReading:
    """Read the replies of one account.

    Parameters
    ----------
    replies : mapping or sequence
        Decoded JSON, several replies of one account taken at one moment; the keys of a mapping
        name them in messages.
    venue : str
        One of :func:`account_venues`, or ``auto``: from the shape of the replies.
    account : str, optional
        Name of the account; by default one from the replies, else the venue's name.
    mode : str, optional
        Where the replies do not tell: ``unified`` (Hyperliquid) and ``isolated`` (Bybit) change
        what is read; any other word is written down.
    contract_sizes : mapping of str to number, optional
        Units per contract by the venue's symbol; they win over the venue's own list.

    Returns
    -------
    VenueReading
        Account, the venue's own figures, what was read, ignored and inferred.

    Raises
    ------
    InputError
        ``INP-001`` an instrument that names cannot express, ``INP-003`` another shape,
        ``INP-004`` not a number, ``INP-006`` a side against the sign, ``INP-011`` a missing
        figure, ``INP-032`` the venue's own error, ``INP-060`` unknown replies, ``INP-061``
        replies that several venues could have sent, ``INP-062`` replies that contradict each
        other, ``INP-063`` what an account file cannot say.
    """
    if not isinstance(replies, Mapping):
        replies = {f"reply {index + 1}": reply for index, reply in enumerate(replies)}
    name, parts, empty = _sort(replies, venue)
    sizes: dict[str, Decimal] = {}
    for symbol, given in (contract_sizes or {}).items():
        size = decimal_of(given, f"contract_sizes.{symbol}", symbol)
        if size is None or size <= 0:
            raise InputError(
                f"the contract size of {symbol} is {given!r}, not a positive number",
                code="INP-004",
                instrument=symbol,
                field="contract_sizes",
            )
        sizes[symbol] = size
    reader = _READERS[name]
    draft = Draft(name, mode, sizes)
    draft.read += [f"{part.source}: {part.kind}" for part in parts]
    draft.ignored += [f"{source}: empty" for source in empty]
    try:
        reader.read(parts, draft)
        return draft.build(account)
    except InputError as error:
        raise error.located(account=account or draft.name or name) from None


def read_account_files(
    paths: Sequence[str | Path],
    *,
    venue: str = AUTO,
    account: str | None = None,
    mode: str | None = None,
    contract_sizes: Mapping[str, Any] | None = None,
) -> VenueReading:
    """Read recorded replies from files; see :func:`read_account_replies`.

    Raises
    ------
    InputError
        As :func:`read_account_replies`; ``INP-002`` and ``INP-005`` for files that cannot be
        read.
    """
    replies: dict[str, Any] = {}
    for path in paths:
        if str(path) in replies:
            raise InputError(
                f"{str(path)!r} is given twice", code="INP-062", hint="pass each reply once"
            )
        raw = read_bytes(path, what="venue reply")
        replies[str(path)] = decode_json(raw, Any, what=f"venue reply {str(path)!r}")
    return read_account_replies(
        replies, venue=venue, account=account, mode=mode, contract_sizes=contract_sizes
    )


def _sort(replies: Mapping[str, Any], venue: str) -> tuple[str, list[Part], list[str]]:
    """Find the venue that can have sent all replies, and what each of them is."""
    if venue != AUTO and venue not in _READERS:
        raise InputError(
            f"there is no reader for {venue[:60]!r}",
            code="INP-060",
            field="venue",
            hint="choose one of " + ", ".join([AUTO, *account_venues()]),
        )
    names = account_venues() if venue == AUTO else [venue]
    empty = [source for source, data in replies.items() if data in ([], {})]
    kinds: dict[str, dict[str, str]] = {}
    for source, data in replies.items():
        if source not in empty:
            found = {name: kind for name in names if (kind := _READERS[name].recognise(data))}
            if not found:
                of = "any venue read here" if venue == AUTO else _READERS[venue].title
                raise InputError(
                    f"{source} has the shape of no account reply of {of}",
                    code="INP-060",
                    field=source,
                    hint="see docs/venues-readers.md for the replies that can be read",
                )
            kinds[source] = found
    if not kinds:
        raise InputError(
            "the replies are empty: they do not tell whose they are",
            code="INP-060",
            field="replies",
            hint="pass the balance reply as well",
        )
    common = [name for name in names if all(name in found for found in kinds.values())]
    if len(common) != 1:
        sets = "; ".join(
            f"{source}: {' or '.join(_READERS[n].title for n in found)}"
            for source, found in kinds.items()
        )
        raise InputError(
            f"the replies are not of one venue ({sets})"
            if not common
            else f"the replies could be of several venues ({sets})",
            code="INP-061",
            field="venue",
            hint="pass the replies of one account" if not common else "name the venue",
        )
    name = common[0]
    parts = [
        Part(kind=found[name], data=replies[source], source=source)
        for source, found in kinds.items()
    ]
    return name, parts, empty
