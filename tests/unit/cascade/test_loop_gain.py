"""Loop gain: closed forms, the matrix against plain loops, and rounds that converge to it."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest

from crossmargin.cascade import scalar
from crossmargin.cascade.gain import Gain, loop_gain, spectral_radius
from crossmargin.cascade.generate import generate_population
from crossmargin.cascade.population import Population, population
from crossmargin.cascade.shock import shock_response
from crossmargin.errors import CascadeError
from crossmargin.liquidation import Brackets

# ------------------------------------------------------------------------------- one number


def test_leverage_targeting() -> None:
    assert scalar.leverage_gain(5.0, 1e6, 2e7) == 0.2
    assert scalar.leverage_gain([5.0, 3.0], [1e6, 2e6], 2e7) == pytest.approx(0.4)
    top = scalar.critical_leverage(1e6, 2e7)
    assert top == 21.0 and scalar.leverage_gain(top, 1e6, 2e7) == 1.0
    assert scalar.critical_depth(5.0, 1e6) == 4e6
    assert scalar.leverage_gain(5.0, 1e6, scalar.critical_depth(5.0, 1e6)) == 1.0
    assert scalar.critical_leverage(0.0, 1.0) == math.inf


@pytest.mark.parametrize("gain", [0.0, 0.3, 0.9])
def test_rounds_add_up_to_the_amplification(gain: float) -> None:
    rounds = scalar.fall_by_round(0.01, gain, 2_000)
    assert rounds.sum() == pytest.approx(0.01 / (1 - gain), rel=1e-12)
    assert float(scalar.amplification(gain)) == pytest.approx(1 / (1 - gain))
    assert rounds[0] == 0.01


def test_no_end_from_a_gain_of_one_on() -> None:
    assert scalar.amplification([1.0, 1.5]).tolist() == [math.inf, math.inf]
    assert float(scalar.amplification(-1.0)) == 0.5
    sums = scalar.fall_by_round(1.0, 1.01, 1_000).cumsum()
    assert sums[-1] > 1e6


@pytest.mark.parametrize("rate", [0.005, 0.05, 0.3])
def test_coin_margin_multiplies_the_gain_by_one_over_one_less_the_rate(rate: float) -> None:
    quote = scalar.boundary_gain(rate, 1e6, 1e8, collateral="quote")
    coin = scalar.boundary_gain(rate, 1e6, 1e8, collateral="coin")
    assert coin / quote == pytest.approx(1 / (1 - rate), rel=1e-14)


def at_the_line(coins: float, price: float, rate: float, slope: float, shock: float) -> float:
    """Total fall, played round by round with every account exactly at its line."""
    q, p = coins, price
    equity = rate * q * p
    push, fall = shock, 0.0
    for _ in range(100_000):
        p -= push
        fall += push
        equity -= q * push
        cut = 1.0 - equity / (rate * q * p)
        if cut * q * slope < 1e-13 * shock:
            break
        push = slope * cut * q
        q -= cut * q
    return fall


@pytest.mark.parametrize(("coins", "multiple"), [(2_000.0, 4.17), (2_500.0, 20.0)])
def test_row_a06_critical_stock(coins: float, multiple: float) -> None:
    stock = scalar.critical_stock(0.05, 50_000.0, 1.0)
    assert stock == pytest.approx(2_631.6, abs=0.05)
    told = float(scalar.amplification(coins / stock))
    assert told == pytest.approx(multiple, rel=0.01)
    played = at_the_line(coins, 50_000.0, 0.05, 1.0, 1e-4) / 1e-4
    assert played == pytest.approx(multiple, rel=0.01)


def test_row_a06_wrong_way_collateral() -> None:
    with_coin = scalar.price_at_line(2.0, 50_000.0, 0.05, coins=1.0, haircut=0.05)
    with_cash = scalar.price_at_line(2.0, 50_000.0, 0.05, cash=47_500.0)
    assert with_coin == pytest.approx(35_087.72, abs=0.005)
    assert with_cash == pytest.approx(27_631.58, abs=0.005)
    assert with_coin / with_cash - 1 == pytest.approx(0.27, abs=0.005)
    assert math.isnan(scalar.price_at_line(1.0, 100.0, 0.05, cash=1_000.0))


@pytest.mark.parametrize("lever", [2.0, 5.0, 20.0])
def test_coin_margin_is_always_nearer(lever: float) -> None:
    rate = 0.02
    moves = {
        kind: float(scalar.liquidation_move(lever, rate, kind))  # type: ignore[arg-type]
        for kind in ("quote", "coin", "inverse")
    }
    # Each against the condition itself: equity = requirement, per unit of notional when opened.
    r = moves["quote"]
    assert 1 / lever + r == pytest.approx(rate * (1 + r))
    r = moves["coin"]
    assert (1 / lever) * (1 + r) + r == pytest.approx(rate * (1 + r))
    r = moves["inverse"]
    # In coins: collateral 1/L, profit 1 − 1/(1 + r), requirement m/(1 + r).
    assert 1 / lever + 1 - 1 / (1 + r) == pytest.approx(rate / (1 + r))
    assert moves["quote"] < moves["coin"] and moves["quote"] < moves["inverse"]


def test_slope_and_depth_are_two_names_of_one_thing() -> None:
    assert float(scalar.depth_of_slope(0.5, 50_000.0)) == 5e9
    assert float(scalar.slope_of_depth(5e9, 50_000.0)) == 0.5


def test_spirals_amplify_each_other() -> None:
    alone = scalar.spiral_sensitivity(2.0, 1.0, 0.0, 0.0, 0.0)
    margin = scalar.spiral_sensitivity(2.0, 1.0, -0.5, 1.0, 0.0)
    loss = scalar.spiral_sensitivity(2.0, 1.0, 0.0, 0.0, 0.5)
    both = scalar.spiral_sensitivity(2.0, 1.0, -0.5, 1.0, 0.5)
    assert both - alone > (margin - alone) + (loss - alone) > 0
    assert scalar.spiral_sensitivity(2.0, 1.0, -2.0, 1.0, 0.5) == math.inf


# ------------------------------------------------------------------------------- the matrix


def mixed(seed: int, accounts: int = 40, hedged: bool = True, **more: Any) -> Population:
    """Accounts in three contracts with coins of four assets, and a debt here and there."""
    rng = random.Random(seed)
    start, contract, quantity = [0], list[int](), list[float]()
    coll_start, coll_asset, coll_quantity = [0], list[int](), list[float]()
    price = [50_000.0, 3_000.0, 100.0, 1.0]
    for _ in range(accounts):
        for k in rng.sample(range(3), rng.randint(0, 3)):
            side = rng.choice((-1, 1)) if hedged else 1
            contract.append(k)
            quantity.append(side * rng.uniform(1e3, 1e5) / price[k])
        start.append(len(contract))
        for j in rng.sample(range(4), rng.randint(0, 2)):
            coll_asset.append(j)
            coll_quantity.append(rng.choice((1, 1, 1, -1)) * rng.uniform(10, 1e4) / price[j])
        coll_start.append(len(coll_asset))
    given: dict[str, Any] = {
        "contracts": ("BTC", "ETH", "SOL"),
        "assets": ("BTC", "ETH", "SOL", "USDE"),
        "price": price,
        "mm_rate": (0.01, 0.02, 0.05),
        "haircut": (0.05, 0.1, 0.2, 0.02),
        "cash": [rng.uniform(1e3, 1e5) for _ in range(accounts)],
        "start": start,
        "contract": contract,
        "quantity": quantity,
        "coll_start": coll_start,
        "coll_asset": coll_asset,
        "coll_quantity": coll_quantity,
    }
    return population(**{**given, **more})


def plain_matrix(people: Population, depth: list[float], active: list[bool]) -> list[list[float]]:
    """G by the formula of the reference, one account and one pair at a time."""
    k_all, j_all = len(people.contracts), len(people.assets)
    out = [[0.0] * j_all for _ in range(j_all)]
    for a in range(people.size):
        if not active[a]:
            continue
        n, rate = [0.0] * j_all, [0.0] * j_all
        for row in range(int(people.start[a]), int(people.start[a + 1])):
            k = int(people.contract[row])
            n[k] = float(people.quantity[row] * people.price[k])
            rate[k] = float(people.mm_rate[k])
            if people.brackets is not None:
                table = people.brackets[k]
                rate[k] = table.rates[table.tier(abs(n[k]))]
        coll = [0.0] * j_all
        for row in range(int(people.coll_start[a]), int(people.coll_start[a + 1])):
            j = int(people.coll_asset[row])
            held = float(people.coll_quantity[row] * people.price[j])
            coll[j] += held * (1.0 - float(people.haircut[j])) if held > 0 else held
        mm = sum(rate[k] * abs(n[k]) for k in range(k_all))
        if mm == 0.0:
            continue
        for k in range(k_all):
            for j in range(j_all):
                out[k][j] += n[k] / mm * (n[j] + coll[j] - rate[j] * abs(n[j])) / depth[k]
    return out


DEPTH = [4e7, 2e7, 1e7]


@pytest.mark.parametrize("seed", range(8))
def test_the_matrix_is_the_formula(seed: int) -> None:
    brackets = None
    if seed % 2:
        brackets = [Brackets((0.0, 3e4, 6e4), (0.01, 0.02, 0.05))] * 3
    people = mixed(seed, brackets=brackets)
    rng = random.Random(seed)
    active = [rng.random() < 0.6 for _ in range(people.size)]
    for mask, chosen in (("all", [True] * people.size), (active, active)):
        got = loop_gain(people, DEPTH, active=mask)
        np.testing.assert_allclose(
            got.matrix, plain_matrix(people, DEPTH, chosen), rtol=1e-10, atol=1e-13
        )
        np.testing.assert_allclose(got.exposure - got.relief, got.matrix, rtol=1e-12, atol=1e-15)


def test_the_population_is_left_as_it_was() -> None:
    """Sparse matrices sort their indices in place: they must not be the population's own."""
    people = mixed(3)
    before = {
        name: getattr(people, name).copy()
        for name in ("contract", "quantity", "start", "coll_asset", "coll_start")
    }
    loop_gain(people, DEPTH)
    shock_response(people, DEPTH, [-0.1] * 4)
    for name, values in before.items():
        assert (getattr(people, name) == values).all(), name


