"""Orders and the positions they meet, row by row."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from crossmargin.book import Book

if TYPE_CHECKING:
    pass

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
T = TypeVar("T")


def _held_position(book: Book, leg_pool: Ints) -> Ints:
    """Return, for each order leg, the position in the same instrument and pool, else -1."""
    held = {
        (int(pool), int(instrument)): row
        for row, (pool, instrument) in reversed(
            list(enumerate(zip(book.position_pool, book.position_instrument)))
        )
    }
    return np.array(
        [held.get((int(p), int(i)), -1) for p, i in zip(leg_pool, book.leg_instrument)],
        dtype=np.int64,
    )
