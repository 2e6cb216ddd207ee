"""Reading and writing names: Deribit's grammar and ccxt's unified symbols.

Source
------
Deribit API documentation, "Naming" (``BTC-PERPETUAL``, ``BTC-25MAR23``,
``BTC-25MAR23-420-C``, ``BTC_USDC-PERPETUAL``, ``XRP_USDC-30JUN23-0d625-C`` where ``d`` stands
for the decimal point); ccxt manual, "Contract naming conventions"
(``BTC/USD:BTC-230325-420-C``). Both venues' dated contracts expire at 08:00 UTC.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from crossmargin.errors import InputError
from crossmargin.instruments._types import Future, Instrument, Option, Perpetual, Spot
from crossmargin.units import NS_PER_SECOND

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_EXPIRY_HOUR_UTC = 8

_DERIBIT = re.compile(
    r"^(?P<base>[A-Z0-9]+)(?:_(?P<quote>[A-Z0-9]+))?"
    r"(?:-(?:(?P<perp>PERPETUAL)|(?P<day>\d{1,2})(?P<month>[A-Z]{3})(?P<year>\d{2})"
    r"(?:-(?P<strike>\d+(?:[d.]\d+)?)-(?P<right>[CP]))?))?$"
)
_CCXT = re.compile(
    r"^(?P<base>[A-Z0-9]+)/(?P<quote>[A-Z0-9]+)(?::(?P<settle>[A-Z0-9]+)"
    r"(?:-(?P<date>\d{6})(?:-(?P<strike>\d+(?:\.\d+)?)-(?P<right>[CP]))?)?)?$"
)


def expiry_ns_from_date(day: date) -> int:
    """Return 08:00 UTC of `day`, the expiry hour of dated contracts, in nanoseconds."""
    moment = datetime(day.year, day.month, day.day, _EXPIRY_HOUR_UTC, tzinfo=UTC)
    return int(moment.timestamp()) * NS_PER_SECOND


def _date_of(expiry_ns: int) -> date | None:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=expiry_ns // 1_000)
    if expiry_ns % (86_400 * NS_PER_SECOND) != _EXPIRY_HOUR_UTC * 3_600 * NS_PER_SECOND:
        return None
    # Names have two digits for the year: outside this century they cannot say it.
    return moment.date() if 2000 <= moment.year < 2100 else None


def _unreadable(name: str, why: str) -> InputError:
    return InputError(
        f"unknown instrument {name!r}: {why}",
        code="INP-001",
        instrument=name,
        hint="write a Deribit name (BTC-27MAR26-90000-C) or a ccxt symbol (BTC/USDC:USDC)",
    )


def parse_instrument(name: str) -> Instrument:
    """Read a Deribit name or a ccxt unified symbol.

    The result's ``id`` is canonical: both spellings of one contract give the same id.

    Parameters
    ----------
    name : str
        For example ``BTC-27MAR26-90000-C`` or ``BTC/USD:BTC-260327-90000-C``.

    Returns
    -------
    Instrument
        With contract size 1: one US dollar for inverse futures, one coin for the rest.

    Raises
    ------
    InputError
        ``INP-001`` when the name is neither, or its date does not exist.
    """
    text = name.strip()
    if "/" in text:
        return _from_ccxt(text)
    return _from_deribit(text)


def _build(
    base: str,
    quote: str,
    settle: str | None,
    expiry: date | None,
    strike: float | None,
    right: str | None,
) -> Instrument:
    draft: Instrument
    if settle is None:
        draft = Spot(id="?", underlying=base, quote=quote, settlement=quote)
    elif expiry is None:
        draft = Perpetual(id="?", underlying=base, quote=quote, settlement=settle)
    elif strike is None:
        draft = Future(
            id="?",
            underlying=base,
            quote=quote,
            settlement=settle,
            expiry_ns=expiry_ns_from_date(expiry),
        )
    else:
        draft = Option(
            id="?",
            underlying=base,
            quote=quote,
            settlement=settle,
            expiry_ns=expiry_ns_from_date(expiry),
            strike=strike,
            option_type="call" if right == "C" else "put",
        )
    return _with_id(draft)


def _with_id(draft: Instrument) -> Instrument:
    return replace(draft, id=deribit_name(draft) or ccxt_symbol(draft))


def _strike(text: str, raw: str | None) -> float | None:
    if raw is None:
        return None
    strike = float(raw.replace("d", "."))
    if not (math.isfinite(strike) and strike > 0):
        raise _unreadable(text, "its strike is not a positive number")
    return strike


def _from_deribit(text: str) -> Instrument:
    match = _DERIBIT.match(text)
    if match is None:
        raise _unreadable(text, "it fits no naming grammar")
    base, quote = match["base"], match["quote"]
    if match["perp"] is None and match["day"] is None:
        if quote is None:
            raise _unreadable(text, "a coin alone is not an instrument; put it under balances")
        return _build(base, quote, None, None, None, None)
    expiry = None
    if match["day"] is not None:
        if match["month"] not in _MONTHS:
            raise _unreadable(text, f"{match['month']!r} is not a month")
        try:
            expiry = date(
                2000 + int(match["year"]), _MONTHS.index(match["month"]) + 1, int(match["day"])
            )
        except ValueError:
            raise _unreadable(text, "that date does not exist") from None
    strike = _strike(text, match["strike"])
    settle = quote or base
    return _build(base, quote or "USD", settle, expiry, strike, match["right"])


def _from_ccxt(text: str) -> Instrument:
    match = _CCXT.match(text)
    if match is None:
        raise _unreadable(text, "it fits no naming grammar")
    expiry = None
    if match["date"] is not None:
        raw = match["date"]
        try:
            expiry = date(2000 + int(raw[:2]), int(raw[2:4]), int(raw[4:]))
        except ValueError:
            raise _unreadable(text, "that date does not exist") from None
    strike = _strike(text, match["strike"])
    return _build(match["base"], match["quote"], match["settle"], expiry, strike, match["right"])


def _strike_text(strike: float, point: str) -> str:
    return f"{strike:.12f}".rstrip("0").rstrip(".").replace(".", point)


def deribit_name(instrument: Instrument) -> str | None:
    """Write Deribit's name, or None where that grammar cannot say it.

    It cannot when the settlement asset is neither the coin itself nor the quote currency, when
    an inverse contract is not quoted in USD, or when the expiry is not at 08:00 UTC.
    """
    base, quote = instrument.underlying, instrument.quote
    if instrument.kind == "spot":
        return f"{base}_{quote}"
    if instrument.inverse:
        if quote != "USD":
            return None
        stem = base
    elif instrument.settlement == quote:
        stem = f"{base}_{quote}"
    else:
        return None
    if isinstance(instrument, Perpetual):
        return f"{stem}-PERPETUAL"
    if not isinstance(instrument, Future | Option):
        return None
    day = _date_of(instrument.expiry_ns)
    if day is None:
        return None
    dated = f"{stem}-{day.day}{_MONTHS[day.month - 1]}{day.year % 100:02d}"
    if isinstance(instrument, Option):
        right = "C" if instrument.is_call else "P"
        return f"{dated}-{_strike_text(instrument.strike, 'd')}-{right}"
    return dated


def ccxt_symbol(instrument: Instrument) -> str:
    """Write ccxt's unified symbol.

    Raises
    ------
    InputError
        ``INP-020`` when the expiry is not at 08:00 UTC: the symbol has room for a date only.
    """
    symbol = f"{instrument.underlying}/{instrument.quote}"
    if instrument.kind == "spot":
        return symbol
    symbol += f":{instrument.settlement}"
    if not isinstance(instrument, Future | Option):
        return symbol
    day = _date_of(instrument.expiry_ns)
    if day is None:
        raise InputError(
            "the expiry is not at 08:00 UTC in 2000-2099, which a symbol cannot express",
            code="INP-020",
            instrument=instrument.id,
            field="expiry",
        )
    symbol += f"-{day:%y%m%d}"
    if isinstance(instrument, Option):
        symbol += f"-{_strike_text(instrument.strike, '.')}-{'C' if instrument.is_call else 'P'}"
    return symbol
