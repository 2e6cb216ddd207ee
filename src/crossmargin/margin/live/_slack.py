"""Slack of one group of one account: equity less maintenance margin, from a table of signed rows.

The sums and maps are those of the fused kernel, but rows are picked by code and side, figures
that count on either side are read from a lane and its mirror, and only the maintenance level is
computed. Read from a table of lines, the same arithmetic gives a bound (docs/models/triggers.md).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from crossmargin.margin.fused._combine import (
    ADD,
    BUCKET_COLUMN,
    COLUMNS,
    LINEAR_COLUMN,
    MAX,
    MUL,
    NUMBER,
    PUSH,
    SCAN_COLUMN,
    Steps,
)
from crossmargin.margin.fused._layout import BUCKET, GROUP, SEGMENT, STRIKE
from crossmargin.margin.fused._program import EQUITY_MM, LANES, Program
from crossmargin.margin.kernels._vector import block_add, block_min, fma_rows, prefetch
from crossmargin.margin.live._shape import Blocks, NotBounded, Shape

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the kernel needs besides tables, by group and segment, in US dollars.

    Attributes
    ----------
    group_of, segment_of : int32[2C]
        By signed code.
    kind : int8[segments]
        Map of each segment; see :class:`~crossmargin.margin.fused._program.Program`.
    terms : float64[segments, 4]
        Its terms; caps and dampeners in US dollars.
    weight : float64[groups, 8·nv]
        Scenario weights.
    tail : float64[8·nv]
        1.0 on lanes of tail scenarios.
    turned : int64[k]
        Lanes of turned surfaces.
    tail_gains : bool
        Whether gains in tails count.
    scanned : bool[groups]
        Groups with scenarios.
    limit : float64[groups]
        Largest net delta of a group, US dollars.
    limit_lane, strikes, shorts, pair : int
        Lanes.
    two_sided : int
        Bit mask of bucket lanes that count either side.
    buckets : bool
        Whether any lane looks at buckets.
    """

    group_of: NDArray[np.int32]
    segment_of: NDArray[np.int32]
    kind: NDArray[np.int8]
    terms: Floats
    weight: Floats
    tail: Floats
    turned: NDArray[np.int64]
    tail_gains: bool
    scanned: NDArray[np.bool_]
    limit: Floats
    limit_lane: int
    strikes: int
    shorts: int
    pair: int
    buckets: bool


def rules_of(program: Program, shape: Shape) -> Rules:
    """Gather the rules of a program and see that slack is concave in the lanes.

    Raises
    ------
    NotBounded
        With a sentence, where it is not.
    """
    layout = program.layout
    require_convex(program.combine.mm, np.any(shape.drivers.of_pot >= 0))
    terms = program.segment_terms.copy()
    kind = program.segment_kind
    first = np.searchsorted(layout.segment, np.arange(kind.size))
    usd = program.pot_usd[layout.pot[first]]
    mapped = kind == 2
    if np.any(terms[mapped, 0] > 1.0):
        raise NotBounded("gains count for more than losses")
    if program.tail_gains and np.any(terms[mapped, 2] > 0):
        raise NotBounded("a dampener stands beside gains in tails")
    if np.any(terms[kind == 1, 0] > terms[kind == 1, 1]):
        raise NotBounded("value is discounted less than debt")
    terms[mapped, 1:3] *= usd[mapped, None]
    twice = np.arange(2 * layout.size) // 2
    limits = list(program.limits.values())
    return Rules(
        group_of=layout.group[twice], segment_of=layout.segment[twice], kind=kind, terms=terms,
        weight=program.weight, tail=program.tail, turned=shape.blocks.turned,
        tail_gains=program.tail_gains, scanned=program.scanned,
        limit=limits[0] if limits else np.full(layout.group_asset.size, np.inf),
        limit_lane=shape.limit_lane, strikes=program.lanes.strikes, shorts=program.lanes.shorts,
        pair=program.lanes.pair, buckets=program.has_buckets,
    )  # fmt: skip


def require_convex(steps: Steps, moving: bool) -> None:
    """See that an expression is convex, rises with every column, and scales with them.

    Parameters
    ----------
    steps : Steps
        The maintenance level.
    moving : bool
        Whether a pot's numeraire moves: then a constant amount of it cannot be added.
    """
    stack: list[float | None] = []
    for op, number in zip(steps.op.tolist(), steps.number.tolist()):
        if op == NUMBER:
            stack.append(number)
        elif op == PUSH:
            if number < 0:
                raise NotBounded("a component lowers the requirement")
            stack.append(None)
        else:
            b = stack.pop()
            a = stack.pop() if op in (ADD, MUL, MAX) else None
            if op not in (ADD, MUL, MAX):
                raise NotBounded("components are combined by more than sums, factors and maxima")
            constant = [x for x in (a, b) if x is not None]
            if op == MUL:
                if not constant or min(constant) < 0:
                    raise NotBounded("two components are multiplied")
            elif moving and len(constant) == 1 and constant[0] > 0:
                raise NotBounded("a fixed amount of a coin is charged")
            if len(constant) == 2:
                x, y = constant
                stack.append(x + y if op == ADD else x * y if op == MUL else max(x, y))
            else:
                stack.append(None)


