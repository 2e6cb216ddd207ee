"""Numbers of the requirements' rows A00, A03, A07, A08, A12, A13, A15, A19, A23, B16, B19, B20.

Through the desk's own functions; the engine's side of A00, A08 and A12 stands in
``test_requirement_rows.py``. Rounded figures are matched to half a unit of their last digit.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from tests.helpers import (
    CALL,
    ETH_PERP,
    PERP,
    account,
    fixture_g,
    flat_rate,
    market,
    rules,
    scan_rules,
)

from crossmargin.analytics import (
    NO_STRESS,
    RiskModel,
    StressDesk,
    StressScenario,
    VenueAccount,
    adequacy,
    capital_ratios,
    collateral_by_location,
    correlation_stress,
    gap_losses,
    gap_tail,
    normal_moves,
    parametric_risk,
    position_margins,
    release_list,
    return_on_margin,
    reverse_stress,
    run_stress,
    simulated_risk,
    statement_ratios,
    stress_library,
    unified_account,
    venues_plan,
    walk_prices,
    worst_days,
)
from crossmargin.errors import MarginError
from crossmargin.margin import CarriedAccount, liquidation_prices, make_statement
from crossmargin.market import Snapshot

G, MARKET = scan_rules(), fixture_g()
CENT = 0.005
HAIRCUT = {
    "source": "s",
    "confidence": "house",
    "haircut_levels": ["im", "mm"],
    "assets": {"BTC": {"haircut": 0.1}, "USDC": {}},
}
RATE = rules(flat_rate(0.10, 0.05))
FUTURE, OTHER = "BTC_USDC-27MAR26", "BTC_USDT-PERPETUAL"
DAY = 86_400 * 10**9


def world(btc: float = 50_000.0, eth: float = 3_000.0) -> Snapshot:
    return market(
        {"BTC": btc, "ETH": eth, "USDC": 1.0, "USDT": 1.0},
        marks={PERP: btc, FUTURE: btc, OTHER: btc, ETH_PERP: eth},
    )


class TestA00AndA19:
    def test_saving_is_a_named_ratio(self) -> None:
        who = account((CALL, 1), (PERP, -0.5), balances={"USDC": 10_000})
        found = {r.name: r for r in statement_ratios(make_statement(who, MARKET, G))}
        assert found["margin saved"].value == pytest.approx(0.8810, abs=5e-5)
        assert found["multiplier"].value == pytest.approx(7_186.30 / 855.36, rel=1e-5)

    def test_ratios_of_the_row(self) -> None:
        found = {
            r.name: r.value
            for r in capital_ratios(
                collateral_usd=1e6, notional_usd=8e6, im_usd=0.6e6, volume_day_usd=25e6
            )
        }
        assert found["notional per collateral"] == pytest.approx(8.0)
        assert found["turnover"] == pytest.approx(25.0)
        assert found["initial margin used"] == pytest.approx(0.60)
        assert found["idle collateral"] == pytest.approx(0.4e6)
        assert "efficiency" not in " ".join(found)  # each by its name

    def test_more_leverage_is_never_less_often_liquidated(self) -> None:
        """The same 400 common paths at every leverage; the walk decides, not a formula."""
        rng = np.random.default_rng(7)
        paths = 50_000 * np.exp(np.cumsum(0.03 * rng.standard_normal((400, 10)), axis=1))
        counts = []
        for leverage in (1.0, 2.0, 3.0, 5.0, 8.0, 9.9):
            quantity = leverage * 10_000 / 50_000
            who = account((PERP, quantity, 50_000), balances={"USDC": 10_000})
            (line,) = liquidation_prices(CarriedAccount(who, world(), RATE).frame)
            level = line.down.price_usd or 0.0
            counts.append(int((paths.min(axis=1) < level).sum()))
            if leverage == 5.0:
                dead = [k for k in range(40) if paths[k].min() < level]
                for k in range(40):
                    walk = walk_prices(who, world(), RATE, "BTC", paths[k].tolist())
                    assert walk.survived == (k not in dead)
        assert counts == sorted(counts) and counts[0] < counts[-1]


class TestA03AndA12:
    PROTECTION = "BTC_USDC-27MAR26-45000-P"

    def test_long_perp_and_half_a_short_future(self) -> None:
        who = account((PERP, 1), (FUTURE, -0.5), balances={"USDC": 10_000})
        rows = position_margins(who, MARKET, G)
        assert [r.allocated_usd for r in rows] == pytest.approx([8_000.0, -4_000.0], rel=1e-9)
        assert sum(r.allocated_usd for r in rows) == pytest.approx(4_000.0, abs=1e-9 * 4_000)

    def test_three_margins_of_a_protective_put(self) -> None:
        who = account((PERP, 1), (self.PROTECTION, 1), balances={"USDC": 10_000})
        perp, put = position_margins(who, MARKET, G)
        assert put.marginal_usd == pytest.approx(-2_703.45, abs=CENT)
        assert put.standalone_usd == pytest.approx(1_284.80, abs=CENT)
        assert perp.standalone_usd == pytest.approx(8_000.0)
        assert perp.marginal_usd == pytest.approx(5_296.55 - 1_284.80, abs=2 * CENT)
        assert perp.allocated_usd + put.allocated_usd == pytest.approx(5_296.55, abs=CENT)
        # Closing the hedge releases nothing: it asks for more.
        assert put.released_usd == pytest.approx(-2_703.45, abs=CENT)
        assert [r.instrument for r in release_list(who, MARKET, G)] == [PERP, self.PROTECTION]

    def test_release_list_is_the_account_without_them(self) -> None:
        who = account((PERP, 1), (CALL, -2), (ETH_PERP, 3), balances={"USDC": 50_000})
        listed = release_list(who, MARKET, G)
        free = make_statement(who, MARKET, G, solve=False).totals.available
        left = list(who.positions)
        total = 0.0
        for row in listed:
            gains = {}
            for p in left:
                rest = [q for q in left if q is not p]
                value = make_statement(
                    account(
                        *[(q.instrument, float(q.quantity)) for q in rest],
                        balances={"USDC": 50_000 + paid(who, rest)},
                    ),
                    MARKET,
                    G,
                    solve=False,
                ).totals.available
                gains[p.instrument] = value - free
            best = max(gains, key=lambda name: gains[name])
            assert row.instrument == best
            assert row.released_usd == pytest.approx(gains[best], rel=1e-9)
            total += gains[best]
            assert row.together_usd == pytest.approx(total, rel=1e-9)
            free += gains[best]
            left = [p for p in left if p.instrument != best]

    def test_return_on_margin(self) -> None:
        found = return_on_margin(1_000, [0], [20_000], 30 * DAY)
        assert found.period == pytest.approx(0.05)
        assert found.annual == pytest.approx(0.6083, abs=5e-5)
        stepped = return_on_margin(1_000, [0, 10 * DAY], [40_000, 10_000], 30 * DAY)
        assert stepped.margin_usd == pytest.approx(20_000)
        assert stepped.annual == pytest.approx(found.annual)

    def test_return_on_marginal_margin(self) -> None:
        who = account((PERP, 1), (self.PROTECTION, 1), balances={"USDC": 10_000})
        earned = {PERP: 401.175, self.PROTECTION: -50.0}
        perp, put = position_margins(who, MARKET, G, pnl_usd=earned)
        assert perp.return_on_marginal == pytest.approx(0.1, rel=1e-4)
        assert put.return_on_marginal is None  # it frees margin: a return on it has no meaning


def paid(who, rest) -> float:
    """Cash from closing at the mark what is not in the rest: only options cost any."""
    names = {p.instrument for p in rest}
    made = make_statement(who, MARKET, G, solve=False)
    return sum(p.value_usd for p in made.positions if p.instrument not in names)


MODEL = RiskModel(sigma={"BTC": 0.03, "ETH": 0.04}, correlation=0.5)
SAME_WAY = account((PERP, 1, 50_000), (ETH_PERP, 10, 3_000), balances={"USDC": 10_000})


class TestA07:
    carried = CarriedAccount(SAME_WAY, world(), RATE)

    def test_normal_figures(self) -> None:
        found = parametric_risk(self.carried, MODEL)
        assert found.sigma_usd == pytest.approx(2_343.07, abs=CENT)
        assert found.var_usd == pytest.approx(5_450.81, abs=CENT)
        assert found.es_usd == pytest.approx(6_244.80, abs=CENT)
        assert found.p_breach == pytest.approx(0.00351, abs=5e-6)
        assert found.p_breach_frozen == pytest.approx(0.00522, abs=5e-6)
        assert found.delta_usd == pytest.approx({"BTC": 50_000.0, "ETH": 30_000.0})

    def test_correlation_one(self) -> None:
        found = parametric_risk(self.carried, RiskModel(sigma=MODEL.sigma, correlation=1.0))
        assert found.sigma_usd == pytest.approx(2_700.00, abs=CENT)
        assert found.var_usd == pytest.approx(6_281.14, abs=CENT)
        assert found.es_usd == pytest.approx(7_196.08, abs=CENT)

    def test_distances(self) -> None:
        found = {x.underlying: x.down.distance for x in liquidation_prices(self.carried.frame)}
        assert found["BTC"] == pytest.approx(-0.1263, abs=5e-5)
        assert found["ETH"] == pytest.approx(-0.2105, abs=5e-5)

    def test_monte_carlo_within_three_standard_errors(self) -> None:
        made = simulated_risk(self.carried, MODEL, draws=40_000, seed=11)
        exact = parametric_risk(self.carried, MODEL)
        assert abs(made.sigma_usd - exact.sigma_usd) < 3 * made.sigma_error_usd
        assert abs(made.es_usd - exact.es_usd) < 3 * made.es_error_usd
        assert abs(made.p_breach - exact.p_breach) < 3 * made.p_breach_error
        assert made.p_breach > 0 and made.refused == 0
        # 99 % VaR: the error of a quantile is √(α(1−α)/n) over the density there.
        density = math.exp(-0.5 * 2.3263479**2) / math.sqrt(2 * math.pi) / exact.sigma_usd
        error = math.sqrt(0.01 * 0.99 / made.draws) / density
        assert abs(made.var_usd - exact.var_usd) < 3 * error
        # Frozen margin is the wrong answer, and the draws can tell.
        assert abs(made.p_breach - exact.p_breach_frozen) > 3 * made.p_breach_error
        assert simulated_risk(self.carried, MODEL, draws=40_000, seed=11) == made


class TestWorstDays:
    """Row A13: the worst 1 % of days with the culprit, and portfolio beta, on A07's account."""

    carried = CarriedAccount(SAME_WAY, world(), RATE)

    def test_against_a_plain_loop(self) -> None:
        made = worst_days(self.carried, MODEL, draws=4_000, share=0.02, seed=3)
        move = normal_moves(MODEL, ["BTC", "ETH"], 4_000, 3).T.tolist()
        days = sorted(([-50_000 * b, -30_000 * e] for b, e in move), key=sum, reverse=True)
        worst = days[:80]
        mean = [math.fsum(day[k] for day in worst) / 80 for k in (0, 1)]
        by_name = {one.name: one for one in made.culprits}
        assert made.days == 80
        for k, name in enumerate((PERP, ETH_PERP)):
            assert by_name[name].mean_usd == pytest.approx(mean[k], rel=1e-9)
            assert by_name[name].worst == sum(day[k] > day[1 - k] for day in worst)
        assert made.mean_usd == pytest.approx(sum(mean), rel=1e-9)
        assert [one.loss_usd for one in made.worst] == pytest.approx([sum(d) for d in days[:5]])
        assert made.worst[0].culprit_usd == pytest.approx(max(days[0]))
        assert sum(one.share for one in made.culprits) == pytest.approx(1.0)

    def test_mean_is_the_shortfall_and_shares_are_eulers(self) -> None:
        made = worst_days(self.carried, MODEL, draws=200_000, seed=7)
        assert made.mean_usd == pytest.approx(6_244.80, rel=0.01)
        # σ_k (Σw)_k / σ²: 1,500·(1,500 + 0.5·1,200) and 1,200·(1,200 + 0.5·1,500) over 2,343.07².
        by_name = {one.name: one.share for one in made.culprits}
        assert by_name[PERP] == pytest.approx(3_150_000 / 5_490_000, abs=0.01)
        assert by_name[ETH_PERP] == pytest.approx(2_340_000 / 5_490_000, abs=0.01)

    def test_beta_moves_the_others_along(self) -> None:
        made = worst_days(self.carried, MODEL, draws=200_000, seed=7)
        # 50,000 + 30,000·0.5·4/3, and 30,000 + 50,000·0.5·3/4.
        assert made.beta_usd["BTC"] == pytest.approx(70_000, rel=0.005)
        assert made.beta_usd["ETH"] == pytest.approx(48_750, rel=0.005)

    @pytest.mark.parametrize("share", [0.0, -0.1, 1.5, math.nan, 1e-6])
    def test_no_worst_day_is_refused(self, share: float) -> None:
        with pytest.raises(MarginError, match="at least one day"):
            worst_days(self.carried, MODEL, draws=1_000, share=share)


