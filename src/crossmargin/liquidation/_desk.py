"""The ledger as a venue's driver sees it: where pots stand, and events that are posted."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from typing import Any

from crossmargin.accounts import Applied, Duplicate, Outcome, Refused, State
from crossmargin.accounts import events as ev
from crossmargin.accounts.amounts import from_quanta, text_of
from crossmargin.accounts.chart import LIQUIDATOR_POT, SYSTEM, fund_line
from crossmargin.accounts.contract import Contract
from crossmargin.accounts.pots import Position, Pot
from crossmargin.errors import LiquidationError, invariant
from crossmargin.units import format_time

#: Decimals of the prices that steps are booked at.
_PRICE = Decimal("1e-8")

Post = Callable[[Sequence[ev.Event]], Sequence[Outcome]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Margin of one contract: shares of notional, ``0 < mm <= im``."""

    im: float
    mm: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """Where a pot stands, in the settlement asset.

    Attributes
    ----------
    equity : int
        Quanta, rounded down.
    im, mm : float
        Quanta.
    """

    equity: int
    im: float
    mm: float


class Desk:
    """A state, what posts to it, and one settlement asset."""

    def __init__(
        self,
        state: State,
        post: Post,
        rates: Mapping[str, Rates],
        asset: str,
        group: str,
        name: str,
    ) -> None:
        self.state, self.post, self.rates = state, post, dict(rates)
        self.asset, self.group, self.name = asset, group, name
        self.unit: int = 10 ** state.asset(asset).decimals
        self.count = self.now = 0

    def stand(self, pot: Pot) -> Stand:
        """Return where a pot stands at the last marks."""
        equity, im, mm = 0, 0.0, 0.0
        for _, _, line in pot.money():
            if line.asset == self.asset and not line.name.endswith((":held", ":arriving")):
                equity += line.balance
        for position in pot.open_positions():
            value, contract = self.value(position), position.contract
            equity += value + position.cost.balance
            rates = self.rate(contract)
            im += abs(value) * rates.im
            mm += abs(value) * rates.mm
        return Stand(equity=equity, im=im, mm=mm)

    @property
    def liquidator(self) -> Pot:
        return self.state.system[LIQUIDATOR_POT]

    @property
    def fund(self) -> int:
        return self.state.ledger.balance(fund_line(self.group), self.asset)

    def payers(self) -> list[Pot]:
        return list(self.state.pots())

    def holders(self, contract: Contract, signed: int) -> list[Position]:
        """Return traders' positions on the other side, by name."""
        return [
            p
            for _, p in sorted(contract.holders.items())
            if p.pot.account is not None and p.held.balance * signed < 0
        ]

    def do(self, kind: type[Any], **fields: Any) -> None:
        """Post one event; what the driver decides is never refused, or the driver is wrong."""
        self.count += 1
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

    def rate(self, contract: Contract) -> Rates:
        found = self.rates.get(contract.id)
        if found is None:
            raise LiquidationError(
                f"there are no margin rates for {contract.id}",
                code="LIQ-001",
                instrument=contract.id,
                field="rates",
            )
        return found

    def mark(self, contract: Contract) -> float:
        if contract.mark is None:
            raise LiquidationError(
                f"{contract.id} is held and has never been marked",
                code="LIQ-001",
                instrument=contract.id,
                field="prices",
            )
        return contract.mark / 10**18

    def value(self, position: Position) -> int:
        self.mark(position.contract)
        mark = position.contract.mark
        assert mark is not None
        top, below = position.contract.value(position.held.balance, mark)
        return top // below

    def units(self, position: Position) -> float:
        return float(position.held.balance / 10**position.contract.quantity_decimals)

    def quantity(self, position: Position, units: float) -> str:
        """Write units as whole quanta, rounded up to suffice and never beyond what is held."""
        decimals = position.contract.quantity_decimals
        quanta = Decimal(units).scaleb(decimals)
        nearest = int(quanta.to_integral_value(ROUND_HALF_EVEN))
        # Rounding of floats is no reason to close another lot.
        close = abs(quanta - nearest) < Decimal("1e-6")
        whole = nearest if close else int(quanta.to_integral_value(ROUND_CEILING))
        return text_of(min(max(whole, 1), abs(position.held.balance)), decimals)

    def price(self, contract: Contract, unit_value: float, sells: bool) -> str:
        """Write the price of one coin, rounded against the one who is closed."""
        price = Decimal(unit_value) / (Decimal(contract.size) / 10**18)
        rounding = ROUND_FLOOR if sells else ROUND_CEILING
        return format(max(price.quantize(_PRICE, rounding=rounding), _PRICE), "f")

    def amount(self, usd: float, *, up: bool) -> str:
        quanta = usd * self.unit
        return from_quanta(
            math.ceil(quanta) if up else math.floor(quanta), self.asset, self.state.scales
        )


def account_of(pot: Pot) -> str:
    return SYSTEM if pot.account is None else pot.account.id
