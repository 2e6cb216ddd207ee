"""Deleveraging at scale: holders ranked by the scores of the liquidation room, as columns.

The venue ranks once in a step, when the first loss comes to holders, and works down its queues
through the step's rounds (house; venues publish no time). A queue is parted, not sorted: the best
so many are found, and only they are put in order. Ties go by what holders hold, so that no order
of accounts decides anything.
"""

from __future__ import annotations

import itertools
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crossmargin.cascade import _look
from crossmargin.cascade._lookout import Lookout
from crossmargin.cascade._measure import Marks
from crossmargin.cascade._venue import Venue, requirements, sums, to_grid
from crossmargin.errors import CascadeError, invariant
from crossmargin.liquidation import Candidates, LiquidationRules, adl_rule, adl_score, risk_slope
from crossmargin.liquidation.adl import AdlRule, Queue, Rotation, Shared
from crossmargin.liquidation.sharing import water_fill

if TYPE_CHECKING:
    from crossmargin.cascade._round import Desk, Orders

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Int32 = NDArray[np.int32]


class Columns(Candidates):
    """Candidates as an array of coins instead of a tuple of contracts: scores take either."""

    def __post_init__(self) -> None:
        """Take columns as they are: they come from a population that was checked."""

    @property
    def side(self) -> int:
        """1 where they are long, −1 short."""
        return 1 if len(self.contracts) and self.contracts[0] > 0 else -1

    def value(self, price: Floats | float) -> Floats:
        """Return signed values at a price."""
        return np.asarray(np.asarray(self.contracts) * price, dtype=np.float64)


def layer_rule(rules: LiquidationRules) -> AdlRule | None:
    """Return the ADL rule of a venue's layers; None without one.

    Raises
    ------
    CascadeError
        ``CAS-011`` for a walk from a drawn start: it goes by the order of accounts.
    """
    name = next((layer.adl for layer in rules.layers if layer.adl is not None), None)
    if name is None:
        return None
    rule = adl_rule(name)
    if isinstance(rule, Rotation):
        raise CascadeError(
            f"the ADL rule {name!r} walks along accounts in their order, and columns have none",
            code="CAS-011",
            field="layers.adl",
            hint="choose a rule with a score, or one that shares",
        )
    return rule


@dataclass(slots=True)
class Line:
    """Holders of one side of one contract: scores of a queue, slopes of a rule that shares."""

    row: Ints
    score: Floats
    equity: Floats


