"""Every kind of event by hand: what moves, what is refused."""

from __future__ import annotations

import random
from decimal import Decimal
from fractions import Fraction

import pytest
from tests.helpers import PERP
from tests.ledgers import INVERSE, Venue

from crossmargin.accounts import Applied, average_entry, money_of, replay, unrealised
from crossmargin.accounts import events as ev
from crossmargin.accounts.events import Side

D = Decimal
CALL = "BTC_USDC-27MAR26-50000-C"
LATE = "2026-03-27T08:00:00Z"


@pytest.fixture
def v() -> Venue:
    made = Venue()
    made.perpetual()
    made.inverse()
    made.accounts("a", "b")
    for name in ("a", "b"):
        made.deposit(name, "100000")
        made.deposit(name, "2", "BTC")
    return made


def option(v: Venue, name: str = CALL, **fields: object) -> None:
    terms = {
        "type": "option",
        "underlying": "BTC",
        "quote": "USDC",
        "settlement": "USDC",
        "expiry": LATE,
        "strike": "50000",
        "right": "call",
        **fields,
    }
    v.do(ev.ListContract, instrument=name, **terms)


class TestFills:
    def test_weighted_average_entry_close_and_flip(self, v: Venue) -> None:
        v.fill("a", "b", "1", "50000")
        v.fill("a", "b", "3", "54000")
        position = v.state.pot("a").positions[PERP, "net"]
        assert average_entry(position) == 53_000
        v.fill("b", "a", "1", "55000")
        assert average_entry(position) == 53_000 and v.wallet("a") == 102_000
        v.fill("b", "a", "5", "56000")
        # 3 closed at 56,000 for 9,000; 2 short opened there.
        assert v.position("a") == -2 and v.wallet("a") == 111_000
        assert average_entry(position) == 56_000
        v.mark("55000")
        assert v.equity("a") == 113_000
        assert v.equity("a") + v.equity("b") == 200_000

    def test_against_a_slow_book_of_every_lot(self, v: Venue) -> None:
        """Average cost in exact fractions, on random fills: profit to within a quantum each."""
        rng = random.Random(5)
        held, cost, made = Fraction(0), Fraction(0), Fraction(0)
        for trades in range(1, 401):
            quantity = Fraction(rng.randrange(1, 300), 1000)
            price = Fraction(rng.randrange(400_000, 600_000), 10)
            sign = rng.choice((1, -1))
            sides = ("a", "b") if sign > 0 else ("b", "a")
            v.fill(*sides, str(float(quantity)), str(float(price)))
            change = sign * quantity
            if held * change < 0:
                closed = min(abs(held), abs(change)) * (1 if held > 0 else -1)
                made += closed * price - cost * closed / held
                cost -= cost * closed / held
                opened = change + closed
                cost += opened * price
            else:
                cost += change * price
            held += change
            line = v.state.pot("a").wallet("USDC").balance - 100_000 * 10**6
            assert abs(Fraction(line, 10**6) - made) <= Fraction(trades, 10**6)
        assert v.position("a") == D(str(float(held)))

    def test_inverse_long_gains_in_coin_when_the_price_rises(self, v: Venue) -> None:
        v.fill("a", "b", "50000", "50000", INVERSE)
        v.mark("62500", INVERSE)
        assert v.equity("a", "BTC") == D("2.2") and v.equity("b", "BTC") == D("1.8")
        v.fill("b", "a", "50000", "62500", INVERSE)
        assert v.wallet("a", "BTC") == D("2.2")
        assert v.state.contracts[INVERSE].realised == 0

    def test_hedge_legs_stand_side_by_side(self, v: Venue) -> None:
        v.accounts("h", legs="hedge")
        v.fill("h", "a", "2", "50000", legs=("long", "net"))
        v.fill("a", "h", "1", "51000", legs=("net", "short"))
        assert v.position("h", leg="long") == 2 and v.position("h", leg="short") == -1
        v.fill("h", "a", "1", "50000", legs=("short", "net"))
        assert v.wallet("h") == 1_000
        over = v.trade(PERP, "3", "50000", Side(account="a"), Side(account="h", leg="long"))
        assert "long leg" in v.refused("LED-008", ev.Fill, trade=over)
        no_leg = v.trade(PERP, "1", "50000", Side(account="a"), Side(account="h"))
        v.refused("LED-008", ev.Fill, trade=no_leg)
        legs = {"scope": "account", "target": "h", "name": "legs", "value": "net"}
        v.refused("LED-018", ev.SetParameter, **legs)

    def test_with_oneself_or_nobody(self, v: Venue) -> None:
        alone = v.trade(PERP, "1", "50000", Side(account="a"), Side(account="a"))
        v.refused("LED-008", ev.Fill, trade=alone)
        v.refused("LED-008", ev.Fill, trade=v.trade(PERP, "1", "50000", None, None))
        v.refused("LED-003", ev.Fill, trade=v.trade("X", "1", "1", Side(account="a"), None))

    def test_spot_moves_wallets_and_debts_need_leave(self, v: Venue) -> None:
        v.do(ev.ListContract, instrument="BTC_USDC", type="spot", underlying="BTC", quote="USDC",
             settlement="USDC")  # fmt: skip
        v.fill("a", "b", "1.5", "50000", "BTC_USDC", fees=("1", "2"))
        assert (v.wallet("a", "BTC"), v.wallet("a")) == (D("3.5"), D("24999"))
        assert (v.wallet("b", "BTC"), v.wallet("b")) == (D("0.5"), D("174998"))
        over = v.trade("BTC_USDC", "1", "50000", Side(account="a"), Side(account="b"))
        v.refused("LED-005", ev.Fill, trade=over)
        for name in "ab":
            v.do(ev.SetParameter, scope="account", target=name, name="borrowing", value="true")
        v.do(ev.Fill, trade=over)
        assert v.wallet("b", "BTC") == D("-0.5")

    def test_fees_in_another_asset_and_rebates(self, v: Venue) -> None:
        buyer = Side(account="a", fee="0.001", fee_asset="BTC")
        seller = Side(account="b", fee="-2.5")
        v.do(ev.Fill, trade=v.trade(PERP, "1", "50000", buyer, seller))
        assert v.wallet("a", "BTC") == D("1.999") and v.wallet("b") == D("100002.5")
        assert v.line("sys:fees", "BTC") == D("0.001") and v.line("sys:fees") == D("-2.5")


