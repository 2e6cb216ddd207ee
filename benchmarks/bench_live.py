"""The live book: ticks of one underlying against computing the whole book, edits, what it takes.

A tick is timed from the price to the last account flagged: rows of the table at the new price,
records of the holders, sums of their pots, comparison with where they stood. *Full* is the one pass
over all accounts at a price already compiled (`run_program`): the rival pays for no table. Both
are timed alternately in one loop. Ticks are taken twice: every holder computed, and with trigger
prices, where a tick looks at the accounts that it makes due. The targets are held against the
latter; what the first look at everybody costs is a row of its own.
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
                rows += edits(live, scale)
                rows += memory(live, book)
        rows += with_triggers(rules, book, snapshot, scale)
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
    if rules == "derive-pm2":
        rows.append(report("tick: time against holders", None, "x", "see the plot", series=(line,)))
    return rows


def with_triggers(rules: str, book: CompactBook, snapshot: Snapshot, scale: Scale) -> list[Measure]:
    """Time ticks of a live book with trigger prices, underlyings in turn, and the full pass."""
    few_accounts, same_market = made(rules, 500)
    # Compiled loops are not counted.
    LiveBook(few_accounts, same_market, load_ruleset(rules), triggers=True).vol("BTC", 1.0)
    begin = time.perf_counter()
    with LiveBook(book, snapshot, load_ruleset(rules)) as plain:
        program, holdings = plain.program, holdings_of(plain.book(), plain.program)
        share = holders(plain, snapshot)
    laid_out = time.perf_counter() - begin
    live = LiveBook(book, snapshot, load_ruleset(rules), triggers=True)
    took_up = time.perf_counter() - begin - laid_out
    if live.unbounded:
        return [report(f"trigger prices, {rules}", None, "", live.unbounded)]
    into = run_program(program, holdings)
    walks = {name: walk(snapshot, name, k) for k, name in enumerate(share)}
    for name in share:
        live.tick(walks[name]())
    count = TICKS if scale.repeats > 5 else TICKS // 10
    took: dict[str, list[float]] = {name: [] for name in share}
    full, looked, crossed = [], 0, 0
    for k in range(count):
        for name in share:
            price = walks[name]()
            begin = time.perf_counter()
            found = live.tick(price)
            took[name].append(time.perf_counter() - begin)
            looked += found.visited
            crossed += found.fallen.size + found.recovered.size
        if k % max(1, count // scale.repeats) == 0:
            begin = time.perf_counter()
            run_program(program, holdings, into=into)
            full.append(time.perf_counter() - begin)
    every = np.array([x for one in took.values() for x in one])
    whole = float(np.median(full))
    detail = (
        f"{rules}, {live.size:,} accounts, one thread, {every.size:,} ticks of about 5 basis "
        f"points, {len(share)} underlyings in turn, trigger prices; {number(looked / every.size)} "
        f"accounts looked at and {number(crossed / every.size)} crossings a tick; full pass "
        f"{number(1e3 * whole)} ms"
    )
    rows = [
        report(f"trigger prices: first look at everybody, {rules}", took_up - laid_out, "s",
               f"beside laying the book out, {number(laid_out)} s; one pass {number(whole)} s"),
        report(f"trigger prices: memory, {rules}", live.nbytes["triggers"] / live.size, "B/account",
               "exposures, signed codes, trigger prices and their summaries"),
    ]  # fmt: skip
    for q in (50, 99):
        value, low, high = (float(1e3 * np.percentile(every, p)) for p in (q, 0, 100))
        if rules == "derive-pm2":
            rows.append(target(f"tick-flag-p{q}", value, detail, low=low, high=high))
        else:
            name = f"tick in → last breached account flagged, {rules}, p{q}"
            rows.append(report(name, value, "ms", detail, low=low, high=high))
    most = next(iter(share))
    few = min(share, key=lambda name: abs(share[name] - 0.25))
    for key, name in (("tick-most", most), ("tick-few", few)):
        # In doubt to the rival's favour: its best time against our median one.
        ratio = min(full) / float(np.median(took[name]))
        note = f"{detail}; {name}, held by {share[name]:.0%}; best full pass over the median tick"
        if rules == "derive-pm2":
            rows.append(target(key, ratio, note))
        else:
            what = f"tick of {name} with trigger prices against full recompute, {rules}"
            rows.append(report(what, ratio, "x", note, better="higher"))
    rows.append(edited(rules, live))
    return rows


def edited(rules: str, live: LiveBook) -> Measure:
    """Time deposits of random accounts, trigger prices made anew each time."""
    took = []
    for account in np.random.default_rng(5).integers(0, live.size, 200).tolist():
        begin = time.perf_counter()
        live.deposit(account, "USDC", 10.0)
        took.append(1e6 * (time.perf_counter() - begin))
    name, note = f"trigger prices: deposits, {rules}", "each, accounts at random, watched again"
    return report(name, float(np.median(took)), "µs", note, low=min(took), high=max(took))


def walk(snapshot: Snapshot, asset: str, seed: int) -> Callable[[], dict[str, float]]:
    """Return a price that wanders by about five basis points at each call."""
    rng = np.random.default_rng(seed)
    now = [snapshot.assets[asset].price_usd]

    def step() -> dict[str, float]:
        now[0] *= float(np.exp(rng.normal() * 5e-4))
        return {asset: now[0]}

    return step


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


def memory(live: LiveBook, book: CompactBook) -> list[Measure]:
    """Bytes of an account without caches and with all of them.

    Without: the rows that computing everybody again reads (holdings, balances and entry costs in
    one). The columns that they were made from may stay on disk, so they are told beside; a live
    book with all its caches counts them, since it edits them.
    """
    program = live.program
    assert program is not None
    held = holdings_of(live.book(), program).nbytes / live.size
    bare = (
        f"{live.size:,} accounts: rows of contracts, balances and entry costs, all that computing "
        f"everybody again reads; columns mapped from disk {number(book.nbytes / live.size)}"
    )
    parts = {**live.nbytes, "book as given": book.nbytes}
    each = ", ".join(f"{name} {number(size / live.size)}" for name, size in parts.items())
    detail = f"{live.size:,} accounts; bytes: {each}; the book as given may stay on disk"
    return [
        target("memory", held, bare),
        target("memory-caches", sum(parts.values()) / live.size, detail),
    ]
