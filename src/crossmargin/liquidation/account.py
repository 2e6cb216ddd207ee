"""An account as its liquidation sees it: legs that can be closed, equity and requirement at sizes.

Everything in this room decides on what an :class:`Account` answers. :class:`LinearAccount` holds
arrays of rates; :class:`crossmargin.liquidation.MarginedAccount` asks the margin engine.
Money is in US dollars throughout, before it is posted anywhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.errors import LiquidationError

Floats = NDArray[np.float64]

#: What rounding may make of a sum: relative to the numbers that are added.
ROUNDING = 1e-14


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """A position that can be closed.

    Attributes
    ----------
    name, underlying : str
        Instrument and the asset that its risk follows.
    quantity : float
        Signed units held.
    mark : float
        Mark price in the quote currency (options: value of a unit in US dollars).
    unit_usd : float
        Notional of one unit at the mark, US dollars, > 0.
    delta_usd : float
        Change in US dollars per unit when the underlying doubles by its delta: signed for puts.
    point_usd : float
        US dollars that a unit gains when `mark` rises by 1; the notional over the mark where none
        is given. Inverse contracts have none of their own.
    lot : float
        Closing comes in multiples of it; 0 where any size may be closed. A rest smaller than
        a lot may always be closed whole.
    inverse : bool
        Whether the contract is settled in its coin.
    profit_usd : float
        Unrealised profit of the whole position, US dollars.
    contract : str
        What long and short legs of one contract share in hedge mode; the name where none is given.
    """

    name: str
    quantity: float
    mark: float
    unit_usd: float
    contract: str = ""
    underlying: str = ""
    delta_usd: float = math.nan
    point_usd: float = math.nan
    lot: float = 0.0
    inverse: bool = False
    profit_usd: float = 0.0

    @property
    def delta(self) -> float:
        """Delta per unit in US dollars; the notional where none is given."""
        return self.unit_usd if math.isnan(self.delta_usd) else self.delta_usd

    def left(self, quantity: float) -> Leg:
        """Return what is left of the leg: its profit falls with its size."""
        part = quantity / self.quantity if self.quantity else 0.0
        return replace(self, quantity=quantity, profit_usd=self.profit_usd * part)

    @property
    def point(self) -> float:
        """US dollars per unit and point of the mark."""
        return self.unit_usd / self.mark if math.isnan(self.point_usd) else self.point_usd


@dataclass(frozen=True, slots=True)
class Standing:
    """Equity and maintenance requirement at one moment, US dollars."""

    equity: float
    mm: float


@dataclass(frozen=True, slots=True)
class Line:
    """What must hold: ``equity ≥ factor·mm + amount``.

    Attributes
    ----------
    factor : float
        1 at the line itself, 1 + buffer for a target above it.
    amount : float
        US dollars on top.
    """

    factor: float = 1.0
    amount: float = 0.0

    def excess(self, at: Standing) -> float:
        """Equity less what the line asks; at least 0 where it holds, rounding left aside."""
        need = self.factor * at.mm + self.amount
        excess = at.equity - need
        return 0.0 if abs(excess) <= ROUNDING * (abs(at.equity) + abs(need)) else excess

    def holds(self, at: Standing) -> bool:
        """Whether the line is kept: equality is safe."""
        return self.excess(at) >= 0.0


class Account(Protocol):
    """What a liquidation may ask of an account, at other sizes of its legs."""

    @property
    def legs(self) -> tuple[Leg, ...]:
        """Positions at the start."""

    @property
    def has_orders(self) -> bool:
        """Whether orders rest that can be cancelled."""

    def standing(self, quantity: Floats, cost: Floats, *, orders: bool = False) -> Standing:
        """Return equity and requirement with legs closed down to `quantity` at their marks.

        Parameters
        ----------
        quantity : float64[n]
            Signed units left of each leg.
        cost : float64[n]
            Fees and slippage paid for each leg so far, US dollars.
        orders : bool
            Whether resting orders still stand.
        """

    def weights(self, quantity: Floats) -> Floats:
        """Return each leg's share of the requirement, at least 0: how equity is allocated."""


