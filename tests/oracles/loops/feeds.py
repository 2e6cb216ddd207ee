"""Confidence of feeds, row by row."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from crossmargin.instruments import KIND_CODE
from crossmargin.margin._feeds import _rule
from crossmargin.margin._formula import Part
from crossmargin.margin._frame import Frame, sum_by
from crossmargin.margin.components import CollateralConfidence, ConfidenceCost, OracleConfidence
from crossmargin.market import CONFIDENCE_FEEDS, CONFIDENCE_ONE

if TYPE_CHECKING:
    pass

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
T = TypeVar("T")


def _cost(rule: ConfidenceCost, confidence: int) -> float:
    """Share of the notional that a confidence costs; compared in whole 1e-18 units."""
    if Decimal(confidence) >= rule.threshold * CONFIDENCE_ONE:
        return 0.0
    return (CONFIDENCE_ONE - confidence) / CONFIDENCE_ONE * rule.factor


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
