"""How holders of one side have been closed alike, moment by moment."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crossmargin.cascade._measure import Past

Floats = NDArray[np.float64]


class History:
    """What a coin held at the start has become, by contract and side, after every change.

    Attributes
    ----------
    scale, taken : float64[K, 2]
        Now: coins left of one, and money that its holder took out; sides long, short.
    moment : int
        Changes so far.
    """

    def __init__(self, contracts: int) -> None:
        self.scale, self.taken = np.ones((contracts, 2)), np.zeros((contracts, 2))
        self.moment = 0
        self._scale, self._taken = np.ones((16, contracts, 2)), np.zeros((16, contracts, 2))

    @property
    def past(self) -> Past:
        """All moments, with room behind them."""
        return Past(self._scale, self._taken)

    def write(self) -> None:
        """Begin a new moment: scale or taken have changed."""
        self.moment += 1
        if self.moment == self._scale.shape[0]:
            self._scale = np.concatenate([self._scale, np.ones_like(self._scale)])
            self._taken = np.concatenate([self._taken, np.zeros_like(self._taken)])
        self._scale[self.moment], self._taken[self.moment] = self.scale, self.taken
