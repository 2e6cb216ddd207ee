"""Names of compiled functions that are made for some constants.

numba keeps compiled functions on disk by what they are made of, constants included, but names
their code in memory by module, name, argument types and a number that begins anew in each
process. Two of a kind, compiled for different constants in different processes, may so come from
the disk under one name, and a caller of the second then runs the first: wrong numbers without a
word. So every function that is compiled for constants carries them in its name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def named_after(*constants: object) -> Callable[[F], F]:
    """Give a function a name of its own for the constants that it is compiled for.

    Stands between the compiler and the function::

        @numba.njit(cache=True)
        @named_after(vectors, lanes)
        def kernel(...): ...

    Parameters
    ----------
    *constants : object
        Everything that the function takes from around it and that is not the same in all
        processes; their text decides.
    """
    mark = hashlib.sha256(repr(constants).encode()).hexdigest()[:16]

    def rename(function: F) -> F:
        function.__qualname__ = f"{function.__qualname__}_{mark}"
        return function

    return rename
