"""Where an account's equity came from: profit and loss by cause, adding up exactly.

Equity is settled money plus what open positions are worth. Every transfer into or out of the
account's money carries a code that says why; what is left is price. So, asset by asset,

    equity = Σ over causes of money moved + Σ of price,   with nothing left over,

where *price* is what was realised and what is on paper, rounded down once for each pot and asset.
Source: requirements row A22 (P&L attribution: price, funding, fees, interest); other causes: house.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from crossmargin.accounts.chart import COUNTED
from crossmargin.accounts.standing import money_of
from crossmargin.accounts.state import State

#: Codes of transfers by cause, in the order they are shown; a code that is not here is *other*.
CAUSES: dict[str, tuple[str, ...]] = {
    "deposits and withdrawals": ("deposit", "withdrawal"),
    "transfers": ("transfer", "cover", "switch_mode", "move_position"),
    "premiums": ("premium",),
    "spot": ("spot",),
    "price": ("realised", "settlement", "delisting"),
    "funding": ("funding",),
    "fees": ("fee", "fee_back", "bust_fee"),
    "interest": ("interest", "interest_earned", "repay_interest"),
    "loans": ("borrow", "repay"),
    "conversion": ("conversion",),
    "conversion spread": ("conversion_spread",),
    "liquidation": ("liquidation", "liquidation_fee", "takeover", "adl", "fund_cover"),
    "shared losses": ("socialised_loss",),
}
_CAUSE_OF = {code: cause for cause, codes in CAUSES.items() for code in codes}
OTHER = "other"

#: Name of what open positions stand at, beside what was realised.
ON_PAPER = "price, on paper"

Row = tuple[str, str, str, int, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """One asset of one account, in quanta.

    Attributes
    ----------
    asset : str
        Whose units.
    causes : dict of str to int
        By cause, in the order of :data:`CAUSES`, those that are 0 left out.
    equity : int
        Their sum: what the account has.
    """

    asset: str
    causes: dict[str, int]
    equity: int


def attribution(state: State, account: str, transfers: Iterable[Row]) -> list[Attribution]:
    """Attribute the equity of an account to causes.

    Parameters
    ----------
    state : State
        After the last of the transfers.
    account : str
        Whose, over all its pots.
    transfers : iterable of (debit, credit, asset, amount, code)
        All of the ledger so far, in any order.

    Returns
    -------
    list of Attribution
        One for each asset that the account ever held, by name. The causes sum to the equity.

    Raises
    ------
    LedgerError
        ``LED-002`` for an unknown account, ``LED-010`` for a position without a mark.
    """
    state.trader(account)
    start = f"{account}/"
    moved: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for debit, credit, asset, amount, code in transfers:
        inside = _counts(debit, start), _counts(credit, start)
        if inside[0] is not inside[1]:
            cause = _CAUSE_OF.get(code, OTHER)
            moved[asset][cause] += amount if inside[1] else -amount
    found = []
    for asset in sorted({*moved, *_settled_in(state, account)}):
        paper = equity = 0
        for pot in state.accounts[account].pots.values():
            money = money_of(state, pot, asset)
            paper += money.unrealised + money.options
            equity += money.equity
        causes = moved[asset]
        causes[ON_PAPER] += paper
        # Shown in one order; what an open position costs is not money and does not count.
        named = {cause: causes[cause] for cause in (*CAUSES, ON_PAPER, OTHER) if causes.get(cause)}
        found.append(Attribution(asset=asset, causes=named, equity=equity))
    return found


def _counts(line: str, start: str) -> bool:
    """Whether a line is money of the account that counts as equity."""
    if not line.startswith(start):
        return False
    kind = line.partition(":")[2].partition(":")[0].partition("@")[0]
    return kind in COUNTED


def _settled_in(state: State, account: str) -> set[str]:
    return {
        position.contract.settlement
        for pot in state.accounts[account].pots.values()
        for position in pot.open_positions()
    }
