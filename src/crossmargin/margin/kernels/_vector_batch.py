"""Vector intrinsics of the batch: rows of many accounts in two streams.

The rows of a book are of two sorts. Most of what is not an option moves in every scenario like
one unit of something else in its group, or not at all: such rows need one vector of component
lanes (`tile_parts`). Only the others need a vector sum over scenarios (`tile_scan`).

Accounts have few rows in each group and no two alike, so the end of a loop over the rows of a
record is guessed wrong nearly every time. There are two ways out. `tile_parts` is one loop over
all rows: where a sum begins anew, and where it ends, is a bit of a byte that is looked up by the
level of the row, and becomes a mask register. `tile_scan` has a loop inside a loop, but expects
records of the same make to follow each other, so that the processor learns their ends; the caller
sorts the records of a block. A masked-out sum is replaced, never multiplied by zero, so a number
that is not finite stays in its account.

The same rules as in :mod:`~crossmargin.margin.kernels._vector` hold: nothing is checked, vectors
are LLVM values, and shapes are constants at compile time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba import types
from numba.core import cgutils as _cgutils
from numba.extending import intrinsic

from crossmargin.margin.kernels._vector import LANES_F64, _count, _element
from crossmargin.margin.kernels._vector_lanes import GROUP, _Tile

cgutils: Any = _cgutils

_I8 = ir.IntType(8)
_I32 = ir.IntType(32)
_I64 = ir.IntType(64)
_BITS = ir.VectorType(ir.IntType(1), LANES_F64)

#: The level of :mod:`crossmargin.margin.fused._layout` at which a segment begins.
SEGMENT = 3

#: Quantities asked for ahead of the row at hand: memory answers within the time of so many rows.
AHEAD = 96

#: Bytes of a level in a table of bits: whether a record goes on, then by vector the lanes that go
#: on, and those that have ended.
BITS = 8
SAME_RECORD, LANES_AT = 0, 1


class _Rows(_Tile):
    """Pieces of the loops over rows; masks are bytes."""

    @property
    def nothing(self) -> Any:
        """Return a vector of zeros."""
        return ir.Constant(self.vector, [0.0] * self.lanes)

    def ahead(self, edges: Any, before: Any, k: Any) -> tuple[Any, Any, Any]:
        """Return the places in the table of bits of row k and the next, and that one's level."""
        here = self.builder.load(before)
        level = self.widened(edges, self.builder.add(k, self.number(1)))
        after = self.builder.mul(level, self.number(BITS))
        self.builder.store(after, before)
        return here, after, level

    def bits(self, data: Any, at: Any, column: int) -> Any:
        """Load a byte as a mask of lanes."""
        place = self.builder.gep(data, [self.builder.add(at, self.number(column))])
        return self.builder.bitcast(self.builder.load(place), _BITS)

    def only(self, mask: Any, value: Any) -> Any:
        """Return the value in the lanes of a mask, else 0.0: also of a NaN."""
        return self.builder.select(mask, value, self.nothing)

    def onto(self, mask: Any, before: Any, value: Any) -> Any:
        """Return before + value in the lanes of a mask, else the value alone."""
        return self.builder.select(mask, self.builder.fadd(before, value), value)

    def widened(self, data: Any, at: Any) -> Any:
        """Load an unsigned number as an index."""
        value = self.builder.load(self.builder.gep(data, [at]))
        return value if value.type == _I64 else self.builder.zext(value, _I64)

    def splat_at(self, data: Any, at: Any) -> Any:
        """Load a number into every lane."""
        return self.splat(self.builder.load(self.builder.gep(data, [at])))

    def lane(self, value: Any, lane: int) -> Any:
        """Return one lane in every lane."""
        empty = ir.Constant(self.vector, ir.Undefined)
        mask = ir.Constant(ir.VectorType(_I32, self.lanes), [lane] * self.lanes)
        return self.builder.shuffle_vector(value, empty, mask)


