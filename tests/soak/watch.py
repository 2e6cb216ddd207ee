"""A venue under liquidation, watched: every law after every event, by loops of our own.

Health is worked out here from the names and balances of ledger lines alone, in exact fractions;
nothing of the driver or of the margin room is asked.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from crossmargin.accounts import Applied, Outcome, State, apply, payload
from crossmargin.accounts import events as ev
from crossmargin.liquidation import ClosingCost, LiquidationRules
from crossmargin.liquidation.day import Rates, Tick, VenueDay
from crossmargin.liquidation.rules import CappedReduce, ReduceShare, ReduceSufficient
from crossmargin.units import NS_PER_SECOND, format_time

START = 1_770_249_600 * NS_PER_SECOND
UNIT = {"USDC": 10**6, "BTC": 10**8, "ETH": 10**8}

#: Instrument: kind, settlement, size, decimals of a quantity, group, first price, first coin.
CONTRACTS: dict[str, tuple[str, str, str, int, str, float, str]] = {
    "PERP": ("perpetual", "USDC", "1", 4, "main", 50_000, "BTC"),
    "ETH": ("perpetual", "USDC", "1", 3, "eth", 3_000, "ETH"),
    "FUTURE": ("future", "USDC", "0.1", 2, "main", 50_500, "BTC"),
    "INVERSE": ("perpetual", "BTC", "10", 0, "main", 50_000, "BTC"),
    "CALL": ("option", "USDC", "1", 2, "main", 1_500, "BTC"),
    "PUT": ("option", "BTC", "1", 2, "main", 0.03, "BTC"),
    "MARGINED": ("option", "USDC", "1", 2, "main", 900, "BTC"),
}
RATES = {name: Rates(im=0.10, mm=0.05) for name in CONTRACTS}
EXPIRY = "2026-12-25T08:00:00Z"

#: Rounding of a balance, a price or a value: quanta of USDC within which health is not decided.
DOUBT = 20_000


def opening(accounts: int) -> list[ev.EventBase]:
    """Return the events that open the venue."""
    head = {"time": format_time(START)}
    made: list[ev.EventBase] = []
    for name, (kind, settlement, size, decimals, group, _, coin) in CONTRACTS.items():
        more: dict[str, Any] = {"expiry": EXPIRY} if kind in ("future", "option") else {}
        if kind == "option":
            more |= {"strike": "50000", "right": "put" if name == "PUT" else "call"}
            more |= {"premium": "margined"} if name == "MARGINED" else {}
        made.append(
            ev.ListContract(
                id=f"list {name}", **head, instrument=name, type=kind, underlying=coin,
                quote="USD" if settlement == "BTC" else "USDC", settlement=settlement, size=size,
                quantity_decimals=decimals, group=group, **more,
            )
        )  # fmt: skip
    for n in range(accounts):
        name = f"a{n:03d}"
        legs = "hedge" if n % 5 == 4 else "net"
        made.append(ev.OpenAccount(id=f"open {name}", **head, account=name, legs=legs))
        if n % 4 == 1:
            made.append(ev.OpenPot(id=f"pot {name}", **head, account=name, pot="iso"))
    for name, (*_, price, _coin) in CONTRACTS.items():
        made.append(ev.Mark(id=f"mark {name}", **head, prices={name: f"{price}"}))
    return made


class Watched:
    """A ledger with a driver over it; raises AssertionError at the first law that is broken.

    Parameters
    ----------
    accounts : int
        How many.
    rules : LiquidationRules
        By which they are liquidated.
    costs : ClosingCost
        What the market takes.
    """

    def __init__(self, accounts: int, rules: LiquidationRules, costs: ClosingCost) -> None:
        self.state, self.rules, self.costs = State(), rules, costs
        self.log: list[bytes] = []
        self.counts: Counter[str] = Counter()
        self.now = START
        self.coins = {"BTC": 50_000.0, "ETH": 3_000.0}
        self.since: dict[str, int] = {}
        self.acted: dict[tuple[str, str], int] = {}
        self.looks: Counter[str] = Counter()
        self.parts: dict[str, int] = {}
        self.uncovered: set[str] = set()
        layer = rules.layers[0]
        # Some venues stop at a limit, or at a fall from the peak, with money left.
        whole = layer.limit_usd is None and layer.drawdown is None
        self._fund_is_first = layer.name == "fund" and whole
        self.longest_ns = self.most_looks = 0
        self._entered: set[str] = set()
        self._touched: set[str] = set()
        self._lifted: set[str] = set()
        self._below: set[str] = set()
        for event in opening(accounts):
            assert isinstance(self.post([event])[0], Applied)
        self.day = VenueDay(
            self.state, self.post, RATES, rules, costs=costs, conversion_spread=0.001
        )

    # ---- one event -------------------------------------------------------------------------

    def post(self, events: Sequence[Any]) -> list[Outcome]:
        """Apply events, and hold each of them to the laws."""
        return [self._one(event) for event in events]

    def _one(self, event: Any) -> Outcome:
        held = self._before(event)
        outcome = apply(self.state, event)
        self.must_sum_to_zero()
        kind = type(event).__name__
        if isinstance(outcome, Applied):
            self.log.append(payload(event))
            self.counts[kind] += 1
            self._after(event, held)
        else:
            self.counts[type(outcome).__name__] += 1
        return outcome

    def must_sum_to_zero(self) -> None:
        """Sum every asset, contracts too, over all its lines."""
        for asset, lines in self.state.ledger.by_asset.items():
            total = 0
            for line in lines:
                total += line.balance
            assert total == 0, f"{asset} sums to {total}"

    def _victims(self, event: Any) -> list[tuple[str, str, str, str]]:
        """Return whose position an event of last resort closes: account, pot, leg, instrument."""
        if isinstance(event, ev.LiquidationStep | ev.Takeover) and event.account != "sys":
            return [(event.account, event.pot, event.leg, event.instrument)]
        if isinstance(event, ev.Adl):
            return [(x.account, x.pot, x.leg, event.instrument) for x in event.against]
        return []

    def _held(self, who: tuple[str, str, str, str]) -> int:
        account, pot, leg, instrument = who
        return self.state.ledger.balance(
            f"{account}/{pot}:position:{leg}", f"contract:{instrument}"
        )

    def _before(self, event: Any) -> dict[tuple[str, str, str, str], int]:
        held = {who: self._held(who) for who in self._victims(event)}
        if isinstance(event, ev.LiquidationStep | ev.Takeover) and event.account != "sys":
            name = f"{event.account}/{event.pot}"
            if name not in self._entered and name not in self.since:
                # The first that befalls it: it must stand below its line at this very moment.
                equity, mm = self.health(name)
                assert equity < mm + DOUBT, f"{name} is liquidated at {equity} over {mm}"
                self._entered.add(name)
                self.parts.pop(name, None)
            self.parts.setdefault(name, self._most_parts(name))
        if isinstance(event, ev.SocialisedLoss):
            # No layer before the one above is empty: one of the asset's funds has run dry.
            funds = [
                self.state.ledger.balance(f"sys:fund/{group}", event.asset)
                for group in ("main", "eth")
            ]
            capped = any(layer.limit_usd is not None for layer in self.rules.layers)
            assert min(funds) == 0 or capped, f"shared while the funds hold {funds}"
        return held

    def _after(self, event: Any, held: dict[tuple[str, str, str, str], int]) -> None:
        for who, before in held.items():
            now = self._held(who)
            assert now * before >= 0 and abs(now) < abs(before), f"{who}: {before} -> {now}"
        if isinstance(event, ev.Adl):
            self._touch({f"{x.account}/{x.pot}" for x in event.against})
        if isinstance(event, ev.SocialisedLoss):
            self._touch({f"{x.account}/{x.pot}" for x in event.shares})
        if isinstance(event, ev.Mark) and event.id.startswith("day:"):
            self._below = {
                pot.name
                for pot in self.state.pots()
                if pot.open_positions() and self.is_below(pot.name, -DOUBT)
            }

    def _touch(self, names: set[str]) -> None:
        """Note whom something befell on behalf of others, and whom it lifted over his line."""
        self._touched |= names
        for name in (names & self._below) - self._lifted:
            gone = not self.state.pot(*name.split("/")).open_positions()
            if gone or not self.is_below(name, -DOUBT):
                self._lifted.add(name)

    # ---- health, by hand -------------------------------------------------------------------

    def health(self, name: str) -> tuple[Fraction, Fraction]:
        """Return equity and maintenance margin of a pot, quanta of USDC."""
        ledger = self.state.ledger
        price = {"USDC": Fraction(1)} | {c: Fraction(p) for c, p in self.coins.items()}
        equity = mm = Fraction(0)
        for asset, unit in UNIT.items():
            money = ledger.balance(f"{name}:wallet", asset)
            equity += Fraction(money, unit) * price[asset]
        account = self.state.accounts[name.partition("/")[0]]
        legs = ("net",) if account.legs == "net" else ("long", "short")
        for contract, (kind, asset, size, decimals, *_, coin) in CONTRACTS.items():
            for leg in legs:
                held = ledger.balance(f"{name}:position:{leg}", f"contract:{contract}")
                if not held:
                    continue
                units = Fraction(held, 10**decimals) * Fraction(size)
                raw = self.state.contracts[contract].mark
                assert raw is not None
                mark = Fraction(raw, 10**18)
                inverse = kind != "option" and asset == "BTC"
                value = -units / mark if inverse else units * mark
                cost = Fraction(ledger.balance(f"{name}:cost:{contract}:{leg}", asset), UNIT[asset])
                equity += (value + cost) * price[asset]
                notional = abs(value) * price[asset]
                if kind == "option":
                    notional = abs(units) * price[coin]
                    if contract != "MARGINED" and held > 0:
                        notional = Fraction(0)
                mm += notional * Fraction(5, 100)
        return equity * UNIT["USDC"], mm * UNIT["USDC"]

    def is_below(self, name: str, slack: int = 0) -> bool:
        """Whether a pot is below the line of the rules by more than a slack."""
        equity, mm = self.health(name)
        line = self.rules.line
        return equity < Fraction(line.factor) * mm + int(line.amount * UNIT["USDC"]) + slack

    # ---- one mark --------------------------------------------------------------------------

    def mark(self, seconds: int, prices: dict[str, str]) -> Tick:
        """Take a mark, and hold what the driver did to the laws."""
        self.now += seconds * NS_PER_SECOND
        self._entered.clear()
        self._touched.clear()
        self._lifted.clear()
        before = dict(self.since)
        tick = self.day.mark(self.now, prices, coins={c: f"{p}" for c, p in self.coins.items()})
        self._must_enter_at_once(tick, before)
        self._must_wait(tick)
        self._must_report(tick, before)
        self._must_end_in_bounds(tick)
        self._must_be_mended(tick)
        self._nobody_is_forgotten(tick)
        for loss in tick.losses:
            assert loss.deficit == loss.fund + loss.adl + loss.shared + loss.uncovered
            assert min(loss.fund, loss.adl, loss.shared, loss.uncovered) >= 0
            if loss.adl and self._fund_is_first:
                # Holders are called upon for whole contracts: less than one quantum's loss of
                # each contract may be left in the fund.
                most = self._one_quantum(loss.asset)
                assert min(loss.fund_left.values()) <= most, loss
        return tick

    def _nobody_is_forgotten(self, tick: Tick) -> None:
        """Who holds nothing and owes more than he has was paid for, or is said to be uncovered."""
        self.uncovered |= {loss.pot for loss in tick.losses if loss.uncovered}
        for pot in self.state.pots():
            if not pot.open_positions() and pot.name not in self.uncovered:
                assert self.health(pot.name)[0] > -DOUBT, pot.name

    def _one_quantum(self, asset: str) -> int:
        """Return the most that one quantum of each contract of an asset can lose, in quanta."""
        total = 0.0
        for kind, settlement, size, decimals, *_, coin in CONTRACTS.values():
            if settlement == asset:
                worth = float(size) / 10**decimals
                if kind == "option" or asset == "USDC":
                    worth *= self.coins[coin] if asset == "USDC" else 1.0
                else:
                    worth /= self.coins[coin]
                total += 3.0 * worth * UNIT[asset]
        return math.ceil(total) + 10

    def _must_enter_at_once(self, tick: Tick, before: dict[str, int]) -> None:
        """Whoever is below his line at a mark is liquidated at that mark, and nobody else."""
        found = set(tick.breached)
        assert len(found) == len(tick.breached)
        for name in self._below - set(before) - found:
            # Only what befell it on behalf of others can have lifted it before its turn. More of
            # that after its turn may bring it down again, until the next mark.
            assert name in self._lifted, name
        assert not found & set(before), "a liquidation begins once"

    def _must_wait(self, tick: Tick) -> None:
        """Each step acts no sooner again than its rule's timer allows."""
        every = {
            f"{self.rules.id}/{s.name}": s.interval_s * NS_PER_SECOND for s in self.rules.steps
        }
        for name in tick.breached:
            self.looks.pop(name, None)
            if name not in self._entered:
                # A cooldown still runs: what it may take is counted when it is first closed.
                self.parts.pop(name, None)
        for name, step in tick.trail:
            assert step.time_ns == self.now
            if step.action == "wait":
                assert step.due_ns is not None and step.due_ns > self.now
            if step.action in ("close", "takeover", "cancel-orders"):
                last = self.acted.get((name, step.rule))
                if last is not None and last != self.now:
                    assert self.now - last >= every[step.rule], f"{name}: {step.rule} too soon"
                self.acted[name, step.rule] = self.now
        # Timers outlast a recovery; they end with what they were for.
        gone = {name for name, step in tick.trail if step.action in ("takeover", "stuck")}
        self.acted = {key: at for key, at in self.acted.items() if key[0] not in gone}

    def _must_report(self, tick: Tick, before: dict[str, int]) -> None:
        """Time in breach is that since the first mark below the line."""
        ended = {n for n, s in tick.trail if s.action in ("restored", "takeover", "stuck")}
        self.since = {
            name: at
            for name, at in {**before, **dict.fromkeys(tick.breached, self.now)}.items()
            if name not in ended
        }
        assert tick.in_breach_ns == {name: self.now - at for name, at in self.since.items()}
        self.longest_ns = max(self.longest_ns, *tick.in_breach_ns.values(), 0)

    def _must_end_in_bounds(self, tick: Tick) -> None:
        """An account is closed in no more looks than its legs have parts under the rules."""
        for name in {name for name, step in tick.trail if step.action == "close"}:
            self.looks[name] += 1
            self.most_looks = max(self.most_looks, self.looks[name])
            assert self.looks[name] <= self.parts[name], name
        self.looks = Counter({n: k for n, k in self.looks.items() if n in self.since})

    def _most_parts(self, name: str) -> int:
        """Return how often an account can be closed a part of before nothing is left of it.

        Marks stay within a third and the threefold of the first ones, so a tenth of a notional
        in any market is no less than a ninetieth of it today.
        """
        pot = self.state.pot(*name.split("/"))
        found = 0
        for position in pot.open_positions():
            _, _, size, decimals, *_, coin = CONTRACTS[position.contract.id]
            units = abs(position.held.balance) / 10**decimals * float(size)
            each = 1.0 if position.contract.inverse else self.coins[coin]
            most = 9.0 * units * each
            by_step = [1]
            for step in self.rules.steps:
                if isinstance(step, CappedReduce):
                    by_step.append(math.ceil(most / step.least_usd) + 1)
                if isinstance(step, ReduceShare):
                    halves = math.log(max(1.0, most / step.above_usd))
                    by_step.append(2 + math.ceil(halves / -math.log(1.0 - step.share)))
                if isinstance(step, ReduceSufficient) and self.costs.depth:
                    by_step.append(math.ceil(units / self.costs.depth[position.contract.id]))
            found += max(by_step)
        return found

    def _must_be_mended(self, tick: Tick) -> None:
        """Who was restored keeps his line, and who was taken over holds nothing."""
        for name, step in tick.trail:
            if step.action == "restored" and name not in self._touched | self.uncovered:
                assert not self.is_below(name, -DOUBT), f"{name} was restored below its line"
            if step.action == "takeover":
                assert not self.state.pot(*name.split("/")).open_positions(), name
