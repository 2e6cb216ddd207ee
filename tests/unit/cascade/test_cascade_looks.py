"""One look at columns of accounts against the liquidation room, account by account."""

import numpy as np
import pytest

from crossmargin.cascade import CascadeMarket, CascadeRules, population
from crossmargin.cascade._round import Tally
from crossmargin.cascade.simulate import _Run
from crossmargin.errors import CascadeError
from crossmargin.liquidation import (
    Brackets,
    ClosingCost,
    Leg,
    LinearAccount,
    Progress,
    advance,
    begin,
    linear_book,
    liquidation_rule_ids,
    liquidation_rules,
    reduce_book,
    rules_from_dict,
)

PRICE = np.array([50_000.0, 3_000.0, 100.0])
FLAT = [Brackets((0.0,), (r,)) for r in (0.01, 0.02, 0.05)]
STEPPED = [
    Brackets((0.0, 50_000.0, 200_000.0, 800_000.0), (r, 2 * r, 3 * r, 5 * r))
    for r in (0.01, 0.02, 0.04)
]


def crowd(seed, brackets, accounts=120):
    """Return accounts about their lines: some well, some below, some bankrupt."""
    draw = np.random.default_rng(seed)
    legs = draw.integers(1, 4, accounts)
    start = np.concatenate([[0], np.cumsum(legs)])
    contract = np.concatenate([draw.permutation(3)[:n] for n in legs])
    usd = draw.lognormal(11.5, 1.2, contract.size) * draw.choice([-1.0, 1.0], contract.size)
    quantity = usd / PRICE[contract]
    entry = PRICE[contract] * draw.uniform(0.8, 1.2, contract.size)
    mm = np.array([brackets[k].mm(abs(x)) for k, x in zip(contract, usd)])
    need = np.add.reduceat(mm, start[:-1])
    gain = np.add.reduceat(quantity * (PRICE[contract] - entry), start[:-1])
    cash = need * draw.choice([1.2, 0.98, 0.9, 0.7, 0.5, 0.1, -0.3], accounts) - gain
    return population(
        contracts=["BTC", "ETH", "SOL"],
        price=PRICE,
        mm_rate=[b.rates[0] for b in brackets],
        brackets=brackets,
        cash=cash,
        start=start,
        contract=contract,
        quantity=quantity,
        entry=entry,
    )


def account_of(people, row):
    """Return one account as the liquidation room sees it."""
    rows = range(people.start[row], people.start[row + 1])
    legs = tuple(
        Leg(
            name=people.contracts[people.contract[i]],
            quantity=float(people.quantity[i]),
            mark=float(PRICE[people.contract[i]]),
            unit_usd=float(PRICE[people.contract[i]]),
            underlying=people.contracts[people.contract[i]],
            profit_usd=float(people.quantity[i] * (PRICE[people.contract[i]] - people.entry[i])),
        )
        for i in rows
    )
    brackets = tuple(people.brackets[people.contract[i]] for i in rows)
    return LinearAccount(legs, brackets, float(people.equity()[row]))


def look(people, rules, time_ns=0):
    """Return coins to be closed by position, and which accounts are taken over."""
    market = CascadeMarket(exogenous=np.zeros((1, 3)))
    run = _Run(people, market, CascadeRules(liquidation=rules, backstop_usd=1.0), 1, False)
    now = run.outside.now(run.venue)
    tally = Tally(np.zeros(3), np.zeros(3), np.zeros(3))
    orders, empty = run.desk.decide(run.desk.look(now, tally), now, time_ns)
    assert not empty.size
    units = np.zeros(people.quantity.size)
    units[orders.row] = orders.units
    taken = np.zeros(people.size, dtype=bool)
    taken[orders.ids[orders.taken]] = True
    return units, taken, orders, tally


def one_step(policy, **more):
    raw = {
        "format": "crossmargin-liquidation/1",
        "id": "one",
        "venue": "none",
        "title": "one step",
        "sources": {"s": {"title": "test", "date": "2026-11-23"}},
        "trigger": {"source": "s", "confidence": "house", "buffer": 0.1},
        "layers": [],
        "steps": [
            {
                "name": "cut",
                "kind": "reduce-sufficient",
                "policy": policy,
                "source": "s",
                "confidence": "house",
                **more,
            }
        ],
    }
    return rules_from_dict(raw)


CASES = [
    *((liquidation_rules(name), STEPPED) for name in ("okx", "bitmex", "bybit-isolated")),
    *(
        (liquidation_rules(name), brackets)
        for name in ("house", "binance", "bybit-uta", "hyperliquid")
        for brackets in (FLAT, STEPPED)
    ),
    *(
        (one_step(policy, **more), brackets)
        for policy in ("proportional", "riskiest-first", "largest-loss", "hedge-preserving")
        for more in ({}, {"fee_rate": 0.004})
        for brackets in (FLAT, STEPPED)
    ),
    (one_step("cheapest-relief", fee_rate=0.004), FLAT),
    (one_step("riskiest-first", fee_rate=0.03), FLAT),
]


