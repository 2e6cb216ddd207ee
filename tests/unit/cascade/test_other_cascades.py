"""The simulation on other figures than the rows', by hand and against plain loops.

Who pays, at which price, in which order; open interest, funding, slices, halts, contagion.
"""

import math
import random

import numpy as np
import pytest
from tests.unit.cascade.slow_cascade import SlowCascade, random_people
from tests.unit.cascade.test_cascade_closed_forms import rules

from crossmargin.cascade import (
    CascadeMarket,
    CascadeRules,
    loop_gain,
    population,
    simulate,
)
from crossmargin.cascade.impact import Linear, Power
from crossmargin.cascade.ladder import halted_fall
from crossmargin.liquidation.breakers import Breaker, Tier

SELL = {"name": "all", "kind": "reduce-share", "share": 1.0, "above_usd": 0.0, "window_s": 0.0}
CUT = {"name": "cut", "kind": "reduce-sufficient", "policy": "proportional"}
BANKRUPT = {
    "name": "bankrupt",
    "kind": "takeover",
    "when": "bankrupt",
    "taker": "fund",
    "price": "bankruptcy",
}
VAULT = {
    "name": "vault",
    "kind": "takeover",
    "when": "below-share",
    "share": 2 / 3,
    "taker": "vault",
    "price": "with-margin",
}
FUND = {"name": "fund"}


def holders(quantity, cash, *, mm=0.06, entry=100.0):
    """Return accounts with one position each, entered at 100."""
    n = len(quantity)
    return population(
        contracts=["A"],
        price=[100.0],
        mm_rate=[mm],
        cash=cash,
        start=range(n + 1),
        contract=[0] * n,
        quantity=quantity,
        entry=[entry] * n,
    )


def play(people, price, *steps, layers=(FUND,), depth=np.inf, length=1, step_s=60.0, **more):
    """Carry the price there in the first step; return the run."""
    news = np.zeros((length, len(people.assets)))
    news[0, 0] = math.log(price / people.price[0])
    market = CascadeMarket(
        exogenous=news,
        depth_usd=depth,
        step_ns=round(step_s * 1e9),
        **{k: more.pop(k) for k in ("funding", "margins", "impact", "books") if k in more},
    )
    rule = CascadeRules(liquidation=rules(*steps, layers=layers), **{"absorption": 0.0, **more})
    return simulate(people, market, rule, check=True)


def near(found, wanted, tol=1e-8):
    assert np.allclose(found, wanted, rtol=tol, atol=tol), (found, wanted)


@pytest.mark.parametrize("takeover", [False, True])
@pytest.mark.parametrize(("whole", "fee"), [(True, 0.0), (True, 0.01), (False, 0.0), (False, 0.01)])
def test_against_plain_loops(whole, fee, takeover):
    rnd = random.Random(f"{whole}{fee}{takeover}")
    owed = 0
    for _ in range(3):
        people = random_people(rnd)
        depth = [rnd.uniform(2e4, 9e4) for _ in range(3)]
        news = [[rnd.gauss(-0.015, 0.03) for _ in range(4)] for _ in range(6)]
        slow = SlowCascade(people, depth, whole=whole, fee=fee, fund=20.0, takeover=takeover)
        for returns in news:
            slow.step(returns)
        step = {**(SELL if whole else CUT), "fee_rate": fee}
        rule = rules(*([BANKRUPT] if takeover else []), step, layers=[FUND])
        run = simulate(
            people,
            CascadeMarket(exogenous=news, depth_usd=depth),
            CascadeRules(liquidation=rule, fund_usd=20.0, absorption=0.0, rounds=5_000),
            check=True,
        )
        near(run.price, slow.path, 1e-10)
        near(run.equity, [slow.equity(a) for a in range(people.size)], 1e-7)
        near([run.fund[-1], run.bad_debt.sum()], [slow.fund, slow.bad_debt], 1e-7)
        assert run.first_step.tolist() == slow.first
        owed += slow.fund != 20.0 or slow.bad_debt > 0
    assert owed