def test_order_and_splitting_of_accounts_do_not_matter() -> None:
    people = mixed(6)
    order = np.random.default_rng(1).permutation(people.size)
    halves = np.concatenate([order, order])

    def chosen(start: np.ndarray) -> np.ndarray:
        return np.concatenate([np.arange(start[a], start[a + 1]) for a in halves])

    rows, coins = chosen(people.start), chosen(people.coll_start)
    split = population(
        contracts=people.contracts,
        assets=people.assets,
        price=people.price,
        mm_rate=people.mm_rate,
        haircut=people.haircut,
        cash=people.cash[halves] / 2,
        start=np.concatenate([[0], np.cumsum(np.diff(people.start)[halves])]),
        contract=people.contract[rows],
        quantity=people.quantity[rows] / 2,
        coll_start=np.concatenate([[0], np.cumsum(np.diff(people.coll_start)[halves])]),
        coll_asset=people.coll_asset[coins],
        coll_quantity=people.coll_quantity[coins] / 2,
    )
    whole, parts = loop_gain(people, DEPTH), loop_gain(split, DEPTH)
    np.testing.assert_allclose(parts.matrix, whole.matrix, rtol=1e-11, atol=1e-14)
    a, b = (shock_response(x, DEPTH, [-0.1] * 4) for x in (people, split))
    np.testing.assert_allclose(b.returns, a.returns, rtol=1e-9)


