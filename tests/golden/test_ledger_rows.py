"""Rows of the requirements that the ledger answers, to the cent."""

from __future__ import annotations

import random
from decimal import Decimal
from fractions import Fraction

import pytest
from tests.helpers import (
    ETH_PERP,
    PERP,
    account,
    component,
    fixture_g,
    flat_rate,
    market,
    rules,
)
from tests.ledgers import INVERSE, TIME, Venue

from crossmargin.accounts import (
    LADDER,
    AccountState,
    Applied,
    Ladder,
    MarginGuard,
    State,
    account_tree,
    apply,
    margin_lines,
    money_of,
    next_states,
    open_interest,
    order_allowed,
    project_account,
    project_book,
    replay,
    timeline,
    withdrawable,
)
from crossmargin.accounts import events as ev
from crossmargin.book import OrderEntry, OrderLeg, book_from_accounts
from crossmargin.margin import evaluate, evaluate_book, frame_for, liquidation_prices, load_ruleset
from crossmargin.market import funding_rate, funding_rule

D = Decimal


class TestA22MarginAccounting:
    """i = 10 %, m = 5 %, fee 0.05 %: the sequence of the row, one-sided against the venue."""

    @pytest.fixture
    def venue(self) -> Venue:
        v = Venue()
        v.perpetual()
        v.accounts("a")
        v.deposit("a", "10000")
        v.fill("a", None, "1", "50000", fees=("25", "0"))
        v.mark("51000")
        v.do(ev.Funding, instrument=PERP, rate="0.0001")
        v.fill(None, "a", "0.4", "51000", fees=("0", "10.2"))
        return v

    def test_wallet_equity_available_and_margin_ratio(self, venue: Venue) -> None:
        assert venue.wallet("a") == D("10359.70")
        assert venue.equity("a") == D("10959.70")
        snapshot = market({"BTC": 51_000.0, "USDC": 1.0}, marks={PERP: 51_000.0})
        (line,) = margin_lines(venue.state, "a", snapshot, rules(flat_rate(0.10, 0.05))).values()
        assert round(line.equity_im, 2) == 10_959.70
        assert round(line.available, 2) == 7_899.70
        assert round(100 * line.mm / line.equity_mm, 2) == 13.96

    def test_by_the_ledgers_own_lines(self, venue: Venue) -> None:
        """By hand: 10,000 − 25 − 51,000·0.0001 + 0.4·1,000 − 10.20."""
        assert D("10000") - 25 - D("5.1") + 400 - D("10.2") == D("10359.70")
        assert venue.line("sys:fees") == D("35.2")
        assert venue.line(f"a/cross:cost:{PERP}:net") == D("-30000")
        assert venue.line("sys:world") == -10_000
        money = money_of(venue.state, venue.state.pot("a"), "USDC")
        assert venue.text(money.unrealised) == 600

    def test_replay_and_duplicates(self, venue: Venue) -> None:
        assert replay(venue.log).digest() == venue.state.digest()
        for event in venue.log:
            venue.again(event)

    def test_same_id_other_content_is_refused(self, venue: Venue) -> None:
        told = venue.refused(
            "LED-007", ev.FeeCharge, id="e3", account="a", asset="USDC", amount="1"
        )
        assert "other content" in told


