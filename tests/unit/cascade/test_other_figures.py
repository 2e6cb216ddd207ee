"""Closed forms of a cascade on other figures than the rows': shorts, coins, debts, hedges.

Every expectation is written out by hand or by a slow loop in plain Python over accounts, from
cascades.md §1 to §4 and the rows of requirements.md; nothing here knows how the library does it.
"""

import math
import random

import numpy as np
import pytest
from tests.unit.cascade.slow_cascade import at_prices, random_people

from crossmargin.cascade import fire_sales as sales
from crossmargin.cascade import leverage as lev
from crossmargin.cascade import loop_gain, population, shock_response
from crossmargin.cascade import networks as net
from crossmargin.cascade.branching import borel_moments, borel_pmf
from crossmargin.cascade.ladder import (
    fund_exhaustion,
    fuse_price,
    halted_fall,
    linear_depth,
    power_displacement,
    power_fall,
    root_fall,
    sweep,
    uniform_fall,
)
from crossmargin.cascade.open_interest import PositionLedger, interest_from_flags
from crossmargin.cascade.scalar import (
    boundary_gain,
    critical_depth,
    critical_leverage,
    critical_stock,
    hedging_gain,
    leverage_gain,
    liquidation_move,
    price_at_line,
)
from crossmargin.cascade.triggers import common_triggers, position_triggers
from crossmargin.liquidation import Brackets

DEPTHS = (90_000.0, 250_000.0, 400_000.0)


def close(found, wanted, rel=1e-11):
    assert np.allclose(found, wanted, rtol=rel, atol=1e-13), (found, wanted)


def test_one_number_forms():
    close(leverage_gain([3, 10, 1], [2e6, 5e5, 9e9], 4e7), (2 * 2e6 + 9 * 5e5) / 4e7)
    close(critical_leverage(7e6, 3.5e7), 6.0)
    close(critical_depth([3, 10], [2e6, 5e5]), 8.5e6)
    close(boundary_gain(0.025, 3e6, 4e8, collateral="quote"), 39 * 3e6 / 4e8)
    close(boundary_gain(0.025, 3e6, 4e8, collateral="coin"), 40 * 3e6 / 4e8)
    close(critical_stock(0.02, 3000, 0.4), 0.02 * 3000 / 0.4 / 0.98)
    # Short gamma destabilises, long gamma steadies.
    close(hedging_gain([-12.0, 5.0], [2000.0, 100.0], [1e8, 1e6]), [0.48, -0.05])


def test_price_at_the_line_of_shorts_coins_and_debts():
    # 1,500 + 3·2,000 − 3P = 0.04·3P
    close(price_at_line(-3, 2000, 0.04, cash=1500), 7500 / 3.12)
    # One coin at a haircut of 10 % softens a short: 7,500 = (3.12 − 0.9)·P.
    close(price_at_line(-3, 2000, 0.04, cash=1500, coins=1, haircut=0.1), 7500 / 2.22)
    # A debt counts in full, haircut or not: 7,500 = (3.12 + 1)·P.
    close(price_at_line(-3, 2000, 0.04, cash=1500, coins=-1, haircut=0.1), 7500 / 4.12)
    # Long one, owing one: equity 500 whatever happens; 500 = 0.05·P on the way up.
    close(price_at_line(1, 2000, 0.05, cash=2500, coins=-1), 10_000)
    assert math.isnan(price_at_line(1, 2000, 0.05, cash=2001))


@pytest.mark.parametrize(("leverage", "m"), [(8, 0.03), (3, 0.1), (40, 0.005), (20, 0.1)])
def test_move_to_the_line_of_three_kinds_of_margin(leverage, m):
    s = 1.0 / leverage
    for kind, excess in (
        ("quote", lambda r: s + r - m * (1 + r)),
        ("coin", lambda r: s * (1 + r) + r - m * (1 + r)),
        ("inverse", lambda r: s + 1 - 1 / (1 + r) - m / (1 + r)),
    ):
        assert abs(excess(float(liquidation_move(leverage, m, kind)))) < 1e-12


