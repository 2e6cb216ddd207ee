"""SPAN's stages, row by row."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from crossmargin.errors import invariant
from crossmargin.instruments import KIND_CODE
from crossmargin.margin._formula import Cross, Part
from crossmargin.margin._frame import Frame, sum_by
from crossmargin.margin._portfolio import group_index, leg_sums, rows_by_group, same, the_scan
from crossmargin.margin._scan import scan_shares
from crossmargin.margin._span import calendar_charge, price_risk, scenario_pairs, spread_credits
from crossmargin.margin._span_stages import _days, composite_deltas
from crossmargin.margin._stages import Stage
from crossmargin.margin.components import (
    Calendar,
    CalendarSpread,
    ContractRate,
    DeliveryCharge,
    RiskCap,
    SpreadCredit,
)

from .portfolio import by_underlying

if TYPE_CHECKING:
    from crossmargin.margin._stages import Stage

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
T = TypeVar("T")


def _unit(rule: ContractRate, index: float, usd: float) -> float:
    """Charge per coin of delta in the numeraire."""
    return rule.usd / usd + rule.index * index


def run_calendar(spec: CalendarSpread, frame: Frame, quantity: Floats, *, orders: bool) -> Part:
    """Charge expiries that hedge each other; see :func:`calendar_charge`.

    With orders, an upper bound: the smaller of all long and all short deltas after any fills, at
    the dearest line.
    """
    a, book = frame.arrangement, frame.book
    unit_delta = composite_deltas(frame, spec.deltas)
    delta = quantity * unit_delta[book.position_instrument]
    days = _days(frame, book.position_instrument)
    index = group_index(frame)
    value, share = np.zeros(a.groups), np.zeros(quantity.size)
    extra = frame.leg_quantity * unit_delta[book.leg_instrument]
    more_long, more_short = leg_sums(frame, extra)
    for g, rows in enumerate(rows_by_group(frame)):
        rules = by_underlying(spec.underlyings, frame, g)
        if rules is None:
            continue
        usd = float(frame.pot_usd[a.group_pot[g]])
        nets: dict[float, float] = {}
        for row in rows:
            key = float(days[row])
            nets[key] = nets.get(key, 0.0) + float(delta[row])

        def unit(line: ContractRate, g: int = g, usd: float = usd) -> float:
            return _unit(line, float(index[g]), usd)

        value[g], slope = calendar_charge(nets, rules, unit)
        for row in rows:
            key = float(days[row])
            share[row] = delta[row] * np.sign(nets[key]) * slope[key]
        if orders and more_long[g] + more_short[g] > 0.0:
            value[g] = max(
                value[g],
                _calendar_bound(rules, nets, float(more_long[g]), float(more_short[g]), unit),
            )
    return same(value, share)


def _calendar_bound(
    rules: Calendar,
    nets: dict[float, float],
    long: float,
    short: float,
    unit: Callable[[ContractRate], float],
) -> float:
    long += sum(max(0.0, net) for net in nets.values())
    short += sum(max(0.0, -net) for net in nets.values())
    return min(long, short) * max((unit(line) for line in rules.spreads), default=0.0)


def run_delivery(spec: DeliveryCharge, frame: Frame, quantity: Floats, *, orders: bool) -> Part:
    """Charge net delta of dated contracts inside the delivery period.

    With orders the worse of all that add and all that take.
    """
    a, book, terms = frame.arrangement, frame.book, frame.terms
    unit_delta = composite_deltas(frame, spec.deltas)
    index = group_index(frame)
    window, unit = np.zeros(a.groups), np.zeros(a.groups)
    for g in range(a.groups):
        rule = by_underlying(spec.underlyings, frame, g)
        if rule is not None:
            window[g] = rule.days
            unit[g] = _unit(rule, float(index[g]), float(frame.pot_usd[a.group_pot[g]]))

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
    """Inter-commodity credit by group; see :func:`spread_credits`.

    A group with open orders earns none while they may fill: a fill may take away the side that a
    credit rests on.
    """
    frame = stage.frame
    a, book = frame.arrangement, frame.book
    credit = np.zeros(a.groups)
    share = np.zeros(stage.quantity.size)
    if not spec.active or not _can_spread(spec, frame):
        return same(credit, share)
    unit_delta = composite_deltas(frame, spec.deltas)
    delta = stage.quantity * unit_delta[book.position_instrument]
    net = sum_by(delta, a.position_group, a.groups)
    if stage.orders:
        net[a.leg_group] = 0.0
    pair, still, risk = _risks(stage)
    position_risk = _risk_shares(stage, pair, still, risk)
    rows_of = rows_by_group(frame)
    names = book.registry.assets
    cross: list[tuple[Ints, Ints, Floats]] = []
    by_pot = np.argsort(a.group_pot, kind="stable")
    ends = np.cumsum(np.bincount(a.group_pot, minlength=a.pots))
    for groups in np.split(by_pot, ends[:-1]) if a.pots else []:
        place = {names[a.group_underlying[g]]: int(g) for g in groups}
        found = spread_credits(
            {name: float(net[g]) for name, g in place.items()},
            {name: float(risk[g]) for name, g in place.items()},
            spec.spreads,
        )
        for name, g in place.items():
            credit[g] = found.credit[name]
            rows = rows_of[g]
            share[rows] += found.by_risk[name] * position_risk[rows]
        for (name, other), slope in found.by_delta.items():
            g, h = place[name], place[other]
            rows = rows_of[h]
            moved = slope * np.sign(net[h]) * delta[rows]
            if g == h:
                share[rows] += moved
            else:
                cross.append((rows, np.full(rows.size, g), moved))
    joined = None
    if cross:
        joined = Cross(*(np.concatenate(c) for c in zip(*cross)))
    return same(credit, share, joined)


def _can_spread(spec: SpreadCredit, frame: Frame) -> bool:
    """Whether any pot holds all commodities of a line of the table."""

    def find() -> bool:
        a, names = frame.arrangement, frame.book.registry.assets
        held: dict[int, set[str]] = {}
        for pot, asset in zip(a.group_pot, a.group_underlying):
            held.setdefault(int(pot), set()).add(names[asset])
        lines = [{leg.group for leg in line.legs} for line in spec.spreads]
        return any(line <= mine for mine in held.values() for line in lines)

    return frame.once(f"can_spread_{spec.name}", find)


def _risks(stage: Stage) -> tuple[Ints, Ints, Floats]:
    """Return each scenario's partner, the still scenarios, and the price risk of each group."""
    frame = stage.frame
    _, scan = the_scan(frame, stage.scan)
    s = frame.table.scenarios
    # Moves differ by underlying, and which scenarios belong together does not.
    pair, still = frame.once(
        "scenario_pairs", lambda: scenario_pairs(s.move[0], s.vol_state, s.weight[0])
    )
    risk = np.array([price_risk(-v, pair, still) for v in scan.vector])
    return pair, still, risk.reshape(-1)


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
    pair = a.position_group * len(book.registry) + instrument
    keys, row = np.unique(pair, return_inverse=True)
    short = sum_by(stage.quantity, row, keys.size) < 0.0
    barred = np.zeros(a.groups)
    np.add.at(barred, a.position_group[~option & (stage.quantity != 0.0)], 1.0)
    np.add.at(barred, keys[short] // len(book.registry), 1.0)
    if stage.orders:
        barred[a.leg_group] = 1.0
    _, worth = frame.position_values(stage.quantity)
    worth = worth * frame.position_rate
    held = sum_by(worth, a.position_group, a.groups)
    signed = [(1.0, stage.parts[n]) for n in spec.of] + [(-1.0, stage.parts[n]) for n in spec.less]
    risk = sum((sign * part.im for sign, part in signed), np.zeros(a.groups))
    capped = (barred == 0.0) & (risk > held)
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