class TestA04SwitchOfMode:
    """A switch is a transfer between pots, refused when either pot falls below IM."""

    rules = rules(flat_rate(0.10, 0.05))
    snapshot = market({"BTC": 50_000.0, "USDC": 1.0}, marks={PERP: 50_000.0})

    @pytest.fixture
    def venue(self) -> Venue:
        v = Venue()
        v.perpetual()
        v.accounts("a")
        v.deposit("a", "20000")
        v.do(ev.OpenPot, account="a", pot="iso")
        v.fill("a", None, "1", "50000")
        v.mark("50000")
        v.guard = MarginGuard(self.snapshot, self.rules)
        return v

    def switch(self, source: str, target: str, amount: str) -> dict[str, str]:
        return {
            "account": "a",
            "instrument": PERP,
            "source": source,
            "target": target,
            "amount": amount,
        }

    def test_back_and_forth_changes_total_funds_by_nothing(self, venue: Venue) -> None:
        start = venue.state.pot("a").wallet("USDC").balance
        for _ in range(3):
            venue.do(ev.SwitchMode, **self.switch("cross", "iso", "5000"))
            assert venue.position("a", pot="iso") == 1 and venue.position("a") == 0
            assert venue.wallet("a", pot="iso") == 5_000
            venue.do(ev.SwitchMode, **self.switch("iso", "cross", "5000"))
        assert venue.state.pot("a").wallet("USDC").balance == start
        assert venue.line(f"a/cross:cost:{PERP}:net") == -50_000

    def test_refused_below_initial_margin(self, venue: Venue) -> None:
        told = venue.refused("LED-009", ev.SwitchMode, **self.switch("cross", "iso", "4999.99"))
        assert "initial margin of 5,000.00" in told
        # The other pot: a second position stays behind and needs what would leave.
        venue.guard = None
        venue.do(ev.ListContract, instrument=ETH_PERP, type="perpetual", underlying="ETH",
                 quote="USDC", settlement="USDC")  # fmt: skip
        venue.fill("a", None, "40", "3000", ETH_PERP)
        venue.mark("3000", ETH_PERP)
        both = market(
            {"BTC": 50_000.0, "ETH": 3_000.0, "USDC": 1.0},
            marks={PERP: 50_000.0, ETH_PERP: 3_000.0},
        )
        venue.guard = MarginGuard(both, self.rules)
        told = venue.refused("LED-009", ev.SwitchMode, **self.switch("cross", "iso", "8000.01"))
        assert "a/cross" in told
        venue.do(ev.SwitchMode, **self.switch("cross", "iso", "8000"))

    def test_the_two_modes_on_the_rows_path(self) -> None:
        """50,000 → 40,000 → 50,000: isolated ends at 15,000, cross at 20,000."""
        for isolated, end in ((True, 15_000), (False, 20_000)):
            v = Venue()
            v.perpetual()
            v.accounts("a")
            v.deposit("a", "20000")
            v.do(ev.OpenPot, account="a", pot="iso")
            v.fill("a", None, "1", "50000")
            if isolated:
                v.do(ev.SwitchMode, **self.switch("cross", "iso", "5000"))
            for price in ("47368", "40000", "50000"):
                v.mark(price)
                there = market({"BTC": float(price), "USDC": 1.0}, marks={PERP: float(price)})
                states = next_states(v.state, "a", there, self.rules, Ladder(warning=1.0, band=0.0))
                if states["iso"] == "liquidating":
                    # Full forfeiture: taken over at the price at which the pot holds nothing.
                    v.do(ev.Takeover, instrument=PERP, quantity="1", price="45000", account="a",
                         pot="iso")  # fmt: skip
                assert states["cross"] == "healthy"
            assert v.equity("a") + v.equity("a", pot="iso") == end


class TestA05AndA15TakenThroughTheLedger:
    """The amounts that the row's policies close leave the account as the row says."""

    def test_btc_first(self) -> None:
        v = Venue()
        v.perpetual()
        v.perpetual(ETH_PERP, underlying="ETH")
        v.accounts("a")
        v.deposit("a", "10000")
        v.fill("a", None, "2", "50000")
        v.fill("a", None, "20", "3000", ETH_PERP)
        v.mark("46000")
        v.mark("3000", ETH_PERP)
        assert v.equity("a") == 2_000
        there = market(
            {"BTC": 46_000.0, "ETH": 3_000.0, "USDC": 1.0},
            marks={PERP: 46_000.0, ETH_PERP: 3_000.0},
        )
        need = rules(flat_rate(0.10, 0.05))
        (line,) = margin_lines(v.state, "a", there, need).values()
        assert line.mm == pytest.approx(4_600 + 3_000)
        v.do(ev.LiquidationStep, instrument=PERP, quantity="2", price="46000", account="a")
        v.do(
            ev.LiquidationStep,
            instrument=ETH_PERP,
            quantity="6.66666667",
            price="3000",
            account="a",
        )
        (line,) = margin_lines(v.state, "a", there, need).values()
        assert v.equity("a") == 2_000 and 0 <= line.equity_mm - line.mm < 1e-4

    def test_short_leg_goes_alone(self) -> None:
        """A15: the short's pot holds 2,619.05 when it is closed at 52,380.95."""
        v = Venue()
        v.perpetual()
        v.accounts("a")
        v.do(ev.OpenPot, account="a", pot="short")
        v.deposit("a", "5000", pot="short")
        v.fill(None, "a", "1", "50000", pots=("cross", "short"))
        v.do(ev.LiquidationStep, instrument=PERP, quantity="1", price="52380.952381", account="a",
             pot="short")  # fmt: skip
        assert round(v.wallet("a", pot="short"), 2) == D("2619.05")


