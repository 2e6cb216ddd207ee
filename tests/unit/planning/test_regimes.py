"""Regimes of correlation: statsmodels' filter, brute force over chains, what was planted."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from crossmargin.errors import PlanningError
from crossmargin.planning import Aligned, dynamic_correlation, regimes
from crossmargin.planning.regimes import _smoothed, normal_scores, switching_likelihood
from crossmargin.stats import dcc


def made_up(rho: np.ndarray, seed: int = 2, dof: float = 4.0) -> Aligned:
    n = rho.size
    z = np.random.default_rng(seed).standard_t(dof, size=(n, 2))
    shares, coin = 0.01 * z[:, 0], 0.03 * (rho * z[:, 0] + np.sqrt(1 - rho**2) * z[:, 1])
    return Aligned(
        days=np.arange(n), coins=("BTC",), macro=("SPY",),
        returns=np.column_stack([coin, shares]), span_days=np.ones(n, dtype=np.int64),
    )  # fmt: skip


def test_filter_is_that_of_statsmodels() -> None:
    """u given v is normal with mean ρ·v and variance 1 − ρ²: a switching regression."""
    module = pytest.importorskip("statsmodels.tsa.regime_switching.markov_regression")
    v, e = np.random.default_rng(1).standard_normal((2, 200))
    u = 0.4 * v + 0.9 * e
    rho, stay = (0.1, 0.7), (0.95, 0.9)
    model = module.MarkovRegression(u, k_regimes=2, trend="n", exog=v, switching_variance=True)
    params = [stay[0], 1 - stay[1], *rho, 1 - rho[0] ** 2, 1 - rho[1] ** 2]
    theirs = model.smooth(params)
    total, filtered = switching_likelihood(u, v, rho, stay)
    alone = float(-0.5 * (v @ v) - 0.5 * v.size * math.log(2 * math.pi))
    assert total - alone == pytest.approx(theirs.llf, rel=1e-10)
    assert filtered == pytest.approx(theirs.filtered_marginal_probabilities[:, 1], abs=1e-10)
    assert _smoothed(filtered, stay) == pytest.approx(
        theirs.smoothed_marginal_probabilities[:, 1], abs=1e-10
    )


def test_likelihood_is_the_sum_over_all_chains() -> None:
    u, v = np.random.default_rng(3).standard_normal((2, 8))
    rho, stay = (-0.2, 0.6), (0.9, 0.7)

    def density(s: int, t: int) -> float:
        left = 1 - rho[s] ** 2
        power = (u[t] ** 2 - 2 * rho[s] * u[t] * v[t] + v[t] ** 2) / (2 * left)
        return math.exp(-power) / (2 * math.pi * math.sqrt(left))

    step = [[stay[0], 1 - stay[0]], [1 - stay[1], stay[1]]]
    begin = [0.3 / 0.4, 0.1 / 0.4]  # what the chain stays in: (1 − p11) to (1 − p00)
    whole, second = 0.0, 0.0
    for chain in itertools.product((0, 1), repeat=8):
        p = begin[chain[0]] * density(chain[0], 0)
        for t in range(1, 8):
            p *= step[chain[t - 1]][chain[t]] * density(chain[t], t)
        whole += p
        second += p * chain[3]
    total, filtered = switching_likelihood(u, v, rho, stay)
    assert total == pytest.approx(math.log(whole), rel=1e-12)
    assert _smoothed(filtered, stay)[3] == pytest.approx(second / whole, rel=1e-12)


def test_a_planted_switch_is_found_and_dated() -> None:
    """Row A16: 0.3 and 0.8 in turn, heavy tails; 300 periods each."""
    rho = np.where((np.arange(1_200) // 300) % 2 == 0, 0.3, 0.8)
    made = regimes(made_up(rho), "BTC", "SPY")
    assert made.correlation == pytest.approx((0.3, 0.8), abs=0.06)
    right = (made.probability > 0.5) == (rho > 0.5)
    assert np.isnan(made.probability[:30]).all() and right[30:].mean() > 0.95
    assert made.now > 0.9 and made.gain > 20
    assert sum(made.share) == pytest.approx(1.0)


def test_one_correlation_gains_little() -> None:
    gains = [regimes(made_up(np.full(500, 0.3), seed), "BTC", "SPY").gain for seed in range(4)]
    assert max(gains) < 4.0 and min(gains) > -1e-6


def test_dynamic_correlation_is_dcc_on_freed_returns() -> None:
    made = made_up(np.full(400, 0.5))
    freed = np.empty((370, 2))
    for k, name in enumerate(("BTC", "SPY")):
        r = made.column(name)
        variance = float((r[:30] ** 2).mean())
        for t in range(30, 400):
            freed[t - 30, k] = r[t] / math.sqrt(variance)
            variance = 0.97 * variance + 0.03 * r[t] ** 2
    found = dynamic_correlation(made, "BTC", "SPY")
    # The likelihood is flat in b here, so the recursion is compared at what was fitted.
    want = dcc(freed, a=found.a, b=found.b)
    assert found.path[30:] == pytest.approx(want.correlation[:, 0, 1], abs=1e-9)
    assert found.mean == pytest.approx(want.mean[0, 1], abs=1e-12)
    assert found.now == found.path[-1]


def test_scores_are_normal_and_ties_alike() -> None:
    found = normal_scores(np.array([3.0, 1.0, 1.0, 10.0]))
    assert found[1] == found[2] and found[0] > found[1] and found[3] > found[0]
    assert normal_scores(np.arange(9.0)).sum() == pytest.approx(0.0, abs=1e-12)


def test_too_little_is_refused() -> None:
    with pytest.raises(PlanningError, match="need 250 returns, not 170"):
        regimes(made_up(np.full(200, 0.3)), "BTC", "SPY")
    flat = made_up(np.full(400, 0.3))
    flat.returns[:50, 1] = 0.0
    with pytest.raises(PlanningError, match="do not move at first"):
        dynamic_correlation(flat, "BTC", "SPY")
