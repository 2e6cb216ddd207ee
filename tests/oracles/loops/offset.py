"""Credit between groups, row by row."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from crossmargin.margin._frame import Frame, sum_by

if TYPE_CHECKING:
    pass

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
T = TypeVar("T")


def apply_offset(
    frame: Frame, group: Floats, quantity: Floats, *, orders: bool = False
) -> tuple[Floats, Floats, Floats]:
    """Add groups up to pots, less credit between pairs that stand on opposite sides.

    Parameters
    ----------
    frame : Frame
        Book, rules and market.
    group : float64[G]
        Requirement of each group.
    quantity : float64[N]
        Quantities, whose net delta says on which side a group stands.

    orders : bool
        Whether open orders may fill: a group that has some then earns no credit, because a
        fill may take away the side that the credit rests on.

    Returns
    -------
    pot : float64[P]
        Requirement after credit.
    credit : float64[P]
        Credit given, at least 0.
    passed : float64[G]
        Derivative of the pot by each group's requirement, for shares.
    """
    a = frame.arrangement
    spec = frame.ruleset.data.offset
    gross = sum_by(group, a.group_pot, a.pots)
    credit = np.zeros(a.pots)
    passed = np.ones(a.groups)
    if spec.method == "none" or not spec.active:
        return gross, credit, passed
    delta = quantity * frame.unit_delta[frame.book.position_instrument]
    side = np.sign(sum_by(delta, a.position_group, a.groups))
    if orders:
        side[a.leg_group] = 0.0
    names = frame.book.registry.assets
    left = group.copy()
    for pot in range(a.pots):
        mine = np.flatnonzero(a.group_pot == pot)
        place = {names[a.group_underlying[g]]: int(g) for g in mine}
        # What is left of each group depends on every group it was paired with before.
        slope_left = {int(g): {int(g): 1.0} for g in mine}
        for pair in spec.pairs:
            first, second = (place.get(name) for name in pair.groups)
            if first is None or second is None or side[first] * side[second] >= 0:
                continue
            x, y = float(left[first]), float(left[second])
            given, by_x, by_y = _credit(spec.method, pair.value, x, y)
            limit = np.inf if pair.max_credit_usd is None else pair.max_credit_usd
            limit = float(limit / frame.pot_usd[pot])
            if given > limit:
                given, by_x, by_y = limit, 0.0, 0.0
            credit[pot] += given
            for weight, row in ((by_x, slope_left[first]), (by_y, slope_left[second])):
                for g, slope in row.items():
                    passed[g] -= weight * slope
            # What was paired cannot be paired again with a third group.
            smaller = dict(slope_left[first if x <= y else second])
            for row in (slope_left[first], slope_left[second]):
                for g, slope in smaller.items():
                    row[g] = row.get(g, 0.0) - slope
            left[first], left[second] = x - min(x, y), y - min(x, y)
    return gross - credit, credit, passed


def _credit(method: str, value: float, x: float, y: float) -> tuple[float, float, float]:
    """Return the credit on a pair and its derivatives by both sides."""
    if method == "pair-credit":
        given = value * 2.0 * min(x, y)
        return (given, 2.0 * value, 0.0) if x <= y else (given, 0.0, 2.0 * value)
    joint = float(np.sqrt(max(0.0, x * x + y * y - 2.0 * value * x * y)))
    if joint == 0.0:
        return x + y, 1.0, 1.0
    return x + y - joint, 1.0 - (x - value * y) / joint, 1.0 - (y - value * x) / joint
