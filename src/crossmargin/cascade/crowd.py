"""Shaping a population: open interest, leverage, what equity consists of, walls between positions.

Each function returns a new population and leaves the old one as it is. Each changes one thing, so
that two populations differ by what a comparison is about and by nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.cascade.figures import number, numbers, spread_over
from crossmargin.cascade.population import Population
from crossmargin.errors import CascadeError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

#: An account that a change of leverage would leave below this health is left there instead.
_HEALTH = 1.05


def gross(people: Population) -> Floats:
    """Return the gross notional of every account at the marks, US dollars."""
    notional = np.abs(people.quantity) * people.price[people.contract]
    return np.bincount(people.account, notional, minlength=people.size).astype(np.float64)


def with_interest(people: Population, interest_usd: ArrayLike) -> Population:
    """Scale positions so that each contract has an open interest, and money with them.

    Longs and shorts are scaled apart, so that they meet and nothing is left to an absorber. An
    account's cash and coins grow with its gross notional: leverage stays what it was.

    Parameters
    ----------
    people : Population
        With longs and shorts in every contract.
    interest_usd : array-like, (K,)
        Wanted notional on either side, US dollars, above 0.

    Raises
    ------
    CascadeError
        ``CAS-001`` for figures out of range, or a contract with one side only.
    """
    k = len(people.contracts)
    wanted = spread_over("interest_usd", numbers("interest_usd", interest_usd, above=0), (k,))
    notional = people.quantity * people.price[people.contract]
    factor = np.empty((2, k))
    for row, side in enumerate((notional, -notional)):
        held = np.bincount(people.contract, np.maximum(side, 0.0), minlength=k)
        numbers("open interest of either side", held, above=0)
        factor[row] = wanted / held
    which = np.where(people.quantity > 0, 0, 1)
    before = gross(people)
    grown = replace(people, quantity=people.quantity * factor[which, people.contract])
    ratio = np.divide(gross(grown), before, out=np.ones(people.size), where=before > 0)
    return replace(
        grown,
        cash=people.cash * ratio,
        coll_quantity=people.coll_quantity * ratio[people.coll_account],
    )


def with_leverage(people: Population, factor: ArrayLike) -> Population:
    """Multiply everybody's leverage: the same positions over less equity, or more.

    Equity is changed in cash, so that coins stay what they are; an account is never brought under
    1.05 times its maintenance.

    Parameters
    ----------
    people : Population
        Any.
    factor : array-like, (A,) or a number
        Above 0; 2 halves equity.
    """
    by = spread_over("factor", numbers("leverage factor", factor, above=0), (people.size,))
    equity, least = people.equity(), _HEALTH * people.maintenance()
    wanted = np.maximum(equity / by, np.minimum(least, equity))
    return replace(people, cash=people.cash + wanted - equity)


def long_side(people: Population) -> Bools:
    """Say of every account whether it is long on balance, at the marks."""
    value = people.quantity * people.price[people.contract]
    return np.asarray(np.bincount(people.account, value, minlength=people.size) > 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """A coin that part of the accounts hold instead of cash.

    Attributes
    ----------
    asset : str
        An asset of the population.
    accounts : float
        Share of accounts that hold it, 0 to 1.
    part : float
        Share of their equity, after haircuts, that it makes up, 0 to 1.
    side : {"all", "long"}
        Who may hold it: everybody, or those who are long on balance (wrong-way risk where the
        coin falls with what they are long of).
    """

    asset: str
    accounts: float
    part: float
    side: Literal["all", "long"] = "all"


def with_assets(
    people: Population, names: Sequence[str], price: ArrayLike, haircut: ArrayLike
) -> Population:
    """Add coins that are collateral and no contract's underlying."""
    return replace(
        people,
        assets=(*people.assets, *names),
        price=np.concatenate([people.price, numbers("price", price, above=0).reshape(-1)]),
        haircut=np.concatenate(
            [people.haircut, numbers("haircut", haircut, least=0, most=1).reshape(-1)]
        ),
    )


