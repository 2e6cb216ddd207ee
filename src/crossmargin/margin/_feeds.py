"""What doubt about prices costs: confidence of feeds and the peg of the settlement currency."""

from __future__ import annotations

from decimal import ROUND_CEILING

import numpy as np
from numpy.typing import NDArray

from crossmargin.errors import RulesetError
from crossmargin.instruments import KIND_CODE
from crossmargin.margin._formula import Part
from crossmargin.margin._frame import Frame, sum_by
from crossmargin.margin._lookup import attempt, distinct
from crossmargin.margin.components import (
    BalanceRate,
    CollateralConfidence,
    ConfidenceCost,
    OracleConfidence,
    PegCharge,
    PegFactor,
)
from crossmargin.market import CONFIDENCE_FEEDS, CONFIDENCE_ONE

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def _costs(rule: ConfidenceCost, confidence: Ints) -> Floats:
    """Share of the notional that confidences cost; compared in whole 1e-18 units."""
    # A whole number lies below the threshold where it lies below its ceiling.
    whole = (rule.threshold * CONFIDENCE_ONE).to_integral_value(ROUND_CEILING)
    bound = min(int(whole), np.iinfo(np.int64).max)
    share = (CONFIDENCE_ONE - confidence) / CONFIDENCE_ONE * rule.factor
    return np.where(confidence >= bound, 0.0, share)


def _rule(table: dict[str, ConfidenceCost], name: str) -> ConfidenceCost | None:
    found = table.get(name)
    return found if found is not None else table.get("default")


def _least(frame: Frame, rule: ConfidenceCost, instrument: Ints, perpetual: Ints) -> Ints:
    """Least confidence of the feeds that count, by row.

    Parameters
    ----------
    frame : Frame
        The market.
    rule : ConfidenceCost
        Names the feeds.
    instrument : int64[n]
        Of each row.
    perpetual : int64[n]
        Confidence in the mark of the perpetual that counts for each row.
    """
    terms, view = frame.terms, frame.view
    found = np.full(instrument.size, CONFIDENCE_ONE, dtype=np.int64)
    for feed in rule.feeds:
        if feed == "spot":
            seen = view.asset_confidence[terms.underlying[instrument]]
        elif feed == "perpetual":
            seen = perpetual
        else:
            seen = view.confidence[instrument, CONFIDENCE_FEEDS.index(feed)]
        found = np.minimum(found, seen)
    return found


def least_confidence(spec: OracleConfidence, frame: Frame, row: int) -> int | None:
    """Return the least confidence that counts for an option position; None without a charge."""
    a, book, terms = frame.arrangement, frame.book, frame.terms
    index = int(book.position_instrument[row])
    rule = _rule(spec.options, book.registry.assets[terms.underlying[index]])
    if rule is None:
        return None
    mark = CONFIDENCE_FEEDS.index("perpetual")
    perp = (terms.kind[book.position_instrument] == KIND_CODE["perpetual"]) & (
        a.position_group == a.position_group[row]
    )
    held = book.position_instrument[perp]
    own = np.array([frame.view.confidence[held, mark].min(initial=CONFIDENCE_ONE)])
    return int(_least(frame, rule, np.array([index]), own)[0])


