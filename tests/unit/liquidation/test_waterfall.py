"""Layers of last resort, and splitting integers."""

from __future__ import annotations

import random

import numpy as np
import pytest

from crossmargin.errors import InvariantViolation, LiquidationError
from crossmargin.liquidation import (
    Borne,
    Fund,
    Layer,
    Waterfall,
    cover,
    drawdown_excess,
    gini,
    junior_ratio,
    largest_remainder,
    share_loss,
    water_fill,
)
from crossmargin.liquidation.waterfall import check


def test_row_b08() -> None:
    found = cover(120_000, [Layer("fund", 100_000), Layer("adl", None)])
    assert found.layers[0] == Borne("fund", 100_000, 0, False)
    assert found.used("adl") == 20_000 and found.uncovered == 0
    assert Fund(balance=100_000, peak=100_000).after(paid=100_000).balance == 0


def test_a_layer_with_a_limit_counts_as_used_up() -> None:
    found = cover(50, [Layer("collateral", 10), Layer("fund", 100, limit=25), Layer("adl", 5)])
    assert [x.used for x in found.layers] == [10, 25, 5] and found.uncovered == 10
    assert [x.limited for x in found.layers] == [False, True, False]


def test_a_waterfall_out_of_order_is_a_bug() -> None:
    layers = [Layer("fund", 10), Layer("adl", 10)]
    wrong = Waterfall(5, (Borne("fund", 0, 10, False), Borne("adl", 5, 5, False)), 0)
    with pytest.raises(InvariantViolation):
        check(wrong, layers)
    short = Waterfall(5, (Borne("fund", 4, 6, False), Borne("adl", 0, 10, False)), 0)
    with pytest.raises(InvariantViolation):
        check(short, layers)


def test_bad_layers() -> None:
    with pytest.raises(LiquidationError, match="twice"):
        cover(1, [Layer("a", 1), Layer("a", 1)])
    with pytest.raises(LiquidationError, match="LIQ-001"):
        cover(-1, [])
    with pytest.raises(LiquidationError, match="whole quanta"):
        cover(1, [Layer("a", 1.5)])  # type: ignore[arg-type]
    with pytest.raises(LiquidationError, match="LIQ-007"):
        Fund(balance=1, peak=1).after(paid=2)


def test_bybits_pool() -> None:
    """A pool of 1 million with a loss of 350,000 leaves 50,000 to users."""
    assert drawdown_excess(1_000_000, 1_000_000, 350_000, ratio_ppm=300_000) == 50_000
    assert drawdown_excess(1_000_000, 1_000_000, 300_000, ratio_ppm=300_000) == 0
    assert drawdown_excess(800_000, 1_000_000, 350_000, ratio_ppm=300_000) == 250_000
    assert drawdown_excess(0, 1_000_000, 7, ratio_ppm=300_000) == 7


def test_row_b09_haircut() -> None:
    found = share_loss("equity-haircut", 20_000, equity=[1_500_000, 500_000, -3])
    assert found.rate == 0.01 and found.charged == (15_000, 5_000, 0)


def test_drift_shares_by_contracts_of_both_sides() -> None:
    found = share_loss("contracts-pro-rata", 100, contracts=[3, -1, 0, -4])
    assert found.charged == (38, 12, 0, 50) and found.rate == 12.5


def test_profits_are_taken_at_most_whole() -> None:
    found = share_loss("profit-pro-rata", 50, profit=[10, -99, 20])
    assert found.charged == (10, 0, 20) and found.uncovered == 20
    assert junior_ratio(15, [10, -99, 20]) == 0.5
    assert junior_ratio(99, [10]) == junior_ratio(0, [-1]) == 1.0
    assert junior_ratio(-4, [10]) == 0.0


def test_nobody_to_share_over() -> None:
    with pytest.raises(LiquidationError, match="LIQ-005"):
        share_loss("contracts-pro-rata", 5, contracts=[0, 0])
    assert share_loss("equity-haircut", 5, equity=[0]).uncovered == 5
    with pytest.raises(LiquidationError, match="LIQ-003"):
        share_loss("lottery", 5)  # type: ignore[arg-type]


def test_largest_remainder_by_hand() -> None:
    assert largest_remainder(10, [1, 1, 1]) == [4, 3, 3]
    assert largest_remainder(7, [0, 5, 2]) == [0, 5, 2]
    big = largest_remainder(10**30, [10**30, 2 * 10**30])
    assert sum(big) == 10**30 and big[1] == 666_666_666_666_666_666_666_666_666_667


def slow_fill(needed: float, w: list[float], cap: list[float], a: list[float]) -> list[float]:
    """Bisect the level, in plain Python."""
    low, high = 0.0, 1.0
    total = lambda t: sum(x * min(b, t * s) for x, b, s in zip(w, cap, a))
    while total(high) < needed and high < 1e300:
        high *= 2
    for _ in range(3_000):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if total(middle) < needed else (low, middle)
    return [min(b, high * s) for b, s in zip(cap, a)]


def test_water_fill_against_a_slow_loop() -> None:
    draw = random.Random(5)
    for _ in range(200):
        n = draw.randint(1, 30)
        w = [draw.choice([0.0, draw.random() * 100]) for _ in range(n)]
        cap = [draw.choice([0.0, 1.0, draw.random()]) for _ in range(n)]
        a = [draw.choice([1.0, draw.random() * 9]) for _ in range(n)]
        room = sum(x * b for x, b in zip(w, cap))
        needed = draw.random() * room
        found = water_fill(needed, w, cap, a)
        mine = np.array(w) > 0
        assert found.left == 0
        assert found.height[mine] == pytest.approx(
            np.array(slow_fill(needed, w, cap, a))[mine], rel=1e-9, abs=1e-12
        )
        assert float(np.dot(w, found.height)) == pytest.approx(needed, rel=1e-12, abs=1e-12)


def test_water_fill_overflows() -> None:
    found = water_fill(10, [4, 4], [1, 0.5])
    assert found.height.tolist() == [1.0, 0.5] and found.left == 4.0
    assert not water_fill(0, [4, 4], [1, 0.5]).height.any()
    with pytest.raises(LiquidationError, match="LIQ-001"):
        water_fill(1, [-1], [1])


def test_gini() -> None:
    assert gini([1, 1, 1]) == pytest.approx(0) and gini([0, 0, 0, 1]) == 0.75 and gini([]) == 0
