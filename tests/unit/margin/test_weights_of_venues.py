"""Venues by weight: Drift, Mango, Aave, Hyperliquid's portfolio margin, Binance's uniMMR."""

from __future__ import annotations

import csv
import gzip
import math
import os
import random
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tests.helpers import account, done, frame, market
from tests.oracles.weight_oracle import aave_health_factor, drift, hyperliquid_ratio, mango_health

from crossmargin.errors import RulesetError
from crossmargin.margin import liquidation_prices, load_ruleset, make_statement, requirement

SOL, BTC = "SOL_USDC-PERPETUAL", "BTC_USDC-PERPETUAL"


def world(**prices: float) -> Any:
    return market(
        {"USDC": 1.0, **prices},
        marks={f"{coin}_USDC-PERPETUAL": price * 1.003 for coin, price in prices.items()},
    )


class TestDrift:
    PERPS: ClassVar[dict[str, dict[str, float]]] = {
        "BTC": {"im": 0.05, "mm": 0.03, "per_root_coin": 0.00015},
        "SOL": {"im": 0.10, "mm": 0.05, "per_root_coin": 0.0005},
    }

    def rules(self, **more: Any) -> Any:
        return load_ruleset(
            "drift-v2",
            overrides={
                "components.perpetuals.markets": self.PERPS,
                "collateral.profit.default": {"im": 0.9, "mm": 1.0, "cap_im_usd": 100.0},
                "collateral.assets.SOL.liability_im": 1.2,
                "collateral.assets.SOL.liability_mm": 1.1,
                "components.borrows.assets": ["USDC", "SOL"],
                **more,
            },
        )

    def test_size_example(self) -> None:
        """The documentation's size example: imf 0.003 and 2,000 SOL."""
        scaled = 1.1 / (1 + 0.003 * math.sqrt(2_000))
        assert scaled == pytest.approx(0.969_877, abs=1e-6)  # above 0.80: the weight stays
        held = done(self.rules(), world(SOL=100.0), balances={"SOL": 2_000})
        assert held.have.im[0] == pytest.approx(200_000 * 0.80)
        assert held.have.mm[0] == pytest.approx(200_000 * 0.90)
        whale = done(self.rules(), world(SOL=100.0), balances={"SOL": 40_000})
        assert whale.have.im[0] == pytest.approx(4e6 * 1.1 / 1.6)

    def test_random_accounts(self) -> None:
        rng = random.Random(71)
        for _ in range(60):
            sol, btc = rng.uniform(50, 300), rng.uniform(4e4, 1e5)
            usdc = rng.uniform(-5e4, 5e5)
            coins = rng.uniform(-3e3, 5e4)
            perps = []
            positions = []
            for name, price, top in (("SOL", sol, 1e5), ("BTC", btc, 300.0)):
                q, entry = rng.uniform(-top, top), price * rng.uniform(0.9, 1.1)
                spec = self.PERPS[name]
                ratios = (spec["im"], spec["mm"])
                perps.append((q, price, entry, ratios, spec["per_root_coin"]))
                positions.append((f"{name}_USDC-PERPETUAL", q, entry))
            held = done(
                self.rules(),
                world(SOL=sol, BTC=btc),
                *positions,
                balances={"USDC": usdc, "SOL": coins},
            )
            deposits: list[Any] = [(usdc, 1.0, (1.0, 1.0), 0.0)] if usdc > 0 else []
            borrows: list[Any] = [(-usdc, 1.0, (1.0, 1.0))] if usdc < 0 else []
            if coins > 0:
                deposits.append((coins, sol, (0.80, 0.90), 0.003))
            else:
                borrows.append((-coins, sol, (1.2, 1.1)))
            for level, ours in enumerate(
                ((held.have.im[0], held.need.im[0]), (held.have.mm[0], held.mm[0]))
            ):
                theirs = drift(level, deposits, borrows, perps, (0.9, 1.0))
                assert ours == pytest.approx(theirs, rel=1e-12)

    def test_orders(self) -> None:
        """All bids or all asks, at the oracle, at both levels; a cent for each order."""
        spec = self.PERPS["SOL"]
        orders = [
            {"id": f"o{k}", "legs": [{"instrument": SOL, "quantity": q, "price": 90.0}]}
            for k, q in enumerate((500.0, 300.0, -2_000.0))
        ]
        held = done(
            self.rules(),
            world(SOL=100.0),
            (SOL, 1_000.0),
            balances={"USDC": 1e6},
            orders=orders,
        )
        worst = max(1_000 + 800, abs(1_000 - 2_000))
        for ours, ratio in ((held.need_orders.im[0], spec["im"]), (held.mm[0], spec["mm"])):
            grown = max(ratio, 0.8 * ratio + spec["per_root_coin"] * math.sqrt(worst))
            assert ours == pytest.approx(worst * 100 * grown + 0.03, rel=1e-12)

    def test_profit_is_capped_for_initial_only(self) -> None:
        held = done(self.rules(), world(SOL=100.0), (SOL, 100.0, 90.0), balances={"USDC": 0})
        assert held.have.im[0] == pytest.approx(100.0)
        assert held.have.mm[0] == pytest.approx(1_000.0)
        loss = done(self.rules(), world(SOL=100.0), (SOL, 100.0, 110.0), balances={"USDC": 0})
        assert loss.have.im[0] == loss.have.mm[0] == pytest.approx(-1_000.0)

    def test_unknown_figures_are_refused(self) -> None:
        plain = load_ruleset("drift-v2")
        with pytest.raises(RulesetError, match="RUL-011"):
            done(plain, world(SOL=100.0), (SOL, 1.0), balances={"USDC": 1e3})
        with pytest.raises(RulesetError, match=r"RUL-015: .* owes SOL"):
            done(plain, world(SOL=100.0), balances={"USDC": 1e3, "SOL": -1})
        with pytest.raises(RulesetError, match="RUL-020"):
            done(plain, world(SOL=1.0, JUP=1.0), balances={"JUP": 1})


