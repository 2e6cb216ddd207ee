"""From the parts of a venue's symbol to an instrument, or a refusal that names the symbol."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from crossmargin.errors import InputError
from crossmargin.instruments import Instrument, parse_instrument
from crossmargin.venues._reply import plain

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_EXPIRY_MS = 8 * 3_600_000
_DAY_MS = 86_400_000


def unreadable(symbol: str, why: str, field: str) -> InputError:
    """Return the refusal of a symbol."""
    return InputError(
        f"the instrument {symbol[:60]!r} cannot be read: {why}",
        code="INP-001",
        instrument=symbol[:60],
        field=field,
        hint="take it out of the reply if it may be left out",
    )


def named(
    symbol: str,
    field: str,
    base: str,
    quote: str,
    settle: str | None,
    *,
    day: str | None = None,
    strike: str | None = None,
    right: str | None = None,
) -> Instrument:
    """Build the instrument of a symbol from its parts.

    Parameters
    ----------
    symbol, field : str
        The venue's own symbol and its place, for messages.
    base, quote : str
        Coin and quote currency.
    settle : str or None
        Settlement asset; None for spot.
    day : str, optional
        Expiry as YYMMDD; contracts expire at 08:00 UTC.
    strike, right : str, optional
        Of an option; right is ``C`` or ``P``.

    Raises
    ------
    InputError
        ``INP-001`` when the package's names cannot express it.
    """
    text = f"{base}/{quote}"
    if settle is not None:
        text += f":{settle}"
        if day is not None:
            text += f"-{day}"
            if strike is not None:
                text += f"-{strike}-{right}"
    try:
        return parse_instrument(text)
    except InputError as error:
        why = error.message.partition(": ")[2] or error.message
        raise unreadable(symbol, why, field) from None


def day_from_ms(milliseconds: Decimal, symbol: str, field: str) -> str:
    """Turn a venue's time of delivery into YYMMDD.

    Raises
    ------
    InputError
        ``INP-020`` when it is not at 08:00 UTC in this century, which names cannot say.
    """
    if milliseconds % _DAY_MS == _EXPIRY_MS and 946_684_800_000 <= milliseconds < 4_102_444_800_000:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=int(milliseconds))
        return f"{moment:%y%m%d}"
    raise InputError(
        f"{symbol} expires at {plain(milliseconds)} ms, which is not 08:00 UTC of a day in "
        "2000-2099",
        code="INP-020",
        instrument=symbol,
        field=field,
    )


def day_from_name(text: str) -> str | None:
    """Turn ``27MAR26`` into ``260327``; None when it is no such date."""
    day, month, year = text[:-5], text[-5:-2], text[-2:]
    if month not in _MONTHS or not (day.isdecimal() and year.isdecimal() and len(day) <= 2):
        return None
    try:
        return f"{date(2000 + int(year), _MONTHS.index(month) + 1, int(day)):%y%m%d}"
    except ValueError:
        return None


def size_of(
    symbol: str, given: dict[str, Decimal], listed: dict[str, Decimal], field: str
) -> Decimal:
    """Return the units of one contract: what the caller says, else what the venue lists.

    Raises
    ------
    InputError
        ``INP-011`` when neither does.
    """
    size = given.get(symbol, listed.get(symbol))
    if size is None:
        raise InputError(
            f"{symbol} is counted in contracts and the size of one is not known",
            code="INP-011",
            instrument=symbol,
            field=field,
            hint="pass the venue's list of instruments as well, or its size "
            f"(on the command line: --contract-size {symbol}=...)",
        )
    return size
