"""The cheapest trades under requirements that only an engine can tell: cutting planes over HiGHS.

A requirement that is convex in quantities lies above each of its tangents. The trades are chosen
by a mixed-integer program that knows the tangents found so far (Kelley's method); the engine is
asked what the choice really requires, and either the choice keeps all limits, and is then the
cheapest there is, or its tangent is added. Where a requirement turns out not to be convex (a
tangent above a value that was really found) that tangent is dropped and the answer is no longer
called proven; it is still exactly evaluated.

Source: Kelley (1960); the tests hold it to brute force over all lots.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Asks the engine for K sets of trades: float64[K, J] → requirements float64[K, R], inf where it
#: refuses to margin the account.
Ask = Callable[[Floats], Floats]

#: Tangents are taken this far beside a point (of what may be traded), where no two scenarios tie,
#: over steps a hundredth of that.
_ASIDE, _STEP = 1e-6, 1e-8
#: The solver rounds where quantities are not whole lots: what must become smaller is kept this far
#: below its limit, and what must only not become larger may end this far above.
_SPARE = 1e-6
#: A value is at its limit within this, relative to the requirement's size.
_AT_LIMIT = 1e-9
#: Halvings towards a point that the engine refuses.
_HALVINGS = 12
#: A tangent is wrong when it lies this far above a value that was found.
_WRONG = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is to be solved; J trades, R requirements, L linear measures.

    Attributes
    ----------
    ask : callable
        The engine.
    limits : float64[R]
        Largest requirement; inf for none.
    cost : float64[J]
        Of a unit, bought or sold, > 0.
    fixed : float64[J]
        Of any trade in it.
    low, high : float64[J]
        Units, low ≤ 0 ≤ high.
    lot : float64[J]
        NaN for any quantity.
    rows : float64[L, J]
        Change of a measure by a unit.
    floor, ceiling : float64[L]
        What its change must be between.
    most_trades : int or None
    budget : float or None
        With it the first requirement is made least at no more than this cost.
    """

    ask: Ask
    limits: Floats
    cost: Floats
    fixed: Floats
    low: Floats
    high: Floats
    lot: Floats
    rows: Floats
    floor: Floats
    ceiling: Floats
    most_trades: int | None
    budget: float | None


@dataclass(slots=True)
class Found:
    """The answer.

    Attributes
    ----------
    units : float64[J] or None
        None where nothing was found that keeps the limits.
    values : float64[R]
        What the engine says of it (or of the nearest choice).
    bound : float
        The objective is at least this, if `proven`.
    proven : bool
    impossible : bool
        No trades keep the limits, as far as tangents can tell.
    rounds, asked : int
        Programs solved, and sets of trades evaluated.
    """

    units: Floats | None
    values: Floats
    bound: float
    proven: bool
    impossible: bool
    rounds: int
    asked: int


