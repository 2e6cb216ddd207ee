"""Schedules of the haircut model: tiers by size, and haircuts through time.

Source
------
clearing-practice §3 (tiered by size, value concave; house) and requirements A17; the haircut of a
size is in ``haircut_model``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.errors import MarginError
from crossmargin.margin.components import FactorTier, Tiers
from crossmargin.margin.haircut_model import (
    FEWEST,
    HaircutPoint,
    HaircutSpec,
    haircut_defaults,
    haircut_figures,
    haircut_spec,
    horizon_sample,
    model_haircut,
    stressed_window,
)
from crossmargin.market import BidSide
from crossmargin.stats import ewma_volatility, expected_shortfall_error, log_returns

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class HaircutSchedule:
    """A haircut by size, and how it came about.

    Attributes
    ----------
    spec : HaircutSpec
        Assumptions.
    points : list of HaircutPoint
        By size, the first for a holding of size 0.
    schedule : Tiers
        Marginal tiers in US dollars, for a rule-set; what lies beyond the last size counts 0.
    sigma : float
        Volatility of one day, today's.
    returns, blocks : int
        Daily returns, and blocks of the shortest horizon.
    standard_error : float
        Of the expected shortfall of the shortest horizon; NaN where the tail is too short.
    adv_usd : float or None
        Average daily volume.
    stressed : (int, int) or None
        First and last return of the stressed period.
    notes : list of str
        What the reader must know.
    """

    spec: HaircutSpec
    points: list[HaircutPoint]
    schedule: Tiers
    sigma: float
    returns: int
    blocks: int
    standard_error: float
    adv_usd: float | None
    stressed: tuple[int, int] | None
    notes: list[str]


def haircut_schedule(
    prices: ArrayLike,
    *,
    spec: HaircutSpec | None = None,
    adv_usd: float | None = None,
    sizes_usd: Sequence[float] | None = None,
    depth: BidSide | None = None,
) -> HaircutSchedule:
    """Compute a schedule from daily prices.

    Parameters
    ----------
    prices : array_like
        Daily closes, positive, in order.
    spec : HaircutSpec, optional
        Assumptions; default the shipped ones.
    adv_usd : float, optional
        Average daily volume, US dollars. Without it there is one tier for all sizes.
    sizes_usd : sequence of float, optional
        Where tiers end; default the shipped shares of the volume.
    depth : BidSide, optional
        As for :func:`model_haircut`; its half-spread serves where the specification has none.

    Raises
    ------
    MarginError
        As :func:`model_haircut`; ``MRG-012`` for prices that are not positive numbers.
    """
    made = spec if spec is not None else haircut_spec()
    if depth is not None and made.half_spread == 0.0:
        made = msgspec.structs.replace(made, half_spread=depth.half_spread)
    closes = np.asarray(prices, dtype=np.float64)
    if closes.ndim != 1 or not np.isfinite(closes).all() or not (closes > 0).all():
        raise MarginError(
            "a price history has positive numbers only", code="MRG-012", field="prices"
        )
    returns = log_returns(closes)
    if returns.size < FEWEST:
        raise MarginError(
            f"{returns.size} daily returns are too few for a haircut",
            code="MRG-011",
            field="prices",
            hint=f"give at least {FEWEST}",
        )
    sigma = float(ewma_volatility(returns, made.decay)[-1])
    notes = []
    if sizes_usd is None and adv_usd is not None:
        sizes_usd = [share * adv_usd for share in haircut_figures()["tiers"]["adv_shares"]]
    sizes = np.unique(np.concatenate([[0.0], np.asarray(sizes_usd or [], dtype=np.float64)]))
    if (sizes < 0).any() or not np.isfinite(sizes).all():
        raise MarginError("a size is not a positive number", code="MRG-012", field="sizes_usd")
    points = []
    for size in sizes:
        try:
            points += model_haircut(
                made, sigma=sigma, usd=size, adv_usd=adv_usd, returns=returns, depth=depth
            )
        except MarginError as error:
            if error.code != "MRG-011" or not points:
                raise
            notes.append(
                f"from {size:,.0f} USD a sale takes longer than the history can tell: what lies "
                "beyond counts 0"
            )
            break
    if adv_usd is None:
        notes.append("without a daily volume the haircut does not grow with size")
    blocks, error_of = _precision(made, returns)
    tail = blocks * (1.0 - made.level)
    if made.method != "normal" and tail < 10:
        notes.append(
            f"only {tail:.1f} losses lie in the tail of {blocks}: the shortfall is uncertain"
        )
    return HaircutSchedule(
        spec=made,
        points=points,
        schedule=tiers_from_points(points),
        sigma=sigma,
        returns=int(returns.size),
        blocks=blocks,
        standard_error=error_of,
        adv_usd=adv_usd,
        stressed=stressed_window(returns, made.stress_days),
        notes=notes,
    )


def _precision(spec: HaircutSpec, returns: Floats) -> tuple[int, float]:
    if spec.method == "normal":
        return int(returns.size), math.nan
    losses = horizon_sample(spec, math.ceil(spec.horizon_days - 1e-9), returns)
    return int(losses.size), expected_shortfall_error(losses, spec.level)


def haircut_history(
    prices: ArrayLike, *, spec: HaircutSpec | None = None, every: int = 30
) -> list[tuple[int, HaircutPoint]]:
    """Return the haircut of a small holding as it would have been set in the past.

    Each is made from the prices up to its day alone. With a stressed period it shows how much the
    floor damps: without one the haircut falls in calm times and rises when it is too late.

    Parameters
    ----------
    prices : array_like
        Daily closes, positive, in order.
    spec : HaircutSpec, optional
        Assumptions; default the shipped ones.
    every : int
        Days between two settings; the last day is always one.

    Returns
    -------
    list of (int, HaircutPoint)
        Index of the last price used, and the haircut.

    Raises
    ------
    MarginError
        ``MRG-011`` when the history is too short for a single one.
    """
    closes = np.asarray(prices, dtype=np.float64)
    first = max(FEWEST, spec.stress_days if spec else int(haircut_defaults()["stress_days"]))
    last = closes.size - 1
    if last < first:
        raise MarginError(
            f"a history of haircuts starts after {first} daily returns",
            code="MRG-011",
            field="prices",
            hint="give a longer history, or a shorter stressed period",
        )
    days = sorted({*range(last, first - 1, -every)})
    return [(day, haircut_schedule(closes[: day + 1], spec=spec).points[0]) for day in days]


def tiers_from_points(points: Sequence[HaircutPoint]) -> Tiers:
    """Turn average haircuts by size into marginal tiers.

    The factor of a band is the slope of ``V(Q) = Q(1 − h(Q))`` from what the bands below count.
    Where it would rise it is held level, so that value is concave in size and at no bound more
    than V; where V falls it is 0: a holder of more could sell less.

    Parameters
    ----------
    points : sequence of HaircutPoint
        By rising size, the first for size 0.
    """
    if len(points) == 1:
        factor = 1.0 - points[0].haircut
        return Tiers(unit="usd", tiers=[FactorTier(lower=0.0, upper=None, factor=factor)])
    rows, lowest, low, counted = [], 1.0 - points[0].haircut, 0.0, 0.0
    for point in points[1:]:
        worth = point.usd * (1.0 - point.haircut)
        slope = (worth - counted) / (point.usd - low)
        lowest = min(lowest, max(slope, 0.0))
        rows.append(FactorTier(lower=low, upper=point.usd, factor=lowest))
        counted += lowest * (point.usd - low)
        low = point.usd
    return Tiers(unit="usd", tiers=rows)
