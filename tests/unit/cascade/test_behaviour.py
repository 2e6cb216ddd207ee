"""What holders do: rates, thresholds, banking hours, order of accounts, what a loop says."""

from __future__ import annotations

import math

import numpy as np
import pytest

from crossmargin.cascade.behaviour import (
    Decisions,
    Entrants,
    Habits,
    Holders,
    Wealth,
    act,
    banking_hours,
    house_habits,
)
from crossmargin.cascade.draws import uniforms
from crossmargin.errors import CascadeError
from crossmargin.units import parse_time

MINUTE = 60 * 1_000_000_000
HOUR = 60 * MINUTE
FRIDAY = parse_time("2025-10-10T21:15:00Z")
MONDAY = parse_time("2025-10-13T09:00:00Z")
BANKS = banking_hours()


def crowd(n: int, seed: int = 0) -> tuple[Holders, Wealth, np.ndarray]:
    draw = np.random.default_rng(seed)
    need = draw.uniform(10, 100, n)
    holders = Holders(
        account=np.arange(n),
        key=draw.integers(0, 2**63, n).astype(np.uint64),
        equity=need * draw.uniform(0.2, 4.0, n),
        maintenance=need,
        open=draw.uniform(size=n) < 0.9,
    )
    wealth = Wealth(fiat=draw.uniform(0, 100, n), stable=draw.uniform(0, 100, n))
    return holders, wealth, need * draw.uniform(0.5, 6.0, n)


def run(
    habits: Habits, holders: Holders, wealth: Wealth, first: np.ndarray, time_ns: int = FRIDAY
) -> tuple[Wealth, Decisions]:
    return act(
        habits,
        wealth,
        holders,
        start_equity=first,
        seed=5,
        path=2,
        step=7,
        time_ns=time_ns,
        dt_ns=HOUR,
        banks=BANKS,
    )


def test_banks_open_on_weekdays() -> None:
    assert not BANKS(FRIDAY) and BANKS(MONDAY)
    assert BANKS(parse_time("2025-10-10T16:59:59Z"))
    assert not BANKS(parse_time("2025-10-10T17:00:00Z"))
    assert not BANKS(parse_time("2025-10-11T12:00:00Z")), "a Saturday"
    new_york = banking_hours(opens_h=9, closes_h=17, utc_offset_h=-4)
    assert new_york(parse_time("2025-10-10T20:30:00Z")) and not new_york(FRIDAY)
    tokyo = banking_hours(utc_offset_h=9)
    assert tokyo(parse_time("2025-10-12T23:30:00Z")), "Monday morning there"


def test_nobody_does_anything_by_default() -> None:
    holders, wealth, first = crowd(500)
    after, did = run(Habits(), holders, wealth, first, MONDAY)
    assert did.external == 0 and not did.close.any() and not did.stopped.any()
    assert (after.fiat == wealth.fiat).all() and Habits().idle and not house_habits().idle


def test_fiat_moves_in_banking_hours_only() -> None:
    holders, wealth, first = crowd(500)
    sure = Habits(topup_per_h=1e9)
    after, did = run(sure, holders, wealth, first, FRIDAY)
    assert (after.fiat == wealth.fiat).all() and did.external > 0
    later, more = run(sure, holders, wealth, first, MONDAY)
    assert (later.fiat <= wealth.fiat).all() and more.external > did.external
    for now, said in ((after, did), (later, more)):
        spent = (wealth.fiat - now.fiat) + (wealth.stable - now.stable)
        assert spent == pytest.approx(said.cash) and (now.stable >= 0).all()


def test_a_plain_loop_says_the_same() -> None:
    holders, wealth, first = crowd(400)
    habits = Habits(
        topup_per_h=0.7,
        topup_below=1.5,
        topup_to=2.5,
        deleverage_per_h=1.2,
        deleverage_below=2.0,
        deleverage_to=3.0,
        stop_share=0.4,
        stop_loss=0.6,
    )
    after, did = run(habits, holders, wealth, first, MONDAY)
    seen = {"stop": 0, "cash": 0, "cut": 0}
    for i in range(400):
        key = holders.key[i : i + 1]
        u = uniforms(5, 2, "behaviour", 7, key)[0]
        stop = uniforms(5, 2, "population", 0, key)[0, 0] < 0.4
        e, m = holders.equity[i], holders.maintenance[i]
        cash = close = 0.0
        if holders.open[i]:
            if stop and e < 0.4 * first[i]:
                close = 1.0
                seen["stop"] += 1
            else:
                if e < 1.5 * m and u[0] < 1 - math.exp(-0.7):
                    cash = min(2.5 * m - e, wealth.stable[i] + wealth.fiat[i])
                    seen["cash"] += 1
                if e + cash < 2.0 * m and u[1] < 1 - math.exp(-1.2):
                    close = 1 - (e + cash) / (3.0 * m)
                    seen["cut"] += 1
        assert did.cash[i] == pytest.approx(cash) and did.close[i] == pytest.approx(close)
        brought = wealth.stable[i] + wealth.fiat[i] - after.stable[i] - after.fiat[i]
        assert brought == pytest.approx(cash)
    assert min(seen.values()) > 10, "every branch was taken"


