"""Black-76: public price and greeks, in quote (USD) and in coin for inverse options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from crossmargin.pricing import _reference as ref
from crossmargin.pricing._check import check_kernel, check_option

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

Kernel = Literal["numpy", "numba"]


@dataclass(frozen=True, slots=True)
class Greeks:
    """Value and sensitivities of one long option in quote currency, undiscounted.

    Attributes
    ----------
    price : ndarray
        USD per unit of underlying, 0 or more.
    delta : ndarray
        dPrice/dForward: ``N(d1)`` for a call, ``N(d1) − 1`` for a put. No unit.
    gamma : ndarray
        d²Price/dForward², per USD, 0 or more.
    vega : ndarray
        dPrice/dVol, USD per 1.00 of volatility (divide by 100 for a volatility point).
    theta : ndarray
        dPrice per year of time that passes, USD per year (divide by 365 for a day); 0 or less
        for a long option, since the forward is held and nothing is discounted.

    Notes
    -----
    At zero deviation (volatility or time 0) gamma and theta are given as 0, vega as
    ``F √T / √(2π)`` exactly at the money and 0 elsewhere, and the delta at F = K as one half
    of its jump: the kink itself has no derivative.
    """

    price: Floats
    delta: Floats
    gamma: Floats
    vega: Floats
    theta: Floats


@dataclass(frozen=True, slots=True)
class InverseGreeks:
    """Value and sensitivities of one long inverse option (1 coin of underlying), in coin.

    Attributes
    ----------
    price : ndarray
        ``c = price_usd / F``, coin.
    delta : ndarray
        Net transaction delta ``Δ − c = F · dc/dF``, coin: the amount of coin whose USD value
        moves as the option's coin value does. Short this much inverse future hedges the
        holder's coin balance.
    gamma : ndarray
        ``d(delta)/dF = Γ − (Δ − c)/F``, coin per USD.
    vega : ndarray
        ``vega_usd / F``, coin per 1.00 of volatility.
    theta : ndarray
        ``theta_usd / F``, coin per year that passes, 0 or less.
    """

    price: Floats
    delta: Floats
    gamma: Floats
    vega: Floats
    theta: Floats


def black76(
    forward: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    vol: ArrayLike,
    is_call: ArrayLike,
    *,
    kernel: Kernel = "numpy",
) -> Floats:
    """Undiscounted Black-76 price of a European option on a forward.

    Parameters
    ----------
    forward, strike : array_like
        USD per unit of underlying, above 0.
    years : array_like
        Time to expiry in years (ACT/365), 0 or more.
    vol : array_like
        Volatility per year as a decimal (0.60 = 60 %), 0 or more.
    is_call : array_like of bool
        True for a call, False for a put.
    kernel : {"numpy", "numba"}
        The reference, or the compiled kernel (first call in a process about a second).

    Returns
    -------
    ndarray of float64
        USD per unit of underlying, of the broadcast shape. Intrinsic value at ``vol √T = 0``;
        a call tends to F and a put to K for huge ``vol √T``. Error at most 1e-13 of F.

    Raises
    ------
    PricingError
        ``PRC-001`` for a missing or impossible input, with its field and first index;
        ``PRC-002`` when shapes do not broadcast; ``PRC-003`` for an unknown kernel.

    Notes
    -----
    Source: F. Black, "The pricing of commodity contracts", J. Financial Economics 3 (1976);
    with df = 1, as Derive's PM1 and standard managers and Deribit's marks use it
    (Derive v2-core, option value, commit of 2026-01-21).
    """
    f, k, t, v, c = check_option(forward, strike, years, vol, is_call)
    if check_kernel(kernel) == "numba":
        from crossmargin.pricing._numba import price_arrays

        return price_arrays(f, k, t, v, c)
    return np.asarray(ref.price(f, k, t, v, c))


def black76_price_delta_vega(
    forward: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    vol: ArrayLike,
    is_call: ArrayLike,
    *,
    kernel: Kernel = "numpy",
) -> tuple[Floats, Floats, Floats]:
    """Price, delta and vega together, the three that margin rules ask for most.

    Parameters
    ----------
    forward, strike, years, vol, is_call, kernel
        As for `black76`.

    Returns
    -------
    price, delta, vega : ndarray of float64
        USD; per unit of forward; USD per 1.00 of volatility. Signs and limits as in `Greeks`.

    Raises
    ------
    PricingError
        As `black76`.
    """
    f, k, t, v, c = check_option(forward, strike, years, vol, is_call)
    if check_kernel(kernel) == "numba":
        from crossmargin.pricing._numba import price_delta_vega_arrays

        return price_delta_vega_arrays(f, k, t, v, c)
    price, delta, vega = ref.price_delta_vega(f, k, t, v, c)
    return np.asarray(price), np.asarray(delta), _spread(vega, price)


def _spread(array: Floats, like: Floats) -> Floats:
    """Give `array` the shape of `like`: what is the same for call and put lacks that axis."""
    if np.shape(array) == np.shape(like):
        return np.asarray(array)
    return np.array(np.broadcast_to(array, np.shape(like)))


def _greeks(
    forward: Floats, strike: Floats, years: Floats, vol: Floats, is_call: NDArray[np.bool_]
) -> Greeks:
    root = np.sqrt(years)
    deviation = vol * root
    parts = ref.otm_parts(np.abs(ref.log_moneyness(forward, strike)), deviation)
    smaller = np.minimum(forward, strike)
    price = ref.intrinsic(forward, strike, is_call) + smaller * parts.value
    delta = ref.delta_from(parts, forward, strike, is_call)
    vega = smaller * parts.density * (root * ref.INV_SQRT_2PI)
    # F φ(d1), the common factor of the other two.
    weighted = smaller * parts.density * ref.INV_SQRT_2PI
    alive = deviation > 0.0
    gamma = np.where(alive, weighted / (forward * forward * np.where(alive, deviation, 1.0)), 0.0)
    theta = np.where(alive, -0.5 * weighted * vol / np.where(root > 0.0, root, 1.0), 0.0)
    return Greeks(
        price=np.asarray(price),
        delta=np.asarray(delta),
        gamma=_spread(gamma, price),
        vega=_spread(vega, price),
        theta=_spread(theta, price),
    )


def black76_greeks(
    forward: ArrayLike, strike: ArrayLike, years: ArrayLike, vol: ArrayLike, is_call: ArrayLike
) -> Greeks:
    """Price, delta, gamma, vega and theta of an option on a forward, in quote currency.

    Parameters
    ----------
    forward, strike, years, vol, is_call : array_like
        As for `black76`.

    Returns
    -------
    Greeks
        Arrays of the broadcast shape; units and signs are given there.

    Raises
    ------
    PricingError
        As `black76`.
    """
    return _greeks(*check_option(forward, strike, years, vol, is_call))


def black76_inverse(
    forward: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    vol: ArrayLike,
    is_call: ArrayLike,
    *,
    kernel: Kernel = "numpy",
) -> Floats:
    """Value of an inverse (coin-settled) option in coin: Black-76 price over the forward.

    Parameters
    ----------
    forward, strike, years, vol, is_call, kernel
        As for `black76`.

    Returns
    -------
    ndarray of float64
        Coin per 1 coin of underlying, 0 or more. A call is below 1; a put is not bounded.

    Raises
    ------
    PricingError
        As `black76`.

    Notes
    -----
    Source: Deribit, inverse options specification (value in coin is the USD value over the
    forward of that expiry); reproduces recorded Deribit marks to about 5e-6 coin (median).
    """
    price = black76(forward, strike, years, vol, is_call, kernel=kernel)
    return np.asarray(price / np.asarray(forward, dtype=np.float64))


def black76_inverse_greeks(
    forward: ArrayLike, strike: ArrayLike, years: ArrayLike, vol: ArrayLike, is_call: ArrayLike
) -> InverseGreeks:
    """Value and greeks of an inverse option in coin.

    Parameters
    ----------
    forward, strike, years, vol, is_call : array_like
        As for `black76`.

    Returns
    -------
    InverseGreeks
        Arrays of the broadcast shape; the delta is the net transaction delta ``Δ − c``.

    Raises
    ------
    PricingError
        As `black76`.

    Notes
    -----
    With ``c = P/F``: ``dc/dF = (Δ − P/F)/F``, so ``F dc/dF = Δ − c``, and once more
    ``d(Δ − c)/dF = Γ − (Δ − c)/F``. Source: Deribit, "net transaction delta" (Black delta
    minus mark price).
    """
    f, k, t, v, c = check_option(forward, strike, years, vol, is_call)
    usd = _greeks(f, k, t, v, c)
    coin = usd.price / f
    net = usd.delta - coin
    return InverseGreeks(
        price=np.asarray(coin),
        delta=np.asarray(net),
        gamma=np.asarray(usd.gamma - net / f),
        vega=np.asarray(usd.vega / f),
        theta=np.asarray(usd.theta / f),
    )
