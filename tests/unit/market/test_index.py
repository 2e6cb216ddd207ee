"""The index: median of fresh sources, cut, stand-ins; and what it takes to move it."""

from __future__ import annotations

import random
from statistics import median
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossmargin.errors import MarketDataError
from crossmargin.market import (
    CONFIDENCE_ONE,
    LastGood,
    SourcePrint,
    TrustPolicy,
    attack_cost,
    default_policy,
    index_price,
    policy_with,
    within_confidence,
)

NOW = 1_800_000_000_000_000_000
SECOND = 1_000_000_000
HOUSE = default_policy()


def source(name: str, price: float, age_s: float = 0.0, **more: Any) -> SourcePrint:
    return SourcePrint(name=name, price_usd=price, time_ns=NOW - round(age_s * SECOND), **more)


def three(*prices: float, ages: tuple[float, ...] = (0.0, 0.0, 0.0)) -> list[SourcePrint]:
    return [source(n, p, a) for n, p, a in zip("abc", prices, ages, strict=True)]


def parts(prints: list[SourcePrint], policy: TrustPolicy = HOUSE, **more: Any) -> list[str]:
    return [r.part for r in index_price(prints, NOW, policy, **more).readings]


class TestMedian:
    def test_three_that_agree(self) -> None:
        made = index_price(three(50_000, 50_020, 49_990), NOW, HOUSE)
        assert (made.price_usd, made.state, made.method) == (50_000, "trusted", "median")
        assert made.confidence == CONFIDENCE_ONE and made.reason == ""
        assert made.half_width == pytest.approx(20 / 50_000, rel=1e-12)

    def test_two_take_the_mean(self) -> None:
        made = index_price([source("a", 100.0), source("b", 101.0)], NOW, HOUSE)
        assert made.price_usd == 100.5 and made.state == "trusted"

    def test_an_outlier_is_cut_and_named(self) -> None:
        made = index_price(three(50_000, 50_010, 40_000), NOW, HOUSE)
        assert made.price_usd == 50_005 and made.state == "degraded"
        assert [r.part for r in made.readings] == ["used", "used", "outlier"]
        assert made.confidence == CONFIDENCE_ONE * 2 // 3
        assert "c (-20.0 %)" in made.reason

    def test_the_band_is_closed(self) -> None:
        policy = policy_with({"deviation_band": 0.25})
        assert parts(three(100.0, 100.0, 125.0), policy) == ["used"] * 3
        assert parts(three(100.0, 100.0, 125.1), policy)[2] == "outlier"

    def test_age_is_the_oldest_print_it_rests_on(self) -> None:
        made = index_price(three(100, 100, 100, ages=(3.0, 170.0, 400.0)), NOW, HOUSE)
        assert made.age_s == 170.0 and made.time_ns == NOW - 170 * SECOND

    def test_a_source_may_have_its_own_limit_of_age(self) -> None:
        slow = source("slow", 100.0, 500.0, stale_after_s=600.0)
        fast = source("fast", 100.0, 100.0, stale_after_s=60.0)
        assert parts([slow, fast, source("c", 100.0)]) == ["used", "stale", "used"]

    def test_age_at_the_limit_is_fresh(self) -> None:
        assert parts(three(100, 100, 100, ages=(180.0, 180.001, 0.0))) == ["used", "stale", "used"]

    def test_an_unsure_source_is_left_out(self) -> None:
        prints = [
            source("a", 100.0, deviation_usd=10.0),
            source("b", 100.0, deviation_usd=10.01),
            source("c", 100.0),
        ]
        assert parts(prints) == ["used", "unsure", "used"]
        assert within_confidence(10.0, 100.0, 0.1) and not within_confidence(10.01, 100.0, 0.1)


