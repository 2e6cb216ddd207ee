"""A venue's day on its ledger: laws after every mark, and small days by hand."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import pytest

from crossmargin.accounts import Applied, State, apply, open_interest, replay
from crossmargin.accounts import events as ev
from crossmargin.errors import LiquidationError
from crossmargin.liquidation import ClosingCost, liquidation_rules
from crossmargin.liquidation.day import Rates, Tick, VenueDay, day_rows
from crossmargin.units import NS_PER_SECOND, format_time

BTC, ETH = "BTC_USDC-PERPETUAL", "ETH_USDC-PERPETUAL"
RATES = {BTC: Rates(im=0.10, mm=0.05), ETH: Rates(im=0.10, mm=0.05)}
START = 1_770_249_600 * NS_PER_SECOND
MINUTE = 60 * NS_PER_SECOND


class Venue:
    """A ledger that remembers its events."""

    def __init__(self, fund: str = "0") -> None:
        self.state, self.log = State(), list[ev.Event]()
        self.number = 0
        for name, coin in ((BTC, "BTC"), (ETH, "ETH")):
            self.do(
                ev.ListContract, instrument=name, type="perpetual", underlying=coin, quote="USDC",
                settlement="USDC", quantity_decimals=4,
            )  # fmt: skip
        if fund != "0":
            self.do(ev.FundPayIn, group="main", asset="USDC", amount=fund)

    def post(self, events: Any) -> list[Any]:
        found = []
        for event in events:
            outcome = apply(self.state, event)
            if isinstance(outcome, Applied):
                self.log.append(event)
            found.append(outcome)
        return found

    def do(self, kind: type[Any], **fields: Any) -> None:
        self.number += 1
        event = kind(id=f"e{self.number}", time=format_time(START), **fields)
        (outcome,) = self.post([event])
        assert isinstance(outcome, Applied), outcome

    def account(self, name: str, money: str) -> None:
        self.do(ev.OpenAccount, account=name)
        self.do(ev.Deposit, account=name, asset="USDC", amount=money)

    def trade(self, instrument: str, quantity: str, price: str, buyer: str, seller: str) -> None:
        sides = {"buyer": ev.Side(account=buyer), "seller": ev.Side(account=seller)}
        self.do(
            ev.Fill, trade=ev.Trade(instrument=instrument, quantity=quantity, price=price, **sides)
        )

    def day(self, rules: str = "house", costs: ClosingCost | None = None) -> VenueDay:
        return VenueDay(self.state, self.post, RATES, liquidation_rules(rules), costs=costs)

    def money(self, name: str) -> Decimal:
        return Decimal(self.state.pot(name).wallet("USDC").balance) / 10**6

    @property
    def fund(self) -> Decimal:
        return Decimal(self.state.ledger.balance("sys:fund/main", "USDC")) / 10**6


def two(fund: str = "0", money: str = "3000") -> Venue:
    """One is long 1 BTC from 50,000 with `money`; the other is short and rich."""
    venue = Venue(fund)
    venue.account("long", money)
    venue.account("short", "100000")
    venue.trade(BTC, "1", "50000", "long", "short")
    return venue


class TestByHand:
    def test_above_the_line_nothing_is_done(self) -> None:
        venue = two()
        tick = venue.day().mark(START, {BTC: "49500"})
        # Equity 2,500 against 5 % of 49,500.
        assert tick.breached == ()
        assert venue.state.pot("long").open_positions()[0].held.balance == 10_000

    def test_row_b07_is_closed_to_the_lot(self) -> None:
        """q = 1 at 47,000, equity 2,000, 5 %, fee 0.5 %: 0.165484, then equity = MM."""
        venue = two(money="5000")
        tick = venue.day().mark(START, {BTC: "47000"})
        assert tick.breached == ("long/cross",)
        (left,) = venue.state.pot("long").open_positions()
        assert left.held.balance == 10_000 - 1_655  # 0.165484 in lots of 0.0001
        assert venue.fund == Decimal("0.1655") * 47_000 * Decimal("0.005")
        stand = venue.day().stand(venue.state.pot("long"))
        assert 0 <= stand.equity - stand.mm < 0.0001 * 47_000 * 0.05 * 10**6

    def test_bankrupt_with_a_fund_that_suffices(self) -> None:
        venue = two(fund="100000")
        tick = venue.day().mark(START, {BTC: "40000"})
        # 3,000 of its own, 10,000 lost: 7,000 from the fund; nobody else pays.
        assert tick.taken_over == 1
        assert tick.fund_paid == 7_000 * 10**6
        assert venue.fund == 93_000
        assert (tick.deleveraged, tick.shared, tick.uncovered) == (0, 0, 0)
        assert venue.money("long") == 0
        assert not venue.state.pot("long").open_positions()

    def test_without_a_fund_the_other_side_is_closed_at_the_bankruptcy_price(self) -> None:
        venue = two()
        tick = venue.day().mark(START, {BTC: "40000"})
        assert tick.deleveraged == 10_000
        assert (tick.fund_paid, tick.shared, tick.uncovered) == (0, 0, 0)
        # Short from 50,000, closed at 47,000 instead of 40,000: it bears the 7,000.
        assert venue.money("short") == 103_000
        assert open_interest(venue.state.contracts[BTC]) == 0

    def test_fund_first_then_holders_for_the_rest(self) -> None:
        venue = two(fund="3500")
        tick = venue.day().mark(START, {BTC: "40000"})
        # Half of the loss of 7,000 is the fund's: half the position is closed by holders.
        assert tick.fund_paid == 3_500 * 10**6
        assert venue.fund == 0
        assert tick.deleveraged == 5_000
        assert (tick.shared, tick.uncovered) == (0, 0)

    def test_a_backstop_takes_margin_and_positions(self) -> None:
        venue = two(money="4000")
        tick = venue.day("hyperliquid").mark(START, {BTC: "47500"})
        # Equity 1,500 is below two thirds of 2,375.
        assert tick.taken_over == 1
        assert venue.money("long") == 0
        assert venue.fund == 1_500

    def test_states_and_calls(self) -> None:
        venue = two(money="8000")
        day = venue.day()
        assert day.mark(START, {BTC: "50000"}).states == {"healthy": 2}
        tick = day.mark(START + MINUTE, {BTC: "46500"})
        # 4,500 against IM 4,650: below it.
        assert tick.calls == 1
        assert tick.states == {"healthy": 1, "reduce-only": 1}

    def test_marks_do_not_run_backwards_and_need_rates(self) -> None:
        venue = two()
        day = venue.day()
        day.mark(START, {BTC: "50000"})
        with pytest.raises(LiquidationError, match="before the last"):
            day.mark(START - 1, {BTC: "50000"})
        again = venue.day()
        with pytest.raises(LiquidationError, match="another name"):
            again.mark(START, {BTC: "50000"})
        bare = VenueDay(venue.state, venue.post, {}, liquidation_rules("house"), name="other")
        with pytest.raises(LiquidationError, match="no margin rates"):
            bare.mark(START, {BTC: "50000"})


def random_venue(seed: int, accounts: int, fund: str) -> Venue:
    rng, venue = random.Random(seed), Venue(fund)
    for k in range(accounts):
        venue.account(f"a{k:03}", str(rng.choice([2_000, 10_000, 50_000])))
    for _ in range(3 * accounts):
        name, price = rng.choice([(BTC, 50_000), (ETH, 2_500)])
        buyer, seller = rng.sample(range(accounts), 2)
        # Up to a notional of a few times the smaller deposit.
        size = rng.choice([2_000, 10_000, 30_000]) / price
        venue.trade(name, f"{size:.4f}", str(price), f"a{buyer:03}", f"a{seller:03}")
    return venue


def crash(rng: random.Random, steps: int) -> list[dict[str, str]]:
    btc, eth, path = 50_000.0, 2_500.0, []
    for step in range(steps):
        drift = -0.012 if step > steps // 3 else 0.0
        btc *= 1 + drift + rng.gauss(0, 0.01)
        eth *= 1 + 1.2 * drift + rng.gauss(0, 0.014)
        path.append({BTC: f"{btc:.2f}", ETH: f"{eth:.2f}"})
    return path


@pytest.mark.parametrize("rules", ["house", "hyperliquid", "binance"])
@pytest.mark.parametrize("fund", ["0", "20000", "5000000"])
def test_laws_of_a_crash(rules: str, fund: str) -> None:
    venue = random_venue(7, 40, fund)
    day = venue.day(rules, ClosingCost(slip_rate=0.001))
    before = {n: held(venue, n) for n in venue.state.accounts}
    ticks: list[Tick] = []
    for k, prices in enumerate(crash(random.Random(3), 40)):
        stands = {p.name: day.stand(p) for p in venue.state.pots()} if k else {}
        fund_before = venue.fund
        tick = day.mark(START + k * MINUTE, prices)
        ticks.append(tick)
        venue.state.audit()
        # No layer is used before the one above is empty, and the fund never owes.
        assert venue.fund >= 0
        if tick.shared:
            assert tick.deleveraged or rules == "hyperliquid" or venue.fund == 0
        if tick.deleveraged and rules == "house":
            assert venue.fund < 1 + fund_before
        for name in tick.breached:
            assert name in stands or k == 0
        # Nobody is turned round or made larger by force.
        for name in venue.state.accounts:
            now = held(venue, name)
            for instrument, size in before[name].items():
                left = now.get(instrument, 0)
                assert left * size >= 0
                assert abs(left) <= abs(size)
            assert set(now) <= set(before[name])
            before[name] = now
    assert any(tick.breached for tick in ticks)
    assert replay(venue.log).digest() == venue.state.digest()
    assert len(list(day_rows(ticks))) == 40


def below_by_hand(venue: Venue, prices: dict[str, str]) -> set[str]:
    """Who is below 5 % of what he holds at these prices, from the ledger's lines alone."""
    found = set()
    for name in venue.state.accounts:
        equity = venue.state.ledger.balance(f"{name}/cross:wallet", "USDC")
        mm = Decimal(0)
        for instrument, price in prices.items():
            size = venue.state.ledger.balance(
                f"{name}/cross:position:net", f"contract:{instrument}"
            )
            value = Decimal(size) / 10**4 * Decimal(price) * 10**6
            cost = venue.state.ledger.balance(f"{name}/cross:cost:{instrument}:net", "USDC")
            equity += int(value.to_integral_value("ROUND_FLOOR")) + cost
            mm += abs(value) * Decimal("0.05")
        if equity < mm:
            found.add(f"{name}/cross")
    return found


