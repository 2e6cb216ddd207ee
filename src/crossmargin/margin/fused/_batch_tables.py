"""What the batch of a whole book reads: two tables, masks, and numbers by kind of group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossmargin.margin.fused._directions import (
    APART,
    Roles,
    find_directions,
    lane_order,
    nets_rows,
    tied_codes,
)
from crossmargin.margin.fused._expression import (
    ALLOWANCE,
    FRESH,
    HELD,
    HELD_USD,
    LIMIT,
    ONE,
    OPENS,
    USD,
)
from crossmargin.margin.fused._kernel import ALONE, DISCOUNT
from crossmargin.margin.fused._lanes import LANES
from crossmargin.margin.fused._layout import GROUP
from crossmargin.margin.fused._program import Program
from crossmargin.margin.kernels._vector import aligned, aligned_empty
from crossmargin.margin.kernels._vector_batch import BITS, LANES_AT, SAME_RECORD

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class BatchShape:
    """Constants of the compiled batch.

    Attributes
    ----------
    nv, na, nm : int
        Vectors of scenarios; of component lanes of the scan stream; of those of a record.
    mode, value : int
        As in :class:`~crossmargin.margin.fused._kernel.Shape`.
    paired, main_paired : bool
        Whether the last two component lanes are a pair: in the scan stream, among other rows.
    netted : bool
        Whether lanes net rows of the main stream before they count them.
    flagged, plain, spread : int
        Bits of vectors: with turned scenarios, with weights all 1, with weights.
    lows : tuple of int
        Lanes of a record whose largest number is what the scan requires: the first two, or all
        four where there are tails, of the formula in `_directions`.
    """

    nv: int
    na: int
    nm: int
    mode: int
    value: int
    paired: bool
    main_paired: bool
    netted: bool
    flagged: int
    plain: int
    spread: int
    lows: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchTables:
    """Tables of a program for the batch.

    Attributes
    ----------
    roles : Roles
        How rows are split.
    shape : BatchShape
        Constants.
    main : float64[(C + 1)·8·nm]
        Component lanes; the last code is nothing.
    scan : float64[C·8·(nv + na)]
        Scenario lanes (in an order of their own) and component lanes.
    args : tuple of arrays
        What `tile_scan` reads besides: group_of, ways (directions), figure, far, weights.
    main_bits, scan_bits : uint8[8 levels · 8]
        Masks.
    main_form, scan_form : float64[...]
        Slopes and sides.
    need : uint8[nm]
        Bits of the lanes in `shape.lows`.
    kinds : float64[8·groups]
        See :data:`~crossmargin.margin.fused._expression.ONE`.
    keeps : uint8[8]
        Bits of the sums that go on, by the lower bits of a record's mark.
    """

    roles: Roles
    shape: BatchShape
    main: Floats
    scan: Floats
    args: tuple[NDArray[Any], ...]
    main_bits: NDArray[np.uint8]
    scan_bits: NDArray[np.uint8]
    main_form: Floats
    scan_form: Floats
    need: NDArray[np.uint8]
    kinds: Floats
    keeps: NDArray[np.uint8]

    def read(self) -> tuple[NDArray[Any], ...]:
        """Return what the compiled batch reads, in the order in which it reads it."""
        return (self.main, self.scan, *self.args, self.main_bits, self.scan_bits, self.main_form,
                self.scan_form, self.need)  # fmt: skip


def batch_tables(program: Program) -> BatchTables | None:
    """Return the tables of the batch; None where segments offset each other.

    There the worst scenario of a record does not follow from one exposure, and nothing would be
    won.
    """
    if program.mode not in (ALONE, DISCOUNT):
        return None
    if len(program.limits) > 1:
        return None
    short = program.segment_terms[program.layout.segment, 1]
    if program.mode == ALONE and np.any(program.segment_terms[:, 2] < 0.0):
        return None
    if program.mode == DISCOUNT and not np.all(short > 0.0):
        return None
    order = lane_order(program)
    tail, turned = program.tail[order] != 0.0, program.flags[order] != 0.0
    if program.mode == ALONE:
        turned[:] = False
    else:
        tail[:] = False
    rows = program.table[:, order]
    if program.mode == DISCOUNT:
        rows *= short[:, None]
    role, along, directions = find_directions(program, rows, turned)
    roles = Roles(role=role, tied=tied_codes(program, role))
    lows, main, nm, main_paired = _main_table(program, roles, along, directions, tail)
    lanes = program.lanes
    scan = aligned_empty(program.table.shape)
    edge = LANES * program.nv
    scan[:, :edge], scan[:, edge:] = rows, program.table[:, edge:]
    args, bits = _scan_args(program, order, directions, tail, turned)
    scan_bits, main_bits = _bits(program, lanes.vectors, ()), _bits(program, nm, lows)
    need = np.zeros(nm, dtype=np.uint8)
    for lane in lows:
        need[lane // LANES] |= 1 << (lane % LANES)
    return BatchTables(
        roles=roles,
        shape=BatchShape(
            nv=program.nv,
            na=lanes.vectors,
            nm=nm,
            mode=program.mode,
            value=max(lanes.value, 0),
            paired=lanes.paired,
            main_paired=main_paired,
            netted=nets_rows(program, role),
            flagged=bits[0],
            plain=bits[1],
            spread=bits[2],
            lows=lows,
        ),
        main=main.reshape(-1),
        scan=scan.reshape(-1),
        args=args,
        main_bits=main_bits,
        scan_bits=scan_bits,
        main_form=_form(program, nm, lows),
        scan_form=np.ascontiguousarray(lanes.shape),
        need=need,
        kinds=_kinds(program),
        keeps=_keeps(),
    )


def _main_table(
    program: Program, roles: Roles, along: Floats, directions: Floats, tail: NDArray[np.bool_]
) -> tuple[tuple[int, ...], Floats, int, bool]:
    """Return the lanes of the scan's requirement, the table of parts, its vectors, and pairs."""
    lanes, layout = program.lanes, program.layout
    width = LANES * lanes.vectors
    mine = roles.role != APART
    values = program.table[:, LANES * program.nv :]
    empty = ~np.any(np.nan_to_num(values[mine]) != 0.0, axis=0)
    pair = [width - 2, width - 1] if lanes.paired else []
    main_paired = bool(pair) and not empty[pair].all()
    read = {int(x) for x in lanes.columns[:, :2].reshape(-1)} | set(pair if main_paired else ())
    free = [lane for lane in range(width) if empty[lane] and lane not in read]
    wanted = 4 if tail.any() else 2
    nm = lanes.vectors if len(free) >= wanted else lanes.vectors + 1
    lows = (free + list(range(width, width + LANES)))[:wanted]
    table = aligned_empty((layout.size + 1, LANES * nm))
    table[:] = 0.0
    table[:-1, :width] = values
    way = directions[layout.group]
    ends = [np.full(layout.size, -1.0), way[:, ~tail].max(axis=1)]
    ends += [way[:, tail].min(axis=1), way[:, tail].max(axis=1)] if tail.any() else []
    for lane, end in zip(lows, ends):
        table[:-1, lane] = -along * end
    return tuple(lows), table, nm, main_paired


