"""The pre-trade check on hand-worked accounts."""

from __future__ import annotations

import msgspec
import pytest
from tests.helpers import (
    CALL,
    ETH_PERP,
    PERP,
    PUT,
    account,
    component,
    fixture_g,
    flat_rate,
    market,
    rules,
    scan_rules,
)

from crossmargin.book import AccountFile, OrderEntry, OrderLeg
from crossmargin.errors import InputError, MarginError, RulesetError
from crossmargin.margin import OrderCheck, Ruleset, check_order, load_ruleset
from crossmargin.margin._probe import filled_row

MARKET = fixture_g()
CROSS = rules(flat_rate(0.10, 0.05))
G = scan_rules()


def order(*legs: tuple[str, float] | tuple[str, float, float], pool: str = "cross") -> OrderEntry:
    return OrderEntry(
        id="new",
        legs=[
            OrderLeg(instrument=leg[0], quantity=leg[1], price=leg[2] if len(leg) > 2 else None)
            for leg in legs
        ],
        pool=pool,
    )


def ask(who: AccountFile, *legs: object, ruleset: Ruleset = CROSS, **more: object) -> OrderCheck:
    return check_order(who, MARKET, ruleset, order(*legs), **more)  # type: ignore[arg-type]


class TestA11Equality:
    """IM = equity passes, one cent less cash is refused: the tolerance in money is zero."""

    @pytest.mark.parametrize(
        "cash, price, accepted",
        [
            ("5000", 50_000, True),
            ("4999.99", 50_000, False),
            # Bought 100 above the mark, 100 are lost at once.
            ("5100", 50_100, True),
            ("5099.99", 50_100, False),
        ],
    )
    def test_rate(self, cash: str, price: float, accepted: bool) -> None:
        got = ask(account(balances={"USDC": cash}), (PERP, 1, price))
        assert got.accepted is accepted
        assert got.rule == ("room" if accepted else "refused")
        assert got.excess_usd == pytest.approx(0.0 if accepted else -0.01, abs=1e-9)

    @pytest.mark.parametrize(
        "cash, accepted", [("8000", True), ("7999.99", False), ("8000.01", True)]
    )
    def test_scan(self, cash: str, accepted: bool) -> None:
        got = ask(account(balances={"USDC": cash}), (PERP, 1, 50_000), ruleset=G)
        assert got.accepted is accepted

    def test_amounts_that_binary_numbers_cannot_hold(self) -> None:
        # 0.1 + 0.2 coins need 1,500.00 exactly on paper; in floating point they need a hair
        # more than 0.3 coins give. Rounding does not cost the trader the order.
        who = account((PERP, 0.1), balances={"USDC": "1500.00"})
        got = ask(who, (PERP, 0.2, 50_000))
        assert got.accepted
        assert -got.rounding_usd <= got.excess_usd < 0.0
        assert got.rounding_usd < 1e-8
        assert not ask(account((PERP, 0.1), balances={"USDC": "1499.99"}), (PERP, 0.2)).accepted

    def test_rounding_stays_below_a_cent_for_large_accounts(self) -> None:
        who = account((PERP, 20_000), balances={"USDC": 2e8})
        got = ask(who, (PERP, 20_000))  # two billion dollars of notional
        assert got.accepted and got.rounding_usd < 1e-3
        short = account((PERP, 20_000), balances={"USDC": "199999999.99"})
        assert not ask(short, (PERP, 20_000)).accepted


