"""Margins against what happened: every contender on every book."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from crossmargin.errors import CrossmarginError, InputError
from crossmargin.validation._result import Bools, Floats, TestResult
from crossmargin.validation.attribution import Attribution, attribution
from crossmargin.validation.compare import fz0
from crossmargin.validation.contenders import Contender, Setting
from crossmargin.validation.coverage import (
    TrafficLight,
    binomial_upper,
    conditional_coverage,
    independence,
    kupiec,
    traffic_light,
    transitions,
)
from crossmargin.validation.durations import DurationTest, duration_test, mixed_kupiec
from crossmargin.validation.models import Forecast
from crossmargin.validation.portfolios import Crash, Portfolio
from crossmargin.validation.procyclicality import Procyclicality, procyclicality
from crossmargin.validation.shortfall import (
    Law,
    Statistic,
    shortfall_test,
    simulated_statistics,
)
from crossmargin.validation.windows import OverlappingRate, blocks, overlapping_rate

Progress = Callable[[str, int, int], None]
_ZERO = 1e-9
#: Draws behind the p-values of expected shortfall, and their law: coins have tails near the
#: fourth power, and a normal law would reject right models of them too often (house).
_DRAWS = 20_000
_LAW = Law(4.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class CrashLine:
    """How one book came through one crisis.

    Attributes
    ----------
    name : str
        The crisis.
    days : int
        Tested days in it; 0 where the book was not tested then.
    breaches : int
        Of them.
    worst : float
        Largest loss as a multiple of the margin held; NaN without a day.
    day : str
        When that was.
    """

    name: str
    days: int
    breaches: int
    worst: float
    day: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BookTest:
    """One contender on one book.

    Attributes
    ----------
    book : Portfolio
        The book.
    days : tuple of str
        First day of each block that was tested.
    margin, loss : float64[n]
        Held, and lost over the horizon, US dollars.
    hits : bool[n]
        Where the loss was larger than the margin.
    path_days : tuple of str; path : float64[m]
        Margin on every day on which all contenders had one.
    count, upper, apart, both : TestResult
        Kupiec, one-sided binomial, Christoffersen's independence, conditional coverage.
    waits : DurationTest
        Days between breaches.
    mixed : TestResult
        Number of breaches and every wait for one (Haas).
    light : TrafficLight
        Zone.
    overlapping : OverlappingRate or None
        Rate over windows that begin every day, for horizons above a day.
    shortfall : dict of str to TestResult
        ``z1``, ``z2`` and ``min_bias`` where the contender states VaR and ES.
    score : float
        Mean quantile score of the margin, US dollars; smaller is better.
    joint : float64[n] or None
        FZ0 scores, where the contender states VaR and ES that are positive.
    explained : Attribution or None
        How well the model's own revaluation explains the profit, where it has one.
    cycle : Procyclicality or None
        Of the margin path; None where a margin is 0.
    crashes : tuple of CrashLine
        In order.
    """

    book: Portfolio
    days: tuple[str, ...]
    margin: Floats
    loss: Floats
    hits: Bools
    path_days: tuple[str, ...]
    path: Floats
    count: TestResult
    upper: TestResult
    apart: TestResult
    both: TestResult
    waits: DurationTest
    mixed: TestResult
    light: TrafficLight
    overlapping: OverlappingRate | None
    shortfall: dict[str, TestResult]
    score: float
    joint: Floats | None
    explained: Attribution | None
    cycle: Procyclicality | None
    crashes: tuple[CrashLine, ...]

    @property
    def breaches(self) -> int:
        """Number of breaches."""
        return int(self.hits.sum())

    @property
    def rate(self) -> float:
        """Share of observations that breached."""
        return self.breaches / self.hits.size

    @property
    def coverage(self) -> float:
        """Share of observations that were covered."""
        return 1.0 - self.rate

    @property
    def margin_share(self) -> float:
        """Average margin as a share of the book's gross size."""
        return float(self.margin.mean()) / self.book.gross_usd

    @property
    def worst(self) -> float:
        """Largest loss as a multiple of the margin held that day."""
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(self.margin > 0, self.loss / self.margin, np.nan)
        return float(np.nanmax(ratio)) if np.isfinite(ratio).any() else math.nan

    @property
    def excess_usd(self) -> float:
        """Mean loss beyond the margin where it was breached; 0 without a breach."""
        over = (self.loss - self.margin)[self.hits]
        return float(over.mean()) if over.size else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelTest:
    """One contender on all books.

    Attributes
    ----------
    name, title : str
        Of the contender.
    limits : tuple of str
        What a reader must know.
    tests : tuple of BookTest
        Books that it covers, in order.
    refusals : dict of str to str
        By book: why there is no figure.
    """

    name: str
    title: str
    limits: tuple[str, ...]
    tests: tuple[BookTest, ...]
    refusals: dict[str, str] = field(default_factory=dict)

    def on(self, book: str) -> BookTest | None:
        """Return the test on a book, or None where there is none."""
        return next((one for one in self.tests if one.book.name == book), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backtest:
    """All contenders on all books.

    Attributes
    ----------
    setting : Setting
        What they saw.
    models : tuple of ModelTest
        In the order given; the first is the one on trial.
    crashes : tuple of Crash
        Crises marked.
    untested : dict of str to str
        Books without a day of test, and why.
    """

    setting: Setting
    models: tuple[ModelTest, ...]
    crashes: tuple[Crash, ...]
    untested: dict[str, str]


def run_backtest(
    contenders: Sequence[Contender],
    setting: Setting,
    *,
    crashes: Sequence[Crash] = (),
    seed: int = 0,
    progress: Progress | None = None,
) -> Backtest:
    """Hold margins against losses.

    All contenders that cover a book are tested on the same days of it: those from its first day
    on which each has a margin. Over horizons of several days the tests use blocks that do not
    overlap.

    Parameters
    ----------
    contenders : sequence of Contender
        The first is the one on trial, the others challenge it.
    setting : Setting
        Books, history, horizon and level.
    crashes : sequence of Crash
        Crises to mark.
    seed : int
        Of simulated laws and the bootstrap.
    progress : callable, optional
        Told the contender's name, steps done and steps in all.

    Raises
    ------
    InputError
        ``INP-003`` when no contender covers any book on any day.
    """
    if not contenders:
        raise InputError("a back-test needs a model", code="INP-003", field="ruleset")
    made: list[list[Forecast | str]] = []
    for one in contenders:

        def told(done: int, total: int, name: str = one.name) -> None:
            if progress is not None:
                progress(name, done, total)

        made.append(one.forecasts(setting, told))
    days = _common_days(made, setting)
    untested = {
        book.name: "no day on which its prices and a margin are known after the start-up"
        for p, book in enumerate(setting.books)
        if blocks(int(days[p].sum()), setting.horizon).size < 2
    }
    laws: dict[int, dict[Statistic, Floats]] = {}
    models = []
    for one, forecasts in zip(contenders, made, strict=True):
        tests, refusals = [], {}
        for p, (book, forecast) in enumerate(zip(setting.books, forecasts, strict=True)):
            if isinstance(forecast, str):
                refusals[book.name] = forecast
            elif book.name not in untested:
                tests.append(_book_test(p, forecast, days[p], setting, crashes, laws, seed))
        models.append(
            ModelTest(
                name=one.name, title=one.title, limits=one.limits,
                tests=tuple(tests), refusals=refusals,
            )
        )  # fmt: skip
    if not any(model.tests for model in models):
        why = next(iter([*untested.values(), *models[0].refusals.values()]), "no books")
        raise InputError(
            f"nothing can be tested: {why}", code="INP-003", field="portfolio",
            hint="give books that the rules cover and a longer history",
        )  # fmt: skip
    return Backtest(
        setting=setting, models=tuple(models), crashes=tuple(crashes), untested=untested
    )


def _common_days(made: list[list[Forecast | str]], setting: Setting) -> NDArray[np.bool_]:
    days = setting.tested.copy()
    for forecasts in made:
        for p, forecast in enumerate(forecasts):
            if not isinstance(forecast, str):
                days[p] &= np.isfinite(forecast.margin)
    return days


def _book_test(
    p: int,
    forecast: Forecast,
    days: Bools,
    setting: Setting,
    crashes: Sequence[Crash],
    laws: dict[int, dict[Statistic, Floats]],
    seed: int,
) -> BookTest:
    book, horizon, level = setting.books[p], setting.horizon, setting.level
    every = np.flatnonzero(days)
    starts = every[blocks(every.size, horizon)]
    # What a model holds is never less than nothing.
    margin = np.maximum(forecast.margin[starts], 0.0)
    loss = setting.loss[p, starts]
    hits = loss > margin + _ZERO * book.gross_usd
    x, n = int(hits.sum()), hits.size
    tails, joint = _tail_tests(forecast, starts, loss, level, laws, seed)
    path = np.maximum(forecast.margin[every], 0.0)
    overlapping = None
    if horizon > 1:
        all_hits = setting.loss[p, every] > path + _ZERO * book.gross_usd
        overlapping = overlapping_rate(all_hits, horizon, level, seed=seed)
    names = np.array(setting.history.days)
    day_names = tuple(str(x) for x in names[starts])
    return BookTest(
        book=book,
        days=day_names,
        margin=margin,
        loss=loss,
        hits=hits,
        path_days=tuple(str(x) for x in names[every]),
        path=path,
        count=kupiec(x, n, level),
        upper=binomial_upper(x, n, level),
        apart=independence(transitions(hits)),
        both=conditional_coverage(hits, level),
        waits=duration_test(hits),
        mixed=mixed_kupiec(hits, level),
        light=traffic_light(x, n, level),
        overlapping=overlapping,
        shortfall=tails,
        score=quantile_score(loss, margin, level),
        joint=joint,
        explained=_explained(forecast, starts, loss),
        cycle=_cycle(path),
        crashes=tuple(_crash(crash, day_names, margin, loss, hits) for crash in crashes),
    )


def _explained(forecast: Forecast, starts: NDArray[np.intp], loss: Floats) -> Attribution | None:
    if forecast.explained is None:
        return None
    theoretical = forecast.explained[starts]
    known = np.isfinite(theoretical)
    if not (known.sum() > 1 and np.ptp(loss[known])):
        return None
    return attribution(theoretical[known], -loss[known])


def _cycle(path: Floats) -> Procyclicality | None:
    try:
        return procyclicality(path)
    except CrossmarginError:
        return None


def _tail_tests(
    forecast: Forecast,
    starts: NDArray[np.intp],
    loss: Floats,
    level: float,
    laws: dict[int, dict[Statistic, Floats]],
    seed: int,
) -> tuple[dict[str, TestResult], Floats | None]:
    """Test VaR and ES where the contender states both and they are positive."""
    if forecast.var is None or forecast.es is None:
        return {}, None
    var, es = forecast.var[starts], forecast.es[starts]
    if not bool((np.isfinite(var) & np.isfinite(es) & (es > 0) & (var > 0)).all()):
        return {}, None
    if loss.size not in laws:
        laws[loss.size] = simulated_statistics(loss.size, level, draws=_DRAWS, seed=seed, law=_LAW)
    names: tuple[Statistic, ...] = ("z1", "z2", "min_bias")
    tests: dict[str, TestResult] = {
        name: shortfall_test(name, loss, var, es, level, law=_LAW, simulated=laws[loss.size])
        for name in names
    }
    return tests, fz0(loss, var, es, level)


def quantile_score(loss: Floats, margin: Floats, level: float) -> float:
    """Return the mean quantile (pinball) score of a margin taken as the quantile at `level`.

    ``max(level·(L − M), (level − 1)·(L − M))``: it is least, on average, for the true quantile,
    so it weighs breaches against idle margin. Source: Koenker and Bassett (1978), Gneiting
    (2011) (published).
    """
    gap = loss - margin
    return float(np.mean(np.maximum(level * gap, (level - 1.0) * gap)))


def _crash(
    crash: Crash, days: Sequence[str], margin: Floats, loss: Floats, hits: Bools
) -> CrashLine:
    rows = [k for k, day in enumerate(days) if crash.since <= day <= crash.until]
    if not rows:
        return CrashLine(name=crash.name, days=0, breaches=0, worst=math.nan, day="")
    ratio = [loss[k] / margin[k] if margin[k] > 0 else math.nan for k in rows]
    known = [r for r in ratio if math.isfinite(r)]
    worst = max(known) if known else math.nan
    day = days[rows[ratio.index(worst)]] if known else ""
    return CrashLine(
        name=crash.name, days=len(rows), breaches=int(hits[rows].sum()), worst=worst, day=day
    )
