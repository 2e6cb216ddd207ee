"""What size costs: add-ons above a threshold, and the cost of closing what is large.

Both are measured on what an owner holds over all accounts together, so that splitting a position
over sub-accounts changes nothing.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from crossmargin.margin.components._base import (
    BaseComponent,
    Data,
    NonNegative,
    Rate,
)

Positive = Annotated[float, Meta(gt=0)]
Kinds = tuple[Literal["perpetual", "future", "option", "spot"], ...]


class SizeComponent(BaseComponent, frozen=True, kw_only=True):
    """A component of net size.

    Attributes
    ----------
    per : {"underlying", "instrument"}
        What nets: the delta of everything on one underlying, in its coins, whatever it is settled
        in; or the coins of each instrument by itself.
    aggregate : {"owner", "account"}
        ``owner``: over all accounts of one owner in the book, and handed back to the accounts on
        the side of the net position in proportion. ``account``: each account by itself.
    kinds : list of {"perpetual", "future", "option", "spot"}
        Positions that count. Coin balances never do.
    max_age_days : float
        Liquidity figures older than this are refused.
    """

    per: Literal["underlying", "instrument"] = "underlying"
    aggregate: Literal["owner", "account"] = "owner"
    kinds: Kinds = ("perpetual", "future", "option")
    max_age_days: Positive = 7.0


class SizeScale(Data, frozen=True, kw_only=True):
    """When size starts to cost, and how fast the cost grows.

    With the excess ``e = |net| − threshold`` in coins, at the price S:
    ``min(max_rate, rate·(e/threshold)^power)·e·S``, and 0 below the threshold.

    Attributes
    ----------
    threshold : float
        In units of the component's measure: days of volume, share of open interest, or US
        dollars of notional.
    rate : float
        Share of the excess that is charged where the excess is one threshold.
    power : float
        How fast that share grows, > 0.
    max_rate : float or None
        Most that is charged on the excess; None for no cap.
    """

    threshold: Positive
    rate: Rate
    power: Annotated[float, Meta(gt=0, le=4)] = 1.0
    max_rate: Rate | None = None


class Concentration(SizeComponent, frozen=True, kw_only=True, tag="concentration"):
    """Add-on for a net position beyond a threshold.

    Attributes
    ----------
    measure : {"adv", "open-interest", "usd"}
        What size is measured against.
    scales : dict of str to SizeScale
        By underlying (per instrument: by market stem first), or ``default``.
    """

    measure: Literal["adv", "open-interest", "usd"]
    scales: dict[str, SizeScale]


class ImpactScale(Data, frozen=True, kw_only=True):
    """Law of impact and pace of closing.

    Attributes
    ----------
    y, power : float
        Impact ``y·σ·(Q/ADV)^power`` as a fraction of the notional.
    participation : float
        Share of the daily volume that the closing may be.
    spread_multiple : float
        Half-spread in stress against the market's.
    risk_multiple : float
        Daily volatilities that count as the risk of a day; 0 leaves the risk out.
    covered_days : int
        Days of closing whose risk another component holds already.
    """

    y: NonNegative
    power: Annotated[float, Meta(gt=0, le=2)] = 0.5
    participation: Annotated[float, Meta(gt=0, le=1)]
    spread_multiple: NonNegative = 1.0
    risk_multiple: NonNegative = 0.0
    covered_days: Annotated[int, Meta(ge=0, le=365)] = 1


class Impact(SizeComponent, frozen=True, kw_only=True, tag="impact"):
    """Cost of closing a net position: half-spread, impact, and the risk of the days it takes.

    Attributes
    ----------
    horizon : {"whole-days", "smooth"}
        Whether days are rounded up (the cost then steps where another day begins).
    scales : dict of str to ImpactScale
        By underlying (per instrument: by market stem first), or ``default``.
    """

    horizon: Literal["whole-days", "smooth"] = "whole-days"
    scales: dict[str, ImpactScale]
