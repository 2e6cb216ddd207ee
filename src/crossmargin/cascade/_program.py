"""Liquidation rules as columns of a small program, and which of them run at scale."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from crossmargin.errors import CascadeError
from crossmargin.liquidation import LiquidationRules, Policy
from crossmargin.liquidation.rules import (
    CancelOrders,
    NetPairs,
    ReduceShare,
    ReduceSufficient,
    TakeOver,
    TierSteps,
)
from crossmargin.units import NS_PER_SECOND

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

NOTHING, SUFFICIENT, SHARE, TIERS, TAKEOVER = range(5)
PROPORTIONAL, RISKIEST, LARGEST_LOSS, CHEAPEST, IN_ORDER = range(5)
EXHAUSTED, BELOW_SHARE, BANKRUPT = range(3)

#: Where every contract is an underlying of its own no leg hedges another, and what stands open is
#: everything; where costs are flat the most liquid leg is the first.
_POLICIES: dict[Policy, int] = {
    "proportional": PROPORTIONAL,
    "hedge-preserving": PROPORTIONAL,
    "riskiest-first": RISKIEST,
    "largest-loss": LARGEST_LOSS,
    "cheapest-relief": CHEAPEST,
    "most-liquid": IN_ORDER,
}
_WHEN = {"exhausted": EXHAUSTED, "below-share": BELOW_SHARE, "bankrupt": BANKRUPT}


class Program(NamedTuple):
    """Steps of liquidation rules, one row each.

    ``whole``: kind, policy or occasion, limit at bankruptcy (0, 1), tiers, lowest tier, rounds
    (−1 without end), column of its timer (−1 none), interval in ns, window in ns, whether the
    backstop takes (1) or the fund. ``real``: fee rate, share, least notional.
    """

    whole: Ints
    real: Floats
    line: tuple[float, float, float]
    target: tuple[float, float, float]

    @property
    def timers(self) -> int:
        """How many moments of an account must be remembered."""
        return int(self.whole[:, 6].max(initial=-1)) + 1


def program(
    rules: LiquidationRules, *, brackets: bool, backstop: bool, slack_usd: float = 0.0
) -> Program:
    """Write rules as a program.

    Parameters
    ----------
    rules : LiquidationRules
        A venue's.
    brackets : bool
        Whether the population has brackets.
    backstop : bool
        Whether takeovers of accounts that are not bankrupt go to a backstop, not to the fund.
    slack_usd : float
        What rounding may make of an account: so little below a line is not below it.

    Raises
    ------
    CascadeError
        ``CAS-011`` where a step does not run on columns of accounts.
    """
    whole, real, timers = [], [], 0
    for step in rules.steps:
        row = [NOTHING, 0, 0, 0, 0, -1, -1, round(step.interval_s * NS_PER_SECOND), 0, 0]
        figures = [0.0, 0.0, 0.0]
        match step:
            case CancelOrders() | NetPairs():
                # A population has no resting orders and one net position in each contract.
                pass
            case ReduceSufficient():
                row[:3] = [SUFFICIENT, _POLICIES[step.policy], int(step.limit == "bankruptcy")]
                figures[0] = step.fee_rate or 0.0
            case ReduceShare():
                if step.interval_s and step.window_s:
                    raise _refused(rules, step.name, "has an interval and a window")
                row[0], row[8] = SHARE, round(step.window_s * NS_PER_SECOND)
                figures = [step.fee_rate or 0.0, step.share, step.above_usd]
            case TierSteps():
                if not brackets:
                    raise _refused(rules, step.name, "steps down brackets, and nobody has any")
                rounds = -1 if step.rounds is None else step.rounds
                limit = int(step.limit == "bankruptcy")
                row[:6] = [TIERS, 0, limit, step.tiers, step.from_tier, rounds]
                figures[0] = step.fee_rate or 0.0
            case TakeOver():
                vault = int(backstop and step.when == "below-share")
                row[:2], row[9] = [TAKEOVER, _WHEN[step.when]], vault
                figures[1] = step.share
            case _:
                kind = step.__struct_config__.tag
                raise _refused(
                    rules, step.name, f"is of the kind {kind!r}, which needs one account"
                )
        if row[7] or row[8]:
            row[6], timers = timers, timers + 1
        whole.append(row)
        real.append(figures)
    line, target = rules.line, rules.target
    return Program(
        whole=np.array(whole, dtype=np.int64).reshape(-1, 10),
        real=np.array(real, dtype=np.float64).reshape(-1, 3),
        line=(line.factor, line.amount, slack_usd),
        target=(target.factor, target.amount, slack_usd),
    )


def _refused(rules: LiquidationRules, step: str, why: str) -> CascadeError:
    return CascadeError(
        f"rules {rules.id!r} do not run on columns of accounts: the step {step!r} {why}",
        code="CAS-011",
        field=f"steps.{step}",
        hint="rules that run are made of reduce-sufficient, reduce-share, tier-steps (with "
        "brackets) and takeover",
    )
