"""Scenarios, reverse stress against brute force, and the desk's other stress tools."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import math
import os
import statistics
from pathlib import Path

import numpy as np
import pytest
from tests.helpers import (
    CALL,
    ETH_PERP,
    PERP,
    PUT,
    account,
    done,
    fixture_g,
    flat_rate,
    market,
    rules,
    scan_rules,
)

from crossmargin.analytics import (
    CloseCosts,
    Factor,
    RiskModel,
    StressDesk,
    StressScenario,
    VenueAccount,
    adequacy,
    choose_scenarios,
    default_risk_model,
    reverse_stress,
    run_stress,
    scenarios_from_toml,
    simulated_risk,
    stress_library,
    unified_account,
    venues_plan,
)
from crossmargin.cli import main
from crossmargin.errors import CrossmarginError, InputError, MarginError
from crossmargin.margin import CarriedAccount, load_ruleset, make_statement
from crossmargin.venues import load_account, load_market

MARKET, G = fixture_g(), scan_rules()
RATE = rules(flat_rate(0.10, 0.05))
CALM = load_market("calm-2026-02-03")
DESK, DERIBIT = load_account("short-vol-desk"), load_ruleset("deribit-pm-cross")


def data_path(name: str) -> Path:
    folder = os.environ.get("CROSSMARGIN_DATA")
    if folder is None:
        pytest.skip("CROSSMARGIN_DATA is not set: recorded moves are not checked")
    path = Path(folder) / name
    if not path.exists():
        pytest.skip(f"CROSSMARGIN_DATA has no {name}: recorded moves are not checked")
    return path


def equity_by_hand(prices: dict[str, float], vols: dict[str, float]) -> float:
    """Equity of a long perp, a short call and 0.1 BTC in a market written out anew."""
    world = market(
        {"BTC": prices["BTC"], "ETH": 3_000.0, "USDC": prices["USDC"]},
        marks={PERP: prices["BTC"] / prices["USDC"]},
        vols=vols,
        forwards={("BTC", "2026-03-27T08:00:00Z"): prices["BTC"]},
    )
    made = done(G, world, (PERP, 1, 49_000), (CALL, -1), balances={"USDC": 20_000, "BTC": 0.1})
    return float((made.have.balances + made.have.unrealised + made.have.option_value).sum())


class TestScenarios:
    def test_losses_are_those_of_the_market_written_out(self) -> None:
        who = account((PERP, 1, 49_000), (CALL, -1), balances={"USDC": 20_000, "BTC": 0.1})
        today = equity_by_hand({"BTC": 50_000.0, "USDC": 1.0}, {CALL: 0.6})
        chosen = [
            StressScenario(name="a", moves={"BTC": -0.3}, vols={"*": 0.5}),
            StressScenario(name="b", moves={"*": 0.2}),
            StressScenario(name="c", dollars={"USDC": -0.1}),
            StressScenario(name="d", vols={"BTC": -0.4}),
        ]
        made = run_stress(who, MARKET, G, chosen)
        worlds = [
            ({"BTC": 35_000.0, "USDC": 1.0}, {CALL: 0.9}),
            ({"BTC": 60_000.0, "USDC": 1.0}, {CALL: 0.6}),
            ({"BTC": 50_000.0, "USDC": 0.9}, {CALL: 0.6}),
            ({"BTC": 50_000.0, "USDC": 1.0}, {CALL: 0.36}),
        ]
        for row, world in zip(made.rows, worlds):
            assert row.loss_usd == pytest.approx(today - equity_by_hand(*world), rel=1e-9)
        assert made.rows[0].moves == {"BTC": -0.3, "vol:BTC": 0.5}
        losses = {row.scenario: row.loss_after_cost_usd for row in made.rows}
        assert made.worst == max(losses, key=lambda name: losses[name])

    def test_an_asset_that_follows_another_can_leave_it(self) -> None:
        follows = scan_rules(groups={"STETH": "ETH"})
        world = market({"ETH": 3_000.0, "STETH": 3_000.0, "USDC": 1.0})
        who = account(balances={"STETH": 10.0, "USDC": 1_000})
        both = StressScenario(name="both", moves={"ETH": -0.1})
        alone = StressScenario(name="alone", moves={"ETH": -0.1, "STETH": -0.4})
        rows = run_stress(who, world, follows, [both, alone]).rows
        assert [row.loss_usd for row in rows] == pytest.approx([3_000.0, 12_000.0])

    def test_a_market_without_figures_is_a_row_with_the_reason(self) -> None:
        who = account((PERP, 1, 50_000), balances={"USDC": 10_000})
        odd = StressScenario(name="odd", kind="location", location="nowhere")
        made = run_stress(who, MARKET, RATE, [odd, StressScenario(name="fall", moves={"*": -0.1})])
        assert made.rows[0].error is not None and "INP-016" in made.rows[0].error
        assert made.worst == "fall"

    def test_each_location_in_turn(self) -> None:
        here = [
            {"asset": "USDC", "amount": 4_000, "location": "venue"},
            {"asset": "USDC", "amount": 9_000, "location": "chain-x"},
        ]
        places = {"venue": {}, "chain-x": {}}
        ruleset = rules(
            flat_rate(0.1, 0.05),
            collateral={"source": "s", "confidence": "house", "assets": {"USDC": {}},
                        "locations": places},
        )  # fmt: skip
        who = account((PERP, 1, 50_000), balances=here)
        one = StressScenario(name="down", kind="location", location="*")
        (row,) = run_stress(who, MARKET, ruleset, [one]).rows
        assert row.chosen == "chain-x stops" and row.loss_usd == pytest.approx(9_000)
        assert row.health == pytest.approx(4_000 / 2_500)

    def test_pots_below_the_line_today_cost_no_scenario_anything(self) -> None:
        who = account((PERP, 1, 50_000), balances={"USDC": 1_000})
        made = run_stress(who, MARKET, RATE, [StressScenario(name="x")])
        assert made.now.breached == ["cross"] and made.now.loss_after_cost_usd == 0.0
        assert made.worst_loss_usd == 0.0

    def test_closing_costs_by_hand(self) -> None:
        who = account((PERP, 1, 50_000), (CALL, -1), balances={"USDC": 5_000})
        made = run_stress(
            who, MARKET, G, [StressScenario(name="fall", moves={"BTC": 0.4})],
            costs=CloseCosts(rate=0.002, vol_points=2.0),
        )  # fmt: skip
        row = made.rows[0]
        there = market(
            {"BTC": 70_000.0, "USDC": 1.0},
            marks={PERP: 70_000.0},
            vols={CALL: 0.6},
            forwards={("BTC", "2026-03-27T08:00:00Z"): 70_000.0},
        )
        lines = make_statement(who, there, G, solve=False).positions
        cost = sum(0.002 * abs(p.delta) * 70_000 + 2.0 * abs(p.vega_usd) for p in lines)
        assert row.closing_cost_usd == pytest.approx(cost if row.breached else 0.0, rel=1e-6)

    @pytest.mark.parametrize(
        "text, words",
        [
            ("format = 1", "format"),
            ("x = [", "TOML"),
            ('format = "crossmargin-stress/1"\n[[scenarios]]\nname = "a"\nmoves = {BTC = -1.0}',
             "above −1"),
            ('format = "crossmargin-stress/1"\n[[scenarios]]\nname = "a"\nmoves = {USDC = -0.1}',
             "dollars"),
            ('format = "crossmargin-stress/1"\n[[scenarios]]\nname = "a"\nmoves = {BTC = inf}',
             "finite"),
            ('format = "crossmargin-stress/1"\n[[scenarios]]\nname = "a"\nkind = "location"',
             "location"),
            ('format = "crossmargin-stress/1"\n[[scenarios]]\nname = "a"\n[[scenarios]]\n'
             'name = "a"', "two scenarios"),
        ],
    )  # fmt: skip
    def test_files_are_refused_in_words(self, text: str, words: str) -> None:
        with pytest.raises(InputError) as caught:
            scenarios_from_toml(text)
        assert caught.value.code == "INP-110" and words in str(caught.value)

    def test_own_scenario_goes_before_one_of_the_library(self) -> None:
        own = StressScenario(name="fall-30", moves={"*": -0.31})
        (found,) = choose_scenarios(["fall-30"], [own, *stress_library()])
        assert found.moves == {"*": -0.31}
        every = choose_scenarios([], [own, *stress_library()])
        assert every[0] == own and len(every) == len(stress_library())

    def test_unknown_name(self) -> None:
        with pytest.raises(InputError) as caught:
            choose_scenarios(["2020-03-21"], stress_library())
        assert caught.value.code == "INP-111" and "2020-03-12" in str(caught.value)


class TestLibrary:
    def test_every_figure_has_its_source(self) -> None:
        library = stress_library()
        assert len({one.name for one in library}) == len(library) >= 15
        for one in library:
            assert one.title and one.source and one.date and one.confidence != "user"
            if one.kind == "recorded":
                assert one.since < one.until and "BTC" in one.moves and "*" in one.moves
                named = [v for k, v in one.moves.items() if k != "*"]
                assert one.moves["*"] == pytest.approx(statistics.median(named), abs=6e-5)

    def test_recorded_moves_are_those_of_the_recording(self) -> None:
        import polars as pl

        path = data_path("binance_spot_1h.parquet")
        candles = pl.read_parquet(path).with_columns(pl.col("symbol").cast(pl.String))
        checked = 0
        for one in stress_library():
            if one.kind != "recorded":
                continue
            since, until = (dt.datetime.fromisoformat(t) for t in (one.since, one.until))
            assert dt.timedelta(0) < until - since <= dt.timedelta(hours=24)
            hour = dt.timedelta(hours=1)
            for coin, move in one.moves.items():
                if coin == "*":
                    continue
                rows = candles.filter(pl.col("symbol") == f"{coin}USDT")
                ends = [
                    float(rows.filter(pl.col("date") == at - hour)["close"][0])
                    for at in (since, until)
                ]
                assert ends[1] / ends[0] - 1 == pytest.approx(move, abs=6e-5)
                checked += 1
        assert checked > 60

    def test_recorded_pegs_are_those_of_the_recording(self) -> None:
        import polars as pl

        bars = pl.read_parquet(data_path("yahoo_crypto_daily.parquet"))
        for one in stress_library():
            if one.kind != "depeg" or not one.until:
                continue
            ((asset, move),) = one.dollars.items()
            day = dt.datetime.fromisoformat(one.until).replace(tzinfo=None)
            low = bars.filter(
                (pl.col("symbol").cast(pl.String) == f"{asset}-USD") & (pl.col("date") == day)
            )["low"][0]
            assert low - 1.0 == pytest.approx(move, abs=6e-5)

    def test_all_of_it_runs_on_the_demo_desk(self) -> None:
        made = run_stress(DESK, CALM, DERIBIT, stress_library())
        assert all(row.error is None for row in made.rows)
        by = {row.scenario: row for row in made.rows}
        assert by["correlation-breaks"].chosen.startswith("correlation")
        assert by["usdc-90"].loss_usd == pytest.approx(45_000, rel=1e-3)
        assert by["location-down"].loss_usd == 0.0  # no balance of it names a location
        assert made.worst_loss_usd == max(row.loss_after_cost_usd for row in made.rows)


def all_safe_within(
    carried: CarriedAccount, names: list[Factor], model: RiskModel, sigma: float, rays: int
) -> bool:
    """Whether no point of a polar grid inside `sigma` is dead: brute force, two factors."""
    root = np.linalg.cholesky(model.covariance([f.name for f in names]))
    for k in range(rays):
        angle = 2 * math.pi * k / rays
        unit = np.array([math.cos(angle), math.sin(angle)])
        for share in (0.4, 0.75, 1 - 1e-6):
            if dead(carried, names, root @ (share * sigma * unit)):
                return False
    return True


def dead(carried: CarriedAccount, names: list[Factor], move: np.ndarray) -> bool:
    prices, vols = {}, {}
    for factor, m in zip(names, move.tolist()):
        if m <= -0.98:
            return False
        (prices if factor.kind == "price" else vols)[factor.coin] = math.log1p(m)
    return float(carried.excess(prices, vols).min()) < 0


class TestReverseStress:
    def test_half_space_is_exact(self) -> None:
        """0.95·(50,000·x + 30,000·y) = −6,000 with ρ = 0.5: closed form of the row's book."""
        who = account((PERP, 1, 50_000), (ETH_PERP, 10, 3_000), balances={"USDC": 10_000})
        world = market(
            {"BTC": 50_000.0, "ETH": 3_000.0, "USDC": 1.0},
            marks={PERP: 50_000.0, ETH_PERP: 3_000.0},
        )
        model = RiskModel(sigma={"BTC": 0.03, "ETH": 0.04}, correlation=0.5)
        made = reverse_stress(CarriedAccount(who, world, RATE), model)
        assert made.method == "affine" and made.angle == 0.0
        assert made.sigma == pytest.approx(6_000 / (0.95 * 2_343.0749), rel=1e-7)
        # The point lies along Σ·delta.
        cov = model.covariance(["BTC", "ETH"])
        along = cov @ np.array([50_000.0, 30_000.0])
        assert made.moves["ETH"] / made.moves["BTC"] == pytest.approx(along[1] / along[0])
        gone = 0.95 * (50_000 * made.moves["BTC"] + 30_000 * made.moves["ETH"])
        assert gone == pytest.approx(-6_000, rel=1e-9)

    def test_three_dimensions_in_closed_form(self) -> None:
        coins = {"BTC": (50_000.0, 1.0), "ETH": (3_000.0, -8.0), "SOL": (150.0, 120.0)}
        marks = {f"{c}_USDC-PERPETUAL": p for c, (p, _) in coins.items()}
        who = account(
            *[(f"{c}_USDC-PERPETUAL", q, p) for c, (p, q) in coins.items()],
            balances={"USDC": 15_000},
        )
        world = market({c: p for c, (p, _) in coins.items()} | {"USDC": 1.0}, marks=marks)
        model = RiskModel(
            sigma={"BTC": 0.03, "ETH": 0.04, "SOL": 0.06},
            correlation=0.7,
            pairs={("BTC", "SOL"): 0.4},
        )
        made = reverse_stress(CarriedAccount(who, world, RATE), model)
        slope = np.array([q * p - 0.05 * abs(q) * p for _, (p, q) in sorted(coins.items())])
        mm = 0.05 * sum(abs(q) * p for p, q in coins.values())
        cov = model.covariance(sorted(coins))
        assert made.sigma == pytest.approx((15_000 - mm) / math.sqrt(slope @ cov @ slope), rel=1e-7)

    @pytest.mark.parametrize("legs", [[(CALL, -1), (PUT, -1)], [(CALL, -2), (PERP, 1, "mark")]])
    def test_price_and_vol_against_brute_force(self, legs: list[tuple]) -> None:
        who = account(*legs, balances={"USDC": 25_000})
        factors = [Factor("price", "BTC"), Factor("vol", "*")]
        model = RiskModel(sigma={"BTC": 0.04, "vol": 0.10}, correlation=-0.4)
        made = reverse_stress(CarriedAccount(who, MARKET, G), model, factors=factors)
        assert made.method == "search" and made.sigma is not None
        again = CarriedAccount(who, MARKET, G)
        assert all_safe_within(again, factors, model, made.sigma, 60)
        there = np.array([made.moves["BTC"], made.moves["vol"]]) * (1 + 1e-6)
        assert dead(again, factors, there)
        # Within a hundredth more a finer look finds it too: the check is not blind.
        assert not all_safe_within(again, factors, model, made.sigma * 1.01, 60)
        assert made.safe_usd >= 0 > made.dead_usd and made.angle < 0.05

    def test_two_coins_with_a_short_strangle_dying_either_way(self) -> None:
        who = account((CALL, -1), (PUT, -1), (ETH_PERP, 4, 3_000), balances={"USDC": 24_000})
        model = RiskModel(sigma={"BTC": 0.04, "ETH": 0.05}, correlation=0.6)
        carried = CarriedAccount(who, MARKET, G)
        made = reverse_stress(carried, model)
        factors = [Factor("price", "BTC"), Factor("price", "ETH")]
        assert made.sigma is not None
        assert all_safe_within(carried, factors, model, made.sigma, 60)
        assert not all_safe_within(carried, factors, model, made.sigma * 1.01, 60)

    def test_brackets_are_not_affine(self) -> None:
        tiers = {"default": [
            {"floor": 0.0, "im": 0.1, "mm": 0.05}, {"floor": 80_000.0, "im": 0.3, "mm": 0.25},
        ]}  # fmt: skip
        ruleset = rules(flat_rate(0.1, 0.05, tiers=tiers))
        who = account((PERP, -1.5, 50_000), balances={"USDC": 30_000})
        made = reverse_stress(CarriedAccount(who, MARKET, ruleset), RiskModel(sigma={"BTC": 0.03}))
        assert made.method == "search"
        # 30,000 − 75,000 x = 0.05·80,000 + 0.25·(75,000·(1 + x) − 80,000)
        x = (30_000 - 4_000 - 0.25 * (75_000 - 80_000)) / (75_000 * 1.25)
        assert made.moves["BTC"] == pytest.approx(x, rel=1e-8)

    def test_nothing_found_and_nothing_to_move(self) -> None:
        rich = account((PERP, 0.1, 50_000), balances={"USDC": 900_000})
        model = RiskModel(sigma={"BTC": 0.03})
        made = reverse_stress(CarriedAccount(rich, MARKET, RATE), model)
        assert made.sigma is None and made.moves == {}
        dollars = account(balances={"USDC": 5})
        with pytest.raises(InputError):
            reverse_stress(CarriedAccount(dollars, MARKET, RATE), model)

    def test_breached_today_says_so(self) -> None:
        poor = account((PERP, 1, 50_000), balances={"USDC": 100})
        made = reverse_stress(CarriedAccount(poor, MARKET, RATE), RiskModel(sigma={"BTC": 0.03}))
        assert made.sigma is None and made.breached_now == ["cross"]

    def test_perfect_correlation_moves_along_one_line(self) -> None:
        who = account((PERP, 1, 50_000), (ETH_PERP, 10, 3_000), balances={"USDC": 10_000})
        model = RiskModel(sigma={"BTC": 0.03, "ETH": 0.04}, correlation=1.0)
        made = reverse_stress(CarriedAccount(who, MARKET, RATE), model)
        assert made.sigma == pytest.approx(6_000 / (0.95 * 2_700), rel=1e-7)
        assert made.moves["ETH"] / made.moves["BTC"] == pytest.approx(4 / 3)


