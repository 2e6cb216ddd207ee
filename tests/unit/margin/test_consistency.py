"""One account said in two ways, one market reached by two roads: the numbers must agree."""

from __future__ import annotations

import json
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from crossmargin.analytics import tail_cost
from crossmargin.book import AccountFile, book_from_accounts, parse_account
from crossmargin.margin import (
    equity,
    evaluate,
    evaluate_book,
    frame_for,
    liquidation_prices,
    load_ruleset,
    make_statement,
    requirement,
)
from crossmargin.market import Snapshot, decode_market, snapshot_from_file
from crossmargin.units import parse_time
from crossmargin.venues import load_account, load_market

CALM = "calm-2026-02-03"


def account(positions: list[dict[str, object]], **balances: float) -> AccountFile:
    raw = {
        "format": "crossmargin-account/1",
        "account": "a",
        "balances": [{"asset": k, "amount": v} for k, v in balances.items()],
        "positions": positions,
    }
    return parse_account(json.dumps(raw))


def market(**parts: object) -> Snapshot:
    raw = {
        "format": "crossmargin-market/1",
        "as_of": "2026-03-27T07:45:00Z",
        "assets": [
            {"asset": "BTC", "price_usd": 50_000},
            {"asset": "ETH", "price_usd": 2_500},
            {"asset": "USDC", "price_usd": 1},
        ],
        **parts,
    }
    return snapshot_from_file(decode_market(json.dumps(raw).encode(), "m"))


@pytest.mark.parametrize("name", ["deribit-sm", "deribit-pm", "deribit-pm-cross", "isolated"])
@pytest.mark.parametrize(
    "instrument, quantity", [("BTC_USDC-PERPETUAL", -5.0), ("BTC-PERPETUAL", 200_000.0)]
)
def test_mark_is_the_mark_as_a_number(name: str, instrument: str, quantity: float) -> None:
    level, rules = load_market(CALM), load_ruleset(name)
    price = level.quotes[instrument].price_mark
    made = [
        make_statement(
            account(
                [{"instrument": instrument, "quantity": quantity, "entry_price": entry}],
                BTC=2.0,
                USDC=150_000.0,
            ),
            level,
            rules,
        )
        for entry in ("mark", price)
    ]
    assert msgspec.json.encode(made[0].liquidation) == msgspec.json.encode(made[1].liquidation)
    assert made[0].totals == made[1].totals
    assert any(x.down.distance or x.up.distance for x in made[0].liquidation)


def test_a_cell_of_the_scan_is_the_change_of_equity() -> None:
    """Cross collateral, volatility held, no tail: the scan says what equity() says there."""
    level, rules = load_market(CALM), load_ruleset("deribit-pm-cross")
    who = account(
        [
            {"instrument": "BTC-27MAR26-50000-C", "quantity": 10},
            {"instrument": "BTC-PERPETUAL", "quantity": 100_000, "entry_price": 40_000},
            {"instrument": "BTC_USDC-PERPETUAL", "quantity": -2, "entry_price": 90_000},
        ],
        BTC=0.5,
        USDC=10_000.0,
    )
    frame = frame_for(book_from_accounts([who]), level, rules)
    need = requirement(frame)
    assert need.scan is not None
    s = frame.table.scenarios
    before = float(equity(frame, need).mm.sum())
    for column in np.flatnonzero((s.vol_state == 0) & ~s.extended):
        names = frame.book.registry.assets
        ratio = np.array([1 + s.move[0, column] if n == "BTC" else 1.0 for n in names])
        there = frame.shocked(ratio)
        change = float(equity(there, requirement(there)).mm.sum()) - before
        assert need.scan.raw[0, column] == pytest.approx(change, abs=1e-6)


def test_paying_a_profit_into_the_balance_changes_nothing() -> None:
    level, rules = load_market(CALM), load_ruleset("deribit-pm-cross")
    mark = level.quotes["BTC-PERPETUAL"].price_mark
    assert mark is not None
    profit = 100_000 * (1 / 40_000 - 1 / mark)
    totals = [
        make_statement(
            account(
                [{"instrument": "BTC-PERPETUAL", "quantity": 100_000, "entry_price": entry}],
                BTC=0.1 + paid,
            ),
            level,
            rules,
            solve=False,
        ).totals
        for entry, paid in ((40_000, 0.0), ("mark", profit))
    ]
    assert totals[0].im == pytest.approx(totals[1].im, rel=1e-12)
    assert totals[0].equity == pytest.approx(totals[1].equity, rel=1e-12)


