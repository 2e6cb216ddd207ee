"""The gate against the reference engine: the same decision and the same figures."""

from __future__ import annotations

import math
import threading
from dataclasses import replace

import numpy as np
import pytest
from tests.live_books import FUSED, made

from crossmargin.book import (
    AccountFile,
    BalanceEntry,
    OrderEntry,
    OrderLeg,
    PoolEntry,
    PositionEntry,
    Quote,
    QuoteGroup,
    book_from_accounts,
    compact_book,
)
from crossmargin.errors import (
    CrossmarginError,
    InputError,
    MarginError,
    MarketDataError,
    RulesetError,
)
from crossmargin.margin import load_ruleset
from crossmargin.margin._probe import OrderProbe
from crossmargin.margin.live._address import block_of
from crossmargin.margin.live._gate_file import file_ids
from crossmargin.margin.live._gate_slow import slow_check
from crossmargin.margin.live._gate_tables import CERTAIN, EPOCH, FACTS
from crossmargin.margin.live.gate import Gate

FIGURES = (
    "equity_usd",
    "im_before_usd",
    "im_after_usd",
    "excess_usd",
    "rounding_usd",
    "debt_usd",
)


def rules(name: str, fee: float = 3e-4):
    if name.startswith("derive"):
        return load_ruleset(name)
    return load_ruleset(name, overrides={"orders.method": "worst-fill", "orders.fee_rate": fee})


class Desk:
    """A gate, and questions drawn for it."""

    def __init__(self, name: str, accounts: int = 25, seed: int = 5, instruments: int = 60) -> None:
        self.book, self.snapshot = made(name, accounts, instruments=instruments)
        self.rules = rules(name)
        self.gate = Gate(self.book, self.snapshot, self.rules)
        self.rng = np.random.default_rng(seed)
        self.unit = self.gate._tables.arrays[3].reshape(-1, 8)
        layout = self.gate._tables.program.layout
        self.codes = np.flatnonzero(layout.what == 0)
        self.accounts = accounts
        self.met: dict[str, int] = {}

    def leg(self, account: int, scale: float = 1.0) -> tuple[int, float, float | None]:
        """Draw a leg: half of them in what is held, some of those closing or turning it."""
        rng = self.rng
        codes, quantity, _ = self.gate._rows.of(account)
        held = [c for c in codes.tolist() if c in set(self.codes.tolist())]
        inside = bool(held) and rng.random() < 0.5
        code = int(rng.choice(held)) if inside else int(rng.choice(self.codes))
        usd = 2_000.0 * scale * rng.lognormal(0.0, 1.5)
        q = float(usd / self.unit[code, 5] * rng.choice([-1, 1]))
        if inside and rng.random() < 0.4:
            q = float(-quantity[codes.tolist().index(code)] * rng.choice([0.5, 1.0, 1.5, 2.0]))
        price = float(self.unit[code, 1] * rng.uniform(0.9, 1.1)) if rng.random() < 0.7 else None
        return code, q, price

    def rest(self, account: int) -> None:
        """Let some orders and quotes rest."""
        rng = self.rng
        for k in range(int(rng.integers(1, 4))):
            legs = [self.leg(account, 0.3) for _ in range(int(rng.integers(1, 3)))]
            self.gate.place(account, f"o{k}", legs)
        for name, limit in (("free", None), ("capped", float(rng.uniform(10, 3_000)))):
            quotes = []
            for _ in range(2):
                code, q, _ = self.leg(account, 0.3)
                mark = float(self.unit[code, 1])
                quotes.append(
                    Quote(
                        instrument=self.gate._named(code), bid_quantity=abs(q),
                        bid_price=mark * 0.99, ask_quantity=abs(q) * 0.7, ask_price=mark * 1.01,
                    )
                )  # fmt: skip
            group = QuoteGroup(id=name, quotes=quotes, protection_limit_usd=limit)
            self.gate.quote(account, group)

    def ask(self, account: int, legs, allow_debt: bool = True):
        if len(legs) == 1:
            return self.gate.check(account, *legs[0], allow_debt=allow_debt)
        return self.gate.check_order(account, legs, allow_debt=allow_debt)

    def slow(self, account: int, legs, changed=(), allow_debt: bool = True):
        gate = self.gate
        resting = gate._rows.resting(account)
        ids = file_ids(resting, [resting.names[x] for x in changed]) if changed else []
        named = [(gate._named(c), q, p) for c, q, p in legs]
        market = gate._tables.snapshot()
        return slow_check(
            gate.account_file(account), market, self.rules, named, ids, allow_debt=allow_debt
        )

    def hold(self, account: int, legs, changed=(), allow_debt: bool = True) -> str:
        """Ask both, hold one to the other; return the rule."""
        wrong = slow = None
        try:
            slow = self.slow(account, legs, changed, allow_debt)
        except CrossmarginError as error:
            wrong = str(error)
        if changed:
            changes = [(x, q, p) for x, (_, q, p) in zip(changed, legs)]
            got = self.gate.check_quotes(account, changes, allow_debt=allow_debt)
        else:
            got = self.ask(account, legs, allow_debt)
        self.met[got.engine] = self.met.get(got.engine, 0) + 1
        if slow is None:
            assert got.rule == "invalid" and got.reason == wrong and got.fault.code in wrong
            return "invalid"
        assert_same(got, slow)
        return got.rule


