"""Allocation: published weights, Euler's sums, and optima by brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossmargin.errors import PlanningError
from crossmargin.planning import (
    Strategy,
    allocate,
    margin_frontier,
    risk_budget_weights,
    shortfall_contributions,
    volatility_contributions,
    worst_contributions,
)
from crossmargin.stats import expected_shortfall


def covariance(vols: list[float], rho: list[list[float]]) -> np.ndarray:
    return np.outer(vols, vols) * np.array(rho)


class TestRiskParity:
    @pytest.mark.parametrize("rho", [-0.3, 0.0, 0.5, 0.9])
    def test_row_a03(self, rho: float) -> None:
        c = covariance([0.6, 0.8], [[1, rho], [rho, 1]])
        w = risk_budget_weights(c)
        np.testing.assert_allclose(w, [4 / 7, 3 / 7], rtol=1e-9)
        parts = volatility_contributions(w, c)
        assert parts[0] == pytest.approx(parts[1], rel=1e-9)

    def test_published_weights(self) -> None:
        # Vols 30, 20, 15 %, correlations 0.8, 0.5, 0.3: 19.69, 32.44, 47.87 %
        # (clearing-practice §4.2; the example of Bruder and Roncalli 2012).
        c = covariance([0.30, 0.20, 0.15], [[1, 0.8, 0.5], [0.8, 1, 0.3], [0.5, 0.3, 1]])
        np.testing.assert_allclose(risk_budget_weights(c), [0.1969, 0.3244, 0.4787], atol=5e-5)

    def test_skfolio_agrees(self) -> None:
        skfolio = pytest.importorskip("skfolio.optimization")
        rng = np.random.default_rng(2)
        x = rng.standard_normal((400, 4)) @ rng.uniform(-1, 1, (4, 4)) * 0.01
        model = skfolio.RiskBudgeting(risk_budget=[0.4, 0.3, 0.2, 0.1])
        import pandas

        model.fit(pandas.DataFrame(x, columns=list("abcd")))
        ours = risk_budget_weights(np.cov(x.T), [0.4, 0.3, 0.2, 0.1])
        np.testing.assert_allclose(model.weights_, ours, atol=2e-4)

    @given(st.integers(0, 10_000), st.integers(2, 6))
    @settings(max_examples=30)
    def test_budgets_are_met(self, seed: int, n: int) -> None:
        rng = np.random.default_rng(seed)
        a = rng.standard_normal((n, n + 2))
        c, b = a @ a.T, rng.uniform(0.1, 1, n)
        parts = volatility_contributions(risk_budget_weights(c, b), c)
        np.testing.assert_allclose(parts / parts.sum(), b / b.sum(), rtol=1e-9)

    def test_wrong_figures_are_named(self) -> None:
        with pytest.raises(PlanningError, match="symmetric"):
            risk_budget_weights([[1, 2], [0, 1]])
        with pytest.raises(PlanningError, match="budget above 0"):
            risk_budget_weights([[1, 0], [0, 1]], [1, 0])


class TestEuler:
    def test_row_a03_scan(self) -> None:
        # Long 1 perp, short 0.5 future at 50,000 on ±16 %: 4,000 = 8,000 − 4,000.
        moves = 50_000 * np.linspace(-0.16, 0.16, 9)
        parts, at = worst_contributions([1.0, -0.5], np.column_stack([moves, moves]))
        np.testing.assert_allclose(parts, [8_000, -4_000])
        assert at == 0 and parts.sum() == pytest.approx(4_000)

    @given(st.integers(0, 10_000), st.sampled_from([0.9, 0.975, 0.99]), st.integers(20, 300))
    @settings(max_examples=40)
    def test_shortfall_parts_sum_to_it_ties_and_fractions(
        self, seed: int, level: float, n: int
    ) -> None:
        rng = np.random.default_rng(seed)
        p = rng.integers(-3, 4, (n, 3)).astype(float)  # many ties
        w = rng.uniform(-1, 1, 3).round(1)
        parts = shortfall_contributions(w, p, level)
        assert parts.sum() == pytest.approx(expected_shortfall(-(p @ w), level), abs=1e-9)


class TestAllocate:
    STRATEGIES = (
        Strategy(name="basis", profit=3.0, im=10.0, most=8.0, venue="A"),
        Strategy(name="carry", profit=8.0, im=20.0, most=6.0, venue="B"),
        Strategy(name="hedge", profit=-0.5, im=5.0, most=10.0, venue="B"),
    )

    @property
    def profits(self) -> np.ndarray:
        rng = np.random.default_rng(8)
        common = rng.standard_t(4, 60)
        noise = rng.standard_normal((60, 3))
        return np.column_stack(
            [3 + 2 * noise[:, 0], 8 + 12 * common + noise[:, 1], -0.5 - 6 * common + noise[:, 2]]
        )

    def brute(self, keep) -> float:  # type: ignore[no-untyped-def]
        p, best = self.profits, -np.inf
        axes = [np.linspace(0, s.most, 41) for s in self.STRATEGIES]
        mu = np.array([s.profit for s in self.STRATEGIES])
        for x in itertools.product(*axes):
            units = np.array(x)
            if keep(units, p @ units):
                best = max(best, float(mu @ units))
        return best

    def test_margin_alone_is_filled_by_return_on_margin(self) -> None:
        made = allocate(self.STRATEGIES, self.profits, equity=150.0)
        assert made.binding == ("margin", "most carry")
        assert [line.units for line in made.lines] == pytest.approx([3.0, 6.0, 0.0])
        assert made.profit == pytest.approx(57.0) and made.im == pytest.approx(150.0)

    def test_shortfall_limit_against_brute_force(self) -> None:
        made = allocate(self.STRATEGIES, self.profits, equity=150.0, shortfall=25.0, level=0.9)
        assert "shortfall" in made.binding
        assert made.shortfall == pytest.approx(25.0, rel=1e-6)
        assert sum(x.shortfall for x in made.lines) == pytest.approx(made.shortfall, rel=1e-9)

        def keep(units: np.ndarray, result: np.ndarray) -> bool:
            im = units @ [10, 20, 5]
            return bool(im <= 150 and expected_shortfall(-result, 0.9) <= 25)

        best = self.brute(keep)
        assert best <= made.profit <= best * 1.03  # the grid is coarse, and never better

    def test_chance_of_liquidation_against_brute_force(self) -> None:
        made = allocate(self.STRATEGIES, self.profits, equity=150.0, liquidation=0.05)
        assert made.liquidation <= 0.05 + 1e-12

        def keep(units: np.ndarray, result: np.ndarray) -> bool:
            im = units @ [10, 20, 5]
            return bool(im <= 150 and (result + 150 < 0.5 * im).mean() <= 0.05)

        best = self.brute(keep)
        assert best <= made.profit + 1e-9 <= best * 1.03 + 1e-9

    def test_scan_nets_hedges(self) -> None:
        scan = np.array([[-10.0, -20.0, 18.0], [5.0, 10.0, -9.0]])
        netted = allocate(self.STRATEGIES, self.profits, equity=60.0, scan=scan)
        summed = allocate(self.STRATEGIES, self.profits, equity=60.0)
        assert netted.profit > summed.profit and netted.im <= 60.0 * (1 + 1e-9)

    def test_venue_takes_no_more(self) -> None:
        made = allocate(self.STRATEGIES, self.profits, equity=150.0, venue_im={"B": 40.0})
        assert sum(x.im for x in made.lines if x.venue == "B") <= 40.0 + 1e-9
        assert "venue B" in made.binding

    def test_frontier_rises_in_risk_and_profit(self) -> None:
        points = margin_frontier(self.STRATEGIES, self.profits, equity=150.0, points=6, level=0.9)
        profit = [x.profit for x in points]
        assert profit == sorted(profit) and len(points) == 5
        # Concave: each further dollar of shortfall earns less.
        slopes = np.diff(profit) / np.diff([x.shortfall for x in points])
        assert (np.diff(slopes) <= 1e-6).all()

    def test_no_plan_and_no_end(self) -> None:
        free = [Strategy(name="free", profit=1.0, im=0.0)]
        with pytest.raises(PlanningError, match="no end"):
            allocate(free, [[1.0], [2.0]], equity=1.0)
        with pytest.raises(PlanningError, match="names of their own"):
            allocate([*free, *free], [[1.0, 1.0]], equity=1.0)
        with pytest.raises(PlanningError, match="needs a bound"):
            allocate(free, [[1.0], [-2.0]], equity=1.0, liquidation=0.1)
