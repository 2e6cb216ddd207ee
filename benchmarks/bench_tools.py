"""One account of ten positions with the tools that a user would pick, one call after another.

Most of what separates these from a book at once is that they share nothing between accounts; the
fair comparison for a venue is the row "shared table by QuantLib".
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from benchmarks.harness import Measure, Scale, interleaved, number, report, slower_row
from benchmarks.problem import chain_table, make_chain, make_problem
from benchmarks.rivals import NotInstalledError, nautilus_margin, quantlib_loop

POSITIONS, SCENARIOS = 10, 32
# Of the forward: QuantLib and ours both err by a few 1e-15 of it, and a profit is a difference.
AGREE = 1e-13


def run(scale: Scale) -> list[Measure]:
    """Measure single accounts, then the table that accounts share."""
    calls = 50 if scale.name == "tiny" else 2_000
    return [*single(calls), *shared(scale)]


def percentiles(call: Callable[[int], object], calls: int) -> tuple[float, float]:
    """Return p50 and p99 of single calls, microseconds."""
    times = np.empty(calls)
    for i in range(min(calls, 20)):
        call(i)
    for i in range(calls):
        begin = time.perf_counter_ns()
        call(i)
        times[i] = (time.perf_counter_ns() - begin) / 1e3
    return float(np.percentile(times, 50)), float(np.percentile(times, 99))


def row(title: str, call: Callable[[int], object], calls: int, detail: str) -> Measure:
    """Time single calls; the row's range ends at p99."""
    p50, p99 = percentiles(call, calls)
    return report(
        title, p50, "µs", f"{detail}; p99 {number(p99)} µs, {calls:,} calls", low=None, high=p99
    )


def single(calls: int) -> list[Measure]:
    """Time one account after another, random accounts."""
    chain = make_chain(scenarios=SCENARIOS)
    table = chain_table(chain)()
    book = make_problem(2_000, scenarios=1, instruments=chain.strike.size)
    index = book.code.astype(np.intp).reshape(-1, POSITIONS)
    quantity = book.quantity.reshape(-1, POSITIONS)
    rows = [
        row(
            "one account: numpy q @ P[idx] on a shared table",
            lambda i: (quantity[i % 2_000] @ table[index[i % 2_000]]).min(),
            calls,
            "32 scenarios, the table given",
        )
    ]
    title = "one account: QuantLib blackFormula loop"
    try:
        accounts = [quantlib_loop.prices(chain, index[i]) for i in range(20)]
    except NotInstalledError as error:
        rows.append(report(title, None, "µs", str(error)))
    else:
        hold_quantlib(accounts[0](), table[index[0]], chain.forward[index[0]])
        rows.append(
            row(
                title,
                lambda i: (quantity[i % 20] @ accounts[i % 20]()).min(),
                max(50, calls // 10),
                f"{POSITIONS} × {SCENARIOS} scenarios repriced afresh",
            )
        )
    title = "one account: NautilusTrader MarginAccount, init + maintenance of 10 positions"
    try:
        margin = nautilus_margin.ten_positions(POSITIONS)
    except NotInstalledError as error:
        rows.append(report(title, None, "µs", str(error)))
    else:
        note = "rate × notional of each position: no scenarios, no netting, so not the same number"
        rows.append(row(title, lambda _: margin(), calls, note))
    return rows


def hold_quantlib(theirs: np.ndarray, ours: np.ndarray, forward: np.ndarray) -> None:
    """Stop when QuantLib's profits are not ours."""
    worst = float(np.max(np.abs(theirs - ours) / forward[:, None]))
    assert worst <= AGREE, f"QuantLib's profits differ from ours by {worst:.2g} of the forward"


def shared(scale: Scale) -> list[Measure]:
    """Fill the table that all accounts share: QuantLib's loop against the compiled kernel."""
    title = "shared table of 1,500 options × 32 scenarios: QuantLib loop slower than ours by"
    chain = make_chain(scenarios=SCENARIOS)
    every = np.arange(chain.strike.size)
    try:
        theirs = quantlib_loop.prices(chain, every)
    except NotInstalledError as error:
        return [report(title, None, "x", str(error))]
    ours = chain_table(chain)
    hold_quantlib(theirs(), ours(), chain.forward)
    times = interleaved({"ours": ours, "theirs": theirs}, scale)
    return [
        slower_row(
            title,
            times["theirs"],
            times["ours"],
            f"QuantLib {number(times['theirs'].median * 1e3)} ms, ours "
            f"{number(times['ours'].median * 1e3)} ms (one thread, base prices given); what comes "
            "after it costs both the same with numpy, or a kernel's time with ours",
        )
    ]
