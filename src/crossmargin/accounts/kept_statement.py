"""What the ledger says of one account: money, positions, causes, margin, journal."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from fractions import Fraction
from typing import TYPE_CHECKING

import msgspec

from crossmargin.accounts.amounts import text_of
from crossmargin.accounts.ledger import Transfer
from crossmargin.accounts.pnl import Attribution
from crossmargin.accounts.pots import Position, Pot
from crossmargin.accounts.project import margin_lines
from crossmargin.accounts.standing import average_entry, money_of, unrealised
from crossmargin.accounts.state import State
from crossmargin.margin import Ruleset
from crossmargin.market import Snapshot
from crossmargin.units import format_time

if TYPE_CHECKING:
    from crossmargin.accounts.store import Record


class KeptMoney(msgspec.Struct, frozen=True, kw_only=True):
    """One asset of one pot; amounts as exact decimal text in its units.

    `price` and the others are causes of `equity`: they add up to it, to the rounding of one
    quantum that equity is rounded down by.
    """

    pot: str
    state: str
    asset: str
    wallet: str
    unrealised: str
    equity: str
    held: str
    free: str
    causes: dict[str, str]


class KeptPosition(msgspec.Struct, frozen=True, kw_only=True):
    """One open position; `unrealised` in the settlement asset."""

    pot: str
    instrument: str
    leg: str
    quantity: str
    entry_price: str | None
    mark: str | None
    unrealised: str | None
    settlement: str


class KeptMargin(msgspec.Struct, frozen=True, kw_only=True):
    """What a pot must hold, in its numeraire; from the margin room."""

    pot: str
    numeraire: str
    equity: float
    im: float
    mm: float
    available: float
    health: float | None


class KeptEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the journal, and what it moved on the account's money."""

    seq: int
    time: str
    kind: str
    id: str
    moved: dict[str, str]


class KeptStatement(msgspec.Struct, frozen=True, kw_only=True):
    """The whole statement."""

    account: str
    owner: str
    entries: int
    state: str
    ruleset: str | None
    money: list[KeptMoney]
    positions: list[KeptPosition]
    margin: list[KeptMargin]
    journal: list[KeptEntry]


def kept_statement(
    state: State,
    account: str,
    records: Iterable[Record],
    snapshot: Snapshot | None = None,
    ruleset: Ruleset | None = None,
    *,
    entries: int = 20,
) -> KeptStatement:
    """Make the statement of one account.

    Parameters
    ----------
    state : State
        After the last record.
    account : str
        Whose.
    records : iterable of Record
        The whole log, in order.
    snapshot, ruleset : optional
        Market and rules to margin it; both or none.
    entries : int
        Entries of the journal that are kept, the last ones.

    Raises
    ------
    LedgerError
        ``LED-002`` for an unknown account, ``LED-010`` for a position without a mark.
    """
    state.trader(account)
    own = state.accounts[account]
    causes: dict[tuple[str, str], Attribution] = {}
    journal: deque[KeptEntry] = deque(maxlen=max(entries, 0))
    start = f"{account}/"
    for record in records:
        mine = [Transfer(*t) for t in record.transfers if _touches(t, start)]
        if not mine:
            continue
        for pot in own.pots.values():
            for asset in {t.asset for t in mine}:
                key = (pot.name, asset)
                if key not in causes:
                    causes[key] = Attribution(pot.name, asset, Fraction(0))
                causes[key].add(mine)
        journal.append(_entry(state, record, mine, start))
    money = [
        _money(state, pot, asset, found)
        for pot in own.pots.values()
        for (name, asset), found in sorted(causes.items())
        if name == pot.name and asset in state.assets and _shown(pot, asset, found)
    ]
    margin = []
    if snapshot is not None and ruleset is not None:
        for name, line in margin_lines(state, account, snapshot, ruleset).items():
            margin.append(
                KeptMargin(
                    pot=name,
                    numeraire=line.numeraire,
                    equity=line.equity_mm,
                    im=line.im,
                    mm=line.mm,
                    available=line.available,
                    health=line.health,
                )
            )
    return KeptStatement(
        account=account,
        owner=own.owner,
        entries=state.count,
        state=state.digest(),
        ruleset=None if ruleset is None else ruleset.id,
        money=money,
        positions=[_position(state, p) for pot in own.pots.values() for p in pot.open_positions()],
        margin=margin,
        journal=list(journal),
    )


def _touches(transfer: tuple[str, str, str, int, str], start: str) -> bool:
    return transfer[0].startswith(start) or transfer[1].startswith(start)


def _shown(pot: Pot, asset: str, found: Attribution) -> bool:
    return any(found.flows.values()) or any(line.asset == asset for _, _, line in pot.money())


def _money(state: State, pot: Pot, asset: str, found: Attribution) -> KeptMoney:
    decimals = state.assets[asset].decimals
    said = money_of(state, pot, asset)
    causes = {cause: x for cause, x in found.causes(state).items() if x}
    return KeptMoney(
        pot=pot.id,
        state=pot.state,
        asset=asset,
        wallet=text_of(said.wallet, decimals),
        unrealised=text_of(said.unrealised + said.options, decimals),
        equity=text_of(said.equity, decimals),
        held=text_of(said.held, decimals),
        free=text_of(said.free, decimals),
        causes={cause: _fraction(x, decimals) for cause, x in causes.items()},
    )


def _fraction(value: Fraction, decimals: int) -> str:
    """Write exact quanta as text, rounded down to a quantum as equity is."""
    return text_of(value.numerator // value.denominator, decimals)


def _position(state: State, position: Position) -> KeptPosition:
    contract = position.contract
    entry = average_entry(position)
    decimals = state.assets[contract.settlement].decimals
    marked = contract.mark is not None
    return KeptPosition(
        pot=position.pot.id,
        instrument=contract.id,
        leg=position.leg,
        quantity=text_of(position.held.balance, contract.quantity_decimals),
        entry_price=None if entry is None else _price(entry),
        mark=None if contract.mark is None else text_of(contract.mark, 18),
        unrealised=_fraction(unrealised(position), decimals) if marked else None,
        settlement=contract.settlement,
    )


def _price(value: Fraction) -> str:
    """Write a price to 12 decimals, rounded to nearest."""
    return text_of(round(value * 10**12), 12)


def _entry(state: State, record: Record, mine: list[Transfer], start: str) -> KeptEntry:
    moved: dict[str, int] = {}
    for t in mine:
        if t.asset not in state.assets:
            continue
        for name, sign in ((t.debit, -1), (t.credit, 1)):
            kind = name.partition(":")[2].partition("@")[0]
            if name.startswith(start) and kind in ("wallet", "session", "loan", "owed"):
                moved[t.asset] = moved.get(t.asset, 0) + sign * t.amount
    return KeptEntry(
        seq=record.seq,
        time=format_time(record.time_ns),
        kind=record.kind,
        id=record.id,
        moved={a: text_of(x, state.assets[a].decimals) for a, x in sorted(moved.items()) if x},
    )
