"""Credit between groups: what opposite sides of two underlyings give back.

Source
------
Inter-commodity spread credit in the manner of SPAN (paired risk = 2·min of the two scans), and
the correlation form √(a² + b² − 2ρab) for opposite directions; requirements row A24.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crossmargin.margin._frame import Frame, sum_by

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


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
    names: dict[str, int] = {}
    for pair in spec.pairs:
        for name in pair.groups:
            names.setdefault(name, len(names))
    place = _groups_of(frame, names)
    there = place >= 0
    left = np.where(there, group[place], 0.0)
    sides = np.where(there, side[place], 0.0)
    # What is left of each group depends on every group it was paired with before.
    slope = np.repeat(np.eye(len(names))[:, :, None], a.pots if frame.shares else 0, axis=2)
    lost = np.zeros((len(names), a.pots))
    for pair in spec.pairs:
        first, second = (names[name] for name in pair.groups)
        pots = np.flatnonzero(there[first] & there[second] & (sides[first] * sides[second] < 0))
        x, y = left[first, pots], left[second, pots]
        given, by_x, by_y = _credit(spec.method, pair.value, x, y)
        if pair.max_credit_usd is not None:
            limit = pair.max_credit_usd / frame.pot_usd[pots]
            over = given > limit
            given, by_x, by_y = (
                np.where(over, limit, given),
                np.where(over, 0.0, by_x),
                np.where(over, 0.0, by_y),
            )
        credit[pots] += given
        if frame.shares:
            lost[:, pots] += by_x * slope[first][:, pots] + by_y * slope[second][:, pots]
            # What was paired cannot be paired again with a third group.
            smaller = np.where(x <= y, slope[first][:, pots], slope[second][:, pots])
            slope[first][:, pots] -= smaller
            slope[second][:, pots] -= smaller
        least = np.minimum(x, y)
        left[first, pots], left[second, pots] = x - least, y - least
    passed[place[there]] -= lost[there]
    return gross - credit, credit, passed


def _groups_of(frame: Frame, names: dict[str, int]) -> Ints:
    """Return the group of each name in each pot, -1 where there is none, shape ``[K, P]``."""
    a = frame.arrangement
    kind = np.array([names.get(n, -1) for n in frame.book.registry.assets], dtype=np.int64)
    kind = kind[a.group_underlying]
    out = np.full((len(names), a.pots), -1, dtype=np.int64)
    mine = np.flatnonzero(kind >= 0)
    out[kind[mine], a.group_pot[mine]] = mine
    return out


def _credit(method: str, value: float, x: Floats, y: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the credit on pairs and its derivatives by both sides."""
    if method == "pair-credit":
        first = x <= y
        slope = np.full(x.size, 2.0 * value)
        return value * 2.0 * np.minimum(x, y), first * slope, ~first * slope
    joint = np.sqrt(np.maximum(0.0, x * x + y * y - 2.0 * value * x * y))
    safe = np.where(joint == 0.0, 1.0, joint)
    by_x = np.where(joint == 0.0, 1.0, 1.0 - (x - value * y) / safe)
    by_y = np.where(joint == 0.0, 1.0, 1.0 - (y - value * x) / safe)
    return x + y - joint, by_x, by_y
