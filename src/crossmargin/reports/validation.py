"""The report a risk committee reads: verdict with its power, league, breaches, procyclicality."""

from __future__ import annotations

from crossmargin.reports import _validation_charts as charts
from crossmargin.reports import _validation_tables as tables
from crossmargin.reports._sections import heading
from crossmargin.reports._table import Column, figure, table
from crossmargin.reports._text import DASH, Safe, count, esc, join, number, percent
from crossmargin.reports.html import page
from crossmargin.validation import (
    BookTest,
    ModelTest,
    Power,
    Validation,
    Verdict,
)

_BADGE = {
    "rejected": ("liquidation", "▲"),
    "not rejected": ("healthy", "●"),
    "not rejected, dear": ("reduce-only", "◐"),
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
        tables.coverage(made, trial),
        tables.crashes(made, trial),
        tables.shortfall(trial),
        tables.explained(trial),
        tables.cycle(made),
        tables.impulse(made),
        tables.sensitivity(made),
        tables.adversary(made),
        tables.proxy(made),
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
    parts = [Safe(f'<dl class="tiles">{shown}</dl>'), tables.words_of(said.sentence), _power(said)]
    return tables.section("verdict", "Verdict", *parts)


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
    return join([tables.words_of(words), table("Power of the count test", columns, rows)])


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
    return tables.section(
        "league", "League", tables.words_of(words), table("Models, best score first", columns, rows)
    )


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
            f"{breaches_words(one)}, {percent(one.coverage, 2)} covered; share of gross size.",
            charts.breach_chart(one, made.test.crashes),
            wide=True,
        )
        for one in drawn
    ]
    words = (
        f"The {len(drawn)} books that are covered worst or stand for a group; the tables below "
        "have all."
    )
    return tables.section(
        "breaches", "Breaches", tables.words_of(words), charts.breach_legend(),
        Safe(f'<div class="cards">{join(list(cards))}</div>'),
    )  # fmt: skip


def breaches_words(one: BookTest) -> str:
    """Say how many breaches there were in how many observations."""
    word = "breach" if one.breaches == 1 else "breaches"
    return f"{one.breaches:,} {word} in {one.hits.size:,}"


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
    return tables.section("limits", "Limits", *parts)
