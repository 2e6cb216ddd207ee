"""Every component on a case small enough to work out by hand; the working is in the comments."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
import pytest
from tests.helpers import (
    CALL,
    ETH_PERP,
    EXPIRY,
    PERP,
    account,
    black,
    component,
    done,
    fixture_g,
    flat_rate,
    frame,
    im,
    market,
    need,
    normal_cdf,
    rules,
    scan_rules,
)

from crossmargin.errors import MarketDataError, RulesetError
from crossmargin.margin import (
    Requirement,
    Ruleset,
    frame_for,
    load_ruleset,
    make_statement,
    requirement,
)
from crossmargin.market import Snapshot
from crossmargin.scenarios import UnderlyingShocks, build_scenarios, vol_multiplier

SM = load_ruleset("deribit-sm")
PM = load_ruleset("deribit-pm")
PM_CROSS = load_ruleset("deribit-pm-cross")
INVERSE = "BTC-PERPETUAL"
S = 50_000.0
T30 = 30 / 365
#: 25 September 2026 is 212 days after 25 February.
FAR = "2026-09-25T08:00:00Z"
T212 = 212 / 365


def only(values: np.ndarray) -> float:
    (value,) = values.tolist()
    return float(value)


def part(
    name: str, ruleset: Ruleset, snapshot: Snapshot, *positions: Any, **more: Any
) -> tuple[float, float]:
    """IM and MM of one component, summed over groups, in the pots' numeraire."""
    found = need(ruleset, snapshot, *positions, **more).parts[name]
    return float(found.im.sum()), float(found.mm.sum())


# ---- rate times notional ------------------------------------------------------------------


class TestLinearSlope:
    """Deribit's own table for linear perpetuals: (a + k·|q|)·|q|·index."""

    market = market(
        {"BTC": 100_000, "SOL": 200, "USDC": 1},
        marks={PERP: 100_000, "SOL_USDC-PERPETUAL": 200},
    )

    @pytest.mark.parametrize(
        "name, size, initial, maintenance",
        [
            # 2 % + 25·0.005 % = 2.125 % of 2,500,000; MM 1.125 %.
            (PERP, 25, 53_125.0, 28_125.0),
            # 2 % + 350·0.005 % = 3.75 % of 35,000,000; MM 2.75 %.
            (PERP, 350, 1_312_500.0, 962_500.0),
            # 4 % + 6,000·0.0005 % = 7 % of 1,200,000; MM 2 % + 3 % = 5 %.
            ("SOL_USDC-PERPETUAL", 6_000, 84_000.0, 60_000.0),
        ],
    )
    @pytest.mark.parametrize("side", [1, -1])
    def test_venue_table(
        self, name: str, size: float, initial: float, maintenance: float, side: int
    ) -> None:
        got = part("futures", SM, self.market, (name, side * size))
        assert got == pytest.approx((initial, maintenance), rel=1e-12)

    def test_the_index_not_the_mark_values_the_coins(self) -> None:
        # Mark 2 % above the index: still 2.125 % of 25·100,000.
        away = market({"BTC": 100_000, "USDC": 1}, marks={PERP: 102_000})
        assert part("futures", SM, away, (PERP, 25))[0] == pytest.approx(53_125.0, rel=1e-12)

    def test_the_index_is_stated_in_the_quote_currency(self) -> None:
        # At 0.8 USD a USDC the index is 125,000 USDC: 2.125 % of 25·125,000.
        weak = market({"BTC": 100_000, "USDC": 0.8}, marks={PERP: 125_000})
        assert part("futures", SM, weak, (PERP, 25))[0] == pytest.approx(66_406.25, rel=1e-12)

    def test_inverse(self) -> None:
        # 1,000,000 USD at 50,000 are 20 BTC. IM (2 % + 20·0.005 %) = 2.1 % of 20 BTC = 0.42 BTC;
        # MM 1.1 % of 20 BTC = 0.22 BTC.
        snapshot = market({"BTC": S}, marks={INVERSE: S})
        got = part("futures", SM, snapshot, (INVERSE, 1_000_000))
        assert got == pytest.approx((0.42, 0.22), rel=1e-12)

    def test_inverse_eth(self) -> None:
        # 600,000 USD at 3,000 are 200 ETH: 2 % + 200·0.0004 % = 2.08 % → 4.16 ETH.
        snapshot = market({"ETH": 3_000}, marks={"ETH-PERPETUAL": 3_000})
        got = part("futures", SM, snapshot, ("ETH-PERPETUAL", -600_000))
        assert got == pytest.approx((4.16, 2.16), rel=1e-12)

    def test_unknown_market_is_refused(self) -> None:
        snapshot = market({"XRP": 2, "USDC": 1}, marks={"XRP_USDC-PERPETUAL": 2})
        with pytest.raises(RulesetError) as error:
            part("futures", SM, snapshot, ("XRP_USDC-PERPETUAL", 1))
        assert error.value.code == "RUL-011"
        assert "XRP_USDC" in str(error.value)


class TestBrackets:
    def test_isolated_btc_beyond_the_first_bracket(self) -> None:
        # 4,000 BTC = 200 m: 150 m at 2.5 % and 50 m at 5 % = 3.75 m + 2.5 m; MM half of it.
        ruleset = load_ruleset("isolated")
        got = part("futures", ruleset, fixture_g(), (PERP, 4_000))
        assert got == pytest.approx((6_250_000.0, 3_125_000.0), rel=1e-12)
        # Whole notional: 200 m at 5 %.
        whole = part("futures", load_ruleset("isolated-whole"), fixture_g(), (PERP, 4_000))
        assert whole == pytest.approx((10_000_000.0, 5_000_000.0), rel=1e-12)

    def test_the_floor_belongs_to_the_lower_bracket(self) -> None:
        whole = load_ruleset("isolated-whole")
        assert part("futures", whole, fixture_g(), (PERP, 3_000))[0] == pytest.approx(3_750_000.0)

    def test_leverage_raises_the_initial_rate_only(self) -> None:
        # 1/5 of 50,000 is more than 2.5 %; 1/100 is less, so the bracket's 2.5 % holds.
        ruleset = load_ruleset("isolated")
        for leverage, initial in ((5, 10_000.0), (100, 1_250.0)):
            position = {
                "instrument": PERP,
                "quantity": 1,
                "entry_price": "mark",
                "leverage": leverage,
            }
            got = part("futures", ruleset, fixture_g(), position)
            assert got == pytest.approx((initial, 625.0), rel=1e-12)

    def test_brackets_are_in_dollars_of_the_settlement_asset(self) -> None:
        # At 0.5 USD a USDC the notional of 30 BTC marked 100,000 USDC is 1.5 m USD: the second
        # bracket. 1 m·1 % + 0.5 m·2 % = 20,000 USD, that is 40,000 USDC, in a pot of US dollars.
        tiers = [{"floor": 0.0, "im": 0.01, "mm": 0.01}, {"floor": 1e6, "im": 0.02, "mm": 0.02}]
        ruleset = rules(component("rate", "f", scheme="marginal", tiers={"default": tiers}))
        snapshot = market({"BTC": 50_000, "USDC": 0.5}, marks={PERP: 100_000})
        assert im(ruleset, snapshot, (PERP, 30)) == pytest.approx(20_000.0, rel=1e-12)

    def test_kinds_left_out_cost_nothing(self) -> None:
        ruleset = rules(flat_rate(0.1, 0.05, kinds=["future"]))
        assert im(ruleset, fixture_g(), (PERP, 1)) == 0.0
        assert im(ruleset, fixture_g(), ("BTC_USDC-27MAR26", 1)) == pytest.approx(5_000.0)


