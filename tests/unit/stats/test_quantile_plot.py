"""Quantiles against a normal and a Student law."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize, stats

from crossmargin.errors import InvariantViolation
from crossmargin.stats import quantile_plot, stream


def test_positions_and_order_by_hand() -> None:
    r = stream(3).standard_normal(101)
    plot = quantile_plot(r)
    z = sorted((r - r.mean()) / r.std())
    assert plot.observed == pytest.approx(z)
    assert plot.normal == pytest.approx([stats.norm.ppf((k + 0.5) / 101) for k in range(101)])
    assert plot.kurtosis == pytest.approx(stats.kurtosis(r, fisher=False))
    assert plot.at(0.5)[0] == pytest.approx(float(np.median(z)))


@pytest.mark.parametrize("degrees", [2.5, 4.0, 10.0])
def test_student_law_is_that_of_a_plain_search(degrees: float) -> None:
    r = stream(7).standard_t(degrees, 1_000) * 0.02 + 0.001
    plot = quantile_plot(r)
    z = (r - r.mean()) / r.std()

    def short(v: np.ndarray) -> float:
        return -float(stats.t.logpdf(z, np.exp(v[0]), scale=np.exp(v[1])).sum())

    best = optimize.minimize(short, [1.5, -0.2], method="Nelder-Mead",
                             options={"xatol": 1e-9, "fatol": 1e-9}).x  # fmt: skip
    assert plot.degrees == pytest.approx(np.exp(best[0]), rel=2e-3)
    assert plot.scale == pytest.approx(np.exp(best[1]), rel=2e-3)
    p = (np.arange(1_000) + 0.5) / 1_000
    assert plot.student == pytest.approx(stats.t.ppf(p, plot.degrees, scale=plot.scale), rel=1e-9)
    assert plot.at(0.001)[2] < plot.at(0.001)[1] < 0.0  # falls beyond what a normal says


def test_a_normal_sample_lies_on_the_line() -> None:
    plot = quantile_plot(stream(9).standard_normal(20_000))
    # √(p(1−p)/n)/φ is a quantile's error: 0.03 at 1 %.
    assert abs(plot.at(0.01)[0] - plot.at(0.01)[1]) < 3 * 0.027
    assert plot.degrees > 30.0


def test_what_cannot_be_plotted() -> None:
    for bad in (np.zeros(100), np.ones((100, 2)), np.arange(10.0), np.full(100, np.nan)):
        with pytest.raises(InvariantViolation):
            quantile_plot(bad)
