"""The whole market around a population: laws hold, order is no matter, effects have their sign."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crossmargin.cascade import CascadeMarket, CascadeResult, CascadeRules, simulate
from crossmargin.cascade.behaviour import Habits, banking_hours, house_habits
from crossmargin.cascade.book_walk import BookWalk
from crossmargin.cascade.depth import DepthRule, Resilience, stressed_depth, withdrawal
from crossmargin.cascade.funding import october_2025
from crossmargin.cascade.generate import generate_population
from crossmargin.cascade.hooks import (
    LiveBehaviour,
    LiveBooks,
    LiveFunding,
    LiveMargins,
    LiveMarks,
    wealth_of,
)
from crossmargin.cascade.marks import MarkRule, Wrapped
from crossmargin.cascade.paths import MonteCarlo, jump
from crossmargin.cascade.population import Population, population
from crossmargin.cascade.procyclical import Procyclical
from crossmargin.cascade.volatility import Volatility
from crossmargin.market import OrderBook
from crossmargin.units import parse_time

FRIDAY, MONDAY = parse_time("2025-10-10T21:00:00Z"), parse_time("2025-10-13T09:00:00Z")
MINUTE = 60 * 1_000_000_000
STEPS = 30
SIGMA = [0.001, 0.0015, 0.002]


def crowd() -> Population:
    return generate_population(400, ("BTC", "ETH", "SOL"), 5, mm_rate=0.02, median_leverage=8.0)


def news() -> np.ndarray:
    model = MonteCarlo(volatility=SIGMA, correlation=0.3 * np.eye(3) + 0.7, dof=4)
    return model.path(seed=2, path=0, steps=STEPS) + jump([-0.1, -0.13, -0.15], at=5, steps=STEPS)


def everything(people: Population, key: np.ndarray, start_ns: int = FRIDAY) -> CascadeMarket:
    depth = stressed_depth(
        ("BTC", "ETH", "SOL"), {"BTC": 4e8, "ETH": 2e8, "SOL": 1e8}, gap_share=0.2
    )
    five_minutes = Volatility(start_sigma=SIGMA, decay=0.97, window=5)
    books = LiveBooks(
        depth=depth,
        volatility=five_minutes,
        resilience=Resilience(permanent_share=0.6, half_life_s=210.0),
        seed=3,
        scatter=True,
    )
    return CascadeMarket(
        exogenous=news(),
        start_ns=start_ns,
        step_ns=MINUTE,
        books=books,
        marks=LiveMarks(rule=MarkRule(kind="median", sources=(1.0, 0.3, 0.3))),
        funding=LiveFunding(funding=october_2025()),
        margins=LiveMargins(
            volatility=Volatility(start_sigma=SIGMA, decay=0.97),
            haircut=people.haircut,
            contracts=3,
            margin=Procyclical(reference=SIGMA, cap=2.0, rise_per_h=6.0),
            collateral=Procyclical(reference=SIGMA, cap=3.0),
        ),
        behaviour=LiveBehaviour(
            habits=replace(house_habits(), topup_per_h=20.0, deleverage_per_h=20.0),
            population=people,
            wealth=wealth_of(people, fiat=0.5, stable=0.2),
            seed=4,
            key=key,
            banks=banking_hours(),
        ),
    )


RULES = CascadeRules(fund_usd=2e5, rounds=20)


def test_laws_hold_with_everything_on() -> None:
    people = crowd()
    found = simulate(people, everything(people, np.arange(people.size)), RULES, check=True)
    assert found.conservation <= 1e-9 and found.hit.sum() > 10
    assert found.external[-1] > 0 and (np.diff(found.external) >= 0).all()
    assert (found.depth[6] < 0.5 * found.depth[0]).all(), "books were withdrawn in the jump"
    assert found.depth[-1, 0] > found.depth[6, 0], "and came back"
    assert (found.funding_rate[8:20, 0] < 0).any(), "longs were paid while the book lay low"
    again = simulate(people, everything(people, np.arange(people.size)), RULES)
    assert (again.price == found.price).all() and (again.equity == found.equity).all()


def turned(people: Population, order: np.ndarray) -> Population:
    """Return the same accounts in another order."""
    first, lent = people.start, people.coll_start
    rows = np.concatenate([np.arange(first[a], first[a + 1]) for a in order])
    coins = np.concatenate([np.arange(lent[a], lent[a + 1]) for a in order])
    sizes, counts = np.diff(people.start)[order], np.diff(people.coll_start)[order]
    return population(
        contracts=people.contracts,
        price=people.price,
        mm_rate=people.mm_rate,
        haircut=people.haircut,
        cash=people.cash[order],
        start=np.concatenate([[0], np.cumsum(sizes)]),
        contract=people.contract[rows],
        quantity=people.quantity[rows],
        entry=people.entry[rows],
        coll_start=np.concatenate([[0], np.cumsum(counts)]),
        coll_asset=people.coll_asset[coins],
        coll_quantity=people.coll_quantity[coins],
    )


def test_the_order_of_accounts_changes_no_bit() -> None:
    people = crowd()
    order = np.random.default_rng(0).permutation(people.size)
    other = turned(people, order)
    first = simulate(people, everything(people, np.arange(people.size)), RULES)
    second = simulate(other, everything(other, order), RULES)
    assert (first.price == second.price).all() and (first.fund == second.fund).all()
    assert (first.first_step[order] == second.first_step).all()
    assert (first.external == second.external).all()


def run(people: Population, **changes: object) -> CascadeResult:
    base = {"exogenous": news(), "depth_usd": [4e8, 2e8, 1e8], "step_ns": MINUTE}
    return simulate(people, CascadeMarket(**{**base, **changes}), RULES)  # type: ignore[arg-type]


def test_each_part_has_its_sign() -> None:
    people = crowd()
    plain = run(people)
    withdrawn = run(
        people,
        books=LiveBooks(
            depth=DepthRule(base_usd=[4e8, 2e8, 1e8], withdrawal=withdrawal()),
            volatility=Volatility(start_sigma=SIGMA),
        ),
    )
    assert (withdrawn.drop <= plain.drop).all() and withdrawn.drop[0] < plain.drop[0] - 0.005
    rising = run(
        people,
        margins=LiveMargins(
            volatility=Volatility(start_sigma=SIGMA, decay=0.9),
            haircut=people.haircut,
            contracts=3,
            margin=Procyclical(reference=SIGMA, cap=2.0),
        ),
    )
    assert rising.hit.sum() > plain.hit.sum() and (rising.drop <= plain.drop).all()
    index = run(people, marks=LiveMarks(rule=MarkRule(kind="index", sources=(0.0,))))
    assert index.price == pytest.approx(index.exogenous)
    assert index.hit.sum() < plain.hit.sum(), "marks that do not see own sales break the loop"


def test_books_are_walked_and_what_they_lack_is_not_sold() -> None:
    """A book of 40 coins a side and step: forced sales take no more, and pay its levels."""
    people = population(
        contracts=("BTC",),
        price=[50_000.0],
        mm_rate=[0.05],
        cash=[300_000.0] * 4 + [1e7],
        start=[0, 1, 2, 3, 4, 5],
        contract=[0] * 5,
        quantity=[30.0] * 4 + [-120.0],
    )
    bids = tuple((49_990.0 - 10 * i, 4.0) for i in range(10))
    asks = tuple((50_010.0 + 10 * i, 4.0) for i in range(10))
    rule = BookWalk(books=(OrderBook(bids=bids, asks=asks),), depth_usd=[1e8])
    market = CascadeMarket(
        exogenous=jump([-0.18], at=0, steps=4), depth_usd=[1e8], impact=rule, step_ns=MINUTE
    )
    found = simulate(people, market, CascadeRules(fund_usd=1e8, absorption=0.0), check=True)
    # Forty coins of the first step's book, level by level, from 41,000 down.
    paid = sum(4.0 * price / 50_000.0 for price, _ in bids) * 41_000.0
    assert found.sold[0, 0] == pytest.approx(paid, rel=1e-6)
    assert found.price[1, 0] == pytest.approx(41_000 * bids[-1][0] / 50_000, rel=1e-9)
    # Each needs (m·q·P − E)/(P·(m − fee)) = 17.07 coins closed, and what slippage adds.
    coins = np.abs(people.quantity[:4] - found.quantity[:4])
    assert (coins > (0.05 * 30 * 41_000 - 30_000) / (41_000 * 0.045)).all()
    assert coins.sum() > 68 and found.sold[1, 0] > 0 and coins.max() < 30


def test_fiat_waits_for_the_banks() -> None:
    people = crowd()

    def money(start_ns: int) -> float:
        behaviour = LiveBehaviour(
            habits=Habits(topup_per_h=1e6, topup_below=2.0),
            population=people,
            wealth=wealth_of(people, fiat=1.0),
            banks=banking_hours(),
        )
        return float(run(people, start_ns=start_ns, behaviour=behaviour).external[-1])

    assert money(FRIDAY) == 0.0 and money(MONDAY) > 0.0


def test_a_local_depeg_liquidates_only_where_marks_are_the_own_book() -> None:
    """Fact 11: collateral that nobody trades loses a third here only; bitcoin has not moved."""
    one = population(
        contracts=("BTC",),
        assets=("BTC", "USDE"),
        price=[50_000.0, 1.0],
        mm_rate=[0.05],
        haircut=[0.0, 0.1],
        cash=[0.0, 100_000.0],
        start=[0, 1, 2],
        contract=[0, 0],
        quantity=[5.0, -5.0],
        coll_start=[0, 1, 1],
        coll_asset=[1],
        coll_quantity=[20_000.0],
    )
    local = np.zeros((10, 2))
    local[3:7, 1] = np.log(0.66)
    base = {"exogenous": np.zeros((10, 2)), "depth_usd": [1e8]}
    rules = CascadeRules(fund_usd=1e6, absorption=0.0)
    redeem = MarkRule(wrapped=(Wrapped(asset=1),), redemption=True)
    hit = {}
    for name, rule in (("book", MarkRule()), ("redemption", redeem)):
        market = CascadeMarket(**base, marks=LiveMarks(rule=rule, local=local))  # type: ignore[arg-type]
        found = simulate(one, market, rules)
        hit[name] = found.first_step.tolist()
        if name == "book":
            assert found.price[-1, 0] < 50_000.0 and found.price[4, 1] == pytest.approx(0.66)
    assert hit == {"book": [3, -1], "redemption": [-1, -1]}
