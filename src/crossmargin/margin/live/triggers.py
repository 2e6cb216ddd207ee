"""Trigger prices: between which prices an account cannot cross its maintenance line.

Every account has, for each underlying it depends on, a lower and an upper price. While all prices
stay between them no pot of the account can change sides of its maintenance line, so a tick visits
only the accounts whose prices it crosses. Visited accounts are computed exactly and get new ones.

The proof, term by term, is docs/models/triggers.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.margin.fused._holdings import Holdings
from crossmargin.margin.fused._program import Program
from crossmargin.margin.live import _exposures as ex
from crossmargin.margin.live._gauge import Gauge, Lines, slack_of_pots
from crossmargin.margin.live._past import (
    TIME_RANGE,
    VOL_RANGE,
    Past,
    Swing,
    later_terms,
    swings_of,
)
from crossmargin.margin.live._price import PriceTable, price_table
from crossmargin.margin.live._signed import NotBounded
from crossmargin.margin.live._tables import ABOVE, BELOW, Anchor, Filler, Table
from crossmargin.market import MarketView

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

__all__ = ["NotBounded", "Tick", "Triggers"]

#: Share of the gross value of a pot that is taken for rounding: a pot that is nearer to its line
#: is due at every move.
ROUNDING = 1e-12

#: Ends of the ranges in which rates hold, as multiples of the price of the visit: an account takes
#: the narrower one as it comes nearer to its line.
REACHES = ((0.45, 2.2), (0.85, 1.18), (0.96, 1.042), (0.99, 1.0101))

#: How far behind the anchor lines are read for a bound from above, as a share of the range.
_BEHIND = 0.25
#: Pots in work at a time when the whole book is.
_CHUNK = 16_384
_NONE = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """What a move of prices did.

    Attributes
    ----------
    visited : int
        Pots computed anew.
    breached, recovered : int64[...]
        Accounts that fell below their maintenance line, and that no longer are, in order.
    """

    visited: int
    breached: Ints
    recovered: Ints


class Triggers:
    """Trigger prices of a book.

    Parameters
    ----------
    program : Program
        Compiled rules and market.
    holdings : Holdings
        Laid out for the program.
    pace : mapping of str to float, optional
        Typical relative move of each asset: how an account's slack is shared between its
        underlyings. Default 1 for all; an asset at 0 is taken to stand still for good.
    within : mapping of str to (float, float), optional
        Prices between which an asset is known to stay (a path that is replayed): what cannot be
        due there is not looked at again.
    reaches : sequence of (float, float), optional
        Ranges of the bounds, wide to narrow, as multiples of a price.
    moving : bool
        Whether volatilities and time are bounded too, for :meth:`market`.
    prices : PriceTable, optional
        Of the program, where it is known.

    Raises
    ------
    NotBounded
        With a sentence, where the rule-set or the market has a term without a bound.
    """

    def __init__(
        self,
        program: Program,
        holdings: Holdings,
        *,
        pace: Mapping[str, float] | None = None,
        within: Mapping[str, tuple[float, float]] | None = None,
        reaches: tuple[tuple[float, float], ...] = REACHES,
        moving: bool = False,
        prices: PriceTable | None = None,
    ) -> None:
        self.program = program
        self.holdings = holdings
        self.prices = price_table(program) if prices is None else prices
        drivers = self.prices.drivers
        self.assets: tuple[str, ...] = tuple(program.registry.assets[a] for a in drivers.asset)
        self.base: Floats = program.units.frame.view.asset_usd[drivers.asset].copy()
        count = len(self.assets)
        self.rho: Floats = np.ones(count)
        self._heading: Floats = np.zeros(count)
        self.pace: Floats = np.array([1.0 if pace is None else pace.get(n, 0.0)
                                      for n in self.assets])  # fmt: skip
        known = {} if within is None else within
        self._floor = np.array([known.get(n, (-np.inf, 0))[0] for n in self.assets]) / self.base
        self._ceiling = np.array([known.get(n, (0, np.inf))[1] for n in self.assets]) / self.base
        self.reaches: Floats = np.array(reaches, dtype=np.float64)
        narrow = np.uint16 if 2 * program.layout.size <= np.iinfo(np.uint16).max else np.uint32
        self.code: NDArray[Any] = np.empty(holdings.code.size, dtype=narrow)
        ex.signed_codes(holdings.code, holdings.quantity, self.code)
        self.pots = ex.expose(holdings, self.prices, self.code, ROUNDING, self.pace > 0)
        if moving:
            self.pots.more = np.zeros((self.pots.first.size, 6))
        self._past = Past(program, self.prices)
        self._filler = Filler(program, self.prices, margin=VOL_RANGE if moving else 0.0)
        self._table = self._filler.empty(whole=True)
        self._loose = self._filler.empty()
        self._bounds: dict[tuple[int, int], _Bounds] = {}
        self._swings: _Bounds | None = None
        self._anchors: list[Anchor | None] = [None] * count
        self._filled, self._unturned = np.full(count, np.nan), np.full(count, np.nan)
        self._gauge = Gauge(program, self.prices.signed, self.pots, self.code, holdings.quantity,
                            holdings.level)  # fmt: skip
        self._lay_out()
        self._below = np.zeros(holdings.size, dtype=np.int32)
        self._edited = _NONE
        self._shelter: Floats = np.empty((0, 2))
        self._begin()

    # ---- questions ---------------------------------------------------------------------------

    @property
    def breached(self) -> NDArray[np.bool_]:
        """Accounts with a pot below its maintenance line, bool[A]."""
        return self._below > 0

    @property
    def uncovered(self) -> Ints:
        """Accounts that are not watched.

        They hold what cannot be valued or what has no bound, or were edited.
        """
        failed = (self.pots.state & ex.FAILED) != 0
        return np.unique(self.pots.pot_account[failed]).astype(np.int64)

    @property
    def over(self) -> Ints:
        """Accounts beyond the limit of a component: due at every tick, to be computed apart."""
        beyond = (self.pots.state & ex.OPEN) != 0
        return np.unique(self.pots.pot_account[beyond]).astype(np.int64)

    @property
    def nbytes(self) -> int:
        """Bytes of what is kept by account."""
        kept = (self.lower, self.upper, *self._summaries, self._owner, self._shelter)
        return self.pots.nbytes + self.code.nbytes + sum(a.nbytes for a in kept)

    def bounds(self, account: int) -> dict[str, tuple[float, float]]:
        """Return the prices between which an account is not due, by asset, US dollars."""
        out: dict[str, tuple[float, float]] = {}
        e = self.pots
        a, b = np.searchsorted(e.pot_account, [account, account + 1])
        for x in range(int(e.pot_first[a]), int(e.pot_first[b])):
            d = int(e.driver[x])
            k = int(self._offset[d] + e.place[x])
            was = out.get(self.assets[d], (-np.inf, np.inf))
            out[self.assets[d]] = (
                max(was[0], float(self.lower[k] * self.base[d])),
                min(was[1], float(self.upper[k] * self.base[d])),
            )
        return out

    def due(self, asset: str, price: float) -> Ints:
        """Return the accounts that a price of an asset makes due; nothing is computed.

        Accounts that were edited are among them, whatever they hold.
        """
        d = self._driver(asset)
        due = self.pots.pot_account[self._due_pots(d, price / self.base[d])]
        return np.union1d(due, self._edited).astype(np.int64)

    def edited(self, accounts: ArrayLike) -> None:
        """Stop watching accounts whose holdings have changed: from now on they are always due.

        They count as above their line here; who keeps their holdings computes them.

        Parameters
        ----------
        accounts : int[...]
            Numbers of accounts.
        """
        chosen = np.unique(np.asarray(accounts, dtype=np.int64))
        self._edited = np.union1d(self._edited, chosen)
        mine = np.flatnonzero(np.isin(self.pots.pot_account, chosen))
        self.pots.state[mine] = ex.FAILED
        self._below[chosen] = 0
        self._write(mine)

    def _driver(self, asset: str) -> int:
        if asset in self.assets:
            d = self.assets.index(asset)
            if self.pace[d] > 0:
                return d
            raise NotBounded(f"the price of {asset} was said to stand still")
        raise NotBounded(f"the price of {asset} moves more than lines: compile the rules anew")

    # ---- moves -------------------------------------------------------------------------------

    def move(
        self,
        prices: Mapping[str, float],
        within: Mapping[str, tuple[float, float]] | None = None,
    ) -> Tick:
        """Take new prices, and visit the accounts that are due.

        Parameters
        ----------
        prices : mapping of str to float
            US dollars, by asset; the others stay where they are.
        within : mapping of str to (float, float), optional
            Prices between which an asset stays from now on; they may only come nearer.
        """
        for asset, (low, high) in (within or {}).items():
            d = self._driver(asset)
            self._floor[d] = max(self._floor[d], low / self.base[d])
            self._ceiling[d] = min(self._ceiling[d], high / self.base[d])
        due = []
        for asset, price in prices.items():
            d = self._driver(asset)
            rho = price / self.base[d]
            if rho != self.rho[d]:
                self._heading[d] = rho - self.rho[d]
                self.rho[d] = rho
                due.append(self._due_pots(d, rho))
        # A pot has one exposure in a driver, so one list has nobody twice.
        pots = np.unique(np.concatenate(due)) if len(due) > 1 else (due or [_NONE])[0]
        return self._visit(pots)

    def market(self, view: MarketView) -> Tick:
        """Take a new market: prices, volatilities and time; visit the accounts that are due.

        A move of volatilities or of time costs a look at the figures of every pot, not at its
        rows.

        Parameters
        ----------
        view : MarketView
            Aligned with the program's registry. Assets that are no drivers stand still.

        Raises
        ------
        NotBounded
            Where something has moved that no bound covers: the rules are to be compiled anew.
        """
        if not self.pots.more.shape[0]:
            raise NotBounded("volatilities and time were not asked for: make triggers `moving`")
        drivers = self.prices.drivers
        home = self.program.units.frame.view
        still = drivers.of_asset[: view.asset_usd.size] < 0
        if np.any(view.asset_usd[still] != home.asset_usd[still]):
            raise NotBounded("the price of an asset moves that no account's margin depends on")
        rho = view.asset_usd[drivers.asset] / self.base
        for asset in np.array(self.assets)[(rho != 1.0) & (self.pace <= 0)].tolist():
            self._driver(asset)
        ratio = np.ones(view.asset_usd.size)
        inside = np.flatnonzero(~still)
        ratio[inside] = 1.0 / rho[drivers.of_asset[inside]]
        back = view.shocked(ratio, self.program.registry.terms)
        changed = self._past.take(self.program, self.prices, back)
        if changed is not None:
            self.program, self.prices = changed
            self._filler = Filler(self.program, self.prices, margin=VOL_RANGE)
            self._gauge = Gauge(self.program, self.prices.signed, self.pots, self.code,
                                self.holdings.quantity, self.holdings.level)  # fmt: skip
            self._filled[:] = self._unturned[:] = np.nan
            for kept in self._bounds.values():
                kept.filled[:] = np.nan
            self._write(np.arange(self.pots.pot_account.size))
        self._heading = np.where(rho != self.rho, rho - self.rho, self._heading)
        self.rho = rho
        due = [self._due_pots(d, float(r)) for d, r in enumerate(rho)]
        if self._past.full:
            due = [np.arange(self.pots.pot_account.size)]
        tick = self._visit(np.unique(np.concatenate([*due, _NONE])))
        if self._past.full:
            self._past.forget(self.pots.version)
        return tick

    def _due_pots(self, driver: int, rho: float) -> Ints:
        n = ex.find_due(
            self._offset[driver], self._offset[driver] + self._count[driver], rho, self.lower,
            self.upper, *self._summaries, self._owner, self._found,
        )  # fmt: skip
        return self._found[:n].copy()

    def _begin(self) -> None:
        """Look at everybody for the first time."""
        e, pots = self.pots, np.arange(self.pots.pot_account.size)
        total, over = slack_of_pots(self.program, self.holdings, e)
        for at in range(0, pots.size, _CHUNK):
            for d, mine in enumerate(self._stale(pots[at : at + _CHUNK], everything=True)):
                if mine.size:
                    self._measure(d, mine)
        ex.set_still(e.pot_first, e.pot_account, e.figures, total, over, e.sums, e.state)
        for at in range(0, pots.size, _CHUNK):
            mine = pots[at : at + _CHUNK]
            ex.settle(mine, mine.size, e.pot_first, e.sums, e.figures, e.state)
            moved = self._stale(mine, everything=True)
            self._again(moved, only_wrong=True)
            self._write(mine)
            # Those that come nearer than their range is meant for take a narrower one at once.
            again = [m[e.wish[m] != e.level[m]] for m in moved]
            self._again(again, only_wrong=False)
            touched = np.concatenate([e.pot[m] for m in again])
            self._write((touched if len(again) == 1 else np.unique(touched)).astype(np.int64))
        np.add.at(self._below, e.pot_account[(e.state & ex.BREACHED) != 0], 1)
        if not e.more.shape[0]:
            self._find_shelter()
        self._sort()

    def _sort(self) -> None:
        """Order trigger prices by how soon a falling price would meet them.

        Those that a move meets then lie together, in few blocks; who is never due lies at the end.
        """
        e = self.pots
        for d in range(len(self.assets)):
            first, count = int(self._offset[d]), int(self._count[d])
            mine = slice(first, first + count)
            exposure = np.flatnonzero(e.driver == d) if count < e.driver.size else slice(None)
            low = self.lower[mine]
            near = np.flatnonzero(np.isfinite(low))
            never = np.flatnonzero(~np.isfinite(low))
            order = np.concatenate([near[np.argsort(-low[near])], never])
            for column in (self.lower, self.upper, self._owner):
                column[mine] = column[mine][order]
            place = np.empty(count, dtype=np.int32)
            place[order] = np.arange(count, dtype=np.int32)
            e.place[exposure] = place
        sizes = (ex.BLOCK, ex.BLOCK, ex.BLOCK * ex.BLOCKS, ex.BLOCK * ex.BLOCKS)
        for k, (kept, size) in enumerate(zip(self._summaries, sizes)):
            column = self.upper if k % 2 else self.lower
            whole = column.reshape(-1, size)
            kept[:] = whole.min(axis=1) if k % 2 else whole.max(axis=1)

    def _find_shelter(self) -> None:
        """Look back from the ends of what is known: how far from there everybody is safe.

        Bounds from here and bounds from there may meet; who is between them is never due. Only
        pots with a single exposure are looked at: the others depend on other prices too.
        """
        e = self.pots
        alone = np.diff(e.pot_first) == 1
        safe = alone & (e.state == ex.SAFE)
        for d in range(len(self.assets)):
            for side, end in enumerate((self._floor[d], self._ceiling[d])):
                if not np.isfinite(end) or (end - self.rho[d]) * (1 if side else -1) <= 0:
                    continue
                mine = np.flatnonzero((e.driver == d) & safe[e.pot])
                at = self._offset[d] + e.place[mine]
                due = self.upper[at] if side else self.lower[at]
                mine, due = mine[np.isfinite(due)], due[np.isfinite(due)]
                if not self._shelter.shape[0]:
                    self._shelter = np.full((e.first.size, 2), (-np.inf, np.inf))
                self._look_back(d, side, float(end), mine, due)
                self._write(e.pot[mine].astype(np.int64))

    def _look_back(self, driver: int, side: int, end: float, mine: Ints, due: Floats) -> None:
        """Bound slack from the end of what is known towards here, as far as triggers reach."""
        e, filler = self.pots, self._filler
        anchor = filler.anchor(driver, end)
        here, found = filler.empty(whole=True), _Bounds.make(filler, len(self.assets))
        filler.fill(here, driver, end, anchor)
        found.apart[:, :8] = here.apart
        steps = np.exp(np.linspace(np.log(end), np.log(self.rho[driver]), 4))[1:]
        far = np.searchsorted(steps if side == 0 else -steps, due if side == 0 else -due)
        for k, to in enumerate(steps.tolist()):
            some = mine[np.minimum(far, 2) == k]
            if not some.size:
                continue
            span = abs(to - end)
            table = found.low if side else found.high
            filler.bound(table, driver, anchor, end, to, to, BELOW)
            lines = Lines(found.low, found.high, here, found.apart, (to, to), (span, span),
                          (span, span), False, (side == 0, side == 1))  # fmt: skip
            got = self._gauge.rates(some, here, end, lines)
            sums = e.sums[e.pot[some]]
            left = sums[:, ex.STILL] + got[:, ex.VALUE] - sums[:, ex.GUARD]
            rate, lost = got[:, ex.FALL if side else ex.RISE], got[:, ex.ROOM_FALL + 1 - side]
            with np.errstate(divide="ignore", invalid="ignore"):
                way = np.where(rate > 0, left / rate, np.inf)
                way = np.minimum(way, np.where(lost > 0, got[:, ex.ROOM] / lost, np.inf))
            way = np.minimum(way, span) * (1.0 - 1e-12)
            good = (left > 0) & (got[:, ex.ROOM] > 0)
            self._shelter[some[good], side] = (end - way if side else end + way)[good]

    def _lay_out(self) -> None:
        """Order exposures by driver, each driver's at the beginning of a block of blocks."""
        e, count = self.pots, len(self.assets)
        self._count = np.bincount(e.driver, minlength=count).astype(np.int64)
        wide = ex.BLOCK * ex.BLOCKS
        padded = -(-self._count // wide) * wide
        self._offset = np.concatenate([[0], np.cumsum(padded)])[:-1].astype(np.int64)
        room = int(padded.sum())
        self._owner = np.zeros(room, dtype=np.int32)
        for d in range(count):
            mine = np.flatnonzero(e.driver == d) if self._count[d] < e.driver.size else slice(None)
            self._owner[self._offset[d] : self._offset[d] + self._count[d]] = e.pot[mine]
            e.place[mine] = np.arange(self._count[d])
        self.lower: Floats = np.full(room, -np.inf)
        self.upper: Floats = np.full(room, np.inf)
        blocks, supers = room // ex.BLOCK, room // wide
        self._summaries = (
            np.full(blocks, -np.inf), np.full(blocks, np.inf),
            np.full(supers, -np.inf), np.full(supers, np.inf),
        )  # fmt: skip
        self._found: Ints = np.empty(int(self._count.max(initial=1)), dtype=np.int64)

    def _visit(self, pots: Ints) -> Tick:
        """Compute pots at the prices of now, and renew their trigger prices."""
        if not pots.size:
            return Tick(visited=0, breached=_NONE, recovered=_NONE)
        e = self.pots
        before = e.state[pots] & ex.BREACHED
        for at in range(0, pots.size, _CHUNK):
            self._renew(pots[at : at + _CHUNK])
        after = e.state[pots] & ex.BREACHED
        turned = np.flatnonzero(after != before)
        account = e.pot_account[pots[turned]]
        was = self._below[account] > 0
        np.add.at(self._below, account, np.where(after[turned] > 0, 1, -1))
        now = self._below[account] > 0
        return Tick(
            visited=int(pots.size),
            breached=np.unique(account[now & ~was]).astype(np.int64),
            recovered=np.unique(account[was & ~now]).astype(np.int64),
        )

    def _renew(self, pots: Ints) -> None:
        e = self.pots
        moved = self._stale(pots)
        for d, mine in enumerate(moved):
            if mine.size:
                self._measure(d, mine)
        if ex.settle(pots, pots.size, e.pot_first, e.sums, e.figures, e.state):
            # Their rates bound the other side: once more, now that the side is known.
            self._again(moved, only_wrong=True)
        self._write(pots)

    def _stale(self, pots: Ints, *, everything: bool = False) -> list[Ints]:
        """List exposures of pots that were last looked at in another market, by driver."""
        e, drivers = self.pots, len(self.assets)
        width = int((e.pot_first[pots + 1] - e.pot_first[pots]).sum())
        lists = np.empty((drivers, width), dtype=np.int64)
        sizes = np.zeros(drivers, dtype=np.int64)
        ex.gather(pots, pots.size, e.pot_first, e.driver, e.figures, self.rho, e.version,
                  self._past.now, everything, lists, sizes)  # fmt: skip
        return [lists[d, : sizes[d]] for d in range(drivers)]

    def _again(self, lists: list[Ints], *, only_wrong: bool) -> None:
        """Rate exposures again: those whose rates bound the wrong side, or all of them."""
        e = self.pots
        for d, mine in enumerate(lists):
            needed = np.where(e.state[e.pot[mine]] & ex.BREACHED, ex.ABOVE, ex.BELOW)
            wrong = mine[e.side[mine] != needed] if only_wrong else mine
            if only_wrong:
                # Who falls below the line mostly goes on falling: the widest range will do.
                e.wish[wrong] = 0
            if wrong.size:
                self._measure(d, wrong)

    def _write(self, pots: Ints) -> None:
        e = self.pots
        ex.set_triggers(
            pots, pots.size, e.pot_first, e.driver, e.state, e.sums, e.figures, e.level, e.side,
            e.wish, e.place, self.pace, self._heading, self.reaches, self._floor,
            self._ceiling, e.version, self._past.now, e.more, self._past.down, self._past.up,
            self._past.passed, self._offset, self.lower, self.upper, *self._summaries,
            self._shelter,
        )  # fmt: skip

    def _measure(self, driver: int, exposures: Ints) -> None:
        """Compute slack and rates of exposures of one driver at the price of now."""
        e, rho = self.pots, float(self.rho[driver])
        if self._filled[driver] != rho:
            self._anchors[driver] = self._filler.anchor(driver, rho)
            self._filler.fill(self._table, driver, rho, self._anchors[driver])
            self._filled[driver] = rho
        below = (e.state[e.pot[exposures]] & ex.BREACHED) != 0
        levels = self.reaches.shape[0]
        # A table costs as much to fill as some exposures cost to visit once more.
        few = self._filler.both[driver].size // 12
        kind = _gathered(e.wish[exposures] + levels * below.astype(np.int64), levels, few)
        for key in np.flatnonzero(np.bincount(kind)).tolist():
            level, side = key % levels, ABOVE if key >= levels else BELOW
            mine = exposures[kind == key]
            e.level[mine] = level
            self._gauge.read(mine, self._table, rho, self._lines(driver, rho, level, side))
            if e.more.shape[0]:
                self._swing(driver, mine, rho, level, side)

    def _swing(self, driver: int, exposures: Ints, rho: float, level: int, side: int) -> None:
        """Bound how fast slack can go as volatilities and time move, per range of theirs."""
        e, filler, anchor = self.pots, self._filler, self._anchors[driver]
        if self._swings is None:
            self._swings = _Bounds.make(filler, len(self.assets))
        found = self._swings
        low, high = self._ends(driver, rho, level)
        vol = time = Swing(np.zeros((0, 0)), np.zeros(0))
        if anchor is not None:
            vol, time = swings_of(self.prices.options[driver], anchor, low, high)
        rows = self._filler.both[driver]
        found.apart[rows, :8] = self._table.apart[rows]
        at = 1.0 if side == BELOW else -_BEHIND
        spans, ends = (abs(at), abs(at)), (1.0, 1.0)
        for table, sides in ((found.low, (1.0, 0.0)), (found.high, (0.0, 1.0))):
            filler.swing(table, driver, anchor, rho, vol.curves, vol.delta, sides, at, side)
        lines = Lines(found.low, found.high, self._loose, found.apart, (rho, rho), spans, ends,
                      side == ABOVE)  # fmt: skip
        e.more[exposures, :4] = self._gauge.rates(exposures, self._table, rho, lines)[:, ex.FALL :]
        if side == BELOW:
            # Who is below the line is looked at again whenever time has passed.
            filler.swing(found.low, driver, anchor, rho, time.curves, time.delta, (1.0, 1.0), 1.0,
                         BELOW)  # fmt: skip
            found.apart[rows, 16:] = found.apart[rows, 8:16]
            lines = Lines(found.low, found.low, self._loose, found.apart, (rho, rho), spans, ends,
                          False)  # fmt: skip
            rates = self._gauge.rates(exposures, self._table, rho, lines,
                                      later_terms(self.program, TIME_RANGE))  # fmt: skip
            e.more[exposures, 4] = rates[:, ex.FALL]
            e.more[exposures, 5] = rates[:, ex.ROOM_FALL]

    def _ends(self, driver: int, rho: float, level: int) -> tuple[float, float]:
        """Return the ends of a range about a price."""
        low = max(ex.range_end(rho, self.reaches[level, 0]), self._floor[driver])
        high = min(ex.range_end(rho, self.reaches[level, 1]), self._ceiling[driver])
        # At the end of what is known there is nothing to bound, but a line needs two points.
        return (low if low < rho else rho * 0.999, high if high > rho else rho * 1.001)

    def _closed(self, driver: int, rho: float) -> tuple[bool, bool]:
        """Whether a price can no longer fall, and no longer rise."""
        return bool(self._floor[driver] >= rho), bool(self._ceiling[driver] <= rho)

    def _lines(self, driver: int, rho: float, level: int, side: int) -> Lines:
        """Fill the tables of lines on either side of a price; those that are filled are kept."""
        found = self._bounds.get((level, side))
        if found is None:
            found = self._bounds[level, side] = _Bounds.make(self._filler, len(self.assets))
        ends, closed = self._ends(driver, rho, level), self._closed(driver, rho)
        reads = ends
        if side == ABOVE:
            reads = (rho - _BEHIND * (ends[0] - rho), rho - _BEHIND * (ends[1] - rho))
        if found.filled[driver] != rho:
            found.filled[driver] = rho
            anchor = self._anchors[driver]
            ways = zip((found.low, found.high), ends, reads, closed)
            for table, end, read, shut in ways:
                if not shut:
                    self._filler.bound(table, driver, anchor, rho, end, read, side)
            if self.prices.signed.turned.size:
                rows = self._filler.both[driver]
                found.apart[rows, :8] = self._table.apart[rows]
                if side == ABOVE and self._unturned[driver] != rho:
                    self._unturned[driver] = rho
                    self._filler.fill(self._loose, driver, rho, anchor)
        spans = (abs(reads[0] - rho), abs(reads[1] - rho))
        wide = (abs(ends[0] - rho), abs(ends[1] - rho))
        return Lines(found.low, found.high, self._loose, found.apart, reads, spans, wide,
                     side == ABOVE, closed)  # fmt: skip


@dataclass(slots=True)
class _Bounds:
    """Tables of lines on either side of the price of each driver.

    Turned lanes of the exact table, and of both of these, lie side by side in `apart`.
    """

    low: Table
    high: Table
    apart: Floats
    filled: Floats

    @classmethod
    def make(cls, filler: Filler, drivers: int) -> _Bounds:
        apart = np.zeros((filler.prices.fixed.shape[0], 24))
        return cls(filler.empty(apart[:, 8:16]), filler.empty(apart[:, 16:]), apart,
                   np.full(drivers, np.nan))  # fmt: skip


def _gathered(kind: Ints, levels: int, few: int) -> Ints:
    """Put the few of a range with the many of another, the narrower where there is one.

    `kind` is the range, plus `levels` for those that are bounded from above.
    """
    count = np.bincount(kind, minlength=2 * levels)
    target = np.arange(2 * levels)
    for side in (0, levels):
        many = [k for k in range(side, side + levels) if count[k] >= few]
        if not many:
            many = [side + int(np.argmax(count[side : side + levels]))]
        for k in range(side, side + levels):
            if count[k] < few:
                narrower = [m for m in many if m >= k]
                target[k] = narrower[0] if narrower else many[-1]
    return target[kind]
