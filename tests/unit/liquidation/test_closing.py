"""Closed forms, policies of closing and bankruptcy prices: the rows' numbers and their edges."""

from __future__ import annotations

import math

import numpy as np
import pytest

from crossmargin.errors import LiquidationError
from crossmargin.liquidation import (
    POLICIES,
    Brackets,
    ClosingCost,
    Leg,
    Line,
    LinearAccount,
    Trial,
    allocate,
    bankruptcy_legs,
    bankruptcy_price,
    bankruptcy_value_quanta,
    fillable_price,
    linear_account,
    partial_size,
    reduce,
    start_of,
    take_over,
    unwind,
)


def two_legs(**more: object) -> LinearAccount:
    """Row A05 after the fall: BTC at 46,000, equity 2,000."""
    return linear_account(
        quantity=[2, 20],
        mark=[46_000, 3_000],
        rate=0.05,
        equity=2_000,
        names=["BTC", "ETH"],
        profit=[-8_000, 0],
        **more,  # type: ignore[arg-type]
    )


# ------------------------------------------------------------------------------- row B07


def test_row_b07() -> None:
    found = partial_size(1, 47_000, 2_000, 0.05, cost_rate=0.005)
    assert round(found.size, 6) == 0.165485
    assert found.size == pytest.approx(350 / 2_115, rel=1e-15)
    assert round(found.equity, 2) == round(found.mm, 2) == 1961.11


def test_row_b07_by_the_solver() -> None:
    account = linear_account(quantity=-1, mark=47_000, rate=0.05, equity=2_000)
    found = reduce(Trial(account, Line(), ClosingCost(fee_rate=0.005)), "riskiest-first")
    assert found.closed[0] == pytest.approx(350 / 2_115, rel=1e-12)
    assert found.quantity[0] == pytest.approx(-1 + 350 / 2_115, rel=1e-12)
    assert Line().holds(found.after)


@pytest.mark.parametrize(
    ("cost_rate", "impact", "sufficient"),
    [(0.05, 0.0, False), (0.06, 0.0, False), (0.0, 7_000.0, True), (0.0, 9_000.0, False)],
)
def test_where_closing_does_not_pay_for_itself(
    cost_rate: float, impact: float, sufficient: bool
) -> None:
    """m ≤ f never; (μp)² < 2α·short never: 2,350² < 2·9,000·350."""
    found = partial_size(1, 47_000, 2_000, 0.05, cost_rate=cost_rate, impact=impact)
    account = linear_account(quantity=1, mark=47_000, rate=0.05, equity=2_000, names=["x"])
    costs = ClosingCost(fee_rate=cost_rate, impact={"x": impact})
    solved = reduce(Trial(account, Line(), costs), "proportional")
    assert found.sufficient is sufficient is solved.sufficient
    if sufficient:
        root = (2_350 - math.sqrt(2_350**2 - 2 * impact * 350)) / impact
        assert found.size == pytest.approx(root, rel=1e-12)
        assert solved.closed[0] == pytest.approx(root, rel=1e-9)
    else:
        assert found.size == 1 == solved.closed[0]


def test_a_narrow_stretch_on_which_impact_lets_the_line_hold() -> None:
    """The discriminant is just above 0: the two roots lie within a percent."""
    impact = 2_350**2 / (2 * 350) * 0.99999
    found = partial_size(1, 47_000, 2_000, 0.05, impact=impact)
    account = linear_account(quantity=1, mark=47_000, rate=0.05, equity=2_000, names=["x"])
    solved = reduce(Trial(account, Line(), ClosingCost(impact={"x": impact})), "proportional")
    assert found.sufficient and solved.sufficient
    assert solved.closed[0] == pytest.approx(found.size, rel=1e-6)


def test_nothing_is_closed_on_the_line() -> None:
    assert partial_size(1, 40_000, 2_000, 0.05).size == 0.0
    account = linear_account(quantity=1, mark=40_000, rate=0.05, equity=2_000)
    assert reduce(Trial(account, Line(), ClosingCost()), "proportional").order == ()