def test_a_futures_mark_inside_the_window_is_not_averaged_twice() -> None:
    """07:45: 15 of 30 minutes at 51,000, index 50,000: fair is 50,500 until 08:00 and at it."""
    level = market(
        forwards=[
            {
                "underlying": "BTC",
                "expiry": "2026-03-27T08:00:00Z",
                "price_usd": 50_000,
                "settlement_average_usd": 51_000,
            }
        ],
        instruments=[{"instrument": "BTC_USDC-27MAR26", "price_mark": 50_500}],
    )
    who = account(
        [
            {"instrument": "BTC_USDC-27MAR26", "quantity": 1, "entry_price": "mark"},
            {"instrument": "BTC-27MAR26", "quantity": 1_000, "entry_price": "mark"},
        ],
        USDC=1e6,
    )
    book = book_from_accounts([who])
    for moment in ("07:45:00", "07:55:00", "07:59:59", "08:00:00"):
        view = level.at(parse_time(f"2026-03-27T{moment}Z")).view(book.registry)
        assert view.price == pytest.approx([50_500, 50_500])
    view = level.view(book.registry)
    assert view.price_fixed == pytest.approx([25_500, 25_500])


def test_a_listed_future_needs_no_forward_in_the_window() -> None:
    level = market(instruments=[{"instrument": "BTC_USDC-27MAR26", "price_mark": 50_200}])
    who = account([{"instrument": "BTC_USDC-27MAR26", "quantity": 1, "entry_price": "mark"}])
    book = book_from_accounts([who])
    assert level.view(book.registry).price == pytest.approx([50_200])


def test_coin_quoted_spot_follows_both_coins() -> None:
    """100 ETH bought with BTC are worth 250,000 USD whatever BTC does."""
    who = account([{"instrument": "ETH_BTC", "quantity": 100}], USDC=1.0)
    rules = load_ruleset("isolated")
    frame = frame_for(book_from_accounts([who]), market(), rules)
    names = frame.book.registry.assets

    def worth(**ratio: float) -> float:
        there = frame.shocked(np.array([ratio.get(n, 1.0) for n in names]))
        return float(equity(there, requirement(there)).option_value.sum())

    assert worth() == pytest.approx(250_000)
    assert worth(BTC=0.5) == pytest.approx(250_000)
    assert worth(BTC=0.5, ETH=0.5) == pytest.approx(125_000)


@pytest.mark.parametrize("name", ["deribit-sm", "deribit-pm-cross"])
def test_legs_of_one_contract_are_one_position(name: str) -> None:
    def im(*legs: tuple[float, str]) -> float:
        rows = [
            {"instrument": "BTC_USDC-PERPETUAL", "quantity": q, "entry_price": "mark", "leg": leg}
            for q, leg in legs
        ]
        book = book_from_accounts([account(rows, USDC=1e6)])
        return float(requirement(frame_for(book, load_market(CALM), load_ruleset(name))).im.sum())

    assert im((100, "net")) == pytest.approx(im((50, "net"), (50, "long")))
    assert im((100, "long"), (-100, "short")) == pytest.approx(0.0, abs=1e-9)


def test_nothing_is_pooled_where_everything_is_fenced() -> None:
    level = load_market(CALM)
    done = evaluate(
        book_from_accounts([load_account("directional")]), level, load_ruleset("isolated")
    )
    assert tail_cost(done, level).rise == 0.0


def test_no_claim_where_a_charge_is_not_published() -> None:
    who = account(
        [{"instrument": "BTC_USDC-PERPETUAL", "quantity": -200, "entry_price": "mark"}], USDC=9e6
    )
    level = load_market(CALM)
    line = liquidation_prices(
        frame_for(book_from_accounts([who]), level, load_ruleset("deribit-pm-cross"))
    )[0]
    assert line.up.distance is None and 0.2 < (line.up.unknown_beyond or 0) < 0.3
    known = load_ruleset("deribit-pm-cross", overrides={"components.delta_shock.growth": "linear"})
    solved = liquidation_prices(frame_for(book_from_accounts([who]), level, known))[0]
    assert solved.up.distance is not None


def test_a_stable_coin_may_be_stressed_like_any_factor() -> None:
    rules = load_ruleset(
        "deribit-pm-cross",
        overrides={
            "collateral.assets.USDC.stress": "down",
            "scenarios.underlyings.USDC.price_range": 0.05,
        },
    )
    made = make_statement(load_account("short-vol-desk"), load_market(CALM), rules, solve=False)
    dollars = next(g for g in made.groups if g.group == "USDC")
    assert dollars.im_usd == pytest.approx(0.05 * 450_000)


def test_other_accounts_do_not_suffer_from_a_stale_price() -> None:
    base = load_market(CALM)
    old = base.assets["ETH"]
    level = replace(base, assets={**base.assets, "ETH": replace(old, time_ns=old.time_ns - 10**13)})
    good = account([{"instrument": "BTC_USDC-PERPETUAL", "quantity": 1, "entry_price": "mark"}])
    bad = account([{"instrument": "ETH_USDC-PERPETUAL", "quantity": 1, "entry_price": "mark"}])
    bad = msgspec.structs.replace(bad, account="b")
    found = evaluate_book(book_from_accounts([good, bad]), level, load_ruleset("deribit-pm"))
    assert list(found.failures) == [1] and found.failures[1].code == "MKT-002"
    assert np.isfinite(found.im[0])
