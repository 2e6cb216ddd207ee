"""Codes: what a row of a holding may be, in the order in which a rule-set nets.

A *code* is a contract, a balance of an asset, or what was paid for contracts settled in an
asset (cost). Codes are numbered so that everything a rule-set nets lies together: pot, group,
segment, bucket (an expiry), strike. So the place of a boundary is read off two neighbouring
codes, and a holding is sorted once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossmargin.instruments import KIND_CODE, Registry
from crossmargin.margin.fused._shapes import NotFusable
from crossmargin.margin.ruleset import Ruleset

Ints = NDArray[np.int64]

#: What a code is.
POSITION, BALANCE, STRESSED, COST = 0, 1, 2, 3

#: The group of what takes part in no scenario; after every other.
CASH = np.iinfo(np.int32).max

#: How far apart two neighbouring rows are: the coarsest level at which they differ.
SAME, STRIKE, BUCKET, SEGMENT, GROUP, POT, ACCOUNT = 0, 1, 2, 3, 4, 5, 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Codes in order, and the level ids of each.

    Attributes
    ----------
    what : int8[C]
        ``POSITION``, ``BALANCE`` (counts, moves in no scenario), ``STRESSED`` (a balance whose
        price moves with the positions) or ``COST``.
    item : int64[C]
        Instrument of a position; asset of the others.
    pot_asset : int64[pots]
        Numeraire of each kind of pot: index of an asset, -1 for US dollars.
    group_asset : int64[groups]
        Leader of each kind of group; -1 where nothing is scanned.
    pot, group, segment, bucket, strike : int32[C]
        Dense level ids; each refines the one before it.
    group_pot : int32[groups]
        Kind of pot of each kind of group.
    of_instrument : int32[n]
        Code of each instrument; -1 outside the layout.
    of_balance, of_stressed, of_cost : int32[assets]
        Codes of each asset; -1 outside the layout. `of_stressed` is `of_balance` where a
        balance is not stressed.
    """

    what: NDArray[np.int8]
    item: Ints
    pot_asset: Ints
    group_asset: Ints
    group_pot: NDArray[np.int32]
    pot: NDArray[np.int32]
    group: NDArray[np.int32]
    segment: NDArray[np.int32]
    bucket: NDArray[np.int32]
    strike: NDArray[np.int32]
    of_instrument: NDArray[np.int32]
    of_balance: NDArray[np.int32]
    of_stressed: NDArray[np.int32]
    of_cost: NDArray[np.int32]

    @property
    def size(self) -> int:
        """Number of codes."""
        return int(self.what.size)


