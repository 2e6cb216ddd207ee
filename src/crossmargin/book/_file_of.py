"""From the columns of a book back to the file of one account."""

from __future__ import annotations

import math

import numpy as np

from crossmargin.book._account import (
    AccountFile,
    BalanceEntry,
    Leg,
    OrderEntry,
    OrderLeg,
    PoolEntry,
    PoolMode,
    PositionEntry,
)
from crossmargin.book._book import LEGS, POOL_MODES, Book
from crossmargin.units import format_time

_LEG: dict[str, Leg] = {"net": "net", "long": "long", "short": "short"}
_MODE: dict[str, PoolMode] = {
    "cross": "cross",
    "isolated": "isolated",
    "sub_account": "sub_account",
}


def account_file(book: Book, account: int) -> AccountFile:
    """Return one account of a book as its file.

    Amounts are the floats of the columns, entries that were settled at the mark say ``"mark"``.
    Quotes of a group become orders of their own: what a group's protection limits is not said.

    Parameters
    ----------
    book : Book
        Columns.
    account : int
        Which of its accounts.
    """
    pools = np.flatnonzero(book.pool_account == account).tolist()
    names = {pool: book.pool_names[pool] for pool in pools}
    return AccountFile(
        format="crossmargin-account/1",
        account=book.account_ids[account],
        owner=book.owners[account] or None,
        pools=[
            PoolEntry(id=names[p], mode=_MODE[POOL_MODES[int(book.pool_mode[p])]]) for p in pools
        ],
        balances=_balances(book, names),
        positions=_positions(book, names),
        orders=_orders(book, names),
    )


def _rows(owner: np.ndarray, names: dict[int, str]) -> list[int]:
    return np.flatnonzero(np.isin(owner, list(names))).tolist()


def _balances(book: Book, names: dict[int, str]) -> list[BalanceEntry]:
    found = []
    for row in _rows(book.balance_pool, names):
        place, proof = int(book.balance_location[row]), int(book.balance_proof_ns[row])
        found.append(
            BalanceEntry(
                asset=book.registry.assets[int(book.balance_asset[row])],
                amount=float(book.balance_amount[row]),
                pool=names[int(book.balance_pool[row])],
                location=None if place < 0 else book.locations[place],
                proof_time=None if proof < 0 else format_time(proof),
                pending=bool(book.balance_pending[row]),
            )
        )
    return found


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def _positions(book: Book, names: dict[int, str]) -> list[PositionEntry]:
    found = []
    for row in _rows(book.position_pool, names):
        item = book.registry[int(book.position_instrument[row])]
        entry = float(book.position_entry[row])
        paid = item.kind in ("option", "spot")
        found.append(
            PositionEntry(
                instrument=item.id,
                quantity=float(book.position_quantity[row]),
                entry_price=_number(entry) if paid or not math.isnan(entry) else "mark",
                leg=_LEG[LEGS[int(book.position_leg[row])]],
                pool=names[int(book.position_pool[row])],
                leverage=_number(float(book.position_leverage[row])),
                fenced_margin=_number(float(book.position_fence[row])),
            )
        )
    return found


def _orders(book: Book, names: dict[int, str]) -> list[OrderEntry]:
    found = []
    for row in _rows(book.order_pool, names):
        legs = [
            OrderLeg(
                instrument=book.registry[int(book.leg_instrument[leg])].id,
                quantity=float(book.leg_quantity[leg]),
                price=_number(float(book.leg_price[leg])),
            )
            for leg in np.flatnonzero(book.leg_order == row).tolist()
        ]
        pool = names[int(book.order_pool[row])]
        found.append(OrderEntry(id=f"{row}:{book.order_ids[row]}", legs=legs, pool=pool))
    return found
