"""A book under a stream of prices: who falls below the line at which tick, and who comes back.

:class:`Watcher` is the question; :class:`BookWatcher` answers it by computing the whole book again
at every tick, and is what faster watchers are held to. :func:`make_watcher` chooses.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from crossmargin.book import CompactBook
from crossmargin.margin._entries import entered
from crossmargin.margin.at_scale import BookColumns, Engine, evaluate_compact
from crossmargin.margin.book_states import below_line
from crossmargin.margin.ruleset import Ruleset
from crossmargin.market import MovedMarket, Snapshot

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaches:
    """What one tick did to a book. Amounts in US dollars.

    Attributes
    ----------
    time_ns : int
        Of the tick.
    prices_usd : dict of str to float
        Every coin that has moved since the start, by name.
    fallen : int64[K]
        Accounts below the liquidation line that were not at the tick before, rising.
    equity_usd, mm_usd, health : float64[K]
        Theirs.
    recovered : int64[R]
        Accounts that were below the line at the tick before and are not now, rising.
    below : int
        Accounts below the line after the tick.
    failed : int
        Accounts that could not be computed at this tick; they keep the side they were on.
    """

    time_ns: int
    prices_usd: dict[str, float]
    fallen: Ints
    equity_usd: Floats
    mm_usd: Floats
    health: Floats
    recovered: Ints
    below: int
    failed: int

    @property
    def deficits_usd(self) -> Floats:
        """MM − equity of the fallen accounts, at least 0."""
        return np.maximum(self.mm_usd - self.equity_usd, 0.0)


class Watcher(Protocol):
    """Says of every tick who falls below the liquidation line and who comes back.

    Attributes
    ----------
    reason : str
        Why everybody is computed at every tick, where trigger prices were wanted; else empty.
    """

    reason: str

    def tick(self, time_ns: int, prices_usd: Mapping[str, float]) -> Breaches:
        """Take the new prices of some coins.

        Parameters
        ----------
        time_ns : int
            Of the tick; not before the tick before.
        prices_usd : mapping of str to float
            New price of each coin that moves, US dollars; others stay where they are.

        Returns
        -------
        Breaches
            Against the tick before; against nobody below the line at the first.
        """
        ...

    def deficit_usd(self) -> float:
        """Return the sum of MM − equity over all accounts below the line, where positive.

        Of the last tick, US dollars. It is apart from the tick because it needs the figures of
        everybody below the line, and who has crossed it can be said without.
        """
        ...


#: Ticks below which computing everybody at each costs less than the first look at their bounds.
WORTH = 64


def make_watcher(
    book: CompactBook,
    snapshot: Snapshot,
    ruleset: Ruleset,
    *,
    coins: Collection[str],
    ticks: int,
    threads: int = 1,
    engine: Engine = "auto",
) -> Watcher:
    """Return the quickest watcher that says what :class:`BookWatcher` says.

    Positions without an entry price are entered at the mark of `snapshot` first: what falls with a
    price has a loss, whichever watcher computes it.

    With trigger prices (:class:`~crossmargin.margin.live.LiveBook`) where the rule-set allows and
    there are ticks enough; else everybody is computed at every tick.

    Parameters
    ----------
    book, snapshot, ruleset, threads
        As for :class:`BookWatcher`.
    coins : collection of str
        Whose prices will move.
    ticks : int
        About how many there will be.
    engine : {"auto", "fused", "vectorised"}
        ``vectorised`` computes everybody.
    """
    book = entered(book, snapshot, ruleset)
    plain = BookWatcher(book, snapshot, ruleset, threads=threads, engine=engine)
    if engine == "vectorised" or ticks < WORTH:
        return plain
    # Compiled loops take seconds to load: not before they are wanted.
    from crossmargin.margin.live import LiveBook
    from crossmargin.margin.live.watcher import LiveWatcher, why_not

    plain.reason = why_not(book, snapshot, ruleset, coins)
    if plain.reason:
        return plain
    live = LiveBook(book, snapshot, ruleset, threads=threads, triggers=True)
    if live.unbounded:
        plain.reason = live.unbounded
        live.close()
        return plain
    return LiveWatcher(live)


class BookWatcher:
    """Watches a book by margining all of it at every tick.

    Parameters
    ----------
    book : CompactBook
        Accounts.
    snapshot : Snapshot
        The market that the ticks move (:class:`~crossmargin.market.MovedMarket`): its volatilities
        and moment of valuation stay.
    ruleset : Ruleset
        The rules.
    threads : int
        Threads; the values do not depend on it.
    engine : {"auto", "fused", "vectorised"}
        As for :func:`~crossmargin.margin.at_scale.evaluate_compact`.
    """

    def __init__(
        self,
        book: CompactBook,
        snapshot: Snapshot,
        ruleset: Ruleset,
        *,
        threads: int = 1,
        engine: Engine = "auto",
    ) -> None:
        self.reason = ""
        self._book, self._rules = book, ruleset
        self._threads, self._engine = threads, engine
        self._market = MovedMarket(snapshot, book.registry)
        self._prices: dict[str, float] = {}
        self._below = np.zeros(book.size, dtype=bool)
        self._deficit = 0.0

    def deficit_usd(self) -> float:
        """Return what accounts below the line lack; see :class:`Watcher`."""
        return self._deficit

    def tick(self, time_ns: int, prices_usd: Mapping[str, float]) -> Breaches:
        """Take the new prices of some coins; see :class:`Watcher`."""
        prices = {**self._prices, **prices_usd}
        columns = evaluate_compact(
            self._book,
            self._market.at(prices),
            self._rules,
            threads=self._threads,
            engine=self._engine,
        )
        self._prices = prices
        known = ~np.isnan(columns.health)
        below = np.where(known, below_line(columns, self._rules), self._below)
        made = self._breaches(time_ns, columns, below, known)
        self._below, under = below, below & known
        gap = columns.mm[under] - columns.equity[under]
        self._deficit = float(np.maximum(gap, 0.0).sum())
        return made

    def _breaches(
        self, time_ns: int, columns: BookColumns, below: NDArray[np.bool_], known: NDArray[np.bool_]
    ) -> Breaches:
        fallen = np.flatnonzero(below & ~self._below)
        return Breaches(
            time_ns=time_ns,
            prices_usd=dict(self._prices),
            fallen=fallen,
            equity_usd=columns.equity[fallen],
            mm_usd=columns.mm[fallen],
            health=columns.health[fallen],
            recovered=np.flatnonzero(self._below & ~below),
            below=int(below.sum()),
            failed=int((~known).sum()),
        )
