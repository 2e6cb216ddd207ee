"""A made-up population from a seed: Pareto sizes, lognormal leverage, hedges, coins, both sides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.cascade.population import Population, population
from crossmargin.errors import CascadeError

Floats = NDArray[np.float64]
Int32 = NDArray[np.int32]
Ints = NDArray[np.int64]


def generate_population(
    n: int,
    assets: int | Sequence[str],
    seed: int,
    *,
    price: ArrayLike | None = None,
    mm_rate: ArrayLike = 0.01,
    haircut: ArrayLike = 0.1,
    median_leverage: float = 5.0,
    leverage_sigma: float = 0.8,
    max_leverage: float = 50.0,
    tail: float = 1.2,
    least_usd: float = 1_000.0,
    most_usd: float = 1e8,
    hedged: float = 0.2,
    coins: float = 0.2,
    long_share: float = 0.5,
    more_positions: float = 0.5,
    market_share: float = 0.8,
    matched: bool = True,
) -> Population:
    """Make up accounts of linear positions.

    Sizes are Pareto (tail 1.1 to 1.3), leverage lognormal (median 5, σ 0.8, cap 50): judgement of
    cascades.md design (a), "sensitivity item". All the rest is house.

    Parameters
    ----------
    n : int
        Accounts.
    assets : int or sequence of str
        Contracts, or how many; the first are traded most (weights 1, 1/2, 1/3, ...).
    seed : int
        Of the draw; the same seed gives the same bytes.
    price : array-like, optional
        Marks, US dollars; default 50,000, 3,000 and then 100.
    mm_rate, haircut : array-like
        By asset.
    median_leverage, leverage_sigma, max_leverage : float
        Gross notional over equity; never so high that an account begins below 1.2 times its
        maintenance.
    tail, least_usd, most_usd : float
        Pareto exponent of an account's equity, its least and its most, US dollars.
    hedged : float
        Share of accounts whose legs stand on both sides; the others are directional.
    coins : float
        Share of accounts whose equity is the coin of their first contract.
    long_share : float
        Share of directional accounts that are long.
    more_positions : float
        Chance of each further leg, up to one in every contract.
    market_share : float
        How much less further legs weigh than the one before, above 0 and up to 1.
    matched : bool
        Whether the heavier side of each contract is scaled down until longs equal shorts (leverage
        of those holders falls with it). If not, an absorber outside holds the rest.

    Returns
    -------
    Population

    Raises
    ------
    CascadeError
        ``CAS-010`` for parameters that no population has.
    """
    names = [f"C{i}" for i in range(assets)] if isinstance(assets, int) else list(assets)
    shares = {"hedged": hedged, "coins": coins, "long_share": long_share}
    _check(n, len(names), {**shares, "more_positions": more_positions}, tail, median_leverage)
    k = len(names)
    draw = np.random.default_rng([0xCA5CADE, seed])
    marks = _marks(k) if price is None else np.asarray(price, dtype=np.float64)
    rates = np.broadcast_to(np.asarray(mm_rate, np.float64), (k,))
    equity = np.minimum(least_usd * (1.0 + draw.pareto(tail, n)), most_usd)
    most = np.minimum(max_leverage, 1.0 / (1.2 * rates.max()))
    leverage = np.minimum(median_leverage * np.exp(leverage_sigma * draw.standard_normal(n)), most)
    legs = _legs(draw, n, k, more_positions)
    start = np.concatenate([[0], np.cumsum(legs)]).astype(np.int64)
    account = np.repeat(np.arange(n, dtype=np.int32), legs)
    rank = np.arange(account.size) - start[account]
    contract = _contracts(draw, account, rank, k, legs)
    weight = market_share ** rank.astype(np.float64)
    weight /= np.bincount(account, weight, minlength=n)[account]
    side = np.where(draw.random(n) < long_share, 1.0, -1.0)
    turns = (draw.random(n) < hedged)[account] & (rank % 2 == 1)
    sign = np.where(turns, -side[account], side[account])
    quantity = sign * weight * (equity * leverage)[account] / marks[contract]
    if matched:
        quantity *= _matching(quantity, contract, k)
    in_coin = draw.random(n) < coins
    coin = contract[start[:-1]]
    cut = np.broadcast_to(np.asarray(haircut, np.float64), (k,))
    rows = np.flatnonzero(in_coin)
    worth = equity[rows] / (marks[coin[rows]] * (1.0 - cut[coin[rows]]))
    return population(
        contracts=names,
        price=marks,
        mm_rate=rates,
        haircut=cut,
        cash=np.where(in_coin, 0.0, equity),
        start=start,
        contract=contract,
        quantity=quantity,
        coll_start=np.concatenate([[0], np.cumsum(in_coin)]),
        coll_asset=coin[rows],
        coll_quantity=worth,
    )


def _check(n: int, k: int, shares: dict[str, float], tail: float, leverage: float) -> None:
    if n < 1 or k < 1:
        raise CascadeError(
            "a population has at least one account and one contract", code="CAS-010", field="n"
        )
    for field, value in shares.items():
        if not 0.0 <= value <= 1.0:
            raise CascadeError(f"{value:g} is not a share", code="CAS-010", field=field)
    if not (tail > 0 and leverage > 0):
        raise CascadeError("tail and leverage are above 0", code="CAS-010", field="tail")


def _marks(k: int) -> Floats:
    return np.array([50_000.0, 3_000.0, *[100.0] * max(0, k - 2)][:k])


def _legs(draw: np.random.Generator, n: int, k: int, more: float) -> Ints:
    """Draw how many legs each account has: 1, and each further one with chance `more`."""
    if more >= 1.0:
        return np.full(n, k, dtype=np.int64)
    return np.minimum(draw.geometric(1.0 - more, n), k).astype(np.int64)


def _contracts(
    draw: np.random.Generator,
    account: Int32,
    rank: NDArray[np.int64],
    k: int,
    legs: NDArray[np.int64],
) -> Int32:
    """Draw the contract of each leg, none twice in an account.

    The first leg falls on contract c with weight 1/(c + 1); the further ones follow it round the
    list at a stride of the account that visits every contract.
    """
    popular = 1.0 / np.arange(1, k + 1)
    first = draw.choice(k, size=legs.size, p=popular / popular.sum())
    strides = [s for s in range(1, k + 1) if np.gcd(s, k) == 1]
    stride = np.array(strides)[draw.integers(len(strides), size=legs.size)]
    place = (first[account] + rank * stride[account]) % k
    return np.asarray(place, dtype=np.int32)


def _matching(quantity: Floats, contract: Int32, k: int) -> Floats:
    """Return by what the heavier side of each contract is scaled so that it sums to 0."""
    longs = np.bincount(contract, np.maximum(quantity, 0.0), minlength=k)
    shorts = np.bincount(contract, np.maximum(-quantity, 0.0), minlength=k)
    least = np.minimum(longs, shorts)
    down = np.divide(least, longs, out=np.ones(k), where=(longs > 0) & (shorts > 0))
    up = np.divide(least, shorts, out=np.ones(k), where=(longs > 0) & (shorts > 0))
    return np.where(quantity > 0, down[contract], up[contract])
