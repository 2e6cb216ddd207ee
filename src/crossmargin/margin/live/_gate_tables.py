"""What a pre-trade check reads of the market: one compiled program, laid out for single accounts.

Beside the fused table, an order needs rows of its own: what the fill of one unit gains in every
scenario without the profit so far (:func:`crossmargin.margin._scan.order_losses`), and what a
unit of money lost in the fill itself counts there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossmargin.instruments import KIND_CODE
from crossmargin.margin._scan import _rates
from crossmargin.margin.components import Roll
from crossmargin.margin.fused._combine import ADD, MAX, MUL, NUMBER, PUSH, Steps
from crossmargin.margin.fused._holdings import level_table
from crossmargin.margin.fused._kernel import DISCOUNT
from crossmargin.margin.fused._lanes import LANES
from crossmargin.margin.fused._layout import BALANCE, COST, POSITION, STRESSED, Layout
from crossmargin.margin.fused._program import EQUITY_IM, Program
from crossmargin.margin.fused._segments import padded
from crossmargin.margin.fused._shapes import NotFusable, shape_of
from crossmargin.margin.kernels._vector import aligned, aligned_empty
from crossmargin.margin.live._address import block_of
from crossmargin.market import Snapshot

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Columns of `unit`: contract size, mark, 1 where a contract has value instead of profit, 1 where
#: it is inverse, fee and gross notional of a unit (settlement asset, US dollars), 1 where money is
#: linear in it.
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
    snapshot : callable
        Gives the market.
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
        Which compiled kernel fits: vectors of scenarios and of components, what segments count
        as, whether there is a pair of moves, the lane of today's value, and whether orders count.
    """

    program: Program
    snapshot: Callable[[], Snapshot]
    epoch: int
    block: NDArray[np.int64]
    address: int
    arrays: tuple[NDArray[Any], ...]
    pot_names: tuple[str, ...]
    key: tuple[int, int, int, bool, int, bool]


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


def key_of(program: Program) -> tuple[int, int, int, bool, int, bool]:
    """Return which compiled kernel fits a program; see :attr:`Tables.key`."""
    lanes, worst = program.lanes, program.ruleset.data.orders.method == "worst-fill"
    return program.nv, lanes.vectors, program.mode, lanes.paired, max(lanes.value, 0), worst


def tables_of(
    program: Program,
    snapshot: Callable[[], Snapshot],
    epoch: int,
    missing: tuple[Sequence[int] | Ints, Sequence[int] | Ints] = ((), ()),
) -> Tables:
    """Lay a program out for checks; who holds a missing instrument or asset is not judged.

    Raises
    ------
    NotFusable
        Where resting orders need the reference engine.
    """
    reason = orders_fused(program)
    if reason:
        raise NotFusable(reason)
    layout, lanes, steps = program.layout, program.lanes, program.combine.im
    worst = program.ruleset.data.orders.method == "worst-fill"
    limits, column = _limits(program)
    roll = _roll_column(program)
    facts = np.zeros(16, dtype=np.int64)
    facts[CODES], facts[GROUPS] = layout.size, layout.group_asset.size
    facts[SEGMENTS], facts[BUCKETS] = int(layout.segment[-1]) + 1, int(layout.bucket[-1]) + 1
    facts[POTS] = layout.pot_asset.size
    facts[LIMITED], facts[LIMIT_COLUMN] = _lane(program, column), column
    facts[ROLL], facts[ROLL_COLUMN] = _lane(program, roll), roll
    facts[WORST_FILL], facts[EPOCH] = worst, epoch
    facts[CERTAIN] = _convex(steps) and _concave(program)
    facts[IDLE] = program.ruleset.data.collateral.stress_idle
    stop = program.apart | program.protected
    stop[list(program.bad)] = True
    stop |= np.isnan(program.table).any(axis=1)
    of_position = layout.what == POSITION
    stop |= of_position & np.isin(layout.item, missing[0])
    stop |= ~of_position & np.isin(layout.item, missing[1])
    in_group = program.in_group.astype(np.uint8)
    row, conv = order_rows(program)
    arrays: tuple[NDArray[Any], ...] = (
        program.table.reshape(-1), row.reshape(-1), conv.reshape(-1), _units(program).reshape(-1),
        level_table(layout).reshape(-1), stop.astype(np.uint8), layout.group.astype(np.int32),
        layout.segment.astype(np.int32), layout.pot.astype(np.int32),
        layout.bucket.astype(np.int32), in_group * np.uint8(program.scanned), in_group,
        np.zeros(1, dtype=np.int64), aligned(program.segment_terms).reshape(-1),
        aligned(program.weight).reshape(-1), aligned(program.tail), aligned(program.flags),
        aligned(lanes.masks).reshape(-1), aligned(lanes.close).reshape(-1),
        aligned(lanes.shape).reshape(-1), np.zeros(1), lanes.columns.reshape(-1).copy(), steps.op,
        steps.column, steps.number, program.pot_usd.astype(np.float64), limits,
        cash_codes(layout, program).reshape(-1), np.zeros(1, dtype=np.int32), facts,
        _pot_of_segment(program),
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
        key=key_of(program),
    )