def assert_same(got, slow) -> None:
    assert (got.rule, got.accepted) == (slow.rule, slow.accepted)
    size = max(1.0, *(abs(getattr(slow, f)) for f in FIGURES))
    for figure in FIGURES:
        gap = abs(getattr(got, figure) - getattr(slow, figure))
        assert gap <= 1e-9 * size, (figure, got, slow)


@pytest.mark.parametrize("name", FUSED)
def test_orders_as_the_reference_engine_decides_them(name):
    desk = Desk(name)
    rules_met = set()
    for turn in range(36):
        account = int(desk.rng.integers(desk.accounts))
        legs = [desk.leg(account) for _ in range(1 if turn % 3 else int(desk.rng.integers(2, 5)))]
        rules_met.add(desk.hold(account, legs, allow_debt=bool(turn % 4)))
    assert len(rules_met) >= 2 and desk.met["fused"] >= 30


@pytest.mark.parametrize("name", FUSED)
def test_a_mutated_formula_is_seen(name):
    """What the tests above hold the gate to fails when a part of its tables is 0.1 % off."""
    desk = Desk(name, accounts=12, seed=9)
    gate, tables = desk.gate, desk.gate._tables
    desk.rest(0)
    questions = [(k, [desk.leg(k), desk.leg(k)]) for k in range(6)]
    slow = [desk.slow(*question) for question in questions]
    for question, one in zip(questions, slow):
        assert_same(desk.ask(*question), one)
    parts = {"table": 0, "steps": 24, "pots": 25}
    if tables.key[-1]:
        parts |= {"orders": 1, "marks and fees": 3}
    for part, k in parts.items():
        wrong = tables.arrays[k] * 1.001
        if part == "steps" and not np.any(wrong):
            continue
        gate.swap(mutated(tables, {k: wrong}))
        gate.freshen([0])
        with pytest.raises(AssertionError):
            for question, one in zip(questions, slow):
                assert_same(desk.ask(*question), one)
        gate.swap(tables)
        gate._rows.resting(0).head[1] = -1


def mutated(tables, changes):
    """Return tables with some arrays replaced."""
    arrays = [changes.get(k, a) for k, a in enumerate(tables.arrays)]
    facts = arrays[FACTS].copy()
    if FACTS not in changes:
        facts[EPOCH] += 1_000_000
        arrays[FACTS] = facts
    block = block_of(arrays)
    return replace(tables, arrays=tuple(arrays), block=block, address=int(block.ctypes.data))


