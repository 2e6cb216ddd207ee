"""Pre-trade checks on a large book: random accounts, the whole rule-set, prices arriving.

A check is timed from the call in Python to its answer. Accounts are drawn at random from all of
the book, so that what is asked about is not in a cache because it was just asked about. Prices
arrive every ten milliseconds: another thread lays the market out at the new price and puts it in
use, so that it also competes for the interpreter; *at once* rows do the same between checks, in
the thread that asks, where only the tables have gone cold.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.harness import Measure, Scale, number, report, target
from benchmarks.made import deribit, derive
from crossmargin.book import CompactBook, OrderEntry, OrderLeg, Quote, QuoteGroup
from crossmargin.margin import load_ruleset
from crossmargin.margin.live.gate import Gate, GateCheck
from crossmargin.margin.pretrade import check_order
from crossmargin.margin.ruleset import Ruleset
from crossmargin.market import Snapshot

#: Seconds between two prices.
TICK_S = 0.010
QUOTES = 1_600
ROUNDS = {"tiny": 1, "quick": 3, "full": 7}
CHECKS = {"tiny": 200, "quick": 10_000, "full": 40_000}

Leg = tuple[str, float, float]


@dataclass(frozen=True, slots=True)
class Desk:
    """A gate and questions for it, drawn beforehand."""

    rules: str
    gate: Gate
    snapshot: Snapshot
    accounts: list[int]
    legs: list[Leg]

    def prices(self) -> Iterator[dict[str, float]]:
        """Moves of a few basis points, BTC and ETH in turn, without end."""
        rng = np.random.default_rng(2)
        at = {name: self.snapshot.assets[name].price_usd for name in ("BTC", "ETH")}
        while True:
            for name in at:
                at[name] *= float(np.exp(3e-4 * rng.normal()))
                yield {name: at[name]}


def run(scale: Scale) -> list[Measure]:
    """Measure gates of the scale's size."""
    rows: list[Measure] = []
    for name, made in (("deribit-pm", deribit), ("derive-pm2", derive)):
        book, snapshot = made(scale.accounts)
        desk = opened(name, book, snapshot, CHECKS[scale.name])
        rows += arriving(desk, scale, main=name == "deribit-pm")
        rows += others(desk, scale)
        if name == "deribit-pm":
            rows += [maker(desk, scale), reference(desk, scale), gathered(desk, scale)]
    return rows


def rules_of(name: str) -> Ruleset:
    """Return the rule-set, with the house formula where its order margin is not published."""
    if name == "derive-pm2":
        return load_ruleset(name)
    return load_ruleset(name, overrides={"orders.method": "worst-fill"})


def opened(name: str, book: CompactBook, snapshot: Snapshot, checks: int) -> Desk:
    """Make a gate, and draw orders: sizes lognormal about 1,000 dollars, prices near the mark."""
    gate = Gate(book, snapshot, rules_of(name))
    rng = np.random.default_rng(1)
    names = [item.id for item in book.registry]
    picks = rng.integers(0, len(names), checks)
    accounts = rng.integers(0, gate.size, checks)
    factor = rng.uniform(0.98, 1.02, checks)
    size = rng.lognormal(7.0, 1.5, checks) * rng.choice([-1.0, 1.0], checks)
    legs: list[Leg] = []
    for k, usd, away in zip(picks.tolist(), size.tolist(), factor.tolist()):
        mark, notional = gate.mark(names[k])
        legs.append((names[k], usd / notional, mark * away))
    return Desk(name, gate, snapshot, accounts.tolist(), legs)


def timed(calls: int, ask: Callable[[int], GateCheck]) -> tuple[np.ndarray, dict[str, int]]:
    """Time calls one by one, microseconds; count the rules that decided."""
    clock = time.perf_counter_ns
    times = np.empty(calls)
    rules: dict[str, int] = {}
    for k in range(calls):
        begin = clock()
        found = ask(k)
        times[k] = clock() - begin
        rules[found.rule] = rules.get(found.rule, 0) + 1
    return times / 1e3, rules


def spread(rounds: list[np.ndarray], q: float) -> tuple[float, float, float]:
    """Median, least and greatest of a percentile over rounds."""
    values = [float(np.percentile(one, q)) for one in rounds]
    return statistics.median(values), min(values), max(values)


