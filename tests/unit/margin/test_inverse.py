"""Largest orders, withdrawals, top-ups and sizes for a stop, by hand."""

from __future__ import annotations

import msgspec
import pytest
from tests.helpers import (
    CALL,
    ETH_PERP,
    PERP,
    account,
    component,
    fixture_g,
    flat_rate,
    market,
    rules,
    scan_rules,
)

from crossmargin.book import AccountFile, BalanceEntry, OrderEntry, OrderLeg
from crossmargin.errors import InputError, MarginError, RulesetError
from crossmargin.margin import (
    Ruleset,
    SizeLimit,
    check_order,
    largest_order,
    largest_withdrawal,
    load_ruleset,
    size_for_stop,
    top_up,
)

MARKET = fixture_g()
CROSS = rules(flat_rate(0.10, 0.05))
G = scan_rules()
HAIRCUT = {
    "source": "s",
    "confidence": "house",
    "haircut_levels": ["im", "mm"],
    "assets": {"BTC": {"haircut": 0.1}, "USDC": {}},
}
A23 = rules(flat_rate(0.10, 0.05), collateral=HAIRCUT)
A23_ACCOUNT = account((PERP, 1, 50_000), balances={"USDC": 10_000, "BTC": 0.5})


def most(who: AccountFile, side: str, name: str = PERP, ruleset: Ruleset = CROSS, **more: object):
    return largest_order(who, MARKET, ruleset, name, side, **more)  # type: ignore[arg-type]


def passes(who: AccountFile, got: SizeLimit, quantity: float, ruleset: Ruleset = CROSS) -> bool:
    sign = 1.0 if got.side == "buy" else -1.0
    leg = OrderLeg(instrument=got.instrument, quantity=sign * quantity, price=got.price)
    return check_order(who, MARKET, ruleset, OrderEntry(id="o", legs=[leg])).accepted