@dataclass(slots=True)
class _Tangents:
    """Tangents of all requirements: ``v ≥ at + slope·x``."""

    problem: Problem
    size: Floats
    spare: Floats
    which: list[int] = field(default_factory=list)
    at: list[float] = field(default_factory=list)
    slope: list[Floats] = field(default_factory=list)
    seen_x: list[Floats] = field(default_factory=list)
    seen_v: list[Floats] = field(default_factory=list)
    dropped: int = 0
    asked: int = 0

    def reachable(self, x: Floats) -> Floats:
        """Return a choice, or what lies on the way to it as far as the engine margins accounts.

        Beyond that nothing is known: trades are bounded by it from here on, and no answer is
        called proven.
        """
        for turn in range(_HALVINGS):
            there = x * 0.5**turn
            self.asked += 1
            if np.isfinite(self.problem.ask(there[None])).all():
                if turn:
                    self.dropped += 1
                    # Twice the way at most, so that the next choice is nearer.
                    p, far = self.problem, 1.5 * np.abs(there)
                    held = there != 0.0
                    low = np.where(held, np.maximum(p.low, -far), p.low)
                    high = np.where(held, np.minimum(p.high, far), p.high)
                    self.problem = replace(p, low=low, high=high)
                return there
        return np.zeros_like(x)

    def look(self, x: Floats) -> Floats:
        """Evaluate a choice and take the tangents beside it."""
        p, n = self.problem, x.size
        reach = np.where(p.high - p.low > 0, p.high - p.low, 1.0)
        # Golden fractions: no direction in which scenarios would tie again.
        turn = np.modf((1 + np.arange(n)) * 0.6180339887498949)[0] - 0.5
        beside = x + _ASIDE * reach * (turn + np.copysign(0.25, turn))
        sets = np.vstack([x, beside, beside + np.diag(_STEP * reach)])
        values = p.ask(sets)
        self.asked += len(sets)
        if not np.isfinite(values).all():
            self.seen_x.append(x)
            self.seen_v.append(np.where(np.isfinite(values[0]), values[0], math.inf))
            self.dropped += 1
            return np.asarray(values[0])
        self.seen_x.append(x)
        self.seen_v.append(values[0])
        for r in range(values.shape[1]):
            if math.isfinite(p.limits[r]) or (r == 0 and p.budget is not None):
                slope = (values[2:, r] - values[1, r]) / (_STEP * reach)
                self.which.append(r)
                self.slope.append(slope)
                self.at.append(float(values[1, r] - slope @ beside))
        self._drop_wrong()
        return np.asarray(values[0])

    def _drop_wrong(self) -> None:
        """Drop tangents that lie above what was found: the requirement is not convex there."""
        xs, vs = np.array(self.seen_x), np.array(self.seen_v)
        keep = []
        for k, r in enumerate(self.which):
            above = self.at[k] + xs @ self.slope[k] - vs[:, r]
            if (above > _WRONG * self.size[r]).any():
                self.dropped += 1
            else:
                keep.append(k)
        if len(keep) < len(self.which):
            self.which = [self.which[k] for k in keep]
            self.at = [self.at[k] for k in keep]
            self.slope = [self.slope[k] for k in keep]


def solve(problem: Problem, *, rounds: int = 80) -> Found:
    """Find the cheapest trades, or the least first requirement within a budget."""
    start = np.zeros(problem.cost.size)
    first = problem.ask(start[None])[0]
    size = np.maximum(np.abs(first), 1.0)
    rounded, asked = ~np.isfinite(problem.lot).all(), problem.limits < first
    tangents = _Tangents(problem, size, np.where(rounded & asked, _SPARE, 0.0))
    allowed = np.where(rounded & ~asked, _SPARE, _AT_LIMIT)
    tangents.look(start)
    best: tuple[float, Floats, Floats] | None = None
    nearest: tuple[float, Floats] = (_excess(problem, first, size, allowed), first)
    bound = -math.inf
    for turn in range(1, rounds + 1):
        chosen = _program(tangents)
        if chosen is None:
            impossible = best is None and not tangents.dropped
            return _answer(best, nearest, bound, tangents, turn, impossible=impossible)
        x, bound = tangents.reachable(chosen[0]), chosen[1]
        values = tangents.look(x)
        over = _excess(problem, values, size, allowed)
        nearest = min(nearest, (over, values), key=lambda one: one[0])
        if over <= 0.0:
            reached = _objective(problem, x, values)
            if best is None or reached < best[0]:
                best = (reached, x, values)
            gap = reached - bound
            scale = size[0] if problem.budget is not None else max(abs(reached), 1e-9)
            if gap <= _WRONG * scale or problem.budget is None:
                # Without a budget the cost of a choice is known before it is asked about: the
                # first one that keeps the limits is the cheapest that the tangents allow.
                return _answer(best, nearest, bound, tangents, turn)
        elif any(np.array_equal(x, one) for one in tangents.seen_x[:-1]):
            break
    return _answer(best, nearest, bound, tangents, rounds, stopped=True)


def _answer(
    best: tuple[float, Floats, Floats] | None,
    nearest: tuple[float, Floats],
    bound: float,
    tangents: _Tangents,
    rounds: int,
    *,
    impossible: bool = False,
    stopped: bool = False,
) -> Found:
    return Found(
        units=None if best is None else best[1],
        values=nearest[1] if best is None else best[2],
        bound=bound,
        proven=not stopped and not tangents.dropped,
        impossible=impossible,
        rounds=rounds,
        asked=tangents.asked,
    )


