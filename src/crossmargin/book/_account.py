"""The account file: one account as JSON, ``crossmargin-account/1``.

Amounts may be numbers or strings; strings keep every digit of a ledger's quanta until the one
door to floating point (`to_float`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from crossmargin.codec import decode_json, read_bytes
from crossmargin.errors import InputError

ACCOUNT_FORMAT = "crossmargin-account/1"

#: Larger than any position or balance that exists; an entry above it is a slip of the pen.
ABSURD = 1e15

_DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")

Amount = Annotated[
    float | str,
    Meta(description="A number, or a decimal in a string to keep every digit."),
]
Leg = Literal["net", "long", "short"]
PoolMode = Literal["cross", "isolated", "sub_account"]


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Refuses unknown fields: a misspelt field is an error, not a default."""


class PoolEntry(_Strict, frozen=True, kw_only=True):
    """A pot of its own inside the account.

    ``cross``: shares everything in it. ``isolated``: fenced for its positions. ``sub_account``:
    like cross, with an owner's other pools kept apart.
    """

    id: str
    mode: PoolMode = "cross"


class BalanceEntry(_Strict, frozen=True, kw_only=True):
    """A balance; negative is debt.

    `location` names the venue or chain that holds it, `proof_time` (ISO-8601, UTC) when that was
    last proved. A balance that is `pending` is on its way and has not arrived: it counts nothing,
    here or anywhere, so that a transfer is never counted twice.
    """

    asset: str
    amount: Amount
    pool: str = "cross"
    location: str | None = None
    proof_time: str | None = None
    pending: bool = False


class PositionEntry(_Strict, frozen=True, kw_only=True):
    """A position.

    `quantity` counts coins (inverse futures and perpetuals: US dollars), > 0 long.
    `entry_price` is needed for futures and perpetuals: a price, or ``"mark"`` when the profit so
    far has already been paid into the balance. `fenced_margin` is pledged to this position
    alone, in its settlement asset, and is part of the balance, not on top of it.
    """

    instrument: str
    quantity: Amount
    entry_price: Amount | None = None
    leg: Leg = "net"
    pool: str = "cross"
    leverage: Annotated[float, Meta(gt=0)] | None = None
    fenced_margin: Amount | None = None


class OrderLeg(_Strict, frozen=True, kw_only=True):
    """One leg of an order; quantity > 0 buys. Without a price it fills at the mark."""

    instrument: str
    quantity: Amount
    price: Amount | None = None


class OrderEntry(_Strict, frozen=True, kw_only=True):
    """An open order: one leg, or several that fill together."""

    id: str
    legs: Annotated[list[OrderLeg], Meta(min_length=1)]
    pool: str = "cross"


class Quote(_Strict, frozen=True, kw_only=True):
    """A two-sided quote of a market maker; quantities are positive."""

    instrument: str
    bid_quantity: Amount = 0.0
    bid_price: Amount | None = None
    ask_quantity: Amount = 0.0
    ask_price: Amount | None = None


class QuoteGroup(_Strict, frozen=True, kw_only=True):
    """Quotes under one protection: together they cannot lose more than the limit.

    `protection_limit_usd` caps the loss from fills before the venue pulls the quotes; without
    it every quote may fill.
    """

    id: str
    quotes: Annotated[list[Quote], Meta(min_length=1)]
    protection_limit_usd: Annotated[float, Meta(ge=0)] | None = None
    pool: str = "cross"


class AccountFile(_Strict, frozen=True, kw_only=True):
    """One account: what it has, what it owes, what it holds and what it has ordered."""

    format: Literal["crossmargin-account/1"]
    account: Annotated[str, Meta(min_length=1)]
    owner: str | None = None
    description: str = ""
    pools: list[PoolEntry] = []
    balances: list[BalanceEntry] = []
    positions: list[PositionEntry] = []
    orders: list[OrderEntry] = []
    quote_groups: list[QuoteGroup] = []


def to_float(
    amount: float | str, *, account: str, field: str, instrument: str | None = None
) -> float:
    """Convert an amount, refusing what is not a plain finite number of sane size.

    Raises
    ------
    InputError
        ``INP-004``, naming account, instrument and field.
    """
    plain = not isinstance(amount, str) or _DECIMAL.fullmatch(amount)
    value = float(amount) if plain else math.nan
    if not math.isfinite(value):
        why = "is not a finite number"
    elif abs(value) > ABSURD:
        why = f"is larger than {ABSURD:.0e}, which no account holds"
    else:
        return value
    raise InputError(
        f"{amount!r} {why}", code="INP-004", account=account, field=field, instrument=instrument
    )


def read_account(path: str | Path) -> AccountFile:
    """Read one account file.

    Raises
    ------
    InputError
        When the file is missing, empty, truncated or of another shape.
    """
    return parse_account(read_bytes(path, what="account file"), name=str(path))


def parse_account(raw: bytes | str, name: str = "account") -> AccountFile:
    """Decode an account from JSON bytes."""
    data = raw.encode() if isinstance(raw, str) else raw
    return decode_json(data, AccountFile, what=f"account file {name!r}")


def account_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the account file."""
    schema = msgspec.json.schema(AccountFile)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "crossmargin account",
        **schema,
    }


def write_account(account: AccountFile) -> bytes:
    """Encode an account as indented JSON, ending in a newline."""
    return msgspec.json.format(msgspec.json.encode(account), indent=2) + b"\n"


def subset(account: AccountFile, positions: Sequence[PositionEntry]) -> AccountFile:
    """Return the account with other positions and no orders."""
    return msgspec.structs.replace(account, positions=list(positions), orders=[], quote_groups=[])
