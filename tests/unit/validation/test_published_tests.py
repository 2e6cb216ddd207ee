"""Tests of coverage and shortfall held to printed tables on other inputs, and to edge cases."""

from __future__ import annotations

import math

import numpy as np
import pytest

from crossmargin.errors import InputError
from crossmargin.validation import (
    Law,
    attribution,
    between_failures,
    binomial_upper,
    critical_value,
    duration_test,
    fz0,
    independence,
    kupiec,
    mixed_kupiec,
    power,
    procyclicality,
    simulated_statistics,
    traffic_light,
    transitions,
    tuff,
    with_stress_weight,
)
from crossmargin.validation._result import chi_square

#: Kupiec (1995), table 3, as Jorion (2007), table 6.1 reprints it: breaches N that are accepted
#: at 95 % lie strictly between the two, for T = 255, 510 and 1,000.
KUPIEC = {
    0.01: ((None, 7), (1, 11), (4, 17)),
    0.025: ((2, 12), (6, 21), (15, 36)),
    0.05: ((6, 21), (16, 36), (37, 65)),
    0.075: ((11, 28), (27, 51), (59, 92)),
    0.10: ((16, 36), (38, 65), (81, 120)),
}


@pytest.mark.parametrize("p", sorted(KUPIEC))
def test_regions_of_kupiecs_table(p: float) -> None:
    for days, (low, high) in zip((255, 510, 1_000), KUPIEC[p]):
        accepted = power(days, 1 - p).kupiec_accepts
        assert accepted[1] == high - 1
        # At 1 % and T = 255 the table says N < 7, but no breach has a ratio of 5.13 > 3.84.
        assert accepted[0] == (1 if low is None else low + 1)
    assert kupiec(0, 255, 0.99).statistic == pytest.approx(-2 * 255 * math.log(0.99))


def test_time_to_the_first_failure_of_kupiec() -> None:
    """Kupiec (1995): at 1 % a first failure from the 7th to the 438th day is accepted at 95 %."""
    rejected = [tuff(v, 0.99).rejects() for v in (6, 7, 100, 438, 439)]
    assert rejected == [True, False, False, False, True]


def test_waits_from_breach_to_breach() -> None:
    """Waits of 3, 1 and 4: three first failures. MathWorks' TBFI 88.491 of 57 has p 0.0047."""
    row = [0, 0, 1, 1, 0, 0, 0, 1, 0, 0]
    waits = between_failures(row, 0.95)
    assert waits.statistic == pytest.approx(sum(tuff(v, 0.95).statistic for v in (3, 1, 4)))
    assert waits.dof == 3
    both = mixed_kupiec(row, 0.95)
    assert both.statistic == pytest.approx(waits.statistic + kupiec(3, 10, 0.95).statistic)
    assert both.dof == 4
    assert math.isnan(between_failures([0, 0], 0.95).p_value)
    alone = mixed_kupiec([0, 0], 0.95)
    assert (alone.dof, alone.statistic) == (1, kupiec(0, 2, 0.95).statistic)
    assert round(chi_square("", 88.491, 57).p_value, 4) == 0.0047
    # Each wait is right on its own when it is 1/p long.
    assert between_failures(([0] * 19 + [1]) * 5, 0.95).statistic == pytest.approx(0.0, abs=1e-9)


def test_basels_table_of_cumulative_probabilities() -> None:
    """Basel Committee (January 1996), table 2: per cent for 0 to 10 exceptions in 250 days."""
    found = [round(100 * traffic_light(x, 250, 0.99).cumulative, 2) for x in range(11)]
    assert found == [
        8.11, 28.58, 54.32, 75.81, 89.22, 95.88, 98.63, 99.60, 99.89, 99.97, 99.99,
    ]  # fmt: skip
    # Table 1 there: rejecting from 5 on errs for 10.8 % of right models and lets 12.8 % of those
    # with 3 % of breaches pass; from 6 on, for 4.1 % and 23.7 %.
    for count, size, err, escape in ((5, 0.11, 10.8, 12.8), (6, 0.05, 4.1, 23.7)):
        assert round(100 * binomial_upper(count, 250, 0.99).p_value, 1) == err
        found = power(250, 0.99, size=size)
        assert found.most == count - 1
        assert round(100 * (1 - found.binomial[2]), 1) == escape


