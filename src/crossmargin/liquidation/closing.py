"""Closed forms: how much to close, and at which price nothing is left.

They hold for one leg at a flat rate, or leg by leg once equity has been allocated. What has no
closed form goes through :mod:`crossmargin.liquidation.policies`, which a test holds to these.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.errors import LiquidationError
from crossmargin.liquidation.account import Account, Leg

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialSize:
    """How much of one leg must be closed.

    Attributes
    ----------
    size : float
        Units to close, at least 0; all of it where closing a part cannot suffice.
    sufficient : bool
        Whether the target is met afterwards.
    equity, mm : float
        Afterwards, US dollars.
    """

    size: float
    sufficient: bool
    equity: float
    mm: float


def partial_size(
    quantity: float,
    price: float,
    equity: float,
    rate: float,
    *,
    cost_rate: float = 0.0,
    impact: float = 0.0,
    reserve: float = 0.0,
) -> PartialSize:
    """Size the smallest reduction after which ``equity ≥ rate·|q|·price + reserve``.

    Flat cost: ``x = (m·q·P − E + τ)/(P·(m − f))``, impossible where ``m ≤ f``. With linear
    impact: the smallest root of ``α/2·x² − (m − f)·P·x + (m·P·q − E + τ) = 0``; where it has
    none, no part of the position pays for its own closing and all of it is closed.

    Source: requirements row B07; cascades.md §4 "Key algebra", where the impact form is stated
    without a flat cost: here both stand together (inferred). The impact is paid on what is
    closed and does not move the mark of what is left.

    Parameters
    ----------
    quantity : float
        Signed units.
    price : float
        Mark, > 0.
    equity : float
        US dollars.
    rate : float
        Maintenance rate, times one plus the buffer where the target lies above the line.
    cost_rate : float
        Fee and slippage as a fraction of the notional closed.
    impact : float
        Price moved per unit closed, at least 0.
    reserve : float
        US dollars that other legs of the pot require.

    Raises
    ------
    LiquidationError
        ``LIQ-001`` for a price, rate or cost that can be none.
    """
    held = abs(quantity)
    for name, value, least in (("price", price, 0.0), ("rate", rate, 0.0)):
        if not (math.isfinite(value) and value > least):
            raise LiquidationError(f"{name} is {value:g}, not positive", code="LIQ-001", field=name)
    for name, value in (("cost_rate", cost_rate), ("impact", impact)):
        if not (math.isfinite(value) and value >= 0):
            raise LiquidationError(f"{name} is {value:g}, below 0", code="LIQ-001", field=name)

    def closed(size: float, sufficient: bool) -> PartialSize:
        paid = cost_rate * price * size + 0.5 * impact * size * size
        mm = rate * price * (held - size) + reserve
        return PartialSize(size=size, sufficient=sufficient, equity=equity - paid, mm=mm)

    short = rate * price * held - equity + reserve
    if short <= 0.0:
        return closed(0.0, True)
    relief = (rate - cost_rate) * price
    root = relief * relief - 2.0 * impact * short
    if relief > 0.0 and root >= 0.0:
        size = 2.0 * short / (relief + math.sqrt(root))
        if size <= held:
            return closed(size, True)
    whole = closed(held, False)
    enough = whole.equity >= reserve
    return closed(held, enough)


def bankruptcy_price(
    quantity: float, mark: float, equity: float, *, inverse: bool = False, fee_rate: float = 0.0
) -> float | None:
    """Return the price at which closing a leg leaves nothing of the equity allocated to it.

    Linear: ``E + q·(P_b − P) − f·|q|·P_b = 0``. Inverse, q in US dollars and E in coins:
    ``E + q·(1/P − 1/P_b) − f·|q|/P_b = 0``. Source: cascades.md §4 ("bankruptcy price
    zero-equity"); Bybit's inverse isolated long ``entry·L/(L+1)`` is a case of it (venues.md §4,
    published).

    Returns
    -------
    float or None
        None where no positive price does: a long whose equity exceeds its notional.

    Raises
    ------
    LiquidationError
        ``LIQ-001`` for a quantity of 0 or an impossible price.
    """
    if quantity == 0 or not (math.isfinite(mark) and mark > 0 and math.isfinite(equity)):
        raise LiquidationError(
            "a bankruptcy price needs a position and a positive mark", code="LIQ-001", field="mark"
        )
    fees = fee_rate * abs(quantity)
    if inverse:
        top, bottom = quantity + fees, equity + quantity / mark
    else:
        top, bottom = quantity * mark - equity, quantity - fees
    if bottom == 0.0 or top / bottom <= 0.0:
        return None
    return top / bottom


def allocate(amount: float, weights: ArrayLike, *, fallback: ArrayLike | None = None) -> Floats:
    """Split an amount pro rata; the parts sum to it but for rounding.

    Cross margin has no equity per leg: pro rata on the maintenance requirement is the usual
    choice (cascades.md §4), and dYdX's own (venues.md §6, published).

    Parameters
    ----------
    amount : float
        Any sign.
    weights : array-like
        At least 0.
    fallback : array-like, optional
        Used where all weights are 0; default equal parts.
    """
    w = np.asarray(weights, dtype=np.float64)
    if (w < 0).any() or not np.isfinite(w).all():
        raise LiquidationError("weights are at least 0", code="LIQ-001", field="weights")
    if not w.size:
        return w
    if not w.any():
        w = np.ones(w.size) if fallback is None else np.asarray(fallback, dtype=np.float64)
    return np.asarray(amount * (w / math.fsum(w)), dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class BankruptLeg:
    """A leg at the price at which a cross-margined account would end with nothing.

    Attributes
    ----------
    name : str
        Instrument.
    quantity : float
        Signed units.
    allocated_usd : float
        Share of the account's equity.
    price : float or None
        In the leg's own terms; None where no positive price takes that much.
    value_usd : float
        What the taker of the leg receives (+) or pays (−) beside the mark: minus the allocation.
    """

    name: str
    quantity: float
    allocated_usd: float
    price: float | None
    value_usd: float


def bankruptcy_legs(
    account: Account, quantity: Floats, equity: float, *, fee_rate: float = 0.0
) -> list[BankruptLeg]:
    """Allocate an account's equity over its open legs and price each where it is used up.

    Taken over together at these prices the account ends with exactly nothing: that is what a
    fund or backstop vault takes on.

    Parameters
    ----------
    account : Account
        Supplies legs and weights.
    quantity : float64[n]
        Signed units left.
    equity : float
        US dollars, of any sign.
    fee_rate : float
        Charged on the closing notional.
    """
    open_ = np.flatnonzero(quantity)
    weights = account.weights(quantity)[open_]
    sizes = np.array([abs(quantity[i]) * account.legs[i].unit_usd for i in open_])
    parts = allocate(equity, weights, fallback=sizes if sizes.size else None)
    found = []
    for row, part in zip(open_.tolist(), parts.tolist()):
        leg, q = account.legs[row], float(quantity[row])
        price = _price(leg, q, part, fee_rate)
        found.append(
            BankruptLeg(
                name=leg.name, quantity=q, allocated_usd=part, price=price, value_usd=0.0 - part
            )
        )
    return found


def _price(leg: Leg, quantity: float, usd: float, fee_rate: float) -> float | None:
    """Price one leg, its units scaled to US dollars per point."""
    if leg.inverse:
        dollars = quantity * leg.unit_usd
        return bankruptcy_price(dollars, leg.mark, usd / leg.mark, inverse=True, fee_rate=fee_rate)
    return bankruptcy_price(quantity * leg.point, leg.mark, usd, fee_rate=fee_rate)


def bankruptcy_value_quanta(delta_notional: int, delta_mmr: int, net: int, mmr: int) -> int:
    """Return dYdX's bankruptcy value of a change of position, in quote quanta, exactly.

    ``−ΔNotional − NC·|ΔMMR|/MMR``, rounded up. Source: dYdX v4 at 84d4664 (venues.md §6,
    published).

    Raises
    ------
    LiquidationError
        ``LIQ-001`` for an account without requirement.
    """
    if mmr <= 0:
        raise LiquidationError(
            "a bankruptcy value needs a requirement above 0", code="LIQ-001", field="mmr"
        )
    return math.ceil(-delta_notional - Fraction(net * abs(delta_mmr), mmr))


def fillable_price(
    quantity: float,
    mark: float,
    net: float,
    mm: float,
    position_mm: float,
    *,
    adjustment: float = 1.0,
    spread: float = 1.5,
) -> float:
    """Return the worst price at which dYdX lets a liquidation fill.

    ``(PNNV − ABR·SMMR·PMMR)/q`` with ``ABR = clamp(BA·(1 − NC/MMR), 0, 1)``: at the line it is
    the oracle price, and it moves away as the account sinks. Source: dYdX v4 at 84d4664, BA 1,
    SMMR 1.5 (venues.md §6, published).

    Parameters
    ----------
    quantity, mark : float
        Signed coins and oracle price.
    net, mm : float
        Net collateral and requirement of the subaccount, US dollars.
    position_mm : float
        Requirement of this position.
    adjustment, spread : float
        BA and SMMR.
    """
    if quantity == 0 or mm <= 0:
        raise LiquidationError(
            "a fillable price needs a position with a requirement", code="LIQ-001", field="quantity"
        )
    depth = min(max(adjustment * (1.0 - net / mm), 0.0), 1.0)
    return (quantity * mark - depth * spread * position_mm) / quantity
