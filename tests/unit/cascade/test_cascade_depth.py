"""Depth: withdrawal by the table, scatter, refill, hours, gaps; resilience; volatility."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crossmargin.cascade.depth import (
    DepthRule,
    Resilience,
    Withdrawal,
    base_depth,
    hour_of_week,
    hour_profile,
    house_resilience,
    stressed_depth,
    window_steps,
    withdrawal,
)
from crossmargin.cascade.draws import generator
from crossmargin.cascade.figures import shipped_table, table_from_toml, value_of
from crossmargin.cascade.volatility import Volatility
from crossmargin.errors import CascadeError
from crossmargin.stats import ewma_volatility
from crossmargin.units import parse_time

MINUTE = 60 * 1_000_000_000


def test_bases_are_a_hundred_times_the_one_percent_depth() -> None:
    assert base_depth(("SOL", "BTC")).tolist() == [4.0e9, 24.4e9]
    assert base_depth(("HYPE",), {"HYPE": 1e8}).tolist() == [1e8]
    with pytest.raises(CascadeError, match="CAS-003"):
        base_depth(("HYPE",))


@pytest.mark.parametrize(
    ("z", "shrink"),
    [
        (0.0, 1.0),
        (0.5, 1.08),
        (-3.999, 1.08),
        (4.0, 1.23),
        (-6.0, 1.40),
        (8.0, 1.75),
        (11.999, 1.75),
        (-12.0, 2.40),
        (20.0, 6.1),
        (-300.0, 6.1),
        (math.inf, 6.1),
        (math.nan, 1.0),
    ],
)
def test_the_table_of_fact_four(z: float, shrink: float) -> None:
    assert withdrawal().left([z]) == pytest.approx(1 / shrink)


def test_scatter_has_the_percentile_of_fact_four() -> None:
    """Beyond 20σ: median 6.1, p90 34; elsewhere none is known and none is made up."""
    n = 20_000
    eps = generator(0, 0, "depth").standard_normal(n)
    shrink = 1 / withdrawal().left(np.full(n, 25.0), eps)
    for level, expected in ((0.5, 6.1), (0.9, 34.0)):
        # The share below the stated percentile is binomial.
        share = (shrink < expected).mean()
        assert abs(share - level) < 3 * math.sqrt(level * (1 - level) / n)
    assert (shrink >= 1).all(), "no book grows by being withdrawn"
    assert np.ptp(withdrawal().left(np.full(n, 15.0), eps)) == 0.0


def test_books_come_back_with_their_half_life() -> None:
    rule = stressed_depth(("BTC", "ETH"))
    state, depth = rule.next(rule.start(), np.array([-25.0, 0.0]), MINUTE)
    assert depth == pytest.approx([24.4e9 / 6.1, 11.7e9])
    half = round(value_of("depth.toml", "refill_half_life_s") * 1e9)
    state, depth = rule.next(state, np.zeros(2), half)
    assert 1 - depth[0] / 24.4e9 == pytest.approx(0.5 * (1 - 1 / 6.1))
    # In many small steps as in one.
    many = state
    for _ in range(10):
        many, slow = rule.next(many, np.zeros(2), half // 10)
    _, fast = rule.next(state, np.zeros(2), half)
    assert slow == pytest.approx(fast)
    # A milder move does not refill what a stronger one has emptied.
    state, _ = rule.next(rule.start(), np.array([-25.0, 0.0]), MINUTE)
    _, depth = rule.next(state, np.array([5.0, 5.0]), 1)
    assert depth == pytest.approx([24.4e9 / 6.1, 11.7e9 / 1.23])


def test_nothing_happens_by_default() -> None:
    rule = DepthRule(base_usd=[1e9])
    state = rule.start()
    for z in (0.0, -100.0):
        state, depth = rule.next(state, np.array([z]), MINUTE)
        assert depth == 1e9
    assert rule.gap(rule.start(), state, np.array([-0.5])) == 0.0


def test_quotes_that_leave_move_the_price() -> None:
    """Fact 5: half of the book leaves during a fall of 10 %; γ = 0.4 adds 2 %."""
    rule = DepthRule(base_usd=[1e9, 1e9], gap_share=0.4)
    before, after = rule.start(), rule.start()
    after = type(after)(left=np.array([0.5, 1.0]))
    moves = np.array([-0.1, -0.1])
    assert rule.gap(before, after, moves) == pytest.approx([-0.02, 0.0])
    assert rule.gap(after, before, moves) == pytest.approx([0.0, 0.0]), "refill does not"


def test_hours_of_the_week() -> None:
    assert hour_of_week(parse_time("2026-11-23T00:30:00Z")) == 0, "a Monday"
    assert hour_of_week(parse_time("2025-10-10T21:15:00Z")) == 4 * 24 + 21, "a Friday"
    assert hour_of_week(parse_time("2026-11-22T23:59:59Z")) == 167
    times = parse_time("2026-11-23T00:00:00Z") + 3_600 * 10**9 * np.arange(4 * 168)
    values = np.where(np.arange(4 * 168) % 168 < 84, 3.0, 1.0)
    values[0] = 1e9
    profile = hour_profile(times, values)
    assert profile.mean() == pytest.approx(1.0)
    assert profile[0] == pytest.approx(1.5) and profile[100] == pytest.approx(0.5)
    rule = DepthRule(base_usd=[1e9], hours=profile)
    assert rule.next(rule.start(), np.zeros(1), MINUTE, 100)[1] == pytest.approx(5e8)
    with pytest.raises(CascadeError, match="hour 1 "):
        hour_profile(times[:1], values[:1])


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.floats(0, 1), st.floats(1, 1e4), st.lists(st.floats(-0.2, 0.2), max_size=6))
def test_displacement_decays_and_the_permanent_share_stays(
    share: float, half_life: float, moves: list[float]
) -> None:
    rule = Resilience(permanent_share=share, half_life_s=half_life)
    state, expected_transient = rule.start(1), 0.0
    for move in moves:
        state = rule.add(rule.next(state, MINUTE), np.array([move]))
        # By the exponential, e^{−ρt} with ρ = ln 2 / half-life.
        expected_transient *= math.exp(-math.log(2) / half_life * 60.0)
        expected_transient += (1 - share) * move
    assert state.permanent[0] == pytest.approx(share * sum(moves), abs=1e-12)
    assert state.transient[0] == pytest.approx(expected_transient, abs=1e-9)
    assert state.total[0] == pytest.approx(state.permanent[0] + state.transient[0])


def test_resilience_defaults_keep_everything() -> None:
    rule = Resilience()
    state = rule.add(rule.start(2), np.array([-0.1, 0.2]))
    assert rule.next(state, 10**18).total.tolist() == [-0.1, 0.2]
    gap = rule.add(state, np.array([-0.05, 0.0]), transient=True)
    assert gap.transient.tolist() == [-0.05, 0.0] and gap.permanent.tolist() == [-0.1, 0.2]
    quick = Resilience(half_life_s=1.0)
    assert quick.next(gap, 100 * 10**9).total == pytest.approx([-0.1, 0.2])


def test_volatility_is_that_of_the_estimator() -> None:
    returns = 0.01 * generator(1, 0, "returns").standard_normal(200)
    expected = ewma_volatility(returns, 0.94)
    rule = Volatility(start_sigma=expected[:1], decay=0.94)
    state = rule.start()
    for t, r in enumerate(returns):
        assert state.sigma[0] == pytest.approx(expected[t], rel=1e-12)
        state, z = rule.next(state, np.array([r]))
        assert z[0] == pytest.approx(r / expected[t])
    assert state.sigma[0] == pytest.approx(expected[-1])


def test_moves_over_a_window() -> None:
    rule = Volatility(start_sigma=[0.01, 0.0], window=5)
    state = rule.start()
    for t in range(7):
        state, z = rule.next(state, np.array([-0.02, 0.0 if t < 3 else 0.1]))
        assert z[0] == pytest.approx(-0.02 * min(t + 1, 5) / (0.01 * math.sqrt(5)))
        assert z[1] == (0.0 if t < 3 else math.inf)
    assert state.sigma.tolist() == [0.01, 0.0], "constant by default"


def test_shipped_windows_and_half_lives() -> None:
    assert [window_steps(s * 10**9) for s in (10, 60, 300, 900)] == [30, 5, 1, 1]
    assert house_resilience() == Resilience(permanent_share=1.0, half_life_s=210.0)
    state = house_resilience(0.0).add(Resilience().start(1), np.array([-0.2]))
    assert house_resilience(0.0).next(state, 210 * 10**9).total == pytest.approx([-0.1])


def test_figures_name_their_sources_and_nonsense_is_refused() -> None:
    table = shipped_table("depth.toml")
    assert all(f.source in table.sources for f in table.figures.values())
    with pytest.raises(CascadeError, match="CAS-003"):
        value_of("depth.toml", "nothing")
    text = 'format = "crossmargin-figures/1"\nid = "x"\ntitle = "x"\nsources = {}\n'
    with pytest.raises(CascadeError, match="CAS-002"):
        table_from_toml(text + '[figures.a]\nvalue=1\nsource="b"\nconfidence="house"\n', "x")
    with pytest.raises(CascadeError, match="CAS-002"):
        table_from_toml("not toml", "x")
    one = np.ones(1)
    for make in (
        lambda: Withdrawal(lower=one, shrink=one, p90=0 * one),
        lambda: Withdrawal(lower=0 * one, shrink=0.5 * one, p90=0 * one),
        lambda: Withdrawal(lower=0 * one, shrink=2 * one, p90=one),
        lambda: DepthRule(base_usd=[0.0]),
        lambda: DepthRule(base_usd=[1.0], hours=[1.0]),
        lambda: DepthRule(base_usd=[1.0], refill_half_life_s=0.0),
        lambda: Resilience(permanent_share=1.1),
        lambda: Volatility(start_sigma=[0.1], window=0),
    ):
        with pytest.raises(CascadeError, match="CAS-001"):
            make()
