"""Running a program over holdings: blocks of accounts, threads, sums by pot and account."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossmargin.margin._ranges import in_ranges
from crossmargin.margin.fused._batch import BLOCK, Batch, split_rows
from crossmargin.margin.fused._batch_kernel import batch_kernel
from crossmargin.margin.fused._batch_tables import BatchTables, batch_tables
from crossmargin.margin.fused._combine import SCAN_COLUMN
from crossmargin.margin.fused._directions import Roles
from crossmargin.margin.fused._expression import column_text, steps_text
from crossmargin.margin.fused._holdings import Holdings
from crossmargin.margin.fused._program import EQUITY_IM, EQUITY_MM, Program
from crossmargin.margin.fused._records import range_kernel

Floats = NDArray[np.float64]

#: Accounts over which components are added up, so that totals do not depend on the number of
#: threads; what a thread takes begins at a multiple.
CHUNK = 1_024

#: Accounts that a thread takes at a time at most.
LONGEST = 65_536

#: Columns of an account without rows: nothing there, nothing required, endless health.
_NOTHING = (0.0, 0.0, 0.0, 0.0, np.inf)


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
    columns : float64[A, 5]
        The memory of the five columns.
    """

    equity: Floats
    equity_im: Floats
    im: Floats
    mm: Floats
    health: Floats
    over: NDArray[np.bool_]
    parts: dict[str, tuple[Floats, Floats]]
    columns: Floats


def run_program(
    program: Program,
    holdings: Holdings,
    *,
    threads: int = 1,
    totals: bool = False,
    progress: Callable[[int, int], None] | None = None,
    batch: bool = True,
    into: Results | None = None,
) -> Results:
    """Compute the requirement and equity of accounts.

    Parameters
    ----------
    program : Program
        Compiled rules and market.
    holdings : Holdings
        Laid out for the program.
    threads : int
        Threads that compute; no bit of the outcome depends on it.
    totals : bool
        Whether components are added up over accounts.
    progress : callable, optional
        Called with accounts done and accounts in all, in the calling thread.
    batch : bool, default True
        Whether rows are read in two streams where the program allows it, which is quicker; else
        record by record. Figures differ by roundings.
    into : Results, optional
        Results of as many accounts that are no longer needed: their memory is written over, which
        saves the system from handing out and clearing new memory at every run.
    """
    size = holdings.size
    if into is not None and into.columns.shape[0] == size:
        out, over = into.columns, into.over
        over[:] = False
    else:
        out, over = np.empty((size, 5)), np.zeros(size, dtype=bool)
    job = Job(program, holdings, out, over, totals=totals, batch=batch)
    for done in in_ranges(job.run, size, CHUNK, threads, most=LONGEST):
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
        columns=out,
    )


class Job:
    """A program, holdings and the columns that chunks are written to.

    Parameters
    ----------
    program, holdings
        What is computed.
    out : float64[A, 5]
        See :func:`~crossmargin.margin.fused._records.reduce_records`; what it held does not matter.
    over : bool[A]
        Accounts beyond a limit; False.
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
        self._args: tuple[Any, ...] = ()
        if tables is None:
            self._by_record(program, holdings, out, over)
        else:
            self._by_block(program, holdings, tables, out, over)

    def _by_block(
        self, program: Program, holdings: Holdings, tables: BatchTables, out: Floats,
        over: NDArray[np.bool_],
    ) -> None:  # fmt: skip
        batch = kept_batch(holdings, program, tables.roles)
        # Accounts without rows have no record to write them.
        out[batch.empty] = _NOTHING
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
        out[np.diff(holdings.start) == 0] = _NOTHING
        found = [program.combine.parts[name] for name in self._names]
        parts = np.array([[p[0][0], p[1][0]] for p in found], dtype=np.int64).reshape(-1, 2)
        factors = np.array([[p[0][1], p[1][1]] for p in found]).reshape(-1, 2)
        self._kernel = range_kernel(program.shape)
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

    def run(self, first: int, last: int) -> None:
        """Compute some accounts; the first is the first of a chunk."""
        if self._batch:
            first, last = first // BLOCK, -(-last // BLOCK)
        self._kernel(first, last, *self._args, self._sums, CHUNK)

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