@functools.cache
def slack_kernel(nv: int, turned: bool, absolute: bool) -> Callable[..., None]:
    """Return the compiled kernel for tables of `nv` scenario vectors.

    Parameters
    ----------
    nv : int
        Vectors of scenario lanes.
    turned : bool
        Whether the table has a block of mirrors of turned lanes.
    absolute : bool
        Not used by rows; part of the key so that rule-sets without buckets skip them.
    """
    sums = nv + 1 + (1 if turned else 0)
    wide = LANES * nv
    bucket_at, mirror_at = LANES * sums, LANES * (sums + 1)
    stride = LANES * (sums + 2)
    mirrors = LANES * (nv + 1)
    buckets = absolute

    @numba.njit(nogil=True, cache=True, boundscheck=False)
    def kernel(
        exposures: Any, n: int, first: Any, last: Any, code: Any, quantity: Any, level: Any,
        table: Any, group_of: Any, segment_of: Any, scanned: Any, kind: Any, terms: Any,
        weight: Any, tail: Any, turned_lanes: Any, tail_gains: bool, limit: Any, limit_lane: int,
        strikes: int, shorts: int, pair: int, out: Any, room: Any, account_size: int,
    ) -> None:  # fmt: skip
        v = np.empty(LANES * sums)
        total = np.empty(LANES * sums)
        running = np.empty(LANES)
        contrary = np.empty(LANES)
        ended = np.empty(LANES)
        for r in range(n):
            e = exposures[r]
            if r + 4 < n:
                ahead = first[exposures[r + 4]]
                prefetch(quantity, ahead, 2)
            k, end = first[e], np.int64(last[e])
            worst = 0.0
            slot = np.inf
            for j in range(LANES):
                ended[j] = 0.0
            for j in range(LANES * sums):
                total[j] = 0.0
            if k < end:
                g = group_of[code[k]]
                scans = scanned[g]
                alone = True
                while k < end:
                    stop = k + 1
                    while stop < end and level[stop] < SEGMENT:
                        stop += 1
                    closes = stop == end
                    fma_rows(v, table, stride, 0, code, quantity, k, stop, sums)
                    value = 0.0
                    opposite = 0.0
                    if buckets:
                        for j in range(LANES):
                            running[j] = 0.0
                            contrary[j] = 0.0
                        for row in range(k, stop):
                            at = np.int64(code[row]) * stride
                            q = quantity[row]
                            here = level[row]
                            after = level[row + 1] if row + 1 < stop else SEGMENT
                            value += q * table[at + bucket_at]
                            opposite += q * table[at + mirror_at]
                            for j in range(1, LANES):
                                edge = STRIKE if (strikes >> j) & 1 else BUCKET
                                x = q * table[at + bucket_at + j]
                                y = q * table[at + mirror_at + j]
                                if here < edge:
                                    x += running[j]
                                    y += contrary[j]
                                running[j] = x
                                contrary[j] = y
                                if after >= edge and j != pair and j - 1 != pair:
                                    if (shorts >> j) & 1:
                                        ended[j] += max(0.0, -x)
                                    else:
                                        ended[j] += max(0.0, max(-x, -y))
                            if pair >= 0 and after >= BUCKET:
                                low = min(running[pair], running[pair + 1])
                                ended[pair] += max(0.0, -low)
                    if nv and scans:
                        s = segment_of[code[k]]
                        if kind[s] == 1:
                            long, short = terms[s, 0], terms[s, 1]
                            for j in range(wide):
                                then = v[j]
                                v[j] = (
                                    then * (long if then >= 0.0 else short)
                                    + weight[g, j] * opposite
                                )
                            for t in range(turned_lanes.size):
                                j = turned_lanes[t]
                                then = -v[mirrors + t]
                                top = (
                                    then * (long if then >= 0.0 else short) - weight[g, j] * value
                                )
                                v[j] = -max(0.0, max(-v[j], top))
                        elif kind[s] == 2:
                            offset, cap, dampener = terms[s, 0], terms[s, 1], terms[s, 2]
                            if alone and closes:
                                for j in range(wide):
                                    v[j] += dampener * tail[j]
                            else:
                                for j in range(wide):
                                    x = v[j]
                                    if x > 0.0:
                                        gain = min(x * offset, cap)
                                        v[j] = 0.0 if tail[j] != 0.0 and not tail_gains else gain
                                    else:
                                        v[j] = min(x + dampener * tail[j], 0.0)
                    if alone:
                        for j in range(LANES * sums):
                            total[j] = v[j]
                    else:
                        block_add(total, 0, v, 0, sums)
                    alone = False
                    k = stop
                if nv and scans:
                    worst = max(0.0, -block_min(total, 0, nv))
                    if np.isnan(total[0]):
                        worst = np.nan
                if limit_lane >= 0:
                    most = max(-total[wide + limit_lane], -total[wide])
                    slot = limit[g] - most
            out[SCAN_COLUMN, r] = worst
            for j in range(LANES):
                out[LINEAR_COLUMN + j, r] = total[wide + j]
                out[BUCKET_COLUMN + j, r] = ended[j]
            room[r] = slot

    return kernel


__all__ = ["COLUMNS", "EQUITY_MM", "Blocks", "Rules", "require_convex", "rules_of", "slack_kernel"]
