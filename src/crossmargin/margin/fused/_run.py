"""Running a program over holdings: blocks of accounts, threads, sums by pot and account."""

from __future__ import annotations

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from crossmargin.margin.fused._batch import BLOCK as BATCH_BLOCK
from crossmargin.margin.fused._batch import Batch, split_rows
from crossmargin.margin.fused._batch_kernel import batch_kernel
from crossmargin.margin.fused._batch_tables import BatchTables, Roles, batch_tables
from crossmargin.margin.fused._combine import SCAN_COLUMN, run_steps
from crossmargin.margin.fused._expression import column_text, steps_text
from crossmargin.margin.fused._holdings import Holdings
from crossmargin.margin.fused._kernel import (
    ACCOUNT_AT,
    GROUP_AT,
    LANES,
    LEVEL_AT,
    Shape,
    _aligned,
    record_kernel,
    record_width,
)
from crossmargin.margin.fused._layout import ACCOUNT, POT
from crossmargin.margin.fused._program import EQUITY_IM, EQUITY_MM, Program
from crossmargin.margin.kernels._named import named_after

Floats = NDArray[np.float64]

#: Accounts whose records are in work at a time: they stay in the second cache.
BLOCK = 256
#: Accounts that a thread takes at a time; also those over which components are added up, so
#: that totals do not depend on the number of threads.
CHUNK = 8_192


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """Columns by account, US dollars.

    Attributes
    ----------
    equity, equity_im, im, mm : float64[A]
        Sums over pots; NaN where the account holds what cannot be valued.
    health : float64[A]
        Smallest equity / MM over pots.
    over : bool[A]
        Accounts beyond a limit of a component, to be computed apart.
    parts : dict of str to (float64[K], float64[K])
        Sums of each component by chunk of accounts, IM and MM; empty unless asked for.
    """

    equity: Floats
    equity_im: Floats
    im: Floats
    mm: Floats
    health: Floats
    over: NDArray[np.bool_]
    parts: dict[str, tuple[Floats, Floats]]


@numba.njit(nogil=True, cache=True, boundscheck=False, error_model="numpy")
def reduce_records(
    count: int, records: Any, width: int, columns: Any, im: Any, mm: Any, group_pot: Any,
    pot_usd: Any, in_group: Any, out: Any,
) -> None:  # fmt: skip
    """Add records up to pots and accounts.

    Parameters
    ----------
    count : int
        Records.
    records : float64[...]
        Of whole accounts; `width` numbers each.
    width : int
        Numbers of a record.
    columns : int64[n, 3]
        Places of columns in a record.
    im, mm : float64[n]
        Requirement of each record, in the numeraire of its pot.
    group_pot, pot_usd, in_group
        By kind of group, of pot, of group; see :class:`Program`.
    out : float64[A, 5]
        Equity at the maintenance and at the initial level, IM, MM in US dollars, and health.
    """
    words = records.view(np.int64)
    other = width - LANES
    i1, i2, i3 = columns[EQUITY_IM, 0], columns[EQUITY_IM, 1], columns[EQUITY_IM, 2]
    m1, m2, m3 = columns[EQUITY_MM, 0], columns[EQUITY_MM, 1], columns[EQUITY_MM, 2]
    # A place without a second lane is read twice and counted once.
    i2, i3 = (i1, 0) if i2 < 0 else (i2, i3)
    m2, m3 = (m1, 0) if m2 < 0 else (m2, m3)
    sum_eq = sum_eq_im = sum_im = sum_mm = eq = need = 0.0
    least = np.inf
    for r in range(count):
        at = r * width
        group = words[at + other + GROUP_AT]
        here, after = words[at + other + LEVEL_AT], words[at + width + other + LEVEL_AT]
        usd = pot_usd[group_pot[group]]
        held = usd if in_group[group] else 0.0
        own_im = records[at + i1] + i3 * records[at + i2]
        own = records[at + m1] + m3 * records[at + m2]
        charge = mm[r] if in_group[group] else 0.0
        # Sums begin anew without a branch: where accounts end cannot be guessed.
        fresh, opens = here >= ACCOUNT, here >= POT
        sum_eq = (0.0 if fresh else sum_eq) + own * usd
        sum_eq_im = (0.0 if fresh else sum_eq_im) + own_im * usd
        sum_im = (0.0 if fresh else sum_im) + held * im[r]
        sum_mm = (0.0 if fresh else sum_mm) + held * mm[r]
        eq = (0.0 if opens else eq) + own
        need = (0.0 if opens else need) + charge
        # Nothing required: endless health, unless less than nothing is there.
        ratio = eq / (need if need > 0.0 else 1.0)
        bare = -np.inf if eq < 0.0 else np.inf
        ratio = ratio if need > 0.0 else bare
        ratio = np.nan if np.isnan(eq + need) else ratio
        ratio = ratio if after >= POT else np.inf
        least = np.inf if fresh else least
        # A NaN stays: no comparison with it holds.
        least = least if ratio >= least else ratio
        account = words[at + other + ACCOUNT_AT]
        out[account, 0] = sum_eq
        out[account, 1] = sum_eq_im
        out[account, 2] = sum_im
        out[account, 3] = sum_mm
        out[account, 4] = least


