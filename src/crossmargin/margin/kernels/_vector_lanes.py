"""Vector intrinsics of the fused requirement: rows of many accounts in one loop without branches.

Accounts have few rows in each group, and no two alike, so a loop inside a loop guesses wrong at
nearly every end. Here one loop runs over all rows of a tile of accounts. Where a segment begins,
running sums are masked to zero; sums are stored at every row, and the place to store moves on
where a segment or a group ends. The same rules as in :mod:`~crossmargin.margin.kernels._vector`
hold: nothing is checked, vectors are LLVM values, and shapes are constants at compile time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba import types
from numba.core import cgutils as _cgutils
from numba.extending import intrinsic

from crossmargin.margin.kernels._vector import LANES_F64, _count, _element, _Emit

cgutils: Any = _cgutils

_I32 = ir.IntType(32)
_I64 = ir.IntType(64)
_MASK = ir.VectorType(_I64, LANES_F64)

#: The level of :mod:`crossmargin.margin.fused._layout` at which a record begins.
GROUP = 4


class _Tile(_Emit):
    """Pieces of the loop over rows."""

    def size(self, value: Any) -> Any:
        """|x| by lanes."""
        signature = ir.FunctionType(self.vector, [self.vector])
        name = f"llvm.fabs.{self.suffix}"
        function = cgutils.get_or_insert_function(self.builder.module, signature, name)
        return self.builder.call(function, [value])

    def number(self, value: int) -> Any:
        """Return a constant index."""
        return ir.Constant(_I64, value)

    def variable(self, start: Any) -> Any:
        """Return a place for a value that changes from row to row; LLVM keeps it in a register."""
        place = cgutils.alloca_once(self.builder, start.type)
        self.builder.store(start, place)
        return place

    def mask(self, condition: Any) -> Any:
        """All ones in every lane where a condition holds, else zeros."""
        word = self.builder.sext(condition, _I64)
        empty = ir.Constant(_MASK, ir.Undefined)
        one = self.builder.insert_element(empty, word, ir.Constant(_I32, 0))
        spread = ir.Constant(ir.VectorType(_I32, LANES_F64), [0] * LANES_F64)
        return self.builder.shuffle_vector(one, empty, spread)

    def masked(self, value: Any, mask: Any) -> Any:
        """Return the value where the mask is set, else 0.0: also of a NaN."""
        bits = self.builder.and_(self.builder.bitcast(value, _MASK), mask)
        return self.builder.bitcast(bits, self.vector)

    def masks(self, data: Any, at: Any, count: int) -> list[Any]:
        """Load masks of lanes."""
        out = []
        for v in range(count):
            step = self.builder.add(at, self.number(v * LANES_F64))
            here = self.builder.bitcast(self.builder.gep(data, [step]), _MASK.as_pointer())
            out.append(self.builder.load(here, align=8))
        return out

    def many(self, data: Any, at: Any, count: int) -> list[Any]:
        """Load `count` vectors from an element on."""
        places = [self.place(data, at, v) for v in range(count)]
        return [self.builder.load(p, align=self.align) for p in places]

    def lowest(self, values: list[Any]) -> Any:
        """Return the smallest of some vectors, lane by lane."""
        while len(values) > 1:
            pairs = zip(values[::2], values[1::2])
            odd = [values[-1]] if len(values) % 2 else []
            values = [self.minimum(a, b) for a, b in pairs] + odd
        return values[0]

    def counted(self, sums: list[Any], slopes: list[Any], sides: list[Any], paired: bool) -> Any:
        """Return what running sums count as: slope·x + side·|x|; of a pair the larger."""
        out = [
            self.fma(side, self.size(x), self.builder.fmul(slope, x))
            for x, slope, side in zip(sums, slopes, sides)
        ]
        if paired:
            swap = ir.Constant(ir.VectorType(_I32, LANES_F64), [0, 1, 2, 3, 4, 5, 7, 6])
            empty = ir.Constant(self.vector, ir.Undefined)
            other = self.builder.shuffle_vector(out[-1], empty, swap)
            larger = self.builder.fcmp_ordered(">", out[-1], other)
            out[-1] = self.builder.select(larger, out[-1], other)
        return out


def _emit_tile_rows(
    typingctx: Any, seg: Any, aux: Any, table: Any, stride: Any, codes: Any, quantity: Any,
    level: Any, first: Any, last: Any, masks: Any, ends: Any, steps: Any, shape: Any, tail: Any,
    tails: Any, spared: Any, counts: Any, alone: Any, nv: Any, na: Any, paired: Any,
) -> Any:  # fmt: skip
    """Sum rows ``first:last`` of whole accounts by segment and by group.

    Segment s has a block of `seg`: its `nv` scenario vectors, the running sums of the first
    component vector, and a vector whose first word is the number of its last row. Record r (a
    group of an account) has a block of `aux`: its component lanes, and the same. ``counts[0:2]``
    are the numbers of segments and records.

    With `alone` (a constant) every group is one segment, and its block is one vector instead:
    the smallest of its scenario vectors, lane by lane, with ``spared[code]`` times `tail` added
    on the vectors whose bits are set in `tails` (a constant); then the vector with the row.

    ``level[k]`` says how far row k differs from row k − 1, and there is one level after the last
    row. ``masks[8(2 + na)·l:]`` are masks for a row of level l: of scenario sums that go on, of
    records that go on, of component lanes that go on. ``ends[8na·l + j]`` is 1 where lane j ends
    before a row of level l, and then adds ``shape[j]·x + shape[8na + j]·|x|`` to its record.
    ``steps[2l:]`` is how far the places of segment and record move on before such a row.
    """
    element = _element(table, quantity, seg, aux, ends, shape, tail, spared)
    n, m, pair = _count(nv), _count(na), bool(paired.literal_value)
    single, bits = bool(alone.literal_value), int(tails.literal_value)
    kinds = (seg, aux, table, stride, codes, quantity, level, first, last, masks, ends, steps,
             shape, tail, tails, spared, counts, alone, nv, na, paired)  # fmt: skip

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = _Tile(context, builder, element, n)
        (segs, records, data, code, units, edges, masked, closings, moves, form, far, spare,
         tally) = (
            emit.data(kinds[i], args[i]) for i in (0, 1, 2, 4, 5, 6, 9, 10, 11, 12, 13, 15, 16)
        )  # fmt: skip
        wide, low, high = (emit.word(kinds[i], args[i]) for i in (3, 7, 8))
        one, lanes, eight = emit.number(1), emit.number(LANES_F64 * m), emit.number(LANES_F64)
        slopes = emit.many(form, emit.number(0), m)
        sides = emit.many(form, lanes, m)
        beyond = emit.many(far, emit.number(0), n)
        nothing = ir.Constant(emit.vector, [0.0] * LANES_F64)
        scen = [emit.variable(nothing) for _ in range(n)]
        sums = [emit.variable(nothing) for _ in range(m)]
        totals = [emit.variable(nothing) for _ in range(m)]
        seg_at, rec_at = emit.variable(emit.number(0)), emit.variable(emit.number(0))

        def edge(at: Any) -> Any:
            return builder.zext(builder.load(builder.gep(edges, [at])), _I64)

        before = emit.variable(edge(low))
        with cgutils.for_range_slice(builder, low, high, one) as (k, _):
            number = builder.zext(builder.load(builder.gep(code, [k])), _I64)
            here, after = builder.load(before), edge(builder.add(k, one))
            builder.store(after, before)
            weight = emit.splat(builder.load(builder.gep(units, [k])))
            at = builder.mul(number, wide)
            goes_on, same, *stays = emit.masks(
                masked, builder.mul(here, emit.number(LANES_F64 * (2 + m))), 2 + m
            )
            values = []
            for place, row in zip(scen, emit.many(data, at, n)):
                value = emit.fma(weight, row, emit.masked(builder.load(place), goes_on))
                builder.store(value, place)
                values.append(value)
            rows = emit.many(data, builder.add(at, emit.number(LANES_F64 * n)), m)
            running = []
            for place, row, mask in zip(sums, rows, stays):
                x = emit.fma(weight, row, emit.masked(builder.load(place), mask))
                builder.store(x, place)
                running.append(x)
            closing = emit.many(closings, builder.mul(after, lanes), m)
            found = []
            counted = emit.counted(running, slopes, sides, pair)
            for place, f, ended in zip(totals, counted, closing):
                total = emit.fma(ended, f, emit.masked(builder.load(place), same))
                builder.store(total, place)
                found.append(total)
            s, r = builder.load(seg_at), builder.load(rec_at)
            if single:
                allowance = emit.splat(builder.load(builder.gep(spare, [number])))
                shifted = [
                    emit.fma(allowance, beyond[v], x) if bits >> v & 1 else x
                    for v, x in enumerate(values)
                ]
                kept = [emit.lowest(shifted)]
            else:
                kept = [*values, running[0]]
            for target, here_at, vectors in ((segs, s, kept), (records, r, found)):
                for v, value in enumerate(vectors):
                    builder.store(value, emit.place(target, here_at, v), align=8)
                slot = emit.place(target, here_at, len(vectors))
                builder.store(k, builder.bitcast(slot, _I64.as_pointer()), align=8)
            move = builder.shl(after, one)
            for place, value, column in ((seg_at, s, 0), (rec_at, r, 1)):
                far_on = builder.gep(moves, [builder.add(move, emit.number(column))])
                builder.store(builder.add(value, builder.load(far_on)), place)
        for k, (place, width) in enumerate(((seg_at, 2 if single else n + 2), (rec_at, m + 1))):
            count = builder.udiv(builder.load(place), builder.mul(eight, emit.number(width)))
            builder.store(count, builder.gep(tally, [emit.number(k)]))
        return context.get_dummy_value()

    return types.void(*kinds), codegen


def _emit_tile_worst(
    typingctx: Any, worst: Any, seg: Any, segments: Any, first: Any, codes: Any, level: Any,
    segment_of: Any, group_of: Any, terms: Any, weight: Any, tail: Any, flags: Any, flagged: Any,
    value_lane: Any, mode: Any, nv: Any,
) -> Any:  # fmt: skip
    """Map the segments of a tile by φ, sum them by group, and take each group's worst lane.

    ``worst[r]`` is the smallest lane of record r. `mode` is a constant. 0: the blocks of `seg`
    are already the smallest of their scenario vectors. 1: static discount,
    ``v·(long if v ≥ 0 else short) − weight·value``, and ``−|x|`` on lanes where `flags` is set
    (vectors whose bits are set in `flagged`, a constant); `value` is lane `value_lane` of the
    running sums. 2: offsets,
    ``min(max(v, 0)·offset, cap)·flags + min(0, min(v, 0) + dampener·tail)``.
    ``terms[4·segment:]`` are long, short; or offset, cap, dampener. `first` is the first row of
    the tile.
    """
    element = _element(worst, seg, terms, weight, tail, flags)
    n, kind, lane = _count(nv), int(mode.literal_value), int(value_lane.literal_value)
    bits = int(flagged.literal_value)
    kinds = (worst, seg, segments, first, codes, level, segment_of, group_of, terms, weight, tail,
             flags, flagged, value_lane, mode, nv)  # fmt: skip

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = _Tile(context, builder, element, n)
        (out, segs, code, edges, segment_ids, group_ids, figures, weights, tails, counts) = (
            emit.data(kinds[i], args[i]) for i in (0, 1, 4, 5, 6, 7, 8, 9, 10, 11)
        )
        size, begin = emit.word(kinds[2], args[2]), emit.word(kinds[3], args[3])
        one, zero = emit.number(1), emit.number(0)
        nothing = emit.zeros()[0]
        width = emit.number(LANES_F64 * (2 if kind == 0 else n + 2))
        far = emit.load(tails, zero)
        flag = emit.load(counts, zero)
        group_sum = [emit.variable(nothing) for _ in range(n)]
        record = emit.variable(emit.number(-1))
        row_first = emit.variable(begin)

        def figure(at: Any, column: int) -> Any:
            place = builder.gep(figures, [builder.add(at, emit.number(column))])
            return emit.splat(builder.load(place))

        def discounted(values: list[Any], row: Any, at: Any, number: Any) -> list[Any]:
            long, short = figure(at, 0), figure(at, 1)
            held = builder.add(row, emit.number(LANES_F64 * n + lane))
            base = builder.fsub(nothing, emit.splat(builder.load(builder.gep(segs, [held]))))
            group = builder.sext(builder.load(builder.gep(group_ids, [number])), _I64)
            own = emit.load(weights, builder.mul(group, emit.number(LANES_F64 * n)))
            out = []
            for k, (v, w, turned) in enumerate(zip(values, own, flag)):
                positive = builder.fcmp_ordered(">=", v, nothing)
                factor = builder.select(positive, long, short)
                change = emit.fma(v, factor, builder.fmul(w, base))
                if bits >> k & 1:
                    away = builder.fsub(nothing, emit.size(change))
                    turns = builder.fcmp_ordered("!=", turned, nothing)
                    change = builder.select(turns, away, change)
                out.append(change)
            return out

        def offset(values: list[Any], at: Any) -> list[Any]:
            share, most, spared = (figure(at, c) for c in range(3))
            out = []
            for v, f, c in zip(values, far, flag):
                gain = builder.fmul(emit.minimum(builder.fmul(v, share), most), c)
                loss = emit.minimum(emit.fma(spared, f, v), nothing)
                positive = builder.fcmp_ordered(">", v, nothing)
                out.append(builder.select(positive, gain, loss))
            return out

        with cgutils.for_range_slice(builder, zero, size, one) as (s, _):
            row = builder.mul(s, width)
            if kind == 0:
                builder.store(emit.least(emit.many(segs, row, 1)), builder.gep(out, [s]))
            else:
                opening = builder.load(row_first)
                slot = builder.add(row, emit.number(LANES_F64 * (n + 1)))
                held = builder.bitcast(builder.gep(segs, [slot]), _I64.as_pointer())
                builder.store(builder.add(builder.load(held), one), row_first)
                number = builder.zext(builder.load(builder.gep(code, [opening])), _I64)
                id_ = builder.sext(builder.load(builder.gep(segment_ids, [number])), _I64)
                at = builder.shl(id_, emit.number(2))
                values = emit.load(segs, row)
                x = discounted(values, row, at, number) if kind == 1 else offset(values, at)
                edge = builder.zext(builder.load(builder.gep(edges, [opening])), _I64)
                goes_on = builder.icmp_signed("<", edge, emit.number(GROUP))
                mask = emit.mask(goes_on)
                sums = []
                for place, value in zip(group_sum, x):
                    total = builder.fadd(emit.masked(builder.load(place), mask), value)
                    builder.store(total, place)
                    sums.append(total)
                fresh = builder.zext(builder.not_(goes_on), _I64)
                r = builder.add(builder.load(record), fresh)
                builder.store(r, record)
                builder.store(emit.least(sums), builder.gep(out, [r]))
        return context.get_dummy_value()

    return types.void(*kinds), codegen


_intrinsic = intrinsic(prefer_literal=True)

#: See :func:`_emit_tile_rows`.
tile_rows = cast("Callable[..., None]", _intrinsic(_emit_tile_rows))
#: See :func:`_emit_tile_worst`.
tile_worst = cast("Callable[..., None]", _intrinsic(_emit_tile_worst))
