"""Liquidation and what follows it, as bookings: what to do is decided by other rooms.

Layers: a step of liquidation, takeover, insurance fund, auto-deleveraging, shared loss. Each
checks its own limit here, so that a wrong decision is refused and not booked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from crossmargin.accounts._apply_money import must_have, must_lack
from crossmargin.accounts._apply_trades import hand_over
from crossmargin.accounts._trading import charge, find_position, price_of, quantity_of
from crossmargin.accounts.amounts import scaled
from crossmargin.accounts.chart import (
    FEES,
    LIQUIDATOR_POT,
    SOCIALISED,
    VENUE_POT,
    WORLD,
    check_name,
    fund_line,
)
from crossmargin.accounts.events import (
    Adl,
    Forfeit,
    FundCover,
    FundPayIn,
    LiquidationStep,
    Place,
    SocialisedLoss,
    Takeover,
)
from crossmargin.accounts.pots import Position, Pot
from crossmargin.accounts.state import State
from crossmargin.errors import LedgerError

Pots = tuple[Pot, ...]


def _must_reduce(position: Position, quantity: int) -> None:
    held = abs(position.held.balance)
    if quantity > held:
        raise LedgerError(
            f"{position.pot.name} holds {held} contract quanta of {position.contract.id}, "
            f"and {quantity} would flip it",
            code="LED-011",
            account=position.pot.account.id if position.pot.account else None,
            instrument=position.contract.id,
            field="quantity",
            hint="close at most what is open",
        )


def liquidation_step(state: State, event: LiquidationStep) -> Pots:
    """Close a part of a position by force, against the market or a named counterparty."""
    contract = state.contract(event.instrument)
    pot = state.pot(event.account, event.pot)
    other = event.counterparty
    other_pot = state.system[VENUE_POT] if other is None else state.pot(other.account, other.pot)
    position = find_position(state, contract, pot, event.leg)
    against = find_position(state, contract, other_pot, "net" if other is None else other.leg)
    quantity = quantity_of(contract, event.quantity)
    _must_reduce(position, quantity)
    value = contract.traded_value(quantity, price_of(contract, event.price))
    hand_over(state, position, against, quantity, value, "liquidation")
    charge(state, contract, other_pot, other)
    fee = scaled(
        event.fee,
        state.asset(contract.settlement).decimals,
        name="fee",
        sign="not negative",
    )
    if event.fee_to == "liquidator":
        receiver = state.system[LIQUIDATOR_POT].wallet(contract.settlement)
    else:
        name = fund_line(contract.group) if event.fee_to == "fund" else FEES
        receiver = state.ledger.line(name, contract.settlement)
    state.ledger.pay(pot.wallet(contract.settlement), receiver, fee, "liquidation_fee")
    return ()


def takeover(state: State, event: Takeover) -> Pots:
    """Hand a position to the liquidator at a price, and the margin that goes with it."""
    contract = state.contract(event.instrument)
    pot = state.trader(event.account, event.pot)
    position = find_position(state, contract, pot, event.leg)
    liquidator = find_position(state, contract, state.system[LIQUIDATOR_POT], "net")
    quantity = quantity_of(contract, event.quantity)
    _must_reduce(position, quantity)
    value = contract.traded_value(quantity, price_of(contract, event.price))
    hand_over(state, position, liquidator, quantity, value, "takeover")
    asset = contract.settlement
    margin = scaled(event.margin, state.asset(asset).decimals, name="margin", sign="not negative")
    wallet = pot.wallet(asset)
    if margin > max(wallet.balance, 0):
        raise LedgerError(
            f"{pot.name} has {wallet.balance} quanta of {asset} left, not {margin}",
            code="LED-005",
            account=event.account,
            instrument=event.instrument,
            field="margin",
        )
    taker = state.system[LIQUIDATOR_POT].wallet(asset)
    state.ledger.pay(wallet, taker, margin, "takeover_margin")
    return ()


def forfeit(state: State, event: Forfeit) -> Pots:
    """Pass what a pot has left to the liquidator; only once nothing is open in it."""
    pot = state.trader(event.account, event.pot)
    if pot.open_positions():
        raise LedgerError(
            f"{pot.name} still holds positions, so its money is its own",
            code="LED-013",
            account=event.account,
            field="pot",
            hint="take its positions over first",
        )
    amount = state.amount(event.amount, event.asset)
    wallet = must_have(pot, event.asset, amount)
    taker = state.system[LIQUIDATOR_POT].wallet(event.asset)
    state.ledger.pay(wallet, taker, amount, "forfeit")
    return ()


def fund_pay_in(state: State, event: FundPayIn) -> Pots:
    """Pay into a fund: from outside, out of fees that were earned, or of what a liquidator has."""
    check_name(event.group, "group")
    amount = state.amount(event.amount, event.asset)
    ledger = state.ledger
    if event.source == "liquidator":
        source = state.system[LIQUIDATOR_POT].wallet(event.asset)
    else:
        source = ledger.line(WORLD if event.source == "world" else FEES, event.asset)
    if event.source != "world" and amount > source.balance:
        raise LedgerError(
            f"{source.name} holds {source.balance} quanta of {event.asset}, not {amount}",
            code="LED-005",
            field="amount",
        )
    ledger.pay(source, ledger.line(fund_line(event.group), event.asset), amount, "fund_pay_in")
    return ()


def _at_home(state: State, place: Place) -> Pot:
    if place.location:
        raise LedgerError(
            "a deficit is covered at home", code="LED-013", account=place.account, field="location"
        )
    return state.pot(place.account, place.pot)


def fund_cover(state: State, event: FundCover) -> Pots:
    """Let a fund pay towards a deficit, of a trader or of the liquidator."""
    pot = _at_home(state, event.target)
    amount = state.amount(event.amount, event.asset)
    must_lack(pot, event.asset, amount)
    fund = state.ledger.line(fund_line(check_name(event.group, "group")), event.asset)
    if amount > fund.balance:
        raise LedgerError(
            f"the fund {event.group!r} holds {fund.balance} quanta of {event.asset}, not {amount}",
            code="LED-013",
            field="amount",
            hint="let it pay what it has; the next layer pays the rest",
        )
    state.ledger.pay(fund, pot.wallet(event.asset), amount, "fund_cover")
    return ()


def adl(state: State, event: Adl) -> Pots:
    """Close positions against a bankrupt one; nobody is flipped and nobody grows."""
    contract = state.contract(event.instrument)
    position = find_position(state, contract, state.pot(event.account, event.pot), event.leg)
    price = price_of(contract, event.price)
    for share in event.against:
        pot = state.pot(share.account, share.pot)
        other = find_position(state, contract, pot, share.leg)
        quantity = quantity_of(contract, share.quantity)
        _must_reduce(position, quantity)
        _must_reduce(other, quantity)
        if (other.held.balance > 0) == (position.held.balance > 0):
            raise LedgerError(
                f"{pot.name} is on the same side as {position.pot.name}",
                code="LED-011",
                account=share.account,
                instrument=contract.id,
                field="against",
                hint="only the opposite side can be deleveraged",
            )
        value = contract.traded_value(quantity, price)
        hand_over(state, position, other, quantity, value, "adl")
    return ()


def socialised_loss(state: State, event: SocialisedLoss) -> Pots:
    """Share a deficit out; it passes through ``sys:socialised``, which ends where it was.

    A share is at most what its payer's wallet holds: a loss that makes new deficits is not shared.
    """
    pot = _at_home(state, event.target)
    ledger = state.ledger
    through = ledger.line(SOCIALISED, event.asset)
    total = 0
    for share in event.shares:
        payer = state.trader(share.account, share.pot)
        amount = state.amount(share.amount, event.asset)
        wallet = payer.wallet(event.asset)
        if payer is pot or amount > wallet.balance:
            raise LedgerError(
                f"{payer.name} cannot pay {amount} quanta of {event.asset} of a shared loss",
                code="LED-013",
                account=share.account,
                field="shares",
                hint=f"its wallet holds {max(wallet.balance, 0)}",
            )
        ledger.pay(wallet, through, amount, "socialised_loss")
        total += amount
    must_lack(pot, event.asset, total)
    ledger.pay(through, pot.wallet(event.asset), total, "socialised_loss")
    return ()


HANDLERS: dict[type, Callable[[State, Any], Pots]] = {
    LiquidationStep: liquidation_step,
    Takeover: takeover,
    Forfeit: forfeit,
    FundPayIn: fund_pay_in,
    FundCover: fund_cover,
    Adl: adl,
    SocialisedLoss: socialised_loss,
}