def run_confidence(spec: OracleConfidence, frame: Frame, quantity: Floats, *, orders: bool) -> Part:
    """Charge ``(1 − confidence) × factor × notional`` where feeds are trusted too little.

    Perpetuals by contract, options by expiry; notional is coins at the index price. Orders add
    their own notional.

    Source: Derive v2-core (commit 7736900d): PMRM_2.sol, PMRM.sol and StandardManager.sol,
    oracle confidence contingency. A jump at the threshold, compared at 18 decimals.
    """
    a, book, terms = frame.arrangement, frame.book, frame.terms
    n = quantity.size
    instrument = np.concatenate([book.position_instrument, book.leg_instrument])
    units = np.concatenate([quantity, frame.leg_quantity if orders else 0 * frame.leg_quantity])
    group = np.concatenate([a.position_group, a.leg_group])
    segment = np.concatenate([a.position_segment, a.leg_segment])
    coins = units * frame.unit_coins[instrument]
    price = np.where(terms.inverse[instrument], 1.0, frame.index_quote[instrument])
    value = coins * price * frame.segment_rate[segment]
    mark = frame.view.confidence[:, CONFIDENCE_FEEDS.index("perpetual")]
    perp = terms.kind[instrument] == KIND_CODE["perpetual"]
    option = terms.kind[instrument] == KIND_CODE["option"]
    # An option counts the perpetual of its group, the last one where it holds several.
    trust = np.full(a.groups, CONFIDENCE_ONE, dtype=np.int64)
    trust[group[perp]] = mark[instrument[perp]]
    charge = np.zeros(instrument.size)
    for kind, table in ((option, spec.options), (perp, spec.perpetuals)):
        for asset in distinct(terms.underlying[instrument[kind]]).tolist():
            rule = _rule(table, book.registry.assets[asset])
            if rule is None:
                continue
            rows = np.flatnonzero(kind & (terms.underlying[instrument] == asset))
            held = instrument[rows]
            own = trust[group[rows]] if kind is option else mark[held]
            worth = _costs(rule, _least(frame, rule, held, own))
            short = rule.sides == "short"
            counted = -np.minimum(value[rows], 0.0) if short else np.abs(value[rows])
            charge[rows] = worth * counted
    total = sum_by(charge, group, a.groups)
    nothing = np.zeros(a.groups)
    return Part(im=total, mm=nothing, share_im=charge[:n], share_mm=np.zeros(n))


def run_collateral_confidence(
    spec: CollateralConfidence, frame: Frame, amount: Floats
) -> tuple[Floats, Floats]:
    """Charge positive balances whose own feed, or their pot's underlying's, is trusted too little.

    The pot's own currency is not charged.

    Source: Derive v2-core, PMRM_2.sol (commit 7736900d): the least of the collateral's feed and
    the manager's spot feed; StandardManager.sol, base margin.
    """
    a, book, view = frame.arrangement, frame.book, frame.view
    charge = np.zeros(amount.size)
    common, perpetual = _pot_confidence(spec, frame), _pot_perpetual(frame)
    owned = (amount > 0) & (book.balance_asset != a.pot_asset[a.balance_pot])
    for asset in distinct(book.balance_asset[owned]).tolist():
        rule = _rule(spec.assets, book.registry.assets[asset])
        if rule is None:
            continue
        rows = np.flatnonzero(owned & (book.balance_asset == asset))
        pot = a.balance_pot[rows]
        usd = amount[rows] * frame.asset_usd_or_one[asset]
        value = usd if spec.price == "par" else usd / frame.pot_usd[pot]
        least = np.minimum(view.asset_confidence[asset], common[pot])
        if "perpetual" in rule.feeds:
            least = np.minimum(least, perpetual[pot])
        charge[rows] = _costs(rule, least) * value
    return sum_by(charge, a.balance_pot, a.pots), np.zeros(a.pots)


def _pot_confidence(spec: CollateralConfidence, frame: Frame) -> Ints:
    """Least spot confidence of each pot's underlyings."""
    a, assets = frame.arrangement, frame.book.registry.assets
    if not spec.with_groups:
        return np.full(a.pots, CONFIDENCE_ONE, dtype=np.int64)
    if spec.spot_of:
        known = [assets.index(name) for name in spec.spot_of if name in assets]
        least = frame.view.asset_confidence[known].min(initial=CONFIDENCE_ONE)
        return np.full(a.pots, least, dtype=np.int64)
    return _least_by_pot(frame, frame.view.asset_confidence[a.group_underlying], a.group_pot)


def _pot_perpetual(frame: Frame) -> Ints:
    """Least confidence of the marks of perpetuals held in each pot."""
    a, instrument = frame.arrangement, frame.book.position_instrument
    perp = np.flatnonzero(frame.terms.kind[instrument] == KIND_CODE["perpetual"])
    mark = frame.view.confidence[:, CONFIDENCE_FEEDS.index("perpetual")]
    return _least_by_pot(frame, mark[instrument[perp]], a.position_pot[perp])


