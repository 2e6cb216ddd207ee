"""Auto-deleveraging: rankings, walks, shares, and what is left of a hedge."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from crossmargin.errors import LiquidationError
from crossmargin.liquidation import (
    Brackets,
    Candidates,
    Leg,
    LinearAccount,
    MarginedAccount,
    adl_rule,
    adl_rule_ids,
    adl_rules_from_toml,
    adl_score,
    after_adl,
    apportion,
    deleverage,
    lights,
    profit_haircuts,
    profit_leverage,
    queue,
    start_of,
)


def holders(**changed: Any) -> Candidates:
    columns: dict[str, Any] = {
        "contracts": (-10, -20, -30, -5),
        "mark": 100.0,
        "entry": np.array([120.0, 105.0, 140.0, 95.0]),
        "bankruptcy": np.array([112.0, 104.0, 190.0, 110.0]),
        "wallet": np.array([100.0, 50.0, 900.0, 60.0]),
        "profit": np.array([200.0, 100.0, 1_200.0, -25.0]),
        "mm": np.array([50.0, 100.0, 150.0, 25.0]),
    }
    return Candidates(**{**columns, **changed})


# ------------------------------------------------------------------------------- rankings


def test_row_b09() -> None:
    score = profit_leverage(np.array([0.20, 0.10, 0.30, -0.05]), np.array([8.0, 20, 2, 10]))
    assert score == pytest.approx([1.6, 2.0, 0.6, -0.005])
    assert (np.argsort(-score) + 1).tolist() == [2, 1, 3, 4]


def test_bitmex_six_longs() -> None:
    """The venue's own table: a short of 20 is closed against accounts 2 (10) and 5 (10 of 20)."""
    contracts, score = (10, 10, 20, 30, 20, 10), np.array([3, 6, 1, 4, 5, 2])
    assert [(row + 1, n) for row, n in queue(score, contracts, 20)] == [(2, 10), (5, 10)]
    percent = 120 - 20 * lights(score, contracts)
    assert percent.tolist() == [80, 20, 100, 60, 40, 80]


def test_lights_by_head() -> None:
    assert lights(np.array([1.0, 5, 4, 3, 2])).tolist() == [1, 5, 4, 3, 2]
    assert lights(np.array([])).size == 0


def test_each_score_by_hand() -> None:
    c = holders()
    leverage = np.array([100 / 12, 100 / 4, 100 / 90, 100 / 10])
    gain = np.array([20 / 120, 5 / 105, 40 / 140, -5 / 95])
    assert adl_score("profit-times-leverage", c) == pytest.approx(
        np.where(gain > 0, gain * leverage, gain / leverage)
    )
    assert adl_score("account-profit-times-margin-ratio", c) == pytest.approx(
        [2 * 50 / 300, 2 * 100 / 150, (1_200 / 900) * 150 / 2_100, 0.0]
    )
    value = np.array([300.0, 150.0, 2_100.0, 35.0])
    notional = np.array([1_000.0, 2_000, 3_000, 500])
    assert adl_score("price-ratio-times-leverage", c) == pytest.approx(
        100 / np.array([120, 105, 140, 95]) * notional / value
    )
    assert adl_score("profit-share-times-leverage", c) == pytest.approx(
        notional / value * np.maximum(gain, 0)
    )
    ratio = value / np.array([50.0, 100, 150, 25])
    assert adl_score("roi-by-margin-ratio", c) == pytest.approx(
        np.where(gain > 0, gain / ratio, gain * ratio)
    )


def test_the_two_readings_of_hyperliquid_order_differently() -> None:
    c = holders()
    printed = np.argsort(-adl_score("price-ratio-times-leverage", c)).tolist()
    decompiled = np.argsort(-adl_score("profit-share-times-leverage", c)).tolist()
    assert printed != decompiled
    rules = adl_rule("hyperliquid"), adl_rule("hyperliquid-decompiled")
    first = [deleverage(rule, 12, c, 100.0).fills[0].row for rule in rules]
    assert first == [3, 1], "as printed, the short that loses most goes first"


def test_inverse_values() -> None:
    """Winner and leverage of an inverse long: value −q/P in coins."""
    c = Candidates(
        contracts=(1_000,),
        mark=50_000.0,
        entry=np.array([40_000.0]),
        bankruptcy=np.array([36_000.0]),
        inverse=True,
    )
    gain = (1 / 40_000 - 1 / 50_000) / (1 / 40_000)
    leverage = (1 / 50_000) / (1 / 36_000 - 1 / 50_000)
    assert adl_score("profit-times-leverage", c) == pytest.approx([gain * leverage])


def test_a_holder_past_its_own_bankruptcy_comes_first() -> None:
    c = holders(bankruptcy=np.array([99.0, 104.0, 190.0, 110.0]))
    assert queue(adl_score("profit-times-leverage", c), c.contracts, 1) == [(0, 1)]


