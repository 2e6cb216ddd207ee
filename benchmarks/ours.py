"""The library's kernels as the benchmarks call them: a problem in, each account's worst out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from benchmarks.problem import Problem


def worst_of_grid(
    problem: Problem, dtype: str = "float64", threads: int = 1
) -> Callable[[], NDArray[np.float64]]:
    """Return the call of the compiled kernel, warm.

    The book is checked, and table and quantities are brought into `dtype`, beforehand: both are
    done once for many runs. The rivals' matrices and index types are made beforehand as well.
    """
    from crossmargin.margin.kernels.grid import check_rows, grid_table
    from crossmargin.margin.kernels.grid import worst_of_grid as kernel

    table = grid_table(problem.table, np.dtype(dtype))
    quantity = problem.quantity.astype(dtype, copy=False)
    rows = check_rows(table.rows, problem.start, problem.code, quantity)
    out = np.empty(problem.accounts)
    return lambda: kernel(table, rows, threads=threads, out=out)