def _least_by_pot(frame: Frame, confidence: Ints, pot: Ints) -> Ints:
    out = np.full(frame.arrangement.pots, CONFIDENCE_ONE, dtype=np.int64)
    doubted = np.flatnonzero(confidence < CONFIDENCE_ONE)
    # Few feeds are doubted; of those of a pot the least stays.
    order = doubted[np.argsort(-confidence[doubted], kind="stable")]
    out[pot[order]] = confidence[order]
    return out


def _shortfall(frame: Frame, asset: str, threshold: float, ruleset: str) -> float:
    """How far a currency lies below its threshold, US dollars."""
    names = frame.book.registry.assets
    price = 1.0
    if asset != "USD":
        price = float(frame.view.asset_usd[names.index(asset)]) if asset in names else np.nan
    if not np.isfinite(price):
        raise RulesetError(
            f"rule-set {ruleset!r} charges for the peg of {asset}, and the account does not use it",
            code="RUL-035",
            field=asset,
            hint="name the currency in which the account is margined",
        )
    return max(0.0, threshold - price)


def _peg_rate(spec: PegFactor | PegCharge, frame: Frame) -> float:
    """Return ``max(0, threshold − price) × factor``; where the price is not known all refuse."""
    return attempt(
        frame,
        np.arange(frame.arrangement.pots),
        lambda: _shortfall(frame, spec.asset, spec.threshold, frame.ruleset.id) * spec.factor,
        0.0,
    )


def run_peg_factor(spec: PegFactor, frame: Frame, quantity: Floats, *, orders: bool) -> Part:
    """Return ``max(0, threshold − price) × factor`` for every group, at the initial level.

    Source: Derive v2-core, PMRM.sol and PMRM_2.sol (commit 7736900d), peg loss.
    """
    a = frame.arrangement
    value = _peg_rate(spec, frame)
    nothing = np.zeros(quantity.size)
    return Part(np.full(a.groups, value), np.zeros(a.groups), nothing, nothing)


def run_peg_charge(spec: PegCharge, frame: Frame, quantity: Floats, *, orders: bool) -> Part:
    """Charge short options and perpetuals for a peg that is lost, at the initial level.

    Source: Derive v2-core, StandardManager.sol (commit 7736900d), depeg contingency.
    """
    a, book, terms = frame.arrangement, frame.book, frame.terms
    n = quantity.size
    rate = _peg_rate(spec, frame)
    instrument = np.concatenate([book.position_instrument, book.leg_instrument])
    units = np.concatenate([quantity, frame.leg_quantity if orders else 0 * frame.leg_quantity])
    group = np.concatenate([a.position_group, a.leg_group])
    segment = np.concatenate([a.position_segment, a.leg_segment])
    price = np.where(terms.inverse[instrument], 1.0, frame.index_quote[instrument])
    value = units * frame.unit_coins[instrument] * price * frame.segment_rate[segment]
    kind = terms.kind[instrument]
    counted = np.where(kind == KIND_CODE["option"], np.maximum(-value, 0.0), 0.0)
    counted = np.where(kind == KIND_CODE["perpetual"], np.abs(value), counted)
    counted = rate * counted
    total = sum_by(counted, group, a.groups)
    return Part(total, np.zeros(a.groups), counted[:n], np.zeros(n))


def run_balance_rate(spec: BalanceRate, frame: Frame, amount: Floats) -> Part:
    """Rate on positive balances in a group, valued at the index in US dollars one to one.

    Source: Derive v2-core, PMRM.sol (commit 7736900d), static contingency of the base asset.
    """
    a, book = frame.arrangement, frame.book
    inside = a.balance_segment >= 0
    usd = (
        np.where(inside, np.maximum(amount, 0.0), 0.0) * frame.asset_usd_or_one[book.balance_asset]
    )
    # An account of cash alone has no segment that could be looked up.
    group = np.full(inside.size, -1, dtype=np.int64)
    group[inside] = a.segment_group[a.balance_segment[inside]]
    total = sum_by(usd, group, a.groups)
    nothing = np.zeros(book.position_quantity.size)
    return Part(spec.im * total, spec.mm * total, nothing, nothing, spec.im * usd, spec.mm * usd)
