"""A validation as tables for the terminal."""

from __future__ import annotations

import math

from rich.console import Console
from rich.text import Text

from crossmargin.reports._validation_tables import changed_words, legs_words
from crossmargin.reports.terminal import ratio, table_of
from crossmargin.validation import ModelTest, TestResult, Validation

_STYLE = {"rejected": "bold red", "not rejected": "bold green", "not rejected, dear": "bold yellow"}


def print_validation(console: Console, made: Validation) -> None:
    """Print verdict, league, coverage, procyclicality and the answer to a step."""
    trial = next(model for model in made.test.models if model.tests)
    said = made.trial
    console.print(Text(f"{trial.name}: {said.word}", _STYLE[said.word]))
    console.print(Text(said.sentence))
    first, last = said.power[0], said.corrected[-1]
    console.print(
        Text(
            f"power: on {first.observations:,} days a model that breaches 2 × (3 ×) as often as "
            f"allowed is rejected with probability {ratio(first.binomial[1])} "
            f"({ratio(first.binomial[2])}) on one book; corrected over all books, on "
            f"{last.observations:,} days, {ratio(last.binomial[1])} ({ratio(last.binomial[2])})",
            "dim",
        )
    )
    _league(console, made)
    _books(console, made, trial)
    _cycle(console, made)
    _impulses(console, made)
    _sensitivity(console, made)
    _adversary(console, made)
    proxy = made.proxy
    if proxy is not None:
        console.print(
            Text(
                f"volatility proxy: a 30-day straddle is off by {ratio(proxy.straddle_typical)}"
                f" on average and {ratio(proxy.straddle_worst)} at most, on "
                f"{proxy.snapshots} recorded chains; books with * rest on it",
                "dim",
            )
        )
    for name, why in {**made.test.untested, **trial.refusals}.items():
        console.print(Text(f"{name} not tested: {why}", "dim"))


def _league(console: Console, made: Validation) -> None:
    verdicts = {one.model: one.word for one in made.verdicts}
    lines = table_of(
        "model", "coverage", "worst book", "margin, of gross", "score", "FZ0 better/worse",
        "verdict", title="league, on the books in common",
    )  # fmt: skip
    for line in made.league:
        lines.add_row(
            line.model,
            ratio(line.coverage, 2),
            ratio(line.worst_coverage, 2),
            ratio(line.margin),
            f"{line.score:.3f}",
            f"{line.better}/{line.worse}",
            verdicts[line.model],
        )
    console.print(lines)


def _books(console: Console, made: Validation, trial: ModelTest) -> None:
    lines = table_of(
        "book", "days", "breaches", "coverage", "light", "too many p", "Kupiec p", "indep. p",
        "Z2 p", "worst ×", "margin, of gross", title=f"coverage of {trial.name}",
    )  # fmt: skip
    for one in trial.tests:
        lines.add_row(
            one.book.name + (" *" if one.book.synthetic else ""),
            f"{one.hits.size:,}",
            f"{one.breaches}",
            ratio(one.coverage, 2),
            one.light.zone,
            _p(one.upper),
            _p(one.count),
            _p(one.apart),
            _p(one.shortfall["z2"]) if one.shortfall else "–",
            f"{one.worst:.2f}" if math.isfinite(one.worst) else "–",
            ratio(one.margin_share, 2 if one.margin_share < 0.01 else 1),
        )
    console.print(lines)


def _p(test: TestResult) -> str:
    if not math.isfinite(test.p_value):
        return "–"
    return "<0.001" if test.p_value < 0.001 else f"{test.p_value:.3f}"


def _cycle(console: Console, made: Validation) -> None:
    lines = table_of(
        "tool", "peak/trough", "30-day rise", "daily vol", "cost", "breaches",
        title="procyclicality, median over books",
    )  # fmt: skip
    for one in made.tool_summary:
        lines.add_row(
            one.tool,
            f"{one.peak_to_trough:.2f}",
            ratio(one.rise_30),
            ratio(one.volatility),
            ratio(one.cost),
            f"{one.breaches} in {one.observations:,}",
        )
    if made.tool_summary:
        console.print(lines)


def _impulses(console: Console, made: Validation) -> None:
    lines = table_of(
        "model", "ends at", "overshoot", "± noise", "days to peak", "days to half",
        title="answer to a doubled volatility",
    )  # fmt: skip
    for one in made.impulses:
        lines.add_row(
            one.name,
            f"{one.moved:.2f} ×",
            ratio(one.overshoot),
            ratio(one.noise) if math.isfinite(one.noise) else "–",
            f"{one.days_to_peak}",
            "–" if one.days_to_half is None else f"{one.days_to_half}",
        )
    if made.impulses:
        console.print(lines)
    for note in made.impulse_notes:
        console.print(Text(note, "dim"))


def _sensitivity(console: Console, made: Validation) -> None:
    found = made.sensitivity
    if found is None:
        return
    lines = table_of("changed", "coverage", "worst book", "margin, of gross",
                     title="sensitivity to parameters")  # fmt: skip
    shown = [("as it is", found.base), *((changed_words(one), one) for one in found.single)]
    if found.worst_pair is not None:
        shown.append((f"worst pair: {changed_words(found.worst_pair)}", found.worst_pair))
    for words, one in shown:
        lines.add_row(words, ratio(one.coverage, 2), ratio(one.lowest, 2), ratio(one.margin))
    console.print(lines)


def _adversary(console: Console, made: Validation) -> None:
    found = made.adversary
    if found is None:
        return
    lines = table_of(
        "book", "days", "breaches", "coverage", "worst ×", "legs",
        title=f"worst of {found.drawn} drawn books; chance reaches {found.by_chance} breaches",
    )  # fmt: skip
    for one in found.worst:
        lines.add_row(
            one.book.name,
            f"{one.hits.size:,}",
            f"{one.breaches}",
            ratio(one.coverage, 2),
            f"{one.worst:.2f}",
            legs_words(one),
        )
    console.print(lines)
