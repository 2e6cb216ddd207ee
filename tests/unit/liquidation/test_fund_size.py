"""Funds along paths of deficits, and their size."""

from __future__ import annotations

import numpy as np
import pytest

from crossmargin.errors import LiquidationError
from crossmargin.liquidation import exhaustion_curve, fund_paths, fund_size


def test_row_b08_on_a_path() -> None:
    found = fund_paths(100_000, [[30_000, 0, 90_000, 10_000]], income=[0, 10_000, 0, 5_000])
    assert found.balance[0].tolist() == [100_000, 70_000, 80_000, 0, 0]
    assert found.uncovered[0].tolist() == [0, 0, 10_000, 5_000]
    assert found.exhausted.tolist() == [0, 0, 1, 1]


def test_a_fund_that_is_just_used_up_is_not_exhausted() -> None:
    found = fund_paths(100, [[100], [101]])
    assert found.balance[:, 1].tolist() == [0, 0] and found.exhausted.tolist() == [0.5]


def test_money_is_conserved_on_every_path() -> None:
    draw = np.random.default_rng(4)
    loss, gain = draw.exponential(5, (300, 40)), draw.exponential(4, (300, 40))
    found = fund_paths(50, loss, gain)
    paid = loss - found.uncovered
    assert (found.balance >= 0).all() and (paid >= 0).all()
    assert found.balance[:, -1] == pytest.approx(50 + gain.sum(1) - paid.sum(1))
    assert ((found.uncovered > 0) <= (found.balance[:, 1:] == 0)).all(), "empty before the next"
    assert (np.diff(found.exhausted) >= 0).all()


def test_the_curve_by_counting() -> None:
    losses = [0.0, 0.0, 10.0, 20.0, 40.0]
    sizes = [0.0, 9.0, 10.0, 39.0, 40.0]
    counted = [sum(x > size for x in losses) / 5 for size in sizes]
    assert exhaustion_curve(sizes, losses) == pytest.approx(counted)
    with pytest.raises(LiquidationError, match="LIQ-001"):
        exhaustion_curve([1.0], [])


def test_sizes_by_hand() -> None:
    """The worst tenth of 1 to 100 is 91 to 100; a fund of 75 costs least at r/κ = 1/4."""
    losses = np.arange(1.0, 101.0)
    found = fund_size(losses, 0.90, capital_cost=0.05, shortfall_cost=0.20)
    assert found.by_shortfall == pytest.approx(95.5)
    assert found.by_quantile == 90.0 and found.by_cost == 75.0
    cost = lambda f: 0.05 * f + 0.20 * float(np.maximum(losses - f, 0).mean())
    assert all(cost(75.0) <= cost(f) + 1e-12 for f in np.arange(0.0, 101.0))
    assert fund_size(losses, 0.90).by_cost is None


@pytest.mark.parametrize("costs", [(0.3, 0.2), (0.0, 0.2), (0.1, None)])
def test_costs_without_an_optimum(costs: tuple[float, float | None]) -> None:
    with pytest.raises(LiquidationError, match="LIQ-001"):
        fund_size([1.0], 0.9, capital_cost=costs[0], shortfall_cost=costs[1])


def test_negative_figures() -> None:
    with pytest.raises(LiquidationError, match="LIQ-001"):
        fund_paths(10, [[-1.0]])
