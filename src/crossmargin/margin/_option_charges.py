"""Charges on options by expiry and strike: basis contingency, naked shorts, bounded loss."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from crossmargin.instruments import KIND_CODE
from crossmargin.margin._arrange import bucket_rows
from crossmargin.margin._formula import Part, fill_extremes, pick_rule
from crossmargin.margin._frame import Frame, sum_by
from crossmargin.margin._lookup import look_up
from crossmargin.margin.components import BasisContingency, NakedShort, OptionBounded
from crossmargin.pricing import price_grid

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def _option_rows(frame: Frame) -> Ints:
    """Positions in options that are not settled.

    In a large book an option without a forward or volatility may be among them, whose accounts
    are refused already: it is left out, because no pricer takes it.
    """
    instrument = frame.book.position_instrument
    option = frame.terms.kind[instrument] == KIND_CODE["option"]
    priced = np.isfinite(frame.view.vol[instrument]) & np.isfinite(frame.view.price[instrument])
    return np.flatnonzero(option & priced & ~frame.view.settled[instrument])


def _spread(frame: Frame, rows: Ints, share: Floats) -> Floats:
    """Lay shares of some positions out over all of them."""
    out = np.zeros(frame.book.position_instrument.size)
    out[rows] = share
    return out


def shocked_values(frame: Frame, instrument: Ints, moves: Sequence[float]) -> Floats:
    """Value one unit of options after moves of their underlying, volatility held per strike.

    Returns
    -------
    float64[n, S]
        In the settlement asset, contract size and discount factor included.
    """
    terms, view = frame.terms, frame.view
    fixed, variable = view.price_fixed[instrument], view.price_variable[instrument]
    move = np.asarray(moves, dtype=np.float64)
    then = price_grid(
        fixed,
        variable,
        terms.strike[instrument],
        view.years[instrument],
        terms.is_call[instrument],
        move,
        view.vol[instrument][:, None],
        np.zeros(move.size, dtype=np.int64),
        kernel=frame.kernel,
    )
    forward = fixed[:, None] + variable[:, None] * (1.0 + move)
    then = np.where(terms.inverse[instrument][:, None], then / forward, then)
    unit = terms.contract_size[instrument] * frame.discount[instrument]
    return np.asarray(then * unit[:, None])


def basis_changes(spec: BasisContingency, frame: Frame, instrument: Ints) -> Floats:
    """Change of one unit of options in both moves of the forward, in settlement, ``[n, 2]``."""
    moved = shocked_values(frame, instrument, (spec.up, spec.down))
    return np.asarray(moved - frame.unit_value[instrument][:, None])


def _changes_used(spec: BasisContingency, frame: Frame) -> Floats:
    """Return the changes of every option used, by instrument; 0 for the rest."""
    used = frame.used[frame.terms.kind[frame.used] == KIND_CODE["option"]]
    out = np.zeros((len(frame.book.registry), 2))
    out[used] = basis_changes(spec, frame, used)
    return out


def basis_share(spec: BasisContingency, frame: Frame, instrument: Ints) -> Floats:
    """Share of the loss that is charged, by instrument."""
    return np.asarray(spec.add + spec.per_year * frame.view.years[instrument])


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
    first, bucket = bucket_rows(a.position_group[rows], frame.expiry_number[instrument])
    count = first.size
    rate = frame.position_rate[rows]
    units = frame.once_here(f"basis changes {spec.name}", lambda: _changes_used(spec, frame))
    moved = units[instrument] * (quantity[rows] * rate)[:, None]
    total = sum_by(moved, bucket, count)
    worst = np.argmin(total, axis=1) if count else np.empty(0, dtype=np.int64)
    loss = np.maximum(0.0, -total[np.arange(count), worst])
    share = basis_share(spec, frame, instrument[first])
    binds = loss > 0
    mine = np.where(binds[bucket], -moved[np.arange(rows.size), worst[bucket]] * share[bucket], 0.0)
    group = a.position_group[rows][first]
    value = sum_by(loss * share, group, a.groups)
    if orders and book.leg_order.size:
        value = value + _order_basis(spec, frame)
    spread = _spread(frame, rows, mine)
    return Part(im=value, mm=value, share_im=spread, share_mm=spread)


def _order_basis(spec: BasisContingency, frame: Frame) -> Floats:
    """Add what each leg's fill could lose, leg by leg."""
    a, book = frame.arrangement, frame.book
    kind = frame.terms.kind[book.leg_instrument]
    legs = np.flatnonzero(kind == KIND_CODE["option"])
    instrument = book.leg_instrument[legs]
    size = frame.leg_quantity[legs] * frame.segment_rate[a.leg_segment[legs]]
    moved = basis_changes(spec, frame, instrument) * size[:, None]
    loss = np.maximum(0.0, -moved.min(axis=1, initial=0.0))
    return sum_by(loss * basis_share(spec, frame, instrument), a.leg_group[legs], a.groups)


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
    first, bucket = bucket_rows(
        group, frame.expiry_number[instrument], frame.strike_number[instrument]
    )
    net = sum_by(coins, bucket, first.size)
    short = np.maximum(0.0, -net)
    charge = sum_by(short * unit[first], group[first], a.groups)
    mine = np.where((net < 0)[bucket], -coins * unit[first][bucket], 0.0)[: rows.size]
    share = _spread(frame, rows, mine)
    return Part(
        im=spec.im * charge, mm=spec.mm * charge, share_im=spec.im * share, share_mm=spec.mm * share
    )


