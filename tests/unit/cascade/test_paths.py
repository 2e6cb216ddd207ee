"""Exogenous paths: scripts, replays, jumps, and the statistics of random ones."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from crossmargin.cascade.draws import generator
from crossmargin.cascade.paths import MonteCarlo, jump, recorded, replayed, scripted, still
from crossmargin.errors import CascadeError
from crossmargin.market import Ticks
from crossmargin.units import parse_time

SECOND = 1_000_000_000


def test_script_passes_through_its_points() -> None:
    path = scripted(
        {"ETH": [(0, 1.0), (60, 0.8), (100, 0.9)]}, ("BTC", "ETH"), steps=12, step_s=10.0
    )
    level = np.exp(np.cumsum(path, axis=0))
    assert path.shape == (12, 2) and (path[:, 0] == 0).all()
    assert level[5, 1] == pytest.approx(0.8) and level[9, 1] == pytest.approx(0.9)
    assert level[11, 1] == pytest.approx(0.9)
    # Straight in the logarithm: half way is the geometric mean.
    assert level[2, 1] == pytest.approx(np.sqrt(0.8))
    late = scripted({"BTC": [(20, 0.5)]}, ("BTC",), steps=4, step_s=10.0)
    assert np.exp(late.sum()) == pytest.approx(0.5) and late[2:].sum() == 0
    gap = scripted({"BTC": [(0, 0.9)]}, ("BTC",), steps=2, step_s=10.0)
    assert np.exp(gap[:, 0]) == pytest.approx([0.9, 1.0])


def test_jump_and_stillness() -> None:
    path = jump([-0.1, 0.05], at=3, steps=5) + still(5, 2)
    assert (
        np.exp(path[3]) == pytest.approx([0.9, 1.05])
        and np.abs(path).sum(axis=1)[[0, 4]].sum() == 0
    )


def test_replay_gives_the_prices_back() -> None:
    price = np.exp(np.random.default_rng(0).standard_normal((20, 3)))
    assert price[0] * np.exp(np.cumsum(replayed(price), axis=0)) == pytest.approx(price[1:])
    with pytest.raises(CascadeError, match="CAS-001"):
        replayed([[1.0], [0.0]])


def test_a_recording_is_sampled_as_it_was_known() -> None:
    nan = np.nan
    ticks = Ticks(
        coins=("A", "B"),
        paid_in=("USD", "USD"),
        time_ns=np.array([0, 5, 10, 12, 30], dtype=np.int64) * SECOND,
        price=np.array([[1.0, 5.0], [2.0, nan], [3.0, nan], [4.0, nan], [5.0, 6.0]]),
    )
    found = recorded(ticks, ("B", "A"), start_ns=0, steps=3, step_ns=10 * SECOND)
    assert found.price.tolist() == [[5, 1], [5, 3], [5, 4], [6, 5]]
    assert found.stale.tolist() == [2, 0]
    assert np.exp(found.returns[:, 1].sum()) == pytest.approx(5.0)
    with pytest.raises(CascadeError, match="cover"):
        recorded(ticks, ("A",), start_ns=0, steps=5, step_ns=10 * SECOND)
    with pytest.raises(CascadeError, match="CAS-003"):
        recorded(ticks, ("C",), start_ns=0, steps=1, step_ns=SECOND)


def test_the_crash_of_october_2025_is_replayed() -> None:
    folder = os.environ.get("CROSSMARGIN_DATA")
    if not folder:
        pytest.skip("CROSSMARGIN_DATA is not set")
    import polars as pl

    table = pl.read_parquet(Path(folder) / "binance_perp_crash_windows.parquet")
    start = parse_time("2025-10-10T20:00:00Z")
    found = recorded(
        Path(folder) / "binance_perp_crash_windows.parquet",
        ("BTC", "ETH"),
        start_ns=start,
        steps=12,
        step_ns=900 * SECOND,
    )
    level = found.price[0] * np.exp(np.cumsum(found.returns, axis=0))
    rows = table.filter(pl.col("symbol").cast(pl.String) == "BTCUSDT")
    seen = dict(zip(rows["date"].dt.timestamp("ms").to_list(), rows["close"].to_list()))
    for t in range(12):
        # A bar that opens at 20:00 is known at 20:15.
        opened = (int(found.times_ns[t + 1]) - 900 * SECOND) // 1_000_000
        assert level[t, 0] == pytest.approx(seen[opened], rel=1e-12)
    assert level[:, 0].min() / found.price[0, 0] < 0.95


RHO = np.array([[1.0, 0.7, 0.2], [0.7, 1.0, 0.4], [0.2, 0.4, 1.0]])
SIGMA = np.array([0.01, 0.02, 0.03])


def within(samples: np.ndarray, expected: float, errors: float = 3.0) -> bool:
    """Whether a sample mean lies within three of its own standard errors."""
    return abs(samples.mean() - expected) < errors * samples.std(ddof=1) / np.sqrt(samples.size)


def test_gaussian_moments() -> None:
    n = 40_000
    path = MonteCarlo(volatility=SIGMA, correlation=RHO, drift=[0.001, 0, -0.001]).path(1, 0, n)
    free = (path - np.array([0.001, 0, -0.001])) / SIGMA
    for j in range(3):
        assert within(free[:, j], 0.0)
        assert within(free[:, j] ** 2, 1.0)
        assert within(free[:, j] ** 4, 3.0)
        for k in range(j):
            assert within(free[:, j] * free[:, k], RHO[j, k])
            assert within(free[1:, j] * free[:-1, k], 0.0)


@pytest.mark.parametrize("marginal", ["normal", "student"])
def test_t_copula(marginal: str) -> None:
    """Variance 1, Kendall's τ = 2/π·asin ρ, joint extremes as the bivariate t has them."""
    n, nu, q = 40_000, 6.0, 0.02
    model = MonteCarlo(volatility=SIGMA, correlation=RHO, dof=nu, marginal=marginal)  # type: ignore[arg-type]
    eps = model.innovations(2, 0, n)
    for j in range(3):
        assert within(eps[:, j], 0.0)
        assert within(eps[:, j] ** 2, 1.0)
    tau = stats.kendalltau(eps[:6000, 0], eps[:6000, 1]).statistic
    # The variance of a sample τ is never above 2(1 − τ²)/n.
    assert abs(tau - 2 / np.pi * np.arcsin(0.7)) < 3 * np.sqrt(2 * (1 - tau**2) / 6000)
    low = stats.t.ppf(q, nu)
    if marginal == "normal":
        cut = stats.norm.ppf(q)
    else:
        cut = low * np.sqrt((nu - 2) / nu)
    for k, least in ((1, 1.0), (2, 1.5)):
        pair = np.array([[1.0, RHO[0, k]], [RHO[0, k], 1.0]])
        both = (eps[:, 0] < cut) & (eps[:, k] < cut)
        expected = stats.multivariate_t(shape=pair, df=nu, seed=0).cdf([low, low])
        assert within(both.astype(float), expected)
        # More of them than a Gaussian has, many more where the correlation is low.
        assert both.mean() > least * stats.multivariate_normal(cov=pair).cdf(
            [stats.norm.ppf(q)] * 2
        )


