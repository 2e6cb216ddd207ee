"""The live book against computing its accounts afresh, by the engine's own stages."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.live_books import FUSED, assert_as_whole, at_market, made

from crossmargin.book import (
    AccountFile,
    BalanceEntry,
    CompactBook,
    OrderEntry,
    OrderLeg,
    PoolEntry,
    PositionEntry,
    book_from_accounts,
)
from crossmargin.errors import CrossmarginError, InputError, MarketDataError
from crossmargin.margin import load_ruleset
from crossmargin.margin.live import LiveBook
from crossmargin.units import NS_PER_SECOND

HOUR = 3_600 * NS_PER_SECOND


def live_book(name: str, accounts: int = 40, **options) -> tuple[LiveBook, CompactBook, object]:
    book, snapshot = made(name, accounts)
    return LiveBook(book, snapshot, load_ruleset(name), **options), book, snapshot


def price(snapshot, asset: str) -> float:
    return snapshot.assets[asset].price_usd


@pytest.mark.parametrize("name", FUSED)
def test_ticks_and_volatilities(name):
    live, book, snapshot = live_book(name)
    assert live.incremental
    assert not live.apart.size
    prices: dict[str, float] = {}
    vols: dict[str, float] = {}
    assert_as_whole(live, snapshot, name, within=1e-12)
    for asset, factor in (("BTC", 0.9), ("ETH", 1.2), ("USDC", 0.96), ("BTC", 1.3)):
        prices[asset] = price(snapshot, asset) * factor
        live.tick({asset: prices[asset]})
        market = at_market(snapshot, book.registry, prices, vols)
        assert_as_whole(live, market, name, within=1e-11)
    live.vol("BTC", 1.4)
    live.vol("BTC", 0.9)
    live.tick({"BTC": price(snapshot, "BTC"), "ETH": price(snapshot, "ETH")})
    prices |= {"BTC": price(snapshot, "BTC"), "ETH": price(snapshot, "ETH")}
    market = at_market(snapshot, book.registry, prices, {"BTC": 1.4 * 0.9})
    assert_as_whole(live, market, name, within=1e-11)


@pytest.mark.parametrize("name", FUSED)
def test_time_passes_and_contracts_expire(name):
    live, book, snapshot = live_book(name)
    expiries = sorted({i.expiry_ns for i in book.registry if i.kind == "option"})
    prices: dict[str, float] = {}
    for k, moment in enumerate((snapshot.as_of_ns + HOUR, *(e + HOUR for e in expiries[:2]))):
        live.at(moment)
        market = at_market(snapshot.at(moment), book.registry, prices, {})
        assert_as_whole(live, market, name, within=1e-11)
        prices["ETH"] = price(snapshot, "ETH") * (0.9 + 0.15 * k)
        live.tick(prices)
        market = at_market(snapshot.at(moment), book.registry, prices, {})
        assert_as_whole(live, market, name, within=1e-11)
    assert live.apart.size
    with pytest.raises(MarketDataError, match="MKT-006"):
        live.at(snapshot.as_of_ns - HOUR)
    assert_as_whole(live, live.snapshot(), name, within=1e-11)


@pytest.mark.parametrize("triggers", [False, True])
@pytest.mark.parametrize("name", FUSED)
def test_futures_expire_one_after_another(name, triggers):
    """What was paid for open contracts moves in scenarios as before, whichever expired first."""
    live, book, snapshot = live_book(name, 120, triggers=triggers)
    expiries = sorted({i.expiry_ns for i in book.registry if i.kind == "option"})
    prices: dict[str, float] = {}
    for k, moment in enumerate(e + HOUR for e in expiries[:-1]):
        live.at(moment)
        prices |= {"BTC": price(snapshot, "BTC") * (1.1 - 0.05 * k), "USDC": 1.0 - 0.01 * k}
        live.tick(prices)
        market = at_market(snapshot.at(moment), book.registry, prices, {})
        assert_as_whole(live, market, name, within=1e-11)
        # Somebody is left whom the engine computes.
        assert live.apart.size < book.regular


def test_breaches_are_those_of_the_columns():
    live, _book, snapshot = live_book("derive-pm2", 400)
    before = live.below.copy(), live.short.copy()
    seen = {"fallen": 0, "recovered": 0, "short": 0, "covered": 0}
    for factor in (0.9, 0.75, 1.0, 1.25, 1.5, 1.0):
        found = live.tick({"BTC": price(snapshot, "BTC") * factor})
        after = live.below.copy(), live.short.copy()
        for (was, now), come, gone in zip(
            zip(before, after), ("fallen", "short"), ("recovered", "covered")
        ):
            np.testing.assert_array_equal(getattr(found, come), np.flatnonzero(now & ~was))
            np.testing.assert_array_equal(getattr(found, gone), np.flatnonzero(was & ~now))
            seen[come] += getattr(found, come).size
            seen[gone] += getattr(found, gone).size
        before = after
    assert all(seen.values())


def test_no_bit_depends_on_threads(monkeypatch):
    from crossmargin.margin.live import _records

    monkeypatch.setattr(_records, "ALONE", 0)
    monkeypatch.setattr(_records, "CHUNK", 7)
    one, _book, snapshot = live_book("deribit-pm-cross", 120)
    with live_book("deribit-pm-cross", 120, threads=3)[0] as three:
        for asset, factor in (("BTC", 0.8), ("USDC", 0.99), ("ETH", 1.3)):
            found = [x.tick({asset: price(snapshot, asset) * factor}) for x in (one, three)]
            for name in ("fallen", "recovered", "short", "covered"):
                np.testing.assert_array_equal(*[getattr(x, name) for x in found])
            for name in ("equity", "equity_im", "im", "mm", "health"):
                assert getattr(one, name).tobytes() == getattr(three, name).tobytes()


def test_a_tick_visits_those_who_hold_the_coin():
    live, book, snapshot = live_book("derive-pm2", 200)
    registry = book.registry
    on_eth = np.flatnonzero(registry.terms.underlying == registry.asset("ETH"))
    owner = np.repeat(np.arange(book.regular), np.diff(book.position_start))
    holders = set(owner[np.isin(book.position_instrument, on_eth)].tolist())
    owner = np.repeat(np.arange(book.regular), np.diff(book.balance_start))
    holders |= set(owner[book.balance_asset == registry.asset("ETH")].tolist())
    assert 0 < len(holders) < 200
    assert live.tick({"ETH": price(snapshot, "ETH") * 1.01}).visited == len(holders)
    assert live.tick({"ETH": price(snapshot, "ETH") * 1.01}).visited == 0


def test_skipped_accounts_are_settled_later():
    live, _book, snapshot = live_book("derive-pm2", 100)
    other, _, _ = live_book("derive-pm2", 100)
    stale = live.equity.copy()
    live.advance({"BTC": price(snapshot, "BTC") * 0.9})
    np.testing.assert_array_equal(live.equity, stale)
    live.advance({"ETH": price(snapshot, "ETH") * 1.1})
    live.revalue([5, 7, 7])
    whole = other.tick({"BTC": price(snapshot, "BTC") * 0.9, "ETH": price(snapshot, "ETH") * 1.1})
    assert whole.visited
    np.testing.assert_array_equal(live.equity[[5, 7]], other.equity[[5, 7]])
    # An edit before the rest is settled sees the market as it is.
    for one in (live, other):
        one.deposit(9, "USDC", 1_000.0)
    assert live.equity[9] == other.equity[9]
    live.settle()
    for name in ("equity", "im", "mm", "health"):
        np.testing.assert_array_equal(getattr(live, name), getattr(other, name))


@pytest.mark.parametrize("name", FUSED)
def test_fills_keep_the_books(name):
    """What is traded at the mark changes no equity but by haircuts on what is paid."""
    live, book, snapshot = live_book(name)
    coin = "BTC-PERPETUAL" if name != "derive-pm2" else "BTC_USDC-PERPETUAL"
    view = snapshot.view(book.registry)
    mark = float(view.price[book.registry.resolve(coin)])
    account = 3
    equity = live.equity[account]
    size = 10.0 if name == "derive-pm2" else 50_000.0
    for quantity in (size, size / 2, -size, -size * 2, size * 3, -size * 1.5):
        live.fill(account, coin, quantity, mark)
        assert_as_whole(live, snapshot, name, within=1e-12)
        if name != "deribit-pm-cross":
            assert live.equity[account] == pytest.approx(equity, rel=1e-9)
    option = next(i for i in book.registry if i.kind == "option" and i.underlying == "ETH")
    for quantity in (2.0, -5.0, 3.0):
        live.fill(account, option.id, quantity, 0.01 if option.inverse else 20.0)
        assert_as_whole(live, snapshot, name, within=1e-12)
    for asset in ("BTC", "USDC", "ETH"):
        live.deposit(account, asset, 2.5)
        live.deposit(account, asset, -4.0)
        assert_as_whole(live, snapshot, name, within=1e-12)


def test_everything_closed_leaves_nothing_required():
    live, book, snapshot = live_book("derive-pm2")
    account = int(np.argmax(np.diff(book.position_start)))
    view = snapshot.view(book.registry)
    for index, (quantity, _) in live.holding(account).positions.items():
        live.fill(account, book.registry[index].id, -quantity, float(view.price[index]))
    assert not live.holding(account).positions
    assert live.mm[account] == pytest.approx(0.0, abs=1e-9) or live.holding(account).balances
    assert_as_whole(live, snapshot, "derive-pm2", within=1e-12)
    for asset, amount in list(live.holding(account).balances.items()):
        live.deposit(account, book.registry.assets[asset], -amount)
    assert live.equity[account] == live.mm[account] == 0.0
    assert live.health[account] == np.inf
    live.tick({"BTC": price(snapshot, "BTC") * 1.1})
    assert live.equity[account] == 0.0


def test_stores_are_rewritten_and_say_the_same(monkeypatch):
    from crossmargin.margin.live import _store

    monkeypatch.setattr(_store, "_LEAST_DEAD", 3)
    live, book, snapshot = live_book("deribit-pm")
    rng = np.random.default_rng(5)
    perpetuals = [i.id for i in book.registry if i.kind == "perpetual"]
    sizes = []
    for k in range(150):
        account = int(rng.integers(0, 12))
        name = perpetuals[int(rng.integers(len(perpetuals)))]
        index = book.registry.resolve(name)
        held = live.holding(account).positions.get(index, (0.0, 0.0))[0]
        live.fill(account, name, -held if held and k % 2 else 1_000.0, 60_000.0)
        live.deposit(account, ("BTC", "ETH", "USDC")[k % 3], 0.5)
        sizes.append(sum(live.nbytes.values()))
        if k % 30 == 29:
            assert_as_whole(live, snapshot, "deribit-pm", within=1e-11)
            live.tick({"ETH": price(snapshot, "ETH")})
    assert min(np.diff(sizes)) < 0
    store = live.engine.store
    for account in range(book.regular):
        for slot in store.slots_of(account):
            group = store.group(int(store.slot_group[slot]))
            record = int(store.slot_record[slot])
            assert group.account[record] == account
            assert group.slot[record] == slot


def with_rest(book: CompactBook) -> CompactBook:
    """Add accounts that narrow columns do not hold: a resting order, a pool of its own."""
    perpetual = "BTC_USDC-PERPETUAL"
    cash = BalanceEntry(asset="USDC", amount=50_000)
    leg = OrderLeg(instrument=perpetual, quantity=-2.0, price=90_000.0)
    held = PositionEntry(instrument=perpetual, quantity=1.0, entry_price="mark")
    ordered = AccountFile(
        format="crossmargin-account/1",
        account="ordered",
        balances=[cash],
        positions=[held],
        orders=[OrderEntry(id="o", legs=[leg])],
    )
    pooled = AccountFile(
        format="crossmargin-account/1",
        account="pooled",
        pools=[PoolEntry(id="other", mode="sub_account")],
        balances=[cash, BalanceEntry(asset="ETH", amount=3.0, pool="other")],
        positions=[held],
    )
    return replace(book, rest=book_from_accounts([ordered, pooled], book.registry))


def test_irregular_accounts_follow_too():
    book, snapshot = made("derive-pm2", 30)
    book = with_rest(book)
    live = LiveBook(book, snapshot, load_ruleset("derive-pm2"))
    assert live.incremental
    assert live.size == 32
    market = at_market(snapshot, book.registry, {"BTC": 50_000.0}, {})
    entry = float(snapshot.view(book.registry).price[book.registry.resolve("BTC_USDC-PERPETUAL")])
    assert live.book().rest.position_entry[0] == entry
    live.tick({"BTC": 50_000.0})
    assert_as_whole(live, market, "derive-pm2", within=1e-11)
    moved = live.equity[30]
    live.tick({"ETH": price(snapshot, "ETH") * 1.1})
    assert live.equity[30] == moved
    prices = {"BTC": 50_000.0, "ETH": price(snapshot, "ETH") * 1.1}
    market = at_market(snapshot, book.registry, prices, {})
    assert_as_whole(live, market, "derive-pm2", within=1e-11)
    assert live.revalue([3, 31]).visited == 2
    with pytest.raises(InputError, match="INP-080"):
        live.deposit(30, "USDC", 1.0)


def test_what_cannot_be_valued_fails_with_a_reason_and_comes_back():
    live, book, snapshot = live_book("derive-pm2", 60)
    gone = next(
        i for i in book.registry if i.kind == "option" and i.underlying == "ETH" and _held(book, i)
    )
    key = (gone.underlying, gone.expiry_ns)
    blind = replace(snapshot, forwards={k: v for k, v in snapshot.forwards.items() if k != key})
    found = live.market(blind)
    assert live.incremental
    assert found.failed.size
    np.testing.assert_array_equal(found.failed, np.flatnonzero(live.failed))
    assert_as_whole(live, blind, "derive-pm2", within=1e-11)
    account = int(found.failed[0])
    reason = live.reason_of(account)
    assert isinstance(reason, CrossmarginError)
    assert reason.code == "MKT-004"
    assert reason.account == book.name(account)
    assert live.reason_of(int(np.flatnonzero(~live.failed)[0])) is None
    live.tick({"ETH": price(snapshot, "ETH") * 0.99})
    assert live.failed[account]
    back = live.market(snapshot)
    np.testing.assert_array_equal(back.restored, found.failed)
    assert_as_whole(live, snapshot, "derive-pm2", within=1e-12)


def _held(book: CompactBook, item) -> bool:
    return bool((book.position_instrument == book.registry.resolve(item.id)).any())


def test_a_number_that_is_none_fails_alone():
    book, snapshot = made("derive-pm2", 20)
    quantity = book.position_quantity.copy()
    quantity[book.position_start[4]] = np.nan
    live = LiveBook(replace(book, position_quantity=quantity), snapshot, load_ruleset("derive-pm2"))
    assert np.flatnonzero(live.failed).tolist() == [4]
    assert live.reason_of(4) is not None
    live.tick({"BTC": price(snapshot, "BTC") * 1.01})
    assert np.flatnonzero(live.failed).tolist() == [4]


def test_accounts_beyond_a_limit_are_computed_apart():
    """Deribit's delta shock grows with size beyond 20 m US dollars, which no single pass sums."""
    live, book, snapshot = live_book("deribit-pm")
    live.deposit(2, "BTC", 5_000.0)
    live.fill(2, "BTC-PERPETUAL", 60_000_000.0, price(snapshot, "BTC"))
    assert 2 in live.apart
    assert_as_whole(live, snapshot, "deribit-pm", within=1e-12)
    prices = {"BTC": price(snapshot, "BTC") * 0.9}
    live.tick(prices)
    market = at_market(snapshot, book.registry, prices, {})
    assert_as_whole(live, market, "deribit-pm", within=1e-11)
    live.fill(2, "BTC-PERPETUAL", -55_000_000.0, price(snapshot, "BTC"))
    assert 2 not in live.apart
    assert_as_whole(live, market, "deribit-pm", within=1e-11)


