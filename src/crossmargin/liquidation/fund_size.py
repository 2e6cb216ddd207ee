"""How large an insurance fund must be: paths of its balance, and the odds that it runs out.

Distributions of deficits are the caller's, drawn or recorded; here they are only laid against a
fund. These are estimates in floating point: what is paid is counted in quanta elsewhere
(:mod:`crossmargin.liquidation.waterfall`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.errors import LiquidationError
from crossmargin.stats import expected_shortfall, value_at_risk

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class FundPaths:
    """A fund along many paths.

    Attributes
    ----------
    balance : float64[paths, steps + 1]
        From the start on; never below 0.
    uncovered : float64[paths, steps]
        What the next layer had to bear.
    exhausted : float64[steps]
        Share of paths on which the fund has been empty with a loss left over by then.
    """

    balance: Floats
    uncovered: Floats
    exhausted: Floats


def _amounts(values: ArrayLike, field: str) -> Floats:
    """Return amounts of at least 0, or say which are none."""
    try:
        found = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise LiquidationError(
            f"{field} is no array of numbers", code="LIQ-001", field=field
        ) from None
    if not (np.isfinite(found).all() and (found >= 0.0).all()):
        raise LiquidationError(
            f"{field} holds something that is no finite number of at least 0",
            code="LIQ-001",
            field=field,
        )
    return found


def fund_paths(balance: float, deficits: ArrayLike, income: ArrayLike = 0.0) -> FundPaths:
    """Run a fund along paths of deficits.

    ``F' = F + income − min(F + income, D)``: what liquidations leave over arrives before the loss
    of the same step. Source: cascades.md §1.3 (fund recursion, published); which of the two comes
    first within a step is ours (house).

    Parameters
    ----------
    balance : float
        At the start, at least 0.
    deficits : array-like, (paths, steps)
        At least 0.
    income : array-like, broadcast
        Fees and residues of each step, at least 0.

    Raises
    ------
    LiquidationError
        ``LIQ-001`` for a negative figure.
    """
    loss = np.atleast_2d(_amounts(deficits, "deficits"))
    gain = _amounts(income, "income")
    try:
        gain = np.broadcast_to(gain, loss.shape)
    except ValueError:
        raise LiquidationError(
            f"income of the shape {gain.shape} for deficits of {loss.shape}",
            code="LIQ-001",
            field="income",
        ) from None
    balance = float(_amounts(balance, "balance"))
    held = np.empty((loss.shape[0], loss.shape[1] + 1))
    held[:, 0] = balance
    left = np.empty(loss.shape)
    for step in range(loss.shape[1]):
        have = held[:, step] + gain[:, step]
        paid = np.minimum(have, loss[:, step])
        held[:, step + 1] = have - paid
        left[:, step] = loss[:, step] - paid
    ever = np.maximum.accumulate(left > 0, axis=1)
    return FundPaths(balance=held, uncovered=left, exhausted=ever.mean(axis=0))


def exhaustion_curve(sizes: ArrayLike, deficits: ArrayLike) -> Floats:
    """Return P(deficit > fund) for each size of the fund.

    Source: requirements row B08 ("P(exhaustion) against fund size"); the empirical distribution.

    Parameters
    ----------
    sizes : array-like
        Funds, at least 0.
    deficits : array-like
        Equally likely deficits of one horizon, at least one.
    """
    losses = np.sort(_amounts(deficits, "deficits").ravel())
    if not losses.size:
        raise LiquidationError("there are no deficits", code="LIQ-001", field="deficits")
    covered = np.searchsorted(losses, _amounts(sizes, "sizes"), side="right")
    return np.asarray(1.0 - covered / losses.size, dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class FundSize:
    """Sizes of a fund for one distribution of deficits.

    Attributes
    ----------
    by_shortfall : float
        Expected shortfall of the deficits at the level.
    by_quantile : float
        Their quantile at the level: the fund is exceeded with the rest of the probability.
    by_cost : float or None
        ``VaR_{1 − r/κ}``: the static fund that is cheapest where its capital costs r and what it
        leaves uncovered κ, each per dollar; None where neither was given.
    """

    by_shortfall: float
    by_quantile: float
    by_cost: float | None


def fund_size(
    deficits: ArrayLike,
    level: float,
    *,
    capital_cost: float | None = None,
    shortfall_cost: float | None = None,
) -> FundSize:
    """Size a fund.

    Source: requirements row B08 ("sizing by ES of deficits"); Chitra, arXiv 2512.01112 and
    2602.15182, optimal static fund ``VaR_{1−r/κ}(D)`` (cascades.md §1.3, published).

    Parameters
    ----------
    deficits : array-like
        Equally likely deficits of one horizon.
    level : float
        Confidence, between 0 and 1.
    capital_cost, shortfall_cost : float, optional
        r and κ, ``0 < r < κ``; both or neither.

    Raises
    ------
    LiquidationError
        ``LIQ-001`` for costs that have no optimum.
    """
    by_cost = None
    losses = _amounts(deficits, "deficits")
    if not losses.size:
        raise LiquidationError("there are no deficits", code="LIQ-001", field="deficits")
    if not 0.0 < float(_amounts(level, "level")) < 1.0:
        raise LiquidationError("a confidence lies between 0 and 1", code="LIQ-001", field="level")
    if capital_cost is not None or shortfall_cost is not None:
        r = float(_amounts(capital_cost or 0.0, "capital_cost"))
        k = float(_amounts(shortfall_cost or 0.0, "shortfall_cost"))
        if not 0 < r < k:
            raise LiquidationError(
                "capital must cost something, and less than what it leaves uncovered",
                code="LIQ-001",
                field="capital_cost",
            )
        by_cost = value_at_risk(losses, 1.0 - r / k)
    return FundSize(
        by_shortfall=expected_shortfall(losses, level),
        by_quantile=value_at_risk(losses, level),
        by_cost=by_cost,
    )
