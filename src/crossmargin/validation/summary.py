"""From tests to sentences: verdict, league, and coverage by group and product."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from crossmargin.validation.backtest import Backtest, BookTest, ModelTest
from crossmargin.validation.compare import Comparison, compare_scores
from crossmargin.validation.power import Power, power


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for asking many questions: Holm's step-down.

    Valid whatever the dependence between the books, and theirs is strong. NaN stays NaN and is
    not counted. Source: Holm (1979) (published).
    """
    known = [(p, k) for k, p in enumerate(p_values) if math.isfinite(p)]
    out = [math.nan] * len(p_values)
    highest = 0.0
    for rank, (p, k) in enumerate(sorted(known)):
        highest = max(highest, min(1.0, (len(known) - rank) * p))
        out[k] = highest
    return out


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What can be said of one model, and what could have been seen.

    Attributes
    ----------
    model : str
        Contender.
    word : str
        ``rejected``, ``not rejected`` or ``not rejected, dear``.
    too_many, clustered, too_deep, too_few : tuple of str
        Books on which breaches are too many, clustered, deeper than the stated ES, or so few that
        the margin is dearer than its level asks; each after Holm's correction over the books.
    sentence : str
        The verdict in words.
    power : tuple of Power
        For the shortest and the longest test: one book asked alone.
    corrected : tuple of Power
        The same at the size that the correction leaves each of the books.
    """

    model: str
    word: str
    too_many: tuple[str, ...]
    clustered: tuple[str, ...]
    too_deep: tuple[str, ...]
    too_few: tuple[str, ...]
    sentence: str
    power: tuple[Power, ...]
    corrected: tuple[Power, ...]


def verdict(model: ModelTest, level: float, size: float = 0.05) -> Verdict:
    """Judge a model over its books.

    A model is rejected when, on any book, breaches are too many by the one-sided binomial test or
    clustered by Christoffersen's, or when its stated expected shortfall fails Z2, each corrected
    over the books. A margin that covers more than its level is dear, not wrong.
    """
    tests = model.tests

    def found(p_of: Callable[[BookTest], float]) -> tuple[str, ...]:
        adjusted = holm([p_of(one) for one in tests])
        return tuple(one.book.name for one, p in zip(tests, adjusted, strict=True) if p < size)

    def depth(one: BookTest) -> float:
        return one.shortfall["z2"].p_value if "z2" in one.shortfall else math.nan

    def dear(one: BookTest) -> float:
        return one.count.p_value if one.coverage > level else math.nan

    too_many = found(lambda one: one.upper.p_value)
    clustered = found(lambda one: one.apart.p_value)
    too_deep, too_few = found(depth), found(dear)
    bad = bool(too_many or clustered or too_deep)
    half = 2 * len(too_few) > len(tests)
    word = "rejected" if bad else "not rejected, dear" if half else "not rejected"
    sizes = sorted({one.hits.size for one in tests})
    ends = sizes if len(sizes) == 1 else [sizes[0], sizes[-1]]
    return Verdict(
        model=model.name,
        word=word,
        too_many=too_many,
        clustered=clustered,
        too_deep=too_deep,
        too_few=too_few,
        sentence=_sentence(model, level, word, too_many, clustered, too_deep, too_few),
        power=tuple(power(n, level, size=size) for n in ends),
        corrected=tuple(power(n, level, size=size / len(tests)) for n in ends),
    )


def _sentence(
    model: ModelTest,
    level: float,
    word: str,
    too_many: tuple[str, ...],
    clustered: tuple[str, ...],
    too_deep: tuple[str, ...],
    too_few: tuple[str, ...],
) -> str:
    low = min(model.tests, key=lambda one: one.coverage)
    tried = _count(len(model.tests), "book")
    start = f"{model.name} is {word.split(',')[0]} at {_percent(level)} on {tried}"
    reasons = [
        f"{what} on {len(books)} ({_some(books)})"
        for what, books in (
            ("too many breaches", too_many),
            ("clustered breaches", clustered),
            ("losses deeper than the stated shortfall", too_deep),
        )
        if books
    ]
    said = f"{start}: {'; '.join(reasons)}." if reasons else f"{start}."
    said += (
        f" The lowest coverage is {_percent(low.coverage)} on {low.book.name} "
        f"({_count(low.breaches, 'breach')} in {low.hits.size:,})."
    )
    if too_few:
        more = _count(len(too_few), "book")
        said += f" It holds more than {_percent(level)} asks on {more}: that is dear."
    return said


def _count(size: int, noun: str) -> str:
    many = noun + ("es" if noun.endswith("ch") else "s")
    return f"{size:,} {noun if size == 1 else many}"


def _percent(share: float) -> str:
    return f"{100.0 * share:.4g} %"


def _some(names: tuple[str, ...], most: int = 4) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


@dataclass(frozen=True, slots=True, kw_only=True)
class LeagueLine:
    """One model in the league, on the books that all models cover.

    Attributes
    ----------
    model, title : str
        Contender.
    books : int
        Books in common.
    breaches, observations : int
        Over them.
    worst_coverage : float
        Of the worst of them.
    margin : float
        Average margin as a share of gross size.
    score : float
        Geometric mean over the books of the quantile score relative to the model on trial; below
        1 is better.
    better, worse : int
        Books on which the FZ0 score is better and worse than the trial's, bootstrap p below 5 %.
        Both 0 where either states no VaR and ES.
    """

    model: str
    title: str
    books: int
    breaches: int
    observations: int
    worst_coverage: float
    margin: float
    score: float
    better: int
    worse: int

    @property
    def coverage(self) -> float:
        """Share of all observations that were covered."""
        return 1.0 - self.breaches / self.observations


def common_books(test: Backtest) -> list[str]:
    """Return the books that every model covers, in order."""
    sets = [{one.book.name for one in model.tests} for model in test.models if model.tests]
    shared = set.intersection(*sets) if sets else set()
    return [book.name for book in test.setting.books if book.name in shared]


def league(test: Backtest, *, seed: int = 0) -> list[LeagueLine]:
    """Compare all models on the books they have in common, best quantile score first.

    The quantile score ranks margins that claim the same level; it is of the sample, and a small
    lead is noise. FZ0 with a bootstrapped p-value says on how many books a difference to the
    model on trial is more than that.
    """
    names = common_books(test)
    trial = test.models[0]
    lines = []
    for model in test.models:
        pairs = [(model.on(name), trial.on(name)) for name in names]
        mine = [a for a, _ in pairs if a is not None]
        if not mine:
            continue
        ratios = [
            math.log(a.score / b.score)
            for a, b in pairs
            if a is not None and b is not None and a.score > 0 and b.score > 0
        ]
        better = worse = 0
        if model is not trial:
            for a, b in pairs:
                found = compare_tests(a, b, seed=seed)
                if found is not None and found.p_bootstrap < 0.05:
                    better += found.difference < 0
                    worse += found.difference > 0
        lines.append(
            LeagueLine(
                model=model.name,
                title=model.title,
                books=len(mine),
                breaches=sum(one.breaches for one in mine),
                observations=sum(one.hits.size for one in mine),
                worst_coverage=min(one.coverage for one in mine),
                margin=float(np.mean([one.margin_share for one in mine])),
                score=math.exp(float(np.mean(ratios))) if ratios else math.nan,
                better=better,
                worse=worse,
            )
        )
    return sorted(lines, key=lambda line: (math.isnan(line.score), line.score))


def compare_tests(
    first: BookTest | None, second: BookTest | None, *, seed: int
) -> Comparison | None:
    """Compare the FZ0 scores of two models on one book; None where one states no VaR and ES."""
    if first is None or second is None or first.joint is None or second.joint is None:
        return None
    if first.joint.size != second.joint.size or first.joint.size < 8:
        return None
    return compare_scores(first.joint, second.joint, seed=seed, draws=500)


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Coverage of all books that share something.

    Attributes
    ----------
    name : str
        The group or product.
    books : int
        Of them.
    observations, breaches : int
        Summed; days of different books are alike, so no test is made of the sum.
    worst : float
        Coverage of the worst book.
    worst_book : str
        Which that is.
    """

    name: str
    books: int
    observations: int
    breaches: int
    worst: float
    worst_book: str

    @property
    def coverage(self) -> float:
        """Share of observations that were covered."""
        return 1.0 - self.breaches / self.observations


def products(one: BookTest) -> list[str]:
    """Return what a book holds: ``BTC perpetual``, ``BTC option``, ``ETH collateral``."""
    named = [
        f"{leg.asset} {'perpetual' if leg.kind == 'perpetual' else 'option'}"
        for leg in one.book.legs
    ]
    named += [f"{pledge.asset} collateral" for pledge in one.book.collateral]
    return list(dict.fromkeys(named))


def coverage_by(model: ModelTest, keys: Callable[[BookTest], list[str]]) -> list[Coverage]:
    """Return the coverage of one model by anything that books share, lowest first."""
    groups: dict[str, list[BookTest]] = {}
    for one in model.tests:
        for key in keys(one):
            groups.setdefault(key, []).append(one)
    out = []
    for name, tests in groups.items():
        low = min(tests, key=lambda one: one.coverage)
        out.append(
            Coverage(
                name=name,
                books=len(tests),
                observations=sum(one.hits.size for one in tests),
                breaches=sum(one.breaches for one in tests),
                worst=low.coverage,
                worst_book=low.book.name,
            )
        )
    return sorted(out, key=lambda line: (line.coverage, line.name))