@pytest.mark.parametrize("seed", range(4))
def test_nobody_is_liquidated_above_the_line_and_everybody_below_it_at_once(seed: int) -> None:
    venue = random_venue(seed, 40, "5000000")
    day = venue.day("house", ClosingCost(slip_rate=0.001))
    seen = 0
    for k, prices in enumerate(crash(random.Random(seed), 40)):
        # The fund is rich: nobody else is touched by what befalls one account.
        expected = below_by_hand(venue, prices)
        tick = day.mark(START + k * MINUTE, prices)
        assert set(tick.breached) == expected
        seen += len(expected)
    assert seen > 5


def held(venue: Venue, name: str) -> dict[str, int]:
    pot = venue.state.pot(name)
    return {p.contract.id: p.held.balance for p in pot.open_positions()}


def test_the_same_day_twice_is_the_same_day() -> None:
    digests = []
    for _ in range(2):
        venue = random_venue(2, 20, "1000")
        day = venue.day("house")
        for k, prices in enumerate(crash(random.Random(1), 25)):
            day.mark(START + k * MINUTE, prices)
        digests.append(venue.state.digest())
    assert digests[0] == digests[1]


@pytest.mark.parametrize("rules", ["deribit", "mango-v4"])
def test_a_loss_beyond_the_fund_is_shared_as_the_venue_says(rules: str) -> None:
    """Winners of the day, or everybody with equity; the fund is empty first."""
    venue = two(fund="1000")
    venue.account("idle", "50000")
    tick = venue.day(rules).mark(START, {BTC: "40000"})
    # 3,000 of its own and 1,000 of the fund against 10,000.
    (loss,) = tick.losses
    assert (loss.fund, loss.shared, loss.uncovered) == (1_000 * 10**6, 6_000 * 10**6, 0)
    assert venue.fund == 0
    if rules == "deribit":
        assert (venue.money("short"), venue.money("idle")) == (94_000, 50_000)
    else:
        # Equity 110,000 (of which 100,000 in the wallet) and 50,000.
        assert (venue.money("short"), venue.money("idle")) == (96_000, 48_000)


