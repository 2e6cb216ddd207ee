"""Where trigger prices lie: by driver, in blocks with summaries, ordered by who is met first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crossmargin.margin.live import _exposures as ex

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_WIDE = ex.BLOCK * ex.BLOCKS
#: Room for what is to come: a share of what is there, and at least so many.
_ROOM, _LEAST_ROOM = 8, 64


class Marks:
    """Trigger prices of exposures.

    Parameters
    ----------
    pots : Exposures
        Their places are written.
    drivers : int
        How many prices move.

    Attributes
    ----------
    lower, upper : float64[room]
        Trigger prices as multiples of the price when the rules were compiled.
    owner : int32[room]
        Pot of each.
    offset, count : int64[D]
        Where those of a driver begin, each at a block of blocks, and how many there are.
    """

    def __init__(self, pots: ex.Exposures, drivers: int) -> None:
        self.count: Ints = np.bincount(pots.driver, minlength=drivers).astype(np.int64)
        roomy = self.count + self.count // _ROOM + _LEAST_ROOM
        padded = -(-roomy // _WIDE) * _WIDE
        self._end = np.cumsum(padded).astype(np.int64)
        self.offset: Ints = self._end - padded
        room = int(padded.sum())
        self.owner: NDArray[np.int32] = np.zeros(room, dtype=np.int32)
        for d in range(drivers):
            mine = self._of(pots, d)
            self.owner[self.offset[d] : self.offset[d] + self.count[d]] = pots.pot[mine]
            pots.place[mine] = np.arange(self.count[d])
        self.lower: Floats = np.full(room, -np.inf)
        self.upper: Floats = np.full(room, np.inf)
        blocks, supers = room // ex.BLOCK, room // _WIDE
        self.summaries: tuple[Floats, Floats, Floats, Floats] = (
            np.full(blocks, -np.inf), np.full(blocks, np.inf),
            np.full(supers, -np.inf), np.full(supers, np.inf),
        )  # fmt: skip
        self._found: Ints = np.empty(int(padded.max(initial=1)), dtype=np.int64)

    def _of(self, pots: ex.Exposures, driver: int) -> Ints | slice:
        if self.count[driver] < pots.driver.size:
            return np.flatnonzero(pots.driver == driver)
        return slice(None)

    @property
    def nbytes(self) -> int:
        """Bytes."""
        kept = (self.lower, self.upper, *self.summaries, self.owner)
        return sum(column.nbytes for column in kept)

    def due(self, driver: int, rho: float) -> Ints:
        """Return the pots whose trigger prices a price has crossed."""
        first = int(self.offset[driver])
        n = ex.find_due(
            first, first + int(self.count[driver]), rho, self.lower, self.upper, *self.summaries,
            self.owner, self._found,
        )  # fmt: skip
        return self._found[:n].copy()

    def sort(self, pots: ex.Exposures) -> None:
        """Order trigger prices by how soon a falling price would meet them.

        Those that a move meets then lie together, in few blocks; who is never due lies at the end.
        """
        for d in range(self.count.size):
            first, count = int(self.offset[d]), int(self.count[d])
            mine = slice(first, first + count)
            exposure = self._of(pots, d)
            low = self.lower[mine]
            near = np.flatnonzero(np.isfinite(low))
            never = np.flatnonzero(~np.isfinite(low))
            order = np.concatenate([near[np.argsort(-low[near])], never])
            self.lower[mine] = low[order]
            self.upper[mine] = self.upper[mine][order]
            self.owner[mine] = self.owner[mine][order]
            place = np.empty(count, dtype=np.int32)
            place[order] = np.arange(count, dtype=np.int32)
            pots.place[exposure] = place
        sizes = (ex.BLOCK, ex.BLOCK, _WIDE, _WIDE)
        for k, (kept, size) in enumerate(zip(self.summaries, sizes)):
            whole = (self.upper if k % 2 else self.lower).reshape(-1, size)
            kept[:] = whole.min(axis=1) if k % 2 else whole.max(axis=1)

    def has_room(self, drivers: Ints) -> bool:
        """Whether one more of each of some drivers finds a place."""
        return bool(np.all(self.offset[drivers] + self.count[drivers] < self._end[drivers]))

    def add(self, pots: ex.Exposures, exposures: Ints) -> None:
        """Give new exposures, no two of one driver, a place."""
        d = pots.driver[exposures]
        pots.place[exposures] = self.count[d]
        self.owner[self.offset[d] + self.count[d]] = pots.pot[exposures]
        self.count[d] += 1
