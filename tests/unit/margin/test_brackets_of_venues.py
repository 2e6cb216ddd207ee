"""Brackets of Binance and Bybit: published amounts, liquidation prices, ends of tables."""

from __future__ import annotations

import gzip
import json
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.helpers import account, done, frame, market
from tests.oracles.weight_oracle import binance_liquidation, bracket_initial, slices

from crossmargin.errors import RulesetError
from crossmargin.margin import Ruleset, liquidation_prices, load_ruleset, shares
from crossmargin.margin._formula import tier_rates
from crossmargin.margin.components import RateMargin, Tier

BTC, BTC_COIN = "BTC_USDT-PERPETUAL", "BTC-PERPETUAL"
OLD = "2021-03-18"


def world(btc: float = 50_000.0, eth: float = 3_000.0) -> Any:
    return market(
        {"BTC": btc, "ETH": eth, "USDT": 1.0, "USDC": 1.0},
        marks={
            BTC: btc,
            BTC_COIN: btc,
            "ETH-PERPETUAL": eth,
            "ETH_USDT-PERPETUAL": eth,
            "BTC_USDC-PERPETUAL": btc,
        },
    )


def tiers_of(rules: Ruleset, component: str, market_name: str) -> list[Tier]:
    spec = next(c for c in rules.data.components if c.name == component)
    assert isinstance(spec, RateMargin)
    return spec.tiers[market_name]


def rows(tiers: list[Tier]) -> list[tuple[float, float, float]]:
    return [(t.floor, t.im, t.mm) for t in tiers]


class TestPublishedAmounts:
    def test_coin_m_level_five(self) -> None:
        """Binance FAQ ceccfcf...: 50·(5 % − 2.5 %) + 0.56 = 1.81 BTC."""
        tiers = tiers_of(load_ruleset("binance-coinm"), "futures", "BTC")
        cum = tier_rates(tiers)[4]
        assert tiers[4].floor == 50.0 and tiers[4].mm == 0.05 and tiers[3].mm == 0.025
        assert cum[3] == pytest.approx(0.56, rel=1e-15)
        assert cum[4] == pytest.approx(50 * (0.05 - 0.025) + 0.56, rel=1e-15)
        assert cum[4] == pytest.approx(1.81, rel=1e-15)

    def test_coin_m_account(self) -> None:
        """60 BTC of notional: 60·5 % − 1.81, in coin, whatever the price."""
        for price in (20_000.0, 50_000.0):
            rules = load_ruleset("binance-coinm")
            held = done(rules, world(price), (BTC_COIN, 60 * price, price), balances={"BTC": 10})
            assert held.mm[0] == pytest.approx(60 * 0.05 - 1.81, rel=1e-12)
            assert held.need.im[0] == pytest.approx(60 * 0.10, rel=1e-12)  # 10x at most

    def test_bybit_deductions(self) -> None:
        """The venue's own deductions of BTCUSDT, tiers 1 to 20, as printed (whole USDT)."""
        printed = [0, 1200, 3020, 4300, 5820, 8460, 15460, 20500, 46000, 66000, 80000, 160000]
        printed += [300000, 452000, 502000, 777000, 837000, 967000, 1107000, 1482000]
        cum = tier_rates(tiers_of(load_ruleset("bybit-uta"), "futures", "BTC_USDT"))[4]
        np.testing.assert_allclose(cum, printed, rtol=1e-12, atol=1e-6)


class TestRandomSizes:
    @pytest.mark.parametrize(
        ("name", "component", "key", "on", "top"),
        [
            ("binance-usdm", "futures", "BTC_USDT", OLD, 5e8),
            ("binance-usdm", "futures", "BTC_USDT", None, 3e6),
            ("bybit-uta", "futures", "BTC_USDT", None, 8e7),
            ("binance-coinm", "futures", "BTC", None, 1000.0),
            ("binance-coinm", "futures", "ETH", None, 10_000.0),
        ],
    )
    def test_slices_by_hand(
        self, name: str, component: str, key: str, on: str | None, top: float
    ) -> None:
        rules, rng = load_ruleset(name, on=on), random.Random(name)
        brackets = rows(tiers_of(rules, component, key))
        coin = key.split("_")[0]
        price = {"BTC": 50_000.0, "ETH": 3_000.0}[coin]
        linear = "_" in key
        instrument = f"{key}-PERPETUAL"
        asset = "USDT" if linear else coin
        edges = [row[0] for row in brackets if row[0] > 0] + [top]
        if not linear:  # quantities are dollars: a bound in coin is met to rounding only
            edges = [edge * (1.0 - 1e-9) for edge in edges]
        sizes = edges + [top * rng.random() ** 3 for _ in range(20)]
        for size in sizes:
            leverage = rng.choice([None, 1.0, 3.0, 20.0, 125.0])
            position = {
                "instrument": instrument,
                "quantity": rng.choice([-1, 1]) * (size / price if linear else size * price),
                "entry_price": "mark",
                **({} if leverage is None else {"leverage": leverage}),
            }
            held = done(rules, world(), position, balances={asset: 1.0})
            assert held.mm[0] == pytest.approx(slices(size, brackets, 2), rel=1e-12)
            expected = bracket_initial(size, brackets, leverage)
            assert held.need.im[0] == pytest.approx(expected, rel=1e-9)
            assert held.need.im[0] >= held.mm[0]

    def test_shares_add_up_over_a_jump(self) -> None:
        """Initial margin jumps where a bracket allows less leverage: a line of its own."""
        rules = load_ruleset("binance-usdm", on=OLD)
        who = account((BTC, 2.0), balances={"USDT": 1e6})
        split = shares(frame(who, rules, world()))
        assert split.total == pytest.approx(1_000.0, rel=1e-12)
        # 50,000 of 100,000 USDT is passed at 125x: 400 there, and 500 just beyond.
        assert split.jumps == pytest.approx(100.0, rel=1e-6)
        assert split.position.sum() + split.jumps + split.fixed == pytest.approx(
            split.total, rel=1e-9
        )


