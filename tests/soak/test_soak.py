"""A short form of ``make soak``: the same chapters, fewer events."""

from __future__ import annotations

from tests.soak.run import chapter


def test_every_law_holds_after_each_of_random_events() -> None:
    seen = chapter(12_000, 50, seed=7)
    assert seen.events == 12_000


def test_the_same_seed_gives_the_same_state() -> None:
    assert chapter(600, 50, seed=3).digest == chapter(600, 50, seed=3).digest
    assert chapter(600, 50, seed=3).digest != chapter(600, 50, seed=4).digest
