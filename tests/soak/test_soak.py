"""A short form of ``make soak``: the same chapters, fewer events."""

from __future__ import annotations

from tests.soak.crash import RULES, days, must_have_seen
from tests.soak.run import chapter


def test_every_law_holds_after_each_of_random_events() -> None:
    seen = chapter(12_000, 50, seed=7)
    assert seen.events == 12_000


def test_the_same_seed_gives_the_same_state() -> None:
    assert chapter(600, 50, seed=3).digest == chapter(600, 50, seed=3).digest
    assert chapter(600, 50, seed=3).digest != chapter(600, 50, seed=4).digest


def test_every_law_of_liquidation_holds_under_each_venues_rules() -> None:
    found = [days(rules, 3_000 if rules == "house" else 1_200, 50, seed=5) for rules in RULES]
    must_have_seen(found)
    assert any(seen.looks > 1 for seen in found)
    assert any(seen.longest_s > 0 for seen in found)


def test_the_same_seed_gives_the_same_liquidations() -> None:
    assert days("slices", 400, 50, seed=3).digest == days("slices", 400, 50, seed=3).digest
    assert days("slices", 400, 50, seed=3).digest != days("slices", 400, 50, seed=4).digest
