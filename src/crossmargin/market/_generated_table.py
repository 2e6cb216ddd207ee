"""The figures of the made-up market, as they stand in ``generated_market.toml``."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from crossmargin.codec import Certainty
from crossmargin.market._figures import convert_rule, parse_toml, shipped_text

_FILE = "generated_market.toml"

Positive = Annotated[float, Meta(gt=0)]


class _Data(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Strict data."""


class _Source(_Data, frozen=True, kw_only=True):
    title: str
    date: str
    confidence: Certainty


class _Calendar(_Data, frozen=True, kw_only=True):
    as_of: str
    expiry_days: list[int]
    future_days: list[int]


class _Shape(_Data, frozen=True, kw_only=True):
    rho: Annotated[float, Meta(gt=-1, lt=1)]
    eta: Positive
    vol_decay_years: Positive
    strike_width: Positive


class _Noise(_Data, frozen=True, kw_only=True):
    price: float
    vol: float
    basis: float
    perpetual: float
    funding_8h: float


class GeneratedUnderlying(_Data, frozen=True, kw_only=True):
    """An underlying: volatilities and basis per year, `options` its share of the chains."""

    asset: str
    price_usd: Positive
    vol_short: Positive
    vol_long: Positive
    basis: float
    options: Positive
    inverse: bool
    adv_usd: Positive
    open_interest_usd: Positive
    half_spread: Positive


class GeneratedTable(_Data, frozen=True, kw_only=True):
    """The whole file."""

    format: Literal["crossmargin-generated-market/1"]
    id: str
    title: str
    source: _Source
    calendar: _Calendar
    dollars: dict[str, Positive]
    shape: _Shape
    noise: _Noise
    underlyings: list[GeneratedUnderlying]


@lru_cache(maxsize=1)
def generated_table() -> GeneratedTable:
    """Return the figures, checked."""
    return convert_rule(parse_toml(shipped_text(_FILE), _FILE), GeneratedTable, _FILE)
