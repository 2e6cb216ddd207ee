"""Roll, least delta and concentration, row by row."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from crossmargin.errors import RulesetError
from crossmargin.instruments import KIND_CODE
from crossmargin.margin._charges import _leg_deltas, _same, _spot_numeraire
from crossmargin.margin._formula import Part
from crossmargin.margin._frame import Frame, sum_by
from crossmargin.margin._phi import settlement_rule
from crossmargin.margin.components import DeltaConcentration, MinDelta, Roll

if TYPE_CHECKING:
    pass

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
T = TypeVar("T")


def _expiry_buckets(frame: Frame, instrument: Ints) -> tuple[Ints, Ints]:
    """Find the (segment, expiry) pairs of positions and legs: segment of each, and rows."""
    a = frame.arrangement
    segment = np.concatenate([a.position_segment, a.leg_segment])
    expiry = frame.terms.expiry_ns[instrument]
    keys, bucket = np.unique(np.stack([segment, expiry], axis=1), axis=0, return_inverse=True)
    return keys[:, 0].astype(np.int64), bucket.reshape(-1)


def run_roll(spec: Roll, frame: Frame, quantity: Floats, *, orders: bool) -> Part:
    """Basis between expiries: Σ over expiries of |net delta| × max(floor, annual × years).

    Coins are charged in coin where that is the settlement asset, else at the index price. A
    perpetual takes the floor. With orders each expiry takes the worse of all its delta-adding
    and all its delta-taking fills, the legs of one order together: exact within one expiry, an
    upper bound where an order has legs in several.

    Source: Deribit, fields ``min_annualised_move`` and ``annualised_move_risk`` of
    private/pme/simulate; that options enter by their Black delta is unconfirmed.
    """
    a, book = frame.arrangement, frame.book
    terms = frame.terms
    instrument = np.concatenate([book.position_instrument, book.leg_instrument])
    seg, bucket = frame.once("roll_buckets", lambda: _expiry_buckets(frame, instrument))
    count = seg.size
    n = quantity.size
    # Each leg at its own index: in an aliased group two underlyings share an expiry.
    price = np.where(terms.inverse[instrument], 1.0, frame.index_quote[instrument])
    # Spot has no basis to roll, no more than the same coin as a balance.
    price = np.where(terms.kind[instrument] == KIND_CODE["spot"], 0.0, price)
    delta = quantity * frame.unit_delta[book.position_instrument] * price[:n]
    net = sum_by(delta, bucket[:n], count)
    years = np.full(count, np.inf)
    years[bucket] = frame.view.years[instrument]
    years = np.where(np.isinf(years), 0.0, years)
    names = book.registry.assets
    rate = np.empty(count)
    for row in range(count):
        rule = settlement_rule(spec.currencies, frame, int(a.segment_asset[seg[row]]))
        if rule is None:
            raise RulesetError(
                f"rule-set {frame.ruleset.id!r} has no {spec.name} rates for "
                f"{names[a.segment_asset[seg[row]]]}",
                code="RUL-011",
                field=f"components.{spec.name}.currencies",
                hint="supply them with --set or --params",
            )
        rate[row] = max(rule.floor, rule.annual * years[row])
    unit = rate * frame.segment_rate[seg]
    size = np.abs(net)
    if orders and book.leg_order.size:
        extra = _leg_deltas(frame) * price[n:]
        pair, row = np.unique(book.leg_order * count + bucket[n:], return_inverse=True)
        together = sum_by(extra, row, pair.size)
        up = sum_by(np.maximum(together, 0.0), pair % count, count)
        down = sum_by(np.minimum(together, 0.0), pair % count, count)
        size = np.maximum(size, np.maximum(np.abs(net + up), np.abs(net + down)))
    share = delta * (np.sign(net) * unit)[bucket[:n]]
    return _same(sum_by(size * unit, a.segment_group[seg], a.groups), share)


def _instrument_deltas(frame: Frame, quantity: Floats) -> tuple[Floats, Ints, Ints, Floats]:
    """Net the deltas of each instrument within a group.

    Returns
    -------
    net : float64[J]
        Coins by (group, instrument).
    group : int64[J]
    row : int64[N]
        Bucket of each position.
    delta : float64[N]
        Coins by position.
    """
    a, book = frame.arrangement, frame.book
    delta = quantity * frame.unit_delta[book.position_instrument]
    pair = a.position_group * len(book.registry) + book.position_instrument
    keys, row = np.unique(pair, return_inverse=True)
    return sum_by(delta, row, keys.size), keys // len(book.registry), row, delta


def run_min_delta(spec: MinDelta, frame: Frame, quantity: Floats, *, orders: bool) -> Part:
    """``(net_rate·|net| + hedged_rate·hedged) × spot``, hedged being the smaller side.

    With long deltas L and short deltas S of the instruments: net = |L − S|, hedged =
    min(L, S). With orders the worst corner of the box of fills is taken (the charge is convex
    in L and S).

    Source: docs.paradex.trade/risk/portfolio-margin, "Minimum delta requirement".
    """
    a, book = frame.arrangement, frame.book
    net, group, row, delta = _instrument_deltas(frame, quantity)
    long = sum_by(np.maximum(net, 0.0), group, a.groups)
    short = sum_by(np.maximum(-net, 0.0), group, a.groups)

    def charge(left: Floats, right: Floats) -> Floats:
        return np.asarray(
            spec.net_rate * np.abs(left - right) + spec.hedged_rate * np.minimum(left, right)
        )

    value = charge(long, short)
    if orders and book.leg_order.size:
        extra = _leg_deltas(frame)
        more_long = sum_by(np.maximum(extra, 0.0), a.leg_group, a.groups)
        more_short = sum_by(np.maximum(-extra, 0.0), a.leg_group, a.groups)
        for dl in (np.zeros(a.groups), more_long):
            for ds in (np.zeros(a.groups), more_short):
                value = np.maximum(value, charge(long + dl, short + ds))
    spot = _spot_numeraire(frame)
    bigger_long = long >= short
    slope_long = np.where(bigger_long, spec.net_rate, spec.hedged_rate - spec.net_rate) * spot
    slope_short = np.where(bigger_long, spec.hedged_rate - spec.net_rate, spec.net_rate) * spot
    side = net[row]
    mine = group[row]
    share = delta * np.where(side > 0, slope_long[mine], np.where(side < 0, -slope_short[mine], 0))
    return _same(value * spot, share)


def run_delta_concentration(
    spec: DeltaConcentration, frame: Frame, quantity: Floats, *, orders: bool
) -> Part:
    """Charge on net delta beyond a threshold in US dollars.

    Raises
    ------
    RulesetError
        ``RUL-030`` when a group lies beyond the threshold and the law of growth is unknown.
    """
    a, book = frame.arrangement, frame.book
    delta = quantity * frame.unit_delta[book.position_instrument]
    net = sum_by(delta, a.position_group, a.groups)
    size = np.abs(net)
    if orders and book.leg_order.size:
        extra = _leg_deltas(frame)
        up = sum_by(np.maximum(extra, 0.0), a.leg_group, a.groups)
        down = sum_by(np.minimum(extra, 0.0), a.leg_group, a.groups)
        size = np.maximum(size, np.maximum(np.abs(net + up), np.abs(net + down)))
    usd = frame.view.asset_usd[a.group_underlying]
    spot = _spot_numeraire(frame)
    value, slope = np.zeros(a.groups), np.zeros(a.groups)
    for asset in np.unique(a.group_underlying):
        name = book.registry.assets[asset]
        rule = spec.underlyings.get(name) or spec.underlyings.get("default")
        if rule is None:
            continue
        over = (a.group_underlying == asset) & (size * usd > rule.threshold_usd)
        if over.any() and spec.growth is None:
            g = int(np.flatnonzero(over)[0])
            raise RulesetError(
                f"net delta of {size[g]:,.4g} {name} ({size[g] * usd[g]:,.0f} USD) is beyond "
                f"{rule.threshold_usd:,.0f} USD, where rule-set {frame.ruleset.id!r} charges for "
                "concentration by a law that is not published",
                code="RUL-030",
                field=f"components.{spec.name}.growth",
                hint=f"supply the law, for example --set components.{spec.name}.growth=linear",
            )
        shock = np.minimum(
            rule.max_shock, rule.per_coin * (size[over] - rule.threshold_usd / usd[over])
        )
        grows = np.where(shock < rule.max_shock, rule.per_coin * size[over], 0.0)
        value[over] = shock * size[over] * spot[over]
        slope[over] = np.sign(net[over]) * (shock + grows) * spot[over]
    return _same(value, delta * slope[a.position_group])
