"""What deleveraging leaves behind: the owner's surviving legs, margined again.

A holder who is closed on one leg of a hedge keeps the other. Its requirement may rise though its
position fell, and its account may be below its line though it did nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from crossmargin.errors import LiquidationError
from crossmargin.liquidation.account import Account, Leg, Line, Standing, start_of


@dataclass(frozen=True, slots=True)
class Exposure:
    """Delta of one underlying, US dollars: net of its hedge, before and after."""

    underlying: str
    before: float
    after: float

    @property
    def opened(self) -> float:
        """By how much more stands open, at least 0."""
        return max(0.0, abs(self.after) - abs(self.before))


@dataclass(frozen=True, slots=True, kw_only=True)
class AfterAdl:
    """An owner after deleveraging.

    Attributes
    ----------
    before, after : Standing
        Equity and maintenance requirement.
    exposures : tuple of Exposure
        By underlying.
    broken : tuple of str
        Underlyings whose hedge was broken: more stands open than before.
    in_breach : bool
        Whether the account is below its line now, and was not before.
    """

    before: Standing
    after: Standing
    exposures: tuple[Exposure, ...]
    broken: tuple[str, ...]
    in_breach: bool


def after_adl(
    owner: Account, closed: Mapping[str, tuple[float, float]], line: Line | None = None
) -> AfterAdl:
    """Margin an owner's surviving legs again.

    Parameters
    ----------
    owner : Account
        As it stood before; answers for any rule-set.
    closed : mapping of str to (float, float)
        By leg: units closed and the price.
    line : Line, optional
        Where breach begins; default equity = MM.

    Raises
    ------
    LiquidationError
        ``LIQ-001`` for a leg that the owner does not hold, or not as much of it.
    """
    where = Line() if line is None else line
    quantity, cost = start_of(owner), np.zeros(len(owner.legs))
    rows = {leg.name: row for row, leg in enumerate(owner.legs)}
    for name, (units, price) in closed.items():
        row = rows.get(name)
        if row is None or not 0 <= units <= abs(quantity[row]) * (1 + 1e-12) or price <= 0:
            raise LiquidationError(
                f"the owner cannot be closed on {units:g} of {name!r}",
                code="LIQ-001",
                instrument=name,
                field="closed",
            )
        leg = owner.legs[row]
        quantity[row] -= math.copysign(min(units, abs(quantity[row])), quantity[row])
        cost[row] = _forgone(leg, units, price)
    before = owner.standing(start_of(owner), np.zeros(len(owner.legs)))
    after = owner.standing(quantity, cost)
    exposures = _exposures(owner, quantity.tolist())
    return AfterAdl(
        before=before,
        after=after,
        exposures=exposures,
        broken=tuple(x.underlying for x in exposures if x.opened > 1e-9 * abs(x.after)),
        in_breach=where.holds(before) and not where.holds(after),
    )


def _forgone(leg: Leg, units: float, price: float) -> float:
    """Return what closing at `price` instead of the mark costs, US dollars."""
    side = math.copysign(1.0, leg.quantity)
    if leg.inverse:
        return side * units * leg.unit_usd * (leg.mark / price - 1.0)
    return side * units * leg.point * (leg.mark - price)


def _exposures(owner: Account, after: list[float]) -> tuple[Exposure, ...]:
    sums: dict[str, list[list[float]]] = {}
    for leg, left in zip(owner.legs, after):
        both = sums.setdefault(leg.underlying, [[], []])
        both[0].append(leg.quantity * leg.delta)
        both[1].append(left * leg.delta)
    return tuple(Exposure(n, math.fsum(b), math.fsum(a)) for n, (b, a) in sums.items())
