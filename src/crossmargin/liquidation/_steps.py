"""What each kind of step does in one look."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossmargin.errors import LiquidationError
from crossmargin.liquidation._round import Round
from crossmargin.liquidation.account import Brackets, Line, lots_up
from crossmargin.liquidation.closing import bankruptcy_legs, fillable_price
from crossmargin.liquidation.policies import reduce
from crossmargin.liquidation.rules import (
    AuctionStep,
    CancelOrders,
    CappedReduce,
    NetPairs,
    RampedShortage,
    ReduceShare,
    ReduceSufficient,
    TakeOver,
    TierSteps,
)
from crossmargin.liquidation.takeover import take_over
from crossmargin.liquidation.trial import Trial
from crossmargin.units import NS_PER_SECOND

Floats = NDArray[np.float64]


def _waits(step: Any, here: Round) -> bool:
    """Say that a step waits for its timer, where it does."""
    due = here.due_ns(step)
    if due is None:
        return False
    here.say(step, "wait", f"acts at most every {step.interval_s:g} s", due_ns=due)
    return True


def _cancel(step: CancelOrders, here: Round) -> None:
    if here.orders:
        here.orders = False
        here.acted(step.name)
        here.say(step, "cancel-orders", "orders go first: they may bind margin")


def _net_pairs(step: NetPairs, here: Round) -> None:
    rows: dict[str, list[int]] = {}
    for row, leg in enumerate(here.legs):
        rows.setdefault(leg.contract or leg.name, []).append(row)
    for name, mine in rows.items():
        longs = [r for r in mine if here.quantity[r] > 0]
        shorts = [r for r in mine if here.quantity[r] < 0]
        for a, b in zip(longs, shorts):
            units = float(min(here.quantity[a], -here.quantity[b]))
            here.quantity[a] -= units
            here.quantity[b] += units
            here.acted(step.name)
            here.say(
                step,
                "net-pair",
                "long and short of one contract cancel at the mark",
                leg=name,
                units=units,
                price=here.legs[a].mark,
            )


def _trial(step: Any, here: Round, line: Line, most: Floats | None = None) -> Trial:
    return Trial(
        here.account,
        line,
        here.priced(step),
        here.quantity.copy(),
        here.cost,
        most,
        orders=here.orders,
    )


def _fillable(step: Any, here: Round) -> Floats:
    """Return the units of each leg that fill at once within the step's limit."""
    limits: dict[int, float | None] = {}
    if step.limit == "bankruptcy":
        found = bankruptcy_legs(here.account, here.quantity, here.standing.equity)
        limits = dict(zip(here.open_rows, (x.price for x in found), strict=True))
    costs = here.priced(step)
    return np.array(
        [
            costs.within(leg, abs(q), limits.get(row)) if q else 0.0
            for row, (leg, q) in enumerate(zip(here.legs, here.quantity.tolist()))
        ]
    )


def _sufficient(step: ReduceSufficient, here: Round) -> None:
    if not here.quantity.any() or _waits(step, here):
        return
    most = _fillable(step, here)
    plan = reduce(_trial(step, here, here.target, most), step.policy)
    if not plan.closed.any():
        here.say(step, "not-filled", f"the book fills nothing at the limit ({step.limit})")
        return
    words = "as little as suffices" if plan.sufficient else "all that the book fills"
    for row in plan.order:
        if plan.closed[row] > 0:
            here.close(step, row, float(plan.closed[row]), f"{words}, {step.policy}")


def _by_requirement(here: Round) -> list[int]:
    """Return open legs, the largest requirement first."""
    weights = here.account.weights(here.quantity)
    rows = np.flatnonzero(here.quantity).tolist()
    return sorted(rows, key=lambda row: (-weights[row], row))


