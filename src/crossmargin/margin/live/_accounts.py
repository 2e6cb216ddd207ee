"""What every account of a live book holds: the book as it was given, and what was edited since."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from crossmargin.book import Book, CompactBook
from crossmargin.book._compact import narrow
from crossmargin.errors import InputError
from crossmargin.instruments import KIND_CODE, Terms
from crossmargin.margin._probe import filled_row

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(slots=True)
class Holding:
    """One account, as it may be edited.

    Attributes
    ----------
    positions : dict of int to (float, float)
        Quantity and entry price by instrument; entries are prices, never "at the mark".
    balances : dict of int to float
        Amount by asset.
    """

    positions: dict[int, tuple[float, float]] = field(default_factory=dict)
    balances: dict[int, float] = field(default_factory=dict)

    def pay(self, asset: int, amount: float) -> None:
        """Add to a balance."""
        after = self.balances.get(asset, 0.0) + amount
        if after == 0.0:
            self.balances.pop(asset, None)
        else:
            self.balances[asset] = after

    def add(self, instrument: int, quantity: float, entry: float, terms: Terms) -> None:
        """Add a row of a position: a second row of one contract is as good as a fill of it."""
        kind = terms.kind[instrument]
        if instrument not in self.positions:
            self.positions[instrument] = (quantity, entry)
        elif kind in (KIND_CODE["option"], KIND_CODE["spot"]):
            self.positions[instrument] = (self.positions[instrument][0] + quantity, entry)
        else:
            self.fill(instrument, quantity, entry, terms)

    def fill(self, instrument: int, quantity: float, price: float, terms: Terms) -> None:
        """Trade; parameters as for :meth:`LiveBook.fill`."""
        held, entry = self.positions.get(instrument, (0.0, price))
        size = float(terms.contract_size[instrument])
        settle = int(terms.settlement[instrument])
        if terms.kind[instrument] in (KIND_CODE["option"], KIND_CODE["spot"]):
            after, entry, cash = held + quantity, price, -quantity * price * size
        else:
            inverse = bool(terms.inverse[instrument])
            after, entry, gain = filled_row(held, entry, quantity, price, inverse=inverse)
            cash = gain * size
        if after == 0.0:
            self.positions.pop(instrument, None)
        else:
            self.positions[instrument] = (after, entry)
        if cash:
            self.pay(settle, cash)


class Accounts:
    """The accounts behind a live book.

    Parameters
    ----------
    book : CompactBook
        As given; it is read only, and may be mapped from disk.
    mark : float64[n]
        Price of each instrument when the book was taken on: positions without an entry price
        were entered there.
    """

    def __init__(self, book: CompactBook, mark: Floats) -> None:
        self._book, self._mark = book, mark
        self._terms = book.registry.terms
        self._edited: dict[int, Holding] = {}
        rest = book.rest
        if rest is not None:
            rest = replace(rest, position_entry=self._entries(rest.position_instrument,
                                                              rest.position_entry))  # fmt: skip
        self.rest: Book | None = rest

    def _entries(self, instrument: NDArray[np.integer], entry: Floats) -> Floats:
        at = self._mark[instrument]
        return np.where(np.isnan(entry), at, entry)

    @property
    def base(self) -> CompactBook:
        """The book as given, or as last put together."""
        return self._book

    @property
    def regular(self) -> int:
        """Number of regular accounts; the others come after them."""
        return self._book.regular

    @property
    def edited(self) -> int:
        """Number of accounts edited since."""
        return len(self._edited)

    def holding(self, account: int) -> Holding:
        """Return a copy of what a regular account holds.

        Raises
        ------
        InputError
            ``INP-080`` for an account that is none of the regular ones.
        """
        b = self._book
        if not 0 <= account < b.regular:
            raise InputError(
                f"account {account} cannot be edited: {b.regular} accounts are regular, and those "
                "with orders, pools, legs or places are not edited here",
                code="INP-080",
                field="account",
                hint="give the number of a regular account, or build the book anew",
            )
        found = self._edited.get(account)
        if found is not None:
            return Holding(dict(found.positions), dict(found.balances))
        at = slice(int(b.position_start[account]), int(b.position_start[account + 1]))
        owned = slice(int(b.balance_start[account]), int(b.balance_start[account + 1]))
        out = Holding()
        items = b.position_instrument[at]
        entries = self._entries(items, b.position_entry[at])
        for i, q, e in zip(items.tolist(), b.position_quantity[at].tolist(), entries.tolist()):
            out.add(i, q, e, self._terms)
        for a, x in zip(b.balance_asset[owned].tolist(), b.balance_amount[owned].tolist()):
            out.balances[a] = out.balances.get(a, 0.0) + x
        return out

    def put(self, account: int, holding: Holding) -> None:
        """Write an edited account down."""
        self._edited[account] = holding

    def some(self, accounts: Iterable[int]) -> CompactBook:
        """Return some regular accounts as they are now, in the order asked for."""
        b = self._book
        chosen = np.fromiter(accounts, dtype=np.int64)
        if all(int(a) not in self._edited for a in chosen):
            return self._plain(chosen)
        items, sizes, entries, assets, amounts = [], [], [], [], []
        held, owned = [0], [0]
        for a in chosen.tolist():
            h = self.holding(a)
            for i in sorted(h.positions):
                items.append(i)
                sizes.append(h.positions[i][0])
                entries.append(h.positions[i][1])
            assets += list(h.balances)
            amounts += list(h.balances.values())
            held.append(len(items))
            owned.append(len(assets))
        owners = None if b.owners is None else [b.owners[a] for a in chosen.tolist()]
        return CompactBook(
            registry=b.registry,
            ids=[b.ids[a] for a in chosen.tolist()],
            owners=owners,
            position_start=np.array(held, dtype=np.int64),
            position_instrument=np.array(items, dtype=narrow(len(b.registry))),
            position_quantity=np.array(sizes, dtype=np.float64),
            position_entry=np.array(entries, dtype=np.float64),
            balance_start=np.array(owned, dtype=np.int64),
            balance_asset=np.array(assets, dtype=narrow(len(b.registry.assets))),
            balance_amount=np.array(amounts, dtype=np.float64),
        )

    def _plain(self, chosen: Ints) -> CompactBook:
        b = self._book
        p, held = _taken(b.position_start, chosen)
        w, owned = _taken(b.balance_start, chosen)
        items = b.position_instrument[p]
        return CompactBook(
            registry=b.registry,
            ids=[b.ids[int(a)] for a in chosen],
            owners=None if b.owners is None else [b.owners[int(a)] for a in chosen],
            position_start=held,
            position_instrument=items,
            position_quantity=b.position_quantity[p],
            position_entry=self._entries(items, b.position_entry[p]),
            balance_start=owned,
            balance_asset=b.balance_asset[w],
            balance_amount=b.balance_amount[w],
        )

    def whole(self) -> CompactBook:
        """Return all accounts as they are now: the book that a full recompute would be given."""
        b = self._book
        if not self._edited:
            entry = self._entries(b.position_instrument, b.position_entry)
            return replace(b, position_entry=entry, rest=self.rest)
        edited = sorted(self._edited)
        mine = self.some(edited)
        held, owned = np.diff(b.position_start), np.diff(b.balance_start)
        held[edited], owned[edited] = np.diff(mine.position_start), np.diff(mine.balance_start)
        start = np.concatenate([[0], np.cumsum(held)]).astype(np.int64)
        first = np.concatenate([[0], np.cumsum(owned)]).astype(np.int64)
        new = np.zeros(b.regular, dtype=bool)
        new[edited] = True
        from_old, to_old = ~np.repeat(new, np.diff(b.position_start)), ~np.repeat(new, held)
        items = np.empty(int(start[-1]), dtype=narrow(len(b.registry)))
        quantity, entry = np.empty(items.size), np.empty(items.size)
        old = b.position_instrument[from_old]
        for out, kept, put in (
            (items, old, mine.position_instrument),
            (quantity, b.position_quantity[from_old], mine.position_quantity),
            (entry, self._entries(old, b.position_entry[from_old]), mine.position_entry),
        ):
            out[to_old], out[~to_old] = kept, put
        from_old, to_old = ~np.repeat(new, np.diff(b.balance_start)), ~np.repeat(new, owned)
        asset = np.empty(int(first[-1]), dtype=narrow(len(b.registry.assets)))
        amount = np.empty(asset.size)
        for out, kept, put in (
            (asset, b.balance_asset[from_old], mine.balance_asset),
            (amount, b.balance_amount[from_old], mine.balance_amount),
        ):
            out[to_old], out[~to_old] = kept, put
        return replace(
            b,
            position_start=start,
            position_instrument=items,
            position_quantity=quantity,
            position_entry=entry,
            balance_start=first,
            balance_asset=asset,
            balance_amount=amount,
            rest=self.rest,
        )


def _taken(start: Ints, chosen: Ints) -> tuple[Ints, Ints]:
    """Rows of some accounts, and the row pointers of what is taken."""
    count = start[chosen + 1] - start[chosen]
    ends = np.concatenate([[0], np.cumsum(count)]).astype(np.int64)
    inside = np.arange(int(ends[-1])) - np.repeat(ends[:-1], count)
    return np.repeat(start[chosen], count) + inside, ends
