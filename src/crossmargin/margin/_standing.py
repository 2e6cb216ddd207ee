"""The initial side of every pot of a frame, and how far floating point may have moved it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossmargin.instruments import KIND_CODE
from crossmargin.margin import _explain as explain
from crossmargin.margin._frame import Frame, sum_by
from crossmargin.margin.engine import equity, requirement

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: One unit of rounding, relative.
UNIT = 2.0**-52


@dataclass(frozen=True, slots=True)
class Standing:
    """Initial side of every pot of one frame, in US dollars.

    Attributes
    ----------
    names : tuple of str
        Pots, named as in statements; unique within an account.
    equity, im : float64[P]
        Equity at the initial level; requirement after the worst fills of resting orders.
    """

    names: tuple[str, ...]
    equity: Floats
    im: Floats

    @property
    def excess(self) -> Floats:
        """Equity less requirement."""
        return self.equity - self.im


def pot_names(frame: Frame) -> tuple[str, ...]:
    """Name the pots of a frame; kept, because no number changes them."""
    return frame.once(
        "pot_names",
        lambda: tuple(explain.pot_name(frame, pot) for pot in range(frame.arrangement.pots)),
    )


def wallet_of(frame: Frame) -> Ints:
    """Return the wallet of each fenced pot, -1 for pots that are none."""
    a = frame.arrangement
    wallet = {
        int(pool): pot
        for pot, (pool, mark) in enumerate(zip(a.pot_pool, a.pot_position))
        if mark < 0
    }
    return np.array(
        [
            wallet.get(int(pool), -1) if mark >= 0 else -1
            for pool, mark in zip(a.pot_pool, a.pot_position)
        ],
        dtype=np.int64,
    )


def standing(frame: Frame) -> Standing:
    """Evaluate the initial side of every pot, resting orders at their worst fills.

    Where positions are fenced, fences are those of what is held, and what open orders would add
    to a fenced position is asked of the wallet that would have to pay it.
    """
    held = requirement(frame, levels=("im",))
    if not frame.book.leg_order.size:
        have = equity(frame, held).im
        return Standing(pot_names(frame), have * frame.pot_usd, held.im * frame.pot_usd)
    worst = requirement(frame, orders=True, levels=("im",))
    have = equity(frame, held).im
    return Standing(
        pot_names(frame), have * frame.pot_usd, asked(frame, held.im, worst.im) * frame.pot_usd
    )


def asked(frame: Frame, held: Floats, worst: Floats) -> Floats:
    """Move what orders add to fenced pots to the wallets that pay it."""
    if frame.ruleset.data.pools.by != "position":
        return worst
    wallet = frame.once("wallets", lambda: wallet_of(frame))
    fenced = wallet >= 0
    rise = np.where(fenced, np.maximum(worst - held, 0.0), 0.0)
    return np.where(fenced, held, worst) + sum_by(rise, wallet, held.size)


def rounding_usd(frame: Frame) -> float:
    """Bound the error that floating point can have made in an excess, US dollars.

    Summing n numbers errs by at most ``n·2⁻⁵²`` of the sum of their sizes, and each of ours
    takes some twenty operations. An excess that is negative by less than this cannot be told
    from 0; the tolerance in money beyond it is zero. At a gross size of 10 million US dollars
    and 200 rows the bound is 5e-7 US dollars; it reaches a cent at 200 billion.

    Source: house; the bound on sums is Higham, Accuracy and Stability of Numerical Algorithms,
    2nd ed., section 4.2.
    """
    book = frame.book
    settle = frame.terms.settlement
    position = frame.notional(book.position_instrument, book.position_quantity)
    entry = book.position_entry if frame.entry is None else frame.entry
    # The profit of futures is a difference of two notionals; at a far entry the other is larger.
    kind = frame.terms.kind[book.position_instrument]
    profits = (kind == KIND_CODE["perpetual"]) | (kind == KIND_CODE["future"])
    mark = frame.view.price[book.position_instrument]
    far = np.where(
        profits, np.maximum(entry, mark) / np.where(profits, np.minimum(entry, mark), 1.0), 1.0
    )
    leg = frame.notional(book.leg_instrument, book.leg_quantity)
    usd = frame.asset_usd_or_one
    gross = float(
        np.sum(position * far * usd[settle[book.position_instrument]])
        + np.sum(leg * usd[settle[book.leg_instrument]])
        + np.nansum(np.abs(book.balance_amount) * usd[book.balance_asset])
    )
    rows = book.position_quantity.size + book.leg_quantity.size + book.balance_amount.size
    return (rows + 20) * UNIT * gross
