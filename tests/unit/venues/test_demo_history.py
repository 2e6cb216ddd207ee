"""The demo's made-up closes, and the house model on the demo's accounts out of the box."""

from __future__ import annotations

import json

import numpy as np
import pytest

from crossmargin.cli import main
from crossmargin.errors import InputError
from crossmargin.market import read_factor_history
from crossmargin.venues import (
    account_names,
    history_names,
    load_market,
    market_names,
    shipped_history,
)
from crossmargin.venues._demo_history import made_up_closes, write_demo_history


def test_drawing_again_gives_what_is_shipped(tmp_path) -> None:
    again = read_factor_history(write_demo_history(tmp_path))
    with shipped_history("made-up") as path:
        shipped = read_factor_history(path)
    assert again.days == shipped.days and again.coins == shipped.coins == ("BTC", "ETH")
    # The last digit of a logarithm depends on the processor.
    np.testing.assert_allclose(again.price, shipped.price, rtol=2e-5)
    assert made_up_closes() == made_up_closes()


def test_they_have_what_a_rule_set_that_looks_back_needs() -> None:
    with shipped_history("made-up") as path:
        past = read_factor_history(path)
    assert len(past.days) == 1_500 and past.days[-1] == "2026-02-04"
    r = past.returns
    assert np.corrcoef(r.T)[0, 1] == pytest.approx(0.8, abs=0.05)
    z = (r - r.mean(axis=0)) / r.std(axis=0)
    assert ((z**4).mean(axis=0) > 4.0).all()  # fatter than a normal, whose figure is 3
    calm = np.corrcoef(r[1:, 0] ** 2, r[:-1, 0] ** 2)[0, 1]
    assert calm > 2.0 / np.sqrt(len(r))  # waves: squares follow each other


def test_unknown_history() -> None:
    assert history_names() == ["made-up"]
    with pytest.raises(InputError, match=r"INP-030.*made-up"), shipped_history("nope"):
        pass


@pytest.mark.parametrize("market", market_names())
def test_demo_markets_say_their_liquidity_and_where_it_is_from(market: str) -> None:
    found = load_market(market).liquidity
    assert sorted(found) == ["BTC", "ETH"]
    for one in found.values():
        assert one.adv_coins and one.sigma_daily and one.half_spread
        assert "Binance" in one.source and "half-spread made up" in one.source


@pytest.mark.parametrize("market", market_names())
def test_house_takes_every_demo_account(market: str, capsys: pytest.CaptureFixture[str]) -> None:
    for name in account_names():
        options = ["--market", market, "--ruleset", "house", "--history", "made-up", "--json"]
        assert main(["margin", name, *options]) == 0
        made = json.loads(capsys.readouterr().out)
        assert made["totals"]["im"] > 0
        assert any("made-up.csv" in note for note in made["notes"])
