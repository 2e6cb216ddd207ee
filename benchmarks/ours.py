"""The library's kernels as the benchmarks call them: a problem in, each account's worst out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from benchmarks.problem import Problem


def worst_of_grid(
    problem: Problem, dtype: str = "float64", threads: int = 1
) -> Callable[[], NDArray[np.float64]]:
    """Return the call of the compiled kernel; copies in narrower types are made beforehand."""
    from benchmarks.rivals import numpy_gather

    inner = numpy_gather.calls(problem, dtype, threads, 4096)["matmul"]
    return lambda: inner().astype(np.float64)
