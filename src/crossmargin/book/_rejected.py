"""Accounts that a reader set aside: why, without a million error objects."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from crossmargin.errors import CrossmarginError

if TYPE_CHECKING:
    import polars as pl

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One kind of fault in one column, at many rows.

    Attributes
    ----------
    table : str
        Table of the rows.
    rows : int64[k]
        Rows of the file.
    say : callable
        Takes a number below k and the account's name (None where the row has no account), and
        returns the error.
    code : str or list of str
        Code of all, or of each distinct name when `word` is given.
    word : int64[k] or None
        Number of the name that is not known.
    """

    table: str
    rows: Ints
    say: Callable[[int, str | None], CrossmarginError]
    code: str | list[str]
    word: Ints | None = None

    def counts(self, chosen: Ints) -> dict[str, int]:
        """Return how many of some of the faults have each code."""
        if isinstance(self.code, str) or self.word is None:
            return {str(self.code): int(chosen.size)}
        out: dict[str, int] = {}
        for word, count in enumerate(np.bincount(self.word[chosen], minlength=len(self.code))):
            out[self.code[word]] = out.get(self.code[word], 0) + int(count)
        return out


class _Place(NamedTuple):
    """Where a reason is: number of the fault, number within it, and the account's name."""

    fault: int
    item: int
    account: str | None


class Rejected(Mapping[str, CrossmarginError]):
    """The accounts that were set aside, by name, each with the first thing wrong with it.

    Errors are made when they are looked up: a hundred thousand of them cost a few arrays. A row
    that belongs to no account stands under its place, such as ``positions[12]``, and what hangs
    on such a row goes with it.

    Attributes
    ----------
    rows : int64[k]
        Rows of the accounts in the file's table of accounts.
    """

    def __init__(
        self,
        faults: list[Fault],
        names: pl.Series | None,
        rows: Ints,
        fault: Ints,
        item: Ints,
        loose: list[tuple[int, Ints]],
    ) -> None:
        self.rows = rows
        self._faults, self._names = faults, names
        self._fault, self._item, self._loose = fault, item, loose

    @classmethod
    def none(cls) -> Rejected:
        """Return that nothing was set aside."""
        nothing = np.empty(0, dtype=np.int64)
        return cls([], None, nothing, nothing, nothing, [])

    @cached_property
    def _places(self) -> dict[str, _Place]:
        out: dict[str, _Place] = {}
        for number, items in self._loose:
            fault = self._faults[number]
            for item in items.tolist():
                out[f"{fault.table}[{fault.rows[item]}]"] = _Place(number, item, None)
        names = [] if self._names is None else self._names.to_list()
        columns = zip(names, self.rows.tolist(), self._fault.tolist(), self._item.tolist())
        for name, row, number, item in columns:
            out[name or f"accounts[{row}]"] = _Place(number, item, name)
        return out

    def __getitem__(self, name: str) -> CrossmarginError:
        place = self._places[name]
        return self._faults[place.fault].say(place.item, place.account)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        # An empty mapping is asked for its length on every clean read.
        return len(self._places) if self._faults else 0

    def by_code(self) -> dict[str, int]:
        """Return how many there are of each code, most frequent first.

        Rows of accounts are counted, and rows without an account; two accounts of one name are
        two here and one in the mapping.
        """
        out: dict[str, int] = {}
        parts = [(n, self._item[self._fault == n]) for n in np.unique(self._fault).tolist()]
        for number, items in [*parts, *self._loose]:
            for code, count in self._faults[number].counts(items).items():
                out[code] = out.get(code, 0) + count
        return dict(sorted(((c, n) for c, n in out.items() if n), key=lambda p: (-p[1], p[0])))


class Blame:
    """Collects faults while a book is read: the first one of each account stays.

    Parameters
    ----------
    accounts : int
        Rows of the table of accounts.
    """

    def __init__(self, accounts: int) -> None:
        self.faults: list[Fault] = []
        self.reason = np.full(accounts, -1, dtype=np.int32)
        self._item = np.zeros(accounts, dtype=np.int64)
        self._loose: list[tuple[int, Ints]] = []

    @property
    def any(self) -> bool:
        """Whether something is wrong."""
        return bool(self.faults)

    @property
    def good(self) -> NDArray[np.bool_]:
        """Accounts without a fault so far."""
        return np.asarray(self.reason < 0)

    def add(self, fault: Fault, account: Ints) -> None:
        """Add faults; `account` is the row of each one's account, -1 where there is none."""
        number = len(self.faults)
        self.faults.append(fault)
        item = np.arange(account.size)
        loose = item[account < 0]
        if loose.size:
            self._loose.append((number, loose))
        # From the last to the first, so that the first of an account stays.
        mine = item[account >= 0][::-1]
        mine = mine[self.reason[account[mine]] < 0]
        self._item[account[mine]] = mine
        self.reason[account[mine]] = number

    def rejected(self, names: pl.Series) -> Rejected:
        """Return what was set aside."""
        if not self.faults:
            return Rejected.none()
        rows = np.flatnonzero(self.reason >= 0)
        return Rejected(
            self.faults,
            names.gather(rows),
            rows,
            self.reason[rows].astype(np.int64),
            self._item[rows],
            self._loose,
        )
