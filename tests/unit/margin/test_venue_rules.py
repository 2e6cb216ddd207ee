"""OKX, Bybit and TIMS on cases small enough to work out by hand, and what each refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.helpers import account, component, done, frame, im, market, need, rules

from crossmargin.errors import RulesetError
from crossmargin.margin import Ruleset, load_ruleset, make_statement, requirement, shares
from crossmargin.margin._notes import gaps_here
from crossmargin.margin._portfolio import progressive

PERP, USDT_PERP, INVERSE = "BTC_USDC-PERPETUAL", "BTC_USDT-PERPETUAL", "BTC-PERPETUAL"
ETH_PERP, LTC_PERP = "ETH_USDC-PERPETUAL", "LTC_USDC-PERPETUAL"
NEAR, FAR = "BTC_USDC-27MAR26", "BTC_USDC-25SEP26"
CALL, FAR_CALL = "BTC_USDC-27MAR26-50000-C", "BTC_USDC-25SEP26-50000-C"
S = 50_000.0


def snapshot(usdc: float = 1.0, usdt: float = 1.0, vols: dict[str, float] | None = None):
    return market(
        {"BTC": S, "ETH": 2_500.0, "LTC": 100.0, "SOL": 150.0, "USDC": usdc, "USDT": usdt},
        marks={
            PERP: S / usdc, USDT_PERP: S / usdt, INVERSE: S, ETH_PERP: 2_500.0 / usdc,
            LTC_PERP: 100.0 / usdc, "SOL_USDC-PERPETUAL": 150.0 / usdc, "BTC_USDC": S / usdc,
            NEAR: S / usdc, FAR: S / usdc,
        },
        vols=vols,
        forwards={("BTC", "2026-03-27T08:00:00Z"): S, ("BTC", "2026-09-25T08:00:00Z"): S},
    )  # fmt: skip


def part(ruleset: Ruleset, name: str, *positions: Any, snap: Any = None) -> float:
    found = need(ruleset, snap or snapshot(), *positions).parts[name]
    return float(found.im.sum())


OKX = load_ruleset("okx-pm")


class TestOkx:
    def test_grids_by_group_of_coins(self) -> None:
        """The table of 2025-01-06, and the extreme moves at half weight."""
        expected = {
            "BTC": (0.12, 0.24), "ETH": (0.12, 0.24), "LTC": (0.18, 0.36), "XRP": (0.18, 0.36),
            "DOT": (0.18, 0.50), "UNI": (0.18, 0.50), "SOL": (0.25, 0.36), "WLD": (0.25, 0.36),
            "default": (0.25, 0.50),
        }  # fmt: skip
        spec = OKX.data.scenarios
        assert spec is not None
        grid, extreme = spec.blocks
        assert len(grid.moves) == 7 and len(grid.vols) == 3 and extreme.weight == 0.5
        for coin, (wide, far) in expected.items():
            moves = spec.underlyings[coin].moves
            mine = moves.get("grid", grid.moves)
            assert max(mine) == wide and min(mine) == -wide and len(mine) == 7
            assert moves.get("extreme", extreme.moves) == [-far, far]
        assert spec.underlyings["LTC"].moves["grid"] == [-0.18, -0.12, -0.06, 0, 0.06, 0.12, 0.18]
        assert spec.underlyings["BTC"].moves["grid"] == [-0.12, -0.08, -0.04, 0, 0.04, 0.08, 0.12]

    @pytest.mark.parametrize("side", [1, -1])
    def test_one_unhedged_perpetual(self, side: int) -> None:
        """MR4 is 0.2 % of delta; MR1 12 %; MR6 half of 24 %; unit 12.2 %, IMR 1.3 times that."""
        found = need(OKX, snapshot(), (PERP, side))
        parts = {name: float(p.im.sum()) for name, p in found.parts.items()}
        assert parts["mr4"] == pytest.approx(0.002 * S)
        assert parts["mr1"] == pytest.approx(0.12 * S)
        assert parts["mr6"] == pytest.approx(0.5 * 0.24 * S)
        assert parts["mr7"] == pytest.approx(0.0045 * S)
        assert float(found.mm.sum()) == pytest.approx(0.122 * S)
        assert float(found.im.sum()) == pytest.approx(1.3 * 0.122 * S)

    def test_second_group_of_coins(self) -> None:
        """LTC: 0.8 % of delta for one perpetual; its MR7 bands are not published."""
        with pytest.raises(RulesetError) as error:
            need(OKX, snapshot(), (LTC_PERP, 10))
        assert error.value.code == "RUL-030" and "mr7" in str(error.value)
        supplied = load_ruleset(
            "okx-pm",
            overrides={"components.mr7.underlyings.LTC.bands": [{"floor": 0.0, "multiplier": 1.0}]},
        )
        assert part(supplied, "mr4", (LTC_PERP, 10)) == pytest.approx(0.008 * 1_000)
        assert part(supplied, "mr7", (LTC_PERP, 10)) == pytest.approx(0.007 * 1_000)
        assert part(supplied, "mr1", (LTC_PERP, 10)) == pytest.approx(0.18 * 1_000)

    def test_third_group_needs_figures(self) -> None:
        with pytest.raises(RulesetError) as error:
            need(OKX, snapshot(), ("SOL_USDC-PERPETUAL", 1))
        assert error.value.code == "RUL-011" and "mr4" in str(error.value)

    def test_basis_of_dated_futures_grows_with_time(self) -> None:
        # 212 days at 5 % a year against the floor of 0.2 % up to 14.6 days.
        got = part(OKX, "mr4", (FAR, 2), (PERP, -2))
        assert got == pytest.approx(2 * S * (0.05 * 212 / 365 + 0.002))

    def test_basis_nets_across_quotes(self) -> None:
        assert part(OKX, "mr4", (PERP, 1), (USDT_PERP, -1)) == pytest.approx(0.0, abs=1e-9)
        assert part(OKX, "mr4", (PERP, 1), (INVERSE, -S)) == pytest.approx(0.0, abs=1e-9)

    @pytest.mark.parametrize(
        "raw, charged",
        [
            (10_000, 10_000),
            (70_000, 10_000 + 2 * 60_000),
            (170_000, 130_000 + 4 * 100_000),
            (300_000, 530_000 + 6 * 130_000),
            (470_000, 1_310_000 + 8 * 170_000),
            (700_000, 2_670_000 + 10 * 230_000),
            (1_000_000, 4_970_000 + 12 * 300_000),
        ],
    )
    def test_bands_of_the_minimum_charge(self, raw: float, charged: float) -> None:
        coins = raw / 0.0045 / S
        assert part(OKX, "mr7", (PERP, coins)) == pytest.approx(charged, rel=1e-12)

    def test_minimum_charge_binds_for_a_large_hedged_book(self) -> None:
        # 2,000 BTC long and short: raw 2·2,000·50,000·0.45 % = 900,000 → 4,970,000 + 2,400,000.
        found = need(OKX, snapshot(), (USDT_PERP, 2_000), (PERP, -2_000))
        assert float(found.parts["mr7"].im.sum()) == pytest.approx(7_370_000)
        assert float(found.mm.sum()) == pytest.approx(7_370_000)

    def test_hedges_across_quotes(self) -> None:
        """0.5 % of what is hedged, in the order USDT-USD, USDT-USDC, USDC-USD."""
        assert part(OKX, "mr9", (USDT_PERP, 3), (PERP, -2)) == pytest.approx(0.005 * 2 * S)
        # 3 USDT against 2 USD and 4 USDC: 2 at USDT-USD, 1 at USDT-USDC, and nothing is left.
        got = part(OKX, "mr9", (USDT_PERP, 3), (INVERSE, -2 * S), (PERP, -4))
        assert got == pytest.approx(0.005 * 3 * S)
        assert part(OKX, "mr9", (USDT_PERP, 3), (PERP, 2)) == 0.0

    def test_broken_peg_costs_forty_percent(self) -> None:
        low = snapshot(usdt=0.8)
        got = part(OKX, "mr9", (USDT_PERP, 2), (PERP, -2), snap=low)
        assert got == pytest.approx(0.40 * 2 * S)

    def test_prices_between_the_known_levels_are_refused(self) -> None:
        between = snapshot(usdt=0.97)
        with pytest.raises(RulesetError) as error:
            need(OKX, between, (USDT_PERP, 2), (PERP, -2))
        assert error.value.code == "RUL-030" and "mr9" in str(error.value)
        assert part(OKX, "mr9", (USDT_PERP, 2), snap=between) == 0.0  # no hedge, no need

    def test_options_are_refused_and_others_are_complete(self) -> None:
        with pytest.raises(RulesetError) as error:
            need(OKX, snapshot(vols={CALL: 0.6}), (CALL, -1))
        assert error.value.code == "RUL-030"
        plain = done(OKX, snapshot(), (PERP, 1), balances={"USDC": 1e5})
        assert gaps_here(plain.frame, plain.need) == []
        hedged = done(OKX, snapshot(), (PERP, 1), (USDT_PERP, -1))
        (gap,) = gaps_here(hedged.frame, hedged.need)
        assert gap.startswith("mr9: ")

    def test_options_with_everything_supplied(self) -> None:
        more: dict[str, Any] = {
            f"components.{name}.left_out": True for name in ("mr2", "mr3", "mr5")
        }
        more |= {
            "scenarios.underlyings.BTC.vol_up": 0.5,
            "scenarios.underlyings.BTC.vol_down": 0.3,
        }
        rules_ = load_ruleset("okx-pm", overrides=more)
        made = done(rules_, snapshot(vols={CALL: 0.6}), (CALL, -1))
        assert made.im_usd > 0
        names = {gap.partition(":")[0] for gap in gaps_here(made.frame, made.need)}
        assert names == {"mr2", "mr3", "mr5"}

    def test_debt(self) -> None:
        # MR8: 10 % and 2 % of the borrowed value.
        found = need(OKX, snapshot(), (PERP, 1), balances={"USDC": -10_000})
        assert float(found.im.sum()) == pytest.approx(1.3 * 0.122 * S + 1_000)
        assert float(found.mm.sum()) == pytest.approx(0.122 * S + 200)

    def test_statement_says_what_it_rests_on(self) -> None:
        who = account((PERP, 1), balances={"USDC": 1e5})
        made = make_statement(who, snapshot(), OKX, solve=False)
        assert not made.ruleset.complete
        assert made.ruleset.complete_here and made.ruleset.gaps_here == []


class TestBybit:
    def test_two_versions_chosen_by_date(self) -> None:
        for on, reach in (("2024-10-01", 0.15), ("2025-01-09", 0.15), ("2025-01-10", 0.10)):
            spec = load_ruleset("bybit-pm", on=on).data.scenarios
            assert spec is not None
            assert {spec.underlyings[c].price_range for c in ("BTC", "ETH")} == {reach}
        assert load_ruleset("bybit-pm").data.effective_from == "2025-01-10"

    def test_says_what_it_needs(self) -> None:
        wanted = [
            (
                "futures_contingency",
                "components.futures_contingency.underlyings.default.index",
                0.0,
            ),
            ("im_factor", "components.im_factor.value", 1.2),
        ]
        supplied: dict[str, Any] = {}
        for name, path, value in wanted:
            with pytest.raises(RulesetError) as error:
                need(load_ruleset("bybit-pm", overrides=supplied), snapshot(), (PERP, 1))
            assert error.value.code == "RUL-030" and name in str(error.value)
            supplied[path] = value
        found = need(load_ruleset("bybit-pm", overrides=supplied), snapshot(), (PERP, 1))
        assert float(found.mm.sum()) == pytest.approx(0.10 * S)
        assert float(found.im.sum()) == pytest.approx(1.2 * 0.10 * S)

    def supplied(self, **more: Any) -> Ruleset:
        overrides = {
            "components.futures_contingency.underlyings.default.index": 0.001,
            "components.net_short_options.underlyings.default.index": 0.02,
            "components.im_factor.value": 1.2,
            "scenarios.underlyings.BTC.vol_up": 0.4,
            "scenarios.underlyings.BTC.vol_down": 0.3,
        }
        return load_ruleset("bybit-pm", overrides={**overrides, **more})

    def test_delta_spread(self) -> None:
        # 2 BTC hedged over 212 days at 60 % a year.
        got = part(self.supplied(), "delta_spread", (FAR, 3), (PERP, -2))
        assert got == pytest.approx(2 * S * 0.60 * 212 / 365)

    def test_nearest_expiries_are_paired_first(self) -> None:
        # Short 2 at 30 days: 1 against the perpetual (30 days), 1 against 212 days.
        got = part(self.supplied(), "delta_spread", (PERP, 1), (NEAR, -2), (FAR, 3))
        assert got == pytest.approx(S * 0.60 * (30 + 182) / 365)

    def test_vega_spread(self) -> None:
        snap = snapshot(vols={CALL: 0.6, FAR_CALL: 0.6})
        made = frame(account((CALL, -10), (FAR_CALL, 2)), self.supplied(), snap)
        from crossmargin.margin._hedges import unit_vega

        index = made.book.position_instrument
        vega = np.array([-10, 2]) * unit_vega(made, index, made.arrangement.position_group)
        hedged = min(abs(vega))
        got = float(requirement(made).parts["vega_spread"].im.sum())
        assert got == pytest.approx(hedged * 182 * 0.0003)
        # Vega of 10 calls: S·√T·φ(d1) each, d1 = ½·0.6·√(30/365).
        root = (30 / 365) ** 0.5
        density = np.exp(-0.5 * (0.3 * root) ** 2) / np.sqrt(2 * np.pi)
        assert abs(vega[0]) == pytest.approx(10 * S * root * density)

    def test_net_short_options(self) -> None:
        snap = snapshot(vols={CALL: 0.6, FAR_CALL: 0.6})
        for positions, net in (
            (((CALL, -5), (FAR_CALL, 2)), 3),
            (((CALL, -5), (FAR_CALL, 7)), 0),
            (((CALL, -5), (PERP, 5)), 5),
        ):
            got = part(self.supplied(), "net_short_options", *positions, snap=snap)
            assert got == pytest.approx(net * 0.02 * S)

    def test_stablecoin_spread_is_refused_only_when_needed(self) -> None:
        assert part(self.supplied(), "stablecoin_spread", (PERP, 1), (USDT_PERP, 1)) == 0.0
        with pytest.raises(RulesetError) as error:
            need(self.supplied(), snapshot(), (PERP, 1), (USDT_PERP, -1))
        assert "stablecoin_spread" in str(error.value)

    def test_futures_contingency_is_gross(self) -> None:
        # Contracts of each kind by themselves; hedge legs of one contract net.
        got = part(self.supplied(), "futures_contingency", (PERP, 2), (NEAR, -3))
        assert got == pytest.approx(5 * 0.001 * S)


TIMS = load_ruleset("occ-tims")


class TestTims:
    def test_ten_equal_steps(self) -> None:
        spec = TIMS.data.scenarios
        assert spec is not None
        (block,) = spec.blocks
        for name, down, up in (
            ("SPX", 0.08, 0.06), ("RUT", 0.10, 0.10), ("VIX", 0.40, 0.40), (None, 0.15, 0.15),
        ):  # fmt: skip
            moves = block.moves if name is None else spec.underlyings[name].moves["points"]
            assert len(moves) == 10 and block.vols == ["same"]
            np.testing.assert_allclose(moves[:5], [-down * k / 5 for k in (5, 4, 3, 2, 1)])
            np.testing.assert_allclose(moves[5:], [up * k / 5 for k in (1, 2, 3, 4, 5)])

    def test_one_perpetual(self) -> None:
        assert im(TIMS, snapshot(), (PERP, -2)) == pytest.approx(0.15 * 2 * S)

    def test_least_charge_is_37_50_for_a_hundred(self) -> None:
        # 0.375 dollars times the multiplier: a contract on 100 units needs 37.50.
        name = "BTC_USDC-27MAR26-200000-C"
        snap = snapshot(vols={name: 0.4})
        assert im(TIMS, snap, (name, -100)) == pytest.approx(37.5)
        assert im(TIMS, snap, (name, 100)) == pytest.approx(37.5)

    def test_offset_inside_a_product_point_by_point(self) -> None:
        """Long 50,000 of one class, short 40,000 of another, 90 %: 7,500 − 0.9·6,000."""
        products = [{"members": ["BTC", "ETH"], "offset": 0.9}]
        rules_ = load_ruleset(
            "occ-tims", overrides={"components.product_credit.products": products}
        )
        book = [(PERP, 1), (ETH_PERP, -16)]
        assert im(TIMS, snapshot(), *book) == pytest.approx(7_500 + 6_000)
        assert im(rules_, snapshot(), *book) == pytest.approx(7_500 - 0.9 * 6_000)
        # The two losing together take nothing from each other.
        assert im(rules_, snapshot(), (PERP, 1), (ETH_PERP, 16)) == pytest.approx(13_500)
        split = shares(frame(account(*book), rules_, snapshot()))
        assert split.position == pytest.approx([7_500, -5_400])
        assert split.jumps == 0.0


class TestKinds:
    def test_progressive(self) -> None:
        assert progressive(0.0, [0.0, 10.0], [1.0, 3.0]) == (0.0, 1.0)
        assert progressive(10.0, [0.0, 10.0], [1.0, 3.0]) == (10.0, 1.0)
        assert progressive(12.0, [0.0, 10.0], [1.0, 3.0]) == (16.0, 3.0)

    @pytest.mark.parametrize(
        "broken",
        [
            component("scan-part", "p", blocks=["nope"]),
            component("minimum-charge", "p", underlyings={"BTC": {"rate": 0.1, "bands": [
                {"floor": 5.0, "multiplier": 1.0}]}}),
            component("depeg", "p", pairs=[["USDT", "USDC"]], levels=[
                {"from_price": 0.0, "sizes": [{"floor": 1.0, "rate": 0.1}]}]),
            component("product-offset", "p", products=[
                {"members": ["A", "B"], "offset": 0.5}, {"members": ["B", "C"], "offset": 0.5}]),
            component("calendar-spread", "p", underlyings={"BTC": {
                "tiers": [{"from_days": 0.0}], "spreads": [{"first": 1, "second": 2}]}}),
            component("calendar-spread", "p", deltas={"points": [0.0], "weights": [1.0, 2.0]}),
        ],
    )  # fmt: skip
    def test_contradictions_are_refused(self, broken: dict[str, Any]) -> None:
        with pytest.raises(RulesetError):
            rules(component("scan", "scan"), broken)

    @pytest.mark.parametrize(
        "moves", [{"nope": [0.1]}, {"grid": [0.1, 0.2]}, {"grid": [-1.0]}, {"grid": []}]
    )
    def test_own_moves_must_fit_their_block(self, moves: dict[str, list[float]]) -> None:
        scenarios = {
            "blocks": [{"name": "grid", "moves": [0.1], "vols": ["same"]}],
            "underlyings": {"BTC": {"price_range": 0.1, "moves": moves}},
        }
        with pytest.raises(RulesetError):
            rules(component("scan", "scan"), scenarios=scenarios)
