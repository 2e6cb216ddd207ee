"""Who bears which risk: Euler's shares of volatility, shortfall and scan, and risk budgets."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.errors import PlanningError
from crossmargin.planning._checks import series, square

Floats = NDArray[np.float64]

#: Risk budgets are met to this, relative to each.
_BUDGET = 1e-12


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
    p = profits_table(profits, w.size)
    losses = -(p @ w)
    if not 0.0 <= level < 1.0:
        raise PlanningError(
            f"level is {level:g}, and a tail is left only below 1", code="PLN-003", field="level"
        )
    m = losses.size * (1.0 - level)
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
    p = profits_table(profits, w.size)
    at = int(np.argmin(p @ w))
    parts = -(p[at] * w)
    return (parts if parts.sum() > 0 else np.zeros_like(parts)), at


def profits_table(profits: ArrayLike, size: int) -> Floats:
    """Return profits ``[S, K]``, or say what is wrong with them."""
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
