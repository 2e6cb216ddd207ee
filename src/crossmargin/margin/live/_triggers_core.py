"""What trigger prices are made of: pots are looked at, rated, settled, and their prices written.

Questions and moves are in :mod:`crossmargin.margin.live.triggers`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossmargin.margin.fused._holdings import Holdings
from crossmargin.margin.fused._program import Program
from crossmargin.margin.live import _exposures as ex
from crossmargin.margin.live._gauge import slack_of_pots
from crossmargin.margin.live._marks import Marks
from crossmargin.margin.live._past import Past
from crossmargin.margin.live._price import PriceTable, price_table
from crossmargin.margin.live._rates import Rates
from crossmargin.margin.live._rows import Rows

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

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


class TriggersCore:
    """State of trigger prices, and how pots are visited.

    Parameters are those of :class:`crossmargin.margin.live.triggers.Triggers`.
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
        self.pots = self._exposed(holdings, self._rows.code)
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

    def _exposed(self, rows: Holdings, code: NDArray[Any]) -> ex.Exposures:
        """Return what rows are exposed to, by the codes they stand under."""
        return ex.expose(rows, self.prices, code, ROUNDING, self.pace > 0)

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
