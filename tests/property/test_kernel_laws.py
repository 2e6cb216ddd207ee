"""Laws of the kernels over books, on drawn books and tables."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from crossmargin.margin.kernels._layout import check_rows
from crossmargin.margin.kernels.grid import worst_of_grid, worst_of_grid_reference
from crossmargin.margin.kernels.linear import (
    collapse_book,
    linear_rows,
    worst_of_grid_collapsed,
)
from crossmargin.margin.kernels.screen import breaches, screened_book
from crossmargin.margin.kernels.tail import Tail, tail_means, tail_means_reference

# Few widths: each is compiled once and kept on disk.
WIDTHS = st.sampled_from([1, 9, 32, 150])
AMOUNTS = st.one_of(
    st.floats(-1e6, 1e6), st.sampled_from([0.0, -0.0, 1e-300, -1e-40, 1e-45, 3e7, -1.0, 0.1])
)


@st.composite
def problems(draw):
    """A table with some proportional and some equal rows, and a book of up to 12 accounts."""
    rows = draw(st.integers(1, 6))
    scenarios = draw(WIDTHS)
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    table = rng.normal(0.0, 1.0, (rows, scenarios)) * 10.0 ** rng.integers(-3, 5, (rows, 1))
    if draw(st.booleans()):
        table = np.round(table)
    for k in range(1, rows):
        if draw(st.booleans()):
            table[k] = table[0] * draw(st.sampled_from([1.0, -2.0, 0.3, 0.0]))
    counts = draw(st.lists(st.integers(0, 7), min_size=0, max_size=12))
    start = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    size = int(start[-1])
    codes = draw(st.lists(st.integers(0, rows - 1), min_size=size, max_size=size))
    quantity = draw(st.lists(AMOUNTS, min_size=size, max_size=size))
    return table, check_rows(rows, start, codes, quantity)


def gross(table, book):
    reach = np.abs(book.quantity) * np.abs(table).max(axis=1)[book.codes]
    owner = np.repeat(np.arange(book.accounts), np.diff(book.start))
    return np.bincount(owner, weights=reach, minlength=book.accounts)


@settings(max_examples=150, deadline=None)
@given(problems(), st.integers(1, 4))
def test_fused_is_the_reference_in_any_pieces(problem, threads):
    table, book = problem
    fast = worst_of_grid(table, book, threads=threads)
    slow = worst_of_grid_reference(table, book.start, book.codes, book.quantity, chunk=3)
    assert (np.abs(fast - slow) <= 1e-14 * gross(table, book) + 1e-300).all()
    for a in range(book.accounts):
        alone = worst_of_grid(table, book.start[a : a + 2], book.codes, book.quantity)
        assert alone[0] == fast[a]


@settings(max_examples=150, deadline=None)
@given(problems(), st.sampled_from([0.5, 0.9, 0.975, 0.999]), st.data())
def test_no_guess_changes_a_tail(problem, level, data):
    table, book = problem
    plain = tail_means(table, book, level=level)
    slow = tail_means_reference(table, book, level=level, chunk=5)
    scale = gross(table, book) + 1e-300
    assert (np.abs(plain.mean - slow.mean) <= 1e-13 * scale).all()
    assert (plain.mean <= plain.begin + 1e-13 * scale).all()
    shift = data.draw(st.floats(-2.0, 2.0)) * scale
    guess = Tail(mean=plain.mean + shift, begin=plain.begin + data.draw(st.floats(-2, 2)) * shift)
    for last in (guess, plain):
        again = tail_means(table, book, level=level, last=last)
        assert np.array_equal(again.mean, plain.mean)
        assert np.array_equal(again.begin, plain.begin)


@settings(max_examples=150, deadline=None)
@given(problems(), st.sampled_from([-1.0, 0.0, 1.0, 0.5, -3.0, 100.0]))
def test_screened_decisions_are_exact(problem, distance):
    table, book = problem
    worst = worst_of_grid(table, book)
    screened = screened_book(table, book)
    lines = worst + distance * screened.bound.astype(np.float64)
    for line in (lines, np.nextafter(lines, np.inf), np.nextafter(lines, -np.inf)):
        assert np.array_equal(breaches(table, screened, line).breached, worst < line)


@settings(max_examples=100, deadline=None)
@given(problems())
def test_linear_rows_summed_first_give_the_same_worst(problem):
    table, book = problem
    linear = linear_rows(table)
    got = worst_of_grid_collapsed(table, linear, collapse_book(book, linear))
    assert (np.abs(got - worst_of_grid(table, book)) <= 1e-14 * gross(table, book) + 1e-300).all()
