"""pandas: rows of the table times quantities, ``groupby(account).sum()``, least of each row."""

from __future__ import annotations

import numpy as np

from benchmarks.problem import Problem
from benchmarks.rivals import Calls, Rival


def calls(problem: Problem, dtype: str, threads: int, chunk: int | None) -> Calls:
    """The group of each row is worked out beforehand."""
    import pandas as pd

    table = np.ascontiguousarray(problem.table, dtype=dtype)
    quantity = problem.quantity.astype(dtype)[:, None]
    index = problem.code.astype(np.intp)
    account = np.repeat(np.arange(problem.accounts), np.diff(problem.start))
    out = np.empty(problem.accounts, dtype=dtype)

    def run() -> np.ndarray:
        for a, b in problem.chunks(chunk or problem.accounts):
            i, j = problem.start[a], problem.start[b]
            rows = pd.DataFrame(table[index[i:j]] * quantity[i:j])
            out[a:b] = rows.groupby(account[i:j], sort=False).sum().min(axis=1).to_numpy()
        return out

    return {"groupby": run}


RIVAL = Rival("pandas gather, groupby.sum, min", "pandas", calls)
