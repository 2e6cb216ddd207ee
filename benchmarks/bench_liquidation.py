"""A whole book sized in one tick, beside one account after another and a loop in plain Python.

The loop is the closed form written as one would write it first; all three are compared on the same
accounts before they are timed.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.harness import Measure, Scale, interleaved, number, report
from crossmargin.liquidation import (
    ClosingCost,
    Line,
    LinearBook,
    Trial,
    linear_account,
    linear_book,
    reduce,
    reduce_book,
)

COST = 0.001
#: Accounts that go one by one: what one of them takes does not depend on how many there are.
SINGLE = 200


def book_of(accounts: int, seed: int = 1) -> LinearBook:
    """Draw accounts of one to nineteen legs, half of them below their line."""
    draw = np.random.default_rng(seed)
    count = draw.integers(1, 20, accounts)
    start = np.concatenate([[0], np.cumsum(count)])
    legs = int(start[-1])
    notional = np.exp(draw.normal(9.0, 1.5, legs))
    rate = draw.choice([0.004, 0.01, 0.025, 0.05], legs)
    mm = np.add.reduceat(notional * rate, start[:-1])
    return linear_book(start, notional, rate, mm * draw.uniform(0.5, 1.5, accounts))


def plain_loop(book: LinearBook) -> list[float]:
    """Size every account in proportion, leg by leg, without arrays."""
    starts, notional, rate = book.start.tolist(), book.notional.tolist(), book.rate.tolist()
    shares = []
    for row, equity in enumerate(book.equity.tolist()):
        mm = relief = 0.0
        for leg in range(starts[row], starts[row + 1]):
            mm += rate[leg] * notional[leg]
            relief += (rate[leg] - COST) * notional[leg]
        short = mm - equity
        share = 0.0 if short <= 0 else min(1.0, short / relief) if relief > 0 else 1.0
        shares.append(share)
    return shares


def one_by_one(book: LinearBook, accounts: int) -> list[float]:
    """Size the first accounts by the general solver, and return each one's share."""
    shares = []
    for row in range(accounts):
        mine = slice(int(book.start[row]), int(book.start[row + 1]))
        account = linear_account(
            quantity=book.notional[mine] / 100.0,
            mark=100.0,
            rate=book.rate[mine],
            equity=float(book.equity[row]),
        )
        found = reduce(Trial(account, Line(), ClosingCost(fee_rate=COST)), "proportional")
        shares.append(float(found.closed[0] / abs(account.legs[0].quantity)))
    return shares


def run(scale: Scale) -> list[Measure]:
    """Hold the three equal, then time them in one loop."""
    accounts = scale.at_most(100_000)
    single = min(SINGLE, accounts)
    book = book_of(accounts)
    tick = reduce_book(book, "proportional", cost_rate=COST)
    first = tick.share[book.start[:-1]]
    np.testing.assert_allclose(first, plain_loop(book), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(first[:single], one_by_one(book, single), rtol=1e-8, atol=1e-9)
    calls: dict[str, tuple[int, Callable[[], object]]] = {
        "in proportion": (
            accounts,
            lambda: reduce_book(book, "proportional", cost_rate=COST),
        ),
        "riskiest first": (
            accounts,
            lambda: reduce_book(book, "riskiest-first", cost_rate=COST),
        ),
        "plain Python loop, in proportion": (accounts, lambda: plain_loop(book)),
        "general solver, in proportion": (single, lambda: one_by_one(book, single)),
    }
    times = interleaved({name: call for name, (_, call) in calls.items()}, scale)
    rows = []
    for name, (count, _) in calls.items():
        each = 1e9 / count
        ratio = times[name].over(times["in proportion"], accounts / count)
        took = number(times[name].median * 1e3)
        rows.append(
            report(
                f"liquidation of a book in one tick: {name}",
                times[name].median * each,
                "ns/account",
                f"{took} ms for {count:,} accounts of 10 legs on average, half in breach; "
                f"{ratio}× the time of the first an account",
                low=times[name].low * each,
                high=times[name].high * each,
            )
        )
    return rows