# ---- the standard option formula ------------------------------------------------------------


def option_market(vol: float, forward: float = 51_000.0) -> Snapshot:
    strikes = (45_000, 51_000, 55_000, 150_000, 200_000, 5_000)
    stems = [f"{s}-27MAR26-{k}-{r}" for s in ("BTC", "BTC_USDC") for k in strikes for r in "CP"]
    return market(
        {"BTC": S, "USDC": 1.0},
        vols=dict.fromkeys(stems, vol),
        forwards={("BTC", EXPIRY): forward},
    )


class TestOptionFormula:
    """Index 50,000, forward 51,000, 60 %, 30 days. The mark is Black-76 on the forward.

    In coin (inverse) the mark is V/51,000; moneyness is taken at the index.
    """

    F = 51_000.0
    market = option_market(0.6)

    @pytest.mark.parametrize(
        "strike, right, rate",
        [
            # Calls: OTM/S = max(K − S, 0)/S.
            (45_000, "C", 0.15),  # in the money: 0.15 − 0
            (51_000, "C", 0.13),  # 1,000/50,000 = 0.02 out: 0.15 − 0.02
            (55_000, "C", 0.10),  # 0.10 out: 0.05, so the least, 0.10
            # Puts: OTM/S = max(S − K, 0)/S.
            (45_000, "P", 0.10),  # 0.10 out: the least
            (51_000, "P", 0.15),  # in the money
            (55_000, "P", 0.15),
        ],
    )
    def test_short(self, strike: int, right: str, rate: float) -> None:
        value = black(self.F, strike, T30, 0.6, call=right == "C")
        coin, cash = value / self.F, value
        # Inverse: IM rate + m, MM 0.075 + m, in coin (m < 1 here).
        got = part("options", SM, self.market, (f"BTC-27MAR26-{strike}-{right}", -2))
        assert got == pytest.approx((2 * (rate + coin), 2 * (0.075 + coin)), rel=1e-9)
        # Linear: the same times the index, in USDC.
        got = part("options", SM, self.market, (f"BTC_USDC-27MAR26-{strike}-{right}", -2))
        assert got == pytest.approx((2 * (rate * S + cash), 2 * (0.075 * S + cash)), rel=1e-9)

    @pytest.mark.parametrize("right", "CP")
    @pytest.mark.parametrize("strike", [45_000, 51_000, 55_000])
    @pytest.mark.parametrize("stem", ["BTC", "BTC_USDC"])
    def test_long_needs_none(self, stem: str, strike: int, right: str) -> None:
        got = part("options", SM, self.market, (f"{stem}-27MAR26-{strike}-{right}", 3))
        assert got == (0.0, 0.0)

    @pytest.mark.parametrize(
        "strike, mark, maintenance, initial",
        [
            # m = (150,000 − 50,000)/50,000 = 2 coins. MM = max(0.075, 0.075·2) + 2 = 2.15;
            # IM = max(0.15 + 2, MM) = 2.15.
            (150_000, 2.0, 2.15, 2.15),
            # m = 3: MM = 0.225 + 3 = 3.225; IM = max(3.15, 3.225) = 3.225, lifted to MM.
            (200_000, 3.0, 3.225, 3.225),
        ],
    )
    def test_deep_put_worth_more_than_a_coin(
        self, strike: int, mark: float, maintenance: float, initial: float
    ) -> None:
        flat = option_market(0.2, forward=S)
        value = black(S, strike, T30, 0.2, call=False)
        assert value / S == pytest.approx(mark, rel=1e-12)
        got = part("options", SM, flat, (f"BTC-27MAR26-{strike}-P", -1))
        assert got == pytest.approx((initial, maintenance), rel=1e-9)
        got = part("options", SM, flat, (f"BTC_USDC-27MAR26-{strike}-P", -1))
        assert got == pytest.approx((initial * S, maintenance * S), rel=1e-9)

    def test_deep_call_is_not_lifted(self) -> None:
        # K = 5,000: m = 45,000/50,000 = 0.9 coin. IM 0.15 + 0.9, MM 0.075 + 0.9.
        flat = option_market(0.2, forward=S)
        got = part("options", SM, flat, ("BTC-27MAR26-5000-C", -1))
        assert got == pytest.approx((1.05, 0.975), rel=1e-9)

    def test_underlying_without_factors_is_refused(self) -> None:
        snapshot = market(
            {"SOL": 200, "USDC": 1},
            vols={"SOL_USDC-27MAR26-200-C": 0.8},
            forwards={("SOL", EXPIRY): 200},
        )
        with pytest.raises(RulesetError, match="RUL-011"):
            part("options", SM, snapshot, ("SOL_USDC-27MAR26-200-C", -1))

    def test_standard_margin_nets_nothing(self) -> None:
        # A short call beside the same long call one strike up costs the short call.
        name = "BTC-27MAR26-51000-C"
        alone = part("options", SM, self.market, (name, -1))
        spread = part("options", SM, self.market, (name, -1), ("BTC-27MAR26-55000-C", 1))
        assert spread == alone


# ---- the grid of portfolio margin -----------------------------------------------------------


def scan_of(ruleset: Ruleset, snapshot: Snapshot, *positions: Any, **more: Any) -> Any:
    made = frame(account(*positions, **more), ruleset, snapshot)
    return made, requirement(made).scan


def cell(made: Any, label: str, group: int = 0) -> int:
    return made.table.scenarios.labels[int(made.group_scenario_row[group])].index(label)


