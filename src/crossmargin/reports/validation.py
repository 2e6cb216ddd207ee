"""The report a risk committee reads: verdict with its power, league, breaches, procyclicality."""

from __future__ import annotations

import math
from collections.abc import Sequence

from crossmargin.reports import _validation_charts as charts
from crossmargin.reports._sections import heading
from crossmargin.reports._table import Column, figure, table
from crossmargin.reports._text import DASH, Safe, count, esc, join, number, percent
from crossmargin.reports.html import page
from crossmargin.validation import (
    BookTest,
    Coverage,
    ModelTest,
    Power,
    TestResult,
    Validation,
    Verdict,
)

_BADGE = {
    "rejected": ("liquidation", "▲"),
    "not rejected": ("healthy", "●"),
    "not rejected, dear": ("reduce-only", "◐"),
}
_TOOLS = {
    "none": "none",
    "stress weight": "25 % stress weight",
    "floor": "floor at the long-run level",
    "buffer": "25 % buffer, used up when margin rises",
}
#: Books whose breaches are drawn.
_DRAWN = 8


def render_validation(made: Validation, *, version: str) -> str:
    """Write the whole report as one HTML page that needs nothing else.

    Parameters
    ----------
    made : Validation
        What is reported.
    version : str
        Of this package, for the footer.
    """
    trial = next(model for model in made.test.models if model.tests)
    title = f"{trial.name} at {100 * made.test.setting.level:g} %"
    body = [
        heading("Model validation", title, _facts(made, trial)),
        _verdict(made, trial),
        _league(made),
        _breaches(made, trial),
        _coverage(made, trial),
        _crashes(made, trial),
        _shortfall(trial),
        _cycle(made),
        _impulse(made),
        _adversary(made),
        _proxy(made),
        _limits(made, trial),
    ]
    return page(title, body, version=version, skip=("#verdict", "Skip to the verdict"))


def _facts(made: Validation, trial: ModelTest) -> list[str]:
    setting = made.test.setting
    days = [day for one in trial.tests for day in (one.days[0], one.days[-1])]
    horizon = count(setting.horizon, "day")
    return [
        trial.title,
        f"{count(len(trial.tests), 'static book')}, {min(days)} to {max(days)}, horizon {horizon}",
        f"Market: {setting.history.source}",
    ]


def _section(anchor: str, title: str, *parts: str) -> Safe:
    return Safe(
        f'<section id="{anchor}" aria-label="{esc(title)}"><h2>{esc(title)}</h2>'
        f"{join(list(parts))}</section>"
    )


def _p(text: str) -> Safe:
    return Safe(f"<p>{esc(text)}</p>")


def _verdict(made: Validation, trial: ModelTest) -> Safe:
    said = made.trial
    css, mark = _BADGE[said.word]
    low = min(trial.tests, key=lambda one: one.coverage)
    seen = sum(one.hits.size for one in trial.tests)
    hit = sum(one.breaches for one in trial.tests)
    badge = Safe(
        f'<span class="badge {css}"><span aria-hidden="true">{mark}</span> {esc(said.word)}</span>'
    )
    mean = sum(one.margin_share for one in trial.tests) / len(trial.tests)
    tiles = [
        ("Coverage of all days", percent(1 - hit / seen, 2), f"{hit:,} breaches in {seen:,}"),
        ("Lowest coverage", percent(low.coverage, 2), low.book.name),
        ("Deepest breach", f"{number(max(o.worst for o in trial.tests), 2)} ×",
         "largest loss over the margin held"),
        ("Average margin", percent(mean), "of gross size, mean over books"),
        ("Books with too many", f"{len(said.too_many)} of {len(trial.tests)}",
         "breaches, corrected over all books"),
        ("Power against rate 2 ×", percent(said.power[0].binomial[1], 0),
         f"one book of {said.power[0].observations:,} days"),
    ]  # fmt: skip
    shown = "".join(
        f'<div class="tile"><dt>{esc(k)}</dt><dd>{esc(v)}</dd><dd class="sub">{esc(sub)}</dd></div>'
        for k, v, sub in tiles
    )
    shown += f'<div class="tile"><dt>Verdict</dt><dd>{badge}</dd></div>'
    parts = [Safe(f'<dl class="tiles">{shown}</dl>'), _p(said.sentence), _power(said)]
    return _section("verdict", "Verdict", *parts)


def _power(said: Verdict) -> Safe:
    words = (
        "What the tests could have seen: the probability that the one-sided count test rejects a "
        "model whose true rate of breaches is a multiple of the one allowed. A pass means no more "
        "than this."
    )
    columns = [Column("question", text=True), Column("observations"), Column("accepted breaches"),
               Column("right model"), Column("rate 2 ×"), Column("rate 3 ×")]  # fmt: skip
    rows = []
    for label, powers in (
        ("one book alone, 5 %", said.power),
        ("each book, corrected over all", said.corrected),
    ):
        rows += [_power_row(label, one) for one in powers]
    return join([_p(words), table("Power of the count test", columns, rows)])


def _power_row(label: str, one: Power) -> list[str]:
    return [label, f"{one.observations:,}", f"0 to {one.most}",
            *(percent(p, 1) for p in one.binomial)]  # fmt: skip


