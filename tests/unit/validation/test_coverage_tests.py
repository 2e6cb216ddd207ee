"""Tests of coverage against published figures, vartests, and plain loops."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from crossmargin.errors import InputError
from crossmargin.validation import (
    Transitions,
    binomial_upper,
    conditional_coverage,
    duration_test,
    durations,
    first_breach,
    independence,
    kupiec,
    power,
    traffic_light,
    transitions,
    tuff,
)


def test_kupiec_reproduces_published_figures() -> None:
    mathworks = kupiec(57, 1043, 0.95)
    assert round(mathworks.statistic, 5) == 0.46147
    assert round(mathworks.p_value, 5) == 0.49694
    assert round(kupiec(6, 252, 0.99).statistic, 3) == 3.499  # Jorion


def test_no_breach_at_all_is_no_error_and_rejects_two_sided_only() -> None:
    none = kupiec(0, 250, 0.99)
    assert round(none.statistic, 2) == 5.03
    assert none.rejects()
    assert binomial_upper(0, 250, 0.99).p_value == 1.0
    assert kupiec(250, 250, 0.99).statistic == pytest.approx(-500 * math.log(0.01))


@pytest.mark.parametrize(
    ("counts", "statistic", "digits"),
    [
        ((932, 53, 53, 4), 0.25866, 5),  # MathWorks
        ((244, 2, 2, 4), 25.837, 3),  # Jorion
        ((218, 14, 14, 6), 9.53, 2),  # JPM 1998
    ],
)
def test_independence_reproduces_published_figures(
    counts: tuple[int, int, int, int], statistic: float, digits: int
) -> None:
    n00, n01, n10, n11 = counts
    made = independence(Transitions(n00=n00, n01=n01, n10=n10, n11=n11))
    assert round(made.statistic, digits) == statistic


def row_with(n00: int, n01: int, n10: int, n11: int) -> np.ndarray:
    """Build a row of hits that has these transitions: runs of hits among quiet days."""
    assert n01 == n10
    row = [0]
    for k in range(n01):
        row += [1] * (1 + (n11 if k == 0 else 0)) + [0]
    return np.array(row + [0] * (n00 - row.count(0) + 1 + n01))


def test_conditional_coverage_adds_both_on_a_row_with_mathworks_transitions() -> None:
    row = row_with(932, 53, 53, 4)
    seen = transitions(row)
    assert (seen.n00, seen.n01, seen.n10, seen.n11) == (932, 53, 53, 4)
    assert (row.size, int(row.sum())) == (1043, 57)
    both = conditional_coverage(row, 0.95)
    assert round(both.statistic, 5) == 0.72013
    assert round(both.p_value, 5) == 0.69763
    assert both.dof == 2


def test_clustered_breaches_with_the_right_count_fail_independence() -> None:
    """Requirements B14: the count is exactly right, and the cluster is seen."""
    row = np.zeros(1000, dtype=int)
    row[500:510] = 1
    assert kupiec(10, 1000, 0.99).statistic == pytest.approx(0.0, abs=1e-9)
    assert independence(transitions(row)).p_value < 1e-10
    assert duration_test(row).test.p_value < 1e-3
    assert duration_test(row).shape < 0.6
    spread = np.zeros(1000, dtype=int)
    spread[50::100] = 1
    assert not independence(transitions(spread)).rejects()


def test_independence_against_a_plain_product_of_probabilities() -> None:
    rng = np.random.default_rng(3)
    row = rng.random(400) < 0.1
    pairs = list(itertools.pairwise(row))
    pi = sum(b for _, b in pairs) / len(pairs)
    rate = {
        a: sum(bool(y) for x, y in pairs if bool(x) is a) / sum(bool(x) is a for x, _ in pairs)
        for a in (False, True)
    }
    null = sum(math.log(pi if b else 1 - pi) for _, b in pairs)
    free = sum(math.log(rate[bool(a)] if b else 1 - rate[bool(a)]) for a, b in pairs)
    assert independence(transitions(row)).statistic == pytest.approx(-2 * (null - free))


def test_tuff_reproduces_mathworks() -> None:
    made = tuff(58, 0.95)
    assert round(made.statistic, 4) == 1.7354
    assert round(made.p_value, 5) == 0.18773
    assert first_breach([0, 0, 1, 1]) == 3
    assert first_breach([0, 0]) is None
    assert tuff(1, 0.99).statistic == pytest.approx(-2 * math.log(0.01))


def test_traffic_light_zones_at_250_days() -> None:
    assert traffic_light(5, 250, 0.99).cumulative == pytest.approx(0.9588, abs=5e-5)
    zones = [traffic_light(x, 250, 0.99).zone for x in range(13)]
    assert zones == ["green"] * 5 + ["yellow"] * 5 + ["red"] * 3


def test_power_and_the_accepted_counts_of_the_requirements() -> None:
    """Requirements A11: Kupiec accepts 1 to 6 breaches in 250 days, 5 to 16 in 1,000."""
    assert power(250, 0.99).kupiec_accepts == (1, 6)
    assert power(1000, 0.99).kupiec_accepts == (5, 16)
    assert power(1000, 0.99).binomial[1] > power(250, 0.99).binomial[1]


def test_power_against_vartests_and_a_sum() -> None:
    vartests = pytest.importorskip("vartests")
    mine = power(250, 0.99)
    other = vartests.binomial_power(250, 0.99, [0.01, 0.02, 0.03])
    assert list(mine.binomial) == pytest.approx(list(other["power"].values()))
    n, q = 250, 0.03
    inside = sum(math.comb(n, x) * q**x * (1 - q) ** (n - x) for x in range(1, 7))
    assert mine.kupiec[2] == pytest.approx(1 - inside)


def test_count_tests_against_vartests() -> None:
    vartests = pytest.importorskip("vartests")
    for x, n in [(0, 250), (3, 250), (9, 250), (30, 1000)]:
        theirs = vartests.kupiec_test(x=x, n=n, risk_conf_level=0.99)
        assert kupiec(x, n, 0.99).statistic == pytest.approx(theirs["statistic"], abs=1e-9)
        exact = vartests.binomial_test(x=x, n=n, risk_conf_level=0.99, alternative="greater")
        assert binomial_upper(x, n, 0.99).p_value == pytest.approx(exact["p-value"])


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_durations_against_vartests(seed: int) -> None:
    vartests = pytest.importorskip("vartests")
    rng = np.random.default_rng(seed)
    row = (rng.random(600) < 0.04).astype(int)
    theirs = vartests.duration_test(row)
    mine = duration_test(row)
    assert mine.shape == pytest.approx(theirs["weibull shape (b)"], rel=1e-4)
    assert mine.test.statistic == pytest.approx(theirs["statistic"], abs=1e-6)


def test_durations_are_censored_at_the_ends() -> None:
    days, censored = durations([0, 1, 0, 0, 1, 0])
    assert days.tolist() == [2.0, 3.0, 1.0]
    assert censored.tolist() == [True, False, True]
    assert math.isnan(duration_test([0, 0, 0]).test.p_value)
    assert math.isnan(duration_test([0, 1, 0]).shape)


@pytest.mark.parametrize("bad", [(-1, 10, 0.99), (11, 10, 0.99), (1, 0, 0.99), (1, 10, 1.0)])
def test_impossible_counts_are_refused(bad: tuple[int, int, float]) -> None:
    with pytest.raises(InputError):
        kupiec(*bad)


def test_what_is_no_row_of_hits_is_refused() -> None:
    for row in ([], [0, 2], [[0, 1]]):
        with pytest.raises(InputError):
            transitions(row)
