"""An account on its way down: standings by units closed, and what a reduction came to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossmargin.errors import LiquidationError
from crossmargin.liquidation.account import Account, Leg, Line, Standing, start_of
from crossmargin.liquidation.costs import ClosingCost

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reduction:
    """What a policy closes.

    Attributes
    ----------
    closed : float64[n]
        Units closed of each leg, at least 0.
    quantity : float64[n]
        Signed units left.
    cost : float64[n]
        Paid for each leg, US dollars, what was paid before included.
    order : tuple of int
        Legs in the order in which they were closed; legs closed together in their own order.
    sufficient : bool
        Whether the line holds afterwards; if not, everything that could be closed was.
    before, after : Standing
        Orders left aside.
    """

    closed: Floats
    quantity: Floats
    cost: Floats
    order: tuple[int, ...]
    sufficient: bool
    before: Standing
    after: Standing


class Trial:
    """An account on its way down: standings by units closed.

    Parameters
    ----------
    account : Account
        Whose legs are closed.
    line : Line
        What is to hold.
    costs : ClosingCost
        What closing costs.
    quantity, cost : float64[n], optional
        Where it stands already; default as held, nothing paid.
    most : float64[n], optional
        The most that may be closed of each leg, units.
    orders : bool
        Whether resting orders still stand meanwhile.
    """

    def __init__(
        self,
        account: Account,
        line: Line,
        costs: ClosingCost,
        quantity: Floats | None = None,
        cost: Floats | None = None,
        most: Floats | None = None,
        *,
        orders: bool = False,
    ) -> None:
        self.account, self.line, self.costs, self.orders = account, line, costs, orders
        held = start_of(account)
        self.start = held if quantity is None else quantity
        if ((self.start * held < 0) | (abs(self.start) > abs(held))).any():
            raise LiquidationError(
                "a liquidation only reduces what was held", code="LIQ-001", field="quantity"
            )
        self.paid = np.zeros(held.size) if cost is None else cost
        room = np.abs(self.start)
        self.most = room if most is None else np.minimum(room, most)
        self.none = np.zeros(held.size)

    @property
    def legs(self) -> tuple[Leg, ...]:
        """The account's legs."""
        return self.account.legs

    def quantity(self, closed: Floats) -> Floats:
        """Return signed units left."""
        left = np.sign(self.start) * (np.abs(self.start) - closed)
        # Nothing is 0, not −0.
        return np.asarray(left + 0.0, dtype=np.float64)

    def cost(self, closed: Floats) -> Floats:
        """Return what has been paid for each leg, US dollars."""
        now = [self.costs.paid(leg, x) for leg, x in zip(self.legs, closed.tolist())]
        return np.asarray(self.paid + np.array(now), dtype=np.float64)

    def at(self, closed: Floats) -> Standing:
        """Return the standing once that much has been closed."""
        quantity, cost = self.quantity(closed), self.cost(closed)
        return self.account.standing(quantity, cost, orders=self.orders)

    def excess(self, closed: Floats) -> float:
        """Return the excess over the line once that much has been closed."""
        return self.line.excess(self.at(closed))

    def done(self, closed: Floats, order: tuple[int, ...]) -> Reduction:
        """Write the result down."""
        after = self.at(closed)
        return Reduction(
            closed=closed,
            quantity=self.quantity(closed),
            cost=self.cost(closed),
            order=order,
            sufficient=self.line.holds(after),
            before=self.at(self.none),
            after=after,
        )