def test_no_line_without_leverage():
    assert np.isnan(liquidation_move([0.5, 1.0], [0.05, 0.0], "quote")).all()
    assert -1.0 < liquidation_move(0.5, 0.05, "coin") < 0.0


@pytest.mark.parametrize(
    ("x", "c", "delta"),
    [(0.05, 0.3, 0.5), (0.05, 0.3, 1.0), (0.05, 0.3, 1.7), (0.05, 0.9, 0.8), (2.0, 0.3, 0.5)],
)
def test_power_impact_is_where_rounds_end(x, c, delta):
    fall = x
    for _ in range(5_000):
        fall = x + c * fall**delta
    close(power_fall(x, c, delta), fall, 1e-9)


def test_where_power_impact_runs_away():
    # δ = 2: a root only for x ≤ 1/(4c).
    close(power_fall(0.5, 0.5, 2.0), 1.0, 1e-6)
    assert power_fall(0.51, 0.5, 2.0) == math.inf
    # From a shock just above nothing: with a gain of 1 and more there is no end, below it no fall.
    assert power_fall(0.0, 2.0, 1.0) == power_fall(0.0, 1.0, 1.0) == math.inf
    assert power_fall(0.0, 0.9, 1.0) == power_fall(0.0, 0.9, 2.0) == 0.0
    close(power_fall(0.0, 0.3, 0.5), 0.09)
    assert uniform_fall([300, 10], [0.4, 1.0]).tolist() == [500.0, math.inf]
    close(root_fall([0.07, 0.0], 0.2), [((0.2 + math.sqrt(0.04 + 0.28)) / 2) ** 2, 0.04])


def test_halts():
    # 0.8·1,100 − (1,100 − 700) = 480 wait and come at a quarter; then a gain of 0.2.
    close(halted_fall(700, 0.8, 1100, 0.25), 1100 + (480 * 0.25) / (1 - 0.2))
    close(halted_fall(700, 0.8, 4000, 0.25), 3500)
    close(halted_fall(700, 1.5, 1100, 0.5), 1100 + (1250 * 0.5) / 0.25)
    assert halted_fall(700, 1.5, 1100, 0.9) == math.inf


@pytest.mark.parametrize(("b", "slope", "fund"), [(12, 0.3, 5e3), (-4, 0.3, 5e3), (0, 2, 100)])
def test_fund_is_empty_exactly_there(b, slope, fund):
    coins, paid = float(fund_exhaustion(b, slope, fund)), 0.0
    # Coin by thin slices: each loses what impact so far exceeds its buffer by.
    n = 20_000
    for i in range(n):
        paid += (slope * coins * (i + 0.5) / n - b) * coins / n
    close(paid, fund, 1e-7)


def test_borel():
    for g in (0.0, 0.3, 0.7):
        by_hand = [math.exp(-g * k) * (g * k) ** (k - 1) / math.factorial(k) for k in range(1, 40)]
        close(borel_pmf(np.arange(1, 40), g), by_hand)
        mean, variance = borel_moments(g)
        close([mean, variance], [1 / (1 - g), g / (1 - g) ** 3])
    # The generations themselves: offspring Poisson(g) each.
    draw, sizes = np.random.default_rng(5), []
    for _ in range(4_000):
        alive, size = 1, 1
        while alive:
            alive = int(draw.poisson(0.6 * alive))
            size += alive
        sizes.append(size)
    assert abs(np.mean(sizes) - 2.5) < 4 * math.sqrt(0.6 / 0.4**3 / 4_000)


