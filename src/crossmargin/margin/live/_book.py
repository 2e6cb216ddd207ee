"""The live book: a large book in a market that moves, kept up to date by what changes.

A price, a volatility, the time, a fill or a deposit touches some rows of the program's table or
some rows of one account. Only the records (one group of one account) that hold such a row are
computed anew, by the kernel that computes the whole book; the pots of their accounts are then
summed anew from all their records, so that nothing drifts.

Source: house; shared/reference/performance.md sections 5 and 8 (underlying-major copy, old parts
kept), design.md section 1.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from crossmargin.book import CompactBook, join_books, select_accounts
from crossmargin.errors import CrossmarginError, InputError
from crossmargin.margin.at_scale import evaluate_compact
from crossmargin.margin.batch import BookResult, evaluate_book
from crossmargin.margin.fused._holdings import holdings_of
from crossmargin.margin.fused._program import Program, compile_program
from crossmargin.margin.fused._shapes import NotFusable
from crossmargin.margin.live._accounts import Accounts, Holding
from crossmargin.margin.live._direct import Dependence, DirectRows, at_prices
from crossmargin.margin.live._kernels import (
    APART,
    BELOW_IM,
    BELOW_MM,
    BITS,
    FAILED,
    OUTCOME,
    OVER,
    accounts_of_codes,
    mark_accounts,
    records_with,
)
from crossmargin.margin.live._records import Runner, Standing, blocks, run_tasks, scratch_for
from crossmargin.margin.live._refresh import Change, difference, everything, in_market
from crossmargin.margin.live._store import Store, store_of
from crossmargin.margin.live._world import World
from crossmargin.margin.ruleset import Ruleset
from crossmargin.market import MarketView, Snapshot

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_NONE = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaches:
    """What one event did to the accounts; numbers of accounts, rising.

    Attributes
    ----------
    fallen, recovered : int64[...]
        Newly below maintenance margin in one of their pots, and no longer.
    short, covered : int64[...]
        Newly below initial margin in one of their pots, and no longer.
    failed, restored : int64[...]
        Can no longer be computed, and can again. A failed account is on no side of a line.
    visited : int
        Accounts whose totals were computed anew.
    """

    fallen: Ints
    recovered: Ints
    short: Ints
    covered: Ints
    failed: Ints
    restored: Ints
    visited: int


class LiveBook:
    """A large book in a moving market.

    Parameters
    ----------
    book : CompactBook
        Accounts. Positions without an entry price are taken as entered at the mark of `snapshot`,
        and have a profit from then on.
    snapshot : Snapshot
        Where the market begins. Verdicts on its prices (protect mode) are left behind: whoever
        feeds prices has judged them.
    ruleset : Ruleset
        The rules.
    threads : int
        Threads for large events; no bit of the outcome depends on it.

    Attributes
    ----------
    incremental : bool
        Whether only what an event touches is computed anew. Where the rule-set or the market
        cannot be compiled (`reason` says why), every event computes the whole book.
    reason : str
        Why not; empty where it can.

    Notes
    -----
    Accounts that are not regular (``book.rest``), that hold an expired contract, or whose figure is
    beyond the limit of a component, are computed by the reference engine at each event that
    touches them; they cost as much there as they do in a batch.
    """

    def __init__(
        self, book: CompactBook, snapshot: Snapshot, ruleset: Ruleset, *, threads: int = 1
    ) -> None:
        self._rules, self._registry = ruleset, book.registry
        self._threads = max(1, threads)
        self._pool = ThreadPoolExecutor(self._threads) if self._threads > 1 else None
        self._world = World(snapshot, book.registry)
        self._size = book.size
        self._standing = Standing(np.full((book.size, 5), np.nan),
                                  np.zeros(book.size, dtype=np.uint8))  # fmt: skip
        self._reasons: dict[int, CrossmarginError] = {}
        self._take_on(book)

    # ---- what is there -----------------------------------------------------------------

    @property
    def size(self) -> int:
        """Number of accounts."""
        return self._size

    @property
    def incremental(self) -> bool:
        """Whether only what an event touches is computed anew."""
        return not self.reason

    @property
    def equity(self) -> Floats:
        """Equity at the maintenance level by account, US dollars; NaN where it failed."""
        return self._column(0)

    @property
    def equity_im(self) -> Floats:
        """Equity at the initial level by account, US dollars."""
        return self._column(1)

    @property
    def im(self) -> Floats:
        """Initial requirement by account, US dollars."""
        return self._column(2)

    @property
    def mm(self) -> Floats:
        """Maintenance requirement by account, US dollars."""
        return self._column(3)

    @property
    def health(self) -> Floats:
        """Smallest equity / MM over the pots of each account."""
        return self._column(4)

    def _column(self, number: int) -> Floats:
        out = self._standing.columns[:, number]
        out.flags.writeable = False
        return out

    @property
    def below(self) -> NDArray[np.bool_]:
        """Accounts below maintenance margin in one of their pots."""
        return np.asarray((self._standing.state & BELOW_MM) != 0)

    @property
    def short(self) -> NDArray[np.bool_]:
        """Accounts below initial margin in one of their pots."""
        return np.asarray((self._standing.state & BELOW_IM) != 0)

    @property
    def failed(self) -> NDArray[np.bool_]:
        """Accounts that cannot be computed; :meth:`reason_of` says why."""
        return np.asarray((self._standing.state & FAILED) != 0)

    @property
    def apart(self) -> Ints:
        """Accounts that the reference engine computes."""
        return np.flatnonzero(self._standing.state & (APART | OVER))

    @property
    def prices_usd(self) -> dict[str, float]:
        """Assets that have moved since the snapshot, with their prices."""
        return self._world.prices_usd

    @property
    def program(self) -> Program | None:
        """The rule-set compiled in the market as it is; None where it cannot be."""
        return self._program if self.incremental else None

    @property
    def store(self) -> Store:
        """Rows and parts of an incremental book."""
        return self._store

    @property
    def nbytes(self) -> dict[str, int]:
        """Bytes of the stores: ``rows`` and ``cash`` (what is held), ``parts`` and ``totals``."""
        out = self._store.nbytes() if self.incremental else {}
        return {**out, "totals": self._standing.columns.nbytes + self._standing.state.nbytes}

    def snapshot(self) -> Snapshot:
        """Return the market as it is now."""
        return self._world.snapshot()

    def book(self) -> CompactBook:
        """Return the accounts as they are now, entry prices written out."""
        return self._accounts.whole()

    def holding(self, account: int) -> Holding:
        """Return a copy of what a regular account holds."""
        return self._accounts.holding(account)

    def reason_of(self, account: int) -> CrossmarginError | None:
        """Return why an account cannot be computed; None where it can."""
        if not self._standing.state[account] & FAILED:
            return None
        if account not in self._reasons:
            found = self._reference(np.array([account])).failures
            self._reasons[account] = found.get(0) or InputError(
                "the account holds a number that is not finite",
                code="INP-081",
                account=self._accounts.base.name(account),
                hint="mend its quantities, entry prices and balances",
            )
        return self._reasons[account]

    # ---- events ------------------------------------------------------------------------

    def tick(self, prices_usd: Mapping[str, float]) -> Breaches:
        """Take new prices of some assets.

        Parameters
        ----------
        prices_usd : mapping of str to float
            US dollars; forwards, futures, perpetuals and spot of an asset move in proportion,
            volatilities stay with their strikes.

        Raises
        ------
        MarketDataError
            ``MKT-001``, ``MKT-009``; nothing has changed then.
        """
        self._world.set_prices(prices_usd)
        return self._moved(prices_usd)

    def vol(self, underlying: str, factor: float) -> Breaches:
        """Multiply the volatilities of an underlying's options.

        Raises
        ------
        MarketDataError
            ``MKT-115`` for a factor that is not positive.
        """
        self._world.scale_vols(underlying, factor)
        return self._moved([underlying])

    def market(self, snapshot: Snapshot) -> Breaches:
        """Take another market."""
        self._world = World(snapshot, self._registry)
        return self._new_market()

    def at(self, moment_ns: int) -> Breaches:
        """Let time pass: the same prices and volatilities at a later moment.

        Raises
        ------
        MarketDataError
            ``MKT-006`` for a moment before the market's own.
        """
        return self.market(self._world.snapshot().at(moment_ns))

    def deposit(self, account: int, asset: str, amount: float) -> Breaches:
        """Add to a balance of an account; a negative amount leaves it.

        Raises
        ------
        InputError
            ``INP-080`` for an account that cannot be edited, ``INP-081`` for an amount that is
            not finite.
        """
        _require_finite(amount, "amount")
        held = self._accounts.holding(account)
        held.pay(self._registry.asset(asset), amount)
        return self._put(account, held)

    def fill(self, account: int, instrument: str, quantity: float, price: float) -> Breaches:
        """Trade for an account.

        Opening and increasing a future or perpetual averages its entry (harmonically where it is
        inverse); what is closed is realised into the balance of the settlement asset; the premium
        of options and the price of spot leave that balance. There is no fee.

        Parameters
        ----------
        account : int
            A regular account.
        instrument : str
            Its name.
        quantity : float
            > 0 buys.
        price : float
            In the unit of the mark: coins for inverse options, else the quote currency.

        Raises
        ------
        InputError
            ``INP-080`` for an account that cannot be edited, ``INP-081`` for numbers that are
            none.
        """
        _require_finite(quantity, "quantity")
        _require_finite(price, "price")
        index = self._registry.resolve(instrument)
        terms = self._registry.terms
        if (price <= 0.0 and not self._registry[index].kind == "option") or price < 0.0:
            raise InputError(
                f"{price:g} is no price of {instrument}", code="INP-081", field="price"
            )
        held = self._accounts.holding(account)
        held.fill(index, quantity, price, terms)
        return self._put(account, held)

    def revalue(self, accounts: Iterable[int] | None = None) -> Breaches:
        """Compute accounts anew, whatever changed; by default all.

        Values do not change by it: what every event does to some accounts is done to these.
        """
        if not self.incremental:
            return self._whole()
        if accounts is None:
            return self._recompute(everything(self._program))
        chosen = np.unique(np.fromiter(accounts, dtype=np.int64))
        regular = chosen[chosen < self._regular]
        s = self._scratch[0]
        for a in regular.tolist():
            for slot in self._store.slots_of(a):
                record = int(self._store.slot_record[slot])
                self._runner.records(int(self._store.slot_group[slot]), record, record + 1, s)
        return self._total(regular.astype(np.int32), chosen[chosen >= self._regular])

    def close(self) -> None:
        """Give the threads back."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def __enter__(self) -> LiveBook:
        """Return the book itself; its threads end with the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the threads back."""
        self.close()

    # ---- taking on a book --------------------------------------------------------------

    def _take_on(self, book: CompactBook) -> None:
        """Compile, lay out and compute everything."""
        self._regular = book.regular
        try:
            self._compile(book)
        except NotFusable as why:
            self.reason = str(why)
            self._accounts = Accounts(book, _marks(book, self._world.snapshot(), self._rules))
            self._whole()
            return
        self.reason = ""
        self._accounts = Accounts(book, self._program.mark)
        self._store = store_of(holdings_of(book, self._program), self._program)
        self._bind()
        self._find_apart()
        self._recompute(everything(self._program))

    def _compile(self, book: CompactBook) -> None:
        snapshot = self._world.snapshot()
        self._program = compile_program(
            self._registry, snapshot, self._rules, book.instruments_used(), book.assets_used()
        )
        self._first_view: MarketView = self._program.units.frame.view

    def _bind(self) -> None:
        self._runner = Runner(self._program, self._store, self._standing)
        self._terms = self._registry.terms
        self._place = {name: k for k, name in enumerate(self._registry.assets)}
        self._dependence = Dependence(self._program)
        self._rows: dict[frozenset[int], DirectRows | None] = {}
        self._scratch = [scratch_for(self._program) for _ in range(self._threads)]

    def _find_apart(self) -> None:
        """Find the accounts that the kernel does not compute."""
        state, store = self._standing.state, self._store
        state[: self._regular] &= 255 - APART
        state[self._regular :] |= APART
        hit = self._program.apart
        if hit.any():
            found = np.zeros(self._regular, dtype=np.uint8)
            for g in np.unique(self._program.layout.group[hit]).tolist():
                if store.groups[g] is not None:
                    group = store.group(g)
                    records_with(group.start, group.code, group.account[: group.records], hit,
                                 found)  # fmt: skip
            state[: self._regular][found != 0] |= APART

    # ---- another market ----------------------------------------------------------------

    def _moved(self, names: Collection[str]) -> Breaches:
        """Follow the world to where its prices and volatilities are."""
        if not self.incremental:
            return self._whole()
        old = self._program
        view = self._world.moved_view(self._first_view, self._terms)
        assets = frozenset(self._place[name] for name in names if name in self._place)
        rows = None if self._dependence.everywhere(names) else self._direct(assets)
        if rows is None:
            program, codes = in_market(old, view), None
        else:
            program, codes = at_prices(old, rows, view), rows.codes
        change = difference(old, program, codes)
        self._program = program
        self._runner.follow(program)
        return self._recompute(change)

    def _direct(self, assets: frozenset[int]) -> DirectRows | None:
        """Return what computes the rows that some prices decide; None where nothing can."""
        if assets not in self._rows:
            codes = self._dependence.codes(assets)
            try:
                self._rows[assets] = DirectRows(self._program, codes)
            except LookupError:
                self._rows[assets] = None
        return self._rows[assets]

    def _new_market(self) -> Breaches:
        """Compile in another market; rows stay where codes do."""
        before = self._program if self.incremental else None
        try:
            self._compile(self._accounts.whole())
        except NotFusable as why:
            self.reason = str(why)
            return self._whole()
        if before is None or not _same_codes(before, self._program):
            return self._rebuild()
        self.reason = ""
        self._bind()
        self._find_apart()
        return self._recompute(everything(self._program))

    def _rebuild(self) -> Breaches:
        """Lay everything out anew: for contracts and assets that nobody had held."""
        before = self._coded(np.arange(self._size))
        self._take_on(self._accounts.whole())
        return self._breaches(before, self._size)

    # ---- recomputing -------------------------------------------------------------------

    def _recompute(self, change: Change) -> Breaches:
        """Compute the records of touched groups and the accounts that have them."""
        store, layout = self._store, self._program.layout
        groups = [int(g) for g in np.flatnonzero(change.groups) if store.group(int(g)).records]
        others = change.cash.any() or change.pots.any()
        runner = self._runner
        self._reasons.clear()
        if len(groups) == 1 and not others:
            g = groups[0]
            size = store.group(g).records
            tasks = [partial(runner.group_then_accounts, g, a, b) for a, b in blocks(size)]
            changed, due = run_tasks(tasks, self._scratch, self._pool, size)
            return self._finish(changed, due, size - store.group(g).dead)
        work = sum(store.group(g).records for g in groups)
        parts = [
            partial(runner.records, g, a, b)
            for g in groups
            for a, b in blocks(store.group(g).records)
        ]
        run_tasks(parts, self._scratch, self._pool, work)
        touched = np.zeros(self._regular, dtype=np.uint8)
        of_pots = change.pots[layout.group_pot] & self._program.in_group
        for g in np.flatnonzero(change.groups | of_pots).tolist():
            group = store.group(g)
            mark_accounts(group.account[: group.records], touched)
        if others:
            hit = change.cash | (change.pots[layout.pot] & ~self._program.in_group[layout.group])
            accounts_of_codes(store.head, store.cash_code, hit, touched)
        return self._total(np.flatnonzero(touched).astype(np.int32))

    def _total(self, accounts: NDArray[np.int32], rest: Ints | None = None) -> Breaches:
        """Sum the pots of some accounts whose records are as they should be."""
        runner = self._runner
        tasks = [partial(runner.totals, accounts, a, b) for a, b in blocks(accounts.size)]
        changed, due = run_tasks(tasks, self._scratch, self._pool, accounts.size)
        return self._finish(changed, due, accounts.size, rest)

    def _finish(self, changed: Ints, due: Ints, visited: int, rest: Ints | None = None) -> Breaches:
        """Compute what stands apart, and say what changed."""
        if rest is None:
            rest = np.arange(self._regular, self._size)
        waiting = np.concatenate([due, self._coded(rest)])
        if waiting.size:
            apart = waiting >> BITS
            self._put_columns(apart, self._reference(apart))
            changed = np.sort(np.concatenate([changed, waiting]))
        return self._breaches(changed, visited + rest.size)

    def _coded(self, accounts: Ints) -> Ints:
        """Accounts with the outcome on which they stand."""
        return accounts << BITS | (self._standing.state[accounts] & OUTCOME)

    def _breaches(self, changed: Ints, visited: int) -> Breaches:
        """Say what became of accounts, given with the outcome on which they stood."""
        account = changed >> BITS
        was, now = changed & OUTCOME, self._standing.state[account]

        def came(bit: int) -> Ints:
            return account[(now & bit != 0) & (was & bit == 0)]

        def went(bit: int) -> Ints:
            return account[(now & bit == 0) & (was & bit != 0)]

        return Breaches(
            fallen=came(BELOW_MM),
            recovered=went(BELOW_MM),
            short=came(BELOW_IM),
            covered=went(BELOW_IM),
            failed=came(FAILED),
            restored=went(FAILED),
            visited=visited,
        )

    def _reference(self, accounts: Ints) -> BookResult:
        """Compute some accounts by the reference engine, in the market as it is."""
        regular = accounts[accounts < self._regular]
        some = self._accounts.some(regular.tolist())
        book = some.accounts(0, some.regular) if some.regular else None
        others = accounts[accounts >= self._regular] - self._regular
        if others.size and self._accounts.rest is not None:
            rest = select_accounts(self._accounts.rest, others)
            book = rest if book is None else join_books(book, rest)
        assert book is not None
        return evaluate_book(book, self._world.snapshot(), self._rules, kernel="numba")

    def _put_columns(self, accounts: Ints, found: BookResult) -> None:
        """Write what the reference engine says of some accounts."""
        stack = [found.equity, found.equity_im, found.im, found.mm, found.health]
        self._standing.columns[accounts] = np.stack(stack, axis=1)
        bits = np.where(found.health < 1.0, BELOW_MM, 0)
        bits |= np.where(found.equity_im < found.im, BELOW_IM, 0)
        bits[np.isnan(found.health)] = FAILED
        state = self._standing.state
        state[accounts] = (state[accounts] & (255 - OUTCOME)) | bits.astype(np.uint8)
        for row, reason in found.failures.items():
            self._reasons[int(accounts[row])] = reason

    def _whole(self) -> Breaches:
        """Compute the whole book, where nothing less can be done."""
        everybody = np.arange(self._size)
        before = self._coded(everybody)
        found = evaluate_compact(
            self._accounts.whole(), self._world.snapshot(), self._rules, threads=self._threads
        )
        self._reasons.clear()
        self._standing.state[:] = 0
        self._put_columns(
            everybody,
            BookResult(
                account_ids=[],
                equity=found.equity,
                equity_im=found.equity_im,
                im=found.im,
                mm=found.mm,
                health=found.health,
                protected=found.protected,
                failures=found.failures,
            ),
        )
        return self._breaches(before, self._size)

    # ---- editing -----------------------------------------------------------------------

    def _put(self, account: int, holding: Holding) -> Breaches:
        """Write an edited account down and compute it."""
        self._accounts.put(account, holding)
        self._reasons.pop(account, None)
        if not self.incremental or not self._known(holding):
            return self._rebuild() if self.incremental else self._whole()
        program = self._program
        rows = holdings_of(self._accounts.some([account]), program)
        groups = self._store.replace(
            account, rows.code, rows.quantity, rows.level, program.layout.group, program.in_group
        )
        state = self._standing.state
        apart = bool(program.apart[rows.code].any())
        state[account] = (state[account] & (255 - APART)) | (APART if apart else 0)
        for slot in self._store.slots_of(account):
            g = int(self._store.slot_group[slot])
            if g in groups:
                record = int(self._store.slot_record[slot])
                self._runner.records(g, record, record + 1, self._scratch[0])
        return self._total(np.array([account], dtype=np.int32), _NONE)

    def _known(self, holding: Holding) -> bool:
        layout = self._program.layout
        items, assets = list(holding.positions), list(holding.balances)
        if any(i >= layout.of_instrument.size or layout.of_instrument[i] < 0 for i in items):
            return False
        return not any(a >= layout.of_balance.size or layout.of_balance[a] < 0 for a in assets)


def _require_finite(value: float, what: str) -> None:
    if not np.isfinite(value):
        raise InputError(f"{value} is no {what}", code="INP-081", field=what)


def _same_codes(one: Program, other: Program) -> bool:
    return np.array_equal(one.layout.what, other.layout.what) and np.array_equal(
        one.layout.item, other.layout.item
    )


def _marks(book: CompactBook, snapshot: Snapshot, ruleset: Ruleset) -> Floats:
    """Return the mark of every instrument, as the engine sees it; NaN where there is none."""
    from crossmargin.margin.engine import at_index

    view = snapshot.view(book.registry, [])
    if ruleset.data.price_view == "index":
        view = at_index(view, book.registry)
    return view.price
