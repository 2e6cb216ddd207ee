"""A venue's day under portfolio margin: options, inverse contracts and coins through a crash."""

from __future__ import annotations

import random
from typing import Any

import pytest
from tests.helpers import AS_OF, CALL, EXPIRY, PERP, PUT, black, market, scan_rules

from crossmargin.accounts import Applied, State, apply, replay
from crossmargin.accounts import events as ev
from crossmargin.errors import LiquidationError
from crossmargin.liquidation import ClosingCost, liquidation_rules
from crossmargin.liquidation.day import Rates, VenueDay
from crossmargin.liquidation.ruleset_margin import RulesetMargin
from crossmargin.market import Snapshot
from crossmargin.units import NS_PER_SECOND, parse_time

INVERSE, COIN_PUT = "BTC-PERPETUAL", "BTC-27MAR26-45000-P"
START, MINUTE = parse_time(AS_OF), 60 * NS_PER_SECOND
YEARS = (parse_time(EXPIRY) - START) / (365 * 86_400 * NS_PER_SECOND)
STRIKES = {CALL: 50_000.0, PUT: 50_000.0, COIN_PUT: 45_000.0}
UNIT = {"USDC": 10**6, "BTC": 10**8}


def at(spot: float, vol: float) -> Snapshot:
    return market(
        {"BTC": spot, "USDC": 1.0},
        marks={PERP: spot, INVERSE: spot},
        vols=dict.fromkeys(STRIKES, vol),
        forwards={("BTC", EXPIRY): spot},
        funding={PERP: 0.0, INVERSE: 0.0},
    )


