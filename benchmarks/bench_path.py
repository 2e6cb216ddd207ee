"""Price paths with trigger prices, against computing every account at every step.

*Brute* is the one pass over all accounts in a market already compiled (`run_program`): it pays
for no table. *Path* is everything `replay` does, from the program and the holdings on: describing
the table as a function of prices and holding that against the engine, finding pots and exposures,
everybody's first trigger prices, and all steps. Crossings are compared with computing everybody,
at every step where the book is small enough, else at some; there in the markets compiled anew.
"""

from __future__ import annotations

import time
from functools import cache

import numpy as np

from benchmarks.harness import Measure, Scale, Timing, number, report, target
from crossmargin.book import generate_book
from crossmargin.margin import load_ruleset
from crossmargin.margin.fused import Holdings, Program, compile_program, holdings_of, run_program
from crossmargin.margin.live.path import Crossings, replay, replay_every_step
from crossmargin.market import generated_market

RULESETS = {"derive-pm2": "linear", "deribit-pm": "mixed", "deribit-pm-cross": "mixed"}
STEPS = 300
#: Every step is compared up to so many accounts, a few steps of a larger book.
EVERY_STEP = 20_000


def run(scale: Scale) -> list[Measure]:
    """Measure paths of the scale's book."""
    rows: list[Measure] = []
    for rules in RULESETS:
        program, holdings = made(rules, scale.accounts)
        rows += path_of_one(rules, program, holdings, scale)
        if rules == "derive-pm2":
            rows += path_of_all(rules, program, holdings, scale)
        made.cache_clear()
    return rows


@cache
def made(rules: str, accounts: int) -> tuple[Program, Holdings]:
    """Return a book compiled and laid out: ten underlyings, or those that the rules know."""
    kind = RULESETS[rules]
    underlyings = None if kind == "linear" else ("BTC", "ETH")
    registry, snapshot = generated_market(
        seed=1, venue_kind="linear" if kind == "linear" else "mixed", underlyings=underlyings
    )
    book = generate_book(accounts, seed=1, registry=registry, snapshot=snapshot)
    program = compile_program(
        registry, snapshot, load_ruleset(rules), book.instruments_used(), book.assets_used()
    )
    return program, holdings_of(book, program)


def price(program: Program, asset: str) -> float:
    """Return the price of an asset in the program's market."""
    view = program.units.frame.view
    return float(view.asset_usd[program.registry.assets.index(asset)])


def falling(program: Program) -> dict[str, np.ndarray]:
    """Return a path on which BTC loses 35 %, with noise of a few basis points."""
    noise = np.random.default_rng(1).normal(size=STEPS) * 3e-4
    trend = np.linspace(0.0, np.log(0.65), STEPS)
    return {"BTC": price(program, "BTC") * np.exp(trend + noise)}


def wandering(program: Program) -> dict[str, np.ndarray]:
    """Return a path on which every underlying wanders, BTC down by a fifth and the rest with it."""
    rng = np.random.default_rng(2)
    taken = program.layout.group_asset
    names = [program.registry.assets[a] for a in np.unique(taken[taken >= 0])]
    common = np.linspace(0.0, np.log(0.8), STEPS) + np.cumsum(rng.normal(size=STEPS)) * 1e-3
    return {
        name: price(program, name) * np.exp(common + np.cumsum(rng.normal(size=STEPS)) * 1e-3)
        for name in names
    }


def path_of_one(rules: str, program: Program, holdings: Holdings, scale: Scale) -> list[Measure]:
    """Replay one underlying's fall."""
    path = falling(program)
    row, note = _path(rules, program, holdings, path, scale)
    if rules == "derive-pm2":
        return [target("path", row.value, note, low=row.low, high=row.high)]
    return [row]


def path_of_all(rules: str, program: Program, holdings: Holdings, scale: Scale) -> list[Measure]:
    """Replay a path on which all underlyings move."""
    row, _ = _path(rules, program, holdings, wandering(program), scale)
    return [row]


def _path(
    rules: str, program: Program, holdings: Holdings, path: dict[str, np.ndarray], scale: Scale
) -> tuple[Measure, str]:
    """Time a replay and brute steps in turn, and compare crossings."""
    found = replay(program, holdings, path)
    into = run_program(program, holdings)
    ours, brute = [], []
    for _ in range(2 if scale.repeats < 10 else 3):
        begin = time.perf_counter()
        replay(program, holdings, path)
        ours.append(time.perf_counter() - begin)
        for _ in range(3):
            begin = time.perf_counter()
            run_program(program, holdings, into=into)
            brute.append(time.perf_counter() - begin)
    step, whole = Timing(tuple(brute)), Timing(tuple(ours))
    ratios = [STEPS * step.median / x for x in ours]
    wrong, checked = differences(program, holdings, path, found)
    note = (
        f"{rules}, {holdings.size:,} accounts, {STEPS} steps of {len(path)} underlyings, one "
        f"thread: {number(whole.median)} s against {STEPS} × {number(1e3 * step.median)} ms; "
        f"{number(found.visited.sum() / holdings.size)} visits an account; {found.step.size:,} "
        f"crossings, {wrong} different from computing everybody at {checked} steps"
    )
    what = f"{STEPS}-step path of {len(path)} underlyings against brute force, {rules}"
    value = float(np.median(ratios))
    return report(what, value, "x", note, low=min(ratios), high=max(ratios), better="higher"), note


def differences(
    program: Program, holdings: Holdings, path: dict[str, np.ndarray], found: Crossings
) -> tuple[int, int]:
    """Count accounts on another side than computing everybody says, and steps looked at."""
    steps = (
        range(STEPS) if holdings.size <= EVERY_STEP else range(STEPS // 6 - 1, STEPS, STEPS // 6)
    )
    whole = replay_every_step(program, holdings, path, at=list(steps))
    wrong = sum(int((found.at(step) != whole.at(step)).sum()) for step in steps)
    return wrong, len(steps)
