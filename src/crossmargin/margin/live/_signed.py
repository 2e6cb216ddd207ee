"""A program for bounds: rows by code and side, in US dollars, at the maintenance level alone.

Row ``2c`` is what one unit of code c counts for a long, row ``2c + 1`` for a short (times a
negative quantity). So whatever depends on the side becomes a sum, and a table that bounds every
row from the side that hurts is read by the very kernel that computes requirements. A figure that
counts on either side has a lane and a *mirror*, the same with the other sign, of which the worse
counts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossmargin.margin.components import BasisContingency, NakedShort, Roll
from crossmargin.margin.fused._combine import (
    ADD,
    MAX,
    MUL,
    NUMBER,
    PUSH,
    SCAN_COLUMN,
    Steps,
)
from crossmargin.margin.fused._kernel import ALONE, DISCOUNT, OFFSET
from crossmargin.margin.fused._lanes import LANES, LanePlan, Lanes
from crossmargin.margin.fused._program import EQUITY_MM, Program

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class NotBounded(Exception):
    """Why no trigger prices can be certified; every tick then visits everybody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """Where a signed table has what.

    Attributes
    ----------
    lanes : Lanes
        Lanes of the signed table.
    nv : int
        Vectors of scenario lanes.
    value, equity, limit, pair : int
        Columns of the table: value today of a segment; equity; the figure that has a limit, with
        its mirror behind it; the first of two lanes of which the worse counts. -1 without one.
    net : bool
        Whether the pair is a net delta and its mirror, rather than two moves.
    plain : dict of int to int
        Columns that are sums over rows, by column of the program's records.
    short : dict of int to int
        The same of columns that count what is sold.
    turned : int64[k]
        Scenario lanes of turned surfaces: they are kept apart, and repeat the first lane here.
    steps : Steps
        The maintenance level over columns of the signed records.
    scan, equity_at, limit_at : int
        Places in a record.
    """

    lanes: Lanes
    nv: int
    value: int
    equity: int
    limit: int
    pair: int
    net: bool
    plain: dict[int, int]
    short: dict[int, int]
    turned: Ints
    steps: Steps

    @property
    def width(self) -> int:
        """Numbers of a row."""
        return LANES * (self.nv + self.lanes.vectors)


def signed_plan(program: Program) -> Signed:
    """Lay the lanes of a signed table out.

    Raises
    ------
    NotBounded
        With a sentence, where a component has no bound.
    """
    codes = 2 * program.layout.size
    plan = LanePlan(codes)
    lane_of: dict[str, int] = {}
    made = 0

    def lane(kind: Any) -> int:
        # Lanes with the same coefficients are joined; these are told apart until they are filled.
        nonlocal made
        made += 1
        return plan.lane(kind, np.full(codes, float(made)))

    if program.mode == DISCOUNT:
        plan.value(np.zeros(codes))
    lane_of["equity"] = lane("sum")
    columns = {EQUITY_MM: plan.column(lane_of["equity"])}
    plain: dict[int, int] = {EQUITY_MM: lane_of["equity"]}
    short: dict[int, int] = {}
    pair, net = -1, False
    used = set(_pushed(program.combine.mm))
    for spec in program.ruleset.data.components:
        (_, _), (column, _) = program.combine.parts[spec.name]
        if column == SCAN_COLUMN or column not in used or column in columns:
            continue
        if isinstance(spec, Roll | BasisContingency):
            if pair >= 0:
                raise NotBounded(f"{spec.name} counts either side beside a pair of moves")
            pair, net = column, isinstance(spec, Roll)
        elif isinstance(spec, NakedShort):
            short[column] = lane("short")
            columns[column] = plan.column(short[column])
        else:
            plain[column] = lane("sum")
            columns[column] = plan.column(plain[column])
    limit = -1
    if program.limits:
        if len(program.limits) > 1:
            raise NotBounded("two components have a limit")
        limit = lane("sum")
        plan.column(limit)
        plan.column(lane("sum"))
    if pair >= 0:
        columns[pair] = plan.pair(np.full(codes, -1.0), np.full(codes, -2.0))
    done = plan.done()
    at = LANES * program.nv
    flags = program.flags if program.mode == DISCOUNT else np.zeros(LANES * program.nv)
    real = 0
    if program.scanned:
        real = program.units.frame.table.scenarios.size
    columns[SCAN_COLUMN] = SCAN_COLUMN
    return Signed(
        lanes=done,
        nv=program.nv,
        value=at if program.mode == DISCOUNT else -1,
        equity=at + lane_of["equity"],
        limit=at + limit if limit >= 0 else -1,
        pair=at + LANES * done.vectors - 2 if pair >= 0 else -1,
        net=net,
        plain={c: at + k for c, k in plain.items()},
        short={c: at + k for c, k in short.items()},
        turned=np.flatnonzero(flags[:real]),
        steps=_renumbered(program.combine.mm, columns),
    )


def _pushed(steps: Steps) -> list[int]:
    return [int(c) for o, c in zip(steps.op, steps.column) if o == PUSH]


def _renumbered(steps: Steps, columns: dict[int, int]) -> Steps:
    column = [columns[int(c)] if o == PUSH else 0 for o, c in zip(steps.op, steps.column)]
    return replace(steps, column=np.array(column, dtype=np.int64))


