"""Accounts as columns: the form every margin model takes.

A book of one is an account; an account plus a row is a what-if; the same code serves a million.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossmargin.book._account import AccountFile, PositionEntry, to_float
from crossmargin.errors import InputError
from crossmargin.instruments import Registry
from crossmargin.units import parse_time

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEGS: tuple[str, ...] = ("net", "long", "short")
POOL_MODES: tuple[str, ...] = ("cross", "isolated", "sub_account")
_LONGEST_NAME = 200
LEG_CODE = {name: code for code, name in enumerate(LEGS)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """Accounts, pools, balances, positions and orders as aligned columns.

    Rows of positions are in the order (account, pool, as given); rows that refer to another
    table do so by index. All arrays of one table have the same length.

    Attributes
    ----------
    registry : Registry
        What `position_instrument` and `leg_instrument` index.
    account_ids, owners : sequence of str
        By account.
    pool_account : int64[P]; pool_names : list of str; pool_mode : int64[P]
        Pools, each belonging to one account; modes index ``POOL_MODES``.
    balance_pool : int64[B]; balance_asset : int64[B]; balance_amount : float64[B]
        Assets index ``registry.assets``; amounts in units of the asset, negative is debt.
    locations : list of str
        Venues and chains that hold balances.
    balance_location : int64[B]
        Indexes `locations`; -1 where none is named.
    balance_proof_ns : int64[B]
        When the balance was last proved, ns UTC; -1 without a proof.
    balance_pending : bool[B]
        On its way, not arrived: at least 0, and counts nothing.
    position_pool, position_instrument, position_leg : int64[N]
        Legs index ``LEGS``.
    position_quantity : float64[N]
        Units of the instrument, > 0 long.
    position_entry : float64[N]
        Entry price; NaN means "settled at the mark".
    position_leverage, position_fence : float64[N]
        NaN where not given; fences in the settlement asset.
    order_pool : int64[O]; order_ids : list of str
        Orders: each fills whole or not at all, all legs together.
    order_group : int64[O]
        Index of the quote group, -1 outside one.
    leg_order, leg_instrument : int64[L]; leg_quantity, leg_price : float64[L]
        Legs of orders; a NaN price fills at the mark.
    group_pool : int64[Q]; group_limit_usd : float64[Q]; group_ids : list of str
        Quote groups; ``inf`` without a protection limit.
    """

    registry: Registry
    account_ids: Sequence[str]
    owners: Sequence[str]
    pool_account: Ints
    pool_names: list[str]
    pool_mode: Ints
    balance_pool: Ints
    balance_asset: Ints
    balance_amount: Floats
    locations: list[str]
    balance_location: Ints
    balance_proof_ns: Ints
    balance_pending: NDArray[np.bool_]
    position_pool: Ints
    position_instrument: Ints
    position_leg: Ints
    position_quantity: Floats
    position_entry: Floats
    position_leverage: Floats
    position_fence: Floats
    order_pool: Ints
    order_ids: list[str]
    order_group: Ints
    leg_order: Ints
    leg_instrument: Ints
    leg_quantity: Floats
    leg_price: Floats
    group_pool: Ints
    group_limit_usd: Floats
    group_ids: list[str]

    @property
    def size(self) -> int:
        """Number of accounts."""
        return len(self.account_ids)

    def instruments_used(self) -> Ints:
        """Return the sorted indices of instruments held or ordered."""
        return np.unique(np.concatenate([self.position_instrument, self.leg_instrument]))


class _Columns:
    """Lists that grow while accounts are read, then become a book."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.account_ids: list[str] = []
        self.owners: list[str] = []
        self.pools: list[tuple[int, str, int]] = []
        self.balances: list[tuple[int, int, float, int, int, bool]] = []
        self.locations: dict[str, int] = {}
        self.positions: list[tuple[int, int, int, float, float, float, float]] = []
        self.orders: list[tuple[int, str, int]] = []
        self.legs: list[tuple[int, int, float, float]] = []
        self.groups: list[tuple[int, float, str]] = []

    def build(self) -> Book:
        """Turn the lists into columns."""

        def ints(rows: Sequence[tuple[object, ...]], column: int) -> Ints:
            return np.array([row[column] for row in rows], dtype=np.int64)

        def floats(rows: Sequence[tuple[object, ...]], column: int) -> Floats:
            return np.array([row[column] for row in rows], dtype=np.float64)

        return Book(
            registry=self.registry,
            account_ids=self.account_ids,
            owners=self.owners,
            pool_account=ints(self.pools, 0),
            pool_names=[p[1] for p in self.pools],
            pool_mode=ints(self.pools, 2),
            balance_pool=ints(self.balances, 0),
            balance_asset=ints(self.balances, 1),
            balance_amount=floats(self.balances, 2),
            locations=list(self.locations),
            balance_location=ints(self.balances, 3),
            balance_proof_ns=ints(self.balances, 4),
            balance_pending=np.array([row[5] for row in self.balances], dtype=np.bool_),
            position_pool=ints(self.positions, 0),
            position_instrument=ints(self.positions, 1),
            position_leg=ints(self.positions, 2),
            position_quantity=floats(self.positions, 3),
            position_entry=floats(self.positions, 4),
            position_leverage=floats(self.positions, 5),
            position_fence=floats(self.positions, 6),
            order_pool=ints(self.orders, 0),
            order_ids=[o[1] for o in self.orders],
            order_group=ints(self.orders, 2),
            leg_order=ints(self.legs, 0),
            leg_instrument=ints(self.legs, 1),
            leg_quantity=floats(self.legs, 2),
            leg_price=floats(self.legs, 3),
            group_pool=ints(self.groups, 0),
            group_limit_usd=floats(self.groups, 1),
            group_ids=[g[2] for g in self.groups],
        )


