"""Order books as a simulation asks for them: withdrawal, refill, gaps, resilience, newcomers."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from crossmargin.cascade.behaviour import Entrants
from crossmargin.cascade.depth import DepthRule, DepthState, hour_of_week
from crossmargin.cascade.draws import uniforms
from crossmargin.cascade.figures import Floats
from crossmargin.cascade.impact import Impact, LogLinear
from crossmargin.cascade.resilience import Displacement, Resilience
from crossmargin.cascade.setting import Weather
from crossmargin.cascade.volatility import Volatility, VolatilityState


@dataclass(frozen=True, slots=True, kw_only=True)
class BooksState:
    """Where books stand.

    Attributes
    ----------
    depth : DepthState
        What is left of them.
    moved : Displacement
        By own sales, quotes that left and newcomers.
    volatility : VolatilityState or None
        Of prices as they came out.
    book : float64[K] or None
        Prices after the last step's news; None before the first.
    row, noise : int64[K], float64[K]
        Class of the last move, and the scatter drawn when it was entered.
    """

    depth: DepthState
    moved: Displacement
    volatility: VolatilityState | None = None
    book: Floats | None = None
    row: NDArray[np.int64] | None = None
    noise: Floats | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveBooks:
    """Depth with withdrawal, refill, hours, gaps, resilience and newcomers.

    Attributes
    ----------
    depth : DepthRule
        Bases, withdrawal by |z|, refill, hours, gap.
    volatility : Volatility or None
        Of K contracts, what z is measured against; None: books never withdraw.
    resilience : Resilience
        What stays of impact.
    entrants : Entrants
        Who buys after a fall. They buy from whoever stands outside, so that no account of the
        population changes; what they do is hold the price.
    impact : Impact
        How far their purchases move it.
    seed, path : int
        Of the scatter of withdrawal.
    scatter : bool
        Whether there is any; else the median. One number is drawn when a move enters a class, so
        that a fall of several steps does not draw until it finds the worst.
    """

    depth: DepthRule
    volatility: Volatility | None = None
    resilience: Resilience = field(default_factory=Resilience)
    entrants: Entrants = field(default_factory=Entrants)
    impact: Impact = field(default_factory=LogLinear)
    seed: int = 0
    path: int = 0
    scatter: bool = False

    def begin(self) -> BooksState:
        """Return the state before anything."""
        start = self.depth.start()
        return BooksState(
            depth=start,
            moved=self.resilience.start(start.left.size),
            volatility=None if self.volatility is None else self.volatility.start(),
        )

    def next(
        self, state: BooksState, weather: Weather
    ) -> tuple[BooksState, Floats, Floats, Floats]:
        """Return state, depth, by how much prices move by themselves, and what is kept.

        What decays is in the second: all of the displacement is kept, and the part of it that
        has decayed is a move back.
        """
        k = state.depth.left.size
        move = weather.returns[:k]
        if state.book is not None:
            # Since the last look: last step's sales, then this step's news.
            move = np.log(weather.book[:k] / state.book)
        volatility, z = state.volatility, np.zeros(k)
        if self.volatility is not None and volatility is not None:
            volatility, z = self.volatility.next(volatility, move)
        hour = hour_of_week(weather.time_ns)
        row, noise = self._noise(state, weather, z)
        left, depth = self.depth.next(state.depth, z, weather.step_ns, hour, noise)

        sold = weather.displacement - state.moved.total
        moved = self.resilience.next(self.resilience.add(state.moved, sold), weather.step_ns)
        gap = self.depth.gap(state.depth, left, move)
        moved = self.resilience.add(moved, gap, transient=True)
        moved = self.resilience.add(moved, self._newcomers(weather, depth))
        own = moved.total - weather.displacement
        after = BooksState(
            depth=left,
            moved=moved,
            volatility=volatility,
            book=weather.book[:k] * np.exp(own),
            row=row,
            noise=noise,
        )
        return after, depth, own, np.ones(k)

    def _noise(
        self, state: BooksState, weather: Weather, z: Floats
    ) -> tuple[NDArray[np.int64], Floats]:
        """Return classes of the moves, and a number for each that was drawn on entering it."""
        row = self.depth.withdrawal.row(z)
        if not self.scatter:
            return row, np.zeros(z.size)
        from scipy.special import ndtri

        drawn = uniforms(self.seed, self.path, "depth", weather.step, np.arange(z.size))
        fresh = np.asarray(ndtri(drawn[:, 0]), dtype=np.float64)
        if state.row is None or state.noise is None:
            return row, fresh
        return row, np.where(row == state.row, state.noise, fresh)

    def _newcomers(self, weather: Weather, depth: Floats) -> Floats:
        if self.entrants.per_h == 0.0:
            return np.zeros(depth.size)
        # They compare with where the price would be without anybody's forced sales.
        k = depth.size
        price, base = weather.book[:k], np.asarray(self.depth.base_usd, dtype=np.float64)
        coins = self.entrants.coins(price, weather.exogenous[:k], base, weather.step_ns)
        return self.impact.displacement(coins, depth, price)
