"""The complete requirement of a book in one pass, against the bare kernel on the same rows.

Complete: equity, collateral value with haircuts, every component of the rule-set, initial and
maintenance margin and health of each account. Bare: each account's worst scenario of its positions'
rows, nothing else: over the same position rows and the same scenario lanes. Both write over memory
that they wrote before.
"""

from __future__ import annotations

import numpy as np

from benchmarks.harness import (
    Measure,
    Scale,
    interleaved,
    number,
    report,
    target,
    timed,
)
from benchmarks.made import RULES
from crossmargin.book import CompactBook
from crossmargin.margin import load_ruleset
from crossmargin.margin.at_scale import evaluate_compact
from crossmargin.margin.fused import Program, compile_program, holdings_of, run_program
from crossmargin.margin.fused._batch_tables import batch_tables
from crossmargin.margin.fused._run import kept_batch
from crossmargin.margin.kernels.grid import CheckedRows, GridTable, check_rows, grid_table
from crossmargin.margin.kernels.grid import worst_of_grid as bare_kernel
from crossmargin.market import Snapshot

SAMPLE = 2_000
LANES = 8
#: Of the larger of an account's equity and requirement: issue's line for fused = reference.
EQUAL = 1e-12


def run(scale: Scale) -> list[Measure]:
    """Measure the rule-sets that have a target."""
    return [row for name in RULES for row in one(name, scale)]


def bare_inputs(book: CompactBook, program: Program) -> tuple[GridTable, CheckedRows]:
    """Return the scenario lanes of the program's positions, and the book over them."""
    rows = program.table[program.layout.of_instrument, : LANES * program.nv]
    table = grid_table(np.nan_to_num(rows))
    held = check_rows(
        table.rows, book.position_start, book.position_instrument, book.position_quantity
    )
    return table, held


def worst_difference(book: CompactBook, snapshot: Snapshot, name: str) -> float:
    """Return the greatest relative difference from the stages of the engine, over a sample."""
    some = SAMPLE if book.size > SAMPLE else book.size
    part = _first(book, some)
    rules = load_ruleset(name)
    fused = evaluate_compact(part, snapshot, rules, engine="fused")
    slow = evaluate_compact(part, snapshot, rules, engine="vectorised")
    assert fused.engine == "fused" and set(fused.failures) == set(slow.failures)
    scale = np.maximum(np.abs(slow.equity), np.abs(slow.im))
    pairs = ((getattr(fused, x), getattr(slow, x)) for x in ("equity", "equity_im", "im", "mm"))
    return max(float(np.nanmax(np.abs(a - b) / scale, initial=0.0)) for a, b in pairs)


def _first(book: CompactBook, accounts: int) -> CompactBook:
    from dataclasses import replace

    p, b = int(book.position_start[accounts]), int(book.balance_start[accounts])
    return replace(
        book,
        ids=book.ids[:accounts],
        position_start=book.position_start[: accounts + 1],
        position_instrument=book.position_instrument[:p],
        position_quantity=book.position_quantity[:p],
        position_entry=book.position_entry[:p],
        balance_start=book.balance_start[: accounts + 1],
        balance_asset=book.balance_asset[:b],
        balance_amount=book.balance_amount[:b],
    )


def one(name: str, scale: Scale) -> list[Measure]:
    """Measure one rule-set."""
    book, snapshot = RULES[name](scale.accounts)
    rules = load_ruleset(name)
    off = worst_difference(book, snapshot, name)
    assert off <= EQUAL, f"{name}: the fused requirement differs from the stages by {off:.2g}"
    program = compile_program(
        book.registry, snapshot, rules, book.instruments_used(), book.assets_used()
    )
    holdings = holdings_of(book, program)
    table, held = bare_inputs(book, program)
    out = np.empty(book.size)
    memory = [run_program(program, holdings) for _ in range(2)]
    streams = kept_batch(holdings, program, batch_tables(program).roles)
    times = interleaved(
        {
            "bare": lambda: bare_kernel(table, held, out=out),
            "full": lambda: run_program(program, holdings, into=memory[0]),
            "full, two threads": lambda: run_program(program, holdings, threads=2, into=memory[1]),
            "record by record": lambda: run_program(program, holdings, batch=False, into=memory[0]),
        },
        scale,
    )
    ratio = times["full"].over(times["bare"])
    scaling = times["full"].over(times["full, two threads"])
    n, each = book.size, 1e9 / book.size
    per = f"{number(book.positions / n)} positions each (at most {longest(book)})"
    once = timed(lambda: evaluate_compact(book, snapshot, rules), scale)
    layout = timed(lambda: holdings_of(book, program), scale)
    compiled = timed(
        lambda: compile_program(
            book.registry, snapshot, rules, book.instruments_used(), book.assets_used()
        ),
        scale,
    )
    return [
        target(
            f"full-{name}",
            ratio.median,
            f"{n:,} accounts, {per}, {LANES * program.nv} lanes of scenarios, float64, one thread; "
            f"full {number(times['full'].median * each)} ns/account, bare kernel "
            f"{number(times['bare'].median * each)} over the same position rows and scenario "
            "lanes; "
            f"record by record {number(times['record by record'].median * each)}; largest "
            f"difference from the stages of the engine {off:.1e} of the account; laid out and "
            "compiled beforehand",
            low=ratio.low,
            high=ratio.high,
            steady=times["full"].steady and times["bare"].steady,
        ),
        report(
            f"full requirement, {name}: memory of what a pass reads and writes",
            (holdings.nbytes + streams.nbytes + memory[0].columns.nbytes) / n,
            "B/account",
            f"rows with quantities {number(holdings.nbytes / n)}, their two streams "
            f"{number(streams.nbytes / n)}, results {number(memory[0].columns.nbytes / n)}",
        ),
        report(
            f"full requirement, {name}: two threads faster than one by",
            scaling.median,
            "x",
            f"{n:,} accounts",
            low=scaling.low,
            high=scaling.high,
            better="higher",
        ),
        report(
            f"full requirement, {name}: book to columns, all set-up counted",
            once.median * 1e3,
            "ms",
            f"{n:,} accounts, one thread: market priced and rules compiled "
            f"{number(compiled.median * 1e3)} ms, book laid out {number(layout.median * 1e3)} ms, "
            f"the pass {number(times['full'].median * 1e3)} ms, the rest is checks, reasons and "
            "totals by component",
            low=once.low * 1e3,
            high=once.high * 1e3,
        ),
    ]


def longest(book: CompactBook) -> int:
    """Return the most positions of an account."""
    return int(np.diff(book.position_start).max())
