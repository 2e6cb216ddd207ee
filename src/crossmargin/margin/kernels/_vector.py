"""Vector intrinsics for compiled kernels: the one place that emits LLVM vector code.

A loop over table rows that keeps its running sums in an array goes through memory at every step
and runs at a third of the speed of the same loop with its sums in registers. numba cannot keep a
small array in registers, so these functions emit the loop themselves, with `nv` vectors of one
cache line each (8 float64 or 16 float32 lanes) as LLVM values. Nothing here is specific to a
processor: LLVM splits the vectors where registers are narrower, and joins multiply and add where
the processor can (llvm.fmuladd).

All functions can be called from compiled code only. Arrays are one-dimensional and C-contiguous;
**nothing is checked**: indices and lengths are the caller's duty. ``nv`` must be a constant at
compile time: a literal, a global or a variable of the enclosing Python function. `stride` may be
such a constant too (the address then takes a shift instead of a multiplication).

Lanes: ``nv`` vectors hold ``nv * LANES_F64`` float64 or ``nv * LANES_F32`` float32 numbers; eight
vectors are half the registers of AVX-512 and a good block, sixteen is the most that stays in them.

Order of arithmetic, fixed: each lane is ``fma(q_k, row_k, ...fma(q_first, row_first, start))`` in
the order of `k`, so results do not depend on `nv`, on blocks or on threads.

Minimum: ``a < b ? a : b``, in a fixed tree. A NaN in all lanes (a NaN quantity) comes out as NaN;
a NaN in one lane alone may be passed over, so tables must be finite.

Alignment: loads are emitted as unaligned, which costs nothing on aligned data; tables and scratch
from `aligned_empty` begin on a cache line, and a stride of whole vectors keeps rows on them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils as _cgutils
from numba.core.errors import NumbaTypeError
from numba.extending import intrinsic
from numba.np import arrayobj as _arrayobj

VECTOR_BYTES = 64
LANES_F64 = 8
LANES_F32 = 16

# numba's code generators are not typed.
cgutils: Any = _cgutils
arrayobj: Any = _arrayobj

_I32 = ir.IntType(32)
_I64 = ir.IntType(64)


def aligned_empty(shape: int | tuple[int, ...], dtype: Any = np.float64) -> np.ndarray[Any, Any]:
    """Return an uninitialised C-ordered array whose data begins on a cache line.

    Parameters
    ----------
    shape : int or tuple of int
        Shape.
    dtype : dtype, default float64
        Type of its elements.
    """
    kind = np.dtype(dtype)
    size = int(np.prod(shape, dtype=np.int64))
    raw = np.empty(size * kind.itemsize + VECTOR_BYTES, dtype=np.uint8)
    skip = -raw.ctypes.data % VECTOR_BYTES
    whole: np.ndarray[Any, Any] = raw[skip : skip + size * kind.itemsize].view(kind)
    return whole.reshape(shape)


def aligned(values: Any) -> np.ndarray[Any, Any]:
    """Return a copy of an array whose data begins on a cache line."""
    source = np.asarray(values)
    out = aligned_empty(source.shape, source.dtype)
    out[...] = source
    return out


def lanes_of(dtype: Any) -> int:
    """Return the number of elements of a vector: 8 for float64, 16 for float32."""
    return VECTOR_BYTES // int(np.dtype(dtype).itemsize)


@contextmanager
def rolled(builder: Any, first: Any, last: Any) -> Iterator[Any]:
    """Emit a loop over ``first:last`` that stays as it is written, and yield its index.

    Runs of rows are short and no two alike. Left to itself the compiler takes eight rows at once
    and the rest by another loop; the processor then guesses wrong three times a run where it
    guessed wrong once. It cannot when it cannot count: the index goes through an empty piece of
    assembly, which costs no instruction.
    """
    place = cgutils.alloca_once(builder, _I64)
    builder.store(first, place)
    head = builder.append_basic_block("rows")
    body = builder.append_basic_block("row")
    after = builder.append_basic_block("rows.end")
    builder.branch(head)
    with builder.goto_block(head):
        index = builder.load(place)
        builder.cbranch(builder.icmp_signed("<", index, last), body, after)
    builder.position_at_end(body)
    yield index
    more = builder.add(builder.load(place), ir.Constant(_I64, 1))
    kind = ir.FunctionType(_I64, [_I64])
    builder.store(builder.asm(kind, "", "=r,0", [more], False), place)
    builder.branch(head)
    builder.position_at_end(after)


class _Emit:
    """The pieces that every intrinsic of this module is put together from."""

    def __init__(self, context: Any, builder: Any, element: Any, nv: int) -> None:
        self.context, self.builder, self.nv = context, builder, nv
        self.scalar = ir.FloatType() if element is types.float32 else ir.DoubleType()
        self.lanes = LANES_F32 if element is types.float32 else LANES_F64
        self.vector = ir.VectorType(self.scalar, self.lanes)
        self.suffix = f"v{self.lanes}f{32 if element is types.float32 else 64}"
        self.align = 4 if element is types.float32 else 8

    def data(self, kind: Any, value: Any) -> Any:
        """Pointer to the first element of an array."""
        return arrayobj.make_array(kind)(self.context, self.builder, value).data

    def word(self, kind: Any, value: Any) -> Any:
        """Return an index argument as a 64-bit value; a literal as a constant."""
        if isinstance(kind, types.IntegerLiteral):
            return ir.Constant(_I64, kind.literal_value)
        return self.context.cast(self.builder, value, kind, types.int64)

    def place(self, data: Any, at: Any, vector: int) -> Any:
        """Pointer to a vector at an element."""
        step = ir.Constant(_I64, vector * self.lanes)
        here = self.builder.gep(data, [self.builder.add(at, step)])
        return self.builder.bitcast(here, self.vector.as_pointer())

    def load(self, data: Any, at: Any) -> list[Any]:
        """Load `nv` vectors from an element on."""
        places = [self.place(data, at, v) for v in range(self.nv)]
        return [self.builder.load(p, align=self.align) for p in places]

    def store(self, values: list[Any], data: Any, at: Any) -> None:
        """Store `nv` vectors from an element on."""
        for v, value in enumerate(values):
            self.builder.store(value, self.place(data, at, v), align=self.align)

    def ask(self, data: Any, at: Any, lines: int = 1) -> None:
        """Ask for cache lines from an element on, which may lie anywhere."""
        byte = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [byte, _I32, _I32, _I32])
        call = cgutils.get_or_insert_function(self.builder.module, kind, "llvm.prefetch.p0")
        first = self.builder.bitcast(self.builder.gep(data, [at]), byte)
        for line in range(lines):
            here = self.builder.gep(first, [ir.Constant(_I64, line * VECTOR_BYTES)])
            self.builder.call(call, [here, *(ir.Constant(_I32, x) for x in (0, 3, 1))])

    def zeros(self) -> list[Any]:
        return [ir.Constant(self.vector, [0.0] * self.lanes) for _ in range(self.nv)]

    def splat(self, value: Any) -> Any:
        """Return a vector with the same number in every lane."""
        empty = ir.Constant(self.vector, ir.Undefined)
        one = self.builder.insert_element(empty, value, ir.Constant(_I32, 0))
        mask = ir.Constant(ir.VectorType(_I32, self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(one, empty, mask)

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        """Return a * b + c, rounded once where the processor can."""
        signature = ir.FunctionType(self.vector, [self.vector] * 3)
        name = f"llvm.fmuladd.{self.suffix}"
        function = cgutils.get_or_insert_function(self.builder.module, signature, name)
        return self.builder.call(function, [a, b, c])

    def minimum(self, a: Any, b: Any) -> Any:
        """Return a < b ? a : b, by lanes: one instruction on x86."""
        return self.builder.select(self.builder.fcmp_ordered("<", a, b), a, b)

    def least(self, values: list[Any]) -> Any:
        """Smallest lane of some vectors, by a fixed tree."""
        while len(values) > 1:
            pairs = zip(values[::2], values[1::2])
            odd = [values[-1]] if len(values) % 2 else []
            values = [self.minimum(a, b) for a, b in pairs] + odd
        value, width = values[0], self.lanes
        while width > 1:
            width //= 2
            low, high = (
                ir.Constant(ir.VectorType(_I32, width), list(range(first, first + width)))
                for first in (0, width)
            )
            empty = ir.Constant(value.type, ir.Undefined)
            halves = [self.builder.shuffle_vector(value, empty, half) for half in (low, high)]
            value = self.minimum(*halves)
        return self.builder.extract_element(value, ir.Constant(_I32, 0))

    def rows(self, start: list[Any], kinds: Any, args: Any) -> list[Any]:
        """Sum quantity × row over a run of positions, beginning with `start`.

        `args` are table, stride, column, codes, quantity, first, last.
        """
        builder = self.builder
        table, codes, quantity = (self.data(kinds[i], args[i]) for i in (0, 3, 4))
        stride, column, first, last = (self.word(kinds[i], args[i]) for i in (1, 2, 5, 6))
        sums = [cgutils.alloca_once(builder, self.vector) for _ in start]
        for place, value in zip(sums, start):
            builder.store(value, place)
        with rolled(builder, first, last) as k:
            code = builder.zext(builder.load(builder.gep(codes, [k])), _I64)
            weight = self.splat(builder.load(builder.gep(quantity, [k])))
            at = builder.add(builder.mul(code, stride), column)
            for place, row in zip(sums, self.load(table, at)):
                builder.store(self.fma(weight, row, builder.load(place)), place)
        return [builder.load(place) for place in sums]


def _element(table: Any, *others: Any) -> Any:
    """Element type of the arrays, which must agree."""
    arrays = (table, *others)
    good = all(isinstance(a, types.Array) and a.ndim == 1 and a.layout == "C" for a in arrays)
    if not good or table.dtype not in (types.float64, types.float32):
        raise NumbaTypeError("vector intrinsics take contiguous 1-d float64 or float32 arrays")
    if any(a.dtype != table.dtype for a in others):
        raise NumbaTypeError("table, quantity and scratch must be of one type")
    return table.dtype


def _count(nv: Any) -> int:
    """Return the number of vectors, which must be a constant."""
    if not isinstance(nv, types.IntegerLiteral) or not 1 <= nv.literal_value <= 24:
        raise NumbaTypeError("the number of vectors must be a constant from 1 to 24")
    return int(nv.literal_value)


def _check_codes(codes: Any) -> None:
    if not isinstance(codes, types.Array) or codes.dtype not in (types.uint16, types.uint32):
        raise NumbaTypeError("codes must be uint16 or uint32")


def _emit_fma_rows(
    typingctx: Any, out: Any, table: Any, stride: Any, column: Any, codes: Any, quantity: Any,
    first: Any, last: Any, nv: Any,
) -> Any:  # fmt: skip
    """Write the sum of quantity × row over positions ``first:last`` to the head of `out`.

    ``out[j] = Σ_k quantity[k] · table[codes[k] · stride + column + j]`` for j below the lanes of
    `nv` vectors; zeros for an empty run.
    """
    element, n = _element(table, quantity, out), _count(nv)
    _check_codes(codes)
    kinds = (out, table, stride, column, codes, quantity, first, last, nv)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = _Emit(context, builder, element, n)
        sums = emit.rows(emit.zeros(), kinds[1:], args[1:])
        emit.store(sums, emit.data(out, args[0]), ir.Constant(_I64, 0))
        return context.get_dummy_value()

    return types.void(*kinds), codegen


def _emit_fma_rows_add(
    typingctx: Any, out: Any, table: Any, stride: Any, column: Any, codes: Any, quantity: Any,
    first: Any, last: Any, nv: Any,
) -> Any:  # fmt: skip
    """As `fma_rows`, but beginning with what the head of `out` holds instead of zeros."""
    element, n = _element(table, quantity, out), _count(nv)
    _check_codes(codes)
    kinds = (out, table, stride, column, codes, quantity, first, last, nv)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = _Emit(context, builder, element, n)
        scratch, zero = emit.data(out, args[0]), ir.Constant(_I64, 0)
        sums = emit.rows(emit.load(scratch, zero), kinds[1:], args[1:])
        emit.store(sums, scratch, zero)
        return context.get_dummy_value()

    return types.void(*kinds), codegen


def _emit_fma_rows_min(
    typingctx: Any, table: Any, stride: Any, column: Any, codes: Any, quantity: Any, first: Any,
    last: Any, nv: Any,
) -> Any:  # fmt: skip
    """Return the smallest lane of the sum that `fma_rows` would write; nothing is stored."""
    element, n = _element(table, quantity), _count(nv)
    _check_codes(codes)
    kinds = (table, stride, column, codes, quantity, first, last, nv)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = _Emit(context, builder, element, n)
        return emit.least(emit.rows(emit.zeros(), kinds, args))

    return element(*kinds), codegen


def _emit_block_fill(typingctx: Any, out: Any, at: Any, value: Any, nv: Any) -> Any:
    """Set ``out[at : at + lanes]`` to a number."""
    element, n = _element(out), _count(nv)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = _Emit(context, builder, element, n)
        full = [emit.splat(args[2])] * n
        emit.store(full, emit.data(out, args[0]), emit.word(at, args[1]))
        return context.get_dummy_value()

    return types.void(out, at, element, nv), codegen


def _emit_block_zero(typingctx: Any, out: Any, at: Any, nv: Any) -> Any:
    """Set ``out[at : at + lanes]`` to zeros."""
    element, n = _element(out), _count(nv)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = _Emit(context, builder, element, n)
        emit.store(emit.zeros(), emit.data(out, args[0]), emit.word(at, args[1]))
        return context.get_dummy_value()

    return types.void(out, at, nv), codegen


def _emit_block_add(typingctx: Any, out: Any, at: Any, block: Any, block_at: Any, nv: Any) -> Any:
    """Add a block into another: ``out[at + j] += block[block_at + j]``."""
    element, n = _element(out, block), _count(nv)
    kinds = (out, at, block, block_at, nv)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = _Emit(context, builder, element, n)
        target, place = emit.data(out, args[0]), emit.word(at, args[1])
        more = emit.load(emit.data(block, args[2]), emit.word(block_at, args[3]))
        have = emit.load(target, place)
        emit.store([builder.fadd(a, b) for a, b in zip(have, more)], target, place)
        return context.get_dummy_value()

    return types.void(*kinds), codegen


def _emit_block_fma(
    typingctx: Any, out: Any, at: Any, factor: Any, block: Any, block_at: Any, nv: Any
) -> Any:
    """Add a multiple of a block: ``out[at + j] += factor * block[block_at + j]``, fused."""
    element, n = _element(out, block), _count(nv)
    kinds = (out, at, element, block, block_at, nv)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = _Emit(context, builder, element, n)
        target, place = emit.data(out, args[0]), emit.word(at, args[1])
        weight = emit.splat(args[2])
        more = emit.load(emit.data(block, args[3]), emit.word(block_at, args[4]))
        have = emit.load(target, place)
        emit.store([emit.fma(weight, b, a) for a, b in zip(have, more)], target, place)
        return context.get_dummy_value()

    return types.void(*kinds), codegen


def _emit_block_copy(typingctx: Any, out: Any, at: Any, block: Any, block_at: Any, nv: Any) -> Any:
    """Copy a block: ``out[at + j] = block[block_at + j]``."""
    element, n = _element(out, block), _count(nv)
    kinds = (out, at, block, block_at, nv)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = _Emit(context, builder, element, n)
        values = emit.load(emit.data(block, args[2]), emit.word(block_at, args[3]))
        emit.store(values, emit.data(out, args[0]), emit.word(at, args[1]))
        return context.get_dummy_value()

    return types.void(*kinds), codegen


def _emit_block_min(typingctx: Any, block: Any, at: Any, nv: Any) -> Any:
    """Return the smallest of ``block[at : at + lanes]``."""
    element, n = _element(block), _count(nv)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = _Emit(context, builder, element, n)
        return emit.least(emit.load(emit.data(block, args[0]), emit.word(at, args[1])))

    return element(block, at, nv), codegen


def _emit_block_minimum(
    typingctx: Any, out: Any, at: Any, block: Any, block_at: Any, nv: Any
) -> Any:
    """Keep the smaller, lane by lane: ``out[at + j] = min(out[at + j], block[block_at + j])``."""
    element, n = _element(out, block), _count(nv)
    kinds = (out, at, block, block_at, nv)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = _Emit(context, builder, element, n)
        target, place = emit.data(out, args[0]), emit.word(at, args[1])
        more = emit.load(emit.data(block, args[2]), emit.word(block_at, args[3]))
        have = emit.load(target, place)
        emit.store([emit.minimum(a, b) for a, b in zip(have, more)], target, place)
        return context.get_dummy_value()

    return types.void(*kinds), codegen


def _emit_prefetch(typingctx: Any, values: Any, at: Any, lines: Any) -> Any:
    """Ask for `lines` (a constant) cache lines from an element on; any address is allowed."""
    n = _count(lines)
    if not isinstance(values, types.Array) or values.ndim != 1 or values.layout != "C":
        raise NumbaTypeError("only a contiguous 1-d array can be asked for")

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = _Emit(context, builder, types.float64, n)
        emit.ask(emit.data(values, args[0]), emit.word(at, args[1]), n)
        return context.get_dummy_value()

    return types.void(values, at, lines), codegen


_intrinsic = intrinsic(prefer_literal=True)

#: ``fma_rows(out, table, stride, column, codes, quantity, first, last, nv)``
fma_rows = cast("Callable[..., None]", _intrinsic(_emit_fma_rows))
#: ``fma_rows_add(out, table, stride, column, codes, quantity, first, last, nv)``
fma_rows_add = cast("Callable[..., None]", _intrinsic(_emit_fma_rows_add))
#: ``fma_rows_min(table, stride, column, codes, quantity, first, last, nv) -> smallest lane``
fma_rows_min = cast("Callable[..., float]", _intrinsic(_emit_fma_rows_min))
#: ``block_fill(out, at, value, nv)``
block_fill = cast("Callable[..., None]", _intrinsic(_emit_block_fill))
#: ``block_zero(out, at, nv)``
block_zero = cast("Callable[..., None]", _intrinsic(_emit_block_zero))
#: ``block_add(out, at, block, block_at, nv)``
block_add = cast("Callable[..., None]", _intrinsic(_emit_block_add))
#: ``block_fma(out, at, factor, block, block_at, nv)``
block_fma = cast("Callable[..., None]", _intrinsic(_emit_block_fma))
#: ``block_copy(out, at, block, block_at, nv)``
block_copy = cast("Callable[..., None]", _intrinsic(_emit_block_copy))
#: ``block_min(block, at, nv) -> smallest lane``
block_min = cast("Callable[..., float]", _intrinsic(_emit_block_min))
#: ``block_minimum(out, at, block, block_at, nv)``
block_minimum = cast("Callable[..., None]", _intrinsic(_emit_block_minimum))
#: ``prefetch(values, at, lines)``
prefetch = cast("Callable[..., None]", _intrinsic(_emit_prefetch))