def book_from_accounts(accounts: Iterable[AccountFile], registry: Registry | None = None) -> Book:
    """Arrange accounts as a book.

    Parameters
    ----------
    accounts : iterable of AccountFile
        Account ids must differ.
    registry : Registry, optional
        Instruments known so far; new names are added to it. Default a new one.

    Raises
    ------
    InputError
        ``INP-001`` unknown instrument, ``INP-004`` bad number, ``INP-006`` zero quantity or a
        leg with the wrong sign, ``INP-007`` the same key twice, ``INP-008`` unknown pool,
        ``INP-009`` an account with neither balances nor positions, ``INP-011`` missing entry
        price.
    """
    columns = _Columns(registry if registry is not None else Registry())
    seen: set[str] = set()
    for account in accounts:
        if account.account in seen:
            raise InputError(
                f"account {account.account!r} appears twice",
                code="INP-007",
                account=account.account,
            )
        seen.add(account.account)
        try:
            _add_account(columns, account)
        except InputError as error:
            raise error.located(account=account.account) from None
    return columns.build()


def _add_account(columns: _Columns, account: AccountFile) -> None:
    if not (account.balances or account.positions or account.orders or account.quote_groups):
        raise InputError(
            f"account {account.account!r} has neither positions nor balances",
            code="INP-009",
            hint="add at least one balance or position",
        )
    control = any(unicodedata.category(sign) == "Cc" for sign in account.account)
    if control or len(account.account) > _LONGEST_NAME:
        raise InputError(
            f"an account id has at most {_LONGEST_NAME} characters and no control characters",
            code="INP-003",
            account=account.account[:40],
            field="account",
        )
    number = len(columns.account_ids)
    columns.account_ids.append(account.account)
    columns.owners.append(account.owner or account.account)
    pools = _add_pools(columns, account, number)
    _add_balances(columns, account, pools)
    _add_positions(columns, account, pools)
    _add_orders(columns, account, pools)


def _add_pools(columns: _Columns, account: AccountFile, number: int) -> dict[str, int]:
    pools: dict[str, int] = {}
    for entry in account.pools:
        if entry.id in pools:
            raise InputError(f"pool {entry.id!r} is declared twice", code="INP-007", field="pools")
        pools[entry.id] = len(columns.pools)
        columns.pools.append((number, entry.id, POOL_MODES.index(entry.mode)))
    if "cross" not in pools:
        used = {b.pool for b in account.balances} | {p.pool for p in account.positions}
        used |= {o.pool for o in account.orders} | {g.pool for g in account.quote_groups}
        if "cross" in used:
            pools["cross"] = len(columns.pools)
            columns.pools.append((number, "cross", 0))
    return pools


