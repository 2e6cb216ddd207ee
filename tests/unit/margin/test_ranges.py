"""Ranges taken by several threads cover the whole once, and stop when one fails."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from crossmargin.margin._ranges import in_ranges


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize(("size", "step", "most"), [(1, 1, None), (10_001, 64, 256), (777, 10, 1)])
def test_every_place_is_done_once(threads: int, size: int, step: int, most: int | None) -> None:
    done = np.zeros(size, dtype=np.int64)
    starts: list[int] = []

    def work(first: int, last: int) -> None:
        starts.append(first)
        assert last - first <= max(step, most or size)
        done[first:last] += 1

    told = list(in_ranges(work, size, step, threads, most=most))
    assert (done == 1).all()
    assert all(first % step == 0 for first in starts)
    assert told == sorted(told)
    assert told[-1] == size


def test_nothing_to_do() -> None:
    assert list(in_ranges(lambda first, last: None, 0, 8, 2)) == []


def test_a_failure_in_any_thread_is_raised_and_ends_the_others() -> None:
    seen: list[int] = []

    def work(first: int, last: int) -> None:
        seen.append(first)
        if first >= 500:
            raise ValueError(first)

    before = threading.active_count()
    with pytest.raises(ValueError, match=r"^\d+$"):
        list(in_ranges(work, 1_000_000, 1, 4, most=100))
    assert len(seen) < 1_000
    assert threading.active_count() == before


def test_a_caller_that_leaves_stops_the_others() -> None:
    seen: list[int] = []

    def work(first: int, last: int) -> None:
        seen.append(last - first)

    before = threading.active_count()
    told = in_ranges(work, 1_000_000, 1, 3, most=10)
    next(told)
    told.close()
    count = len(seen)
    assert threading.active_count() == before
    assert sum(seen) < 1_000_000
    assert len(seen) == count
