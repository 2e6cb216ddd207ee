"""How margin answers a step in volatility: how far it overshoots, and how long it takes.

Prices of one coin are drawn with one daily volatility and, from one day on, with another. Every
contender sees the same prices; its margin for a long position, as a share of its size, is averaged
over the paths. A model that goes beyond what it ends at asks for more than the new market needs,
just when everybody has to pay. Source: the test of Gurrola-Perez and Murphy (2025), as
clearing-practice §1.6 describes it (secondary); the measures are the house's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from crossmargin.errors import InputError
from crossmargin.validation._result import Floats
from crossmargin.validation.contenders import Contender, make_setting
from crossmargin.validation.history import MarketHistory
from crossmargin.validation.portfolios import Leg, Portfolio
from crossmargin.validation.step import Step
from crossmargin.validation.surface import HeldShape

Progress = Callable[[int, int], None]

_FIRST = date(2000, 1, 1)
_STRATA = 50
#: The book of the test: long a million dollars of the coin.
IMPULSE_BOOK = Portfolio(
    name="impulse", group="impulse", legs=[Leg(kind="perpetual", asset="BTC", usd=1e6)]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Impulse:
    """The answer of one contender.

    Attributes
    ----------
    name : str
        Contender.
    days : tuple of int
        Days since the step; the step falls between day 0 and day 1.
    margin : float64[n]
        Mean margin over the paths, as a share of the position; NaN where there is none.
    start, peak, end : float
        Before the step (mean of the last tenth), at its highest after it, and at the end (mean
        of the last tenth).
    overshoot : float
        ``peak/end − 1`` for a rise.
    noise : float
        Standard error of the mean path at its peak, as a share of the end: an overshoot within
        twice of it says nothing. NaN with one path.
    days_to_peak : int
        From the step.
    days_to_half : int or None
        Until half of the change from start to end is made; None where it does not change.
    moved : float
        ``end/start``: 2 for a model that follows volatility fully.
    """

    name: str
    days: tuple[int, ...]
    margin: Floats
    start: float
    peak: float
    end: float
    overshoot: float
    noise: float
    days_to_peak: int
    days_to_half: int | None
    moved: float


def step_history(step: Step, path: int, coin: str = "BTC") -> MarketHistory:
    """Draw one path from the seed and its number: normal returns whose volatility steps.

    Draws are stratified in runs of fifty days (one from each fiftieth of the law, in random
    order), so that the mean over paths settles with few of them; each day's law is normal.
    """
    rng = np.random.default_rng([step.seed, path])
    n = step.calm_days + step.days
    sigma = np.where(np.arange(n) < step.calm_days, step.before, step.after)
    returns = sigma * _stratified_normals(rng, n)
    prices = 10_000.0 * np.exp(np.cumsum(np.concatenate([[0.0], returns])))
    days = tuple((_FIRST + timedelta(days=k)).isoformat() for k in range(n + 1))
    return MarketHistory(
        days=days,
        symbols=(coin,),
        price=prices[:, None],
        carry=np.zeros((n + 1, 1)),
        vol=np.full((n + 1, 1), np.nan),
        source=f"made up: a step in volatility, seed {step.seed}",
    )


def _stratified_normals(rng: np.random.Generator, count: int) -> Floats:
    from scipy.special import ndtri

    runs = -(-count // _STRATA)
    order = np.argsort(rng.random((runs, _STRATA)), axis=1)
    inside = (order + rng.random((runs, _STRATA))) / _STRATA
    return np.asarray(ndtri(inside.ravel()[:count]), dtype=np.float64)


def impulse_response(
    contender: Contender,
    step: Step,
    shape: HeldShape,
    *,
    level: float = 0.99,
    progress: Progress | None = None,
) -> Impulse:
    """Average a contender's margin over paths with a step in volatility.

    Parameters
    ----------
    contender : Contender
        What is tried.
    step : Step
        The paths.
    shape : HeldShape
        Of the volatility proxy (the book holds no option).
    level : float
        Confidence.
    progress : callable, optional
        Told paths done and paths in all.

    Raises
    ------
    InputError
        ``INP-003`` when the contender has no margin for the book.
    """
    found = []
    for path in range(step.paths):
        history = step_history(step, path)
        setting = make_setting([IMPULSE_BOOK], history, shape, level=level, start_up=0)
        made = contender.forecasts(setting)[0]
        if isinstance(made, str):
            raise InputError(made, code="INP-003", field="ruleset")
        found.append(made.margin / IMPULSE_BOOK.gross_usd)
        if progress is not None:
            progress(path + 1, step.paths)
    return measure(contender.name, np.array(found), step.calm_days)


def measure(name: str, paths: Floats, step_at: int) -> Impulse:
    """Measure margin paths whose market steps after the close of day `step_at`.

    Parameters
    ----------
    name : str
        Contender.
    paths : float64[S, D]
        Margin by path and day; NaN where it is not known (a model before its start-up).
    step_at : int
        Last close of the old volatility.
    """
    margin = paths.mean(axis=0)
    known = margin[np.isfinite(margin)]
    if not known.size or not np.isfinite(margin[step_at]):
        raise InputError(
            f"{name} has no margin when volatility steps",
            code="INP-003",
            field="calm_days",
            hint="give it more days before the step",
        )
    before = margin[: step_at + 1]
    before = before[np.isfinite(before)]
    last = int(np.flatnonzero(np.isfinite(margin))[-1])
    after = margin[step_at + 1 : last + 1]
    start = float(before[-max(before.size // 10, 1) :].mean())
    end = float(after[-max(after.size // 10, 1) :].mean())
    rises = end >= start
    at = int(np.nanargmax(after) if rises else np.nanargmin(after))
    peak = float(after[at])
    spread = paths[:, step_at + 1 + at].std(ddof=1) if paths.shape[0] > 1 else math.nan
    half = None
    if not math.isclose(start, end, rel_tol=1e-3):
        passed = (after - start) / (end - start) >= 0.5
        half = int(np.argmax(passed)) + 1
    return Impulse(
        name=name,
        days=tuple(range(-step_at, last - step_at + 1)),
        margin=margin[: last + 1],
        start=start,
        peak=peak,
        end=end,
        overshoot=peak / end - 1.0,
        noise=float(spread) / math.sqrt(paths.shape[0]) / end,
        days_to_peak=at + 1,
        days_to_half=half,
        moved=end / start,
    )
