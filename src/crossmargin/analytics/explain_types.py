"""What an explanation of a change of the margin says."""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

from crossmargin.margin import ParameterChange

Cause = Literal["positions", "price", "vol", "time", "parameters", "collateral and FX"]
#: In the order of the bridge; a mixture is the bits of what is today's.
CAUSES: tuple[Cause, ...] = get_args(Cause)


class _Data(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Plain immutable data."""


class CausePart(_Data, frozen=True, kw_only=True):
    """What one cause did, US dollars.

    `im_usd` and the others are its Shapley values. `alone_im_usd` is what the initial margin
    would have moved by had only this changed, `last_im_usd` what this adds once all else has:
    far apart, the cause works together with another.
    """

    cause: Cause
    im_usd: float
    mm_usd: float
    equity_im_usd: float
    equity_mm_usd: float
    alone_im_usd: float
    last_im_usd: float


class ComponentPart(_Data, frozen=True, kw_only=True):
    """One component of one group: then, now, and what each cause did to it, US dollars."""

    pot: str
    group: str
    name: str
    then_usd: float
    now_usd: float
    by_cause_usd: dict[str, float]


class PositionMove(_Data, frozen=True, kw_only=True):
    """A position that changed; quantities, 0 where there was or is none."""

    instrument: str
    pool: str
    leg: str
    then: float
    now: float


class PriceMove(_Data, frozen=True, kw_only=True):
    """Price of an asset then and now, US dollars."""

    asset: str
    then_usd: float
    now_usd: float


class Explained(_Data, frozen=True, kw_only=True):
    """The change of the requirement, shared among its causes.

    Attributes
    ----------
    account : str
        Whose.
    then, now : str
        Moments of the two markets, ISO-8601.
    ruleset_then, ruleset_now : str
        Rule-sets.
    im_then_usd, im_now_usd, mm_then_usd, mm_now_usd : float
        Requirements, open orders in the initial one.
    equity_then_usd, equity_now_usd : float
        Equity at the initial level.
    parts : list of CausePart
        The six, in the order of the bridge; each column adds up to its change.
    components : list of ComponentPart
        Components that are not 0 on both sides. What the expression and credit take or give is
        the last row.
    residual_usd : float
        Change of IM less the sum of the six: rounding.
    positions : list of PositionMove
        What was traded.
    prices : list of PriceMove
        Assets that moved.
    days : float
        Time between the two moments.
    parameters : list of ParameterChange
        Figures of the rule-set that changed.
    filled : list of str
        What only one of the markets prices, and how the other was filled in.
    revaluations : int
        Mixtures evaluated.
    """

    account: str
    then: str
    now: str
    ruleset_then: str
    ruleset_now: str
    im_then_usd: float
    im_now_usd: float
    mm_then_usd: float
    mm_now_usd: float
    equity_then_usd: float
    equity_now_usd: float
    parts: list[CausePart]
    components: list[ComponentPart]
    residual_usd: float
    positions: list[PositionMove]
    prices: list[PriceMove]
    days: float
    parameters: list[ParameterChange]
    filled: list[str]
    revaluations: int