def _share(step: ReduceShare, here: Round) -> None:
    if _waits(step, here):
        return
    key = f"{step.name}/part"
    opened = here.progress.last_ns.get(key)
    window = opened is not None and here.now_ns < opened + step.window_s * NS_PER_SECOND
    for row in _by_requirement(here):
        leg, held = here.legs[row], abs(float(here.quantity[row]))
        if here.well:
            return
        large = held * leg.unit_usd > step.above_usd
        part = large and not window
        wanted = lots_up(held * step.share, leg.lot, held) if part else held
        units = here.costs.within(leg, wanted, None)
        if units <= 0:
            here.say(step, "not-filled", "the book fills nothing", leg=leg.name)
            continue
        if part:
            here.acted(key)
            reason = f"{100 * step.share:.0f} % of a leg above {step.above_usd:,.0f} USD"
        elif large:
            reason = f"whole, within {step.window_s:g} s of a part"
        else:
            reason = f"whole: not above {step.above_usd:,.0f} USD"
        here.close(step, row, units, reason)


def _brackets(here: Round) -> tuple[Brackets, ...]:
    found = getattr(here.account, "brackets", None)
    if found is None:
        raise LiquidationError(
            f"rules {here.rules.id!r} step down brackets, and the account has none",
            code="LIQ-008",
            field="brackets",
            hint="margin it under a rule-set with brackets, or describe it as a LinearAccount",
        )
    return tuple(found)


def _tiers(step: TierSteps, here: Round) -> None:
    if _waits(step, here):
        return
    brackets = _brackets(here)
    # A leg that would not fill is not tried again in this look.
    passed: set[int] = set()
    rounds = 0
    while not here.well and (step.rounds is None or rounds < step.rounds):
        notional = [abs(q) * x.unit_usd for q, x in zip(here.quantity.tolist(), here.legs)]
        tier = [b.tier(n) + 1 for b, n in zip(brackets, notional)]
        rows = [r for r in range(len(tier)) if tier[r] >= step.from_tier and r not in passed]
        if not rows:
            return
        row = max(rows, key=lambda r: (tier[r], notional[r], -r))
        to = max(1, tier[row] - step.tiers)
        leg, held = here.legs[row], abs(float(here.quantity[row]))
        excess = (notional[row] - brackets[row].floors[to]) / leg.unit_usd
        wanted = lots_up(excess, leg.lot, held)
        units = float(min(wanted, _fillable(step, here)[row]))
        rounds += 1
        if units <= 0 or (step.fill_or_kill and units < wanted):
            passed.add(row)
            here.say(step, "not-filled", "the book does not fill the order", leg=leg.name)
            continue
        here.close(step, row, units, f"from tier {tier[row]} to tier {to}")
        if units < wanted:
            passed.add(row)


def _needed(step: RampedShortage) -> tuple[float, float]:
    for name in ("initial_share", "duration_s"):
        if getattr(step, name) is None:
            raise LiquidationError(
                f"the figure {name!r} of the step {step.name!r} is not published",
                code="LIQ-011",
                field=f"steps.{step.name}.{name}",
                hint="supply it with overrides, on the command line with --supply",
            )
    assert step.initial_share is not None and step.duration_s is not None
    return step.initial_share, step.duration_s


def _ramp(step: RampedShortage, here: Round) -> None:
    if _waits(step, here):
        return
    initial, duration = _needed(step)
    shortage = -here.target.excess(here.standing)
    elapsed = here.progress.in_breach_ns(here.now_ns) / NS_PER_SECOND
    share = 1.0 if shortage < step.small_usd else min(1.0, initial + elapsed / duration)
    free = share * (shortage + here.progress.freed) - here.progress.freed
    if free <= 0:
        # The next dollar comes free when the ramp has caught up with what was freed.
        back = here.progress.freed / (shortage + here.progress.freed) - initial
        assert here.progress.breached_ns is not None
        due = here.progress.breached_ns + math.ceil(back * duration * NS_PER_SECOND)
        here.say(step, "wait", "the share that may be freed by now is used", due_ns=due)
        return
    line = replace(here.target, amount=here.target.amount - (shortage - free))
    plan = reduce(_trial(step, here, line, _fillable_market(here)), step.policy)
    for row in plan.order:
        if plan.closed[row] > 0:
            here.close(
                step, row, float(plan.closed[row]), f"{100 * share:.1f} % of the shortage by now"
            )
    freed = here.progress.freed + shortage + min(0.0, here.target.excess(here.standing))
    here.progress = replace(here.progress, freed=freed)