def test_traffic_light_of_mathworks() -> None:
    """MathWorks varbacktest, 57 of 1,043 at 95 %: green, probability 0.77913, type I 0.26396."""
    light = traffic_light(57, 1043, 0.95)
    assert (light.zone, round(light.cumulative, 5)) == ("green", 0.77913)
    assert round(binomial_upper(57, 1043, 0.95).p_value, 5) == 0.26396


@pytest.mark.parametrize("days", [1, 2, 5, 6])
def test_no_breach_is_green_in_however_few_days(days: int) -> None:
    assert traffic_light(0, days, 0.99).zone == "green"
    assert traffic_light(days, days, 0.99).zone == "red"


def test_rows_of_one_kind() -> None:
    for row in ([0], [1]):
        assert math.isnan(independence(transitions(row)).statistic)
    for row in ([0] * 9, [1] * 9):
        alike = independence(transitions(row))
        assert str(alike.statistic) == "0.0" and not alike.rejects()
    assert kupiec(1, 1, 0.99).statistic == pytest.approx(-2 * math.log(0.01))
    with pytest.raises(InputError):
        transitions([0.0, math.nan])


def test_a_metronome_has_no_shape_and_says_so() -> None:
    """All durations are 3: the likelihood has no top. vartests stops at 10 as well."""
    vartests = pytest.importorskip("vartests")
    row = np.array([0, 0, 1] * 20)
    found = duration_test(row)
    theirs = vartests.duration_test(row)
    assert found.test.statistic == pytest.approx(theirs["statistic"], abs=1e-3)
    assert "end of the range" in found.test.note
    assert duration_test([0, 0, 1, 0, 1, 0, 0, 0, 1]).test.note == ""


@pytest.mark.parametrize(
    ("dof", "five", "far"), [(5.0, -0.74, -1.9), (10.0, -0.71, -1.8), (100.0, -0.70, -1.8)]
)
def test_critical_values_of_acerbi_and_szekely(dof: float, five: float, far: float) -> None:
    """Acerbi and Székely (2014), table of Z2 at 2.5 % and T = 250, for laws between t3 and normal.

    Printed with two and one digits; the far one is a quantile of 1 in 10,000 of 100,000 draws,
    whose own error is about 0.06.
    """
    drawn = simulated_statistics(250, 0.975, draws=100_000, seed=1, law=Law(dof))["z2"]
    assert critical_value(drawn, 0.05) == pytest.approx(five, abs=0.01)
    assert critical_value(drawn, 0.0001) == pytest.approx(far, abs=0.05 + 0.12)


def test_fz0_at_975_by_hand() -> None:
    """y −1 and −3 against v −2, e −2.5: only the second is beyond v, by 1."""
    quiet = 2 / 2.5 + math.log(2.5) - 1
    found = fz0([1.0, 3.0], [2.0, 2.0], [2.5, 2.5], 0.975)
    assert found == pytest.approx([quiet, quiet + 1 / (0.025 * 2.5)])


def test_attribution_is_scipys() -> None:
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    risk = np.round(rng.normal(size=250), 1)  # with ties
    real = risk + 0.5 * rng.normal(size=250)
    found = attribution(risk, real)
    assert found.spearman == pytest.approx(stats.spearmanr(risk, real).statistic, rel=1e-12)
    assert found.kolmogorov_smirnov == pytest.approx(stats.ks_2samp(risk, real).statistic)


def test_b15_with_other_figures() -> None:
    """σ 1.5 % → 6 % with a tenth on 6 %: 6/(0.9·1.5 + 0.1·6) = 3.0769."""
    damped = with_stress_weight(np.array([0.015, 0.06]), 0.06, 0.10)
    assert procyclicality(damped).peak_to_trough == pytest.approx(6 / 1.95)
    assert procyclicality([1.0]).rise == {}
