"""Procyclicality, windows, attribution: worked figures and plain loops."""

from __future__ import annotations

import numpy as np
import pytest

from crossmargin.errors import InputError
from crossmargin.validation import (
    attribution,
    blocks,
    measure,
    overlapping_rate,
    procyclicality,
    tool_paths,
    with_buffer,
    with_floor,
    with_stress_weight,
)

#: A cycle from 1.00 to 1.80 whose mean is 1.2917, as the worked costs imply.
CYCLE = np.array([1.0, 1.0, 1.05, 1.2, 1.8, 1.7])


def test_worked_ratios_of_the_tools() -> None:
    """clearing-practice §2: 1.80 raw, 1.48 with 25 % stress weight (+13.7 %), 1.385, 1.44."""
    raw = procyclicality(CYCLE)
    assert raw.peak_to_trough == pytest.approx(1.80)
    weighted = procyclicality(with_stress_weight(CYCLE, 2.0), CYCLE)
    assert weighted.peak_to_trough == pytest.approx(1.48)
    assert weighted.cost == pytest.approx(0.137, abs=5e-4)
    assert procyclicality(with_floor(CYCLE, 1.3)).peak_to_trough == pytest.approx(1.385, abs=5e-4)
    assert procyclicality(with_buffer(CYCLE, 1.8)).peak_to_trough == pytest.approx(1.44)


def test_sigma_from_2_to_8_per_cent() -> None:
    """Requirements B15: 4.00 raw, 2.29 with a quarter on the stress level, the same peak."""
    raw = np.array([0.02, 0.03, 0.08, 0.05])
    damped = with_stress_weight(raw, 0.08)
    assert procyclicality(raw).peak_to_trough == pytest.approx(4.00)
    assert round(procyclicality(damped).peak_to_trough, 2) == 2.29
    assert damped.max() == pytest.approx(raw.max())


def test_rises_against_loops() -> None:
    rng = np.random.default_rng(1)
    path = np.exp(np.cumsum(0.1 * rng.standard_normal(80)))
    made = procyclicality(path, periods=(1, 5, 30, 500))
    assert list(made.rise) == [1, 5, 30]
    for n in (1, 5, 30):
        assert made.rise[n] == max(path[t] - path[t - n] for t in range(n, 80))
        assert made.relative_rise[n] == pytest.approx(
            max(path[t] / path[t - n] - 1 for t in range(n, 80))
        )


def test_a_buffer_is_full_then_used_then_gone() -> None:
    path = np.array([1.0, 1.5, 1.7, 1.8, 2.0])
    assert with_buffer(path, 1.8).tolist() == [1.25, 1.8, 1.8, 1.8, 2.0]


def test_tools_know_only_the_past() -> None:
    rng = np.random.default_rng(2)
    path = np.exp(np.cumsum(0.05 * rng.standard_normal(200)))
    whole, half = tool_paths(path), tool_paths(path[:120])
    for name, made in half.items():
        assert np.allclose(whole[name][:120], made)
        assert (whole[name] >= path - 1e-12).all()


def test_a_margin_of_0_has_no_ratio() -> None:
    with pytest.raises(InputError):
        procyclicality([1.0, 0.0])
    with pytest.raises(InputError):
        with_stress_weight([1.0], 2.0, weight=1.5)
    with pytest.raises(InputError):
        with_buffer([1.0], 2.0, share=-0.1)


def test_blocks_do_not_overlap() -> None:
    assert blocks(10, 3).tolist() == [0, 3, 6]
    assert blocks(10, 3, offset=2).tolist() == [2, 5]
    assert blocks(2, 3).size == 0
    with pytest.raises(InputError):
        blocks(10, 3, offset=3)


def test_overlap_is_known_to_the_bootstrap() -> None:
    """Windows of ten days that share one bad day are not ten breaches."""
    hits = np.zeros(1000, dtype=bool)
    for day in (200, 500, 800):
        hits[day : day + 10] = True
    ten = overlapping_rate(hits, 10, 0.99, seed=0)
    one = overlapping_rate(np.random.default_rng(0).permutation(hits), 1, 0.99, seed=0)
    assert ten.rate == one.rate == pytest.approx(0.03)
    assert ten.high - ten.low > 1.5 * (one.high - one.low)
    assert ten.p_too_many > one.p_too_many


def test_attribution_against_scipy_and_in_zones() -> None:
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(3)
    real = rng.standard_normal(250)
    close, far = real + 0.05 * rng.standard_normal(250), 2.0 * rng.standard_normal(250)
    for other in (close, far):
        made = attribution(other, real)
        assert made.spearman == pytest.approx(stats.spearmanr(other, real).statistic)
        assert made.kolmogorov_smirnov == pytest.approx(stats.ks_2samp(other, real).statistic)
    assert attribution(close, real).zone == "green"
    assert attribution(far, real).zone == "red"
    assert attribution(np.zeros(10), np.arange(10.0)).zone == "red"
    with pytest.raises(InputError):
        attribution(np.arange(10.0), np.zeros(10))


def test_impulse_is_measured_from_the_step() -> None:
    path = np.array([1.0] * 10 + [1.5, 2.5, 2.2] + [2.0] * 20)
    made = measure("model", path[None, :], 9)
    assert (made.start, made.peak, made.end) == (1.0, 2.5, 2.0)
    assert made.overshoot == pytest.approx(0.25)
    assert (made.days_to_peak, made.days_to_half) == (2, 1)
    assert made.moved == 2.0
