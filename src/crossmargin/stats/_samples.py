"""Tails of many samples at once, and the weights by which a tail mean is split.

The estimator is :func:`crossmargin.stats.expected_shortfall`; these take profit and loss (a loss
below 0), row by row, as a risk table gives it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.errors import invariant

Floats = NDArray[np.float64]


def _rows(pnl: ArrayLike) -> Floats:
    x = np.asarray(pnl, dtype=np.float64)
    # A sort puts NaN behind all gains: it would be no loss, and nobody would hear of it.
    invariant(bool(np.isfinite(x).all()), "a profit is not a finite number")
    return x


def tail_mass(scenarios: int, level: float) -> tuple[float, int]:
    """Return m = n(1 − level), and how many scenarios the tail touches.

    A product such as 1000·(1 − 0.99) is taken for the whole number it means.
    """
    invariant(scenarios > 0, "the tail of an empty sample")
    invariant(0.0 < level < 1.0, "a confidence level lies between 0 and 1")
    mass = scenarios * (1.0 - level)
    nearest = round(mass)
    if nearest and abs(mass - nearest) <= 1e-9:
        mass = float(nearest)
    return mass, max(1, min(math.ceil(mass), scenarios))


def tail_shortfalls(pnl: ArrayLike, level: float) -> Floats:
    """Return the mean loss of the worst 1 − level of each row: > 0 for a loss.

    Parameters
    ----------
    pnl : array_like [R, S]
        Equally likely profit and loss, finite; > 0 is a gain.
    level : float
        Confidence, between 0 and 1.

    Returns
    -------
    float64[R]
        Acerbi and Tasche (2002), as given in clearing-practice §1.6 (published).
    """
    x = _rows(pnl)
    mass, worst = tail_mass(x.shape[1], level)
    return -_tail_sums(x, worst, mass) / mass


def tail_shortfalls_at(pnl: ArrayLike, levels: Sequence[float]) -> Floats:
    """Return :func:`tail_shortfalls` at several levels, ``[L, R]``, to the same bits.

    The worst scenarios are looked for once.
    """
    x = _rows(pnl)
    masses = [tail_mass(x.shape[1], level) for level in levels]
    tail = _sorted_tail(x, max(worst for _, worst in masses))
    return np.stack([-_tail_sum(tail, worst, mass) / mass for mass, worst in masses])


def tail_mean(pnl: ArrayLike, mass: float) -> Floats:
    """Return the mean loss of the worst `mass` scenarios of each row, ``mass`` kept fixed.

    With a level the tail grows with the sample, and scenarios without a loss dilute it; with a
    fixed count a larger scenario set never gives less (clearing-practice §6.5).

    Parameters
    ----------
    pnl : array_like [R, S]
        As for :func:`tail_shortfalls`.
    mass : float
        Scenarios in the tail, > 0 and at most S; may be a fraction.
    """
    x = _rows(pnl)
    invariant(0.0 < mass <= x.shape[1], "a tail holds some of the scenarios")
    return -_tail_sums(x, max(1, math.ceil(mass - 1e-12)), mass) / mass


def _tail_sums(x: Floats, worst: int, mass: float) -> Floats:
    """Sum the worst `mass` of each row; the last of the `worst` counts for what is left."""
    return _tail_sum(_sorted_tail(x, worst), worst, mass)


def _sorted_tail(x: Floats, worst: int) -> Floats:
    tail = np.partition(x, worst - 1, axis=1)[:, :worst] if worst < x.shape[1] else x.copy()
    tail.sort(axis=1)
    return tail


def _tail_sum(tail: Floats, worst: int, mass: float) -> Floats:
    part = mass - (worst - 1)
    return np.asarray(tail[:, : worst - 1].sum(axis=1) + part * tail[:, worst - 1])


def tail_quantiles(pnl: ArrayLike, level: float) -> Floats:
    """Return the value at risk of each row, > 0 for a loss.

    The convention of :func:`crossmargin.stats.value_at_risk`: ``L_(⌊n(1−level)⌋+1)`` of the
    losses sorted down.
    """
    x = _rows(pnl)
    beyond = min(math.floor(x.shape[1] * (1.0 - level) + 1e-9), x.shape[1] - 1)
    return np.asarray(-np.partition(x, beyond, axis=1)[:, beyond])


def tail_weights(pnl: ArrayLike, level: float) -> Floats:
    """Return the weight of every scenario in each row's tail mean; each row adds up to 1.

    ``ES = −Σ_s w_s·x_s``, so the parts of a sum of profits are ``−Σ_s w_s·x_{i,s}`` and add up to
    the whole: Euler's allocation for expected shortfall (Tasche 2000). Of scenarios that tie at
    the edge the earlier one counts.
    """
    x = _rows(pnl)
    mass, worst = tail_mass(x.shape[1], level)
    order = np.argsort(x, axis=1, kind="stable")[:, :worst]
    share = np.full(worst, 1.0 / mass)
    share[-1] = (mass - (worst - 1)) / mass
    out = np.zeros_like(x)
    np.put_along_axis(out, order, np.broadcast_to(share, order.shape), axis=1)
    return out


def shortfall_errors(pnl: ArrayLike, level: float) -> Floats:
    """Return the standard error of each row's expected shortfall; NaN with under two tail points.

    ``√[(Var(L | tail) + level·(ES − VaR)²) / (n(1−level))]`` (Manistre and Hancock 2005,
    secondary), as :func:`crossmargin.stats.expected_shortfall_error`.
    """
    x = _rows(pnl)
    mass = x.shape[1] * (1.0 - level)
    whole = max(math.floor(mass + 1e-9), 1)
    if whole < 2:
        return np.full(x.shape[0], math.nan)
    tail = np.partition(x, whole - 1, axis=1)[:, :whole]
    gap = tail_shortfalls(x, level) - tail_quantiles(x, level)
    return np.asarray(np.sqrt((tail.var(axis=1, ddof=1) + level * gap * gap) / mass))