class TestOptions:
    def test_premium_at_once_then_expiry(self, v: Venue) -> None:
        option(v)
        v.fill("a", "b", "2", "1200", CALL)
        assert v.wallet("a") == 97_600 and v.wallet("b") == 102_400
        v.mark("1500", CALL)
        assert v.equity("a") == 100_600 and v.equity("b") == 99_400
        early = {"instrument": CALL, "price": "51000"}
        v.refused("LED-016", ev.Expiry, **early)
        v.do(ev.Expiry, time=LATE, **early)
        assert v.wallet("a") == 99_600 and v.wallet("b") == 100_400
        v.refused("LED-003", ev.Mark, prices={CALL: "1"})

    def test_margined_premium_is_paid_as_it_changes(self, v: Venue) -> None:
        option(v, premium="margined")
        v.fill("a", "b", "2", "1200", CALL)
        assert v.wallet("a") == 100_000
        v.do(ev.Expiry, time=LATE, instrument=CALL, price="40000")
        assert v.wallet("a") == 97_600 and v.wallet("b") == 102_400

    def test_settlement_on_an_average(self, v: Venue) -> None:
        option(v)
        v.fill("a", "b", "1", "1000", CALL)
        both = {"instrument": CALL, "price": "1", "samples": ("2",)}
        v.refused("LED-010", ev.Expiry, time=LATE, **both)
        v.refused("LED-010", ev.Expiry, time=LATE, instrument=CALL)
        v.do(ev.Expiry, time=LATE, instrument=CALL, samples=("50100", "50200", "50600"))
        assert v.wallet("a") == 99_300

    def test_in_coin_rounding_goes_to_its_line(self, v: Venue) -> None:
        """A put with K = 50,000 settled at 47,000 pays 3,000/47,000 coins, 0.06382978…"""
        v.accounts("c")
        option(v, "BTC-27MAR26-50000-P", quote="USD", settlement="BTC", right="put")
        name = "BTC-27MAR26-50000-P"
        v.fill("a", "b", "1", "0.05", name)
        v.fill("c", "b", "1", "0.05", name)
        v.do(ev.Expiry, time=LATE, instrument=name, price="47000")
        assert v.wallet("a", "BTC") == D("2") - D("0.05") + D("0.06382978")
        assert v.wallet("b", "BTC") == D("2") + D("0.1") - D("0.12765958")
        assert v.line("sys:rounding", "BTC") == D("0.00000002")
        assert v.line("sys:clearing", "BTC") == 0