def one(quantity: float, cash: float, coins: float = 0.0, rate: float = 0.05) -> Population:
    return population(
        contracts=["BTC"],
        price=[100.0],
        mm_rate=rate,
        cash=[cash],
        start=[0, 1],
        contract=[0],
        quantity=[quantity],
        coll_start=[0, 1],
        coll_asset=[0],
        coll_quantity=[coins],
    )


def test_one_asset_gives_the_scalar_forms() -> None:
    quote = loop_gain(one(20.0, 100.0), 1e5)
    assert quote.radius == pytest.approx(
        scalar.boundary_gain(0.05, 2_000.0, 1e5, collateral="quote"), rel=1e-14
    )
    # At the line with the coin alone: collateral of m·OI.
    coin = loop_gain(one(20.0, 0.0, coins=1.0), 1e5)
    assert coin.radius == pytest.approx(
        scalar.boundary_gain(0.05, 2_000.0, 1e5, collateral="coin"), rel=1e-14
    )
    assert quote.right.tolist() == quote.left.tolist() == [1.0]


def test_critical_leverage_is_one_plus_depth_over_exposure() -> None:
    made = loop_gain(one(20.0, 100.0), 1e5)
    assert made.critical_leverage_scale() / 0.05 == pytest.approx(
        scalar.critical_leverage(2_000.0, 1e5), rel=1e-10
    )


