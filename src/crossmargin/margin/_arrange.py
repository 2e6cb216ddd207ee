"""Arranging a book for a rule-set: pots, groups and segments, once, before any price is read.

A *pot* is margined by itself. Inside it, a *group* holds what may net in one scan (an
underlying); inside a group, a *segment* holds what is paid in one settlement asset.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossmargin.book import Book
from crossmargin.errors import RulesetError
from crossmargin.instruments import KIND_CODE, Terms
from crossmargin.margin._faults import Faults
from crossmargin.margin.ruleset import Ruleset

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Stands for US dollars where a numeraire is an index of an asset.
USD = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrangement:
    """A book seen through a rule-set.

    Attributes
    ----------
    pot_pool : int64[P]
        The declared pool each pot belongs to.
    pot_asset : int64[P]
        Numeraire: index of an asset, or ``USD``.
    pot_position : int64[P]
        The position a fenced pot belongs to, else -1.
    position_pot, position_group, position_segment : int64[N]
        Where each position stands.
    balance_pot, balance_segment : int64[B]
        Where each balance stands; segment -1 when it takes no part in scenarios.
    leg_group, leg_segment : int64[L]
        Where each order leg stands.
    group_pot, group_underlying : int64[G]
        Underlying is the asset whose scenarios the group takes (after aliases).
    segment_group, segment_asset : int64[K]
        Settlement asset of each segment.
    """

    pot_pool: Ints
    pot_asset: Ints
    pot_position: Ints
    position_pot: Ints
    position_group: Ints
    position_segment: Ints
    balance_pot: Ints
    balance_segment: Ints
    leg_group: Ints
    leg_segment: Ints
    group_pot: Ints
    group_underlying: Ints
    segment_group: Ints
    segment_asset: Ints
    segment_expiry: Ints

    @property
    def pots(self) -> int:
        """Number of pots."""
        return int(self.pot_pool.size)

    @property
    def groups(self) -> int:
        """Number of groups."""
        return int(self.group_pot.size)

    @property
    def segments(self) -> int:
        """Number of segments."""
        return int(self.segment_group.size)


def unique_rows(*columns: Ints) -> tuple[tuple[Ints, ...], Ints]:
    """Give the distinct rows of some columns numbers, in lexicographic order."""
    if columns[0].size == 0:
        empty = np.empty(0, dtype=np.int64)
        return tuple(empty for _ in columns), empty
    first, inverse = bucket_rows(*columns)
    return tuple(c[first] for c in columns), inverse


def bucket_rows(*columns: Ints) -> tuple[Ints, Ints]:
    """Give the distinct rows of some columns numbers in lexicographic order.

    Returns
    -------
    first, bucket : int64[K], int64[N]
        As :func:`buckets`.
    """
    if columns[0].size == 0:
        return columns[0], columns[0]
    packed = _packed(columns)
    if packed is not None:
        return buckets(packed)
    order = np.lexsort(columns[::-1])
    ordered = [c[order] for c in columns]
    new = np.ones(order.size, dtype=bool)
    new[1:] = np.any([c[1:] != c[:-1] for c in ordered], axis=0)
    bucket = np.empty(order.size, dtype=np.int64)
    bucket[order] = np.cumsum(new) - 1
    return order[new], bucket


def buckets(key: Ints) -> tuple[Ints, Ints]:
    """Give the distinct keys numbers in ascending order.

    Parameters
    ----------
    key : int64[N]

    Returns
    -------
    first : int64[K]
        First row of each distinct key.
    bucket : int64[N]
        Number of each row's key.
    """
    if not key.size:
        return key, key
    new = np.ones(key.size, dtype=np.bool_)
    if (key[1:] >= key[:-1]).all():
        np.not_equal(key[1:], key[:-1], out=new[1:])
        return np.flatnonzero(new), np.cumsum(new) - 1
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    np.not_equal(ordered[1:], ordered[:-1], out=new[1:])
    bucket = np.empty(key.size, dtype=np.int64)
    bucket[order] = np.cumsum(new) - 1
    return order[new], bucket


def _packed(columns: tuple[Ints, ...]) -> Ints | None:
    """Return one whole number a row that orders as the rows do; None where it would not fit."""
    key: Ints | None = None
    size = 1
    for column in columns:
        least = int(column.min())
        width = int(column.max()) - least + 1
        size *= width
        if size >= 1 << 62:
            return None
        key = column - least if key is None else key * width + (column - least)
    return key


def underlying_aliases(book: Book, ruleset: Ruleset) -> Ints:
    """Return, for each asset of the registry, the asset whose scenarios it takes."""
    registry = book.registry
    # Only a leader whose follower is there is added: a book keeps its other indices.
    held = set(registry.assets)
    alias = {
        registry.asset(k): registry.asset(v) for k, v in ruleset.data.groups.items() if k in held
    }
    return np.array([alias.get(a, a) for a in range(len(registry.assets))], dtype=np.int64)


def arrange(book: Book, ruleset: Ruleset, faults: Faults | None = None) -> Arrangement:
    """Arrange a book; see :class:`Arrangement`.

    With `faults`, accounts that must be refused are noted there instead of being raised.

    Raises
    ------
    RulesetError
        ``RUL-011`` when the book holds or orders a contract of a kind that the rules leave out.
    """
    registry = book.registry
    follow = underlying_aliases(book, ruleset)
    terms = registry.terms
    by = ruleset.data.pools.by
    p_under = follow[terms.underlying[book.position_instrument]]
    p_settle = terms.settlement[book.position_instrument].astype(np.int64)
    leg_pool = book.order_pool[book.leg_order]
    l_under = follow[terms.underlying[book.leg_instrument]]
    l_settle = terms.settlement[book.leg_instrument].astype(np.int64)
    n, b, m = book.position_pool.size, book.balance_pool.size, book.leg_order.size
    nothing = np.full(n + b + m, -1, dtype=np.int64)
    counted = ruleset.data.numeraire
    unit = USD if counted in ("USD", "settlement") else registry.asset(counted)
    marks, assets = nothing, np.full(n + b + m, unit, dtype=np.int64)
    if by == "settlement":
        assets = np.concatenate([p_settle, book.balance_asset, l_settle])
    elif by == "position":
        marks = np.concatenate(
            [np.arange(n, dtype=np.int64), nothing[:b], _held_position(book, leg_pool)]
        )
    pools = np.concatenate([book.position_pool, book.balance_pool, leg_pool])
    if by == "position":
        # Every pool has a wallet, also an empty one: fenced margin comes from somewhere.
        own = np.flatnonzero(np.bincount(book.position_pool, minlength=1))
        pools = np.concatenate([pools, own])
        assets = np.concatenate([assets, np.full(own.size, unit, dtype=np.int64)])
        marks = np.concatenate([marks, np.full(own.size, -1, dtype=np.int64)])
    (pot_pool, pot_asset, pot_mark), pot = unique_rows(pools, assets, marks)
    p_pot, b_pot, l_pot = pot[:n], pot[n : n + b], pot[n + b : n + b + m]
    busy = np.full(pot_pool.size, ruleset.data.collateral.stress_idle)
    busy[p_pot] = busy[l_pot] = True
    busy[b_pot[book.balance_amount < 0]] = True
    stressed = _stressed(book, ruleset, pot_asset[b_pot], busy[b_pot], faults)
    s_pot = b_pot[stressed]
    s_under = follow[book.balance_asset[stressed]]
    s_settle = book.balance_asset[stressed]
    netted, expiries = _netted_expiries(ruleset, terms)
    p_expiry, l_expiry = netted[book.position_instrument], netted[book.leg_instrument]
    (seg_pot, seg_under, seg_settle, seg_expiry), segment = unique_rows(
        np.concatenate([p_pot, l_pot, s_pot]),
        np.concatenate([p_under, l_under, s_under]),
        np.concatenate([p_settle, l_settle, s_settle]),
        np.concatenate([p_expiry, l_expiry, np.full(s_pot.size, -1, dtype=np.int64)]),
    )
    (group_pot, group_under), segment_group = unique_rows(seg_pot, seg_under)
    p_seg, l_seg = segment[:n], segment[n : n + l_pot.size]
    balance_segment = np.full(b, -1, dtype=np.int64)
    balance_segment[stressed] = segment[n + l_pot.size :]
    return Arrangement(
        pot_pool=pot_pool,
        pot_asset=pot_asset,
        pot_position=pot_mark,
        position_pot=p_pot,
        position_group=segment_group[p_seg],
        position_segment=p_seg,
        balance_pot=b_pot,
        balance_segment=balance_segment,
        leg_group=segment_group[l_seg],
        leg_segment=l_seg,
        group_pot=group_pot,
        group_underlying=group_under,
        segment_group=segment_group,
        segment_asset=seg_settle,
        segment_expiry=expiries[seg_expiry + 1],
    )


def _netted_expiries(ruleset: Ruleset, terms: Terms) -> tuple[Ints, Ints]:
    """Give expiries of options numbers where a rule-set nets by expiry.

    Returns
    -------
    number : int64[n]
        By instrument, from 0 in order of time; -1 where nothing is netted by expiry.
    expiries : int64[1 + E]
        Expiry of number k at place k + 1; -1 at place 0.
    """
    number = np.full(terms.kind.size, -1, dtype=np.int64)
    if ruleset.scan is None or ruleset.scan.segments != "expiry":
        return number, np.array([-1], dtype=np.int64)
    option = terms.kind == KIND_CODE["option"]
    dated, number[option] = np.unique(terms.expiry_ns[option], return_inverse=True)
    return number, np.concatenate([[-1], dated])


def _held_position(book: Book, leg_pool: Ints) -> Ints:
    """Return, for each order leg, the position in the same instrument and pool, else -1."""
    if not leg_pool.size or not book.position_pool.size:
        return np.full(leg_pool.size, -1, dtype=np.int64)
    width = len(book.registry)
    held, row = np.unique(book.position_pool * width + book.position_instrument, return_index=True)
    key = leg_pool * width + book.leg_instrument
    place = np.minimum(np.searchsorted(held, key), held.size - 1)
    return np.where(held[place] == key, row[place], -1)


def _stressed(
    book: Book,
    ruleset: Ruleset,
    pot_asset: Ints,
    busy: NDArray[np.bool_],
    faults: Faults | None,
) -> Ints:
    """Return the balances whose price move enters the scenarios.

    A pot without positions, orders or debt owes nothing for what it owns, and is left out
    unless the rule-set says ``stress_idle``.

    Raises
    ------
    RulesetError
        ``RUL-021`` when a balance is to be stressed and the rule-set has no scenarios for it.
    """
    if ruleset.scan is None:
        return np.empty(0, dtype=np.int64)
    spec = ruleset.data.scenarios
    rules = ruleset.data.collateral.assets
    counted = busy & (book.balance_amount != 0) & (book.balance_asset != pot_asset)
    names = book.registry.assets
    keep = np.zeros(len(names), dtype=bool)
    unknown = np.zeros(len(names), dtype=bool)
    for asset in np.flatnonzero(np.bincount(book.balance_asset[counted], minlength=1)):
        rule = rules.get(names[asset]) or rules.get("default")
        if rule is None or rule.stress == "none":
            continue
        leader = ruleset.data.groups.get(names[asset], names[asset])
        keep[asset] = spec is not None and bool({leader, "default"} & set(spec.underlyings))
        unknown[asset] = not keep[asset]
    if unknown.any():
        rows = np.flatnonzero(counted & unknown[book.balance_asset])
        rows = rows[np.argsort(book.balance_asset[rows], kind="stable")]

        def reason(row: int) -> RulesetError:
            name = names[int(book.balance_asset[rows[row]])]
            return RulesetError(
                f"rule-set {ruleset.id!r} stresses a balance of {name} and has no scenario "
                "parameters for it",
                code="RUL-021",
                field=f"scenarios.underlyings.{name}",
                hint="supply its price_range with --set or --params",
            )

        if faults is None:
            raise reason(0)
        faults.note(book.pool_account[book.balance_pool[rows]], reason)
    return np.flatnonzero(counted & keep[book.balance_asset])
