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
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from crossmargin.errors import LiquidationError
from crossmargin.liquidation.account import (
    Account,
    Leg,
    Line,
    Standing,
    lots_down,
    lots_up,
    start_of,
)
from crossmargin.liquidation.costs import ClosingCost
from crossmargin.margin import close_in

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

#: Points looked at on a way before a crossing between two of them is closed in on. A stretch
#: narrower than a sixteenth of a way on which the line holds may be missed.
PARTS = 16


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
        closed = _walk(trial, closed, target)
        order += [i for i in np.flatnonzero(closed > before).tolist() if i not in order]
        if trial.excess(closed) >= 0.0:
            return trial.done(_give_back(trial, closed, order), tuple(order))
        try:
            target = targets.send(closed)
        except StopIteration:
            target = None
    closed = _to_the_end(trial, closed)
    order += [i for i in np.flatnonzero(closed > 0).tolist() if i not in order]
    return trial.done(_give_back(trial, closed, order), tuple(order))


def _to_the_end(trial: Trial, closed: Floats) -> Floats:
    """Go on where rounding up to lots used up what sufficed; at last everything goes.

    That happens where a leg costs more to close than it frees.
    """
    for _ in range(PARTS):
        further = _walk(trial, closed, trial.most)
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
            far = _top(gain, points[max(best - 1, 0)], points[best + 1], far)
        if far > low and gain(far) > 0.0:
            yield row, far


def _top(gain: Callable[[float], float], low: float, high: float, known: float) -> float:
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


def _walk(trial: Trial, closed: Floats, target: Floats) -> Floats:
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


def _give_back(trial: Trial, closed: Floats, order: list[int]) -> Floats:
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
