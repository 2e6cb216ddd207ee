"""Static arbitrage: planted violations are found, clean surfaces are not accused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr

from crossmargin.errors import MarketDataError
from crossmargin.market.arbitrage import (
    butterfly_violations,
    calendar_quote_violations,
    calendar_violations,
    call_price_violations,
    durrleman_g,
    quote_violations,
    slice_grid,
)
from crossmargin.market.svi import SviSlice

FORWARD, YEARS = 50_000.0, 30.0 / 365.0
STRIKES = np.linspace(30_000.0, 80_000.0, 26)


def black_call(strike: np.ndarray, vol: float | np.ndarray, years: float = YEARS) -> np.ndarray:
    deviation = vol * math.sqrt(years)
    d1 = np.log(FORWARD / strike) / deviation + 0.5 * deviation
    return FORWARD * ndtr(d1) - strike * ndtr(d1 - deviation)


def smile(**changes: float) -> SviSlice:
    values = {
        "a": 0.01,
        "b": 0.04,
        "rho": -0.2,
        "m": 0.0,
        "sigma": 0.15,
        "forward_usd": FORWARD,
        "years": YEARS,
        "k_min": -0.5,
        "k_max": 0.5,
    }
    return SviSlice(**(values | changes))


VOGT = smile(
    a=-0.0410, b=0.1331, rho=0.3060, m=0.3586, sigma=0.4153, years=1.0, k_min=-1.5, k_max=1.5
)


class TestButterfly:
    def test_flat_smile_has_g_of_one(self) -> None:
        flat = smile(b=0.0)
        np.testing.assert_array_equal(durrleman_g(flat, [-1.0, 0.0, 1.0]), 1.0)
        assert butterfly_violations(flat) == []

    def test_published_example_is_flagged(self) -> None:
        # Gatheral and Jacquier (2014), section 3.1, figure 1: negative density right of the money.
        (found,) = butterfly_violations(VOGT)
        assert found.kind == "butterfly" and found.unit == "g"
        assert 0.6 < found.k_from < found.k < found.k_to < 1.3
        assert found.amount == pytest.approx(-float(durrleman_g(VOGT, found.k)), rel=1e-12)
        assert found.strike_usd == pytest.approx(FORWARD * math.exp(found.k))
        assert str(found).startswith("butterfly 365.00d: 0.0329 g at strike")
        assert butterfly_violations(VOGT, tolerance=0.04) == []

    def test_g_is_the_density(self) -> None:
        # The second derivative of Black prices along the slice has g's value and sign.
        k = np.linspace(-1.2, 1.4, 53)
        strike, h = FORWARD * np.exp(k), 10.0
        call = [black_call(strike + d, VOGT.vol(strike + d), 1.0) for d in (-h, 0.0, h)]
        density = (call[0] - 2.0 * call[1] + call[2]) / h**2
        w = VOGT.total_variance(k)
        d2 = -k / np.sqrt(w) - 0.5 * np.sqrt(w)
        factor = np.exp(-0.5 * d2**2) / (strike * np.sqrt(2.0 * math.pi * w))
        np.testing.assert_allclose(factor * durrleman_g(VOGT, k), density, atol=1e-10)

    def test_touching_zero_variance_is_not_a_density(self) -> None:
        touching = smile(a=-0.04 * 0.15, rho=0.0)
        assert durrleman_g(touching, 0.0) == 1.0 or durrleman_g(touching, 0.0) == -math.inf
        assert butterfly_violations(touching)

    def test_own_grid(self) -> None:
        assert butterfly_violations(VOGT, np.linspace(-1.0, 0.5, 50)) == []


class TestCalendar:
    def test_planted_crossing_is_flagged_where_it_is(self) -> None:
        near, far = smile(), smile(years=2 * YEARS, a=0.0145, b=0.02)
        (left, right) = calendar_violations(near, far)
        assert left.k_to < 0.0 < right.k_from
        assert left.k == -0.5 and right.k == 0.5
        assert left.amount == pytest.approx(
            float(near.total_variance(-0.5) - far.total_variance(-0.5))
        )
        assert left.years_far == 2 * YEARS
        assert "30.00d->60.00d" in str(left)

    def test_more_time_at_equal_vol_is_clean(self) -> None:
        assert calendar_violations(smile(), smile(years=2 * YEARS, a=0.02, b=0.08)) == []
        assert calendar_violations(smile(), smile(years=2 * YEARS)) == []

    def test_only_the_common_range_by_default(self) -> None:
        near, far = smile(k_max=0.1), smile(years=2 * YEARS, a=0.0145, b=0.02, k_min=-0.1)
        assert calendar_violations(near, far) == []
        assert calendar_violations(near, far, [-0.5, 0.0, 0.5])
        assert slice_grid(smile(k_max=-0.1), smile(k_min=0.1)).size == 0
        assert calendar_violations(smile(k_max=-0.1), smile(k_min=0.1, years=1.0)) == []

    def test_order_of_time(self) -> None:
        with pytest.raises(MarketDataError, match="MKT-112"):
            calendar_violations(smile(), smile())


class TestQuotes:
    @settings(max_examples=60, deadline=None)
    @given(st.floats(0.05, 3.0), st.floats(0.0005, 3.0))
    def test_clean_black_surface_is_not_accused(self, vol: float, years: float) -> None:
        # Exact, and rounded to the venue's quote step.
        assert quote_violations(STRIKES, np.full(26, vol), FORWARD, years, tolerance_vol=0.0) == []
        rounded = np.round(np.full(26, vol), 4)
        assert quote_violations(STRIKES, rounded, FORWARD, years) == []

    def test_rounded_smile_is_not_accused(self) -> None:
        vol = smile().vol(STRIKES)
        assert quote_violations(STRIKES, np.round(vol, 4), FORWARD, YEARS) == []

    @pytest.mark.parametrize(
        ("index", "change", "kind"),
        [
            (13, 400.0, "call_concave"),
            (14, 900.0, "call_rising"),
            (8, -3_000.0, "call_bounds"),
            (6, -900.0, "call_steep"),
        ],
    )
    def test_planted_price_is_flagged(self, index: int, change: float, kind: str) -> None:
        price = black_call(STRIKES, 0.6)
        assert call_price_violations(STRIKES, price, FORWARD, YEARS) == []
        price[index] += change
        found = call_price_violations(STRIKES, price, FORWARD, YEARS)
        (hit,) = [
            one
            for one in found
            if one.kind == kind and one.k_from <= np.log(STRIKES[index] / FORWARD) <= one.k_to
        ][:1]
        assert hit.unit == "usd" and 0.0 < hit.amount <= abs(change)

    def test_size_of_a_planted_butterfly(self) -> None:
        price = black_call(STRIKES, 0.6)
        honest = 0.5 * (price[12] + price[14]) - price[13]
        price[13] += honest + 25.0
        (found,) = call_price_violations(STRIKES, price, FORWARD, YEARS)
        assert found.amount == pytest.approx(25.0, abs=1e-8)
        assert found.strike_usd == pytest.approx(STRIKES[13])
        assert call_price_violations(STRIKES, price, FORWARD, YEARS, tolerance_usd=13.0) == []

    def test_planted_vol_is_flagged(self) -> None:
        vol = smile().vol(STRIKES)
        vol[10] += 0.05
        kinds = {one.kind for one in quote_violations(STRIKES, vol, FORWARD, YEARS)}
        assert "call_concave" in kinds

    def test_calendar_of_quotes(self) -> None:
        near, far = np.full(26, 0.6), np.full(26, 0.6)
        shifted = STRIKES * 1.02
        arguments = (STRIKES, near, FORWARD, YEARS, shifted, far, FORWARD * 1.02)
        assert calendar_quote_violations(*arguments, 2 * YEARS) == []
        assert calendar_quote_violations(*arguments, YEARS * 1.001) == []
        low = far.copy()
        low[13] = 0.4
        (found,) = calendar_quote_violations(*arguments[:5], low, FORWARD * 1.02, 2 * YEARS)
        assert found.k == pytest.approx(math.log(STRIKES[13] / FORWARD))
        assert found.amount == pytest.approx((0.36 - 0.32) * YEARS, rel=0.01)

    @pytest.mark.parametrize(
        ("strike", "price"),
        [([1.0, 2.0], [1.0]), ([], []), ([2.0, 1.0], [1.0, 1.0]), ([1.0, 2.0], [1.0, math.nan])],
    )
    def test_refusals(self, strike: list[float], price: list[float]) -> None:
        with pytest.raises(MarketDataError, match="MKT-103"):
            call_price_violations(strike, price, 1.0, 1.0)
