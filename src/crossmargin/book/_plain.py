"""Books of accounts that have one cross pool, positions and balances, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from crossmargin.book._book import Book
from crossmargin.instruments import Registry


def plain_book(
    registry: Registry,
    account_ids: Sequence[str],
    *,
    position_account: ArrayLike,
    position_instrument: ArrayLike,
    position_quantity: ArrayLike,
    position_entry: ArrayLike,
    balance_account: ArrayLike,
    balance_asset: ArrayLike,
    balance_amount: ArrayLike,
    owners: Sequence[str] | None = None,
) -> Book:
    """Put columns of positions and balances together as a book; nothing is checked.

    Parameters
    ----------
    registry : Registry
        Instruments and assets.
    account_ids : sequence of str [A]
        Names; each account has one cross pool.
    position_account, balance_account : array_like of int
        Whose, by number; rising.
    position_instrument, balance_asset : array_like of int
        Numbers of the registry.
    position_quantity : array_like
        Units, < 0 short.
    position_entry : array_like
        Entry prices, quote currency; NaN is the mark.
    balance_amount : array_like
        Units of the asset, < 0 owed.
    owners : sequence of str [A], optional
        Of the accounts; default the accounts themselves.

    Returns
    -------
    Book
        Without orders, legs, fences and places of custody.
    """
    held = np.asarray(position_account, dtype=np.int64)
    owned = np.asarray(balance_account, dtype=np.int64)
    accounts, none = len(account_ids), np.empty(0, dtype=np.int64)
    return Book(
        registry=registry,
        account_ids=account_ids,
        owners=account_ids if owners is None else owners,
        pool_account=np.arange(accounts, dtype=np.int64),
        pool_names=["cross"] * accounts,
        pool_mode=np.zeros(accounts, dtype=np.int64),
        balance_pool=owned,
        balance_asset=np.asarray(balance_asset, dtype=np.int64),
        balance_amount=np.asarray(balance_amount, dtype=np.float64),
        locations=[],
        balance_location=np.full(owned.size, -1, dtype=np.int64),
        balance_proof_ns=np.full(owned.size, -1, dtype=np.int64),
        balance_pending=np.zeros(owned.size, dtype=np.bool_),
        position_pool=held,
        position_instrument=np.asarray(position_instrument, dtype=np.int64),
        position_leg=np.zeros(held.size, dtype=np.int64),
        position_quantity=np.asarray(position_quantity, dtype=np.float64),
        position_entry=np.asarray(position_entry, dtype=np.float64),
        position_leverage=np.full(held.size, np.nan),
        position_fence=np.full(held.size, np.nan),
        order_pool=none,
        order_ids=[],
        order_group=none,
        leg_order=none,
        leg_instrument=none,
        leg_quantity=np.empty(0),
        leg_price=np.empty(0),
        group_pool=none,
        group_limit_usd=np.empty(0),
        group_ids=[],
    )
