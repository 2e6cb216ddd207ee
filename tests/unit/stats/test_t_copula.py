"""The t copula: published tables, other packages' densities, simulation, and its fit."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import optimize, stats

from crossmargin.errors import InvariantViolation
from crossmargin.stats import (
    copula_uniforms,
    fit_t_copula,
    joint_excess,
    pseudo_uniforms,
    rank_correlation,
    t_copula_density,
    tail_dependence,
)

#: McNeil, Frey and Embrechts (2005), table 5.1: λ by ν and ρ, two digits (cited from memory of the
#: book, no copy at hand: secondary).
TABLE_51 = {
    2.0: (0.06, 0.18, 0.39, 0.72, 1.0),
    4.0: (0.01, 0.08, 0.25, 0.63, 1.0),
    10.0: (0.00, 0.01, 0.08, 0.46, 1.0),
    math.inf: (0.0, 0.0, 0.0, 0.0, 1.0),
}
#: The same, table 5.2: joint exceedance of a Gaussian copula at 95, 99, 99.5 and 99.9 %, and what a
#: t copula's is as a multiple of it.
TABLE_52 = {
    0.5: ((1.21e-2, 1.29e-3, 4.96e-4, 5.42e-5), {
        8.0: (1.20, 1.65, 1.94, 3.01), 4.0: (1.39, 2.22, 2.79, 4.86),
        3.0: (1.50, 2.55, 3.26, 5.83)}),
    0.7: ((1.95e-2, 2.67e-3, 1.14e-3, 1.60e-4), {
        8.0: (1.11, 1.33, 1.46, 1.86), 4.0: (1.21, 1.60, 1.82, 2.52),
        3.0: (1.27, 1.74, 2.01, 2.83)}),
}  # fmt: skip
TAILS = (0.05, 0.01, 0.005, 0.001)
R = np.array([[1.0, 0.6, 0.2], [0.6, 1.0, -0.3], [0.2, -0.3, 1.0]])


@pytest.mark.parametrize("degrees", TABLE_51)
def test_published_tail_dependence(degrees: float) -> None:
    found = tail_dependence([-0.5, 0.0, 0.5, 0.9, 1.0], degrees)
    assert found == pytest.approx(TABLE_51[degrees], abs=0.005)


@pytest.mark.parametrize("rho", TABLE_52)
def test_published_joint_exceedance(rho: float) -> None:
    """To the last digit given, but for one: 3.0006 where the book is remembered to say 3.01."""
    plain = [joint_excess(rho, math.inf, tail) for tail in TAILS]
    assert plain == pytest.approx(TABLE_52[rho][0], rel=0.01)
    for degrees, ratios in TABLE_52[rho][1].items():
        found = [joint_excess(rho, degrees, t) / p for t, p in zip(TAILS, plain)]
        assert found == pytest.approx(ratios, abs=0.011)


@pytest.mark.parametrize("degrees, rho", [(3.0, 0.5), (5.0, 0.0), (8.0, 0.8)])
def test_the_limit_of_joint_excess_is_lambda(degrees: float, rho: float) -> None:
    """P(both below)/q falls to λ, each step nearer; scipy's bivariate t gives the same at 1 %."""
    far = [joint_excess(rho, degrees, q) / q for q in (1e-2, 1e-4, 1e-6, 1e-9)]
    limit = float(tail_dependence(rho, degrees))
    gaps = [one - limit for one in far]
    assert all(a > b > 0 for a, b in itertools.pairwise(gaps)) and gaps[-1] < 5e-3
    x = stats.t.ppf(0.01, degrees)
    law = stats.multivariate_t(shape=[[1, rho], [rho, 1]], df=degrees, seed=1)
    assert far[0] * 0.01 == pytest.approx(law.cdf([x, x], maxpts=200_000), rel=2e-3)


@pytest.mark.parametrize("degrees", [4.0, math.inf])
def test_simulated_extremes_come_together_as_often(degrees: float) -> None:
    """Beyond 1 % jointly, within three standard errors of the integral; both tails."""
    n = 400_000
    u = copula_uniforms([[1, 0.5], [0.5, 1]], n, degrees=degrees, seed=5)
    p = joint_excess(0.5, degrees, 0.01)
    error = math.sqrt(p * (1 - p) / n)
    for both in ((u < 0.01).all(axis=1), (u > 0.99).all(axis=1)):
        assert abs(both.mean() - p) < 3 * error


