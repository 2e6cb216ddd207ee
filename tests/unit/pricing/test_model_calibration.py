"""Fits of SABR, Heston, Merton and Bates give back what they were made of (requirements A10)."""

from __future__ import annotations

import numpy as np
import pytest

from crossmargin.errors import PricingError
from crossmargin.pricing import (
    SmileTarget,
    StochasticModel,
    fit_model,
    fit_sabr,
    model_vols,
    sabr_vol,
    whole_days,
)

F = 50_000.0
JUMPS = {"jump_intensity": 6.0, "jump_mean": -0.08, "jump_spread": 0.12}


def grid(days: float, vol: float = 0.55) -> np.ndarray:
    reach = 2.0 * vol * np.sqrt(days / 365.0)
    return F * np.exp(np.linspace(-reach, reach, 9))


@pytest.mark.parametrize("beta", [1.0, 0.5])
@pytest.mark.parametrize("rho, nu", [(-0.5, 2.0), (0.3, 0.8), (0.0, 4.0)])
def test_sabr_gives_back_its_own_parameters(beta: float, rho: float, nu: float) -> None:
    alpha, strike = 0.6 * F ** (1 - beta), grid(30.0)
    vol = sabr_vol(F, strike, 30 / 365, alpha=alpha, beta=beta, rho=rho, nu=nu)
    fit = fit_sabr(SmileTarget(forward=F, days=30.0, strike=strike, vol=vol), beta=beta)
    assert (fit.alpha, fit.rho, fit.nu) == pytest.approx((alpha, rho, nu), rel=1e-4, abs=1e-4)
    assert fit.worst < 1e-6 and fit.beta == beta
    assert fit.vol(F, strike, 30.0) == pytest.approx(vol, abs=1e-6)


def test_sabr_finds_the_least_squares_of_a_plain_grid() -> None:
    """On quotes that no SABR meets its error is not above that of any point of a grid about it."""
    strike = grid(30.0)
    vol = 0.5 + 0.04 * np.sin(np.arange(9.0)) + 0.3 * np.log(strike / F) ** 2
    fit = fit_sabr(SmileTarget(forward=F, days=30.0, strike=strike, vol=vol))
    best = np.inf
    for alpha in np.linspace(0.4, 0.65, 26):
        for rho in np.linspace(-0.9, 0.9, 19):
            for nu in np.linspace(0.1, 6.0, 30):
                found = sabr_vol(F, strike, 30 / 365, alpha=alpha, beta=1.0, rho=rho, nu=nu)
                best = min(best, float(np.sqrt(np.mean((found - vol) ** 2))))
    assert fit.rmse <= best + 1e-9 and fit.rmse > 1e-3


class TestWithQuantLib:
    @pytest.fixture(autouse=True)
    def needs(self) -> None:
        pytest.importorskip("QuantLib")

    def targets(self, model: StochasticModel) -> list[SmileTarget]:
        return [
            SmileTarget(forward=F, days=d, strike=grid(d), vol=model_vols(model, F, grid(d), d))
            for d in (14, 60)
        ]

    def test_heston(self) -> None:
        model = StochasticModel(v0=0.3, theta=0.36, kappa=4.0, vol_of_vol=1.5, rho=-0.4)
        fit = fit_model(self.targets(model), "heston")
        assert fit.worst < 1e-4 and fit.at_edge == ()
        assert fit.model.rho == pytest.approx(-0.4, abs=0.02)
        assert fit.model.v0 == pytest.approx(0.3, rel=0.02)

    def test_merton(self) -> None:
        model = StochasticModel(v0=0.2, theta=0.2, **JUMPS)
        fit = fit_model(self.targets(model), "merton")
        assert fit.worst < 1e-4
        assert fit.model.v0 == pytest.approx(0.2, rel=0.02)
        mean = fit.model.jump_intensity * fit.model.jump_mean
        assert mean == pytest.approx(6.0 * -0.08, rel=0.05)

    def test_bates_meets_what_either_makes(self) -> None:
        """Eight parameters on nine quotes: the smile is met, its parameters are not unique."""
        model = StochasticModel(v0=0.25, theta=0.3, kappa=3.0, vol_of_vol=1.0, rho=-0.3, **JUMPS)
        assert fit_model(self.targets(model)[1:], "bates").rmse < 2e-3

    def test_same_quotes_same_parameters(self) -> None:
        model = StochasticModel(v0=0.2, theta=0.2, **JUMPS)
        one = self.targets(model)[:1]
        assert fit_model(one, "merton") == fit_model(one, "merton")

    def test_too_few_quotes(self) -> None:
        short = SmileTarget(forward=F, days=14.0, strike=[4e4, 5e4, 6e4], vol=[0.6, 0.5, 0.6])
        with pytest.raises(PricingError, match=r"PRC-001.*8 parameters"):
            fit_model([short], "bates")


def test_quotes_that_are_none() -> None:
    for strike, vol, code in (
        ([4e4, 5e4, 6e4], [0.6, 0.5], "PRC-002"),
        ([4e4, 5e4], [0.6, 0.5], "PRC-001"),
        ([4e4, 5e4, -1.0], [0.6, 0.5, 0.5], "PRC-001"),
        ([4e4, 5e4, 6e4], [0.6, float("nan"), 0.5], "PRC-001"),
    ):
        with pytest.raises(PricingError, match=code):
            fit_sabr(SmileTarget(forward=F, days=30.0, strike=strike, vol=vol))
    assert [whole_days(d) for d in (0.2, 1.4, 52.6)] == [1, 1, 53]
