"""Worst of a grid: the compiled pass against SciPy, a plain loop and itself in pieces."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from crossmargin.errors import InputError
from crossmargin.margin.kernels._layout import check_rows, grid_table
from crossmargin.margin.kernels.grid import (
    worst_of_grid,
    worst_of_grid_reference,
    worst_of_groups,
)


def make_book(accounts=400, rows=60, scenarios=33, seed=5, most=14):
    rng = np.random.default_rng(seed)
    count = rng.integers(0, most, accounts)
    start = np.concatenate([[0], np.cumsum(count)])
    codes = rng.integers(0, rows, start[-1]).astype(np.uint16)
    quantity = rng.normal(size=start[-1]) * 10.0 ** rng.integers(-3, 4, start[-1])
    return rng.normal(0.0, 50.0, (rows, scenarios)), start, codes, quantity


def gross(table, start, codes, quantity):
    """Sum of |quantity| × largest |P&L|: the scale of an account's rounding."""
    size = np.abs(quantity) * np.abs(table).max(axis=1)[codes]
    return np.array([size[a:b].sum() for a, b in pairwise(start)])


@pytest.mark.parametrize("scenarios", [1, 7, 8, 9, 31, 32, 33, 128, 129, 256, 1000])
def test_equal_to_the_sparse_product(scenarios):
    table, start, codes, quantity = make_book(scenarios=scenarios)
    fast = worst_of_grid(table, start, codes, quantity)
    slow = worst_of_grid_reference(table, start, codes, quantity, chunk=37)
    scale = gross(table, start, codes, quantity)
    assert (np.abs(fast - slow) <= 1e-14 * scale).all()
    single = worst_of_grid(table.astype(np.float32), start, codes, quantity)
    assert (np.abs(single - slow) <= 3e-6 * scale).all()
    assert not np.array_equal(single, fast)


def test_equal_to_a_plain_loop():
    table, start, codes, quantity = make_book(accounts=40, scenarios=11)
    got = worst_of_grid(table, start, codes, quantity)
    for a in range(40):
        pnl = [
            sum(quantity[k] * table[codes[k], s] for k in range(start[a], start[a + 1]))
            for s in range(11)
        ]
        assert got[a] == pytest.approx(min(pnl), rel=1e-12, abs=1e-9)


@pytest.mark.parametrize("scenarios", [32, 300])
def test_the_same_bits_for_any_threads_runs_layouts_and_codes(scenarios, monkeypatch):
    table, start, codes, quantity = make_book(accounts=3000, scenarios=scenarios)
    whole = worst_of_grid(table, start, codes, quantity)
    book = check_rows(60, start, codes, quantity)
    for threads in (2, 3, 5):
        assert np.array_equal(worst_of_grid(table, book, threads=threads), whole)
    pieces = [
        worst_of_grid(table, start[a : a + 301], codes, quantity) for a in range(0, 3000, 300)
    ]
    assert np.array_equal(np.concatenate(pieces), whole)
    wide = worst_of_grid(table, start, codes.astype(np.uint32), quantity)
    assert np.array_equal(wide, whole)
    monkeypatch.setattr("crossmargin.margin.kernels._layout.WIDE_BLOCK", 3)
    assert np.array_equal(worst_of_grid(table, book), whole)
    monkeypatch.setattr("crossmargin.margin.kernels._layout.ONE_BLOCK", 1)
    assert np.array_equal(worst_of_grid(table, book), whole)


def test_groups_are_added_after_their_own_worst():
    table, start, codes, quantity = make_book()
    groups = np.arange(0, 401, 4)
    book = check_rows(60, start, codes, quantity)
    alone = worst_of_grid(table, book)
    both = worst_of_groups(table, book, groups)
    for a in range(100):
        assert both[a] == alone[4 * a] + alone[4 * a + 1] + alone[4 * a + 2] + alone[4 * a + 3]
    joint = worst_of_grid(table, start[::4], codes, quantity)
    assert (both <= joint + 1e-9).all() and (both < joint - 1.0).any()


def test_an_account_without_positions_loses_nothing():
    table, *_ = make_book(scenarios=5)
    assert worst_of_grid(table, [0, 0, 0], [], [])[1] == 0.0


@pytest.mark.parametrize("layout", ["planes", "rows"])
@pytest.mark.parametrize("scenarios", [5, 32, 1000])
def test_a_table_comes_back_as_it_was(layout, scenarios):
    table, *_ = make_book(scenarios=scenarios)
    laid = grid_table(table, layout=layout)
    assert np.array_equal(laid.dense(), table)
    padded = laid.by_block.transpose(1, 0, 2).reshape(60, -1)
    assert (padded[:, scenarios:] == table[:, -1:]).all()
    assert grid_table(laid, layout=layout) is laid
    other = grid_table(laid, np.float32, layout="planes")
    assert np.array_equal(other.dense(), table.astype(np.float32))


def test_what_does_not_fit_is_refused_by_name():
    table, start, codes, quantity = make_book()
    bad = codes.copy()
    bad[17] = 60
    with pytest.raises(InputError, match="position 17 is in row 60 of a table of 60") as caught:
        worst_of_grid(table, start, bad, quantity)
    assert caught.value.code == "INP-008"
    broken = quantity.copy()
    broken[3] = np.nan
    with pytest.raises(InputError, match="position 3 is nan") as caught:
        worst_of_grid(table, start, codes, broken)
    assert caught.value.code == "INP-004"
    for wrong in (start[::-1], start + 1, [], [[0, 1]]):
        with pytest.raises(InputError, match="pointers") as caught:
            worst_of_grid(table, wrong, codes, quantity)
        assert caught.value.code == "INP-003"
    with pytest.raises(InputError, match="shape"):
        worst_of_grid(np.empty((3, 0)), [0], [], [])
    hole = table.copy()
    hole[9, 4] = np.inf
    with pytest.raises(InputError, match="row 9"):
        worst_of_grid(hole, start, codes, quantity)
    with pytest.raises(InputError, match="row 9"):
        grid_table(np.where(table == table[9, 4], 1e39, table), np.float32)
    with pytest.raises(InputError, match="missing"):
        worst_of_grid(table, start)
    with pytest.raises(InputError, match="threads"):
        worst_of_grid(table, start, codes, quantity, threads=0)


def test_a_table_of_whole_rows_serves_as_well():
    table, start, codes, quantity = make_book(scenarios=1000)
    laid = grid_table(table, layout="rows")
    assert laid.stride > laid.block
    wanted = worst_of_grid(table, start, codes, quantity)
    assert np.array_equal(worst_of_grid(laid, start, codes, quantity), wanted)
