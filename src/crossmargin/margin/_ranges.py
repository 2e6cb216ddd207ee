"""Ranges of a whole, taken by several threads: large ones first, the caller works too."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator

Work = Callable[[int, int], object]


def in_ranges(
    work: Work, size: int, step: int, threads: int, *, most: int | None = None
) -> Generator[int, None, None]:
    """Do work over ranges that together are a whole; yield how much of it is done.

    Every thread takes its share of half of what is left, so that calls are few and the last ones
    short. The calling thread takes ranges like the others: a caller that only waits would be
    woken at every range and take a core from those who work.

    Parameters
    ----------
    work : callable
        ``work(first, last)``, which lets go of the interpreter's lock while it computes and
        writes where no other range does.
    size : int
        How much there is.
    step : int
        Ranges begin at multiples of it.
    threads : int
        Threads that work, the caller's included; with 1, everything runs in the caller.
    most : int, optional
        Largest range: after each, the caller may be interrupted and progress is told.

    Yields
    ------
    int
        What all threads have done, rising, `size` at the end.

    Raises
    ------
    BaseException
        The first one that `work` raised in any thread, once all threads stand still.
    """
    ranges = _Ranges(size, step, threads, most if most is not None else size)
    others = [
        threading.Thread(target=ranges.serve, args=(work,), daemon=True)
        for _ in range(min(threads, -(-size // step)) - 1)
    ]
    for one in others:
        one.start()
    told = 0
    try:
        while (taken := ranges.take()) is not None:
            work(*taken)
            told = ranges.finish(taken)
            yield told
    finally:
        ranges.stop()
        for one in others:
            one.join()
    if ranges.error is not None:
        raise ranges.error
    if told < size:
        yield size


class _Ranges:
    """What is left of a whole."""

    def __init__(self, size: int, step: int, threads: int, most: int) -> None:
        self._size, self._step = size, step
        self._share = 2 * threads if threads > 1 else 1
        self._most = max(step, most // step * step)
        self._next = self._done = 0
        self._lock = threading.Lock()
        self.error: BaseException | None = None

    def take(self) -> tuple[int, int] | None:
        """Return the next range, or None when there is none."""
        with self._lock:
            first = self._next
            if first >= self._size:
                return None
            steps = -(-(self._size - first) // (self._share * self._step))
            self._next = min(first + min(steps * self._step, self._most), self._size)
            return first, self._next

    def finish(self, taken: tuple[int, int]) -> int:
        """Note a range as done; return how much is done."""
        with self._lock:
            self._done += taken[1] - taken[0]
            return self._done

    def stop(self) -> None:
        """Hand out nothing more."""
        with self._lock:
            self._next = self._size

    def serve(self, work: Work) -> None:
        """Work until nothing is left, or until a range fails."""
        while (taken := self.take()) is not None:
            try:
                work(*taken)
            except BaseException as error:
                self.error = self.error or error
                self.stop()
                return
            self.finish(taken)
