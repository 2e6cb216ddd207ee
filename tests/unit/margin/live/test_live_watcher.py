"""The watcher with trigger prices says what margining everybody at every tick says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.live_books import FUSED, made
from tests.unit.margin.live.test_live_book import with_rest

from crossmargin.margin import BookWatcher, load_ruleset, make_watcher
from crossmargin.margin.live.watcher import LiveWatcher, why_not
from crossmargin.margin.watch import WORTH


def entered(book, snapshot):
    """Give every position an entry price."""
    mark = snapshot.view(book.registry).price[book.position_instrument]
    entry = np.where(np.isnan(book.position_entry), mark, book.position_entry)
    return replace(book, position_entry=entry)


def path(snapshot, steps: int):
    rng = np.random.default_rng(4)
    now = {coin: snapshot.assets[coin].price_usd for coin in ("BTC", "ETH")}
    for step in range(steps):
        moved = (("BTC",), ("ETH",), ("BTC", "ETH"), ())[step % 4]
        for coin in moved:
            now[coin] *= float(np.exp(rng.normal() * (0.004 if step % 7 else 0.12)))
        yield step, {coin: now[coin] for coin in moved}


def assert_told_the_same(one, other, moves) -> int:
    crossed = 0
    for moment, prices in moves:
        mine, theirs = one.tick(moment, prices), other.tick(moment, prices)
        for name in ("fallen", "recovered"):
            np.testing.assert_array_equal(getattr(mine, name), getattr(theirs, name))
        for name in ("equity_usd", "mm_usd", "health", "deficits_usd"):
            np.testing.assert_allclose(
                getattr(mine, name), getattr(theirs, name), rtol=1e-9, atol=1e-6
            )
        for name in ("time_ns", "prices_usd", "below", "failed"):
            assert getattr(mine, name) == getattr(theirs, name)
        assert mine.deficit_usd == pytest.approx(theirs.deficit_usd, rel=1e-9, abs=1e-6)
        crossed += bool(moment) * (mine.fallen.size + mine.recovered.size)
    return crossed


@pytest.mark.parametrize("name", FUSED)
def test_both_watchers_say_the_same(name):
    book, snapshot = made(name, 120)
    book, rules = entered(book, snapshot), load_ruleset(name)
    fast = make_watcher(book, snapshot, rules, coins=("BTC", "ETH"), ticks=WORTH)
    assert isinstance(fast, LiveWatcher)
    plain = BookWatcher(book, snapshot, rules, engine="fused")
    assert assert_told_the_same(fast, plain, path(snapshot, 40)) > 5


def test_failed_and_irregular_accounts_are_told_alike():
    book, snapshot = made("derive-pm2", 60)
    book, rules = with_rest(entered(book, snapshot)), load_ruleset("derive-pm2")
    quantity = book.position_quantity.copy()
    quantity[book.position_start[4]] = np.nan
    rest = book.rest
    mark = snapshot.view(book.registry).price[rest.position_instrument]
    book = replace(
        book, position_quantity=quantity, rest=replace(rest, position_entry=np.asarray(mark))
    )
    fast = make_watcher(book, snapshot, rules, coins=("BTC", "ETH"), ticks=WORTH)
    assert isinstance(fast, LiveWatcher)
    assert_told_the_same(fast, BookWatcher(book, snapshot, rules), path(snapshot, 20))


def test_where_they_would_differ_everybody_is_computed():
    book, snapshot = made("derive-pm2", 20)
    rules = load_ruleset("derive-pm2")
    whole = entered(book, snapshot)
    assert why_not(whole, snapshot, rules, ("BTC",)) == ""
    blank = whole.position_entry.copy()
    kinds = book.registry.terms.kind[book.position_instrument]
    blank[np.flatnonzero(kinds != 3)[0]] = np.nan
    unentered = replace(whole, position_entry=blank)
    assert "entry price" in why_not(unentered, snapshot, rules, ("BTC",))
    assert "quoted" in why_not(whole, snapshot, rules, ("USDC",))

    def made_watcher(of, rules=rules, ticks=WORTH, engine="auto"):
        return make_watcher(of, snapshot, rules, coins=("BTC",), ticks=ticks, engine=engine)

    assert isinstance(made_watcher(whole), LiveWatcher)
    for plain in (
        made_watcher(unentered),
        made_watcher(whole, ticks=WORTH - 1),
        made_watcher(whole, engine="vectorised"),
        made_watcher(whole, load_ruleset("derive-srm")),
    ):
        assert isinstance(plain, BookWatcher)
