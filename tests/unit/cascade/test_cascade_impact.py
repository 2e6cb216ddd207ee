"""Price impact: laws, fills against integrals, ladders summed by hand."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from crossmargin.cascade.book_walk import BookWalk, depth_of_book, recorded_book
from crossmargin.cascade.impact import Bounded, Impact, Linear, LogLinear, Power, fill
from crossmargin.errors import CascadeError, InputError
from crossmargin.market import OrderBook

ONE = np.ones(1)
PRICE, DEPTH = 50_000.0 * ONE, 1e9 * ONE
SMOOTH: list[Impact] = [
    LogLinear(),
    LogLinear(start=[60_000.0]),
    Linear(),
    Power(),
    Power(delta=0.7, y=0.9),
    Power(delta=1.5),
    Power(sigma=[0.04], volume=[30_000.0]),
    Bounded(start=[50_000.0]),
    Bounded(start=[60_000.0], floor_share=0.25),
]
flows = st.floats(-8_000, 8_000).map(lambda x: x if abs(x) > 1e-6 else 0.0)


def test_a_sale_moves_the_return_by_its_share_of_depth() -> None:
    """A sale S moves the return by −S/D (cascades.md §1.1); a slope λ per coin is D = p²/λ."""
    sale = -400.0 * ONE
    assert np.expm1(Linear().displacement(sale, DEPTH, PRICE)) == pytest.approx(-0.02)
    lam, p = 0.5, 10_000.0
    fall = p * np.expm1(Linear().displacement(sale, p**2 / lam * ONE, p * ONE))
    assert fall == pytest.approx(lam * sale)
    assert LogLinear().displacement(sale, DEPTH, PRICE) == pytest.approx(-0.02)
    # Small flows are alike, whatever is linear.
    for rule in (LogLinear(), Linear(), Power(delta=1.0), Bounded(start=PRICE)):
        assert rule.displacement(-ONE, DEPTH, PRICE) == pytest.approx(-5e-5, rel=1e-4)


def test_square_root_of_the_participation() -> None:
    """Q/V = 4 %, σ = 4 %, Y = 1: 0.8 % (requirements row A17's figures)."""
    rule = Power(sigma=[0.04], volume=[1_000.0])
    assert rule.displacement(-40.0 * ONE, DEPTH, PRICE) == pytest.approx(-0.008)
    assert rule.displacement(40.0 * ONE, DEPTH / 7, PRICE) == pytest.approx(0.008)


def test_the_floor_price_holds() -> None:
    rule = Bounded(start=PRICE)
    for coins in (-1e3, -1e5, -1e9):
        assert np.exp(rule.displacement(coins * ONE, DEPTH, PRICE)) * PRICE >= 25_000.0
    # By hand: x = 10^9, δ = 5·10^8, Ψ = ½(1 − e^{−2}).
    psi = 0.5 * (1 - np.exp(-2.0))
    assert np.expm1(rule.displacement(-20_000.0 * ONE, DEPTH, PRICE)) == pytest.approx(-psi)
    below = rule.displacement(-10.0 * ONE, DEPTH, 20_000.0 * ONE)
    assert below == 0.0, "a price below the floor is not sold any lower"
    assert Linear().displacement(-1e9 * ONE, DEPTH, PRICE) == pytest.approx(np.log(1e-6))


@given(flows, flows, flows)
def test_log_linear_is_path_independent_over_windows(a: float, b: float, c: float) -> None:
    """With the depth in coins kept, the price after flows depends on their sum alone."""

    def after(parts: list[float]) -> float:
        price, coins_depth = 50_000.0, 1e9 / 50_000.0
        for part in parts:
            depth = coins_depth * price * ONE
            price *= float(np.exp(LogLinear().displacement(part * ONE, depth, price * ONE))[0])
        return price

    def kept(parts: list[float]) -> float:
        price, rule = PRICE, LogLinear(start=[50_000.0])
        for part in parts:
            price = price * np.exp(rule.displacement(part * ONE, DEPTH, price))
        return float(price[0])

    assert kept([a, b, c]) == pytest.approx(after([c, a, b]), rel=1e-12)
    assert after([a, b, c]) == pytest.approx(after([c, a, b]), rel=1e-12)
    assert after([a, b, c]) == pytest.approx(after([a + b + c]), rel=1e-12)
    assert after([a, -a]) == pytest.approx(50_000.0, rel=1e-12)


def test_others_are_not() -> None:
    """As the docs say of √ and of dollar quantity: two windows are not one."""
    for rule in (Linear(), Power()):
        once = rule.displacement(-4_000.0 * ONE, DEPTH, PRICE)
        half = rule.displacement(-2_000.0 * ONE, DEPTH, PRICE)
        there = PRICE * np.exp(half)
        twice = half + rule.displacement(-2_000.0 * ONE, DEPTH / PRICE * there, there)
        assert abs(twice - once) > 1e-3
    # Selling to a floor is split-invariant in US dollars (Cont and Schaanning).
    bound = Bounded(start=PRICE)
    first = bound.displacement(-2_000.0 * ONE, DEPTH, PRICE)
    then = PRICE * np.exp(first)
    second = bound.displacement(-2_000.0 * PRICE / then, DEPTH, then)
    assert first + second == pytest.approx(bound.displacement(-4_000.0 * ONE, DEPTH, PRICE))


@pytest.mark.parametrize("rule", SMOOTH, ids=repr)
@given(flows, flows)
def test_within_a_window_any_parts_come_to_the_same(rule: Impact, a: float, b: float) -> None:
    whole = fill(rule, 0.0 * ONE, (a + b) * ONE, DEPTH, PRICE)
    one = fill(rule, 0.0 * ONE, a * ONE, DEPTH, PRICE)
    two = fill(rule, a * ONE, b * ONE, DEPTH, PRICE)
    assert one.move + two.move == pytest.approx(whole.move, abs=1e-12)
    paid = one.price * one.filled + two.price * two.filled
    assert paid == pytest.approx(whole.price * whole.filled, rel=1e-9, abs=1e-6 * 50_000)


@pytest.mark.parametrize("rule", SMOOTH, ids=repr)
@pytest.mark.parametrize("coins", [-9_000.0, -600.0, -0.5, 0.5, 600.0, 9_000.0])
def test_fills_are_the_mean_price_on_the_way(rule: Impact, coins: float) -> None:
    def price(q: float) -> float:
        return float(PRICE[0] * np.exp(rule.displacement(q * ONE, DEPTH, PRICE))[0])

    expected, _ = quad(price, 0.0, coins, epsabs=0, epsrel=1e-11, limit=200)
    found = fill(rule, 0.0 * ONE, coins * ONE, DEPTH, PRICE)
    assert found.price[0] == pytest.approx(expected / coins, rel=1e-9)
    assert found.filled == coins
    low, high = sorted((50_000.0, price(coins)))
    assert low <= found.price[0] <= high


def test_linear_beyond_its_floor() -> None:
    """Down to the floor at the mean of the way, the rest at the floor."""
    rule = Linear(floor=0.1)
    found = fill(rule, 0.0 * ONE, -40_000.0 * ONE, DEPTH, PRICE)
    # 0.9·D/p = 18,000 coins reach the floor.
    expected = (18_000 * 0.55 + 22_000 * 0.1) / 40_000 * 50_000
    assert found.price[0] == pytest.approx(expected)


def test_the_logarithm_fills_at_the_geometric_middle_for_small_flows() -> None:
    tiny = fill(LogLinear(), -5_000.0 * ONE, -1e-9 * ONE, DEPTH, PRICE)
    assert tiny.price == pytest.approx(PRICE * np.exp(-0.25), rel=1e-9)
    none = fill(LogLinear(), -5_000.0 * ONE, 0.0 * ONE, DEPTH, PRICE)
    assert none.move == 0.0 and none.price == pytest.approx(PRICE * np.exp(-0.25))
    deep = fill(LogLinear(), 0.0 * ONE, -1e6 * ONE, np.inf * ONE, PRICE)
    assert deep.move == 0.0 and deep.price == PRICE


@pytest.mark.parametrize("rule", SMOOTH, ids=repr)
@given(flows, flows)
def test_more_flow_moves_further(rule: Impact, a: float, b: float) -> None:
    low, high = min(a, b), max(a, b)
    down, up = (float(rule.displacement(q * ONE, DEPTH, PRICE)[0]) for q in (low, high))
    assert down <= up + 1e-15
    thin = float(rule.displacement(low * ONE, DEPTH / 2, PRICE)[0])
    assert abs(thin) >= abs(down) - 1e-15, "less depth is never less impact"


BOOK = OrderBook(
    bids=((99.0, 10.0), (98.0, 20.0), (95.0, 5.0)), asks=((101.0, 4.0), (103.0, 6.0), (110.0, 90.0))
)


def test_a_book_walk_is_a_hand_summed_ladder() -> None:
    """Row B13. 25 coins sold: 10 at 99 and 15 at 98; price then 98."""
    rule, mid = BookWalk(books=(BOOK,), depth_usd=[1e5]), 100.0 * ONE
    sold = fill(rule, 0.0 * ONE, -25.0 * ONE, 1e5 * ONE, mid)
    assert sold.price == pytest.approx((10 * 99 + 15 * 98) / 25)
    assert 100 * np.exp(sold.move) == pytest.approx(98.0)
    bought = fill(rule, 0.0 * ONE, 7.0 * ONE, 1e5 * ONE, mid)
    assert bought.price == pytest.approx((4 * 101 + 3 * 103) / 7)
    # The next 8 after 25: 5 at 98, 3 at 95; and only 35 are bid for in all.
    more = fill(rule, -25.0 * ONE, -8.0 * ONE, 1e5 * ONE, mid)
    assert more.price == pytest.approx((5 * 98 + 3 * 95) / 8)
    rest = fill(rule, -33.0 * ONE, -100.0 * ONE, 1e5 * ONE, mid)
    assert rest.filled == -2.0 and rest.price == pytest.approx(95.0)
    empty = fill(rule, -35.0 * ONE, -100.0 * ONE, 1e5 * ONE, mid)
    assert empty.filled == 0.0 and empty.move == 0.0
    # Half the depth has half of every level; levels move along with the price.
    thin = fill(rule, 0.0 * ONE, -12.5 * ONE, 5e4 * ONE, 2 * mid)
    assert thin.price == pytest.approx(2 * (5 * 99 + 7.5 * 98) / 12.5)


def test_depth_of_a_book() -> None:
    """Within 2 % of 100 lie 10·99 + 20·98 bid and 4·101 asked."""
    both = depth_of_book(BOOK, within=0.02)
    assert both == pytest.approx(0.5 * (990 + 1_960 + 404) / 0.02)
    assert depth_of_book(BOOK, within=0.02, side="sell") == pytest.approx(2_950 / 0.02)
    # Evenly spread liquidity is what D means: 100 US dollars for each 0.1 % is D = 100,000.
    bids = tuple((100 * (1 - i / 1000), 100 / (100 * (1 - i / 1000))) for i in range(1, 200))
    asks = tuple((100 * (1 + i / 1000), 100 / (100 * (1 + i / 1000))) for i in range(1, 200))
    even = OrderBook(bids=bids, asks=asks)
    assert depth_of_book(even, within=0.1) == pytest.approx(1e5, rel=1e-9)
    rule = BookWalk(books=(even,))
    move = rule.displacement(-50.0 * ONE, rule.base_depth(), 100.0 * ONE)
    smooth = Linear().displacement(-50.0 * ONE, rule.base_depth(), 100.0 * ONE)
    assert move == pytest.approx(smooth, rel=0.05), "5,000 dollars of 100,000: about 5 %"
    with pytest.raises(CascadeError, match="CAS-001"):
        depth_of_book(BOOK, within=0.001)
    with pytest.raises(CascadeError, match="CAS-003"):
        depth_of_book(BOOK, side="left")


def test_recorded_books_are_walked() -> None:
    """BitMEX XBTUSD of 2021: contracts of 1 US dollar; a plain loop over its levels."""
    folder = os.environ.get("CROSSMARGIN_DATA")
    if not folder:
        pytest.skip("CROSSMARGIN_DATA is not set")
    import polars as pl

    file = Path(folder) / "order_book_snapshots_2021.parquet"
    table = pl.read_parquet(file).with_columns(pl.col("venue", "symbol", "side").cast(pl.String))
    mine = table.filter((pl.col("venue") == "BITMEX") & (pl.col("symbol") == "XBTUSD"))
    bids = mine.filter(pl.col("side") == "bid").sort("level").select("price", "size").rows()
    book = recorded_book(file, "XBTUSD", venue="BITMEX", inverse=True)
    assert len(book.bids) + len(book.asks) == mine.height
    rule, mid = BookWalk(books=(book,)), book.mid * ONE
    left, paid, worst = 300.0, 0.0, 0.0
    for price, size in bids:
        take = min(left, size / price)
        left, paid, worst = left - take, paid + take * price, price
        if left <= 0:
            break
    found = fill(rule, 0.0 * ONE, -300.0 * ONE, rule.base_depth(), mid)
    assert found.price[0] == pytest.approx(paid / 300.0, rel=1e-12)
    assert np.exp(found.move[0]) * mid[0] == pytest.approx(worst, rel=1e-12)


def test_a_book_is_read_from_a_table(tmp_path: Path) -> None:
    file = tmp_path / "book.csv"
    file.write_text(
        "symbol,side,price,size\nX,ask,103,6\nX,bid,98,20\nY,bid,1,1\nX,bid,99,10\nX,ask,101,4\n"
    )
    book = recorded_book(file, "X", contract_size=0.5)
    assert book.bids == ((99.0, 5.0), (98.0, 10.0)) and book.asks == ((101.0, 2.0), (103.0, 3.0))
    dollars = recorded_book(file, "X", inverse=True, contract_size=10.0)
    assert dollars.bids[0] == (99.0, pytest.approx(100 / 99))
    for question in ({"symbol": "Z"}, {"symbol": "X", "venue": "V"}):
        with pytest.raises(InputError, match="INP-003"):
            recorded_book(file, **question)


def test_figures_out_of_range_are_refused() -> None:
    for make in (
        lambda: Power(delta=0.0),
        lambda: Power(y=-1.0),
        lambda: Power(sigma=[0.1]),
        lambda: Bounded(start=[0.0]),
        lambda: Bounded(start=[1.0], floor_share=1.0),
        lambda: Linear(floor=0.0),
        lambda: BookWalk(books=(BOOK,), depth_usd=[1.0, 2.0]),
        lambda: fill(LogLinear(), [0.0], [1.0], [0.0], [1.0]),
    ):
        with pytest.raises(CascadeError, match="CAS-001"):
            make()
