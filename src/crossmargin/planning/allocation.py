"""Capital over strategies: who bears which risk, and what earns most inside the limits.

A strategy is one unit of anything that has a return a period, a profit in each scenario, and a
requirement a unit; a plan holds so many units of each. Amounts are US dollars.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.errors import PlanningError
from crossmargin.planning._checks import positive, series, square, within
from crossmargin.stats import expected_shortfall

Floats = NDArray[np.float64]

#: Risk budgets are met to this, relative to each.
_BUDGET = 1e-12
#: A unit of a strategy below this is written as none.
_NOTHING = 1e-9


def volatility_contributions(weights: ArrayLike, covariance: ArrayLike) -> Floats:
    """Return Euler's split of volatility: ``w_k (Σw)_k / σ``; it sums to σ."""
    w = series(weights, "weights")
    c = square(covariance, "covariance", w.size)
    sigma = math.sqrt(max(float(w @ c @ w), 0.0))
    return np.zeros_like(w) if sigma == 0 else np.asarray(w * (c @ w) / sigma)


def shortfall_contributions(weights: ArrayLike, profits: ArrayLike, level: float) -> Floats:
    """Return Euler's split of expected shortfall: the mean loss of each over the tail.

    The scenario at the edge of the tail counts in part, as in
    :func:`crossmargin.stats.expected_shortfall`, so that the parts sum to it; of scenarios that
    tie at the edge the earlier ones are in the tail. Source: requirements row A03.

    Parameters
    ----------
    weights : array_like
        ``[K]`` units.
    profits : array_like
        ``[S, K]`` profit of a unit in each scenario.
    level : float
        Confidence.
    """
    w = series(weights, "weights")
    p = _profits(profits, w.size)
    losses = -(p @ w)
    m = losses.size * (1.0 - level)
    within(0.0, 1.0, level=level)
    order = np.argsort(-losses, kind="stable")
    whole = min(math.floor(m + 1e-9), losses.size)
    counts = np.zeros(losses.size)
    counts[order[:whole]] = 1.0
    if whole < losses.size:
        counts[order[whole]] = max(m - whole, 0.0)
    return np.asarray(-(counts @ p) * w / m)


def worst_contributions(weights: ArrayLike, profits: ArrayLike) -> tuple[Floats, int]:
    """Return each position's loss in the worst scenario, and which it is; they sum to the scan.

    Source: requirements row A03 (long 1 BTC perp and short 0.5 future at 50,000 on ±16 %:
    4,000 = 8,000 − 4,000). Nothing is required where no scenario loses.
    """
    w = series(weights, "weights")
    p = _profits(profits, w.size)
    at = int(np.argmin(p @ w))
    parts = -(p[at] * w)
    return (parts if parts.sum() > 0 else np.zeros_like(parts)), at


def _profits(profits: ArrayLike, size: int) -> Floats:
    p = np.asarray(profits, dtype=np.float64)
    if p.ndim != 2 or p.shape[1] != size or p.shape[0] < 1 or not np.isfinite(p).all():
        raise PlanningError(
            f"profits are a finite table: a row for each scenario, {size} columns",
            code="PLN-001",
            field="profits",
        )
    return p