class TestEnds:
    def test_beyond_the_table(self) -> None:
        with pytest.raises(RulesetError, match=r"RUL-013: the brackets of BTC_USDT .* 3,000,000"):
            done(load_ruleset("binance-usdm"), world(), (BTC, 61.0), balances={"USDT": 1e6})

    def test_on_the_bound(self) -> None:
        held = done(load_ruleset("binance-usdm"), world(), (BTC, 60.0), balances={"USDT": 1e6})
        # 300,000·0.4 % + 500,000·0.5 % + 2,200,000·0.65 %
        assert held.mm[0] == pytest.approx(1_200.0 + 2_500.0 + 14_300.0, rel=1e-12)

    def test_another_symbol(self) -> None:
        with pytest.raises(RulesetError, match="RUL-011"):
            done(
                load_ruleset("binance-usdm"),
                world(),
                ("ETH_USDT-PERPETUAL", 1.0),
                balances={"USDT": 1e6},
            )

    def test_what_the_venue_does_not_trade(self) -> None:
        with pytest.raises(RulesetError, match=r"RUL-014: .*inverse perpetual"):
            done(load_ruleset("binance-usdm"), world(), (BTC_COIN, 100.0), balances={"BTC": 1})
        with pytest.raises(RulesetError, match="RUL-014"):
            done(load_ruleset("aave-v3"), world(), (BTC, 1.0), balances={"USDT": 1})

    def test_dated_versions(self) -> None:
        old, new = load_ruleset("binance-usdm", on="2022-01-01"), load_ruleset("binance-usdm")
        assert old.data.effective_from == OLD < new.data.effective_from
        assert rows(tiers_of(old, "futures", "BTC_USDT"))[0] == (0.0, 1 / 125, 0.004)
        assert rows(tiers_of(new, "futures", "BTC_USDT"))[0] == (0.0, 1 / 150, 0.004)

    def test_tables_say_where_they_end(self) -> None:
        made = load_ruleset("binance-usdm")
        assert any("BTCUSDT beyond 3 m" in gap for gap in made.gaps)
        whole = [{"floor": 0.0, "im": 0.01, "mm": 0.005}]
        path = "components.futures.tiers"
        supplied = load_ruleset("binance-usdm", overrides={path: {"BTC_USDT": whole}})
        assert not any(gap.startswith("futures") for gap in supplied.gaps)

    @pytest.mark.parametrize(
        "tiers",
        [
            [{"floor": 0, "im": 0.1, "mm": 0.1, "known_to": 5}, {"floor": 10, "im": 0.1, "mm": 0}],
            [{"floor": 0, "im": 0.1, "mm": 0.1}, {"floor": 10, "im": 0.1, "mm": 0, "known_to": 10}],
        ],
    )
    def test_bad_ends(self, tiers: list[dict[str, float]]) -> None:
        with pytest.raises(RulesetError, match="RUL-001"):
            load_ruleset("binance-usdm", overrides={"components.futures.tiers.BTC_USDT": tiers})