class TestGrid:
    def test_btc_moves_and_order(self) -> None:
        spec = PM.data.scenarios
        assert spec is not None
        made = build_scenarios(spec, ["BTC", "ETH"])
        assert made.size == 9 * 3 + 8
        moves = [-0.16, -0.12, -0.08, -0.04, 0.0, 0.04, 0.08, 0.12, 0.16]
        tail = [-0.66, -0.33, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0]
        np.testing.assert_allclose(made.move[0], [m for m in moves for _ in "usd"] + tail)
        # ETH: 18 % in the same nine steps, the same tail.
        np.testing.assert_allclose(made.move[1, :27], made.move[0, :27] * 0.18 / 0.16)
        np.testing.assert_allclose(made.move[1, 27:], tail)
        assert made.extended.tolist() == [False] * 27 + [True] * 8

    def test_labels(self) -> None:
        spec = PM.data.scenarios
        assert spec is not None
        btc, eth = build_scenarios(spec, ["BTC", "ETH"]).labels
        assert btc[:3] == ("-16% price, vol up", "-16% price, vol same", "-16% price, vol down")
        assert btc[12:15] == ("0% price, vol up", "0% price, vol same", "0% price, vol down")
        assert btc[26] == "+16% price, vol down"
        assert btc[27] == "-66% price, vol up (tail)" and btc[34] == "+500% price, vol up (tail)"
        assert eth[3] == "-13.5% price, vol up"

    def test_labels_differ(self) -> None:
        spec = PM.data.scenarios
        assert spec is not None
        for row in build_scenarios(spec, ["BTC", "ETH"]).labels:
            assert len(set(row)) == len(row)

    def test_linear_cell(self) -> None:
        made, scan = scan_of(PM, fixture_g(), (PERP, 2))
        # 2·50,000·(−12 %)
        assert scan.vector[0, cell(made, "-12% price, vol up")] == pytest.approx(-12_000.0)
        assert scan.margin[0] == pytest.approx(16_000.0)

    def test_inverse_cell_in_coin(self) -> None:
        # 100,000 USD at 50,000 are 2 BTC: 2·(−0.16)/(1 − 0.16) = −0.380952… BTC.
        made, scan = scan_of(PM, fixture_g(), (INVERSE, 100_000))
        low = cell(made, "-16% price, vol same")
        assert scan.vector[0, low] == pytest.approx(2 * -0.16 / 0.84, rel=1e-12)
        # A gain counts at pnl_offset 0 for BTC.
        assert scan.vector[0, cell(made, "+16% price, vol same")] == 0.0
        assert scan.raw[0, cell(made, "+16% price, vol same")] == pytest.approx(2 * 0.16 / 1.16)

    def test_inverse_option_cell_in_coin(self) -> None:
        # V(F')/F' − V(F)/F at −8 % with the volatility up: 60 %·1.5 = 90 % at 30 days.
        name = "BTC-27MAR26-50000-P"
        snapshot = market({"BTC": S}, vols={name: 0.6}, forwards={("BTC", EXPIRY): S})
        made, scan = scan_of(PM, snapshot, (name, -1))
        there = 0.92 * S
        wanted = (
            black(there, S, T30, 0.9, call=False) / there - black(S, S, T30, 0.6, call=False) / S
        )
        got = scan.vector[0, cell(made, "-8% price, vol up")]
        assert got == pytest.approx(-wanted, rel=1e-10)


class TestVolatilityRule:
    shock = UnderlyingShocks(price_range=0.16, vol_up=0.5, vol_down=0.25, vol_floor_up=0.5)

    @pytest.mark.parametrize(
        "days, scale",
        [
            (7, (30 / 7) ** 0.30),  # 1.5474…: the short power
            (29.999999, 1.0),
            (30, 1.0),
            (90, (30 / 90) ** 0.13),  # 0.8669…: the long power
        ],
    )
    def test_two_segment_power(self, days: float, scale: float) -> None:
        same, up, down = vol_multiplier(self.shock, np.array([days / 365]), 30.0)[0]
        assert same == 1.0
        assert up == pytest.approx(1 + 0.5 * scale, rel=1e-7)
        assert down == pytest.approx(1 - 0.25 * scale, rel=1e-7)

    def test_printed_figures(self) -> None:
        # 0.5·(30/7)^0.3 = 0.5·e^(0.3·1.455287) = 0.5·1.547416 = 0.773708
        # 0.25·(1/3)^0.13 = 0.25·e^(−0.13·1.098612) = 0.25·0.866906 = 0.216727
        table = vol_multiplier(self.shock, np.array([7, 90]) / 365, 30.0)
        assert table[0, 1] == pytest.approx(1.773708, abs=1e-6)
        assert table[1, 2] == pytest.approx(0.783273, abs=1e-6)

    def test_down_stops_at_zero(self) -> None:
        # A tenth of a day: 0.25·300^0.3 = 1.38 > 1.
        assert vol_multiplier(self.shock, np.array([0.1 / 365]), 30.0)[0, 2] == 0.0

    def test_days_floor(self) -> None:
        # Paradex: never fewer than one day, so an hour counts as a day.
        floored = UnderlyingShocks(price_range=0.16, vol_up=0.4, vol_down=0.22, days_floor=1.0)
        hour, day = vol_multiplier(floored, np.array([1 / 24, 1.0]) / 365, 30.0)
        np.testing.assert_array_equal(hour, day)
        assert day[1] == pytest.approx(1 + 0.4 * 30**0.3)

    @pytest.mark.parametrize(
        "days, expiry, code",
        [
            (7, "2026-03-04T08:00:00Z", "4MAR26"),
            (30, EXPIRY, "27MAR26"),
            (90, "2026-05-26T08:00:00Z", "26MAY26"),
        ],
    )
    @pytest.mark.parametrize("vol", [0.2, 0.6])
    def test_in_the_table(self, days: int, expiry: str, code: str, vol: float) -> None:
        # At an unmoved price the cell is the change of the option's value with volatility.
        # At 20 % the up state is lifted to the floor of 50 %; the down state has no floor.
        name = f"BTC_USDC-{code}-50000-C"
        snapshot = market({"BTC": S, "USDC": 1}, vols={name: vol}, forwards={("BTC", expiry): S})
        scale = (30 / days) ** (0.30 if days < 30 else 0.13)
        t = days / 365
        now = black(S, S, t, vol, call=True)
        up = black(S, S, t, max(vol * (1 + 0.5 * scale), 0.5), call=True) - now
        down = black(S, S, t, vol * (1 - 0.25 * scale), call=True) - now
        made, scan = scan_of(PM, snapshot, (name, 1))
        assert scan.raw[0, cell(made, "0% price, vol up")] == pytest.approx(up, rel=1e-9)
        assert scan.raw[0, cell(made, "0% price, vol down")] == pytest.approx(down, rel=1e-9)
        assert scan.raw[0, cell(made, "0% price, vol same")] == pytest.approx(0.0, abs=1e-9)
        if vol == 0.2:
            assert vol * (1 + 0.5 * scale) < 0.5


