"""Margin of single options, row by row."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from crossmargin.instruments import KIND_CODE
from crossmargin.margin._formula import Part, pick_rule, rows_of, spread
from crossmargin.margin._frame import Frame, sum_by
from crossmargin.margin.components import OptionFormula

from .formula import fill_extremes, netted

if TYPE_CHECKING:
    pass

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
T = TypeVar("T")


def option_margin(spec: OptionFormula, frame: Frame, instrument: Ints) -> tuple[Floats, Floats]:
    """IM and MM of one short unit of each option, in its settlement asset.

    With m the mark, S the index, P what the strike is compared with (S, or the expiry's forward)
    and f the size factor, per coin: short call IM = max(a − OTM/P, b)·f·S + m and
    MM = c·f·S + m; short put IM = max(a − OTM/P, b)·f·S + m (at least MM where the rule-set says
    so) and MM = max(c·S, c·m)·f + m. Inverse options state everything divided by S.

    Source: Deribit standard margin as given by doc.tslab.pro (secondary), the same shape in USD
    terms at bit.com, helpcenter article 11039356631321; with f and the forward: OKX help,
    ii-option-margin (published).
    """
    terms = frame.terms
    spot = frame.index_quote[instrument]
    strike, call = terms.strike[instrument], terms.is_call[instrument]
    mark = frame.unit_value[instrument] / terms.contract_size[instrument]
    factors = [pick_rule(spec.factors, frame, int(i), spec.name) for i in instrument]
    base = np.array([f.otm_base for f in factors])
    least = np.array([f.otm_floor for f in factors])
    keep = np.array([f.mm for f in factors])
    grown = np.array([f.size_factor for f in factors])
    against = frame.view.price[instrument] if spec.otm_price == "forward" else spot
    otm = np.where(call, np.maximum(strike - against, 0.0), np.maximum(against - strike, 0.0))
    unit = np.where(terms.inverse[instrument], 1.0, spot)
    risk = np.where(call, keep * unit, np.maximum(keep * unit, keep * mark))
    mm = risk * grown + mark
    im = np.maximum(base - otm / against, least) * grown * unit + mark
    if spec.put_im_at_least_mm:
        im = np.where(call, im, np.maximum(im, mm))
    size = terms.contract_size[instrument]
    return im * size, mm * size


def run_options(spec: OptionFormula, frame: Frame, quantity: Floats, *, orders: bool) -> Part:
    """Apply the standard option formula; with orders, as the rule-set takes them."""
    a, book = frame.arrangement, frame.book
    rows = rows_of(frame, ["option"])
    net = netted(frame, rows, quantity)
    im_unit, mm_unit = option_margin(spec, frame, net.instrument)
    slope = np.maximum(-net.quantity, 0.0)
    short, extra = slope, np.zeros((2, a.groups))
    if orders and book.leg_order.size:
        if spec.orders == "per-order":
            extra[0] = order_adds(spec, frame, quantity)
        else:
            _, sell, legs, _, alone_sell = fill_extremes(frame)
            short = np.maximum(-(net.quantity - net.sum(sell[rows])), 0.0)
            extra = _alone_sells(spec, frame, legs, alone_sell)
    return Part(
        im=sum_by(short * im_unit * net.rate, net.group, a.groups) + extra[0],
        mm=sum_by(short * mm_unit * net.rate, net.group, a.groups) + extra[1],
        share_im=spread(net, rows, quantity, slope * im_unit),
        share_mm=spread(net, rows, quantity, slope * mm_unit),
    )


def _alone_sells(spec: OptionFormula, frame: Frame, legs: Ints, sells: Floats) -> Floats:
    """Margin of sells in options that are not held, by group."""
    a, book = frame.arrangement, frame.book
    ordered = book.leg_instrument[legs]
    options = frame.terms.kind[ordered] == KIND_CODE["option"]
    keep = options & ~frame.view.settled[ordered]
    legs, sells = legs[keep], sells[keep]
    unit = np.stack(option_margin(spec, frame, book.leg_instrument[legs]))
    amount = unit * sells * frame.segment_rate[a.leg_segment[legs]]
    return np.stack([sum_by(row, a.leg_group[legs], a.groups) for row in amount])


def order_adds(spec: OptionFormula, frame: Frame, quantity: Floats) -> Floats:
    """Return the initial margin that each option order adds by itself, by group.

    Per coin, with the order's price p and the position IM of a short I: a sell that opens adds
    max(I − p, floor), a buy that closes max(p − I, 0), a buy that opens its premium p, and a
    sell that closes nothing. The part of an order that closes is what the position still holds
    on the other side, orders taken in their sequence.

    Source: OKX help, ii-option-margin (published); the premium of a buy that opens:
    365shuku.com/13503 (secondary). Fees are left out.
    """
    a, book = frame.arrangement, frame.book
    legs = np.flatnonzero(
        (frame.terms.kind[book.leg_instrument] == KIND_CODE["option"]) & (frame.leg_quantity != 0)
    )
    im_unit, _ = option_margin(spec, frame, book.leg_instrument[legs])
    held: dict[tuple[int, int], float] = {}
    for group, index, q in zip(a.position_group, book.position_instrument, quantity):
        key = (int(group), int(index))
        held[key] = held.get(key, 0.0) + float(q)
    out = np.zeros(a.groups)
    for leg, unit in zip(legs.tolist(), im_unit.tolist()):
        index, group = int(book.leg_instrument[leg]), int(a.leg_group[leg])
        q, size = float(frame.leg_quantity[leg]), float(frame.terms.contract_size[index])
        price = float(book.leg_price[leg])
        paid = float(frame.unit_value[index]) if np.isnan(price) else price * size
        have = held.get((group, index), 0.0)
        closes = min(abs(q), max(0.0, have if q < 0 else -have))
        held[group, index] = have + (closes if q > 0 else -closes)
        if q < 0:
            floor = pick_rule(spec.factors, frame, index, spec.name).order_floor or 0.0
            coin = 1.0 if frame.terms.inverse[index] else float(frame.index_quote[index])
            adds = (abs(q) - closes) * max(unit - paid, floor * coin * size)
        else:
            adds = closes * max(paid - unit, 0.0) + (q - closes) * paid
        out[group] += adds * float(frame.segment_rate[a.leg_segment[leg]])
    return out
