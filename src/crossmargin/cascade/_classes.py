"""Classes of the lazy bound: which losses an account can suffer, and who shares a list with it.

An account's excess over its line falls by at most ``Σ x_f·l_f`` (see :mod:`_measure`). A class says
of its accounts that the sum is at most X times one *bound*, X being all notionals together or those
of the heavier side. There are four kinds:

* one factor: ``l_f``, exactly;
* two factors: ``s·l_f + (1 − s)·l_g`` with the share s of the first between two edges;
* more factors of one side: the same with its largest factor and the most that any of that side
  has lost;
* both sides: the most of the heavier side and a part of the most of the lighter.

Source: cascades.md (b), "Lazy bound (exact, not approximate)"; classes are ours (house).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Int32 = NDArray[np.int32]

#: What the weaker side of a mixed account weighs against the stronger.
MIX = np.array([0.0, 0.25, 0.6, 1.0])

#: Edges between which the share of a first factor is known.
PARTS = 8

#: Keys of lists have room for so many classes.
MOST = 4096


class Classes(NamedTuple):
    """All classes over K contracts and J assets.

    Factors are longs, shorts, coins and debts, in this order; two more stand for the most that
    any of one side has lost.
    """

    #: First class of accounts of two factors, by factors; −1 where there is none. int64[F, F]
    pair: Ints
    #: First class of accounts of one side with this largest factor, likewise. int64[F]
    top: Ints
    #: First class of accounts with both sides.
    mixed: int
    parts: int
    #: Factors of the bound, and their weights at one edge and the other. int64[C], float64[C, 4]
    one: Ints
    other: Ints
    weight: Floats

    @property
    def size(self) -> int:
        """Number of classes, C."""
        return int(self.one.size)


@lru_cache(maxsize=16)
def classes_of(contracts: int, assets: int) -> Classes:
    """Return the classes over so many contracts and assets; finer ones as far as keys have room."""
    f, edges = 2 * contracts + 2 * assets, np.arange(PARTS) / PARTS
    one, other, weight = list(range(f)), list(range(f)), [(1.0, 0.0, 1.0, 0.0)] * f
    mixed = f
    for strong, weak in ((f, f + 1), (f + 1, f)):
        for part in MIX.tolist():
            one.append(strong)
            other.append(weak)
            weight.append((1.0, part, 1.0, part))
    pair, top = np.full((f, f), -1, np.int64), np.full(f, -1, np.int64)
    # Longs, shorts and coins: whoever owes coins has more than two factors as a rule.
    several = 2 * contracts + assets
    two = [(i, j) for i in range(several) for j in range(i + 1, several)]
    sides = [(i, f if i < contracts or 2 * contracts <= i < several else f + 1) for i in range(f)]
    for wanted, first in ((sides, top), (two, pair)):
        if len(one) + PARTS * len(wanted) > MOST:
            continue
        for i, j in wanted:
            first[(i, j) if first is pair else i] = len(one)
            for low in edges.tolist():
                high = low + 1.0 / PARTS
                one.append(i)
                other.append(j)
                weight.append((low, 1.0 - low, high, 1.0 - high))
    return Classes(pair, top, mixed, PARTS, np.array(one), np.array(other), np.array(weight))


@numba.njit(cache=True, nogil=True, forceinline=True)
def class_of(
    classes: Any,
    factors: int,
    i: int,
    first: float,
    j: int,
    top: int,
    most: float,
    down: float,
    up: float,
    room: float,
) -> tuple[float, int]:
    """Return an account's radius and class.

    It has so many `factors`, of which i (a notional of `first`) and j were met first and `top` (of
    `most`) is the largest; `down` and `up` are what it has on each side.
    """
    if factors == 0:
        return np.inf, classes.mixed
    whole = down + up
    if factors == 1:
        return room / whole, i
    base, part = np.int64(-1), 0.0
    if factors == 2 and i != j:
        base = classes.pair[min(i, j), max(i, j)]
        part = (first if i < j else whole - first) / whole
    elif min(down, up) == 0.0:
        base, part = classes.top[top], most / whole
    if base >= 0:
        return room / whole, base + min(int(part * classes.parts), classes.parts - 1)
    strong, weak, c = max(down, up), min(down, up), 0
    while MIX[c] * strong < weak:
        c += 1
    return room / strong, classes.mixed + c + (0 if down >= up else MIX.size)


@numba.njit(cache=True, nogil=True)
def losses(now: Any, refs: Any, g: int, table: Any, factor: float, out: Floats) -> bool:
    """Write the most that a US dollar of each factor may have lost since a reference.

    Below 0 where it has won. The last two are the most of any long or coin, and of any short or
    debt, at least 0. Returns whether anything is other than it was, so that sums may round so.
    """
    moved = False
    contracts, assets = now.worth.size, now.mark.size
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
            loss = -change / p0
            moved |= loss != 0.0 or s != 1.0 or out_taken != 0.0
            out[side * contracts + k] = loss
            if side == 0:
                down = max(down, loss)
            else:
                up = max(up, loss)
    for j in range(assets):
        p0 = refs.mark[g, j]
        coin, debt = (refs.credit[g, j] - now.credit[j]) / p0, (now.mark[j] - p0) / p0
        moved |= coin != 0.0 or debt != 0.0
        out[2 * contracts + j] = coin
        out[2 * contracts + assets + j] = debt
        down, up = max(down, coin), max(up, debt)
    out[2 * contracts + 2 * assets] = down
    out[2 * contracts + 2 * assets + 1] = up
    return moved


class Lists(NamedTuple):
    """Sorted lists of watches, by watch and class; of a watch, which classes are not empty."""

    head: Ints
    end: Ints
    some: Ints
    filled: Ints


def no_lists(watches: int, classes: int) -> Lists:
    """Return empty lists."""
    shape = (watches, classes)
    return Lists(
        np.zeros(shape, np.int64),
        np.zeros(shape, np.int64),
        np.zeros(shape, np.int64),
        np.zeros(watches, np.int64),
    )


@numba.njit(cache=True, nogil=True)
def begin_lists(lists: Any, g: int, first: int, sizes: Ints) -> None:
    """Write down where the lists of a new watch lie, one after another from `first` on."""
    n = 0
    for c in range(sizes.size):
        lists.head[g, c] = first
        first += sizes[c]
        lists.end[g, c] = first
        if sizes[c]:
            lists.some[g, n] = c
            n += 1
    lists.filled[g] = n


@numba.njit(cache=True, nogil=True)
def pop(
    now: Any,
    refs: Any,
    table: Any,
    factor: float,
    classes: Any,
    live: Any,
    loss: Floats,
    bound: Any,
    bits: Any,
    pool: Any,
    lists: Any,
    place: Int32,
    out: Int32,
) -> int:
    """Take the accounts whose radius is reached from the heads of sorted lists.

    Keys are ``class << 52 | radius << 32 | account``. `loss` has room for all factors; `bound` is
    one float32, as radii are, and `bits` the same memory. An account that has been measured since
    has another place and is passed over.
    """
    n = 0
    for g in range(live.size):
        if not live[g] or lists.filled[g] == 0:
            continue
        if not losses(now, refs, g, table, factor, loss):
            continue
        kept = 0
        for i in range(lists.filled[g]):
            c = lists.some[g, i]
            a, b, w = loss[classes.one[c]], loss[classes.other[c]], classes.weight[c]
            # Where nothing was lost nobody crossed but those so near that rounding of sums, or
            # of coins to their grid, makes the difference: their radius is 0, and they are looked
            # at whatever has moved.
            bound[0] = max(w[0] * a + w[1] * b, w[2] * a + w[3] * b)
            limit = np.int64(bits[0] >> np.uint32(11)) if bound[0] > 0.0 else np.int64(0)
            top, last = lists.head[g, c], lists.end[g, c]
            while top < last:
                key = pool[top]
                if np.int64((key >> np.uint64(32)) & np.uint64(0xFFFFF)) > limit:
                    break
                account = np.int64(key & np.uint64(0xFFFFFFFF))
                if place[account] == g:
                    out[n] = account
                    n += 1
                top += 1
            lists.head[g, c] = top
            if top < last:
                lists.some[g, kept] = c
                kept += 1
        lists.filled[g] = kept
    return n


@numba.njit(cache=True, nogil=True)
def drain(pool: Any, watches: Ints, lists: Any, place: Int32, out: Int32) -> int:
    """Take everybody who waits in some watches; returns how many."""
    n = 0
    for g in watches:
        for i in range(lists.filled[g]):
            c = lists.some[g, i]
            for at in range(lists.head[g, c], lists.end[g, c]):
                account = np.int64(pool[at] & np.uint64(0xFFFFFFFF))
                if place[account] == g:
                    out[n] = account
                    n += 1
    return n


@numba.njit(cache=True, nogil=True)
def squeeze(pool: Any, watches: Ints, first: Ints, lists: Any, place: Int32) -> int:
    """Close up the lists of some watches, in the order in which they lie, to those who wait.

    Accounts that were taken or have been measured since are left out; returns what is used.
    """
    used = 0
    for g in watches:
        first[g] = used
        for i in range(lists.filled[g]):
            c = lists.some[g, i]
            low, high = lists.head[g, c], lists.end[g, c]
            lists.head[g, c] = used
            for at in range(low, high):
                if place[np.int64(pool[at] & np.uint64(0xFFFFFFFF))] == g:
                    pool[used] = pool[at]
                    used += 1
            lists.end[g, c] = used
    return used


@numba.njit(cache=True, nogil=True)
def waiting(watches: Ints, lists: Any, out: Ints) -> None:
    """Write how many keys of each watch have not been taken."""
    for m in range(watches.size):
        g, n = watches[m], 0
        for i in range(lists.filled[g]):
            c = lists.some[g, i]
            n += lists.end[g, c] - lists.head[g, c]
        out[m] = n


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
