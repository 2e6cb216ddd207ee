"""Any sequence of events leaves a live book where computing its accounts afresh puts it (B02)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.live_books import FUSED, assert_as_whole, at_market, gross, made

from crossmargin.book import CompactBook
from crossmargin.margin import load_ruleset
from crossmargin.margin.batch import evaluate_book
from crossmargin.margin.live import LiveBook
from crossmargin.margin.live._breaches import Breaches
from crossmargin.market import Snapshot
from crossmargin.units import NS_PER_SECOND

HOUR = 3_600 * NS_PER_SECOND
ACCOUNTS = 12
WITHIN = 1e-9
COINS = ("BTC", "ETH", "USDC")


class Books:
    """What accounts hold, written down fill by fill in plain Python.

    Entries are averaged over what was paid; what is closed is realised into the balance.
    """

    def __init__(self, book: CompactBook, mark: np.ndarray) -> None:
        self.terms = book.registry.terms
        self.positions = [{} for _ in range(book.regular)]
        self.balances = [{} for _ in range(book.regular)]
        for a in range(book.regular):
            for k in range(book.position_start[a], book.position_start[a + 1]):
                i = int(book.position_instrument[k])
                entry = float(book.position_entry[k])
                entry = float(mark[i]) if np.isnan(entry) else entry
                self.positions[a][i] = [float(book.position_quantity[k]), entry]
            for k in range(book.balance_start[a], book.balance_start[a + 1]):
                asset = int(book.balance_asset[k])
                self.balances[a][asset] = float(book.balance_amount[k])

    def pay(self, account: int, asset: int, amount: float) -> None:
        owned = self.balances[account]
        owned[asset] = owned.get(asset, 0.0) + amount

    def fill(self, account: int, item: int, quantity: float, price: float) -> None:
        size, settle = float(self.terms.contract_size[item]), int(self.terms.settlement[item])
        held = self.positions[account]
        before, entry = held.get(item, [0.0, price])
        after = before + quantity
        if self.terms.kind[item] == 3:
            self.pay(account, settle, -quantity * price * size)
            entry = price
        else:
            inverse = bool(self.terms.inverse[item])

            def worth(of: float, at: float) -> float:
                """What a position is worth, or was paid: its profit is the difference."""
                return -of * size / at if inverse else of * size * at

            if before * quantity >= 0.0:
                paid = worth(before, entry) + worth(quantity, price)
                if after:
                    entry = -after * size / paid if inverse else paid / (after * size)
            else:
                closed = -quantity if abs(quantity) <= abs(before) else before
                gained = worth(closed, price) - worth(closed, entry)
                self.pay(account, settle, gained)
                entry = entry if abs(quantity) <= abs(before) else price
        held[item] = [after, entry]
        if after == 0.0:
            del held[item]

    def compact(self, book: CompactBook) -> CompactBook:
        rows = [
            (a, i, *self.positions[a][i])
            for a in range(book.regular)
            for i in sorted(self.positions[a])
        ]
        cash = [
            (a, i, x) for a in range(book.regular) for i, x in self.balances[a].items() if x != 0.0
        ]

        def start(column) -> np.ndarray:
            counts = np.bincount([row[0] for row in column], minlength=book.regular)
            return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

        return replace(
            book,
            position_start=start(rows),
            position_instrument=np.array([r[1] for r in rows], dtype=np.uint16),
            position_quantity=np.array([r[2] for r in rows], dtype=np.float64),
            position_entry=np.array([r[3] for r in rows], dtype=np.float64),
            balance_start=start(cash),
            balance_asset=np.array([r[1] for r in cash], dtype=np.uint16),
            balance_amount=np.array([r[2] for r in cash], dtype=np.float64),
        )


class Session:
    """A live book, and the same facts kept apart from it."""

    def __init__(
        self, name: str, accounts: int, seed: int, instruments: int = 60, *, triggers: bool = False
    ) -> None:
        self.name = name
        self.book, self.start = made(name, accounts, seed=seed, instruments=instruments)
        self.market: Snapshot = self.start
        self.prices: dict[str, float] = {}
        self.vols: dict[str, float] = {}
        self.registry = self.book.registry
        mark = self.start.view(self.registry).price
        self.books = Books(self.book, mark)
        self.live = LiveBook(self.book, self.start, load_ruleset(name), triggers=triggers)
        self.told = self.live.below.copy()

    def hear(self, said: Breaches) -> None:
        """Follow what events say."""
        assert not self.told[said.fallen].any()
        assert self.told[said.recovered].all()
        self.told[said.fallen], self.told[said.recovered] = True, False

    def now(self) -> Snapshot:
        return at_market(self.market, self.registry, self.prices, self.vols)

    def tick(self, coins: dict[str, float]) -> None:
        prices = {c: self.start.assets[c].price_usd * f for c, f in coins.items()}
        self.prices |= prices
        self.hear(self.live.tick(prices))

    def vol(self, coin: str, factor: float) -> None:
        # Kept between a third and three times where they began.
        was = self.vols.get(coin, 1.0)
        factor = factor if 1 / 3 < was * factor < 3 else 1.0 / was
        self.vols[coin] = was * factor
        self.hear(self.live.vol(coin, factor))

    def fill(self, account: int, item: int, quantity: float, factor: float) -> None:
        contract = self.registry[item]
        price = self.start.assets[contract.underlying].price_usd * factor
        if contract.kind == "option":
            price = 0.03 * factor if contract.inverse else price * 0.03
        if contract.inverse and contract.kind != "option":
            quantity = round(quantity * price)
        self.books.fill(account, item, quantity, price)
        self.hear(self.live.fill(account, contract.id, quantity, price))

    def close(self, account: int, which: int) -> None:
        held = sorted(self.books.positions[account])
        if held:
            item = held[which % len(held)]
            quantity = -self.books.positions[account][item][0]
            price = self.start.assets[self.registry[item].underlying].price_usd
            price = 0.01 if self.registry[item].kind == "option" else price
            self.books.fill(account, item, quantity, price)
            self.hear(self.live.fill(account, self.registry[item].id, quantity, price))

    def deposit(self, account: int, coin: str, dollars: float) -> None:
        asset = self.registry.asset(coin)
        amount = round(dollars / self.start.assets[coin].price_usd, 6)
        self.books.pay(account, asset, amount)
        self.hear(self.live.deposit(account, coin, amount))

    def wait(self, hours: float) -> None:
        moment = self.live.snapshot().moment_ns + round(hours * HOUR)
        # Never inside the half hour in which a settlement is averaged.
        while any(
            0 < i.expiry_ns - moment < HOUR for i in self.registry if i.kind in ("option", "future")
        ):
            moment += HOUR
        self.market = replace(self.market, valued_at_ns=moment)
        self.hear(self.live.at(moment))

    def compare(self) -> None:
        ours, theirs = self.live.book(), self.books.compact(self.book)
        np.testing.assert_array_equal(ours.position_instrument, theirs.position_instrument)
        np.testing.assert_allclose(
            ours.position_quantity, theirs.position_quantity, rtol=1e-9, atol=1e-9
        )
        np.testing.assert_allclose(ours.position_entry, theirs.position_entry, rtol=1e-7)
        assert_as_whole(self.live, self.now(), self.name, within=WITHIN, book=theirs)
        np.testing.assert_array_equal(self.told, self.live.below)

    def compare_sides(self) -> None:
        """See who is below the line, and compute nobody for it."""
        theirs = self.books.compact(self.book)
        scale = gross(theirs, self.now())
        whole = evaluate_book(
            theirs.accounts(0, theirs.regular), self.now(), load_ruleset(self.name)
        )
        with np.errstate(invalid="ignore"):
            near = np.abs(whole.equity - whole.mm) <= 1e-6 * scale
            near |= np.abs(whole.health - 1.0) <= 1e-9
        sure = ~near & ~np.isnan(whole.im)
        np.testing.assert_array_equal(self.live.below[sure], (whole.health < 1.0)[sure])
        np.testing.assert_array_equal(self.told, self.live.below)

    def compare_some(self, accounts: list[int]) -> None:
        """See the figures of some accounts; the others are left as they are."""
        theirs = self.books.compact(self.book)
        scale = gross(theirs, self.now())[accounts]
        whole = evaluate_book(
            theirs.accounts(0, theirs.regular), self.now(), load_ruleset(self.name)
        )
        found = self.live.figures(accounts)
        for k, name in enumerate(("equity", "equity_im", "im", "mm")):
            want = getattr(whole, name)[accounts]
            np.testing.assert_array_equal(np.isnan(found[:, k]), np.isnan(want))
            error = np.abs(found[:, k] - want) / np.maximum(scale, np.abs(want))
            assert np.nanmax(error, initial=0.0) <= WITHIN


class LiveMachine(RuleBasedStateMachine):
    """Events in any order; every account is compared after each."""

    session: Session
    rules_name = "derive-pm2"
    triggers = False

    @initialize(seed=st.integers(0, 5))
    def begin(self, seed: int) -> None:
        self.session = Session(
            self.rules_name, ACCOUNTS, seed, instruments=30, triggers=self.triggers
        )

    @rule(
        coins=st.dictionaries(st.sampled_from(COINS), st.floats(0.5, 1.8), min_size=1, max_size=3)
    )
    def tick(self, coins: dict[str, float]) -> None:
        if "USDC" in coins:
            coins = coins | {"USDC": 0.9 + 0.1 * coins["USDC"]}
        self.session.tick(coins)

    @rule(coin=st.sampled_from(("BTC", "ETH")), factor=st.floats(0.7, 1.5))
    def vol(self, coin: str, factor: float) -> None:
        self.session.vol(coin, factor)

    @rule(
        account=st.integers(0, ACCOUNTS - 1),
        item=st.integers(0, 10_000),
        quantity=st.floats(-20, 20).map(lambda q: round(q, 2)).filter(bool),
        factor=st.floats(0.8, 1.25),
    )
    def fill(self, account: int, item: int, quantity: float, factor: float) -> None:
        s = self.session
        open_ = [
            k
            for k, i in enumerate(s.registry)
            if i.kind == "perpetual" or i.expiry_ns > s.live.snapshot().moment_ns
        ]
        s.fill(account, open_[item % len(open_)], quantity, factor)

    @rule(account=st.integers(0, ACCOUNTS - 1), which=st.integers(0, 100))
    def close(self, account: int, which: int) -> None:
        self.session.close(account, which)

    @rule(
        account=st.integers(0, ACCOUNTS - 1),
        coin=st.sampled_from(COINS),
        dollars=st.floats(-50_000, 50_000),
    )
    def deposit(self, account: int, coin: str, dollars: float) -> None:
        self.session.deposit(account, coin, dollars)

    @precondition(lambda self: self.session.live.snapshot().moment_ns
                  < self.session.start.as_of_ns + 150 * 24 * HOUR)  # fmt: skip
    @rule(hours=st.integers(1, 600))
    def wait(self, hours: int) -> None:
        self.session.wait(hours)

    @rule(accounts=st.lists(st.integers(0, ACCOUNTS - 1), max_size=4), factor=st.floats(0.7, 1.4))
    def look_at_some_first(self, accounts: list[int], factor: float) -> None:
        s = self.session
        price = s.start.assets["BTC"].price_usd * factor
        s.prices["BTC"] = price
        s.live.advance({"BTC": price})
        s.hear(s.live.revalue(accounts))
        s.hear(s.live.settle())

    @invariant()
    def as_computed_afresh(self) -> None:
        if hasattr(self, "session"):
            self.session.compare()


class CrossMachine(LiveMachine):
    rules_name = "deribit-pm-cross"


class PotsMachine(LiveMachine):
    rules_name = "deribit-pm"


class LazyMachine(LiveMachine):
    """The same with trigger prices: sides are right after every event, figures when asked for."""

    triggers = True

    @rule(
        coins=st.dictionaries(
            st.sampled_from(("BTC", "ETH")), st.floats(-0.02, 0.02), min_size=1, max_size=2
        )
    )
    def small_tick(self, coins: dict[str, float]) -> None:
        s = self.session
        now = {c: s.prices.get(c, s.start.assets[c].price_usd) for c in coins}
        s.tick({c: now[c] * (1.0 + x) / s.start.assets[c].price_usd for c, x in coins.items()})

    @rule(coin=st.sampled_from(("BTC", "ETH")), factor=st.floats(0.93, 1.07))
    def small_vol(self, coin: str, factor: float) -> None:
        self.session.vol(coin, factor)

    @rule(minutes=st.integers(1, 60))
    def wait_a_little(self, minutes: int) -> None:
        self.session.wait(minutes / 60.0)

    @rule(accounts=st.lists(st.integers(0, ACCOUNTS - 1), max_size=4, unique=True))
    def ask(self, accounts: list[int]) -> None:
        if accounts:
            self.session.compare_some(accounts)

    @rule()
    def read_columns(self) -> None:
        self.session.compare()

    @invariant()
    def as_computed_afresh(self) -> None:
        if hasattr(self, "session"):
            self.session.compare_sides()

    def teardown(self) -> None:
        if hasattr(self, "session"):
            self.session.compare()


class LazyCrossMachine(LazyMachine):
    rules_name = "deribit-pm-cross"


class LazyPotsMachine(LazyMachine):
    rules_name = "deribit-pm"


_SETTINGS = settings(
    max_examples=10,
    stateful_step_count=15,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
TestDerive = LiveMachine.TestCase
TestDerive.settings = _SETTINGS
TestCross = CrossMachine.TestCase
TestCross.settings = _SETTINGS
TestPots = PotsMachine.TestCase
TestPots.settings = _SETTINGS
TestLazy = LazyMachine.TestCase
TestLazy.settings = _SETTINGS
TestLazyCross = LazyCrossMachine.TestCase
TestLazyCross.settings = _SETTINGS
TestLazyPots = LazyPotsMachine.TestCase
TestLazyPots.settings = _SETTINGS


@pytest.mark.parametrize("triggers", [False, True])
@pytest.mark.parametrize("name", FUSED)
def test_a_thousand_events(name, triggers):
    """Requirements B02: after 1,000 random events, incremental = full recompute to 1e-9."""
    rng = np.random.default_rng(20)
    s = Session(name, 30, seed=8, triggers=triggers)
    open_ = [k for k, i in enumerate(s.registry) if i.kind == "perpetual" or i.kind == "option"]
    for event in range(1_000):
        kind = rng.choice(6, p=[0.4, 0.05, 0.3, 0.1, 0.14, 0.01])
        account = int(rng.integers(30))
        coin = COINS[int(rng.integers(3))]
        if kind == 0:
            s.tick(
                {coin: 1.0 + 0.3 * float(rng.uniform(-1, 1)) * (1.0 if coin != "USDC" else 0.05)}
            )
        elif kind == 1:
            s.vol(("BTC", "ETH")[event % 2], float(rng.uniform(0.8, 1.25)))
        elif kind == 2:
            item = int(rng.choice(open_))
            s.fill(account, item, float(np.round(rng.normal(), 2)) or 1.0, rng.uniform(0.9, 1.1))
        elif kind == 3:
            s.close(account, int(rng.integers(100)))
        elif kind == 4:
            s.deposit(account, coin, float(rng.normal() * 2e4))
        elif s.live.snapshot().moment_ns < s.start.as_of_ns + 9 * 24 * HOUR:
            s.wait(int(rng.integers(1, 20)))
        if event % 100 == 99:
            s.compare()
