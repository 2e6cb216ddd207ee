"""Large columns in blocks of whole accounts: what a step needs in between stays small.

Sums by index go on from block to block, so that they are added up in the order of rows and come
out as over the whole column, to the last bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Int32 = NDArray[np.int32]

#: Accounts of a block: columns of a block fit into a core's cache, and calls weigh nothing.
ACCOUNTS = 1 << 15


def blocks(start: Any) -> Iterator[tuple[slice, slice]]:
    """Yield accounts and their rows, block after block; `start` is int[A + 1]."""
    size = start.size - 1
    for first in range(0, size, ACCOUNTS):
        last = min(first + ACCOUNTS, size)
        yield slice(first, last), slice(int(start[first]), int(start[last]))


def owners(start: Any, accounts: slice) -> Int32:
    """Return the account of each row of a block, counted from the block's first."""
    size = accounts.stop - accounts.start
    count = np.diff(start[accounts.start : accounts.stop + 1])
    return np.repeat(np.arange(size, dtype=np.int32), count)


def add_up(total: Floats, index: Any, values: Floats) -> None:
    """Go on adding values by index to `total`, one after another."""
    if total.size:
        row = np.concatenate([np.arange(total.size), index])
        total[:] = np.bincount(row, np.concatenate([total, values]), minlength=total.size)