def signed_program(program: Program, signed: Signed) -> Program:
    """Return a program whose kernel reads signed tables; its own table is empty.

    Raises
    ------
    NotBounded
        With a sentence, where slack is not a concave, rising function of the lanes: the proof
        then has nothing to stand on.
    """
    layout = program.layout
    require_convex(program.combine.mm, bool(np.any(layout.pot_asset >= 0)))
    terms = program.segment_terms.copy()
    first = np.searchsorted(layout.segment, np.arange(terms.shape[0]))
    usd = program.pot_usd[layout.pot[first]]
    if program.mode == DISCOUNT:
        if np.any(terms[:, 0] > terms[:, 1]):
            raise NotBounded("value is discounted less than debt")
    else:
        if program.mode == OFFSET and np.any(terms[:, 0] > 1.0):
            raise NotBounded("gains count for more than losses")
        tails = program.tail != 0.0
        if program.mode == OFFSET and np.any(program.flags[tails]) and np.any(terms[:, 2] > 0):
            raise NotBounded("a dampener stands beside gains in tails")
        terms[:, 1:3] *= usd[:, None]
    twice = np.repeat(np.arange(layout.size), 2)
    doubled = replace(layout, group=layout.group[twice], segment=layout.segment[twice])
    return replace(program, layout=doubled, table=np.empty((0, 0)), lanes=signed.lanes,
                   segment_terms=terms)  # fmt: skip


def require_convex(steps: Steps, moving: bool) -> None:
    """See that an expression is convex, rises with every column, and scales with them.

    Parameters
    ----------
    steps : Steps
        The maintenance level.
    moving : bool
        Whether a pot may be in a coin: then a constant amount of it cannot be added.

    Raises
    ------
    NotBounded
        With a sentence.
    """
    stack: list[float | None] = []
    for op, number in zip(steps.op.tolist(), steps.number.tolist()):
        if op == NUMBER:
            stack.append(number)
        elif op == PUSH:
            if number < 0:
                raise NotBounded("a component lowers the requirement")
            stack.append(None)
        elif op not in (ADD, MUL, MAX):
            raise NotBounded("components are combined by more than sums, factors and maxima")
        else:
            stack.append(_joined(op, stack.pop(), stack.pop(), moving))


def _joined(op: int, a: float | None, b: float | None, moving: bool) -> float | None:
    constant = [x for x in (a, b) if x is not None]
    if op == MUL and (not constant or min(constant) < 0):
        raise NotBounded("two components are multiplied")
    if op != MUL and moving and len(constant) == 1 and constant[0] > 0:
        raise NotBounded("a fixed amount of a coin is charged")
    if a is None or b is None:
        return None
    return a + b if op == ADD else a * b if op == MUL else max(a, b)


def signed_table(program: Program, signed: Signed) -> Floats:
    """Lay a program's table out for longs and shorts apart, in US dollars.

    Returns
    -------
    float64[2C, W]
    """
    c, at = program.layout.size, LANES * program.nv
    usd = program.pot_usd[program.layout.pot]
    table = program.table
    out = np.zeros((c, 2, signed.width))
    out[:, :, :at] = (table[:, :at] * usd[:, None])[:, None]
    lanes = table[:, at:]
    if signed.value >= 0:
        out[:, :, signed.value] = (lanes[:, program.lanes.value] * usd)[:, None]
    for column, place in signed.plain.items():
        for side in range(2):
            out[:, side, place] = _by_side(program, lanes, column, side) * usd
    for column, place in signed.short.items():
        out[:, :, place] = (lanes[:, program.lanes.columns[column, 0]] * usd)[:, None]
    if signed.limit >= 0:
        ((column, _),) = program.limits.values()
        figure = lanes[:, program.lanes.columns[column, 0]]
        # What has a limit is in US dollars whatever the pot's numeraire.
        out[:, :, signed.limit], out[:, :, signed.limit + 1] = figure[:, None], -figure[:, None]
    if signed.pair >= 0:
        for k in range(2):
            source = _pair_lane(program, signed, k)
            sign = -1.0 if signed.net and k else 1.0
            out[:, :, signed.pair + k] = (sign * lanes[:, source] * usd)[:, None]
    return out.reshape(2 * c, signed.width)


def _pair_lane(program: Program, signed: Signed, k: int) -> int:
    if not signed.net:
        return LANES * program.lanes.vectors - 2 + k
    for spec in program.ruleset.data.components:
        if isinstance(spec, Roll):
            return int(program.lanes.columns[program.combine.parts[spec.name][1][0], 0])
    raise NotBounded("no net delta")


def _by_side(program: Program, lanes: Floats, column: int, side: int) -> Floats:
    """Coefficient of a column for a long (0) or short (1) unit: what ±1 counts, times ±1."""
    sign = 1.0 if side == 0 else -1.0
    first, second, factor = program.lanes.columns[column].tolist()
    width = LANES * program.lanes.vectors
    slope, twist = program.lanes.shape[:width], program.lanes.shape[width:]

    def counted(lane: int) -> Floats:
        x = sign * lanes[:, lane]
        return np.asarray(slope[lane] * x + twist[lane] * np.abs(x))

    total = counted(first)
    if second >= 0:
        total = total + factor * counted(second)
    return np.asarray(sign * total)


__all__ = ["ALONE", "DISCOUNT", "NotBounded", "Signed", "signed_plan", "signed_program",
           "signed_table"]  # fmt: skip
