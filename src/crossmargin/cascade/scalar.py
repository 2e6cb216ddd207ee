"""Loop gain in closed form, where one number is enough: one asset, one kind of holder.

A fall of price makes holders sell, the sale makes price fall: the gain g is the second fall over
the first. A small shock is multiplied by ``1 + g + g² + … = 1/(1 − g)``; from g = 1 on there is
no end within the range in which the gain holds.

Depth D is the notional (US dollars) whose sale would move price by 100 % if impact were linear, so
that a sale S moves the return by −S/D. A slope λ is price per coin sold, ``D = P²/λ``.

Source: reference cascades.md §1.2 and requirements rows A02, A06, B10 (derived and checked there)
unless a docstring says otherwise.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.cascade.figures import number, numbers, together

Floats = NDArray[np.float64]

Collateral = Literal["quote", "coin", "inverse"]

__all__ = [
    "amplification",
    "boundary_gain",
    "critical_depth",
    "critical_leverage",
    "critical_stock",
    "depth_of_slope",
    "fall_by_round",
    "hedging_gain",
    "leverage_gain",
    "liquidation_move",
    "price_at_line",
    "slope_of_depth",
    "spiral_sensitivity",
]


def leverage_gain(leverage: ArrayLike, exposure: ArrayLike, depth: float) -> float:
    """Gain of holders who return to their leverage: ``g = Σ_i (L_i − 1)·A_i / D``.

    A return r on a notional A held at leverage L is repaired by trading (L − 1)·A·|r|.

    Parameters
    ----------
    leverage : array-like
        L_i, at least 1.
    exposure : array-like
        A_i, notional in US dollars, at least 0.
    depth : float
        D, US dollars, above 0.

    Notes
    -----
    Source: Greenwood, Landier and Thesmar's sale rule on one asset, cascades.md §1.2 (derived).
    """
    held, target = together(
        exposure=numbers("exposure", exposure, least=0.0),
        leverage=numbers("leverage", leverage, least=1.0),
    )
    return float(((target - 1.0) * held).sum() / number("depth", depth, above=0.0))


def critical_leverage(exposure: float, depth: float) -> float:
    """Leverage at which the gain is 1: ``L* = 1 + D/A``; infinite where nothing is held."""
    held = number("exposure", exposure, least=0.0)
    return 1.0 + number("depth", depth, above=0.0) / held if held else np.inf


def critical_depth(leverage: ArrayLike, exposure: ArrayLike) -> float:
    """Depth at which the gain is 1: ``D* = Σ (L − 1)·A``, US dollars."""
    return leverage_gain(leverage, exposure, 1.0)


def amplification(gain: ArrayLike) -> Floats:
    """Total fall over the shock, ``1/(1 − g)``; infinite where g ≥ 1.

    Below 0 (holders who buy into a fall) it is less than 1.
    """
    g = numbers("gain", gain)
    out = np.full(g.shape, np.inf)
    np.divide(1.0, 1.0 - g, out=out, where=g < 1.0)
    return out


def fall_by_round(shock: float, gain: float, rounds: int) -> Floats:
    """Fall of each round, the shock first: ``x, g·x, g²·x, …``.

    Parameters
    ----------
    shock : float
        In any unit; the answer has the same.
    gain : float
        At least 0.
    rounds : int
        How many after the shock, at least 0.
    """
    g = number("gain", gain, least=0.0)
    played = np.arange(int(number("rounds", rounds, least=0)) + 1)
    return np.asarray(number("shock", shock) * g**played)


def boundary_gain(
    rate: float, open_interest: float, depth: float, *, collateral: Literal["quote", "coin"]
) -> float:
    """Gain of accounts that sit at their maintenance line (E = MM) and are cut pro rata.

    ``(1/m − 1)·OI/D`` with collateral in the quote currency, ``(1/m)·OI/D`` when the collateral is
    the coin itself without haircut: coin margin multiplies the gain by exactly 1/(1 − m).

    Parameters
    ----------
    rate : float
        Maintenance rate m, in (0, 1).
    open_interest : float
        Notional of those accounts, US dollars, at least 0.
    depth : float
        D, US dollars, above 0.
    collateral : {"quote", "coin"}
        What the accounts hold.
    """
    m = number("rate", rate, above=0.0, most=1.0)
    held = number("open_interest", open_interest, least=0.0)
    factor = 1.0 / m - (1.0 if collateral == "quote" else 0.0)
    return factor * held / number("depth", depth, above=0.0)


def critical_stock(rate: float, price: float, slope: float) -> float:
    """Coins at the line that make the gain 1: ``Q* = m·P/(λ·(1 − m))``.

    Source: requirements row A06 (m = 5 %, P = 50,000, λ = 1 a coin: 2,631.6 coins). A small shock
    is multiplied by ``1/(1 − Q/Q*)``.

    Parameters
    ----------
    rate : float
        Maintenance rate m, in (0, 1).
    price : float
        US dollars, above 0.
    slope : float
        λ, US dollars per coin sold, above 0.
    """
    m = number("rate", rate, above=0.0, most=1.0)
    if m == 1.0:
        return np.inf
    p = number("price", price, above=0.0)
    return m * p / (number("slope", slope, above=0.0) * (1.0 - m))


def depth_of_slope(slope: ArrayLike, price: ArrayLike) -> Floats:
    """Depth D (US dollars) of a slope λ (US dollars per coin): ``D = P²/λ``."""
    p = numbers("price", price, above=0.0)
    return np.asarray(p**2 / numbers("slope", slope, above=0.0))


def slope_of_depth(depth: ArrayLike, price: ArrayLike) -> Floats:
    """Slope λ (US dollars per coin) of a depth D (US dollars): ``λ = P²/D``."""
    p = numbers("price", price, above=0.0)
    return np.asarray(p**2 / numbers("depth", depth, above=0.0))


def hedging_gain(gamma: ArrayLike, price: ArrayLike, depth: ArrayLike) -> Floats:
    """Gain that delta hedgers of an option book add: ``−Γ·S²/D``.

    A return r changes their delta by Γ·S·r coins, which they sell; it moves the price by
    −Γ·S²·r/D.

    Parameters
    ----------
    gamma : array-like
        Γ of what hedgers hold, coins of delta per US dollar; negative where they are short options.
    price, depth : array-like
        S and D, US dollars, above 0.

    Returns
    -------
    float64[...]
        Positive (unstable) where hedgers are short gamma. It works both ways: hedgers buy rises.
    """
    s = numbers("price", price, above=0.0)
    return np.asarray(-numbers("gamma", gamma) * s**2 / numbers("depth", depth, above=0.0))


def liquidation_move(leverage: ArrayLike, rate: ArrayLike, collateral: Collateral) -> Floats:
    """Return of price at which a long opened at a leverage reaches its line.

    Quote margin ``−(1/L − m)/(1 − m)``; linear contract on coin collateral
    ``−(1/L − m)/(1 + 1/L − m)``; inverse contract ``(m − 1/L)/(1 + 1/L)``. Margin in the coin is
    always nearer. Source: cascades.md §4, key algebra (derived).

    Parameters
    ----------
    leverage : array-like
        L, above 0: notional over collateral when opened.
    rate : array-like
        m, in [0, 1): maintenance rate.
    collateral : {"quote", "coin", "inverse"}
        Kind of contract and margin; no haircut.

    Returns
    -------
    float64[...]
        −0.1 is a fall of 10 %; at least 0 where the account is below its line already; NaN where
        no price above 0 is on the line (leverage of 1 and less, quote margin).
    """
    share = 1.0 / numbers("leverage", leverage, above=0.0)
    m = numbers("rate", rate, least=0.0, most=1.0)
    whole = {"quote": 1.0 - m, "coin": 1.0 + share - m, "inverse": 1.0 + share}[collateral]
    with np.errstate(divide="ignore", invalid="ignore"):
        found = -(share - m) / whole
    return np.asarray(np.where(found > -1.0, found, np.nan))


def price_at_line(
    quantity: float,
    entry: float,
    rate: float,
    *,
    cash: float = 0.0,
    coins: float = 0.0,
    haircut: float = 0.0,
) -> float:
    """Price at which equity meets maintenance margin, the collateral revalued with it.

    ``cash + c·P·(1 − h) + q·(P − entry) = m·|q|·P``; a debt (c < 0) counts in full.

    Source: requirements row A06 (long 2 from 50,000 at 5 %: 35,087.72 on one coin of collateral
    with a haircut of 5 %, 27,631.58 on 47,500 of cash).

    Parameters
    ----------
    quantity, entry : float
        Signed coins, and the price they were entered at (US dollars).
    rate : float
        Maintenance rate m.
    cash, coins : float
        Collateral in US dollars and in the coin itself; below 0 what is owed.
    haircut : float
        h of the coins, in [0, 1].

    Returns
    -------
    float
        US dollars; NaN where no price above 0 is on the line.
    """
    held, cut = number("coins", coins), number("haircut", haircut, least=0.0, most=1.0)
    slope = (
        number("quantity", quantity)
        + (held * (1.0 - cut) if held > 0.0 else held)
        - number("rate", rate, least=0.0) * abs(quantity)
    )
    found = (
        (quantity * number("entry", entry, above=0.0) - number("cash", cash)) / slope
        if slope
        else np.nan
    )
    return found if found > 0 else np.nan


def spiral_sensitivity(
    risk_weight: float, margin: float, margin_slope: float, position: float, initial: float
) -> float:
    """Price against the speculators' wealth in a margin and a loss spiral.

    ``∂p/∂η = 1/[k·m + (∂m/∂p)·x − x₀]`` with ``k = 2/(γσ²)``.

    Source: Brunnermeier and Pedersen 2009 (RFS 22:2201), as cascades.md §1.3 recalls it; the paper
    itself could not be opened there: **unconfirmed**. A margin that rises as price falls
    (slope < 0) and a position that already loses (initial > 0) shrink the denominator together.

    Parameters
    ----------
    risk_weight : float
        k, above 0.
    margin : float
        m⁺ per unit, above 0.
    margin_slope : float
        ∂m⁺/∂p; the margin spiral is there where it is below 0.
    position : float
        x, units held after the shock.
    initial : float
        x₀, units held before; the loss spiral is there where it is above 0.

    Returns
    -------
    float
        Infinite where the denominator is not above 0: no stable equilibrium.
    """
    whole = (
        number("risk_weight", risk_weight, above=0.0) * number("margin", margin, above=0.0)
        + number("margin_slope", margin_slope) * number("position", position)
        - number("initial", initial)
    )
    return 1.0 / whole if whole > 0 else np.inf