class _Parts:
    """Running sums and totals of the component lanes of a stream.

    Parameters
    ----------
    emit : _Rows
        Emits.
    form : pointer
        Slopes of all lanes, then sides.
    count : int
        Vectors of lanes.
    paired : bool
        Whether of the last two lanes the larger counts.
    netted : bool
        Whether any lane nets rows before it counts them; else each row counts by itself.
    """

    def __init__(self, emit: _Rows, form: Any, count: int, paired: bool, netted: bool) -> None:
        self._emit, self._count, self._paired, self._netted = emit, count, paired, netted
        self._slopes = emit.many(form, emit.number(0), count)
        self._sides = emit.many(form, emit.number(emit.lanes * count), count)
        self._sums = [emit.variable(emit.nothing) for _ in range(count)]
        self._totals = [emit.variable(emit.nothing) for _ in range(count)]

    def begin(self) -> None:
        """Begin a record."""
        for place in (*self._sums, *self._totals):
            self._emit.builder.store(self._emit.nothing, place)

    def totals(self) -> list[Any]:
        """Return the totals of the record so far."""
        return [self._emit.builder.load(place) for place in self._totals]

    def running(self, lane: int) -> Any:
        """Return the running sum of a lane, in every lane."""
        sums = self._emit.builder.load(self._sums[lane // LANES_F64])
        return self._emit.lane(sums, lane % LANES_F64)

    def add(self, weight: Any, rows: list[Any], bits: Any, here: Any, after: Any,
            same: Any = None) -> None:  # fmt: skip
        """Add a row; with a mask, to the record before it only where the mask is set."""
        emit, builder, n = self._emit, self._emit.builder, self._count
        running = []
        for v, (place, row) in enumerate(zip(self._sums, rows)):
            if self._netted:
                stays = emit.bits(bits, here, LANES_AT + v)
                x = emit.fma(weight, row, emit.only(stays, builder.load(place)))
                builder.store(x, place)
            else:
                x = builder.fmul(weight, row)
            running.append(x)
        counted = emit.counted(running, self._slopes, self._sides, self._paired)
        for v, (place, value) in enumerate(zip(self._totals, counted)):
            if self._netted:
                value = emit.only(emit.bits(bits, after, LANES_AT + n + v), value)
            before = builder.load(place)
            total = builder.fadd(before, value) if same is None else emit.onto(same, before, value)
            builder.store(total, place)


def _emit_tile_parts(
    typingctx: Any, records: Any, table: Any, codes: Any, steps: Any, quantity: Any, level: Any,
    place: Any, first: Any, last: Any, bits: Any, shape: Any, nm: Any, paired: Any, netted: Any,
) -> Any:  # fmt: skip
    """Sum the component lanes of rows ``first:last`` of whole accounts by record.

    Row k has ``steps[first] + … + steps[k]`` further than `place` in `quantity`. ``table`` has
    ``8·nm`` lanes a code. Record r takes ``records[8·nm·r:]``, and one record more is written
    over. ``bits[16·l:]`` are masks of a row of level l (see :data:`BITS`); `shape` has slopes,
    then sides. Without `netted` (a constant) every row counts by itself.
    """
    element = _element(table, quantity, records, shape)
    m, pair, nets = _count(nm), bool(paired.literal_value), bool(netted.literal_value)
    kinds = (records, table, codes, steps, quantity, level, place, first, last, bits, shape, nm,
             paired, netted)  # fmt: skip

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = _Rows(context, builder, element, m)
        target, data, code, moves, units, edges, masks, form = (
            emit.data(kinds[i], args[i]) for i in (0, 1, 2, 3, 4, 5, 9, 10)
        )
        begin, low, high = (emit.word(kinds[i], args[i]) for i in (6, 7, 8))
        width = LANES_F64 * m
        parts = _Parts(emit, form, m, pair, nets)
        at, held = emit.variable(emit.number(0)), emit.variable(begin)
        before = emit.variable(builder.mul(emit.widened(edges, low), emit.number(BITS)))
        with cgutils.for_range_slice(builder, low, high, emit.number(1)) as (k, _):
            number = emit.widened(code, k)
            here, after, level_after = emit.ahead(edges, before, k)
            unit = builder.add(builder.load(held), emit.widened(moves, k))
            builder.store(unit, held)
            weight = emit.splat_at(units, unit)
            emit.ask(units, builder.add(unit, emit.number(AHEAD)))
            rows = emit.many(data, builder.mul(number, emit.number(width)), m)
            same = emit.bits(masks, here, SAME_RECORD)
            parts.add(weight, rows, masks, here, after, same)
            emit.store(parts.totals(), target, builder.load(at))
            ended = builder.icmp_unsigned(">=", level_after, emit.number(GROUP))
            step = builder.select(ended, emit.number(width), emit.number(0))
            builder.store(builder.add(builder.load(at), step), at)
        return context.get_dummy_value()

    return types.void(*kinds), codegen


def _emit_tile_scan(
    typingctx: Any, records: Any, joins: Any, first: Any, last: Any, table: Any, codes: Any,
    offsets: Any, quantity: Any, level: Any, place: Any, row: Any, bits: Any, shape: Any,
    group_of: Any, ways: Any, figure: Any, far: Any, weights: Any, need: Any, low: Any, mode: Any,
    nv: Any, na: Any, nm: Any, paired: Any, value_lane: Any, flagged: Any, plain: Any,
    spread: Any,
) -> Any:  # fmt: skip
    """Sum scenario and component lanes of records, take the worst, and add all to the records.

    Record r of `records` (`nm` vectors each) is one of ``joins[first:last]``; the rows of these
    follow each other from `row` on, the last one before a level of a record. The quantity of row
    k is ``quantity[place + offsets[k]]``. The table has `nv` scenario vectors and `na` vectors of
    component lanes a code.

    The scenario sums of a record in group g begin with ``ways[8·nv·g:]`` times its lane `low`.
    `mode` (a constant) 0: rows net over the record, and ``figure[g]·far`` is added. 1: static
    discount. A segment with the change v counts ``v + figure[code]·max(v, 0)``, with the code of
    its last row; on the lanes where `far` is set (vectors with bits in `flagged`), less today's
    value, ``−|x|``. From the others today's value of the record is taken: times 1 on vectors in
    `plain`, times weights on those in `spread`. ``weights[16·nv·g:]`` are minus those of whole
    records, then minus those of flagged lanes; 0 where a lane is of the other sort. Today's value
    is component lane `value_lane`.

    A record's component lanes take what its rows here have; then those whose bit is set in
    ``need`` take the size of the smallest scenario lane, with its sign turned.
    """
    element = _element(table, quantity, records, shape, ways, figure, far, weights)
    n, m, wide, pair = _count(nv), _count(na), _count(nm), bool(paired.literal_value)
    kind, worth = int(mode.literal_value), int(value_lane.literal_value)
    flag_bits, plain_bits, spread_bits = (int(x.literal_value) for x in (flagged, plain, spread))
    kinds = (records, joins, first, last, table, codes, offsets, quantity, level, place, row, bits,
             shape, group_of, ways, figure, far, weights, need, low, mode, nv, na, nm, paired,
             value_lane, flagged, plain, spread)  # fmt: skip

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = _Rows(context, builder, element, n)
        arrays = (0, 1, 4, 5, 6, 7, 8, 11, 12, 13, 14, 15, 16, 17, 18)
        (target, joined, data, code, moves, units, edges, masks, form, groups, way, figures, beyond,
         weigh, takes) = (emit.data(kinds[i], args[i]) for i in arrays)  # fmt: skip
        begin, end, base, first_row, exposed = (
            emit.word(kinds[i], args[i]) for i in (2, 3, 9, 10, 19)
        )
        one, stride = emit.number(1), LANES_F64 * (n + m)
        lanes = emit.many(beyond, emit.number(0), n)
        scen = [emit.variable(emit.nothing) for _ in range(n)]
        sums = [emit.variable(emit.nothing) for _ in range(n)]
        parts = _Parts(emit, form, m, pair, True)
        k_now, before = emit.variable(first_row), emit.variable(emit.number(0))

        def add_row() -> tuple[Any, Any]:
            """Add the row at hand; return its code and the level of the next one."""
            k = builder.load(k_now)
            number = emit.widened(code, k)
            here, after, level_after = emit.ahead(edges, before, k)
            weight = emit.splat_at(units, builder.add(base, emit.widened(moves, k)))
            at = builder.mul(number, emit.number(stride))
            for place, lane in zip(scen, emit.many(data, at, n)):
                builder.store(emit.fma(weight, lane, builder.load(place)), place)
            rows = emit.many(data, builder.add(at, emit.number(LANES_F64 * n)), m)
            parts.add(weight, rows, masks, here, after)
            builder.store(builder.add(k, one), k_now)
            return number, level_after

        def close_segment(number: Any, own: Any) -> None:
            """Count the segment at hand under the static discount."""
            factor = emit.splat_at(figures, number)
            turning = emit.many(weigh, builder.add(own, emit.number(LANES_F64 * n)), n)
            for v, (place, total) in enumerate(zip(scen, sums)):
                value = builder.load(place)
                above = builder.select(
                    builder.fcmp_ordered(">", value, emit.nothing), value, emit.nothing
                )
                x = emit.fma(factor, above, value)
                if flag_bits >> v & 1:
                    change = emit.fma(turning[v], parts.running(worth), x)
                    loss = builder.fneg(emit.size(change))
                    turns = builder.fcmp_ordered("!=", lanes[v], emit.nothing)
                    mixed = (plain_bits | spread_bits) >> v & 1
                    x = builder.select(turns, loss, change) if mixed else loss
                builder.store(builder.fadd(builder.load(total), x), total)
                builder.store(emit.nothing, place)

        def worst(own: Any) -> Any:
            """Return the smallest scenario lanes of the record at hand."""
            if kind == 0:
                return emit.lowest([builder.load(place) for place in scen])
            out = [builder.load(place) for place in sums]
            now = emit.lane(parts.totals()[worth // LANES_F64], worth % LANES_F64)
            less = emit.many(weigh, own, n)
            kept = [
                emit.fma(less[v], now, x) if spread_bits >> v & 1 else x
                for v, x in enumerate(out)
                if not plain_bits >> v & 1
            ]
            alike = [x for v, x in enumerate(out) if plain_bits >> v & 1]
            if alike:
                kept.append(builder.fsub(emit.lowest(alike), now))
            return emit.lowest(kept)

        with cgutils.for_range_slice(builder, begin, end, one) as (j, _):
            k = builder.load(k_now)
            at = builder.mul(emit.widened(joined, j), emit.number(LANES_F64 * wide))
            group = builder.zext(builder.load(builder.gep(groups, [emit.widened(code, k)])), _I64)
            exposure = emit.splat_at(target, builder.add(at, exposed))
            path = emit.many(way, builder.mul(group, emit.number(LANES_F64 * n)), n)
            spare = emit.splat_at(figures, group) if kind == 0 else None
            for v, (place, total) in enumerate(zip(scen, sums)):
                start = builder.fmul(exposure, path[v])
                if kind == 0:
                    builder.store(emit.fma(spare, lanes[v], start), place)
                else:
                    builder.store(start, total)
                    builder.store(emit.nothing, place)
            parts.begin()
            own = builder.mul(group, emit.number(2 * LANES_F64 * n))
            again = builder.append_basic_block("row")
            builder.branch(again)
            builder.position_at_end(again)
            number, ahead = add_row()
            if kind != 0:
                with builder.if_then(builder.icmp_unsigned(">=", ahead, emit.number(SEGMENT))):
                    close_segment(number, own)
            done = builder.append_basic_block("record")
            builder.cbranch(builder.icmp_unsigned("<", ahead, emit.number(GROUP)), again, done)
            builder.position_at_end(done)
            loss = emit.splat(builder.fneg(emit.least([worst(own)])))
            totals = parts.totals()
            out = []
            for v, value in enumerate(emit.many(target, at, wide)):
                total = builder.fadd(value, totals[v]) if v < m else value
                out.append(builder.select(emit.bits(takes, emit.number(0), v), loss, total))
            emit.store(out, target, at)
        return context.get_dummy_value()

    return types.void(*kinds), codegen


_intrinsic = intrinsic(prefer_literal=True)

#: See :func:`_emit_tile_parts`.
tile_parts = cast("Callable[..., None]", _intrinsic(_emit_tile_parts))
#: See :func:`_emit_tile_scan`.
tile_scan = cast("Callable[..., None]", _intrinsic(_emit_tile_scan))
