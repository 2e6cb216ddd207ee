"""Funding: rates from premiums, clamps, payments that sum to zero."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossmargin.errors import MarketDataError
from crossmargin.market import (
    FundingIndex,
    funding_cash,
    funding_rate,
    funding_rule,
    funding_rule_ids,
    funding_rules_from_toml,
    funding_since,
    impact_premium,
)

HOUR = 3_600 * 10**9
CLAMPED = """
format = "crossmargin-funding/1"
[sources.s]
title = "test"
date = "2026-01-01"
[[rules]]
id = "capped"
title = "t"
kind = "interest-clamp"
interval_h = 4.0
interest = 0.0001
band = 0.0005
cap = 0.003
source = "s"
confidence = "house"
"""


class TestInterestClamp:
    @pytest.mark.parametrize("name", ["gate", "binance"])
    @pytest.mark.parametrize(
        ("premium", "rate"),
        [(0.001, 0.0005), (0.0003, 0.0001), (0.0001, 0.0001), (-0.001, -0.0005), (0.0, 0.0001)],
    )
    def test_worked_figures(self, name: str, premium: float, rate: float) -> None:
        made = funding_rate(funding_rule(name), premium)
        assert made.rate == pytest.approx(rate, abs=1e-15) and made.hours == 8.0
        assert made.rate_8h == made.rate and not made.clamped

    @given(st.floats(-0.1, 0.1))
    def test_within_the_band_of_the_premium(self, premium: float) -> None:
        rate = funding_rate(funding_rule("gate"), premium).rate
        assert abs(rate - premium) <= 0.0005 + 1e-15
        if abs(premium - 0.0001) <= 0.0005:
            assert rate == pytest.approx(0.0001, abs=1e-15)

    def test_a_cap_on_the_rate(self) -> None:
        made = funding_rate(funding_rules_from_toml(CLAMPED)["capped"], 0.02)
        assert made.rate == 0.003 and made.clamped and made.rate_8h == 0.006


class TestDerive:
    def test_premium_of_a_book(self) -> None:
        assert impact_premium(101.0, 102.0, 100.0) == pytest.approx(0.01)
        assert impact_premium(98.0, 99.0, 100.0) == pytest.approx(-0.01)
        assert impact_premium(99.0, 101.0, 100.0) == 0.0

    def test_hourly_rate(self) -> None:
        made = funding_rate(funding_rule("derive-v2"), 0.01)
        assert made.rate == pytest.approx(0.01 / 8 + 0.0000125, rel=1e-12) and made.hours == 1.0
        assert made.rate_8h == pytest.approx(0.01 + 0.0001, rel=1e-12)

    @pytest.mark.parametrize("premium", [0.05, -0.05])
    def test_clamped_at_forty_basis_points_an_hour(self, premium: float) -> None:
        made = funding_rate(funding_rule("derive-v2"), premium)
        assert made.rate == math.copysign(0.004, premium) and made.clamped

    def test_index_accrual(self) -> None:
        start = FundingIndex(value=1.0, time_ns=0)
        half = start.accrue(0.0001, 50_000.0, HOUR // 2)
        end = half.accrue(0.0001, 52_000.0, HOUR)
        assert end.value == pytest.approx(1.0 + 2.5 + 2.6, rel=1e-12)
        assert funding_since(2.0, start, end) == pytest.approx(-10.2, rel=1e-12)
        with pytest.raises(MarketDataError, match="MKT-006"):
            end.accrue(0.0, 50_000.0, 0)

    @pytest.mark.parametrize(
        ("bid", "ask", "index", "code"),
        [(102.0, 101.0, 100.0, "MKT-010"), (0.0, 101.0, 100.0, "MKT-009")],
    )
    def test_impossible_books(self, bid: float, ask: float, index: float, code: str) -> None:
        with pytest.raises(MarketDataError, match=code):
            impact_premium(bid, ask, index)


class TestPayments:
    def test_a_long_pays(self) -> None:
        assert float(funding_cash(2.0, 50_000.0, 0.0001)) == pytest.approx(-10.0, rel=1e-12)

    def test_inverse_pays_in_coin(self) -> None:
        paid = float(funding_cash(50_000.0, 40_000.0, 0.0001, inverse=True))
        assert paid == pytest.approx(-50_000 / 40_000 * 0.0001, rel=1e-12)

    @given(
        st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30),
        st.floats(0.01, 1e6),
        st.floats(-0.05, 0.05),
        st.booleans(),
    )
    def test_payments_sum_to_zero(
        self, held: list[float], mark: float, rate: float, inverse: bool
    ) -> None:
        quantity = np.array([*held, -math.fsum(held)])
        cash = funding_cash(quantity, mark, rate, inverse=inverse)
        assert abs(math.fsum(cash)) <= 1e-12 * max(1e-300, float(np.abs(cash).sum()))

    def test_impossible_figures(self) -> None:
        for args in ((1.0, 0.0, 0.1), (1.0, math.nan, 0.1), (math.inf, 1.0, 0.1)):
            with pytest.raises(MarketDataError, match="MKT-009"):
                funding_cash(*args)
        with pytest.raises(MarketDataError, match="MKT-009"):
            funding_rate(funding_rule("gate"), math.nan)


class TestCatalogue:
    def test_what_is_not_known_says_so(self) -> None:
        assert funding_rule_ids() == ["binance", "derive-v2", "gate"]
        assert funding_rule("binance").confidence == "unconfirmed"
        assert all(funding_rule(name).source for name in funding_rule_ids())
        with pytest.raises(MarketDataError, match="One of binance"):
            funding_rule("nowhere")

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("band = 0.0005", "band = -1.0"),
            ("band = 0.0005", "band = nan"),
            ("interest = 0.0001", "interest = inf"),
            ("interval_h = 4.0", "interval_h = 0.0"),
            ('source = "s"', 'source = "t"'),
            ('kind = "interest-clamp"', 'kind = "magic"'),
            ("cap = 0.003", "cap = 0.003\nextra = 1"),
            ("[[rules]]", "[[rules"),
        ],
    )
    def test_malformed_rules_are_refused(self, old: str, new: str) -> None:
        with pytest.raises(MarketDataError, match="MKT-014"):
            funding_rules_from_toml(CLAMPED.replace(old, new))

    def test_an_id_twice_is_refused(self) -> None:
        rule = CLAMPED[CLAMPED.index("[[rules]]") :]
        with pytest.raises(MarketDataError, match="twice"):
            funding_rules_from_toml(CLAMPED + rule)
