"""Funding of perpetuals: from premium to rate, and from rate to payments.

A rate > 0 means that longs pay shorts. Every kind of formula is named; a venue is an entry of
``funding_rules.toml`` over these kinds, with its source, date and confidence.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Literal

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import ArrayLike, NDArray

from crossmargin.codec import Certainty
from crossmargin.errors import MarketDataError
from crossmargin.figures import Origin
from crossmargin.market._figures import (
    convert_rule,
    parse_toml,
    shipped_text,
    wrong_rule,
)
from crossmargin.units import NS_PER_SECOND

_HOUR_NS = 3_600 * NS_PER_SECOND

Positive = Annotated[float, Meta(gt=0)]


class _Rule(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind"
):
    """Fields of every funding rule."""

    id: str
    title: str
    source: str
    confidence: Certainty
    note: str = ""


class InterestClamp(_Rule, frozen=True, kw_only=True, tag="interest-clamp"):
    """``rate = premium + clamp(interest − premium, −band, band)`` per interval.

    Source: gate.io funding-rate history; requirements row A18. The clamp pulls the rate to the
    interest while the premium is within `band` of it.

    Attributes
    ----------
    interval_h : float
        Hours between payments.
    interest : float
        Interest per interval.
    band : float
        Clamp.
    cap : float or None
        Largest absolute rate per interval, where the venue has one.
    """

    interval_h: Positive
    interest: float
    band: Annotated[float, Meta(ge=0)]
    cap: Positive | None = None


class ImpactConvergence(_Rule, frozen=True, kw_only=True, tag="impact-convergence"):
    """``hourly rate = clamp(premium / convergence_h + static_per_h, −max_per_h, max_per_h)``.

    Source: Derive v2 (``derive-v2.md`` §5). Paid continuously through an index.

    Attributes
    ----------
    convergence_h : float
        Hours over which the premium is paid off.
    static_per_h : float
        Added to every hour's rate.
    max_per_h : float
        Largest absolute hourly rate.
    """

    convergence_h: Positive
    static_per_h: float
    max_per_h: Positive


FundingRule = InterestClamp | ImpactConvergence


class _Catalogue(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The file of funding rules."""

    format: Literal["crossmargin-funding/1"]
    sources: dict[str, Origin]
    rules: list[FundingRule]


@dataclass(frozen=True, slots=True, kw_only=True)
class FundingRate:
    """A rate per interval, and how it came about.

    Attributes
    ----------
    rate : float
        Fraction of notional per `hours`; > 0 when longs pay.
    hours : float
        Interval.
    premium : float
        What it was formed from.
    clamped : bool
        Whether a cap on the rate itself was reached.
    """

    rate: float
    hours: float
    premium: float
    clamped: bool

    @property
    def rate_8h(self) -> float:
        """The same per eight hours, without compounding: what a market file takes."""
        return self.rate * 8.0 / self.hours


def funding_rules_from_toml(text: str, what: str = "funding rules") -> dict[str, FundingRule]:
    """Read and check a catalogue of funding rules.

    Raises
    ------
    MarketDataError
        ``MKT-014`` malformed, out of range, an id twice or a source that is not listed.
    """
    found: dict[str, FundingRule] = {}
    data = convert_rule(parse_toml(text, what), _Catalogue, what)
    for rule in data.rules:
        if rule.id in found:
            raise wrong_rule(f"{what}: rule {rule.id!r} appears twice", "rules")
        if rule.source not in data.sources:
            raise wrong_rule(
                f"{what}: rule {rule.id!r} names the source {rule.source!r}, which is not listed",
                f"rules.{rule.id}.source",
            )
        found[rule.id] = rule
    return found


@lru_cache(maxsize=1)
def _shipped() -> dict[str, FundingRule]:
    return funding_rules_from_toml(shipped_text("funding_rules.toml"), "funding_rules.toml")


def funding_rule_ids() -> list[str]:
    """Return the ids of the shipped funding rules, sorted."""
    return sorted(_shipped())


def funding_rule(name: str) -> FundingRule:
    """Return a shipped funding rule.

    Raises
    ------
    MarketDataError
        ``MKT-014`` when there is none of that name.
    """
    rule = _shipped().get(name)
    if rule is None:
        raise MarketDataError(
            f"there is no funding rule called {name!r}",
            code="MKT-014",
            field="funding",
            hint="one of " + ", ".join(funding_rule_ids()),
        )
    return rule


