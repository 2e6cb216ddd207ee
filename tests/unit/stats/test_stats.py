"""Estimators against figures of the literature and slow second implementations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossmargin.errors import InvariantViolation
from crossmargin.stats import (
    ewma_volatility,
    expected_shortfall,
    expected_shortfall_error,
    filtered_returns,
    horizon_losses,
    linear_unwind,
    log_returns,
    normal_expected_shortfall,
    normal_quantile,
    value_at_risk,
)

LOSSES = st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=60)
LEVELS = st.sampled_from([0.9, 0.95, 0.975, 0.99])


def slow_shortfall(losses: list[float], level: float) -> float:
    """Spread weight 1/n over each loss from the worst on until 1 − level is used up."""
    left, total = 1.0 - level, 0.0
    for loss in sorted(losses, reverse=True):
        weight = min(1.0 / len(losses), left)
        total += weight * loss
        left -= weight
        if left <= 1e-15:
            break
    return total / (1.0 - level)


class TestTails:
    def test_normal_figures_of_clearing_practice(self) -> None:
        # clearing-practice §1.6: ES97.5 = 2.3378σ ≈ VaR99 = 2.3263σ; ES99 = 2.6652σ.
        assert normal_quantile(0.99) == pytest.approx(2.3263, abs=5e-5)
        assert normal_expected_shortfall(0.975) == pytest.approx(2.3378, abs=5e-5)
        assert normal_expected_shortfall(0.99) == pytest.approx(2.6652, abs=5e-5)

    def test_twelve_and_a_half_tail_points(self) -> None:
        # 500 scenarios at 97.5 %: twelve and a half points count.
        losses = np.arange(1.0, 501.0)
        by_hand = (sum(range(489, 501)) + 0.5 * 488) / 12.5
        assert expected_shortfall(losses, 0.975) == pytest.approx(by_hand, rel=1e-14)

    def test_whole_tail_points_in_spite_of_binary_levels(self) -> None:
        assert expected_shortfall(np.arange(1.0, 1001.0), 0.99) == pytest.approx(995.5, rel=1e-12)
        assert value_at_risk(np.arange(1.0, 1001.0), 0.99) == 990.0

    def test_less_than_one_point_is_the_worst_loss(self) -> None:
        assert expected_shortfall([3.0, 1.0, 2.0], 0.99) == pytest.approx(3.0)
        assert math.isnan(expected_shortfall_error([3.0, 1.0, 2.0], 0.99))

    @given(LOSSES, LEVELS)
    def test_same_as_spreading_weights(self, losses: list[float], level: float) -> None:
        got = expected_shortfall(losses, level)
        assert got == pytest.approx(slow_shortfall(losses, level), rel=1e-9, abs=1e-9)

    @given(LOSSES, LEVELS)
    def test_shortfall_is_between_quantile_and_worst(
        self, losses: list[float], level: float
    ) -> None:
        got = expected_shortfall(losses, level)
        assert value_at_risk(losses, level) - 1e-9 <= got <= max(losses) + 1e-9

    def test_standard_error_is_that_of_repeated_samples(self) -> None:
        rng = np.random.default_rng(7)
        samples = rng.standard_normal((400, 2_000))
        found = np.array([expected_shortfall(one, 0.975) for one in samples])
        said = np.array([expected_shortfall_error(one, 0.975) for one in samples])
        assert said.mean() == pytest.approx(found.std(ddof=1), rel=0.1)

    def test_nothing_has_no_tail(self) -> None:
        for losses, level in (([], 0.99), ([1.0, math.nan], 0.99), ([1.0], 1.0)):
            with pytest.raises(InvariantViolation):
                expected_shortfall(losses, level)


class TestVolatility:
    def test_recursion_step_by_step(self) -> None:
        r = np.random.default_rng(3).standard_normal(200) * 0.03
        variance = float(np.mean(r[:30] ** 2))
        expected = [variance]
        for one in r:
            variance = 0.97 * variance + 0.03 * one**2
            expected.append(variance)
        assert ewma_volatility(r, 0.97) == pytest.approx(np.sqrt(expected), rel=1e-12)

    def test_half_lives_of_clearing_practice(self) -> None:
        # §1.6: 0.94 → 11.2 days, 0.97 → 22.8, 0.99 → 69.0.
        for decay, days in ((0.94, 11.2), (0.97, 22.8), (0.99, 69.0)):
            r = np.concatenate([np.full(30, 0.01), np.zeros(100)])
            path = ewma_volatility(r, decay)[30:] ** 2
            crossing = np.interp(-0.5, -path / path[0], np.arange(path.size))
            assert crossing == pytest.approx(days, abs=0.1)

    def test_filtered_returns_have_todays_volatility(self) -> None:
        rng = np.random.default_rng(5)
        calm, wild = rng.standard_normal(600) * 0.01, rng.standard_normal(600) * 0.05
        filtered = filtered_returns(np.concatenate([calm, wild]), 0.94)
        now = ewma_volatility(np.concatenate([calm, wild]), 0.94)[-1]
        assert filtered.size == 1_170
        assert filtered[:500].std() == pytest.approx(now, rel=0.15)
        assert not filtered_returns(np.zeros(40), 0.97).any()


class TestHorizon:
    def test_unwind_multiples_of_clearing_practice(self) -> None:
        # §1.7: n = 5 gives 1.483σ against √5; towards √(n/3).
        assert np.sqrt(np.sum(linear_unwind(5) ** 2)) == pytest.approx(1.483, abs=5e-4)
        many = np.sqrt(np.sum(linear_unwind(900) ** 2))
        assert many == pytest.approx(math.sqrt(900 / 3), rel=2e-3)

    def test_blocks_end_now_and_do_not_overlap(self) -> None:
        r = np.arange(1.0, 8.0)
        assert horizon_losses(r, np.ones(3)).tolist() == [-9.0, -18.0]
        assert horizon_losses(r, linear_unwind(2)).tolist() == [-3.5, -6.5, -9.5]

    def test_log_returns(self) -> None:
        assert log_returns([1.0, 2.0, 1.0]) == pytest.approx([math.log(2), -math.log(2)])
        with pytest.raises(InvariantViolation):
            log_returns([1.0, 0.0])
