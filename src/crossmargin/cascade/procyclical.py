"""Margins and haircuts that follow volatility, and what damps them.

``m_k(σ_t) = m_k·f(σ_t)``, ``h_j(σ_t) = min(most, h_j·f(σ_t))``. A factor that rises as prices fall
forces sales that make them fall further; a floor, weight on a stress level, a buffer that may be
used up and a limit on the speed take that away in part.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from crossmargin.cascade.figures import Floats, number, numbers
from crossmargin.errors import CascadeError
from crossmargin.units import NS_PER_SECOND

_HOUR_NS = 3_600 * NS_PER_SECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class FactorState:
    """Factors in force, float64[n]."""

    factor: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Procyclical:
    """A factor on requirements or haircuts that follows σ. By default it is always 1.

    1. ``raw = (σ/σ_ref)^power``
    2. with weight w on the stress level: ``(1 − w)·raw + w·(σ_stress/σ_ref)^power``
    3. never below the floor, with a buffer b: ``max(f, (1 + b)·min(f, 1))``, so that in calm times
       b more is charged and it is used up before anything rises
    4. never above the cap, and moving by at most `rise_per_h` up and `fall_per_h` down in an hour

    Source: margin ``m ≈ σ̄ + θ̄|Δp|`` of Brunnermeier and Pedersen (2009) as "procyclical
    m_k(σ_t)" (cascades.md §1.3, recalled there); floor, stressed weight of 25 % and buffer of 25 %
    are the three damping tools of requirements row B15 (σ 2 % → 8 %: ratio 4.00 raw, 2.29 with 25 %
    weight, at the same peak). Their combination and the limit on speed are ours (house).

    Attributes
    ----------
    reference : float64[n] or None
        σ_ref at which the raw factor is 1, in the unit of σ; None: the factor is always 1.
    stress : float64[n] or None
        σ_stress; needed with a weight.
    weight : float
        w, 0 to 1.
    floor, cap : float
        Limits of the factor.
    buffer : float
        b ≥ 0.
    power : float
        1 for margins in proportion to volatility.
    rise_per_h, fall_per_h : float
        Relative change in an hour, at most; infinite: at once.
    """

    reference: ArrayLike | None = None
    stress: ArrayLike | None = None
    weight: float = 0.0
    floor: float = 1.0
    cap: float = float("inf")
    buffer: float = 0.0
    power: float = 1.0
    rise_per_h: float = float("inf")
    fall_per_h: float = float("inf")

    def __post_init__(self) -> None:
        if self.reference is not None:
            numbers("reference", self.reference, above=0)
        number("weight", self.weight, least=0, most=1)
        number("floor", self.floor, least=0)
        number("cap", self.cap, least=max(self.floor, 1e-300), finite=False)
        number("buffer", self.buffer, least=0)
        number("power", self.power, above=0)
        number("rise_per_h", self.rise_per_h, least=0, finite=False)
        number("fall_per_h", self.fall_per_h, least=0, finite=False)
        if self.weight > 0.0:
            if self.stress is None:
                raise CascadeError(
                    "weight on a stress level needs that level", code="CAS-001", field="stress"
                )
            numbers("stress", self.stress, least=0)

    def target(self, sigma: ArrayLike) -> Floats:
        """Return the factor at a volatility, limits on speed left aside."""
        now = numbers("sigma", sigma, least=0)
        if self.reference is None:
            return np.ones(now.shape)
        base = np.asarray(self.reference, dtype=np.float64)
        raw = (now / base) ** self.power
        if self.weight > 0.0:
            held = (np.asarray(self.stress, dtype=np.float64) / base) ** self.power
            raw = (1.0 - self.weight) * raw + self.weight * held
        found = np.maximum(raw, self.floor)
        found = np.maximum(found, (1.0 + self.buffer) * np.minimum(found, 1.0))
        return np.asarray(np.minimum(found, self.cap), dtype=np.float64)

    def start(self, sigma: ArrayLike) -> FactorState:
        """Return the factor in force at the beginning: the target at once."""
        return FactorState(factor=self.target(sigma))

    def next(self, state: FactorState, sigma: ArrayLike, dt_ns: int) -> FactorState:
        """Let a step pass at a volatility.

        Parameters
        ----------
        state : FactorState
            Before.
        sigma : array-like [n]
            In the unit of `reference`.
        dt_ns : int
            Length of the step.
        """
        target, hours = self.target(sigma), dt_ns / _HOUR_NS
        low = state.factor * max(0.0, 1.0 - self.fall_per_h * hours)
        high = state.factor * (1.0 + self.rise_per_h * hours)
        return replace(state, factor=np.clip(target, low, high))


def haircuts(base: ArrayLike, factor: ArrayLike, *, most: float = 1.0) -> Floats:
    """Return haircuts that follow a factor: ``min(most, base·factor)``, never below the base's.

    Parameters
    ----------
    base : array-like [J]
        0 to 1.
    factor : array-like [J]
        From :class:`Procyclical`; below 1 it counts as 1.
    most : float
        Largest haircut, 0 to 1; a base above it stays.
    """
    held = numbers("haircut", base, least=0, most=1)
    grown = held * np.maximum(numbers("factor", factor, least=0), 1.0)
    return np.asarray(np.maximum(held, np.minimum(grown, number("most", most, least=0, most=1))))
