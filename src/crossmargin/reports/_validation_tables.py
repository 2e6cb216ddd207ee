"""Sections of the validation report that are tables: coverage to the volatility proxy."""

from __future__ import annotations

import math
from collections.abc import Sequence

from crossmargin.reports import _validation_charts as charts
from crossmargin.reports._table import Column, figure, table
from crossmargin.reports._text import DASH, Safe, count, esc, join, number, percent
from crossmargin.validation import (
    BookTest,
    Coverage,
    ModelTest,
    TestResult,
    Validation,
    Variation,
)

_TOOLS = {
    "none": "none",
    "stress weight": "25 % stress weight",
    "floor": "floor at the long-run level",
    "buffer": "25 % buffer, used up when margin rises",
}


def section(anchor: str, title: str, *parts: str) -> Safe:
    return Safe(
        f'<section id="{anchor}" aria-label="{esc(title)}"><h2>{esc(title)}</h2>'
        f"{join(list(parts))}</section>"
    )


def words_of(text: str) -> Safe:
    return Safe(f"<p>{esc(text)}</p>")


def _p_value(test: TestResult) -> str:
    if not math.isfinite(test.p_value):
        return DASH
    return "< 0.001" if test.p_value < 0.001 else number(test.p_value, 3)


def coverage(made: Validation, trial: ModelTest) -> Safe:
    columns = [
        Column("book", text=True), Column("days"), Column("breaches"), Column("coverage"),
        Column("light", text=True), Column("too many, p"), Column("Kupiec p"),
        Column("independence p"), Column("both p"), Column("Weibull b"), Column("worst ×"),
        Column("margin, of gross"),
    ]  # fmt: skip
    rows = [
        [
            one.book.name + (" *" if one.book.synthetic else ""),
            f"{one.hits.size:,}",
            f"{one.breaches}",
            percent(one.coverage, 2),
            one.light.zone,
            _p_value(one.upper),
            _p_value(one.count),
            _p_value(one.apart),
            _p_value(one.both),
            number(one.waits.shape, 2),
            number(one.worst, 2),
            percent(one.margin_share, 2 if one.margin_share < 0.01 else 1),
        ]
        for one in trial.tests
    ]
    words = (
        "Kupiec is two-sided: it also rejects a margin that is breached too seldom, which is dear "
        "and not wrong. Weibull b below 1: breaches cluster. Books with * are valued on the "
        "volatility proxy and are synthetic."
    )
    level = made.test.setting.level
    return section(
        "coverage", "Coverage",
        figure("Rate of breaches", f"The line marks the {100 * (1 - level):.3g} % that is allowed.",
               charts.coverage_chart(trial.tests, level), wide=True),
        Safe(f'<p class="section-note">{esc(words)}</p>'),
        table("Every book", columns, rows),
        _by("By group of books", made.by_group),
        _by("By product held", made.by_product),
    )  # fmt: skip


def _by(title: str, lines: Sequence[Coverage]) -> Safe:
    columns = [Column("what", text=True), Column("books"), Column("observations"),
               Column("breaches"), Column("coverage"), Column("worst"),
               Column("on", text=True)]  # fmt: skip
    rows = [
        [one.name, f"{one.books}", f"{one.observations:,}", f"{one.breaches}",
         percent(one.coverage, 2), percent(one.worst, 2), one.worst_book]
        for one in lines
    ]  # fmt: skip
    return join([Safe(f"<h3>{esc(title)}</h3>"), table(title, columns, rows)])


def crashes(made: Validation, trial: ModelTest) -> Safe:
    if not made.test.crashes:
        return Safe("")
    names = [crash.name for crash in made.test.crashes]
    columns = [Column("book", text=True), *(Column(name) for name in names)]
    rows = []
    for one in trial.tests:
        cells = []
        for line in one.crashes:
            if not line.days:
                cells.append(DASH)
            else:
                mark = f" ({line.breaches})" if line.breaches else ""
                cells.append(f"{number(line.worst, 2)}{mark}")
        rows.append([one.book.name + (" *" if one.book.synthetic else ""), *cells])
    words = (
        "Largest loss as a multiple of the margin held; above 1 it was breached, in brackets on "
        "how many days. A dash: not tested then."
    )
    return section("crashes", "Crises", words_of(words), table("Crises", columns, rows))


