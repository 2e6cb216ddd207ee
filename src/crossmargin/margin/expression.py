"""Combining components: small arithmetic expressions over their names, with derivatives.

A rule-set says how its components add up (``max(scan, min_delta) + funding``). Only names,
numbers, ``+ − * /``, ``max``, ``min`` and ``sqrt`` are understood; nothing is executed.
"""

from __future__ import annotations

import ast
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossmargin.errors import RulesetError

Floats = NDArray[np.float64]
_LONGEST = 1_000


@dataclass(frozen=True, slots=True)
class Dual:
    """A value with its derivative by each component that entered it, elementwise."""

    value: Floats
    grad: dict[str, Floats]


class Expression:
    """A compiled expression.

    Parameters
    ----------
    text : str
        For example ``"max(scan, min_delta) + funding_provision"``.

    Raises
    ------
    RulesetError
        ``RUL-004`` when it is not an arithmetic expression over names.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            if len(text) > _LONGEST:
                raise self._bad(f"is longer than {_LONGEST} characters")
            with warnings.catch_warnings():
                # "2x" is refused below in words of its own; Python's warning would come besides.
                warnings.simplefilter("error", SyntaxWarning)
                self._body = ast.parse(text.strip(), mode="eval").body
            self.names = tuple(sorted(self._check(self._body)))
        except (SyntaxError, RecursionError, MemoryError, ValueError):
            raise self._bad("is not an expression") from None

    def _bad(self, why: str) -> RulesetError:
        return RulesetError(
            f"{self.text!r} {why}",
            code="RUL-004",
            field="combine",
            hint="use names of components, numbers, + - * / and max, min, sqrt",
        )

    def _check(self, node: ast.expr) -> set[str]:
        match node:
            case ast.Name(id=name):
                return {name}
            case ast.Constant(value=int() | float() as number) if not isinstance(
                number, bool
            ) and math.isfinite(number):
                return set()
            case ast.BinOp(left=left, op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div(), right=r):
                return self._check(left) | self._check(r)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return self._check(operand)
            case ast.Call(func=ast.Name(id="max" | "min"), args=args, keywords=[]) if args:
                return set().union(*(self._check(arg) for arg in args))
            case ast.Call(func=ast.Name(id="sqrt"), args=[arg], keywords=[]):
                return self._check(arg)
        raise self._bad("uses something other than arithmetic over component names")

    def postfix(self) -> list[tuple[str, str | float]]:
        """Return the expression as steps of a stack machine.

        Returns
        -------
        list of (str, str or float)
            ``("name", component)``, ``("number", value)`` put a value on the stack; ``"+"``,
            ``"-"``, ``"*"``, ``"/"``, ``"max"``, ``"min"`` take two, ``"neg"`` and ``"sqrt"`` one.
        """
        return self._postfix(self._body)

    def _postfix(self, node: ast.expr) -> list[tuple[str, str | float]]:
        match node:
            case ast.Name(id=name):
                return [("name", name)]
            case ast.Constant(value=int() | float() as number):
                return [("number", float(number))]
            case ast.UnaryOp(operand=operand):
                return [*self._postfix(operand), ("neg", "")]
            case ast.BinOp(left=left, op=op, right=right):
                sign = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}[type(op)]
                return [*self._postfix(left), *self._postfix(right), (sign, "")]
            case ast.Call(func=ast.Name(id="sqrt"), args=[arg]):
                return [*self._postfix(arg), ("sqrt", "")]
            case ast.Call(func=ast.Name(id=name), args=args):
                steps = self._postfix(args[0])
                for arg in args[1:]:
                    steps += [*self._postfix(arg), (name, "")]
                return steps
        raise self._bad("cannot be compiled")

    def evaluate(self, values: Mapping[str, Floats]) -> Floats:
        """Return the value, elementwise over the arrays of the components."""
        return self.dual({name: Dual(value, {}) for name, value in values.items()}).value

    def derivatives(self, values: Mapping[str, Floats]) -> Dual:
        """Return the value and its derivative by each component.

        At a tie of ``max`` or ``min`` the first argument is taken: a choice, not an average, so
        that shares are reproducible.
        """
        return self.dual(
            {name: Dual(value, {name: np.ones_like(value)}) for name, value in values.items()}
        )

    def dual(self, values: Mapping[str, Dual]) -> Dual:
        """Evaluate over duals, so that a named step may feed the next expression."""
        return self._eval(self._body, values)

    def _eval(self, node: ast.expr, values: Mapping[str, Dual]) -> Dual:
        match node:
            case ast.Name(id=name):
                if name not in values:
                    raise self._bad(f"names {name!r}, which is no component")
                return values[name]
            case ast.Constant(value=int() | float() as number):
                return Dual(np.asarray(float(number)), {})
            case ast.UnaryOp(operand=operand):
                return _scale(self._eval(operand, values), np.asarray(-1.0))
            case ast.BinOp(left=left, op=op, right=right):
                return _binary(op, self._eval(left, values), self._eval(right, values))
            case ast.Call(func=ast.Name(id=name), args=args):
                duals = [self._eval(arg, values) for arg in args]
                if name == "sqrt":
                    root = np.sqrt(duals[0].value)
                    with np.errstate(divide="ignore"):
                        slope = np.where(root > 0, 0.5 / root, 0.0)
                    return Dual(root, {k: g * slope for k, g in duals[0].grad.items()})
                best = duals[0]
                for other in duals[1:]:
                    best = _choose(best, other, largest=name == "max")
                return best
        raise self._bad("cannot be evaluated")


def _scale(dual: Dual, factor: Floats) -> Dual:
    return Dual(dual.value * factor, {k: g * factor for k, g in dual.grad.items()})


def _merge(a: Dual, b: Dual, fa: Floats, fb: Floats, value: Floats) -> Dual:
    grad = {k: g * fa for k, g in a.grad.items()}
    for k, g in b.grad.items():
        grad[k] = grad[k] + g * fb if k in grad else g * fb
    return Dual(value, grad)


def _binary(op: ast.operator, a: Dual, b: Dual) -> Dual:
    one = np.asarray(1.0)
    if isinstance(op, ast.Add):
        return _merge(a, b, one, one, a.value + b.value)
    if isinstance(op, ast.Sub):
        return _merge(a, b, one, -one, a.value - b.value)
    if isinstance(op, ast.Mult):
        return _merge(a, b, b.value, a.value, a.value * b.value)
    return _merge(a, b, 1.0 / b.value, -a.value / b.value**2, a.value / b.value)


def _choose(a: Dual, b: Dual, *, largest: bool) -> Dual:
    first = a.value >= b.value if largest else a.value <= b.value
    grad = {k: np.where(first, g, 0.0) for k, g in a.grad.items()}
    for k, g in b.grad.items():
        mine = np.where(first, 0.0, g)
        grad[k] = grad[k] + mine if k in grad else mine
    return Dual(np.where(first, a.value, b.value), grad)
