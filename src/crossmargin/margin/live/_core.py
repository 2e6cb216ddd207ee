"""Behind the events of a live book: who is touched is found and computed, the rest is kept.

The events themselves are in :mod:`crossmargin.margin.live._book`.
"""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from crossmargin.book import CompactBook
from crossmargin.errors import CrossmarginError
from crossmargin.margin._entries import marks
from crossmargin.margin.at_scale import evaluate_compact
from crossmargin.margin.fused._holdings import holdings_of
from crossmargin.margin.fused._program import Program, compile_program
from crossmargin.margin.fused._shapes import NotFusable
from crossmargin.margin.live._accounts import Accounts, Holding
from crossmargin.margin.live._apart import Apart, bits_of
from crossmargin.margin.live._breaches import Breaches, breaches, coded, merged
from crossmargin.margin.live._columns import Columns
from crossmargin.margin.live._engine import Engine, Found
from crossmargin.margin.live._kernels import APART, BELOW_MM, BITS, OUTCOME
from crossmargin.margin.live._lookout import Lookout
from crossmargin.margin.live._records import Standing
from crossmargin.margin.live._world import World
from crossmargin.margin.ruleset import Ruleset
from crossmargin.market import MarketView, Snapshot

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_NONE = np.empty(0, dtype=np.int64)


