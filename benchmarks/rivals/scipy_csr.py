"""scipy: the book as a CSR matrix times the dense table, then the least of each row."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from benchmarks.problem import Problem
from benchmarks.rivals import Calls, Rival


def calls(problem: Problem, dtype: str, threads: int, chunk: int | None) -> Calls:
    """Matrices of the chunks are built beforehand; scipy itself uses one thread.

    With ``threads > 1`` chunks are spread over a pool, which helps only where scipy lets go of the
    interpreter's lock.
    """
    from scipy.sparse import csr_matrix

    table = np.ascontiguousarray(problem.table, dtype=dtype)
    bounds = problem.chunks(chunk or problem.accounts)
    parts = []
    for a, b in bounds:
        rows = slice(problem.start[a], problem.start[b])
        index = problem.code[rows].astype(np.int32)
        start = (problem.start[a : b + 1] - problem.start[a]).astype(np.int32)
        values = problem.quantity[rows].astype(dtype)
        parts.append(csr_matrix((values, index, start), shape=(b - a, table.shape[0])))
    out = np.empty(problem.accounts, dtype=dtype)

    def one(i: int) -> None:
        a, b = bounds[i]
        np.min(parts[i] @ table, axis=1, out=out[a:b])

    def run() -> np.ndarray:
        for i in range(len(bounds)):
            one(i)
        return out

    if threads == 1 or len(bounds) == 1:
        return {"csr": run}
    pool = ThreadPoolExecutor(threads)

    def spread() -> np.ndarray:
        list(pool.map(one, range(len(bounds))))
        return out

    return {"csr": run, f"csr on {threads} threads": spread}


RIVAL = Rival("scipy CSR @ dense, min", "scipy", calls, ("float64", "float32"))