class TestA13GapLoss:
    """A gap from 50,000 to 25,000: trader's loss + deficit = 25,000 in both modes."""

    @pytest.mark.parametrize(
        ("pot", "funds", "deficit"), [("iso", "5000", 20_000), ("cross", "20000", 5_000)]
    )
    def test_the_deficit(self, pot: str, funds: str, deficit: int) -> None:
        v = Venue()
        v.perpetual()
        v.accounts("a", "b")
        v.do(ev.OpenPot, account="a", pot="iso")
        v.deposit("a", "20000")
        v.deposit("b", "50000")
        if pot == "iso":
            home, other = ev.Place(account="a"), ev.Place(account="a", pot="iso")
            v.do(ev.MoveMoney, source=home, target=other, asset="USDC", amount=funds)
        v.fill("a", "b", "1", "50000", pots=(pot, "cross"))
        v.do(ev.LiquidationStep, instrument=PERP, quantity="1", price="25000", account="a", pot=pot)
        assert v.wallet("a", pot=pot) == -deficit
        assert int(funds) + deficit == 25_000
        # The waterfall: what the fund has, then the rest shared; no layer more than is lacking.
        v.do(ev.FundPayIn, group="main", asset="USDC", amount="1000")
        place = ev.Place(account="a", pot=pot)
        v.refused("LED-013", ev.FundCover, group="main", target=place, asset="USDC", amount="1001")
        v.do(ev.FundCover, group="main", target=place, asset="USDC", amount="1000")
        shares = [ev.LossShare(account="b", amount=str(deficit - 1_000))]
        v.do(ev.SocialisedLoss, target=place, asset="USDC", shares=shares)
        assert v.wallet("a", pot=pot) == 0
        assert v.line("sys:fund/main") == 0 and v.line("sys:socialised") == 0
        more = [ev.LossShare(account="b", amount="0.000001")]
        v.refused("LED-013", ev.SocialisedLoss, target=place, asset="USDC", shares=more)


class TestA18Perpetuals:
    def test_funding_of_two_coins(self) -> None:
        """Premium 0.10 % and 0.03 % at interest 0.01 %; long 2 at 50,000 pays 10 at 0.01 %."""
        rule = funding_rule("gate")
        assert funding_rate(rule, 0.0010).rate == pytest.approx(0.0005)
        rate = funding_rate(rule, 0.0003).rate
        assert rate == pytest.approx(0.0001)
        v = Venue()
        v.perpetual()
        v.accounts("a", "b", "c")
        v.fill("a", "b", "2", "50000")
        v.fill("c", "b", "0.333", "50000")
        v.mark("50000")
        done = v.do(ev.Funding, instrument=PERP, rate="0.0001")
        assert v.wallet("a") == -10
        assert sum(v.wallet(x) for x in "abc") + v.line("sys:rounding") == 0
        assert v.line("sys:funding") == 0
        assert all(t.amount > 0 for t in done.transfers)

    def test_a_negative_rate_pays_longs_and_an_index_grows_by_the_time(self) -> None:
        v = Venue()
        v.perpetual()
        v.accounts("a", "b")
        v.fill("a", "b", "3", "50000")
        v.do(ev.Funding, instrument=PERP, rate="-0.0002", price="40000", elapsed_s=900,
             interval_s=3600)  # fmt: skip
        assert v.wallet("a") == 6 and v.wallet("b") == -6

    def test_inverse_funding_and_liquidation_price(self) -> None:
        """50,000 USD long at 50,000 with 0.1 BTC: funding in coin, liquidated at 47,727.27."""
        v = Venue()
        v.inverse()
        v.accounts("a")
        v.deposit("a", "0.1", "BTC")
        v.fill("a", None, "50000", "50000", INVERSE)
        v.mark("50000", INVERSE)
        assert v.equity("a", "BTC") == D("0.1")
        there = market({"BTC": 50_000.0}, marks={INVERSE: 50_000.0})
        need = rules(flat_rate(0.10, 0.05))
        (found,) = liquidation_prices(frame_for(project_book(v.state), there, need))
        assert found.down.price_usd == pytest.approx(47_727.27, abs=0.01)
        v.do(ev.Funding, instrument=INVERSE, rate="0.0001")
        assert v.wallet("a", "BTC") == D("0.0999")


