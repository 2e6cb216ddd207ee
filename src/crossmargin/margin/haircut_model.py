"""The haircut model: what a coin's history and depth say it may lose while it is sold.

``h(Q) = min(1, 1 − exp(−ES_α(n)) + half-spread + Y·σ·√(Q/ADV) + wrong-way)``

with the expected shortfall over the unwind horizon n(Q). What the price may take is floored by the
shortfall of a stressed period and by a stated jump (a de-peg), and the whole by the venue's own
haircut. Tiers by size are in ``haircut_schedule``.

Source
------
clearing-practice §3 (model haircut, recommended there; house) with §1.6 (estimator) and §1.7
(horizon, impact); requirements A17 (the linear normal form ``z·σ·√T + half-spread + impact``).
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import ArrayLike, NDArray

from crossmargin.errors import MarginError, RulesetError
from crossmargin.margin.components._base import Data, Fraction, NonNegative
from crossmargin.market import BidSide
from crossmargin.stats import (
    expected_shortfall,
    filtered_returns,
    horizon_losses,
    linear_unwind,
    normal_expected_shortfall,
    normal_quantile,
    value_at_risk,
)

Floats = NDArray[np.float64]

#: Fewer returns than this say nothing about a tail.
FEWEST = 60


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


@lru_cache(maxsize=1)
def haircut_figures() -> dict[str, Any]:
    """Return the shipped figures: ``defaults`` and ``tiers``."""
    text = (files("crossmargin.margin") / "haircut_model.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def haircut_defaults() -> dict[str, Any]:
    """Return the shipped defaults, with ``adv_days`` beside those of :class:`HaircutSpec`."""
    return dict(haircut_figures()["defaults"])


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
        short for the horizon, ``MRG-012`` for a volatility or a size that is none.
    """
    sizes = np.atleast_1d(np.asarray(usd, dtype=np.float64))
    if not (math.isfinite(sigma) and sigma >= 0 and bool((sizes >= 0).all())):
        raise MarginError(
            f"a volatility of {sigma:g}, or a size below 0",
            code="MRG-012",
            field="sigma",
            hint="both are finite numbers of at least 0",
        )
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
    # A sale that takes longer takes whole days; a history knows whole days only.
    days = max(spec.horizon_days, float(math.ceil(share / spec.participation - 1e-9)))
    if spec.method != "normal":
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
    return _share_lost(spec, _tail(spec, horizon_sample(spec, days, history)))


def horizon_sample(spec: HaircutSpec, days: float, history: Floats | None) -> Floats:
    """Return the log-losses of blocks of whole days, brought to today's volatility where asked.

    Raises
    ------
    MarginError
        ``MRG-011`` when there are fewer returns than `FEWEST`, or than two blocks.
    """
    if history is None or history.size < max(FEWEST, 2 * int(days)):
        have = 0 if history is None else history.size
        raise MarginError(
            f"{have} daily returns are too few for a tail over {int(days)} days",
            code="MRG-011",
            field="prices",
            hint=f"give at least {max(FEWEST, 2 * int(days))}, or use the normal method",
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
    if days <= 0 or r.size < days or days < FEWEST:
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
