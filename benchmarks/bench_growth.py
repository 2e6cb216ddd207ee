"""How time and memory grow: with accounts, positions an account, scenarios and instruments.

Each line has its least-squares slope on log-log axes: 1 is linear. Scenarios and positions grow
linearly once a row is longer than a vector; more instruments make no more work, only colder
caches, so their slope is near 0 as long as the table fits in L2 and positive beyond it. Lines go
through the least times of the repeats.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import replace
from functools import partial

import numpy as np

from benchmarks.harness import Measure, Scale, Series, memory_of, number, report, timed
from benchmarks.made import deribit
from benchmarks.ours import worst_of_grid
from benchmarks.problem import Problem, make_problem
from crossmargin.margin import load_ruleset
from crossmargin.margin.fused import compile_program, holdings_of, run_program

# Larger books repeat one of this size: drawing 10⁸ positions would take longer than timing them.
DRAWN = 1_000_000
RULESET = "deribit-pm"


def run(scale: Scale) -> list[Measure]:
    """Measure the growth of the bare kernel and, with accounts, of the complete requirement."""
    small = scale.name == "tiny"
    n = scale.at_most(100_000)
    return [
        *accounts(scale),
        full_requirement(scale),
        line(
            "positions an account",
            "positions an account",
            [(k, make_problem(max(50, n // k), positions=k)) for k in grid(1, 300, small)],
            scale,
            expected=1.0,
        ),
        line(
            "scenarios",
            "scenarios",
            [
                (s, make_problem(max(50, 10 * n // max(s, 32)), scenarios=s))
                for s in grid(8, 2048, small, step=2)
            ],
            scale,
            expected=1.0,
        ),
        line(
            "instruments",
            "instruments in the table",
            [(m, make_problem(n, instruments=m)) for m in grid(100, 100_000, small)],
            scale,
            expected=None,
        ),
    ]


def grid(low: int, high: int, small: bool, step: float = 10**0.5) -> list[int]:
    """Return sizes in equal steps of their logarithm; two of them at the tiny scale."""
    out = [float(low)]
    while out[-1] * step <= high * 1.01:
        out.append(out[-1] * step)
    rounded = [round(x) for x in out]
    return rounded[:2] if small else rounded


def larger(problem: Problem, times: int) -> Problem:
    """Return a book that repeats the accounts of another."""
    if times == 1:
        return problem
    each = np.diff(problem.start)
    start = np.zeros(each.size * times + 1, dtype=np.int64)
    np.cumsum(np.tile(each, times), out=start[1:])
    return Problem(
        start, np.tile(problem.code, times), np.tile(problem.quantity, times), problem.table
    )


def accounts(scale: Scale) -> list[Measure]:
    """Time and memory against the number of accounts."""
    sizes = [10**k for k in range(2, 9) if 10**k <= scale.growth]
    sizes = [n for n in sizes if scale.name == "tiny" or n >= 10_000]
    base = make_problem(min(DRAWN, sizes[-1]))
    xs, ys, held = [], [], []
    spreads = []
    for n in sizes:
        problem = larger(base.head(n), max(1, n // DRAWN))
        call = worst_of_grid(problem)
        took = timed(call, replace(scale, budget_s=min(scale.budget_s, 5.0)))
        xs.append(float(n))
        ys.append(took.low)
        spreads.append(took)
        own = problem.start.nbytes + problem.code.nbytes + problem.quantity.nbytes
        held.append(own / 2**20)
    name = "accounts × 10 positions × 32 scenarios"
    time_line = Series(
        "Time against accounts", "bare kernel, float64, one thread", name, "seconds",
        tuple(xs), tuple(ys), 1.0,
    )  # fmt: skip
    book_line = Series(
        "Memory against accounts", "book (columns)", name, "MiB", tuple(xs), tuple(held), 1.0
    )
    last = sizes[-1]
    return [
        report(
            "growth of time with accounts: slope",
            time_line.slope,
            "",
            f"{sizes[0]:,} to {last:,} accounts; 1 is linear; "
            f"{number(1e9 * ys[-1] / last)} ns/account at the end "
            f"({number(1e9 * spreads[-1].low / last)} to {number(1e9 * spreads[-1].high / last)})",
            series=(time_line,),
        ),
        report(
            "growth of memory with accounts: slope",
            book_line.slope,
            "",
            f"{number(held[-1] * 2**20 / last)} B/account of positions (no balances: these are the "
            "kernel's own inputs; the whole book is the row of memory above)",
            series=(book_line,),
        ),
    ]


def full_requirement(scale: Scale) -> Measure:
    """Time and memory of a whole requirement: what is laid out once, and what a pass adds."""
    rules = load_ruleset(RULESET)
    largest = min(scale.growth, DRAWN)
    sizes = [n for n in (100, 1_000, 10_000, 100_000, 1_000_000) if n <= largest]
    sizes = [n for n in sizes if scale.name == "tiny" or n >= 10_000]
    ys, laid, extra = [], [], []
    for n in sizes:
        book, snapshot = deribit(n)
        program = compile_program(
            book.registry, snapshot, rules, book.instruments_used(), book.assets_used()
        )
        holdings = holdings_of(book, program)
        call = partial(run_program, program, holdings)
        ys.append(timed(call, replace(scale, budget_s=min(scale.budget_s, 5.0))).low)
        laid.append((book.nbytes + holdings.nbytes) / 2**20)
        extra.append(memory_of(call) / 2**20)
    xs = tuple(float(n) for n in sizes)
    label, name = f"complete requirement, {RULESET}", "accounts × 10 positions × 32 scenarios"
    time_line = Series("Time against accounts", label, name, "seconds", xs, tuple(ys), 1.0)
    memory = "Memory against accounts"
    lines = [
        time_line,
        Series(memory, f"book and holdings, {RULESET}", name, "MiB", xs, tuple(laid), 1.0),
        Series(memory, f"results of a pass, {RULESET}", name, "MiB", xs, tuple(extra), 1.0),
    ]
    return report(
        f"growth of time with accounts, complete requirement ({RULESET}): slope",
        time_line.slope,
        "",
        f"{sizes[0]:,} to {sizes[-1]:,} accounts of about 9 positions; "
        f"{number(1e9 * ys[-1] / sizes[-1])} ns/account and "
        f"{number(laid[-1] * 2**20 / sizes[-1])} B/account for book and holdings at the end",
        series=tuple(lines),
    )


def line(
    what: str,
    x_name: str,
    points: Iterable[tuple[int, Problem]],
    scale: Scale,
    expected: float | None,
) -> Measure:
    """Time of one account (one position's row for scenarios) along one dimension."""
    xs, ys = [], []
    for x, problem in points:
        took = timed(worst_of_grid(problem), replace(scale, budget_s=min(scale.budget_s, 2.0)))
        xs.append(float(x))
        ys.append(took.low / problem.accounts * 1e9)
    series = Series(
        f"Time of an account against {what}", "bare kernel, float64, one thread", x_name,
        "ns/account", tuple(xs), tuple(ys), expected,
    )  # fmt: skip
    local = steepest(xs, ys)
    theory = "linear is 1" if expected is not None else "no more work, only colder caches"
    return report(
        f"growth of time with {what}: slope",
        series.slope,
        "",
        f"{number(xs[0])} to {number(xs[-1])}; {theory}; slope of the upper half {number(local)}; "
        f"{number(ys[0])} to {number(ys[-1])} ns/account",
        series=(series,),
    )


def steepest(xs: list[float], ys: list[float]) -> float:
    """Slope of the upper half of the points, where fixed costs no longer hide it."""
    half = max(0, len(xs) // 2 - 1)
    u, v = np.log(xs[half:]), np.log(ys[half:])
    return statistics.linear_regression(list(u), list(v)).slope if u.size > 1 else float("nan")