def shortfall(trial: ModelTest) -> Safe:
    rows = []
    for one in trial.tests:
        if one.shortfall:
            row = [one.book.name]
            for key in ("z1", "z2", "min_bias"):
                found = one.shortfall[key]
                row += [number(found.statistic, 3), _p_value(found)]
            rows.append(row)
    if not rows:
        return Safe("")
    columns = [Column("book", text=True), Column("Z1"), Column("p"), Column("Z2"), Column("p"),
               Column("MinBias"), Column("p")]  # fmt: skip
    note = next(one.shortfall["z2"].note for one in trial.tests if one.shortfall)
    words = (
        "Acerbi and Székely's tests of the expected shortfall that the model states; negative: "
        f"deeper than stated. One-sided p-values from {note}; a heavier law is more forgiving."
    )
    return section("shortfall", "Expected shortfall", words_of(words), table("ES", columns, rows))


def explained(trial: ModelTest) -> Safe:
    rows = [
        [one.book.name, number(one.explained.spearman, 3),
         number(one.explained.kolmogorov_smirnov, 3), one.explained.zone]
        for one in trial.tests
        if one.explained is not None
    ]  # fmt: skip
    if not rows:
        return Safe("")
    columns = [Column("book", text=True), Column("Spearman"), Column("Kolmogorov–Smirnov"),
               Column("zone", text=True)]  # fmt: skip
    words = (
        "Does the model see what moves the book: the profit that its own factors and revaluation "
        "give against the hypothetical profit of the test, in the zones of Basel MAR32."
    )
    return section(
        "attribution", "Attribution of profit and loss", words_of(words),
        table("Attribution", columns, rows),
    )  # fmt: skip


def sensitivity(made: Validation) -> Safe:
    found = made.sensitivity
    if found is None:
        return Safe("")
    columns = [Column("changed", text=True), Column("coverage"), Column("worst book"),
               Column("on", text=True), Column("margin, of gross")]  # fmt: skip
    lines = [("as it is", found.base), *((changed_words(one), one) for one in found.single)]
    if found.worst_pair is not None:
        lines.append((f"worst of {found.pairs} pairs: {changed_words(found.worst_pair)}",
                      found.worst_pair))  # fmt: skip
    rows = [
        [words, percent(one.coverage, 2), percent(one.lowest, 2), one.worst_book,
         percent(one.margin)]
        for words, one in lines
    ]  # fmt: skip
    return section(
        "sensitivity", "Sensitivity to parameters",
        words_of("Each parameter alone, and the pair of changes that covers least."),
        table("Sensitivity", columns, rows),
    )  # fmt: skip


def changed_words(one: Variation) -> str:
    """Say which parameters were changed, and to what."""
    return ", ".join(f"{name} {value:g}" for name, value in one.changed.items())


def cycle(made: Validation) -> Safe:
    if not made.tool_summary:
        return Safe("")
    columns = [Column("tool", text=True), Column("peak / trough"), Column("largest 30-day rise"),
               Column("daily volatility"), Column("cost"), Column("breaches")]  # fmt: skip
    rows = [
        [_TOOLS[one.tool], number(one.peak_to_trough, 2), percent(one.rise_30),
         percent(one.volatility), percent(one.cost, 1, sign=True),
         f"{one.breaches} in {one.observations:,}"]
        for one in made.tool_summary
    ]  # fmt: skip
    words = (
        "Margin of constant books through the history, median over "
        f"{count(made.tool_summary[0].books, 'book')} that need margin every day, with and without "
        f"each tool of EMIR art. 28. {made.tools_note} Cost is the average extra margin. Breaches "
        "count overlapping windows where the horizon is above a day."
    )
    each = [Column("book", text=True), Column("peak / trough"), Column("1 day"), Column("5 days"),
            Column("30 days"), Column("with weight"), Column("with floor"),
            Column("with buffer")]  # fmt: skip
    lines = []
    for name, tools in made.tools.items():
        raw = tools[0].cycle
        lines.append(
            [name, number(raw.peak_to_trough, 2),
             *(percent(raw.relative_rise.get(n, math.nan)) for n in (1, 5, 30)),
             *(f"{number(t.cycle.peak_to_trough, 2)} ({percent(t.cycle.cost, 0, sign=True)})"
               for t in tools[1:])]
        )  # fmt: skip
    return section(
        "cycle", "Procyclicality", words_of(words), table("Tools", columns, rows),
        Safe("<h3>Book by book: ratio, largest relative rises, ratio and cost with each tool</h3>"),
        table("Book by book", each, lines),
    )  # fmt: skip