@numba.njit(nogil=True, cache=True)
def mark_beyond(count: int, records: Any, width: int, place: int, limit: Any, over: Any) -> None:
    """Mark accounts with a record whose figure is beyond the limit of its kind of group."""
    words = records.view(np.int64)
    other = width - LANES
    for r in range(count):
        at = r * width
        if not abs(records[at + place]) <= limit[words[at + other + GROUP_AT]]:
            over[words[at + other + ACCOUNT_AT]] = True


@numba.njit(nogil=True, cache=True)
def _add_up(
    count: int, records: Any, width: int, columns: Any, parts: Any, factors: Any, usd: Any,
    in_group: Any, out: Any, over: Any, sums: Any,
) -> None:  # fmt: skip
    """Add components up in US dollars, over the accounts that have a result."""
    words = records.view(np.int64)
    other = width - LANES
    for r in range(count):
        at = r * width
        group = words[at + other + GROUP_AT]
        account = words[at + other + ACCOUNT_AT]
        if not in_group[group] or over[account]:
            continue
        if np.isnan(out[account, 0] + out[account, 1] + out[account, 2] + out[account, 3]):
            continue
        for k in range(parts.shape[0]):
            for level in range(2):
                column = parts[k, level]
                if column >= 0:
                    x = records[at + columns[column, 0]]
                    if columns[column, 1] >= 0:
                        x += columns[column, 2] * records[at + columns[column, 1]]
                    sums[k, level] += x * factors[k, level] * usd[group]


@functools.cache
def _range_kernel(shape: Shape) -> Callable[..., None]:
    """Return the compiled function that computes a run of accounts from rows to columns."""
    kernel = record_kernel(shape)
    width = record_width(shape.na)

    @numba.njit(nogil=True)
    @named_after(shape)
    def run(
        first: int, last: int, start: Any, code: Any, quantity: Any, level: Any, tables: Any,
        columns: Any, im_steps: Any, mm_steps: Any, depth: int, group_pot: Any, pot_usd: Any,
        in_group: Any, limits: Any, places: Any, out: Any, over: Any, parts: Any, factors: Any,
        usd: Any, sums: Any,
    ) -> None:  # fmt: skip
        rows = 0
        for block in range(first, last, BLOCK):
            rows = max(rows, start[min(block + BLOCK, last)] - start[block])
        records = _aligned((rows + 1) * width)
        stack = np.empty((depth, rows + 1))
        im, mm = np.empty(rows + 1), np.empty(rows + 1)
        for block in range(first, last, BLOCK):
            end = min(block + BLOCK, last)
            count = kernel(block, end, start, code, quantity, level, tables, records)
            op, column, number = im_steps
            run_steps(op, column, number, columns, records, width, count, stack, im)
            op, column, number = mm_steps
            run_steps(op, column, number, columns, records, width, count, stack, mm)
            reduce_records(
                count, records, width, columns, im, mm, group_pot, pot_usd, in_group, out
            )
            for k in range(places.size):
                mark_beyond(count, records, width, places[k], limits[k], over)
            if parts.shape[0] > 0:
                _add_up(
                    count, records, width, columns, parts, factors, usd, in_group, out, over,
                    sums,
                )  # fmt: skip

    return run


def run_program(
    program: Program,
    holdings: Holdings,
    *,
    threads: int = 1,
    totals: bool = False,
    progress: Callable[[int, int], None] | None = None,
    batch: bool = True,
) -> Results:
    """Compute the requirement and equity of accounts.

    Parameters
    ----------
    program : Program
        Compiled rules and market.
    holdings : Holdings
        Laid out for the program.
    threads : int
        Chunks in work at a time; no bit of the outcome depends on it.
    totals : bool
        Whether components are added up over accounts.
    progress : callable, optional
        Called with accounts done and accounts in all, in the calling thread.
    batch : bool, default True
        Whether rows are read in two streams where the program allows it, which is quicker; else
        record by record. Figures differ by roundings.
    """
    size = holdings.size
    out = np.zeros((size, 5))
    out[:, 4] = np.inf
    over = np.zeros(size, dtype=bool)
    job = Job(program, holdings, out, over, totals=totals, batch=batch)
    chunks = range(0, size, CHUNK)
    done = 0
    for finished in run_chunks(job.run, chunks, threads):
        done = min(size, finished + CHUNK)
        if progress is not None:
            progress(done, size)
    return Results(
        equity=out[:, 0],
        equity_im=out[:, 1],
        im=out[:, 2],
        mm=out[:, 3],
        health=out[:, 4],
        over=over,
        parts=job.parts(),
    )


