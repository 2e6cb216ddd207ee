"""Contagion over a whole population: what a shock to one asset closes of all the others.

``C[a, b]`` is the share of the open notional in contract b that is closed by force after a shock
to asset a alone. Two readings of the same matrix: *inside accounts*, with every other price held
where it is, where a pot carries the loss from one position to the next; and *through prices*, from
runs of the simulation, where sales move prices and reach accounts that never held the coin.

Source: requirements row A05; cascades.md (a), outputs (contagion matrix, share of liquidated
accounts with no direct exposure).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossmargin.cascade.figures import number, unknown
from crossmargin.cascade.population import Population
from crossmargin.cascade.result import CascadeResult
from crossmargin.errors import CascadeError
from crossmargin.liquidation import (
    POLICIES,
    Line,
    Policy,
    Trial,
    linear_account,
    linear_book,
    reduce,
    reduce_book,
)
from crossmargin.liquidation.costs import ClosingCost

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class CrowdContagion:
    """What shocks to single assets close.

    Attributes
    ----------
    shocked : tuple of str
        Rows.
    closed : tuple of str
        Columns: contracts.
    matrix : float64[S, K]
        Share of notional (at the marks before the shock) that is closed by force, 0 to 1.
    liquidated : int64[S]
        Accounts of which something was closed.
    without_position : float64[S]
        Share of these that hold no position in the shocked asset; NaN where nobody was closed.
    unexposed : float64[S]
        Share that hold it neither as a position nor as collateral or debt.
    """

    shocked: tuple[str, ...]
    closed: tuple[str, ...]
    matrix: Floats
    liquidated: Ints
    without_position: Floats
    unexposed: Floats


def exposure(people: Population, asset: str) -> tuple[Bools, Bools]:
    """Say who holds an asset: as a position, and as collateral or debt.

    Where accounts are pots, a person is exposed in none but the pot that holds it.

    Returns
    -------
    tuple of bool[A]

    Raises
    ------
    CascadeError
        ``CAS-003`` for an asset that the population does not know.
    """
    if asset not in people.assets:
        raise unknown("asset", asset, people.assets)
    column = people.assets.index(asset)
    position = np.zeros(people.size, dtype=np.bool_)
    position[people.account[(people.contract == column) & (people.quantity != 0)]] = True
    coin = np.zeros(people.size, dtype=np.bool_)
    coin[people.coll_account[(people.coll_asset == column) & (people.coll_quantity != 0)]] = True
    return position, coin


def crowd_contagion(
    people: Population, moves: Mapping[str, float], policy: Policy, *, cost_rate: float = 0.0
) -> CrowdContagion:
    """Work out the contagion matrix inside accounts: no price but the shocked one moves.

    Parameters
    ----------
    people : Population
        At flat maintenance rates. For a firewall pass what
        :func:`crossmargin.cascade.crowd.fenced` makes of it.
    moves : mapping of str to float
        By asset: relative change of its price, above −1. Coins that nobody trades are assets too.
    policy : Policy
        Order of closing. ``proportional`` and ``riskiest-first`` are sized in closed form over
        columns, the others account by account.
    cost_rate : float
        Fee and slippage, of what is closed.

    Raises
    ------
    CascadeError
        ``CAS-001`` for a move that no price makes, ``CAS-003`` for an unknown asset or policy.
    """
    if policy not in POLICIES:
        raise unknown("policy of closing", policy, POLICIES)
    if people.brackets is not None:
        raise CascadeError(
            "contagion inside accounts is sized at flat rates, and this population has brackets",
            code="CAS-002",
            field="brackets",
            hint="give flat maintenance rates",
        )
    shares, hits = [], []
    for asset, move in moves.items():
        if asset not in people.assets:
            raise unknown("asset", asset, people.assets)
        price = people.price.copy()
        price[people.assets.index(asset)] *= 1.0 + number(f"moves.{asset}", move, above=-1)
        closed = _closed(people, price, policy, number("cost_rate", cost_rate, least=0, most=1))
        shares.append(closed)
        hit = np.zeros(people.size, dtype=np.bool_)
        hit[people.account[closed > 0]] = True
        hits.append(hit)
    return _summed(people, tuple(moves), shares, hits)


def run_contagion(people: Population, runs: Mapping[str, CascadeResult]) -> CrowdContagion:
    """Work out the contagion matrix through prices, from one simulation for each shocked asset.

    Parameters
    ----------
    people : Population
        That was simulated.
    runs : mapping of str to CascadeResult
        By the asset that was shocked; all else of the runs alike.
    """
    return _summed(
        people, tuple(runs), [r.closed for r in runs.values()], [r.hit for r in runs.values()]
    )


def _summed(
    people: Population, shocked: Sequence[str], shares: Sequence[Floats], hits: Sequence[Bools]
) -> CrowdContagion:
    k = len(people.contracts)
    notional = np.abs(people.quantity) * people.price[people.contract]
    whole = np.bincount(people.contract, notional, minlength=k)
    matrix = np.zeros((len(shocked), k))
    without, unexposed = np.full(len(shocked), np.nan), np.full(len(shocked), np.nan)
    for row, asset in enumerate(shocked):
        closed = np.bincount(people.contract, shares[row] * notional, minlength=k)
        matrix[row] = np.divide(closed, whole, out=np.zeros(k), where=whole > 0)
        position, coin = exposure(people, asset)
        struck = hits[row]
        if struck.any():
            without[row] = float((~position[struck]).mean())
            unexposed[row] = float((~(position | coin)[struck]).mean())
    return CrowdContagion(
        shocked=tuple(shocked),
        closed=people.contracts,
        matrix=matrix,
        liquidated=np.array([int(h.sum()) for h in hits], dtype=np.int64),
        without_position=without,
        unexposed=unexposed,
    )


def _closed(people: Population, price: Floats, policy: Policy, cost_rate: float) -> Floats:
    """Return the share of each position that is closed at some prices."""
    notional = np.abs(people.quantity) * price[people.contract]
    equity = people.equity(price)
    if policy in ("proportional", "riskiest-first"):
        book = linear_book(people.start, notional, people.mm_rate[people.contract], equity)
        return reduce_book(book, policy, cost_rate=cost_rate).share
    closed = np.zeros(people.quantity.size)
    costs = ClosingCost(slip_rate=cost_rate)
    for row in np.flatnonzero(equity < people.maintenance(price)).tolist():
        legs = slice(int(people.start[row]), int(people.start[row + 1]))
        if legs.start == legs.stop:
            continue
        which = people.contract[legs]
        account = linear_account(
            quantity=people.quantity[legs],
            mark=price[which],
            rate=people.mm_rate[which],
            equity=float(equity[row]),
            profit=people.quantity[legs] * (price[which] - people.entry[legs]),
            names=[people.contracts[c] for c in which.tolist()],
        )
        found = reduce(Trial(account, Line(), costs), policy)
        closed[legs] = found.closed / np.abs(people.quantity[legs])
    return closed


def largest(found: CrowdContagion) -> tuple[str, str, float]:
    """Return the pair of different assets with the largest entry, and the entry.

    Returns
    -------
    tuple of (str, str, float)
        Shocked, closed, share; empty names and 0 where nothing crosses.
    """
    best = ("", "", 0.0)
    for row, source in enumerate(found.shocked):
        for column, target in enumerate(found.closed):
            value = float(found.matrix[row, column])
            if source != target and value > best[2] and math.isfinite(value):
                best = (source, target, value)
    return best
