"""Everything a validation says of one model, in one value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from crossmargin.errors import CrossmarginError
from crossmargin.validation.adversary import Adversary, adversary
from crossmargin.validation.backtest import Backtest, run_backtest
from crossmargin.validation.contenders import Contender, Setting
from crossmargin.validation.house import OfTail
from crossmargin.validation.impulse import Impulse, impulse_response
from crossmargin.validation.models import Forecast
from crossmargin.validation.portfolios import Crash
from crossmargin.validation.proxy_error import ProxyError
from crossmargin.validation.sensitivity import Sensitivity
from crossmargin.validation.summary import (
    Coverage,
    LeagueLine,
    Verdict,
    coverage_by,
    league,
    products,
    verdict,
)
from crossmargin.validation.tools import ToolLine, tool_lines, tool_table

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSummary:
    """One anti-procyclicality tool over all books.

    Attributes
    ----------
    tool : str
        ``none``, ``stress weight``, ``floor`` or ``buffer``.
    books : int
        That need margin on every day.
    peak_to_trough, rise_30, volatility : float
        Medians over the books: ratio, largest relative rise over 30 days, daily volatility of
        margin.
    cost : float
        Mean over the books of the extra average margin.
    breaches, observations : int
        Over the books.
    """

    tool: str
    books: int
    peak_to_trough: float
    rise_30: float
    volatility: float
    cost: float
    breaches: int
    observations: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """The whole validation.

    Attributes
    ----------
    test : Backtest
        Every contender on every book; the first contender is on trial.
    verdicts : tuple of Verdict
        By contender that covers a book.
    league : tuple of LeagueLine
        On the books in common, best first.
    by_group, by_product : tuple of Coverage
        Of the model on trial.
    tools : dict of str to tuple of ToolLine
        By book, for the model on trial.
    tools_note : str
        What the tools are laid over.
    tool_summary : tuple of ToolSummary
        Over the books.
    impulses : tuple of Impulse
        Answers to a step in volatility.
    impulse_notes : tuple of str
        Contenders without one, and why.
    adversary : Adversary or None
        Books looked for because the model does badly on them.
    sensitivity : Sensitivity or None
        What the verdict owes to parameters, where some were varied.
    proxy : ProxyError or None
        Error of the volatility proxy, where books rest on it and chains are recorded.
    seed : int
        Of everything drawn.
    """

    test: Backtest
    verdicts: tuple[Verdict, ...]
    league: tuple[LeagueLine, ...]
    by_group: tuple[Coverage, ...]
    by_product: tuple[Coverage, ...]
    tools: dict[str, tuple[ToolLine, ...]]
    tools_note: str
    tool_summary: tuple[ToolSummary, ...]
    impulses: tuple[Impulse, ...]
    impulse_notes: tuple[str, ...]
    adversary: Adversary | None
    sensitivity: Sensitivity | None
    proxy: ProxyError | None
    seed: int

    @property
    def trial(self) -> Verdict:
        """Verdict on the model on trial."""
        return self.verdicts[0]


def validate(
    contenders: Sequence[Contender],
    setting: Setting,
    *,
    crashes: Sequence[Crash] = (),
    seed: int = 0,
    adversarial: int = 0,
    steps: bool = True,
    own_tools: bool = False,
    varied: Sensitivity | None = None,
    proxy: ProxyError | None = None,
    progress: Progress | None = None,
) -> Validation:
    """Try the first contender, with the others as challengers.

    Parameters
    ----------
    contenders : sequence of Contender
        The first is on trial.
    setting : Setting
        Books and history.
    crashes : sequence of Crash
        Crises to mark.
    seed : int
        Of everything drawn.
    adversarial : int
        Books to draw in search of the model's weakness; 0 for no search.
    steps : bool
        Whether to measure the answer to a step in volatility.
    own_tools : bool
        Run a model that has anti-procyclicality tools of its own again without and with each,
        instead of laying the general tools over its margin.
    varied, proxy : Sensitivity, ProxyError, optional
        Carried into the report.
    progress : callable, optional
        Told what is done, steps done and steps in all.

    Raises
    ------
    InputError
        As :func:`~crossmargin.validation.run_backtest`.
    """
    test = run_backtest(contenders, setting, crashes=crashes, seed=seed, progress=progress)
    tried = [model for model in test.models if model.tests]
    trial = tried[0]
    first = contenders[0]
    if own_tools and isinstance(first, OfTail):
        tools = _own_tools(first, test, setting, progress)
        note = "The model without any of its tools, and with each of its own alone."
    else:
        tools = _tools(test, setting)
        note = "General tools over the margin as the model gives it; they know only its past."
        if isinstance(first, OfTail):
            note += " It has tools of its own in it; --own-tools says what those do and cost."
    impulses, notes = _impulses(contenders, setting, seed, progress) if steps else ([], [])
    found = None
    if adversarial:

        def drawn(name: str, done: int, total: int) -> None:
            if progress is not None:
                progress(f"{name}: drawn books", done, total)

        found = adversary(
            first, setting.history, setting.shape, seed=seed, count=adversarial,
            level=setting.level, horizon=setting.horizon, progress=drawn,
        )  # fmt: skip
    return Validation(
        test=test,
        verdicts=tuple(verdict(model, setting.level) for model in tried),
        league=tuple(league(test, seed=seed)),
        by_group=tuple(coverage_by(trial, lambda one: [one.book.group])),
        by_product=tuple(coverage_by(trial, products)),
        tools=tools,
        tools_note=note,
        tool_summary=tuple(_summary(tools)),
        impulses=tuple(impulses),
        impulse_notes=tuple(notes),
        adversary=found,
        sensitivity=varied,
        proxy=proxy,
        seed=seed,
    )


def _tools(test: Backtest, setting: Setting) -> dict[str, tuple[ToolLine, ...]]:
    model = next(one for one in test.models if one.tests)
    out = {}
    row = {book.name: p for p, book in enumerate(setting.books)}
    days = {day: k for k, day in enumerate(setting.history.days)}
    for one in model.tests:
        p = row[one.book.name]
        path = np.full(len(setting.history.days), np.nan)
        path[[days[day] for day in one.path_days]] = one.path
        lines = tool_table(path, setting.loss[p], setting.first[p], one.book.gross_usd)
        if lines:
            out[one.book.name] = tuple(lines)
    return out


def _own_tools(
    contender: OfTail, test: Backtest, setting: Setting, progress: Progress | None
) -> dict[str, tuple[ToolLine, ...]]:
    """Measure a model's own tools, each alone, on the days that were tested."""
    made = {}
    for tool, variant in contender.variants().items():

        def told(done: int, total: int, name: str = variant.name) -> None:
            if progress is not None:
                progress(name, done, total)

        made[tool] = variant.forecasts(setting, told)
    row = {book.name: p for p, book in enumerate(setting.books)}
    days = {day: k for k, day in enumerate(setting.history.days)}
    out = {}
    for one in next(model for model in test.models if model.tests).tests:
        p = row[one.book.name]
        at = [days[day] for day in one.path_days]
        paths = {}
        for tool, found in made.items():
            forecast = found[p]
            if isinstance(forecast, Forecast):
                paths[tool] = forecast.margin[at]
        lines = tool_lines(paths, setting.loss[p, at], one.book.gross_usd)
        if lines:
            out[one.book.name] = tuple(lines)
    return out


