"""Is the number of breaches right, and are they spread out: tests of coverage.

A breach (hit) is an observation whose loss is larger than what was held against it. All tests
take losses as positive numbers and `level` as the confidence, for example 0.99, so a breach has
probability ``p = 1 − level`` under a right model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from crossmargin.validation._result import (
    TestResult,
    as_hits,
    check_count,
    check_level,
    chi_square,
)


def _xlogy(count: float, share: float) -> float:
    """Return ``count·ln(share)`` with 0·ln 0 = 0."""
    return 0.0 if count == 0 else count * math.log(share) if share > 0 else -math.inf


def kupiec(breaches: int, observations: int, level: float) -> TestResult:
    """Test the proportion of failures: Kupiec's POF.

    ``−2 ln[(1−p)^{n−x} p^x / ((1−x/n)^{n−x} (x/n)^x)]``, χ²(1). Two-sided: no breach at all in
    250 days at 99 % has a ratio of 5.03 and rejects. For margin that is a finding (it costs too
    much), not a failure; see :func:`binomial_upper`.

    Source: Kupiec (1995), clearing-practice §2 (published; checked against MathWorks and Jorion).
    """
    p = check_level(level)
    check_count(breaches, observations)
    x, n = breaches, observations
    rate = x / n
    null = _xlogy(n - x, 1.0 - p) + _xlogy(x, p)
    free = _xlogy(n - x, 1.0 - rate) + _xlogy(x, rate)
    return chi_square("Kupiec POF", -2.0 * (null - free), 1)


def binomial_upper(breaches: int, observations: int, level: float) -> TestResult:
    """Test, exactly and from one side, whether there are too many breaches: P(X ≥ x).

    Source: the binomial law, clearing-practice §2 ("report one-sided binomial too").
    """
    from scipy.special import bdtrc

    p = check_level(level)
    check_count(breaches, observations)
    tail = 1.0 if breaches == 0 else float(bdtrc(breaches - 1, observations, p))
    return TestResult(name="binomial, too many", statistic=float(breaches), p_value=tail)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficLight:
    """Zone of the Basel traffic light.

    Attributes
    ----------
    zone : str
        ``green``, ``yellow`` or ``red``.
    cumulative : float
        P(X ≤ x) under a right model.
    yellow_from, red_from : int
        Fewest breaches that are yellow and red at this number of observations.
    """

    zone: str
    cumulative: float
    yellow_from: int
    red_from: int


def traffic_light(breaches: int, observations: int, level: float) -> TrafficLight:
    """Return the zone: green below 95 % of the binomial law, red from 99.99 %.

    No breach at all is green however short the test (house): below six observations at 99 % the
    law alone would call it yellow, because P(X ≤ 0) is 95 % and more there.

    Source: Basel Committee (1996), clearing-practice §2 (published): 0–4, 5–9 and 10 or more of
    250 at 99 %; F(5) = 95.88 %.
    """
    from scipy.special import bdtr

    p = check_level(level)
    check_count(breaches, observations)
    laws = np.asarray(bdtr(np.arange(observations + 1, dtype=np.float64), observations, p))
    yellow = max(int(np.argmax(laws >= 0.95)), 1)
    red = max(int(np.argmax(laws >= 0.9999)), 1)
    zone = "green" if breaches < yellow else "yellow" if breaches < red else "red"
    return TrafficLight(
        zone=zone, cumulative=float(laws[breaches]), yellow_from=yellow, red_from=red
    )


def first_breach(hits: ArrayLike) -> int | None:
    """Return the number of the first observation that breached, counted from 1."""
    row = as_hits(hits)
    return int(np.argmax(row)) + 1 if row.any() else None


def tuff(first: int, level: float) -> TestResult:
    """Test the time until the first failure.

    ``−2 ln[p(1−p)^{v−1} / ((1/v)(1−1/v)^{v−1})]``, χ²(1). One observation decides, so its power
    is little. Source: Kupiec (1995), clearing-practice §2 (published; MathWorks' 1.7354 for a
    first failure on day 58 at 95 %).

    Parameters
    ----------
    first : int
        Number of the first observation that breached, counted from 1.
    level : float
        Confidence.
    """
    p = check_level(level)
    check_count(1, first)
    null = math.log(p) + _xlogy(first - 1, 1.0 - p)
    free = -math.log(first) + _xlogy(first - 1, 1.0 - 1.0 / first)
    return chi_square("TUFF", -2.0 * (null - free), 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transitions:
    """How often each kind of day followed each kind: n01 is a breach after a day without."""

    n00: int
    n01: int
    n10: int
    n11: int


def transitions(hits: ArrayLike) -> Transitions:
    """Count the n − 1 transitions of a row of hits.

    The first observation has no day before it, so n observations give n − 1 transitions
    (MathWorks counts so; Jorion's example has n of them). House convention, stated as
    clearing-practice §2 asks.
    """
    row = as_hits(hits).astype(np.int64)
    pair = np.bincount(2 * row[:-1] + row[1:], minlength=4)
    return Transitions(n00=int(pair[0]), n01=int(pair[1]), n10=int(pair[2]), n11=int(pair[3]))


def independence(counts: Transitions) -> TestResult:
    """Test whether a breach is likelier after a breach: Christoffersen's independence test.

    ``−2 ln[(1−π)^{n00+n10} π^{n01+n11} / ((1−π01)^{n00} π01^{n01} (1−π11)^{n10} π11^{n11})]``,
    χ²(1). Without a breach that was followed by another day the ratio is 0: nothing speaks
    against independence. Source: Christoffersen (1998), clearing-practice §2 (published).
    """
    c = counts
    after_quiet, after_hit = c.n00 + c.n01, c.n10 + c.n11
    both = after_quiet + after_hit
    if both == 0:
        return chi_square("Christoffersen independence", math.nan, 1, "no transition")
    pi = (c.n01 + c.n11) / both
    pi01 = c.n01 / after_quiet if after_quiet else 0.0
    pi11 = c.n11 / after_hit if after_hit else 0.0
    null = _xlogy(c.n00 + c.n10, 1.0 - pi) + _xlogy(c.n01 + c.n11, pi)
    free = (
        _xlogy(c.n00, 1.0 - pi01)
        + _xlogy(c.n01, pi01)
        + _xlogy(c.n10, 1.0 - pi11)
        + _xlogy(c.n11, pi11)
    )
    return chi_square("Christoffersen independence", -2.0 * (null - free), 1)


def conditional_coverage(hits: ArrayLike, level: float) -> TestResult:
    """Test count and independence together: POF over n plus independence over n − 1, χ²(2).

    Source: Christoffersen (1998), clearing-practice §2 (published).
    """
    row = as_hits(hits)
    count = kupiec(int(row.sum()), row.size, level)
    apart = independence(transitions(row))
    return chi_square("conditional coverage", count.statistic + apart.statistic, 2)
