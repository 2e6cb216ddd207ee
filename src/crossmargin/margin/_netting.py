"""Pairing amounts off in turn, with derivatives by what there was at the start.

Spread charges and credits take what stands on opposite sides, in an order of priority, and what
has been taken cannot be taken again. What is left of one amount then depends on every amount it
was paired with before, and a position's share needs those derivatives.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
K = TypeVar("K", bound=Hashable)


class Pairing(Generic[K]):
    """Amounts of at least 0 that are consumed.

    Parameters
    ----------
    amounts : mapping of key to float
        What there is at the start.
    """

    def __init__(self, amounts: Mapping[K, float]) -> None:
        self.left: dict[K, float] = dict(amounts)
        self._slope: dict[K, dict[K, float]] = {key: {key: 1.0} for key in amounts}

    def take(self, ratios: Iterable[tuple[K, float]]) -> tuple[float, dict[K, float]]:
        """Take as many spreads as the scarcest leg allows.

        Parameters
        ----------
        ratios : iterable of (key, float)
            What one spread needs of each leg, above 0.

        Returns
        -------
        count : float
            Number of spreads, 0 where a leg is missing.
        slope : dict of key to float
            Its derivative by the amounts at the start.
        """
        legs = list(ratios)
        count, scarce = min(
            ((self.left.get(key, 0.0) / ratio, place) for place, (key, ratio) in enumerate(legs)),
        )
        if count <= 0.0:
            return 0.0, {}
        key, ratio = legs[scarce]
        slope = {k: s / ratio for k, s in self._slope[key].items()}
        for place, (other, per) in enumerate(legs):
            # The scarcest leg is used up exactly.
            self.left[other] = 0.0 if place == scarce else max(0.0, self.left[other] - count * per)
            mine = dict(self._slope[other])
            for k, s in slope.items():
                mine[k] = mine.get(k, 0.0) - s * per
            self._slope[other] = mine
        return count, slope


def add_slope(total: dict[K, float], slope: Mapping[K, float], factor: float) -> None:
    """Add `factor` times a derivative to a sum of derivatives, in place."""
    for key, value in slope.items():
        total[key] = total.get(key, 0.0) + factor * value


class Pairings:
    """The amounts of many books, consumed at the same time; :class:`Pairing` for each of them.

    Parameters
    ----------
    amounts : float64[K, G]
        What there is at the start, by kind and book, at least 0.
    slopes : bool
        Whether derivatives are wanted.
    """

    def __init__(self, amounts: Floats, *, slopes: bool) -> None:
        self.left = amounts.copy()
        self._slope: Floats | None = None
        if slopes:
            kinds, books = amounts.shape
            self._slope = np.repeat(np.eye(kinds)[:, :, None], books, axis=2)

    def take(
        self, books: Ints, legs: Sequence[tuple[int, float]]
    ) -> tuple[Ints, Floats, Floats | None]:
        """Take as many spreads from some books as the scarcest leg of each allows.

        Parameters
        ----------
        books : int64[n]
            Books that form the spread, each once.
        legs : sequence of (int, float)
            Kinds, and what one spread needs of each, above 0.

        Returns
        -------
        books : int64[m]
            Those that had something left on every leg.
        count : float64[m]
            Number of spreads, above 0.
        slope : float64[K, m] or None
            Its derivative by the amounts at the start.
        """
        counts = np.stack([self.left[kind, books] / ratio for kind, ratio in legs])
        scarce = np.argmin(counts, axis=0)
        count = counts[scarce, np.arange(books.size)]
        some = count > 0.0
        if not some.all():
            books, scarce, count = books[some], scarce[some], count[some]
        grown = None
        if self._slope is not None:
            kind, ratio = (np.array(column) for column in zip(*legs))
            grown = self._slope[kind[scarce], :, books].T / ratio[scarce]
        for place, (other, per) in enumerate(legs):
            # The scarcest leg is used up exactly.
            rest = np.maximum(0.0, self.left[other, books] - count * per)
            self.left[other, books] = np.where(scarce == place, 0.0, rest)
            if self._slope is not None and grown is not None:
                self._slope[other, :, books] -= grown.T * per
        return books, count, grown
