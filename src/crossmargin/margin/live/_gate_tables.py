"""What a pre-trade check reads of the market: one compiled program, laid out for single accounts.

Beside the fused table, an order needs rows of its own: what the fill of one unit gains in every
scenario without the profit so far (:func:`crossmargin.margin._scan.order_losses`), and what a
unit of money lost in the fill itself counts there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossmargin.instruments import KIND_CODE
from crossmargin.margin._scan import _rates
from crossmargin.margin.fused._combine import ADD, MAX, MUL, NUMBER, PUSH, Steps
from crossmargin.margin.fused._holdings import level_table
from crossmargin.margin.fused._layout import BALANCE, POSITION, STRESSED
from crossmargin.margin.fused._program import EQUITY_IM, LANES, Program, padded
from crossmargin.margin.fused._shapes import NotFusable, shape_of
from crossmargin.margin.kernels._vector import aligned_empty
from crossmargin.margin.live._address import block_of
from crossmargin.market import Snapshot

Floats = NDArray[np.float64]

#: Columns of `unit`: contract size, mark, 1 where a contract has value instead of profit, 1 where
#: it is inverse, fee and gross notional of a unit (settlement asset, US dollars), 1 where money is linear in it.
SIZE, MARK, VALUED, INVERSE, FEE, GROSS, LINEAR = range(7)

#: Figures in `facts`.
(
    CODES,
    GROUPS,
    SEGMENTS,
    BUCKETS,
    POTS,
    LIMITED,
    LIMIT_COLUMN,
    ROLL,
    ROLL_COLUMN,
    WORST_FILL,
    CERTAIN,
    EPOCH,
    IDLE,
) = range(13)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """One consistent market for checks; never changed once made.

    Attributes
    ----------
    program : Program
        The rules in this market.
    snapshot : Snapshot
        The market.
    epoch : int
        Number of the market; orders' losses are kept with the epoch that they belong to.
    block : int64[...]
        Addresses of `arrays`, for compiled code.
    address : int
        Address of `block`.
    arrays : tuple of arrays
        Keeps what the block points to alive.
    pot_names : tuple of str
        Name of each kind of pot.
    key : tuple
        Which compiled kernel fits: scenario vectors, sizes, buckets, pairs, orders.
    """

    program: Program
    snapshot: Snapshot
    epoch: int
    block: NDArray[np.int64]
    address: int
    arrays: tuple[NDArray[Any], ...]
    pot_names: tuple[str, ...]
    key: tuple[int, bool, bool, bool, bool]


def orders_fused(program: Program) -> str:
    """Return why resting orders of a rule-set are not computed in one pass; empty if they are."""
    if program.ruleset.data.orders.method != "worst-fill":
        return ""
    nets = 0
    for spec in program.ruleset.data.components:
        shape = shape_of(spec).shape
        if shape in ("row", "short", "worst"):
            return f"{spec.name} looks at what orders add to each contract"
        nets += shape == "net"
    if nets > 1:
        return "two components look at the net of an expiry"
    return ""


def tables_of(program: Program, snapshot: Snapshot, epoch: int) -> Tables:
    """Lay a program out for checks.

    Raises
    ------
    NotFusable
        Where resting orders need the reference engine.
    """
    reason = orders_fused(program)
    if reason:
        raise NotFusable(reason)
    layout, nv = program.layout, program.nv
    row, conv = _order_rows(program)
    limits, lane = _limits(program)
    nets = [lane_of for name, lane_of in program.lanes.bucket.items() if _is_net(program, name)]
    worst = program.ruleset.data.orders.method == "worst-fill"
    steps = program.combine.im
    buckets = int(layout.bucket[-1]) + 1
    facts = np.zeros(16, dtype=np.int64)
    facts[CODES], facts[GROUPS] = layout.size, layout.group_asset.size
    facts[SEGMENTS], facts[BUCKETS] = int(layout.segment[-1]) + 1, buckets
    facts[POTS] = layout.pot_asset.size
    facts[LIMITED], facts[ROLL] = lane, nets[0] if nets else -1
    facts[WORST_FILL], facts[EPOCH] = worst, epoch
    facts[CERTAIN] = _convex(steps) and _concave(program)
    facts[IDLE] = program.ruleset.data.collateral.stress_idle
    facts[LIMIT_COLUMN] = program.lanes.column(lane) if lane >= 0 else -1
    facts[ROLL_COLUMN] = program.lanes.column(LANES + nets[0]) if nets else -1
    stop = program.apart | program.protected
    stop[list(program.bad)] = True
    first = np.full(buckets, -1, dtype=np.int32)
    held = np.flatnonzero(layout.what == POSITION)[::-1]
    first[layout.bucket[held]] = held
    tables = program.kernel_tables()
    (flat, group_of, segment_of, scanned, kind, terms, weight, tail, turned, counted, keep, close,
     shape, columns) = tables  # fmt: skip
    arrays: tuple[NDArray[Any], ...] = tuple(
        np.ascontiguousarray(a)
        for a in (
            flat, row, conv, _units(program), level_table(layout), stop.astype(np.uint8),
            group_of.astype(np.int32), segment_of.astype(np.int32), layout.pot.astype(np.int32),
            layout.bucket.astype(np.int32), scanned.astype(np.uint8),
            program.in_group.astype(np.uint8), kind.astype(np.int64), terms.reshape(-1), weight,
            tail, turned, counted, keep, close, shape, columns, steps.op, steps.column,
            steps.number, program.pot_usd.astype(np.float64), limits, _cash(program), first,
            facts, _pot_of_segment(program),
        )
    )  # fmt: skip
    block = block_of(arrays)
    names = program.registry.assets
    return Tables(
        program=program,
        snapshot=snapshot,
        epoch=epoch,
        block=block,
        address=int(block.ctypes.data),
        arrays=arrays,
        pot_names=tuple("account" if a < 0 else names[a] for a in layout.pot_asset.tolist()),
        key=(nv, program.has_absolute, program.has_buckets, program.lanes.paired, worst),
    )


def _pot_of_segment(program: Program) -> NDArray[np.int32]:
    layout = program.layout
    first = np.searchsorted(layout.segment, np.arange(int(layout.segment[-1]) + 1))
    return layout.pot[first].astype(np.int32)


def _is_net(program: Program, name: str) -> bool:
    spec = next(c for c in program.ruleset.data.components if c.name == name)
    return shape_of(spec).shape == "net"


def _limits(program: Program) -> tuple[Floats, int]:
    """Largest net figure of each group and its linear lane; -1 without one."""
    if not program.lanes.limit:
        return np.full(program.layout.group_asset.size, np.inf), -1
    if len(program.lanes.limit) > 1:
        raise NotFusable("two components have a limit")
    ((name, lane),) = program.lanes.limit.items()
    return program.limits[name].astype(np.float64), lane


def _order_rows(program: Program) -> tuple[Floats, Floats]:
    """Rows of orders: what filling a unit gains, and what a unit of money counts, weighted."""
    layout, nv, spec = program.layout, program.nv, program.ruleset.scan
    wide = LANES * nv
    row, conv = aligned_empty((layout.size, wide)), aligned_empty((layout.size, wide))
    row[:], conv[:] = 0.0, 0.0
    if spec is None:
        return row, conv
    frame = program.units.frame
    a, book = frame.arrangement, frame.book
    index, segment = book.position_instrument, a.position_segment
    weight = frame.table.scenarios.weight[frame.group_scenario_row[a.segment_group[segment]]]
    rates = _rates(spec, frame, index, segment)
    mine = np.flatnonzero(layout.what[program.units.codes] == POSITION)
    codes = program.units.codes[mine]
    row[codes] = padded((frame.table.pnl[index] * rates * weight)[mine], nv)
    conv[codes] = padded((rates * weight)[mine], nv)
    return row, conv


def _units(program: Program) -> Floats:
    layout, frame = program.layout, program.units.frame
    terms, usd = frame.terms, frame.asset_usd_or_one
    out = aligned_empty((layout.size, LANES))
    out[:] = 0.0
    held = np.flatnonzero(layout.what == POSITION)
    item = layout.item[held]
    size = terms.contract_size[item]
    valued = np.isin(terms.kind[item], [KIND_CODE["option"], KIND_CODE["spot"]])
    one = frame.notional(item, np.ones(item.size))
    out[held, SIZE], out[held, VALUED], out[held, INVERSE] = size, valued, terms.inverse[item]
    out[held, MARK] = np.where(valued, frame.unit_value[item] / size, frame.view.price[item])
    out[held, FEE] = program.ruleset.data.orders.fee_rate * one
    out[held, GROSS] = one * usd[terms.settlement[item]]
    out[:, LINEAR] = _linear_money(program)
    owned = np.flatnonzero((layout.what == BALANCE) | (layout.what == STRESSED))
    out[owned, GROSS] = np.nan_to_num(usd[layout.item[owned]])
    return out


def _cash(program: Program) -> NDArray[np.int32]:
    """Codes of the balance and the cost that a fill of a contract moves; -1 where none."""
    layout, terms = program.layout, program.registry.terms
    out = np.full((layout.size, 2), -1, dtype=np.int32)
    held = np.flatnonzero(layout.what == POSITION)
    item = layout.item[held]
    settle = terms.settlement[item]
    out[held, 0] = layout.of_stressed[settle]
    carried = np.isin(terms.kind[item], [KIND_CODE["perpetual"], KIND_CODE["future"]])
    out[held, 1] = np.where(carried, layout.of_cost[settle], -1)
    return out


def _linear_money(program: Program) -> Floats:
    """1.0 for contracts whose fills move equity and scenario values in proportion, by code.

    So it is where profit counts the same before and after it is paid, and the money that a fill
    moves counts alike on both sides of nothing.
    """
    layout, table = program.layout, program.table
    wide = LANES * program.nv
    own = slice(0, wide + LANES)
    cash = _cash(program)
    out = np.zeros(layout.size)
    for code in np.flatnonzero(layout.what == POSITION).tolist():
        balance, cost = int(cash[code, 0]), int(cash[code, 1])
        if balance < 0 or balance in program.bad or table[balance, wide + LANES + EQUITY_IM]:
            continue
        if cost >= 0:
            a, b = table[cost, own], table[balance, own]
            scale = float(np.max(np.abs(b), initial=0.0))
            if not np.all(np.abs(a - b) <= 1e-12 * scale):
                continue
        out[code] = 1.0
    return out


def _convex(steps: Steps) -> bool:
    """Whether a requirement rises with its parts and is convex in them, as far as can be seen."""
    stack: list[float | None] = []
    for op, number in zip(steps.op.tolist(), steps.number.tolist()):
        if op in (PUSH, NUMBER):
            if op == PUSH and number < 0:
                return False
            stack.append(None if op == PUSH else number)
            continue
        if op not in (ADD, MUL, MAX):
            return False
        b, a = stack.pop(), stack.pop()
        if a is not None and b is not None:
            stack.append(a + b if op == ADD else a * b if op == MUL else max(a, b))
            continue
        known = b if a is None else a
        # A product of two parts need not be convex, one with a negative factor falls.
        if op == MUL and (known is None or known < 0):
            return False
        stack.append(None)
    return True


def _concave(program: Program) -> bool:
    """Whether what scenarios count grows ever less, apart from gains under a tail allowance."""
    kind, terms = program.segment_kind, program.segment_terms
    discounted, offset = terms[kind == 1], terms[kind == 2]
    return bool(
        np.all(discounted[:, 0] <= discounted[:, 1])
        and np.all((offset[:, 0] >= 0) & (offset[:, 0] <= 1) & (offset[:, 1:3] >= 0).all(axis=1))
    )
