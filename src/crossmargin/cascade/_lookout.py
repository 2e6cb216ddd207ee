"""Who has to be looked at after prices have moved: accounts by what they can bear.

Accounts that were measured together form a *watch*: the prices of that moment, and for each class
of accounts a list sorted by radius. After a move only the heads of the lists are opened. Every
account is in one watch at most, or among those that are looked at every time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from crossmargin.cascade._classes import (
    begin_lists,
    classes_of,
    drain,
    no_lists,
    pop,
    sort_keys,
    squeeze,
    waiting,
)
from crossmargin.cascade._history import History
from crossmargin.cascade._measure import Marks, Rows, Table, fold, measure
from crossmargin.margin._ranges import in_ranges

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Int32 = NDArray[np.int32]
Bools = NDArray[np.bool_]

#: Watches that stand beside each other before the smaller ones are made into one.
WATCHES = 64

#: How full the room for keys may be after it was closed up: else it would be soon again.
SPARE = 0.75

#: Accounts that are measured at once.
BATCH = 1 << 16

#: Accounts from which on threads are worth their start.
_MANY = 10_000


class Measured(NamedTuple):
    """Accounts as they were found just now."""

    ids: Int32
    equity: Floats
    mm: Floats
    radius: NDArray[np.float32]
    group: NDArray[np.int16]
    breach: Bools
    legs: Int32


class Standing(NamedTuple):
    """Everybody, as found just now."""

    equity: Floats
    mm: Floats


class Lookout:
    """The watches over a population.

    Parameters
    ----------
    rows, table : Rows, Table
        Accounts and their brackets.
    line : tuple of float
        Factor and amount of the line, and what rounding to the grid may make of money.
    quanta, cent : float64[K], float
        Grids of coins and money.
    assets : int
        How many there are, those of contracts among them.
    history : History
        How holders have been closed alike.
    threads : int
        For measuring many accounts; changes no bit.
    """

    def __init__(
        self,
        rows: Rows,
        table: Table,
        line: tuple[float, float, float],
        quanta: Floats,
        cent: float,
        *,
        assets: int,
        history: History,
        threads: int,
    ) -> None:
        self.rows, self.table, self.line = rows, table, line
        self.quanta, self.cent, self.history, self.threads = quanta, cent, history, threads
        self.size, k = rows.base.size, quanta.size
        self.evaluations = 0
        self._refs: Marks | None = None
        self._pool = np.empty(0, np.uint64)
        self._used = 0
        self._live = np.zeros(WATCHES + 1, dtype=np.bool_)
        self._first = np.zeros(WATCHES + 1, dtype=np.int64)
        self._classes = classes_of(k, assets)
        self._lists = no_lists(WATCHES + 1, self._classes.size)
        self._loss = np.empty(2 * k + 2 * assets + 2)
        self._bound = np.empty(1, np.float32)
        self._bits = self._bound.view(np.uint32)
        self._out = np.empty(self.size, np.int32)

    #: Place of accounts that are in no watch.
    LOOSE = WATCHES

    def begin(self, now: Marks) -> None:
        """Set up room for watches; nobody is watched yet."""
        self._refs = Marks(*(np.repeat(x[None], WATCHES + 1, axis=0) for x in now))
        self.rows.place[:] = self.LOOSE

    def standing(self, now: Marks) -> Standing:
        """Measure everybody; nothing is changed."""
        equity, mm = np.empty(self.size), np.empty(self.size)
        for ids in self.batches():
            found = self.measure(ids, now)
            equity[ids[0] : ids[-1] + 1], mm[ids[0] : ids[-1] + 1] = found.equity, found.mm
        return Standing(equity, mm)

    def batches(self) -> Iterator[Int32]:
        """Yield everybody, some at a time: what is found of all at once takes much room."""
        for first in range(0, self.size, BATCH):
            yield np.arange(first, min(first + BATCH, self.size), dtype=np.int32)

    def fold_all(self, rows: Rows | None = None) -> None:
        """Write down for everybody what closing of all holders alike has done."""
        for ids in self.batches():
            self.fold(ids, rows)

    def fold(self, ids: Int32, rows: Rows | None = None) -> None:
        """Write down what closing of all holders alike has done to accounts."""
        past, moment = self.history.past, self.history.moment
        fold(ids, self.rows if rows is None else rows, past, moment, self.quanta, self.cent)

    def measure(self, ids: Int32, now: Marks, write: int | None = None) -> Measured:
        """Measure accounts; those from the place `write` on are folded, no other is changed."""
        n, past, moment = ids.size, self.history.past, self.history.moment
        found = Measured(
            ids,
            np.empty(n),
            np.empty(n),
            np.empty(n, np.float32),
            np.empty(n, np.int16),
            np.empty(n, np.bool_),
            np.empty(n, np.int32),
        )
        self.evaluations += n

        def work(first: int, last: int) -> None:
            measure(
                ids,
                first,
                last,
                self.rows,
                now,
                past,
                moment,
                self.table,
                self.line,
                self.quanta,
                self.cent,
                self._classes,
                *found[1:],
                n if write is None else write,
            )

        self.spread(work, n, _MANY)
        return found

    def spread(self, work: Callable[[int, int], None], size: int, many: int) -> None:
        """Do work over a range, by several threads where it is `many` or more."""
        if size >= many and self.threads > 1:
            for _ in in_ranges(work, size, 256, self.threads):
                pass
        else:
            work(0, size)

    def loose(self, ids: Int32) -> None:
        """Take accounts out of their watches: they were measured, and are looked at again."""
        self.rows.place[ids] = self.LOOSE

    def watch(self, found: Measured, which: Bools, now: Marks) -> None:
        """Watch those accounts of some that were measured at these marks."""
        place, keys, sizes = self.room(found.ids.size)
        bits = found.radius.view(np.uint32)
        n = sort_keys(found.ids, bits, found.group, which, self.rows.place, place, keys, sizes)
        self.enlist(place, n, sizes, now)

    def room(self, most: int) -> tuple[int, NDArray[np.uint64], Ints]:
        """Return a free place, room for so many keys, and counts of classes at 0."""
        if self._used + most > self._pool.size:
            self._compact()
            if self._used + most > SPARE * self._pool.size:
                grown = np.empty(2 * max(self._pool.size, self._used + most), np.uint64)
                grown[: self._used] = self._pool[: self._used]
                self._pool = grown
        keys = self._pool[self._used : self._used + most]
        return self._free(), keys, np.zeros(self._classes.size, np.int64)

    def enlist(self, place: int, n: int, sizes: Ints, now: Marks) -> None:
        """Begin a watch of the `n` accounts whose keys were written to its room."""
        if not n:
            return
        assert self._refs is not None
        for refs, x in zip(self._refs, now):
            refs[place] = x
        self._pool[self._used : self._used + n].sort()
        begin_lists(self._lists, place, self._used, sizes)
        self._first[place] = self._used
        self._live[place] = True
        self._used += n

    def due(self, now: Marks) -> Int32:
        """Return the accounts that may have crossed their line since they were measured."""
        n = pop(
            now,
            self._refs,
            self.table,
            self.line[0],
            self._classes,
            self._live,
            self._loss,
            self._bound,
            self._bits,
            self._pool,
            self._lists,
            self.rows.place,
            self._out,
        )
        found = self._out[:n].copy()
        # In the order of memory: fewer pages are turned.
        found.sort()
        return found

    @property
    def crowded(self) -> bool:
        """Whether no further watch has room: :meth:`gather` comes first."""
        return int(np.count_nonzero(self._live)) >= WATCHES - 1

    def gather(self) -> Int32:
        """Dissolve the smaller half of the watches, and return their accounts."""
        places = np.flatnonzero(self._live[:WATCHES])
        left = np.empty(places.size, np.int64)
        waiting(places, self._lists, left)
        gone = places[np.argsort(left, kind="stable")[: places.size // 2]]
        n = drain(self._pool, gone, self._lists, self.rows.place, self._out)
        self._live[gone] = False
        return self._out[:n].copy()

    def _compact(self) -> None:
        """Give back the room of lists that nobody opens any more, and of who left a watch."""
        watches = np.flatnonzero(self._live[:WATCHES])
        watches = watches[np.argsort(self._first[watches], kind="stable")]
        self._used = squeeze(self._pool, watches, self._first, self._lists, self.rows.place)

    def dissolve(self) -> None:
        """Forget all watches."""
        self._live[:] = False
        self._used = 0

    def _free(self) -> int:
        return int(self._live.argmin())
