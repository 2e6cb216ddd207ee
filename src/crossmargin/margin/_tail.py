"""The tail of a pot: positions × scenarios of all coins together, then expected shortfall.

The two steps of every scenario method, over a pot as a whole: V_g,s is what the positions and
coins of group g gain in scenario s; shortfalls are those of Σ_g V_g and of each V_g. Breaking
dependence is taking the scenarios of each group in another order, so it needs no second table.

Source: clearing-practice §1.6 (filtered historical simulation, published), §6 (house model).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from crossmargin.errors import invariant
from crossmargin.instruments import KIND_CODE
from crossmargin.margin._frame import Frame, sum_by
from crossmargin.margin._scan import capped_losses
from crossmargin.margin._tail_law import (
    Legs,
    Shortfalls,
    legs_of,
    orders_of,
    shortfalls_of,
    stacked,
)
from crossmargin.margin._tail_rows import (
    TailGroups,
    TailRows,
    TailUnits,
    group_vectors,
    order_losses,
    require_known,
    spec_of,
    tail_groups,
    tail_rows,
    tail_units,
)
from crossmargin.margin.components import TailLeg
from crossmargin.scenarios import (
    TailSpec,
)
from crossmargin.stats import (
    tail_weights,
)

if TYPE_CHECKING:
    from crossmargin.margin._stages import Stage

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Pots done at a time: what they need in between stays in the processor's cache, nearly.
_POTS = 128


@dataclass(frozen=True, slots=True)
class PotPart:
    """A component of pots with shares.

    Attributes
    ----------
    im, mm : float64[P]
        In the pot's numeraire.
    share_im, share_mm : float64[N]
        ``q·∂/∂q`` by position.
    balance_im, balance_mm : float64[B]
        The same by balance.
    """

    im: Floats
    mm: Floats
    share_im: Floats
    share_mm: Floats
    balance_im: Floats
    balance_mm: Floats


@dataclass(frozen=True, slots=True)
class TailLevel:
    """The tail at one confidence.

    Attributes
    ----------
    shortfalls : Shortfalls
        Of every pot and group.
    legs : Legs
        What they come to.
    cap : float64[P]
        What a pot that owns options and spot only is spared, at most 0.
    binding : int64[P]
        Which broken dependence was worst; -1 for none.
    share, balance_share : float64[N], float64[B]
        By position and balance.
    """

    shortfalls: Shortfalls
    legs: Legs
    cap: Floats
    binding: Ints
    share: Floats
    balance_share: Floats


def measured(stage: Stage) -> tuple[TailLevel, TailLevel]:
    """Return the tail for initial and for maintenance margin; once for all legs of a stage."""
    if "tail" not in stage.scratch:
        stage.scratch["tail"] = _measure(stage)
    found: tuple[TailLevel, TailLevel] = stage.scratch["tail"]
    return found


def _measure(stage: Stage) -> tuple[TailLevel, TailLevel]:
    frame = stage.frame
    spec = spec_of(frame.ruleset)
    invariant(frame.ruleset.data.numeraire == "USD", "a tail is measured in US dollars")
    units, groups = tail_units(frame, spec), tail_groups(frame)
    require_known(frame, units, spec, groups)
    rows = tail_rows(frame, groups, stage.quantity, stage.amount)
    pots = frame.arrangement.pots
    worse = None
    if stage.orders and frame.book.leg_order.size:
        loss, order, place = order_losses(frame, units, groups)
        worse = capped_losses(frame, loss, order, place, groups.pot)
    wanted = frame.shares and worse is None
    found = [
        _Level(spec, groups, pots, level, wanted, stage) for level in (spec.level_im, spec.level_mm)
    ]
    only = None
    if frame.memo.get("large book") and not frame.shares:
        _compiled(frame, spec, units, groups, rows, found)
        if worse is None:
            return found[0].result(frame, rows), found[1].result(frame, rows)
        # Pots with orders need their scenarios one by one.
        only = np.zeros(pots, dtype=np.bool_)
        only[groups.pot[groups.leg]] = True
    edge = np.searchsorted(groups.pot, np.arange(0, pots + _POTS, _POTS))
    by_group = np.argsort(rows.group, kind="stable")
    at = np.searchsorted(rows.group[by_group], edge)
    for k in range(edge.size - 1):
        first, last = int(edge[k]), int(edge[k + 1])
        low, high = k * _POTS, min((k + 1) * _POTS, pots)
        if first == last or (only is not None and not only[low:high].any()):
            continue
        mine = by_group[at[k] : at[k + 1]]
        v = group_vectors(units, rows, mine, first, last)
        if worse is not None:
            v -= worse[first:last]
        block = _Block(units, groups, v, slice(first, last), slice(low, high))
        for one, (values, binding) in zip(found, block.shortfalls(spec)):
            one.take(block, values, binding, rows, mine, only)
    return found[0].result(frame, rows), found[1].result(frame, rows)


def _compiled(
    frame: Frame,
    spec: TailSpec,
    units: TailUnits,
    groups: TailGroups,
    rows: TailRows,
    found: list[_Level],
) -> None:
    """Measure all pots by the compiled kernel, without orders and without shares."""
    from crossmargin.margin._tail_compiled import compiled_shortfalls, tail_tables

    tables = frame.once_here(
        "tail tables",
        lambda: tail_tables(
            units.rows,
            units.edges,
            units.sets.order,
            frame.terms.underlying.astype(np.int64),
            units.coin,
        ),
    )
    coin = units.coin[groups.asset[rows.group]]
    done = compiled_shortfalls(
        spec,
        tables,
        tables.codes(rows.unit, coin),
        rows.size,
        rows.group,
        groups.pot,
        frame.arrangement.pots,
    )
    for one, (values, binding) in zip(found, done):
        one.binding[:] = binding
        one.pot[:] = values.base, values.stress, values.long, values.broken
        one.own[:] = values.own_base, values.own_stress, values.own_long


@dataclass(frozen=True, slots=True)
class _Block:
    """Some pots and their groups: profit and loss ``[G, C]`` of the groups."""

    units: TailUnits
    groups: TailGroups
    vectors: Floats
    rows: slice
    pots: slice

    @property
    def pot(self) -> Ints:
        """Pot of each group, from 0."""
        return np.asarray(self.groups.pot[self.rows] - self.pots.start)

    @property
    def coin(self) -> Ints:
        """Row of each group's coin among those of the history, or -1."""
        return self.units.coin[self.groups.asset[self.rows]]

    @property
    def parts(self) -> tuple[Floats, Floats, Floats]:
        """Groups' vectors: filtered, stressed, at long volatility."""
        a, b, c = self.units.edges
        return self.vectors[:, :a], self.vectors[:, b:c], self.vectors[:, a:b]

    def summed(self, part: Floats) -> Floats:
        """Return a part's sums by pot."""
        return sum_by(np.ascontiguousarray(part), self.pot, self.pots.stop - self.pots.start)

    @property
    def sums(self) -> tuple[Floats, Floats, Floats]:
        """Pots' vectors, as `parts`."""
        x, y, z = (self.summed(part) for part in self.parts)
        return x, y, z

    def shortfalls(self, spec: TailSpec) -> list[tuple[Shortfalls, Ints]]:
        """Return the shortfalls of the pots at both confidences."""
        order = self.units.sets.order
        return shortfalls_of(spec, self.parts, self.sums, self.pot, self.coin, order)


