"""Booking a round: fills, takeovers, holders, fees, losses. What one receives another gives."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crossmargin.cascade import _look
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
) -> None:
    """Book everything that one round has decided."""
    venue, rows = desk.venue, desk.venue.rows
    k, m = venue.quanta.size, orders.ids.size
    market, against, price = cleared.market, cleared.against, cleared.fill.price
    done = market + against
    held = np.abs(rows.quantity[orders.row])
    invariant(bool((done <= held).all()), "a liquidation flips no position")
    funding = (now.mark[:k] - now.worth)[orders.contract]
    proceeds = to_grid(orders.sign * market * (price[orders.contract] - funding), venue.cent)
    fee = to_grid(orders.fee * market * price[orders.contract], venue.cent)
    received = proceeds - fee
    rows.quantity[orders.row] -= orders.sign * done
    desk.closed[orders.row] += market
    for sign, side in ((1.0, venue.long), (-1.0, venue.short)):
        side -= sums(orders.contract, np.where(orders.sign == sign, done, 0.0), k)
    adl = np.zeros(k)
    if (against > 0.0).any():
        _, adl, money, lost = desk.holders.close(orders, against, now)
        received = received + money
        tally.adl_loss += lost
        tally.adl += adl * now.mark[:k]
    each = sums(orders.who, received, m)
    gain = _taken(desk, orders, done, held, each, funding, now)
    own = np.where(orders.taken, 0.0, each)
    rows.base[orders.ids] += own
    venue.base += float(own.sum())
    lacking = _deficits(desk, empty, now)
    venue.absorber_base -= float(proceeds.sum())
    net = sums(orders.contract, -orders.sign * market, k)
    venue.absorber_q -= net
    window.flow += net
    absorb(desk, net, price, now)
    tally.sold += price * sums(orders.contract, np.where(orders.sign > 0, market, 0.0), k)
    tally.bought += price * sums(orders.contract, np.where(orders.sign < 0, market, 0.0), k)
    hit = orders.ids[sums(orders.who, done, m) > 0.0]
    new = hit[desk.first_step[hit] < 0]
    desk.first_step[new] = step
    tally.liquidated += int(new.size)
    vault = orders.vault & (gain > 0.0)
    venue.backstop += float(gain[vault].sum())
    venue.fund += float(gain[(gain > 0.0) & ~vault].sum()) + float(fee.sum())
    tally.fees += float(fee.sum())
    loss = lacking - float(gain[gain < 0.0].sum())
    if loss > 0.0:
        bear(desk, loss, fund_room(desk, time_ns), now, tally)


def _taken(
    desk: Desk,
    orders: Orders,
    done: Floats,
    held: Floats,
    received: Floats,
    funding: Floats,
    now: Marks,
) -> Floats:
    """Settle accounts that were taken over; return what each brings its purse, float64[m].

    Whoever takes all of an account takes its money and coins too, and its owner ends with
    nothing. Where a book, or a halt, lets only a part be closed, the part goes at its bankruptcy
    price and the rest stays.
    """
    venue, rows, m = desk.venue, desk.venue.rows, orders.ids.size
    gain = np.zeros(m)
    if not orders.taken.any():
        return gain
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
    return gain


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
    history, changed = venue.history, False
    for k in np.flatnonzero(net).tolist():
        side = 1 if net[k] < 0.0 else 0
        whole = venue.short if side else venue.long
        before = float(history.scale[k, side])
        most = min(_MOST_OF_A_SIDE, 1.0 - min(1.0, _LEAST_OF_A_COIN / before))
        coins = min(phi * abs(float(net[k])), most * float(whole[k]))
        # Rounded down, so that something is left of a side however small it is.
        coins = float(np.floor(coins / venue.quanta[k]) * venue.quanta[k])
        if coins <= 0.0:
            continue
        value = float(price[k]) - float(now.mark[k] - now.worth[k])
        history.scale[k, side] = before * (1.0 - coins / float(whole[k]))
        history.taken[k, side] += (before - history.scale[k, side]) * value
        changed = True
        whole[k] -= coins
        # Shorts buy what longs sell by force, and the other way round.
        signed = coins if side else -coins
        paid = float(to_grid(signed * value, venue.cent))
        venue.base -= paid
        venue.absorber_base += paid
        venue.absorber_q[k] -= signed
    if changed:
        history.write()
