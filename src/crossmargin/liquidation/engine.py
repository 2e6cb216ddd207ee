"""The engine: what a venue's rules do with an account, step by step, each naming its rule.

It decides and returns; it posts nothing, reads no clock and draws no number. The caller looks at
the account again whenever marks move or a timer runs out, and passes the moment and, where a rule
picks at random, the draw.

Laws: an account above its line is left alone; the first look below it starts the liquidation;
every later action waits for its rule's timer; no leg is turned round or made larger.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from crossmargin.errors import LiquidationError
from crossmargin.liquidation._round import Look, Progress, Round, TrailStep, begin
from crossmargin.liquidation._steps import HANDLERS
from crossmargin.liquidation.account import Account
from crossmargin.liquidation.costs import ClosingCost
from crossmargin.liquidation.rules import LiquidationRules

__all__ = ["Look", "Progress", "TrailStep", "advance", "begin"]


def advance(
    account: Account,
    rules: LiquidationRules,
    progress: Progress,
    now_ns: int,
    *,
    costs: ClosingCost | None = None,
    draw: int = 0,
) -> Look:
    """Look at an account once, and decide what its rules do now.

    Parameters
    ----------
    account : Account
        As it stands: what earlier looks closed is closed, marks are today's.
    rules : LiquidationRules
        The venue's.
    progress : Progress
        From the look before, or :func:`begin`.
    now_ns : int
        The moment, ns UTC.
    costs : ClosingCost, optional
        What the book takes and at which price; its fee is replaced by that of the rules.
    draw : int
        A random number that the caller drew, for rules that pick.

    Raises
    ------
    LiquidationError
        ``LIQ-010`` a moment before the last, ``LIQ-011`` a figure that the rules lack.
    """
    if any(last > now_ns for last in progress.last_ns.values()):
        raise LiquidationError(
            "a look cannot be taken before the last one", code="LIQ-010", field="now_ns"
        )
    here = Round(account, rules, progress, now_ns, costs or ClosingCost(), draw)
    if progress.state in ("taken-over", "auction", "closed"):
        return _result(here)
    if progress.state == "healthy":
        if rules.line.holds(here.standing):
            return _result(here)
        here.progress = replace(progress, state="liquidating", breached_ns=now_ns, freed=0.0)
    for step in rules.steps:
        if here.well or here.progress.state != "liquidating":
            break
        handler: Callable[[Any, Round], None] = HANDLERS[type(step)]
        handler(step, here)
    if here.progress.state == "liquidating":
        _finish(here)
    return _result(here)


def _finish(here: Round) -> None:
    """End a liquidation that reached its target, or say that nothing is left to be done."""
    last = here.rules.steps[-1]
    if here.well:
        here.say(last, "restored", "the account is at its target again")
        # Timers run on: an account that falls again within a cooldown is still in it.
        here.progress = replace(begin(), last_ns=here.progress.last_ns)
    elif not here.quantity.any():
        here.progress = replace(here.progress, state="closed")
        here.say(last, "stuck", "nothing is held any more and equity does not cover what is owed")


def _result(here: Round) -> Look:
    return Look(
        progress=here.progress,
        trail=tuple(here.trail),
        quantity=here.quantity,
        cost=here.cost,
        orders=here.orders,
        standing=here.standing,
        takeover=here.takeover,
    )
