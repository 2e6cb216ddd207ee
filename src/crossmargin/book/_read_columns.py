"""Columns of a large book's tables, read without a Python object per row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crossmargin.book._faults import (
    missing_text,
    name_of,
    no_such_row,
    number_code,
    number_error,
    wrong_rows,
)
from crossmargin.book._rejected import Blame, Fault
from crossmargin.book._tables import MEANINGS, TABLES, cast_column
from crossmargin.errors import CrossmarginError, InputError
from crossmargin.instruments import Registry

if TYPE_CHECKING:
    import polars as pl

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

#: Stands for numbers that no row of a column of names has.
_UNUSED = -2
_FIELD = {(table, one.column): one for table, fields in TABLES.items() for one in fields}


@dataclass(frozen=True, slots=True)
class Coded:
    """A column of names.

    Attributes
    ----------
    word : unsigned int[n]
        Number of each row's name.
    code : int64[w]
        Code of each name, -1 where it cannot be had.
    """

    word: NDArray[Any]
    code: Ints

    def all_are(self, code: int) -> bool:
        """Whether every name has one code."""
        return bool(np.isin(self.code, (code, _UNUSED)).all())

    def codes(self, dtype: type[np.generic] = np.int64) -> NDArray[Any]:
        """Return the code of every row; rows without one hold what -1 is in the type."""
        table: NDArray[Any] = self.code.astype(dtype)
        found: NDArray[Any] = table[self.word]
        return found

    def at(self, rows: Ints) -> Ints:
        """Return the codes of some rows."""
        found: Ints = self.code[self.word[rows]]
        return found


class Columns:
    """The columns of a folder's tables; what is wrong with them is blamed on their accounts.

    `account` of the methods is the row of each row's account, -1 where it has none; a row without
    an account was blamed for that, and for nothing else.
    """

    def __init__(
        self, frames: Mapping[str, pl.DataFrame], registry: Registry, blame: Blame
    ) -> None:
        self.frames, self.registry, self.blame = frames, registry, blame

    def series(self, table: str, column: str) -> pl.Series:
        """Return a column as Int64, Float64 or String."""
        return cast_column(self.frames[table][column], table, _FIELD[table, column])

    def texts(self, table: str, column: str, account: Ints) -> pl.Series:
        """Return a column of texts; rows without one are blamed."""
        series = self.series(table, column)
        empty = (series.is_null() | (series == "")).arg_true()
        if len(empty):
            self._blame_missing(table, column, empty.to_numpy().astype(np.int64), account)
        return series

    def _blame_missing(self, table: str, column: str, rows: Ints, account: Ints) -> None:
        rows = rows[account[rows] >= 0]

        def say(item: int, name: str | None) -> CrossmarginError:
            return missing_text(table, column, int(rows[item])).located(account=name)

        self.blame.add(Fault(table=table, rows=rows, say=say, code="INP-003"), account[rows])

    def refers(self, table: str, column: str, size: int, account: Ints | None = None) -> Ints:
        """Return a column of row numbers, -1 where they lead nowhere.

        Without `account`, a row that leads nowhere belongs to no account. With it, the row may
        refer to nothing.
        """
        series = self.series(table, column)
        if series.null_count():
            series = series.fill_null(-1)
        values: Ints = series.to_numpy()
        lowest = 0 if account is None else -1
        if not values.size or (values.min() >= lowest and values.max() < size):
            return values
        wrong = (values < lowest) | (values >= size)
        rows = np.flatnonzero(wrong)
        owner = np.full(rows.size, -1) if account is None else account[rows]
        if account is not None:
            rows, owner = rows[owner >= 0], owner[owner >= 0]
        self.blame_reference(table, column, rows, values[rows], owner, size)
        return np.where(wrong, -1, values)

    def blame_reference(
        self, table: str, column: str, rows: Ints, values: Ints, owner: Ints, size: int
    ) -> None:
        """Blame rows that refer to one that is not there."""
        into = _FIELD[table, column].into

        def say(item: int, name: str | None) -> CrossmarginError:
            error = no_such_row(table, column, int(rows[item]), int(values[item]), into, size)
            return error.located(account=name)

        self.blame.add(Fault(table=table, rows=rows, say=say, code="INP-008"), owner)

    def names(self, table: str, column: str, account: Ints) -> Coded:
        """Return a column of names as codes: each different name is looked up once."""
        import polars as pl

        series = self.frames[table][column]
        cast_column(series[:0], table, _FIELD[table, column])
        if series.dtype != pl.Categorical:
            series = series.cast(pl.String).cast(pl.Categorical)
        distinct = series.unique(maintain_order=True).drop_nulls()
        texts = distinct.cast(pl.String).to_list()
        place = distinct.to_physical().to_numpy()
        physical = series.to_physical()
        code = np.full(int(place.max(initial=0)) + 2, _UNUSED, dtype=np.int64)
        errors: dict[int, InputError] = {}
        for text, number in zip(texts, place.tolist()):
            try:
                known = MEANINGS.get(column, ())
                code[number] = -1 if text == "" else name_of(column, text, self.registry, known)
            except InputError as error:
                code[number], errors[number] = -1, error
        if series.null_count():
            # The last number is no name: rows without one.
            code[-1] = -1
            physical = physical.fill_null(code.size - 1)
        coded = Coded(physical.to_numpy(), code)
        if (code == -1).any():
            self._blame_names(table, column, coded, errors, account)
        return coded

    def _blame_names(
        self,
        table: str,
        column: str,
        coded: Coded,
        errors: dict[int, InputError],
        account: Ints,
    ) -> None:
        wrong = np.flatnonzero((coded.code == -1)[coded.word])
        unknown = np.zeros(coded.code.size, dtype=bool)
        unknown[list(errors)] = True
        named = unknown[coded.word[wrong]]
        if not named.all():
            self._blame_missing(table, column, wrong[~named], account)
        rows = wrong[named & (account[wrong] >= 0)]
        if not rows.size:
            return
        numbers = sorted(errors)
        word = np.searchsorted(numbers, coded.word[rows])

        def say(item: int, name: str | None) -> CrossmarginError:
            known = errors[numbers[int(word[item])]]
            return InputError(
                known.message,
                code=known.code,
                account=name,
                instrument=known.instrument,
                field=f"{table}[{rows[item]}].{column}",
                hint=known.hint,
            )

        codes = [errors[number].code for number in numbers]
        fault = Fault(table=table, rows=rows, say=say, code=codes, word=word)
        self.blame.add(fault, account[rows])

    def numbers(self, table: str, column: str) -> Floats | None:
        """Return a column of numbers, NaN where missing; None when all are."""
        series = self.frames[table][column]
        if series.null_count() == len(series) and len(series):
            cast_column(series[:0], table, _FIELD[table, column])
            return None
        values: Floats = self.series(table, column).to_numpy()
        return values

    def missing(self, table: str, column: str) -> bool:
        """Whether a column holds nothing at all, its type included."""
        series = self.frames[table][column]
        cast_column(series[:0], table, _FIELD[table, column])
        return series.null_count() == len(series)

    def check(
        self,
        table: str,
        column: str,
        values: Floats,
        astray: Bools | None,
        account: Ints,
        held: Coded | None = None,
    ) -> None:
        """Blame the rows whose number cannot be."""
        wrong = wrong_rows(values, astray, needed=column in ("amount", "quantity"))
        wrong = wrong[account[wrong] >= 0]
        if not wrong.size:
            return
        off = np.zeros(wrong.size, dtype=bool) if astray is None else astray[wrong]
        for kind in (False, True):
            if (off == kind).any():
                self._blame_numbers(table, column, values, wrong[off == kind], account, held, kind)

    def _blame_numbers(
        self,
        table: str,
        column: str,
        values: Floats,
        rows: Ints,
        account: Ints,
        held: Coded | None,
        astray: bool,
    ) -> None:
        value = values[rows]
        instrument = np.full(rows.size, -1) if held is None else held.at(rows)
        registry = self.registry

        def say(item: int, name: str | None) -> CrossmarginError:
            index = int(instrument[item])
            known = None if index < 0 else registry[index].id
            row, figure = int(rows[item]), float(value[item])
            return number_error(table, column, row, figure, name, known, astray=astray)

        code = number_code(column, astray)
        self.blame.add(Fault(table=table, rows=rows, say=say, code=code), account[rows])
