"""What share of a balance counts: the pure maths of schedules, on arrays.

Every function takes sizes (coins and US dollars, aligned) and returns the *haircut* of each: the
share of its value that does not count, so that a debt has a haircut of at most 0.

Source
------
venues.md §13.3 and the sections named in ``components/_schedules.py``.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from crossmargin.errors import RulesetError, invariant
from crossmargin.margin.components import (
    AssetRule,
    Flat,
    LiabilityWeight,
    Ltv,
    PoolScaled,
    Schedule,
    SizeScaled,
    Tiers,
)

Floats = NDArray[np.float64]
Level = Literal["im", "mm"]


def tier_bounds(schedule: Tiers) -> tuple[Floats, Floats, Floats]:
    """Return lower bounds, upper bounds (``inf`` at the end) and factors, generated ones too.

    Generated bands fall by `step` until the factor reaches `minimum`, which has no end; a list
    that ends without them is closed by a band of factor 0.
    """
    rows = [(t.lower, math.inf if t.upper is None else t.upper, t.factor) for t in schedule.tiers]
    _, end, factor = rows[-1]
    if schedule.then is not None:
        then = schedule.then
        number = 0
        listed = factor
        while True:
            number += 1
            factor = listed + number * then.step
            if factor <= then.minimum + 1e-12:
                rows.append((end, math.inf, then.minimum))
                break
            rows.append((end, end + then.width, factor))
            end += then.width
    elif math.isfinite(end):
        rows.append((end, math.inf, 0.0))
    low, high, factors = (np.array(column) for column in zip(*rows))
    return low, high, factors


def _tier_share(schedule: Tiers, size: Floats) -> Floats:
    """Return the counted share of each size; 0 has the share of its first coin."""
    low, high, factor = tier_bounds(schedule)
    band = np.minimum(np.searchsorted(high, size, side="left"), factor.size - 1)
    if schedule.banding == "flat":
        return np.asarray(factor[band], dtype=np.float64)
    # Counted value at the start of each band, then the slice inside the band.
    before = np.concatenate([[0.0], np.cumsum(factor[:-1] * (high[:-1] - low[:-1]))])
    counted = before[band] + factor[band] * (size - low[band])
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(size > 0, counted / size, factor[0])


def _pool_scale(start: float, total: float | None, when_unknown: str, where: str) -> float:
    """Return total / start, at least 1; 1 where the total may be left out."""
    if total is None:
        if when_unknown == "unscaled":
            return 1.0
        raise RulesetError(
            "the weight falls with the venue's total of the coin, which is not supplied",
            code="RUL-025",
            field=f"{where}.total_usd",
            hint=f"supply the figure of the day: --set {where}.total_usd=...",
        )
    return max(1.0, total / start)


def counted_share(
    schedule: Schedule, level: Level, coins: Floats, usd: Floats, *, where: str = "schedule"
) -> Floats:
    """Return the share of each balance that counts as margin.

    Parameters
    ----------
    schedule : Schedule
        Any kind.
    level : {"im", "mm"}
        Decides between loan-to-value and threshold.
    coins, usd : float64[K]
        Size of each balance in coins and in US dollars, at least 0.
    where : str
        Path of the schedule in the rule-set, for errors.

    Returns
    -------
    float64[K]
        Between 0 and 1.

    Raises
    ------
    RulesetError
        ``RUL-025`` where a pool's total is needed and not supplied.
    """
    if isinstance(schedule, Flat):
        return np.full(coins.size, schedule.factor)
    if isinstance(schedule, Tiers):
        return _tier_share(schedule, coins if schedule.unit == "coins" else usd)
    if isinstance(schedule, SizeScaled | PoolScaled):
        share = np.full(coins.size, schedule.factor)
        if schedule.imf > 0:
            share = np.minimum(share, schedule.base / (1.0 + schedule.imf * np.sqrt(coins)))
        if isinstance(schedule, PoolScaled):
            share = share / _pool_scale(
                schedule.scale_start_usd, schedule.total_usd, schedule.when_unknown, where
            )
        return share
    invariant(isinstance(schedule, Ltv), "a kind of schedule without a formula")
    assert isinstance(schedule, Ltv)
    factor = schedule.ltv if level == "im" else schedule.threshold
    return factor * _within(coins, usd, schedule.cap_coins, schedule.cap_usd)


def _within(coins: Floats, usd: Floats, cap_coins: float | None, cap_usd: float | None) -> Floats:
    """Return the share of each balance that lies within its caps."""
    inside = np.ones(coins.size)
    for size, cap in ((coins, cap_coins), (usd, cap_usd)):
        if cap is not None:
            beyond = size > cap
            inside = np.minimum(inside, np.where(beyond, cap / np.where(beyond, size, 1.0), 1.0))
    return inside


def haircut_of(
    rule: AssetRule,
    level: Level,
    levels: tuple[str, ...],
    coins: Floats,
    usd: Floats,
    *,
    where: str = "asset",
) -> Floats:
    """Return the haircut of positive balances of one asset at one level.

    Parameters
    ----------
    rule : AssetRule
        How the asset counts.
    level : {"im", "mm"}
        Level.
    levels : tuple of str
        Levels that the flat `haircut` touches.
    coins, usd : float64[K]
        Total of the asset in each pot; caps and tiers apply to it.
    where : str
        Path of the rule in the rule-set, for errors.

    Returns
    -------
    float64[K]
        Between 0 (all counts) and 1 (nothing counts).
    """
    inside = _within(coins, usd, rule.limit_coins, rule.limit_usd)
    schedule = rule.at(level)
    if schedule is None:
        cut = np.full(coins.size, rule.haircut if level in levels else 0.0)
    else:
        own = rule.im if level == "im" else rule.mm
        place = f"{where}.{level if own is not None else 'schedule'}"
        cut = 1.0 - counted_share(schedule, level, coins * inside, usd * inside, where=place)
    return np.where(inside < 1.0, 1.0 - inside * (1.0 - cut), cut)


def liability_haircut(
    rule: AssetRule, level: Level, coins: Floats, *, where: str = "asset"
) -> Floats:
    """Return the haircut of negative balances: ``1 − weight``, at most 0.

    A debt of 100 with weight 1.1 counts −110: grossed up, never cut (requirements A17).

    Parameters
    ----------
    rule : AssetRule
        How the asset counts.
    level : {"im", "mm"}
        Level.
    coins : float64[K]
        Size of each debt, at least 0.
    where : str
        Path of the rule, for errors.
    """
    weight = rule.liability_im if level == "im" else rule.liability_mm
    if not isinstance(weight, LiabilityWeight):
        return np.full(coins.size, 1.0 - weight)
    grown = np.full(coins.size, weight.weight)
    if weight.imf > 0:
        grown = np.maximum(grown, weight.keep * weight.weight + weight.imf * np.sqrt(coins))
    if weight.scale_start_usd is not None:
        grown = grown * _pool_scale(
            weight.scale_start_usd,
            weight.total_usd,
            weight.when_unknown,
            f"{where}.liability_{level}",
        )
    return 1.0 - grown