class TestReducing:
    """Below initial margin: 10 coins at 50,000 need 50,000, and 1,000 are there."""

    under = account((PERP, 10), balances={"USDC": 1_000})

    @pytest.mark.parametrize("quantity", [-0.001, -5.0, -10.0, -15.0, -20.0])
    def test_risk_cutting_passes(self, quantity: float) -> None:
        got = ask(self.under, (PERP, quantity))
        assert got.accepted and got.reducing and got.rule == "reducing"
        assert "49,000.00" in got.reason or got.excess_usd > 0

    @pytest.mark.parametrize("quantity", [0.001, 1.0, -20.001, -25.0])
    def test_risk_adding_is_refused(self, quantity: float) -> None:
        got = ask(self.under, (PERP, quantity))
        assert not got.accepted and not got.reducing and got.rule == "refused"

    def test_reducing_at_a_price_that_costs_more_than_it_frees_is_refused(self) -> None:
        # Selling one coin frees 5,000 of margin and loses 5,001.
        assert ask(self.under, (PERP, -1, 45_000)).accepted
        assert not ask(self.under, (PERP, -1, 44_999)).accepted

    def test_a_hedge_passes_though_its_own_margin_would_not(self) -> None:
        # A short call against the long coin under the scan: every share of it lowers the scan.
        who = account((PERP, 1), balances={"USDC": 10})
        got = ask(who, (CALL, -0.5), ruleset=G)
        assert got.accepted and got.rule == "reducing"
        assert ask(who, (PUT, 1.0), ruleset=G).accepted
        assert not ask(who, (PUT, -0.1), ruleset=G).accepted

    def test_a_multi_leg_order_is_judged_whole(self) -> None:
        who = account((PERP, 1), balances={"USDC": 10})
        alone = ask(who, (CALL, 1.0), ruleset=G)
        together = ask(who, (CALL, 1.0), (PERP, -1.0), ruleset=G)
        assert not alone.accepted and together.accepted

    def test_one_share_that_harms_is_enough(self) -> None:
        """Both legs end where they began in risk, and half way one is far worse."""
        kinked = rules(flat_rate(0.10, 0.05))
        # Long 2 BTC becomes short 2 BTC while 0 ETH becomes long 60: ends worse.
        who = account((PERP, 2), balances={"USDC": 10})
        got = check_order(who, MARKET, kinked, order((PERP, -2.0), (ETH_PERP, 60.0)))
        assert not got.accepted

    def test_another_pool_below_its_margin_does_not_matter(self) -> None:
        pools = [{"id": "cross"}, {"id": "other"}]
        raw = {"instrument": PERP, "quantity": 10, "entry_price": "mark", "pool": "other"}
        who = account(raw, balances={"USDC": 5_000}, pools=pools)
        assert ask(who, (PERP, 1)).accepted
        assert not check_order(who, MARKET, CROSS, order((PERP, 1), pool="other")).accepted


class TestRestingOrders:
    def test_they_are_at_their_worst_fills(self) -> None:
        resting = [{"id": "r", "legs": [{"instrument": PERP, "quantity": 1}]}]
        who = account(balances={"USDC": 10_000}, orders=resting)
        assert ask(who, (PERP, 1)).accepted
        assert not ask(who, (PERP, 1.001)).accepted
        # On the other side it costs nothing until it is the larger one.
        assert ask(who, (PERP, -2.0)).accepted and not ask(who, (PERP, -2.001)).accepted

    def test_an_id_twice_is_refused(self) -> None:
        resting = [{"id": "new", "legs": [{"instrument": PERP, "quantity": 1}]}]
        with pytest.raises(InputError, match="INP-007"):
            ask(account(balances={"USDC": 10_000}, orders=resting), (PERP, 1))


class TestAfterTheFill:
    def test_the_haircut_of_bought_coins_counts(self) -> None:
        """Spot bought for cash turns 50,000 into 45,000 of collateral: worst fills miss that."""
        cut = rules(
            flat_rate(0.10, 0.05),
            collateral={
                "source": "s",
                "confidence": "house",
                "assets": {"BTC": {"haircut": 0.1}, "USDC": {}},
            },
        )
        for cash, accepted in ((60_000, True), (54_999, False), (55_000, True)):
            who = account((PERP, 10), balances={"USDC": cash})
            got = ask(who, ("BTC_USDC", 1), ruleset=cut)
            assert got.accepted is accepted, cash
            assert got.pots[0].equity_filled == pytest.approx(cash - 5_000)

    def test_debt_is_refused_when_not_wanted(self) -> None:
        who = account(balances={"BTC": 2, "USDC": 30_000})
        loose = scan_rules()
        assert ask(who, ("BTC_USDC", 1), ruleset=loose).accepted
        got = ask(who, ("BTC_USDC", 1), ruleset=loose, allow_debt=False)
        assert not got.accepted and got.rule == "debt" and "20,000.00" in got.reason
        assert ask(who, ("BTC_USDC", 0.6), ruleset=loose, allow_debt=False).accepted

    def test_margin_on_the_debt_counts(self) -> None:
        loan = component("borrow", "loan", im=0.2, mm=0.1)
        lent = rules(flat_rate(0.10, 0.05), loan)
        # Borrowing 20,000 at 20 % needs 4,000 of excess; spot itself needs none here.
        who = account((PERP, 1), balances={"BTC": "0.0", "USDC": 30_000})
        short = account((PERP, 5.3), balances={"USDC": 30_000})
        assert ask(who, ("BTC_USDC", 1), ruleset=lent).accepted
        got = ask(short, ("BTC_USDC", 1), ruleset=lent)
        assert not got.accepted
        assert got.pots[0].im_filled == pytest.approx(0.1 * 5.3 * 50_000 + 0.2 * 20_000)

    @pytest.mark.parametrize(
        "held, entry, quantity, price, inverse, wanted",
        [
            (0.0, 7.0, 2.0, 50.0, False, (2.0, 50.0, 0.0)),
            (2.0, 50.0, 2.0, 60.0, False, (4.0, 55.0, 0.0)),
            (2.0, 50.0, -1.0, 60.0, False, (1.0, 50.0, 10.0)),
            (2.0, 50.0, -2.0, 60.0, False, (0.0, 50.0, 20.0)),
            (2.0, 50.0, -3.0, 60.0, False, (-1.0, 60.0, 20.0)),
            (-2.0, 50.0, 3.0, 60.0, False, (1.0, 60.0, -20.0)),
            (100.0, 50.0, 100.0, 40.0, True, (200.0, 200 / 4.5, 0.0)),
            (100.0, 50.0, -100.0, 40.0, True, (0.0, 50.0, 100 / 50 - 100 / 40)),
        ],
    )
    def test_accounting_of_a_fill(self, held, entry, quantity, price, inverse, wanted) -> None:  # type: ignore[no-untyped-def]
        got = filled_row(held, entry, quantity, price, inverse=inverse)
        assert got == pytest.approx(wanted, rel=1e-12)


