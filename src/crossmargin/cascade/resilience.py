"""What becomes of a price that forced flow has moved: part of it stays, the rest decays."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from crossmargin.cascade.figures import Floats, number, value_of
from crossmargin.units import NS_PER_SECOND


def left_after(dt_ns: int, half_life_s: float) -> float:
    """Return the share of a displacement that is left: ``2^{−dt/half-life}``."""
    return float(2.0 ** (-dt_ns / NS_PER_SECOND / half_life_s))


@dataclass(frozen=True, slots=True, kw_only=True)
class Displacement:
    """How far forced flow has moved prices from where they would have been.

    Attributes
    ----------
    permanent, transient : float64[K]
        Logarithms; the book's price is ``exogenous·e^{permanent + transient}``.
    """

    permanent: Floats
    transient: Floats

    @property
    def total(self) -> Floats:
        """Both together."""
        return self.permanent + self.transient


@dataclass(frozen=True, slots=True, kw_only=True)
class Resilience:
    """What becomes of impact: a permanent share stays, the rest decays as ``e^{−ρt}``.

    By default all of it stays, as the closed forms of loop gain assume.

    Source: Obizhaeva and Wang, half-life ln 2/ρ (cascades.md §1.3, recalled there); permanent and
    temporary parts after Almgren and Chriss (the same).

    Attributes
    ----------
    permanent_share : float
        0 to 1.
    half_life_s : float
        Of the rest.
    """

    permanent_share: float = 1.0
    half_life_s: float = float("inf")

    def __post_init__(self) -> None:
        number("permanent_share", self.permanent_share, least=0, most=1)
        number("half_life_s", self.half_life_s, above=0, finite=False)

    def start(self, contracts: int) -> Displacement:
        """Return prices that nobody has moved."""
        return Displacement(permanent=np.zeros(contracts), transient=np.zeros(contracts))

    def next(self, state: Displacement, dt_ns: int) -> Displacement:
        """Let time pass."""
        return replace(state, transient=state.transient * left_after(dt_ns, self.half_life_s))

    def add(self, state: Displacement, move: Floats, *, transient: bool = False) -> Displacement:
        """Add a move: its shares, or all of it to the transient part.

        Parameters
        ----------
        state : Displacement
            Before.
        move : float64[K]
            Logarithm.
        transient : bool
            Whether nothing of it stays: what quotes that left have moved.
        """
        share = 0.0 if transient else self.permanent_share
        return Displacement(
            permanent=state.permanent + share * move,
            transient=state.transient + (1.0 - share) * move,
        )


def house_resilience(permanent_share: float | None = None) -> Resilience:
    """Return resilience with the shipped half-life.

    Parameters
    ----------
    permanent_share : float, optional
        Default the shipped 1: all impact stays, until somebody knows better.
    """
    if permanent_share is None:
        permanent_share = float(value_of("depth.toml", "permanent_share"))
    half_life = float(value_of("depth.toml", "displacement_half_life_s"))
    return Resilience(permanent_share=permanent_share, half_life_s=half_life)