class TestLargestOrder:
    def test_from_flat_both_sides_are_equal(self) -> None:
        who = account(balances={"USDC": 10_000})
        for side in ("buy", "sell"):
            got = most(who, side)
            assert got.quantity == 2.0  # twelve digits of the boundary, and it passes
            assert got.slack_usd == 0.0 and got.slack_beyond_usd < 0
            assert got.beyond == pytest.approx(2.0, rel=1e-10) and got.beyond > 2.0
            assert got.notional_usd == 100_000.0

    def test_past_flat(self) -> None:
        # Long 1 with room for 6.5 in either direction: buys 5.5, sells 7.5.
        assert most(A23_ACCOUNT, "buy", ruleset=A23).quantity == pytest.approx(5.5, rel=1e-12)
        assert most(A23_ACCOUNT, "sell", ruleset=A23).quantity == pytest.approx(7.5, rel=1e-12)

    def test_below_initial_margin_it_reduces_and_turns_to_the_mirror_image(self) -> None:
        under = account((PERP, 10), balances={"USDC": 1_000})
        assert most(under, "sell").quantity == pytest.approx(20.0, rel=1e-10)
        none = most(under, "buy")
        assert none.quantity == 0.0 and none.reason == "no positive size passes"
        assert not none.unbounded and none.beyond is not None

    def test_a_price_beyond_the_mark_costs_what_it_loses(self) -> None:
        # 10 % of 50,000 and 500 lost at once: 5,500 a coin.
        who = account(balances={"USDC": 11_000})
        assert most(who, "buy", price=50_500).quantity == pytest.approx(2.0, rel=1e-12)
        assert most(who, "sell", price=49_500).quantity == pytest.approx(2.0, rel=1e-12)
        # A better price than the mark is no credit while the order rests.
        assert most(who, "buy", price=49_500).quantity == pytest.approx(2.2, rel=1e-12)

    def test_resting_orders_take_room_on_their_side(self) -> None:
        resting = [{"id": "r", "legs": [{"instrument": PERP, "quantity": 0.5}]}]
        who = account(balances={"USDC": 10_000}, orders=resting)
        assert most(who, "buy").quantity == pytest.approx(1.5, rel=1e-12)
        assert most(who, "sell").quantity == pytest.approx(2.0, rel=1e-12)

    @pytest.mark.parametrize(
        "lot, quantity", [(0.001, 2.0), (0.3, 1.8), (1.0, 2.0), (3.0, 0.0), (0.1, 2.0)]
    )
    def test_lots_are_rounded_down(self, lot: float, quantity: float) -> None:
        who = account(balances={"USDC": 10_000})
        got = most(who, "buy", lot=lot)
        assert got.quantity == quantity
        assert got.beyond == pytest.approx(quantity + lot, rel=1e-12)
        assert got.slack_beyond_usd < 0

    def test_a_whole_lot_is_not_lost_to_rounding(self) -> None:
        # 0.3 coins of margin in cash; 0.1 held: two lots of 0.1 fit exactly.
        who = account((PERP, 0.1), balances={"USDC": "1500.00"})
        assert most(who, "buy", lot=0.1).quantity == 0.2
        assert passes(who, most(who, "buy", lot=0.1), 0.2)

    def test_a_free_hedge_is_unbounded_up_to_the_cap(self) -> None:
        # Under the standard formula a bought option needs nothing.
        isolated = load_ruleset("isolated", overrides={"pools.by": "account"})
        who = account(balances={"USDC": 10_000})
        got = most(who, "buy", name=CALL, ruleset=isolated, cap_usd=1e7)
        assert got.unbounded and got.quantity == 200.0 and got.notional_usd == 1e7
        assert got.beyond is None and "cash may" in got.reason
        # With cash that may not run out it is bounded by the premium.
        paid = most(who, "buy", name=CALL, ruleset=isolated, allow_debt=False)
        price = 3_429.36  # Fixture G: the call at the money
        assert not paid.unbounded and paid.quantity == pytest.approx(10_000 / price, rel=1e-3)

    def test_under_a_scan_a_hedge_is_larger_than_the_naked_order(self) -> None:
        who = account((PERP, 1), balances={"USDC": 9_000})
        hedge, alone = (
            most(who, "sell", name=CALL, ruleset=G),
            most(account(balances={"USDC": 9_000}), "sell", name=CALL, ruleset=G),
        )
        assert hedge.quantity > alone.quantity > 0
        for got, owner in ((hedge, who), (alone, account(balances={"USDC": 9_000}))):
            assert passes(owner, got, got.quantity, G)
            assert not passes(owner, got, got.quantity * (1 + 1e-6), G)

    def test_whole_notional_brackets_end_at_their_jump(self) -> None:
        tiers = [{"floor": 0, "im": 0.01, "mm": 0.005}, {"floor": 1e6, "im": 0.02, "mm": 0.01}]
        whole = rules(component("rate", "f", scheme="whole", tiers={"default": tiers}))
        # 15,000 carry 1,000,000 at 1 % (10,000); a dollar more would need 20,000.
        got = most(account(balances={"USDC": 15_000}), "buy", ruleset=whole)
        assert got.quantity == pytest.approx(20.0, rel=1e-10)
        assert got.slack_usd == pytest.approx(5_000, abs=0.01)
        assert got.slack_beyond_usd == pytest.approx(-5_000, abs=0.01)

    def test_where_the_rules_have_no_figure_nothing_is_claimed(self) -> None:
        pm = load_ruleset("deribit-pm-cross", overrides={"orders.method": "worst-fill"})
        who = account(balances={"USDC": 1e9})
        got = most(who, "buy", ruleset=pm)
        # 20 m USD of net delta is where the law of growth is unknown.
        assert got.notional_usd == pytest.approx(20e6, rel=1e-9)
        assert got.unknown_beyond is not None and "RUL-030" in got.unknown_beyond
        assert got.slack_beyond_usd is None and got.slack_usd > 0
        assert "no figure" in got.reason

    def test_protect_mode_leaves_reducing(self) -> None:
        who = account((PERP, 1), balances={"USDC": 1e6})
        assert most(who, "sell", allowed=()).quantity == pytest.approx(2.0, rel=1e-10)
        got = most(who, "buy", allowed=())
        assert got.quantity == 0.0 and "no new risk" in got.reason

    def test_fenced_positions(self) -> None:
        isolated = load_ruleset("isolated")
        got = largest_order(account(balances={"USDC": 2_500}), MARKET, isolated, PERP, "buy")
        assert got.quantity == pytest.approx(2.0, rel=1e-12)
        held = account((PERP, 1), balances={"USDC": 2_500})
        assert largest_order(held, MARKET, isolated, PERP, "buy").quantity == pytest.approx(1.0)

    def test_refusals(self) -> None:
        who = account(balances={"USDC": 1e6})
        with pytest.raises(RulesetError, match="RUL-032"):
            most(who, "buy", ruleset=load_ruleset("paradex-pm"))
        for lot in (0.0, -1.0, float("nan")):
            with pytest.raises(InputError, match="INP-004"):
                most(who, "buy", lot=lot)
        with pytest.raises(InputError, match="INP-004"):
            most(who, "buy", cap_usd=0.0)


