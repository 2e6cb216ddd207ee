"""The script that holds large books to plain loops finds what differs."""

from __future__ import annotations

import time
from typing import Any

import pytest
from benchmarks import equality
from benchmarks.ruleset_worlds import rules, world
from benchmarks.stage_times import shares, stage_times

from crossmargin.margin import evaluate_compact


def test_equal_books_are_good() -> None:
    book, snapshot = world("deribit-sm", 40, instruments=100)
    held = equality.hold(book, snapshot, rules("deribit-sm"), "vectorised", alone=2)
    assert held.good
    assert held.accounts == 40
    holed = equality.hold(book, equality.with_holes(snapshot), rules("deribit-sm"), "vectorised")
    assert holed.good
    assert holed.refused > 0


def test_a_rate_that_is_a_little_higher_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    book, snapshot = world("deribit-sm", 40, instruments=100)
    other = rules("deribit-sm", **{"components.futures.slopes.BTC.im": 0.02 + 1e-10})

    def off(book: Any, snapshot: Any, ruleset: Any, **more: Any) -> Any:
        return evaluate_compact(book, snapshot, other, **more)

    monkeypatch.setattr(equality, "evaluate_compact", off)
    held = equality.hold(book, snapshot, rules("deribit-sm"), "vectorised", alone=0)
    assert held.reasons
    assert not held.good
    assert held.worst > equality.EQUAL


def test_other_reasons_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    book, snapshot = world("deribit-sm", 40, instruments=100)
    holes = equality.with_holes(snapshot)

    def off(book: Any, market: Any, ruleset: Any, **more: Any) -> Any:
        return evaluate_compact(book, snapshot, ruleset, **more)

    monkeypatch.setattr(equality, "evaluate_compact", off)
    assert not equality.hold(book, holes, rules("deribit-sm"), "vectorised", alone=0).reasons


def test_times_of_stages_add_up_to_less_than_the_whole() -> None:
    book, snapshot = world("span", 60, instruments=100)
    start = time.perf_counter()
    with stage_times() as spent:
        evaluate_compact(book, snapshot, rules("span"), engine="vectorised")
    whole = time.perf_counter() - start
    assert {"scan", "intra", "delivery", "inter", "risk_cap", "haircuts"} <= set(spent)
    assert all(took >= 0.0 for took in spent.values())
    assert 0.3 * whole < sum(spent.values()) <= whole
    assert shares({"a": 1.0, "b": 3.0}, 10.0, 1) == "b 30 %"
