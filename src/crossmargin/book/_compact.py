"""A million accounts as narrow columns: how a large book lies in memory.

:class:`~crossmargin.book.Book` is the form that every margin stage reads: wide columns, one row
number after another. `CompactBook` holds the same facts in compressed sparse rows with narrow
types, may be mapped from disk, and gives any run of accounts as a `Book`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.book._book import Book
from crossmargin.book._plain import plain_book
from crossmargin.book._select import select_accounts
from crossmargin.errors import InputError
from crossmargin.instruments import Registry

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class NumberedIds(Sequence[str]):
    """Names that are numbers, so that a million of them take no memory: ``A0000042``.

    Parameters
    ----------
    count : int
        How many.
    prefix : str
        In front of the number.
    """

    def __init__(self, count: int, prefix: str = "A") -> None:
        self._count, self._prefix = count, prefix
        self._digits = len(str(max(count - 1, 0)))

    @property
    def prefix(self) -> str:
        """What stands in front of each number."""
        return self._prefix

    @property
    def digits(self) -> int:
        """Digits of each number, with its leading zeros."""
        return self._digits

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self._name(i) for i in range(*index.indices(self._count))]
        if not -self._count <= index < self._count:
            raise IndexError(index)
        return self._name(index % self._count)

    def _name(self, index: int) -> str:
        return f"{self._prefix}{index:0{self._digits}d}"


class ChosenNames(Sequence[str]):
    """Some of many names, looked up when they are asked for.

    A chunk of a large book is computed without ever naming its accounts.

    Parameters
    ----------
    names : sequence of str
        All of them.
    rows : int64[n]
        Which ones.
    """

    def __init__(self, names: Sequence[str], rows: Ints) -> None:
        self._names, self._rows = names, rows

    def __len__(self) -> int:
        return int(self._rows.size)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self._names[row] for row in self._rows[index].tolist()]
        return self._names[int(self._rows[index])]

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactBook:
    """Accounts of one cross pool each, in compressed sparse rows; the rest beside them.

    Rows of account i are ``position_start[i]:position_start[i + 1]`` and
    ``balance_start[i]:balance_start[i + 1]``; within an account, positions are in the order of
    their instruments. What few accounts have (several pools, open orders, fenced margins,
    leverage, hedge legs, balances at a location) stays a :class:`Book` of its own, `rest`, whose
    accounts come after the others: account ``regular + k`` is its account k.

    Attributes
    ----------
    registry : Registry
        What `position_instrument` and `balance_asset` index (instruments, assets); the registry
        of `rest` too.
    ids : sequence of str
        Names of the regular accounts.
    owners : sequence of str or None
        Their owners; None where every account is its own.
    position_start, balance_start : int64[A + 1]
        Row pointers of the regular accounts.
    position_instrument : uint16[N] or uint32[N]
        Instruments.
    position_quantity : float64[N]
        Units of the instrument, > 0 long.
    position_entry : float64[N]
        Entry price; NaN means "settled at the mark".
    balance_asset : uint16[B] or uint32[B]
        Assets.
    balance_amount : float64[B]
        Units of the asset, < 0 debt.
    rest : Book or None
        Accounts that need more columns than these.
    """

    registry: Registry
    ids: Sequence[str]
    owners: Sequence[str] | None = None
    position_start: Ints
    position_instrument: NDArray[Any]
    position_quantity: Floats
    position_entry: Floats
    balance_start: Ints
    balance_asset: NDArray[Any]
    balance_amount: Floats
    rest: Book | None = field(default=None)

    @property
    def regular(self) -> int:
        """Number of accounts in the narrow columns."""
        return len(self.ids)

    @property
    def size(self) -> int:
        """Number of accounts."""
        return self.regular + (0 if self.rest is None else self.rest.size)

    @property
    def positions(self) -> int:
        """Number of positions of the regular accounts."""
        return int(self.position_quantity.size)

    @property
    def nbytes(self) -> int:
        """Bytes of the narrow columns."""
        values = (getattr(self, f.name) for f in fields(self))
        return sum(v.nbytes for v in values if isinstance(v, np.ndarray))

    def name(self, account: int) -> str:
        """Return the name of an account."""
        if account < self.regular:
            return self.ids[account]
        if self.rest is None:
            raise IndexError(account)
        return self.rest.account_ids[account - self.regular]

    def instruments_used(self) -> Ints:
        """Return the sorted indices of instruments held or ordered."""
        seen = np.zeros(len(self.registry), dtype=bool)
        seen[self.position_instrument] = True
        if self.rest is not None:
            seen[self.rest.instruments_used()] = True
        return np.flatnonzero(seen)

    def assets_used(self) -> Ints:
        """Return the sorted indices of assets that balances are in."""
        seen = np.zeros(len(self.registry.assets), dtype=bool)
        seen[self.balance_asset] = True
        if self.rest is not None:
            seen[self.rest.balance_asset] = True
        return np.flatnonzero(seen)

    def accounts(self, first: int, last: int) -> Book:
        """Return the regular accounts ``first:last`` as a book.

        Parameters
        ----------
        first, last : int
            Half-open; within the regular accounts.
        """
        return self.take(np.arange(first, last))

    def part(self, first: int, last: int) -> CompactBook:
        """Return accounts ``first:last`` as a large book of their own, without copying rows.

        `rest` goes with the part that the last regular account is in (or follows).

        Parameters
        ----------
        first, last : int
            Half-open; within the regular accounts.
        """
        held = slice(int(self.position_start[first]), int(self.position_start[last]))
        owned = slice(int(self.balance_start[first]), int(self.balance_start[last]))
        return CompactBook(
            registry=self.registry,
            ids=self.ids[first:last],
            owners=None if self.owners is None else self.owners[first:last],
            position_start=self.position_start[first : last + 1] - held.start,
            position_instrument=self.position_instrument[held],
            position_quantity=self.position_quantity[held],
            position_entry=self.position_entry[held],
            balance_start=self.balance_start[first : last + 1] - owned.start,
            balance_asset=self.balance_asset[owned],
            balance_amount=self.balance_amount[owned],
            rest=self.rest if last == self.regular else None,
        )

    def take(self, chosen: ArrayLike) -> Book:
        """Return some regular accounts as a book, in the order asked for.

        Parameters
        ----------
        chosen : array_like of int
            Regular accounts, each at most once.

        Raises
        ------
        InputError
            ``INP-008`` when an account is not among the regular ones.
        """
        rows = np.asarray(chosen, dtype=np.int64)
        if rows.size and not (rows.min() >= 0 and rows.max() < self.regular):
            raise InputError(
                f"the book has {self.regular} regular accounts; {int(rows.max())} is none of them",
                code="INP-008",
                hint="accounts with orders, pools or legs are in `rest`",
            )
        names = ChosenNames(self.ids, rows)
        held, p_rows = _spans(self.position_start, rows)
        owned, b_rows = _spans(self.balance_start, rows)
        return plain_book(
            self.registry,
            names,
            owners=names if self.owners is None else ChosenNames(self.owners, rows),
            position_account=held,
            position_instrument=self.position_instrument[p_rows],
            position_quantity=self.position_quantity[p_rows],
            position_entry=self.position_entry[p_rows],
            balance_account=owned,
            balance_asset=self.balance_asset[b_rows],
            balance_amount=self.balance_amount[b_rows],
        )

    def chunks(self, size: int) -> Iterator[tuple[int, Book]]:
        """Yield the book piece by piece: the number of the first account, and the accounts.

        Parameters
        ----------
        size : int
            Accounts in a piece, at least 1.
        """
        for first in range(0, self.regular, size):
            yield first, self.accounts(first, min(first + size, self.regular))
        if self.rest is None:
            return
        for first in range(0, self.rest.size, size):
            mine = np.arange(first, min(first + size, self.rest.size))
            yield self.regular + first, select_accounts(self.rest, mine)


def _spans(start: Ints, rows: Ints) -> tuple[Ints, Ints]:
    """Return, for the rows of some accounts, the place of their account and their number."""
    count = start[rows + 1] - start[rows]
    owner = np.repeat(np.arange(rows.size), count)
    first = np.concatenate([[0], np.cumsum(count)[:-1]]) if rows.size else count
    inside = np.arange(owner.size) - np.repeat(first, count)
    return owner, np.repeat(start[rows], count) + inside


def narrow(size: int) -> type[np.uint16] | type[np.uint32]:
    """Return the narrowest type that numbers `size` things."""
    return np.uint16 if size <= np.iinfo(np.uint16).max else np.uint32


def compact_book(book: Book) -> CompactBook:
    """Arrange a book in narrow columns; accounts that do not fit them become `rest`.

    The regular accounts keep their order and come first.
    """
    wide = np.zeros(book.size, dtype=bool)
    pools = np.bincount(book.pool_account, minlength=book.size)
    wide[pools != 1] = True
    wide[book.pool_account[(book.pool_mode != 0)]] = True
    odd = np.isfinite(book.position_leverage) | np.isfinite(book.position_fence)
    odd |= book.position_leg != 0
    wide[book.pool_account[book.position_pool[odd]]] = True
    for pool in (book.order_pool, book.group_pool):
        wide[book.pool_account[pool]] = True
    placed = (book.balance_location >= 0) | (book.balance_proof_ns >= 0) | book.balance_pending
    wide[book.pool_account[book.balance_pool[placed]]] = True
    named = np.array([name != "cross" for name in book.pool_names], dtype=bool)
    wide[book.pool_account[named]] = True
    plain = select_accounts(book, np.flatnonzero(~wide)) if wide.any() else book
    rest = select_accounts(book, np.flatnonzero(wide)) if wide.any() else None
    account = plain.pool_account[plain.position_pool]
    order = np.lexsort([plain.position_instrument, account])
    owner = plain.pool_account[plain.balance_pool]
    b_order = np.argsort(owner, kind="stable")
    return CompactBook(
        registry=book.registry,
        ids=plain.account_ids,
        owners=None if plain.owners == plain.account_ids else plain.owners,
        position_start=_starts(account, plain.size),
        position_instrument=plain.position_instrument[order].astype(narrow(len(book.registry))),
        position_quantity=plain.position_quantity[order],
        position_entry=plain.position_entry[order],
        balance_start=_starts(owner, plain.size),
        balance_asset=plain.balance_asset[b_order].astype(narrow(len(book.registry.assets))),
        balance_amount=plain.balance_amount[b_order],
        rest=rest,
    )


def _starts(owner: Ints, size: int) -> Ints:
    out = np.zeros(size + 1, dtype=np.int64)
    np.cumsum(np.bincount(owner, minlength=size), out=out[1:])
    return out


def catalogue_of(registry: Registry, instruments: Ints, assets: Ints) -> CompactBook:
    """Return a book of one account with a unit of everything: what a larger book may hold.

    Parameters
    ----------
    registry : Registry
        Instruments and assets.
    instruments, assets : int64[...]
        Distinct.
    """
    n, b = instruments.size, assets.size
    return CompactBook(
        registry=registry,
        ids=["everything"],
        position_start=np.array([0, n]),
        position_instrument=np.sort(instruments).astype(np.uint32),
        position_quantity=np.ones(n),
        position_entry=np.full(n, np.nan),
        balance_start=np.array([0, b]),
        balance_asset=np.asarray(assets).astype(np.uint32),
        balance_amount=np.ones(b),
    )