class TestMango:
    def rules(self, stable: float | None) -> Any:
        return load_ruleset("mango-v4", overrides=self.overrides(stable))

    def overrides(self, stable: float | None) -> dict[str, Any]:
        weights = {"asset_im": 0.8, "asset_mm": 0.9, "liability_im": 1.25, "liability_mm": 1.1}
        perp = {**weights, **({} if stable is None else {"stable_usd": stable})}
        flat = lambda factor: {"kind": "flat", "factor": factor}
        return {
            "components.perpetuals.markets": {"SOL": perp},
            "components.borrows.assets": ["USDC", "SOL"],
            "collateral.assets": {
                "USDC": {},
                "SOL": {
                    "im": flat(0.7),
                    "mm": flat(0.85),
                    "liability_im": 1.3,
                    "liability_mm": 1.15,
                },
            },
            "collateral.stable_usd": {} if stable is None else {"SOL": stable},
            "collateral.profit.default": {"im": 0.5, "mm": 0.6, "after": "perpetuals"},
        }

    def test_random_accounts(self) -> None:
        rng = random.Random(81)
        for _ in range(80):
            price = rng.uniform(50, 300)
            stable = rng.choice([None, price * rng.uniform(0.8, 1.2)])
            usdc, coins = rng.uniform(-1e5, 2e5), rng.uniform(-500, 2_000)
            base, entry = rng.uniform(-3_000, 3_000), price * rng.uniform(0.5, 1.6)
            held = done(
                self.rules(stable),
                world(SOL=price),
                (SOL, base, entry),
                balances={"USDC": usdc, "SOL": coins},
            )
            tokens = [
                (usdc, 1.0, None, (1.0, 1.0), (1.0, 1.0)),
                (coins, price, stable, (0.7, 0.85), (1.3, 1.15)),
            ]
            for level, ours in enumerate(
                (held.have.im[0] - held.need.im[0], held.have.mm[0] - held.mm[0])
            ):
                overall = (0.5, 0.6)[level]
                perps = [(base, price, entry, stable, (0.8, 0.9), (1.25, 1.1), overall)]
                theirs = mango_health(level, tokens, perps)
                assert ours == pytest.approx(theirs, rel=1e-10, abs=1e-7)

    def test_overall_weight_zero(self) -> None:
        """No borrowing against the profit of a market with overall weight 0; losses stay."""
        shut = {"im": 0.0, "mm": 0.0, "after": "perpetuals"}
        rules = load_ruleset(
            "mango-v4",
            overrides={**self.overrides(None), "collateral.profit.default": shut},
        )
        cash = {"USDC": 1_000.0}
        for entry, expected in ((50.0, 1_000.0), (110.0, 1_000.0 - 1_000.0 - 2_000.0)):
            held = done(rules, world(SOL=100.0), (SOL, 100.0, entry), balances=cash)
            assert held.have.im[0] - held.need.im[0] == pytest.approx(expected)


