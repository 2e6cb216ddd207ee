"""Vector intrinsics of the fused requirement: lanes of components, and the map φ on scenarios.

The same rules as :mod:`~crossmargin.margin.kernels._vector`: nothing is checked, vectors are
LLVM values, and constants of the shape are known at compile time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba import types
from numba.core import cgutils as _cgutils
from numba.core.errors import NumbaTypeError
from numba.extending import intrinsic

from crossmargin.margin.kernels._vector import LANES_F64, _check_codes, _count, _element, _Emit

cgutils: Any = _cgutils

_I32 = ir.IntType(32)
_I64 = ir.IntType(64)


def _size(emit: Any, value: Any) -> Any:
    """|x| by lanes."""
    signature = ir.FunctionType(emit.vector, [emit.vector])
    name = f"llvm.fabs.{emit.suffix}"
    function = cgutils.get_or_insert_function(emit.builder.module, signature, name)
    return emit.builder.call(function, [value])


def _emit_size_rows(
    typingctx: Any, out: Any, at: Any, table: Any, stride: Any, column: Any, codes: Any,
    quantity: Any, first: Any, last: Any,
) -> Any:  # fmt: skip
    """Add what counts by size: ``out[at + j] += Σ |q_k| · row_k[column + j]``, one vector."""
    element = _element(table, quantity, out)
    _check_codes(codes)
    kinds = (out, at, table, stride, column, codes, quantity, first, last)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = _Emit(context, builder, element, 1)
        target, place = emit.data(out, args[0]), emit.word(at, args[1])
        data, code, units = (emit.data(kinds[i], args[i]) for i in (2, 5, 6))
        wide, skip, low, high = (emit.word(kinds[i], args[i]) for i in (3, 4, 7, 8))
        total = cgutils.alloca_once(builder, emit.vector)
        builder.store(emit.load(target, place)[0], total)
        with cgutils.for_range_slice(builder, low, high, ir.Constant(_I64, 1)) as (k, _):
            number = builder.zext(builder.load(builder.gep(code, [k])), _I64)
            weight = _size(emit, emit.splat(builder.load(builder.gep(units, [k]))))
            (row,) = emit.load(data, builder.add(builder.mul(number, wide), skip))
            builder.store(emit.fma(weight, row, builder.load(total)), total)
        emit.store([builder.load(total)], target, place)
        return context.get_dummy_value()

    return types.void(*kinds), codegen


def _emit_bucket_rows(
    typingctx: Any, out: Any, at: Any, table: Any, stride: Any, column: Any, codes: Any,
    quantity: Any, level: Any, first: Any, last: Any, keep: Any, close: Any, shape: Any,
    paired: Any,
) -> Any:  # fmt: skip
    """Add up functions of sums by bucket, a lane each; one vector.

    With x the running sum of a lane since its bucket began, a bucket that ends adds
    ``shape[j]·x + shape[8 + j]·|x|`` to ``out[at + j]``: either side, the short side alone, or
    (`paired`, a constant) the larger of the short sides of the last two lanes. `level` says how
    far a row differs from the one before it; ``keep[8·level + j]`` is 0 where a lane then begins
    anew and ``close[8·level + j]`` is 1 where it ends before such a row. The last row of the run
    ends at level 3 (a segment).
    """
    element = _element(table, quantity, out, keep, close, shape)
    _check_codes(codes)
    if not isinstance(level, types.Array) or level.dtype != types.uint8:
        raise NumbaTypeError("levels must be uint8")
    if not isinstance(paired, types.IntegerLiteral):
        raise NumbaTypeError("paired must be a constant")
    kinds = (out, at, table, stride, column, codes, quantity, level, first, last, keep, close,
             shape, paired)  # fmt: skip

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = _Emit(context, builder, element, 1)
        target, place = emit.data(out, args[0]), emit.word(at, args[1])
        data, code, units, edges, kept, ends, form = (
            emit.data(kinds[i], args[i]) for i in (2, 5, 6, 7, 10, 11, 12)
        )
        wide, skip, low, high = (emit.word(kinds[i], args[i]) for i in (3, 4, 8, 9))
        eight = ir.Constant(_I64, LANES_F64)
        (slope,) = emit.load(form, ir.Constant(_I64, 0))
        (either,) = emit.load(form, eight)
        total = cgutils.alloca_once(builder, emit.vector)
        running = cgutils.alloca_once(builder, emit.vector)
        builder.store(emit.load(target, place)[0], total)
        builder.store(emit.zeros()[0], running)
        one = ir.Constant(_I64, 1)
        final = builder.sub(high, one)
        with cgutils.for_range_slice(builder, low, high, one) as (k, _):
            number = builder.zext(builder.load(builder.gep(code, [k])), _I64)
            weight = emit.splat(builder.load(builder.gep(units, [k])))
            (row,) = emit.load(data, builder.add(builder.mul(number, wide), skip))
            here = builder.zext(builder.load(builder.gep(edges, [k])), _I64)
            follow = builder.select(builder.icmp_signed("<", k, final), builder.add(k, one), k)
            after = builder.zext(builder.load(builder.gep(edges, [follow])), _I64)
            after = builder.select(builder.icmp_signed("<", k, final), after, ir.Constant(_I64, 3))
            (stays,) = emit.load(kept, builder.mul(here, eight))
            (ended,) = emit.load(ends, builder.mul(after, eight))
            x = emit.fma(weight, row, builder.fmul(builder.load(running), stays))
            builder.store(x, running)
            f = emit.fma(either, _size(emit, x), builder.fmul(slope, x))
            if paired.literal_value:
                swap = ir.Constant(ir.VectorType(_I32, LANES_F64), [0, 1, 2, 3, 4, 5, 7, 6])
                other = builder.shuffle_vector(f, ir.Constant(emit.vector, ir.Undefined), swap)
                f = builder.select(builder.fcmp_ordered(">", f, other), f, other)
            builder.store(emit.fma(ended, f, builder.load(total)), total)
        emit.store([builder.load(total)], target, place)
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
        emit = _Emit(context, builder, element, n)
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
            away = builder.fsub(nothing, _size(emit, x))
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
        emit = _Emit(context, builder, element, n)
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

#: ``size_rows(out, at, table, stride, column, codes, quantity, first, last)``
size_rows = cast("Callable[..., None]", _intrinsic(_emit_size_rows))
#: ``bucket_rows(out, at, table, stride, column, codes, quantity, level, first, last, keep, close,
#: shape, paired)``
bucket_rows = cast("Callable[..., None]", _intrinsic(_emit_bucket_rows))
#: ``block_discount(block, long, short, value, weight, weight_at, turned, nv)``
block_discount = cast("Callable[..., None]", _intrinsic(_emit_block_discount))
#: ``block_offset(block, offset, cap, dampener, tail, counted, nv)``
block_offset = cast("Callable[..., None]", _intrinsic(_emit_block_offset))
