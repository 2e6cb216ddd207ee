"""Splitting integers: largest remainder, water-filling, and the rules that share a loss.

Money here is Python ``int`` quanta and contracts are whole lots: every rule gives parts that sum
exactly to what was to be shared, with no part beyond its cap.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.errors import LiquidationError, invariant

Floats = NDArray[np.float64]


def largest_remainder(total: int, weights: Sequence[int]) -> list[int]:
    """Split `total` pro rata on whole weights, exactly; ties go to the earlier row.

    Each part is its quota rounded down or up, so that with ``total ≤ Σ weights`` no part exceeds
    its weight. Source: the method of Hamilton, textbook; house for its use here.

    Raises
    ------
    LiquidationError
        ``LIQ-001`` for a negative total or weight, or nothing to share over.
    """
    if total < 0 or any(w < 0 for w in weights):
        raise LiquidationError(
            "what is shared and what it is shared by are at least 0",
            code="LIQ-001",
            field="weights",
        )
    whole = sum(weights)
    if total == 0:
        return [0] * len(weights)
    if whole == 0:
        raise LiquidationError("there is nobody to share over", code="LIQ-005", field="weights")
    parts, rests = [], []
    for row, weight in enumerate(weights):
        part, rest = divmod(total * weight, whole)
        parts.append(part)
        rests.append((-rest, row))
    for _, row in sorted(rests)[: total - sum(parts)]:
        parts[row] += 1
    return parts


@dataclass(frozen=True, slots=True)
class Filled:
    """A level of water and the heights it gives.

    Attributes
    ----------
    height : float64[n]
        ``min(cap, level·slope)``.
    level : float
        The level; infinite where every cap is reached.
    left : float
        What no cap had room for, at least 0.
    """

    height: Floats
    level: float
    left: float


def water_fill(needed: float, weight: ArrayLike, cap: ArrayLike, slope: ArrayLike = 1.0) -> Filled:
    """Find the level t such that ``Σ wᵢ·min(βᵢ, t·aᵢ) = needed``, in O(n log n).

    With a = 1 this is the capped pro-rata rule ``hᵢ = min(η, βᵢ)``, which its source names the
    only one that is Sybil-resistant, scale-invariant and monotone; with ``aᵢ = λᵢ·g(λᵢ)`` it is
    the risk-aware rule. Source: Chitra, arXiv 2512.01112 (cascades.md §3.3, published).

    Parameters
    ----------
    needed : float
        At least 0.
    weight, cap, slope : array-like, broadcast
        Endowments w ≥ 0, caps β ≥ 0, slopes a ≥ 0.

    Raises
    ------
    LiquidationError
        ``LIQ-001`` for negative figures.
    """
    w, beta, a = np.broadcast_arrays(
        *(np.atleast_1d(np.asarray(x, dtype=np.float64)) for x in (weight, cap, slope))
    )
    good = all((x >= 0).all() for x in (w, beta, a))
    if not (good and 0.0 <= needed < math.inf):
        raise LiquidationError(
            "what is needed, endowments, caps and slopes are at least 0",
            code="LIQ-001",
            field="cap",
        )
    if needed == 0:
        return Filled(np.zeros(w.size), 0.0, 0.0)
    takes = (w > 0) & (a > 0) & (beta > 0)
    rows = np.flatnonzero(takes)
    breaks = beta[rows] / a[rows]
    order = rows[np.argsort(breaks, kind="stable")]
    edge = beta[order] / a[order]
    full = np.concatenate([[0.0], np.cumsum(w[order] * beta[order])])
    rising = np.concatenate([np.cumsum((w[order] * a[order])[::-1])[::-1], [0.0]])
    with np.errstate(invalid="ignore"):
        # A cap of infinity is never reached: NaN sorts behind every number.
        at_edge = full[1:] + edge * rising[1:]
    place = int(np.searchsorted(at_edge, needed, side="left"))
    if place >= order.size:
        height = np.where(takes, beta, 0.0)
        return Filled(height, math.inf, max(0.0, needed - math.fsum(w * height)))
    level = (needed - full[place]) / rising[place]
    return Filled(np.where(takes, np.minimum(beta, level * a), 0.0), float(level), 0.0)


Rule = Literal["equity-haircut", "contracts-pro-rata", "profit-pro-rata", "junior-profit"]
SHARING_RULES: tuple[Rule, ...] = get_args(Rule)


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedLoss:
    """Who bears a loss that nothing else covered.

    Attributes
    ----------
    rule : Rule
        By which rule.
    charged : tuple of int
        Quanta by account, at least 0.
    rate : float
        The loss over what it is shared by: a haircut, a charge per contract.
    uncovered : int
        Quanta that the rule may not take from anybody; 0 where it covers all.
    """

    rule: Rule
    charged: tuple[int, ...]
    rate: float
    uncovered: int


def share_loss(
    rule: Rule,
    deficit: int,
    *,
    equity: Sequence[int] = (),
    contracts: Sequence[int] = (),
    profit: Sequence[int] = (),
) -> SharedLoss:
    """Share a loss that the layers above have left.

    * ``equity-haircut``: pro rata on positive client equity, at most all of it. Row B09: 20,000
      on 2 million is 1.00 % (house rule of the row).
    * ``contracts-pro-rata``: pro rata on ``|contracts|`` of both sides of the market, as Drift
      does through its cumulative funding; it may charge more than an account has (Drift v2,
      cascades.md §3.2, published).
    * ``profit-pro-rata``: pro rata on positive profit of the session, at most that profit
      (Deribit, venues.md §1: "that day's winners", published in words).
    * ``junior-profit``: profit is junior to capital and all of it is cut by one ratio, at most to
      nothing (Percolator-type, cascades.md §3.2: idea published). In quanta it is the rule above
      with the profit that is open instead of a session's.

    Parameters
    ----------
    rule : Rule
        Which.
    deficit : int
        Quanta, at least 0.
    equity, contracts, profit : sequence of int
        What the rule shares by, by account; the others may be left out.

    Raises
    ------
    LiquidationError
        ``LIQ-003`` unknown rule, ``LIQ-005`` nobody to share over.
    """
    if rule not in SHARING_RULES:
        raise LiquidationError(
            f"there is no rule {rule!r} of sharing a loss",
            code="LIQ-003",
            field="rule",
            hint="one of " + ", ".join(SHARING_RULES),
        )
    if deficit < 0:
        raise LiquidationError("a deficit is at least 0", code="LIQ-001", field="deficit")
    if rule == "contracts-pro-rata":
        base, most = [abs(x) for x in contracts], deficit
    else:
        base = [max(0, x) for x in (equity if rule == "equity-haircut" else profit)]
        most = min(deficit, sum(base))
    charged = largest_remainder(most, base)
    invariant(sum(charged) == most, "shares of a loss sum to it")
    whole = sum(base)
    return SharedLoss(
        rule=rule,
        charged=tuple(charged),
        rate=most / whole if whole else 0.0,
        uncovered=deficit - most,
    )


def junior_ratio(residual: int, profit: Sequence[int]) -> float:
    """Return what share of every profit can be paid: ``min(residual, Σ profit)/Σ profit``.

    Source: Percolator-type rule (cascades.md §3.2, idea published). 1 where there is no profit.

    Parameters
    ----------
    residual : int
        What is left of the venue's assets once all capital is paid.
    profit : sequence of int
        Positive profits count.
    """
    whole = sum(max(0, x) for x in profit)
    return 1.0 if whole == 0 else min(max(residual, 0), whole) / whole


def gini(burden: ArrayLike) -> float:
    """Return how unevenly a burden is spread: 0 all alike, towards 1 all on one."""
    x = np.sort(np.asarray(burden, dtype=np.float64))
    if not (np.isfinite(x).all() and (x >= 0.0).all()):
        raise LiquidationError(
            "a burden is a finite number of at least 0", code="LIQ-001", field="burden"
        )
    if not x.size or x.sum() == 0:
        return 0.0
    ranks = np.arange(1, x.size + 1)
    return float(2.0 * (ranks @ x) / (x.size * x.sum()) - (x.size + 1.0) / x.size)
