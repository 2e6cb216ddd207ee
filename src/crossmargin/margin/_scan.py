"""Positions × risk table, the per-segment map φ, sums by group, worst scenario.

Source
------
The two steps of every scenario method (SPAN's risk array; Deribit support article
25944756247837, "Portfolio Margin"). Order of the tail treatment: Deribit names first the
fraction of the simulated profit and loss, then the dampener; its figures are inferred.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from crossmargin.instruments import KIND_CODE
from crossmargin.margin._frame import Frame, sum_by
from crossmargin.margin._phi import Discounted, Phi, phi_of, static_discount
from crossmargin.margin.components import Scan

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
T = TypeVar("T")
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ScanResult:
    """Outcome of the scan.

    Attributes
    ----------
    margin : float64[G]
        Worst loss, at least 0, in the pot's numeraire.
    binding : int64[G]
        Scenario that gave it (the first at a tie); -1 where nothing loses.
    vector : float64[G, S]
        Profit and loss that counts, per group and scenario, in the numeraire.
    raw : float64[G, S]
        The same before weights, offsets and dampeners. Where a frame wants no shares, `vector`.
    position_share, balance_share : float64[N], float64[B]
        ``q·∂margin/∂q`` of each row at the binding scenario; 0 where a frame wants no shares.
    """

    margin: Floats
    binding: Ints
    vector: Floats
    raw: Floats
    position_share: Floats
    balance_share: Floats


def _rates(spec: Scan, frame: Frame, instrument: Ints, segment: Ints) -> Floats:
    """Numeraire per settlement unit, by row and scenario (one column where nothing moves).

    Converted at the shocked price, a coin's profit is worth what the coin is worth in that
    scenario. A leg whose move is capped in the tails is converted at its own capped price, an
    option at the full one: each row stays one consistent revaluation.
    """
    rate = frame.segment_rate[segment][:, None]
    if spec.conversion == "base":
        return rate
    moves = _moving_segments(frame)[segment]
    row = frame.group_scenario_row[frame.arrangement.segment_group[segment]]
    option = frame.terms.kind[instrument] == KIND_CODE["option"]
    s = frame.table.scenarios
    shock = np.where(option[:, None], s.move[row], s.move_linear[row])
    return np.asarray(rate * np.where(moves[:, None], 1.0 + shock, 1.0))


def _moving_segments(frame: Frame) -> Bools:
    """Return the segments paid in a coin whose price moves in their own group's scenarios."""
    a = frame.arrangement
    group, settle = a.segment_group, a.segment_asset
    moves = frame.follow[settle] == a.group_underlying[group]
    return np.asarray(moves & (settle != a.pot_asset[a.group_pot[group]]), dtype=np.bool_)


def _coins_stressed(spec: Scan, frame: Frame) -> bool:
    """Whether profit and value in a stressed coin move with the coin."""
    rules = frame.ruleset.data.collateral.assets.values()
    return spec.conversion != "base" and any(rule.stress != "none" for rule in rules)


def _held_in_coin(spec: Scan, frame: Frame, quantity: Floats) -> Floats:
    """Revalue the coins in unrealised profit and option value in the numeraire, ``[N, S]``.

    A coin's equity is balance, unrealised profit and option value together; where the coin's
    balance is stressed, the rest of it moves with the same price.
    """
    a, book = frame.arrangement, frame.book
    if not _coins_stressed(spec, frame):
        return np.zeros((quantity.size, 1))
    settle = a.segment_asset[a.position_segment]
    group = a.segment_group[a.position_segment]
    moves = _moving_segments(frame)[a.position_segment]
    if not moves.any():
        return np.zeros((quantity.size, 1))
    # Quantity may be scaled; profit and value are linear in it.
    profit, value = frame.position_values(quantity)
    moves &= frame.live_pot[a.position_pot]
    held = np.where(moves, (profit + value) * frame.position_rate, 0.0)
    s = frame.table.scenarios
    row = frame.group_scenario_row[group]
    option = frame.terms.kind[book.position_instrument] == KIND_CODE["option"]
    shock = np.where(option[:, None], s.move[row], s.move_linear[row])
    low, high = _stress_bounds(frame, settle)
    return np.asarray(held[:, None] * np.clip(shock, low[:, None], high[:, None]))


def _stress_bounds(frame: Frame, asset: Ints) -> tuple[Floats, Floats]:
    """Least and largest move of each asset's price that enters the scenarios."""
    low, high = frame.once("stress_bounds", lambda: _bounds_of_assets(frame))
    return low[asset], high[asset]


