"""Stylised facts of an event beside a run: matched, off, or not identified.

A fact that data cannot tell is not a pass. What a run cannot be held against says so with its
reason, and a band is a band: nothing here is fitted to a point.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from importlib.resources import files
from typing import Literal

import msgspec
import numpy as np

from crossmargin.cascade.crowd import gross
from crossmargin.cascade.figures import convert, parse_toml, unknown, wrong_rule
from crossmargin.cascade.outcome import Outcome
from crossmargin.cascade.population import Population
from crossmargin.cascade.result import CascadeResult
from crossmargin.figures import Data, Origin

Verdict = Literal["matched", "off", "not identified"]


class Fact(Data, frozen=True, kw_only=True):
    """One fact.

    Attributes
    ----------
    id, title : str
        Which.
    observed : str
        What was published, in words, with its quality: A recomputable, B analytics, C press.
    unit : str
        ``share``, ``s``, ``x`` (a multiple), ``USD``, ``1``.
    quality : {"A", "B", "C"}
        Of the observation.
    measure : str or None
        What of a run is held against it; None where nothing can be.
    low, high : float or None
        Band; both or neither.
    reason : str
        Why a run cannot be held against it; empty where it can.
    note : str
        What should be known.
    """

    id: str
    title: str
    observed: str
    unit: str
    quality: Literal["A", "B", "C"]
    measure: str | None = None
    low: float | None = None
    high: float | None = None
    reason: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        """Refuse a band with one end, and a fact with neither a band nor a reason."""
        if (self.low is None) != (self.high is None):
            raise ValueError("a band has two ends")
        if (self.low is None) == (not self.reason):
            raise ValueError("a fact has a band or a reason why it has none")
        if self.low is not None and (self.measure is None or self.low > (self.high or 0.0)):
            raise ValueError("a band belongs to a measure, and its ends are in order")


class FactTable(Data, frozen=True, kw_only=True):
    """A file of facts."""

    format: Literal["crossmargin-cascade-facts/1"]
    id: str
    title: str
    sources: dict[str, Origin]
    facts: list[Fact]


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """A fact beside a run.

    Attributes
    ----------
    fact : Fact
        What was published.
    simulated : float or None
        The run's figure; None where it has none.
    verdict : {"matched", "off", "not identified"}
        Whether the figure lies in the band.
    """

    fact: Fact
    simulated: float | None
    verdict: Verdict


def facts_from_toml(text: str, what: str) -> FactTable:
    """Read and check a table of facts.

    Raises
    ------
    CascadeError
        ``CAS-002`` malformed, or a measure that runs do not have.
    """
    table = convert(parse_toml(text, what), FactTable, what)
    for fact in table.facts:
        if fact.measure is not None and fact.measure not in MEASURES:
            raise wrong_rule(f"{what}: there is no measure {fact.measure!r}", f"facts.{fact.id}")
    return table


@lru_cache(maxsize=4)
def fact_table(name: str) -> FactTable:
    """Return a shipped table of facts.

    Raises
    ------
    CascadeError
        ``CAS-003`` where there is none of that name.
    """
    place = files("crossmargin.cascade") / f"facts_{name}.toml"
    if not place.is_file():
        raise unknown("table of facts", name, ["2025-10-10"])
    return facts_from_toml(place.read_text(encoding="utf-8"), f"facts_{name}.toml")


def judge(
    table: FactTable, people: Population, run: CascadeResult, made: Outcome, lead: int = 0
) -> list[Judged]:
    """Hold a run against a table of facts.

    Parameters
    ----------
    table : FactTable
        What was published.
    people, run, made
        The run, and its outcome.
    lead : int
        Asset that leads.
    """
    rows = []
    for fact in table.facts:
        value = None
        if fact.measure is not None:
            value = MEASURES[fact.measure](people, run, made, lead)
        if fact.low is None or fact.high is None:
            verdict: Verdict = "not identified"
        else:
            verdict = "matched" if value is not None and fact.low <= value <= fact.high else "off"
        rows.append(Judged(fact=fact, simulated=value, verdict=verdict))
    return rows


Measure = Callable[[Population, CascadeResult, Outcome, int], float | None]


def _field(name: str) -> Measure:
    def read(people: Population, run: CascadeResult, made: Outcome, lead: int) -> float | None:
        value = getattr(made, name)
        return None if value is None else float(value)

    return read


def _peak_minute(people: Population, run: CascadeResult, made: Outcome, lead: int) -> float | None:
    """Return the largest share of liquidations within any sixty seconds."""
    volume = (run.sold + run.bought).sum(axis=1)
    total = float(volume.sum())
    if total <= 0:
        return None
    step = float(run.times_ns[1] - run.times_ns[0]) / 1e9
    width = max(1, round(60.0 / step))
    heights = np.convolve(volume, np.ones(width))
    return float(heights.max() / total)


def _burst_adl_lag(
    people: Population, run: CascadeResult, made: Outcome, lead: int
) -> float | None:
    """Return seconds from a hundredth of everything closed by force to the first ADL."""
    adl = run.adl.sum(axis=1)
    volume = np.cumsum((run.sold + run.bought).sum(axis=1) + adl)
    first = np.flatnonzero(adl > 0)
    if not first.size:
        return None
    begun = int(np.searchsorted(volume, 0.01 * volume[-1]))
    return float(run.times_ns[first[0] + 1] - run.times_ns[begun + 1]) / 1e9


def _deficit_share(
    people: Population, run: CascadeResult, made: Outcome, lead: int
) -> float | None:
    whole = made.liquidated_usd + made.adl_usd
    return made.deficit_usd / whole if whole > 0 else None


def _adl_leverage(people: Population, run: CascadeResult, made: Outcome, lead: int) -> float | None:
    """Return the median leverage at the start of those of whom holders' positions were closed."""
    hit = np.zeros(people.size, dtype=np.bool_)
    hit[people.account[run.adl_closed > 0]] = True
    equity = people.equity()
    hit &= equity > 0
    return float(np.median(gross(people)[hit] / equity[hit])) if hit.any() else None


