"""Accounts that need more columns than a compact book has: which of them a gate can take."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from crossmargin.book import (
    AccountFile,
    BalanceEntry,
    Book,
    CompactBook,
    OrderEntry,
    OrderLeg,
    PoolEntry,
    PositionEntry,
    Quote,
    QuoteGroup,
)
from crossmargin.book._select import select_accounts
from crossmargin.units import format_time


def with_orders(book: CompactBook) -> tuple[CompactBook, dict[int, Book], dict[int, Book]]:
    """Return the book with the positions and balances of the rest's plain accounts in its rows.

    Returns
    -------
    book : CompactBook
        All accounts in rows, in their order; the irregular ones are empty.
    orders : dict of int to Book
        Accounts whose only peculiarity is that they have orders.
    irregular : dict of int to Book
        Accounts with several pools, fences, legs or located balances, each a book of its own.
    """
    if book.rest is None:
        return book, {}, {}
    orders: dict[int, Book] = {}
    irregular: dict[int, Book] = {}
    names, owners = list(book.ids), None if book.owners is None else list(book.owners)
    instrument, quantity, entry = [book.position_instrument], [book.position_quantity], [
        book.position_entry
    ]  # fmt: skip
    asset, amount = [book.balance_asset], [book.balance_amount]
    p_count, b_count = [], []
    for k in range(book.rest.size):
        one = select_accounts(book.rest, [k])
        number = book.regular + k
        names.append(one.account_ids[0])
        if owners is not None:
            owners.append(one.owners[0])
        plain = _is_plain(one)
        (orders if plain else irregular)[number] = one
        if plain:
            at = np.argsort(one.position_instrument, kind="stable")
            instrument.append(one.position_instrument[at])
            quantity.append(one.position_quantity[at])
            entry.append(one.position_entry[at])
            asset.append(one.balance_asset)
            amount.append(one.balance_amount)
        p_count.append(one.position_quantity.size if plain else 0)
        b_count.append(one.balance_amount.size if plain else 0)
    p_start = np.append(book.position_start, book.position_start[-1] + np.cumsum(p_count))
    b_start = np.append(book.balance_start, book.balance_start[-1] + np.cumsum(b_count))
    whole = replace(
        book,
        ids=names,
        owners=owners,
        position_start=p_start.astype(np.int64),
        position_instrument=np.concatenate(instrument).astype(np.uint32),
        position_quantity=np.concatenate(quantity),
        position_entry=np.concatenate(entry),
        balance_start=b_start.astype(np.int64),
        balance_asset=np.concatenate(asset).astype(np.uint32),
        balance_amount=np.concatenate(amount),
        rest=None,
    )
    return whole, orders, irregular


def _is_plain(one: Book) -> bool:
    odd = np.isfinite(one.position_leverage) | np.isfinite(one.position_fence)
    odd |= one.position_leg != 0
    placed = (one.balance_location >= 0) | (one.balance_proof_ns >= 0) | one.balance_pending
    return (
        one.pool_names == ["cross"]
        and not one.pool_mode.any()
        and not odd.any()
        and not placed.any()
    )


def _price(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def account_of(one: Book) -> AccountFile:
    """Write the only account of a book as an account file."""
    items, assets, pools = one.registry, one.registry.assets, one.pool_names
    modes = ("cross", "isolated", "sub_account")
    sides = ("net", "long", "short")
    return AccountFile(
        format="crossmargin-account/1",
        account=one.account_ids[0],
        owner=one.owners[0],
        pools=[
            PoolEntry(id=name, mode=modes[int(mode)])  # type: ignore[arg-type]
            for name, mode in zip(pools, one.pool_mode)
        ],
        balances=[
            BalanceEntry(
                asset=assets[int(one.balance_asset[b])],
                amount=float(one.balance_amount[b]),
                pool=pools[int(one.balance_pool[b])],
                location=(
                    one.locations[int(one.balance_location[b])]
                    if one.balance_location[b] >= 0
                    else None
                ),
                proof_time=(
                    format_time(int(one.balance_proof_ns[b]))
                    if one.balance_proof_ns[b] >= 0
                    else None
                ),
                pending=bool(one.balance_pending[b]),
            )
            for b in range(one.balance_amount.size)
        ],
        positions=[
            PositionEntry(
                instrument=items[int(one.position_instrument[p])].id,
                quantity=float(one.position_quantity[p]),
                entry_price=(
                    "mark" if np.isnan(one.position_entry[p]) else float(one.position_entry[p])
                ),
                leg=sides[int(one.position_leg[p])],  # type: ignore[arg-type]
                pool=pools[int(one.position_pool[p])],
                leverage=_price(one.position_leverage[p]),
                fenced_margin=_price(one.position_fence[p]),
            )
            for p in range(one.position_quantity.size)
        ],
        orders=_orders(one),
        quote_groups=_quotes(one),
    )


def _orders(one: Book) -> list[OrderEntry]:
    out = []
    for o in np.flatnonzero(one.order_group < 0).tolist():
        legs = np.flatnonzero(one.leg_order == o).tolist()
        out.append(
            OrderEntry(
                id=one.order_ids[o],
                legs=[
                    OrderLeg(
                        instrument=one.registry[int(one.leg_instrument[k])].id,
                        quantity=float(one.leg_quantity[k]),
                        price=_price(one.leg_price[k]),
                    )
                    for k in legs
                ],
                pool=one.pool_names[int(one.order_pool[o])],
            )
        )
    return out


def quote(name: str, quantity: float, price: float | None) -> Quote:
    """One side of a quote."""
    if quantity > 0:
        return Quote(instrument=name, bid_quantity=quantity, bid_price=price)
    return Quote(instrument=name, ask_quantity=-quantity, ask_price=price)


def _quotes(one: Book) -> list[QuoteGroup]:
    out = []
    for g in range(one.group_pool.size):
        orders = np.flatnonzero(one.order_group == g)
        legs = np.flatnonzero(np.isin(one.leg_order, orders)).tolist()
        limit = float(one.group_limit_usd[g])
        out.append(
            QuoteGroup(
                id=one.group_ids[g],
                quotes=[
                    quote(
                        one.registry[int(one.leg_instrument[k])].id,
                        float(one.leg_quantity[k]),
                        _price(one.leg_price[k]),
                    )
                    for k in legs
                ],
                protection_limit_usd=limit if np.isfinite(limit) else None,
                pool=one.pool_names[int(one.group_pool[g])],
            )
        )
    return out
