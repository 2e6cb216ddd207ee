"""polars: join positions with the table, ``group_by(account)``, least of the sums."""

from __future__ import annotations

import numpy as np

from benchmarks.problem import Problem
from benchmarks.rivals import Calls, Rival


def calls(problem: Problem, dtype: str, threads: int, chunk: int | None) -> Calls:
    """One lazy query; polars uses all cores whatever `threads` says (set when it starts)."""
    import polars as pl

    names = [f"s{k}" for k in range(problem.scenarios)]
    table = pl.DataFrame(problem.table.astype(dtype), schema=names).with_columns(
        code=pl.Series(np.arange(problem.table.shape[0], dtype=problem.code.dtype))
    )
    account = np.repeat(np.arange(problem.accounts, dtype=np.uint32), np.diff(problem.start))
    book = pl.DataFrame(
        {"account": account, "code": problem.code, "quantity": problem.quantity.astype(dtype)}
    ).with_columns(pl.col("account").set_sorted())
    sums = [(pl.col(name) * pl.col("quantity")).sum() for name in names]

    def query(rows: pl.DataFrame) -> np.ndarray:
        lazy = rows.lazy().join(table.lazy(), on="code", how="left", maintain_order="left")
        grouped = lazy.group_by("account", maintain_order=True).agg(sums)
        return grouped.select(pl.min_horizontal(names)).collect().to_series().to_numpy()

    out = np.empty(problem.accounts, dtype=dtype)

    def run() -> np.ndarray:
        for a, b in problem.chunks(chunk or problem.accounts):
            i, j = int(problem.start[a]), int(problem.start[b])
            out[a:b] = query(book[i:j])
        return out

    return {"join": run}


RIVAL = Rival("polars join, group_by, min", "polars", calls, threaded=True)