class TestB16:
    def test_each_book_meets_the_end_that_hurts(self) -> None:
        hedged = {"BTC": 50_000.0, "ETH": -30_000.0}
        base = RiskModel(sigma=MODEL.sigma, correlation=0.9)
        found = correlation_stress(hedged, base, low=0.3, high=1.0)
        assert found.sigma_base_usd == pytest.approx(670.82, abs=CENT)
        assert found.sigma_low_usd == pytest.approx(1_615.55, abs=CENT)
        assert found.worst == 0.3
        assert found.sigma_worst_usd / found.sigma_base_usd == pytest.approx(2.41, abs=CENT)
        same = correlation_stress({"BTC": 50_000.0, "ETH": 30_000.0}, MODEL)
        assert same.sigma_base_usd == pytest.approx(2_343.07, abs=CENT)
        assert same.worst == 1.0 and same.sigma_worst_usd == pytest.approx(2_700.0)

    @pytest.mark.parametrize("eth, rho, loss", [(10, 1.0, 2_700.00), (-10, 0.3, 1_615.55)])
    def test_stress_chooses_without_being_told(self, eth: int, rho: float, loss: float) -> None:
        who = account((PERP, 1, 50_000), (ETH_PERP, eth, 3_000), balances={"USDC": 10_000})
        one = StressScenario(
            name="b", kind="correlation", sigmas=1.0, correlation_low=0.3, correlation_high=1.0
        )
        row = StressDesk(who, world(), RATE, model=MODEL).row(one)
        assert row.chosen == f"correlation {rho:g}"
        assert row.loss_usd == pytest.approx(loss, abs=CENT)

    def test_collateral_in_the_coin_counts(self) -> None:
        """Wrong-way: the coin falls with the long it secures, right-way beside a short."""
        one = StressScenario(name="b", kind="correlation", sigmas=2.0)
        model = RiskModel(sigma={"BTC": 0.03})
        for quantity, loss in ((1, 6_000.0), (-1, 0.0)):
            who = account((PERP, quantity, 50_000), balances={"BTC": 1.0, "USDC": 1_000})
            row = StressDesk(who, world(), RATE, model=model).row(one)
            assert row.loss_usd == pytest.approx(loss, abs=1e-6)