def test_margins_of_the_copula_are_what_they_are_called() -> None:
    n = 20_000
    for marginal, law in (
        ("normal", stats.norm()),
        ("student", stats.t(5.0, scale=np.sqrt(3.0 / 5.0))),
    ):
        model = MonteCarlo(volatility=[1.0], correlation=[[1.0]], dof=5.0, marginal=marginal)  # type: ignore[arg-type]
        assert stats.kstest(model.innovations(5, 1, n)[:, 0], law.cdf).pvalue > 0.003


def test_jumps_add_their_moments() -> None:
    n, rate, mean, sd = 60_000, 0.2, -0.03, 0.02
    model = MonteCarlo(
        volatility=SIGMA, correlation=RHO, jump_rate=rate, jump_mean=mean, jump_sd=[sd] * 3
    )
    path = model.path(3, 0, n)
    for j in range(3):
        assert within(path[:, j], rate * mean)
        centred = path[:, j] - rate * mean
        assert within(centred**2, SIGMA[j] ** 2 + rate * (mean**2 + sd**2))
    cross = (path[:, 0] - rate * mean) * (path[:, 1] - rate * mean)
    assert within(cross, 0.7 * SIGMA[0] * SIGMA[1] + rate * (mean**2 + 0.7 * sd**2))
    assert within((model.jumps(3, 0, n)[:, 0] != 0).astype(float), 1 - np.exp(-rate))


