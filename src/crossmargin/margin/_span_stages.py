"""Stages of SPAN: composite delta, calendar and delivery charge, credit, risk cap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from crossmargin.errors import invariant
from crossmargin.instruments import KIND_CODE
from crossmargin.margin._arrange import buckets
from crossmargin.margin._formula import Cross, Part
from crossmargin.margin._frame import Frame, sum_by
from crossmargin.margin._lookup import distinct
from crossmargin.margin._netting import Pairings
from crossmargin.margin._portfolio import (
    by_underlying,
    group_index,
    leg_sums,
    same,
    sum_by_kind,
    the_scan,
)
from crossmargin.margin._scan import scan_shares
from crossmargin.margin._span import scenario_pairs, tier_of
from crossmargin.margin.components import (
    Calendar,
    CalendarSpread,
    ContractRate,
    DeliveryCharge,
    DeltaPoints,
    RiskCap,
    SpreadCredit,
)
from crossmargin.pricing import black76_price_delta_vega

if TYPE_CHECKING:
    from crossmargin.margin._stages import Stage

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def composite_deltas(frame: Frame, points: DeltaPoints) -> Floats:
    """Composite delta in coins per unit of quantity, by instrument.

    Options: the weighted mean of Black-76 deltas with the forward moved by each point times the
    underlying's price range, volatility and time as they are. Everything else: its coins.

    Source: CME, "Components of SPAN" (probability-weighted estimate of tomorrow's delta); the
    weights come from the rule-set.
    """
    if points.points == [0.0] or frame.ruleset.data.scenarios is None:
        return frame.unit_delta
    return frame.once_here(f"composite {points}", lambda: _composite_deltas(frame, points))


def _composite_deltas(frame: Frame, points: DeltaPoints) -> Floats:
    terms, view = frame.terms, frame.view
    spec = frame.ruleset.data.scenarios
    assert spec is not None
    out = frame.unit_delta.copy()
    used = frame.used
    opt = used[(terms.kind[used] == KIND_CODE["option"]) & ~view.settled[used]]
    if not opt.size:
        return out
    names = frame.book.registry.assets
    leader = frame.follow[terms.underlying[opt]]
    reach = np.array([spec.shocks_for(names[u]).price_range for u in leader])
    moved = 1.0 + np.array(points.points)[:, None] * reach
    _, slope, _ = black76_price_delta_vega(
        view.price_fixed[opt] + view.price_variable[opt] * moved,
        terms.strike[opt],
        view.years[opt],
        view.vol[opt],
        terms.is_call[opt],
    )
    weights = np.array(points.weights)
    total = (weights[:, None] * slope).sum(axis=0)
    moving = view.price_variable[opt] / view.price[opt]
    out[opt] = total / weights.sum() * moving * terms.contract_size[opt]
    return out


def _days(frame: Frame, instrument: Ints) -> Floats:
    """Days to expiry; 0 for what has none."""
    years = frame.view.years[instrument]
    return np.where(np.isinf(years), 0.0, years) * 365.0


def _unit(rule: ContractRate, index: Floats, usd: Floats) -> Floats:
    """Charge per coin of delta in the numeraire, by group."""
    return np.asarray(rule.usd / usd + rule.index * index)


def run_calendar(spec: CalendarSpread, frame: Frame, quantity: Floats, *, orders: bool) -> Part:
    """Charge expiries that hedge each other; :func:`calendar_charge` of every group at once.

    With orders, an upper bound: the smaller of all long and all short deltas after any fills, at
    the dearest line.
    """
    a, book = frame.arrangement, frame.book
    unit_delta = composite_deltas(frame, spec.deltas)
    delta = quantity * unit_delta[book.position_instrument]
    days, place = np.unique(_days(frame, book.position_instrument), return_inverse=True)
    nets = sum_by_kind(frame, delta, place, a.position_group, days.size)
    value, slope = np.zeros(a.groups), np.zeros(nets.shape)
    more_long, more_short = leg_sums(frame, frame.leg_quantity * unit_delta[book.leg_instrument])
    for asset in distinct(a.group_underlying).tolist():
        rules = by_underlying(spec.underlyings, frame, asset)
        if rules is None:
            continue
        groups = np.flatnonzero(a.group_underlying == asset)
        mine = _Calendar(frame, rules, days, nets[:, groups], groups)
        value[groups], slope[:, groups] = mine.charge()
        if orders:
            value[groups] = np.maximum(
                value[groups], mine.bound(more_long[groups], more_short[groups])
            )
    here = place, a.position_group
    return same(value, delta * np.sign(nets[here]) * slope[here])


class _Calendar:
    """Calendar spreads of the groups of one underlying.

    Parameters
    ----------
    frame : Frame
        Book and market.
    rules : Calendar
        Tiers and lines.
    days : float64[D]
        Days to the expiries that the book holds.
    nets : float64[D, G]
        Net composite delta of each expiry and group.
    groups : int64[G]
        The groups.
    """

    def __init__(
        self, frame: Frame, rules: Calendar, days: Floats, nets: Floats, groups: Ints
    ) -> None:
        a = frame.arrangement
        self._rules, self._nets, self._shares = rules, nets, frame.shares
        self._index = group_index(frame)[groups]
        self._usd = frame.pot_usd[a.group_pot[groups]]
        self._tier = np.array([tier_of(float(day), rules.tiers) for day in days], dtype=np.int64)

    def _units(self, line: ContractRate) -> Floats:
        return _unit(line, self._index, self._usd)

    def charge(self) -> tuple[Floats, Floats]:
        """Return the charge by group, and its slope by the absolute net of each expiry."""
        tiers = len(self._rules.tiers) + 1
        sides = np.zeros((2 * tiers, self._index.size))
        for tier, net in zip(self._tier, self._nets):
            sides[2 * tier] += np.maximum(net, 0.0)
            sides[2 * tier + 1] += np.maximum(-net, 0.0)
        pairing = Pairings(sides, slopes=self._shares)
        value, by_side = np.zeros(self._index.size), np.zeros(sides.shape)
        for line in self._rules.spreads:
            unit = self._units(line)
            for short in (0,) if line.first == line.second else (0, 1):
                legs = [(2 * line.first + short, 1.0), (2 * line.second + 1 - short, 1.0)]
                left = pairing.left[legs[0][0]], pairing.left[legs[1][0]]
                open_ = np.flatnonzero((left[0] > 0.0) & (left[1] > 0.0))
                found, count, grown = pairing.take(open_, legs)
                value[found] += count * unit[found]
                if grown is not None:
                    by_side[:, found] += grown * unit[found]
        side = 2 * self._tier[:, None] + (self._nets <= 0.0)
        return value, by_side[side, np.arange(self._index.size)]

    def bound(self, more_long: Floats, more_short: Floats) -> Floats:
        """Return the most that any fills can bring about; 0 where nothing can fill."""
        long = more_long + np.maximum(self._nets, 0.0).sum(axis=0)
        short = more_short + np.maximum(-self._nets, 0.0).sum(axis=0)
        dearest = np.zeros(self._index.size)
        for line in self._rules.spreads:
            dearest = np.maximum(dearest, self._units(line))
        return np.where(more_long + more_short > 0.0, np.minimum(long, short) * dearest, 0.0)


def run_delivery(spec: DeliveryCharge, frame: Frame, quantity: Floats, *, orders: bool) -> Part:
    """Charge net delta of dated contracts inside the delivery period.

    With orders the worse of all that add and all that take.
    """
    a, book, terms = frame.arrangement, frame.book, frame.terms
    unit_delta = composite_deltas(frame, spec.deltas)
    index = group_index(frame)
    window, unit = np.zeros(a.groups), np.zeros(a.groups)
    for asset in distinct(a.group_underlying).tolist():
        rule = by_underlying(spec.underlyings, frame, asset)
        if rule is not None:
            mine = a.group_underlying == asset
            window[mine] = rule.days
            unit[mine] = _unit(rule, index[mine], frame.pot_usd[a.group_pot[mine]])

    def inside(instrument: Ints, group: Ints) -> Floats:
        dated = np.isin(terms.kind[instrument], [KIND_CODE["future"], KIND_CODE["option"]])
        near = dated & (_days(frame, instrument) < window[group])
        return np.where(near, unit_delta[instrument], 0.0)

    delta = quantity * inside(book.position_instrument, a.position_group)
    net = sum_by(delta, a.position_group, a.groups)
    size = np.abs(net)
    if orders and book.leg_order.size:
        up, down = leg_sums(frame, frame.leg_quantity * inside(book.leg_instrument, a.leg_group))
        size = np.maximum(size, np.maximum(np.abs(net + up), np.abs(net - down)))
    return same(size * unit, delta * (np.sign(net) * unit)[a.position_group])


def run_spread_credit(spec: SpreadCredit, stage: Stage) -> Part:
    """Inter-commodity credit by group; :func:`spread_credits` of every pot at once.

    A group with open orders earns none while they may fill: a fill may take away the side that a
    credit rests on.
    """
    frame = stage.frame
    a, book = frame.arrangement, frame.book
    where = frame.once(f"commodities_{spec.name}", lambda: _commodities(spec, frame))
    if not spec.active or not where.can_spread:
        return same(np.zeros(a.groups), np.zeros(stage.quantity.size))
    delta = stage.quantity * composite_deltas(frame, spec.deltas)[book.position_instrument]
    net = sum_by(delta, a.position_group, a.groups)
    if stage.orders:
        net[a.leg_group] = 0.0
    pair, still, risk = _risks(stage)
    found = _credits(spec, where, net, risk, slopes=frame.shares)
    credit = np.where(where.kind >= 0, found.credit[where.kind, a.group_pot], 0.0)
    if not frame.shares:
        return same(credit, np.zeros(stage.quantity.size))
    # Of its own group: through price risk, and through its own delta.
    kind, pot = where.kind[a.position_group], a.position_pot
    inside = kind >= 0
    moved = np.sign(net)[a.position_group] * delta
    own = found.by_risk[kind, pot] * _risk_shares(stage, pair, still, risk)
    own += found.by_delta[kind, kind, pot] * moved
    cross: list[tuple[Ints, Ints, Floats]] = []
    for name in range(where.group.shape[0]):
        slope = np.where(inside & (kind != name), found.by_delta[name, kind, pot], 0.0)
        rows = np.flatnonzero(slope)
        if rows.size:
            cross.append((rows, where.group[name, pot[rows]], slope[rows] * moved[rows]))
    joined = None
    if cross:
        joined = Cross(*(np.concatenate(c) for c in zip(*cross)))
    return same(credit, np.where(inside, own, 0.0), joined)


@dataclass(frozen=True, slots=True)
class _Commodities:
    """Where the commodities of a table of spreads stand in a book.

    Attributes
    ----------
    names : dict of str to int
        Number of each commodity that the table names.
    kind : int64[G]
        Number of each group's commodity, -1 where the table does not name it.
    group : int64[K, P]
        Group of each commodity in each pot, -1 where there is none.
    can_spread : bool
        Whether any pot holds all commodities of a line.
    """

    names: dict[str, int]
    kind: Ints
    group: Ints
    can_spread: bool


def _commodities(spec: SpreadCredit, frame: Frame) -> _Commodities:
    a = frame.arrangement
    names: dict[str, int] = {}
    for line in spec.spreads:
        for leg in line.legs:
            names.setdefault(leg.group, len(names))
    by_asset = np.array([names.get(n, -1) for n in frame.book.registry.assets], dtype=np.int64)
    kind = by_asset[a.group_underlying]
    group = np.full((len(names), a.pots), -1, dtype=np.int64)
    mine = np.flatnonzero(kind >= 0)
    group[kind[mine], a.group_pot[mine]] = mine
    lines = [[names[leg.group] for leg in line.legs] for line in spec.spreads]
    can = any(bool((group[line] >= 0).all(axis=0).any()) for line in lines)
    return _Commodities(names, kind, group, can)


@dataclass(frozen=True, slots=True)
class _Credits:
    """Credits by commodity and pot, with what they depend on; see :class:`Credits`.

    Attributes
    ----------
    credit, by_risk : float64[K, P]
    by_delta : float64[K, K, P]
        Derivative of a commodity's credit by another's absolute net delta.
    """

    credit: Floats
    by_risk: Floats
    by_delta: Floats


def _credits(
    spec: SpreadCredit, where: _Commodities, net: Floats, risk: Floats, *, slopes: bool
) -> _Credits:
    there = where.group >= 0
    delta = np.where(there, net[where.group], 0.0)
    size = np.abs(delta)
    risks = np.where(there, risk[where.group], 0.0)
    pairing = Pairings(size, slopes=slopes)
    kinds, pots = size.shape
    credit, by_risk = np.zeros(size.shape), np.zeros(size.shape)
    by_delta = np.zeros((kinds, kinds, pots) if slopes else (0, 0, 0))
    for line in spec.spreads:
        legs = [(where.names[leg.group], leg.ratio) for leg in line.legs]
        sides = [(delta[k] > 0) == (leg.side == "A") for (k, _), leg in zip(legs, line.legs)]
        ready = np.all([delta[k] != 0.0 for k, _ in legs], axis=0)
        ready &= np.all([side == sides[0] for side in sides], axis=0)
        found, count, grown = pairing.take(np.flatnonzero(ready), legs)
        for kind, ratio in legs:
            rate = ratio * line.credit
            per = risks[kind, found] / size[kind, found]
            credit[kind, found] += per * count * rate
            if grown is not None:
                by_risk[kind, found] += count * rate / size[kind, found]
                by_delta[kind, kind, found] -= per * count * rate / size[kind, found]
                by_delta[kind][:, found] += per * rate * grown
    return _Credits(credit, by_risk, by_delta)


def _risks(stage: Stage) -> tuple[Ints, Ints, Floats]:
    """Return each scenario's partner, the still scenarios, and the price risk of each group."""
    frame = stage.frame
    _, scan = the_scan(frame, stage.scan)
    s = frame.table.scenarios
    # Moves differ by underlying, and which scenarios belong together does not.
    pair, still = frame.once(
        "scenario_pairs", lambda: scenario_pairs(s.move[0], s.vol_state, s.weight[0])
    )
    row = np.arange(scan.vector.shape[0])
    active = np.argmin(scan.vector, axis=1)
    worst, partner = -scan.vector[row, active], -scan.vector[row, pair[active]]
    time = -scan.vector[:, still].mean(axis=1) if still.size else np.zeros(row.size)
    risk = np.where(worst > 0.0, np.maximum(0.0, 0.5 * (worst + partner) - time), 0.0)
    return pair, still, risk


def _risk_shares(stage: Stage, pair: Ints, still: Ints, risk: Floats) -> Floats:
    """Return what each position contributes to its group's price risk."""
    frame = stage.frame
    spec, scan = the_scan(frame, stage.scan)

    if not (risk > 0.0).any():
        return np.zeros(stage.quantity.size)
    partner = pair[np.maximum(scan.binding, 0)]
    columns = [scan.binding, partner, *(np.full(risk.size, column) for column in still)]
    used = [np.where(risk > 0.0, column, -1) for column in columns]
    active, other, *rest = (
        position for position, _ in scan_shares(spec, frame, stage.quantity, stage.amount, *used)
    )
    return np.asarray(0.5 * (active + other) - sum(rest) / max(still.size, 1))


def run_risk_cap(spec: RiskCap, stage: Stage) -> Part:
    """Find what a group of long options alone would be charged beyond their worth.

    Source: SPAN's risk cap (clearing-practice section 1.1, step 6).
    """
    frame = stage.frame
    a, book = frame.arrangement, frame.book
    for name in (*spec.of, *spec.less):
        invariant(name in stage.parts, f"{spec.name} names {name}, which is not computed yet")
    instrument = book.position_instrument
    option = frame.terms.kind[instrument] == KIND_CODE["option"]
    first, row = buckets(a.position_group * len(book.registry) + instrument)
    short = sum_by(stage.quantity, row, first.size) < 0.0
    barred = np.zeros(a.groups, dtype=np.bool_)
    barred[a.position_group[~option & (stage.quantity != 0.0)]] = True
    barred[a.position_group[first[short]]] = True
    if stage.orders:
        barred[a.leg_group] = True
    _, worth = frame.position_values(stage.quantity)
    worth = worth * frame.position_rate
    held = sum_by(worth, a.position_group, a.groups)
    signed = [(1.0, stage.parts[n]) for n in spec.of] + [(-1.0, stage.parts[n]) for n in spec.less]
    risk = sum((sign * part.im for sign, part in signed), np.zeros(a.groups))
    capped = ~barred & (risk > held)
    over = np.where(capped, risk - held, 0.0)
    share = sum((sign * part.share_im for sign, part in signed), np.zeros(worth.size)) - worth
    share = np.where(capped[a.position_group], share, 0.0)
    cross = []
    for sign, part in signed:
        if part.cross is not None:
            keep = capped[part.cross.group]
            cross.append(
                (
                    part.cross.position[keep],
                    part.cross.group[keep],
                    sign * part.cross.value[keep],
                )
            )
    joined = None
    if cross:
        joined = Cross(*(np.concatenate(c) for c in zip(*cross)))
    return same(over, share, joined)