class TestTooFew:
    def test_two_of_three_stale(self) -> None:
        made = index_price(three(50_000, 50_010, 49_000, ages=(600.0, 600.0, 0.0)), NOW, HOUSE)
        assert (made.state, made.method, made.price_usd) == ("untrusted", "remaining", 49_000)
        assert "2 of 3 sources stale: a, b" in made.reason
        assert "1 can be used and 2 are needed" in made.reason

    def test_the_last_good_index_stands_in_while_young(self) -> None:
        prints = three(50_000, 50_010, 49_000, ages=(600.0, 600.0, 0.0))
        young = LastGood(price_usd=50_005.0, time_ns=NOW - 900 * SECOND)
        old = LastGood(price_usd=50_005.0, time_ns=NOW - 901 * SECOND)
        made = index_price(prints, NOW, HOUSE, last_good=young)
        assert (made.method, made.price_usd, made.age_s) == ("last-good", 50_005.0, 900.0)
        assert made.state == "untrusted" and made.confidence == 0
        assert index_price(prints, NOW, HOUSE, last_good=old).method == "remaining"

    def test_the_order_of_fallbacks_is_data(self) -> None:
        prints = three(50_000, 50_010, 49_000, ages=(600.0, 600.0, 0.0))
        good = LastGood(price_usd=50_005.0, time_ns=NOW)
        policy = policy_with({"fallback": ["remaining", "last-good"]})
        assert index_price(prints, NOW, policy, last_good=good).method == "remaining"

    def test_all_stale_takes_every_print_or_refuses(self) -> None:
        prints = three(50_000, 50_010, 49_000, ages=(600.0, 600.0, 600.0))
        made = index_price(prints, NOW, HOUSE)
        assert (made.method, made.price_usd, made.state) == ("any", 50_000, "untrusted")
        assert made.confidence == 0 and made.age_s == 600.0
        with pytest.raises(MarketDataError) as caught:
            index_price(prints, NOW, policy_with({"fallback": ["last-good", "remaining"]}))
        assert caught.value.code == "MKT-001"

    def test_two_that_disagree_are_both_cut(self) -> None:
        made = index_price([source("a", 100.0), source("b", 80.0)], NOW, HOUSE)
        assert [r.part for r in made.readings] == ["outlier", "outlier"]
        assert (made.state, made.method) == ("untrusted", "any")

    def test_secondary_sources_are_asked_only_when_needed(self) -> None:
        spare = source("spare", 50_030.0, secondary=True)
        whole = [*three(50_000, 50_010, 50_020), spare]
        assert parts(whole)[3] == "not-needed"
        assert index_price(whole, NOW, HOUSE).price_usd == 50_010
        short = [*three(50_000, 50_010, 50_020, ages=(600.0, 600.0, 0.0)), spare]
        made = index_price(short, NOW, HOUSE)
        assert (made.state, made.method, made.price_usd) == ("degraded", "with-secondary", 50_025)

    def test_a_secondary_source_that_disagrees_does_not_help(self) -> None:
        short = [
            *three(50_000, 50_010, 50_020, ages=(600.0, 600.0, 0.0)),
            source("spare", 40_000.0, secondary=True),
        ]
        made = index_price(short, NOW, HOUSE)
        assert (made.state, made.method, made.price_usd) == ("untrusted", "remaining", 50_020)

    def test_one_source_is_enough_where_the_policy_says_so(self) -> None:
        policy = policy_with({"min_fresh": 1})
        assert index_price([source("a", 100.0)], NOW, policy).state == "trusted"
        assert index_price([source("a", 100.0)], NOW, HOUSE).state == "untrusted"

    def test_a_share_of_many_sources(self) -> None:
        prints = [source(f"s{i}", 100.0, 600.0 if i < 6 else 0.0) for i in range(10)]
        assert index_price(prints, NOW, HOUSE).state == "untrusted"  # 4 of 10, 5 needed
        assert index_price(prints, NOW, policy_with({"min_share": 0.4})).state == "degraded"


@pytest.mark.parametrize(
    ("prints", "code"),
    [
        ([], "MKT-001"),
        ([source("a", 0.0)], "MKT-009"),
        ([source("a", float("nan"))], "MKT-009"),
        ([source("a", 1.0), source("a", 2.0)], "MKT-011"),
        ([source("a", 1.0, -1.0)], "MKT-011"),
    ],
)
def test_impossible_panels_are_refused(prints: list[SourcePrint], code: str) -> None:
    with pytest.raises(MarketDataError) as caught:
        index_price(prints, NOW, HOUSE)
    assert caught.value.code == code


# ------------------------------------------------------------------------------------------ laws

panels = st.lists(
    st.tuples(st.floats(90.0, 110.0), st.floats(0.0, 400.0), st.booleans(), st.floats(0.0, 20.0)),
    min_size=1,
    max_size=8,
).map(
    lambda rows: [
        source(f"s{i}", price, age, secondary=second and i > 0, deviation_usd=deviation)
        for i, (price, age, second, deviation) in enumerate(rows)
    ]
)


def slow_index(prints: list[SourcePrint], policy: TrustPolicy) -> tuple[float, str]:
    """The rules once more, as plain loops."""
    fresh, fresh_primary = [], []
    primary = 0
    for p in prints:
        primary += not p.secondary
        limit = p.stale_after_s or policy.stale_after_s
        young = (NOW - p.time_ns) / SECOND <= limit
        sure = p.deviation_usd is None or p.deviation_usd <= policy.conf_filter * p.price_usd
        if young and sure:
            fresh.append(p.price_usd)
            if not p.secondary:
                fresh_primary.append(p.price_usd)

    def cut(values: list[float]) -> list[float]:
        middle = median(values) if values else 0.0
        return [x for x in values if abs(x / middle - 1.0) <= policy.deviation_band]

    def enough(values: list[float]) -> bool:
        return len(values) >= policy.min_fresh and len(values) >= policy.min_share * primary

    first, both = cut(fresh_primary), cut(fresh)
    if enough(first):
        return median(first), "trusted" if len(first) == primary else "degraded"
    if enough(both):
        return median(both), "degraded"
    left = both or first
    return median(left or [p.price_usd for p in prints]), "untrusted"


