"""Expected shortfall of every account, with the last run's tail as a first guess.

With m = S·(1 − α) equally likely scenarios in the tail and x the P&L of an account sorted up,

    ES = [Σ_{i ≤ ⌊m⌋} x_(i) + (m − ⌊m⌋)·x_(⌊m⌋+1)] / m

Source: Acerbi and Tasche (2002) as given in clearing-practice §1.6 (published); the same estimator
as :func:`crossmargin.stats.expected_shortfall`, on P&L instead of losses.

Selecting the worst 25 of 1,000 costs many times what summing them up does. But a book is margined
again and again, and its tail moves little: a scenario is kept only when it is below a line a
little above where the tail began last time (a compare and a compress in registers), and the tail
is found among the few that are kept. The line decides how long that takes, never the result:

- with v = x_(⌈m⌉), ``ES = [Σ_{x<v} x + (m − #{x<v})·v] / m``, and everything up to v is kept
  whenever ⌈m⌉ scenarios are; with fewer, the line is dropped and the account done again;
- the sum runs over {x < v} in the order of the scenarios, which no line changes. So the result has
  the same bits for a fresh guess, a stale one and none.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.errors import InputError
from crossmargin.margin.kernels import _vector as vec
from crossmargin.margin.kernels import _vector_tail as search
from crossmargin.margin.kernels._layout import (
    RUN,
    CheckedRows,
    GridTable,
    grid_table,
    jit,
    run_in_threads,
)
from crossmargin.margin.kernels._named import named_after

Floats = NDArray[np.float64]

#: How far above the beginning of the last tail the line is drawn, in units of the distance between
#: the beginning of the tail and its mean. A wider line keeps more, a narrower one fails more often.
SLACK = 0.5

#: Scenarios from which a line is guessed where none is remembered.
SAMPLE = 64

#: Most steps from the beginning of the last tail to that of this one; beyond, it is selected.
STEPS = 16

#: Bytes of kept scenarios that a thread holds: as many accounts as fit are done at a time.
STREAM = 1 << 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """Tails of a book's accounts.

    Attributes
    ----------
    mean : float64[A]
        Mean P&L of the tail, in the unit of the table, < 0 for a loss.
    begin : float64[A]
        P&L at which it begins (the value-at-risk scenario).
    """

    mean: Floats
    begin: Floats


@jit
def _select(values: Any, n: int, k: int) -> float:
    """Return the k-th smallest (from 1) of ``values[0:n]``, which is put in another order.

    Quickselect by Hoare's partition about the median of three.
    """
    low, high, want = 0, n - 1, k - 1
    while low < high:
        a, b, c = values[low], values[(low + high) >> 1], values[high]
        pivot = max(min(a, b), min(max(a, b), c))
        i, j = low, high
        while i <= j:
            while values[i] < pivot:
                i += 1
            while values[j] > pivot:
                j -= 1
            if i <= j:
                swap = values[i]
                values[i] = values[j]
                values[j] = swap
                i += 1
                j -= 1
        if want <= j:
            high = j
        elif want >= i:
            low = i
        else:
            break
    return float(values[want])


@jit
def _begin(values: Any, scratch: Any, n: int, k: int) -> float:
    """Return the k-th smallest of ``values[0:n]`` without a guess.

    A line at the right place in a sample of the scenarios leaves few to select among; where it
    leaves too few, all are selected among.
    """
    if n >= 4 * SAMPLE:
        step = n // SAMPLE
        for i in range(SAMPLE):
            scratch[i] = values[i * step]
        rank = min((3 * k * SAMPLE) // (2 * n) + 4, SAMPLE)
        line = values.dtype.type(_select(scratch, SAMPLE, rank))
        m = search.pack_below(scratch, 0, values, n, line)
        if m >= k:
            return _select(scratch, m, k)
    scratch[:n] = values[:n]
    return _select(scratch, n, k)


@jit
def _near(values: Any, n: int, k: int, at: Any) -> Any:
    """Return the k-th smallest of ``values[0:n]`` by steps from `at`; NaN when it is far."""
    under = search.count_below(values, n, at)
    if abs(under - k) > STEPS:
        return values.dtype.type(np.nan)
    while under >= k:
        at = search.largest_below(values, n, at)
        under = search.count_below(values, n, at)
    above = search.smallest_above(values, n, at)
    while search.count_below(values, n, above) < k:
        at = above
        above = search.smallest_above(values, n, at)
    return at


@jit
def _finish(
    kept: Any, below: Any, n: int, known: bool, mass: float, worst: int, account: int, begin: Any,
    mean: Any,
) -> None:  # fmt: skip
    """Find the tail among the `n` scenarios that were kept and write its beginning and mean."""
    kind = kept.dtype.type
    vec.block_fill(kept, n, kind(np.inf), 1)
    at = kind(np.nan)
    if known:
        at = _near(kept, n, worst, kind(begin[account]))
    if np.isnan(at):
        at = kind(_begin(kept, below, n, worst))
    m = search.pack_below(below, 0, kept, n, at)
    total = 0.0
    for i in range(m):
        total += np.float64(below[i])
    begin[account] = at + kind(0.0)
    mean[account] = (total + (mass - m) * at) / mass if m else np.float64(at)


@lru_cache(maxsize=64)
def _kernel(vectors: int, lanes: int, scenarios: int) -> Callable[..., None]:
    """Compile the pass for tables of `scenarios`, in blocks of `vectors` vectors."""
    block = vectors * lanes
    blocks = -(-scenarios // block)
    final = scenarios - (blocks - 1) * block
    room = scenarios + 2 * lanes

    def everything(
        out: Any, values: Any, stride: int, plane: int, codes: Any, quantity: Any, low: int,
        high: int,
    ) -> None:  # fmt: skip
        """Write all scenarios of an account to `out`."""
        n = 0
        top = values.dtype.type(np.inf)
        for column in range(0, (blocks - 1) * plane, plane):
            n = search.fma_rows_below(
                out, n, top, values, stride, column, codes, quantity, low, high, block
            )
        column = (blocks - 1) * plane
        search.fma_rows_below(
            out, n, top, values, stride, column, codes, quantity, low, high, final
        )

    everything = jit(named_after(vectors, lanes, scenarios)(everything))

    def tails(
        values: Any, stride: int, plane: int, start: Any, codes: Any, quantity: Any, mass: float,
        worst: int, slack: float, stream: Any, first: int, last: int, begin: Any, mean: Any,
    ) -> None:  # fmt: skip
        kind = values.dtype.type
        size = last - first
        limit = np.empty(size, dtype=values.dtype)
        for i in range(size):
            line = begin[first + i] + slack * (begin[first + i] - mean[first + i])
            limit[i] = kind(line) if np.isfinite(kind(line)) else kind(-np.inf)
        # What is kept goes into one stream, block by block and account by account: written and
        # read in order, it costs little however many accounts there are.
        kept = np.empty((blocks, size), dtype=np.uint16)
        at = 0
        end = stream.shape[0] - block - lanes
        cursor = np.empty(blocks, dtype=np.int64)
        for b in range(blocks):
            column = b * plane
            cursor[b] = at
            for i in range(size):
                if at >= end:
                    # A full stream keeps nothing more: these accounts are done without a line.
                    limit[i] = kind(-np.inf)
                if limit[i] == kind(-np.inf):
                    kept[b, i] = 0
                    continue
                low, high = start[first + i], start[first + i + 1]
                if b < blocks - 1:
                    after = search.fma_rows_below(
                        stream, at, limit[i], values, stride, column, codes, quantity, low, high,
                        block,
                    )  # fmt: skip
                else:
                    after = search.fma_rows_below(
                        stream, at, limit[i], values, stride, column, codes, quantity, low, high,
                        final,
                    )  # fmt: skip
                kept[b, i] = after - at
                at = after
        whole = np.empty(room + block, dtype=values.dtype)
        below = np.empty(room + block, dtype=values.dtype)
        for i in range(size):
            n = 0
            for b in range(blocks):
                count: Any = np.int64(kept[b, i])
                source = cursor[b]
                # One vector nearly always holds what a block keeps; what is copied beyond it
                # is written over.
                vec.block_copy(whole, n, stream, source, 1)
                for k in range(lanes, count, lanes):
                    vec.block_copy(whole, n + k, stream, source + k, 1)
                n += count
                cursor[b] = source + count
            account = first + i
            known = n >= worst and limit[i] > kind(-np.inf)
            if not known:
                low, high = start[account], start[account + 1]
                everything(whole, values, stride, plane, codes, quantity, low, high)
                n = scenarios
            _finish(whole, below, n, known, mass, worst, account, begin, mean)

    return jit(named_after(vectors, lanes, scenarios)(tails))


def tail_means(
    table: ArrayLike | GridTable,
    book: CheckedRows,
    *,
    level: float = 0.975,
    last: Tail | None = None,
    threads: int = 1,
    slack: float = SLACK,
) -> Tail:
    """Return the mean P&L of each account's worst 1 − `level` of the scenarios.

    Parameters
    ----------
    table : array_like [rows, scenarios] or GridTable
        P&L of one unit, finite, > 0 gain; scenarios are equally likely. With float32 the scenario
        P&L is float32 and the mean over the tail float64. Lay it out once with `grid_table` where
        it serves more than one call.
    book : CheckedRows
        See `check_rows`.
    level : float, default 0.975
        Confidence, between 0 and 1.
    last : Tail, optional
        Result of an earlier run over the same accounts, however old; it saves time and changes
        no bit of the result. A NaN in it means "not known".
    threads : int, default 1
        Threads of this process.
    slack : float, default 0.5
        How far above the last tail the line is drawn, see `SLACK`.

    Raises
    ------
    InputError
        ``INP-004`` for a level that is not between 0 and 1, ``INP-003`` for an earlier result of
        another size.
    """
    laid = grid_table(table)
    mass, worst = _tail_mass(laid.scenarios, level)
    size = book.accounts
    if last is None:
        begin, mean = np.full(size, np.nan), np.full(size, np.nan)
    else:
        begin, mean = last.begin.astype(np.float64), last.mean.astype(np.float64)
        if begin.shape != (size,) or mean.shape != (size,):
            raise InputError(
                f"the last run had {begin.size} accounts and the book has {size}",
                code="INP-003",
                field="last",
            )
    held = book.quantity.astype(laid.values.dtype, copy=False)
    lanes = laid.block // laid.vectors
    kernel = _kernel(laid.vectors, lanes, laid.scenarios)
    # Room for three times the tail on average.
    each = min(3 * worst, laid.scenarios)
    run = max(512, min(RUN, STREAM // (each * held.itemsize)))
    streams: list[NDArray[Any]] = []

    def work(first: int, end: int) -> None:
        # One stream a thread, handed on from run to run: fresh memory would cost a fault a page.
        stream = (
            streams.pop()
            if streams
            else np.empty(run * each + 2 * (laid.block + lanes), dtype=held.dtype)
        )
        kernel(
            laid.values, laid.stride, laid.plane, book.start, book.codes, held, mass, worst, slack,
            stream, first, end, begin, mean,
        )  # fmt: skip
        streams.append(stream)

    run_in_threads(work, size, threads, run)
    return Tail(mean=mean, begin=begin)


def _tail_mass(scenarios: int, level: float) -> tuple[float, int]:
    """Return m = S(1 − level) and the rank of the scenario at which the tail begins."""
    if not 0.0 < level < 1.0:
        raise InputError(f"a level of {level} leaves no tail", code="INP-004", field="level")
    mass = scenarios * (1.0 - level)
    nearest = round(mass)
    if nearest and abs(mass - nearest) <= 1e-9:
        mass = float(nearest)
    return mass, max(1, min(math.ceil(mass), scenarios))


def tail_means_reference(
    table: ArrayLike, book: CheckedRows, *, level: float = 0.975, chunk: int = 4096
) -> Tail:
    """Compute what `tail_means` does with SciPy's sparse product and ``numpy.partition``.

    Parameters and result as there; the last bits differ, because nothing is fused here.
    """
    from scipy.sparse import csr_matrix

    dense = np.asarray(table)
    mass, worst = _tail_mass(dense.shape[1], level)
    held = book.quantity.astype(dense.dtype, copy=False)
    begin, mean = np.empty(book.accounts), np.empty(book.accounts)
    for first in range(0, book.accounts, chunk):
        last = min(first + chunk, book.accounts)
        low, high = int(book.start[first]), int(book.start[last])
        rows = csr_matrix(
            (held[low:high], book.codes[low:high], book.start[first : last + 1] - low),
            shape=(last - first, dense.shape[0]),
        )
        sorted_up = np.partition(rows @ dense, worst - 1, axis=1)[:, :worst].astype(np.float64)
        edge = sorted_up[:, worst - 1]
        begin[first:last] = edge
        total = sorted_up[:, : worst - 1].sum(axis=1) + (mass - (worst - 1)) * edge
        mean[first:last] = total / mass
    return Tail(mean=mean, begin=begin)