class TestFencedPositions:
    isolated = load_ruleset("isolated")

    @pytest.mark.parametrize("cash, accepted", [("1250", True), ("1249.99", False)])
    def test_the_wallet_pays_for_a_new_position(self, cash: str, accepted: bool) -> None:
        who = account(balances={"USDC": cash})
        got = check_order(who, MARKET, self.isolated, order((PERP, 1)))
        assert got.accepted is accepted

    @pytest.mark.parametrize("cash, accepted", [("2500", True), ("2499.99", False)])
    def test_and_for_what_is_added_to_one(self, cash: str, accepted: bool) -> None:
        who = account((PERP, 1), balances={"USDC": cash})
        assert check_order(who, MARKET, self.isolated, order((PERP, 1))).accepted is accepted

    def test_leverage_of_the_position_holds_for_what_is_added(self) -> None:
        raw = {"instrument": PERP, "quantity": 1, "entry_price": 50_000, "leverage": 10}
        for cash, accepted in ((10_000, True), (9_999.99, False)):
            who = account(raw, balances={"USDC": cash})
            got = check_order(who, MARKET, self.isolated, order((PERP, 1, 50_000)))
            assert got.accepted is accepted


class TestProtectMode:
    rich = account((PERP, 1), balances={"USDC": 1e6})

    def test_new_risk_is_refused_and_reducing_passes(self) -> None:
        got = ask(self.rich, (PERP, 1), allowed=("withdraw", "reduce"))
        assert not got.accepted and got.rule == "protect" and "no new risk" in got.reason
        assert ask(self.rich, (PERP, -1), allowed=("reduce",)).accepted
        assert ask(self.rich, (PERP, -2), allowed=()).accepted
        assert not ask(self.rich, (PERP, -2.001), allowed=()).accepted

    def test_with_new_risk_allowed_nothing_changes(self) -> None:
        assert ask(self.rich, (PERP, 1), allowed=("new-risk",)) == ask(self.rich, (PERP, 1))


class TestRefusals:
    def test_unpublished_order_margin(self) -> None:
        who = account(balances={"USDC": 1e6})
        with pytest.raises(RulesetError, match="RUL-032") as caught:
            ask(who, (PERP, 1), ruleset=load_ruleset("deribit-pm"))
        assert "worst-fill" in str(caught.value) and caught.value.account == "a"
        chosen = load_ruleset("deribit-pm", overrides={"orders.method": "worst-fill"})
        assert ask(who, (PERP, 1), ruleset=chosen).accepted

    def test_expired_contracts_cannot_be_ordered(self) -> None:
        later = MARKET.at(MARKET.as_of_ns + 40 * 86_400 * 10**9)
        with pytest.raises(MarginError, match="MRG-020"):
            check_order(account(balances={"USDC": 1e6}), later, CROSS, order((CALL, 1)))

    def test_unknown_instruments_and_pools(self) -> None:
        who = account(balances={"USDC": 1e6})
        with pytest.raises(InputError, match="INP-001"):
            ask(who, ("FOO", 1))
        with pytest.raises(InputError, match="INP-008"):
            check_order(who, MARKET, CROSS, order((PERP, 1), pool="nowhere"))
        with pytest.raises(InputError, match="INP-006"):
            ask(who, (PERP, 0))

    def test_an_account_is_left_as_it_was(self) -> None:
        who = account((PERP, 1), balances={"USDC": 1e6})
        before = msgspec.json.encode(who)
        ask(who, (PERP, 1), (ETH_PERP, -3))
        assert msgspec.json.encode(who) == before

    def test_settlement_pots_are_separate(self) -> None:
        """Coins do not stand behind an order that is settled in dollars."""
        sm = load_ruleset("deribit-sm", overrides={"orders.method": "worst-fill"})
        world = market({"BTC": 50_000, "USDC": 1.0}, marks={PERP: 50_000, "BTC-PERPETUAL": 50_000})
        who = account(balances={"BTC": 10})
        assert not check_order(who, world, sm, order((PERP, 1))).accepted
        assert check_order(who, world, sm, order(("BTC-PERPETUAL", 50_000))).accepted
