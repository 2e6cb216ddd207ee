"""Expected shortfall: against NumPy and the house's estimator, with every kind of first guess."""

from __future__ import annotations

import numpy as np
import pytest

from crossmargin.errors import InputError
from crossmargin.margin.kernels._layout import check_rows, grid_table
from crossmargin.margin.kernels.tail import Tail, _select, tail_means, tail_means_reference
from crossmargin.stats import expected_shortfall


def make_book(accounts=300, rows=40, scenarios=1000, seed=3, most=14):
    rng = np.random.default_rng(seed)
    count = rng.integers(0, most, accounts)
    start = np.concatenate([[0], np.cumsum(count)])
    codes = rng.integers(0, rows, start[-1]).astype(np.uint16)
    quantity = rng.normal(size=start[-1])
    table = rng.standard_t(4, size=(rows, scenarios)) * 30.0
    return table, check_rows(rows, start, codes, quantity)


@pytest.mark.parametrize(
    ("scenarios", "level"),
    [(1000, 0.975), (256, 0.975), (250, 0.99), (8, 0.5), (7, 0.99), (33, 0.02), (1003, 0.9712)],
)
def test_equal_to_numpy_and_to_the_estimator_of_the_house(scenarios, level):
    table, book = make_book(scenarios=scenarios)
    got = tail_means(table, book, level=level)
    want = tail_means_reference(table, book, level=level, chunk=77)
    scale = np.abs(want.mean) + np.abs(want.begin) + 1e-3
    assert (np.abs(got.mean - want.mean) <= 1e-12 * scale).all()
    assert (np.abs(got.begin - want.begin) <= 1e-12 * scale).all()
    for a in (0, 17, 299):
        mine = slice(book.start[a], book.start[a + 1])
        pnl = book.quantity[mine] @ table[book.codes[mine]]
        assert -got.mean[a] == pytest.approx(expected_shortfall(-pnl, level), rel=1e-12, abs=1e-9)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("scenarios", [1000, 61])
def test_a_guess_changes_no_bit(dtype, scenarios):
    table, book = make_book(scenarios=scenarios)
    table = table.astype(dtype)
    fresh = tail_means(table, book)
    rng = np.random.default_rng(8)
    moved = tail_means((table * rng.normal(1.0, 0.03, table.shape)).astype(dtype), book)
    guesses = {
        "its own": fresh,
        "stale by 3 %": moved,
        "far too low": Tail(mean=fresh.mean - 1e6, begin=fresh.begin - 1e6),
        "far too high": Tail(mean=fresh.mean - 50.0, begin=fresh.begin + 50.0),
        "above everything": Tail(mean=fresh.mean, begin=np.full(300, 1e6)),
        "all alike": Tail(mean=np.full(300, -9.0), begin=np.full(300, -5.0)),
        "mean above begin": Tail(mean=fresh.begin + 1.0, begin=fresh.begin),
        "half unknown": Tail(
            mean=np.where(np.arange(300) % 2, np.nan, fresh.mean), begin=moved.begin
        ),
    }
    for name, guess in guesses.items():
        for slack in (0.0, 0.25, 3.0):
            again = tail_means(table, book, last=guess, slack=slack)
            assert np.array_equal(again.mean, fresh.mean), (name, slack)
            assert np.array_equal(again.begin, fresh.begin), (name, slack)
    for threads in (2, 3):
        for layout in ("rows", "planes"):
            laid = grid_table(table, layout=layout)
            again = tail_means(laid, book, last=moved, threads=threads)
            assert np.array_equal(again.mean, fresh.mean)


def test_runs_of_accounts_change_no_bit(monkeypatch):
    table, book = make_book(accounts=1300)
    whole = tail_means(table, book)
    monkeypatch.setattr("crossmargin.margin.kernels.tail.STREAM", 1)
    for threads in (1, 2):
        again = tail_means(table, book, last=whole, threads=threads)
        assert np.array_equal(again.mean, whole.mean)


def test_ties_and_empty_accounts():
    table = np.array([[-1.0, -1.0, -1.0, -1.0, 0.0, 2.0, -1.0, 5.0], [0.0] * 8])
    book = check_rows(2, [0, 1, 2, 2], [0, 1], [1.0, 1.0])
    for last in (None, tail_means(table, book, level=0.75), tail_means(table, book, level=0.1)):
        got = tail_means(table, book, level=0.75, last=last)
        assert got.mean.tolist() == [-1.0, 0.0, 0.0] and got.begin.tolist() == [-1.0, 0.0, 0.0]


def test_less_than_one_scenario_in_the_tail_is_the_worst_one():
    table, book = make_book(scenarios=40)
    got = tail_means(table, book, level=0.99)
    assert np.array_equal(got.mean, got.begin)


def test_the_selection_itself():
    rng = np.random.default_rng(2)
    for n in (1, 2, 3, 10, 101):
        for values in (rng.normal(size=n), rng.integers(0, 3, n) * 1.0, np.zeros(n)):
            for k in range(1, n + 1):
                assert _select(values.copy(), n, k) == np.sort(values)[k - 1]


def test_wrong_levels_and_results_of_other_books_are_refused():
    table, book = make_book(scenarios=20)
    for level in (1.0, 0.0, -0.1, np.nan):
        with pytest.raises(InputError, match="leaves no tail"):
            tail_means(table, book, level=level)
    with pytest.raises(InputError, match="2 accounts and the book has 300"):
        tail_means(table, book, last=Tail(mean=np.zeros(2), begin=np.zeros(2)))