def _summary(tools: dict[str, tuple[ToolLine, ...]]) -> list[ToolSummary]:
    out = []
    for k, name in enumerate(("none", "stress weight", "floor", "buffer")):
        lines = [rows[k] for rows in tools.values()]
        if not lines:
            continue
        cycles = [line.cycle for line in lines]
        out.append(
            ToolSummary(
                tool=name,
                books=len(lines),
                peak_to_trough=float(np.median([c.peak_to_trough for c in cycles])),
                rise_30=float(np.median([c.relative_rise.get(30, np.nan) for c in cycles])),
                volatility=float(np.median([c.volatility for c in cycles])),
                cost=float(np.mean([c.cost or 0.0 for c in cycles])),
                breaches=sum(line.breaches for line in lines),
                observations=sum(line.observations for line in lines),
            )
        )
    return out


def _impulses(
    contenders: Sequence[Contender], setting: Setting, seed: int, progress: Progress | None
) -> tuple[list[Impulse], list[str]]:
    made, notes = [], []
    for one in contenders:
        step = replace(one.step, seed=seed)

        def told(done: int, total: int, name: str = one.name) -> None:
            if progress is not None:
                progress(f"{name}: step in volatility", done, total)

        try:
            found = impulse_response(one, step, setting.shape, level=setting.level, progress=told)
        except CrossmarginError as error:
            notes.append(f"{one.name}: {error.message}")
        else:
            made.append(found)
    return made, notes
