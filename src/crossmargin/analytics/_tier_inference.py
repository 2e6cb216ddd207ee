"""Brackets inferred from liquidation prices: what makes the positions of an account agree.

The available margin of a cross account is one number (see :mod:`._tier_tables`). Where two or more
positions imply the same one under their tables, that is the account's *consensus*; a table of an
unknown coin that makes an account's positions in it agree gets that account's vote: one vote for
each account, so that a position recorded at many snapshots does not count many times. Tables found
join the next round. House method; the menu of tables is the venue's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossmargin.analytics._tier_tables import TierTable

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

#: Fewest votes for a coin's table, and for the table of one account's position in a coin.
LEAST_VOTES, LEAST_OWN_VOTES = 3, 2
_ROUNDS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """Positions with a liquidation price, and what each implies under every table of a menu.

    Attributes
    ----------
    pool : int64[N]
        Account at a snapshot: positions of one pool share an available margin.
    coin, holding : int64[N]
        Coin, and account's holding of a coin (the same at all snapshots).
    implied : float64[N, T]
        Available margin by table, USD.
    slack : float64[N]
        How far the printed digits leave it open, USD.
    """

    pool: Ints
    coin: Ints
    holding: Ints
    implied: Floats
    slack: Floats

    def under(self, table: Ints) -> Floats:
        """Available margin under each position's own table (−1: NaN)."""
        chosen = self.implied[np.arange(table.size), np.maximum(table, 0)]
        return np.where(table >= 0, chosen, np.nan)


@dataclass(frozen=True, slots=True, kw_only=True)
class Consensus:
    """What two or more positions of a pool agree on.

    Attributes
    ----------
    anchor : int64[N]
        Of each position, the member of its pool's consensus with the least slack; −1 where the
        pool has none.
    available : float64[N]
        The anchor's available margin, NaN without one.
    slack : float64[N]
        The anchor's slack.
    """

    anchor: Ints
    available: Floats
    slack: Floats


def consensus(seen: Observed, table: Ints, use: Bools) -> Consensus:
    """Find the largest set of agreeing positions in every pool.

    Sorted by available margin, neighbours agree when their slacks touch. Of equally large sets
    the one whose best member has the least slack counts.
    """
    have = seen.under(table)
    rows = np.flatnonzero(use & (table >= 0))
    anchor = np.full(table.size, -1, dtype=np.int64)
    if rows.size:
        rows = rows[np.lexsort((have[rows], seen.pool[rows]))]
        left, right = rows[:-1], rows[1:]
        joined = (seen.pool[left] == seen.pool[right]) & (
            have[right] - have[left] <= seen.slack[right] + seen.slack[left]
        )
        cluster = np.concatenate([[0], np.cumsum(~joined)])
        size = np.bincount(cluster)[cluster]
        rows, size = rows[size > 1], size[size > 1]
        rows = rows[np.lexsort((rows, seen.slack[rows], -size, seen.pool[rows]))]
        pools, first = np.unique(seen.pool[rows], return_index=True)
        best = np.full(int(seen.pool.max()) + 1, -1, dtype=np.int64)
        best[pools] = rows[first]
        anchor = best[seen.pool]
    none = anchor < 0
    return Consensus(
        anchor=anchor,
        available=np.where(none, np.nan, have[anchor]),
        slack=np.where(none, np.nan, seen.slack[anchor]),
    )


def agreeing(seen: Observed, found: Consensus) -> Bools:
    """Say under which tables each position agrees with its pool's consensus (bool[N, T])."""
    apart = np.abs(seen.implied - found.available[:, None])
    return np.asarray(apart <= (seen.slack + found.slack)[:, None])


@dataclass(frozen=True, slots=True, kw_only=True)
class Votes:
    """Votes for the table of one coin.

    Attributes
    ----------
    holdings : int
        Accounts that could vote: with a position in a pool whose consensus does not rest on it.
    table : int
        Index of the table chosen, −1 when none has enough votes.
    votes, listed_votes : int
        For the table chosen, and for the one the rule-set lists (0 when it lists none).
    """

    holdings: int
    table: int
    votes: int
    listed_votes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Inferred:
    """Tables inferred from a part of the snapshots.

    Attributes
    ----------
    by_coin : dict of int to int
        Table of each coin that has one, listed or inferred.
    votes : dict of int to Votes
        By coin.
    by_holding : dict of int to int
        Holdings whose positions agree only under another table than their coin's: the older
        brackets of positions that were not modified since.
    """

    by_coin: dict[int, int]
    votes: dict[int, Votes]
    by_holding: dict[int, int]

    def tables(self, seen: Observed, *, holdings: bool) -> Ints:
        """Return the table of every position, −1 where its coin has none."""
        table = _lookup(self.by_coin, seen.coin)
        if not holdings:
            return table
        own = _lookup(self.by_holding, seen.holding)
        return np.where(own >= 0, own, table)


