"""Scenario sets and the risk table."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.helpers import EXPIRY, account, black, market

from crossmargin.book import book_from_accounts
from crossmargin.errors import RulesetError
from crossmargin.instruments import Registry, parse_instrument
from crossmargin.market import Snapshot
from crossmargin.scenarios import (
    LANES,
    VOL_STATES,
    RiskTable,
    ScenarioSpec,
    UnderlyingShocks,
    build_scenarios,
    build_table,
    plan_table,
    vol_multiplier,
)

S, T30 = 50_000.0, 30 / 365
NAMES = [
    "BTC_USDC-PERPETUAL",
    "BTC-PERPETUAL",
    "BTC_USDC-27MAR26",
    "BTC-27MAR26",
    "BTC_USDC",
    "BTC_USDC-27MAR26-55000-C",
    "BTC-27MAR26-55000-C",
    "BTC-27MAR26-45000-P",
    "ETH_USDC-PERPETUAL",
]


def spec(*blocks: dict[str, Any], **more: Any) -> ScenarioSpec:
    shocks = {"default": {"price_range": 0.16, "vol_up": 0.5, "vol_down": 0.25}}
    raw = {"blocks": list(blocks), "underlyings": shocks, **more}
    return msgspec.convert(raw, ScenarioSpec)


def world(spot: float = S) -> Snapshot:
    vols = {n: 0.6 for n in NAMES if n[-1] in "CP"}
    return market(
        {"BTC": spot, "ETH": 3_000, "USDC": 1},
        marks={n: spot for n in NAMES if n.startswith("BTC") and n not in vols}
        | {"ETH_USDC-PERPETUAL": 3_000},
        vols=vols,
        forwards={("BTC", EXPIRY): spot},
    )


def table(made: ScenarioSpec, names: list[str] | None = None, **how: Any) -> RiskTable:
    registry = Registry(parse_instrument(n) for n in names or NAMES)
    view = world().view(registry)
    plan = plan_table(registry, build_scenarios(made, ["BTC", "ETH"]))
    return build_table(plan, view, **how)


class TestLayout:
    def test_moves_outside_vols_inside(self) -> None:
        made = build_scenarios(
            spec(
                {"moves": [-0.1, 0.2], "vols": ["down", "up"]}, {"moves": [0.0], "vols": ["same"]}
            ),
            ["BTC"],
        )
        assert made.size == 5
        assert made.move[0].tolist() == [-0.1, -0.1, 0.2, 0.2, 0.0]
        assert [VOL_STATES[k] for k in made.vol_state] == ["down", "up", "down", "up", "same"]
        assert made.labels[0][:2] == ("-10% price, vol down", "-10% price, vol up")
        assert made.labels[0][4] == "0% price, vol same"

    def test_ranges_scale_by_underlying(self) -> None:
        shocks = {"BTC": {"price_range": 0.16}, "ETH": {"price_range": 0.18}}
        made = build_scenarios(
            spec({"moves": [-1.0, 0.5], "vols": ["same"], "unit": "range"}, underlyings=shocks),
            ["ETH", "BTC"],
        )
        assert made.underlyings == ("ETH", "BTC")
        np.testing.assert_allclose(made.move, [[-0.18, 0.09], [-0.16, 0.08]])
        assert made.labels[0][1] == "+9% price, vol same"

    def test_weights(self) -> None:
        block = {"moves": [-0.5, 0.0, 0.8], "vols": ["up"], "extended": True}
        plain = build_scenarios(spec({**block, "weight": 0.3}), ["BTC"])
        listed = build_scenarios(spec({**block, "weight": [0.1, 0.2, 0.3]}), ["BTC"])
        ratio = build_scenarios(spec({**block, "weight": "range/move"}), ["BTC"])
        assert plain.weight[0].tolist() == [0.3] * 3
        assert listed.weight[0].tolist() == [0.1, 0.2, 0.3]
        np.testing.assert_allclose(ratio.weight[0], [0.32, 1.0, 0.2])

    def test_only_tails_are_capped(self) -> None:
        blocks = (
            {"moves": [-0.3], "vols": ["same"]},
            {"moves": [-0.3, 0.1], "vols": ["same"], "extended": True},
        )
        capped = build_scenarios(spec(*blocks, cap_linear=True), ["BTC"])
        assert capped.move_linear[0].tolist() == [-0.3, -0.16, 0.1]
        free = build_scenarios(spec(*blocks), ["BTC"])
        assert free.move_linear[0].tolist() == [-0.3, -0.3, 0.1]

    def test_no_underlyings(self) -> None:
        made = build_scenarios(spec({"moves": [0.1], "vols": ["same"]}), [])
        assert made.move.shape == (0, 1)

    def test_missing_underlying(self) -> None:
        made = spec({"moves": [0.1], "vols": ["same"]}, underlyings={"BTC": {"price_range": 0.16}})
        with pytest.raises(RulesetError) as caught:
            build_scenarios(made, ["BTC", "ETH"])
        assert caught.value.code == "RUL-010"
        assert caught.value.field == "scenarios.underlyings.ETH"

    def test_named_before_default(self) -> None:
        made = spec(
            {"moves": [0.1], "vols": ["same"]},
            underlyings={"BTC": {"price_range": 0.1}, "default": {"price_range": 0.2}},
        )
        assert made.shocks_for("BTC").price_range == 0.1
        assert made.shocks_for("ETH").price_range == 0.2


class TestVolMultiplier:
    shock = UnderlyingShocks(price_range=0.16, vol_up=0.5, vol_down=0.25)

    @settings(deadline=None)
    @given(st.floats(0.01, 2_000))
    def test_order_and_bounds(self, days: float) -> None:
        same, up, down = vol_multiplier(self.shock, np.array([days / 365]), 30.0)[0]
        assert 0.0 <= down <= same == 1.0 <= up

    def test_shrinks_with_time(self) -> None:
        up = vol_multiplier(self.shock, np.arange(1, 400) / 365, 30.0)[:, 1]
        assert np.all(np.diff(up) < 0)

    def test_continuous_at_the_reference(self) -> None:
        near = vol_multiplier(self.shock, np.array([30 - 1e-9, 30 + 1e-9]) / 365, 30.0)
        np.testing.assert_allclose(near[0], near[1], rtol=1e-10)

    def test_expired(self) -> None:
        assert np.all(np.isfinite(vol_multiplier(self.shock, np.array([0.0, -1.0]), 30.0)))

    def test_another_reference(self) -> None:
        # Stated at ten days: 0.5·(10/5)^0.30.
        up = vol_multiplier(self.shock, np.array([5 / 365]), 10.0)[0, 1]
        assert up == pytest.approx(1 + 0.5 * 2**0.30)


class TestRiskTable:
    grid = spec({"moves": [-0.16, 0.0, 0.1], "vols": ["up", "same", "down"]})

    def row(self, name: str, made: RiskTable | None = None) -> np.ndarray:
        return (made or table(self.grid)).pnl[NAMES.index(name)]

    @pytest.mark.parametrize("name", ["BTC_USDC-PERPETUAL", "BTC_USDC-27MAR26", "BTC_USDC"])
    def test_linear(self, name: str) -> None:
        np.testing.assert_allclose(
            self.row(name), np.repeat([-8_000.0, 0.0, 5_000.0], 3), atol=1e-9
        )

    @pytest.mark.parametrize("name", ["BTC-PERPETUAL", "BTC-27MAR26"])
    def test_inverse_in_coin(self, name: str) -> None:
        coins = 1 / S
        wanted = [coins * m / (1 + m) for m in (-0.16, 0.0, 0.1)]
        np.testing.assert_allclose(self.row(name), np.repeat(wanted, 3), rtol=1e-10, atol=1e-18)

    def test_options(self) -> None:
        for column, (m, factor) in enumerate(
            (m, f) for m in (-0.16, 0.0, 0.1) for f in (1.5, 1.0, 0.75)
        ):
            there = S * (1 + m)
            call = black(there, 55_000, T30, 0.6 * factor, call=True)
            base = black(S, 55_000, T30, 0.6, call=True)
            linear = self.row("BTC_USDC-27MAR26-55000-C")[column]
            assert linear == pytest.approx(call - base, rel=1e-9, abs=1e-8)
            inverse = self.row("BTC-27MAR26-55000-C")[column]
            assert inverse == pytest.approx(call / there - base / S, rel=1e-9, abs=1e-12)

    def test_parity_across_scenarios(self) -> None:
        names = ["BTC_USDC-27MAR26-55000-C", "BTC_USDC-27MAR26-55000-P", "BTC_USDC-27MAR26"]
        registry = Registry(parse_instrument(n) for n in names)
        snapshot = market(
            {"BTC": S, "USDC": 1},
            marks={names[2]: S},
            vols={names[0]: 0.6, names[1]: 0.6},
            forwards={("BTC", EXPIRY): S},
        )
        plan = plan_table(registry, build_scenarios(self.grid, ["BTC"]))
        made = build_table(plan, snapshot.view(registry))
        np.testing.assert_allclose(made.pnl[0] - made.pnl[1], made.pnl[2], atol=1e-7)

    def test_base_values(self) -> None:
        made = table(self.grid)
        assert made.base[NAMES.index("BTC_USDC-PERPETUAL")] == S
        assert made.base[NAMES.index("BTC-PERPETUAL")] == pytest.approx(1 / S)
        wanted = black(S, 55_000, T30, 0.6, call=True)
        assert made.base[NAMES.index("BTC_USDC-27MAR26-55000-C")] == pytest.approx(wanted)
        assert made.base[NAMES.index("BTC-27MAR26-55000-C")] == pytest.approx(wanted / S)

    def test_contract_size_multiplies(self) -> None:
        from dataclasses import replace

        big = replace(parse_instrument("BTC_USDC-PERPETUAL"), id="big", contract_size=10.0)
        registry = Registry([parse_instrument("BTC_USDC-PERPETUAL"), big])
        snapshot = world()
        quotes = dict(snapshot.quotes)
        quotes["big"] = quotes["BTC_USDC-PERPETUAL"]
        view = replace(snapshot, quotes=quotes).view(registry)
        made = build_table(plan_table(registry, build_scenarios(self.grid, ["BTC"])), view)
        np.testing.assert_allclose(made.pnl[1], 10 * made.pnl[0])

    def test_rows_are_padded_and_contiguous(self) -> None:
        made = table(self.grid)
        assert made.pnl.shape == (len(NAMES), 9)
        assert made.pnl.strides == (16 * 8, 8) and LANES == 8

    def test_only_planned_rows_are_filled(self) -> None:
        registry = Registry(parse_instrument(n) for n in NAMES)
        scenarios = build_scenarios(self.grid, ["BTC"])
        plan = plan_table(registry, scenarios, rows=np.array([0, 5]))
        made = build_table(plan, world().view(registry))
        filled = np.flatnonzero(np.any(made.pnl != 0, axis=1))
        assert filled.tolist() == [0, 5]

    def test_underlyings_outside_the_set_are_left_out(self) -> None:
        registry = Registry(parse_instrument(n) for n in NAMES)
        plan = plan_table(registry, build_scenarios(self.grid, ["BTC"]))
        made = build_table(plan, world().view(registry))
        assert not made.pnl[NAMES.index("ETH_USDC-PERPETUAL")].any()

    def test_alias_takes_the_others_scenarios(self) -> None:
        name = "STETH_USDC"
        registry = Registry([parse_instrument(name)])
        snapshot = market({"STETH": 2_990, "ETH": 3_000, "USDC": 1})
        made = build_scenarios(self.grid, ["ETH"])
        plan = plan_table(registry, made, underlying_alias={"STETH": "ETH"})
        row = build_table(plan, snapshot.view(registry)).pnl[0]
        np.testing.assert_allclose(row, np.repeat([-478.4, 0.0, 299.0], 3), atol=1e-9)

    def test_compiled_kernel_gives_the_same(self) -> None:
        plain, fast = table(self.grid), table(self.grid, kernel="numba")
        np.testing.assert_allclose(fast.pnl, plain.pnl, rtol=1e-10, atol=1e-10)

    def test_does_not_know_who_holds_what(self) -> None:
        book = book_from_accounts([account(("BTC_USDC-PERPETUAL", 5))])
        registry = book.registry
        plan = plan_table(registry, build_scenarios(self.grid, ["BTC"]))
        made = build_table(plan, world().view(registry))
        assert made.pnl[0, 0] == pytest.approx(-8_000.0)

    def test_floor_of_the_up_state(self) -> None:
        floored = spec(
            {"moves": [0.0], "vols": ["up", "down"]},
            underlyings={
                "default": {
                    "price_range": 0.16,
                    "vol_up": 0.5,
                    "vol_down": 0.25,
                    "vol_floor_up": 1.2,
                }
            },
        )
        row = table(floored).pnl[NAMES.index("BTC_USDC-27MAR26-55000-C")]
        now = black(S, 55_000, T30, 0.6, call=True)
        assert row[0] == pytest.approx(black(S, 55_000, T30, 1.2, call=True) - now)
        assert row[1] == pytest.approx(black(S, 55_000, T30, 0.45, call=True) - now)


class TestSettled:
    def test_expired_instruments_do_not_move(self) -> None:
        names = ["BTC_USDC-27MAR26-45000-C", "BTC_USDC-27MAR26"]
        registry = Registry(parse_instrument(n) for n in names)
        snapshot = market(
            {"BTC": S, "USDC": 1},
            marks={names[1]: S},
            vols={names[0]: 0.6},
            forwards={("BTC", EXPIRY): S},
        )
        after = snapshot.at(snapshot.as_of_ns + 31 * 86_400 * 10**9)
        grid = spec({"moves": [-0.16, 0.16], "vols": ["up"]})
        plan = plan_table(registry, build_scenarios(grid, ["BTC"]))
        made = build_table(plan, after.view(registry))
        np.testing.assert_allclose(made.pnl, 0.0, atol=1e-9)
        assert made.base[0] == pytest.approx(5_000.0)


def test_spec_reads_its_own_json() -> None:
    made = spec({"moves": [-0.1], "vols": ["up"], "weight": "range/move", "extended": True})
    again = msgspec.json.decode(msgspec.json.encode(made), type=ScenarioSpec)
    assert again == made
    assert json.loads(msgspec.json.encode(made))["blocks"][0]["weight"] == "range/move"
