"""Volatilities and time: how far they have moved since each visit, and what that can do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossmargin.margin.fused._kernel import DISCOUNT
from crossmargin.margin.fused._layout import POSITION
from crossmargin.margin.fused._program import Program
from crossmargin.margin.live._curves import grown_by_rate, swings, time_moves, vol_moves
from crossmargin.margin.live._price import (
    OptionLanes,
    PriceTable,
    price_table,
    program_at,
    require_same_lanes,
)
from crossmargin.margin.live._signed import NotBounded
from crossmargin.margin.live._tables import Anchor
from crossmargin.market import MarketView
from crossmargin.pricing import SETTLEMENT_WINDOW_S

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Shares by which volatilities may move, and years that may pass, before an account is due for
#: that alone. Rates are per range.
VOL_RANGE = 0.25
TIME_RANGE = 4.0 / (24.0 * 365.0)
#: Markets that are told apart before everybody is looked at anew.
_VERSIONS = 1024
_WINDOW = SETTLEMENT_WINDOW_S / (86_400.0 * 365.0)


@dataclass(frozen=True, slots=True)
class Swing:
    """How far curves, and ρΔ, can go within a range of volatilities or of time."""

    curves: Floats
    delta: Floats


def swings_of(
    lanes: OptionLanes | None, anchor: Anchor, low: float, high: float
) -> tuple[Swing, Swing]:
    """Bound what moves of volatilities and of time can do within a range of prices.

    Both ranges are taken together: each is bounded over what the other may have done.

    Raises
    ------
    NotBounded
        When an option's settlement begins within the range of time.
    """
    assert lanes is not None
    o = lanes.options
    if np.any(np.minimum(o.years, o.rest) <= TIME_RANGE + _WINDOW):
        raise NotBounded("an option is so near its expiry that no bound of time covers it")
    later = time_moves(o, anchor.deviation, TIME_RANGE) * (1.0 + VOL_RANGE)
    either = vol_moves(o, anchor.deviation + later, VOL_RANGE)
    spread = later + either
    pace = o.turn_slope * o.turn_base * (1.0 + VOL_RANGE)
    spread[:, o.turned] += pace * np.log(high / low)
    vol = swings(o, anchor.deviation, low, high, spread, either)
    time = swings(o, anchor.deviation, low, high, spread, later)
    # Values grow as their discount falls away; with them what time has done to them.
    grown = grown_by_rate(o, high, TIME_RANGE)
    more = 1.0 + np.expm1(o.rate * TIME_RANGE)[:, None]
    return (
        Swing(vol[0] * more, vol[1] * more[:, 0]),
        Swing(time[0] * more + grown,
              time[1] * more[:, 0] + o.unit * o.forward * high * (more[:, 0] - 1.0)),
    )  # fmt: skip


def later_terms(program: Program, years: float) -> Floats | None:
    """Return the discount of segments at the end of some time; None where there is none.

    Value is discounted less as time passes, and debt no more: what is bounded from below may keep
    the terms of today. The upper side of turned scenarios takes these.
    """
    scan = program.ruleset.scan
    if program.mode != DISCOUNT or scan is None or scan.static_discount is None:
        return None
    rule = scan.static_discount
    rate = np.nan_to_num(np.maximum(program.units.frame.view.rate, 0.0)).max(initial=0.0)
    parts = [rule.long] if rule.short is None else [rule.long, rule.short]
    if any(p.rate_mult < 0 or p.rate_add < 0 for p in parts):
        raise NotBounded("a static discount grows as time passes")
    pace = max([rate] + [rate * p.rate_mult + p.rate_add for p in parts])
    terms = program.segment_terms.copy()
    terms[:, 0] *= np.exp(pace * years)
    terms[:, 1] *= np.exp(-pace * years)
    return terms


class Past:
    """Markets that accounts were looked at in.

    Parameters
    ----------
    program : Program
        Of the first.
    prices : PriceTable
        Of the program.

    Attributes
    ----------
    now : int
        Number of the market of now.
    down, up : float64[D, V]
        How far volatilities of each driver's options have fallen and risen since each market, as
        a share of the range: the largest of any of them.
    passed : float64[V]
        Time that has passed since, as a share of the range.
    """

    def __init__(self, program: Program, prices: PriceTable) -> None:
        self._vols = [_vols(prices)]
        self._times = [program.units.frame.view.as_of_ns]
        self.now = 0
        count = prices.drivers.asset.size
        self.down: Floats = np.zeros((count, 1))
        self.up: Floats = np.zeros((count, 1))
        self.passed: Floats = np.zeros(1)

    @property
    def full(self) -> bool:
        """Whether so many markets are told apart that everybody should be looked at anew."""
        return len(self._times) >= _VERSIONS

    def forget(self, version: NDArray[np.uint16]) -> None:
        """Forget all markets but that of now, in which everybody has been looked at."""
        self._vols, self._times = self._vols[-1:], self._times[-1:]
        self.now = 0
        version[:] = 0
        self._compare()

    def take(
        self, program: Program, prices: PriceTable, view: MarketView
    ) -> tuple[Program, PriceTable] | None:
        """Take a market at the prices of the rules; None when it is that of now.

        Raises
        ------
        NotBounded
            Where more has moved than volatilities and time.
        """
        home = program.units.frame.view
        held = program.layout.item[program.layout.what == POSITION]
        vols = view.vol[held]
        known = home.vol[held]
        same = np.array_equal(vols, known, equal_nan=True)
        if view.as_of_ns < home.as_of_ns:
            raise NotBounded("time runs backwards")
        if same and view.as_of_ns == home.as_of_ns:
            return None
        if not np.allclose(view.price[held], home.price[held], rtol=1e-9, equal_nan=True):
            raise NotBounded("forwards have moved against the price of their asset")
        feeds = ("rate", "confidence", "settled")
        if not all(
            np.array_equal(getattr(view, f)[held], getattr(home, f)[held], equal_nan=f == "rate")
            for f in feeds
        ) or not np.array_equal(view.asset_confidence, home.asset_confidence):
            raise NotBounded("rates, or how far prices are trusted, have changed")
        new = program_at(program, prices.drivers, 1.0, view)
        require_same_lanes(program, new)
        table = price_table(new)
        self._vols.append(_vols(table))
        self._times.append(view.as_of_ns)
        self.now = len(self._times) - 1
        self._compare()
        return new, table

    def _compare(self) -> None:
        drivers = len(self._vols[-1])
        size = len(self._times)
        self.down, self.up = np.zeros((drivers, size)), np.zeros((drivers, size))
        for v, vols in enumerate(self._vols):
            for d, (old, new) in enumerate(zip(vols, self._vols[-1])):
                if old.size:
                    ratio = new / old
                    self.down[d, v] = max(0.0, 1.0 - ratio.min()) / VOL_RANGE
                    self.up[d, v] = max(0.0, ratio.max() - 1.0) / VOL_RANGE
        year = 365.0 * 86_400.0 * 1e9
        past = np.array(self._times[-1]) - np.array(self._times)
        self.passed = past / year / TIME_RANGE


def _vols(prices: PriceTable) -> list[Floats]:
    return [np.empty(0) if x is None else x.options.vol.copy() for x in prices.options]


__all__ = ["TIME_RANGE", "VOL_RANGE", "Past", "Swing", "later_terms", "swings_of"]