@pytest.mark.parametrize("name", FUSED)
def test_resting_orders_and_changed_quotes(name):
    desk = Desk(name, seed=6)
    for account in range(4):
        desk.rest(account)
        desk.hold(account, [desk.leg(account)])
        resting = desk.gate._rows.resting(account)
        for changed in (["capped/0/bid"], ["free/1/ask", "capped/1/ask"]):
            legs = []
            for one in changed:
                at = resting.legs(resting.names[one]).start
                factor = float(desk.rng.choice([0.5, 2.0, 30.0]))
                price = float(resting.price[at] * desk.rng.uniform(0.97, 1.03))
                legs.append((int(resting.code[at]), float(resting.quantity[at]) * factor, price))
            desk.hold(account, legs, changed)


@pytest.mark.parametrize("name", FUSED)
def test_after_ticks_fills_deposits_and_edits(name):
    desk = Desk(name, seed=7)
    gate, rng = desk.gate, desk.rng
    desk.rest(0)
    price = {a: desk.snapshot.assets[a].price_usd for a in ("BTC", "ETH")}
    for turn in range(10):
        gate.tick({"BTC": price["BTC"] * rng.uniform(0.8, 1.2)})
        if turn % 2:
            gate.tick({"ETH": price["ETH"] * rng.uniform(0.8, 1.2), "USDC": rng.uniform(0.97, 1)})
        gate.fill(0, [desk.leg(0, 0.2)])
        gate.deposit(0, "USDC", float(rng.normal() * 500.0))
        name_of = f"o{turn}"
        if name_of in gate._rows.resting(0).names:
            gate.cancel(0, name_of)
        gate.amend(0, "capped/1/bid", float(rng.uniform(0.1, 3.0)), None)
        gate.place(0, f"later-{turn}", [desk.leg(0, 0.2), desk.leg(0, 0.2)])
        desk.hold(0, [desk.leg(0)])
        desk.hold(3 + turn, [desk.leg(3 + turn), desk.leg(3 + turn)])
        gate.freshen([0, 1])
    # Sums that were changed order by order are those that are made afresh.
    resting = gate._rows.resting(0)
    kept = resting.losses.copy(), resting.up.copy(), resting.more.copy()
    resting.head[1] = -1
    gate.freshen([0])
    for old, new in zip(kept, (resting.losses, resting.up, resting.more)):
        used = slice(0, old.size - 1)
        assert np.allclose(old[used], new[used], rtol=1e-9, atol=1e-9 * max(1, abs(new).max()))


def test_another_market_altogether():
    desk = Desk("deribit-pm-cross", seed=8)
    _, other = made("deribit-pm-cross", 2, seed=1)
    moved = replace(
        other,
        assets={k: replace(v, price_usd=v.price_usd * 1.01) for k, v in other.assets.items()},
    )
    desk.gate.revalue(moved)
    for account in range(4):
        desk.hold(account, [desk.leg(account)])
    desk.gate.tick({"BTC": moved.assets["BTC"].price_usd * 0.93})
    desk.hold(5, [desk.leg(5)])


@pytest.mark.parametrize("name", FUSED)
def test_what_is_proven_of_shares_is_what_looking_at_each_finds(name):
    """Without the certificate every share is looked at: same rule, same figures."""
    desk = Desk(name, accounts=400, instruments=120)
    gate = desk.gate
    for account in range(0, 400, 9):
        desk.rest(account)
    tables = gate._tables
    facts = tables.arrays[FACTS].copy()
    facts[CERTAIN] = 0
    plain = mutated(tables, {FACTS: facts})
    met: dict[str, int] = {}
    skipped = 0
    for _ in range(3_000):
        account = int(desk.rng.integers(desk.accounts))
        legs = [desk.leg(account) for _ in range(int(desk.rng.integers(1, 4)))]
        found = []
        for one in (tables, plain):
            gate.swap(one)
            found.append(desk.ask(account, legs))
        quick, full = found
        if quick.engine != "fused":
            assert quick.rule == full.rule
            continue
        skipped += 1
        met[full.rule] = met.get(full.rule, 0) + 1
        assert quick.rule == full.rule, (quick, full)
        size = max(1.0, abs(full.equity_usd), abs(full.im_after_usd), abs(full.excess_usd))
        for figure in FIGURES:
            assert abs(getattr(quick, figure) - getattr(full, figure)) <= 1e-9 * size
    assert {"room", "refused", "reducing"} <= set(met)


