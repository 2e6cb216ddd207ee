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

from crossmargin.cascade._classes import class_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Int32 = NDArray[np.int32]

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
    classes: Any,
    equity: Floats,
    mm: Floats,
    radius: Any,
    group: Any,
    breach: Any,
    legs: Any,
    write: int,
) -> None:
    """Measure accounts ``ids[first:last]``; of those from `write` on, fold too (:func:`fold`).

    Writes equity, requirement (US dollars), radius (the least bound of its class at which it might
    breach, see :mod:`_classes`), class, whether it is below its line now, and rows.
    """
    contracts, assets = now.worth.size, now.mark.size
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
        down, up, factors = 0.0, 0.0, 0
        i1, i2, top, first_one, largest = 0, 0, 0, 0.0, 0.0
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
            if factors == 1:
                i1, first_one = one, n
            elif factors == 2:
                i2 = one
            if n > largest:
                top, largest = one, n
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
            if factors == 1:
                i1, first_one = one, n
            elif factors == 2:
                i2 = one
            if n > largest:
                top, largest = one, n
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
        radius[m], group[m] = class_of(
            classes, factors, i1, first_one, i2, top, largest, down, up, room
        )
