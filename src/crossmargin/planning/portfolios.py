"""Margin as a constraint of somebody else's portfolio optimiser.

An optimiser knows returns and weights; what the weights need as margin only the engine knows. The
optimiser is run with the tangents of the margin as linear inequalities on the weights; if the
weights it finds need too much, their tangent is added and it is run again. Where the requirement
is convex the end is the optimiser's own optimum among the portfolios that can be margined.

Any estimator with ``left_inequality``, ``right_inequality``, ``fit`` and ``weights_`` will do:
skfolio's optimisers have them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from crossmargin.book import AccountFile
from crossmargin.errors import PlanningError
from crossmargin.instruments import parse_instrument
from crossmargin.margin import Ruleset
from crossmargin.market import Snapshot
from crossmargin.planning._checks import positive
from crossmargin.planning.candidates import Candidate, unit_usd
from crossmargin.planning.hedging import HedgeDesk

Floats = NDArray[np.float64]

#: Tangents are taken this far beside the weights, over steps a hundredth of that.
_ASIDE, _STEP = 1e-6, 1e-8


class Optimiser(Protocol):
    """What is asked of an estimator."""

    weights_: Any

    def fit(self, X: Any) -> Any:
        """Find weights for a table of returns."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class MarginedPortfolio:
    """Weights that can be margined.

    Attributes
    ----------
    weights : float64[K]
        Notional over equity, in the order of the instruments.
    im : float
        Initial margin over equity, as the rule-set evaluates it.
    limit : float
        What it was allowed.
    rounds : int
        Times the optimiser was run.
    left, right : float64[R, K] and float64[R]
        The inequalities found, ``left @ weights ≤ right``: for other models of the same market.
    model : object
        The optimiser as it was fitted last.
    """

    weights: Floats
    im: float
    limit: float
    rounds: int
    left: Floats
    right: Floats
    model: Any


def weights_margin(
    snapshot: Snapshot, ruleset: Ruleset, instruments: Sequence[str], equity_usd: float
) -> Callable[[Floats], Floats]:
    """Return a function from weights ``[N, K]`` to initial margin over equity ``[N]``.

    Parameters
    ----------
    snapshot, ruleset
        The market and the rules.
    instruments : sequence of str
        One for each weight; a weight of 1 holds equity's worth of notional.
    equity_usd : float
        Brackets and size charges depend on it.
    """
    positive(equity_usd=equity_usd)
    empty = AccountFile(
        format="crossmargin-account/1", account="portfolio", balances=[], positions=[]
    )
    desk = HedgeDesk(
        empty, snapshot, ruleset, [Candidate(instrument=name, cost_usd=0.0) for name in instruments]
    )
    unit = np.array([unit_usd(snapshot, parse_instrument(name)) for name in instruments])

    def margin(weights: Floats) -> Floats:
        found = desk.ask(np.atleast_2d(weights) * equity_usd / unit)[:, 2] / equity_usd
        if not np.isfinite(found).all():
            raise PlanningError(
                f"rule-set {ruleset.id!r} refuses some of these weights", code="PLN-005",
                field="weights", hint="margin such an account by itself to see why",
            )  # fmt: skip
        return np.asarray(found)

    return margin


def fit_within_margin(
    make: Callable[[Floats | None, Floats | None], Optimiser],
    returns: Any,
    margin: Callable[[Floats], Floats],
    *,
    limit: float,
    rounds: int = 40,
    tolerance: float = 1e-6,
) -> MarginedPortfolio:
    """Fit an optimiser so that its weights need no more margin than allowed.

    Parameters
    ----------
    make : callable
        Makes the optimiser from ``left_inequality`` and ``right_inequality`` (None: without).
    returns : table
        As the optimiser takes it: a pandas or polars frame, or an array.
    margin : callable
        See :func:`weights_margin`.
    limit : float
        Initial margin over equity.
    rounds : int
        Fits at most.
    tolerance : float
        The weights are scaled down to the limit where they are above it by no more than this.

    Raises
    ------
    PlanningError
        ``PLN-004`` when no fit keeps the limit within the rounds.

    Examples
    --------
    >>> fit_within_margin(  # doctest: +SKIP
    ...     lambda a, b: MeanRisk(left_inequality=a, right_inequality=b), returns, margin,
    ...     limit=0.5)
    """
    positive(limit=limit)
    left: list[Floats] = []
    right: list[float] = []
    for turn in range(1, rounds + 1):
        model = make(np.array(left) if left else None, np.array(right) if right else None)
        model.fit(returns)
        weights = np.asarray(model.weights_, dtype=np.float64)
        need = float(margin(weights)[0])
        if need <= limit * (1.0 + tolerance):
            if need > limit:
                weights = weights * (limit / need)
            return MarginedPortfolio(
                weights=weights,
                im=float(margin(weights)[0]),
                limit=limit,
                rounds=turn,
                left=np.array(left).reshape(-1, weights.size),
                right=np.array(right),
                model=model,
            )
        slope, at = _tangent(margin, weights)
        left.append(slope)
        right.append(limit - at)
    raise PlanningError(
        f"{rounds} fits, and the weights still need {need:.4f} of equity where {limit:g} is "
        "allowed",
        code="PLN-004",
        field="limit",
        hint="the requirement may not be convex; allow more rounds, or smaller weights",
    )


def _tangent(margin: Callable[[Floats], Floats], weights: Floats) -> tuple[Floats, float]:
    """Return slope and intercept of the margin beside some weights."""
    n = weights.size
    turn = np.modf((1 + np.arange(n)) * 0.6180339887498949)[0] - 0.5
    reach = max(float(np.abs(weights).max()), 1e-3)
    beside = weights + _ASIDE * reach * (turn + np.copysign(0.25, turn))
    values = margin(np.vstack([beside, beside + _STEP * reach * np.eye(n)]))
    slope = (values[1:] - values[0]) / (_STEP * reach)
    at = float(values[0] - slope @ beside)
    if not (np.isfinite(slope).all() and math.isfinite(at)):
        raise PlanningError("the margin has no slope there", code="PLN-004", field="weights")
    return np.asarray(slope), at
