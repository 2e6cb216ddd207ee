"""Smoothed basis, time-weighted average, stable price: held to slow loops and stated figures."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossmargin.errors import MarketDataError
from crossmargin.market import (
    BasisTick,
    StableRule,
    diverges_from_twap,
    mango_stable_rule,
    mark_from_basis,
    smoothed_basis,
    stable_path,
    start_stable,
    twap,
    update_stable,
)

SECOND = 1_000_000_000
MANGO = mango_stable_rule()

ticks = st.lists(st.tuples(st.integers(0, 120), st.floats(-0.2, 0.2)), min_size=1, max_size=8).map(
    lambda rows: sorted(rows, key=lambda row: row[0])
)


def slow_ewma(rows: list[tuple[int, float]], at: int, tau: float, clamp: float) -> float:
    """One step per tick: the state decays towards what was held since the last one."""
    cut = lambda x: max(-clamp, min(clamp, x))
    state, held, last = cut(rows[0][1]), cut(rows[0][1]), rows[0][0]
    for time, value in [*rows[1:], (at, 0.0)]:
        fade = math.exp(-(time - last) / tau)
        state = state * fade + held * (1.0 - fade)
        held, last = cut(value), time
    return state


def slow_twap(rows: list[tuple[int, float]], start: int, end: int) -> tuple[float, int]:
    """Second by second."""
    total, count = 0.0, 0
    for second in range(start, end):
        price = None
        for time, value in rows:
            if time <= second:
                price = value
        if price is not None:
            total, count = total + price, count + 1
    return (total / count if count else math.nan), count


class TestSmoothedBasis:
    @given(ticks, st.integers(0, 100), st.floats(1.0, 500.0), st.floats(0.01, 0.3))
    def test_against_a_slow_loop(
        self, rows: list[tuple[int, float]], more: int, tau: float, clamp: float
    ) -> None:
        at = rows[-1][0] + more
        made = smoothed_basis(
            [t * SECOND for t, _ in rows], [b for _, b in rows], at * SECOND, tau_s=tau, clamp=clamp
        )
        assert made == pytest.approx(slow_ewma(rows, at, tau, clamp), rel=1e-9, abs=1e-12)
        assert abs(made) <= clamp * (1 + 1e-12)

    def test_half_the_way_after_ln_2_time_constants(self) -> None:
        at = round(300 * math.log(2) * SECOND)
        made = smoothed_basis([-10 * SECOND, 0], [0.0, 0.01], at, tau_s=300.0, clamp=0.06)
        # Zero held for ten seconds before: state 0 at the second tick, then half of 1 %.
        assert made == pytest.approx(0.005, rel=1e-9)

    def test_a_print_that_has_just_arrived_counts_nothing(self) -> None:
        made = smoothed_basis([0, 60 * SECOND], [0.0, 0.05], 60 * SECOND, tau_s=300.0, clamp=0.06)
        assert made == 0.0

    def test_sampling_does_not_matter(self) -> None:
        often = [t * SECOND for t in range(601)]
        once = smoothed_basis([0], [0.003], 600 * SECOND, tau_s=300.0, clamp=0.06)
        many = smoothed_basis(often, [0.003] * 601, 600 * SECOND, tau_s=300.0, clamp=0.06)
        assert once == pytest.approx(0.003, rel=1e-12) and many == pytest.approx(once, rel=1e-12)

    def test_the_clamp_is_on_each_observation(self) -> None:
        made = mark_from_basis(
            50_000.0,
            [BasisTick(time_ns=0, basis=0.5)],
            600 * SECOND,
            tau_s=300.0,
            clamp=0.06,
        )
        assert made.basis == pytest.approx(0.06, rel=1e-12) and made.clamped == 1
        assert made.price == pytest.approx(53_000.0, rel=1e-12) and made.age_s == 600.0

    @pytest.mark.parametrize(
        ("times", "basis", "more"),
        [
            ([], [], {}),
            ([0, 1], [0.0], {}),
            ([2, 1], [0.0, 0.0], {}),
            ([0], [math.nan], {}),
            ([5], [0.0], {"at_ns": 4}),
            ([0], [0.0], {"tau_s": 0.0}),
            ([0], [0.0], {"clamp": 0.0}),
        ],
    )
    def test_impossible_ticks_are_refused(
        self, times: list[int], basis: list[float], more: dict[str, Any]
    ) -> None:
        given = {"at_ns": 10, "tau_s": 300.0, "clamp": 0.06, **more}
        with pytest.raises(MarketDataError, match="MKT-013"):
            smoothed_basis(times, basis, given.pop("at_ns"), **given)


class TestTwap:
    @given(
        st.lists(st.tuples(st.integers(0, 100), st.floats(1.0, 100.0)), min_size=1, max_size=8),
        st.integers(0, 90),
        st.integers(1, 60),
    )
    def test_against_seconds(self, rows: list[tuple[int, float]], start: int, length: int) -> None:
        rows = sorted(rows, key=lambda row: row[0])
        price, seconds = slow_twap(rows, start, start + length)
        call = lambda: twap(
            [t * SECOND for t, _ in rows],
            [p for _, p in rows],
            start * SECOND,
            (start + length) * SECOND,
        )
        if not seconds:
            with pytest.raises(MarketDataError, match="MKT-013"):
                call()
            return
        made = call()
        assert made.price == pytest.approx(price, rel=1e-12)
        assert made.covered == pytest.approx(seconds / length, rel=1e-12)

    def test_weights_are_times_not_ticks(self) -> None:
        times = [0, 290 * SECOND, *(295 * SECOND + i for i in range(100))]
        prices = [100.0, 200.0, *([300.0] * 100)]
        made = twap(times, prices, 0, 300 * SECOND)
        assert made.price == pytest.approx((290 * 100 + 5 * 200 + 5 * 300) / 300, rel=1e-9)

    def test_refusals(self) -> None:
        for times, prices, window in (
            ([0], [0.0], (0, 1)),
            ([0], [1.0], (1, 1)),
            ([5], [1.0], (0, 5)),
        ):
            with pytest.raises(MarketDataError, match="MKT-013"):
                twap(times, prices, *window)


def test_guard_holds_at_the_limit() -> None:
    assert diverges_from_twap(150.0, 100.0, 0.5) and diverges_from_twap(50.0, 100.0, 0.5)
    assert not diverges_from_twap(149.99, 100.0, 0.5)
    assert not diverges_from_twap(50.01, 100.0, 0.5)


def slow_stable(times: list[int], prices: list[float], rule: StableRule) -> list[float]:
    """The model kept as a ring of stored prices by interval number, times in seconds."""
    stored: dict[int, float] = {}
    stable, last = prices[0], times[0]
    here = int(times[0] // rule.delay_interval_s)
    for back in range(1, rule.delay_intervals + 1):
        stored[here - back] = prices[0]
    top = bottom = 0.0
    out = [stable]
    for time, price in zip(times[1:], prices[1:], strict=True):
        step = time - last
        if step >= rule.min_step_s and step > 0:
            last = time
            short = min(step, rule.max_step_s)
            top, bottom = top + price * short, bottom + step
            number = int(time // rule.delay_interval_s)
            if number != here:
                before = stored[here - 1]
                new = top / bottom
                new = min(
                    max(new, before * (1 - rule.delay_growth)), before * (1 + rule.delay_growth)
                )
                for one in range(here, number):
                    stored[one] = new
                here, top, bottom = number, 0.0, 0.0
            delayed = stored[here - rule.delay_intervals]
            ratio = min(delayed, stable) / max(delayed, stable)
            limit = rule.growth_per_s * ratio**2 * short
            stable = min(max(price, stable * (1 - limit)), stable * (1 + limit))
        out.append(stable)
    return out


class TestStablePrice:
    @given(
        st.lists(
            st.tuples(st.sampled_from([1, 9, 10, 60, 700, 4_000, 100_000]), st.floats(10.0, 1e3)),
            min_size=1,
            max_size=60,
        ),
        st.integers(0, 10_000),
    )
    @settings(max_examples=80)
    def test_against_a_slow_loop(self, rows: list[tuple[int, float]], start: int) -> None:
        times = [start + int(x) for x in np.cumsum([0, *(step for step, _ in rows[1:])])]
        prices = [p for _, p in rows]
        made = stable_path([t * SECOND for t in times], prices, MANGO)
        assert made == pytest.approx(slow_stable(times, prices, MANGO), rel=1e-12)

    def test_at_most_three_basis_points_a_second(self) -> None:
        state = start_stable(100.0, 0, MANGO)
        state = update_stable(state, 1_000.0, 10 * SECOND, MANGO)
        assert state.price == pytest.approx(100.0 * (1 + 0.0003 * 10), rel=1e-12)

    def test_a_step_counts_as_ten_minutes_at_most_and_ten_seconds_at_least(self) -> None:
        start = start_stable(100.0, 0, MANGO)
        assert update_stable(start, 1_000.0, 9 * SECOND, MANGO) == start
        long = update_stable(start, 1_000.0, 3_000 * SECOND, MANGO)
        assert long.price == pytest.approx(100.0 * (1 + 0.0003 * 600), rel=1e-12)

    def test_slower_when_far_from_the_delayed_price(self) -> None:
        state = start_stable(100.0, 0, MANGO)
        for turn in range(1, 31):
            state = update_stable(state, 1_000.0, turn * 60 * SECOND, MANGO)
        assert state.delayed[0] == 100.0
        before = state.price
        after = update_stable(state, 1_000.0, 31 * 60 * SECOND, MANGO).price
        expected = before * (1 + 0.0003 * 60 * (100.0 / before) ** 2)
        assert before > 140.0 and after == pytest.approx(expected, rel=1e-12)

    def test_the_venues_own_path_of_a_tenfold_spike(self) -> None:
        """Mango's published characteristics: 1.8 after an hour, 2.3 after two, 7.4 after 25."""
        times = [60 * (i + 1) for i in range(60)]
        times += [times[-1] + 10 * (i + 1) for i in range(360)]
        times += [times[-1] + 300 * (i + 1) for i in range(276)]
        path = stable_path([0, *(t * SECOND for t in times)], [1.0] + [10.0] * len(times), MANGO)
        assert path[60] == pytest.approx(1.8, abs=0.1)
        assert path[420] == pytest.approx(2.3, abs=0.1)
        assert path[-1] == pytest.approx(7.4, abs=0.1)

    def test_the_delayed_price_moves_six_per_cent_an_hour(self) -> None:
        state = start_stable(1.0, 0, MANGO)
        for turn in range(1, 121):
            state = update_stable(state, 10.0, turn * 60 * SECOND, MANGO)
        assert state.delayed[-2:] == pytest.approx([1.06, 1.06**2], rel=1e-9)
        assert state.delayed[:-2] == (1.0,) * 22

    def test_it_reaches_an_oracle_that_stays(self) -> None:
        times = [60 * i * SECOND for i in range(3_000)]
        path = stable_path(times, [100.0, *([120.0] * 2_999)], MANGO)
        assert path[-1] == 120.0 and (np.diff(path) >= 0).all()

    def test_impossible_prices_are_refused(self) -> None:
        state = start_stable(100.0, 0, MANGO)
        for bad in (0.0, -1.0, math.nan, math.inf):
            with pytest.raises(MarketDataError, match="MKT-009"):
                update_stable(state, bad, SECOND, MANGO)
        with pytest.raises(MarketDataError, match="MKT-013"):
            stable_path([], [], MANGO)
