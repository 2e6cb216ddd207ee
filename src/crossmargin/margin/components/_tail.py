"""The tail: expected shortfall of an account as a whole, leg by leg."""

from __future__ import annotations

from typing import Literal

from crossmargin.margin.components._base import PotComponent

Leg = Literal["base", "stress", "buffer", "floor", "break", "offset", "cap"]
#: Legs in the order in which they are worked out.
LEGS: tuple[Leg, ...] = ("base", "stress", "buffer", "floor", "break", "offset", "cap")


class TailLeg(PotComponent, frozen=True, kw_only=True, tag="tail"):
    """One leg of the tail of a pot; the figures are in the rule-set's section ``tail``.

    With B, T, F the expected shortfalls over the filtered past, the stressed period and the past
    at long volatility, w the stress weight, b the buffer, f the floor, and E the worst shortfall
    when dependence breaks:

    - ``base``: (1 − w)·B, ``stress``: w·T; M = base + stress
    - ``buffer``: min(b·M, max(0, (1 + b)·F − M)), added to M
    - ``floor``: max(0, f·F − M), added to M
    - ``break``: share × max(0, E − B)
    - ``offset``: max(0, (1 − cap)(Σ M_i − M) − break), M_i the same of each coin's positions alone
    - ``cap``: what all of it and the charges of the groups exceed the value of a pot that owns
      options and spot only (below 0)

    A leg that a rule-set does not list is not charged, and its figure counts as none.

    Attributes
    ----------
    leg : str
        Which.
    """

    leg: Leg