def test_volatility_follows_what_happened() -> None:
    model = MonteCarlo(volatility=SIGMA, correlation=RHO, decay=0.9, pull=0.1, drift=0.001)
    eps, path = model.innovations(4, 9, 400), model.path(4, 9, 400)
    for j in range(3):
        variance = SIGMA[j] ** 2
        for t in range(400):
            move = float(np.sqrt(variance) * eps[t, j])
            assert path[t, j] == pytest.approx(0.001 + move, rel=1e-12)
            variance = 0.9 * (0.9 * variance + 0.1 * move**2) + 0.1 * SIGMA[j] ** 2
    # Unconditional variance stays at its home; squares are correlated.
    long = MonteCarlo(volatility=[0.01], correlation=[[1.0]], decay=0.9, pull=0.1)
    means = np.array([(long.path(4, i, 500)[:, 0] ** 2).mean() for i in range(80)])
    assert within(means, 1e-4)
    squares = long.path(4, 0, 20_000)[:, 0] ** 2
    assert np.corrcoef(squares[1:], squares[:-1])[0, 1] > 3 / np.sqrt(20_000)


def test_a_path_is_the_same_whoever_asks() -> None:
    model = MonteCarlo(
        volatility=SIGMA, correlation=RHO, dof=4, jump_rate=0.1, jump_sd=0.1, decay=0.94
    )
    first = model.path(11, 3, 50)
    for other in range(3):
        model.path(11, other, 70)
    assert (model.path(11, 3, 50) == first).all()
    assert (model.path(12, 3, 50) != first).any() and (model.path(11, 4, 50) != first).any()
    # Jumps have a stream of their own: without them the rest is what it was.
    calm = MonteCarlo(volatility=SIGMA, correlation=RHO, dof=4, decay=None)
    wild = MonteCarlo(volatility=SIGMA, correlation=RHO, dof=4, jump_rate=0.1, jump_sd=0.1)
    assert wild.path(1, 1, 50) - wild.jumps(1, 1, 50) == pytest.approx(calm.path(1, 1, 50))
    assert (
        generator(11, 3, "returns").standard_normal() != generator(11, 3, "jumps").standard_normal()
    )


def test_perfect_correlation_is_allowed_and_nonsense_is_not() -> None:
    path = MonteCarlo(volatility=[1.0, 2.0], correlation=[[1, 1], [1, 1]]).path(0, 0, 100)
    assert path[:, 1] == pytest.approx(2 * path[:, 0])
    for wrong in (
        {"correlation": [[1, 1.2], [1.2, 1]]},
        {"correlation": [[1, 0.5], [0.4, 1]]},
        {"correlation": [[1.0]]},
        {"volatility": [0.1, -0.1]},
        {"dof": 2.0},
        {"marginal": "student"},
        {"jump_rate": -1.0},
        {"decay": 1.0},
        {"drift": [0.0, 0.0, 0.0]},
    ):
        given = {"volatility": [0.1, 0.1], "correlation": np.eye(2), **wrong}
        with pytest.raises(CascadeError, match="CAS-001"):
            MonteCarlo(**given)  # type: ignore[arg-type]
    with pytest.raises(CascadeError, match="CAS-003"):
        scripted({"XRP": [(0, 1)]}, ("BTC",), steps=1, step_s=1)
    with pytest.raises(CascadeError, match="CAS-001"):
        scripted({"BTC": [(5, 1), (5, 2)]}, ("BTC",), steps=1, step_s=1)
    with pytest.raises(CascadeError, match="CAS-001"):
        jump([-1.0], at=0, steps=1)
