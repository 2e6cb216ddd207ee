"""Filling tables at a price, and tables of lines that bound it between two prices.

A *line table* is the table as it would be at another price if every entry moved along a straight
line that stays on one side of the truth between two prices. See docs/models/triggers.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from crossmargin.margin.fused._lanes import LANES
from crossmargin.margin.fused._program import Program
from crossmargin.margin.kernels._vector import aligned_empty
from crossmargin.margin.live._curves import Options, curve_values, delta_slopes, tilts
from crossmargin.margin.live._price import OptionLanes, PriceTable

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Ends of ranges whose curves are kept.
_KEPT = 256
#: A table that bounds the slack of accounts from below, or from above.
BELOW, ABOVE = 0, 1


@numba.njit(nogil=True, cache=True)
def fill_lines(rows: Any, first: int, fixed: Any, rate: Any, rho: float, far: float, limit: int,
               turned: Any, whole: bool, table: Any, apart: Any) -> None:  # fmt: skip
    """Write straight lines from lane `first` on; those of a limit are read at `far`."""
    k = turned.size
    for r in rows:
        for j in range(first, table.shape[1]):
            table[r, j] = fixed[r, j] + rho * rate[r, j]
        if limit >= 0:
            for j in range(limit, limit + 2):
                table[r, j] = fixed[r, j] + far * rate[r, j]
        if first == 0:
            for t in range(k):
                x = fixed[r, turned[t]] + rho * rate[r, turned[t]]
                apart[r, t] = x
                apart[r, k + t] = -x
                if not whole:
                    table[r, turned[t]] = table[r, 0]


@numba.njit(nogil=True, cache=True, error_model="numpy")
def fill_options(
    code: Any, first: Any, plus: Any, minus: Any, equity: Any, held: Any, pair: Any, net: Any,
    limit: Any, today: int, value: Any, slope: Any, other: Any, other_turned: Any, tilt: Any,
    delta: Any, delta_lo: Any, delta_hi: Any, step: float, reach: float, above: bool, turned: Any,
    wide: int, equity_at: int, value_at: int, limit_at: int, pair_at: int, is_net: bool,
    whole: bool, table: Any, apart: Any,
) -> None:  # fmt: skip
    """Write the rows of options from lines that bound their curves.

    A curve is convex in ρ: its tangent lies below it, and its chord to the end of the range above
    it in between. A long counts the lower line where more is better and a short the upper one;
    mirrors, and what is taken off, the other way round.

    Parameters
    ----------
    code, first, plus, minus, equity, held, pair, net, limit
        See :class:`OptionLanes`; `plus` and `minus` are the parts of `second` above and below 0.
    today : int
        Curve of today's value.
    value, slope : float64[n, H]
        Where the lines meet the curves.
    other : float64[n, H]
        Values at the end of the range.
    other_turned, tilt : float64[n, k]
        The same of turned curves at the volatility of the anchor, and what they may leave it by.
    delta, delta_lo, delta_hi : float64[n]
        ρΔ, and slopes that bound it.
    step, reach : float
        Where lines are read, and the end of the range, from the anchor on.
    above : bool
        Whether slack is bounded from above.
    """
    scenarios, k, width = first.shape[1], turned.size, value.shape[1]
    lo, hi = np.empty(width), np.empty(width)
    share = step / reach if reach != 0.0 else 0.0
    side = 1.0 if reach > 0.0 else -1.0
    for i in range(code.size):
        v, w, x = value[i], slope[i], other[i]
        for h in range(width):
            lo[h] = v[h] + step * w[h]
            hi[h] = v[h] + share * (x[h] - v[h])
        for t in range(k):
            h = turned[t]
            hi[h] = value[i, h] + share * (other_turned[i, t] - value[i, h])
            away = side * step * tilt[i, t]
            lo[h] -= away
            hi[h] += away
        d_lo, d_hi = delta[i] + step * delta_lo[i], delta[i] + step * delta_hi[i]
        for sign in range(2):
            row = 2 * code[i] + sign
            up = (sign == 1) != above
            low, high = (hi, lo) if up else (lo, hi)
            good, bad = low[today], high[today]
            line, one, more, less = table[row], first[i], plus[i], minus[i]
            for s in range(scenarios):
                line[s] = one[s] * low[s] + more[s] * good + less[s] * bad
            for t in range(k):
                s = turned[t]
                apart[row, t] = table[row, s]
                apart[row, k + t] = -(first[i, s] * high[s] + plus[i, s] * bad + minus[i, s] * good)
                if not whole:
                    table[row, s] = table[row, 0]
            for s in range(scenarios, wide):
                table[row, s] = table[row, 0]
            e = equity[i, sign]
            table[row, equity_at] = e * (good if e >= 0.0 else bad)
            if value_at >= 0:
                table[row, value_at] = held[i] * bad
                if k > 0:
                    apart[row, 2 * k] = held[i] * good
                    apart[row, 2 * k + 1] = -held[i] * bad
            if pair_at >= 0 and is_net:
                f = net[i]
                g, h2 = (d_hi, d_lo) if up else (d_lo, d_hi)
                table[row, pair_at] = f * (g if f >= 0.0 else h2)
                table[row, pair_at + 1] = -f * (h2 if f >= 0.0 else g)
            elif pair_at >= 0:
                for j in range(2):
                    table[row, pair_at + j] = pair[i] * (low[today + 1 + j] - bad)
            if limit_at >= 0:
                # What is left of a limit is bounded from below, at the end, whatever the side.
                f = limit[i]
                g = delta[i] + reach * (delta_lo[i] if sign == 0 else delta_hi[i])
                h2 = delta[i] + reach * (delta_hi[i] if sign == 0 else delta_lo[i])
                table[row, limit_at] = f * (g if f >= 0.0 else h2)
                table[row, limit_at + 1] = -f * (h2 if f >= 0.0 else g)


@dataclass(slots=True)
class Anchor:
    """Curves of one driver's options at a price.

    Attributes
    ----------
    rho : float
        The price.
    deviation, value, slope : float64[n, H]
        Volatility times root of time, values and dvalue/dρ.
    ranges : dict of float to tuple
        What bounds the curves between here and other prices.
    """

    rho: float
    deviation: Floats
    value: Floats
    slope: Floats
    ranges: dict[float, tuple[Floats, ...]] = field(default_factory=dict)


@dataclass(slots=True)
class Table:
    """A signed table, and the lanes of turned surfaces, which are kept apart.

    Attributes
    ----------
    rows : float64[2C, W]
        What the kernel reads; in tables of lines the lanes of turned scenarios repeat the first.
    apart : float64[2C, 8]
        Turned scenarios, their mirrors, and value today with its mirror.
    whole : bool
        Whether `rows` has the lanes of turned scenarios.
    """

    rows: Floats
    apart: Floats
    whole: bool


@dataclass(slots=True)
class Filler:
    """Fills tables of a program.

    Parameters
    ----------
    program : Program
        Compiled.
    prices : PriceTable
        What its table is as a function of prices.
    margin : float
        Share by which volatilities may move without their lines being wrong.
    """

    program: Program
    prices: PriceTable
    rows: list[Ints] = field(default_factory=list)
    bent: list[Ints] = field(default_factory=list)
    both: list[Ints] = field(default_factory=list)
    lined: list[bool] = field(default_factory=list)
    margin: float = 0.0
    _far: dict[tuple[int, float], tuple[Floats, Floats]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Find the rows of each driver: straight ones, and those of options."""
        d = self.prices.drivers
        for k in range(d.asset.size):
            lanes = self.prices.options[k]
            code = np.flatnonzero((d.of_code == k) & self.prices.grouped)
            bent = np.empty(0, np.int64) if lanes is None else lanes.options.code
            straight = np.setdiff1d(code, bent)
            self.rows.append(np.sort(np.concatenate([2 * straight, 2 * straight + 1])))
            self.bent.append(np.sort(np.concatenate([2 * bent, 2 * bent + 1])))
            self.both.append(np.union1d(self.rows[k], self.bent[k]))
            beside = slice(LANES * self.prices.signed.nv, None)
            straight_too = (
                self.prices.fixed[self.bent[k], beside],
                self.prices.rate[self.bent[k], beside],
            )
            self.lined.append(bool(np.any(straight_too[0]) or np.any(straight_too[1])))

    def empty(self, apart: Floats | None = None, *, whole: bool = False) -> Table:
        """Return a table of straight lines at the prices of the rules.

        Parameters
        ----------
        apart : float64[2C, 8], optional
            Where turned lanes go, all 0.
        whole : bool
            Whether its rows have the lanes of turned scenarios.
        """
        p = self.prices
        beside = np.zeros((p.fixed.shape[0], LANES)) if apart is None else apart
        table = Table(aligned_empty(p.fixed.shape), beside, whole)
        every = np.arange(p.fixed.shape[0])
        fill_lines(every, 0, p.fixed, p.rate, 1.0, 1.0, -1, p.signed.turned, whole, table.rows,
                   table.apart)  # fmt: skip
        return table

    def anchor(self, driver: int, rho: float) -> Anchor | None:
        """Value a driver's options at a price; None where there are none."""
        lanes = self.prices.options[driver]
        if lanes is None:
            return None
        deviation = lanes.options.deviations(rho)
        value, slope = lanes.options.curves(rho, deviation)
        return Anchor(rho, deviation, value, slope)

    def exact(self, rho: Floats) -> Floats:
        """Return the rows at prices of all drivers, cash too."""
        table = self.empty(whole=True)
        for driver in range(self.prices.drivers.asset.size):
            at = float(rho[driver])
            self.fill(table, driver, at, self.anchor(driver, at))
        cash = np.repeat(~self.prices.grouped, 2)
        own = np.repeat(self.prices.drivers.of_code, 2)
        at_price = np.where(own >= 0, rho[np.maximum(own, 0)], 1.0)[:, None]
        table.rows[cash] = (self.prices.fixed + at_price * self.prices.rate)[cash]
        return table.rows

    def fill(self, table: Table, driver: int, rho: float, anchor: Anchor | None) -> None:
        """Fill the rows of a driver at a price."""
        self._lines(table, driver, rho, rho)
        lanes = self.prices.options[driver]
        if lanes is None or anchor is None:
            return
        o = lanes.options
        still = np.zeros((o.size, o.turned.size))
        self._options(table, lanes, anchor, anchor.value, still, still, np.zeros(o.size),
                      np.zeros(o.size), 0.0, 0.0, BELOW)  # fmt: skip

    def bound(
        self, table: Table, driver: int, anchor: Anchor | None, rho: float, end: float, at: float,
        side: int,
    ) -> None:  # fmt: skip
        """Fill the rows of a driver with lines that bound them between `rho` and `end`.

        Parameters
        ----------
        table : Table
            Written.
        driver : int
            Which.
        anchor : Anchor or None
            Its options at `rho`.
        rho, end : float
            The range; `rho` is where the lines meet the truth.
        at : float
            Where the lines are read: `end`, or a point behind `rho`. What has a limit is read at
            `end`, and from below, whatever the side.
        side : {BELOW, ABOVE}
            Whether slack is bounded from below or from above.
        """
        self._lines(table, driver, at, end)
        lanes = self.prices.options[driver]
        if lanes is None or anchor is None:
            return
        other, twisted, tilt, lo, hi = self._range(driver, lanes, anchor, end)
        self._options(table, lanes, anchor, other, twisted, tilt, lo, hi, at - rho, end - rho,
                      side)  # fmt: skip

    def _range(
        self, driver: int, lanes: OptionLanes, anchor: Anchor, end: float
    ) -> tuple[Floats, ...]:
        """Return what bounds curves between the anchor and the end of a range; it is kept."""
        found = anchor.ranges.get(end)
        if found is not None:
            return found
        o, s = lanes.options, self.prices.signed
        other, far_slope = self._at_end(driver, o, end)
        lo, hi = np.zeros(o.size), np.zeros(o.size)
        if s.net or s.limit >= 0:
            delta_slopes(o.forward, o.strike, o.unit, anchor.deviation[:, o.today], anchor.rho,
                         end, anchor.slope[:, o.today], far_slope[:, o.today], lo, hi)  # fmt: skip
        found = anchor.ranges[end] = (other, *self._turned(o, anchor, end), lo, hi)
        return found

    def swing(
        self, table: Table, driver: int, anchor: Anchor | None, rho: float, size: Floats,
        delta: Floats, sides: tuple[float, float], at: float, side: int,
    ) -> None:  # fmt: skip
        """Fill the rows of a driver with lines along something else than the price.

        Parameters
        ----------
        table : Table
            Written.
        driver, anchor, rho
            As for :meth:`bound`.
        size, delta : float64[n, H], float64[n]
            How far curves and ρΔ can go at the end of the range.
        sides : (float, float)
            Whether they can go down and up: 1.0 or 0.0.
        at : float
            Where the lines are read, as a share of the range; below 0 is behind the anchor.
        side : {BELOW, ABOVE}
            Whether slack is bounded from below or from above.
        """
        self._lines(table, driver, rho, rho)
        lanes = self.prices.options[driver]
        if lanes is None or anchor is None:
            return
        o, s = lanes.options, self.prices.signed
        lower, upper = -sides[0] * size, anchor.value + sides[1] * size
        turned = np.ascontiguousarray(upper[:, o.turned])
        today = anchor.rho * anchor.slope[:, o.today]
        fill_options(
            o.code, lanes.first, lanes.plus, lanes.minus, lanes.equity, lanes.value, lanes.pair,
            lanes.net, lanes.limit, o.today, anchor.value, lower, upper, turned,
            np.zeros_like(turned), today, -delta, delta, at, 1.0, side == ABOVE, s.turned,
            LANES * s.nv, s.equity, s.value, s.limit, s.pair, s.net, table.whole, table.rows,
            table.apart,
        )  # fmt: skip

    def _at_end(self, driver: int, o: Options, end: float) -> tuple[Floats, Floats]:
        """Curves at the end of a range; ends are few, and the same for many prices."""
        key = (driver, end)
        found = self._far.get(key)
        if found is None:
            if len(self._far) >= _KEPT:
                self._far.clear()
            found = self._far[key] = o.curves(end, o.deviation)
        return found

    def _turned(self, o: Options, anchor: Anchor, end: float) -> tuple[Floats, Floats]:
        """Value turned curves at the end of a range, at the volatility of the anchor; tilts."""
        k = o.turned.size
        value, slope = np.empty((o.size, k)), np.empty((o.size, k))
        tilt = np.empty((o.size, k))
        if k:
            curve_values(
                o.forward, o.strike, o.call, o.unit, o.growth[o.turned],
                np.ascontiguousarray(anchor.deviation[:, o.turned]), end, value, slope,
            )  # fmt: skip
            tilts(anchor.rho, end, o.turned, o.forward, o.strike, o.unit, o.growth,
                  anchor.deviation, o.turn_slope, o.turn_base, self.margin, tilt)  # fmt: skip
        return value, tilt

    def _lines(self, table: Table, driver: int, rho: float, far: float) -> None:
        p = self.prices
        bent = self.bent[driver] if self.lined[driver] else self.bent[driver][:0]
        for rows, first in ((self.rows[driver], 0), (bent, LANES * p.signed.nv)):
            if not rows.size:
                continue
            fill_lines(rows, first, p.fixed, p.rate, rho, far, p.signed.limit, p.signed.turned,
                       table.whole, table.rows, table.apart)  # fmt: skip

    def _options(
        self, table: Table, lanes: OptionLanes, anchor: Anchor, other: Floats, twisted: Floats,
        tilt: Floats, lo: Floats, hi: Floats, step: float, reach: float, side: int,
    ) -> None:  # fmt: skip
        s, today = self.prices.signed, lanes.options.today
        fill_options(
            lanes.options.code, lanes.first, lanes.plus, lanes.minus, lanes.equity, lanes.value,
            lanes.pair, lanes.net, lanes.limit, today, anchor.value, anchor.slope, other, twisted,
            tilt, anchor.rho * anchor.slope[:, today], lo, hi, step, reach, side == ABOVE,
            s.turned, LANES * s.nv, s.equity, s.value, s.limit, s.pair, s.net, table.whole,
            table.rows, table.apart,
        )  # fmt: skip
