"""Contagion, modes and funds on other figures than the rows'; figures that are refused in words."""

import math

import numpy as np
import pytest
from tests.unit.cascade.test_cascade_closed_forms import rules
from tests.unit.cascade.test_other_cascades import CUT, SELL, holders, near, play

from crossmargin.cascade import (
    CascadeMarket,
    CascadeRules,
    crowd_contagion,
    fenced,
    play_mode,
    population,
    simulate,
    trader_of,
    withstood,
)
from crossmargin.errors import CascadeError, CrossmarginError, InputError
from crossmargin.liquidation import ClosingCost, linear_account
from crossmargin.liquidation.contagion import contagion, shocked_linear
from crossmargin.liquidation.fund_size import exhaustion_curve, fund_paths, fund_size
from crossmargin.stats import conditional_moves, nearest_correlation


def test_contagion_of_a_hedged_account():
    # 5,000; short 3 BTC at 40,000 (4 %), long 30 ETH at 2,500 (8 %); BTC +3 %: 1,400 on 10,944.
    account = shocked_linear(
        linear_account(
            quantity=[-3, 30],
            mark=[40e3, 2500],
            rate=[0.04, 0.08],
            equity=5000,
            names=["BTC", "ETH"],
        )
    )
    all_of, eth_first = 1 - 1400 / 10944, [1 - 1400 / 4944, 1]
    btc_first = [1, (6000 - 1400) / 6000]
    for policy, wanted in (
        ("proportional", [all_of, all_of]),
        ("riskiest-first", eth_first),
        ("largest-loss", btc_first),
    ):
        near(contagion(account, {"BTC": 0.03}, policy).matrix[0], wanted)
    costs = ClosingCost(fee_rate=0.005)
    wanted = (10944 - 1400) / (10944 - 0.005 * 198600)
    near(contagion(account, {"BTC": 0.03}, "proportional", costs=costs).matrix[0], [wanted] * 2)
    # The same over a population in which others hold the other half; and with a wall.
    crowd = population(
        contracts=["BTC", "ETH"],
        price=[40e3, 2500],
        mm_rate=[0.04, 0.08],
        cash=[12e3, 1e6, 1e6],
        start=[0, 2, 3, 4],
        contract=[0, 1, 0, 1],
        quantity=[-3, 30, 3, -30],
    )
    near(
        crowd_contagion(crowd, {"BTC": 0.05}, "proportional").matrix, [[(11040 - 6e3) / 22080] * 2]
    )
    walls = crowd_contagion(fenced(crowd), {"BTC": 0.05}, "proportional").matrix
    # 12,000·4.8/10.8 less 6,000 is below nothing: all of BTC, none of ETH.
    near(walls, [[0.5, 0.0]])


def test_coin_that_nobody_trades():
    # 108 of credit on 90; the coin loses 30 %: 75.6, so 16 % of everything goes.
    people = population(
        contracts=["BTC", "ETH"],
        assets=["BTC", "ETH", "USDX"],
        haircut=[0, 0, 0.1],
        price=[100, 10, 1.0],
        mm_rate=[0.05, 0.1],
        cash=[0, 50, 1e4],
        start=[0, 2, 3, 5],
        contract=[0, 1, 0, 0, 1],
        quantity=[10, -40, -5, -5, 40],
        coll_start=[0, 1, 1, 1],
        coll_asset=[2],
        coll_quantity=[120],
    )
    found = crowd_contagion(people, {"USDX": -0.3}, "proportional")
    near(found.matrix, [[0.08, 0.08]])
    assert (found.without_position.tolist(), found.unexposed.tolist()) == ([1.0], [0.0])
    news = np.array([[0.0, 0.0, math.log(0.7)]])
    rule = CascadeRules(liquidation=rules(CUT), absorption=0.0)
    run = simulate(people, CascadeMarket(exogenous=news), rule, check=True)
    near(run.closed, [0.16, 0.16, 0, 0, 0])


def test_modes_on_a_hedged_path():
    trader = trader_of(9e3, [2.0, -10.0], [3e3, 400.0], [1500.0, 2500.0], mm_rate=[0.1, 0.05])
    path = [[[3000, 400], [2300, 430], [3100, 500.0]]]
    cross, isolated = (play_mode(trader, path, mode) for mode in ("cross", "isolated"))
    # The pot of 1,500 has 100 left on 460 and is lost; the short loses 1,000 on the way.
    near([cross.wealth[0], isolated.wealth[0], isolated.forfeited[0]], [8200, 6500, 100])
    near([withstood(trader, "isolated", d) for d in ([-1, 1], [-1, 0])], [900 / 5400] * 2)
    near(withstood(trader, "cross", [-1, 1]), 8200 / 9600)
    # A fall to nothing costs 6,000 of 9,000: it is withstood, and there is nothing below.
    assert withstood(trader, "cross", [-1, 0]) == math.inf
    # With the short rising half as fast price 0 comes at x = 1 and the rest after it:
    # 9,000 − 6,000 − 2,000x − 200(1 + x/2) = 0.
    near(withstood(trader, "cross", [-1, 0.5]), 2800 / 2100)


