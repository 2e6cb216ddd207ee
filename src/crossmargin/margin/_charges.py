"""Charges beside the scan: roll, delta concentration, minimum delta, provisions, debt."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crossmargin.errors import MarketDataError, RulesetError
from crossmargin.instruments import KIND_CODE
from crossmargin.margin._arrange import bucket_rows, buckets
from crossmargin.margin._formula import Part, fill_extremes
from crossmargin.margin._frame import Frame, sum_by
from crossmargin.margin._lookup import distinct, look_up
from crossmargin.margin._phi import settlement_rule
from crossmargin.margin._scan import capped_losses
from crossmargin.margin.components import (
    Borrow,
    CorrelationContingency,
    DeltaConcentration,
    DeltaThreshold,
    FeeProvision,
    FixedCharge,
    FundingProvision,
    MinDelta,
    OrderCharge,
    Roll,
    RollRates,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def _same(value: Floats, share: Floats) -> Part:
    """Return a component that is equal for initial and maintenance margin."""
    return Part(im=value, mm=value, share_im=share, share_mm=share)


def _leg_deltas(frame: Frame) -> Floats:
    """Delta in coins that each order leg would add."""
    book = frame.book
    return frame.leg_quantity * frame.unit_delta[book.leg_instrument]


def _expiry_buckets(frame: Frame, instrument: Ints) -> tuple[Ints, Ints]:
    """Find the (segment, expiry) pairs of positions and legs: segment of each, and rows."""
    a = frame.arrangement
    segment = np.concatenate([a.position_segment, a.leg_segment])
    expiry = frame.expiry_number[instrument]
    first, bucket = bucket_rows(segment, expiry)
    return segment[first], bucket


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

    def rule_of(asset: int) -> RollRates:
        rule = settlement_rule(spec.currencies, frame, asset)
        if rule is not None:
            return rule
        raise RulesetError(
            f"rule-set {frame.ruleset.id!r} has no {spec.name} rates for "
            f"{book.registry.assets[asset]}",
            code="RUL-011",
            field=f"components.{spec.name}.currencies",
            hint="supply them with --set or --params",
        )

    rules = look_up(frame, a.segment_asset[seg], a.group_pot[a.segment_group[seg]], rule_of)
    rate = np.maximum(rules.column(lambda r: r.floor), rules.column(lambda r: r.annual) * years)
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


def _spot_numeraire(frame: Frame) -> Floats:
    """Price of each group's underlying in its pot's numeraire."""
    a = frame.arrangement
    usd = frame.view.asset_usd[a.group_underlying]
    return np.asarray(usd / frame.pot_usd[a.group_pot], dtype=np.float64)


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
    first, row = buckets(a.position_group * len(book.registry) + book.position_instrument)
    return sum_by(delta, row, first.size), a.position_group[first], row, delta


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
    for asset in distinct(a.group_underlying).tolist():
        name = book.registry.assets[asset]
        rule = spec.underlyings.get(name) or spec.underlyings.get("default")
        if rule is None:
            continue
        over = np.flatnonzero((a.group_underlying == asset) & (size * usd > rule.threshold_usd))
        if spec.growth is None:
            _refuse_concentrated(spec, frame, rule, over, size[over])
            continue
        shock = np.minimum(
            rule.max_shock, rule.per_coin * (size[over] - rule.threshold_usd / usd[over])
        )
        grows = np.where(shock < rule.max_shock, rule.per_coin * size[over], 0.0)
        value[over] = shock * size[over] * spot[over]
        slope[over] = np.sign(net[over]) * (shock + grows) * spot[over]
    return _same(value, delta * slope[a.position_group])


def _refuse_concentrated(
    spec: DeltaConcentration, frame: Frame, rule: DeltaThreshold, groups: Ints, size: Floats
) -> None:
    """Refuse groups beyond the threshold where the law of growth is not known."""
    a = frame.arrangement

    def reason(row: int) -> RulesetError:
        asset = int(a.group_underlying[groups[row]])
        name = frame.book.registry.assets[asset]
        usd = size[row] * frame.view.asset_usd[asset]
        return RulesetError(
            f"net delta of {size[row]:,.4g} {name} ({usd:,.0f} USD) is beyond "
            f"{rule.threshold_usd:,.0f} USD, where rule-set {frame.ruleset.id!r} charges for "
            "concentration by a law that is not published",
            code="RUL-030",
            field=f"components.{spec.name}.growth",
            hint=f"supply the law, for example --set components.{spec.name}.growth=linear",
        )

    frame.refuse(a.group_pot[groups], reason)


def run_correlation(
    spec: CorrelationContingency, frame: Frame, quantity: Floats, scan: Part
) -> Part:
    """Charge for netting between flagged currencies: user-supplied, else refused when needed.

    Raises
    ------
    RulesetError
        ``RUL-031`` when a pot nets two flagged underlyings and no rate was supplied.
    """
    a = frame.arrangement
    names = frame.book.registry.assets
    flagged = np.array([name in spec.flagged for name in names], dtype=bool)[a.group_underlying]
    counts = sum_by(flagged.astype(np.float64), a.group_pot, a.pots)
    touched = flagged & (counts[a.group_pot] > 1)
    if spec.rate is None:
        frame.refuse(
            a.group_pot[touched],
            lambda _: RulesetError(
                f"the account nets {', '.join(spec.flagged)}, for which rule-set "
                f"{frame.ruleset.id!r} charges a correlation contingency that is not published",
                code="RUL-031",
                field=f"components.{spec.name}.rate",
                hint=f"supply a rate, for example --set components.{spec.name}.rate=0.1",
            ),
        )
    factor = np.where(touched, spec.rate or 0.0, 0.0)
    return Part(
        im=scan.im * factor,
        mm=scan.mm * factor,
        share_im=scan.share_im * factor[a.position_group],
        share_mm=scan.share_mm * factor[a.position_group],
    )


def _signed_funding(
    spec: FundingProvision, frame: Frame, instrument: Ints, pot: Ints, q: Floats
) -> Floats:
    """Funding to be paid by each row in its settlement asset, < 0 when received."""
    terms = frame.terms
    perp = terms.kind[instrument] == KIND_CODE["perpetual"]
    funding = frame.view.funding_rate_8h[instrument]
    missing = np.flatnonzero(perp & np.isnan(funding))

    def reason(row: int) -> MarketDataError:
        name = frame.book.registry[int(instrument[missing[row]])].id
        return MarketDataError(
            f"the market has no funding rate for {name}, which rule-set "
            f"{frame.ruleset.id!r} provides for",
            code="MKT-008",
            instrument=name,
            field="funding_rate_8h",
            hint="add it to the market (0 is a rate)",
        )

    frame.refuse(pot[missing], reason)
    notional = frame.notional(instrument, q) * np.sign(q)
    rate = np.where(perp, np.nan_to_num(funding), 0.0) * spec.hours / 8.0
    return np.asarray(notional * rate, dtype=np.float64)


def run_funding(spec: FundingProvision, frame: Frame, quantity: Floats, *, orders: bool) -> Part:
    """Provide for the funding of the next hours, netted within a group and never negative.

    With orders, those that would add to what is owed are taken as filled.

    Source: docs.paradex.trade/risk/portfolio-margin ("expected funding PnL over the next 8
    hours"); that positions of one underlying net is inferred.

    Raises
    ------
    MarketDataError
        ``MKT-008`` when a perpetual that is held has no funding rate.
    """
    a, book = frame.arrangement, frame.book
    pay = _signed_funding(spec, frame, book.position_instrument, a.position_pot, quantity)
    pay = pay * frame.position_rate
    total = sum_by(pay, a.position_group, a.groups)
    if orders and book.leg_order.size:
        pot = a.group_pot[a.leg_group]
        extra = _signed_funding(spec, frame, book.leg_instrument, pot, frame.leg_quantity)
        extra = extra * frame.segment_rate[a.leg_segment]
        total = total + _worst_fills(frame, extra)
    owed = total > 0
    return _same(np.where(owed, total, 0.0), np.where(owed[a.position_group], pay, 0.0))


def _worst_fills(frame: Frame, cost: Floats) -> Floats:
    """Sum by group what orders would add where they add: the legs of one order together."""
    a, book = frame.arrangement, frame.book
    pair, row = np.unique(book.leg_order * a.groups + a.leg_group, return_inverse=True)
    together = sum_by(cost, row, pair.size)
    return sum_by(np.maximum(together, 0.0), pair % a.groups, a.groups)


def run_fill_losses(frame: Frame) -> Floats:
    """Loss from fills away from the mark, and fees, by group in the numeraire.

    For rule-sets without a scan, where no scenario carries it: an order that costs more than
    its margin must not look free. Quote groups are capped by their protection limit.
    """
    a, book = frame.arrangement, frame.book
    fee = frame.ruleset.data.orders.fee_rate
    gain = frame.fill_gain(book.leg_instrument, frame.leg_quantity, book.leg_price)
    cost = (fee * frame.notional(book.leg_instrument, frame.leg_quantity) - gain) * (
        frame.segment_rate[a.leg_segment]
    )
    pair, row = np.unique(book.leg_order * a.groups + a.leg_group, return_inverse=True)
    loss = np.maximum(sum_by(cost, row, pair.size), 0.0)
    return capped_losses(frame, loss, pair // a.groups, pair % a.groups, a.group_pot)


def run_fees(spec: FeeProvision, frame: Frame, quantity: Floats, *, orders: bool) -> Part:
    """Rate × |notional|; nothing when the rate is not known (the statement says so).

    With orders, each instrument after the worse of all its buys and all its sells.
    """
    a, book = frame.arrangement, frame.book
    rate = spec.rate or 0.0
    live = np.where(frame.view.settled[book.position_instrument], 0.0, frame.position_rate)
    share = rate * frame.notional(book.position_instrument, quantity) * live
    fee, alone = share, np.zeros(a.groups)
    if orders and book.leg_order.size:
        buy, sell, legs, alone_buy, alone_sell = fill_extremes(frame)
        for change in (buy, -sell):
            after = frame.notional(book.position_instrument, quantity + change)
            fee = np.maximum(fee, rate * after * live)
        worst = np.maximum(alone_buy, alone_sell)
        notional = frame.notional(book.leg_instrument[legs], worst)
        notional = notional * frame.segment_rate[a.leg_segment[legs]]
        alone = rate * sum_by(notional, a.leg_group[legs], a.groups)
    total = sum_by(fee, a.position_group, a.groups) + alone
    return _same(total, share)


def run_borrow(spec: Borrow, frame: Frame) -> tuple[Floats, Floats]:
    """Margin on debt by pot: rate × borrowed value, in the numeraire."""
    a, book = frame.arrangement, frame.book
    rate = frame.asset_usd_or_one[book.balance_asset] / frame.pot_usd[a.balance_pot]
    debt = sum_by(np.maximum(-book.balance_amount, 0.0) * rate, a.balance_pot, a.pots)
    if spec.im is None or spec.mm is None:
        _refuse_debt(spec, frame, debt)
    return (spec.im or 0.0) * debt, (spec.mm or 0.0) * debt


def _refuse_debt(spec: Borrow, frame: Frame, debt: Floats) -> None:
    """Refuse accounts that owe something where no margin rate for debt is known."""
    account = frame.book.pool_account[frame.arrangement.pot_pool]
    owed = sum_by(debt * frame.pot_usd, account, frame.book.size)
    pots = np.flatnonzero(debt)
    missing = "im" if spec.im is None else "mm"
    frame.refuse(
        pots,
        lambda row: RulesetError(
            f"the account owes {float(owed[account[pots[row]]]):,.2f} USD, and rule-set "
            f"{frame.ruleset.id!r} has no margin rate for debt",
            code="RUL-015",
            field=f"components.{spec.name}.{missing}",
            hint=f"supply it, for example --set components.{spec.name}.{missing}=0.1",
        ),
    )


def run_order_charge(spec: OrderCharge, frame: Frame, orders: bool) -> tuple[Floats, Floats]:
    """Charge every open order once in each pot it touches, in the numeraire."""
    a, book = frame.arrangement, frame.book
    out = np.zeros(a.pots)
    if orders and book.leg_order.size:
        pot = a.group_pot[a.leg_group]
        pairs = np.unique(book.leg_order * a.pots + pot)
        out = np.bincount(pairs % a.pots, minlength=a.pots) * spec.usd / frame.pot_usd
    return out, out


def run_fixed_charge(spec: FixedCharge, frame: Frame) -> tuple[Floats, Floats]:
    """Charge a fixed amount wherever a pot is live, in the numeraire."""
    live = np.where(frame.live_pot, 1.0 / frame.pot_usd, 0.0)
    return spec.im_usd * live, spec.mm_usd * live
