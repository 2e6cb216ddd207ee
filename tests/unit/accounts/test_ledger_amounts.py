"""Amounts: decimal text to quanta and back, and directions of rounding."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossmargin.accounts import (
    Scales,
    ceil_div,
    floor_div,
    from_quanta,
    nearest_div,
    scaled,
    text_of,
    to_quanta,
    toward_zero_div,
)
from crossmargin.errors import LedgerError


@given(st.integers(-(10**30), 10**30), st.integers(0, 18))
def test_text_of_any_amount_reads_back(amount: int, decimals: int) -> None:
    text = text_of(amount, decimals)
    if abs(amount) < 10 ** (24 + decimals):
        assert scaled(text, decimals, name="x") == amount
    assert Fraction(text) == Fraction(amount, 10**decimals)


@given(
    st.decimals(-(10**9), 10**9, places=9),
    st.integers(0, 12),
    st.sampled_from(["down", "up", "nearest"]),
)
def test_rounding_is_that_of_decimal(value: Decimal, decimals: int, rounding: str) -> None:
    mode = {"down": "ROUND_FLOOR", "up": "ROUND_CEILING", "nearest": "ROUND_HALF_EVEN"}[rounding]
    want = value.quantize(Decimal(1).scaleb(-decimals), rounding=mode)
    got = scaled(format(value, "f"), decimals, name="x", rounding=rounding)  # type: ignore[arg-type]
    assert got == int(want.scaleb(decimals))


@given(st.integers(-(10**20), 10**20), st.integers(1, 10**9))
def test_divisions(a: int, b: int) -> None:
    exact = Fraction(a, b)
    assert floor_div(a, b) <= exact < floor_div(a, b) + 1
    assert ceil_div(a, b) - 1 < exact <= ceil_div(a, b)
    assert nearest_div(a, b) == round(exact)
    assert toward_zero_div(a, b) == int(exact)


@pytest.mark.parametrize(
    "text",
    ["", " 1", "1 ", "+1", "1e3", "1_000", "1,5", ".5", "5.", "NaN", "inf", "0x10", "--1", "١٢",
     "1\n", "9" * 25, "0." + "1" * 80],
)  # fmt: skip
def test_what_is_not_a_plain_decimal_is_refused(text: str) -> None:
    with pytest.raises(LedgerError, match="LED-001"):
        to_quanta(text, "USDC")


def test_the_door_in_never_rounds_unasked() -> None:
    assert to_quanta("1.500000000", "USDC") == 1_500_000
    with pytest.raises(LedgerError, match="decimals"):
        to_quanta("1.5000001", "USDC")
    assert to_quanta("1.5000001", "USDC", rounding="up") == 1_500_001
    assert to_quanta(Decimal("1E+3"), "BTC") == 10**11
    assert from_quanta(-5, "X", Scales({"X": 0})) == "-5"
    with pytest.raises(LedgerError, match="19 decimals"):
        Scales({"X": 19})
    assert Scales().of("USDT") == 6 and Scales().of("DOGE") == 8


def test_signs() -> None:
    assert scaled("0", 2, name="x", sign="not negative") == 0
    for sign, text in (("positive", "0"), ("not negative", "-0.01"), ("positive", "-1")):
        with pytest.raises(LedgerError, match="is not"):
            scaled(text, 2, name="x", sign=sign)  # type: ignore[arg-type]