# ------------------------------------------------------------------------------- closing


@pytest.mark.parametrize("rule", adl_rule_ids())
@pytest.mark.parametrize("bankrupt", [1, 17, 65, 70])
def test_open_interest_stays_balanced(rule: str, bankrupt: int) -> None:
    found = deleverage(adl_rule(rule), bankrupt, holders(), 101.0, start=2)
    assert found.contracts + found.left == bankrupt
    assert sum(fill.contracts for fill in found.fills) == found.contracts
    assert found.left == max(0, bankrupt - 65)
    # Shorts buy back at 101 where the mark is 100: they bear one a contract.
    assert found.covered == pytest.approx(found.contracts)
    assert sum(fill.forgone for fill in found.fills) == pytest.approx(found.covered)


def test_dydx_walks_from_its_start_and_passes_over_the_ruined() -> None:
    found = deleverage(adl_rule("dydx-v4"), 40, holders(), 106.0, start=2)
    assert [(f.row, f.contracts) for f in found.fills] == [(2, 30), (3, 5), (0, 5)]
    # At 106 row 1, ruined above 104, is passed over.
    found = deleverage(adl_rule("dydx-v4"), 60, holders(), 106.0, start=1)
    assert [f.row for f in found.fills] == [2, 3, 0] and found.left == 15
    found = deleverage(adl_rule("dydx-v4"), 60, holders(), 101.0, start=1, most=2)
    assert [f.row for f in found.fills] == [1, 2] and found.left == 10


def test_pro_rata_by_largest_remainder() -> None:
    found = deleverage(adl_rule("pro-rata"), 10, holders(), 101.0)
    # Quotas 1.54, 3.08, 4.62, 0.77.
    assert [(f.row, f.contracts) for f in found.fills] == [(0, 1), (1, 3), (2, 5), (3, 1)]


def test_capped_pro_rata_moves_on_what_a_cap_holds_back() -> None:
    found = deleverage(adl_rule("capped-pro-rata"), 39, holders(), 101.0, cap=[0.1, 1, 1, 1])
    assert [(f.row, f.contracts) for f in found.fills] == [(0, 1), (1, 14), (2, 21), (3, 3)]
    short = deleverage(adl_rule("capped-pro-rata"), 65, holders(), 101.0, cap=0.5)
    assert short.contracts == 5 + 10 + 15 + 2 and short.left == 33


def test_risk_aware_closes_leverage_first() -> None:
    """λ is 3.33, 13.3, 1.43 and 14.3: row 3 gives a larger part than row 2."""
    found = deleverage(adl_rule("risk-aware"), 20, holders(), 101.0)
    share = {f.row: f.contracts / abs(holders().contracts[f.row]) for f in found.fills}
    assert share[3] > share[0] > share[2] and sum(f.contracts for f in found.fills) == 20


def test_sharing_contracts_is_not_sharing_profit() -> None:
    c = holders()
    by_profit = profit_haircuts(c.profit_at(100.0), 130.0)
    assert by_profit.height[:3] == pytest.approx([130 / 1_500] * 3) and by_profit.height[3] == 0
    closed = deleverage(adl_rule("pro-rata"), 13, c, 110.0)
    assert closed.covered == pytest.approx(130.0)
    assert {f.row for f in closed.fills} == {0, 1, 2, 3}, "a loser is closed as well"


def test_splitting_an_account_gains_nothing_under_pro_rata() -> None:
    whole = profit_haircuts([100.0, 50.0], 30.0, cap=0.5).height
    split = profit_haircuts([60.0, 40.0, 50.0], 30.0, cap=0.5).height
    assert split == pytest.approx([whole[0], whole[0], whole[1]])


def test_apportion_against_a_slow_loop() -> None:
    draw = random.Random(3)
    for _ in range(300):
        n = draw.randint(1, 9)
        cap = [draw.randint(0, 12) for _ in range(n)]
        total = draw.randint(0, sum(cap))
        weight = [draw.random() for _ in range(n)]
        quota = [total * w / sum(weight) for w in weight]
        parts = apportion(total, quota, cap)
        assert sum(parts) == total and all(0 <= p <= c for p, c in zip(parts, cap))
        if all(q <= c for q, c in zip(quota, cap)):
            assert all(abs(p - q) < 1 for p, q in zip(parts, quota))
    with pytest.raises(LiquidationError, match="LIQ-005"):
        apportion(3, [1.5, 1.5], [1, 1])


# ------------------------------------------------------------------------------- refusals


