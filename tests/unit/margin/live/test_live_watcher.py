"""The watcher with trigger prices says what margining everybody at every tick says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.live_books import FUSED, made
from tests.unit.margin.live.test_live_book import with_rest

from crossmargin.margin import BookWatcher, load_ruleset, make_watcher
from crossmargin.margin._entries import entered
from crossmargin.margin.live.watcher import LiveWatcher, why_not
from crossmargin.margin.watch import WORTH


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
        assert one.deficit_usd() == pytest.approx(other.deficit_usd(), rel=1e-9, abs=1e-6)
        crossed += bool(moment) * (mine.fallen.size + mine.recovered.size)
    return crossed


@pytest.mark.parametrize("name", FUSED)
def test_both_watchers_say_the_same(name):
    book, snapshot = made(name, 120)
    rules = load_ruleset(name)
    book = entered(book, snapshot, rules)
    fast = make_watcher(book, snapshot, rules, coins=("BTC", "ETH"), ticks=WORTH)
    assert isinstance(fast, LiveWatcher)
    plain = BookWatcher(book, snapshot, rules, engine="fused")
    assert assert_told_the_same(fast, plain, path(snapshot, 40)) > 5


def test_failed_and_irregular_accounts_are_told_alike():
    book, snapshot = made("derive-pm2", 60)
    rules = load_ruleset("derive-pm2")
    quantity = book.position_quantity.copy()
    quantity[book.position_start[4]] = np.nan
    book = entered(with_rest(replace(book, position_quantity=quantity)), snapshot, rules)
    assert not np.isnan(book.rest.position_entry).any()
    fast = make_watcher(book, snapshot, rules, coins=("BTC", "ETH"), ticks=WORTH)
    assert isinstance(fast, LiveWatcher)
    assert_told_the_same(fast, BookWatcher(book, snapshot, rules), path(snapshot, 20))


def test_positions_without_an_entry_price_lose_what_the_price_loses():
    book, snapshot = made("derive-pm2", 60)
    rules = load_ruleset("derive-pm2")
    blank = replace(book, position_entry=np.full(book.position_entry.size, np.nan))
    moves = [{"BTC": snapshot.assets["BTC"].price_usd * f} for f in (1.0, 0.9, 0.8, 0.7)]
    told = []
    for ticks in (WORTH, 1):
        watcher = make_watcher(blank, snapshot, rules, coins=("BTC",), ticks=ticks)
        assert isinstance(watcher, LiveWatcher) == (ticks == WORTH)
        steps = (watcher.tick(k, prices) for k, prices in enumerate(moves))
        told.append([(made, watcher.deficit_usd()) for made in steps])
    assert told[0][-1][0].below > told[0][0][0].below
    for (mine, lacking), (theirs, wanted) in zip(*told):
        np.testing.assert_array_equal(mine.fallen, theirs.fallen)
        assert lacking == pytest.approx(wanted, rel=1e-9, abs=1e-6)
    whole = entered(book, snapshot, rules)
    assert entered(whole, snapshot, rules) is whole


def test_where_they_would_differ_everybody_is_computed():
    book, snapshot = made("derive-pm2", 20)
    rules = load_ruleset("derive-pm2")
    whole = entered(book, snapshot, rules)
    assert why_not(whole, snapshot, rules, ("BTC",)) == ""
    assert "quoted" in why_not(whole, snapshot, rules, ("USDC",))

    def made_watcher(of, rules=rules, ticks=WORTH, engine="auto"):
        return make_watcher(of, snapshot, rules, coins=("BTC",), ticks=ticks, engine=engine)

    assert isinstance(made_watcher(whole), LiveWatcher)
    for plain in (
        made_watcher(whole, ticks=WORTH - 1),
        made_watcher(whole, engine="vectorised"),
        made_watcher(whole, load_ruleset("derive-srm")),
    ):
        assert isinstance(plain, BookWatcher)