def test_sweep_is_the_end_of_rounds():
    rnd = random.Random(3)
    for _ in range(300):
        n = rnd.randint(1, 12)
        d = [rnd.choice([rnd.uniform(-1, 30), rnd.randint(0, 20)]) for _ in range(n)]
        q = [rnd.choice([0, rnd.uniform(0, 5)]) for _ in range(n)]
        x, a = rnd.choice([0, rnd.uniform(0, 20)]), rnd.uniform(0, 3)
        delta = rnd.choice([0.5, 1.0, 1.5])
        fall = x
        while True:
            fired = sum(coins for at, coins in zip(d, q, strict=True) if at <= fall)
            further = x + a * fired**delta
            if further <= fall:
                break
            fall = further
        found = sweep(d, q, x, power_displacement(a, delta))
        close([found.displacement, found.coins], [fall, fired], 1e-9)
        assert found.fired == sum(at <= fall for at in d)


@pytest.mark.parametrize("side", ["down", "up"])
def test_fuse_on_random_books(side):
    rnd = random.Random(11)
    for _ in range(150):
        n, depth = rnd.randint(0, 15), rnd.uniform(100, 3000)
        at = [rnd.uniform(60, 140) for _ in range(n)]
        coins = [rnd.uniform(0, 4) for _ in range(n)]
        fuse = math.nan
        there = [p for p in at if (p < 100) == (side == "down")]
        for p in sorted(there, key=lambda p: abs(p - 100)):
            due = sum(
                c * t
                for c, t in zip(coins, at, strict=True)
                if (t < 100) == (side == "down") and abs(t - 100) <= abs(p - 100)
            )
            if due > depth * abs(1 - p / 100):
                fuse = p
                break
        found = fuse_price(at, coins, mark=100, depth=linear_depth(depth, 100), side=side)
        assert found.price == fuse or (math.isnan(found.price) and math.isnan(fuse))


def slow_bracket(people, a):
    """Return notionals, what a unit of return makes of the excess, slack and MM of an account."""
    size, k = len(people.assets), len(people.contracts)
    n, bracket = [0.0] * size, [0.0] * size
    for i in range(people.start[a], people.start[a + 1]):
        c = people.contract[i]
        n[c] += people.quantity[i] * people.price[c]
    mm = sum(people.mm_rate[c] * abs(n[c]) for c in range(k))
    for j in range(size):
        bracket[j] = n[j] - (people.mm_rate[j] * abs(n[j]) if j < k else 0.0)
    for i in range(people.coll_start[a], people.coll_start[a + 1]):
        j = people.coll_asset[i]
        value = people.coll_quantity[i] * people.price[j]
        bracket[j] += value * (1 - people.haircut[j]) if value > 0 else value
    return n, bracket, at_prices(people, a, people.price) - mm, mm


def slow_matrix(people, depth, active, slope=(0.0, 0.0, 0.0)):
    size, k = len(people.assets), len(people.contracts)
    made = np.zeros((size, size))
    for a in range(people.size):
        n, bracket, _, mm = slow_bracket(people, a)
        for row in range(k if active[a] and mm > 0 else 0):
            for col in range(size):
                rising = slope[col] * abs(n[col]) if col < k else 0.0
                made[row][col] += n[row] / mm * (bracket[col] + rising) / depth[row]
    return made


def test_matrix_of_mixed_accounts_by_plain_loops():
    rnd = random.Random(5)
    for _ in range(4):
        people = random_people(rnd, slack=(0.0, 0.0))
        some = [rnd.random() < 0.5 for _ in range(people.size)]
        for active in ([True] * people.size, some):
            made = loop_gain(people, DEPTHS, active=active)
            by_hand = slow_matrix(people, DEPTHS, active)
            close(made.matrix, by_hand)
            close(made.radius, max(abs(np.linalg.eigvals(by_hand))), 1e-9)
        steep = (0.1, 0.2, 0.3)
        made = loop_gain(people, DEPTHS, active=some, margin_slope=steep)
        by_hand = slow_matrix(people, DEPTHS, some, steep)
        close(made.matrix, by_hand)
        if made.stable:
            shock = [-0.01, 0.004, -0.02, -0.03]
            total = np.array(shock)
            for _ in range(4_000):
                total = shock + by_hand @ total
            close(made.response(shock), total, 1e-9)
        # Elasticities by moving one depth.
        for k in range(3):
            deeper = [d * (1 + 1e-6 * (i == k)) for i, d in enumerate(DEPTHS)]
            moved = loop_gain(people, deeper, active=some, margin_slope=steep).radius
            felt = -(moved / made.radius - 1) / 1e-6
            assert abs(felt - made.depth_elasticity()[k]) < 1e-4


