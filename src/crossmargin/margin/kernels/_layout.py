"""How tables and books lie in memory for the kernels, and how work is parted among threads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from crossmargin.errors import InputError
from crossmargin.margin._ranges import in_ranges
from crossmargin.margin.kernels._vector import aligned_empty, lanes_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
F = TypeVar("F", bound=Callable[..., Any])

#: Vectors of a block. A table of one block keeps its rows whole; a larger one is cut into blocks
#: of at most `WIDE_BLOCK` vectors: a plane of such blocks stays in the second-level cache.
ONE_BLOCK = 16
WIDE_BLOCK = 8

#: Accounts that a thread takes at a time. A plane is loaded once for each such run of accounts, so
#: runs are long; they are shorter when there would not be enough of them to share out.
RUN = 65_536


def jit(function: F) -> F:
    """Compile a kernel: no interpreter lock, no reordering of sums, kept on disk where possible.

    numba's cache looks at the file of the kernel alone: after an edit in ``_vector``, touch it.
    """
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
    try:
        compiled = njit(cache=True, **options)(function)
    except RuntimeError:
        # numba found nowhere to keep its cache (a read-only installation without a home).
        compiled = njit(**options)(function)
    return cast("F", compiled)


@dataclass(frozen=True, slots=True, kw_only=True)
class GridTable:
    """P&L of one unit by instrument and scenario, as the kernels read it.

    Element (row r, scenario s) is ``values[(s // block) * plane + r * stride + s % block]``. Lanes
    beyond `scenarios` repeat the last scenario, which changes no minimum.

    Attributes
    ----------
    values : float64 or float32, flat, on a cache line
        In the settlement asset, > 0 gain for one unit long.
    rows, scenarios : int
        What is in it.
    vectors : int
        Vectors of a block.
    blocks : int
        Number of blocks.
    stride : int
        Elements from a row to the next.
    plane : int
        Elements from a block to the next.
    """

    values: NDArray[Any]
    rows: int
    scenarios: int
    vectors: int
    blocks: int
    stride: int
    plane: int

    @property
    def block(self) -> int:
        """Scenarios of a block."""
        return self.vectors * lanes_of(self.values.dtype)

    @property
    def by_block(self) -> NDArray[Any]:
        """View as [blocks, rows, block]."""
        size = self.values.itemsize
        return np.lib.stride_tricks.as_strided(
            self.values,
            (self.blocks, self.rows, self.block),
            (self.plane * size, self.stride * size, size),
        )

    def dense(self) -> NDArray[Any]:
        """Return the table again as [rows, scenarios]."""
        whole = self.by_block.transpose(1, 0, 2).reshape(self.rows, -1)
        return whole[:, : self.scenarios]


def grid_table(
    table: ArrayLike | GridTable,
    dtype: Any = None,
    *,
    layout: Literal["planes", "rows"] | None = None,
) -> GridTable:
    """Lay out a table for the kernels.

    Parameters
    ----------
    table : array_like [rows, scenarios] or GridTable
        Finite. A `GridTable` of the right type and layout is returned as it is.
    dtype : float64 or float32, optional
        Type to store; default: float32 for a float32 table, else float64.
    layout : {"planes", "rows"}, optional
        ``planes``: the blocks of all rows lie together, block after block: a pass over the book
        for each block finds its part of the table in the second-level cache. ``rows``: each row
        is contiguous, for readers that need all scenarios of an account at once. A table of one
        block is the same in both. Default: that of a `GridTable`, else ``planes``.

    Raises
    ------
    InputError
        ``INP-003`` for a wrong shape, ``INP-004`` for a number that is not finite in `dtype`.
    """
    if isinstance(table, GridTable):
        kept = layout is None or table.blocks == 1
        kept = kept or (table.stride == table.block) == (layout == "planes")
        if kept and (dtype is None or table.values.dtype == dtype):
            return table
        table = table.dense()
    dense = np.asarray(table)
    if dense.ndim != 2 or dense.shape[1] == 0:
        raise InputError(
            f"a risk table has rows and at least one scenario; the shape is {dense.shape}",
            code="INP-003",
        )
    if dtype is None:
        dtype = np.float32 if dense.dtype == np.float32 else np.float64
    kind = np.dtype(dtype)
    rows, scenarios = dense.shape
    needed = -(-scenarios // lanes_of(kind))
    blocks = 1 if needed <= ONE_BLOCK else -(-needed // WIDE_BLOCK)
    vectors = -(-needed // blocks)
    block = vectors * lanes_of(kind)
    out = GridTable(
        values=aligned_empty(blocks * rows * block, kind),
        rows=rows,
        scenarios=scenarios,
        vectors=vectors,
        blocks=blocks,
        stride=blocks * block if layout == "rows" else block,
        plane=block if layout == "rows" else rows * block,
    )
    places = out.by_block
    with np.errstate(over="ignore"):
        for b in range(blocks):
            part = dense[:, b * block : (b + 1) * block]
            places[b, :, : part.shape[1]] = part
            places[b, :, part.shape[1] :] = dense[:, -1:]
    if not np.isfinite(out.values).all():
        bad = int(np.flatnonzero(~np.isfinite(places).all((0, 2)))[0])
        raise InputError(
            f"row {bad} of the risk table has a number that is not finite as {kind.name}",
            code="INP-004",
        )
    return out


def check_rows(rows: int, start: ArrayLike, codes: ArrayLike, quantity: ArrayLike) -> CheckedRows:
    """Check a book in compressed sparse rows against a table of `rows` rows.

    Parameters
    ----------
    rows : int
        Rows of the table.
    start : array_like of int [A + 1]
        Rows of account a are ``start[a]:start[a + 1]``.
    codes : array_like of int [N]
        Row of the table; kept as uint16 or uint32.
    quantity : array_like [N]
        Units, finite.

    Raises
    ------
    InputError
        ``INP-003`` for pointers that do not fit, ``INP-008`` for a code outside the table,
        ``INP-004`` for a quantity that is not finite.
    """
    pointers = np.ascontiguousarray(start, dtype=np.int64)
    where = np.asarray(codes)
    if where.size == 0:
        where = where.astype(np.uint16)
    held = np.ascontiguousarray(quantity)
    if held.dtype != np.float32:
        held = held.astype(np.float64, copy=False)
    fits = pointers.ndim == where.ndim == held.ndim == 1 and pointers.size > 0
    fits = fits and where.size == held.size and where.dtype.kind in "iu"
    if fits:
        fits = bool(pointers[0] >= 0 and pointers[-1] <= held.size)
        fits = fits and not (pointers[1:] < pointers[:-1]).any()
    if not fits:
        raise InputError(
            "row pointers of the book do not fit its positions",
            code="INP-003",
            field="start",
            hint="pointers rise from 0 to the number of positions, codes are whole numbers",
        )
    if where.size and not (where.min() >= 0 and where.max() < rows):
        bad = int(np.flatnonzero((where < 0) | (where >= rows))[0])
        raise InputError(
            f"position {bad} is in row {int(where[bad])} of a table of {rows}",
            code="INP-008",
            field="codes",
        )
    if not np.isfinite(held).all():
        bad = int(np.flatnonzero(~np.isfinite(held))[0])
        raise InputError(
            f"the quantity of position {bad} is {held[bad]}", code="INP-004", field="quantity"
        )
    if where.dtype not in (np.uint16, np.uint32):
        where = where.astype(np.uint16 if rows <= 1 << 16 else np.uint32)
    return CheckedRows(start=pointers, codes=np.ascontiguousarray(where), quantity=held)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedRows:
    """A book in compressed sparse rows that `check_rows` has found good.

    Attributes
    ----------
    start : int64[A + 1]
        Row pointers.
    codes : uint16[N] or uint32[N]
        Rows of the table.
    quantity : float64[N] or float32[N]
        Units.
    """

    start: Ints
    codes: NDArray[Any]
    quantity: NDArray[Any]

    @property
    def accounts(self) -> int:
        """Number of accounts."""
        return self.start.size - 1


def run_in_threads(work: Callable[[int, int], None], accounts: int, threads: int, run: int) -> None:
    """Call ``work(first, last)`` for runs of accounts that cover ``0:accounts``.

    Runs go to whichever thread is free; what a run writes must not depend on who does it. An
    error in a thread is raised here.

    Parameters
    ----------
    work : callable
        Releases the interpreter's lock while it computes.
    accounts : int
        How many there are.
    threads : int
        Threads to use, at least 1; with 1, everything runs in the caller.
    run : int
        Accounts of a run at most; the last runs are shorter, so that no thread stands idle.
    """
    if threads < 1:
        raise InputError(f"{threads} threads cannot compute", code="INP-004", field="threads")
    run = max(run, 1)
    for _ in in_ranges(work, accounts, min(run, 256), threads, most=run):
        pass
