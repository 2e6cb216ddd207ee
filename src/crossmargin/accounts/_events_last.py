"""Events of the waterfall of last resorts."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from crossmargin.accounts._event_base import Amount, EventBase, Place, Side, Strict
from crossmargin.accounts.pots import Leg


class LiquidationStep(EventBase, frozen=True, kw_only=True, tag="liquidation_step"):
    """A part of a position is closed by force; it never flips and never grows."""

    instrument: str
    quantity: Amount
    price: Amount
    account: str
    pot: str = "cross"
    leg: Leg = "net"
    counterparty: Side | None = None
    fee: Amount = "0"
    fee_to: Literal["fund", "liquidator", "fees"] = "fund"


class Takeover(EventBase, frozen=True, kw_only=True, tag="takeover"):
    """The liquidator takes a position over, at the bankruptcy price or with margin behind it."""

    instrument: str
    quantity: Amount
    price: Amount
    account: str
    pot: str = "cross"
    leg: Leg = "net"
    margin: Amount = "0"


class Forfeit(EventBase, frozen=True, kw_only=True, tag="forfeit"):
    """What is left in a wallet goes to the liquidator, who took all its positions over."""

    account: str
    asset: str
    amount: Amount
    pot: str = "cross"


class FundPayIn(EventBase, frozen=True, kw_only=True, tag="fund_pay_in"):
    """Money is paid into an insurance fund: from outside, from fees, or by the liquidator."""

    group: str
    asset: str
    amount: Amount
    source: Literal["world", "fees", "liquidator"] = "world"


class FundCover(EventBase, frozen=True, kw_only=True, tag="fund_cover"):
    """An insurance fund pays towards a deficit; at most the deficit, at most what it has."""

    group: str
    target: Place
    asset: str
    amount: Amount


class AdlShare(Strict, frozen=True, kw_only=True):
    """How much of one position is closed against the bankrupt one."""

    account: str
    quantity: Amount
    pot: str = "cross"
    leg: Leg = "net"


class Adl(EventBase, frozen=True, kw_only=True, tag="adl"):
    """Positions are closed against a bankrupt one (or the liquidator's), at one price."""

    instrument: str
    price: Amount
    account: str
    against: Annotated[list[AdlShare], Meta(min_length=1)]
    pot: str = "cross"
    leg: Leg = "net"


class LossShare(Strict, frozen=True, kw_only=True):
    """What one pot pays of a shared loss."""

    account: str
    amount: Amount
    pot: str = "cross"


class SocialisedLoss(EventBase, frozen=True, kw_only=True, tag="socialised_loss"):
    """A deficit that nothing covered is shared out; at most the deficit."""

    target: Place
    asset: str
    shares: Annotated[list[LossShare], Meta(min_length=1)]
