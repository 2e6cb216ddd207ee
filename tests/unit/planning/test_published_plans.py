"""Plans held to figures from the literature and to other packages, on inputs not used elsewhere.

Sources are named beside the figures. Values printed with few digits are matched to half a unit of
the last one.
"""

from __future__ import annotations

import math
from datetime import date

import numpy as np
import pytest

from crossmargin.errors import PlanningError
from crossmargin.planning import (
    align,
    average_true_range,
    closing_times_ns,
    coin_series,
    drawdown_report,
    floor_exposure,
    growth_multiple,
    hedge_band,
    hedging_error,
    kelly_binary,
    kelly_weights,
    macro_series,
    macro_stress,
    merton_weight,
    no_trade_half_width,
    rebalance,
    risk_budget_weights,
    risk_target,
    shortfall_contributions,
    simulate_drawdowns,
    unit_values,
    volatility_contributions,
)
from crossmargin.stats import expected_shortfall, value_at_risk

NAN = math.nan


def covariance(vols: list[float], rho: list[list[float]]) -> np.ndarray:
    return np.outer(vols, vols) * np.array(rho)


class TestRiskParity:
    FOUR = ([0.1, 0.2, 0.3, 0.4],)

    def test_maillard_roncalli_teiletche(self) -> None:
        """Journal of Portfolio Management (2010), four assets, two correlation matrices."""
        apart = [[1, 0.8, 0, 0], [0.8, 1, 0, 0], [0, 0, 1, -0.5], [0, 0, -0.5, 1]]
        found = risk_budget_weights(covariance([0.1, 0.2, 0.3, 0.4], apart))
        assert np.round(100 * found, 1).tolist() == [38.4, 19.2, 24.3, 18.2]
        alike = (np.full((4, 4), 0.5) + 0.5 * np.eye(4)).tolist()
        found = risk_budget_weights(covariance([0.1, 0.2, 0.3, 0.4], alike))
        assert found == pytest.approx([0.48, 0.24, 0.16, 0.12], rel=1e-9)

    def test_bruder_roncalli(self) -> None:
        """Managing risk exposures using the risk budgeting approach (2012), three assets."""
        c = covariance([0.30, 0.20, 0.15], [[1, 0.8, 0.5], [0.8, 1, 0.3], [0.5, 0.3, 1]])
        parts = volatility_contributions([0.5, 0.2, 0.3], c)
        assert round(100 * parts.sum(), 2) == 20.87
        assert np.round(100 * parts / parts.sum(), 2).tolist() == [70.43, 15.93, 13.64]
        budgets = risk_budget_weights(c, [0.5, 0.2, 0.3])
        assert np.round(100 * budgets, 2).tolist() == [31.15, 21.90, 46.96]

    def test_one_asset_is_all_and_none_is_refused(self) -> None:
        assert risk_budget_weights([[0.04]]).tolist() == [1.0]
        with pytest.raises(PlanningError, match="PLN-001"):
            risk_budget_weights(np.zeros((0, 0)))

    def test_a_tail_of_nothing_is_refused(self) -> None:
        with pytest.raises(PlanningError, match="PLN-003"):
            shortfall_contributions([1.0], [[1.0], [-1.0]], 1.0)


class TestSizes:
    def test_thorp(self) -> None:
        """Thorp (2006), section 7: μ 11 %, r 6 %, σ 15 %: f* = 2.22; a coin at 53 %: 6 %."""
        assert round(float(kelly_weights([0.05], [[0.0225]], fraction=1)[0]), 2) == 2.22
        assert kelly_binary(0.53, 1.0, fraction=1) == pytest.approx(0.06)

    #: StockCharts ChartSchool, worksheet of the average true range (QQQQ): high, low, close.
    BARS = """48.70 47.79 48.16 48.72 48.14 48.61 48.90 48.39 48.75 48.87 48.37 48.63 48.82 48.24
    48.74 49.05 48.64 49.03 49.20 48.94 49.07 49.35 48.86 49.32 49.92 49.50 49.91 50.19 49.87 50.13
    50.12 49.20 49.53 49.66 48.90 49.50 49.88 49.43 49.75 50.19 49.73 50.03 50.36 49.26 50.31 50.57
    50.09 50.52 50.65 50.30 50.41 50.43 49.21 49.34 49.63 48.98 49.37 50.33 49.61 50.23 50.29 49.20
    49.24 50.17 49.43 49.93 49.32 48.08 48.43 48.50 47.64 48.18 48.32 41.55 46.57 46.80 44.28 45.41
    47.80 47.31 47.77 48.39 47.20 47.72 48.66 47.90 48.62 48.79 47.73 47.85"""
    PRINTED = (0.56, 0.59, 0.59, 0.57, 0.61, 0.62, 0.64, 0.67, 0.69, 0.77, 0.78, 1.21, 1.30, 1.38,
               1.37, 1.34, 1.32)  # fmt: skip

    def test_true_range_of_stockcharts(self) -> None:
        high, low, close = np.array(self.BARS.split(), dtype=float).reshape(-1, 3).T
        found = average_true_range(high, low, close, 14)
        assert np.isnan(found[:13]).all()
        # Half a cent for the average's print, and as much for the bars'. Leaving the first bar out,
        # as TA-Lib does, is up to 0.028 off.
        assert found[13:] == pytest.approx(self.PRINTED, abs=0.01)
        later = average_true_range(high, low, close, 14, first="skip")
        assert np.isnan(later[:14]).all() and np.isfinite(later[14])

    def test_as_many_periods_as_bars(self) -> None:
        assert average_true_range([3.0, 4.0], [1.0, 2.0], [2.0, 3.0], 2)[1] == pytest.approx(2.0)
        with pytest.raises(PlanningError, match="2 periods of 2 bars"):
            average_true_range([3.0, 4.0], [1.0, 2.0], [2.0, 3.0], 2, first="skip")