class TestExtendedTable:
    FAR_CALL = "BTC_USDC-27MAR26-100000-C"

    def test_weights(self) -> None:
        spec = PM.data.scenarios
        assert spec is not None
        weight = build_scenarios(spec, ["BTC"]).weight[0]
        # Range over |move|: 16/66, 16/33, 16/50, 16/100, …, 16/500.
        wanted = [16 / 66, 16 / 33, 0.32, 0.16, 0.08, 16 / 300, 0.04, 0.032]
        np.testing.assert_allclose(weight[27:], wanted, rtol=1e-14)
        np.testing.assert_array_equal(weight[:27], 1.0)

    def test_factor_multiplies_the_weights(self) -> None:
        half = load_ruleset(
            "deribit-pm", overrides={"scenarios.underlyings.BTC.extended_factor": 0.5}
        )
        assert half.data.scenarios is not None
        weight = build_scenarios(half.data.scenarios, ["BTC"]).weight[0]
        np.testing.assert_allclose(weight[-1], 0.016, rtol=1e-14)
        np.testing.assert_array_equal(weight[:27], 1.0)

    def loss_at_five_times(self) -> float:
        """Loss of one short call K = 100,000 when 50,000 becomes 300,000, volatility 90 %."""
        now = black(S, 100_000, T30, 0.6, call=True)
        return black(300_000, 100_000, T30, 0.9, call=True) - now

    @pytest.mark.parametrize("calls", [1, 3, 3.90625, 4, 100])
    def test_dampener_below_at_and_above(self, calls: float) -> None:
        # One call loses 200,000 (less its tiny premium), of which 3.2 % = 6,400 count; the first
        # 25,000 USD of them are forgiven. Four calls: 25,600 − 25,000 = 600. At 3.90625 calls
        # the weighted loss stands on the allowance.
        weighted = 0.032 * calls * self.loss_at_five_times()
        made, scan = scan_of(PM, fixture_g(), (self.FAR_CALL, -calls))
        got = scan.vector[0, cell(made, "+500% price, vol up (tail)")]
        assert got == pytest.approx(-max(weighted - 25_000.0, 0.0), rel=1e-9, abs=0.01)
        if calls == 4:
            assert got == pytest.approx(-600.0, abs=0.01)

    def test_dampener_of_a_coin_pot_is_in_dollars(self) -> None:
        # Inverse calls K = 100,000, 90 of them, at +500 %: each loses 200,000/300,000 of a coin,
        # 3.2 % of it is 0.0213… BTC; 100,000 USD at 50,000 are 2 BTC, more than 90·0.0213 = 1.92;
        # 120 lose 2.56, of which 0.56 count.
        name = "BTC-27MAR26-100000-C"
        snapshot = market({"BTC": S}, vols={name: 0.6}, forwards={("BTC", EXPIRY): S})
        now = black(S, 100_000, T30, 0.6, call=True) / S
        each = 0.032 * (black(300_000, 100_000, T30, 0.9, call=True) / 300_000 - now)
        for count, counted in ((90, 0.0), (120, 120 * each - 2.0)):
            made, scan = scan_of(PM, snapshot, (name, -count))
            got = scan.vector[0, cell(made, "+500% price, vol up (tail)")]
            assert got == pytest.approx(-counted, rel=1e-9)
        assert counted == pytest.approx(0.56, abs=1e-3)

    def test_the_ordinary_grid_has_no_dampener(self) -> None:
        assert im(PM, fixture_g(), (PERP, 0.1)) == pytest.approx(800 + 50)  # and 1 % roll

    def test_linear_legs_are_capped_at_the_range(self) -> None:
        # 100 BTC long at −66 % fall by 16 % only: 800,000·16/66 = 193,939.39, less 25,000.
        made, scan = scan_of(PM, fixture_g(), (PERP, 100))
        got = scan.vector[0, cell(made, "-66% price, vol up (tail)")]
        assert got == pytest.approx(-(800_000 * 16 / 66 - 25_000), rel=1e-12)
        raw = scan.raw[0, cell(made, "-66% price, vol up (tail)")]
        assert raw == pytest.approx(-800_000.0, rel=1e-12)

    def test_inverse_legs_are_capped_too(self) -> None:
        # Short 50,000,000 USD are 1,000 BTC: at +100 % capped to +16 %: 1,000·0.16/1.16 coin,
        # 16 % of it 22.07 BTC, less the 2 BTC of the dampener.
        quiet = load_ruleset("deribit-pm", overrides={"components.delta_shock.growth": "linear"})
        made, scan = scan_of(quiet, fixture_g(), (INVERSE, -50_000_000))
        got = scan.vector[0, cell(made, "+100% price, vol up (tail)")]
        assert got == pytest.approx(-(1_000 * 0.16 / 1.16 * 0.16 - 2.0), rel=1e-12)

    def test_options_are_not_capped(self) -> None:
        # Long perp against a short far call: at +500 % the perp gains 16 %, the call loses all.
        made, scan = scan_of(PM, fixture_g(), (PERP, 10), (self.FAR_CALL, -10))
        weighted = 0.032 * (10 * self.loss_at_five_times() - 10 * 8_000.0)
        got = scan.vector[0, cell(made, "+500% price, vol up (tail)")]
        assert got == pytest.approx(-(weighted - 25_000.0), rel=1e-9)

    def test_without_the_cap_they_move_in_full(self) -> None:
        free = load_ruleset("deribit-pm", overrides={"scenarios.cap_linear": False})
        made, scan = scan_of(free, fixture_g(), (PERP, 10))
        raw = scan.raw[0, cell(made, "-66% price, vol up (tail)")]
        assert raw == pytest.approx(-330_000.0, rel=1e-12)

    def test_gains_in_the_tail(self) -> None:
        # Deribit: they do not count. Paradex: they do, at their weight.
        made, scan = scan_of(PM, fixture_g(), (PERP, 1))
        assert scan.vector[0, cell(made, "+500% price, vol up (tail)")] == 0.0
        paradex = load_ruleset("paradex-pm")
        made, scan = scan_of(paradex, fixture_g(), (PERP, 1))
        got = scan.vector[0, cell(made, "+500% price, vol up (tail)")]
        assert got == pytest.approx(0.032 * 250_000, rel=1e-12)


class TestPnlOffset:
    """Long 1 BTC inverse (gains count 0) against short 0.5 BTC in USDC (gains count 40 %).

    −16 %: the inverse loses 0.16/0.84 BTC, worth 42,000 each: 8,000; the short gains 4,000, of
    which 1,600 count: 6,400. +16 %: the short loses 4,000 and nothing of the inverse's gain
    counts: 4,000.
    """

    BOOK = ((INVERSE, 50_000), (PERP, -0.5))
    CASH: ClassVar = {"USDC": 100_000.0}

    def test_offset(self) -> None:
        made, scan = scan_of(PM_CROSS, fixture_g(), *self.BOOK, balances=self.CASH)
        low, high = cell(made, "-16% price, vol same"), cell(made, "+16% price, vol same")
        assert scan.vector[0, low] == pytest.approx(-6_400.0, rel=1e-12)
        assert scan.vector[0, high] == pytest.approx(-4_000.0, rel=1e-12)
        assert only(scan.margin) == pytest.approx(6_400.0, rel=1e-12)

    def test_cap(self) -> None:
        # At most 1,000 USD may offset: 8,000 − 1,000.
        capped = load_ruleset(
            "deribit-pm-cross",
            overrides={"components.worst_case.currencies.USD.max_offset_usd": 1_000.0},
        )
        found = need(capped, fixture_g(), *self.BOOK, balances=self.CASH).scan
        assert found is not None and only(found.margin) == pytest.approx(7_000.0, rel=1e-12)

    def test_usdc_and_usdt_are_segments_of_their_own(self) -> None:
        # Long 1 in USDC, short 1 in USDT: the gain of one offsets 40 % of the loss of the other.
        snapshot = market(
            {"BTC": S, "USDC": 1, "USDT": 1}, marks={PERP: S, "BTC_USDT-PERPETUAL": S}
        )
        book = (PERP, 1), ("BTC_USDT-PERPETUAL", -1)
        found = need(PM_CROSS, snapshot, *book, balances=self.CASH).scan
        assert found is not None
        assert only(found.margin) == pytest.approx(8_000 - 0.4 * 8_000, rel=1e-12)

    def test_one_segment_nets_in_full(self) -> None:
        found = need(PM, fixture_g(), (PERP, 1), ("BTC_USDC-27MAR26", -1)).scan
        assert found is not None and only(found.margin) == pytest.approx(0.0, abs=1e-9)


