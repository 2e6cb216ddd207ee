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


class TestVenueReserves:
    """Margin beside what must stay free at each venue, held to slow searches."""

    @staticmethod
    def greedy(
        rows: list[Strategy], room: float, caps: dict[str, float]
    ) -> float:  # fmt: skip
        """Most profit with margin summed, the best return on margin first (nested caps)."""
        left, earned = dict(caps), 0.0
        for s in sorted(rows, key=lambda s: -s.profit / s.im):
            if s.profit <= 0:
                break
            margin = min(s.most * s.im, room, left.get(s.venue, room))
            room, earned = room - margin, earned + margin / s.im * s.profit
            if s.venue in left:
                left[s.venue] -= margin
        return earned

    @given(st.integers(0, 100_000))
    @settings(max_examples=40, deadline=None)
    def test_every_choice_of_venues_in_turn(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        venues = ["A", "B", "C"]
        rows = [
            Strategy(
                name=f"s{k}", profit=float(rng.uniform(-1, 6)), im=float(rng.uniform(1, 9)),
                most=float(rng.integers(1, 9)), venue=venues[k % 3],
            )
            for k in range(5)
        ]  # fmt: skip
        reserves = {v: float(rng.integers(0, 40)) for v in venues if rng.random() < 0.8}
        balances = {"C": float(rng.integers(0, 50))} if rng.random() < 0.5 else {}
        made = allocate(
            rows, np.zeros((4, 5)), equity=100.0, im_share=0.9, reserves=reserves,
            balances=balances,
        )  # fmt: skip
        best = 0.0
        for used in itertools.product([False, True], repeat=3):
            held = [v for v, yes in zip(venues, used) if yes]
            kept = {v: reserves.get(v, 0.0) for v in held}
            mine = [s for s in rows if s.venue in held]
            pinned = {v: balances[v] - kept[v] for v in held if v in balances}
            loose = 100.0 - sum(balances.values()) - sum(kept[v] for v in held if v not in balances)
            if loose < 0 or any(x < 0 for x in pinned.values()):
                continue
            # Venues without a balance share one purse; what a pinned one takes is beside it.
            free = [s for s in mine if s.venue not in balances]
            there = [s for s in mine if s.venue in balances]
            for split in np.linspace(0.0, 90.0, 181) if there else [0.0]:
                b = self.greedy(there, split, pinned) if there else 0.0
                a = self.greedy(free, min(loose, 90.0 - split), {})
                best = max(best, a + b)
        assert made.profit == pytest.approx(best, abs=0.05 * 6 if balances else 1e-6)
        assert made.profit >= best - 1e-6
        for v in made.venues:
            held_here = any(x.units > 0 for x in made.lines if x.venue == v.venue)
            assert v.reserve == (reserves.get(v.venue, 0.0) if held_here else 0.0)
            assert v.capital == pytest.approx(v.im + v.reserve)
            assert v.balance is None or v.capital <= v.balance + 1e-6
        assert sum(v.capital for v in made.venues if v.balance is None) <= (
            100.0 - sum(balances.values()) + 1e-6
        )
        assert made.im <= 90.0 + 1e-6

    def test_hedges_net_within_a_venue_and_not_between(self) -> None:
        """Long and short of one coin: in one venue nothing is needed, over two all of it."""
        scan = [[-10.0, 10.0], [10.0, -10.0]]
        for other, im in (("A", 0.0), ("B", 100.0)):
            pair = [
                Strategy(name="long", profit=1, im=10, most=5, venue="A"),
                Strategy(name="short", profit=1, im=10, most=5, venue=other),
            ]
            plan = allocate(
                pair, np.ones((3, 2)), equity=200.0, scan=scan, reserves={"A": 30.0, other: 30.0}
            )
            assert plan.im == 0.0 and plan.profit == pytest.approx(10)
            assert sum(v.im for v in plan.venues) == pytest.approx(im)
            assert sum(v.capital for v in plan.venues) == pytest.approx(
                im + (30 if other == "A" else 60)
            )
        tight = allocate(
            pair, np.ones((3, 2)), equity=70.0, scan=scan, reserves={"A": 30.0, "B": 30.0}
        )
        assert "capital" in tight.binding
        grid = [
            a + b
            for a, b in itertools.product(np.linspace(0, 5, 51), repeat=2)
            if 10 * a + 10 * b + 30 * (a > 0) + 30 * (b > 0) <= 70 + 1e-9
        ]
        assert tight.profit == pytest.approx(max(grid)) == 4.0

    def test_with_a_shortfall_no_point_of_a_grid_is_better(self) -> None:
        rng = np.random.default_rng(4)
        rows = [
            Strategy(name=f"s{k}", profit=p, im=m, most=6, venue=v)
            for k, (p, m, v) in enumerate([(3.0, 8.0, "A"), (2.0, 4.0, "A"), (2.5, 5.0, "B")])
        ]
        profits = rng.normal([3, 2, 2.5], [9, 7, 8], (40, 3))
        kept = {"A": 20.0, "B": 25.0}
        plan = allocate(rows, profits, equity=90.0, shortfall=30.0, level=0.9, reserves=kept)
        best = 0.0
        for units in itertools.product(np.arange(0, 6.01, 0.5), repeat=3):
            x = np.array(units)
            need = x @ [8, 4, 5] + 20 * (x[0] + x[1] > 0) + 25 * (x[2] > 0)
            if need <= 90 and expected_shortfall(-(profits @ x), 0.9) <= 30:
                best = max(best, float(x @ [3, 2, 2.5]))
        assert best > 0 and plan.profit >= best - 1e-7
        assert plan.shortfall <= 30 + 1e-6 and sum(v.capital for v in plan.venues) <= 90 + 1e-6

    def test_a_frontier_keeps_them_too(self) -> None:
        rows = [Strategy(name="a", profit=1, im=10, most=9, venue="A")]
        plans = margin_frontier(
            rows, [[-5.0], [6.0]], equity=100, points=3, reserves={"A": 40.0}, level=0.5
        )
        assert [p.venues[0].reserve for p in plans] == [40.0, 40.0]
        assert plans[-1].im == pytest.approx(60)

    @pytest.mark.parametrize(
        ("more", "said"),
        [
            ({"reserves": {"X": 1.0}}, "no strategy is held at 'X'"),
            ({"reserves": {"A": -1.0}}, "-1 USD"),
            ({"balances": {"A": 200.0}}, "add up to 200.00"),
            ({"reserves": {"A": 1.0}, "scan": [[-1.0]]}, "bound on every strategy"),
        ],
    )
    def test_what_cannot_be(self, more: dict, said: str) -> None:
        rows = [Strategy(name="a", profit=1, im=10, venue="A")]
        with pytest.raises(PlanningError, match=said):
            allocate(rows, [[1.0]], equity=100, **more)