def test_bad_questions() -> None:
    with pytest.raises(LiquidationError, match="other side"):
        deleverage(adl_rule("bitmex"), -3, holders(), 100.0)
    with pytest.raises(LiquidationError, match="both sides"):
        holders(contracts=(1, -1, 1, 1))
    with pytest.raises(LiquidationError, match="LIQ-008"):
        deleverage(adl_rule("binance"), 3, holders(wallet=None), 100.0)
    with pytest.raises(LiquidationError, match="another length"):
        holders(entry=np.ones(3))
    with pytest.raises(LiquidationError, match="LIQ-003"):
        adl_rule("nobody")
    with pytest.raises(LiquidationError, match="severity"):
        profit_haircuts([1.0], 1.0, severity=2)


def test_a_bad_file_is_refused() -> None:
    head = 'format = "crossmargin-adl/1"\n[sources.a]\ntitle = "t"\ndate = "d"\n[[rules]]\n'
    rule = 'id = "x"\ntitle = "x"\nkind = "rotation"\nsettle = "mark"\noverlap = true\n'
    good = head + rule + 'source = "a"\nconfidence = "house"\n'
    assert list(adl_rules_from_toml(good)) == ["x"]
    for text in (
        good.replace('source = "a"', 'source = "b"'),
        good + "surprise = 1\n",
        good + good[good.index("[[rules]]") :],
        good.replace("rotation", "lottery"),
        "not toml",
    ):
        with pytest.raises(LiquidationError, match="LIQ-002"):
            adl_rules_from_toml(text)


# ------------------------------------------------------------------------------- hedges


def test_a_broken_hedge_is_reported() -> None:
    legs = tuple(
        Leg(name=n, underlying="BTC", quantity=q, mark=50_000, unit_usd=50_000)
        for n, q in (("perpetual", 2.0), ("future", -2.0))
    )
    owner = LinearAccount(legs, (Brackets((0.0,), (0.05,)),) * 2, 10_000.0)
    found = after_adl(owner, {"future": (1.5, 51_000.0)})
    assert found.broken == ("BTC",)
    assert found.exposures[0].before == 0 and found.exposures[0].after == 75_000
    assert found.after.equity == 10_000 - 1.5 * 1_000
    assert not found.in_breach
    with pytest.raises(LiquidationError, match="LIQ-001"):
        after_adl(owner, {"future": (3.0, 51_000.0)})


def test_a_scan_requires_more_of_what_is_left() -> None:
    """Under portfolio margin losing one leg raises the requirement, and may breach the line."""
    from crossmargin.margin import load_ruleset
    from crossmargin.venues import load_account, load_market

    owner = MarginedAccount(
        load_account("short-vol-desk"),
        load_market("calm-2026-02-03"),
        load_ruleset("deribit-pm-cross"),
    )
    wing = next(x for x in owner.legs if x.name.endswith("48000-P"))
    found = after_adl(owner, {wing.name: (wing.quantity, wing.mark)})
    assert found.after.mm > found.before.mm
    assert found.after.equity == pytest.approx(found.before.equity, rel=1e-9)
    same = after_adl(owner, {})
    assert same.before == same.after and same.broken == ()
    assert start_of(owner).size == len(owner.legs)


def test_no_leverage_and_no_profit_have_a_place_too() -> None:
    """Row B09 at its ends: winners 0 at no leverage, losers last; nothing is not a number."""
    gain = np.array([0.2, 0.0, 0.0, -0.05, -0.05, 0.1])
    leverage = np.array([0.0, 0.0, 7.0, 0.0, 10.0, np.inf])
    found = profit_leverage(gain, leverage)
    assert found.tolist() == [0.0, 0.0, 0.0, -np.inf, -0.005, np.inf]
    assert [row for row, _ in queue(found, [1] * 6, 6)] == [5, 0, 1, 2, 4, 3]


def test_an_inverse_short_that_nothing_ruins() -> None:
    """60,000 USD short at 50,000 is worth 1.2 coins; with 1.5, 1.2 and 0.3 coins of its own.

    ``L = |MV|/(MV − BV)`` is 1.2 over what it has: 0.8, 1 and 4; profit counts alike.
    """
    own = np.array([1.5, 1.2, 0.3])
    reciprocal = 1 / 50_000 - own / 60_000
    ruin = np.array([1 / r if abs(r) > 1e-15 else np.inf for r in reciprocal])
    shorts = Candidates(
        contracts=(-60_000,) * 3,
        mark=50_000.0,
        entry=np.full(3, 60_000.0),
        bankruptcy=ruin,
        inverse=True,
    )
    gain = (1 / 50_000 - 1 / 60_000) * 60_000  # per dollar of its entry value
    want = gain * 1.2 / own
    assert adl_score("profit-times-leverage", shorts) == pytest.approx(want, rel=1e-12)
    # At 70,000 the one with 0.3 coins is ruined (from 66,666.67 on), the others never are.
    found = deleverage(adl_rule("dydx-v4"), 180_000, shorts, 70_000.0)
    assert [fill.row for fill in found.fills] == [0, 1] and found.left == 60_000
