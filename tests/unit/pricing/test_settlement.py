"""The settlement average: its two parts, and the variance that averaging takes away."""

from __future__ import annotations

import numpy as np
import pytest

from crossmargin.errors import PricingError
from crossmargin.pricing import (
    SETTLEMENT_WINDOW_S,
    averaging_years,
    price_grid,
    settlement_parts,
)

YEAR_S = 365 * 86_400.0


def test_before_inside_and_after() -> None:
    fixed, variable = settlement_parts(
        50_000.0, 10.0, [np.nan, np.nan, 49_000.0, 49_500.0, 49_500.0], [-1e6, 0, 900, 1800, 9e9]
    )
    assert fixed.tolist() == [0.0, 0.0, 24_500.0, 49_500.0, 49_500.0]
    assert variable.tolist() == [50_010.0, 50_010.0, 25_005.0, 0.0, 0.0]


def test_parts_move_continuously_to_the_average() -> None:
    elapsed = np.linspace(-60.0, SETTLEMENT_WINDOW_S, 500)
    fixed, variable = settlement_parts(50_000.0, 0.0, 48_000.0, elapsed)
    total = fixed + variable
    assert total[0] == 50_000.0
    assert total[-1] == 48_000.0
    assert np.all(np.diff(total) <= 0.0)
    assert np.max(np.abs(np.diff(total))) < 10.0


def test_a_price_shock_moves_the_variable_part_only() -> None:
    fixed, variable = settlement_parts(50_000.0, 0.0, 50_000.0, 1350.0)
    value = price_grid(fixed, variable, [50_000.0], 0.0, False, [-0.16], [[0.6]], [0])
    # A quarter of the window is left: 16 % of 12,500.
    assert value == pytest.approx(np.array([[2000.0]]))


def test_broadcasts_and_own_window() -> None:
    fixed, variable = settlement_parts([[100.0], [200.0]], 0.0, 90.0, [0.0, 30.0], window_s=60.0)
    assert fixed.tolist() == [[0.0, 45.0], [0.0, 45.0]]
    assert variable.tolist() == [[100.0, 50.0], [200.0, 100.0]]


@pytest.mark.parametrize(
    ("inputs", "field"),
    [
        ((0.0, 0.0, 1.0, 0.0), "index_price"),
        ((np.nan, 0.0, 1.0, 0.0), "index_price"),
        ((1.0, np.nan, 1.0, 0.0), "basis"),
        ((1.0, -2.0, 1.0, 0.0), "index_price + basis"),
        ((1.0, 0.0, np.nan, 1.0), "average_so_far"),
        ((1.0, 0.0, [1.0, 0.0], 1.0), "average_so_far"),
        ((1.0, 0.0, 1.0, np.nan), "elapsed_s"),
        ((1.0, 0.0, 1.0, 1.0, 0.0), "window_s"),
    ],
)
def test_refusals(inputs: tuple[float, ...], field: str) -> None:
    with pytest.raises(PricingError) as caught:
        settlement_parts(*inputs)
    assert caught.value.field == field
    with pytest.raises(PricingError):
        averaging_years(-1.0, 0.0)


def test_averaging_years_closed_form() -> None:
    assert averaging_years(1.0, 0.3) == pytest.approx(0.8)
    assert averaging_years(0.3, 0.3) == pytest.approx(0.1)
    assert averaging_years(0.15, 0.3) == pytest.approx(0.05)
    assert averaging_years([0.0, 2.0], 0.0).tolist() == [0.0, 2.0]
    window = SETTLEMENT_WINDOW_S / YEAR_S
    saved_s = (1.0 - averaging_years(1.0, window)) * YEAR_S
    assert saved_s == pytest.approx(20 * 60)


@pytest.mark.parametrize(("years", "window"), [(2.0, 1.0), (1.0, 1.0), (0.4, 1.0)])
def test_averaging_years_against_simulation(years: float, window: float) -> None:
    """The variance of the log of the (remaining) average of a driftless path.

    Units are scaled so that the window is 1 and σ²w is 1e-4, as for 30 minutes at 130 %.
    """
    rng = np.random.default_rng(42)
    steps, paths, vol = 100, 40_000, 0.01
    length = min(window, years)
    before = vol * np.sqrt(max(years - window, 0.0)) * rng.standard_normal(paths)
    increments = vol * np.sqrt(length / steps) * rng.standard_normal((paths, steps))
    walk = before[:, None] + np.cumsum(increments, axis=1)
    # Midpoints of the steps: the Riemann sum is then free of first-order bias.
    average = np.exp(walk - 0.5 * increments).mean(axis=1)
    measured = np.log(average).var() / vol**2
    expected = averaging_years(years, window)
    # Standard error of a variance from 40,000 paths is 0.7 %.
    assert measured == pytest.approx(expected, rel=0.025)
