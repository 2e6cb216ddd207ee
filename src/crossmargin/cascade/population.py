"""Everybody on a venue as columns: money, positions and collateral of accounts.

A cascade asks of an account only what a price does to it. Contracts are linear and named after
their underlyings: contract k follows asset k, assets beyond the contracts are collateral that
nobody trades. Options enter through an adapter that replaces the margin view.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.cascade._blocks import add_up, blocks, owners
from crossmargin.errors import CascadeError
from crossmargin.liquidation import Brackets

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Int32 = NDArray[np.int32]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """Accounts of a venue, compressed by rows. Build it with :func:`population`, which checks it.

    Equity is ``cash + Σ q·(p − entry) + Σ c·p·(1 − h)``, debts (c < 0) at full value; maintenance
    is ``Σ rate·|q|·p``. Source: reference/cascades.md §1.1 (house notation).

    Attributes
    ----------
    assets : tuple of str
        J names; the first K are the underlyings of the contracts, in their order.
    contracts : tuple of str
        K names of linear contracts.
    price : float64[J]
        Marks at the start, US dollars.
    haircut : float64[J]
        Of an asset as collateral, 0 to 1.
    mm_rate, im_rate : float64[K]
        Flat maintenance and initial rates.
    cash : float64[A]
        Wallet in US dollars, unrealised profit not included.
    start : int64[A + 1]
        Positions of account a are the rows ``start[a]`` to ``start[a + 1]``.
    contract : int32[N]
        Which contract a position is in: at most one position of an account in each.
    quantity : float64[N]
        Signed, coins.
    entry : float64[N]
        Entry price, US dollars.
    coll_start, coll_asset, coll_quantity : int64[A + 1], int32[C], float64[C]
        Collateral coins the same way; below 0 a debt, which no haircut makes smaller.
    brackets : tuple of Brackets or None
        Maintenance by size of notional instead of `mm_rate`, by contract; each slice pays its
        own rate.
    isolated : bool[A] or None
        Whether the account is one isolated pot; None where none is.
    owner : int32[A] or None
        Which person holds the pot; None where everybody holds one.
    ids : tuple of str or None
        Names of accounts.
    """

    assets: tuple[str, ...]
    contracts: tuple[str, ...]
    price: Floats
    haircut: Floats
    mm_rate: Floats
    im_rate: Floats
    cash: Floats
    start: Ints
    contract: Int32
    quantity: Floats
    entry: Floats
    coll_start: Ints
    coll_asset: Int32
    coll_quantity: Floats
    brackets: tuple[Brackets, ...] | None = None
    isolated: Bools | None = None
    owner: Int32 | None = None
    ids: tuple[str, ...] | None = None

    @property
    def size(self) -> int:
        """Number of accounts, A."""
        return int(self.cash.size)

    @property
    def account(self) -> Int32:
        """Account of each position, int32[N]."""
        return np.repeat(np.arange(self.size, dtype=np.int32), np.diff(self.start))

    @property
    def coll_account(self) -> Int32:
        """Account of each collateral row, int32[C]."""
        return np.repeat(np.arange(self.size, dtype=np.int32), np.diff(self.coll_start))

    @property
    def absorber(self) -> Floats:
        """Coins that somebody outside holds so that every contract sums to 0, float64[K]."""
        held = np.zeros(len(self.contracts))
        for _, rows in blocks(self.start):
            add_up(held, self.contract[rows], self.quantity[rows])
        return -held

    @property
    def nbytes(self) -> int:
        """Bytes of all columns."""
        columns = (getattr(self, name) for name in self.__dataclass_fields__)
        return sum(x.nbytes for x in columns if isinstance(x, np.ndarray))

    def open_interest(self) -> Floats:
        """Return coins held long, the absorber's included, float64[K]."""
        longs = np.zeros(len(self.contracts))
        for _, rows in blocks(self.start):
            add_up(longs, self.contract[rows], np.maximum(self.quantity[rows], 0.0))
        return longs + np.maximum(self.absorber, 0.0)

    def name(self, row: int) -> str:
        """Return the id of an account; its row where accounts have none."""
        return str(row) if self.ids is None else self.ids[row]

    def equity(self, price: ArrayLike | None = None) -> Floats:
        """Return the equity of every account at prices [J] (default: the marks), US dollars."""
        p = self._prices(price)
        gain = self.quantity * (p[self.contract] - self.entry)
        value = p[self.coll_asset] * self.coll_quantity
        cut = np.where(self.coll_quantity > 0, 1.0 - self.haircut[self.coll_asset], 1.0)
        return (
            self.cash
            + _sums(self.account, gain, self.size)
            + _sums(self.coll_account, value * cut, self.size)
        )

    def maintenance(self, price: ArrayLike | None = None) -> Floats:
        """Return the maintenance requirement of every account, US dollars."""
        p = self._prices(price)
        notional = np.abs(self.quantity) * p[self.contract]
        if self.brackets is None:
            each = self.mm_rate[self.contract] * notional
        else:
            each = np.empty(notional.size)
            for k, table in enumerate(self.brackets):
                mine = self.contract == k
                each[mine] = _marginal(table, notional[mine])
        return _sums(self.account, each, self.size)

    def initial(self, price: ArrayLike | None = None) -> Floats:
        """Return the initial requirement of every account, US dollars."""
        p = self._prices(price)
        each = self.im_rate[self.contract] * np.abs(self.quantity) * p[self.contract]
        return _sums(self.account, each, self.size)

    def health(self, price: ArrayLike | None = None) -> Floats:
        """Return equity over maintenance; infinite where nothing is required."""
        mm = self.maintenance(price)
        full = np.full(self.size, np.inf)
        return np.asarray(np.divide(self.equity(price), mm, out=full, where=mm > 0), np.float64)

    def _prices(self, price: ArrayLike | None) -> Floats:
        p = self.price if price is None else np.asarray(price, dtype=np.float64)
        if p.shape != self.price.shape:
            raise _fault(f"{p.size} prices for {self.price.size} assets", "price")
        return p


