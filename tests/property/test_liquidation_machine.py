"""Liquidation as a machine: hypothesis chooses trades, money and marks; the soak's laws hold.

The laws are those of ``tests/soak/watch.py``: sums of 0 after each event, nobody liquidated above
his line, everybody below it at the first mark, timers, reports of time in breach, no position
turned round or made larger, bounds, and layers that sum to the deficit in their order.
"""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.soak.crash import RULES, rules_named
from tests.soak.watch import CONTRACTS, Watched

from crossmargin.accounts import Applied, Duplicate, State, apply, parse_events, text_of
from crossmargin.accounts import events as ev

NAMES = [f"a{n:03d}" for n in range(7)]
TIME = "2026-02-05T00:00:00Z"
accounts = st.sampled_from(NAMES)
instruments = st.sampled_from(sorted(CONTRACTS))
thousandths = st.integers(-250, 250)


class LiquidationMachine(RuleBasedStateMachine):
    @initialize(rules=st.sampled_from(RULES), money=st.lists(
        st.integers(500, 9_000), min_size=len(NAMES), max_size=len(NAMES)
    ))  # fmt: skip
    def open(self, rules: str, money: list[int]) -> None:
        self.watched = Watched(len(NAMES), *rules_named(rules))
        self.number = 0
        self.last: Any = None
        for name, amount in zip(NAMES, money):
            self.do(ev.Deposit, account=name, asset="USDC", amount=str(amount))
        self.mark(1, 0, 0, 0)

    def do(self, kind: type[Any], **fields: Any) -> bool:
        self.number += 1
        event = kind(id=f"m{self.number}", time=TIME, **fields)
        done = isinstance(self.watched.post([event])[0], Applied)
        self.last = event if done else self.last
        return done

    def free(self, name: str) -> bool:
        return f"{name}/cross" not in self.watched.since

    @rule(one=accounts, two=accounts, name=instruments, dollars=st.integers(100, 90_000))
    def trade(self, one: str, two: str, name: str, dollars: int) -> None:
        if one == two or not (self.free(one) and self.free(two)):
            return
        kind, asset, size, decimals, _, _, coin = CONTRACTS[name]
        coins = kind == "option" or asset == "USDC"
        each = float(size) * (self.watched.coins[coin] if coins else 1.0)
        quanta = max(1, int(dollars / each * 10**decimals))
        raw = self.watched.state.contracts[name].mark
        assert raw is not None
        state = self.watched.state
        legs = [
            lot if state.accounts[who].legs == "hedge" else "net"
            for who, lot in ((one, "long"), (two, "short"))
        ]
        trade = ev.Trade(
            instrument=name,
            quantity=text_of(quanta, decimals),
            price=text_of(raw, 18),
            buyer=ev.Side(account=one, leg=legs[0]),
            seller=ev.Side(account=two, leg=legs[1]),
        )
        # Refused where the state of a pot does not allow it to trade.
        self.do(ev.Fill, trade=trade)

    @rule(name=accounts, amount=st.integers(1, 5_000), coin=st.booleans())
    def deposit(self, name: str, amount: int, coin: bool) -> None:
        asset, text = ("BTC", f"{amount / 50_000:.8f}") if coin else ("USDC", str(amount))
        assert self.do(ev.Deposit, account=name, asset=asset, amount=text)

    @rule(group=st.sampled_from(("main", "eth")), amount=st.integers(1, 4_000))
    def pay_in(self, group: str, amount: int) -> None:
        assert self.do(ev.FundPayIn, group=group, asset="USDC", amount=str(amount))

    @rule(name=st.sampled_from(("PERP", "ETH", "INVERSE")), rate=st.integers(-9, 9))
    def funding(self, name: str, rate: int) -> None:
        assert self.do(ev.Funding, instrument=name, rate=f"{rate / 1000:.3f}")

    @precondition(lambda self: self.last is not None)
    @rule()
    def again(self) -> None:
        digest = self.watched.state.digest()
        assert isinstance(self.watched.post([self.last])[0], Duplicate)
        assert self.watched.state.digest() == digest

    @rule(seconds=st.integers(1, 120), btc=thousandths, eth=thousandths, vol=thousandths)
    def mark(self, seconds: int, btc: int, eth: int, vol: int) -> None:
        coins = self.watched.coins
        for coin, first, move in (("BTC", 50_000.0, btc), ("ETH", 3_000.0, eth)):
            price = coins[coin] * (1000 + move) / 1000
            coins[coin] = round(min(max(price, 0.3 * first), 3.0 * first), 2)
        spot, time_value = coins["BTC"], 1_500.0 * (1000 + vol) / 1000
        call = max(spot - 50_000.0, 0.0) + time_value
        put = (max(50_000.0 - spot, 0.0) + time_value) / spot
        prices = {
            "PERP": spot, "INVERSE": spot * 1.0005, "ETH": coins["ETH"], "FUTURE": spot * 1.01,
            "CALL": call, "PUT": put, "MARGINED": 0.6 * call,
        }  # fmt: skip
        self.watched.mark(seconds, {name: f"{price:.6f}" for name, price in prices.items()})

    @invariant()
    def longs_are_shorts_and_costs_cancel(self) -> None:
        if hasattr(self, "watched"):
            self.watched.state.audit()

    def teardown(self) -> None:
        if not hasattr(self, "watched"):
            return
        again = State()
        for _, event in parse_events(b"\n".join(self.watched.log)):
            assert isinstance(apply(again, event), Applied)
        assert again.digest() == self.watched.state.digest()


TestLiquidationMachine = LiquidationMachine.TestCase
TestLiquidationMachine.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)