def test_vault_below_two_thirds_and_the_waterfall_above_it():
    # At 90 the line is at 54 and two thirds of it at 36: 40 is sold, 36 too, 35 and −5 taken over.
    people = holders([10] * 4, [140.0, 135.0, 136.0, 95.0])
    run = play(people, 90, VAULT, SELL, backstop_usd=10.0, fund_usd=100.0)
    near(run.equity, [40, 0, 36, 0])
    near([run.backstop[-1], run.fund[-1], run.bad_debt.sum()], [30, 100, 0])
    # Without a backstop the fund stands there.
    run = play(people, 90, VAULT, SELL, fund_usd=100.0)
    near([run.backstop[-1], run.fund[-1]], [0, 130])
    # 20 owed: 7 the backstop, 5 the fund, 8 nobody.
    run = play(holders([10], [80.0]), 90, VAULT, SELL, backstop_usd=7.0, fund_usd=5.0)
    near([run.backstop[-1], run.fund[-1], run.bad_debt.sum()], [-7, 0, 8])


# A long of 10 owes 5 at 90; shorts have 3, 4 and 5 with equities of 330, 80 and 950, a long 980.
EQUITIES = np.array([330.0, 80.0, 950.0, 980.0])
OWES = ([10, -3, -4, -5, 2], [95.0, 300.0, 40.0, 900.0, 1000.0])


@pytest.mark.parametrize("queue", ["bitmex", "binance"])
def test_bankrupt_at_90_50_against_the_queue(queue):
    # Profit over leverage: 4 (360/80) before 3 (270/330) before 5 (450/950), for both rules.
    people, adl = holders(*OWES), (FUND, {"name": "adl", "adl": queue})
    run = play(people, 90, BANKRUPT, SELL, layers=adl)
    near(run.quantity, [0, 0, 0, -2, 2])
    near(run.equity, [0, 330 - 1.5, 80 - 2, 950 - 1.5, 980])
    near([run.adl_loss.sum(), run.bad_debt.sum(), run.adl.sum()], [5, 0, 900], 1e-6)
    near(run.open_interest[:, 0], [12, 2])
    # A fund of 2 pays for two fifths of it in the market at 90; six go against holders.
    run = play(people, 90, BANKRUPT, SELL, layers=adl, fund_usd=2.0)
    near(run.quantity, [0, -1, 0, -5, 2])
    near([run.fund[-1], run.adl_loss.sum(), run.sold.sum()], [0, 3, 360], 1e-6)
    # A fund of 100 pays for all, and nobody is asked.
    run = play(people, 90, BANKRUPT, SELL, layers=adl, fund_usd=100.0)
    near([run.fund[-1], run.adl.sum(), run.sold.sum()], [95, 0, 900])


def test_fund_is_used_to_the_last_before_holders_in_a_thin_book():
    adl = (FUND, {"name": "adl", "adl": "bitmex"})
    run = play(holders(*OWES), 90, BANKRUPT, SELL, layers=adl, fund_usd=2.0, depth=9_000.0)
    # x coins fill at 90·(1 − e^{−u})/u, u = x/100, and lose 0.5 and the slip each: 2 in all.
    low, high = 0.0, 10.0
    for _ in range(100):
        x = (low + high) / 2
        lost = x * 90.5 - 9_000 * -math.expm1(-x / 100)
        low, high = (x, high) if lost < 2 else (low, x)
    near(run.sold.sum(), 9_000 * -math.expm1(-x / 100), 1e-6)
    near([run.fund[-1], run.adl_loss.sum()], [0, (10 - x) / 2], 1e-6)
    near(run.price[-1], [90 * math.exp(-x / 100)], 1e-9)


def test_short_that_owes_against_longs():
    # At 110 a short of 10 owes 5: 109.50 is its bankruptcy price; longs gain 10 less 0.50.
    people = holders([-10, 4, 8], [95.0, 60.0, 900.0])
    run = play(people, 110, BANKRUPT, SELL, layers=({"name": "adl", "adl": "bitmex"},))
    near(run.quantity, [0, 0, 2])
    near(run.equity, [0, 100 - 2, 980 - 3])
    near(run.adl.sum(), 1100)


@pytest.mark.parametrize(
    ("layer", "charged", "lost"),
    [
        # 3 on equities of 2,340 together, of which a limit leaves half.
        ({"share": "equity-haircut"}, EQUITIES * 3 / 2340, 0.0),
        ({"share": "equity-haircut", "limit_usd": 1.5}, EQUITIES * 1.5 / 2340, 1.5),
        # Profit of 30, 40 and 50, none of the long.
        ({"share": "profit-pro-rata"}, [0.75, 1.0, 1.25, 0.0], 0.0),
    ],
)
def test_what_is_left_is_shared(layer, charged, lost):
    layers = (FUND, {"name": "everybody", **layer})
    run = play(holders(*OWES), 90, BANKRUPT, SELL, layers=layers, fund_usd=2.0)
    near(EQUITIES - run.equity[1:], charged)
    near([run.fund[-1], run.socialised.sum(), run.bad_debt.sum()], [0, sum(charged), lost])


