"""A watcher against the plainest way of doing it: one statement at a time, at every tick."""

from __future__ import annotations

import numpy as np

from crossmargin.book import book_from_accounts, compact_book, generate_book
from crossmargin.margin import BookWatcher, load_ruleset, make_statement, make_watcher
from crossmargin.market import MovedMarket, generated_market
from crossmargin.venues import load_account, load_market

NAMES = ("covered-call", "basis-trader", "short-vol-desk", "directional")
RULES = load_ruleset("deribit-pm-cross")
CALM = load_market("calm-2026-02-03")


def path(seed: int, steps: int) -> list[dict[str, float]]:
    """Prices that wander far: some ticks move one coin, some both."""
    rng = np.random.default_rng(seed)
    now = {coin: CALM.assets[coin].price_usd for coin in ("BTC", "ETH")}
    out = []
    for step in range(steps):
        moved = ("BTC", "ETH") if step % 3 else ("BTC",)
        for coin in moved:
            now[coin] *= float(np.exp(rng.normal(-0.02, 0.12)))
        out.append({coin: now[coin] for coin in moved})
    return out


def test_who_crosses_when() -> None:
    accounts = [load_account(name) for name in NAMES]
    book = compact_book(book_from_accounts(accounts))
    watcher, market = (
        BookWatcher(book, CALM, RULES, engine="vectorised"),
        MovedMarket(CALM, book.registry),
    )
    below: set[str] = set()
    prices: dict[str, float] = {}
    crossed = 0
    for number, moved in enumerate(path(3, 25)):
        prices |= moved
        world = market.at(prices)
        made = [make_statement(a, world, RULES, solve=False).totals for a in accounts]
        now = {
            a.account
            for a, t in zip(accounts, made, strict=True)
            if t.state in ("liquidation", "bankrupt")
        }
        lacking = sum(
            max(t.mm - t.equity, 0.0)
            for a, t in zip(accounts, made, strict=True)
            if a.account in now
        )
        found = watcher.tick(number, moved)
        assert {book.name(int(k)) for k in found.fallen} == now - below
        assert {book.name(int(k)) for k in found.recovered} == below - now
        assert found.below == len(now) and found.failed == 0
        assert abs(watcher.deficit_usd() - lacking) <= 1e-9 * max(lacking, 1.0)
        assert found.prices_usd == prices
        crossed += len(now ^ below)
        below = now
    assert crossed > 3, "nothing crossed: the path is too tame to test anything"


def test_a_failed_account_keeps_its_side() -> None:
    """An account of a coin without a price fails; the others are watched."""
    from crossmargin.book import AccountFile, BalanceEntry, PositionEntry

    odd = AccountFile(
        format="crossmargin-account/1",
        account="odd",
        balances=[BalanceEntry(asset="XMR", amount=1)],
        positions=[PositionEntry(instrument="XMR_USDC-PERPETUAL", quantity=1, entry_price=1)],
    )
    book = compact_book(book_from_accounts([load_account("directional"), odd]))
    watcher = BookWatcher(book, CALM, RULES, engine="vectorised")
    price = CALM.assets["BTC"].price_usd
    first = watcher.tick(0, {"BTC": price * 0.6})
    assert first.failed == 1 and [book.name(k) for k in first.fallen] == ["directional"]
    second = watcher.tick(1, {"BTC": price})
    assert [book.name(k) for k in second.recovered] == ["directional"]
    assert second.failed == 1 and second.below == 0


def test_why_everybody_is_computed_is_said() -> None:
    """Options settled in the coin and in dollars side by side leave no single pass."""
    rules = load_ruleset("derive-pm2")
    for settled, why in (("mixed", "settled in several assets"), ("linear", "")):
        registry, market = generated_market(
            seed=1, venue_kind=settled, underlyings=["BTC"], instruments=60
        )
        book = generate_book(20, seed=1, registry=registry, snapshot=market)
        watcher = make_watcher(book, market, rules, coins=["BTC"], ticks=100)
        assert why in watcher.reason and bool(why) == bool(watcher.reason)
        assert isinstance(watcher, BookWatcher) is bool(why)