# ---- charges beside the scan ------------------------------------------------------------------


def roll_market(forward: float = S) -> Snapshot:
    names = ["BTC_USDC-25SEP26-50000-C", "BTC-25SEP26-50000-C"]
    return market(
        {"BTC": S, "USDC": 1.0},
        marks={PERP: S, INVERSE: S, "BTC_USDC-25SEP26": forward, "BTC-25SEP26": forward},
        vols=dict.fromkeys(names, 0.6),
        forwards={("BTC", FAR): forward, ("BTC", EXPIRY): S},
    )


class TestRollShock:
    def roll(self, *positions: Any, snapshot: Snapshot | None = None) -> float:
        return part("roll_shock", PM, snapshot or roll_market(), *positions)[0]

    def test_perpetual_takes_the_floor(self) -> None:
        # 2 BTC·50,000·1 % in USDC; 100,000 USD = 2 BTC·1 % in coin.
        assert self.roll((PERP, -2)) == pytest.approx(1_000.0, rel=1e-12)
        assert self.roll((INVERSE, -100_000)) == pytest.approx(0.02, rel=1e-12)

    def test_dated_grows_with_time(self) -> None:
        # USDC: 10 % a year for 212 days = 5.808 % of 3·50,000. BTC: 7.5 % a year = 4.356 % of 2.
        assert self.roll(("BTC_USDC-25SEP26", 3)) == pytest.approx(150_000 * 0.10 * T212)
        assert self.roll(("BTC-25SEP26", 100_000)) == pytest.approx(2 * 0.075 * T212)

    def test_near_dates_take_the_floor(self) -> None:
        # 30 days of 10 % a year are 0.82 %, below 1 %.
        assert self.roll(("BTC_USDC-27MAR26", 1), snapshot=fixture_g()) == pytest.approx(500.0)

    def test_linear_is_charged_at_the_index(self) -> None:
        # The future stands 4 % above the index; the coins are valued at the index.
        got = self.roll(("BTC_USDC-25SEP26", 3), snapshot=roll_market(52_000.0))
        assert got == pytest.approx(150_000 * 0.10 * T212, rel=1e-12)

    @pytest.mark.parametrize(
        "name, unit, annual",
        [
            ("BTC_USDC-25SEP26-50000-C", S, 0.10),
            ("BTC-25SEP26-50000-C", 1.0, 0.075),
        ],
    )
    def test_options_enter_by_their_delta(self, name: str, unit: float, annual: float) -> None:
        # d1 = ½·0.6·√(212/365) = 0.22864; N(d1) = 0.59043. In coin the delta is the Black delta.
        delta = normal_cdf(0.5 * 0.6 * math.sqrt(T212))
        assert delta == pytest.approx(0.59043, abs=1e-5)
        got = self.roll((name, -2))
        assert got == pytest.approx(2 * delta * unit * annual * T212, rel=1e-9)

    def test_one_expiry_nets_and_two_do_not(self) -> None:
        delta = normal_cdf(0.5 * 0.6 * math.sqrt(T212))
        far = 0.10 * T212
        same = self.roll(("BTC_USDC-25SEP26", 1), ("BTC_USDC-25SEP26-50000-C", -1))
        assert same == pytest.approx((1 - delta) * S * far, rel=1e-9)
        # Long perpetual, short dated: both legs are charged, that is what the shock is for.
        apart = self.roll((PERP, 1), ("BTC_USDC-25SEP26", -1))
        assert apart == pytest.approx(S * 0.01 + S * far, rel=1e-12)

    def test_currency_without_rates_is_refused(self) -> None:
        snapshot = market(
            {"ETH": 3_000, "BTC": S}, marks={"ETH/BTC:BTC": 0.06, "ETH/BTC:ETH": 0.06}
        )
        bare = load_ruleset("deribit-pm", overrides={"components.roll_shock.currencies": {}})
        with pytest.raises(RulesetError, match="RUL-011"):
            part("roll_shock", bare, snapshot, ("ETH/BTC:BTC", 1))


class TestDeltaShock:
    linear = load_ruleset("deribit-pm", overrides={"components.delta_shock.growth": "linear"})

    @pytest.mark.parametrize("coins", [399.0, 400.0, -400.0])
    def test_nothing_up_to_the_threshold(self, coins: float) -> None:
        # 400 BTC at 50,000 stand on the 20 m USD.
        assert part("delta_shock", PM, fixture_g(), (PERP, coins)) == (0.0, 0.0)

    def test_refused_above_it(self) -> None:
        with pytest.raises(RulesetError) as error:
            need(PM, fixture_g(), (PERP, 401))
        assert error.value.code == "RUL-030"
        assert error.value.field == "components.delta_shock.growth"
        assert "20,000,000 USD" in str(error.value) and "deribit-pm" in str(error.value)

    def test_net_delta_decides(self) -> None:
        # 1,000 long against 700 short in another contract: 300 BTC = 15 m, no charge.
        book = (PERP, 1_000), ("BTC_USDC-27MAR26", -700)
        assert part("delta_shock", PM, fixture_g(), *book) == (0.0, 0.0)

    @pytest.mark.parametrize(
        "coins, wanted",
        [
            # 100 coins beyond 400: 100·0.00005 = 0.5 % of 500·50,000.
            (500, 125_000.0),
            (-500, 125_000.0),
            # 2,600 beyond: 13 %, bounded to 10 % of 3,000·50,000.
            (3_000, 15_000_000.0),
        ],
    )
    def test_user_supplied_law(self, coins: float, wanted: float) -> None:
        got = part("delta_shock", self.linear, fixture_g(), (PERP, coins))
        assert got == pytest.approx((wanted, wanted), rel=1e-12)

    def test_in_coin(self) -> None:
        # 25,000,000 USD are 500 BTC: 0.5 % of 500 BTC = 2.5 BTC.
        got = part("delta_shock", self.linear, fixture_g(), (INVERSE, 25_000_000))
        assert got[0] == pytest.approx(2.5, rel=1e-12)

    def test_the_supplied_law_closes_the_gap(self) -> None:
        assert not any("delta_shock" in gap for gap in self.linear.gaps)
        assert any("delta_shock" in gap for gap in PM.gaps)


