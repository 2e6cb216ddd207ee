"""How far a long run has come, on the standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

#: Seconds between plain lines where there is no terminal.
_EVERY_S = 5.0


class Meter(AbstractContextManager["Meter"]):
    """Shows a bar at a terminal, a line every few seconds elsewhere, or nothing.

    Parameters
    ----------
    what : str
        What is counted: ``accounts``.
    quiet : bool
        Show nothing, only keep count.
    clock : callable
        Seconds that only rise.

    Attributes
    ----------
    done, total : int
        How far the run has come.
    """

    def __init__(
        self, what: str, *, quiet: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.what, self.done, self.total = what, 0, 0
        self._quiet, self._clock = quiet, clock
        self._bar: Any = None
        self._task: Any = None
        self._start = self._said = clock()

    def __enter__(self) -> Meter:
        """Begin to count."""
        if not self._quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                Progress,
                TextColumn,
                TimeElapsedColumn,
                TimeRemainingColumn,
            )

            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task(self.what, total=None)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()

    def step(self, done: int, total: int) -> None:
        """Say how far the run has come."""
        self.done, self.total = done, total
        if self._quiet:
            return
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total)
            return
        now = self._clock()
        if now - self._said >= _EVERY_S:
            self._said = now
            sys.stderr.write(f"{self.words} after {now - self._start:,.0f} s\n")
            sys.stderr.flush()

    @property
    def words(self) -> str:
        """How far, in words."""
        if not self.total:
            return f"no {self.what} yet"
        return (
            f"{self.done:,} of {self.total:,} {self.what} ({100 * (self.done / self.total):.0f} %)"
        )