def impact_premium(impact_bid: float, impact_ask: float, index: float) -> float:
    """Return the premium of a book over its index, relative.

    ``(max(impact bid − index, 0) − max(index − impact ask, 0)) / index``; impact prices are the
    average fill of a stated notional on each side. Source: Derive v2 (``derive-v2.md`` §5).
    published

    Raises
    ------
    MarketDataError
        ``MKT-009`` impossible price, ``MKT-010`` impact bid above impact ask.
    """
    for name, value in (("bid", impact_bid), ("ask", impact_ask), ("index", index)):
        if not (math.isfinite(value) and value > 0):
            raise MarketDataError(
                f"the impact premium needs positive prices, {name} is {value!r}",
                code="MKT-009",
                field=name,
            )
    if impact_bid > impact_ask:
        raise MarketDataError(
            f"impact prices are crossed: bid {impact_bid:g} above ask {impact_ask:g}",
            code="MKT-010",
            field="impact_bid",
        )
    return (max(impact_bid - index, 0.0) - max(index - impact_ask, 0.0)) / index


def _clamp(value: float, limit: float) -> float:
    return min(max(value, -limit), limit)


def funding_rate(rule: FundingRule, premium: float) -> FundingRate:
    """Form the funding rate of one interval.

    Parameters
    ----------
    rule : FundingRule
        Formula and figures.
    premium : float
        Relative, for example 0.001; how a venue averages it within the interval is its own.

    Raises
    ------
    MarketDataError
        ``MKT-009`` when the premium is not finite.
    """
    if not math.isfinite(premium):
        raise MarketDataError(
            f"the premium is {premium!r}, not a number", code="MKT-009", field="premium"
        )
    match rule:
        case InterestClamp():
            free = premium + _clamp(rule.interest - premium, rule.band)
            hours, limit = rule.interval_h, math.inf if rule.cap is None else rule.cap
        case ImpactConvergence():
            free = premium / rule.convergence_h + rule.static_per_h
            hours, limit = 1.0, rule.max_per_h
    rate = _clamp(free, limit)
    return FundingRate(rate=rate, hours=hours, premium=premium, clamped=rate != free)


def funding_cash(
    quantity: ArrayLike, mark: ArrayLike, rate: ArrayLike, *, inverse: bool = False
) -> NDArray[np.float64]:
    """Return what each position receives (+) or pays (−) for one interval.

    Linear: ``−q·mark·rate`` in the quote currency, q in coins. Inverse: ``−(q/mark)·rate`` in
    coin, q in US dollars. Over all accounts of a contract quantities sum to zero, and so do
    payments. Source: requirements row A18.

    Parameters
    ----------
    quantity, mark, rate : array-like, broadcast
        Signed quantity, positive mark, rate of the interval.
    inverse : bool
        Whether the contract is settled in its coin.

    Raises
    ------
    MarketDataError
        ``MKT-009`` for a mark that is not a positive price, or anything not finite.
    """
    q, p, r = (np.asarray(x, dtype=np.float64) for x in (quantity, mark, rate))
    if not (np.isfinite(q).all() and np.isfinite(r).all() and np.isfinite(p).all()):
        raise MarketDataError("funding needs finite numbers", code="MKT-009", field="funding")
    if (p <= 0).any():
        raise MarketDataError(
            "funding needs positive marks; missing is not zero", code="MKT-009", field="mark"
        )
    return np.asarray(-(q / p) * r if inverse else -q * p * r, dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class FundingIndex:
    """Funding that has grown up per contract, US dollars per coin, since the index began."""

    value: float
    time_ns: int

    def accrue(self, rate_per_h: float, index_usd: float, time_ns: int) -> FundingIndex:
        """Let it grow by ``rate × elapsed / 1 h × index`` (Derive v2, §5).

        Raises
        ------
        MarketDataError
            ``MKT-006`` when the time lies before the last, ``MKT-009`` for impossible figures.
        """
        if time_ns < self.time_ns:
            raise MarketDataError(
                "funding cannot accrue backwards", code="MKT-006", field="time_ns"
            )
        if not (math.isfinite(rate_per_h) and math.isfinite(index_usd) and index_usd > 0):
            raise MarketDataError(
                "funding needs a finite rate and a positive index", code="MKT-009", field="funding"
            )
        grown = rate_per_h * (time_ns - self.time_ns) / _HOUR_NS * index_usd
        return FundingIndex(value=self.value + grown, time_ns=time_ns)


def funding_since(quantity: float, before: FundingIndex, now: FundingIndex) -> float:
    """Return what a position received (+) or paid (−) between two states: ``−q·(change)``."""
    return -quantity * (now.value - before.value)
