"""Leverage, its drift and its score; open interest through trades, expiries and forced closes."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossmargin.cascade import leverage as lev
from crossmargin.cascade import open_interest as oi
from crossmargin.errors import CascadeError, InputError

# ------------------------------------------------------------------------------- row A09


def test_row_a09() -> None:
    assert float(lev.drift(5.0, -0.1)) == pytest.approx(9.0)
    assert float(lev.target_sale(5.0, -0.1)) == pytest.approx(0.4)
    # By the definition: exposure 4.5 on equity 0.5; 2.5 is left after selling 2.0 of 5.0.
    assert lev.leverage([4.5], [0.5]) == 9.0
    assert lev.leverage([4.5 - 0.4 * 5.0], [0.5]) == pytest.approx(5.0)


@given(start=st.floats(1.0, 50.0), move=st.floats(-0.5, 1.0), target=st.floats(0.5, 50.0))
@settings(max_examples=100)
def test_a_sale_to_the_target_does_reach_it(start: float, move: float, target: float) -> None:
    exposure, capital = start * (1 + move), 1 + start * move
    sold = float(lev.target_sale(start, move, target)) * start
    if capital <= 1e-9:
        assert float(lev.drift(start, move)) == math.inf or capital > 0
        assert sold == pytest.approx(exposure, rel=1e-6)
        return
    assert float(lev.drift(start, move)) == pytest.approx(exposure / capital)
    assert exposure - sold == pytest.approx(target * capital, rel=1e-6, abs=1e-6)


def test_leverage_at_its_ends() -> None:
    assert lev.leverage([1.0, -2.0], [1.0]) == 3.0
    assert lev.leverage([1.0], [0.0]) == math.inf
    assert lev.leverage([], []) == 0.0
    assert float(lev.drift(-2.0, 0.5)) == -math.inf
    assert float(lev.drift(-2.0, -0.1)) == pytest.approx(-1.8 / 1.2)


def test_concentration() -> None:
    made = lev.concentration([4.0, 3.0, 2.0, 1.0], top=(1, 2, 10), points=5)
    assert made.herfindahl == pytest.approx(0.16 + 0.09 + 0.04 + 0.01)
    assert made.effective == pytest.approx(1 / 0.3)
    assert made.top == {1: 0.4, 2: pytest.approx(0.7), 10: 1.0}
    np.testing.assert_allclose(made.curve_share, [0.0, 0.4, 0.7, 0.9, 1.0])
    # Gini by its definition: mean absolute difference over twice the mean.
    x = [4.0, 3.0, 2.0, 1.0]
    want = sum(abs(a - b) for a in x for b in x) / (2 * 16 * 2.5)
    assert made.gini == pytest.approx(want)
    assert lev.concentration([2.0] * 7).gini == pytest.approx(0.0, abs=1e-12)
    assert lev.concentration([0.0, 0.0]).herfindahl == 0.0


def plain_crowding(notional: np.ndarray, depth: np.ndarray) -> float:
    books = []
    for row in notional:
        books.append(
            [max(x, 0) / math.sqrt(d) for x, d in zip(row, depth)]
            + [max(-x, 0) / math.sqrt(d) for x, d in zip(row, depth)]
        )
    length = [math.sqrt(sum(x * x for x in b)) for b in books]
    weight = [float(np.abs(row).sum()) / math.sqrt(1.0) for row in notional / np.sqrt(depth)]
    total = top = 0.0
    for i in range(len(books)):
        for j in range(len(books)):
            if i != j and length[i] and length[j]:
                w = weight[i] * weight[j]
                cosine = sum(a * b for a, b in zip(books[i], books[j])) / length[i] / length[j]
                total += w * cosine
            if i != j:
                top += weight[i] * weight[j]
    return total / top


@pytest.mark.parametrize("seed", range(5))
def test_crowding_is_the_mean_cosine_of_pairs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = rng.normal(0.0, 1e5, (9, 3)) * (rng.random((9, 3)) < 0.7)
    depth = rng.uniform(1e6, 1e7, 3)
    assert lev.crowding(n, depth) == pytest.approx(plain_crowding(n, depth), rel=1e-9)


def test_crowding_at_its_ends() -> None:
    assert lev.crowding([[2.0, 1.0]] * 4) == pytest.approx(1.0)
    assert lev.crowding([[1.0, 0.0], [0.0, 1.0]]) == 0.0
    # A long and a short of one coin are not closed by one fall.
    assert lev.crowding([[1.0], [-1.0]]) == 0.0
    assert lev.crowding([[1.0]]) == 0.0


PART = st.floats(0.0, 0.99)


@given(
    lever=st.floats(1.0, 50.0), c=PART, o=PART, step=st.floats(1e-3, 1.0), which=st.integers(0, 2)
)
@settings(max_examples=300)
def test_the_score_rises_in_each_part(
    lever: float, c: float, o: float, step: float, which: int
) -> None:
    low = lev.systemic_score(lever, c, o)
    parts = [lever, c, o]
    parts[which] = lever + step if which == 0 else min(parts[which] + step, 0.999)
    if parts[which] <= (lever, c, o)[which]:
        return
    high = lev.systemic_score(*parts)
    assert 0.0 <= low.score < high.score < 1.0 or high.score == 1.0
    assert sum(low.contribution.values()) == pytest.approx(-math.log1p(-low.score), abs=1e-9)


def test_the_score_rises_with_what_accounts_do() -> None:
    """The same on books: each changes one thing and leaves the other two."""
    spread = np.eye(6) * 1e6
    same = np.full((6, 6), 1e6 / 6)
    few = np.diag([4e6, 4e5, 4e5, 4e5, 4e5, 4e5])

    def score(notional: np.ndarray, equity: float) -> float:
        gross = np.abs(notional).sum(axis=1)
        return lev.systemic_score(
            lev.leverage(notional, [equity]),
            lev.concentration(gross).herfindahl,
            lev.crowding(notional),
        ).score

    base = score(spread, 2e6)
    assert score(spread, 1e6) > base
    assert score(same, 2e6) > base
    assert score(few, 2e6) > base
    assert lev.systemic_score(math.inf, 0.0, 0.0).score == 1.0


# ------------------------------------------------------------------------------- row B18


def test_row_b18() -> None:
    made = lev.liquidity_ratio(8e6, 2e6, limit=3.0)
    assert float(made.interest_over_depth) == 4.0 and float(made.depth_over_interest) == 0.25
    assert float(made.interest_over_depth * made.depth_over_interest) == 1.0
    assert bool(made.alert_high) and bool(made.alert_low)
    assert (made.limit_high, made.limit_low) == (3.0, pytest.approx(1 / 3))


@given(open_interest=st.floats(1.0, 1e12), depth=st.floats(1.0, 1e12), limit=st.floats(0.01, 100))
@settings(max_examples=100)
def test_both_forms_alert_on_the_fragile_side(
    open_interest: float, depth: float, limit: float
) -> None:
    made = lev.liquidity_ratio(open_interest, depth, limit=limit)
    ratio = open_interest / depth
    if abs(ratio / limit - 1) > 1e-9:
        assert bool(made.alert_high) == bool(made.alert_low) == (ratio > limit)


def test_a_history_of_ratios() -> None:
    made = lev.liquidity_ratio([1.0, 2.0, 0.0, 1.0], [1.0, 1.0, 1.0, 0.0], limit=1.0)
    assert made.interest_over_depth.tolist() == [1.0, 2.0, 0.0, math.inf]
    assert made.depth_over_interest.tolist() == [1.0, 0.5, math.inf, 0.0]
    assert made.alert_high.tolist() == made.alert_low.tolist() == [False, True, False, True]


# ------------------------------------------------------------------------------- row A21


def test_row_a21() -> None:
    got = oi.interest_from_flags([5, 2, 3], [True, True, False], [True, False, False])
    assert got.tolist() == [5.0, 5.0, 2.0]
    book = oi.PositionLedger()
    assert book.trade("X", "A", "B", 5) == 5
    assert book.trade("X", "C", "A", 2) == 0
    assert book.trade("X", "B", "A", 3) == -3
    assert book.open_interest("X") == 2
    assert [book.position("X", who) for who in "ABC"] == [0, -2, 2]


def test_ten_thousand_random_events_keep_both_sides_equal() -> None:
    rng = random.Random(21)
    book = oi.PositionLedger()
    held: dict[str, dict[str, int]] = {}
    kinds = {"trade": 0, "expire": 0, "adl": 0}
    people = [f"u{i}" for i in range(25)]
    for _ in range(10_000):
        contract = rng.choice("WXYZ")
        mine = held.setdefault(contract, {})
        before = book.open_interest(contract)
        kind = rng.choices(("trade", "expire", "adl"), (90, 1, 9))[0]
        longs = [w for w, q in mine.items() if q > 0]
        shorts = [w for w, q in mine.items() if q < 0]
        if kind == "adl" and longs and shorts:
            a, b = rng.choice(longs), rng.choice(shorts)
            q = rng.randint(1, min(mine[a], -mine[b]))
            change = book.close_pair(contract, a, b, q)
            assert change == -q
            mine[a] -= q
            mine[b] += q
        elif kind == "expire":
            change = book.expire(contract)
            assert change == -before
            held[contract] = {}
        else:
            kind = "trade"
            a, b = rng.sample(people, 2)
            q = rng.randint(1, 80)
            change = book.trade(contract, a, b, q)
            mine[a] = mine.get(a, 0) + q
            mine[b] = mine.get(b, 0) - q
        kinds[kind] += 1
        want = sum(q for q in held[contract].values() if q > 0)
        assert book.longs(contract) == book.shorts(contract) == book.open_interest(contract) == want
        assert book.open_interest(contract) - before == change
    assert min(kinds.values()) > 50


def test_flags_agree_with_positions() -> None:
    """Trades that never cross zero: what the flags say is what positions say."""
    rng = random.Random(3)
    book = oi.PositionLedger()
    rows, want = [], []
    while len(rows) < 500:
        a, b = rng.sample("ABCDEFG", 2)
        q = float(rng.randint(1, 5))
        pa, pb = book.position("X", a), book.position("X", b)
        if (pa < 0 and -pa < q) or (pb > 0 and pb < q):
            continue
        rows.append((q, pa >= 0, pb <= 0))
        book.trade("X", a, b, q)
        want.append(book.open_interest("X"))
    got = oi.interest_from_flags(*zip(*rows))
    assert got.tolist() == want


def test_what_cannot_be_closed() -> None:
    book = oi.PositionLedger()
    book.trade("X", "A", "B", 1.0)
    with pytest.raises(CascadeError, match=r"CAS-021.*'C'"):
        book.close_pair("X", "C", "B", 1.0)
    with pytest.raises(CascadeError, match="CAS-021"):
        book.close_pair("X", "A", "B", 2.0)
    with pytest.raises(CascadeError, match="CAS-001"):
        book.trade("X", "A", "B", 0.0)
    with pytest.raises(CascadeError, match="CAS-021"):
        oi.interest_from_flags([1.0], [False], [False])
    assert book.contracts() == ["X"] and book.open_interest("Y") == 0


def test_quadrants() -> None:
    price, interest = [100, 101, 100, 101, 100, 100], [10, 12, 14, 12, 10, 11]
    assert oi.quadrants(price, interest) == (
        "new longs",
        "new shorts",
        "short covering",
        "long liquidation",
        "unchanged",
    )
    assert oi.quadrants([100, 100.5], [10, 11], least=0.01) == ("unchanged",)


def test_open_interest_by_contract_expiry_and_strike() -> None:
    made = oi.interest_breakdown(
        {
            "BTC-27MAR26-90000-C": 120.0,
            "BTC-27MAR26-90000-P": 30.0,
            "BTC-27MAR26-80000-P": 140.0,
            "BTC-24APR26-100000-C": 60.0,
            "BTC-PERPETUAL": 500.0,
            "ETH-PERPETUAL": 7.0,
        }
    )
    btc, eth = made
    assert (btc.underlying, eth.underlying) == ("BTC", "ETH")
    march, april = sorted(btc.walls)
    assert btc.walls == {march: 90_000.0, april: 100_000.0}
    assert btc.by_expiry == {0: 500.0, march: 290.0, april: 60.0}
    assert sum(btc.by_expiry.values()) == sum(btc.by_contract.values()) == 850.0
    assert btc.calls == {90_000.0: 120.0, 100_000.0: 60.0}
    assert btc.puts == {80_000.0: 140.0, 90_000.0: 30.0}
    assert btc.put_call == pytest.approx(170 / 180) and math.isnan(eth.put_call)
    with pytest.raises(InputError, match="INP-001"):
        oi.interest_breakdown({"nonsense": 1.0})