class TestAave:
    def test_worked_example(self) -> None:
        """10,000 at 80 % against 6,000 gives 1.333 (reference/venues.md §9)."""
        ltv = {"kind": "ltv", "ltv": 0.75, "threshold": 0.80}
        rules = load_ruleset("aave-v3", overrides={"collateral.assets.X": {"schedule": ltv}})
        made = make_statement(
            account(balances={"X": 10_000, "USDC": -6_000}), world(X=1.0), rules, solve=False
        )
        assert made.totals.health == pytest.approx(8_000 / 6_000)
        assert round(made.totals.health or 0.0, 3) == 1.333
        assert made.totals.available == pytest.approx(7_500 - 6_000)
        assert made.totals.state == "healthy"

    def test_liquidatable_below_one(self) -> None:
        rules = load_ruleset("aave-v3")
        for debt, state in ((830.0, ""), (830.01, "liquidatable")):
            who = account(balances={"WETH": 1, "USDC": -debt})
            made = make_statement(who, world(WETH=1_000.0), rules, solve=False)
            assert made.totals.venue_state == state

    def test_liquidation_price(self) -> None:
        rules = load_ruleset("aave-v3")
        who = account(balances={"WETH": 10, "USDC": -6_000})
        solved = liquidation_prices(frame(who, rules, world(WETH=1_000.0)))[0]
        assert solved.down.price_usd == pytest.approx(6_000 / 10 / 0.83, rel=1e-9)

    def test_mode(self) -> None:
        """A category replaces both figures while the account is in it."""
        raised = {"WETH": {"schedule": {"kind": "ltv", "ltv": 0.90, "threshold": 0.93}}}
        modes = {"collateral.modes": {"correlated": raised}}
        who = account(balances={"WETH": 1, "USDC": -600})
        for mode, expected in ((None, 830 / 600), ("correlated", 930 / 600)):
            chosen = {} if mode is None else {"collateral.mode": mode}
            rules = load_ruleset("aave-v3", overrides={**modes, **chosen})
            made = make_statement(who, world(WETH=1_000.0), rules, solve=False)
            assert made.totals.health == pytest.approx(expected)
        with pytest.raises(RulesetError, match="RUL-001"):
            load_ruleset("aave-v3", overrides={"collateral.mode": "none-such"})

    def test_recorded_parameters(self) -> None:
        folder = os.environ.get("CROSSMARGIN_DATA")
        if not folder:
            pytest.skip("CROSSMARGIN_DATA is not set: recorded parameters are not tested")
        path = Path(folder) / "aave_v3_collateral_params_20260822.csv.gz"
        if not path.is_file():
            pytest.skip(f"CROSSMARGIN_DATA has no {path.name}")
        text = gzip.decompress(path.read_bytes()).decode()
        rows = [row for row in csv.DictReader(text.splitlines()) if row["network"] == "ethereum"]
        shipped = load_ruleset("aave-v3").data.collateral.assets
        rng, found = random.Random(91), {}
        for row in rows:
            found[row["symbol"].upper()] = (
                float(row["loan_to_value"]),
                float(row["liquidation_threshold"]),
            )
        for name in ("WETH", "WBTC"):
            assert found[name] == (shipped[name].schedule.ltv, shipped[name].schedule.threshold)  # type: ignore[union-attr]
        usable = [n for n, (ltv, t) in found.items() if 0 < ltv <= t and n.isalnum()]
        usable.remove("USDC")
        assert len(usable) > 10
        for _ in range(20):
            names = rng.sample(usable, 3)
            rules = load_ruleset(
                "aave-v3",
                overrides={
                    f"collateral.assets.{n}": {
                        "schedule": {"kind": "ltv", "ltv": found[n][0], "threshold": found[n][1]}
                    }
                    for n in usable
                    if n in names
                },
            )
            prices = {n: rng.uniform(0.1, 5_000) for n in names}
            amounts = {n: rng.uniform(0.1, 100) for n in names}
            debt = rng.uniform(1, 1e5)
            balances = {**amounts, "USDC": -debt}
            made = make_statement(account(balances=balances), world(**prices), rules, solve=False)
            thresholds = {n: found[n][1] for n in usable}
            values = [(amounts[n] * prices[n], thresholds[n]) for n in names]
            assert made.totals.health == pytest.approx(aave_health_factor(values, [debt]))


