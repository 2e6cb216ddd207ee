"""Impact, days of unwinding and the risk on the way, against figures and slow sums."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossmargin.errors import MarketDataError
from crossmargin.market import (
    OrderBook,
    fit_impact,
    impact_fraction,
    liquidation_cost,
    unwind_days,
    unwind_sigmas,
)


def test_impact_of_the_requirement_rows() -> None:
    """A17: σ 4 %, Q/ADV 4 %, Y = 1 adds 0.8 %; with 0.5 % and 9.31 %: 10.61 %."""
    impact = float(impact_fraction(4.0, 100.0, 0.04))
    assert impact == pytest.approx(0.008, rel=1e-12)
    assert round(2.3263478740408408 * 0.04 + 0.005 + impact, 4) == 0.1061


def test_five_day_unwind() -> None:
    """clearing-practice §1.7: n = 5 gives 1.483 σ against √5 = 2.236 σ; towards √(n/3)."""
    assert round(float(unwind_sigmas(5)), 3) == 1.483
    assert round(math.sqrt(5), 3) == 2.236
    assert float(unwind_sigmas(1)) == 1.0
    assert float(unwind_sigmas(1e6)) == pytest.approx(math.sqrt(1e6 / 3), rel=1e-5)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 10, 37])
def test_unwind_is_the_sum_of_what_is_left(n: int) -> None:
    """A position falling by 1/n a day: the root of the sum of squares of what each day holds."""
    variance = sum((left / n) ** 2 for left in range(1, n + 1))
    assert float(unwind_sigmas(n)) == pytest.approx(math.sqrt(variance), rel=1e-14)


def test_days_round_up_and_rounding_of_sums_adds_none() -> None:
    assert unwind_days([0.0, 1.0, 10.0, 10.1, 25.0], 100.0, 0.1).tolist() == [1, 1, 1, 2, 3]
    assert unwind_days([5.0, 25.0], 100.0, 0.1, whole=False).tolist() == [1.0, 2.5]
    thirds = 0.1 + 0.2  # 0.30000000000000004
    assert float(unwind_days(thirds, 1.0, 0.1)) == 3.0


def test_cost_by_hand() -> None:
    """30 coins against 100 a day at 10 %: three days; spread 2 × 0.1 %; σ 4 %; 2.33 σ a day."""
    cost = liquidation_cost(
        30.0,
        adv_coins=100.0,
        sigma_daily=0.04,
        half_spread=0.001,
        participation=0.1,
        spread_multiple=2.0,
        risk_multiple=2.33,
    )
    root = math.sqrt(4 * 7 / 18)
    assert float(cost.days) == 3.0
    assert float(cost.spread) == 0.002
    assert float(cost.impact) == pytest.approx(0.04 * math.sqrt(0.3), rel=1e-14)
    assert float(cost.risk) == pytest.approx(2.33 * 0.04 * (root - 1.0), rel=1e-12)
    assert float(cost.total) == pytest.approx(
        0.002 + 0.04 * math.sqrt(0.3) + 2.33 * 0.04 * (root - 1.0), rel=1e-12
    )
    bare = liquidation_cost(
        30.0,
        adv_coins=100.0,
        sigma_daily=0.04,
        half_spread=0.0,
        participation=0.1,
        y=0.0,
        risk_multiple=1.0,
        covered_days=0,
    )
    assert float(bare.total) == pytest.approx(0.04 * root, rel=1e-14)


@given(
    coins=st.floats(0.01, 1e5),
    power=st.floats(0.1, 1.5),
    whole=st.booleans(),
    risk=st.floats(0.0, 4.0),
)
def test_slope_is_the_derivative_of_the_money(
    coins: float, power: float, whole: bool, risk: float
) -> None:
    given_: dict = {
        "adv_coins": 1_000.0,
        "sigma_daily": 0.05,
        "half_spread": 0.0004,
        "participation": 0.1,
        "power": power,
        "risk_multiple": risk,
        "whole_days": whole,
    }
    step = 1e-6 * coins
    around = np.array([coins - step, coins, coins + step])
    cost = liquidation_cost(around, **given_)
    if cost.days[0] != cost.days[2] and whole:
        return  # a step lies between
    if not whole and abs(coins / 100.0 - 1.0) < 1e-5:
        return  # the kink where a second day begins
    money = around * cost.total
    slope = (money[2] - money[0]) / (2 * step)
    assert float(cost.slope[1]) == pytest.approx(slope, rel=1e-5)


@given(st.floats(0.1, 1e4), st.floats(1.01, 10.0))
def test_cost_grows_faster_than_size(coins: float, more: float) -> None:
    sizes = np.array([coins, coins * more])
    cost = liquidation_cost(
        sizes,
        adv_coins=500.0,
        sigma_daily=0.05,
        half_spread=0.0004,
        participation=0.1,
        risk_multiple=2.0,
    )
    assert cost.total[1] > cost.total[0]  # per unit, so the money grows faster than in proportion


def power_book(c: float, b: float) -> OrderBook:
    """A book whose average impact follows c·Q^b: the marginal price is mid·(1 ± c(1+b)Q^b)."""
    edges = np.geomspace(1e-3, 1e3, 1500)
    middle = np.sqrt(edges[1:] * edges[:-1])
    rise = c * (1 + b) * middle**b
    size = np.diff(edges)
    return OrderBook(
        bids=tuple(zip((100.0 * (1 - 1e-6 - rise)).tolist(), size.tolist())),
        asks=tuple(zip((100.0 * (1 + 1e-6 + rise)).tolist(), size.tolist())),
    )


@pytest.mark.parametrize("side", ["buy", "sell"])
@pytest.mark.parametrize(("c", "b"), [(0.002, 0.5), (0.001, 0.7)])
def test_fit_finds_the_law_that_made_the_book(side: str, c: float, b: float) -> None:
    fit = fit_impact(power_book(c, b), side, within=0.5)  # type: ignore[arg-type]
    assert fit.power == pytest.approx(b, abs=0.02)
    assert fit.coefficient == pytest.approx(c, rel=0.05)
    assert fit.rmse_log < 0.05 and fit.worst_log >= fit.rmse_log
    fixed = fit_impact(power_book(c, b), side, power=0.5, within=0.5)  # type: ignore[arg-type]
    assert fixed.power == 0.5
    assert fixed.rmse_log >= fit.rmse_log - 1e-12
    # The same law in the terms of the square-root formula.
    y = fit.y(adv_coins=1e4, sigma_daily=0.04)
    assert float(impact_fraction(10.0, 1e4, 0.04, y=y, power=fit.power)) == pytest.approx(
        float(fit.fraction(10.0)), rel=1e-12
    )


def test_fit_refuses_a_book_without_levels() -> None:
    thin = OrderBook(bids=((99.0, 1.0), (98.0, 1.0)), asks=((101.0, 1.0),))
    with pytest.raises(MarketDataError) as caught:
        fit_impact(thin)
    assert caught.value.code == "MKT-042"
