"""A book in a page, and a change of rules over it, against plain loops over statements."""

from __future__ import annotations

import json
import math
import random
from collections import Counter

import numpy as np
import pytest
from tests.oracles import random_accounts

from crossmargin.analytics import book_impact, summarise_book
from crossmargin.analytics.book_summary import lowest
from crossmargin.book import CompactBook, book_from_accounts, compact_book, parse_account
from crossmargin.margin import evaluate_compact, load_ruleset
from crossmargin.market import Snapshot, decode_market, snapshot_from_file

ACCOUNTS = 120


def made(seed: int) -> tuple[CompactBook, list[object], Snapshot]:
    raw, names = random_accounts.market(seed)
    accounts = []
    for k in range(ACCOUNTS):
        rng = random.Random(1_000 * seed + k)
        found = random_accounts.account(rng, f"acc-{k:03d}", raw, names)
        accounts.append(parse_account(json.dumps(found)))
    book = compact_book(book_from_accounts(accounts))
    return book, accounts, snapshot_from_file(decode_market(json.dumps(raw).encode(), "m"))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_against_a_plain_loop(seed: int) -> None:
    book, _, snapshot = made(seed)
    rules = load_ruleset("isolated")
    columns = evaluate_compact(book, snapshot, rules, engine="vectorised")
    found = summarise_book(book, columns, rules, snapshot, top=7)
    good = [k for k in range(book.size) if k not in columns.failures]
    assert len(good) > 0, "nothing was computed: the test would prove nothing"
    im = {k: float(columns.im[k]) for k in good}
    total = math.fsum(im.values())
    assert found.accounts == ACCOUNTS and found.computed == len(good)
    assert found.totals.im_usd == pytest.approx(total, rel=1e-12)
    assert sum(s.accounts for s in found.states) == ACCOUNTS
    assert math.fsum(s.im_usd for s in found.states) == pytest.approx(total, rel=1e-12)
    by_excess = sorted(good, key=lambda k: (float(columns.equity[k] - columns.mm[k]), k))[:7]
    assert [r.account for r in found.worst_by_excess] == [book.name(k) for k in by_excess]
    needing = [k for k in good if columns.mm[k] > 0]
    by_health = sorted(needing, key=lambda k: (float(columns.health[k]), k))[:7]
    assert [r.account for r in found.worst_by_health] == [book.name(k) for k in by_health]
    largest = sorted(good, key=lambda k: (-im[k], k))
    share = math.fsum(im[k] for k in largest[:10]) / total
    shares = {s.accounts: s.im_share for s in found.concentration.shares}
    assert shares[10] == pytest.approx(share, rel=1e-12)
    hhi = math.fsum((x / total) ** 2 for x in im.values())
    assert found.concentration.hhi == pytest.approx(hhi, rel=1e-12)
    codes = Counter(error.code for error in columns.failures.values())
    assert {f.code: f.accounts for f in found.failures} == dict(codes)
    assert all(f.account and f.code in f.message for f in found.failures)


@pytest.mark.parametrize("seed", [0, 3])
def test_notional_by_underlying(seed: int) -> None:
    """Contract by contract: coins times price, dollars of inverse contracts, both in dollars."""
    book, accounts, snapshot = made(seed)
    rules = load_ruleset("isolated")
    found = summarise_book(
        book, evaluate_compact(book, snapshot, rules, engine="vectorised"), rules, snapshot
    )
    net: dict[str, float] = {}
    gross: dict[str, float] = {}
    holders: dict[str, set[str]] = {}
    registry, price = book.registry, snapshot.view(book.registry, ()).price
    for account in accounts:
        for position in account.positions:  # type: ignore[attr-defined]
            k = registry.resolve(position.instrument)
            item, quantity = registry[k], float(position.quantity)
            if math.isnan(price[k]):
                assert item.id in found.unpriced
                continue
            dollars = item.inverse and item.kind != "option"
            unit = item.contract_size * (1.0 if dollars else float(price[k]))
            usd = quantity * unit * snapshot.asset_usd(item.quote)
            net[item.underlying] = net.get(item.underlying, 0.0) + usd
            gross[item.underlying] = gross.get(item.underlying, 0.0) + abs(usd)
            holders.setdefault(item.underlying, set()).add(account.account)  # type: ignore[attr-defined]
    assert {r.underlying for r in found.underlyings} == set(gross)
    for row in found.underlyings:
        assert row.gross_usd == pytest.approx(gross[row.underlying], rel=1e-10)
        assert row.net_usd == pytest.approx(net[row.underlying], rel=1e-9, abs=1e-3)
        assert row.accounts == len(holders[row.underlying])


def test_lowest_is_a_sort() -> None:
    rng = np.random.default_rng(5)
    for size in (0, 1, 5, 60):
        values = rng.integers(0, 12, size).astype(float)
        values[rng.random(size) < 0.2] = np.nan
        for count in (1, 3, 100):
            known = [k for k in range(size) if not np.isnan(values[k])]
            expected = sorted(known, key=lambda k: (values[k], k))[:count]
            assert lowest(values, count).tolist() == expected


class TestImpact:
    @pytest.mark.parametrize("seed", [0, 4])
    def test_against_a_plain_loop(self, seed: int) -> None:
        book, _, snapshot = made(seed)
        a = load_ruleset("isolated")
        b = load_ruleset("deribit-sm-cross")
        ca, cb = (evaluate_compact(book, snapshot, rules, engine="vectorised") for rules in (a, b))
        found = book_impact(book, snapshot, (a, ca), (b, cb), top=5)
        both = [k for k in range(book.size) if k not in ca.failures and k not in cb.failures]
        assert both and found.compared == len(both)
        assert found.lost == len(cb.failures.keys() - ca.failures.keys())
        assert found.gained == len(ca.failures.keys() - cb.failures.keys())
        rise = {k: float(cb.im[k] - ca.im[k]) for k in both}
        assert found.rises == sum(x > 0 for x in rise.values())
        assert found.falls == sum(x < 0 for x in rise.values())
        worst = sorted((k for k in both if rise[k] > 0), key=lambda k: (-rise[k], k))[:5]
        assert [r.account for r in found.worst] == [book.name(k) for k in worst]
        mid = next(q for q in found.quantiles if q.share == 0.5)
        assert mid.im_change_usd == pytest.approx(float(np.median(list(rise.values()))), rel=1e-12)
        change = found.totals_after.im_usd - found.totals_before.im_usd
        assert change == pytest.approx(math.fsum(rise.values()), rel=1e-9)

    def test_the_same_rules_change_nothing(self) -> None:
        book, _, snapshot = made(0)
        rules = load_ruleset("isolated")
        columns = evaluate_compact(book, snapshot, rules, engine="vectorised")
        found = book_impact(book, snapshot, (rules, columns), (rules, columns))
        assert found.rises == found.falls == found.lost == found.gained == 0
        assert found.worst == [] and found.newly_liquidated == []
        assert all(c.newly == c.no_longer == 0 and c.before == c.after for c in found.crossings)
        assert all(q.im_change_usd == 0 for q in found.quantiles)
