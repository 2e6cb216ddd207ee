"""Rates and fills, row by row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from crossmargin.errors import RulesetError
from crossmargin.instruments import KIND_CODE
from crossmargin.margin._formula import (
    Part,
    RateKind,
    _applies,
    _contract_values,
    _unit_per_settlement,
    pick_rule,
    rows_of,
    rule_keys,
    spread,
    tier_margin,
    tier_rates,
)
from crossmargin.margin._frame import Frame, sum_by
from crossmargin.margin._rate_laws import open_interest_margin, root_margin, weighted_margin
from crossmargin.margin.components import OpenInterestRate, PerpWeights, RateMargin, RootRate, Tier

if TYPE_CHECKING:
    pass

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
T = TypeVar("T")


def _rate_margin(
    spec: RateKind, frame: Frame, instrument: Ints, quantity: Floats, leverage: Floats
) -> tuple[Floats, Floats, Floats, Floats]:
    """Return IM, MM and their ``q·∂/∂q`` in the settlement asset, by row."""
    coins, value = _contract_values(spec, frame, instrument, quantity)
    out = np.zeros((4, instrument.size))
    for index in np.unique(instrument).tolist():
        mine = instrument == index
        if isinstance(spec, PerpWeights):
            rule = pick_rule(spec.markets, frame, index, spec.name)
            out[:, mine] = weighted_margin(
                spec, frame, index, rule, value[mine], quantity[mine] > 0
            )
        else:
            out[:, mine] = _market_margin(spec, frame, index, coins[mine], value[mine])
    if not isinstance(spec, PerpWeights) and spec.use_leverage:
        least = np.where(np.isnan(leverage), 0.0, value / leverage)
        binds = least > out[0]
        out[0] = np.where(binds, least, out[0])
        out[2] = np.where(binds, least, out[2])
    return out[0], out[1], out[2], out[3]


def _market_margin(
    spec: RateMargin | RootRate | OpenInterestRate,
    frame: Frame,
    index: int,
    coins: Floats,
    value: Floats,
) -> Floats:
    """Return the same for rows of one instrument, shape ``[4, n]``."""
    if isinstance(spec, RootRate):
        return root_margin(spec, pick_rule(spec.markets, frame, index, spec.name), coins, value)
    if isinstance(spec, OpenInterestRate):
        tier = spec.tiers[pick_rule(spec.markets, frame, index, spec.name)]
        return open_interest_margin(spec, frame, index, tier, value)
    if spec.scheme == "slope":
        slope = pick_rule(spec.slopes, frame, index, spec.name)
        grown = slope.per_coin * coins
        im, mm = (slope.im + grown) * value, (slope.mm + grown) * value
        return np.stack(
            [im, mm, (slope.im + 2.0 * grown) * value, (slope.mm + 2.0 * grown) * value]
        )
    tiers = pick_rule(spec.tiers, frame, index, spec.name)
    return _tiered(spec, frame, index, tiers, coins, value)


def _tiered(
    spec: RateMargin, frame: Frame, index: int, tiers: list[Tier], coins: Floats, value: Floats
) -> Floats:
    """Margin by brackets, in the unit the brackets are stated in and back."""
    per = _unit_per_settlement(spec, frame, index, coins, value)
    size = value * per
    _require_known(frame, index, tiers, size, spec)
    im, mm = tier_margin(size, tiers, marginal=spec.scheme == "marginal")
    if spec.im_scheme is not None:
        im, _ = tier_margin(size, tiers, marginal=spec.im_scheme == "marginal")
    floor, rate_im, rate_mm, _, _ = tier_rates(tiers)
    n = np.maximum(np.searchsorted(floor, size, side="left") - 1, 0)
    return np.stack([im, mm, size * rate_im[n], size * rate_mm[n]]) / per


def _require_known(
    frame: Frame, index: int, tiers: list[Tier], size: Floats, spec: RateMargin
) -> None:
    """Refuse a position beyond the end of the published brackets."""
    end = tiers[-1].known_to
    if end is None or not size.size or size.max() <= end:
        return
    market = rule_keys(frame.book.registry[index])[0]
    raise RulesetError(
        f"the brackets of {market} in rule-set {frame.ruleset.id!r} are known up to {end:,.10g}, "
        f"and the position is {size.max():,.10g}",
        code="RUL-013",
        instrument=frame.book.registry[index].id,
        field=f"components.{spec.name}.tiers",
        hint="supply the venue's whole table with --params",
    )


def fill_extremes(frame: Frame) -> tuple[Floats, Floats, Ints, Floats, Floats]:
    """Return what orders could add to and take from each position, and orders standing alone.

    Returns
    -------
    buy, sell : float64[N]
        Quantity that fills could add to, and take from, each position.
    alone : int64[M]
        Rows of legs' first occurrence per (group, instrument) without a position.
    alone_buy, alone_sell : float64[M]
        The same for those.
    """
    book, a = frame.book, frame.arrangement
    size = book.position_instrument.size
    buy, sell = np.zeros(size), np.zeros(size)
    held: dict[tuple[int, int], int] = {}
    for row in range(size - 1, -1, -1):
        held[int(a.position_group[row]), int(book.position_instrument[row])] = row
    lone: dict[tuple[int, int], list[float]] = {}
    first: dict[tuple[int, int], int] = {}
    for leg in range(book.leg_order.size):
        key = (int(a.leg_group[leg]), int(book.leg_instrument[leg]))
        q = float(frame.leg_quantity[leg])
        if key in held:
            (buy if q > 0 else sell)[held[key]] += abs(q)
        else:
            sides = lone.setdefault(key, [0.0, 0.0])
            sides[0 if q > 0 else 1] += abs(q)
            first.setdefault(key, leg)
    legs = np.array(list(first.values()), dtype=np.int64)
    alone = np.array(list(lone.values())).reshape(-1, 2)
    return buy, sell, legs, alone[:, 0], alone[:, 1]


@dataclass(frozen=True, slots=True)
class Netted:
    """Rows netted by group and instrument: legs of one contract margin as one position."""

    row: Ints
    group: Ints
    instrument: Ints
    quantity: Floats
    leverage: Floats
    rate: Floats

    def sum(self, values: Floats) -> Floats:
        return sum_by(values, self.row, self.group.size)


def netted(frame: Frame, rows: Ints, quantity: Floats) -> Netted:
    a, book = frame.arrangement, frame.book
    instrument = book.position_instrument[rows]
    pair = a.position_group[rows] * len(book.registry) + instrument
    keys, first, row = np.unique(pair, return_index=True, return_inverse=True)
    leverage = np.full(keys.size, np.inf)
    np.fmin.at(leverage, row, book.position_leverage[rows])
    return Netted(
        row=row,
        group=a.position_group[rows][first],
        instrument=instrument[first],
        quantity=sum_by(quantity[rows], row, keys.size),
        leverage=np.where(np.isinf(leverage), np.nan, leverage),
        rate=frame.position_rate[rows][first],
    )


def run_rate(spec: RateKind, frame: Frame, quantity: Floats, *, orders: bool) -> Part:
    """Rate times notional, per contract; with orders, after the worst fills of each.

    Rows of one contract in one group (hedge legs) are netted first. The requirement never falls
    as |quantity| grows, so the worst fill is either all buys or all sells of a contract, and
    that is what is compared; never both at once.
    """
    a, book = frame.arrangement, frame.book
    rows = rows_of(frame, list(spec.kinds))
    rows = rows[_applies(spec, frame, book.position_instrument[rows])]
    net = netted(frame, rows, quantity)
    im, mm, s_im, s_mm = _rate_margin(spec, frame, net.instrument, net.quantity, net.leverage)
    extra = np.zeros((2, a.groups))
    if orders and book.leg_order.size:
        buy, sell, legs, alone_buy, alone_sell = fill_extremes(frame)
        for change in (net.sum(buy[rows]), -net.sum(sell[rows])):
            after = _rate_margin(spec, frame, net.instrument, net.quantity + change, net.leverage)
            im, mm = np.maximum(im, after[0]), np.maximum(mm, after[1])
        extra = _alone(spec, frame, legs, alone_buy, alone_sell)
    return Part(
        im=sum_by(im * net.rate, net.group, a.groups) + extra[0],
        mm=sum_by(mm * net.rate, net.group, a.groups) + extra[1],
        share_im=spread(net, rows, quantity, s_im),
        share_mm=spread(net, rows, quantity, s_mm),
    )


def _alone(spec: RateKind, frame: Frame, legs: Ints, buy: Floats, sell: Floats) -> Floats:
    """Charge orders in instruments that are not held, by group."""
    a, book = frame.arrangement, frame.book
    terms = frame.terms
    codes = [KIND_CODE[k] for k in spec.kinds]
    held = book.leg_instrument[legs]
    keep = np.isin(terms.kind[held], codes) & ~frame.view.settled[held]
    keep &= _applies(spec, frame, held)
    legs, held, none = legs[keep], held[keep], np.full(int(keep.sum()), np.nan)
    bought = _rate_margin(spec, frame, held, buy[keep], none)
    sold = _rate_margin(spec, frame, held, -sell[keep], none)
    im, mm = np.maximum(bought[0], sold[0]), np.maximum(bought[1], sold[1])
    rate = frame.segment_rate[a.leg_segment[legs]]
    group = a.leg_group[legs]
    return np.stack([sum_by(im * rate, group, a.groups), sum_by(mm * rate, group, a.groups)])
