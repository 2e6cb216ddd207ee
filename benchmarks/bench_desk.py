"""A desk's questions on one account of 200 positions: what-if, explain, stress, margin path.

What-if answers are held to 20 ms warm (issue 7); the account evaluated from its file in the same
run is what they would cost without being warm.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

from benchmarks.bench_account import build_account, build_market
from benchmarks.harness import Measure, Scale, Spread, interleaved
from crossmargin.analytics import (
    Add,
    Moment,
    Remove,
    WhatIf,
    explain_change,
    margin_path,
    run_stress,
    stress_library,
)
from crossmargin.book import book_from_accounts
from crossmargin.margin import Trade, evaluate, load_ruleset

#: Warm answer on a 200-position account, milliseconds: issue 7.
LINE_MS = 20.0


def run(scale: Scale) -> list[Measure]:
    """Measure each question beside the evaluation of the account from its file."""
    snapshot, names = build_market()
    rules = load_ruleset("deribit-pm-cross")
    account = build_account(names, 200)
    held = [row.instrument for row in account.positions]
    others = itertools.cycle([n for n in names if n not in set(held) and n.endswith(("-C", "-P"))])
    warm, cold = WhatIf(account, snapshot, rules), WhatIf(account, snapshot, rules)
    legs = [Trade(instrument=n, quantity=1.0) for n in names[10:400:39]][:10]
    now = Moment(account=account, market=snapshot, ruleset=rules)
    moved = replace(
        snapshot,
        assets={
            k: replace(v, price_usd=v.price_usd * (0.97 if k != "USDC" else 1.0))
            for k, v in snapshot.assets.items()
        },
    )
    then = Moment(account=account, market=moved, ruleset=rules)
    turn = itertools.cycle(range(100))

    def ask_held() -> object:
        k = next(turn)
        return warm.ask([Remove(instrument=held[k]), Add(instrument=held[-k - 1], quantity=0.5)])

    def ask_new() -> object:
        return cold.ask([Add(instrument=next(others), quantity=1.0)])

    quick: dict[str, Callable[[], object]] = {
        "from its file": lambda: evaluate(book_from_accounts([account]), snapshot, rules),
        "what-if, legs held": ask_held,
        "what-if, a leg that is new": ask_new,
    }
    slow: dict[str, Callable[[], object]] = {
        "margin path of 10 legs, 1,024 sets": lambda: margin_path(account, snapshot, rules, legs),
        "explain, 64 revaluations": lambda: explain_change(then, now),
        "stress, the whole library": lambda: run_stress(account, snapshot, rules, stress_library()),
    }
    times = interleaved(quick, scale) | interleaved(slow, replace(scale, repeats=3))
    out = []
    for name, timing in times.items():
        spread = Spread.of([1e3 * s for s in timing.seconds])
        line = LINE_MS if name.startswith("what-if") else None
        note = "deribit-pm-cross"
        if name in quick:
            note += f"; {timing.over(times['from its file'])}× the account from its file"
        title = f"account of 200, {name}"
        out.append(
            Measure(
                title, line, None, None, spread.median, "ms", note, spread.low, spread.high, "lower"
            )
        )
    return out
