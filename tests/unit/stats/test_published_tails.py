"""Estimators held to printed examples on inputs not used elsewhere, and to what is no number."""

from __future__ import annotations

import math

import numpy as np
import pytest

from crossmargin.errors import InvariantViolation
from crossmargin.stats import (
    cascaded_shortfall,
    dcc,
    ewma_covariance,
    ewma_volatility,
    expected_shortfall,
    forbes_rigobon,
    linear_unwind,
    nearest_correlation,
    normal_quantile,
    normal_tail,
    tail_mean,
    tail_quantiles,
    tail_shortfalls,
    tail_shortfalls_at,
    tail_weights,
    value_at_risk,
)


def test_hulls_historical_simulation() -> None:
    """Options, Futures and Other Derivatives, table 22.4: the worst five of 500 scenarios."""
    worst = [477_841, 345_435, 282_204, 277_041, 253_385]
    assert round(expected_shortfall([*worst, *[0.0] * 495], 0.99)) == 327_181


def test_hulls_two_assets() -> None:
    """There, section 22.4: 10 m at 2 % and 5 m at 1 % a day, ρ 0.3: σ 220,227, 10 days 1,620,100.

    Hull rounds z to 2.326, which is worth 14 dollars in a million here.
    """
    found = normal_tail([10e6, 5e6], [0.02, 0.01], [[1, 0.3], [0.3, 1]], 0.99)
    assert round(found.sigma) == 220_227
    assert found.var * math.sqrt(10) == pytest.approx(1_620_100, rel=0.0005 / 2.326)


def test_hulls_moving_covariance() -> None:
    """There, example 23.1: λ 0.95, ρ 0.6, σ 1 % and 2 %, returns 0.5 % and 2.5 %: ρ 0.6044."""
    start = np.array([[1e-4, 1.2e-4], [1.2e-4, 4e-4]])
    # Two rows whose mean outer product is the start, twice: after them it is still the start.
    rows = np.linalg.cholesky(2 * start).T
    known = ewma_covariance(np.vstack([rows, [[0.005, 0.025]]]), 0.95, warm_up=2)
    assert known[0] == pytest.approx(start)
    state = start.copy()
    for row in (*rows, np.array([0.005, 0.025])):
        state = 0.95 * state + 0.05 * np.outer(row, row)
    assert known[-1] == pytest.approx(state, rel=1e-12)
    moved = 0.95 * start + 0.05 * np.outer([0.005, 0.025], [0.005, 0.025])
    assert round(moved[0, 1] / math.sqrt(moved[0, 0] * moved[1, 1]), 4) == 0.6044


def test_highams_second_matrix() -> None:
    """Higham (2002), section 4: the tridiagonal matrix of order 4 with 2 and −1."""
    found = nearest_correlation(2 * np.eye(4) - np.eye(4, k=1) - np.eye(4, k=-1))
    assert np.round(found[0, 1:], 4).tolist() == [-0.8084, 0.1916, 0.1068]
    assert np.round(found[1, 2:], 4).tolist() == [-0.6562, 0.1916]
    assert np.linalg.eigvalsh(found).min() > -1e-12
    assert nearest_correlation([[1, -1.5], [-1.5, 1]])[0, 1] == pytest.approx(-1.0)
    assert nearest_correlation([[3.0]]).tolist() == [[1.0]]


def test_forbes_rigobon_by_hand() -> None:
    assert forbes_rigobon(0.8, 3.0) == pytest.approx(0.8 / math.sqrt(2.08), rel=1e-12)
    assert forbes_rigobon(-1.0, 9.0) == -1.0
    assert forbes_rigobon(0.5, -0.5) > 0.5


def test_dcc_against_a_loop() -> None:
    e = np.random.default_rng(3).standard_normal((120, 3))
    mean = e.T @ e / 120
    mean /= np.sqrt(np.outer(np.diag(mean), np.diag(mean)))
    q = mean.copy()
    made = dcc(e, a=0.05, b=0.9).correlation
    for t in range(120):
        assert made[t] == pytest.approx(q / np.sqrt(np.outer(np.diag(q), np.diag(q))), abs=1e-12)
        q = 0.05 * mean + 0.05 * np.outer(e[t], e[t]) + 0.9 * q


@pytest.mark.parametrize(
    ("n", "level"), [(1000, 0.99), (40, 0.975), (300, 0.99), (7, 1 - 3 / 7), (3, 2 / 3), (1, 0.5)]
)
def test_tail_of_a_ladder_in_exact_fractions(n: int, level: float) -> None:
    """Losses 1 … n in fractions: whole and fractional tails, and less than one loss."""
    from fractions import Fraction

    mass = Fraction(n) * (1 - Fraction(level).limit_denominator(1000))
    whole, total = int(mass), Fraction(0)
    for k in range(whole):
        total += n - k
    if mass > whole:
        total += (mass - whole) * (n - whole)
    losses = np.arange(1.0, n + 1)
    assert expected_shortfall(losses, level) == pytest.approx(float(total / mass), rel=1e-12)
    assert tail_shortfalls(-losses[None], level)[0] == pytest.approx(float(total / mass), rel=1e-12)
    assert value_at_risk(losses, level) == tail_quantiles(-losses[None], level)[0]
    assert value_at_risk(losses, level) == max(n - whole, 1)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: tail_shortfalls(x, 0.5),
        lambda x: tail_shortfalls_at(x, (0.5, 0.9)),
        lambda x: tail_mean(x, 1.0),
        lambda x: tail_quantiles(x, 0.5),
        lambda x: tail_weights(x, 0.5),
        lambda x: ewma_volatility(x[0], 0.94),
    ],
)
def test_what_is_no_number_is_no_gain(call) -> None:  # type: ignore[no-untyped-def]
    """A sort puts NaN behind all gains, and it was taken for one."""
    with pytest.raises(InvariantViolation):
        call(np.array([[1.0, math.nan, -2.0]]))


def test_liquidity_horizons_of_mar33() -> None:
    """All factors of one horizon of 120 days scale by √12; by hand for three sets of factors."""
    lh = [10, 20, 40, 60, 120]
    assert cascaded_shortfall([1.0] * 5, lh) == pytest.approx(math.sqrt(12))
    assert cascaded_shortfall([7.0, 0, 0, 0, 0], lh) == 7.0
    by_hand = math.sqrt(100**2 + 60**2 * 1 + 30**2 * 2 + 10**2 * 2)
    assert cascaded_shortfall([100, 60, 30, 10, 0], lh) == pytest.approx(by_hand)
    assert cascaded_shortfall([3.0, 4.0], [1, 2], base=1) == pytest.approx(5.0)
    for wrong in (([1, 2], [10, 10]), ([1], [20]), ([-1.0], [10]), ([], [])):
        with pytest.raises(InvariantViolation):
            cascaded_shortfall(*wrong)


def test_linear_unwind_of_other_lengths() -> None:
    """σ√((n+1)(2n+1)/(6n)): 1 for a day, √1.25 for two, towards √(n/3)."""
    for n in (1, 2, 5, 30):
        weights = np.arange(n, 0, -1) / n
        assert linear_unwind(n) == pytest.approx(weights)
        want = math.sqrt((n + 1) * (2 * n + 1) / (6 * n))
        assert math.sqrt(float((linear_unwind(n) ** 2).sum())) == pytest.approx(want)
    with pytest.raises(InvariantViolation):
        linear_unwind(0)


def test_levels_and_tables_of_nothing() -> None:
    with pytest.raises(InvariantViolation):
        normal_quantile(1.0)
    with pytest.raises(InvariantViolation):
        nearest_correlation(np.zeros((0, 0)))
