"""A program in another market: its table computed anew, and what of it has changed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossmargin.margin.fused._program import Program, _assemble
from crossmargin.margin.fused._shapes import shape_of
from crossmargin.market import MarketView

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Change:
    """What differs between two programs of one layout.

    Attributes
    ----------
    groups : bool[groups]
        Groups whose records may come to something else.
    cash : bool[C]
        Codes of cash rows that are worth something else.
    pots : bool[pots]
        Kinds of pot whose numeraire is worth something else.
    """

    groups: Bools
    cash: Bools
    pots: Bools

    @property
    def any(self) -> bool:
        """Whether anything differs."""
        return bool(self.groups.any() or self.cash.any() or self.pots.any())


def in_market(program: Program, view: MarketView) -> Program:
    """Return a program in another market of the same instruments: every row anew.

    Parameters
    ----------
    program : Program
        Rules, codes and what could not be valued, which stays so.
    view : MarketView
        The market; aligned with the program's registry.
    """
    shaped = [shape_of(spec) for spec in program.ruleset.data.components]
    return _assemble(program.layout, shaped, program.units.in_market(view), program.bad)


def everything(program: Program) -> Change:
    """Return a change that touches all."""
    return Change(
        program.in_group.copy(),
        np.ones(program.layout.size, dtype=bool),
        np.ones(program.pot_usd.size, dtype=bool),
    )


def difference(old: Program, new: Program, codes: NDArray[np.int64] | None = None) -> Change:
    """Return what differs between two programs of one layout.

    Parameters
    ----------
    old, new : Program
        Before and after.
    codes : int64[K], optional
        The only codes whose rows may differ; by default all.
    """
    layout = old.layout
    if codes is None:
        rows = np.any(_differ(old.table, new.table), axis=1)
    else:
        rows = np.zeros(layout.size, dtype=bool)
        rows[codes] = np.any(_differ(old.table[codes], new.table[codes]), axis=1)
    groups = np.zeros(layout.group_asset.size, dtype=bool)
    if not _same_rules(old, new):
        groups[:] = True
    groups[layout.group[rows]] = True
    if old.weight is not new.weight:
        groups |= np.any(_differ(old.weight, new.weight), axis=1)
    segments = np.any(_differ(old.segment_terms, new.segment_terms), axis=1)
    groups[layout.group[segments[layout.segment]]] = True
    for name, (_, limits) in old.limits.items():
        groups |= limits != new.limits[name][1]
    cash = rows & ~old.in_group[layout.group]
    return Change(groups & old.in_group, cash, old.pot_usd != new.pot_usd)


def _differ(a: NDArray[np.float64], b: NDArray[np.float64]) -> Bools:
    return np.asarray((a != b) & ~(np.isnan(a) & np.isnan(b)))


def _same_rules(old: Program, new: Program) -> bool:
    """Whether what all groups have in common is the same."""
    steps = all(
        np.array_equal(getattr(getattr(old.combine, level), name),
                       getattr(getattr(new.combine, level), name))
        for level in ("im", "mm")
        for name in ("op", "column", "number")
    )  # fmt: skip
    if not steps or old.mode != new.mode:
        return False
    pairs = [(old.tail, new.tail), (old.flags, new.flags)]
    pairs += [
        (getattr(old.lanes, name), getattr(new.lanes, name))
        for name in ("masks", "close", "shape", "columns")
    ]
    return all(one is other or np.array_equal(one, other) for one, other in pairs)
