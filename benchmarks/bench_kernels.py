"""The other kernels: expected shortfall with a remembered tail, and the float32 screen."""

from __future__ import annotations

import numpy as np

from benchmarks.harness import (
    Measure,
    Scale,
    interleaved,
    number,
    ratio_row,
    report,
    target,
)
from benchmarks.nth_element import shortfalls, shortfalls_partition
from benchmarks.problem import Problem, make_problem
from crossmargin.margin.kernels.grid import check_rows, grid_table, worst_of_grid
from crossmargin.margin.kernels.screen import breaches, screened_book
from crossmargin.margin.kernels.tail import tail_means

LEVEL, SCENARIOS, WORST = 0.975, 1000, 25
MOVE = 0.03
DECISIONS = 10_000_000


def run(scale: Scale) -> list[Measure]:
    """Measure both."""
    return [*shortfall(scale), *screen(scale)]


def shortfall(scale: Scale) -> list[Measure]:
    """Time the tail with last run's as a guess, the table having moved by 3 % since."""
    problem = make_problem(scale.at_most(60_000), scenarios=SCENARIOS)
    wide = one_width(problem, "float64", scale)
    narrow = one_width(problem, "float32", scale)
    return [*wide, *narrow]


def one_width(problem: Problem, dtype: str, scale: Scale) -> list[Measure]:
    """Time one precision; the float64 rows carry the target."""
    rng = np.random.default_rng(3)
    moved = problem.table * (1.0 + MOVE * rng.normal(size=problem.table.shape))
    before = grid_table(problem.table, np.dtype(dtype))
    now = grid_table(moved, np.dtype(dtype))
    whole = grid_table(now, layout="rows")
    quantity = problem.quantity.astype(dtype, copy=False)
    book = check_rows(now.rows, problem.start, problem.code, quantity)
    last = tail_means(before, book, level=LEVEL)
    plain, partition = shortfalls(whole, book, WORST), shortfalls_partition(whole, book, WORST)
    found = tail_means(now, book, level=LEVEL, last=last)
    fresh = tail_means(now, book, level=LEVEL)
    assert np.array_equal(found.mean, fresh.mean), "a remembered tail changed the result"
    for other in (plain(), partition()):
        # Both add up the same 25 numbers; only the order of the additions may differ.
        bound = 2 * WORST * np.finfo(np.float64).eps * np.abs(found.mean).max()
        assert np.abs(other - found.mean).max() <= bound, "the selections differ"
    times = interleaved(
        {
            "ours": lambda: tail_means(now, book, level=LEVEL, last=last),
            "nth_element": plain,
            "partition": partition,
            "fresh": lambda: tail_means(now, book, level=LEVEL),
            "kernel": lambda: worst_of_grid(now, book),
        },
        scale,
    )
    each = 1e9 / problem.accounts
    said = {name: number(t.median * each) for name, t in times.items()}
    detail = (
        f"{problem.accounts:,} accounts × 10 × {SCENARIOS}, {dtype}, one thread, table moved by "
        f"3 %; kernel + nth_element {said['nth_element']} ns/account, ours {said['ours']}; same "
        f"sums and numpy's partition with vector instructions {said['partition']} "
        f"({times['partition'].over(times['ours'])}×); the worst of the grid alone "
        f"{said['kernel']}"
    )
    fresh_ratio = times["fresh"].over(times["ours"])
    rows = [
        report(
            f"expected shortfall without a remembered tail, {dtype}: slower than with by",
            fresh_ratio.median,
            "x",
            f"{said['fresh']} ns/account; same bits",
            low=fresh_ratio.low,
            high=fresh_ratio.high,
        )
    ]
    key = "es-tail" if dtype == "float64" else "es-tail-32"
    return [ratio_row(key, times["nth_element"], times["ours"], detail), *rows]


def screen(scale: Scale) -> list[Measure]:
    """Count decisions of the screen that differ, many of them drawn to the line on purpose."""
    problem = make_problem(scale.accounts)
    table = grid_table(problem.table)
    book = check_rows(table.rows, problem.start, problem.code, problem.quantity)
    screened = screened_book(table, book)
    narrow = grid_table(problem.table, np.float32)
    worst = worst_of_grid(table, book)
    gross = problem.gross()
    rng = np.random.default_rng(9)
    rounds = max(1, DECISIONS // scale.accounts) if scale.name == "full" else 2
    differ = doubtful = near = 0
    for k in range(rounds):
        # Lines at all distances from the worst, down to the last bit, on both sides.
        distance = 10.0 ** rng.uniform(-18.0, 0.0, problem.accounts)
        distance *= rng.choice([-1.0, 1.0], problem.accounts)
        line = worst if k % 10 == 1 else worst + gross * distance
        found = breaches(table, screened, line, narrow=narrow)
        differ += int((found.breached != (worst < line)).sum())
        doubtful += found.doubtful
        near += int((np.abs(line - worst) < 4e-7 * gross).sum())
    far = worst - 0.1 * gross
    times = interleaved(
        {
            "screen": lambda: breaches(table, screened, far, narrow=narrow),
            "float64": lambda: worst_of_grid(table, book) < far,
        },
        scale,
    )
    gain = times["float64"].over(times["screen"])
    total = rounds * problem.accounts
    return [
        target(
            "screen",
            float(differ),
            f"{total:,} decisions, {near:,} of them with the line within 4e-7 of gross of the "
            f"worst; {doubtful:,} were computed again in float64",
        ),
        report(
            "decisions in float64: slower than screened in float32 by",
            gain.median,
            "x",
            f"{problem.accounts:,} accounts × 10 × 32, lines a tenth of gross away, one thread",
            low=gain.low,
            high=gain.high,
        ),
    ]
