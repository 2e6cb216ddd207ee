"""A large book under any rule-set: chunk by chunk through the stages of the engine.

The numbers are those of :func:`crossmargin.margin.batch.evaluate_book`. What does not depend on
who holds what (prices, risk table, parameters) is worked out once for the whole book; accounts
that cannot be computed are set aside by cause, so that many of them cost little.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from crossmargin.book import Book, CompactBook, join_books, select_accounts
from crossmargin.errors import CrossmarginError, MarginError
from crossmargin.margin._exact_sum import ExactSums
from crossmargin.margin._faults import Faults
from crossmargin.margin._frame import Frame, least_by, sum_by
from crossmargin.margin._protect import protected_pots
from crossmargin.margin._shared import SharedMarket
from crossmargin.margin.batch import evaluate_book
from crossmargin.margin.engine import Requirement, equity, frame_for, maintenance, requirement
from crossmargin.margin.ruleset import Ruleset
from crossmargin.market import Snapshot

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Engine = Literal["auto", "fused", "vectorised"]

#: Columns of a chunk's outcome.
EQUITY, EQUITY_IM, IM, MM, HEALTH, PROTECTED = range(6)


@dataclass(frozen=True, slots=True, kw_only=True)
class BookColumns:
    """Requirement and equity of every account of a large book, in US dollars, in its order.

    Attributes
    ----------
    equity, equity_im, im, mm, health : float64[A]
        As in :class:`~crossmargin.margin.batch.BookResult`; NaN where it failed.
    protected : bool[A]
        Accounts that touch a price which is not trusted; False where it failed.
    failures : mapping of int to CrossmarginError
        By account, ascending: why it could not be computed.
    components : dict of str to (float, float)
        Initial (open orders in it) and maintenance requirement of each component, before they are
        combined: totals over the accounts computed. Factors of an expression are no money and
        are left out.
    engine : str
        What computed it: ``"fused"`` or ``"vectorised"``.
    sums : ExactSums
        `components` before they are rounded: those of parts of a book add up to those of the whole.
    """

    equity: Floats
    equity_im: Floats
    im: Floats
    mm: Floats
    health: Floats
    protected: NDArray[np.bool_]
    failures: Mapping[int, CrossmarginError]
    components: dict[str, tuple[float, float]]
    engine: str
    sums: ExactSums = field(repr=False)


@dataclass(slots=True)
class _Outcome:
    """One chunk: accounts by number in the book, columns [6, n], totals and reasons."""

    first: int
    columns: Floats
    failures: dict[int, CrossmarginError]
    totals: ExactSums


def evaluate_compact(
    book: CompactBook,
    snapshot: Snapshot,
    ruleset: Ruleset,
    *,
    threads: int = 1,
    chunk: int = 8_192,
    progress: Callable[[int, int], None] | None = None,
    engine: Engine = "auto",
    catalogue: CompactBook | None = None,
) -> BookColumns:
    """Evaluate all accounts of a large book.

    Parameters
    ----------
    book : CompactBook
        Accounts.
    snapshot : Snapshot
        The market.
    ruleset : Ruleset
        The rules.
    threads : int
        Chunks computed at the same time; no bit of the outcome depends on it.
    chunk : int
        Accounts computed together; no bit of the outcome depends on it.
    progress : callable, optional
        Called with accounts done and accounts in all after each chunk, in the calling thread.
    engine : {"auto", "fused", "vectorised"}
        ``"fused"``: the whole requirement in one pass over an account's rows, for rule-sets whose
        components all have a shape that can be summed so. ``"vectorised"``: any rule-set, stage
        by stage. ``"auto"``: the former where it can be.
    catalogue : CompactBook, optional
        For a part of a larger book: one that holds all that the larger one does (see
        :func:`crossmargin.book.catalogue_of`), so that every part is computed alike.

    Returns
    -------
    BookColumns
        With a reason for every account that could not be computed.

    Raises
    ------
    MarginError
        ``MRG-030`` when one pass is asked for and the rule-set or the market needs the stages.
    """
    if engine != "vectorised":
        # The compiler is loaded only where a book is large enough to want it.
        from crossmargin.margin._fused_book import NotFusable, evaluate_fused

        try:
            return evaluate_fused(book, snapshot, ruleset, threads, progress, catalogue or book)
        except NotFusable as why:
            if engine == "fused":
                raise MarginError(
                    f"rule-set {ruleset.id!r} cannot be computed in one pass here: {why}",
                    code="MRG-030",
                    field="engine",
                    hint="use engine='auto', which then takes it stage by stage",
                ) from None
    if ruleset.by_owner:
        return _whole(book, snapshot, ruleset, progress)
    shared = SharedMarket(catalogue or book, snapshot, ruleset)
    columns = np.full((6, book.size), np.nan)
    failures: dict[int, CrossmarginError] = {}
    totals = ExactSums()
    done = 0
    for outcome in _outcomes(book, shared, threads, chunk):
        size = outcome.columns.shape[1]
        columns[:, outcome.first : outcome.first + size] = outcome.columns
        failures |= outcome.failures
        totals.merge(outcome.totals)
        done += size
        if progress is not None:
            progress(done, book.size)
    return columns_of(columns, failures, totals)


def columns_of(
    columns: Floats,
    failures: Mapping[int, CrossmarginError],
    totals: ExactSums,
    engine: str = "vectorised",
) -> BookColumns:
    """Name the columns of an outcome."""
    return BookColumns(
        equity=columns[EQUITY],
        equity_im=columns[EQUITY_IM],
        im=columns[IM],
        mm=columns[MM],
        health=columns[HEALTH],
        protected=columns[PROTECTED] == 1.0,
        failures=failures if engine == "fused" else dict(sorted(failures.items())),
        components=totals.rounded(),
        engine=engine,
        sums=totals,
    )


def _outcomes(
    book: CompactBook, shared: SharedMarket, threads: int, chunk: int
) -> Iterator[_Outcome]:
    """Yield the outcome of every chunk, in the book's order."""
    pieces = book.chunks(chunk)
    if threads <= 1:
        for first, part in pieces:
            yield evaluate_chunk(first, part, shared)
        return
    pool = ThreadPoolExecutor(threads)
    waiting: list[Future[_Outcome]] = []
    try:
        # Only as many chunks as there are threads, and one more, are in memory at a time.
        for first, part in pieces:
            waiting.append(pool.submit(evaluate_chunk, first, part, shared))
            if len(waiting) > threads:
                yield waiting.pop(0).result()
        while waiting:
            yield waiting.pop(0).result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def evaluate_chunk(first: int, part: Book, shared: SharedMarket) -> _Outcome:
    """Evaluate some accounts; those that cannot be computed get a reason.

    Stages note whom they refuse and go on. What still stops the whole (a fault that no stage can
    lay at an account's door) is found by halving.
    """
    columns = np.full((6, part.size), np.nan)
    failures: dict[int, CrossmarginError] = {}
    totals = ExactSums()
    parts = [(np.arange(part.size), part)]
    while parts:
        mine, some = parts.pop()
        if not mine.size:
            continue
        sums = ExactSums()
        try:
            # What stands in the rows of a refused account may be nothing or anything.
            with np.errstate(all="ignore"):
                found, faults = _totals(some, shared, sums)
        except CrossmarginError as error:
            if mine.size == 1:
                failures[int(mine[0])] = error
                continue
            middle = mine.size // 2
            for half in (np.arange(middle), np.arange(middle, mine.size)):
                parts.append((mine[half], select_accounts(some, half)))
            continue
        columns[:, mine] = found
        failures |= {int(mine[row]): reason for row, reason in faults.reasons.items()}
        totals.merge(sums)
    for row, reason in failures.items():
        reason.located(account=part.account_ids[row])
    return _Outcome(first, columns, {first + row: e for row, e in failures.items()}, totals)


