"""Directions: codes of a group that move in all scenarios as multiples of one vector.

Most codes that are no option move in all scenarios like a multiple of one vector, the *direction*
of their group: a perpetual, a future, a coin, what was paid in a coin. What a record of such rows
loses at worst follows from one number, its exposure d along the direction:

    worst = min over scenarios s of d·u[s] + a·tail[s]
          = −max(−d·min u, −d·max u, −d·min u_tail − a, −d·max u_tail − a)

with the first two over the scenarios that are not tails, a ≥ 0 the allowance of tail scenarios.
Each of the four is linear in the rows, so it is a component lane. The direction is scaled so that
its smallest number is −1: the first lane is then the exposure itself, with which the scenario sums
of a record that has other rows too begin. Source: house, it is arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossmargin.instruments import KIND_CODE
from crossmargin.margin.fused._kernel import ALONE, DISCOUNT
from crossmargin.margin.fused._lanes import LANES
from crossmargin.margin.fused._layout import BUCKET, POSITION
from crossmargin.margin.fused._program import Program

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: What a code is to the batch: it moves in no scenario; along its group's direction; otherwise.
STILL, ALONG, APART = 0, 1, 2

#: How far a row may be off its direction, relative to its largest number. Rows of one direction
#: come from the same prices by different roads and differ by roundings: a few 1e-16 each.
COLLINEAR = 1e-14


@dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """How codes are split; a layout of rows holds for every market with the same roles.

    Attributes
    ----------
    role : uint8[C]
        ``STILL``, ``ALONG`` or ``APART``.
    tied : bool[C]
        Codes of the first two kinds that a lane nets within a bucket, with whatever is there.
    """

    role: NDArray[np.uint8]
    tied: NDArray[np.bool_]

    def same(self, other: Roles) -> bool:
        """Whether rows are split alike under both."""
        return np.array_equal(self.role, other.role) and np.array_equal(self.tied, other.tied)


def lane_order(program: Program) -> Ints:
    """Return scenario lanes so that alike ones share vectors: plain, weighted, tail or turned.

    Lanes that fill up the last vector repeat a lane; they may as well repeat the last one of its
    sort, so that as many vectors as possible are of one sort.
    """
    scenarios = program.units.frame.table.scenarios if program.scanned else None
    real = 1 if scenarios is None else scenarios.extended.size
    weighted = np.any(program.weight[:, :real] != 1.0, axis=0) & (program.mode == DISCOUNT)
    special = (program.flags if program.mode == DISCOUNT else program.tail)[:real] != 0.0
    sort = np.where(special, 2, weighted.astype(np.int64))
    spare = LANES * program.nv - real
    out: list[int] = []
    for k in range(3):
        mine = np.flatnonzero(sort == k).tolist()
        out += mine
        gap = -len(out) % LANES
        if mine and 0 < gap <= spare:
            out += mine[-1:] * gap
            spare -= gap
    out += out[-1:] * (LANES * program.nv - len(out))
    return np.array(out, dtype=np.int64)


def find_directions(
    program: Program, rows: Floats, turned: NDArray[np.bool_]
) -> tuple[NDArray[np.uint8], Floats, Floats]:
    """Return roles, the exposure of one unit of each code, and the directions of groups."""
    layout, groups = program.layout, program.layout.group_asset.size
    quiet = program.tail[lane_order(program)] == 0.0 if program.mode == ALONE else ~turned
    moving = np.any(rows != 0.0, axis=1)
    role = np.where(moving, APART, STILL).astype(np.uint8)
    along, directions = np.zeros(layout.size), np.zeros((groups, rows.shape[1]))
    kinds = program.registry.terms.kind[np.where(layout.what == POSITION, layout.item, 0)]
    option = (layout.what == POSITION) & (kinds == KIND_CODE["option"])
    able = moving & ~option & np.isfinite(rows).all(axis=1)
    able &= ~np.any(rows[:, turned] != 0.0, axis=1)
    if program.mode == DISCOUNT:
        terms = program.segment_terms[layout.segment]
        able &= (terms[:, 0] == 1.0) & (terms[:, 1] == 1.0)
        able &= program.lanes.coefficient[:, program.lanes.value] == 0.0
    for g in np.flatnonzero(program.in_group).tolist():
        mine = np.flatnonzero((layout.group == g) & able)
        if not mine.size:
            continue
        way = rows[mine[0]]
        low, high = way[quiet].min(), way[quiet].max()
        if low >= 0.0 >= high:
            continue
        way = way / (-low if low < 0.0 else -high)
        top = int(np.argmax(np.abs(way)))
        share = rows[mine, top] / way[top]
        off = np.abs(rows[mine] - share[:, None] * way).max(axis=1)
        good = off <= COLLINEAR * np.abs(rows[mine]).max(axis=1)
        role[mine[good]], along[mine[good]] = ALONG, share[good]
        directions[g] = way
    return role, along, directions


def nets_rows(program: Program, role: NDArray[np.uint8]) -> bool:
    """Whether a lane nets codes of the main stream with each other, and not just adds them up."""
    lanes, layout = program.lanes, program.layout
    _, side = lanes.shape.reshape(2, -1)
    close = lanes.close.reshape(8, -1) != 0.0
    mine = role != APART
    for lane in np.flatnonzero((side != 0.0) & ~close[0]).tolist():
        some = mine & (np.nan_to_num(lanes.coefficient[:, lane]) != 0.0)
        if not some.any():
            continue
        # Lanes that net run over a bucket or a part of it.
        if not close[BUCKET, lane] or np.unique(layout.bucket[some]).size != some.sum():
            return True
    return False


def tied_codes(program: Program, role: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return which codes outside the scan stream are netted within buckets by some lane."""
    lanes = program.lanes
    close = lanes.close.reshape(8, -1) != 0.0
    # A lane that nets a bucket does not end with a row, but before the group does.
    netted = ~close[0] & close[BUCKET]
    some = np.any(np.nan_to_num(program.lanes.coefficient[:, netted]) != 0.0, axis=1)
    return np.asarray((role != APART) & some)