def _adl_in_profit(
    people: Population, run: CascadeResult, made: Outcome, lead: int
) -> float | None:
    rows = np.flatnonzero(run.adl_closed > 0)
    if not rows.size:
        return None
    low = run.price[int(run.price[:, lead].argmin())]
    gain = people.quantity[rows] * (low[people.contract[rows]] - people.entry[rows])
    return float((gain > 0).mean())


def _funding(people: Population, run: CascadeResult, made: Outcome, lead: int) -> float | None:
    """Return the lowest rate of any step, as a rate in eight hours; None where there is none."""
    if not run.funding_rate.any():
        return None
    step_h = float(run.times_ns[1] - run.times_ns[0]) / 3.6e12
    return float(run.funding_rate.min()) * 8.0 / step_h


def _rebound(people: Population, run: CascadeResult, made: Outcome, lead: int) -> float | None:
    price = run.price[:, lead]
    return float(price[-1] / price.min() - 1.0)


def _fund_used(people: Population, run: CascadeResult, made: Outcome, lead: int) -> float | None:
    return made.fund_usd / float(run.fund[0]) if run.fund[0] > 0 else None


MEASURES: dict[str, Measure] = {
    **{
        name: _field(name)
        for name in (
            "oi_drop", "adl_share", "burst", "one_sided", "depth_low", "drop",
            "amplification", "adl_overshoot",
        )
    },
    "peak_minute": _peak_minute,
    "burst_adl_lag_s": _burst_adl_lag,
    "deficit_share": _deficit_share,
    "adl_leverage": _adl_leverage,
    "adl_in_profit": _adl_in_profit,
    "funding_low_8h": _funding,
    "rebound": _rebound,
    "fund_used_share": _fund_used,
}  # fmt: skip