def test_collateral_that_nobody_trades_moves_what_is_traded() -> None:
    people = population(
        contracts=["BTC"],
        assets=["BTC", "USDE"],
        price=[100.0, 1.0],
        mm_rate=0.05,
        haircut=[0.0, 0.1],
        cash=[0.0],
        start=[0, 1],
        contract=[0],
        quantity=[20.0],
        coll_start=[0, 1],
        coll_asset=[1],
        coll_quantity=[100.0 / 0.9],
    )
    made = loop_gain(people, 1e5)
    assert made.matrix[1].tolist() == [0.0, 0.0]
    assert made.matrix[0, 1] == pytest.approx(100.0 / 100.0 * 2_000.0 / 1e5)
    total = made.response([0.0, -0.1])
    assert total[1] == -0.1
    assert total[0] == pytest.approx(-0.1 * made.matrix[0, 1] / (1 - made.matrix[0, 0]))
    assert made.left[1] > 0 and made.right[1] == 0.0


def test_netting_lowers_the_gain() -> None:
    def people(second: float) -> Population:
        return population(
            contracts=["BTC", "ETH"],
            price=[100.0, 100.0],
            mm_rate=0.05,
            cash=[200.0],
            start=[0, 2],
            contract=[0, 1],
            quantity=[20.0, second],
        )

    both, hedged = (loop_gain(people(q), [1e5, 1e5]) for q in (20.0, -18.0))
    assert hedged.matrix[0, 1] < 0 < both.matrix[0, 1]
    assert hedged.radius < both.radius


def test_hedgers_of_options() -> None:
    """Short gamma feeds a fall; played round by round from the definition."""
    gamma, price, depth = -0.02, 100.0, 1e4
    told = float(scalar.hedging_gain(gamma, price, depth))
    assert told == 0.02
    fall, push = 0.0, -0.01
    for _ in range(60):
        fall += push
        # Delta changes by Γ·S·r coins; being short gamma they sell into the fall.
        push = -gamma * price * push * price / depth
    people = one(0.001, 1e6)
    made = loop_gain(people, depth, active=[False], gamma=[gamma])
    assert made.radius == pytest.approx(told)
    assert made.response([-0.01])[0] == pytest.approx(fall, rel=1e-12)
    steady = loop_gain(people, depth, active=[False], gamma=[-gamma])
    assert steady.radius == pytest.approx(told) and not steady.real
    assert abs(steady.response([-0.01])[0]) < 0.01


def test_procyclical_margins_add_to_the_bracket() -> None:
    people = one(20.0, 100.0)
    slope = 0.2
    made = loop_gain(people, 1e5, margin_slope=slope)
    n, mm = 2_000.0, 100.0
    assert made.matrix[0, 0] == pytest.approx(n / mm * (n - 0.05 * n + slope * n) / 1e5)
    two = mixed(5)
    wide = np.array([[0.1, 0.0, 0.0, 0.3], [0.0, 0.1, 0.0, 0.0], [0.0, 0.0, 0.1, 0.0]])
    extra = loop_gain(two, DEPTH, margin_slope=wide).matrix - loop_gain(two, DEPTH).matrix
    flat = loop_gain(two, DEPTH, margin_slope=0.1).matrix - loop_gain(two, DEPTH).matrix
    np.testing.assert_allclose(extra[:, :3], flat[:, :3], atol=1e-12)
    assert abs(extra[:3, 3]).sum() > 0


# ------------------------------------------------------------------------------- criticality


@pytest.fixture(scope="module")
def crowd() -> tuple[Population, Gain]:
    people = generate_population(500, 4, 3)
    return people, loop_gain(people, np.array([3e8, 2e8, 2e8, 2e8]))


def test_eigenvectors(crowd: tuple[Population, Gain]) -> None:
    made = crowd[1]
    np.testing.assert_allclose(made.matrix @ made.right, made.radius * made.right, rtol=1e-9)
    np.testing.assert_allclose(made.left @ made.matrix, made.radius * made.left, rtol=1e-9)
    assert made.real and made.radius == pytest.approx(spectral_radius(made.matrix))


def test_distance_to_criticality(crowd: tuple[Population, Gain]) -> None:
    people, made = crowd
    assert made.distance == 1 - made.radius and not made.stable
    at = loop_gain(people, made.depth * made.critical_depth_scale)
    assert at.radius == pytest.approx(1.0, rel=1e-10)
    scale = made.critical_leverage_scale()
    slower = population(
        contracts=people.contracts,
        assets=people.assets,
        price=people.price,
        mm_rate=people.mm_rate / scale,
        haircut=people.haircut,
        cash=people.cash,
        start=people.start,
        contract=people.contract,
        quantity=people.quantity,
        coll_start=people.coll_start,
        coll_asset=people.coll_asset,
        coll_quantity=people.coll_quantity,
    )
    assert loop_gain(slower, made.depth).radius == pytest.approx(1.0, rel=1e-9)