def test_absorption_and_open_interest():
    # 10 of 30 are sold; shorts close 4 of them, alike; whoever stands outside buys 6.
    people = holders([10, 20, -10, -20], [130.0, 3e3, 3e3, 3e3])
    for phi, left in ((0.0, 30), (0.4, 26), (1.0, 20)):
        run = play(people, 90, SELL, absorption=phi)
        near(run.quantity, [0, 20, -left / 3, -left / 1.5])
        near(run.open_interest[:, 0], [30, left])
        near(run.equity, [30, 2800, 3100, 3200])


class Rates:
    def begin(self):
        return 0

    def next(self, state, weather):
        return state + 1, np.array([[0.01], [-0.02], [0.0]][state])


def test_funding_sums_to_zero_and_may_liquidate():
    # One side is not matched: the rest of it is outside, and pays or receives too.
    run = play(holders([10, 5, -3], [1300.0, 3e3, 3e3]), 110, SELL, length=3, funding=Rates())
    paid = 110 * (0.01 - 0.02)
    near(run.equity, [1300 + 10 * (10 - paid), 3000 + 5 * (10 - paid), 3000 - 3 * (10 - paid)])
    near(run.absorber[-1], -12 * (10 - paid))
    # 62 less 10 of funding is below 60.
    run = play(holders([10, -10], [62.0, 3e3]), 100, SELL, funding=Rates())
    near(run.equity, [52, 3010])
    assert run.first_step.tolist() == [0, -1]


class Rising:
    """Requirements half as high again in the second step; no haircuts."""

    def begin(self):
        return None

    def next(self, state, weather):
        return None, np.array([1.5 if weather.step else 1.0]), np.zeros(1)


def test_margins_that_rise_close_whom_no_price_would():
    # The line goes from 60 to 90 while nothing moves: 89 is closed, 91 is not.
    run = play(holders([10, 10, -20], [89.0, 91.0, 1e4]), 100, SELL, length=2, margins=Rising())
    assert run.first_step.tolist() == [1, -1, -1]
    # In proportion: what is left requires 0.09·100·q = 89.
    run = play(holders([10, 10, -20], [89.0, 91.0, 1e4]), 100, CUT, length=2, margins=Rising())
    near(run.quantity, [89 / 9, 10, -20])


@pytest.mark.parametrize(
    ("step_s", "rounds", "sold"),
    [
        (10, 1, [400, 1600, 0]),  # within 30 s the whole leg follows
        (40, 1, [400, 320, 0]),  # after it a fifth of what is left: 6,336 of MM on 7,000
        (30, 1, [400, 320, 0]),  # the window is open at its end
        (10, 50, [2000, 0, 0]),  # rounds of one moment are within it
    ],
)
def test_a_fifth_first(step_s, rounds, sold):
    slices = {**SELL, "share": 0.2, "above_usd": 1e5, "window_s": 30.0}
    people = holders([2000, -2000], [9000.0, 1e7], mm=0.05)
    run = play(people, 99, slices, length=3, step_s=step_s, rounds=rounds)
    near(run.sold[:, 0] / 99, sold)


class ByCoin:
    """A coin always moves the price by λ dollars."""

    def __init__(self, slope):
        self.slope = slope

    def begin(self):
        return None

    def next(self, state, weather):
        p = weather.book[:1]
        return None, p * p / self.slope, np.zeros(1), np.ones(1)


def ladder(per_point, *, sign=1, mark=1000.0, low=300.0, step=0.5, rate=0.04):
    """Return holders whose lines lie one after another, evenly."""
    n = int((mark - low) / step)
    at = [mark - sign * step * (i + 0.5) for i in range(n)]
    q = sign * per_point * step
    return population(
        contracts=["A"],
        price=[mark],
        mm_rate=[rate],
        cash=[rate * abs(q) * p - q * (p - mark) for p in at],
        start=range(n + 1),
        contract=[0] * n,
        quantity=[q] * n,
    )