class TestA08:
    def venues(self) -> list[VenueAccount]:
        a = account((PERP, 1, 50_000), balances={"USDC": 5_000})
        b = account((OTHER, -1, 50_000), balances={"USDT": 5_000})
        return [VenueAccount(venue=n, account=x, ruleset=RATE) for n, x in (("A", a), ("B", b))]

    def plan(self, move: float, **more: object):
        scenario = StressScenario(name="s", moves={"BTC": move})
        return venues_plan(self.venues(), world(), scenario, **more)  # type: ignore[arg-type]

    def test_each_dies_on_its_own_side(self) -> None:
        a, b = self.plan(-0.15).venues
        assert a.down_usd["BTC"] == pytest.approx(47_368.42, abs=CENT)
        assert b.up_usd["BTC"] == pytest.approx(52_380.95, abs=CENT)

    def test_top_ups(self) -> None:
        fall, rise = self.plan(-0.15), self.plan(0.15)
        assert [v.top_up_usd for v in fall.venues] == pytest.approx([4_625.0, 0.0], abs=CENT)
        assert [v.top_up_usd for v in rise.venues] == pytest.approx([0.0, 5_375.0], abs=CENT)

    def test_hedged_on_paper_and_naked_after_the_first_liquidation(self) -> None:
        made = self.plan(-0.15)
        assert made.net_delta == {"BTC": 0.0}
        assert made.net_delta_after == {"BTC": -1.0}
        assert made.naked == ["BTC"]
        assert self.plan(0.15).net_delta_after == {"BTC": 1.0}

    def test_transfers_count_only_where_they_land_in_time(self) -> None:
        """A dies when ln(47,368.42/50,000)/ln(0.85) of the way down: 0.3326 of 24 hours."""
        share = math.log(45_000 / 0.95 / 50_000) / math.log(0.85)
        scenario = StressScenario(name="s", moves={"BTC": -0.15})
        a, b = self.venues()
        rich = VenueAccount(
            venue="B",
            account=account((OTHER, -1, 50_000), balances={"USDT": 12_000}),
            ruleset=RATE,
        )
        for hours, lands in ((24 * share - 0.01, True), (24 * share + 0.01, False)):
            made = venues_plan([a, rich], world(), scenario, hours=24.0, latency_hours=hours)
            assert made.venues[0].liquidated_at_hours == pytest.approx(24 * share, rel=1e-9)
            sent = [(t.source, t.target, pytest.approx(t.usd)) for t in made.transfers]
            assert sent == ([("B", "A", 4_625.0)] if lands else [])
            assert made.prefund_usd == ({} if lands else pytest.approx({"A": 4_625.0}))
        # With 5,000 at B none of it is free today: initial margin takes all.
        poor = venues_plan([a, b], world(), scenario, hours=24.0, latency_hours=1.0)
        assert poor.transfers == [] and poor.prefund_usd == pytest.approx({"A": 4_625.0})

    def test_one_unified_account_lives(self) -> None:
        whole = unified_account(self.venues())
        lines = liquidation_prices(CarriedAccount(whole, world(), RATE).frame)
        (btc,) = [x for x in lines if x.underlying == "BTC"]
        assert not btc.breached
        for side in (btc.down, btc.up):
            assert side.price_usd is None or not 47_368.42 <= side.price_usd <= 52_380.95
        path = walk_prices(whole, world(), RATE, "BTC", [47_368.42, 52_380.95, 50_000.0])
        assert path.survived and path.end_usd == pytest.approx(10_000.0)

    def test_apparent_free_margin_less_top_ups(self) -> None:
        made = self.plan(-0.15)
        assert made.apparent_free_usd == pytest.approx(0.0)
        assert made.true_free_usd == pytest.approx(-4_625.0)

    def test_probability_before_a_transfer_lands(self) -> None:
        made = self.plan(-0.15, latency_hours=6.0, annual_vol={"BTC": 0.8})
        spread = 0.8 * math.sqrt(6 / 8_760)
        away = math.log(50_000 / (45_000 / 0.95)) / spread
        phi = 0.5 * math.erfc(away / math.sqrt(2))
        assert made.venues[0].p_before["BTC"] == pytest.approx(2 * phi, rel=1e-9)


