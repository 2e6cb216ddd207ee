"""Gauges of the report: they agree with the trigger, with the frontier's runway, and are drawn."""

from __future__ import annotations

import math

import pytest
from tests.helpers import PERP, account, fixture_g, flat_rate, rules

from crossmargin.analytics import daily_sigma, profiles, watch_gauges
from crossmargin.book import book_from_accounts
from crossmargin.margin import CarriedAccount, evaluate, make_statement
from crossmargin.reports import render_report

RULES = rules(flat_rate(0.10, 0.05))


def gauges(quantity: float, cash: float):
    who, market = account((PERP, quantity, 50_000), balances={"USDC": cash}), fixture_g()
    lines = profiles(evaluate(book_from_accounts([who]), market, RULES))
    return watch_gauges(lines, CarriedAccount(who, market, RULES), market), who


def test_distance_in_price_and_sigma() -> None:
    found, _ = gauges(1.0, 10_000.0)
    (one,) = found.distances
    # 10,000 − (50,000 − P) = 5 % of P at 42,105.26: −15.79 %; the profile's points are 1 % apart.
    assert one.down == pytest.approx(42_105.263158 / 50_000 - 1, abs=1e-9)
    assert one.up is None
    assert one.sigma_day == pytest.approx(0.6 / math.sqrt(365))
    assert one.days_moves(one.down) == pytest.approx(
        math.log(50_000 / 42_105.263158) / (0.6 / math.sqrt(365)), rel=1e-6
    )


def test_a_short_looks_up_and_an_account_below_its_line_is_there() -> None:
    (one,) = gauges(-1.0, 10_000.0)[0].distances
    assert one.down is None
    assert one.up == pytest.approx(60_000 / 1.05 / 50_000 - 1, abs=1e-9)
    (gone,) = gauges(1.0, 2_000.0)[0].distances
    assert gone.down == 0.0


def test_funding() -> None:
    found, _ = gauges(1.0, 10_000.0)
    # 0.01 % in eight hours on 50,000; 7,500 above the line.
    assert found.runway.usd_per_hour == pytest.approx(-50_000 * 0.0001 / 8)
    assert found.runway.hours == pytest.approx(7_500 / (50_000 * 0.0001 / 8))
    assert daily_sigma(fixture_g(), "ETH") is None


def test_the_pictures() -> None:
    found, who = gauges(1.0, 10_000.0)
    made = make_statement(who, fixture_g(), RULES)
    page = render_report(made, (), gauges=found)
    for words in ("How far to liquidation", "Distance in BTC", "5.5 σ", "Funding alone", "-15.8"):
        assert words in page.replace("−", "-"), words
    assert "How far to liquidation" not in render_report(made, ())