def _pool(pools: dict[str, int], name: str, field: str, instrument: str | None = None) -> int:
    if name not in pools:
        raise InputError(
            f"pool {name!r} is not declared",
            code="INP-008",
            instrument=instrument,
            field=field,
            hint="list it under pools with its mode",
        )
    return pools[name]


def _add_balances(columns: _Columns, account: AccountFile, pools: dict[str, int]) -> None:
    keys: set[tuple[str, str, str | None, bool]] = set()
    for row, entry in enumerate(account.balances):
        field = f"balances[{row}].amount"
        key = (entry.pool, entry.asset, entry.location, entry.pending)
        if key in keys:
            raise InputError(
                f"balance of {entry.asset} in pool {entry.pool!r} appears twice",
                code="INP-007",
                field=field,
                hint="add the amounts up, or give each its location",
            )
        keys.add(key)
        if not entry.asset.isalnum():
            raise InputError(f"{entry.asset!r} is not an asset", code="INP-003", field=field)
        amount = to_float(entry.amount, account=account.account, field=field)
        pool = _pool(pools, entry.pool, f"balances[{row}].pool")
        if entry.pending and amount < 0:
            raise InputError(
                f"a pending balance of {entry.asset} is negative",
                code="INP-006",
                field=field,
                hint="pending says that a deposit has not arrived; a debt is owed at once",
            )
        if amount:
            asset = columns.registry.asset(entry.asset)
            place = -1
            if entry.location is not None:
                place = columns.locations.setdefault(entry.location, len(columns.locations))
            proof = -1
            if entry.proof_time is not None:
                proof = parse_time(entry.proof_time, field=f"balances[{row}].proof_time")
            columns.balances.append((pool, asset, amount, place, proof, entry.pending))


def _add_positions(columns: _Columns, account: AccountFile, pools: dict[str, int]) -> None:
    keys: set[tuple[int, int, int]] = set()
    for row, entry in enumerate(account.positions):
        where = f"positions[{row}]"
        try:
            index = columns.registry.resolve(entry.instrument)
        except InputError as error:
            raise error.located(field=f"{where}.instrument") from None
        name = columns.registry[index].id
        pool = _pool(pools, entry.pool, f"{where}.pool", name)
        key = (pool, index, LEG_CODE[entry.leg])
        if key in keys:
            raise InputError(
                f"{name} ({entry.leg}) is held twice in pool {entry.pool!r}",
                code="INP-007",
                instrument=name,
                field=where,
                hint="net the two rows, or mark them as long and short legs",
            )
        keys.add(key)
        columns.positions.append((pool, index, *_position_numbers(columns, account, entry, where)))


def _position_numbers(
    columns: _Columns, account: AccountFile, entry: PositionEntry, where: str
) -> tuple[int, float, float, float, float]:
    registry = columns.registry
    instrument = registry[registry.resolve(entry.instrument)]
    name = instrument.id

    def number(value: float | str, field: str) -> float:
        return to_float(value, account=account.account, field=f"{where}.{field}", instrument=name)

    quantity = number(entry.quantity, "quantity")
    wrong_side = (entry.leg == "long" and quantity < 0) or (entry.leg == "short" and quantity > 0)
    if quantity == 0 or wrong_side:
        what = "is zero" if quantity == 0 else f"has the wrong sign for a {entry.leg} leg"
        raise InputError(
            f"the quantity of {name} {what}",
            code="INP-006",
            instrument=name,
            field=f"{where}.quantity",
            hint="remove the row" if quantity == 0 else "short legs are negative",
        )
    if entry.entry_price == "mark" or (entry.entry_price is None and instrument.kind == "option"):
        price = np.nan
    elif entry.entry_price is None:
        if instrument.kind == "spot":
            price = np.nan
        else:
            raise InputError(
                f"{name} has no entry price",
                code="INP-011",
                instrument=name,
                field=f"{where}.entry_price",
                hint='give it, or "mark" when its profit is already in the balance',
            )
    else:
        price = number(entry.entry_price, "entry_price")
        if (price <= 0 and instrument.kind != "option") or price < 0:
            raise InputError(
                f"the entry price of {name} is {price:g}, not a positive price",
                code="INP-004",
                instrument=name,
                field=f"{where}.entry_price",
            )
    fence = np.nan
    if entry.fenced_margin is not None:
        fence = number(entry.fenced_margin, "fenced_margin")
        if fence < 0:
            raise InputError(
                f"the fenced margin of {name} is negative",
                code="INP-004",
                instrument=name,
                field=f"{where}.fenced_margin",
            )
    leverage = np.nan if entry.leverage is None else entry.leverage
    return LEG_CODE[entry.leg], quantity, price, leverage, fence


