"""The haircut model: what a coin's history and depth say it may lose while it is sold.

``h(Q) = min(1, 1 − exp(−ES_α(n)) + half-spread + Y·σ·√(Q/ADV) + wrong-way)``

with the expected shortfall over the unwind horizon n(Q). What the price may take is floored by the
shortfall of a stressed period and by a stated jump (a de-peg), and the whole by the venue's own
haircut. Tiers by size come from the value that is
left, ``V(Q) = Q·(1 − h(Q))``, whose slope falls with Q.

Source
------
clearing-practice §3 (model haircut, recommended there; house) with §1.6 (estimator) and §1.7
(horizon, impact); requirements A17 (the linear normal form ``z·σ·√T + half-spread + impact``).
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import ArrayLike, NDArray

from crossmargin.errors import MarginError, RulesetError
from crossmargin.margin.components import FactorTier, Tiers
from crossmargin.margin.components._base import Data, Fraction, NonNegative
from crossmargin.market import BidSide
from crossmargin.stats import (
    ewma_volatility,
    expected_shortfall,
    expected_shortfall_error,
    filtered_returns,
    horizon_losses,
    linear_unwind,
    log_returns,
    normal_expected_shortfall,
    normal_quantile,
    value_at_risk,
)

Floats = NDArray[np.float64]

#: Fewer returns than this say nothing about a tail.
_FEWEST = 60


class HaircutSpec(Data, frozen=True, kw_only=True):
    """What the model assumes; defaults with their sources are in ``margin/haircut_model.toml``.

    Attributes
    ----------
    method : {"historical", "filtered", "normal"}
        Losses as they were; brought to today's volatility (Hull and White 1998); or a normal law
        with today's volatility.
    measure : {"es", "var"}
        Expected shortfall, or the quantile alone (A17's z·σ).
    form : {"log", "linear"}
        ``1 − exp(−loss)`` or the log-loss itself (A17's h = z·σ·√T).
    path : {"held", "linear"}
        The whole is held over the horizon, or sold in equal parts.
    level : float
        Confidence.
    horizon_days : float
        Days to sell a small holding; whole days unless the method is normal.
    participation : float
        Share of the daily volume that the sale may be: larger holdings take longer.
    impact : float
        Y.
    half_spread : float
        Half the spread of today, of the price.
    spread_stress : float
        Multiple of it under stress.
    wrong_way : float
        Added where the collateral falls with what it secures; supplied, not estimated.
    floor : float
        The venue's haircut: the model never goes below it.
    jump : float
        Loss of a stated jump (a stablecoin's de-peg, an issuer's failure): a floor under what
        the price may take.
    decay : float
        λ of the moving volatility.
    stress_days : int
        Length of the stressed period; 0 for none.
    """

    method: Literal["historical", "filtered", "normal"] = "historical"
    measure: Literal["es", "var"] = "es"
    form: Literal["log", "linear"] = "log"
    path: Literal["held", "linear"] = "held"
    level: Annotated[float, Meta(gt=0.5, lt=1)]
    horizon_days: Annotated[float, Meta(gt=0, le=365)]
    participation: Annotated[float, Meta(gt=0, le=1)]
    impact: NonNegative
    half_spread: Fraction = 0.0
    spread_stress: Annotated[float, Meta(ge=1)]
    wrong_way: Fraction = 0.0
    floor: Fraction = 0.0
    jump: Fraction = 0.0
    decay: Annotated[float, Meta(gt=0, lt=1)]
    stress_days: Annotated[int, Meta(ge=0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class HaircutPoint:
    """The haircut of one size; shares of value.

    Attributes
    ----------
    usd : float
        Size; 0 for a holding too small to matter.
    days : float
        Days it takes to sell.
    market, stressed, jump : float
        What the price may take meanwhile: by the method, in the stressed period, in the stated
        jump. The largest counts.
    spread, impact, wrong_way : float
        Costs of selling, and the add-on.
    haircut : float
        Average over the holding, between 0 and 1.
    binding : {"market", "stressed period", "jump", "venue floor", "all of it"}
        What decided.
    """

    usd: float
    days: float
    market: float
    stressed: float
    jump: float
    spread: float
    impact: float
    wrong_way: float
    haircut: float
    binding: str


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


@lru_cache(maxsize=1)
def _shipped() -> dict[str, Any]:
    text = (files("crossmargin.margin") / "haircut_model.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def haircut_defaults() -> dict[str, Any]:
    """Return the shipped defaults, with ``adv_days`` beside those of :class:`HaircutSpec`."""
    return dict(_shipped()["defaults"])


def haircut_spec(**fields: Any) -> HaircutSpec:
    """Return a specification: the shipped defaults with `fields` in their place.

    Raises
    ------
    RulesetError
        ``RUL-001`` for an unknown field or a figure out of range.
    """
    known = {k: v for k, v in haircut_defaults().items() if k != "adv_days"}
    try:
        return msgspec.convert({**known, **fields}, HaircutSpec, strict=True)
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(" - at `")
        raise RulesetError(
            f"haircut model: {message[0].lower()}{message[1:]}",
            code="RUL-001",
            field=place.rstrip("`").removeprefix("$").lstrip(".") or None,
        ) from None


def model_haircut(
    spec: HaircutSpec,
    *,
    sigma: float,
    usd: ArrayLike = 0.0,
    adv_usd: float | None = None,
    returns: ArrayLike | None = None,
    depth: BidSide | None = None,
) -> list[HaircutPoint]:
    """Compute the haircut of each size.

    Parameters
    ----------
    spec : HaircutSpec
        Assumptions.
    sigma : float
        Volatility of one day.
    usd : array_like
        Sizes in US dollars, at least 0.
    adv_usd : float, optional
        Average daily volume; needed for sizes above 0.
    returns : array_like, optional
        Daily log-returns in order; not needed for the normal method.
    depth : BidSide, optional
        Bids of an order book. A size that it holds costs at least what selling it there would.

    Raises
    ------
    MarginError
        ``MRG-010`` when sizes are given without a volume, ``MRG-011`` when the history is too
        short for the horizon.
    """
    sizes = np.atleast_1d(np.asarray(usd, dtype=np.float64))
    if (sizes > 0).any() and not (adv_usd is not None and adv_usd > 0):
        raise MarginError(
            "the haircut of a size needs the average daily volume",
            code="MRG-010",
            field="adv_usd",
            hint="give it in US dollars, or ask for the haircut of a small holding only",
        )
    history = None if returns is None else np.asarray(returns, dtype=np.float64)
    return [_point(spec, sigma, float(size), adv_usd, history, depth) for size in sizes]


def _point(
    spec: HaircutSpec,
    sigma: float,
    usd: float,
    adv_usd: float | None,
    history: Floats | None,
    depth: BidSide | None,
) -> HaircutPoint:
    share = usd / adv_usd if adv_usd else 0.0
    days = max(spec.horizon_days, share / spec.participation)
    if spec.method != "normal" or days > spec.horizon_days:
        days = float(math.ceil(days - 1e-9))
    market = _market_risk(spec, sigma, days, history)
    spread = spec.half_spread * spec.spread_stress
    impact = spec.impact * sigma * math.sqrt(share)
    walked = None if depth is None else depth.sell_cost(usd)
    if walked is not None:
        impact = max(impact, walked)
    stressed = _stressed_risk(spec, days, history)
    risks = {"market": market, "stressed period": stressed, "jump": spec.jump}
    binding = max(risks, key=lambda name: risks[name])
    whole = risks[binding] + spread + impact + spec.wrong_way
    if whole < spec.floor:
        binding, whole = "venue floor", spec.floor
    return HaircutPoint(
        usd=usd,
        days=days,
        market=market,
        stressed=stressed,
        jump=spec.jump,
        spread=spread,
        impact=impact,
        wrong_way=spec.wrong_way,
        haircut=min(1.0, whole),
        binding="all of it" if whole >= 1.0 else binding,
    )


def _share_lost(spec: HaircutSpec, loss: float) -> float:
    """Turn a log-loss into a share of value; a gain is no loss."""
    loss = max(loss, 0.0)
    return 1.0 - math.exp(-loss) if spec.form == "log" else loss


def _tail(spec: HaircutSpec, losses: Floats) -> float:
    measure = expected_shortfall if spec.measure == "es" else value_at_risk
    return measure(losses, spec.level)


def _weights(spec: HaircutSpec, days: float) -> Floats:
    whole = int(days)
    return linear_unwind(whole) if spec.path == "linear" else np.ones(whole)


def _market_risk(spec: HaircutSpec, sigma: float, days: float, history: Floats | None) -> float:
    """Return the share of value that the price may take during the sale."""
    if spec.method == "normal":
        z = normal_quantile(spec.level)
        tail = normal_expected_shortfall(spec.level) if spec.measure == "es" else z
        if spec.path == "linear":
            n = days
            return _share_lost(spec, tail * sigma * math.sqrt((n + 1) * (2 * n + 1) / (6 * n)))
        return _share_lost(spec, tail * sigma * math.sqrt(days))
    return _share_lost(spec, _tail(spec, _losses(spec, days, history)))


def _losses(spec: HaircutSpec, days: float, history: Floats | None) -> Floats:
    if history is None or history.size < max(_FEWEST, 2 * int(days)):
        have = 0 if history is None else history.size
        raise MarginError(
            f"{have} daily returns are too few for a tail over {int(days)} days",
            code="MRG-011",
            field="prices",
            hint=f"give at least {max(_FEWEST, 2 * int(days))}, or use the normal method",
        )
    used = filtered_returns(history, spec.decay) if spec.method == "filtered" else history
    return horizon_losses(used, _weights(spec, days))


def stressed_window(returns: ArrayLike, days: int) -> tuple[int, int] | None:
    """Return first and last index of the window of largest volatility; None if none is that long.

    Parameters
    ----------
    returns : array_like
        Daily log-returns.
    days : int
        Length of the window; 0 for none.
    """
    r = np.asarray(returns, dtype=np.float64)
    if days <= 0 or r.size < days or days < _FEWEST:
        return None
    squares = np.concatenate([[0.0], np.cumsum(r**2)])
    last = int(np.argmax(squares[days:] - squares[:-days]))
    return last, last + days - 1


def _stressed_risk(spec: HaircutSpec, days: float, history: Floats | None) -> float:
    """Return the tail over the stressed period as it was; 0 where there is none.

    Its blocks overlap: a floor is no test, and few blocks would stand apart in so short a time.
    """
    if history is None:
        return 0.0
    window = stressed_window(history, spec.stress_days)
    if window is None:
        return 0.0
    part = history[window[0] : window[1] + 1]
    weights = _weights(spec, math.ceil(days - 1e-9))
    if weights.size > part.size:
        raise MarginError(
            f"a stressed period of {part.size} days is shorter than a sale of {weights.size} days",
            code="MRG-011",
            field="stress_days",
            hint="give a longer stressed period, or 0 for none",
        )
    blocks = np.lib.stride_tricks.sliding_window_view(part, weights.size)
    return _share_lost(spec, _tail(spec, -(blocks @ weights)))


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
    if returns.size < _FEWEST:
        raise MarginError(
            f"{returns.size} daily returns are too few for a haircut",
            code="MRG-011",
            field="prices",
            hint=f"give at least {_FEWEST}",
        )
    sigma = float(ewma_volatility(returns, made.decay)[-1])
    notes = []
    if sizes_usd is None and adv_usd is not None:
        sizes_usd = [share * adv_usd for share in _shipped()["tiers"]["adv_shares"]]
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
    losses = _losses(spec, math.ceil(spec.horizon_days - 1e-9), returns)
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
    first = max(_FEWEST, spec.stress_days if spec else int(haircut_defaults()["stress_days"]))
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