# ------------------------------------------------------------------------------- row A05


@pytest.mark.parametrize(
    ("policy", "btc", "eth"),
    [
        ("riskiest-first", 1.0, 1 / 3),
        ("largest-loss", 1.0, 1 / 3),
        ("proportional", 14 / 19, 14 / 19),
        ("hedge-preserving", 14 / 19, 14 / 19),
    ],
)
def test_row_a05(policy: str, btc: float, eth: float) -> None:
    found = reduce(Trial(two_legs(), Line(), ClosingCost()), policy)  # type: ignore[arg-type]
    assert found.closed / [2, 20] == pytest.approx([btc, eth], rel=1e-12)
    assert round(14 / 19, 4) == 0.7368
    assert found.after.equity == pytest.approx(found.after.mm, rel=1e-13)


def test_row_a05_isolated_leaves_the_other_pot_alone() -> None:
    eth = linear_account(quantity=20, mark=3_000, rate=0.05, equity=5_000)
    assert not reduce(Trial(eth, Line(), ClosingCost()), "proportional").closed.any()


def test_cheapest_relief_looks_at_cost() -> None:
    costs = ClosingCost(impact={"BTC": 10_000.0})
    found = reduce(Trial(two_legs(), Line(), costs), "cheapest-relief")
    assert found.order[0] == 1 and found.closed[1] == 20
    liquid = reduce(Trial(two_legs(), Line(), costs), "most-liquid")
    assert liquid.order[0] == 1


def test_hedges_are_kept() -> None:
    """Long 3, short 1 of one coin: the two that stand open go first."""
    legs = tuple(
        Leg(name=n, underlying="BTC", quantity=q, mark=50_000, unit_usd=50_000)
        for n, q in (("perpetual", 3.0), ("future", -1.0))
    )
    account = LinearAccount(legs, (Brackets((0.0,), (0.05,)),) * 2, 6_000.0)
    found = reduce(Trial(account, Line(), ClosingCost()), "hedge-preserving")
    assert found.closed.tolist() == pytest.approx([1.6, 0.0])
    account = LinearAccount(legs, (Brackets((0.0,), (0.05,)),) * 2, 2_500.0)
    found = reduce(Trial(account, Line(), ClosingCost()), "hedge-preserving")
    assert found.quantity.tolist() == pytest.approx([0.5, -0.5])


# ------------------------------------------------------------------------------- lots, limits


@pytest.mark.parametrize("policy", POLICIES)
def test_lots_are_not_wasted(policy: str) -> None:
    account = two_legs(lot=[0.001, 0.1])
    found = reduce(Trial(account, Line(), ClosingCost()), policy)  # type: ignore[arg-type]
    assert found.sufficient
    for row, lot in enumerate((0.001, 0.1)):
        less = found.closed.copy()
        less[row] -= lot
        if found.closed[row] > 0:
            assert Trial(account, Line(), ClosingCost()).excess(less) < 0


def test_a_rest_below_a_lot_can_be_closed() -> None:
    account = linear_account(quantity=0.35, mark=100, rate=0.05, equity=0.001, lot=0.1)
    found = reduce(Trial(account, Line(), ClosingCost()), "proportional")
    assert found.closed[0] == 0.35 and found.quantity[0] == 0.0


def test_what_is_not_closed_whole_is_closed_in_lots() -> None:
    """A part of 0.35 is 0.1, 0.2 or 0.3; all of it is 0.35. Short by 1.7 of a requirement of 2."""
    account = linear_account(
        quantity=[0.35, 5], mark=[100, 1], rate=0.05, equity=0.3, lot=[0.1, 5], names=["a", "b"]
    )
    found = reduce(Trial(account, Line(), ClosingCost()), "proportional")
    assert found.closed.tolist() == [0.3, 5.0] and found.sufficient
    found = reduce(Trial(account, Line(), ClosingCost()), "riskiest-first")
    assert found.closed.tolist() == [0.35, 0.0] and found.sufficient, "0.3 would not suffice"


