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
from crossmargin.margin.live._curves import delta_slopes, lines
from crossmargin.margin.live._price import OptionLanes, PriceTable

Floats = NDArray[np.float64]

#: A table that bounds the slack of accounts from below, or from above.
BELOW, ABOVE = 0, 1


@numba.njit(nogil=True, cache=True)
def fill_lines(rows: Any, fixed: Any, rate: Any, rho: float, far: float, limit: int, turned: Any,
               table: Any, apart: Any) -> None:  # fmt: skip
    """Write straight lines; the two lanes from `limit` on are read at `far`."""
    k = turned.size
    for r in rows:
        for j in range(table.shape[1]):
            table[r, j] = fixed[r, j] + rho * rate[r, j]
        if limit >= 0:
            for j in range(limit, limit + 2):
                table[r, j] = fixed[r, j] + far * rate[r, j]
        for t in range(k):
            x = fixed[r, turned[t]] + rho * rate[r, turned[t]]
            apart[r, t] = x
            apart[r, k + t] = -x
            table[r, turned[t]] = table[r, 0]


@numba.njit(nogil=True, cache=True)
def fill_options(
    code: Any, first: Any, second: Any, equity: Any, value: Any, pair: Any, net: Any, limit: Any,
    today: int, lo: Any, hi: Any, net_lo: Any, net_hi: Any, far_lo: Any, far_hi: Any, turned: Any,
    wide: int, equity_at: int, value_at: int, limit_at: int, pair_at: int, is_net: bool,
    table: Any, apart: Any,
) -> None:  # fmt: skip
    """Write the rows of options from bounds of their curves.

    `lo` and `hi` (float64[n, H]) bound every curve, `net_lo` and `net_hi` (float64[n]) the delta,
    `far_lo` and `far_hi` the delta that has a limit. A long counts `lo` where more is better and
    a short `hi`; mirrors, and what is taken off, the other way round.
    """
    scenarios, k = first.shape[1], turned.size
    for i in range(code.size):
        for sign in range(2):
            row = 2 * code[i] + sign
            low, high = lo[i, today], hi[i, today]
            good, bad = (low, high) if sign == 0 else (high, low)
            for s in range(scenarios):
                b = second[i, s]
                x = lo[i, s] if sign == 0 else hi[i, s]
                table[row, s] = first[i, s] * x + b * (good if b >= 0.0 else bad)
            for t in range(k):
                s = turned[t]
                b = second[i, s]
                x = hi[i, s] if sign == 0 else lo[i, s]
                apart[row, t] = table[row, s]
                apart[row, k + t] = -(first[i, s] * x + b * (bad if b >= 0.0 else good))
                table[row, s] = table[row, 0]
            for s in range(scenarios, wide):
                table[row, s] = table[row, 0]
            e = equity[i, sign]
            table[row, equity_at] = e * (good if e >= 0.0 else bad)
            if value_at >= 0:
                table[row, value_at] = value[i] * bad
                if k > 0:
                    apart[row, 2 * k] = value[i] * good
                    apart[row, 2 * k + 1] = -value[i] * bad
            g, h = (net_lo[i], net_hi[i]) if sign == 0 else (net_hi[i], net_lo[i])
            if pair_at >= 0 and is_net:
                f = net[i]
                table[row, pair_at] = f * (g if f >= 0.0 else h)
                table[row, pair_at + 1] = -f * (h if f >= 0.0 else g)
            elif pair_at >= 0:
                for j in range(2):
                    x = lo[i, today + 1 + j] if sign == 0 else hi[i, today + 1 + j]
                    table[row, pair_at + j] = pair[i] * (x - bad)
            if limit_at >= 0:
                f = limit[i]
                g, h = (far_lo[i], far_hi[i]) if sign == 0 else (far_hi[i], far_lo[i])
                table[row, limit_at] = f * (g if f >= 0.0 else h)
                table[row, limit_at + 1] = -f * (h if f >= 0.0 else g)


@dataclass(slots=True)
class Anchor:
    """Curves of one driver's options at a price.

    Attributes
    ----------
    rho : float
        The price.
    deviation, value, slope : float64[n, H]
        Volatility times root of time, values and dvalue/dρ.
    """

    rho: float
    deviation: Floats
    value: Floats
    slope: Floats


@dataclass(slots=True)
class Table:
    """A signed table, and the lanes of turned surfaces, which are kept apart.

    Attributes
    ----------
    rows : float64[2C, W]
        What the kernel reads; lanes of turned scenarios repeat the first lane.
    apart : float64[2C, 8]
        Turned scenarios, their mirrors, and value today with its mirror.
    """

    rows: Floats
    apart: Floats


