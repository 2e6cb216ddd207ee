"""Charges by contract, row by row."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from crossmargin.margin._contracts import _side
from crossmargin.margin._formula import Part
from crossmargin.margin._frame import Frame, sum_by
from crossmargin.margin._portfolio import group_index, leg_sums, live_kinds, not_published, same
from crossmargin.margin.components import ContractCharge

from .formula import fill_extremes
from .portfolio import needed

if TYPE_CHECKING:
    pass

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
T = TypeVar("T")


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
    keys, row = frame.once(f"netted_by_{spec.net}", lambda: _netted_by(spec, frame))
    owner = keys // len(book.registry) if spec.net == "contract" else keys
    net = sum_by(coins, row, keys.size)
    size = _side(spec, net)
    alone = np.zeros(a.groups)
    if orders and book.leg_order.size:
        size, alone = _ordered_size(spec, frame, quantity, size, row, keys.size)
    count = sum_by(size, owner, a.groups) + alone
    unit = np.zeros(a.groups)
    index = group_index(frame)
    for g in np.flatnonzero(count > 0):
        if not spec.underlyings:
            raise not_published(
                frame,
                f"components.{spec.name}.underlyings",
                f"the {spec.name} rate",
                f"supply it: --set components.{spec.name}.underlyings.default.index=RATE",
            )
        rule = needed(spec.underlyings, frame, int(g), spec.name)
        unit[g] = rule.usd / float(frame.pot_usd[a.group_pot[g]]) + rule.index * index[g]
    charged = size > 0
    share = coins * np.where(charged, np.sign(net), 0.0)[row] * unit[a.position_group]
    if spec.side == "short":
        share = np.where(net[row] < 0, share, 0.0)
    return same(count * unit, share)


def _netted_by(spec: ContractCharge, frame: Frame) -> tuple[Ints, Ints]:
    """Return what nets (contracts by group, or groups), and where each position belongs."""
    a, book = frame.arrangement, frame.book
    pair = a.position_group
    if spec.net == "contract":
        pair = a.position_group * len(book.registry) + book.position_instrument
    keys, row = np.unique(pair, return_inverse=True)
    return keys, row.reshape(-1)


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
