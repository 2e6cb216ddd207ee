"""Booking a round: fills, takeovers, holders, fees, losses. What one receives another gives."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crossmargin.cascade import _columns, _look
from crossmargin.cascade._losses import bear, fund_room
from crossmargin.cascade._measure import Marks
from crossmargin.cascade._round import Clearing, Desk, Orders, Tally, Window
from crossmargin.cascade._venue import Venue, sums, to_grid
from crossmargin.errors import invariant

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Int32 = NDArray[np.int32]

#: What is left of a coin held at the start when holders close alike no more: below it, rounding
#: would be all there is.
_LEAST_OF_A_COIN = 1e-6

#: Most of a side that closes of its own accord in one round: nobody's position becomes 0 that way.
_MOST_OF_A_SIDE = 0.999


def settle(
    desk: Desk,
    orders: Orders,
    cleared: Clearing,
    empty: Int32,
    window: Window,
    now: Marks,
    tally: Tally,
    step: int,
    time_ns: int,
) -> Floats:
    """Book everything that one round has decided; return coins closed, float64[K]."""
    venue, rows = desk.venue, desk.venue.rows
    k, m, n = venue.quanta.size, orders.ids.size, orders.row.size
    market, against, price = cleared.market, cleared.against, cleared.fill.price
    funding = now.mark[:k] - now.worth
    held, each = np.empty(n), np.zeros(m)
    money, moved = np.zeros(3), np.zeros((4, k))
    new = _columns.book(
        orders.ids,
        orders.taken,
        orders.row,
        orders.who,
        orders.sign,
        orders.contract,
        orders.fee,
        market,
        against,
        price,
        funding,
        rows,
        desk.closed,
        desk.first_step,
        step,
        venue.cent,
        held,
        each,
        money,
        moved,
    )
    invariant(new >= 0, "a liquidation flips no position")
    proceeds, fees, own = money.tolist()
    long, short, sells, buys = moved
    venue.long -= long
    venue.short -= short
    venue.base += own
    tally.liquidated += new
    if cleared.direct:
        _, adl, got, lost = desk.holders.close(orders, against, now)
        each += sums(orders.who, got, m)
        tally.adl_loss += lost
        tally.adl += adl * now.mark[:k]
    gain = np.zeros(m)
    if orders.takes:
        _taken(desk, orders, market + against, held, each, funding[orders.contract], now, gain)
    lacking = _deficits(desk, empty, now)
    venue.absorber_base -= proceeds
    net = buys - sells
    venue.absorber_q -= net
    window.flow += net
    absorb(desk, net, price, now)
    tally.sold += price * sells
    tally.bought += price * buys
    tally.fees += fees
    loss, won = lacking, 0.0
    if orders.takes:
        vault = orders.vault & (gain > 0.0)
        venue.backstop += float(gain[vault].sum())
        won = float(gain[(gain > 0.0) & ~vault].sum())
        loss = lacking - float(gain[gain < 0.0].sum())
    venue.fund += won + fees
    if loss > 0.0:
        bear(desk, loss, fund_room(desk, time_ns), now, tally)
    return np.asarray(long + short, dtype=np.float64)


def _taken(
    desk: Desk,
    orders: Orders,
    done: Floats,
    held: Floats,
    received: Floats,
    funding: Floats,
    now: Marks,
    gain: Floats,
) -> None:
    """Settle accounts that were taken over; write what each brings its purse, float64[m].

    Whoever takes all of an account takes its money and coins too, and its owner ends with
    nothing. Where a book, or a halt, lets only a part be closed, the part goes at its bankruptcy
    price and the rest stays.
    """
    venue, rows, m = desk.venue, desk.venue.rows, orders.ids.size
    rest = sums(orders.who, held - done, m) > 0.0
    whole = orders.taken & ~rest
    price = orders.bankrupt
    given = to_grid(orders.sign * done * (price - funding), venue.cent)
    part = np.where(orders.taken & rest, sums(orders.who, given, m), 0.0)
    rows.base[orders.ids] += part
    venue.base += float(part.sum())
    gain[orders.taken] = (received - part)[orders.taken]
    ids = orders.ids[whole]
    gain[whole] += _seize(venue, ids, now)
    desk.state[ids] = _look.TAKEN_OVER
    desk.active = desk.active[desk.state[desk.active] != _look.TAKEN_OVER]


def _deficits(desk: Desk, empty: Int32, now: Marks) -> float:
    """Take what is left of accounts that owe and hold nothing; return what they lack."""
    if not empty.size:
        return 0.0
    left = _seize(desk.venue, empty, now)
    desk.venue.fund += float(left[left > 0.0].sum())
    return -float(left[left < 0.0].sum())


def _seize(venue: Venue, ids: Int32, now: Marks) -> Floats:
    """Take money and coins of accounts; return what they are worth, coins at their credit.

    Coins go to whoever stands outside for their value as collateral, debts for their full one:
    so an account brings exactly the equity that its margin saw (house).
    """
    rows = venue.rows
    worth = rows.base[ids].copy()
    rows.base[ids] = 0.0
    venue.base -= float(worth.sum())
    count = rows.coll_start[ids + 1] - rows.coll_start[ids]
    if count.any():
        who = np.repeat(np.arange(ids.size), count)
        first = np.cumsum(count) - count
        row = rows.coll_start[ids][who] + np.arange(who.size) - first[who]
        c, asset = rows.coll_quantity[row], rows.coll_asset[row]
        paid = to_grid(c * np.where(c > 0, now.credit[asset], now.mark[asset]), venue.cent)
        rows.coll_quantity[row] = 0.0
        venue.coins -= sums(asset, np.maximum(c, 0.0), venue.coins.size)
        venue.debts -= sums(asset, np.maximum(-c, 0.0), venue.coins.size)
        venue.absorber_coins += sums(asset, c, venue.coins.size)
        venue.absorber_base -= float(paid.sum())
        worth = worth + sums(who, paid, ids.size)
    return worth


def absorb(desk: Desk, net: Floats, price: Floats, now: Marks) -> None:
    """Let holders of the other side fill their share of the net flow by closing, all alike."""
    venue, phi = desk.venue, desk.rules.absorption
    if phi == 0.0:
        return
    history = venue.history
    changed, paid = _columns.alike(
        net,
        price,
        now.mark,
        now.worth,
        phi,
        _MOST_OF_A_SIDE,
        _LEAST_OF_A_COIN,
        history.scale,
        history.taken,
        venue.long,
        venue.short,
        venue.absorber_q,
        venue.quanta,
        venue.cent,
    )
    venue.base -= paid
    venue.absorber_base += paid
    if changed:
        history.write()
