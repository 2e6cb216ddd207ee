"""Worst of a grid by account: the bare kernel against the machine and against other libraries.

Rows: share of the peak of multiply-adds, ratios to scipy and torch, scaling over two threads,
and what other tools of a data scientist take for the same numbers.

Targets count scipy and torch as the notes that set them did and as their users write them: one
call over all accounts. Cut by hand into pieces that fit its caches a rival is much faster; each
target has such a row beside it, without a verdict.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.calibration import fma_case, peak_rate
from benchmarks.harness import (
    Measure,
    Scale,
    Spread,
    Timing,
    fastest,
    interleaved,
    number,
    ratio_row,
    report,
    slower_row,
    target,
)
from benchmarks.ours import worst_of_grid
from benchmarks.problem import Problem, make_problem, worst_by_loop
from benchmarks.rivals import NotInstalledError, Rival, assert_same, load

# Accounts that the plain loop checks; the others are checked against the kernel so checked.
SAMPLE = 2_000
# What a rival that takes seconds for it is timed on; its cost an account does not depend on it.
SMALL = 20_000
OTHERS = ("torch_sparse", "numpy_gather", "pandas_groupby", "polars_groupby")


def run(scale: Scale) -> list[Measure]:
    """Measure the bare kernel."""
    problem = make_problem(scale.accounts)
    return [
        *one_core(problem, scale),
        *two_cores(problem, scale),
        *bag(scale, 32, 1_000_000),
        *bag(scale, 256, 200_000),
        *bag(scale, 1000, 60_000),
        *others(problem.head(scale.at_most(100_000)), scale),
        *popularity(scale),
    ]


def checked(problem: Problem) -> np.ndarray:
    """Return the kernel's float64 answer, held to the plain loop on the first accounts."""
    ours = worst_of_grid(problem)().copy()
    some = problem.head(SAMPLE)
    assert_same(ours[: some.accounts], worst_by_loop(some), some, "float64")
    return ours


def one_core(problem: Problem, scale: Scale) -> list[Measure]:
    """Peak of multiply-adds and scipy, in one loop with the kernel."""
    ours = checked(problem)
    peak, flops = fma_case()
    rival = load("scipy_csr")
    written = as_written(rival, problem, "float64", 1)
    label, tuned = rival.best(problem, "float64", 1)
    assert_same(written(), ours, problem, "float64")
    assert_same(tuned(), ours, problem, "float64")
    calls = {"ours": worst_of_grid(problem), "peak": peak, "scipy": written, "tuned": tuned}
    times = interleaved(calls, scale)
    mine, limit = times["ours"], max(peak_rate(False), flops / times["peak"].low)
    share = Spread.of([100 * problem.useful_flops / s / limit for s in mine.seconds])
    each = 1e9 / problem.accounts
    return [
        target(
            "grid-peak",
            share.median,
            f"{sizes(problem)}; {number(mine.median * each)} ns/account, "
            f"{number(problem.accounts / mine.median / 1e6)} M accounts/s; peak "
            f"{number(limit / 1e9)} GFLOP/s, the best seen in this process and these rounds",
            low=share.low,
            high=share.high,
            steady=mine.steady,
        ),
        ratio_row(
            "grid-scipy-1",
            times["scipy"],
            mine,
            f"{sizes(problem)}; scipy in one call {number(times['scipy'].median * each)} "
            f"ns/account, ours {number(mine.median * each)}; {by_hand(times['tuned'], mine)}",
        ),
        tuned_row("scipy CSR, float64, 1 thread", label, times["tuned"], mine, problem),
    ]


def two_cores(problem: Problem, scale: Scale) -> list[Measure]:
    """Two threads of ours against one, and against scipy with and without a pool of threads."""
    rival = load("scipy_csr")
    label, tuned = rival.best(problem, "float64", 1)
    spread_label, spread = rival.best(problem, "float64", 2)
    peak, _ = fma_case()
    times = interleaved(
        {
            "one": worst_of_grid(problem),
            "two": worst_of_grid(problem, threads=2),
            "scipy": as_written(rival, problem, "float64", 1),
            "tuned": tuned,
            "tuned on threads": spread,
            "peak": peak,
            "peak on both": both(peak),
        },
        scale,
    )
    assert np.array_equal(worst_of_grid(problem)(), worst_of_grid(problem, threads=2)()), (
        "two threads gave other bits than one"
    )
    two = times["two"]
    scaling = times["one"].over(two)
    possible = times["peak"].over(times["peak on both"], 2.0)
    each = 1e9 / problem.accounts
    on_two = "scipy CSR, float64, its one thread against our two"
    pooled = "scipy CSR, float64, in a pool of 2 threads against our two"
    return [
        ratio_row(
            "grid-scipy-2",
            times["scipy"],
            two,
            f"{sizes(problem)}; scipy in one call on its one thread "
            f"{number(times['scipy'].median * each)} ns/account, ours on two "
            f"{number(two.median * each)}; {by_hand(times['tuned on threads'], two)}",
        ),
        target(
            "threads",
            scaling.median,
            f"{sizes(problem)}, float64, same bits; in the same rounds two threads of "
            f"multiply-adds in registers did {possible}× the work of one: what the machine gave",
            low=scaling.low,
            high=scaling.high,
            steady=times["one"].steady and two.steady,
        ),
        tuned_row(on_two, label, times["tuned"], two, problem),
        tuned_row(pooled, spread_label, times["tuned on threads"], two, problem),
    ]