def _index_value(frame: Frame, instrument: Ints, rows: Ints) -> Floats:
    """Value of one coin at the index, in the pot's numeraire, by position."""
    unit = np.where(frame.terms.inverse[instrument], 1.0, frame.index_quote[instrument])
    return np.asarray(unit * frame.position_rate[rows], dtype=np.float64)


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
    at = a.position_group[rows]
    first, bucket = bucket_rows(at, frame.expiry_number[instrument])
    need, parts = _bounded_expiries(spec, frame, rows, quantity[rows], first, bucket)
    rate = frame.position_rate[rows] / _per_settlement(frame, instrument)
    net_im, net_mm = (sum_by(row * rate[first], at[first], a.groups) for row in need)
    share = np.zeros((2, book.position_instrument.size))
    share[:, rows] = parts * rate
    if orders and book.leg_order.size:
        extra = _bounded_orders(spec, frame)
        net_im, net_mm = net_im + extra[0], net_mm + extra[1]
    return Part(im=net_im, mm=net_mm, share_im=share[0], share_mm=share[1])


def _per_settlement(frame: Frame, instrument: Ints) -> Floats:
    """Quote units per unit of settlement: an inverse option is measured like a linear one."""
    inverse = frame.terms.inverse[instrument]
    return np.where(inverse, frame.index_quote[instrument], 1.0)


def bounded_alone(
    spec: OptionBounded, frame: Frame, instrument: Ints, quantity: Floats, pot: Ints | None = None
) -> tuple[Floats, Floats]:
    """Net margin of short legs alone, IM and MM, at most 0; long legs have none."""
    terms = frame.terms
    pots = np.zeros(instrument.size, dtype=np.int64) if pot is None else pot
    rules = look_up(frame, instrument, pots, lambda i: pick_rule(spec.factors, frame, i, spec.name))

    def figure(name: str) -> Floats:
        return rules.column(lambda r: float(getattr(r, name)))

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


