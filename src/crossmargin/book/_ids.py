"""Names of a million accounts without a million Python strings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, overload

from crossmargin.book._compact import NumberedIds

if TYPE_CHECKING:
    import polars as pl


class SeriesIds(Sequence[str]):
    """Names in an Arrow column, read when first asked for.

    Parameters
    ----------
    count : int
        How many.
    load : callable
        Returns the column, a polars Series of strings without nulls.
    """

    def __init__(self, count: int, load: Callable[[], pl.Series]) -> None:
        self._count, self._load = count, load
        self._series: pl.Series | None = None

    @property
    def series(self) -> pl.Series:
        """The column."""
        if self._series is None:
            self._series = self._load()
        return self._series

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            names: list[str] = self.series[index].to_list()
            return names
        if not -self._count <= index < self._count:
            raise IndexError(index)
        return str(self.series[int(index)])


def ids_of_series(series: pl.Series) -> Sequence[str]:
    """Return names as a sequence: numbers where they are numbered from nought, else the column."""
    count = len(series)
    if count:
        last = series[-1]
        digits = len(str(count - 1))
        prefix, number = last[:-digits], last[-digits:]
        numbered = NumberedIds(count, prefix)
        ends = number == str(count - 1) and series[0] == numbered[0]
        if ends and (series == series_of_ids(numbered)).all():
            return numbered
    return SeriesIds(count, lambda: series)


def series_of_ids(ids: Sequence[str]) -> pl.Series:
    """Return names as a column of strings."""
    import polars as pl

    if isinstance(ids, SeriesIds):
        return ids.series
    if isinstance(ids, NumberedIds) and len(ids):
        numbers = pl.int_range(0, len(ids), eager=True).cast(pl.String)
        frame = pl.select(pl.lit(ids.prefix) + numbers.str.zfill(ids.digits))
        return frame.to_series()
    return pl.Series(list(ids), dtype=pl.String)
