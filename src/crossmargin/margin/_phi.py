"""The map φ from a segment's scenario vector to what counts of it: weights, offsets, discounts.

Source
------
Deribit support article 25944756247837, "Portfolio Margin"; the figures of its tail treatment are
inferred. Static discount: Derive v2-core, PMRM_2.sol (commit 7736900d).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from crossmargin.instruments import DOLLARS, KIND_CODE
from crossmargin.margin._frame import Frame
from crossmargin.margin.components import CurrencyOffset, Scan, StaticDiscount

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
T = TypeVar("T")


def currency_rule(table: dict[str, T], asset: str) -> T | None:
    """Look a settlement asset up: its own name, ``USD`` for stablecoins, ``default``."""
    found = table.get(asset)
    if found is None and asset in DOLLARS:
        found = table.get("USD")
    return found if found is not None else table.get("default")


def settlement_rule(table: dict[str, T], frame: Frame, asset: int) -> T | None:
    """Look a settlement asset up; one that follows another takes its leader's rule."""
    names = frame.book.registry.assets
    own = table.get(names[asset])
    return own if own is not None else currency_rule(table, names[int(frame.follow[asset])])


@dataclass(frozen=True, slots=True)
class Discounted:
    """Static discount by segment: what a unit of shocked value counts on either side of 0.

    Attributes
    ----------
    long, short : float64[K]
        Factors for values of 0 or more, and below 0; 1 for segments that are no expiry.
    base : float64[K]
        Value of each segment today.
    """

    long: Floats
    short: Floats
    base: Floats

    def change(self, v: Floats) -> Floats:
        """Change of value that counts: shocked and discounted, less today's undiscounted."""
        # Segments without options have no base and factors of 1: their change stays exact.
        rows = np.flatnonzero((self.long != 1.0) | (self.short != 1.0))
        if not rows.size:
            return v
        every = rows.size == v.shape[0]
        mine = v if every else v[rows]
        base = self.base[rows, None]
        then = mine + base
        factor = np.where(then >= 0, self.long[rows, None], self.short[rows, None])
        then *= factor
        then -= base
        if (self.long[rows] == 1.0).any():
            same = (self.long[rows, None] == 1.0) & (factor == 1.0)
            then = np.where(same, mine, then)
        if every:
            return then
        out = v.copy()
        out[rows] = then
        return out

    def factor(self, v: Floats) -> Floats:
        """Return the factor at one change per segment."""
        return np.where(self.base + v >= 0, self.long, self.short)


@dataclass(frozen=True, slots=True)
class Phi:
    """Parameters of the map φ, by segment (rows) and scenario (columns)."""

    weight: Floats
    tail: Bools
    turned: Bools
    offset: Floats
    cap: Floats
    dampener: Floats
    tail_gains: bool

    def value(self, v: Floats) -> Floats:
        """Return what counts of the change of each segment, by scenario."""
        counted = self._counted(v)
        if not self.turned.any():
            return counted
        # Either direction of a turned surface may happen, expiry by expiry.
        counted[:, self.turned] = -np.abs(counted[:, self.turned])
        return counted

    def _counted(self, v: Floats) -> Floats:
        tail = bool(self.tail.any())
        whole = bool((self.offset == 1.0).all() and np.isinf(self.cap).all())
        if whole and not tail:
            return np.asarray(v * self.weight)
        gain = np.maximum(v, 0.0)
        gain *= self.weight
        gain *= self.offset[:, None]
        np.minimum(gain, self.cap[:, None], out=gain)
        loss = np.minimum(v, 0.0)
        loss *= self.weight
        if tail:
            if not self.tail_gains:
                gain[:, self.tail] = 0.0
            far = loss[:, self.tail]
            far += self.dampener[:, None]
            loss[:, self.tail] = np.minimum(far, 0.0)
        gain += loss
        return gain

    def slope(self, v: Floats, column: Ints) -> Floats:
        """Return dφ/dv at one scenario per segment."""
        row = np.arange(v.shape[0])
        weight = np.broadcast_to(self.weight, v.shape)
        x, w, tail = v[row, column], weight[row, column], self.tail[column]
        gain = np.where(x * w * self.offset < self.cap, w * self.offset, 0.0)
        if not self.tail_gains:
            gain = np.where(tail, 0.0, gain)
        beyond = -x * w > np.where(tail, self.dampener, 0.0)
        loss = np.where(tail & ~beyond, 0.0, w)
        slope = np.where(x > 0, gain, loss)
        return np.where(self.turned[column] & (x > 0), -slope, slope)