def test_the_order_of_accounts_changes_nothing() -> None:
    holders, wealth, first = crowd(300)
    habits = house_habits()
    _, did = run(habits, holders, wealth, first)
    turn = np.random.default_rng(1).permutation(300)
    turned = Holders(
        account=np.arange(300),
        key=holders.key[turn],
        equity=holders.equity[turn],
        maintenance=holders.maintenance[turn],
        open=holders.open[turn],
    )
    other = Wealth(fiat=wealth.fiat[turn], stable=wealth.stable[turn])
    _, same = run(habits, turned, other, first[turn])
    assert (same.cash == did.cash[turn]).all() and (same.close == did.close[turn]).all()
    # Nor does leaving others out.
    some = np.flatnonzero(holders.equity < holders.maintenance)
    few = Holders(
        account=some,
        key=holders.key[some],
        equity=holders.equity[some],
        maintenance=holders.maintenance[some],
        open=holders.open[some],
    )
    _, part = run(habits, few, wealth, first)
    assert (part.cash == did.cash[some]).all() and (part.close == did.close[some]).all()


def test_rates_are_rates() -> None:
    """In an hour 1 − e^{−0.5} of those asked act; a minute at a time comes to the same."""
    n = 20_000
    holders = Holders(
        account=np.arange(n),
        key=np.arange(n).astype(np.uint64),
        equity=np.ones(n),
        maintenance=np.ones(n),
        open=np.ones(n, dtype=bool),
    )
    wealth = Wealth(fiat=np.zeros(n), stable=np.full(n, 10.0))
    habits = Habits(topup_per_h=0.5)
    _, did = run(habits, holders, wealth, np.ones(n))
    p = 1 - math.exp(-0.5)
    assert abs((did.cash > 0).mean() - p) < 3 * math.sqrt(p * (1 - p) / n)
    acted = np.zeros(n, dtype=bool)
    for step in range(60):
        _, minute = act(
            habits,
            wealth,
            holders,
            start_equity=np.ones(n),
            seed=1,
            path=0,
            step=step,
            time_ns=FRIDAY,
            dt_ns=MINUTE,
        )
        acted |= minute.cash > 0
    assert abs(acted.mean() - p) < 3 * math.sqrt(p * (1 - p) / n)


def test_cutting_reaches_its_target() -> None:
    holders = Holders(
        account=np.array([0]),
        key=np.array([3], dtype=np.uint64),
        equity=np.array([15.0]),
        maintenance=np.array([10.0]),
        open=np.array([True]),
    )
    none = Wealth(fiat=np.zeros(1), stable=np.zeros(1))
    _, did = run(Habits(deleverage_per_h=1e9), holders, none, np.array([15.0]))
    assert 15.0 / (10.0 * (1 - did.close[0])) == pytest.approx(3.0)


def test_entrants_buy_what_has_fallen() -> None:
    rule = Entrants(per_h=0.2, after=0.05)
    price, first = np.array([90.0, 97.0]), np.array([100.0, 100.0])
    bought = rule.coins(price, first, np.array([1e6, 1e6]), HOUR // 2)
    expected = 0.5 * 0.2 * (math.log(100 / 90) - 0.05) * 1e6 / 90
    assert bought == pytest.approx([expected, 0.0])
    assert Entrants().coins(price, first, price, HOUR).tolist() == [0.0, 0.0]


def test_habits_out_of_range_are_refused() -> None:
    for make in (
        lambda: Habits(topup_per_h=-1.0),
        lambda: Habits(topup_below=0.5),
        lambda: Habits(deleverage_below=4.0, deleverage_to=3.0),
        lambda: Habits(stop_share=1.5),
        lambda: banking_hours(opens_h=9, closes_h=8),
        lambda: Entrants(per_h=-1.0),
    ):
        with pytest.raises(CascadeError, match="CAS-001"):
            make()
