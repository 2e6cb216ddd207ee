"""Rates that depend on size by a law of their own: square root, open interest.

Each law returns rows for one market: IM, MM and their ``q·∂/∂q`` in the settlement asset.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from crossmargin.errors import RulesetError
from crossmargin.margin._frame import Frame
from crossmargin.margin.components import (
    LiquidityTier,
    OpenInterestRate,
    PerpWeight,
    PerpWeights,
    RootRate,
    RootSize,
)
from crossmargin.margin.exact_integer import MILLION, scaled_imf_ppm

Floats: TypeAlias = NDArray[np.float64]
Flags: TypeAlias = NDArray[np.bool_]


def root_margin(spec: RootRate, rule: RootSize, coins: Floats, value: Floats) -> Floats:
    """Return ``value × max(r, share·r + c·√coins)`` at both levels, shape ``[4, n]``.

    Source: drift-labs/protocol-v2 0ae3e3b (reference/venues.md §7, published): perp margin
    ratio ``max(r, 0.8·r + imf·√size)``.
    """
    out = np.empty((4, coins.size))
    root = rule.per_root_coin * np.sqrt(coins)
    for row, rate in ((0, rule.im), (1, rule.mm)):
        grown = spec.share * rate + root
        binds = grown > rate
        out[row] = value * np.where(binds, grown, rate)
        out[2 + row] = out[row] + np.where(binds, 0.5 * root * value, 0.0)
    return out


def weighted_margin(
    spec: PerpWeights, frame: Frame, index: int, rule: PerpWeight, value: Floats, long: Flags
) -> Floats:
    """Return longs at asset weights and shorts at liability weights, shape ``[4, n]``.

    Source: blockworks-foundation/mango-v4 1303a4a (reference/venues.md §8, published): base ×
    weight × price, initial prices min(oracle, stable) for assets and max for liabilities.
    """
    ratio = 1.0
    if rule.stable_usd is not None:
        underlying = frame.terms.underlying[index]
        ratio = rule.stable_usd / float(frame.asset_usd_or_one[underlying])
    held = 1.0 - rule.asset_im * min(1.0, ratio), 1.0 - rule.asset_mm
    sold = rule.liability_im * max(1.0, ratio) - 1.0, rule.liability_mm - 1.0
    im, mm = (np.where(long, a, b) * value for a, b in zip(held, sold))
    return np.stack([im, mm, im, mm])


def open_interest_margin(
    spec: OpenInterestRate, frame: Frame, index: int, tier: LiquidityTier, value: Floats
) -> Floats:
    """Return IM by open interest and MM by the base rate, shape ``[4, n]``.

    Source: dydxprotocol/v4-chain 84d4664 (reference/venues.md §6, published). The fraction is
    the chain's own integer; amounts are not rounded here (see
    :mod:`crossmargin.margin.exact_integer`).

    Raises
    ------
    RulesetError
        ``RUL-016`` when the tier scales and the market's open interest is not given.
    """
    im = initial_fraction(spec, frame, index, tier)
    mm = tier.base_im * tier.maintenance_fraction
    return np.stack([value * im, value * mm, value * im, value * mm])


def initial_fraction(
    spec: OpenInterestRate, frame: Frame, index: int, tier: LiquidityTier
) -> float:
    """Return the initial margin fraction of one market after scaling, a whole millionth."""
    base = round(tier.base_im * MILLION)
    if not tier.oi_upper_usd:
        return base / MILLION
    coin = frame.book.registry[index].underlying
    coins = spec.open_interest_coins.get(coin)
    if coins is None:
        raise RulesetError(
            f"the initial margin of {coin} depends on its open interest, which is not given",
            code="RUL-016",
            instrument=frame.book.registry[index].id,
            field=f"components.{spec.name}.open_interest_coins.{coin}",
            hint=f"supply it in coins: --set components.{spec.name}.open_interest_coins.{coin}=...",
        )
    open_usd = coins * float(frame.index_quote[index])
    quanta = [round(x * MILLION) for x in (open_usd, tier.oi_lower_usd, tier.oi_upper_usd)]
    return scaled_imf_ppm(base, *quanta) / MILLION
