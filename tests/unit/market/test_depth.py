"""Order books: walks against a hand-summed ladder and a slow loop."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossmargin.errors import MarketDataError
from crossmargin.market import OrderBook, contract_coins, walk_book

LADDER = [(100.0, 2.0), (101.0, 3.0), (103.0, 5.0)]


def loop(levels: list[tuple[float, float]], quantity: float) -> tuple[float, float, float, float]:
    """Filled, unfilled, value and worst price, level by level."""
    left, value, worst = quantity, 0.0, math.nan
    for price, size in levels:
        if left <= 0:
            break
        take = min(left, size)
        value += take * price
        worst = price
        left -= take
    return quantity - left, left, value, worst


def test_walk_equals_a_ladder_summed_by_hand() -> None:
    price, size = zip(*LADDER)
    walk = walk_book(price, size, [0.0, 1.0, 2.0, 4.0, 10.0, 12.0])
    # 4 coins: 2 at 100 and 2 at 101; 10 take all three levels; 12 find 2 too few.
    assert walk.value.tolist() == [0.0, 100.0, 200.0, 402.0, 1018.0, 1018.0]
    assert walk.filled.tolist() == [0.0, 1.0, 2.0, 4.0, 10.0, 10.0]
    assert walk.unfilled.tolist() == [0.0, 0.0, 0.0, 0.0, 0.0, 2.0]
    assert walk.average[1:].tolist() == [100.0, 100.0, 100.5, 101.8, 101.8]
    assert walk.worst[1:].tolist() == [100.0, 100.0, 101.0, 103.0, 103.0]
    assert math.isnan(walk.average[0]) and math.isnan(walk.worst[0])


@given(
    levels=st.lists(
        st.tuples(st.floats(0.01, 50.0), st.floats(0.001, 1e4)), min_size=1, max_size=30
    ),
    shares=st.lists(st.floats(0.0, 1.5), min_size=1, max_size=10),
)
def test_walk_equals_a_loop(levels: list[tuple[float, float]], shares: list[float]) -> None:
    price = np.cumsum([step for step, _ in levels]) + 100.0
    ladder = [(float(p), s) for p, (_, s) in zip(price, levels)]
    total = sum(s for _, s in ladder)
    asked = [share * total for share in shares]
    walk = walk_book(price, [s for _, s in ladder], asked)
    for row, quantity in enumerate(asked):
        filled, unfilled, value, worst = loop(ladder, quantity)
        assert walk.filled[row] == pytest.approx(filled, rel=1e-12, abs=1e-12)
        assert walk.unfilled[row] == pytest.approx(unfilled, rel=1e-9, abs=1e-9 * total)
        assert walk.value[row] == pytest.approx(value, rel=1e-12, abs=1e-9)
        if filled > 1e-9 * total:
            assert walk.average[row] == pytest.approx(value / filled, rel=1e-12)
            # At the very end of a level rounding may decide which of two levels is the last.
            near = [p for p, _ in ladder if abs(loop(ladder, quantity * (1 - 1e-12))[3] - p) < 1e-9]
            assert walk.worst[row] in (worst, *near)


def test_shapes_are_kept_and_an_empty_side_fills_nothing() -> None:
    price, size = zip(*LADDER)
    walk = walk_book(price, size, np.full((2, 3), 4.0))
    assert walk.value.shape == (2, 3) and (walk.value == 402.0).all()
    nothing = walk_book([], [], [1.0, 0.0])
    assert nothing.filled.tolist() == [0.0, 0.0] and nothing.unfilled.tolist() == [1.0, 0.0]
    assert np.isnan(nothing.average).all()


def test_closing_a_long_hits_the_bids_and_a_short_the_asks() -> None:
    book = OrderBook(bids=((99.0, 1.0), (98.0, 4.0)), asks=((101.0, 2.0), (104.0, 4.0)))
    assert book.mid == 100.0 and book.half_spread == 0.01
    walk, cost = book.closing([3.0, -3.0, 0.0, 9.0])
    # Long 3: one at 99 and two at 98 lose 1 + 2·2; short 3: two at 101 and one at 104.
    assert cost.tolist() == [5.0, 6.0, 0.0, 1.0 + 4 * 2.0]
    assert walk.unfilled.tolist() == [0.0, 0.0, 0.0, 4.0]
    assert walk.worst[:2].tolist() == [98.0, 104.0]


def test_contracts_become_coins_level_by_level() -> None:
    assert contract_coins([50_000.0, 40_000.0], [100, 100], 10.0, inverse=True).tolist() == [
        0.02,
        0.025,
    ]
    assert contract_coins([50_000.0], [100], 0.01, inverse=False).tolist() == [1.0]


@pytest.mark.parametrize(
    ("bids", "asks", "code"),
    [
        (((99.0, 1.0), (99.5, 1.0)), (), "MKT-041"),
        ((), ((101.0, 1.0), (101.0, 1.0)), "MKT-041"),
        (((99.0, 0.0),), (), "MKT-041"),
        (((99.0, math.nan),), (), "MKT-041"),
        (((-1.0, 1.0),), (), "MKT-041"),
        (((100.0, 1.0),), ((100.0, 1.0),), "MKT-010"),
    ],
)
def test_impossible_books_are_refused(bids: tuple, asks: tuple, code: str) -> None:
    with pytest.raises(MarketDataError) as caught:
        OrderBook(bids=bids, asks=asks)
    assert caught.value.code == code


def test_walks_refuse_what_is_no_size() -> None:
    for price, size, quantity in (
        ([1.0], [1.0], [-1.0]),
        ([1.0], [1.0], [math.nan]),
        ([1.0, 2.0], [1.0], [1.0]),
        ([1.0], [0.0], [1.0]),
        ([math.inf], [1.0], [1.0]),
    ):
        with pytest.raises(MarketDataError) as caught:
            walk_book(price, size, quantity)
        assert caught.value.code == "MKT-041"
    with pytest.raises(MarketDataError):
        _ = OrderBook(bids=((1.0, 1.0),), asks=()).mid
