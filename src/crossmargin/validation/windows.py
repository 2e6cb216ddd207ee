"""Horizons of several days without counting a day twice, and what overlap does to a count."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.errors import InputError
from crossmargin.stats import generator
from crossmargin.validation._result import as_hits


def blocks(days: int, horizon: int, offset: int = 0) -> NDArray[np.int64]:
    """Return the first day of each non-overlapping block that ends within the days.

    Parameters
    ----------
    days : int
        Days of the test.
    horizon : int
        Days of a block.
    offset : int
        First day used, 0 to horizon − 1: there are as many ways to cut the blocks.
    """
    if horizon < 1 or not 0 <= offset < horizon:
        raise InputError(
            f"a horizon of {horizon} days begun on day {offset}",
            code="INP-004",
            field="horizon",
            hint="give a horizon of at least 1 and an offset below it",
        )
    return np.arange(offset, days - horizon + 1, horizon, dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlappingRate:
    """Rate of breaches over windows that overlap, with an interval that knows they do.

    Attributes
    ----------
    rate : float
        Share of windows that breached.
    low, high : float
        95 % interval of the rate, by block bootstrap.
    p_too_many : float
        Share of bootstrap samples of a right model that have at least this rate.
    """

    rate: float
    low: float
    high: float
    p_too_many: float


def overlapping_rate(
    hits: ArrayLike, horizon: int, level: float, *, seed: int, draws: int = 2_000
) -> OverlappingRate:
    """Judge the breaches of windows that begin every day and last several.

    A loss of one bad day stands in `horizon` windows, so the hits are not independent and the
    χ² laws do not hold. Blocks of at least twice the horizon are drawn in a circle (Politis and
    Romano 1992, secondary; the length is the house's). For the p-value the bootstrap's spread is
    moved to the rate of a right model.

    Parameters
    ----------
    hits : array_like of bool
        By first day of the window.
    horizon : int
        Days of a window.
    level : float
        Confidence of the margin.
    seed, draws : int
        Of the bootstrap.
    """
    row = as_hits(hits).astype(np.float64)
    n = row.size
    length = min(max(2 * horizon, 2), n)
    rng = generator(seed)
    wheel = np.concatenate([row, row[: length - 1]])
    sums = np.convolve(wheel, np.ones(length), mode="valid")
    count = -(-n // length)
    rates = sums[rng.integers(0, n, size=(draws, count))].sum(axis=1) / (count * length)
    rate = float(row.mean())
    low, high = (float(x) for x in np.quantile(rates, (0.025, 0.975)))
    worse = int((rates - rate + (1.0 - level) >= rate - 1e-12).sum())
    return OverlappingRate(rate=rate, low=low, high=high, p_too_many=(1.0 + worse) / (1.0 + draws))