class TestLargestWithdrawal:
    def test_a26_equity_less_initial_margin(self) -> None:
        who = account((PERP, 1, 50_000), balances={"USDC": 12_000})
        got = largest_withdrawal(who, MARKET, CROSS, "USDC")
        assert got.amount == pytest.approx(12_000 - 5_000, rel=1e-12)
        assert got.excess_usd == pytest.approx(0.0, abs=1e-8) and got.excess_beyond_usd < 0
        assert not got.whole and got.balance == 12_000

    def test_after_haircut_a_coin_frees_less_than_its_price(self) -> None:
        # Equity 32,500, IM 5,000: coins worth 27,500 after 10 % are 30,555.56 at market.
        lean = account((PERP, 1, 50_000), balances={"USDC": 10_000, "BTC": 2})
        got = largest_withdrawal(lean, MARKET, A23, "BTC")
        assert got.whole  # 10,000 of cash alone cover 5,000
        lean = account((PERP, 1, 50_000), balances={"BTC": 0.5})
        got = largest_withdrawal(lean, MARKET, A23, "BTC")
        assert got.amount == pytest.approx((22_500 - 5_000) / 45_000, rel=1e-12)
        assert got.counted_usd == pytest.approx(17_500) and got.value_usd == pytest.approx(
            17_500 / 0.9
        )

    def test_with_debt_more_than_is_there(self) -> None:
        got = largest_withdrawal(A23_ACCOUNT, MARKET, A23, "USDC", debt=True)
        assert got.amount == pytest.approx(27_500, rel=1e-12)
        lent = rules(
            flat_rate(0.10, 0.05),
            component("borrow", "loan", im=0.25, mm=0.1),
            collateral=HAIRCUT,
        )
        # 10,000 own, then 17,500 of excess at 1.25 per dollar borrowed.
        got = largest_withdrawal(A23_ACCOUNT, MARKET, lent, "USDC", debt=True)
        assert got.amount == pytest.approx(10_000 + 17_500 / 1.25, rel=1e-12)

    def test_unbounded_nowhere_capped_everywhere(self) -> None:
        got = largest_withdrawal(account(balances={"USDC": 5}), MARKET, CROSS, "USDC", debt=True)
        assert got.amount == pytest.approx(5.0) and not got.unbounded

    def test_below_initial_margin_nothing_leaves(self) -> None:
        who = account((PERP, 10), balances={"USDC": 1_000})
        got = largest_withdrawal(who, MARKET, CROSS, "USDC")
        assert got.amount == 0.0 and "below its initial margin" in got.reason
        assert got.excess_usd == pytest.approx(-49_000)

    def test_nothing_is_there(self) -> None:
        got = largest_withdrawal(A23_ACCOUNT, MARKET, A23, "ETH")
        assert got.amount == 0.0 and got.reason == "nothing is there"

    def test_orders_hold_money_back(self) -> None:
        resting = [{"id": "r", "legs": [{"instrument": PERP, "quantity": 1}]}]
        who = account(balances={"USDC": 12_000}, orders=resting)
        assert largest_withdrawal(who, MARKET, CROSS, "USDC").amount == pytest.approx(7_000)

    def test_stressed_coins_hold_back_less_than_their_worth(self) -> None:
        """A coin that leaves takes its own stress with it."""
        stress = {
            "source": "s",
            "confidence": "house",
            "assets": {"BTC": {"haircut": 0.0, "stress": "both"}, "USDC": {}},
        }
        ruleset = scan_rules(collateral=stress)
        who = account((PERP, 1), balances={"BTC": 1, "USDC": 0.01})
        got = largest_withdrawal(who, MARKET, ruleset, "BTC")
        # (1 − x)·50,000 = 16 % of (1 + 1 − x)·50,000  →  x = (1 − 0.32)/(1 − 0.16)
        assert got.amount == pytest.approx(0.68 / 0.84, rel=1e-6)

    def test_locations_are_one_balance_and_the_venue_pays_first(self) -> None:
        rows = [
            BalanceEntry(asset="USDC", amount=4_000, location="cold"),
            BalanceEntry(asset="USDC", amount=8_000),
        ]
        who = msgspec.structs.replace(account((PERP, 1, 50_000)), balances=rows)
        got = largest_withdrawal(who, MARKET, CROSS, "USDC")
        assert got.balance == 12_000 and got.amount == pytest.approx(7_000, rel=1e-12)

    def test_step_and_protect_mode(self) -> None:
        who = account((PERP, 1, 50_000), balances={"USDC": "12000.99"})
        assert largest_withdrawal(who, MARKET, CROSS, "USDC", step=500).amount == 7_000.0
        shut = largest_withdrawal(who, MARKET, CROSS, "USDC", allowed=("new-risk",))
        assert shut.amount == 0.0 and "not trusted" in shut.reason
        assert largest_withdrawal(who, MARKET, CROSS, "USDC", allowed=("withdraw",)).amount > 0

    def test_the_wallet_of_fenced_positions(self) -> None:
        who = account((PERP, 1), balances={"USDC": 2_000})
        got = largest_withdrawal(who, MARKET, load_ruleset("isolated"), "USDC")
        assert got.amount == pytest.approx(750, rel=1e-12)  # 1,250 are in the fence