#: Places in a block of what prices change: table, orders' rows, money, units, terms of segments,
#: steps of the requirement (operations, columns, factors), pots, facts.
TABLE, ROW, CONV, UNIT_ROWS, TERMS, POT_USD, FACTS = 0, 1, 2, 3, 13, 25, 29
OPS, COLUMNS, NUMBERS = 22, 23, 24
#: Codes of the balance and the cost that a fill moves.
CASH = 27


def tables_at(
    old: Tables,
    program: Program,
    snapshot: Callable[[], Snapshot],
    epoch: int,
    found: tuple[Floats, Floats, Floats] | None,
) -> Tables:
    """Lay a program out that differs from another in its prices alone.

    Parameters
    ----------
    old : Tables
        The other, whose arrays are shared where prices do not matter.
    program : Program
        The new one.
    snapshot : callable
        Gives the market.
    epoch : int
        Its number.
    found : (row, conv, value)
        Rows of orders and values of units; None without scenarios.
    """
    arrays = list(old.arrays)
    facts = arrays[FACTS].copy()
    facts[EPOCH] = epoch
    value = None
    if found is not None:
        row, conv, value = found
        if facts[WORST_FILL]:
            arrays[ROW], arrays[CONV] = row.reshape(-1), conv.reshape(-1)
    arrays[TABLE], arrays[FACTS] = program.table.reshape(-1), facts
    arrays[UNIT_ROWS] = _moved_units(old, program, value).reshape(-1)
    arrays[TERMS] = aligned(program.segment_terms).reshape(-1)
    # A factor that leaves 1, such as that of a peg, brings steps that were left out before.
    steps = program.combine.im
    arrays[OPS], arrays[COLUMNS], arrays[NUMBERS] = steps.op, steps.column, steps.number
    facts[CERTAIN] = _convex(steps) and _concave(program)
    arrays[POT_USD] = program.pot_usd.astype(np.float64)
    block = block_of(arrays)
    return replace(
        old,
        program=program,
        snapshot=snapshot,
        epoch=epoch,
        block=block,
        address=int(block.ctypes.data),
        arrays=tuple(arrays),
    )


def _moved_units(old: Tables, program: Program, value: Floats | None) -> Floats:
    """Return marks, fees and notionals at other prices; the rest as it was."""
    layout, frame = program.layout, program.units.frame
    terms, usd = frame.terms, frame.asset_usd_or_one
    out = aligned(old.arrays[UNIT_ROWS]).reshape(-1, LANES)
    held = np.flatnonzero(layout.what == POSITION)
    item = layout.item[held]
    valued = out[held, VALUED] != 0.0
    mark = frame.view.price[item]
    if value is None:
        unit = frame.unit_value[item]
    else:
        unit = value[held]
    out[held, MARK] = np.where(valued, unit / out[held, SIZE], mark)
    one = frame.notional(item, np.ones(item.size))
    out[held, FEE] = program.ruleset.data.orders.fee_rate * one
    out[held, GROSS] = one * usd[terms.settlement[item]]
    owned = np.flatnonzero((layout.what == BALANCE) | (layout.what == STRESSED))
    out[owned, GROSS] = np.nan_to_num(usd[layout.item[owned]])
    return out


