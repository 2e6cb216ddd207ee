"""How shortfalls become a requirement: the legs of the tail, with their derivatives.

The formulas are those of :class:`crossmargin.margin.components.TailLeg`. The rule-set's stage and
the path over a history both use them from here.

Source: clearing-practice §1.2 (blend of historical and stressed risk, SPAN 2: published), §1.8
(EMIR RTS 153/2013 art. 27 offsets and art. 28 tools: published), §1.6 (correlation break); the
consumable form of the buffer, the stated share of the break and their order are the house's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossmargin.margin._sums import sum_by
from crossmargin.scenarios import TailSpec
from crossmargin.stats import tail_shortfalls_at

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: What a leg depends on: B, T, F, E and Σ M_i.
_B, _T, _F, _E, _S = range(5)


@dataclass(frozen=True, slots=True)
class Shortfalls:
    """Expected shortfalls of some pots, each at least 0.

    Attributes
    ----------
    base, stress, long, broken : float64[P]
        B, T, F and E.
    own_base, own_stress, own_long : float64[G]
        The same of each group alone.
    pot : int64[G]
        Pot of each group.
    """

    base: Floats
    stress: Floats
    long: Floats
    broken: Floats
    own_base: Floats
    own_stress: Floats
    own_long: Floats
    pot: Ints


@dataclass(frozen=True, slots=True)
class Legs:
    """Legs of some pots.

    Attributes
    ----------
    value : dict of str to float64[P]
        Without ``cap``, which needs more than shortfalls.
    slope : float64[4, P]
        Derivative of their sum by B, T, F and E.
    own_slope : float64[3, G]
        Derivative of their sum by each group's own B, T and F.
    """

    value: dict[str, Floats]
    slope: Floats
    own_slope: Floats

    @property
    def total(self) -> Floats:
        """Sum of the legs, in their order."""
        return np.asarray(sum(self.value.values()))


def rearranged(part: Floats, coin: Ints, order: Ints) -> Floats:
    """Return the vectors of groups with each coin's scenarios taken in another order.

    Parameters
    ----------
    part : float64[G, S]
        Profit and loss of each group.
    coin : int64[G]
        Row of each group's coin in `order`, or -1: its scenarios stay where they are.
    order : int64[A, S]
        One of the rearrangements of :class:`crossmargin.scenarios.TailSets`.
    """
    return np.take_along_axis(part, orders_of(part, coin, order), axis=1)


def stacked(whole: Floats, own: Floats, pot: Ints) -> Shortfalls:
    """Return shortfalls from rows: B, T, F, E by pot, and B, T, F by group."""
    return Shortfalls(
        base=whole[0],
        stress=whole[1],
        long=whole[2],
        broken=whole[3],
        own_base=own[0],
        own_stress=own[1],
        own_long=own[2],
        pot=pot,
    )


def orders_of(part: Floats, coin: Ints, order: Ints) -> Ints:
    """Return the order of each group's scenarios, ``[G, S]``; see :func:`rearranged`."""
    chosen = order[coin]
    chosen[coin < 0] = np.arange(part.shape[1])
    return chosen


def shortfalls_of(
    spec: TailSpec,
    parts: tuple[Floats, Floats, Floats],
    sums: tuple[Floats, Floats, Floats],
    pot: Ints,
    coin: Ints,
    order: Ints,
) -> list[tuple[Shortfalls, Ints]]:
    """Return the shortfalls of some pots, and which rearrangement was worst (-1: none).

    Parameters
    ----------
    spec : TailSpec
        Figures; what no leg needs is not worked out and stays 0.
    parts : tuple of float64[G, S]
        Profit and loss of each group: filtered, stressed, at long volatility.
    sums : tuple of float64[P, S]
        The same of each pot.
    pot, coin : int64[G]
        Of each group.
    order : int64[K, A, S]
        Rearrangements of the filtered scenarios.

    Returns
    -------
    list of (Shortfalls, int64[P])
        At the confidence of initial, then of maintenance margin.
    """
    levels = (spec.level_im, spec.level_mm)
    pots, groups = sums[0].shape[0], parts[0].shape[0]
    whole, own = np.zeros((2, 4, pots)), np.zeros((2, 3, groups))
    needed = (True, spec.stress_weight > 0, spec.floor > 0 or spec.buffer > 0)
    for k, (part, total) in enumerate(zip(parts, sums)):
        if needed[k]:
            whole[:, k] = np.maximum(tail_shortfalls_at(total, levels), 0.0)
            if spec.offset_cap < 1.0:
                own[:, k] = np.maximum(tail_shortfalls_at(part, levels), 0.0)
    binding = np.full((2, pots), -1, dtype=np.int64)
    for k in range(order.shape[0]):
        moved = sum_by(rearranged(parts[0], coin, order[k]), pot, pots)
        found = tail_shortfalls_at(moved, levels)
        more = found > np.maximum(whole[:, 3], whole[:, 0])
        binding = np.where(more, k, binding)
        whole[:, 3] = np.where(more, found, whole[:, 3])
    return [(stacked(whole[at], own[at], pot), binding[at]) for at in range(2)]


def _one(spec: TailSpec, b: Floats, t: Floats, f: Floats) -> tuple[dict[str, Floats], Floats]:
    """Return base, stress, buffer and floor, and the derivatives of their sum, ``[3, P]``."""
    w, most = spec.stress_weight, spec.buffer
    base, stress = (1.0 - w) * b, w * t
    m = base + stress
    slope = np.stack([np.full(b.size, 1.0 - w), np.full(b.size, w), np.zeros(b.size)])
    whole, left = most * m, (1.0 + most) * f - m
    # The branch whose value counts is the one whose slope counts.
    full = (most > 0) & (whole <= left)
    part = (most > 0) & ~full & (left > 0)
    buffer = np.where(full, whole, np.where(part, left, 0.0))
    slope = slope * np.where(part, 0.0, np.where(full, 1.0 + most, 1.0))
    slope[2] += np.where(part, 1.0 + most, 0.0)
    lacking = spec.floor * f - (m + buffer)
    low = lacking > 0
    slope = np.where(low, np.array([[0.0], [0.0], [spec.floor]]), slope)
    floor = np.where(low, lacking, 0.0)
    return {"base": base, "stress": stress, "buffer": buffer, "floor": floor}, slope


def legs_of(spec: TailSpec, s: Shortfalls) -> Legs:
    """Return the legs of some pots; see the module."""
    value, slope = _one(spec, s.base, s.stress, s.long)
    out = np.concatenate([slope, np.zeros((1, s.base.size))])
    joint = np.asarray(sum(value.values()))
    rise = spec.break_share * np.maximum(0.0, s.broken - s.base)
    breaks = rise > 0
    out[_B] -= np.where(breaks, spec.break_share, 0.0)
    out[_E] += np.where(breaks, spec.break_share, 0.0)
    own, own_slope = _one(spec, s.own_base, s.own_stress, s.own_long)
    single = sum_by(np.asarray(sum(own.values())), s.pot, joint.size)
    kept = 1.0 - spec.offset_cap
    lacking = kept * (single - joint) - rise
    capped = lacking > 0
    value["break"] = rise
    value["offset"] = np.where(capped, lacking, 0.0)
    out[:3] -= np.where(capped, kept * slope, 0.0)
    # What the break charges already counts towards the cap, so there it cancels.
    back = np.where(capped & breaks, spec.break_share, 0.0)
    out[_B] += back
    out[_E] -= back
    return Legs(value, out, own_slope * np.where(capped, kept, 0.0)[s.pot])
