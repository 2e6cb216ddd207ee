"""Saving and tail cost, price profile, expiry cliff."""

from __future__ import annotations

import json

import numpy as np
import pytest

from crossmargin.analytics import (
    TailModel,
    compare,
    expiry_cliff,
    price_profile,
    tail_cost,
)
from crossmargin.book import book_from_accounts, parse_account
from crossmargin.cli import _io as io
from crossmargin.errors import MarginError
from crossmargin.margin import evaluate, liquidation_prices, load_ruleset, make_statement
from crossmargin.stats import expected_shortfall
from crossmargin.units import parse_time


def one(positions: list[dict[str, object]], cash: float = 50_000.0):
    return parse_account(
        json.dumps(
            {
                "format": "crossmargin-account/1",
                "account": "e",
                "balances": [{"asset": "USDC", "amount": cash}],
                "positions": positions,
            }
        )
    )


def _positions(account, market, rules):
    return make_statement(account, market, rules, solve=False).positions


def test_expected_shortfall_is_exact_for_fractions_and_ties() -> None:
    # Worst 2.5 of 10: (10 + 9 + 0.5·8) / 2.5 = 9.2
    assert expected_shortfall(np.arange(1.0, 11.0), 0.75) == pytest.approx(9.2)
    assert expected_shortfall(np.full(10, 3.0), 0.99) == pytest.approx(3.0)


def test_pooling_puts_the_rest_of_the_balance_at_stake() -> None:
    """One position: alone it can lose its margin, pooled the whole equity."""
    account = one([{"instrument": "BTC_USDC-PERPETUAL", "quantity": 1, "entry_price": "mark"}])
    market, rules = io.load_market("calm-2026-02-03"), load_ruleset("deribit-sm-cross")
    done = evaluate(book_from_accounts([account]), market, rules)
    wild = TailModel(horizon_days=10.0, scenarios=2_000)
    found = tail_cost(done, market, wild)
    alone = float(done.need.im.sum())
    assert found.cvar_separate == pytest.approx(alone)
    assert found.cvar_pooled > found.cvar_separate
    assert found.rise == pytest.approx(found.cvar_pooled - found.cvar_separate)
    assert tail_cost(done, market, wild) == found  # same seed, same numbers


def test_a_hedged_pair_pools_without_tail_cost() -> None:
    """Long and short of the same delta lose next to nothing, whatever the price does."""
    account = one(
        [
            {"instrument": "BTC_USDC-PERPETUAL", "quantity": 1, "entry_price": "mark"},
            {"instrument": "BTC_USDC-27MAR26", "quantity": -1, "entry_price": "mark"},
        ]
    )
    market, rules = io.load_market("calm-2026-02-03"), load_ruleset("deribit-pm-cross")
    done = evaluate(book_from_accounts([account]), market, rules)
    found = tail_cost(done, market, TailModel(horizon_days=10.0, scenarios=2_000))
    notional = sum(p.notional_usd for p in _positions(account, market, rules))
    assert 0 <= found.cvar_pooled < 1e-3 * notional
    assert abs(found.rise) < 1e-3 * notional


def test_comparison_keeps_going_after_a_refusal() -> None:
    rows = compare(
        io.load_account("directional"),
        io.load_market("calm-2026-02-03"),
        [load_ruleset("paradex-pm"), load_ruleset("deribit-pm")],
    )
    assert rows[0].statement is None and rows[0].error is not None
    assert rows[1].statement is not None and rows[1].tail is not None


def test_profile_crosses_at_the_liquidation_price() -> None:
    done = evaluate(
        book_from_accounts([io.load_account("directional")]),
        io.load_market("calm-2026-02-03"),
        load_ruleset("deribit-pm-cross"),
    )
    curve = price_profile(done, "BTC", points=401)
    line = next(x for x in liquidation_prices(done.frame) if x.underlying == "BTC")
    gap = np.array(curve.equity_usd) - np.array(curve.mm_usd)
    place = int(np.flatnonzero(np.diff(np.sign(gap)))[0])
    assert curve.price_usd[place] <= line.down.price_usd <= curve.price_usd[place + 1]
    with pytest.raises(MarginError, match="MRG-001"):
        price_profile(done, "DOGE")


def test_cliff_is_the_requirement_of_the_rest() -> None:
    account = one(
        [
            {"instrument": "BTC-6FEB26-78000-P", "quantity": 10},
            {"instrument": "BTC-27FEB26-78000-P", "quantity": -10},
        ]
    )
    market, rules = io.load_market("calm-2026-02-03"), load_ruleset("deribit-pm-cross")
    cliff = expiry_cliff(account, market, rules)
    assert cliff is not None and cliff.legs == ["BTC-6FEB26-78000-P"]
    rest = one([{"instrument": "BTC-27FEB26-78000-P", "quantity": -10}])
    later = market.at(parse_time("2026-02-06T08:00:00Z"))
    alone = evaluate(book_from_accounts([rest]), later, rules)
    assert cliff.im_after_unmoved == pytest.approx(alone.im_usd, rel=1e-12)
    assert cliff.im_after_worst >= cliff.im_after_unmoved
    nothing = one([{"instrument": "BTC-PERPETUAL", "quantity": 10, "entry_price": "mark"}])
    assert expiry_cliff(nothing, market, rules) is None
