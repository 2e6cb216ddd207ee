"""Running a program over holdings: chunks, threads, sums by pot and account."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from crossmargin.margin.fused._combine import Steps, run_steps
from crossmargin.margin.fused._holdings import Holdings
from crossmargin.margin.fused._program import Program

Floats = NDArray[np.float64]

#: Accounts in a chunk: their records stay in the second cache.
CHUNK = 1024


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
        Sums of each component by block of ``CHUNK`` accounts, IM and MM.
    """

    equity: Floats
    equity_im: Floats
    im: Floats
    mm: Floats
    health: Floats
    over: NDArray[np.bool_]
    parts: dict[str, tuple[Floats, Floats]]


@numba.njit(nogil=True, cache=True)
def _reduce(
    count: int, columns: Any, im: Any, mm: Any, account: Any, group: Any, group_pot: Any,
    pot_usd: Any, scanned_or_held: Any, equity: Any, equity_im: Any, im_out: Any, mm_out: Any,
    health: Any,
) -> None:  # fmt: skip
    """Add records up to pots and accounts."""
    r = 0
    while r < count:
        a = account[r]
        sum_eq = sum_eq_im = sum_im = sum_mm = 0.0
        least = np.inf
        while r < count and account[r] == a:
            pot = group_pot[group[r]]
            eq = eq_im = need_im = need_mm = 0.0
            while r < count and account[r] == a and group_pot[group[r]] == pot:
                eq_im += columns[1, r]
                eq += columns[2, r]
                if scanned_or_held[group[r]]:
                    need_im += im[r]
                    need_mm += mm[r]
                r += 1
            usd = pot_usd[pot]
            sum_eq += eq * usd
            sum_eq_im += eq_im * usd
            sum_im += need_im * usd
            sum_mm += need_mm * usd
            if need_mm > 0:
                ratio = eq / need_mm
            elif eq < 0:
                ratio = -np.inf
            else:
                ratio = np.inf
            if np.isnan(eq) or np.isnan(need_mm):
                ratio = np.nan
            if not ratio >= least:
                least = ratio
        equity[a] = sum_eq
        equity_im[a] = sum_eq_im
        im_out[a] = sum_im
        mm_out[a] = sum_mm
        health[a] = least


@numba.njit(nogil=True, cache=True)
def _beyond(count: int, column: Any, group: Any, account: Any, limit: Any, over: Any) -> None:
    for r in range(count):
        if not abs(column[r]) <= limit[group[r]]:
            over[account[r]] = True


@numba.njit(nogil=True, cache=True)
def _part_sum(count: int, column: Any, group: Any, factor: float, usd: Any, counts: Any) -> float:
    total = 0.0
    for r in range(count):
        if counts[group[r]] and not np.isnan(column[r]):
            total += column[r] * factor * usd[group[r]]
    return total


def run_program(
    program: Program,
    holdings: Holdings,
    *,
    threads: int = 1,
    totals: bool = False,
    first: int = 0,
    last: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Results:
    """Compute the requirement and equity of accounts.

    Parameters
    ----------
    program : Program
        Compiled rules and market.
    holdings : Holdings
        Laid out for the program.
    threads : int
        Chunks in work at a time; values do not depend on it.
    totals : bool
        Whether components are added up over accounts.
    first, last : int
        Accounts, half-open; by default all.
    progress : callable, optional
        Called with accounts done and accounts in all.
    """
    end = holdings.size if last is None else last
    size = holdings.size
    columns = np.zeros((4, size))
    health = np.full(size, np.inf)
    over = np.zeros(size, dtype=bool)
    blocks = -(-max(end - first, 0) // CHUNK)
    names = list(program.combine.parts)
    sums = np.zeros((blocks, len(names), 2))
    kernel = program.kernel()
    work = _Worker(
        program, holdings, columns, health, over, sums, first, totals, program.kernel_tables(),
        kernel,
    )  # fmt: skip

    def part(worker: int) -> None:
        scratch = work.scratch()
        for block in range(worker, blocks, workers):
            at = first + block * CHUNK
            work.run(block, at, min(at + CHUNK, end), scratch)
            if progress is not None and workers == 1:
                progress(min(at + CHUNK, end) - first, end - first)

    workers = max(1, min(threads, blocks))
    if workers == 1:
        part(0)
    else:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(part, range(workers)))
    return Results(
        equity=columns[0],
        equity_im=columns[1],
        im=columns[2],
        mm=columns[3],
        health=health,
        over=over,
        parts={n: (sums[:, k, 0], sums[:, k, 1]) for k, n in enumerate(names)},
    )


@dataclass(slots=True)
class _Scratch:
    out: Floats
    account: NDArray[np.int32]
    group: NDArray[np.int32]
    stack: Floats
    im: Floats
    mm: Floats


@dataclass(slots=True)
class _Worker:
    """One pass over a block of accounts."""

    program: Program
    holdings: Holdings
    columns: Floats
    health: Floats
    over: NDArray[np.bool_]
    sums: Floats
    origin: int
    totals: bool
    tables: tuple[NDArray[Any], ...]
    kernel: Callable[..., int]

    def scratch(self) -> _Scratch:
        depth = max(self.program.combine.im.depth, self.program.combine.mm.depth)
        size = self.rows()
        return _Scratch(
            out=np.empty((self.program.lanes.columns.shape[0] + 1, size)),
            account=np.empty(size, dtype=np.int32),
            group=np.empty(size, dtype=np.int32),
            stack=np.empty((depth, size)),
            im=np.empty(size),
            mm=np.empty(size),
        )

    def rows(self) -> int:
        """Most rows that a block has."""
        start = self.holdings.start
        ends = np.append(start[self.origin :: CHUNK], start[-1])
        return int(np.diff(ends).max(initial=1)) + 1

    def run(self, block: int, first: int, last: int, s: _Scratch) -> None:
        p, h = self.program, self.holdings
        count = self.kernel(
            first, last, h.start, h.code, h.quantity, h.level, self.tables, s.out, s.account,
            s.group,
        )  # fmt: skip
        for steps, out in ((p.combine.im, s.im), (p.combine.mm, s.mm)):
            self.evaluate(steps, s, count, out)
        _reduce(
            count, s.out, s.im, s.mm, s.account, s.group, p.layout.group_pot, p.pot_usd,
            p.in_group, self.columns[0], self.columns[1], self.columns[2], self.columns[3],
            self.health,
        )  # fmt: skip
        for column, limit in p.limits.values():
            _beyond(count, s.out[column], s.group, s.account, limit, self.over)
        if self.totals:
            self.add_up(block, s, count)

    def add_up(self, block: int, s: _Scratch, count: int) -> None:
        """Add components up over the accounts of a block, in US dollars."""
        p = self.program
        usd = p.pot_usd[p.layout.group_pot]
        for k, parts in enumerate(p.combine.parts.values()):
            for level, (column, factor) in enumerate(parts):
                if column >= 0 and (level == 0 or parts[1] != parts[0]):
                    self.sums[block, k, level] = _part_sum(
                        count, s.out[column], s.group, factor, usd, p.in_group
                    )
                elif column >= 0:
                    self.sums[block, k, level] = self.sums[block, k, 0]

    @staticmethod
    def evaluate(steps: Steps, s: _Scratch, count: int, out: Floats) -> None:
        run_steps(steps.op, steps.column, steps.number, s.out, count, s.stack, out)