GAPPER = {"instrument": PERP, "quantity": 1, "entry_price": 50_000, "fenced_margin": 5_000}
FENCED = rules(flat_rate(0.10, 0.05), pools={"by": "position"})


class TestA13:
    who = account(GAPPER, balances={"USDC": 20_000})

    def test_loss_and_deficit_by_mode(self) -> None:
        for ruleset, trader, deficit in ((FENCED, 5_000, 20_000), (RATE, 20_000, 5_000)):
            found = gap_losses(self.who, world(), ruleset, "BTC", [25_000.0])
            assert found.trader == pytest.approx([trader])
            assert found.deficit == pytest.approx([deficit])
            assert found.trader[0] + found.deficit[0] == pytest.approx(25_000)

    def test_neither_mode_is_favoured(self) -> None:
        isolated = [
            gap_tail(self.who, world(), FENCED, "BTC", s, knots=61).cvar_usd for s in (0.03, 0.10)
        ]
        cross = [
            gap_tail(self.who, world(), RATE, "BTC", s, knots=61).cvar_usd for s in (0.03, 0.10)
        ]
        assert isolated == pytest.approx([5_000.0, 5_000.0], rel=1e-9)
        assert cross == pytest.approx([3_840.0, 11_700.0], rel=0.02)

    def test_knots_do_not_matter_for_linear_contracts(self) -> None:
        few = gap_tail(self.who, world(), RATE, "BTC", 0.1, draws=20_000, knots=11)
        many = gap_tail(self.who, world(), RATE, "BTC", 0.1, draws=20_000, knots=151)
        assert few.cvar_usd == pytest.approx(many.cvar_usd, rel=1e-9)


