"""The venue in a run: columns of accounts, purses, totals; all on grids, so that sums are exact.

Coins of a contract and money are multiples of a power of two, so fine that all of a contract, or
all money there is, has fewer than 2^52 of it. Sums of such numbers are exact in float64, in any
order: totals do not depend on how accounts are ordered, nor on threads or chunks, and what one
party gives another receives to the last bit.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossmargin.cascade._blocks import add_up, blocks, owners
from crossmargin.cascade._history import History
from crossmargin.cascade._measure import Marks, Rows, Table
from crossmargin.cascade.population import Population
from crossmargin.errors import invariant

Floats = NDArray[np.float64]
Int32 = NDArray[np.int32]
Bools = NDArray[np.bool_]

#: What a conservation law may be off by, relative to all that there is.
TOLERANCE = 1e-9


def quantum(total: float, spare_bits: int) -> float:
    """Return the power of two of which `total` has less than ``2^(52 − spare_bits)``."""
    if total <= 0.0:
        return 2.0**-40
    return float(2.0 ** (math.ceil(math.log2(total)) + spare_bits - 52))


def to_grid(value: Floats | float, step: Floats | float) -> Floats:
    """Round to multiples of a grid."""
    return np.asarray(np.rint(np.asarray(value) / step) * step, dtype=np.float64)


def table_of(people: Population) -> Table:
    """Return flat rates and brackets alike as a table of brackets."""
    k = len(people.contracts)
    if people.brackets is None:
        one = np.ones(k, np.int64), np.zeros((k, 1)), people.mm_rate[:, None].copy()
        return Table(*one, np.zeros((k, 1)))
    most = max(len(b.floors) for b in people.brackets)
    tiers = np.array([len(b.floors) for b in people.brackets], dtype=np.int64)
    floor, rate, below = np.zeros((k, most)), np.zeros((k, most)), np.zeros((k, most))
    for row, b in enumerate(people.brackets):
        n = len(b.floors)
        floor[row, :n], rate[row, :n] = b.floors, b.rates
        below[row, 1:n] = np.cumsum(np.diff(b.floors) * np.array(b.rates[:-1]))
    return Table(tiers, floor, rate, below)


def sums(index: Any, values: Floats, size: int) -> Floats:
    """Add up by index; exact in any order where values are on a grid."""
    return np.bincount(index, values, minlength=size).astype(np.float64, copy=False)


class Venue:
    """Accounts, whoever stands against them, and the purses."""

    def __init__(self, people: Population, fund: float, backstop: float) -> None:
        k = len(people.contracts)
        gross, coins = np.zeros(k), np.zeros(people.price.size)
        money = float(np.abs(people.cash).sum())
        for _, rows in blocks(people.start):
            size = np.abs(people.quantity[rows])
            add_up(gross, people.contract[rows], size)
            money += float((size * np.maximum(people.entry[rows], 0)).sum())
        for _, rows in blocks(people.coll_start):
            add_up(coins, people.coll_asset[rows], np.abs(people.coll_quantity[rows]))
        self.quanta = np.array([quantum(x, 2) for x in gross.tolist()])
        self.coin_quanta = np.array([quantum(x, 2) for x in coins.tolist()])
        # Purses are single numbers: however much is in them, they are added to in one order.
        money += float(gross @ people.price[:k] + coins @ people.price)
        self.cent = quantum(money, 2)
        q, base = np.empty(people.quantity.size), np.empty(people.size)
        for accounts, rows in blocks(people.start):
            contract = people.contract[rows]
            q[rows] = to_grid(people.quantity[rows], self.quanta[contract])
            size = accounts.stop - accounts.start
            spent = sums(owners(people.start, accounts), q[rows] * people.entry[rows], size)
            base[accounts] = to_grid(people.cash[accounts] - spent, self.cent)
        coll = np.empty(people.coll_quantity.size)
        for _, rows in blocks(people.coll_start):
            quanta = self.coin_quanta[people.coll_asset[rows]]
            coll[rows] = to_grid(people.coll_quantity[rows], quanta)
        self.rows = Rows(
            start=people.start,
            contract=people.contract,
            quantity=q,
            entry=people.entry,
            base=base,
            coll_start=people.coll_start,
            coll_asset=people.coll_asset,
            coll_quantity=coll,
            place=np.broadcast_to(np.int32(0), (people.size,)),
            born=np.broadcast_to(np.int32(0), (people.size,)),
        ).side_by_side()
        self.table = table_of(people)
        self.long, self.short = self._sides(q)
        self.coins, self.debts = self._held()
        self.base = float(self.rows.base.sum())
        self.absorber_q = self.short - self.long
        self.absorber_base = float(to_grid(-(self.absorber_q @ people.price[:k]), self.cent))
        self.absorber_coins = np.zeros(people.price.size)
        self.fund, self.backstop = (float(to_grid(x, self.cent)) for x in (fund, backstop))
        self.bad_debt = self.external = 0.0
        self.money = self._money()
        self.all_coins = self.coins - self.debts
        # What laws are measured against: there was so much.
        self.gross = np.maximum(self.long + self.short, self.quanta)
        self._coined = np.maximum(self.coins + self.debts, self.coin_quanta)
        self.history = History(k)
        self.error = 0.0

    def _sides(self, q: Floats) -> tuple[Floats, Floats]:
        return self._both(self.rows.start, self.rows.contract, q, self.quanta.size)

    def _held(self) -> tuple[Floats, Floats]:
        rows = self.rows
        return self._both(rows.coll_start, rows.coll_asset, rows.coll_quantity,
                          self.coin_quanta.size)  # fmt: skip

    @staticmethod
    def _both(start: Any, index: Int32, values: Floats, size: int) -> tuple[Floats, Floats]:
        """Add up by index what is above 0, and what is below it."""
        above, below = np.zeros(size), np.zeros(size)
        for _, rows in blocks(start):
            add_up(above, index[rows], np.maximum(values[rows], 0.0))
            add_up(below, index[rows], np.maximum(-values[rows], 0.0))
        return above, below

    def _money(self) -> float:
        """All money there is; what no layer bore is owed by nobody and stands below it."""
        parts = (self.base, self.absorber_base, self.fund, self.backstop, -self.bad_debt)
        return math.fsum(parts) - self.external

    @property
    def open_interest(self) -> Floats:
        """Coins held long, the absorber's included."""
        # A side that closed alike and then by force may end a few grid steps below nothing.
        return np.maximum(self.long, 0.0) + np.maximum(self.absorber_q, 0.0)

    def leverage(self, now: Marks) -> float:
        """Return gross notional of all accounts over their equity, haircuts left aside."""
        k = self.quanta.size
        gross = float((self.long + self.short) @ now.mark[:k])
        equity = self.base + float((self.long - self.short) @ now.worth)
        equity += float((self.coins - self.debts) @ now.mark)
        return gross / equity if equity > 0.0 else math.inf

    def absorber(self, now: Marks) -> float:
        """Return what whoever stands outside is worth at the marks."""
        coins = float(self.absorber_coins @ now.mark)
        return self.absorber_base + float(self.absorber_q @ now.worth) + coins

    def check(self, *, columns: Rows | None = None) -> None:
        """Hold the laws of conservation; with `columns` every account is added up anew.

        Columns are such that what closing of all holders alike has done is written down.

        Raises
        ------
        InvariantViolation
            Where one is broken.
        """
        if columns is not None:
            longs, shorts = self._sides(columns.quantity)
            coins, debts = self._held()
            error = _apart(longs, self.long, self.gross)
            error += _apart(shorts, self.short, self.gross)
            error += _apart(coins, self.coins, self._coined)
            error += _apart(debts, self.debts, self._coined)
            base = float(columns.base.sum())
            error += abs(base - self.base) / self._whole()
            self.error = max(self.error, error)
        net = self.long - self.short + self.absorber_q
        balance = _apart(net, np.zeros(net.size), self.gross)
        coins = self.coins - self.debts + self.absorber_coins
        balance = max(balance, _apart(coins, self.all_coins, self._coined))
        money = abs(self._money() - self.money) / self._whole()
        self.error = max(self.error, balance, money)
        invariant(balance <= TOLERANCE, "longs, shorts and the absorber sum to nothing")
        invariant(money <= TOLERANCE, "money is neither made nor lost")
        invariant(self.fund >= 0.0, "the fund does not fall below 0")
        invariant(self.backstop >= 0.0, "the backstop does not fall below 0")
        least = -TOLERANCE * self.gross
        held = bool((self.long >= least).all() and (self.short >= least).all())
        invariant(held, "no side holds less than nothing")
        invariant(self.error <= TOLERANCE, "totals are the sums of accounts")

    def _whole(self) -> float:
        return max(abs(self.base), abs(self.absorber_base), self.fund, abs(self.money), 1e-9)


def _apart(a: Floats, b: Floats, whole: Floats) -> float:
    return float((np.abs(a - b) / whole).max(initial=0.0))


def requirements(venue: Venue, contract: Int32, units: Floats, now: Marks) -> Floats:
    """Return the maintenance of units of contracts at their marks, before any factor."""
    t, notional = venue.table, units * now.mark[contract]
    if t.rate.shape[1] == 1:
        return np.asarray(t.rate[contract, 0] * notional, dtype=np.float64)
    reached = (notional[:, None] > t.floor[contract]) & (
        np.arange(t.rate.shape[1]) < t.tiers[contract][:, None]
    )
    tier = np.maximum(reached.sum(axis=1) - 1, 0)
    above = notional - t.floor[contract, tier]
    return np.asarray(t.below[contract, tier] + t.rate[contract, tier] * above, np.float64)
