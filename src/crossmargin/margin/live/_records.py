"""Running a program over records of a live book, block by block, on one thread or several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossmargin.margin.fused._combine import run_steps
from crossmargin.margin.fused._lanes import LANES
from crossmargin.margin.fused._program import EQUITY_IM, EQUITY_MM, Program
from crossmargin.margin.live._kernels import mark_beyond, patch_parts, total_accounts
from crossmargin.margin.live._store import Store

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: What the kernel reads beside the table.
_SMALL = ("layout", "lanes", "weight", "segment_terms", "tail", "flags", "mode", "nv")

#: Records in a block: what the kernel writes stays in the second cache.
BLOCK = 2048
#: Work below which threads cost more than they bring, in records.
ALONE = 16_384


@dataclass(slots=True)
class _Scratch:
    """What one worker writes to on its way."""

    out: Floats
    origin: NDArray[np.int32]
    group: NDArray[np.int32]
    stack: Floats
    im: Floats
    mm: Floats
    changed: Ints
    due: Ints


def scratch_for(program: Program) -> _Scratch:
    """Return room for one block."""
    depth = max(program.combine.im.depth, program.combine.mm.depth)
    return _Scratch(
        out=np.empty((program.lanes.columns.shape[0] + 1, BLOCK + 1)),
        origin=np.empty(BLOCK + 1, dtype=np.int32),
        group=np.empty(BLOCK + 1, dtype=np.int32),
        stack=np.empty((depth, BLOCK + 1)),
        im=np.empty(BLOCK + 1),
        mm=np.empty(BLOCK + 1),
        changed=np.empty(BLOCK, dtype=np.int64),
        due=np.empty(BLOCK, dtype=np.int64),
    )


def equity_per_unit(program: Program) -> tuple[Floats, Floats]:
    """Return what a unit of each code adds to equity at both levels, by the side it is held on.

    Returns
    -------
    long, short : float64[C, 2]
        ``q · long`` where q ≥ 0, else ``q · short``.
    """
    lanes = program.lanes
    width = LANES * lanes.vectors
    part = program.table[:, LANES * program.nv :]
    out = np.zeros((2, part.shape[0], 2))
    for level, column in enumerate((EQUITY_IM, EQUITY_MM)):
        first, second, sign = lanes.columns[column - 1].tolist()
        for lane, factor in ((first, 1.0), (second, float(sign))):
            if lane >= 0:
                slope, side = lanes.shape[lane], lanes.shape[width + lane]
                out[0, :, level] += factor * (slope + side) * part[:, lane]
                out[1, :, level] += factor * (slope - side) * part[:, lane]
    return out[0], out[1]


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
        self.program, self.store, self.standing = program, store, standing
        self._kernel = program.kernel()
        self._tables = program.kernel_tables()
        self._code_pot = program.layout.pot
        self._per = np.concatenate(equity_per_unit(program), axis=1).reshape(-1)

    def follow(self, program: Program) -> None:
        """Take the same rules in another market."""
        old = self.program
        self.program = program
        if any(getattr(old, name) is not getattr(program, name) for name in _SMALL):
            self._kernel = program.kernel()
            self._tables = program.kernel_tables()
        else:
            # Only rows and what a pot is worth differ.
            self._tables = (program.table.reshape(-1), *self._tables[1:])
        self._per = np.concatenate(equity_per_unit(program), axis=1).reshape(-1)

    def records(self, group: int, first: int, last: int, s: _Scratch) -> None:
        """Compute records ``first:last`` of a group anew and put them in their slots."""
        p, g = self.program, self.store.group(group)
        count = self._kernel(
            first, last, g.start, g.code, g.quantity, g.level, self._tables, s.out, s.origin,
            s.group,
        )  # fmt: skip
        for steps, out in ((p.combine.im, s.im), (p.combine.mm, s.mm)):
            run_steps(steps.op, steps.column, steps.number, s.out, count, s.stack, out)
        part = self.store.part.reshape(-1)
        patch_parts(count, s.origin, s.out, s.im, s.mm, g.slot, part)
        for bit, (column, limits) in enumerate(p.limits.values()):
            beyond = mark_beyond(
                count, s.origin, s.out[column], float(limits[group]), g.slot, self.store.over,
                1 << bit,
            )  # fmt: skip
            if beyond:
                self.store.limited = True

    def totals(
        self, accounts: NDArray[np.int32], first: int, last: int, s: _Scratch
    ) -> tuple[Ints, Ints]:
        """Sum the pots of some accounts anew.

        Returns
        -------
        changed, due : int64[...]
            Accounts whose outcome changed, and those to be computed apart.
        """
        st, p = self.store, self.program
        moved, waiting = total_accounts(
            accounts, first, last, st.head.reshape(-1), st.slot_pot, st.part.reshape(-1), st.over,
            st.limited, st.cash_code, st.cash_quantity, self._code_pot, self._per, p.pot_usd,
            self.standing.columns.reshape(-1), self.standing.state, st.asked(), s.changed, s.due,
        )  # fmt: skip
        return s.changed[:moved].copy(), s.due[:waiting].copy()

    def group_then_accounts(
        self, group: int, first: int, last: int, s: _Scratch
    ) -> tuple[Ints, Ints]:
        """Compute records of the only group that changed, and its accounts at once."""
        self.records(group, first, last, s)
        return self.totals(self.store.group(group).account, first, last, s)


Task = Callable[[_Scratch], tuple[Ints, Ints]] | Callable[[_Scratch], None]


def run_tasks(
    tasks: Sequence[Task],
    scratch: Sequence[_Scratch],
    pool: ThreadPoolExecutor | None,
    work: int,
) -> tuple[Ints, Ints]:
    """Run tasks that do not depend on each other.

    Parameters
    ----------
    tasks : sequence of callable
        Each writes where no other does.
    scratch : sequence of _Scratch
        One for each worker.
    pool : ThreadPoolExecutor, optional
        Workers beside this thread.
    work : int
        Records and accounts in all: little of it is done here.

    Returns
    -------
    changed, due : int64[...]
        Of all tasks, rising, whichever thread found them.
    """
    if pool is None or work < ALONE:
        found = [task(scratch[0]) for task in tasks]
    else:
        count = len(scratch)

        def some(worker: int) -> list[tuple[Ints, Ints] | None]:
            return [task(scratch[worker]) for task in tasks[worker::count]]

        found = [one for part in pool.map(some, range(count)) for one in part]
    kept = [one for one in found if one is not None]
    if not kept:
        none = np.empty(0, dtype=np.int64)
        return none, none
    changed = np.concatenate([one[0] for one in kept])
    due = np.concatenate([one[1] for one in kept])
    return np.sort(changed), np.sort(due)


def blocks(size: int) -> list[tuple[int, int]]:
    """Cut a range into blocks."""
    return [(at, min(at + BLOCK, size)) for at in range(0, size, BLOCK)]