class TestCorrelationContingency:
    FLAGGED: ClassVar = {"components.correlation.flagged": ["BTC", "ETH"]}
    flagged = load_ruleset("deribit-pm-cross", overrides=FLAGGED)
    rated = load_ruleset(
        "deribit-pm-cross", overrides=FLAGGED | {"components.correlation.rate": 0.1}
    )
    BOOK = ((PERP, 1), (ETH_PERP, -10))

    def test_nobody_is_flagged_by_default(self) -> None:
        assert part("correlation", PM_CROSS, fixture_g(), *self.BOOK) == (0.0, 0.0)

    def test_refused_when_flagged(self) -> None:
        with pytest.raises(RulesetError) as error:
            need(self.flagged, fixture_g(), *self.BOOK)
        assert error.value.code == "RUL-031"
        assert error.value.field == "components.correlation.rate"

    def test_one_flagged_underlying_alone_nets_nothing(self) -> None:
        assert part("correlation", self.flagged, fixture_g(), (PERP, 1)) == (0.0, 0.0)

    def test_user_supplied_rate(self) -> None:
        # Scans: 16 % of 50,000 = 8,000 and 18 % of 30,000 = 5,400; 10 % of their sum.
        got = part("correlation", self.rated, fixture_g(), *self.BOOK)
        assert got[0] == pytest.approx(1_340.0, rel=1e-12)
        # Roll: 500 + 300. IM = 13,400 + 800 + 1,340; MM = 80 % of it.
        found = need(self.rated, fixture_g(), *self.BOOK)
        assert only(found.im) == pytest.approx(15_540.0, rel=1e-12)
        assert only(found.mm) == pytest.approx(0.8 * 15_540.0, rel=1e-12)


class TestLevels:
    def test_maintenance_is_four_fifths_of_the_risk_matrix(self) -> None:
        # 2 BTC: scan 16,000, roll 1,000.
        found = need(PM, fixture_g(), (PERP, 2))
        assert only(found.im) == pytest.approx(17_000.0, rel=1e-12)
        assert only(found.mm) == pytest.approx(13_600.0, rel=1e-12)

    def test_paradex_halves_the_net_and_keeps_the_provisions(self) -> None:
        # Scan 8,000 against a minimum delta of 2 % of 50,000 = 1,000; funding 50,000·0.01 % = 5.
        found = need(load_ruleset("paradex-pm"), fixture_g(), (PERP, 1))
        assert only(found.im) == pytest.approx(8_005.0, rel=1e-12)
        assert only(found.mm) == pytest.approx(4_005.0, rel=1e-12)

    def test_paradex_minimum_delta_binds(self) -> None:
        # Hedged one against one: scan 0, hedged 1 coin at 1 % = 500. Funding of the long perp 5.
        book = (PERP, 1), ("BTC_USDC-27MAR26", -1)
        found = need(load_ruleset("paradex-pm"), fixture_g(), *book)
        assert only(found.im) == pytest.approx(505.0, rel=1e-9)
        assert only(found.mm) == pytest.approx(255.0, rel=1e-9)

    def test_minimum_delta_takes_options_by_delta(self) -> None:
        # Long call, d1 = ½·0.6·√(30/365): delta N(d1) = 0.53427, 2 % of its coins.
        delta = normal_cdf(0.5 * 0.6 * math.sqrt(T30))
        got = part("min_delta", load_ruleset("paradex-pm"), fixture_g(), (CALL, 4))
        assert got[0] == pytest.approx(0.02 * 4 * delta * S, rel=1e-9)


# ---- pots and collateral ----------------------------------------------------------------------


class TestSegregatedPots:
    def both(self) -> Any:
        who = account(
            (INVERSE, 50_000, 50_000),
            (PERP, 1, 50_000),
            balances={"BTC": 0.1, "USDC": 50_000},
        )
        return make_statement(who, fixture_g(), PM)

    def test_each_currency_stands_alone(self) -> None:
        pots = {p.numeraire: p for p in self.both().pots}
        assert set(pots) == {"BTC", "USDC"}
        # BTC: scan 0.16/0.84 coin + 1 % roll; 0.1 BTC behind it is too little at MM as well.
        wanted = 0.16 / 0.84 + 0.01
        assert pots["BTC"].im == pytest.approx(wanted, rel=1e-12)
        assert pots["BTC"].equity_im == pytest.approx(0.1, rel=1e-12)
        assert pots["BTC"].state == "liquidation"
        # USDC: 8,000 + 500 against 50,000.
        assert pots["USDC"].im == pytest.approx(8_500.0, rel=1e-12)
        assert pots["USDC"].state == "healthy"

    def test_the_account_is_as_bad_as_its_worst_pot(self) -> None:
        totals = self.both().totals
        assert totals.state == "liquidation"
        assert totals.health == pytest.approx(0.1 / (0.8 * (0.16 / 0.84 + 0.01)), rel=1e-12)
        # Money in dollars adds up all the same: 5,000 + 50,000.
        assert totals.equity == pytest.approx(55_000.0, rel=1e-12)

    def test_nothing_nets_across_pots(self) -> None:
        # Long 1 BTC in coin, short 1 BTC in USDC: each pot pays as if the other were not there.
        found = need(PM, fixture_g(), (INVERSE, 50_000), (PERP, -1))
        assert sorted(found.im.tolist()) == pytest.approx([0.16 / 0.84 + 0.01, 8_500.0])


class TestCollateral:
    coins = market({"ETH": 3_000, "STETH": 2_990, "USDC": 1, "BTC": S}, marks={ETH_PERP: 3_000})

    def test_haircut_touches_initial_margin_only(self) -> None:
        # 10 stETH at 2,990 = 29,900; 7.5 % cut = 2,242.50.
        ruleset = load_ruleset("deribit-sm-cross")
        have = done(ruleset, self.coins, balances={"STETH": 10, "USDC": 100}).have
        assert only(have.balances) == pytest.approx(30_000.0, rel=1e-12)
        assert only(have.haircut_im) == pytest.approx(2_242.5, rel=1e-12)
        assert only(have.im) == pytest.approx(27_757.5, rel=1e-12)
        assert only(have.mm) == pytest.approx(30_000.0, rel=1e-12)

    def test_both_levels_when_the_rules_say_so(self) -> None:
        ruleset = load_ruleset(
            "deribit-sm-cross", overrides={"collateral.haircut_levels": ["im", "mm"]}
        )
        have = done(ruleset, self.coins, balances={"STETH": 10}).have
        assert only(have.mm) == only(have.im) == pytest.approx(29_900 * 0.925, rel=1e-12)

    def test_debt_counts_in_full(self) -> None:
        have = done(
            load_ruleset("deribit-sm-cross"), self.coins, balances={"STETH": -10, "USDC": 40_000}
        ).have
        assert only(have.im) == only(have.mm) == pytest.approx(10_100.0, rel=1e-12)

    def test_a_pot_of_its_own_currency_has_no_haircut(self) -> None:
        ruleset = rules(
            flat_rate(0.1, 0.05),
            pools={"by": "settlement"},
            collateral={
                "source": "s",
                "confidence": "house",
                "assets": {"default": {"haircut": 0.5}},
            },
        )
        have = done(ruleset, fixture_g(), (PERP, 1), balances={"USDC": 10_000}).have
        assert only(have.haircut_im) == 0.0

    def test_unknown_asset_is_refused_by_name(self) -> None:
        snapshot = market({"SOL": 150, "USDC": 1})
        with pytest.raises(RulesetError) as error:
            done(load_ruleset("deribit-sm-cross"), snapshot, balances={"SOL": 1})
        assert error.value.code == "RUL-020"
        assert error.value.field == "collateral.assets.SOL"
        assert error.value.account == "a"