def _currency_columns(spec: Scan, frame: Frame) -> tuple[Floats, Floats, Floats]:
    """Return offset, cap and dampener (US dollars) of each asset as a settlement asset."""
    rules = [
        settlement_rule(spec.currencies, frame, asset) or CurrencyOffset()
        for asset in range(len(frame.book.registry.assets))
    ]
    return (
        np.array([r.pnl_offset for r in rules]),
        np.array([np.inf if r.max_offset_usd is None else r.max_offset_usd for r in rules]),
        np.array([r.dampener_usd for r in rules]),
    )


def phi_of(spec: Scan, frame: Frame) -> Phi:
    a = frame.arrangement
    offset, cap, dampener = frame.once("currency_rules", lambda: _currency_columns(spec, frame))
    usd = frame.pot_usd[a.group_pot[a.segment_group]]
    scenarios = frame.table.scenarios
    weight = scenarios.weight
    if weight.shape[0] and (weight == weight[0]).all():
        weight = weight[:1]
    else:
        weight = weight[frame.group_scenario_row[a.segment_group]]
    return Phi(
        weight=weight,
        tail=scenarios.extended,
        turned=scenarios.turned,
        offset=offset[a.segment_asset],
        cap=cap[a.segment_asset] / usd,
        dampener=dampener[a.segment_asset] / usd,
        tail_gains=spec.tail_gains_count,
    )


def _segment_terms(frame: Frame) -> tuple[Floats, Floats]:
    """Years and rate to the expiry of each segment of options; NaN elsewhere."""
    a, book = frame.arrangement, frame.book
    instrument = np.concatenate([book.position_instrument, book.leg_instrument])
    segment = np.concatenate([a.position_segment, a.leg_segment])
    years, rate = np.full(a.segments, np.nan), np.full(a.segments, np.nan)
    years[segment] = frame.view.years[instrument]
    rate[segment] = frame.rate[instrument]
    return years, rate


def static_discount(spec: Scan, frame: Frame, base: Floats) -> Discounted | None:
    """Return the static discount of each segment, or None where a scan has none."""
    rule, a = spec.static_discount, frame.arrangement
    if rule is None:
        return None
    dated = a.segment_expiry >= 0
    long, short = np.ones(a.segments), np.ones(a.segments)
    if dated.any():
        _require_rates(rule, frame)
        years, rate = _segment_terms(frame)
        years, rate = years[dated], np.nan_to_num(rate[dated])
        low = rule.long
        long[dated] = low.base * np.exp(-years * (rate * low.rate_mult + low.rate_add))
        if rule.short is not None:
            high = rule.short
            grown = high.base * np.exp(years * (rate * high.rate_mult + high.rate_add))
            discounted = frame.ruleset.data.discounting == "rate"
            undiscounted = np.exp(rate * years) if discounted else np.ones(years.size)
            short[dated] = np.minimum(undiscounted, grown)
    return Discounted(long, short, base)


def _require_rates(rule: StaticDiscount, frame: Frame) -> None:
    rules = [r for r in (rule.long, rule.short) if r is not None]
    if any(r.rate_mult > 0 for r in rules):
        used = frame.used
        frame.require_rate(used[frame.terms.kind[used] == KIND_CODE["option"]])