def run_chunks(work: Callable[[int], None], chunks: range, threads: int) -> Any:
    """Do work chunk by chunk on some threads; yield each chunk once it is done, in order."""
    if threads <= 1 or len(chunks) <= 1:
        for chunk in chunks:
            work(chunk)
            yield chunk
        return
    with ThreadPoolExecutor(threads) as pool:
        waiting = [pool.submit(work, chunk) for chunk in chunks]
        try:
            for chunk, one in zip(chunks, waiting):
                one.result()
                yield chunk
        finally:
            for one in waiting:
                one.cancel()


class Job:
    """A program, holdings and the columns that chunks are written to.

    Parameters
    ----------
    program, holdings
        What is computed.
    out : float64[A, 5]
        See :func:`reduce_records`.
    over : bool[A]
        Accounts beyond a limit.
    totals : bool
        Whether components are added up.
    batch : bool
        Whether rows may be read in two streams, where the program allows it; else record by
        record, as after an edit.
    """

    def __init__(
        self,
        program: Program,
        holdings: Holdings,
        out: Floats,
        over: NDArray[np.bool_],
        *,
        totals: bool = False,
        batch: bool = True,
    ) -> None:
        self._names = list(program.combine.parts) if totals else []
        self._size = holdings.size
        chunks = -(-holdings.size // CHUNK)
        self._sums = np.zeros((chunks, len(self._names), 2))
        tables = batch_tables(program) if batch else None
        self._batch = tables is not None
        if tables is None:
            self._by_record(program, holdings, out, over)
        else:
            self._by_block(program, holdings, tables, out, over)

    def _by_block(
        self, program: Program, holdings: Holdings, tables: BatchTables, out: Floats,
        over: NDArray[np.bool_],
    ) -> None:  # fmt: skip
        batch = kept_batch(holdings, program, tables.roles)
        lanes, combine = program.lanes, program.combine
        places = np.full((len(self._names), 2, 3), -2, dtype=np.int64)
        factors = np.zeros((len(self._names), 2))
        for k, name in enumerate(self._names):
            for level, (column, factor) in enumerate(combine.parts[name]):
                if column >= 0:
                    places[k, level] = lanes.columns[column]
                    factors[k, level] = factor
                if column == SCAN_COLUMN:
                    places[k, level] = (-1, -1, 1)
        columns = [column_text(c, lanes) for c in (EQUITY_IM, EQUITY_MM)]
        texts = "|".join([*(steps_text(x, lanes) for x in (combine.im, combine.mm)), *columns])
        bounded = [int(lanes.columns[c, 0]) for c, _ in program.limits.values()]
        self._kernel = batch_kernel(tables.shape, texts, bounded[0] if bounded else -1)
        self._args = (
            holdings.start, holdings.quantity, batch.columns(), batch.blocks, tables.read(),
            tables.kinds, tables.keeps, out, over, places, factors,
        )  # fmt: skip

    def _by_record(
        self, program: Program, holdings: Holdings, out: Floats, over: NDArray[np.bool_]
    ) -> None:
        found = [program.combine.parts[name] for name in self._names]
        parts = np.array([[p[0][0], p[1][0]] for p in found], dtype=np.int64).reshape(-1, 2)
        factors = np.array([[p[0][1], p[1][1]] for p in found]).reshape(-1, 2)
        self._kernel = _range_kernel(program.shape)
        layout, combine = program.layout, program.combine
        steps = [(s.op, s.column, s.number) for s in (combine.im, combine.mm)]
        limits = [limit for _, limit in program.limits.values()]
        none = np.empty((0, layout.group_asset.size))
        self._args = (
            holdings.start, holdings.code, holdings.quantity, holdings.level,
            program.kernel_tables(), program.lanes.columns, *steps,
            max(combine.im.depth, combine.mm.depth), layout.group_pot, program.pot_usd,
            program.in_group, np.array(limits) if limits else none,
            np.array([program.lanes.columns[c, 0] for c, _ in program.limits.values()],
                     dtype=np.int64),
            out, over, parts, factors, program.pot_usd[layout.group_pot],
        )  # fmt: skip

    def run(self, first: int) -> None:
        """Compute the chunk that begins at an account."""
        last = min(first + CHUNK, self._size)
        if self._batch:
            first, last = first // BATCH_BLOCK, -(-last // BATCH_BLOCK)
            self._kernel(first, last, *self._args, self._sums[first * BATCH_BLOCK // CHUNK])
        else:
            self._kernel(first, last, *self._args, self._sums[first // CHUNK])

    def parts(self) -> dict[str, tuple[Floats, Floats]]:
        """Return the sums of each component by chunk, IM and MM."""
        return {
            name: (self._sums[:, k, 0], self._sums[:, k, 1]) for k, name in enumerate(self._names)
        }


def kept_batch(holdings: Holdings, program: Program, roles: Roles) -> Batch:
    """Return the holdings in two streams, split anew where codes have other roles."""
    found = holdings.kept.get("batch")
    if not isinstance(found, Batch) or not found.roles.same(roles):
        found = holdings.kept["batch"] = split_rows(holdings, program, roles)
    return found
