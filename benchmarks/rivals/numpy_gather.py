"""NumPy: gather the rows of the positions, contract with the quantities, take the least.

Needs the same number of positions in every account, as the benchmark's book has.
"""

from __future__ import annotations

import numpy as np

from benchmarks.problem import Problem
from benchmarks.rivals import Calls, Rival


def calls(problem: Problem, dtype: str, threads: int, chunk: int | None) -> Calls:
    """einsum and a batched matrix product over the gathered rows."""
    table = np.ascontiguousarray(problem.table, dtype=dtype)
    each = int(problem.start[1])
    if not np.array_equal(np.diff(problem.start), np.full(problem.accounts, each)):
        raise ValueError("accounts of unequal length cannot be gathered into one array")
    index = problem.code.astype(np.intp).reshape(-1, each)
    quantity = problem.quantity.astype(dtype).reshape(-1, each)
    bounds = problem.chunks(chunk or problem.accounts)
    out = np.empty(problem.accounts, dtype=dtype)

    def einsum() -> np.ndarray:
        for a, b in bounds:
            sums = np.einsum("ap,aps->as", quantity[a:b], table[index[a:b]])
            np.min(sums, axis=1, out=out[a:b])
        return out

    def matmul() -> np.ndarray:
        for a, b in bounds:
            sums = np.matmul(quantity[a:b, None, :], table[index[a:b]])[:, 0]
            np.min(sums, axis=1, out=out[a:b])
        return out

    return {"einsum": einsum, "matmul": matmul}


RIVAL = Rival("numpy gather, einsum or matmul, min", "numpy", calls, ("float64", "float32"))