class TestFalls:
    def test_skfolio_and_empyrical(self) -> None:
        measures = pytest.importorskip("skfolio.measures")
        empyrical = pytest.importorskip("empyrical")
        returns = np.random.default_rng(1).normal(0.0003, 0.02, 777)
        falls = measures.get_drawdowns(returns, compounded=True)
        # skfolio starts at the first return, so the unit does here as well.
        found = drawdown_report(np.cumprod(1 + returns), periods_per_year=365)
        assert found.at_risk == pytest.approx(measures.cdar(falls, 0.95), rel=1e-12)
        assert found.ulcer == pytest.approx(measures.ulcer_index(falls), rel=1e-12)
        assert found.worst.depth == pytest.approx(measures.max_drawdown(falls), rel=1e-12)
        whole = drawdown_report(np.concatenate([[1], np.cumprod(1 + returns)]))
        theirs = empyrical.annual_return(returns, annualization=365)
        assert whole.annual_return == pytest.approx(theirs, rel=1e-12)
        for level in (0.95, 0.975, 0.9):
            assert expected_shortfall(-returns, level) == pytest.approx(
                measures.cvar(returns, level)
            )
            assert value_at_risk(-returns, level) == pytest.approx(
                measures.value_at_risk(returns, level)
            )

    def test_magdon_ismail_with_a_drift(self) -> None:
        """Magdon-Ismail, Atiya, Pratap, Abu-Mostafa (2004): E[MDD] = 2σ²/μ·Q(μ²T/2σ²) for μ > 0.

        Their table has Q(0.01) = 0.084693. Looking at whole steps misses 0.5826σ at each end.
        """
        sigma, steps = 1e-4, 4_000
        drift = sigma * math.sqrt(2 * 0.01 / steps)
        made = simulate_drawdowns(drift=drift, vol=sigma, steps=steps, paths=2_500, seed=3)
        want = 2 * sigma**2 / drift * 0.084693 - 2 * 0.5826 * sigma
        assert made.mean == pytest.approx(want, abs=3 * made.error)
        assert made.mean / (sigma * math.sqrt(steps)) < 1.2533 - 3 * 0.02  # less than driftless

    def test_a_withdrawal_is_no_loss(self) -> None:
        assert unit_values([100, 50, 55], [0, -50, 0]) == pytest.approx([1.0, 1.0, 1.1])

    def test_cppi_of_black_and_perold(self) -> None:
        """Floor 75 of 100 at a multiple of 2: 50 at risk; at the floor, and below it, none."""
        held = floor_exposure(100, 100, keep=0.75, multiple=2)
        assert (held.exposure, held.gap) == (50.0, 0.5)
        assert floor_exposure(75, 100, keep=0.75, multiple=2).exposure == 0.0
        assert floor_exposure(-5, 100, keep=0.75, multiple=2, margin_rate=0.1).exposure == 0.0
        assert growth_multiple(0.08, 0.2, 0.8, aversion=2.0) == pytest.approx(0.08 / 0.04 / 1.2)

    @pytest.mark.parametrize(
        "more", [{"vol": NAN}, {"drift": math.inf}, {"vol": 0.1, "levels": (2.0,)}]
    )
    def test_figures_that_are_none(self, more: dict) -> None:
        with pytest.raises(PlanningError, match="PLN-003"):
            simulate_drawdowns(steps=5, paths=5, seed=1, **more)


