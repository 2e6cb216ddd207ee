"""How margin moves with the market, what damps it, and what the damping costs.

All measures are of a constant portfolio, so that margin changes because the market does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from crossmargin.errors import InputError
from crossmargin.validation._result import Floats, as_series

#: Periods over which clearing houses report the largest rise.
PERIODS: tuple[int, ...] = (1, 5, 30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Procyclicality:
    """How much one margin path moves.

    Attributes
    ----------
    peak_to_trough : float
        Largest margin over smallest.
    rise : dict of int to float
        Largest rise over n days, in the unit of the margin.
    relative_rise : dict of int to float
        Largest rise over n days as a share of where it began.
    volatility : float
        Standard deviation of daily changes of the margin's logarithm.
    mean : float
        Average margin.
    cost : float or None
        Average margin over the unmitigated model's, less 1; None without one.
    """

    peak_to_trough: float
    rise: dict[int, float]
    relative_rise: dict[int, float]
    volatility: float
    mean: float
    cost: float | None


def _margins(margin: ArrayLike) -> Floats:
    path = as_series(margin, "margin")
    if not bool((path > 0).all()):
        raise InputError(
            "a margin is not positive, so it has no ratio",
            code="INP-004",
            field="margin",
            hint="measure a portfolio that needs margin every day",
        )
    return path


def procyclicality(
    margin: ArrayLike,
    unmitigated: ArrayLike | None = None,
    *,
    periods: Sequence[int] = PERIODS,
) -> Procyclicality:
    """Measure a margin path.

    ``max M / min M``; ``max_t (M_t − M_{t−n})`` and ``max_t (M_t/M_{t−n} − 1)``. A period longer
    than the path is left out. Source: Murphy, Vasios and Vause (2014), cost after Murphy and
    Vause (2021), clearing-practice §2 (published).

    Parameters
    ----------
    margin : array_like
        Margin of a constant portfolio by day, positive.
    unmitigated : array_like, optional
        The same days without the tool whose cost is asked.
    periods : sequence of int
        Days.

    Raises
    ------
    InputError
        ``INP-004`` when a margin is not a positive number, or the paths differ in length.
    """
    path = _margins(margin)
    cost = None
    if unmitigated is not None:
        raw = as_series(unmitigated, "unmitigated", path.size)
        cost = float(path.mean() / _margins(raw).mean() - 1.0)
    known = [n for n in periods if 1 <= n < path.size]
    steps = np.diff(np.log(path))
    return Procyclicality(
        peak_to_trough=float(path.max() / path.min()),
        rise={n: float((path[n:] - path[:-n]).max()) for n in known},
        relative_rise={n: float((path[n:] / path[:-n]).max() - 1.0) for n in known},
        volatility=float(steps.std()) if steps.size else math.nan,
        mean=float(path.mean()),
        cost=cost,
    )


def with_stress_weight(margin: ArrayLike, stress: ArrayLike, weight: float = 0.25) -> Floats:
    """Give a stressed margin a fixed weight: ``(1 − w)·M + w·S``.

    Source: EMIR RTS 153/2013 art. 28(1)(b), clearing-practice §1.8 (published). At the peak
    ``M = S`` it changes nothing: σ from 2 % to 8 % has a ratio of 4.00 and, with a quarter on the
    8 % level, 2.29 (requirements B15).

    Parameters
    ----------
    margin : array_like
        Unmitigated margin by day.
    stress : array_like
        Margin of the same portfolio in the stress period; one figure, or one a day.
    weight : float
        w, 0 to 1.
    """
    path = as_series(margin, "margin")
    if not 0.0 <= weight <= 1.0:
        raise InputError(f"a stress weight of {weight:g}", code="INP-004", field="weight")
    return (1.0 - weight) * path + weight * as_series(stress, "stress", path.size)


def with_floor(margin: ArrayLike, floor: ArrayLike) -> Floats:
    """Keep the margin from falling below a floor, such as that of a ten-year volatility.

    Source: EMIR RTS 153/2013 art. 28(1)(c), clearing-practice §1.8 (published).
    """
    path = as_series(margin, "margin")
    return np.maximum(path, as_series(floor, "floor", path.size))


def with_buffer(margin: ArrayLike, release_at: ArrayLike, share: float = 0.25) -> Floats:
    """Collect a buffer in quiet times and use it up when margins rise.

    ``max(M, min((1 + b)·M, R))``: the whole buffer is held until margin with buffer reaches the
    release level R; from there the requirement stands still until the model has overtaken it.
    With R at the peak a path of 1.00 to 1.80 moves by 1.80/1.25 = 1.44.

    Source: EMIR RTS 153/2013 art. 28(1)(a) asks for a buffer of at least 25 % that may be used
    when margins rise fast (published, clearing-practice §1.8); it does not say when, so the
    release level is the house's.

    Parameters
    ----------
    margin : array_like
        Unmitigated margin by day.
    release_at : array_like
        R, known beforehand: the margin of a stress period; one figure, or one a day.
    share : float
        b, at least 0.
    """
    path = as_series(margin, "margin")
    if share < 0.0:
        raise InputError(f"a buffer of {share:g}", code="INP-004", field="share")
    level = as_series(release_at, "release_at", path.size)
    return np.maximum(path, np.minimum((1.0 + share) * path, level))