class LiveCore(Columns):
    """State of a live book, and the computing behind its events.

    Parameters are those of :class:`crossmargin.margin.live.LiveBook`.
    """

    def __init__(
        self,
        book: CompactBook,
        snapshot: Snapshot,
        ruleset: Ruleset,
        *,
        threads: int = 1,
        also: Collection[str] = (),
        triggers: bool = False,
    ) -> None:
        self._rules, self._registry = ruleset, book.registry
        self._threads = max(1, threads)
        self._pool = ThreadPoolExecutor(self._threads) if self._threads > 1 else None
        self._world = World(snapshot, book.registry)
        self._items = np.union1d(
            book.instruments_used(), [book.registry.resolve(name) for name in also]
        ).astype(np.int64)
        self._assets = book.assets_used()
        self._standing = Standing(
            np.full((book.size, 5), np.nan), np.zeros(book.size, dtype=np.uint8)
        )
        self._reasons: dict[int, CrossmarginError] = {}
        self.reason = ""
        self.engine: Engine | None = None
        # Names of what has moved since accounts apart were last computed; "*" for everything.
        self._news: set[str] = set()
        # Names of what has moved since rows were last brought to where the market is.
        self._late: set[str] = set()
        # Accounts that were computed between events, with how they stood at the last one.
        self._unsaid = _NONE
        self._lookout = Lookout() if triggers else None
        program = self._compiled()
        mark = marks(book, snapshot, ruleset) if program is None else program.mark
        self._accounts = Accounts(book, mark)
        self._apart = Apart(self._accounts, ruleset)
        self._lay_out(program)

    # ---- the program and its rows --------------------------------------------------------

    def _compiled(self) -> Program | None:
        """Compile the rule-set in the market as it is; None, with a reason, where it cannot be."""
        self._world.rebase()
        try:
            program = compile_program(
                self._registry, self._world.snapshot(), self._rules, self._items, self._assets
            )
        except NotFusable as why:
            self.reason = str(why)
            return None
        self.reason = ""
        self._first_view, self._terms = program.units.frame.view, self._registry.terms
        return program

    def _lay_out(self, program: Program | None) -> None:
        """Lay everything out and compute it."""
        self._news, self._late = {"*"}, set()
        self._standing.state[:] &= OUTCOME
        if program is None:
            self.engine = None
        else:
            book = self._accounts.whole()
            self.engine = Engine(book, program, self._standing, self._pool)
            self._standing.state[book.regular :] |= APART
        self._settled()
        self._look_around()

    def _follow(self, names: Collection[str]) -> None:
        """Note that prices or volatilities have moved."""
        self._news |= set(names)
        self._late |= set(names)
        if not self._lazy:
            self._catch_up()

    def _view(self) -> MarketView:
        return self._world.moved_view(self._first_view, self._terms)

    def _catch_up(self) -> None:
        """Bring rows to where prices and volatilities are."""
        names, self._late = sorted(self._late), set()
        if self.engine is None or not names:
            return
        place = {name: k for k, name in enumerate(self._registry.assets)}
        moved = [place[name] for name in names if name in place]
        if not self.engine.advance(self._view(), moved, apart=self._lazy):
            before = self._everybody()
            self._lay_out(self._compiled())
            self._keep(before)

    # ---- trigger prices ------------------------------------------------------------------

    @property
    def _lazy(self) -> bool:
        """Whether there are trigger prices, so that accounts may wait."""
        lookout = self._lookout
        return lookout is not None and lookout.triggers is not None and self.engine is not None

    def _look_around(self) -> None:
        """Make trigger prices anew, where they are asked for; everybody has been computed."""
        if self._lookout is not None and self.engine is not None:
            program = self.engine.program
            rows = holdings_of(self._accounts.whole(), program)
            self._lookout.begin(program, rows, self._standing.state)

    def _answered(self, *, only_prices: bool) -> tuple[Ints, int]:
        """Compute whom an event has made due."""
        if self._lookout is None or self.engine is None:
            return self._settled()
        if not self._lazy:
            found = self._settled()
            if self._lookout.waits():
                self._look_around()
            return found
        take = self._lookout.prices if only_prices else self._lookout.market
        due = take(self._view(), self._standing.state)
        if due is None:
            return self._settled()
        moved, self._news = self._news, set()
        turned = coded(due.turned, self._standing.state)
        self._standing.state[due.turned] ^= BELOW_MM
        changed, apart = self._revalued(due.asked, self._apart.touched(moved))
        if turned.size:
            changed = np.sort(np.concatenate([turned, changed]))
        return changed, due.visited + apart

    def _bring_up(self) -> None:
        """Compute what trigger prices have left for later."""
        if self._lazy and self.engine is not None and (self._late or self.engine.pending.any):
            self._keep(self._settled()[0])

    # ---- computing -----------------------------------------------------------------------

    def _settled(self) -> tuple[Ints, int]:
        """Compute all that has changed: accounts whose outcome did, coded, and how many."""
        self._catch_up()
        moved, self._news = self._news, set()
        if self.engine is None:
            return self._whole() if moved else (_NONE, 0)
        rest = self._apart.touched(moved)
        return self._finish(self.engine.settle(), rest)

    def _revalued(self, chosen: Ints, rest: Ints = _NONE) -> tuple[Ints, int]:
        """Compute some accounts, and irregular ones beside them."""
        if self.engine is None:
            return self._settled()
        regular = self._accounts.regular
        rest = np.union1d(rest, chosen[chosen >= regular]).astype(np.int64)
        chosen = chosen[chosen < regular]
        if not chosen.size:
            return self._finish((_NONE, _NONE, 0), rest) if rest.size else (_NONE, 0)
        self._catch_up()
        return self._finish(self.engine.revalue(chosen), rest)

    def _finish(self, found: Found, rest: Ints) -> tuple[Ints, int]:
        """Compute what stands apart."""
        changed, due, visited = found
        self._reasons.clear()
        waiting = np.concatenate([due, coded(rest, self._standing.state)])
        if waiting.size:
            accounts = waiting >> BITS
            result = self._apart.evaluate(accounts, self._world.snapshot())
            columns = [result.equity, result.equity_im, result.im, result.mm, result.health]
            self._write(accounts, np.stack(columns, axis=1))
            for row, why in result.failures.items():
                self._reasons[int(accounts[row])] = why
            changed = np.sort(np.concatenate([changed, waiting]))
        return changed, visited + rest.size

    def _keep(self, changed: Ints) -> None:
        """Keep what has changed for the next event to say."""
        self._unsaid = merged(self._unsaid, changed)

    def _say(self, changed: Ints, visited: int) -> Breaches:
        changed, self._unsaid = merged(self._unsaid, changed), _NONE
        return breaches(changed, self._standing.state, visited)

    def _everybody(self) -> Ints:
        return coded(np.arange(self.size), self._standing.state)

    def _write(self, accounts: Ints, columns: Floats) -> None:
        state = self._standing.state
        self._standing.columns[accounts] = columns
        state[accounts] = (state[accounts] & (255 - OUTCOME)) | bits_of(columns)

    def _whole(self) -> tuple[Ints, int]:
        """Compute the whole book, where nothing less can be done."""
        everybody, before = np.arange(self.size), self._everybody()
        found = evaluate_compact(
            self._accounts.whole(), self._world.snapshot(), self._rules, threads=self._threads
        )
        columns = [found.equity, found.equity_im, found.im, found.mm, found.health]
        self._write(everybody, np.stack(columns, axis=1))
        self._reasons = dict(found.failures)
        return before, self.size

    def _put(self, account: int, holding: Holding) -> Breaches:
        """Write an edited account down and compute it."""
        self._catch_up()
        self._accounts.put(account, holding)
        if self.engine is None:
            self._news.add("*")
            return self._say(*self._settled())
        if not self.engine.knows(holding.positions, holding.balances):
            # A contract or coin that nobody had held: codes are numbered anew.
            self._items = np.union1d(self._items, list(holding.positions)).astype(np.int64)
            self._assets = np.union1d(self._assets, list(holding.balances)).astype(np.int64)
            before = self._everybody()
            self._lay_out(self._compiled())
            return self._say(before, self.size)
        rows = holdings_of(self._accounts.some([account]), self.engine.program)
        found = self._finish(self.engine.replace(account, rows), _NONE)
        lookout = self._lookout
        if lookout is not None and not lookout.edited(account, rows, self._standing.state):
            self._keep(self._settled()[0])
            self._look_around()
        return self._say(*found)
