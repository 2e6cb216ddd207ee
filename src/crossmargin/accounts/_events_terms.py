"""Events that say what there is: assets, contracts, accounts, pots, parameters."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from crossmargin.accounts._event_base import Amount, EventBase
from crossmargin.accounts.pots import LegMode, PotMode
from crossmargin.accounts.states import AccountState
from crossmargin.instruments import Kind as InstrumentKind


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


class MarginCall(EventBase, frozen=True, kw_only=True, tag="margin_call"):
    """A holder was told that a pot stands below a line; nothing moves.

    `equity` and `required` as they stood, in `asset`; `until` when it must be mended, where the
    venue gives time.
    """

    account: str
    asset: str
    equity: Amount
    required: Amount
    pot: str = "cross"
    until: str | None = None