class TestSession:
    @pytest.fixture
    def s(self, v: Venue) -> Venue:
        v.perpetual("ETH_USDC-PERPETUAL", underlying="ETH", session=True)
        v.fill("a", "b", "10", "3000", "ETH_USDC-PERPETUAL")
        return v

    def test_profit_counts_and_cannot_leave_until_it_settles(self, s: Venue) -> None:
        name = "ETH_USDC-PERPETUAL"
        s.fill("b", "a", "4", "3100", name)
        s.mark("3200", name)
        money = money_of(s.state, s.state.pot("a"), "USDC")
        assert s.text(money.session) == 400 and s.text(money.unrealised) == 1_200
        assert s.text(money.equity) == 101_600 and s.text(money.free) == 100_000
        s.refused("LED-005", ev.Withdrawal, account="a", asset="USDC", amount="100000.01")
        # The loser's loss can leave at once no more than the winner's gain.
        assert s.text(money_of(s.state, s.state.pot("b"), "USDC").free) == 99_600
        s.do(ev.SettleSession, asset="USDC")
        assert s.wallet("a") == 101_600 and s.wallet("b") == 98_400
        assert s.equity("a") == 101_600
        s.do(ev.SettleSession, asset="USDC")
        assert s.wallet("a") == 101_600
        s.mark("3000", name)
        assert s.equity("a") == 100_400

    def test_without_a_mark_it_is_refused(self, s: Venue) -> None:
        assert "never been marked" in s.refused("LED-010", ev.SettleSession, asset="USDC")


class TestMoney:
    def test_pending_deposit_posted_in_part(self, v: Venue) -> None:
        sent = v.deposit("a", "50", pending=True)
        assert v.wallet("a") == 100_000 and v.line("a/cross:arriving") == 50
        v.refused("LED-006", ev.Post, pending=sent.id, amount="50.000001")
        v.do(ev.Post, pending=sent.id, amount="20")
        assert v.wallet("a") == 100_020 and v.line("a/cross:arriving") == 0
        v.refused("LED-006", ev.Void, pending=sent.id)

    def test_voided_withdrawal_and_reservation_come_back(self, v: Venue) -> None:
        one = v.do(ev.Withdrawal, account="a", asset="USDC", amount="60000", pending=True)
        two = v.do(ev.Reserve, account="a", asset="USDC", amount="40000")
        assert v.wallet("a") == 0 and v.line("a/cross:held") == 100_000
        v.do(ev.Void, pending=one.id)
        v.do(ev.Post, pending=two.id)
        assert v.wallet("a") == 60_000 and v.line("sys:venue:wallet") == 40_000

    def test_a_withdrawal_under_way_stops_when_the_pot_is_liquidated(self, v: Venue) -> None:
        one = v.do(ev.Withdrawal, account="a", asset="USDC", amount="5", pending=True)
        v.do(ev.SetState, account="a", state="liquidating")
        v.refused("LED-012", ev.Post, pending=one.id)
        v.do(ev.Void, pending=one.id)
        assert v.wallet("a") == 100_000

    def test_a_loss_may_owe_but_nobody_withdraws_on_debt(self, v: Venue) -> None:
        v.do(ev.FeeCharge, account="a", asset="ETH", amount="1")
        assert v.wallet("a", "ETH") == -1
        v.refused("LED-005", ev.Withdrawal, account="a", asset="ETH", amount="0.1")

    def test_conversion_shows_its_spread(self, v: Venue) -> None:
        """0.5 BTC at 50,000 less 0.2 %: 25,000 fair, 50 of spread."""
        done = v.do(ev.Convert, account="a", source="BTC", amount="0.5", target="USDC",
                    price="50000", spread="0.002")  # fmt: skip
        spread = [t for t in done.transfers if t.code == "conversion_spread"]
        assert [t.amount for t in spread] == [50 * 10**6]
        assert v.wallet("a") == 124_950 and v.wallet("a", "BTC") == D("1.5")
        assert v.line("sys:conversion", "BTC") == D("0.5")

    def test_amounts_that_are_none(self, v: Venue) -> None:
        for amount in ("0", "-1", "1.0000001", "1e2"):
            v.refused("LED-001", ev.Deposit, account="a", asset="USDC", amount=amount)
        v.refused("LED-002", ev.Deposit, account="x", asset="USDC", amount="1")
        v.refused("LED-002", ev.Deposit, account="a", pot="x", asset="USDC", amount="1")
        v.refused("LED-004", ev.Deposit, account="a", asset="US:DC", amount="1")
        v.refused("LED-004", ev.OpenAccount, account="sys")
        v.refused("LED-004", ev.OpenAccount, account="a/b")
        v.refused("LED-004", ev.DefineAsset, asset="USDC", decimals=2)
        v.refused("INP-010", ev.Deposit, time="noon", account="a", asset="USDC", amount="1")