def account(name="me", *, positions=(), orders=(), balances=(), quotes=(), pools=()):
    return AccountFile(
        format="crossmargin-account/1",
        account=name,
        balances=[BalanceEntry(asset=a, amount=x) for a, x in balances],
        positions=[PositionEntry(instrument=i, quantity=q, entry_price=p) for i, q, p in positions],
        orders=list(orders),
        quote_groups=list(quotes),
        pools=list(pools),
    )


def gate_of(*accounts: AccountFile, name: str = "deribit-pm", fee: float = 0.0) -> Gate:
    _, snapshot = made(name, 1)
    return Gate(compact_book(book_from_accounts(accounts)), snapshot, rules(name, fee))


PERP = "BTC_USDC-PERPETUAL"


def test_equity_equal_to_margin_passes_and_a_cent_less_does_not():
    # Requirements row A11: an order whose fill leaves IM = equity passes, one cent more does not.
    gate = gate_of(account(positions=[(PERP, 0.5, "mark")], balances=[("USDC", 100_000.0)]))
    found = gate.check(0, PERP, 0.5)
    assert found.accepted and found.rule == "room"
    gate.deposit(0, "USDC", -found.excess_usd / gate.market().assets["USDC"].price_usd)
    found = gate.check(0, PERP, 0.5)
    assert found.accepted and found.rule == "room"
    assert abs(found.excess_usd) <= found.rounding_usd
    assert "keeps an excess of 0.00 USD" in found.reason
    gate.deposit(0, "USDC", -0.01)
    found = gate.check(0, PERP, 0.5)
    assert not found.accepted and found.rule == "refused"
    assert found.excess_usd == pytest.approx(-0.01, rel=1e-3)
    assert found.reason.startswith(f"account 0, {PERP}: after the worst fills USDC would lack")
    assert found.field == "quantity"
    assert "would lack 0.009998 USD" in found.reason  # A cent of a coin at 0.9998
    # What only reduces passes all the same, and says so.
    under = gate.check(0, PERP, -0.2)
    assert under.accepted and under.excess_usd > 0
    gate.deposit(0, "USDC", -90_000.0)
    under = gate.check(0, PERP, -0.2)
    assert under.accepted and under.rule == "reducing" and "although USDC lacks" in under.reason


def test_an_account_with_orders_comes_from_the_rest_of_a_book():
    orders = [OrderEntry(id="a", legs=[OrderLeg(instrument=PERP, quantity=1.0, price=60_000.0)])]
    quotes = [QuoteGroup(id="q", quotes=[Quote(instrument=PERP, bid_quantity=2.0)])]
    own = account(balances=[("USDC", 1e6)], orders=orders, quotes=quotes)
    gate = gate_of(account("plain", balances=[("USDC", 1.0)]), own)
    assert gate.number("me") == 1 and gate.size == 2
    file = gate.account_file(1)
    assert [o.id for o in file.orders] == ["a"] and file.quote_groups[0].id == "q"
    assert gate.check(1, PERP, 1.0).im_before_usd > 0
    gate.cancel(1, "a")
    gate.cancel(1, "q/0/bid")
    assert gate.check(1, PERP, 1.0).im_before_usd == 0.0


def test_irregular_accounts_are_answered_by_the_reference_engine():
    own = account(positions=[(PERP, 1.0, "mark")], balances=[("USDC", 1e6)])
    pools = [PoolEntry(id="cross"), PoolEntry(id="b", mode="isolated")]
    odd = replace_pools(own, pools)
    gate = gate_of(account("plain", balances=[("USDC", 1e6)]), odd)
    found = gate.check(gate.number("odd"), PERP, 0.5)
    assert found.engine == "reference" and found.accepted
    with pytest.raises(InputError, match="INP-080"):
        gate.deposit(1, "USDC", 1.0)


def replace_pools(own: AccountFile, pools: list[PoolEntry]) -> AccountFile:
    import msgspec

    more = [*own.balances, BalanceEntry(asset="USDC", amount=5.0, pool="b")]
    return msgspec.structs.replace(own, account="odd", pools=pools, balances=more)