def _lookup(known: Mapping[int, int], key: Ints) -> Ints:
    size = int(max(key.max(initial=-1), max(known, default=-1))) + 1
    dense = np.full(size, -1, dtype=np.int64)
    for place, table in known.items():
        dense[place] = table
    return dense[key]


def infer(
    seen: Observed,
    menu: tuple[TierTable, ...],
    listed: Mapping[int, int],
    learn: Bools,
) -> Inferred:
    """Infer tables from the positions marked by `learn`; no other row is looked at.

    Parameters
    ----------
    seen : Observed
        All positions with a liquidation price.
    menu : tuple of TierTable
        What `seen.implied` was computed under, simplest first.
    listed : mapping of int to int
        Table of each coin that the rule-set lists. It is kept unless another has more votes.
    learn : bool[N]
        The snapshots to learn from.
    """
    by_coin = dict(listed)
    votes: dict[int, Votes] = {}
    free = np.zeros(learn.size, dtype=bool)
    hits = np.zeros(seen.implied.shape, dtype=bool)
    for _ in range(_ROUNDS):
        found = consensus(seen, _lookup(by_coin, seen.coin), learn)
        free = learn & (found.anchor >= 0) & (found.anchor != np.arange(learn.size))
        hits = agreeing(seen, found) & free[:, None]
        votes = {
            coin: _vote(
                *_by_holding(seen, hits, free & (seen.coin == coin))[1:], listed.get(coin, -1)
            )
            for coin in np.unique(seen.coin[free]).tolist()
        }
        chosen = {coin: v.table for coin, v in votes.items() if v.table >= 0}
        after = {**listed, **chosen}
        if after == by_coin:
            break
        by_coin = after
    return Inferred(by_coin=by_coin, votes=votes, by_holding=_own_tables(seen, free, hits, by_coin))


def _by_holding(seen: Observed, hits: Bools, rows: Bools) -> tuple[Ints, Ints, Ints]:
    """Return the holdings of some rows, their positions, and those that agree by table."""
    holdings, place = np.unique(seen.holding[rows], return_inverse=True)
    counts = np.zeros((holdings.size, hits.shape[1]), dtype=np.int64)
    np.add.at(counts, place, hits[rows])
    return holdings, np.bincount(place, minlength=holdings.size), counts


def _vote(size: Ints, hits: Ints, listed: int) -> Votes:
    """Count votes, one for each holding that mostly agrees; ties go to the listed table."""
    counts = (2 * hits > size[:, None]).sum(axis=0)
    best = int(np.argmax(counts))
    if listed >= 0 and counts[listed] >= counts[best]:
        best = listed
    enough = counts[best] >= LEAST_VOTES or best == listed
    return Votes(
        holdings=int(size.size),
        table=best if enough else listed,
        votes=int(counts[best]) if enough else 0,
        listed_votes=int(counts[listed]) if listed >= 0 else 0,
    )


def _own_tables(
    seen: Observed, free: Bools, hits: Bools, by_coin: Mapping[int, int]
) -> dict[int, int]:
    """Find holdings that most often agree under one table, and that not the coin's."""
    holdings, sizes, counts = _by_holding(seen, hits, free)
    if not holdings.size:
        return {}
    names, row = np.unique(seen.holding, return_index=True)
    usual = _lookup(by_coin, seen.coin[row[np.searchsorted(names, holdings)]])
    index = np.arange(holdings.size)
    usual_votes = np.where(usual >= 0, counts[index, np.maximum(usual, 0)], 0)
    best = counts.argmax(axis=1)
    most = counts[index, best]
    keep = (most > usual_votes) & (most >= LEAST_OWN_VOTES) & (2 * most > sizes)
    return dict(zip(holdings[keep].tolist(), best[keep].tolist()))