class TestInterestOfSuppliers:
    def test_debtors_pay_lenders_and_the_fund(self, v: Venue) -> None:
        """10,000 owed at 36.5 % for ten days: 100; a fifth to the fund, the rest by size."""
        v.accounts("c")
        v.deposit("c", "100000")
        v.do(ev.FeeCharge, account="b", asset="USDC", amount="110000")
        share = {"scope": "asset", "target": "USDC", "name": "fund_share", "value": "0.2"}
        v.do(ev.SetParameter, **share)
        v.do(ev.Interest, asset="USDC", elapsed_s=864_000, rate="0.365", compounding="periods",
             period_s=864_000, lender="suppliers")  # fmt: skip
        assert v.wallet("b") == -10_100
        assert v.wallet("a") == 100_040 and v.wallet("c") == 100_040
        assert v.line("sys:fund/main") == 20 and v.line("sys:interest") == 0

    def test_rate_from_the_curve(self, v: Venue) -> None:
        """Utilisation 0.5 on 2 % + 0.08·u is 6 %."""
        v.do(ev.FeeCharge, account="b", asset="USDC", amount="150000")
        for name, value in (("floor", "0.02"), ("slope", "0.08"), ("kink", "0.85")):
            v.do(ev.SetParameter, scope="asset", target="USDC", name=f"curve_{name}", value=value)
        v.do(ev.Interest, asset="USDC", elapsed_s=31_536_000)
        assert v.line("b/cross:owed") == -3_000

    def test_an_unknown_parameter_is_refused(self, v: Venue) -> None:
        told = v.refused("LED-018", ev.SetParameter, scope="asset", target="USDC", name="curve",
                         value="1")  # fmt: skip
        assert "curve_floor" in told


