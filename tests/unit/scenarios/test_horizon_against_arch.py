"""Several days by the bootstrap through the recursion, against arch's own simulation."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from crossmargin.scenarios import TailSpec
from crossmargin.scenarios._horizon import over_horizon

BASE = {"level_im": 0.99, "level_mm": 0.975, "days": 1000, "fewest": 100, "decay": 0.97,
        "correlation_decay": 0.99, "vol": {"down": 0.0, "up": 0.0}}  # fmt: skip


def spec(**more: object) -> TailSpec:
    return msgspec.convert({**BASE, **more}, TailSpec)


@pytest.mark.parametrize("days", [2, 5, 10])
def test_filtered_historical_simulation_of_arch(days: int) -> None:
    """Barone-Adesi, Giannopoulos and Vosper (1999): λ 0.97 on both sides, the same residuals.

    Quantiles of arch's 40,000 draws against ours of 8,000: within four standard errors of the two,
    the density between neighbouring quantiles taken from arch's draws.
    """
    univariate = pytest.importorskip("arch.univariate")
    rng = np.random.default_rng(5)
    returns = rng.standard_t(4, 8_000) * np.repeat([0.7, 1.5, 1.0, 0.5], 2_000)
    model = univariate.ZeroMean(returns, volatility=univariate.EWMAVariance(0.97))
    fit = model.fit(disp="off")
    ahead = fit.forecast(
        horizon=days, method="bootstrap", simulations=40_000, reindex=False,
        random_state=np.random.RandomState(3),
    )  # fmt: skip
    theirs = ahead.simulations.values[0].sum(axis=1)
    sigma = math.sqrt(float(ahead.variance.to_numpy()[0, 0]))
    z = np.asarray(fit.std_resid)[:, None]
    ours = over_horizon(
        z, np.full(z.shape, sigma), np.array([sigma]), spec(horizon_days=days, seed=1)
    )[:, 0]
    for q in (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99):
        near = np.quantile(theirs, [q - 0.005, q, q + 0.005])
        slope = (near[2] - near[0]) / 0.01
        error = slope * math.sqrt(q * (1 - q) * (1 / ours.size + 1 / theirs.size))
        assert abs(np.quantile(ours, q) - near[1]) < 4 * error
    # The recursion keeps the variance on average, so the spread is near √h times a day's.
    root = over_horizon(z, np.full(z.shape, sigma), np.array([sigma]),
                        spec(horizon_days=days, multi_day="root"))[:, 0]  # fmt: skip
    assert ours.std() == pytest.approx(root.std(), rel=0.1)


def test_blocks_are_sums_that_end_now() -> None:
    z = np.arange(1.0, 8.0)[:, None]
    made = over_horizon(z, np.full(z.shape, 2.0), np.array([2.0]),
                        spec(horizon_days=3, multi_day="blocks"))  # fmt: skip
    assert made[:, 0].tolist() == [2.0 * (2 + 3 + 4), 2.0 * (5 + 6 + 7)]