def test_deribits_rounds_are_a_second_apart() -> None:
    venue = two(money="5000")
    day = venue.day("deribit", ClosingCost(depth={BTC: 0.05}))
    ticks = [day.mark(START + k * NS_PER_SECOND // 2, {BTC: "47000"}) for k in range(5)]
    acted = [sum(step.action == "close" for _, step in tick.trail) for tick in ticks]
    assert acted == [1, 0, 1, 0, 1]
    waits = [step for _, step in ticks[1].trail if step.action == "wait"]
    assert [step.due_ns for step in waits] == [START + NS_PER_SECOND]
    assert ticks[3].in_breach_ns == {"long/cross": 3 * NS_PER_SECOND // 2}


@pytest.mark.parametrize(
    "rules",
    ["binance", "bitmex", "bybit-isolated", "bybit-uta", "dydx-v4", "house", "hyperliquid", "okx"],
)
@pytest.mark.parametrize("fund", ["0", "3500"])
def test_no_loss_stays_uncovered_while_holders_can_bear_it(rules: str, fund: str) -> None:
    """Rows B08, B09: a gap to 40,000 costs 10,000, of which 3,000 is there; holders are last."""
    venue = two(fund=fund)
    tick = venue.day(rules).mark(START, {BTC: "40000"})
    assert (tick.uncovered, tick.shared) == (0, 0)
    assert [loss.uncovered for loss in tick.losses] == [0] * len(tick.losses)
    assert sum(loss.deficit for loss in tick.losses) == 7_000 * 10**6
    # A pool that may only fall by 30 % from its peak pays no more than that.
    pays = {"okx": 0.3, "bybit-uta": 0.3, "bybit-isolated": 0.3}.get(rules, 1.0) * float(fund)
    assert tick.fund_paid == pytest.approx(pays * 10**6, abs=2 * 10**6)
    assert venue.money("long") == 0
    # What the fund does not pay is the loss of who was short from 50,000.
    short = venue.day(rules).stand(venue.state.pot("short")).equity
    assert short - tick.fund_paid == pytest.approx(103_000 * 10**6, abs=2 * 10**6)


@pytest.mark.parametrize(("amm", "shared"), [("0", 7_000), ("1000", 6_000), ("9000", 0)])
def test_another_layer_is_a_fund_of_its_own_name(amm: str, shared: int) -> None:
    """Drift: insurance fund, then the AMM's profit, then everybody (venues.md §7)."""
    venue = two()
    if amm != "0":
        venue.do(ev.FundPayIn, group="amm-profit", asset="USDC", amount=amm)
    supplied = {"steps.ramp.initial_share": 1.0, "steps.ramp.duration_s": 10.0}
    rules = liquidation_rules("drift-v2", overrides=supplied)
    day = VenueDay(venue.state, venue.post, RATES, rules)
    (loss,) = day.mark(START, {BTC: "40000"}).losses
    assert (loss.deficit, loss.uncovered) == (7_000 * 10**6, 0)
    assert loss.shared == shared * 10**6 and loss.fund == loss.deficit - loss.shared
    assert loss.fund_left["amm-profit"] == max(0, int(amm) - 7_000) * 10**6


@pytest.mark.parametrize("name", ["long", "short"])
def test_okx_nets_the_legs_of_a_hedge_account_first(name: str) -> None:
    """Venues.md §2: hedged pairs go first, at the mark; the rest is well without another close."""
    venue = Venue()
    venue.do(ev.OpenAccount, account="hedger", legs="hedge")
    venue.do(ev.Deposit, account="hedger", asset="USDC", amount="9000")
    venue.account("other", "500000")
    for leg, quantity in (("long", "3"), ("short", "2") if name == "long" else ("short", "4")):
        mine, rest = ev.Side(account="hedger", leg=leg), ev.Side(account="other")
        sides = (
            {"buyer": mine, "seller": rest} if leg == "long" else {"buyer": rest, "seller": mine}
        )
        venue.do(ev.Fill, trade=ev.Trade(instrument=BTC, quantity=quantity, price="50000", **sides))
    # One coin open: 9,000 against 5 % of five (seven) coins, then against 5 % of one.
    tick = venue.day("okx").mark(START, {BTC: "50000"})
    assert [step.action for _, step in tick.trail] == ["net-pair", "restored"]
    (left,) = venue.state.pot("hedger").open_positions()
    assert (left.leg, abs(left.held.balance)) == (name, 10_000)
    assert venue.money("hedger") == 9_000 and tick.taken_over == 0
    assert open_interest(venue.state.contracts[BTC]) == 10_000


def test_whom_nobody_fills_stays_in_breach() -> None:
    """Venues.md §6: where nobody takes the order nothing changes, and time in breach runs."""
    venue = two(fund="100000")
    day = venue.day("dydx-v4", ClosingCost(slip_rate=0.05))
    first, later = (day.mark(START + k * MINUTE, {BTC: "49400"}) for k in range(2))
    assert {step.action for _, step in first.trail} == {"not-filled"}
    assert (first.breached, later.breached) == (("long/cross",), ())
    assert later.in_breach_ns == {"long/cross": MINUTE}


def test_a_debt_beyond_what_a_part_is_worth_is_paid_by_the_fund() -> None:
    """No price above 0 of a short of 500 USD brings its owner 990: the fund pays the debt."""
    venue = Venue("5000")
    venue.account("poor", "10")
    venue.account("rich", "100000")
    venue.trade(BTC, "1", "50000", "poor", "rich")
    venue.trade(BTC, "1", "49000", "rich", "poor")
    venue.trade(BTC, "0.01", "50000", "rich", "poor")
    tick = venue.day("dydx-v4").mark(START, {BTC: "50000"})
    step = tick.trail[0][1]
    assert step.action == "close" and step.from_fund == pytest.approx(990)
    assert venue.money("poor") == 0 and venue.fund == 5_000 - 990
    assert tick.fund_paid == 990 * 10**6 and tick.uncovered == 0
    assert not venue.state.pot("poor").open_positions()