def lay_out(registry: Registry, ruleset: Ruleset, instruments: Ints, assets: Ints) -> Layout:
    """Give the codes of a book under a rule-set their numbers.

    Parameters
    ----------
    registry : Registry
        Instruments and assets.
    ruleset : Ruleset
        Says which pots, groups and segments there are.
    instruments, assets : int64[...]
        Held as positions; held as balances.

    Raises
    ------
    NotFusable
        Where what must lie together does not: one expiry of a group settled in several assets
        under a rule-set that nets by expiry.
    """
    terms = registry.terms
    names = registry.assets
    index = {name: k for k, name in enumerate(names)}
    follow = np.array(
        [index.get(ruleset.data.groups.get(a, a), k) for k, a in enumerate(names)], dtype=np.int64
    )
    by_settlement = ruleset.data.pools.by == "settlement"
    numeraire = ruleset.data.numeraire
    one = -1 if numeraire in ("USD", "settlement") else index.get(numeraire, -1)
    by_expiry = ruleset.scan is not None and ruleset.scan.segments == "expiry"
    under = follow[terms.underlying[instruments]]
    settle = terms.settlement[instruments].astype(np.int64)
    option = terms.kind[instruments] == KIND_CODE["option"]
    expiry = terms.expiry_ns[instruments]
    strike = np.where(option, np.nan_to_num(terms.strike[instruments]), -1.0)
    netted = np.where(option, expiry, -1) if by_expiry else np.full(instruments.size, -1)
    count = instruments.size
    stressed = _stressed_assets(registry, ruleset, assets) if ruleset.scan is not None else []
    moving = np.array(stressed, dtype=np.int64)
    paid = np.unique(
        settle[np.isin(terms.kind[instruments], [KIND_CODE["perpetual"], KIND_CODE["future"]])]
    )
    # A cost is revalued with the coin it was paid in, where that coin has a group of its own.
    led = np.isin(follow[paid], under)

    def rows(what: int, asset: Ints, group: Ints) -> NDArray[np.float64]:
        pot = asset if by_settlement else np.full(asset.size, one)
        blank = np.full(asset.size, -1.0)
        inside = np.where(group == CASH, -1, asset)
        return np.stack(
            [pot, group, blank, inside, blank, blank, np.full(asset.size, what), asset], axis=1
        ).astype(np.float64)

    pot = settle if by_settlement else np.full(count, one)
    held = np.stack(
        [pot, under, netted, settle, expiry, strike,
         np.full(count, POSITION), instruments],
        axis=1,
    ).astype(np.float64)  # fmt: skip
    everything = np.concatenate(
        [
            held,
            rows(BALANCE, assets, np.full(assets.size, CASH)),
            rows(STRESSED, moving, follow[moving]),
            rows(COST, paid, np.where(led & _converted(ruleset), follow[paid], CASH)),
        ]
    )
    order = np.lexsort(everything.T[::-1])
    keys = everything[order]
    what, item = keys[:, 6].astype(np.int8), keys[:, 7].astype(np.int64)

    def ids(columns: int) -> NDArray[np.int32]:
        new = np.ones(keys.shape[0], dtype=bool)
        new[1:] = np.any(keys[1:, :columns] != keys[:-1, :columns], axis=1)
        return (np.cumsum(new) - 1).astype(np.int32)

    level = [ids(k) for k in (1, 2, 4, 5, 6)]
    _require_nested(keys)
    first_pot = np.searchsorted(level[0], np.arange(level[0][-1] + 1))
    first_group = np.searchsorted(level[1], np.arange(level[1][-1] + 1))
    group_asset = keys[first_group, 1]
    of = {
        kind: _inverse(what, item, kind, len(registry) if kind == POSITION else len(names))
        for kind in (POSITION, BALANCE, STRESSED, COST)
    }
    return Layout(
        what=what,
        item=item,
        pot_asset=keys[first_pot, 0].astype(np.int64),
        group_asset=np.where(group_asset == CASH, -1, group_asset).astype(np.int64),
        group_pot=level[0][first_group],
        pot=level[0],
        group=level[1],
        segment=level[2],
        bucket=level[3],
        strike=level[4],
        of_instrument=of[POSITION],
        of_balance=of[BALANCE],
        of_stressed=np.where(of[STRESSED] >= 0, of[STRESSED], of[BALANCE]),
        of_cost=of[COST],
    )


def _converted(ruleset: Ruleset) -> bool:
    return ruleset.scan is not None and ruleset.scan.conversion == "shocked"


def _inverse(what: NDArray[np.int8], item: Ints, kind: int, size: int) -> NDArray[np.int32]:
    out = np.full(size, -1, dtype=np.int32)
    mine = np.flatnonzero(what == kind)
    out[item[mine]] = mine
    return out


def _stressed_assets(registry: Registry, ruleset: Ruleset, assets: Ints) -> list[int]:
    """Balances whose price moves in scenarios; never a pot's own currency."""
    if ruleset.data.pools.by == "settlement":
        return []
    rules = ruleset.data.collateral.assets
    out = []
    for asset in assets.tolist():
        name = registry.assets[asset]
        rule = rules.get(name) or rules.get("default")
        if rule is not None and rule.stress != "none" and name != ruleset.data.numeraire:
            out.append(asset)
    return out


def _require_nested(keys: NDArray[np.float64]) -> None:
    """See that a (group, expiry) is in one segment, so that its buckets do not straddle two."""
    dated = keys[keys[:, 2] >= 0]
    expiries = np.unique(dated[:, :3], axis=0).shape[0]
    if np.unique(dated[:, :4], axis=0).shape[0] != expiries:
        raise NotFusable("options of one expiry are settled in several assets")
