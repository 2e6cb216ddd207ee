"""Slack of exposures at a price, and how fast it can go: tables filled once for many exposures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossmargin.margin.fused._program import Program
from crossmargin.margin.live import _exposures as ex
from crossmargin.margin.live._gauge import Gauge, Lines
from crossmargin.margin.live._past import TIME_RANGE, VOL_RANGE, Swing, later_terms, swings_of
from crossmargin.margin.live._price import PriceTable
from crossmargin.margin.live._tables import ABOVE, BELOW, Anchor, Filler, Table

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: How far behind the anchor lines are read for a bound from above, as a share of the range.
_BEHIND = 0.25


class Rates:
    """Measures exposures.

    Parameters
    ----------
    program : Program
        Compiled.
    prices : PriceTable
        Of the program.
    pots : Exposures
        Their figures, rates, levels and sides are written.
    rows : tuple
        Codes (signed), quantities and levels of all rows.
    reaches : float64[levels, 2]
        Ranges, as multiples of a price.
    floor, ceiling : float64[D]
        Prices that are never passed; read whenever something is measured.
    """

    def __init__(
        self,
        program: Program,
        prices: PriceTable,
        pots: ex.Exposures,
        rows: tuple[NDArray[Any], Floats, NDArray[np.uint8]],
        reaches: Floats,
        floor: Floats,
        ceiling: Floats,
    ) -> None:
        self._pots, self._rows, self._reaches = pots, rows, reaches
        self._floor, self._ceiling = floor, ceiling
        count = prices.drivers.asset.size
        self._bounds: dict[tuple[int, int], Bounds] = {}
        self._swings: Bounds | None = None
        self._anchors: list[Anchor | None] = [None] * count
        self._filled, self._unturned = np.full(count, np.nan), np.full(count, np.nan)
        self._margin = 0.0
        self.take(program, prices)
        self._table = self.filler.empty(whole=True)
        self._loose = self.filler.empty()

    def take(self, program: Program, prices: PriceTable) -> None:
        """Take the same rules and codes in another market."""
        self.program, self.prices = program, prices
        self.filler = Filler(program, prices, margin=self._margin)
        self._gauge = Gauge(program, prices.signed, self._pots, *self._rows)
        self._filled[:] = self._unturned[:] = np.nan
        for kept in self._bounds.values():
            kept.filled[:] = np.nan

    def swing(self) -> None:
        """Let volatilities move from now on: lines hold while they stay in their range."""
        self._margin = VOL_RANGE
        self.take(self.program, self.prices)

    def follow(self, rows: tuple[NDArray[Any], Floats, NDArray[np.uint8]]) -> None:
        """Take longer columns; those of the exposures may have grown too."""
        self._rows = rows
        self._gauge.follow(*rows)

    def look_back(
        self, driver: int, rho: float, side: int, end: float, mine: Ints, due: Floats
    ) -> tuple[Ints, Floats]:
        """Bound slack from the end of what is known towards here, as far as triggers reach.

        Parameters
        ----------
        driver, mine : int, int64[n]
            Exposures, safe, of one driver.
        rho : float
            The price of now.
        side : int
            0 where the end lies below, 1 where it lies above.
        end : float
            The end of what is known.
        due : float64[n]
            Their trigger prices on that side.

        Returns
        -------
        int64[m], float64[m]
            Exposures that are safe from the end up to a price, and that price.
        """
        e, filler = self._pots, self.filler
        anchor = filler.anchor(driver, end)
        here, found = filler.empty(whole=True), Bounds.make(filler)
        filler.fill(here, driver, end, anchor)
        found.apart[:, :8] = here.apart
        steps = np.exp(np.linspace(np.log(end), np.log(rho), 4))[1:]
        far = np.searchsorted(steps if side == 0 else -steps, due if side == 0 else -due)
        who, until = [np.empty(0, dtype=np.int64)], [np.empty(0)]
        for k, to in enumerate(steps.tolist()):
            some = mine[np.minimum(far, 2) == k]
            if not some.size:
                continue
            span = abs(to - end)
            table = found.low if side else found.high
            filler.bound(table, driver, anchor, end, to, to, BELOW)
            lines = Lines(found.low, found.high, here, found.apart, (to, to), (span, span),
                          (span, span), False, (side == 0, side == 1))  # fmt: skip
            got = self._gauge.rates(some, here, end, lines)
            sums = e.sums[e.pot[some]]
            left = sums[:, ex.STILL] + got[:, ex.VALUE] - sums[:, ex.GUARD]
            rate, lost = got[:, ex.FALL if side else ex.RISE], got[:, ex.ROOM_FALL + 1 - side]
            with np.errstate(divide="ignore", invalid="ignore"):
                way = np.where(rate > 0, left / rate, np.inf)
                way = np.minimum(way, np.where(lost > 0, got[:, ex.ROOM] / lost, np.inf))
            way = np.minimum(way, span) * (1.0 - 1e-12)
            good = (left > 0) & (got[:, ex.ROOM] > 0)
            who.append(some[good])
            until.append((end - way if side else end + way)[good])
        return np.concatenate(who), np.concatenate(until)

    def measure(self, driver: int, rho: float, exposures: Ints, *, swinging: bool) -> None:
        """Compute slack and rates of exposures of one driver at a price.

        Parameters
        ----------
        driver, exposures : int, int64[n]
            Which.
        rho : float
            The price.
        swinging : bool
            Whether to rate volatilities and time too; where that is not asked, whoever is looked at
            is due as soon as they move.
        """
        e = self._pots
        if self._filled[driver] != rho:
            self._anchors[driver] = self.filler.anchor(driver, rho)
            self.filler.fill(self._table, driver, rho, self._anchors[driver])
            self._filled[driver] = rho
        below = (e.state[e.pot[exposures]] & ex.BREACHED) != 0
        levels = self._reaches.shape[0]
        # A table costs as much to fill as some exposures cost to visit once more.
        few = self.filler.both[driver].size // 12
        kind = e.wish[exposures] + levels * below.astype(np.int64)
        kind = gathered(kind, levels, few, self._known(driver, rho))
        keys = np.flatnonzero(np.bincount(kind)).tolist()
        for key in keys:
            level, side = key % levels, ABOVE if key >= levels else BELOW
            mine = exposures[kind == key] if len(keys) > 1 else exposures
            e.level[mine] = level
            self._gauge.read(mine, self._table, rho, self._lines(driver, rho, level, side))
            if swinging:
                self._swing(driver, mine, rho, level, side)
            elif e.more.shape[0]:
                e.more[mine] = np.inf

    def _known(self, driver: int, rho: float) -> set[int]:
        """Return the ranges whose tables are filled at a price, plus `levels` for those above."""
        levels = self._reaches.shape[0]
        return {
            level + levels * (side == ABOVE)
            for (level, side), one in self._bounds.items()
            if one.filled[driver] == rho
        }

    def _swing(self, driver: int, exposures: Ints, rho: float, level: int, side: int) -> None:
        """Bound how fast slack can go as volatilities and time move, per range of theirs."""
        e, filler, anchor = self._pots, self.filler, self._anchors[driver]
        if self._swings is None:
            self._swings = Bounds.make(filler)
        found = self._swings
        low, high = self._ends(driver, rho, level)
        vol = time = Swing(np.zeros((0, 0)), np.zeros(0))
        if anchor is not None:
            vol, time = swings_of(self.prices.options[driver], anchor, low, high)
        rows = self.filler.both[driver]
        found.apart[rows, :8] = self._table.apart[rows]
        at = 1.0 if side == BELOW else -_BEHIND
        spans, ends = (abs(at), abs(at)), (1.0, 1.0)
        for table, sides in ((found.low, (1.0, 0.0)), (found.high, (0.0, 1.0))):
            filler.swing(table, driver, anchor, rho, vol.curves, vol.delta, sides, at, side)
        lines = Lines(found.low, found.high, self._loose, found.apart, (rho, rho), spans, ends,
                      side == ABOVE)  # fmt: skip
        e.more[exposures, :4] = self._gauge.rates(exposures, self._table, rho, lines)[:, ex.FALL :]
        if side == BELOW:
            # Who is below the line is looked at again whenever time has passed.
            filler.swing(found.low, driver, anchor, rho, time.curves, time.delta, (1.0, 1.0), 1.0,
                         BELOW)  # fmt: skip
            found.apart[rows, 16:] = found.apart[rows, 8:16]
            lines = Lines(found.low, found.low, self._loose, found.apart, (rho, rho), spans, ends,
                          False)  # fmt: skip
            rates = self._gauge.rates(exposures, self._table, rho, lines,
                                      later_terms(self.program, TIME_RANGE))  # fmt: skip
            e.more[exposures, 4] = rates[:, ex.FALL]
            e.more[exposures, 5] = rates[:, ex.ROOM_FALL]

    def _ends(self, driver: int, rho: float, level: int) -> tuple[float, float]:
        """Return the ends of a range about a price."""
        low = max(ex.range_end(rho, self._reaches[level, 0]), self._floor[driver])
        high = min(ex.range_end(rho, self._reaches[level, 1]), self._ceiling[driver])
        # At the end of what is known there is nothing to bound, but a line needs two points.
        return (low if low < rho else rho * 0.999, high if high > rho else rho * 1.001)

    def _closed(self, driver: int, rho: float) -> tuple[bool, bool]:
        """Whether a price can no longer fall, and no longer rise."""
        return bool(self._floor[driver] >= rho), bool(self._ceiling[driver] <= rho)

    def _lines(self, driver: int, rho: float, level: int, side: int) -> Lines:
        """Fill the tables of lines on either side of a price; those that are filled are kept."""
        found = self._bounds.get((level, side))
        if found is None:
            found = self._bounds[level, side] = Bounds.make(self.filler)
        ends, closed = self._ends(driver, rho, level), self._closed(driver, rho)
        reads = ends
        if side == ABOVE:
            reads = (rho - _BEHIND * (ends[0] - rho), rho - _BEHIND * (ends[1] - rho))
        if found.filled[driver] != rho:
            found.filled[driver] = rho
            anchor = self._anchors[driver]
            ways = zip((found.low, found.high), ends, reads, closed)
            for table, end, read, shut in ways:
                if not shut:
                    self.filler.bound(table, driver, anchor, rho, end, read, side)
            if self.prices.signed.turned.size:
                rows = self.filler.both[driver]
                found.apart[rows, :8] = self._table.apart[rows]
                if side == ABOVE and self._unturned[driver] != rho:
                    self._unturned[driver] = rho
                    self.filler.fill(self._loose, driver, rho, anchor)
        spans = (abs(reads[0] - rho), abs(reads[1] - rho))
        wide = (abs(ends[0] - rho), abs(ends[1] - rho))
        return Lines(found.low, found.high, self._loose, found.apart, reads, spans, wide,
                     side == ABOVE, closed)  # fmt: skip


@dataclass(slots=True)
class Bounds:
    """Tables of lines on either side of the price of each driver.

    Turned lanes of the exact table, and of both of these, lie side by side in `apart`.
    """

    low: Table
    high: Table
    apart: Floats
    filled: Floats

    @classmethod
    def make(cls, filler: Filler) -> Bounds:
        apart = np.zeros((filler.prices.fixed.shape[0], 24))
        return cls(filler.empty(apart[:, 8:16]), filler.empty(apart[:, 16:]), apart,
                   np.full(len(filler.both), np.nan))  # fmt: skip


def gathered(kind: Ints, levels: int, few: int, known: set[int]) -> Ints:
    """Put the few of a range with the many of another, the narrower where there is one.

    `kind` is the range, plus `levels` for those that are bounded from above; `known` are ranges
    whose tables are filled already, and cost nothing more.
    """
    count = np.bincount(kind, minlength=2 * levels).tolist()
    target = np.arange(2 * levels)
    for side in (0, levels):
        mine = range(side, side + levels)
        many = [k for k in mine if count[k] >= few or k in known]
        if not many:
            many = [max(mine, key=lambda k: count[k])]
        for k in mine:
            if count[k] < few and k not in known:
                narrower = [m for m in many if m >= k]
                target[k] = narrower[0] if narrower else many[-1]
    return target[kind]