def test_fills_are_booked_as_the_reference_engine_books_them():
    for contract in (PERP, "BTC-PERPETUAL"):
        coin = contract == "BTC-PERPETUAL"
        size = 10_000.0 if coin else 0.3
        own = account(
            positions=[(contract, size, 70_000.0)], balances=[("USDC", 1e5), ("BTC", 1.0)]
        )
        gate = gate_of(own, fee=4e-4)
        for share, price in ((0.5, 72_000.0), (-1.2, 69_000.0), (-0.9, 71_000.0)):
            leg = (contract, share * size, price)
            entry = OrderEntry(
                id="x", legs=[OrderLeg(instrument=contract, quantity=leg[1], price=price)]
            )
            before = gate.account_file(0)
            probe = OrderProbe(before, gate._tables.snapshot(), gate.ruleset, entry)
            frame = probe.frame_filled(1.0)
            gate.fill(0, [leg])
            after = gate.account_file(0)
            assert [float(p.quantity) for p in after.positions] == pytest.approx(
                frame.book.position_quantity.tolist(), rel=1e-12
            )
            assert [p.entry_price for p in after.positions] == pytest.approx(
                frame.book.position_entry.tolist(), rel=1e-12
            )
            names = gate.registry.assets
            money = {b.asset: float(b.amount) for b in after.balances}
            rows = zip(frame.book.balance_asset, frame.book.balance_amount)
            held = {frame.book.registry.assets[int(a)]: float(x) for a, x in rows}
            assert set(money) <= set(names)
            assert money == pytest.approx(held, rel=1e-12)


