"""Index and mark under stress; funding from the premium."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossmargin.cascade.funding import Funding, october_2025, usd_per_coin
from crossmargin.cascade.marks import MarkRule, Wrapped, depegged
from crossmargin.errors import CascadeError
from crossmargin.market import InterestClamp, default_policy, funding_rule, smoothed_basis

MINUTE = 60 * 1_000_000_000
HOUR = 60 * MINUTE


def test_by_default_the_mark_is_the_book() -> None:
    rule, book = MarkRule(), np.array([90.0, 1.0])
    _, index, mark = rule.next(rule.start(2), book, np.array([100.0, 1.0]), MINUTE)
    assert mark.tolist() == [90.0, 1.0] and index == pytest.approx(mark)


def test_one_of_three_sources_moves_nothing() -> None:
    """Rows A18 and B11: one prints 45,000, the index stays at 50,000."""
    rule = MarkRule(kind="index", sources=(0.0, 0.0, 0.0), errors=(-0.1, 0.0, 0.0))
    fifty = np.array([50_000.0])
    assert rule.next(rule.start(1), fifty, fifty, MINUTE)[2] == 50_000.0
    # The venue's own book falls by a fifth; it is one source of three.
    rule = MarkRule(kind="index", sources=(1.0, 0.0, 0.0))
    assert rule.next(rule.start(1), 0.8 * fifty, fifty, MINUTE)[2] == 50_000.0
    # Two of three feel half of it.
    rule = MarkRule(kind="index", sources=(1.0, 0.5, 0.5))
    mark = rule.next(rule.start(1), 0.8 * fifty, fifty, MINUTE)[2]
    assert mark == pytest.approx(50_000 * np.sqrt(0.8))


def test_the_basis_is_smoothed_as_the_market_room_does() -> None:
    rule = MarkRule(kind="basis", sources=(0.0,))
    policy, book, exogenous = default_policy(), [1.0, 0.97, 0.9, 0.92, 1.01, 1.0], np.ones(1)
    state, times, basis = rule.start(1), [0], [0.0]
    for t, price in enumerate(book):
        now = t * MINUTE
        if t:
            times.append(now)
            basis.append(price - 1.0)
        state, _, mark = rule.next(state, np.array([price]), exogenous, MINUTE if t else 0)
        smooth = smoothed_basis(times, basis, now, tau_s=policy.basis_tau_s, clamp=policy.basis_max)
        assert mark[0] == pytest.approx(1.0 + smooth, rel=1e-12)
    assert mark[0] < 1.0, "the fall is remembered"


def test_the_median_of_index_book_and_basis() -> None:
    rule = MarkRule(kind="median", sources=(0.0,))
    one, low = np.ones(1), np.array([0.8])
    state, _, mark = rule.next(rule.start(1), low, one, MINUTE)
    assert mark == 1.0, "index and basis stand against one print"
    for _ in range(600):
        state, _, mark = rule.next(state, low, one, MINUTE)
    assert mark[0] == pytest.approx(1.0 - default_policy().basis_max), "kept up, but clamped"


@given(st.floats(0.3, 1.2), st.sampled_from(["book", "index", "basis", "median"]))
def test_marks_lie_between_index_and_book(price: float, kind: str) -> None:
    rule = MarkRule(kind=kind, sources=(0.0, 0.3))  # type: ignore[arg-type]
    state, book = rule.start(1), np.array([price])
    for _ in range(5):
        state, index, mark = rule.next(state, book, np.ones(1), MINUTE)
        low, high = sorted((float(index[0]), price))
        assert low - 1e-12 <= mark[0] <= high + 1e-12


def test_a_depeg_hurts_only_who_marks_at_the_own_book() -> None:
    """Fact 11: a synthetic dollar at 0.65, staked ETH at 430 of 3,800, on one venue only."""
    outside = np.array([60_000.0, 3_800.0, 1.0, 4_080.0])
    book = depegged(outside, np.log([1.0, 1.0, 0.65, 430 / 4_080]))
    staked, dollar = Wrapped(asset=3, base=1, rate=4_080 / 3_800), Wrapped(asset=2)
    own = MarkRule(wrapped=(staked, dollar))
    assert own.next(own.start(4), book, outside, MINUTE)[2][2:] == pytest.approx([0.65, 430])
    redeem = MarkRule(wrapped=(staked, dollar), redemption=True)
    mark = redeem.next(redeem.start(4), book, outside, MINUTE)[2]
    assert mark == pytest.approx(outside)
    several = MarkRule(kind="index", sources=(1.0, 0.0, 0.0))
    assert several.next(several.start(4), book, outside, MINUTE)[2] == pytest.approx(outside)
    # The redemption mark follows its base: a fall of ether is no de-peg.
    fallen = outside * np.array([1.0, 0.5, 1.0, 1.0])
    assert redeem.next(redeem.start(4), book * fallen / outside, outside, MINUTE)[2][
        3
    ] == pytest.approx(2_040)


def test_the_rate_is_the_market_rooms() -> None:
    """Row A18: premium 0.10 % gives 0.05 % per interval, 0.03 % gives 0.01 %."""
    rule = Funding(rule=funding_rule("gate"))
    state, rate = rule.next(rule.start(2), np.array([0.001, 0.0003]), MINUTE)
    assert 8 * rate == pytest.approx([0.0005, 0.0001])
    assert Funding().next(state, np.array([0.5, 0.5]), MINUTE)[1].tolist() == [0.0, 0.0]


def test_the_cap_of_october() -> None:
    rule = october_2025()
    state = rule.start(1)
    for _ in range(60 * 12):
        state, rate = rule.next(state, np.array([-0.2]), MINUTE)
    assert 8 * rate == pytest.approx([-0.004])
    # The premium closes; within a day longs pay again.
    for _ in range(60 * 24):
        state, rate = rule.next(state, np.array([0.0]), MINUTE)
    assert rate[0] > 0


def test_the_average_is_an_exponential() -> None:
    rule = Funding(average_s=600.0)
    state, expected = rule.start(1), 0.0
    for x in (0.01, -0.02, 0.03):
        state, _ = rule.next(state, np.array([x]), MINUTE)
        expected = np.exp(-0.1) * expected + (1 - np.exp(-0.1)) * x
    assert state.premium[0] == pytest.approx(expected)


def test_payments_are_what_is_held_times_the_rate() -> None:
    """Row A18: 2 BTC at 50,000 and 0.01 % for eight hours pay 10; everybody together nothing."""
    rate, mark = np.array([0.0001 / 8]), np.array([50_000.0])
    per_coin = usd_per_coin(rate, mark, 8 * HOUR)
    assert 2.0 * per_coin == pytest.approx([-10.0])
    quantity = np.array([2.0, -0.5, 3.25])
    absorber = -quantity.sum()
    assert float((quantity * per_coin).sum() + absorber * per_coin[0]) == pytest.approx(
        0, abs=1e-12
    )
    # In steps as at once.
    steps = sum(float(usd_per_coin(rate, mark, MINUTE)[0]) for _ in range(480))
    assert steps == pytest.approx(float(per_coin[0]))


def test_bad_marks_and_caps_are_refused() -> None:
    for make in (
        lambda: MarkRule(sources=()),
        lambda: MarkRule(sources=(1.5,)),
        lambda: MarkRule(errors=(0.1, 0.1)),
        lambda: MarkRule(tau_s=0.0),
        lambda: MarkRule(wrapped=(Wrapped(asset=0, rate=0.0),)),
        lambda: Funding(cap_8h=-1.0),
    ):
        with pytest.raises(CascadeError, match="CAS-001"):
            make()
    with pytest.raises(CascadeError, match="CAS-003"):
        MarkRule(kind="guess")  # type: ignore[arg-type]
    assert isinstance(funding_rule("gate"), InterestClamp)
