"""Loans and interest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from crossmargin.accounts._apply_money import must_allow
from crossmargin.accounts.amounts import ONE, ceil_div, fixed, floor_div
from crossmargin.accounts.chart import INTEREST, ROUNDING, SYSTEM, Line, fund_line
from crossmargin.accounts.events import Borrow, Interest, Repay
from crossmargin.accounts.interest import growth, utilisation
from crossmargin.accounts.pots import Pot
from crossmargin.accounts.state import State
from crossmargin.errors import LedgerError

Pots = tuple[Pot, ...]

_HOUSE = SYSTEM + ":"


def borrow(state: State, event: Borrow) -> Pots:
    """Take a loan: the wallet has more, the loan line less than nothing."""
    pot = state.trader(event.account, event.pot)
    must_allow(pot, "borrow", "a loan")
    amount = state.amount(event.amount, event.asset)
    loan = pot.line("loan", event.asset)
    state.ledger.pay(loan, pot.wallet(event.asset), amount, "borrow")
    return (pot,)


def repay(state: State, event: Repay) -> Pots:
    """Pay owed interest, then the loan; never more than is owed."""
    pot = state.trader(event.account, event.pot)
    amount = state.amount(event.amount, event.asset)
    wallet = pot.wallet(event.asset)
    owed, loan = pot.line("owed", event.asset), pot.line("loan", event.asset)
    debt = -owed.balance - loan.balance
    if amount > debt or amount > wallet.balance:
        raise LedgerError(
            f"{pot.name} owes {debt} and has {max(wallet.balance, 0)} quanta of {event.asset}",
            code="LED-005",
            account=event.account,
            field="amount",
            hint="repay at most what is owed and held",
        )
    first = min(amount, -owed.balance)
    state.ledger.pay(wallet, owed, first, "repay_interest")
    state.ledger.pay(wallet, loan, amount - first, "repay")
    return ()


def interest(state: State, event: Interest) -> Pots:
    """Charge interest to debtors, rounded up, and pass it on; residues go to ``sys:rounding``."""
    asset = state.asset(event.asset)
    name = asset.id
    ledger = state.ledger
    # The house lends to nobody and borrows from nobody: its own lines bear no interest.
    wallets = [x for x in ledger.lines_ending(":wallet", name) if not x.name.startswith(_HOUSE)]
    loans = ledger.lines_ending(":loan", name)
    debts = [line for line in [*wallets, *loans] if line.balance < 0]
    lenders = [line for line in wallets if line.balance > 0]
    supply = sum(line.balance for line in lenders)
    if event.rate is not None:
        rate = fixed(event.rate, name="rate", sign="not negative")
    else:
        owed = -sum(line.balance for line in debts)
        rate = asset.curve.rate(utilisation(owed, supply))
    top, bottom = growth(rate, event.elapsed_s, event.compounding, event.period_s)
    shares = [line.balance for line in lenders]
    income = ledger.line(INTEREST, name)
    paid = 0
    for line in debts:
        due = ceil_div(-line.balance * top, bottom)
        simple = event.compounding == "simple"
        onto = ledger.line(line.name.rpartition(":")[0] + ":owed", name) if simple else line
        ledger.pay(onto, income, due, "interest")
        paid += due
    if event.lender == "suppliers" and supply > 0:
        _to_suppliers(state, name, lenders, shares, paid)
    return ()


def _to_suppliers(
    state: State, name: str, lenders: list[Line], shares: list[int], paid: int
) -> None:
    """Divide `paid` between the fund and the wallets that lend, by what they held before."""
    asset = state.assets[name]
    income = state.ledger.line(INTEREST, name)
    fee = ceil_div(paid * asset.fund_share, ONE)
    state.ledger.pay(
        income, state.ledger.line(fund_line(asset.fund_group), name), fee, "interest_fund"
    )
    left = rest = paid - fee
    supply = sum(shares)
    for line, share in zip(lenders, shares, strict=True):
        part = floor_div(rest * share, supply)
        state.ledger.pay(income, line, part, "interest_earned")
        left -= part
    state.ledger.pay(income, state.ledger.line(ROUNDING, name), left, "rounding")


HANDLERS: dict[type, Callable[[State, Any], Pots]] = {
    Borrow: borrow,
    Repay: repay,
    Interest: interest,
}
