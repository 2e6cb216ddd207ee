"""Slack of exposures from a signed table: rows gathered, summed by the fused kernel, combined.

Read from the exact table it is the slack; read from a table of lines, a bound of it. Turned
surfaces count the loss of either direction segment by segment, which no single bound of their
lanes gives: they are summed here from lanes of either side (docs/models/triggers.md).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from crossmargin.margin.fused._combine import run_steps
from crossmargin.margin.fused._kernel import (
    LANES,
    SCAN,
    Shape,
    _aligned,
    record_kernel,
    record_width,
)
from crossmargin.margin.fused._layout import ACCOUNT, SEGMENT
from crossmargin.margin.fused._program import Program
from crossmargin.margin.kernels._vector import fma_rows, prefetch
from crossmargin.margin.live._signed import Signed, signed_program
from crossmargin.margin.live._tables import Table

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Exposures whose rows and records are in work at a time.
BLOCK = 256


@functools.cache
def _gauge_kernel(shape: Shape, turned: int) -> Callable[..., None]:
    """Return the compiled loop for tables of one shape with some turned lanes."""
    kernel = record_kernel(shape)
    width = record_width(shape.na)
    other = LANES * shape.na
    some = turned > 0
    k, wide = turned, LANES * shape.nv

    @numba.njit(nogil=True, boundscheck=False)
    def either_way(
        first: int, last: int, code: Any, quantity: Any, level: Any, apart: Any, anchor: Any,
        group_of: Any, segment_of: Any, terms: Any, weight: Any, lanes: Any, v: Any, was: Any,
    ) -> float:  # fmt: skip
        """Worst loss of a group in the turned scenarios: Σ over segments of the worse direction.

        Factors of the static discount are those of the anchor on the upper side, which keeps
        the upper side a straight line where the lower one is concave.
        """
        total = np.zeros(4)
        at = first
        while at < last:
            stop = at + 1
            while stop < last and level[stop] < SEGMENT:
                stop += 1
            fma_rows(v, apart, 8, 0, code, quantity, at, stop, 1)
            fma_rows(was, anchor, 8, 0, code, quantity, at, stop, 1)
            s, g = np.int64(segment_of[code[at]]), np.int64(group_of[code[at]])
            long, short = terms[4 * s], terms[4 * s + 1]
            for t in range(k):
                w = weight[g * wide + lanes[t]]
                low = v[t] * (long if v[t] >= 0.0 else short) + w * v[2 * k + 1]
                factor = long if was[t] >= 0.0 else short
                high = -v[k + t] * factor - w * v[2 * k]
                total[t] += max(0.0, max(-low, high))
            at = stop
        worst = 0.0
        for t in range(k):
            worst = max(worst, total[t])
        return worst

    @numba.njit(nogil=True, boundscheck=False)
    def run(
        exposures: Any, count: int, first: Any, last: Any, code: Any, quantity: Any, level: Any,
        tables: Any, apart: Any, anchor: Any, lanes: Any, steps: Any, columns: Any, depth: int,
        equity: int, limit_at: int, limit: Any, both: bool, slack: Any, loose: Any, room: Any,
    ) -> None:  # fmt: skip
        table, group_of, segment_of, terms, weight = tables[:5]
        op, column, number = steps
        longest = 1
        for r in range(count):
            longest = max(longest, last[exposures[r]] - first[exposures[r]])
        most = BLOCK * 8 + longest
        start = np.empty(BLOCK + 1, np.int64)
        codes = np.empty(most + 1, code.dtype)
        units = _aligned(most + 1)
        levels = np.empty(most + 2, np.uint8)
        records = _aligned((BLOCK + 1) * width + LANES)
        stack = np.empty((depth, BLOCK))
        need, sure = np.empty(BLOCK), np.empty(BLOCK)
        which = np.empty(BLOCK, np.int64)
        v, was = _aligned(LANES), _aligned(LANES)
        r = 0
        while r < count:
            n = rows = 0
            while r < count and n < BLOCK:
                e = exposures[r]
                if r + 8 < count:
                    ahead = first[exposures[r + 8]]
                    prefetch(quantity, ahead, 2)
                a, b = first[e], last[e]
                if rows + b - a > most:
                    break
                if a == b:
                    slack[r] = 0.0
                    loose[r] = 0.0
                    room[r] = np.inf
                else:
                    start[n] = rows
                    which[n] = r
                    for j in range(a, b):
                        codes[rows] = code[j]
                        units[rows] = quantity[j]
                        levels[rows] = level[j]
                        rows += 1
                    levels[start[n]] = ACCOUNT
                    n += 1
                r += 1
            start[n] = rows
            levels[rows] = ACCOUNT
            if n == 0:
                continue
            kernel(0, n, start, codes, units, levels, tables, records)
            run_steps(op, column, number, columns, records, width, n, stack, sure)
            if some and both:
                for i in range(n):
                    at = i * width + other + SCAN
                    worst = either_way(
                        start[i], start[i + 1], codes, units, levels, apart, anchor, group_of,
                        segment_of, terms, weight, lanes, v, was,
                    )  # fmt: skip
                    records[at] = max(records[at], worst)
                run_steps(op, column, number, columns, records, width, n, stack, need)
            else:
                for i in range(n):
                    need[i] = sure[i]
            for i in range(n):
                at, to = i * width, which[i]
                slack[to] = records[at + equity] - need[i]
                loose[to] = records[at + equity] - sure[i]
                left = np.inf
                if limit_at >= 0:
                    # The lane and its mirror: the net figure from either side.
                    x, y = records[at + limit_at], records[at + limit_at + 1]
                    net = max(-x, -y)
                    left = limit[group_of[codes[start[i]]]] - net
                room[to] = left

    return run


class Gauge:
    """Computes slack of exposures.

    Parameters
    ----------
    program : Program
        Compiled.
    signed : Signed
        Lanes of signed tables.
    first, last : int64[E]
        Rows of each exposure.
    code, quantity, level
        Rows, codes signed.

    Raises
    ------
    NotBounded
        Where slack is no concave function of the lanes.
    """

    def __init__(
        self, program: Program, signed: Signed, first: Ints, last: Ints, code: NDArray[Any],
        quantity: Floats, level: NDArray[np.uint8],
    ) -> None:  # fmt: skip
        ruled = signed_program(program, signed)
        self._tables = ruled.kernel_tables()[1:]
        self._kernel = _gauge_kernel(ruled.shape, int(signed.turned.size))
        self._rows = (first, last, code, quantity, level)
        at = LANES * signed.nv
        limits = [limit for _, limit in program.limits.values()]
        steps = signed.steps
        self._rules = (
            signed.turned, (steps.op, steps.column, steps.number), signed.lanes.columns,
            max(steps.depth, 1), signed.equity - at,
            signed.limit - at if signed.limit >= 0 else -1,
            limits[0] if limits else np.zeros(1),
        )  # fmt: skip

    def read(
        self, exposures: Ints, table: Table, anchor: Table, *, turned: bool = True
    ) -> tuple[Floats, Floats, Floats]:
        """Return slack, slack without turned scenarios, and what is left of limits.

        Parameters
        ----------
        exposures : int64[n]
            Which.
        table : Table
            Rows.
        anchor : Table
            Rows at the price at which lines meet the truth.
        turned : bool
            Whether turned scenarios count.

        Returns
        -------
        slack, loose, room : float64[n]
            US dollars; coins beside the rows are not in them.
        """
        n = exposures.size
        slack, loose, room = np.empty(n), np.empty(n), np.empty(n)
        first, last, code, quantity, level = self._rows
        self._kernel(
            exposures, n, first, last, code, quantity, level,
            (table.rows.reshape(-1), *self._tables), table.apart.reshape(-1),
            anchor.apart.reshape(-1), *self._rules, turned, slack, loose, room,
        )  # fmt: skip
        return slack, loose, room
