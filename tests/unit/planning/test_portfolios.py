"""Margin as a constraint of skfolio's optimisers."""

from __future__ import annotations

import numpy as np
import pytest
from tests.helpers import ETH_PERP, PERP, fixture_g, flat_rate, rules, scan_rules

from crossmargin.errors import PlanningError
from crossmargin.planning import fit_within_margin, weights_margin

NAMES = [PERP, ETH_PERP]
RETURNS = np.random.default_rng(6).multivariate_normal(
    [0.004, 0.006], [[0.0009, 0.0008], [0.0008, 0.0016]], 600
)


def mean_risk(**more: object):  # type: ignore[no-untyped-def]
    skfolio = pytest.importorskip("skfolio.optimization")

    def make(left, right):  # type: ignore[no-untyped-def]
        return skfolio.MeanRisk(
            objective_function=skfolio.ObjectiveFunction.MAXIMIZE_UTILITY, risk_aversion=1.0,
            min_weights=-3.0, max_weights=3.0, budget=None, left_inequality=left,
            right_inequality=right, **more,
        )  # fmt: skip

    return make


class TestWithSkfolio:
    def test_flat_rates_equal_the_linear_constraint(self) -> None:
        # Long only, 10 %: margin is 0.1·Σw, which skfolio can be told directly.
        margin = weights_margin(fixture_g(), rules(flat_rate(0.10, 0.05)), NAMES, 1e5)
        make = mean_risk()
        free = make(None, None).fit(RETURNS).weights_
        assert 0.1 * np.abs(free).sum() > 0.2
        found = fit_within_margin(make, RETURNS, margin, limit=0.2)
        exact = make(np.array([[0.1, 0.1]]), np.array([0.2])).fit(RETURNS).weights_
        assert found.im == pytest.approx(0.2, rel=1e-5) and found.rounds >= 2
        if (exact >= 0).all():
            np.testing.assert_allclose(found.weights, exact, atol=2e-3)

    def test_a_scan_lets_a_hedge_be_larger(self) -> None:
        make = mean_risk()
        netted = weights_margin(fixture_g(), scan_rules(), NAMES, 1e5)
        found = fit_within_margin(make, RETURNS, netted, limit=0.3)
        assert found.im <= 0.3 * (1 + 1e-9)
        # Nothing better among random weights that can be margined.
        mean, cov = RETURNS.mean(axis=0), np.cov(RETURNS.T)

        def utility(w: np.ndarray) -> np.ndarray:
            return w @ mean - np.einsum("ij,jk,ik->i", w, cov, w)

        some = np.random.default_rng(1).uniform(-3, 3, (4_000, 2))
        allowed = some[netted(some) <= 0.3]
        best = utility(np.vstack([allowed, found.weights[None]]))
        assert best[-1] >= best[:-1].max() - 1e-6

    def test_what_is_allowed_already_is_left_alone(self) -> None:
        margin = weights_margin(fixture_g(), rules(flat_rate(0.10, 0.05)), NAMES, 1e5)
        found = fit_within_margin(mean_risk(), RETURNS, margin, limit=10.0)
        assert found.rounds == 1 and found.left.shape == (0, 2)


class Stubborn:
    """An optimiser that hears nothing."""

    weights_ = np.array([2.0, 2.0])

    def fit(self, X: object) -> Stubborn:
        return self


def test_a_limit_that_is_never_kept_is_said() -> None:
    margin = weights_margin(fixture_g(), rules(flat_rate(0.10, 0.05)), NAMES, 1e5)
    with pytest.raises(PlanningError, match=r"3 fits, and the weights still need 0\.4000"):
        fit_within_margin(lambda a, b: Stubborn(), RETURNS, margin, limit=0.2, rounds=3)
