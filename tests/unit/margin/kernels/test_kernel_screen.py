"""The float32 screen: every decision is that of float64, and its bound holds with room."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from crossmargin.errors import InputError
from crossmargin.margin.kernels._layout import CheckedRows, check_rows, grid_table
from crossmargin.margin.kernels.grid import worst_of_grid
from crossmargin.margin.kernels.screen import breaches, screened_book


def random_book(accounts, rows=80, seed=4, spread=0, most=16):
    rng = np.random.default_rng(seed)
    count = rng.integers(0, most, accounts)
    start = np.concatenate([[0], np.cumsum(count)])
    codes = rng.integers(0, rows, start[-1]).astype(np.uint16)
    quantity = rng.normal(size=start[-1])
    if spread:
        quantity *= 10.0 ** rng.integers(-spread, spread, start[-1])
    return check_rows(rows, start, codes, quantity)


def table_of(rows=80, scenarios=32, seed=9, spread=0):
    rng = np.random.default_rng(seed)
    table = rng.normal(0.0, 40.0, (rows, scenarios))
    return table * 10.0 ** rng.integers(-spread, spread, (rows, 1)) if spread else table


def lines_about(worst, scale, seed=6):
    """Lines on the float64 result, a step beside it, within the rounding, and far away."""
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, 7, worst.size)
    return np.select(
        [kinds == 0, kinds == 1, kinds == 2, kinds == 3, kinds == 4],
        [
            worst,
            np.nextafter(worst, -np.inf),
            np.nextafter(worst, np.inf),
            worst + scale * rng.normal(0.0, 1e-7, worst.size),
            np.float64(np.float32(np.clip(worst, -3e38, 3e38))),
        ],
        worst + scale * rng.normal(0.0, 0.5, worst.size),
    )


@pytest.mark.parametrize("spread", [0, 5, 18])
@pytest.mark.parametrize("scenarios", [32, 300])
def test_every_decision_is_that_of_float64(spread, scenarios):
    table = table_of(scenarios=scenarios, spread=spread)
    book = random_book(100_000 if scenarios == 32 else 10_000, spread=spread)
    worst = worst_of_grid(table, book)
    screened = screened_book(table, book)
    scale = screened.bound.astype(np.float64) * 1e6
    for threads in (1, 2):
        lines = lines_about(worst, scale, seed=threads)
        got = breaches(table, screened, lines, threads=threads)
        assert np.array_equal(got.breached, worst < lines)
        assert 0 < got.doubtful < book.accounts
        assert 0.2 < got.breached.mean() < 0.8
    far = worst - scale
    assert breaches(table, screened, far).doubtful == (scale <= screened.bound).sum()


def test_the_bound_holds_against_exact_arithmetic():
    for spread in (0, 4):
        table, book = table_of(spread=spread), random_book(300, spread=spread)
        screened = screened_book(table, book)
        single = worst_of_grid(table.astype(np.float32), book)
        double = worst_of_grid(table, book)
        largest = 0.0
        for a in range(book.accounts):
            mine = range(int(book.start[a]), int(book.start[a + 1]))
            exact = min(
                sum(
                    (Fraction(book.quantity[k]) * Fraction(table[book.codes[k], s]) for k in mine),
                    Fraction(0),
                )
                for s in range(32)
            )
            bound = Fraction(float(screened.bound[a]))
            assert abs(Fraction(float(single[a])) - exact) <= bound
            assert abs(Fraction(float(double[a])) - exact) <= bound
            largest = max(largest, abs(float(single[a]) - float(exact)) / float(bound))
        assert largest > 0.01, "a bound that is never near would screen nothing"


def test_numbers_that_float32_cannot_hold():
    tiny, huge = 2.0**-140, 1e30
    table = np.array([[tiny, -tiny], [huge, -huge], [1.0, -1.0], [0.0, 0.0]])
    quantity = [tiny, 1.0, 1e30, 1.0, 1e39, 1.0, 1.0, tiny, 1e300, 1e9, -1e9 - 1.0]
    codes = [0, 0, 1, 3, 3, 1, 2, 2, 0, 1, 1]
    book = check_rows(4, [0, 1, 2, 3, 4, 5, 7, 8, 9, 11], codes, quantity)
    worst = worst_of_grid(table, book)
    screened = screened_book(table, book)
    for lines in (
        worst,
        np.nextafter(worst, np.inf),
        np.nextafter(worst, -np.inf),
        np.zeros(9),
        np.full(9, -np.inf),
        np.full(9, np.inf),
        np.full(9, np.nan),
    ):
        assert np.array_equal(breaches(table, screened, lines).breached, worst < lines)
    assert np.isinf(screened.bound[[2, 4, 7]]).all()


def test_a_table_that_moves_keeps_its_decisions():
    table, book = table_of(), random_book(20_000)
    screened = screened_book(table, book)
    rng = np.random.default_rng(1)
    moved = table * rng.normal(1.0, 0.2, table.shape)
    born = moved.copy()
    flat = table.copy()
    flat[7] = 0.0
    for old, new in ((table, moved), (table, table * 0.1), (flat, born), (table, table * 1e39)):
        worst = worst_of_grid(new, book)
        lines = lines_about(worst, np.abs(worst) + 1e-3)
        screened = screened_book(old, book)
        assert np.array_equal(breaches(new, screened, lines).breached, worst < lines)
    narrow = grid_table(moved, np.float32)
    worst = worst_of_grid(moved, book)
    assert np.array_equal(
        breaches(moved, screened, worst + 1e-9, narrow=narrow).breached, worst < worst + 1e-9
    )


def test_what_does_not_fit_is_refused():
    table, book = table_of(), random_book(50)
    screened = screened_book(table, book)
    with pytest.raises(InputError, match="49 lines and 80 rows do not fit a book of 50"):
        breaches(table, screened, np.zeros(49))
    with pytest.raises(InputError, match="50 lines and 79 rows"):
        breaches(table[:-1], screened, np.zeros(50))
    assert isinstance(screened.book, CheckedRows)
