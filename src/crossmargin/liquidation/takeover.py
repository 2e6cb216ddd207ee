"""Takeover: a fund or vault takes positions on, at the price at which their owner has nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from crossmargin.liquidation.account import Account, Standing
from crossmargin.liquidation.closing import BankruptLeg, bankruptcy_legs
from crossmargin.liquidation.costs import ClosingCost

Floats = NDArray[np.float64]

TakeoverPrice = Literal["bankruptcy", "with-margin"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Takeover:
    """Positions that changed hands.

    Attributes
    ----------
    price : TakeoverPrice
        ``bankruptcy``: each leg at its bankruptcy price. ``with-margin``: legs at the mark, with
        all margin behind them; where there is none, at the bankruptcy price too. Either way the
        owner keeps nothing and owes nothing, and the taker is as well off.
    legs : tuple of BankruptLeg
        What was taken, and at which price.
    equity : float
        What the account was worth at the marks, US dollars: the taker's gain if it can close
        there. Below 0 the taker takes on a loss.
    """

    price: TakeoverPrice
    legs: tuple[BankruptLeg, ...]
    equity: float

    @property
    def at_mark(self) -> bool:
        """Whether legs change hands at their marks."""
        return self.price == "with-margin" and self.equity >= 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Unwound:
    """What became of what was taken over.

    Attributes
    ----------
    cost : float
        Fees, slippage and impact of closing, US dollars.
    surplus : float
        What is left for the fund, at least 0.
    deficit : float
        What the layers below must bear, at least 0.
    """

    cost: float
    surplus: float
    deficit: float


def take_over(
    account: Account,
    quantity: Floats,
    standing: Standing,
    price: TakeoverPrice = "bankruptcy",
    *,
    fee_rate: float = 0.0,
) -> Takeover:
    """Hand all open legs over; see :func:`crossmargin.liquidation.bankruptcy_legs`."""
    legs = bankruptcy_legs(account, quantity, standing.equity, fee_rate=fee_rate)
    return Takeover(price=price, legs=tuple(legs), equity=standing.equity)


def unwind(taken: Takeover, account: Account, costs: ClosingCost) -> Unwound:
    """Close what was taken over in the market; what it brings beyond nothing is a surplus.

    ``Σ q·(fill − P_b) = E − cost``: against the bankruptcy price the taker gains the equity that
    was left and pays what closing costs.
    """
    by_name = {leg.name: leg for leg in account.legs}
    cost = math.fsum(costs.paid(by_name[leg.name], abs(leg.quantity)) for leg in taken.legs)
    result = taken.equity - cost
    return Unwound(cost=cost, surplus=max(0.0, result), deficit=max(0.0, -result))
