"""Gauges that a holder watches, and what a gap leaves: they agree with the engine's own trigger."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.errors import LiquidationError
from crossmargin.liquidation.account import Line, LinearAccount, start_of
from crossmargin.margin import close_in

Floats = NDArray[np.float64]

#: The move of all marks together is looked for up to these multiples.
LOWEST, HIGHEST = 1e-3, 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauges:
    """How far an account is from its line.

    Attributes
    ----------
    health : float or None
        Equity over what the line asks; None where nothing is required. Liquidation begins below 1.
    leverage : float or None
        Gross notional over equity; None where equity is not above 0.
    down, up : float or None
        Move of all marks together at which the line is crossed, for example −0.13; None where
        there is none within the search.
    sigmas : float or None
        The nearer of the two in standard deviations of the horizon.
    funding_hours : float or None
        Until funding alone takes it to the line; None where funding does not cost.
    """

    health: float | None
    leverage: float | None
    down: float | None
    up: float | None
    sigmas: float | None
    funding_hours: float | None


def gauges(
    account: LinearAccount,
    *,
    line: Line | None = None,
    sigma: float | None = None,
    funding_usd_h: float = 0.0,
) -> Gauges:
    """Read the gauges of an account.

    Source: requirements row B06 (health, distance in price and in σ, time to liquidation from
    funding alone); formulas are ours (house).

    Parameters
    ----------
    account : LinearAccount
        Resting orders are counted as they stand.
    line : Line, optional
        Where liquidation begins; default equity = MM.
    sigma : float, optional
        Standard deviation of the logarithm of the move over the horizon asked about.
    funding_usd_h : float
        What is received (+) or paid (−) per hour at today's rate and marks.
    """
    where = Line() if line is None else line
    held, none = start_of(account), np.zeros(len(account.legs))
    at = account.standing(held, none, orders=account.has_orders)
    need = where.factor * at.mm + where.amount
    gross = math.fsum(abs(leg.quantity) * leg.unit_usd for leg in account.legs)
    down, up = (_crossing(account, where, x) for x in (LOWEST, HIGHEST))
    nearer = [abs(math.log1p(x)) for x in (down, up) if x is not None]
    excess = where.excess(at)
    return Gauges(
        health=at.equity / need if need > 0 else None,
        leverage=gross / at.equity if at.equity > 0 else None,
        down=down,
        up=up,
        sigmas=min(nearer) / sigma if sigma and nearer else None,
        funding_hours=max(0.0, excess) / -funding_usd_h if funding_usd_h < 0 else None,
    )


def _crossing(account: LinearAccount, line: Line, end: float) -> float | None:
    """Find the move towards `end` at which the line is crossed first, by walking and closing in."""
    marks = [leg.mark for leg in account.legs]
    held, none = start_of(account), np.zeros(len(marks))

    def excess(step: float) -> float:
        there = account.at([mark * math.exp(step) for mark in marks])
        return line.excess(there.standing(held, none, orders=account.has_orders))

    safe, f_safe = 0.0, excess(0.0)
    if f_safe < 0:
        return 0.0
    for part in range(1, 201):
        step = math.log(end) * part / 200
        f = excess(step)
        if f < 0:
            found = close_in(excess, safe, f_safe, step, f)
            return math.expm1(step if found.dead is None else found.dead)
        safe, f_safe = step, f
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class GapLoss:
    """Who bears a gap.

    Attributes
    ----------
    liquidated : bool[n]
        Whether the stake fell below its maintenance margin.
    trader : float64[n]
        Lost by the trader, US dollars, at least 0 in a loss; below 0 is a gain.
    deficit : float64[n]
        Left to the venue, at least 0.
    """

    liquidated: NDArray[np.bool_]
    trader: Floats
    deficit: Floats


def gap_loss(
    stake: float,
    quantity: float,
    entry: float,
    price: ArrayLike,
    rate: float,
    *,
    forfeit: bool = False,
) -> GapLoss:
    """Split the loss of a jump between a trader and the venue.

    The stake is what can be lost: the fenced margin of an isolated position, or the whole wallet
    in cross margin. Source: requirements row A13: wallet 20,000, long 1 at 50,000, a gap to
    25,000 costs the trader 5,000 isolated and 20,000 cross, and leaves 20,000 and 5,000.

    Parameters
    ----------
    stake : float
        US dollars, at least 0.
    quantity, entry : float
        Signed coins and entry price.
    price : array-like
        Prices straight after the gap: nothing could be closed on the way.
    rate : float
        Maintenance rate.
    forfeit : bool
        Whether a liquidated position loses all of its stake, as isolated ones may.
    """
    p = np.atleast_1d(np.asarray(price, dtype=np.float64))
    if stake < 0 or (p <= 0).any():
        raise LiquidationError(
            "a stake is at least 0 and prices are positive", code="LIQ-001", field="price"
        )
    equity = stake + quantity * (p - entry)
    liquidated = equity < rate * abs(quantity) * p
    kept = np.maximum(equity, 0.0)
    if forfeit:
        kept = np.where(liquidated, 0.0, kept)
    return GapLoss(liquidated=liquidated, trader=stake - kept, deficit=np.maximum(0.0, -equity))