@pytest.mark.parametrize(("density", "slope"), [(1.2, 0.5), (1.5, 0.6)])
def test_ladder_with_and_without_a_halt(density, slope):
    around = {"impact": Linear(), "books": ByCoin(slope), "rounds": 10_000, "length": 8}
    run = play(ladder(density), 975, SELL, **around)
    assert run.price[-1, 0] - 1000 == pytest.approx(-25 / (1 - density * slope), rel=0.01)
    terms = Breaker(
        id="x",
        title="x",
        source="x",
        confidence="house",
        window_s=86400.0,
        tiers=[Tier(fall_abs=40.0, pause_s=120.0)],
        reopening_s=60.0,
        cooloff_s=6000.0,
        impact_factor=0.25,
    )
    run = play(ladder(density), 975, SELL, breaker=terms, **around)
    assert run.price[1, 0] == pytest.approx(960, abs=1e-6)
    wanted = halted_fall(25, density * slope, 40, 0.25)
    assert 1000 - run.price[-1, 0] == pytest.approx(wanted, rel=0.003)


def test_squeeze_of_shorts_and_the_square_root():
    run = play(ladder(0.9, sign=-1), 1025, SELL, impact=Linear(), books=ByCoin(0.5), rounds=10_000)
    assert run.price[-1, 0] - 1000 == pytest.approx(25 / (1 - 0.45), rel=0.01)
    assert run.bought.sum() > 0 == run.sold.sum()
    # √: the fixed point by rounds over the ladder's own triggers.
    rule = Power(delta=0.5, y=1.0, sigma=[0.03], volume=[100.0])
    run = play(ladder(0.02, step=0.05, low=700.0), 995, SELL, impact=rule, rounds=10_000)
    price = 995.0
    for _ in range(10_000):
        fired = max(0, math.floor((1000 - price) / 0.05 + 0.5))
        price = 995 * math.exp(-0.03 * math.sqrt(0.02 * 0.05 * fired / 100))
    near(run.price[-1], [price], 1e-9)


@pytest.mark.parametrize(
    ("cash", "coins", "line"), [(500.0, 1.5, 5500 / 4.11), (2500.0, -1.0, 1e4)]
)
def test_wrong_way_collateral_and_a_debt_at_their_lines(cash, coins, line):
    # Long 3 on coins at a haircut of a fifth, m = 3 %: 500 + 1.2P + 3P − 6,000 = 0.09P. Long 1
    # that owes 1, m = 5 %: 500 = 0.05P, on the way up.
    q, m = (3.0, 0.03) if coins > 0 else (1.0, 0.05)
    people = population(
        contracts=["A"],
        price=[2000.0],
        mm_rate=[m],
        haircut=[0.2],
        cash=[cash],
        start=[0, 1],
        contract=[0],
        quantity=[q],
        coll_start=[0, 1],
        coll_asset=[0],
        coll_quantity=[coins],
    )
    worse = 1.0 if coins < 0 else -1.0
    assert not play(people, line * (1 - worse * 1e-6), SELL).hit.any()
    assert play(people, line * (1 + worse * 1e-6), SELL).hit.all()


def test_small_shock_ends_where_the_matrix_says():
    people = random_people(random.Random(6), slack=(0.0, 0.0), debts=False, long_only=True)
    depth, shock = [4e6, 2e6, 3e6], np.array([-1e-6, -2e-6, -1e-6, -3e-6])
    rule = CascadeRules(liquidation=rules(CUT), absorption=0.0, rounds=10_000)
    run = simulate(people, CascadeMarket(exogenous=[shock], depth_usd=depth), rule)
    total = loop_gain(people, depth).response(shock)
    near(np.log(run.price[-1] / run.price[0]) / total, np.ones(4), 1e-4)


def test_nobody_and_nothing():
    assert play(holders([], []), 90, SELL).price[-1, 0] == pytest.approx(90)
    still = play(holders([10, -10], [70.0, 70.0]), 100, BANKRUPT, SELL, depth=1e3, length=3)
    assert np.ptp(still.price) == 0.0 and not still.hit.any()
    none = simulate(holders([10], [70.0]), CascadeMarket(exogenous=np.zeros((0, 1))))
    assert none.price.tolist() == [[100.0]]


def test_a_thousand_alike_fall_together_and_splitting_changes_nothing():
    one = play(holders([10.0], [150.0]), 90, SELL, depth=2e4)
    many = play(holders([0.01] * 1000, [0.15] * 1000), 90, SELL, depth=2e4)
    near(one.price, many.price, 1e-10)
    assert many.hit.all() and np.ptp(many.equity) < 1e-9