@given(panels)
def test_against_plain_loops(prints: list[SourcePrint]) -> None:
    made = index_price(prints, NOW, HOUSE)
    assert (made.price_usd, made.state) == slow_index(prints, HOUSE)


@given(panels, st.integers(0, 10**6))
def test_order_does_not_matter(prints: list[SourcePrint], seed: int) -> None:
    shuffled = random.Random(seed).sample(prints, len(prints))
    one, two = index_price(prints, NOW, HOUSE), index_price(shuffled, NOW, HOUSE)
    assert (one.price_usd, one.state, one.method, one.time_ns) == (
        two.price_usd,
        two.state,
        two.method,
        two.time_ns,
    )
    assert {r.name: r for r in one.readings} == {r.name: r for r in two.readings}


@given(panels)
def test_a_trusted_index_lies_among_its_fresh_sources(prints: list[SourcePrint]) -> None:
    made = index_price(prints, NOW, HOUSE)
    used = [r.price_usd for r in made.readings if r.part == "used"]
    if made.state != "untrusted":
        assert min(used) <= made.price_usd <= max(used)
        assert all(r.age_s <= HOUSE.stale_after_s for r in made.readings if r.part == "used")
        assert len(used) >= HOUSE.min_fresh
        # The cut is about the median of all, the width about the median of what is left: both
        # lie in one band, whose lower end is the smaller price.
        band = HOUSE.deviation_band
        assert made.half_width <= 2 * band / (1 - band) * (1 + 1e-12)


@given(panels, st.floats(0.0, 300.0))
def test_ageing_never_freshens(prints: list[SourcePrint], by_s: float) -> None:
    """An older panel has no fewer stale sources; where sources agree, it is no better trusted."""
    later = NOW + round(by_s * SECOND)
    now, then = index_price(prints, NOW, HOUSE), index_price(prints, later, HOUSE)
    stale = {r.name for r in now.readings if r.part == "stale"}
    # A secondary source that was not needed has no part in it until it is.
    asked = {r.name for r in then.readings if r.part != "not-needed"}
    assert stale & asked <= {r.name for r in then.readings if r.part == "stale"}


@given(
    st.lists(st.tuples(st.floats(99.5, 100.5), st.floats(0.0, 400.0)), min_size=1, max_size=8),
    st.floats(0.0, 300.0),
)
def test_ageing_never_gains_trust_where_sources_agree(
    rows: list[tuple[float, float]], by_s: float
) -> None:
    prints = [source(f"s{i}", price, age) for i, (price, age) in enumerate(rows)]
    rank = ("trusted", "degraded", "untrusted").index
    now = index_price(prints, NOW, HOUSE)
    then = index_price(prints, NOW + round(by_s * SECOND), HOUSE)
    assert rank(then.state) >= rank(now.state)
    assert then.confidence <= now.confidence


@given(st.lists(st.floats(99.9, 100.1), min_size=2, max_size=6), st.floats(0.001, 1e6))
@settings(max_examples=60)
def test_one_liar_among_three_or_more_stays_within_the_honest(
    honest: list[float], lie: float
) -> None:
    prints = [source(f"h{i}", p) for i, p in enumerate(honest)]
    made = index_price([*prints, source("liar", lie)], NOW, HOUSE)
    assert made.state != "untrusted"
    assert min(honest) <= made.price_usd <= max(honest)


# ---------------------------------------------------------------------------------------- attack


