"""A rule-set's expressions as straight code, and the sums of records by pot and account.

The steps of `_combine` are written as text: a constant of the compiled function, which can then be
kept on disk. The code has no branch on data: where accounts and pots end cannot be guessed.
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
from crossmargin.margin.kernels._vector import LANES_F64
from crossmargin.margin.kernels._vector_batch import _Rows

cgutils: Any = _cgutils

_I32 = ir.IntType(32)
_I64 = ir.IntType(64)
_F64 = ir.DoubleType()

#: Bits of a record's mark: it begins an account; it begins a pot; the next record begins a pot.
#: The kind of group stands above them.
FRESH, OPENS, CLOSES, KIND = 1, 2, 4, 3

#: Numbers by kind of group, one vector: 1, 1 where the group has a requirement, the allowance of
#: tail scenarios, a limit, US dollars per unit of the pot's numeraire twice, and the same where
#: the group has a requirement twice.
ONE, HELD, ALLOWANCE, LIMIT, USD, HELD_USD = 0, 1, 2, 3, 4, 6

#: Numbers of an account: equity at the maintenance and at the initial level, IM, MM, health.
OUT = 5


def steps_text(steps: Steps, lanes: Lanes) -> str:
    """Write steps with the places of their columns: ``op,first,second,sign,number;…``."""
    out = []
    for op, column, number in zip(steps.op.tolist(), steps.column.tolist(), steps.number.tolist()):
        out.append(_text(op, column, number, lanes))
    return ";".join(out)


def column_text(column: int, lanes: Lanes) -> str:
    """Write one column as steps."""
    return _text(PUSH, column, 1.0, lanes)


def _text(op: int, column: int, number: float, lanes: Lanes) -> str:
    first, second, sign = (int(x) for x in lanes.columns[column])
    if column == SCAN_COLUMN:
        first, second = -1, -1
    return f"{op},{first},{second},{sign},{float(number).hex()}"


class _Record:
    """A record in compiled code: numbers from `at` on, and its requirement of the scan."""

    def __init__(self, builder: Any, data: Any, at: Any) -> None:
        self._builder, self._data, self._at = builder, data, at
        self.scan: Any = ir.Constant(_F64, 0.0)

    def number(self, place: int) -> Any:
        """Return a number of the record."""
        at = self._builder.add(self._at, ir.Constant(_I64, place))
        return self._builder.load(self._builder.gep(self._data, [at]))

    def larger(self, one: Any, two: Any) -> Any:
        """Return the larger of two; the second where one is not a number."""
        return self._builder.select(self._builder.fcmp_ordered(">", one, two), one, two)

    def _column(self, words: list[str]) -> Any:
        first, second, sign = (int(x) for x in words[1:4])
        value = self.scan if first < 0 else self.number(first)
        if second >= 0:
            join = self._builder.fadd if sign > 0 else self._builder.fsub
            value = join(value, self.number(second))
        factor = float.fromhex(words[4])
        return value if factor == 1.0 else self._builder.fmul(value, ir.Constant(_F64, factor))

    def worked_out(self, text: str) -> Any:
        """Return the value of steps."""
        builder = self._builder
        stack: list[Any] = []
        plain = {ADD: builder.fadd, SUB: builder.fsub, MUL: builder.fmul, DIV: builder.fdiv}
        for step in text.split(";"):
            words = step.split(",")
            what = int(words[0])
            if what == PUSH:
                stack.append(self._column(words))
            elif what == NUMBER:
                stack.append(ir.Constant(_F64, float.fromhex(words[4])))
            elif what == NEG:
                stack.append(builder.fneg(stack.pop()))
            elif what == SQRT:
                kind = ir.FunctionType(_F64, [_F64])
                root = cgutils.get_or_insert_function(builder.module, kind, "llvm.sqrt.f64")
                stack.append(builder.call(root, [stack.pop()]))
            else:
                two, one = stack.pop(), stack.pop()
                if what in plain:
                    stack.append(plain[what](one, two))
                else:
                    test = builder.fcmp_ordered({MAX: ">=", MIN: "<="}[what], one, two)
                    stack.append(builder.select(test, one, two))
        return stack.pop()


def _emit_sum_accounts(
    typingctx: Any, records: Any, first: Any, last: Any, owner: Any, mark: Any, account: Any,
    kinds: Any, keeps: Any, out: Any, over: Any, pots: Any, width: Any, lows: Any, texts: Any,
    limit: Any,
) -> Any:  # fmt: skip
    """Add records ``first:last`` up to accounts, all but their health.

    Parameters of the compiled function: records of whole accounts, `width` numbers each; `mark`
    and `account` of all records (see :class:`~crossmargin.margin.fused._batch.Batch`), `owner`
    the account that 0 stands for; ``kinds[8·kind:]`` (see :data:`ONE`); ``keeps[mark & 7]`` the
    bits of lanes that go on; `out` five numbers an account, the first four of which are written;
    ``over[account]``; ``pots[2r:]`` takes equity and maintenance margin of the pot so far.

    Constants: `lows` the lanes that give the requirement of the scan, `texts` of IM, MM, equity at
    the initial and at the maintenance level, and `limit` a lane that has one, or -1.
    """
    kinds_of = (records, first, last, owner, mark, account, kinds, keeps, out, over, pots, width,
                lows, texts, limit)  # fmt: skip
    step, bounded = int(width.literal_value), int(limit.literal_value)
    low = [int(x) for x in str(lows.literal_value).split(",")]
    im, mm, equity_im, equity_mm = str(texts.literal_value).split("|")

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = _Rows(context, builder, types.float64, 1)
        data, marks, places, factors, masks, target, past, pot = (
            emit.data(kinds_of[i], args[i]) for i in (0, 4, 5, 6, 7, 8, 9, 10)
        )
        begin, end, base = (emit.word(kinds_of[i], args[i]) for i in (1, 2, 3))
        sums = emit.variable(emit.nothing)
        beyond = emit.variable(ir.Constant(_I64, 0))
        one = emit.number(1)

        def scan(record: _Record, at: Any) -> Any:
            found = record.larger(record.number(low[0]), ir.Constant(_F64, 0.0))
            found = record.larger(found, record.number(low[1]))
            if len(low) > 2:
                spared = builder.load(builder.gep(factors, [builder.add(at, emit.number(2))]))
                for lane in low[2:]:
                    far = builder.fsub(record.number(lane), spared)
                    found = record.larger(found, far)
            return found

        def limited(record: _Record, at: Any, word: Any, place: Any) -> None:
            most = builder.load(builder.gep(factors, [builder.add(at, emit.number(LIMIT))]))
            kind = ir.FunctionType(_F64, [_F64])
            size = cgutils.get_or_insert_function(builder.module, kind, "llvm.fabs.f64")
            held = builder.call(size, [record.number(bounded)])
            inside = builder.zext(builder.fcmp_ordered("<=", held, most), _I64)
            goes_on = builder.xor(builder.and_(word, one), one)
            now = builder.or_(builder.and_(builder.load(beyond), goes_on), builder.xor(inside, one))
            builder.store(now, beyond)
            builder.store(builder.trunc(now, ir.IntType(8)), builder.gep(past, [place]))

        with cgutils.for_range_slice(builder, begin, end, one) as (k, _):
            r = builder.sub(k, begin)
            record = _Record(builder, data, builder.mul(r, emit.number(step)))
            word = emit.widened(marks, k)
            at = builder.shl(builder.lshr(word, emit.number(KIND)), emit.number(3))
            record.scan = scan(record, at)
            own, own_im = record.worked_out(equity_mm), record.worked_out(equity_im)
            need, need_im = record.worked_out(mm), record.worked_out(im)
            values = emit.nothing
            for lane, value in ((0, own), (1, need), (4, own), (5, own_im), (6, need_im),
                                (7, need)):  # fmt: skip
                values = builder.insert_element(values, value, ir.Constant(_I32, lane))
            values = builder.fmul(values, emit.many(factors, at, 1)[0])
            keep = emit.bits(masks, builder.and_(word, emit.number(7)), 0)
            total = emit.onto(keep, builder.load(sums), values)
            builder.store(total, sums)
            place = builder.add(base, emit.widened(places, k))
            half = ir.VectorType(_F64, 4)
            empty = ir.Constant(emit.vector, ir.Undefined)
            upper = ir.Constant(ir.VectorType(_I32, 4), [4, 5, 6, 7])
            line = builder.gep(target, [builder.mul(place, emit.number(OUT))])
            builder.store(
                builder.shuffle_vector(total, empty, upper),
                builder.bitcast(line, half.as_pointer()),
                align=8,
            )
            both = ir.Constant(ir.VectorType(_I32, 2), [0, 1])
            slot = builder.gep(pot, [builder.shl(r, one)])
            builder.store(
                builder.shuffle_vector(total, empty, both),
                builder.bitcast(slot, ir.VectorType(_F64, 2).as_pointer()),
                align=8,
            )
            if bounded >= 0:
                limited(record, at, word, place)
        return context.get_dummy_value()

    return types.void(*kinds_of), codegen


def _emit_least_health(
    typingctx: Any, ratios: Any, first: Any, last: Any, owner: Any, mark: Any, account: Any,
    keeps: Any, out: Any,
) -> Any:  # fmt: skip
    """Write the smallest of ``ratios[0:]`` over the records ``first:last`` of each account.

    It is no number where equity or maintenance margin of the account are not finite. Parameters as
    of `sum_accounts`, which is to be called before.
    """
    kinds_of = (ratios, first, last, owner, mark, account, keeps, out)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = _Rows(context, builder, types.float64, 1)
        data, marks, places, masks, target = (
            emit.data(kinds_of[i], args[i]) for i in (0, 4, 5, 6, 7)
        )
        begin, end, base = (emit.word(kinds_of[i], args[i]) for i in (1, 2, 3))
        endless = ir.Constant(emit.vector, [float("inf")] * LANES_F64)
        least = emit.variable(endless)
        one = emit.number(1)
        with cgutils.for_range_slice(builder, begin, end, one) as (k, _):
            word = emit.widened(marks, k)
            keep = emit.bits(masks, builder.and_(word, emit.number(7)), 0)
            before = builder.select(keep, builder.load(least), endless)
            ratio = emit.splat_at(data, builder.sub(k, begin))
            now = emit.minimum(ratio, before)
            builder.store(now, least)
            place = builder.mul(builder.add(base, emit.widened(places, k)), emit.number(OUT))
            # The least of numbers passes over one that is none; the account's sums do not.
            sums = [
                builder.load(builder.gep(target, [builder.add(place, emit.number(x))]))
                for x in (0, 3)
            ]
            nothing = builder.fmul(builder.fadd(*sums), ir.Constant(_F64, 0.0))
            health = builder.extract_element(now, ir.Constant(_I32, 7))
            builder.store(
                builder.fadd(health, nothing),
                builder.gep(target, [builder.add(place, emit.number(4))]),
            )
        return context.get_dummy_value()

    return types.void(*kinds_of), codegen


_intrinsic = intrinsic(prefer_literal=True)

#: See :func:`_emit_sum_accounts`.
sum_accounts = cast("Callable[..., None]", _intrinsic(_emit_sum_accounts))
#: See :func:`_emit_least_health`.
least_health = cast("Callable[..., None]", _intrinsic(_emit_least_health))
