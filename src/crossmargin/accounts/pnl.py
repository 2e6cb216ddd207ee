"""Where a pot's equity came from: price, funding, fees, interest, conversion, transfers.

Every transfer has a code, and every code a cause. Between two moments the causes add up to the
change of equity exactly: the change in the value of positions is the price's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal, get_args

from crossmargin.accounts.chart import CONTRACT, COUNTED
from crossmargin.accounts.ledger import Transfer
from crossmargin.accounts.pots import Pot
from crossmargin.accounts.standing import unrealised
from crossmargin.accounts.state import State
from crossmargin.errors import invariant

Cause = Literal[
    "price", "funding", "fees", "interest", "conversion", "spread", "last resorts", "transfers"
]
CAUSES: tuple[Cause, ...] = get_args(Cause)

_CAUSE: dict[str, Cause] = {
    **dict.fromkeys(
        ("entry", "realised", "premium", "spot", "bust", "settlement", "delisting", "session"),
        "price",
    ),
    "funding": "funding",
    "fee": "fees",
    "liquidation_fee": "fees",
    **dict.fromkeys(("interest", "interest_earned", "repay", "repay_interest"), "interest"),
    "conversion": "conversion",
    "conversion_spread": "spread",
    **dict.fromkeys(
        ("cover", "fund_cover", "socialised_loss", "takeover_margin", "forfeit"), "last resorts"
    ),
    **dict.fromkeys(("borrow", "switch_mode", "correction:world"), "transfers"),
    "correction:fees": "fees",
    "correction:funding": "funding",
    "correction:interest": "interest",
}
_UNDER_WAY = ("deposit", "withdrawal", "transfer", "reserve")


def cause_of(code: str) -> Cause:
    """Return the cause of a transfer of money by its code."""
    found = _CAUSE.get(code)
    if found is None:
        invariant(code.partition(":")[0] in _UNDER_WAY, f"no cause is known for {code!r}")
        return "transfers"
    return found


@dataclass(slots=True)
class Attribution:
    """Causes of the change of equity of one pot in one asset, from a moment on.

    Attributes
    ----------
    pot : str
        Name of the pot, as in lines.
    asset : str
        Asset.
    value : Fraction
        Value of positions at the moment it was begun, quanta.
    flows : dict
        By cause, quanta; without the change in value.
    """

    pot: str
    asset: str
    value: Fraction
    flows: dict[Cause, int] = field(default_factory=lambda: dict.fromkeys(CAUSES, 0))

    def add(self, transfers: Iterable[Transfer]) -> None:
        """Take in what an event moved."""
        for transfer in transfers:
            if transfer.asset != self.asset or transfer.asset.startswith(CONTRACT):
                continue
            if _counts(transfer.debit, self.pot):
                self.flows[cause_of(transfer.code)] -= transfer.amount
            if _counts(transfer.credit, self.pot):
                self.flows[cause_of(transfer.code)] += transfer.amount

    def causes(self, state: State) -> dict[Cause, Fraction]:
        """Return the change of equity by cause, up to now, in quanta.

        Raises
        ------
        LedgerError
            ``LED-010`` for an open position that has never been marked.
        """
        found = {cause: Fraction(amount) for cause, amount in self.flows.items()}
        account, _, pot = self.pot.partition("/")
        found["price"] += position_value(state.pot(account, pot), self.asset) - self.value
        return found


def begin(state: State, pot: Pot, asset: str) -> Attribution:
    """Begin an attribution at the state as it is."""
    return Attribution(pot.name, asset, position_value(pot, asset))


def position_value(pot: Pot, asset: str) -> Fraction:
    """Return what the positions of a pot are worth without their cost, exact quanta."""
    total = Fraction(0)
    for position in pot.open_positions():
        if position.contract.settlement == asset:
            cost = 0 if position.contract.premium_at_once else position.cost.balance
            total += unrealised(position) - cost
    return total


def _counts(line: str, pot: str) -> bool:
    """Whether a line is part of the equity of a pot: its money, and the cost of what it holds."""
    owner, _, kind = line.partition(":")
    if owner != pot:
        return False
    return kind.partition("@")[0] in COUNTED or kind.startswith("cost:")
