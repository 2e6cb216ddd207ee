"""Cascades: who breaches along a path, lazily against full passes, and whole simulations.

*Detection* is the question of the lazy bound alone: prices fall by a third over 300 steps, and each
step must say who has crossed. Everything from the first measurement on is counted. The rivals are
a full pass of our own in numba, which margins every account in every step, and the same in numpy;
all find the same accounts in the same steps, which is checked before anything is timed.

*Simulation* is a bad day with liquidations, impact and a fund: all rounds, all outputs. It has a
process of its own, which makes its population itself; its peak of memory is the whole process's,
from its first byte on.

*Paths* are a study as a user runs one: a shipped scenario, seeds, two worker processes.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import (
    Measure,
    Scale,
    interleaved,
    number,
    peak_memory,
    report,
    target,
)
from crossmargin.cascade import (
    CascadeMarket,
    CascadeRules,
    Plan,
    Population,
    Study,
    Variant,
    generate_population,
    load_scenario,
    run_study,
    seeds_of,
    simulate,
    with_changes,
)
from crossmargin.cascade._lookout import Lookout
from crossmargin.cascade._measure import Marks
from crossmargin.cascade._venue import Venue

Floats = NDArray[np.float64]
Int32 = NDArray[np.int32]

ASSETS, STEPS, SEED = 8, 300, 1
#: What a full pass of numpy takes does not depend on the step.
NUMPY_STEPS = 5


def run(scale: Scale) -> list[Measure]:
    """Measure detection and simulation at the scale's number of accounts."""
    steps = STEPS if scale.name != "tiny" else 12
    people = generate_population(scale.accounts, ASSETS, SEED)
    warm()
    rows = detection(people, steps, scale)
    # A process of its own: what this one holds by now is not the simulation's.
    rows += simulation(steps, scale)
    rows.append(paths(steps, scale))
    return rows


def warm() -> None:
    """Compile: compiled loops are not counted."""
    few = generate_population(300, ASSETS, 2)
    simulate(few, bad_day(few, 10), CascadeRules(fund_usd=1.0), threads=2)
    lazily(few, falling(few, 4))
    brute(few, falling(few, 4))


def falling(people: Population, steps: int) -> Floats:
    """Return marks [steps, J]: a fall by 35 %, with noise of each asset."""
    draw = np.random.default_rng(SEED)
    noise = np.cumsum(0.002 * draw.standard_normal((steps, ASSETS)), axis=0)
    trend = np.log(0.65) * np.arange(1, steps + 1) / steps
    return np.asarray(people.price * np.exp(trend[:, None] + noise))


def lazily(people: Population, marks: Floats) -> tuple[Int32, int]:
    """Return the step in which each account first breaches, −1 never, and accounts measured."""
    venue = Venue(people, 0.0, 0.0)
    line = (1.0, 0.0, venue.cent)
    out = Lookout(venue.rows, venue.table, line, venue.quanta, venue.cent,
                  assets=ASSETS, history=venue.history, threads=1)  # fmt: skip
    first = np.full(people.size, -1, np.int32)
    ids = np.arange(people.size, dtype=np.int32)
    for step, mark in enumerate(marks):
        now = marks_of(people, venue, mark)
        if step == 0:
            out.begin(now)
        else:
            ids = out.due(now)
            if out.crowded:
                ids = np.concatenate([ids, out.gather()])
        found = out.measure(ids, now)
        first[ids[found.breach]] = step
        out.loose(ids[found.breach])
        out.watch(found, ~found.breach, now)
    return first, out.evaluations


def marks_of(people: Population, venue: Venue, mark: Floats) -> Marks:
    """Return prices as the kernels want them."""
    k = len(people.contracts)
    history = venue.history
    return Marks(mark, mark[:k], np.ones(k), mark * (1.0 - people.haircut), history.scale,
                 history.taken)  # fmt: skip


