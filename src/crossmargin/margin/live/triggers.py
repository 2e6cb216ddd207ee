"""Trigger prices: between which prices an account cannot cross its maintenance line.

Every account has, for each underlying it depends on, a lower and an upper price. While all prices
stay between them no pot of the account can change sides of its maintenance line, so a tick visits
only the accounts whose prices it crosses. Visited accounts are computed exactly and get new ones.

The proof, term by term, is docs/models/triggers.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.margin.fused._holdings import Holdings
from crossmargin.margin.fused._program import Program
from crossmargin.margin.live import _exposures as ex
from crossmargin.margin.live._gauge import slack_of_pots
from crossmargin.margin.live._marks import Marks
from crossmargin.margin.live._past import Past
from crossmargin.margin.live._price import PriceTable, price_table, rho_of
from crossmargin.margin.live._rates import Rates
from crossmargin.margin.live._rows import Rows, append
from crossmargin.margin.live._signed import NotBounded
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
    unsure : int64[...]
        Visited accounts that only the requirement itself can judge, in order: within rounding of
        their line or beyond the limit of a component, before or after, or no longer a number.
    """

    visited: int
    breached: Ints
    recovered: Ints
    unsure: Ints


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
        self._rows = Rows(holdings, 2 * program.layout.size)
        self.pots = ex.expose(holdings, self.prices, self._rows.code, ROUNDING, self.pace > 0)
        self._past = Past(program, self.prices)
        self._swinging = False
        self._rates = Rates(program, self.prices, self.pots, self._rows.columns, self.reaches,
                            self._floor, self._ceiling)  # fmt: skip
        self._marks = Marks(self.pots, count)
        self._below = np.zeros(holdings.size, dtype=np.int32)
        #: How many pots are not watched any more because their slack is no number.
        self.losses = 0
        self._edited = _NONE
        self._later: dict[int, Ints] = {}
        self._shelter: Floats = np.empty((0, 2))
        self._begin()

    # ---- questions ---------------------------------------------------------------------------

    @property
    def breached(self) -> NDArray[np.bool_]:
        """Accounts with a pot below its maintenance line, bool[A]."""
        return self._below > 0

    def is_below(self, accounts: Ints) -> NDArray[np.bool_]:
        """Whether some accounts are below their maintenance line."""
        return np.asarray(self._below[accounts] > 0)

    @property
    def uncovered(self) -> Ints:
        """Accounts that are not watched.

        They hold what cannot be valued or what has no bound, or were edited.
        """
        e = self.pots
        failed = (e.state[: e.used] & (ex.FAILED | ex.DEAD)) == ex.FAILED
        return np.unique(e.pot_account[: e.used][failed]).astype(np.int64)

    @property
    def over(self) -> Ints:
        """Accounts beyond the limit of a component: due at every tick, to be computed apart."""
        e = self.pots
        beyond = (e.state[: e.used] & ex.OPEN) != 0
        return np.unique(e.pot_account[: e.used][beyond]).astype(np.int64)

    @property
    def nbytes(self) -> int:
        """Bytes of what is kept by account."""
        kept = (self.pots, self._marks, self._rows.code, self._shelter)
        return sum(one.nbytes for one in kept)

    def bounds(self, account: int) -> dict[str, tuple[float, float]]:
        """Return the prices between which an account is not due, by asset, US dollars."""
        out: dict[str, tuple[float, float]] = {}
        e, marks = self.pots, self._marks
        mine = self._pots_of(account)
        for x in np.concatenate([_NONE, *(e.of_pot(p) for p in mine.tolist())]).tolist():
            d = int(e.driver[x])
            k = int(marks.offset[d] + e.place[x])
            was = out.get(self.assets[d], (-np.inf, np.inf))
            out[self.assets[d]] = (
                max(was[0], float(marks.lower[k] * self.base[d])),
                min(was[1], float(marks.upper[k] * self.base[d])),
            )
        return out

    def due(self, asset: str, price: float) -> Ints:
        """Return the accounts that a price of an asset makes due; nothing is computed.

        Accounts that were edited are among them, whatever they hold.
        """
        d = self._driver(asset)
        due = self.pots.pot_account[self._marks.due(d, price / self.base[d])]
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
        for account in chosen.tolist():
            self._bury(account, ex.FAILED)

    def replace(self, account: int, rows: Holdings) -> bool:
        """Give an account other rows, and watch it with them.

        Parameters
        ----------
        account : int
            Its number.
        rows : Holdings
            Of this account alone, laid out for the program.

        Returns
        -------
        bool
            False where there is no place left: triggers are then to be made anew. Nobody is
            visited, and nothing has changed.
        """
        code = self._rows.signed(rows)
        one = ex.expose(rows, self.prices, code, ROUNDING, self.pace > 0)
        steady = bool((self.pace > 0).all()) and not self.prices.stuck
        if not steady or not self._marks.has_room(np.unique(one.driver)):
            return False
        self._bury(account, ex.DEAD | ex.FAILED)
        self._edited = self._edited[self._edited != account]
        # Room for new exposures is not kept there; what was written because of it holds.
        self._shelter = np.empty((0, 2))
        one.first += self._rows.size
        one.last += self._rows.size
        self._rows.append(rows, code)
        still = ex.still_of(one, rows, code, self.prices)
        pots = append(self.pots, one, account, still, self._past.now)
        self._rates.follow(self._rows.columns)
        for p in pots.tolist():
            self._marks.add(self.pots, self.pots.of_pot(p))
        self._later[account] = pots
        self._renew(pots)
        self._below[account] = int(((self.pots.state[pots] & ex.BREACHED) != 0).sum())
        return True

    def covers(self, account: int) -> bool:
        """Whether an account is watched."""
        return not bool(np.any(self.pots.state[self._pots_of(account)] & ex.FAILED))

    def _bury(self, account: int, state: int) -> None:
        """Take the pots of an account out of the watch."""
        mine = self._pots_of(account)
        self.pots.state[mine] = state
        self._below[account] = 0
        self._write(mine)

    def _pots_of(self, account: int) -> Ints:
        if account in self._later:
            return self._later[account]
        a, b = np.searchsorted(self.pots.pot_account[: self._first_pots], [account, account + 1])
        return np.arange(a, b)

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
                due.append(self._marks.due(d, rho))
        # A pot has one exposure in a driver, so one list has nobody twice.
        pots = np.unique(np.concatenate(due)) if len(due) > 1 else (due or [_NONE])[0]
        return self._visit(pots)

    def move_to(self, view: MarketView) -> Tick:
        """Take the prices of a market in which nothing else has moved; see :meth:`move`.

        Raises
        ------
        NotBounded
            Where the price of an asset has moved that no bound covers.
        """
        home = self.program.units.frame.view
        rho = rho_of(view, home, self.prices.drivers, self.base)
        moved = np.flatnonzero(rho != self.rho).tolist()
        return self.move({self.assets[d]: float(view.asset_usd[self.prices.drivers.asset[d]])
                          for d in moved})  # fmt: skip

    def market(self, view: MarketView) -> Tick:
        """Take a new market: prices, volatilities and time; visit the accounts that are due.

        A move of volatilities or of time costs a look at the figures of every pot, not at its
        rows; the first one visits everybody, and each next one those whom prices have made due
        since the one before.

        Parameters
        ----------
        view : MarketView
            Aligned with the program's registry. Assets that are no drivers stand still.

        Raises
        ------
        NotBounded
            Where something has moved that no bound covers: the rules are to be compiled anew.
        """
        home = self.program.units.frame.view
        rho = rho_of(view, home, self.prices.drivers, self.base)
        for asset in np.array(self.assets)[(rho != 1.0) & (self.pace <= 0)].tolist():
            self._driver(asset)
        drivers = self.prices.drivers
        ratio = np.ones(view.asset_usd.size)
        inside = np.flatnonzero(drivers.of_asset[: view.asset_usd.size] >= 0)
        ratio[inside] = 1.0 / rho[drivers.of_asset[inside]]
        back = view.shocked(ratio, self.program.registry.terms)
        changed = self._past.take(self.program, self.prices, back)
        if changed is not None:
            if not self._swinging:
                self._begin_swinging()
            self.program, self.prices = changed
            self._rates.take(*changed)
            self._write(np.arange(self.pots.used))
        self._heading = np.where(rho != self.rho, rho - self.rho, self._heading)
        self.rho = rho
        due = [self._marks.due(d, float(r)) for d, r in enumerate(rho)]
        if self._past.full:
            due = [np.arange(self.pots.used)]
        tick = self._visit(np.unique(np.concatenate([*due, _NONE])), swinging=True)
        if self._past.full:
            self._past.forget(self.pots.version)
        return tick

    def _begin_swinging(self) -> None:
        """From now on volatilities and time move: nobody is known to be safe from that."""
        self._swinging = True
        self.pots.more = np.full((self.pots.first.size, 6), np.inf)
        # What was shown from the ends of a path holds for prices alone.
        self._shelter = np.empty((0, 2))
        self._rates.swing()

    def _begin(self) -> None:
        """Look at everybody for the first time."""
        e, pots = self.pots, np.arange(self.pots.used)
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
        self._find_shelter()
        self._marks.sort(e)
        self._first_pots = pots.size

    def _find_shelter(self) -> None:
        """Look back from the ends of what is known: how far from there everybody is safe.

        Bounds from here and bounds from there may meet; who is between them is never due. Only
        pots with a single exposure are looked at: the others depend on other prices too.
        """
        e = self.pots
        alone = np.diff(e.pot_first) == 1
        safe = alone & (e.state == ex.SAFE)
        for d, rho in enumerate(self.rho.tolist()):
            for side, end in enumerate((self._floor[d], self._ceiling[d])):
                if not np.isfinite(end) or (end - rho) * (1 if side else -1) <= 0:
                    continue
                mine = np.flatnonzero((e.driver == d) & safe[e.pot])
                at = self._marks.offset[d] + e.place[mine]
                due = (self._marks.upper if side else self._marks.lower)[at]
                mine, due = mine[np.isfinite(due)], due[np.isfinite(due)]
                if not self._shelter.shape[0]:
                    self._shelter = np.full((e.first.size, 2), (-np.inf, np.inf))
                safe_from = self._rates.look_back(d, rho, side, float(end), mine, due)
                self._shelter[safe_from[0], side] = safe_from[1]
                self._write(e.pot[mine].astype(np.int64))

    def _visit(self, pots: Ints, *, swinging: bool = False) -> Tick:
        """Compute pots at the prices of now, and renew their trigger prices."""
        if not pots.size:
            return Tick(visited=0, breached=_NONE, recovered=_NONE, unsure=_NONE)
        e = self.pots
        before = e.state[pots]
        # Who was so near the line before may have stood on its other side for the requirement.
        near = np.abs(e.sums[pots, ex.SLACK]) <= e.sums[pots, ex.GUARD]
        for at in range(0, pots.size, _CHUNK):
            self._renew(pots[at : at + _CHUNK], swinging)
        after = e.state[pots]
        near |= np.abs(e.sums[pots, ex.SLACK]) <= e.sums[pots, ex.GUARD]
        near |= ((before | after) & (ex.OPEN | ex.FAILED) != 0) & (before & ex.FAILED == 0)
        turned = np.flatnonzero((after ^ before) & ex.BREACHED)
        self.losses += int(np.count_nonzero(after & ~before & ex.FAILED))
        account = e.pot_account[pots[turned]]
        was = self._below[account] > 0
        np.add.at(self._below, account, np.where(after[turned] & ex.BREACHED, 1, -1))
        now = self._below[account] > 0
        return Tick(
            visited=int(pots.size),
            breached=np.unique(account[now & ~was]).astype(np.int64),
            recovered=np.unique(account[was & ~now]).astype(np.int64),
            unsure=np.unique(e.pot_account[pots[near]]).astype(np.int64),
        )

    def _renew(self, pots: Ints, swinging: bool = False) -> None:
        e = self.pots
        moved = self._stale(pots)
        for d, mine in enumerate(moved):
            if mine.size:
                self._measure(d, mine, swinging)
        if ex.settle(pots, pots.size, e.pot_first, e.sums, e.figures, e.state):
            # Their rates bound the other side: once more, now that the side is known.
            self._again(moved, only_wrong=True, swinging=swinging)
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

    def _again(self, lists: list[Ints], *, only_wrong: bool, swinging: bool = False) -> None:
        """Rate exposures again: those whose rates bound the wrong side, or all of them."""
        e = self.pots
        for d, mine in enumerate(lists):
            needed = np.where(e.state[e.pot[mine]] & ex.BREACHED, ex.ABOVE, ex.BELOW)
            wrong = mine[e.side[mine] != needed] if only_wrong else mine
            if only_wrong:
                # Who falls below the line mostly goes on falling: the widest range will do.
                e.wish[wrong] = 0
            if wrong.size:
                self._measure(d, wrong, swinging)

    def _measure(self, driver: int, exposures: Ints, swinging: bool = False) -> None:
        rho = float(self.rho[driver])
        self._rates.measure(driver, rho, exposures, swinging=swinging)

    def _write(self, pots: Ints) -> None:
        e, marks = self.pots, self._marks
        ex.set_triggers(
            pots, pots.size, e.pot_first, e.driver, e.state, e.sums, e.figures, e.level, e.side,
            e.wish, e.place, self.pace, self._heading, self.reaches, self._floor,
            self._ceiling, e.version, self._past.now, e.more, self._past.down, self._past.up,
            self._past.passed, marks.offset, marks.lower, marks.upper, *marks.summaries,
            self._shelter,
        )  # fmt: skip
