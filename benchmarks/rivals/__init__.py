"""What a user would put together instead: one small file for each library.

Each file has ``RIVAL``. Set-up (matrices, index types, chunks) is not timed, which favours the
rival; chunk sizes are tried and the best is quoted. Before anything is timed, the numbers are
held to ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import fastest
from benchmarks.problem import Problem

Calls = Mapping[str, Callable[[], NDArray[Any]]]

CHUNK_BYTES = (1 << 17, 1 << 19, 1 << 21, 1 << 23)
"""Sizes of a chunk's output that are tried: from a share of L2 to a share of L3."""


class NotInstalledError(Exception):
    """A rival's library is not there."""


@dataclass(frozen=True, slots=True)
class Rival:
    """A library used as well as we know how.

    Attributes
    ----------
    name : str
        For the table.
    package : str
        Distribution whose version is quoted.
    calls : callable
        ``calls(problem, dtype, threads, chunk)``: by variant, a call that gives each account's
        worst. `chunk` is accounts at a time; None takes all at once.
    dtypes : tuple of str
        What it computes in.
    threaded : bool
        Whether it can use more than one thread by itself.
    """

    name: str
    package: str
    calls: Callable[[Problem, str, int, int | None], Calls]
    dtypes: tuple[str, ...] = ("float64",)
    threaded: bool = False

    @property
    def version(self) -> str:
        try:
            return version(self.package)
        except PackageNotFoundError as error:
            raise NotInstalledError(f"{self.package} is not installed") from error

    def best(
        self, problem: Problem, dtype: str, threads: int, *, trial: int = 20_000
    ) -> tuple[str, Callable[[], NDArray[Any]]]:
        """Return the variant and chunk size that are fastest on the first accounts.

        Taking all accounts at once (what one writes first) is tried on the whole problem if its
        scenario vectors fit in half a gibibyte.

        Raises
        ------
        NotInstalledError
            When the library is missing.
        """
        assert self.version
        width = problem.scenarios * np.dtype(dtype).itemsize
        sizes = sorted({max(16, size // width) for size in CHUNK_BYTES})
        small = problem.head(trial)
        trials = {
            (name, size): call
            for size in sizes
            for name, call in self.calls(small, dtype, threads, size).items()
        }
        labels = {f"{name}, {size} accounts at a time": (name, size) for name, size in trials}
        chosen = fastest({label: trials[key] for label, key in labels.items()})
        name, size = labels[chosen]
        found = {chosen: self.calls(problem, dtype, threads, size)[name]}
        if problem.accounts * width <= 1 << 29:
            whole = self.calls(problem, dtype, threads, None)
            found |= {f"{name}, all at once": call for name, call in whole.items()}
        label = fastest(found, tries=1)
        return label, found[label]


def load(name: str) -> Rival:
    """Return the rival of a file in this folder."""
    rival = import_module(f"benchmarks.rivals.{name}").RIVAL
    assert isinstance(rival, Rival)
    return rival


def assert_same(
    theirs: NDArray[Any], ours: NDArray[np.float64], problem: Problem, dtype: str
) -> float:
    """Hold a rival's numbers to ours; return the greatest difference relative to gross.

    Gross is the sum of the sizes of an account's terms, the scale that rounding is bounded in: a
    sum of n products of rounded factors errs by at most (n + 2) ε / 2 × gross, and both may err.

    Raises
    ------
    AssertionError
        When they differ by more: then one of the two computes something else.
    """
    gross = problem.gross()
    worst = float(np.max(np.abs(theirs.astype(np.float64) - ours) / gross, initial=0.0))
    bound = (int(np.diff(problem.start).max()) + 2) * float(np.finfo(dtype).eps)
    assert theirs.shape == ours.shape and worst <= bound, (
        f"the rival's numbers differ from ours by {worst:.2g} of gross; {bound:.2g} is allowed"
    )
    return worst
