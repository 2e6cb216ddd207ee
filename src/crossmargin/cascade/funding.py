"""Funding along a path: a premium that opens in a crash becomes a rate, and a rate payments.

When forced sales hold the book below its index the premium is negative, shorts pay longs, and
what is paid is taken from and given to equity: that is the feedback. Rates and payments are those
of the market room.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from crossmargin.cascade.figures import Floats, number, value_of
from crossmargin.market import FundingRule, funding_cash, funding_rate
from crossmargin.market import funding_rule as market_rule
from crossmargin.units import NS_PER_SECOND

_HOUR_NS = 3_600 * NS_PER_SECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class FundingState:
    """Premium that counts, float64[K]: averaged up to now."""

    premium: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Funding:
    """Premium → average → rate → payments. By default there is no funding.

    Source: rates of :func:`crossmargin.market.funding_rate` (requirements row A18); cap from
    cascades.md design table (secondary); the average is an exponential one (house: venues average
    over an interval in ways of their own).

    Attributes
    ----------
    rule : FundingRule or None
        Formula; None: no funding.
    cap_8h : float
        Largest absolute rate in eight hours; infinite: what the rule has.
    average_s : float
        Time constant of the premium's average; 0 takes the premium of the moment.
    """

    rule: FundingRule | None = None
    cap_8h: float = float("inf")
    average_s: float = 0.0

    def __post_init__(self) -> None:
        number("cap_8h", self.cap_8h, least=0, finite=False)
        number("average_s", self.average_s, least=0)

    def start(self, contracts: int) -> FundingState:
        """Return the state without any premium."""
        return FundingState(premium=np.zeros(contracts))

    def next(self, state: FundingState, premium: Floats, dt_ns: int) -> tuple[FundingState, Floats]:
        """Take a step's premium.

        Parameters
        ----------
        state : FundingState
            Before.
        premium : float64[K]
            ``book / index − 1`` over the step.
        dt_ns : int
            Its length.

        Returns
        -------
        state : FundingState
            After.
        rate_per_h : float64[K]
            Fraction of notional per hour; > 0: longs pay.
        """
        kept = 0.0
        if self.average_s > 0.0:
            kept = float(np.exp(-dt_ns / NS_PER_SECOND / self.average_s))
        averaged = kept * state.premium + (1.0 - kept) * premium
        after = replace(state, premium=averaged)
        if self.rule is None:
            return after, np.zeros(premium.size)
        found = [funding_rate(self.rule, float(x)) for x in averaged]
        per_h = np.array([f.rate / f.hours for f in found])
        return after, np.clip(per_h, -self.cap_8h / 8.0, self.cap_8h / 8.0)


def usd_per_coin(rate_per_h: Floats, mark: Floats, dt_ns: int) -> Floats:
    """Return what holding one coin long receives in a step, float64[K]: ``−mark·rate·dt``.

    A position of q receives q times that, and as positions sum to zero so do payments.

    Parameters
    ----------
    rate_per_h : float64[K]
        From :meth:`Funding.next`.
    mark : float64[K]
        US dollars.
    dt_ns : int
        Length of the step. Funding is taken as paid continuously.
    """
    return funding_cash(np.ones(mark.size), mark, rate_per_h * (dt_ns / _HOUR_NS))


def october_2025() -> Funding:
    """Return a rule with a published clamp form and the cap seen in October 2025."""
    return Funding(
        rule=market_rule(str(value_of("market.toml", "funding_rule"))),
        cap_8h=float(value_of("market.toml", "funding_cap_8h")),
        average_s=float(value_of("market.toml", "premium_average_s")),
    )
