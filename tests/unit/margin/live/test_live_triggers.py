"""The live book with trigger prices: whom events compute, and that the rest is as without."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.live_books import FUSED, assert_as_whole, at_market, made
from tests.unit.margin.live.test_live_book import with_rest

from crossmargin.margin import load_ruleset
from crossmargin.margin.live import LiveBook
from crossmargin.margin.live import _lookout as lookout
from crossmargin.units import NS_PER_SECOND

MINUTE = 60 * NS_PER_SECOND


def pair(name: str, accounts: int = 300) -> tuple[LiveBook, LiveBook, object]:
    """Return the same book with and without trigger prices."""
    book, snapshot = made(name, accounts, instruments=80)
    rules = load_ruleset(name)
    return LiveBook(book, snapshot, rules, triggers=True), LiveBook(book, snapshot, rules), snapshot


def price(snapshot, asset: str) -> float:
    return snapshot.assets[asset].price_usd


def assert_same(lazy: LiveBook, full: LiveBook) -> None:
    for name in ("equity", "equity_im", "im", "mm", "health"):
        np.testing.assert_allclose(getattr(lazy, name), getattr(full, name), rtol=1e-11, atol=1e-6)
    for name in ("below", "short", "failed"):
        np.testing.assert_array_equal(getattr(lazy, name), getattr(full, name))


@pytest.mark.parametrize("name", FUSED)
def test_ticks_say_the_same_and_compute_few(name):
    lazy, full, snapshot = pair(name)
    assert lazy.unbounded == ""
    rng = np.random.default_rng(1)
    at = {name: price(snapshot, name) for name in ("BTC", "ETH")}
    visited = 0
    crossed = 0
    for step in range(60):
        coin = ("BTC", "ETH")[step % 2]
        at[coin] *= float(np.exp(rng.normal() * (0.002 if step % 9 else 0.12)))
        mine, theirs = lazy.tick({coin: at[coin]}), full.tick({coin: at[coin]})
        np.testing.assert_array_equal(mine.fallen, theirs.fallen)
        np.testing.assert_array_equal(mine.recovered, theirs.recovered)
        np.testing.assert_array_equal(lazy.below, full.below)
        visited += mine.visited
        crossed += theirs.fallen.size + theirs.recovered.size
    assert crossed > 10
    assert crossed <= visited < 0.05 * 60 * lazy.size
    assert_same(lazy, full)


@pytest.mark.parametrize("name", FUSED)
def test_volatilities_and_minutes_compute_few(name):
    lazy, full, snapshot = pair(name)
    now, visited = snapshot.moment_ns, []
    for step in range(12):
        if step % 3 == 2:
            now += 5 * MINUTE
            mine, theirs = lazy.at(now), full.at(now)
        else:
            coin, factor = ("BTC", "ETH")[step % 2], 1.0 + 0.03 * (-1) ** (step // 2)
            mine, theirs = lazy.vol(coin, factor), full.vol(coin, factor)
        assert lazy.unbounded == ""
        np.testing.assert_array_equal(mine.fallen, theirs.fallen)
        np.testing.assert_array_equal(mine.recovered, theirs.recovered)
        visited.append(mine.visited / lazy.size)
    # The first look is at everybody; costs that stand in other rows than before lay the book of
    # deribit-pm-cross out anew as time passes, with or without bounds.
    later = visited[1:] if name != "deribit-pm-cross" else visited[1:2]
    assert max(later) < 0.2
    assert_same(lazy, full)


def test_who_is_below_initial_margin_is_said_once_it_is_known():
    lazy, full, snapshot = pair("derive-pm2")
    at = {"BTC": price(snapshot, "BTC") * 0.97}
    mine, theirs = lazy.tick(at), full.tick(at)
    assert theirs.short.size
    assert not np.isin(theirs.short, mine.short).all()
    np.testing.assert_array_equal(lazy.short, full.short)
    later = lazy.tick(at)
    np.testing.assert_array_equal(np.union1d(mine.short, later.short), theirs.short)
    assert later.fallen.size == later.recovered.size == 0
    assert lazy.settle().short.size == 0


@pytest.mark.parametrize("between", ["settle", "revalue", "nothing"])
def test_prices_that_were_only_passed_through_leave_nobody_on_the_wrong_side(between):
    lazy, full, snapshot = pair("derive-pm2")
    told = lazy.below.copy()

    def hear(said):
        told[said.fallen], told[said.recovered] = True, False

    for factor in (0.8, 1.0, 1.25, 0.99):
        at = {"BTC": price(snapshot, "BTC") * factor}
        lazy.advance(at)
        full.tick(at)
        np.testing.assert_array_equal(lazy.below, full.below)
        if between != "nothing":
            hear(lazy.settle() if between == "settle" else lazy.revalue(range(300)))
            np.testing.assert_array_equal(told, full.below)
        at = {"BTC": price(snapshot, "BTC") * (factor + 0.15)}
        full.tick(at)
        hear(lazy.tick(at))
        np.testing.assert_array_equal(told, full.below)
        np.testing.assert_array_equal(lazy.below, full.below)
    assert_same(lazy, full)


def test_figures_of_some_accounts_leave_the_others():
    lazy, full, snapshot = pair("derive-pm2")
    stale = lazy._standing.columns.copy()
    for book in (lazy, full):
        book.tick({"BTC": price(snapshot, "BTC") * 1.001})
    found = lazy.figures([7, 3])
    np.testing.assert_allclose(found[:, 0], full.equity[[7, 3]], rtol=1e-12)
    np.testing.assert_allclose(found[:, 3], full.mm[[7, 3]], rtol=1e-12)
    others = np.setdiff1d(np.arange(300), [3, 7])
    assert (lazy._standing.columns[others] == stale[others]).all(axis=1).mean() > 0.9
    assert_same(lazy, full)


def test_a_price_without_a_bound_is_computed_in_full_and_bounds_come_back(monkeypatch):
    monkeypatch.setattr(lookout, "PATIENCE", 3)
    lazy, full, snapshot = pair("derive-pm2")
    assert lazy.bounds(5)
    for book in (lazy, full):
        book.tick({"BTC": price(snapshot, "BTC") * 0.999})
        book.tick({"USDC": 0.98})
    assert "more than lines" in lazy.unbounded
    assert lazy.bounds(5) == {}
    assert_same(lazy, full)
    for k in range(3):
        assert lazy.unbounded
        for book in (lazy, full):
            book.tick({"ETH": price(snapshot, "ETH") * (1.0 + 0.001 * k)})
    assert lazy.unbounded == ""
    for book in (lazy, full):
        book.tick({"BTC": price(snapshot, "BTC") * 0.9})
    assert_same(lazy, full)
    # The same price once more moves nothing, so that nothing is unbounded.
    lazy.tick({"USDC": 0.98})
    assert lazy.unbounded == ""


@pytest.mark.parametrize("name", FUSED)
def test_edited_accounts_are_watched_again(name):
    lazy, full, snapshot = pair(name)
    rng = np.random.default_rng(2)
    coin = "BTC_USDC-PERPETUAL" if name == "derive-pm2" else "BTC-PERPETUAL"
    size = 0.3 if name == "derive-pm2" else 20_000.0
    at = price(snapshot, "BTC")
    begun = lazy._lookout.triggers
    for step in range(200):
        account = int(rng.integers(lazy.size))
        quantity = size * (1 + step % 3) * (-1) ** step
        for book in (lazy, full):
            book.fill(account, coin, quantity, at)
            if step % 5 == 0:
                book.deposit(account, "USDC", float(step - 100) * 50.0)
        if step % 4 == 3:
            at *= float(np.exp(rng.normal() * 0.004))
            mine, theirs = lazy.tick({"BTC": at}), full.tick({"BTC": at})
            np.testing.assert_array_equal(mine.fallen, theirs.fallen)
            np.testing.assert_array_equal(mine.recovered, theirs.recovered)
            assert mine.visited < 0.2 * lazy.size
        if step % 40 == 39:
            for book in (lazy, full):
                book.vol("BTC", 1.02)
            np.testing.assert_array_equal(lazy.below, full.below)
    assert lazy._lookout.triggers is begun
    assert not lazy._lookout._always
    assert lazy.bounds(account)
    assert_same(lazy, full)


def test_where_there_is_no_place_left_all_are_looked_at_anew(monkeypatch):
    from crossmargin.margin.live import _marks

    monkeypatch.setattr(_marks.Marks, "has_room", lambda *args: False)
    lazy, full, snapshot = pair("derive-pm2", 60)
    begun = lazy._lookout.triggers
    for book in (lazy, full):
        book.deposit(4, "USDC", -1_000.0)
        book.tick({"BTC": price(snapshot, "BTC") * 0.93})
    assert lazy._lookout.triggers is not begun
    np.testing.assert_array_equal(lazy.below, full.below)
    assert_same(lazy, full)


def test_accounts_beyond_a_limit_are_judged_by_the_reference():
    lazy, full, snapshot = pair("deribit-pm", 60)
    for book in (lazy, full):
        book.deposit(2, "BTC", 5_000.0)
        book.fill(2, "BTC-PERPETUAL", 60_000_000.0, price(snapshot, "BTC"))
    assert 2 in lazy.apart
    for factor in (0.99, 0.9, 0.4, 0.2, 1.0):
        for book in (lazy, full):
            book.tick({"BTC": price(snapshot, "BTC") * factor})
        np.testing.assert_array_equal(lazy.below, full.below)
        np.testing.assert_array_equal(lazy.apart, full.apart)
        assert lazy.figures([2])[0, 3] == pytest.approx(full.mm[2], rel=1e-12, nan_ok=True)
        np.testing.assert_array_equal(lazy.failed, full.failed)
    for book in (lazy, full):
        book.fill(2, "BTC-PERPETUAL", -55_000_000.0, price(snapshot, "BTC"))
    assert 2 not in lazy.apart
    assert_same(lazy, full)


def test_irregular_accounts_follow_too():
    book, snapshot = made("derive-pm2", 30)
    lazy = LiveBook(with_rest(book), snapshot, load_ruleset("derive-pm2"), triggers=True)
    lazy.tick({"BTC": 50_000.0})
    market = at_market(snapshot, book.registry, {"BTC": 50_000.0}, {})
    assert_as_whole(lazy, market, "derive-pm2", within=1e-11)
    assert lazy.bounds(31) == {}


def test_rules_without_bounds_are_computed_as_without():
    book, snapshot = made("derive-pm2", 15)
    lazy = LiveBook(book, snapshot, load_ruleset("derive-srm"), triggers=True)
    assert not lazy.incremental
    assert lazy.unbounded == lazy.reason != ""
    found = lazy.tick({"BTC": price(snapshot, "BTC") * 0.8})
    assert found.visited == 15
    plain = LiveBook(book, snapshot, load_ruleset("derive-pm2"))
    assert "not asked for" in plain.unbounded


def test_another_market_and_new_contracts_make_bounds_anew():
    lazy, full, snapshot = pair("derive-pm2", 40)
    held = set(lazy.book().instruments_used().tolist())
    new = next(i.id for k, i in enumerate(lazy.book().registry) if k not in held)
    moved = replace(
        snapshot,
        assets=snapshot.assets
        | {"BTC": replace(snapshot.assets["BTC"], price_usd=0.95 * price(snapshot, "BTC"))},
    )
    for book in (lazy, full):
        book.fill(0, new, 1.5, 100.0)
        book.tick({"ETH": price(snapshot, "ETH") * 0.98})
        book.market(moved)
    assert lazy.unbounded == ""
    for book in (lazy, full):
        book.tick({"ETH": price(snapshot, "ETH") * 0.93})
    np.testing.assert_array_equal(lazy.below, full.below)
    assert_same(lazy, full)
