"""Events of trading, and what the market does."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from crossmargin.accounts._event_base import Amount, EventBase, Id, Side, Trade
from crossmargin.accounts.pots import Leg


class Fill(EventBase, frozen=True, kw_only=True, tag="fill"):
    """A trade in the order book."""

    trade: Trade


class Block(EventBase, frozen=True, kw_only=True, tag="block"):
    """Several trades together or not at all; both sides stand above IM afterwards."""

    trades: Annotated[list[Trade], Meta(min_length=1)]


class MovePosition(EventBase, frozen=True, kw_only=True, tag="move_position"):
    """A position changes hands, at `price` or, without one, at its average entry."""

    instrument: str
    quantity: Amount
    source: Side
    target: Side
    price: Amount | None = None


class SwitchMode(EventBase, frozen=True, kw_only=True, tag="switch_mode"):
    """A whole position and `amount` of money move between two pots of one account."""

    account: str
    instrument: str
    source: str
    target: str
    amount: Amount = "0"
    leg: Leg = "net"


class Bust(EventBase, frozen=True, kw_only=True, tag="bust"):
    """A fill is declared void: new transfers undo it, fees included.

    `fill` repeats the busted event, whose content is checked against what was booked.
    """

    fill: Fill
    reason: str = ""


class Correct(EventBase, frozen=True, kw_only=True, tag="correct"):
    """Put right what an earlier event `of` booked wrongly; `amount` > 0 is paid to the account.

    `against` says which of the house's lines was wrong. A fill is corrected by a bust.
    """

    of: Id
    account: str
    asset: str
    amount: Amount
    against: Literal["world", "fees", "funding", "interest"]
    pot: str = "cross"
    reason: str = ""


class Mark(EventBase, frozen=True, kw_only=True, tag="mark"):
    """Mark prices, by instrument; nothing moves."""

    prices: Annotated[dict[str, Amount], Meta(min_length=1)]


class Funding(EventBase, frozen=True, kw_only=True, tag="funding"):
    """Funding of one contract: longs pay ``value · rate`` when the rate is positive.

    `price` is what the value is taken at; without it the last mark. Where funding accrues by the
    time, `elapsed_s` of `interval_s` counts.
    """

    instrument: str
    rate: Amount
    price: Amount | None = None
    elapsed_s: Annotated[int, Meta(gt=0)] = 1
    interval_s: Annotated[int, Meta(gt=0)] = 1


class SettleSession(EventBase, frozen=True, kw_only=True, tag="settle_session"):
    """Pay the session's profit, made and unmade, into the wallets of one settlement asset."""

    asset: str


class Expiry(EventBase, frozen=True, kw_only=True, tag="expiry"):
    """A dated contract settles, at `price` or at the average of `samples`."""

    instrument: str
    price: Amount | None = None
    samples: tuple[Amount, ...] = ()


class Delist(EventBase, frozen=True, kw_only=True, tag="delist"):
    """A contract is closed out at a price of its own (for an option, of the option)."""

    instrument: str
    price: Amount


class Redenominate(EventBase, frozen=True, kw_only=True, tag="redenominate"):
    """Each contract becomes `into` contracts of a size that many times smaller, per `each`.

    What of a holding does not divide is closed against the venue at `price`; without one the event
    is refused while there is any.
    """

    instrument: str
    into: Annotated[int, Meta(gt=0)]
    each: Annotated[int, Meta(gt=0)] = 1
    price: Amount | None = None
