"""Contagion inside an account: what a shock to one asset closes of the others.

``C[a, b]`` is the fraction of the positions in b that are closed by force after a shock to a
alone. Where positions share one pot C has entries off its diagonal; isolated pots have none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossmargin.errors import LiquidationError
from crossmargin.liquidation.account import Account, Line, LinearAccount
from crossmargin.liquidation.costs import ClosingCost
from crossmargin.liquidation.policies import Policy, reduce
from crossmargin.liquidation.trial import Reduction, Trial

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contagion:
    """What shocks to single assets close.

    Attributes
    ----------
    shocked : tuple of str
        Rows: the asset that moved.
    closed : tuple of str
        Columns: underlyings of the account's legs.
    matrix : float64[a, b]
        Fraction of gross notional closed, 0 to 1.
    reductions : tuple of Reduction
        By row, with standings before and after.
    """

    shocked: tuple[str, ...]
    closed: tuple[str, ...]
    matrix: Floats
    reductions: tuple[Reduction, ...]


def contagion(
    shocked: Callable[[str, float], Account],
    moves: Mapping[str, float],
    policy: Policy,
    *,
    line: Line | None = None,
    costs: ClosingCost | None = None,
) -> Contagion:
    """Work out the contagion matrix of an account.

    Source: requirements row A05 (equity 10,000, long 2 BTC and 20 ETH, BTC −8 %: riskiest first
    closes all BTC and a third of the ETH, proportional 73.68 % of both).

    Parameters
    ----------
    shocked : callable
        Gives the account with one asset moved by a fraction and all others as they are:
        :func:`shocked_linear` or :meth:`crossmargin.liquidation.MarginedAccount.shocked`.
    moves : mapping of str to float
        By asset, for example ``{"BTC": -0.08}``; above −1.
    policy : Policy
        Order of closing.
    line : Line, optional
        Where liquidation begins and ends; default equity = MM.
    costs : ClosingCost, optional
        What closing costs.
    """
    where, paid = line or Line(), costs or ClosingCost()
    rows, found, names = [], list[Reduction](), list[str]()
    for asset, move in moves.items():
        if not (math.isfinite(move) and move > -1):
            raise LiquidationError(
                f"a price cannot move by {move:g}", code="LIQ-001", field=f"moves.{asset}"
            )
        account = shocked(asset, move)
        result = reduce(Trial(account, where, paid), policy)
        found.append(result)
        names = names or list(dict.fromkeys(leg.underlying for leg in account.legs))
        rows.append([_fraction(account, result, name) for name in names])
    return Contagion(
        shocked=tuple(moves),
        closed=tuple(names),
        matrix=np.array(rows, dtype=np.float64).reshape(len(moves), len(names)),
        reductions=tuple(found),
    )


def _fraction(account: Account, result: Reduction, name: str) -> float:
    mine = [
        (closed * leg.unit_usd, abs(leg.quantity) * leg.unit_usd)
        for closed, leg in zip(result.closed.tolist(), account.legs)
        if leg.underlying == name
    ]
    whole = math.fsum(held for _, held in mine)
    return math.fsum(closed for closed, _ in mine) / whole if whole else 0.0


def shocked_linear(account: LinearAccount) -> Callable[[str, float], LinearAccount]:
    """Return the account's answer to a move of one underlying."""

    def moved(asset: str, move: float) -> LinearAccount:
        return account.at(
            [leg.mark * (1.0 + move if leg.underlying == asset else 1.0) for leg in account.legs]
        )

    return moved
