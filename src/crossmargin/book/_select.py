"""Taking accounts out of a book."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.book._book import Book
from crossmargin.errors import invariant

Ints = NDArray[np.int64]


def _renumber(keep: NDArray[np.bool_]) -> Ints:
    """Give kept rows new numbers, -1 for the others."""
    return np.where(keep, np.cumsum(keep) - 1, -1).astype(np.int64)


def select_accounts(book: Book, accounts: ArrayLike) -> Book:
    """Return a book with some accounts, in the order of the book.

    Parameters
    ----------
    book : Book
        Any book.
    accounts : array_like of int
        Indices of the accounts to keep; order and repetitions are ignored.
    """
    chosen = np.zeros(book.size, dtype=bool)
    chosen[np.asarray(accounts, dtype=np.int64)] = True
    pool = chosen[book.pool_account]
    balance, position = pool[book.balance_pool], pool[book.position_pool]
    order, group = pool[book.order_pool], pool[book.group_pool]
    leg = order[book.leg_order]
    to_account, to_pool = _renumber(chosen), _renumber(pool)
    to_order, to_group = _renumber(order), _renumber(group)
    quotes = book.order_group[order]
    return Book(
        registry=book.registry,
        account_ids=[name for name, yes in zip(book.account_ids, chosen) if yes],
        owners=[name for name, yes in zip(book.owners, chosen) if yes],
        pool_account=to_account[book.pool_account[pool]],
        pool_names=[name for name, yes in zip(book.pool_names, pool) if yes],
        pool_mode=book.pool_mode[pool],
        balance_pool=to_pool[book.balance_pool[balance]],
        balance_asset=book.balance_asset[balance],
        balance_amount=book.balance_amount[balance],
        locations=book.locations,
        balance_location=book.balance_location[balance],
        balance_proof_ns=book.balance_proof_ns[balance],
        balance_pending=book.balance_pending[balance],
        position_pool=to_pool[book.position_pool[position]],
        position_instrument=book.position_instrument[position],
        position_leg=book.position_leg[position],
        position_quantity=book.position_quantity[position],
        position_entry=book.position_entry[position],
        position_leverage=book.position_leverage[position],
        position_fence=book.position_fence[position],
        order_pool=to_pool[book.order_pool[order]],
        order_ids=[name for name, yes in zip(book.order_ids, order) if yes],
        order_group=np.where(quotes >= 0, to_group[quotes], -1) if group.any() else quotes,
        leg_order=to_order[book.leg_order[leg]],
        leg_instrument=book.leg_instrument[leg],
        leg_quantity=book.leg_quantity[leg],
        leg_price=book.leg_price[leg],
        group_pool=to_pool[book.group_pool[group]],
        group_limit_usd=book.group_limit_usd[group],
        group_ids=[name for name, yes in zip(book.group_ids, group) if yes],
    )


def join_books(first: Book, second: Book) -> Book:
    """Return the accounts of two books of one registry, those of the first before the others."""
    invariant(first.registry is second.registry, "books of two registries are joined")
    pools, orders = len(first.pool_names), len(first.order_ids)
    places = {name: place for place, name in enumerate(first.locations)}
    for name in second.locations:
        places.setdefault(name, len(places))
    moved = np.array([places[name] for name in second.locations], dtype=np.int64)
    located = second.balance_location
    offset = {
        "pool_account": first.size,
        "balance_pool": pools,
        "position_pool": pools,
        "order_pool": pools,
        "group_pool": pools,
        "leg_order": orders,
    }
    columns: dict[str, Any] = {}
    for column in fields(Book):
        mine, other = getattr(first, column.name), getattr(second, column.name)
        if column.name == "registry":
            columns["registry"] = mine
        elif column.name == "locations":
            columns["locations"] = list(places)
        elif column.name == "balance_location":
            new = located.copy()
            new[located >= 0] = moved[located[located >= 0]]
            columns["balance_location"] = np.concatenate([mine, new])
        elif column.name == "order_group":
            grown = np.where(other >= 0, other + len(first.group_ids), -1)
            columns["order_group"] = np.concatenate([mine, grown])
        elif isinstance(mine, list):
            columns[column.name] = [*mine, *other]
        else:
            moved_on = other + offset[column.name] if column.name in offset else other
            columns[column.name] = np.concatenate([mine, moved_on])
    return Book(**columns)


def repeat_account(book: Book, times: int) -> Book:
    """Return a book of one account as that many accounts that hold the same.

    Parameters
    ----------
    book : Book
        One account.
    times : int
        At least 1. Copies are called ``0``, ``1`` and so on, each with an owner of its own.
    """
    invariant(book.size == 1 and times >= 1, "one account is repeated, once or more")
    counts = {
        "pool_account": 1,
        "balance_pool": len(book.pool_names),
        "position_pool": len(book.pool_names),
        "order_pool": len(book.pool_names),
        "group_pool": len(book.pool_names),
        "leg_order": len(book.order_ids),
    }
    columns: dict[str, Any] = {}
    for column in fields(Book):
        mine = getattr(book, column.name)
        if column.name in ("registry", "locations"):
            columns[column.name] = mine
        elif column.name in ("account_ids", "owners"):
            columns[column.name] = [str(k) for k in range(times)]
        elif isinstance(mine, list):
            columns[column.name] = mine * times
        else:
            tiled = np.tile(mine, times)
            each = np.repeat(np.arange(times, dtype=np.int64), mine.size)
            if column.name in counts:
                tiled = tiled + each * counts[column.name]
            elif column.name == "order_group":
                tiled = np.where(tiled >= 0, tiled + each * len(book.group_ids), -1)
            columns[column.name] = tiled
    return Book(**columns)
