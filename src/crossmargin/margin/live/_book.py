"""The live book: a large book in a market that moves, kept up to date by what changes.

A price, a volatility, the time, a fill or a deposit touches some rows of the program's table or
some rows of one account. Only the records (one group of one account) that hold such a row are
computed anew, by the kernel that computes the whole book; the pots of their accounts are then
summed anew from all their records, so that nothing drifts.

Source: house; underlying-major copies and old parts kept as in the prototypes behind the project's
targets (docs/performance.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from crossmargin.book import CompactBook
from crossmargin.errors import CrossmarginError, InputError
from crossmargin.margin.fused._program import Program
from crossmargin.margin.live._accounts import Holding
from crossmargin.margin.live._breaches import Breaches
from crossmargin.margin.live._core import LiveCore
from crossmargin.margin.live._kernels import FAILED
from crossmargin.margin.live._refresh import same_codes
from crossmargin.margin.live._world import World
from crossmargin.market import Snapshot

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class LiveBook(LiveCore):
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
    also : collection of str
        Names of contracts that nobody holds yet and that may be traded; what is not named here is
        taken in when it is first traded, which lays the whole book out anew.
    triggers : bool
        Keep trigger prices (docs/models/triggers.md): an event then computes only the accounts
        whose certified bounds it crosses. Who falls below maintenance margin and who comes back is
        answered at once and in full; figures of everybody else, and who is below initial margin,
        are computed when a column is read or at :meth:`settle`, and said with the next event.
        Where there is nothing certain (`unbounded`) events are computed as without.

    Attributes
    ----------
    reason : str
        Why the book is not incremental (`incremental`); empty where it is.
    engine : Engine or None
        The program, rows and records of an incremental book.

    Notes
    -----
    Accounts that are not regular (``book.rest``), that hold an expired contract, or whose figure is
    beyond the limit of a component, are computed by the reference engine at each event that
    touches them; they cost as much there as they do in a batch.
    """

    # ---- what is there -----------------------------------------------------------------

    @property
    def incremental(self) -> bool:
        """Whether only what an event touches is computed anew."""
        return self.engine is not None

    @property
    def program(self) -> Program | None:
        """The rule-set compiled in the market as it is; None where it cannot be."""
        self._catch_up()
        return None if self.engine is None else self.engine.program

    @property
    def unbounded(self) -> str:
        """Why there are no trigger prices now; empty where there are."""
        if self._lookout is None:
            return "they were not asked for"
        return self.reason if self.engine is None else self._lookout.reason

    @property
    def prices_usd(self) -> dict[str, float]:
        """Assets that have moved since the market was taken, with their prices."""
        return self._world.prices_usd

    @property
    def nbytes(self) -> dict[str, int]:
        """Bytes: ``rows`` and ``cash`` (what is held), ``parts`` and ``totals`` (caches)."""
        out = {} if self.engine is None else self.engine.store.nbytes()
        if self._lookout is not None:
            out = {**out, "triggers": self._lookout.nbytes}
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
            found = self._apart.evaluate(np.array([account]), self._world.snapshot())
            self._reasons[account] = found.failures.get(0) or InputError(
                "the account holds a number that is not finite",
                code="INP-081",
                account=self._accounts.base.name(account),
                hint="mend its quantities, entry prices and balances",
            )
        return self._reasons[account]

    # ---- the market --------------------------------------------------------------------

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
        self._follow(list(prices_usd))
        return self._say(*self._answered(only_prices=True))

    def vol(self, underlying: str, factor: float) -> Breaches:
        """Multiply the volatilities of an underlying's options.

        Raises
        ------
        MarketDataError
            ``MKT-115`` for a factor that is not positive.
        """
        self._world.scale_vols(underlying, factor)
        self._follow([underlying])
        return self._say(*self._answered(only_prices=False))

    def advance(self, prices_usd: Mapping[str, float]) -> None:
        """Take new prices, and compute no account yet.

        What accounts show is of before, until :meth:`settle` computes all that has changed, or
        :meth:`revalue` some accounts: for callers that know which accounts can have crossed a
        line. With trigger prices the book knows them itself: `below` is of now, and the next
        event says who has crossed.

        Raises
        ------
        MarketDataError
            As for :meth:`tick`.
        """
        self._world.set_prices(prices_usd)
        self._follow(list(prices_usd))
        if self._lazy:
            # Bounds and sides are always of the same prices.
            self._keep(self._answered(only_prices=True)[0])

    def settle(self) -> Breaches:
        """Compute every account that has changed since it was last computed."""
        return self._say(*self._settled())

    def revalue(self, accounts: Iterable[int]) -> Breaches:
        """Compute some accounts in the market as it is."""
        return self._say(*self._revalued(_rising(_numbers(accounts))))

    def figures(self, accounts: Iterable[int]) -> Floats:
        """Compute some accounts in the market as it is, and return what they come to.

        Returns
        -------
        float64[K, 5]
            Equity, equity at the initial level, IM, MM (US dollars) and health, in the order asked
            for. What that changes is said with the next event.
        """
        chosen = _numbers(accounts)
        self._keep(self._revalued(_rising(chosen))[0])
        return self._standing.columns[chosen]

    def bounds(self, account: int) -> dict[str, tuple[float, float]]:
        """Return prices between which an account cannot cross its maintenance line.

        Returns
        -------
        dict of str to (float, float)
            US dollars, by asset; they hold together. Empty without trigger prices, and where
            nothing is certain of the account.
        """
        triggers = None if self._lookout is None else self._lookout.triggers
        if triggers is None or not 0 <= account < self._accounts.regular:
            return {}
        return triggers.bounds(account) if triggers.covers(account) else {}

    def market(self, snapshot: Snapshot) -> Breaches:
        """Take another market.

        Raises
        ------
        CrossmarginError
            When it lacks what no account can do without; the book stays in the old one.
        """
        return self._take_market(World(snapshot, self._registry), only_time=False)

    def _take_market(self, world: World, *, only_time: bool) -> Breaches:
        old, self._world = self._world, world
        try:
            program = self._compiled()
        except CrossmarginError:
            self._world = old
            raise
        self._news, self._late = {"*"}, set()
        engine = self.engine
        if program is not None and engine is not None and same_codes(engine.program, program):
            engine.take(program)
            if only_time and self._lookout is not None and self._lookout.still_fits(program):
                return self._say(*self._answered(only_prices=False))
            found = self._settled()
            self._look_around()
            return self._say(*found)
        before = self._everybody()
        self._lay_out(program)
        return self._say(before, self.size)

    def at(self, moment_ns: int) -> Breaches:
        """Let time pass: the same prices and volatilities at a later moment.

        Raises
        ------
        MarketDataError
            ``MKT-006`` for a moment before the market's own.
        """
        return self._take_market(self._world.at(moment_ns), only_time=True)

    # ---- accounts ----------------------------------------------------------------------

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
        held = self._accounts.holding(account)
        index = self._registry.resolve(instrument)
        if price < 0.0 or (price == 0.0 and self._registry[index].kind != "option"):
            raise InputError(
                f"{price:g} is no price of {instrument}", code="INP-081", field="price"
            )
        held.fill(index, quantity, price, self._registry.terms)
        return self._put(account, held)

    def close(self) -> None:
        """Give the threads back."""
        if self._pool is not None:
            self._pool.shutdown()

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


def _numbers(accounts: Iterable[int]) -> Ints:
    if isinstance(accounts, np.ndarray):
        return accounts.astype(np.int64, copy=False)
    return np.fromiter(accounts, dtype=np.int64)


def _rising(accounts: Ints) -> Ints:
    """Return each account once, in order."""
    rising = bool(np.all(accounts[1:] > accounts[:-1]))
    return accounts if rising else np.unique(accounts)


def _require_finite(value: float, what: str) -> None:
    if not np.isfinite(value):
        raise InputError(f"{value} is no {what}", code="INP-081", field=what)
