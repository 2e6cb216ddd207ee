"""A batch: the same numbers as one by one, and broken accounts are values with reasons."""

from __future__ import annotations

import json

import numpy as np
import pytest

from crossmargin.book import book_from_accounts, parse_account, select_accounts
from crossmargin.cli import _io as io
from crossmargin.margin import evaluate, evaluate_book, load_ruleset


def account(name: str, instrument: str, quantity: float, asset: str = "USDC"):
    return parse_account(
        json.dumps(
            {
                "format": "crossmargin-account/1",
                "account": name,
                "balances": [{"asset": asset, "amount": 1e5}],
                "positions": [
                    {"instrument": instrument, "quantity": quantity, "entry_price": "mark"}
                ],
            }
        )
    )


@pytest.mark.parametrize("name", ["deribit-pm-cross", "deribit-pm", "deribit-sm", "isolated"])
def test_batch_equals_one_by_one(name: str) -> None:
    market, rules = io.load_market("calm-2026-02-03"), load_ruleset(name)
    accounts = [
        io.load_account(a)
        for a in ("covered-call", "basis-trader", "short-vol-desk", "directional")
    ]
    whole = evaluate_book(book_from_accounts(accounts), market, rules)
    assert not whole.failures
    for place, one in enumerate(accounts):
        done = evaluate(book_from_accounts([one]), market, rules)
        assert whole.im[place] == pytest.approx(done.im_usd, rel=1e-12)
        assert whole.mm[place] == pytest.approx(done.mm_usd, rel=1e-12)


def test_broken_accounts_do_not_stop_the_rest() -> None:
    market, rules = io.load_market("calm-2026-02-03"), load_ruleset("deribit-pm-cross")
    good = [account(f"g{k}", "BTC_USDC-PERPETUAL", 1.0 + k) for k in range(9)]
    bad = [
        account("b-forward", "BTC-3APR26-78000-P", 1.0),
        account("b-price", "SOL-PERPETUAL", 1.0),
        account("b-haircut", "BTC-PERPETUAL", 100.0, asset="SOL"),
        account("b-delta", "BTC_USDC-PERPETUAL", 5_000.0),
    ]
    mixed = [*good[:3], bad[0], *good[3:6], bad[1], bad[2], *good[6:], bad[3]]
    found = evaluate_book(book_from_accounts(mixed), market, rules)
    names = {found.account_ids[k]: e for k, e in found.failures.items()}
    assert set(names) == {"b-forward", "b-price", "b-haircut", "b-delta"}
    for name, error in names.items():
        assert name in str(error)
    assert names["b-delta"].code == "RUL-030"
    fine = [k for k in range(len(mixed)) if k not in found.failures]
    alone = evaluate_book(book_from_accounts(good), market, rules)
    assert found.im[fine] == pytest.approx(alone.im, rel=1e-12)
    assert np.isnan(found.im[list(found.failures)]).all()


def test_selecting_keeps_orders_and_quotes() -> None:
    raw = {
        "format": "crossmargin-account/1",
        "account": "q",
        "balances": [{"asset": "USDC", "amount": 1e5}],
        "orders": [{"id": "o", "legs": [{"instrument": "BTC-PERPETUAL", "quantity": 100}]}],
        "quote_groups": [
            {
                "id": "m",
                "protection_limit_usd": 10,
                "quotes": [{"instrument": "BTC-PERPETUAL", "bid_quantity": 5, "ask_quantity": 6}],
            }
        ],
    }
    accounts = [parse_account(json.dumps({**raw, "account": f"q{k}"})) for k in range(3)]
    book = book_from_accounts(accounts)
    last = select_accounts(book, [2])
    direct = book_from_accounts([accounts[2]], book.registry)
    for name in book_fields():
        np.testing.assert_array_equal(getattr(last, name), getattr(direct, name), err_msg=name)
    assert select_accounts(book, [0, 1, 2]).order_ids == book.order_ids


def book_fields() -> list[str]:
    from dataclasses import fields

    from crossmargin.book import Book

    return [f.name for f in fields(Book) if f.name != "registry"]
