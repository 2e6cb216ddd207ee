"""Stages that charge contracts by number."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crossmargin.margin._arrange import buckets
from crossmargin.margin._formula import Part, fill_extremes
from crossmargin.margin._frame import Frame, sum_by
from crossmargin.margin._portfolio import (
    group_index,
    group_rules,
    leg_sums,
    live_kinds,
    needed,
    not_published,
    same,
)
from crossmargin.margin.components import ContractCharge, ContractRate

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def run_contract_charge(
    spec: ContractCharge, frame: Frame, quantity: Floats, *, orders: bool
) -> Part:
    """Charge contracts by number; see :class:`ContractCharge`.

    One coin of contract size costs ``usd + index × index price``; futures counted in US dollars
    are as many coins as they are worth at the mark. With orders: contracts after the worse of
    all buys and all sells, groups likewise.

    Sources: SPAN short option minimum and TIMS least charge (clearing-practice sections 1.1 and
    1.3); Bybit, net short option and perpetual contingencies (venues section 4).

    Raises
    ------
    RulesetError
        ``RUL-030`` when the account needs a rate that is not published.
    """
    a, book = frame.arrangement, frame.book
    instrument = book.position_instrument
    keep = live_kinds(frame, instrument, spec.kinds)
    coins = np.where(keep, quantity * np.nan_to_num(frame.unit_coins[instrument]), 0.0)
    owner, row = frame.once(f"netted_by_{spec.net}", lambda: _netted_by(spec, frame))
    net = sum_by(coins, row, owner.size)
    size = _side(spec, net)
    alone = np.zeros(a.groups)
    if orders and book.leg_order.size:
        size, alone = _ordered_size(spec, frame, quantity, size, row, owner.size)
    count = sum_by(size, owner, a.groups) + alone
    unit = np.zeros(a.groups)
    index = group_index(frame)
    some = np.flatnonzero(count > 0)
    rules = group_rules(frame, some, lambda asset: _rate(spec, frame, asset))
    usd, share_of_index = rules.column(lambda r: r.usd), rules.column(lambda r: r.index)
    unit[some] = usd / frame.pot_usd[a.group_pot[some]] + share_of_index * index[some]
    charged = size > 0
    share = coins * np.where(charged, np.sign(net), 0.0)[row] * unit[a.position_group]
    if spec.side == "short":
        share = np.where(net[row] < 0, share, 0.0)
    return same(count * unit, share)


def _rate(spec: ContractCharge, frame: Frame, asset: int) -> ContractRate:
    if not spec.underlyings:
        raise not_published(
            frame,
            f"components.{spec.name}.underlyings",
            f"the {spec.name} rate",
            f"supply it: --set components.{spec.name}.underlyings.default.index=RATE",
        )
    return needed(spec.underlyings, frame, asset, spec.name)


def _netted_by(spec: ContractCharge, frame: Frame) -> tuple[Ints, Ints]:
    """Return the group of what nets (contracts, or groups), and where each position belongs."""
    a, book = frame.arrangement, frame.book
    pair = a.position_group
    if spec.net == "contract":
        pair = a.position_group * len(book.registry) + book.position_instrument
    first, row = buckets(pair)
    return a.position_group[first], row


def _side(spec: ContractCharge, net: Floats) -> Floats:
    return np.maximum(-net, 0.0) if spec.side == "short" else np.abs(net)


def _ordered_size(
    spec: ContractCharge, frame: Frame, quantity: Floats, size: Floats, row: Ints, count: int
) -> tuple[Floats, Floats]:
    """Return sizes after the worst fills, and what orders alone add by group."""
    a, book = frame.arrangement, frame.book
    coins = np.nan_to_num(frame.unit_coins)
    alone = np.zeros(a.groups)
    legs_keep = live_kinds(frame, book.leg_instrument, spec.kinds)
    if spec.net == "group":
        extra = np.where(legs_keep, frame.leg_quantity * coins[book.leg_instrument], 0.0)
        held = live_kinds(frame, book.position_instrument, spec.kinds)
        now = sum_by(
            np.where(held, quantity * coins[book.position_instrument], 0.0),
            a.position_group,
            a.groups,
        )
        up, down = leg_sums(frame, extra)
        worst = np.maximum(_side(spec, now + up), _side(spec, now - down))
        worst = np.maximum(worst, _side(spec, now))
        groups = np.unique(a.position_group)
        alone = worst.copy()
        alone[groups] -= size
        return size, np.maximum(alone, 0.0)
    buy, sell, legs, alone_buy, alone_sell = fill_extremes(frame)
    keep = live_kinds(frame, book.position_instrument, spec.kinds)
    unit = np.where(keep, coins[book.position_instrument], 0.0)
    for change in (buy, -sell):
        size = np.maximum(size, _side(spec, sum_by((quantity + change) * unit, row, count)))
    ordered = book.leg_instrument[legs]
    mine = live_kinds(frame, ordered, spec.kinds)
    worst = alone_sell if spec.side == "short" else np.maximum(alone_buy, alone_sell)
    alone = sum_by(np.where(mine, worst * coins[ordered], 0.0), a.leg_group[legs], a.groups)
    return size, alone