class TestA21OpenInterest:
    def test_the_rows_sequence(self) -> None:
        v = Venue()
        v.perpetual()
        v.accounts("A", "B", "C")
        contract = v.state.contracts[PERP]
        seen = []
        for buyer, seller, quantity in (("A", "B", "5"), ("C", "A", "2"), ("B", "A", "3")):
            v.fill(buyer, seller, quantity, "100")
            seen.append(open_interest(contract) / 10**8)
        assert seen == [5, 5, 2]
        assert [v.position(x) for x in "ABC"] == [0, -2, 2]

    def test_longs_equal_shorts_through_trades_expiry_and_adl(self) -> None:
        """10,000 random trades and closes by ADL, then the contract expires."""
        rng, state = random.Random(21), State()
        name, names = "BTC-27MAR26", [f"a{n}" for n in range(12)]
        begin: list[ev.EventBase] = [
            ev.ListContract(id="l", time=TIME, instrument=name, type="future", underlying="BTC",
                            quote="USD", settlement="USDC", expiry="2026-03-27T08:00:00Z")
        ]  # fmt: skip
        begin += [ev.OpenAccount(id=n, time=TIME, account=n) for n in names]
        for event in begin:
            assert isinstance(apply(state, event), Applied)
        contract = state.contracts[name]
        slow = dict.fromkeys(names, 0)
        deleveraged = 0
        for number in range(10_000):
            one, two = rng.sample(names, 2)
            quantity = rng.randrange(1, 500)
            head = {"id": f"t{number}", "time": TIME}
            closing = slow[one] * slow[two] < 0 and rng.random() < 0.2
            event: ev.EventBase
            if closing:
                quantity = min(abs(slow[one]), abs(slow[two]))
                share = ev.AdlShare(account=two, quantity=f"0.{quantity:08d}")
                event = ev.Adl(**head, instrument=name, price="50000", account=one, against=[share])
                deleveraged += 1
                buyer, seller = (two, one) if slow[one] > 0 else (one, two)
            else:
                buyer, seller = one, two
                trade = ev.Trade(
                    instrument=name,
                    quantity=f"0.{quantity:08d}",
                    price=str(rng.randrange(1, 99_999)),
                    buyer=ev.Side(account=buyer),
                    seller=ev.Side(account=seller),
                )
                event = ev.Fill(**head, trade=trade)
            assert isinstance(apply(state, event), Applied)
            slow[buyer] += quantity
            slow[seller] -= quantity
            held = [p.held.balance for p in contract.holders.values()]
            assert sum(q for q in held if q > 0) == -sum(q for q in held if q < 0)
            assert open_interest(contract) == sum(q for q in slow.values() if q > 0)
        state.audit()
        assert deleveraged > 100
        late = ev.Expiry(id="x", time="2026-03-27T08:00:00Z", instrument=name, price="51234.5")
        assert isinstance(apply(state, late), Applied)
        state.audit()
        assert open_interest(contract) == 0
        total = sum(state.pot(n).wallet("USDC").balance for n in names)
        assert total + state.ledger.balance("sys:rounding", "USDC") == 0
        assert 0 <= state.ledger.balance("sys:rounding", "USDC") < len(names)


