"""Linear and inverse profit and loss."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossmargin.errors import PricingError
from crossmargin.pricing import inverse_pnl, inverse_pnl_move, linear_pnl

prices = st.floats(1.0, 1e6)


def test_linear() -> None:
    assert linear_pnl(2.0, 0.001, 50_000.0, 51_000.0) == pytest.approx(2.0)
    assert linear_pnl([-1.0, 1.0], 1.0, 50_000.0, 51_000.0).tolist() == [-1000.0, 1000.0]


def test_inverse() -> None:
    """1,000 contracts of USD 10 from 50,000 to 40,000: 10,000/50,000 − 10,000/40,000 coin."""
    assert inverse_pnl(1000.0, 10.0, 50_000.0, 40_000.0) == pytest.approx(0.2 - 0.25)
    assert inverse_pnl(-1000.0, 10.0, 50_000.0, 40_000.0) == pytest.approx(0.05)
    assert inverse_pnl_move(0.2, -0.2) == pytest.approx(-0.05)


@given(st.floats(-1e6, 1e6), prices, prices)
def test_inverse_forms_agree(quantity: float, start: float, end: float) -> None:
    by_price = inverse_pnl(quantity, 10.0, start, end)
    by_move = inverse_pnl_move(quantity * 10.0 / start, end / start - 1.0)
    scale = abs(quantity) * 10.0 * (1.0 / start + 1.0 / end)
    # A fall to 1/200 leaves 1 + move with 1/200 of its digits.
    # Below 1e-290 there are fewer digits than the tolerance speaks of.
    assert abs(by_price - by_move) <= 1e-14 * scale * max(1.0, start / end) + 1e-290
    # In USD at the final price an inverse contract gains what a linear one does on q·cs/p0 coin.
    usd = linear_pnl(quantity * 10.0 / start, 1.0, start, end)
    assert abs(by_price * end - usd) <= 1e-13 * scale * end + 1e-290


@given(st.floats(-1e6, 1e6), prices, prices, prices)
def test_there_and_on_is_the_whole_way(quantity: float, a: float, b: float, c: float) -> None:
    for gain in (linear_pnl, inverse_pnl):
        parts = gain(quantity, 1.0, a, b) + gain(quantity, 1.0, b, c)
        scale = abs(quantity) * (max(a, b, c) if gain is linear_pnl else 1.0 / min(a, b, c))
        assert abs(parts - gain(quantity, 1.0, a, c)) <= 1e-14 * max(scale, 1e-300)


def test_small_inverse_move_keeps_its_digits() -> None:
    gain = inverse_pnl(1.0, 1.0, 50_000.0, 50_000.0 * (1 + 2.0**-40))
    assert gain == pytest.approx(2.0**-40 / 50_000.0, rel=1e-11)


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda: linear_pnl(np.nan, 1.0, 1.0, 1.0), "quantity"),
        (lambda: linear_pnl(1.0, 0.0, 1.0, 1.0), "contract_size"),
        (lambda: linear_pnl(1.0, 1.0, np.inf, 1.0), "price_from"),
        (lambda: inverse_pnl(1.0, 1.0, 0.0, 1.0), "price_from"),
        (lambda: inverse_pnl(1.0, 1.0, 1.0, [1.0, -1.0]), "price_to"),
        (lambda: inverse_pnl(1.0, -1.0, 1.0, 1.0), "contract_size_usd"),
        (lambda: inverse_pnl_move(1.0, -1.0), "move"),
        (lambda: inverse_pnl_move(1.0, np.nan), "move"),
    ],
)
def test_refusals(call: object, field: str) -> None:
    with pytest.raises(PricingError) as caught:
        call()  # type: ignore[operator]
    assert caught.value.code == "PRC-001"
    assert field in caught.value.message
