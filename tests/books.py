"""Books for tests of their files: a few accounts with everything, and every kind of bad row."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from crossmargin.book import (
    LEGS,
    POOL_MODES,
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
from crossmargin.instruments import Registry

TABLES = (
    "accounts",
    "pools",
    "balances",
    "positions",
    "orders",
    "order_legs",
    "quote_groups",
)


def accounts() -> list[AccountFile]:
    alice = AccountFile(
        format="crossmargin-account/1",
        account="alice",
        owner="family",
        pools=[PoolEntry(id="cross"), PoolEntry(id="fenced", mode="isolated")],
        balances=[
            BalanceEntry(asset="USDC", amount="-12.5"),
            BalanceEntry(asset="BTC", amount=1.25),
            BalanceEntry(
                asset="BTC", amount=0.25, location="cold", proof_time="2026-02-25T08:00:00Z"
            ),
            BalanceEntry(asset="BTC", amount=0.5, location="chain", pending=True),
        ],
        positions=[
            PositionEntry(
                instrument="ETH_USDC-PERPETUAL",
                quantity=3.0,
                entry_price=2_000.0,
                leverage=5.0,
                fenced_margin=600.0,
                pool="fenced",
            ),
            PositionEntry(instrument="BTC-27MAR26-90000-C", quantity=-0.5),
            PositionEntry(
                instrument="BTC-PERPETUAL", quantity=100.0, entry_price="mark", leg="long"
            ),
            PositionEntry(
                instrument="BTC-PERPETUAL", quantity=-40.0, entry_price=70_000.0, leg="short"
            ),
        ],
        orders=[
            OrderEntry(
                id="combo",
                legs=[
                    OrderLeg(instrument="BTC-27MAR26-80000-P", quantity=1.0, price=0.02),
                    OrderLeg(instrument="BTC-27MAR26-70000-P", quantity=-1.0),
                ],
            )
        ],
        quote_groups=[
            QuoteGroup(
                id="mm",
                protection_limit_usd=1_000.0,
                quotes=[
                    Quote(
                        instrument="BTC-PERPETUAL",
                        bid_quantity=10.0,
                        bid_price=69_000.0,
                        ask_quantity=10.0,
                        ask_price=69_100.0,
                    )
                ],
            ),
            QuoteGroup(id="free", quotes=[Quote(instrument="BTC-PERPETUAL", bid_quantity=1.0)]),
        ],
    )
    bob = AccountFile(
        format="crossmargin-account/1",
        account="bob",
        balances=[BalanceEntry(asset="USDT", amount=7.0)],
    )
    carol = AccountFile(
        format="crossmargin-account/1",
        account="carol",
        positions=[
            PositionEntry(instrument="XRP_USDC-30JUN26-0.625-C", quantity=2.0, entry_price=0.0)
        ],
    )
    return [alice, bob, carol]


def columns(book: Book) -> dict[str, Any]:
    return {one.name: getattr(book, one.name) for one in fields(book) if one.name != "registry"}


def assert_equal(left: Book, right: Book) -> None:
    for name, value in columns(left).items():
        if isinstance(value, np.ndarray):
            other = getattr(right, name)
            assert other.dtype == value.dtype, name
            np.testing.assert_array_equal(other, value, err_msg=name)
        else:
            assert getattr(right, name) == value, name


def by_name(book: Book) -> Book:
    """The same book over a registry in sorted order, so that two can be compared."""
    order = sorted({book.registry[int(i)].id for i in book.instruments_used()})
    registry = Registry()
    for name in sorted({book.registry.assets[int(i)] for i in book.balance_asset}):
        registry.asset(name)
    for name in order:
        registry.resolve(name)

    def again(index: np.ndarray) -> np.ndarray:
        found = [registry.resolve(book.registry[int(i)].id) for i in index]
        return np.array(found, dtype=np.int64)

    assets = [registry.asset(book.registry.assets[int(i)]) for i in book.balance_asset]
    return replace(
        book,
        registry=registry,
        balance_asset=np.array(assets, dtype=np.int64),
        position_instrument=again(book.position_instrument),
        leg_instrument=again(book.leg_instrument),
    )


def edit(folder: Path, table: str, **values: Any) -> None:
    path = folder / f"{table}.parquet"
    frame = pl.read_parquet(path)
    for column, changes in values.items():
        cells = frame[column].to_list()
        for row, value in changes.items():
            cells[row] = value
        kind = frame[column].dtype
        frame = frame.with_columns(pl.Series(column, cells, dtype=kind, strict=False))
    frame.write_parquet(path)


#: Table, what is put into it, and the code and words of the error.
BAD_ROWS: list[tuple[str, dict[str, Any], str, str]] = [
    ("positions", {"quantity": {1: float("nan")}}, "INP-004", "BTC-27MAR26-90000-C"),
    ("positions", {"quantity": {1: None}}, "INP-004", "missing"),
    ("positions", {"quantity": {1: float("inf")}}, "INP-004", "inf"),
    ("positions", {"quantity": {1: 1e16}}, "INP-004", "1e+16"),
    ("positions", {"quantity": {1: 0.0}}, "INP-006", "is 0"),
    ("positions", {"quantity": {2: -1.0}}, "INP-006", "BTC-PERPETUAL"),
    ("positions", {"entry": {3: -1.0}}, "INP-004", "the entry of BTC-PERPETUAL"),
    ("positions", {"entry": {3: 0.0}}, "INP-004", "the entry of BTC-PERPETUAL"),
    ("positions", {"leverage": {0: 0.0}}, "INP-004", "leverage"),
    ("positions", {"fence": {0: -1.0}}, "INP-004", "fence"),
    ("positions", {"instrument": {0: "WHAT?"}}, "INP-001", "positions[0].instrument"),
    ("positions", {"instrument": {0: None}}, "INP-003", "no instrument"),
    ("positions", {"leg": {0: "up"}}, "INP-003", "net, long, short"),
    ("positions", {"pool": {0: 99}}, "INP-008", "refers to row 99 of 'pools'"),
    ("positions", {"pool": {0: None}}, "INP-008", "refers to no row of 'pools'"),
    ("positions", {"pool": {0: 3}}, "INP-042", "sort the rows by account".capitalize()),
    ("positions", {"leg": {3: "long"}, "quantity": {3: 1.0}}, "INP-007", "appears twice"),
    ("balances", {"amount": {0: float("nan")}}, "INP-004", "account 'alice'"),
    ("balances", {"asset": {0: "U S"}}, "INP-003", "is no asset"),
    ("balances", {"pool": {0: -2}}, "INP-008", "balances"),
    ("pools", {"account": {0: 3}}, "INP-008", "of 'accounts'"),
    ("pools", {"mode": {0: "half"}}, "INP-003", "cross, isolated"),
    ("accounts", {"account_id": {1: "alice"}}, "INP-007", "'alice' appears twice"),
    ("accounts", {"owner": {0: None}}, "INP-003", "no owner"),
    ("orders", {"pool": {0: 50}}, "INP-008", "orders"),
    ("orders", {"group": {1: 2}}, "INP-008", "quote_groups"),
    ("orders", {"id": {0: ""}}, "INP-003", "no id"),
    ("order_legs", {"order": {0: 4}}, "INP-008", "of 'orders'"),
    ("order_legs", {"quantity": {0: 0.0}}, "INP-006", "BTC-27MAR26-80000-P"),
    ("order_legs", {"quantity": {0: None}}, "INP-004", "BTC-27MAR26-80000-P"),
    ("order_legs", {"price": {0: -1.0}}, "INP-004", "price"),
    ("quote_groups", {"limit_usd": {0: -1.0}}, "INP-004", "limit_usd"),
    ("quote_groups", {"pool": {0: 7}}, "INP-008", "quote_groups"),
]


def facts(book: Book) -> dict[str, Any]:
    """What each account of a book has, by name and in no order: slow and plain."""
    out: dict[str, Any] = {}
    pools = []
    for account, name, mode in zip(book.pool_account, book.pool_names, book.pool_mode):
        pools.append((book.account_ids[account], name, POOL_MODES[mode]))
    for name, owner in zip(book.account_ids, book.owners):
        out[name] = {"owner": owner, "pools": [], "balances": [], "positions": [], "orders": []}
    for name, pool, mode in pools:
        out[name]["pools"].append((pool, mode))
    for row, number in enumerate(book.balance_pool):
        place = int(book.balance_location[row])
        out[pools[number][0]]["balances"].append(
            repr(
                (
                    pools[number][1],
                    book.registry.assets[int(book.balance_asset[row])],
                    float(book.balance_amount[row]),
                    book.locations[place] if place >= 0 else None,
                    int(book.balance_proof_ns[row]),
                    bool(book.balance_pending[row]),
                )
            )
        )
    for row, number in enumerate(book.position_pool):
        out[pools[number][0]]["positions"].append(
            repr(
                (
                    pools[number][1],
                    book.registry[int(book.position_instrument[row])].id,
                    LEGS[int(book.position_leg[row])],
                    float(book.position_quantity[row]),
                    float(book.position_entry[row]),
                    float(book.position_leverage[row]),
                    float(book.position_fence[row]),
                )
            )
        )
    for row, number in enumerate(book.order_pool):
        group = int(book.order_group[row])
        legs = [
            (book.registry[int(i)].id, float(q), float(p))
            for i, q, p in zip(
                book.leg_instrument[book.leg_order == row],
                book.leg_quantity[book.leg_order == row],
                book.leg_price[book.leg_order == row],
            )
        ]
        quotes = None
        if group >= 0:
            quotes = (book.group_ids[group], float(book.group_limit_usd[group]))
        entry = repr((pools[number][1], book.order_ids[row], quotes, legs))
        out[pools[number][0]]["orders"].append(entry)
    for account in out.values():
        for column in ("balances", "positions", "orders"):
            account[column].sort()
    return out


def compact_facts(book: CompactBook) -> dict[str, Any]:
    """As :func:`facts`, of both parts of a large book."""
    rest = {} if book.rest is None else facts(book.rest)
    return facts(book.accounts(0, book.regular)) | rest