class TestA26MarginAccount:
    @pytest.fixture
    def venue(self) -> Venue:
        v = Venue()
        v.do(ev.DefineAsset, asset="USDC", decimals=12)
        v.accounts("a")
        v.deposit("a", "1", "BTC")
        v.do(ev.Borrow, account="a", asset="USDC", amount="20000")
        return v

    def interest(self, **fields: object) -> dict[str, object]:
        return {"asset": "USDC", "elapsed_s": 86_400, "rate": "0.10", **fields}

    def test_simple_interest_of_a_day(self, venue: Venue) -> None:
        venue.do(ev.Interest, **self.interest())
        owed = venue.state.ledger.balance("a/cross:owed", "USDC")
        assert round(Fraction(-owed, 10**12), 6) == Fraction("5.479452")
        venue.do(ev.Interest, **self.interest())
        assert venue.state.ledger.balance("a/cross:owed", "USDC") == 2 * owed

    def test_compounded_hourly(self, venue: Venue) -> None:
        venue.do(ev.Interest, **self.interest(compounding="periods", period_s=3_600))
        loan = venue.state.ledger.balance("a/cross:loan", "USDC")
        assert round(Fraction(-loan, 10**12) - 20_000, 6) == Fraction("5.480171")

    def test_an_event_an_hour_is_the_same(self, venue: Venue) -> None:
        for _ in range(24):
            venue.do(ev.Interest, **self.interest(elapsed_s=3_600, compounding="periods",
                                                  period_s=3_600))  # fmt: skip
        loan = venue.state.ledger.balance("a/cross:loan", "USDC")
        assert round(Fraction(-loan, 10**12) - 20_000, 6) == Fraction("5.480171")

    def test_repaying_interest_first(self, venue: Venue) -> None:
        venue.do(ev.Interest, **self.interest())
        venue.refused("LED-005", ev.Repay, account="a", asset="USDC", amount="20005.47")
        venue.do(ev.Repay, account="a", asset="USDC", amount="10000")
        assert venue.state.ledger.balance("a/cross:owed", "USDC") == 0
        assert venue.line("sys:interest") != 0

    def test_liquidation_at_105_percent_of_the_debt(self, venue: Venue) -> None:
        """1 BTC at a 10 % haircut against 20,000: 20,000·1.05/0.9 = 23,333.33."""
        venue.do(ev.Withdrawal, account="a", asset="USDC", amount="20000")
        need = rules(
            component("borrow", "loan", im=0.05, mm=0.05),
            collateral={
                "source": "s",
                "confidence": "house",
                "assets": {"default": {"haircut": 0.1}, "USDC": {"haircut": 0.0}},
                "haircut_levels": ["im", "mm"],
            },
            combine={"im": "0", "mm": "0"},
        )
        for price, state in ((23_333.34, "healthy"), (23_333.33, "liquidation")):
            there = market({"BTC": price, "USDC": 1.0})
            (line,) = margin_lines(venue.state, "a", there, need).values()
            assert line.mm == pytest.approx(1_000.0)
            assert line.state == state

    def test_states_change_exactly_at_their_thresholds_both_ways(self) -> None:
        """IM 1,000, MM 500, warning at 1.25 IM, band 2 %: lines 1,250, 1,000, 500 and 0."""
        ladder = Ladder(warning=1.25, band=0.02)
        down = [1_250, 1_249.99, 1_000, 999.99, 500, 499.99, 0, -0.01]
        want: list[AccountState] = [
            "healthy", "warning", "warning", "reduce-only", "reduce-only", "liquidating",
            "liquidating", "bankrupt",
        ]  # fmt: skip
        now: AccountState = "healthy"
        for equity, expected in zip(down, want):
            now = ladder.state(equity, 1_000, 500, now)
            assert now == expected
        up = [-0.01, 0, 509.99, 510, 1_019.99, 1_020, 1_274.99, 1_275]
        back: list[AccountState] = [
            "bankrupt", "liquidating", "liquidating", "reduce-only", "reduce-only", "warning",
            "warning", "healthy",
        ]  # fmt: skip
        for equity, expected in zip(up, back):
            now = ladder.state(equity, 1_000, 500, now)
            assert now == expected
        assert ladder.state(-1, 1_000, 500, "healthy") == "bankrupt"
        assert ladder.state(9_999, 1_000, 500, "bankrupt") == "healthy"

    def test_a_price_that_trembles_on_the_line_changes_the_state_once(self) -> None:
        ladder = Ladder(warning=1.25, band=0.02)
        rows = [(n, 1_000.0 + (5 if n % 2 else -5), 1_000.0, 500.0) for n in range(50)]
        assert len(timeline(ladder, rows, "warning")) == 1
        shaky = timeline(Ladder(warning=1.25, band=0.0), rows, "warning")
        assert len(shaky) == 50

    def test_what_reduce_only_allows(self) -> None:
        v = Venue()
        v.perpetual()
        v.accounts("a")
        v.deposit("a", "10000")
        v.fill("a", None, "1", "50000")
        v.mark("44000")
        there = market({"BTC": 44_000.0, "USDC": 1.0}, marks={PERP: 44_000.0})
        need = rules(flat_rate(0.10, 0.05))
        states = next_states(v.state, "a", there, need, Ladder(warning=1.25, band=0.02))
        assert states == {"cross": "reduce-only"}
        v.do(ev.SetState, account="a", state=states["cross"])
        told = v.refused("LED-012", ev.Withdrawal, account="a", asset="USDC", amount="1")
        assert "reduce-only" in told and "healthy or warning" in told

        def order(quantity: float) -> str | None:
            entry = OrderEntry(id="o", legs=[OrderLeg(instrument=PERP, quantity=quantity)])
            return order_allowed(v.state, "a", entry, there, need)

        assert order(-0.1) is None
        assert "adds risk" in str(order(0.1))
        v.deposit("a", "10000")
        assert next_states(v.state, "a", there, need, Ladder(warning=1.25, band=0.02)) == {
            "cross": "healthy"
        }
        v.do(ev.SetState, account="a", state="liquidating")
        assert "only the liquidator" in str(order(-0.1))
        trade = v.trade(PERP, "0.1", "44000", None, ev.Side(account="a"))
        v.refused("LED-012", ev.Fill, trade=trade)
        assert tuple(LADDER) == ("healthy", "warning", "reduce-only", "liquidating", "bankrupt")

    def test_withdrawal_is_limited_by_equity_less_im(self) -> None:
        v = Venue()
        v.perpetual()
        v.accounts("a")
        v.deposit("a", "10000")
        v.fill("a", None, "1", "50000")
        v.mark("51000")
        there = market({"BTC": 51_000.0, "USDC": 1.0}, marks={PERP: 51_000.0})
        need = rules(flat_rate(0.10, 0.05))
        v.guard = MarginGuard(there, need)
        # Equity 11,000 less IM 5,100 is 5,900.
        v.refused("LED-009", ev.Withdrawal, account="a", asset="USDC", amount="5900.01")
        v.do(ev.Withdrawal, account="a", asset="USDC", amount="5900")
        money = money_of(v.state, v.state.pot("a"), "USDC")
        assert withdrawable(money, 0) == 0 and withdrawable(money, 10**15) == money.free

    @pytest.mark.parametrize("linked", [False, True])
    def test_a_sub_account_is_untouched_by_anothers_bankruptcy_unless_linked(
        self, linked: bool
    ) -> None:
        v = Venue()
        v.perpetual()
        v.accounts("main")
        v.accounts("A", parent="main")
        v.accounts("B", parent="main", ring_fenced=not linked)
        v.accounts("stranger", ring_fenced=False)
        for name in ("A", "B", "stranger"):
            v.deposit(name, "1000")
        v.fill("A", None, "1", "50000")
        v.do(ev.LiquidationStep, instrument=PERP, quantity="1", price="48000", account="A")
        assert v.wallet("A") == -1_000 and v.wallet("B") == 1_000
        cover = {"target": ev.Place(account="A"), "asset": "USDC", "amount": "600"}
        v.refused("LED-019", ev.Cover, source=ev.Place(account="stranger"), **cover)
        if linked:
            v.do(ev.Cover, source=ev.Place(account="B"), **cover)
            assert v.wallet("B") == 400 and v.wallet("A") == -400
        else:
            told = v.refused("LED-019", ev.Cover, source=ev.Place(account="B"), **cover)
            assert "ring-fenced" in told and v.wallet("B") == 1_000
        tree = account_tree(v.state)
        assert [(n.account, n.depth, n.owner) for n in tree] == [
            ("main", 0, "main"), ("A", 1, "main"), ("B", 1, "main"), ("stranger", 0, "stranger"),
        ]  # fmt: skip


