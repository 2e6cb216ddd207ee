"""Who is below the line: single precision decides where it can, double precision where it must.

An account breaches when ``worst = min_s Σ_k q_k T_ks`` (float64, `grid.worst_of_grid`) is below
its line. A float32 pass moves half the bytes and does twice the lanes, and nearly every account is
far from its line. The bound below says how far is far enough; the others are computed in float64.
So the decisions are those of float64, all of them.

**The bound** (after Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., §§2.2 and
3.1; published). Write u = 2⁻²⁴ and v = 2⁻⁵³ for the unit roundoffs, γ_j(u) = ju/(1 − ju), η = 2⁻¹²⁶
for the smallest normal float32, n for the account's positions, R_k = max_s |T_ks| and
G = Σ_k |q_k| R_k.

1. Rounding to float32: q̂_k = q_k(1 + δ) + e and T̂_ks = T_ks(1 + δ') + e' with |δ|, |δ'| ≤ u, where
   e and e' are 0 unless the number is subnormal as float32. Then they are at most η, also on a
   processor that has been told to take subnormal numbers for zero.
2. The running sum rounds each of its n steps once (fused) or twice (product, then sum; the first
   sum is with 0 and exact): a term passes through n roundings at most. Where a product or a sum
   is subnormal, it errs by at most η instead: 2nη in all.
3. So each term carries n + 2 factors (1 + δ) at most, and for each scenario
   ``|Ŵ_s − Σ q_k T_ks| ≤ γ_{n+2}(u) G + 4η (n + Σ_k |q_k| + Σ_k R_k)``: of the 4, 2 are from step
   2, and the rest covers e·e' and the roundings that errors of size η pass through in turn, a
   factor of (1 + u)^(n+2) < 1.1 for n < 2²⁰.
4. The float64 pass errs by at most γ_n(v) G; its own underflows vanish in the last term.
5. A minimum of numbers moves by no more than the numbers, so |Ŵ − W| ≤ E with
   ``E = (γ_{n+2}(u) + γ_n(v)) G + 4η (n + Σ|q| + ΣR)``.
6. The decision compares fl(Ŵ − line) with E. Rounding is monotone and E is a float64 number, so
   fl(Ŵ − line) > E means Ŵ − line > E: no further allowance is needed.

All of it assumes that nothing overflows float32: partial sums are at most (1 + γ)G, so accounts
with G above 10³⁸ or a quantity or sum beyond float32 have E = ∞ and are done in float64. E itself
is computed in float64 with a relative error below γ_{n+9}(v), and stored as float32; a factor of
1 + 2⁻²⁰ and rounding up cover both. For ``n ≥ 2²⁰`` E = ∞.

E is kept for each account. When the table moves, R grows by a factor of at most
ρ = max(1, max_k R'_k/R_k), and so does E: one number a tick instead of a pass over the book.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.errors import InputError
from crossmargin.margin.kernels import _vector as vec
from crossmargin.margin.kernels._layout import (
    RUN,
    CheckedRows,
    GridTable,
    grid_table,
    jit,
    run_in_threads,
)
from crossmargin.margin.kernels._named import named_after
from crossmargin.margin.kernels.grid import _kernel as _worst_kernel
from crossmargin.margin.kernels.grid import worst_of_grid

Floats = NDArray[np.float64]

_UNIT_32 = 2.0**-24
_UNIT_64 = 2.0**-53
_UNDERFLOW = 2.0**-126
_LARGEST = 1e38
_MOST_POSITIONS = 1 << 20
_COVER = 1.0 + 2.0**-20

#: Accounts whose float32 results wait for the decision: they stay in the second-level cache.
SCREEN_RUN = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreenedBook:
    """A book with what its screen needs.

    Attributes
    ----------
    book : CheckedRows
        The book in float64.
    quantity : float32[N]
        Its quantities, rounded.
    bound : float32[A]
        E of each account for the table at hand when it was made, see the module.
    reach : float64[rows]
        R of that table.
    """

    book: CheckedRows
    quantity: NDArray[np.float32]
    bound: NDArray[np.float32]
    reach: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaches:
    """Decisions for a book's accounts.

    Attributes
    ----------
    breached : bool[A]
        Whether the worst P&L is below the line.
    doubtful : int
        Accounts that float32 could not decide.
    """

    breached: NDArray[np.bool_]
    doubtful: int


def screened_book(table: ArrayLike | GridTable, book: CheckedRows) -> ScreenedBook:
    """Prepare a book for `breaches`: once for a book, and again where it changes.

    Parameters
    ----------
    table : array_like [rows, scenarios] or GridTable
        The float64 table.
    book : CheckedRows
        Quantities in float64.
    """
    reach = _reach(grid_table(table, np.float64))
    held = book.quantity.astype(np.float64, copy=False)
    bound = np.empty(book.accounts)
    _bounds(book.start, book.codes, held, reach, bound)
    with np.errstate(over="ignore"):
        narrow = held.astype(np.float32)
        stored = np.nextafter(bound.astype(np.float32), np.float32(np.inf))
    wide = CheckedRows(start=book.start, codes=book.codes, quantity=held)
    return ScreenedBook(book=wide, quantity=narrow, bound=stored, reach=reach)


def _reach(laid: GridTable) -> Floats:
    """Return R: the largest |P&L| of each row."""
    out = np.zeros(laid.rows)
    _largest(laid.values, laid.plane, laid.stride, laid.blocks, laid.block, out)
    return out


@jit
def _largest(values: Any, plane: int, stride: int, blocks: int, block: int, out: Any) -> None:
    for b in range(blocks):
        for row in range(out.shape[0]):
            first = b * plane + row * stride
            far = out[row]
            for k in range(first, first + block):
                far = max(far, abs(values[k]))
            out[row] = far


@jit
def _bounds(start: Any, codes: Any, quantity: Any, reach: Any, out: Any) -> None:
    """Write E of each account, in float64 and before it is rounded up."""
    for account in range(out.shape[0]):
        gross, sizes, reaches, largest = 0.0, 0.0, 0.0, 0.0
        for k in range(start[account], start[account + 1]):
            size, far = abs(quantity[k]), reach[codes[k]]
            gross += size * far
            sizes += size
            reaches += far
            largest = max(largest, size)
        n = start[account + 1] - start[account]
        good = gross <= _LARGEST and largest <= _LARGEST and n < _MOST_POSITIONS
        if good:
            single = (n + 2) * _UNIT_32 / (1.0 - (n + 2) * _UNIT_32)
            double = n * _UNIT_64 / (1.0 - n * _UNIT_64)
            under = 4.0 * _UNDERFLOW * (n + sizes + reaches)
            out[account] = ((single + double) * gross + under) * _COVER
        else:
            out[account] = np.inf


@lru_cache(maxsize=64)
def _decide(vectors: int, lanes: int) -> Callable[..., int]:
    """Compile the decision for float64 blocks of `vectors` vectors."""
    stride = vectors * lanes

    def decide(
        worst: Any, bound: Any, growth: float, line: Any, values: Any, plane: int, blocks: int,
        start: Any, codes: Any, quantity: Any, first: int, last: int, out: Any,
    ) -> int:  # fmt: skip
        doubtful = 0
        for account in range(first, last):
            room = worst[account - first] - line[account]
            error = growth * bound[account]
            if room > error:
                out[account] = False
            elif room < -error:
                out[account] = True
            else:
                doubtful += 1
                out[account] = False
                for block in range(blocks):
                    exact = vec.fma_rows_min(
                        values, stride, block * plane, codes, quantity, start[account],
                        start[account + 1], vectors,
                    )  # fmt: skip
                    if exact < line[account]:
                        out[account] = True
        return doubtful

    return jit(named_after(vectors, lanes)(decide))


def breaches(
    table: ArrayLike | GridTable,
    screened: ScreenedBook,
    line: ArrayLike,
    *,
    narrow: GridTable | None = None,
    threads: int = 1,
) -> Breaches:
    """Say which accounts' worst P&L is below their line.

    Parameters
    ----------
    table : array_like [rows, scenarios] or GridTable
        P&L of one unit, float64, finite.
    screened : ScreenedBook
        See `screened_book`; made for this table or an earlier one of as many rows.
    line : array_like [A]
        In the unit of the table; −inf never breaches, NaN neither.
    narrow : GridTable, optional
        The same table in float32, when it has been laid out before.
    threads : int, default 1
        Threads of this process.

    Returns
    -------
    Breaches
        ``worst_of_grid(table, book) < line`` for every account, without exception.

    Raises
    ------
    InputError
        ``INP-003`` when lines or tables do not fit the book.
    """
    laid = grid_table(table, np.float64, layout="planes")
    book = screened.book
    lines = np.ascontiguousarray(line, dtype=np.float64)
    if lines.shape != (book.accounts,) or laid.rows != screened.reach.size:
        raise InputError(
            f"{lines.size} lines and {laid.rows} rows do not fit a book of {book.accounts} "
            f"accounts over {screened.reach.size} rows",
            code="INP-003",
            field="line",
        )
    out = np.empty(book.accounts, dtype=np.bool_)
    reach = _reach(laid)
    growth = _growth(reach, screened.reach)
    if not np.isfinite(growth) or reach.max(initial=0.0) > _LARGEST:
        return Breaches(
            breached=worst_of_grid(laid, book, threads=threads) < lines, doubtful=book.accounts
        )
    quick = grid_table(laid if narrow is None else narrow, np.float32, layout="planes")
    single = _worst_kernel(quick.vectors, quick.block // quick.vectors)
    double = _decide(laid.vectors, laid.block // laid.vectors)
    run = SCREEN_RUN if quick.blocks == 1 else RUN
    counts: list[int] = []

    def work(first: int, last: int) -> None:
        worst = np.empty(last - first)
        starts = book.start[first : last + 1]
        single(
            quick.values, quick.plane, quick.blocks, starts, book.codes, screened.quantity, 0,
            last - first, worst,
        )  # fmt: skip
        counts.append(
            double(
                worst, screened.bound, growth, lines, laid.values, laid.plane, laid.blocks,
                book.start, book.codes, book.quantity, first, last, out,
            )
        )  # fmt: skip

    run_in_threads(work, book.accounts, threads, run)
    return Breaches(breached=out, doubtful=sum(counts))


def _growth(now: Floats, then: Floats) -> float:
    """Return ρ: the factor by which the bounds of an earlier table must grow, at least 1."""
    grown = now > then
    if not grown.any():
        return 1.0
    with np.errstate(divide="ignore", over="ignore"):
        return float(np.max(now[grown] / then[grown])) * _COVER
