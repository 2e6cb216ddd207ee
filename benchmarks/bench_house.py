"""The house model on a large book: all legs through the engine, and the shortfall alone.

The whole model is book to columns by :func:`crossmargin.margin.at_scale.evaluate_compact`, chunk by
chunk, so that its memory does not grow with the book. The shortfall alone is one of its passes
(positions × the filtered scenarios, then the mean of the tail) by the compiled tail kernel; it is
held to NumPy first.
"""

from __future__ import annotations

import time

import numpy as np

from benchmarks.harness import Measure, Scale, interleaved, number, peak_memory, report
from benchmarks.ruleset_worlds import rules, world
from crossmargin.book import CompactBook
from crossmargin.margin import HousePortfolio, house_margin_path
from crossmargin.margin._faults import Faults
from crossmargin.margin._shared import SharedMarket
from crossmargin.margin._tail_rows import spec_of, tail_units
from crossmargin.margin.at_scale import evaluate_compact
from crossmargin.margin.kernels._layout import check_rows, grid_table
from crossmargin.margin.kernels.tail import tail_means, tail_means_reference
from crossmargin.market import Snapshot

PORTFOLIOS = 20
DAYS = {"tiny": 10, "quick": 250, "full": 1_000}
#: The tail of the compiled kernel against that of NumPy, relative.
EQUAL = 1e-9


def run(scale: Scale) -> list[Measure]:
    """Measure all legs, the shortfall alone, and a path over days."""
    return [whole(scale), *alone(scale), path(scale)]


def whole(scale: Scale) -> Measure:
    """Measure every leg on a book, and how far memory grows with it."""
    accounts = scale.accounts
    few, snapshot = world("house", max(accounts // 4, 1))
    ruleset = rules("house")
    evaluate_compact(few, snapshot, ruleset)
    before = peak_memory()
    book, _ = world("house", accounts)
    held = peak_memory()
    start = time.perf_counter()
    done = evaluate_compact(book, snapshot, ruleset)
    took = time.perf_counter() - start
    after = peak_memory()
    spec = spec_of(ruleset)
    return report(
        "house: all legs, book to columns",
        accounts / took,
        "accounts/s",
        f"{accounts:,} accounts × {number(book.positions / accounts)}, {spec.days:,} filtered "
        f"and as many at long volatility, {spec.stress_days + 3} stressed scenarios, four broken "
        f"dependences, one thread; {len(done.failures):,} refused; most memory "
        f"{number(before / 2**20)} MiB after a quarter of the accounts, {number(held / 2**20)} MiB "
        f"with the book, {number(after / 2**20)} MiB after all",
    )


def alone(scale: Scale) -> list[Measure]:
    """Measure the shortfall of the filtered past alone, by the compiled kernel."""
    book, snapshot = world("house", scale.accounts)
    table = filtered(book, snapshot)
    rows = check_rows(
        table.shape[0], book.position_start, book.position_instrument, book.position_quantity
    )
    laid = grid_table(table)
    mine = tail_means(laid, rows, level=0.99)
    some = min(1_000, rows.accounts)
    few = check_rows(
        table.shape[0],
        book.position_start[: some + 1],
        book.position_instrument[: int(book.position_start[some])],
        book.position_quantity[: int(book.position_start[some])],
    )
    theirs = tail_means_reference(table, few, level=0.99)
    off = float(np.abs(mine.mean[:some] - theirs.mean).max() / np.abs(theirs.mean).max())
    assert off <= EQUAL, off
    times = interleaved(
        {
            "known": lambda: tail_means(laid, rows, level=0.99, last=mine),
            "fresh": lambda: tail_means(laid, rows, level=0.99),
        },
        scale,
    )
    detail = (
        f"{rows.accounts:,} accounts × {number(book.positions / rows.accounts)}, "
        f"{table.shape[1]:,} scenarios, float64, one thread; off from NumPy by {off:.0e}"
    )
    return [
        report(
            f"house: shortfall alone, {what}",
            rows.accounts / times[key].median / 1e6,
            "M accounts/s",
            detail,
            low=rows.accounts / times[key].high / 1e6,
            high=rows.accounts / times[key].low / 1e6,
        )
        for key, what in (("known", "last tail known"), ("fresh", "afresh"))
    ]


def filtered(book: CompactBook, snapshot: Snapshot) -> np.ndarray:
    """Return the model's table over its filtered scenarios, US dollars by unit of an instrument."""
    ruleset = rules("house")
    shared = SharedMarket(book, snapshot, ruleset)
    frame = shared.frame(book.accounts(0, 1), Faults(1))
    units = tail_units(frame, spec_of(ruleset))
    usd = frame.asset_usd_or_one[frame.terms.settlement.astype(np.int64)]
    size = len(book.registry)
    return np.ascontiguousarray(units.rows[:size, : units.edges[0]] * usd[:, None])


def path(scale: Scale) -> Measure:
    """Measure portfolios margined day by day over the made-up history."""
    _, snapshot = world("house", 1)
    history = snapshot.history
    assert history is not None
    rng = np.random.default_rng(5)
    coins = [c for c in ("BTC", "ETH") if c in history.coins]
    rows = [
        HousePortfolio(name=f"p{k}", coins={c: float(rng.normal()) for c in coins})
        for k in range(PORTFOLIOS)
    ]
    days = history.days[-DAYS[scale.name] :]
    start = time.perf_counter()
    found = house_margin_path(rows, history, first=days[0])
    took = time.perf_counter() - start
    return report(
        "house: path over a history",
        1e3 * took / len(found.days),
        "ms/day",
        f"{PORTFOLIOS} linear portfolios of {len(coins)} coins, {len(found.days):,} days, all legs",
    )
