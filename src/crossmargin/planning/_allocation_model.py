"""The program behind an allocation: linear limits, and switches of yes or no, for HiGHS."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from crossmargin.errors import PlanningError
from crossmargin.planning.allocation_types import Strategy

Floats = NDArray[np.float64]

#: A unit of a strategy below this is written as none.
_NOTHING = 1e-9


class AllocationModel:
    """Linear constraints over units x, margin M, and what limits add; columns in that order."""

    def __init__(self, strategies: Sequence[Strategy], p: Floats, scan: Floats | None) -> None:
        self.k, self.p = len(strategies), p
        self.strategies, self.scan = strategies, scan
        self.cost = [-s.profit for s in strategies] + [0.0]
        self.low = [0.0] * (self.k + 1)
        self.high = [float(s.most) for s in strategies] + [math.inf]
        self.whole = [0] * (self.k + 1)
        self._switches: list[tuple[int, list[int]]] = []
        self.rows: list[tuple[NDArray[np.int64], Floats, float]] = []
        # M is at least the margin of the plan: its limit, and maintenance, are built on it.
        if scan is None:
            self.below({**{k: s.im for k, s in enumerate(strategies)}, self.k: -1.0}, 0.0)
        else:
            for row in scan:
                self.below({**{k: -float(x) for k, x in enumerate(row)}, self.k: -1.0}, 0.0)

    def column(self, low: float, high: float, *, whole: bool = False) -> int:
        """Add a variable and return its column."""
        self.cost.append(0.0)
        self.low.append(low)
        self.high.append(high)
        self.whole.append(int(whole))
        return len(self.cost) - 1

    def below(self, terms: dict[int, float], limit: float) -> None:
        """Add ``Σ terms ≤ limit``."""
        self.rows.append(
            (np.array(list(terms), dtype=np.int64), np.array(list(terms.values())), limit)
        )

    def margin(self, limit: float) -> None:
        """Put the margin of the plan under a limit."""
        self.below({self.k: 1.0}, limit)

    def venue(self, venue: str, limit: float) -> None:
        """Put the margins at a venue, summed as if alone, under a limit."""
        terms = {k: s.im for k, s in enumerate(self.strategies) if s.venue == venue}
        if not terms:
            raise PlanningError(
                f"no strategy is held at {venue!r}", code="PLN-001", field="venue_im"
            )
        self.below(terms, limit)

    def capital(
        self, equity: float, reserves: Mapping[str, float], balances: Mapping[str, float]
    ) -> None:
        """Put margin and reserve of every venue under what is there, or can be brought there."""
        free: dict[int, float] = {}
        for venue in sorted({s.venue for s in self.strategies}):
            need = self._need(venue, reserves.get(venue, 0.0))
            if venue in balances:
                self.below(need, balances[venue])
            else:
                free.update(need)
        if free:
            self.below(free, equity - sum(balances.values()))

    def _need(self, venue: str, reserve: float) -> dict[int, float]:
        """Return the columns whose sum is a venue's margin and reserve."""
        mine = [k for k, s in enumerate(self.strategies) if s.venue == venue]
        need: dict[int, float] = {}
        if self.scan is None:
            need = {k: self.strategies[k].im for k in mine}
        else:
            margin = self.column(0.0, math.inf)
            for row in self.scan:
                self.below({**{k: -float(row[k]) for k in mine}, margin: -1.0}, 0.0)
            need = {margin: 1.0}
        if reserve > 0:
            used = self.column(0.0, 1.0, whole=True)
            for k in mine:
                self.below({k: 1.0, used: -self._most(k, "a reserve")}, 0.0)
            self._switches.append((used, mine))
            need[used] = reserve
        return need

    def _most(self, k: int, why: str) -> float:
        """Return the most units that a plan within the margin can have of a strategy."""
        most = min(self.strategies[k].most, self._largest(k, self.strategies[k]))
        if not math.isfinite(most):
            raise PlanningError(
                f"{why} needs a bound on every strategy", code="PLN-004", field="most",
                hint="give each strategy the most units it may have",
            )  # fmt: skip
        return most

    def shortfall(self, limit: float, level: float) -> None:
        """Put the expected shortfall under a limit (Rockafellar and Uryasev 2000)."""
        n = self.p.shape[0]
        threshold = self.column(-math.inf, math.inf)
        weight = 1.0 / (n * (1.0 - level))
        total = {threshold: 1.0}
        for row in self.p:
            over = self.column(0.0, math.inf)
            total[over] = weight
            self.below(
                {**{k: -float(x) for k, x in enumerate(row)}, threshold: -1.0, over: -1.0}, 0.0
            )
        self.below(total, limit)

    def liquidation(self, share: float, equity: float, mm_share: float) -> None:
        """Let at most a share of the scenarios lose the buffer over maintenance."""
        n = self.p.shape[0]
        # The largest shortfall that any plan within the margin can have bounds the switch.
        room = [self._most(k, "a limit on the chance of liquidation") for k in range(self.k)]
        total: dict[int, float] = {}
        for row in self.p:
            worst = float(np.maximum(-row, 0.0) @ np.asarray(room)) + mm_share * self._top()
            bad = self.column(0.0, 1.0, whole=True)
            total[bad] = 1.0
            self.below(
                {**{k: -float(x) for k, x in enumerate(row)}, self.k: mm_share, bad: -worst},
                equity,
            )
        self.below(total, math.floor(share * n + 1e-9))

    def _largest(self, k: int, strategy: Strategy) -> float:
        # Where hedges net, margin alone bounds nothing.
        netted = self.scan is not None or strategy.im <= 0
        return math.inf if netted else self._top() / strategy.im

    def _top(self) -> float:
        return next(limit for at, _, limit in self.rows if at.size == 1 and at[0] == self.k)

    def solve(self) -> Floats:
        """Return the units of the best plan."""
        from scipy.optimize import Bounds, LinearConstraint, milp
        from scipy.sparse import csr_array

        counts = np.array([at.size for at, _, _ in self.rows])
        matrix = csr_array(
            (
                np.concatenate([x for _, x, _ in self.rows]),
                np.concatenate([at for at, _, _ in self.rows]),
                np.concatenate([[0], np.cumsum(counts)]),
            ),
            shape=(len(self.rows), len(self.cost)),
        )
        found = milp(
            np.array(self.cost),
            constraints=LinearConstraint(matrix, ub=[limit for _, _, limit in self.rows]),
            bounds=Bounds(np.array(self.low), np.array(self.high)),
            integrality=np.array(self.whole),
        )
        if found.x is None:
            why = "no plan keeps all limits" if found.status == 2 else "profit has no end"
            raise PlanningError(
                f"{why} ({str(found.message).strip().rstrip('.')})", code="PLN-004",
                field="strategies",
                hint="bound the strategies, or loosen a limit",
            )  # fmt: skip
        units = np.asarray(found.x[: self.k], dtype=np.float64)
        for used, mine in self._switches:
            # A switch is off to the solver's tolerance: so are the units behind it.
            if found.x[used] < 0.5:
                units[mine] = 0.0
        return np.where(units < _NOTHING, 0.0, units)
