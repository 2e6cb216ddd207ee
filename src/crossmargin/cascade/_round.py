"""One liquidation round: who is below the line, what is ordered, at which price it fills, who pays.

A round takes the orders of all accounts together to the market. They fill at one average price,
which comes of the step's whole flow. What a fund or backstop takes over it sells in the same round;
what they cannot pay for is closed against holders of the other side, at the price at which its
owner has nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from crossmargin.cascade import _adl, _columns, _look
from crossmargin.cascade._log_linear import log_linear
from crossmargin.cascade._lookout import BATCH, Lookout
from crossmargin.cascade._measure import Marks
from crossmargin.cascade._program import Program
from crossmargin.cascade._venue import Venue, sums, to_grid
from crossmargin.cascade.impact import Fill, Impact, LogLinear, fill_after
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
    takes : int
        How many accounts are taken over.
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
    takes: int


class Fallen(NamedTuple):
    """Accounts below their line, or under liquidation, as they were found just now."""

    ids: Int32
    equity: Floats
    mm: Floats
    #: Where the rows of each begin among the rows of all of them, int64[m + 1].
    offset: Ints


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
        self._most = int(sizes.max(initial=1))
        self._vaults = np.ascontiguousarray(steps.whole[:, 9])
        self.holders = _adl.Holders(venue, lookout, self)
        self.peaks: list[tuple[int, float]] = []

    def touch(self, ids: Int32) -> None:
        """Have accounts measured at the next look: something of theirs was changed."""
        if ids.size:
            self.lookout.loose(ids)
            self.pending.append(ids)

    def look(self, now: Marks, tally: Tally) -> Fallen:
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
        ids = fresh[0] if len(fresh) == 1 else np.concatenate(fresh)
        # Those under liquidation are looked at anyway, those taken over never again.
        if ids.size:
            ids = ids[self.state[ids] == _look.HEALTHY]
        place, keys, sizes = out.room(ids.size)
        watched, parts = 0, []
        # Some at a time: what is found of a million accounts takes as much room as they do.
        for first in range(0, max(ids.size, 1), BATCH):
            part, more = self._sift(
                ids[first : first + BATCH], now, tally, place, keys[watched:], sizes, first == 0
            )
            watched += more
            if part.ids.size:
                parts.append(part)
        out.enlist(place, watched, sizes, now)
        found = _joined(parts)
        self.active = found.ids
        return found

    def _sift(
        self,
        ids: Int32,
        now: Marks,
        tally: Tally,
        place: int,
        keys: NDArray[np.uint64],
        sizes: Ints,
        begins: bool,
    ) -> tuple[Fallen, int]:
        """Measure accounts that are new, and where it begins those under liquidation too.

        Returns who is looked at, and of how many keys for a watch were written.
        """
        out, news = self.lookout, ids.size
        found = out.measure(np.concatenate([ids, self.active]) if begins else ids, now, news)
        n = found.ids.size
        kept, equity, mm = np.empty(n, np.int32), np.empty(n), np.empty(n)
        offset = np.empty(n + 1, np.int64)
        whole, watched, breached, again = _columns.sift(
            found.ids,
            news,
            found.equity,
            found.mm,
            found.radius.view(np.uint32),
            found.group,
            found.breach,
            found.legs,
            self.state,
            self.venue.rows,
            out.history.past,
            out.history.moment,
            out.quanta,
            out.cent,
            keys,
            sizes,
            place,
            out.LOOSE,
            kept,
            equity,
            mm,
            offset,
        )
        tally.breached += breached
        if not tally.rounds:
            # Restored in an earlier step, and below again: a new fall.
            tally.breached += again
        return Fallen(kept[:whole], equity[:whole], mm[:whole], offset[: whole + 1]), watched

    def decide(self, found: Fallen, now: Marks, time_ns: int) -> tuple[Orders, Int32]:
        """Ask the rules what is to be closed; also return accounts that owe and hold nothing."""
        venue, m = self.venue, found.ids.size
        rows = venue.rows
        n = int(found.offset[-1])
        legs = (np.empty(n), np.empty(n, np.int32), np.empty(n), np.empty(n))
        first_row = np.empty(m, np.int64)
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
                found.offset,
                first_row,
                *legs,
                said,
                step,
                self._most,
            )

        self.lookout.spread(work, m, 4_000)
        return self._orders(found, now, said, step, first_row, *legs)

    def _orders(
        self,
        found: Fallen,
        now: Marks,
        said: Any,
        step: Any,
        first_row: Ints,
        held: Floats,
        traded: Int32,
        units: Floats,
        fee: Floats,
    ) -> tuple[Orders, Int32]:
        venue, m, n = self.venue, found.ids.size, units.size
        accounts: tuple[Any, ...] = (
            np.empty(m, np.int32),
            np.empty(m),
            np.empty(m),
            np.empty(m, np.bool_),
            np.empty(m, np.bool_),
        )
        legs: tuple[Any, ...] = (
            np.empty(n, np.int64),
            np.empty(n, np.int64),
            np.empty(n),
            np.empty(n),
            np.empty(n, np.int32),
            np.empty(n),
            np.empty(n),
        )
        lists = np.empty((3, m), np.int32)
        m, n, takes, stay, well, owe = _columns.collect(
            found.ids,
            found.equity,
            found.mm,
            said,
            step,
            found.offset,
            first_row,
            held,
            traded,
            units,
            fee,
            now.mark,
            now.factor,
            venue.table,
            self._vaults,
            accounts,
            legs,
            self.state,
            lists,
        )
        # In the order of memory: fewer pages are turned.
        self.active = np.sort(lists[0, :stay])
        if well:
            self.pending.append(lists[1, :well])
        ids, equity, health, taken, vault = (x[:m] for x in accounts)
        row, who, coins, sign, contract, rate, bankrupt = (x[:n] for x in legs)
        orders = Orders(
            ids=ids,
            equity=equity,
            health=health,
            taken=taken,
            vault=vault,
            row=row,
            who=who,
            units=coins,
            sign=sign,
            contract=contract,
            fee=rate,
            bankrupt=bankrupt,
            takes=takes,
        )
        return orders, lists[2, :owe]


def _joined(parts: list[Fallen]) -> Fallen:
    """Make one of accounts that were found in several batches."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return Fallen(np.empty(0, np.int32), np.empty(0), np.empty(0), np.zeros(1, np.int64))
    legs = np.concatenate([np.diff(x.offset) for x in parts])
    offset = np.zeros(legs.size + 1, np.int64)
    np.cumsum(legs, out=offset[1:])
    ids, equity, mm = (np.concatenate(x) for x in list(zip(*parts))[:3])
    return Fallen(ids, equity, mm, offset)


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
    direct : bool
        Whether anything is closed against holders.
    """

    market: Floats
    against: Floats
    fill: Fill
    direct: bool


def clear(
    desk: Desk, orders: Orders, window: Window, now: Marks, purse: float, *, direct: bool
) -> Clearing:
    """Find how much of what is taken over can be sold, and trade.

    `purse` is what there is to pay losses with, US dollars. The share of bankrupt positions that
    is sold is the largest whose losses the purses can pay, slippage included; the rest is for
    holders. Source: requirements rows B08, B09; that purse and holders split positions in the
    ratio of what they pay is ours (house), as in :mod:`crossmargin.liquidation.last_resort`.
    """
    halted = bool(window.halted.any())
    share, against = 1.0, np.zeros(orders.row.size)
    if direct and orders.takes:
        ruined = (orders.taken & (orders.equity < 0.0))[orders.who]
        if ruined.any():
            share = _payable(desk, orders, window, now, purse, ruined)
    asked = orders.units
    if share < 1.0:
        wanted = to_grid((1.0 - share) * orders.units, desk.venue.quanta[orders.contract])
        against = np.where(ruined & ~window.halted[orders.contract], wanted, 0.0)
        against = desk.holders.room(orders, np.minimum(against, orders.units), now)
        asked = orders.units - against
    if halted:
        asked = np.where(window.halted[orders.contract], 0.0, asked)
    market, found = trade(desk.venue, orders, window, asked)
    if not np.isfinite(found.price).all():
        raise CascadeError(
            "forced purchases carried the price of contract "
            f"{int(np.flatnonzero(~np.isfinite(found.price))[0])} beyond all numbers",
            code="CAS-001",
            field="depth_usd",
            hint="give it more depth",
        )
    some = share < 1.0 and bool((against > 0.0).any())
    return Clearing(market=market, against=against, fill=found, direct=some)


def trade(venue: Venue, orders: Orders, window: Window, asked: Floats) -> tuple[Floats, Fill]:
    """Bring orders to the market: what both sides ask for crosses, the rest moves the price."""
    sells, buys = _flows(venue, orders, asked)
    net = buys - sells
    found = _fill(window, net)
    done = found.filled
    if window.floor.any():
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
    sells, buys = _flows(venue, orders, market)
    return market, _fill(window, buys - sells)


def _fill(window: Window, net: Floats) -> Fill:
    """Trade a net flow after the window's; the default rule in one compiled pass."""
    rule, k = window.impact, net.size
    if not isinstance(rule, LogLinear):
        return fill_after(rule, window.flow, net, window.depth, window.price)
    base = window.price
    if rule.start is not None:
        base = np.broadcast_to(np.asarray(rule.start, dtype=np.float64), (k,))
    found = Fill(move=np.empty(k), price=np.empty(k), filled=np.empty(k))
    log_linear(
        window.flow,
        net,
        window.depth,
        window.price,
        base,
        found.move,
        found.price,
        found.filled,
    )
    return found


def _flows(venue: Venue, orders: Orders, coins: Floats) -> tuple[Floats, Floats]:
    """Return coins that are sold and bought, by contract."""
    sells, buys = np.zeros(venue.quanta.size), np.zeros(venue.quanta.size)
    _columns.flows(orders.contract, orders.sign, coins, sells, buys)
    return sells, buys


def _until(window: Window, net: Floats) -> Floats:
    """Return the part of a sale after which a breaker's price is reached; all of it without."""

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