def _bounds_of_assets(frame: Frame) -> tuple[Floats, Floats]:
    rules = frame.ruleset.data.collateral.assets
    names = frame.book.registry.assets
    low, high = np.zeros(len(names)), np.zeros(len(names))
    for asset, name in enumerate(names):
        rule = rules.get(name) or rules.get("default")
        side = "none" if rule is None else rule.stress
        low[asset] = -np.inf if side in ("down", "both") else 0.0
        high[asset] = np.inf if side in ("up", "both") else 0.0
    return low, high


def _balance_pnl(frame: Frame, amount: Floats) -> Floats:
    """Profit and loss of stressed balances in the pot's numeraire, ``[B, S]``."""
    a = frame.arrangement
    size = frame.table.scenarios.size
    out = np.zeros((amount.size, size))
    rows = np.flatnonzero((a.balance_segment >= 0) & frame.live_pot[a.balance_pot])
    if not rows.size:
        return out
    segment = a.balance_segment[rows]
    move = frame.table.scenarios.move_linear[frame.group_scenario_row[a.segment_group[segment]]]
    low, high = _stress_bounds(frame, frame.book.balance_asset[rows])
    clipped = np.clip(move, low[:, None], high[:, None])
    out[rows] = (amount[rows] * frame.segment_rate[segment])[:, None] * clipped
    return out


def order_losses(spec: Scan, frame: Frame) -> Floats:
    """Worst loss that fills can add, by segment and scenario, in the pot's numeraire.

    Every order is filled where filling it hurts, and left alone where it helps:
    ``Σ_o max(0, ℓ_{o,s})``, where ℓ is the loss of the fill itself (price and fee) and of what
    it would leave in the book. A multi-leg order is one ℓ. The sum of a quote group is capped
    by its protection limit. Exact for orders within one segment; for an order whose legs are
    settled in several assets the parts are bounded apart, which is never less.

    Returns
    -------
    float64[K, S]
        At least 0.
    """
    book, a = frame.book, frame.arrangement
    table = frame.table
    gain = frame.fill_gain(book.leg_instrument, frame.leg_quantity, book.leg_price)
    fee_rate = frame.ruleset.data.orders.fee_rate
    fee = fee_rate * frame.notional(book.leg_instrument, frame.leg_quantity)
    pnl = frame.leg_quantity[:, None] * table.pnl[book.leg_instrument] + (gain - fee)[:, None]
    pnl = pnl * _rates(spec, frame, book.leg_instrument, a.leg_segment)
    pair = book.leg_order * a.segments + a.leg_segment
    keys, inverse = np.unique(pair, return_inverse=True)
    change = sum_by(pnl, inverse, keys.size)
    order, segment = keys // a.segments, keys % a.segments
    discount = static_discount(spec, frame, np.zeros(a.segments))
    if discount is not None:
        # Discounting is subadditive where value is marked down more than debt, else bounded by
        # the worse factor: an order's own value, discounted apart, loses no less than together.
        value = frame.leg_quantity * np.nan_to_num(frame.unit_value[book.leg_instrument])
        value = value * (a.segment_expiry[a.leg_segment] >= 0) * frame.segment_rate[a.leg_segment]
        base = sum_by(value, inverse, keys.size)[:, None]
        then, long, short = base + change, discount.long[segment], discount.short[segment]
        change = np.minimum(then * long[:, None], then * short[:, None]) - base
    loss = np.maximum(0.0, -change)
    if frame.table.scenarios.turned.any():
        loss = np.where(frame.table.scenarios.turned, np.abs(change), loss)
    return capped_losses(frame, loss, order, segment, a.group_pot[a.segment_group])