def test_no_dust_is_left() -> None:
    """A float hair above a lot: everything goes, not all but a hair."""
    account = linear_account(
        quantity=[-1, -0.010000000000000002], mark=1, rate=0.05, equity=-1, lot=[0, 0.01]
    )
    found = reduce(Trial(account, Line(), ClosingCost()), "proportional")
    assert found.quantity.tolist() == [0.0, 0.0] and str(found.quantity[0]) == "0.0"


def test_no_more_than_allowed() -> None:
    trial = Trial(two_legs(), Line(), ClosingCost(), most=np.array([0.5, 2.0]))
    found = reduce(trial, "riskiest-first")
    assert found.closed.tolist() == [0.5, 2.0] and not found.sufficient


def test_bad_questions() -> None:
    with pytest.raises(LiquidationError, match="LIQ-003"):
        reduce(Trial(two_legs(), Line(), ClosingCost()), "random")  # type: ignore[arg-type]
    with pytest.raises(LiquidationError, match="only reduces"):
        Trial(two_legs(), Line(), ClosingCost(), quantity=np.array([3.0, 20.0]))
    with pytest.raises(LiquidationError, match="LIQ-001"):
        partial_size(1, 0, 1, 0.05)
    with pytest.raises(LiquidationError, match="fee_rate"):
        ClosingCost(fee_rate=-1)
    with pytest.raises(LiquidationError, match="LIQ-002"):
        Brackets((0.0, 0.0), (0.1, 0.2))


# ------------------------------------------------------------------------------- bankruptcy


def test_bybits_inverse_isolated_long() -> None:
    """7,890.08 at 50×: entry·L/(L+1) (venues.md §4)."""
    price = bankruptcy_price(10_000, 7_890.08, 10_000 / 7_890.08 / 50, inverse=True)
    assert price is not None and round(price, 2) == 7735.37


@pytest.mark.parametrize("fee", [0.0, 0.001])
@pytest.mark.parametrize("quantity", [2.0, -2.0])
def test_nothing_is_left_at_the_bankruptcy_price(quantity: float, fee: float) -> None:
    price = bankruptcy_price(quantity, 100.0, 13.0, fee_rate=fee)
    assert price is not None
    assert 13.0 + quantity * (price - 100.0) - fee * abs(quantity) * price == pytest.approx(0)
    inverse = bankruptcy_price(quantity, 100.0, 0.001, inverse=True, fee_rate=fee)
    assert inverse is not None
    left = 0.001 + quantity * (1 / 100.0 - 1 / inverse) - fee * abs(quantity) / inverse
    assert left == pytest.approx(0, abs=1e-15)


def test_a_long_with_more_than_its_notional_has_none() -> None:
    assert bankruptcy_price(1, 100, 100.5) is None


def test_cross_margin_allocates_by_requirement() -> None:
    account = two_legs()
    legs = bankruptcy_legs(account, start_of(account), 2_000)
    assert [x.allocated_usd for x in legs] == pytest.approx([2_000 * 4.6 / 7.6, 2_000 * 3 / 7.6])
    paid = sum(x.quantity * (x.price - leg.mark) for x, leg in zip(legs, account.legs) if x.price)
    assert paid == pytest.approx(-2_000)
    assert sum(x.value_usd for x in legs) == pytest.approx(-2_000)


def test_allocation_without_weights() -> None:
    assert allocate(9, [0, 0]).tolist() == [4.5, 4.5]
    assert allocate(9, [0, 0], fallback=[1, 2]).tolist() == [3.0, 6.0]
    assert allocate(9, []).size == 0


def test_takeover_leaves_the_fund_what_closing_leaves() -> None:
    account = two_legs()
    at = account.standing(start_of(account), np.zeros(2))
    taken = take_over(account, start_of(account), at)
    result = unwind(taken, account, ClosingCost(slip_rate=0.02))
    assert result.cost == pytest.approx(0.02 * 152_000)
    assert result.surplus == 0 and result.deficit == pytest.approx(1_040)


