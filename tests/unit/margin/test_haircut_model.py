"""The haircut model: the figures of the requirements, its laws, and recorded histories."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossmargin.errors import MarginError, RulesetError
from crossmargin.margin import (
    HaircutPoint,
    haircut_history,
    haircut_schedule,
    haircut_spec,
    model_haircut,
    tiers_from_points,
)
from crossmargin.margin.collateral import counted_share
from crossmargin.margin.haircut_model import stressed_window
from crossmargin.market import bid_side, read_price_history

#: Row A17: z·σ·√T + half-spread + Y·σ·√(Q/ADV).
ROW = {"method": "normal", "measure": "var", "form": "linear", "spread_stress": 1.0}


def one(sigma: float = 0.04, **fields: Any) -> HaircutPoint:
    """The haircut of one size; ``share`` is Q/ADV."""
    share = fields.pop("share", 0.0)
    spec = haircut_spec(**{"horizon_days": 1, **fields})
    return model_haircut(spec, sigma=sigma, usd=share * 1e6, adv_usd=1e6)[0]


def walk(days: int = 800, sigma: float = 0.03, seed: int = 1) -> np.ndarray:
    returns = np.random.default_rng(seed).standard_t(4, days) * sigma / math.sqrt(2)
    return 100.0 * np.exp(np.concatenate([[0.0], np.cumsum(returns)]))


class TestFigures:
    def test_row_a17(self) -> None:
        assert one(**ROW).haircut == pytest.approx(0.0931, abs=5e-5)
        full = one(**ROW, half_spread=0.005, share=0.04)
        assert full.impact == pytest.approx(0.008)
        assert full.haircut == pytest.approx(0.1061, abs=5e-5)

    def test_worked_case_of_clearing_practice(self) -> None:
        # §3 gives 14.25 % without its inputs. Row A17's, sold over five days (§1.7), with the
        # shortfall at 97.5 % (§1.6), give it; that these are the inputs is inferred.
        made = one(
            method="normal",
            level=0.975,
            horizon_days=5,
            path="linear",
            half_spread=0.005,
            spread_stress=1.0,
            share=0.04,
        )
        assert made.haircut == pytest.approx(0.1425, abs=5e-5)
        risk = 1 - math.exp(-2.3378 * 1.4832 * 0.04)
        assert made.haircut == pytest.approx(risk + 0.005 + 0.008, abs=1e-5)

    def test_larger_holdings_take_longer(self) -> None:
        # 35 % of the volume at 10 % a day: four days.
        made = one(method="normal", share=0.35, participation=0.1)
        assert made.days == 4.0
        assert made.market == pytest.approx(1 - math.exp(-2.6652 * 0.04 * 2), abs=1e-5)

    def test_floors(self) -> None:
        assert one(**ROW, floor=0.15).haircut == 0.15
        assert one(**ROW, floor=0.15).binding == "venue floor"
        # A de-peg that volatility cannot see, with the costs of selling on top.
        peg = one(sigma=1e-4, **ROW, jump=0.12, half_spread=0.01)
        assert peg.haircut == pytest.approx(0.13) and peg.binding == "jump"
        assert one(sigma=2.0, **ROW).haircut == 1.0
        assert one(sigma=2.0, **ROW).binding == "all of it"
        assert one(**ROW, wrong_way=0.02).haircut == pytest.approx(0.0931 + 0.02, abs=5e-5)


class TestLaws:
    @given(
        sigma=st.floats(1e-3, 0.2),
        days=st.floats(0.1, 30),
        share=st.floats(0, 2),
        grow=st.floats(1, 3),
        path=st.sampled_from(["held", "linear"]),
        form=st.sampled_from(["log", "linear"]),
        measure=st.sampled_from(["es", "var"]),
    )
    def test_rises_with_volatility_horizon_and_size(
        self,
        sigma: float,
        days: float,
        share: float,
        grow: float,
        path: str,
        form: str,
        measure: str,
    ) -> None:
        how = {"method": "normal", "path": path, "form": form, "measure": measure}
        if path == "linear":
            days = max(days, 1.0)
        base = one(sigma, horizon_days=days, share=share, **how).haircut
        assert 0.0 <= base <= 1.0
        assert one(sigma * grow, horizon_days=days, share=share, **how).haircut >= base
        assert one(sigma, horizon_days=days * grow, share=share, **how).haircut >= base - 1e-15
        assert one(sigma, horizon_days=days, share=share * grow, **how).haircut >= base

    @given(
        cuts=st.lists(st.floats(0, 1), min_size=2, max_size=9),
        widths=st.lists(st.floats(1, 1e6), min_size=8, max_size=8),
    )
    def test_tiers_fall_and_count_no_more_than_the_model(
        self, cuts: list[float], widths: list[float]
    ) -> None:
        sizes = np.concatenate([[0.0], np.cumsum(widths)])[: len(cuts)]
        points = [
            HaircutPoint(
                usd=float(size),
                days=1.0,
                market=cut,
                stressed=0.0,
                jump=0.0,
                spread=0.0,
                impact=0.0,
                wrong_way=0.0,
                haircut=cut,
                binding="market",
            )
            for size, cut in zip(sizes, cuts)
        ]
        made = tiers_from_points(points)
        factors = [t.factor for t in made.tiers]
        assert factors == sorted(factors, reverse=True)
        best = 0.0
        for point in points[1:]:
            share = counted_share(made, "im", np.array([0.0]), np.array([point.usd]))[0]
            best = max(best, point.usd * (1 - point.haircut))
            assert share * point.usd <= best * (1 + 1e-12) + 1e-9

    def test_value_is_concave_in_size(self) -> None:
        made = haircut_schedule(walk(), adv_usd=1e8)
        sizes = np.linspace(1e4, 2e8, 400)
        value = sizes * counted_share(made.schedule, "im", np.zeros(sizes.size), sizes)
        assert (np.diff(value, 2) <= 1e-6).all() and (np.diff(value) >= -1e-6).all()


class TestHistories:
    def test_historical_shortfall_by_hand(self) -> None:
        prices = walk(400)
        spec = haircut_spec(horizon_days=2, stress_days=0, level=0.9)
        made = haircut_schedule(prices, spec=spec)
        losses = sorted(
            (math.log(prices[k - 2] / prices[k]) for k in range(len(prices) - 1, 1, -2)),
            reverse=True,
        )
        assert made.blocks == len(losses) == 200
        expected = 1 - math.exp(-sum(losses[:20]) / 20)
        assert made.points[0].haircut == pytest.approx(expected, rel=1e-12)
        assert made.schedule.tiers[0].factor == pytest.approx(1 - expected)
        assert "does not grow with size" in made.notes[0]

    def test_the_stressed_period_is_the_wildest_and_a_floor(self) -> None:
        calm, wild = walk(700, 0.01), walk(250, 0.06, seed=2)
        prices = np.concatenate([calm, calm[-1] * wild[1:] / wild[0], calm[1:]])
        returns = np.diff(np.log(prices))
        window = stressed_window(returns, 250)
        assert window is not None
        sums = [float(np.sum(returns[k : k + 250] ** 2)) for k in range(returns.size - 249)]
        assert window[0] == int(np.argmax(sums)) and window[1] - window[0] == 249
        with_floor = haircut_schedule(prices, spec=haircut_spec(method="filtered")).points[0]
        without = haircut_schedule(
            prices, spec=haircut_spec(method="filtered", stress_days=0)
        ).points[0]
        assert with_floor.binding == "stressed period"
        assert with_floor.haircut == with_floor.stressed > without.haircut == without.market
        assert stressed_window(returns[:100], 250) is None

    def test_filtering_follows_todays_volatility(self) -> None:
        calm, wild = walk(700, 0.01), walk(300, 0.05, seed=2)
        rising = np.concatenate([calm, calm[-1] * wild[1:] / wild[0]])
        for method, low, high in (("historical", 0.05, 0.2), ("filtered", 0.12, 0.6)):
            spec = haircut_spec(method=method, stress_days=0)
            assert low < haircut_schedule(rising, spec=spec).points[0].haircut < high

    def test_history_knows_nothing_of_the_future(self) -> None:
        prices = walk(600)
        past = haircut_history(prices, every=100)
        assert [day for day, _ in past] == [300, 400, 500, 600]
        for day, point in past:
            assert point == haircut_schedule(prices[: day + 1]).points[0]
        with pytest.raises(MarginError) as caught:
            haircut_history(prices[:200])
        assert caught.value.code == "MRG-011"

    def test_a_book_costs_at_least_what_it_shows(self) -> None:
        thin = bid_side([(99.0, 100.0), (90.0, 1_000.0), (50.0, 1e5)], [(101.0, 5.0)])
        assert thin.half_spread == pytest.approx(0.01)
        # 20,000 USD = 200 coins: 100 at 99, 100 at 90: 5.5 % below the middle, less 1 % spread.
        assert thin.sell_cost(20_000.0) == pytest.approx(0.055 - 0.01)
        assert thin.sell_cost(1e9) is None and thin.sell_cost(0.0) == 0.0
        made = haircut_schedule(walk(), adv_usd=1e9, sizes_usd=[20_000.0, 1e8], depth=thin)
        assert made.spec.half_spread == pytest.approx(0.01)
        assert made.points[1].impact == pytest.approx(0.045)
        assert made.points[2].impact == pytest.approx(made.sigma * math.sqrt(0.1))

    def test_sizes_beyond_what_history_can_tell_count_nothing(self) -> None:
        made = haircut_schedule(walk(200), adv_usd=1e6, sizes_usd=[1e5, 1e6, 1e8])
        assert [p.usd for p in made.points] == [0.0, 1e5, 1e6]
        assert any("takes longer" in note for note in made.notes)
        assert counted_share(made.schedule, "im", np.zeros(1), np.array([1e12]))[0] < 1e-5

    def test_refusals(self) -> None:
        with pytest.raises(MarginError, match="daily volume") as caught:
            haircut_schedule(walk(), sizes_usd=[1e6])
        assert caught.value.code == "MRG-010"
        with pytest.raises(MarginError) as caught:
            haircut_schedule(walk(30))
        assert caught.value.code == "MRG-011"
        for bad in ([1.0, -1.0], [1.0, math.nan]):
            with pytest.raises(MarginError) as caught:
                haircut_schedule(bad)
            assert caught.value.code == "MRG-012"
        for field, value in (("level", 1.0), ("horizon_days", 0), ("methid", "x")):
            with pytest.raises(RulesetError) as refused:
                haircut_spec(**{field: value})
            assert refused.value.code == "RUL-001"


def recorded(name: str) -> Path:
    folder = os.environ.get("CROSSMARGIN_DATA")
    if not folder:
        pytest.skip("CROSSMARGIN_DATA is not set: haircuts of recorded histories are not tested")
    path = Path(folder) / name
    if not path.is_file():
        pytest.skip(f"CROSSMARGIN_DATA has no {name}")
    return path


class TestRecorded:
    def test_riskier_coins_have_larger_haircuts(self) -> None:
        path = recorded("binance_spot_1h.parquet")
        found = {}
        for coin in ("BTC", "SOL"):
            history = read_price_history(path, coin)
            assert history.symbol == f"{coin}USDT" and history.missing_days == 0
            found[coin] = haircut_schedule(history.close).points[0].haircut
        assert 0.05 < found["BTC"] < found["SOL"] < 0.6

    def test_a_stablecoins_depeg_is_in_its_stressed_period_or_given(self) -> None:
        path = recorded("yahoo_crypto_daily.parquet")
        history = read_price_history(path, "USDC")
        calm = haircut_schedule(history.close, spec=haircut_spec(stress_days=0)).points[0]
        assert calm.haircut < 0.03
        jump = haircut_schedule(history.close, spec=haircut_spec(jump=0.12)).points[0]
        assert jump.haircut == pytest.approx(0.12) and jump.binding == "jump"

    def test_the_model_covers_the_next_two_days(self) -> None:
        """Out of sample and without the floor: what the next two days took beyond the haircut.

        The shortfall at 97.5 % is about the quantile at 99 % (clearing-practice §1.6), so about
        1 % of 1,100 two-day windows should lie beyond it: 11, of which 4 to 20 are ordinary luck
        (two standard deviations of a binomial are 6.6).
        """
        history = read_price_history(recorded("binance_spot_1h.parquet"), "BTC")
        logs = np.log(history.close)
        spec = haircut_spec(method="filtered", stress_days=0, level=0.975)
        exceeded = days = 0
        for day in range(750, logs.size - 2, 2):
            cut = haircut_schedule(history.close[:day], spec=spec).points[0].haircut
            exceeded += 1 - math.exp(logs[day + 1] - logs[day - 1]) > cut
            days += 1
        assert days > 1_100
        assert 4 <= exceeded * 1_100 / days <= 20