def as_written(
    rival: Rival, problem: Problem, dtype: str, threads: int
) -> Callable[[], NDArray[Any]]:
    """Return the rival as its users write it: one call over all accounts."""
    whole = rival.calls(problem, dtype, threads, None)
    return whole[fastest(whole, tries=1)]


def by_hand(theirs: Timing, ours: Timing) -> str:
    """Say beside a target what the rival reaches when we cut its work to fit caches."""
    return f"against the rival cut by hand to fit caches {theirs.over(ours)}×"


def tuned_row(name: str, label: str, theirs: Timing, ours: Timing, problem: Problem) -> Measure:
    """Make the row of a rival that we cut by hand into pieces that fit its caches."""
    each = 1e9 / problem.accounts
    return slower_row(
        f"{name}, S = {problem.scenarios}, cut by hand to fit caches: slower than ours by",
        theirs,
        ours,
        f"{sizes(problem)}; {number(theirs.median * each)} ns/account ({label}), ours "
        f"{number(ours.median * each)}",
    )


def both(call: Callable[[], object]) -> Callable[[], object]:
    """Return the call that does it on two threads at once."""
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(2)

    def run_both() -> None:
        for future in [pool.submit(call), pool.submit(call)]:
            future.result()

    return run_both


def bag(scale: Scale, scenarios: int, most: int) -> list[Measure]:
    """Compare with torch's embedding_bag in float32, both on two threads."""
    key = f"grid-torch-{scenarios}"
    try:
        rival = load("torch_bag")
        problem = make_problem(scale.at_most(most), scenarios=scenarios)
        label, tuned = rival.best(problem, "float32", 2)
    except (NotInstalledError, ImportError):
        return [target(key, None, "not installed: torch")]
    ours = checked(problem)
    narrow = worst_of_grid(problem, "float32", 2)
    calls = {
        "narrow": narrow,
        "wide": worst_of_grid(problem, threads=2),
        "torch": as_written(rival, problem, "float32", 2),
        "tuned": tuned,
    }
    for name in ("narrow", "torch", "tuned"):
        assert_same(calls[name](), ours, problem, "float32")
    times = interleaved(calls, scale)
    each = 1e9 / problem.accounts
    return [
        ratio_row(
            key,
            times["torch"],
            times["narrow"],
            f"{sizes(problem)}; torch in one call {number(times['torch'].median * each)} "
            f"ns/account, ours {number(times['narrow'].median * each)} in float32, "
            f"{number(times['wide'].median * each)} in float64 "
            f"({times['torch'].over(times['wide'])}×); {by_hand(times['tuned'], times['narrow'])}",
        ),
        tuned_row(
            "torch embedding_bag, float32, 2 threads",
            label,
            times["tuned"],
            times["narrow"],
            problem,
        ),
    ]


def others(problem: Problem, scale: Scale) -> list[Measure]:
    """Time what else a data scientist would reach for, each with the threads that it can use."""
    rows = []
    for name in OTHERS:
        part = problem.head(SMALL) if "group" in name else problem
        ours = checked(part)
        rival = load(name)
        for dtype in rival.dtypes:
            threads = 2 if rival.threaded else 1
            width = f"{threads} thread{'s' * (threads > 1)}"
            title = f"{rival.name}, {dtype}, {width}: slower than ours by"
            try:
                label, theirs = rival.best(part, dtype, threads, trial=5_000)
            except (NotInstalledError, ImportError):
                rows.append(report(title, None, "x", f"not installed: {rival.package}"))
                continue
            assert_same(theirs(), ours, part, dtype)
            times = interleaved(
                {"ours": worst_of_grid(part, dtype, threads), "theirs": theirs}, scale
            )
            each = 1e9 / part.accounts
            detail = (
                f"{sizes(part)}; {number(times['theirs'].median * each)} ns/account "
                f"({label}), ours {number(times['ours'].median * each)}"
            )
            rows.append(slower_row(title, times["theirs"], times["ours"], detail))
    return rows


def popularity(scale: Scale) -> list[Measure]:
    """Time a book whose instruments are equally popular: the table's rows are colder."""
    wide = scale.at_most(200_000)
    cases = {
        kind: worst_of_grid(make_problem(wide, popularity=kind))  # type: ignore[arg-type]
        for kind in ("zipf", "uniform")
    }
    times = interleaved(cases, scale)
    ratio = times["uniform"].over(times["zipf"])
    return [
        report(
            "the same kernel, instruments equally popular: slower than by Zipf's law by",
            ratio.median,
            "x",
            f"{wide:,} accounts × 10 × 32 scenarios, float64, one thread",
            low=ratio.low,
            high=ratio.high,
        )
    ]


def sizes(problem: Problem) -> str:
    """Describe a problem."""
    each = problem.quantity.size / problem.accounts
    return f"{problem.accounts:,} accounts × {number(each)} × {problem.scenarios} scenarios"
