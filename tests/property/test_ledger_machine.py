"""The ledger as a machine, beside a model without lines, costs or realised profit.

The model buys and sells contracts for cash, in exact fractions: an account's equity is its cash
and what its contracts are worth. However the ledger books averages, sessions, pots and pendings,
its equity must be that, within one quantum for each amount that was rounded.
"""

from __future__ import annotations

from fractions import Fraction

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.helpers import PERP
from tests.ledgers import INVERSE, TIME

from crossmargin.accounts import Applied, Duplicate, Refused, State, apply, money_of, replay
from crossmargin.accounts import events as ev

SESSION = "ETH_USDC-PERPETUAL"
PAID, MARGINED = "PAID", "MARGINED"
LEVEL = {PERP: 50_000, INVERSE: 50_000, SESSION: 3_000, PAID: 1_200, MARGINED: 900}
UNIT = {"USDC": 10**6, "BTC": 10**8}
NAMES = [f"a{n}" for n in range(6)]

accounts = st.sampled_from(NAMES)
instruments = st.sampled_from(sorted(LEVEL))
perpetuals = st.sampled_from([PERP, INVERSE, SESSION])
moves = st.integers(-300, 300)


def price_of(name: str, move: int) -> str:
    return f"{LEVEL[name] * (1000 + move) / 1000:.3f}"


def worth(name: str, quantity: Fraction, price: Fraction) -> Fraction:
    return -quantity / price if name == INVERSE else quantity * price


class LedgerMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.state = State()
        self.log: list[ev.EventBase] = []
        self.number = 0
        self.rounded = 0
        self.cash: dict[tuple[str, str], Fraction] = {}
        self.held: dict[tuple[str, str], Fraction] = {}
        self.fills: list[ev.Fill] = []
        self.under_way: dict[str, tuple[str, str, Fraction, bool]] = {}

    # --- helpers -------------------------------------------------------------------------------

    def post(self, kind: type[ev.EventBase], **fields: object) -> bool:
        self.number += 1
        event = kind(id=f"e{self.number}", time=TIME, **fields)
        before = self.state.digest()
        outcome = apply(self.state, event)
        if isinstance(outcome, Applied):
            self.log.append(event)
            return True
        assert isinstance(outcome, Refused)
        assert self.state.digest() == before
        return False

    def pay(self, account: str, asset: str, amount: Fraction) -> None:
        self.cash[account, asset] = self.cash.get((account, asset), Fraction(0)) + amount

    def take(self, name: str, account: str, quantity: Fraction, price: Fraction) -> None:
        """Buy (or sell, < 0) for cash."""
        asset = self.state.contracts[name].settlement
        self.pay(account, asset, -worth(name, quantity, price))
        self.held[account, name] = self.held.get((account, name), Fraction(0)) + quantity
        self.rounded += 2

    # --- rules ---------------------------------------------------------------------------------

    @initialize()
    def open(self) -> None:
        terms = {"type": "perpetual", "underlying": "BTC", "quote": "USDC", "settlement": "USDC"}
        inverse = {**terms, "quote": "USD", "settlement": "BTC", "quantity_decimals": 0}
        assert self.post(ev.ListContract, instrument=PERP, **terms)
        assert self.post(ev.ListContract, instrument=INVERSE, **inverse)
        assert self.post(ev.ListContract, instrument=SESSION, session=True, **terms)
        option = {"type": "option", "expiry": "2026-06-26T08:00:00Z", "strike": "1", "right": "put"}
        for name, premium in ((PAID, "at_once"), (MARGINED, "margined")):
            fields = {**terms, **option, "premium": premium}
            assert self.post(ev.ListContract, instrument=name, **fields)
        for name in NAMES:
            assert self.post(ev.OpenAccount, account=name)
            assert self.post(ev.OpenPot, account=name, pot="iso")
        for name in LEVEL:
            assert self.post(ev.Mark, prices={name: price_of(name, 0)})

    @rule(account=accounts, asset=st.sampled_from(["USDC", "BTC"]), amount=st.integers(1, 10**13),
          pending=st.booleans())  # fmt: skip
    def deposit(self, account: str, asset: str, amount: int, pending: bool) -> None:
        text = f"{amount // UNIT[asset]}.{amount % UNIT[asset]:0{len(str(UNIT[asset])) - 1}d}"
        assert self.post(ev.Deposit, account=account, asset=asset, amount=text, pending=pending)
        value = Fraction(text)
        if pending:
            self.under_way[f"e{self.number}"] = (account, asset, value, True)
        else:
            self.pay(account, asset, value)

    @rule(account=accounts, asset=st.sampled_from(["USDC", "BTC"]), amount=st.integers(1, 10**6),
          pending=st.booleans())  # fmt: skip
    def withdraw(self, account: str, asset: str, amount: int, pending: bool) -> None:
        fields = {"account": account, "asset": asset, "amount": str(amount), "pending": pending}
        if self.post(ev.Withdrawal, **fields):
            self.pay(account, asset, -Fraction(amount))
            if pending:
                self.under_way[f"e{self.number}"] = (account, asset, Fraction(amount), False)

    @precondition(lambda self: self.under_way)
    @rule(post=st.booleans())
    def finish(self, post: bool) -> None:
        name = next(iter(self.under_way))
        account, asset, amount, inward = self.under_way.pop(name)
        assert self.post(ev.Post if post else ev.Void, pending=name)
        assert not self.post(ev.Void, pending=name)
        if post == inward:
            self.pay(account, asset, amount)

    @rule(one=accounts, two=accounts, amount=st.integers(1, 10**6), pots=st.booleans())
    def transfer(self, one: str, two: str, amount: int, pots: bool) -> None:
        pot = "iso" if pots else "cross"
        source, target = ev.Place(account=one), ev.Place(account=two, pot=pot)
        fields = {"source": source, "target": target, "asset": "USDC", "amount": str(amount)}
        if self.post(ev.MoveMoney, **fields):
            self.pay(one, "USDC", -Fraction(amount))
            self.pay(two, "USDC", Fraction(amount))

    @rule(one=accounts, two=accounts, name=instruments, quantity=st.integers(1, 40), move=moves,
          fee=st.integers(-3, 9))  # fmt: skip
    def fill(self, one: str, two: str, name: str, quantity: int, move: int, fee: int) -> None:
        size = quantity * (1_000 if name == INVERSE else 1)
        price = price_of(name, move)
        asset = self.state.contracts[name].settlement
        trade = ev.Trade(
            instrument=name,
            quantity=str(size),
            price=price,
            buyer=ev.Side(account=one, fee=str(fee)),
            seller=ev.Side(account=two),
        )
        if self.post(ev.Fill, trade=trade):
            assert one != two
            self.take(name, one, Fraction(size), Fraction(price))
            self.take(name, two, -Fraction(size), Fraction(price))
            self.pay(one, asset, -Fraction(fee))
            self.fills.append(self.log[-1])  # type: ignore[arg-type]
        else:
            assert one == two

    @precondition(lambda self: self.fills)
    @rule(which=st.integers(0, 10**6))
    def bust(self, which: int) -> None:
        fill = self.fills.pop(which % len(self.fills))
        trade = fill.trade
        assert trade.buyer is not None and trade.seller is not None
        assert self.post(ev.Bust, fill=fill)
        assert not self.post(ev.Bust, fill=fill)
        size, price = Fraction(trade.quantity), Fraction(trade.price)
        self.take(trade.instrument, trade.buyer.account, -size, price)
        self.take(trade.instrument, trade.seller.account, size, price)
        asset = self.state.contracts[trade.instrument].settlement
        self.pay(trade.buyer.account, asset, Fraction(trade.buyer.fee))

    @rule(name=instruments, move=moves)
    def mark(self, name: str, move: int) -> None:
        assert self.post(ev.Mark, prices={name: price_of(name, move)})

    @rule(name=perpetuals, rate=st.integers(-40, 40), elapsed=st.sampled_from([1, 3_600, 1_717]))
    def funding(self, name: str, rate: int, elapsed: int) -> None:
        contract = self.state.contracts[name]
        fields = {"rate": str(rate / 10_000), "elapsed_s": elapsed, "interval_s": 3_600}
        assert self.post(ev.Funding, instrument=name, **fields)
        mark = Fraction(contract.mark, 10**18)
        share = Fraction(rate, 10_000) * elapsed / 3_600
        for (account, held), quantity in list(self.held.items()):
            if held == name and quantity:
                paid = abs(worth(name, quantity, mark)) * (1 if quantity > 0 else -1) * share
                self.pay(account, contract.settlement, -paid)
        self.rounded += 2

    @rule()
    def settle(self) -> None:
        assert self.post(ev.SettleSession, asset="USDC")

    @rule(account=accounts, name=instruments, back=st.booleans(), amount=st.integers(0, 10**5))
    def switch(self, account: str, name: str, back: bool, amount: int) -> None:
        source, target = ("iso", "cross") if back else ("cross", "iso")
        fields = {"account": account, "instrument": name, "source": source, "target": target}
        money = str(amount) if self.state.contracts[name].settlement == "USDC" else "0"
        self.post(ev.SwitchMode, amount=money, **fields)

    @rule(account=accounts, name=instruments, share=st.fractions(0, 1), move=moves)
    def liquidate(self, account: str, name: str, share: Fraction, move: int) -> None:
        position = self.state.pot(account).positions.get((name, "net"))
        contract = self.state.contracts[name]
        held = 0 if position is None else position.held.balance
        unit = 10**contract.quantity_decimals
        quantity = int(abs(held) * share)
        size = Fraction(quantity, unit)
        fields = {"instrument": name, "price": price_of(name, move), "account": account}
        text = f"{quantity // unit}.{quantity % unit:08d}" if unit > 1 else str(quantity)
        if self.post(ev.Takeover, quantity=text, **fields):
            sign = 1 if held > 0 else -1
            self.take(name, account, -sign * size, Fraction(price_of(name, move)))
            self.take(name, "liquidator", sign * size, Fraction(price_of(name, move)))
        else:
            assert quantity == 0

    @rule(account=accounts, amount=st.integers(1, 10**6))
    def convert(self, account: str, amount: int) -> None:
        fields = {"account": account, "source": "USDC", "target": "BTC", "amount": str(amount)}
        if self.post(ev.Convert, price="0.00002", spread="0.001", **fields):
            self.pay(account, "USDC", -Fraction(amount))
            self.pay(account, "BTC", amount * Fraction("0.00002") * Fraction("0.999"))
            self.rounded += 2

    @precondition(lambda self: self.log)
    @rule(which=st.integers(0, 10**6))
    def again(self, which: int) -> None:
        before = self.state.digest()
        event = self.log[which % len(self.log)]
        assert isinstance(apply(self.state, event), Duplicate)
        assert self.state.digest() == before

    # --- laws ----------------------------------------------------------------------------------

    @invariant()
    def everything_adds_up(self) -> None:
        self.state.audit()
        for lines in self.state.ledger.by_asset.values():
            assert sum(line.balance for line in lines) == 0

    @invariant()
    def equity_is_the_models(self) -> None:
        for account in NAMES:
            for asset, unit in UNIT.items():
                want = self.cash.get((account, asset), Fraction(0))
                for name, contract in self.state.contracts.items():
                    held = self.held.get((account, name), Fraction(0))
                    if contract.settlement == asset and held:
                        assert contract.mark is not None
                        want += worth(name, held, Fraction(contract.mark, 10**18))
                got = sum(
                    money_of(self.state, self.state.pot(account, pot), asset).equity
                    for pot in ("cross", "iso")
                )
                assert abs(got - want * unit) <= self.rounded + 4

    def teardown(self) -> None:
        again = replay(self.log)
        assert again.digest() == self.state.digest()


LedgerMachine.TestCase.settings = settings(max_examples=30, stateful_step_count=40, deadline=None)
TestLedgerMachine = LedgerMachine.TestCase