class TestWaysBack:
    @pytest.mark.parametrize(("steps", "printed"), [(21, 0.43), (84, 0.22)])
    def test_derman_kamal(self, steps: int, printed: float) -> None:
        """Goldman Sachs QS Research Notes (1999): a month's call at the money, σ 20 %, S 100.

        The formula √(π/4)·vega·σ/√n is for many steps; their simulated figures are 0.43 and 0.22.
        """
        root = 0.2 * math.sqrt(1 / 12)
        vega = 100 * math.sqrt(1 / 12) * math.exp(-(root**2) / 8) / math.sqrt(2 * math.pi)
        found = hedging_error(
            price=100, strike=100, vol=0.2, years=1 / 12, steps=steps, paths=20_000, seed=1
        ).error
        assert found == pytest.approx(printed, abs=0.0075)
        assert found == pytest.approx(
            math.sqrt(math.pi / 4) * vega * 0.2 / math.sqrt(steps), rel=1 / math.sqrt(steps)
        )

    def test_hulls_moving_volatility(self) -> None:
        """Options, Futures and Other Derivatives, ch. 23: λ 0.9, 1 %, return 2 %: 1.14 %."""
        found = risk_target(0.01, 0.02, target=0.01, decay=0.9)
        assert found.vol**2 == pytest.approx(0.00013, rel=1e-12)

    def test_costs_come_out_of_the_whole(self) -> None:
        """70/30 to 60/40 at 0.1 %: x sold, y bought, 70 − x = 0.6·W, 30 + y = 0.4·W."""
        made = rebalance([70, 30], [0.6, 0.4], cost_rate=0.001)
        whole = 100 - made.cost
        assert made.cost == pytest.approx(0.001 * np.abs(made.trades).sum(), rel=1e-12)
        assert made.trades == pytest.approx([0.6 * whole - 70, 0.4 * whole - 30], rel=1e-12)

    def test_a_wide_band_sells_nothing_short(self) -> None:
        """The first may be 0 to 15 %, holds nothing, and must not be sold to balance the rest."""
        made = rebalance([0.0, 30, 70], [0.05, 0.475, 0.475], band=[0.1, 0.02, 0.3], to="edge")
        assert made.after == pytest.approx([0.0, 0.455, 0.545], rel=1e-12)
        short = rebalance([150.0, -50.0], [1.3, -0.3], to="edge", band=0.05)
        assert short.after == pytest.approx([1.35, -0.35], rel=1e-12)

    @pytest.mark.parametrize(
        "call",
        [
            lambda: risk_target(0.02, NAN, target=0.02),
            lambda: hedge_band(100, NAN, 0.005, 1.0),
            lambda: no_trade_half_width(NAN, 1.0, 0.1),
            lambda: merton_weight(NAN, 0.1, 1.0),
        ],
    )
    def test_figures_that_are_none(self, call) -> None:  # type: ignore[no-untyped-def]
        """A return that is missing once gave the whole weight."""
        with pytest.raises(PlanningError, match="PLN-003"):
            call()

    def test_no_band_where_everything_or_nothing_is_held(self) -> None:
        assert no_trade_half_width(1.0, 1.0, 0.01) == no_trade_half_width(0.0, 2.0, 0.01) == 0.0
        assert hedge_band(100, 0.0, 0.005, 1.0) == 0.0


def day(text: str) -> int:
    return (date.fromisoformat(text) - date(1970, 1, 1)).days


class TestMacro:
    def test_clocks_change_and_a_leap_day_is_a_day(self) -> None:
        """New York: 16:00 is 21:00 UTC in winter; 2024 changed on 10 March and 3 November."""
        days = ["2024-02-29", "2024-03-08", "2024-03-11", "2024-11-01", "2024-11-04"]
        found = closing_times_ns(np.array([day(d) for d in days])) // (3_600 * 10**9) % 24
        assert found.tolist() == [21, 21, 20, 20, 21]

    def test_weekends_and_the_leap_day_in_a_half_year(self) -> None:
        first, last = day("2020-01-01"), day("2020-07-01")
        rng = np.random.default_rng(0)
        hours = np.arange(first * 24, (last + 2) * 24) * 3_600 * 10**9
        coin = coin_series("X", hours, np.exp(np.cumsum(rng.normal(0, 0.005, hours.size))))
        open_days = [d for d in range(first, last) if (d + 3) % 7 < 5]
        walk = np.exp(np.cumsum(rng.normal(0, 0.01, len(open_days))))
        made = align([coin], [macro_series("S", open_days, walk)])
        assert sorted(set(made.span_days.tolist())) == [1, 3]
        assert (made.span_days == 3).sum() == 26 and made.span_days.sum() == 181
        with pytest.raises(PlanningError, match="PLN-003"):
            macro_stress(made, {"S": NAN})

    @pytest.mark.parametrize("days", [[1.5, 2, 3], [1, NAN, 3]])
    def test_days_are_whole(self, days: list[float]) -> None:
        with pytest.raises(PlanningError, match="whole number"):
            macro_series("S", days, [1.0, 2.0, 3.0])
