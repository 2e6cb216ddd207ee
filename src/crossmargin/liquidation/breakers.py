"""Circuit breakers: falls in a window that stop trading, and how it starts again.

A small state machine over prices and moments: open → halted → reopening → open. While halted
nothing fills; funding, interest and marks go on. After a halt the reference is the price at which
trading stopped and tiers act again only after a time to cool off, so that the same fall does not
trip the breaker twice; the raised margin is let go when the price has come back part of the way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.resources import files
from typing import Annotated, Literal

from msgspec import Meta

from crossmargin.codec import Certainty
from crossmargin.errors import LiquidationError
from crossmargin.figures import Data, Origin
from crossmargin.liquidation.figures import convert, parse_toml, require_sources, unknown
from crossmargin.units import NS_PER_SECOND

NonNegative = Annotated[float, Meta(ge=0)]
Positive = Annotated[float, Meta(gt=0)]


class Tier(Data, frozen=True, kw_only=True):
    """One threshold.

    Attributes
    ----------
    fall_rel, fall_abs : float or None
        Fall from the reference that trips it: one of the two.
    pause_s : float
        How long trading stops.
    margin_factor : float
        What requirements are multiplied by until the breaker is armed at rest again.
    """

    fall_rel: Annotated[float, Meta(gt=0, lt=1)] | None = None
    fall_abs: Positive | None = None
    pause_s: Positive
    margin_factor: Annotated[float, Meta(ge=1, le=10)] = 1.0

    def __post_init__(self) -> None:
        """Refuse a tier without a threshold, and one with two."""
        if (self.fall_rel is None) == (self.fall_abs is None):
            raise ValueError("a tier has either fall_rel or fall_abs")

    def trips(self, reference: float, price: float) -> bool:
        """Whether the fall from a reference reaches it."""
        limit = self.fall_abs
        if limit is None:
            assert self.fall_rel is not None
            limit = self.fall_rel * reference
        # 7 % of 100 is reached at 93, though 0.07·100 is a little more than 7 in binary.
        return reference - price >= limit * (1.0 - 1e-12)


class Breaker(Data, frozen=True, kw_only=True):
    """Terms of a breaker.

    Attributes
    ----------
    window_s : float
        The reference is the highest price within so long.
    tiers : list of Tier
        The mildest first.
    reopening_s : float
        Length of the auction after a pause: nothing fills but in it.
    cooloff_s : float
        After reopening no tier acts for so long.
    impact_factor : float
        What the auction makes of price impact, for whoever simulates (0.5: halved).
    recovery : float
        Share of the fall that must be made good before margins are let down.
    """

    id: str
    title: str
    source: str
    confidence: Certainty
    note: str = ""
    window_s: Positive
    tiers: Annotated[list[Tier], Meta(min_length=1)]
    reopening_s: NonNegative = 0.0
    cooloff_s: NonNegative = 0.0
    impact_factor: Annotated[float, Meta(gt=0, le=1)] = 1.0
    recovery: Annotated[float, Meta(ge=0, le=1)] = 0.5


class _Catalogue(Data, frozen=True, kw_only=True):
    format: Literal["crossmargin-breakers/1"]
    sources: dict[str, Origin]
    breakers: list[Breaker]


BreakerPhase = Literal["open", "halted", "reopening"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerState:
    """Where a breaker stands.

    Attributes
    ----------
    phase : BreakerPhase
        Whether trading goes on.
    since_ns : int
        When the phase began.
    until_ns : int or None
        When a pause or an auction ends.
    armed_from_ns : int
        Tiers act from then on.
    tier : int
        Tiers tripped so far, 0 to their number.
    margin_factor : float
        On requirements.
    trip_price, trip_reference : float
        Price at which it halted last, and the reference it fell from; NaN before.
    seen : tuple of (int, float)
        Prices within the window that may still be its highest.
    """

    phase: BreakerPhase
    since_ns: int
    until_ns: int | None = None
    armed_from_ns: int = 0
    tier: int = 0
    margin_factor: float = 1.0
    trip_price: float = math.nan
    trip_reference: float = math.nan
    seen: tuple[tuple[int, float], ...] = ()

    @property
    def fills(self) -> bool:
        """Whether orders may fill continuously."""
        return self.phase == "open"


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerChange:
    """A change of phase, for a timeline."""

    time_ns: int
    phase: BreakerPhase
    price: float
    reason: str


def breakers_from_toml(text: str, what: str = "breakers") -> dict[str, Breaker]:
    """Read and check a catalogue of breakers.

    Raises
    ------
    LiquidationError
        ``LIQ-002`` malformed, an id twice, or a source that is not listed.
    """
    data = convert(parse_toml(text, what), _Catalogue, what)
    require_sources((b.source for b in data.breakers), data.sources, what)
    found = {b.id: b for b in data.breakers}
    if len(found) != len(data.breakers):
        raise LiquidationError(f"{what} names a breaker twice", code="LIQ-002", field="breakers")
    return found


@lru_cache(maxsize=1)
def _shipped() -> dict[str, Breaker]:
    text = (files("crossmargin.liquidation") / "breakers.toml").read_text(encoding="utf-8")
    return breakers_from_toml(text, "breakers.toml")


def breaker(name: str) -> Breaker:
    """Return the terms of a shipped breaker.

    Raises
    ------
    LiquidationError
        ``LIQ-003`` when there is none of that name.
    """
    found = _shipped().get(name)
    if found is None:
        raise unknown("breaker", name, _shipped())
    return found


def breaker_at_rest(time_ns: int, price: float) -> BreakerState:
    """Return a breaker that has seen one price and nothing else."""
    return BreakerState(phase="open", since_ns=time_ns, seen=((time_ns, price),))


def observe(
    terms: Breaker, state: BreakerState, time_ns: int, price: float
) -> tuple[BreakerState, tuple[BreakerChange, ...]]:
    """Show the breaker a price; it says what changes.

    Source: requirements row B10 (tiered thresholds, pause, margin raise, auction, hysteresis; "no
    fills during a halt, accrual continues, no immediate re-trigger"); the machine is ours (house).

    Parameters
    ----------
    terms : Breaker
        Its terms.
    state : BreakerState
        From :func:`breaker_at_rest` or the look before.
    time_ns : int
        Not before the last.
    price : float
        > 0.

    Raises
    ------
    LiquidationError
        ``LIQ-001`` an impossible price, ``LIQ-010`` a moment before the last.
    """
    if not (math.isfinite(price) and price > 0):
        raise LiquidationError(f"the price is {price!r}", code="LIQ-001", field="price")
    if time_ns < max(state.since_ns, state.seen[-1][0] if state.seen else state.since_ns):
        raise LiquidationError("a breaker cannot look back", code="LIQ-010", field="time_ns")
    changes = []
    while state.until_ns is not None and time_ns >= state.until_ns:
        state, change = _next_phase(terms, state, price)
        changes.append(change)
    state = _seen(terms, state, time_ns, price)
    if state.phase == "open":
        state, change_or_none = _judge(terms, state, time_ns, price)
        if change_or_none is not None:
            changes.append(change_or_none)
    return state, tuple(changes)


def _next_phase(
    terms: Breaker, state: BreakerState, price: float
) -> tuple[BreakerState, BreakerChange]:
    """End a pause or an auction at the moment it was due."""
    now = state.until_ns
    assert now is not None
    if state.phase == "halted" and terms.reopening_s > 0:
        until = now + round(terms.reopening_s * NS_PER_SECOND)
        found = replace(state, phase="reopening", since_ns=now, until_ns=until)
        return found, BreakerChange(
            time_ns=now, phase="reopening", price=price, reason="the pause is over: auction"
        )
    found = replace(
        state,
        phase="open",
        since_ns=now,
        until_ns=None,
        armed_from_ns=now + round(terms.cooloff_s * NS_PER_SECOND),
        # Falls are measured from here: what tripped it does not trip it again.
        seen=((now, state.trip_price),),
    )
    return found, BreakerChange(time_ns=now, phase="open", price=price, reason="trading goes on")


def _seen(terms: Breaker, state: BreakerState, time_ns: int, price: float) -> BreakerState:
    """Remember a price as long as it may be the highest of the window; none while halted."""
    if state.phase != "open":
        return state
    oldest = time_ns - round(terms.window_s * NS_PER_SECOND)
    # Times rise and prices fall along it: what is too old is at its head, what a higher price has
    # made pointless at its tail.
    seen, first, last = state.seen, 0, len(state.seen)
    while first < last and seen[first][0] < oldest:
        first += 1
    while last > first and seen[last - 1][1] <= price:
        last -= 1
    return replace(state, seen=(*seen[first:last], (time_ns, price)))


def _judge(
    terms: Breaker, state: BreakerState, time_ns: int, price: float
) -> tuple[BreakerState, BreakerChange | None]:
    if state.tier and _recovered(terms, state, price):
        state = replace(state, tier=0, margin_factor=1.0)
        return state, BreakerChange(
            time_ns=time_ns, phase="open", price=price, reason="the fall is made good: at rest"
        )
    if time_ns < state.armed_from_ns:
        return state, None
    reference = state.seen[0][1]
    tripped = sum(tier.trips(reference, price) for tier in terms.tiers)
    if tripped == 0:
        return state, None
    tier = terms.tiers[tripped - 1]
    until = time_ns + round(tier.pause_s * NS_PER_SECOND)
    halted = BreakerState(
        phase="halted",
        since_ns=time_ns,
        until_ns=until,
        tier=max(state.tier, tripped),
        margin_factor=max(state.margin_factor, tier.margin_factor),
        trip_price=price,
        trip_reference=reference,
    )
    reason = f"tier {tripped}: {price:.6g} after {reference:.6g}"
    return halted, BreakerChange(time_ns=time_ns, phase="halted", price=price, reason=reason)


def _recovered(terms: Breaker, state: BreakerState, price: float) -> bool:
    fall = state.trip_reference - state.trip_price
    return price >= state.trip_price + terms.recovery * fall