class TestA15:
    who = account(
        {"instrument": PERP, "quantity": 1, "entry_price": 50_000, "fenced_margin": 5_000},
        {"instrument": FUTURE, "quantity": -1, "entry_price": 50_000, "fenced_margin": 5_000},
        balances={"USDC": 10_000},
    )

    def test_isolated_loses_the_short_leg(self) -> None:
        ends = {}
        for remainder in ("forfeited", "returned"):
            found = walk_prices(
                self.who, world(), FENCED, "BTC", [60_000, 50_000], remainder=remainder
            )
            (closed,) = found.closed
            assert closed.pot.endswith(FUTURE)
            assert closed.coin_usd == pytest.approx(52_380.95, abs=CENT)
            assert closed.left_usd == pytest.approx(2_619.05, abs=CENT)
            ends[remainder] = found.end_usd
        assert ends["forfeited"] == pytest.approx(5_000, abs=CENT)
        assert ends["returned"] == pytest.approx(7_619.05, abs=CENT)

    def test_cross_sees_no_event(self) -> None:
        found = walk_prices(self.who, world(), RATE, "BTC", [60_000, 50_000])
        assert found.survived and found.end_usd == pytest.approx(10_000)


A23 = rules(flat_rate(0.10, 0.05), collateral=HAIRCUT)
A23_WHO = account((PERP, 1, 50_000), balances={"USDC": 10_000, "BTC": 0.5})


