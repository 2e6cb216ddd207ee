"""The index: median of fresh sources, with outliers cut and a stand-in when too few are left.

Rules: requirements rows A18 and B11; confidence filter and fallback oracle after Mango v4
(``venues.md`` §8, published). Their combination and the figures are the house's
(``trust_policy.toml``, ``docs/models/prices.md``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from crossmargin.errors import MarketDataError
from crossmargin.market.policy import Fallback, TrustPolicy
from crossmargin.market.snapshot import CONFIDENCE_ONE
from crossmargin.units import NS_PER_SECOND

#: ``trusted``: every primary source stands behind it. ``degraded``: enough do. ``untrusted``:
#: too few do, and something else stands in.
TrustState = Literal["trusted", "degraded", "untrusted"]

#: Better first.
STATES: tuple[TrustState, ...] = ("trusted", "degraded", "untrusted")

#: Where an index came from: the median of primary sources, the same with secondary ones,
#: or one of the stand-ins.
Method = Literal["median", "with-secondary", "last-good", "remaining", "any"]

#: Why a source was used or left out.
Part = Literal["used", "stale", "outlier", "unsure", "not-needed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePrint:
    """The last print of one source of an index.

    Attributes
    ----------
    name : str
        Of the source, unique in its panel.
    price_usd : float
        Positive.
    time_ns : int
        When it was printed.
    secondary : bool
        Whether it is only asked when the primary sources are too few.
    stale_after_s : float or None
        The source's own limit of age; None takes the policy's.
    deviation_usd : float or None
        Half-width of the source's own confidence interval.
    depth_usd_1pct : float or None
        Notional that moves this source by 1 %; serves the cost of an attack alone.
    """

    name: str
    price_usd: float
    time_ns: int
    secondary: bool = False
    stale_after_s: float | None = None
    deviation_usd: float | None = None
    depth_usd_1pct: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LastGood:
    """The last index that was trusted: price in US dollars and its time."""

    price_usd: float
    time_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePanel:
    """Everything an asset's index is formed and judged from.

    Attributes
    ----------
    prints : tuple of SourcePrint
        May be empty: then the asset has a price of its own and only the guard applies.
    last_good : LastGood or None
        The last trusted index, when somebody kept it.
    twap_usd : float or None
        Time-weighted average of the index over the policy's window.
    """

    prints: tuple[SourcePrint, ...] = ()
    last_good: LastGood | None = None
    twap_usd: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceReading:
    """What became of one source.

    Attributes
    ----------
    name, price_usd, secondary
        As printed.
    age_s : float
        At the market's time.
    deviation : float
        Relative to the index.
    part : {"used", "stale", "outlier", "unsure", "not-needed"}
        Whether it counts, and if not, why.
    """

    name: str
    price_usd: float
    secondary: bool
    age_s: float
    deviation: float
    part: Part


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexPrice:
    """An index and how it came about.

    Attributes
    ----------
    price_usd : float
        Positive.
    state : {"trusted", "degraded", "untrusted"}
        How far it may be trusted.
    method : str
        See :data:`Method`.
    time_ns : int
        Time of the oldest print it rests on.
    age_s : float
        Its age at the market's time.
    confidence : int
        Share of the primary sources that stand behind it, 1e-18 units; 0 for a stand-in that
        no fresh source supports.
    half_width : float
        Largest distance of a used source from the index, relative.
    readings : tuple of SourceReading
        In the order given.
    reason : str
        One clause for people; empty when trusted.
    """

    price_usd: float
    state: TrustState
    method: Method
    time_ns: int
    age_s: float
    confidence: int
    half_width: float
    readings: tuple[SourceReading, ...]
    reason: str


#: No price lies outside; ratios of prices inside are finite.
LEAST_PRICE, MOST_PRICE = 1e-15, 1e15


def within_confidence(deviation: float, price: float, conf_filter: float) -> bool:
    """Return whether a price is sure enough: ``deviation <= conf_filter × price``.

    Source: Mango v4, oracle validity (``venues.md`` §8). published
    """
    return deviation <= conf_filter * price


def age_s(time_ns: int, as_of_ns: int) -> float:
    """Return the age in seconds of something observed at `time_ns`."""
    return (as_of_ns - time_ns) / NS_PER_SECOND


def _check(prints: Sequence[SourcePrint], as_of_ns: int) -> None:
    if not prints:
        raise MarketDataError("an index needs at least one source", code="MKT-001", field="sources")
    seen: set[str] = set()
    for one in prints:
        if one.name in seen:
            raise MarketDataError(
                f"source {one.name} appears twice", code="MKT-011", field="sources"
            )
        seen.add(one.name)
        if not (LEAST_PRICE <= one.price_usd <= MOST_PRICE):
            raise MarketDataError(
                f"source {one.name} prints {one.price_usd!r}, not a possible price",
                code="MKT-009",
                field="sources",
                hint="remove the source if its price is missing; missing is not zero",
            )
        if one.time_ns > as_of_ns:
            raise MarketDataError(
                f"the print of source {one.name} lies after the market's own time",
                code="MKT-011",
                field="sources",
            )


def _standing(one: SourcePrint, as_of_ns: int, policy: TrustPolicy) -> Part:
    limit = policy.stale_after_s if one.stale_after_s is None else one.stale_after_s
    if age_s(one.time_ns, as_of_ns) > limit:
        return "stale"
    if one.deviation_usd is not None and not within_confidence(
        one.deviation_usd, one.price_usd, policy.conf_filter
    ):
        return "unsure"
    return "used"


def _inside(prints: list[SourcePrint], band: float) -> list[SourcePrint]:
    """Return the prints within `band` of their median."""
    if not prints:
        return []
    centre = median(p.price_usd for p in prints)
    return [p for p in prints if abs(p.price_usd / centre - 1.0) <= band]


def index_price(
    prints: Sequence[SourcePrint],
    as_of_ns: int,
    policy: TrustPolicy,
    *,
    last_good: LastGood | None = None,
) -> IndexPrice:
    """Form an index from the prints of its sources.

    1. Sources older than their limit are stale; those whose own deviation exceeds
       ``conf_filter × price`` are unsure.
    2. Of the rest, those farther than ``deviation_band`` from their median are cut.
    3. The median of what is left is the index, if it rests on at least ``min_fresh`` sources
       and ``min_share`` of the primary ones; else steps 1 to 3 again with secondary sources.
    4. Else the index is untrusted and the policy's fallbacks stand in, in order: the last good
       index if it is young enough, what is left of the sources, the median of all prints.

    Parameters
    ----------
    prints : sequence of SourcePrint
        At least one; their order does not matter.
    as_of_ns : int
        The market's time.
    policy : TrustPolicy
        Figures.
    last_good : LastGood, optional
        The last trusted index.

    Raises
    ------
    MarketDataError
        ``MKT-001`` no source, or none that may stand in; ``MKT-009`` impossible price;
        ``MKT-011`` a source twice or from the future.
    """
    _check(prints, as_of_ns)
    standing = {p.name: _standing(p, as_of_ns, policy) for p in prints}
    sure = [p for p in prints if standing[p.name] == "used"]
    primary = [p for p in prints if not p.secondary]
    need = max(policy.min_fresh, math.ceil(policy.min_share * len(primary) - 1e-12))
    kept = _inside([p for p in sure if not p.secondary], policy.deviation_band)
    asked = len(kept) < need
    if asked:
        kept = _inside(sure, policy.deviation_band) or kept
    state: TrustState = "trusted"
    method: Method = "with-secondary" if asked else "median"
    if len(kept) < need:
        state = "untrusted"
    elif asked or len(kept) < len(primary):
        state = "degraded"
    if state == "untrusted":
        price, time_ns, method = _stand_in(prints, kept, as_of_ns, policy, last_good)
    else:
        price, time_ns = median(p.price_usd for p in kept), min(p.time_ns for p in kept)
    behind = [] if method in ("last-good", "any") else kept
    readings = tuple(
        SourceReading(
            name=p.name,
            price_usd=p.price_usd,
            secondary=p.secondary,
            age_s=age_s(p.time_ns, as_of_ns),
            deviation=p.price_usd / price - 1.0,
            part=_part(p, standing[p.name], p in kept, asked),
        )
        for p in prints
    )
    return IndexPrice(
        price_usd=price,
        state=state,
        method=method,
        time_ns=time_ns,
        age_s=age_s(time_ns, as_of_ns),
        confidence=min(CONFIDENCE_ONE, CONFIDENCE_ONE * len(behind) // max(1, len(primary))),
        half_width=max((abs(p.price_usd / price - 1.0) for p in behind), default=0.0),
        readings=readings,
        reason=_reason(readings, need, state, method, age_s(time_ns, as_of_ns)),
    )


def _part(one: SourcePrint, standing: Part, kept: bool, asked: bool) -> Part:
    if one.secondary and not asked:
        return "not-needed"
    if standing != "used":
        return standing
    return "used" if kept else "outlier"


def _stand_in(
    prints: Sequence[SourcePrint],
    kept: list[SourcePrint],
    as_of_ns: int,
    policy: TrustPolicy,
    last_good: LastGood | None,
) -> tuple[float, int, Fallback]:
    """Return price, time and name of the first fallback that there is."""
    for way in policy.fallback:
        if way == "last-good" and last_good is not None:
            if 0 <= age_s(last_good.time_ns, as_of_ns) <= policy.last_good_max_age_s:
                return last_good.price_usd, last_good.time_ns, way
        elif way == "remaining" and kept:
            return median(p.price_usd for p in kept), min(p.time_ns for p in kept), way
        elif way == "any":
            return median(p.price_usd for p in prints), min(p.time_ns for p in prints), way
    raise MarketDataError(
        "too few sources can be used, and none of the policy's fallbacks "
        f"({', '.join(policy.fallback) or 'none'}) is there",
        code="MKT-001",
        field="sources",
        hint="refresh the sources, give a last_good index, or allow another fallback",
    )


_WORDS: dict[str, str] = {
    "last-good": "the last good index, {age:,.0f} s old, stands in",
    "remaining": "what is left of the sources stands in",
    "any": "the median of all prints, however old, stands in",
}


def _reason(
    readings: tuple[SourceReading, ...], need: int, state: str, method: str, age: float
) -> str:
    """Say in one clause what is wrong; nothing when nothing is."""
    if state == "trusted":
        return ""
    primary = [r for r in readings if not r.secondary]
    told = []
    for part, word in (("stale", "stale"), ("outlier", "cut as outlier"), ("unsure", "unsure")):
        names = [r for r in primary if r.part == part]
        if names:
            which = ", ".join(
                r.name + (f" ({r.deviation * 100:+.1f} %)" if part == "outlier" else "")
                for r in names
            )
            told.append(f"{len(names)} of {len(primary)} sources {word}: {which}")
    if method == "with-secondary":
        told.append("secondary sources stand in")
    if state == "untrusted":
        good = sum(r.part == "used" for r in readings)
        told.append(f"{good} can be used and {need} are needed")
        told.append(_WORDS[method].format(age=age))
    return "; ".join(told)
