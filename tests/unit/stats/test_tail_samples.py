"""Tails of many samples, dependence and draws, against slow second implementations and rows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crossmargin.stats import (
    breach_probability,
    copula_uniforms,
    ewma_volatilities,
    expected_shortfall,
    expected_shortfall_error,
    garch_volatilities,
    jump_sums,
    long_volatilities,
    normal_sigma,
    normal_tail,
    repaired,
    rescaled,
    sample_correlation,
    shortfall_errors,
    shuffles,
    stream,
    tail_mean,
    tail_quantiles,
    tail_shortfalls,
    tail_shortfalls_at,
    tail_weights,
    value_at_risk,
    weighted_correlation,
    worst_correlation,
)

PNL = st.lists(st.integers(-20, 20).map(float), min_size=1, max_size=60)
#: A shared machine may take long to draw lists.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
LEVELS = st.sampled_from([0.9, 0.95, 0.975, 0.99])


@PATIENT
@given(PNL, LEVELS)
def test_rows_are_the_one_sample_estimator_with_ties_and_fractions(
    pnl: list[float], level: float
) -> None:
    x = np.array([pnl, pnl[::-1]])
    losses = [-v for v in pnl]
    both = [expected_shortfall(losses, level)] * 2
    assert tail_shortfalls(x, level) == pytest.approx(both, rel=1e-12, abs=1e-12)
    assert tail_quantiles(x, level) == pytest.approx([value_at_risk(losses, level)] * 2)
    found, alone = shortfall_errors(x, level)[0], expected_shortfall_error(losses, level)
    assert found == pytest.approx(alone, nan_ok=True)
    w = tail_weights(x, level)
    assert w.sum(axis=1) == pytest.approx([1.0, 1.0], rel=1e-12)
    assert -(w * x).sum(axis=1) == pytest.approx(both, rel=1e-12, abs=1e-12)
    assert (w >= 0).all()


@PATIENT
@given(PNL)
def test_several_levels_at_once_are_the_same_bits(pnl: list[float]) -> None:
    x = np.array([pnl]) / 7.0
    both = tail_shortfalls_at(x, (0.99, 0.9))
    assert both[0, 0] == tail_shortfalls(x, 0.99)[0] and both[1, 0] == tail_shortfalls(x, 0.9)[0]


@PATIENT
@given(PNL, PNL, st.floats(0.5, 5.0))
def test_a_fixed_tail_count_grows_with_the_scenario_set(
    some: list[float], more: list[float], mass: float
) -> None:
    mass = min(mass, float(len(some)))
    before = tail_mean(np.array([some]), mass)[0]
    assert tail_mean(np.array([some + more]), mass)[0] >= before - 1e-9


def test_a_level_is_diluted_by_scenarios_without_a_loss() -> None:
    some = np.array([[-10.0] * 10 + [0.0] * 90])
    more = np.concatenate([some, np.zeros((1, 900))], axis=1)
    assert tail_shortfalls(more, 0.99)[0] == 10.0
    assert tail_shortfalls(np.concatenate([more, np.zeros((1, 9_000))], axis=1), 0.99)[0] == 1.0


def slow_ewma(r: np.ndarray, decay: float, warm_up: int) -> list[float]:
    out = [math.nan] * (len(r) + 1)
    seen: list[float] = []
    variance = math.nan
    for t, x in enumerate(r):
        if not math.isnan(x):
            seen.append(x * x)
            if len(seen) == warm_up:
                variance = sum(seen) / warm_up
            elif len(seen) > warm_up:
                variance = decay * variance + (1 - decay) * x * x
        out[t + 1] = math.sqrt(variance) if not math.isnan(variance) else math.nan
    return out


def test_volatilities_by_series_with_late_starts_and_gaps() -> None:
    rng = np.random.default_rng(1)
    r = 0.02 * rng.standard_normal((120, 3))
    r[:40, 1] = np.nan
    r[60:63, 2] = np.nan
    found = ewma_volatilities(r, 0.94, warm_up=10)
    for a in range(3):
        assert found[:, a] == pytest.approx(slow_ewma(r[:, a], 0.94, 10), nan_ok=True, rel=1e-12)
    shorter = ewma_volatilities(r[:80], 0.94, warm_up=10)
    assert np.array_equal(found[:81], shorter, equal_nan=True)
    long = long_volatilities(r, 50)
    assert long[120, 0] == pytest.approx(math.sqrt((r[70:, 0] ** 2).mean()), rel=1e-10)
    assert math.isnan(long[40, 1]) and long[41, 1] == pytest.approx(abs(r[40, 1]))


def test_garch_is_that_of_arch_and_sees_the_leverage_of_gjr() -> None:
    arch = pytest.importorskip("arch")
    rng = np.random.default_rng(5)
    r, v = np.empty(1500), 1e-4
    for t in range(1500):
        r[t] = math.sqrt(v) * rng.standard_normal()
        v = 2e-6 + 0.08 * r[t] ** 2 + 0.9 * v
    found = garch_volatilities(r)
    assert found.size == 1501 and (found > 0).all()
    # A standard deviation of 1 %: the fit finds the recursion it was made by.
    assert np.corrcoef(found[200:-1] ** 2, r[200:] ** 2)[0, 1] > 0.05
    own = arch.arch_model(100 * r, mean="Zero").fit(disp="off")
    assert found[500] == pytest.approx(float(own.conditional_volatility[500]) / 100, rel=0.02)
    assert garch_volatilities(r, asymmetric=True).size == 1501


@pytest.mark.parametrize("how", ["cholesky", "symmetric"])
def test_rescaling_reaches_the_correlation_and_keeps_the_spreads(how) -> None:
    rng = np.random.default_rng(2)
    z = rng.standard_t(5, (800, 3)) @ np.array([[1, 0.5, 0], [0, 1, 0.3], [0, 0, 1.0]])
    now = np.array([[1, 0.9, -0.2], [0.9, 1, 0.0], [-0.2, 0.0, 1]])
    out = rescaled(z, now, how)
    assert sample_correlation(out) == pytest.approx(now, abs=1e-10)
    assert (out**2).mean(axis=0) == pytest.approx((z**2).mean(axis=0), rel=1e-10)
    assert rescaled(z, sample_correlation(z), how) == pytest.approx(z, abs=1e-10)
    assert rescaled(z, now, "none") is not None and np.array_equal(rescaled(z, now, "none"), z)


def test_weights_of_a_moving_correlation() -> None:
    z = np.array([[1.0, 1.0], [1.0, -1.0], [2.0, 2.0]])
    w = np.array([0.25, 0.5, 1.0])
    cross = w[0] - w[1] + 4 * w[2]
    square = w[0] + w[1] + 4 * w[2]
    assert weighted_correlation(z, 0.5)[0, 1] == pytest.approx(cross / square)


def test_repair_changes_nothing_that_is_whole() -> None:
    good = np.array([[1, 0.5], [0.5, 1]])
    assert np.array_equal(repaired(good), good)
    bad = np.array([[1, 0.9, -0.9], [0.9, 1, 0.9], [-0.9, 0.9, 1]])
    mended = repaired(bad)
    assert np.linalg.eigvalsh(mended)[0] > 0 and np.allclose(np.diag(mended), 1)


def test_draws_are_by_seed_and_place() -> None:
    assert stream(7, 2).random() == stream(7, 2).random()
    assert len({stream(s, p).random() for s in (1, 2) for p in (0, 1, 2)}) == 6
    order = shuffles(50, 3, 9)
    assert np.array_equal(np.sort(order, axis=1), np.tile(np.arange(50), (3, 1)))
    assert np.array_equal(order[:2], shuffles(50, 2, 9))


def test_t_copula_has_uniform_margins_its_correlation_and_joint_extremes() -> None:
    c = np.array([[1, 0.5], [0.5, 1]])
    n = 40_000
    u, g = (copula_uniforms(c, n, degrees=d, seed=4) for d in (4.0, math.inf))
    for x in (u, g):
        assert abs(x.mean() - 0.5) < 3 / math.sqrt(12 * n)
        assert abs((x < 0.01).mean() - 0.01) < 3 * math.sqrt(0.01 * 0.99 / (2 * n)) + 5e-4
    # Kendall's tau of an elliptical copula is 2·asin(ρ)/π = 1/3, whatever the degrees of freedom.
    half = n // 2
    for x in (u, g):
        sign = np.sign((x[:half, 0] - x[half:, 0]) * (x[:half, 1] - x[half:, 1]))
        assert sign.mean() == pytest.approx(1 / 3, abs=3 / math.sqrt(half))
    together = [float(((x < 0.01).all(axis=1)).mean()) for x in (u, g)]
    assert together[0] > 1.5 * together[1]


def test_jumps_have_the_moments_of_a_compound_poisson_law() -> None:
    n = 60_000
    x = jump_sums(n, 0.5, -0.1, 0.2, seed=3)
    variance = 0.5 * (0.1**2 + 0.2**2)
    assert abs(x.mean() + 0.05) < 3 * math.sqrt(variance / n)
    assert x.var() == pytest.approx(variance, rel=0.03)


class TestRows:
    """Requirements A07 and B16."""

    exposure, vol = (50_000.0, 30_000.0), (0.03, 0.04)

    @staticmethod
    def corr(rho: float) -> np.ndarray:
        return np.array([[1.0, rho], [rho, 1.0]])

    @pytest.mark.parametrize(
        ("rho", "sigma", "var", "es"),
        [(0.5, 2343.07, 5450.81, 6244.80), (1.0, 2700.00, 6281.14, 7196.08)],
    )
    def test_a07_normal(self, rho: float, sigma: float, var: float, es: float) -> None:
        found = normal_tail(self.exposure, self.vol, self.corr(rho), 0.99)
        assert found.sigma == pytest.approx(sigma, abs=0.005)
        assert found.var == pytest.approx(var, abs=0.005)
        assert found.es == pytest.approx(es, abs=0.005)

    def test_a07_breach(self) -> None:
        moving = breach_probability(
            10_000, 4_000, self.exposure, (0.05, 0.05), self.vol, self.corr(0.5)
        )
        frozen = breach_probability(10_000, 4_000, self.exposure, (0, 0), self.vol, self.corr(0.5))
        assert 100 * moving == pytest.approx(0.351, abs=5e-4)
        assert 100 * frozen == pytest.approx(0.522, abs=5e-4)

    def test_b16_the_stress_picks_the_direction_itself(self) -> None:
        hedged = (50_000.0, -30_000.0)
        base = self.corr(0.9)
        assert normal_sigma(hedged, self.vol, base) == pytest.approx(670.82, abs=0.005)
        apart = worst_correlation(hedged, base, low=0.3, high=1.0)
        assert normal_sigma(hedged, self.vol, apart) == pytest.approx(1615.55, abs=0.005)
        same = self.corr(0.5)
        together = worst_correlation(self.exposure, same, low=0.3, high=1.0)
        assert normal_sigma(self.exposure, self.vol, same) == pytest.approx(2343.07, abs=0.005)
        assert normal_sigma(self.exposure, self.vol, together) == pytest.approx(2700.0, abs=0.005)
