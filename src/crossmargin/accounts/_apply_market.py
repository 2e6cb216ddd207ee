"""What the market does: marks, funding, settlement of a session, expiry, new terms."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from crossmargin.accounts._apply_trades import hand_over
from crossmargin.accounts._trading import income_line, price_of, realise
from crossmargin.accounts.amounts import ONE, fixed, floor_div
from crossmargin.accounts.chart import CLEARING, FUNDING, ROUNDING, VENUE_POT
from crossmargin.accounts.contract import Contract
from crossmargin.accounts.events import (
    Delist,
    Expiry,
    Funding,
    Mark,
    Redenominate,
    SettleSession,
)
from crossmargin.accounts.pots import Position, Pot
from crossmargin.accounts.state import State
from crossmargin.errors import LedgerError
from crossmargin.units import format_time, parse_time

Pots = tuple[Pot, ...]


def open_positions(contract: Contract) -> list[Position]:
    """Return the positions that are not flat, in an order that does not depend on history."""
    return [p for _, p in sorted(contract.holders.items()) if p.held.balance]


def mark(state: State, event: Mark) -> Pots:
    """Note mark prices; money stays where it is."""
    for instrument, text in event.prices.items():
        contract = state.contract(instrument)
        state.set(contract, "mark", price_of(contract, text))
    return ()


def must_be_marked(contract: Contract) -> int:
    """Return the last mark.

    Raises
    ------
    LedgerError
        ``LED-010``: missing is missing, not 0.
    """
    if contract.mark is None:
        raise LedgerError(
            f"{contract.id} has never been marked",
            code="LED-010",
            instrument=contract.id,
            field="price",
            hint="mark it first, or give the price",
        )
    return contract.mark


def funding(state: State, event: Funding) -> Pots:
    """Let longs pay shorts (rate > 0): payers up, receivers down, the rest to ``sys:rounding``.

    A holder receives ``−value · rate``: linear ``−q·mark·rate``, inverse ``−(q/mark)·rate`` coins
    (requirements row A18). With `elapsed_s` and `interval_s` it is ``−q`` times the change of an
    index that grows by ``rate · elapsed / interval · price`` (``derive-v2.md`` §5).
    """
    contract = state.contract(event.instrument)
    if contract.kind not in ("perpetual", "future"):
        raise LedgerError(
            f"{contract.id} is no perpetual",
            code="LED-016",
            instrument=contract.id,
            field="instrument",
        )
    price = must_be_marked(contract) if event.price is None else price_of(contract, event.price)
    rate = fixed(event.rate, name="rate")
    weight, bottom = rate * event.elapsed_s, ONE * event.interval_s
    ledger = state.ledger
    through = ledger.line(FUNDING, contract.settlement)
    start = through.balance
    # A long of an inverse contract has a negative value here and still pays a positive rate.
    sign = 1 if contract.inverse else -1
    for position in open_positions(contract):
        top, below = contract.value(position.held.balance, price)
        paid = floor_div(sign * top * weight, below * bottom)
        ledger.pay(through, income_line(position), paid, "funding")
    rest = through.balance - start
    ledger.pay(through, ledger.line(ROUNDING, contract.settlement), rest, "rounding")
    return ()


def settle_session(state: State, event: SettleSession) -> Pots:
    """Pay profit made and unmade into wallets: gains rounded down, losses up.

    What is rounded off stays in the cost line, so no residue arises.
    """
    for _, contract in sorted(state.contracts.items()):
        if contract.session and contract.settlement == event.asset and contract.open:
            positions = [] if contract.premium_at_once else open_positions(contract)
            price = must_be_marked(contract) if positions else 0
            for position in positions:
                top, below = contract.value(position.held.balance, price)
                realise(state, position, floor_div(top, below) + position.cost.balance)
    for session in state.ledger.lines_ending(":session", event.asset):
        wallet = state.ledger.line(session.name.removesuffix("session") + "wallet", event.asset)
        state.ledger.pay(session, wallet, session.balance, "session")
    return ()


def expiry(state: State, event: Expiry) -> Pots:
    """Settle a dated contract at a price, or at the plain average of samples.

    Source: settlement on the average of the index over a closing window, see
    :mod:`crossmargin.pricing.settlement`; each sample weighs the same.
    """
    contract = state.contract(event.instrument)
    if contract.expiry_ns is None:
        raise LedgerError(
            f"{contract.id} does not expire",
            code="LED-016",
            instrument=contract.id,
            field="instrument",
            hint="delist it",
        )
    if parse_time(event.time) < contract.expiry_ns:
        raise LedgerError(
            f"{contract.id} expires only at {format_time(contract.expiry_ns)}",
            code="LED-016",
            instrument=contract.id,
            field="time",
            hint="delist it to close it earlier",
        )
    if (event.price is None) == (not event.samples):
        raise LedgerError(
            "a settlement needs either a price or samples",
            code="LED-010",
            instrument=contract.id,
            field="price",
        )
    texts = event.samples if event.price is None else [event.price]
    total = sum(fixed(text, name="price", sign="positive") for text in texts)
    price = total // len(texts)
    _close_out(state, contract, price, intrinsic=True, code="settlement")
    return ()


def delist(state: State, event: Delist) -> Pots:
    """Close a contract out at a price of its own."""
    contract = state.contract(event.instrument)
    if contract.kind == "spot":
        state.set(contract, "open", False)
        return ()
    price = price_of(contract, event.price)
    _close_out(state, contract, price, intrinsic=False, code="delisting")
    return ()


def _close_out(state: State, contract: Contract, price: int, *, intrinsic: bool, code: str) -> None:
    """Pay every holder the value at `price`, down, and take the contracts off him."""
    ledger, settlement = state.ledger, contract.settlement
    clearing = ledger.line(CLEARING, settlement)
    contracts = ledger.line(CLEARING, contract.asset)
    start = clearing.balance
    for position in open_positions(contract):
        quantity = position.held.balance
        if contract.kind == "option" and intrinsic:
            worth, per = contract.intrinsic(price)
            top, below = contract.value(quantity, worth)
            below *= per
        else:
            top, below = contract.value(quantity, price)
        value = floor_div(top, below)
        if contract.premium_at_once:
            ledger.pay(clearing, income_line(position), value, code)
        else:
            realise(state, position, value + position.cost.balance)
            ledger.pay(position.cost, clearing, position.cost.balance, code)
        ledger.pay(position.held, contracts, quantity, code)
    ledger.pay(clearing, ledger.line(ROUNDING, settlement), clearing.balance - start, "rounding")
    # What costs and realised profit came to has gone to rounding with the last cost.
    state.set(contract, "realised", 0)
    state.set(contract, "mark", price)
    state.set(contract, "open", False)


def redenominate(state: State, event: Redenominate) -> Pots:
    """Turn every `each` contracts into `into`, each that much smaller; values stay.

    Where a price is given odd parts go to the venue first; as longs equal shorts, what it then
    holds divides.

    Raises
    ------
    LedgerError
        ``LED-015`` when a holding or the size does not divide exactly.
    """
    contract = state.contract(event.instrument)
    into, each = event.into, event.each
    size, rest = divmod(contract.size * each, into)
    if rest or contract.kind == "spot":
        raise LedgerError(
            f"the size of {contract.id} does not divide into {into} for {each}",
            code="LED-015",
            instrument=contract.id,
            field="into",
        )
    if event.price is not None:
        _close_odd_parts(state, contract, each // math.gcd(into, each), event.price)
    clearing = state.ledger.line(CLEARING, contract.asset)
    for position in open_positions(contract):
        quantity = position.held.balance
        new, rest = divmod(quantity * into, each)
        if rest:
            raise LedgerError(
                f"{position.pot.name} holds {quantity} quanta, which do not divide by {each}",
                code="LED-015",
                account=position.pot.account.id if position.pot.account else None,
                instrument=contract.id,
                field="each",
                hint="close or move the odd part first, or give a price at which it is closed",
            )
        state.ledger.pay(clearing, position.held, new - quantity, "redenomination")
    state.ledger.later_undo(contract.rescale)
    state.set(contract, "size", size)
    state.set(contract, "terms_since", state.count + 1)
    contract.rescale()
    return ()


def _close_odd_parts(state: State, contract: Contract, unit: int, text: str) -> None:
    """Close what of each holding is no multiple of `unit` quanta, against the venue."""
    price = price_of(contract, text)
    venue = state.position(state.system[VENUE_POT], contract, "net")
    for position in open_positions(contract):
        odd = abs(position.held.balance) % unit
        if odd and position is not venue:
            value = contract.traded_value(odd, price)
            hand_over(state, position, venue, odd, value, "redenomination")


HANDLERS: dict[type, Callable[[State, Any], Pots]] = {
    Mark: mark,
    Funding: funding,
    SettleSession: settle_session,
    Expiry: expiry,
    Delist: delist,
    Redenominate: redenominate,
}
