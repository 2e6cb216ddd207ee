"""Volatility along a path: what a move is measured against, and what margins follow."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from crossmargin.cascade.figures import Floats, number, numbers
from crossmargin.errors import CascadeError


@dataclass(frozen=True, slots=True, kw_only=True)
class VolatilityState:
    """What has happened so far.

    Attributes
    ----------
    variance : float64[J]
        Per step, known before the next return.
    recent : float64[w, J]
        Returns of the last w steps, oldest first.
    """

    variance: Floats
    recent: Floats

    @property
    def sigma(self) -> Floats:
        """Standard deviation of the next step's return, float64[J]."""
        return np.asarray(np.sqrt(self.variance), dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Volatility:
    """Exponentially weighted volatility, and moves in units of it.

    ``σ²_{t+1} = λσ²_t + (1 − λ)r_t²`` (RiskMetrics 1996, clearing-practice §1.6, published: the
    recursion of :func:`crossmargin.stats.ewma_volatility`, one step at a time). A move over w
    steps is ``z = Σ r / (σ√w)`` with the σ from before the last of them.

    Attributes
    ----------
    start_sigma : float64[J]
        Per step, a decimal.
    decay : float
        λ in (0, 1]; 1 (default) keeps volatility as it starts.
    window : int
        Steps that a move is measured over: five minutes' worth for the withdrawal of quotes.
    """

    start_sigma: ArrayLike
    decay: float = 1.0
    window: int = 1

    def __post_init__(self) -> None:
        numbers("start_sigma", self.start_sigma, least=0)
        number("decay", self.decay, above=0, most=1)
        if self.window < 1:
            raise CascadeError(
                "a move is measured over at least one step", code="CAS-001", field="window"
            )

    def start(self) -> VolatilityState:
        """Return the state before anything has happened."""
        sigma = np.asarray(self.start_sigma, dtype=np.float64)
        return VolatilityState(variance=sigma**2, recent=np.zeros((self.window, sigma.size)))

    def next(self, state: VolatilityState, returns: Floats) -> tuple[VolatilityState, Floats]:
        """Take a step's returns.

        Parameters
        ----------
        state : VolatilityState
            Before it.
        returns : float64[J]
            Log-returns.

        Returns
        -------
        state : VolatilityState
            After it.
        z : float64[J]
            The move against volatility; 0 where nothing moved, infinite where something did
            that never had.
        """
        recent = np.concatenate([state.recent[1:], returns[None, :]])
        moved = recent.sum(axis=0)
        unit = state.sigma * np.sqrt(float(self.window))
        surprise = np.where(moved == 0.0, 0.0, np.copysign(np.inf, moved))
        z = np.divide(moved, unit, out=surprise, where=unit > 0)
        variance = self.decay * state.variance + (1.0 - self.decay) * returns**2
        return replace(state, variance=variance, recent=recent), z
