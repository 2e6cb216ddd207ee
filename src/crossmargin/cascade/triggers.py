"""At which price each account, or each position, reaches its maintenance line.

Equity is linear in prices and the requirement convex (brackets), so that the excess is concave
along any straight path of prices: tangents never lie below it, and Newton's method overshoots at
most once and then comes back from one side.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.cascade._exposure import Maintenance, exposure_of
from crossmargin.cascade.figures import numbers
from crossmargin.cascade.population import Population
from crossmargin.errors import CascadeError

Floats = NDArray[np.float64]

_STEPS = 60


def common_triggers(population: Population, direction: ArrayLike | None = None) -> Floats:
    """Move along a direction at which each account reaches its line, float64[A].

    Parameters
    ----------
    population : Population
        At its marks.
    direction : array_like [J], optional
        Relative moves of the assets for a move of 1, for example betas; default all alike. Prices
        are ``p·(1 + t·direction)``.

    Returns
    -------
    float64[A]
        t on the side to which the account loses: negative for a fall, 0 for who is below the line
        already; NaN where no price above 0 is on the line, or nothing is held.

    Notes
    -----
    Source: requirements row A06 (equity = MM with the collateral revalued); Newton is house.
    """
    if direction is None:
        beta = np.ones(population.price.size)
    else:
        beta = numbers("direction", direction)
    if beta.shape != population.price.shape:
        raise CascadeError("a relative move of each asset is needed", code="CAS-001", field="beta")
    # Where the first price of a rising or a falling asset would be 0.
    up, down = float(beta.max(initial=0.0)), float((-beta).max(initial=0.0))
    ends = (-1.0 / up if up else -np.inf, 1.0 / down if down else np.inf)
    seen = exposure_of(population)
    fixed = np.asarray(seen.gained @ beta)
    today = np.abs(population.quantity) * population.price[population.contract]
    slope = beta[population.contract]
    account, size = population.account, population.size
    required = Maintenance(population)

    def at(t: Floats) -> tuple[Floats, Floats]:
        """Excess and its derivative, by account, each account at its own t."""
        notional = today * np.maximum(1.0 + t[account] * slope, 0.0)
        rate, need = required.at(notional)
        steep = np.bincount(account, rate * today * slope, minlength=size)
        mm = np.bincount(account, need, minlength=size)
        return equity + fixed * t - mm, fixed - steep

    equity = population.equity()
    found = _nearest(at, seen.slack, ends)
    found[seen.relief <= 0] = np.nan
    return found


def position_triggers(population: Population) -> Floats:
    """Price of its own contract at which each position's account reaches its line, float64[N].

    All other prices stand still. NaN where no price above 0 is on the line; the mark where the
    account is below its line already. What a venue states as a liquidation price.
    """
    seen = exposure_of(population)
    k, row = population.contract, population.account
    mark = population.price[k]
    today = np.abs(population.quantity) * mark
    # What the account gains on this asset, its collateral in the same coin included.
    gained = np.asarray(seen.gained[row, k]).ravel()
    required = Maintenance(population)
    rest = seen.slack[row] + required.at(today)[1]

    def at(t: Floats) -> tuple[Floats, Floats]:
        notional = today * (1.0 + t)
        rate, need = required.at(notional)
        return rest + gained * t - need, gained - rate * today

    move = _nearest(at, seen.slack[row], (-1.0, np.inf))
    return np.asarray(mark * (1.0 + move))


def _nearest(
    at: Callable[[Floats], tuple[Floats, Floats]], slack: Floats, ends: tuple[float, float]
) -> Floats:
    """Root of a concave excess on the side to which its tangent at 0 points; NaN for none."""
    t = np.zeros(slack.size)
    value, slope = at(t)
    side = -np.sign(slope)
    some = (slack > 0) & (side != 0)
    for _ in range(_STEPS):
        step = np.divide(value, slope, out=np.zeros(t.size), where=some & (slope != 0))
        # Beyond an end a price would be below 0: whoever stays there has no root.
        new = np.clip(t - step, *ends)
        moved = bool((np.abs(new - t) > 1e-14 * (1.0 + np.abs(t))).any())
        t = new
        value, slope = at(t)
        if not moved:
            break
    scale = np.abs(slack) + np.abs(slope * t)
    done = some & (t > ends[0]) & (t < ends[1]) & (np.abs(value) <= 1e-9 * scale)
    return np.where(slack <= 0, 0.0, np.where(done & (t * side > 0), t, np.nan))
