"""A cascade in plain Python loops, slow and obvious: accounts one after another, no arrays.

It follows cascades.md design (a) as the pages of docs/models read it: who is below the line at the
marks of a round decides there, all orders cross, the net moves the price, everybody fills at the
average; an emptied account that owes is taken note of in the next round.
"""

import math

from crossmargin.cascade import population


def random_people(rnd, size=30, *, slack=(0.1, 2.0), debts=True, long_only=False):
    """Return accounts in three contracts with four kinds of collateral, one of which nobody trades.

    Slack is by how much of its requirement an account stands above its line.
    """
    price, mm, haircut = [100.0, 20.0, 3.0, 1.0], [0.05, 0.04, 0.1], [0.1, 0.15, 0.3, 0.05]
    start, contract, quantity, entry = [0], [], [], []
    coll_start, coll_asset, coll_quantity, cash = [0], [], [], []
    for _ in range(size):
        equity = required = 0.0
        for k in sorted(rnd.sample(range(3), rnd.randint(1, 3))):
            q = rnd.choice([1] if long_only else [-1, 1]) * rnd.uniform(0.5, 5) * 100 / price[k]
            at = price[k] * rnd.uniform(0.9, 1.1)
            contract.append(k)
            quantity.append(q)
            entry.append(at)
            equity += q * (price[k] - at)
            required += mm[k] * abs(q) * price[k]
        for j in sorted(rnd.sample(range(4), rnd.randint(0, 2))):
            q = rnd.choice([-1, 1, 1] if debts else [1]) * rnd.uniform(0.1, 1) * 50 / price[j]
            coll_asset.append(j)
            coll_quantity.append(q)
            equity += q * price[j] * (1 - haircut[j] if q > 0 else 1)
        start.append(len(contract))
        coll_start.append(len(coll_asset))
        cash.append(required * (1 + rnd.uniform(*slack)) - equity)
    return population(
        contracts=["A", "B", "C"],
        assets=["A", "B", "C", "USDX"],
        price=price,
        haircut=haircut,
        mm_rate=mm,
        cash=cash,
        start=start,
        contract=contract,
        quantity=quantity,
        entry=entry,
        coll_start=coll_start,
        coll_asset=coll_asset,
        coll_quantity=coll_quantity,
    )


def at_prices(people, a, price):
    """Return the equity of an account at prices: debts in full, coins less their haircut."""
    found = float(people.cash[a])
    for i in range(people.start[a], people.start[a + 1]):
        found += people.quantity[i] * (price[people.contract[i]] - people.entry[i])
    for i in range(people.coll_start[a], people.coll_start[a + 1]):
        j = people.coll_asset[i]
        value = people.coll_quantity[i] * price[j]
        found += value * (1 - people.haircut[j]) if value > 0 else value
    return found


class SlowCascade:
    """Linear accounts at flat rates; log-linear impact; a fund and nothing below it."""

    def __init__(self, people, depth, *, whole, fee, fund, takeover):
        self.people, self.depth, self.whole, self.fee = people, depth, whole, fee
        self.fund, self.takeover, self.bad_debt = fund, takeover, 0.0
        self.price = people.price.tolist()
        self.quantity = people.quantity.tolist()
        self.coins = people.coll_quantity.tolist()
        self.money = [
            float(people.cash[a]) - sum(self.quantity[i] * people.entry[i] for i in self.rows(a))
            for a in range(people.size)
        ]
        self.first = [-1] * people.size
        self.path, self.steps = [list(self.price)], 0

    def rows(self, a):
        return range(self.people.start[a], self.people.start[a + 1])

    def value(self, i):
        return abs(self.quantity[i]) * self.price[self.people.contract[i]]

    def equity(self, a):
        p, found = self.people, self.money[a]
        found += sum(self.quantity[i] * self.price[p.contract[i]] for i in self.rows(a))
        for i in range(p.coll_start[a], p.coll_start[a + 1]):
            j = p.coll_asset[i]
            value = self.coins[i] * self.price[j]
            found += value * (1 - p.haircut[j]) if value > 0 else value
        return found

    def rate(self, i):
        return self.people.mm_rate[self.people.contract[i]]

    def required(self, a):
        return sum(self.rate(i) * self.value(i) for i in self.rows(a))

    def seize(self, a, worth):
        """Take all that an account has; the fund gets it, or pays."""
        self.money[a] = 0.0
        for i in range(self.people.coll_start[a], self.people.coll_start[a + 1]):
            self.coins[i] = 0.0
        self.fund += max(worth, 0.0)
        paid = min(self.fund, max(-worth, 0.0))
        self.fund -= paid
        self.bad_debt += max(-worth, 0.0) - paid

    def orders(self, a, equity, required):
        """Return what an account below its line must sell, by row."""
        held = [i for i in self.rows(a) if self.quantity[i]]
        if self.takeover and equity < 0:
            return {i: self.quantity[i] for i in held}
        if self.whole:
            # Whole legs, the largest requirement first, until the line would hold.
            made = {}
            for i in sorted(held, key=lambda i: -self.rate(i) * self.value(i)):
                if equity >= required * (1 - 1e-13):
                    break
                made[i] = self.quantity[i]
                equity -= self.fee * self.value(i)
                required -= self.rate(i) * self.value(i)
            return made
        freed = required - self.fee * sum(self.value(i) for i in held)
        share = min(1.0, (required - equity) / freed) if freed > 0 else 1.0
        return {i: share * self.quantity[i] for i in held}

    def step(self, news):
        p = self.people
        self.price = [x * math.exp(r) for x, r in zip(self.price, news, strict=True)]
        begin, flow = list(self.price), [0.0] * len(p.contracts)
        while True:
            orders, taken, seized = {}, [], False
            for a in range(p.size):
                equity, required = self.equity(a), self.required(a)
                if required == 0.0 and equity < -1e-9:
                    self.seize(a, equity)
                    seized = True
                elif required and equity < required * (1 - 1e-13):
                    orders |= self.orders(a, equity, required)
                    if self.takeover and equity < 0:
                        taken.append(a)
                    if self.first[a] < 0:
                        self.first[a] = self.steps
            if not orders and not seized:
                break
            self.fill(orders, taken, begin, flow)
        self.steps += 1
        self.path.append(list(self.price))

    def fill(self, orders, taken, begin, flow):
        p, marks, average = self.people, list(self.price), []
        for k, depth in enumerate(self.depth):
            net = -sum(q for i, q in orders.items() if p.contract[i] == k)
            here = flow[k] * begin[k] / depth
            way = net * begin[k] / depth
            # ∫ p·e^x over the way, over its length.
            mean = math.expm1(way) / way if abs(way) > 1e-9 else 1 + way / 2
            average.append(begin[k] * math.exp(here) * mean)
            flow[k] += net
            self.price[k] = begin[k] * math.exp(flow[k] * begin[k] / depth)
        for a in range(p.size):
            for i in self.rows(a):
                q, at = orders.get(i, 0.0), average[p.contract[i]]
                self.quantity[i] -= q
                if abs(self.quantity[i]) < 1e-12 * abs(p.quantity[i]):
                    self.quantity[i] = 0.0
                fee = 0.0 if a in taken else self.fee * abs(q) * at
                self.money[a] += q * at - fee
                self.fund += fee
        after, self.price = self.price, marks
        for a in taken:
            self.seize(a, self.equity(a))
        self.price = after
