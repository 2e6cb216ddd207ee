"""The tail of a large book: the shortfalls of all pots by the compiled kernel, set by set.

A rearranged dependence is, for whoever holds what, another risk table: the scenarios of every row
taken in the order of the coin that the row is netted with. So each shortfall is one pass of
:func:`crossmargin.margin.kernels.tail.tail_means` over the book's rows, by pot or by group, and no
pot's vector is stored. The numbers are those of :func:`crossmargin.margin._tail_law.shortfalls_of`
but for the last bits (a sum is fused here).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossmargin.margin._tail_law import Shortfalls, stacked
from crossmargin.margin.kernels._layout import CheckedRows, GridTable, check_rows, grid_table
from crossmargin.margin.kernels.tail import Tail, tail_means
from crossmargin.scenarios import TailSpec

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TailTables:
    """Risk tables of all sets over the same rows.

    Rows: instruments; what is held in asset s beside coin c (the move of s in the order of c);
    balances.

    Attributes
    ----------
    filtered, stress, long : GridTable
        Of the three sets.
    broken : tuple of GridTable
        The filtered scenarios rearranged.
    instruments, assets, coins : int
        Numbers that place a row.
    """

    filtered: GridTable
    stress: GridTable
    long: GridTable
    broken: tuple[GridTable, ...]
    instruments: int
    assets: int
    coins: int

    def codes(self, unit: Ints, coin: Ints) -> Ints:
        """Return the row of each unit that is netted with a coin (−1: none).

        Parameters
        ----------
        unit : int64[N]
            Row of the unit table: instruments, moves of assets, moves of balances.
        coin : int64[N]
            Coin of the group each belongs to.
        """
        n, a, wide = self.instruments, self.assets, self.coins + 1
        held = n + (unit - n) * wide + coin + 1
        owned = n + a * wide + (unit - n - a)
        return np.where(unit < n, unit, np.where(unit < n + a, held, owned))


def tail_tables(
    units: Floats, edges: tuple[int, int, int], order: Ints, underlying: Ints, coin: Ints
) -> TailTables:
    """Lay the tables of a market out.

    Parameters
    ----------
    units : float64[n + 2A, C]
        Profit and loss of one unit; columns filtered, then long, then stressed.
    edges : (int, int, int)
        Where they end.
    order : int64[K, coins, S]
        Rearrangements of the filtered scenarios.
    underlying : int64[n]
        Asset of each instrument.
    coin : int64[A]
        Coin of each asset, or -1.
    """
    n, a, coins = underlying.size, coin.size, order.shape[1]
    wide = coins + 1
    rows = np.concatenate(
        [units[:n], np.repeat(units[n : n + a], wide, axis=0), units[n + a :]], axis=0
    )
    of = np.concatenate([coin[underlying], np.tile(np.arange(-1, coins), a), coin])
    first, second, third = edges
    filtered = rows[:, :first]
    still = np.arange(first)

    def moved(k: int) -> GridTable:
        chosen = order[k][of]
        chosen[of < 0] = still
        return grid_table(np.take_along_axis(filtered, chosen, axis=1))

    return TailTables(
        filtered=grid_table(filtered),
        stress=grid_table(rows[:, second:third]),
        long=grid_table(rows[:, first:second]),
        broken=tuple(moved(k) for k in range(order.shape[0])),
        instruments=n,
        assets=a,
        coins=coins,
    )


def compiled_shortfalls(
    spec: TailSpec,
    tables: TailTables,
    codes: Ints,
    size: Floats,
    group: Ints,
    group_pot: Ints,
    pots: int,
) -> list[tuple[Shortfalls, Ints]]:
    """Return the shortfalls of all pots at both confidences, and the worst rearrangements.

    Parameters
    ----------
    spec : TailSpec
        Figures; what no leg needs stays 0.
    tables : TailTables
        Risk tables.
    codes, size, group : [N]
        Row of the tables, units of it (not a number: an account that is refused), and group.
    group_pot : int64[G]
        Pot of each group, ascending.
    pots : int
        How many.
    """
    order = np.argsort(group, kind="stable")
    rows = tables.filtered.rows
    held = np.nan_to_num(size[order], nan=0.0, posinf=0.0, neginf=0.0)
    by_group, mine = group[order], codes[order]
    groups = group_pot.size
    starts = (
        np.searchsorted(group_pot[by_group], np.arange(pots + 1)),
        np.searchsorted(by_group, np.arange(groups + 1)),
    )
    of_pot, of_group = (check_rows(rows, start, mine, held) for start in starts)
    whole, own = np.zeros((2, 4, pots)), np.zeros((2, 3, groups))
    sets = (tables.filtered, tables.stress, tables.long)
    needed = (True, spec.stress_weight > 0, spec.floor > 0 or spec.buffer > 0)
    for k, table in enumerate(sets):
        if needed[k]:
            whole[:, k] = _both(spec, table, of_pot)
            if spec.offset_cap < 1.0:
                own[:, k] = _both(spec, table, of_group)
    binding = np.full((2, pots), -1, dtype=np.int64)
    for k, table in enumerate(tables.broken):
        found = _both(spec, table, of_pot)
        more = found > np.maximum(whole[:, 3], whole[:, 0])
        binding = np.where(more, k, binding)
        whole[:, 3] = np.where(more, found, whole[:, 3])
    return [(stacked(whole[at], own[at], group_pot), binding[at]) for at in range(2)]


def _both(spec: TailSpec, table: GridTable, rows: CheckedRows) -> Floats:
    """Return shortfalls at both confidences, at least 0, ``[2, A]``."""
    last: Tail | None = None
    out = []
    for level in (spec.level_im, spec.level_mm):
        # The narrower tail is where the wider one is looked for first; no bit depends on it.
        last = tail_means(table, rows, level=level, last=last)
        out.append(np.maximum(-last.mean, 0.0))
    return np.stack(out)
