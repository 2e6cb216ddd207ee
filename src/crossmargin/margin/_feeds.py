"""What doubt about prices costs: confidence of feeds and the peg of the settlement currency."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from crossmargin.errors import RulesetError
from crossmargin.instruments import KIND_CODE
from crossmargin.margin._formula import Part
from crossmargin.margin._frame import Frame, sum_by
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


def _cost(rule: ConfidenceCost, confidence: int) -> float:
    """Share of the notional that a confidence costs; compared in whole 1e-18 units."""
    if Decimal(confidence) >= rule.threshold * CONFIDENCE_ONE:
        return 0.0
    return (CONFIDENCE_ONE - confidence) / CONFIDENCE_ONE * rule.factor


def _rule(table: dict[str, ConfidenceCost], name: str) -> ConfidenceCost | None:
    found = table.get(name)
    return found if found is not None else table.get("default")


def _least(frame: Frame, rule: ConfidenceCost, index: int, perpetual: int | None) -> int:
    """Least confidence of the feeds that count for an instrument."""
    terms, view = frame.terms, frame.view
    found = [CONFIDENCE_ONE]
    for feed in rule.feeds:
        if feed == "spot":
            found.append(int(view.asset_confidence[terms.underlying[index]]))
        elif feed == "perpetual":
            found.append(CONFIDENCE_ONE if perpetual is None else perpetual)
        else:
            found.append(int(view.confidence[index, CONFIDENCE_FEEDS.index(feed)]))
    return min(found)


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
    own = int(frame.view.confidence[held, mark].min()) if held.size else None
    return _least(frame, rule, index, own)


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
    mark = CONFIDENCE_FEEDS.index("perpetual")
    perp = terms.kind[instrument] == KIND_CODE["perpetual"]
    held = {int(group[i]): int(instrument[i]) for i in np.flatnonzero(perp)}
    trust = {g: int(frame.view.confidence[i, mark]) for g, i in held.items()}
    charge = np.zeros(instrument.size)
    worth: dict[tuple[int, int], float] = {}
    for row, index in enumerate(instrument.tolist()):
        option = terms.kind[index] == KIND_CODE["option"]
        name = book.registry.assets[terms.underlying[index]]
        rule = _rule(spec.options if option else spec.perpetuals, name)
        if rule is None or not (option or perp[row]):
            continue
        key = (int(index), int(group[row]))
        if key not in worth:
            own = trust.get(int(group[row])) if option else int(frame.view.confidence[index, mark])
            worth[key] = _cost(rule, _least(frame, rule, index, own))
        counted = -min(value[row], 0.0) if rule.sides == "short" else abs(value[row])
        charge[row] = worth[key] * counted
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
    total = np.zeros(a.pots)
    common, perpetual = _pot_confidence(spec, frame), _pot_perpetual(frame)
    for row, asset in enumerate(book.balance_asset.tolist()):
        pot = int(a.balance_pot[row])
        if amount[row] <= 0 or asset == a.pot_asset[pot]:
            continue
        rule = _rule(spec.assets, book.registry.assets[asset])
        if rule is None:
            continue
        usd = amount[row] * float(frame.asset_usd_or_one[asset])
        value = usd if spec.price == "par" else usd / float(frame.pot_usd[pot])
        least = min(int(view.asset_confidence[asset]), common[pot])
        if "perpetual" in rule.feeds:
            least = min(least, perpetual[pot])
        total[pot] += _cost(rule, least) * value
    return total, np.zeros(a.pots)


def _pot_confidence(spec: CollateralConfidence, frame: Frame) -> list[int]:
    """Least spot confidence of each pot's underlyings."""
    a, assets = frame.arrangement, frame.book.registry.assets
    out = [CONFIDENCE_ONE] * a.pots
    if not spec.with_groups:
        return out
    if spec.spot_of:
        known = [assets.index(name) for name in spec.spot_of if name in assets]
        least = min([int(frame.view.asset_confidence[i]) for i in known], default=CONFIDENCE_ONE)
        return [least] * a.pots
    for pot, underlying in zip(a.group_pot.tolist(), a.group_underlying.tolist()):
        out[pot] = min(out[pot], int(frame.view.asset_confidence[underlying]))
    return out


def _pot_perpetual(frame: Frame) -> list[int]:
    """Least confidence of the marks of perpetuals held in each pot."""
    a, book = frame.arrangement, frame.book
    out = [CONFIDENCE_ONE] * a.pots
    column = CONFIDENCE_FEEDS.index("perpetual")
    for pot, index in zip(a.position_pot.tolist(), book.position_instrument.tolist()):
        if frame.terms.kind[index] == KIND_CODE["perpetual"]:
            out[pot] = min(out[pot], int(frame.view.confidence[index, column]))
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


def run_peg_factor(spec: PegFactor, frame: Frame, quantity: Floats, *, orders: bool) -> Part:
    """Return ``max(0, threshold − price) × factor`` for every group, at the initial level.

    Source: Derive v2-core, PMRM.sol and PMRM_2.sol (commit 7736900d), peg loss.
    """
    a = frame.arrangement
    value = _shortfall(frame, spec.asset, spec.threshold, frame.ruleset.id) * spec.factor
    nothing = np.zeros(quantity.size)
    return Part(np.full(a.groups, value), np.zeros(a.groups), nothing, nothing)


def run_peg_charge(spec: PegCharge, frame: Frame, quantity: Floats, *, orders: bool) -> Part:
    """Charge short options and perpetuals for a peg that is lost, at the initial level.

    Source: Derive v2-core, StandardManager.sol (commit 7736900d), depeg contingency.
    """
    a, book, terms = frame.arrangement, frame.book, frame.terms
    n = quantity.size
    rate = _shortfall(frame, spec.asset, spec.threshold, frame.ruleset.id) * spec.factor
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
