"""Profit and loss of linear and inverse contracts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from crossmargin.pricing._check import checked

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]


def linear_pnl(
    quantity: ArrayLike, contract_size: ArrayLike, price_from: ArrayLike, price_to: ArrayLike
) -> Floats:
    """Gain of a linear contract when its price moves, in its quote (settlement) asset.

    Parameters
    ----------
    quantity : array_like
        Contracts, above 0 long, below 0 short.
    contract_size : array_like
        Units of underlying per contract, above 0.
    price_from, price_to : array_like
        Quote per unit of underlying, any finite number.

    Returns
    -------
    ndarray of float64
        ``q · size · (p1 − p0)``, above 0 a gain; broadcast shape.

    Raises
    ------
    PricingError
        ``PRC-001`` for a missing or impossible input.
    """
    q = checked("quantity", quantity, "finite")
    size = checked("contract_size", contract_size, "positive")
    start = checked("price_from", price_from, "finite")
    end = checked("price_to", price_to, "finite")
    return np.asarray(q * size * (end - start))


def inverse_pnl(
    quantity: ArrayLike, contract_size_usd: ArrayLike, price_from: ArrayLike, price_to: ArrayLike
) -> Floats:
    """Gain of an inverse contract when its price moves, in coin.

    Parameters
    ----------
    quantity : array_like
        Contracts, above 0 long, below 0 short.
    contract_size_usd : array_like
        USD per contract, above 0.
    price_from, price_to : array_like
        USD per coin, above 0.

    Returns
    -------
    ndarray of float64
        ``q · size · (1/p0 − 1/p1)`` in coin, above 0 a gain; broadcast shape.

    Raises
    ------
    PricingError
        ``PRC-001`` for a missing or impossible input; a price of 0 has no inverse.

    Notes
    -----
    Written as ``q · size · (p1 − p0)/(p0 p1)``, which has no cancellation for small moves.
    """
    q = checked("quantity", quantity, "finite")
    size = checked("contract_size_usd", contract_size_usd, "positive")
    start = checked("price_from", price_from, "positive")
    end = checked("price_to", price_to, "positive")
    return np.asarray(q * size * ((end - start) / start / end))


def inverse_pnl_move(quantity_coin: ArrayLike, move: ArrayLike) -> Floats:
    """Gain of an inverse position for a relative price move, in coin.

    Parameters
    ----------
    quantity_coin : array_like
        Position in coin at the price it starts from: ``q · size_usd / p0``, above 0 long.
    move : array_like
        Relative price move, ``p1/p0 − 1``, above −1.

    Returns
    -------
    ndarray of float64
        ``q_coin · m / (1 + m)`` in coin: a long loses without bound as the price goes to 0.

    Raises
    ------
    PricingError
        ``PRC-001`` for a missing input or a move of −1 or less.
    """
    q = checked("quantity_coin", quantity_coin, "finite")
    m = checked("move", move, "finite")
    growth = checked("1 + move", 1.0 + m, "positive")
    return np.asarray(q * (m / growth))