def test_active_set_against_rounds_of_plain_loops():
    rnd = random.Random(9)
    for _ in range(3):
        people = random_people(rnd, size=25, slack=(0.0, 0.5), debts=False, long_only=True)
        rows = [slow_bracket(people, a) for a in range(people.size)]
        for shock in ([-0.02, -0.02, -0.02, 0.0], [0.0, 0.0, 0.0, -0.2], [-0.1, 0.0, -0.3, 0.0]):
            r, cut = list(shock), [0.0] * people.size
            for _ in range(3_000):
                for a, (_, bracket, slack, mm) in enumerate(rows):
                    lacks = -(slack + sum(b * x for b, x in zip(bracket, r, strict=True)))
                    cut[a] = max(cut[a], min(1.0, max(0.0, lacks / mm)))
                new = [
                    x - sum(f * n[j] for f, (n, *_) in zip(cut, rows, strict=True)) / DEPTHS[j]
                    if j < 3
                    else x
                    for j, x in enumerate(shock)
                ]
                moved, r = max(abs(a - b) for a, b in zip(new, r, strict=True)), new
                if moved < 1e-15:
                    break
            found = shock_response(people, DEPTHS, shock)
            close(found.returns, r, 1e-8)
            assert np.abs(found.share - cut).max() < 1e-7


def test_bracketed_account_sells_by_its_last_slice():
    slices = Brackets(floors=(0.0, 500.0, 2000.0), rates=(0.05, 0.1, 0.2))
    assert slices.mm(3000.0) == 25 + 150 + 200
    people = population(
        contracts=["A"],
        price=[100.0],
        mm_rate=[0.05],
        cash=[500.0, 1e5],
        start=[0, 1, 2],
        contract=[0, 0],
        quantity=[30.0, -30.0],
        brackets=[slices],
    )
    # 500 + 30(P − 100) = 175 + 0.2(30P − 2,000): 24P = 2,275.
    close(position_triggers(people)[0], 2275 / 24)
    close(common_triggers(people)[0], 2275 / 2400 - 1)
    # dE = 3,000r; selling x frees 0.2x, and the loss itself frees 0.2·3,000r.
    close(loop_gain(people, 1e5, active=[True, False]).matrix, [[3000 * 0.8 / 0.2 / 1e5]])


def test_triggers_of_mixed_accounts_by_two_points():
    people = random_people(random.Random(2), size=60, slack=(0.0, 0.5))
    common, own = common_triggers(people), position_triggers(people)

    def crossing(excess, here, there):
        """Return where a straight line through two points is 0."""
        at, further = excess(here), excess(there)
        return here - at * (there - here) / (further - at) if further != at else math.nan

    def requirement(a, price):
        return sum(
            people.mm_rate[people.contract[i]] * abs(people.quantity[i]) * price[people.contract[i]]
            for i in range(people.start[a], people.start[a + 1])
        )

    def excess(a, price):
        return at_prices(people, a, price) - requirement(a, price)

    for a in range(people.size):

        def together(t, a=a):
            return excess(a, [p * (1 + t) for p in people.price])

        t = crossing(together, 0.0, 1.0)
        assert math.isnan(common[a]) if t <= -1 else abs(common[a] - t) < 1e-9
        for i in range(people.start[a], people.start[a + 1]):
            k = people.contract[i]

            def alone(p, a=a, k=k):
                return excess(a, [p if j == k else x for j, x in enumerate(people.price)])

            p = crossing(alone, people.price[k], people.price[k] + 1.0)
            assert math.isnan(own[i]) if not p > 0 else abs(own[i] / p - 1) < 1e-9


