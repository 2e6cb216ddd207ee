"""A ledger for tests: events in a few words, every law checked after each."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from crossmargin.accounts import Applied, Duplicate, Refused, State, apply, from_quanta, money_of
from crossmargin.accounts import events as ev
from crossmargin.accounts.replay import Guard, Outcome
from tests.helpers import CALL, EXPIRY, PERP, black

TIME = "2026-02-25T08:00:00Z"
INVERSE = "BTC-PERPETUAL"
COIN_PUT = "BTC-27MAR26-45000-P"


class Venue:
    """A state, and the events that made it."""

    def __init__(self) -> None:
        self.state = State()
        self.log: list[ev.EventBase] = []
        self.guard: Guard | None = None
        self.number = 0

    def post(self, event: ev.EventBase) -> Outcome:
        """Apply an event and check every law."""
        before = self.state.digest()
        outcome = apply(self.state, event, self.guard)
        self.state.audit()
        if isinstance(outcome, Applied):
            self.log.append(event)
        else:
            assert self.state.digest() == before
        return outcome

    def event(self, kind: type[ev.EventBase], **fields: Any) -> ev.EventBase:
        self.number += 1
        return kind(**{"id": f"e{self.number}", "time": TIME, **fields})

    def do(self, kind: type[ev.EventBase], **fields: Any) -> Applied:
        """Apply an event that must be accepted."""
        outcome = self.post(self.event(kind, **fields))
        assert isinstance(outcome, Applied), outcome
        return outcome

    def refused(self, code: str, kind: type[ev.EventBase], **fields: Any) -> str:
        """Apply an event that must be refused with this code; return the sentence."""
        outcome = self.post(self.event(kind, **fields))
        assert isinstance(outcome, Refused), outcome
        assert outcome.error.code == code, outcome.error
        return str(outcome.error)

    def again(self, event: ev.EventBase) -> None:
        assert isinstance(self.post(event), Duplicate)

    def accounts(self, *names: str, **fields: Any) -> None:
        for name in names:
            self.do(ev.OpenAccount, account=name, **fields)

    def perpetual(self, name: str = PERP, **fields: Any) -> None:
        terms = {"underlying": "BTC", "quote": "USDC", "settlement": "USDC", **fields}
        self.do(ev.ListContract, instrument=name, type="perpetual", **terms)

    def inverse(self, name: str = INVERSE, **fields: Any) -> None:
        terms = {"quote": "USD", "settlement": "BTC", "quantity_decimals": 0, **fields}
        self.perpetual(name, **terms)

    def deposit(self, account: str, amount: str, asset: str = "USDC", **fields: Any) -> Applied:
        return self.do(ev.Deposit, account=account, asset=asset, amount=amount, **fields)

    def fill(
        self,
        buyer: str | None,
        seller: str | None,
        quantity: str,
        price: str,
        instrument: str = PERP,
        *,
        fees: tuple[str, str] = ("0", "0"),
        pots: tuple[str, str] = ("cross", "cross"),
        legs: tuple[str, str] = ("net", "net"),
    ) -> Applied:
        sides = [
            None if who is None else ev.Side(account=who, pot=pot, leg=leg, fee=fee)
            for who, fee, pot, leg in zip((buyer, seller), fees, pots, legs)
        ]
        return self.do(ev.Fill, trade=self.trade(instrument, quantity, price, *sides))

    def trade(self, instrument: str, quantity: str, price: str, *sides: ev.Side | None) -> ev.Trade:
        return ev.Trade(
            instrument=instrument,
            quantity=quantity,
            price=price,
            buyer=sides[0],
            seller=sides[1],
        )

    def mark(self, price: str, instrument: str = PERP) -> None:
        self.do(ev.Mark, prices={instrument: price})

    # --- looking -------------------------------------------------------------------------------

    def wallet(self, account: str, asset: str = "USDC", pot: str = "cross") -> Decimal:
        return self.text(self.state.pot(account, pot).wallet(asset).balance, asset)

    def line(self, name: str, asset: str = "USDC") -> Decimal:
        return self.text(self.state.ledger.balance(name, asset), asset)

    def text(self, quanta: int, asset: str = "USDC") -> Decimal:
        return Decimal(from_quanta(quanta, asset, self.state.scales))

    def position(
        self, account: str, instrument: str = PERP, pot: str = "cross", leg: str = "net"
    ) -> Decimal:
        contract = self.state.contracts[instrument]
        found = self.state.pot(account, pot).positions.get((instrument, leg))
        held = 0 if found is None else found.held.balance
        return Decimal(held) / 10**contract.quantity_decimals

    def equity(self, account: str, asset: str = "USDC", pot: str = "cross") -> Decimal:
        return self.text(money_of(self.state, self.state.pot(account, pot), asset).equity, asset)


def four_contracts() -> Venue:
    """Linear and inverse, perpetual and option, and two accounts with money."""
    venue = Venue()
    linear = {"underlying": "BTC", "quote": "USDC", "settlement": "USDC"}
    coin = {"underlying": "BTC", "quote": "USD", "settlement": "BTC"}
    option = {"type": "option", "expiry": EXPIRY}
    venue.do(ev.ListContract, instrument=PERP, type="perpetual", **linear)
    venue.do(ev.ListContract, instrument=INVERSE, type="perpetual", quantity_decimals=0, **coin)
    venue.do(ev.ListContract, instrument=CALL, strike="50000", right="call", **option, **linear)
    venue.do(ev.ListContract, instrument=COIN_PUT, strike="45000", right="put", **option, **coin)
    venue.accounts("a", "b")
    for name in ("a", "b"):
        venue.deposit(name, "100000")
        venue.deposit(name, "3", "BTC")
    return venue


def mark_four(venue: Venue, spot: float, vol: float, years: float) -> Applied:
    """Mark the four contracts where a spot and a volatility put them."""
    call = black(spot, 50_000, years, vol, call=True)
    put = black(spot, 45_000, years, vol, call=False) / spot
    prices = {PERP: spot, INVERSE: spot, CALL: call, COIN_PUT: put}
    return venue.do(ev.Mark, prices={name: f"{price:.12f}" for name, price in prices.items()})