class TestA23:
    def test_ladder(self) -> None:
        made = adequacy(A23_WHO, world(), A23, moves=(-0.5, -0.3, 0.0), map_moves=())
        by = {round(float(r.scenario.rstrip("%")) / 100, 2): r for r in made.ladder}
        assert by[0.0].ratio_im == pytest.approx(6.50)
        assert by[-0.3].equity_im_usd == pytest.approx(10_750)
        assert by[-0.3].ratio_im == pytest.approx(3.07, abs=CENT)
        assert by[-0.5].equity_im_usd == pytest.approx(-3_750)
        assert by[-0.5].top_up_mm_usd == pytest.approx(3_750 + 1_250)

    def test_reverse_price(self) -> None:
        made = adequacy(A23_WHO, world(), A23, moves=(), map_moves=())
        (line,) = [x for x in made.reverse if x.coin == "BTC"]
        assert line.down_usd == pytest.approx(28_571.43, abs=CENT)
        assert line.down_move == pytest.approx(-0.4286, abs=5e-5)

    def test_reverse_stress_in_one_dimension_is_the_same(self) -> None:
        carried = CarriedAccount(A23_WHO, world(), A23)
        made = reverse_stress(carried, RiskModel(sigma={"BTC": 0.03}))
        assert made.method == "affine"
        assert made.prices_usd["BTC"] == pytest.approx(28_571.43, abs=CENT)
        assert made.sigma == pytest.approx((1 - 4 / 7) / 0.03, rel=1e-9)
        assert made.safe_usd >= 0 > made.dead_usd


