"""Events of money: deposits to conversions."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from crossmargin.accounts._event_base import Amount, EventBase, Id, Place


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
