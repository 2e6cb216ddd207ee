"""Tests of expected shortfall: published critical values, hand figures, planted tails."""

from __future__ import annotations

import math

import numpy as np
import pytest

from crossmargin.errors import InputError
from crossmargin.stats import normal_expected_shortfall, normal_quantile
from crossmargin.validation import (
    Law,
    compare_scores,
    critical_value,
    fz0,
    long_run_variance,
    min_bias,
    shortfall_test,
    simulated_statistics,
    z1,
    z2,
)

#: Losses, VaR, ES at 90 % of ten days: two breaches.
LOSS = np.array([0.2, -0.5, 1.5, 0.1, 0.0, 3.0, -1.0, 0.4, 0.9, -0.2])
VAR, ES = 1.0, 2.0


def test_statistics_by_hand() -> None:
    assert z1(LOSS, VAR, ES, 0.9) == pytest.approx(1 - (0.75 + 1.5) / 2)
    assert z2(LOSS, VAR, ES, 0.9) == pytest.approx(1 - (0.75 + 1.5) / (10 * 0.1))
    over = (0.5 + 2.0) / 0.1
    assert min_bias(LOSS, VAR, ES, 0.9) == pytest.approx((10 * (ES - VAR) - over) / 10 / ES)
    assert math.isnan(z1(LOSS, 9.0, 10.0, 0.9))
    assert z2(LOSS, 9.0, 10.0, 0.9) == 1.0


def test_fz0_by_hand_at_four_points() -> None:
    """−(1/(αe))·1{y ≤ v}(v − y) + v/e + ln(−e) − 1 with y = −loss, v = −VaR, e = −ES."""
    for loss, var, es in [(0.0, 1.0, 2.0), (1.0, 1.0, 2.0), (3.0, 1.0, 2.0), (5.0, 2.0, 2.5)]:
        y, v, e = -loss, -var, -es
        want = -(1 / (0.05 * e)) * (y <= v) * (v - y) + v / e + math.log(-e) - 1
        assert float(fz0([loss], [var], [es], 0.95)[0]) == pytest.approx(want)


def test_fz0_is_least_for_the_truth() -> None:
    rng = np.random.default_rng(0)
    loss = rng.standard_normal(200_000)
    var, es = normal_quantile(0.975), normal_expected_shortfall(0.975)
    right = fz0(loss, np.full(loss.size, var), np.full(loss.size, es), 0.975).mean()
    for k in (0.8, 0.9, 1.1, 1.25):
        wrong = fz0(loss, np.full(loss.size, k * var), np.full(loss.size, k * es), 0.975).mean()
        assert wrong > right


def test_critical_values_of_z2_are_the_published_ones() -> None:
    """5 % at about −0.70 and 0.01 % at about −1.8 for T = 250 at 97.5 %; t(3) −0.81."""
    normal = simulated_statistics(250, 0.975, draws=200_000, seed=1)["z2"]
    assert critical_value(normal, 0.05) == pytest.approx(-0.70, abs=0.01)
    assert critical_value(normal, 0.0001) == pytest.approx(-1.8, abs=0.08)
    heavy = simulated_statistics(250, 0.975, draws=200_000, seed=1, law=Law(3.0))["z2"]
    assert critical_value(heavy, 0.05) == pytest.approx(-0.81, abs=0.015)


def test_critical_values_of_z2_are_those_of_mathworks() -> None:
    """MathWorks esbacktest, T = 1966 at 97.5 %, test level 99 %: −0.34639 and −0.42986."""
    normal = simulated_statistics(1966, 0.975, draws=80_000, seed=1)["z2"]
    assert critical_value(normal, 0.01) == pytest.approx(-0.34639, abs=0.005)
    assert float((normal <= -0.38265).mean()) == pytest.approx(0.0054099, abs=8e-4)
    heavy = simulated_statistics(1966, 0.975, draws=80_000, seed=1, law=Law(3.0))["z2"]
    assert critical_value(heavy, 0.01) == pytest.approx(-0.42986, abs=0.01)


def test_simulated_laws_have_mean_0_and_repeat() -> None:
    made = simulated_statistics(500, 0.975, draws=40_000, seed=5, law=Law(5.0))
    for name in ("z1", "z2", "min_bias"):
        draws = made[name]
        draws = draws[np.isfinite(draws)]
        assert abs(draws.mean()) < 4 * draws.std() / math.sqrt(draws.size)
        again = simulated_statistics(500, 0.975, draws=40_000, seed=5, law=Law(5.0))[name]
        assert np.array_equal(made[name], again, equal_nan=True)


