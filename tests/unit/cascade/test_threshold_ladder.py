"""Ladders of thresholds: the sweep against rounds, closed forms, fuses, Borel sizes."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from crossmargin.cascade import branching, ladder
from crossmargin.errors import CascadeError

# ------------------------------------------------------------------------------- the sweep


def rounds(
    distance: list[float], coins: list[float], shock: float, power: float, scale: float
) -> tuple[float, float]:
    """Price moves, whoever is reached sells, price moves again; until nobody new is reached."""
    moved = shock
    while True:
        sold = 0.0
        for d, q in zip(distance, coins):
            if d <= moved:
                sold += q
        new = shock + scale * sold**power
        if new == moved:
            return moved, sold
        moved = new


@pytest.mark.parametrize("power", [1.0, 0.5, 1.5])
def test_the_sweep_ends_where_rounds_end(power: float) -> None:
    """1,500 random ladders; sizes are dyadic, so that sums do not depend on their order."""
    rng = random.Random(int(10 * power))
    through = stopped = 0
    for _ in range(500):
        n = rng.randint(0, 60)
        distance = [float(rng.randint(-4, 200)) for _ in range(n)]
        coins = [rng.randint(0, 64) / 16.0 for _ in range(n)]
        shock, scale = rng.randint(0, 100) / 2.0, rng.choice((0.25, 0.5, 1.0, 2.0))
        found = ladder.sweep(distance, coins, shock, ladder.power_displacement(scale, power))
        moved, sold = rounds(distance, coins, shock, power, scale)
        assert found.coins == sold
        assert found.displacement == (moved if power == 1 else pytest.approx(moved, rel=1e-14))
        assert found.fired == sum(d <= moved for d in distance)
        through += found.through
        stopped += 0 < found.fired < n
    assert stopped > 100 and (through > 20 or power < 1)


def test_the_sweep_does_not_depend_on_the_order() -> None:
    rng = np.random.default_rng(5)
    d, q = rng.integers(0, 50, 200).astype(float), rng.integers(1, 9, 200) / 8.0
    law = ladder.power_displacement(0.5)
    first = ladder.sweep(d, q, 3.0, law)
    for _ in range(5):
        order = rng.permutation(200)
        assert ladder.sweep(d[order], q[order], 3.0, law) == first


def even(density: float, reach: float, step: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """Triggers every `step` US dollars."""
    d = np.arange(step, reach + step / 2, step)
    return d, np.full(d.size, density * step)


@pytest.mark.parametrize(("density", "total"), [(1.0, 2_000.0), (1.8, 10_000.0)])
def test_row_a02(density: float, total: float) -> None:
    assert float(ladder.uniform_fall(1_000.0, 0.5 * density)) == pytest.approx(total)
    found = ladder.sweep(*even(density, 40_000.0), 1_000.0, ladder.power_displacement(0.5))
    assert found.displacement == pytest.approx(total, rel=0.01) and not found.through


def test_row_a02_runs_through_the_cluster() -> None:
    assert float(ladder.uniform_fall(1_000.0, 1.0)) == math.inf
    d, q = even(2.0, 40_000.0)
    found = ladder.sweep(d, q, 1_000.0, ladder.power_displacement(0.5))
    assert found.through and found.coins == pytest.approx(80_000.0)
    # Nothing without a shock.
    assert ladder.sweep(d, q, 0.0, ladder.power_displacement(0.5)).displacement == 0.0
    assert float(ladder.uniform_fall(0.0, 1.5)) == 0.0


def halted(density: float, shock: float, slope: float, halt: float, factor: float) -> float:
    """A ladder with one halt: sell trigger by trigger, and after the halt at a fraction."""
    fall, sold, now, pause = shock, 0.0, slope, False
    for d in np.arange(0.25, 60_000.0, 0.25):
        if d > fall:
            break
        push = now * density * 0.25
        if not pause and fall + push > halt:
            pause, now = True, slope * factor
            push *= factor
        fall += push
        sold += density * 0.25
    return fall


@pytest.mark.parametrize(
    ("halt", "factor", "total"), [(1_500.0, 0.5, 2_272.73), (20_000.0, 0.5, 10_000.0)]
)
def test_row_b10_a_halt_saves(halt: float, factor: float, total: float) -> None:
    assert ladder.halted_fall(1_000.0, 0.9, halt, factor) == pytest.approx(total, abs=0.005)
    assert halted(1.8, 1_000.0, 0.5, halt, factor) == pytest.approx(total, rel=0.01)


def test_halts_at_the_ends() -> None:
    assert ladder.halted_fall(1_000.0, 0.9, 500.0, 0.5) == pytest.approx(1_000.0 / 0.55)
    assert ladder.halted_fall(1_000.0, 2.0, 1_500.0, 0.4) == pytest.approx(
        halted(4.0, 1_000.0, 0.5, 1_500.0, 0.4), rel=0.01
    )
    assert ladder.halted_fall(1_000.0, 2.0, 1_500.0, 0.9) == math.inf
    assert ladder.halted_fall(1_000.0, 0.9, 1_500.0, 1.0) == pytest.approx(10_000.0)


# ------------------------------------------------------------------------------- other laws


@pytest.mark.parametrize("shock", [1e-9, 0.01, 1.0, 50.0])
def test_square_root_impact_has_a_jump_and_no_end_of_the_world(shock: float) -> None:
    a = 3.0
    fall = float(ladder.root_fall(shock, a))
    assert fall == pytest.approx(shock + a * math.sqrt(fall), rel=1e-12)
    assert fall >= a**2 == float(ladder.root_fall(0.0, a))
    assert fall == pytest.approx(ladder.power_fall(shock, a, 0.5), rel=1e-10)
    # On a fine ladder of one coin per US dollar.
    d, q = even(1.0, 400.0, 1.0 / 64)
    found = ladder.sweep(d, q, max(shock, 0.02), ladder.power_displacement(a, 0.5))
    assert found.displacement == pytest.approx(
        float(ladder.root_fall(max(shock, 0.02), a)), rel=0.01
    )


@pytest.mark.parametrize("power", [0.3, 0.8, 1.0, 1.3, 2.0])
@pytest.mark.parametrize("scale", [0.05, 0.4, 0.9])
def test_any_power(power: float, scale: float) -> None:
    for shock in (0.01, 0.2, 1.0, 4.9):
        fall = ladder.power_fall(shock, scale, power)
        reached = shock
        for _ in range(200_000):
            new = shock + scale * reached**power
            if new > 1e9 or new - reached < 1e-15 * new:
                break
            reached = new
        if math.isinf(fall):
            assert power > 1 and new > 1e9
            assert shock > (1 - 1 / power) * (scale * power) ** (-1 / (power - 1))
        else:
            assert fall == pytest.approx(reached, rel=1e-6)
            assert fall == pytest.approx(shock + scale * fall**power, rel=1e-9)


def test_powers_at_nothing() -> None:
    assert ladder.power_fall(0.0, 3.0, 0.5) == pytest.approx(9.0)
    assert ladder.power_fall(0.0, 0.5, 2.0) == 0.0
    assert ladder.power_fall(7.0, 0.0, 2.0) == 7.0
    assert ladder.power_fall(1.0, 1.0, 1.0) == math.inf


@pytest.mark.parametrize("buffer", [-20.0, 0.0, 300.0])
def test_a_fund_is_exhausted_exactly(buffer: float) -> None:
    slope, fund = 0.5, 1e6
    most = float(ladder.fund_exhaustion(buffer, slope, fund))
    # Sold coin by coin: each costs the impact of all before it.
    steps = 100_000
    loss, one = 0.0, most / steps
    for k in range(steps):
        loss += one * (slope * one * (k + 0.5) - buffer)
    assert loss == pytest.approx(fund, rel=1e-6)
    assert float(ladder.fund_exhaustion(buffer, slope, 0.0)) == pytest.approx(
        max(0.0, 2 * buffer / slope)
    )


# ------------------------------------------------------------------------------- maps and fuses


def test_the_map_integrates_to_all_that_can_be_liquidated() -> None:
    rng = np.random.default_rng(2)
    trigger = rng.uniform(50.0, 150.0, 5_000)
    trigger[rng.random(5_000) < 0.2] = np.nan
    coins = rng.exponential(1.0, 5_000)
    found = ladder.density_map(trigger, coins, np.linspace(60.0, 130.0, 71))
    held = ~np.isnan(trigger)
    assert found.total == pytest.approx(float((trigger * coins)[held].sum()), rel=1e-12)
    assert found.notional.sum() == pytest.approx(found.inside, rel=1e-12)
    inside = held & (trigger >= 60) & (trigger <= 130)
    assert (found.density * np.diff(found.edges)).sum() == pytest.approx(coins[inside].sum())
    # By hand for one bin.
    mine = (trigger >= 80.0) & (trigger < 81.0)
    assert found.coins[20] == pytest.approx(coins[mine].sum())
    assert found.gain(0.25)[20] == pytest.approx(0.25 * coins[mine].sum() / 1.0)


@pytest.mark.parametrize("side", ["down", "up"])
@pytest.mark.parametrize("tick", [0.5, 0.01])
def test_a_known_crossing_is_found_within_a_tick(side: str, tick: float) -> None:
    """Depth D·x against triggers that begin at 2 % and stand denser than the book."""
    mark, d = 1_000.0, 1e6
    sign = -1.0 if side == "down" else 1.0
    x = np.arange(0.02, 0.2, 1e-5)
    trigger = mark * (1.0 + sign * x)
    dense = 3.0 * d
    coins = dense * 1e-5 / trigger
    # 3·D·(x − 0.02) = D·x at x = 0.03.
    found = ladder.fuse_price(
        trigger,
        coins,
        mark=mark,
        depth=ladder.linear_depth(d, mark),
        side=side,
        tick=tick,  # type: ignore[arg-type]
    )
    assert abs(found.price - mark * (1 + sign * 0.03)) <= tick + 0.02
    assert found.liquidatable > found.standing
    assert round(found.price / tick) * tick == pytest.approx(found.price)
    other = "up" if side == "down" else "down"
    none = ladder.fuse_price(
        trigger,
        coins,
        mark=mark,
        depth=ladder.linear_depth(d, mark),
        side=other,  # type: ignore[arg-type]
    )
    assert math.isnan(none.price) and none.liquidatable == 0.0


def test_a_fuse_in_an_order_book_against_every_tick() -> None:
    rng = random.Random(8)
    for _ in range(60):
        price = sorted({round(100 - rng.uniform(0.1, 20), 1) for _ in range(30)}, reverse=True)
        size = [rng.uniform(1, 20) for _ in price]
        trigger = [round(100 - rng.uniform(0, 22), 1) for _ in range(30)]
        coins = [rng.uniform(1, 25) for _ in trigger]
        found = ladder.fuse_price(
            trigger, coins, mark=100.0, depth=ladder.book_depth(price, size), tick=0.1
        )
        want = math.nan
        for tick in range(1_000, 779, -1):
            p = tick / 10
            due = sum(q * t for q, t in zip(coins, trigger) if t >= p - 1e-9)
            there = sum(s * b for b, s in zip(price, size) if b >= p - 1e-9)
            if due > there:
                want = p
                break
        assert found.price == pytest.approx(want, nan_ok=True)


def test_what_no_ladder_has() -> None:
    law = ladder.power_displacement(1.0)
    for bad in (
        lambda: ladder.sweep([1.0], [-1.0], 0.0, law),
        lambda: ladder.sweep([1.0, 2.0], [1.0], 0.0, law),
        lambda: ladder.sweep([1.0], [1.0], 0.0, lambda q: -q),
        lambda: ladder.density_map([1.0], [1.0], [2.0, 1.0]),
        lambda: ladder.density_map([-1.0], [1.0], [1.0, 2.0]),
        lambda: ladder.fuse_price([1.0], [1.0], mark=0.0, depth=ladder.linear_depth(1.0, 1.0)),
        lambda: ladder.uniform_fall(-1.0, 0.5),
    ):
        with pytest.raises(CascadeError, match="CAS-001"):
            bad()


# ------------------------------------------------------------------------------- branching


@pytest.mark.parametrize("gain", [0.1, 0.5, 0.8])
def test_borel_by_its_definition(gain: float) -> None:
    n = np.arange(1, 4_000)
    p = branching.borel_pmf(n, gain)
    for k in (1, 2, 3):
        want = math.exp(-gain * k) * (gain * k) ** (k - 1) / math.factorial(k)
        assert p[k - 1] == pytest.approx(want, rel=1e-12)
    mean, variance = branching.borel_moments(gain)
    assert p.sum() == pytest.approx(1.0, abs=1e-9)
    assert (p * n).sum() == pytest.approx(mean, rel=1e-6) and mean == pytest.approx(1 / (1 - gain))
    assert (p * (n - mean) ** 2).sum() == pytest.approx(variance, rel=1e-4)
    assert variance == pytest.approx(gain / (1 - gain) ** 3)


def test_borel_at_its_ends() -> None:
    assert branching.borel_pmf([1, 2], 0.0).tolist() == [1.0, 0.0]
    assert branching.borel_moments(1.0) == (math.inf, math.inf)
    # The tail at g = 1 falls with the exponent 3/2.
    p = branching.borel_pmf([1_000, 4_000], 1.0)
    assert p[0] / p[1] == pytest.approx(4**1.5, rel=1e-3)
    assert p[0] == pytest.approx(1_000**-1.5 / math.sqrt(2 * math.pi), rel=1e-3)


def cascades(gain: float, count: int, seed: int) -> np.ndarray:
    """Units closed from one ancestor over Poisson thresholds: the sweep plays the cascade."""
    rng = np.random.default_rng(seed)
    law = ladder.power_displacement(1.0)
    out = np.empty(count)
    for i in range(count):
        # One unit sold moves price by 1; thresholds stand with a density of g per unit of price.
        reach, gaps = 0.0, []
        while reach < 400.0:
            step = rng.exponential(1.0 / gain, 64)
            gaps.append(step)
            reach += float(step.sum())
        d = np.cumsum(np.concatenate(gaps))
        out[i] = 1.0 + ladder.sweep(d, np.ones(d.size), 1.0, law).coins
    return out


@pytest.mark.parametrize("gain", [0.3, 0.6])
def test_sizes_of_cascades_are_borel(gain: float) -> None:
    sizes = cascades(gain, 10_000, 11)
    mean, variance = branching.borel_moments(gain)
    # Four standard errors.
    assert sizes.mean() == pytest.approx(mean, abs=4 * math.sqrt(variance / sizes.size))
    assert sizes.var() == pytest.approx(variance, rel=0.2)
    fit = branching.branching_fit(sizes, gain)
    assert fit.gain == pytest.approx(gain, abs=0.02) and fit.p_value > 1e-3
    for k in (1, 2, 3):
        p = float(branching.borel_pmf(k, gain))
        error = math.sqrt(p * (1 - p) / sizes.size)
        assert (sizes == k).mean() == pytest.approx(p, abs=4 * error)
    assert branching.branching_fit(sizes, gain + 0.08).p_value < 1e-6
    assert branching.branching_fit(sizes).p_value > 1e-3


def test_other_sizes_are_told_from_borel() -> None:
    geometric = np.random.default_rng(1).geometric(0.5, 20_000)
    assert branching.branching_fit(geometric).p_value < 1e-9
    for bad in ([1.0] * 5, [0.0] * 20, [1.5] * 20):
        with pytest.raises(CascadeError, match="CAS-001"):
            branching.branching_fit(bad)