class TestOthers:
    def test_ladder_goes_with_the_market_written_out(self) -> None:
        who = account((PERP, 1, 49_000), (CALL, -1), balances={"USDC": 20_000})
        made = adequacy(who, MARKET, G, moves=(-0.2, 0.25), map_moves=(-0.1, 0.1), map_vols=(0.5,))
        for row, price in zip(made.ladder, (40_000.0, 62_500.0)):
            world = market({"BTC": price, "USDC": 1.0}, marks={PERP: price}, vols={CALL: 0.6},
                           forwards={("BTC", "2026-03-27T08:00:00Z"): price})  # fmt: skip
            totals = make_statement(who, world, G, solve=False).totals
            assert row.im_usd == pytest.approx(totals.im) and row.health == pytest.approx(
                totals.health
            )
        assert len(made.map_health) == 1 and len(made.map_health[0]) == 2

    @pytest.mark.parametrize(
        "bad",
        [
            {"sigma": {"BTC": 0.0}},
            {"sigma": {"BTC": math.nan}},
            {"sigma": {"BTC": 0.03}, "correlation": 1.5},
        ],
    )
    def test_models_that_cannot_be(self, bad: dict) -> None:
        with pytest.raises(MarginError) as caught:
            RiskModel(**bad)
        assert caught.value.code == "MRG-025"

    def test_correlations_that_cannot_all_be(self) -> None:
        pairs = {("A", "B"): 0.9, ("B", "C"): 0.9, ("A", "C"): -0.9}
        model = RiskModel(sigma=dict.fromkeys("ABC", 0.03), pairs=pairs)
        with pytest.raises(MarginError, match="negative eigenvalue"):
            model.covariance(list("ABC"))
        with pytest.raises(MarginError, match="no standard deviation"):
            model.covariance(["D"])

    def test_default_model_is_the_markets_own_volatility(self) -> None:
        model = default_risk_model(CALM, ["BTC"])
        surface = min(
            (k for k in CALM.surfaces if k[0] == "BTC"),
            key=lambda k: abs(k[1] - CALM.moment_ns - 30 * 86_400 * 10**9),
        )
        s = CALM.surfaces[surface]
        assert model.sigma["BTC"] == pytest.approx(
            float(s.vol(s.forward_usd)) / math.sqrt(365), rel=1e-12
        )

    def test_simulation_refuses_too_few_draws(self) -> None:
        carried = CarriedAccount(account((PERP, 1, 50_000), balances={"USDC": 9_000}), MARKET, RATE)
        with pytest.raises(MarginError):
            simulated_risk(carried, RiskModel(sigma={"BTC": 0.03}), draws=10)

    def test_venues_that_cannot_be(self) -> None:
        who = account((PERP, 1, 50_000), balances={"USDC": 9_000})
        one = VenueAccount(venue="a", account=who, ruleset=RATE)
        fall = StressScenario(name="f", moves={"*": -0.1})
        for venues, scenario, more in (
            ([one, one], fall, {}),
            ([], fall, {}),
            ([one], fall, {"hours": 0.0}),
            ([one], StressScenario(name="c", kind="correlation"), {}),
            ([one, VenueAccount(venue="b", account=who, ruleset=RATE)], fall,
             {"latency_hours": -1.0}),
        ):  # fmt: skip
            with pytest.raises(InputError) as caught:
                venues_plan(venues, MARKET, scenario, **more)
            assert caught.value.code == "INP-112"
        marked = account((PERP, 1, "mark"), balances={"USDC": 9_000})
        with pytest.raises(InputError, match="two venues"):
            unified_account([one, VenueAccount(venue="b", account=marked, ruleset=RATE)])

    def test_transfers_choose_the_sooner_source_and_cover_most(self) -> None:
        """Three venues: brute force over a grid of amounts confirms what is covered."""
        long = account((PERP, 1, 50_000), balances={"USDC": 8_000})
        names = ("A", "B", "C")
        rich = account(balances={"USDC": 3_000})
        richer = account(balances={"USDC": 9_000})
        venues = [
            VenueAccount(venue=n, account=w, ruleset=RATE)
            for n, w in zip(names, (long, rich, richer))
        ]
        fall = StressScenario(name="f", moves={"*": -0.2})
        late = {("B", "A"): 1.0, ("C", "A"): 2.0, ("A", "B"): 1.0}
        made = venues_plan(venues, MARKET, fall, hours=24, latency_hours=late)
        need = made.venues[0].top_up_usd
        assert need == pytest.approx(0.05 * 40_000 - (8_000 - 10_000))
        sent = {t.source: t.usd for t in made.transfers}
        assert sent["B"] == pytest.approx(3_000) and sent["C"] == pytest.approx(need - 3_000)
        assert made.prefund_usd == {}
        best = max(
            min(b + c, need)
            for b, c in itertools.product(np.linspace(0, 3_000, 31), np.linspace(0, 9_000, 91))
        )
        assert sum(sent.values()) == pytest.approx(best)

    @pytest.mark.parametrize(
        "kept",
        [
            {},
            {"B": 1_000.0},
            {"B": 2_500.0, "C": 8_500.0},
            {"A": 9_000.0, "C": 1_000.0},
            {"B": 5_000.0, "C": 2_000.0},
            {"A": 5_000.0, "B": 4_000.0, "C": 6_000.0},
        ],
    )
    def test_reserves_stay_and_are_filled_after_top_ups(self, kept: dict[str, float]) -> None:
        """Whole thousands: every amount that B and C can send to A and to each other is tried."""
        long = account((PERP, 1, 50_000), balances={"USDC": 8_000})
        cash = {"B": 3_000.0, "C": 9_000.0}
        held = [long, *(account(balances={"USDC": usd}) for usd in cash.values())]
        venues = [VenueAccount(venue=n, account=w, ruleset=RATE) for n, w in zip("ABC", held)]
        fall = StressScenario(name="f", moves={"*": -0.2})
        made = venues_plan(venues, MARKET, fall, hours=24, latency_hours=1.0, reserves=kept)
        free = {"A": 8_000.0 - 5_000.0, **cash}
        need = 4_000.0
        short = {v: max(0.0, kept.get(v, 0.0) - free[v]) for v in "ABC"}
        assert [v.reserve_short_usd for v in made.venues] == [
            pytest.approx(short[v], abs=1e-6) for v in "ABC"
        ]
        spare = {v: max(0.0, cash[v] - kept.get(v, 0.0)) for v in "BC"}
        further = {v: max(0.0, short[v] - (need if v == "A" else 0.0)) for v in "ABC"}
        best = (-1.0, -1.0)
        steps = np.arange(0, 9_001, 500)
        for ba, ca, ar, bc, cb in itertools.product(steps[:9], steps[:9], steps[:5], *[steps] * 2):
            # To A from B and C, of that for its reserve, and between B and C.
            if ba + bc > spare["B"] or ca + cb > spare["C"] or bc > further["C"]:
                continue
            if cb > further["B"] or ar > further["A"] or ba + ca - ar > need or ar > ba + ca:
                continue
            best = max(best, (float(ba + ca - ar), float(bc + cb + ar)))
        sent = {"top-up": 0.0, "reserve": 0.0}
        for t in made.transfers:
            sent[t.purpose] += t.usd
        assert (sent["top-up"], sent["reserve"]) == (pytest.approx(best[0]), pytest.approx(best[1]))
        for v in "BC":
            assert sum(t.usd for t in made.transfers if t.source == v) <= spare[v] + 1e-6

    def test_reserves_that_cannot_be(self) -> None:
        one = VenueAccount(venue="A", account=account(balances={"USDC": 1}), ruleset=RATE)
        fall = StressScenario(name="f", moves={"*": -0.1})
        for kept in ({"X": 1.0}, {"A": -1.0}, {"A": math.nan}):
            with pytest.raises(InputError, match="reserve"):
                venues_plan([one], MARKET, fall, reserves=kept)