def with_collateral(people: Population, holdings: Sequence[Holding], seed: int) -> Population:
    """Put coins in the place of cash; equity after haircuts stays what it was.

    Parameters
    ----------
    people : Population
        Without coins of its own.
    holdings : sequence of Holding
        Drawn one after another; an account holds the first that falls to it.
    seed : int
        Of the draw.

    Raises
    ------
    CascadeError
        ``CAS-001`` for a share out of range or a coin with a haircut of 1, ``CAS-003`` for an
        asset that the population does not know.
    """
    draw = np.random.default_rng([0xC0111, seed])
    left = np.ones(people.size, dtype=np.bool_)
    equity = people.equity()
    cash = people.cash.copy()
    owner, asset, quantity = [], [], []
    for held in holdings:
        if held.asset not in people.assets:
            raise CascadeError(
                f"collateral {held.asset!r} is no asset of the population",
                code="CAS-003",
                field="collateral",
                hint="one of " + ", ".join(people.assets),
            )
        column = people.assets.index(held.asset)
        share = number("accounts", held.accounts, least=0, most=1)
        part = number("part", held.part, least=0, most=1)
        worth = number("1 − haircut", 1.0 - float(people.haircut[column]), above=0)
        chosen = draw.random(people.size) < share
        if held.side == "long":
            chosen &= long_side(people)
        rows = np.flatnonzero(chosen & left & (equity > 0))
        left[rows] = False
        cash[rows] -= part * equity[rows]
        owner.append(rows)
        asset.append(np.full(rows.size, column))
        quantity.append(part * equity[rows] / (people.price[column] * worth))
    rows = np.concatenate([*owner, np.empty(0, dtype=np.int64)]).astype(np.int64)
    order = np.argsort(rows, kind="stable")
    counts = np.bincount(rows, minlength=people.size)
    return replace(
        people,
        cash=cash,
        coll_start=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        coll_asset=np.concatenate([*asset, np.empty(0)])[order].astype(np.int32),
        coll_quantity=np.concatenate([*quantity, np.empty(0)])[order].astype(np.float64),
    )


def fenced(people: Population, groups: Sequence[int] | None = None) -> Population:
    """Put walls inside accounts: each pot has its own positions and its own money.

    Money is divided so that every pot begins as healthy as the account was: cash, coins and debts
    by maintenance, and what its positions have won or lost so far is made up in cash. The same
    people hold the same positions with the same money; only the walls differ.

    Parameters
    ----------
    people : Population
        Cross accounts.
    groups : sequence of int, optional
        Sub-account of each contract, K numbers; default a pot for every position (isolated).

    Returns
    -------
    Population
        Of pots; ``owner`` says whose, ``isolated`` where each position is alone. An account without
        positions is one pot.
    """
    k = len(people.contracts)
    of = np.arange(k) if groups is None else np.asarray(groups, dtype=np.int64)
    if of.shape != (k,):
        raise CascadeError(f"{of.size} groups for {k} contracts", code="CAS-001", field="groups")
    account = people.account.astype(np.int64)
    empty = np.flatnonzero(np.diff(people.start) == 0)
    width = int(of.max()) + 1
    keys, pot = np.unique(
        np.concatenate([account * width + of[people.contract], empty * width]),
        return_inverse=True,
    )
    owner = (keys // width).astype(np.int32)
    mine = pot[: account.size]
    order = np.argsort(mine, kind="stable")
    moved = replace(
        people,
        cash=np.zeros(keys.size),
        start=np.concatenate([[0], np.cumsum(np.bincount(mine, minlength=keys.size))]).astype(
            np.int64
        ),
        contract=people.contract[order],
        quantity=people.quantity[order],
        entry=people.entry[order],
        coll_start=np.zeros(keys.size + 1, dtype=np.int64),
        coll_asset=np.empty(0, dtype=np.int32),
        coll_quantity=np.empty(0),
        isolated=np.ones(keys.size, dtype=np.bool_) if groups is None else None,
        owner=owner,
        ids=None,
    )
    need, whole = moved.maintenance(), people.maintenance()
    weight = np.divide(need, whole[owner], out=np.ones(keys.size), where=whole[owner] > 0)
    profit = moved.equity()
    together = people.equity() - _coin_value(people)
    return _with_coins(replace(moved, cash=weight * together[owner] - profit), people, weight)


def _coin_value(people: Population) -> Floats:
    """Return what coins and debts add to the equity of every account, after haircuts."""
    cut = np.where(people.coll_quantity > 0, 1.0 - people.haircut[people.coll_asset], 1.0)
    value = people.coll_quantity * people.price[people.coll_asset] * cut
    return np.bincount(people.coll_account, value, minlength=people.size).astype(np.float64)


def _with_coins(pots: Population, people: Population, weight: Floats) -> Population:
    """Divide coins and debts over the pots of their owner."""
    assert pots.owner is not None
    owner = pots.owner.astype(np.int64)
    counts = np.diff(people.coll_start)[owner]
    first = np.repeat(people.coll_start[owner], counts)
    ends = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    row = first + np.arange(int(ends[-1])) - np.repeat(ends[:-1], counts)
    return replace(
        pots,
        coll_start=ends,
        coll_asset=people.coll_asset[row],
        coll_quantity=people.coll_quantity[row] * np.repeat(weight, counts),
    )