class TestTopUp:
    under = account((PERP, 10), balances={"USDC": 1_000})

    @pytest.mark.parametrize("target, short", [("im", 49_000.0), ("mm", 24_000.0), (1.5, 36_500.0)])
    def test_in_cash(self, target: object, short: float) -> None:
        got = top_up(self.under, MARKET, CROSS, "USDC", target=target)  # type: ignore[arg-type]
        assert got.amount == pytest.approx(short, rel=1e-12)
        assert got.short_usd == pytest.approx(short, rel=1e-12)
        assert got.slack_usd >= 0 > got.slack_below_usd

    def test_in_coins_after_haircut(self) -> None:
        got = top_up(self.under, MARKET, A23, "BTC")
        assert got.amount == pytest.approx(49_000 / 45_000, rel=1e-11)
        assert got.counted_usd == pytest.approx(49_000, rel=1e-11)
        assert got.value_usd == pytest.approx(49_000 / 0.9, rel=1e-11)

    def test_a_stressed_coin_must_carry_its_own_stress(self) -> None:
        stress = {
            "source": "s",
            "confidence": "house",
            "assets": {"BTC": {"haircut": 0.1, "stress": "both"}, "USDC": {}},
        }
        got = top_up(
            account((PERP, 1), balances={"USDC": 1_000}),
            MARKET,
            scan_rules(collateral=stress),
            "BTC",
        )
        # 1,000 + 0.9·50,000·x = 0.16·50,000·(1 + x)
        assert got.amount == pytest.approx(7_000 / (45_000 - 8_000), rel=1e-9)

    def test_a_coin_that_costs_more_than_it_brings_never_helps(self) -> None:
        stress = {
            "source": "s",
            "confidence": "house",
            "assets": {"BTC": {"haircut": 0.9, "stress": "both"}, "USDC": {}},
        }
        got = top_up(
            account((PERP, 1), balances={"USDC": 1_000}),
            MARKET,
            scan_rules(collateral=stress),
            "BTC",
        )
        assert got.amount is None and "no amount of BTC" in got.reason

    def test_another_pot_is_out_of_reach(self) -> None:
        sm = load_ruleset("deribit-sm")
        world = market({"BTC": 50_000, "USDC": 1.0}, marks={"BTC-PERPETUAL": 50_000})
        who = account(("BTC-PERPETUAL", 5_000_000), balances={"BTC": 1})
        assert top_up(who, world, sm, "BTC").amount > 0
        # Dollars stand in a pot of their own, which lacks nothing.
        assert top_up(who, world, sm, "USDC").amount == 0.0

    def test_nothing_is_needed(self) -> None:
        got = top_up(A23_ACCOUNT, MARKET, A23, "USDC")
        assert got.amount == 0.0 and got.short_usd == 0.0 and got.below is None

    def test_rounded_up(self) -> None:
        assert top_up(self.under, MARKET, CROSS, "USDC", step=10_000).amount == 50_000.0
        assert top_up(self.under, MARKET, CROSS, "USDC", step=1_000).amount == 49_000.0

    @pytest.mark.parametrize("target", [0.0, -1.0, float("nan")])
    def test_bad_targets(self, target: float) -> None:
        with pytest.raises(InputError, match="INP-004"):
            top_up(self.under, MARKET, CROSS, "USDC", target=target)

    def test_paying_a_debt_back(self) -> None:
        lent = rules(component("borrow", "loan", im=0.2, mm=0.1), combine={"im": "0", "mm": "0"})
        who = account(balances={"USDC": -20_000, "BTC": 0.42})
        # 21,000 against 20,000 + 20 %: each dollar paid back counts 1.2.
        got = top_up(who, MARKET, lent, "USDC")
        assert got.amount == pytest.approx(3_000 / 1.2, rel=1e-12)


