"""Where a pot stands, from the ledger alone: exact amounts, asset by asset.

Margin is not asked here. What a pot must hold comes from :mod:`crossmargin.margin` through
:mod:`crossmargin.accounts.project`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from crossmargin.accounts._apply_market import must_be_marked
from crossmargin.accounts._apply_money import free
from crossmargin.accounts.amounts import ONE, floor_div
from crossmargin.accounts.chart import COUNTED
from crossmargin.accounts.contract import Contract
from crossmargin.accounts.pots import Position, Pot
from crossmargin.accounts.state import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Money:
    """One asset of one pot, in quanta.

    Attributes
    ----------
    wallet : int
        Settled money at home, below 0 when owed.
    elsewhere : int
        Wallets at other locations.
    session : int
        Profit of the session that has not been settled: equity, but it cannot leave.
    loan, owed : int
        Minus what is borrowed apart, and minus interest that is due on it.
    held, arriving : int
        On the way out and on the way in; neither counts.
    unrealised : int
        Of futures and margined options, at the marks, rounded down.
    options : int
        Market value of options whose premium was paid, rounded down.
    equity : int
        ``wallet + elsewhere + session + loan + owed + unrealised + options``.
    free : int
        What could leave if no margin were needed, at least 0.
    """

    wallet: int
    elsewhere: int
    session: int
    loan: int
    owed: int
    held: int
    arriving: int
    unrealised: int
    options: int
    equity: int
    free: int


def unrealised(position: Position, mark: int | None = None) -> Fraction:
    """Return the exact unrealised profit in quanta (for a paid option: its value).

    Summed over all holders of a contract, with what has been realised, it is 0 at any mark.
    """
    contract = position.contract
    price = must_be_marked(contract) if mark is None else mark
    top, below = contract.value(position.held.balance, price)
    cost = 0 if contract.premium_at_once else position.cost.balance
    return Fraction(top, below) + cost


def average_entry(position: Position) -> Fraction | None:
    """Return the average entry price, exact; None where flat or paid for at once."""
    contract, held, cost = position.contract, position.held.balance, position.cost.balance
    if held == 0 or cost == 0 or contract.premium_at_once:
        return None
    top, below = contract.value(held, ONE)
    if contract.inverse:
        # value = −c/p with c > 0 for a long, and cost = c/p.
        return Fraction(-top, below) / cost
    return Fraction(-cost * below, top)


def money_of(state: State, pot: Pot, asset: str, marks: Mapping[str, int] | None = None) -> Money:
    """Return how a pot stands in one asset.

    Parameters
    ----------
    marks : mapping of str to int, optional
        Prices in 1e-18 that stand in for the last marks.

    Raises
    ------
    LedgerError
        ``LED-010`` for an open position that has never been marked.
    """
    found = dict.fromkeys((*COUNTED, "held", "arriving", "elsewhere"), 0)
    for kind, location, line in pot.money():
        if line.asset == asset:
            found["elsewhere" if location and kind == "wallet" else kind] += line.balance
    paper, value = Fraction(0), Fraction(0)
    for position in pot.open_positions():
        contract = position.contract
        if contract.settlement == asset:
            profit = unrealised(position, (marks or {}).get(contract.id))
            if contract.premium_at_once:
                value += profit
            else:
                paper += profit
    down = floor_div(paper.numerator, paper.denominator)
    options = floor_div(value.numerator, value.denominator)
    counted = sum(found[kind] for kind in COUNTED) + found["elsewhere"]
    return Money(
        **found,
        unrealised=down,
        options=options,
        equity=counted + down + options,
        free=max(free(pot, asset), 0),
    )


def withdrawable(money: Money, available: int) -> int:
    """Return what may leave: settled money, and no more than equity − IM.

    Parameters
    ----------
    available : int
        Equity − IM of the pot, in quanta of the asset.

    Notes
    -----
    Profit of the session and profit on paper are available as margin and not withdrawable.
    Source: requirements row A26 (withdrawal limit = Equity − IM); settled apart: house.
    """
    return max(0, min(money.free, available))


def open_interest(contract: Contract) -> int:
    """Return the contracts outstanding: the sum of longs, which is that of shorts (row A21)."""
    return sum(max(p.held.balance, 0) for p in contract.holders.values())


@dataclass(frozen=True, slots=True)
class TreeNode:
    """An account in its tree: how deep, whose, whether others' losses can reach it, its states."""

    account: str
    depth: int
    owner: str
    ring_fenced: bool
    states: dict[str, str]


def account_tree(state: State) -> list[TreeNode]:
    """Return all accounts, each below its parent, siblings by name."""
    children: dict[str | None, list[str]] = {}
    for name, account in sorted(state.accounts.items()):
        children.setdefault(account.parent, []).append(name)
    found: list[TreeNode] = []
    stack = [(name, 0) for name in reversed(children.get(None, []))]
    while stack:
        name, depth = stack.pop()
        account = state.accounts[name]
        states = {pot.id: pot.state for _, pot in sorted(account.pots.items())}
        found.append(TreeNode(name, depth, account.owner, account.ring_fenced, dict(states)))
        stack += [(child, depth + 1) for child in reversed(children.get(name, []))]
    return found
