"""What the answer to a what-if question says."""

from __future__ import annotations

import msgspec

from crossmargin.margin import Fill


class _Data(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Plain immutable data."""


class Side(_Data, frozen=True, kw_only=True):
    """The account on one side of the question, US dollars.

    `available` is equity at the initial level less IM with open orders; `health` the least
    equity / MM of the pots, null where nothing is required.
    """

    equity_im_usd: float
    equity_mm_usd: float
    im_usd: float
    mm_usd: float
    available_usd: float
    health: float | None
    state: str


class ComponentChange(_Data, frozen=True, kw_only=True):
    """One component of one group (``*``: the pot as a whole) before and after, US dollars.

    A component that is a factor of the expression has no amount; its factor stands in
    `factor_im_before` and `factor_im_after`.
    """

    pot: str
    group: str
    name: str
    im_before_usd: float
    im_after_usd: float
    mm_before_usd: float
    mm_after_usd: float
    factor_im_before: float | None = None
    factor_im_after: float | None = None

    @property
    def im_change_usd(self) -> float:
        """Change of the initial side."""
        return self.im_after_usd - self.im_before_usd

    @property
    def mm_change_usd(self) -> float:
        """Change of the maintenance side."""
        return self.mm_after_usd - self.mm_before_usd


class GroupChange(_Data, frozen=True, kw_only=True):
    """One group before and after: requirement, binding scenario, sensitivities.

    `delta` in coins, `gamma` in coins per 1 % move, `vega` in US dollars per volatility point,
    `theta` in US dollars per day; each as (before, after).
    """

    pot: str
    group: str
    im_usd: tuple[float, float]
    binding: tuple[str | None, str | None]
    delta: tuple[float, float]
    gamma: tuple[float, float]
    vega_usd: tuple[float, float]
    theta_usd: tuple[float, float]


class WhatIfAnswer(_Data, frozen=True, kw_only=True):
    """What becomes of the account.

    Attributes
    ----------
    account, ruleset : str
        Whose, by which rules.
    fills : list of Fill
        The trades as booked, in their order.
    before, after : Side
        The account.
    components : list of ComponentChange
        Every component that is not 0 on both sides.
    groups : list of GroupChange
        Every group with something in it on either side.
    sentence : str
        What it comes to.
    """

    account: str
    ruleset: str
    fills: list[Fill]
    before: Side
    after: Side
    components: list[ComponentChange]
    groups: list[GroupChange]
    sentence: str
