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

_I8 = ir.IntType(8)
_I32 = ir.IntType(32)
_I64 = ir.IntType(64)
_MASK = ir.VectorType(_I64, LANES_F64)

#: Levels of :mod:`crossmargin.margin.fused._layout` that a tile knows.
SEGMENT, GROUP, ACCOUNT = 3, 4, 6


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
    typingctx: Any, seg: Any, aux: Any, seg_code: Any, seg_opens: Any, rec_code: Any,
    rec_account: Any, table: Any, stride: Any, codes: Any, quantity: Any, level: Any, first: Any, last: Any, keep: Any,
    close: Any, shape: Any, counts: Any, nv: Any, na: Any, paired: Any,
) -> Any:  # fmt: skip
    """Sum rows ``first:last`` of whole accounts by segment and by group.

    Segment s gets ``seg[s·8(nv + 1):]``: its `nv` scenario vectors, then the running sums of the
    first component vector. Record r (a group of an account) gets ``aux[r·8na:]``: its component
    lanes. `seg_code` and `rec_code` take the first code of each, `seg_opens` whether the segment is
    the first of its record; `rec_account` how many accounts of the tile came before it. ``counts[0:2]`` are the numbers of segments and records.

    ``level[k]`` says how far row k differs from row k − 1, and there is one level after the last
    row. A component lane begins anew at a row of level l where ``keep[8na·l + j]`` is 0, and adds
    ``shape[j]·x + shape[8na + j]·|x|`` to its record where a row is followed by one of level l
    and ``close[8na·l + j]`` is 1.
    """
    element = _element(table, quantity, seg, aux, close, shape)
    n, m, pair = _count(nv), _count(na), bool(paired.literal_value)
    kinds = (seg, aux, seg_code, seg_opens, rec_code, rec_account, table, stride, codes, quantity,
             level, first, last, keep, close, shape, counts, nv, na, paired)  # fmt: skip

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = _Tile(context, builder, element, n)
        (segs, records, seg_codes, opens, rec_codes, owners, data, code, units, edges, kept, ends,
         form, tally) = (
            emit.data(kinds[i], args[i]) for i in (0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 13, 14, 15, 16)
        )  # fmt: skip
        wide, low, high = (emit.word(kinds[i], args[i]) for i in (7, 11, 12))
        one, lanes = emit.number(1), emit.number(LANES_F64 * m)
        slopes = emit.many(form, emit.number(0), m)
        sides = emit.many(form, lanes, m)
        nothing = ir.Constant(emit.vector, [0.0] * LANES_F64)
        scen = [emit.variable(nothing) for _ in range(n)]
        sums = [emit.variable(nothing) for _ in range(m)]
        totals = [emit.variable(nothing) for _ in range(m)]
        seg_at, rec_at, owner = (emit.variable(emit.number(x)) for x in (0, 0, -1))
        seg_first, rec_first, seg_begins = (emit.variable(emit.number(0)) for _ in range(3))
        with cgutils.for_range_slice(builder, low, high, one) as (k, _):
            number = builder.zext(builder.load(builder.gep(code, [k])), _I64)
            here = builder.zext(builder.load(builder.gep(edges, [k])), _I64)
            after = builder.zext(builder.load(builder.gep(edges, [builder.add(k, one)])), _I64)
            weight = emit.splat(builder.load(builder.gep(units, [k])))
            at = builder.mul(number, wide)
            old_segment = builder.icmp_signed("<", here, emit.number(SEGMENT))
            old_group = builder.icmp_signed("<", here, emit.number(GROUP))
            goes_on = emit.mask(old_segment)
            values = []
            for place, row in zip(scen, emit.many(data, at, n)):
                value = emit.fma(weight, row, emit.masked(builder.load(place), goes_on))
                builder.store(value, place)
                values.append(value)
            rows = emit.many(data, builder.add(at, emit.number(LANES_F64 * n)), m)
            stays = emit.masks(kept, builder.mul(here, lanes), m)
            running = []
            for place, row, mask in zip(sums, rows, stays):
                x = emit.fma(weight, row, emit.masked(builder.load(place), mask))
                builder.store(x, place)
                running.append(x)
            closing = emit.many(ends, builder.mul(after, lanes), m)
            same = emit.mask(old_group)
            found = []
            counted = emit.counted(running, slopes, sides, pair)
            for place, f, ended in zip(totals, counted, closing):
                total = emit.fma(ended, f, emit.masked(builder.load(place), same))
                builder.store(total, place)
                found.append(total)
            s, r = builder.load(seg_at), builder.load(rec_at)
            width = emit.number(LANES_F64 * (n + 1))
            for v, value in enumerate([*values, running[0]]):
                builder.store(value, emit.place(segs, builder.mul(s, width), v), align=8)
            for v, value in enumerate(found):
                builder.store(value, emit.place(records, builder.mul(r, lanes), v), align=8)
            begun = builder.select(old_segment, builder.load(seg_first), number)
            opened = builder.select(old_group, builder.load(rec_first), number)
            leads = builder.select(
                old_segment,
                builder.load(seg_begins),
                builder.zext(builder.not_(old_group), _I64),
            )
            fresh = builder.icmp_signed("==", here, emit.number(ACCOUNT))
            mine = builder.add(builder.load(owner), builder.zext(fresh, _I64))
            for value, place, target, slot in (
                (begun, seg_first, seg_codes, s), (leads, seg_begins, opens, s),
                (opened, rec_first, rec_codes, r), (mine, owner, owners, r),
            ):  # fmt: skip
                builder.store(value, place)
                builder.store(builder.trunc(value, _I32), builder.gep(target, [slot]))
            for place, edge, value in ((seg_at, SEGMENT, s), (rec_at, GROUP, r)):
                ended_here = builder.icmp_signed(">=", after, emit.number(edge))
                builder.store(builder.add(value, builder.zext(ended_here, _I64)), place)
        for k, place in enumerate((seg_at, rec_at)):
            builder.store(builder.load(place), builder.gep(tally, [emit.number(k)]))
        return context.get_dummy_value()

    return types.void(*kinds), codegen


