"""A large book in one pass, where the rule-set and the market allow it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from crossmargin.book import CompactBook
from crossmargin.errors import CrossmarginError
from crossmargin.margin._exact_sum import ExactSums
from crossmargin.margin._faults import not_a_number
from crossmargin.margin._shared import SharedMarket
from crossmargin.margin.at_scale import (
    EQUITY,
    EQUITY_IM,
    HEALTH,
    IM,
    MM,
    PROTECTED,
    BookColumns,
    columns_of,
    evaluate_chunk,
)
from crossmargin.margin.fused import (
    NotFusable,
    Reasons,
    compile_program,
    holdings_of,
    left_out,
    protected_accounts,
    run_program,
)
from crossmargin.margin.ruleset import Ruleset
from crossmargin.market import Snapshot

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Accounts in a chunk of those that the fused kernel leaves.
_APART = 4_096

__all__ = ["NotFusable", "evaluate_fused"]


def evaluate_fused(
    book: CompactBook,
    snapshot: Snapshot,
    ruleset: Ruleset,
    threads: int,
    progress: Callable[[int, int], None] | None,
    catalogue: CompactBook,
) -> BookColumns:
    """Evaluate regular accounts in one pass, and the others stage by stage.

    Raises
    ------
    NotFusable
        When the rule-set or the market needs the stages.
    """
    if ruleset.by_owner:
        raise NotFusable("an owner is charged for all accounts together")
    program = compile_program(
        book.registry, snapshot, ruleset, catalogue.instruments_used(), catalogue.assets_used()
    )
    holdings = holdings_of(book, program)

    def report(done: int, _: int) -> None:
        if progress is not None:
            progress(done, book.size)

    found = run_program(program, holdings, threads=threads, totals=True, progress=report)
    columns = np.full((6, book.size), np.nan)
    regular = columns[:, : book.regular]
    for row, values in zip(
        (EQUITY, EQUITY_IM, IM, MM, HEALTH),
        (found.equity, found.equity_im, found.im, found.mm, found.health),
    ):
        regular[row] = values
    regular[PROTECTED] = protected_accounts(program, holdings)
    unknown = ~np.isfinite(found.equity_im + found.im + found.mm + found.equity)
    bad = unknown | found.over
    totals = ExactSums()
    factors = {spec.name for spec in ruleset.data.components if spec.dimensionless}
    for name, (im, mm) in found.parts.items():
        if name in factors:
            continue
        totals.add(name, 0, im)
        totals.add(name, 1, mm)
    regular[:, bad] = np.nan
    account, code, apart = left_out(program, holdings, bad)
    more = _apart(book, snapshot, ruleset, apart, columns, totals, catalogue)
    failures = Reasons(book.name, account, code, program.bad, more)
    return columns_of(columns, failures, totals, "fused")


def _apart(
    book: CompactBook,
    snapshot: Snapshot,
    ruleset: Ruleset,
    apart: Ints,
    columns: Floats,
    totals: ExactSums,
    catalogue: CompactBook,
) -> dict[int, CrossmarginError]:
    """Evaluate some regular accounts and the rest of a book stage by stage, into `columns`.

    Returns
    -------
    dict of int to CrossmarginError
        By account: why it could not be computed.
    """
    failures: dict[int, CrossmarginError] = {}
    if not apart.size and book.rest is None:
        return failures
    shared = SharedMarket(catalogue, snapshot, ruleset)
    pieces = [
        (apart[first : first + _APART], book.take(apart[first : first + _APART]))
        for first in range(0, apart.size, _APART)
    ]
    if book.rest is not None:
        pieces.append((np.arange(book.regular, book.size), book.rest))
    for numbers, part in pieces:
        outcome = evaluate_chunk(0, part, shared)
        columns[:, numbers] = outcome.columns
        failures |= {int(numbers[row]): error for row, error in outcome.failures.items()}
        totals.merge(outcome.totals)
    for account in apart[~np.isfinite(columns[MM, apart])].tolist():
        # Figures that are not numbers pass through the stages as such.
        if account not in failures:
            columns[:, account] = np.nan
            failures[account] = not_a_number(book.name(account))
    return failures
