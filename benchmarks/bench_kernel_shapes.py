"""The kernels in other shapes: the best selection of tails, linear rows, groups, uneven accounts.

``bench_grid`` and ``bench_kernels`` carry the targets. Here stand expected shortfall against the
quickest selection that we know (for each width of row and precision), and what summing linear rows
first, several groups an account and uneven numbers of positions save or cost.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from benchmarks.harness import (
    Measure,
    Scale,
    interleaved,
    number,
    report,
)
from benchmarks.problem import Problem, make_problem
from crossmargin.margin.kernels import _vector as vec
from crossmargin.margin.kernels._layout import CheckedRows, GridTable, check_rows, grid_table
from crossmargin.margin.kernels.grid import worst_of_grid, worst_of_groups
from crossmargin.margin.kernels.linear import (
    collapse_book,
    linear_rows,
    worst_of_grid_collapsed,
)
from crossmargin.margin.kernels.tail import tail_means

LEVEL = 0.975
#: Accounts of which the rival keeps all scenarios at once before it selects: 1 MiB of float64.
HELD = 128


def run(scale: Scale) -> list[Measure]:
    """Measure tails, linear rows and shapes of books."""
    return [*tails(scale), *linear(scale), *shapes(scale)]


# ------------------------------------------------------------------------- expected shortfall


def markets(scenarios: int, instruments: int = 1_500, seed: int = 4) -> np.ndarray:
    """Draw a table as history gives it: a common factor, one a coin, one a contract; fat tails."""
    rng = np.random.default_rng(seed)
    common = 0.02 * rng.standard_t(4, scenarios)
    coins = 0.03 * rng.standard_t(4, (10, scenarios))
    own = 0.01 * rng.standard_t(4, (instruments, scenarios))
    delta = rng.uniform(-1.0, 1.0, instruments)[:, None]
    return delta * (common + np.repeat(coins, instruments // 10, axis=0)) + own


@njit(nogil=True)
def nth_element(a: Any, k: int) -> None:
    """Put the k-th smallest (from 0) of `a` in its place: quickselect, median of three."""
    low, high = 0, a.shape[0] - 1
    while low < high:
        x, y, z = a[low], a[(low + high) >> 1], a[high]
        pivot = max(min(x, y), min(max(x, y), z))
        i, j = low, high
        while i <= j:
            while a[i] < pivot:
                i += 1
            while a[j] > pivot:
                j -= 1
            if i <= j:
                swap = a[i]
                a[i] = a[j]
                a[j] = swap
                i += 1
                j -= 1
        if k <= j:
            high = j
        elif k >= i:
            low = i
        else:
            return


@njit(nogil=True)
def floyd_rivest(a: Any, left: int, right: int, k: int) -> None:
    """As `nth_element`, by Floyd and Rivest (1975): about half of the comparisons."""
    while right > left:
        if right - left > 600:
            n, i = right - left + 1.0, k - left + 1.0
            z = np.log(n)
            s = 0.5 * np.exp(2.0 * z / 3.0)
            shift = 0.5 * np.sqrt(z * s * (n - s) / n) * (1.0 if i > n / 2.0 else -1.0)
            floyd_rivest(
                a,
                max(left, int(k - i * s / n + shift)),
                min(right, int(k + (n - i) * s / n + shift)),
                k,
            )
        pivot = a[k]
        i, j = left, right
        a[k] = a[left]
        a[left] = pivot
        if a[right] > pivot:
            a[left] = a[right]
            a[right] = pivot
        while i < j:
            swap = a[i]
            a[i] = a[j]
            a[j] = swap
            i += 1
            j -= 1
            while a[i] < pivot:
                i += 1
            while a[j] > pivot:
                j -= 1
        if a[left] == pivot:
            a[left] = a[j]
            a[j] = pivot
        else:
            j += 1
            swap = a[j]
            a[j] = a[right]
            a[right] = swap
        if j <= k:
            left = j + 1
        if k <= j:
            right = j - 1


def selections(table: GridTable, book: CheckedRows) -> dict[str, Callable[[], np.ndarray]]:
    """Return the same kernel followed by a full selection, three ways.

    The sums are ours, kept for `HELD` accounts at a time so that they stay in cache.
    """
    mass = round(table.scenarios * (1.0 - LEVEL), 9)
    worst = math.ceil(mass)
    rest = mass - (worst - 1)
    vectors, blocks, block, stride = table.vectors, table.blocks, table.block, table.stride
    scenarios = table.scenarios

    @njit(nogil=True, error_model="numpy")
    def sums(values: Any, start: Any, codes: Any, quantity: Any, first: int, out: Any) -> None:
        scratch = np.empty(block, dtype=values.dtype)
        for i in range(out.shape[0]):
            for b in range(blocks):
                vec.fma_rows(
                    scratch, values, stride, b * block, codes, quantity, start[first + i],
                    start[first + i + 1], vectors,
                )  # fmt: skip
                last = min(block, scenarios - b * block)
                out[i, b * block : b * block + last] = scratch[:last]

    @njit(nogil=True)
    def by_nth(pnl: Any, out: Any) -> None:
        for i in range(pnl.shape[0]):
            nth_element(pnl[i], worst - 1)
            out[i] = (pnl[i, : worst - 1].sum() + rest * pnl[i, worst - 1]) / mass

    @njit(nogil=True)
    def by_floyd_rivest(pnl: Any, out: Any) -> None:
        for i in range(pnl.shape[0]):
            floyd_rivest(pnl[i], 0, scenarios - 1, worst - 1)
            out[i] = (pnl[i, : worst - 1].sum() + rest * pnl[i, worst - 1]) / mass

    def by_numpy(pnl: np.ndarray, out: np.ndarray) -> None:
        pnl.partition(worst - 1, axis=1)
        out[:] = (pnl[:, : worst - 1].sum(axis=1) + rest * pnl[:, worst - 1]) / mass

    pnl = np.empty((HELD, scenarios), dtype=table.values.dtype)
    out = np.empty(book.accounts)
    held = book.quantity.astype(table.values.dtype)

    def runner(select: Callable[[np.ndarray, np.ndarray], None]) -> Callable[[], np.ndarray]:
        def call() -> np.ndarray:
            for first in range(0, book.accounts, HELD):
                part = pnl[: min(HELD, book.accounts - first)]
                sums(table.values, book.start, book.codes, held, first, part)
                select(part, out[first : first + len(part)])
            return out

        return call

    return {
        "nth_element": runner(by_nth),
        "Floyd-Rivest": runner(by_floyd_rivest),
        "numpy.partition": runner(by_numpy),
    }


def tails(scale: Scale) -> list[Measure]:
    """Time expected shortfall with the tail of a table that differed by 3 %, and without one."""
    rows = []
    accounts = scale.at_most(30_000)
    for scenarios, dtype in ((1000, "float64"), (1000, "float32"), (256, "float64")):
        problem = make_problem(accounts, scenarios=scenarios)
        dense = markets(scenarios)
        rng = np.random.default_rng(5)
        before = dense * rng.normal(1.0, 0.03, dense.shape)
        book = check_rows(1_500, problem.start, problem.code, problem.quantity.astype(dtype))
        table = grid_table(dense, np.dtype(dtype))
        stale = tail_means(before.astype(dtype), book, level=LEVEL)
        rivals = selections(grid_table(table, layout="rows"), book)
        mine = tail_means(table, book, level=LEVEL, last=stale)
        alone = tail_means(table, book, level=LEVEL)
        assert np.array_equal(mine.mean, alone.mean), "a stale tail changed the result"
        exact = 1e-13 if dtype == "float64" else 2e-6
        for call in rivals.values():
            assert np.allclose(call(), mine.mean, rtol=exact, atol=exact)
        times = interleaved(
            {
                "stale": lambda t=table, b=book, s=stale: tail_means(t, b, level=LEVEL, last=s),
                "fresh": lambda t=table, b=book, s=mine: tail_means(t, b, level=LEVEL, last=s),
                "none": lambda t=table, b=book: tail_means(t, b, level=LEVEL),
                "kernel": lambda t=table, b=book: worst_of_grid(t, b),
                **rivals,
            },
            scale,
        )
        ours, each = times["stale"], 1e6 / accounts
        best = min(rivals, key=lambda name: times[name].low)
        against = "; ".join(
            f"{name} {number(times[name].median * each)} µs ({times[name].over(ours)}×)"
            for name in (*rivals, "kernel", "fresh", "none")
        )
        detail = (
            f"{accounts:,} accounts × 10 × {scenarios}, {dtype}, one thread, same bits as without "
            f"a memory; tail of a table 3 % away: {number(ours.median * each)} µs; kernel and "
            f"{against}; 'kernel' is the worst alone, 'fresh' with its own last tail"
        )
        ratio = times[best].over(ours)
        rows.append(
            report(
                f"ES 97.5 %, S = {scenarios}, {dtype}: kernel + the best selection slower by",
                ratio.median,
                "x",
                f"the best is {best}; {detail}",
                low=ratio.low,
                high=ratio.high,
                better="higher",
            )
        )
    return rows


# ------------------------------------------------------------------------ linear rows, shapes


def linear(scale: Scale) -> list[Measure]:
    """Time a book half of whose positions are linear, plain and with linear rows summed first."""
    rows = []
    for scenarios, most in ((32, 200_000), (256, 50_000)):
        accounts = scale.at_most(most)
        problem = make_problem(accounts, scenarios=scenarios)
        table = problem.table.copy()
        moves = np.random.default_rng(2).normal(size=scenarios)
        popular = (np.arange(10)[:, None] * 150 + np.arange(10)).ravel()
        table[popular] = (1.0 + np.arange(popular.size))[:, None] * moves
        book = check_rows(1_500, problem.start, problem.code, problem.quantity)
        found = linear_rows(table)
        collapsed = collapse_book(book, found)
        laid = grid_table(table)
        mine, plain = worst_of_grid_collapsed(laid, found, collapsed), worst_of_grid(laid, book)
        gross = Problem(problem.start, problem.code, problem.quantity, table).gross()
        assert (np.abs(mine - plain) <= 1e-14 * gross).all()
        times = interleaved(
            {
                "plain": lambda t=laid, b=book: worst_of_grid(t, b),
                "summed": lambda t=laid, f=found, c=collapsed: worst_of_grid_collapsed(t, f, c),
            },
            scale,
        )
        ratio = times["plain"].over(times["summed"])
        share = collapsed.linear_code.size / book.codes.size
        rows.append(
            report(
                f"linear rows summed first, S = {scenarios}: faster by",
                ratio.median,
                "x",
                f"{accounts:,} accounts × 10, {number(100 * share)} % of positions multiples of "
                f"one vector, {number(collapsed.rows.codes.size / accounts)} rows left",
                low=ratio.low,
                high=ratio.high,
                better="higher",
            )
        )
    return rows


def shapes(scale: Scale) -> list[Measure]:
    """Time groups with a worst of their own, and accounts of uneven numbers of positions."""
    accounts = scale.at_most(200_000)
    problem = make_problem(accounts)
    book = check_rows(1_500, problem.start, problem.code, problem.quantity)
    coin = problem.code.astype(np.int64) // 150 + 10 * np.repeat(np.arange(accounts), 10)
    begins = np.flatnonzero(np.diff(coin, prepend=-1))
    groups = np.searchsorted(begins, problem.start)
    by_group = check_rows(
        1_500, np.append(begins, problem.code.size), problem.code, problem.quantity
    )
    rng = np.random.default_rng(3)
    uneven = np.concatenate([[0], np.sort(rng.integers(0, problem.code.size, accounts - 1))])
    start = np.append(uneven, problem.code.size)
    ragged = check_rows(1_500, start, problem.code, problem.quantity)
    table = grid_table(problem.table)
    times = interleaved(
        {
            "even": lambda: worst_of_grid(table, book),
            "ragged": lambda: worst_of_grid(table, ragged),
            "groups": lambda: worst_of_groups(table, by_group, groups),
        },
        scale,
    )
    rows = []
    for name, title in (
        ("ragged", "numbers of positions at random instead of ten each"),
        ("groups", f"worst of each group ({number(begins.size / accounts)} an account), added"),
    ):
        ratio = times[name].over(times["even"])
        rows.append(
            report(
                f"the same kernel, {title}: slower by",
                ratio.median,
                "x",
                f"{accounts:,} accounts, {problem.code.size:,} positions × 32, float64, one thread",
                low=ratio.low,
                high=ratio.high,
            )
        )
    return rows
