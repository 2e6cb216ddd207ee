"""What closing costs: fee, slippage and linear impact, and how much a book takes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from crossmargin.errors import LiquidationError
from crossmargin.liquidation.account import Leg, lots_down


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosingCost:
    """Cost of closing, for all legs alike or leg by leg.

    The cost of closing x units of a leg is ``x·U·(fee + slip) + ½·α·x²`` US dollars, U being a
    unit's notional. Source: cascades.md §4 "Key algebra" (inferred: flat cost and impact are
    stated apart there).

    Attributes
    ----------
    fee_rate : float
        Of notional: the venue's liquidation fee.
    slip_rate : float
        Of notional: half a spread and the like.
    impact : mapping of str to float
        By leg's name: US dollars by which a unit's value moves per unit closed; the average fill
        moves by half of it. Legs that are not named move nothing.
    depth : mapping of str to float
        By leg's name: the most units that can be filled at once; unlimited where not named.
    """

    fee_rate: float = 0.0
    slip_rate: float = 0.0
    impact: Mapping[str, float] = field(default_factory=dict)
    depth: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        figures = {"fee_rate": self.fee_rate, "slip_rate": self.slip_rate}
        figures.update({f"impact.{k}": v for k, v in self.impact.items()})
        figures.update({f"depth.{k}": v for k, v in self.depth.items()})
        for name, value in figures.items():
            if not value >= 0 or (math.isinf(value) and not name.startswith("depth")):
                raise LiquidationError(
                    f"{name} is {value:g}, not a number of at least 0", code="LIQ-001", field=name
                )

    def paid(self, leg: Leg, units: float) -> float:
        """Return fees, slippage and impact of closing `units` at once, US dollars."""
        flat = units * leg.unit_usd * (self.fee_rate + self.slip_rate)
        return flat + 0.5 * self.impact.get(leg.name, 0.0) * units * units

    def price(self, leg: Leg, units: float) -> float:
        """Return the average fill of closing `units`, fee left aside, in the leg's price.

        A long sells below its mark, a short buys back above it. Inverse contracts are filled at
        the price whose reciprocal is moved by that much.
        """
        usd = leg.unit_usd * self.slip_rate + 0.5 * self.impact.get(leg.name, 0.0) * units
        return price_at_cost(leg, usd)

    def fee(self, leg: Leg, units: float) -> float:
        """Return the fee alone, US dollars."""
        return units * leg.unit_usd * self.fee_rate

    def within(self, leg: Leg, units: float, limit: float | None) -> float:
        """Return how many of `units` fill at once at no worse an average than `limit`.

        Fewer than asked for come in whole lots.

        Parameters
        ----------
        limit : float or None
            Price at which the order is placed; None for a market order.
        """
        most = min(units, self.depth.get(leg.name, math.inf))
        if limit is not None:
            most = min(most, self._until(leg, limit))
        # What is asked for whole is filled whole; a part of it comes in lots.
        return lots_down(most, leg.lot) if most < units else most

    def _until(self, leg: Leg, limit: float) -> float:
        """Return the units whose average fill is the limit; infinite where impact is none."""
        if leg.inverse:
            room = (leg.mark / limit - 1.0) * leg.unit_usd
        else:
            room = (leg.mark - limit) * leg.point
        room = (room if leg.quantity > 0 else -room) - self.slip_rate * leg.unit_usd
        if room < 0.0:
            return 0.0
        alpha = self.impact.get(leg.name, 0.0)
        return math.inf if alpha == 0.0 else 2.0 * room / alpha


def price_at_cost(leg: Leg, usd: float) -> float:
    """Return the price at which closing a unit of a leg costs so many US dollars.

    A long sells below its mark, a short buys back above it; an inverse contract at the price whose
    reciprocal is moved by that much.
    """
    away = math.copysign(1.0, leg.quantity) * usd
    if leg.inverse:
        return leg.mark / (1.0 + away / leg.unit_usd)
    return leg.mark - away / leg.point
