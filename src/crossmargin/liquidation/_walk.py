"""Walking from what is held towards nothing, in lots, until the line holds."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from crossmargin.liquidation.account import lots_down, lots_up
from crossmargin.liquidation.trial import Trial
from crossmargin.margin import close_in

Floats = NDArray[np.float64]

#: Points looked at on a way before a crossing between two of them is closed in on. A stretch
#: narrower than a sixteenth of a way on which the line holds may be missed.
PARTS = 16


def walk(trial: Trial, closed: Floats, target: Floats) -> Floats:
    """Close along a straight way until the line holds, in lots; all of it where it never does."""
    way = target - closed
    if not (way > 0).any():
        return closed

    def excess(share: float) -> float:
        return trial.excess(closed + way * share)

    last, f_last = 0.0, excess(0.0)
    if f_last >= 0.0:
        return closed
    for step in range(1, PARTS + 1):
        share = step / PARTS
        f = excess(share)
        if f >= 0.0:
            share = close_in(excess, share, f, last, f_last).safe
            return _in_lots(trial, closed, closed + way * share)
        last, f_last = share, f
    peak = _peak(excess)
    if peak is not None:
        share = close_in(excess, peak[0], peak[1], 0.0, excess(0.0)).safe
        return _in_lots(trial, closed, closed + way * share)
    return _in_lots(trial, closed, target)


def _peak(excess: Callable[[float], float]) -> tuple[float, float] | None:
    """Look for a top between the points of the walk at which the line holds after all.

    Closing in on the top by golden section; right where the excess has one top, as with linear
    impact.
    """
    golden = 0.5 * (math.sqrt(5.0) - 1.0)
    low, high = 0.0, 1.0
    a, b = high - golden * (high - low), low + golden * (high - low)
    f_a, f_b = excess(a), excess(b)
    for _ in range(48):
        if f_a >= 0.0:
            return a, f_a
        if f_b >= 0.0:
            return b, f_b
        if f_a >= f_b:
            high, b, f_b = b, a, f_a
            a = high - golden * (high - low)
            f_a = excess(a)
        else:
            low, a, f_a = a, b, f_b
            b = low + golden * (high - low)
            f_b = excess(b)
    return None


def _in_lots(trial: Trial, closed: Floats, target: Floats) -> Floats:
    """Round what is closed of each leg up to a lot, at most to all that may be closed.

    Where that takes back what sufficed, because a leg costs more to close than it frees, such
    legs are rounded down.
    """
    result = target.copy()
    moved = [row for row in np.flatnonzero(target > closed).tolist() if trial.legs[row].lot > 0.0]
    for row in moved:
        lot = trial.legs[row].lot
        result[row] = lots_up(float(target[row]), lot, float(trial.most[row]))
    if trial.excess(result) >= 0.0 or trial.excess(target) < 0.0:
        return result
    for row in moved:
        less = result.copy()
        less[row] = max(float(closed[row]), lots_down(float(target[row]), trial.legs[row].lot))
        if trial.excess(less) > trial.excess(result):
            result = less
    return result


def give_back(trial: Trial, closed: Floats, order: list[int]) -> Floats:
    """Take back every lot that is not needed, from the leg closed last."""
    if trial.excess(closed) < 0.0:
        return closed
    for row in reversed(order):
        lot = trial.legs[row].lot
        if lot <= 0.0:
            continue
        held = float(closed[row])
        lots = round(lots_down(held, lot) / lot)
        # A rest below a lot was closed with the whole leg: it is the first to be taken back.
        top = lots if held > lots_down(held, lot) else lots - 1

        one_less = trial.excess(_with(closed, row, lot, top)) if top >= 0 else math.inf
        if one_less > trial.excess(closed):
            # It cost more to close than it freed: where all legs go alike it goes along.
            continue
        spare, step = 0, 1
        while True:
            left = top + 1 - spare - step
            if left >= 0 and trial.excess(_with(closed, row, lot, left)) >= 0.0:
                spare, step = spare + step, step * 2
            elif step == 1:
                break
            else:
                step = 1
        if spare:
            closed = _with(closed, row, lot, top + 1 - spare)
    return closed


def _with(closed: Floats, row: int, lot: float, count: int) -> Floats:
    """Return what is closed with one leg at so many lots."""
    changed = closed.copy()
    changed[row] = lots_up(count * lot, lot, math.inf)
    return changed


def top(gain: Callable[[float], float], low: float, high: float, known: float) -> float:
    """Close in on the top of a gain by golden section, and return the best point seen."""
    golden = 0.5 * (math.sqrt(5.0) - 1.0)
    best, f_best = known, gain(known)
    a, b = high - golden * (high - low), low + golden * (high - low)
    f_a, f_b = gain(a), gain(b)
    for _ in range(32):
        best, f_best = max((best, f_best), (a, f_a), (b, f_b), key=lambda x: x[1])
        if f_a >= f_b:
            high, b, f_b = b, a, f_a
            a = high - golden * (high - low)
            f_a = gain(a)
        else:
            low, a, f_a = a, b, f_b
            b = low + golden * (high - low)
            f_b = gain(b)
    return best