class TestCommandLine:
    def run(self, *words: str) -> int:
        return main(["stress", *words])

    def test_table_json_and_page(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        page = tmp_path / "stress.html"
        assert self.run("directional", "--reverse", "--html", str(page)) == 0
        shown = capsys.readouterr().out
        assert "2020-03-12" in shown and "reverse stress" in shown and "worst case" in shown
        text = page.read_text(encoding="utf-8")
        assert text.startswith("<!DOCTYPE html>") and "2020-03-12" in text
        assert self.run("directional", "--scenario", "fall-30", "--json") == 0
        made = json.loads(capsys.readouterr().out)
        assert [row["scenario"] for row in made["stress"]["rows"]] == ["fall-30"]
        assert made["reverse"] is None

    def test_own_file_and_costs(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        own = tmp_path / "mine.toml"
        own.write_text(
            'format = "crossmargin-stress/1"\n[[scenarios]]\nname = "mine"\n'
            "moves = { BTC = -0.25 }\n",
            encoding="utf-8",
        )
        words = ["directional", "--file", str(own), "--scenario", "mine", "--json"]
        assert self.run(*words) == 0
        made = json.loads(capsys.readouterr().out)
        assert made["stress"]["rows"][0]["moves"] == {"BTC": -0.25}

    @pytest.mark.parametrize(
        "words, said",
        [
            (["directional", "--scenario", "nope"], "INP-111"),
            (["directional", "--sigma", "BTC=x"], "INP-013"),
            (["directional", "--sigma", "BTC=-1"], "MRG-025"),
            (["directional", "--close-cost", "-1"], "MRG-025"),
            (["directional", "--ladder", "DOGE"], "MRG-001"),
            (["directional", "--file", "not-there.toml"], "INP-005"),
            (["nobody"], "INP-005"),
        ],
    )
    def test_wrong_words(
        self, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert self.run(*words) == 2
        err = capsys.readouterr().err
        assert said in err and "Traceback" not in err


def test_desk_delta_is_the_greeks_and_the_collateral() -> None:
    desk = StressDesk(DESK, CALM, DERIBIT)
    delta = dict(zip(["BTC", "ETH"], desk.delta_usd(["BTC", "ETH"]).tolist()))
    made = make_statement(DESK, CALM, DERIBIT, solve=False)
    for coin, held in (("BTC", 1.5), ("ETH", 40.0)):
        price = CALM.asset_usd(coin)
        net = sum(g.delta_net_transaction for g in made.groups if g.group == coin)
        value = sum(
            p.value_usd + p.unrealised_usd for p in made.positions if p.instrument.startswith(coin)
        )
        assert delta[coin] == pytest.approx((net + held) * price + value, rel=2e-4)


def test_errors_are_the_houses() -> None:
    with pytest.raises(CrossmarginError):
        CloseCosts(rate=math.nan)
