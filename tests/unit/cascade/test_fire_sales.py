"""Measures of overlapping books against plain loops of the same formulas."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from crossmargin.cascade import fire_sales, networks
from crossmargin.cascade.scalar import leverage_gain
from crossmargin.errors import CascadeError


def books(seed: int, holders: int = 12, assets: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    held = rng.exponential(1e6, (holders, assets)) * (rng.random((holders, assets)) < 0.6)
    return held, rng.uniform(1e7, 1e8, assets)


def test_vulnerability_is_the_product_of_the_paper() -> None:
    rng = np.random.default_rng(1)
    held, depth = books(1)
    held = held[held.sum(axis=1) > 0]
    a = held.sum(axis=1)
    m, b = held / a[:, None], rng.uniform(1.0, 20.0, a.size)
    f = np.array([-0.1, 0.0, -0.02, 0.01])
    made = fire_sales.aggregate_vulnerability(m, a, b, f, 1.0 / depth)
    big = np.diag
    r2 = m @ big(1 / depth) @ m.T @ big(b) @ big(a) @ m @ f
    equity = (a / (1 + b)).sum()
    assert made.aggregate == pytest.approx(float(a @ r2) / equity, rel=1e-12)
    assert made.systemicness.sum() == pytest.approx(made.aggregate, rel=1e-12)
    np.testing.assert_allclose(made.indirect, a * r2 / (a / (1 + b)), rtol=1e-12)
    # One by one: only holder i sells.
    for i in range(a.size):
        only = np.where(np.arange(a.size) == i, b, 0.0)
        part = fire_sales.aggregate_vulnerability(m, a, only, f, 1.0 / depth)
        share = part.aggregate * (a / (1 + only)).sum() / equity
        assert made.systemicness[i] == pytest.approx(share, rel=1e-9)


def test_vulnerability_of_one_asset_is_the_scalar_gain() -> None:
    made = fire_sales.aggregate_vulnerability([[1.0]], [1e6], [4.0], [-0.01], [1 / 2e7])
    assert made.returns[0] == pytest.approx(-0.01 * leverage_gain(5.0, 1e6, 2e7))
    # The paper's 10 basis points for 10 bn.
    default = fire_sales.aggregate_vulnerability([[1.0]], [1e10], [1.0], [-1.0])
    assert default.returns[0] == pytest.approx(-0.001)


def test_sold_share() -> None:
    made = fire_sales.sold_share(
        [100.0, 100.0, 100.0, 100.0], [10.0, 4.0, 1.0, -1.0], [80.0] * 4, most=20.0, buffer=15.0
    )
    assert made.share.tolist() == [0.0, (100 - 60) / 80, 1.0, 1.0]
    assert made.insolvent.tolist() == [False, False, False, True]
    # Selling so much does bring leverage back to the buffer.
    assert (100 - made.share[1] * 80) / 4 == pytest.approx(15.0)


def test_impact_with_a_floor() -> None:
    depth, start, floor = 1e7, 100.0, 50.0
    small = float(fire_sales.floor_impact(1.0, 100.0, start, floor, depth))
    assert small == pytest.approx(1 / depth, rel=1e-6)
    assert float(fire_sales.floor_impact(1e12, 100.0, start, floor, depth)) == pytest.approx(0.5)
    assert float(fire_sales.floor_impact(1e12, 60.0, start, floor, depth)) == pytest.approx(1 / 6)
    assert float(fire_sales.floor_impact(0.0, 60.0, start, floor, depth)) == 0.0
    assert float(fire_sales.market_depth(1e9, 0.02, 4.0, 0.25)) == pytest.approx(0.25 * 5e10 * 2)
    assert float(fire_sales.market_depth(1e9, 0.02)) == pytest.approx(0.325 * 5e10)


@pytest.mark.parametrize("seed", range(6))
def test_rounds_of_selling_by_hand(seed: int) -> None:
    rng = np.random.default_rng(seed)
    held, depth = books(seed, holders=6, assets=3)
    rest = rng.uniform(0.0, 2e6, 6)
    capital = (held.sum(axis=1) + rest) / rng.uniform(10.0, 25.0, 6)
    shock = np.array([0.05, 0.0, 0.02])
    made = fire_sales.threshold_fire_sale(
        held, rest, capital, depth, shock, most=20.0, buffer=18.0, paid=0.5
    )
    h = [[float(held[i, k]) * (1 - float(shock[k])) for k in range(3)] for i in range(6)]
    c = [float(capital[i]) - sum(float(held[i, k] * shock[k]) for k in range(3)) for i in range(6)]
    p = [1 - float(s) for s in shock]
    for played in range(21):
        share = []
        for i in range(6):
            assets = sum(h[i]) + float(rest[i])
            over = assets > 20.0 * c[i] and sum(h[i]) > 0
            share.append(min(1.0, (assets - 18.0 * max(c[i], 0.0)) / sum(h[i])) if over else 0.0)
        if not any(share) or played == 20:
            break
        for k in range(3):
            flow = sum(share[i] * h[i][k] for i in range(6))
            delta = float(depth[k]) * (1 - 0.5)
            drop = (1 - 0.5 / p[k]) * (1 - math.exp(-flow / delta))
            for i in range(6):
                sold = share[i] * h[i][k]
                c[i] -= (h[i][k] - sold) * drop + 0.5 * sold * drop
                h[i][k] = (h[i][k] - sold) * (1 - drop)
            p[k] *= 1 - drop
    np.testing.assert_allclose(made.price[-1], p, rtol=1e-12)
    np.testing.assert_allclose(made.capital, c, rtol=1e-9)
    assert (made.insolvent == (np.array(c) < 0)).all()
    assert not (made.insolvent & made.illiquid).any()
    assert made.settled == (made.sold.shape[0] < 20)


def test_overlap_and_its_indices() -> None:
    held, depth = books(3)
    omega = networks.overlap_matrix(held, depth)
    n = held.shape[0]
    for i in range(n):
        for j in range(n):
            want = sum(held[i, k] * held[j, k] / depth[k] for k in range(4))
            assert omega[i, j] == pytest.approx(want)
    value, vectors = np.linalg.eigh(omega)
    for form in (held, csr_matrix(held)):
        eri = networks.endogenous_risk_index(form, depth)
        assert eri.value == pytest.approx(float(value[-1]), rel=1e-10)
        np.testing.assert_allclose(eri.index, np.abs(vectors[:, -1]), rtol=1e-7, atol=1e-12)
        ici = networks.indirect_contagion_index(form, depth)
        np.testing.assert_allclose(ici, omega.sum(axis=1) - np.diag(omega), rtol=1e-10)
    empty = networks.endogenous_risk_index(np.zeros((3, 4)), depth)
    assert empty.value == 0.0 and not empty.index.any()


@pytest.mark.parametrize("own", [False, True])
def test_distress_spreads_as_the_recursion_says(own: bool) -> None:
    held, depth = books(4)
    equity = held.sum(axis=1) / 8.0 + 1e4
    first = np.zeros(12)
    first[2] = 0.4
    made = networks.debt_rank(csr_matrix(held), equity, depth, first, own=own)
    omega = networks.overlap_matrix(held, depth)
    if not own:
        np.fill_diagonal(omega, 0.0)
    matrix = omega / equity[:, None]
    h, before = first.copy(), np.zeros(12)
    for _ in range(5_000):
        new = [
            min(1.0, h[i] + sum(matrix[i, j] * (h[j] - before[j]) for j in range(12)))
            for i in range(12)
        ]
        before, h = h, np.array(new)
    np.testing.assert_allclose(made.distress, h, rtol=1e-8, atol=1e-12)
    assert made.spectral_radius == pytest.approx(float(np.abs(np.linalg.eigvals(matrix)).max()))
    assert made.score == pytest.approx(float(((h - first) * equity).sum() / equity.sum()))
    assert made.settled


def test_distress_is_proportional_below_a_radius_of_one() -> None:
    held, depth = books(5)
    equity = held.sum(axis=1) + 1e5
    first = np.full(12, 1e-4)
    small = networks.debt_rank(held, equity, depth, first)
    double = networks.debt_rank(held, equity, depth, 2 * first)
    assert small.spectral_radius is not None and small.spectral_radius < 1
    np.testing.assert_allclose(double.distress, 2 * small.distress, rtol=1e-8)


@pytest.mark.parametrize(
    "bad",
    [
        lambda: fire_sales.aggregate_vulnerability([[0.5, 0.4]], [1.0], [1.0], [0.0, 0.0]),
        lambda: fire_sales.floor_impact(1.0, 100.0, 100.0, 100.0, 1.0),
        lambda: fire_sales.threshold_fire_sale(
            [[1.0]], [1.0], [1.0], [1.0, 2.0], [0.1], most=2, buffer=1
        ),
        lambda: networks.endogenous_risk_index([[1.0]], [1.0, 2.0]),
        lambda: networks.debt_rank([[1.0]], [1.0, 1.0], [1.0], [0.1, 0.1]),
        lambda: fire_sales.sold_share([1.0], [1.0], [1.0], most=2.0, buffer=3.0),
    ],
)
def test_what_is_refused(bad: Callable[[], object]) -> None:
    with pytest.raises(CascadeError, match="CAS-001"):
        bad()
