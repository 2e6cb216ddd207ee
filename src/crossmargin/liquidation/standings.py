"""Where pots stand for a venue's driver: margin at flat rates, over any contracts and assets.

The other way to margin a day, a whole rule-set, is
:class:`crossmargin.liquidation.ruleset_margin.RulesetMargin`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from crossmargin.accounts.chart import COUNTED
from crossmargin.accounts.contract import Contract
from crossmargin.accounts.pots import Position, Pot
from crossmargin.errors import LiquidationError
from crossmargin.liquidation._desk import Desk
from crossmargin.liquidation.account import Account, Brackets, Leg, Standing

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Margin of one contract: shares of notional, ``0 < mm <= im``.

    The notional of an option is its coins at the price of the coin; who has paid for an option
    in full needs no margin for it.
    """

    im: float
    mm: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """Where a pot stands, in the asset of account.

    Attributes
    ----------
    equity : int
        Quanta, rounded down; as it counts against the maintenance margin.
    im, mm : float
        Quanta.
    equity_im : int or None
        As it counts against the initial margin, where haircuts differ.
    """

    equity: int
    im: float
    mm: float
    equity_im: int | None = None


class Margining(Protocol):
    """What a driver asks about margin."""

    def take(self, desk: Desk) -> None:
        """Stand in the market of a new mark; everything worked out before is forgotten."""

    def stand(self, desk: Desk, pot: Pot) -> Stand:
        """Return where a pot stands."""

    def account(self, desk: Desk, pot: Pot, held: Sequence[Position], here: Stand) -> Account:
        """Return a pot as the rules of liquidation see it; legs in the order of `held`."""

    def check(self, desk: Desk, contract: Contract) -> None:
        """Refuse a contract that cannot be margined."""


class FlatRates:
    """Each position by its own rate, all assets at their full price.

    Parameters
    ----------
    rates : mapping of str to Rates
        By instrument.
    """

    def __init__(self, rates: Mapping[str, Rates]) -> None:
        self.rates = dict(rates)

    def take(self, desk: Desk) -> None:
        """Keep nothing: standings follow from the ledger's lines."""

    def check(self, desk: Desk, contract: Contract) -> None:
        """Refuse a contract that has no rates.

        Raises
        ------
        LiquidationError
            ``LIQ-001``.
        """
        if contract.id not in self.rates:
            raise LiquidationError(
                f"there are no margin rates for {contract.id}",
                code="LIQ-001",
                instrument=contract.id,
                field="rates",
            )

    def stand(self, desk: Desk, pot: Pot) -> Stand:
        """Return where a pot stands at the last marks.

        Money counts at home; what is kept at another place cannot be reached by a liquidation.
        """
        by_asset: dict[str, int] = {}
        for kind, location, line in pot.money():
            if kind in COUNTED and not location:
                by_asset[line.asset] = by_asset.get(line.asset, 0) + line.balance
        im = mm = 0.0
        for position in pot.open_positions():
            contract = position.contract
            value = desk.value(position)
            cost = 0 if contract.premium_at_once else position.cost.balance
            held = by_asset.get(contract.settlement, 0)
            by_asset[contract.settlement] = held + value + cost
            notional = abs(desk.units(position)) * _unit_notional(desk, contract) * desk.unit
            im += notional * self._rate(desk, position, "im")
            mm += notional * self._rate(desk, position, "mm")
        equity = by_asset.pop(desk.asset, 0)
        for asset, quanta in sorted(by_asset.items()):
            if quanta:
                equity += math.floor(quanta / desk.quanta_per_unit(asset) * desk.unit)
        return Stand(equity=equity, im=im, mm=mm)

    def account(self, desk: Desk, pot: Pot, held: Sequence[Position], here: Stand) -> Account:
        """Return a pot as legs with a requirement each."""
        twice = len({p.contract.id for p in held}) < len(held)
        legs, need = [], []
        for position in held:
            contract = position.contract
            name = f"{contract.id}#{position.leg}" if twice else contract.id
            units = desk.units(position)
            notional = _unit_notional(desk, contract)
            option = contract.kind == "option"
            legs.append(
                Leg(
                    name=name,
                    contract=contract.id,
                    underlying=contract.underlying,
                    quantity=units,
                    mark=desk.leg_price(contract),
                    unit_usd=notional,
                    point_usd=1.0 if option else math.nan,
                    lot=desk.lot(contract),
                    inverse=contract.inverse,
                )
            )
            need.append(notional * self._rate(desk, position, "mm"))
        return FlatAccount(tuple(legs), np.array(need), here.equity / desk.unit)

    def _rate(self, desk: Desk, position: Position, level: str) -> float:
        contract = position.contract
        self.check(desk, contract)
        if contract.premium_at_once and position.held.balance > 0:
            return 0.0
        rates = self.rates[contract.id]
        return rates.im if level == "im" else rates.mm


def _unit_notional(desk: Desk, contract: Contract) -> float:
    """Return the notional of one coin (inverse: US dollar) of a contract, asset of account."""
    if contract.kind == "option":
        return desk.coin(contract.underlying)
    coin, mark = desk.coin(contract.settlement), desk.mark(contract)
    return coin / mark if contract.inverse else mark * coin


@dataclass(frozen=True, slots=True)
class FlatAccount:
    """Legs with a requirement per unit each, one pool of equity.

    Attributes
    ----------
    legs : tuple of Leg
        Positions.
    need : float64[n]
        Maintenance requirement of one unit, at least 0.
    equity : float
        At the marks.
    """

    legs: tuple[Leg, ...]
    need: Floats
    equity: float

    @property
    def has_orders(self) -> bool:
        """No orders rest on a ledger."""
        return False

    @property
    def brackets(self) -> tuple[Brackets, ...]:
        """One bracket a leg: rules that step down brackets find none to step down from."""
        rates = (n / leg.unit_usd for n, leg in zip(self.need.tolist(), self.legs))
        return tuple(Brackets((0.0,), (rate or 1.0,)) for rate in rates)

    def standing(self, quantity: Floats, cost: Floats, *, orders: bool = False) -> Standing:
        """Return equity less costs, and the sum over legs; closing at the mark costs nothing."""
        return Standing(self.equity - math.fsum(cost), math.fsum(self.weights(quantity)))

    def weights(self, quantity: Floats) -> Floats:
        """Return the requirement of each leg."""
        return np.abs(quantity) * self.need

    def after(self, quantity: Floats, cost: Floats, *, orders: bool = False) -> FlatAccount:
        """Return the account once legs were closed down to `quantity` at the marks."""
        legs = tuple(leg.left(q) for leg, q in zip(self.legs, quantity.tolist()))
        return replace(self, legs=legs, equity=self.equity - math.fsum(cost))
