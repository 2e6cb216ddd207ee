"""Snapshots of a state: a cache that spares a replay from the first event, and nothing else.

A snapshot carries the digest of its state. What restores to another digest is refused, and the
log is replayed from the start.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from crossmargin.accounts.amounts import Scales
from crossmargin.accounts.chart import SYSTEM
from crossmargin.accounts.contract import Contract, Right, make_contract
from crossmargin.accounts.interest import Curve
from crossmargin.accounts.pots import Account, Leg, LegMode, Pot, PotMode
from crossmargin.accounts.state import Asset, Pending, State
from crossmargin.accounts.states import AccountState
from crossmargin.errors import LedgerError
from crossmargin.instruments import Kind

PendingCode = Literal["deposit", "withdrawal", "transfer", "reserve"]


class _Row(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Rows are arrays: a snapshot is read by the code that wrote it."""


class _Asset(_Row, frozen=True, array_like=True):
    id: str
    decimals: int
    curve: tuple[str, str, str, str]
    fund_share: str
    fund_group: str


class _Contract(_Row, frozen=True, array_like=True):
    id: str
    kind: Kind
    underlying: str
    quote: str
    settlement: str
    size: str
    quantity_decimals: int
    expiry_ns: int | None
    strike: str | None
    right: Right | None
    premium_at_once: bool
    session: bool
    group: str
    mark: str | None
    realised: str
    open: bool
    terms_since: int


class _Account(_Row, frozen=True, array_like=True):
    id: str
    owner: str
    parent: str | None
    ring_fenced: bool
    legs: LegMode
    borrowing: bool
    pots: list[tuple[str, PotMode, AccountState]]


