"""Vector intrinsics of the batch: rows of many accounts in two streams, without a branch.

The rows of a book are of two sorts. Most of what is not an option moves in every scenario like
one unit of something else in its group, or not at all: such rows need one vector of component
lanes (`tile_parts`). Only the others need a vector sum over scenarios (`tile_scan`). As in
:mod:`~crossmargin.margin.kernels._vector_lanes` one loop runs over all rows: where a sum begins
anew, and where it ends, is a bit of a byte that is looked up by the level of the row, and becomes
a mask register of the processor. A masked-out sum is replaced, never multiplied by zero, so a
number that is not finite stays in its account.

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

#: Bytes of a level in a table of bits: whether a segment goes on, whether a record goes on,
#: whether a segment has ended, then by vector the lanes that go on, and those that have ended.
BITS = 16
GOES_ON, SAME_RECORD, ENDED, LANES_AT = 0, 1, 2, 3


class _Rows(_Tile):
    """Pieces of the loops over rows; masks are bytes."""

    def bits(self, data: Any, at: Any, column: int) -> Any:
        """Load a byte as a mask of lanes."""
        place = self.builder.gep(data, [self.builder.add(at, self.number(column))])
        return self.builder.bitcast(self.builder.load(place), _BITS)

    def only(self, mask: Any, value: Any) -> Any:
        """Return the value in the lanes of a mask, else 0.0: also of a NaN."""
        return self.builder.select(mask, value, ir.Constant(self.vector, [0.0] * self.lanes))

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
        nothing = ir.Constant(emit.vector, [0.0] * emit.lanes)
        self._slopes = emit.many(form, emit.number(0), count)
        self._sides = emit.many(form, emit.number(emit.lanes * count), count)
        self._sums = [emit.variable(nothing) for _ in range(count)]
        self._totals = [emit.variable(nothing) for _ in range(count)]

    def add(
        self, weight: Any, rows: list[Any], bits: Any, here: Any, after: Any
    ) -> tuple[list[Any], list[Any]]:
        """Add a row; return running sums and the totals of the record so far."""
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
        same = emit.bits(bits, here, SAME_RECORD)
        totals = []
        for v, (place, value) in enumerate(zip(self._totals, counted)):
            if self._netted:
                value = emit.only(emit.bits(bits, after, LANES_AT + n + v), value)
            total = emit.onto(same, builder.load(place), value)
            builder.store(total, place)
            totals.append(total)
        return running, totals


def _levels(emit: _Rows, edges: Any, before: Any, k: Any) -> tuple[Any, Any, Any]:
    """Return the places in the table of bits of a row and of the next one, and whether it ends."""
    builder = emit.builder
    here = builder.load(before)
    level = emit.widened(edges, builder.add(k, emit.number(1)))
    after = builder.mul(level, emit.number(BITS))
    builder.store(after, before)
    return here, after, builder.icmp_unsigned(">=", level, emit.number(GROUP))


def _move_on(emit: _Rows, place: Any, ended: Any, width: int) -> None:
    """Move a place on by a record where one has ended."""
    builder = emit.builder
    step = builder.select(ended, emit.number(width), emit.number(0))
    builder.store(builder.add(builder.load(place), step), place)


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
            here, after, ended = _levels(emit, edges, before, k)
            unit = builder.add(builder.load(held), emit.widened(moves, k))
            builder.store(unit, held)
            weight = emit.splat_at(units, unit)
            rows = emit.many(data, builder.mul(number, emit.number(width)), m)
            _, totals = parts.add(weight, rows, masks, here, after)
            emit.store(totals, target, builder.load(at))
            _move_on(emit, at, ended, width)
        return context.get_dummy_value()

    return types.void(*kinds), codegen


def _emit_tile_scan(
    typingctx: Any, found: Any, table: Any, codes: Any, steps: Any, quantity: Any, level: Any,
    place: Any, first: Any, last: Any, ways: Any, records: Any, joins: Any, join: Any, low: Any,
    nm: Any, bits: Any, shape: Any, figure: Any, far: Any, weights: Any, group_of: Any, mode: Any,
    nv: Any, na: Any, paired: Any, value_lane: Any, tails: Any, flagged: Any, plain: Any,
    spread: Any,
) -> Any:  # fmt: skip
    """Sum scenario and component lanes of rows ``first:last``, and take the worst lanes.

    The table has `nv` scenario vectors and `na` vectors of component lanes a code. Quantities are
    found as by `tile_parts`; but codes from `ways` on are directions, whose quantity is lane `low`
    of the record ``joins[join + r]`` in `records` (of `nm` vectors). Scan record r takes ``found[8(1 + na)·r:]``: the smallest
    of its scenario vectors, lane by lane, then its component lanes; one record more is written
    over.

    `mode` (a constant) 0: rows net over a record; ``figure[code]`` times `far` is added on the
    vectors whose bits are set in `tails`. 1: static discount. A segment with the change v counts
    ``v + figure[code]·max(v, 0)``; on the lanes where `far` is set (vectors with bits in
    `flagged`), less today's value, ``−|x|``. From the others today's value of the record is taken:
    times 1 on vectors in `plain`, times the weights of its group on those in `spread`.
    ``weights[16·nv·group:]`` are minus those of whole records, then minus those of flagged lanes;
    0 where a lane is of the other sort. Today's value is component lane `value_lane`.
    """
    element = _element(table, quantity, found, records, shape, figure, far, weights)
    n, m, pair = _count(nv), _count(na), bool(paired.literal_value)
    kind, worth = int(mode.literal_value), int(value_lane.literal_value)
    tail_bits, flag_bits, plain_bits, spread_bits = (
        int(x.literal_value) for x in (tails, flagged, plain, spread)
    )
    kinds = (found, table, codes, steps, quantity, level, place, first, last, ways, records, joins,
             join, low, nm, bits, shape, figure, far, weights, group_of, mode, nv, na, paired,
             value_lane, tails, flagged, plain, spread)  # fmt: skip
    block = LANES_F64 * _count(nm)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = _Rows(context, builder, element, n)
        target, data, code, moves, units, edges, made, joined = (
            emit.data(kinds[i], args[i]) for i in (0, 1, 2, 3, 4, 5, 10, 11)
        )
        masks, form, figures, beyond, weigh, groups = (
            emit.data(kinds[i], args[i]) for i in range(15, 21)
        )
        begin, low_row, high, first_way, first_join, lane_low = (
            emit.word(kinds[i], args[i]) for i in (6, 7, 8, 9, 12, 13)
        )
        nothing = ir.Constant(emit.vector, [0.0] * LANES_F64)
        lanes = [emit.many(beyond, emit.number(LANES_F64 * v), 1)[0] for v in range(n)]
        scen = [emit.variable(nothing) for _ in range(n)]
        sums = [emit.variable(nothing) for _ in range(n)]
        parts = _Parts(emit, form, m, pair, True)
        at, held = emit.variable(emit.number(0)), emit.variable(begin)
        record = emit.variable(first_join)
        before = emit.variable(builder.mul(emit.widened(edges, low_row), emit.number(BITS)))
        stride, width = LANES_F64 * (n + m), LANES_F64 * (1 + m)

        def held_of(k: Any, number: Any, ended: Any) -> Any:
            """Return the quantity of a row: of the holdings, or the exposure of its record."""
            unit = builder.add(builder.load(held), emit.widened(moves, k))
            builder.store(unit, held)
            r = builder.load(record)
            builder.store(builder.add(r, builder.zext(ended, _I64)), record)
            exposure = builder.mul(emit.widened(joined, r), emit.number(block))
            there = builder.gep(made, [builder.add(exposure, lane_low)])
            is_way = builder.icmp_unsigned(">=", number, first_way)
            source = builder.select(is_way, there, builder.gep(units, [unit]))
            return emit.splat(builder.load(source))

        def turned(v: int, x: Any, own: Any, running: Any) -> Any:
            change = emit.fma(own[1][v], emit.lane(running[worth // 8], worth % 8), x)
            loss = builder.fneg(emit.size(change))
            if not (plain_bits | spread_bits) >> v & 1:
                return loss
            return builder.select(builder.fcmp_ordered("!=", lanes[v], nothing), loss, change)

        def discounted(values: list[Any], own: Any, factor: Any, here: Any, after: Any,
                       running: Any, totals: Any) -> Any:  # fmt: skip
            same, ends = emit.bits(masks, here, SAME_RECORD), emit.bits(masks, after, ENDED)
            out = []
            for v, (place, value) in enumerate(zip(sums, values)):
                above = builder.select(builder.fcmp_ordered(">", value, nothing), value, nothing)
                x = emit.fma(factor, above, value)
                if flag_bits >> v & 1:
                    x = turned(v, x, own, running)
                total = emit.onto(same, builder.load(place), emit.only(ends, x))
                builder.store(total, place)
                out.append(total)
            worth_now = emit.lane(totals[worth // 8], worth % 8)
            one = [x for v, x in enumerate(out) if plain_bits >> v & 1]
            many = [
                emit.fma(own[0][v], worth_now, x) if spread_bits >> v & 1 else x
                for v, x in enumerate(out)
                if not plain_bits >> v & 1
            ]
            if one:
                many.append(builder.fsub(emit.lowest(one), worth_now))
            return emit.lowest(many)

        with cgutils.for_range_slice(builder, low_row, high, emit.number(1)) as (k, _):
            number = emit.widened(code, k)
            here, after, ended = _levels(emit, edges, before, k)
            weight = held_of(k, number, ended)
            row = builder.mul(number, emit.number(stride))
            goes_on = emit.bits(masks, here, GOES_ON)
            values = []
            for place, lane in zip(scen, emit.many(data, row, n)):
                x = emit.fma(weight, lane, emit.only(goes_on, builder.load(place)))
                builder.store(x, place)
                values.append(x)
            rows = emit.many(data, builder.add(row, emit.number(LANES_F64 * n)), m)
            running, totals = parts.add(weight, rows, masks, here, after)
            factor = emit.splat_at(figures, number)
            if kind == 0:
                lowest = emit.lowest(
                    [
                        emit.fma(factor, lanes[v], x) if tail_bits >> v & 1 else x
                        for v, x in enumerate(values)
                    ]
                )
            else:
                own_at = builder.mul(emit.widened(groups, number), emit.number(16 * n))
                own = (
                    emit.many(weigh, own_at, n),
                    emit.many(weigh, builder.add(own_at, emit.number(LANES_F64 * n)), n),
                )
                lowest = discounted(values, own, factor, here, after, running, totals)
            here_at = builder.load(at)
            builder.store(lowest, emit.place(target, here_at, 0), align=8)
            for v, total in enumerate(totals):
                builder.store(total, emit.place(target, here_at, 1 + v), align=8)
            _move_on(emit, at, ended, width)
        return context.get_dummy_value()

    return types.void(*kinds), codegen


def _emit_join_record(
    typingctx: Any, records: Any, at: Any, found: Any, found_at: Any, need: Any, nm: Any, na: Any
) -> Any:
    """Add what a scan record found to its record, and set its requirement.

    ``need[j]`` is -1 (as bits) in the lanes of a record that take the requirement: the size of the
    smallest lane found, with its sign turned.
    """
    element = _element(records, found)
    m, n = _count(nm), _count(na)
    kinds = (records, at, found, found_at, need, nm, na)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = _Rows(context, builder, element, m)
        target, more, takes = (emit.data(kinds[i], args[i]) for i in (0, 2, 4))
        place, source = emit.word(at, args[1]), emit.word(found_at, args[3])
        vectors = emit.many(more, source, 1 + n)
        worst = emit.splat(builder.fneg(emit.least(vectors[:1])))
        out = []
        for v, value in enumerate(emit.many(target, place, m)):
            total = builder.fadd(value, vectors[1 + v]) if v < n else value
            mask = emit.bits(takes, emit.number(0), v)
            out.append(builder.select(mask, worst, total))
        emit.store(out, target, place)
        return context.get_dummy_value()

    return types.void(*kinds), codegen


_intrinsic = intrinsic(prefer_literal=True)

#: See :func:`_emit_tile_parts`.
tile_parts = cast("Callable[..., None]", _intrinsic(_emit_tile_parts))
#: See :func:`_emit_tile_scan`.
tile_scan = cast("Callable[..., None]", _intrinsic(_emit_tile_scan))
#: See :func:`_emit_join_record`.
join_record = cast("Callable[..., None]", _intrinsic(_emit_join_record))