def capped_losses(frame: Frame, loss: Floats, order: Ints, place: Ints, pot: Ints) -> Floats:
    """Sum losses of orders by place, each quote group at most its protection limit.

    Parameters
    ----------
    loss : float64[J] or float64[J, S]
        At least 0, in the numeraire.
    order, place : int64[J]
        The order each row belongs to, and where it is summed.
    pot : int64[K]
        Pot of each place.
    """
    book = frame.book
    quotes = book.order_group[order]
    free = quotes < 0
    out = sum_by(loss[free], place[free], pot.size)
    if free.all():
        return out
    pair, row = np.unique(quotes[~free] * pot.size + place[~free], return_inverse=True)
    total = sum_by(loss[~free], row, pair.size)
    where = pair % pot.size
    limit = book.group_limit_usd[pair // pot.size] / frame.pot_usd[pot[where]]
    limit = limit[:, None] if total.ndim == 2 else limit
    return out + sum_by(np.minimum(total, limit), where, pot.size)


def _expiry_values(spec: Scan, frame: Frame, quantity: Floats) -> Floats:
    """Value today of each option, in the numeraire, where a static discount needs it."""
    a = frame.arrangement
    if spec.static_discount is None:
        return np.zeros(quantity.size)
    _, value = frame.position_values(quantity)
    dated = a.segment_expiry[a.position_segment] >= 0
    return np.where(dated, value * frame.position_rate, 0.0)


@dataclass(frozen=True, slots=True)
class Scanned:
    """Rows, segment sums and φ of one scan: what margin and shares are both read from.

    `raw` is the change of each segment before a static discount, `v` what counts of it, and
    `filled` the change after the worst fills of open orders.
    """

    frame: Frame
    rows: Floats
    held: Floats
    value: Floats
    raw: Floats
    filled: Floats
    v: Floats
    discount: Discounted | None
    phi: Phi

    def shares(self, column: Ints) -> tuple[Floats, Floats]:
        """Return what each position and balance loses in one scenario by group, through φ'.

        `column` is the scenario of each group, or -1 where nothing is to be shared.
        """
        frame, a = self.frame, self.frame.arrangement
        used = column >= 0
        pick = np.where(used, column, 0)[a.segment_group]
        slope = np.where(used[a.segment_group], self.phi.slope(self.v, pick), 0.0)
        p, b = a.position_segment, np.flatnonzero(a.balance_segment >= 0)
        moved = self.rows[np.arange(p.size), pick[p]]
        if self.discount is not None:
            factor = self.discount.factor(self.raw[np.arange(a.segments), pick])[p]
            moved = factor * moved + (factor - 1.0) * self.value
        balance = np.zeros(frame.book.balance_amount.size)
        seg = a.balance_segment[b]
        balance[b] = -slope[seg] * self.held[b, pick[seg]]
        return -slope[p] * moved, balance


def scanned(spec: Scan, frame: Frame, quantity: Floats, amount: Floats, *, orders: bool) -> Scanned:
    """Value rows, segments and φ of one scan; parameters as for :func:`run_scan`."""
    a = frame.arrangement
    instrument = frame.book.position_instrument
    rows = quantity[:, None] * frame.table.pnl[instrument]
    rows *= _rates(spec, frame, instrument, a.position_segment)
    rows += _held_in_coin(spec, frame, quantity)
    held = _balance_pnl(frame, amount)
    v = sum_by(rows, a.position_segment, a.segments) + sum_by(held, a.balance_segment, a.segments)
    value = _expiry_values(spec, frame, quantity)
    discount = static_discount(spec, frame, sum_by(value, a.position_segment, a.segments))
    raw = filled = v
    if discount is not None:
        v = discount.change(v)
    if orders and frame.book.leg_order.size:
        worse = order_losses(spec, frame)
        # In a turned scenario what hurts is distance from today, on either side.
        away = np.where(frame.table.scenarios.turned & (v > 0), -v, v)
        v = away - worse
        filled = raw - worse
    return Scanned(frame, rows, held, value, raw, filled, v, discount, phi_of(spec, frame))


def _unit_rows(spec: Scan, frame: Frame) -> Floats:
    """Rows that a segment's vector is a sum of, whoever holds them.

    Returns
    -------
    float64[2·n + 2·m, S]
        For n instruments: profit and loss of one unit, then the same converted at the shocked
        price of the settlement asset. For m assets: twice the move of a coin's price that enters
        the scenarios, of the linear kind and of the option's.
    """
    terms, table = frame.terms, frame.table
    s, names = table.scenarios, frame.book.registry.assets
    place = {name: row for row, name in enumerate(s.underlyings)}
    row = np.array([place.get(names[leader], -1) for leader in frame.follow], dtype=np.int64)
    # What follows no underlying of the scenarios takes the row of zeros behind the last one; an
    # account of dollars alone has no underlying at all.
    still = np.zeros((1, s.move.shape[1]))
    linear, option = (np.concatenate([m, still])[row] for m in (s.move_linear, s.move))
    is_option = (terms.kind == KIND_CODE["option"])[:, None]
    shock = np.where(is_option, option[terms.underlying], linear[terms.underlying])
    low, high = _stress_bounds(frame, np.arange(len(names)))
    coins = [np.clip(m, low[:, None], high[:, None]) for m in (linear, option)]
    return np.concatenate([table.pnl, table.pnl * (1.0 + shock), *coins])


def segment_vectors(spec: Scan, frame: Frame, quantity: Floats, amount: Floats) -> Floats:
    """Change of each segment in each scenario, in the numeraire, ``[K, S]``.

    The sum of what :func:`scanned` adds up row by row, as one sparse product: rows by scenario
    are not stored.
    """
    from scipy.sparse import csr_matrix

    a, book, terms = frame.arrangement, frame.book, frame.terms
    units = frame.once_here("unit rows", lambda: _unit_rows(spec, frame))
    count, assets = len(book.registry), len(book.registry.assets)
    settled_in = 2 * count
    segment = a.position_segment
    place = book.position_instrument
    moves = np.zeros(segment.size, dtype=np.bool_)
    if spec.conversion != "base":
        moves = _moving_segments(frame)[segment]
        place = place + count * moves
    rows = [(segment, place, quantity * frame.position_rate)]
    if moves.any() and _coins_stressed(spec, frame):
        some = np.flatnonzero(moves & frame.live_pot[a.position_pot])
        profit, value = frame.position_values(quantity)
        held = (profit[some] + value[some]) * frame.position_rate[some]
        option = terms.kind[book.position_instrument[some]] == KIND_CODE["option"]
        at = settled_in + a.segment_asset[segment[some]] + assets * option
        rows.append((segment[some], at, held))
    owned = np.flatnonzero((a.balance_segment >= 0) & frame.live_pot[a.balance_pot])
    if owned.size:
        of = a.balance_segment[owned]
        rows.append(
            (of, settled_in + book.balance_asset[owned], amount[owned] * frame.segment_rate[of])
        )
    segment, place, weight = (np.concatenate(column) for column in zip(*rows))
    if (segment[1:] < segment[:-1]).any():
        order = np.argsort(segment, kind="stable")
        segment, place, weight = segment[order], place[order], weight[order]
    starts = np.concatenate([[0], np.cumsum(np.bincount(segment, minlength=a.segments))])
    return np.asarray(
        csr_matrix((weight, place, starts), shape=(a.segments, units.shape[0])) @ units
    )


def _counted_vectors(
    spec: Scan, frame: Frame, quantity: Floats, amount: Floats, *, orders: bool
) -> ScanResult:
    """Scan all groups without what only shares need."""
    a = frame.arrangement
    v = segment_vectors(spec, frame, quantity, amount)
    value = _expiry_values(spec, frame, quantity)
    discount = static_discount(spec, frame, sum_by(value, a.position_segment, a.segments))
    if discount is not None:
        v = discount.change(v)
    if orders and frame.book.leg_order.size:
        away = np.where(frame.table.scenarios.turned & (v > 0), -v, v)
        v = away - order_losses(spec, frame)
    vector = sum_by(phi_of(spec, frame).value(v), a.segment_group, a.groups)
    margin, binding = worst_column(vector)
    none = np.zeros(quantity.size), np.zeros(amount.size)
    return ScanResult(margin, binding, vector, vector, *none)


def worst_column(vector: Floats) -> tuple[Floats, Ints]:
    """Return the worst loss of each row, at least 0, and where; -1 where nothing loses."""
    if not vector.shape[0]:
        return np.empty(0), np.empty(0, dtype=np.int64)
    column = np.argmin(vector, axis=1)
    margin = np.maximum(0.0, -vector[np.arange(vector.shape[0]), column])
    return margin, np.where(margin > 0, column, -1)


def scan_shares(
    spec: Scan, frame: Frame, quantity: Floats, amount: Floats, *columns: Ints
) -> list[tuple[Floats, Floats]]:
    """Return each position's and balance's loss in scenarios chosen by group, one for each column.

    A column holds the scenario of each group, or -1 where nothing is to be shared.
    """
    found = scanned(spec, frame, quantity, amount, orders=False)
    return [found.shares(column) for column in columns]


def run_scan(
    spec: Scan, frame: Frame, quantity: Floats, amount: Floats, *, orders: bool
) -> ScanResult:
    """Scan all groups.

    Parameters
    ----------
    spec : Scan
        Parameters.
    frame : Frame
        Book and market.
    quantity : float64[N]
        Quantities of the positions (the book's own, or scaled).
    amount : float64[B]
        Amounts of the balances (the book's own, or scaled).
    orders : bool
        Whether to add the worst fills of open orders.
    """
    a = frame.arrangement
    if not frame.shares:
        return _counted_vectors(spec, frame, quantity, amount, orders=orders)
    found = scanned(spec, frame, quantity, amount, orders=orders)
    vector = sum_by(found.phi.value(found.v), a.segment_group, a.groups)
    margin, binding = worst_column(vector)
    share, balance_share = found.shares(binding)
    return ScanResult(
        margin=margin,
        binding=binding,
        vector=vector,
        raw=sum_by(found.filled, a.segment_group, a.groups),
        position_share=share,
        balance_share=balance_share,
    )
