"""Correlations against published figures, slow loops, and planted truths."""

from __future__ import annotations

import math

import numpy as np
import pytest

from crossmargin.errors import InvariantViolation
from crossmargin.stats import (
    conditional_moves,
    dcc,
    ewma_correlation,
    ewma_covariance,
    exceedance_correlation,
    forbes_rigobon,
    nearest_correlation,
    rolling_correlation,
)


def correlated(rho: np.ndarray, seed: int) -> np.ndarray:
    """Draw pairs whose correlation is `rho` at each period."""
    z = np.random.default_rng(seed).standard_normal((rho.size, 2))
    return np.column_stack([z[:, 0], rho * z[:, 0] + np.sqrt(1 - rho**2) * z[:, 1]])


class TestMoving:
    def test_rolling_is_numpys_window_by_window(self) -> None:
        r = correlated(np.full(60, 0.5), 1)
        found = rolling_correlation(r[:, 0], r[:, 1], 20)
        assert np.isnan(found[:19]).all()
        for t in range(19, 60):
            window = r[t - 19 : t + 1]
            assert found[t] == pytest.approx(np.corrcoef(window.T)[0, 1], abs=1e-12)

    def test_a_flat_window_has_none(self) -> None:
        found = rolling_correlation([0.0] * 5 + [1.0], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 3)
        assert np.isnan(found[:5]).all() and np.isfinite(found[5])

    def test_ewma_is_the_recursion(self) -> None:
        r = correlated(np.full(50, 0.3), 2) * [0.02, 0.05]
        cov = sum(np.outer(x, x) for x in r[:30]) / 30
        slow = [cov]
        for x in r:
            cov = 0.97 * cov + 0.03 * np.outer(x, x)
            slow.append(cov)
        np.testing.assert_allclose(ewma_covariance(r, 0.97), slow, rtol=1e-12)
        by_hand = slow[-1][0, 1] / math.sqrt(slow[-1][0, 0] * slow[-1][1, 1])
        assert ewma_correlation(r[:, 0], r[:, 1], 0.97)[-1] == pytest.approx(by_hand, rel=1e-12)

    def test_a_switch_is_seen_within_a_hundred_periods(self) -> None:
        # Row A16: 0.3 → 0.8, EWMA at λ = 0.97 above 0.7 within 100 periods in ≥ 95 % of runs.
        rho = np.r_[np.full(250, 0.3), np.full(100, 0.8)]
        seen = 0
        for seed in range(400):
            r = correlated(rho, seed)
            seen += bool((ewma_correlation(r[:, 0], r[:, 1], 0.97)[251:] > 0.7).any())
        assert seen >= 380

    def test_series_that_do_not_fit_are_refused(self) -> None:
        with pytest.raises(InvariantViolation, match="one length"):
            ewma_correlation([1.0, 2.0], [1.0], 0.9)
        with pytest.raises(InvariantViolation, match="finite"):
            rolling_correlation([1.0, math.nan, 2.0], [1.0, 2.0, 3.0], 2)


class TestDcc:
    def test_is_engles_recursion(self) -> None:
        e = correlated(np.full(200, 0.4), 3)
        made = dcc(e, a=0.05, b=0.9)
        mean = np.corrcoef(e.T)
        uncentred = e.T @ e / len(e)
        scale = np.sqrt(np.diag(uncentred))
        np.testing.assert_allclose(made.mean, uncentred / np.outer(scale, scale), rtol=1e-12)
        assert abs(made.mean[0, 1] - mean[0, 1]) < 0.02
        q = made.mean.copy()
        for t, x in enumerate(e):
            d = np.sqrt(np.diag(q))
            np.testing.assert_allclose(made.correlation[t], q / np.outer(d, d), rtol=1e-10)
            q = 0.05 * made.mean + 0.05 * np.outer(x, x) + 0.9 * q

    def test_finds_the_weights_that_made_the_series(self) -> None:
        rng = np.random.default_rng(7)
        q_mean = np.array([[1.0, 0.5], [0.5, 1.0]])
        q, rows = q_mean.copy(), []
        for _ in range(6_000):
            d = np.sqrt(np.diag(q))
            x = np.linalg.cholesky(q / np.outer(d, d)) @ rng.standard_normal(2)
            rows.append(x)
            q = 0.03 * q_mean + 0.07 * np.outer(x, x) + 0.90 * q
        made = dcc(np.array(rows))
        assert made.a == pytest.approx(0.07, abs=0.02)
        assert made.b == pytest.approx(0.90, abs=0.03)

    def test_constant_correlation_gives_little_weight_to_news(self) -> None:
        assert dcc(correlated(np.full(3_000, 0.6), 5)).a < 0.02


class TestRepair:
    def test_highams_example(self) -> None:
        # Row A16 and Higham (2002).
        found = nearest_correlation([[1, 1, 0], [1, 1, 1], [0, 1, 1]])
        assert [found[0, 1], found[0, 2], found[1, 2]] == pytest.approx(
            [0.7607, 0.1573, 0.7607], abs=5e-5
        )
        assert np.linalg.eigvalsh(found).min() >= -1e-12

    def test_is_nearer_than_any_other_that_is_tried(self) -> None:
        rng = np.random.default_rng(0)
        bad = rng.uniform(-1, 1, (4, 4))
        bad = 0.5 * (bad + bad.T)
        np.fill_diagonal(bad, 1.0)
        found = nearest_correlation(bad)
        best = np.linalg.norm(found - bad)
        for _ in range(2_000):
            w = rng.standard_normal((4, 4))
            c = w @ w.T
            d = np.sqrt(np.diag(c))
            other = 0.98 * found + 0.02 * c / np.outer(d, d)
            assert np.linalg.norm(other - bad) >= best - 1e-9

    def test_leaves_a_correlation_matrix_alone(self) -> None:
        good = np.array([[1.0, 0.3], [0.3, 1.0]])
        np.testing.assert_allclose(nearest_correlation(good), good, atol=1e-12)


class TestConditional:
    def test_row_a16(self) -> None:
        cov = np.array([[0.04**2, 0.6 * 0.04 * 0.012], [0.6 * 0.04 * 0.012, 0.012**2]])
        moved, left = conditional_moves(cov, [1], [-0.05])
        assert moved[0] == pytest.approx(-0.10, rel=1e-12)
        assert math.sqrt(left[0, 0]) == pytest.approx(0.032, rel=1e-12)

    def test_forbes_and_rigobon_undo_a_rise_of_variance(self) -> None:
        # y = x + e: when only x's variance rises four times, correlation rises by itself.
        calm = 1 / math.sqrt(1 + 4.0)
        wild = math.sqrt(4.0) / math.sqrt(4.0 + 4.0)
        assert forbes_rigobon(wild, 3.0) == pytest.approx(calm, rel=1e-12)

    def test_exceedance_of_a_normal_pair_fades_in_the_tail(self) -> None:
        r = correlated(np.full(200_000, 0.6), 9)
        inner = exceedance_correlation(r[:, 0], r[:, 1], 0.45)
        outer = exceedance_correlation(r[:, 0], r[:, 1], 0.05)
        assert inner > outer > 0
        assert math.isnan(exceedance_correlation([1.0, 2.0, 3.0], [3.0, 2.0, 1.0], 0.1))
