"""Combining expressions: values, derivatives against finite differences, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossmargin.errors import RulesetError
from crossmargin.margin.expression import Dual, Expression


def values(**numbers: Any) -> dict[str, np.ndarray]:
    return {name: np.atleast_1d(np.asarray(v, dtype=float)) for name, v in numbers.items()}


class TestValues:
    @pytest.mark.parametrize(
        "text, wanted",
        [
            ("a + b", 5.0),
            ("a - b", -1.0),
            ("a * b + 1", 7.0),
            ("b / a", 1.5),
            ("-a", -2.0),
            ("-(a - b)", 1.0),
            ("max(a, b)", 3.0),
            ("min(a, b, 1.5)", 1.5),
            ("max(a)", 2.0),
            ("sqrt(a * a + b * b)", 13**0.5),
            ("0.8 * (a + b)", 4.0),
            ("max(max(a, b) + a + b, 7)", 8.0),
            ("2", 2.0),
            ("1e3 * a", 2_000.0),
        ],
    )
    def test_evaluate(self, text: str, wanted: float) -> None:
        got = Expression(text).evaluate(values(a=2, b=3))
        np.testing.assert_allclose(got, wanted, rtol=1e-15)

    def test_elementwise(self) -> None:
        got = Expression("max(a, b) + 1").evaluate(values(a=[1, 5, 3], b=[4, 2, 3]))
        np.testing.assert_array_equal(got, [5, 6, 4])

    def test_names_are_sorted_and_once(self) -> None:
        assert Expression("b + max(a, b) * c").names == ("a", "b", "c")
        assert Expression("1 + 2").names == ()

    def test_missing_value(self) -> None:
        with pytest.raises(RulesetError, match="names 'b', which is no component"):
            Expression("a + b").evaluate(values(a=1))


def numerical(text: str, at: dict[str, np.ndarray], name: str) -> np.ndarray:
    made, step = Expression(text), 1e-6
    up, down = ({**at, name: at[name] + s} for s in (step, -step))
    return (made.evaluate(up) - made.evaluate(down)) / (2 * step)


class TestDerivatives:
    @pytest.mark.parametrize(
        "text",
        [
            "a + b - c",
            "a * b * c",
            "a / (b + c)",
            "(a - c) / b / a",
            "max(a, b, c) + min(a, c)",
            "max(a, b) * min(b, c) - -a",
            "sqrt(a * a + b * b - 1.2 * a * b + c)",
            "0.8 * (max(a + b, 3 * c) + sqrt(c))",
            "a * a * a",
        ],
    )
    @settings(max_examples=25, deadline=None)
    @given(data=st.data())
    def test_against_finite_differences(self, text: str, data: st.DataObject) -> None:
        numbers = st.floats(0.5, 4.0)
        at = values(**{n: data.draw(st.lists(numbers, min_size=3, max_size=3)) for n in "abc"})
        got = Expression(text).derivatives(at)
        np.testing.assert_array_equal(got.value, Expression(text).evaluate(at))
        a, b, c = at["a"], at["b"], at["c"]
        pairs = (a - b, b - c, a - c, a + b - 3 * c)
        smooth = np.min([np.abs(d) for d in pairs], axis=0) > 1e-4
        for name in "abc":
            grad = np.broadcast_to(got.grad.get(name, 0.0), a.shape)
            wanted = numerical(text, at, name)
            np.testing.assert_allclose(grad[smooth], wanted[smooth], rtol=2e-6, atol=2e-6)

    def test_ties_take_the_first(self) -> None:
        at = values(a=2, b=2)
        for text in ("max(a, b)", "min(a, b)"):
            got = Expression(text).derivatives(at)
            assert (got.grad["a"][0], got.grad["b"][0]) == (1.0, 0.0)

    def test_root_of_zero_has_slope_zero(self) -> None:
        got = Expression("sqrt(a)").derivatives(values(a=[0.0, 4.0]))
        np.testing.assert_array_equal(got.grad["a"], [0.0, 0.25])

    def test_a_step_feeds_the_next(self) -> None:
        at = {n: Dual(v, {n: np.ones(1)}) for n, v in values(a=3, b=4).items()}
        at["net"] = Expression("max(a, b)").dual(at)
        got = Expression("2 * net + a").dual(at)
        assert got.value[0] == 11.0
        assert (got.grad["a"][0], got.grad["b"][0]) == (1.0, 2.0)

    def test_homogeneous_of_degree_one(self) -> None:
        # Euler: Σ x·∂f/∂x = f for sums, max, min and roots of squares.
        at = values(a=[1.0, 5.0], b=[2.0, 0.5], c=[3.0, 3.0])
        got = Expression("max(a + b, c) + sqrt(a * a + b * b)").derivatives(at)
        total = sum(at[n] * g for n, g in got.grad.items())
        np.testing.assert_allclose(total, got.value, rtol=1e-14)


class TestRefused:
    @pytest.mark.parametrize(
        "text",
        [
            # attribute access, calls of anything else, subscripts
            "a.real",
            "a.__class__",
            "().__class__.__bases__[0].__subclasses__()",
            "__import__('os').system('true')",
            "open('x')",
            "abs(a)",
            "a()",
            "max.__call__(a, b)",
            "(max)(a)(b)",
            "a[0]",
            "max(*a)",
            "max(a, key=b)",
            "max(a, b, default=0)",
            "max()",
            "sqrt(a, b)",
            "sqrt()",
            # operators and forms that are not arithmetic over names
            "a ** b",
            "a % b",
            "a // b",
            "a @ b",
            "a << 2",
            "a & b",
            "~a",
            "not a",
            "a and b",
            "a < b",
            "a if b else c",
            "lambda: a",
            "[a for a in b]",
            "{a: b}",
            "(a, b)",
            "[a]",
            "(a := 1)",
            "f'{a}'",
            "'a'",
            "b'a'",
            "None",
            "...",
            "1j",
            "await a",
            "yield a",
            "a; b",
            "a = b",
            "import os",
            "",
            "   ",
            "a +",
            "a\nb",
            "a b",
            "(",
            "a\0b",
            "1_",
        ],
    )
    def test_refused(self, text: str) -> None:
        with pytest.raises(RulesetError) as caught:
            Expression(text)
        assert caught.value.code == "RUL-004"

    @pytest.mark.parametrize("text", ["True", "a + False"])
    def test_booleans(self, text: str) -> None:
        with pytest.raises(RulesetError):
            Expression(text)

    @pytest.mark.parametrize("text", ["+".join(["a"] * 20_000), "-" * 3_000 + "a"])
    def test_very_deep(self, text: str) -> None:
        with pytest.raises(RulesetError):
            Expression(text)

    def test_infinite_literal(self) -> None:
        with pytest.raises(RulesetError):
            Expression("a * 1e999")

    @settings(max_examples=200, deadline=None)
    @given(st.text(alphabet="ab01.+-*/() ,maxinsqrt_[]{}='\"\n", max_size=20))
    def test_any_text_is_arithmetic_or_refused(self, text: str) -> None:
        try:
            made = Expression(text)
        except RulesetError as error:
            assert error.code == "RUL-004"
        else:
            assert set(made.names).isdisjoint({"__import__", "eval"})
