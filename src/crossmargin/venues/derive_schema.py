"""The schema ``derive-golden/1``: one recorded portfolio with its market, parameters and figures.

Every number is a decimal string unless it is a count or a number of seconds.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import msgspec

from crossmargin.errors import InputError

DERIVE_SCHEMA = "derive-golden/1"

Number = float | str
Model = Literal["pm2", "pm1", "srm"]


class _Part(msgspec.Struct, frozen=True, kw_only=True):
    """Part of a case; what it does not name (a remark, a surface's parameters) is left alone."""


class Vol(_Part, frozen=True, kw_only=True):
    """Volatility of one strike, per year."""

    strike: Number
    vol: Number


class Expiry(_Part, frozen=True, kw_only=True):
    """One expiry: forward in two portions, rate, volatilities, and how far each is trusted."""

    seconds_to_expiry: int
    forward_fixed: Number
    forward_variable: Number
    forward_confidence: Number = 1.0
    rate: Number = 0.0
    rate_confidence: Number = 1.0
    vol_confidence: Number = 1.0
    vols: list[Vol] = []


class Underlying(_Part, frozen=True, kw_only=True):
    """Feeds of one underlying; a perpetual's price of 0 means that there is none."""

    spot: Number
    spot_confidence: Number = 1.0
    perp_price: Number = 0.0
    perp_confidence: Number = 1.0
    expiries: list[Expiry] = []


class CollateralPrice(_Part, frozen=True, kw_only=True):
    """Feed of one collateral asset, US dollars."""

    asset: str
    price: Number
    confidence: Number = 1.0


class CaseMarket(_Part, frozen=True, kw_only=True):
    """Market of a case."""

    stable_price: Number
    underlyings: dict[str, Underlying]
    collateral_prices: list[CollateralPrice] = []


class CasePerp(_Part, frozen=True, kw_only=True):
    """Perpetual: profit and funding not yet paid into cash are stated."""

    underlying: str
    amount: Number
    unrealised_pnl: Number = 0.0
    unsettled_funding: Number = 0.0


class CaseOption(_Part, frozen=True, kw_only=True):
    """Option."""

    underlying: str
    seconds_to_expiry: int
    strike: Number
    type: Literal["call", "put"]
    amount: Number


class CaseBase(_Part, frozen=True, kw_only=True):
    """Collateral other than cash."""

    asset: str
    amount: Number


class CasePortfolio(_Part, frozen=True, kw_only=True):
    """What an account holds."""

    cash: Number
    perps: list[CasePerp] = []
    options: list[CaseOption] = []
    base: list[CaseBase] = []


class CaseFile(_Part, frozen=True, kw_only=True):
    """One case."""

    name: str
    model: Model
    market: CaseMarket
    portfolio: CasePortfolio
    params: dict[str, Any]
    underlying: str | None = None
    expected: dict[str, Any] | None = None
    oracle_run: dict[str, Any] | None = None
    tolerance: str = ""


def number(value: object, where: str) -> float:
    """Read a decimal string or number, refusing what is no finite number."""
    try:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError
        number = float(value)
        if not math.isfinite(number):
            raise ValueError
    except ValueError:
        raise InputError(
            f"{where} is {value!r}, not a number", code="INP-004", field=where
        ) from None
    return number


def spot_asset(underlying: str) -> str:
    """Name the asset that stands for an underlying's own feed.

    A collateral of the same name has a feed of its own, and its price may differ.
    """
    return f"{underlying}INDEX"
