"""Linear rows summed first: the same worst, fewer rows, and classes that are held to the table."""

from __future__ import annotations

import numpy as np
import pytest

from crossmargin.errors import InputError
from crossmargin.margin.kernels._layout import check_rows
from crossmargin.margin.kernels.grid import worst_of_grid
from crossmargin.margin.kernels.linear import (
    collapse_book,
    linear_rows,
    worst_of_grid_collapsed,
)


def make_table(scenarios=32, rows=60, seed=2):
    """Two coins with a dozen linear rows each, options, a flat row."""
    rng = np.random.default_rng(seed)
    table = rng.normal(0.0, 50.0, (rows, scenarios))
    moves = rng.normal(0.0, 0.1, (2, scenarios))
    price = rng.uniform(10.0, 9e4, 24)
    table[:12] = price[:12, None] * moves[0]
    table[30:42] = -price[12:, None] * moves[1]
    table[50] = 0.0
    return table


def make_book(accounts=700, rows=60, seed=5):
    rng = np.random.default_rng(seed)
    count = rng.integers(0, 14, accounts)
    start = np.concatenate([[0], np.cumsum(count)])
    codes = rng.integers(0, rows, start[-1]).astype(np.uint16)
    return check_rows(rows, start, codes, rng.normal(size=start[-1]))


def test_classes_are_found_and_nothing_else_is():
    linear = linear_rows(make_table())
    classes = linear.row_class
    assert len(set(classes[:12])) == 1 and len(set(classes[30:42])) == 1
    assert classes[0] != classes[30] and min(classes[0], classes[30]) == 0
    others = np.r_[12:30, 42:60]
    assert (classes[others] == -1).all() and (linear.factor[others] == 0.0).all()
    assert (linear.factor[linear.base] == 1.0).all()


@pytest.mark.parametrize("scenarios", [8, 32, 300])
def test_the_same_worst_in_any_pieces(scenarios, monkeypatch):
    table, book = make_table(scenarios), make_book()
    linear = linear_rows(table)
    collapsed = collapse_book(book, linear)
    assert collapsed.rows.codes.size < book.codes.size
    plain = worst_of_grid(table, book)
    got = worst_of_grid_collapsed(table, linear, collapsed)
    reach = np.abs(book.quantity) * np.abs(table).max(axis=1)[book.codes]
    gross = np.bincount(
        np.repeat(np.arange(700), np.diff(book.start)), weights=reach, minlength=700
    )
    assert (np.abs(got - plain) <= 20 * 2.0**-52 * gross).all()
    assert not np.array_equal(got, plain)
    assert np.array_equal(worst_of_grid_collapsed(table, linear, collapsed, threads=3), got)
    monkeypatch.setattr("crossmargin.margin.kernels.linear.LINEAR_RUN", 7)
    assert np.array_equal(worst_of_grid_collapsed(table, linear, collapsed), got)


def test_a_moved_market_keeps_classes_and_book():
    table, book = make_table(), make_book()
    collapsed = collapse_book(book, linear_rows(table))
    moved = table.copy()
    moved[:12] *= 1.07
    moved[3] *= 0.9
    linear = linear_rows(moved, collapsed.row_class)
    got = worst_of_grid_collapsed(moved, linear, collapsed)
    assert got == pytest.approx(worst_of_grid(moved, book), rel=1e-11, abs=1e-8)


def test_a_book_without_linear_rows_or_without_rows():
    table = make_table()[12:30]
    linear = linear_rows(table)
    assert linear.base.size == 0
    book = make_book(rows=18)
    got = worst_of_grid_collapsed(table, linear, collapse_book(book, linear))
    assert np.array_equal(got, worst_of_grid(table, book))
    empty = check_rows(18, [0, 0], [], [])
    assert worst_of_grid_collapsed(table, linear, collapse_book(empty, linear)).tolist() == [0.0]


def test_what_is_no_multiple_is_refused():
    table, book = make_table(), make_book()
    linear = linear_rows(table)
    collapsed = collapse_book(book, linear)
    bent = table.copy()
    bent[4, 3] *= 1.0 + 1e-12
    with pytest.raises(InputError, match="row 4 of the table is no multiple of row 0"):
        linear_rows(bent, linear.row_class)
    assert linear_rows(bent).row_class[4] == -1
    with pytest.raises(InputError, match="other classes"):
        worst_of_grid_collapsed(bent, linear_rows(bent), collapsed)