def test_contracts_nobody_held():
    live, book, snapshot = live_book("derive-pm2", 5)
    held = set(book.instruments_used().tolist())
    new = [i.id for k, i in enumerate(book.registry) if k not in held][:2]
    for name in new:
        live.fill(0, name, 1.5, 100.0)
        assert_as_whole(live, snapshot, "derive-pm2", within=1e-12)
    other = LiveBook(book, snapshot, load_ruleset("derive-pm2"), also=new)
    engine = other.engine
    for name in new:
        other.fill(0, name, 1.5, 100.0)
    assert other.engine is engine
    np.testing.assert_allclose(other.mm, live.mm, rtol=1e-12)


@pytest.mark.parametrize(
    "bad",
    [
        lambda live: live.tick({"BTC": -1.0}),
        lambda live: live.tick({"ETH": 1.0, "GOLD": 1.0}),
        lambda live: live.tick({"BTC": float("nan")}),
        lambda live: live.vol("BTC", 0.0),
        lambda live: live.deposit(0, "USDC", float("inf")),
        lambda live: live.deposit(99, "USDC", 1.0),
        lambda live: live.fill(0, "BTC_USDC-PERPETUAL", 1.0, 0.0),
        lambda live: live.fill(0, "no such thing", 1.0, 1.0),
    ],
)
def test_what_is_refused_changes_nothing(bad):
    live, _book, snapshot = live_book("derive-pm2", 10)
    columns = live.equity.copy()
    with pytest.raises(CrossmarginError):
        bad(live)
    assert live.prices_usd == {}
    live.tick({"BTC": price(snapshot, "BTC")})
    np.testing.assert_array_equal(live.equity, columns)


def test_rules_that_cannot_be_fused_are_computed_whole():
    book, snapshot = made("derive-pm2", 15)
    rules = load_ruleset("derive-srm")
    live = LiveBook(book, snapshot, rules)
    assert not live.incremental
    assert "shape" in live.reason
    prices = {"BTC": price(snapshot, "BTC") * 0.8}
    found = live.tick(prices)
    assert found.visited == 15
    market = at_market(snapshot, book.registry, prices, {})
    assert_as_whole(live, market, "derive-srm", within=1e-11)
    live.deposit(3, "USDC", 100.0)
    live.fill(3, "BTC_USDC-PERPETUAL", 0.1, 50_000.0)
    assert_as_whole(live, market, "derive-srm", within=1e-11)
    assert live.revalue([3]).visited == 0
