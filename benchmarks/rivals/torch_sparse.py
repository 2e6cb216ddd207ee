"""torch: the book as a sparse_csr tensor times the dense table, then amin."""

from __future__ import annotations

import warnings

import numpy as np

from benchmarks.problem import Problem
from benchmarks.rivals import Calls, Rival


def calls(problem: Problem, dtype: str, threads: int, chunk: int | None) -> Calls:
    """Tensors of the chunks are built beforehand."""
    import torch

    torch.set_num_threads(threads)
    table = torch.from_numpy(np.ascontiguousarray(problem.table, dtype=dtype))
    out = torch.empty(problem.accounts, dtype=table.dtype)
    parts = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "sparse CSR is in beta state"
        for a, b in problem.chunks(chunk or problem.accounts):
            rows = slice(problem.start[a], problem.start[b])
            start = torch.from_numpy((problem.start[a : b + 1] - problem.start[a]).astype(np.int32))
            index = torch.from_numpy(problem.code[rows].astype(np.int32))
            values = torch.from_numpy(problem.quantity[rows].astype(dtype))
            matrix = torch.sparse_csr_tensor(start, index, values, (b - a, table.shape[0]))
            parts.append((matrix, out[a:b]))

    @torch.inference_mode()
    def run() -> np.ndarray:
        for matrix, to in parts:
            torch.amin(matrix @ table, 1, out=to)
        return out.numpy()

    return {"csr": run}


RIVAL = Rival(
    "torch sparse_csr @ dense, amin", "torch", calls, ("float64", "float32"), threaded=True
)