def _scan_args(
    program: Program, order: Ints, directions: Floats, tail: NDArray[np.bool_],
    turned: NDArray[np.bool_],
) -> tuple[tuple[NDArray[Any], ...], tuple[int, int, int]]:  # fmt: skip
    """Return what `tile_scan` reads besides tables, and the bits of its vectors."""
    layout, terms, nv = program.layout, program.segment_terms, program.nv
    groups = layout.group_asset.size
    weights = np.zeros((groups, 2, LANES * nv))
    if program.mode == ALONE:
        figure, far = terms[_group_segment(program), 2], tail.astype(np.float64)
    else:
        own = terms[layout.segment]
        figure, far = own[:, 0] / own[:, 1] - 1.0, turned.astype(np.float64)
        every = program.weight[:, order]
        weights[:, 0], weights[:, 1] = -every * ~turned, -every * turned
    by_vector = weights[:, 0].reshape(groups, nv, LANES)
    plain = np.all(by_vector == -1.0, axis=(0, 2))
    spread = np.any(by_vector != 0.0, axis=(0, 2)) & ~plain

    def bits(some: NDArray[np.bool_]) -> int:
        return int(sum(1 << int(k) for k in np.flatnonzero(some)))

    flagged = np.asarray(turned.reshape(nv, LANES).any(axis=1))
    figures = (layout.group, aligned(directions), figure, aligned(far), aligned(weights))
    return tuple(np.ravel(x) for x in figures), (bits(flagged), bits(plain), bits(spread))