@dataclass(slots=True)
class Filler:
    """Fills tables of a program.

    Parameters
    ----------
    program : Program
        Compiled.
    prices : PriceTable
        What its table is as a function of prices.
    """

    program: Program
    prices: PriceTable
    rows: list[NDArray[np.int64]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Find the rows of each driver."""
        d = self.prices.drivers
        for k in range(d.asset.size):
            code = np.flatnonzero((d.of_code == k) & self.prices.grouped)
            self.rows.append(np.sort(np.concatenate([2 * code, 2 * code + 1])))

    def empty(self) -> Table:
        """Return a table of straight lines at the prices of the rules."""
        p = self.prices
        table = Table(aligned_empty(p.fixed.shape), aligned_empty((p.fixed.shape[0], LANES)))
        table.apart[:] = 0.0
        every = np.arange(p.fixed.shape[0])
        fill_lines(every, p.fixed, p.rate, 1.0, 1.0, -1, p.signed.turned, table.rows, table.apart)
        return table

    def anchor(self, driver: int, rho: float) -> Anchor | None:
        """Value a driver's options at a price; None where there are none."""
        lanes = self.prices.options[driver]
        if lanes is None:
            return None
        deviation = lanes.options.deviations(rho)
        value, slope = lanes.options.curves(rho, deviation)
        return Anchor(rho, deviation, value, slope)

    def exact(self, rho: Floats, *, turned: bool = False) -> Floats:
        """Return the rows at prices of all drivers; with lanes of turned scenarios in place."""
        table = self.empty()
        for driver in range(self.prices.drivers.asset.size):
            at = float(rho[driver])
            self.fill(table, driver, at, self.anchor(driver, at))
        lanes = self.prices.signed.turned
        rows = table.rows
        cash = np.repeat(~self.prices.grouped, 2)
        own = np.repeat(self.prices.drivers.of_code, 2)
        at_price = np.where(own >= 0, rho[np.maximum(own, 0)], 1.0)[:, None]
        rows[cash] = (self.prices.fixed + at_price * self.prices.rate)[cash]
        if turned and lanes.size:
            rows[:, lanes] = table.apart[:, : lanes.size]
        return rows

    def fill(self, table: Table, driver: int, rho: float, anchor: Anchor | None) -> None:
        """Fill the rows of a driver at a price."""
        self._lines(table, driver, rho, rho)
        lanes = self.prices.options[driver]
        if lanes is None or anchor is None:
            return
        delta = rho * anchor.slope[:, lanes.options.today]
        self._options(table, lanes, anchor.value, anchor.value, [delta, delta], [delta, delta])

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
        o = lanes.options
        other, far_slope = o.curves(end, anchor.deviation)
        lo, hi = np.empty_like(other), np.empty_like(other)
        lines(
            anchor.value, anchor.slope, other, rho, end, at, o.turned, o.forward, o.strike, o.unit,
            o.growth, anchor.deviation, o.turn_slope, o.turn_base, lo, hi,
        )  # fmt: skip
        net_lo, net_hi = np.empty(o.size), np.empty(o.size)
        delta_slopes(o.forward, o.strike, o.unit, anchor.deviation[:, o.today], rho, end,
                     anchor.slope[:, o.today], far_slope[:, o.today], net_lo, net_hi)  # fmt: skip
        today = rho * anchor.slope[:, o.today]
        net = [today + (at - rho) * net_lo, today + (at - rho) * net_hi]
        far = [today + (end - rho) * net_lo, today + (end - rho) * net_hi]
        if side == ABOVE:
            lo, hi, net = hi, lo, net[::-1]
        self._options(table, lanes, lo, hi, net, far)

    def _lines(self, table: Table, driver: int, rho: float, far: float) -> None:
        p = self.prices
        fill_lines(self.rows[driver], p.fixed, p.rate, rho, far, p.signed.limit, p.signed.turned,
                   table.rows, table.apart)  # fmt: skip

    def _options(
        self, table: Table, lanes: OptionLanes, lo: Floats, hi: Floats, net: list[Floats],
        far: list[Floats],
    ) -> None:  # fmt: skip
        s = self.prices.signed
        fill_options(
            lanes.options.code, lanes.first, lanes.second, lanes.equity, lanes.value, lanes.pair,
            lanes.net, lanes.limit, lanes.options.today, lo, hi, net[0], net[1], far[0], far[1],
            s.turned, LANES * s.nv, s.equity, s.value, s.limit, s.pair, s.net, table.rows,
            table.apart,
        )  # fmt: skip
