"""Margins that follow volatility (row B15), and circuit breakers in a loop (row B10)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossmargin.cascade.breaking import Breaking, Trading
from crossmargin.cascade.funding import usd_per_coin
from crossmargin.cascade.impact import Linear, LogLinear, Power, coins_to, fill
from crossmargin.cascade.procyclical import FactorState, Procyclical, haircuts
from crossmargin.errors import CascadeError
from crossmargin.liquidation import breaker

SECOND = 1_000_000_000
HOUR = 3_600 * SECOND


def test_row_b15() -> None:
    """σ 2 % → 8 %: 4.00 raw, 2.29 with 25 % on the stress level, the same at the peak."""
    raw = Procyclical(reference=[0.02])
    damped = Procyclical(reference=[0.02], stress=[0.08], weight=0.25)
    for rule, ratio in ((raw, 4.0), (damped, 8.0 / 3.5)):
        assert rule.target([0.08]) / rule.target([0.02]) == pytest.approx(ratio)
    assert round(8.0 / 3.5, 2) == 2.29
    assert raw.target([0.08]) == damped.target([0.08]) == 4.0


def test_floor_cap_buffer_and_speed() -> None:
    rule = Procyclical(reference=[0.02], floor=1.0, cap=3.0)
    assert rule.target([0.001, 0.03, 0.5]) == pytest.approx([1.0, 1.5, 3.0])
    # 25 % more in calm times, used up before anything rises.
    buffer = Procyclical(reference=[0.02], buffer=0.25)
    assert buffer.target([0.02, 0.024, 0.04]) == pytest.approx([1.25, 1.25, 2.0])
    slow = Procyclical(reference=[0.02], rise_per_h=0.5, fall_per_h=0.1)
    state = slow.start([0.02])
    state = slow.next(state, [0.08], HOUR)
    assert state.factor == pytest.approx([1.5])
    state = slow.next(state, [0.08], HOUR // 2)
    assert state.factor == pytest.approx([1.875])
    state = slow.next(state, [0.02], HOUR)
    assert state.factor == pytest.approx([1.6875])
    assert Procyclical().target([0.0, 9.9]).tolist() == [1.0, 1.0]
    assert Procyclical().next(FactorState(factor=np.ones(1)), [3.0], HOUR).factor == 1.0


@given(st.floats(0.001, 1), st.floats(0.001, 1), st.floats(0, 1), st.floats(0, 0.5))
def test_more_volatility_never_asks_for_less(a: float, b: float, w: float, buffer: float) -> None:
    rule = Procyclical(reference=[0.02], stress=[0.1], weight=w, buffer=buffer, floor=0.3)
    low, high = rule.target([min(a, b)]), rule.target([max(a, b)])
    assert low <= high + 1e-12


def test_haircuts_follow() -> None:
    assert haircuts([0.1, 0.0, 0.3], [2.0, 5.0, 0.5]) == pytest.approx([0.2, 0.0, 0.3])
    assert haircuts([0.1, 0.6], [9.0, 9.0], most=0.5) == pytest.approx([0.5, 0.6])
    for make in (
        lambda: Procyclical(reference=[0.0]),
        lambda: Procyclical(reference=[1.0], weight=0.5),
        lambda: Procyclical(floor=2.0, cap=1.0),
        lambda: haircuts([1.5], [1.0]),
    ):
        with pytest.raises(CascadeError, match="CAS-001"):
            make()


# ------------------------------------------------------------------------------ breakers


@given(st.floats(0.5, 2.0), st.floats(1e3, 1e9))
def test_the_flow_that_reaches_a_price(ratio: float, depth: float) -> None:
    p, d = np.array([100.0]), np.array([depth])
    for rule in (LogLinear(), Linear(), Power()):
        coins = coins_to(rule, d, p, 100.0 * ratio * np.ones(1))
        assert np.exp(rule.displacement(coins, d, p)) == pytest.approx([ratio], rel=1e-12)
    assert coins_to(Linear(floor=0.5), d, p, np.array([10.0])) == -np.inf


def row_a02(breaking: Breaking, rho: float = 1.8) -> tuple[float, list[Trading], float]:
    """Row A02: shock 1,000 at 0.5 per coin, ρ coins become liquidatable per unit of fall.

    A loop of rounds as a simulation runs them: look, cut the flow where trading would halt, fill,
    look again. Time passes only while nothing may be traded. Returns the fall, what the breaker
    said, and funding accrued per coin.
    """
    start, rule = 100_000.0, Linear()
    price, sold, now, accrued = np.array([start - 1_000.0]), 0.0, 0, 0.0
    states = breaking.start(now, np.array([start]))
    said = []
    while True:
        states, trading = breaking.next(states, now, price)
        said.append(trading)
        due = rho * (start - float(price[0])) - sold
        if not trading.fills[0]:
            # Accrual goes on in a halt, fills do not.
            accrued += float(usd_per_coin(np.array([1e-5]), price, SECOND)[0])
            now += SECOND
            continue
        if due < 1e-9:
            return start - float(price[0]), said, accrued
        depth = price**2 / (0.5 * trading.impact_factor)
        room = np.inf
        if trading.halt_below[0] > 0:
            room = -float(coins_to(rule, depth, price, trading.halt_below)[0])
        done = fill(rule, [0.0], [-min(due, room)], depth, price)
        sold -= float(done.filled[0])
        price = price * np.exp(done.move)


def test_row_b10_without() -> None:
    fall, _, accrued = row_a02(Breaking())
    assert fall == pytest.approx(10_000, rel=1e-9) and accrued == 0.0


def test_row_b10_with_a_halt() -> None:
    """Halt at a fall of 1,500, reopened with half the impact: 2,272.73."""
    fall, said, accrued = row_a02(Breaking(terms=breaker("row-b10")))
    assert fall == pytest.approx(1_250 / 0.55, rel=1e-9)
    assert round(fall, 2) == 2272.73
    changes = [c for trading in said for _, c in trading.changes]
    assert [c.phase for c in changes] == ["halted", "reopening"], "it does not trip again"
    assert changes[0].price == pytest.approx(98_500.0, rel=1e-12), "cut at the threshold"
    halted = [t for t in said if not t.fills[0]]
    assert len(halted) == 300 and accrued < 0, "300 s without a fill, funding goes on"


def test_breakers_by_contract_and_for_the_market() -> None:
    terms = breaker("three-tiers")
    price = np.array([100.0, 50.0])
    for together, fills in ((False, [False, True]), (True, [False, False])):
        rule = Breaking(terms=terms, together=together)
        states, trading = rule.next(rule.start(0, price), 0, price)
        assert trading.fills.all() and trading.halt_below == pytest.approx(0.93 * price)
        states, trading = rule.next(states, SECOND, np.array([92.0, 50.0]))
        assert trading.fills.tolist() == fills
        assert trading.margin_factor.tolist() == [1.1, 1.0]
        assert trading.halt_below[0] == 0.0
    rule = Breaking()
    _, trading = rule.next(rule.start(0, price), 0, 0.01 * price)
    assert trading.fills.all() and (trading.impact_factor == 1).all()
