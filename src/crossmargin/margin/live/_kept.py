"""Compiled functions that are kept on disk though they call others made for the same constants.

numba keeps a function on disk by the text of what it takes from around it, and the text of a
compiled function differs in every process: whatever calls one that was made for some constants
is compiled again each time, which takes half a minute for a pre-trade check. Here the key is the
constants and the source text of the modules that such a function is made of, so that it is found
again, and is not found once any of them has changed.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.core.caching import FunctionCache

from crossmargin.margin.kernels._named import named_after

F = TypeVar("F", bound=Callable[..., Any])

#: What the kept functions are made of, from the folder of this room.
_MADE_OF = (
    ("live", "_address.py"), ("live", "_gate_blocks.py"), ("live", "_gate_check.py"),
    ("live", "_gate_edits.py"), ("live", "_gate_kernel.py"), ("live", "_gate_orders.py"),
    ("live", "_gate_pots.py"), ("live", "_gate_rows.py"), ("live", "_gate_tables.py"),
    ("kernels", "_vector*.py"),
    ("fused", "_holdings.py"), ("fused", "_combine.py"), ("fused", "_layout.py"),
    ("fused", "_kernel.py"), ("fused", "_lanes.py"),
)  # fmt: skip


@functools.cache
def sources_mark() -> str:
    """Return a hash of the source text that kept functions are made of."""
    margin = Path(__file__).resolve().parent.parent
    mark = hashlib.sha256()
    for folder, pattern in _MADE_OF:
        for path in sorted((margin / folder).glob(pattern)):
            mark.update(path.read_bytes())
    return mark.hexdigest()


class _Kept(FunctionCache):
    """A place on disk that goes by the sources; the function's name carries the constants."""

    def _index_key(self, sig: Any, codegen: Any) -> tuple[Any, ...]:
        return sig, codegen.magic_tuple(), sources_mark()


def compiled(*constants: object, signature: str | None = None) -> Callable[[F], F]:
    """Compile a function that is made for some constants.

    Parameters
    ----------
    *constants : object
        Everything that the function takes from around it and that is not the same in all
        processes.
    signature : str, optional
        For a function that is called from Python: its types. It is compiled at once, for these
        alone, and kept on disk with all that it calls.
    """

    def make(function: F) -> F:
        jit = numba.njit(boundscheck=False, error_model="numpy")
        dispatcher: Any = jit(named_after(*constants)(function))
        if signature is not None:
            kept: Any = _Kept
            # Without a place to write in, it is compiled in every process.
            with contextlib.suppress(RuntimeError):
                dispatcher._cache = kept(dispatcher.py_func)
            dispatcher.compile(signature)
            dispatcher.disable_compile()
        return cast("F", dispatcher)

    return make
