"""A program in another market: its table computed anew, and what of it has changed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from crossmargin.errors import CrossmarginError, MarginError
from crossmargin.margin._faults import Faults
from crossmargin.margin.fused._layout import COST
from crossmargin.margin.fused._program import Program, _assemble
from crossmargin.margin.fused._shapes import shape_of
from crossmargin.margin.fused._units import Units
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

    def __or__(self, other: Change) -> Change:
        """Return what either touches."""
        return Change(self.groups | other.groups, self.cash | other.cash, self.pots | other.pots)

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
    units, layout = program.units, program.layout
    faults = Faults(units.codes.size)
    frame = replace(units.frame, view=view, faults=faults)
    missing = np.setdiff1d(np.flatnonzero(layout.what != COST), units.codes)
    unknown = MarginError("it cannot be valued", code="MRG-030")
    bad: dict[int, CrossmarginError] = {
        code: program.bad.get(code, unknown) for code in missing.tolist()
    }
    with np.errstate(all="ignore"):
        return _assemble(layout, shaped, Units(units.codes, frame, units.entry), bad, faults)


def same_codes(one: Program, other: Program) -> bool:
    """Whether holdings laid out for one program are laid out for the other."""
    return all(
        np.array_equal(getattr(one.layout, name), getattr(other.layout, name))
        for name in ("what", "item", "of_cost")
    ) and joined_costs(other)


def joined_costs(program: Program) -> bool:
    """Whether costs that stand in the rows of balances are still worth what these are."""
    layout = program.layout
    for code in np.flatnonzero(layout.what == COST).tolist():
        at = int(layout.of_cost[layout.item[code]])
        # Both are quotients of prices: alike to rounding.
        if at != code and not np.allclose(program.table[code], program.table[at], rtol=1e-12):
            return False
    return True


def everything(program: Program) -> Change:
    """Return a change that touches all."""
    return Change(
        program.in_group.copy(),
        np.ones(program.layout.size, dtype=bool),
        np.ones(program.pot_usd.size, dtype=bool),
    )


def nothing(program: Program) -> Change:
    """Return a change that touches nothing."""
    return Change(
        np.zeros(program.in_group.size, dtype=bool),
        np.zeros(program.layout.size, dtype=bool),
        np.zeros(program.pot_usd.size, dtype=bool),
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