def single(desk: Desk) -> Callable[[int], GateCheck]:
    """Return the question about one leg."""
    check, accounts, legs = desk.gate.check, desk.accounts, desk.legs

    def ask(k: int) -> GateCheck:
        name, quantity, price = legs[k]
        return check(accounts[k], name, quantity, price)

    return ask


def arriving(desk: Desk, scale: Scale, *, main: bool) -> list[Measure]:
    """Time orders of one leg while another thread ticks."""
    ask, calls = single(desk), len(desk.accounts)
    done = threading.Event()
    took: list[float] = []

    def ticking() -> None:
        for price in desk.prices():
            begin = time.perf_counter()
            desk.gate.tick(price)
            took.append(time.perf_counter() - begin)
            if done.wait(max(0.0, TICK_S - took[-1])):
                return

    timed(min(calls, 1_000), ask)
    thread = threading.Thread(target=ticking)
    thread.start()
    try:
        rounds = [timed(calls, ask) for _ in range(ROUNDS[scale.name])]
    finally:
        done.set()
        thread.join()
    times = [one for one, _ in rounds]
    decided = ", ".join(f"{n:,} {rule}" for rule, n in sorted(rounds[0][1].items()))
    thousandth = spread(times, 99.9)[0]
    detail = (
        f"{desk.rules}, {desk.gate.size:,} accounts at random, orders of one leg ({decided}); a "
        f"price every {1e3 * TICK_S:.0f} ms from another thread, "
        f"{1e3 * statistics.median(took):.2f} ms to lay out; p99.9 {number(thousandth)} µs; "
        f"{calls:,} checks a round; collector on"
    )
    rows = []
    for q, key in ((50, "pretrade-p50"), (99, "pretrade-p99")):
        value, low, high = spread(times, q)
        if main:
            rows.append(target(key, value, detail, low=low, high=high))
        else:
            name = f"pre-trade check, {desk.rules}, ticks arriving, p{q}"
            rows.append(report(name, value, "µs", detail, low=low, high=high))
    return rows


