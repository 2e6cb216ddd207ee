"""Trigger prices: between which prices an account cannot cross its maintenance line.

Every account has, for each underlying it depends on, a lower and an upper price. While all prices
stay between them no pot of the account can change sides of its maintenance line, so a tick visits
only the accounts whose prices it crosses. Visited accounts are computed exactly and get new ones.

The proof, term by term, is docs/models/triggers.md.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.margin.fused._holdings import Holdings
from crossmargin.margin.live import _exposures as ex
from crossmargin.margin.live._price import rho_of
from crossmargin.margin.live._rows import append
from crossmargin.margin.live._signed import NotBounded
from crossmargin.margin.live._triggers_core import Tick, TriggersCore
from crossmargin.market import MarketView

Ints = NDArray[np.int64]

__all__ = ["NotBounded", "Tick", "Triggers"]

_NONE = np.empty(0, dtype=np.int64)


class Triggers(TriggersCore):
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
        one = self._exposed(rows, code)
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
