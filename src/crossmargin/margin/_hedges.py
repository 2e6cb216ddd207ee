"""Stages for hedges that may fail: across quote currencies, and across expiries."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crossmargin.errors import CrossmarginError
from crossmargin.instruments import DOLLARS
from crossmargin.margin._formula import Part
from crossmargin.margin._frame import Frame, least_by, sum_by
from crossmargin.margin._lookup import refuse_each
from crossmargin.margin._netting import Pairings
from crossmargin.margin._portfolio import (
    group_index,
    group_rules,
    live_kinds,
    needed,
    not_published,
    own_index,
    progressive,
    same,
    sum_by_kind,
)
from crossmargin.margin.components import Depeg, ExpirySpread, SizeRate
from crossmargin.pricing import black76_price_delta_vega

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


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
    a, book = frame.arrangement, frame.book
    delta = quantity * frame.unit_delta[book.position_instrument]
    kinds = _currencies(spec, frame)
    kind = kinds[frame.terms.quote[book.position_instrument]]
    count = int(kinds.max(initial=-1)) + 1
    nets = sum_by_kind(frame, delta, kind, a.position_group, count)
    pairing = Pairings(np.abs(nets), slopes=frame.shares)
    index = group_index(frame)
    usd = index * frame.pot_usd[a.group_pot]
    value, slope = np.zeros(a.groups), np.zeros(nets.shape)
    refused: list[tuple[Ints, CrossmarginError]] = []
    for first, second in _pairs(spec, frame, kinds):
        groups = np.flatnonzero(nets[first] * nets[second] < 0.0)
        groups, hedged, grown = pairing.take(groups, [(first, 1.0), (second, 1.0)])
        if not groups.size:
            continue
        names = [frame.book.registry.assets[np.flatnonzero(kinds == k)[0]] for k in (first, second)]
        try:
            sizes = _depeg_sizes(spec, frame, names[0], names[1])
        except CrossmarginError as error:
            refused.append((groups, error))
            continue
        floors, rates = [s.floor for s in sizes], [s.rate for s in sizes]
        charged, last = progressive(hedged * usd[groups], floors, rates)
        value[groups] += charged / usd[groups] * index[groups]
        if grown is not None:
            slope[:, groups] += last * index[groups] * grown
    refuse_each(frame, refused)
    share = np.zeros(quantity.size)
    if frame.shares:
        rows = np.flatnonzero(kind >= 0)
        here = kind[rows], a.position_group[rows]
        share[rows] = delta[rows] * np.sign(nets[here]) * slope[here]
    if orders and book.leg_order.size:
        value = np.maximum(value, _depeg_bound(spec, frame, kinds, kind, nets))
    return same(value, share)


def _currencies(spec: Depeg, frame: Frame) -> Ints:
    """Give the currencies of the pairs that the book knows numbers, by asset; -1 for the rest."""
    named = {name for pair in spec.pairs for name in pair}
    known = np.array([name in named for name in frame.book.registry.assets], dtype=np.bool_)
    return np.where(known, np.cumsum(known) - 1, -1).astype(np.int64)


def _pairs(spec: Depeg, frame: Frame, kinds: Ints) -> list[tuple[int, int]]:
    """Return the pairs of which the book knows both currencies, as numbers."""
    place = {name: int(k) for name, k in zip(frame.book.registry.assets, kinds)}
    return [(place[f], place[s]) for f, s in spec.pairs if f in place and s in place]


def _depeg_price(frame: Frame, first: str, second: str) -> float:
    """Price in US dollars of the cheaper stablecoin of a pair; US dollars are not one."""
    prices = [
        float(frame.asset_usd_or_one[frame.book.registry.asset(name)])
        for name in (first, second)
        if name in DOLLARS and name != "USD"
    ]
    return min(prices, default=1.0)


def _depeg_sizes(spec: Depeg, frame: Frame, first: str, second: str) -> list[SizeRate]:
    price = _depeg_price(frame, first, second)
    for level in spec.levels:
        if level.from_price <= price and (level.to_price is None or price <= level.to_price):
            return level.sizes
    raise not_published(
        frame,
        f"components.{spec.name}.levels",
        f"the {spec.name} rate of {first} against {second} at a price of {price:.4g} USD",
        "supply the level with --params",
    )


def _depeg_bound(spec: Depeg, frame: Frame, kinds: Ints, kind: Ints, nets: Floats) -> Floats:
    """Most that hedges across quote currencies can cost after any fills, by group."""
    a, book, terms = frame.arrangement, frame.book, frame.terms
    leg_kind = kinds[terms.quote[book.leg_instrument]]
    extra = frame.leg_quantity * frame.unit_delta[book.leg_instrument]
    count = nets.shape[0]
    up = sum_by_kind(frame, np.maximum(extra, 0.0), leg_kind, a.leg_group, count)
    down = sum_by_kind(frame, np.minimum(extra, 0.0), leg_kind, a.leg_group, count)
    held = sum_by_kind(frame, np.ones(kind.size), kind, a.position_group, count)
    present = held + sum_by_kind(frame, np.ones(extra.size), leg_kind, a.leg_group, count) > 0
    long = np.maximum(0.0, nets + up).sum(axis=0)
    short = np.maximum(0.0, -(nets + down)).sum(axis=0)
    ordered = np.zeros(a.groups, dtype=np.bool_)
    ordered[a.leg_group] = True
    usd = frame.pot_usd[a.group_pot]
    most = np.where(ordered, np.minimum(long, short), 0.0) * (group_index(frame) * usd)
    out = np.zeros(a.groups)
    refused: list[tuple[Ints, CrossmarginError]] = []
    for first, second in _pairs(spec, frame, kinds):
        groups = np.flatnonzero((most > 0.0) & present[first] & present[second])
        if not groups.size:
            continue
        names = [frame.book.registry.assets[np.flatnonzero(kinds == k)[0]] for k in (first, second)]
        try:
            top = max(s.rate for s in _depeg_sizes(spec, frame, names[0], names[1]))
        except CrossmarginError as error:
            refused.append((groups, error))
            continue
        out[groups] = np.maximum(out[groups], most[groups] * top / usd[groups])
    refuse_each(frame, refused)
    return out


def unit_vega(frame: Frame, instrument: Ints, group: Ints) -> Floats:
    """Vega of one unit by row: numeraire per 1.00 of volatility (Black-76); 0 but for options."""
    rows = np.flatnonzero(live_kinds(frame, instrument, ("option",)))
    i = instrument[rows]
    out = np.zeros(instrument.size)
    pot = frame.arrangement.group_pot[group[rows]]
    per = frame.asset_usd_or_one[frame.terms.quote[i]] / frame.pot_usd[pot]
    out[rows] = frame.once_here("vegas", lambda: _vegas(frame))[i] * per
    return out


def _vegas(frame: Frame) -> Floats:
    """Vega of one unit of each option used, in its quote currency; 0 for the rest."""
    terms, view = frame.terms, frame.view
    out = np.zeros(len(frame.book.registry))
    i = frame.used[live_kinds(frame, frame.used, ("option",))]
    if i.size:
        _, _, vega = black76_price_delta_vega(
            view.price[i], terms.strike[i], view.years[i], view.vol[i], terms.is_call[i]
        )
        out[i] = vega * terms.contract_size[i]
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
    times, place = np.unique(at, return_inverse=True)
    nets = sum_by_kind(frame, amount, place, a.position_group, times.size)
    hedged = np.flatnonzero((nets > 0.0).any(axis=0) & (nets < 0.0).any(axis=0))
    factor = np.zeros(a.groups)
    factor[hedged] = _spread_factors(spec, frame, hedged)
    value, share = np.zeros(a.groups), np.zeros(quantity.size)
    mine = nets[:, hedged]
    pairing = Pairings(np.abs(mine), slopes=frame.shares)
    slope = np.zeros(nets.shape)
    moments = times.tolist()
    pairs = sorted(
        (later - moments[s], s, s + 1 + t)
        for s in range(times.size)
        for t, later in enumerate(moments[s + 1 :])
    )
    for gap, s, t in pairs:
        open_ = np.flatnonzero(mine[s] * mine[t] < 0.0)
        found, count, grown = pairing.take(open_, [(s, 1.0), (t, 1.0)])
        groups = hedged[found]
        value[groups] += count * gap * factor[groups]
        if grown is not None:
            slope[:, groups] += gap * factor[groups] * grown
    if frame.shares:
        here = place, a.position_group
        share = amount * np.sign(nets[here]) * slope[here]
    if orders and book.leg_order.size:
        value = np.maximum(value, _spread_bound(spec, frame, amount, at))
    return same(value, share)


def _spread_unit(spec: ExpirySpread, frame: Frame, instrument: Ints, group: Ints) -> Floats:
    if spec.of == "vega":
        return unit_vega(frame, instrument, group)
    return np.asarray(frame.unit_delta[instrument] * own_index(frame, instrument, group))


def _spread_time(spec: ExpirySpread, frame: Frame, instrument: Ints) -> Floats:
    """Years (delta) or days (vega) to expiry; 0 where there is none."""
    years = frame.view.years[instrument]
    return np.where(np.isinf(years), 0.0, years) * (1.0 if spec.of == "delta" else 365.0)


def _spread_factors(spec: ExpirySpread, frame: Frame, groups: Ints) -> Floats:
    """Return the factor of groups that need one."""

    def find(asset: int) -> float:
        if not spec.factors:
            raise not_published(
                frame,
                f"components.{spec.name}.factors",
                f"the {spec.name} factor",
                f"supply it, for example --set components.{spec.name}.factors.default=0.5",
            )
        return needed(spec.factors, frame, asset, spec.name)

    return group_rules(frame, groups, find).column(float)


def _spread_bound(spec: ExpirySpread, frame: Frame, amount: Floats, at: Floats) -> Floats:
    a, book = frame.arrangement, frame.book
    extra = frame.leg_quantity * _spread_unit(spec, frame, book.leg_instrument, a.leg_group)
    leg_at = _spread_time(spec, frame, book.leg_instrument)
    group = np.concatenate([a.position_group, a.leg_group])
    everything, times = np.concatenate([amount, extra]), np.concatenate([at, leg_at])
    long = sum_by(np.maximum(everything, 0.0), group, a.groups)
    short = sum_by(np.maximum(-everything, 0.0), group, a.groups)
    last = -least_by(-times, group, a.groups, np.inf)
    gap = np.maximum(last - least_by(times, group, a.groups, np.inf), 0.0)
    ordered = np.zeros(a.groups, dtype=np.bool_)
    ordered[a.leg_group] = True
    most = np.where(ordered, np.minimum(long, short) * gap, 0.0)
    some = np.flatnonzero(most > 0.0)
    out = np.zeros(a.groups)
    out[some] = most[some] * _spread_factors(spec, frame, some)
    return out
