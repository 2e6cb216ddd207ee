"""Trigger prices: between which prices an account cannot cross its maintenance line.

Every account has, for each underlying it depends on, a lower and an upper price. While all prices
stay between them no pot of the account can change sides of its maintenance line, so a tick visits
only the accounts whose prices it crosses. Visited accounts are computed exactly and get new ones.

The proof, term by term, is docs/models/triggers.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossmargin.margin.fused._holdings import Holdings
from crossmargin.margin.fused._layout import ACCOUNT
from crossmargin.margin.fused._program import Program
from crossmargin.margin.fused._run import run_program
from crossmargin.margin.live import _exposures as ex
from crossmargin.margin.live._gauge import Gauge
from crossmargin.margin.live._price import PriceTable, price_table, program_at
from crossmargin.margin.live._signed import NotBounded
from crossmargin.margin.live._tables import ABOVE, BELOW, Anchor, Filler

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

__all__ = ["NotBounded", "Tick", "Triggers"]

#: Share of an account's gross value that is taken for rounding: what is nearer to its line is
#: decided by the fused kernel itself.
ROUNDING = 1e-9

#: Ends of the ranges in which rates hold, as multiples of the price of the visit: an account takes
#: the narrower one as it comes nearer to its line.
REACHES = ((0.45, 2.2), (0.80, 1.25), (0.95, 1.053), (0.988, 1.012))

#: How far behind the anchor lines are read for a bound from above, as a share of the range.
_BEHIND = 0.25


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
    pace : dict of str to float, optional
        Typical relative move of each asset: how an account's slack is shared between its
        underlyings. Default 1 for all; an asset at 0 gets no share.
    reaches : sequence of (float, float), optional
        Ranges of the bounds, wide to narrow, as multiples of a price.

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
        pace: dict[str, float] | None = None,
        reaches: tuple[tuple[float, float], ...] = REACHES,
    ) -> None:
        self.program = program
        self.holdings = holdings
        self.prices: PriceTable = price_table(program)
        drivers = self.prices.drivers
        names = [program.registry.assets[a] for a in drivers.asset]
        self.assets: tuple[str, ...] = tuple(names)
        self.base: Floats = program.units.frame.view.asset_usd[drivers.asset].copy()
        self.rho: Floats = np.ones(len(names))
        self.pace: Floats = np.array([1.0 if pace is None else pace.get(n, 0.0) for n in names])
        self.reaches = np.array(reaches, dtype=np.float64)
        narrow = np.uint16 if 2 * program.layout.size <= np.iinfo(np.uint16).max else np.uint32
        self.code: NDArray[Any] = np.empty(holdings.code.size, dtype=narrow)
        ex.signed_codes(holdings.code, holdings.quantity, self.code)
        self.pots = ex.expose(holdings, self.prices, self.code, ROUNDING)
        self._filler = Filler(program, self.prices)
        self._table = self._filler.empty()
        self._ends = (self._filler.empty(), self._filler.empty())
        self._anchors: list[Anchor | None] = [None] * len(names)
        self._filled = np.full(len(names), np.nan)
        self._gauge = Gauge(program, self.prices.signed, self.pots.first, self.pots.last, self.code,
                            holdings.quantity, holdings.level)  # fmt: skip
        self._lay_out()
        self._below = np.zeros(holdings.size, dtype=np.int32)
        self._visit(np.arange(self.pots.pot_account.size), everything=True)

    # ---- questions ---------------------------------------------------------------------------

    @property
    def breached(self) -> NDArray[np.bool_]:
        """Accounts with a pot below its maintenance line, bool[A]."""
        return self._below > 0

    @property
    def nbytes(self) -> int:
        """Bytes of what is kept by account."""
        kept = (self.lower, self.upper, self._block_lower, self._block_upper, self.exposure)
        return self.pots.nbytes + self.code.nbytes + sum(a.nbytes for a in kept)

    def bounds(self, account: int) -> dict[str, tuple[float, float]]:
        """Return the prices between which an account is not due, by asset, US dollars."""
        out: dict[str, tuple[float, float]] = {}
        for p in np.flatnonzero(self.pots.pot_account == account).tolist():
            for e in range(int(self.pots.pot_first[p]), int(self.pots.pot_first[p + 1])):
                d = int(self.pots.driver[e])
                k = int(self._offset[d] + self.pots.place[e])
                low, high = self.lower[k] * self.base[d], self.upper[k] * self.base[d]
                was = out.get(self.assets[d], (0.0, np.inf))
                out[self.assets[d]] = (max(was[0], low), min(was[1], high))
        return out

    def due(self, asset: str, price: float) -> Ints:
        """Return the accounts that a price of an asset makes due; nothing is computed."""
        d = self._driver(asset)
        return np.unique(self.pots.pot_account[self._due_pots(d, price / self.base[d])])

    def _driver(self, asset: str) -> int:
        if asset in self.assets:
            return self.assets.index(asset)
        raise NotBounded(f"the price of {asset} moves more than lines: compile the rules anew")

    # ---- moves -------------------------------------------------------------------------------

    def move(self, prices: dict[str, float]) -> Tick:
        """Take new prices, and visit the accounts that are due.

        Parameters
        ----------
        prices : dict of str to float
            US dollars, by asset; the others stay where they are.
        """
        due = []
        for asset, price in prices.items():
            d = self._driver(asset)
            rho = price / self.base[d]
            if rho != self.rho[d]:
                self.rho[d] = rho
                due.append(self._due_pots(d, rho))
        pots = np.unique(np.concatenate(due)) if len(due) > 1 else (due[0] if due else _NONE)
        return self._visit(pots)

    def _due_pots(self, driver: int, rho: float) -> Ints:
        n = ex.find_due(
            self._offset[driver], self._offset[driver] + self._count[driver], rho, self.lower,
            self.upper, self._block_lower, self._block_upper, self.exposure, self.pots.pot,
            self._found,
        )  # fmt: skip
        return self._found[:n].copy()

    def _lay_out(self) -> None:
        """Order exposures by driver, each driver's at the beginning of a block."""
        e, count = self.pots, len(self.assets)
        self._count = np.bincount(e.driver, minlength=count).astype(np.int64)
        padded = -(-self._count // ex.BLOCK) * ex.BLOCK
        self._offset = np.concatenate([[0], np.cumsum(padded)])[:-1].astype(np.int64)
        room = int(padded.sum())
        self.exposure: Ints = np.zeros(room, dtype=np.int64)
        for d in range(count):
            mine = np.flatnonzero(e.driver == d)
            self.exposure[self._offset[d] : self._offset[d] + mine.size] = mine
            e.place[mine] = np.arange(mine.size)
        self.lower: Floats = np.full(room, -np.inf)
        self.upper: Floats = np.full(room, np.inf)
        self._block_lower = np.full(room // ex.BLOCK, -np.inf)
        self._block_upper = np.full(room // ex.BLOCK, np.inf)
        self._found: Ints = np.empty(int(self._count.max(initial=1)), dtype=np.int64)

    def _visit(self, pots: Ints, *, everything: bool = False) -> Tick:
        """Compute pots at the prices of now, and renew their trigger prices."""
        e = self.pots
        before = e.state[pots] & ex.BREACHED
        chunk = 65_536 if everything else max(pots.size, 1)
        for at in range(0, pots.size, chunk):
            self._renew(pots[at : at + chunk], everything)
        after = e.state[pots] & ex.BREACHED
        account = e.pot_account[pots]
        was = self._below[account] > 0
        np.add.at(self._below, account, after.astype(np.int32) - before.astype(np.int32))
        now = self._below[account] > 0
        return Tick(
            visited=int(pots.size),
            breached=np.unique(account[now & ~was]).astype(np.int64),
            recovered=np.unique(account[was & ~now]).astype(np.int64),
        )

    def _renew(self, pots: Ints, everything: bool) -> None:
        e = self.pots
        size = int((e.pot_first[pots + 1] - e.pot_first[pots]).sum())
        lists = []
        for d in range(len(self.assets)):
            found = np.empty(size, dtype=np.int64)
            n = ex.gather(pots, pots.size, e.pot_first, e.driver, d, not everything, e.rho,
                          self.rho[d], found)  # fmt: skip
            lists.append(found[:n])
            if n:
                self._measure(d, found[:n])
        flipped, unsure = np.empty(pots.size, np.int64), np.empty(pots.size, np.int64)
        changed, doubtful = ex.settle(
            pots, pots.size, e.pot_first, e.still, e.value, e.room, e.guard, e.state, e.slack,
            flipped, unsure,
        )  # fmt: skip
        if doubtful:
            self._decide(unsure[:doubtful])
            flipped, changed = pots, pots.size
        for d, mine in enumerate(lists):
            if changed and not everything:
                more = np.empty(size, dtype=np.int64)
                n = ex.gather(flipped, changed, e.pot_first, e.driver, d, False, e.rho,
                              self.rho[d], more)  # fmt: skip
                mine = np.union1d(mine, more[:n])
            self._rate(d, mine)
        self._write(pots)
        if everything:
            # Those that come nearer than their range is meant for take a narrower one at once.
            for _ in range(1, self.reaches.shape[0]):
                again = [m[e.level[m] > 0] for m in lists]
                if not any(m.size for m in again):
                    break
                for d, mine in enumerate(again):
                    self._rate(d, mine)
                lists = again
                self._write(np.unique(e.pot[np.concatenate(again)]).astype(np.int64))

    def _write(self, pots: Ints) -> None:
        e = self.pots
        low = np.repeat(self.reaches[None, :, 0], len(self.assets), axis=0)
        high = np.repeat(self.reaches[None, :, 1], len(self.assets), axis=0)
        ex.set_triggers(
            pots, pots.size, e.pot_first, e.driver, e.state, e.slack, e.guard, e.still,
            e.loose, e.rho, e.fall,
            e.rise, e.room, e.room_fall, e.room_rise, e.level, e.place, self.pace, low, high,
            self.reaches.shape[0], self._offset, self.lower, self.upper, self._block_lower,
            self._block_upper,
        )  # fmt: skip

    def _measure(self, driver: int, exposures: Ints) -> None:
        """Compute the slack of exposures at the price of now."""
        rho = float(self.rho[driver])
        if self._filled[driver] != rho:
            self._anchors[driver] = self._filler.anchor(driver, rho)
            self._filler.fill(self._table, driver, rho, self._anchors[driver])
            self._filled[driver] = rho
        e = self.pots
        slack, loose, room = self._gauge.read(exposures, self._table, self._table)
        ex.put_values(exposures, slack, loose, room, e.cash, rho, e.value, e.loose, e.room, e.rho)

    def _rate(self, driver: int, exposures: Ints) -> None:
        """Bound how fast the slack of exposures can go, on either side of the price of now."""
        e, rho = self.pots, float(self.rho[driver])
        below = (e.state[e.pot[exposures]] & ex.BREACHED) != 0
        level = e.level[exposures]
        for k in range(self.reaches.shape[0]):
            for side, chosen in ((BELOW, ~below), (ABOVE, below)):
                mine = exposures[chosen & (level == k)]
                if mine.size:
                    self._bound(driver, mine, rho, self.reaches[k], side)

    def _bound(self, driver: int, exposures: Ints, rho: float, reach: Floats, side: int) -> None:
        e = self.pots
        start = e.value if side == BELOW else e.loose
        rates = ((e.fall, e.room_fall), (e.rise, e.room_rise))
        for end, table, (rate, room_rate) in zip(rho * reach, self._ends, rates):
            at = end if side == BELOW else rho - _BEHIND * (end - rho)
            self._filler.bound(table, driver, self._anchors[driver], rho, end, at, side)
            slack, _, room = self._gauge.read(exposures, table, self._table, turned=side == BELOW)
            ex.put_rates(exposures, slack, room, e.cash, at, end, start, e.room, e.rho, rate,
                         room_rate)  # fmt: skip

    # ---- what rounding leaves open -----------------------------------------------------------

    def _decide(self, pots: Ints) -> None:
        """Let the fused kernel decide pots whose slack is within rounding of 0."""
        e = self.pots
        accounts = np.unique(e.pot_account[pots])
        few = take_accounts(self.holdings, accounts)
        now = program_at(self.program, self.prices.drivers, self.rho)
        health = run_program(now, few).health
        row = np.searchsorted(accounts, e.pot_account[pots])
        for p, r in zip(pots.tolist(), row.tolist()):
            # One pot decides for its account: it is due again at the next move whatever it says.
            below = bool(health[r] < 1.0)
            alone = (e.pot_account == e.pot_account[p]).sum() == 1
            if alone:
                e.state[p] = (e.state[p] & ~ex.BREACHED) | (ex.BREACHED if below else 0)


_NONE = np.empty(0, dtype=np.int64)


def take_accounts(holdings: Holdings, accounts: NDArray[Any]) -> Holdings:
    """Return the holdings of some accounts."""
    width = np.diff(holdings.start)[accounts]
    start = np.concatenate([[0], np.cumsum(width)]).astype(np.int64)
    rows = np.repeat(holdings.start[accounts] - start[:-1], width) + np.arange(start[-1])
    level = np.append(holdings.level[rows], np.uint8(ACCOUNT))
    return replace(holdings, start=start, code=holdings.code[rows],
                   quantity=holdings.quantity[rows], level=level)  # fmt: skip
