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

from crossmargin.margin.fused._program import EQUITY_MM, LANES, Program
from crossmargin.margin.kernels._vector import aligned_empty
from crossmargin.margin.live._curves import delta_slopes
from crossmargin.margin.live._shape import OptionLanes, Shape

Floats = NDArray[np.float64]

#: A table that bounds the slack of accounts from below, or from above.
BELOW, ABOVE = 0, 1


@numba.njit(nogil=True, cache=True)
def fill_options(
    code: Any, first: Any, second: Any, equity: Any, value: Any, pair: Any, net: Any, limit: Any,
    today: int, lo: Any, hi: Any, net_lo: Any, net_hi: Any, far_lo: Any, far_hi: Any, turned: Any, nv: int, linear: int,
    equity_lane: int, limit_lane: int, turned_at: int, bucket: int, mirror: int, net_slot: int,
    pair_slot: int, table: Any,
) -> None:  # fmt: skip
    """Write the rows of options from bounds of their curves.

    `lo` and `hi` (float64[n, H]) bound every curve, `net_lo` and `net_hi` (float64[n]) the delta,
    `far_lo` and `far_hi` the delta that has a limit.
    A long counts `lo` where more is better and a short `hi`; mirrors the other way round.
    """
    scenarios = first.shape[1]
    for i in range(code.size):
        for sign in range(2):
            row = 2 * code[i] + sign
            for s in range(scenarios):
                a, b = first[i, s], second[i, s]
                if sign == 0:
                    x = a * lo[i, s] + b * (lo[i, today] if b >= 0 else hi[i, today])
                else:
                    x = a * hi[i, s] + b * (hi[i, today] if b >= 0 else lo[i, today])
                table[row, s] = x
            for s in range(scenarios, 8 * nv):
                table[row, s] = table[row, 0]
            for j in range(turned.size):
                s = turned[j]
                a, b = first[i, s], second[i, s]
                if sign == 0:
                    x = a * hi[i, s] + b * (hi[i, today] if b >= 0 else lo[i, today])
                else:
                    x = a * lo[i, s] + b * (lo[i, today] if b >= 0 else hi[i, today])
                table[row, turned_at + j] = -x
            e = equity[i, sign]
            low, high = lo[i, today], hi[i, today]
            good, bad = (low, high) if sign == 0 else (high, low)
            table[row, equity_lane] = e * (good if e >= 0 else bad)
            if value[i] != 0.0:
                table[row, bucket] = value[i] * good
                table[row, mirror] = -value[i] * bad
            if pair_slot >= 0:
                for j in range(2):
                    up, other = lo[i, today + 1 + j] - high, hi[i, today + 1 + j] - low
                    table[row, bucket + pair_slot + j] = pair[i] * (up if sign == 0 else other)
                    table[row, mirror + pair_slot + j] = -pair[i] * (other if sign == 0 else up)
            g, h = (net_lo[i], net_hi[i]) if sign == 0 else (net_hi[i], net_lo[i])
            if net_slot >= 0:
                f = net[i]
                table[row, bucket + net_slot] = f * (g if f >= 0 else h)
                table[row, mirror + net_slot] = -f * (h if f >= 0 else g)
            if limit_lane >= 0:
                f = limit[i]
                g, h = (far_lo[i], far_hi[i]) if sign == 0 else (far_hi[i], far_lo[i])
                table[row, limit_lane] = f * (g if f >= 0 else h)
                table[row, linear] = -f * (h if f >= 0 else g)


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
class Filler:
    """Fills tables of a program.

    Parameters
    ----------
    program : Program
        Compiled.
    shape : Shape
        What its table is as a function of prices.
    """

    program: Program
    shape: Shape
    rows: list[NDArray[np.int64]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Find the rows of each driver."""
        d = self.shape.drivers
        for k in range(d.asset.size):
            code = np.flatnonzero(d.of_code == k)
            self.rows.append(np.sort(np.concatenate([2 * code, 2 * code + 1])))

    def empty(self) -> Floats:
        """Return a table of the rows that stand still."""
        table = aligned_empty(self.shape.fixed.shape)
        np.add(self.shape.fixed, self.shape.rate, out=table)
        return table

    def anchor(self, driver: int, rho: float) -> Anchor | None:
        """Value a driver's options at a price; None where there are none."""
        lanes = self.shape.options[driver]
        if lanes is None:
            return None
        deviation = lanes.options.deviations(rho)
        value, slope = lanes.options.curves(rho, deviation)
        return Anchor(rho, deviation, value, slope)

    def exact(self, rho: Floats) -> Floats:
        """Return the table at prices of all drivers."""
        table = self.empty()
        for driver in range(self.shape.drivers.asset.size):
            at = float(rho[driver])
            self.fill(table, driver, at, self.anchor(driver, at))
        return table

    def fill(self, table: Floats, driver: int, rho: float, anchor: Anchor | None) -> None:
        """Fill the rows of a driver at a price."""
        self._lines(table, driver, rho)
        lanes = self.shape.options[driver]
        if lanes is None or anchor is None:
            return
        delta = rho * anchor.slope[:, lanes.options.today]
        self._options(table, lanes, anchor.value, anchor.value, [delta, delta], [delta, delta])

    def bound(
        self, table: Floats, driver: int, anchor: Anchor | None, rho: float, end: float, at: float,
        side: int,
    ) -> None:  # fmt: skip
        """Fill the rows of a driver with lines that bound them between `rho` and `end`.

        Parameters
        ----------
        table : float64[2C, W]
            Written.
        driver : int
            Which.
        anchor : Anchor or None
            Its options at `rho`.
        rho, end : float
            The range; `rho` is where the lines meet the truth.
        at : float
            Where the lines are read: `end`, or a point behind `rho`.
        side : {BELOW, ABOVE}
            Whether more slack than the truth, or less, is ruled out.
        """
        self._lines(table, driver, at)
        if self.shape.limit_lane >= 0:
            rows, b = self.rows[driver], self.shape.blocks
            for lane in (b.linear, b.linear + self.shape.limit_lane):
                table[rows, lane] = self.shape.fixed[rows, lane] + end * self.shape.rate[rows, lane]
        lanes = self.shape.options[driver]
        if lanes is None or anchor is None:
            return
        o = lanes.options
        value, slope = o.curves(end, anchor.deviation)
        chord = (value - anchor.value) / (end - rho)
        tangent = anchor.slope.copy()
        net_lo, net_hi = np.empty(o.size), np.empty(o.size)
        delta_slopes(o.forward, o.strike, o.unit, anchor.deviation[:, o.today], rho, end,
                     anchor.slope[:, o.today], slope[:, o.today], net_lo, net_hi)  # fmt: skip
        if o.turned.size:
            from crossmargin.margin.live._curves import steepness

            # ln p is no steeper than one over the least price of the range.
            low, high = min(rho, end), max(rho, end)
            reach = np.log(high / low) * o.turn_slope * o.turn_base
            spread = np.zeros_like(anchor.deviation)
            spread[:, o.turned] = reach
            steep = steepness(o, anchor.deviation, low, high, spread)[:, o.turned]
            penalty = steep * o.turn_slope * o.turn_base / low
            turn = penalty if end > rho else -penalty
            tangent[:, o.turned] -= turn
            chord[:, o.turned] += turn
        step = at - rho
        today = rho * anchor.slope[:, o.today]
        lines = [anchor.value + step * tangent, anchor.value + step * chord]
        nets = [today + step * net_lo, today + step * net_hi]
        # What is left of a limit is bounded from below on either side.
        far = [today + (end - rho) * net_lo, today + (end - rho) * net_hi]
        if side == ABOVE:
            lines, nets = lines[::-1], nets[::-1]
        self._options(table, lanes, lines[0], lines[1], nets, far)

    def _lines(self, table: Floats, driver: int, rho: float) -> None:
        rows = self.rows[driver]
        table[rows] = self.shape.fixed[rows] + rho * self.shape.rate[rows]

    def _options(
        self, table: Floats, lanes: OptionLanes, lo: Floats, hi: Floats, net: list[Floats],
        far: list[Floats],
    ) -> None:  # fmt: skip
        b, s = self.shape.blocks, self.shape
        fill_options(
            lanes.options.code, lanes.first, lanes.second, lanes.equity, lanes.value, lanes.pair,
            lanes.net, lanes.limit, lanes.options.today, lo, hi, net[0], net[1], far[0],
            far[1], b.turned, b.nv,
            b.linear, b.linear + EQUITY_MM, b.linear + s.limit_lane if s.limit_lane >= 0 else -1,
            b.linear + LANES, b.bucket, b.mirror, s.net_slot, s.pair, table,
        )  # fmt: skip
