"""Money: deposits, withdrawals, transfers, loans, interest, conversion."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from crossmargin.accounts.amounts import ONE, ceil_div, fixed, floor_div, power_of_ten, scaled
from crossmargin.accounts.chart import (
    CONVERSION,
    FEES,
    SYSTEM,
    VENUE_POT,
    WORLD,
    Line,
    check_name,
)
from crossmargin.accounts.events import (
    Convert,
    Correct,
    Cover,
    Deposit,
    FeeCharge,
    MoveMoney,
    Place,
    Post,
    Proof,
    Reserve,
    Void,
    Withdrawal,
)
from crossmargin.accounts.pots import Pot
from crossmargin.accounts.state import Pending, State
from crossmargin.accounts.states import ALLOWS, Action, states_allowing
from crossmargin.errors import LedgerError
from crossmargin.units import parse_time

Pots = tuple[Pot, ...]


def must_allow(pot: Pot, action: Action, what: str) -> None:
    """Refuse what the state of a pot does not allow.

    Raises
    ------
    LedgerError
        ``LED-012``.
    """
    if action not in ALLOWS[pot.state]:
        raise LedgerError(
            f"{what} is not allowed to {pot.name}, which is {pot.state}",
            code="LED-012",
            account=pot.account.id if pot.account else None,
            hint=f"allowed when {' or '.join(states_allowing(action))}",
        )


def free(pot: Pot, asset: str) -> int:
    """Return what a pot could pay in an asset, margin apart: quanta, negative when it owes.

    The wallet less a session's loss and owed interest. Profit that is not settled cannot leave.
    """
    session = pot.line("session", asset).balance
    return pot.wallet(asset).balance + min(session, 0) + min(pot.line("owed", asset).balance, 0)


def must_have(pot: Pot, asset: str, amount: int, location: str = "") -> Line:
    """Return the wallet that pays, or refuse an amount that it does not hold.

    Raises
    ------
    LedgerError
        ``LED-005``.
    """
    line = pot.line("wallet", asset, location)
    have = line.balance if location else free(pot, asset)
    if amount > have:
        raise LedgerError(
            f"{pot.name} can pay {max(have, 0)} quanta of {asset}, not {amount}",
            code="LED-005",
            account=pot.account.id if pot.account else None,
            field="amount",
            hint="profit counts once it has been settled into the wallet",
        )
    return line


def _place(state: State, place: Place) -> Pot:
    if place.location:
        check_name(place.location, "location")
    return state.pot(place.account, place.pot)


def deposit(state: State, event: Deposit) -> Pots:
    """Bring money in, at once or in flight."""
    place = Place(account=event.account, pot=event.pot, location=event.location)
    pot = _place(state, place)
    amount = state.amount(event.amount, event.asset)
    world = state.ledger.line(WORLD, event.asset)
    wallet = pot.line("wallet", event.asset, event.location)
    if event.pending:
        waiting = pot.line("arriving", event.asset, event.location)
        _send(state, event.id, Pending(waiting, wallet, world, amount, "deposit", pot), world)
    else:
        state.ledger.pay(world, wallet, amount, "deposit")
    return ()


def withdrawal(state: State, event: Withdrawal) -> Pots:
    """Take money out, at once or by way of ``held``."""
    place = Place(account=event.account, pot=event.pot, location=event.location)
    pot = _place(state, place)
    must_allow(pot, "withdraw", "a withdrawal")
    amount = state.amount(event.amount, event.asset)
    wallet = must_have(pot, event.asset, amount, event.location)
    world = state.ledger.line(WORLD, event.asset)
    if event.pending:
        waiting = pot.line("held", event.asset, event.location)
        _send(state, event.id, Pending(waiting, world, wallet, amount, "withdrawal", pot), wallet)
    else:
        state.ledger.pay(wallet, world, amount, "withdrawal")
    return (pot,)


def move_money(state: State, event: MoveMoney) -> Pots:
    """Move money between pots, sub-accounts or locations."""
    source, target = _place(state, event.source), _place(state, event.target)
    if source is target and event.source.location == event.target.location:
        raise LedgerError(
            "a transfer from a place to itself", code="LED-008", account=event.source.account
        )
    must_allow(source, "transfer-out", "a transfer out")
    amount = state.amount(event.amount, event.asset)
    wallet = must_have(source, event.asset, amount, event.source.location)
    end = target.line("wallet", event.asset, event.target.location)
    if event.pending:
        waiting = target.line("arriving", event.asset, event.target.location)
        _send(state, event.id, Pending(waiting, end, wallet, amount, "transfer", source), wallet)
    else:
        state.ledger.pay(wallet, end, amount, "transfer")
    return (source,)


def reserve(state: State, event: Reserve) -> Pots:
    """Hold money back for the venue."""
    pot = state.trader(event.account, event.pot)
    must_allow(pot, "withdraw", "a reservation")
    amount = state.amount(event.amount, event.asset)
    wallet = must_have(pot, event.asset, amount)
    waiting, end = pot.line("held", event.asset), state.system[VENUE_POT].wallet(event.asset)
    _send(state, event.id, Pending(waiting, end, wallet, amount, "reserve", pot), wallet)
    return (pot,)


def _send(state: State, id: str, pending: Pending, start: Line) -> None:
    state.ledger.pay(start, pending.waiting, pending.amount, f"{pending.code}:pending")
    state.put(state.pendings, id, pending)


def _pending(state: State, id: str) -> Pending:
    found = state.pendings.get(id)
    if found is None:
        why = "is done with, or never was" if id in state.seen else "has never been sent"
        raise LedgerError(
            f"nothing is pending under {id!r}: it {why}", code="LED-006", field="pending"
        )
    return found


def post(state: State, event: Post) -> Pots:
    """Carry out what is pending; what is not posted goes back."""
    it = _pending(state, event.pending)
    if it.code == "withdrawal":
        must_allow(it.pot, "finish-withdrawal", "a withdrawal")
    amount = it.amount
    if event.amount is not None:
        amount = state.amount(event.amount, it.waiting.asset)
        if amount > it.amount:
            raise LedgerError(
                f"only {it.amount} quanta are pending, not {amount}",
                code="LED-006",
                field="amount",
                hint="send the rest as an event of its own",
            )
    state.ledger.pay(it.waiting, it.posted, amount, f"{it.code}:posted")
    state.ledger.pay(it.waiting, it.voided, it.amount - amount, f"{it.code}:voided")
    state.drop(state.pendings, event.pending)
    return ()


def void(state: State, event: Void) -> Pots:
    """Send what is pending back."""
    it = _pending(state, event.pending)
    state.ledger.pay(it.waiting, it.voided, it.amount, f"{it.code}:voided")
    state.drop(state.pendings, event.pending)
    return ()


def proof(state: State, event: Proof) -> Pots:
    """Note when a location last proved its holdings; never an older proof over a newer one."""
    check_name(event.location, "location")
    time_ns = parse_time(event.proof_time, field="proof_time")
    state.put(state.proofs, event.location, max(time_ns, state.proofs.get(event.location, time_ns)))
    return ()


def fee(state: State, event: FeeCharge) -> Pots:
    """Charge a fee, or pay a rebate."""
    pot = state.trader(event.account, event.pot)
    amount = scaled(event.amount, state.asset(event.asset).decimals, name="amount")
    fees = state.ledger.line(FEES, event.asset)
    state.ledger.pay(pot.wallet(event.asset), fees, amount, "fee")
    return ()


def convert(state: State, event: Convert) -> Pots:
    """Change one asset into another; the spread is a transfer of its own."""
    pot = state.trader(event.account, event.pot)
    if event.source == event.target:
        raise LedgerError(
            f"{event.source} into itself", code="LED-008", account=event.account, field="target"
        )
    amount = state.amount(event.amount, event.source)
    wallet = must_have(pot, event.source, amount)
    price = fixed(event.price, name="price", sign="positive")
    spread = fixed(event.spread, name="spread", sign="not negative")
    if spread > ONE:
        raise LedgerError("a spread above 1", code="LED-001", field="spread", hint="0.01 is 1 %")
    given, got = state.asset(event.source).decimals, state.asset(event.target).decimals
    fair = floor_div(amount * price * power_of_ten(got), ONE * power_of_ten(given))
    ledger = state.ledger
    ledger.pay(wallet, ledger.line(CONVERSION, event.source), amount, "conversion")
    house = ledger.line(CONVERSION, event.target)
    ledger.pay(house, pot.wallet(event.target), fair, "conversion")
    cost = ceil_div(fair * spread, ONE)
    ledger.pay(pot.wallet(event.target), house, cost, "conversion_spread")
    return ()


def deficit(pot: Pot, asset: str) -> int:
    """Return what a pot lacks in an asset: minus a negative wallet, in quanta."""
    return max(0, -pot.wallet(asset).balance)


def must_lack(pot: Pot, asset: str, amount: int) -> None:
    """Refuse to cover more than a deficit.

    Raises
    ------
    LedgerError
        ``LED-013``.
    """
    lacking = deficit(pot, asset)
    if amount > lacking:
        raise LedgerError(
            f"{pot.name} lacks {lacking} quanta of {asset}, not {amount}",
            code="LED-013",
            account=pot.account.id if pot.account else None,
            field="amount",
            hint="cover at most the deficit",
        )


def cover(state: State, event: Cover) -> Pots:
    """Let a relative, or another pot, of an account that is not ring-fenced pay for a deficit."""
    source, target = _place(state, event.source), _place(state, event.target)
    payer, debtor = source.account, target.account
    if payer is None or debtor is None or payer.owner != debtor.owner:
        raise LedgerError(
            "only an account of the same owner pays for another",
            code="LED-019",
            account=event.source.account,
        )
    if payer.ring_fenced:
        raise LedgerError(
            f"{payer.id} is ring-fenced: it does not answer for {debtor.id}",
            code="LED-019",
            account=payer.id,
            hint="set the parameter ring_fenced to false before the loss, not after",
        )
    if event.source.location or event.target.location:
        raise LedgerError("a deficit is covered at home", code="LED-019", field="location")
    amount = state.amount(event.amount, event.asset)
    must_lack(target, event.asset, amount)
    wallet = must_have(source, event.asset, amount)
    state.ledger.pay(wallet, target.wallet(event.asset), amount, "cover")
    return (source,)


def correct(state: State, event: Correct) -> Pots:
    """Pay or take back what an earlier event got wrong, by a new transfer that names it."""
    if event.of not in state.seen:
        raise LedgerError(
            f"no event {event.of!r} has been applied, so there is nothing to correct",
            code="LED-014",
            account=event.account,
            field="of",
        )
    pot = state.trader(event.account, event.pot)
    amount = scaled(event.amount, state.asset(event.asset).decimals, name="amount")
    house = state.ledger.line(f"{SYSTEM}:{event.against}", event.asset)
    state.ledger.pay(house, pot.wallet(event.asset), amount, f"correction:{event.against}")
    return ()


HANDLERS: dict[type, Callable[[State, Any], Pots]] = {
    Deposit: deposit,
    Withdrawal: withdrawal,
    MoveMoney: move_money,
    Reserve: reserve,
    Post: post,
    Void: void,
    Proof: proof,
    FeeCharge: fee,
    Convert: convert,
    Cover: cover,
    Correct: correct,
}
