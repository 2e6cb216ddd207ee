"""SABR, Heston, Merton and Bates: limits and outside oracles (requirements A10)."""

from __future__ import annotations

import math

import numpy as np
import pytest

from crossmargin.errors import PricingError
from crossmargin.pricing import (
    StochasticModel,
    black76,
    model_paths,
    model_prices,
    model_vols,
    sabr_vol,
)

ql = pytest.importorskip("QuantLib")

F, DAYS = 50_000.0, 30
T = DAYS / 365
STRIKES = np.array([30_000.0, 45_000.0, 50_000.0, 55_000.0, 90_000.0])
JUMPS = {"jump_intensity": 12.0, "jump_mean": -0.05, "jump_spread": 0.08}


def flat(vol: float = 0.6, call: bool = True) -> np.ndarray:
    n = STRIKES.size
    return black76(np.full(n, F), STRIKES, np.full(n, T), np.full(n, vol), np.full(n, call))


@pytest.mark.parametrize("call", [True, False])
def test_a10_heston_and_merton_in_the_limit_are_black(call: bool) -> None:
    """Vol-of-vol → 0 at v0 = θ; no jumps: both to 1e-6 dollars."""
    plain = model_prices(StochasticModel(v0=0.36, theta=0.36), F, STRIKES, DAYS, call)
    small = model_prices(
        StochasticModel(v0=0.36, theta=0.36, kappa=2.0, vol_of_vol=1e-5), F, STRIKES, DAYS, call
    )
    none = model_prices(
        StochasticModel(v0=0.36, theta=0.36, jump_intensity=1e-12, jump_mean=-0.1,
                        jump_spread=0.1), F, STRIKES, DAYS, call,
    )  # fmt: skip
    for found in (plain, small, none):
        assert found == pytest.approx(flat(call=call), abs=1e-6)
    assert flat()[2] == pytest.approx(3_426.97, abs=0.005)


def test_merton_is_its_own_series() -> None:
    """Σ Poisson(n)·Black: variance and forward conditional on n jumps."""
    model = StochasticModel(v0=0.25, theta=0.25, **JUMPS)
    mean = math.exp(JUMPS["jump_mean"] + 0.5 * JUMPS["jump_spread"] ** 2) - 1
    rate = JUMPS["jump_intensity"]
    total = np.zeros(STRIKES.size)
    for n in range(60):
        weight = math.exp(-rate * T) * (rate * T) ** n / math.factorial(n)
        forward = F * math.exp(n * math.log1p(mean) - rate * mean * T)
        sigma = math.sqrt(0.25 + n * JUMPS["jump_spread"] ** 2 / T)
        m = STRIKES.size
        total += weight * black76(
            np.full(m, forward), STRIKES, np.full(m, T), np.full(m, sigma), np.full(m, True)
        )
    assert model_prices(model, F, STRIKES, DAYS) == pytest.approx(total, abs=1e-5)


def test_parity_and_the_shape_of_the_smile() -> None:
    model = StochasticModel(v0=0.3, theta=0.4, kappa=3.0, vol_of_vol=1.0, rho=-0.6, **JUMPS)
    calls = model_prices(model, F, STRIKES, DAYS)
    puts = model_prices(model, F, STRIKES, DAYS, False)
    assert calls - puts == pytest.approx(F - STRIKES, abs=1e-5)
    vols = model_vols(model, F, STRIKES, DAYS)
    n = STRIKES.size
    call = np.maximum(STRIKES, F) == STRIKES
    back = black76(np.full(n, F), STRIKES, np.full(n, T), vols, call)
    assert back == pytest.approx(np.where(call, calls, puts), abs=1e-6)
    # Falls come with volatility: the low strikes are the dear ones.
    assert vols[0] > vols[2] and vols[1] > vols[3]


@pytest.mark.parametrize("more", [{}, JUMPS])
def test_paths_price_what_the_formula_does(more: dict[str, float]) -> None:
    model = StochasticModel(v0=0.3, theta=0.4, kappa=3.0, vol_of_vol=0.8, rho=-0.5, **more)
    paths = model_paths(model, F, DAYS, 30, 20_000, seed=7)
    end = paths[:, -1]
    n = math.sqrt(end.size)
    assert abs(end.mean() - F) < 3 * end.std() / n
    exact = model_prices(model, F, STRIKES[1:4], DAYS)
    for strike, value in zip(STRIKES[1:4], exact):
        paid = np.maximum(end - strike, 0.0)
        assert abs(paid.mean() - value) < 3 * paid.std() / n
    assert np.array_equal(paths[:50], model_paths(model, F, DAYS, 30, 20_000, seed=7)[:50])
    assert not np.array_equal(paths[:5], model_paths(model, F, DAYS, 30, 5, seed=8))


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("rho", [-0.4, 0.0, 0.3])
def test_sabr_is_that_of_quantlib(beta: float, rho: float) -> None:
    alpha = 0.6 * F ** (1 - beta)
    found = sabr_vol(F, STRIKES, T, alpha=alpha, beta=beta, rho=rho, nu=1.3)
    theirs = [ql.sabrVolatility(float(k), F, T, alpha, beta, 1.3, rho) for k in STRIKES]
    assert found == pytest.approx(theirs, rel=1e-9)


def test_sabr_without_vol_of_vol_is_flat_and_smooth_at_the_money() -> None:
    assert sabr_vol(F, STRIKES, T, alpha=0.6, beta=1.0, rho=0.0, nu=0.0) == pytest.approx(0.6)
    near = sabr_vol(F, F * (1 + np.array([-1e-9, 0.0, 1e-9])), T, alpha=0.6, beta=1, rho=-0.3, nu=1)
    assert np.ptp(near) < 1e-9


def test_parameters_outside_their_domain() -> None:
    for bad in (
        {"v0": 0.0, "theta": 0.3}, {"v0": 0.3, "theta": 0.4}, {"v0": 0.3, "theta": 0.3, "rho": 1.0},
        {"v0": 0.3, "theta": 0.3, "kappa": -1.0}, {"v0": 0.3, "theta": 0.3, "jump_intensity": -1},
    ):  # fmt: skip
        with pytest.raises(PricingError, match="PRC-001"):
            StochasticModel(**bad)
    with pytest.raises(PricingError, match="PRC-001"):
        sabr_vol(F, STRIKES, T, alpha=-1, beta=1, rho=0, nu=1)
    with pytest.raises(PricingError, match="PRC-001"):
        model_prices(StochasticModel(v0=0.3, theta=0.3), F, [-1.0], DAYS)
    with pytest.raises(PricingError, match="PRC-001"):
        model_paths(StochasticModel(v0=0.3, theta=0.3), F, 0.0, 1, 1, seed=1)