def test_what_some_assets_do_alone(crowd: tuple[Population, Gain]) -> None:
    people, made = crowd
    names = people.contracts[:2]
    still = made.depth.copy()
    still[2:] = np.inf
    assert made.radius_among(names) == pytest.approx(loop_gain(people, still).radius)
    assert made.radius_among(names) < made.radius == made.radius_among(people.contracts)
    assert made.radius_among(names[:1]) == pytest.approx(abs(made.matrix[0, 0]))


def test_whose_depth_buys_most(crowd: tuple[Population, Gain]) -> None:
    people, made = crowd
    share = made.depth_elasticity()
    assert share.sum() == pytest.approx(1.0)
    for k in range(4):
        more = made.depth.copy()
        more[k] *= 1 + 1e-6
        slope = (math.log(loop_gain(people, more).radius) - math.log(made.radius)) / 1e-6
        assert -slope == pytest.approx(float(share[k]), abs=1e-4)


def test_beyond_criticality_there_is_no_response(crowd: tuple[Population, Gain]) -> None:
    with pytest.raises(CascadeError, match="CAS-020"):
        crowd[1].response([-0.01] * 4)


def test_endless_depth_is_the_static_answer() -> None:
    people = mixed(2)
    made = loop_gain(people, math.inf)
    assert made.radius == 0.0
    assert made.response([-0.1] * 4).tolist() == [-0.1] * 4
    still = shock_response(people, math.inf, [-0.1] * 4)
    assert still.returns.tolist() == [-0.1] * 4 and still.settled
    assert shock_response(generate_population(50, 2, 1), 1e7, [0.0, 0.0]).returns.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"depth": [1e7, 1e7]}, "CAS-001"),
        ({"depth": 0.0}, "CAS-001"),
        ({"depth": 1e7, "active": "some"}, "CAS-003"),
        ({"depth": 1e7, "active": [True]}, "CAS-001"),
        ({"depth": 1e7, "price": [1.0]}, "CAS-001"),
        ({"depth": 1e7, "margin_slope": [[1.0]]}, "CAS-001"),
    ],
)
def test_what_is_refused(given: dict[str, Any], code: str) -> None:
    with pytest.raises(CascadeError, match=code):
        loop_gain(mixed(1), **given)


# --------------------------------------------------------------------- rounds against the matrix


def boundary_people(seed: int) -> Population:
    """Longs in three contracts with coins as collateral, everybody exactly at the line."""
    people = mixed(seed, hedged=False, mm_rate=(0.05, 0.08, 0.1))
    coins = np.maximum(people.coll_quantity, 0.0)
    given = {
        name: getattr(people, name)
        for name in ("contracts", "assets", "price", "mm_rate", "haircut", "start", "contract")
    }
    given |= {"quantity": people.quantity, "coll_start": people.coll_start}
    given |= {"coll_asset": people.coll_asset, "coll_quantity": coins}
    first = population(cash=people.cash, **given)
    return population(cash=people.cash - first.equity() + first.maintenance(), **given)


def played_rounds(people: Population, depth: np.ndarray, shock: np.ndarray) -> np.ndarray:
    """Revalue, cut pro rata, sell, move prices; until nothing more is sold."""
    q = people.quantity.copy()
    cash, entry = people.cash.copy(), people.entry
    price = people.price * (1.0 + shock)
    account, k_all = people.account, len(people.contracts)
    for _ in range(4_000):
        coll = people.coll_quantity * price[people.coll_asset]
        coll *= 1.0 - people.haircut[people.coll_asset]
        equity = cash + np.bincount(
            account, q * (price[people.contract] - entry), minlength=people.size
        )
        equity += np.bincount(people.coll_account, coll, minlength=people.size)
        mm = np.bincount(
            account,
            people.mm_rate[people.contract] * np.abs(q) * price[people.contract],
            minlength=people.size,
        )
        cut = np.zeros(people.size)
        np.divide(mm - equity, mm, out=cut, where=mm > 0)
        cut = np.clip(cut, 0.0, 1.0)
        sold = q * cut[account]
        if not sold.any():
            break
        # What is sold at the mark keeps its profit: the cash takes it over.
        cash += np.bincount(account, sold * (price[people.contract] - entry), minlength=people.size)
        q -= sold
        flow = np.bincount(people.contract, sold * price[people.contract], minlength=k_all)
        if flow.max() < 1e-9 * np.abs(shock).max() * depth.max():
            break
        price[:k_all] *= 1.0 - flow / depth
    return price / people.price - 1.0


