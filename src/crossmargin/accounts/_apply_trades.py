"""Trades: fills, blocks, positions that change hands, switches between pots, busts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from crossmargin.accounts._apply_money import must_allow, must_have
from crossmargin.accounts._encoding import fingerprint
from crossmargin.accounts._trading import (
    book_trade,
    charge,
    coins_of,
    exchange,
    find_position,
    price_of,
    quantity_of,
    sides,
)
from crossmargin.accounts.amounts import scaled, toward_zero_div
from crossmargin.accounts.contract import Contract
from crossmargin.accounts.events import Block, Bust, Fill, MovePosition, SwitchMode, Trade
from crossmargin.accounts.pots import Position, Pot
from crossmargin.accounts.state import State
from crossmargin.accounts.states import Action
from crossmargin.errors import LedgerError

Pots = tuple[Pot, ...]

#: A trade that has happened is booked in every state but those in which only a liquidator acts.
#: What an order may do in ``reduce-only`` depends on its risk and is asked before it rests:
#: :func:`crossmargin.accounts.project.order_allowed`.
_TRADE: Action = "risk-cutting-order"


def fill(state: State, event: Fill) -> Pots:
    """Book a trade of the order book; the margin was asked when the order was placed."""
    for pot in book_trade(state, event.trade):
        must_allow(pot, _TRADE, "a trade")
    return ()


def block(state: State, event: Block) -> Pots:
    """Book several trades together; all sides must stand above IM afterwards."""
    found: dict[str, Pot] = {}
    for trade in event.trades:
        for pot in book_trade(state, trade):
            must_allow(pot, _TRADE, "a block trade")
            found[pot.name] = pot
    return tuple(pot for pot in found.values() if pot.account is not None)


def cost_share(position: Position, quantity: int) -> int:
    """Return the share of a position's cost that `quantity` of it cost, toward zero."""
    held = abs(position.held.balance)
    if quantity == held:
        return position.cost.balance
    return toward_zero_div(position.cost.balance * quantity, held)


def _must_hold(position: Position, quantity: int) -> None:
    held = abs(position.held.balance)
    if quantity > held:
        raise LedgerError(
            f"{position.pot.name} holds {held} contract quanta, not {quantity}",
            code="LED-011",
            account=position.pot.account.id if position.pot.account else None,
            instrument=position.contract.id,
            field="quantity",
            hint="a position cannot be flipped or grown this way",
        )


def hand_over(
    state: State, source: Position, target: Position, quantity: int, value: int, code: str
) -> None:
    """Move `quantity` of a position to another holder at `value` (of a buy of that quantity)."""
    if source.held.balance > 0:
        exchange(state, target, source, quantity, value, code)
    else:
        exchange(state, source, target, quantity, value, code)


def at_entry(source: Position, quantity: int) -> int:
    """Return the value at which a position changes hands without profit."""
    share = cost_share(source, quantity)
    return -share if source.held.balance > 0 else share


def move_position(state: State, event: MovePosition) -> Pots:
    """Let a position change hands."""
    contract = state.contract(event.instrument)
    source_pot = state.pot(event.source.account, event.source.pot)
    target_pot = state.pot(event.target.account, event.target.pot)
    must_allow(source_pot, _TRADE, "a position transfer")
    must_allow(target_pot, "take-on-position", "a position transfer")
    source = find_position(state, contract, source_pot, event.source.leg)
    target = find_position(state, contract, target_pot, event.target.leg)
    quantity = quantity_of(contract, event.quantity)
    _must_hold(source, quantity)
    if event.price is None:
        value = at_entry(source, quantity)
    else:
        value = contract.traded_value(quantity, price_of(contract, event.price))
    hand_over(state, source, target, quantity, value, "move_position")
    charge(state, contract, source_pot, event.source)
    charge(state, contract, target_pot, event.target)
    return tuple(pot for pot in (source_pot, target_pot) if pot.account is not None)


def switch_mode(state: State, event: SwitchMode) -> Pots:
    """Move a whole position with money between two pots of one account: total funds stay."""
    contract = state.contract(event.instrument)
    source_pot = state.trader(event.account, event.source)
    target_pot = state.trader(event.account, event.target)
    for pot in (source_pot, target_pot):
        must_allow(pot, "take-on-position", "a switch of mode")
    source = find_position(state, contract, source_pot, event.leg)
    target = find_position(state, contract, target_pot, event.leg)
    quantity = abs(source.held.balance)
    if quantity == 0 or target.held.balance:
        raise LedgerError(
            "there is no position to move, or one where it would go",
            code="LED-011",
            account=event.account,
            instrument=contract.id,
            field="source",
        )
    hand_over(state, source, target, quantity, at_entry(source, quantity), "switch_mode")
    decimals = state.asset(contract.settlement).decimals
    amount = scaled(event.amount, decimals, name="amount", sign="not negative")
    if amount:
        wallet = must_have(source_pot, contract.settlement, amount)
        state.ledger.pay(wallet, target_pot.wallet(contract.settlement), amount, "switch_mode")
    return (source_pot, target_pot)


def bust(state: State, event: Bust) -> Pots:
    """Undo a fill by new transfers: the same trade the other way round, and its fees back."""
    named = event.fill.id
    trade = event.fill.trade
    contract = state.contract(trade.instrument)
    done = named in state.busted
    if done or not state.was_applied(named, fingerprint(event.fill)):
        raise LedgerError(
            f"{named!r} {'is busted already' if done else 'was not booked as it is given here'}",
            code="LED-014",
            field="fill",
            hint=None if done else "give the fill exactly as it was posted",
        )
    if state.seq_of(named) <= contract.terms_since:
        raise LedgerError(
            f"{contract.id} has changed its terms since {named!r}",
            code="LED-014",
            instrument=contract.id,
            field="fill",
            hint="correct it by a block trade of today's contracts",
        )
    buyer, seller = sides(state, trade)
    quantity = quantity_of(contract, trade.quantity)
    value = contract.traded_value(quantity, price_of(contract, trade.price))
    if contract.kind == "spot":
        _coins_back(state, contract, trade, quantity, value)
    else:
        exchange(
            state,
            find_position(state, contract, seller, trade.seller.leg if trade.seller else "net"),
            find_position(state, contract, buyer, trade.buyer.leg if trade.buyer else "net"),
            quantity,
            value,
            "bust",
        )
    charge(state, contract, buyer, trade.buyer, -1)
    charge(state, contract, seller, trade.seller, -1)
    state.ledger.later_undo(state.busted.discard, named)
    state.busted.add(named)
    return ()


def _coins_back(state: State, contract: Contract, trade: Trade, quantity: int, value: int) -> None:
    """Give coins and money back; a bust is owed even by a wallet that is empty."""
    buyer, seller = sides(state, trade)
    coins, pay = coins_of(state, contract, quantity), state.ledger.pay
    pay(buyer.wallet(contract.underlying), seller.wallet(contract.underlying), coins, "bust")
    pay(seller.wallet(contract.settlement), buyer.wallet(contract.settlement), value, "bust")


HANDLERS: dict[type, Callable[[State, Any], Pots]] = {
    Fill: fill,
    Block: block,
    MovePosition: move_position,
    SwitchMode: switch_mode,
    Bust: bust,
}
