"""Finding where a number changes sign: steps away from today, and closing in on a crossing.

The functions below know nothing of margin. A *safe* point is one where the value is at least 0,
a *dead* one where it is less; a crossing is always held between the two, and both have been
evaluated. Source: house; regula falsi with the Illinois step is textbook (Dowell and Jarratt,
BIT 11, 1971), used here with bisection at jumps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

Value = Callable[[float], float]

#: Step in log-price near today's price, and farther away. A gap narrower than a step may be
#: missed.
FINE, COARSE, FINE_REACH = 0.03, 0.20, 0.6


def outward(sign: float, limit: float) -> Iterator[float]:
    """Yield points from 0 (left out) to `limit`, fine steps first, coarse ones beyond.

    Parameters
    ----------
    sign : {-1.0, 1.0}
        Direction.
    limit : float
        Last point, of the same sign.
    """
    here = 0.0
    while abs(here) < abs(limit):
        step = FINE if abs(here) < FINE_REACH - 1e-9 else COARSE
        here = max(here - step, limit) if sign < 0 else min(here + step, limit)
        yield here


@dataclass(frozen=True, slots=True)
class Bracket:
    """A crossing between two evaluated points.

    Attributes
    ----------
    safe, at_safe : float
        Point where the value is at least 0, and the value.
    dead, at_dead : float or None
        Point where it is below 0; None when there is none within the search.
    """

    safe: float
    at_safe: float
    dead: float | None
    at_dead: float | None


def close_in(
    value: Value, safe: float, f_safe: float, dead: float, f_dead: float, *, width: float = 1e-13
) -> Bracket:
    """Narrow a bracket: Illinois steps, bisection where they stall (jumps).

    Parameters
    ----------
    value : callable
        Evaluated at most 200 times.
    safe, f_safe, dead, f_dead : float
        Ends with values at least 0 and below 0.
    width : float
        Ends are at most this far apart when it returns, or neighbouring numbers.
    """
    stuck = last = 0
    patience = 3
    true_safe, true_dead = f_safe, f_dead
    for _ in range(200):
        if abs(dead - safe) <= 4e-16 * max(1.0, abs(dead)) or f_dead == 0.0:
            break
        middle = 0.5 * (safe + dead)
        if stuck < patience and f_safe != f_dead:
            secant = safe + (dead - safe) * f_safe / (f_safe - f_dead)
            if min(safe, dead) < secant < max(safe, dead):
                middle = _apart(secant, safe, dead, 0.45 * width)
        else:
            # At a jump the secant learns nothing: it is tried less and less.
            stuck, patience = 0, max(0, patience - 1)
        before = abs(dead - safe)
        f_mid = value(middle)
        if f_mid < 0:
            dead, f_dead, true_dead = middle, f_mid, f_mid
            # Halved only when the same side moves twice running: halving always would turn
            # every step into little more than a bisection.
            f_safe *= 0.5 if last < 0 else 1.0
            last = -1
        else:
            safe, f_safe, true_safe = middle, f_mid, f_mid
            f_dead *= 0.5 if last > 0 else 1.0
            last = 1
        stuck = stuck + 1 if abs(dead - safe) > 0.5 * before else 0
        if abs(math.expm1(dead - safe)) < width:
            break
    return Bracket(safe, true_safe, dead, true_dead)


def _apart(point: float, safe: float, dead: float, least: float) -> float:
    """Keep a step at least this far from both ends, so that the far end is brought in as well."""
    if abs(dead - safe) <= 2.0 * least:
        return point
    toward = math.copysign(least, dead - safe)
    if abs(point - safe) < least:
        return safe + toward
    return dead - toward if abs(dead - point) < least else point


@dataclass(frozen=True, slots=True)
class Prefix:
    """How far a condition holds without a break, from 0 on.

    Attributes
    ----------
    bracket : Bracket
        The largest point up to which it holds, and the next one that fails. `safe` is 0 when
        no positive point was found; `dead` is None when it holds up to the cap.
    evaluations : int
        How often the condition was evaluated.
    """

    bracket: Bracket
    evaluations: int


def largest_prefix(
    value: Value,
    first: float,
    cap: float,
    *,
    least: float,
    marks: Sequence[float] = (),
    parts: int = 16,
) -> Prefix:
    """Find the largest x such that the value is at least 0 at every point from 0 to x.

    The walk begins at `first` (below it where that fails), doubles, visits the `marks` on its
    way, and closes in on the first failure. Then every `parts`-th share of the answer is looked
    at again, so that a dip inside is not jumped over; a dip narrower than that may be missed
    where the value is not concave.

    Parameters
    ----------
    value : callable
        Of a positive number.
    first : float
        A positive guess of the right size.
    cap : float
        Where the search ends.
    least : float
        The smallest answer that is one: when it fails, none is found.
    marks : sequence of float
        Points where the value may have a kink, such as the size that makes a position flat.
    parts : int
        Shares of the answer that are looked at again.
    """
    known: dict[float, float] = {}

    def at(x: float) -> float:
        if x not in known:
            known[x] = value(x)
        return known[x]

    least = min(least, cap)
    if at(least) < 0:
        return Prefix(Bracket(0.0, 0.0, least, at(least)), len(known))
    found = _walk(at, first, cap, least, marks)
    for _ in range(8):
        shares = {found.safe * j / parts for j in range(1, parts)} | set(marks)
        inner = sorted(x for x in shares if least < x < found.safe)
        failed = next((x for x in inner if at(x) < 0), None)
        if failed is None:
            break
        below = max((x for x in inner if x < failed), default=least)
        found = _between(at, below, failed)
    return Prefix(found, len(known))


def _walk(at: Value, first: float, cap: float, least: float, marks: Sequence[float]) -> Bracket:
    """Walk outward until the value is negative; see :func:`largest_prefix`."""
    x = first = min(max(first, least), cap)
    points = {cap, *(m for m in marks if least < m < cap)}
    while x < cap:
        points.add(x)
        x *= 2.0
    if at(first) < 0:
        # Far too far: come down by big steps, then walk from there.
        x = first
        while x > least and at(x) < 0:
            points.add(x)
            x /= 8.0
        points.add(max(x, least))
    safe = least
    for x in sorted(points):
        if at(x) < 0:
            return _between(at, safe, x)
        safe = x
    return Bracket(cap, at(cap), None, None)


def _between(at: Value, safe: float, dead: float) -> Bracket:
    """Close in between a point that passes and one that fails, relative to the latter."""
    found = close_in(lambda u: at(u * dead), safe / dead, at(safe), 1.0, at(dead))
    assert found.dead is not None
    return replace(found, safe=found.safe * dead, dead=found.dead * dead)
