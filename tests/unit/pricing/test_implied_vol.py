"""Implied volatility: the round trip where there is information, refusals where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossmargin.errors import PricingError
from crossmargin.pricing import IvStatus, black76, black76_price_delta_vega, implied_vol

EPS = float(np.finfo(float).eps)


def _wide_sample(n: int = 20_000) -> tuple[np.ndarray, ...]:
    """Log-moneyness to ±3, an hour to three years, 1 % to 500 %."""
    rng = np.random.default_rng(3)
    forward = np.exp(rng.uniform(0.0, 12.0, n))
    strike = forward * np.exp(rng.uniform(-3, 3, n) * rng.random(n) ** 2)
    strike[:500] = forward[:500]
    years = np.exp(rng.uniform(np.log(1 / 8760), np.log(3.0), n))
    vol = np.exp(rng.uniform(np.log(0.01), np.log(5.0), n))
    return forward, strike, years, vol, rng.random(n) < 0.5


def test_round_trip_wherever_vega_carries_information() -> None:
    f, k, t, v, c = _wide_sample()
    price, _, vega = black76_price_delta_vega(f, k, t, v, c)
    got = implied_vol(price, f, k, t, c)
    assert np.max(np.abs(got.vol - v)[got.ok]) <= 1e-8
    # The stated criterion, with a margin of two on its noise: none of these may be refused.
    floor = np.maximum(np.where(c, f - k, k - f), 0.0)
    time_value = price - floor
    informed = (
        (vega * 1e-8 > 8 * EPS * price)
        & (time_value > 200 * EPS * price)
        & (time_value > 1e-280 * np.minimum(f, k))
    )
    assert np.count_nonzero(informed) > 10_000
    assert got.ok[informed].all()
    assert np.count_nonzero(got.ok) >= np.count_nonzero(informed)
    assert np.isnan(got.vol[~got.ok]).all()
    assert np.all(got.vol[got.ok] > 0.0)


def test_out_of_the_money_wings_are_not_refused() -> None:
    """A price of 1e-200 of the forward still has its digits, so it still has its volatility."""
    f, k, t, v, c = _wide_sample()
    c = k > f
    price = black76(f, k, t, v, c)
    told = (price > 1e-280 * np.minimum(f, k)) & (v * np.sqrt(t) < 5.0)
    got = implied_vol(price[told], f[told], k[told], t[told], c[told])
    assert got.ok.mean() > 0.9999
    assert np.max(np.abs(got.vol - v[told])[got.ok]) <= 1e-8


def test_in_the_money_price_without_time_value_is_refused() -> None:
    """Deep in the money at small deviation the price is intrinsic to the last digit."""
    strikes = np.array([10_000.0, 20_000.0, 90_000.0])
    calls = np.array([True, True, False])
    price = black76(50_000.0, strikes, 1 / 365, 0.5, calls)
    got = implied_vol(price, 50_000.0, strikes, 1 / 365, calls)
    assert (got.status == IvStatus.NO_INFORMATION).all()
    # The same strikes seen from the other side are fine.
    other = black76(50_000.0, 40_000.0, 1 / 365, 0.5, False)
    assert implied_vol(other, 50_000.0, 40_000.0, 1 / 365, False).vol == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("price", "forward", "strike", "years", "is_call", "status"),
    [
        (9_999.0, 5e4, 4e4, 0.1, True, IvStatus.BELOW_INTRINSIC),
        (-1.0, 5e4, 6e4, 0.1, True, IvStatus.BELOW_INTRINSIC),
        (-1e-300, 5e4, 6e4, 0.1, True, IvStatus.BELOW_INTRINSIC),
        (0.0, 5e4, 6e4, 0.1, True, IvStatus.NO_INFORMATION),
        (10_000.0, 5e4, 4e4, 0.1, True, IvStatus.NO_INFORMATION),
        (50_001.0, 5e4, 5e4, 0.1, True, IvStatus.ABOVE_MAXIMUM),
        (40_001.0, 5e4, 4e4, 0.1, False, IvStatus.ABOVE_MAXIMUM),
        (50_000.0, 5e4, 5e4, 0.1, True, IvStatus.NO_INFORMATION),
        (100.0, 5e4, 5e4, 0.0, True, IvStatus.ABOVE_MAXIMUM),
        (0.0, 5e4, 5e4, 0.0, True, IvStatus.NO_INFORMATION),
        (10_000.0, 5e4, 4e4, 0.0, True, IvStatus.NO_INFORMATION),
        (np.nan, 5e4, 5e4, 0.1, True, IvStatus.INVALID_INPUT),
        (np.inf, 5e4, 5e4, 0.1, True, IvStatus.INVALID_INPUT),
        (100.0, np.nan, 5e4, 0.1, True, IvStatus.INVALID_INPUT),
        (100.0, 0.0, 5e4, 0.1, True, IvStatus.INVALID_INPUT),
        (100.0, 5e4, -5e4, 0.1, True, IvStatus.INVALID_INPUT),
        (100.0, 5e4, 5e4, -0.1, True, IvStatus.INVALID_INPUT),
        (100.0, 5e4, 5e4, np.nan, True, IvStatus.INVALID_INPUT),
        (3426.9703591267603, 5e4, 5e4, 30 / 365, True, IvStatus.OK),
    ],
)
def test_status(
    price: float, forward: float, strike: float, years: float, is_call: bool, status: IvStatus
) -> None:
    got = implied_vol(price, forward, strike, years, is_call)
    assert got.status.shape == got.vol.shape == ()
    assert got.status == status
    assert bool(got.ok) == (status == IvStatus.OK)
    assert bool(np.isnan(got.vol)) == (status != IvStatus.OK)


def test_one_bad_quote_does_not_stop_a_surface() -> None:
    strikes = np.array([40_000.0, 50_000.0, 60_000.0])
    prices = black76(50_000.0, strikes, 0.1, [0.7, 0.6, 0.65], True)
    prices[1] = np.nan
    got = implied_vol(prices, 50_000.0, strikes, 0.1, True)
    assert got.ok.tolist() == [True, False, True]
    assert got.vol[[0, 2]] == pytest.approx([0.7, 0.65], abs=1e-8)


@given(
    st.floats(-2.0, 2.0), st.floats(1 / 8760, 3.0), st.floats(0.01, 5.0), st.booleans(),
    st.floats(1e-3, 1e6),
)  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_given_volatility_reprices(x: float, t: float, v: float, call: bool, f: float) -> None:
    k = f * np.exp(x)
    price = black76(f, k, t, v, call)
    got = implied_vol(price, f, k, t, call)
    if got.ok:
        assert abs(got.vol - v) <= 1e-8
        again = black76(f, k, t, got.vol, call)
        assert abs(again - price) <= 1e-8 * v + 1e-12 * max(f, k)
    else:
        assert got.status == IvStatus.NO_INFORMATION


@given(st.floats(-1e5, 2e5), st.floats(1.0, 1e5), st.floats(1.0, 1e5), st.floats(0.0, 3.0))
@settings(max_examples=200, deadline=None)
def test_any_price_gives_a_defended_number_or_a_reason(
    price: float, f: float, k: float, t: float
) -> None:
    for call in (True, False):
        got = implied_vol(price, f, k, t, call)
        if got.ok:
            again, _, vega = black76_price_delta_vega(f, k, t, got.vol, call)
            assert abs(again - price) <= 2e-8 * vega
        else:
            assert got.status in (
                IvStatus.BELOW_INTRINSIC,
                IvStatus.ABOVE_MAXIMUM,
                IvStatus.NO_INFORMATION,
            )


def test_shapes() -> None:
    got = implied_vol([], 1.0, 1.0, 1.0, True)
    assert got.vol.shape == got.status.shape == (0,)
    grid = implied_vol([[1.0], [2.0]], 10.0, [9.9, 10.0, 10.1], 1.0, True)
    assert grid.vol.shape == (2, 3)
    with pytest.raises(PricingError, match="do not broadcast"):
        implied_vol([1.0, 2.0], [1.0, 2.0, 3.0], 1.0, 1.0, True)
