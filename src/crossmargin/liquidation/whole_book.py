"""A whole book in one market: who is below the line, what the rules close, and what is lacking.

All accounts are margined in one pass; only those below their line are looked at one by one, each
by :func:`crossmargin.liquidation.liquidate` under the margin engine.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossmargin.book import AccountFile
from crossmargin.errors import CrossmarginError
from crossmargin.liquidation.account import ROUNDING, Line, Standing
from crossmargin.liquidation.costs import ClosingCost
from crossmargin.liquidation.engine import Look
from crossmargin.liquidation.looks import liquidate
from crossmargin.liquidation.margined import MarginedAccount
from crossmargin.liquidation.rules import LiquidationRules
from crossmargin.margin import Ruleset
from crossmargin.market import Snapshot

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Liquidated:
    """How one account was liquidated, US dollars.

    Attributes
    ----------
    account, pool : str
        Whose.
    ended : str
        As :class:`~crossmargin.liquidation.Progress`: ``healthy``, ``taken-over``, ...
    steps : int
        Things done.
    notional, closed, taken_over : float
        Held before; closed in the market; handed to a taker. At the marks.
    cost : float
        Fees and slippage paid.
    before, after : Standing
        Equity and requirement.
    deficit : float
        What the account owes beyond what it has, at least 0: what fund and holders must bear.
    """

    account: str
    pool: str
    ended: str
    steps: int
    notional: float
    closed: float
    taken_over: float
    cost: float
    before: Standing
    after: Standing
    deficit: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BookLiquidation:
    """How a book was liquidated.

    Attributes
    ----------
    accounts : int
        In the book.
    margined : int
        Of them, those that could be margined.
    rows : tuple of Liquidated
        Those below their line, the largest deficit first, then the largest cut.
    failures : tuple of (str, CrossmarginError)
        Accounts that could not be looked at, and why.
    """

    accounts: int
    margined: int
    rows: tuple[Liquidated, ...]
    failures: tuple[tuple[str, CrossmarginError], ...]

    @property
    def ended(self) -> dict[str, int]:
        """Accounts by how they ended."""
        return dict(sorted(Counter(row.ended for row in self.rows).items()))

    def total(self, name: str) -> float:
        """Return the sum of a figure over the accounts below their line."""
        return math.fsum(getattr(row, name) for row in self.rows)


def below_line(equity: Floats, mm: Floats, line: Line) -> NDArray[np.int64]:
    """Return the accounts whose equity does not keep a line; those not computed are left out.

    Parameters
    ----------
    equity, mm : float64[A]
        US dollars, NaN where not computed.
    line : Line
        Of the liquidation rules.
    """
    rows = np.flatnonzero(np.isfinite(equity) & np.isfinite(mm))
    need = line.factor * mm[rows] + line.amount
    # An account that needs no margin is not liquidated for an amount that stands on top of it.
    need = np.where(mm[rows] > 0.0, need, 0.0)
    excess = equity[rows] - need
    return rows[excess < -ROUNDING * (np.abs(equity[rows]) + np.abs(need))]


def liquidate_accounts(
    files: Iterable[AccountFile],
    snapshot: Snapshot,
    ruleset: Ruleset,
    rules: LiquidationRules,
    *,
    pool: str = "cross",
    every_s: float = 10.0,
    looks: int = 360,
    costs: ClosingCost | None = None,
    progress: Callable[[], None] = lambda: None,
) -> tuple[list[Liquidated], list[tuple[str, CrossmarginError]]]:
    """Liquidate accounts one by one, in a market that stands still.

    Parameters
    ----------
    files : iterable of AccountFile
        Whose; those above their line come back without a row.
    snapshot, ruleset, rules
        Market, margin, liquidation.
    pool : str
        Which pool of each account.
    every_s, looks : float, int
        Seconds between looks, and how many at most.
    costs : ClosingCost, optional
        What closing costs.
    progress : callable
        Called after each account.

    Returns
    -------
    tuple of (rows, failures)
        An account that cannot be looked at fails by itself, with the reason.
    """
    rows, failures = list[Liquidated](), list[tuple[str, CrossmarginError]]()
    times = [snapshot.moment_ns + round(k * every_s * 1e9) for k in range(looks)]
    for file in files:
        try:
            held = MarginedAccount(file, snapshot, ruleset, pool=pool)
            found = liquidate(held, rules, times, costs=costs)
            if found and any(look.trail for look in found):
                rows.append(_row(file.account, pool, held, found))
        except CrossmarginError as error:
            failures.append((file.account, error))
        progress()
    rows.sort(key=lambda row: (-row.deficit, -row.closed - row.taken_over, row.account))
    return rows, failures


def _row(account: str, pool: str, held: MarginedAccount, looks: Sequence[Look]) -> Liquidated:
    trail = [step for look in looks for step in look.trail]
    unit = {leg.name: leg.unit_usd for leg in held.legs}
    closed, taken = (
        math.fsum(s.units * unit[s.leg] for s in trail if s.action == action and s.leg)
        for action in ("close", "takeover")
    )
    last = looks[-1]
    takeover = next((look.takeover for look in looks if look.takeover is not None), None)
    owed = last.standing.equity if takeover is None else takeover.equity
    return Liquidated(
        account=account,
        pool=pool,
        ended=last.progress.state,
        steps=sum(s.action not in ("wait", "restored") for s in trail),
        notional=math.fsum(abs(leg.quantity) * leg.unit_usd for leg in held.legs),
        closed=closed,
        taken_over=taken,
        cost=math.fsum(s.cost for s in trail if s.action == "close"),
        before=trail[0].before,
        after=last.standing,
        deficit=max(0.0, -owed),
    )
