"""Amounts: the one door from decimal text to whole quanta, and the one back.

Inside the ledger an amount is a Python ``int`` of *quanta* of its asset (a millionth of a dollar,
a hundred-millionth of a coin), a price or rate an ``int`` of 1e-18. A float never enters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from crossmargin.errors import LedgerError
from crossmargin.instruments import DOLLARS

#: Decimals of prices, rates and contract sizes.
PLACES = 18
ONE: int = 10**PLACES

#: Decimals of an asset that nobody has defined: dollars, and everything else.
DOLLAR_DECIMALS = 6
COIN_DECIMALS = 8
MOST_DECIMALS = 18

#: More digits before the point than any amount that exists; an entry above is a slip of the pen.
MOST_DIGITS = 24

_TENS = tuple(10**places for places in range(4 * PLACES + 1))

Rounding = Literal["down", "up", "nearest"]
Sign = Literal["any", "not negative", "positive"]


def power_of_ten(places: int) -> int:
    """Return ``10**places`` for places >= 0."""
    return int(10**places)


def floor_div(a: int, b: int) -> int:
    """Divide toward minus infinity; `b` > 0. What somebody receives."""
    return a // b


def ceil_div(a: int, b: int) -> int:
    """Divide toward plus infinity; `b` > 0. What somebody pays."""
    return -(-a // b)


def nearest_div(a: int, b: int) -> int:
    """Divide to the nearest whole, halves to even; `b` > 0. What two sides share."""
    whole, rest = divmod(a, b)
    twice = 2 * rest
    return whole + (twice > b or (twice == b and whole & 1))


def toward_zero_div(a: int, b: int) -> int:
    """Divide toward zero; `b` > 0. What leaves a stock of which the rest stays."""
    return a // b if a >= 0 else -(-a // b)


_DIVIDE = {"down": floor_div, "up": ceil_div, "nearest": nearest_div}


def scaled(
    text: str,
    decimals: int,
    *,
    name: str,
    rounding: Rounding | None = None,
    sign: Sign = "any",
) -> int:
    """Read decimal text as a whole number of ``10**-decimals``.

    Parameters
    ----------
    text : str
        Digits with at most one point, for example ``"-0.25"``; no exponent, no separators.
    decimals : int
        Places kept, 0 to 18.
    name : str
        Field named in an error.
    rounding : {"down", "up", "nearest"}, optional
        Direction for what lies beyond `decimals`; without it such text is refused, because money
        that is rounded unasked has vanished.
    sign : {"any", "not negative", "positive"}
        What is allowed.

    Raises
    ------
    LedgerError
        ``LED-001``.
    """
    if not isinstance(text, str):
        raise _bad(text, "is not a decimal number", name, 'write it as text, like "12.50"')
    minus = text[:1] == "-"
    whole, point, rest = (text[1:] if minus else text).partition(".")
    digits = whole + rest
    # isdigit alone would let other scripts' digits and superscripts through.
    if not (whole and digits.isdigit() and digits.isascii() and (rest or not point)):
        raise _bad(text, "is not a decimal number", name, 'write it as text, like "12.50"')
    if len(whole) > MOST_DIGITS or len(rest) > 4 * PLACES:
        raise _bad(text, "is larger or longer than any amount", name, "check the digits")
    value = -int(digits) if minus else int(digits)
    if len(rest) <= decimals:
        value *= _TENS[decimals - len(rest)]
    else:
        divisor = _TENS[len(rest) - decimals]
        if rounding is None and value % divisor:
            raise _bad(
                text,
                f"has more than the {decimals} decimals that are kept",
                name,
                "round it yourself, in the direction you mean",
            )
        value = _DIVIDE[rounding or "down"](value, divisor)
    if (sign == "positive" and value <= 0) or (sign == "not negative" and value < 0):
        raise _bad(text, f"is not {'positive' if sign == 'positive' else 'at least 0'}", name, None)
    return value


def fixed(text: str, *, name: str, sign: Sign = "any") -> int:
    """Read a price, rate or size as a whole number of 1e-18 (exactly)."""
    return scaled(text, PLACES, name=name, sign=sign)


def text_of(amount: int, decimals: int) -> str:
    """Write quanta as decimal text without trailing zeros; the inverse of :func:`scaled`."""
    sign, digits = "-" if amount < 0 else "", str(abs(amount)).rjust(decimals + 1, "0")
    if not decimals:
        return sign + digits
    whole, rest = digits[:-decimals], digits[-decimals:].rstrip("0")
    return f"{sign}{whole}.{rest}" if rest else sign + whole


@dataclass(frozen=True, slots=True)
class Scales:
    """How many decimals each asset has.

    Attributes
    ----------
    decimals : mapping of str to int
        By asset; an asset that is not in it has 6 when it is a dollar (USD, USDC, USDT), else 8.
    """

    decimals: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse decimals that no asset has."""
        for asset, places in self.decimals.items():
            if not 0 <= places <= MOST_DECIMALS:
                raise LedgerError(
                    f"{asset} with {places} decimals",
                    code="LED-001",
                    field="decimals",
                    hint=f"give 0 to {MOST_DECIMALS}",
                )

    def of(self, asset: str) -> int:
        """Return the decimals of an asset."""
        found = self.decimals.get(asset)
        if found is not None:
            return found
        return DOLLAR_DECIMALS if asset in DOLLARS else COIN_DECIMALS


def to_quanta(
    value: str | Decimal,
    asset: str,
    scales: Scales | None = None,
    *,
    rounding: Rounding | None = None,
    name: str = "amount",
) -> int:
    """Turn decimal text (or a ``Decimal``) into quanta: the door in.

    Examples
    --------
    >>> to_quanta("10359.70", "USDC")
    10359700000
    >>> to_quanta("0.123456789", "BTC", rounding="up")
    12345679
    """
    text = format(value, "f") if isinstance(value, Decimal) else value
    return scaled(text, (scales or Scales()).of(asset), name=name, rounding=rounding)


def from_quanta(amount: int, asset: str, scales: Scales | None = None) -> str:
    """Turn quanta into decimal text: the door out.

    Examples
    --------
    >>> from_quanta(10359700000, "USDC")
    '10359.7'
    """
    return text_of(amount, (scales or Scales()).of(asset))


def _bad(text: object, why: str, name: str, hint: str | None) -> LedgerError:
    shown = text if not isinstance(text, str) or len(text) <= 60 else text[:60] + "…"
    return LedgerError(f"{shown!r} {why}", code="LED-001", field=name, hint=hint)
