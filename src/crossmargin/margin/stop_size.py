"""Size from what may be lost: the risk budget at a stop, and what margin makes of it.

``q = budget / (|entry − stop| + costs)``; then the size is cut to what passes the pre-trade check
and to what is not liquidated before the stop. Source: requirements row A25 ("if liquidation would
come before the stop the sizer must say so and shrink").
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from crossmargin.book import AccountFile, OrderEntry, OrderLeg
from crossmargin.errors import CrossmarginError, InputError, MarginError
from crossmargin.instruments import parse_instrument
from crossmargin.margin._probe import OrderProbe
from crossmargin.margin.engine import equity, fenced_margins, requirement
from crossmargin.margin.inverse import Slack, largest, multiple, unused_id
from crossmargin.margin.pretrade import slack
from crossmargin.margin.ruleset import Ruleset
from crossmargin.market import Snapshot

#: Prices between entry and stop at which the account must stand above maintenance margin.
_STEPS = 16

Binding = Literal["budget", "initial margin", "liquidation"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StopSize:
    """A size with a stop.

    Attributes
    ----------
    instrument : str
    side : {"buy", "sell"}
    quantity : float
        Units of the instrument, at least 0.
    binding : {"budget", "initial margin", "liquidation"}
        What limits it.
    by_budget, by_margin, by_liquidation : float
        The size that each would allow, the budget's being the most that is looked at.
    loss_at_stop_usd : float
        Of `quantity`, costs of both sides included.
    reason : str
    """

    instrument: str
    side: Literal["buy", "sell"]
    quantity: float
    binding: Binding
    by_budget: float
    by_margin: float
    by_liquidation: float
    loss_at_stop_usd: float
    reason: str


def size_for_stop(
    account: AccountFile,
    snapshot: Snapshot,
    ruleset: Ruleset,
    instrument: str,
    *,
    entry: float,
    stop: float,
    budget_usd: float,
    fee_rate: float = 0.0,
    pool: str = "cross",
    lot: float | None = None,
) -> StopSize:
    """Size a future or perpetual so that its stop loses at most a budget.

    Parameters
    ----------
    account, snapshot, ruleset
        The account now, open orders included.
    instrument : str
        A future or perpetual; a stop below the entry buys, above it sells.
    entry, stop : float
        Prices in the quote currency.
    budget_usd : float
        What the stop may lose, US dollars.
    fee_rate : float
        Of notional, paid at entry and at the stop.
    pool : str
        Where it is ordered.
    lot : float, optional
        Rounded down to a multiple of it.

    Raises
    ------
    MarginError
        ``MRG-021`` for an option or spot.
    InputError
        ``INP-004`` for prices or a budget that are not positive, or a stop at the entry.
    """
    item = parse_instrument(instrument)
    if item.kind not in ("future", "perpetual"):
        raise MarginError(
            f"{item.id} is no future or perpetual: its loss at a stop is not known from its price",
            code="MRG-021",
            instrument=item.id,
            hint="use largest_order, or size options by their worst scenario",
        )
    for name, value in (("entry", entry), ("stop", stop), ("budget_usd", budget_usd)):
        if not (math.isfinite(value) and value > 0):
            raise InputError(f"{name} is {value:g}, not positive", code="INP-004", field=name)
    if entry == stop:
        raise InputError("the stop is the entry", code="INP-004", field="stop")
    side: Literal["buy", "sell"] = "buy" if stop < entry else "sell"
    sign = 1.0 if side == "buy" else -1.0
    leg = OrderLeg(instrument=instrument, quantity=sign, price=entry)
    order = OrderEntry(id=unused_id(account), legs=[leg], pool=pool)
    try:
        probe = OrderProbe(account, snapshot, ruleset, order)
        unit = _unit_loss(probe, item.inverse, entry, stop, fee_rate, snapshot, item.settlement)
        by_budget = _down(budget_usd / unit, lot)
        by_margin = _most(
            lambda x, exact: slack(probe, x, exact=exact), by_budget, probe.notional_usd, lot
        )
        alive = _Alive(probe, stop)
        by_stop = _most(alive, by_budget, probe.notional_usd, lot)
    except CrossmarginError as error:
        raise error.located(account=account.account) from None
    sizes: dict[Binding, float] = {
        "budget": by_budget,
        "initial margin": by_margin,
        "liquidation": by_stop,
    }
    binding = min(sizes, key=lambda name: sizes[name])
    words = {
        "budget": "the budget is lost at the stop, and the account stands above maintenance "
        "margin all the way",
        "initial margin": "the size of the budget would not pass the pre-trade check",
        "liquidation": "at the size of the budget the account would be liquidated before the stop",
    }
    return StopSize(
        instrument=item.id,
        side=side,
        quantity=sizes[binding],
        binding=binding,
        by_budget=by_budget,
        by_margin=by_margin,
        by_liquidation=by_stop,
        loss_at_stop_usd=sizes[binding] * unit,
        reason=words[binding],
    )


def _unit_loss(
    probe: OrderProbe,
    inverse: bool,
    entry: float,
    stop: float,
    fee_rate: float,
    snapshot: Snapshot,
    settlement: str,
) -> float:
    """Loss of one unit from entry to stop with fees on both notionals, US dollars.

    A coin-settled loss is valued at the stop, where it is paid.
    """
    size = probe.legs[0].size
    if inverse:
        coins = abs(1.0 / stop - 1.0 / entry) + fee_rate * (1.0 / entry + 1.0 / stop)
        return size * coins * stop
    move = abs(entry - stop) + fee_rate * (entry + stop)
    return size * move * snapshot.asset_usd(settlement)


def _down(size: float, lot: float | None) -> float:
    return size if lot is None else multiple(lot, math.floor(size / lot * (1.0 + 1e-12)))


def _most(value: Slack, cap: float, unit_usd: float, lot: float | None) -> float:
    if cap <= 0.0:
        return 0.0
    return largest(value, cap, cap, unit_usd, lot).safe


class _Alive:
    """Excess over maintenance margin of the filled account on the way to the stop."""

    def __init__(self, probe: OrderProbe, stop: float) -> None:
        self._probe = probe
        frame = probe.filled
        row = probe.legs[0].row
        index = int(frame.book.position_instrument[row])
        self._moves = frame.follow == frame.follow[int(frame.terms.underlying[index])]
        last = stop / float(frame.view.price[index])
        self._ratios = np.exp(np.linspace(0.0, math.log(last), _STEPS + 1))

    def __call__(self, size: float, exact: bool) -> float:
        frame = self._probe.frame_filled(size)
        fences = fenced_margins(frame, requirement(frame, levels=("im",)))
        pots = [n in self._probe.names for n in self._probe.filled_names]
        least = math.inf
        for ratio in self._ratios:
            there = frame.shocked(np.where(self._moves, ratio, 1.0))
            need = requirement(there, levels=("mm",))
            excess = (equity(there, need, fences).mm - need.mm) * there.pot_usd
            if there.ruleset.data.pools.by == "position":
                excess = np.where(there.arrangement.pot_position < 0, np.inf, excess)
            least = min(least, float(excess[pots].min()))
        return least if exact else least + self._probe.rounding(size)