def test_fund_along_paths_and_its_size():
    made = fund_paths(10.0, [[4, 9, 1], [0, 2, 0]], [[1, 1, 5], [0, 0, 0]])
    near(made.balance, [[10, 7, 0, 4], [10, 10, 8, 8]])
    near(made.uncovered, [[0, 1, 0], [0, 0, 0]])
    near(made.exhausted, [0, 0.5, 0.5])
    near(exhaustion_curve([0, 3, 9.5], [1, 3, 9, 10]), [1, 0.5, 0.25])
    near(fund_size(np.arange(1.0, 101.0), 0.95).by_shortfall, 98)


def test_coins_given_two_factors_and_a_frustrated_triangle():
    # Row A16 with two things known. Correlations of .5 and −.3 with them, .2 between them.
    sigma = [0.05, 0.015, 0.01]
    rho = [[1, 0.5, -0.3], [0.5, 1, 0.2], [-0.3, 0.2, 1]]
    cov = [[sigma[i] * sigma[j] * rho[i][j] for j in range(3)] for i in range(3)]
    # In standard deviations: (.5 + .06)/.96 and (−.3 − .1)/.96.
    first, second = 0.56 / 0.96, -0.4 / 0.96
    moves, left = conditional_moves(cov, [1, 2], [-0.04, 0.02])
    near(moves, [0.05 * (first * -0.04 / 0.015 + second * 0.02 / 0.01)])
    near(left, [[0.05**2 * (1 - first * 0.5 + second * 0.3)]])
    # By symmetry the nearest is a triangle of ±½, where the smallest eigenvalue is 0.
    found = nearest_correlation([[1, 0.9, -0.9], [0.9, 1, 0.9], [-0.9, 0.9, 1]])
    near(found, [[1, 0.5, -0.5], [0.5, 1, 0.5], [-0.5, 0.5, 1]], 1e-6)


def wrong_market(**more):
    return lambda: simulate(holders([10], [500.0]), CascadeMarket(**{"exogenous": [[0.0]], **more}))


@pytest.mark.parametrize(
    "wrong",
    [
        wrong_market(exogenous=[[math.nan]]),
        wrong_market(exogenous=[[-800.0]]),
        wrong_market(exogenous=[[400.0], [400.0]]),
        wrong_market(depth_usd=0.0),
        wrong_market(depth_usd=math.nan),
        wrong_market(step_ns=math.nan),
        wrong_market(step_ns=1.5),
        wrong_market(start_ns=math.nan),
        lambda: CascadeRules(rounds=math.nan),
        lambda: CascadeRules(fund_usd=-1.0),
        lambda: CascadeRules(absorption=math.inf),
        lambda: holders([math.nan], [5.0]),
        lambda: holders([1.0], [math.inf]),
        lambda: holders([1.0], [5.0], mm=0.0),
        lambda: holders([1.0], [5.0], entry=0.0),
        # Nothing is left of a price, or more than can be written down.
        lambda: play(holders([10], [120.0]), 90, SELL, depth=1.0),
        lambda: play(holders([-10], [120.0]), 110, SELL, depth=1.0),
    ],
)
def test_figures_that_are_none_are_refused_in_words(wrong):
    with pytest.raises(CascadeError, match="CAS-0"):
        wrong()


def test_rows_that_are_none():
    given = {
        "contracts": ["A"],
        "price": [1.0],
        "mm_rate": [0.1],
        "cash": [1.0],
        "start": [0, 1],
        "contract": [0],
        "quantity": [1.0],
    }
    for field, wrong in (
        ("contract", [0.5]),
        ("contract", [math.nan]),
        ("start", [0, math.inf]),
        ("start", [0, None]),
        ("quantity", ["x"]),
        ("contract", [2**40]),
    ):
        with pytest.raises(CascadeError, match="CAS-001") as said:
            population(**{**given, field: wrong})
        assert said.value.field == field


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -1.0])
def test_figures_of_funds_and_modes_that_are_none(wrong):
    trader = trader_of(10.0, [1.0], [10.0], [5.0])
    for call in (
        lambda: fund_paths(wrong, [[1.0]]),
        lambda: exhaustion_curve([wrong], [1.0]),
        lambda: fund_size([wrong], 0.9),
        lambda: fund_size([1.0], wrong),
        lambda: play_mode(trader, [[[10.0], [wrong]]], "cross"),
    ):
        with pytest.raises(CrossmarginError):
            call()
    if wrong != -1.0:
        with pytest.raises(InputError, match="direction"):
            withstood(trader, "cross", [wrong])
