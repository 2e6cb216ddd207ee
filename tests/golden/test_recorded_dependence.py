"""The t copula on recorded closes: what the house assumes where no history says (B16)."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest

from crossmargin.analytics import past_dependence
from crossmargin.market import FactorHistory, read_factor_history
from crossmargin.stats import fit_t_copula, joint_excess, pseudo_uniforms, tail_dependence


@pytest.fixture(scope="module")
def past() -> FactorHistory:
    folder = os.environ.get("CROSSMARGIN_DATA")
    if folder is None:
        pytest.skip("CROSSMARGIN_DATA is not set: the copula of recorded closes is not fitted")
    path = Path(folder) / "binance_spot_1h.parquet"
    if not path.exists():
        pytest.skip(f"CROSSMARGIN_DATA has no {path.name}: the copula is not fitted")
    return read_factor_history(path)


def test_btc_and_eth_are_far_from_gaussian(past: FactorHistory) -> None:
    """ν 3.9 (3.3 to 4.7) freed of volatility, 2018 to 2026; the house's 4 lies inside."""
    made = past_dependence(past, ["BTC", "ETH"])
    fit = made.fit
    assert fit is not None and not fit.gaussian and fit.gain > 100
    assert fit.low < 4.0 < fit.high and fit.degrees == pytest.approx(3.9, abs=0.2)
    found = tail_dependence(fit.correlation[0, 1], fit.degrees)
    assert float(found) == pytest.approx(0.55, abs=0.03)


def test_joint_falls_are_as_many_as_the_fit_says(past: FactorHistory) -> None:
    """Days on which both are in their lowest 1, 2, 5 %: 20, 39, 106 seen, 17, 35, 92 by the t.

    Nearer to the t copula than to a Gaussian one (13, 29, 82), each within two standard errors.
    Joint rises are fewer than either says (7, 25, 77): a t copula is symmetric and they are not,
    which docs/models/correlation-stress.md states as a limit.
    """
    made = past_dependence(past, ["BTC", "ETH"])
    assert made.fit is not None and made.margins is not None
    u = pseudo_uniforms(made.margins)
    n, rho = u.shape[0], float(made.fit.correlation[0, 1])
    for tail in (0.01, 0.02, 0.05):
        falls = int((u < tail).all(axis=1).sum())
        rises = int((u > 1 - tail).all(axis=1).sum())
        p, plain = (joint_excess(rho, nu, tail) for nu in (made.degrees, math.inf))
        assert abs(falls - n * p) < 2 * math.sqrt(n * p * (1 - p))
        assert abs(falls - n * p) < abs(falls - n * plain)
        assert rises < n * plain < n * p


def test_ten_coins_share_one(past: FactorHistory) -> None:
    made = past_dependence(past, list(past.coins))
    assert made.fit is not None and not made.fit.gaussian
    # One ν for forty-five pairs: a compromise, higher than the pair's own.
    assert 4.0 < made.fit.degrees < 9.0
    halves = [fit_t_copula(part).degrees for part in np.array_split(made.margins, 2)]
    assert all(3.0 < nu < 12.0 for nu in halves)
