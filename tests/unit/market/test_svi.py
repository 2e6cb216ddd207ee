"""Raw SVI slices, their fit, and forward curves."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossmargin.errors import MarketDataError
from crossmargin.market._svi_solver import SmileData, to_vector
from crossmargin.market.arbitrage import butterfly_violations, calendar_violations, durrleman_g
from crossmargin.market.fit import (
    SmileQuotes,
    _flattened,
    fit_surface,
    fit_svi,
    otm_mask,
    vega_weight,
)
from crossmargin.market.forwards import ForwardCurve, forward_from_parity
from crossmargin.market.svi import SviSlice
from crossmargin.units import NS_PER_DAY, NS_PER_YEAR

FORWARD = 78_400.0


def smile(**changes: float) -> SviSlice:
    values = {
        "a": 0.004,
        "b": 0.05,
        "rho": -0.25,
        "m": 0.02,
        "sigma": 0.12,
        "forward_usd": FORWARD,
        "years": 30.0 / 365.0,
        "k_min": -0.6,
        "k_max": 0.7,
    }
    return SviSlice(**(values | changes))


class TestSlice:
    def test_formula_at_hand_checked_points(self) -> None:
        one = smile()
        # At the vertex k = m: w = a + b sigma. 0.5 to the right: sqrt(0.25 + 0.0144).
        assert float(one.total_variance(0.02)) == pytest.approx(0.004 + 0.05 * 0.12, abs=1e-16)
        by_hand = 0.004 + 0.05 * (-0.25 * 0.5 + math.sqrt(0.2644))
        assert float(one.total_variance(0.52)) == pytest.approx(by_hand, abs=1e-16)
        lowest = 0.02 + 0.25 * 0.12 / math.sqrt(1.0 - 0.0625)
        assert float(one.total_variance(lowest)) == pytest.approx(one.min_total_variance, abs=1e-16)
        assert float(one.total_variance_slope(lowest)) == pytest.approx(0.0, abs=1e-15)

    def test_vol_is_sticky_by_strike_unless_a_forward_is_given(self) -> None:
        one = smile()
        strikes = np.array([60_000.0, 78_400.0, 95_000.0])
        expected = np.sqrt(one.total_variance(np.log(strikes / FORWARD)) / one.years)
        np.testing.assert_array_equal(one.vol(strikes), expected)
        np.testing.assert_allclose(one.vol(strikes * 1.16, FORWARD * 1.16), expected, rtol=1e-13)
        assert one.vol(strikes.reshape(3, 1), [FORWARD, 70_000.0]).shape == (3, 2)
        assert one.atm_vol == float(one.vol(FORWARD))

    def test_derivatives_match_differences(self) -> None:
        one, k, h = smile(), np.linspace(-2.0, 2.0, 41), 1e-4
        up, mid, down = (one.total_variance(k + d) for d in (h, 0.0, -h))
        np.testing.assert_allclose(one.total_variance_slope(k), (up - down) / (2 * h), atol=1e-8)
        np.testing.assert_allclose(
            one.total_variance_curvature(k), (up - 2 * mid + down) / h**2, atol=1e-6
        )

    def test_wings_are_linear_with_the_stated_slopes(self) -> None:
        one = smile()
        assert float(one.total_variance_slope(50.0)) == pytest.approx(0.05 * 0.75, rel=1e-4)
        assert float(one.total_variance_slope(-50.0)) == pytest.approx(-0.05 * 1.25, rel=1e-4)

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"b": -0.01}, "b"),
            ({"rho": 1.01}, "rho"),
            ({"sigma": 0.0}, "sigma"),
            ({"years": 0.0}, "years"),
            ({"forward_usd": -1.0}, "forward_usd"),
            ({"a": -0.01}, "a"),
            ({"a": math.nan}, "a"),
            ({"b": 1.61, "rho": 0.25}, "b"),
            ({"k_min": 0.8}, "k_min"),
        ],
    )
    def test_refuses_what_is_no_smile(self, changes: dict[str, float], field: str) -> None:
        with pytest.raises(MarketDataError) as caught:
            smile(**changes)
        assert (caught.value.code, caught.value.field) == ("MKT-110", field)

    def test_lee_bound_itself_is_allowed(self) -> None:
        assert smile(b=1.6, rho=0.25).b == 1.6

    def test_refuses_strikes_and_forwards_that_are_not_positive(self) -> None:
        for strike, forward in ((0.0, None), (math.nan, None), (FORWARD, 0.0)):
            with pytest.raises(MarketDataError, match="MKT-111"):
                smile().vol(strike, forward)


@st.composite
def clean_smiles(draw: st.DrawFn) -> SviSlice:
    """Smiles without butterfly arbitrage, from hours to years, calm to wild."""
    years = 10.0 ** draw(st.floats(-3.0, 0.3))
    deviation = draw(st.floats(0.3, 2.0)) * math.sqrt(years)
    rho = draw(st.floats(-0.8, 0.8))
    sigma = deviation * 10.0 ** draw(st.floats(-0.4, 0.6))
    steepest = min(2.0 / (1.0 + abs(rho)), deviation)
    b = steepest * draw(st.floats(0.05, 0.7))
    lowest = deviation**2 * draw(st.floats(0.4, 1.0))
    return SviSlice(
        a=lowest - b * sigma * math.sqrt(1.0 - rho * rho),
        b=b,
        rho=rho,
        m=deviation * draw(st.floats(-0.5, 0.5)),
        sigma=sigma,
        forward_usd=FORWARD,
        years=years,
        k_min=-4.0 * deviation,
        k_max=4.0 * deviation,
    )


class TestFit:
    @settings(max_examples=40, deadline=None)
    @given(clean_smiles())
    def test_round_trip(self, true: SviSlice) -> None:
        if butterfly_violations(true):
            return
        strike = FORWARD * np.exp(np.linspace(true.k_min, true.k_max, 21))
        fit = fit_svi(strike, true.vol(strike), FORWARD, true.years)
        assert fit.max_error < 1e-8
        np.testing.assert_allclose(fit.slice.vol(strike), true.vol(strike), rtol=1e-8)

    def test_round_trip_of_the_parameters(self) -> None:
        true = smile()
        strike = FORWARD * np.exp(np.linspace(-0.6, 0.7, 25))
        fit = fit_svi(strike, true.vol(strike), FORWARD, true.years)
        for name in ("a", "b", "rho", "m", "sigma"):
            assert getattr(fit.slice, name) == pytest.approx(getattr(true, name), abs=1e-8)
        assert (fit.slice.k_min, fit.slice.k_max) == pytest.approx((-0.6, 0.7))
        assert fit.converged and fit.butterfly_free and fit.n == 25

    @settings(max_examples=25, deadline=None)
    @given(
        st.integers(0, 2**32 - 1),
        st.integers(5, 40),
        st.floats(-3.3, 0.3),
        st.floats(0.0, 0.6),
    )
    def test_any_quotes_give_a_density(
        self, seed: int, n: int, log_years: float, noise: float
    ) -> None:
        rng = np.random.default_rng(seed)
        years = 10.0**log_years
        level = rng.uniform(0.2, 2.0)
        k = np.sort(rng.normal(0.0, 1.5 * level * math.sqrt(years), n))
        vol = level * np.exp(rng.normal(0.0, noise, n))
        fit = fit_svi(FORWARD * np.exp(k), vol, FORWARD, years)
        grid = np.linspace(k[0], k[-1], 401)
        assert fit.slice.min_total_variance >= 0.0
        assert np.min(durrleman_g(fit.slice, grid)) >= -1e-9
        wings = np.abs(fit.slice.total_variance_slope([-50.0, 50.0]))
        assert np.all(wings <= 2.0)

    def test_flat_smile(self) -> None:
        strike = np.linspace(50_000.0, 110_000.0, 13)
        fit = fit_svi(strike, np.full(13, 0.6), FORWARD, 0.1)
        np.testing.assert_allclose(fit.slice.vol(strike), 0.6, atol=1e-8)
        assert fit.min_g == pytest.approx(1.0, abs=1e-6)

    def test_quotes_with_a_butterfly_give_a_fit_without(self) -> None:
        # A smile with a negative density between k = 0.65 and 1.25: the parameters are those of
        # Axel Vogt's example, given by Gatheral and Jacquier (2014), section 3.1.
        vogt = SviSlice(
            a=-0.0410,
            b=0.1331,
            rho=0.3060,
            m=0.3586,
            sigma=0.4153,
            forward_usd=1.0,
            years=1.0,
            k_min=-1.5,
            k_max=1.5,
        )
        assert butterfly_violations(vogt)
        strike = np.exp(np.linspace(-1.5, 1.5, 31))
        fit = fit_svi(strike, vogt.vol(strike), 1.0, 1.0)
        assert fit.butterfly_free and not butterfly_violations(fit.slice)
        assert 0.001 < fit.max_error < 0.05

    def test_last_resort_flattens_only_as_far_as_needed(self) -> None:
        bad = smile(a=-0.0410, b=0.1331, rho=0.3060, m=0.3586, sigma=0.4153, years=1.0)
        strike = FORWARD * np.exp(np.linspace(-1.5, 1.5, 31))
        data = SmileData.of(strike, bad.vol(strike), FORWARD, 1.0, np.ones(31))
        fit = _flattened(data, (to_vector(bad), 0.0, True))
        assert fit.butterfly_free
        assert fit.slice.b < bad.b and fit.min_g < 1e-6, "no further than to the edge"

    def test_same_input_same_bytes_and_any_order(self) -> None:
        rng = np.random.default_rng(5)
        strike = np.linspace(60_000.0, 100_000.0, 21)
        vol = smile().vol(strike) + rng.normal(0.0, 0.005, 21)
        first, again = (fit_svi(strike, vol, FORWARD, 0.08) for _ in range(2))
        assert first == again
        turned = fit_svi(strike[::-1], vol[::-1], FORWARD, 0.08)
        np.testing.assert_allclose(turned.slice.vol(strike), first.slice.vol(strike), atol=1e-7)

    def test_weights_pull_the_fit(self) -> None:
        strike = np.linspace(60_000.0, 100_000.0, 21)
        vol = smile().vol(strike)
        bent = vol.copy()
        bent[8] += 0.03
        far = strike != strike[8]
        heavy = fit_svi(strike, bent, FORWARD, 30 / 365, np.where(far, 1.0, 1e-9))
        equal = fit_svi(strike, bent, FORWARD, 30 / 365, np.ones(21))
        assert np.max(np.abs(heavy.slice.vol(strike) - vol)) < 1e-6
        assert np.max(np.abs(equal.slice.vol(strike) - vol)) > 1e-3

    def test_errors_measured_between_10_and_90_delta(self) -> None:
        strike = np.linspace(40_000.0, 140_000.0, 41)
        fit = fit_svi(strike, smile().vol(strike), FORWARD, 30 / 365)
        assert 0 < fit.n_10_90 < fit.n
        far = fit_svi(FORWARD * np.exp(np.linspace(2.0, 3.0, 6)), np.full(6, 0.5), FORWARD, 0.1)
        assert far.rmse_vol_10_90 is None and far.n_10_90 == 0

    def test_refusals(self) -> None:
        strike, vol = np.linspace(70_000.0, 90_000.0, 6), np.full(6, 0.5)
        cases = [
            ((strike[:4], vol[:4], FORWARD, 0.1), "MKT-101"),
            ((np.full(6, 70_000.0), vol, FORWARD, 0.1), "MKT-101"),
            ((strike, np.append(vol[:5], math.nan), FORWARD, 0.1), "MKT-102"),
            ((strike, -vol, FORWARD, 0.1), "MKT-102"),
            ((strike, vol, 0.0, 0.1), "MKT-102"),
            ((strike, vol, FORWARD, -0.1), "MKT-102"),
            ((strike, vol[:5], FORWARD, 0.1), "MKT-103"),
            ((strike, vol, FORWARD, 0.1, np.ones(5)), "MKT-103"),
        ]
        for arguments, code in cases:
            with pytest.raises(MarketDataError) as caught:
                fit_svi(*arguments)
            assert caught.value.code == code
        with pytest.raises(MarketDataError, match="5 different strikes or more, got 4"):
            fit_svi(strike[:4], vol[:4], FORWARD, 0.1)

    def test_vega_weight(self) -> None:
        strike = np.array([20_000.0, 78_400.0, 300_000.0])
        weight = vega_weight(strike, np.full(3, 0.5), FORWARD, 0.1)
        assert weight[1] == pytest.approx(1.0, abs=0.01)
        assert weight[0] == weight[2] == 0.002
        lowered = vega_weight(strike, np.full(3, 0.5), FORWARD, 0.1, two_sided=[True, False, False])
        np.testing.assert_allclose(lowered, weight * [1.0, 0.25, 0.25])

    def test_otm_mask(self) -> None:
        strike = [70.0, 70.0, 100.0, 100.0, 130.0, 130.0]
        call = [True, False, True, False, True, False]
        assert otm_mask(strike, call, 100.0).tolist() == [False, True, True, False, True, False]


class TestSurface:
    def quotes(self, level: float, days: float) -> SmileQuotes:
        years = days / 365.0
        k = np.linspace(-2.5, 2.5, 21) * level * math.sqrt(years)
        vol = level * (1.0 + 0.08 * (k / (level * math.sqrt(years))) ** 2)
        return SmileQuotes(
            strike=FORWARD * np.exp(k),
            vol=vol,
            forward_usd=FORWARD,
            years=years,
            expiry_ns=int(days * NS_PER_DAY),
        )

    def test_clean_term_structure_is_left_alone(self) -> None:
        given_ = [self.quotes(0.5, days) for days in (30.0, 7.0, 90.0)]
        surface = fit_surface(given_)
        assert surface.fits == surface.unrepaired and not surface.calendar
        assert surface.expiry_ns == tuple(int(d * NS_PER_DAY) for d in (7.0, 30.0, 90.0))

    def test_crossing_is_repaired_by_the_later_expiry(self) -> None:
        # 1.0 * sqrt(7) > 0.9 * sqrt(8): the second expiry has less total variance.
        surface = fit_surface([self.quotes(1.0, 7.0), self.quotes(0.9, 8.0)])
        near, far = (fit.slice for fit in surface.unrepaired)
        assert calendar_violations(near, far)
        assert not surface.calendar
        assert surface.fits[0] is surface.unrepaired[0]
        assert not calendar_violations(*(fit.slice for fit in surface.fits))
        assert all(fit.butterfly_free for fit in surface.fits)
        moved = surface.fits[1].rmse_vol
        assert 0.01 < moved < 0.1, "the price of the repair is shown in the errors"

    def test_two_quotes_of_one_expiry_are_refused(self) -> None:
        with pytest.raises(MarketDataError, match="MKT-112"):
            fit_surface([self.quotes(0.5, 7.0), self.quotes(0.5, 7.0)])

    def test_empty(self) -> None:
        assert fit_surface([]).fits == ()


class TestForwardCurve:
    curve = ForwardCurve(
        underlying="BTC",
        index_usd=100.0,
        expiry_ns=(NS_PER_YEAR, 2 * NS_PER_YEAR),
        forward_usd=(105.0, 112.0),
    )

    def test_knots_between_and_outside(self) -> None:
        read = lambda years: self.curve.forward(int(years * NS_PER_YEAR), 0)
        assert (read(1.0), read(2.0)) == (105.0, 112.0)
        assert read(1.5) == pytest.approx(math.sqrt(105.0 * 112.0), rel=1e-12)
        assert read(0.5) == pytest.approx(100.0 * 1.05**0.5, rel=1e-12)
        assert read(4.0) == pytest.approx(100.0 * 1.12**2.0, rel=1e-12)
        assert read(0.0) == 100.0

    def test_past_knots_are_ignored(self) -> None:
        now = int(1.5 * NS_PER_YEAR)
        assert self.curve.forward(int(1.75 * NS_PER_YEAR), now) == pytest.approx(
            100.0 * 1.12**0.5, rel=1e-12
        )
        with pytest.raises(MarketDataError, match="MKT-121"):
            self.curve.forward(NS_PER_YEAR, now)
        with pytest.raises(MarketDataError, match="MKT-120"):
            self.curve.forward(4 * NS_PER_YEAR, 3 * NS_PER_YEAR)

    @pytest.mark.parametrize(
        ("expiries", "prices", "index"),
        [
            ((), (), 1.0),
            ((1, 2), (1.0,), 1.0),
            ((2, 2), (1.0, 1.0), 1.0),
            ((1, 2), (1.0, math.nan), 1.0),
            ((1,), (1.0,), 0.0),
        ],
    )
    def test_refusals(
        self, expiries: tuple[int, ...], prices: tuple[float, ...], index: float
    ) -> None:
        with pytest.raises(MarketDataError, match="MKT-120"):
            ForwardCurve(underlying="ETH", index_usd=index, expiry_ns=expiries, forward_usd=prices)


class TestParity:
    strike = np.linspace(60_000.0, 100_000.0, 17)

    def test_coin_and_usd_prices(self) -> None:
        gap_usd = FORWARD - self.strike
        put = np.full(17, 900.0)
        assert forward_from_parity(
            put + 0.98 * gap_usd, put, self.strike, in_coin=False, discount=0.98
        ) == pytest.approx(FORWARD, rel=1e-14)
        assert forward_from_parity(
            (put + gap_usd) / FORWARD, put / FORWARD, self.strike, in_coin=True
        ) == pytest.approx(FORWARD, rel=1e-14)

    def test_a_wrong_quote_and_missing_quotes_do_no_harm(self) -> None:
        put = np.full(17, 900.0)
        call = put + FORWARD - self.strike
        call[7] += 5_000.0
        call[[0, 3, 16]] = np.nan
        found = forward_from_parity(call, put, self.strike, in_coin=False)
        assert found == pytest.approx(FORWARD, rel=1e-14)

    def test_nothing_to_go_by(self) -> None:
        for in_coin in (True, False):
            with pytest.raises(MarketDataError, match="MKT-122"):
                forward_from_parity([math.nan], [0.1], [70_000.0], in_coin=in_coin)
        with pytest.raises(MarketDataError, match="MKT-103"):
            forward_from_parity([0.1, 0.2], [0.1], [70_000.0], in_coin=True)
