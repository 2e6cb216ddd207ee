"""Benchmarks on the recorded history (not in this repository): twenty books and more."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from crossmargin.validation import (
    Backtest,
    HistoricalEs,
    MarketHistory,
    NormalVar,
    OfLosses,
    house_portfolios,
    make_setting,
    proxy_error,
    read_history,
    run_backtest,
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


def test_error_of_the_volatility_proxy(folder: Path) -> None:
    if not (folder / "deribit_options_2026q1.parquet").is_file():
        pytest.skip("no recorded chains in CROSSMARGIN_DATA")
    found = proxy_error(folder, FILE.held, every=24)
    assert found.snapshots >= 10
    assert found.straddle_typical < 0.06
    middle = [b for b in found.buckets if b.days == (10.0, 45.0) and b.sigmas == (-0.25, 0.25)]
    assert middle[0].typical < 0.03
