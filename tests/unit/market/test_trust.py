"""Protect mode: verdicts, sentences, actions; and the market file that carries sources."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from crossmargin.errors import CrossmarginError, MarketDataError
from crossmargin.market import (
    CONFIDENCE_ONE,
    Snapshot,
    allowed_actions,
    assess,
    decode_market,
    file_from_snapshot,
    mark_from_basis,
    policy_with,
    price_panel,
    snapshot_from_file,
    write_market,
)

PERP = "BTC_USDC-PERPETUAL"
MARKET: dict[str, Any] = {
    "format": "crossmargin-market/1",
    "as_of": "2026-11-22T12:00:00Z",
    "source": "test",
    "assets": [
        {
            "asset": "BTC",
            "sources": [
                {"name": "a", "price_usd": 50_000.0, "as_of": "2026-11-22T11:59:50Z"},
                {"name": "b", "price_usd": 50_010.0, "depth_usd_1pct": 1e6},
                {"name": "c", "price_usd": 50_020.0, "deviation_usd": 5.0},
            ],
        },
        {"asset": "USDC", "price_usd": 0.9999},
    ],
    "instruments": [
        {
            "instrument": PERP,
            "basis": [
                {"as_of": "2026-11-22T11:50:00Z", "basis": 0.0002},
                {"as_of": "2026-11-22T11:58:00Z", "basis": -0.0004},
            ],
        }
    ],
}
STALE = "2026-11-22T11:50:00Z"


def load(raw: dict[str, Any]) -> Snapshot:
    return snapshot_from_file(decode_market(json.dumps(raw).encode(), "market.json"))


def changed(change: Any) -> dict[str, Any]:
    raw = copy.deepcopy(MARKET)
    change(raw)
    return raw


def stale(raw: dict[str, Any]) -> None:
    for one in raw["assets"][0]["sources"][:2]:
        one["as_of"] = STALE


class TestFile:
    def test_index_mark_age_and_confidence(self) -> None:
        market = load(MARKET)
        btc = market.assets["BTC"]
        assert btc.price_usd == 50_010.0 and btc.confidence == CONFIDENCE_ONE
        assert btc.time_ns == market.as_of_ns - 10 * 10**9
        assert btc.source == "index (median) of a, b, c"
        assert market.trust is not None
        mark = market.quotes[PERP].price_mark
        made = mark_from_basis(
            50_010.0 / 0.9999, market.trust.basis[PERP], market.as_of_ns, tau_s=300.0, clamp=0.06
        )
        assert mark == made.price and -0.0004 < made.basis < 0.0002

    @pytest.mark.parametrize("stale_sources", [False, True])
    def test_round_trip(self, stale_sources: bool) -> None:
        raw = changed(stale) if stale_sources else copy.deepcopy(MARKET)
        raw["assets"][0]["last_good"] = {"price_usd": 50_001.0, "as_of": STALE}
        raw["assets"][0]["twap_usd"] = 50_007.0
        raw["trust"] = {"min_fresh": 2, "haircut_addition": 0.2}
        market = load(raw)
        written = write_market(file_from_snapshot(market))
        again = snapshot_from_file(decode_market(written, "again"))
        assert again == market and again.content_hash == market.content_hash
        assert write_market(file_from_snapshot(again)) == written

    def test_the_hash_sees_the_sources(self) -> None:
        other = changed(lambda r: r["assets"][0]["sources"][0].update(as_of=None))
        assert load(other).content_hash != load(MARKET).content_hash

    def test_a_market_without_sources_is_not_judged(self) -> None:
        raw = changed(lambda r: None)
        raw["assets"][0] = {"asset": "BTC", "price_usd": 50_000.0}
        raw["instruments"] = []
        market = load(raw)
        assert market.trust is None and assess(market) is None
        assert b"trust" not in write_market(file_from_snapshot(market))

    def test_a_stated_price_that_agrees_is_accepted(self) -> None:
        good = changed(lambda r: r["assets"][0].update(price_usd=50_010.0))
        assert load(good) == load(MARKET)

    @pytest.mark.parametrize(
        ("change", "code"),
        [
            (lambda r: r["assets"][0].update(price_usd=50_020.0), "MKT-012"),
            (lambda r: r["assets"][0].update(as_of=STALE), "MKT-012"),
            (lambda r: r["assets"][0].update(confidence=0.5), "MKT-012"),
            (lambda r: r["assets"][0].update(sources=[]), "INP-003"),
            (lambda r: r["assets"][0].pop("sources"), "MKT-001"),
            (lambda r: r["assets"][0]["sources"][0].update(price_usd=0), "MKT-009"),
            (lambda r: r["assets"][0]["sources"][0].update(name="b"), "MKT-011"),
            (
                lambda r: r["assets"][0]["sources"][0].update(as_of="2026-11-22T12:00:01Z"),
                "MKT-011",
            ),
            (lambda r: r["assets"][0]["sources"][0].update(weight=1), "INP-003"),
            (lambda r: r["assets"][0].update(twap_usd=-1.0), "MKT-009"),
            (
                lambda r: r["assets"][1].update(last_good={"price_usd": 1.0, "as_of": STALE}),
                "MKT-012",
            ),
            (lambda r: r.update(trust={"min_fresh": 0}), "INP-003"),
            (lambda r: r.update(trust={"min_frsh": 2}), "INP-003"),
            (lambda r: r.update(trust={"forbid": ["reduce"]}), "INP-003"),
            (lambda r: r["instruments"][0].update(price_mark=1.0), "MKT-012"),
            (lambda r: r["instruments"][0]["basis"].reverse(), "MKT-013"),
            (lambda r: r["instruments"][0].update(basis=[]), "INP-003"),
            (lambda r: r["instruments"][0].update(instrument="BTC_USDC"), "MKT-012"),
            (lambda r: r["instruments"][0].update(instrument="SOL_USDC-PERPETUAL"), "MKT-001"),
        ],
    )
    def test_contradictions_and_unknown_keys_are_refused(self, change: Any, code: str) -> None:
        with pytest.raises(CrossmarginError) as caught:
            load(changed(change))
        assert caught.value.code == code, str(caught.value)

    def test_no_stand_in_is_a_refusal_that_names_the_asset(self) -> None:
        raw = changed(stale)
        raw["trust"] = {"fallback": ["last-good"]}
        with pytest.raises(MarketDataError, match="index of BTC") as caught:
            load(raw)
        assert caught.value.code == "MKT-001"

    def test_a_stand_in_too_old_for_the_market_is_refused_when_needed(self) -> None:
        def ancient(raw: dict[str, Any]) -> None:
            for one in raw["assets"][0]["sources"]:
                one["as_of"] = "2026-11-22T10:00:00Z"

        market = load(changed(ancient))
        with pytest.raises(MarketDataError, match="MKT-002"):
            market.asset_usd("BTC")


class TestAssess:
    def test_all_is_well(self) -> None:
        state = assess(load(MARKET))
        assert state is not None and not state.active and state.sentences() == []
        acts = allowed_actions(state)
        assert all(a.allowed for a in (acts.new_risk, acts.reduce, acts.liquidate, acts.withdraw))

    def test_two_of_three_stale_is_said_aloud(self) -> None:
        state = assess(load(changed(stale)))
        assert state is not None and state.active and state.untrusted_assets == {"BTC"}
        text = " ".join(state.sentences())
        for words in (
            "PROTECT MODE",
            "the price of BTC",
            "2 of 3 sources stale: a, b",
            "no new risk",
            "no liquidation",
            "Haircut of BTC widened",
        ):
            assert words in text
        acts = allowed_actions(state)
        assert acts.reduce.allowed
        for one in (acts.new_risk, acts.liquidate, acts.withdraw):
            assert not one.allowed and "2 of 3 sources stale" in one.reasons[0]

    def test_what_is_forbidden_is_data(self) -> None:
        raw = changed(stale)
        raw["trust"] = {"forbid": ["liquidate"]}
        acts = allowed_actions(assess(load(raw)))
        assert not acts.liquidate.allowed and acts.new_risk.allowed and acts.withdraw.allowed

    def test_only_those_who_touch_it_are_concerned(self) -> None:
        state = assess(load(changed(stale)))
        assert state is not None
        assert state.touching({"BTC"}).active
        assert not state.touching({"USDC", "ETH"}, {"ETH_USDC-PERPETUAL"}).active

    def test_an_outlier_triggers_nothing_and_is_mentioned(self) -> None:
        raw = changed(lambda r: r["assets"][0]["sources"][2].update(price_usd=40_000.0))
        state = assess(load(raw))
        assert state is not None and not state.active
        assert "cut as outlier: c" in state.sentences()[0]

    @pytest.mark.parametrize(("twap", "active"), [(33_341.0, False), (33_340.0, True)])
    def test_the_guard_of_the_average(self, twap: float, active: bool) -> None:
        """50,010 stands 50 % above 33,340: at the limit it is not trusted."""
        state = assess(load(changed(lambda r: r["assets"][0].update(twap_usd=twap))))
        assert state is not None and state.active is active
        if active:
            assert "+50.0 % from its average over 300 s" in state.untrusted[0].reason

    def test_prices_without_sources_by_age_and_confidence(self) -> None:
        raw = changed(lambda r: None)
        raw["assets"][1].update(as_of="2026-11-22T11:56:00Z")
        raw["assets"].append({"asset": "ETH", "price_usd": 3_000.0, "confidence": 0.5})
        raw["instruments"] += [
            {
                "instrument": "ETH_USDC-PERPETUAL",
                "price_mark": 3_000.0,
                "as_of": "2026-11-22T11:40:00Z",
            }
        ]
        raw["forwards"] = [
            {
                "underlying": "ETH",
                "expiry": "2026-12-25T08:00:00Z",
                "price_usd": 3_010.0,
                "as_of": "2026-11-22T10:50:00Z",
            }
        ]
        raw["stale_after_s"] = 7_200.0
        state = assess(load(raw))
        assert state is not None
        found = {(v.subject, v.name): v.reason for v in state.untrusted}
        assert found == {
            ("asset", "USDC"): "it is 240 s old, 180 s are allowed",
            ("asset", "ETH"): "its confidence is 0.5, 0.55 is needed",
            ("instrument", "ETH_USDC-PERPETUAL"): "it is 1,200 s old, 900 s are allowed",
            ("forward", "ETH"): "it is 4,200 s old, 3,600 s are allowed",
        }

    def test_another_policy_may_judge(self) -> None:
        market = load(changed(stale))
        lenient = assess(market, policy_with({"stale_after_s": 3_600.0}))
        assert lenient is not None and not lenient.active

    def test_an_old_basis_degrades_the_mark(self) -> None:
        def old(raw: dict[str, Any]) -> None:
            raw["instruments"][0]["basis"] = [{"as_of": "2026-11-22T11:40:00Z", "basis": 0.0}]

        state = assess(load(changed(old)))
        assert state is not None and not state.active
        assert [v.state for v in state.verdicts if v.name == PERP] == ["degraded"]

    def test_nobody_judges_and_everything_is_allowed(self) -> None:
        acts = allowed_actions(None)
        assert all(a.allowed for a in (acts.new_risk, acts.reduce, acts.liquidate, acts.withdraw))


def test_panel_shows_each_source_and_mark() -> None:
    panel = price_panel(load(MARKET), move=-0.1)
    btc = panel.assets[0]
    assert btc.index is not None and [r.name for r in btc.index.readings] == ["a", "b", "c"]
    assert btc.attack is not None and btc.attack.sources_needed == 2
    assert panel.marks[0].smoothed and panel.own_policy
    assert price_panel(load(changed(stale))).assets[0].attack is None
