"""Puts beside a long exposure, against a dense scan over falls and quantities."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossmargin.errors import PlanningError
from crossmargin.planning import put_overlay


def worst(quantity: float, coins: float, strike: float, premium: float, fall: float) -> float:
    x = np.linspace(0.0, fall, 4_001)
    paid = np.maximum(strike - 100 * (1 - x), 0.0) - premium
    return float((coins * 100 * x - quantity * paid).max())


def test_by_hand() -> None:
    """1 coin at 100, a fall of 40 %, at most 20: puts at 90 for 2 pay 90 − 60 − 2 = 28, 20/28."""
    made = put_overlay(coins=1, price=100, fall=0.4, limit_usd=20, strike=90, premium=2)
    assert made.quantity == pytest.approx(20 / 28)
    assert made.cost_usd == pytest.approx(40 / 28)
    assert (made.loss_without_usd, made.worst_fall) == (40.0, 0.4)
    assert made.worst_loss_usd == pytest.approx(20.0)
    lots = put_overlay(coins=1, price=100, fall=0.4, limit_usd=20, strike=90, premium=2, lot=0.1)
    assert lots.quantity == pytest.approx(0.8) and lots.worst_loss_usd < 20
    none = put_overlay(coins=1, price=100, fall=0.1, limit_usd=20, strike=90, premium=2)
    assert (none.quantity, none.worst_loss_usd) == (0.0, pytest.approx(10.0))


@settings(deadline=None, max_examples=60)
@given(
    st.floats(0.1, 10), st.floats(0.05, 0.95), st.floats(1, 500), st.floats(40, 130),
    st.floats(0, 40),
)  # fmt: skip
def test_fewest_of_a_scan(
    coins: float, fall: float, limit: float, strike: float, premium: float
) -> None:
    tried = np.linspace(0.0, 20 * coins, 801)
    losses = np.array([worst(q, coins, strike, premium, fall) for q in tried])
    good = tried[losses <= limit * (1 - 1e-6)]
    try:
        made = put_overlay(
            coins=coins, price=100, fall=fall, limit_usd=limit, strike=strike, premium=premium
        )
    except PlanningError as error:
        assert error.code == "PLN-004" and not good.size
        return
    assert worst(made.quantity, coins, strike, premium, fall) <= limit * (1 + 1e-9)
    assert made.worst_loss_usd == pytest.approx(
        worst(made.quantity, coins, strike, premium, fall), rel=1e-3, abs=1e-3 * coins
    )
    if good.size:
        assert made.quantity <= good[0] + 1e-9


@pytest.mark.parametrize("more", [{"fall": 1.5}, {"premium": -1}, {"premium": float("nan")},
                                  {"limit_usd": 0}])  # fmt: skip
def test_figures_that_cannot_be(more: dict) -> None:
    asked = {"coins": 1, "price": 100, "fall": 0.4, "limit_usd": 20, "strike": 90, "premium": 2}
    with pytest.raises(PlanningError, match="PLN-003"):
        put_overlay(**{**asked, **more})
