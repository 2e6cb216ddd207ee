"""Sizes: the rows' numbers, laws, and the engine's limits."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tests.helpers import PERP, account, fixture_g, flat_rate, rules

from crossmargin.errors import PlanningError
from crossmargin.planning import (
    SizePlan,
    atr_quantity,
    average_true_range,
    kelly_binary,
    kelly_weights,
    size_position,
    stop_quantity,
    volatility_quantity,
)


class TestRules:
    def test_row_a25(self) -> None:
        assert stop_quantity(100, 50_000, 48_000) == pytest.approx(0.05, rel=1e-12)
        assert stop_quantity(100, 50_000, 48_000, fee_rate=0.0005) == pytest.approx(
            0.048804, abs=5e-7
        )

    def test_a_gap_makes_it_smaller_on_either_side(self) -> None:
        assert stop_quantity(100, 50_000, 48_000, gap=0.01) == pytest.approx(100 / 2_480)
        assert stop_quantity(100, 50_000, 52_000, gap=0.01) == pytest.approx(100 / 2_520)

    def test_double_volatility_halves_the_size(self) -> None:
        assert atr_quantity(100, 2_000, 2) == pytest.approx(0.5 * atr_quantity(100, 1_000, 2))
        assert volatility_quantity(1e6, 50_000, 0.4, 0.2) == pytest.approx(10.0)

    def test_true_range_is_wilders(self) -> None:
        rng = np.random.default_rng(1)
        close = 100 + np.cumsum(rng.normal(0, 1, 40))
        high, low = close + rng.uniform(0, 2, 40), close - rng.uniform(0, 2, 40)
        found = average_true_range(high, low, close, 14, first="skip")
        true = [
            max(high[t] - low[t], abs(high[t] - close[t - 1]), abs(low[t] - close[t - 1]))
            for t in range(1, 40)
        ]
        slow = sum(true[:14]) / 14
        assert np.isnan(found[:14]).all() and found[14] == pytest.approx(slow)
        for t in range(14, 39):
            slow = (13 * slow + true[t]) / 14
            assert found[t + 1] == pytest.approx(slow, rel=1e-12)

    def test_kelly(self) -> None:
        # One asset: μ/σ². Two alike bets: half each. A coin at 60 % and even money: 20 %.
        assert kelly_weights([0.16], [[0.16]], fraction=1.0)[0] == pytest.approx(1.0)
        both = kelly_weights([0.1, 0.1], [[0.2, 0.1], [0.1, 0.2]], fraction=1.0)
        np.testing.assert_allclose(both, [1 / 3, 1 / 3], rtol=1e-12)
        assert kelly_binary(0.6, 1.0, fraction=1.0) == pytest.approx(0.2)
        assert kelly_binary(0.4, 1.0) == 0.0

    def test_full_kelly_grows_fastest(self) -> None:
        def growth(f: float) -> float:
            return 0.6 * math.log1p(f) + 0.4 * math.log1p(-f)

        best = kelly_binary(0.6, 1.0, fraction=1.0)
        assert growth(best) > max(growth(best - 0.01), growth(best + 0.01))

    def test_wrong_figures_are_named(self) -> None:
        with pytest.raises(PlanningError, match="entry"):
            stop_quantity(100, -1, 48_000)
        with pytest.raises(PlanningError, match="the stop is the entry"):
            stop_quantity(100, 50_000, 50_000)
        with pytest.raises(PlanningError, match="not positive definite"):
            kelly_weights([0.1, 0.1], [[0.2, 0.2], [0.2, 0.2]])
        with pytest.raises(PlanningError, match="6 periods of 5 bars"):
            average_true_range([2] * 5, [1] * 5, [1.5] * 5, 6)


class TestPlan:
    ENTRY, STOP = 50_000.0, 48_000.0

    def plan(self, cash: float, **more: float) -> SizePlan:
        return size_position(
            account(balances={"USDC": cash}),
            fixture_g(),
            rules(flat_rate(0.10, 0.05)),
            PERP,
            entry=self.ENTRY,
            stop=self.STOP,
            budget_usd=100.0,
            equity_usd=cash,
            **more,  # type: ignore[arg-type]
        )

    def test_rich_account_is_bound_by_its_stop(self) -> None:
        made = self.plan(10_000.0, fee_rate=0.0005)
        assert made.binding == "stop" and not made.liquidated_first
        assert made.quantity == pytest.approx(0.048804, abs=5e-7)
        assert made.loss_at_stop_usd == pytest.approx(100.0)
        assert made.notional_usd == pytest.approx(made.quantity * 50_000)

    def test_other_rules_bind_when_they_are_tighter(self) -> None:
        wide = self.plan(10_000.0, atr=2_000.0, atr_multiple=2.0)
        assert wide.binding == "true range"
        assert wide.quantity == pytest.approx(100 / 4_000, rel=1e-9)
        kelly = self.plan(10_000.0, kelly=0.1)
        assert kelly.binding == "Kelly ceiling" and kelly.notional_usd == pytest.approx(1_000.0)
        vol = self.plan(10_000.0, vol=0.5, vol_target=0.01)
        assert vol.binding == "volatility" and vol.notional_usd == pytest.approx(200.0)

    def test_liquidation_before_the_stop_is_said_and_shrinks(self) -> None:
        # Equity 150 − 2,000 q must stay above 5 % of 48,000 q; 10 % of 50,000 q must fit in 150.
        made = self.plan(150.0)
        by = {limit.rule: limit.quantity for limit in made.limits}
        assert made.liquidated_first
        assert by["liquidation"] == pytest.approx(150 / 4_400, rel=1e-6)
        assert by["initial margin"] == pytest.approx(0.03, rel=1e-9)
        assert made.binding == "initial margin" and by["stop"] == pytest.approx(0.05)

    def test_lots_are_rounded_down(self) -> None:
        assert self.plan(10_000.0, fee_rate=0.0005, lot=0.001).quantity == pytest.approx(0.048)

    def test_half_of_the_volatility_is_refused(self) -> None:
        with pytest.raises(PlanningError, match="belong together"):
            self.plan(1e4, vol=0.5)
