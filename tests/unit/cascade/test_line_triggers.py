"""Where accounts and positions reach their line, against halving an interval."""

from __future__ import annotations

import random
from itertools import pairwise

import numpy as np
import pytest

from crossmargin.cascade import scalar
from crossmargin.cascade.fragility import fragility
from crossmargin.cascade.generate import generate_population
from crossmargin.cascade.population import Population, population
from crossmargin.cascade.triggers import common_triggers, position_triggers
from crossmargin.errors import CascadeError
from crossmargin.liquidation import Brackets

TABLES = [
    Brackets((0.0, 2e4, 2e5), (0.01, 0.02, 0.05)),
    Brackets((0.0, 5e4), (0.02, 0.04)),
    Brackets((0.0,), (0.05,)),
]


def people(seed: int, *, brackets: bool) -> Population:
    rng = random.Random(seed)
    price = [50_000.0, 3_000.0, 100.0, 1.0]
    start, contract, quantity, cash = [0], list[int](), list[float](), list[float]()
    coll_start, coll_asset, coll_quantity = [0], list[int](), list[float]()
    for _ in range(30):
        gross = 0.0
        for k in rng.sample(range(3), rng.randint(0, 3)):
            usd = rng.uniform(1e3, 3e5)
            contract.append(k)
            quantity.append(rng.choice((-1, 1)) * usd / price[k])
            gross += usd
        start.append(len(contract))
        if rng.random() < 0.5:
            j = rng.randrange(4)
            coll_asset.append(j)
            coll_quantity.append(rng.uniform(0.02, 0.2) * gross / price[j])
        coll_start.append(len(coll_asset))
        cash.append(rng.uniform(-0.05, 0.4) * gross)
    return population(
        contracts=("BTC", "ETH", "SOL"),
        assets=("BTC", "ETH", "SOL", "USDE"),
        price=price,
        mm_rate=(0.01, 0.02, 0.05),
        haircut=(0.05, 0.1, 0.2, 0.02),
        cash=cash,
        start=start,
        contract=contract,
        quantity=quantity,
        coll_start=coll_start,
        coll_asset=coll_asset,
        coll_quantity=coll_quantity,
        brackets=TABLES if brackets else None,
    )


def crossing(excess: object, low: float, high: float) -> float:
    """The point nearest to 0 where an excess that is positive at 0 turns: scan, then halve."""
    assert callable(excess)
    for edge in (low, high):
        steps = np.linspace(0.0, edge, 601).tolist()
        for a, b in pairwise(steps):
            if excess(b) < 0:
                for _ in range(80):
                    middle = 0.5 * (a + b)
                    a, b = (middle, b) if excess(middle) >= 0 else (a, middle)
                return b
    return float("nan")


@pytest.mark.parametrize("brackets", [False, True])
@pytest.mark.parametrize("beta", [[1.0] * 4, [1.0, 1.3, 1.6, 0.0], [1.0, -0.5, 0.4, 0.1]])
def test_common_moves(brackets: bool, beta: list[float]) -> None:
    who = people(7, brackets=brackets)
    found = common_triggers(who, beta)
    slack = who.equity() - who.maintenance()
    up, down = max(beta), -min(beta)
    ends = (-1.0 / up, 1.0 / down if down > 0 else 50.0)
    seen = 0
    for a in range(who.size):

        def excess(t: float, a: int = a) -> float:
            p = who.price * (1.0 + t * np.array(beta))
            return float(who.equity(p)[a] - who.maintenance(p)[a])

        if who.start[a] == who.start[a + 1]:
            assert np.isnan(found[a])
        elif slack[a] <= 0:
            assert found[a] == 0.0
        elif not np.isnan(found[a]):
            seen += 1
            scale = float(np.abs(who.quantity * who.price[who.contract]).max())
            assert abs(excess(float(found[a]))) < 1e-8 * scale
            # Nothing is crossed on the way.
            assert all(excess(float(found[a]) * x / 50) > -1e-6 for x in range(50))
        elif a % 4 == 0:
            side = np.sign(excess(1e-6) - excess(0.0))
            want = crossing(excess, *((ends[0] * 0.999, 0.0) if side > 0 else (0.0, ends[1])))
            assert np.isnan(want)
    assert seen > 10