def _add_orders(columns: _Columns, account: AccountFile, pools: dict[str, int]) -> None:
    ids: set[str] = set()

    def leg(order: int, name: str, quantity: object, price: object, where: str) -> None:
        try:
            index = columns.registry.resolve(name)
        except InputError as error:
            raise error.located(field=f"{where}.instrument") from None
        known = {"account": account.account, "instrument": columns.registry[index].id}
        q = to_float(quantity, field=f"{where}.quantity", **known)  # type: ignore[arg-type]
        if q == 0:
            raise InputError(
                "an order for a quantity of zero",
                code="INP-006",
                instrument=known["instrument"],
                field=f"{where}.quantity",
            )
        p = np.nan if price is None else to_float(price, field=f"{where}.price", **known)  # type: ignore[arg-type]
        option = columns.registry[index].kind == "option"
        if p < 0 or (p == 0 and not option):
            raise InputError(
                f"an order price of {p:g}, which is no price",
                code="INP-004",
                instrument=known["instrument"],
                field=f"{where}.price",
            )
        columns.legs.append((order, index, q, p))

    for row, entry in enumerate(account.orders):
        if entry.id in ids:
            raise InputError(f"order {entry.id!r} appears twice", code="INP-007", field="orders")
        ids.add(entry.id)
        number = len(columns.orders)
        columns.orders.append((_pool(pools, entry.pool, f"orders[{row}].pool"), entry.id, -1))
        for index, item in enumerate(entry.legs):
            where = f"orders[{row}].legs[{index}]"
            leg(number, item.instrument, item.quantity, item.price, where)
    groups: set[str] = set()
    for row, group in enumerate(account.quote_groups):
        if group.id in groups:
            raise InputError(
                f"quote group {group.id!r} appears twice", code="INP-007", field="quote_groups"
            )
        groups.add(group.id)
        pool = _pool(pools, group.pool, f"quote_groups[{row}].pool")
        limit = np.inf if group.protection_limit_usd is None else group.protection_limit_usd
        position = len(columns.groups)
        columns.groups.append((pool, limit, group.id))
        for index, quote in enumerate(group.quotes):
            where = f"quote_groups[{row}].quotes[{index}]"
            try:
                columns.registry.resolve(quote.instrument)
            except InputError as error:
                raise error.located(field=f"{where}.instrument") from None
            sides = 0
            for side, quantity, price in (
                (1.0, quote.bid_quantity, quote.bid_price),
                (-1.0, quote.ask_quantity, quote.ask_price),
            ):
                size = to_float(
                    quantity, account=account.account, field=where, instrument=quote.instrument
                )
                if size < 0:
                    raise InputError(
                        "quote quantities are positive",
                        code="INP-006",
                        instrument=quote.instrument,
                        field=where,
                    )
                if size == 0:
                    continue
                sides += 1
                number = len(columns.orders)
                name = f"{group.id}/{index}/{'bid' if side > 0 else 'ask'}"
                columns.orders.append((pool, name, position))
                leg(number, quote.instrument, side * size, price, where)
            if sides == 0:
                raise InputError(
                    "a quote without a bid or an ask",
                    code="INP-006",
                    instrument=quote.instrument,
                    field=where,
                    hint="give bid_quantity or ask_quantity, or remove the quote",
                )
