"""Random days of liquidation over many accounts: thin margins, falling marks, empty funds."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from crossmargin.accounts import Applied, BadLine, Duplicate, State, apply, parse_events, text_of
from crossmargin.accounts import events as ev
from crossmargin.liquidation import ClosingCost, LiquidationRules, liquidation_rules
from crossmargin.liquidation.rules import rules_from_toml
from tests.soak.watch import CONTRACTS, EXPIRY, RATES, Watched

#: Marks closer together than its timer, and a book that takes a part at a time.
SLICES = """
format = "crossmargin-liquidation/1"
id = "slices"
venue = "none"
title = "Slices, 90 seconds apart, until the line holds"
sources.own = {title = "tests", date = "2026-11-23"}
trigger = {buffer = 0.1, source = "own", confidence = "house"}

[[steps]]
name = "bankrupt"
kind = "takeover"
when = "bankrupt"
taker = "fund"
price = "bankruptcy"
source = "own"
confidence = "house"

[[steps]]
name = "slice"
kind = "reduce-sufficient"
policy = "riskiest-first"
interval_s = 90.0
fee_rate = 0.003
source = "own"
confidence = "house"

[[layers]]
name = "fund"
source = "own"
confidence = "house"

[[layers]]
name = "adl"
adl = "bybit"
source = "own"
confidence = "house"