@pytest.mark.parametrize("brackets", [False, True])
def test_positions_alone(brackets: bool) -> None:
    who = people(11, brackets=brackets)
    found = position_triggers(who)
    slack = who.equity() - who.maintenance()
    seen = 0
    for n in range(who.contract.size):
        a, k = int(who.account[n]), int(who.contract[n])

        def excess(x: float, a: int = a, k: int = k) -> float:
            p = who.price.copy()
            p[k] = x
            return float(who.equity(p)[a] - who.maintenance(p)[a])

        mark = float(who.price[k])
        if slack[a] <= 0:
            assert found[n] == mark
        elif np.isnan(found[n]):
            assert excess(mark * 1e-9) > 0 or who.quantity[n] < 0
        else:
            seen += 1
            scale = abs(float(who.quantity[n])) * mark
            assert abs(excess(float(found[n]))) < 1e-8 * max(scale, abs(float(slack[a])))
    assert seen > 15


def test_row_a06_by_population() -> None:
    coin = population(
        contracts=["BTC"],
        price=[50_000.0],
        mm_rate=0.05,
        haircut=0.05,
        cash=[0.0, 47_500.0],
        start=[0, 1, 2],
        contract=[0, 0],
        quantity=[2.0, 2.0],
        coll_start=[0, 1, 1],
        coll_asset=[0],
        coll_quantity=[1.0],
    )
    found = position_triggers(coin)
    assert found.tolist() == pytest.approx([35_087.719298, 27_631.578947])
    want = scalar.price_at_line(2.0, 50_000.0, 0.05, coins=1.0, haircut=0.05)
    assert found[0] == pytest.approx(want, rel=1e-12)
    np.testing.assert_allclose(50_000.0 * (1.0 + common_triggers(coin)), found, rtol=1e-12)


def test_fragility_adds_up() -> None:
    who = generate_population(400, 3, 4)
    depth = np.array([5e6, 4e6, 3e6])
    made = fragility(who, depth, contracts=2, moves=(-0.1, 0.3))
    assert [s.shock[0] for s in made.shocks] == [-0.1, 0.3]
    oi = who.open_interest() * who.price[:3]
    assert made.open_interest == pytest.approx(float(oi.sum()))
    trigger = who.price[who.contract] * (1.0 + common_triggers(who)[who.account])
    for one in made.contracts:
        k = who.contracts.index(one.contract)
        mine = who.contract == k
        longs = mine & (who.quantity > 0) & (trigger <= who.price[k])
        want = float((who.quantity * trigger)[longs].sum())
        assert one.longs_below == pytest.approx(want)
        assert one.map.total == pytest.approx(one.longs_below + one.shorts_above)
        assert one.interest_over_depth == pytest.approx(float(oi[k] / depth[k]))
        assert one.own_gain == made.gain.matrix[k, k]
        local = one.map.gain(scalar.slope_of_depth(depth[k], one.mark))[:32]
        assert one.peak_gain == local.max() > 0 and one.gain_share == (local > 1).mean()
        assert one.map.edges[local.argmax()] < one.peak_price < one.map.edges[local.argmax() + 1]
    assert len(made.contracts) == 2 and made.score.score > 0
    # Less depth, and all of it is worse.
    worse = fragility(who, depth / 2, contracts=2, moves=(-0.1, 0.3))
    assert worse.gain.radius == pytest.approx(2 * made.gain.radius)
    for a, b in zip(worse.shocks, made.shocks):
        assert (np.abs(a.returns) >= np.abs(b.returns) - 1e-12).all()
    alone = fragility(who, depth, contracts=2, together=False)
    assert alone.gain.radius == made.gain.radius
    with pytest.raises(CascadeError, match="CAS-001"):
        fragility(who, depth, reach=1.5)