@pytest.mark.parametrize("seed", range(4))
def test_rounds_converge_to_the_closed_form_as_the_shock_goes_to_nothing(seed: int) -> None:
    people = boundary_people(seed)
    depth = loop_gain(people, np.ones(3)).radius / 0.7 * np.array([1.0, 0.8, 1.2])
    made = loop_gain(people, depth)
    assert 0.4 < made.radius < 0.95
    shape = np.array([-1.0, -0.5, -0.8, -0.3])

    def total(scale: float) -> np.ndarray:
        return played_rounds(people, depth, scale * shape) / scale

    told = made.response(shape)
    errors = [float(np.abs(total(s) / told - 1.0).max()) for s in (1e-4, 1e-5, 1e-6)]
    assert errors[2] < 1e-4
    # Curvature: the error is proportional to the shock, and what is left without it is nothing.
    assert errors[1] / errors[0] == pytest.approx(0.1, rel=0.02)
    assert errors[2] / errors[1] == pytest.approx(0.1, rel=0.02)
    np.testing.assert_allclose(2.0 * total(5e-6) - total(1e-5), told, rtol=1e-6)
    done = shock_response(people, depth, 1e-6 * shape)
    np.testing.assert_allclose(done.returns, made.response(1e-6 * shape), rtol=1e-9)
    assert done.exact and done.active == made.active


def plain_response(people: Population, depth: list[float], shock: list[float]) -> list[float]:
    """Rounds of the linear rule in plain Python: f between 0 and 1, no buying on gains."""
    equity, mm = people.equity(), people.maintenance()
    k_all, j_all = len(people.contracts), len(people.assets)
    gained, notional = [], []
    for a in range(people.size):
        g, n = [0.0] * j_all, [0.0] * k_all
        for row in range(int(people.start[a]), int(people.start[a + 1])):
            k = int(people.contract[row])
            value = float(people.quantity[row] * people.price[k])
            n[k] = value
            g[k] += value - float(people.mm_rate[k]) * abs(value)
        for row in range(int(people.coll_start[a]), int(people.coll_start[a + 1])):
            j = int(people.coll_asset[row])
            value = float(people.coll_quantity[row] * people.price[j])
            g[j] += value * (1.0 - float(people.haircut[j])) if value > 0 else value
        gained.append(g)
        notional.append(n)
    r = list(shock)
    for _ in range(20_000):
        flow = [0.0] * k_all
        for a in range(people.size):
            if mm[a] <= 0:
                continue
            lacks = -(float(equity[a] - mm[a]) + sum(x * y for x, y in zip(gained[a], r)))
            share = min(1.0, max(0.0, lacks / float(mm[a])))
            for k in range(k_all):
                flow[k] += notional[a][k] * share
        new = [shock[j] - (flow[j] / depth[j] if j < k_all else 0.0) for j in range(j_all)]
        if max(abs(x - y) for x, y in zip(new, r)) < 1e-15:
            break
        r = new
    return r


@pytest.mark.parametrize("seed", range(25))
def test_active_sets_end_where_rounds_end(seed: int) -> None:
    people = mixed(seed, accounts=25, hedged=seed % 3 == 0)
    size = random.Random(seed).choice((0.02, 0.1, 0.3))
    depth = [x * random.Random(seed + 99).choice((0.5, 1.0, 3.0)) for x in (2e7, 1e7, 1e7)]
    done = shock_response(people, depth, [-size] * 4)
    assert done.settled
    np.testing.assert_allclose(
        done.returns, plain_response(people, depth, [-size] * 4), rtol=1e-9, atol=1e-12
    )
    assert done.active + done.closed == int((done.share > 0).sum())
    if seed % 3:
        # Nobody is short: no sale is anybody's gain.
        assert np.nanmin(done.amplification()) >= 1.0 - 1e-12


def test_a_runaway_ends_when_everybody_is_closed() -> None:
    people = one(20.0, 100.0)
    done = shock_response(people, 1_500.0, [-0.001])
    assert done.closed == 1 and done.settled
    assert done.returns[0] == pytest.approx(-0.001 - 2_000.0 / 1_500.0)