@numba.njit(cache=True, nogil=True)
def _full_pass(
    start, contract, quantity, base, rate, coin_start, asset, coins, keep, mark, cent, step, first
):  # type: ignore[no-untyped-def]
    for a in range(base.size):
        if first[a] >= 0:
            continue
        equity, mm = base[a], 0.0
        for i in range(start[a], start[a + 1]):
            k = contract[i]
            equity += quantity[i] * mark[k]
            mm += rate[k] * (abs(quantity[i]) * mark[k])
        for i in range(coin_start[a], coin_start[a + 1]):
            j = asset[i]
            equity += coins[i] * (mark[j] * keep[j])
        if equity - mm < -1e-14 * (abs(equity) + abs(mm)) - cent:
            first[a] = step


def brute(people: Population, marks: Floats) -> Int32:
    """Margin every account in every step: nothing but the arithmetic, one thread."""
    venue = Venue(people, 0.0, 0.0)
    rows, first = venue.rows, np.full(people.size, -1, np.int32)
    # Columns of their own: a pass in order is fastest so.
    base, keep = np.ascontiguousarray(rows.base), 1.0 - people.haircut
    for step, mark in enumerate(marks):
        _full_pass(people.start, rows.contract, rows.quantity, base, people.mm_rate,
                   people.coll_start, rows.coll_asset, rows.coll_quantity, keep, mark,
                   venue.cent, step, first)  # fmt: skip
    return first


def in_numpy(people: Population, marks: Floats) -> Int32:
    """Do the same without a compiler."""
    first = np.full(people.size, -1, np.int32)
    account, coll_account = people.account, people.coll_account
    venue = Venue(people, 0.0, 0.0)
    rows, rate = venue.rows, people.mm_rate[people.contract]
    kept = rows.coll_quantity * (1.0 - people.haircut[people.coll_asset])
    for step, mark in enumerate(marks):
        worth = rows.quantity * mark[people.contract]
        equity = rows.base + np.bincount(account, worth, minlength=people.size)
        equity += np.bincount(coll_account, kept * mark[people.coll_asset], minlength=people.size)
        mm = np.bincount(account, rate * np.abs(worth), minlength=people.size)
        first[(equity - mm < -venue.cent) & (first < 0)] = step
    return first


def detection(people: Population, steps: int, scale: Scale) -> list[Measure]:
    """Compare the lazy bound with full passes, set-up counted."""
    marks = falling(people, steps)
    found, measured = lazily(people, marks)
    if not (found == brute(people, marks)).all():
        raise AssertionError("the lazy bound and the full pass find different breaches")
    few = marks[:NUMPY_STEPS]
    if not (in_numpy(people, few) == brute(people, few)).all():
        raise AssertionError("numpy finds other breaches")
    times = interleaved(
        {
            "lazy": lambda: lazily(people, marks),
            "brute": lambda: brute(people, marks),
            "numpy": lambda: in_numpy(people, few),
        },
        scale,
    )
    lazy, full = times["lazy"], times["brute"]
    # In doubt to the rival's favour: the lesser of the rounds' median and the best times' ratio.
    ratio = min(full.over(lazy).median, full.low / lazy.low)
    slow = times["numpy"].median * steps / len(few)
    detail = (
        f"{people.size:,} accounts × {ASSETS} assets, {steps} steps to −35 %, one thread, set-up "
        f"counted; the same accounts in the same steps, {int((found >= 0).sum()):,} of them; "
        f"{number(measured / people.size)} measurements an account instead of {steps}; "
        f"{number(lazy.median)} s against {number(full.median)} s"
    )
    return [
        target("cascade-brute", ratio, detail),
        report("cascade: full passes in numpy against the lazy bound", slow / lazy.median, "x",
               f"{len(few)} of {steps} steps timed", better="higher"),
    ]  # fmt: skip


def bad_day(people: Population, steps: int) -> CascadeMarket:
    """Return news that fall by a fifth, and books that take twenty times what is open."""
    draw = np.random.default_rng(SEED)
    shared, own = draw.standard_normal((steps, 1)), draw.standard_normal((steps, ASSETS))
    news = 0.003 * (0.8 * shared + 0.6 * own) - 0.2 / steps
    return CascadeMarket(exogenous=news, depth_usd=20.0 * people.open_interest() * people.price)


class Alone(NamedTuple):
    """What a process in which nothing but the simulation ran has measured."""

    seconds: tuple[float, ...]
    columns: int
    imported: int
    generated: int
    peak: int
    rounds: int
    evaluations: int
    hit: float