class TestStethFollowsEth:
    coins = TestCollateral.coins

    def test_falls_with_eth(self) -> None:
        # 10 stETH at 2,990 and 1 ETH long: at −18 % they lose 5,382 and 540.
        made, scan = scan_of(
            PM_CROSS, self.coins, (ETH_PERP, 1), balances={"STETH": 10, "USDC": 1_000}
        )
        low = cell(made, "-18% price, vol same")
        assert scan.vector[0, low] == pytest.approx(-(0.18 * 29_900 + 540), rel=1e-12)
        assert made.arrangement.groups == 1

    def test_its_own_price_is_what_moves(self) -> None:
        deeper = market({"ETH": 3_000, "STETH": 2_000, "USDC": 1}, marks={ETH_PERP: 3_000})
        found = need(PM_CROSS, deeper, (ETH_PERP, 1), balances={"STETH": 10, "USDC": 1_000})
        assert found.scan is not None
        assert only(found.scan.margin) == pytest.approx(0.18 * 20_000 + 540, rel=1e-12)

    def test_hedges_no_better_than_eth(self) -> None:
        # Short 10 ETH against 10 coins at 3,000. +18 % costs 5,400 and the coins' gain counts
        # 60 %: 2,160. −18 % costs the coins 5,400 and the perpetual's gain counts 40 %: 3,240.
        level = market({"ETH": 3_000, "STETH": 3_000, "USDC": 1}, marks={ETH_PERP: 3_000})
        got = {
            coin: need(PM_CROSS, level, (ETH_PERP, -10), balances={coin: 10}).scan
            for coin in ("ETH", "STETH")
        }
        assert got["ETH"] is not None and got["STETH"] is not None
        assert only(got["ETH"].margin) == pytest.approx(5_400 * 0.6, rel=1e-12)
        # stETH has no rule of its own and takes that of the coin it follows.
        assert only(got["STETH"].margin) == pytest.approx(only(got["ETH"].margin), rel=1e-12)


class TestEquityStressSides:
    """1 BTC of collateral beside one BTC short or long at 50,000, range 16 %."""

    @pytest.mark.parametrize(
        "side, short, long",
        [
            # The coin is not stressed: 8,000 either way.
            ("none", 8_000.0, 8_000.0),
            # It gains on the way up only: covers the short, does not add to the long.
            ("up", 0.0, 8_000.0),
            # It loses on the way down only: no help above; adds 8,000 below.
            ("down", 8_000.0, 16_000.0),
            # Both: covers the short, doubles the long.
            ("both", 0.0, 16_000.0),
        ],
    )
    def test_side(self, side: str, short: float, long: float) -> None:
        ruleset = scan_rules(
            collateral={
                "source": "s",
                "confidence": "house",
                "assets": {"BTC": {"stress": side}},
            }
        )
        coin = {"BTC": 1.0}
        got = [im(ruleset, fixture_g(), (PERP, q), balances=coin) for q in (-1, 1)]
        assert got == pytest.approx([short, long], rel=1e-12, abs=1e-9)

    def test_down_side_beside_a_short(self) -> None:
        # −16 %: the short gains 8,000, the coin loses 8,000: nothing; +16 % costs 8,000.
        ruleset = scan_rules(
            collateral={"source": "s", "confidence": "house", "assets": {"BTC": {"stress": "down"}}}
        )
        made, scan = scan_of(ruleset, fixture_g(), (PERP, -1), balances={"BTC": 1})
        assert scan.vector[0, cell(made, "-16% price, vol same")] == pytest.approx(0.0, abs=1e-9)

    def test_debt_in_coin_loses_on_the_way_up(self) -> None:
        ruleset = scan_rules(
            collateral={"source": "s", "confidence": "house", "assets": {"BTC": {"stress": "both"}}}
        )
        assert im(ruleset, fixture_g(), (PERP, -1), balances={"BTC": -1}) == pytest.approx(16_000.0)


class TestConversion:
    """50,000 USD inverse at 50,000 (one coin), held against a pot of dollars.

    −16 %: 0.16/0.84 BTC lost. At today's price 9,523.81 USD, at the shocked 42,000 exactly 8,000.
    +16 % for a short: 0.16/1.16 BTC: 6,896.55 at today's price, 8,000 at 58,000.
    """

    def rules(self, conversion: str) -> Ruleset:
        return rules(component("scan", "scan", conversion=conversion))

    @pytest.mark.parametrize(
        "conversion, quantity, wanted",
        [
            ("base", 50_000, 50_000 * 0.16 / 0.84),
            ("base", -50_000, 50_000 * 0.16 / 1.16),
            ("shocked", 50_000, 8_000.0),
            ("shocked", -50_000, 8_000.0),
        ],
    )
    def test_perpetual(self, conversion: str, quantity: float, wanted: float) -> None:
        got = im(self.rules(conversion), fixture_g(), (INVERSE, quantity))
        assert got == pytest.approx(wanted, rel=1e-12)

    def test_the_two_differ_by_the_ratio_of_the_prices(self) -> None:
        long, short = (im(self.rules("base"), fixture_g(), (INVERSE, q)) for q in (1e5, -1e5))
        assert long / short == pytest.approx(1.16 / 0.84, rel=1e-12)

    @pytest.mark.parametrize("conversion, price", [("base", S), ("shocked", 1.16 * S)])
    def test_option(self, conversion: str, price: float) -> None:
        # Short inverse call at +16 %, volatility up to 90 %: coins lost times the price.
        name = "BTC-27MAR26-50000-C"
        snapshot = market({"BTC": S}, vols={name: 0.6}, forwards={("BTC", EXPIRY): S})
        there = 1.16 * S
        coins = black(there, S, T30, 0.9, call=True) / there - black(S, S, T30, 0.6, call=True) / S
        made, scan = scan_of(self.rules(conversion), snapshot, (name, -1))
        got = scan.vector[0, cell(made, "+16% price, vol up")]
        assert got == pytest.approx(-coins * price, rel=1e-10)

    def test_linear_gains_are_not_touched(self) -> None:
        for conversion in ("base", "shocked"):
            assert im(self.rules(conversion), fixture_g(), (PERP, 1)) == pytest.approx(8_000.0)

    def test_a_pot_of_the_coin_has_nothing_to_convert(self) -> None:
        ruleset = rules(component("scan", "scan", conversion="shocked"), pools={"by": "settlement"})
        found: Requirement = need(ruleset, fixture_g(), (INVERSE, 50_000))
        assert only(found.im) == pytest.approx(0.16 / 0.84, rel=1e-12)


