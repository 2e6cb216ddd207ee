"""Handing a compiled function thirty arrays as one number.

Calling compiled code costs some 50 ns for every array argument, so a check that takes its tables
one by one would spend most of its time before it starts. A *block* is an int64 array of
addresses and sizes; compiled code opens it. Nothing is copied and nothing is checked: whoever
makes a block keeps the arrays alive and in place for as long as the block is used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numba
import numpy as np
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


def _pointer(element: Any) -> Callable[..., Any]:
    def emit(typingctx: Any, address: Any) -> Any:
        signature = types.CPointer(element)(types.int64)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

        return signature, codegen

    return cast("Callable[..., Any]", intrinsic(emit))


#: An array at a pointer, in compiled code.
carray: Any = vars(numba)["carray"]

#: Pointers from addresses, in compiled code: ``carray(f8_at(address), size)``.
f8_at = _pointer(types.float64)
i8_at = _pointer(types.int64)
i4_at = _pointer(types.int32)
u4_at = _pointer(types.uint32)
u1_at = _pointer(types.uint8)