def _bounded_expiries(
    spec: OptionBounded, frame: Frame, rows: Ints, quantity: Floats, first: Ints, bucket: Ints
) -> tuple[Floats, Floats]:
    """Return IM and MM of each expiry, ``[2, E]``, and of each leg, ``[2, n]``, in quote units.

    Parameters
    ----------
    spec : OptionBounded
        Factors.
    frame : Frame
        Book and market.
    rows : int64[n]
        Positions in options.
    quantity : float64[n]
        Their quantities.
    first, bucket : int64[E], int64[n]
        First leg of each expiry of a group, and where each leg stands.
    """
    terms = frame.terms
    instrument = frame.book.position_instrument[rows]
    pot = frame.arrangement.position_pot[rows]
    count = first.size
    value = quantity * frame.unit_value[instrument] * _per_settlement(frame, instrument)
    alone = bounded_alone(spec, frame, instrument, quantity, pot)
    coins = quantity * terms.contract_size[instrument]
    held, _ = bucket_rows(bucket, frame.strike_number[instrument])
    least = _least_payoff(terms.strike[instrument], terms.is_call[instrument], coins, bucket, held)
    calls = coins * terms.is_call[instrument]
    short = (sum_by(calls, bucket, count) < 0)[bucket]
    # An expiry takes the factors of its first leg.
    rules = look_up(
        frame, instrument[first], pot[first], lambda i: pick_rule(spec.factors, frame, i, spec.name)
    )
    unpaired = rules.column(lambda r: r.unpaired_im), rules.column(lambda r: r.unpaired_mm)
    worth = sum_by(value, bucket, count)
    need, share = np.empty((2, count)), np.empty((2, rows.size))
    for level, (margin, factor) in enumerate(zip(alone, unpaired)):
        extra = calls * frame.view.price[instrument] * factor[bucket]
        bounded = least + np.where(short, extra, 0.0)
        better = sum_by(margin, bucket, count) >= sum_by(bounded, bucket, count)
        chosen = np.where(better[bucket], margin, bounded)
        need[level] = worth - sum_by(chosen, bucket, count)
        share[level] = value - chosen
    return need, share


def _least_payoff(
    strike: Floats, call: NDArray[np.bool_], coins: Floats, bucket: Ints, held: Ints
) -> Floats:
    """Return each leg's payoff where its expiry pays least over 0 and the strikes, if below 0.

    Every expiry is looked at in every strike it holds: legs times strikes of the expiry.

    Parameters
    ----------
    strike, call, coins : [n]
        Of each leg.
    bucket : int64[n]
        Its expiry.
    held : int64[k]
        A leg of each strike of each expiry, by expiry and strike.
    """
    count = int(bucket.max(initial=-1)) + 1
    # Points of each expiry: 0, then its strikes in ascending order.
    of = np.concatenate([np.arange(count), bucket[held]])
    at = np.concatenate([np.zeros(count), strike[held]])
    order = np.argsort(of, kind="stable")
    of, at = of[order], at[order]
    number = np.bincount(of, minlength=count)
    starts = np.cumsum(number) - number
    # Every leg meets every point of its expiry.
    pairs = number[bucket]
    leg = np.repeat(np.arange(bucket.size), pairs)
    inside = np.arange(leg.size) - np.repeat(np.cumsum(pairs) - pairs, pairs)
    point = starts[bucket[leg]] + inside
    away = np.where(call[leg], at[point] - strike[leg], strike[leg] - at[point])
    payoff = coins[leg] * np.maximum(0.0, away)
    total = sum_by(payoff, point, at.size)
    worst = _first_least(total, starts, of)
    chosen = np.maximum(0.0, np.where(call, at[worst[bucket]] - strike, strike - at[worst[bucket]]))
    least = coins * chosen
    return np.where((sum_by(least, bucket, count) < 0)[bucket], least, 0.0)


def _first_least(total: Floats, starts: Ints, of: Ints) -> Ints:
    """Return where each run of numbers is least, the first at a tie."""
    if not starts.size:
        return starts
    least = np.minimum.reduceat(total, starts)
    hits = np.flatnonzero(total == least[of])
    worst = starts.copy()
    # From behind, so that the first one stays.
    worst[of[hits[::-1]]] = hits[::-1]
    return worst


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
        for margin in bounded_alone(spec, frame, instrument, q, a.group_pot[a.leg_group[legs]])
    ]
    return np.stack(out)