class _Level:
    """The tail at one confidence, gathered block by block."""

    def __init__(
        self,
        spec: TailSpec,
        groups: TailGroups,
        pots: int,
        level: float,
        shares: bool,
        stage: Stage,
    ) -> None:
        self.spec, self.groups, self.level = spec, groups, level
        self.shares, self.stage = shares, stage
        self.pot = np.zeros((4, pots))
        self.own = np.zeros((3, groups.pot.size))
        self.binding = np.full(pots, -1, dtype=np.int64)
        size = stage.quantity.size, stage.amount.size
        self.share, self.balance_share = np.zeros(size[0]), np.zeros(size[1])

    def take(
        self,
        block: _Block,
        found: Shortfalls,
        binding: Ints,
        rows: TailRows,
        mine: Ints,
        only: NDArray[np.bool_] | None = None,
    ) -> None:
        """Take the shortfalls of some pots (of `only` some), and share them out where wanted."""
        whole = np.stack([found.base, found.stress, found.long, found.broken])
        own = np.stack([found.own_base, found.own_stress, found.own_long])
        if only is not None:
            pots, groups = only[block.pots], only[self.groups.pot[block.rows]]
            binding = np.where(pots, binding, self.binding[block.pots])
            whole = np.where(pots, whole, self.pot[:, block.pots])
            own = np.where(groups, own, self.own[:, block.rows])
        self.binding[block.pots] = binding
        self.pot[:, block.pots], self.own[:, block.rows] = whole, own
        if self.shares:
            self._share(block, found, binding, rows, mine)

    def _share(
        self, block: _Block, found: Shortfalls, binding: Ints, rows: TailRows, mine: Ints
    ) -> None:
        """Add ``−Σ_c ω_g,c·row_c`` for every row: ω is the weight of each column by group."""
        legs = legs_of(self.spec, found)
        of, parts = block.pot, block.parts
        whole = (found.base, found.stress, found.long)
        own = (found.own_base, found.own_stress, found.own_long)
        weight = []
        for k, (part, total) in enumerate(zip(parts, block.sums)):
            live = np.where(whole[k] > 0, legs.slope[k], 0.0)
            w = (live[:, None] * tail_weights(total, self.level))[of]
            alone = np.where(own[k] > 0, legs.own_slope[k], 0.0)
            if alone.any():
                w = w + alone[:, None] * tail_weights(part, self.level)
            weight.append(w)
        for k in np.unique(binding).tolist():
            here = (binding == k) * legs.slope[3]
            if k < 0 or not here.any():
                continue
            order = orders_of(parts[0], block.coin, block.units.sets.order[k])
            total = block.summed(np.take_along_axis(parts[0], order, axis=1))
            back = np.zeros_like(parts[0])
            w = (here[:, None] * tail_weights(total, self.level))[of]
            np.put_along_axis(back, order, w, axis=1)
            weight[0] = weight[0] + back
        every = np.concatenate([weight[0], weight[2], weight[1]], axis=1)
        group = rows.group[mine] - block.rows.start
        part_of = -rows.size[mine] * np.einsum(
            "ij,ij->i", block.units.rows[rows.unit[mine]], every[group]
        )
        held = rows.position[mine] >= 0
        np.add.at(self.share, rows.position[mine[held]], part_of[held])
        np.add.at(self.balance_share, rows.balance[mine[~held]], part_of[~held])

    def result(self, frame: Frame, rows: TailRows) -> TailLevel:
        """Return the whole, with the cap on pots that own options and spot only."""
        found = stacked(self.pot, self.own, self.groups.pot)
        legs = legs_of(self.spec, found)
        there = {c.leg for c in frame.ruleset.data.components if isinstance(c, TailLeg)}
        cap = np.zeros(legs.total.size)
        if "cap" in there:
            cap = self._cap(frame, rows, legs.total)
        return TailLevel(found, legs, cap, self.binding, self.share, self.balance_share)

    def _cap(self, frame: Frame, rows: TailRows, total: Floats) -> Floats:
        """Return what pots that can lose no more than they own would be charged beyond it."""
        stage, book, a = self.stage, frame.book, frame.arrangement
        live = ~frame.view.settled[book.position_instrument] & (stage.quantity != 0.0)
        kinds = [KIND_CODE["option"], KIND_CODE["spot"]]
        owned = np.isin(frame.terms.kind[book.position_instrument], kinds) & (stage.quantity > 0)
        free = np.ones(a.pots, dtype=np.bool_)
        free[a.position_pot[live & ~owned]] = False
        free[a.balance_pot[stage.amount < 0]] = False
        if stage.orders:
            free[a.group_pot[a.leg_group]] = False
        _, value = frame.position_values(stage.quantity)
        of_position = value * frame.position_rate
        n = stage.quantity.size
        coins = rows.size[2 * n :]
        pot = self.groups.pot[rows.group[2 * n :]]
        most = sum_by(of_position, a.position_pot, a.pots) + sum_by(coins, pot, a.pots)
        level = "im" if self.level == self.spec.level_im else "mm"
        plain = [c.name for c in frame.ruleset.data.components if not c.dimensionless]
        parts = [stage.parts[name] for name in plain if name in stage.parts]
        charges = sum_by(
            np.asarray(sum((getattr(p, level) for p in parts), np.zeros(a.groups))),
            a.group_pot,
            a.pots,
        )
        cap = np.where(free, np.minimum(most - (total + charges), 0.0), 0.0)
        hit = np.flatnonzero(cap < 0)
        if self.shares and hit.size:
            at = np.zeros(a.pots, dtype=np.bool_)
            at[hit] = True
            mine = at[a.position_pot]
            taken = np.zeros(n)
            for p in parts:
                taken = taken + getattr(p, f"share_{level}")
            self.share[mine] = of_position[mine] - taken[mine]
            b = rows.balance[2 * n :]
            own = at[a.balance_pot[b]]
            self.balance_share[b[own]] = coins[own]
        return cap


def run_tail(spec: TailLeg, stage: Stage) -> PotPart:
    """One leg; the shares of all of them stand with the base."""
    im, mm = measured(stage)
    n, b = stage.quantity.size, stage.amount.size

    def value(level: TailLevel) -> Floats:
        return level.cap if spec.leg == "cap" else level.legs.value[spec.leg]

    if spec.leg != "base":
        none, nothing = np.zeros(n), np.zeros(b)
        return PotPart(value(im), value(mm), none, none, nothing, nothing)
    return PotPart(value(im), value(mm), im.share, mm.share, im.balance_share, mm.balance_share)
