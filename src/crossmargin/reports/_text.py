"""Words and numbers of the report: escaping, separators, signs and units.

Every number a person reads goes through here: thousands separators, a true minus sign, no
negative zero, as many digits as the size deserves, and the unit after a no-break space.
"""

from __future__ import annotations

import html
import math
import re

NBSP = "\u00a0"
MINUS = "\u2212"
DASH = "\u2013"
_HYPHEN = re.compile(r"(?<![\w.:/\-])-(?=\.?\d)")


class Safe(str):
    """Text that is HTML already; everything else is escaped on its way out."""

    __slots__ = ()


def esc(text: str) -> Safe:
    """Escape text for HTML, content and quoted attributes alike; `Safe` text passes."""
    return text if isinstance(text, Safe) else Safe(html.escape(text, quote=True))


def signed(text: str) -> str:
    """Give numbers in words a true minus sign; names and dates keep their hyphens.

    >>> signed("-16% price of BTC-27MAR26 on 2026-03-27")
    '−16% price of BTC-27MAR26 on 2026-03-27'
    """
    return text if isinstance(text, Safe) else _HYPHEN.sub(MINUS, text)


def join(parts: list[str]) -> Safe:
    """Put escaped parts together."""
    return Safe("".join(esc(part) for part in parts))


def number(value: float, decimals: int = 0, *, sign: bool = False) -> str:
    """Write a number with `decimals` digits after the point.

    Parameters
    ----------
    value : float
        Anything; what is not finite becomes a dash.
    decimals : int
        Digits after the point.
    sign : bool
        Whether a gain carries a plus sign.
    """
    if not math.isfinite(value):
        return DASH
    text = f"{abs(value):,.{decimals}f}"
    if not any(digit in text for digit in "123456789"):
        return text
    return (MINUS if value < 0 else "+" if sign else "") + text


def amount(value: float, *, sign: bool = False) -> str:
    """Write an amount of US dollars: cents below 1,000, whole dollars above.

    What is less than a millionth of a dollar is rounding, and written as 0.
    """
    if abs(value) < 1e-6:
        return "0"
    return number(value, 2 if abs(value) < 999.995 else 0, sign=sign)


def among(value: float, largest: float, *, sign: bool = False) -> str:
    """Write an amount of US dollars with the digits that the `largest` of its chart has."""
    return number(value, 0, sign=sign) if largest >= 999.995 else amount(value, sign=sign)


def usd(value: float, *, sign: bool = False) -> str:
    """Write an amount of US dollars with its unit."""
    return amount(value, sign=sign) + NBSP + "USD"


def column_decimals(values: list[float]) -> int:
    """Choose the digits that all amounts of a column share, so that the points line up."""
    largest = max((abs(v) for v in values if math.isfinite(v)), default=0.0)
    return 2 if largest < 100_000 else 0


def price(value: float) -> str:
    """Write a price: cents from 100 up, six significant digits below, at least four decimals."""
    if not math.isfinite(value) or value == 0:
        return number(value)
    if abs(value) >= 100:
        return number(value, 2)
    digits = max(4, 5 - math.floor(math.log10(abs(value))))
    text = number(value, min(digits, 12))
    whole, _, tail = text.partition(".")
    return f"{whole}.{tail[:4]}{tail[4:].rstrip('0')}"


def round_price(value: float) -> str:
    """Write a price where room is short: whole dollars from 1,000 up."""
    return number(value) if abs(value) >= 1_000 else price(value)


def quantity(value: float) -> str:
    """Write a quantity with the digits it needs, at most eight after the point."""
    text = number(value, 8)
    return text.rstrip("0").rstrip(".") if "." in text else text


def significant(value: float, digits: int = 4) -> str:
    """Write a sensitivity to about `digits` significant digits, never fewer than the whole part."""
    if value == 0 or not math.isfinite(value):
        return number(value)
    return number(value, max(0, min(8, digits - 1 - math.floor(math.log10(abs(value))))))


def percent(value: float | None, decimals: int = 1, *, sign: bool = False) -> str:
    """Write a ratio as a percentage; a dash for nothing."""
    if value is None:
        return DASH
    if abs(value) >= 10:
        decimals = 0
    return number(value * 100.0, decimals, sign=sign) + NBSP + "%"


def move(value: float) -> str:
    """Write a scenario's price move, with the digits it has."""
    text = number(value * 100.0, 2, sign=True).rstrip("0").rstrip(".")
    return text + NBSP + "%"


def health(value: float | None) -> str:
    """Write equity / MM as the terminal does: an account below the line never reads 1.00."""
    if value is None:
        return DASH
    if value >= 1_000_000:
        return ">" + NBSP + "1,000,000"
    return number(off_the_lines(value), 2) if value < 100 else number(math.floor(value), 0)


def off_the_lines(value: float) -> float:
    """Return a health whose two decimals lie on its own side of 1 (liquidation) and 0 (debt)."""
    for line in (0.0, 1.0):
        if line - 0.01 < value < line:
            return line - 0.01
    return value


def short(value: float) -> str:
    """Write an axis label: 950, 12k, 1.25m, 3bn."""
    for size, letter in ((1e9, "bn"), (1e6, "m"), (1e3, "k")):
        if abs(value) >= size:
            text = number(value / size, 2).rstrip("0").rstrip(".")
            return text + letter
    text = number(value, 4)
    return text.rstrip("0").rstrip(".") if "." in text else text


def moment(iso: str) -> str:
    """Write an ISO-8601 UTC time for people, to the second."""
    day, _, clock = iso.rstrip("Z").partition("T")
    return f"{day}{NBSP}{clock.partition('.')[0]}{NBSP}UTC"


def words(name: str) -> str:
    """Turn an identifier into words."""
    return name.replace("_", " ").replace("-", " ")


def count(size: int, noun: str) -> str:
    """Write a number of things: ``1 gap``, ``3 gaps``."""
    return f"{size:,}{NBSP}{noun}{'' if size == 1 else 's'}"


def scenario(label: str) -> str:
    """Write a scenario's label with a true minus sign and no break before the unit."""
    text = MINUS + label[1:] if label.startswith("-") else label
    return text.replace("%", NBSP + "%", 1)