def alone(accounts: int, steps: int, repeats: int) -> Alone:
    """Make up a population and run the simulation; in a fresh process, for its peak of memory.

    The kernel's high-water mark is never set back: imports, compiled code, the making of the
    population and its columns, the runs and the results are all in it.
    """
    few = generate_population(300, ASSETS, 2)
    simulate(few, bad_day(few, 10), CascadeRules(fund_usd=1.0), threads=2)
    imported = peak_memory()
    people = generate_population(accounts, ASSETS, SEED)
    generated = peak_memory()
    market, rules, took = bad_day(people, steps), CascadeRules(fund_usd=1e12), []
    run = None
    for _ in range(repeats):
        # The result before is let go of: a run is measured beside one result, its own.
        run = None
        begin = time.perf_counter()
        run = simulate(people, market, rules, threads=2)
        took.append(time.perf_counter() - begin)
    assert run is not None
    return Alone(tuple(took), people.nbytes, imported, generated, peak_memory(),
                 int(run.rounds.sum()), run.evaluations, float(run.hit.mean()))  # fmt: skip


def simulation(steps: int, scale: Scale) -> list[Measure]:
    """Time whole runs on two threads, and what they take of memory, in a process of their own."""
    n = scale.accounts
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=fresh) as pool:
        found = pool.submit(alone, n, steps, min(3, scale.repeats)).result()
    best = min(found.seconds)
    detail = (
        f"{n:,} accounts × {ASSETS} assets × {steps} steps, two threads, all outputs; "
        f"{found.rounds:,} rounds, {number(found.evaluations / n)} measurements an account, "
        f"{found.hit:.0%} of accounts hit, {number(n * steps / best / 1e6)} million account-steps "
        "a second; best run"
    )
    memory = (
        "peak of a process of its own from its first byte on, in which the population is made and "
        f"run: {number(found.imported / 1e6)} MB imports and compiled code, "
        f"{number(found.generated / 1e6)} MB when the population is made, whose columns are "
        f"{number(found.columns / 1e6)} MB"
    )
    return [
        target("cascade-run", best, detail, low=best, high=max(found.seconds)),
        target("cascade-memory", found.peak / 1e6, memory),
    ]


#: Runs of the study by scale; only the full one is all of it.
PATHS = {"tiny": 2, "quick": 20, "full": 1_000}


def paths(steps: int, scale: Scale) -> Measure:
    """Time a Monte Carlo study of a small population on two processes, as a user runs it."""
    accounts, many = min(10_000, scale.accounts), PATHS[scale.name]
    # As many rounds a step as a scenario has that says nothing of them: the shipped one has two.
    rounds = type(load_scenario("crash").rules)().rounds
    changes = {"population.accounts": accounts, "clock.steps": steps, "rules.rounds": rounds}
    scenario = with_changes(load_scenario("crash"), changes)

    def study(runs: int) -> tuple[float, float, Study]:
        plan = Plan(scenario=scenario, variants=[Variant(label="as it is")],
                    seeds=seeds_of(1, runs))  # fmt: skip
        begin, before = time.perf_counter(), os.times()
        done = run_study(plan, workers=2)
        after = os.times()
        cpu = after.children_user + after.children_system
        return (time.perf_counter() - begin,
                cpu - before.children_user - before.children_system, done)  # fmt: skip

    start, _, _ = study(2)
    took, cpu, done = study(many)
    played = np.mean([r.outcome.rounds for r in done.records])
    hit = np.mean([r.outcome.account_share for r in done.records])
    whole = took if many == 1_000 else start + (took - start) * (1_000 - 2) / max(many - 2, 1)
    how = "run as one study" if many == 1_000 else f"reckoned from {many} of them"
    detail = (
        f"run_study of the scenario crash with {accounts:,} accounts × 4 assets × {steps} steps, "
        f"two worker processes, their start counted ({number(start)} s with two runs); {how}; "
        f"at most {rounds} rounds a step, {number(float(played))} a path, {hit:.0%} of accounts "
        f"hit, {number(cpu / many)} s of processor time a path"
    )
    return target("cascade-paths", whole / 60, detail)
