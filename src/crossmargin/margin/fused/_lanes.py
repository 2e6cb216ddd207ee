"""Lanes: where each part of a requirement is summed, and where its sums begin and end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from crossmargin.margin.fused._layout import BUCKET, GROUP, SAME, SEGMENT, STRIKE
from crossmargin.margin.fused._shapes import NotFusable

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LANES = 8

#: What a lane's running sum x counts as when it ends, slope·x + side·|x|, and where it begins.
Kind = Literal["sum", "size", "long", "net", "short", "pair", "value"]
_FORMS: dict[Kind, tuple[int, float, float]] = {
    "sum": (GROUP, 1.0, 0.0),
    "size": (SAME, 0.0, 1.0),
    "long": (SAME, 0.5, 0.5),
    "net": (BUCKET, 0.0, 1.0),
    "short": (STRIKE, -0.5, 0.5),
    "pair": (BUCKET, -0.5, 0.5),
    "value": (SEGMENT, 1.0, 0.0),
}
_LEVELS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Lanes:
    """Component lanes of a table.

    Attributes
    ----------
    vectors : int
        How many vectors they fill.
    coefficient : float64[C, 8·vectors]
        Of each code.
    masks : int64[8 levels · 8(2 + vectors)]
        By level of a row: masks (-1 or 0) of scenario sums that go on, of records that go on, and
        of lanes whose running sum goes on.
    close : float64[8 levels · 8·vectors]
        By level of the next row and lane: 1 where the sum ends.
    shape : float64[2 · 8·vectors]
        Slopes, then sides.
    paired : bool
        Whether the last two lanes are two moves of which the worse counts.
    value : int
        Lane of today's value of a segment; -1 without one.
    columns : int64[n, 3]
        Places in a record of each column: a lane, a second lane or -1, and the second one's
        sign. Column 0 is the scan.
    """

    vectors: int
    coefficient: Floats
    masks: Ints
    close: Floats
    shape: Floats
    paired: bool
    value: int
    columns: Ints


class LanePlan:
    """Hands out lanes while a program is compiled.

    Parameters
    ----------
    codes : int
        Number of codes.
    """

    def __init__(self, codes: int) -> None:
        self._codes = codes
        self._kinds: list[Kind] = []
        self._rows: list[Floats] = []
        self._pair: tuple[Floats, Floats] | None = None
        self._columns: list[tuple[int, int, int]] = [(-1, -1, 1)]
        self._value = -1

    def lane(self, kind: Kind, coefficient: Floats) -> int:
        """Add a lane, or return one that has the same coefficients."""
        for lane, (known, row) in enumerate(zip(self._kinds, self._rows)):
            if known == kind and np.array_equal(row, coefficient, equal_nan=True):
                return lane
        self._kinds.append(kind)
        self._rows.append(coefficient)
        return len(self._kinds) - 1

    def value(self, coefficient: Floats) -> None:
        """Set what segments are worth today; to be called first."""
        self._value = self.lane("value", coefficient)

    def column(self, first: int, second: int = -1, sign: int = 1) -> int:
        """Return the column of a record that holds a lane, or two added up."""
        wanted = (first, second, sign)
        if wanted not in self._columns:
            self._columns.append(wanted)
        return self._columns.index(wanted)

    def repeat(self, column: int) -> int:
        """Add a column again, for readers that look for it in another place."""
        self._columns.append(self._columns[column])
        return len(self._columns) - 1

    def by_side(self, up: Floats, down: Floats) -> int:
        """Return the column of a sum that is ``q·up`` for longs and ``−q·down`` for shorts."""
        base = self.lane("sum", -down)
        cut = -(up + down)
        if not np.any(np.nan_to_num(cut) != 0.0):
            return self.column(base)
        if np.nanmin(cut) >= 0.0:
            return self.column(base, self.lane("long", cut), -1)
        return self.column(self.lane("sum", (up - down) / 2), self.lane("size", (up + down) / 2))

    def levels(self, im: Floats, mm: Floats) -> tuple[tuple[int, float], tuple[int, float]]:
        """Return columns and factors of a charge by size at both levels; one lane if it can."""
        ratio = _ratio(im, mm)
        if ratio is not None:
            column = self.column(self.lane("size", im))
            return (column, 1.0), (column, ratio)
        return (
            (self.column(self.lane("size", im)), 1.0),
            (self.column(self.lane("size", mm)), 1.0),
        )

    def pair(self, up: Floats, down: Floats) -> int:
        """Return the column of two moves of which the worse counts, bucket by bucket."""
        if self._pair is not None:
            raise NotFusable("two components look at a pair of moves")
        self._pair = (up, down)
        return self.column(-2)

    def done(self) -> Lanes:
        """Lay the lanes out.

        Raises
        ------
        NotFusable
            When there are more than two vectors of them.
        """
        used = len(self._kinds) + (2 if self._pair is not None else 0)
        vectors = max(1, -(-used // LANES))
        if vectors > 2:
            raise NotFusable("there are more parts than lanes")
        width = LANES * vectors
        spare: list[Kind] = ["sum"] * (width - len(self._kinds))
        kinds: list[Kind] = self._kinds + spare
        coefficient = np.zeros((self._codes, width))
        for lane, row in enumerate(self._rows):
            coefficient[:, lane] = row
        if self._pair is not None:
            kinds[-2:] = ["pair", "pair"]
            coefficient[:, -2], coefficient[:, -1] = self._pair
        edge = np.array([_FORMS[k][0] for k in kinds])
        begins = np.arange(_LEVELS)[:, None] >= edge
        close = begins.astype(np.float64)
        if self._pair is not None:
            close[:, -1] = 0.0
        at = {-1: width + 1, -2: width - 2}
        columns = [(at.get(a, a), b, c) for a, b, c in self._columns]
        return Lanes(
            vectors=vectors,
            coefficient=coefficient,
            masks=_masks(begins),
            close=close.reshape(-1),
            shape=np.array([[_FORMS[k][i] for k in kinds] for i in (1, 2)]).reshape(-1),
            paired=self._pair is not None,
            value=self._value,
            columns=np.array(columns, dtype=np.int64).reshape(-1, 3),
        )


def _masks(begins: NDArray[np.bool_]) -> Ints:
    level = np.arange(_LEVELS)[:, None] + np.zeros(LANES)
    whole = np.concatenate([level >= SEGMENT, level >= GROUP, begins], axis=1)
    return np.where(whole, 0, -1).astype(np.int64)


def _ratio(im: Floats, mm: Floats) -> float | None:
    """Return mm / im where it is the same for every code, else None."""
    a, b = np.nan_to_num(im), np.nan_to_num(mm)
    used = a != 0.0
    if not used.any() or np.any(b[~used] != 0.0):
        return None
    ratios = b[used] / a[used]
    middle = float(np.median(ratios))
    return middle if np.all(np.abs(ratios - middle) <= 4e-16 * abs(middle)) else None