def test_simulation_against_whole_samples() -> None:
    """Drawing only the tail gives the law that drawing every loss gives."""
    rng = np.random.default_rng(2)
    law = Law(4.0)
    var, es = law.tail(0.975)
    loss = rng.standard_t(4.0, size=(8_000, 250))
    hit = loss > var
    whole = 1 - (np.where(hit, loss, 0.0) / es).sum(axis=1) / (250 * 0.025)
    made = simulated_statistics(250, 0.975, draws=40_000, seed=1, law=law)["z2"]
    for share in (0.05, 0.25, 0.5, 0.75):
        assert np.quantile(whole, share) == pytest.approx(np.quantile(made, share), abs=0.025)


def test_tail_of_student_t_against_a_sum() -> None:
    var, es = Law(3.0).tail(0.975)
    u = 0.975 + 0.025 * (np.arange(2_000_000) + 0.5) / 2_000_000
    assert es == pytest.approx(float(Law(3.0).quantile(u).mean()), rel=2e-4)
    assert var == pytest.approx(3.1824, abs=1e-4)
    assert Law().tail(0.975) == pytest.approx((1.95996, 2.33780), abs=1e-5)
    with pytest.raises(InputError):
        Law(1.0)


def test_a_planted_fat_tail_fails_a_normal_shortfall_and_passes_its_own() -> None:
    rng = np.random.default_rng(11)
    loss = rng.standard_t(3.0, size=1_000)
    sigma = math.sqrt(3.0)
    normal = shortfall_test(
        "z2", loss, normal_quantile(0.975) * sigma, normal_expected_shortfall(0.975) * sigma, 0.975
    )
    var, es = Law(3.0).tail(0.975)
    own = shortfall_test("z2", loss, var, es, 0.975, law=Law(3.0))
    depth = shortfall_test(
        "z1", loss, normal_quantile(0.975) * sigma, normal_expected_shortfall(0.975) * sigma, 0.975
    )
    assert depth.p_value < 0.01
    assert own.p_value > 0.05
    assert 0 < normal.p_value <= 1


def test_compare_scores_against_statsmodels() -> None:
    sm = pytest.importorskip("statsmodels.api")
    rng = np.random.default_rng(4)
    d = np.convolve(rng.standard_normal(403), [1, 0.5, 0.25, 0.1], mode="valid") + 0.1
    fit = sm.OLS(d, np.ones(d.size)).fit(cov_type="HAC", cov_kwds={"maxlags": 5})
    assert long_run_variance(d, 5) / d.size == pytest.approx(float(fit.bse[0]) ** 2, rel=1e-9)
    made = compare_scores(d, np.zeros(d.size), seed=1, lags=5)
    assert made.statistic == pytest.approx(float(fit.tvalues[0]))
    assert made.p_normal == pytest.approx(float(fit.pvalues[0]))


def test_p_values_of_a_comparison_are_uniform_enough_and_see_a_difference() -> None:
    rng = np.random.default_rng(6)
    rejected = np.zeros(3)
    for seed in range(200):
        d = rng.standard_t(3.0, size=200)
        made = compare_scores(d, np.zeros(200), seed=seed, draws=200)
        rejected += [p < 0.05 for p in (made.p_normal, made.p_bootstrap, made.p_subsample)]
    assert (rejected / 200 < 0.13).all()
    clear = compare_scores(rng.standard_normal(500) + 0.5, np.zeros(500), seed=0)
    assert max(clear.p_normal, clear.p_bootstrap, clear.p_subsample) < 0.02
    same = compare_scores(np.ones(10), np.ones(10), seed=0)
    assert same.p_bootstrap == 1.0


def test_bad_series_are_refused() -> None:
    with pytest.raises(InputError):
        z2([1.0, math.nan], 1.0, 2.0, 0.99)
    with pytest.raises(InputError):
        z2([1.0, 2.0], 1.0, 0.0, 0.99)
    with pytest.raises(InputError):
        fz0([1.0, 2.0], [1.0, 1.0, 1.0], 2.0, 0.99)
