"""Which legs to close, in which order, and how much: the smallest reduction that suffices.

A policy walks from what is held towards nothing, one leg after another or several together, and
stops at the first size at which the line holds. The walk asks the account at every size, so that
netting, scenarios and brackets are all seen: a leg whose closing raises the requirement is left.

Laws: a leg is never turned round or made larger; what is closed exceeds what is needed by less
than one lot of any leg; nothing is closed where the line holds already.

Source: house solver; orders of closing from requirements rows A05 ("riskiest first,
proportional, cheapest to close, hedge-preserving") and B07, cascades.md §4 ("Order of closing is
policy").
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from crossmargin.errors import LiquidationError
from crossmargin.liquidation._walk import PARTS, give_back, top, walk
from crossmargin.liquidation.trial import Reduction, Trial

Floats = NDArray[np.float64]

Policy = Literal[
    "riskiest-first",
    "largest-loss",
    "cheapest-relief",
    "most-liquid",
    "proportional",
    "hedge-preserving",
]
POLICIES: tuple[Policy, ...] = get_args(Policy)


def reduce(trial: Trial, policy: Policy) -> Reduction:
    """Close as little as suffices, in the order that a policy asks for.

    Parameters
    ----------
    trial : Trial
        Account, line and costs.
    policy : Policy
        ``riskiest-first``: the leg that frees most requirement, then the next.
        ``largest-loss``: the leg with the largest unrealised loss first.
        ``cheapest-relief``: most requirement freed per US dollar of cost.
        ``most-liquid``: least cost per US dollar of notional.
        ``proportional``: the same fraction of every leg.
        ``hedge-preserving``: of each underlying first what stands open, net of its hedge; then
        the same fraction of everything left.

    Returns
    -------
    Reduction
        With everything closed that may be where nothing less suffices.

    Raises
    ------
    LiquidationError
        ``LIQ-003`` unknown policy.
    """
    if policy not in POLICIES:
        raise LiquidationError(
            f"there is no policy {policy!r} of closing",
            code="LIQ-003",
            field="policy",
            hint="one of " + ", ".join(POLICIES),
        )
    if not trial.start.size or trial.excess(trial.none) >= 0.0:
        return trial.done(trial.none, ())
    closed, order = trial.none, list[int]()
    targets = _targets(trial, policy)
    target = next(targets, None)
    while target is not None:
        before = closed
        closed = walk(trial, closed, target)
        order += [i for i in np.flatnonzero(closed > before).tolist() if i not in order]
        if trial.excess(closed) >= 0.0:
            return trial.done(give_back(trial, closed, order), tuple(order))
        try:
            target = targets.send(closed)
        except StopIteration:
            target = None
    closed = _to_the_end(trial, closed)
    order += [i for i in np.flatnonzero(closed > 0).tolist() if i not in order]
    return trial.done(give_back(trial, closed, order), tuple(order))


def _to_the_end(trial: Trial, closed: Floats) -> Floats:
    """Go on where rounding up to lots used up what sufficed; at last everything goes.

    That happens where a leg costs more to close than it frees.
    """
    for _ in range(PARTS):
        further = walk(trial, closed, trial.most)
        if (further == closed).all() or trial.excess(further) >= 0.0:
            return further
        closed = further
    return trial.most


def _targets(trial: Trial, policy: Policy) -> Generator[Floats, Floats, None]:
    """Yield what to close next; is sent how far that went."""
    if policy == "hedge-preserving":
        yield _open_part(trial)
    if policy not in ("proportional", "hedge-preserving"):
        yield from _one_by_one(trial, policy)
    # Where no order of single legs sufficed everything goes, pairs of a hedge together.
    yield trial.most


def _open_part(trial: Trial) -> Floats:
    """Return what has to be closed for every underlying to be flat, from the heavier side."""
    delta = np.array([leg.delta for leg in trial.legs]) * trial.start
    names = [leg.underlying for leg in trial.legs]
    target = np.zeros(delta.size)
    for name in dict.fromkeys(names):
        mine = np.array([n == name for n in names])
        net = math.fsum(delta[mine])
        heavy = mine & (np.sign(delta) == np.sign(net)) & (delta != 0)
        if not heavy.any():
            continue
        share = min(1.0, abs(net) / math.fsum(np.abs(delta[heavy])))
        target[heavy] = share * np.abs(trial.start[heavy])
    return np.minimum(target, trial.most)


def _one_by_one(trial: Trial, policy: Policy) -> Generator[Floats, Floats, None]:
    """Yield targets leg by leg; what helps is asked again after every leg."""
    closed = trial.none
    stuck: set[int] = set()
    while True:
        options = [
            (_key(trial, policy, closed, row, far), row, far)
            for row, far in _helpful(trial, closed)
            if row not in stuck
        ]
        if not options:
            return
        _, row, far = min(options, key=lambda option: (option[0], option[1]))
        target = closed.copy()
        target[row] = far
        reached = yield target
        if reached[row] <= closed[row]:
            stuck.add(row)
        closed = reached


def _helpful(trial: Trial, closed: Floats) -> Iterator[tuple[int, float]]:
    """Yield each leg whose closing helps, and up to where it does.

    A leg that hedges others helps nowhere, or only as far as it exceeds what it hedges.
    """
    now, here = trial.at(closed).mm, trial.excess(closed)
    for row in np.flatnonzero(closed < trial.most).tolist():
        low, room = float(closed[row]), float(trial.most[row] - closed[row])

        def gain(units: float, row: int = row) -> float:
            way = closed.copy()
            way[row] = units
            there = trial.at(way)
            return trial.line.excess(there) - here if there.mm <= now else -math.inf

        points = [low + room * (step / PARTS) for step in range(PARTS + 1)]
        gains = [0.0, *(gain(units) for units in points[1:])]
        best = max(range(PARTS + 1), key=lambda k: gains[k])
        far = points[best]
        begins = best > 0 or gain(low + 1e-6 * room) > 0.0
        if begins and best < PARTS and here + gains[best] < 0.0:
            # Somewhere on the way help turns into harm: the leg exceeds its hedge no longer.
            far = top(gain, points[max(best - 1, 0)], points[best + 1], far)
        if far > low and gain(far) > 0.0:
            yield row, far


def _key(trial: Trial, policy: Policy, closed: Floats, row: int, far: float) -> float:
    """Return what a policy puts first: the smallest goes first."""
    leg, units = trial.legs[row], far - float(closed[row])
    if policy == "largest-loss":
        return leg.profit_usd
    cost = trial.costs.paid(leg, units)
    if policy == "most-liquid":
        return cost / (units * leg.unit_usd)
    target = closed.copy()
    target[row] = far
    relief = trial.at(closed).mm - trial.at(target).mm
    if policy == "cheapest-relief":
        return -math.inf if cost == 0.0 and relief > 0.0 else -relief / max(cost, 1e-300)
    return -relief
