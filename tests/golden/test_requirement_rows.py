"""The numbers of the requirements' rows, one class a row.

Rounded figures are matched to half a unit of their last digit, the rest to 1e-6 relative.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import pytest
from tests.helpers import (
    CALL,
    ETH_PERP,
    GRID,
    PERP,
    PUT,
    account,
    component,
    done,
    fixture_g,
    flat_rate,
    frame,
    im,
    market,
    need,
    rules,
    scan_rules,
)

from crossmargin.book import AccountFile
from crossmargin.errors import PricingError
from crossmargin.margin import (
    LiquidationPrice,
    Ruleset,
    equity,
    fenced_margins,
    liquidation_prices,
    load_ruleset,
    make_statement,
    requirement,
    top_up,
)
from crossmargin.margin._formula import tier_margin
from crossmargin.margin.components import Tier
from crossmargin.market import Snapshot
from crossmargin.pricing import accrued_interest, black76, black76_greeks
from crossmargin.scenarios import UnderlyingShocks, vol_multiplier

G = scan_rules()
MARKET = fixture_g()
CENT = 0.005


def binding(*positions: object, ruleset: Ruleset = G, snapshot: Snapshot = MARKET) -> str:
    made = frame(account(*positions), ruleset, snapshot)
    found = requirement(made).scan
    assert found is not None
    return made.table.scenarios.labels[0][int(found.binding[0])]


class TestA00CrossMarginEfficiency:
    def test_long_call_against_half_a_short_perp(self) -> None:
        call, perp = im(G, MARKET, (CALL, 1)), im(G, MARKET, (PERP, -0.5))
        both = im(G, MARKET, (CALL, 1), (PERP, -0.5))
        assert call == pytest.approx(3_186.30, abs=CENT)
        assert perp == pytest.approx(4_000.00, rel=1e-12)
        assert call + perp == pytest.approx(7_186.30, abs=CENT)
        assert both == pytest.approx(855.36, abs=CENT)
        assert 1.0 - both / (call + perp) == pytest.approx(0.8810, abs=5e-5)

    def test_binding_cell_is_the_middle_with_vol_down(self) -> None:
        assert binding((CALL, 1), (PERP, -0.5)) == "0% price, vol down"

    def test_saving_of_the_statement(self) -> None:
        who = account((CALL, 1), (PERP, -0.5), balances={"USDC": 10_000})
        totals = make_statement(who, MARKET, G).totals
        assert totals.standalone_im == pytest.approx(7_186.30, abs=CENT)
        assert totals.im == pytest.approx(855.36, abs=CENT)
        assert totals.saving == pytest.approx(0.8810, abs=5e-5)

    def test_covered_call_is_a_short_put(self) -> None:
        covered = im(G, MARKET, (PERP, 1), (CALL, -1))
        put = im(G, MARKET, (PUT, -1))
        assert covered == pytest.approx(6_324.81, abs=CENT)
        assert covered == pytest.approx(put, rel=1e-12)
        assert im(G, MARKET, (CALL, -1)) == pytest.approx(7_001.81, abs=CENT)

    def test_never_more_than_the_sum_of_standalone_scans(self) -> None:
        rng = np.random.default_rng(20260225)
        names = [PERP, "BTC_USDC-27MAR26"]
        names += [f"BTC_USDC-27MAR26-{k}-{r}" for k in (40_000, 50_000, 60_000) for r in "CP"]
        unit = {n: (im(G, MARKET, (n, 1)), im(G, MARKET, (n, -1))) for n in names}
        table = frame(account(*[(n, 1) for n in names]), G, MARKET)
        rows = table.table.pnl[table.book.position_instrument]
        quantity = rng.normal(size=(1_000, len(names))) * rng.choice([0.01, 1.0, 100.0], (1_000, 1))
        scans = np.maximum(0.0, -(quantity @ rows).min(axis=1))
        long, short = (np.array([unit[n][side] for n in names]) for side in (0, 1))
        alone = np.where(quantity > 0, quantity * long, -quantity * short).sum(axis=1)
        assert np.all(scans <= alone * (1 + 1e-12))
        # The matrix product above is the engine's own answer.
        for q, scan in zip(quantity[:20], scans):
            assert im(G, MARKET, *zip(names, q.tolist())) == pytest.approx(scan, rel=1e-10)


FLAT = {"BTC": 50_000.0, "ETH": 3_000.0, "USDC": 1.0}


def spot_market(eth: float = 3_000.0, btc: float = 50_000.0) -> Snapshot:
    return market(FLAT | {"ETH": eth, "BTC": btc}, marks={PERP: btc, ETH_PERP: eth})


class TestA01IsolatedAgainstCross:
    """Long 1 BTC at 50,000, m = 5 %, wallet 20,000 of which 5,000 are fenced when isolated."""

    isolated = rules(flat_rate(0.10, 0.05), pools={"by": "position"})
    cross = rules(flat_rate(0.10, 0.05))

    def down(self, ruleset: Ruleset, snapshot: Snapshot, *positions: object) -> float | None:
        made = frame(account(*positions, balances={"USDC": 20_000}), ruleset, snapshot)
        (line,) = [x for x in liquidation_prices(made) if x.underlying == "BTC"]
        assert not line.breached
        return line.down.price_usd

    def fenced(self) -> dict[str, object]:
        return {
            "instrument": PERP,
            "quantity": 1,
            "entry_price": 50_000,
            "fenced_margin": 5_000,
        }

    def test_isolated(self) -> None:
        # (50,000 − 5,000) / 0.95
        assert self.down(self.isolated, spot_market(), self.fenced()) == pytest.approx(
            47_368.42, abs=CENT
        )

    def test_cross(self) -> None:
        # (50,000 − 20,000) / 0.95
        assert self.down(self.cross, spot_market(), (PERP, 1, 50_000)) == pytest.approx(
            31_578.95, abs=CENT
        )

    def test_cross_beside_a_short_in_eth(self) -> None:
        # (50,000 − 20,000 + 0.05·30,000) / 0.95
        positions = (PERP, 1, 50_000), (ETH_PERP, -10, 3_000)
        assert self.down(self.cross, spot_market(), *positions) == pytest.approx(
            33_157.89, abs=CENT
        )

    def test_eth_moves_and_btc_dies_earlier(self) -> None:
        # (50,000 − 20,000 + 0.05·35,000 + 5,000) / 0.95
        positions = (PERP, 1, 50_000), (ETH_PERP, -10, 3_000)
        assert self.down(self.cross, spot_market(eth=3_500), *positions) == pytest.approx(
            38_684.21, abs=CENT
        )

    def test_isolated_does_not_feel_eth(self) -> None:
        positions = self.fenced(), (ETH_PERP, -1, 3_000)
        assert self.down(self.isolated, spot_market(eth=3_500), *positions) == pytest.approx(
            47_368.42, abs=CENT
        )

    @pytest.mark.parametrize("by, at_stake", [("position", 5_000.0), ("account", 20_000.0)])
    def test_greatest_loss(self, by: str, at_stake: float) -> None:
        """The pot of the position dies whole; what stands in other pots is out of reach."""
        ruleset = self.isolated if by == "position" else self.cross
        made = frame(account(self.fenced(), balances={"USDC": 20_000}), ruleset, spot_market())
        pledged = fenced_margins(made, requirement(made))
        a = made.arrangement
        lost = []
        for price in (45_000.0, 30_000.0, 20_000.0):
            ratio = np.where(made.follow == made.book.registry.asset("BTC"), price / 50_000, 1.0)
            there = made.shocked(ratio)
            have = equity(there, requirement(there), pledged)
            home = int(a.position_pot[0])
            others = float(np.delete(have.mm, home).sum())
            lost.append(20_000.0 - others - max(0.0, float(have.mm[home])))
        assert lost[-1] == pytest.approx(at_stake, rel=1e-12)
        assert lost == sorted(lost)
        assert lost[0] == pytest.approx(5_000.0, rel=1e-12)


class TestA11InitialMargin:
    # BTC_USDC short call K = 55,000 marked at 1,000: the vol is solved so that it is.
    STRIKE = "BTC_USDC-27MAR26-55000-C"
    options = component(
        "option-formula",
        "options",
        factors={"default": {"otm_base": 0.15, "otm_floor": 0.10, "mm": 0.075}},
    )

    def vol_at_mark(self, mark: float) -> float:
        low, high = 0.01, 3.0
        for _ in range(200):
            vol = 0.5 * (low + high)
            price = float(black76(50_000.0, 55_000.0, 30 / 365, vol, True))
            low, high = (vol, high) if price < mark else (low, vol)
        return vol

    def test_short_call(self) -> None:
        snapshot = fixture_g(vol=self.vol_at_mark(1_000.0))
        # max(0.15 − 5,000/50,000, 0.10)·50,000 + 1,000
        assert im(rules(self.options), snapshot, (self.STRIKE, -1)) == pytest.approx(6_000.0)
        assert im(load_ruleset("isolated"), snapshot, (self.STRIKE, -1)) == pytest.approx(6_000.0)
        sm = load_ruleset("deribit-sm-cross")
        assert im(sm, snapshot, (self.STRIKE, -1)) == pytest.approx(6_000.0)

    TIERS = ({"floor": 0.0, "im": 0.01, "mm": 0.005}, {"floor": 1e6, "im": 0.02, "mm": 0.01})

    @pytest.mark.parametrize("scheme, wanted", [("marginal", 50_000.0), ("whole", 60_000.0)])
    def test_tiers_on_three_millions(self, scheme: str, wanted: float) -> None:
        tiered = rules(
            component("rate", "futures", scheme=scheme, tiers={"default": list(self.TIERS)})
        )
        assert im(tiered, MARKET, (PERP, 60)) == pytest.approx(wanted, rel=1e-12)
        assert im(tiered, MARKET, (PERP, -60)) == pytest.approx(wanted, rel=1e-12)

    @pytest.mark.parametrize(
        "cash, state",
        [("5000", "healthy"), ("4999.99", "reduce-only"), ("5000.01", "healthy")],
    )
    def test_order_passes_at_equality_and_not_a_cent_below(self, cash: str, state: str) -> None:
        cross = rules(flat_rate(0.10, 0.05))
        order = {"id": "o", "legs": [{"instrument": PERP, "quantity": 1, "price": 50_000}]}
        who = account(balances={"USDC": cash}, orders=[order])
        made = make_statement(who, MARKET, cross)
        assert made.totals.im == pytest.approx(5_000.0, rel=1e-12)
        assert made.totals.state == state
        assert made.totals.available == pytest.approx(float(cash) - 5_000.0, abs=1e-9)

    @pytest.mark.parametrize(
        "price, cash, state",
        [
            (50_000, "8000", "healthy"),
            (50_000, "7999.99", "reduce-only"),
            # Filled 100 above the mark the order loses 100 at once.
            (50_100, "8100", "healthy"),
            (50_100, "8099.99", "reduce-only"),
        ],
    )
    def test_the_same_under_a_scan(self, price: float, cash: str, state: str) -> None:
        order = {"id": "o", "legs": [{"instrument": PERP, "quantity": 1, "price": price}]}
        who = account(balances={"USDC": cash}, orders=[order])
        assert make_statement(who, MARKET, G).totals.state == state

    def test_rate_margin_counts_the_loss_of_the_fill(self) -> None:
        # Buying at 51,000 what is worth 50,000 loses 1,000 at once, beside an IM of 5,000.
        cross = rules(flat_rate(0.10, 0.05))
        order = {"id": "o", "legs": [{"instrument": PERP, "quantity": 1, "price": 51_000}]}
        for cash, state in (("6000", "healthy"), ("5999.99", "reduce-only")):
            who = account(balances={"USDC": cash}, orders=[order])
            assert make_statement(who, MARKET, cross).totals.state == state


class TestA12PositionMarginEfficiency:
    PROTECTION = "BTC_USDC-27MAR26-45000-P"

    def test_marginal_margin_of_a_protective_put(self) -> None:
        perp = im(G, MARKET, (PERP, 1))
        both = im(G, MARKET, (PERP, 1), (self.PROTECTION, 1))
        assert perp == pytest.approx(8_000.00, rel=1e-12)
        assert both == pytest.approx(5_296.55, abs=CENT)
        assert both - perp == pytest.approx(-2_703.45, abs=CENT)
        assert im(G, MARKET, (self.PROTECTION, 1)) == pytest.approx(1_284.80, abs=CENT)

    def test_shares_add_up(self) -> None:
        who = account((PERP, 1), (self.PROTECTION, 1), balances={"USDC": 10_000})
        made = make_statement(who, MARKET, G)
        parts = [p.share_im_usd for p in made.positions]
        assert sum(parts) == pytest.approx(made.totals.im, rel=1e-9)
        assert parts[0] == pytest.approx(8_000.0, rel=1e-9)
        assert parts[1] == pytest.approx(-2_703.45, abs=CENT)


class TestA24CrossMargining:
    """Long 50,000 of BTC and short 48,000 of ETH over a 15 % scan."""

    BOOK = ((PERP, 1), (ETH_PERP, -16))

    def rules(self, **offset: object) -> Ruleset:
        return scan_rules(
            scenarios={
                "blocks": [{"moves": [-0.15, 0.0, 0.15], "vols": ["same"]}],
                "underlyings": {"default": {"price_range": 0.15}},
            },
            offset=offset or {"method": "none"},
        )

    def credit(self, value: float, method: str = "pair-credit", **more: object) -> Ruleset:
        pairs = [{"groups": ["BTC", "ETH"], "value": value}]
        return self.rules(method=method, source="s", pairs=pairs, **more)

    def test_scans_and_gross(self) -> None:
        found = need(self.rules(), MARKET, *self.BOOK)
        assert sorted(found.group_im.tolist()) == pytest.approx([7_200.0, 7_500.0], rel=1e-12)
        assert found.im[0] == pytest.approx(14_700.0, rel=1e-12)

    def test_pair_credit(self) -> None:
        found = need(self.credit(0.60), MARKET, *self.BOOK)
        # Paired risk 2·7,200 = 14,400; 60 % of it is 8,640.
        assert found.credit_im[0] == pytest.approx(8_640.0, rel=1e-12)
        assert found.im[0] == pytest.approx(6_060.0, rel=1e-12)

    def test_correlation_formula(self) -> None:
        assert im(self.credit(0.8, "correlation"), MARKET, *self.BOOK) == pytest.approx(
            4_657.25, abs=CENT
        )

    @pytest.mark.parametrize("method", ["pair-credit", "correlation"])
    def test_same_side_gets_nothing(self, method: str) -> None:
        book = (PERP, 1), (ETH_PERP, 16)
        assert im(self.credit(0.8, method), MARKET, *book) == pytest.approx(14_700.0, rel=1e-12)

    def test_no_credit_restores_the_sum(self) -> None:
        gross = im(self.rules(), MARKET, *self.BOOK)
        assert im(self.credit(0.0), MARKET, *self.BOOK) == gross

    @pytest.mark.parametrize("method", ["pair-credit", "correlation"])
    def test_stress_switch_shuts_credit_off(self, method: str) -> None:
        off = self.credit(0.6, method, active=False)
        found = need(off, MARKET, *self.BOOK)
        assert found.im[0] == pytest.approx(14_700.0, rel=1e-12)
        assert found.credit_im[0] == 0.0

    def test_a_limit_caps_the_credit(self) -> None:
        pairs = [{"groups": ["BTC", "ETH"], "value": 0.6, "max_credit_usd": 5_000.0}]
        capped = self.rules(method="pair-credit", source="s", pairs=pairs)
        assert im(capped, MARKET, *self.BOOK) == pytest.approx(9_700.0, rel=1e-12)

    def test_what_is_paired_once_is_not_paired_again(self) -> None:
        # The 7,200 of ETH is used up on BTC; SOL's 1,500 finds 300 of BTC left, all of it long.
        snapshot = market(
            {"BTC": 50_000, "ETH": 3_000, "SOL": 100, "USDC": 1},
            marks={PERP: 50_000, ETH_PERP: 3_000, "SOL_USDC-PERPETUAL": 100},
        )
        pairs = [
            {"groups": ["BTC", "ETH"], "value": 0.5},
            {"groups": ["BTC", "SOL"], "value": 0.5},
        ]
        ruleset = self.rules(method="pair-credit", source="s", pairs=pairs)
        book = (*self.BOOK, ("SOL_USDC-PERPETUAL", -100))
        # 7,500 + 7,200 + 1,500 − 0.5·2·7,200 − 0.5·2·300
        assert im(ruleset, snapshot, *book) == pytest.approx(8_700.0, rel=1e-12)

    def test_shares_of_a_chain_of_credits_add_up(self) -> None:
        # IM = BTC + ETH + SOL − ETH − (BTC − ETH) = ETH + SOL: shares 0, 7,200 and 1,500.
        snapshot = market(
            {"BTC": 50_000, "ETH": 3_000, "SOL": 100, "USDC": 1},
            marks={PERP: 50_000, ETH_PERP: 3_000, "SOL_USDC-PERPETUAL": 100},
        )
        pairs = [
            {"groups": ["BTC", "ETH"], "value": 0.5},
            {"groups": ["BTC", "SOL"], "value": 0.5},
        ]
        ruleset = self.rules(method="pair-credit", source="s", pairs=pairs)
        found = need(ruleset, snapshot, *self.BOOK, ("SOL_USDC-PERPETUAL", -100))
        np.testing.assert_allclose(found.share_im, [0.0, 7_200.0, 1_500.0], atol=1e-6)

    @pytest.mark.parametrize("method, value", [("pair-credit", 0.6), ("correlation", 0.8)])
    def test_shares_of_one_credit_add_up(self, method: str, value: float) -> None:
        found = need(self.credit(value, method), MARKET, *self.BOOK)
        assert float(found.share_im.sum()) == pytest.approx(float(found.im[0]), rel=1e-12)

    @pytest.mark.parametrize("method", ["pair-credit", "correlation"])
    def test_splitting_and_reordering_change_nothing(self, method: str) -> None:
        ruleset = self.credit(0.6, method)
        whole = im(ruleset, MARKET, *self.BOOK)

        def part(name: str, quantity: float, leg: str) -> dict[str, object]:
            return {"instrument": name, "quantity": quantity, "entry_price": "mark", "leg": leg}

        split = [
            part(PERP, 0.25, "net"),
            part(ETH_PERP, -6, "short"),
            part(PERP, 0.75, "long"),
            part(ETH_PERP, -10, "net"),
        ]
        assert im(ruleset, MARKET, *split) == pytest.approx(whole, rel=1e-12)
        assert im(ruleset, MARKET, *split[::-1]) == pytest.approx(whole, rel=1e-12)
        assert im(ruleset, MARKET, *self.BOOK[::-1]) == pytest.approx(whole, rel=1e-15)

    @pytest.mark.parametrize("name", [PERP, CALL, PUT, "BTC-PERPETUAL", "BTC_USDC-27MAR26"])
    def test_plus_one_and_minus_one_are_nothing(self, name: str) -> None:
        legs = [
            {"instrument": name, "quantity": q, "entry_price": "mark", "leg": leg}
            for q, leg in ((1, "long"), (-1, "short"))
        ]
        assert im(G, MARKET, *legs) == 0.0
        assert im(self.credit(0.6), MARKET, *legs) == 0.0

    def test_long_and_short_perps_of_two_quotes_are_nothing(self) -> None:
        snapshot = market(
            {"BTC": 50_000, "USDC": 1, "USDT": 1},
            marks={PERP: 50_000, "BTC_USDT-PERPETUAL": 50_000},
        )
        assert im(G, snapshot, (PERP, 1), ("BTC_USDT-PERPETUAL", -1)) == 0.0


class TestB01OnePool:
    BOOK = (
        ("BTC_USDC", 0.3),
        (PERP, -1.2),
        ("BTC_USDC-27MAR26", 0.7),
        (CALL, 2.0),
        (PUT, -1.5),
    )

    def test_mixed_book_costs_less_than_its_parts(self) -> None:
        alone = sum(im(G, MARKET, leg) for leg in self.BOOK)
        assert 0 < im(G, MARKET, *self.BOOK) < alone

    @pytest.mark.parametrize("gone", range(5))
    def test_removing_a_leg_and_adding_it_back_restores_everything(self, gone: int) -> None:
        before = make_statement(account(*self.BOOK, balances={"USDC": 50_000}), MARKET, G)
        rest = [leg for row, leg in enumerate(self.BOOK) if row != gone]
        between = make_statement(account(*rest, balances={"USDC": 50_000}), MARKET, G)
        assert between.totals.im != before.totals.im
        rest.insert(gone, self.BOOK[gone])
        after = make_statement(account(*rest, balances={"USDC": 50_000}), MARKET, G)
        assert after == before


class TestB03PortfolioMargin:
    def test_seven_day_factor(self) -> None:
        shock = UnderlyingShocks(price_range=0.16, vol_up=0.50, vol_down=0.25)
        up = vol_multiplier(shock, np.array([7 / 365]), 30.0)[0, 1]
        assert up - 1.0 == pytest.approx(0.7737, abs=5e-5)
        assert up - 1.0 == pytest.approx(0.50 * (30 / 7) ** 0.30, rel=1e-12)

    def test_far_call_on_the_paradex_table(self) -> None:
        made = frame(account(("BTC_USDC-27MAR26-100000-C", -1)), load_ruleset("paradex-pm"), MARKET)
        found = requirement(made).scan
        assert found is not None
        scenarios = made.table.scenarios
        assert scenarios.size == 24
        vector = found.vector[0]
        standard = vector[~scenarios.extended]
        assert standard.size == 16
        assert -standard.min() == pytest.approx(74.51, abs=CENT)
        assert -vector[-1] == pytest.approx(6_400.00, abs=CENT)
        assert scenarios.weight[0, -1] == 0.032
        assert found.binding[0] == 23
        assert scenarios.labels[0][23] == "+500% price, vol up (tail)"

    def test_minimum_delta(self) -> None:
        # Net 0.5, hedged 1.0 at 70,000: long 1.5, short 1.0 in two instruments.
        snapshot = market(
            {"BTC": 70_000, "USDC": 1},
            marks={PERP: 70_000, "BTC_USDC-27MAR26": 70_000},
            forwards={("BTC", "2026-03-27T08:00:00Z"): 70_000},
            funding={PERP: 0.0},
        )
        book = (PERP, 1.5), ("BTC_USDC-27MAR26", -1.0)
        found = need(load_ruleset("paradex-pm"), snapshot, *book)
        assert found.parts["min_delta"].im[0] == pytest.approx(1_400.0, rel=1e-12)


class TestB04GreeksAgainstFullRevaluation:
    BOOK = ((CALL, -1), (PUT, -1))

    def test_short_straddle(self) -> None:
        assert im(G, MARKET, *self.BOOK) == pytest.approx(6_003.61, abs=CENT)
        assert binding(*self.BOOK) == "+16% price, vol up"

    def test_its_delta_says_little(self) -> None:
        made = make_statement(account(*self.BOOK, balances={"USDC": 50_000}), MARKET, G)
        delta = abs(made.groups[0].delta)
        assert delta == pytest.approx(0.0685, abs=5e-5)
        assert delta * 0.16 * 50_000 == pytest.approx(548.32, abs=CENT)

    @pytest.mark.parametrize("move, wanted, digit", [(0.01, 0.0013, 5e-5), (0.16, 0.119, 5e-4)])
    def test_taylor_error_with_vol_fixed(self, move: float, wanted: float, digit: float) -> None:
        forward, strike, years, vol = 50_000.0, 50_000.0, 30 / 365, 0.6
        there = forward * (1 + move)
        full = taylor = 0.0
        for call in (True, False):
            g = black76_greeks(forward, strike, years, vol, call)
            step = there - forward
            taylor -= float(g.delta) * step + 0.5 * float(g.gamma) * step**2
            full -= float(black76(there, strike, years, vol, call)) - float(g.price)
        assert abs(taylor / full - 1.0) == pytest.approx(wanted, abs=digit)


class TestB12MarginTiers:
    TIERS = (
        Tier(floor=0.0, im=0.01, mm=0.005),
        Tier(floor=1e6, im=0.02, mm=0.01),
        Tier(floor=5e6, im=0.05, mm=0.025),
    )

    @pytest.mark.parametrize("edge", [1e6, 5e6])
    def test_marginal_is_continuous_at_the_edges(self, edge: float) -> None:
        n = np.array([np.nextafter(edge, 0), edge, np.nextafter(edge, 1e9)])
        for margin in tier_margin(n, list(self.TIERS), marginal=True):
            np.testing.assert_allclose(margin, margin[1], rtol=1e-14)

    def test_marginal_is_convex_and_rising(self) -> None:
        n = np.linspace(0.0, 8e6, 8_001)
        for margin in tier_margin(n, list(self.TIERS), marginal=True):
            slope = np.diff(margin)
            assert np.all(slope > 0)
            assert np.all(np.diff(slope) > -1e-9)

    def test_marginal_adds_the_slices_up(self) -> None:
        got, keep = tier_margin(np.array([6e6]), list(self.TIERS), marginal=True)
        assert got[0] == pytest.approx(1e6 * 0.01 + 4e6 * 0.02 + 1e6 * 0.05, rel=1e-12)
        assert keep[0] == pytest.approx(0.5 * got[0], rel=1e-12)

    @pytest.mark.parametrize("edge, jump", [(1e6, 10_000.0), (5e6, 150_000.0)])
    def test_whole_notional_jumps(self, edge: float, jump: float) -> None:
        n = np.array([edge, np.nextafter(edge, 1e9)])
        low, high = tier_margin(n, list(self.TIERS), marginal=False)[0]
        assert high - low == pytest.approx(jump, rel=1e-9)

    @pytest.mark.parametrize("scheme, jumps", [("marginal", 0.0), ("whole", 10_000.0)])
    def test_the_jump_is_a_line_of_its_own(self, scheme: str, jumps: float) -> None:
        tiers = [{"floor": t.floor, "im": t.im, "mm": t.mm} for t in self.TIERS]
        ruleset = rules(component("rate", "futures", scheme=scheme, tiers={"default": tiers}))
        who = account((PERP, 60), balances={"USDC": 200_000})
        made = make_statement(who, MARKET, ruleset)
        assert made.share_jumps_usd == pytest.approx(jumps, rel=1e-6, abs=1e-9)
        assert made.positions[0].share_im_usd + made.share_jumps_usd == pytest.approx(
            made.totals.im, rel=1e-9
        )


class TestInvariants:
    COINS = scan_rules(
        collateral={
            "source": "s",
            "confidence": "house",
            "assets": {"BTC": {"haircut": 0.10, "stress": "both"}, "USDC": {}},
        }
    )

    def ratio(self, **balances: float) -> tuple[float, float, float]:
        made = done(self.COINS, MARKET, (PERP, 1), balances=balances)
        e, need_im = float(made.have.im.sum()), made.im_usd
        return e, need_im, e / need_im

    def test_coin_in_the_scanned_book_lowers_the_ratio(self) -> None:
        assert self.ratio(USDC=60_000) == pytest.approx((60_000.0, 8_000.0, 7.50))
        e, margin, ratio = self.ratio(USDC=60_000, BTC=1)
        assert (e, margin) == pytest.approx((105_000.0, 16_000.0))
        assert ratio == pytest.approx(6.56, abs=5e-3)

    def test_more_cash_never_lowers_health(self) -> None:
        seen = [self.ratio(USDC=cash)[2] for cash in (10_000, 20_000, 60_000, 1e6)]
        assert seen == sorted(seen)

    def test_homogeneous(self) -> None:
        book = (PERP, 1.0), (CALL, -2.0), (PUT, 0.5)
        one = im(G, MARKET, *book)
        for t in (1e-3, 7.0, 1e4):
            assert im(G, MARKET, *[(n, q * t) for n, q in book]) == pytest.approx(
                t * one, rel=1e-10
            )

    def test_a_wider_set_never_lowers_margin(self) -> None:
        book = (PERP, 1.0), (CALL, -3.0), (PUT, 0.5)
        seen = []
        for count in range(1, 10):
            moves = sorted(GRID, key=abs)[:count]
            narrow = scan_rules(
                scenarios={
                    "blocks": [{"moves": moves, "vols": ["up", "same", "down"]}],
                    "underlyings": {
                        "default": {"price_range": 0.16, "vol_up": 0.5, "vol_down": 0.25}
                    },
                }
            )
            seen.append(im(narrow, MARKET, *book))
        assert seen == sorted(seen)
        assert seen[-1] == pytest.approx(im(G, MARKET, *book), rel=1e-12)

    def test_empty_scenario_gives_nothing(self) -> None:
        still = scan_rules(
            scenarios={
                "blocks": [{"moves": [0.0], "vols": ["same"]}],
                "underlyings": {"default": {"price_range": 0.16}},
            }
        )
        assert im(still, MARKET, (PERP, 1), (CALL, -2)) == 0.0

    def test_haircuts_never_help_a_debtor(self) -> None:
        debt = {"USDC": 60_000.0, "BTC": -0.5}
        made = done(self.COINS, MARKET, (PERP, 1), balances=debt)
        assert made.have.haircut_im[0] == 0.0
        assert float(made.have.im.sum()) == pytest.approx(60_000 - 25_000)

    def test_same_inputs_same_bytes(self) -> None:
        who = account((PERP, 1), (CALL, -2), balances={"USDC": 60_000, "BTC": 1})
        assert make_statement(who, MARKET, self.COINS) == make_statement(who, MARKET, self.COINS)

    def test_parity_in_value_as_well(self) -> None:
        made = frame(account((CALL, 1), (PUT, -1)), G, MARKET)
        _, value = made.position_values()
        assert math.fsum(value) == pytest.approx(0.0, abs=1e-9)


class TestA08MarginAggregation:
    """Long 1 BTC at venue A and short 1 at venue B, 5,000 on each, entry 50,000, m = 5 %."""

    venue = rules(flat_rate(0.10, 0.05))
    other = "BTC_USDT-PERPETUAL"

    def world(self, btc: float = 50_000.0) -> Snapshot:
        prices = FLAT | {"BTC": btc, "USDT": 1.0}
        return market(prices, marks={PERP: btc, self.other: btc})

    def at(self, quantity: float) -> AccountFile:
        return account((PERP, quantity, 50_000), balances={"USDC": 5_000})

    def line(self, who: AccountFile) -> LiquidationPrice:
        (found,) = [
            x
            for x in liquidation_prices(frame(who, self.venue, self.world()))
            if x.underlying == "BTC"
        ]
        return found

    def test_each_venue_dies_on_its_own_side(self) -> None:
        a, b = self.line(self.at(1)), self.line(self.at(-1))
        assert a.down.price_usd == pytest.approx(47_368.42, abs=CENT)
        assert b.up.price_usd == pytest.approx(52_380.95, abs=CENT)

    def test_what_each_needs_in_a_common_move(self) -> None:
        fall = top_up(self.at(1), self.world(42_500), self.venue, "USDC", target="mm")
        rise = top_up(self.at(-1), self.world(57_500), self.venue, "USDC", target="mm")
        assert fall.amount == pytest.approx(4_625, abs=CENT)
        assert rise.amount == pytest.approx(5_375, abs=CENT)

    def test_what_is_left_is_naked(self) -> None:
        both = [frame(self.at(q), self.venue, self.world()) for q in (1, -1)]
        deltas = [float(f.book.position_quantity @ f.unit_delta[:1]) for f in both]
        assert sum(deltas) == 0.0
        assert sum(deltas) - deltas[0] == -1.0

    def test_one_account_outlives_both(self) -> None:
        """The same two positions, margined gross, before 10,000 in one account."""
        pooled = account((PERP, 1, 50_000), (self.other, -1, 50_000), balances={"USDC": 10_000})
        found = self.line(pooled)
        for side in (found.down, found.up):
            assert side.price_usd is None or not 47_368.42 <= side.price_usd <= 52_380.95
        assert not found.breached


class TestB12EffectiveRate:
    """Marginal brackets are continuous and convex; the whole-notional scheme jumps."""

    tiers: ClassVar = [Tier(floor=0, im=0.01, mm=0.005), Tier(floor=1e6, im=0.02, mm=0.01)]

    def test_continuous_and_convex(self) -> None:
        n = np.linspace(0, 3e6, 3_001)
        im, _ = tier_margin(n, self.tiers, marginal=True)
        slope = np.diff(im) / np.diff(n)
        assert np.all(np.diff(slope) >= -1e-12)
        just = tier_margin(np.array([1e6, 1e6 + 1e-6]), self.tiers, marginal=True)[0]
        assert just[1] - just[0] < 1e-6

    def test_the_whole_notional_jumps(self) -> None:
        just = tier_margin(np.array([1e6, 1e6 + 1e-6]), self.tiers, marginal=False)[0]
        assert just[1] - just[0] == pytest.approx(10_000.0, rel=1e-6)


class TestA26MarginAccount:
    """The loan of the row: 20,000 at 10 % a year."""

    def test_interest_of_a_day(self) -> None:
        simple = accrued_interest(20_000, 0.10, 1 / 365)
        hourly = accrued_interest(20_000, 0.10, 1 / 365, periods_per_year=8_760)
        assert simple == pytest.approx(5.479452, abs=5e-7)
        assert hourly == pytest.approx(5.480171, abs=5e-7)

    def test_what_has_no_meaning_is_refused(self) -> None:
        for debt, years, periods in ((-1.0, 1.0, None), (1.0, -1.0, None), (1.0, 1.0, 0.0)):
            with pytest.raises(PricingError):
                accrued_interest(debt, 0.1, years, periods_per_year=periods)


class TestVenueWorkedExamples:
    """Figures of venues.md that belong to no row."""

    def test_bankruptcy_price_of_an_inverse_long(self) -> None:
        """Bybit's ADL page: isolated, entry 7,890.08, leverage 50, bankrupt at 7,735.37."""
        entry, leverage = 7_890.08, 50.0
        coins = 10_000.0 / entry
        who = account(
            {
                "instrument": "BTC-PERPETUAL",
                "quantity": 10_000,
                "entry_price": entry,
                "fenced_margin": coins / leverage,
            },
            balances={"BTC": 1.0},
        )
        fenced = rules(flat_rate(0.02, 0.005), pools={"by": "position"})
        snapshot = market({"BTC": entry}, marks={"BTC-PERPETUAL": entry})
        found = frame(who, fenced, snapshot)
        pot = int(np.flatnonzero(found.arrangement.pot_position >= 0)[0])

        def left(price: float) -> float:
            moved = market({"BTC": price}, marks={"BTC-PERPETUAL": price})
            there = frame(who, fenced, moved)
            return float(equity(there, requirement(there)).mm[pot])

        assert left(7_735.38) > 0 > left(7_735.36)
        assert left(entry * leverage / (leverage + 1)) == pytest.approx(0.0, abs=1e-9)
