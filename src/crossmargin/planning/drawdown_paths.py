"""Falls from the peak drawn ahead: a fan of simulated paths. Fractions; a fall is positive."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.errors import PlanningError
from crossmargin.planning._checks import finite, series
from crossmargin.planning.drawdown import ROUNDING
from crossmargin.stats import expected_shortfall

Floats = NDArray[np.float64]


#: A fan is kept at this many steps, and so many numbers are drawn at once: memory stays bounded.
_SHOWN, _CELLS = 365, 2_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawdownFan:
    """Simulated falls.

    Attributes
    ----------
    levels : tuple of float
        Of the quantiles.
    depth : float64[levels]
        Quantiles of the deepest fall over the horizon.
    steps : int64[K]
        Steps at which the fan is kept, from 0 to the last, at most 366 of them.
    fan : float64[levels, K]
        Quantiles of the fall at those steps.
    mean : float
        Of the deepest fall; `error` is its standard error.
    error : float
    at_risk : float
        Mean of the worst 5 % of the deepest falls.
    breach : dict of float to float
        Chance that the deepest fall reaches each limit asked about.
    paths, seed : int
        What was drawn.
    """

    levels: tuple[float, ...]
    depth: Floats
    steps: NDArray[np.int64]
    fan: Floats
    mean: float
    error: float
    at_risk: float
    breach: dict[float, float]
    paths: int
    seed: int


def simulate_drawdowns(
    returns: ArrayLike | None = None,
    *,
    drift: float = 0.0,
    vol: float = 0.0,
    steps: int,
    paths: int = 2_000,
    seed: int,
    block: int = 5,
    start_fall: float = 0.0,
    limits: ArrayLike = (),
    levels: tuple[float, ...] = (0.05, 0.25, 0.5, 0.75, 0.95),
) -> DrawdownFan:
    """Draw paths of the unit and measure their falls.

    With `returns` blocks of them are drawn with replacement (circular block bootstrap, which keeps
    clusters of volatility as long as a block); without, log-returns are normal.

    Parameters
    ----------
    returns : array_like, optional
        Simple returns per period, above −1.
    drift, vol : float
        Mean and standard deviation of the log-return per period, where `returns` is not given.
    steps, paths : int
        Periods ahead, and how many paths.
    seed : int
        Same seed, same bytes.
    block : int
        Periods that stay together.
    start_fall : float
        Fall from the peak at the start, 0 to 1.
    limits : array_like
        Falls whose chance is asked for.
    levels : tuple of float
        Quantiles of the fan.

    Raises
    ------
    PlanningError
        ``PLN-003`` for figures that no simulation has.
    """
    asked = np.asarray(limits, dtype=np.float64).ravel().tolist()
    finite(drift=drift, vol=vol)
    if not all(0.0 <= level <= 1.0 for level in levels):
        raise PlanningError("quantiles lie between 0 and 1", code="PLN-003", field="levels")
    _check(asked, steps, paths, seed, block, start_fall, vol)
    rng = np.random.default_rng(seed)
    shown = np.unique(np.linspace(0, steps, min(steps, _SHOWN) + 1).round().astype(np.int64))
    deepest, falls = np.empty(paths), np.empty((paths, shown.size))
    at_once = max(1, _CELLS // steps)
    for first in range(0, paths, at_once):
        some = slice(first, min(first + at_once, paths))
        logs = _drawn(returns, drift, vol, steps, some.stop - first, rng, block)
        value = np.concatenate([np.zeros((len(logs), 1)), np.cumsum(logs, axis=1)], axis=1)
        peak = np.maximum(np.maximum.accumulate(value, axis=1), -math.log1p(-start_fall))
        fall = 0.0 - np.expm1(value - peak)
        deepest[some] = fall.max(axis=1)
        falls[some] = fall[:, shown]
    return DrawdownFan(
        levels=levels,
        depth=np.quantile(deepest, levels),
        steps=shown,
        fan=np.quantile(falls, levels, axis=0),
        mean=float(deepest.mean()),
        error=float(deepest.std(ddof=1) / math.sqrt(paths)),
        at_risk=expected_shortfall(deepest, 0.95),
        breach={x: float((deepest >= x - ROUNDING).mean()) for x in asked},
        paths=paths,
        seed=seed,
    )


def _check(
    limits: list[float],
    steps: int,
    paths: int,
    seed: int,
    block: int,
    start_fall: float,
    vol: float,
) -> None:
    if seed < 0:
        raise PlanningError(
            f"a seed of {seed}", code="PLN-003", field="seed", hint="a whole number from 0 on"
        )
    for limit in limits:
        if not 0.0 < limit <= 1.0:
            raise PlanningError(
                f"a fall of {limit:g} is none", code="PLN-003", field="limits",
                hint="0.2 is a fall of 20 %",
            )  # fmt: skip
    if steps < 1 or paths < 2 or block < 1 or not 0 <= start_fall < 1 or vol < 0:
        raise PlanningError(
            "a simulation needs a step, two paths and a fall below 1 to start from",
            code="PLN-003",
            field="steps",
        )


def _drawn(
    returns: ArrayLike | None,
    drift: float,
    vol: float,
    steps: int,
    paths: int,
    rng: np.random.Generator,
    block: int,
) -> Floats:
    if returns is None:
        return np.asarray(drift + vol * rng.standard_normal((paths, steps)))
    r = series(returns, "returns", 2)
    if (r <= -1).any():
        raise PlanningError("a return of −1 or less is ruin", code="PLN-001", field="returns")
    blocks = -(-steps // block)
    first = rng.integers(0, r.size, (paths, blocks))
    place = (first[:, :, None] + np.arange(block)) % r.size
    return np.asarray(np.log1p(r)[place.reshape(paths, -1)[:, :steps]])
