"""The simulation against the obvious loop: one account after another, no columns, no grid.

Sizes come from the liquidation room's own engine; money, impact and losses are written out.
"""

import math

import msgspec
import numpy as np
import pytest

from crossmargin.cascade import CascadeMarket, CascadeRules, generate_population, simulate
from crossmargin.liquidation import (
    Brackets,
    Leg,
    LinearAccount,
    advance,
    begin,
    liquidation_rules,
)


class Plain:
    """A run in plain Python: log-linear impact, nobody closes alike, losses to the fund."""

    def __init__(self, people, rules, fund, depth, limit):
        self.people, self.rules, self.fund, self.depth, self.limit = (
            people,
            rules,
            fund,
            depth,
            limit,
        )
        k = len(people.contracts)
        self.k, self.q, self.coins = k, [], []
        for a in range(people.size):
            rows = range(people.start[a], people.start[a + 1])
            self.q.append({int(people.contract[i]): float(people.quantity[i]) for i in rows})
            rows = range(people.coll_start[a], people.coll_start[a + 1])
            self.coins.append(
                {int(people.coll_asset[i]): float(people.coll_quantity[i]) for i in rows}
            )
        entry = people.quantity * people.entry
        self.cash = [
            float(people.cash[a] - entry[people.start[a] : people.start[a + 1]].sum())
            for a in range(people.size)
        ]
        self.progress = [begin()] * people.size
        self.gone, self.first = set(), [-1] * people.size
        self.bad_debt = self.fees = 0.0
        self.moved = np.zeros(k)

    def equity(self, a, price):
        worth = self.cash[a] + sum(q * price[k] for k, q in self.q[a].items())
        cut = self.people.haircut
        return worth + sum(
            c * price[j] * (1.0 - cut[j] if c > 0 else 1.0) for j, c in self.coins[a].items()
        )

    def account(self, a, price):
        held = [k for k, q in self.q[a].items() if q]
        legs = tuple(
            Leg(name=str(k), quantity=self.q[a][k], mark=float(price[k]), unit_usd=float(price[k]),
                underlying=str(k))
            for k in held
        )  # fmt: skip
        brackets = tuple(Brackets((0.0,), (float(self.people.mm_rate[k]),)) for k in held)
        return held, LinearAccount(legs, brackets, self.equity(a, price))

    def step(self, number, exogenous, time_ns):
        """Let a step pass; returns prices and what was sold."""
        first = exogenous * np.exp(self.moved)
        flow, sold = np.zeros(self.k), np.zeros(self.k)
        price = first
        for _ in range(self.limit):
            orders, taken, empty = [], [], []
            for a in range(len(self.q)):
                if a in self.gone:
                    continue
                held, account = self.account(a, price)
                look = advance(account, self.rules, self.progress[a], time_ns)
                self.progress[a] = look.progress
                if look.progress.state == "closed" and not held:
                    self.gone.add(a)
                    empty += [a] if account.equity < 0 else []
                    continue
                if look.takeover is not None:
                    taken.append(a)
                    self.gone.add(a)
                    orders += [(a, k, self.q[a][k], 0.0) for k in held]
                else:
                    fee = next(
                        (s.fee_rate or 0.0 for s in self.rules.steps if hasattr(s, "fee_rate")), 0.0
                    )
                    for k, left in zip(held, look.quantity.tolist()):
                        if left != self.q[a][k]:
                            orders.append((a, k, self.q[a][k] - left, fee))
            if not orders and not empty:
                break
            net = np.zeros(self.k)
            for _, k, q, _ in orders:
                net[k] -= q
            there = first * np.exp((flow + net) * first / self.depth)
            fill = np.where(
                net == 0.0, price, (there - price) * self.depth / first / np.where(net, net, 1.0)
            )
            for a, k, q, fee in orders:
                self.q[a][k] -= q
                self.cash[a] += q * fill[k] - fee * abs(q) * fill[k]
                self.fund += fee * abs(q) * fill[k]
                sold[k] += max(q, 0.0) * fill[k]
                if self.first[a] < 0:
                    self.first[a] = number
            results = [(a, self.equity(a, price)) for a in taken + empty]
            for a, _ in results:
                self.cash[a], self.coins[a] = 0.0, {}
            self.fund += sum(max(r, 0.0) for _, r in results)
            loss = sum(max(-r, 0.0) for _, r in results)
            self.bad_debt += max(0.0, loss - self.fund)
            self.fund = max(0.0, self.fund - loss)
            flow += net
            price = there
        self.moved = np.log(price / exogenous)
        return price, sold


@pytest.mark.parametrize("name", ["house", "binance", "bybit-uta"])
@pytest.mark.parametrize(("seed", "fund"), [(1, 1e9), (2, 3e3)])
def test_equal_to_the_obvious_loop(name, seed, fund):
    rules = liquidation_rules(name)
    layers = [x for x in rules.layers if x.name == "fund"]
    layers = [msgspec.structs.replace(x, drawdown=None) for x in layers]
    rules = msgspec.structs.replace(rules, layers=layers)
    # Rates differ: where legs are alike, the order of closing would be one of rounding.
    more = {"mm_rate": [0.01, 0.013, 0.017], "median_leverage": 10.0, "coins": 0.3, "tail": 2.0}
    people = generate_population(60, 3, seed, **more)
    draw = np.random.default_rng(seed)
    news = 0.02 * draw.standard_normal((5, 3)) + [[-0.02], [-0.06], [-0.05], [0.01], [0.04]]
    depth = 15.0 * people.open_interest() * people.price
    run = simulate(
        people,
        CascadeMarket(exogenous=news, depth_usd=depth),
        CascadeRules(liquidation=rules, fund_usd=fund, absorption=0.0, rounds=40),
        check=True,
    )
    plain = Plain(people, rules, fund, depth, 40)
    outside = people.price * np.exp(np.cumsum(news, axis=0))
    for step in range(5):
        price, sold = plain.step(step, outside[step], (step + 1) * 60 * 10**9)
        assert run.price[step + 1] == pytest.approx(price, rel=1e-8)
        assert run.sold[step] == pytest.approx(sold, rel=1e-5, abs=1.0)
    assert run.first_step.tolist() == plain.first
    assert run.hit.sum() >= 8
    assert run.fund[-1] == pytest.approx(plain.fund, rel=1e-6, abs=0.05)
    assert run.bad_debt.sum() == pytest.approx(plain.bad_debt, rel=1e-6, abs=0.05)
    equity = [plain.equity(a, run.price[-1]) for a in range(people.size)]
    assert run.equity == pytest.approx(equity, rel=1e-6, abs=0.05)
    assert math.isfinite(run.leverage[-1])