def _sums(row: Int32, values: Floats, size: int) -> Floats:
    return np.bincount(row, values, minlength=size).astype(np.float64, copy=False)


def _marginal(table: Brackets, notional: Floats) -> Floats:
    """Return the requirement where each slice of a notional pays its own rate."""
    floors, rates = np.array(table.floors), np.array(table.rates)
    # The requirement at each floor, and from there on at the floor's rate.
    at = np.concatenate([[0.0], np.cumsum(np.diff(floors) * rates[:-1])])
    tier = np.maximum(np.searchsorted(floors, notional, side="left") - 1, 0)
    return np.asarray(at[tier] + rates[tier] * (notional - floors[tier]), dtype=np.float64)


def population(
    *,
    contracts: Sequence[str],
    price: ArrayLike,
    mm_rate: ArrayLike,
    cash: ArrayLike,
    start: ArrayLike,
    contract: ArrayLike,
    quantity: ArrayLike,
    entry: ArrayLike | None = None,
    assets: Sequence[str] | None = None,
    haircut: ArrayLike = 0.0,
    im_rate: ArrayLike | None = None,
    coll_start: ArrayLike | None = None,
    coll_asset: ArrayLike = (),
    coll_quantity: ArrayLike = (),
    brackets: Sequence[Brackets] | None = None,
    isolated: ArrayLike | None = None,
    owner: ArrayLike | None = None,
    ids: Sequence[str] | None = None,
) -> Population:
    """Check columns and make a population of them.

    Parameters
    ----------
    contracts, price, mm_rate, cash, start, contract, quantity
        As of :class:`Population`.
    entry : array-like, optional
        Default: the marks, so that nobody has won or lost yet.
    assets : sequence of str, optional
        Default: one for each contract, of the same name.
    haircut, im_rate : array-like, optional
        Default none, and twice the maintenance rate (house: half of 1/Lmax is common,
        cascades.md design (a)).
    coll_start, coll_asset, coll_quantity, brackets, isolated, owner, ids
        As of :class:`Population`; default none.

    Raises
    ------
    CascadeError
        ``CAS-001`` columns that do not fit together, ``CAS-010`` figures that no account has.
    """
    k, n = len(contracts), np.size(cash)
    mm = _spread(mm_rate, k, "mm_rate")
    p = _figures(price, "price")
    rows = _whole(contract, np.int32, "contract")
    found = Population(
        assets=tuple(contracts if assets is None else assets),
        contracts=tuple(contracts),
        price=p,
        haircut=_spread(haircut, p.size, "haircut"),
        mm_rate=mm,
        im_rate=2.0 * mm if im_rate is None else _spread(im_rate, k, "im_rate"),
        cash=_figures(cash, "cash"),
        start=_whole(start, np.int64, "start"),
        contract=rows,
        quantity=_figures(quantity, "quantity"),
        entry=_entries(p, rows) if entry is None else _figures(entry, "entry"),
        coll_start=np.zeros(n + 1, np.int64)
        if coll_start is None
        else _whole(coll_start, np.int64, "coll_start"),
        coll_asset=_whole(coll_asset, np.int32, "coll_asset"),
        coll_quantity=_figures(coll_quantity, "coll_quantity"),
        brackets=None if brackets is None else tuple(brackets),
        isolated=None if isolated is None else np.ascontiguousarray(isolated, dtype=np.bool_),
        owner=None if owner is None else _whole(owner, np.int32, "owner"),
        ids=None if ids is None else tuple(ids),
    )
    _check_shapes(found)
    _check_figures(found)
    return found


def _figures(values: ArrayLike, field: str) -> Floats:
    try:
        return np.ascontiguousarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise _fault("a column holds something that is no number", field) from None


def _whole(values: ArrayLike, kind: type[np.int32] | type[np.int64], field: str) -> Any:
    """Return a column of row numbers; a fraction is refused, not cut off."""
    given = np.asarray(values)
    if given.dtype.kind not in "iu":
        found = _figures(values, field)
        if not (np.isfinite(found).all() and (found == np.floor(found)).all()):
            raise _fault("a row number is not whole", field)
        given = found
    limit = np.iinfo(kind)
    if given.size and not (given.min() >= limit.min and given.max() <= limit.max):
        raise _fault("a row number is out of range", field)
    return np.ascontiguousarray(given, dtype=kind)