def _group_segment(program: Program) -> Ints:
    """Return the first segment of each kind of group."""
    layout = program.layout
    first = np.searchsorted(layout.group, np.arange(layout.group_asset.size))
    return np.asarray(layout.segment[first], dtype=np.int64)


def _bits(program: Program, vectors: int, lows: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return the table of bits by level of a stream with some lanes of sums over a record."""
    lanes, width = program.lanes, LANES * program.lanes.vectors
    level = np.arange(8)[:, None]
    stays = np.repeat(level < GROUP, LANES * vectors, axis=1)
    stays[:, :width] = lanes.masks.reshape(8, -1)[:, 2 * LANES :] != 0
    ends = np.repeat(level >= GROUP, LANES * vectors, axis=1)
    ends[:, :width] = lanes.close.reshape(8, -1) != 0.0
    for lane in lows:
        stays[:, lane], ends[:, lane] = level[:, 0] < GROUP, level[:, 0] >= GROUP
    out = np.zeros((8, BITS), dtype=np.uint8)
    out[:, SAME_RECORD] = np.where(level[:, 0] < GROUP, 255, 0)
    packed = np.packbits(np.concatenate([stays, ends], axis=1), axis=1, bitorder="little")
    out[:, LANES_AT : LANES_AT + 2 * vectors] = packed
    return out.reshape(-1)


def _form(program: Program, vectors: int, lows: tuple[int, ...]) -> Floats:
    """Return slopes and sides of a stream with some lanes of sums."""
    out = np.zeros((2, LANES * vectors))
    out[0] = 1.0
    out[:, : LANES * program.lanes.vectors] = program.lanes.shape.reshape(2, -1)
    out[:, list(lows)] = np.array([[1.0], [0.0]])
    return out.reshape(-1)


def _kinds(program: Program) -> Floats:
    """Return the numbers of each kind of group."""
    layout = program.layout
    out = aligned_empty((layout.group_asset.size, LANES))
    usd, held = program.pot_usd[layout.group_pot], program.in_group
    out[:, ONE], out[:, HELD], out[:, ALLOWANCE], out[:, LIMIT] = 1.0, held, 0.0, np.inf
    out[:, USD : USD + 2] = usd[:, None]
    out[:, HELD_USD : HELD_USD + 2] = np.where(held, usd, 0.0)[:, None]
    if program.mode == ALONE:
        out[:, ALLOWANCE] = program.segment_terms[_group_segment(program), 2]
    for _, limit in program.limits.values():
        out[:, LIMIT] = limit
    return out.reshape(-1)


def _keeps() -> NDArray[np.uint8]:
    """Return the bits of sums that go on: two of pots, then four of accounts."""
    mark = np.arange(8)
    pots = np.where(mark & OPENS, 0, 0b1111)
    return (pots | np.where(mark & FRESH, 0, 0b11110000)).astype(np.uint8)
