"""Circuit breakers inside a simulation: who may trade, at which impact, under which margin.

The machine is that of the liquidation room (:func:`crossmargin.liquidation.observe`); here it is
run for every contract, asked between rounds, and asked beforehand at which price it will halt, so
that a flow is cut at the threshold and not after it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossmargin.cascade.figures import Floats
from crossmargin.liquidation import Breaker, BreakerChange, BreakerState, breaker_at_rest, observe
from crossmargin.units import NS_PER_SECOND

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trading:
    """What breakers allow at a moment, by contract.

    Attributes
    ----------
    fills : bool[K]
        Whether anything trades: continuously, or in the auction of a reopening.
    impact_factor : float64[K]
        On price impact: below 1 in an auction that brings buyers together.
    margin_factor : float64[K]
        On requirements.
    halt_below : float64[K]
        A price at or below this would halt; 0 where nothing would.
    changes : tuple of (int, BreakerChange)
        What has changed, with the contract.
    """

    fills: Bools
    impact_factor: Floats
    margin_factor: Floats
    halt_below: Floats
    changes: tuple[tuple[int, BreakerChange], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaking:
    """Breakers of a venue. By default there are none.

    Source: requirements row B10; figures of the shipped breakers in ``liquidation/breakers.toml``.

    Attributes
    ----------
    terms : Breaker or None
        For every contract alike; None: nothing ever halts.
    together : bool
        Whether one contract's halt stops all (a market-wide breaker).
    """

    terms: Breaker | None = None
    together: bool = False

    def start(self, time_ns: int, price: Floats) -> tuple[BreakerState, ...]:
        """Return breakers at rest that have seen these prices."""
        return tuple(breaker_at_rest(time_ns, float(p)) for p in price)

    def next(
        self, states: tuple[BreakerState, ...], time_ns: int, price: Floats
    ) -> tuple[tuple[BreakerState, ...], Trading]:
        """Show the breakers prices, between rounds as between steps.

        Parameters
        ----------
        states : tuple of BreakerState
            From :meth:`start` or the look before.
        time_ns : int
            Not before the last look; rounds of one step may share a moment.
        price : float64[K]
            What they watch, US dollars.
        """
        size = len(states)
        if self.terms is None:
            one = np.ones(size)
            return states, Trading(
                fills=np.ones(size, dtype=np.bool_),
                impact_factor=one,
                margin_factor=one,
                halt_below=np.zeros(size),
            )
        found = [observe(self.terms, s, time_ns, float(p)) for s, p in zip(states, price)]
        after = tuple(state for state, _ in found)
        fills = np.array([s.phase != "halted" for s in after])
        if self.together and not fills.all():
            fills[:] = False
        auction = np.array([s.phase == "reopening" for s in after])
        return after, Trading(
            fills=fills,
            impact_factor=np.where(auction, self.terms.impact_factor, 1.0),
            margin_factor=np.array([s.margin_factor for s in after]),
            halt_below=np.array([_halt_below(self.terms, s, time_ns) for s in after]),
            changes=tuple((k, c) for k, (_, said) in enumerate(found) for c in said),
        )


def _halt_below(terms: Breaker, state: BreakerState, time_ns: int) -> float:
    """Return the price at which the mildest tier trips; 0 where none acts now."""
    if state.phase != "open" or time_ns < state.armed_from_ns or not state.seen:
        return 0.0
    oldest = time_ns - round(terms.window_s * NS_PER_SECOND)
    reference = max((p for t, p in state.seen if t >= oldest), default=0.0)
    limits = [
        reference - tier.fall_abs
        if tier.fall_abs is not None
        else reference * (1.0 - (tier.fall_rel or 0.0))
        for tier in terms.tiers
    ]
    return max(0.0, *limits)