class TestHyperliquidPortfolio:
    def test_borrowing_power(self) -> None:
        """HYPE at LTV 0.5: 10,000 units at 40 USD give 200,000 USDC."""
        held = done(load_ruleset("hyperliquid-pm"), world(HYPE=40.0), balances={"HYPE": 10_000})
        assert held.have.im[0] == pytest.approx(200_000.0)
        assert held.have.mm[0] == pytest.approx(300_000.0)  # threshold 0.5 + 0.5·0.5

    def test_random_accounts(self) -> None:
        rng, rules = random.Random(51), load_ruleset("hyperliquid-pm")
        liquidatable = 0
        for _ in range(60):
            hype, btc = rng.uniform(20, 60), rng.uniform(4e4, 1e5)
            held, coins = rng.uniform(0, 80_000), rng.uniform(0, 30)
            borrowed = rng.uniform(0, 1.2e6)
            q = rng.uniform(-50, 50)
            who = account(
                ("BTC_USDC-PERPETUAL", q),
                balances={"USDC": -borrowed, "HYPE": held, "BTC": coins},
            )
            made = make_statement(who, world(HYPE=hype, BTC=btc), rules, solve=False)
            mm = abs(q) * btc * 1.003 * 0.0125
            wallet = [(held, hype, 50_000.0, 0.75), (coins, btc, 20.0, 0.75)]
            ratio = hyperliquid_ratio(borrowed, 0.0, mm, wallet)
            assert made.totals.mm / made.totals.equity == pytest.approx(ratio, rel=1e-12)
            assert (made.totals.venue_state == "liquidatable") == (ratio > 0.95)
            liquidatable += ratio > 0.95
        assert 5 < liquidatable < 55

    def test_price_is_solved_for_the_venues_line(self) -> None:
        rules = load_ruleset("hyperliquid-pm")
        who = account(balances={"USDC": -150_000, "HYPE": 10_000})
        solved = liquidation_prices(frame(who, rules, world(HYPE=40.0)))[0]
        assert solved.down.price_usd == pytest.approx(
            (150_000 + 20) / 0.95 / (10_000 * 0.75), rel=1e-9
        )


