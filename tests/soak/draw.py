"""Random events of every kind over many accounts, drawn from a seed.

Most are such as a venue would see; some are overdrawn, oversized or malformed on purpose, some
repeat an earlier event. Every figure is decimal text, as in an event file.
"""

from __future__ import annotations

import random

from crossmargin.accounts import State, text_of
from crossmargin.accounts import events as ev
from crossmargin.accounts.pots import Position, Pot

TIME = "2026-02-05T00:00:00Z"
LATE = "2026-06-27T08:00:00Z"

PERP, INVERSE, HELD, FUTURE, MARGINED = "PERP", "INVERSE", "SESSION", "FUTURE", "MARGINED"
CALL, COIN_PUT, COINS = "CALL", "COIN-PUT", "COINS"
CONTRACTS = (PERP, INVERSE, HELD, FUTURE, MARGINED, CALL, COIN_PUT)
ASSETS = ("USDC", "BTC", "ETH")
PRICES = {
    PERP: 50_000,
    INVERSE: 50_000,
    HELD: 3_000,
    FUTURE: 50_500,
    MARGINED: 900,
    CALL: 1_200,
    COIN_PUT: 0.05,
    COINS: 3_000,
}


def _contract(name: str, kind: str, **fields: object) -> ev.ListContract:
    terms = {"underlying": "BTC", "quote": "USDC", "settlement": "USDC", **fields}
    return ev.ListContract(id=f"list {name}", time=TIME, instrument=name, type=kind, **terms)


def beginning(accounts: int) -> list[ev.EventBase]:
    """Return the events that open a venue: contracts, accounts in several modes, pots, funds."""
    option = {"expiry": "2026-03-27T08:00:00Z", "strike": "50000"}
    made: list[ev.EventBase] = [
        _contract(PERP, "perpetual", quantity_decimals=4),
        _contract(
            INVERSE, "perpetual", quote="USD", settlement="BTC", quantity_decimals=0, size="10"
        ),
        _contract(HELD, "perpetual", underlying="ETH", quantity_decimals=3, session=True),
        _contract(FUTURE, "future", quantity_decimals=4, expiry="2026-06-26T08:00:00Z"),
        _contract(MARGINED, "option", right="call", premium="margined", **option),
        _contract(CALL, "option", right="call", quantity_decimals=2, **option),
        _contract(COIN_PUT, "option", right="put", quote="USD", settlement="BTC", **option),
        _contract(COINS, "spot", underlying="ETH", quantity_decimals=6),
    ]
    for n in range(accounts):
        name = f"a{n:03d}"
        made.append(
            ev.OpenAccount(
                id=f"open {name}",
                time=TIME,
                account=name,
                parent=f"a{n - 1:03d}" if n % 5 == 4 else None,
                ring_fenced=n % 2 == 0,
                legs="hedge" if n % 4 == 3 else "net",
                borrowing=n % 3 == 0,
            )
        )
        if n % 3 == 1:
            made.append(ev.OpenPot(id=f"pot {name}", time=TIME, account=name, pot="iso"))
        for asset, amount in (("USDC", "250000"), ("BTC", "5"), ("ETH", "40")):
            made.append(
                ev.Deposit(
                    id=f"first {name} {asset}", time=TIME, account=name, asset=asset, amount=amount
                )
            )
    for asset, amount in (("USDC", "1000000"), ("BTC", "20")):
        made.append(
            ev.FundPayIn(id=f"fund {asset}", time=TIME, group="main", asset=asset, amount=amount)
        )
    for name, value in (("floor", "0.02"), ("slope", "0.08"), ("kink", "0.85")):
        made.append(
            ev.SetParameter(
                id=f"curve {name}",
                time=TIME,
                scope="asset",
                target="USDC",
                name=f"curve_{name}",
                value=value,
            )
        )
    made.append(
        ev.SetParameter(
            id="share", time=TIME, scope="asset", target="USDC", name="fund_share", value="0.2"
        )
    )
    return made


