"""A rule-set's expressions as straight code: the steps of `_combine`, without the stack.

Written as text they are constants of the compiled function, which can then be kept on disk.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba import types
from numba.core import cgutils as _cgutils
from numba.extending import intrinsic

from crossmargin.margin.fused._combine import (
    ADD,
    DIV,
    MAX,
    MIN,
    MUL,
    NEG,
    NUMBER,
    PUSH,
    SCAN_COLUMN,
    SQRT,
    SUB,
    Steps,
)
from crossmargin.margin.fused._lanes import Lanes
from crossmargin.margin.kernels._vector import _Emit

cgutils: Any = _cgutils

_I64 = ir.IntType(64)
_F64 = ir.DoubleType()


def steps_text(steps: Steps, lanes: Lanes) -> str:
    """Write steps with the places of their columns: ``op,first,second,sign,number;…``."""
    out = []
    for op, column, number in zip(steps.op.tolist(), steps.column.tolist(), steps.number.tolist()):
        first, second, sign = (int(x) for x in lanes.columns[column])
        if column == SCAN_COLUMN:
            first, second = -1, -1
        out.append(f"{op},{first},{second},{sign},{float(number).hex()}")
    return ";".join(out)


def column_text(column: int, lanes: Lanes) -> str:
    """Write one column as steps."""
    first, second, sign = (int(x) for x in lanes.columns[column])
    if column == SCAN_COLUMN:
        first, second = -1, -1
    return f"{PUSH},{first},{second},{sign},{(1.0).hex()}"


def _value(builder: Any, data: Any, at: Any, scan: Any, words: list[str]) -> Any:
    """Return the value of a column of a record, times its factor."""
    first, second, sign = (int(x) for x in words[1:4])
    if first < 0:
        value = scan
    else:
        value = builder.load(builder.gep(data, [builder.add(at, ir.Constant(_I64, first))]))
    if second >= 0:
        more = builder.load(builder.gep(data, [builder.add(at, ir.Constant(_I64, second))]))
        value = builder.fadd(value, more) if sign > 0 else builder.fsub(value, more)
    factor = float.fromhex(words[4])
    return value if factor == 1.0 else builder.fmul(value, ir.Constant(_F64, factor))


def _two(builder: Any, what: int, one: Any, two: Any) -> Any:
    plain = {ADD: "fadd", SUB: "fsub", MUL: "fmul", DIV: "fdiv"}
    if what in plain:
        return getattr(builder, plain[what])(one, two)
    test = {MAX: ">=", MIN: "<="}[what]
    return builder.select(builder.fcmp_ordered(test, one, two), one, two)


def _emit_worked_out(typingctx: Any, records: Any, at: Any, scan: Any, text: Any) -> Any:
    """Return the value of steps (a constant text) at a record and its requirement of the scan."""
    program = str(text.literal_value)
    kinds = (records, at, scan, text)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = _Emit(context, builder, types.float64, 1)
        data, place = emit.data(records, args[0]), emit.word(at, args[1])
        stack: list[Any] = []
        for step in program.split(";"):
            words = step.split(",")
            what = int(words[0])
            if what == PUSH:
                stack.append(_value(builder, data, place, args[2], words))
            elif what == NUMBER:
                stack.append(ir.Constant(_F64, float.fromhex(words[4])))
            elif what == NEG:
                stack.append(builder.fneg(stack.pop()))
            elif what == SQRT:
                root = cgutils.get_or_insert_function(
                    builder.module, ir.FunctionType(_F64, [_F64]), "llvm.sqrt.f64"
                )
                stack.append(builder.call(root, [stack.pop()]))
            else:
                two, one = stack.pop(), stack.pop()
                stack.append(_two(builder, what, one, two))
        return stack.pop()

    return types.float64(*kinds), codegen


#: ``worked_out(records, at, scan, text) -> value``
worked_out = cast("Callable[..., float]", intrinsic(prefer_literal=True)(_emit_worked_out))