@pytest.mark.parametrize("case", range(len(CASES)))
def test_sizes_are_those_of_the_liquidation_room(case):
    rules, brackets = CASES[case]
    people = crowd(case, brackets)
    units, taken, orders, tally = look(people, rules)
    assert tally.breached == int((people.equity() < people.maintenance()).sum()) > 40
    seen = 0
    for row in range(people.size):
        account = account_of(people, row)
        there = advance(account, rules, begin(), 0, costs=ClosingCost())
        mine = slice(people.start[row], people.start[row + 1])
        assert taken[row] == (there.takeover is not None)
        held = np.abs(people.quantity[mine])
        # What a taker gets in one look counts as closed: it is sold with the rest.
        closed = held if taken[row] else held - np.abs(there.quantity)
        assert units[mine] == pytest.approx(closed, rel=1e-6, abs=1e-9 * held.max())
        seen += bool(closed.any())
        if taken[row]:
            legs = {x.name: x for x in there.takeover.legs}
            if len(legs) == held.size and not any(s.action == "close" for s in there.trail):
                place = np.flatnonzero(orders.ids == row)[0]
                for i, price in zip(
                    orders.row[orders.who == place], orders.bankrupt[orders.who == place]
                ):
                    said = legs[people.contracts[people.contract[i]]].price
                    assert said is None or price == pytest.approx(said, rel=1e-9)
    assert seen > 30


def test_sizes_are_those_of_the_book_in_one_tick():
    people = crowd(5, FLAT)
    for policy in ("proportional", "riskiest-first"):
        rules = one_step(policy, fee_rate=0.001)
        notional = np.abs(people.quantity) * PRICE[people.contract]
        rate = people.mm_rate[people.contract]
        book = linear_book(people.start, notional, rate, people.equity())
        breached = people.equity() < people.maintenance()
        # The book's line is the target of the rules: only those below the line itself count.
        found = reduce_book(book, policy, line=rules.target, cost_rate=0.001)
        share = np.where(breached[people.account], found.share, 0.0)
        units, _, _, _ = look(people, rules)
        assert units == pytest.approx(share * np.abs(people.quantity), rel=1e-6, abs=1e-9)


def test_a_fifth_then_whole_within_the_window():
    rules = liquidation_rules("hyperliquid")
    people = population(
        contracts=["BTC"],
        price=[50_000.0],
        mm_rate=[0.02],
        cash=[15_000.0],
        start=[0, 1],
        contract=[0],
        quantity=[20.0],
    )
    account = LinearAccount(
        (Leg(name="BTC", quantity=20.0, mark=50_000.0, unit_usd=50_000.0),),
        (Brackets((0.0,), (0.02,)),),
        15_000.0,
    )
    market = CascadeMarket(exogenous=np.zeros((4, 1)), step_ns=10**10)
    run = _Run(people, market, CascadeRules(liquidation=rules, rounds=1), 1, True)
    progress, left = begin(), []
    for step in range(4):
        run.step(step)
        there = advance(account, rules, progress, (step + 1) * 10**10)
        account = account.after(there.quantity, there.cost, orders=False)
        progress = there.progress
        assert isinstance(progress, Progress)
        left.append(float(there.quantity[0]))
        assert run.venue.rows.quantity[0] == pytest.approx(left[-1], rel=1e-9, abs=1e-9)
    assert left[0] == pytest.approx(16.0) and left[1] == 0.0


def test_rules_that_do_not_run_on_columns_say_so():
    people = crowd(1, FLAT, accounts=3)
    flat = population(
        contracts=["BTC"],
        price=[1.0],
        mm_rate=[0.1],
        cash=[1.0],
        start=[0, 1],
        contract=[0],
        quantity=[1.0],
    )
    runs = {"binance", "bitmex", "bybit-isolated", "bybit-uta", "house", "hyperliquid", "okx"}
    others = {"derive-v2", "drift-v2", "dydx-v4"}
    assert runs | others <= set(liquidation_rule_ids())
    for name in sorted(runs | others):
        rules = CascadeRules(liquidation=liquidation_rules(name))
        if name in runs:
            _Run(people, CascadeMarket(exogenous=np.zeros((1, 3))), rules, 1, False)
        else:
            with pytest.raises(CascadeError, match="CAS-011"):
                _Run(people, CascadeMarket(exogenous=np.zeros((1, 3))), rules, 1, False)
    with pytest.raises(CascadeError, match="nobody has any"):
        _Run(
            flat,
            CascadeMarket(exogenous=np.zeros((1, 1))),
            CascadeRules(liquidation=liquidation_rules("okx")),
            1,
            False,
        )
