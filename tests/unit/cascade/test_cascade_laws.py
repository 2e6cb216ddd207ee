"""Laws of the simulation on random scenarios: conservation, order, bounds, monotony, who pays."""

import dataclasses
import math

import numpy as np
import pytest
from tests.unit.cascade.test_cascade_closed_forms import PRO_RATA, WHOLE, ladder, rules

from crossmargin.cascade import (
    Actions,
    CascadeMarket,
    CascadeRules,
    generate_population,
    population,
    simulate,
)
from crossmargin.cascade._lookout import WATCHES, Lookout
from crossmargin.errors import CascadeError
from crossmargin.liquidation import Brackets, liquidation_rules

PATHS = (
    "price",
    "open_interest",
    "leverage",
    "rounds",
    "breached",
    "liquidated",
    "sold",
    "bought",
    "adl",
    "fund",
    "backstop",
    "absorber",
    "bad_debt",
    "socialised",
    "adl_loss",
    "fees",
)


def news(seed, steps=16, assets=4, drift=-0.012):
    """Return a bad day: correlated falls, a jump, and a rise at the end."""
    draw = np.random.default_rng(seed)
    r = 0.01 * (
        0.8 * draw.standard_normal((steps, 1)) + 0.6 * draw.standard_normal((steps, assets))
    )
    r[: steps // 2] += drift
    r[steps // 3, 0] -= 0.06
    r[-3:] += 0.03
    return r


class Funding:
    def begin(self):
        return 0

    def next(self, state, weather):
        return state + 1, np.where(np.arange(4) % 2, 1e-3, -5e-4) * (1 + state % 3)


class Margins:
    def begin(self):
        return None

    def next(self, state, weather):
        grown = 1.0 + 0.02 * min(weather.step, 10)
        return None, np.full(4, grown), np.full(4, min(0.3, 0.1 + 0.01 * weather.step))


class TopUp:
    """Every tenth account pays in once; every seventh position is halved in the fifth step."""

    def begin(self):
        return None

    def next(self, state, weather, people):
        if weather.step != 4:
            return None, None
        size, held = people.equity().size, people.quantity().size
        assert (people.maintenance() >= 0).all()
        account, row = np.arange(0, size, 10, np.int32), np.arange(0, held, 7, np.int32)
        return None, Actions(
            account=account,
            cash_usd=np.full(account.size, 250.0),
            row=row,
            share=np.full(row.size, 0.5),
        )


def world(seed, n=500, **more):
    """Return a population and a market that hurts it."""
    people = generate_population(n, 4, seed, median_leverage=8.0, matched=seed % 2 == 0)
    depth = more.pop("depth", 6.0) * people.open_interest() * people.price
    return people, CascadeMarket(exogenous=news(seed), depth_usd=depth, **more)


CASES = {
    "house": (CascadeRules(fund_usd=2e4), {}),
    "house without fund, half absorbed": (CascadeRules(absorption=0.5), {}),
    "haircuts of profits": (CascadeRules(fund_usd=1e3, deleveraging="haircut"), {}),
    "binance queue": (
        CascadeRules(liquidation=liquidation_rules("binance"), fund_usd=1e3, absorption=0.3),
        {},
    ),
    "hyperliquid": (
        CascadeRules(liquidation=liquidation_rules("hyperliquid"), backstop_usd=1e4, rounds=3),
        {"step_ns": 10 * 10**9},
    ),
    "bybit, pool's fall": (
        CascadeRules(liquidation=liquidation_rules("bybit-uta"), fund_usd=5e3),
        {"funding": Funding()},
    ),
    "funding, margins that follow, people": (
        CascadeRules(fund_usd=1e4, absorption=0.4),
        {"funding": Funding(), "margins": Margins(), "behaviour": TopUp()},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_conserved_and_the_same_in_any_order(name, monkeypatch):
    rule, more = CASES[name]
    for seed in (2, 3):
        people, market = world(seed, **more)
        run = simulate(people, market, rule, check=True)
        assert run.hit.sum() > 50 and run.conservation <= 1e-10
        assert (run.fund >= 0).all() and (run.open_interest >= 0).all()
        gone = np.abs(run.quantity) - np.abs(people.quantity)
        assert (gone <= 1e-9).all() and (run.quantity * people.quantity >= 0).all()
        assert ((run.closed >= 0) & (run.closed + run.adl_closed <= 1 + 1e-12)).all()
        _same_in_any_order(people, market, rule, run, monkeypatch)


def _same_in_any_order(people, market, rule, run, monkeypatch):
    plain = simulate(people, market, rule)
    for name in PATHS:
        assert getattr(plain, name).tobytes() == getattr(run, name).tobytes(), name
    # Threads, and chunks of any size.
    monkeypatch.setattr("crossmargin.cascade._lookout._MANY", 1)
    for name, some in (("_lookout.BATCH", 37), ("_round.BATCH", 37), ("_blocks.ACCOUNTS", 11)):
        monkeypatch.setattr(f"crossmargin.cascade.{name}", some)
    # Room for keys is short, and closed up again and again.
    monkeypatch.setattr("crossmargin.cascade._lookout.SPARE", 1.0)
    threaded = simulate(people, market, rule, threads=3)
    monkeypatch.undo()
    for name in (*PATHS, "equity", "quantity", "closed", "adl_closed", "first_step"):
        assert getattr(threaded, name).tobytes() == getattr(plain, name).tobytes(), name
    if market.behaviour is not None:
        # Who acts goes by rows here.
        return
    order = np.random.default_rng(7).permutation(people.size)
    other = simulate(shuffled(people, order), market, rule)
    for name in PATHS:
        assert getattr(other, name).tobytes() == getattr(plain, name).tobytes(), name
    for name in ("equity", "first_step", "adl_forgone"):
        assert getattr(other, name).tobytes() == getattr(plain, name)[order].tobytes(), name
    rows = np.concatenate([np.arange(people.start[a], people.start[a + 1]) for a in order])
    for name in ("quantity", "closed", "adl_closed"):
        assert getattr(other, name).tobytes() == getattr(plain, name)[rows].tobytes(), name


def shuffled(people, order):
    """Return the same accounts in another order."""
    rows = np.concatenate([np.arange(people.start[a], people.start[a + 1]) for a in order])
    coins = np.concatenate(
        [np.arange(people.coll_start[a], people.coll_start[a + 1]) for a in order]
    )
    return dataclasses.replace(
        people,
        cash=people.cash[order],
        start=np.concatenate([[0], np.cumsum(np.diff(people.start)[order])]),
        contract=people.contract[rows],
        quantity=people.quantity[rows],
        entry=people.entry[rows],
        coll_start=np.concatenate([[0], np.cumsum(np.diff(people.coll_start)[order])]),
        coll_asset=people.coll_asset[coins],
        coll_quantity=people.coll_quantity[coins],
    )


def everybody(self, now):
    """Return all who are watched: the full pass."""
    found = np.flatnonzero(self.rows.place < WATCHES).astype(np.int32)
    self.dissolve()
    return found


@pytest.mark.parametrize("name", CASES)
def test_the_lazy_bound_misses_nobody(name, monkeypatch):
    rule, more = CASES[name]
    people, market = world(5, **more)
    lazy = simulate(people, market, rule)

    # All that are watched are measured in every round: the full pass.
    monkeypatch.setattr(Lookout, "due", everybody)
    full = simulate(people, market, rule)
    assert lazy.evaluations < 0.5 * full.evaluations
    for column in (*PATHS, "equity", "quantity", "closed", "adl_closed", "first_step"):
        assert getattr(lazy, column).tobytes() == getattr(full, column).tobytes(), column


def test_the_bound_holds_over_brackets(monkeypatch):
    people, market = world(4)
    table = Brackets((0.0, 2_000.0, 20_000.0, 1e6), (0.008, 0.01, 0.02, 0.05))
    people = dataclasses.replace(people, brackets=(table,) * 4)
    rule = CascadeRules(liquidation=liquidation_rules("okx"), fund_usd=1e4, absorption=0.0)
    market = dataclasses.replace(market, margins=Margins())
    lazy = simulate(people, market, rule, check=True)
    monkeypatch.setattr(Lookout, "due", everybody)
    full = simulate(people, market, rule)
    assert lazy.hit.sum() > 50
    for column in (*PATHS, "equity", "quantity", "first_step"):
        assert getattr(lazy, column).tobytes() == getattr(full, column).tobytes(), column


def test_without_news_nothing_moves():
    people, market = world(2)
    market = dataclasses.replace(market, exogenous=np.zeros((5, 4)))
    run = simulate(people, market, CascadeRules(fund_usd=100.0), check=True)
    for path in (run.price, run.open_interest, run.fund, run.leverage):
        assert (path == path[0]).all()
    assert not run.rounds.any() and not run.hit.any()
    assert run.equity == pytest.approx(people.equity(), rel=1e-9)


def test_infinite_depth_gives_the_static_stress():
    people, market = world(2)
    market = dataclasses.replace(market, depth_usd=np.inf, exogenous=np.full((1, 4), -0.08))
    run = simulate(people, market, CascadeRules(fund_usd=1e12, absorption=0.0))
    assert (run.price == run.exogenous).all()
    stressed = people.price * np.exp(-0.08)
    below = people.equity(stressed) < people.maintenance(stressed)
    assert (run.hit == below).all() and below.sum() > 20
    whole = run.equity[~below]
    assert whole == pytest.approx(people.equity(stressed)[~below], rel=1e-9)


def one_sided(leverage=10.0, n=400):
    """Return longs of one contract."""
    draw = np.random.default_rng(3)
    spread = np.exp(0.5 * draw.standard_normal(n))
    return population(
        contracts=["X"],
        price=[100.0],
        mm_rate=[0.01],
        cash=np.full(n, 1_000.0),
        start=np.arange(n + 1),
        contract=np.zeros(n),
        quantity=np.minimum(leverage * spread, 60.0) * 1_000.0 / 100.0,
    )


def falls(shock=0.05, depth=2e7, leverage=10.0, rule=WHOLE):
    market = CascadeMarket(exogenous=np.array([[math.log1p(-shock)]]), depth_usd=depth)
    return -simulate(one_sided(leverage), market, CascadeRules(liquidation=rule)).drop[0]


@pytest.mark.parametrize("rule", [WHOLE, PRO_RATA])
def test_more_shock_less_depth_or_more_leverage_fall_no_less(rule):
    for grid, name in (
        (np.linspace(0.01, 0.12, 9), "shock"),
        (np.geomspace(2e8, 5e6, 9), "depth"),
        (np.linspace(2.0, 18.0, 9), "leverage"),
    ):
        drop = [falls(**{name: float(x)}, rule=rule) for x in grid]
        assert (np.diff(drop) >= -1e-12).all(), name
        assert drop[-1] > drop[0]


def test_split_accounts_leave_the_price_path():
    people, market = one_sided(), CascadeMarket(exogenous=np.array([[-0.06]]), depth_usd=2e7)
    half = population(
        contracts=["X"],
        price=[100.0],
        mm_rate=[0.01],
        cash=np.repeat(people.cash / 2, 2),
        start=np.arange(2 * people.size + 1),
        contract=np.zeros(2 * people.size),
        quantity=np.repeat(people.quantity / 2, 2),
    )
    for rule in (WHOLE, PRO_RATA):
        rule = CascadeRules(liquidation=rule)
        one, two = simulate(people, market, rule), simulate(half, market, rule)
        assert two.price == pytest.approx(one.price, rel=1e-12)
        assert two.sold == pytest.approx(one.sold, rel=1e-9)


def pair():
    """Return a long of 100 that is soon bankrupt, three shorts, and somebody without positions."""
    return population(
        contracts=["X"],
        price=[100.0],
        mm_rate=[0.01],
        cash=[500.0, 5_000.0, 2_000.0, 1_000.0, 7_000.0],
        start=[0, 1, 2, 3, 4, 4],
        contract=[0, 0, 0, 0],
        quantity=[100.0, -50.0, -30.0, -20.0],
    )


OVER = {
    "name": "over",
    "kind": "takeover",
    "when": "bankrupt",
    "taker": "fund",
    "price": "bankruptcy",
}
LAYERED = rules(
    OVER,
    layers=(
        {"name": "fund"},
        {"name": "adl", "adl": "pro-rata"},
        {"name": "all", "share": "equity-haircut"},
    ),
)


def fallen(rule, fall=0.08, depth=np.inf):
    market = CascadeMarket(exogenous=np.array([[math.log1p(-fall)]]), depth_usd=depth)
    return simulate(pair(), market, rule, check=True)


def test_fund_first_then_holders_then_nobody_else():
    # The long loses 800 on 500: it lacks 300.
    rich = fallen(CascadeRules(liquidation=LAYERED, fund_usd=1_000.0))
    assert rich.fund[-1] == pytest.approx(700.0) and not rich.adl.any()
    some = fallen(CascadeRules(liquidation=LAYERED, fund_usd=120.0))
    # The fund pays for 120/300 of the position, holders for the rest, at 95 instead of 92.
    assert some.fund[-1] == pytest.approx(0.0, abs=1e-6)
    assert some.adl[0, 0] == pytest.approx(60.0 * 92.0)
    assert some.adl_loss[0] == pytest.approx(180.0) and not some.socialised.any()
    assert some.adl_forgone == pytest.approx([0, 90.0, 54.0, 36.0, 0])
    none = fallen(CascadeRules(liquidation=LAYERED))
    assert none.adl_forgone.sum() == pytest.approx(300.0)
    assert none.open_interest[-1, 0] == pytest.approx(0.0, abs=1e-9)
    for run in (rich, some, none):
        assert run.equity[0] == 0.0 and run.equity[4] == 7_000.0, "no position, nothing paid"
        assert run.bad_debt.sum() == pytest.approx(0.0, abs=1e-6)
        assert run.equity.sum() + run.fund[-1] + run.absorber[-1] == pytest.approx(
            15_500.0 + run.fund[0], rel=1e-12
        )


def test_direct_deleveraging_and_market_then_haircut_both_sum_to_the_start():
    # Requirements B08/B09; cascades.md, analytic cases: two ledgers.
    direct = fallen(CascadeRules(liquidation=LAYERED, absorption=0.0))
    cut = fallen(CascadeRules(liquidation=LAYERED, absorption=0.0, deleveraging="haircut"))
    for run in (direct, cut):
        assert run.equity.sum() + run.absorber[-1] == pytest.approx(15_500.0, rel=1e-12)
        assert run.adl_loss[0] == pytest.approx(300.0)
    # Shorts won 400, 240 and 160: both ways each gives 300/800 of it.
    assert direct.equity == pytest.approx(cut.equity, rel=1e-9)
    assert direct.open_interest[-1, 0] == 0.0
    assert cut.open_interest[-1, 0] == pytest.approx(100.0)


def test_a_deficit_of_20000_on_two_million_is_one_percent():
    # Row B09, socialised haircut; row B08: deficit 120,000 on a fund of 100,000 leaves 20,000.
    shared = rules(
        {
            "name": "over",
            "kind": "takeover",
            "when": "bankrupt",
            "taker": "f",
            "price": "bankruptcy",
        },
        layers=({"name": "fund"}, {"name": "all", "share": "equity-haircut"}),
    )
    people = population(
        contracts=["X"],
        price=[100.0],
        mm_rate=[0.01],
        cash=[80_000.0, 1_500_000.0, 500_000.0],
        start=[0, 1, 1, 1],
        contract=[0],
        quantity=[10_000.0],
    )
    market = CascadeMarket(exogenous=np.array([[math.log(0.8)]]))
    run = simulate(people, market, CascadeRules(liquidation=shared, fund_usd=100_000.0))
    assert run.fund[-1] == pytest.approx(0.0, abs=1e-6)
    assert run.socialised[0] == pytest.approx(20_000.0)
    assert run.equity == pytest.approx([0.0, 1_485_000.0, 495_000.0])


@pytest.mark.parametrize(("rule", "first"), [("bitmex", 3), ("pro-rata", None)])
def test_the_queue_is_that_of_the_liquidation_room(rule, first):
    layered = rules(
        {
            "name": "over",
            "kind": "takeover",
            "when": "bankrupt",
            "taker": "f",
            "price": "bankruptcy",
        },
        layers=({"name": "adl", "adl": rule},),
    )
    market = CascadeMarket(exogenous=np.array([[math.log(0.9)]]))
    people = dataclasses.replace(pair(), quantity=np.array([40.0, -50.0, -30.0, -20.0]))
    people = dataclasses.replace(people, cash=np.array([300.0, 5_000.0, 2_000.0, 120.0, 7_000.0]))
    run = simulate(people, market, CascadeRules(liquidation=layered, absorption=0.0), check=True)
    closed = run.adl_closed * np.abs(people.quantity)
    assert closed[1:].sum() == pytest.approx(40.0)
    if first is None:
        assert closed[1:] == pytest.approx([20.0, 12.0, 8.0])
    else:
        # All shorts won 10 %: whoever is levered most goes first, then the next.
        assert closed[1:] == pytest.approx([0.0, 20.0, 20.0])


def test_absorption_lowers_open_interest_by_its_share():
    people = pair()
    market = CascadeMarket(exogenous=np.array([[math.log(0.955)]]))
    for phi in (0.0, 0.5, 1.0):
        rule = CascadeRules(liquidation=WHOLE, absorption=phi, fund_usd=1e6)
        run = simulate(people, market, rule, check=True)
        sold = float(run.sold[0, 0] / run.price[1, 0])
        assert sold == pytest.approx(100.0)
        assert run.open_interest[1, 0] == pytest.approx(100.0 - min(phi, 0.999) * sold)


def test_a_market_that_does_not_fit_is_refused():
    people, market = world(2)
    for wrong, field in (
        ({"exogenous": np.zeros((3, 2))}, "exogenous"),
        ({"exogenous": np.full((3, 4), np.nan)}, "exogenous"),
        ({"depth_usd": [1.0, 2.0]}, "depth_usd"),
        ({"depth_usd": 0.0}, "depth_usd"),
        ({"step_ns": 0}, "step_ns"),
    ):
        with pytest.raises(CascadeError) as caught:
            simulate(people, dataclasses.replace(market, **wrong))
        assert (caught.value.code, caught.value.field) == ("CAS-001", field)
    for field, value in (("absorption", 2.0), ("fund_usd", -1.0), ("rounds", 0)):
        with pytest.raises(CascadeError) as caught:
            CascadeRules(**{field: value})
        assert caught.value.field == field
    assert ladder(1.0).size == 30_000


def test_whom_only_rounding_parts_from_the_line_is_seen(monkeypatch):
    # Accounts restored to the very line: when holders have closed alike since, coins on their grid
    # put one a hair below it although no price fell. Nobody but a full pass saw that once.
    people = generate_population(3_000, 8, 1)
    draw = np.random.default_rng(1)
    shared, own = draw.standard_normal((300, 1)), draw.standard_normal((300, 8))
    news = 0.003 * (0.8 * shared + 0.6 * own) - 0.2 / 300
    depth = 20.0 * people.open_interest() * people.price
    market, rule = CascadeMarket(exogenous=news, depth_usd=depth), CascadeRules(fund_usd=1e12)
    lazy = simulate(people, market, rule)
    monkeypatch.setattr(Lookout, "due", everybody)
    full = simulate(people, market, rule)
    assert lazy.evaluations < 0.05 * full.evaluations
    for column in (*PATHS, "equity", "quantity", "closed", "adl_closed", "first_step"):
        assert getattr(lazy, column).tobytes() == getattr(full, column).tobytes(), column