class Book:
    """A ledger with accounts of every kind of contract."""

    def __init__(self, seed: int, fund: str, accounts: int = 12) -> None:
        self.state, self.log, self.number = State(), list[Any](), 0
        option = {"type": "option", "expiry": EXPIRY}
        for name, terms in {
            PERP: {"type": "perpetual", "quantity_decimals": 4},
            INVERSE: {"type": "perpetual", "quantity_decimals": 0},
            CALL: {**option, "strike": "50000", "right": "call", "quantity_decimals": 2},
            PUT: {**option, "strike": "50000", "right": "put", "quantity_decimals": 2},
            COIN_PUT: {**option, "strike": "45000", "right": "put", "quantity_decimals": 1},
        }.items():
            coin = name.startswith("BTC-")
            quote, settlement = ("USD", "BTC") if coin else ("USDC", "USDC")
            self.do(
                ev.ListContract, instrument=name, underlying="BTC", quote=quote,
                settlement=settlement, **terms,
            )  # fmt: skip
        rng = random.Random(seed)
        self.names = [f"a{n:02}" for n in range(accounts)]
        for name in self.names:
            self.do(ev.OpenAccount, account=name)
            self.do(
                ev.Deposit, account=name, asset="USDC", amount=str(rng.choice((6, 12, 40))) + "000"
            )
            if rng.random() < 0.5:
                self.do(ev.Deposit, account=name, asset="BTC", amount="0.3")
        if fund != "0":
            for asset, amount in (("USDC", fund), ("BTC", str(int(fund) / 50_000))):
                self.do(ev.FundPayIn, group="main", asset=asset, amount=amount)
        prices = {PERP: "50000", INVERSE: "50000", CALL: "3400", PUT: "3400", COIN_PUT: "0.03"}
        sizes = {PERP: ("0.3", "0.9"), INVERSE: ("8000", "30000"), CALL: ("0.3", "1.2"),
                 PUT: ("0.3", "1.2"), COIN_PUT: ("0.4", "1.5")}  # fmt: skip
        for _ in range(4 * accounts):
            name = rng.choice(sorted(prices))
            buyer, seller = rng.sample(self.names, 2)
            self.do(
                ev.Fill,
                trade=ev.Trade(
                    instrument=name, quantity=rng.choice(sizes[name]), price=prices[name],
                    buyer=ev.Side(account=buyer), seller=ev.Side(account=seller),
                ),
            )  # fmt: skip

    def post(self, events: Any) -> list[Any]:
        found = []
        for event in events:
            outcome = apply(self.state, event)
            self.state.audit()
            if isinstance(outcome, Applied):
                self.log.append(event)
            found.append(outcome)
        return found

    def do(self, kind: type[Any], **fields: Any) -> None:
        self.number += 1
        (outcome,) = self.post([kind(id=f"e{self.number}", time=AS_OF, **fields)])
        assert isinstance(outcome, Applied), outcome

    def day(self, rules: str = "house") -> VenueDay:
        margin = RulesetMargin(scan_rules(), at(50_000.0, 0.6))
        costs = ClosingCost(slip_rate=0.001)
        # Leg by leg, the cheapest first, takes thousands of margins of a hedged account.
        policy = {"steps.reduce.policy": "hedge-preserving"} if rules == "house" else None
        return VenueDay(
            self.state, self.post, margin, liquidation_rules(rules, overrides=policy), costs=costs,
            conversion_spread=0.001,
        )  # fmt: skip

    def held(self, name: str) -> dict[str, float]:
        decimals = {PERP: 4, INVERSE: 0, CALL: 2, PUT: 2, COIN_PUT: 1}
        lines = {
            i: self.state.ledger.balance(f"{name}/cross:position:net", f"contract:{i}")
            for i in decimals
        }
        return {i: q / 10 ** decimals[i] for i, q in lines.items() if q}

    def by_hand(self, name: str, spot: float, vol: float) -> tuple[float, float]:
        """Return equity and requirement, US dollars, from the ledger's lines: 27 cells by loops."""
        balance, held = self.state.ledger.balance, self.held(name)
        equity = balance(f"{name}/cross:wallet", "USDC") / UNIT["USDC"]
        equity += balance(f"{name}/cross:wallet", "BTC") / UNIT["BTC"] * spot
        for i, q in held.items():
            asset = "BTC" if i.startswith("BTC-") else "USDC"
            rate = spot if asset == "BTC" else 1.0
            cost = balance(f"{name}/cross:cost:{i}:net", asset) / UNIT[asset]
            equity += (coins(i, q, spot, vol) + cost) * rate
        worst = 0.0
        for move in (-0.16, -0.12, -0.08, -0.04, 0.0, 0.04, 0.08, 0.12, 0.16):
            for factor in (1.5, 1.0, 0.75):
                there = spot * (1 + move)
                pnl = 0.0
                for i, q in held.items():
                    # Profit in coin counts at the price of the coin before the move.
                    rate = spot if i.startswith("BTC-") else 1.0
                    then = coins(i, q, there, vol * factor)
                    pnl += (then - coins(i, q, spot, vol)) * rate
                worst = min(worst, pnl)
        return equity, -worst


def coins(name: str, q: float, spot: float, vol: float) -> float:
    """Return the value of a position in its settlement asset."""
    if name == PERP:
        return q * spot
    if name == INVERSE:
        return -q / spot
    value = q * black(spot, STRIKES[name], YEARS, vol, call=name == CALL)
    return value / spot if name == COIN_PUT else value


def crash(steps: int, seed: int) -> list[tuple[float, float]]:
    rng, spot, vol, path = random.Random(seed), 50_000.0, 0.6, []
    for step in range(steps):
        fall = -0.02 if step > 2 else 0.0
        spot = round(spot * (1 + fall + rng.gauss(0, 0.01)), 2)
        vol = round(min(1.5, vol * (1 + abs(rng.gauss(0, 0.06)))), 4)
        path.append((spot, vol))
    return path