def others(desk: Desk, scale: Scale) -> list[Measure]:
    """Time other questions, and checks without and between ticks in one thread."""
    gate, accounts, legs = desk.gate, desk.accounts, desk.legs
    calls = len(accounts)
    four = [[legs[(k + j) % calls] for j in range(4)] for k in range(calls)]
    prices = desk.prices()
    tick = [gate.prepare(next(prices)) for _ in range(8)]
    ask = single(desk)

    def among(k: int) -> GateCheck:
        return gate.check_order(accounts[k], four[k])

    rows = []
    for title, question, every in (
        ("market at rest", ask, 0),
        ("a new market every 500 checks, same thread", ask, 500),
        ("order of four legs", among, 0),
    ):
        rounds = []
        for _ in range(ROUNDS[scale.name]):
            if every:
                parts = []
                for first in range(0, calls, every):
                    gate.swap(tick[first // every % len(tick)])
                    size = min(every, calls - first)
                    parts.append(timed(size, lambda k, f=first, ask=question: ask(f + k))[0])
                rounds.append(np.concatenate(parts))
            else:
                rounds.append(timed(calls, question)[0])
        rows.append(row(f"pre-trade check, {desk.rules}: {title}", rounds, f"{calls:,} checks"))
    return rows


def row(title: str, rounds: list[np.ndarray], detail: str) -> Measure:
    """Make a row of a median, with its tail in words."""
    value, low, _ = spread(rounds, 50)
    p99, _, _ = spread(rounds, 99)
    tail = f"{detail}; p99 {number(p99)} µs, p99.9 {number(spread(rounds, 99.9)[0])} µs"
    return report(title, value, "µs", tail, low=low, high=p99)


def maker(desk: Desk, scale: Scale) -> Measure:
    """Time changes of quotes of an account with 1,600 of them, in a market that moves."""
    gate = desk.gate
    names = [name for name, _, _ in desk.legs[: QUOTES // 2]]
    quotes = []
    for name in names:
        mark, notional = gate.mark(name)
        size = 200.0 / notional
        quotes.append(
            Quote(
                instrument=name, bid_quantity=size, bid_price=0.99 * mark, ask_quantity=size,
                ask_price=1.01 * mark,
            )
        )  # fmt: skip
    account = desk.accounts[0]
    gate.deposit(account, "USDC", 1e6)
    gate.quote(account, QuoteGroup(id="mm", quotes=quotes))
    prices = desk.prices()
    tick = [gate.prepare(next(prices)) for _ in range(8)]
    calls = min(len(desk.legs), 5_000)
    changes = [
        (f"mm/{k % len(quotes)}/bid", float(quotes[k % len(quotes)].bid_quantity) * 2.0, None)
        for k in range(calls)
    ]
    first: list[float] = []
    rounds = []
    for _ in range(ROUNDS[scale.name]):
        parts = []
        for begin in range(0, calls, 500):
            gate.swap(tick[begin // 500 % len(tick)])
            size = min(500, calls - begin)
            times, _ = timed(size, lambda k, f=begin: gate.check_quotes(account, [changes[f + k]]))
            first.append(float(times[0]))
            parts.append(times)
        rounds.append(np.concatenate(parts))
    freshen = []
    for k in range(20):
        gate.swap(tick[k % len(tick)])
        begin_ns = time.perf_counter_ns()
        gate.freshen([account])
        freshen.append((time.perf_counter_ns() - begin_ns) / 1e3)
    detail = (
        f"{desk.rules}, one bid of {2 * len(quotes):,} quotes doubled, a new market every 500 "
        f"checks; the first check in a new market {number(statistics.median(first))} µs, of which "
        f"summing all quotes {number(statistics.median(freshen))} µs (off the path with freshen)"
    )
    return row("pre-trade check, change of a quote beside 1,600", rounds, detail)


def reference(desk: Desk, scale: Scale) -> Measure:
    """Time the reference engine on the same questions, and see that it decides the same."""
    gate = desk.gate
    market = gate.market()
    times, ours = [], []
    for k in range(3 if scale.name == "tiny" else 25):
        name, quantity, price = desk.legs[k]
        file = gate.account_file(desk.accounts[k])
        leg = OrderLeg(instrument=name, quantity=quantity, price=price)
        begin = time.perf_counter_ns()
        slow = check_order(file, market, gate.ruleset, OrderEntry(id="asked", legs=[leg]))
        times.append((time.perf_counter_ns() - begin) / 1e3)
        begin = time.perf_counter_ns()
        quick = gate.check(desk.accounts[k], name, quantity, price)
        ours.append((time.perf_counter_ns() - begin) / 1e3)
        scale_usd = max(1.0, abs(slow.equity_usd), abs(slow.im_after_usd))
        if quick.rule != slow.rule or abs(quick.excess_usd - slow.excess_usd) > 1e-9 * scale_usd:
            raise AssertionError(f"{quick} is not {slow}")
    p50, q50 = statistics.median(times), statistics.median(ours)
    return report(
        "pre-trade check: the reference engine over the gate",
        p50 / q50,
        "x",
        f"{desk.rules}, {len(times)} questions, same decisions; reference p50 {number(p50)} µs",
        better="higher",
    )


def gathered(desk: Desk, scale: Scale) -> Measure:
    """Time the least that NumPy needs for one account: gather its rows, contract, take the worst.

    Scenario profit of the account with the order, nothing else: no equity, no components, no
    combination, no rule.
    """
    gate = desk.gate
    table, rows = gate.scenario_table(), [gate.rows_of(a) for a in desk.accounts[:2_000]]
    codes = [np.append(c, gate.code(leg[0])) for (c, _), leg in zip(rows, desk.legs)]
    sizes = [np.append(q, leg[1]) for (_, q), leg in zip(rows, desk.legs)]
    clock = time.perf_counter_ns
    rounds = []
    for _ in range(ROUNDS[scale.name]):
        times = np.empty(len(codes))
        for k, (code, quantity) in enumerate(zip(codes, sizes)):
            begin = clock()
            (quantity @ table[code]).min()
            times[k] = clock() - begin
        rounds.append(times / 1e3)
    return row(
        "one account with an order: numpy q @ P[idx], worst of the grid alone", rounds,
        f"{desk.rules}, {len(codes):,} accounts; no equity, charges, shares or rule",
    )  # fmt: skip