def test_fire_sales_by_plain_loops():
    m, a, b = [[0.6, 0.4, 0], [0.1, 0.2, 0.7], [0, 1, 0]], [100.0, 250.0, 60.0], [9.0, 3.0, 0.0]
    shock, law = [-0.02, 0.01, -0.05], [2e-3, 1e-3, 5e-4]
    three = range(3)
    sold = [a[i] * b[i] * sum(m[i][j] * shock[j] for j in three) for i in three]
    fell = [law[j] * sum(m[i][j] * sold[i] for i in three) for j in three]
    lost = [a[i] * sum(m[i][j] * fell[j] for j in three) for i in three]
    own = [a[i] / (1 + b[i]) for i in three]
    found = sales.aggregate_vulnerability(m, a, b, shock, law)
    close(found.aggregate, sum(lost) / sum(own))
    close(found.returns, fell)
    close(found.indirect, [lost[i] / own[i] for i in three])
    close(found.systemicness.sum(), found.aggregate)

    cut = sales.sold_share([100.0] * 4, [2, 5, -1, 3.0], [60, 80, 50, 50], most=25, buffer=20)
    close(cut.share, [1.0, 0.0, 1.0, 0.8])
    assert cut.insolvent.tolist() == [False, False, True, False]
    close(
        sales.floor_impact([30.0, 0.0, 1e9], 80.0, 100.0, 50.0, 200.0),
        [0.375 * (1 - math.exp(-0.3)), 0.0, 0.375],
    )

    h, d = [[40.0, 60.0], [10.0, 90.0], [80.0, 0.0]], [500.0, 900.0]
    omega = [[sum(h[i][x] * h[j][x] / d[x] for x in (0, 1)) for j in three] for i in three]
    close(net.overlap_matrix(h, d), omega)
    close(net.indirect_contagion_index(h, d), [sum(omega[i]) - omega[i][i] for i in three])
    for equity in ([100.0, 80.0, 50.0], [10.0, 8.0, 5.0]):
        now, before = [0.2, 0.0, 0.0], [0.0] * 3
        for _ in range(2_000):
            new = [
                min(
                    1.0,
                    now[i]
                    + sum(omega[i][j] / equity[i] * (now[j] - before[j]) for j in three if j != i),
                )
                for i in three
            ]
            before, now = now, new
        close(net.debt_rank(h, equity, d, [0.2, 0.0, 0.0]).distress, now, 1e-9)


def test_leverage_and_open_interest():
    close(lev.drift([3, 8, -4], [0.2, -0.1, 0.1]), [3.6 / 1.6, 7.2 / 0.2, -4.4 / 0.6])
    assert np.isinf(lev.drift(5, [-0.2, -0.3])).all()
    close(lev.target_sale([4, 10], [-0.05, -0.02]), [(3.8 - 3.2) / 4, (9.8 - 8.0) / 10])
    close(lev.target_sale(4, -0.05, 3), (3.8 - 2.4) / 4)
    # Ruined: all of it, which is 80 % of what there was.
    close(lev.target_sale(10, -0.2), 0.8)
    close(lev.systemic_score(4, 0.3, 0.2).score, 1 - 0.25 * 0.7 * 0.8)
    ratio = lev.liquidity_ratio([6e6, 1e6, 0, 5e6, 0], [2e6, 4e6, 1e6, 0, 0], limit=2.0)
    # The last, nothing to be closed on no depth, is fragile in neither form.
    assert ratio.alert_high.tolist() == [True, False, False, True, False]
    assert ratio.alert_low.tolist() == [True, False, False, True, False]
    # Open 5; changes hands 2, then 3; close 4.
    flags = interest_from_flags([5, 2, 3, 4], [1, 0, 1, 0], [1, 1, 0, 0], start=10.0)
    assert flags.tolist() == [15, 15, 15, 11]
    book = PositionLedger()
    assert (book.trade("X", "a", "b", 7), book.trade("X", "b", "c", 10)) == (7, 3)
    assert (book.close_pair("X", "a", "c", 4), book.open_interest("X")) == (-4, 6)
    assert (book.expire("X"), book.open_interest("X")) == (-6, 0)