@pytest.mark.parametrize("rules", ["house", "hyperliquid"])
def test_who_is_breached_is_who_is_below_by_the_ledgers_lines(rules: str) -> None:
    book = Book(3, "10000000")
    day, breached, seen = book.day(rules), set[str](), 0
    for k, (spot, vol) in enumerate(crash(9, 1)):
        by_hand = {n: book.by_hand(n, spot, vol) for n in book.names if book.held(n)}
        # The fund is rich: nobody is touched by what befalls others.
        below = {f"{n}/cross" for n, (equity, mm) in by_hand.items() if equity < mm}
        under_way = set(breached)
        tick = day.mark(START + k * MINUTE, snapshot=at(spot, vol))
        assert set(tick.breached) == below - under_way
        breached = set(tick.in_breach_ns)
        seen += len(tick.breached)
        for name in book.names:
            stand = day.stand(book.state.pot(name))
            equity, mm = book.by_hand(name, spot, vol)
            assert stand.equity / 10**6 == pytest.approx(equity, abs=0.01)
            assert stand.mm / 10**6 == pytest.approx(mm, abs=0.01)
    assert seen > 4
    assert replay(book.log).digest() == book.state.digest()
    for asset in ("USDC", "BTC"):
        lines = book.state.ledger.by_asset[asset]
        assert sum(line.balance for line in lines) == 0


def test_an_empty_fund_leaves_it_to_the_holders() -> None:
    book = Book(4, "0")
    day = book.day()
    ticks = [day.mark(START, snapshot=at(50_000.0, 0.6))]
    before = {name: book.held(name) for name in book.names}
    ticks.append(day.mark(START + MINUTE, snapshot=at(33_000.0, 1.2)))
    losses = [loss for tick in ticks for loss in tick.losses]
    assert any(loss.adl for loss in losses)
    for loss in losses:
        assert loss.deficit == loss.fund + loss.adl + loss.shared + loss.uncovered
    for name in book.names:
        now = book.held(name)
        assert set(now) <= set(before[name])
        assert all(abs(now[i]) <= abs(before[name][i]) for i in now)
        assert all(now[i] * before[name][i] > 0 for i in now)


def test_coins_pay_what_a_bankrupt_account_owes_in_dollars() -> None:
    book = Book(5, "1000000", accounts=2)
    book.names = ["one", "two"]
    for name, dollars in (("one", "1000"), ("two", "900000")):
        book.do(ev.OpenAccount, account=name)
        book.do(ev.Deposit, account=name, asset="USDC", amount=dollars)
    book.do(ev.Deposit, account="one", asset="BTC", amount="0.2")
    book.do(
        ev.Fill,
        trade=ev.Trade(
            instrument=PERP, quantity="1", price="50000",
            buyer=ev.Side(account="one"), seller=ev.Side(account="two"),
        ),
    )  # fmt: skip
    day = book.day()
    day.mark(START, snapshot=at(40_000.0, 0.6))
    # 1,000 and 0.2 BTC at 40,000 against a loss of 10,000: nothing is left, the fund pays the rest.
    assert not book.held("one")
    converted = [e for e in book.log if isinstance(e, ev.Convert)]
    assert [(e.account, e.source, e.target) for e in converted] == [("one", "BTC", "USDC")]
    wallet = book.state.pot("one").wallet
    assert wallet("BTC").balance == 0 and abs(wallet("USDC").balance) <= 2


def test_a_call_says_what_is_lacking_and_states_follow() -> None:
    book = Book(6, "0")
    day = book.day()
    day.mark(START, snapshot=at(50_000.0, 0.6))
    tick = day.mark(START + MINUTE, snapshot=at(46_000.0, 0.7))
    calls = [e for e in book.log if isinstance(e, ev.MarginCall)]
    assert calls and tick.breached
    for call in calls:
        assert float(call.equity) < float(call.required)


def test_days_of_two_kinds_are_not_mixed_up() -> None:
    book = Book(7, "0", accounts=2)
    flat = VenueDay(
        book.state, book.post, {PERP: Rates(im=0.1, mm=0.05)}, liquidation_rules("house")
    )
    with pytest.raises(LiquidationError, match="flat rates takes prices"):
        flat.mark(START, {PERP: "50000"}, snapshot=at(50_000.0, 0.6))
    with pytest.raises(LiquidationError, match="no price of BTC"):
        flat.mark(START, {PERP: "50000"}, coins={"BTC": "nan"})