def risk_budget_weights(
    covariance: ArrayLike, budgets: ArrayLike | None = None, *, most: int = 10_000
) -> Floats:
    """Return the long-only weights whose risk contributions stand as the budgets, or are equal.

    ``min ½xᵀΣx − Σ b_i ln x_i``, then ``w = x/Σx``, by cyclical descent (each coordinate is a
    quadratic's positive root). Source: Maillard, Roncalli and Teïletche (2010), Spinu (2013),
    Griveau-Billion et al. (2013) as named in clearing-practice §4.2 (check 19.69/32.44/47.87 %).

    Parameters
    ----------
    covariance : array_like
        Positive definite.
    budgets : array_like, optional
        Shares of risk, above 0; scaled to sum to 1.
    most : int
        Rounds at most.

    Raises
    ------
    PlanningError
        ``PLN-001``, ``PLN-004`` when the budgets are not met within the rounds.
    """
    c = square(covariance, "covariance")
    n = c.shape[0]
    b = np.full(n, 1.0 / n) if budgets is None else series(budgets, "budgets")
    if b.size != n or (b <= 0).any() or (np.diag(c) <= 0).any():
        raise PlanningError(
            "every asset has a variance and a budget above 0", code="PLN-001", field="budgets",
            hint="leave out what is to carry no risk",
        )  # fmt: skip
    b = b / b.sum()
    x = np.sqrt(b / np.diag(c))
    for _ in range(most):
        for k in range(n):
            rest = float(c[k] @ x - c[k, k] * x[k])
            x[k] = (-rest + math.sqrt(rest * rest + 4.0 * c[k, k] * b[k])) / (2.0 * c[k, k])
        found = x * (c @ x)
        if (np.abs(found / found.sum() - b) <= _BUDGET * b).all():
            return np.asarray(x / x.sum())
    raise PlanningError(
        f"risk budgets are not met in {most:,} rounds", code="PLN-004", field="covariance",
        hint="the covariance is close to singular: shrink it",
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """One unit of something that capital can be given to.

    Attributes
    ----------
    name : str
    profit : float
        Expected a period, US dollars a unit.
    im : float
        Initial margin a unit, where the plan adds margins up.
    most : float
        Units at most.
    venue : str
        Where it is held.
    """

    name: str
    profit: float
    im: float
    most: float = math.inf
    venue: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AllocationLine:
    """What a strategy gets.

    Attributes
    ----------
    name, venue : str
    units : float
    im, profit : float
        Of all its units, US dollars; margins summed as if alone.
    shortfall : float
        Its Euler share of the plan's expected shortfall.
    return_on_margin : float or None
        Profit over margin.
    """

    name: str
    venue: str
    units: float
    im: float
    profit: float
    shortfall: float
    return_on_margin: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """A plan.

    Attributes
    ----------
    lines : tuple of AllocationLine
        Every strategy.
    profit, im, shortfall : float
        Of the plan, US dollars a period; `im` as the plan counts it.
    liquidation : float
        Share of scenarios that lose the buffer over maintenance margin.
    binding : tuple of str
        Limits that are met with equality.
    level : float
        Of the shortfall.
    """

    lines: tuple[AllocationLine, ...]
    profit: float
    im: float
    shortfall: float
    liquidation: float
    binding: tuple[str, ...]
    level: float


def allocate(
    strategies: Sequence[Strategy],
    profits: ArrayLike,
    *,
    equity: float,
    im_share: float = 1.0,
    shortfall: float | None = None,
    level: float = 0.99,
    liquidation: float | None = None,
    mm_share: float = 0.5,
    scan: ArrayLike | None = None,
    venue_im: dict[str, float] | None = None,
) -> Allocation:
    """Earn most inside limits on margin, shortfall, and the chance of liquidation.

    Maximise ``Σ μ_k x_k`` over ``0 ≤ x_k ≤ most`` with

    - margin: ``Σ im_k x_k ≤ u·E``, or with `scan` the worst of its scenarios (portfolio margin:
      hedges net), ``max_s −(T_s·x) ≤ u·E``;
    - expected shortfall: ``ES_α(−P·x) ≤ limit``, as linear constraints of Rockafellar and
      Uryasev (2000);
    - liquidation: in at most a share ε of the scenarios ``P_s·x + E < mm_share·margin``, with a
      yes-or-no variable a scenario (mixed-integer);
    - margin a venue can take.

    Solved by HiGHS; the answer is computed again from the figures, not read off the solver. Source:
    requirements row A03.

    Parameters
    ----------
    strategies : sequence of Strategy
        At least one; a short is a strategy of its own.
    profits : array_like
        ``[S, K]``, a unit's profit in each equally likely scenario of a period, US dollars.
    equity : float
        US dollars.
    im_share : float
        u: share of equity that may be initial margin.
    shortfall : float, optional
        US dollars.
    level : float
        α.
    liquidation : float, optional
        ε.
    mm_share : float
        Maintenance over initial margin.
    scan : array_like, optional
        ``[C, K]``, a unit's profit in each scenario of the margin.
    venue_im : dict, optional
        Initial margin that a venue may hold at most, by its name; summed as if alone.

    Raises
    ------
    PlanningError
        ``PLN-004`` no plan, or one without an end.
    """
    p = _profits(profits, len(strategies))
    _check_strategies(strategies)
    positive(equity=equity, shortfall=shortfall)
    within(0.0, 1.0, im_share=im_share, liquidation=liquidation, mm_share=mm_share)
    within(0.5, 0.9999, level=level)
    table = None if scan is None else _profits(scan, len(strategies))
    model = _Model(strategies, p, table)
    model.margin(im_share * equity)
    for venue, limit in (venue_im or {}).items():
        model.venue(venue, limit)
    if shortfall is not None:
        model.shortfall(shortfall, level)
    if liquidation is not None:
        model.liquidation(liquidation, equity, mm_share)
    units = model.solve()
    return _plan(
        strategies, p, table, units, equity=equity, im_share=im_share, shortfall=shortfall,
        level=level, liquidation=liquidation, mm_share=mm_share, venue_im=venue_im or {},
    )  # fmt: skip


def _check_strategies(strategies: Sequence[Strategy]) -> None:
    names = [s.name for s in strategies]
    if not names or len(set(names)) != len(names):
        raise PlanningError(
            "strategies have names of their own, and there is at least one", code="PLN-001",
            field="strategies",
        )  # fmt: skip
    for s in strategies:
        if not (math.isfinite(s.profit) and math.isfinite(s.im) and s.im >= 0 and s.most >= 0):
            raise PlanningError(
                f"strategy {s.name!r} has a finite profit and a margin of at least 0",
                code="PLN-001",
                field="strategies",
            )


class _Model:
    """Linear constraints over units x, margin M, and what limits add; columns in that order."""

    def __init__(self, strategies: Sequence[Strategy], p: Floats, scan: Floats | None) -> None:
        self.k, self.p = len(strategies), p
        self.strategies = strategies
        self.cost = [-s.profit for s in strategies] + [0.0]
        self.low = [0.0] * (self.k + 1)
        self.high = [float(s.most) for s in strategies] + [math.inf]
        self.whole = [0] * (self.k + 1)
        self.rows: list[tuple[NDArray[np.int64], Floats, float]] = []
        # M is at least the margin of the plan: its limit, and maintenance, are built on it.
        if scan is None:
            self.below({**{k: s.im for k, s in enumerate(strategies)}, self.k: -1.0}, 0.0)
        else:
            for row in scan:
                self.below({**{k: -float(x) for k, x in enumerate(row)}, self.k: -1.0}, 0.0)

    def column(self, low: float, high: float, *, whole: bool = False) -> int:
        self.cost.append(0.0)
        self.low.append(low)
        self.high.append(high)
        self.whole.append(int(whole))
        return len(self.cost) - 1

    def below(self, terms: dict[int, float], limit: float) -> None:
        self.rows.append(
            (np.array(list(terms), dtype=np.int64), np.array(list(terms.values())), limit)
        )

    def margin(self, limit: float) -> None:
        self.below({self.k: 1.0}, limit)

    def venue(self, venue: str, limit: float) -> None:
        terms = {k: s.im for k, s in enumerate(self.strategies) if s.venue == venue}
        if not terms:
            raise PlanningError(
                f"no strategy is held at {venue!r}", code="PLN-001", field="venue_im"
            )
        self.below(terms, limit)

    def shortfall(self, limit: float, level: float) -> None:
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
        n = self.p.shape[0]
        # The largest shortfall that any plan within the margin can have bounds the switch.
        room = [min(s.most, self._largest(k, s)) for k, s in enumerate(self.strategies)]
        if not np.isfinite(room).all():
            raise PlanningError(
                "a limit on the chance of liquidation needs a bound on every strategy",
                code="PLN-004",
                field="most",
                hint="give each strategy the most units it may have",
            )
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
        return self._top() / strategy.im if strategy.im > 0 else math.inf

    def _top(self) -> float:
        return next(limit for at, _, limit in self.rows if at.size == 1 and at[0] == self.k)

    def solve(self) -> Floats:
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
        return np.where(units < _NOTHING, 0.0, units)


def _plan(
    strategies: Sequence[Strategy],
    p: Floats,
    scan: Floats | None,
    units: Floats,
    *,
    equity: float,
    im_share: float,
    shortfall: float | None,
    level: float,
    liquidation: float | None,
    mm_share: float,
    venue_im: dict[str, float],
) -> Allocation:
    alone = np.array([s.im for s in strategies]) * units
    im = float(alone.sum()) if scan is None else max(0.0, float(-(scan @ units).min()))
    result = p @ units
    es = expected_shortfall(-result, level)
    dead = float((result + equity < mm_share * im - 1e-9 * equity).mean())
    earned = np.array([s.profit for s in strategies]) * units
    shares = shortfall_contributions(units, p, level)
    binding = []
    if im >= im_share * equity * (1 - 1e-6):
        binding.append("margin")
    if shortfall is not None and es >= shortfall * (1 - 1e-6):
        binding.append("shortfall")
    if liquidation is not None and dead >= math.floor(liquidation * len(p) + 1e-9) / len(p):
        binding.append("liquidation")
    for venue, limit in venue_im.items():
        here = sum(x for s, x in zip(strategies, alone.tolist()) if s.venue == venue)
        if here >= limit * (1 - 1e-6):
            binding.append(f"venue {venue}")
    binding += [f"most {s.name}" for s, x in zip(strategies, units) if x >= s.most * (1 - 1e-9) > 0]
    lines = tuple(
        AllocationLine(
            name=s.name,
            venue=s.venue,
            units=float(units[k]),
            im=float(alone[k]),
            profit=float(earned[k]),
            shortfall=float(shares[k]),
            return_on_margin=s.profit / s.im if s.im > 0 else None,
        )
        for k, s in enumerate(strategies)
    )
    return Allocation(
        lines=lines,
        profit=float(earned.sum()),
        im=im,
        shortfall=es,
        liquidation=dead,
        binding=tuple(binding),
        level=level,
    )


def margin_frontier(
    strategies: Sequence[Strategy], profits: ArrayLike, *, equity: float, points: int = 11,
    level: float = 0.99, scan: ArrayLike | None = None,
) -> list[Allocation]:  # fmt: skip
    """Return the best plan at each of several limits of shortfall, from least to most.

    The efficient frontier on margin rather than variance (requirements row A03): the last point is
    the plan with no limit but margin, the others have a share of its shortfall.
    """
    if points < 2:
        raise PlanningError("a frontier has at least 2 points", code="PLN-003", field="points")
    last = allocate(strategies, profits, equity=equity, level=level, scan=scan)
    if last.shortfall <= 0:
        return [last]
    made = [
        allocate(
            strategies, profits, equity=equity, level=level, scan=scan,
            shortfall=last.shortfall * k / (points - 1),
        )
        for k in range(1, points - 1)
    ]  # fmt: skip
    return [*made, last]
