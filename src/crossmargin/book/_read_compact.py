"""Reading a large book, column by column; what is wrong with an account sets it aside."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from crossmargin.book._book import Book
from crossmargin.book._compact import CompactBook, narrow
from crossmargin.book._faults import (
    account_twice,
    astray_entry,
    astray_quantity,
    position_twice,
)
from crossmargin.book._ids import ids_of_series
from crossmargin.book._mapped import is_mapped, open_compact
from crossmargin.book._parquet import book_from_tables
from crossmargin.book._read_columns import Columns
from crossmargin.book._read_rows import (
    HeldRows,
    OrderRows,
    Rows,
    SortedRows,
    or_nan,
    ordered,
    owners_of,
    renumbered,
    row_column,
    starts_of,
    through,
)
from crossmargin.book._rejected import Blame, Fault, Rejected
from crossmargin.book._tables import TABLES, read_table
from crossmargin.errors import CrossmarginError
from crossmargin.instruments import Registry

if TYPE_CHECKING:
    import polars as pl

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class CompactRead:
    """A large book, and what could not be read of it.

    Attributes
    ----------
    book : CompactBook
        The accounts that are whole, in the order of the file (those of `rest` last).
    rejected : Rejected
        The others, each with a reason.
    """

    book: CompactBook
    rejected: Rejected


def read_compact(
    path: str | Path, registry: Registry | None = None, *, verify: bool = False
) -> CompactRead:
    """Read a large book: a folder of Parquet files, or one of mapped columns.

    Accounts with bad rows are set aside with a reason, the same that ``read_book_parquet`` would
    stop at, and the others are read. Rows in another order than their accounts are put in order.

    Parameters
    ----------
    path : str or Path
        Folder that ``write_book_parquet``, ``write_compact_parquet`` or ``write_compact`` wrote,
        or that has the same tables.
    registry : Registry, optional
        Instruments known so far; new names are added. Default a new one.
    verify : bool
        Of mapped columns, compare the hash of every file too.

    Returns
    -------
    CompactRead
        The book and the accounts set aside. Mapped columns were checked when they were written:
        nothing of them is set aside.

    Raises
    ------
    InputError
        What concerns no single account: ``INP-005`` missing or unreadable table, ``INP-003``
        missing column or wrong type.
    """
    folder = Path(path)
    if is_mapped(folder):
        return CompactRead(open_compact(folder, registry, verify=verify), Rejected.none())
    return _Reader(folder, registry if registry is not None else Registry()).read()


class _Reader:
    """Reads the tables of a folder in turn, and blames accounts for what is wrong."""

    def __init__(self, folder: Path, registry: Registry) -> None:
        self.registry = registry
        self.frames = {table: read_table(folder, table) for table in TABLES}
        self.size = len(self.frames["accounts"])
        self.blame = Blame(self.size)
        self.columns = Columns(self.frames, registry, self.blame)
        #: Accounts that fit the narrow columns.
        self.plain = np.ones(self.size, dtype=bool)

    def read(self) -> CompactRead:
        """Read all tables; see :func:`read_compact`."""
        names, owners = self._accounts()
        pool_account = self._pools()
        owned = self._balances(pool_account)
        held = self._positions(pool_account)
        orders = self._orders(pool_account)
        rest = self._rest(names, pool_account, owned.account, held, orders)
        position = self._sorted_positions(held)
        regular = self.blame.good & self.plain
        balance = self._sorted_balances(owned)
        if not regular.all():
            rows = np.flatnonzero(regular)
            names, owners = names.gather(rows), owners.gather(rows)
        book = CompactBook(
            registry=self.registry,
            ids=ids_of_series(names),
            owners=None if (names == owners).all() else ids_of_series(owners),
            position_start=position.start,
            position_instrument=position.code,
            position_quantity=position.value,
            position_entry=position.entry,
            balance_start=balance.start,
            balance_asset=balance.code,
            balance_amount=balance.value,
            rest=rest,
        )
        return CompactRead(book, self.blame.rejected(self.frames["accounts"]["account_id"]))

    def _accounts(self) -> tuple[pl.Series, pl.Series]:
        """Return names and owners; accounts that share a name are blamed, all of them."""
        own = np.arange(self.size)
        names = self.columns.texts("accounts", "account_id", own)
        owners = self.columns.texts("accounts", "owner", own)
        if names.n_unique() < self.size:
            twice = (names.is_duplicated() & names.is_not_null()).arg_true().to_numpy()

            def say(item: int, name: str | None) -> CrossmarginError:
                return account_twice(str(name))

            rows = twice.astype(np.int64)
            self.blame.add(Fault(table="accounts", rows=rows, say=say, code="INP-007"), rows)
        return names, owners

    def _pools(self) -> Ints:
        """Return the account of each pool, -1 where it has none."""
        account = self.columns.refers("pools", "account", self.size)
        names = self.columns.texts("pools", "name", account)
        modes = self.columns.names("pools", "mode", account)
        own = account[account >= 0]
        if account.size != self.size or not np.array_equal(account, np.arange(self.size)):
            self.plain &= np.bincount(own, minlength=self.size) == 1
        other = (names != "cross").fill_null(True).arg_true().to_numpy()
        self._set_apart(account, other.astype(np.int64))
        if not modes.all_are(0):
            self._set_apart(account, np.flatnonzero(modes.codes() != 0))
        return account

    def _set_apart(self, account: Ints, rows: Ints) -> None:
        """Say of the accounts of some rows that they do not fit the narrow columns."""
        if rows.size:
            mine = account[rows]
            self.plain[mine[mine >= 0]] = False

    def _balances(self, pool_account: Ints) -> Rows:
        c = self.columns
        account = through(c.refers("balances", "pool", pool_account.size), pool_account)
        asset = c.names("balances", "asset", account)
        amount = or_nan(c.numbers("balances", "amount"), account.size)
        pending = None
        for column in ("location", "proof_ns", "pending"):
            if c.missing("balances", column):
                continue
            series = c.series("balances", column)
            if column == "pending":
                pending = series.fill_null(False).to_numpy()
                self._set_apart(account, np.flatnonzero(pending))
            else:
                here = series.is_not_null().arg_true().to_numpy()
                self._set_apart(account, here.astype(np.int64))
        debt = None if pending is None else pending & (amount < 0)
        c.check("balances", "amount", amount, debt, account)
        return Rows(account, asset, amount)

    def _positions(self, pool_account: Ints) -> HeldRows:
        c = self.columns
        pool = c.refers("positions", "pool", pool_account.size)
        account = through(pool, pool_account)
        instrument = c.names("positions", "instrument", account)
        legs = c.names("positions", "leg", account)
        side = None if legs.all_are(0) else legs.codes()
        quantity = or_nan(c.numbers("positions", "quantity"), account.size)
        entry = or_nan(c.numbers("positions", "entry"), account.size)
        off = astray_quantity(quantity, side)
        c.check("positions", "quantity", quantity, off, account, instrument)
        free = astray_entry(entry, instrument.at, self.registry)
        c.check("positions", "entry", entry, free, account, instrument)
        if side is not None:
            self._set_apart(account, np.flatnonzero(side != 0))
        for column in ("leverage", "fence"):
            values = c.numbers("positions", column)
            if values is not None:
                low = values <= 0 if column == "leverage" else values < 0
                c.check("positions", column, values, low, account, instrument)
                self._set_apart(account, np.flatnonzero(~np.isnan(values)))
        return HeldRows(account, instrument, quantity, entry, pool, side)

    def _orders(self, pool_account: Ints) -> OrderRows:
        """Check orders, their legs and quote groups; accounts that have any are set apart."""
        c = self.columns
        groups = through(c.refers("quote_groups", "pool", pool_account.size), pool_account)
        account = through(c.refers("orders", "pool", pool_account.size), pool_account)
        c.texts("orders", "id", account)
        group = c.refers("orders", "group", groups.size, account)
        leg = through(c.refers("order_legs", "order", account.size), account)
        held = c.names("order_legs", "instrument", leg)
        quantity = or_nan(c.numbers("order_legs", "quantity"), leg.size)
        c.check("order_legs", "quantity", quantity, quantity == 0, leg, held)
        price = or_nan(c.numbers("order_legs", "price"), leg.size)
        c.check("order_legs", "price", price, price < 0, leg, held)
        c.texts("quote_groups", "id", groups)
        limit = or_nan(c.numbers("quote_groups", "limit_usd"), groups.size)
        limit = np.where(np.isposinf(limit), 0.0, limit)
        c.check("quote_groups", "limit_usd", limit, limit < 0, groups)
        for owner in (account, groups):
            self._set_apart(owner, np.arange(owner.size))
        return OrderRows(account, group, leg, groups)

    def _sorted_positions(self, held: HeldRows) -> SortedRows:
        """Put the positions of whole, regular accounts in order; what is twice is blamed."""
        number, count = self._numbers()
        owner, rows = owners_of(held.account, number)
        code = held.code.codes(narrow(len(self.registry)))
        bits = len(self.registry).bit_length()
        key, order = ordered(owner, code if rows is None else code[rows], bits)
        if order is not None:
            rows = order if rows is None else rows[order]
        owner = key >> bits
        twice = np.flatnonzero(key[1:] == key[:-1])
        if twice.size:
            self._blame_twice(twice if rows is None else rows[twice], held)
            whole = np.ones(count, dtype=bool)
            whole[owner[twice]] = False
            keep = np.flatnonzero(whole[owner])
            rows = keep if rows is None else rows[keep]
            owner, key, count = renumbered(whole)[owner[keep]], key[keep], int(whole.sum())
        key &= (1 << bits) - 1
        pick = slice(None) if rows is None else rows
        form = narrow(len(self.registry))
        return SortedRows(
            starts_of(owner, count), key.astype(form), held.value[pick], held.entry[pick]
        )

    def _sorted_balances(self, owned: Rows) -> SortedRows:
        number, count = self._numbers()
        owner, rows = owners_of(owned.account, number)
        code = owned.code.codes(narrow(len(self.registry.assets)))
        owner, order = ordered(owner, None, 0)
        if order is not None:
            rows = order if rows is None else rows[order]
        pick = slice(None) if rows is None else rows
        return SortedRows(starts_of(owner, count), code[pick], owned.value[pick], owned.value[:0])

    def _numbers(self) -> tuple[Ints | None, int]:
        """Return the new number of each account, -1 for those left out, and how many stay."""
        chosen = self.blame.good & self.plain
        count = int(chosen.sum())
        return (None if count == self.size else renumbered(chosen)), count

    def _blame_twice(self, rows: Ints, held: HeldRows) -> None:
        instrument, registry = held.code.at(rows), self.registry

        def say(item: int, name: str | None) -> CrossmarginError:
            held_twice = registry[int(instrument[item])].id
            return position_twice(int(rows[item]), str(name), held_twice)

        fault = Fault(table="positions", rows=rows, say=say, code="INP-007")
        self.blame.add(fault, held.account[rows])

    def _rest(
        self, names: pl.Series, pool_account: Ints, balance: Ints, held: HeldRows, orders: OrderRows
    ) -> Book | None:
        """Return the whole accounts that need more columns than the narrow ones."""
        self._blame_rest(held, orders)
        chosen = self.blame.good & ~self.plain
        if not chosen.any():
            return None
        number = renumbered(chosen)
        owner = {
            "accounts": np.arange(self.size),
            "pools": pool_account,
            "balances": balance,
            "positions": held.account,
            "orders": orders.account,
            "order_legs": orders.leg,
            "quote_groups": orders.groups,
        }
        rows: dict[str, Ints] = {}
        place: dict[str, Ints] = {}
        for table, account in owner.items():
            mine = np.flatnonzero(np.where(account >= 0, number[account], -1) >= 0)
            mine = mine[np.argsort(account[mine], kind="stable")]
            rows[table] = mine
            place[table] = np.full(account.size + 1, -1, dtype=np.int64)
            place[table][mine] = np.arange(mine.size)
        frames = {}
        for table, fields in TABLES.items():
            frame = self.frames[table][rows[table]]
            for field in fields:
                if field.into:
                    old = self.columns.series(table, field.column)[rows[table]]
                    new = place[field.into][old.fill_null(-1).to_numpy()]
                    frame = frame.with_columns(row_column(field.column, new))
            frames[table] = frame
        return book_from_tables(frames, self.registry)

    def _blame_rest(self, held: HeldRows, orders: OrderRows) -> None:
        """Blame what only irregular accounts can have: a leg twice, a group that is gone."""
        wide = np.append(~self.plain, False)
        mine = np.flatnonzero(wide[held.account]) if wide.any() else np.empty(0, dtype=np.int64)
        if mine.size:
            side = np.zeros(mine.size, dtype=np.int64) if held.side is None else held.side[mine]
            columns = [side, held.code.at(mine), held.pool[mine]]
            order = np.lexsort(columns)
            same = np.ones(max(mine.size - 1, 0), dtype=bool)
            for column in columns:
                same &= column[order][1:] == column[order][:-1]
            twice = mine[order[:-1][same]]
            if twice.size:
                self._blame_twice(np.sort(twice), held)
        while orders.group.size and orders.groups.size:
            # A good order may stand in a group of an account that was set aside.
            good = np.append(self.blame.good, False)
            group = np.where(orders.group >= 0, orders.groups[orders.group], 0)
            gone = (orders.group >= 0) & good[orders.account] & ~good[group]
            rows = np.flatnonzero(gone)
            if not rows.size:
                return
            values, size = orders.group[rows], orders.groups.size
            owner = orders.account[rows]
            self.columns.blame_reference("orders", "group", rows, values, owner, size)