def _lane(program: Program, column: int) -> int:
    """Lane of a column that has one lane; -1 without a column."""
    return int(program.lanes.columns[column, 0]) if column >= 0 else -1


def _roll_column(program: Program) -> int:
    """Column of the component that nets deltas by expiry, -1 without one."""
    for spec in program.ruleset.data.components:
        if isinstance(spec, Roll):
            return int(program.combine.parts[spec.name][0][0])
    return -1


def _pot_of_segment(program: Program) -> NDArray[np.int32]:
    layout = program.layout
    first = np.searchsorted(layout.segment, np.arange(int(layout.segment[-1]) + 1))
    return layout.pot[first].astype(np.int32)


def _limits(program: Program) -> tuple[Floats, int]:
    """Largest net figure of each group and its column; -1 without one."""
    if not program.limits:
        return np.full(program.layout.group_asset.size, np.inf), -1
    if len(program.limits) > 1:
        raise NotFusable("two components have a limit")
    ((column, limits),) = program.limits.values()
    return limits.astype(np.float64), column


def order_rows(program: Program) -> tuple[Floats, Floats]:
    """Rows of orders: what filling a unit gains, and what a unit of money counts, weighted."""
    layout, nv, spec = program.layout, program.nv, program.ruleset.scan
    wide = LANES * nv
    row, conv = aligned_empty((layout.size, wide)), aligned_empty((layout.size, wide))
    row[:], conv[:] = 0.0, 0.0
    if spec is None or program.ruleset.data.orders.method != "worst-fill":
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


def cash_codes(layout: Layout, program: Program) -> NDArray[np.int32]:
    """Codes of the balance and the cost that a fill of a contract moves; -1 where none.

    What was paid stands in a row of its own, also where it is worth what a balance is: a balance
    has to be told from profit that was not paid yet.
    """
    terms = program.registry.terms
    out = np.full((layout.size, 2), -1, dtype=np.int32)
    held = np.flatnonzero(layout.what == POSITION)
    item = layout.item[held]
    settle = terms.settlement[item]
    out[held, 0] = layout.of_stressed[settle]
    carried = np.isin(terms.kind[item], [KIND_CODE["perpetual"], KIND_CODE["future"]])
    out[held, 1] = np.where(carried, cost_codes(layout, program)[settle], -1)
    return out


def cost_codes(layout: Layout, program: Program) -> NDArray[np.int64]:
    """Code of what was paid in each asset; -1 where nothing is paid in it."""
    out = np.full(len(program.registry.assets), -1, dtype=np.int64)
    paid = np.flatnonzero(layout.what == COST)
    out[layout.item[paid]] = paid
    return out


def _linear_money(program: Program) -> Floats:
    """1.0 for contracts whose fills move equity and scenario values in proportion, by code.

    So it is where profit counts the same before and after it is paid, and the contract and the
    money that its fill moves count alike on both sides of nothing.
    """
    layout, table = program.layout, program.table
    cash = cash_codes(layout, program)
    _, second, _ = program.lanes.columns[EQUITY_IM].tolist()
    sided = np.zeros(layout.size, dtype=bool)
    if second >= 0:
        sided = table[:, LANES * program.nv + second] != 0.0
    out = np.zeros(layout.size)
    for code in np.flatnonzero(layout.what == POSITION).tolist():
        balance, cost = int(cash[code, 0]), int(cash[code, 1])
        if balance < 0 or sided[balance] or sided[code]:
            continue
        if cost >= 0:
            a, b = table[cost], table[balance]
            scale = float(np.max(np.abs(b), initial=0.0))
            if sided[cost] or not np.all(np.abs(a - b) <= 1e-12 * scale):
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
    terms = program.segment_terms
    if program.mode == DISCOUNT:
        return bool(np.all(terms[:, 0] <= terms[:, 1]))
    return bool(np.all((terms[:, 0] >= 0) & (terms[:, 0] <= 1) & (terms[:, 1:3] >= 0).all(axis=1)))
