"""What a look at an account sees and says: trail, progress, and the round that steps work in."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from crossmargin.liquidation.account import Account, Leg, Line, Standing
from crossmargin.liquidation.costs import ClosingCost
from crossmargin.liquidation.rules import LiquidationRules
from crossmargin.liquidation.takeover import Takeover
from crossmargin.units import NS_PER_SECOND

Floats = NDArray[np.float64]

State = Literal["healthy", "liquidating", "auction", "taken-over", "closed"]

#: What a step of a trail says happened.
Action = Literal[
    "cancel-orders",
    "net-pair",
    "close",
    "not-filled",
    "wait",
    "takeover",
    "auction",
    "restored",
    "stuck",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrailStep:
    """One thing that was done, and the rule that it obeyed.

    Attributes
    ----------
    time_ns : int
        When, ns UTC.
    action : Action
        What.
    rule : str
        Rules and step: ``hyperliquid/market-orders``.
    kind : str
        Kind of the step: ``reduce-share``.
    leg : str or None
        What was closed.
    units : float
        How much, at least 0.
    price : float or None
        At which price; None where no price is paid.
    fee : float
        Of that, US dollars, to the fund.
    cost : float
        What the account paid: fee, slippage and impact less `from_fund`, US dollars; in a
        takeover the equity that went with the leg.
    from_fund : float
        What a fund paid of the market's cost, US dollars.
    before, after : Standing
        Equity and requirement.
    due_ns : int or None
        Where it waits: until when.
    reason : str
        One sentence.
    """

    time_ns: int
    action: Action
    rule: str
    kind: str
    leg: str | None = None
    units: float = 0.0
    price: float | None = None
    fee: float = 0.0
    cost: float = 0.0
    from_fund: float = 0.0
    before: Standing
    after: Standing
    due_ns: int | None = None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a liquidation stands between two looks.

    Attributes
    ----------
    state : State
        Phase.
    breached_ns : int or None
        First look below the line; None while healthy.
    last_ns : dict of str to int
        By step, and by step and part: when it acted last. Kept when the account is well again.
    freed : float
        Shortage freed since the breach, US dollars.
    """

    state: State = "healthy"
    breached_ns: int | None = None
    last_ns: dict[str, int]
    freed: float = 0.0

    def in_breach_ns(self, now_ns: int) -> int:
        """Return how long it has been below its line, ns."""
        return 0 if self.breached_ns is None else now_ns - self.breached_ns


def begin() -> Progress:
    """Return the progress of an account that was never below its line."""
    return Progress(last_ns={})


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one look at an account decided.

    Attributes
    ----------
    progress : Progress
        To be passed to the next look.
    trail : tuple of TrailStep
        What to do now, in order.
    quantity, cost : float64[n]
        Units left and costs paid in this look, by leg.
    orders : bool
        Whether resting orders still stand.
    standing : Standing
        Afterwards.
    takeover : Takeover or None
        What a taker takes on.
    """

    progress: Progress
    trail: tuple[TrailStep, ...]
    quantity: Floats
    cost: Floats
    orders: bool
    standing: Standing
    takeover: Takeover | None


class Round:
    """One look at one account, as the handlers of steps see it."""

    def __init__(
        self,
        account: Account,
        rules: LiquidationRules,
        progress: Progress,
        now_ns: int,
        costs: ClosingCost,
        draw: int,
    ) -> None:
        self.account, self.rules, self.costs, self.draw = account, rules, costs, draw
        self.progress, self.now_ns = progress, now_ns
        self.quantity = np.array([leg.quantity for leg in account.legs], dtype=np.float64)
        self.cost = np.zeros(self.quantity.size)
        self.orders = account.has_orders
        self.trail: list[TrailStep] = []
        self.takeover: Takeover | None = None
        self.standing = self.look()

    @property
    def legs(self) -> tuple[Leg, ...]:
        """The account's legs."""
        return self.account.legs

    @property
    def open_rows(self) -> list[int]:
        """Rows of legs that are open."""
        rows: list[int] = np.flatnonzero(self.quantity).tolist()
        return rows

    @property
    def target(self) -> Line:
        """Where liquidation ends."""
        return self.rules.target

    @property
    def well(self) -> bool:
        """Whether it may end now."""
        return self.target.holds(self.standing)

    def look(self) -> Standing:
        """Return the standing as things are."""
        return self.account.standing(self.quantity, self.cost, orders=self.orders)

    def priced(self, step: Any) -> ClosingCost:
        """Return costs with a step's own fee."""
        return replace(self.costs, fee_rate=step.fee_rate or 0.0)

    def due_ns(self, step: Any) -> int | None:
        """Return the moment a step must wait for; None where it may act."""
        last = self.progress.last_ns.get(step.name)
        if last is None:
            return None
        due = last + round(step.interval_s * NS_PER_SECOND)
        return due if due > self.now_ns else None

    def acted(self, name: str) -> None:
        """Write down that a step acted now."""
        times = {**self.progress.last_ns, name: self.now_ns}
        self.progress = replace(self.progress, last_ns=times)

    def say(self, step: Any, action: Action, reason: str, **more: Any) -> None:
        """Add to the trail; the standing after is the one now."""
        before, self.standing = more.pop("before", self.standing), self.look()
        self.trail.append(
            TrailStep(
                time_ns=self.now_ns,
                action=action,
                rule=f"{self.rules.id}/{step.name}",
                kind=step.__struct_config__.tag,
                before=before,
                after=self.standing,
                reason=reason,
                **more,
            )
        )

    def close(
        self,
        step: Any,
        row: int,
        units: float,
        reason: str,
        *,
        fee: float | None = None,
        from_fund: float = 0.0,
    ) -> None:
        """Close units of a leg in the market, and say so.

        `fee` is in US dollars, by default by the step's rate; `from_fund` is what a fund pays of
        the market's cost.
        """
        leg, held = self.legs[row], abs(float(self.quantity[row]))
        units = min(units, held)
        costs = self.priced(step)
        charged = costs.fee(leg, units) if fee is None else fee
        paid = replace(costs, fee_rate=0.0).paid(leg, units) + charged - from_fund
        self.quantity[row] = np.sign(self.quantity[row]) * (held - units)
        self.cost[row] += paid
        self.acted(step.name)
        self.say(
            step,
            "close",
            reason,
            leg=leg.name,
            units=units,
            price=costs.price(leg, units),
            fee=charged,
            cost=paid,
            from_fund=from_fund,
        )
