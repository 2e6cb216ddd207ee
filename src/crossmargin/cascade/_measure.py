"""Compiled: equity, requirement and how far prices may move before an account can breach.

An account's excess over its line is linear in a few *factors* (long and short of each contract,
coins and debts of each asset) where rates are flat, and bounded by such a form where they come in
brackets. With the notional ``x_f`` at the account's last measurement and the loss ``l_f`` per US
dollar of a factor since then, the excess has fallen by at most ``Σ x_f·l_f``.

Source: cascades.md (b), "Lazy bound (exact, not approximate)"; the split into factors and classes
is ours (house).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Int32 = NDArray[np.int32]

#: What the weaker side of a mixed account weighs against the stronger: classes of the bound.
MIX = np.array([0.0, 0.25, 0.6, 1.0])

#: Accounts whose columns are fetched together.
BLOCK = 64

#: Rounding that an excess may carry, relative to all that is added up for it.
SLOPPY = 1e-11

#: As in :data:`crossmargin.liquidation.account.ROUNDING`: equality with the line is safe.
ROUNDING = 1e-14


class Rows(NamedTuple):
    """Accounts as the kernels see them; `quantity` and `base` change."""

    #: Whole numbers of 4 or 8 bytes.
    start: Any
    contract: Int32
    quantity: Floats
    entry: Floats
    #: Equity without positions: cash less what positions cost.
    base: Floats
    coll_start: Any
    coll_asset: Int32
    coll_quantity: Floats
    #: Watch that an account is in.
    place: Int32
    #: Moment at which its quantity and base were written.
    born: Int32

    def side_by_side(self) -> Rows:
        """Return the same accounts, all that is read first of one beside each other; a copy of it.

        Accounts are visited all over memory: five columns would cost five lines of cache each.
        """
        most = max(int(self.start[-1]), int(self.coll_start[-1]))
        whole = np.int32 if most < 2**31 else np.int64
        heads = np.empty(
            self.start.size,
            [("base", "f8"), ("start", whole), ("coins", whole), ("born", "i4"), ("place", "i4")],
        )
        heads["start"], heads["coins"] = self.start, self.coll_start
        owned = heads[:-1]
        owned["base"], owned["born"], owned["place"] = self.base, self.born, self.place
        return self._replace(
            start=heads["start"],
            coll_start=heads["coins"],
            base=owned["base"],
            born=owned["born"],
            place=owned["place"],
        )

    def copied(self) -> Rows:
        """Return a copy of what changes."""
        return self.side_by_side()._replace(quantity=self.quantity.copy())


class Marks(NamedTuple):
    """Prices of one moment, by asset and contract."""

    mark: Floats
    #: Mark less all funding since the start: what a coin of a position is worth.
    worth: Floats
    #: Factor on maintenance.
    factor: Floats
    #: Collateral value of a coin, haircut taken.
    credit: Floats
    #: By contract and side (0 long, 1 short): what a coin held at the start is by now, and
    #: the money that its holder took out, where holders close alike.
    scale: Floats
    taken: Floats


class Past(NamedTuple):
    """How holders have been closed alike, moment by moment: [moments, K, 2]."""

    scale: Floats
    taken: Floats


class Table(NamedTuple):
    """Maintenance by brackets, each slice at its own rate."""

    tiers: Ints
    floor: Floats
    rate: Floats
    below: Floats


@numba.njit(cache=True, nogil=True, forceinline=True)
def requirement(table: Any, k: int, notional: float) -> float:
    """Return the maintenance of a notional, before any factor."""
    t = table.tiers[k] - 1
    if t == 0:
        return table.rate[k, 0] * notional  # type: ignore[no-any-return]
    while t > 0 and notional <= table.floor[k, t]:
        t -= 1
    return table.below[k, t] + table.rate[k, t] * (notional - table.floor[k, t])  # type: ignore[no-any-return]


@numba.njit(cache=True, nogil=True, forceinline=True)
def grid(value: float, quantum: float) -> float:
    """Round to a multiple of a power of two: sums of such are exact in any order."""
    return np.rint(value / quantum) * quantum  # type: ignore[no-any-return]


@numba.njit(cache=True, nogil=True)
def fold(ids: Int32, rows: Any, past: Any, moment: int, quanta: Floats, cent: float) -> None:
    """Write down what closing of all holders alike has made of accounts' positions.

    It is reckoned from the last event of each account itself, however often it was measured
    since, so that no rounding depends on who was looked at when.
    """
    for m in range(ids.size):
        a = ids[m]
        born = rows.born[a]
        if born == moment:
            continue
        rows.born[a] = moment
        moved = 0.0
        for i in range(rows.start[a], rows.start[a + 1]):
            q = rows.quantity[i]
            if q == 0.0:
                continue
            k = rows.contract[i]
            side = 0 if q > 0.0 else 1
            was = past.scale[born, k, side]
            share = past.scale[moment, k, side] / was
            if share != 1.0:
                moved += q / was * (past.taken[moment, k, side] - past.taken[born, k, side])
                rows.quantity[i] = grid(q * share, quanta[k])
        if moved != 0.0:
            rows.base[a] += grid(moved, cent)


@numba.njit(cache=True, nogil=True)
def measure(
    ids: Int32,
    first: int,
    last: int,
    rows: Any,
    now: Any,
    past: Any,
    moment: int,
    table: Any,
    line: tuple[float, float, float],
    quanta: Floats,
    cent: float,
    equity: Floats,
    mm: Floats,
    radius: Any,
    group: Any,
    breach: Any,
    legs: Any,
    write: int,
) -> None:
    """Measure accounts ``ids[first:last]``; of those from `write` on, fold too (:func:`fold`).

    Writes equity, requirement (US dollars), radius (the least loss per US dollar of the class's
    factors at which it might breach), class, whether it is below its line now, and rows.
    """
    contracts, assets = now.worth.size, now.mark.size
    mixed = 2 * contracts + 2 * assets
    begin, bare = np.empty(BLOCK, np.int64), np.empty(BLOCK)
    coin, birth = np.empty(BLOCK, np.int64), np.empty(BLOCK, np.int64)
    seen = np.zeros(2)
    for m in range(first, last):
        b = (m - first) % BLOCK
        if b == 0:
            # Accounts lie all over memory: a block's loads are sent off together, in loops without
            # a branch, instead of one waiting for the other.
            for i in range(min(BLOCK, last - m)):
                begin[i], bare[i] = rows.start[ids[m + i]], rows.base[ids[m + i]]
                coin[i], birth[i] = rows.coll_start[ids[m + i]], rows.born[ids[m + i]]
                if rows.coll_start[ids[m + i] + 1] > coin[i]:
                    seen[0] += rows.coll_quantity[coin[i]]
                    seen[1] += rows.coll_asset[coin[i]]
            for i in range(min(BLOCK, last - m) if rows.quantity.size else 0):
                row = min(begin[i], rows.quantity.size - 1)
                seen[0] += rows.quantity[row]
                seen[1] += rows.contract[row]
        a = ids[m]
        born = birth[b]
        e, need, size = bare[b], 0.0, abs(bare[b])
        down, up, one, factors = 0.0, 0.0, 0, 0
        moved, grain = 0.0, 0.0
        for i in range(begin[b], rows.start[a + 1]):
            q = rows.quantity[i]
            if q == 0.0:
                continue
            k = rows.contract[i]
            if born != moment:
                side = 0 if q > 0.0 else 1
                was = past.scale[born, k, side]
                share = past.scale[moment, k, side] / was
                if share != 1.0:
                    moved += q / was * (past.taken[moment, k, side] - past.taken[born, k, side])
                    q = grid(q * share, quanta[k])
                    if m >= write:
                        rows.quantity[i] = q
                    if q == 0.0:
                        continue
            n = abs(q) * now.mark[k]
            grain += quanta[k] * now.mark[k]
            e += q * now.worth[k]
            need += now.factor[k] * requirement(table, k, n)
            size += n
            factors += 1
            if q > 0.0:
                down += n
                one = k
            else:
                up += n
                one = contracts + k
        for i in range(coin[b], rows.coll_start[a + 1]):
            c = rows.coll_quantity[i]
            if c == 0.0:
                continue
            j = rows.coll_asset[i]
            n = abs(c) * now.mark[j]
            size += n
            factors += 1
            if c > 0.0:
                e += c * now.credit[j]
                down += n
                one = 2 * contracts + j
            else:
                e -= n
                up += n
                one = 2 * contracts + assets + j
        if moved != 0.0:
            e += grid(moved, cent)
        if m >= write and born != moment:
            rows.born[a] = moment
            if moved != 0.0:
                rows.base[a] = bare[b] + grid(moved, cent)
        equity[m], mm[m] = e, need
        legs[m] = rows.start[a + 1] - begin[b]
        asked = line[0] * need + line[1]
        excess = e - asked
        # Without positions nothing can be closed: such an account is never below its line, unless
        # it owes more than it has.
        below = excess < -ROUNDING * (abs(e) + abs(asked)) - line[2]
        breach[m] = below and (need > 0.0 or e < 0.0)
        room = max(0.0, excess - SLOPPY * size - 2.0 * grain - cent)
        if factors == 0:
            radius[m], group[m] = np.inf, mixed
        elif factors == 1:
            radius[m], group[m] = room / (down + up), one
        else:
            strong, weak = max(down, up), min(down, up)
            c = 0
            while MIX[c] * strong < weak:
                c += 1
            radius[m] = room / strong
            group[m] = mixed + c + (0 if down >= up else MIX.size)


@numba.njit(cache=True, nogil=True)
def losses(now: Any, refs: Any, table: Any, factor: float, live: Any, out: Any) -> None:
    """Write the most that a US dollar of each class may have lost since each reference.

    `out` is float32[G, classes]; `live` says which references are in use.
    """
    contracts, assets = now.worth.size, now.mark.size
    mixed = 2 * contracts + 2 * assets
    for g in range(live.size):
        if not live[g]:
            continue
        down, up = 0.0, 0.0
        for k in range(contracts):
            p0 = refs.mark[g, k]
            f0, f1 = refs.factor[g, k], now.factor[k]
            low, high = table.rate[k, 0], table.rate[k, table.tiers[k] - 1]
            for t in range(table.tiers[k]):
                low, high = min(low, table.rate[k, t]), max(high, table.rate[k, t])
            for side in range(2):
                s = now.scale[k, side] / refs.scale[g, k, side]
                out_taken = (now.taken[k, side] - refs.taken[g, k, side]) / refs.scale[g, k, side]
                gain = s * now.worth[k] + out_taken - refs.worth[g, k]
                grown = s * now.mark[k] - p0
                more = f1 * (high if grown > 0.0 else low) * grown
                more += (f1 - f0) * (high if f1 > f0 else low) * p0
                change = (gain if side == 0 else -gain) - factor * more
                loss = max(0.0, -change / p0)
                out[g, side * contracts + k] = loss
                if side == 0:
                    down = max(down, loss)
                else:
                    up = max(up, loss)
        for j in range(assets):
            p0 = refs.mark[g, j]
            coin = max(0.0, (refs.credit[g, j] - now.credit[j]) / p0)
            debt = max(0.0, (now.mark[j] - p0) / p0)
            out[g, 2 * contracts + j] = coin
            out[g, 2 * contracts + assets + j] = debt
            down, up = max(down, coin), max(up, debt)
        for c in range(MIX.size):
            out[g, mixed + c] = down + MIX[c] * up
            out[g, mixed + MIX.size + c] = up + MIX[c] * down


@numba.njit(cache=True, nogil=True)
def pop(
    now: Any,
    refs: Any,
    table: Any,
    factor: float,
    live: Any,
    loss: Any,
    bits: Any,
    pool: Any,
    head: Ints,
    end: Ints,
    place: Int32,
    out: Int32,
) -> int:
    """Take the accounts whose radius is reached from the heads of sorted lists.

    Keys are ``class << 52 | radius << 32 | account``; `head`, `end` and `loss` are [G, classes],
    `loss` is float32 as radii are and `bits` the same memory. An account that has been measured
    since has another place and is passed over.
    """
    losses(now, refs, table, factor, live, loss)
    n = 0
    for g in range(live.size):
        if not live[g]:
            continue
        for c in range(head.shape[1]):
            if loss[g, c] <= 0.0:
                # Where nothing was lost nobody crossed, be it ever so near; nor where it is too
                # little for a float32, which is far less than rounding.
                continue
            limit, top = np.int64(bits[g, c] >> np.uint32(11)), head[g, c]
            while top < end[g, c]:
                key = pool[top]
                if np.int64((key >> np.uint64(32)) & np.uint64(0xFFFFF)) > limit:
                    break
                a = np.int64(key & np.uint64(0xFFFFFFFF))
                if place[a] == g:
                    out[n] = a
                    n += 1
                top += 1
            head[g, c] = top
    return n


@numba.njit(cache=True, nogil=True)
def squeeze(pool: Any, watches: Ints, first: Ints, head: Ints, end: Ints, place: Int32) -> int:
    """Close up the lists of some watches, in the order in which they lie, to those who wait.

    Accounts that were taken or have been measured since are left out; returns what is used.
    """
    used = 0
    for g in watches:
        first[g] = used
        for c in range(head.shape[1]):
            low, high = head[g, c], end[g, c]
            head[g, c] = used
            for i in range(low, high):
                if place[np.int64(pool[i] & np.uint64(0xFFFFFFFF))] == g:
                    pool[used] = pool[i]
                    used += 1
            end[g, c] = used
    return used


@numba.njit(cache=True, nogil=True)
def key_of(a: int, bits: Any, group: int) -> Any:
    """Return ``class << 52 | radius << 32 | account``: radii at least 0 order like their bits."""
    key = np.uint64(group) << np.uint64(52)
    key |= np.uint64(bits >> np.uint32(11)) << np.uint64(32)
    return key | np.uint64(a)


@numba.njit(cache=True, nogil=True)
def sort_keys(
    ids: Int32, bits: Any, group: Any, which: Any, place: Int32, watch: int, out: Any, sizes: Ints
) -> int:
    """Write keys of some accounts, their place, and how many of each class there are."""
    n = 0
    for m in range(ids.size):
        if which[m]:
            out[n] = key_of(ids[m], bits[m], group[m])
            sizes[group[m]] += 1
            place[ids[m]] = watch
            n += 1
    return n
