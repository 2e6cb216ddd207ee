"""What a live book shows: a column for each figure, and which accounts are below which line."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from crossmargin.margin.live._kernels import APART, BELOW_IM, BELOW_MM, FAILED, OVER
from crossmargin.margin.live._records import Standing

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


class Columns(ABC):
    """Columns by account, in US dollars.

    With trigger prices, accounts that no event has made due are computed when a column is read;
    `below`, `failed` and `apart` need no computing.
    """

    _standing: Standing

    @abstractmethod
    def _bring_up(self) -> None:
        """Compute what has been left for later."""

    @property
    def size(self) -> int:
        """Number of accounts."""
        return int(self._standing.state.size)

    @property
    def equity(self) -> Floats:
        """Equity at the maintenance level by account, US dollars; NaN where it failed."""
        return self._column(0)

    @property
    def equity_im(self) -> Floats:
        """Equity at the initial level by account, US dollars."""
        return self._column(1)

    @property
    def im(self) -> Floats:
        """Initial requirement by account, US dollars."""
        return self._column(2)

    @property
    def mm(self) -> Floats:
        """Maintenance requirement by account, US dollars."""
        return self._column(3)

    @property
    def health(self) -> Floats:
        """Smallest equity / MM over the pots of each account."""
        return self._column(4)

    def _column(self, number: int) -> Floats:
        self._bring_up()
        out = self._standing.columns[:, number]
        out.flags.writeable = False
        return out

    @property
    def below(self) -> Flags:
        """Accounts below maintenance margin in one of their pots."""
        return np.asarray((self._standing.state & BELOW_MM) != 0)

    @property
    def short(self) -> Flags:
        """Accounts below initial margin in one of their pots."""
        self._bring_up()
        return np.asarray((self._standing.state & BELOW_IM) != 0)

    @property
    def failed(self) -> Flags:
        """Accounts that cannot be computed; `LiveBook.reason_of` says why."""
        return np.asarray((self._standing.state & FAILED) != 0)

    @property
    def apart(self) -> Ints:
        """Accounts that the reference engine computes."""
        return np.flatnonzero(self._standing.state & (APART | OVER))
