"""What events are made of: their base, places, sides and trades."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from crossmargin.accounts.pots import Leg

Id = Annotated[str, Meta(min_length=1, max_length=200)]
Amount = Annotated[str, Meta(description="A decimal in a string.")]


class Strict(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True
):
    """Refuses unknown fields: a misspelt field is an error, not a default."""


class EventBase(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    kw_only=True,
    tag_field="kind",
    omit_defaults=True,
):
    """What every event has: an id of its own, and when it happened.

    Defaults are left out where an event is written, so that a field added later leaves the bytes
    (and so the chain) of older events as they were.
    """

    id: Id
    time: str


class Place(Strict, frozen=True, kw_only=True):
    """Where money is: account, pot and, when not at home, location. ``sys`` is the house."""

    account: str
    pot: str = "cross"
    location: str = ""


class Side(Strict, frozen=True, kw_only=True):
    """One side of a trade. `leg` is needed in hedge mode; fee > 0 is paid, < 0 a rebate."""

    account: str
    pot: str = "cross"
    leg: Leg = "net"
    fee: Amount = "0"
    fee_asset: str | None = None


class Trade(Strict, frozen=True, kw_only=True):
    """A trade: `quantity` > 0 goes from seller to buyer. A side left out is the venue."""

    instrument: str
    quantity: Amount
    price: Amount
    buyer: Side | None = None
    seller: Side | None = None