def _excess(problem: Problem, values: Floats, size: Floats, allowed: Floats) -> float:
    return float(np.max((values - problem.limits) / size - allowed, initial=-math.inf))


def _objective(problem: Problem, x: Floats, values: Floats) -> float:
    return cost_of(problem, x) if problem.budget is None else float(values[0])


def cost_of(problem: Problem, x: Floats) -> float:
    """Return what trades cost, US dollars."""
    return float(np.abs(x) @ problem.cost + problem.fixed @ (x != 0.0))


def _program(tangents: _Tangents) -> tuple[Floats, float] | None:
    """Solve the program over bought and sold lots, yes-or-no, and the first requirement."""
    from scipy.optimize import Bounds, LinearConstraint, milp

    p, n = tangents.problem, tangents.problem.cost.size
    whole = np.isfinite(p.lot)
    unit = np.where(whole, p.lot, 1.0)
    up, down = p.high / unit, -p.low / unit
    up, down = (np.where(whole, np.floor(x + 1e-9), x) for x in (up, down))
    switched = p.most_trades is not None or bool((p.fixed > 0).any())
    extra = n if switched else 0
    width = 2 * n + extra + 1
    last = width - 1
    rows: list[Floats] = []
    low: list[float] = []
    high: list[float] = []

    def add(row: Floats, least: float, most: float) -> None:
        rows.append(row)
        low.append(least)
        high.append(most)

    for r, at, slope in zip(tangents.which, tangents.at, tangents.slope):
        scale, row = tangents.size[r], np.zeros(width)
        row[:n], row[n : 2 * n] = slope * unit / scale, -slope * unit / scale
        if math.isfinite(p.limits[r]):
            add(row, -math.inf, (p.limits[r] - at) / scale - tangents.spare[r])
        if r == 0:
            # In units of the requirement's size, so that the solver sees numbers near 1.
            mine = row.copy()
            mine[last] = -1.0
            add(mine, -math.inf, -at / scale)
    for line, least, most in zip(p.rows, p.floor, p.ceiling):
        scale, row = max(float(np.abs(line * unit).max()), 1e-300), np.zeros(width)
        row[:n], row[n : 2 * n] = line * unit / scale, -line * unit / scale
        add(row, least / scale, most / scale)
    cost = np.zeros(width)
    cost[:n] = cost[n : 2 * n] = p.cost * unit
    if switched:
        cost[2 * n : 3 * n] = p.fixed
        for j in range(n):
            row = np.zeros(width)
            row[j], row[n + j], row[2 * n + j] = 1.0, 1.0, -max(up[j], down[j])
            add(row, -math.inf, 0.0)
        if p.most_trades is not None:
            row = np.zeros(width)
            row[2 * n : 3 * n] = 1.0
            add(row, 0.0, float(p.most_trades))
    goal = cost.copy()
    if p.budget is not None:
        scale = max(p.budget, 1e-9)
        add(cost / scale, -math.inf, p.budget / scale)
        goal = np.zeros(width)
        goal[last] = 1.0
        # Of choices that require the same, a cheap one: far less than what a tangent can tell.
        goal[: 2 * n] = 1e-9 / scale * cost[: 2 * n]
    found = milp(
        goal / max(float(np.abs(goal).max()), 1e-300),
        constraints=LinearConstraint(np.array(rows), low, high) if rows else (),
        bounds=Bounds(
            np.concatenate([np.zeros(2 * n + extra), [-math.inf]]),
            np.concatenate([up, down, np.ones(extra), [math.inf]]),
        ),
        integrality=np.concatenate([whole, whole, np.ones(extra), [0]]).astype(int),
    )
    if found.x is None:
        return None
    lots = found.x[:n] - found.x[n : 2 * n]
    lots = np.where(whole, np.round(lots), np.where(np.abs(lots) < 1e-9 * (up + down), 0.0, lots))
    bound = float(found.mip_dual_bound) if found.mip_dual_bound is not None else float(found.fun)
    bound *= max(float(np.abs(goal).max()), 1e-300)
    return lots * unit, bound if p.budget is None else bound * tangents.size[0]