def test_dydx_values_exactly() -> None:
    """−ΔNotional − NC·|ΔMMR|/MMR, rounded up; the float form of the same for the price."""
    assert bankruptcy_value_quanta(-10_000, -300, 100, 700) == 10_000 - 42
    assert bankruptcy_value_quanta(10_000, -300, -100, 700) == -10_000 + 43
    with pytest.raises(LiquidationError, match="LIQ-001"):
        bankruptcy_value_quanta(1, 1, 1, 0)


def test_dydx_fillable_price() -> None:
    """At the line the oracle price; at NC = 0 one and a half maintenance margins away."""
    assert fillable_price(2, 100, 10, 10, 10) == 100
    assert fillable_price(2, 100, 0, 10, 10) == 100 - 1.5 * 10 / 2
    assert fillable_price(-2, 100, 5, 10, 10) == 100 + 0.5 * 1.5 * 10 / 2
    assert fillable_price(2, 100, -50, 10, 10) == 100 - 1.5 * 10 / 2


# ------------------------------------------------------------------------------- costs


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("quantity", [3.0, -3.0])
def test_price_and_cost_say_the_same(quantity: float, inverse: bool) -> None:
    unit = 10.0 if inverse else 200.0
    leg = Leg(name="x", quantity=quantity, mark=200.0, unit_usd=unit, inverse=inverse)
    costs = ClosingCost(slip_rate=0.01, impact={"x": unit * 0.002})
    price, away = costs.price(leg, 2.0), costs.paid(leg, 2.0)
    side = math.copysign(1, quantity)
    lost = side * 2 * unit * (200.0 / price - 1 if inverse else 1 - price / 200.0)
    assert lost == pytest.approx(away, rel=1e-12)
    assert costs.within(leg, 9.0, price) == pytest.approx(2.0)
    assert costs.within(leg, 1.0, price) == 1.0
    assert costs.within(leg, 9.0, 200.0) == 0.0
    assert costs.within(leg, 9.0, None) == 9.0


def test_a_thin_book_fills_whole_lots() -> None:
    leg = Leg(name="x", quantity=3.0, mark=200.0, unit_usd=200.0, lot=0.25)
    costs = ClosingCost(depth={"x": 0.9})
    assert costs.within(leg, 3.0, None) == 0.75 and costs.within(leg, 0.8, None) == 0.8
    account = LinearAccount((leg,), (Brackets((0.0,), (0.05,)),), 1.0)
    found = reduce(Trial(account, Line(), ClosingCost(), most=np.array([0.75])), "proportional")
    assert found.closed[0] == 0.75 and not found.sufficient


def test_brackets_by_slice_and_whole() -> None:
    floors, rates = (0.0, 100.0, 300.0), (0.01, 0.02, 0.05)
    sliced, whole = Brackets(floors, rates), Brackets(floors, rates, marginal=False)
    assert sliced.mm(400) == pytest.approx(1 + 4 + 5)
    assert whole.mm(400) == pytest.approx(20)
    assert sliced.mm(100) == whole.mm(100) == 1.0
    assert [sliced.tier(x) for x in (0, 100, 100.1, 300, 301)] == [0, 0, 1, 1, 2]


def test_marks_move_equity() -> None:
    account = two_legs()
    moved = account.at([45_000, 3_100])
    assert moved.equity == 2_000 - 2_000 + 2_000 and moved.legs[0].unit_usd == 45_000
    leg = Leg(name="x", quantity=100, mark=50_000, unit_usd=100, inverse=True)
    coin = LinearAccount((leg,), (Brackets((0.0,), (0.05,)),), 500.0).at([40_000])
    assert coin.equity == pytest.approx(500 + 10_000 * (1 / 50_000 - 1 / 40_000) * 40_000)
