"""Hedges across currencies and expiries, row by row."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from crossmargin.margin._formula import Part
from crossmargin.margin._frame import Frame
from crossmargin.margin._hedges import _depeg_sizes, _spread_time, _spread_unit
from crossmargin.margin._netting import Pairing, add_slope
from crossmargin.margin._portfolio import group_index, not_published, rows_by_group, same
from crossmargin.margin.components import Depeg, ExpirySpread

from .portfolio import needed, progressive

if TYPE_CHECKING:
    pass

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
T = TypeVar("T")


def run_depeg(spec: Depeg, frame: Frame, quantity: Floats, *, orders: bool) -> Part:
    """Charge hedges across quote currencies; see :class:`Depeg`.

    With orders, an upper bound: no fill can pair off more than the smaller of all long and all
    short deltas, at the highest rate of the levels that apply today.

    Source: OKX, MR9: netting order and the two ends of the table mirrored; sizes beyond the
    first band and prices between the ends are not known.

    Raises
    ------
    RulesetError
        ``RUL-030`` when the account needs a level that is not listed.
    """
    a, book, terms = frame.arrangement, frame.book, frame.terms
    instrument = book.position_instrument
    delta = quantity * frame.unit_delta[instrument]
    quote = terms.quote[instrument].astype(np.int64)
    index = group_index(frame)
    value, share = np.zeros(a.groups), np.zeros(quantity.size)
    names = book.registry.assets
    for g, rows in enumerate(rows_by_group(frame)):
        usd = float(index[g] * frame.pot_usd[a.group_pot[g]])
        nets: dict[str, float] = {}
        for row in rows:
            key = names[quote[row]]
            nets[key] = nets.get(key, 0.0) + float(delta[row])
        book_of = Pairing({name: abs(net) for name, net in nets.items()})
        slope: dict[str, float] = {}
        for first, second in spec.pairs:
            if nets.get(first, 0.0) * nets.get(second, 0.0) >= 0.0:
                continue
            count, grad = book_of.take([(first, 1.0), (second, 1.0)])
            if count > 0.0:
                charged, last = _depeg_charge(spec, frame, first, second, count * usd)
                value[g] += charged / usd * index[g]
                add_slope(slope, grad, last * float(index[g]))
        for row in rows:
            key = names[quote[row]]
            share[row] = delta[row] * np.sign(nets[key]) * slope.get(key, 0.0)
    if orders and book.leg_order.size:
        value = np.maximum(value, _depeg_bound(spec, frame, delta, quote))
    return same(value, share)


def _depeg_charge(
    spec: Depeg, frame: Frame, first: str, second: str, usd: float
) -> tuple[float, float]:
    sizes = _depeg_sizes(spec, frame, first, second)
    return progressive(usd, [s.floor for s in sizes], [s.rate for s in sizes])


def _depeg_bound(spec: Depeg, frame: Frame, delta: Floats, quote: Ints) -> Floats:
    """Most that hedges across quote currencies can cost after any fills, by group."""
    a, book, terms = frame.arrangement, frame.book, frame.terms
    leg_quote = terms.quote[book.leg_instrument].astype(np.int64)
    extra = frame.leg_quantity * frame.unit_delta[book.leg_instrument]
    index = group_index(frame)
    names = book.registry.assets
    known = {name for pair in spec.pairs for name in pair}
    out = np.zeros(a.groups)
    for g in np.unique(a.leg_group):
        long = short = 0.0
        present = []
        for q in np.unique(
            np.concatenate([quote[a.position_group == g], leg_quote[a.leg_group == g]])
        ):
            if names[q] not in known:
                continue
            net = float(delta[(a.position_group == g) & (quote == q)].sum())
            legs = extra[(a.leg_group == g) & (leg_quote == q)]
            long += max(0.0, net + float(np.maximum(legs, 0.0).sum()))
            short += max(0.0, -(net + float(np.minimum(legs, 0.0).sum())))
            present.append(names[q])
        most = min(long, short) * float(index[g] * frame.pot_usd[a.group_pot[g]])
        for first, second in spec.pairs:
            if most > 0.0 and first in present and second in present:
                top = max(s.rate for s in _depeg_sizes(spec, frame, first, second))
                out[g] = max(out[g], most * top / float(frame.pot_usd[a.group_pot[g]]))
    return out


def run_expiry_spread(spec: ExpirySpread, frame: Frame, quantity: Floats, *, orders: bool) -> Part:
    """Charge hedges across expiries: Σ over pairs of hedged amount × gap × factor.

    Net amounts by expiry stand on one side or the other; opposite ones are paired off, nearest
    expiries first (the earlier pair at a tie). A perpetual and spot stand at today. With orders,
    an upper bound: the smaller of all long and all short amounts over the widest gap.

    Source: Bybit, delta and vega spread contingencies, as described by secondary write-ups; the
    pairing order is a house choice.
    """
    a, book = frame.arrangement, frame.book
    unit = _spread_unit(spec, frame, book.position_instrument, a.position_group)
    amount = quantity * unit
    at = _spread_time(spec, frame, book.position_instrument)
    value, share = np.zeros(a.groups), np.zeros(quantity.size)
    for g, rows in enumerate(rows_by_group(frame)):
        nets: dict[float, float] = {}
        for row in rows:
            nets[float(at[row])] = nets.get(float(at[row]), 0.0) + float(amount[row])
        pairing = Pairing({t: abs(net) for t, net in nets.items()})
        times = sorted(nets)
        pairs = sorted((t - s, s, t) for k, s in enumerate(times) for t in times[k + 1 :])
        slope: dict[float, float] = {}
        for gap, s, t in pairs:
            if nets[s] * nets[t] >= 0.0:
                continue
            count, grad = pairing.take([(s, 1.0), (t, 1.0)])
            if count > 0.0:
                factor = _spread_factor(spec, frame, g)
                value[g] += count * gap * factor
                add_slope(slope, grad, gap * factor)
        for row in rows:
            net = nets[float(at[row])]
            share[row] = amount[row] * np.sign(net) * slope.get(float(at[row]), 0.0)
    if orders and book.leg_order.size:
        value = np.maximum(value, _spread_bound(spec, frame, amount, at))
    return same(value, share)


def _spread_factor(spec: ExpirySpread, frame: Frame, group: int) -> float:
    if not spec.factors:
        raise not_published(
            frame,
            f"components.{spec.name}.factors",
            f"the {spec.name} factor",
            f"supply it, for example --set components.{spec.name}.factors.default=0.5",
        )
    return needed(spec.factors, frame, group, spec.name)


def _spread_bound(spec: ExpirySpread, frame: Frame, amount: Floats, at: Floats) -> Floats:
    a, book = frame.arrangement, frame.book
    extra = frame.leg_quantity * _spread_unit(spec, frame, book.leg_instrument, a.leg_group)
    leg_at = _spread_time(spec, frame, book.leg_instrument)
    out = np.zeros(a.groups)
    for g in np.unique(a.leg_group):
        mine, legs = a.position_group == g, a.leg_group == g
        times = np.concatenate([at[mine], leg_at[legs]])
        everything = np.concatenate([amount[mine], extra[legs]])
        long = float(np.maximum(everything, 0.0).sum())
        short = float(np.maximum(-everything, 0.0).sum())
        gap = float(times.max() - times.min())
        if min(long, short) * gap > 0.0:
            out[g] = min(long, short) * gap * _spread_factor(spec, frame, int(g))
    return out