class TestLiquidationPrice:
    """The venue's formula, re-solved by bracket, against the engine's solver."""

    @pytest.mark.parametrize("quantity", [0.9, -0.9, 25.0, -25.0, 399.0, -401.0, 900.0])
    @pytest.mark.parametrize("share", [0.02, 0.07, 0.3, 0.9])
    def test_cross(self, quantity: float, share: float) -> None:
        rules = load_ruleset("binance-usdm", on=OLD)
        brackets = rows(tiers_of(rules, "futures", "BTC_USDT"))
        entry = 50_000.0
        wallet = share * abs(quantity) * entry + slices(abs(quantity) * entry, brackets, 2)
        expected = binance_liquidation(wallet, quantity, entry, brackets)
        who = account((BTC, quantity, entry), balances={"USDT": wallet})
        solved = liquidation_prices(frame(who, rules, world()))[0]
        side = solved.down if quantity > 0 else solved.up
        if expected is None:
            assert side.price_usd is None
        else:
            assert side.price_usd == pytest.approx(expected, rel=1e-9)

    def test_a_case_that_changes_its_bracket(self) -> None:
        """A short that dies two brackets above the one it stands in."""
        rules = load_ruleset("binance-usdm", on=OLD)
        brackets = rows(tiers_of(rules, "futures", "BTC_USDT"))
        entry, quantity, wallet = 50_000.0, -180.0, 10_000_000.0
        expected = binance_liquidation(wallet, quantity, entry, brackets)
        assert expected is not None
        assert entry * 180 < 1e7 < 2e7 > 180 * 55_556 and expected * 180 > 1e7
        who = account((BTC, quantity, entry), balances={"USDT": wallet})
        solved = liquidation_prices(frame(who, rules, world()))[0]
        assert solved.up.price_usd == pytest.approx(expected, rel=1e-9)

    def test_other_symbols_stand_beside_it(self) -> None:
        """TMM1 and UPNL1 of another symbol enter, as the venue writes it."""
        tiers = [{"floor": 0.0, "im": 0.02, "mm": 0.01}, {"floor": 1e6, "im": 0.1, "mm": 0.05}]
        path = "components.futures.tiers.ETH_USDT"
        overrides = {path: tiers}
        # The old table is chosen by date; overrides are laid over it.
        rules = load_ruleset("binance-usdm", overrides=overrides, on=OLD)
        brackets = rows(tiers_of(rules, "futures", "BTC_USDT"))
        eth = -500.0
        other_mm = slices(1_500_000.0, [(0.0, 0.02, 0.01), (1e6, 0.1, 0.05)], 2)
        profit = eth * (3_000.0 - 3_100.0)
        expected = binance_liquidation(400_000.0, 40.0, 51_000.0, brackets, other_mm, profit)
        who = account(
            (BTC, 40.0, 51_000.0),
            ("ETH_USDT-PERPETUAL", eth, 3_100.0),
            balances={"USDT": 400_000.0},
        )
        solved = {p.underlying: p for p in liquidation_prices(frame(who, rules, world()))}
        assert solved["BTC"].down.price_usd == pytest.approx(expected, rel=1e-9)

    def test_isolated(self) -> None:
        """Isolated: WB is the isolated wallet, other symbols do not enter."""
        fenced: dict[str, Any] = {"pools.by": "position", "numeraire": "USD"}
        fenced["collateral.assets.default.haircut"] = 0.0
        rules = load_ruleset("binance-usdm", overrides=fenced, on=OLD)
        brackets = rows(tiers_of(rules, "futures", "BTC_USDT"))
        for quantity, fence in ((30.0, 120_000.0), (-30.0, 600_000.0), (250.0, 2_000_000.0)):
            expected = binance_liquidation(fence, quantity, 50_000.0, brackets)
            position = {
                "instrument": BTC,
                "quantity": quantity,
                "entry_price": 50_000.0,
                "fenced_margin": fence,
            }
            who = account(position, balances={"USDT": 9_000_000.0})
            solved = liquidation_prices(frame(who, rules, world()))[0]
            side = solved.down if quantity > 0 else solved.up
            assert side.price_usd == pytest.approx(expected, rel=1e-9)

    def test_coin_m(self) -> None:
        """The analogue in reciprocal prices, solved by bisection on its definition."""
        rules = load_ruleset("binance-coinm")
        brackets = rows(tiers_of(rules, "futures", "BTC"))
        usd, entry, wallet = 1_500_000.0, 50_000.0, 5.0

        def excess(price: float) -> float:
            return wallet + usd * (1 / entry - 1 / price) - slices(usd / price, brackets, 2)

        low, high = 30_000.0, 50_000.0
        for _ in range(200):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if excess(middle) < 0 else (low, middle)
        who = account((BTC_COIN, usd, entry), balances={"BTC": wallet})
        solved = liquidation_prices(frame(who, rules, world()))[0]
        assert solved.down.price_usd == pytest.approx(low, rel=1e-9)
        assert usd / entry <= 30 < usd / low  # another bracket than today's


class TestRecordedTables:
    """Every symbol of a recorded table: the venue's own cumulative amounts."""

    @pytest.fixture
    def table(self) -> dict[str, list[dict[str, Any]]]:
        folder = os.environ.get("CROSSMARGIN_DATA")
        if not folder:
            pytest.skip("CROSSMARGIN_DATA is not set: recorded brackets are not tested")
        path = Path(folder) / "binance_leverage_tiers_2026-09.json.gz"
        if not path.is_file():
            pytest.skip(f"CROSSMARGIN_DATA has no {path.name}")
        found: dict[str, list[dict[str, Any]]] = json.loads(gzip.decompress(path.read_bytes()))
        return found

    def test_cumulative_amounts(self, table: dict[str, list[dict[str, Any]]]) -> None:
        worst = 0.0
        for brackets in table.values():
            tiers = [
                Tier(
                    floor=float(b["minNotional"]),
                    im=1.0 / float(b["maxLeverage"]),
                    mm=float(b["maintenanceMarginRate"]),
                )
                for b in brackets
            ]
            ours = tier_rates(tiers)[4]
            theirs = np.array([float(b["info"]["cum"]) for b in brackets])
            worst = max(worst, float((np.abs(ours - theirs) / np.maximum(theirs, 1.0)).max()))
        assert len(table) > 900
        assert worst < 1e-14
