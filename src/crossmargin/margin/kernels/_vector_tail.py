"""Vector intrinsics for tails: lanes below a line, kept in order and searched.

As ``_vector``: for compiled code only, nothing is checked, nothing is specific to a processor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba import types
from numba.core.errors import NumbaTypeError

from crossmargin.margin.kernels._vector import (
    _I64,
    LANES_F32,
    LANES_F64,
    _check_codes,
    _element,
    _Emit,
    _intrinsic,
    cgutils,
)


class _Keep(_Emit):
    """Masks of lanes, and lanes stored one after another."""

    def below(self, value: Any, limit: Any, lanes: int, strict: bool = False) -> Any:
        """Mask of the lanes that are at most (below) `limit`, among the first `lanes`."""
        mask = self.builder.fcmp_ordered("<" if strict else "<=", value, limit)
        if lanes >= self.lanes:
            return mask
        bit = ir.IntType(1)
        real = [ir.Constant(bit, int(lane < lanes)) for lane in range(self.lanes)]
        return self.builder.and_(mask, ir.Constant(ir.VectorType(bit, self.lanes), real))

    def count(self, mask: Any) -> Any:
        """Return how many lanes of a mask are set."""
        bits = self.builder.bitcast(mask, ir.IntType(self.lanes))
        return self.builder.ctpop(self.builder.zext(bits, _I64))

    def compress(self, value: Any, mask: Any, data: Any, at: Any) -> Any:
        """Store the lanes of a mask one after another; return the next place.

        A whole vector is written: compressing in a register and storing it is many times as
        quick as a compressing store on some processors.
        """
        kind = ir.VectorType(ir.IntType(1), self.lanes)
        signature = ir.FunctionType(self.vector, [self.vector, kind, self.vector])
        name = f"llvm.experimental.vector.compress.{self.suffix}"
        function = cgutils.get_or_insert_function(self.builder.module, signature, name)
        rest = ir.Constant(self.vector, ir.Undefined)
        packed = self.builder.call(function, [value, mask, rest])
        self.builder.store(packed, self.place(data, at, 0), align=self.align)
        return self.builder.add(at, self.count(mask))


def _emit_fma_rows_below(
    typingctx: Any, out: Any, at: Any, limit: Any, table: Any, stride: Any, column: Any,
    codes: Any, quantity: Any, first: Any, last: Any, lanes: Any,
) -> Any:  # fmt: skip
    """Append the lanes of the sum that are at most `limit` to `out` and return the new length.

    The sum is that of `fma_rows`, over the first `lanes` (a constant) scenarios of the block; kept
    lanes stay in their order. `out` needs room for one vector behind the last kept lane.
    """
    element = _element(table, quantity, out)
    _check_codes(codes)
    if not isinstance(lanes, types.IntegerLiteral):
        raise NumbaTypeError("the number of lanes must be a constant")
    real = int(lanes.literal_value)
    kinds = (out, at, element, table, stride, column, codes, quantity, first, last, lanes)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        width = LANES_F32 if element is types.float32 else LANES_F64
        emit = _Keep(context, builder, element, -(-real // width))
        target, place = emit.data(out, args[0]), emit.word(at, args[1])
        line = emit.splat(args[2])
        for v, value in enumerate(emit.rows(emit.zeros(), kinds[3:], args[3:])):
            mask = emit.below(value, line, real - v * width)
            place = emit.compress(value, mask, target, place)
        return place

    return types.int64(*kinds), codegen


def _run(emit: _Keep, data: Any, count: Any, start: Any, step: Callable[[Any, Any], Any]) -> Any:
    """Fold `step` over the vectors that cover ``data[0:count]``."""
    state = cgutils.alloca_once(emit.builder, start.type)
    emit.builder.store(start, state)
    zero, width = ir.Constant(_I64, 0), ir.Constant(_I64, emit.lanes)
    with cgutils.for_range_slice(emit.builder, zero, count, width) as (k, _):
        value = emit.load(data, k)[0]
        emit.builder.store(step(emit.builder.load(state), value), state)
    return emit.builder.load(state)


def _emit_count_below(typingctx: Any, values: Any, count: Any, limit: Any) -> Any:
    """Count the numbers below `limit` among the vectors that cover ``values[0:count]``.

    The last vector is read whole: what stands behind `count` must not be below `limit`.
    """
    element = _element(values)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = _Keep(context, builder, element, 1)
        line = emit.splat(args[2])

        def step(total: Any, value: Any) -> Any:
            mask = emit.below(value, line, emit.lanes, strict=True)
            return builder.add(total, emit.count(mask))

        data, n = emit.data(values, args[0]), emit.word(count, args[1])
        return _run(emit, data, n, ir.Constant(_I64, 0), step)

    return types.int64(values, count, element), codegen


def _emit_largest_below(typingctx: Any, values: Any, count: Any, limit: Any) -> Any:
    """Return the largest number below `limit`, or −∞; reads as `count_below` does."""
    element = _element(values)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = _Keep(context, builder, element, 1)
        line = emit.splat(args[2])
        lowest = ir.Constant(emit.vector, [float("-inf")] * emit.lanes)

        def step(best: Any, value: Any) -> Any:
            here = builder.select(builder.fcmp_ordered("<", value, line), value, lowest)
            return builder.select(builder.fcmp_ordered(">", here, best), here, best)

        data, n = emit.data(values, args[0]), emit.word(count, args[1])
        best = _run(emit, data, n, lowest, step)
        # The largest is minus the least of the negatives: exact, and one tree serves both.
        return builder.fneg(emit.least([builder.fneg(best)]))

    return element(values, count, element), codegen


def _emit_smallest_above(typingctx: Any, values: Any, count: Any, limit: Any) -> Any:
    """Return the smallest number above `limit`, or +∞; reads as `count_below` does."""
    element = _element(values)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = _Keep(context, builder, element, 1)
        line = emit.splat(args[2])
        highest = ir.Constant(emit.vector, [float("inf")] * emit.lanes)

        def step(best: Any, value: Any) -> Any:
            here = builder.select(builder.fcmp_ordered(">", value, line), value, highest)
            return emit.minimum(here, best)

        data, n = emit.data(values, args[0]), emit.word(count, args[1])
        return emit.least([_run(emit, data, n, highest, step)])

    return element(values, count, element), codegen


def _emit_pack_below(typingctx: Any, out: Any, at: Any, values: Any, count: Any, limit: Any) -> Any:
    """Append the numbers below `limit` to `out`, in their order; return the new length.

    Reads as `count_below` does; `out` needs room for one vector behind the last kept number.
    """
    element = _element(values, out)
    kinds = (out, at, values, count, element)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = _Keep(context, builder, element, 1)
        target, line = emit.data(out, args[0]), emit.splat(args[4])

        def step(place: Any, value: Any) -> Any:
            mask = emit.below(value, line, emit.lanes, strict=True)
            return emit.compress(value, mask, target, place)

        data, n = emit.data(values, args[2]), emit.word(count, args[3])
        return _run(emit, data, n, emit.word(at, args[1]), step)

    return types.int64(*kinds), codegen


#: ``fma_rows_below(out, at, limit, table, stride, column, codes, quantity, first, last, lanes)``
#: ``-> next place``
fma_rows_below = cast("Callable[..., int]", _intrinsic(_emit_fma_rows_below))
#: ``count_below(values, count, limit) -> count``
count_below = cast("Callable[..., int]", _intrinsic(_emit_count_below))
#: ``largest_below(values, count, limit) -> number``
largest_below = cast("Callable[..., float]", _intrinsic(_emit_largest_below))
#: ``smallest_above(values, count, limit) -> number``
smallest_above = cast("Callable[..., float]", _intrinsic(_emit_smallest_above))
#: ``pack_below(out, at, values, count, limit) -> next place``
pack_below = cast("Callable[..., int]", _intrinsic(_emit_pack_below))