class TestB19:
    def test_counted_by_location_and_without_it(self) -> None:
        places = {"chain-x": {"haircut": 0.10, "max_proof_age_s": 600.0}, "venue": {}}
        ruleset = rules(
            flat_rate(0.10, 0.05),
            collateral={**HAIRCUT, "locations": places},
        )
        remote = {"asset": "USDC", "amount": 100_000, "location": "chain-x"}
        fresh = {**remote, "proof_time": "2026-02-25T07:59:00Z"}
        stale = {**remote, "proof_time": "2026-02-25T07:00:00Z"}
        here = {"asset": "USDC", "amount": 5_000, "location": "venue"}
        position = (PERP, 1, 50_000)
        lines = {
            name: {x.location: x for x in collateral_by_location(
                account(position, balances=[row, here]), world(), ruleset)}
            for name, row in (("fresh", fresh), ("stale", stale),
                              ("moving", {**fresh, "pending": True}))
        }  # fmt: skip
        assert lines["fresh"]["chain-x"].counted_usd == pytest.approx(90_000)
        assert lines["fresh"]["chain-x"].share == pytest.approx(90_000 / 95_000)
        without = lines["fresh"]["chain-x"].without
        assert without is not None and without.health == pytest.approx(5_000 / 2_500)
        for name, status in (("stale", "stale"), ("moving", "pending")):
            far = lines[name]["chain-x"]
            assert far.counted_usd == 0.0 and far.uncounted_usd == pytest.approx(100_000)
            assert far.assets == [f"USDC ({status})"]


class TestB20:
    def test_nothing_moving_loses_exactly_nothing(self) -> None:
        for who, ruleset, snapshot in (
            (A23_WHO, A23, world()),
            (account((CALL, -1), (PERP, 1), balances={"USDC": 9_000}), G, MARKET),
        ):
            made = run_stress(who, snapshot, ruleset, [NO_STRESS])
            assert made.rows[0].loss_usd == 0.0 and made.now.loss_usd == 0.0
            assert made.worst == "none" and made.worst_loss_usd == 0.0

    def test_adding_a_scenario_never_lowers_the_worst_case(self) -> None:
        rng = np.random.default_rng(3)
        library = stress_library()
        for _ in range(6):
            order = rng.permutation(len(library))
            q = rng.normal(size=2)
            who = account(
                (PERP, float(q[0])), (CALL, float(q[1])), balances={"USDC": 20_000, "BTC": 0.1}
            )
            worst = 0.0
            for count in (0, 3, 7, len(library)):
                chosen = [library[k] for k in order[:count]]
                made = run_stress(who, MARKET, scan_rules(collateral=HAIRCUT), chosen)
                assert made.worst_loss_usd >= worst
                worst = made.worst_loss_usd

    def test_loss_after_the_cost_of_closing(self) -> None:
        who = account((PERP, 1, 50_000), balances={"USDC": 5_000})
        fall = StressScenario(name="fall", moves={"*": -0.1})
        (row,) = run_stress(who, world(), RATE, [fall]).rows
        assert row.loss_usd == pytest.approx(5_000)
        assert row.closing_cost_usd == pytest.approx(0.01 * 45_000)
        assert row.loss_after_cost_usd == pytest.approx(5_450) and row.breached == ["cross"]
        rich = account((PERP, 1, 50_000), balances={"USDC": 50_000})
        (row,) = run_stress(rich, world(), RATE, [fall]).rows
        assert row.closing_cost_usd == 0.0 and row.breached == []
