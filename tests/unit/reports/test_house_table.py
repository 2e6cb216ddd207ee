"""Tables in narrow terminals: headings fold, words fold, figures never."""

from __future__ import annotations

import io

import pytest

from crossmargin.reports._terminal import HouseTable, UncutConsole, folded

FIGURES = ["1,234,567,890.12", "-98,765,432.10", "12.345678 %"]


def drawn(width: int, *, title: str | None = None) -> list[str]:
    table = HouseTable(title=title)
    table.add_column("name", no_wrap=True)
    for head in ("equity at market, US dollars", "excess over margin, US dollars", "share at 1 %"):
        table.add_column(head, justify="right")
    table.add_column("then")
    table.add_row("BTC-27MAR26-64000-P", *FIGURES, "what happens next, in so many words, at last")
    out = io.StringIO()
    UncutConsole(width=width, file=out, highlight=False).print(table)
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_a_table_that_fits_is_left_alone() -> None:
    lines = drawn(200)
    assert any("equity at market, US dollars" in line for line in lines)


@pytest.mark.parametrize("width", [130, 110, 95, 80, 40])
def test_figures_stay_whole_and_lines_keep_to_the_width_where_they_can(width: int) -> None:
    lines = drawn(width)
    row = next(line for line in lines if line.startswith(" BTC"))
    assert all(figure in row for figure in FIGURES)
    # Name, figures, room for words and gaps need 95 columns.
    assert max(map(len, lines)) <= max(width, 95)


def test_headings_are_folded_before_words() -> None:
    lines = drawn(130)
    assert any("what happens next, in so many words" in line for line in lines)
    assert not any("equity at market, US dollars" in line for line in lines)


def test_a_title_is_not_folded_to_a_narrow_table() -> None:
    table = HouseTable(title="a title that is much longer than what stands below it")
    table.add_column("x")
    out = io.StringIO()
    UncutConsole(width=80, file=out).print(table)
    assert out.getvalue().startswith("a title that is much longer than what stands below it\n")


def test_a_unit_stays_with_its_figure() -> None:
    assert folded("gamma per 1 %", 8) == "gamma\nper 1 %"
