"""Charges on options, row by row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from crossmargin.instruments import KIND_CODE
from crossmargin.margin._formula import Part, pick_rule
from crossmargin.margin._frame import Frame, sum_by
from crossmargin.margin._option_charges import (
    _index_value,
    _option_rows,
    _order_basis,
    _per_settlement,
    _spread,
    shocked_values,
)
from crossmargin.margin.components import BasisContingency, NakedShort, OptionBounded

from .formula import fill_extremes

if TYPE_CHECKING:
    pass

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
T = TypeVar("T")


def _buckets(*columns: Sequence[float] | Floats | Ints) -> tuple[Ints, Ints, int]:
    """Give the distinct rows of some columns numbers.

    Returns
    -------
    first, bucket : int64[k], int64[n]
        First row of each bucket, and the bucket of each row.
    count : int
        Number of buckets k.
    """
    stacked = np.stack([np.asarray(c, dtype=np.float64) for c in columns], axis=1)
    keys, first, row = np.unique(stacked, axis=0, return_index=True, return_inverse=True)
    return first.astype(np.int64), row.reshape(-1).astype(np.int64), keys.shape[0]


def run_basis(spec: BasisContingency, frame: Frame, quantity: Floats, *, orders: bool) -> Part:
    """Loss of each expiry's options in a move of the forward, times a share that grows with time.

    Orders, where they are counted at all, are taken as filled one by one where filling hurts: an
    upper bound.

    Source: Derive v2-core, PMRM_2.sol and PMRMLib_2.sol (commit 7736900d), basis contingency:
    undiscounted by the static discount, options only.
    """
    a, book = frame.arrangement, frame.book
    rows = _option_rows(frame)
    instrument = book.position_instrument[rows]
    expiry = frame.terms.expiry_ns[instrument]
    first, bucket, count = _buckets(a.position_group[rows], expiry)
    rate = frame.position_rate[rows]
    change = (
        shocked_values(frame, instrument, (spec.up, spec.down))
        - frame.unit_value[instrument][:, None]
    )
    moved = change * (quantity[rows] * rate)[:, None]
    total = sum_by(moved, bucket, count)
    worst = np.argmin(total, axis=1) if count else np.empty(0, dtype=np.int64)
    loss = np.maximum(0.0, -total[np.arange(count), worst])
    share = spec.add + spec.per_year * frame.view.years[instrument][first]
    binds = loss > 0
    mine = np.where(binds[bucket], -moved[np.arange(rows.size), worst[bucket]] * share[bucket], 0.0)
    group = a.position_group[rows][first]
    value = sum_by(loss * share, group, a.groups)
    if orders and book.leg_order.size:
        value = value + _order_basis(spec, frame)
    spread = _spread(frame, rows, mine)
    return Part(im=value, mm=value, share_im=spread, share_mm=spread)


def run_naked(spec: NakedShort, frame: Frame, quantity: Floats, *, orders: bool) -> Part:
    """Rate on options sold without a cover at the same strike and expiry.

    ``max(0, −(q_call + q_put)) × index × rate``; with orders, after all sells.

    Source: Derive v2-core, PMRM_2.sol and PMRM.sol (commit 7736900d), option contingency.
    """
    a, book, terms = frame.arrangement, frame.book, frame.terms
    rows = _option_rows(frame)
    instrument = book.position_instrument[rows]
    coins = quantity[rows] * terms.contract_size[instrument]
    group, unit = a.position_group[rows], _index_value(frame, instrument, rows)
    if orders and book.leg_order.size:
        _, sell, legs, _, alone = fill_extremes(frame)
        coins = coins - sell[rows] * terms.contract_size[instrument]
        ordered = book.leg_instrument[legs]
        keep = (terms.kind[ordered] == KIND_CODE["option"]) & ~frame.view.settled[ordered]
        legs, alone, ordered = legs[keep], alone[keep], ordered[keep]
        instrument = np.concatenate([instrument, ordered])
        coins = np.concatenate([coins, -alone * terms.contract_size[ordered]])
        group = np.concatenate([group, a.leg_group[legs]])
        value = np.where(terms.inverse[ordered], 1.0, frame.index_quote[ordered])
        unit = np.concatenate([unit, value * frame.segment_rate[a.leg_segment[legs]]])
    first, bucket, count = _buckets(group, terms.expiry_ns[instrument], terms.strike[instrument])
    net = sum_by(coins, bucket, count)
    short = np.maximum(0.0, -net)
    charge = sum_by(short * unit[first], group[first], a.groups)
    mine = np.where((net < 0)[bucket], -coins * unit[first][bucket], 0.0)[: rows.size]
    share = _spread(frame, rows, mine)
    return Part(
        im=spec.im * charge, mm=spec.mm * charge, share_im=spec.im * share, share_mm=spec.mm * share
    )


def run_bounded(spec: OptionBounded, frame: Frame, quantity: Floats, *, orders: bool) -> Part:
    """Margin of each expiry: its shorts alone, or its largest payoff loss where that is less.

    Everything below is net of value: with v the value of a short leg (q, v < 0) and S the index,
    call MM ``v + q·S·mm_call``; put MM ``v + min(q·S·mm_put, v·mm_put_mark)``; call IM
    ``v + q·S·max(min_spot, max_spot − otm)``; put IM the lower of that and
    ``put MM × mm_offset``. Largest loss: the least payoff over 0 and the strikes, at most 0;
    with net short calls also ``n × forward × unpaired``. The margin is the greater (better) of
    both, and the requirement is value less margin.

    Options settled in coin are measured in their quote currency, as if linear. Open orders are
    not covered: sells are added leg by leg as if alone.

    Source: Derive v2-core, StandardManager.sol (commit 7736900d), option margin.
    """
    a, book = frame.arrangement, frame.book
    rows = _option_rows(frame)
    instrument = book.position_instrument[rows]
    net_im = np.zeros(a.groups)
    net_mm = np.zeros(a.groups)
    share = np.zeros((2, book.position_instrument.size))
    _, bucket, count = _buckets(a.position_group[rows], frame.terms.expiry_ns[instrument])
    for e in range(count):
        mine = np.flatnonzero(bucket == e)
        at = rows[mine]
        need, parts = _bounded_expiry(spec, frame, instrument[mine], quantity[at])
        rate = frame.position_rate[at] / _per_settlement(frame, instrument[mine])
        group = int(a.position_group[at[0]])
        net_im[group] += need[0] * rate[0]
        net_mm[group] += need[1] * rate[0]
        share[:, at] = parts * rate
    if orders and book.leg_order.size:
        extra = _bounded_orders(spec, frame)
        net_im, net_mm = net_im + extra[0], net_mm + extra[1]
    return Part(im=net_im, mm=net_mm, share_im=share[0], share_mm=share[1])


def bounded_alone(
    spec: OptionBounded, frame: Frame, instrument: Ints, quantity: Floats
) -> tuple[Floats, Floats]:
    """Net margin of short legs alone, IM and MM, at most 0; long legs have none."""
    terms = frame.terms
    rules = [pick_rule(spec.factors, frame, int(i), spec.name) for i in instrument]

    def figure(name: str) -> Floats:
        return np.array([getattr(r, name) for r in rules])

    spot, strike = frame.index_quote[instrument], terms.strike[instrument]
    call, size = terms.is_call[instrument], terms.contract_size[instrument]
    q = np.minimum(quantity, 0.0)
    value = q * frame.unit_value[instrument] * _per_settlement(frame, instrument)
    coins = q * size
    otm = np.maximum(0.0, np.where(call, strike - spot, spot - strike)) / spot
    put_mm = np.minimum(coins * spot * figure("mm_put"), value * figure("mm_put_mark"))
    mm = value + np.where(call, coins * spot * figure("mm_call"), put_mm)
    im = value + coins * spot * np.maximum(figure("min_spot"), figure("max_spot") - otm)
    return np.where(call, im, np.minimum(im, mm * figure("mm_offset"))), mm


def _bounded_expiry(
    spec: OptionBounded, frame: Frame, instrument: Ints, quantity: Floats
) -> tuple[tuple[float, float], Floats]:
    """Return IM and MM of one expiry and what each leg contributes, in quote units."""
    terms = frame.terms
    value = quantity * frame.unit_value[instrument] * _per_settlement(frame, instrument)
    alone = bounded_alone(spec, frame, instrument, quantity)
    strike, call = terms.strike[instrument], terms.is_call[instrument]
    coins = quantity * terms.contract_size[instrument]
    points = np.concatenate([[0.0], np.unique(strike)])
    intrinsic = np.maximum(
        0.0, np.where(call[:, None], points - strike[:, None], strike[:, None] - points)
    )
    payoff = coins[:, None] * intrinsic
    worst = int(np.argmin(payoff.sum(axis=0)))
    least = payoff[:, worst] if payoff[:, worst].sum() < 0 else np.zeros(quantity.size)
    calls = coins * call
    rule = pick_rule(spec.factors, frame, int(instrument[0]), spec.name)
    forward = frame.view.price[instrument]
    need, share = [], []
    for margin, unpaired in zip(alone, (rule.unpaired_im, rule.unpaired_mm)):
        bounded = least.copy()
        if calls.sum() < 0:
            bounded += calls * forward * unpaired
        chosen = margin if margin.sum() >= bounded.sum() else bounded
        need.append(float(value.sum() - chosen.sum()))
        share.append(value - chosen)
    return (need[0], need[1]), np.stack(share)


def _bounded_orders(spec: OptionBounded, frame: Frame) -> Floats:
    """Charge option orders as if each sell stood alone; a buy's value is not margin."""
    a, book, terms = frame.arrangement, frame.book, frame.terms
    legs = np.flatnonzero(terms.kind[book.leg_instrument] == KIND_CODE["option"])
    instrument, q = book.leg_instrument[legs], frame.leg_quantity[legs]
    per = _per_settlement(frame, instrument)
    value = q * frame.unit_value[instrument] * per
    rate = frame.segment_rate[a.leg_segment[legs]] / per
    out = [
        sum_by((value - margin) * rate, a.leg_group[legs], a.groups)
        for margin in bounded_alone(spec, frame, instrument, q)
    ]
    return np.stack(out)
