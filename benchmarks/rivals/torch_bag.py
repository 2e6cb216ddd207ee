"""torch embedding_bag: sums of table rows weighted by quantities, then amin."""

from __future__ import annotations

import numpy as np

from benchmarks.problem import Problem
from benchmarks.rivals import Calls, Rival


def calls(problem: Problem, dtype: str, threads: int, chunk: int | None) -> Calls:
    """32-bit and 64-bit indices; torch spreads the bags over its own threads."""
    import torch
    from torch.nn.functional import embedding_bag

    torch.set_num_threads(threads)
    table = torch.from_numpy(np.ascontiguousarray(problem.table, dtype=dtype))
    bounds = problem.chunks(chunk or problem.accounts)
    out = torch.empty(problem.accounts, dtype=table.dtype)
    weights = torch.from_numpy(problem.quantity.astype(dtype))

    def variant(kind: type[np.integer]) -> list[tuple[torch.Tensor, ...]]:
        index = torch.from_numpy(problem.code.astype(kind))
        parts = []
        for a, b in bounds:
            i, j = int(problem.start[a]), int(problem.start[b])
            start = torch.from_numpy((problem.start[a:b] - problem.start[a]).astype(kind))
            parts.append((index[i:j], start, weights[i:j], out[a:b]))
        return parts

    def runner(parts: list[tuple[torch.Tensor, ...]]):
        @torch.inference_mode()
        def run() -> np.ndarray:
            for index, start, weight, to in parts:
                bags = embedding_bag(index, table, start, mode="sum", per_sample_weights=weight)
                torch.amin(bags, 1, out=to)
            return out.numpy()

        return run

    return {"int32": runner(variant(np.int32)), "int64": runner(variant(np.int64))}


RIVAL = Rival("torch embedding_bag, amin", "torch", calls, ("float32", "float64"), threaded=True)