class TestUniMmr:
    def rules(self) -> Any:
        return load_ruleset("binance-pm", overrides={"collateral.assets.USDT.haircut": 0.0})

    def world(self) -> Any:
        return market(
            {"BTC": 50_000.0, "USDT": 1.0, "USDC": 1.0},
            marks={"BTC_USDT-PERPETUAL": 50_000.0, "BTC-PERPETUAL": 50_000.0},
        )

    def test_the_rate_takes_the_net_of_an_asset(self) -> None:
        """min(net·price·rate, net·price), net = balance + profit: a loss is cut with its coin."""
        inverse = ("BTC-PERPETUAL", 100_000.0, 40_000.0)  # profit of 0.5 BTC
        held = done(self.rules(), self.world(), inverse, balances={"BTC": 1.0})
        assert held.have.mm[0] == pytest.approx(1.5 * 50_000 * 0.95)
        loss = ("BTC-PERPETUAL", 100_000.0, 100_000.0)  # loss of 1 BTC
        under = done(self.rules(), self.world(), loss, balances={"BTC": 0.25})
        assert under.have.mm[0] == pytest.approx(-0.75 * 50_000)  # negatives in full

    @pytest.mark.parametrize(
        ("ratio", "state", "meaning"),
        [
            (1.6, "", "healthy"),
            (1.5, "warning", "healthy"),
            (1.21, "warning", "healthy"),
            (1.2, "reduce-only", "reduce-only"),
            (1.06, "reduce-only", "reduce-only"),
            (1.05, "liquidation", "liquidation"),
            (1.0, "claim for loss", "liquidation"),
            (-0.1, "claim for loss", "bankrupt"),
        ],
    )
    def test_bands(self, ratio: float, state: str, meaning: str) -> None:
        """1 BTC of USDT futures: MM = 50,000·0.4 % = 200."""
        entry = 50_000.0 - 200.0 * ratio
        who = account(("BTC_USDT-PERPETUAL", 1.0, entry), balances={"USDT": 0.0})
        made = make_statement(who, self.world(), self.rules(), solve=False)
        assert made.totals.mm == pytest.approx(200.0)
        assert made.totals.venue_state == state
        house = "reduce-only" if meaning == "healthy" else meaning  # IM is 333.33
        assert made.totals.state == (house if ratio * 200 < made.totals.im else meaning)

    def test_liquidation_price_is_at_the_band(self) -> None:
        who = account(("BTC_USDT-PERPETUAL", 1.0, 50_000.0), balances={"USDT": 5_000.0})
        solved = liquidation_prices(frame(who, self.rules(), self.world()))[0]
        # 5,000 + P − 50,000 = 1.05·0.004·P
        assert solved.down.price_usd == pytest.approx(45_000 / (1 - 1.05 * 0.004), rel=1e-9)

    def test_loans_need_their_rates(self) -> None:
        with pytest.raises(RulesetError, match="RUL-015"):
            done(self.rules(), self.world(), balances={"USDT": 1_000.0, "BTC": -0.01})
        rules = load_ruleset(
            "binance-pm",
            overrides={
                "collateral.assets.USDT.haircut": 0.0,
                "components.margin_loans.im": 1 / 9,  # 10x
                "components.margin_loans.mm": 0.05,
            },
        )
        held = done(rules, self.world(), balances={"USDT": 1_000.0, "BTC": -0.01})
        assert held.need.im[0] == pytest.approx(500 / 9)
        assert held.mm[0] == pytest.approx(25.0)
        assert held.have.mm[0] == pytest.approx(500.0)


def test_charge_per_order_counts_each_order_once() -> None:
    from tests.helpers import component, flat_rate, rules

    made = rules(
        flat_rate(0.1, 0.05),
        {**component("order-charge", "per_order"), "usd": 2.0},
        combine={"im": "futures", "mm": "futures"},
    )
    orders = [
        {
            "id": "a",
            "legs": [{"instrument": SOL, "quantity": 1}, {"instrument": BTC, "quantity": 1}],
        },
        {"id": "b", "legs": [{"instrument": SOL, "quantity": -1}]},
    ]
    who = account(balances={"USDC": 1e6}, orders=orders)
    framed = frame(who, made, world(SOL=100.0, BTC=5e4))
    assert requirement(framed, orders=True).pool_parts["per_order"][0][0] == 4.0
    assert requirement(framed).pool_parts["per_order"][0][0] == 0.0
