"""Rows A04, A13 and A15: both modes on the same paths, and neither favoured."""

from __future__ import annotations

import numpy as np
import pytest

from crossmargin.cascade.modes import compare_modes, play_mode, trader_of, withstood
from crossmargin.errors import InputError

LONG = trader_of(20_000, [1.0], [50_000.0], [5_000.0])


def path(*prices: float) -> np.ndarray:
    return np.array(prices, dtype=np.float64).reshape(1, -1, 1)


class TestRowA04:
    def test_isolated_is_closed_on_the_way_down_and_ends_at_15_000(self) -> None:
        made = play_mode(LONG, path(50_000, 40_000, 50_000), "isolated", fill="line")
        assert made.wealth[0] == 15_000
        assert made.closed_at[0, 0] == 1

    def test_cross_survives_and_ends_at_20_000(self) -> None:
        made = play_mode(LONG, path(50_000, 40_000, 50_000), "cross", fill="line")
        assert made.wealth[0] == 20_000
        assert made.closed_at[0, 0] == -1


class TestRowA13:
    def test_loss_and_deficit_are_25_000_in_both_modes(self) -> None:
        for mode, loss, deficit in (("isolated", 5_000, 20_000), ("cross", 20_000, 5_000)):
            made = play_mode(LONG, path(50_000, 25_000), mode)  # type: ignore[arg-type]
            assert made.loss(LONG)[0] == loss
            assert made.deficit[0] == deficit

    @pytest.mark.parametrize(("sigma", "cross"), [(0.03, 3_840.0), (0.10, 11_700.0)])
    def test_the_tail_favours_neither_mode(self, sigma: float, cross: float) -> None:
        draws = np.random.default_rng(13).standard_normal(200_000)
        marks = np.empty((draws.size, 2, 1))
        marks[:, 0, 0], marks[:, 1, 0] = 50_000, 50_000 * np.exp(sigma * draws)
        pooled, fenced = compare_modes(LONG, marks)
        assert fenced.cvar == pytest.approx(5_000, rel=0.02)
        assert pooled.cvar == pytest.approx(cross, rel=0.02)


class TestRowA15:
    HEDGED = trader_of(10_000, [1.0, -1.0], [50_000.0, 50_000.0], [5_000.0, 5_000.0])
    WAY = np.array([[[50_000.0] * 2, [60_000.0] * 2, [50_000.0] * 2]])

    def test_the_short_goes_at_its_line(self) -> None:
        made = play_mode(self.HEDGED, self.WAY, "isolated", fill="line")
        assert made.close_price[0, 1] == pytest.approx(52_380.95, abs=0.005)
        assert made.forfeited[0] == pytest.approx(2_619.05, abs=0.005)
        assert made.wealth[0] == pytest.approx(5_000)

    def test_the_rest_may_be_returned(self) -> None:
        made = play_mode(self.HEDGED, self.WAY, "isolated", fill="line", forfeiture="trader")
        assert made.wealth[0] == pytest.approx(7_619.05, abs=0.005)

    def test_cross_sees_no_event(self) -> None:
        made = play_mode(self.HEDGED, self.WAY, "cross", fill="line")
        assert made.wealth[0] == 10_000
        assert made.liquidated == 0.0

    def test_what_each_mode_withstands(self) -> None:
        # Isolated short: 5,000 − 50,000·x = 0.05·50,000·(1 + x).
        assert withstood(self.HEDGED, "isolated", 1.0) == pytest.approx(2_500 / 52_500)
        # The hedge nets the price; only the requirement grows: 10,000 = 0.05·100,000·(1 + x).
        assert withstood(self.HEDGED, "cross", 1.0) == pytest.approx(1.0)


def test_money_is_accounted_for_in_both_modes_on_random_paths() -> None:
    rng = np.random.default_rng(4)
    who = trader_of(30_000, [1.0, -9.0, 40.0], [50_000, 3_000, 150], [6_000, 4_000, 900])
    marks = who.entry * np.exp(np.cumsum(0.05 * rng.standard_normal((500, 12, 3)), axis=1))
    for mode in ("cross", "isolated"):
        for fill in ("gap", "line"):
            for keeper in ("venue", "trader"):
                made = play_mode(who, marks, mode, fill=fill, forfeiture=keeper)  # type: ignore[arg-type]
                left = made.wealth - made.deficit + made.forfeited
                market = (who.quantity * (made.close_price - who.entry)).sum(axis=1)
                np.testing.assert_allclose(left, who.wallet + market, rtol=1e-12)
                assert (made.wealth >= 0).all()


def test_one_pot_with_the_whole_wallet_is_cross_margin() -> None:
    """With one position that has the whole wallet, the modes are one thing: no bias of code."""
    rng = np.random.default_rng(5)
    who = trader_of(9_000, [1.0], [50_000.0], [9_000.0])
    marks = 50_000 * np.exp(np.cumsum(0.04 * rng.standard_normal((400, 10, 1)), axis=1))
    cross, isolated = (play_mode(who, marks, mode, fill="line") for mode in ("cross", "isolated"))
    np.testing.assert_array_equal(cross.wealth, isolated.wealth)
    np.testing.assert_array_equal(cross.closed_at, isolated.closed_at)


def test_the_line_fill_against_a_slow_search() -> None:
    """The price of a line fill by bisection on the segment, in plain Python."""
    who = trader_of(9_000, [1.0, 6.0], [50_000, 3_000], [5_000, 1_500])
    marks = np.array([[[50_000, 3_000], [49_000, 2_900], [41_000, 2_500], [45_000, 2_600]]], float)
    made = play_mode(who, marks, "cross", fill="line")

    def excess(share: float) -> float:
        at = [a + share * (b - a) for a, b in zip(marks[0, 1], marks[0, 2])]
        gain = sum(q * (p - e) for q, p, e in zip(who.quantity, at, who.entry))
        return 9_000 + gain - sum(0.05 * abs(q) * p for q, p in zip(who.quantity, at))

    low, high = 0.0, 1.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    expected = marks[0, 1] + low * (marks[0, 2] - marks[0, 1])
    np.testing.assert_allclose(made.close_price[0], expected, rtol=1e-12)


def test_pots_cannot_hold_more_than_the_wallet() -> None:
    with pytest.raises(InputError, match="does not have"):
        trader_of(1_000, [1.0], [50_000.0], [5_000.0])
