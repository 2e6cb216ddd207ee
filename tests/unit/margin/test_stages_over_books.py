"""Stages over whole books against plain loops, and a large book against one account at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from benchmarks.ruleset_worlds import WORLDS, rules, world
from tests.oracles import loops

from crossmargin.book import Book, compact_book, select_accounts
from crossmargin.margin import (
    Requirement,
    equity,
    evaluate_book,
    evaluate_compact,
    frame_for,
    requirement,
    ruleset_ids,
)
from crossmargin.margin._frame import Frame, sum_by
from crossmargin.margin._stages import STAGES
from crossmargin.margin.components import BaseComponent

Columns = tuple[Any, ...]
FIELDS = ("equity", "equity_im", "im", "mm")
FILL = {"orders.method": "worst-fill"}
PAIR = {"groups": ["BTC", "ETH"], "value": 0.6}
#: One rule-set with credit between groups besides, of either form.
CREDITS = {
    "pair-credit": ("pair-credit", PAIR),
    "capped": ("pair-credit", {**PAIR, "max_credit_usd": 500.0}),
    "correlation": ("correlation", PAIR),
}
MORE: dict[str, tuple[str, dict[str, Any]]] = {
    case: (
        "deribit-pm-cross",
        {"offset": {"source": "pme_2026", "method": method, "pairs": [pair]}},
    )
    for case, (method, pair) in CREDITS.items()
}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in sorted(WORLDS)},
    **MORE,
}


def test_every_rule_set_has_a_world() -> None:
    assert sorted(WORLDS) == sorted(ruleset_ids())


def with_orders(book: Book, seed: int) -> Book:
    """Give half of the accounts a few orders of one or two legs, and positions leverage."""
    rng = np.random.default_rng(seed)
    usual = np.zeros(len(book.registry))
    usual[book.position_instrument] = np.abs(book.position_quantity)
    listed = np.flatnonzero(usual)
    owner = rng.choice(book.size, size=book.size // 2, replace=False)
    pool = np.repeat(np.sort(owner), 3)
    legs = np.repeat(np.arange(pool.size), rng.integers(1, 3, pool.size))
    held = rng.integers(0, max(book.position_instrument.size, 1), legs.size)
    instrument = np.where(
        rng.random(legs.size) < 0.5, rng.choice(listed, legs.size), book.position_instrument[held]
    )
    quantity = usual[instrument] * rng.uniform(0.2, 2.0, legs.size)
    n = book.position_quantity.size
    return replace(
        book,
        order_pool=pool,
        order_ids=[f"o{k}" for k in range(pool.size)],
        order_group=np.full(pool.size, -1),
        leg_order=legs,
        leg_instrument=instrument,
        leg_quantity=quantity * rng.choice([-1.0, 1.0], legs.size),
        leg_price=np.full(legs.size, np.nan),
        position_leverage=rng.choice([np.nan, 2.0, 10.0], n),
        position_fence=np.where(rng.random(n) < 0.2, rng.uniform(0, 100, n), np.nan),
    )


def gross(frame: Frame) -> Any:
    """Gross notional by group in the numeraire: what a rounding error may be measured in."""
    book, a = frame.book, frame.arrangement
    usd = frame.asset_usd_or_one[frame.terms.underlying[book.position_instrument]]
    coins = np.abs(book.position_quantity) * frame.unit_coins[book.position_instrument]
    return sum_by(coins * usd / frame.pot_usd[a.position_pot], a.position_group, a.groups)


def held_to_loops(name: str, more: dict[str, Any], book: Book, snapshot: Any) -> None:
    ruleset = rules(name, **more)
    if not book.leg_order.size:
        kinds: tuple[bool, ...] = (False,)
    else:
        kinds = (False, True)
    for orders in kinds:
        ours = frame_for(book, snapshot, ruleset)
        need = requirement(ours, orders=orders)
        with loops.installed():
            theirs = frame_for(book, snapshot, ruleset)
            other = requirement(theirs, orders=orders)
            have = equity(theirs, other)
        compare(ours, need, other)
        mine = equity(ours, need)
        for level in ("im", "mm"):
            one, two = getattr(mine, level), getattr(have, level)
            scale = np.abs(two) + sum_by(gross(ours), ours.arrangement.group_pot, one.size) + 1.0
            assert np.abs(one - two).max() <= 1e-12 * scale.max()


def compare(frame: Frame, ours: Requirement, theirs: Requirement) -> None:
    a = frame.arrangement
    size = gross(frame) + 1.0
    of_pot = sum_by(size, a.group_pot, a.pots)
    rows = of_pot[a.position_pot]
    for name, part in theirs.parts.items():
        mine = ours.parts[name]
        for field, scale in (("im", size), ("mm", size), ("share_im", rows), ("share_mm", rows)):
            one, two = getattr(mine, field), getattr(part, field)
            wrong = np.abs(one - two) > 1e-12 * (np.abs(two) + scale)
            assert not wrong.any(), (name, field, one[wrong][:3], two[wrong][:3])
        one, two = (crossed(c, rows.size, a.groups) for c in (mine.cross, part.cross))
        assert np.abs(one - two).max(initial=0.0) <= 1e-12 * size.max(initial=0.0)
    for name, columns in theirs.pool_parts.items():
        for one, two in zip(ours.pool_parts[name], columns):
            assert np.abs(one - two).max(initial=0.0) <= 1e-12 * of_pot.max()
    for field in ("im", "mm", "credit_im", "credit_mm"):
        one, two = getattr(ours, field), getattr(theirs, field)
        assert (np.abs(one - two) <= 1e-12 * (np.abs(two) + of_pot)).all(), field
    for field in ("share_im", "share_mm"):
        one, two = getattr(ours, field), getattr(theirs, field)
        assert (np.abs(one - two) <= 1e-12 * (np.abs(two) + rows)).all(), field


def crossed(cross: Any, positions: int, groups: int) -> Any:
    out = np.zeros((positions, groups))
    if cross is not None:
        np.add.at(out, (cross.position, cross.group), cross.value)
    return out


@pytest.mark.parametrize("case", sorted(CASES))
def test_stages_equal_plain_loops(case: str) -> None:
    """Every component, share and credit, with and without open orders."""
    name, more = CASES[case]
    book, snapshot = world(name, 150, seed=3, instruments=150)
    whole = book.accounts(0, book.size)
    held_to_loops(name, more, whole, snapshot)
    if whole.position_instrument.size and rules(name).data.orders.method != "at-fill":
        held_to_loops(name, {**more, **FILL}, with_orders(whole, 5), snapshot)


def test_every_kind_of_component_is_held() -> None:
    """What the loops leave out never went by row."""
    by_columns = {"Scan", "ScanPart", "CorrelationContingency", "FundingProvision", "PegFactor"}
    by_columns |= {"FeeProvision", "PegCharge", "BalanceRate", "Unpublished", "Factor"}
    by_columns |= {"Concentration", "Impact"}
    assert {kind.__name__ for kind in STAGES} - {k.__name__ for k in loops.LOOPS} == by_columns
    assert all(issubclass(kind, BaseComponent) for kind in loops.LOOPS)


def agree(ours: Any, theirs: Any, book: Book, snapshot: Any, rows: Any) -> None:
    """Hold columns of a large book to those of a small one, at rows of the large one."""
    coins = (
        np.abs(book.position_quantity) * book.registry.terms.contract_size[book.position_instrument]
    )
    price = np.nan_to_num(snapshot.view(book.registry).price)[book.position_instrument]
    inverse = book.registry.terms.inverse[book.position_instrument]
    linear = coins * np.where(inverse, 1.0, price)
    notional = sum_by(linear, book.pool_account[book.position_pool], book.size)
    scale = np.maximum(np.abs(theirs.equity), np.abs(theirs.im)) + notional + 1.0
    for field in FIELDS:
        one, two = getattr(ours, field)[rows], getattr(theirs, field)
        assert (np.isnan(one) == np.isnan(two)).all()
        assert not (np.abs(one - two) > 1e-12 * scale).any(), field
    np.testing.assert_allclose(ours.health[rows], theirs.health, rtol=1e-9)
    assert (ours.protected[rows] == theirs.protected).all()


@pytest.mark.parametrize("name", sorted(WORLDS))
def test_a_large_book_equals_one_account_at_a_time(name: str) -> None:
    """300 accounts against plain loops, a few of them alone; any chunking gives the same bits."""
    book, snapshot = world(name, 300, seed=11, instruments=150)
    ruleset = rules(name)
    whole = book.accounts(0, book.size)
    ours = evaluate_compact(book, snapshot, ruleset, engine="vectorised")
    with loops.installed():
        theirs = evaluate_book(whole, snapshot, ruleset)
        alone = [0, 7, 150, 299]
        singles = [evaluate_book(select_accounts(whole, [k]), snapshot, ruleset) for k in alone]
    assert not theirs.failures
    assert not ours.failures
    agree(ours, theirs, whole, snapshot, np.arange(book.size))
    for row, single in zip(alone, singles):
        agree(ours, single, select_accounts(whole, [row]), snapshot, [row])
    cut = evaluate_compact(book, snapshot, ruleset, engine="vectorised", chunk=37, threads=2)
    for field in (*FIELDS, "health", "protected"):
        np.testing.assert_array_equal(getattr(cut, field), getattr(ours, field))
    assert cut.components == ours.components


@pytest.mark.parametrize("name", ["deribit-pm-cross", "isolated", "span", "okx-pm", "derive-srm"])
def test_orders_fences_and_leverage_in_a_large_book(name: str) -> None:
    book, snapshot = world(name, 120, seed=4, instruments=150)
    mixed = with_orders(book.accounts(0, book.size), 9)
    large = compact_book(mixed)
    assert large.rest is not None
    ruleset = rules(name, **FILL)
    ours = evaluate_compact(large, snapshot, ruleset, engine="vectorised", chunk=50)
    theirs = evaluate_book(mixed, snapshot, ruleset)
    order = [mixed.account_ids[k] for k in range(mixed.size)]
    place = {large.name(k): k for k in range(large.size)}
    assert not theirs.failures
    agree(ours, theirs, mixed, snapshot, [place[name] for name in order])
