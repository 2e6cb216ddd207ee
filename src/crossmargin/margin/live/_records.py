"""Running a program over records of a live book, chunk by chunk, on one thread or several."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from crossmargin.margin.fused._combine import run_steps
from crossmargin.margin.fused._kernel import Shape, _aligned, record_kernel, record_width
from crossmargin.margin.fused._lanes import LANES
from crossmargin.margin.fused._program import EQUITY_IM, EQUITY_MM, Program
from crossmargin.margin.kernels._named import named_after
from crossmargin.margin.live._kernels import (
    count_rows,
    gather_rows,
    mark_beyond,
    patch_parts,
    total_accounts,
)
from crossmargin.margin.live._store import Group, Store

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Records in work at a time: they stay in the second cache.
BLOCK = 256
#: Records or accounts that a thread takes at a time.
CHUNK = 2_048
#: Work below which threads cost more than they bring, in records.
ALONE = 32_768

#: What the kernel reads beside the table.
_SMALL = ("layout", "lanes", "weight", "segment_terms", "tail", "flags", "mode", "nv")


@functools.cache
def _part_kernel(shape: Shape) -> Callable[..., int]:
    """Return the compiled function that computes a run of records from rows to parts."""
    kernel = record_kernel(shape)
    width = record_width(shape.na)

    @numba.njit(nogil=True)
    @named_after(shape)
    def run(
        first: int, last: int, start: Any, code: Any, quantity: Any, level: Any, slot: Any,
        tables: Any, columns: Any, im_steps: Any, mm_steps: Any, depth: int, limits: Any,
        places: Any, group: int, part: Any, over: Any,
    ) -> int:  # fmt: skip
        rows = 0
        for block in range(first, last, BLOCK):
            rows = max(rows, start[min(block + BLOCK, last)] - start[block])
        records = _aligned((rows + 1) * width)
        stack = np.empty((depth, rows + 1))
        im, mm = np.empty(rows + 1), np.empty(rows + 1)
        beyond = 0
        for block in range(first, last, BLOCK):
            end = min(block + BLOCK, last)
            count = kernel(block, end, start, code, quantity, level, tables, records)
            op, column, number = im_steps
            run_steps(op, column, number, columns, records, width, count, stack, im)
            op, column, number = mm_steps
            run_steps(op, column, number, columns, records, width, count, stack, mm)
            patch_parts(count, records, width, columns, im, mm, slot, part)
            for k in range(places.size):
                beyond += mark_beyond(
                    count, records, width, places[k], limits[k, group], slot, over, 1 << k
                )
        return beyond

    return run


def equity_per_unit(program: Program) -> Floats:
    """Return what a unit of each code adds to equity, by the side it is held on.

    Returns
    -------
    float64[C, 4]
        At the initial and the maintenance level per unit long; then per unit short.
    """
    lanes = program.lanes
    width = LANES * lanes.vectors
    part = program.table[:, LANES * program.nv :]
    out = np.zeros((part.shape[0], 4))
    for level, column in enumerate((EQUITY_IM, EQUITY_MM)):
        first, second, sign = lanes.columns[column].tolist()
        for lane, factor in ((first, 1.0), (second, float(sign))):
            if lane >= 0:
                slope, side = lanes.shape[lane], lanes.shape[width + lane]
                out[:, level] += factor * (slope + side) * part[:, lane]
                out[:, 2 + level] += factor * (slope - side) * part[:, lane]
    return out


@dataclass(slots=True)
class Standing:
    """Where accounts stand: columns in US dollars and bits of state; see `total_accounts`."""

    columns: Floats
    state: NDArray[np.uint8]


class Runner:
    """A program over a store.

    Parameters
    ----------
    program : Program
        Rules and market.
    store : Store
        Rows and slots.
    standing : Standing
        Written.
    """

    def __init__(self, program: Program, store: Store, standing: Standing) -> None:
        self.store, self.standing = store, standing
        self._take(program)

    def _take(self, program: Program) -> None:
        self.program = program
        self._kernel = _part_kernel(program.shape)
        self._tables = program.kernel_tables()
        self._follow_small(program)

    def follow(self, program: Program) -> None:
        """Take the same rules in another market."""
        old = self.program
        if any(getattr(old, name) is not getattr(program, name) for name in _SMALL):
            self._take(program)
            return
        # Only rows and what a pot is worth differ.
        self.program = program
        self._tables = (program.table.reshape(-1), *self._tables[1:])
        self._follow_small(program)

    def _follow_small(self, program: Program) -> None:
        combine, columns = program.combine, program.lanes.columns
        steps = [(s.op, s.column, s.number) for s in (combine.im, combine.mm)]
        limits = [limit for _, limit in program.limits.values()]
        groups = program.layout.group_asset.size
        self._args = (
            self._tables, columns, *steps, max(combine.im.depth, combine.mm.depth),
            np.array(limits).reshape(-1, groups),
            np.array([columns[c, 0] for c, _ in program.limits.values()], dtype=np.int64),
        )  # fmt: skip
        self._per = equity_per_unit(program).reshape(-1)

    def records(self, group: int, first: int, last: int) -> None:
        """Compute records ``first:last`` of a group anew and put them in their slots."""
        self._run(self.store.group(group), group, first, last)

    def _run(self, g: Group, group: int, first: int, last: int) -> None:
        st = self.store
        beyond = self._kernel(
            first, last, g.start, g.code, g.quantity, g.level, g.slot, *self._args, group,
            st.part.reshape(-1), st.over,
        )  # fmt: skip
        if beyond:
            st.limited = True

    def records_of(self, group: int, record: Ints) -> None:
        """Compute some records of a group anew, wherever they lie."""
        g = self.store.group(group)
        start = np.zeros(record.size + 1, dtype=np.int64)
        count_rows(g.start, record, start)
        rows = int(start[-1])
        some = Group(
            start=start,
            code=np.empty(rows, dtype=g.code.dtype),
            quantity=np.empty(rows),
            level=np.empty(rows + 1, dtype=np.uint8),
            account=g.account,
            slot=g.slot[record],
            records=record.size,
        )
        gather_rows(g.start, g.code, g.quantity, g.level, record, some.start, some.code,
                    some.quantity, some.level)  # fmt: skip
        self._run(some, group, 0, record.size)

    def totals(self, accounts: NDArray[np.int32], first: int, last: int) -> tuple[Ints, Ints]:
        """Sum the pots of some accounts anew.

        Returns
        -------
        changed, due : int64[...]
            Accounts whose outcome changed, and those to be computed apart, coded.
        """
        st, p = self.store, self.program
        changed, due = np.empty(last - first, np.int64), np.empty(last - first, np.int64)
        moved, waiting = total_accounts(
            accounts, first, last, st.head.reshape(-1), st.slot_pot, st.part.reshape(-1), st.over,
            st.limited, st.cash_code, st.cash_quantity, p.layout.pot, self._per, p.pot_usd,
            self.standing.columns.reshape(-1), self.standing.state, st.asked(), changed, due,
        )  # fmt: skip
        return changed[:moved], due[:waiting]

    def group_then_accounts(self, group: int, first: int, last: int) -> tuple[Ints, Ints]:
        """Compute records of the only group that changed, and its accounts at once."""
        self.records(group, first, last)
        return self.totals(self.store.group(group).account, first, last)


def run_tasks(
    work: Callable[[int, int], Any], size: int, pool: ThreadPoolExecutor | None
) -> list[Any]:
    """Do work chunk by chunk, on several threads where there is much of it.

    Chunks write where no other does; the outcomes are in the order of chunks, whoever found them.
    """
    chunks = [(at, min(at + CHUNK, size)) for at in range(0, size, CHUNK)]
    if pool is None or size < ALONE:
        return [work(first, last) for first, last in chunks]
    return list(pool.map(lambda chunk: work(*chunk), chunks))


def joined(found: Sequence[tuple[Ints, Ints]]) -> tuple[Ints, Ints]:
    """Put what chunks found together, rising."""
    none = [np.empty(0, dtype=np.int64)]
    changed = np.concatenate([one[0] for one in found] or none)
    due = np.concatenate([one[1] for one in found] or none)
    return np.sort(changed), np.sort(due)