class _Snapshot(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    format: Literal["crossmargin-ledger-snapshot/1"]
    digest: str
    count: int
    head: bytes
    scales: dict[str, int]
    assets: list[_Asset]
    contracts: list[_Contract]
    accounts: list[_Account]
    lines: list[tuple[str, str, str]]
    positions: list[tuple[str, str, str, Leg]]
    pendings: list[tuple[str, str, str, str, str, str, PendingCode, str, str]]
    proofs: dict[str, int]
    seen: dict[str, bytes]
    busted: list[str]


def snapshot(state: State) -> bytes:
    """Return a state as bytes; whole numbers of any size travel as text."""
    lines = [(x.name, x.asset, str(x.balance)) for x in state.ledger.open_lines()]
    pots = [*state.pots(), *state.system.values()]
    positions = [
        (*_key(pot), p.contract.id, p.leg)
        for pot in pots
        for p in pot.positions.values()
        if p.held.balance or p.cost.balance
    ]
    pendings: list[tuple[str, str, str, str, str, str, PendingCode, str, str]] = [
        (
            name,
            p.waiting.name,
            p.posted.name,
            p.voided.name,
            p.waiting.asset,
            str(p.amount),
            p.code,
            *_key(p.pot),
        )
        for name, p in state.pendings.items()
    ]
    made = _Snapshot(
        format="crossmargin-ledger-snapshot/1",
        digest=state.digest(),
        count=state.count,
        head=state.head,
        scales=dict(state.scales.decimals),
        assets=[_asset_row(a) for a in state.assets.values()],
        contracts=[_contract_row(c) for c in state.contracts.values()],
        accounts=[_account_row(a) for a in state.accounts.values()],
        lines=lines,
        positions=positions,
        pendings=pendings,
        proofs=state.proofs,
        seen=state.seen,
        busted=sorted(state.busted),
    )
    return msgspec.msgpack.encode(made)


def restore(raw: bytes) -> State:
    """Return the state of a snapshot.

    Raises
    ------
    LedgerError
        ``LED-021`` for bytes that are no snapshot, or whose state has another digest.
    """
    try:
        data = msgspec.msgpack.decode(raw, type=_Snapshot)
        state = _restored(data)
    except (msgspec.MsgspecError, LookupError, ValueError) as error:
        raise _unusable(f"cannot be read: {error}") from None
    if state.digest() != data.digest:
        raise _unusable("gives another state than the one it was taken of")
    return state


def _unusable(why: str) -> LedgerError:
    return LedgerError(
        f"the snapshot {why}",
        code="LED-021",
        field="snapshot",
        hint="drop it and replay the log: a snapshot is only a cache",
    )


def _restored(data: _Snapshot) -> State:
    state = State(Scales(data.scales))
    for a in data.assets:
        floor, slope, kink, above = (int(x) for x in a.curve)
        curve = Curve(floor, slope, kink, above)
        state.assets[a.id] = Asset(a.id, a.decimals, curve, int(a.fund_share), a.fund_group)
    for c in data.contracts:
        state.contracts[c.id] = _contract(c, state.assets[c.settlement].decimals)
    for row in data.accounts:
        account = Account(
            row.id,
            row.owner,
            parent=row.parent,
            ring_fenced=row.ring_fenced,
            legs=row.legs,
            borrowing=row.borrowing,
        )
        state.accounts[row.id] = account
        for name, mode, standing in row.pots:
            pot = Pot(state.ledger, account, name, f"{row.id}/{name}", mode)
            pot.state = standing
            account.pots[name] = pot
    pots = {pot.name: pot for pot in (*state.pots(), *state.system.values())}
    for name, asset, balance in data.lines:
        line = state.ledger.line(name, asset)
        line.balance = int(balance)
        owner, _, kind = name.rpartition(":")
        place, _, location = kind.partition("@")
        if owner in pots:
            pots[owner].line(place, asset, location)
    for account_id, pot_id, instrument, leg in data.positions:
        state.position(state.pot(account_id, pot_id), state.contracts[instrument], leg)
    for name, waiting, posted, voided, asset, amount, code, account_id, pot_id in data.pendings:
        state.pendings[name] = Pending(
            state.ledger.line(waiting, asset),
            state.ledger.line(posted, asset),
            state.ledger.line(voided, asset),
            int(amount),
            code,
            state.pot(account_id, pot_id),
        )
    state.proofs, state.seen, state.busted = data.proofs, data.seen, set(data.busted)
    state.count, state.head = data.count, data.head
    return state


def _key(pot: Pot) -> tuple[str, str]:
    return (SYSTEM if pot.account is None else pot.account.id), pot.id


def _asset_row(a: Asset) -> _Asset:
    c = a.curve
    curve = (str(c.floor), str(c.slope), str(c.kink), str(c.slope_above))
    return _Asset(a.id, a.decimals, curve, str(a.fund_share), a.fund_group)


def _contract_row(c: Contract) -> _Contract:
    return _Contract(
        c.id,
        c.kind,
        c.underlying,
        c.quote,
        c.settlement,
        str(c.size),
        c.quantity_decimals,
        c.expiry_ns,
        None if c.strike is None else str(c.strike),
        c.right,
        c.premium_at_once,
        c.session,
        c.group,
        None if c.mark is None else str(c.mark),
        str(c.realised),
        c.open,
        c.terms_since,
    )


def _contract(c: _Contract, settlement_decimals: int) -> Contract:
    terms: dict[str, Any] = {
        "id": c.id,
        "kind": c.kind,
        "underlying": c.underlying,
        "quote": c.quote,
        "settlement": c.settlement,
        "size": int(c.size),
        "quantity_decimals": c.quantity_decimals,
        "settlement_decimals": settlement_decimals,
        "expiry_ns": c.expiry_ns,
        "strike": None if c.strike is None else int(c.strike),
        "right": c.right,
        "premium_at_once": c.premium_at_once,
        "session": c.session,
        "group": c.group,
    }
    made = make_contract(**terms)
    made.mark = None if c.mark is None else int(c.mark)
    made.realised = int(c.realised)
    made.open = c.open
    made.terms_since = c.terms_since
    return made


def _account_row(a: Account) -> _Account:
    pots = [(pot.id, pot.mode, pot.state) for pot in a.pots.values()]
    return _Account(a.id, a.owner, a.parent, a.ring_fenced, a.legs, a.borrowing, pots)
