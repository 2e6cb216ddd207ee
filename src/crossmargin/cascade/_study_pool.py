"""Where the runs of a study are done: here, in processes of its own, or on what it is given."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from contextlib import nullcontext


def answers(
    raw: bytes,
    jobs: Sequence[tuple[int, int]],
    workers: int,
    executor: Executor | None,
    run: Callable[[bytes, int, int], bytes],
) -> Iterable[tuple[tuple[int, int], bytes]]:
    """Yield what is done as it is done."""
    if executor is None and (workers <= 1 or len(jobs) <= 1):
        for job in jobs:
            yield job, run(raw, *job)
        return
    pool = nullcontext(executor) if executor is not None else _processes(min(workers, len(jobs)))
    with pool as at:
        assert at is not None
        waiting = {at.submit(run, raw, *job): job for job in jobs}
        try:
            for done in as_completed(waiting):
                yield waiting[done], done.result()
        finally:
            for future in waiting:
                future.cancel()


def _processes(workers: int) -> ProcessPoolExecutor:
    import multiprocessing

    # A forked process would inherit the threads of numba and polars in an unknown state.
    return ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_end_with_parent,
    )


def _end_with_parent() -> None:
    """Let this process end when the one that started it is killed: it would wait for ever."""
    import multiprocessing
    import threading

    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
