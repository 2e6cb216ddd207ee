"""An account evaluated: requirement with and without open orders, and what stands behind it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossmargin.book import Book
from crossmargin.errors import CrossmarginError
from crossmargin.margin._frame import Frame
from crossmargin.margin.engine import (
    Equity,
    Requirement,
    equity,
    frame_for,
    maintenance,
    requirement,
)
from crossmargin.margin.ruleset import Ruleset
from crossmargin.market import Snapshot
from crossmargin.scenarios import Kernel

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """One account evaluated: the numbers before they are explained.

    Attributes
    ----------
    frame : Frame
        Book, rules, market.
    need : Requirement
        Without open orders (maintenance, shares).
    need_orders : Requirement
        With the worst fills of open orders (initial).
    have : Equity
        What stands behind it.
    """

    frame: Frame
    need: Requirement
    need_orders: Requirement
    have: Equity

    @property
    def im_usd(self) -> float:
        """Initial requirement, US dollars, open orders included."""
        return float(self.need_orders.im @ self.frame.pot_usd)

    @property
    def mm(self) -> Floats:
        """Maintenance requirement by pot, with open orders where the rules say so."""
        return maintenance(self.frame, self.need, self.need_orders)

    @property
    def mm_usd(self) -> float:
        """Maintenance requirement, US dollars."""
        return float(self.mm @ self.frame.pot_usd)


def evaluate(
    book: Book, snapshot: Snapshot, ruleset: Ruleset, *, kernel: Kernel = "numpy"
) -> Evaluation:
    """Evaluate a book without explaining it: the fast path for one account.

    Raises
    ------
    CrossmarginError
        Naming account, instrument and field of what is missing or not covered.
    """
    try:
        frame = frame_for(book, snapshot, ruleset, kernel=kernel)
        need = requirement(frame)
        with_orders = requirement(frame, orders=True) if book.leg_order.size else need
        return Evaluation(
            frame=frame, need=need, need_orders=with_orders, have=equity(frame, with_orders)
        )
    except CrossmarginError as error:
        raise error.located(account=book.account_ids[0] if book.size == 1 else None) from None