class TestB19InFlightAndElsewhere:
    """100,000 remote, bridge haircut 10 %: 90,000 when proved, 0 once stale; in flight 0."""

    need = rules(
        flat_rate(0.10, 0.05),
        collateral={
            "source": "s",
            "confidence": "house",
            "assets": {"default": {"haircut": 0.0}},
            "locations": {"chain": {"haircut": 0.1, "max_proof_age_s": 3600.0}},
        },
    )

    def equity(self, v: Venue, as_of: str) -> float:
        there = market({"BTC": 50_000.0, "USDC": 1.0}, marks={PERP: 50_000.0}, as_of=as_of)
        lines = margin_lines(v.state, "a", there, self.need)
        return sum(line.equity_im for line in lines.values())

    def test_in_flight_counts_nothing_and_never_twice(self) -> None:
        v = Venue()
        v.accounts("a", "b")
        v.deposit("a", "100000", location="chain")
        v.do(ev.Proof, location="chain", proof_time="2026-02-25T08:00:00Z")
        assert self.equity(v, "2026-02-25T08:30:00Z") == pytest.approx(90_000)
        assert self.equity(v, "2026-02-25T09:30:00Z") == 0
        sent = v.do(
            ev.MoveMoney,
            source=ev.Place(account="a", location="chain"),
            target=ev.Place(account="a"),
            asset="USDC",
            amount="40000",
            pending=True,
        )
        assert self.equity(v, "2026-02-25T08:30:00Z") == pytest.approx(54_000)
        v.do(ev.Post, pending=sent.id)
        assert self.equity(v, "2026-02-25T08:30:00Z") == pytest.approx(94_000)
        v.refused("LED-006", ev.Post, pending=sent.id)
        more = v.deposit("a", "5000", pending=True)
        assert self.equity(v, "2026-02-25T08:30:00Z") == pytest.approx(94_000)
        v.do(ev.Void, pending=more.id)
        assert v.line("sys:world") == -100_000

    def test_what_is_held_for_a_withdrawal_no_longer_counts(self) -> None:
        v = Venue()
        v.accounts("a")
        v.deposit("a", "1000")
        asked = v.do(ev.Withdrawal, account="a", asset="USDC", amount="400", pending=True)
        assert v.equity("a") == 600
        v.refused("LED-005", ev.Withdrawal, account="a", asset="USDC", amount="601")
        v.do(ev.Post, pending=asked.id, amount="300")
        assert v.wallet("a") == 700 and v.line("sys:world") == -700

    def test_chain_down(self) -> None:
        v = Venue()
        v.accounts("a", "b")
        v.deposit("a", "100000", location="chain")
        v.deposit("b", "100")
        book = project_book(v.state)
        assert book.size == 2 and book.locations == ["chain"]
        there = market({"BTC": 50_000.0, "USDC": 1.0})
        assert evaluate_book(book, there, self.need).equity[0] == 0


