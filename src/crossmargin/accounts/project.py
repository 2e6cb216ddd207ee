"""From the ledger to the margin room: accounts as files, and what margin says of them.

This is the door out: quanta become decimal text, entry prices the nearest decimals, and the
margin room turns both into floats.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction

from crossmargin.accounts.amounts import PLACES, power_of_ten, text_of
from crossmargin.accounts.chart import COUNTED
from crossmargin.accounts.contract import Contract
from crossmargin.accounts.pots import Position, Pot
from crossmargin.accounts.standing import average_entry
from crossmargin.accounts.state import State
from crossmargin.accounts.states import ALLOWS, LADDER, AccountState, Ladder
from crossmargin.book import (
    AccountFile,
    BalanceEntry,
    Book,
    OrderEntry,
    PoolEntry,
    PositionEntry,
    book_from_accounts,
)
from crossmargin.errors import CrossmarginError, InputError, LedgerError
from crossmargin.instruments import Instrument, Registry, parse_instrument
from crossmargin.margin import Ruleset, check_order, evaluate, pot_lines
from crossmargin.margin.statement_types import PotLine
from crossmargin.market import Snapshot
from crossmargin.units import format_time

#: Excess below this share of equity and requirement is rounding of floats, not a shortfall.
ROUNDING_SHARE = 1e-9

#: Digits of an entry price: below a quantum for any position that exists.
_ENTRY_PLACES = 18


def project_account(state: State, account: str) -> AccountFile:
    """Return an account as the margin room takes it.

    A pot is a pool. Its money counts less what is held for its way out; what has not arrived is a
    pending balance, which counts for nothing. Positions are in coins (inverse: US dollars).

    Raises
    ------
    LedgerError
        ``LED-002`` unknown account; ``LED-020`` a position that an account file cannot say.
    """
    state.trader(account)
    found = state.accounts[account]
    balances: list[BalanceEntry] = []
    positions: list[PositionEntry] = []
    pools: list[PoolEntry] = []
    for _, pot in sorted(found.pots.items()):
        pools.append(PoolEntry(id=pot.id, mode=pot.mode))
        balances += _balances(state, pot)
        positions += [_position(state, pot, p) for p in pot.open_positions()]
    return AccountFile(
        format="crossmargin-account/1",
        account=found.id,
        owner=found.owner,
        pools=pools,
        balances=balances,
        positions=positions,
    )


def registry_of(state: State) -> Registry:
    """Return the contracts of a state as instruments of one coin (inverse: one US dollar) each."""
    registry = Registry()
    for _, contract in sorted(state.contracts.items()):
        if contract.kind != "spot":
            registry.add(_unit_instrument(contract))
    return registry


def project_book(state: State, accounts: Iterable[str] | None = None) -> Book:
    """Return accounts as a book, those that hold nothing left out."""
    names = sorted(state.accounts) if accounts is None else accounts
    files = [project_account(state, name) for name in names]
    kept = [file for file in files if file.balances or file.positions]
    return book_from_accounts(kept, registry_of(state))


def margin_lines(
    state: State, account: str, snapshot: Snapshot, ruleset: Ruleset
) -> dict[str, PotLine]:
    """Return equity, IM and MM by pot of the margin room; empty for an account without anything.

    Keys are names of pots as in statements, which rule-sets with several pots a pool need.
    """
    file = project_account(state, account)
    if not (file.balances or file.positions):
        return {}
    book = book_from_accounts([file], registry_of(state))
    return {line.name: line for line in pot_lines(evaluate(book, snapshot, ruleset))}


@dataclass(frozen=True, slots=True)
class MarginGuard:
    """Refuses events that leave a pot below its initial margin; for :func:`apply`.

    Attributes
    ----------
    snapshot, ruleset
        Market and rules at the moment of the event.
    """

    snapshot: Snapshot
    ruleset: Ruleset

    def __call__(self, state: State, pots: tuple[Pot, ...]) -> str | None:
        """Say which of the pots is short, or None."""
        for pot in pots:
            if pot.account is None:
                continue
            try:
                lines = margin_lines(state, pot.account.id, self.snapshot, self.ruleset)
            except CrossmarginError as error:
                return f"the margin of {pot.account.id} is not known: {error.message}"
            for line in lines.values():
                rounding = ROUNDING_SHARE * max(1.0, abs(line.equity_im), line.im)
                if line.pool == pot.id and line.available < -rounding:
                    return (
                        f"{pot.name} would have equity of {line.equity_im:,.2f} "
                        f"{line.numeraire} against an initial margin of {line.im:,.2f}"
                    )
        return None


def next_states(
    state: State, account: str, snapshot: Snapshot, ruleset: Ruleset, ladder: Ladder
) -> dict[str, AccountState]:
    """Return the state that each pot of an account goes to, by its id; see :class:`Ladder`.

    A pot with several pots in the margin room (by settlement asset) has the worst of them. The
    caller posts a ``set_state`` event where it differs: the ledger does not watch the market.
    """
    found: dict[str, AccountState] = {}
    pots = state.trader(account).account
    assert pots is not None
    for line in margin_lines(state, account, snapshot, ruleset).values():
        now = pots.pots[line.pool].state
        after = ladder.state(line.equity_im, line.im, line.mm, now, equity_mm=line.equity_mm)
        before = found.get(line.pool, "healthy")
        found[line.pool] = max(before, after, key=LADDER.index)
    return {pot: found.get(pot, "healthy") for pot in sorted(pots.pots)}


def order_allowed(
    state: State, account: str, order: OrderEntry, snapshot: Snapshot, ruleset: Ruleset
) -> str | None:
    """Say why an order is not allowed, or None: the state of its pot first, then its margin.

    In ``reduce-only`` an order that only cuts risk is allowed, one that adds risk is not (row
    A26); what cuts risk is :func:`crossmargin.margin.check_order`'s to say.
    """
    pot = state.trader(account, order.pool)
    allowed = ALLOWS[pot.state]
    if "risk-cutting-order" not in allowed:
        return f"{pot.name} is {pot.state}: only the liquidator trades"
    check = check_order(project_account(state, account), snapshot, ruleset, order)
    if "risk-adding-order" not in allowed and not check.reducing:
        return f"{pot.name} is {pot.state}, and the order adds risk"
    return None if check.accepted else check.reason


def _balances(state: State, pot: Pot) -> list[BalanceEntry]:
    """Return the money of a pot: one row an asset and location, and what is on its way."""
    counted: dict[tuple[str, str, bool], int] = {}
    for kind, location, line in pot.money():
        if kind in COUNTED or kind == "arriving":
            key = (line.asset, location, kind == "arriving")
            counted[key] = counted.get(key, 0) + line.balance
    rows = []
    for (asset, location, pending), amount in sorted(counted.items()):
        if amount:
            proved = state.proofs.get(location)
            rows.append(
                BalanceEntry(
                    asset=asset,
                    amount=text_of(amount, state.assets[asset].decimals),
                    pool=pot.id,
                    location=location or None,
                    proof_time=None if proved is None else format_time(proved),
                    pending=pending,
                )
            )
    return rows


def _position(state: State, pot: Pot, position: Position) -> PositionEntry:
    contract = position.contract
    size = position.held.balance * contract.size
    quantity = text_of(size, contract.quantity_decimals + PLACES)
    entry = average_entry(position)
    if contract.premium_at_once:
        price = None
    elif entry is None or entry <= 0:
        raise LedgerError(
            f"{position.pot.name} entered {contract.id} at no positive price",
            code="LED-020",
            account=None if pot.account is None else pot.account.id,
            instrument=contract.id,
            field="entry_price",
            hint="an account file cannot say that",
        )
    else:
        price = _decimal(entry)
    return PositionEntry(
        instrument=contract.id, quantity=quantity, entry_price=price, leg=position.leg, pool=pot.id
    )


def _decimal(price: Fraction) -> str:
    """Return a price to 18 places, nearest."""
    return text_of(round(price * power_of_ten(_ENTRY_PLACES)), _ENTRY_PLACES)


def _unit_instrument(contract: Contract) -> Instrument:
    """Return the instrument of one coin; by its name where the name says its terms.

    Raises
    ------
    LedgerError
        ``LED-020`` when the name means another instrument.
    """
    mine = replace(contract.instrument(), contract_size=1.0)
    try:
        named = parse_instrument(contract.id)
    except InputError:
        return mine
    if replace(named, id=mine.id) != mine:
        raise LedgerError(
            f"{contract.id!r} names another instrument than the one listed under it",
            code="LED-020",
            instrument=contract.id,
            hint="list it under its own name, or one that fits no grammar",
        )
    return named