def _fillable_market(here: Round) -> Floats:
    return np.array(
        [here.costs.within(leg, abs(q), None) for leg, q in zip(here.legs, here.quantity.tolist())]
    )


def _capped(step: CappedReduce, here: Round) -> None:
    # A leg that needs no margin has no fillable price, and closing it helps nobody.
    weights = here.account.weights(here.quantity)
    open_ = np.flatnonzero((here.quantity != 0) & (weights > 0)).tolist()
    if not open_ or _waits(step, here):
        return
    row = open_[here.draw % len(open_)]
    leg, held = here.legs[row], abs(float(here.quantity[row]))
    most = min(held * step.most_share, step.most_usd / leg.unit_usd)
    wanted = lots_up(max(most, step.least_usd / leg.unit_usd), leg.lot, held)
    net, mm = here.standing.equity, here.standing.mm
    share = float(weights[row])
    limit = fillable_price(
        float(here.quantity[row]) * leg.point,
        leg.mark,
        net,
        mm,
        share,
        adjustment=step.adjustment,
        spread=step.spread,
    )
    # The fee is settled with the fund below: here only what the book takes counts.
    costs = replace(here.costs, fee_rate=0.0)
    units = costs.within(leg, wanted, limit) if limit > 0 else min(wanted, held)
    left = here.quantity.copy()
    left[row] = np.sign(left[row]) * (held - units)
    relief = mm - here.account.standing(left, here.cost, orders=here.orders).mm
    slip = costs.paid(leg, units)
    # What the account may lose by it: its equity's share. Beyond it the fund pays.
    gain = net * relief / mm - slip
    if units <= 0 or gain < -step.most_fund_usd:
        here.say(step, "not-filled", f"nobody fills at {limit:.6g} or better", leg=leg.name)
        return
    fee = max(0.0, min((step.fee_rate or 0.0) * units * leg.unit_usd, gain))
    within = f"at most {100 * step.most_share:.0f} % and {step.most_usd:,.0f} USD"
    reason = f"{within} at {limit:.6g} or better"
    here.close(step, row, units, reason, fee=fee, from_fund=max(0.0, -gain))


def _take_over(step: TakeOver, here: Round) -> None:
    at = here.standing
    why = {
        "exhausted": "the steps before did not suffice",
        "below-share": f"equity is below {step.share:.4g} of maintenance margin",
        "bankrupt": "equity is below 0",
    }
    if step.when == "below-share" and at.equity >= step.share * at.mm:
        return
    if step.when == "bankrupt" and at.equity >= 0:
        return
    if not here.quantity.any():
        return
    taken = take_over(here.account, here.quantity, at, step.price)
    here.takeover = taken
    here.acted(step.name)
    here.orders = False
    # By row: in hedge mode two legs may have the name of one contract.
    for row, leg in zip(here.open_rows, taken.legs, strict=True):
        mark = here.legs[row].mark
        here.quantity[row] = 0.0
        # The owner ends with nothing: each leg takes its part of the equity with it.
        here.cost[row] += leg.allocated_usd
        here.say(
            step,
            "takeover",
            f"{why[step.when]}: to the {step.taker}",
            leg=leg.name,
            units=abs(leg.quantity),
            price=mark if taken.at_mark else leg.price,
            cost=leg.allocated_usd,
        )
    here.progress = replace(here.progress, state="taken-over")


def _auction(step: AuctionStep, here: Round) -> None:
    here.progress = replace(here.progress, state="auction")
    here.acted(step.name)
    here.say(step, "auction", "the account is put up for auction; bids come from outside")


HANDLERS: dict[type, Callable[[Any, Round], None]] = {
    CancelOrders: _cancel,
    NetPairs: _net_pairs,
    ReduceSufficient: _sufficient,
    ReduceShare: _share,
    TierSteps: _tiers,
    RampedShortage: _ramp,
    CappedReduce: _capped,
    TakeOver: _take_over,
    AuctionStep: _auction,
}