class TestCorrectionsAndTerms:
    def test_bust_takes_a_fill_back_with_its_fees(self, v: Venue) -> None:
        v.fill("a", "b", "1", "50000", fees=("25", "-5"))
        busted = v.log[-1]
        v.fill("b", "a", "3", "52000")
        v.mark("51000")
        before = v.equity("a"), v.equity("b")
        v.do(ev.Bust, fill=busted, reason="price off the market")
        assert v.position("a") == -3
        # Without the fill: −3 at 52,000 alone, worth 3,000 at 51,000.
        assert v.equity("a") == 103_000 and v.equity("b") == 97_000
        assert before == (D("103975"), D("96005"))
        assert v.line("sys:fees") == 0
        v.refused("LED-014", ev.Bust, fill=busted)

    def test_redenomination_keeps_every_value(self, v: Venue) -> None:
        v.fill("a", "b", "1.5", "50000")
        fill = v.log[-1]
        v.mark("51000")
        before = v.equity("a")
        v.do(ev.Redenominate, instrument=PERP, into=1000)
        assert v.position("a") == 1_500 and v.equity("a") == before == 101_500
        v.fill("b", "a", "1500", "51000")
        assert v.wallet("a") == 101_500
        assert "changed its terms" in v.refused("LED-014", ev.Bust, fill=fill)
        v.fill("a", "b", "0.00000001", "50000")
        v.refused("LED-015", ev.Redenominate, instrument=PERP, into=1, each=1000)
        v.refused("LED-015", ev.Redenominate, instrument=PERP, into=7)

    def test_odd_parts_of_a_redenomination_are_closed_at_a_price(self, v: Venue) -> None:
        """A thousand become one, then six four: what does not divide goes to the venue first."""
        name = "PEPE_USDC-PERPETUAL"
        v.do(ev.ListContract, instrument=name, type="perpetual", underlying="PEPE", quote="USDC",
             settlement="USDC", quantity_decimals=0)  # fmt: skip
        v.accounts("h", legs="hedge")
        v.fill("a", "b", "1500", "0.02", name)
        long = v.trade(name, "2700", "0.02", Side(account="h", leg="long"), Side(account="b"))
        v.do(ev.Fill, trade=long)
        short = v.trade(name, "500", "0.02", None, Side(account="h", leg="short"))
        v.do(ev.Fill, trade=short)
        v.mark("0.03", name)
        v.refused("LED-015", ev.Redenominate, instrument=name, into=1, each=1000)
        before = {who: v.equity(who) for who in ("a", "b", "h")}
        v.do(ev.Redenominate, instrument=name, into=1, each=1000, price="0.025")
        kept = {p.leg: p.held.balance for p in v.state.pot("h").open_positions()}
        assert (v.position("a", name), v.position("b", name), kept) == (1, -4, {"long": 2})
        assert v.state.contracts[name].size == 1000 * 10**18
        # Odd: 500 of a, 200 of b (short), 700 and 500 (short) of h, closed 0.005 off the mark.
        off = {"a": D("-2.5"), "b": D("1"), "h": D("-3.5") + D("2.5")}
        assert {who: v.equity(who) - before[who] for who in before} == off
        assert replay(v.log).digest() == v.state.digest()
        # Two for three: what is no multiple of 3 goes first.
        v.refused("LED-015", ev.Redenominate, instrument=name, into=4, each=6)
        v.do(ev.Redenominate, instrument=name, into=4, each=6, price="0.03")
        assert (v.position("a", name), v.position("b", name)) == (0, -2)
        assert not v.state.pot("h").open_positions()

    def test_delisting_closes_everybody(self, v: Venue) -> None:
        v.fill("a", "b", "1", "50000")
        v.do(ev.Delist, instrument=PERP, price="49000")
        assert v.wallet("a") == 99_000 and v.wallet("b") == 101_000
        trade = v.trade(PERP, "1", "1", Side(account="a"), None)
        assert "closed" in v.refused("LED-003", ev.Fill, trade=trade)

    def test_listing_needs_the_terms_of_its_kind(self, v: Venue) -> None:
        terms = {"underlying": "BTC", "quote": "USDC", "settlement": "USDC"}
        v.refused("LED-003", ev.ListContract, instrument="F", type="future", **terms)
        v.refused("LED-003", ev.ListContract, instrument="P", type="perpetual", strike="1", **terms)
        v.refused(
            "LED-003", ev.ListContract, instrument="P", type="perpetual", right="put", **terms
        )
        v.refused("LED-004", ev.ListContract, instrument=PERP, type="perpetual", **terms)


class TestSeveralAtOnce:
    def test_a_block_is_all_or_nothing(self, v: Venue) -> None:
        one = v.trade(PERP, "1", "50000", Side(account="a"), Side(account="b"))
        two = v.trade(INVERSE, "50000", "50000", Side(account="b"), Side(account="nobody"))
        v.refused("LED-002", ev.Block, trades=[one, two])
        assert v.position("a") == 0
        good = v.trade(INVERSE, "50000", "50000", Side(account="b"), Side(account="a"))
        v.guard = lambda state, pots: (
            None if {p.name for p in pots} == {"a/cross", "b/cross"} else "other pots"
        )
        v.do(ev.Block, trades=[one, good])
        v.guard = lambda state, pots: f"{pots[0].name} is short"
        told = v.refused("LED-009", ev.Block, trades=[one, good])
        assert "a/cross is short" in told and v.position("a") == 1

    def test_a_position_moves_at_entry_or_at_a_price(self, v: Venue) -> None:
        v.accounts("c")
        v.fill("a", "b", "3", "50000")
        v.do(ev.MovePosition, instrument=PERP, quantity="1", source=Side(account="a"),
             target=Side(account="c"))  # fmt: skip
        assert v.position("c") == 1 and v.wallet("a") == 100_000 and v.wallet("c") == 0
        assert average_entry(v.state.pot("c").positions[PERP, "net"]) == 50_000
        v.do(ev.MovePosition, instrument=PERP, quantity="2", source=Side(account="b", fee="3"),
             target=Side(account="c"), price="51000")  # fmt: skip
        # The short of 2 moves at 51,000: b loses 2,000, c closes 1 for 1,000 and is short 1.
        assert v.wallet("b") == 97_997 and v.wallet("c") == 1_000 and v.position("c") == -1
        v.refused("LED-011", ev.MovePosition, instrument=PERP, quantity="3",
                  source=Side(account="a"), target=Side(account="c"))  # fmt: skip