@pytest.mark.parametrize("degrees", [2.5, 4.0, 30.0, math.inf])
def test_density_is_joint_over_margins(degrees: float) -> None:
    """By scipy's laws, row by row, and by statsmodels' copulas for two coins."""
    u = copula_uniforms(R, 200, degrees=degrees, seed=2)
    if math.isinf(degrees):
        joint, alone = stats.multivariate_normal(cov=R), stats.norm
    else:
        joint, alone = stats.multivariate_t(shape=R, df=degrees), stats.t(degrees)
    slow = []
    for row in u:
        x = [float(alone.ppf(a)) for a in row]
        slow.append(joint.logpdf(x) - sum(float(alone.logpdf(a)) for a in x))
    assert t_copula_density(u, R, degrees) == pytest.approx(slow, abs=1e-9)


def test_density_and_lambda_are_those_of_statsmodels() -> None:
    copulas = pytest.importorskip("statsmodels.distributions.copula.api")
    theirs = copulas.StudentTCopula(corr=0.6, df=4)
    r = np.array([[1.0, 0.6], [0.6, 1.0]])
    u = copula_uniforms(r, 100, degrees=4.0, seed=3)
    assert t_copula_density(u, r, 4.0) == pytest.approx(theirs.logpdf(u), abs=1e-9)
    assert float(tail_dependence(0.6, 4.0)) == pytest.approx(theirs.dependence_tail()[0])


def test_ranks_do_not_know_the_margins() -> None:
    u = copula_uniforms(R, 4_000, degrees=3.0, seed=9)
    moved = np.column_stack([np.exp(5 * u[:, 0]), stats.cauchy.ppf(u[:, 1]), u[:, 2] ** 3])
    assert np.array_equal(rank_correlation(u), rank_correlation(moved))
    assert np.array_equal(pseudo_uniforms(u), pseudo_uniforms(moved))
    # sin(πτ/2) is ρ of any elliptical copula; its error is below 1.1/√n here.
    assert np.abs(rank_correlation(u) - R).max() < 3 * 1.1 / math.sqrt(4_000)


def test_fit_is_the_maximum_that_a_plain_search_finds() -> None:
    x = stats.norm.ppf(copula_uniforms(R, 400, degrees=5.0, seed=4))
    made = fit_t_copula(x)
    u, r = pseudo_uniforms(x), rank_correlation(x)

    def short(nu: float) -> float:
        y = stats.t.ppf(u, nu)
        joint = stats.multivariate_t(shape=r, df=nu).logpdf(y)
        return -float((joint - stats.t.logpdf(y, nu).sum(axis=1)).sum())

    found = optimize.minimize_scalar(short, bounds=(2.1, 60.0), method="bounded",
                                     options={"xatol": 1e-8})  # fmt: skip
    assert made.degrees == pytest.approx(found.x, rel=1e-4)
    for end in (made.low, made.high):
        assert 2 * (short(end) - found.fun) == pytest.approx(3.841, abs=2e-3)
    plain = float(t_copula_density(u, r, math.inf).sum())
    assert made.gain == pytest.approx(2 * (-found.fun - plain), abs=1e-5)
    assert made.count == 400 and np.array_equal(made.correlation, r)


def test_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    """40 samples of 500: 95 % intervals miss twice on average; nine or more misses: 1 in 30,000."""
    held = 0
    for seed in range(40):
        made = fit_t_copula(copula_uniforms(R[:2, :2], 500, degrees=4.0, seed=100 + seed))
        held += made.low <= 4.0 <= made.high
        assert made.low < made.degrees < made.high
    assert held >= 32


def test_gaussian_samples_are_not_called_fat() -> None:
    """At 5 % one sample in twenty is refused; eight or more of thirty: 1 in 5,000."""
    made = [fit_t_copula(copula_uniforms(R[:2, :2], 500, seed=300 + k)) for k in range(30)]
    assert sum(not one.gaussian for one in made) < 8
    assert not fit_t_copula(copula_uniforms(R, 500, degrees=4.0, seed=1)).gaussian


def test_what_is_no_sample_is_refused() -> None:
    for bad in (np.zeros((100, 1)), np.zeros((10, 2)), np.full((100, 2), np.nan)):
        with pytest.raises(InvariantViolation):
            fit_t_copula(bad)
    with pytest.raises(InvariantViolation):
        tail_dependence(1.1, 4.0)
    with pytest.raises(InvariantViolation):
        tail_dependence(0.5, 0.0)