class TestA25SizeForAStop:
    """Equity 10,000, 1 % at risk, entry 50,000, stop 48,000."""

    who = account(balances={"USDC": 10_000})

    def size(self, who: AccountFile | None = None, ruleset: Ruleset = CROSS, **more: object):
        options = {"entry": 50_000, "stop": 48_000, "budget_usd": 100, **more}
        return size_for_stop(who or self.who, MARKET, ruleset, PERP, **options)  # type: ignore[arg-type]

    def test_the_row(self) -> None:
        assert self.size().quantity == pytest.approx(0.05, rel=1e-12)
        got = self.size(fee_rate=0.0005)
        assert got.quantity == pytest.approx(0.048804, abs=5e-7)
        assert got.binding == "budget" and got.loss_at_stop_usd == pytest.approx(100)
        assert self.size(lot=0.001, fee_rate=0.0005).quantity == 0.048

    def test_a_stop_above_the_entry_sells(self) -> None:
        got = self.size(stop=52_000)
        assert got.side == "sell" and got.quantity == pytest.approx(0.05, rel=1e-12)

    def test_initial_margin_may_bind(self) -> None:
        got = self.size(budget_usd=1e6)
        assert got.binding == "initial margin" and got.quantity == pytest.approx(2.0, rel=1e-12)
        assert got.by_budget == pytest.approx(500)

    def test_liquidation_before_the_stop_shrinks_it(self) -> None:
        # Thin initial margin, far stop: q·(50,000 − 30,000) + 5 % of 30,000·q ≤ 10,000.
        thin = rules(flat_rate(0.05, 0.05))
        got = self.size(ruleset=thin, stop=30_000, budget_usd=20_000)
        assert got.binding == "liquidation" and "before the stop" in got.reason
        assert got.quantity == pytest.approx(10_000 / 21_500, rel=1e-9)
        assert got.by_margin > got.quantity and got.by_budget == pytest.approx(1.0)

    def test_coin_settled(self) -> None:
        # A dollar contract bought at 50,000 loses 1/48,000 − 1/50,000 coins, paid at 48,000.
        who = account(balances={"BTC": 1})
        got = size_for_stop(
            who, MARKET, CROSS, "BTC-PERPETUAL", entry=50_000, stop=48_000, budget_usd=100
        )
        assert got.quantity == pytest.approx(100 / (48_000 * (1 / 48_000 - 1 / 50_000)), rel=1e-12)

    def test_refusals(self) -> None:
        with pytest.raises(MarginError, match="MRG-021"):
            size_for_stop(self.who, MARKET, CROSS, CALL, entry=1, stop=2, budget_usd=1)
        for bad in ({"stop": 50_000}, {"stop": -1}, {"budget_usd": 0}, {"entry": float("nan")}):
            with pytest.raises(InputError, match="INP-004"):
                self.size(**bad)


def test_errors_name_the_account() -> None:
    raw = account((PERP, 1), balances={"USDC": 1}, name="acme")
    empty = market({"BTC": 50_000.0, "USDC": 1.0}, marks={PERP: 50_000.0})
    with pytest.raises(Exception, match="acme"):
        largest_order(raw, empty, CROSS, ETH_PERP, "buy")
