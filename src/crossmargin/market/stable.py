"""The stable price: it follows the oracle, but a spike cannot carry it far.

Source: Mango v4, stable price model (``venues.md`` §8; figures in ``stable_price.toml``).
published. Restated:

- the stable price moves toward the oracle by at most ``growth_per_s · f² · dt`` (relative), with f
  the smaller of stable and delayed price over the larger;
- the delayed price is the one that was stored ``delay_intervals`` intervals ago; each interval
  stores the oracle's average over it, moved by at most ``delay_growth`` from the one before;
- a step shorter than ``min_step_s`` is left out, a longer one than ``max_step_s`` counts as that.

As at the venue, a long step adds only ``max_step_s`` to the average's numerator but its whole
length to the denominator: after a gap the interval's average is too low, down to what
``delay_growth`` lets through.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from crossmargin.errors import MarketDataError
from crossmargin.market._figures import convert_rule, shipped_table, values_of
from crossmargin.units import NS_PER_SECOND

Positive = Annotated[float, Meta(gt=0)]


class StableRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Figures of the stable price; see the module's text.

    Attributes
    ----------
    growth_per_s : float
        Largest relative move per second.
    delay_intervals : int
        Intervals between storing a delayed price and using it.
    delay_interval_s : float
        Length of one.
    delay_growth : float
        Largest relative move of the delayed price between intervals.
    min_step_s, max_step_s : float
        Clip on the time between updates.
    """

    growth_per_s: Positive
    delay_intervals: Annotated[int, Meta(ge=1)]
    delay_interval_s: Positive
    delay_growth: Positive
    min_step_s: Annotated[float, Meta(ge=0)]
    max_step_s: Positive


@lru_cache(maxsize=1)
def mango_stable_rule() -> StableRule:
    """Return the figures of ``stable_price.toml``."""
    return convert_rule(
        values_of(shipped_table("stable_price.toml")), StableRule, "stable_price.toml"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StablePrice:
    """State of the model.

    Attributes
    ----------
    price : float
        The stable price.
    time_ns : int
        Of the last update that counted.
    delayed : tuple of float
        Stored prices, oldest first; the oldest is the delayed price in use.
    price_seconds, seconds : float
        What the running interval has collected.
    interval : int
        Number of the running interval since the epoch.
    """

    price: float
    time_ns: int
    delayed: tuple[float, ...]
    price_seconds: float = 0.0
    seconds: float = 0.0
    interval: int = 0


def _interval(time_ns: int, rule: StableRule) -> int:
    return int(time_ns // round(rule.delay_interval_s * NS_PER_SECOND))


def _limited(target: float, before: float, limit: float) -> float:
    return min(max(target, before * (1.0 - limit)), before * (1.0 + limit))


def _checked(price: float) -> float:
    if not (0.0 < price < float("inf")):
        raise MarketDataError(
            f"the oracle's price is {price!r}, not a positive price",
            code="MKT-009",
            field="price",
            hint="leave the update out; missing is not zero",
        )
    return price


def start_stable(price: float, time_ns: int, rule: StableRule) -> StablePrice:
    """Begin at a price: stable and all delayed prices equal it.

    Raises
    ------
    MarketDataError
        ``MKT-009`` for an impossible price.
    """
    return StablePrice(
        price=_checked(price),
        time_ns=time_ns,
        delayed=(price,) * rule.delay_intervals,
        interval=_interval(time_ns, rule),
    )


def update_stable(state: StablePrice, price: float, time_ns: int, rule: StableRule) -> StablePrice:
    """Take one oracle price into account.

    Parameters
    ----------
    state : StablePrice
        So far.
    price : float
        The oracle's, positive.
    time_ns : int
        Its time.
    rule : StableRule
        Figures.

    Returns
    -------
    StablePrice
        The same state when the step is shorter than ``min_step_s``.

    Raises
    ------
    MarketDataError
        ``MKT-009`` for an impossible price.
    """
    _checked(price)
    step = (time_ns - state.time_ns) / NS_PER_SECOND
    if step < rule.min_step_s or step <= 0:
        return state
    counted = min(step, rule.max_step_s)
    collected, seconds = state.price_seconds + price * counted, state.seconds + step
    delayed, interval = state.delayed, _interval(time_ns, rule)
    passed = min(interval - state.interval, rule.delay_intervals)
    if passed:
        stored = _limited(collected / seconds, delayed[-1], rule.delay_growth)
        delayed = (*delayed[passed:], *(stored,) * passed)
        collected = seconds = 0.0
    near, far = sorted((delayed[0], state.price))
    limit = rule.growth_per_s * (near / far) ** 2 * counted
    return StablePrice(
        price=_limited(price, state.price, limit),
        time_ns=time_ns,
        delayed=delayed,
        price_seconds=collected,
        seconds=seconds,
        interval=interval,
    )


def stable_path(
    times_ns: Sequence[int], prices: Sequence[float], rule: StableRule
) -> NDArray[np.float64]:
    """Return the stable price after each oracle price, beginning at the first.

    Parameters
    ----------
    times_ns, prices : sequence [n]
        Times that do not fall, positive prices, at least one.

    Raises
    ------
    MarketDataError
        ``MKT-009`` impossible price, ``MKT-013`` nothing given or different lengths.
    """
    if len(times_ns) != len(prices) or not len(prices):
        raise MarketDataError(
            "a path needs times and prices of one length, at least one",
            code="MKT-013",
            field="ticks",
        )
    state = start_stable(float(prices[0]), int(times_ns[0]), rule)
    out = np.empty(len(prices))
    out[0] = state.price
    for row in range(1, len(prices)):
        state = update_stable(state, float(prices[row]), int(times_ns[row]), rule)
        out[row] = state.price
    return out
