"""The book: accounts as aligned columns."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossmargin.book import LEGS, POOL_MODES, AccountFile, book_from_accounts, parse_account
from crossmargin.errors import InputError
from crossmargin.instruments import Registry, parse_instrument

PERP, INVERSE, CALL = "BTC_USDC-PERPETUAL", "BTC-PERPETUAL", "BTC-27MAR26-90000-C"


def made(name: str, **parts: Any) -> AccountFile:
    return parse_account(json.dumps({"format": "crossmargin-account/1", "account": name, **parts}))


def full(name: str = "a") -> AccountFile:
    return made(
        name,
        owner="o",
        pools=[{"id": "fence", "mode": "isolated"}, {"id": "sub", "mode": "sub_account"}],
        balances=[
            {"asset": "USDC", "amount": "1000.25"},
            {"asset": "BTC", "amount": -0.5, "pool": "sub"},
        ],
        positions=[
            {"instrument": PERP, "quantity": 2, "entry_price": "50000", "leverage": 5},
            {"instrument": CALL, "quantity": -3, "pool": "sub", "leg": "short"},
            {
                "instrument": INVERSE,
                "quantity": 1_000,
                "entry_price": "mark",
                "pool": "fence",
                "fenced_margin": "0.01",
            },
        ],
        orders=[
            {"id": "o1", "legs": [{"instrument": PERP, "quantity": 1, "price": 49_000}]},
            {
                "id": "o2",
                "pool": "sub",
                "legs": [
                    {"instrument": CALL, "quantity": 1},
                    {"instrument": PERP, "quantity": -1, "price": "51000"},
                ],
            },
        ],
        quote_groups=[
            {
                "id": "g",
                "protection_limit_usd": 500,
                "quotes": [
                    {"instrument": PERP, "bid_quantity": 1, "bid_price": 49_900},
                    {"instrument": CALL, "bid_quantity": 2, "ask_quantity": 3, "ask_price": 0.05},
                ],
            }
        ],
    )


class TestColumns:
    book = book_from_accounts([full()])

    def test_accounts_and_pools(self) -> None:
        b = self.book
        assert (b.size, b.account_ids, b.owners) == (1, ["a"], ["o"])
        assert b.pool_names == ["fence", "sub", "cross"]
        assert [POOL_MODES[m] for m in b.pool_mode] == ["isolated", "sub_account", "cross"]
        assert b.pool_account.tolist() == [0, 0, 0]

    def test_balances(self) -> None:
        b = self.book
        assert b.balance_amount.tolist() == [1000.25, -0.5]
        assert [b.registry.assets[i] for i in b.balance_asset] == ["USDC", "BTC"]
        assert [b.pool_names[i] for i in b.balance_pool] == ["cross", "sub"]

    def test_positions(self) -> None:
        b = self.book
        assert [b.registry[int(i)].id for i in b.position_instrument] == [PERP, CALL, INVERSE]
        assert b.position_quantity.tolist() == [2, -3, 1_000]
        assert [LEGS[i] for i in b.position_leg] == ["net", "short", "net"]
        assert [b.pool_names[i] for i in b.position_pool] == ["cross", "sub", "fence"]
        np.testing.assert_array_equal(b.position_entry, [50_000, np.nan, np.nan])
        np.testing.assert_array_equal(b.position_leverage, [5, np.nan, np.nan])
        np.testing.assert_array_equal(b.position_fence, [np.nan, np.nan, 0.01])

    def test_orders_and_legs(self) -> None:
        b = self.book
        assert b.order_ids == ["o1", "o2", "g/0/bid", "g/1/bid", "g/1/ask"]
        assert b.order_group.tolist() == [-1, -1, 0, 0, 0]
        assert b.leg_order.tolist() == [0, 1, 1, 2, 3, 4]
        assert b.leg_quantity.tolist() == [1, 1, -1, 1, 2, -3]
        np.testing.assert_array_equal(b.leg_price, [49_000, np.nan, 51_000, 49_900, np.nan, 0.05])
        names = [b.registry[int(i)].id for i in b.leg_instrument]
        assert names == [PERP, CALL, PERP, PERP, CALL, CALL]
        assert [b.pool_names[i] for i in b.order_pool] == [
            "cross",
            "sub",
            "cross",
            "cross",
            "cross",
        ]

    def test_groups(self) -> None:
        assert self.book.group_ids == ["g"]
        assert self.book.group_limit_usd.tolist() == [500.0]

    def test_types(self) -> None:
        b = self.book
        for name in ("pool_account", "balance_asset", "position_instrument", "leg_order"):
            assert getattr(b, name).dtype == np.int64
        for name in ("balance_amount", "position_quantity", "leg_price", "group_limit_usd"):
            assert getattr(b, name).dtype == np.float64

    def test_instruments_used(self) -> None:
        assert self.book.instruments_used().tolist() == [0, 1, 2]

    def test_no_limit_is_infinite(self) -> None:
        group = {"id": "g", "quotes": [{"instrument": PERP, "bid_quantity": 1}]}
        assert book_from_accounts([made("a", quote_groups=[group])]).group_limit_usd[0] == np.inf


class TestManyAccounts:
    def test_rows_follow_the_accounts(self) -> None:
        b = book_from_accounts([full("a"), full("b")])
        assert b.account_ids == ["a", "b"]
        assert b.pool_account.tolist() == [0, 0, 0, 1, 1, 1]
        assert b.position_pool.tolist() == [2, 1, 0, 5, 4, 3]
        assert b.order_group.tolist() == [-1, -1, 0, 0, 0, -1, -1, 1, 1, 1]
        assert b.leg_order.max() == 9
        # Instruments are shared.
        assert len(b.registry) == 3

    def test_none(self) -> None:
        b = book_from_accounts([])
        assert b.size == 0 and b.position_pool.dtype == np.int64
        assert b.instruments_used().size == 0

    def test_owner_defaults_to_the_account(self) -> None:
        assert book_from_accounts(
            [made("a", balances=[{"asset": "USDC", "amount": 1}])]
        ).owners == ["a"]

    def test_the_bad_account_is_named(self) -> None:
        bad = made("second", positions=[{"instrument": PERP, "quantity": 0, "entry_price": 1}])
        with pytest.raises(InputError) as caught:
            book_from_accounts([full("first"), bad])
        assert caught.value.account == "second"

    def test_a_given_registry_keeps_its_indices(self) -> None:
        known = Registry([parse_instrument("ETH-PERPETUAL"), parse_instrument(CALL)])
        b = book_from_accounts([full()], registry=known)
        assert b.registry is known
        assert b.position_instrument.tolist() == [2, 1, 3]


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from([PERP, INVERSE, CALL, "ETH_USDC-PERPETUAL", "BTC-27MAR26"]),
        st.floats(-1e6, 1e6).filter(lambda q: abs(q) > 1e-9),
        min_size=1,
    )
)
def test_quantities_survive_exactly(held: dict[str, float]) -> None:
    rows = [{"instrument": n, "quantity": repr(q), "entry_price": "mark"} for n, q in held.items()]
    b = book_from_accounts([made("a", positions=rows)])
    got = {b.registry[int(i)].id: q for i, q in zip(b.position_instrument, b.position_quantity)}
    assert got == held
