"""A made-up population from a seed: Pareto sizes, lognormal leverage, hedges, coins, both sides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.cascade._blocks import ACCOUNTS, add_up, blocks, owners
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
    equity = draw.pareto(tail, n)
    equity += 1.0
    equity *= least_usd
    np.minimum(equity, most_usd, out=equity)
    most = np.minimum(max_leverage, 1.0 / (1.2 * rates.max()))
    gross = _leverage(draw, n, median_leverage, leverage_sigma, most)
    gross *= equity
    start = np.zeros(n + 1, np.int64)
    start[1:] = _legs(draw, n, k, more_positions)
    np.cumsum(start[1:], out=start[1:])
    first, stride = _places(draw, n, k)
    long = _drawn(n, np.bool_, lambda m: draw.random(m) < long_share)
    both = _drawn(n, np.bool_, lambda m: draw.random(m) < hedged)
    in_coin = _drawn(n, np.bool_, lambda m: draw.random(m) < coins)
    contract = np.empty(int(start[-1]), np.int32)
    quantity = np.empty(contract.size)
    for accounts, rows in blocks(start):
        account = owners(start, accounts)
        rank = np.arange(account.size) - (start[accounts] - start[accounts.start])[account]
        where = first[accounts][account] + rank * stride[accounts][account]
        contract[rows] = where % k
        weight = market_share ** rank.astype(np.float64)
        weight /= np.bincount(account, weight)[account]
        side = np.where(long[accounts], 1.0, -1.0)[account]
        turns = both[accounts][account] & (rank % 2 == 1)
        units = np.where(turns, -side, side) * weight * gross[accounts][account]
        quantity[rows] = units / marks[contract[rows]]
    del gross, stride, long, both
    if matched:
        _match(quantity, contract, start, k)
    cut = np.broadcast_to(np.asarray(haircut, np.float64), (k,))
    held = np.flatnonzero(in_coin)
    coin = contract[start[held]]
    worth = equity[held] / (marks[coin] * (1.0 - cut[coin]))
    equity[held] = 0.0
    coll_start = np.zeros(n + 1, np.int64)
    np.cumsum(in_coin, out=coll_start[1:])
    return population(
        contracts=names,
        price=marks,
        mm_rate=rates,
        haircut=cut,
        cash=equity,
        start=start,
        contract=contract,
        quantity=quantity,
        coll_start=coll_start,
        coll_asset=coin,
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


def _leverage(
    draw: np.random.Generator, n: int, median: float, sigma: float, most: float
) -> Floats:
    """Draw the leverage of each account: lognormal, capped."""
    found = draw.standard_normal(n)
    found *= sigma
    np.exp(found, out=found)
    found *= median
    return np.minimum(found, most, out=found)


def _legs(draw: np.random.Generator, n: int, k: int, more: float) -> Ints:
    """Draw how many legs each account has: 1, and each further one with chance `more`."""
    if more >= 1.0:
        return np.full(n, k, dtype=np.int64)
    found: Ints = _drawn(n, np.int64, lambda m: np.minimum(draw.geometric(1.0 - more, m), k))
    return found


def _places(draw: np.random.Generator, n: int, k: int) -> tuple[Int32, Int32]:
    """Draw the contract of each account's first leg, and the stride to its further ones.

    The first leg falls on contract c with weight 1/(c + 1); the further ones follow it round the
    list at a stride that visits every contract, so that none comes twice in an account.
    """
    popular = 1.0 / np.arange(1, k + 1)
    popular /= popular.sum()
    first = _drawn(n, np.int32, lambda m: draw.choice(k, size=m, p=popular))
    strides = np.array([s for s in range(1, k + 1) if np.gcd(s, k) == 1], dtype=np.int32)
    return first, _drawn(n, np.int32, lambda m: strides[draw.integers(strides.size, size=m)])


def _drawn(n: int, kind: type[Any], draw: Callable[[int], Any]) -> Any:
    """Draw n figures, block after block: the same ones as at once, in a column of the kind."""
    found = np.empty(n, kind)
    for first in range(0, n, ACCOUNTS):
        part = found[first : first + ACCOUNTS]
        part[:] = draw(part.size)
    return found


def _match(quantity: Floats, contract: Int32, start: Ints, k: int) -> None:
    """Scale the heavier side of each contract down so that it sums to 0."""
    longs, shorts = np.zeros(k), np.zeros(k)
    for _, rows in blocks(start):
        q, mine = quantity[rows], contract[rows]
        add_up(longs, mine, np.maximum(q, 0.0))
        add_up(shorts, mine, np.maximum(-q, 0.0))
    least = np.minimum(longs, shorts)
    down = np.divide(least, longs, out=np.ones(k), where=(longs > 0) & (shorts > 0))
    up = np.divide(least, shorts, out=np.ones(k), where=(longs > 0) & (shorts > 0))
    for _, rows in blocks(start):
        q, mine = quantity[rows], contract[rows]
        q *= np.where(q > 0, down[mine], up[mine])