def impulse(made: Validation) -> Safe:
    if not made.impulses and not made.impulse_notes:
        return Safe("")
    columns = [Column("model", text=True), Column("ends at"), Column("overshoot"),
               Column("± noise"), Column("days to peak"), Column("days to half")]  # fmt: skip
    rows = [
        [one.name, f"{number(one.moved, 2)} ×", percent(one.overshoot), percent(one.noise),
         f"{one.days_to_peak}", DASH if one.days_to_half is None else f"{one.days_to_half}"]
        for one in made.impulses
    ]  # fmt: skip
    words = (
        "The daily volatility of one coin doubles overnight and stays. Margin of a long position, "
        "relative to before; overshoot is its peak over where it ends. An overshoot within twice "
        "the noise says nothing."
    )
    notes = [words_of(note) for note in made.impulse_notes]
    chart = [figure("Days after the step", "", charts.impulse_chart(made.impulses), wide=True)]
    return section(
        "impulse", "Answer to a step in volatility", words_of(words),
        *(chart if made.impulses else []), table("Impulse response", columns, rows), *notes,
    )  # fmt: skip


def adversary(made: Validation) -> Safe:
    found = made.adversary
    if found is None:
        return Safe("")
    columns = [Column("book", text=True), Column("legs", text=True, wrap=True), Column("days"),
               Column("breaches"), Column("coverage"), Column("worst ×")]  # fmt: skip
    rows = [
        [one.book.name, legs_words(one), f"{one.hits.size:,}", f"{one.breaches}",
         percent(one.coverage, 2), number(one.worst, 2)]
        for one in found.worst
    ]  # fmt: skip
    words = (
        f"The worst of {found.drawn} books drawn with seed {found.seed} from "
        f"{', '.join(found.families)}. A search always finds something: the worst of as many "
        f"independent books of a right model would have up to {found.by_chance} breaches."
        + (f" The model refused {found.refused} more." if found.refused else "")
    )
    return section(
        "adversary", "Adversarial books", words_of(words), table("Worst found", columns, rows)
    )


def legs_words(one: BookTest) -> str:
    """Say what a book holds, in one line."""
    said = []
    for leg in one.book.legs:
        kind = f"{leg.strike:g} {leg.kind} {leg.days} d" if leg.kind != "perpetual" else leg.symbol
        coin = f"{leg.asset} " if leg.kind != "perpetual" else ""
        said.append(f"{leg.usd / 1e6:+g}m {coin}{kind}")
    said += [f"on {pledge.usd / 1e6:g}m {pledge.asset}" for pledge in one.book.collateral]
    return ", ".join(said)


def proxy(made: Validation) -> Safe:
    held = any(one.book.synthetic for model in made.test.models for one in model.tests)
    if not held:
        return Safe("")
    parts = [
        words_of(
            "Books with options rest on the recorded level of implied volatility (DVOL); skew and "
            "term structure are held. They are synthetic."
        )
    ]
    error = made.proxy
    if error is None:
        parts.append(
            words_of("No recorded chains were given: the error of the proxy is not known.")
        )
        return section("proxy", "The volatility proxy", *parts)
    parts.append(
        words_of(
            f"Against {error.snapshots} recorded {error.coin} chains from {error.first[:10]} to "
            f"{error.last[:10]}: a 30-day straddle at the money is off by "
            f"{percent(error.straddle_typical)} on average (bias "
            f"{percent(error.straddle_bias, sign=True)}, at most {percent(error.straddle_worst)}), "
            f"and its changes from chain to chain by {percent(error.straddle_change, 0)} of what "
            "they are."
        )
    )
    columns = [Column("days to expiry", text=True), Column("strike, σ", text=True),
               Column("options"), Column("bias"), Column("mean error"),
               Column("largest")]  # fmt: skip
    rows = [
        [f"{b.days[0]:g} to {b.days[1]:g}", f"{b.sigmas[0]:g} to {b.sigmas[1]:g}",
         f"{b.options:,}", percent(b.bias, 1, sign=True), percent(b.typical), percent(b.worst)]
        for b in error.buckets
    ]  # fmt: skip
    parts.append(table("Error of implied volatility, points", columns, rows))
    return section("proxy", "The volatility proxy", *parts)