class Holders:
    """Queues of holders, made when they are needed and kept for a step."""

    def __init__(self, venue: Venue, lookout: Lookout, desk: Desk) -> None:
        self.venue, self.lookout = venue, lookout
        # The desk holds these queues: a reference both ways would keep a million accounts in
        # memory until the collector happens to come by.
        self.desk: Desk = weakref.proxy(desk)
        self.rule = layer_rule(desk.rules.liquidation)
        self._lines: dict[tuple[int, int], Line] = {}
        self._by_contract: list[Ints] | None = None
        self._account: Int32 | None = None
        self._standing: tuple[Floats, Floats] | None = None
        self._folded = False
        self.previous: Floats | None = None

    def new_step(self, mark: Floats) -> None:
        """Forget the queues; remember the marks of the step before."""
        self._lines, self._standing = {}, None
        self.previous = mark.copy()

    def new_round(self) -> None:
        """Take note that sizes may have changed since: holders may have been closed alike."""
        self._folded = False

    @property
    def account(self) -> Int32:
        """Account of each position."""
        if self._account is None:
            start = self.venue.rows.start
            self._account = np.repeat(np.arange(start.size - 1, dtype=np.int32), np.diff(start))
        return self._account

    def room(self, orders: Orders, against: Floats, now: Marks) -> Floats:
        """Return how much of what is to be closed against holders finds any."""
        for k, sign, mine in _sides(orders, against):
            free = self._free(k, -sign, now)
            wanted = float(against[mine].sum())
            if free < wanted:
                part = to_grid(against[mine] * (free / wanted), self.venue.quanta[k])
                # Rounded down: together they must not ask for more than there is.
                against[mine] = np.maximum(part - self.venue.quanta[k], 0.0)
        return against

    def close(
        self, orders: Orders, against: Floats, now: Marks
    ) -> tuple[Floats, Floats, Floats, float]:
        """Close holders against bankrupt positions.

        Returns
        -------
        price : float64[n]
            At which each bankrupt row is closed.
        coins : float64[K]
            Closed by contract.
        money : float64[n]
            What each bankrupt row's owner receives, on the grid.
        forgone : float
            What marks would have given holders on top, US dollars.
        """
        venue, k_all = self.venue, self.venue.quanta.size
        price, money = np.zeros(against.size), np.zeros(against.size)
        coins, forgone = np.zeros(k_all), 0.0
        for k, sign, mine in _sides(orders, against):
            units = against[mine]
            wanted = float(units.sum())
            each = self._price(orders, mine, k, now)
            at = float(to_grid(units * each, venue.cent).sum()) / wanted
            row, part = self._choose(k, -sign, wanted, now)
            closed = float(part.sum())
            invariant(closed == wanted, "holders close as much as the bankrupt")
            price[mine] = each
            fund = now.mark[k] - now.worth[k]
            # What one side pays the other receives; what rounding leaves is for whoever stands
            # outside, so that no order of accounts decides who has it.
            paid = to_grid(-sign * part * (at - fund), venue.cent)
            got = to_grid(sign * units * (each - fund), venue.cent)
            venue.absorber_base -= float(paid.sum()) + float(got.sum())
            money[mine] = got
            accounts = self.account[row]
            rows = venue.rows
            before = np.abs(rows.quantity[row])
            rows.quantity[row] += sign * part
            np.add.at(rows.base, accounts, paid)
            venue.base += float(paid.sum())
            lost = part * (now.mark[k] - at) * -sign
            np.add.at(self.desk.forgone, accounts, lost)
            forgone += float(to_grid(lost, venue.cent).sum())
            invariant(bool((part <= before).all()), "deleveraging flips no position")
            self.desk.adl_closed[row] += part
            if sign > 0:
                venue.short[k] -= closed
            else:
                venue.long[k] -= closed
            coins[k] += closed
            self.desk.touch(np.unique(accounts))
        return price, coins, money, forgone

    def _price(self, orders: Orders, mine: Ints, k: int, now: Marks) -> Floats:
        assert self.rule is not None and self.previous is not None
        if self.rule.settle == "bankruptcy":
            return np.maximum(orders.bankrupt[mine], 0.0)
        mark = self.previous[k] if self.rule.settle == "previous-mark" else now.mark[k]
        return np.full(mine.size, mark)

    def _choose(self, k: int, side: int, wanted: float, now: Marks) -> tuple[Ints, Floats]:
        line, step = self._line(k, side, now), self.venue.quanta[k]
        open_ = self._open(line)
        row, score, equity = line.row[open_], line.score[open_], line.equity[open_]
        held = np.abs(self.venue.rows.quantity[row])
        if isinstance(self.rule, Queue):
            first = _first(score, held, equity, wanted)
            row, held = row[first], held[first]
            part = np.clip(wanted - (np.cumsum(held) - held), 0.0, held)
        else:
            assert isinstance(self.rule, Shared)
            cap = self.desk.rules.adl_cap if self.rule.capped else 1.0
            room = np.minimum(held, np.floor(held * cap / step) * step)
            part = held * water_fill(wanted, held, cap, score).height
            part = np.minimum(np.floor(part / step) * step, room)
            # What rounding left goes to whoever has most room, one after another.
            order = np.lexsort((equity, held, -(room - part)))
            spare = (room - part)[order]
            rest = wanted - float(part.sum())
            part[order] += np.clip(rest - (np.cumsum(spare) - spare), 0.0, spare)
        taken = part > 0.0
        return row[taken], part[taken]

    def _open(self, line: Line) -> Any:
        """Say who of a queue may still be closed: open, healthy, above nothing."""
        q = self.venue.rows.quantity[line.row]
        return (q != 0.0) & (self.desk.state[self.account[line.row]] == _look.HEALTHY)

    def _free(self, k: int, side: int, now: Marks) -> float:
        line = self._line(k, side, now)
        held = np.abs(self.venue.rows.quantity[line.row[self._open(line)]])
        if isinstance(self.rule, Shared) and self.rule.capped:
            step = self.venue.quanta[k]
            held = np.floor(held * self.desk.rules.adl_cap / step) * step
        return float(held.sum())

    def _line(self, k: int, side: int, now: Marks) -> Line:
        if not self._folded:
            self.lookout.fold_all()
            self._folded = True
        found = self._lines.get((k, side))
        if found is None:
            found = self._lines[k, side] = self._rank(k, side, now)
        return found

    def _rank(self, k: int, side: int, now: Marks) -> Line:
        venue, rows = self.venue, self.venue.rows
        if self._by_contract is None:
            order = np.argsort(rows.contract, kind="stable")
            edges = np.searchsorted(rows.contract[order], np.arange(venue.quanta.size + 1))
            self._by_contract = [order[a:b] for a, b in itertools.pairwise(edges)]
        equity, mm = self._stand(now)
        row = self._by_contract[k]
        row = row[rows.quantity[row] * side > 0.0]
        account = self.account[row]
        mine = (self.desk.state[account] == _look.HEALTHY) & (equity[account] > 0.0)
        row, account = row[mine], account[mine]
        q, mark = rows.quantity[row], float(now.mark[k])
        profit, wallet = self._profit(equity, now)
        weight = _leg_mm(venue, k, np.abs(q), now)
        part = equity[account] * weight / np.maximum(mm[account], 1e-300)
        assert self.rule is not None and self.previous is not None
        previous = self.rule.settle == "previous-mark"
        columns = Columns(
            contracts=q,
            mark=float(self.previous[k]) if previous else mark,
            entry=rows.entry[row],
            bankruptcy=mark - part / q,
            wallet=wallet[account],
            profit=profit[account],
            mm=mm[account],
        )
        if isinstance(self.rule, Queue):
            return Line(row, adl_score(self.rule.score, columns), equity[account])
        assert isinstance(self.rule, Shared)
        power = self.rule.leverage_power
        slope = risk_slope(columns, power) if power else np.ones(row.size)
        return Line(row, slope, equity[account])

    def _stand(self, now: Marks) -> tuple[Floats, Floats]:
        """Measure everybody, once in a step."""
        if self._standing is None:
            found = self.lookout.standing(now)
            self._standing = found.equity, found.mm
        return self._standing

    def _profit(self, equity: Floats, now: Marks) -> tuple[Floats, Floats]:
        """Return unrealised profit and the rest of equity of every account, US dollars."""
        rows = self.venue.rows
        each = rows.quantity * (now.mark[rows.contract] - rows.entry)
        profit = sums(self.account, each, equity.size)
        return profit, equity - profit


def _first(score: Floats, held: Floats, equity: Floats, wanted: float) -> Ints:
    """Return the best rows that together hold enough, in order.

    Equal scores go by size, then by equity. A partition finds them, whole scores at a time.
    """
    n, most = score.size, 64
    best = np.arange(n)
    while most < n:
        bar = np.partition(score, n - most)[n - most]
        best = np.flatnonzero(score >= bar)
        if float(held[best].sum()) >= wanted:
            break
        most *= 4
        best = np.arange(n)
    order = np.lexsort((-equity[best], -held[best], -score[best]))
    return np.asarray(best[order], dtype=np.int64)


def _sides(orders: Orders, against: Floats) -> list[tuple[int, int, Ints]]:
    found = []
    for k in np.unique(orders.contract[against > 0.0]).tolist():
        for sign in (1, -1):
            mine = (orders.contract == k) & (orders.sign == sign) & (against > 0.0)
            if mine.any():
                found.append((k, sign, np.flatnonzero(mine)))
    return found


def _leg_mm(venue: Venue, k: int, units: Floats, now: Marks) -> Floats:
    contract = np.full(units.size, k, dtype=np.int32)
    return np.asarray(now.factor[k] * requirements(venue, contract, units, now))