def ending() -> list[ev.EventBase]:
    """Return the events that close every contract and settle every session."""
    made: list[ev.EventBase] = []
    for name in CONTRACTS:
        head = {"id": f"end {name}", "time": LATE, "instrument": name}
        if name in (FUTURE, MARGINED, CALL, COIN_PUT):
            made.append(ev.Expiry(**head, samples=("51234.567891", "51000", "50321.00007")))
        else:
            made.append(ev.Delist(**head, price=f"{PRICES[name] * 1.0123:.7f}"))
    made.append(ev.SettleSession(id="end session", time=LATE, asset="USDC"))
    return made


class Draw:
    """Draws one event after another.

    Parameters
    ----------
    state : State
        Looked at, never changed: what an event may plausibly be depends on it.
    seed : int
        Same seed and same course, same events.
    """

    def __init__(self, state: State, seed: int) -> None:
        self.state = state
        self.rng = random.Random(seed)
        self.names = sorted(state.accounts)
        self.number = 0
        self.prices = dict(PRICES)
        self.fills: list[ev.Fill] = []
        self.past: list[ev.EventBase] = []
        self.kinds, self.weights = zip(*_WEIGHTS)
        self.cumulative = [sum(self.weights[: n + 1]) for n in range(len(self.weights))]

    def event(self) -> ev.EventBase:
        """Return the next event."""
        self.number += 1
        rng = self.rng
        if self.past and rng.random() < 0.01:
            return rng.choice(self.past)
        kind = rng.choices(self.kinds, cum_weights=self.cumulative)[0]
        event = getattr(self, f"_{kind}")()
        if rng.random() < 0.02:
            self._remember(self.past, event)
        if type(event) is ev.Fill and rng.random() < 0.05:
            self._remember(self.fills, event)
        return event

    def _remember(self, where: list[ev.EventBase], event: ev.EventBase) -> None:
        if len(where) < 500:
            where.append(event)
        else:
            where[self.rng.randrange(500)] = event

    # --- pieces --------------------------------------------------------------------------------

    def head(self) -> dict[str, str]:
        return {"id": f"e{self.number}", "time": TIME}

    def account(self) -> str:
        return self.names[int(self.rng.random() * len(self.names))]

    def pot(self, account: str) -> str:
        pots = self.state.accounts[account].pots
        return "iso" if "iso" in pots and self.rng.random() < 0.3 else "cross"

    def amount(self, top: int, asset: str) -> str:
        decimals = self.state.assets[asset].decimals
        return text_of(1 + int(self.rng.random() * top), decimals)

    def some(self, asset: str) -> str:
        most = {"USDC": 50_000_000_000, "BTC": 100_000_000, "ETH": 1_000_000_000}[asset]
        return self.amount(most, asset)

    def quantity(self, name: str) -> str:
        most = 20_000 if name == INVERSE else 3
        places = self.state.contracts[name].quantity_decimals
        return text_of(1 + int(self.rng.random() * most * 10**places), places)

    def price(self, name: str) -> str:
        moved = self.prices[name] * (1 + 0.004 * (self.rng.random() - 0.5))
        self.prices[name] = min(max(moved, 0.2 * PRICES[name]), 5 * PRICES[name])
        return f"{self.prices[name]:.{4 if name == COIN_PUT else 1}f}"

    def side(self, name: str, opens: str) -> ev.Side:
        account = self.account()
        leg = "net"
        if self.state.accounts[account].legs == "hedge" and name != COINS:
            leg = opens if self.rng.random() < 0.7 else self.rng.choice(("long", "short"))
        fee = "0" if self.rng.random() < 0.5 else "0.0002"
        return ev.Side(account=account, pot=self.pot(account), leg=leg, fee=fee)

    def trade(self) -> ev.Trade:
        rng = self.rng
        name = COINS if rng.random() < 0.1 else CONTRACTS[int(rng.random() * len(CONTRACTS))]
        one_sided = rng.random() < 0.05
        return ev.Trade(
            instrument=name,
            quantity=self.quantity(name),
            price=self.price(name),
            buyer=self.side(name, "long"),
            seller=None if one_sided else self.side(name, "short"),
        )

    def holding(self) -> Position | None:
        """Return an open position of a trader, if a few looks find one."""
        for _ in range(4):
            account = self.state.accounts[self.account()]
            for pot in account.pots.values():
                found = [p for p in pot.positions.values() if p.held.balance]
                if found:
                    return self.rng.choice(found)
        return None

    def part(self, position: Position) -> str:
        held = abs(position.held.balance)
        size = held if self.rng.random() < 0.4 else 1 + int(self.rng.random() * held)
        if self.rng.random() < 0.05:
            size = held + 1
        return text_of(size, position.contract.quantity_decimals)

    def debtor(self) -> Pot | None:
        for _ in range(8):
            pots = self.state.accounts[self.account()].pots
            for pot in pots.values():
                if pot.wallet("USDC").balance < 0:
                    return pot
        return None

    # --- kinds ---------------------------------------------------------------------------------

    def _fill(self) -> ev.EventBase:
        return ev.Fill(**self.head(), trade=self.trade())

    def _block(self) -> ev.EventBase:
        return ev.Block(**self.head(), trades=[self.trade(), self.trade()])

    def _bust(self) -> ev.EventBase:
        if not self.fills:
            return self._fill()
        return ev.Bust(**self.head(), fill=self.rng.choice(self.fills))

    def _mark(self) -> ev.EventBase:
        name = self.rng.choice(CONTRACTS)
        return ev.Mark(**self.head(), prices={name: self.price(name)})

    def _deposit(self) -> ev.EventBase:
        account, asset = self.account(), self.rng.choice(ASSETS)
        return ev.Deposit(
            **self.head(),
            account=account,
            pot=self.pot(account),
            asset=asset,
            amount=self.some(asset),
            location=self.rng.choice(("", "", "chain")),
            pending=self.rng.random() < 0.3,
        )

    def _withdrawal(self) -> ev.EventBase:
        account, asset = self.account(), self.rng.choice(ASSETS)
        return ev.Withdrawal(
            **self.head(),
            account=account,
            pot=self.pot(account),
            asset=asset,
            amount=self.some(asset),
            location=self.rng.choice(("", "", "chain")),
            pending=self.rng.random() < 0.5,
        )

    def _transfer(self) -> ev.EventBase:
        source, target, asset = self.account(), self.account(), self.rng.choice(ASSETS)
        return ev.MoveMoney(
            **self.head(),
            source=ev.Place(account=source, pot=self.pot(source)),
            target=ev.Place(account=target, pot=self.pot(target)),
            asset=asset,
            amount=self.some(asset),
            pending=self.rng.random() < 0.3,
        )

    def _reserve(self) -> ev.EventBase:
        asset = self.rng.choice(ASSETS)
        return ev.Reserve(
            **self.head(), account=self.account(), asset=asset, amount=self.some(asset)
        )

    def _finish(self) -> ev.EventBase:
        if not self.state.pendings:
            return self._deposit()
        rng = self.rng
        # The oldest, so that few are ever open.
        name, pending = next(iter(self.state.pendings.items()))
        if rng.random() < 0.4:
            return ev.Void(**self.head(), pending=name)
        asset = pending.waiting.asset
        part = self.amount(pending.amount, asset) if rng.random() < 0.3 else None
        return ev.Post(**self.head(), pending=name, amount=part)

    def _fee(self) -> ev.EventBase:
        amount = self.rng.choice(("1.25", "-0.5"))
        return ev.FeeCharge(**self.head(), account=self.account(), asset="USDC", amount=amount)

    def _funding(self) -> ev.EventBase:
        name = self.rng.choice((PERP, INVERSE, HELD))
        rate = f"{2e-4 * (self.rng.random() - 0.5):.12f}"
        elapsed = self.rng.choice(((1, 1), (777, 3600)))
        return ev.Funding(
            **self.head(),
            instrument=name,
            rate=rate,
            price=self.price(name),
            elapsed_s=elapsed[0],
            interval_s=elapsed[1],
        )

    def _loan(self) -> ev.EventBase:
        kind = ev.Borrow if self.rng.random() < 0.6 else ev.Repay
        asset = self.rng.choice(ASSETS)
        amount = self.some(asset)
        return kind(**self.head(), account=self.account(), asset=asset, amount=amount)

    def _interest(self) -> ev.EventBase:
        rng = self.rng
        how = rng.choice(("simple", "periods", "continuous"))
        return ev.Interest(
            **self.head(),
            asset=rng.choice(ASSETS),
            elapsed_s=3600,
            rate=None if rng.random() < 0.5 else "0.1",
            compounding=how,
            period_s=600 if how == "periods" else None,
            lender=rng.choice(("house", "suppliers")),
        )

    def _convert(self) -> ev.EventBase:
        source, target, price = self.rng.choice(
            (("USDC", "BTC", "0.00002"), ("BTC", "USDC", "50000.33"), ("ETH", "USDC", "3000.7"))
        )
        return ev.Convert(
            **self.head(),
            account=self.account(),
            source=source,
            amount=self.some(source),
            target=target,
            price=price,
            spread="0.0013",
        )

    def _session(self) -> ev.EventBase:
        return ev.SettleSession(**self.head(), asset="USDC")

    def _move_position(self) -> ev.EventBase:
        position = self.holding()
        if position is None:
            return self._fill()
        contract, pot = position.contract, position.pot
        assert pot.account is not None
        target = self.account()
        legs = self.state.accounts[target].legs
        leg = "net" if legs == "net" else ("long" if position.held.balance > 0 else "short")
        return ev.MovePosition(
            **self.head(),
            instrument=contract.id,
            quantity=self.part(position),
            source=ev.Side(account=pot.account.id, pot=pot.id, leg=position.leg),
            target=ev.Side(account=target, pot=self.pot(target), leg=leg),
            price=None if self.rng.random() < 0.5 else self.price(contract.id),
        )

    def _switch(self) -> ev.EventBase:
        account = self.names[1 + 3 * self.rng.randrange(len(self.names) // 3)]
        pots = ("cross", "iso") if self.rng.random() < 0.5 else ("iso", "cross")
        return ev.SwitchMode(
            **self.head(),
            account=account,
            instrument=self.rng.choice((PERP, INVERSE, HELD, CALL)),
            source=pots[0],
            target=pots[1],
            amount=self.rng.choice(("0", "0.01", "1000")),
        )

    def _liquidation(self) -> ev.EventBase:
        position = self.holding()
        if position is None:
            return self._fill()
        contract, pot = position.contract, position.pot
        assert pot.account is not None
        terms = {
            **self.head(),
            "instrument": contract.id,
            "quantity": self.part(position),
            "price": self.price(contract.id),
            "account": pot.account.id,
            "pot": pot.id,
            "leg": position.leg,
        }
        if self.rng.random() < 0.5:
            return ev.Takeover(**terms)
        to = self.rng.choice(("fund", "liquidator", "fees"))
        return ev.LiquidationStep(**terms, fee="0.002", fee_to=to)

    def _adl(self) -> ev.EventBase:
        """Close what the liquidator holds against whoever is on the other side."""
        name = self.rng.choice(CONTRACTS)
        mine = self.state.system["liquidator"].positions.get((name, "net"))
        other = self.holding()
        if mine is None or other is None or other.contract.id != name:
            return self._liquidation()
        assert other.pot.account is not None
        share = ev.AdlShare(
            account=other.pot.account.id,
            pot=other.pot.id,
            leg=other.leg,
            quantity=self.part(other),
        )
        return ev.Adl(
            **self.head(),
            instrument=name,
            price=self.price(name),
            account="sys",
            pot="liquidator",
            against=[share],
        )

    def _cover(self) -> ev.EventBase:
        """Let fund, relatives or everybody pay for a wallet that is below 0."""
        pot = self.debtor()
        if pot is None:
            return self._fee()
        assert pot.account is not None
        target = ev.Place(account=pot.account.id, pot=pot.id)
        lacking = -pot.wallet("USDC").balance
        choice = self.rng.random()
        if choice < 0.5:
            amount = self.amount(lacking, "USDC")
            return ev.FundCover(
                **self.head(), group="main", target=target, asset="USDC", amount=amount
            )
        if choice < 0.7:
            source = ev.Place(account=self.account())
            return ev.Cover(**self.head(), source=source, target=target, asset="USDC", amount="0.5")
        shares = [
            ev.LossShare(account=name, amount=text_of(max(1, lacking // 5), 6))
            for name in self.rng.sample(self.names, 4)
        ]
        return ev.SocialisedLoss(**self.head(), target=target, asset="USDC", shares=shares)

    def _pay_in(self) -> ev.EventBase:
        return ev.FundPayIn(
            **self.head(),
            group="main",
            asset="USDC",
            amount="1000",
            source=self.rng.choice(("world", "fees")),
        )

    def _parameter(self) -> ev.EventBase:
        rng = self.rng
        if rng.random() < 0.9:
            state = rng.choice(("healthy",) * 18 + ("reduce-only", "liquidating"))
            return ev.SetState(**self.head(), account=self.account(), state=state)
        return ev.SetParameter(
            **self.head(),
            scope="account",
            target=self.account(),
            name=rng.choice(("ring_fenced", "borrowing", "misspelt")),
            value=rng.choice(("true", "false")),
        )

    def _correct(self) -> ev.EventBase:
        against = self.rng.choice(("world", "fees", "interest"))
        return ev.Correct(
            **self.head(),
            of=self.rng.choice(("list PERP", "never")),
            account=self.account(),
            asset="USDC",
            amount=self.rng.choice(("0.25", "-1.5")),
            against=against,
        )

    def _terms(self) -> ev.EventBase:
        into, each = self.rng.choice(((10, 1), (1, 10), (2, 1), (1, 2), (1, 1)))
        size = self.state.contracts[FUTURE].size
        if size > 10**21 or size < 10**15:
            into, each = (10, 1) if size > 10**18 else (1, 10)
        price = self.rng.choice((None, "50000.5"))
        return ev.Redenominate(**self.head(), instrument=FUTURE, into=into, each=each, price=price)

    def _nonsense(self) -> ev.EventBase:
        rng, head = self.rng, self.head()
        return rng.choice(
            (
                ev.Deposit(**head, account="nobody", asset="USDC", amount="1"),
                ev.Deposit(**head, account=self.account(), asset="USDC", amount="1e3"),
                ev.Deposit(**head, account=self.account(), asset="USDC", amount="0.0000001"),
                ev.Withdrawal(**head, account=self.account(), asset="USDC", amount="1" + "0" * 20),
                ev.Post(**head, pending="never"),
                ev.Expiry(**head, instrument=FUTURE, price="1"),
                ev.Funding(**head, instrument=CALL, rate="0.1"),
                ev.Mark(id=head["id"], time="yesterday", prices={PERP: "1"}),
            )
        )


_WEIGHTS = (
    ("fill", 60),
    ("mark", 8),
    ("deposit", 4),
    ("withdrawal", 4),
    ("transfer", 3),
    ("reserve", 1),
    ("finish", 5),
    ("fee", 2),
    ("loan", 2),
    ("convert", 1.5),
    ("block", 2),
    ("bust", 0.5),
    ("move_position", 1.5),
    ("switch", 0.8),
    ("liquidation", 2.5),
    ("adl", 1),
    ("cover", 1.5),
    ("pay_in", 0.2),
    ("correct", 0.2),
    ("parameter", 4),
    ("nonsense", 0.7),
    # These touch every holder, so that a few of them move as much as many fills.
    ("funding", 0.15),
    ("interest", 0.1),
    ("session", 0.1),
    ("terms", 0.02),
)