def _league(made: Validation) -> Safe:
    verdicts = {one.model: one for one in made.verdicts}
    columns = [
        Column("model", text=True), Column("what it is", text=True, wrap=True),
        Column("coverage"), Column("worst book"), Column("margin, of gross"),
        Column("score"), Column("FZ0 better / worse"), Column("verdict over its books", text=True),
    ]  # fmt: skip
    rows = [
        [
            line.model,
            line.title,
            percent(line.coverage, 2),
            percent(line.worst_coverage, 2),
            percent(line.margin),
            number(line.score, 3),
            f"{line.better} / {line.worse}" if line.better + line.worse else DASH,
            verdicts[line.model].word,
        ]
        for line in made.league
    ]
    books = made.league[0].books if made.league else 0
    words = (
        f"On the {count(books, 'book')} that all models cover, on the same days. The score is the "
        "mean quantile score relative to the model on trial, smaller is better: it weighs breaches "
        "against idle margin, so a model that holds ES scores behind one that holds a right VaR. "
        "FZ0 better / worse: books on which the joint score of VaR and ES "
        "differs from the trial's at 5 % by block bootstrap."
    )
    return _section("league", "League", _p(words), table("Models, best score first", columns, rows))


def _drawn(trial: ModelTest) -> list[BookTest]:
    """Choose the worst books and one of each group, in the order of the books."""
    order = sorted(trial.tests, key=lambda one: (one.coverage, one.book.name))
    chosen = order[: _DRAWN // 2]
    seen = {one.book.group for one in chosen}
    for one in trial.tests:
        if one.book.group not in seen and len(chosen) < _DRAWN:
            seen.add(one.book.group)
            chosen.append(one)
    return [one for one in trial.tests if one in chosen]


def _breaches(made: Validation, trial: ModelTest) -> Safe:
    drawn = _drawn(trial)
    cards = [
        figure(
            one.book.name + (" (synthetic)" if one.book.synthetic else ""),
            f"{one.breaches} breaches in {one.hits.size:,}, {percent(one.coverage, 2)} covered; "
            f"share of gross size.",
            charts.breach_chart(one, made.test.crashes),
            wide=True,
        )
        for one in drawn
    ]
    words = (
        f"The {len(drawn)} books that are covered worst or stand for a group; the tables below "
        "have all."
    )
    return _section(
        "breaches", "Breaches", _p(words), charts.breach_legend(),
        Safe(f'<div class="cards">{join(list(cards))}</div>'),
    )  # fmt: skip


def _p_value(test: TestResult) -> str:
    if not math.isfinite(test.p_value):
        return DASH
    return "< 0.001" if test.p_value < 0.001 else number(test.p_value, 3)


def _coverage(made: Validation, trial: ModelTest) -> Safe:
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
    return _section(
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


def _crashes(made: Validation, trial: ModelTest) -> Safe:
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
    return _section("crashes", "Crises", _p(words), table("Crises", columns, rows))


def _shortfall(trial: ModelTest) -> Safe:
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
    return _section("shortfall", "Expected shortfall", _p(words), table("ES", columns, rows))


def _cycle(made: Validation) -> Safe:
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
        "each tool of EMIR art. 28. The tools know only what was known; cost is the average extra "
        "margin. Breaches count overlapping windows where the horizon is above a day."
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
    return _section(
        "cycle", "Procyclicality", _p(words), table("Tools", columns, rows),
        Safe("<h3>Book by book: ratio, largest relative rises, ratio and cost with each tool</h3>"),
        table("Book by book", each, lines),
    )  # fmt: skip


def _impulse(made: Validation) -> Safe:
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
    notes = [_p(note) for note in made.impulse_notes]
    chart = [figure("Days after the step", "", charts.impulse_chart(made.impulses), wide=True)]
    return _section(
        "impulse", "Answer to a step in volatility", _p(words),
        *(chart if made.impulses else []), table("Impulse response", columns, rows), *notes,
    )  # fmt: skip


def _adversary(made: Validation) -> Safe:
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
    )
    return _section(
        "adversary", "Adversarial books", _p(words), table("Worst found", columns, rows)
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


def _proxy(made: Validation) -> Safe:
    held = any(one.book.synthetic for model in made.test.models for one in model.tests)
    if not held:
        return Safe("")
    parts = [
        _p(
            "Books with options rest on the recorded level of implied volatility (DVOL); skew and "
            "term structure are held. They are synthetic."
        )
    ]
    error = made.proxy
    if error is None:
        parts.append(_p("No recorded chains were given, so the error of the proxy is not known."))
        return _section("proxy", "The volatility proxy", *parts)
    parts.append(
        _p(
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
    return _section("proxy", "The volatility proxy", *parts)


def _limits(made: Validation, trial: ModelTest) -> Safe:
    said = [
        *trial.limits,
        "Books are static: sized anew on each day and not traded over the horizon.",
        "Losses are from close to close at 00:00 UTC; what happened within the day is not seen.",
        "Closing out costs nothing here: no spread, no impact, no time to sell.",
        "Books are alike: a bad day breaches many at once, so counts over books are no test.",
    ]
    said += [f"{name}: {why}" for name, why in made.test.untested.items()]
    refused = [f"{name}: {why}" for name, why in trial.refusals.items()]
    items = "".join(f"<li>{esc(text)}</li>" for text in said)
    parts = [Safe(f"<ul>{items}</ul>")]
    if refused:
        items = "".join(f"<li>{esc(text)}</li>" for text in refused)
        parts.append(Safe(f"<h3>Books that the rules do not cover</h3><ul>{items}</ul>"))
    return _section("limits", "Limits", *parts)
