"""A step in volatility: what the impulse response answers to."""

from __future__ import annotations

from dataclasses import dataclass

from crossmargin.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The step in volatility.

    Attributes
    ----------
    before, after : float
        Daily volatility before and after, decimal.
    calm_days, days : int
        Days before the step, and after it.
    paths : int
        Drawn and averaged.
    seed : int
        Of the draws.
    """

    before: float = 0.02
    after: float = 0.04
    calm_days: int = 1_000
    days: int = 1_300
    paths: int = 60
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what is no step."""
        positive = self.before > 0 and self.after > 0 and self.before != self.after
        if not positive or self.calm_days < 2 or self.days < 20 or self.paths < 1:
            raise InputError(
                "a step needs two different positive volatilities, days before and after it "
                "(at least 20) and a path",
                code="INP-004",
                field="step",
            )