[[layers]]
name = "socialised-loss"
share = "equity-haircut"
source = "own"
confidence = "house"
"""

#: Units that the book takes at once, in slices.
DEPTH = {"PERP": 0.4, "ETH": 6.0, "FUTURE": 0.4, "INVERSE": 20_000.0, "CALL": 1.0, "PUT": 1.0,
         "MARGINED": 1.0}  # fmt: skip


def rules_named(name: str) -> tuple[LiquidationRules, ClosingCost]:
    """Return rules and what closing costs under them."""
    if name == "slices":
        return rules_from_toml(SLICES), ClosingCost(slip_rate=0.001, depth=DEPTH)
    return liquidation_rules(name), ClosingCost(slip_rate=0.001)


RULES = ("house", "slices", "hyperliquid", "binance", "dydx-v4", "okx")


class Crowd:
    """Draws what traders do between two marks."""

    def __init__(self, watched: Watched, seed: int) -> None:
        self.watched, self.rng = watched, random.Random(seed)
        self.number = 0
        self.prices = {name: terms[5] for name, terms in CONTRACTS.items()}
        self.start = dict(self.prices)
        self.names = sorted(watched.state.accounts)
        self.past: list[Any] = []

    def do(self, kind: type[Any], **fields: Any) -> Any:
        """Post an event; now and then one that was posted before."""
        self.number += 1
        event = kind(id=f"c{self.number}", time="2026-02-05T00:00:00Z", **fields)
        outcome = self.watched.post([event])[0]
        if isinstance(outcome, Applied) and self.rng.random() < 0.02:
            self.past = [*self.past[-50:], event]
        if self.past and self.rng.random() < 0.02:
            again = self.rng.choice(self.past)
            digest = self.watched.state.digest() if self.rng.random() < 0.02 else ""
            assert isinstance(self.watched.post([again])[0], Duplicate)
            assert not digest or digest == self.watched.state.digest()
        return outcome

    def side(self, name: str, leg: str) -> ev.Side | None:
        """Return a side that may trade: no account under liquidation may."""
        for _ in range(4):
            account = self.watched.state.accounts[self.rng.choice(self.names)]
            pot = self.rng.choice(sorted(account.pots))
            if f"{account.id}/{pot}" not in self.watched.since:
                which = leg if account.legs == "hedge" else "net"
                return ev.Side(account=account.id, pot=pot, leg=which, fee="0.00001")
        return None

    def fill(self) -> None:
        """Trade as much as some thousands of dollars of margin carry."""
        rng, name = self.rng, self.rng.choice(list(CONTRACTS))
        kind, asset, size, decimals, *_, coin = CONTRACTS[name]
        buyer, seller = self.side(name, "long"), self.side(name, "short")
        if buyer is None or seller is None or buyer.account == seller.account:
            return
        dollars = rng.choice((500, 5_000, 20_000, 60_000))
        each = float(size) * (1.0 if asset == "BTC" and kind != "option" else
                              self.watched.coins[coin])  # fmt: skip
        quanta = max(1, int(dollars / each * 10**decimals))
        price = self.prices[name] * (1 + 0.002 * (rng.random() - 0.5))
        self.do(
            ev.Fill,
            trade=ev.Trade(
                instrument=name, quantity=text_of(quanta, decimals), price=f"{price:.6f}",
                buyer=buyer, seller=seller,
            ),
        )  # fmt: skip

    def money(self) -> None:
        """Deposit, withdraw, or change coins."""
        rng = self.rng
        side = self.side("PERP", "long")
        if side is None:
            return
        where = {"account": side.account, "pot": side.pot}
        what = rng.random()
        if what < 0.6:
            asset, amount = rng.choice((("USDC", 4_000), ("USDC", 20_000), ("BTC", 0.1)))
            self.do(ev.Deposit, **where, asset=asset, amount=f"{amount * rng.random():.6f}")
        elif what < 0.85:
            self.do(ev.Withdrawal, **where, asset="USDC", amount=f"{3_000 * rng.random():.6f}")
        else:
            price = self.watched.coins["BTC"]
            self.do(
                ev.Convert, **where, source="BTC", target="USDC", amount="0.01",
                price=f"{price:.2f}", spread="0.001",
            )  # fmt: skip

    def between(self, events: int) -> None:
        """Do what a crowd does between marks."""
        for _ in range(events):
            what = self.rng.random()
            if what < 0.80:
                self.fill()
            elif what < 0.985:
                self.money()
            elif what < 0.992:
                name = self.rng.choice(("PERP", "ETH", "INVERSE"))
                self.do(ev.Funding, instrument=name, rate=f"{1e-3 * (self.rng.random() - 0.5):.9f}")
            elif what < 0.996:
                group, asset, amount = self.rng.choice(
                    (("main", "USDC", "3000"), ("main", "BTC", "0.05"), ("eth", "USDC", "500"))
                )
                self.do(ev.FundPayIn, group=group, asset=asset, amount=amount)

    def move(self) -> dict[str, str]:
        """Move the market: small steps, now and then a gap; it comes back in the long run."""
        rng, watched = self.rng, self.watched
        gap = rng.choice((-0.12, 0.12, -0.25)) if rng.random() < 0.03 else 0.0
        for coin, beta in (("BTC", 1.0), ("ETH", 1.2)):
            first = 50_000.0 if coin == "BTC" else 3_000.0
            back = 0.02 * (first / watched.coins[coin] - 1.0)
            step = beta * gap + rng.gauss(0.0, 0.008) + back
            price = watched.coins[coin] * (1.0 + step)
            watched.coins[coin] = round(min(max(price, 0.3 * first), 3.0 * first), 2)
        btc, eth = watched.coins["BTC"], watched.coins["ETH"]
        gap_vol = rng.uniform(0.8, 1.3)
        call = max(btc - 50_000.0, 0.0) + 1_500.0 * gap_vol * min(1.0, 50_000.0 / abs(btc))
        put = (max(50_000.0 - btc, 0.0) + 1_500.0 * gap_vol) / btc
        self.prices = {
            "PERP": btc, "INVERSE": btc * (1 + 0.001 * (rng.random() - 0.5)), "ETH": eth,
            "FUTURE": btc * 1.01, "CALL": call, "PUT": put, "MARGINED": 0.6 * call,
        }  # fmt: skip
        return {name: f"{price:.6f}" for name, price in self.prices.items()}


@dataclass
class Days:
    """What a chapter of liquidations saw."""

    rules: str
    events: int = 0
    marks: int = 0
    breaches: int = 0
    longest_s: float = 0.0
    looks: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    losses: Counter[str] = field(default_factory=Counter)
    digest: str = ""


def days(
    rules: str,
    events: int,
    accounts: int,
    seed: int,
    *,
    say: Callable[[str], None] = lambda text: None,
) -> Days:
    """Run marks and a crowd until that many events were applied, then close everything.

    Raises
    ------
    AssertionError
        With what was broken.
    """
    made, costs = rules_named(rules)
    watched, seen = Watched(accounts, made, costs), Days(rules)
    crowd = Crowd(watched, seed)
    for name in crowd.names:
        for pot in sorted(watched.state.accounts[name].pots):
            crowd.do(ev.Deposit, account=name, pot=pot, asset="USDC", amount="3000")
            crowd.do(ev.Deposit, account=name, pot=pot, asset="BTC", amount="0.02")
    while sum(watched.counts.values()) < events:
        crowd.between(40)
        tick = watched.mark(crowd.rng.choice((1, 20, 60)), crowd.move())
        seen.marks += 1
        seen.breaches += len(tick.breached)
        for loss in tick.losses:
            for layer in ("fund", "adl", "shared", "uncovered"):
                seen.losses[layer] += getattr(loss, layer) > 0
        if seen.marks % 25 == 0:
            watched.state.audit()
            say(f"{rules}: {sum(watched.counts.values()):,} of {events:,} events, "
                f"{seen.breaches:,} breaches")  # fmt: skip
    _close(watched)
    seen.events, seen.counts = sum(watched.counts.values()), watched.counts
    seen.longest_s, seen.looks = watched.longest_ns / 1e9, watched.most_looks
    seen.digest = watched.state.digest()
    assert _replayed(b"\n".join(watched.log)) == seen.digest
    return seen


def _close(watched: Watched) -> None:
    """Expire and delist everything: nothing is held by anybody, the liquidator included."""
    for name, (kind, *_, price, _coin) in CONTRACTS.items():
        head = {"id": f"end {name}", "time": EXPIRY, "instrument": name}
        if kind in ("option", "future"):
            event: Any = ev.Expiry(**head, price="51234.5")
        else:
            event = ev.Delist(**head, price=f"{price}")
        assert isinstance(watched.post([event])[0], Applied)
    watched.state.audit()
    for line in watched.state.ledger.open_lines():
        assert line.name.split(":")[1] not in ("position", "cost", "clearing"), line


def _replayed(log: bytes) -> str:
    state = State()
    for _, event in parse_events(log):
        assert not isinstance(event, BadLine), event
        assert isinstance(apply(state, event), Applied)
    return state.digest()


def must_have_seen(found: list[Days]) -> None:
    """A run that never came to a layer has not tested it."""
    counts: Counter[str] = sum((d.counts for d in found), Counter())
    losses: Counter[str] = sum((d.losses for d in found), Counter())
    wanted = {"LiquidationStep", "Takeover", "Adl", "FundCover", "FundPayIn", "SocialisedLoss",
              "Forfeit", "Convert", "MarginCall", "SetState", "Funding"}  # fmt: skip
    assert wanted <= set(counts), sorted(wanted - set(counts))
    assert {"fund", "adl", "shared"} <= set(losses), losses
    assert all(RATES[name].mm < RATES[name].im for name in CONTRACTS)
