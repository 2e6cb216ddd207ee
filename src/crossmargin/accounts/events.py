"""Events: everything that can happen to an account, as data.

One Struct a kind, told by ``kind``; JSON, one event a line (``crossmargin ledger``). Amounts,
prices and rates are decimal text; times ISO-8601 with zone. ``id`` is the caller's and unique: the
same event twice counts once.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from crossmargin.accounts.pots import Leg, LegMode, PotMode
from crossmargin.accounts.states import AccountState
from crossmargin.instruments import Kind as InstrumentKind

Id = Annotated[str, Meta(min_length=1, max_length=200)]
Amount = Annotated[str, Meta(description="A decimal in a string.")]


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Refuses unknown fields: a misspelt field is an error, not a default."""


class EventBase(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind"
):
    """What every event has: an id of its own, and when it happened."""

    id: Id
    time: str


# --- what there is -----------------------------------------------------------------------------


class DefineAsset(EventBase, frozen=True, kw_only=True, tag="define_asset"):
    """Fix how many decimals an asset has, before it is first used."""

    asset: str
    decimals: Annotated[int, Meta(ge=0, le=18)]


class ListContract(EventBase, frozen=True, kw_only=True, tag="list_contract"):
    """List an instrument. `type` is its kind; `size` the contract size.

    `session`: its profit waits for the settlement of the session. `group`: whose fund backs it.
    """

    instrument: str
    type: InstrumentKind
    underlying: str
    quote: str
    settlement: str
    size: Amount = "1"
    quantity_decimals: Annotated[int, Meta(ge=0, le=18)] = 8
    expiry: str | None = None
    strike: Amount | None = None
    right: Literal["call", "put"] | None = None
    premium: Literal["at_once", "margined"] = "at_once"
    session: bool = False
    group: str = "main"


class OpenAccount(EventBase, frozen=True, kw_only=True, tag="open_account"):
    """Open an account, or a sub-account of `parent`."""

    account: str
    owner: str | None = None
    parent: str | None = None
    ring_fenced: bool = True
    legs: LegMode = "net"
    borrowing: bool = False


class OpenPot(EventBase, frozen=True, kw_only=True, tag="open_pot"):
    """Open a further pot of an account."""

    account: str
    pot: str
    mode: PotMode = "isolated"


class SetParameter(EventBase, frozen=True, kw_only=True, tag="set_parameter"):
    """Change a parameter of an asset, contract or account; see ``docs/models/ledger.md``."""

    scope: Literal["asset", "contract", "account"]
    target: str
    name: str
    value: str


class SetState(EventBase, frozen=True, kw_only=True, tag="set_state"):
    """Record that a pot has changed its state."""

    account: str
    state: AccountState
    pot: str = "cross"


# --- money -------------------------------------------------------------------------------------


class Place(_Strict, frozen=True, kw_only=True):
    """Where money is: account, pot and, when not at home, location. ``sys`` is the house."""

    account: str
    pot: str = "cross"
    location: str = ""


class Deposit(EventBase, frozen=True, kw_only=True, tag="deposit"):
    """Money comes in. While `pending` it is on its way and counts for nothing."""

    account: str
    asset: str
    amount: Amount
    pot: str = "cross"
    location: str = ""
    pending: bool = False


class Withdrawal(EventBase, frozen=True, kw_only=True, tag="withdrawal"):
    """Money goes out. While `pending` it is held: still the account's, no longer usable."""

    account: str
    asset: str
    amount: Amount
    pot: str = "cross"
    location: str = ""
    pending: bool = False


class MoveMoney(EventBase, frozen=True, kw_only=True, tag="transfer"):
    """Money moves between pots, sub-accounts or locations; while `pending` it counts nowhere."""

    source: Place
    target: Place
    asset: str
    amount: Amount
    pending: bool = False


class Reserve(EventBase, frozen=True, kw_only=True, tag="reserve"):
    """Hold money back for a payment to the venue, until it is posted or voided."""

    account: str
    asset: str
    amount: Amount
    pot: str = "cross"


class Post(EventBase, frozen=True, kw_only=True, tag="post"):
    """Carry out what is pending, whole or `amount` of it; the rest goes back."""

    pending: Id
    amount: Amount | None = None


class Void(EventBase, frozen=True, kw_only=True, tag="void"):
    """Give up what is pending: it goes back to where it came from."""

    pending: Id


class Proof(EventBase, frozen=True, kw_only=True, tag="proof"):
    """A location has proved at `proof_time` what it holds."""

    location: str
    proof_time: str


class FeeCharge(EventBase, frozen=True, kw_only=True, tag="fee"):
    """A fee apart from a fill; negative is a rebate."""

    account: str
    asset: str
    amount: Amount
    pot: str = "cross"
    reason: str = ""


