"""Slack of exposures and its rates: rows gathered once, summed by the fused kernel, combined.

Read from the exact table it is the slack; read from tables of lines on either side, bounds of it.
Turned surfaces count the loss of either direction segment by segment, which no single bound of
their lanes gives: they are summed here from lanes of either side (docs/models/triggers.md).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from crossmargin.margin.fused._combine import run_steps
from crossmargin.margin.fused._holdings import Holdings
from crossmargin.margin.fused._kernel import (
    ACCOUNT_AT,
    GROUP_AT,
    LANES,
    LEVEL_AT,
    SCAN,
    Shape,
    _aligned,
    record_kernel,
    record_width,
)
from crossmargin.margin.fused._layout import ACCOUNT, POT, SEGMENT
from crossmargin.margin.fused._program import EQUITY_MM, Program
from crossmargin.margin.fused._run import run_program
from crossmargin.margin.kernels._named import named_after
from crossmargin.margin.kernels._vector import fma_rows, prefetch
from crossmargin.margin.live import _exposures as ex
from crossmargin.margin.live._exposures import Exposures
from crossmargin.margin.live._signed import Signed, signed_program
from crossmargin.margin.live._tables import Table

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Exposures whose rows and records are in work at a time.
BLOCK = 128

(VALUE, LOOSE, ROOM, RHO, FALL, RISE, ROOM_FALL, ROOM_RISE) = range(8)


@functools.cache
def _either_way(turned: int, wide: int) -> Callable[..., None]:
    """Return the compiled sum of turned scenarios at both ends of a range."""
    k = turned

    @numba.njit(nogil=True, boundscheck=False, error_model="numpy")
    @named_after(turned, wide)
    def either_way(
        first: int, last: int, code: Any, quantity: Any, level: Any, apart: Any, group_of: Any,
        segment_of: Any, terms: Any, high_terms: Any, weight: Any, lanes: Any, v: Any, out: Any,
    ) -> None:  # fmt: skip
        """Worst loss of a group in the turned scenarios: Σ over segments of the worse direction.

        `apart` has lanes at the anchor, and of lines at both ends. The factor of the upper side
        is that of the anchor: that side is then a straight line where the lower one is concave.
        Where time passes it is the largest it comes to (`high_terms`).
        """
        for j in range(2 * k):
            out[j] = 0.0
        at = first
        while at < last:
            stop = at + 1
            while stop < last and level[stop] < SEGMENT:
                stop += 1
            fma_rows(v, apart, 24, 0, code, quantity, at, stop, 3)
            s, g = np.int64(segment_of[code[at]]), np.int64(group_of[code[at]])
            long, short = terms[4 * s], terms[4 * s + 1]
            for t in range(k):
                w = weight[g * wide + lanes[t]]
                factor = high_terms[4 * s] if v[t] >= 0.0 else high_terms[4 * s + 1]
                for side in range(2):
                    b = 8 + 8 * side
                    x = v[b + t]
                    low = w * v[b + 2 * k + 1] + x * (long if x >= 0.0 else short)
                    high = -v[b + k + t] * factor - w * v[b + 2 * k]
                    loss = -low if -low > high else high
                    out[side * k + t] += loss if loss > 0.0 else 0.0
            at = stop
        for side in range(2):
            worst = 0.0
            for t in range(k):
                worst = max(worst, out[side * k + t])
            out[side] = worst

    return either_way


@functools.cache
def _gauge_kernel(shape: Shape, turned: int) -> Callable[..., None]:
    """Return the compiled loop for tables of one shape with some turned lanes."""
    exact, bound = record_kernel(shape), record_kernel(replace(shape, flagged=0))
    either_way = _either_way(turned, LANES * shape.nv)
    width = record_width(shape.na)
    scan = LANES * shape.na + SCAN
    k = turned

    @numba.njit(nogil=True, boundscheck=False, error_model="numpy")
    @named_after(shape, turned)
    def run(
        exposures: Any, count: int, first: Any, last: Any, code: Any, quantity: Any, level: Any,
        here: Any, loose: Any, low: Any, high: Any, small: Any, apart: Any, lanes: Any, steps: Any,
        columns: Any, depth: int, equity: int, limit_at: int, limit: Any, rated: bool,
        above: bool, rho: float, ends: Any, reads: Any, spans: Any, closed: Any, high_terms: Any,
        cash: Any, figures: Any, dense: bool,
    ) -> None:  # fmt: skip
        group_of, segment_of, terms, weight = small[:4]
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
        need = np.empty(BLOCK)
        which, goes = np.empty(BLOCK, np.int64), np.empty(BLOCK, np.int64)
        turns = np.zeros((2, BLOCK))
        v, scratch = _aligned(24), np.empty(2 * k + 2)
        empty, blank = np.empty(BLOCK, np.int64), np.empty(BLOCK, np.int64)
        r = 0
        while r < count:
            n = rows = none = 0
            while r < count and n + none < BLOCK:
                e = exposures[r]
                if r + 6 < count:
                    ahead = exposures[r + 6]
                    prefetch(quantity, first[ahead], 2)
                    if not dense:
                        prefetch(figures, ahead * 8, 1)
                a, b = first[e], last[e]
                if rows + b - a > most:
                    break
                if a == b:
                    empty[none] = e
                    blank[none] = 8 * (r if dense else e)
                    none += 1
                else:
                    start[n] = rows
                    which[n] = e
                    goes[n] = 8 * (r if dense else e)
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
            for i in range(none):
                # Coins alone: straight lines.
                at, own = blank[i], cash[empty[i]]
                figures[at + VALUE] = own * rho
                figures[at + LOOSE] = own * rho
                figures[at + ROOM] = np.inf
                figures[at + RHO] = rho
                if rated:
                    for side in range(2):
                        x = 0.0 if closed[side] else own * (rho - reads[side]) / spans[side]
                        figures[at + FALL + side] = x
                        figures[at + ROOM_FALL + side] = 0.0
            if n == 0:
                continue
            kernel_count = exact(0, n, start, codes, units, levels, (here, *small), records)
            run_steps(op, column, number, columns, records, width, kernel_count, stack, need)
            for i in range(n):
                at, to = i * width, goes[i]
                x = records[at + equity] - need[i] + cash[which[i]] * rho
                figures[to + VALUE] = x
                figures[to + LOOSE] = x
                figures[to + RHO] = rho
                left = np.inf
                if limit_at >= 0:
                    # The lane and its mirror: the net figure from either side.
                    net = max(-records[at + limit_at], -records[at + limit_at + 1])
                    left = limit[group_of[codes[start[i]]]] - net
                figures[to + ROOM] = left
            if not rated:
                continue
            if k and above:
                bound(0, n, start, codes, units, levels, (loose, *small), records)
                run_steps(op, column, number, columns, records, width, n, stack, need)
                for i in range(n):
                    x = records[i * width + equity] - need[i] + cash[which[i]] * rho
                    figures[goes[i] + LOOSE] = x
            if k and not above:
                for i in range(n):
                    either_way(
                        start[i], start[i + 1], codes, units, levels, apart, group_of, segment_of,
                        terms, high_terms, weight, lanes, v, scratch,
                    )  # fmt: skip
                    turns[0, i], turns[1, i] = scratch[0], scratch[1]
            for side in range(2):
                if closed[side]:
                    for i in range(n):
                        figures[goes[i] + FALL + side] = 0.0
                        figures[goes[i] + ROOM_FALL + side] = 0.0
                    continue
                if side == 0:
                    bound(0, n, start, codes, units, levels, (low, *small), records)
                else:
                    bound(0, n, start, codes, units, levels, (high, *small), records)
                if k and not above:
                    for i in range(n):
                        at = i * width + scan
                        records[at] = max(records[at], turns[side, i])
                run_steps(op, column, number, columns, records, width, n, stack, need)
                read, span, whole = reads[side], spans[side], ends[side]
                for i in range(n):
                    at, to = i * width, goes[i]
                    x = records[at + equity] - need[i] + cash[which[i]] * read
                    was = figures[to + LOOSE] if above else figures[to + VALUE]
                    figures[to + FALL + side] = (was - x) / span
                    lost = 0.0
                    if limit_at >= 0:
                        net = max(-records[at + limit_at], -records[at + limit_at + 1])
                        left = limit[group_of[codes[start[i]]]] - net
                        lost = (figures[to + ROOM] - left) / whole
                    figures[to + ROOM_FALL + side] = lost

    return run


@dataclass(frozen=True, slots=True)
class Lines:
    """Two tables of lines through one anchor.

    Attributes
    ----------
    low, high : Table
        For the one way and the other (price down and up, volatility up and down).
    loose : Table
        At the anchor, without turned scenarios; only read where `above`.
    apart : float64[2C, 24]
        Turned lanes at the anchor, and of both tables.
    prices : (float, float)
        ρ at which the tables are read.
    spans : (float, float)
        How far from the anchor they are read.
    ends : (float, float)
        How far from it they bound; what has a limit is read there.
    above : bool
        Whether they bound slack from above.
    closed : (bool, bool)
        Ways that nothing can go: their tables are not read.
    """

    low: Table
    high: Table
    loose: Table
    apart: Floats
    prices: tuple[float, float]
    spans: tuple[float, float]
    ends: tuple[float, float]
    above: bool
    closed: tuple[bool, bool] = (False, False)


class Gauge:
    """Computes slack of exposures.

    Parameters
    ----------
    program : Program
        Compiled.
    signed : Signed
        Lanes of signed tables.
    pots : Exposures
        Exposures; their figures are written.
    code, quantity, level
        Rows, codes signed.

    Raises
    ------
    NotBounded
        Where slack is no concave function of the lanes.
    """

    def __init__(
        self, program: Program, signed: Signed, pots: Exposures, code: NDArray[Any],
        quantity: Floats, level: NDArray[np.uint8],
    ) -> None:  # fmt: skip
        ruled = signed_program(program, signed)
        self._small = ruled.kernel_tables()[1:]
        self._kernel = _gauge_kernel(ruled.shape, int(signed.turned.size))
        self._pots = pots
        self.follow(code, quantity, level)
        at = LANES * signed.nv
        limits = [limit for _, limit in program.limits.values()]
        steps = signed.steps
        self._rules = (
            signed.turned, (steps.op, steps.column, steps.number), signed.lanes.columns,
            max(steps.depth, 1), signed.equity - at,
            signed.limit - at if signed.limit >= 0 else -1,
            limits[0] if limits else np.zeros(1),
        )  # fmt: skip

    def follow(self, code: NDArray[Any], quantity: Floats, level: NDArray[np.uint8]) -> None:
        """Take longer columns of rows; those of the exposures may have grown too."""
        self._rows = (self._pots.first, self._pots.last, code, quantity, level)

    def read(self, exposures: Ints, table: Table, rho: float, lines: Lines | None) -> None:
        """Compute the figures of exposures.

        Parameters
        ----------
        exposures : int64[n]
            Of one driver.
        table : Table
            Exact, at its price.
        rho : float
            Its price.
        lines : Lines or None
            Lines through that price; None leaves rates as they are.
        """
        self._run(exposures, table, rho, lines, self._pots.figures.reshape(-1), dense=False)
        if lines is not None:
            self._pots.side[exposures] = ex.ABOVE if lines.above else ex.BELOW

    def rates(
        self, exposures: Ints, table: Table, rho: float, lines: Lines,
        high_terms: Floats | None = None,
    ) -> Floats:  # fmt: skip
        """Return figures of exposures, ``[n, 8]``, as :meth:`read` would keep them.

        Parameters
        ----------
        exposures, table, rho, lines
            As for :meth:`read`.
        high_terms : float64[segments, 4], optional
            Largest terms of segments on the upper side of turned scenarios.
        """
        out = np.empty((exposures.size, 8))
        self._run(exposures, table, rho, lines, out.reshape(-1), dense=True, high_terms=high_terms)
        return out

    def _run(
        self, exposures: Ints, table: Table, rho: float, lines: Lines | None, out: Floats, *,
        dense: bool, high_terms: Floats | None = None,
    ) -> None:  # fmt: skip
        none = (0.0, 0.0)
        one = lines or Lines(table, table, table, table.apart, none, none, none, False)
        p = self._pots
        terms = self._small[2] if high_terms is None else high_terms.reshape(-1)
        self._kernel(
            exposures, exposures.size, *self._rows, table.rows.reshape(-1),
            one.loose.rows.reshape(-1), one.low.rows.reshape(-1), one.high.rows.reshape(-1),
            self._small, one.apart.reshape(-1), *self._rules, lines is not None, one.above, rho,
            one.ends, one.prices, one.spans, one.closed, terms, p.cash, out, dense,
        )  # fmt: skip


@functools.cache
def _pot_kernel(shape: Shape) -> Callable[..., None]:
    """Return the compiled loop that adds records up to the slack of pots."""
    kernel = record_kernel(shape)
    width = record_width(shape.na)
    other = LANES * shape.na

    @numba.njit(nogil=True, boundscheck=False, error_model="numpy")
    @named_after(shape)
    def run(
        start: Any, code: Any, quantity: Any, level: Any, tables: Any, columns: Any, steps: Any,
        depth: int, usd: Any, in_group: Any, places: Any, limits: Any, out: Any, over: Any,
    ) -> None:  # fmt: skip
        op, column, number = steps
        accounts = start.size - 1
        rows = 0
        for block in range(0, accounts, BLOCK):
            rows = max(rows, start[min(block + BLOCK, accounts)] - start[block])
        records = _aligned((rows + 1) * width)
        words = records.view(np.int64)
        stack = np.empty((depth, rows + 1))
        need = np.empty(rows + 1)
        one, two, sign = columns[EQUITY_MM, 0], columns[EQUITY_MM, 1], columns[EQUITY_MM, 2]
        two, sign = (one, 0) if two < 0 else (two, sign)
        pot = -1
        for block in range(0, accounts, BLOCK):
            end = min(block + BLOCK, accounts)
            count = kernel(block, end, start, code, quantity, level, tables, records)
            run_steps(op, column, number, columns, records, width, count, stack, need)
            for r in range(count):
                at = r * width
                group = words[at + other + GROUP_AT]
                if words[at + other + LEVEL_AT] >= POT:
                    pot += 1
                    out[pot] = 0.0
                held = records[at + one] + sign * records[at + two]
                out[pot] += (held - (need[r] if in_group[group] else 0.0)) * usd[group]
                for k in range(places.size):
                    if not abs(records[at + places[k]]) <= limits[k, group]:
                        over[words[at + other + ACCOUNT_AT]] = True

    return run


def slack_of_pots(
    program: Program, holdings: Holdings, pots: Exposures
) -> tuple[Floats, NDArray[np.bool_]]:
    """Compute the slack of every pot in the program's own market.

    Returns
    -------
    slack : float64[P]
        US dollars; NaN where the pot holds what cannot be valued.
    over : bool[A]
        Accounts beyond a limit.
    """
    if program.layout.pot_asset.size == 1:
        # An account is a pot: the quicker pass does.
        found = run_program(program, holdings)
        return (found.equity - found.mm)[pots.pot_account], found.over
    limits = [limit for _, limit in program.limits.values()]
    places = [program.lanes.columns[c, 0] for c, _ in program.limits.values()]
    out, over = np.empty(pots.pot_account.size), np.zeros(holdings.size, dtype=bool)
    steps = program.combine.mm
    _pot_kernel(program.shape)(
        holdings.start, holdings.code, holdings.quantity, holdings.level,
        program.kernel_tables(), program.lanes.columns, (steps.op, steps.column, steps.number),
        max(steps.depth, 1), program.pot_usd[program.layout.group_pot], program.in_group,
        np.array(places, dtype=np.int64),
        np.array(limits) if limits else np.empty((0, program.in_group.size)), out, over,
    )  # fmt: skip
    return out, over
