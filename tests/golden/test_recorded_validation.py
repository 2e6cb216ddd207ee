"""Benchmarks on the recorded history (not in this repository): twenty books and more."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import numpy as np
import pytest

from crossmargin.margin import load_ruleset
from crossmargin.validation import (
    Backtest,
    HistoricalEs,
    MarketHistory,
    NormalVar,
    OfLosses,
    OfTail,
    house_portfolios,
    make_setting,
    proxy_error,
    read_history,
    run_backtest,
    tail_of,
    verdict,
)

FILE = house_portfolios()


@pytest.fixture(scope="module")
def folder() -> Path:
    named = os.environ.get("CROSSMARGIN_DATA")
    if not named or not (Path(named) / "binance_spot_1h.parquet").is_file():
        pytest.skip("CROSSMARGIN_DATA is not set: margins are not held against recorded prices")
    return Path(named)


@pytest.fixture(scope="module")
def history(folder: Path) -> MarketHistory:
    return read_history(folder)


@pytest.fixture(scope="module")
def made(history: MarketHistory) -> Backtest:
    setting = make_setting(FILE.portfolios, history, FILE.held)
    return run_backtest(
        [OfLosses(NormalVar()), OfLosses(HistoricalEs())], setting, crashes=FILE.crashes
    )


def test_known_days_of_the_history(history: MarketHistory) -> None:
    """Falls that the data's own description states: a low is no close, so closes lie above."""
    btc = dict(zip(history.days, history.price[:, history.column("BTC")], strict=True))
    assert 4_500 < btc["2020-03-12"] < 5_500
    assert 15_500 < btc["2022-11-09"] < 17_000
    assert 60_000 < btc["2026-02-05"] < 66_000
    vol = dict(zip(history.days, history.vol[:, history.column("BTC")], strict=True))
    assert vol["2022-11-09"] == pytest.approx(1.1472)
    assert history.filled < 30


def test_twenty_books_from_2019_with_every_crisis(made: Backtest) -> None:
    tests = made.models[0].tests
    assert len(tests) >= 20 and not made.untested
    long = made.models[0].on("long-btc")
    assert long is not None
    assert long.days[0] == "2019-05-16" and long.hits.size > 2_500
    assert all(line.days > 0 for line in long.crashes)
    assert long.crashes[0].breaches >= 1 and long.crashes[0].worst > 2
    straddle = made.models[0].on("short-straddle")
    assert straddle is not None and straddle.book.synthetic
    assert straddle.days[0] >= "2023-07-01"
    assert sum(one.book.group == "wrong-way" for one in tests) >= 4


def test_normal_var_is_rejected_and_historical_es_is_not(made: Backtest) -> None:
    normal, plain = (verdict(model, 0.99) for model in made.models)
    assert normal.word == "rejected" and len(normal.too_many) >= 10
    assert not plain.too_many


def test_every_breach_is_a_loss_beyond_what_was_held(made: Backtest) -> None:
    for model in made.models:
        for one in model.tests:
            assert np.array_equal(one.hits, one.loss > one.margin + 1e-9 * one.book.gross_usd)


def test_basis_books_are_covered_by_the_house_model(history: MarketHistory) -> None:
    """Coins held against their perpetuals to the end of 2022, when ETH's funding ran away."""
    house = load_ruleset("house")
    spec = tail_of(house)
    assert spec is not None
    past = history.between("2019-01-01", "2022-12-31")
    books = [book for book in FILE.portfolios if book.group == "basis"]
    setting = make_setting(books, past, FILE.held)
    made = run_backtest([OfTail(ruleset=house, spec=spec)], setting).models[0]
    for one in made.tests:
        assert one.coverage >= 0.995 and one.hits.size > 600
        # A coin needs an eighth and more of its worth alone, this a hundredth at most.
        assert 0.001 < one.margin.mean() / 1e6 < 0.01
        assert one.explained is not None and one.explained.zone == "green"
    eth = made.on("basis-eth")
    assert eth is not None
    breached = [day for day, hit in zip(eth.days, eth.hits, strict=True) if hit]
    assert set(breached) <= {"2022-09-12", "2022-09-13", "2022-09-14", "2022-09-15"}
    still = msgspec.structs.replace(spec, basis=None)
    bare = run_backtest([OfTail(ruleset=house, spec=still)], setting).models[0]
    assert all(one.coverage < 0.9 for one in bare.tests)


def test_error_of_the_volatility_proxy(folder: Path) -> None:
    if not (folder / "deribit_options_2026q1.parquet").is_file():
        pytest.skip("no recorded chains in CROSSMARGIN_DATA")
    found = proxy_error(folder, FILE.held, every=24)
    assert found.snapshots >= 10
    assert found.straddle_typical < 0.06
    middle = [b for b in found.buckets if b.days == (10.0, 45.0) and b.sigmas == (-0.25, 0.25)]
    assert middle[0].typical < 0.03
