"""Engines of venues: what their rules do, and that each step names the rule it obeyed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from crossmargin.errors import LiquidationError
from crossmargin.liquidation import (
    Brackets,
    ClosingCost,
    Layer,
    Leg,
    LinearAccount,
    Reduced,
    adl_rule_ids,
    advance,
    begin,
    cover,
    layers_of,
    linear_account,
    liquidate,
    liquidation_rule_ids,
    liquidation_rules,
    rules_from_dict,
)

SECOND = 1_000_000_000
RAMP = {"steps.ramp.initial_share": 0.2, "steps.ramp.duration_s": 60.0, "trigger.buffer": 0.02}


def perpetual(equity: float = 2_000.0, **more: Any) -> LinearAccount:
    """Row B07: one bitcoin at 47,000, 5 %."""
    return linear_account(quantity=1, mark=47_000, rate=0.05, equity=equity, names=["BTC"], **more)


def tiered(notional: float, equity: float, *, marginal: bool = True) -> LinearAccount:
    leg = Leg(name="BTC", quantity=notional / 100.0, mark=100.0, unit_usd=100.0, lot=1.0)
    brackets = Brackets((0.0, 1e5, 3e5, 6e5), (0.01, 0.02, 0.05, 0.10), marginal)
    return LinearAccount((leg,), (brackets,), equity)


def every(seconds: float, count: int) -> list[int]:
    return [round(i * seconds * SECOND) for i in range(count)]


# ------------------------------------------------------------------------------- laws of all


@pytest.mark.parametrize("name", liquidation_rule_ids())
def test_rules_say_where_they_come_from(name: str) -> None:
    rules = liquidation_rules(name)
    assert all(step.source in rules.sources for step in rules.steps)
    assert rules.layers and rules.steps
    assert all(layer.adl is None or layer.adl in adl_rule_ids() for layer in rules.layers)
    if name in ("drift-v2", "dydx-v4", "binance", "deribit", "mango-v4"):
        assert not rules.complete, "unconfirmed figures are named"


@pytest.mark.parametrize("name", liquidation_rule_ids())
def test_a_healthy_account_is_left_alone(name: str) -> None:
    rules = liquidation_rules(name, overrides=RAMP if name == "drift-v2" else None)
    look = advance(perpetual(2_350.0), rules, begin(), 5 * SECOND)
    assert look.trail == () and look.progress == begin()


@pytest.mark.parametrize("name", liquidation_rule_ids())
def test_the_first_look_below_starts_it(name: str) -> None:
    rules = liquidation_rules(name, overrides=RAMP if name == "drift-v2" else None)
    looks = liquidate(perpetual(2_340.0), rules, every(1, 400))
    assert looks[0].trail, "the first look below the line acts"
    assert looks[-1].progress.state in ("healthy", "taken-over", "auction")
    held = 1.0
    for look in looks:
        for step in look.trail:
            assert step.rule.startswith(f"{name}/") and step.reason and step.kind
        assert 0.0 <= look.quantity[0] <= held, "never turned round, never larger"
        held = float(look.quantity[0])


@pytest.mark.parametrize("name", ["house", "binance", "okx", "bitmex", "bybit-isolated"])
def test_cancelling_orders_alone_is_tried_first(name: str) -> None:
    account = perpetual(2_400.0, orders_mm=100.0)
    look = advance(account, liquidation_rules(name), begin(), 0)
    assert [s.action for s in look.trail] == ["cancel-orders", "restored"]
    assert look.quantity[0] == 1.0 and not look.orders
    assert look.progress.state == "healthy"


# ------------------------------------------------------------------------------- house, Binance


def test_row_b07_as_a_trail() -> None:
    look = advance(perpetual(orders_mm=10.0), liquidation_rules("house"), begin(), 7)
    assert [s.action for s in look.trail] == ["cancel-orders", "close", "restored"]
    close = look.trail[1]
    assert round(close.units, 6) == 0.165485 and close.price == 47_000
    assert close.fee == close.cost == pytest.approx(38.8889, abs=1e-4)
    assert round(look.standing.equity, 2) == round(look.standing.mm, 2) == 1961.11
    assert close.rule == "house/reduce" and close.time_ns == 7


def test_a_thin_book_ends_in_a_takeover_and_the_waterfall() -> None:
    """Nothing fills at the bankruptcy price or better: the fund takes it over, and pays."""
    rules = liquidation_rules("binance")
    look = advance(perpetual(500.0), rules, begin(), 0, costs=ClosingCost(slip_rate=0.02))
    assert [s.action for s in look.trail] == ["not-filled", "takeover"]
    assert look.trail[1].price == pytest.approx(46_500) and look.standing.equity == 0
    assert look.takeover is not None and look.takeover.equity == 500
    layers = layers_of(rules, {"fund": 300_000_000, "adl": None})
    paid = cover(440_000_000, layers)
    assert (paid.used("fund"), paid.used("adl")) == (300_000_000, 140_000_000)
    with pytest.raises(LiquidationError, match="LIQ-008"):
        layers_of(rules, {"fund": 1})


def test_limits_of_layers_come_from_the_rules() -> None:
    layers = layers_of(liquidation_rules("dydx-v4"), {"fund": 5 * 10**12, "adl": None})
    assert layers[0] == Layer("fund", 5 * 10**12, 10**12)


def test_slices_within_the_depth_of_the_book() -> None:
    """Half is not there at once: the rest of what suffices follows in the next look."""
    rules = rules_from_dict(
        {
            **_plain("house"),
            "steps": [
                {
                    "kind": "reduce-sufficient",
                    "name": "slices",
                    "policy": "proportional",
                    "interval_s": 2.0,
                    "source": "rows",
                    "confidence": "house",
                }
            ],
        }
    )
    costs = ClosingCost(depth={"BTC": 0.1})
    looks = liquidate(perpetual(), rules, every(1, 9), costs=costs)
    actions = [[s.action for s in look.trail] for look in looks]
    assert actions == [["close"], ["wait"], ["close", "restored"]]
    assert looks[1].trail[0].due_ns == 2 * SECOND
    assert looks[2].quantity[0] == pytest.approx(1 - 350 / 2_350)


def test_bybit_reduces_to_ninety_percent() -> None:
    """x = (MM/0.9 − E)/(m·P/0.9); orders alone that reach the target end it."""
    look = advance(perpetual(), liquidation_rules("bybit-uta"), begin(), 0)
    assert look.trail[0].units == pytest.approx((2_350 / 0.9 - 2_000) / (2_350 / 0.9))
    assert look.standing.mm / look.standing.equity == pytest.approx(0.9)
    # Above the line, below the target: nothing begins there.
    assert advance(perpetual(2_400.0), liquidation_rules("bybit-uta"), begin(), 0).trail == ()


def test_orders_that_nobody_cancels_count_to_the_end() -> None:
    """Rules without a step that cancels: what orders bind must be made good by closing."""
    plain = _plain("house")
    plain["steps"] = [s for s in plain["steps"] if s["kind"] != "cancel-orders"]
    look = advance(perpetual(2_400.0, orders_mm=100.0), rules_from_dict(plain), begin(), 0)
    assert [s.action for s in look.trail] == ["close", "restored"] and look.orders
    assert look.trail[0].units == pytest.approx(50 / 2_115)
    assert look.standing.mm == pytest.approx(100 + 2_350 * (1 - 50 / 2_115))


# ------------------------------------------------------------------------------- Hyperliquid


def test_a_fifth_then_whole_within_half_a_minute() -> None:
    rules = liquidation_rules("hyperliquid")
    big = linear_account(quantity=10, mark=50_000, rate=0.05, equity=19_000, names=["BTC"])
    look = advance(big, rules, begin(), 0)
    assert [s.action for s in look.trail] == ["close"]
    assert look.trail[0].units == 2.0 and "20 %" in look.trail[0].reason and look.trail[0].fee == 0
    soon = advance(Reduced(big, look), rules, look.progress, 29 * SECOND)
    assert soon.trail[0].units == 8.0 and "within 30 s" in soon.trail[0].reason
    later = advance(Reduced(big, look), rules, look.progress, 30 * SECOND)
    assert later.trail[0].units == pytest.approx(1.6)


def test_small_legs_go_whole() -> None:
    look = advance(perpetual(), liquidation_rules("hyperliquid"), begin(), 0)
    assert look.trail[0].units == 1.0 and look.progress.state == "healthy"


@pytest.mark.parametrize(("equity", "action"), [(1_567.0, "close"), (1_566.0, "takeover")])
def test_the_vault_below_two_thirds(equity: float, action: str) -> None:
    """Two thirds of 2,350 is 1,566.67."""
    look = advance(perpetual(equity), liquidation_rules("hyperliquid"), begin(), 0)
    assert look.trail[0].action == action
    if action == "takeover":
        assert look.takeover is not None and look.takeover.equity == equity
        assert look.trail[0].price == 47_000 and look.standing.equity == pytest.approx(0)
        assert look.trail[0].rule == "hyperliquid/backstop-vault"


# ------------------------------------------------------------------------------- tiers


def test_okx_cuts_two_tiers_at_a_time() -> None:
    """Tier 4 (above 600,000) to tier 2 (up to 300,000); MM 57,000 to 5,000."""
    look = advance(tiered(800_000, 20_000), liquidation_rules("okx"), begin(), 0)
    assert [s.action for s in look.trail] == ["close", "restored"]
    assert look.trail[0].units == 5_000 and "from tier 4 to tier 2" in look.trail[0].reason
    assert look.standing.mm == pytest.approx(1_000 + 4_000)
    # Tier 2 is below tier 3: it goes whole, at bankruptcy.
    look = advance(tiered(200_000, 1_000), liquidation_rules("okx"), begin(), 0)
    assert [s.action for s in look.trail] == ["takeover"]


def test_okx_nets_pairs_first() -> None:
    legs = tuple(
        Leg(name="BTC", quantity=q, mark=100.0, unit_usd=100.0) for q in (1_500.0, -1_000.0)
    )
    brackets = (Brackets((0.0, 1e5, 3e5), (0.01, 0.02, 0.05)),) * 2
    look = advance(LinearAccount(legs, brackets, 900.0), liquidation_rules("okx"), begin(), 0)
    assert [s.action for s in look.trail] == ["net-pair", "restored"]
    assert look.quantity.tolist() == [500.0, 0.0] and look.standing.equity == 900.0


def test_bitmex_fills_or_kills_one_order() -> None:
    rules = liquidation_rules("bitmex")
    look = advance(tiered(800_000, 30_000), rules, begin(), 0)
    assert [s.action for s in look.trail] == ["close", "restored"]
    assert look.trail[0].units == 2_000 and look.trail[0].rule == "bitmex/lower-risk-limit"
    thin = advance(
        tiered(800_000, 30_000), rules, begin(), 0, costs=ClosingCost(depth={"BTC": 1_999.0})
    )
    assert [s.action for s in thin.trail] == ["not-filled", "takeover"]
    deep = advance(tiered(800_000, 10_000), rules, begin(), 0)
    assert [s.action for s in deep.trail] == ["close", "takeover"], "one order, not several"


def test_bybit_goes_down_tier_by_tier() -> None:
    look = advance(tiered(800_000, 4_000), liquidation_rules("bybit-isolated"), begin(), 0)
    closes = [s for s in look.trail if s.action == "close"]
    assert [s.units for s in closes] == [2_000, 3_000, 2_000]
    assert look.trail[-1].action == "restored"


def test_brackets_are_needed() -> None:
    class Plain:
        def __init__(self, account: LinearAccount) -> None:
            self.legs, self.has_orders = account.legs, False
            self.standing, self.weights = account.standing, account.weights

    with pytest.raises(LiquidationError, match="LIQ-008"):
        advance(Plain(perpetual()), liquidation_rules("bitmex"), begin(), 0)


# ------------------------------------------------------------------------------- Drift


def test_the_ramp_frees_a_growing_share_of_the_shortage() -> None:
    rules = liquidation_rules("drift-v2", overrides=RAMP)
    short = 1.02 * 2_350 - 2_000
    looks = liquidate(perpetual(), rules, every(6, 50))
    for number, look in enumerate(looks):
        share = min(1.0, 0.2 + 0.1 * number)
        left = max(0.0, -rules.target.excess(look.standing))
        if left:
            assert left == pytest.approx((1 - share) * short, rel=1e-9)
    assert looks[-1].trail[-1].action == "restored" and 7 <= len(looks) <= 9
    # The last fifty dollars of shortage go at once.
    assert len([s for look in looks for s in look.trail if s.action == "close"]) == len(looks)


def test_the_ramp_waits_until_more_may_be_freed() -> None:
    rules = liquidation_rules("drift-v2", overrides=RAMP)
    first = advance(perpetual(), rules, begin(), 0)
    again = advance(Reduced(perpetual(), first), rules, first.progress, 0)
    assert [s.action for s in again.trail] == ["wait"]
    worse = linear_account(quantity=1, mark=47_000, rate=0.05, equity=1_950, names=["BTC"])
    assert [s.action for s in advance(worse, rules, first.progress, 0).trail] == ["close"]


def test_unpublished_figures_must_be_supplied() -> None:
    with pytest.raises(LiquidationError, match="LIQ-011") as caught:
        advance(perpetual(), liquidation_rules("drift-v2"), begin(), 0)
    assert caught.value.field == "steps.ramp.initial_share"


# ------------------------------------------------------------------------------- dYdX


def test_per_block_caps() -> None:
    rules = liquidation_rules("dydx-v4")
    big = linear_account(quantity=[30, 400], mark=[50_000, 3_000], rate=0.03, equity=70_000)
    look = advance(big, rules, begin(), 0, draw=0)
    assert look.trail[0].units == pytest.approx(2.0), "100,000 USD, less than a tenth"
    look = advance(big, rules, begin(), 0, draw=1)
    assert look.trail[0].leg == "leg 1" and look.trail[0].units == pytest.approx(100_000 / 3_000)
    small = linear_account(quantity=0.05, mark=50_000, rate=0.03, equity=50)
    look = advance(small, rules, begin(), 0)
    assert look.trail[0].units == pytest.approx(0.02), "at least 1,000 USD"
    wait = advance(Reduced(small, look), rules, look.progress, SECOND // 2)
    assert wait.trail[0].action == "wait" and wait.trail[0].due_ns == SECOND


def test_dydx_fee_never_takes_more_than_bankruptcy_leaves() -> None:
    """NC/MMR times the requirement freed is what closing may cost; the fee is the lesser."""
    small = linear_account(quantity=0.05, mark=50_000, rate=0.03, equity=50)
    look = advance(small, liquidation_rules("dydx-v4"), begin(), 0)
    assert look.trail[0].fee == pytest.approx(min(0.015 * 1_000, 50 / 75 * 30))
    under = linear_account(quantity=0.05, mark=50_000, rate=0.03, equity=-10)
    look = advance(under, liquidation_rules("dydx-v4"), begin(), 0)
    step = look.trail[0]
    assert step.fee == 0 and step.from_fund == pytest.approx(10 * 30 / 75)
    assert step.after.equity == pytest.approx(-10 + 4)
    assert look.trail[1].rule == "dydx-v4/deleverage" and look.takeover is not None
    assert look.takeover.equity == pytest.approx(-6) and look.progress.state == "taken-over"


def test_nobody_fills_beyond_the_fillable_price() -> None:
    small = linear_account(quantity=0.05, mark=50_000, rate=0.03, equity=60)
    costs = ClosingCost(slip_rate=0.02)
    look = advance(small, liquidation_rules("dydx-v4"), begin(), 0, costs=costs)
    assert look.trail[0].action == "not-filled" and look.quantity[0] == 0.05


# ------------------------------------------------------------------------------- Derive, the rest


def test_derive_is_auctioned() -> None:
    look = advance(perpetual(), liquidation_rules("derive-v2"), begin(), 3)
    assert [s.action for s in look.trail] == ["auction"] and look.progress.state == "auction"
    again = advance(perpetual(), liquidation_rules("derive-v2"), look.progress, 4)
    assert again.trail == () and again.progress == look.progress


def test_marks_move_between_looks() -> None:
    """47,000 holds, 43,000 does not; what was closed there stays closed at 46,000."""
    path = {0: [47_000.0], SECOND: [43_000.0], 2 * SECOND: [46_000.0]}
    looks = liquidate(
        perpetual(6_000.0), liquidation_rules("house"), path, marks=lambda now: path[now]
    )
    assert [bool(look.trail) for look in looks] == [False, True, False]
    size = (0.05 * 43_000 - 2_000) / (43_000 * 0.045)
    assert looks[1].quantity[0] == looks[2].quantity[0] == pytest.approx(1 - size)
    paid = 0.005 * 43_000 * size
    assert looks[2].standing.equity == pytest.approx(2_000 - paid + 3_000 * (1 - size))
    held = Reduced(perpetual(6_000.0), looks[1])
    with pytest.raises(LiquidationError, match="only a LinearAccount"):
        liquidate(held, liquidation_rules("house"), path, marks=lambda now: path[now])


def test_time_does_not_run_back() -> None:
    look = advance(perpetual(), liquidation_rules("derive-v2"), begin(), 3)
    with pytest.raises(LiquidationError, match="LIQ-010"):
        advance(perpetual(), liquidation_rules("derive-v2"), look.progress, 2)


def test_nothing_left_and_still_owing() -> None:
    account = linear_account(quantity=0, mark=1, rate=0.05, equity=-5)
    look = advance(account, liquidation_rules("house"), begin(), 0)
    assert [s.action for s in look.trail] == ["stuck"] and look.progress.state == "closed"


def test_time_in_breach_is_known() -> None:
    rules = liquidation_rules("drift-v2", overrides=RAMP)
    look = advance(perpetual(), rules, begin(), 10 * SECOND)
    assert look.progress.breached_ns == 10 * SECOND
    assert look.progress.in_breach_ns(25 * SECOND) == 15 * SECOND
    assert begin().in_breach_ns(5) == 0


def _plain(name: str) -> dict[str, Any]:
    import msgspec

    plain: dict[str, Any] = msgspec.to_builtins(liquidation_rules(name))
    return plain


@pytest.mark.parametrize(
    ("path", "value", "code"),
    [
        ("steps.reduce.policy", "random", "LIQ-002"),
        ("steps.nothing.policy", "proportional", "LIQ-003"),
        ("steps.reduce.colour", "red", "LIQ-002"),
        ("steps.reduce.source", "nowhere", "LIQ-002"),
        ("steps.reduce.name", "takeover", "LIQ-002"),
        ("layers.adl.adl", "nobody", "LIQ-003"),
        ("trigger.factor", float("inf"), "LIQ-002"),
    ],
)
def test_bad_rules_are_refused(path: str, value: Any, code: str) -> None:
    with pytest.raises(LiquidationError) as caught:
        liquidation_rules("house", overrides={path: value})
    assert caught.value.code == code


def test_unknown_rules() -> None:
    with pytest.raises(LiquidationError, match="One of binance"):
        liquidation_rules("nobody")


def test_overrides_do_not_stick() -> None:
    changed = liquidation_rules("house", overrides={"steps.reduce.fee_rate": 0.01})
    assert changed != liquidation_rules("house")
    (own,) = [step for step in liquidation_rules("house").steps if step.name == "reduce"]
    assert np.isclose(own.fee_rate, 0.005)  # type: ignore[union-attr]


def test_a_cooldown_outlasts_a_recovery() -> None:
    """Venues.md §5: a part restores the account; orders in the 30 s after it are for the whole."""
    rules = liquidation_rules("hyperliquid")
    big = linear_account(
        quantity=[10], mark=[50_000], rate=0.0125, equity=6_000, names=["BTC"]
    )  # MM 6,250
    first = advance(big, rules, begin(), 0)
    assert first.trail[0].units == pytest.approx(2.0) and first.progress.state == "healthy"
    # 8 coins at 49,850: equity 4,800 against 4,985.
    again = big.after(first.quantity, first.cost, orders=False).at([49_850])
    for seconds, units in ((5, 8.0), (29, 8.0), (30, 1.6)):
        look = advance(again, rules, first.progress, seconds * SECOND)
        assert look.trail[0].units == pytest.approx(units)


def test_a_round_a_second_also_after_a_recovery() -> None:
    """Venues.md §1: Deribit acts about once a second, whatever happened in between."""
    rules = liquidation_rules("deribit")
    first = advance(perpetual(), rules, begin(), 0)
    assert first.progress.state == "healthy"
    worse = perpetual().after(first.quantity, first.cost, orders=False).at([46_000])
    waits = advance(worse, rules, first.progress, SECOND // 2)
    assert [step.action for step in waits.trail] == ["wait"] and waits.trail[0].due_ns == SECOND
    assert waits.progress.breached_ns == SECOND // 2
    acts = advance(worse, rules, waits.progress, SECOND)
    assert acts.trail[0].action == "close"


@pytest.mark.parametrize("name", ["binance", "house", "okx"])
def test_both_legs_of_a_contract_are_taken_over(name: str) -> None:
    """In hedge mode two legs share a name, and neither stays behind."""
    legs = tuple(Leg(name="BTC", quantity=q, mark=100.0, unit_usd=100.0) for q in (5.0, -3.0))
    account = LinearAccount(legs, (Brackets((0.0,), (0.1,)),) * 2, -40.0)
    look = advance(account, liquidation_rules(name), begin(), 0)
    assert look.takeover is not None and not look.quantity.any()
    assert look.standing.equity == pytest.approx(0.0)
    taken = [step for step in look.trail if step.action == "takeover"]
    assert sum(step.cost for step in taken) == pytest.approx(-40.0)