def _emit_tile_worst(
    typingctx: Any, worst: Any, seg: Any, seg_code: Any, seg_opens: Any, segments: Any,
    segment_of: Any, group_of: Any, terms: Any, weight: Any, tail: Any, flags: Any,
    value_lane: Any, mode: Any, nv: Any,
) -> Any:  # fmt: skip
    """Map the segments of a tile by φ, sum them by group, and take each group's worst lane.

    ``worst[r]`` is the smallest lane of record r. `mode` is a constant. 0: every group is one
    segment, and what counts is ``v + dampener·tail`` (an allowance on tail scenarios; its gains
    offset nothing). 1: static discount, ``v·(long if v ≥ 0 else short) − weight·value``, and
    ``−|x|`` on lanes where `flags` is set; `value` is lane `value_lane` of the running sums.
    2: offsets, ``min(max(v, 0)·offset, cap)·flags + min(0, min(v, 0) + dampener·tail)``.
    ``terms[4·segment:]`` are long, short; or offset, cap, dampener.
    """
    element = _element(worst, seg, terms, weight, tail, flags)
    n, kind, lane = _count(nv), int(mode.literal_value), int(value_lane.literal_value)
    kinds = (worst, seg, seg_code, seg_opens, segments, segment_of, group_of, terms, weight,
             tail, flags, value_lane, mode, nv)  # fmt: skip

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = _Tile(context, builder, element, n)
        (out, segs, codes, opens, segment_ids, group_ids, figures, weights, tails, counts) = (
            emit.data(kinds[i], args[i]) for i in (0, 1, 2, 3, 5, 6, 7, 8, 9, 10)
        )
        size = emit.word(kinds[4], args[4])
        one, zero = emit.number(1), emit.number(0)
        nothing = emit.zeros()[0]
        width = emit.number(LANES_F64 * (n + 1))
        far = emit.load(tails, zero)
        flag = emit.load(counts, zero)
        group_sum = [emit.variable(nothing) for _ in range(n)]
        record = emit.variable(emit.number(-1))

        def figure(at: Any, column: int) -> Any:
            place = builder.gep(figures, [builder.add(at, emit.number(column))])
            return emit.splat(builder.load(place))

        def discounted(values: list[Any], row: Any, at: Any, code: Any) -> list[Any]:
            long, short = figure(at, 0), figure(at, 1)
            held = builder.add(row, emit.number(LANES_F64 * n + lane))
            base = builder.fsub(nothing, emit.splat(builder.load(builder.gep(segs, [held]))))
            group = builder.sext(builder.load(builder.gep(group_ids, [code])), _I64)
            own = emit.load(weights, builder.mul(group, emit.number(LANES_F64 * n)))
            out = []
            for v, w, turned in zip(values, own, flag):
                positive = builder.fcmp_ordered(">=", v, nothing)
                factor = builder.select(positive, long, short)
                change = emit.fma(v, factor, builder.fmul(w, base))
                away = builder.fsub(nothing, emit.size(change))
                turns = builder.fcmp_ordered("!=", turned, nothing)
                out.append(builder.select(turns, away, change))
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
            code = builder.zext(builder.load(builder.gep(codes, [s])), _I64)
            id_ = builder.sext(builder.load(builder.gep(segment_ids, [code])), _I64)
            at = builder.shl(id_, emit.number(2))
            values = emit.load(segs, row)
            if kind == 0:
                spared = figure(at, 2)
                worst_here = [emit.fma(spared, f, v) for v, f in zip(values, far)]
                builder.store(emit.least(worst_here), builder.gep(out, [s]))
            else:
                x = discounted(values, row, at, code) if kind == 1 else offset(values, at)
                fresh = builder.zext(builder.load(builder.gep(opens, [s])), _I64)
                mask = emit.mask(builder.icmp_signed("==", fresh, zero))
                sums = []
                for place, value in zip(group_sum, x):
                    total = builder.fadd(emit.masked(builder.load(place), mask), value)
                    builder.store(total, place)
                    sums.append(total)
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
