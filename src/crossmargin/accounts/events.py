"""Events: everything that can happen to an account, as data.

One Struct a kind, told by ``kind``; in a file JSON, one event a line. Amounts,
prices and rates are decimal text; times ISO-8601 with zone. ``id`` is the caller's and unique: the
same event twice counts once.
"""

from __future__ import annotations

from crossmargin.accounts._event_base import EventBase, Place, Side, Trade
from crossmargin.accounts._events_last import (
    Adl,
    AdlShare,
    Forfeit,
    FundCover,
    FundPayIn,
    LiquidationStep,
    LossShare,
    SocialisedLoss,
    Takeover,
)
from crossmargin.accounts._events_money import (
    Borrow,
    Convert,
    Cover,
    Deposit,
    FeeCharge,
    Interest,
    MoveMoney,
    Post,
    Proof,
    Repay,
    Reserve,
    Void,
    Withdrawal,
)
from crossmargin.accounts._events_terms import (
    DefineAsset,
    ListContract,
    MarginCall,
    OpenAccount,
    OpenPot,
    SetParameter,
    SetState,
)
from crossmargin.accounts._events_trades import (
    Block,
    Bust,
    Correct,
    Delist,
    Expiry,
    Fill,
    Funding,
    Mark,
    MovePosition,
    Redenominate,
    SettleSession,
    SwitchMode,
)

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
    | Correct
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
    | Forfeit
    | MarginCall
)

__all__ = [
    "Adl",
    "AdlShare",
    "Block",
    "Borrow",
    "Bust",
    "Convert",
    "Correct",
    "Cover",
    "DefineAsset",
    "Delist",
    "Deposit",
    "Event",
    "EventBase",
    "Expiry",
    "FeeCharge",
    "Fill",
    "Forfeit",
    "FundCover",
    "FundPayIn",
    "Funding",
    "Interest",
    "LiquidationStep",
    "ListContract",
    "LossShare",
    "MarginCall",
    "Mark",
    "MoveMoney",
    "MovePosition",
    "OpenAccount",
    "OpenPot",
    "Place",
    "Post",
    "Proof",
    "Redenominate",
    "Repay",
    "Reserve",
    "SetParameter",
    "SetState",
    "SettleSession",
    "Side",
    "SocialisedLoss",
    "SwitchMode",
    "Takeover",
    "Trade",
    "Void",
    "Withdrawal",
]