# ---- debt, fees, funding ------------------------------------------------------------------------


class TestBorrow:
    ruleset = rules(flat_rate(0.10, 0.05), component("borrow", "debt", im=0.10, mm=0.02))

    def test_rate_times_debt(self) -> None:
        # 20,000 USDC borrowed: 2,000 and 400, beside 5,000 and 2,500 for the perpetual.
        book = {"USDC": -20_000.0, "BTC": 1.0}
        found = need(self.ruleset, fixture_g(), (PERP, 1), balances=book)
        assert [only(v) for v in found.pool_parts["debt"]] == pytest.approx([2_000.0, 400.0])
        assert only(found.im) == pytest.approx(7_000.0, rel=1e-12)
        assert only(found.mm) == pytest.approx(2_900.0, rel=1e-12)

    def test_coin_debt_at_its_price(self) -> None:
        # 0.5 BTC and 2 ETH: 25,000 + 6,000 of debt.
        found = need(self.ruleset, fixture_g(), balances={"BTC": -0.5, "ETH": -2, "USDC": 1e5})
        assert only(found.pool_parts["debt"][0]) == pytest.approx(3_100.0, rel=1e-12)

    def test_no_debt_no_margin(self) -> None:
        found = need(self.ruleset, fixture_g(), balances={"BTC": 1, "USDC": 1})
        assert only(found.im) == 0.0

    def test_debt_does_not_scale_with_positions(self) -> None:
        who = account((PERP, 1), balances={"USDC": -20_000, "BTC": 2})
        made = make_statement(who, fixture_g(), self.ruleset)
        assert made.share_fixed_usd == pytest.approx(2_000.0)
        assert made.positions[0].share_im_usd == pytest.approx(5_000.0)


class TestFeeProvision:
    def test_absent(self) -> None:
        paradex = load_ruleset("paradex-pm")
        assert part("fee_provision", paradex, fixture_g(), (PERP, 2)) == (0.0, 0.0)
        assert any(gap.startswith("fee_provision") for gap in paradex.gaps)
        made = make_statement(account((PERP, 2), balances={"USDC": 1e5}), fixture_g(), paradex)
        assert any("fee_provision" in note for note in made.notes)

    def test_supplied(self) -> None:
        # 5 bp of 2·50,000 and of 3·50,000 (either side, options by their coins at the forward).
        paradex = load_ruleset("paradex-pm", overrides={"components.fee_provision.rate": 0.0005})
        assert part("fee_provision", paradex, fixture_g(), (PERP, -2))[0] == pytest.approx(50.0)
        got = part("fee_provision", paradex, fixture_g(), (PERP, -2), (CALL, 3))
        assert got == pytest.approx((125.0, 125.0), rel=1e-12)
        assert not any(gap.startswith("fee_provision") for gap in paradex.gaps)


class TestFundingProvision:
    OTHER = "BTC_USDT-PERPETUAL"
    ruleset = rules(component("funding-provision", "funding", hours=8.0))

    def market(self, first: float | None = 0.0001, second: float = 0.0003) -> Snapshot:
        rates = {self.OTHER: second, ETH_PERP: 0.0002}
        if first is not None:
            rates[PERP] = first
        return market(
            {"BTC": S, "ETH": 3_000, "USDC": 1, "USDT": 1},
            marks={PERP: S, self.OTHER: S, ETH_PERP: 3_000},
            funding=rates,
        )

    def test_longs_pay_a_positive_rate(self) -> None:
        # 2·50,000·0.01 % = 10.
        assert im(self.ruleset, self.market(), (PERP, 2)) == pytest.approx(10.0, rel=1e-12)
        assert im(self.ruleset, self.market(), (PERP, -2)) == 0.0

    def test_shorts_pay_a_negative_rate(self) -> None:
        assert im(self.ruleset, self.market(first=-0.0001), (PERP, -2)) == pytest.approx(10.0)

    def test_netting_within_an_underlying(self) -> None:
        # Long 2 pays 10; short 0.5 of the other receives 0.5·50,000·0.03 % = 7.50.
        book = (PERP, 2), (self.OTHER, -0.5)
        assert im(self.ruleset, self.market(), *book) == pytest.approx(2.5, rel=1e-12)

    def test_never_negative(self) -> None:
        # Receives 15 against 10: nothing is provided, nothing is credited.
        book = (PERP, 2), (self.OTHER, -1)
        assert im(self.ruleset, self.market(), *book) == 0.0

    def test_underlyings_do_not_net(self) -> None:
        # ETH receives 30,000·0.02 % = 6, BTC pays 10: 10.
        book = (PERP, 2), (ETH_PERP, -10)
        assert im(self.ruleset, self.market(), *book) == pytest.approx(10.0, rel=1e-12)

    def test_hours(self) -> None:
        day = rules(component("funding-provision", "funding", hours=24.0))
        assert im(day, self.market(), (PERP, 2)) == pytest.approx(30.0, rel=1e-12)

    def test_missing_rate_is_refused(self) -> None:
        with pytest.raises(MarketDataError) as error:
            im(self.ruleset, self.market(first=None), (PERP, 2))
        assert error.value.code == "MKT-008"
        assert error.value.instrument == PERP
        assert error.value.field == "funding_rate_8h"

    def test_zero_is_a_rate(self) -> None:
        assert im(self.ruleset, self.market(first=0.0), (PERP, 2)) == 0.0

    def test_other_kinds_pay_none(self) -> None:
        assert im(self.ruleset, fixture_g(), (CALL, -1), ("BTC_USDC-27MAR26", 1)) == 0.0

    def test_inverse_funding_in_dollars(self) -> None:
        # 100,000 USD·0.01 % = 10 USD.
        assert im(self.ruleset, fixture_g(), (INVERSE, 100_000)) == pytest.approx(10.0, rel=1e-12)


def test_a_frame_does_not_depend_on_who_else_is_in_the_book() -> None:
    from crossmargin.book import book_from_accounts

    one, two = account((PERP, 1), name="one"), account((PERP, -3), (CALL, 1), name="two")
    both = requirement(frame_for(book_from_accounts([one, two]), fixture_g(), PM))
    alone = [requirement(frame(who, PM, fixture_g())) for who in (one, two)]
    assert both.im.tolist() == [float(r.im.sum()) for r in alone]
