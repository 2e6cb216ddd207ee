"""The live book: ticks of one underlying against computing the whole book, edits, what it takes.

A tick is timed from the price to the last account flagged: rows of the table at the new price,
records of the holders, sums of their pots, comparison with where they stood. *Full* is the one pass
over all accounts at a price already compiled (`run_program`): the rival pays for no table. Both
are timed alternately in one loop. Every holder is computed at every tick here; skipping those
that cannot have crossed a line is another benchmark (trigger prices).
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable

import numpy as np

from benchmarks.harness import (
    Measure,
    Scale,
    Series,
    interleaved,
    number,
    ratio_row,
    report,
    target,
)
from crossmargin.book import CompactBook, generate_book
from crossmargin.margin import load_ruleset
from crossmargin.margin.fused import holdings_of, run_program
from crossmargin.margin.live import LiveBook
from crossmargin.market import Snapshot, generated_market

RULESETS = {"derive-pm2": "linear", "deribit-pm": "mixed"}
#: Ticks of which latencies are read; moves of a few basis points, as between two ticks.
TICKS = 400


def run(scale: Scale) -> list[Measure]:
    """Measure a live book of the scale's size."""
    rows: list[Measure] = []
    for rules in RULESETS:
        book, snapshot = made(rules, scale.accounts)
        with LiveBook(book, snapshot, load_ruleset(rules)) as live:
            rows += ticks(rules, live, snapshot, scale)
            if rules == "derive-pm2":
                rows += latency(live, snapshot, scale)
                rows += edits(live, scale)
                rows.append(memory(live, book))
    return rows


def made(rules: str, accounts: int) -> tuple[CompactBook, Snapshot]:
    """Return the book of a rule-set: all underlyings, or those that the rules know."""
    kind = RULESETS[rules]
    underlyings = None if kind == "linear" else ("BTC", "ETH")
    registry, snapshot = generated_market(
        seed=1, venue_kind="linear" if kind == "linear" else "mixed", underlyings=underlyings
    )
    return generate_book(accounts, seed=1, registry=registry, snapshot=snapshot), snapshot


def prices(snapshot: Snapshot, asset: str) -> Callable[[], dict[str, float]]:
    """Return a price that is another at each call, a few basis points about the market's."""
    steps = itertools.cycle(np.linspace(-5e-4, 5e-4, 23).tolist())
    return lambda: {asset: snapshot.assets[asset].price_usd * (1.0 + next(steps))}


def holders(live: LiveBook, snapshot: Snapshot) -> dict[str, float]:
    """Return the share of accounts that a tick of each underlying visits, largest first."""
    registry = live.book().registry
    names = sorted({item.underlying for item in registry})
    found = {name: live.tick(prices(snapshot, name)()).visited / live.size for name in names}
    return dict(sorted(found.items(), key=lambda one: -one[1]))


def ticks(rules: str, live: LiveBook, snapshot: Snapshot, scale: Scale) -> list[Measure]:
    """Compare ticks of each underlying with the full pass."""
    program = live.program
    assert program is not None
    holdings = holdings_of(live.book(), program)
    share = holders(live, snapshot)
    cases: dict[str, Callable[[], object]] = {"full": lambda: run_program(program, holdings)}
    for name in share:
        price = prices(snapshot, name)
        cases[name] = lambda price=price: live.tick(price())
    times = interleaved(cases, scale)
    full = times["full"]
    detail = (
        f"{rules}, {live.size:,} accounts, one thread, full pass {number(1e3 * full.median)} ms"
    )
    line = Series(
        "Tick against holders",
        rules,
        "share of accounts that hold the underlying",
        "share of the full pass",
        tuple(share.values()),
        tuple(times[name].over(full).median for name in share),
    )
    rows = []
    for name, held in share.items():
        note = f"{detail}; {name}, held by {held:.0%}: {number(1e3 * times[name].median)} ms"
        speed = full.over(times[name])
        rows.append(
            report(
                f"tick of {name} against full recompute, {rules}",
                speed.median,
                "x",
                note,
                low=speed.low,
                high=speed.high,
                better="higher",
            )
        )
    if rules != "derive-pm2":
        return rows
    most = next(iter(share))
    few = min(share, key=lambda name: abs(share[name] - 0.25))
    for key, name in (("tick-most", most), ("tick-few", few)):
        note = f"{detail}; {name}, held by {share[name]:.0%}, every holder computed"
        rows.append(ratio_row(key, full, times[name], note))
    rows.append(report("tick: time against holders", None, "x", "see the plot", series=(line,)))
    return rows


def latency(live: LiveBook, snapshot: Snapshot, scale: Scale) -> list[Measure]:
    """Times from a price to the last account flagged, underlyings in turn."""
    names = list(holders(live, snapshot))
    feeds = {name: prices(snapshot, name) for name in names}
    count = TICKS if scale.repeats > 5 else TICKS // 10
    took = []
    for k in range(count):
        price = feeds[names[k % len(names)]]()
        begin = time.perf_counter()
        live.tick(price)
        took.append(1e3 * (time.perf_counter() - begin))
    detail = (
        f"derive-pm2, {live.size:,} accounts, {count} ticks of {len(names)} underlyings in turn, "
        "one thread, every holder computed (no trigger prices)"
    )
    low, high = min(took), max(took)
    return [
        target(key, float(np.percentile(took, q)), detail, low=low, high=high)
        for key, q in (("tick-flag-p50", 50), ("tick-flag-p99", 99))
    ]


def edits(live: LiveBook, scale: Scale) -> list[Measure]:
    """Times of fills and deposits of random accounts, and of a change of volatility."""
    rng = np.random.default_rng(3)
    accounts = rng.integers(0, live.size, 2_000).tolist()
    chosen = itertools.cycle(accounts)
    perpetual = "BTC_USDC-PERPETUAL"
    steps = itertools.cycle([1.001, 1.0 / 1.001])
    cases: dict[str, Callable[[], object]] = {
        "100 fills": lambda: [live.fill(next(chosen), perpetual, 0.01, 5e4) for _ in range(100)],
        "100 deposits": lambda: [live.deposit(next(chosen), "USDC", 10.0) for _ in range(100)],
        "volatility": lambda: live.vol("BTC", next(steps)),
    }
    times = interleaved(cases, scale)
    rows = []
    for name in ("fills", "deposits"):
        one = times[f"100 {name}"]
        rows.append(
            report(f"live book: {name}", 1e4 * one.median, "µs", "each, accounts at random",
                   low=1e4 * one.low, high=1e4 * one.high)
        )  # fmt: skip
    vol = times["volatility"]
    rows.append(report("live book: volatility of BTC", 1e3 * vol.median, "ms", "every holder"))
    return rows


def memory(live: LiveBook, book: CompactBook) -> Measure:
    """Bytes of an account with all caches, the narrow columns of the book beside them."""
    parts = {**live.nbytes, "book as given": book.nbytes}
    each = ", ".join(f"{name} {number(size / live.size)}" for name, size in parts.items())
    detail = f"{live.size:,} accounts; bytes: {each}; the book as given may stay on disk"
    return target("memory-caches", sum(parts.values()) / live.size, detail)