def test_a_maker_with_1600_quotes():
    book, snapshot = made("deribit-pm-cross", 3, instruments=120)
    gate = Gate(book, snapshot, rules("deribit-pm-cross"))
    unit = gate._tables.arrays[3].reshape(-1, 8)
    names = [gate._named(int(c)) for c in np.flatnonzero(gate._tables.program.layout.what == 0)]
    quotes = []
    for k in range(800):
        name = names[k % len(names)]
        mark = float(unit[gate.code(name), 1])
        size = 300.0 / unit[gate.code(name), 5]
        edge = 0.01 + 1e-4 * (k // len(names))
        quotes.append(
            Quote(
                instrument=name, bid_quantity=size, bid_price=mark * (1 - edge),
                ask_quantity=size, ask_price=mark * (1 + edge),
            )
        )  # fmt: skip
    gate.quote(1, QuoteGroup(id="mm", quotes=quotes, protection_limit_usd=None))
    gate.deposit(1, "USDC", 1e6)
    resting = gate._rows.resting(1)
    assert len(resting.names) == 1_600 and int(resting.head[2]) == 1_600
    at = resting.legs(resting.names["mm/17/bid"]).start
    leg = (gate._named(int(resting.code[at])), float(resting.quantity[at]) * 5, None)
    got = gate.check_quotes(1, [("mm/17/bid", leg[1], None)])
    ids = file_ids(resting, [resting.names["mm/17/bid"]])
    slow = slow_check(gate.account_file(1), snapshot, gate.ruleset, [leg], ids)
    assert (got.rule, got.engine) == (slow.rule, "fused")
    for figure in FIGURES:
        assert getattr(got, figure) == pytest.approx(getattr(slow, figure), rel=1e-9, abs=1e-6)


def test_checks_see_one_market_while_another_thread_ticks():
    desk = Desk("derive-pm2", accounts=50)
    gate = desk.gate
    base = desk.snapshot.assets["BTC"].price_usd
    tables = [gate.prepare({"BTC": base * f}) for f in (0.9, 1.0, 1.1)]
    questions = [(k, desk.leg(k)) for k in range(50)]
    allowed = []
    for number, leg in questions:
        mine = set()
        for one in tables:
            gate.swap(one)
            mine.add(gate.check(number, *leg))
        allowed.append(mine)
    done = threading.Event()

    def ticking() -> None:
        turn = 0
        while not done.is_set():
            gate.swap(tables[turn % 3])
            turn += 1

    thread = threading.Thread(target=ticking)
    thread.start()
    try:
        for _ in range(200):
            for (number, leg), mine in zip(questions, allowed):
                assert gate.check(number, *leg) in mine
    finally:
        done.set()
        thread.join()


class TestWrongInput:
    gate = None

    @pytest.fixture(autouse=True)
    def made(self):
        if TestWrongInput.gate is None:
            own = account(positions=[(PERP, 0.1, "mark")], balances=[("USDC", 1e5)])
            TestWrongInput.gate = gate_of(own)
        return TestWrongInput.gate

    @pytest.mark.parametrize(
        ("arguments", "code", "says"),
        [
            ((1, PERP, 1.0), "INP-052", "no account 1"),
            ((-1, PERP, 1.0), "INP-052", "no account -1"),
            ((2**62, PERP, 1.0), "INP-052", "no account 4611686018427387904"),
            ((2**80, PERP, 1.0), "INP-052", "no account"),
            ((None, PERP, 1.0), "INP-052", "no account None"),
            (("you", PERP, 1.0), "INP-052", "no account 'you'"),
            ((0, "ETH_USDC-PERPETUAL", 1.0), "INP-051", "ETH_USDC-PERPETUAL"),
            ((0, 10**6, 1.0), "INP-051", "1000000"),
            ((0, [PERP], 1.0), "INP-051", "instrument"),
            ((0, PERP, "many"), "INP-004", "'many' is not a finite number"),
            ((0, PERP, None), "INP-004", "None is not a finite number"),
            ((0, PERP, 1.0, "high"), "INP-004", "no price"),
            ((0, "no such thing", 1.0), "INP-001", "no such thing"),
            ((0, PERP, 0.0), "INP-006", "quantity of zero"),
            ((0, PERP, math.nan), "INP-004", "nan is not a finite number"),
            ((0, PERP, math.inf), "INP-004", "not a finite number"),
            ((0, PERP, 1e20), "INP-004", "sane size"),
            ((0, PERP, 1.0, -5.0), "INP-004", "no price"),
            ((0, PERP, 1.0, 0.0), "INP-004", "no price"),
            ((0, PERP, 1.0, math.nan), "INP-004", "no price"),
        ],
    )
    def test_refused_with_a_sentence(self, made, arguments, code, says):
        found = made.check(*arguments)
        assert (found.rule, found.accepted, found.fault.code) == ("invalid", False, code)
        assert says in found.reason and math.isnan(found.excess_usd)

    def test_the_place_of_a_fault(self, made):
        found = made.check("me", PERP, math.nan)
        assert (found.fault.account, found.fault.instrument) == ("me", PERP)
        assert found.field == "quantity" and found.account == "me"
        whole, name = made.check(0, PERP, 1), made.check("me", PERP, 1.0)
        assert whole == name == made.check(np.int64(0), PERP, np.float32(1.0))

    def test_orders_that_are_not_there(self, made):
        assert made.check_quotes(0, [("nobody", 1.0, None)]).fault.code == "INP-052"
        assert made.check_order(0, []).fault.code == "INP-053"
        assert made.check_order(0, [(PERP, 1.0, None)] * 257).fault.code == "INP-053"
        made.place(0, "two", [(PERP, 1.0, None), (PERP, -0.5, None)])
        assert made.check_quotes(0, [("two", 1.0, None)]).fault.code == "INP-053"
        made.cancel(0, "two")
        made.place(0, "one", [(PERP, 1.0, None)])
        twice = [("one", 1.0, None), ("one", 2.0, None)]
        assert made.check_quotes(0, twice).fault.code == "INP-053"
        made.cancel(0, "one")
        quote = Quote(instrument=PERP, bid_quantity=1.0)
        made.quote(0, QuoteGroup(id="q", quotes=[quote]))
        assert made.check_quotes(0, [("q/0/bid", -1.0, None)]).fault.code == "INP-006"
        made.cancel(0, "q/0/bid")
        with pytest.raises(InputError, match="INP-052"):
            made.cancel(0, "nobody")
        with pytest.raises(InputError, match="INP-052"):
            made.number("nobody")
        with pytest.raises(InputError, match="INP-054"):
            made.deposit(0, "GOLD", 1.0)
        with pytest.raises(InputError, match="INP-054"):
            made.deposit(0, "USDC", "all")
        made.place(0, "twice", [(PERP, 1.0, None)])
        with pytest.raises(InputError, match="INP-007"):
            made.place(0, "twice", [(PERP, 1.0, None)])
        made.cancel(0, "twice")


def test_rule_sets_that_have_no_gate():
    book, snapshot = made("deribit-pm", 2)
    with pytest.raises(RulesetError, match="RUL-032"):
        Gate(book, snapshot, load_ruleset("deribit-pm"))
    linear, market = made("derive-pm2", 2)
    worst = load_ruleset("derive-pm2", overrides={"orders.method": "worst-fill"})
    with pytest.raises(MarginError, match="MRG-030"):
        Gate(linear, market, worst)
    with pytest.raises(MarginError, match="MRG-030"):
        Gate(linear, market, load_ruleset("hyperliquid"))


def test_what_cannot_be_valued_is_refused_by_name():
    desk = Desk("deribit-pm", accounts=5)
    held = next(
        number
        for number in range(5)
        if any(c in set(desk.codes.tolist()) for c in desk.gate._rows.of(number)[0].tolist())
    )
    tables = desk.gate._tables
    # Codes that the compiled check must not judge send the question to the reference engine.
    desk.gate.swap(mutated(tables, {5: np.ones_like(tables.arrays[5])}))
    leg = desk.leg(held)
    assert desk.gate.check(held, *leg).engine == "reference"


def test_accounts_and_prices_that_cannot_be_margined_have_a_reason():
    """A NaN quantity, an entry price of nothing, a stale price: a value with a reason, no more."""
    book, snapshot = made("deribit-pm", 6)
    quantity, entry = book.position_quantity.copy(), book.position_entry.copy()
    quantity[book.position_start[1]] = math.nan
    entry[book.position_start[2] : book.position_start[3]] = 0.0
    book = replace(book, position_quantity=quantity, position_entry=entry)
    gate = Gate(book, snapshot, rules("deribit-pm"))
    found = gate.check(1, PERP, 0.1)
    assert found.rule == "invalid" and found.fault.account == book.ids[1]
    assert found.reason.startswith(found.fault.code)
    assert gate.check(2, PERP, 0.1).rule in ("invalid", "room", "reducing", "refused")
    assert gate.check(3, PERP, 0.01).engine == "fused"
    # The accounts beside them answer as they do without them.
    _, market = made("deribit-pm", 1)
    assert gate.check(4, PERP, 0.01) == Gate(made("deribit-pm", 6)[0], market, gate.ruleset).check(
        4, PERP, 0.01
    )
    # A price that may not be used: nothing that needs it is judged, and the reason names it.
    before = gate.market()
    with pytest.raises(MarketDataError, match="MKT-009"):
        gate.tick({"BTC": math.nan})
    assert gate.check(4, PERP, 0.01).engine == "fused"
    old = replace(before.assets["BTC"], time_ns=before.assets["BTC"].time_ns - 7_200 * 10**9)
    gone = {k: v for k, v in before.assets.items() if k != "BTC"}
    for assets, code in ((gone, "MKT-001"), ({**before.assets, "BTC": old}, "MKT-002")):
        gate.revalue(replace(before, assets=assets))
        found = gate.check(4, PERP, 0.01)
        assert (found.rule, found.fault.code) == ("invalid", code)
        gate.place(4, "asked", [(PERP, 0.01, None)])
        assert gate.check_quotes(4, [("asked", 0.02, None)]).fault.code == code
        gate.cancel(4, "asked")
        gate.tick({"ETH": 2_000.0})
        assert gate.check(4, PERP, 0.01).fault.code == code
    gate.revalue(before)
    assert gate.check(4, PERP, 0.01).engine == "fused"
