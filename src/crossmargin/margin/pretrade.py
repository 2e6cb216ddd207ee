"""The pre-trade check: may this order be placed, and why.

The rule, for every share of the order that may fill, pot by pot, resting orders included:

* **room**: the initial margin after the worst combination of fills is at most the equity, while
  the order rests and once it has filled; or
* **no harm**: neither is the initial margin higher, nor the excess (equity − IM) lower, than now.

An order passes when every pot that it touches has room or takes no harm at each share. So an
order that only reduces risk always passes, also where the account is below its initial margin,
and IM = equity passes.

Source: requirements row A11 ("IM after the worst fill combination ≤ Equity") and A26 ("in
reduce-only a risk-adding order is refused and a risk-cutting one accepted"); what "reducing"
means is ours (house).
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from crossmargin.book import AccountFile, OrderEntry
from crossmargin.errors import CrossmarginError
from crossmargin.margin._probe import OrderProbe
from crossmargin.margin._protect import permitted
from crossmargin.margin._standing import Standing
from crossmargin.margin.ruleset import Ruleset
from crossmargin.market import Snapshot

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

#: Shares of an order that are looked at, beside those at which a leg makes its position flat.
#: Where the requirement is convex in the fill (scans without tail dampeners, rates, the option
#: formula) the last of them decides alone.
PARTS = 16

#: What an action that adds risk is called among the allowed ones (protect mode).
NEW_RISK = "new-risk"

Rule = Literal["room", "reducing", "refused", "protect", "debt"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PotCheck:
    """One pot that the order touches, US dollars.

    Attributes
    ----------
    pot : str
        Its name in statements.
    equity_before, im_before : float
        As it stands, resting orders at their worst fills.
    im_resting : float
        After the worst combination of fills, the order among them.
    equity_filled, im_filled : float
        Once the order has filled whole, the other orders at their worst fills.
    room : float
        The smallest excess over these; at least 0 when the pot has room.
    harm : float
        How much worse off than now it can be (IM higher, or excess lower); 0 for none.
    """

    pot: str
    equity_before: float
    im_before: float
    im_resting: float
    equity_filled: float
    im_filled: float
    room: float
    harm: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderCheck:
    """Whether an order may be placed.

    Attributes
    ----------
    order : str
        Its id.
    accepted : bool
    rule : {"room", "reducing", "refused", "protect", "debt"}
        What decided: room in every pot; no harm where there is no room; neither; no new risk
        while prices are not trusted; a debt that is not wanted.
    reducing : bool
        Whether no fill of it does harm in any pot.
    equity_usd, im_before_usd, im_after_usd, excess_usd : float
        Sums over the touched pots: equity now, IM now and after the worst fills; the excess is
        that of the pot that has least after the worst.
    rounding_usd : float
        Bound on the error of floating point, below which a negative excess is read as 0.
    pots : tuple of PotCheck
        Touched pots.
    reason : str
        One sentence.
    """

    order: str
    accepted: bool
    rule: Rule
    reducing: bool
    equity_usd: float
    im_before_usd: float
    im_after_usd: float
    excess_usd: float
    rounding_usd: float
    pots: tuple[PotCheck, ...]
    reason: str


def slack(
    probe: OrderProbe,
    size: float,
    *,
    reducing: bool = False,
    debt: bool = True,
    exact: bool = False,
) -> float:
    """How far one size of an order is from not passing, US dollars; below 0 when it fails.

    Parameters
    ----------
    probe : OrderProbe
        Account and order.
    size : float
        Multiple of the order, > 0; this fill alone, not its shares.
    reducing : bool
        Whether room does not count (protect mode).
    debt : bool
        Whether a fill may leave or deepen a debt.
    exact : bool
        Whether the excess must be at least 0 as computed. Otherwise what rounding explains
        passes, as in :func:`check_order`.
    """
    rounding = probe.rounding(size)
    filled, owed = probe.filled_at(size)
    # That nothing changes can only be told up to rounding.
    best = rounding - _harm(probe.before, filled)
    if not reducing:
        resting = probe.resting_at(size)
        room = np.minimum(resting.excess, filled.excess)
        # A fence that is filled up from the wallet leaves its pot at 0, whatever the size: the
        # pot has what it needs and says nothing about how far the wallet is from its line.
        filled_up = probe.fenced & (np.abs(room) <= rounding)
        room = np.where(filled_up, np.inf, room if exact else room + rounding)
        best = np.maximum(best, room)
    if not debt:
        best = np.append(best, rounding - owed)
    least = float(np.min(best, initial=np.inf))
    return least if math.isfinite(least) else 0.0


def _harm(before: Standing, after: Standing) -> Floats:
    """How much worse off each pot is: IM higher or excess lower."""
    return np.maximum(after.im - before.im, before.excess - after.excess)


def shares_of(probe: OrderProbe, size: float = 1.0) -> list[float]:
    """Return the sizes at which an order of a size is looked at, ascending, the whole last."""
    parts = {size * j / PARTS for j in range(1, PARTS + 1)}
    return sorted(parts | {x for x in probe.flat_sizes() if x < size})


def check_order(
    account: AccountFile,
    snapshot: Snapshot,
    ruleset: Ruleset,
    order: OrderEntry,
    *,
    allowed: Collection[str] | None = None,
    allow_debt: bool = True,
) -> OrderCheck:
    """Check an order before it is placed.

    Parameters
    ----------
    account : AccountFile
        As it stands; its open orders rest beside the new one.
    snapshot : Snapshot
        The market.
    ruleset : Ruleset
        The rules.
    order : OrderEntry
        One leg, or several that fill together. Without a price a leg fills at the mark.
    allowed : collection of str, optional
        Actions that protect mode leaves; without ``"new-risk"`` among them only orders that do
        no harm pass. None: as the market's prices leave it.
    allow_debt : bool
        False refuses an order whose fill leaves or deepens a debt in the asset it is paid in.

    Returns
    -------
    OrderCheck
        With the reason in a sentence.

    Raises
    ------
    RulesetError
        ``RUL-032`` when the rule-set's open-order margin is not published; supply
        ``orders.method = "worst-fill"`` to use the house formula.
    MarginError
        ``MRG-020`` when a leg has expired.
    """
    try:
        probe = OrderProbe(account, snapshot, ruleset, order)
        return _checked(probe, order.id, allowed, allow_debt)
    except CrossmarginError as error:
        raise error.located(account=account.account) from None


def _checked(
    probe: OrderProbe, name: str, allowed: Collection[str] | None, allow_debt: bool
) -> OrderCheck:
    allowed = permitted(probe.frame_filled(0.0), allowed)
    before, rounding = probe.before, probe.rounding(1.0)
    room = np.full(len(probe.names), np.inf)
    harm = np.zeros(len(probe.names))
    passes = np.ones(len(probe.names), dtype=bool)
    owed = 0.0
    for size in shares_of(probe):
        filled, debt = probe.filled_at(size)
        resting = probe.resting_at(size)
        here = np.minimum(resting.excess, filled.excess)
        worse = _harm(before, filled)
        passes &= (here >= -rounding) | (worse <= rounding)
        room, harm, owed = np.minimum(room, here), np.maximum(harm, worse), max(owed, debt)
    # A fence filled up from the wallet stands at 0 by itself; what is scarce is in the wallet.
    scarce = ~(probe.fenced & (np.abs(room) <= rounding))
    scarce = scarce if scarce.any() else ~scarce
    reducing = bool(np.all(harm <= rounding))
    protect = allowed is not None and NEW_RISK not in allowed
    rule: Rule = "room" if np.all(room >= -rounding) else "reducing"
    if protect:
        rule = "reducing" if reducing else "protect"
    elif not passes.all():
        rule = "refused"
    if rule in ("room", "reducing") and not allow_debt and owed > rounding:
        rule = "debt"
    pots = tuple(
        PotCheck(
            pot=pot,
            equity_before=float(before.equity[p]),
            im_before=float(before.im[p]),
            im_resting=float(resting.im[p]),
            equity_filled=float(filled.equity[p]),
            im_filled=float(filled.im[p]),
            room=float(room[p]),
            harm=max(0.0, float(harm[p])),
        )
        for p, pot in enumerate(probe.names)
    )
    return OrderCheck(
        order=name,
        accepted=rule in ("room", "reducing"),
        rule=rule,
        reducing=reducing,
        equity_usd=float(before.equity.sum()),
        im_before_usd=float(before.im.sum()),
        im_after_usd=float(resting.im.sum()),
        excess_usd=float(room[scarce].min()),
        rounding_usd=rounding,
        pots=pots,
        reason=_reason(rule, pots, (scarce, passes), owed),
    )


def _money(value: float) -> str:
    return f"{value:,.2f}" if abs(value) >= 0.005 else "0.00"


def _reason(rule: Rule, pots: tuple[PotCheck, ...], marks: tuple[Bools, Bools], owed: float) -> str:
    scarce, passes = marks
    least = min((p for p, yes in zip(pots, scarce) if yes), key=lambda p: p.room)
    if rule == "room":
        return (
            f"initial margin after the worst fills is covered: {least.pot} keeps an excess of "
            f"{_money(least.room)} USD"
        )
    if rule == "reducing":
        if least.room >= 0:
            return "no fill of it raises the initial margin or lowers the excess"
        return (
            f"no fill of it raises the initial margin or lowers the excess, so it passes although "
            f"{least.pot} lacks {_money(-least.room)} USD of initial margin"
        )
    if rule == "protect":
        worst = max(pots, key=lambda p: p.harm)
        return (
            f"no new risk is allowed now, and a fill can leave {worst.pot} "
            f"{_money(worst.harm)} USD worse off"
        )
    if rule == "debt":
        return f"its fill would leave or deepen a debt of {_money(owed)} USD, which is not allowed"
    failed = [p for p, ok in zip(pots, passes) if not ok] or list(pots)
    worst = min(failed, key=lambda p: p.room)
    return (
        f"after the worst fills {worst.pot} would lack {max(-worst.room, 0.0):,.6g} USD of initial "
        f"margin, and the order does not only reduce risk"
    )