def _spread(value: ArrayLike, size: int, field: str) -> Floats:
    try:
        return np.ascontiguousarray(np.broadcast_to(_figures(value, field), (size,)))
    except ValueError:
        raise _fault(f"{np.size(value)} figures where {size} are needed", field) from None


def _entries(price: Floats, contract: Int32) -> Floats:
    if contract.size and not (contract.min() >= 0 and contract.max() < price.size):
        raise _fault("a position is in a contract that is not listed", "contract")
    return np.asarray(price[contract], dtype=np.float64)


def _fault(what: str, field: str, code: str = "CAS-001", account: str | None = None) -> Exception:
    return CascadeError(what, code=code, field=field, account=account)


def _check_shapes(x: Population) -> None:
    a, k, j, n = x.size, len(x.contracts), len(x.assets), x.contract.size
    if not k or j < k:
        raise _fault("there is at least one contract, and an asset for each", "assets")
    for field, names in (("contracts", x.contracts), ("assets", x.assets)):
        if len(set(names)) != len(names):
            raise _fault("a name appears twice", field)
    sizes: list[tuple[str, int, int]] = [
        ("price", x.price.size, j),
        ("quantity", x.quantity.size, n),
        ("entry", x.entry.size, n),
        ("coll_quantity", x.coll_quantity.size, x.coll_asset.size),
        ("brackets", k if x.brackets is None else len(x.brackets), k),
        ("isolated", a if x.isolated is None else x.isolated.size, a),
        ("owner", a if x.owner is None else x.owner.size, a),
        ("ids", a if x.ids is None else len(x.ids), a),
    ]
    for field, has, needs in sizes:
        if has != needs:
            raise _fault(f"{has} rows where {needs} are needed", field)
    for field, rows, last in (
        ("start", x.start, n),
        ("coll_start", x.coll_start, x.coll_asset.size),
    ):
        fits = rows.shape == (a + 1,) and rows[0] == 0 and rows[-1] == last
        if not fits or (rows[1:] < rows[:-1]).any():
            raise _fault("the rows of accounts begin at 0, rise and end with the last", field)
    if a >= 2**31 or n >= 2**31:
        raise _fault("at most 2^31 accounts and positions", "cash")
    for field, values, most in (("contract", x.contract, k), ("coll_asset", x.coll_asset, j)):
        if values.size and not (values.min() >= 0 and values.max() < most):
            raise _fault(f"a row points beyond the {most} that are listed", field)
    for accounts, places in blocks(x.start):
        _check_once(x, accounts, x.contract[places])


def _check_once(x: Population, accounts: slice, contract: Int32) -> None:
    """Refuse two positions of an account of a block in one contract."""
    k = len(x.contracts)
    keys = owners(x.start, accounts).astype(np.int64) * k + contract
    keys.sort()
    twice = np.flatnonzero(keys[1:] == keys[:-1])
    if twice.size:
        row, where = divmod(int(keys[twice[0]]), k)
        raise CascadeError(
            "an account holds two positions in one contract",
            code="CAS-001",
            account=x.name(accounts.start + row),
            instrument=x.contracts[where],
            field="contract",
            hint="net them first",
        )


def _check_figures(x: Population) -> None:
    for field, values in (("price", x.price), ("mm_rate", x.mm_rate), ("im_rate", x.im_rate)):
        if not (np.isfinite(values).all() and (values > 0).all()):
            raise _fault("a figure is not a number above 0", field, "CAS-010")
    if (x.mm_rate >= 1).any() or not ((x.haircut >= 0) & (x.haircut <= 1)).all():
        raise _fault("rates lie below 1, haircuts from 0 to 1", "mm_rate", "CAS-010")
    columns: list[tuple[Floats, Ints | None, str]] = [
        (x.cash, None, "cash"),
        (x.quantity, x.start, "quantity"),
        (x.entry, x.start, "entry"),
        (x.coll_quantity, x.coll_start, "coll_quantity"),
    ]
    for values, start, field in columns:
        wrong = np.flatnonzero(~np.isfinite(values))
        if wrong.size:
            who = x.name(_holder(start, int(wrong[0])))
            raise _fault("a figure is not a number", field, "CAS-010", who)
    if (x.entry <= 0).any():
        who = x.name(_holder(x.start, int(np.flatnonzero(x.entry <= 0)[0])))
        raise _fault("an entry price is not above 0", "entry", "CAS-010", who)
    if x.brackets is not None and not all(b.marginal for b in x.brackets):
        raise CascadeError(
            "brackets whose whole notional pays the last rate jump, and no bound holds over a jump",
            code="CAS-010",
            field="brackets",
            hint="use marginal brackets",
        )


def _holder(start: Ints | None, row: int) -> int:
    """Return the account of a row; accounts' own columns have one row each."""
    return row if start is None else int(np.searchsorted(start, row, side="right")) - 1
