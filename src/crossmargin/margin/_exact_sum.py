"""Totals that do not depend on the order of adding: the same bits for any cut of a book.

Floating sums depend on how a book is cut into chunks. Here every number is taken apart into its
whole mantissa and its exponent, and mantissas of one exponent are added as integers: nothing is
rounded until the end, where the exact total is rounded once.

Source: house (exact accumulation after Kulisch's long accumulator, kept sparse).
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from crossmargin.errors import invariant

Floats = NDArray[np.float64]

#: Bits of a float64 mantissa, and of the lower part it is cut into so that sums stay exact.
_BITS, _LOW = 53, 27
#: Numbers added at once, so that 2^26 mantissa halves of 27 bits stay below 2^53.
_BLOCK = 1 << 20


class ExactSums:
    """Exact totals of named pairs of figures."""

    def __init__(self) -> None:
        self._sums: dict[str, list[dict[int, int]]] = {}

    def add(self, name: str, column: int, values: Floats) -> None:
        """Add finite numbers to one figure of a name.

        Parameters
        ----------
        name : str
            Whose total.
        column : {0, 1}
            Which figure of the pair.
        values : float64[K]
            Finite.
        """
        total = self._sums.setdefault(name, [{}, {}])[column]
        for first in range(0, values.size, _BLOCK):
            _add(total, values[first : first + _BLOCK])

    def merge(self, other: ExactSums) -> None:
        """Add the totals of another."""
        for name, columns in other._sums.items():
            mine = self._sums.setdefault(name, [{}, {}])
            for column, sums in enumerate(columns):
                for exponent, whole in sums.items():
                    mine[column][exponent] = mine[column].get(exponent, 0) + whole

    def rounded(self) -> dict[str, tuple[float, float]]:
        """Return the totals, each rounded once."""
        return {
            name: (_round(columns[0]), _round(columns[1])) for name, columns in self._sums.items()
        }


def _add(total: dict[int, int], values: Floats) -> None:
    values = values[values != 0.0]
    if not values.size:
        return
    invariant(bool(np.isfinite(values).all()), "a component is not a finite number")
    mantissa, exponent = np.frexp(values)
    whole = np.ldexp(mantissa, _BITS).astype(np.int64)
    high = whole >> _LOW
    low = whole - (high << _LOW)
    least = int(exponent.min())
    place = exponent - least
    # Sums of integers below 2^53 in float64 are exact.
    highs = np.bincount(place, weights=high.astype(np.float64))
    lows = np.bincount(place, weights=low.astype(np.float64))
    for row in np.flatnonzero(np.bincount(place)).tolist():
        key = least + row
        total[key] = total.get(key, 0) + (int(highs[row]) << _LOW) + int(lows[row])


def _round(sums: dict[int, int]) -> float:
    exact = Fraction(0)
    for exponent, whole in sums.items():
        shift = exponent - _BITS
        exact += Fraction(whole << shift) if shift >= 0 else Fraction(whole, 1 << -shift)
    return float(exact)
