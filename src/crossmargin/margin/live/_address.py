"""Handing a compiled function thirty arrays as one number.

Calling compiled code costs some 50 ns for every array argument, so a check that takes its tables
one by one would spend most of its time before it starts. A *block* is an int64 array of
addresses and sizes; compiled code opens it. Nothing is copied and nothing is checked: whoever
makes a block keeps the arrays alive and in place for as long as the block is used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def block_of(arrays: Sequence[NDArray[Any]]) -> Ints:
    """Return the addresses and sizes of contiguous arrays, two numbers an array."""
    out = np.empty(2 * len(arrays), dtype=np.int64)
    for k, array in enumerate(arrays):
        if not array.flags.c_contiguous:
            raise ValueError(f"array {k} of a block is not contiguous")
        out[2 * k], out[2 * k + 1] = array.ctypes.data, array.size
    return out


def _array(
    context: Any, builder: Any, kind: Any, block: Any, place: Any, shape: tuple[Any, ...] = ()
) -> Any:
    """Build the array at a place of a block; of `shape`, or of one row where there is none."""
    word = ir.IntType(64)
    at = builder.gep(block, [place])
    data = builder.inttoptr(builder.load(at), context.get_data_type(kind.dtype).as_pointer())
    size = builder.load(builder.gep(at, [ir.Constant(word, 1)]))
    wide = context.get_abi_sizeof(context.get_data_type(kind.dtype))
    edges = shape or (size,)
    strides = [ir.Constant(word, wide)]
    for edge in reversed(edges[1:]):
        strides.insert(0, builder.mul(strides[0], edge))
    array = context.make_array(kind)(context, builder)
    context.populate_array(
        array, data=data, shape=edges, strides=strides, itemsize=ir.Constant(word, wide),
        meminfo=None,
    )  # fmt: skip
    return array._getvalue()


def _one(element: Any) -> Callable[..., Any]:
    """Return the compiled opener of one array: ``open(address, k)``."""
    kind = types.Array(element, 1, "C")

    def emit(typingctx: Any, address: Any, k: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            word = ir.IntType(64)
            block = builder.inttoptr(args[0], word.as_pointer())
            place = builder.mul(args[1], ir.Constant(word, 2))
            return _array(context, builder, kind, block, place)

        return kind(types.int64, types.int64), codegen

    return cast("Callable[..., Any]", intrinsic(emit))


def opener(kinds: str, tables: dict[int, tuple[int, int]] | None = None) -> Callable[..., Any]:
    """Return the compiled opener of a block: ``open(address)``, a tuple of arrays.

    One step for the compiler, however many arrays; those that are not used cost nothing.

    Parameters
    ----------
    kinds : str
        A letter an array: ``d`` float64, ``q`` int64, ``i`` int32, ``I`` uint32, ``B`` uint8.
    tables : dict
        Arrays of two dimensions, and the words of the block that hold their shape.
    """
    shapes = tables or {}
    arrays = [types.Array(_KINDS[x], 2 if k in shapes else 1, "C") for k, x in enumerate(kinds)]
    make_tuple: Any = types.Tuple
    whole = make_tuple(arrays)

    def emit(typingctx: Any, address: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            word = ir.IntType(64)
            block = builder.inttoptr(args[0], word.as_pointer())
            out = []
            for k, kind in enumerate(arrays):
                shape = tuple(
                    builder.load(builder.gep(block, [ir.Constant(word, x)]))
                    for x in shapes.get(k, ())
                )
                place = ir.Constant(word, 2 * k)
                out.append(_array(context, builder, kind, block, place, shape))
            return context.make_tuple(builder, whole, out)

        return whole(types.int64), codegen

    return cast("Callable[..., Any]", intrinsic(emit))


_KINDS = {
    "d": types.float64,
    "q": types.int64,
    "i": types.int32,
    "I": types.uint32,
    "B": types.uint8,
}

#: Array k of the block at an address, float64 or int64, in compiled code.
floats = _one(types.float64)
ints = _one(types.int64)


def _figures(typingctx: Any, address: Any) -> Any:
    pointer: Any = types.CPointer
    kind = pointer(types.float64)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(kind))

    return kind(types.int64), codegen


#: Float64 figures at an address, as a pointer, in compiled code.
figures_at = cast("Callable[..., Any]", intrinsic(_figures))