class TestLastResorts:
    def test_a_step_never_flips_and_never_grows(self, v: Venue) -> None:
        v.fill("a", "b", "1", "50000")
        step = {"instrument": PERP, "price": "49000", "account": "a"}
        v.refused("LED-011", ev.LiquidationStep, quantity="1.00000001", **step)
        v.do(ev.LiquidationStep, quantity="0.4", fee="7", **step)
        v.do(ev.LiquidationStep, quantity="0.1", fee="3", fee_to="liquidator",
             counterparty=Side(account="b", fee="1"), **step)  # fmt: skip
        assert v.position("a") == D("0.5") and v.position("b") == D("-0.9")
        assert v.wallet("a") == 100_000 - 500 - 10
        assert v.line("sys:fund/main") == 7 and v.line("sys:liquidator:wallet") == 3

    def test_takeover_then_adl_against_the_liquidator(self, v: Venue) -> None:
        v.accounts("c")
        v.fill("a", "b", "2", "50000")
        v.fill("a", "c", "1", "50000")
        v.do(ev.Takeover, instrument=PERP, quantity="3", price="17000", account="a")
        assert v.wallet("a") == 1_000 and v.position("a") == 0
        shares = [ev.AdlShare(account="b", quantity="2"), ev.AdlShare(account="c", quantity="1")]
        wrong = [ev.AdlShare(account="c", quantity="1.1")]
        adl = {"instrument": PERP, "price": "17000", "account": "sys", "pot": "liquidator"}
        v.refused("LED-011", ev.Adl, against=wrong, **adl)
        v.do(ev.Adl, against=shares, **adl)
        assert v.line("sys:liquidator:wallet") == 0
        assert v.wallet("b") == 166_000 and v.wallet("c") == 33_000

    def test_adl_needs_the_other_side(self, v: Venue) -> None:
        v.accounts("c")
        v.fill("a", "b", "1", "50000")
        v.fill("c", "b", "1", "50000")
        v.refused("LED-011", ev.Adl, instrument=PERP, price="1", account="a",
                  against=[ev.AdlShare(account="c", quantity="1")])  # fmt: skip

    def test_a_fund_is_never_overdrawn(self, v: Venue) -> None:
        v.do(ev.FundPayIn, group="main", asset="USDC", amount="10")
        v.refused("LED-005", ev.FundPayIn, group="main", asset="USDC", amount="1", source="fees")
        v.do(ev.FeeCharge, account="a", asset="USDC", amount="100020")
        place = ev.Place(account="a")
        v.refused("LED-013", ev.FundCover, group="main", target=place, asset="USDC", amount="10.1")
        v.do(ev.FundCover, group="main", target=place, asset="USDC", amount="10")
        v.refused("LED-013", ev.SocialisedLoss, target=place, asset="USDC",
                  shares=[ev.LossShare(account="a", amount="1")])  # fmt: skip
        assert v.wallet("a") == -10


def test_every_log_here_replays_to_the_same_transfers(v: Venue) -> None:
    option(v)
    v.fill("a", "b", "1", "50000", fees=("1", "1"))
    v.mark("51000")
    v.do(ev.Funding, instrument=PERP, rate="0.0001")
    again = replay(v.log)
    assert again.digest() == v.state.digest()
    assert unrealised(again.pot("a").positions[PERP, "net"]) == 1_000 * 10**6
    assert not isinstance(v.post(v.log[0]), Applied)
