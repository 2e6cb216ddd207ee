"""What the verdict owes to the parameters: each alone, and the worst two together."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from crossmargin.errors import InputError
from crossmargin.validation.backtest import run_backtest
from crossmargin.validation.contenders import Contender, Setting

Progress = Callable[[int, int], None]
#: Builds a contender from the values of its parameters.
Maker = Callable[[Mapping[str, float]], Contender]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variation:
    """A set of parameters, and what came of it.

    Attributes
    ----------
    changed : dict of str to float
        Parameters that differ from the base, with their values; empty for the base.
    coverage : float
        Share of all observations of all books that were covered.
    lowest : float
        Coverage of the worst book.
    worst_book : str
        Which that is.
    margin : float
        Average margin as a share of gross size, over the books.
    """

    changed: dict[str, float]
    coverage: float
    lowest: float
    worst_book: str
    margin: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """The base, each parameter alone, and the pair that covers least.

    Attributes
    ----------
    base : Variation
        Parameters as they are.
    single : tuple of Variation
        One changed.
    worst_pair : Variation or None
        Of all pairs of two changed; None with fewer than two parameters.
    pairs : int
        Pairs that were tried.
    """

    base: Variation
    single: tuple[Variation, ...]
    worst_pair: Variation | None
    pairs: int


def sensitivity(
    make: Maker,
    base: Mapping[str, float],
    values: Mapping[str, Sequence[float]],
    setting: Setting,
    *,
    progress: Progress | None = None,
) -> Sensitivity:
    """Run a model again with each parameter changed, then with every two of them.

    Parameters
    ----------
    make : callable
        Builds the contender.
    base : mapping of str to float
        Parameters as they are.
    values : mapping of str to sequence of float
        Other values to try, by parameter.
    setting : Setting
        Books and history.
    progress : callable, optional
        Told runs done and runs in all.

    Raises
    ------
    InputError
        ``INP-003`` for a parameter that the base does not have.
    """
    for name in values:
        if name not in base:
            raise InputError(
                f"the model has no parameter {name!r}", code="INP-003", field=name,
                hint=f"it has {', '.join(base)}",
            )  # fmt: skip
    single = [{name: value} for name, tried in values.items() for value in tried]
    pairs = [
        {a: x, b: y}
        for a, b in itertools.combinations(values, 2)
        for x in values[a]
        for y in values[b]
    ]
    plans: list[dict[str, float]] = [{}, *single, *pairs]
    found = []
    for k, changed in enumerate(plans):
        found.append(_variation(make({**base, **changed}), changed, setting))
        if progress is not None:
            progress(k + 1, len(plans))
    tried = found[1 + len(single) :]
    worst = min(tried, key=lambda one: (one.coverage, one.lowest)) if tried else None
    return Sensitivity(
        base=found[0],
        single=tuple(found[1 : 1 + len(single)]),
        worst_pair=worst,
        pairs=len(pairs),
    )


def _variation(contender: Contender, changed: dict[str, float], setting: Setting) -> Variation:
    tests = run_backtest([contender], setting).models[0].tests
    low = min(tests, key=lambda one: one.coverage)
    seen = sum(one.hits.size for one in tests)
    return Variation(
        changed=changed,
        coverage=1.0 - sum(one.breaches for one in tests) / seen,
        lowest=low.coverage,
        worst_book=low.book.name,
        margin=float(np.mean([one.margin_share for one in tests])),
    )
