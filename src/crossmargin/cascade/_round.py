"""One liquidation round: who is below the line, what is ordered, at which price it fills, who pays.

A round takes the orders of all accounts together to the market. They fill at one average price,
which comes of the step's whole flow. What a fund or backstop takes over it sells in the same round;
what they cannot pay for is closed against holders of the other side, at the price at which its
owner has nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossmargin.cascade import _adl, _look
from crossmargin.cascade._lookout import Lookout, Measured
from crossmargin.cascade._measure import Marks
from crossmargin.cascade._program import Program
from crossmargin.cascade._venue import Venue, requirements, sums, to_grid
from crossmargin.cascade.impact import Fill, Impact, fill
from crossmargin.cascade.setting import CascadeRules
from crossmargin.errors import CascadeError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Int32 = NDArray[np.int32]
Bools = NDArray[np.bool_]

#: Halvings in the search for what purses can pay for: the rest is below a part in 10^12 of it.
_HALVINGS = 42


@dataclass(slots=True)
class Window:
    """One step of the market, all its rounds.

    Attributes
    ----------
    price, depth : float64[K]
        At its beginning.
    flow : float64[K]
        Coins bought (+) or sold by force so far.
    floor : float64[K]
        No fill goes beyond: 0 without a breaker.
    halted : bool[K]
        Nothing fills.
    impact : Impact
        How far the whole flow moves the price.
    """

    price: Floats
    depth: Floats
    flow: Floats
    floor: Floats
    halted: Bools
    impact: Impact

    def book(self) -> Floats:
        """Return prices after all flow so far."""
        move = self.impact.displacement(self.flow, self.depth, self.price)
        return np.asarray(self.price * np.exp(move), dtype=np.float64)


@dataclass(slots=True)
class Tally:
    """What the rounds of a step came to, US dollars."""

    sold: Floats
    bought: Floats
    adl: Floats
    rounds: int = 0
    breached: int = 0
    liquidated: int = 0
    fees: float = 0.0
    bad_debt: float = 0.0
    socialised: float = 0.0
    adl_loss: float = 0.0


@dataclass(slots=True)
class Orders:
    """Rows that are to be closed in a round.

    Attributes
    ----------
    ids : int32[m]
        Accounts.
    equity, health : float64[m]
        Before, and over the requirement: the worst is served first where not all can be.
    taken : bool[m]
        Whether a purse takes the account over.
    vault : bool[m]
        Whether that purse is the backstop.
    row : int64[n]
        Positions with something to close.
    who : int64[n]
        Place of their account in `ids`.
    units : float64[n]
        Coins to close, above 0.
    sign : float64[n]
        1 long, −1 short.
    contract : int32[n]
        Contracts.
    fee : float64[n]
        Fee rate.
    bankrupt : float64[n]
        Of accounts taken over: price at which the leg's share of equity is used up.
    """

    ids: Int32
    equity: Floats
    health: Floats
    taken: Bools
    vault: Bools
    row: Ints
    who: Ints
    units: Floats
    sign: Floats
    contract: Int32
    fee: Floats
    bankrupt: Floats


class Desk:
    """Who works through the rounds of a run."""

    def __init__(
        self, venue: Venue, lookout: Lookout, rules: CascadeRules, steps: Program, sizes: Ints
    ) -> None:
        self.venue, self.lookout, self.rules, self.steps = venue, lookout, rules, steps
        n = venue.rows.base.size
        self.state = np.zeros(n, np.int8)
        self.timer = np.full((n, steps.timers), -1, np.int64)
        self.active = np.empty(0, np.int32)
        self.pending: list[Int32] = []
        self.first_step = np.full(n, -1, np.int32)
        self.closed = np.zeros(venue.rows.quantity.size)
        self.adl_closed = np.zeros(venue.rows.quantity.size)
        self.forgone = np.zeros(n)
        self._sizes, self._most = sizes, int(sizes.max(initial=1))
        self.holders = _adl.Holders(venue, lookout, self)
        self.peaks: list[tuple[int, float]] = []

    def touch(self, ids: Int32) -> None:
        """Have accounts measured at the next look: something of theirs was changed."""
        if ids.size:
            self.lookout.loose(ids)
            self.pending.append(ids)

    def look(self, now: Marks, tally: Tally) -> Measured:
        """Measure whoever may be below the line, and return those who are or were."""
        out = self.lookout
        fresh = [out.due(now)]
        if out.crowded:
            fresh.append(out.gather())
        if len(self.pending) == 1:
            fresh.append(self.pending[0])
        elif self.pending:
            fresh.append(np.unique(np.concatenate(self.pending)))
        self.pending = []
        ids = np.concatenate(fresh)
        # Those under liquidation are looked at anyway, those taken over never again.
        if ids.size:
            ids = ids[self.state[ids] == _look.HEALTHY]
        news, old = out.measure(ids, now), out.measure(self.active, now)
        below = news.breach
        tally.breached += int(below.sum())
        if not tally.rounds:
            # Restored in an earlier step, and below again: a new fall.
            tally.breached += int((old.breach & (self.state[old.ids] == _look.RESTORED)).sum())
        out.watch(news, ~below, now)
        fallen = news.where(below)
        out.loose(fallen.ids)
        found = old.and_also(fallen)
        self.active = found.ids
        out.fold(self.active)
        return found

    def decide(self, found: Measured, now: Marks, time_ns: int) -> tuple[Orders, Int32]:
        """Ask the rules what is to be closed; also return accounts that owe and hold nothing."""
        venue, m = self.venue, found.ids.size
        rows = venue.rows
        offset = np.concatenate([[0], np.cumsum(self._sizes[found.ids])])
        units, fee = np.zeros(offset[-1]), np.zeros(offset[-1])
        said, step = np.zeros(m, np.int8), np.zeros(m, np.int8)

        def work(first: int, last: int) -> None:
            _look.look(
                found.ids,
                first,
                last,
                rows,
                now,
                venue.table,
                self.steps.whole,
                self.steps.real,
                self.steps.line,
                self.steps.target,
                time_ns,
                venue.quanta,
                found.equity,
                found.mm,
                self.state,
                self.timer,
                offset,
                units,
                fee,
                said,
                step,
                self._most,
            )

        self.lookout.spread(work, m, 4_000)
        well = said == _look.LEFT
        if well.any():
            self.pending.append(found.ids[well])
        empty = found.ids[said == _look.EMPTY]
        self.state[empty] = _look.CLOSED
        self.active = found.ids[~well & (said != _look.EMPTY)]
        orders = self._orders(found, now, said, step, offset, units, fee)
        return orders, np.asarray(empty[found.equity[said == _look.EMPTY] < 0.0], np.int32)

    def _orders(
        self,
        found: Measured,
        now: Marks,
        said: Any,
        step: Any,
        offset: Ints,
        units: Floats,
        fee: Floats,
    ) -> Orders:
        rows = self.venue.rows
        acts = np.flatnonzero((said == _look.ORDERS) | (said == _look.TAKEN))
        taken = said[acts] == _look.TAKEN
        count = self._sizes[found.ids[acts]]
        who = np.repeat(np.arange(acts.size), count)
        nth = np.arange(who.size) - np.repeat(np.cumsum(count) - count, count)
        row = nth + rows.start[found.ids[acts]][who]
        mine = nth + offset[acts][who]
        units = np.where(taken[who], np.abs(rows.quantity[row]), units[mine])
        some = units > 0.0
        row, units, who, fee = row[some], units[some], who[some], fee[mine[some]]
        contract, q = rows.contract[row], rows.quantity[row]
        equity = found.equity[acts]
        # Equity is allotted to legs by what each requires (cascades.md §4).
        weight = now.factor[contract] * requirements(self.venue, contract, np.abs(q), now)
        whole = np.bincount(who, weight, minlength=acts.size)
        part = equity[who] * weight / whole[who]
        with np.errstate(divide="ignore"):
            bankrupt = now.mark[contract] - part / q
        return Orders(
            ids=found.ids[acts],
            equity=equity,
            health=equity / found.mm[acts],
            taken=taken,
            vault=self.steps.whole[step[acts], 9] == 1,
            row=row,
            who=who,
            units=units,
            sign=np.sign(q),
            contract=contract,
            fee=np.where(taken[who], 0.0, fee),
            bankrupt=bankrupt,
        )


@dataclass(slots=True)
class Clearing:
    """What of the orders goes where, and at which prices.

    Attributes
    ----------
    market : float64[n]
        Coins of each row that fill in the market.
    against : float64[n]
        Coins closed against holders.
    fill : Fill
        Of the net flow.
    """

    market: Floats
    against: Floats
    fill: Fill


def clear(
    desk: Desk, orders: Orders, window: Window, now: Marks, purse: float, *, direct: bool
) -> Clearing:
    """Find how much of what is taken over can be sold, and trade.

    `purse` is what there is to pay losses with, US dollars. The share of bankrupt positions that
    is sold is the largest whose losses the purses can pay, slippage included; the rest is for
    holders. Source: requirements rows B08, B09; that purse and holders split positions in the
    ratio of what they pay is ours (house), as in :mod:`crossmargin.liquidation.last_resort`.
    """
    ruined = (orders.taken & (orders.equity < 0.0))[orders.who]
    share = 1.0
    if direct and ruined.any():
        share = _payable(desk, orders, window, now, purse, ruined)
    against = np.zeros(orders.row.size)
    if share < 1.0:
        wanted = to_grid((1.0 - share) * orders.units, desk.venue.quanta[orders.contract])
        against = np.where(ruined & ~window.halted[orders.contract], wanted, 0.0)
        against = desk.holders.room(orders, np.minimum(against, orders.units), now)
    asked = np.where(window.halted[orders.contract], 0.0, orders.units - against)
    market, found = trade(desk.venue, orders, window, asked)
    if not np.isfinite(found.price).all():
        raise CascadeError(
            "forced purchases carried the price of contract "
            f"{int(np.flatnonzero(~np.isfinite(found.price))[0])} beyond all numbers",
            code="CAS-001",
            field="depth_usd",
            hint="give it more depth",
        )
    return Clearing(market=market, against=against, fill=found)


def trade(venue: Venue, orders: Orders, window: Window, asked: Floats) -> tuple[Floats, Fill]:
    """Bring orders to the market: what both sides ask for crosses, the rest moves the price."""
    k = venue.quanta.size
    sells = sums(orders.contract, np.where(orders.sign > 0, asked, 0.0), k)
    buys = sums(orders.contract, np.where(orders.sign < 0, asked, 0.0), k)
    net = buys - sells
    found = fill(window.impact, window.flow, net, window.depth, window.price)
    done = np.where(net < 0, np.maximum(found.filled, _until(window, net)), found.filled)
    if (done == net).all():
        return asked, found
    # The heavier side fills as far as the book, or the breaker, goes: whoever stands worst first.
    market = asked.copy()
    for row in np.flatnonzero(done != net).tolist():
        mine = np.flatnonzero(
            (orders.contract == row) & (orders.sign == (-1.0 if net[row] > 0 else 1.0))
        )
        most = min(sells[row], buys[row]) + abs(float(done[row]))
        most = float(np.floor(most / venue.quanta[row]) * venue.quanta[row])
        queue = mine[np.lexsort((-asked[mine], orders.health[orders.who[mine]]))]
        before = np.cumsum(asked[queue]) - asked[queue]
        market[queue] = np.clip(most - before, 0.0, asked[queue])
    sells = sums(orders.contract, np.where(orders.sign > 0, market, 0.0), k)
    buys = sums(orders.contract, np.where(orders.sign < 0, market, 0.0), k)
    return market, fill(window.impact, window.flow, buys - sells, window.depth, window.price)


def _until(window: Window, net: Floats) -> Floats:
    """Return the part of a sale after which a breaker's price is reached; all of it without."""
    if not (window.floor > 0.0).any():
        return net

    def after(part: Floats) -> Floats:
        whole = window.flow + part * net
        return window.price * np.exp(window.impact.displacement(whole, window.depth, window.price))

    bites = (net < 0) & (after(np.ones(net.size)) < window.floor)
    low, high = np.zeros(net.size), np.ones(net.size)
    for _ in range(60 if bites.any() else 0):
        middle = 0.5 * (low + high)
        beyond = after(middle) < window.floor
        low, high = np.where(beyond, low, middle), np.where(beyond, middle, high)
    # Just beyond: the breaker sees the price that trips it.
    return np.where(bites, high * net, net)


def results(orders: Orders, market: Floats, price: Floats, now: Marks) -> Floats:
    """Return what each account brings whoever took it over, US dollars, float64[m].

    Its equity, and what its positions fill at against the marks; for the part that is closed.
    """
    slip = (price - now.mark[: price.size])[orders.contract]
    gain = market * orders.sign * (now.mark[orders.contract] - orders.bankrupt + slip)
    return sums(orders.who, np.where(orders.taken[orders.who], gain, 0.0), orders.ids.size)


def _payable(
    desk: Desk, orders: Orders, window: Window, now: Marks, purse: float, ruined: Bools
) -> float:
    """Return the largest share of bankrupt positions whose sale the purses can pay for."""

    def spare(share: float) -> float:
        part = np.where(ruined, share, 1.0) * orders.units
        part = to_grid(part, desk.venue.quanta[orders.contract])
        asked = np.where(window.halted[orders.contract], 0.0, part)
        market, found = trade(desk.venue, orders, window, asked)
        each = to_grid(results(orders, market, found.price, now), desk.venue.cent)
        return purse + float(each[each > 0].sum()) + float(each[each < 0].sum())

    if spare(1.0) >= 0.0:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        if spare(middle) >= 0.0:
            low = middle
        else:
            high = middle
    return low
