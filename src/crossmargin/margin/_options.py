"""Margin of single options by the standard short-option formula."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crossmargin.instruments import KIND_CODE
from crossmargin.margin._arrange import buckets
from crossmargin.margin._formula import Part, fill_extremes, netted, pick_rule, rows_of, spread
from crossmargin.margin._frame import Frame, in_turns, sum_by
from crossmargin.margin._lookup import look_up
from crossmargin.margin.components import OptionFormula

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def option_margin(
    spec: OptionFormula, frame: Frame, instrument: Ints, pot: Ints
) -> tuple[Floats, Floats]:
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
    rules = look_up(
        frame, instrument, pot, lambda index: pick_rule(spec.factors, frame, index, spec.name)
    )
    base, least = rules.column(lambda f: f.otm_base), rules.column(lambda f: f.otm_floor)
    keep, grown = rules.column(lambda f: f.mm), rules.column(lambda f: f.size_factor)
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
    im_unit, mm_unit = option_margin(spec, frame, net.instrument, net.pot)
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
    pot = a.group_pot[a.leg_group[legs]]
    unit = np.stack(option_margin(spec, frame, book.leg_instrument[legs], pot))
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
    a, book, terms = frame.arrangement, frame.book, frame.terms
    legs = np.flatnonzero(
        (terms.kind[book.leg_instrument] == KIND_CODE["option"]) & (frame.leg_quantity != 0)
    )
    index, group, q = book.leg_instrument[legs], a.leg_group[legs], frame.leg_quantity[legs]
    pot = a.group_pot[group]
    unit, _ = option_margin(spec, frame, index, pot)
    rules = look_up(frame, index, pot, lambda i: pick_rule(spec.factors, frame, i, spec.name))
    size, price = terms.contract_size[index], book.leg_price[legs]
    paid = np.where(np.isnan(price), frame.unit_value[index], price * size)
    closes = _closing(frame, quantity, group, index, q)
    floor = rules.column(lambda f: f.order_floor or 0.0)
    coin = np.where(terms.inverse[index], 1.0, frame.index_quote[index])
    sold = (np.abs(q) - closes) * np.maximum(unit - paid, floor * coin * size)
    bought = closes * np.maximum(paid - unit, 0.0) + (q - closes) * paid
    adds = np.where(q < 0, sold, bought)
    return sum_by(adds * frame.segment_rate[a.leg_segment[legs]], group, a.groups)


def _closing(frame: Frame, quantity: Floats, group: Ints, index: Ints, q: Floats) -> Floats:
    """Return what each order closes of a position, orders taken in their sequence."""
    a, book = frame.arrangement, frame.book
    width = len(book.registry)
    held = a.position_group * width + book.position_instrument
    key = group * width + index
    first, row = buckets(np.concatenate([held, key]))
    have = sum_by(quantity, row[: held.size], first.size)[row[held.size :]]
    limit = np.maximum(0.0, np.where(q < 0, have, -have))
    side = row[held.size :] * 2 + (q < 0)
    first, place = buckets(side)
    left, closes = limit[first], np.zeros(q.size)
    for turn in in_turns(place):
        closes[turn] = np.minimum(np.abs(q[turn]), left[place[turn]])
        left[place[turn]] -= closes[turn]
    return closes
