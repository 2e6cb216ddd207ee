"""Falls from the peak: the rows' numbers, empyrical's, and laws."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossmargin.errors import PlanningError
from crossmargin.planning import (
    Rung,
    drawdown_report,
    drawdowns,
    floor_exposure,
    growth_multiple,
    ladder_exposure,
    max_drawdown,
    simulate_drawdowns,
    underwater,
    unit_values,
)

VALUES = st.lists(st.floats(0.01, 100), min_size=2, max_size=40)


class TestMeasured:
    def test_row_a20(self) -> None:
        worst = max_drawdown([100, 120, 90, 110, 80, 130])
        assert worst.depth == pytest.approx(1 / 3, rel=1e-12)
        assert (worst.peak, worst.trough, worst.recovery) == (1, 4, 5)

    def test_row_a20_with_a_deposit(self) -> None:
        equity, flows = [100, 90, 180, 162], [0, 0, 90, 0]
        assert max_drawdown(unit_values(equity, flows)).depth == pytest.approx(0.19, rel=1e-12)
        assert max_drawdown(equity).depth == pytest.approx(0.10, rel=1e-12)  # the naive one

    def test_empyrical_agrees(self) -> None:
        empyrical = pytest.importorskip("empyrical")
        returns = np.random.default_rng(3).normal(0.0005, 0.02, 700)
        values = np.concatenate([[1.0], np.cumprod(1 + returns)])
        found = drawdown_report(values, periods_per_year=252)
        assert -found.worst.depth == pytest.approx(empyrical.max_drawdown(returns), rel=1e-12)
        assert found.calmar == pytest.approx(empyrical.calmar_ratio(returns), rel=1e-12)

    @given(VALUES)
    def test_is_the_worst_of_all_pairs(self, values: list[float]) -> None:
        slow = max(1 - b / a for i, a in enumerate(values) for b in values[i:])
        assert max_drawdown(values).depth == pytest.approx(slow, abs=1e-12)
        assert underwater(values).max() == pytest.approx(slow, abs=1e-12)

    def test_falls_do_not_overlap_and_are_in_order(self) -> None:
        values = np.exp(np.cumsum(np.random.default_rng(1).normal(0, 0.03, 500)))
        found = drawdowns(values)
        assert [x.depth for x in found] == sorted((x.depth for x in found), reverse=True)
        taken = np.zeros(500)
        for x in found:
            assert x.peak < x.trough and (x.recovery is None or x.recovery > x.trough)
            taken[x.peak + 1 : x.recovery] += 1
        assert taken.max() == 1

    def test_ruin_ends_a_series(self) -> None:
        np.testing.assert_array_equal(unit_values([100, 50, -3]), [1, 0.5, 0])
        with pytest.raises(PlanningError, match=r"PLN-002.*place 1"):
            unit_values([100, 0, 10])
        with pytest.raises(PlanningError, match="PLN-001"):
            max_drawdown([1.0, math.nan])
        with pytest.raises(PlanningError, match="2 values of equity and 1 flows"):
            unit_values([1, 2], [0])


class TestLadder:
    RUNGS = (Rung(at=0.10, exposure=0.5, rearm=0.05), Rung(at=0.20, exposure=0.0, rearm=0.10))

    def test_cuts_on_the_first_mark_at_or_past_and_waits_for_its_reset(self) -> None:
        values = [100, 95, 90, 94, 95.1, 80, 89, 90.1, 94.9, 95, 100]
        found = ladder_exposure(values, self.RUNGS)
        np.testing.assert_array_equal(found, [1, 1, 0.5, 0.5, 1, 0, 0, 0.5, 0.5, 1, 1])

    def test_exactly_at_a_tenth_is_at(self) -> None:
        assert ladder_exposure([1.0, 0.9], self.RUNGS)[1] == 0.5
        assert ladder_exposure([3.0, 2.7], self.RUNGS)[1] == 0.5

    @pytest.mark.parametrize(
        "rung", [Rung(at=0.1, exposure=0.5, rearm=0.1), Rung(at=0.1, exposure=1.5, rearm=0.0)]
    )
    def test_rungs_that_cannot_be(self, rung: Rung) -> None:
        with pytest.raises(PlanningError, match="PLN-003"):
            ladder_exposure([1.0], [rung])


class TestFloor:
    def test_binding_limit_is_named(self) -> None:
        at = {"equity": 100.0, "peak": 100.0, "keep": 0.8}
        free = floor_exposure(**at, multiple=4.0)
        assert (free.floor, free.cushion, free.exposure) == pytest.approx((80, 20, 80))
        assert free.bound_by == "cushion" and free.gap == pytest.approx(0.25)
        gap = floor_exposure(**at, multiple=4.0, worst_gap=0.4)
        assert gap.bound_by == "gap" and gap.exposure == pytest.approx(50)
        margin = floor_exposure(**at, multiple=40.0, margin_rate=0.5, used=0.5)
        assert margin.bound_by == "margin" and margin.exposure == pytest.approx(100)

    def test_never_through_the_floor_by_a_gap_it_knows(self) -> None:
        rng = np.random.default_rng(5)
        equity = peak = 100.0
        for _ in range(2_000):
            held = floor_exposure(equity, peak, keep=0.8, multiple=10.0, worst_gap=0.15).exposure
            equity += held * max(rng.normal(0, 0.05), -0.15)
            peak = max(peak, equity)
            assert equity >= 0.8 * peak - 1e-9

    def test_growth_optimum_does_not_depend_on_the_floor(self) -> None:
        assert growth_multiple(0.16, 0.4, 0.0) == pytest.approx(1.0)
        assert growth_multiple(0.16, 0.4, 0.8) == pytest.approx(1.0)
        assert growth_multiple(0.16, 0.4, 0.5, aversion=3.0) == pytest.approx(0.5)

    def test_grows_fastest_at_that_multiple(self) -> None:
        # With a floor at α = ½ of the peak, X = W − αM and Y = X·M^{α/(1−α)}, whose logarithm no
        # new peak moves: it grows by mμ − m²σ²/2, and W by 1 − α times that in the long run.
        drift, vol, dt = 0.16, 0.4, 1 / 365
        z = np.random.default_rng(2).standard_normal((4_000, 2 * 365))
        steps = drift * dt + vol * math.sqrt(dt) * z

        def growth(multiple: float) -> float:
            wealth = peak = np.ones(4_000)
            for t in range(steps.shape[1]):
                wealth = wealth + multiple * (wealth - 0.5 * peak) * steps[:, t]
                peak = np.maximum(peak, wealth)
            return float((np.log(2 * (wealth - 0.5 * peak)) + np.log(peak)).mean()) / 2

        best = growth_multiple(drift, vol, 0.5)
        for m in (0.4 * best, best, 2.0 * best):
            error = 4 * m * vol / math.sqrt(2 * 4_000)
            assert growth(m) == pytest.approx(m * drift - 0.5 * (m * vol) ** 2, abs=error)
        assert growth(best) > max(growth(0.4 * best), growth(2.0 * best))


class TestFan:
    def test_brownian_mean_is_sqrt_half_pi(self) -> None:
        # Row A20: mean deepest fall → 1.2533·σ·√T within 3 % at 4,000 steps; small σ, so that
        # the fall of the logarithm is the fall.
        sigma = 1e-4
        made = simulate_drawdowns(vol=sigma, steps=4_000, paths=8_000, seed=11)
        unit = sigma * math.sqrt(4_000)
        assert made.mean / unit == pytest.approx(1.2533, rel=0.03)
        # Looking only at whole steps misses 0.5826·σ at each end (Broadie, Glasserman, Kou 1997).
        watched = 1.2533 - 2 * 0.5826 / math.sqrt(4_000)
        assert made.mean / unit == pytest.approx(watched, abs=3 * made.error / unit)

    def test_same_seed_same_bytes_and_a_fall_already_there_counts(self) -> None:
        returns = np.random.default_rng(0).normal(0, 0.03, 300)
        one = simulate_drawdowns(returns, steps=60, paths=300, seed=4, limits=[0.1, 0.3])
        two = simulate_drawdowns(returns, steps=60, paths=300, seed=4, limits=[0.1, 0.3])
        assert one.fan.tobytes() == two.fan.tobytes()
        assert one.breach[0.1] >= one.breach[0.3]
        deep = simulate_drawdowns(returns, steps=60, paths=300, seed=4, start_fall=0.2)
        assert (deep.fan[:, 0] == pytest.approx(0.2)) and (deep.depth >= one.depth - 1e-12).all()
