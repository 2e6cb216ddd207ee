"""Matching two logs: each class of break, and laws on random logs."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossmargin.accounts.matching import (
    AGES,
    Break,
    Class,
    LogLine,
    Reconciliation,
    correction_of,
    match_logs,
)
from crossmargin.units import NS_PER_DAY, NS_PER_SECOND

NOW = 10 * NS_PER_DAY
MINUTE = 60 * NS_PER_SECOND


def line(
    name: str, amount: int, *, at: int = 0, kind: Class = "trade", ref: str = "", asset: str = "USD"
) -> LogLine:
    return LogLine(id=name, time_ns=at, asset=asset, amount=amount, kind=kind, reference=ref)


def matched(ours: list[LogLine], theirs: list[LogLine]) -> Reconciliation:
    return match_logs(ours, theirs, as_of_ns=NOW)


def only(ours: list[LogLine], theirs: list[LogLine]) -> Break:
    found = matched(ours, theirs)
    (broken,) = found.breaks
    return broken


class TestMatches:
    def test_rows_of_one_trade_are_compared_by_their_sum(self) -> None:
        ours = [line("1", 500, ref="T1")]
        theirs = [
            line("a", 512, ref="T1", at=5),
            line("b", -12, kind="fee", ref="T1", at=NS_PER_DAY),
        ]
        found = matched(ours, theirs)
        assert found.breaks == ()
        assert [len(m.theirs) for m in found.matched] == [2]

    def test_without_references_the_nearest_in_time_is_taken(self) -> None:
        ours = [line("1", 7, at=0), line("2", 7, at=50 * NS_PER_SECOND)]
        theirs = [line("a", 7, at=45 * NS_PER_SECOND), line("b", 7, at=1)]
        found = matched(ours, theirs)
        assert {(m.ours[0].id, m.theirs[0].id) for m in found.matched} == {("1", "b"), ("2", "a")}

    def test_different_references_are_never_the_same_thing(self) -> None:
        found = matched([line("1", 7, ref="T1")], [line("a", 7, ref="T2")])
        assert sorted(b.kind for b in found.breaks) == ["missing here", "missing there"]

    def test_one_reference_in_two_assets_is_two_things(self) -> None:
        found = matched(
            [line("1", 7, ref="T", asset="BTC"), line("2", -9, ref="T")],
            [line("a", 7, ref="T", asset="BTC"), line("b", -8, ref="T")],
        )
        assert [m.ours[0].asset for m in found.matched] == ["BTC"]
        assert [(b.kind, b.asset, b.difference) for b in found.breaks] == [("amount", "USD", 1)]


class TestBreaks:
    def test_amount(self) -> None:
        found = only([line("1", 500, ref="T")], [line("a", 499, ref="T")])
        assert (found.kind, found.difference) == ("amount", -1)
        assert correction_of(found).amount == -1

    def test_missing_on_either_side(self) -> None:
        here = only([], [line("a", -30, kind="fee")])
        assert (here.kind, here.difference) == ("missing here", -30)
        assert (correction_of(here).what, correction_of(here).amount) == ("book", -30)
        there = only([line("1", 30)], [])
        assert (there.kind, there.difference) == ("missing there", -30)
        assert (correction_of(there).what, correction_of(there).amount) == ("ask", 0)

    def test_time(self) -> None:
        found = only([line("1", 7, at=0)], [line("a", 7, at=2 * MINUTE)])
        assert (found.kind, found.difference) == ("time", 0)
        assert correction_of(found).what == "relabel"

    def test_class(self) -> None:
        found = only([line("1", 7, kind="other")], [line("a", 7, kind="funding")])
        assert (found.kind, found.difference) == ("class", 0)

    def test_amount_without_a_reference(self) -> None:
        found = only([line("1", 7, kind="funding")], [line("a", 8, kind="funding")])
        assert (found.kind, found.difference) == ("amount", 1)

    def test_twice(self) -> None:
        here = only([line("1", 7), line("1", 7, at=1)], [line("a", 7)])
        assert (here.kind, here.difference) == ("twice here", -7)
        assert (correction_of(here).what, correction_of(here).amount) == ("reverse", -7)
        there = only([line("1", 7)], [line("a", 7), line("a", 7, at=1)])
        assert (there.kind, there.difference) == ("twice there", 7)
        assert correction_of(there).amount == 0

    @pytest.mark.parametrize(
        ("ago", "said"),
        [
            (0, "under an hour"),
            (3_600 * NS_PER_SECOND - 1, "under an hour"),
            (3_600 * NS_PER_SECOND, "under a day"),
            (NS_PER_DAY, "under a week"),
            (7 * NS_PER_DAY, "a week and more"),
        ],
    )
    def test_age(self, ago: int, said: str) -> None:
        assert only([line("1", 7, at=NOW - ago)], []).age == said
        assert said in [name for name, _ in AGES]


def broken_copy(rng: random.Random, ours: list[LogLine]) -> tuple[list[LogLine], Counter[str]]:
    """The venue's log of the same things, with known faults."""
    theirs, done = [], Counter[str]()
    for k, one in enumerate(ours):
        copy = replace(one, id=f"v{k}", time_ns=one.time_ns + rng.randrange(0, MINUTE // 100))
        fault = rng.random()
        if fault < 0.03:
            done["missing there"] += 1
            continue
        if fault < 0.06:
            copy = replace(copy, amount=copy.amount + rng.choice([-3, 5]))
            done["amount"] += 1
        elif fault < 0.09:
            theirs.append(replace(copy))
            done["twice there"] += 1
        theirs.append(copy)
    for k in range(rng.randrange(0, 6)):
        theirs.append(line(f"x{k}", 10**9 + k, at=rng.randrange(NOW), kind="other"))
        done["missing here"] += 1
    rng.shuffle(theirs)
    return theirs, done


@pytest.mark.parametrize("seed", range(10))
def test_known_faults_are_found_and_nothing_else(seed: int) -> None:
    rng = random.Random(seed)
    ours = [
        replace(
            line(f"o{k}", rng.randrange(1, 10**6), at=k * 5 * MINUTE, ref=f"R{k}"),
            asset=rng.choice(["USD", "BTC"]),
        )
        for k in range(400)
    ]
    theirs, done = broken_copy(rng, ours)
    found = matched(ours, theirs)
    assert Counter(b.kind for b in found.breaks) == done


LINES = st.lists(
    st.builds(
        line,
        st.sampled_from([f"n{k}" for k in range(12)]),
        st.integers(-3, 3),
        at=st.integers(0, 5).map(lambda k: k * 40 * NS_PER_SECOND),
        kind=st.sampled_from(["trade", "fee", "funding"]),
        ref=st.sampled_from(["", "", "A", "B"]),
        asset=st.sampled_from(["USD", "BTC"]),
    ),
    max_size=14,
)


@settings(max_examples=400, deadline=None)
@given(LINES, LINES, st.randoms(use_true_random=False))
def test_every_line_is_in_one_place_and_sums_agree(
    ours: list[LogLine], theirs: list[LogLine], rng: random.Random
) -> None:
    found = matched(ours, theirs)
    for mine, name in ((ours, "ours"), (theirs, "theirs")):
        seen = Counter(x for one in (*found.matched, *found.breaks) for x in getattr(one, name))
        assert seen == Counter(mine)
    for asset in ("USD", "BTC"):
        gap = sum(x.amount for x in theirs if x.asset == asset)
        gap -= sum(x.amount for x in ours if x.asset == asset)
        assert found.differences.get(asset, 0) == gap
    for m in found.matched:
        assert sum(x.amount for x in m.ours) == sum(x.amount for x in m.theirs)
        assert len({x.asset for x in (*m.ours, *m.theirs)}) == 1
    mixed_ours, mixed_theirs = list(ours), list(theirs)
    rng.shuffle(mixed_ours)
    rng.shuffle(mixed_theirs)
    again = matched(mixed_ours, mixed_theirs)
    assert again.differences == found.differences
    if len({x.id for x in ours}) == len(ours) and len({x.id for x in theirs}) == len(theirs):
        assert again == found
