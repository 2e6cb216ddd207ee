"""Vector intrinsics of one account at a time: its component lanes, and the map φ on one segment.

What :mod:`~crossmargin.margin.kernels._vector_lanes` does for tiles of accounts, for a check that
looks at one and changes what it finds. The same rules as in
:mod:`~crossmargin.margin.kernels._vector` hold: nothing is checked, vectors are LLVM values, and
shapes are constants at compile time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba import types
from numba.core import cgutils as _cgutils
from numba.extending import intrinsic

from crossmargin.margin.kernels._vector import LANES_F64, _count, _element
from crossmargin.margin.kernels._vector_lanes import _Tile

cgutils: Any = _cgutils

_I64 = ir.IntType(64)

#: The level of a row that nothing goes on beyond (``ACCOUNT`` of the fused layout).
END = 6


def _emit_part_rows(
    typingctx: Any, out: Any, table: Any, stride: Any, column: Any, codes: Any, quantity: Any,
    level: Any, first: Any, last: Any, masks: Any, close: Any, shape: Any, na: Any, paired: Any,
) -> Any:  # fmt: skip
    """Add up component lanes over rows ``first:last``; `na` vectors at the head of `out`.

    With x the running sum of a lane since it began, a lane that ends adds ``slope·x + side·|x|``
    (`shape`: slopes, then sides), or with `paired` the larger of the last two lanes. The masks
    of lanes stand behind two vectors of other masks in every level's row of `masks`; ``close``
    is 1 where a lane ends before a row of a level. After the last row everything ends.
    """
    element, m, pair = _element(table, quantity, out, close, shape), _count(na), paired
    kinds = (out, table, stride, column, codes, quantity, level, first, last, masks, close, shape,
             na, paired)  # fmt: skip
    both = bool(pair.literal_value)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = _Tile(context, builder, element, m)
        target, data, code, units, edges, masked, closings, form = (
            emit.data(kinds[i], args[i]) for i in (0, 1, 4, 5, 6, 9, 10, 11)
        )
        wide, skip, low, high = (emit.word(kinds[i], args[i]) for i in (2, 3, 7, 8))
        one, lanes = emit.number(1), emit.number(LANES_F64 * m)
        slopes = emit.many(form, emit.number(0), m)
        sides = emit.many(form, lanes, m)
        nothing = ir.Constant(emit.vector, [0.0] * LANES_F64)
        sums = [emit.variable(nothing) for _ in range(m)]
        totals = [emit.variable(x) for x in emit.many(target, emit.number(0), m)]
        final = builder.sub(high, one)
        with cgutils.for_range_slice(builder, low, high, one) as (k, _):
            number = builder.zext(builder.load(builder.gep(code, [k])), _I64)
            weight = emit.splat(builder.load(builder.gep(units, [k])))
            here = builder.zext(builder.load(builder.gep(edges, [k])), _I64)
            inside = builder.icmp_signed("<", k, final)
            follow = builder.select(inside, builder.add(k, one), k)
            after = builder.zext(builder.load(builder.gep(edges, [follow])), _I64)
            after = builder.select(inside, after, emit.number(END))
            block = builder.mul(here, emit.number(LANES_F64 * (2 + m)))
            stays = emit.masks(masked, builder.add(block, emit.number(2 * LANES_F64)), m)
            rows = emit.many(data, builder.add(builder.mul(number, wide), skip), m)
            running = []
            for place, row, mask in zip(sums, rows, stays):
                x = emit.fma(weight, row, emit.masked(builder.load(place), mask))
                builder.store(x, place)
                running.append(x)
            closing = emit.many(closings, builder.mul(after, lanes), m)
            counted = emit.counted(running, slopes, sides, both)
            for place, f, ended in zip(totals, counted, closing):
                builder.store(emit.fma(ended, f, builder.load(place)), place)
        emit.store([builder.load(place) for place in totals], target, emit.number(0))
        return context.get_dummy_value()

    return types.void(*kinds), codegen


def _emit_block_discount(
    typingctx: Any, block: Any, long: Any, short: Any, value: Any, weight: Any, weight_at: Any,
    turned: Any, nv: Any,
) -> Any:  # fmt: skip
    """Discount netted values in place, and take today's value off.

    ``x = v·(long if v ≥ 0 else short) − weight·value``; where `turned` is not 0, ``−|x|``.
    """
    element, n = _element(block, weight, turned), _count(nv)
    kinds = (block, element, element, element, weight, weight_at, turned, nv)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = _Tile(context, builder, element, n)
        zero = ir.Constant(_I64, 0)
        data = emit.data(block, args[0])
        high, low = emit.splat(args[1]), emit.splat(args[2])
        base = emit.splat(builder.fsub(ir.Constant(emit.scalar, 0.0), args[3]))
        nothing = emit.zeros()[0]
        weights = emit.load(emit.data(weight, args[4]), emit.word(weight_at, args[5]))
        flags = emit.load(emit.data(turned, args[6]), zero)
        out = []
        for v, w, flag in zip(emit.load(data, zero), weights, flags):
            factor = builder.select(builder.fcmp_ordered(">=", v, nothing), high, low)
            x = emit.fma(v, factor, builder.fmul(w, base))
            away = builder.fsub(nothing, emit.size(x))
            out.append(builder.select(builder.fcmp_ordered("!=", flag, nothing), away, x))
        emit.store(out, data, zero)
        return context.get_dummy_value()

    return types.void(*kinds), codegen


def _emit_block_offset(
    typingctx: Any, block: Any, offset: Any, cap: Any, dampener: Any, tail: Any, counted: Any,
    nv: Any,
) -> Any:  # fmt: skip
    """Count gains in part and tail losses beyond an allowance, in place.

    ``min(max(v, 0)·offset, cap)·counted + min(0, min(v, 0) + dampener·tail)``.
    """
    element, n = _element(block, tail, counted), _count(nv)
    kinds = (block, element, element, element, tail, counted, nv)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = _Tile(context, builder, element, n)
        zero = ir.Constant(_I64, 0)
        data = emit.data(block, args[0])
        share, most, spared = (emit.splat(a) for a in args[1:4])
        nothing = emit.zeros()[0]
        tails = emit.load(emit.data(tail, args[4]), zero)
        counts = emit.load(emit.data(counted, args[5]), zero)
        out = []
        for v, far, counts_here in zip(emit.load(data, zero), tails, counts):
            positive = builder.fcmp_ordered(">", v, nothing)
            gain = emit.minimum(builder.fmul(v, share), most)
            gain = builder.fmul(gain, counts_here)
            loss = emit.minimum(emit.fma(spared, far, v), nothing)
            out.append(builder.select(positive, gain, loss))
        emit.store(out, data, zero)
        return context.get_dummy_value()

    return types.void(*kinds), codegen


_intrinsic = intrinsic(prefer_literal=True)

#: ``part_rows(out, table, stride, column, codes, quantity, level, first, last, masks, close,
#: shape, na, paired)``
part_rows = cast("Callable[..., None]", _intrinsic(_emit_part_rows))
#: ``block_discount(block, long, short, value, weight, weight_at, turned, nv)``
block_discount = cast("Callable[..., None]", _intrinsic(_emit_block_discount))
#: ``block_offset(block, offset, cap, dampener, tail, counted, nv)``
block_offset = cast("Callable[..., None]", _intrinsic(_emit_block_offset))
