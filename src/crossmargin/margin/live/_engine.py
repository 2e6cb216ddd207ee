"""The incremental engine: a program, the rows of a book, and what each record came to.

What an event touches is found from the table itself: rows that are no longer what they were
(`Change`). Their groups are computed anew, and the accounts in them summed anew.
"""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from numpy.typing import NDArray

from crossmargin.book import CompactBook
from crossmargin.margin.fused._holdings import Holdings, holdings_of
from crossmargin.margin.fused._program import Program
from crossmargin.margin.live._direct import DirectRows
from crossmargin.margin.live._kernels import (
    APART,
    accounts_of_codes,
    mark_accounts,
    records_with,
)
from crossmargin.margin.live._prices import Dependence, at_prices
from crossmargin.margin.live._records import Runner, Standing, joined, run_tasks
from crossmargin.margin.live._refresh import (
    difference,
    everything,
    in_market,
    joined_costs,
    nothing,
)
from crossmargin.margin.live._store import store_of
from crossmargin.market import MarketView

Ints = NDArray[np.int64]

#: Accounts whose outcome changed, those to be computed apart (both coded), and how many were
#: summed.
Found = tuple[Ints, Ints, int]


class Engine:
    """Regular accounts under a program that moves.

    Parameters
    ----------
    book : CompactBook
        Accounts; only the regular ones are read.
    program : Program
        Compiled for all that they hold.
    standing : Standing
        Where all accounts stand; written.
    pool : ThreadPoolExecutor, optional
        Threads for large events.
    """

    def __init__(
        self,
        book: CompactBook,
        program: Program,
        standing: Standing,
        pool: ThreadPoolExecutor | None,
    ) -> None:
        self._pool, self._standing, self._size = pool, standing, book.regular
        self.store = store_of(holdings_of(book, program), program)
        self.take(program)

    # ---- the market ----------------------------------------------------------------------

    def take(self, program: Program) -> None:
        """Take a program of the same codes in any market; everything is to be computed."""
        self.program = program
        self._runner = Runner(program, self.store, self._standing)
        self._dependence = Dependence(program)
        self._rows: dict[frozenset[int], DirectRows | None] = {}
        self.pending = everything(program)
        self._find_apart()

    def advance(self, view: MarketView, assets: Collection[int], *, apart: bool = False) -> bool:
        """Move the program to other prices or volatilities; compute no account yet.

        Parameters
        ----------
        view : MarketView
            The market.
        assets : collection of int
            What moved.
        apart : bool
            Take them one by one. What computes rows is kept by what moved together: sets that
            have gathered over many events are seldom the same twice.

        Returns
        -------
        bool
            False where rows that had been joined must part: the book must be laid out anew.
        """
        old = self.program
        sets = [frozenset([a]) for a in assets] if apart else [frozenset(assets)]
        # All of them before the first is taken: they are read off a table that is of one market.
        rows = [self._direct(some) for some in sets]
        if any(one is None for one in rows):
            new = in_market(old, view)
            if not joined_costs(new):
                return False
            self._take_over(new, None)
            return True
        for one in rows:
            assert one is not None
            self._take_over(at_prices(self.program, one, view), one.codes)
        return True

    def _take_over(self, new: Program, codes: Ints | None) -> None:
        old = self.program
        self.pending = self.pending | difference(old, new, codes)
        self.program = new
        self._runner.follow(new)
        if new.lanes is not old.lanes:
            self._rows.clear()

    def _direct(self, assets: frozenset[int]) -> DirectRows | None:
        """Return what computes the rows that some prices decide; None where nothing can."""
        if assets not in self._rows:
            codes = self._dependence.codes(assets)
            try:
                self._rows[assets] = DirectRows(self.program, codes)
            except LookupError:
                self._rows[assets] = None
        return self._rows[assets]

    def _find_apart(self) -> None:
        """Find the accounts that the kernel does not compute."""
        store, hit = self.store, self.program.apart
        state = self._standing.state[: self._size]
        state &= 255 - APART
        if not hit.any():
            return
        found = np.zeros(self._size, dtype=np.uint8)
        accounts_of_codes(store.head, store.cash_code, hit, found)
        for g in np.unique(self.program.layout.group[hit]).tolist():
            if store.groups[g] is not None:
                group = store.group(g)
                records_with(group.start, group.code, group.account[: group.records], hit, found)
        state[found != 0] |= APART

    # ---- accounts ------------------------------------------------------------------------

    def settle(self) -> Found:
        """Compute all that changed since the last time."""
        change, self.pending = self.pending, nothing(self.program)
        store, layout, runner = self.store, self.program.layout, self._runner
        groups = [int(g) for g in np.flatnonzero(change.groups) if store.group(int(g)).records]
        others = bool(change.cash.any() or change.pots.any())
        if len(groups) == 1 and not others:
            g = groups[0]
            size = store.group(g).records
            work = partial(runner.group_then_accounts, g)
            changed, due = joined(run_tasks(work, size, self._pool))
            return changed, due, size - store.group(g).dead
        for g in groups:
            run_tasks(partial(runner.records, g), store.group(g).records, self._pool)
        touched = np.zeros(self._size, dtype=np.uint8)
        inside = self.program.in_group
        for g in np.flatnonzero(change.groups | (change.pots[layout.group_pot] & inside)).tolist():
            group = store.group(g)
            mark_accounts(group.account[: group.records], touched)
        if others:
            hit = change.cash | (change.pots[layout.pot] & ~inside[layout.group])
            accounts_of_codes(store.head, store.cash_code, hit, touched)
        return self._totals(np.flatnonzero(touched).astype(np.int32))

    def revalue(self, accounts: Ints) -> Found:
        """Compute some accounts in the market as it is, whatever is still to be settled."""
        store = self.store
        head = store.head[accounts].astype(np.int64)
        ends = np.cumsum(head[:, 1])
        inside = np.arange(int(ends[-1]) if ends.size else 0)
        slots = np.repeat(head[:, 0] - ends + head[:, 1], head[:, 1]) + inside
        kinds = store.slot_group[slots]
        order = np.argsort(kinds, kind="stable")
        for mine in np.split(order, np.flatnonzero(np.diff(kinds[order])) + 1):
            if mine.size:
                record = store.slot_record[slots[mine]].astype(np.int64)
                self._runner.records_of(int(kinds[mine[0]]), record)
        return self._totals(accounts.astype(np.int32))

    def replace(self, account: int, rows: Holdings) -> Found:
        """Give an account other rows, and compute it."""
        program = self.program
        groups = self.store.replace(
            account, rows.code, rows.quantity, rows.level, program.layout.group, program.in_group
        )
        state = self._standing.state
        apart = APART if program.apart[rows.code].any() else 0
        state[account] = (state[account] & (255 - APART)) | apart
        one = np.array([account])
        if self.pending.any:
            return self.revalue(one)
        for slot in self.store.slots_of(account):
            g = int(self.store.slot_group[slot])
            if g in groups:
                record = int(self.store.slot_record[slot])
                self._runner.records(g, record, record + 1)
        return self._totals(one.astype(np.int32))

    def _totals(self, accounts: NDArray[np.int32]) -> Found:
        work = partial(self._runner.totals, accounts)
        changed, due = joined(run_tasks(work, accounts.size, self._pool))
        return changed, due, accounts.size

    def knows(self, instruments: Collection[int], assets: Collection[int]) -> bool:
        """Whether everything has a code."""
        layout = self.program.layout
        return all(
            k < of.size and of[k] >= 0
            for of, wanted in ((layout.of_instrument, instruments), (layout.of_balance, assets))
            for k in wanted
        )
