"""Every rule-set of the catalogue over a large book: what an account costs, and by which way.

Where a rule-set goes through the fused pass, the vectorised stages are timed beside it; where a
stage cannot be fused, the row says what the stages cost, and which of them cost most. Both are held
to the engine for small books before they are timed (``benchmarks.equality`` holds all accounts of
a large book to plain loops).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from benchmarks.harness import Measure, Scale, interleaved, number, report
from benchmarks.ruleset_worlds import WORLDS, rules, world
from benchmarks.stage_times import shares, stage_times
from crossmargin.book import CompactBook
from crossmargin.instruments import Option
from crossmargin.margin import Ruleset
from crossmargin.margin.at_scale import BookColumns, evaluate_compact
from crossmargin.margin.batch import evaluate_book
from crossmargin.market import Snapshot

SAMPLE = 1_000
#: Rule-sets whose stages are timed with accounts that cannot be computed.
BROKEN = ("deribit-sm", "derive-pm2", "span")
#: Of the larger of an account's equity and requirement.
EQUAL = 1e-12


def run(scale: Scale) -> list[Measure]:
    """Measure all rule-sets on books of at most 100,000 accounts."""
    accounts = scale.at_most(100_000 if scale.name == "full" else 20_000)
    return [one(name, accounts, scale) for name in sorted(WORLDS)] + [
        broken(name, accounts, scale) for name in BROKEN
    ]


def one(name: str, accounts: int, scale: Scale) -> Measure:
    """Measure one rule-set from book and market to columns, all set-up counted."""
    book, snapshot = world(name, accounts)
    ruleset = rules(name)
    off = hold(name, ruleset, min(SAMPLE, accounts))

    def way(engine: str) -> Callable[[], BookColumns]:
        return lambda: evaluate_compact(book, snapshot, ruleset, engine=engine)  # type: ignore[arg-type]

    first = way("auto")()
    ways = {"auto": way("auto")}
    if first.engine == "fused":
        ways["vectorised"] = way("vectorised")
    few = replace(scale, repeats=min(scale.repeats, 5), budget_s=min(scale.budget_s, 6.0))
    times = interleaved(ways, few)
    each = 1e6 / accounts
    mine = times["auto"]
    detail = (
        f"{accounts:,} accounts × {number(book.positions / accounts)}, {first.engine}, "
        f"{number(accounts / mine.median / 1e6)} M accounts/s, {len(first.failures):,} refused; "
        f"largest difference from the engine for small books {off:.1e}"
    )
    detail += f"; stages: {where(book, snapshot, ruleset)}"
    if "vectorised" in times:
        detail += f"; the vectorised stages take {times['vectorised'].over(mine)}× the time"
    return report(
        f"{name}: book to columns",
        mine.median * each,
        "µs/account",
        detail,
        low=mine.low * each,
        high=mine.high * each,
    )


def where(book: CompactBook, snapshot: Snapshot, ruleset: Ruleset) -> str:
    """Say which stages of the vectorised engine take most of its time."""
    start = time.perf_counter()
    with stage_times() as spent:
        evaluate_compact(book, snapshot, ruleset, engine="vectorised")
    return shares(spent, time.perf_counter() - start)


def broken(name: str, accounts: int, scale: Scale) -> Measure:
    """Measure a book of which a tenth of the accounts hold contracts that have no price."""
    book, snapshot = world(name, accounts)
    ruleset = rules(name)
    holes = without_prices(book, snapshot)
    few = replace(scale, repeats=min(scale.repeats, 7), budget_s=min(scale.budget_s, 6.0))
    times = interleaved(
        {
            "clean": lambda: evaluate_compact(book, snapshot, ruleset, engine="vectorised"),
            "broken": lambda: evaluate_compact(book, holes, ruleset, engine="vectorised"),
        },
        few,
    )
    refused = len(evaluate_compact(book, holes, ruleset, engine="vectorised").failures)
    ratio = times["broken"].over(times["clean"])
    return report(
        f"{name}: stages, a tenth of the accounts without a price, against all in order",
        ratio.median,
        "x",
        f"{accounts:,} accounts, {refused:,} refused with a reason each",
        low=ratio.low,
        high=ratio.high,
    )


def without_prices(book: CompactBook, snapshot: Snapshot) -> Snapshot:
    """Take volatilities away, expiry by expiry, until a tenth of the accounts miss one."""
    registry = book.registry
    account = np.repeat(np.arange(book.regular), np.diff(book.position_start))
    surfaces, touched = dict(snapshot.surfaces), np.zeros(book.regular, dtype=np.bool_)
    for key in sorted(surfaces, key=lambda key: -key[1]):
        if touched.sum() >= 0.1 * book.regular:
            break
        del surfaces[key]
        gone = np.array(
            [isinstance(i, Option) and (i.underlying, i.expiry_ns) == key for i in registry]
        )
        touched[account[gone[book.position_instrument]]] = True
    return replace(snapshot, surfaces=surfaces)


def hold(name: str, ruleset: Ruleset, accounts: int) -> float:
    """Return the greatest relative difference from the engine for small books; stop if large."""
    book, snapshot = world(name, accounts)
    fast, slow = columns(book, snapshot, ruleset)
    size = np.maximum(np.abs(slow[0]), np.abs(slow[2]))
    off = np.abs(fast - slow) / np.maximum(size, 1.0)
    assert np.array_equal(np.isnan(fast), np.isnan(slow)), f"{name}: other accounts are refused"
    worst = float(np.nanmax(off, initial=0.0))
    assert worst <= EQUAL, f"{name}: differs from the engine for small books by {worst:.2g}"
    return worst


def columns(
    book: CompactBook, snapshot: Snapshot, ruleset: Ruleset
) -> tuple[np.ndarray, np.ndarray]:
    """Return equity at both levels, IM and MM at scale and as the engine for small books."""
    at_scale = evaluate_compact(book, snapshot, ruleset)
    small = evaluate_book(book.accounts(0, book.size), snapshot, ruleset)
    names = ("equity", "equity_im", "im", "mm")
    return (
        np.array([getattr(at_scale, name) for name in names]),
        np.array([getattr(small, name) for name in names]),
    )