#: What of a lot rounding may be off by without counting as a lot more.
_DUST = 1e-9


def lots_up(units: float, lot: float, most: float) -> float:
    """Round units up to whole lots, at most to `most`; a rest of dust is not left behind."""
    if lot <= 0.0:
        return min(units, most)
    rounded = _multiple(lot, math.ceil(units / lot - _DUST))
    return most if rounded >= most - _DUST * lot else rounded


def lots_down(units: float, lot: float) -> float:
    """Round units down to whole lots."""
    return units if lot <= 0.0 else _multiple(lot, math.floor(units / lot + _DUST))


def _multiple(lot: float, count: int) -> float:
    """Return count lots as the decimal they are meant to be: 3 × 0.1 is 0.3."""
    return float(Decimal(repr(lot)) * count)


def start_of(account: Account) -> Floats:
    """Return the quantities held at the start."""
    return np.array([leg.quantity for leg in account.legs], dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Brackets:
    """Maintenance rates by size of a leg's notional.

    Attributes
    ----------
    floors : tuple of float
        US dollars where each bracket begins, rising, the first 0.
    rates : tuple of float
        Maintenance rate of each.
    marginal : bool
        Whether each slice pays its own rate (a deduction keeps the sum continuous); otherwise
        the whole notional pays the rate of the bracket that it ends in.
    """

    floors: tuple[float, ...]
    rates: tuple[float, ...]
    marginal: bool = True

    def __post_init__(self) -> None:
        rising = all(a < b for a, b in zip(self.floors, self.floors[1:]))
        if not self.floors or self.floors[0] != 0.0 or not rising:
            raise LiquidationError(
                "brackets begin at 0 and rise", code="LIQ-002", field="brackets.floors"
            )
        if len(self.rates) != len(self.floors) or not all(0 < r <= 1 for r in self.rates):
            raise LiquidationError(
                "each bracket has one rate above 0 and up to 1",
                code="LIQ-002",
                field="brackets.rates",
            )

    def tier(self, notional: float) -> int:
        """Return the bracket that a notional ends in, from 0; a floor belongs to the one below."""
        return max(0, sum(notional > floor for floor in self.floors) - 1)

    def mm(self, notional: float) -> float:
        """Return the requirement of a notional, US dollars."""
        tier = self.tier(notional)
        if not self.marginal:
            return notional * self.rates[tier]
        tops = (*self.floors[1 : tier + 1], notional)
        slices = zip(tops, self.floors, self.rates)
        return math.fsum(rate * (top - floor) for top, floor, rate in slices)


@dataclass(frozen=True, slots=True)
class LinearAccount:
    """Legs that are margined each by its own rate, one pool of equity.

    Attributes
    ----------
    legs : tuple of Leg
        Positions.
    brackets : tuple of Brackets
        By leg.
    equity : float
        At the marks, US dollars.
    order_mm : float
        Maintenance margin that resting orders bind, freed by cancelling them.
    has_orders : bool
        Whether any rest.
    """

    legs: tuple[Leg, ...]
    brackets: tuple[Brackets, ...]
    equity: float
    order_mm: float = 0.0
    has_orders: bool = False

    def standing(self, quantity: Floats, cost: Floats, *, orders: bool = False) -> Standing:
        """Return equity less costs, and the sum over legs; closing at the mark costs nothing."""
        mm = self.order_mm if orders else 0.0
        parts = self._mm(quantity)
        return Standing(self.equity - math.fsum(cost), mm + math.fsum(parts))

    def weights(self, quantity: Floats) -> Floats:
        """Return the requirement of each leg."""
        return np.array(self._mm(quantity))

    def _mm(self, quantity: Floats) -> list[float]:
        notional = (abs(q) * leg.unit_usd for q, leg in zip(quantity.tolist(), self.legs))
        return [b.mm(n) for b, n in zip(self.brackets, notional)]

    def after(self, quantity: Floats, cost: Floats, *, orders: bool) -> LinearAccount:
        """Return the account once legs were closed down to `quantity` at the marks.

        Parameters
        ----------
        quantity, cost : float64[n]
            Units left and costs paid, by leg.
        orders : bool
            Whether orders still rest.
        """
        rows = zip(self.legs, quantity.tolist())
        return replace(
            self,
            legs=tuple(leg.left(q) for leg, q in rows),
            equity=self.equity - math.fsum(cost),
            order_mm=self.order_mm if orders else 0.0,
            has_orders=orders and self.has_orders,
        )

    def at(self, marks: Sequence[float]) -> LinearAccount:
        """Return the account at other marks, profit taken into equity.

        An inverse leg's profit is ``q·(1/P₀ − 1/P₁)`` coins at the new price of the coin. Coins
        held as collateral are not legs: the caller moves `equity` for them.
        """
        legs, gain = [], 0.0
        for leg, mark in zip(self.legs, marks):
            worth = leg.unit_usd * mark / leg.mark
            more = leg.quantity * (worth - leg.unit_usd)
            gain += more
            # The notional of an inverse unit is dollars and stays; its delta with it.
            unit = leg.unit_usd if leg.inverse else worth
            legs.append(
                replace(
                    leg,
                    mark=mark,
                    unit_usd=unit,
                    delta_usd=leg.delta_usd * (unit / leg.unit_usd),
                    profit_usd=leg.profit_usd + more,
                )
            )
        return replace(self, legs=tuple(legs), equity=self.equity + gain)


def linear_account(
    *,
    quantity: ArrayLike,
    mark: ArrayLike,
    rate: ArrayLike,
    equity: float,
    names: Sequence[str] | None = None,
    lot: ArrayLike = 0.0,
    orders_mm: float | None = None,
    profit: ArrayLike = 0.0,
) -> LinearAccount:
    """Build a :class:`LinearAccount` of linear contracts of one coin each.

    Parameters
    ----------
    quantity, mark, rate, lot, profit : array-like, broadcast
        Signed coins, positive price, maintenance rate, lot and unrealised profit of each leg.
    equity : float
        At the marks, US dollars.
    names : sequence of str, optional
        Default ``leg 0``, ``leg 1``, ...
    orders_mm : float, optional
        Maintenance margin of resting orders; None when none rest.

    Raises
    ------
    LiquidationError
        ``LIQ-001`` for numbers that no position has.
    """
    q, p, r, step, gain = np.broadcast_arrays(
        *(
            np.atleast_1d(np.asarray(x, dtype=np.float64))
            for x in (quantity, mark, rate, lot, profit)
        )
    )
    for name, values, least in (("mark", p, 0.0), ("rate", r, 0.0)):
        if not (np.isfinite(values).all() and (values > least).all()):
            raise LiquidationError(f"{name} must be above 0", code="LIQ-001", field=name)
    if not (np.isfinite(q).all() and math.isfinite(equity) and (step >= 0).all()):
        raise LiquidationError(
            "quantities and equity must be numbers, lots at least 0",
            code="LIQ-001",
            field="quantity",
        )
    named = list(names) if names is not None else [f"leg {i}" for i in range(q.size)]
    legs = tuple(
        Leg(name=n, underlying=n, quantity=a, mark=b, unit_usd=b, lot=c, profit_usd=d)
        for n, a, b, c, d in zip(named, q.tolist(), p.tolist(), step.tolist(), gain.tolist())
    )
    brackets = tuple(Brackets((0.0,), (x,)) for x in r.tolist())
    return LinearAccount(legs, brackets, float(equity), orders_mm or 0.0, orders_mm is not None)