class TestAttack:
    def prints(self) -> list[SourcePrint]:
        return [
            source("a", 100.0, depth_usd_1pct=1e6),
            source("b", 100.0, depth_usd_1pct=2e6),
            source("c", 100.0, depth_usd_1pct=5e6),
        ]

    def test_a_majority_is_needed_and_the_cheapest_is_chosen(self) -> None:
        found = attack_cost(self.prints(), NOW, HOUSE, move=0.05)
        assert found.sources_needed == 2 and found.sources == ("a", "b")
        # Two sources, five per cent each, linear in depth.
        assert found.notional_usd == pytest.approx(5 * (1e6 + 2e6), rel=1e-9)

    def test_down_costs_as_much_as_up(self) -> None:
        up = attack_cost(self.prints(), NOW, HOUSE, move=0.05)
        down = attack_cost(self.prints(), NOW, HOUSE, move=-0.05)
        assert down.notional_usd == pytest.approx(up.notional_usd, rel=1e-9)

    def test_one_liar_among_equals_moves_nothing(self) -> None:
        assert attack_cost(self.prints(), NOW, HOUSE, move=0.05).one_source_reach == 0.0

    def test_one_of_two_moves_half_of_what_the_band_lets_pass(self) -> None:
        two = self.prints()[:2]
        found = attack_cost(two, NOW, HOUSE, move=0.05)
        # v within 2 % of (100 + v) / 2: v up to 102/0.98, index up to its mean with 100.
        edge = 100 * (1 + HOUSE.deviation_band) / (1 - HOUSE.deviation_band)
        most = (100 + edge) / 200 - 1
        assert 0.99 * most < found.one_source_reach <= most
        assert found.sources_needed == 2

    def test_a_single_source_is_all_it_takes(self) -> None:
        policy = policy_with({"min_fresh": 1})
        found = attack_cost([source("a", 100.0, depth_usd_1pct=1e6)], NOW, policy, move=0.05)
        assert (found.sources_needed, found.notional_usd) == (1, pytest.approx(5e6, rel=1e-9))
        assert found.one_source_reach > 1.0

    def test_without_depth_there_is_a_count_and_no_cost(self) -> None:
        prints = [source(n, 100.0) for n in "abc"]
        found = attack_cost(prints, NOW, HOUSE, move=0.05)
        assert (found.sources_needed, found.notional_usd) == (2, None)

    def test_a_majority_of_five_is_three(self) -> None:
        prints = [source(n, 100.0) for n in "abcde"]
        assert attack_cost(prints, NOW, HOUSE, move=0.05).sources_needed == 3

    @pytest.mark.parametrize("move", [0.0, -1.0, float("nan"), 100.0])
    def test_impossible_moves_are_refused(self, move: float) -> None:
        with pytest.raises(MarketDataError, match="MKT-014"):
            attack_cost(self.prints(), NOW, HOUSE, move=move)

    def test_an_untrusted_panel_is_refused(self) -> None:
        with pytest.raises(MarketDataError, match="MKT-015"):
            attack_cost(self.prints()[:1], NOW, HOUSE, move=0.05)


# ---------------------------------------------------------------------------------------- policy


def test_every_figure_of_the_policy_has_a_source() -> None:
    from crossmargin.market._figures import shipped_table

    table = shipped_table("trust_policy.toml")
    assert set(table.figures) == set(TrustPolicy.__struct_fields__)
    assert {f.source for f in table.figures.values()} <= set(table.sources)


@pytest.mark.parametrize(
    "changes",
    [
        {"min_fresh": 0},
        {"deviation_band": 1.0},
        {"haircut_multiplier": 0.5},
        {"haircut_addition": 1.5},
        {"fallback": ["guess"]},
        {"forbid": ["reduce"]},
        {"stale_after_s": float("nan")},
        {"stale_after_s": float("inf")},
        {"unknown": 1},
    ],
)
def test_policies_out_of_range_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(MarketDataError, match="MKT-014"):
        policy_with(changes)


@given(st.floats(0.0, 1.0), st.floats(1.0, 10.0), st.floats(0.0, 1.0))
def test_a_widened_haircut_is_wider_and_at_most_one(h: float, times: float, more: float) -> None:
    policy = policy_with({"haircut_multiplier": times, "haircut_addition": more})
    assert h <= policy.widened(h) <= 1.0


@given(st.lists(st.floats(99.0, 101.0), min_size=2, max_size=6))
@settings(max_examples=25, deadline=None)
def test_reach_of_one_liar_is_that_of_trying_every_source(prices: list[float]) -> None:
    """Three sources stand for all: trying each of them finds no larger move."""
    prints = [source(f"s{i}", p) for i, p in enumerate(prices)]
    base = index_price(prints, NOW, HOUSE)
    found = attack_cost(prints, NOW, HOUSE, move=0.05).one_source_reach
    step = 3 * HOUSE.deviation_band / 200
    tries = [base.price_usd * (1 + step * k) for k in range(-200, 201)]
    worst = 0.0
    for i in range(len(prints)):
        for lie in [*tries, *prices, 1.0, 10_000.0]:
            told = [source(p.name, lie) if j == i else p for j, p in enumerate(prints)]
            made = index_price(told, NOW, HOUSE)
            if made.state != "untrusted":
                worst = max(worst, abs(made.price_usd / base.price_usd - 1.0))
    assert found == pytest.approx(worst, rel=1e-9, abs=1e-15)
