"""The ledger as a venue's driver sees it: prices, quantities as text, events posted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from typing import Any

from crossmargin.accounts import Applied, Duplicate, Outcome, Refused, State
from crossmargin.accounts import events as ev
from crossmargin.accounts.amounts import ONE, PLACES, from_quanta, text_of
from crossmargin.accounts.chart import LIQUIDATOR_POT, SYSTEM, fund_line
from crossmargin.accounts.contract import Contract
from crossmargin.accounts.pots import Position, Pot
from crossmargin.errors import LiquidationError, invariant
from crossmargin.units import format_time

#: Decimals of the prices that steps are booked at.
_PRICE = Decimal("1e-8")

Post = Callable[[Sequence[ev.Event]], Sequence[Outcome]]


class Desk:
    """A state, what posts to it, and the prices of the moment.

    Attributes
    ----------
    state : State
        Of the ledger.
    asset : str
        The asset that everything is counted in.
    unit : int
        Quanta of it in one.
    coins : dict of str to float
        Prices of other assets in it.
    count, now : int
        Events posted; the moment, ns.
    touched : set of str
        Pots that events of this desk have moved something of; whoever keeps standings empties it.
    posted_at : int
        Events of the ledger after the last of this desk.
    others_posted : bool
        Whether somebody else has posted between two of this desk's.
    """

    def __init__(self, state: State, post: Post, asset: str, group: str, name: str) -> None:
        self.state, self.post = state, post
        self.asset, self.group, self.name = asset, group, name
        self.unit: int = 10 ** state.asset(asset).decimals
        self.count = self.now = 0
        self.posted_at, self.others_posted = state.count, False
        self.coins: dict[str, float] = {}
        self.touched: set[str] = set()

    # ---- prices ----------------------------------------------------------------------------

    def coin(self, asset: str) -> float:
        """Return the price of an asset in the asset of account.

        Raises
        ------
        LiquidationError
            ``LIQ-001`` where none has been given.
        """
        if asset == self.asset:
            return 1.0
        found = self.coins.get(asset)
        if found is None:
            raise LiquidationError(
                f"the price of {asset} is not known",
                code="LIQ-001",
                field="coins",
                hint=f"give it with the marks, in {self.asset}",
            )
        return found

    def quanta_per_unit(self, asset: str) -> float:
        """Return the quanta of an asset that one unit of the asset of account is worth."""
        return float(10 ** self.state.asset(asset).decimals) / self.coin(asset)

    def mark(self, contract: Contract) -> float:
        """Return the last mark, as the contract is quoted."""
        return self.exact_mark(contract) / ONE

    def exact_mark(self, contract: Contract) -> int:
        """Return the last mark in 1e-18."""
        if contract.mark is None:
            raise LiquidationError(
                f"{contract.id} is held and has never been marked",
                code="LIQ-001",
                instrument=contract.id,
                field="prices",
            )
        return contract.mark

    def leg_price(self, contract: Contract) -> float:
        """Return the mark in the terms of a leg: an option's in the asset of account."""
        mark = self.mark(contract)
        return mark * self.coin(contract.settlement) if contract.kind == "option" else mark

    def price(self, contract: Contract, leg_price: float, sells: bool) -> str:
        """Write the price of a leg as the contract is quoted, rounded against who is closed."""
        coin = self.coin(contract.settlement) if contract.kind == "option" else 1.0
        price = Decimal(leg_price) / Decimal(coin)
        rounding = ROUND_FLOOR if sells else ROUND_CEILING
        return format(max(price.quantize(_PRICE, rounding=rounding), _PRICE), "f")

    # ---- quantities ------------------------------------------------------------------------

    def units(self, position: Position) -> float:
        """Return what a position holds in coins (inverse contracts: US dollars), signed."""
        contract = position.contract
        text = text_of(position.held.balance * contract.size, contract.quantity_decimals + PLACES)
        return float(text)

    def lot(self, contract: Contract) -> float:
        """Return the units of one quantum of a contract."""
        return float(text_of(contract.size, contract.quantity_decimals + PLACES))

    def quantity(self, position: Position, units: float) -> str:
        """Write units as whole quanta, rounded up to suffice and never beyond what is held."""
        contract = position.contract
        quanta = Decimal(units).scaleb(contract.quantity_decimals + PLACES) / contract.size
        nearest = int(quanta.to_integral_value(ROUND_HALF_EVEN))
        # Rounding of floats is no reason to close another lot.
        close = abs(quanta - nearest) < Decimal("1e-6")
        whole = nearest if close else int(quanta.to_integral_value(ROUND_CEILING))
        held = abs(position.held.balance)
        return text_of(min(max(whole, 1), held), contract.quantity_decimals)

    def value(self, position: Position) -> int:
        """Return the value of a position at the last mark, settlement quanta, rounded down."""
        top, below = position.contract.value(
            position.held.balance, self.exact_mark(position.contract)
        )
        return top // below

    def text(self, quanta: int, asset: str) -> str:
        """Write an amount."""
        return from_quanta(quanta, asset, self.state.scales)

    # ---- who is there ----------------------------------------------------------------------

    @property
    def liquidator(self) -> Pot:
        return self.state.system[LIQUIDATOR_POT]

    def fund(self, asset: str | None = None, group: str | None = None) -> int:
        """Return the balance of a fund, quanta."""
        return self.state.ledger.balance(fund_line(group or self.group), asset or self.asset)

    def payers(self) -> list[Pot]:
        return list(self.state.pots())

    def holders(self, contract: Contract, signed: int) -> list[Position]:
        """Return traders' positions on the other side, by name."""
        return [
            p
            for _, p in sorted(contract.holders.items())
            if p.pot.account is not None and p.held.balance * signed < 0
        ]

    # ---- events ----------------------------------------------------------------------------

    def do(self, kind: type[Any], **fields: Any) -> None:
        """Post one event; what the driver decides is never refused, or the driver is wrong."""
        self.count += 1
        self.others_posted |= self.state.count != self.posted_at
        event = kind(id=f"{self.name}:{self.count}", time=format_time(self.now), **fields)
        (outcome,) = self.post([event])
        if isinstance(outcome, Duplicate):
            raise LiquidationError(
                f"the ledger has events of a day named {self.name!r} already",
                code="LIQ-001",
                field="name",
                hint="give this day another name",
            )
        why = str(outcome.error) if isinstance(outcome, Refused) else ""
        invariant(isinstance(outcome, Applied), f"{event} was not applied: {why}")
        assert isinstance(outcome, Applied)
        self.posted_at = self.state.count
        for transfer in outcome.transfers:
            self.touched.add(transfer.debit.partition(":")[0])
            self.touched.add(transfer.credit.partition(":")[0])

    def take_marks(self, prices: Mapping[str, str]) -> None:
        """Post marks, where there are any."""
        if prices:
            self.do(ev.Mark, prices=dict(prices))


def account_of(pot: Pot) -> str:
    return SYSTEM if pot.account is None else pot.account.id


def place_of(pot: Pot) -> ev.Place:
    """Return a pot as the place of an event."""
    return ev.Place(account=account_of(pot), pot=pot.id)
