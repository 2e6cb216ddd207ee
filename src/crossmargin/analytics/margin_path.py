r"""The margin path: the requirement after each leg, and the order of legs with the lowest peak.

Legs that end in a hedged book can pass through one that needs far more: sell the short leg first
and its naked margin is asked for. Every set of legs already done is a node; an order is a path
from none to all of them; its peak is the largest requirement on the way, both ends included.

The order with the lowest peak solves

.. math:: f(S) = \max\bigl(M(S), \min_{i \in S} f(S \setminus \{i\})\bigr)

over subsets S. Nodes are taken up in the order of f, so that only those whose peak is below the
answer are ever evaluated (the argument is Dijkstra's, with max in place of the sum: Pollack 1960,
"The maximum capacity through a network"). Up to :data:`WHOLE` legs every subset is evaluated, and
among the orders with that peak the one with the least requirement on the way is taken, by dynamic
programming (Held and Karp 1962). Beyond that the search ends after `limit` subsets; what it then
holds is the best order found and a bound that no order can be below.

Source: style-and-ecosystem.md C.4, wish 20 (margin peak by order of legs). The search is house.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from crossmargin.book import AccountFile
from crossmargin.errors import MarginError
from crossmargin.margin import Ruleset, Trade, TradedAccount, account_totals
from crossmargin.market import Snapshot

Floats = NDArray[np.float64]

#: What is kept low: the requirement, or what the pots lack of it beside their equity.
Measure = Literal["im", "shortfall"]

#: Up to this many legs every subset is evaluated (4,096 of them).
WHOLE = 12

#: Legs at most: sets of legs are kept as the bits of one integer.
MOST_LEGS = 60

#: Positions of all copies that are evaluated in one pass.
_PASS_ROWS = 200_000


class PathStep(msgspec.Struct, frozen=True, kw_only=True):
    """The account after one more leg, US dollars; `leg` is null before the first.

    `available` is equity at the initial level less IM.
    """

    leg: int | None
    name: str
    im_usd: float
    mm_usd: float
    equity_im_usd: float
    available_usd: float


class OrderOfLegs(msgspec.Struct, frozen=True, kw_only=True):
    """One order of the legs and what is required on the way.

    Attributes
    ----------
    order : list of int
        Numbers of the legs as given, from 0.
    steps : list of PathStep
        Before the first leg and after each.
    peak_usd : float
        Largest value of what is kept low, both ends included.
    peak_at : int
        Number of legs done when it is reached first.
    """

    order: list[int]
    steps: list[PathStep]
    peak_usd: float
    peak_at: int


class MarginPath(msgspec.Struct, frozen=True, kw_only=True):
    """The path of the order given, and the best one.

    Attributes
    ----------
    account, ruleset : str
        Whose, by which rules.
    legs : list of str
        As given.
    measure : {"im", "shortfall"}
        What is kept low.
    given, best : OrderOfLegs
        The order given, and the one with the lowest peak found.
    exact : bool
        Whether no order has a lower peak.
    lower_bound_usd : float
        No order has a peak below this; the best one's own when `exact`.
    worst_usd : float or None
        Peak of the worst order; None where not all sets of legs were evaluated.
    evaluated : int
        Sets of legs evaluated.
    """

    account: str
    ruleset: str
    legs: list[str]
    measure: Measure
    given: OrderOfLegs
    best: OrderOfLegs
    exact: bool
    lower_bound_usd: float
    worst_usd: float | None
    evaluated: int


def margin_path(
    account: AccountFile,
    snapshot: Snapshot,
    ruleset: Ruleset,
    legs: Sequence[Trade],
    *,
    measure: Measure = "im",
    limit: int = 4_096,
) -> MarginPath:
    """Follow the requirement leg by leg, and find the order of legs with the lowest peak.

    Parameters
    ----------
    account, snapshot, ruleset
        As it stands.
    legs : sequence of Trade
        In the order they would be done; at most 60. Prices do not move on the way.
    measure : {"im", "shortfall"}
        Keep the initial margin low, or what it lacks beside the equity (a leg that pays a
        premium changes that).
    limit : int
        Sets of legs to evaluate at most where there are more than 12 legs.

    Returns
    -------
    MarginPath
        Exact up to 12 legs; beyond that it says whether it is.

    Raises
    ------
    MarginError
        ``MRG-024`` without legs or with too many; otherwise as :class:`TradedAccount`.
    """
    if not 1 <= len(legs) <= MOST_LEGS:
        raise MarginError(
            f"a path of {len(legs)} legs",
            code="MRG-024",
            account=account.account,
            field="legs",
            hint=f"give between 1 and {MOST_LEGS}",
        )
    nodes = _Nodes(TradedAccount(account, snapshot, ruleset, legs), measure)
    size = len(legs)
    given = list(range(size))
    worst: float | None = None
    if size <= WHOLE:
        nodes.want(range(1 << size))
        best, bound = least_peak(nodes.value, size), 0.0
        worst = max(nodes.value(s) for s in range(1 << size))
        exact = True
    else:
        best, bound, exact = _search(nodes, size, limit)
    best_order, given_order = nodes.path(best), nodes.path(given)
    if not exact and given_order.peak_usd < best_order.peak_usd:
        best_order = given_order
    exact = exact or best_order.peak_usd <= bound
    return MarginPath(
        account=account.account,
        ruleset=ruleset.id,
        legs=[_named(leg) for leg in legs],
        measure=measure,
        given=given_order,
        best=best_order,
        exact=exact,
        lower_bound_usd=best_order.peak_usd if exact else bound,
        worst_usd=worst,
        evaluated=nodes.evaluated,
    )


def _named(leg: Trade) -> str:
    side = "buy" if leg.quantity > 0 else "sell"
    return f"{side} {abs(leg.quantity):g} {leg.instrument}"


class _Nodes:
    """Values of sets of legs, evaluated in passes and kept."""

    def __init__(self, traded: TradedAccount, measure: Measure) -> None:
        self._traded, self._measure = traded, measure
        self._size = len(traded.trades)
        self._rows: dict[int, tuple[float, float, float, float]] = {}
        positions = max(1, traded.frame().book.position_quantity.size)
        self._pass = max(1, _PASS_ROWS // positions)

    @property
    def evaluated(self) -> int:
        """Sets evaluated so far."""
        return len(self._rows)

    def want(self, sets: Iterable[int]) -> None:
        """Evaluate what is not known yet."""
        missing = [s for s in dict.fromkeys(sets) if s not in self._rows]
        for first in range(0, len(missing), self._pass):
            part = missing[first : first + self._pass]
            made = np.array([[s >> k & 1 for k in range(self._size)] for s in part], dtype=bool)
            totals = account_totals(self._traded.many(made))
            columns = [totals[name].tolist() for name in ("im", "mm", "equity_im", "lacking")]
            self._rows.update(zip(part, zip(*columns)))

    def value(self, legs: int) -> float:
        """Return what is kept low for a set of legs done."""
        if legs not in self._rows:
            self.want([legs])
        im, _, _, lacking = self._rows[legs]
        return im if self._measure == "im" else lacking

    def path(self, order: Sequence[int]) -> OrderOfLegs:
        """Describe one order."""
        sets = [0]
        for k in order:
            sets.append(sets[-1] | 1 << k)
        self.want(sets)
        steps, values = [], [self.value(s) for s in sets]
        names: list[int | None] = [None, *order]
        for leg, s in zip(names, sets):
            im, mm, equity, _ = self._rows[s]
            steps.append(
                PathStep(
                    leg=leg,
                    name="as it stands" if leg is None else _named(self._traded.trades[leg]),
                    im_usd=im,
                    mm_usd=mm,
                    equity_im_usd=equity,
                    available_usd=equity - im,
                )
            )
        peak = max(values)
        return OrderOfLegs(
            order=list(order), steps=steps, peak_usd=peak, peak_at=values.index(peak)
        )


def least_peak(value: Callable[[int], float], size: int) -> list[int]:
    """Return the order with the lowest peak, by dynamic programming over all subsets.

    Of several, the one whose values add up to least; of those, the one that keeps to the order
    given.

    Parameters
    ----------
    value : callable
        Of a set of legs, as bits.
    size : int
        Number of legs.
    """
    whole = (1 << size) - 1
    peak = [math.inf] * (whole + 1)
    peak[0] = value(0)
    for s in range(1, whole + 1):
        below = min(peak[s & ~(1 << k)] for k in range(size) if s >> k & 1)
        peak[s] = max(value(s), below)
    best = peak[whole]
    total = [math.inf] * (whole + 1)
    last = [-1] * (whole + 1)
    total[0] = value(0)
    for s in range(1, whole + 1):
        here = value(s)
        if here > best:
            continue
        for k in range(size - 1, -1, -1):
            before = total[s & ~(1 << k)] if s >> k & 1 else math.inf
            if before + here < total[s]:
                total[s], last[s] = before + here, k
    order, s = [], whole
    while s:
        order.append(last[s])
        s &= ~(1 << last[s])
    return order[::-1]


def _search(nodes: _Nodes, size: int, limit: int) -> tuple[list[int], float, bool]:
    """Take up sets in the order of the peak on the way to them, until all legs are done.

    Returns the order, the bound that no order is below, and whether it is proved.
    """
    whole = (1 << size) - 1
    nodes.want([0, whole])
    floor = max(nodes.value(0), nodes.value(whole))
    greedy = _greedy(nodes, size)
    best = nodes.path(greedy).peak_usd
    if best <= floor:
        return greedy, best, True
    before: dict[int, int] = {}
    known = {0: floor}
    count = itertools.count()
    heap = [(floor, 0, next(count), 0)]
    while heap:
        peak, missing, _, s = heapq.heappop(heap)
        if peak >= best:
            return greedy, best, True
        if s == whole:
            return _back(before, s), peak, True
        if nodes.evaluated + size > limit:
            return greedy, peak, False
        ahead = [k for k in range(size) if not s >> k & 1]
        nodes.want(s | 1 << k for k in ahead)
        for k in ahead:
            there = s | 1 << k
            value = max(peak, nodes.value(there))
            if value < known.get(there, math.inf):
                known[there], before[there] = value, k
                heapq.heappush(heap, (value, missing - 1, next(count), there))
    return greedy, best, True


def _greedy(nodes: _Nodes, size: int) -> list[int]:
    """Take the leg that leaves least at every step."""
    order: list[int] = []
    done = 0
    while len(order) < size:
        ahead = [k for k in range(size) if not done >> k & 1]
        nodes.want(done | 1 << k for k in ahead)
        best = min(ahead, key=lambda k: (nodes.value(done | 1 << k), k))
        order.append(best)
        done |= 1 << best
    return order


def _back(before: dict[int, int], s: int) -> list[int]:
    order = []
    while s:
        order.append(before[s])
        s &= ~(1 << before[s])
    return order[::-1]
