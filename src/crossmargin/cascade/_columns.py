"""Compiled: one round's orders, bookings and closing alike, each in a single pass over its rows.

What these loops do is described where they are called; a pass over columns that lie all over
memory costs more than its arithmetic, and a call more than a short pass. All money and coins are
on their grids, so that sums here are exact in any order.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from crossmargin.cascade import _look
from crossmargin.cascade._classes import key_of
from crossmargin.cascade._measure import fold, grid, requirement

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Int32 = NDArray[np.int32]

_LEFT, _ORDERS, _TAKEN, _EMPTY = _look.LEFT, _look.ORDERS, _look.TAKEN, _look.EMPTY
_RESTORED, _CLOSED = _look.RESTORED, _look.CLOSED


@numba.njit(cache=True, nogil=True)
def sift(
    ids: Int32,
    fresh: int,
    equity: Floats,
    mm: Floats,
    radius: Any,
    group: Any,
    breach: Any,
    legs: Any,
    state: Any,
    rows: Any,
    past: Any,
    moment: int,
    quanta: Floats,
    cent: float,
    keys: Any,
    sizes: Ints,
    watch: int,
    loose: int,
    kept: Int32,
    kept_equity: Floats,
    kept_mm: Floats,
    offset: Ints,
) -> tuple[int, int, int, int]:
    """Part accounts that were measured: those before `fresh` are new, the others under liquidation.

    Writes who is looked at (those under liquidation first, then the new below their line, folded),
    what they have and need, and where their rows begin among all such; and keys of the others for
    a watch, with how many of a class there are. Returns how many are looked at, watched, newly
    below, and below again.
    """
    n = watched = again = 0
    offset[0] = 0
    for m in range(fresh, ids.size):
        kept[n], kept_equity[n], kept_mm[n] = ids[m], equity[m], mm[m]
        offset[n + 1] = offset[n] + legs[m]
        n += 1
        if breach[m] and state[ids[m]] == _RESTORED:
            again += 1
    old = n
    for m in range(fresh):
        a = ids[m]
        if breach[m]:
            kept[n], kept_equity[n], kept_mm[n] = a, equity[m], mm[m]
            offset[n + 1] = offset[n] + legs[m]
            rows.place[a] = loose
            n += 1
        else:
            keys[watched] = key_of(a, radius[m], group[m])
            sizes[group[m]] += 1
            rows.place[a] = watch
            watched += 1
    fold(kept[old:n], rows, past, moment, quanta, cent)
    return n, watched, n - old, again


@numba.njit(cache=True, nogil=True, error_model="numpy")
def collect(
    ids: Int32,
    equity: Floats,
    mm: Floats,
    said: Any,
    step: Any,
    offset: Ints,
    first: Ints,
    held: Floats,
    traded: Int32,
    units: Floats,
    fee: Floats,
    mark: Floats,
    factor: Floats,
    table: Any,
    vaults: Ints,
    accounts: tuple[Int32, Floats, Floats, Any, Any],
    legs: tuple[Ints, Ints, Floats, Floats, Int32, Floats, Floats],
    state: Any,
    lists: Any,
) -> tuple[int, int, int, int, int, int]:
    """Write down what looks have ordered, row by row; see :class:`_round.Orders`.

    In `lists`: who stays under liquidation, who is well, who owes and holds nothing. Returns
    accounts and rows with orders, how many accounts are taken over, and lengths of the lists.
    """
    who_id, own, health, taken, vault = accounts
    row, who, coins, sign, contract, rate, bankrupt = legs
    m2 = n2 = takes = stay = well = owe = 0
    for m in range(ids.size):
        if said[m] == _LEFT:
            lists[1, well] = ids[m]
            well += 1
        elif said[m] == _EMPTY:
            state[ids[m]] = _CLOSED
            if equity[m] < 0.0:
                lists[2, owe] = ids[m]
                owe += 1
        else:
            lists[0, stay] = ids[m]
            stay += 1
        if said[m] != _ORDERS and said[m] != _TAKEN:
            continue
        over, begin, whole = said[m] == _TAKEN, n2, 0.0
        for here in range(offset[m], offset[m + 1]):
            q = held[here]
            some = abs(q) if over else units[here]
            if some <= 0.0:
                continue
            k = traded[here]
            row[n2], who[n2], coins[n2], contract[n2] = first[m] + here - offset[m], m2, some, k
            sign[n2] = 1.0 if q > 0.0 else -1.0
            rate[n2] = 0.0 if over else fee[here]
            # Equity is allotted to legs by what each requires (cascades.md §4).
            weight = factor[k] * requirement(table, k, abs(q) * mark[k])
            bankrupt[n2] = weight
            whole += weight
            n2 += 1
        for j in range(begin, n2):
            part = equity[m] * bankrupt[j] / whole
            bankrupt[j] = mark[contract[j]] - part / held[offset[m] + row[j] - first[m]]
        who_id[m2], own[m2], health[m2] = ids[m], equity[m], equity[m] / mm[m]
        taken[m2], vault[m2] = over, vaults[step[m]] == 1
        takes += over
        m2 += 1
    return m2, n2, takes, stay, well, owe


@numba.njit(cache=True, nogil=True)
def flows(contract: Int32, sign: Floats, coins: Floats, sells: Floats, buys: Floats) -> None:
    """Add coins that longs sell and shorts buy to what is sold and bought, by contract."""
    for i in range(coins.size):
        if sign[i] > 0.0:
            sells[contract[i]] += coins[i]
        else:
            buys[contract[i]] += coins[i]


@numba.njit(cache=True, nogil=True)
def book(
    ids: Int32,
    taken: Any,
    row: Ints,
    who: Ints,
    sign: Floats,
    contract: Int32,
    rate: Floats,
    market: Floats,
    against: Floats,
    price: Floats,
    funding: Floats,
    rows: Any,
    closed: Floats,
    first_step: Int32,
    step: int,
    cent: float,
    held: Floats,
    each: Floats,
    sums: Floats,
    moved: Floats,
) -> int:
    """Book fills on their accounts.

    Writes what was held by row and what each account receives; adds to ``sums`` (proceeds, fees,
    money of accounts that stay their own) and ``moved`` (by contract: longs and shorts closed,
    sold and bought in the market). Returns how many accounts are hit for the first time; −1 where
    more is closed than is held, and nothing is booked.
    """
    seen = np.zeros(2)
    # Columns lie all over memory: their loads are sent off together.
    for m in range(ids.size):
        seen[0] += rows.base[ids[m]]
        seen[1] += first_step[ids[m]]
    for i in range(row.size):
        held[i] = abs(rows.quantity[row[i]])
        seen[0] += closed[row[i]]
        if market[i] + against[i] > held[i]:
            return -1
    new = 0
    for i in range(row.size):
        k, r, m = contract[i], row[i], who[i]
        done = market[i] + against[i]
        proceeds = grid(sign[i] * market[i] * (price[k] - funding[k]), cent)
        fee = grid(rate[i] * market[i] * price[k], cent)
        each[m] += proceeds - fee
        sums[0] += proceeds
        sums[1] += fee
        rows.quantity[r] -= sign[i] * done
        closed[r] += market[i]
        side = 0 if sign[i] > 0.0 else 1
        moved[side, k] += done
        moved[2 + side, k] += market[i]
        if done > 0.0 and first_step[ids[m]] < 0:
            first_step[ids[m]] = step
            new += 1
    for m in range(ids.size):
        if not taken[m]:
            rows.base[ids[m]] += each[m]
            sums[2] += each[m]
    return new


@numba.njit(cache=True, nogil=True)
def alike(
    net: Floats,
    price: Floats,
    mark: Floats,
    worth: Floats,
    phi: float,
    most_of_side: float,
    least_of_coin: float,
    scale: Floats,
    taken: Floats,
    longs: Floats,
    shorts: Floats,
    outside: Floats,
    quanta: Floats,
    cent: float,
) -> tuple[bool, float]:
    """Close holders of the other side alike; returns whether any were, and what they paid."""
    changed, whole_paid = False, 0.0
    for k in range(net.size):
        if net[k] == 0.0:
            continue
        side = 1 if net[k] < 0.0 else 0
        whole = shorts if side else longs
        before = scale[k, side]
        most = min(most_of_side, 1.0 - min(1.0, least_of_coin / before))
        coins = min(phi * abs(net[k]), most * whole[k])
        # Rounded down, so that something is left of a side however small it is.
        coins = np.floor(coins / quanta[k]) * quanta[k]
        if coins <= 0.0:
            continue
        value = price[k] - (mark[k] - worth[k])
        scale[k, side] = before * (1.0 - coins / whole[k])
        taken[k, side] += (before - scale[k, side]) * value
        changed = True
        whole[k] -= coins
        # Shorts buy what longs sell by force, and the other way round.
        signed = coins if side else -coins
        whole_paid += grid(signed * value, cent)
        outside[k] -= signed
    return changed, whole_paid