class Borrow(EventBase, frozen=True, kw_only=True, tag="borrow"):
    """Take a loan from the pool, kept apart from the wallet."""

    account: str
    asset: str
    amount: Amount
    pot: str = "cross"


class Repay(EventBase, frozen=True, kw_only=True, tag="repay"):
    """Pay owed interest first, then the loan."""

    account: str
    asset: str
    amount: Amount
    pot: str = "cross"


class Interest(EventBase, frozen=True, kw_only=True, tag="interest"):
    """Interest of one asset over `elapsed_s`, on loans and on negative wallets.

    `rate` a year, else from the asset's curve. ``simple`` interest is owed beside the debt and
    bears none; ``periods`` compounds every `period_s`, ``continuous`` at every instant, and both
    are added to the debt. `lender`: the house, or the wallets that lend, less the fund's share.
    """

    asset: str
    elapsed_s: Annotated[int, Meta(gt=0)]
    rate: Amount | None = None
    compounding: Literal["simple", "periods", "continuous"] = "simple"
    period_s: Annotated[int, Meta(gt=0)] | None = None
    lender: Literal["house", "suppliers"] = "house"


class Convert(EventBase, frozen=True, kw_only=True, tag="convert"):
    """Change money of a pot at `price` (target per source) less `spread`, a fraction of it."""

    account: str
    source: str
    amount: Amount
    target: str
    price: Amount
    spread: Amount = "0"
    pot: str = "cross"


class Cover(EventBase, frozen=True, kw_only=True, tag="cover"):
    """A linked relative pays towards the deficit of an account."""

    source: Place
    target: Place
    asset: str
    amount: Amount


# --- trading -----------------------------------------------------------------------------------


class Side(_Strict, frozen=True, kw_only=True):
    """One side of a trade. `leg` is needed in hedge mode; fee > 0 is paid, < 0 a rebate."""

    account: str
    pot: str = "cross"
    leg: Leg = "net"
    fee: Amount = "0"
    fee_asset: str | None = None


class Trade(_Strict, frozen=True, kw_only=True):
    """A trade: `quantity` > 0 goes from seller to buyer. A side left out is the venue."""

    instrument: str
    quantity: Amount
    price: Amount
    buyer: Side | None = None
    seller: Side | None = None


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


# --- what the market does ----------------------------------------------------------------------


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
    samples: list[Amount] = []


class Delist(EventBase, frozen=True, kw_only=True, tag="delist"):
    """A contract is closed out at a price of its own (for an option, of the option)."""

    instrument: str
    price: Amount


class Redenominate(EventBase, frozen=True, kw_only=True, tag="redenominate"):
    """Each contract becomes `into` contracts of a size that many times smaller, per `each`."""

    instrument: str
    into: Annotated[int, Meta(gt=0)]
    each: Annotated[int, Meta(gt=0)] = 1


# --- the waterfall of last resorts -------------------------------------------------------------


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
    """The liquidator takes a position over, at the bankruptcy price."""

    instrument: str
    quantity: Amount
    price: Amount
    account: str
    pot: str = "cross"
    leg: Leg = "net"


class FundPayIn(EventBase, frozen=True, kw_only=True, tag="fund_pay_in"):
    """Money is paid into an insurance fund, from outside or from the house's fees."""

    group: str
    asset: str
    amount: Amount
    source: Literal["world", "fees"] = "world"


class FundCover(EventBase, frozen=True, kw_only=True, tag="fund_cover"):
    """An insurance fund pays towards a deficit; at most the deficit, at most what it has."""

    group: str
    target: Place
    asset: str
    amount: Amount


class AdlShare(_Strict, frozen=True, kw_only=True):
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


class LossShare(_Strict, frozen=True, kw_only=True):
    """What one pot pays of a shared loss."""

    account: str
    amount: Amount
    pot: str = "cross"


class SocialisedLoss(EventBase, frozen=True, kw_only=True, tag="socialised_loss"):
    """A deficit that nothing covered is shared out; at most the deficit."""

    target: Place
    asset: str
    shares: Annotated[list[LossShare], Meta(min_length=1)]


Event = (
    DefineAsset
    | ListContract
    | OpenAccount
    | OpenPot
    | SetParameter
    | SetState
    | Deposit
    | Withdrawal
    | MoveMoney
    | Reserve
    | Post
    | Void
    | Proof
    | FeeCharge
    | Borrow
    | Repay
    | Interest
    | Convert
    | Cover
    | Fill
    | Block
    | MovePosition
    | SwitchMode
    | Bust
    | Mark
    | Funding
    | SettleSession
    | Expiry
    | Delist
    | Redenominate
    | LiquidationStep
    | Takeover
    | FundPayIn
    | FundCover
    | Adl
    | SocialisedLoss
)
