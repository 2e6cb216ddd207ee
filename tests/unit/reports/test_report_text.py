from __future__ import annotations

import math

import pytest

from crossmargin.reports import _text as t

NB = "\u00a0"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (1e-9, "0"),
        (-1e-9, "0"),
        (0.05, "0.05"),
        (-0.001, "0.00"),
        (855.36, "855.36"),
        (999.994, "999.99"),
        (999.996, "1,000"),
        (1_234.5, "1,234"),
        (-1_234_567.0, "−1,234,567"),
        (math.nan, "–"),
        (math.inf, "–"),
    ],
)
def test_amount(value: float, written: str) -> None:
    assert t.amount(value) == written


def test_units_stay_with_their_number() -> None:
    assert t.usd(1_000.0) == f"1,000{NB}USD"
    assert t.usd(12.0, sign=True) == f"+12.00{NB}USD"
    assert t.percent(0.5679) == f"56.8{NB}%"
    assert t.percent(-0.5, 2, sign=True) == f"−50.00{NB}%"
    assert t.percent(15.47, 2) == f"1,547{NB}%"
    assert t.percent(None) == "–"
    assert t.move(-0.135) == f"−13.5{NB}%"
    assert t.move(5.0) == f"+500{NB}%"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (78_494.54, "78,494.54"),
        (100.0, "100.00"),
        (96.6586, "96.6586"),
        (1.0, "1.0000"),
        (0.0199969, "0.0199969"),
        (0.05, "0.0500"),
        (0.00822656, "0.00822656"),
        (0.0, "0"),
    ],
)
def test_price(value: float, written: str) -> None:
    assert t.price(value) == written


@pytest.mark.parametrize(
    ("value", "written"),
    [(250_000.0, "250,000"), (-0.5, "−0.5"), (1e-8, "0.00000001"), (100.0, "100"), (0.0, "0")],
)
def test_quantity(value: float, written: str) -> None:
    assert t.quantity(value) == written


def test_health_never_rounds_up_over_the_line() -> None:
    assert t.health(0.99999) == "0.99"
    assert t.health(1.0) == "1.00"
    assert t.health(-0.001) == "−0.01"
    assert t.health(None) == "–"
    assert t.health(2_500.7) == "2,500"
    assert t.health(1e9) == f">{NB}1,000,000"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.0, "0"),
        (0.25, "0.25"),
        (950.0, "950"),
        (12_500.0, "12.5k"),
        (-1_250_000.0, "−1.25m"),
        (3e9, "3bn"),
    ],
)
def test_short(value: float, written: str) -> None:
    assert t.short(value) == written


def test_significant() -> None:
    assert t.significant(-0.0992103) == "−0.09921"
    assert t.significant(123_456.0) == "123,456"
    assert t.significant(0.0) == "0"


def test_escape_once_and_only_once() -> None:
    assert t.esc("<b a='\"'>&") == "&lt;b a=&#x27;&quot;&#x27;&gt;&amp;"
    assert t.esc(t.esc("<")) == "&lt;"
    assert t.join(["<", t.Safe("<br>")]) == "&lt;<br>"


def test_time_and_labels() -> None:
    assert t.moment("2026-02-03T04:29:35.033992Z") == f"2026-02-03{NB}04:29:35{NB}UTC"
    assert t.scenario("-16% price, vol up") == f"−16{NB}% price, vol up"
    assert t.count(1, "gap") == f"1{NB}gap"
    assert t.count(3, "gap") == f"3{NB}gaps"
    assert t.column_decimals([99_999.0, -3.0]) == 2
    assert t.column_decimals([100_000.0]) == 0


def test_the_terminal_and_the_page_write_the_same_health() -> None:
    from crossmargin.reports import terminal

    for value in (-0.001, 0.0, 0.3086, 0.99999, 1.0, 1.005, 2.2893, 33.15):
        assert terminal.health(value) == t.health(value).replace("−", "-"), value
