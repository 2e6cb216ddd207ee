"""Checking rows of market data one by one, whatever venue or file they come from.

Missing is missing: an absent price stays absent. A row whose essential figures are impossible is
left out with a reason; a row with bad quotes keeps its mark and loses the quotes, with a reason.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from crossmargin.errors import InputError
from crossmargin.instruments import Instrument, Option, Perpetual, expiry_of, parse_instrument
from crossmargin.market import InstrumentQuote
from crossmargin.units import format_time
from crossmargin.venues._report import Dropped, Reason

#: A volatility at or above this (5,000 %) is a slip of a unit, not a market.
MAX_VOL = 50.0

_COMBO = re.compile(r"^[A-Z0-9_]+-[A-Z]+\d*-")


@dataclass(slots=True, kw_only=True)
class Row:
    """One instrument as a venue states it; every figure may be missing or nonsense.

    Attributes
    ----------
    name : object
        Instrument name.
    mark, bid, ask : object
        In the unit of :class:`~crossmargin.market.InstrumentQuote`.
    vol : object
        Mark volatility of an option as a decimal.
    forward : object
        Forward of an option, in its quote currency.
    index : object
        Index price of the underlying, in its quote currency.
    funding : object
        Eight-hour funding of a perpetual, as a fraction.
    time_ns : int
        When it was observed.
    source : str
        Where it is from.
    """

    name: object
    mark: object = None
    bid: object = None
    ask: object = None
    vol: object = None
    forward: object = None
    index: object = None
    funding: object = None
    time_ns: int
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A row that passed: the instrument, its quote, and the forward and index it states."""

    instrument: Instrument
    quote: InstrumentQuote
    forward: float | None
    index: float | None


@dataclass(slots=True)
class Cleaned:
    """Rows that passed, by instrument id, and everything that was left out."""

    kept: dict[str, Kept] = field(default_factory=dict)
    dropped: list[Dropped] = field(default_factory=list)


class _BadRowError(Exception):
    def __init__(self, reason: Reason, sentence: str) -> None:
        super().__init__(sentence)
        self.reason: Reason = reason
        self.sentence = sentence


def clean_rows(rows: Iterable[Row], as_of_ns: int) -> Cleaned:
    """Check rows in order; the first row of an instrument counts.

    Parameters
    ----------
    rows : iterable of Row
        As the venue states them.
    as_of_ns : int
        The market's time; contracts that expire by then are left out.
    """
    result = Cleaned()
    for row in rows:
        name = row.name if isinstance(row.name, str) else repr(row.name)
        try:
            kept = _clean(row, name, as_of_ns, result)
        except _BadRowError as bad:
            result.dropped.append(
                Dropped(instrument=name, reason=bad.reason, sentence=f"{name} {bad.sentence}")
            )
            continue
        result.kept[kept.instrument.id] = kept
    return result


def _clean(row: Row, name: str, as_of_ns: int, result: Cleaned) -> Kept:
    instrument = _instrument(row.name, name)
    if instrument.id in result.kept:
        raise _BadRowError("duplicate", "is stated twice; the first row was kept")
    expiry = expiry_of(instrument)
    if expiry is not None and expiry <= as_of_ns:
        raise _BadRowError("expired", f"expired on {format_time(expiry)}")
    if row.time_ns > as_of_ns:
        raise _BadRowError(
            "after_as_of",
            f"is dated {format_time(row.time_ns)}, after the market's {format_time(as_of_ns)}",
        )
    is_option = isinstance(instrument, Option)
    mark = _number(row.mark, "mark price", zero=is_option)
    if mark is None:
        raise _BadRowError("missing_mark", "has no mark price")
    vol = _vol(row.vol) if is_option else None
    forward = _number(row.forward, "forward") if is_option else None
    bid, ask = _quotes(row, name, result)
    return Kept(
        instrument=instrument,
        quote=InstrumentQuote(
            price_mark=mark,
            vol=vol,
            funding_rate_8h=_funding(row, name, result)
            if isinstance(instrument, Perpetual)
            else None,
            bid=bid,
            ask=ask,
            time_ns=row.time_ns,
            source=row.source,
        ),
        forward=forward,
        index=_index(row, name, result),
    )


def _instrument(raw: object, name: str) -> Instrument:
    if not isinstance(raw, str):
        raise _BadRowError("name", "is not an instrument name")
    try:
        return parse_instrument(raw)
    except InputError as error:
        if _COMBO.match(raw):
            raise _BadRowError(
                "combo", "is a combination of instruments; its legs are priced on their own"
            ) from None
        raise _BadRowError("name", f"cannot be read: {error.message}") from None


def _number(value: Any, what: str, *, zero: bool = False) -> float | None:
    """Return a positive finite number, or None where it is missing."""
    number = _finite(value, what)
    if number is not None and (number < 0.0 or (number == 0.0 and not zero)):
        raise _BadRowError("not_positive", f"has the {what} {number:g}, not a positive number")
    return number


def _finite(value: Any, what: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _BadRowError("not_a_number", f"has the {what} {value!r}, not a number")
    if not math.isfinite(value):
        raise _BadRowError("not_a_number", f"has the {what} {value!r}, not a finite number")
    return float(value)


def _vol(value: Any) -> float:
    vol = _finite(value, "mark volatility")
    if vol is None or vol == 0.0:
        raise _BadRowError("missing_vol", "has no mark volatility")
    if vol < 0.0:
        raise _BadRowError("not_positive", f"has the mark volatility {vol:g}")
    if vol >= MAX_VOL:
        raise _BadRowError("vol_range", f"has a mark volatility of {100 * vol:,.0f} %")
    return vol


def _quotes(row: Row, name: str, result: Cleaned) -> tuple[float | None, float | None]:
    """Return bid and ask; a zero means that there is none, and bad ones are dropped aloud."""
    try:
        bid = _number(row.bid, "bid", zero=True) or None
        ask = _number(row.ask, "ask", zero=True) or None
        if bid is not None and ask is not None and bid > ask:
            raise _BadRowError("crossed", f"has its bid {bid:g} above its ask {ask:g}")
    except _BadRowError as bad:
        result.dropped.append(
            Dropped(
                instrument=name,
                reason=bad.reason,
                sentence=f"{name} {bad.sentence}; both quotes were dropped, the mark was kept",
                row=False,
            )
        )
        return None, None
    return bid, ask


def _funding(row: Row, name: str, result: Cleaned) -> float | None:
    try:
        return _finite(row.funding, "funding rate")
    except _BadRowError as bad:
        _partly(result, name, bad, "the funding rate was dropped")
        return None


def _index(row: Row, name: str, result: Cleaned) -> float | None:
    try:
        return _number(row.index, "index price")
    except _BadRowError as bad:
        _partly(result, name, bad, "that index price was not used")
        return None


def _partly(result: Cleaned, name: str, bad: _BadRowError, remedy: str) -> None:
    result.dropped.append(
        Dropped(
            instrument=name,
            reason=bad.reason,
            sentence=f"{name} {bad.sentence}; {remedy}",
            row=False,
        )
    )
