"""Rivals give the same numbers as the plain loop, and a rival that does not is found out."""

from __future__ import annotations

import sys
from importlib.util import find_spec

import numpy as np
import pytest
from benchmarks import bench_tools
from benchmarks.ours import worst_of_grid
from benchmarks.problem import Problem, chain_table, make_chain, make_problem, worst_by_loop
from benchmarks.rivals import NotInstalledError, assert_same, load, nautilus_margin

NAMES = (
    "scipy_csr", "torch_bag", "torch_sparse", "numpy_gather", "pandas_groupby", "polars_groupby",
)  # fmt: skip
MODULES = {"torch_bag": "torch", "torch_sparse": "torch", "pandas_groupby": "pandas"}


@pytest.fixture(scope="module")
def problem() -> Problem:
    return make_problem(200, scenarios=35, instruments=120)


def test_the_loop_by_hand() -> None:
    table = np.array([[1.0, -2.0], [3.0, 5.0], [-7.0, 0.5]])
    hand = Problem(
        np.array([0, 2, 3]), np.array([0, 2], dtype=np.uint16).repeat([1, 2]),
        np.array([2.0, -1.0, 4.0]), table,
    )  # fmt: skip
    # Account 0: 2·(1, −2) − (−7, ½) = (9, −4½); account 1: 4·(−7, ½) = (−28, 2).
    assert worst_by_loop(hand).tolist() == [-4.5, -28.0]
    assert hand.gross().tolist() == [2 * 2 + 7, 28]
    assert hand.useful_flops == 12
    assert hand.head(1).accounts == 1 and hand.head(1).code.tolist() == [0, 2]


@pytest.mark.parametrize("popularity", ["zipf", "uniform"])
def test_a_book_has_no_duplicates(popularity: str) -> None:
    book = make_problem(300, positions=40, instruments=100, popularity=popularity)  # type: ignore[arg-type]
    codes = book.code.reshape(300, 40).astype(int)
    assert (np.diff(codes, axis=1) > 0).all()
    assert codes.max() < book.table.shape[0] == 100
    with pytest.raises(ValueError, match="half"):
        make_problem(1, positions=51, instruments=100)


def test_zipf_is_popular_at_the_top() -> None:
    rank = np.bincount(make_problem(5_000).code, minlength=1_500)
    assert rank[0] == rank.max() > 20 * np.median(rank)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("threads", [1, 2])
def test_our_kernel(problem: Problem, dtype: str, threads: int) -> None:
    found = worst_of_grid(problem, dtype, threads)()
    assert_same(found, worst_by_loop(problem), problem, dtype)


@pytest.mark.parametrize("chunk", [None, 64])
@pytest.mark.parametrize("name", NAMES)
def test_rivals_give_the_same(problem: Problem, name: str, chunk: int | None) -> None:
    if name in MODULES and find_spec(MODULES[name]) is None:
        pytest.skip(f"{MODULES[name]} is not installed")
    rival = load(name)
    wanted = worst_by_loop(problem)
    for dtype in rival.dtypes:
        for variant, call in rival.calls(problem, dtype, 2, chunk).items():
            assert assert_same(call(), wanted, problem, dtype) >= 0, variant


def test_a_wrong_rival_is_found_out(problem: Problem) -> None:
    right = worst_by_loop(problem)
    wrong = right.copy()
    wrong[17] += 1e-12 * problem.gross()[17]
    with pytest.raises(AssertionError, match="differ"):
        assert_same(wrong, right, problem, "float64")
    assert_same(wrong, right, problem, "float32")


def test_the_best_variant_is_labelled(problem: Problem) -> None:
    label, call = load("numpy_gather").best(problem, "float64", 1, trial=100)
    assert label.startswith(("einsum", "matmul"))
    assert_same(call(), worst_by_loop(problem), problem, "float64")


def test_quantlib_that_differs_is_found_out() -> None:
    chain = make_chain(50, 8)
    ours = chain_table(chain)()
    bench_tools.hold_quantlib(ours, ours, chain.forward)
    with pytest.raises(AssertionError, match="QuantLib"):
        bench_tools.hold_quantlib(ours + 1e-6, ours, chain.forward)


def test_a_missing_library_is_a_row_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "QuantLib", None)
    monkeypatch.setitem(sys.modules, "nautilus_trader.model.enums", None)
    with pytest.raises(NotInstalledError):
        nautilus_margin.ten_positions()
    rows = [row for row in bench_tools.single(20) if row.value is None]
    assert len(rows) == 2
    assert all(row.verdict == "not measured" and "not installed" in row.detail for row in rows)