def test_projection_is_margined_like_the_same_account_written_by_hand() -> None:
    """Several kinds of contract through a shipped rule-set: the ledger's file against ours."""
    v = Venue()
    v.perpetual()
    v.inverse()
    v.do(ev.ListContract, instrument="BTC_USDC-27MAR26-50000-C", type="option", underlying="BTC",
         quote="USDC", settlement="USDC", expiry="2026-03-27T08:00:00Z", strike="50000",
         right="call")  # fmt: skip
    v.accounts("a")
    v.deposit("a", "60000")
    v.deposit("a", "0.5", "BTC")
    v.fill("a", None, "0.3", "49999.5")
    v.fill("a", None, "0.1", "51000")
    v.fill(None, "a", "20000", "48000", INVERSE)
    v.fill("a", None, "2", "1200", "BTC_USDC-27MAR26-50000-C")
    file = project_account(v.state, "a")
    entries = {p.instrument: p.entry_price for p in file.positions}
    assert entries[PERP] == "50249.625"
    # The ledger keeps the cost in whole quanta: 0.41666667 coins, a part in 10^8 off.
    assert float(str(entries[INVERSE])) == pytest.approx(20_000 / 0.41666667, rel=1e-15)
    assert entries["BTC_USDC-27MAR26-50000-C"] is None
    balances = {b.asset: b.amount for b in file.balances}
    assert balances == {"USDC": "57600", "BTC": "0.5"}
    by_hand = account(
        (PERP, 0.4, 50_249.625),
        (INVERSE, -20_000, 20_000 / 0.41666667),
        ("BTC_USDC-27MAR26-50000-C", 2),
        balances={"USDC": 57_600.0, "BTC": 0.5},
        owner="a",
    )
    ruleset = load_ruleset("deribit-pm-cross")
    ours = evaluate(project_book(v.state), fixture_g(), ruleset)
    theirs = evaluate(book_from_accounts([by_hand]), fixture_g(), ruleset)
    for one, two in ((ours.need.im, theirs.need.im), (ours.have.mm, theirs.have.mm)):
        assert sorted(one) == pytest.approx(sorted(two), rel=1e-12)