def _totals(book: Book, shared: SharedMarket, sums: ExactSums) -> tuple[Floats, Faults]:
    """Return the columns of some accounts, NaN for those that are refused, and the reasons."""
    faults = Faults(book.size)
    frame = shared.frame(book, faults)
    need = requirement(frame)
    initial = requirement(frame, orders=True) if book.leg_order.size else need
    have = equity(frame, initial)
    mm = maintenance(frame, need, initial)
    a = frame.arrangement
    account = book.pool_account[a.pot_pool]
    usd = frame.pot_usd
    with np.errstate(divide="ignore", invalid="ignore"):
        none = np.where(have.mm < 0, -np.inf, np.inf)
        ratio = np.where(mm > 0, have.mm / mm, none)
    health = least_by(ratio, account, book.size, np.inf)
    out = [sum_by(x * usd, account, book.size) for x in (have.mm, have.im, initial.im, mm)]
    protected = np.zeros(book.size)
    protected[account[protected_pots(frame)]] = 1.0
    columns = np.stack([*out, health, protected])
    columns[:, faults.bad] = np.nan
    _add_components(sums, frame, need, initial)
    return columns, faults


def _add_components(sums: ExactSums, frame: Frame, need: Requirement, initial: Requirement) -> None:
    """Add each component's requirement in US dollars to the totals."""
    a = frame.arrangement
    pot_usd = np.where(frame.refused_pots(), 0.0, frame.pot_usd)
    group_usd = pot_usd[a.group_pot]
    factors = {spec.name for spec in frame.ruleset.data.components if spec.dimensionless}
    for name, part in initial.parts.items():
        if name not in factors:
            sums.add(name, 0, _times(part.im, group_usd))
            sums.add(name, 1, _times(need.parts[name].mm, group_usd))
    for name, (im, _) in initial.pool_parts.items():
        sums.add(name, 0, _times(im, pot_usd))
        sums.add(name, 1, _times(need.pool_parts[name][1], pot_usd))


def _times(value: Floats, usd: Floats) -> Floats:
    """Return amounts in US dollars, 0 for accounts that do not count (their amount may be NaN)."""
    return np.where(usd > 0, value * usd, 0.0)


def _whole(
    book: CompactBook,
    snapshot: Snapshot,
    ruleset: Ruleset,
    progress: Callable[[int, int], None] | None,
) -> BookColumns:
    """Evaluate a book whose accounts depend on each other through their owners, in one piece."""
    whole = book.accounts(0, book.regular)
    if book.rest is not None:
        whole = join_books(whole, book.rest)
    found = evaluate_book(whole, snapshot, ruleset)
    sums = ExactSums()
    fine = np.array([k for k in range(whole.size) if k not in found.failures], dtype=np.int64)
    if fine.size:
        frame = frame_for(select_accounts(whole, fine), snapshot, ruleset)
        need = requirement(frame)
        initial = requirement(frame, orders=True) if whole.leg_order.size else need
        _add_components(sums, frame, need, initial)
    if progress is not None:
        progress(book.size, book.size)
    columns = [found.equity, found.equity_im, found.im, found.mm, found.health, found.protected]
    return columns_of(np.stack(columns), found.failures, sums)
