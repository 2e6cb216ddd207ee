"""One balance of an account, varied: what its pot has and needs at other amounts."""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from crossmargin.book import AccountFile, BalanceEntry, book_from_accounts
from crossmargin.margin._frame import Frame
from crossmargin.margin._probe import balance_row
from crossmargin.margin._standing import pot_names, rounding_usd, standing
from crossmargin.margin.engine import equity, fenced_margins, frame_for, requirement
from crossmargin.margin.ruleset import Ruleset
from crossmargin.market import Snapshot

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PotState:
    """One pot, both levels, US dollars; orders at their worst fills in `im`."""

    equity_im: float
    im: float
    equity_mm: float
    mm: float


class BalanceProbe:
    """An account whose balance of one asset in one pool may be another.

    Parameters
    ----------
    account, snapshot, ruleset
        As it stands.
    asset, pool : str
        The balance; it need not be there.

    Notes
    -----
    What leaves is taken from the balance at the venue first, then from other locations; what is
    owed or added stands at the venue. Frames are kept by which rows are debts, because a debt
    changes what is stressed.
    """

    def __init__(
        self, account: AccountFile, snapshot: Snapshot, ruleset: Ruleset, asset: str, pool: str
    ) -> None:
        self._snapshot, self._ruleset = snapshot, ruleset
        book_from_accounts([account])  # refuses what cannot be read, before numbers are taken
        balances = [b for b in account.balances if float(b.amount) != 0.0]
        known = len(balances)
        first = balance_row(balances, asset, pool)
        rows = [i for i, b in enumerate(balances) if b.asset == asset and b.pool == pool]
        # What does not count by where it is (on its way, without a fresh proof) cannot leave.
        whole = msgspec.structs.replace(account, balances=balances)
        left = frame_for(book_from_accounts([whole]), snapshot, ruleset).left_out
        gone = np.zeros(len(balances), dtype=bool) if left is None else left.status > 0
        self._rows = [first, *(i for i in rows if i != first and not gone[i])]
        self._amounts = [float(balances[i].amount) if i < known else 0.0 for i in self._rows]
        self._account = msgspec.structs.replace(account, balances=balances)
        self._frames: dict[tuple[bool, ...], Frame] = {}
        self._states: dict[float, PotState] = {}
        self.held = float(sum(self._amounts))
        self.price_usd = snapshot.asset_usd(asset)
        self.rounding = 2.0 * rounding_usd(self._frame(0.0))
        frame = self._frame(0.0)
        self.pot_name = pot_names(frame)[int(frame.arrangement.balance_pot[first])]
        fenced = frame.arrangement.pot_position >= 0
        self.fenced = bool(fenced.any())

    def _changed(self, delta: float) -> list[float]:
        """Amounts of the rows once `delta` has come (or, below 0, left)."""
        amounts = list(self._amounts)
        left = -delta
        if delta < 0:
            for row, amount in enumerate(amounts):
                taken = min(max(amount, 0.0), left)
                amounts[row] = amount - taken
                left -= taken
        amounts[0] -= left
        return amounts

    def frame(self) -> Frame:
        """Return the account as it is, priced."""
        return self._frame(0.0)

    def _frame(self, delta: float) -> Frame:
        amounts = self._changed(delta)
        debts = tuple(amount < 0 for amount in amounts)
        if debts not in self._frames:
            balances: list[BalanceEntry] = list(self._account.balances)
            for row, debt in zip(self._rows, debts):
                sign = -1.0 if debt else 1.0
                balances[row] = msgspec.structs.replace(balances[row], amount=sign)
            account = msgspec.structs.replace(self._account, balances=balances)
            book = book_from_accounts([account])
            self._frames[debts] = frame_for(book, self._snapshot, self._ruleset)
        frame = self._frames[debts]
        amount = frame.book.balance_amount.copy()
        amount[self._rows] = amounts
        return frame.with_book(replace(frame.book, balance_amount=amount))

    def state(self, delta: float) -> PotState:
        """Evaluate the balance's pot with `delta` units more (fewer when negative)."""
        if delta not in self._states:
            frame = self._frame(delta)
            pot = int(frame.arrangement.balance_pot[self._rows[0]])
            initial = standing(frame)
            need = requirement(frame)
            have = equity(frame, need, fenced_margins(frame, need))
            usd = float(frame.pot_usd[pot])
            self._states[delta] = PotState(
                equity_im=float(initial.equity[pot]),
                im=float(initial.im[pot]),
                equity_mm=float(have.mm[pot]) * usd,
                mm=float(need.mm[pot]) * usd,
            )
        return self._states[delta]

    def excess_usd(self, delta: float) -> float:
        """Equity less initial margin of the pot."""
        state = self.state(delta)
        return state.equity_im - state.im

    def equity_usd(self, delta: float) -> float:
        """Equity of the pot at the initial level."""
        return self.state(delta).equity_im
