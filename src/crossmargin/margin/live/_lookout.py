"""Trigger prices beside a live book: whom an event makes due, or that nothing certain is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossmargin.margin.fused._holdings import Holdings
from crossmargin.margin.fused._program import Program
from crossmargin.margin.live._kernels import APART, BELOW_MM, FAILED
from crossmargin.margin.live.triggers import NotBounded, Triggers
from crossmargin.market import MarketView

Ints = NDArray[np.int64]
Bits = NDArray[np.uint8]

#: Events the full way after which trigger prices are made anew. The first look at everybody costs
#: as much as some dozens of full passes; a stablecoin that moves at every tick leaves no use of it.
PATIENCE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """Whom an event has made due.

    Attributes
    ----------
    turned : int64[...]
        Accounts that are on the other side of their maintenance line now, for certain; rising.
    asked : int64[...]
        Accounts that only the requirement can judge, none of those before; rising.
    visited : int
        How many were looked at.
    """

    turned: Ints
    asked: Ints
    visited: int


class Lookout:
    """Keeps trigger prices while they can be had.

    Attributes
    ----------
    reason : str
        Why there are none now; empty where there are.
    """

    def __init__(self) -> None:
        self._triggers: Triggers | None = None
        self._always: set[int] = set()
        self._losses = 0
        self._waited = 0
        # Whether nothing could be bounded even in a market that stands still.
        self._hopeless = False
        self.reason = "nobody has been looked at"

    @property
    def triggers(self) -> Triggers | None:
        """Trigger prices; None where there are none."""
        return self._triggers

    @property
    def nbytes(self) -> int:
        """Bytes of what is kept by account."""
        return 0 if self._triggers is None else self._triggers.nbytes

    def begin(self, program: Program, holdings: Holdings, state: Bits) -> None:
        """Look at everybody, in the market of a program.

        Parameters
        ----------
        program : Program
            Compiled, or moved to other prices.
        holdings : Holdings
            Laid out for it.
        state : uint8[A]
            Bits of the accounts, all of them computed in that market.
        """
        self._waited = 0
        try:
            self._triggers = Triggers(program, holdings)
        except NotBounded as why:
            self._drop(str(why))
            self._hopeless = True
            return
        self._hopeless, self.reason = False, ""
        self._find_always(state)

    def _drop(self, why: str) -> None:
        self._triggers, self.reason = None, why

    def waits(self) -> bool:
        """Count an event the full way; say whether to begin again."""
        self._waited += 1
        return self._waited >= PATIENCE and not self._hopeless

    def _find_always(self, state: Bits) -> None:
        """Find who is computed at every event: who is not watched, and not failed for good."""
        assert self._triggers is not None
        self._losses = self._triggers.losses
        alone = self._triggers.uncovered
        failed = (state[alone] & (FAILED | APART)) == FAILED
        self._always = set(alone[~failed].tolist())

    def still_fits(self, program: Program) -> bool:
        """Whether the same codes can be valued and bounded in another market of a program."""
        if self._triggers is None:
            return False
        mine = self._triggers.program
        return bool(np.array_equal(mine.apart, program.apart)) and set(mine.bad) == set(program.bad)

    def prices(self, view: MarketView, state: Bits) -> Due | None:
        """Take new prices.

        Parameters
        ----------
        view : MarketView
            The market.
        state : uint8[A]
            Bits of the accounts.

        Returns
        -------
        Due or None
            Nobody else has crossed the line. None where nothing is known any more: everybody who
            is touched is to be computed.
        """
        return self._take(view, state, only_prices=True)

    def market(self, view: MarketView, state: Bits) -> Due | None:
        """Take new prices, volatilities and time; see :meth:`prices`."""
        return self._take(view, state, only_prices=False)

    def _take(self, view: MarketView, state: Bits, *, only_prices: bool) -> Due | None:
        if self._triggers is None:
            return None
        try:
            move = self._triggers.move_to if only_prices else self._triggers.market
            tick = move(view)
        except NotBounded as why:
            self._drop(str(why))
            return None
        if self._triggers.losses != self._losses:
            self._find_always(state)
        asked, turned = tick.unsure, tick.breached
        if tick.recovered.size:
            turned = np.union1d(turned, tick.recovered)
        if self._always:
            asked = np.union1d(asked, np.fromiter(self._always, dtype=np.int64))
        if asked.size:
            turned = np.setdiff1d(turned, asked, assume_unique=True)
        # Where rounding had put somebody on this side before, nothing has turned.
        below = (state[turned] & BELOW_MM) != 0
        turned = turned[below != self._triggers.is_below(turned)]
        return Due(turned=turned, asked=asked, visited=tick.visited + len(self._always))

    def edited(self, account: int, rows: Holdings, state: Bits) -> bool:
        """Take other rows of an account; False where all are to be looked at anew."""
        if self._triggers is None:
            return True
        if not self._triggers.replace(account, rows):
            return False
        # Bits are those of the account as it is now.
        self._always.discard(account)
        watched = self._triggers.covers(account)
        if not watched and (state[account] & (FAILED | APART)) != FAILED:
            self._always.add(account)
        return True
