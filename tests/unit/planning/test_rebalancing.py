"""Ways back to target: the rows' numbers, published bands, laws."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossmargin.errors import PlanningError
from crossmargin.planning import (
    hedge_band,
    hedge_trade,
    hedging_error,
    merton_weight,
    no_trade_half_width,
    rebalance,
    risk_target,
)


class TestWeights:
    def test_row_a27(self) -> None:
        made = rebalance([65.0, 50.0], [0.5, 0.5], band=0.05)
        assert made.weights[0] == pytest.approx(0.5652, abs=5e-5)
        assert made.trades[0] == pytest.approx(-7.50, abs=1e-12)
        assert made.breached.all()

    def test_inside_the_band_nothing_is_traded(self) -> None:
        made = rebalance([52.0, 48.0], [0.5, 0.5], band=0.05, cost_rate=0.01)
        assert not made.trades.any() and made.cost == 0.0

    def test_to_the_edge_costs_less(self) -> None:
        edge = rebalance([65.0, 50.0], [0.5, 0.5], band=0.05, to="edge", cost_rate=0.001)
        target = rebalance([65.0, 50.0], [0.5, 0.5], band=0.05, cost_rate=0.001)
        assert edge.after[0] == pytest.approx(0.55, abs=1e-12)
        assert edge.cost < target.cost

    @given(
        st.lists(st.floats(0.1, 100), min_size=2, max_size=6),
        st.floats(0, 0.02),
        st.sampled_from(["target", "edge"]),
    )
    def test_nothing_is_lent_and_every_band_holds(
        self, values: list[float], cost: float, to: str
    ) -> None:
        w = np.full(len(values), 1 / len(values))
        made = rebalance(values, w, band=0.03, cost_rate=cost, to=to)  # type: ignore[arg-type]
        assert made.trades.sum() == pytest.approx(-made.cost, abs=1e-9 * sum(values))
        assert made.cost == pytest.approx(cost * np.abs(made.trades).sum(), abs=1e-9 * sum(values))
        if made.breached.any():
            assert (np.abs(made.after - w) <= 0.03 + 1e-9).all()

    def test_wrong_figures_are_named(self) -> None:
        with pytest.raises(PlanningError, match="summing to 1"):
            rebalance([1, 2], [0.5, 0.6])
        with pytest.raises(PlanningError, match="cost_rate"):
            rebalance([1, 2], [0.5, 0.5], cost_rate=-0.1)


class TestBands:
    def test_published_no_trade_region(self) -> None:
        # clearing-practice §4.2: γ 5, μ 8 %, σ 16 %, ε 1 % → 62.5 % ± 4.35 %.
        weight = merton_weight(0.08, 0.16, 5.0)
        assert weight == pytest.approx(0.625, rel=1e-12)
        assert no_trade_half_width(weight, 5.0, 0.01) == pytest.approx(0.0435, abs=5e-5)

    def test_hedge_band_is_the_cube_root(self) -> None:
        band = hedge_band(50_000, 2e-5, 0.0005, 1e-3, rate=0.05, years=0.5)
        inside = 1.5 * math.exp(-0.025) * 0.0005 * 50_000 * 2e-5**2 / 1e-3
        assert band**3 == pytest.approx(inside, rel=1e-12)
        assert hedge_band(50_000, 2e-5, 0.0, 1e-3) == 0.0

    @given(st.floats(-50, 50), st.sampled_from([0.001, 0.1, 1.0]))
    def test_less_than_a_lot_is_left(self, delta: float, lot: float) -> None:
        # Row A27.
        trade = hedge_trade(delta, lot=lot)
        assert abs(delta + trade) < lot
        assert abs(trade / lot - round(trade / lot)) < 1e-6

    @given(st.floats(-50, 50), st.floats(0, 5))
    def test_a_band_is_never_left(self, delta: float, band: float) -> None:
        assert abs(delta + hedge_trade(delta, band=band)) <= band + 1e-9
        if abs(delta) <= band:
            assert hedge_trade(delta, band=band) == 0.0


OPTION = {"price": 100.0, "strike": 100.0, "vol": 0.6, "years": 30 / 365, "seed": 3}


class TestHedging:
    def test_four_times_the_steps_halve_the_error(self) -> None:
        # Row A27: ratio 2.0 ± 0.15 on 20,000 paths.
        coarse = hedging_error(**OPTION, steps=30, paths=20_000)
        fine = hedging_error(**OPTION, steps=120, paths=20_000)
        assert coarse.error / fine.error == pytest.approx(2.0, abs=0.15)

    def test_a_band_saves_cost_and_leaves_more_error(self) -> None:
        every = hedging_error(**OPTION, steps=300, paths=3_000, cost_rate=0.002)
        band = hedging_error(**OPTION, steps=300, paths=3_000, cost_rate=0.002, aversion=0.5)
        assert band.cost < 0.8 * every.cost and band.trades < every.trades
        assert band.error > every.error


class TestRiskTarget:
    def test_row_a14(self) -> None:
        made = risk_target(0.02, -0.05, target=0.02)
        assert made.vol == pytest.approx(0.022935, abs=5e-7)
        assert made.weight == pytest.approx(0.8720, abs=5e-5)
        assert risk_target(0.40, 0.40, target=0.20).weight == pytest.approx(0.5, rel=1e-12)

    def test_inside_the_band_zero_orders(self) -> None:
        assert not risk_target(0.02, 0.02, target=0.02, held=0.97, band=0.05).trade
        assert risk_target(0.02, 0.02, target=0.02, held=0.90, band=0.05).trade
