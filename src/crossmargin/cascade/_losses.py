"""Who bears what bankrupt accounts leave: backstop, fund, holders' profits, everybody, nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from crossmargin.cascade import _look
from crossmargin.cascade._measure import Marks
from crossmargin.cascade._venue import sums, to_grid
from crossmargin.errors import CascadeError
from crossmargin.liquidation import LiquidationRules, profit_haircuts
from crossmargin.units import NS_PER_SECOND

if TYPE_CHECKING:
    from crossmargin.cascade._round import Desk, Tally

Floats = NDArray[np.float64]


def check_layers(rules: LiquidationRules) -> None:
    """Refuse layers that need more than columns of accounts.

    Raises
    ------
    CascadeError
        ``CAS-011``.
    """
    for layer in rules.layers:
        known = layer.name == "fund" or layer.adl is not None or layer.share is not None
        if not known or layer.share == "contracts-pro-rata":
            raise CascadeError(
                f"rules {rules.id!r} do not run on columns of accounts: the layer {layer.name!r} "
                "is no fund, no ADL and no loss shared by equity or profit",
                code="CAS-011",
                field=f"layers.{layer.name}",
            )


def fund_room(desk: Desk, time_ns: int) -> float:
    """Return what the fund may pay of the losses of one round, US dollars.

    Its balance, or what a rule on its fall from the peak leaves; see
    :func:`crossmargin.liquidation.resolve_loss`.
    """
    venue = desk.venue
    layer = next((x for x in desk.rules.liquidation.layers if x.name == "fund"), None)
    if layer is None:
        return 0.0
    room = venue.fund
    if layer.drawdown is not None:
        oldest = time_ns - round(layer.window_h * 3600 * NS_PER_SECOND)
        desk.peaks = [x for x in desk.peaks if x[0] >= oldest] + [(time_ns, venue.fund)]
        peak = max(balance for _, balance in desk.peaks)
        room = max(0.0, venue.fund - peak * (1.0 - layer.drawdown))
    if layer.limit_usd is not None:
        room = min(room, layer.limit_usd)
    # On the grid, rounded down: what is paid is paid to the last of it.
    return float(np.floor(room / venue.cent) * venue.cent)


def bear(desk: Desk, loss: float, fund_room_usd: float, now: Marks, tally: Tally) -> None:
    """Lay a loss, at least 0 and on the grid, over the layers in their order.

    No layer pays while one above it has room (requirements row B08). In ``haircut`` mode the
    layer of holders cuts positive profits (cascades.md §3.3); in ``direct`` mode holders have
    had their part already, and what is left has no position behind it.
    """
    venue, rules = desk.venue, desk.rules
    part = min(loss, venue.backstop)
    venue.backstop -= part
    loss -= part
    for layer in rules.liquidation.layers:
        if loss <= 0.0:
            return
        if layer.name == "fund":
            part = min(loss, fund_room_usd, venue.fund)
            venue.fund -= part
        elif layer.adl is not None:
            part = _cut(desk, loss, now, profits=True) if rules.deleveraging == "haircut" else 0.0
            tally.adl_loss += part
        else:
            most = loss if layer.limit_usd is None else min(loss, layer.limit_usd)
            part = _cut(desk, most, now, profits=layer.share != "equity-haircut")
            tally.socialised += part
        loss -= part
    if loss > 0.0:
        venue.bad_debt += loss
        tally.bad_debt += loss


def _cut(desk: Desk, loss: float, now: Marks, *, profits: bool) -> float:
    """Take a loss from everybody's profit, or equity, pro rata; return what was taken.

    Parts are rounded down to the grid, so a little less than the loss is taken.
    """
    venue = desk.venue
    ids = np.flatnonzero(desk.state == _look.HEALTHY).astype(np.int32)
    found = desk.lookout.measure(ids, now)
    base = found.equity
    if profits:
        rows = venue.rows
        each = rows.quantity * (now.mark[rows.contract] - rows.entry)
        account = desk.holders.account
        base = sums(account, each, venue.rows.base.size)[ids]
    # On the grid, so that the sum over everybody does not depend on their order.
    base = to_grid(base, venue.cent)
    height = profit_haircuts(base, _fits(loss, base)).height
    taken = np.floor(height * np.maximum(base, 0.0) / venue.cent) * venue.cent
    whole = float(taken.sum())
    if whole > loss:
        # Rounding of the share itself: one grid step less each.
        taken = np.maximum(taken - venue.cent, 0.0)
        whole = float(taken.sum())
    venue.rows.base[ids] -= taken
    venue.base -= whole
    desk.touch(ids)
    return whole


def _fits(loss: float, base: Floats) -> float:
    """Return as much of the loss as there is to take."""
    return min(loss, float(np.maximum(base, 0.0).sum()))
