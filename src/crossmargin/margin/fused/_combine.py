"""How components add up, as steps of a stack machine over columns of groups.

The rule-set's expressions are arithmetic over components; evaluated step by step over thousands
of groups at a time they cost a few operations of the processor each, and need no compiler.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from numpy.typing import NDArray

from crossmargin.margin.ruleset import Ruleset

if TYPE_CHECKING:
    from crossmargin.margin.fused._shapes import Shaped

Floats = NDArray[np.float64]

#: Column and factor of a component at the initial and the maintenance level.
Columns = tuple[tuple[int, float], tuple[int, float]]

PUSH, NUMBER, ADD, SUB, MUL, DIV, MAX, MIN, NEG, SQRT = range(10)
_CODES = {"+": ADD, "-": SUB, "*": MUL, "/": DIV, "max": MAX, "min": MIN}

#: The column of the scan; those of lanes follow.
SCAN_COLUMN = 0


@dataclass(frozen=True, slots=True)
class Steps:
    """An expression as steps.

    Attributes
    ----------
    op, column : int64[n]
        Operation, and the column that ``PUSH`` puts on the stack.
    number : float64[n]
        What ``NUMBER`` puts there, or the factor of a column.
    depth : int
        Largest height of the stack.
    """

    op: NDArray[np.int64]
    column: NDArray[np.int64]
    number: Floats
    depth: int


@dataclass(frozen=True, slots=True)
class Combination:
    """Requirement of a group at both levels, and the figure of each component.

    Attributes
    ----------
    im, mm : Steps
        Expressions.
    parts : dict of str to ((int, float), (int, float))
        Column and factor of each component at both levels; column -1 for a constant factor.
    """

    im: Steps
    mm: Steps
    parts: dict[str, Columns]


def combination(
    ruleset: Ruleset,
    shaped: list[Shaped],
    columns: dict[str, Columns],
    level: dict[str, tuple[float, float]],
) -> Combination:
    """Compile the expressions of a rule-set over the columns of a record.

    Parameters
    ----------
    ruleset : Ruleset
        Its ``combine``.
    shaped : list of Shaped
        Components.
    columns : dict
        Column and factor of components that have lanes, at both levels.
    level : dict
        Figures of components that are the same for every group.
    """
    parts: dict[str, Columns] = {}
    for part in shaped:
        name = part.spec.name
        if part.shape == "scan":
            parts[name] = ((SCAN_COLUMN, 1.0), (SCAN_COLUMN, 1.0))
        elif name in columns:
            parts[name] = columns[name]
        else:
            im_value, mm_value = level.get(name, (0.0, 0.0))
            parts[name] = ((-1, im_value), (-1, mm_value))
    return Combination(_steps(ruleset, parts, 0), _steps(ruleset, parts, 1), parts)


def _steps(ruleset: Ruleset, parts: dict[str, Columns], row: int) -> Steps:
    known = ruleset.data.combine
    out: list[tuple[int, int, float]] = []

    def write(expression: str) -> None:
        for word, value in ruleset.expressions[expression].postfix():
            if word == "number":
                out.append((NUMBER, 0, float(value)))
            elif word != "name":
                out.append((_CODES.get(word, NEG if word == "neg" else SQRT), 0, 0.0))
            elif value in known.steps:
                write(str(value))
            elif value in known.constants:
                out.append((NUMBER, 0, known.constants[str(value)]))
            else:
                column, factor = parts[str(value)][row]
                out.append((NUMBER, 0, factor) if column < 0 else (PUSH, column, factor))

    write(("im", "mm")[row])
    out = _folded(out)
    height = deepest = 0
    for op, _, _ in out:
        height += 1 if op in (PUSH, NUMBER) else (0 if op in (NEG, SQRT) else -1)
        deepest = max(deepest, height)
    return Steps(
        op=np.array([o[0] for o in out], dtype=np.int64),
        column=np.array([o[1] for o in out], dtype=np.int64),
        number=np.array([o[2] for o in out], dtype=np.float64),
        depth=deepest,
    )


def _folded(steps: list[tuple[int, int, float]]) -> list[tuple[int, int, float]]:
    """Leave out what changes nothing: + 0, − 0, × 1, and factors of a column itself."""
    out: list[tuple[int, int, float]] = []
    for op, column, number in steps:
        if (op in (ADD, SUB) and out[-1] == (NUMBER, 0, 0.0)) or (
            op in (MUL, DIV) and out[-1] == (NUMBER, 0, 1.0)
        ):
            out.pop()
        elif op == MUL and out[-1][0] == NUMBER and out[-2][0] == PUSH:
            factor = out.pop()[2]
            out[-1] = (PUSH, out[-1][1], out[-1][2] * factor)
        else:
            out.append((op, column, number))
    return out


@numba.njit(nogil=True, cache=True, error_model="numpy")
def run_steps(
    op: Any, column: Any, number: Any, columns: Any, records: Any, width: int, count: int,
    stack: Any, out: Any,
) -> None:  # fmt: skip
    """Evaluate steps over the first `count` records.

    Parameters
    ----------
    op, column, number
        See :class:`Steps`.
    columns : int64[n, 3]
        Places in a record of each column, see :class:`~crossmargin.margin.fused._lanes.Lanes`.
    records : float64[...]
        Records, `width` numbers each.
    width, count : int
        Numbers of a record; records in use.
    stack : float64[depth, n]
        Scratch.
    out : float64[n]
        The result.
    """
    top = -1
    for step in range(op.size):
        what = op[step]
        if what == PUSH:
            top += 1
            target, factor = stack[top], number[step]
            one, two = columns[column[step], 0], columns[column[step], 1]
            if two < 0:
                for i in range(count):
                    target[i] = records[i * width + one] * factor
            else:
                sign = columns[column[step], 2]
                for i in range(count):
                    at = i * width
                    target[i] = (records[at + one] + sign * records[at + two]) * factor
        elif what == NUMBER:
            top += 1
            target = stack[top]
            for i in range(count):
                target[i] = number[step]
        elif what == NEG:
            target = stack[top]
            for i in range(count):
                target[i] = -target[i]
        elif what == SQRT:
            target = stack[top]
            for i in range(count):
                target[i] = np.sqrt(target[i])
        else:
            top -= 1
            _two(what, stack[top], stack[top + 1], count)
    for i in range(count):
        out[i] = stack[0, i]


@numba.njit(nogil=True, cache=True, inline="always", error_model="numpy")
def _two(what: int, target: Any, other: Any, count: int) -> None:
    if what == ADD:
        for i in range(count):
            target[i] += other[i]
    elif what == SUB:
        for i in range(count):
            target[i] -= other[i]
    elif what == MUL:
        for i in range(count):
            target[i] *= other[i]
    elif what == DIV:
        for i in range(count):
            target[i] /= other[i]
    elif what == MAX:
        for i in range(count):
            target[i] = target[i] if target[i] >= other[i] else other[i]
    else:
        for i in range(count):
            target[i] = target[i] if target[i] <= other[i] else other[i]
